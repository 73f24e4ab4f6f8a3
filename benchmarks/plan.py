"""Who runs what: the entrants of each chapter's recipe, and for how many seeds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import chapters, environment, starts
from benchmarks.entrants import ENTRANTS, ours
from benchmarks.facts import facts
from benchmarks.job import Job


def takes_part(entrant: str) -> bool:
    """Tell whether an entrant can run here."""
    if entrant == "compiled":
        return ours.COMPILES
    return not ENTRANTS[entrant].elsewhere or environment.is_made()


def entrants(recipe: str) -> Iterator[tuple[str, int]]:
    """Yield the entrants of a recipe that can run here, with their numbers of seeds."""
    for entrant, numbers in chapters.benchmark(recipe).seeds.items():
        if takes_part(entrant):
            yield from ((entrant, seeds) for seeds in numbers)


def job(folder: Path, recipe: str, entrant: str, seeds: int, threads: int) -> Job:
    """Return the job of an entrant that is timed."""
    return Job(
        recipe,
        entrant,
        start=starts.start(folder, recipe, seeds),
        batch=facts(recipe).batch,
        steps=30_000_000 // seeds,  # more than will be asked for
        unit=max(1, chapters.benchmark(recipe).unit // seeds),
        seeds=seeds,
        threads=threads,
        dropout=facts(recipe).dropout,
    )

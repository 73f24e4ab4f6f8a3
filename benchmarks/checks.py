"""Checks that all entrants do the same work; a benchmark begins with them.

From the same first weights, data and noise, all have the same weights after some steps. Where a recipe has
dropout, that is tried without, since no two frameworks draw the same masks; and then with it, to see that it
does something. And networks that were trained in JAX alone are judged as the chapter judges its own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import chapters, environment, plan, starts
from benchmarks.facts import facts
from benchmarks.fleet import Failed, command
from benchmarks.job import Job, Weights, read
from benchmarks.results import Who
from gan_helpers.tables import ledger

STEPS = 20
SEEDS = 3  # of those who train many at once


@dataclass(frozen=True)
class Check:
    """What was looked at, what was found, and whether that is as it should be."""

    recipe: str
    entrant: str
    seeds: int
    what: str
    value: float
    passed: bool


def trained(*jobs: Job) -> list[Weights]:
    """Run jobs to their ends in processes of their own, one on each core, and return their last weights."""
    with ThreadPoolExecutor(max_workers=environment.cores()) as pool:
        return list(pool.map(_trained, jobs))


def _trained(job: Job) -> Weights:
    done = subprocess.run(command(job), cwd=environment.ROOT, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{job} failed:\n{done.stderr[-3_000:]}")
    return read(job.result)[0]


def gap(ours: Weights, theirs: Weights, players: str = "GD") -> float:
    """Return the largest difference of two networks' weights, for the seeds and players that both have."""
    seeds = min(len(ours["G"][0]), len(theirs["G"][0]))
    gaps = [
        abs(a[:seeds] - b[:seeds]).max()
        for player in players
        if ours.get(player) and theirs.get(player)  # the loop in MXNet hands out G alone
        for a, b in zip(ours[player], theirs[player], strict=True)
    ]
    return float(np.max(gaps))  # which is NaN if one is


def tolerance(recipe: str, entrant: str) -> float:
    """Return the largest difference of two weights that rounding explains.

    Where all compute in double precision, there is next to none. In MXNet the package computes in single
    precision, and Keras keeps some numbers of its optimiser in single precision.
    """
    single = not chapters.benchmark(recipe).double or entrant.startswith("keras")
    return 1e-4 if single else 1e-8


def same_work(
    folder: Path,
    recipe: str,
    entrants: Iterable[Who],
    run: Callable[..., list[Weights]] = trained,
    steps: int = STEPS,
) -> Iterator[Check]:
    """Yield what each entrant's weights differ from those of the package after some steps.

    Args:
        folder: for the files.
        recipe: its name.
        entrants: who is checked, with their numbers of seeds.
        run: runs jobs to their ends.
        steps: after how many steps, a multiple of 4.
    """
    start = starts.start(folder, recipe, SEEDS, double=True)
    batches = starts.batches(folder, recipe, SEEDS, steps)
    whos = [("ours", SEEDS), *entrants]
    without = [
        replace(
            plan.job(folder, recipe, *who, threads=1), start=start, steps=steps, unit=4, dropout=0.0,
            replay=batches, double=True, result=str(folder / f"{recipe}-{who[0]}-{who[1]}.npz"),
        )
        for who in whos
    ]  # fmt: skip
    rate = facts(recipe).dropout
    dropping = [replace(job, dropout=rate, result=job.result + ".dropout") for job in without[1:] if rate]
    ours, *theirs = run(*without, *dropping)
    # In single precision Adam makes much of D's first slopes that are nearly 0: G alone is compared.
    players = "GD" if chapters.benchmark(recipe).double else "G"
    enough = 20 * tolerance(recipe, "ours")
    moved = gap(read(start)[0], ours, players)
    yield Check(recipe, "ours", SEEDS, f"moves in {steps} steps", moved, moved > enough)
    for i, who in enumerate(whos[1:]):
        found = gap(ours, theirs[i], players)
        same = found < tolerance(recipe, who[0])
        yield Check(recipe, *who, f"differs after {steps} steps", found, same)
        if rate:
            effect = gap(theirs[i], theirs[i + len(dropping)])
            yield Check(recipe, *who, "dropout moves it", effect, effect > enough)


def checked(recipe: str) -> Iterator[Who]:
    """Yield who is compared with the package: each entrant alone if it can be, and with others if it can be.

    The package draws other numbers for another number of seeds: what it compiles is checked for these alone.
    """
    numbers: dict[str, set[int]] = {}
    for entrant, seeds in plan.entrants(recipe):
        if entrant != "ours":
            numbers.setdefault(entrant, set()).add(SEEDS if entrant == "compiled" else min(seeds, SEEDS))
    for entrant, seeds in numbers.items():
        yield from ((entrant, n) for n in sorted(seeds))


# What was trained in JAX is judged by the measures of the chapter


def as_in_the_table(folder: Path, recipe: str, seeds: int = 16) -> Iterator[Check]:
    """Train by JAX alone, with its own random numbers, and yield medians beside the chapter's table.

    The median of 16 seeds is outside the middle four fifths of its law less than once in ten thousand times.
    """
    steps = facts(recipe).steps
    base = 1_000  # weights that neither the book nor its tables use
    job = replace(
        plan.job(folder, recipe, "jax", seeds, threads=1),
        start=starts.start(folder, recipe, seeds, base),
        steps=steps,
        unit=steps,
        seed=base,
        result=str(folder / f"{recipe}-trained.npz"),
    )
    (weights,) = trained(job)
    for column, values in chapters.load(recipe).judge(weights, seeds).items():
        known = ledger(f"{recipe}_original")[column]
        low, high = (known.quantile(q).item() for q in (0.1, 0.9))
        found = values.median().item()
        what = f"median {column} of {seeds} trained seeds; the table's middle is {low:.3g} to {high:.3g}"
        yield Check(recipe, "jax", seeds, what, found, low <= found <= high)

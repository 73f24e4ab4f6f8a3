"""Who runs what: the recipes, their entrants, and for how many seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks import environment, starts
from benchmarks.entrants import ENTRANTS, ours
from benchmarks.job import Job

DROPOUT = {"sinusoids": 0.4, "maxout_mnist": 0.5}


@dataclass(frozen=True)
class Plan:
    """One recipe's entrants.

    Args:
        title: what tables call the recipe.
        step: what a step is called.
        steps_in_it: how many steps of the loop that is.
        unit: steps of one seed between two looks at the clock; with K seeds it is a K-th of that.
        seeds: for how many seeds each entrant runs.
    """

    title: str
    step: str
    unit: int
    seeds: dict[str, tuple[int, ...]]
    steps_in_it: int = 1


ALL = (1, 4, 16, 64, 256)
PLANS = {
    "fifty_lines": Plan(
        "The GAN in 50 lines", "round", 200,
        {"source": (1,), "tidied": (1,), "ours": ALL, "compiled": (1, 16, 64), "jax": ALL},
    ),
    "mxnet_gaussian": Plan(
        "A Gaussian in MXNet", "epoch", 250,
        {"mxnet": (1,), "hybrid": (1,), "ours": ALL, "jax": ALL}, steps_in_it=250,
    ),
    # Each seed has curves and noise of its own, 16 MB: hence not more seeds.
    "sinusoids": Plan(
        "Sinusoids", "step", 32,
        {
            "keras_torch": (1,), "keras_jax": (1,), "ours": (1, 4, 16), "jax": (1, 4, 16),
        },
    ),
    # A seed alone keeps all cores busy: hence not more seeds.
    "maxout_mnist": Plan(
        "Maxout MNIST", "step", 2, {"source": (1,), "ours": (1, 4), "jax": (1, 4)}
    ),
    "edward_mnist": Plan(
        "Edward's MNIST", "step", 32,
        {"source": (1,), "ours": (1, 4, 16, 64), "compiled": (1, 16), "jax": (1, 4, 16, 64)},
    ),
}  # fmt: skip


def can_run(recipe: str) -> bool:
    """Tell whether a recipe's framework is here."""
    return recipe != "mxnet_gaussian" or find_spec("mxnet") is not None


def takes_part(entrant: str) -> bool:
    """Tell whether an entrant can run here."""
    if entrant == "compiled":
        return ours.COMPILES
    return not ENTRANTS[entrant].elsewhere or environment.is_made()


def entrants(recipe: str) -> Iterator[tuple[str, int]]:
    """Yield the entrants of a recipe that can run here, with their numbers of seeds."""
    for entrant, numbers in PLANS[recipe].seeds.items():
        if takes_part(entrant):
            yield from ((entrant, seeds) for seeds in numbers)


def job(folder: Path, recipe: str, entrant: str, seeds: int, threads: int) -> Job:
    """Return the job of an entrant that is timed."""
    return Job(
        recipe,
        entrant,
        start=starts.start(folder, recipe, seeds),
        batch=starts.RECIPES[recipe][1],
        steps=30_000_000 // seeds,  # more than will be asked for
        unit=max(1, PLANS[recipe].unit // seeds),
        seeds=seeds,
        threads=threads,
        dropout=DROPOUT.get(recipe, 0.0),
    )

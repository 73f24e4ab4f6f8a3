"""The chapters that are measured. Each has a module here, which holds all that is particular to it.

It is named as the chapter is, and a chapter without one is not measured. A module that is named as no chapter
has a recipe of its own, and comes last. What a module has:

- ``BENCHMARK``, a `Benchmark`, and ``AIMS``, a list of `benchmarks.targets.Target`;
- ``recipe(seeds, seed)``, the package's recipe, off which steps, batch, sizes and dropout are read;
- the rivals' programs: ``source(job, data)`` and ``tidied(job, data)`` in PyTorch, ``in_keras(job)``,
  ``in_mxnet(job, weights, data)``, and ``in_jax()``, as the modules of `benchmarks.entrants` take them;
- ``data(seeds, seed)``, if the rivals are given a data set that they do not draw;
- ``flop()``, the operations of a step of one GAN, where it takes the gradient of a gradient;
- ``judge(weights, seeds)``, if networks that JAX trained are to be judged by the chapter's measures: it
  returns columns of the table of its original recipe.

JAX has an environment without PyTorch and the package. So a module imports these if they are there.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType


@dataclass(frozen=True)
class Benchmark:
    """How a chapter's recipe is measured.

    Args:
        title: what tables call the recipe.
        step: what a step is called.
        unit: steps of one seed between two looks at the clock; with K seeds it is a K-th of that.
        seeds: for how many seeds each entrant runs.
        steps_in_it: how many steps of the loop a step of the tables is.
        note: what its table says beside the title, in sentences.
        whole_batches: whether D sees a batch as one input.
        double: whether the package computes it in double precision when asked to.
        drawn: whether the page's figure is of it.
    """

    title: str
    step: str
    unit: int
    seeds: dict[str, tuple[int, ...]]
    steps_in_it: int = 1
    note: str = ""
    whole_batches: bool = False
    double: bool = True
    drawn: bool = False


def names() -> list[str]:
    """Return what is measured: chapters in the order of the book, and then the others."""
    from tools import sheets

    measured = {path.stem for path in Path(__file__).parent.glob("[!_]*.py")}
    in_book = [path.stem for path in sheets.notebooks() if path.stem in measured]
    return in_book + sorted(measured.difference(in_book))


def load(name: str) -> ModuleType:
    """Return a chapter's module."""
    return importlib.import_module(f"{__name__}.{name}")


def benchmark(name: str) -> Benchmark:
    """Return how a chapter's recipe is measured."""
    return load(name).BENCHMARK


def can_run(name: str) -> bool:
    """Tell whether what the chapter needs is here."""
    from tools import notebooks, sheets

    return all(notebooks.obstacle(path) is None for path in sheets.notebooks() if path.stem == name)

"""What one process is told to do. A job, its messages and its files are all that the two environments share.

Weights travel in files, in the order and the layout of torch: first the networks' numbers ``G/00``, ``G/01``,
..., each with a leading seed axis, and a matrix as ``(seeds, out, in)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Tick = Callable[[], None]
Weights = dict[str, list[Any]]


@dataclass(frozen=True)
class Job:
    """One entrant's run of one recipe.

    Args:
        recipe: the name of the chapter whose recipe it is.
        entrant: who runs it; a key of `benchmarks.entrants.ENTRANTS`.
        seeds: how many GANs are trained at once.
        threads: how many threads it may use; it is kept to as many cores if it is timed alone.
        waiting: how they wait for each other, such as "passive"; as they come unless given.
        crowded: whether it is timed beside other programs, and kept to no cores.
        steps: how many steps it makes, at most.
        unit: the steps between two calls of its ``tick``; the first call is before the first step.
        batch: samples of each seed in a step.
        dropout: the share of hidden units of D that is left out, where the recipe has dropout.
        start: the file of the first weights, and of the data set where that is not drawn.
        seed: the base seed.
        replay: a file of batches to take instead of drawing them, for the check that all do the same.
        double: compute in double precision, in which rounding stays out of sight.
        result: a file to write the last weights to; where it is named, nothing is timed.
    """

    recipe: str
    entrant: str
    start: str
    batch: int
    steps: int
    unit: int
    seeds: int = 1
    threads: int = 1
    waiting: str = ""
    crowded: bool = False
    dropout: float = 0.0
    seed: int = 0
    replay: str = ""
    double: bool = False
    result: str = ""


def write(path: Path | str, weights: Weights, **arrays: Any) -> None:
    """Write weights, and further arrays by name."""
    named = {f"{player}/{i:02d}": w for player, ws in weights.items() for i, w in enumerate(ws)}
    with Path(path).open("wb") as file:
        np.savez(file, **named, **arrays)


def read(path: Path | str) -> tuple[Weights, dict[str, Any]]:
    """Return the weights and the further arrays of a file."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    weights: Weights = {"G": [], "D": []}
    for name in sorted(name for name in arrays if "/" in name):
        weights[name[0]].append(arrays.pop(name))
    return weights, arrays

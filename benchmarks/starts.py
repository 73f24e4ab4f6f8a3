"""Files that all entrants start from: first weights, data sets, and batches to replay."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from benchmarks import chapters
from benchmarks.entrants import ours
from benchmarks.entrants.torch_settings import torch_settings
from benchmarks.job import Weights, write
from gan_helpers import Stream
from gan_helpers.data import Sampler


def start(folder: Path, recipe: str, seeds: int, seed: int = 0, double: bool = False) -> str:
    """Write what a run starts from, unless it is there, and return the file."""
    path = folder / f"{recipe}-{seeds}-{seed}{'-double' if double else ''}.npz"
    if not path.exists():
        with _precision(recipe, double):
            write(path, first_weights(recipe, seeds, seed), **data_set(recipe, seeds, seed))
    return str(path)


def _precision(recipe: str, double: bool) -> AbstractContextManager[None]:
    """Let torch make tensors in the precision that a recipe has when double is asked for."""
    return torch_settings(double=double and chapters.benchmark(recipe).double)


def first_weights(recipe: str, seeds: int, seed: int) -> Weights:
    """Return the weights with which the package starts."""
    networks = chapters.load(recipe).recipe(seeds, seed).networks(seeds, seed=seed)
    return {name: ours.arrays(network) for name, network in zip("GD", networks, strict=True)}


def data_set(recipe: str, seeds: int, seed: int) -> dict[str, Any]:
    """Return the data set, if the recipe has one that an entrant cannot draw."""
    data = getattr(chapters.load(recipe), "data", None)
    return {} if data is None else {"data": data(seeds, seed)}


def batches(folder: Path, recipe: str, seeds: int, steps: int, seed: int = 0) -> str:
    """Write the batches that the package draws in its first steps, in double precision, and return the file.

    x is ``(steps, 1, seeds, batch, features)``; z has one draw in a step, or one for each player.
    """
    path = folder / f"{recipe}-{seeds}-{seed}-batches.npz"
    with _precision(recipe, double=True):
        made = chapters.load(recipe).recipe(seeds, seed)

        def drawn(sampler: Sampler, name: str, draws: int) -> Any:
            stream = Stream(name, seed)
            calls = [sampler(seeds, made.batch, stream) for _ in range(steps * draws)]
            return torch.stack(calls).unflatten(0, (steps, draws)).numpy()

        x, z = drawn(made.data, "data", 1), drawn(made.noise, "noise", 1 + ours.turns(made).fresh_noise)
        write(path, {}, x=x, z=z)
    return str(path)

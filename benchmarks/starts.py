"""Files that all entrants start from: first weights, data sets, and batches to replay."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from benchmarks.entrants import ours
from benchmarks.entrants.torch_settings import torch_settings
from benchmarks.job import Weights, write
from gan_helpers import Stream, Turns, mnist
from gan_helpers.data import Minibatches, Sampler
from gan_helpers.recipes import mxnet_gaussian

#: Steps and batch of each recipe, as the sources have them with the data that the package brings along.
RECIPES = {
    "fifty_lines": (20_000, 100),
    "mxnet_gaussian": (2_500, 4),
    "sinusoids": (16_384, 128),
    "maxout_mnist": (930, 256),
    "edward_mnist": (15_000, 128),
}


def start(folder: Path, recipe: str, seeds: int, seed: int = 0, double: bool = False) -> str:
    """Write what a run starts from, unless it is there, and return the file."""
    path = folder / f"{recipe}-{seeds}-{seed}{'-double' if double else ''}.npz"
    if not path.exists():
        with _precision(recipe, double):
            write(path, first_weights(recipe, seeds, seed), **data_set(recipe, seeds, seed))
    return str(path)


def _precision(recipe: str, double: bool) -> AbstractContextManager[None]:
    """Let torch make tensors in the precision that a recipe has when double is asked for."""
    return torch_settings(double=double and recipe != "mxnet_gaussian")


def first_weights(recipe: str, seeds: int, seed: int) -> Weights:
    """Return the weights with which the package starts."""
    if recipe != "mxnet_gaussian":
        networks = ours.recipe_of(recipe, seeds, seed, dropout=0.0).networks(seeds, seed=seed)
        return {name: ours.arrays(network) for name, network in zip("GD", networks, strict=True)}
    from gan_helpers import mxnet_backend as gm

    sizes = {"G": (2, 2), "D": (2, 5, 3, 2)}
    made = {k: gm.Ensemble(lambda s=s: gm.mlp(*s), seeds, name=k, seed=seed) for k, s in sizes.items()}
    return {name: ours.mxnet_arrays(network) for name, network in made.items()}


def data_set(recipe: str, seeds: int, seed: int) -> dict[str, Any]:
    """Return the data set, if the recipe has one that an entrant cannot draw."""
    if recipe == "mxnet_gaussian":
        return {"data": mxnet_gaussian.inputs(seeds, seed)[0].numpy()}
    if recipe.endswith("mnist"):
        return {"data": mnist.load().train.images.numpy()}
    return {}


def batches(folder: Path, recipe: str, seeds: int, steps: int, seed: int = 0) -> str:
    """Write the batches that the package draws in its first steps, in double precision, and return the file.

    x is ``(steps, 1, seeds, batch, features)``; z has one draw in a step, or one for each player.
    """
    path = folder / f"{recipe}-{seeds}-{seed}-batches.npz"
    with _precision(recipe, double=True):
        x, z, draws = _samplers(recipe, seeds, seed)
        of_x, of_z = Stream("data", seed), Stream("noise", seed)

        def drawn(sampler: Sampler, stream: Stream, draws: int) -> Any:
            calls = [sampler(seeds, RECIPES[recipe][1], stream) for _ in range(steps * draws)]
            return torch.stack(calls).unflatten(0, (steps, draws)).numpy()

        write(path, {}, x=drawn(x, of_x, 1), z=drawn(z, of_z, draws))
    return str(path)


def _samplers(recipe: str, seeds: int, seed: int) -> tuple[Sampler, Sampler, int]:
    """Return the samplers of data and of noise, and how often a step draws noise."""
    if recipe == "mxnet_gaussian":
        return Minibatches(*mxnet_gaussian.inputs(seeds, seed)), mxnet_gaussian.NOISE, 1
    made = ours.recipe_of(recipe, seeds, seed, dropout=0.0)
    once = not made.options.get("turns", Turns()).fresh_noise
    return made.data, made.noise, 1 if once else 2

"""The recipes as the package trains them, as they come and compiled."""

from __future__ import annotations

import inspect
import logging
import shutil
from functools import partial
from typing import Any

import torch

from benchmarks.entrants.torch_settings import torch_settings
from benchmarks.job import Job, Tick, Weights
from gan_helpers import Ensemble, Watch, mnist, train
from gan_helpers.recipes import Recipe, edward_mnist, fifty_lines, maxout_mnist, mxnet_gaussian, sinusoids

#: Whether the package can compile losses here.
COMPILES = "compile" in inspect.signature(train).parameters and any(map(shutil.which, ("g++", "clang++")))


def recipe_of(name: str, seeds: int, seed: int, dropout: float) -> Recipe:
    """Return the source's recipe of a chapter, but for MXNet's."""
    if name == "fifty_lines":
        return fifty_lines.original()
    if name == "sinusoids":
        return sinusoids.original(*sinusoids.inputs(seeds, seed), dropout=dropout)
    images = mnist.load().train.images.to(torch.get_default_dtype())
    if name == "edward_mnist":
        return edward_mnist.original(images)
    D = partial(maxout_mnist.discriminator, dropout=dropout)
    return maxout_mnist.original(images, D=D, answers=maxout_mnist.Answers())


class Refusal(logging.Handler):
    """Ends the run where the package says that it goes on without compiling."""

    def emit(self, record: logging.LogRecord) -> None:
        """Turn a notice into an error."""
        raise RuntimeError(record.getMessage())


def loop(job: Job, tick: Tick) -> Weights:
    """Train by the recipe; ``watch`` is where the package looks up every ``job.unit`` steps."""
    if job.recipe == "mxnet_gaussian":  # which is of single precision throughout
        return _mxnet(job, tick)
    with torch_settings(job.threads, job.double):
        recipe = recipe_of(job.recipe, job.seeds, job.seed, job.dropout)
        G, D = recipe.networks(job.seeds, seed=job.seed)
        options: dict[str, Any] = {}
        if job.entrant == "compiled":
            options["compile"] = True
            logging.getLogger("gan_helpers").addHandler(Refusal())
        recipe.train(G, D, watch=Watch(_watch(tick), every=job.unit), **_common(job), **options)
        return {"G": arrays(G), "D": arrays(D)}


def _mxnet(job: Job, tick: Tick) -> Weights:
    from gan_helpers import mxnet_backend as gm

    def wait_and_tick() -> None:
        gm.nd.waitall()  # MXNet computes in the background
        tick()

    recipe = mxnet_gaussian.original(*mxnet_gaussian.inputs(job.seeds, job.seed))
    G, D = recipe.networks(job.seeds, seed=job.seed)
    recipe.train(G, D, watch=_watch(wait_and_tick), every=job.unit, **_common(job))
    return {"G": mxnet_arrays(G)}


def _common(job: Job) -> dict[str, Any]:
    return {"seed": job.seed, "steps": job.steps, "progress": False}


def _watch(tick: Tick) -> Any:
    def watch(_: Any) -> dict[str, torch.Tensor]:
        tick()
        return {}

    return watch


def mxnet_arrays(network: Any) -> list[Any]:
    """Return the weights of an ensemble in MXNet; its biases have an axis for the batch, which goes."""
    arrays = [weight.asnumpy() for weight in network.weights()]
    return [values.squeeze(1) if i % 2 else values for i, values in enumerate(arrays)]


def arrays(network: Ensemble) -> list[Any]:
    """Return the weights of an ensemble, each with its leading seed axis."""
    return [p.detach().cpu().numpy() for p in network.parameters()]

"""The recipes as the package trains them, as they come and compiled."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from benchmarks import chapters
from benchmarks.entrants.torch_settings import torch_settings
from benchmarks.job import Job, Tick, Weights
from gan_helpers import Ensemble, Turns, Watch
from gan_helpers.recipes import Recipe

#: Whether losses can be compiled here.
COMPILES = any(map(shutil.which, ("g++", "clang++")))


class Refusal(logging.Handler):
    """Ends the run where the package says that it goes on without compiling."""

    def emit(self, record: logging.LogRecord) -> None:
        """Turn a notice into an error."""
        raise RuntimeError(record.getMessage())


def loop(job: Job, tick: Tick) -> Weights:
    """Train by the recipe; ``watch`` is where the package looks up every ``job.unit`` steps."""
    with torch_settings(job.threads, job.double and chapters.benchmark(job.recipe).double):
        recipe = with_dropout(chapters.load(job.recipe).recipe(job.seeds, job.seed), job.dropout)
        G, D = recipe.networks(job.seeds, seed=job.seed)
        options: dict[str, Any] = {}
        if job.entrant == "compiled":
            options["compile"] = True
            logging.getLogger("gan_helpers").addHandler(Refusal())

        def watch(_: Any) -> dict[str, torch.Tensor]:
            settle(G)
            tick()
            return {}

        looks = Watch(watch, every=job.unit)
        recipe.train(G, D, seed=job.seed, steps=job.steps, watch=looks, progress=False, **options)
        return {"G": arrays(G), "D": arrays(D)}


def settle(network: Any) -> None:
    """Wait for what is computed in the background, as MXNet does."""
    if not isinstance(network, Ensemble):
        from gan_helpers import mxnet_backend

        mxnet_backend.nd.waitall()


# What is read off a recipe


def dropout(recipe: Recipe) -> float:
    """Return the share of hidden units that D leaves out."""
    D = recipe.D()
    parts = D.modules() if isinstance(D, nn.Module) else ()
    return next((part.p for part in parts if isinstance(part, nn.Dropout)), 0.0)


def with_dropout(recipe: Recipe, share: float) -> Recipe:
    """Return a recipe whose D leaves out another share."""
    if share == dropout(recipe):
        return recipe

    def D() -> nn.Module:
        network = recipe.D()
        for part in network.modules():
            if isinstance(part, nn.Dropout):
                part.p = share
        return network

    return replace(recipe, D=D)


def turns(recipe: Recipe) -> Turns:
    """Return who learns when in a step."""
    found: Turns = recipe.options.get("turns", Turns())
    return found


def arrays(network: Any) -> list[Any]:
    """Return the weights of an ensemble, each with its leading seed axis.

    In MXNet the biases have an axis for the batch, which goes.
    """
    if isinstance(network, Ensemble):
        return [p.detach().cpu().numpy() for p in network.parameters()]
    weights = [weight.asnumpy() for weight in network.weights()]
    return [values.squeeze(1) if i % 2 else values for i, values in enumerate(weights)]

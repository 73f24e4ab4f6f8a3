"""One network each in Keras 3, as its source writes it.

The backend is the one that ``KERAS_BACKEND`` names. NumPy is all else that this needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from benchmarks import chapters
from benchmarks.job import Job, Tick, Weights, read


@dataclass(frozen=True)
class Program:
    """What a source's program has.

    Args:
        G: one generator.
        D: one discriminator.
        draw: draws a batch of data and one of noise.
        step: trains both on these.
    """

    G: Any
    D: Any
    draw: Callable[[], tuple[Any, Any]]
    step: Callable[[Any, Any], None]


def loop(job: Job, tick: Tick) -> Weights:
    """Train one pair by the chapter's program."""
    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(job.threads)
    else:
        import jax

        jax.config.update("jax_enable_x64", job.double)
    if job.double:
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(job.seed)
    program = chapters.load(job.recipe).in_keras(job)
    G, D = program.G, program.D
    weights, _ = read(job.start)
    for model, values in ((G, weights["G"]), (D, weights["D"])):
        model.set_weights([value[0].T for value in values])
    draw = replayed(job) if job.replay else program.draw
    tick()
    for made in range(1, job.steps + 1):
        program.step(*draw())
        if made % job.unit == 0:
            tick()
    return {"G": [w.T[None] for w in G.get_weights()], "D": [w.T[None] for w in D.get_weights()]}


def replayed(job: Job) -> Callable[[], tuple[Any, Any]]:
    """Return a function that hands out the batches of a file."""
    arrays = read(job.replay)[1]
    pairs = zip(arrays["x"][:, 0, 0], arrays["z"][:, 0, 0], strict=True)
    return lambda: next(pairs)

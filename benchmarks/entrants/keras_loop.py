"""The sinusoids in Keras 3, as their source writes them: predict, train D, and train G through the stack.

The backend is the one that ``KERAS_BACKEND`` names. NumPy is all else that this needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras.layers import Dense, Dropout, LeakyReLU

from benchmarks.job import Job, Tick, Weights, read

ROWS = 32_768


def loop(job: Job, tick: Tick) -> Weights:
    """Train one pair by the source's loop."""
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
    G, D, stack = models(job.dropout)
    weights, _ = read(job.start)
    for model, values in ((G, weights["G"]), (D, weights["D"])):
        model.set_weights([value[0].T for value in values])
    draw = replayed(job) if job.replay else drawn(job)
    tick()
    for made in range(1, job.steps + 1):
        step(G, D, stack, *draw())
        if made % job.unit == 0:
            tick()
    return {"G": [w.T[None] for w in G.get_weights()], "D": [w.T[None] for w in D.get_weights()]}


def models(rate: float) -> tuple[Any, Any, Any]:
    """Return G, D and the stack of both, compiled."""
    dropout, leaky = Dropout(rate), LeakyReLU(0.2)
    hidden = [Dense(64, activation="relu"), dropout, Dense(64, activation="relu"), dropout]
    D = keras.Sequential([*hidden, Dense(1, activation="sigmoid")])
    G = keras.Sequential([Dense(64), leaky, Dense(512), leaky, Dense(64, activation="tanh")])
    stack = keras.Sequential([G, D])
    for model in (D, G, stack):
        model.build((None, 64))
        model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return G, D, stack


def step(G: Any, D: Any, stack: Any, x: Any, z: Any) -> None:
    """Train D on curves and fakes, and then G through a D that stands still."""
    fakes = G.predict(z, verbose=0)
    labels = np.repeat([1.0, 0.0], len(x))
    D.train_on_batch(np.concatenate([x, fakes]), labels)
    D.trainable = False
    stack.train_on_batch(z, labels[: len(x)])
    D.trainable = True


def drawn(job: Job) -> Callable[[], tuple[Any, Any]]:
    """Return a function that draws rows of curves and of fixed noise, the same ones of both."""
    rng = np.random.default_rng(job.seed)
    b, c = rng.uniform(0.5, 2.0, (ROWS, 1)), rng.uniform(1.0, np.pi, (ROWS, 1))
    curves = np.sin(b * np.linspace(-5, 5, 64) + c).astype(np.float32)
    noise = rng.uniform(-5, 5, (ROWS, 64)).astype(np.float32)

    def draw() -> tuple[Any, Any]:
        rows = rng.integers(0, ROWS, job.batch)
        return curves[rows], noise[rows]

    return draw


def replayed(job: Job) -> Callable[[], tuple[Any, Any]]:
    """Return a function that hands out the batches of a file."""
    arrays = read(job.replay)[1]
    pairs = zip(arrays["x"][:, 0, 0], arrays["z"][:, 0, 0], strict=True)
    return lambda: next(pairs)

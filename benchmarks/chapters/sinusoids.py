"""Sinusoids: the source's loop in Keras 3, on PyTorch and on JAX, and JAX alone."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from benchmarks.chapters import Benchmark
from benchmarks.job import Job
from benchmarks.targets import Target, over_source

with suppress(ModuleNotFoundError):
    from gan_helpers.recipes import Recipe, sinusoids

BENCHMARK = Benchmark(
    "Sinusoids", "step", 32,
    {"keras_torch": (1,), "keras_jax": (1,), "ours": (1, 4, 16), "jax": (1, 4, 16)},
    note="Each seed has curves and noise of its own, which is why there are fewer at once.",
)  # fmt: skip
AIMS = [
    Target(
        "Sinusoids", "a step with 16 seeds, over Keras on PyTorch", 1 / 20,
        **over_source("sinusoids", ("ours", 16), ("keras_torch", 1)),
    ),
    Target(
        "Sinusoids", "a step with 16 seeds, over Keras on JAX", 1 / 6,
        **over_source("sinusoids", ("ours", 16), ("keras_jax", 1)),
    ),
]  # fmt: skip
ROWS = 32_768


def recipe(seeds: int, seed: int) -> Recipe:
    """Return the source's recipe."""
    return sinusoids.original(*sinusoids.inputs(seeds, seed))


def in_keras(job: Job) -> Any:
    """Return the source's program: predict, train D, and train G through the stack of both."""
    import keras
    from keras.layers import Dense, Dropout, LeakyReLU

    from benchmarks.entrants.keras_loop import Program

    dropout, leaky = Dropout(job.dropout), LeakyReLU(0.2)
    hidden = [Dense(64, activation="relu"), dropout, Dense(64, activation="relu"), dropout]
    D = keras.Sequential([*hidden, Dense(1, activation="sigmoid")])
    G = keras.Sequential([Dense(64), leaky, Dense(512), leaky, Dense(64, activation="tanh")])
    stack = keras.Sequential([G, D])
    for model in (D, G, stack):
        model.build((None, 64))
        model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])

    rng = np.random.default_rng(job.seed)
    b, c = rng.uniform(0.5, 2.0, (ROWS, 1)), rng.uniform(1.0, np.pi, (ROWS, 1))
    curves = np.sin(b * np.linspace(-5, 5, 64) + c).astype(np.float32)
    noise = rng.uniform(-5, 5, (ROWS, 64)).astype(np.float32)

    def draw() -> tuple[Any, Any]:
        rows = rng.integers(0, ROWS, job.batch)  # the same ones of both
        return curves[rows], noise[rows]

    def step(x: Any, z: Any) -> None:
        fakes = G.predict(z, verbose=0)
        labels = np.repeat([1.0, 0.0], len(x))
        D.train_on_batch(np.concatenate([x, fakes]), labels)
        D.trainable = False
        stack.train_on_batch(z, labels[: len(x)])
        D.trainable = True

    return Program(G, D, draw, step)


def in_jax() -> Any:
    """Return the game in JAX. Behind each curve stands the noise that belongs to it."""
    import jax
    from jax import numpy as jnp
    from jax.nn import leaky_relu, relu

    from benchmarks.entrants.jax_scan import Array, Game, any_rows, mlp, same

    def data(job: Job) -> Array:
        b, c, z = jax.random.split(jax.random.key(job.seed + 1), 3)
        shape = (job.seeds, ROWS, 1)
        b = jax.random.uniform(b, shape, minval=0.5, maxval=2.0)
        c = jax.random.uniform(c, shape, minval=1.0, maxval=np.pi)
        noise = jax.random.uniform(z, (*shape[:2], 64), minval=-5.0, maxval=5.0)
        return jnp.concatenate([jnp.sin(b * jnp.linspace(-5, 5, 64) + c), noise], axis=2)

    def draw(data: Array, rows: Array, of_x: Array, of_z: Array) -> tuple[Array, Array]:
        both = data[rows]
        return both[:, :64], both[None, :, 64:]

    def leaky(x: Array) -> Array:
        return leaky_relu(x, 0.2)

    return Game(
        mlp(leaky, leaky, jnp.tanh), mlp(relu, relu, same, dropout=True), any_rows, draw,
        data=data, epsilon=1e-7, epsilon_inside=False, d_scale=0.5,
    )  # fmt: skip

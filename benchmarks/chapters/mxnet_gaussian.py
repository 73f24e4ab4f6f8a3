"""The two-dimensional Gaussian in MXNet: the source's loop, the same hybridised, and JAX."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from benchmarks.chapters import Benchmark
from benchmarks.job import Job, Weights
from benchmarks.targets import Target, over_source

with suppress(ModuleNotFoundError):
    import torch

    from gan_helpers.recipes import Recipe, mxnet_gaussian

ALL = (1, 4, 16, 64, 256)
BENCHMARK = Benchmark(
    "A Gaussian in MXNet", "epoch", 250, {"mxnet": (1,), "hybrid": (1,), "ours": ALL, "jax": ALL},
    steps_in_it=250, note="An epoch is a pass through all points.", double=False,
)  # fmt: skip
AIMS = [
    Target(
        "MXNet's Gaussian", "an epoch with 16 seeds, over the source's loop", 1 / 10,
        **over_source("mxnet_gaussian", ("ours", 16), ("mxnet", 1)),
    )
]  # fmt: skip


def recipe(seeds: int, seed: int) -> Recipe:
    """Return the source's recipe, which keeps D's answers."""
    return mxnet_gaussian.original(*mxnet_gaussian.inputs(seeds, seed), answers=mxnet_gaussian.Answers())


def data(seeds: int, seed: int) -> Any:
    """Return the points of each seed, ``(seeds, n, 2)``."""
    return mxnet_gaussian.inputs(seeds, seed)[0].numpy()


def in_mxnet(job: Job, weights: Weights, data: Any) -> Any:
    """Return the source's program in imperative Gluon, which keeps the score of D in each epoch."""
    from benchmarks.entrants.mxnet_loops import Program, dense
    from gan_helpers import mxnet_backend as gm

    nd, gluon = gm.nd, gm.mx.gluon
    G, D = (dense(weights[name], job, activation="tanh") for name in "GD")
    entropy, score = gluon.loss.SoftmaxCrossEntropyLoss(), gm.mx.metric.Accuracy()
    d_adam = gluon.Trainer(D.collect_params(), "adam", {"learning_rate": 0.05})
    g_adam = gluon.Trainer(G.collect_params(), "adam", {"learning_rate": 0.01})
    is_real, is_fake = nd.ones(job.batch), nd.zeros(job.batch)

    def batches() -> Iterator[tuple[Any, Any]]:
        points = nd.array(data[0])
        served = gm.mx.io.NDArrayIter(points, nd.ones(len(points)), batch_size=job.batch, shuffle=True)
        while True:
            served.reset()
            score.reset()
            yield from ((rows.data[0], nd.random.normal(shape=(job.batch, 2))) for rows in served)

    def step(x: Any, z: Any) -> None:
        with gm.mx.autograd.record():
            fakes = G(z)
            on_real, on_fake = D(x), D(fakes.detach())
            loss = entropy(on_real, is_real) + entropy(on_fake, is_fake)
        loss.backward()
        d_adam.step(job.batch)
        score.update([is_real, is_fake], [on_real, on_fake])
        with gm.mx.autograd.record():
            loss = entropy(D(fakes), is_real)
        loss.backward()
        g_adam.step(job.batch)

    return Program(G, batches(), step, hybrid=(G, D, entropy))


def in_jax() -> Any:
    """Return the game in JAX; the logit of a softmax over two outputs is their difference."""
    import jax
    from jax import numpy as jnp

    from benchmarks.entrants.jax_scan import Array, Game, epochs, mlp, same

    def logit(weights: list[Array], x: Array, key: Array, rate: float) -> Array:
        outputs = mlp(jnp.tanh, jnp.tanh, same)(weights, x)
        return outputs[:, 1:] - outputs[:, :1]

    def draw(data: Array, rows: Array, of_x: Array, of_z: Array) -> tuple[Array, Array]:
        return data[rows], jax.random.normal(of_z, (1, len(rows), 2))

    return Game(mlp(same), logit, epochs, draw, d_rate=0.05, g_rate=0.01, epsilon_inside=False)


def judge(weights: Weights, seeds: int) -> dict[str, Any]:
    """Return how far trained generators are from the real law."""
    matrix, bias = (torch.from_numpy(values).double() for values in weights["G"])
    return {"w2": mxnet_gaussian.w2(mxnet_gaussian.GaussianFit(bias, matrix @ matrix.mT))}

"""Maxout MNIST: the source's loop in PyTorch, since its library is gone, and JAX."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from benchmarks.chapters import Benchmark
from benchmarks.job import Job
from benchmarks.targets import share_of_rate

with suppress(ModuleNotFoundError):
    import torch
    from torch import Tensor, nn

    from benchmarks.entrants.torch_loops import Draw, Program, Step, differentiate
    from gan_helpers.recipes import Recipe, maxout_mnist

BENCHMARK = Benchmark(
    "Maxout MNIST", "step", 2, {"source": (1,), "ours": (1, 4), "jax": (1, 4)},
    note="One GAN alone keeps the cores busy, which is why there are fewer at once.",
)  # fmt: skip
AIMS = [share_of_rate(BENCHMARK.title, "maxout_mnist", 0.75)]


def recipe(seeds: int, seed: int) -> Recipe:
    """Return the source's recipe, which keeps D's answers."""
    images = maxout_mnist.inputs(seeds, seed)[0].to(torch.get_default_dtype())
    return maxout_mnist.original(images, answers=maxout_mnist.Answers())


def data(seeds: int, seed: int) -> Any:
    """Return the images that all seeds learn from, ``(n, 784)``."""
    return maxout_mnist.inputs(seeds, seed)[0].numpy()


def source(job: Job, data: Any) -> Program:
    """Return the source's program: an order for each epoch, and noise from NumPy."""

    def batches() -> Iterator[Tensor]:
        while True:
            order, n = np.random.permutation(len(data)), job.batch
            for i in range(len(data) // n):
                yield torch.from_numpy(data[order[i * n : (i + 1) * n]])

    x = batches()
    return Program(
        maxout_mnist.generator(),
        maxout_mnist.discriminator(dropout=job.dropout),
        lambda: next(x),
        lambda: torch.from_numpy(np.random.rand(job.batch, 100).astype(np.float32)),
        source_step,
    )


def source_step(G: nn.Module, D: nn.Module, real: Draw, noise: Draw) -> Step:
    """Return one step: fakes are made once, both losses are of the same weights, and all is read out.

    As in the recipe of the book, D's dropout is drawn anew for the loss of G.
    """
    entropy = nn.BCEWithLogitsLoss()
    d_opt, g_opt = (torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.5, 0.999)) for network in (D, G))

    def step() -> tuple[float, ...]:
        x, fakes = real(), G(noise())
        of_real, of_fake, again = D(x), D(fakes.detach()), D(fakes)
        one, zero = torch.ones(len(x), 1), torch.zeros(len(x), 1)
        d_loss, g_loss = entropy(of_real, one) + entropy(of_fake, zero), entropy(again, one)
        differentiate(d_loss, D)
        differentiate(g_loss, G)
        d_opt.step()
        g_opt.step()
        right_real, right_fake = (of_real >= 0).float().mean(), (of_fake < 0).float().mean()
        return d_loss.item(), g_loss.item(), right_real.item(), right_fake.item()

    return step


def in_jax() -> Any:
    """Return the game in JAX: G normalises the input of each linear map over the batch."""
    import jax
    from jax import numpy as jnp
    from jax.nn import relu, sigmoid

    from benchmarks.entrants.jax_scan import Array, Game, epochs, mlp, same

    def generate(weights: list[Array], z: Array) -> Array:
        for i, activation in enumerate((relu, relu, sigmoid)):
            gain, shift, matrix, bias = weights[4 * i : 4 * i + 4]
            normal = (z - z.mean(0)) / jnp.sqrt(z.var(0) + 1e-5)
            z = activation((normal * gain + shift) @ matrix + bias)
        return z

    def largest_of_five(v: Array) -> Array:
        return v.reshape(*v.shape[:-1], -1, 5).max(-1)

    def draw(data: Array, rows: Array, of_x: Array, of_z: Array) -> tuple[Array, Array]:
        return data[rows], jax.random.uniform(of_z, (1, len(rows), 100))

    judge = mlp(largest_of_five, largest_of_five, same, dropout=True)
    return Game(generate, judge, epochs, draw, beta1=0.5, simultaneous=True)

"""Edward's MNIST: the source's loop in PyTorch, since its library is gone, and JAX."""

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
    from gan_helpers.recipes import Recipe, edward_mnist

BENCHMARK = Benchmark(
    "Edward's MNIST", "step", 32,
    {"source": (1,), "ours": (1, 4, 16, 64), "compiled": (1, 16), "jax": (1, 4, 16, 64)},
)  # fmt: skip
AIMS = [share_of_rate(BENCHMARK.title, "edward_mnist", 0.5)]


def recipe(seeds: int, seed: int) -> Recipe:
    """Return the source's recipe."""
    return edward_mnist.original(edward_mnist.inputs(seeds, seed)[0].to(torch.get_default_dtype()))


def data(seeds: int, seed: int) -> Any:
    """Return the images that all seeds learn from, ``(n, 784)``."""
    return edward_mnist.inputs(seeds, seed)[0].numpy()


def source(job: Job, data: Any) -> Program:
    """Return the source's program: images in their order, whose pixels NumPy draws, and uniform noise."""
    images, n = (255 * data).round().astype(np.uint8), job.batch

    def batches() -> Iterator[Tensor]:
        start = 0
        while True:
            rows = np.arange(start, start + n) % len(images)
            start += n
            yield torch.from_numpy(np.random.binomial(1, images[rows] / np.float32(255)).astype(np.float32))

    x = batches()
    networks = edward_mnist.generator(), edward_mnist.discriminator()
    return Program(*networks, lambda: next(x), lambda: torch.rand(n, 100) * 2 - 1, source_step)


def source_step(G: nn.Module, D: nn.Module, real: Draw, noise: Draw) -> Step:
    """Return one step: both losses come from one pass through both networks, and both are read out."""
    entropy = nn.BCEWithLogitsLoss()
    d_opt, g_opt = (torch.optim.Adam(network.parameters()) for network in (D, G))

    def step() -> tuple[float, float]:
        x, fakes = real(), G(noise())
        of_real, of_fake = D(x), D(fakes)
        one, zero = torch.ones(len(x), 1), torch.zeros(len(x), 1)
        d_loss, g_loss = entropy(of_real, one) + entropy(of_fake, zero), entropy(of_fake, one)
        differentiate(d_loss, D, retain_graph=True)
        differentiate(g_loss, G)
        d_opt.step()
        g_opt.step()
        return d_loss.item(), g_loss.item()

    return step


def in_jax() -> Any:
    """Return the game in JAX, which draws every pixel of the images, and noise from U(-1, 1)."""
    import jax
    from jax.nn import relu, sigmoid

    from benchmarks.entrants.jax_scan import Array, Game, in_order, mlp, same

    def draw(data: Array, rows: Array, of_x: Array, of_z: Array) -> tuple[Array, Array]:
        x = jax.random.bernoulli(of_x, data[rows]).astype(data.dtype)
        return x, jax.random.uniform(of_z, (1, len(rows), 100), minval=-1.0)

    return Game(mlp(relu, sigmoid), mlp(relu, same), in_order, draw, simultaneous=True)

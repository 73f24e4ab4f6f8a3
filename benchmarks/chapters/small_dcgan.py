"""A small DCGAN, which is no chapter's recipe: PyTorch's plain loop, and JAX."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from benchmarks.chapters import Benchmark
from benchmarks.job import Job
from benchmarks.targets import Target, over_source

with suppress(ModuleNotFoundError):
    import torch
    from torch import nn

    from benchmarks.entrants.torch_loops import Draw, Program, Step, differentiate
    from gan_helpers import Ensemble, adam
    from gan_helpers.data import Resample, StandardNormal
    from gan_helpers.losses import minimax_d, non_saturating_g
    from gan_helpers.recipes import Recipe, bundled_digits

NOISE, BATCH, RATE, BETAS = 100, 64, 2e-4, (0.5, 0.999)
BENCHMARK = Benchmark(
    "A small DCGAN", "step", 1, {"source": (1,), "ours": (1, 4), "jax": (1,)},
    note="Digits, 16 and 32 channels, 64 images of each seed.",
)  # fmt: skip
AIMS = [
    Target(
        BENCHMARK.title, f"time a GAN of gan_helpers, {words}, over the plain loop's", limit,
        **over_source("small_dcgan", ("ours", seeds), ("source", 1)),
    )
    for words, seeds, limit in (("alone", 1, 1.05), ("4 seeds", 4, 0.8))
]  # fmt: skip


def generator() -> Any:
    """Return a generator of images as rows of 784 numbers from -1 to 1."""
    return nn.Sequential(
        nn.Linear(NOISE, 32 * 49), nn.Unflatten(-1, (32, 7, 7)), nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Tanh(), nn.Flatten(1),
    )  # fmt: skip


def discriminator() -> Any:
    """Return a discriminator of such rows."""
    return nn.Sequential(
        nn.Unflatten(-1, (1, 28, 28)), nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.LeakyReLU(0.2),
        nn.Flatten(1), nn.Linear(32 * 49, 1),
    )  # fmt: skip


def recipe(seeds: int, seed: int) -> Recipe:
    """Return the recipe: the two losses of the first GAN, and both players' Adam as in the paper on DCGAN."""

    def d_loss(G: Ensemble, D: Ensemble, x: Any, z: Any) -> Any:
        return minimax_d(D(x), D(G(z).detach()))

    def g_loss(G: Ensemble, D: Ensemble, x: Any, z: Any) -> Any:
        return non_saturating_g(D(G(z)))

    def optimiser(network: Ensemble) -> Any:
        return adam(network, RATE, betas=BETAS)

    images = torch.from_numpy(data(seeds, seed)).to(torch.get_default_dtype())
    noise = StandardNormal(NOISE)
    return Recipe(
        generator, discriminator, Resample(images), noise, d_loss, g_loss, optimiser, optimiser, 1_000, BATCH
    )


def data(seeds: int, seed: int) -> Any:
    """Return the images that all seeds learn from, ``(n, 784)``, from -1 to 1."""
    return (2 * bundled_digits(seeds, seed, device="cpu")[0] - 1).numpy()


def source(job: Job, data: Any) -> Program:
    """Return PyTorch's plain loop, with fresh noise for each player."""
    images = torch.from_numpy(data)
    return Program(
        generator(),
        discriminator(),
        lambda: images[torch.randint(len(images), (job.batch,))],
        lambda: torch.randn(job.batch, NOISE),
        source_step,
    )


def source_step(G: nn.Module, D: nn.Module, real: Draw, noise: Draw) -> Step:
    """Return one step: D's on two batches of their own, then G's, and both losses are read out."""
    entropy = nn.BCEWithLogitsLoss()
    d_opt, g_opt = (torch.optim.Adam(network.parameters(), lr=RATE, betas=BETAS) for network in (D, G))
    one, zero = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)

    def step() -> tuple[float, float]:
        d_loss = entropy(D(real()), one) + entropy(D(G(noise()).detach()), zero)
        differentiate(d_loss, D)
        d_opt.step()
        g_loss = entropy(D(G(noise())), one)
        differentiate(g_loss, G)
        g_opt.step()
        return d_loss.item(), g_loss.item()

    return step


def in_jax() -> Any:
    """Return the game in JAX, which normalises each batch by itself."""
    import jax
    from jax import numpy as jnp
    from jax.nn import leaky_relu, relu

    from benchmarks.entrants.jax_scan import Array, Game, any_rows

    def down(x: Array, w: Array, b: Array) -> Array:
        return jax.lax.conv_general_dilated(x, w, (2, 2), [(1, 1)] * 2) + b[:, None, None]

    def up(x: Array, w: Array, b: Array) -> Array:
        """Return the transposed convolution as four of 2 by 2, one for each kind of pixel, woven together."""
        n, places, side = len(x), jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), x.shape[2]
        kernels = w.swapaxes(0, 1)[:, :, [[3, 1], [2, 0]]][:, :, :, :, [[3, 1], [2, 0]]]  # (o, i, a, k, b, l)
        each = [
            jax.lax.conv_general_dilated(
                places[:, :, i : i + side + 1, j : j + side + 1], kernels[:, :, i, :, j], (1, 1), "VALID"
            )
            for i in (0, 1)
            for j in (0, 1)
        ]
        woven = jnp.stack(each, -1).reshape(n, -1, side, side, 2, 2).swapaxes(3, 4)
        return woven.reshape(n, -1, 2 * side, 2 * side) + b[:, None, None]

    def normal(x: Array, gain: Array, shift: Array) -> Array:
        batches = x.reshape(-1, BATCH, *x.shape[1:])
        mean, var = (of((1, 3, 4), keepdims=True) for of in (batches.mean, batches.var))
        y = ((batches - mean) / jnp.sqrt(var + 1e-5)).reshape(x.shape)
        return y * gain[:, None, None] + shift[:, None, None]

    def generate(w: list[Array], z: Array) -> Array:
        x = relu(normal((z @ w[0] + w[1]).reshape(-1, 32, 7, 7), *w[2:4]))
        x = relu(normal(up(x, *w[4:6]), *w[6:8]))
        return jnp.tanh(up(x, *w[8:10])).reshape(len(z), -1)

    def judge(w: list[Array], x: Array, key: Array = None, rate: float = 0.0) -> Array:
        x = leaky_relu(down(x.reshape(-1, 1, 28, 28), *w[0:2]), 0.2)
        x = leaky_relu(normal(down(x, *w[2:4]), *w[4:6]), 0.2)
        return x.reshape(len(x), -1) @ w[6] + w[7]

    def draw(data: Array, rows: Array, of_x: Array, of_z: Array) -> tuple[Array, Array]:
        return data[rows], jax.random.normal(of_z, (2, len(rows), NOISE))

    return Game(
        generate, judge, any_rows, draw, d_rate=RATE, g_rate=RATE, beta1=BETAS[0], loops=False
    )  # fmt: skip

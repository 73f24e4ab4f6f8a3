"""The ring of eight by the plain game with R1, which is no chapter's recipe: the package, and JAX."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.chapters import Benchmark
from benchmarks.targets import Target, ratio

with suppress(ModuleNotFoundError):
    from torch import Tensor

    from gan_helpers import Ensemble, Stream
    from gan_helpers.equal import of_gradient
    from gan_helpers.penalties import r1
    from gan_helpers.recipes import Recipe, modes

GAMMA = 0.1
SEEDS = (1, 16, 64)
BENCHMARK = Benchmark(
    "A ring with R1", "step", 256, {"ours": SEEDS, "compiled": SEEDS, "jax": SEEDS},
    note="The chapter on modes has its data and its networks.",
)  # fmt: skip
AIMS = [
    Target(
        BENCHMARK.title, f"a step with {seeds} seeds, compiled, over JAX's scan of {seeds}", 1.2,
        ratio("ring", ("compiled", seeds), ("jax", seeds)),
    )
    for seeds in SEEDS[1:]
]  # fmt: skip


def recipe(seeds: int, seed: int) -> Recipe:
    """Return the plain game on the ring, with R1 in the loss of D."""

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return modes.plain_d(lambda z: G(z).detach(), D, x, z) + GAMMA / 2 * r1(D, x)

    return replace(modes.original(), d_loss=d_loss)


def flop() -> int:
    """Return the operations of one step of one GAN, those of the gradient's gradient too."""
    made = recipe(1, 0)
    G, D = made.networks(1, seed=0)
    x, z = made.data(1, made.batch, Stream("data", 0)), made.noise(1, made.batch, Stream("noise", 0))
    losses = ((made.d_loss, D), (made.g_loss, G))
    return 2 * sum(of_gradient(lambda loss=loss: loss(G, D, x, z), player) for loss, player in losses)


def in_jax() -> Any:
    """Return the game in JAX."""
    import jax
    from jax import numpy as jnp
    from jax.nn import relu

    from benchmarks.entrants.jax_scan import Array, Game, mlp, no_rows, same

    angles = 2 * np.pi * np.arange(8) / 8
    centres = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def draw(data: Array, rows: Array, of_x: Array, of_z: Array) -> tuple[Array, Array]:
        which, around = jax.random.split(of_x)
        mode = jax.random.randint(which, (len(rows),), 0, 8)
        x = jnp.asarray(centres)[mode] + 0.01 * jax.random.normal(around, (len(rows), 2))
        return x, jax.random.normal(of_z, (2, len(rows), 2))

    return Game(mlp(relu, relu, relu, same), mlp(relu, relu, same), no_rows, draw, beta1=0.8, gamma=GAMMA)

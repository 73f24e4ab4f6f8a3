"""The GAN in 50 lines: the source's program, the same tidied, and JAX."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from benchmarks.chapters import Benchmark
from benchmarks.job import Job, Weights
from benchmarks.targets import Target, over_source, ratio

with suppress(ModuleNotFoundError):
    import numpy as np
    import torch
    from torch import Tensor, nn

    from benchmarks.entrants.torch_loops import Draw, Program, Step
    from gan_helpers import Ensemble
    from gan_helpers.recipes import Recipe, fifty_lines

ALL = (1, 4, 16, 64, 256)
BENCHMARK = Benchmark(
    "The GAN in 50 lines", "round", 200,
    {"source": (1,), "tidied": (1,), "ours": ALL, "compiled": (1, 16, 64), "jax": ALL},
    whole_batches=True, drawn=True,
)  # fmt: skip

PLACE = "50 lines"
AIMS = [
    Target(
        PLACE, "a round with 16 seeds, over the source's loop", 1 / 12,
        **over_source("fifty_lines", ("ours", 16), ("source", 1)),
    ),
    Target(
        PLACE, "a round with 16 seeds, compiled, over the source's loop", 1 / 20,
        **over_source("fifty_lines", ("compiled", 16), ("source", 1)),
    ),
    Target(
        PLACE, "a round with 64 seeds, over JAX's scan of one seed", 1.0,
        ratio("fifty_lines", ("ours", 64), ("jax", 1)),
    ),
    Target(
        PLACE, "a round with 64 seeds, compiled, over JAX's scan of 64", 1.2,
        ratio("fifty_lines", ("compiled", 64), ("jax", 64)),
    ),
    Target(
        PLACE, "a round with one seed, compiled, over the source's loop", 1 / 2,
        **over_source("fifty_lines", ("compiled", 1), ("source", 1)),
    ),
]  # fmt: skip


def recipe(seeds: int, seed: int) -> Recipe:
    """Return the source's recipe."""
    return fifty_lines.original()


def networks() -> tuple[nn.Module, nn.Module]:
    """Return the source's networks; D judges 100 samples and their squared deviations at once."""
    D = nn.Sequential(
        nn.Linear(200, 50), nn.ELU(), nn.Linear(50, 50), nn.ELU(), nn.Linear(50, 1), nn.Sigmoid()
    )
    return fifty_lines.generator(), D


def source(job: Job, data: None) -> Program:
    """Return the source's program: data come from NumPy, noise from torch."""

    def real() -> Tensor:
        return torch.tensor(np.random.normal(4.0, 1.25, (job.batch, 1)), dtype=torch.float32)

    return Program(*networks(), real, lambda: torch.rand(job.batch, 1), source_step)


def source_step(G: nn.Module, D: nn.Module, real: Draw, noise: Draw) -> Step:
    """Return one round in the manner of the source's program.

    Its labels are made afresh for each call of the loss, its decoration takes the mean to Python and spreads
    it over a tensor of ones, and its optimiser is Adam as it comes.
    """

    def decorated(row: Tensor) -> Tensor:
        mean = torch.ones(row.size()) * torch.mean(row, 1, keepdim=True).tolist()[0][0]
        return torch.cat([row, torch.pow(row - mean, 2.0)], 1)

    loss = nn.BCELoss()
    d_opt, g_opt = (torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.9, 0.999)) for network in (D, G))

    def step() -> None:
        D.zero_grad()
        loss(D(decorated(real().t())), torch.ones(1, 1)).backward()
        fake = G(noise()).detach()
        loss(D(decorated(fake.t())), torch.zeros(1, 1)).backward()
        d_opt.step()
        G.zero_grad()
        fake = G(noise())
        loss(D(decorated(fake.t())), torch.ones(1, 1)).backward()
        g_opt.step()

    return step


def tidied(job: Job, data: None) -> Program:
    """Return the same program, which draws in torch alone."""
    return Program(
        *networks(),
        lambda: torch.normal(4.0, 1.25, (job.batch, 1)),
        lambda: torch.rand(job.batch, 1),
        tidied_step,
    )


def tidied_step(G: nn.Module, D: nn.Module, real: Draw, noise: Draw) -> Step:
    """Return the same round without those detours, and with Adam in its fused form."""

    def decorated(x: Tensor) -> Tensor:
        return torch.cat([x, (x - x.mean().detach()) ** 2]).T

    loss = nn.BCELoss()
    d_opt, g_opt = (torch.optim.Adam(network.parameters(), lr=2e-4, fused=True) for network in (D, G))
    is_real, is_fake = torch.ones(1, 1), torch.zeros(1, 1)

    def step() -> None:
        D.zero_grad()
        loss(D(decorated(real())), is_real).backward()
        loss(D(decorated(G(noise()).detach())), is_fake).backward()
        d_opt.step()
        G.zero_grad()
        loss(D(decorated(G(noise()))), is_real).backward()
        g_opt.step()

    return step


def in_jax() -> Any:
    """Return the game in JAX, which draws from N(4, 1.25), and from U(0, 1) once for each player."""
    import jax
    from jax import numpy as jnp
    from jax.nn import elu, sigmoid

    from benchmarks.entrants.jax_scan import Array, Game, mlp, no_rows, same

    def draw(data: Array, rows: Array, of_x: Array, of_z: Array) -> tuple[Array, Array]:
        shape = (len(rows), 1)
        return 4 + 1.25 * jax.random.normal(of_x, shape), jax.random.uniform(of_z, (2, *shape))

    def decorated(x: Array) -> Array:
        x = x[:, 0]
        return jnp.concatenate([x, (x - jax.lax.stop_gradient(x.mean())) ** 2])[None]

    return Game(
        mlp(elu, sigmoid, same), mlp(elu, elu, same), no_rows, draw,
        seen=decorated, d_rate=2e-4, g_rate=2e-4,
    )  # fmt: skip


def judge(weights: Weights, seeds: int) -> dict[str, Tensor]:
    """Return the moments of trained generators, and their distance from the real law."""
    G = Ensemble(fifty_lines.generator, seeds, device="cpu")
    with torch.no_grad():
        for parameter, values in zip(G.parameters(), weights["G"], strict=True):
            parameter.copy_(torch.from_numpy(values))
    return {k: v for k, v in fifty_lines.measure(G).items() if k in ("mean", "sd", "w1")}

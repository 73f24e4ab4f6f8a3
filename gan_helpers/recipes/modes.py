"""Rings and grids of modes: what finds all of them, in small networks and in those of the paper on packing.

The data, the measures and the large networks are those of Lin et al. (2018), read in their program where the
text leaves something open. The small networks are our own, so that 16 seeds fit on a page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gan_helpers.data import GaussianMixture, StandardNormal, grid, ring
from gan_helpers.ensemble import Ensemble
from gan_helpers.history import History
from gan_helpers.losses import minimax_d, non_saturating_g, relativistic_d, relativistic_g
from gan_helpers.mode_metrics import count_modes
from gan_helpers.models import Maxout, MinibatchDiscrimination, Standardise, mlp, pack
from gan_helpers.options import Look, Turns, Watch
from gan_helpers.penalties import r1_r2
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe, taken_apart
from gan_helpers.tables import Columns, Table
from gan_helpers.training import adam, fading
from gan_helpers.unrolling import unrolled

RING = ring()
GRID = grid(spacing=0.7, sd=0.0175)  # the paper's, times 0.35: heaps about as far apart as the ring's
NOISE = StandardNormal(2)
SAMPLES = 2_500  # that modes are counted in, as in the paper
STEPS, BATCH, RATE, MOMENTUM = 3_000, 64, 1e-3, 0.8
GAMMA = 0.1  # of R1 and R2
WIDER = 5.0  # how much wider the noise of the repair is
KERNELS, DIMENSIONS = 8, 3  # of minibatch discrimination
AHEAD = 5  # steps that an unrolled G looks ahead
EARLY = 500  # which step's missing modes are followed up
NEAR = 0.2  # how close to its centre a sample visits a mode, sharp or not; less than half of any gap
TOLD = (500, 1_000, 2_000, 3_000)  # steps whose counts a table holds

#: What the repair changes, in words.
CHANGES = {
    "pairs": "relativistic pairing",
    "slopes": "$R_1$ and $R_2$",
    "betas": "Adam with 0 and 0.99",
    "rate": "a rate of 0.003 that fades",
    "noise": "noise five times as wide",
}


# Small networks


def generator(wider: float = 1.0) -> nn.Module:
    """Return a small generator from two numbers to two.

    Args:
        wider: what the noise is multiplied by first.
    """
    layers = mlp(2, 64, 64, 64, 2, activation=nn.ReLU)
    return layers if wider == 1 else nn.Sequential(Standardise(0.0, 1 / wider), layers)


def discriminator(samples: int = 1, width: int = 64, extra: nn.Module | None = None) -> nn.Module:
    """Return a small discriminator.

    Args:
        samples: how many it judges at a time.
        width: of its second hidden layer.
        extra: minibatch discrimination behind that layer, if any.
    """
    hidden = [nn.Linear(2 * samples, 64), nn.ReLU(), nn.Linear(64, width), nn.ReLU()]
    if extra is None:
        return nn.Sequential(*hidden, nn.Linear(width, 1))
    return nn.Sequential(*hidden, extra, nn.Linear(width + KERNELS, 1))


def plain_d(G: Any, D: Any, x: Tensor, z: Tensor) -> Tensor:
    """Return the loss of D in the plain game, ``(seeds,)``; G's part of it has a slope too, for unrolling.

    Args:
        G: the generators.
        D: the discriminators.
        x: real samples.
        z: noise.
    """
    return minimax_d(D(x), D(G(z)))


def plain_g(G: Any, D: Any, x: Tensor, z: Tensor) -> Tensor:
    """Return the non-saturating loss of G, ``(seeds,)``.

    Args:
        G: the generators.
        D: the discriminators.
        x: not used.
        z: noise.
    """
    return non_saturating_g(D(G(z)))


def changed(*names: str, target: GaussianMixture = RING, steps: int = STEPS) -> Recipe:
    """Return the plain game with some of the repair's changes.

    Args:
        names: of `CHANGES`; without any it is the original.
        target: the data.
        steps: how many it takes.

    Raises:
        ValueError: if a change is unknown.
    """
    if unknown := set(names) - set(CHANGES):
        raise ValueError(f"names must be among {', '.join(CHANGES)}, not {min(unknown)!r}.")
    paired = "pairs" in names
    betas = (0.0, 0.99) if "betas" in names else (MOMENTUM, 0.999)

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        fake = G(z).detach()
        loss = (relativistic_d if paired else minimax_d)(*D(x, fake))
        if "slopes" not in names:
            return loss
        return loss + GAMMA * r1_r2(D, x, fake)

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        if not paired:
            return non_saturating_g(D(G(z)))
        real, fake = D(x, G(z))
        return relativistic_g(real, fake)

    def optimiser(network: Ensemble) -> torch.optim.Optimizer:
        return fading(adam(network, 3e-3, betas), steps) if "rate" in names else adam(network, RATE, betas)

    return Recipe(
        G=lambda: generator(WIDER if "noise" in names else 1.0),
        D=discriminator,
        data=target,
        noise=NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=optimiser,
        g_opt=optimiser,
        steps=steps,
        batch=BATCH,
    )


def original(target: GaussianMixture = RING) -> Recipe:
    """Return the plain non-saturating game of small networks.

    Args:
        target: the data.
    """
    return changed(target=target)


def leaky(target: GaussianMixture = RING) -> Recipe:
    """Return the plain game with leaky units, and two hidden layers in G as in D.

    Args:
        target: the data.
    """
    G, D = (partial(mlp, 2, 64, 64, last, activation=lambda: nn.LeakyReLU(0.2)) for last in (2, 1))
    return replace(original(target), G=G, D=D)


def repaired(target: GaussianMixture = RING, steps: int = STEPS) -> Recipe:
    """Return the game with all `CHANGES`.

    Args:
        target: the data.
        steps: how many it takes; the rate fades over all of them.
    """
    return changed(*CHANGES, target=target, steps=steps)


def packed(m: int = 2, target: GaussianMixture = RING) -> Recipe:
    """Return the plain game whose D judges m samples at once, made of as many samples as before.

    Args:
        m: how many.
        target: the data.
    """

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return minimax_d(D(pack(x, m)), D(pack(G(z).detach(), m)))

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return non_saturating_g(D(pack(G(z), m)))

    return replace(original(target), D=lambda: discriminator(m), d_loss=d_loss, g_loss=g_loss)


def in_company(target: GaussianMixture = RING) -> Recipe:
    """Return the plain game whose D compares the samples of a batch by minibatch discrimination.

    Args:
        target: the data.
    """
    return replace(
        original(target), D=lambda: discriminator(extra=MinibatchDiscrimination(64, KERNELS, DIMENSIONS))
    )


def wide(target: GaussianMixture = RING) -> Recipe:
    """Return the plain game whose D takes as many products as that of `in_company`, without company.

    Args:
        target: the data.
    """
    return replace(original(target), D=lambda: discriminator(width=112))


def five_steps(target: GaussianMixture = RING) -> Recipe:
    """Return the plain game whose D takes as many steps before each of G as `ahead` tries out.

    Args:
        target: the data.
    """
    return replace(original(target), options={"turns": Turns(d_steps=AHEAD)})


def ahead(target: GaussianMixture = RING, rate: float = 0.1) -> Recipe:
    """Return the plain game whose G looks `AHEAD` steps of D ahead.

    Args:
        target: the data.
        rate: of D's steps on trial.
    """
    return replace(original(target), g_loss=unrolled(plain_d, plain_g, AHEAD, rate))


# The networks of the paper


def _small(network: nn.Module) -> nn.Module:
    """Return a network whose linear maps start as the paper's: N(0, 0.02²), biases at 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def paper_generator() -> nn.Module:
    """Return the paper's generator: four layers of 400, batch normalisation without biases before it."""
    layers: list[nn.Module] = []
    for features in (2, 400, 400, 400):
        norm = nn.BatchNorm1d(400, eps=1e-4, momentum=0.05)
        layers += [nn.Linear(features, 400, bias=False), norm, nn.ReLU()]
    return _small(nn.Sequential(*layers, nn.Linear(400, 2)))


def paper_discriminator(m: int = 1) -> nn.Module:
    """Return the paper's discriminator: three maxout layers of 200 units of five pieces.

    Args:
        m: how many samples it judges at a time.
    """
    maxout = (Maxout(features, 200, 5) for features in (2 * m, 200, 200))
    return _small(nn.Sequential(*maxout, nn.Linear(200, 1)))


PAPER_STEPS = 10_000  # of the paper's 400,000


def pacgan(m: int = 1, target: GaussianMixture = RING, repair: bool = False) -> Recipe:
    """Return the paper's game: 100 packs of m samples, both players at once.

    Two things differ: data are fresh and not 100,000 points again and again, and batches of fakes are
    normalised together and not place by place of the packs.

    Args:
        m: how many samples D judges at a time.
        target: the data.
        repair: take relativistic pairing, R1 and R2 and no momentum; all else stays.
    """

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        real, fake = pack(x, m), pack(G(z).detach(), m)
        if not repair:
            return minimax_d(*D(real, fake))
        return relativistic_d(*D(real, fake)) + GAMMA * r1_r2(D, real, fake)

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        if not repair:
            return non_saturating_g(D(pack(G(z), m)))
        real, fake = D(pack(x, m), pack(G(z), m))
        return relativistic_g(real, fake)

    def optimiser(network: Ensemble) -> torch.optim.Optimizer:
        return adam(network, 1e-4, betas=(0.0 if repair else MOMENTUM, 0.999))

    return Recipe(
        G=paper_generator,
        D=lambda: paper_discriminator(m),
        data=target,
        noise=NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=optimiser,
        g_opt=optimiser,
        steps=PAPER_STEPS,
        batch=100 * m,
        options={"turns": Turns(simultaneous=True)},
    )


# What is counted


def looks(target: GaussianMixture, seed: int | None = None) -> Look:
    """Return what is watched: `gan_helpers.mode_metrics.count_modes` of the same 2,500 inputs at each look.

    Args:
        target: the data.
        seed: of these inputs.

    Returns:
        A function of the generators that returns ``"each"``, the sharp samples of each mode, ``"high"``,
        the share of sharp samples, ``"kl"``, ``"core"``, the share within one standard deviation, of
        which real samples have 39.3 %: a larger one means narrow modes, and ``"near"``, the samples within
        `NEAR` of each mode.
    """

    def look(G: Ensemble) -> Columns:
        z = NOISE(G.seeds, SAMPLES, Stream("counting", seed, next(G.parameters()).device))
        x = G(z)
        found, core = count_modes(x, target), count_modes(x, target, radius=1.0)
        told = {"each": found.each, "high": found.high_quality, "kl": found.reverse_kl}
        near = count_modes(x, target, radius=NEAR / target.sd)
        return told | {"core": core.high_quality, "near": near.each}

    return look


def fates(history: History, measure: str = "each") -> Columns:
    r"""Return what became of modes, counted over the looks of a run.

    Args:
        history: of a run that was watched by `looks`.
        measure: the samples that a mode is found by: ``"each"`` or ``"near"``.

    Returns:
        How many modes were at no look found, ``"never"``; how many were found at one and are missing at the
        last, ``"lost"``; how many were missing at step `EARLY`, ``"missing"``, and how many of these are
        there at the last, ``"back"``, each ``(seeds,)``.
    """
    there = history.watched[measure] > 0
    early = there[history.at == EARLY][0]
    return {
        "never": (~there.any(0)).double().sum(1),
        "lost": (there.any(0) & ~there[-1]).double().sum(1),
        "missing": (~early).double().sum(1),
        "back": (~early & there[-1]).double().sum(1),
    }


def counted(
    recipe: Recipe,
    seeds: int,
    seed: int,
    told: tuple[int, ...] = TOLD,
    every: int = 100,
    coarse: bool = False,
) -> Columns:
    """Return what a recipe finds at several steps, and what became of its modes.

    Args:
        recipe: one of this module.
        seeds: how many runs.
        seed: the base seed.
        told: the steps.
        every: steps between two looks.
        coarse: whether to tell as well which modes have a sample within `NEAR`.

    Returns:
        ``"modes_500"``, ``"high_500"``, ``"kl_500"`` and ``"core_500"`` for each step of ``told``, and the
        `fates`; if ``coarse``, then ``"near_500"`` and ``"never_near"`` and so on too.
    """
    G, D = recipe.networks(seeds, seed=seed)
    watch = Watch(looks(recipe.data, seed), every)  # type: ignore[arg-type]  # all data here are mixtures
    history = recipe.train(G, D, seed=seed, watch=watch).require_whole()
    found: Columns = {}
    for step in told:
        kept = {name: values[history.at == step][0] for name, values in history.watched.items()}
        found[f"modes_{step}"] = (kept["each"] > 0).double().sum(1)
        found |= {f"{name}_{step}": kept[name] for name in ("high", "kl", "core")}
        if coarse:
            found[f"near_{step}"] = (kept["near"] > 0).double().sum(1)
    if coarse:
        found |= {f"{name}_near": values for name, values in fates(history, "near").items()}
    return found | fates(history)


LONG = 12_000  # steps


def grid_long(seeds: int, seed: int) -> Columns:
    """Return what the repair finds on the grid in four times the steps.

    Args:
        seeds: how many runs.
        seed: the base seed.
    """
    return counted(repaired(GRID, LONG), seeds, seed, (3_000, 6_000, 9_000, LONG), 500)


def _each(recipes: Mapping[str, Callable[[], Recipe]], seeds: int, seed: int, *told_every: Any) -> Columns:
    """Return what several recipes find, from the same seeds, with names such as ``"modes_3000_pack2"``."""
    return {
        f"{measure}_{name}": values
        for name, make in recipes.items()
        for measure, values in counted(make(), seeds, seed, *told_every).items()
    }


SUBSETS = (("betas", "rate"), ("betas", "rate", "noise"))  # of CHANGES, between one and all but one


def subsets(seeds: int, seed: int) -> Columns:
    """Return what some of the repair's changes find together on the ring.

    Args:
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        Columns such as ``"modes_3000_betas_rate"``.
    """
    return _each({"_".join(names): partial(changed, *names) for names in SUBSETS}, seeds, seed)


METHODS: dict[str, Callable[[], Recipe]] = {
    "plain": original,
    "pack2": lambda: packed(2),
    "pack4": lambda: packed(4),
    "company": in_company,
    "wide": wide,
    "ahead": ahead,
    "five": five_steps,
}


#: Controls of packing, the plain game with as few answers in a loss and packs with as many as it has.
ANSWERS: dict[str, Callable[[], Recipe]] = {
    "few32": lambda: replace(original(), batch=BATCH // 2),
    "few16": lambda: replace(original(), batch=BATCH // 4),
    "many2": lambda: replace(packed(2), batch=2 * BATCH),
    "many4": lambda: replace(packed(4), batch=4 * BATCH),
}


def methods(recipes: Mapping[str, Callable[[], Recipe]], seeds: int, seed: int) -> Columns:
    """Return what some games find on the ring, from the same seeds and in as many steps.

    Args:
        recipes: what makes them, by name: `METHODS` or `ANSWERS`.
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        Columns such as ``"modes_3000_pack2"``, each ``(seeds,)``.
    """
    return _each(recipes, seeds, seed)


#: The games of the paper's networks.
PAPER: dict[str, Callable[[], Recipe]] = {
    "plain": pacgan,
    "pack2": lambda: pacgan(2),
    "repaired": lambda: pacgan(repair=True),
}


def paper(seeds: int, seed: int) -> Columns:
    """Return what the games of `PAPER` find on the ring, from the same seeds.

    Args:
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        Columns such as ``"modes_10000_pack2"``.
    """
    return _each(PAPER, seeds, seed, (1_000, 5_000, PAPER_STEPS), 500)


def floor(seeds: int, seed: int) -> Columns:
    """Return what as many real samples come to, on the ring and on the grid.

    Args:
        seeds: how many draws.
        seed: the base seed.
    """
    rng = Stream("real samples", seed)
    found: Columns = {}
    for name, target in (("ring", RING), ("grid", GRID)):
        real = count_modes(target(seeds, SAMPLES, rng), target)
        found |= {
            f"modes_{name}": real.modes,
            f"high_{name}": real.high_quality,
            f"kl_{name}": real.reverse_kl,
        }
    return found


TABLES = {
    "answers": Table(partial(methods, ANSWERS), 16, ensemble=16),
    "apart": Table(taken_apart(changed, tuple(CHANGES), counted), 32, ensemble=32),
    "floor": Table(floor, 320, ensemble=320),
    "grid_long": Table(grid_long, 300, ensemble=16),
    "grid_original": Table(lambda seeds, seed: counted(original(GRID), seeds, seed), 64),
    "grid_repaired": Table(lambda seeds, seed: counted(repaired(GRID), seeds, seed), 192),
    "leaky": Table(lambda seeds, seed: counted(leaky(), seeds, seed), 16, ensemble=16),
    "methods": Table(partial(methods, METHODS), 16, ensemble=16),
    "original": Table(lambda seeds, seed: counted(original(), seeds, seed, coarse=True), 64),
    "paper": Table(paper, 1, ensemble=1),  # a run of all three takes half an hour of a core
    "repaired": Table(lambda seeds, seed: counted(repaired(), seeds, seed, coarse=True), 300),
    "subsets": Table(subsets, 32, ensemble=32),
}

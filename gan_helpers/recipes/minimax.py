"""The measurements of the chapter on theory: discriminators that learn alone, and the smallest game.

Discriminators learn against a generator that stands still. Densities are known on both sides, so what one has
learned is held against the best one there is. The smallest game, the Dirac GAN, is played by plain gradient
steps and by Adam, with the repairs of the other chapters one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn.functional import softplus

from gan_helpers import dirac
from gan_helpers.data import Normal, Sampler, Uniform
from gan_helpers.ensemble import Ensemble
from gan_helpers.losses import minimax_d, minimax_g, non_saturating_g
from gan_helpers.models import Standardise, mlp
from gan_helpers.options import Watch
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe, taken_apart
from gan_helpers.recipes.solo import Solo
from gan_helpers.tables import Columns, Table
from gan_helpers.training import adam

REAL = Normal(4.0, 1.25)
FAKE = Normal(5.0, 0.7)
FAR = Uniform(-5.0, -3.0)  # fakes that no one would take for real
DRAWN = 400_000  # samples of each law that the chapter counts
COUNTED = 20_000  # samples of each law that accuracies are counted on
TESTED = 500  # samples of each law in a two-sample test
CONTROLS = 2_000  # two-sample tests of a law with itself
LOOKS = (0, 10, 20, 50, 100, 200, 500, 1_000, 2_000)  # steps at which the pulls are measured

#: The points of the quadrature by the trapezoid rule, which for normal densities is exact to rounding.
GRID = torch.linspace(-6.0, 14.0, 4_001, dtype=torch.float64)


def discriminator() -> nn.Module:
    """Return a discriminator of single numbers, for laws near 4.5."""
    return nn.Sequential(Standardise(4.5, 1.0), mlp(1, 32, 32, 1))


def wide_discriminator() -> nn.Module:
    """Return a discriminator of single numbers, for laws some units apart on both sides of 0."""
    return nn.Sequential(Standardise(0.0, 4.0), mlp(1, 32, 32, 1))


def far_generator() -> nn.Linear:
    """Return the generator that makes `FAR` of noise from U(0, 1): G(z) = 2 z - 5."""
    G = nn.Linear(1, 1)
    nn.init.constant_(G.weight, 2.0)
    nn.init.constant_(G.bias, -5.0)
    return G


def _against(G: Callable[[], nn.Module], noise: Sampler, D: Callable[[], nn.Module]) -> Recipe:
    """Return the recipe for discriminators D of `REAL` and of what G makes of noise."""

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return minimax_d(*D(x, G(z).detach()))

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return non_saturating_g(D(G(z)))

    return Solo(
        G=G,
        D=D,
        data=REAL,
        noise=noise,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=lambda D: adam(D, 4e-3),
        g_opt=lambda G: adam(G, 4e-3),
        steps=2_000,
        batch=256,
        learner="D",
        shrinking=True,
    )


def original() -> Recipe:
    """Return the recipe for discriminators of `REAL` and `FAKE`: G hands on what is drawn."""
    return _against(nn.Identity, FAKE, discriminator)


def far() -> Recipe:
    """Return the recipe for discriminators of `REAL` and `FAR`, which `far_generator` makes."""
    return _against(far_generator, Uniform(0.0, 1.0), wide_discriminator)


def logits(D: Ensemble, x: Tensor) -> Tensor:
    """Return the logits of discriminators of single numbers at the points x, ``(seeds, points)`` in float64.

    Args:
        D: the discriminators.
        x: the points, ``(points,)``.
    """
    weights = next(D.parameters())
    with torch.no_grad():
        a: Tensor = D(x.to(weights).expand(D.seeds, -1).unsqueeze(2))
    return a.squeeze(2).double().cpu()


def measure(D: Ensemble) -> dict[str, Tensor]:
    """Return how far discriminators of `REAL` and `FAKE` are from the best one, each ``(seeds,)``.

    Args:
        D: the discriminators.

    Returns:
        The mean gap of the answers over the mixture of both laws, ``mean_gap``; the largest gap on [1, 7],
        ``largest_gap``, on [3.5, 5], where the best answer falls fastest, ``steep_gap``, and on [7, 9], where
        samples are rare, ``rare_gap``; the largest gap of the logits on [3, 7], where both laws have samples,
        ``logit_gap``; what the value of the game lacks, in nats, ``value_gap``; and what the accuracy lacks,
        ``accuracy_gap``.
    """
    x, width = GRID, GRID[1] - GRID[0]
    p, q = (law.density(x.unsqueeze(1)) for law in (REAL, FAKE))
    best = REAL.log_prob(x.unsqueeze(1)) - FAKE.log_prob(x.unsqueeze(1))
    a = logits(D, x)

    def value(a: Tensor) -> Tensor:
        return -(p * softplus(-a) + q * softplus(a)).sum(-1) * width

    def accuracy(a: Tensor) -> Tensor:
        return torch.where(a > 0, p, q).sum(-1) * width / 2

    gap = (a.sigmoid() - best.sigmoid()).abs()
    return {
        "mean_gap": (gap * (p + q) / 2).sum(1) * width,
        "largest_gap": gap[:, (x >= 1) & (x <= 7)].amax(1),
        "steep_gap": gap[:, (x >= 3.5) & (x <= 5)].amax(1),
        "rare_gap": gap[:, (x >= 7) & (x <= 9)].amax(1),
        "logit_gap": (a - best).abs()[:, (x >= 3) & (x <= 7)].amax(1),
        "value_gap": value(best) - value(a),
        "accuracy_gap": accuracy(best) - accuracy(a),
    }


def discriminators(seeds: int, seed: int) -> dict[str, Tensor]:
    """Train discriminators of `REAL` and `FAKE` and `measure` them.

    Args:
        seeds: how many.
        seed: the base seed.
    """
    G, D = original().networks(seeds, seed=seed)
    original().train(G, D, seed=seed).require_whole()
    return measure(D)


def pulls(G: Ensemble, D: Ensemble, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the norms of the gradients of both generator losses in the weights of G.

    Args:
        G: the generators.
        D: the discriminators.
        z: noise, ``(seeds, batch, features)``.

    Returns:
        The norms for log(1 - D) and for -log D, each ``(seeds,)``.
    """
    a = D(G(z))
    norms = []
    for loss in (minimax_g, non_saturating_g):
        slopes = torch.autograd.grad(loss(a).sum(), list(G.parameters()), retain_graph=True)
        norms.append(torch.cat([s.flatten(1) for s in slopes], dim=1).norm(dim=1))
    return norms[0], norms[1]


def gradients(seeds: int, seed: int) -> dict[str, Tensor]:
    """Train discriminators against `FAR` and return the pulls on its generator at the steps `LOOKS`.

    Args:
        seeds: how many.
        seed: the base seed.

    Returns:
        The norms, each ``(seeds,)``: ``saturating_10`` is that of log(1 - D) after 10 steps, and so on.
    """
    G, D = far().networks(seeds, seed=seed)
    z = ((torch.arange(500, device=next(D.parameters()).device) + 0.5) / 500).expand(seeds, -1).unsqueeze(2)

    def look(G: Ensemble) -> dict[str, Tensor]:
        return dict(zip(("saturating", "non_saturating"), pulls(G, D, z), strict=True))

    history = far().train(G, D, seed=seed, watch=Watch(look, every=10)).require_whole()
    return {
        f"{name}_{step}": values[history.at == step][0]
        for step in LOOKS
        for name, values in history.watched.items()
    }


# The smallest game, by Adam

CHANGES = {
    "r1": "$R_1$, $\\gamma = 0.5$",
    "beta1": "$\\beta_1 = 0$ for 0.9",
    "ema": "the average of $G$",
    "turns": "taking turns",
    "loss": "$-\\log D$ for $G$",
    "slower": "a quarter of the step size",
    "faster_d": "$D$ four times as fast",
}


@dataclass(frozen=True)
class Game:
    """How the Dirac GAN is played by Adam.

    Args:
        step: G's step size.
        rule: options of `gan_helpers.dirac.play_adam`.
        averaged: whether the running average of G's weight is judged, with a decay of 0.999.
    """

    step: float
    rule: dict[str, Any]
    averaged: bool


def game(*changes: str) -> Game:
    """Return the Dirac GAN with some changes.

    Without any, both players take steps of 0.01 at once, with a memory of 0.9, and G descends log(1 - D).

    Args:
        changes: which of `CHANGES` are made.
    """
    rule = {
        "gamma": 0.5 if "r1" in changes else 0.0,
        "beta1": 0.0 if "beta1" in changes else 0.9,
        "alternating": "turns" in changes,
        "non_saturating": "loss" in changes,
        "d_speed": 4.0 if "faster_d" in changes else 1.0,
    }
    return Game(0.01 / 4 if "slower" in changes else 0.01, rule, "ema" in changes)


def strays(game: Game, seeds: int, seed: int) -> Columns:
    """Return how far the fakes get from the data in the last quarter of 4,000 steps, ``(seeds,)``.

    Args:
        game: how it is played.
        seeds: how many starts, with both weights anywhere between -1 and 1.
        seed: the base seed.
    """
    theta, psi = _starts(seeds, seed)
    theta = dirac.play_adam(theta, psi, game.step, 4_000, **game.rule)[:, 0]
    return {"strays": (_averaged(theta, 0.999) if game.averaged else theta)[3_001:].abs().amax(0)}


def pairs(seeds: int, seed: int) -> Columns:
    """Return the `strays` of games with two changes, for each two of `CHANGES`, ``(seeds,)``.

    Args:
        seeds: how many starts, with both weights anywhere between -1 and 1.
        seed: the base seed.

    Returns:
        ``"strays_r1_ema"`` and so on, and how far the fakes are from the data at first, ``"first"``.
    """
    found = {"first": _starts(seeds, seed)[0].abs()}
    for one, other in combinations(CHANGES, 2):
        found[f"strays_{one}_{other}"] = strays(game(one, other), seeds, seed)["strays"]
    return found


def _starts(seeds: int, seed: int) -> Tensor:
    """Return first weights of both players, ``(2, seeds)``."""
    return Stream("starts", seed).uniform(2, seeds, low=-1.0, high=1.0).double()


# The smallest game, by plain gradient steps

STEP = 0.2
RULES: dict[str, dict[str, Any]] = {
    "original": {},
    "smaller": {"step": STEP / 4},
    "loss": {"non_saturating": True},
    "turns": {"alternating": True},
    "faster_d": {"d_speed": 4.0},
    "momentum": {"momentum": 0.9},
    "negative": {"momentum": -0.5, "alternating": True},
    "r1": {"gamma": 0.5},
    "turns_r1": {"gamma": 0.5, "alternating": True},
}


def games(seeds: int, seed: int) -> Columns:
    """Play the Dirac GAN by plain gradient steps and all `RULES`, and return what came of it, ``(seeds,)``.

    Args:
        seeds: how many starts, with both weights anywhere between -1 and 1.
        seed: the base seed.

    Returns:
        For each rule how far the fakes get from the data in the last quarter of 2,000 steps, ``"strays_r1"``,
        and by what factor a step multiplies the distance from the equilibrium close to it, ``"growth_r1"``.
        ``"strays_average"`` is about the running average of theta in the original game, with a decay of
        0.999, and ``"strays_fitted"`` about a theta that descends half its squared distance to the data.
    """
    start, psi = _starts(seeds, seed)
    found = {}
    for name, rule in RULES.items():
        rule = {"step": STEP, **rule}
        theta = dirac.play(start, psi, steps=2_000, **rule)[:, 0]
        found[f"strays_{name}"] = theta[1_501:].abs().amax(0)
        near = dirac.play(1e-15 * start, 1e-15 * psi, steps=150, **rule)
        found[f"growth_{name}"] = _growth(near.norm(dim=1)[50:])
        if name == "original":
            found["strays_average"] = _averaged(theta, 0.999)[1_501:].abs().amax(0)
    found["strays_fitted"] = start.abs() * (1 - STEP) ** 1_501
    return found


def _growth(sizes: Tensor) -> Tensor:
    """Return the factor by which each column grows from row to row, by least squares of the logarithms."""
    logs, rows = sizes.log(), torch.arange(len(sizes), dtype=sizes.dtype)
    rows = (rows - rows.mean()).unsqueeze(1)
    return ((rows * logs).sum(0) / (rows**2).sum()).exp()


def _averaged(values: Tensor, decay: float) -> Tensor:
    """Return the running averages of the rows, as the loop's ``ema`` makes them."""
    averages = [values[0]]
    for t, row in enumerate(values[1:], 1):
        kept = min(decay, (1 + t) / (10 + t))
        averages.append(kept * averages[-1] + (1 - kept) * row)
    return torch.stack(averages)


# How far plain draws are from the densities


def share_off(bound: float) -> float:
    """Return how likely the share of real ones is off by so much in one of 24 bins from 1 to 7.

    Args:
        bound: by how much, for 400,000 samples of each law; counts in a bin are binomial.
    """
    edges = torch.linspace(1.0, 7.0, 25, dtype=torch.float64)
    real, fake = (DRAWN * law.cdf(edges).diff().numpy() for law in (REAL, FAKE))
    n, share = real + fake, real / (real + fake)
    n -= 6 * n**0.5  # there are hardly ever fewer in a bin
    below = stats.binom.cdf(n * (share - bound), n.round(), share)
    above = stats.binom.sf(n * (share + bound), n.round(), share)
    return min(1.0, float((below + above + stats.norm.sf(6)).sum()))


def value_off(bound: float) -> float:
    """Return how likely the sampled value of the game is off by so much, for the logit x - 4.

    Args:
        bound: by how much, for 400,000 samples of each law; a mean of so many is normal.
    """
    width, variance = GRID[1] - GRID[0], 0.0
    for law, a in ((REAL, 4 - GRID), (FAKE, GRID - 4)):
        weights = law.density(GRID.unsqueeze(1)) * width
        first, second = (float(weights @ softplus(a) ** k) for k in (1, 2))
        variance += (second - first**2) / DRAWN
    return min(1.0, float(2 * stats.norm.sf(bound / variance**0.5)))


def sum_off(bound: float) -> float:
    """Return how likely two accuracies on 20,000 samples each add up to something off by so much.

    Shares of so many are normal, and vary most at one half. Three thresholds are tried, and a trained D is
    right less often than the best one, by 0.001 at most in all.

    Args:
        bound: by how much.
    """
    return min(1.0, float(3 * 2 * stats.norm.sf((bound - 0.001) / (2 * 0.25 / COUNTED) ** 0.5)))


def false_alarms(bound: float) -> float:
    """Return how likely so large a share of 2,000 two-sample tests of a law with itself is below 0.05.

    Each asks how likely guessing gets as many right, of 500 samples of each kind. On one law, a discriminator
    that says real to a share s is right on s of the first and 1 - s of the second: no wider a count.

    Args:
        bound: the share.
    """
    return float(stats.binom.sf(math.ceil(bound * CONTROLS) - 1, CONTROLS, _alarmed(0.5)))


def too_few_alarms(bound: float) -> float:
    """Return how likely no larger a share of such tests is below 0.05, if D says real to 0.65 of the samples.

    Args:
        bound: the share.
    """
    return float(stats.binom.cdf(math.floor(bound * CONTROLS), CONTROLS, _alarmed(0.65)))


def _alarmed(real: float) -> float:
    """Return how often a test of a law with itself is below 0.05, if D says real to such a share of it."""
    enough = stats.binom.isf(0.05, 2 * TESTED, 0.5) + 1  # the least count that guessing reaches so rarely
    first = stats.binom.pmf(range(TESTED + 1), TESTED, real)
    second = stats.binom.pmf(range(TESTED + 1), TESTED, 1 - real)
    return float(np.convolve(first, second)[int(enough) :].sum())


TABLES = {
    "discriminators": Table(discriminators, 320),
    "gradients": Table(gradients, 320),
    "games": Table(games, 256, ensemble=256),
    "apart": Table(taken_apart(game, tuple(CHANGES), strays), 256, ensemble=256),
    "pairs": Table(pairs, 256, ensemble=256),
}

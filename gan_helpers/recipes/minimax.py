"""The measurements of the chapter on theory: discriminators that learn against a generator that stands still.

Densities are known on both sides, so what a discriminator has learned is held against the best one there is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim.lr_scheduler import LinearLR

from gan_helpers import _checks
from gan_helpers.data import Normal, Sampler, Uniform
from gan_helpers.ensemble import Ensemble
from gan_helpers.losses import minimax_d, minimax_g, non_saturating_g
from gan_helpers.models import Standardise, mlp
from gan_helpers.randomness import Stream
from gan_helpers.tables import Table
from gan_helpers.training import adam

REAL = Normal(4.0, 1.25)
FAKE = Normal(5.0, 0.7)
FAR = Uniform(-5.0, -3.0)  # fakes that no one would take for real
DRAWN = 400_000  # samples of each law that the chapter counts
LOOKS = (0, 10, 20, 50, 100, 200, 500, 1_000, 2_000)  # steps at which the pulls are measured

#: The points of the quadrature by the trapezoid rule, which for normal densities is exact to rounding.
GRID = torch.linspace(-6.0, 14.0, 4_001, dtype=torch.float64)


def discriminator() -> nn.Module:
    """Return a discriminator of single numbers, for laws near 4.5."""
    return nn.Sequential(Standardise(4.5, 1.0), mlp(1, 32, 32, 1))


def wide_discriminator() -> nn.Module:
    """Return a discriminator of single numbers, for laws some units apart on both sides of 0."""
    return nn.Sequential(Standardise(0.0, 4.0), mlp(1, 32, 32, 1))


def learn(
    D: Ensemble,
    real: Sampler,
    fakes: Sampler,
    *,
    steps: int = 2_000,
    look: Callable[[int], None] | None = None,
    seed: int | None = None,
) -> None:
    """Train discriminators against a law that does not change, by Adam with steps that shrink to nothing.

    Args:
        D: the discriminators, changed in place.
        real: draws real samples.
        fakes: draws fakes.
        steps: how many steps, of 256 samples of each law.
        look: called with the number of the step before each step, and after the last.
        seed: the seed of both streams; `gan_helpers.randomness.base_seed` unless given.

    Raises:
        TypeError: if steps is not a whole number.
        ValueError: if steps is below 1.
    """
    _checks.whole("steps", steps)
    optimiser = adam(D, 4e-3)
    shrink = LinearLR(optimiser, 1.0, 0.0, total_iters=steps)
    device = next(D.parameters()).device
    data, noise = Stream("data", seed, device), Stream("noise", seed, device)
    for step in range(steps):
        if look is not None:
            look(step)
        x, fake = real(D.seeds, 256, data), fakes(D.seeds, 256, noise)
        optimiser.zero_grad()
        minimax_d(*D(x, fake)).sum().backward()
        optimiser.step()
        shrink.step()
    if look is not None:
        look(steps)


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
    D = Ensemble(discriminator, seeds, name="D", seed=seed)
    learn(D, REAL, FAKE, seed=seed)
    return measure(D)


def far_generator() -> nn.Linear:
    """Return the generator that makes `FAR` of noise from U(0, 1): G(z) = 2 z - 5."""
    G = nn.Linear(1, 1)
    nn.init.constant_(G.weight, 2.0)
    nn.init.constant_(G.bias, -5.0)
    return G


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
    D = Ensemble(wide_discriminator, seeds, name="D", seed=seed)
    device = next(D.parameters()).device
    G = Ensemble.of([far_generator() for _ in range(seeds)], device=device)
    z = ((torch.arange(500, device=device) + 0.5) / 500).expand(seeds, -1).unsqueeze(2)
    columns = {}

    def look(step: int) -> None:
        if step in LOOKS:
            columns[f"saturating_{step}"], columns[f"non_saturating_{step}"] = pulls(G, D, z)

    learn(D, REAL, FAR, look=look, seed=seed)
    return columns


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


TABLES = {"discriminators": Table(discriminators, 320), "gradients": Table(gradients, 320)}

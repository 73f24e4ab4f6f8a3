"""The GAN in 50 lines, N(4, 1.25) from uniform noise: the source's recipe, the repaired and the later one.

The source is Nag (2017); its networks and numbers are those of its code, where the text and the code differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from gan_helpers import metrics
from gan_helpers.data import Normal, Sampler, Uniform
from gan_helpers.device import default_device
from gan_helpers.ensemble import Ensemble
from gan_helpers.losses import minimax_d, non_saturating_g
from gan_helpers.models import Standardise, decorate, mlp
from gan_helpers.options import Turns, Watch
from gan_helpers.penalties import r1
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe
from gan_helpers.tables import Columns, Table
from gan_helpers.training import adam

REAL = Normal(4.0, 1.25)
NOISE = Uniform(0.0, 1.0)


def generator() -> nn.Module:
    """Return the source's generator: ELU after the first map, sigmoid after the second."""
    return nn.Sequential(nn.Linear(1, 50), nn.ELU(), nn.Linear(50, 50), nn.Sigmoid(), nn.Linear(50, 1))


def original() -> Recipe:
    """Return the recipe of 2017: a discriminator that judges 100 samples at once."""

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return minimax_d(*D(decorate(x), decorate(G(z).detach())))

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return non_saturating_g(D(decorate(G(z))))

    return Recipe(
        G=generator,
        D=lambda: mlp(200, 50, 50, 1),
        data=REAL,
        noise=NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=lambda D: adam(D, 2e-4),
        g_opt=lambda G: adam(G, 2e-4),
        steps=20_000,
        batch=100,
    )


def repaired() -> Recipe:
    """Return the repaired recipe: D judges one sample at a time, and its slope at real samples costs.

    The generator, the layers of D behind its input, the batch and the losses are the source's.
    """

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return minimax_d(*D(x, G(z).detach())) + 0.1 / 2 * r1(D, x)

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return non_saturating_g(D(G(z)))

    return Recipe(
        G=lambda: nn.Sequential(Standardise(0.5, 12**-0.5), generator()),
        D=lambda: nn.Sequential(Standardise(REAL.mean, REAL.sd), mlp(1, 50, 50, 1)),
        data=REAL,
        noise=NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=lambda D: adam(D, 4e-3, betas=(0.0, 0.999)),
        g_opt=lambda G: adam(G, 1e-3, betas=(0.0, 0.999)),
        steps=4_000,
        batch=100,
        options={"ema": 0.999},
    )


def four_moments(x: Tensor) -> Tensor:
    r"""Return the mean, standard deviation, skewness and excess kurtosis of each batch as one input.

    Args:
        x: samples, ``(seeds, batch, 1)``.

    Returns:
        One row per seed, ``(seeds, 1, 4)``; the first two in units of x.
    """
    mean = x.mean(1, keepdim=True)
    deviations = x - mean
    sd = deviations.square().mean(1, keepdim=True).sqrt()
    scores = deviations / sd
    skewness = scores.pow(3).mean(1, keepdim=True)
    kurtosis = scores.pow(4).mean(1, keepdim=True) - 3
    return torch.cat([mean, sd, skewness, kurtosis], dim=2)


def later() -> Recipe:
    """Return the source's later recipe: D sees four moments, and each player gets 20 updates a step."""

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return minimax_d(*D(four_moments(x), four_moments(G(z).detach())))

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return non_saturating_g(D(four_moments(G(z))))

    def sgd(network: Ensemble) -> torch.optim.SGD:
        return torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)

    return Recipe(
        G=lambda: mlp(1, 5, 5, 1, activation=nn.Tanh),
        D=lambda: mlp(4, 10, 10, 1, activation=nn.Sigmoid),
        data=REAL,
        noise=NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=sgd,
        g_opt=sgd,
        steps=5_000,
        batch=500,
        options={"turns": Turns(d_steps=20, g_steps=20)},
    )


def quantile_samples(G: Ensemble, n: int = 10_000) -> Tensor:
    """Return what the generators make of n evenly spaced quantiles of the noise: no sampling error.

    Args:
        G: generators from one uniform number to one number.
        n: the number of quantiles, (i - 1/2) / n for i from 1 to n.

    Returns:
        The outputs, ``(seeds, n)``, in float64.
    """
    device = next(G.parameters()).device
    u = (torch.arange(n, device=device) + 0.5) / n
    with torch.no_grad():
        samples: Tensor = G(u.expand(G.seeds, n).unsqueeze(2))
    return samples.squeeze(2).double()


def measure(G: Ensemble) -> dict[str, Tensor]:
    """Return the moments of each generator and its distances W1 and KS from the real law, each ``(seeds,)``.

    Args:
        G: generators from one uniform number to one number.
    """
    samples = quantile_samples(G)
    moments = metrics.moments(samples)
    return {
        "mean": moments.mean,
        "sd": moments.sd,
        "skewness": moments.skewness,
        "kurtosis": moments.kurtosis,
        "w1": metrics.w1(samples, REAL),
        "ks": metrics.ks(samples, REAL),
    }


def with_twins(sampler: Sampler, twins: int) -> Sampler:
    """Return a sampler that gives the last members what it gives the first ones.

    Args:
        sampler: draws for all members but the twins.
        twins: how many members have a twin, 1 or more.
    """

    def draw(seeds: int, batch: int, rng: Stream) -> Tensor:
        x = sampler(seeds - twins, batch, rng)
        return torch.cat([x, x[:twins]])

    return draw


def twins(seeds: int, seed: int) -> dict[str, Tensor]:
    """Train pairs that differ by one rounding by the original recipe, and return their gaps, ``(seeds,)``.

    Args:
        seeds: the number of pairs.
        seed: the base seed.

    Returns:
        The largest gap between the outputs of two twins, before the training, ``start``, and in its second
        half, ``later``.
    """
    recipe = original()
    G, D = (
        Ensemble.of([network.member(k % seeds) for k in range(2 * seeds)], device=default_device())
        for network in recipe.networks(seeds, seed=seed)
    )
    with torch.no_grad():
        next(G.parameters())[seeds:] *= 1 + 2**-23

    def gap(G: Ensemble) -> dict[str, Tensor]:
        samples = quantile_samples(G)
        return {"gap": (samples[:seeds] - samples[seeds:]).abs().amax(1)}

    recipe = replace(recipe, data=with_twins(REAL, seeds), noise=with_twins(NOISE, seeds))
    history = recipe.train(G, D, seed=seed, watch=Watch(gap, every=200)).require_whole()
    gaps = history.watched["gap"]
    return {"start": gaps[0], "later": gaps[history.at > history.steps / 2].amax(0)}


def ended(recipe: Callable[[], Recipe]) -> Callable[[int, int], Columns]:
    """Return the function that trains by a recipe from a base seed, and measures the generators at the end.

    Args:
        recipe: returns the recipe.
    """

    def run(seeds: int, seed: int) -> Columns:
        made = recipe()
        G, D = made.networks(seeds, seed=seed)
        history = made.train(G, D, seed=seed).require_whole()
        return measure((G if history.averaged is None else history.averaged).eval())

    return run


def order(seeds: int, seed: int) -> Columns:
    """Return by how much D's answer about 100 real samples changes when they are sorted, ``(seeds,)``.

    Args:
        seeds: how many runs of the original recipe.
        seed: the base seed.
    """
    recipe = original()
    G, D = recipe.networks(seeds, seed=seed)
    recipe.train(G, D, seed=seed).require_whole()
    x = REAL(seeds, 100, Stream("to be sorted", seed, next(D.parameters()).device))
    with torch.no_grad():
        answers = [D(decorate(samples)) for samples in (x, x.sort(dim=1).values)]
    return {"change": (answers[0] - answers[1]).abs().flatten()}


def start(seeds: int, seed: int) -> Columns:
    """Return how high the mean of the fakes gets in the first 5,000 rounds, ``(seeds,)``.

    Args:
        seeds: how many runs of the original recipe.
        seed: the base seed.
    """
    recipe = replace(original(), steps=5_000)
    G, D = recipe.networks(seeds, seed=seed)
    watch = Watch(lambda G: {"mean": quantile_samples(G).mean(1)}, every=200)
    history = recipe.train(G, D, seed=seed, watch=watch).require_whole()
    return {"highest_mean": history.watched["mean"].amax(0)}


TABLES = {
    "original": Table(ended(original), 320),
    "order": Table(order, 320),
    "later": Table(ended(later), 320),
    "repaired": Table(ended(repaired), 320),
    "start": Table(start, 320),
    "twins": Table(twins, 320),
}

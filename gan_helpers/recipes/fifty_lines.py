"""The GAN in 50 lines, N(4, 1.25) from uniform noise: the source's recipe, the repaired and the later one.

The source is Nag (2017); its networks and numbers are those of its code, where the text and the code differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

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
from gan_helpers.recipes import Recipe, taken_apart
from gan_helpers.snapshots import Series
from gan_helpers.tables import Columns, Table
from gan_helpers.training import adam

REAL = Normal(4.0, 1.25)
NOISE = Uniform(0.0, 1.0)

#: What the repair changes in the training, in words.
CHANGES = {
    "single": "D sees single samples",
    "r1": "R1 penalty",
    "d_rate": "D learns 20 times as fast",
    "g_rate": "G learns 5 times as fast",
    "beta1": "Adam without momentum",
    "inputs": "standardised inputs",
}


def generator(second: Callable[[], nn.Module] = nn.Sigmoid) -> nn.Module:
    """Return the source's generator.

    Args:
        second: makes what follows the second map: in the source's code a sigmoid, in its text an ELU. An ELU
            follows the first in both.
    """
    return nn.Sequential(nn.Linear(1, 50), nn.ELU(), nn.Linear(50, 50), second(), nn.Linear(50, 1))


class StandardiseDecorated(nn.Module):
    """A fixed shift and scale of decorated batches: of samples of `REAL`, and of their squared deviations."""

    def forward(self, batch: Tensor) -> Tensor:
        """Map decorated batches, ``(..., 200)``, to numbers of about zero mean and unit variance."""
        samples, squares = batch.chunk(2, dim=-1)
        variance = (
            REAL.sd**2
        )  # of the squares it is the mean, and their standard deviation is sqrt(2) times it
        scaled = (samples - REAL.mean) / REAL.sd, (squares - variance) / (2**0.5 * variance)
        return torch.cat(scaled, dim=-1)


def changed(*names: str, steps: int = 20_000, bags: int = 1) -> Recipe:
    """Return the recipe of 2017 with some of the repair's changes.

    Args:
        names: of `CHANGES`; without any it is the original.
        steps: how many it takes, as many as the source's post unless given.
        bags: how many batches of 100 of each kind a step has. Where D judges whole ones, it gives that many
            answers.

    Raises:
        ValueError: if a change is unknown.
    """
    if unknown := set(names) - set(CHANGES):
        raise ValueError(f"names must be among {', '.join(CHANGES)}, not {min(unknown)!r}.")
    single, scaled, betas = "single" in names, "inputs" in names, (0.0 if "beta1" in names else 0.9, 0.999)

    def seen(x: Tensor) -> Tensor:
        if single:
            return x
        if bags == 1:
            return decorate(x)
        return torch.cat([decorate(bag) for bag in x.chunk(bags, 1)], 1)

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        loss = minimax_d(*D(seen(x), seen(G(z).detach())))
        return loss + 0.1 / 2 * r1(D, seen(x)) if "r1" in names else loss

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return non_saturating_g(D(seen(G(z))))

    def discriminator() -> nn.Module:
        scale = Standardise(REAL.mean, REAL.sd) if single else StandardiseDecorated()
        judge = mlp(1 if single else 200, 50, 50, 1)
        return nn.Sequential(scale, judge) if scaled else judge

    return Recipe(
        G=lambda: nn.Sequential(Standardise(0.5, 12**-0.5), generator()) if scaled else generator(),
        D=discriminator,
        data=REAL,
        noise=NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=lambda D: adam(D, 4e-3 if "d_rate" in names else 2e-4, betas=betas),
        g_opt=lambda G: adam(G, 1e-3 if "g_rate" in names else 2e-4, betas=betas),
        steps=steps,
        batch=100 * bags,
    )


def original() -> Recipe:
    """Return the recipe of 2017: a discriminator that judges 100 samples at once."""
    return changed()


def repaired() -> Recipe:
    """Return the repaired recipe: D judges one sample at a time, and its slope at real samples costs.

    The generator, the layers of D behind its input, the batch and the losses are the source's. It takes a
    fifth of the steps, and its result is an average of G's weights.
    """
    return replace(changed(*CHANGES, steps=4_000), options={"ema": 0.999})


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
    """Return the moments of each generator and its distances W1 and KS from the real data, each ``(seeds,)``.

    Those of a generator that is not finite any more are NaN.

    Args:
        G: generators from one uniform number to one number.
    """
    return described(quantile_samples(G))


def described(samples: Tensor) -> dict[str, Tensor]:
    """Return what `measure` finds, of samples.

    Args:
        samples: evenly spaced quantiles, in any order, ``(seeds, n)``.
    """
    finite = samples.isfinite().all(1)
    samples = samples.where(finite.unsqueeze(1), 0)
    moments = metrics.moments(samples)
    found = {
        "mean": moments.mean,
        "sd": moments.sd,
        "skewness": moments.skewness,
        "kurtosis": moments.kurtosis,
        "w1": metrics.w1(samples, REAL),
        "ks": metrics.ks(samples, REAL),
    }
    return {name: values.where(finite, torch.nan) for name, values in found.items()}


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


def twinned(network: Ensemble) -> Ensemble:
    """Return an ensemble that has each member twice: the twins come last, in the same order.

    Args:
        network: the members.
    """
    seeds = network.seeds
    return Ensemble.of([network.member(k % seeds) for k in range(2 * seeds)], device=default_device())


def rounded_apart(G: Ensemble) -> Ensemble:
    """Return generators and their twins: the first weights are apart by one or two units in the last place.

    Args:
        G: the generators.
    """
    both = twinned(G)
    with torch.no_grad():
        next(both.parameters())[G.seeds :] *= 1 + 2**-23
    return both


def gap(G: Ensemble) -> dict[str, Tensor]:
    """Return the largest gap between the outputs of two twins, ``(seeds,)``, as ``"gap"``.

    Args:
        G: what `rounded_apart` returned.
    """
    first, second = quantile_samples(G).chunk(2)
    return {"gap": (first - second).abs().amax(1)}


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
    G, D = recipe.networks(seeds, seed=seed)
    G, D = rounded_apart(G), twinned(D)
    recipe = replace(recipe, data=with_twins(REAL, seeds), noise=with_twins(NOISE, seeds))
    history = recipe.train(G, D, seed=seed, watch=Watch(gap, every=200)).require_whole()
    gaps = history.watched["gap"]
    return {"start": gaps[0], "later": gaps[history.at > history.steps / 2].amax(0)}


def taught(seeds: int, seed: int, steps: int = 20_000) -> dict[str, Tensor]:
    """Train pairs that differ by one rounding without a game, and return what `twins` does.

    Nobody has to be fooled: G is told which number each z should become, by the quantile function of the
    data, and descends the mean squared error. Networks, optimiser, batch and steps are those of the original.

    Args:
        seeds: the number of pairs.
        seed: the base seed.
        steps: how many.

    Returns:
        ``"start"`` and ``"later"``, and ``"w1"``, how far the first of each pair ends from the data.
    """
    G = rounded_apart(original().networks(seeds, seed=seed)[0])
    draw, opt = with_twins(NOISE, seeds), adam(G, 2e-4)
    rng = Stream("noise", seed, default_device())
    gaps = {0: gap(G)["gap"]}
    for step in range(1, steps + 1):
        z = draw(2 * seeds, 100, rng).clamp(min=1e-6)  # the quantile of 0 is not finite
        opt.zero_grad()
        (G(z) - REAL.quantile(z)).square().mean((1, 2)).sum().backward()
        opt.step()
        if step % 200 == 0:
            gaps[step] = gap(G)["gap"]
    later = torch.stack([found for step, found in gaps.items() if step > steps / 2]).amax(0)
    return {"start": gaps[0], "later": later, "w1": measure(G)["w1"][:seeds]}


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


BEGUN = 5_000  # rounds: as far as the chapter itself plays the original with sixteen seeds


def start(seeds: int, seed: int) -> Columns:
    """Return what the original has come to after its first `BEGUN` rounds.

    Args:
        seeds: how many runs.
        seed: the base seed.

    Returns:
        What `measure` finds, and ``"highest_mean"``, how high the mean of the fakes got on the way.
    """
    recipe = replace(original(), steps=BEGUN)
    G, D = recipe.networks(seeds, seed=seed)
    watch = Watch(lambda G: {"mean": quantile_samples(G).mean(1)}, every=200)
    history = recipe.train(G, D, seed=seed, watch=watch).require_whole()
    return {"highest_mean": history.watched["mean"].amax(0)} | measure(G)


def raw_and_averaged(recipe: Recipe, seeds: int, seed: int) -> Columns:
    """Return what a recipe has come to in the end, with its last weights and with averaged ones.

    Args:
        recipe: one of `changed`.
        seeds: how many runs.
        seed: the base seed.

    Returns:
        What `measure` finds, with names such as ``"w1_raw"`` and ``"w1_averaged"``; ``"slope"``, the root
        mean squared slope of D's logit at real input; ``"failed"``, whether something was not finite.
    """
    G, D = recipe.networks(seeds, seed=seed)
    history = recipe.train(G, D, seed=seed, ema=0.999, on_nonfinite="go on")
    x = REAL(seeds, 100, Stream("slopes", seed, next(D.parameters()).device))
    x = x if next(D.parameters()).shape[-1] == 1 else decorate(x)
    measured = {
        f"{name}_{kind}": values
        for kind, made in (("raw", G), ("averaged", history.averaged))
        for name, values in measure(made.eval()).items()
    }
    return measured | {"slope": r1(D, x).detach().sqrt(), "failed": history.failed}


def layers(seeds: int, seed: int) -> Columns:
    """Return what the original comes to with the sigmoid of its code in G, and with the ELU of its text.

    Args:
        seeds: how many runs.
        seed: the base seed.

    Returns:
        What `raw_and_averaged` does of each, with names such as ``"w1_raw_sigmoid"``.
    """
    recipes = {"sigmoid": original(), "elu": replace(original(), G=partial(generator, nn.ELU))}
    return {
        f"{column}_{name}": values
        for name, recipe in recipes.items()
        for column, values in raw_and_averaged(recipe, seeds, seed).items()
    }


def ten_bags(seeds: int, seed: int) -> Columns:
    """Return what the repair without its single samples comes to if D gives ten answers of each kind a step.

    Args:
        seeds: how many runs.
        seed: the base seed.

    Returns:
        What `raw_and_averaged` does.
    """
    others = (name for name in CHANGES if name != "single")
    return raw_and_averaged(changed(*others, steps=4_000, bags=10), seeds, seed)


def fitted(seeds: int, seed: int) -> Columns:
    """Return how good the plain alternative is: a Gaussian with the mean and the spread of n real samples.

    Args:
        seeds: how many fits.
        seed: the base seed.

    Returns:
        What `measure` finds, for n = 100, a batch, and 400,000, all that a repaired run sees: ``"w1_100"``.
    """
    found: Columns = {}
    u = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    for n in (100, 400_000):
        x = REAL(seeds, n, Stream(f"{n} samples", seed)).double()
        fits = x.mean(1) + x.std(1) * torch.special.ndtri(u)
        found |= {f"{name}_{n}": values for name, values in described(fits).items()}
    return found


ROUNDS = (0, 100, 200, 500, *range(1_000, 31_000, 1_000))  # at which the long runs are measured


def long(seeds: int, seed: int) -> Columns:
    """Return how the original goes on to 30,000 rounds, as the source's code does, at each of `ROUNDS`.

    Args:
        seeds: how many runs.
        seed: the base seed.

    Returns:
        Columns such as ``"mean_1000"``; ``"says_real"`` and ``"says_fake"`` are D's mean answer, as a
        probability, to 100 fresh batches of each kind, and ``"right"`` is how many of these it takes for
        what they are.
    """
    recipe = replace(original(), steps=ROUNDS[-1])
    G, D = recipe.networks(seeds, seed=seed)
    rng = Stream("fresh batches", seed, next(D.parameters()).device)

    def answers(sampler: Callable[[], Tensor]) -> Tensor:
        return torch.cat([D(decorate(sampler())) for _ in range(100)], 1).squeeze(2)

    def look(G: Ensemble) -> Columns:
        real = answers(lambda: REAL(seeds, 100, rng))
        fake = answers(lambda: G(NOISE(seeds, 100, rng)))
        right = torch.cat([real > 0, fake < 0], 1).double().mean(1)
        said = {"says_real": real.sigmoid().mean(1), "says_fake": fake.sigmoid().mean(1), "right": right}
        return {name: values.double() for name, values in (measure(G) | said).items()}

    history = recipe.train(G, D, seed=seed, watch=Watch(look, every=100))
    watched = history.require_whole().watched
    return {f"{name}_{at}": values[at // 100] for name, values in watched.items() for at in ROUNDS}


TABLES = {
    "apart": Table(
        taken_apart(partial(changed, steps=4_000), tuple(CHANGES), raw_and_averaged), 32, ensemble=32
    ),
    "bags": Table(ten_bags, 32, ensemble=32),
    "fitted": Table(fitted, 320),
    "layers": Table(layers, 32, ensemble=32),
    "original": Table(ended(original), 320),
    "later": Table(ended(later), 320),
    "long": Table(long, 64, ensemble=32),
    "repaired": Table(ended(repaired), 320),
    "start": Table(start, 320),
    "taught": Table(taught, 16, ensemble=16),
    "twins": Table(twins, 320),
}

SNAPSHOTS = {
    "rounds": Series(
        recipes={
            "none: the recipe of 2017": original(),
            **{f"alone: {words}": changed(name) for name, words in CHANGES.items()},
            "all six": changed(*CHANGES),
            "all six, and averaged weights": replace(repaired(), steps=20_000),
        },
        rounds=(0, 500, 1_000, 2_000, 3_000, 4_000, 6_000, 10_000, 15_000, 20_000),
        samples=quantile_samples,
        view=(-1.0, 9.0),
        bound=("the block", 0.193),
        start=("none: the recipe of 2017", 20_000, 0),
    ),
}

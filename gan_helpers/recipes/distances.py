"""Wasserstein and kernel GANs on the line: two published boxes, their repair, and what critics know.

The boxes are algorithm 1 of Arjovsky, Chintala and Bottou (2017), which cuts weights, and algorithm 1 of
Gulrajani et al. (2017), which penalises slopes. All numbers that they print are followed, on the Gaussian of
the fifty lines. Neither says which networks suit a line, so these are two hidden layers of 64 on both sides;
the second prints no batch, and has the 64 of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim import Optimizer

from gan_helpers import dirac, metrics
from gan_helpers.data import Normal
from gan_helpers.divergences import mmd2, witness
from gan_helpers.ensemble import Ensemble
from gan_helpers.losses import wasserstein_d, wasserstein_g
from gan_helpers.models import mlp
from gan_helpers.options import Look, Turns, Watch
from gan_helpers.penalties import gradient_penalty, r1
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe, combinations
from gan_helpers.recipes.fifty_lines import NOISE, REAL, measure, quantile_samples
from gan_helpers.recipes.minimax import FAKE, logits
from gan_helpers.recipes.solo import Solo
from gan_helpers.tables import Columns, Table
from gan_helpers.training import adam, clipped

STEPS = 2_000  # of the generator; the critic takes five times as many
EARLY = 500  # at which runs are measured as well

#: What leads from the first box to the repaired recipe, in words; the first two lead to the second box.
CHANGES = {
    "penalty": "a gradient penalty in place of clipping",
    "adam": "Adam in place of RMSProp",
    "target": "a target slope of 0",
}


def network(features: int = 1) -> nn.Module:
    """Return a network from numbers to one number, for either side.

    Args:
        features: how many numbers.
    """
    return mlp(features, 64, 64, 1, activation=nn.ReLU)


def penalised(weight: float = 10.0, target: float = 1.0, one_sided: bool = False) -> Callable[..., Tensor]:
    """Return the loss of a critic with a gradient penalty.

    Args:
        weight: of the penalty.
        target: the slope that costs nothing.
        one_sided: whether smaller slopes cost nothing either.
    """

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        fake = G(z).detach()
        # The places between come from the stream of D's own random numbers, which a checkpoint keeps.
        cost = gradient_penalty(D, x, fake, D.dropout, target, one_sided)
        return wasserstein_d(*D(x, fake)) + weight * cost

    return d_loss


def plain(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    """Return the loss of a critic without a penalty, ``(seeds,)``.

    Args:
        G: the generators.
        D: the critics.
        x: real samples.
        z: noise.
    """
    return wasserstein_d(*D(x, G(z).detach()))


def with_r1(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    """Return the loss of a critic whose slope costs at real samples alone, as much as `repaired` costs.

    Args:
        G: the generators.
        D: the critics.
        x: real samples.
        z: noise.
    """
    return plain(G, D, x, z) + 10 * r1(D, x)


def rmsprop(network: Ensemble) -> Optimizer:
    """Return the optimiser of the first box.

    Args:
        network: whose weights it updates.
    """
    return torch.optim.RMSprop(network.parameters(), lr=5e-5)


def faster(network: Ensemble) -> Optimizer:
    """Return the optimiser of the second box.

    Args:
        network: whose weights it updates.
    """
    return adam(network, 1e-4, betas=(0.0, 0.9))


def changed(*names: str, steps: int = STEPS) -> Recipe:
    """Return the first box with some of the changes.

    Args:
        names: of `CHANGES`; without a penalty there is no target to change.
        steps: how many it takes.

    Raises:
        ValueError: if a change is unknown.
    """
    if unknown := set(names) - set(CHANGES):
        raise ValueError(f"names must be among {', '.join(CHANGES)}, not {min(unknown)!r}.")

    def optimiser(network: Ensemble) -> Optimizer:
        return (faster if "adam" in names else rmsprop)(network)

    penalty = "penalty" in names
    return Recipe(
        G=network,
        D=network,
        data=REAL,
        noise=NOISE,
        d_loss=penalised(target=0.0 if "target" in names else 1.0) if penalty else plain,
        g_loss=lambda G, D, x, z: wasserstein_g(D(G(z))),
        d_opt=optimiser if penalty else lambda D: clipped(optimiser(D), 0.01),
        g_opt=optimiser,
        steps=steps,
        batch=64,
        options={"turns": Turns(d_steps=5)},
    )


def original() -> Recipe:
    """Return the box of 2017 that clips: c = 0.01, RMSProp with 0.00005, batches of 64, five steps of D."""
    return changed()


def gradient_penalised() -> Recipe:
    """Return the box that penalises: a weight of 10, Adam with 0.0001, 0 and 0.9, five steps of D."""
    return changed("penalty", "adam")


def repaired() -> Recipe:
    """Return the second box with a target slope of 0 in place of 1."""
    return changed(*CHANGES)


def one_sided() -> Recipe:
    """Return the second box with a penalty on slopes above 1 alone."""
    return replace(gradient_penalised(), d_loss=penalised(one_sided=True))


def light() -> Recipe:
    """Return the second box with a penalty of weight 0.1, as its authors' program for toy data has it.

    References:
        ``gan_toy.py`` of https://github.com/igul222/improved_wgan_training
    """
    return replace(gradient_penalised(), d_loss=penalised(weight=0.1))


def with_r1_alone() -> Recipe:
    """Return the second box with R1 in place of its penalty, at the weight of `repaired`."""
    return replace(gradient_penalised(), d_loss=with_r1)


def looks(D: Ensemble) -> Look:
    """Return what is watched: where the mean fake is, and what the critic says of the real mean beyond it.

    Args:
        D: the critics.

    Returns:
        A function of the generators that returns ``"mean"``, ``"distance"``, which is W1 of 1,000 quantiles,
        and ``"favour"``, each ``(seeds,)``. Where that is below 0, the critic likes the mean fake better than
        the mean of the data.
    """

    def look(G: Ensemble) -> Columns:
        samples = quantile_samples(G, 1_000)
        mean = samples.mean(1)
        places = torch.stack([torch.full_like(mean, REAL.mean), mean], 1)
        said = D(places.to(next(D.parameters())).unsqueeze(2)).squeeze(2)
        return {"mean": mean, "distance": metrics.w1(samples, REAL), "favour": said[:, 0] - said[:, 1]}

    return look


def ended(recipe: Recipe, seeds: int, seed: int) -> Columns:
    """Return what a recipe has come to.

    Args:
        recipe: one of this module.
        seeds: how many runs.
        seed: the base seed.

    Returns:
        What `gan_helpers.recipes.fifty_lines.measure` finds at the end; ``"strays"``, the largest distance of
        the mean fake from the mean of the data in the second half; ``"misled"``, the share of the looks in
        the second half at which it was more than 1 away and the critic favoured it; ``"w1_early"``, the
        distance at step `EARLY`.
    """
    G, D = recipe.networks(seeds, seed=seed)
    history = recipe.train(G, D, seed=seed, watch=Watch(looks(D), every=50)).require_whole()
    late = history.at > history.steps / 2
    away = (history.watched["mean"][late] - REAL.mean).abs()
    misled = (away > 1) & (history.watched["favour"][late] < 0)
    return measure(G.eval()) | {
        "strays": away.amax(0),
        "misled": misled.double().mean(0),
        "w1_early": history.watched["distance"][history.at == EARLY][0],
    }


def apart(seeds: int, seed: int) -> Columns:
    """Return what all `combinations` of the changes have come to, from the same seeds.

    Those that name a target without a penalty are the same run as without it.

    Args:
        seeds: how many runs.
        seed: the base seed.
    """
    made: dict[tuple[str, ...], Columns] = {}
    found: Columns = {}
    for name, changes in combinations(tuple(CHANGES)).items():
        told = changes if "penalty" in changes else tuple(c for c in changes if c != "target")
        if told not in made:
            made[told] = ended(changed(*told), seeds, seed)
        found |= {f"{column}_{name}": values for column, values in made[told].items()}
    return found


def early(seeds: int, seed: int) -> Columns:
    """Return what the runs of the page come to, the first box and the repaired recipe, after `EARLY` steps.

    Args:
        seeds: how many runs.
        seed: the base seed.

    Returns:
        By how much the distance W1 of 1,000 quantiles has become smaller since the start,
        ``"nearer_none"`` and ``"nearer_all"``, in units of x.
    """
    found = {}
    for name, changes in (("none", ()), ("all", tuple(CHANGES))):
        recipe = changed(*changes, steps=EARLY)
        G, D = recipe.networks(seeds, seed=seed)
        at_first = metrics.w1(quantile_samples(G, 1_000), REAL)
        recipe.train(G, D, seed=seed).require_whole()
        found[f"nearer_{name}"] = at_first - metrics.w1(quantile_samples(G, 1_000), REAL)
    return found


def paths(seeds: int, seed: int) -> Columns:
    """Return the ways that the mean fakes of both boxes go, from the seeds of `apart`.

    Args:
        seeds: how many runs.
        seed: the base seed.

    Returns:
        The mean fake at every 50th step, ``"mean_50_none"`` and ``"mean_50_without_target"``, and its largest
        distance from the mean of the data in the whole run, ``"furthest_none"``.
    """
    found: Columns = {}
    for name, changes in (("none", ()), ("without_target", ("penalty", "adam"))):
        recipe = changed(*changes)
        G, D = recipe.networks(seeds, seed=seed)
        history = recipe.train(G, D, seed=seed, watch=Watch(looks(D), every=50)).require_whole()
        means = history.watched["mean"]
        found |= {f"mean_{at}_{name}": mean for at, mean in zip(history.at.tolist(), means, strict=True)}
        found[f"furthest_{name}"] = (means - REAL.mean).abs().amax(0)
    return found


PENALTIES = {"one_sided": one_sided, "r1": with_r1_alone}
LIGHT = {"light": light}


def penalties(recipes: Mapping[str, Callable[[], Recipe]], seeds: int, seed: int) -> Columns:
    """Return what other penalties in the place of the second box's have come to, by their names.

    Args:
        recipes: what makes them, by name: `PENALTIES` or `LIGHT`.
        seeds: how many runs.
        seed: the base seed.
    """
    return {
        f"{column}_{name}": values
        for name, recipe in recipes.items()
        for column, values in ended(recipe(), seeds, seed).items()
    }


# Critics alone, against fakes that stand still

LEARN = 1_000  # steps
CRITICS: dict[str, dict[str, Any]] = {
    "clipped": {"c": 0.1},
    "two_sided": {"weight": 10.0},
    "one_sided": {"weight": 10.0, "one_sided": True},
    "normalised": {},
}
ALONG = torch.linspace(0.0, 8.0, 801, dtype=torch.float64)  # where slopes are taken
QUANTILES = (torch.arange(1_000, dtype=torch.float64) + 0.5) / 1_000
NARROW = Normal(REAL.mean, FAKE.sd)  # fakes with the mean of the data


def normalised(features: int = 1) -> nn.Module:
    """Return the critic with spectrally normalised layers, so that its slope is at most 1.

    Args:
        features: how many numbers it sees.
    """
    layers = network(features)
    for layer in layers.children():
        if isinstance(layer, nn.Linear):
            spectral_norm(layer)
    return layers


def critic(
    kind: str, seeds: int, seed: int | None = None, steps: int = LEARN, fakes: Normal = FAKE
) -> Ensemble:
    """Return critics that have learned to tell `REAL` from fakes that stand still.

    Args:
        kind: one of `CRITICS`.
        seeds: how many.
        seed: the base seed.
        steps: how many they take, on 64 fresh samples of data and of fakes.
        fakes: the law of the fakes.

    Raises:
        ValueError: if there is no such kind.
    """
    if kind not in CRITICS:
        raise ValueError(f"kind must be one of {', '.join(CRITICS)}, not {kind!r}.")
    rule = CRITICS[kind]
    D = Ensemble(normalised if kind == "normalised" else network, seeds, name="D", seed=seed)
    optimiser: Optimizer = adam(D, 1e-3, betas=(0.0, 0.9))
    if kind == "clipped":
        optimiser = clipped(torch.optim.RMSprop(D.parameters(), 5e-4), rule["c"])
    device = next(D.parameters()).device
    samples, places = Stream("samples", seed, device), Stream("places", seed, device)
    for _ in range(steps):
        x, fake = (law(seeds, 64, samples) for law in (REAL, fakes))
        loss = wasserstein_d(D(x), D(fake))
        if "weight" in rule:
            cost = gradient_penalty(D, x, fake, places, one_sided=rule.get("one_sided", False))
            loss = loss + rule["weight"] * cost
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
    return D.eval()


def known(D: Ensemble, fakes: Normal = FAKE) -> Columns:
    r"""Return what critics know of W1 of `REAL` and of fakes, each ``(seeds,)``.

    Args:
        D: the critics.
        fakes: the law of the fakes.

    Returns:
        The difference of the mean outputs over 1,000 quantiles of each, ``"value"``; the largest size of
        the slope on [0, 8], ``"steepest"``; and the share of the samples of both at places where the
        slope has the sign of the true price's, ``"agree"``.
    """
    of_real, of_fake = (logits(D, law.quantile(QUANTILES)) for law in (REAL, fakes))
    slopes = logits(D, ALONG).diff(dim=1) / ALONG.diff()
    middle = (ALONG[1:] + ALONG[:-1]) / 2
    true = (fakes.cdf(middle) - REAL.cdf(middle)).sign()
    samples = REAL.density(middle.unsqueeze(1)) + fakes.density(middle.unsqueeze(1))
    return {
        "value": of_real.mean(1) - of_fake.mean(1),
        "steepest": slopes.abs().amax(1),
        "agree": ((slopes.sign() == true) * samples).sum(1) / samples.sum(),
    }


def critics(fakes: Normal, seeds: int, seed: int) -> Columns:
    """Train critics of all `CRITICS`, and return what they are `known` to know.

    Args:
        fakes: the law of the fakes.
        seeds: how many of each.
        seed: the base seed.

    Returns:
        Columns such as ``"value_clipped"``.
    """
    return {
        f"{name}_{kind}": values
        for kind in CRITICS
        for name, values in known(critic(kind, seeds, seed, fakes=fakes), fakes).items()
    }


# A generator without a critic

BANDWIDTHS = {"narrow": (0.1,), "single": (1.0,), "wide": (10.0,), "mixed": (0.25, 0.5, 1.0, 2.0, 4.0)}


def kernel(bandwidths: tuple[float, ...] = BANDWIDTHS["mixed"]) -> Solo:
    """Return the recipe of a generator that descends the unbiased MMD from the data, without a critic.

    Args:
        bandwidths: of its Gaussian kernels.
    """
    return Solo(
        G=network,
        D=network,
        data=REAL,
        noise=NOISE,
        d_loss=plain,
        g_loss=lambda G, D, x, z: mmd2(x, G(z), bandwidths),
        d_opt=rmsprop,
        g_opt=lambda G: adam(G, 1e-3),
        steps=STEPS,
        batch=64,
        learner="G",
    )


def kernels(seeds: int, seed: int) -> Columns:
    """Return what generators have come to by each of `BANDWIDTHS`.

    Args:
        seeds: how many runs.
        seed: the base seed.

    Returns:
        What `gan_helpers.recipes.fifty_lines.measure` finds, with names such as ``"w1_mixed"``.
    """
    found: Columns = {}
    for name, bandwidths in BANDWIDTHS.items():
        recipe = kernel(bandwidths)
        G, D = recipe.networks(seeds, seed=seed)
        recipe.train(G, D, seed=seed)
        found |= {f"{column}_{name}": values for column, values in measure(G.eval()).items()}
    return found


# Kernels that are learned

WIDTHS = (1.0, 2.0, 4.0, 8.0, 16.0)  # of the box; in units of its features


class Coder(nn.Module):
    """The critic of the box: a feature of each number, and what a decoder makes of it, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = network(), network()

    def forward(self, x: Tensor) -> Tensor:
        """Return the features and the numbers that they are decoded to, ``(..., 2)``.

        Args:
            x: the numbers, ``(..., 1)``.
        """
        feature = self.encoder(x)
        return torch.cat([feature, self.decoder(feature)], dim=-1)


def mmd_gan(
    widths: tuple[float, ...] = WIDTHS, factor: float = 1.0, held: bool = False, decoder: float = 8.0
) -> Recipe:
    r"""Return the box of the MMD GAN: a kernel of features, which D learns and G is judged by.

    .. math:: L_D = -\mathrm{MMD}^2(f(x), f(y)) + \beta\, \mathbb{E}\,(x - g(f(x)))^2
        + \beta\, \mathbb{E}\,(y - g(f(y)))^2, \qquad L_G = \mathrm{MMD}^2(f(x), f(y))

    The decoder g is to keep the encoder f from sending different numbers to one place. All weights of both
    are cut to [-0.01, 0.01]. RMSProp with 0.00005, batches of 64, five steps of D. The weight 8 is that of
    the authors' program. The box leaves the networks open; here a feature is one number.

    Args:
        widths: of the Gaussian kernels, in units of the features.
        factor: what both losses are multiplied by.
        held: whether the loss of D has the gradient penalty of the second box as well, on the slope of
            `gan_helpers.divergences.witness` of the features.
        decoder: the weight of what the decoder gets wrong, :math:`\beta`; 8 in the box.

    References:
        Li et al. (2017), algorithm 1 and section 5. https://arxiv.org/abs/1705.08584
    """

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        fake = G(z).detach()
        of_real, of_fake = D(x, fake)
        features = of_real[..., :1], of_fake[..., :1]
        off = [(out[..., 1:] - was).square().mean((1, 2)) for out, was in ((of_real, x), (of_fake, fake))]
        loss: Tensor = decoder * (off[0] + off[1]) - mmd2(*features, widths)
        if held:
            cost = gradient_penalty(lambda t: witness(D(t)[..., :1], *features, widths), x, fake, D.dropout)
            loss = loss + 10 * cost
        return factor * loss

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        of_real, of_fake = D(x, G(z))
        return factor * mmd2(of_real[..., :1], of_fake[..., :1], widths)

    return replace(original(), D=Coder, d_loss=d_loss, g_loss=g_loss)


def fitted_widths(decoder: float = 8.0) -> Recipe:
    """Return the box of the MMD GAN with kernels a thousand times as narrow, as its features are.

    Args:
        decoder: the weight of what the decoder gets wrong.
    """
    return mmd_gan(tuple(width / 1_000 for width in WIDTHS), decoder=decoder)


def louder(decoder: float = 8.0) -> Recipe:
    """Return the box of the MMD GAN with both losses a million times as large, and all else as it is.

    Args:
        decoder: the weight of what the decoder gets wrong.
    """
    return mmd_gan(factor=1e6, decoder=decoder)


def free_decoder() -> Recipe:
    """Return the box of the MMD GAN with a decoder whose weights are not cut, as in its authors' program."""

    def d_opt(D: Ensemble) -> Optimizer:
        encoder = [weights for name, weights in D.named_parameters() if "encoder" in name]

        @torch.no_grad()
        def cut_encoder(*_: Any) -> None:
            for weights in encoder:
                weights.clamp_(-0.01, 0.01)

        optimiser = rmsprop(D)
        optimiser.register_step_post_hook(cut_encoder)
        return optimiser

    return replace(mmd_gan(), d_opt=d_opt)


def clipped_adam() -> Recipe:
    """Return the box of the MMD GAN with the optimiser of the second box, and weights cut as before."""
    return replace(mmd_gan(), d_opt=lambda D: clipped(faster(D), 0.01), g_opt=faster)


def witness_held() -> Recipe:
    """Return the MMD GAN with the second box's optimiser, and its penalty on the witness in place of cutting.

    References:
        Binkowski et al. (2018) hold their witness so, and have no decoder. https://arxiv.org/abs/1801.01401
    """
    return replace(mmd_gan(held=True), d_opt=faster, g_opt=faster)


def unlearned(optimiser: Callable[[Ensemble], Optimizer] = rmsprop) -> Solo:
    """Return the recipe of a generator that descends the MMD of the box's widths on bare numbers.

    Args:
        optimiser: of the generator.
    """
    return replace(kernel(WIDTHS), g_opt=optimiser)


LEARNED: dict[str, Callable[[], Recipe]] = {
    "box": mmd_gan,
    "fitted": fitted_widths,
    "louder": louder,
    "numbers": unlearned,
}
#: What else may hold D, with a decoder that can decode; and bare numbers by the same optimiser.
HELD: dict[str, Callable[[], Recipe]] = {
    "free": free_decoder,
    "adam": clipped_adam,
    "witness": witness_held,
    "numbers_adam": partial(unlearned, faster),
}
#: The box and two of its changes with a decoder that costs nothing, so that D learns by MMD² alone.
UNDECODED: dict[str, Callable[[], Recipe]] = {
    "alone": partial(mmd_gan, decoder=0.0),
    "alone_fitted": partial(fitted_widths, decoder=0.0),
    "alone_louder": partial(louder, decoder=0.0),
}


def learned(recipes: Mapping[str, Callable[[], Recipe]], seeds: int, seed: int) -> Columns:
    """Return what generators have come to by each of some recipes.

    Args:
        recipes: what makes them, by name: `LEARNED`, `HELD` or `UNDECODED`.
        seeds: how many runs.
        seed: the base seed.

    Returns:
        What `gan_helpers.recipes.fifty_lines.measure` finds, ``"w1_box"``; and how far the features of two
        real samples are apart at the end, as the root of the mean square, ``"apart_box"``.
    """
    found: Columns = {}
    for name, make in recipes.items():
        recipe = make()
        G, D = recipe.networks(seeds, seed=seed)
        recipe.train(G, D, seed=seed).require_whole()
        found |= {f"{column}_{name}": values for column, values in measure(G.eval()).items()}
        if recipe.D is Coder:
            features = D(REAL.quantile(QUANTILES).to(next(D.parameters())).expand(seeds, -1).unsqueeze(2))
            spread = features[..., 0].detach().double().std(1, correction=0)
            found[f"apart_{name}"] = (2**0.5 * spread).cpu()
    return found


DIMENSIONS = (1, 4, 16, 64, 256)


def power(seeds: int, seed: int) -> Columns:
    r"""Return what 64 samples of each bell tell by a kernel, where one mean is moved by 1 in one direction.

    Args:
        seeds: how many pairs of samples.
        seed: the base seed.

    Returns:
        For each of `DIMENSIONS`, the p-value of the test with the median bandwidth, ``"p_16"``; and the
        cosine between the slope of MMD² in a shift of the fakes and the direction in which they were moved,
        with a bandwidth of the root of the dimension, ``"cosine_16"``.
    """
    found: Columns = {}
    for d in DIMENSIONS:
        rng = Stream(f"{d} dimensions", seed)
        x, y = _apart(seeds, d, rng, torch.double)
        tested = [metrics.mmd(a, b, rng, permutations=200).p_value for a, b in zip(x, y, strict=True)]
        aim = _aim(_pull(nn.Identity(), x, y, d**0.5))
        found |= {f"p_{d}": torch.tensor(tested), f"cosine_{d}": aim}
    return found


BATCHES = 300  # that features learn from


def aims(seeds: int, seed: int) -> Columns:
    r"""Return how well kernels aim in many dimensions, with and without learned features.

    The bells are those of `power`. Features are a critic of `normalised`, one number, which learns by Adam to
    make the MMD of features as large as it can, from `BATCHES` batches of 64 of each bell.

    Args:
        seeds: how many runs.
        seed: the base seed.

    Returns:
        For all of `DIMENSIONS` but the line, the cosine of `power`, on one more batch: of a kernel on the
        bare numbers, ``"bare_16"``; of a kernel of width 1 on features before they learned, ``"begun_16"``,
        and after, ``"learned_16"``; and that of the mean of the bare kernel's slopes on all the batches
        before, ``"all_16"``.
    """
    found: Columns = {}
    for d in DIMENSIONS[1:]:
        rng, width = Stream(f"{d} dimensions to learn in", seed), d**0.5
        D = Ensemble(partial(normalised, d), seeds, name="D", seed=seed)
        optimiser, kept = adam(D, 1e-3, betas=(0.0, 0.9)), torch.zeros(seeds, 1, d)
        last_x, last_y = _apart(seeds, d, rng)
        found[f"begun_{d}"] = _aim(_pull(D.eval(), last_x, last_y, 1.0))
        D.train()
        for _ in range(BATCHES):
            x, y = _apart(seeds, d, rng)
            kept += _pull(nn.Identity(), x, y, width)
            optimiser.zero_grad()
            (-mmd2(D(x), D(y))).sum().backward()
            optimiser.step()
        found |= {
            f"learned_{d}": _aim(_pull(D.eval(), last_x, last_y, 1.0)),
            f"bare_{d}": _aim(_pull(nn.Identity(), last_x, last_y, width)),
            f"all_{d}": _aim(kept),
        }
    return found


def _apart(seeds: int, d: int, rng: Stream, dtype: torch.dtype = torch.float) -> Tensor:
    """Return 64 samples each of two bells in d dimensions, ``(2, seeds, 64, d)``, the second moved by 1."""
    both = rng.normal(2, seeds, 64, d).to(dtype)
    both[1, ..., 0] += 1
    return both


def _pull(features: nn.Module, x: Tensor, y: Tensor, width: float) -> Tensor:
    """Return the slope of the MMD² of features in a shift of the fakes, ``(seeds, 1, d)``."""
    shift = torch.zeros_like(y[:, :1], requires_grad=True)
    (slope,) = torch.autograd.grad(mmd2(features(x), features(y + shift), (width,)).sum(), shift)
    return slope


def _aim(slope: Tensor) -> Tensor:
    """Return the cosine between slopes and the direction in which the fakes were moved, ``(seeds,)``."""
    aim: Tensor = slope[:, 0, 0] / slope.norm(dim=(1, 2))
    return aim


# The smallest Wasserstein game

STEP, MOVES = 0.05, 6_000
RULES: dict[str, dict[str, Any]] = {
    "plain": {},
    "turns": {"alternating": True},
    "clipped": {"clip": 0.1, "alternating": True},
    "two_sided": {"penalty": 10.0, "alternating": True},
    "light": {"penalty": 0.1, "alternating": True},
    "one_sided": {"penalty": 10.0, "one_sided": True, "alternating": True},
    "target_0": {"penalty": 10.0, "target": 0.0, "alternating": True},
}


def games(seeds: int, seed: int) -> Columns:
    """Play the Wasserstein game of two numbers by all `RULES`, and return what came of it, ``(seeds,)``.

    Args:
        seeds: how many starts, with both weights anywhere between -1 and 1.
        seed: the base seed.

    Returns:
        How far the fakes get from the data in the last quarter of the moves, ``"strays_clipped"``.
    """
    theta, psi = Stream("starts", seed).uniform(2, seeds, low=-1.0, high=1.0).double().unbind()
    found = {}
    for name, rule in RULES.items():
        path = dirac.play_wasserstein(theta, psi, STEP, MOVES, **rule)[:, 0]
        found[f"strays_{name}"] = path[-MOVES // 4 :].abs().amax(0)
    return found


TABLES = {
    "aims": Table(aims, 32, ensemble=4),  # more have tensors that the memory does not keep
    "apart": Table(apart, 32, ensemble=32),
    "critics": Table(partial(critics, FAKE), 128, ensemble=64),
    "critics_narrow": Table(partial(critics, NARROW), 128, ensemble=64),
    "early": Table(early, 64, ensemble=32),
    "games": Table(games, 320, ensemble=320),
    "held": Table(partial(learned, HELD), 8, ensemble=8),
    "kernels": Table(kernels, 32, ensemble=32),
    "learned": Table(partial(learned, LEARNED), 8, ensemble=8),
    "light": Table(partial(penalties, LIGHT), 32, ensemble=32),
    "paths": Table(paths, 32, ensemble=32),
    "penalties": Table(partial(penalties, PENALTIES), 32, ensemble=32),
    "power": Table(power, 320),
    "undecoded": Table(partial(learned, UNDECODED), 8, ensemble=8),
}

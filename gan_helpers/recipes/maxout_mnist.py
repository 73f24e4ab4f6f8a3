"""Maxout MNIST: handwritten digits from uniform noise, with the source's list of tricks as options.

The source is the tutorial of ReNom. What its text leaves to its library was read from the library's code:
biases start at 0, the gains of batch normalisation start from a Glorot draw, and D has moved before the
gradient of G passes back through it, see `Order`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from gan_helpers import _checks, classifier, image_metrics, mnist
from gan_helpers.albums import Album, album
from gan_helpers.data import Minibatches, Uniform
from gan_helpers.ensemble import Ensemble
from gan_helpers.losses import minimax_d, minimax_g, non_saturating_g
from gan_helpers.metrics import fit_gaussian
from gan_helpers.models import Maxout
from gan_helpers.options import Turns, Watch
from gan_helpers.penalties import r1
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe, bundled_digits, combinations, full_digits
from gan_helpers.tables import FIRST_SEED, Columns, Table
from gan_helpers.training import adam

PIXELS = mnist.SIDE**2
NOISE = Uniform(0.0, 1.0, features=100)
BATCH = 256
EPOCHS = 30
JUDGED = 2_000  # images that a measure compares with as many real ones
source_digits = partial(full_digits, 50_000)  # as many as the source learns from

#: What the source logged after each of its epochs, of 195 steps. These are the losses of D and of G, and the
#: shares of real images and of fakes that D got right. Its last line is of 398.96 s, on a GPU.
SOURCE_LOG = (
    (0.719, 2.398, 0.785, 0.903), (0.378, 2.545, 0.935, 0.945), (0.541, 2.547, 0.865, 0.920),
    (0.683, 2.060, 0.820, 0.887), (0.731, 1.901, 0.799, 0.882), (0.740, 1.842, 0.794, 0.882),
    (0.715, 1.886, 0.797, 0.893), (0.755, 1.788, 0.787, 0.884), (0.780, 1.723, 0.776, 0.880),
    (0.762, 1.730, 0.778, 0.889), (0.827, 1.606, 0.753, 0.872), (0.836, 1.579, 0.752, 0.870),
    (0.861, 1.530, 0.737, 0.863), (0.856, 1.537, 0.738, 0.864), (0.847, 1.553, 0.747, 0.866),
    (0.889, 1.491, 0.729, 0.854), (0.904, 1.454, 0.726, 0.847), (0.863, 1.546, 0.739, 0.859),
    (0.870, 1.526, 0.735, 0.858), (0.837, 1.589, 0.749, 0.868), (0.791, 1.682, 0.762, 0.883),
    (0.775, 1.737, 0.773, 0.884), (0.748, 1.782, 0.780, 0.895), (0.764, 1.704, 0.771, 0.892),
    (0.758, 1.742, 0.778, 0.892), (0.833, 1.610, 0.747, 0.872), (0.851, 1.574, 0.744, 0.867),
    (0.805, 1.649, 0.759, 0.880), (0.830, 1.608, 0.749, 0.872), (0.840, 1.586, 0.745, 0.870),
)  # fmt: skip
SOURCE_EACH = 195  # steps in an epoch of the source: 50,000 images in batches of 256
inputs = bundled_digits

Start = Literal["source", "ones", "torch"]

#: Which D the gradient of G passes through. It is D as it was when it learned, the two moving "together"; D
#: after it has moved, "d_first"; or, as in the source, "in_place", the activations from before its move with
#: the weights from after it.
Order = Literal["together", "d_first", "in_place"]


def _started(layer: nn.Linear, width: float, start: Start) -> nn.Linear:
    """Start the weights of a layer uniformly on [-width, width] and its biases at 0, as the source does."""
    if start != "torch":
        nn.init.uniform_(layer.weight, -width, width)
        nn.init.zeros_(layer.bias)
    return layer


def _normalised(features: int, start: Start) -> nn.BatchNorm1d:
    """Return a batch normalisation; the source's library draws its first gains, elsewhere they are 1."""
    layer = nn.BatchNorm1d(features)
    if start == "source":
        nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / (1 + features)))
    return layer


def generator(*, norm: bool = True, norm_last: bool = False, start: Start = "source") -> nn.Sequential:
    """Return the source's generator: 100 numbers, twice 1,200 relu, 784 pixels by a sigmoid.

    Args:
        norm: normalise the input of each linear map over the batch.
        norm_last: also normalise the last map's output, which the source warns of.
        start: the first weights: those of the source, those with all gains at 1, or torch's own throughout.
    """
    layers: list[nn.Module] = []
    for fan_in, fan_out in ((NOISE.features, 1_200), (1_200, 1_200), (1_200, PIXELS)):
        layers += [_normalised(fan_in, start)] if norm else []
        layers += [_started(nn.Linear(fan_in, fan_out), 0.05, start), nn.ReLU()]
    layers[-1] = nn.Sigmoid()
    if norm_last:
        layers.insert(-1, _normalised(PIXELS, start))
    return nn.Sequential(*layers)


def discriminator(*, dropout: float = 0.5, norm: bool = False, start: Start = "source") -> nn.Sequential:
    """Return the source's discriminator: twice 240 maxout units of 5 pieces with dropout, then a logit.

    Args:
        dropout: the share of units that is left out.
        norm: normalise each layer over the batch before its dropout, which the source advises against.
        start: the first weights: those of the source, or torch's own.
    """
    layers: list[nn.Module] = []
    for fan_in in (PIXELS, 240):
        maxout = Maxout(fan_in, 240, pieces=5)
        _started(maxout.linear, 0.005, start)
        layers += [maxout, *([nn.BatchNorm1d(240)] if norm else []), nn.Dropout(dropout)]
    return nn.Sequential(*layers, _started(nn.Linear(240, 1), 0.005, start))


@dataclass
class Answers:
    """How often D was right at each step, kept on the device of the networks.

    Args:
        real: the share of real images that D took for real, one ``(seeds,)`` for each step.
        fake: the share of fakes that D took for fakes, likewise.
    """

    real: list[Tensor] = field(default_factory=list)
    fake: list[Tensor] = field(default_factory=list)

    def note(self, real: Tensor, fake: Tensor) -> None:
        """Keep what share of the logits of one step, ``(seeds, batch, 1)`` each, was on the right side."""
        self.real.append((real.detach() >= 0).float().mean((1, 2)))
        self.fake.append((fake.detach() < 0).float().mean((1, 2)))


def original(
    images: Tensor,
    *,
    G: Callable[[], nn.Module] = generator,
    D: Callable[[], nn.Module] = discriminator,
    g_loss: Callable[[Tensor], Tensor] = non_saturating_g,
    gamma: float = 0.0,
    d_lr: float = 1e-3,
    order: Order = "together",
    epochs: int = EPOCHS,
    answers: Answers | None = None,
) -> Recipe:
    """Return the source's recipe for these images, or one that differs from it in what is given.

    The fakes of a step are made once, and both players learn from them, as in the source. D's dropout is
    drawn anew for the loss of G, where the source keeps its masks. Each training run needs a recipe of its
    own, because it remembers the fakes and the epoch.

    Args:
        images: the real images, ``(n, 784)``, from 0 to 1; an epoch has ``n // 256`` steps.
        G: makes one generator.
        D: makes one discriminator.
        g_loss: what G descends, of the logits of fakes; `gan_helpers.losses.minimax_g` is the minimax option.
        gamma: the weight of the penalty R1, halved, in logits per squared unit of slope.
        d_lr: the step size of D.
        order: who moves when.
        epochs: how many epochs.
        answers: takes notes of D's answers.

    Raises:
        TypeError: if ``images`` is not a floating-point tensor, or ``epochs`` not a whole number.
        ValueError: if there are fewer images than a batch has, or ``epochs`` is below 1.
    """
    _checks.floating("images", images, f"(n, {PIXELS})", dims=2)
    if len(images) < BATCH:
        raise ValueError(f"images must hold at least {BATCH} images, one batch, not {len(images)}.")
    step: dict[str, Tensor] = {}

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        step["fakes"] = G(z)
        real, fake = D(x), D(step["fakes"].detach())
        if answers is not None:
            answers.note(real, fake)
        if order == "in_place":
            # What is kept for the way back shares its memory with the weights, and moves with them.
            with saved_tensors_hooks(Tensor.detach, lambda kept: kept):
                step["answers"] = D(step["fakes"])
        loss = minimax_d(real, fake)
        return loss + gamma / 2 * r1(D, x) if gamma else loss

    def loss_of_g(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return g_loss(step["answers"] if order == "in_place" else D(step["fakes"]))

    return Recipe(
        G=G,
        D=D,
        data=Minibatches(images),
        noise=NOISE,
        d_loss=d_loss,
        g_loss=loss_of_g,
        d_opt=lambda D: adam(D, d_lr, betas=(0.5, 0.999)),
        g_opt=lambda G: adam(G, 1e-3, betas=(0.5, 0.999)),
        steps=_checks.whole("epochs", epochs) * (len(images) // BATCH),
        batch=BATCH,
        options={"turns": Turns(simultaneous=True) if order == "together" else Turns(reuse_noise=True)},
    )


#: What the repair changes. It takes torch's own first weights in both networks, gains at one included, has
#: no dropout, and puts a price on the slope of D's logit.
CHANGES = ("start", "dropout", "r1")
#: What of it the table has. None, all and no dropout alone are among the switches.
APART = ("only_start", "only_r1", "without_start", "without_dropout", "without_r1")


def options(*changes: str) -> dict[str, Any]:
    """Return the options of `original` that make these changes.

    Args:
        changes: some of `CHANGES`.

    Raises:
        ValueError: if one has another name.
    """
    if unknown := set(changes) - set(CHANGES):
        raise ValueError(f"changes must be some of {', '.join(CHANGES)}, not {min(unknown)!r}.")
    start: Start = "torch" if "start" in changes else "source"
    return {
        "G": partial(generator, start=start),
        "D": partial(discriminator, start=start, dropout=0.0 if "dropout" in changes else 0.5),
        "gamma": 1.0 if "r1" in changes else 0.0,
    }


#: The source's options and tricks, each as what differs from its recipe, and what the chapter adds to them.
VARIANTS: dict[str, dict[str, Any]] = {
    "original": {},
    "minimax": {"g_loss": minimax_g},
    "weak_d": {"d_lr": 1e-3 / 20},
    "no_norm": {"G": partial(generator, norm=False)},
    "norm_last": {"G": partial(generator, norm_last=True)},
    "norm_in_d": {"D": partial(discriminator, norm=True)},
    "no_dropout": {"D": partial(discriminator, dropout=0.0)},
    "d_first": {"order": "d_first"},
    "gains_at_one": {"G": partial(generator, start="ones")},
    "repaired": options(*CHANGES),
}


def repaired(images: Tensor, **further: Any) -> Recipe:
    """Return the repaired recipe: gains that start at 1, and a price on slope instead of dropout.

    Args:
        images: as for `original`.
        further: options of `original` that go before those of the repair.
    """
    return original(images, **(options(*CHANGES) | further))


def shown(G: Ensemble, noise: Tensor) -> Tensor:
    """Return images in the 256 grey levels of the real ones, without gradients.

    Args:
        G: the generators, in evaluation mode.
        noise: their input, ``(seeds, n, 100)``.

    Returns:
        Bytes, ``(seeds, n, 784)``.
    """
    with torch.no_grad():
        images: Tensor = G(noise)
    return images.mul(255).round().byte()


def measure(fakes: Tensor, digits: mnist.Digits, judge: classifier.DigitClassifier) -> dict[str, Tensor]:
    """Return how good and how varied images are, each ``(seeds,)``.

    Args:
        fakes: images in bytes, ``(seeds, n, 784)``.
        digits: real ones to compare with, as many, held out from the training.
        judge: the classifier whose features are compared.

    Returns:
        The Fréchet distance, density and coverage in features, the divergence of the digits in nats, and the
        number of digits that make up at least 1 % of the images.
    """
    images = fakes.float() / 255
    features, real = judge.features(images), judge.features(digits.images)
    shares = image_metrics.class_shares(judge.predict(images))
    truth = image_metrics.class_shares(judge.predict(digits.images).unsqueeze(0))[0]
    near = image_metrics.density_coverage(features, real)
    return {
        "frechet": image_metrics.frechet_distance(features.double(), real.double()),
        "density": near.density,
        "coverage": near.coverage,
        "kl": image_metrics.class_kl(shares, truth),
        "digits": (shares >= 0.01).sum(1).double(),
    }


def follow(
    changes: dict[str, Any],
    seeds: int,
    seed: int,
    epochs: int = EPOCHS,
    at: tuple[int, ...] = (1, 3, 10, 20, 30),
    alone: int = 0,
) -> Columns:
    """Train a recipe on the bundled digits, and return what it is like after some of the epochs.

    Args:
        changes: what differs from the source's recipe, such as an entry of `VARIANTS`.
        seeds: how many runs.
        seed: the base seed.
        epochs: how many epochs.
        at: after which epochs to measure.
        alone: for how many epochs D learns before them, while G keeps its first weights.

    Returns:
        By names such as ``frechet_10``, each ``(seeds,)``: what `measure` says of 2,000 images, and the mean
        over the epoch of both losses and of D's shares of right answers.
    """
    return _followed(mnist.load(), changes, seeds, seed, epochs, at, at, alone)[0]


def whole(changes: dict[str, Any], seeds: int, seed: int, epochs: int = EPOCHS, alone: int = 0) -> Columns:
    """Train a recipe on all digits that the source learned from, and return what became of it.

    Args:
        changes: what differs from the source's recipe.
        seeds: how many runs.
        seed: the base seed.
        epochs: how many epochs.
        alone: as for `follow`.

    Returns:
        As of `follow`, with the log of every epoch, and what `right` says at the end.
    """
    digits, at = source_digits(), tuple(epoch for epoch in (1, 3, 10, 20, 30) if epoch <= epochs)
    logged = tuple(range(1, epochs + 1))
    columns, D, fakes = _followed(digits, changes, seeds, seed, epochs, at, logged, alone)
    return columns | right(D, fakes, digits)


def _followed(
    digits: mnist.Mnist,
    changes: dict[str, Any],
    seeds: int,
    seed: int,
    epochs: int,
    at: tuple[int, ...],
    logged: tuple[int, ...],
    alone: int,
) -> tuple[Columns, Ensemble, Tensor]:
    """Train, and return `measure` after some epochs, the log of some, and D and 2,000 fakes of the end."""
    judge, answers = classifier.load(), Answers()
    recipe = original(digits.train.images, epochs=epochs, answers=answers, **changes)
    G, D = recipe.networks(seeds, seed=seed)
    if alone:
        ahead = original(digits.train.images, epochs=alone, **changes)
        still = replace(ahead, g_opt=lambda G: torch.optim.SGD(G.parameters(), lr=0.0))
        still.train(G, D, seed=seed + 1_000_000)  # other data and noise than those of the game
    noise = Stream("shown", seed, digits.train.images.device).uniform(seeds, JUDGED, NOISE.features)
    each = recipe.steps // epochs
    history = recipe.train(G, D, seed=seed, watch=Watch(lambda G: {"images": shown(G, noise)}, each))
    images = history.require_whole().watched["images"]
    logs = {
        "d_loss": history.d_loss,
        "g_loss": history.g_loss,
        "right_real": torch.stack(answers.real),
        "right_fake": torch.stack(answers.fake),
    }
    columns: Columns = {}
    for epoch in at:
        found = measure(images[epoch], digits.test[:JUDGED], judge)
        columns |= {f"{key}_{epoch}": value for key, value in found.items()}
    for epoch in logged:
        found = {key: log[(epoch - 1) * each : epoch * each].mean(0) for key, log in logs.items()}
        columns |= {f"{key}_{epoch}": value for key, value in found.items()}
    return columns, D, images[epochs]


def whole_copies(seeds: int, seed: int) -> Columns:
    """Return how far what the repaired whole run draws is from the digits that it learned from.

    Args:
        seeds: 1, for there is one album.
        seed: of no use, for nothing is drawn.

    Returns:
        ``least``, ``tail`` and ``middle``, each ``(1,)``: of the distances of the album's images to the
        nearest of its 50,000 digits, in pixels from 0 to 1, the least, the 5 % quantile and the median. And
        ``least_real`` and so on: the same of as many digits of the test set, which are no copies. As
        ``learned`` and ``learned_real`` the share whose nearest of all 60,000 is one of these 50,000.
    """
    every = full_digits(60_000)
    fakes = album("maxout_mnist_whole_repaired")[SOURCE_EACH * EPOCHS]
    columns: Columns = {}
    for end, images in (("", fakes), ("_real", every.test.images[: len(fakes)])):
        distance = image_metrics.nearest(images.unsqueeze(0), every.train.images[:50_000]).distance
        closest = image_metrics.nearest(images.unsqueeze(0), every.train.images).index
        columns[f"learned{end}"] = (closest < 50_000).double().mean(1)
        for name, share in (("least", 0.0), ("tail", 0.05), ("middle", 0.5)):
            columns[f"{name}{end}"] = distance.quantile(share, dim=1)
    return columns


def right(D: Ensemble, fakes: Tensor, digits: mnist.Mnist) -> Columns:
    """Return how often D, without dropout, takes images for what they are, each ``(seeds,)``.

    Args:
        D: the discriminators.
        fakes: images in bytes, ``(seeds, n, 784)``.
        digits: 2,000 of those that D has learned from, and 2,000 held out, are shown to it.

    Returns:
        The shares by the names ``right_seen``, ``right_held_out`` and ``right_fake``.
    """
    seeds, was = len(fakes), D.training
    held_out, seen = (part.images[:JUDGED].expand(seeds, -1, -1) for part in (digits.test, digits.train))
    with torch.no_grad():
        D.eval()
        answers = {
            "right_seen": D(seen) >= 0,
            "right_held_out": D(held_out) >= 0,
            "right_fake": D(fakes.float() / 255) < 0,
        }
        D.train(was)
    return {name: share.double().mean((1, 2)) for name, share in answers.items()}


def switches(seeds: int, seed: int, epochs: int = 10) -> Columns:
    """Train all variants for a third of the epochs, from the same seeds, and measure each at the end.

    Args:
        seeds: how many runs of each.
        seed: the base seed.
        epochs: how many epochs.

    Returns:
        What `follow` says of the last epoch, by names such as ``no_dropout_frechet``, each ``(seeds,)``.
    """
    columns: Columns = {}
    for name, changes in VARIANTS.items():
        columns |= _ended(name, changes, seeds, seed, epochs)
    return columns


def learned_first(seeds: int, seed: int, epochs: int = 10) -> Columns:
    """Let D learn first, in two ways that the list of switches has not, for as many epochs as that has.

    Args:
        seeds: how many runs of each.
        seed: the base seed.
        epochs: how many epochs.

    Returns:
        What `follow` says of the last epoch, by names such as ``in_place_kl``, each ``(seeds,)``: of D that
        moves in place, and of D that learns alone for an epoch before the game.
    """
    of_library = _ended("in_place", {"order": "in_place"}, seeds, seed, epochs)
    return of_library | _ended("d_alone", {}, seeds, seed, epochs, alone=1)


def _ended(name: str, changes: dict[str, Any], seeds: int, seed: int, epochs: int, alone: int = 0) -> Columns:
    """Return what `follow` says of the last epoch, with a name in the place of the epoch."""
    found = follow(changes, seeds, seed, epochs, at=(epochs,), alone=alone)
    return {f"{name}_{key.removesuffix(f'_{epochs}')}": value for key, value in found.items()}


def spread(images: Tensor) -> Tensor:
    """Return how much images differ from one another: the standard deviation of a pixel, on average.

    Args:
        images: in bytes, ``(seeds, n, pixels)``.

    Returns:
        One number per seed, ``(seeds,)``, in units of full ink: 0.19 for real digits, 0 for a deaf G.
    """
    return (images.double() / 255).std(1).mean(1)


def heed(changes: dict[str, Any], seeds: int, seed: int, epochs: int = 1) -> Columns:
    """Train a recipe for a few epochs, and return how far its G heeds its noise, from the first weights on.

    Args:
        changes: what differs from the source's recipe.
        seeds: how many runs.
        seed: the base seed.
        epochs: how many epochs.

    Returns:
        `spread` of 2,000 images by names such as ``spread_1``; ``spread_0`` is that of the first weights as
        the training meets them, normalised by the batch. ``kl_1``, ``coverage_1`` and ``digits_1`` are those
        of `measure`. Each is ``(seeds,)``.
    """
    digits, judge = mnist.load(), classifier.load()
    recipe = original(digits.train.images, epochs=epochs, **changes)
    G, D = recipe.networks(seeds, seed=seed)
    noise = Stream("shown", seed, digits.train.images.device).uniform(seeds, JUDGED, NOISE.features)
    columns = {"spread_0": spread(shown(G, noise))}
    each = recipe.steps // epochs
    history = recipe.train(G, D, seed=seed, watch=Watch(lambda G: {"images": shown(G, noise)}, each))
    history.require_whole()
    for epoch in range(1, epochs + 1):
        images = history.watched["images"][epoch]
        found = measure(images, digits.test, judge)
        columns |= {f"{key}_{epoch}": found[key] for key in ("kl", "coverage", "digits")}
        columns[f"spread_{epoch}"] = spread(images)
    return columns


def heeding(seeds: int, seed: int) -> Columns:
    """Compare the source's recipe in its first epoch with gains at one.

    Args:
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        What `heed` says, by names such as ``gains_at_one_spread_1``.
    """
    names = ("original", "gains_at_one")
    return {
        f"{name}_{key}": value for name in names for key, value in heed(VARIANTS[name], seeds, seed).items()
    }


def judged(recipe: Recipe, seeds: int, seed: int) -> Columns:
    """Train by a recipe, and return what its fakes and its D are like at the end.

    Args:
        recipe: one of this module, for the bundled digits.
        seeds: how many runs.
        seed: the base seed.

    Returns:
        What `measure` says of 2,000 images; their `spread`; the ``slope`` of D's logit at held-out digits, as
        the root of its mean square; and how often D, without dropout, takes 2,000 digits that it has learned
        from, 2,000 held-out ones and the fakes for what they are. Each is ``(seeds,)``.
    """
    digits = mnist.load()
    G, D = recipe.networks(seeds, seed=seed)
    recipe.train(G, D, seed=seed).require_whole()
    noise = Stream("shown", seed, digits.train.images.device).uniform(seeds, JUDGED, NOISE.features)
    fakes, D = shown(G.eval(), noise), D.eval()
    held_out = digits.test.images.expand(seeds, -1, -1)
    return (
        measure(fakes, digits.test, classifier.load())
        | {"spread": spread(fakes), "slope": r1(D, held_out).detach().sqrt()}
        | right(D, fakes, digits)
    )


def apart(seeds: int, seed: int, epochs: int = 10, names: tuple[str, ...] = APART) -> Columns:
    """Take the repair apart: train with some of its changes, and return what comes of it.

    Args:
        seeds: how many runs of each.
        seed: the base seed.
        epochs: how many epochs.
        names: which ones, as `gan_helpers.recipes.combinations` calls them.

    Returns:
        What `judged` says, by names such as ``kl_only_r1``.
    """
    columns: Columns = {}
    for name in names:
        changes = options(*combinations(CHANGES)[name])
        found = judged(original(*inputs(seeds), **changes, epochs=epochs), seeds, seed)
        columns |= {f"{measure}_{name}": values for measure, values in found.items()}
    return columns


def gaussian(images: Tensor, seeds: int, n: int, rng: Stream) -> Tensor:
    """Return samples of the normal distribution that has the mean and the covariance of images.

    Args:
        images: real ones, ``(m, pixels)``.
        seeds: how many samples.
        n: images in each.
        rng: where they are drawn from.

    Returns:
        Bytes, ``(seeds, n, pixels)``; what is lighter than no ink or darker than full ink is cut there.
    """
    fit = fit_gaussian(images.double().unsqueeze(0))
    values, axes = torch.linalg.eigh(fit.covariance[0])
    normal = rng.normal(seeds, n, images.shape[1]).double() * values.clamp(min=0).sqrt()
    samples: Tensor = fit.mean[0] + normal @ axes.mT
    return samples.clamp(0, 1).mul(255).round().byte()


def plain(seeds: int, seed: int) -> Columns:
    """Return what `measure` says of samples of a normal distribution that is fitted to the digits.

    Args:
        seeds: how many samples of 2,000 images.
        seed: the base seed.
    """
    digits = mnist.load()
    fakes = gaussian(digits.train.images, seeds, JUDGED, Stream("plain", seed, digits.train.images.device))
    return measure(fakes, digits.test, classifier.load()) | {"spread": spread(fakes)}


TABLES = {
    "original": Table(partial(follow, {}), 20, ensemble=1),
    "repaired": Table(partial(follow, VARIANTS["repaired"], epochs=10, at=(10,)), 20, ensemble=1),
    "learned_first": Table(learned_first, 20, ensemble=1),
    "slow_d": Table(partial(follow, VARIANTS["weak_d"], epochs=3, at=(3,)), 20, ensemble=1),
    "switches": Table(switches, 20, ensemble=1),
    "apart": Table(apart, 8, ensemble=1),
    "plain": Table(plain, 32, ensemble=4),
    "heeding": Table(heeding, 8, ensemble=1),
    "whole": Table(partial(whole, {"order": "in_place"}), 12, ensemble=1),  # ten minutes of a core a run
    # The first of these once more, on another machine.
    "whole_again": Table(partial(whole, {"order": "in_place"}), 1, ensemble=1),
    "whole_copies": Table(whole_copies, 1),
}
#: What else was trained for the whole length, switches and parts of the repair, and how many runs there are
#: of each. Every one is a table of its own, from the seeds of ``whole``.
TURNED = {
    "repaired": 8, "without_dropout": 1, "without_r1": 2, "without_start": 2, "no_dropout": 3, "no_norm": 2,
    "norm_last": 3, "norm_in_d": 2, "gains_at_one": 2, "minimax": 3, "weak_d": 3, "d_first": 3,
}  # fmt: skip
TABLES |= {
    f"whole_{name}": Table(partial(whole, {"order": "in_place"} | changes), TURNED[name], ensemble=1)
    for name, changes in (VARIANTS | {part: options(*combinations(CHANGES)[part]) for part in APART}).items()
    if name in TURNED
}
TABLES["whole_together"] = Table(partial(whole, {}), 3, ensemble=1)
TABLES["whole_d_alone"] = Table(partial(whole, {"order": "in_place"}, alone=1), 2, ensemble=1)


PAGE = 0  # the base seed of the chapter's own runs, unless the reader gives another


@cache
def _inputs() -> Tensor:
    """Return the first noise that the chapter shows, ``(1, 64, 100)``."""
    return NOISE(1, 2_000, Stream("shown", PAGE))[:, :64]


def _drawn(G: Ensemble) -> Tensor:
    """Return what a generator draws from it: grey images, ``(1, 64, 784)``."""
    return shown(G, _inputs()).float() / 255


def _first(G: Ensemble) -> Tensor:
    """Return the first images that a table judges of its first run: grey images, ``(1, 96, 784)``."""
    noise = Stream("shown", FIRST_SEED).uniform(1, JUDGED, NOISE.features)[:, :96]
    return shown(G, noise).float() / 255


def _last_batch(G: Ensemble) -> Tensor:
    """Return what it draws as it learns, normalised by the batch: grey images, ``(1, 112, 784)``."""
    twin = copy.deepcopy(G).train()  # G itself keeps the averages that it has
    noise = Stream("last batch", FIRST_SEED).uniform(1, BATCH, NOISE.features)
    return shown(twin, noise)[:, :112].float() / 255


#: The runs that the chapter begins, up to their ends. An epoch has 31 steps.
ALBUMS = {
    "original": Album(lambda: original(*inputs(1)), _drawn, {31: 16, 620: 48, 930: 64}, PAGE),
    "repaired": Album(
        lambda: repaired(*inputs(1), epochs=10),
        _drawn,
        {31: 16, 124: 16, 186: 16, 248: 16, 310: 64},
        PAGE,
    ),
    # What a whole run of the source's recipe had drawn, in batches as the source shows its own.
    "whole_original": Album(
        lambda: original(source_digits().train.images, order="in_place"),
        _last_batch,
        {SOURCE_EACH: 16, SOURCE_EACH * EPOCHS: 112},
    ),
    # What the run of the table whole_repaired had drawn after the first epoch, and after the last one.
    "whole_repaired": Album(
        lambda: repaired(source_digits().train.images, order="in_place"),
        _first,
        {SOURCE_EACH: 16, SOURCE_EACH * EPOCHS: 96},
    ),
}

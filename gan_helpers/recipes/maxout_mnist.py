"""Maxout MNIST: handwritten digits from uniform noise, with the source's list of tricks as options.

The source is the tutorial of ReNom. What its text leaves to its library was read from the library's code:
biases start at 0, and the gains of batch normalisation start from a Glorot draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gan_helpers import _checks, classifier, image_metrics, mnist
from gan_helpers.data import Minibatches, Uniform
from gan_helpers.ensemble import Ensemble
from gan_helpers.losses import minimax_d, minimax_g, non_saturating_g
from gan_helpers.models import Maxout
from gan_helpers.options import Turns, Watch
from gan_helpers.penalties import r1
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe, bundled_digits
from gan_helpers.tables import Table
from gan_helpers.training import adam

PIXELS = mnist.SIDE**2
NOISE = Uniform(0.0, 1.0, features=100)
BATCH = 256
EPOCHS = 30
inputs = bundled_digits

Start = Literal["source", "ones", "torch"]


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
    d_first: bool = False,
    epochs: int = EPOCHS,
    answers: Answers | None = None,
) -> Recipe:
    """Return the source's recipe for these images, or one that differs from it in what is given.

    The fakes of a step are made once. Both players learn from them, and from the same weights, as in the
    source. Each training run needs a recipe of its own, because it remembers the fakes and the epoch.

    Args:
        images: the real images, ``(n, 784)``, from 0 to 1; an epoch has ``n // 256`` steps.
        G: makes one generator.
        D: makes one discriminator.
        g_loss: what G descends, of the logits of fakes; `gan_helpers.losses.minimax_g` is the minimax option.
        gamma: the weight of the penalty R1, halved, in logits per squared unit of slope.
        d_lr: the step size of D.
        d_first: let D learn from the fakes before G does.
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
        loss = minimax_d(real, fake)
        return loss + gamma / 2 * r1(D, x) if gamma else loss

    def loss_of_g(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return g_loss(D(step["fakes"]))

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
        options={"turns": Turns(reuse_noise=True) if d_first else Turns(simultaneous=True)},
    )


#: The source's options and tricks, each as what differs from its recipe, and what the chapter adds to them.
VARIANTS: dict[str, dict[str, Any]] = {
    "original": {},
    "minimax": {"g_loss": minimax_g},
    "weak_d": {"d_lr": 1e-3 / 20},
    "no_norm": {"G": partial(generator, norm=False)},
    "norm_last": {"G": partial(generator, norm_last=True)},
    "norm_in_d": {"D": partial(discriminator, norm=True)},
    "no_dropout": {"D": partial(discriminator, dropout=0.0)},
    "d_first": {"d_first": True},
    "gains_at_one": {"G": partial(generator, start="ones")},
    "repaired": {
        "G": partial(generator, start="torch"),
        "D": partial(discriminator, dropout=0.0, start="torch"),
        "gamma": 1.0,
    },
}


def repaired(images: Tensor, **options: Any) -> Recipe:
    """Return the repaired recipe: gains that start at 1, and a price on slope instead of dropout.

    Args:
        images: as for `original`.
        options: options of `original` that go before those of the repair.
    """
    return original(images, **(VARIANTS["repaired"] | options))


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
    name: str, seeds: int, seed: int, epochs: int = EPOCHS, at: tuple[int, ...] = (1, 3, 10, 20, 30)
) -> dict[str, Tensor]:
    """Train a variant on the bundled digits, and return what it is like after some of the epochs.

    Args:
        name: a key of `VARIANTS`.
        seeds: how many runs.
        seed: the base seed.
        epochs: how many epochs.
        at: after which epochs to measure.

    Returns:
        By names such as ``frechet_10``, each ``(seeds,)``: what `measure` says of 2,000 images, and the mean
        over the epoch of both losses and of D's shares of right answers.
    """
    digits, judge, answers = mnist.load(), classifier.load(), Answers()
    recipe = original(digits.train.images, epochs=epochs, answers=answers, **VARIANTS[name])
    G, D = recipe.networks(seeds, seed=seed)
    noise = Stream("shown", seed, digits.train.images.device).uniform(seeds, 2_000, NOISE.features)
    each = recipe.steps // epochs
    history = recipe.train(G, D, seed=seed, watch=Watch(lambda G: {"images": shown(G, noise)}, each))
    history.require_whole()
    logs = {
        "d_loss": history.d_loss,
        "g_loss": history.g_loss,
        "right_real": torch.stack(answers.real),
        "right_fake": torch.stack(answers.fake),
    }
    columns: dict[str, Tensor] = {}
    for epoch in at:
        found = measure(history.watched["images"][epoch], digits.test, judge)
        found |= {key: log[(epoch - 1) * each : epoch * each].mean(0) for key, log in logs.items()}
        columns |= {f"{key}_{epoch}": value for key, value in found.items()}
    return columns


def switches(seeds: int, seed: int, epochs: int = 10) -> dict[str, Tensor]:
    """Train all variants for a third of the epochs, from the same seeds, and measure each at the end.

    Args:
        seeds: how many runs of each.
        seed: the base seed.
        epochs: how many epochs.

    Returns:
        What `follow` says of the last epoch, by names such as ``no_dropout_frechet``, each ``(seeds,)``.
    """
    columns: dict[str, Tensor] = {}
    for name in VARIANTS:
        found = follow(name, seeds, seed, epochs, at=(epochs,))
        columns |= {f"{name}_{key.removesuffix(f'_{epochs}')}": value for key, value in found.items()}
    return columns


TABLES = {
    "original": Table(partial(follow, "original"), 20, ensemble=1),
    "repaired": Table(partial(follow, "repaired", epochs=10, at=(10,)), 20, ensemble=1),
    "slow_d": Table(partial(follow, "weak_d", epochs=3, at=(3,)), 20, ensemble=1),
    "switches": Table(switches, 20, ensemble=1),
}

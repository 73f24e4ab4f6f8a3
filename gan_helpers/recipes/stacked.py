r"""A thousand modes: three digits at once, one in each colour, told apart by the judge of digits.

The data go back to Metz et al. (2017). The networks are those of the chapter on convolutions, with three
channels of pixels; the papers that counts are compared with have larger ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from gan_helpers import classifier, image_metrics, mnist
from gan_helpers.data import Resample
from gan_helpers.ensemble import Ensemble
from gan_helpers.options import Watch
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe, bundled_digits, convolutions, full_digits
from gan_helpers.recipes.convolutions import JUDGED, NOISE, PIXELS, drawn
from gan_helpers.tables import Columns, Table

COLOURS = 3
MODES = mnist.CLASSES**COLOURS
COUNTED = 25_600  # images that modes are counted in; the program of PacGAN takes 26,000
CHUNK = 1_600  # images that are made at once
WHOLE = 20_000  # steps
AT = (1_000, 2_000, 5_000, 10_000, 15_000, 20_000)
inputs = bundled_digits


class Stacked:
    """Images of three digits, drawn apart from each other: one in each colour.

    Args:
        images: of digits, ``(n, 784)``.
    """

    def __init__(self, images: Tensor) -> None:
        """Draw from these images."""
        self.digits = Resample(images)

    @property
    def features(self) -> int:
        """The number of values in an image."""
        return COLOURS * self.digits.features

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw a batch for each seed, ``(seeds, batch, 2352)``; see `gan_helpers.data.Sampler`."""
        digits = self.digits(seeds, COLOURS * batch, rng)
        images: Tensor = digits.unflatten(1, (batch, COLOURS)).flatten(2)
        return images


every_digit = partial(full_digits, 60_000)


def changed(images: Tensor, repair: bool = False, steps: int = WHOLE) -> Recipe:
    """Return the game of the chapter on convolutions on stacked digits.

    Args:
        images: the digits, ``(n, 784)``, from 0 to 1.
        repair: whether by its repaired recipe, or else by DCGAN's.
        steps: how many it takes.
    """
    options = convolutions.options(*convolutions.CHANGES) if repair else {}
    D = partial(options.pop("D", convolutions.discriminator), colours=COLOURS)
    G = partial(convolutions.generator, colours=COLOURS)
    recipe = convolutions.original(images, G=G, D=D, ema=0.999, steps=steps, **options)
    return replace(recipe, data=Stacked(2 * images - 1))


# Counting


def labels(images: Tensor, judge: classifier.DigitClassifier) -> Tensor:
    """Return which of the thousand modes the judge sees in each image, ``(...)``.

    Args:
        images: pixels from 0 to 1, ``(..., 2352)``.
        judge: reads one digit.
    """
    digits = judge.predict(images.unflatten(-1, (COLOURS, PIXELS)))
    return digits @ torch.tensor([100, 10, 1], device=digits.device)


def spread(modes: Tensor) -> Columns:
    r"""Return how many modes are there, and how unevenly.

    .. math:: \operatorname{KL}(q \,\|\, u) = \sum_i q_i \log(1000\, q_i)

    Args:
        modes: which one each image shows, ``(seeds, n)``.

    Returns:
        ``"modes"`` with at least one image, and ``"kl"``, in nats, each ``(seeds,)``.
    """
    q = image_metrics.class_shares(modes, MODES)
    equal = torch.full_like(q[0], 1 / MODES)
    return {"modes": (q > 0).sum(1).double(), "kl": image_metrics.class_kl(q, equal)}


def judged(parts: Iterable[Tensor]) -> Columns:
    """Return what `spread` says of images, and how far their digits are from held-out ones.

    Args:
        parts: images with pixels from 0 to 1, ``(seeds, n, 2352)`` each.

    Returns:
        ``"modes"``, ``"kl"`` and ``"frechet"``, the Fréchet distance of the first 2,000 digits from as many
        of the test set, in features of the judge; each ``(seeds,)``.
    """
    judge, modes, digits = classifier.load(), [], None
    for part in parts:
        modes.append(labels(part, judge))
        if digits is None:
            digits = part.unflatten(2, (COLOURS, PIXELS)).flatten(1, 2)[:, :JUDGED]
    assert digits is not None
    made, real = (judge.features(x).double() for x in (digits, every_digit().test.images[:JUDGED]))
    return spread(torch.cat(modes, 1)) | {"frechet": image_metrics.frechet_distance(made, real)}


def counted(G: Ensemble, seed: int) -> Columns:
    """Return what `judged` says of `COUNTED` images of trained generators.

    Args:
        G: the generators.
        seed: of the noise.
    """
    rng = Stream("counting", seed, next(G.parameters()).device)
    return judged(drawn(G, NOISE(G.seeds, CHUNK, rng)).float() / 255 for _ in range(COUNTED // CHUNK))


def whole(repair: bool, seeds: int, seed: int, steps: int = WHOLE, at: Sequence[int] = AT) -> Columns:
    """Train on all of MNIST for long, and return how many modes there are on the way.

    Args:
        repair: by which recipe, see `changed`.
        seeds: how many runs.
        seed: the base seed.
        steps: how many.
        at: after which of them to count; all are multiples of the first.

    Returns:
        By names such as ``"modes_1000"`` what `judged` says of images made by the average of G's weights.
    """
    recipe = changed(every_digit().train.images, repair, steps)
    G, D = recipe.networks(seeds, seed=seed)
    watch = Watch(lambda average: counted(average, seed), at[0])
    watched = recipe.train(G, D, seed=seed, watch=watch).require_whole().watched
    return {f"{key}_{step}": values[step // at[0]] for step in at for key, values in watched.items()}


def floor(seeds: int, seed: int) -> Columns:
    """Return what `judged` says of as many real images, made of the 8,000 last digits of the test set.

    Args:
        seeds: how many draws.
        seed: by which they are drawn.
    """
    data = Stacked(every_digit().test.images[JUDGED:])
    rng = Stream("real samples", seed, data.digits.data.device)
    return judged(data(seeds, CHUNK, rng) for _ in range(COUNTED // CHUNK))


TABLES = {
    "plain": Table(partial(whole, False), 1, ensemble=1),  # a run takes twenty minutes of a core
    "repaired": Table(partial(whole, True), 2, ensemble=1),
    "floor": Table(floor, 8, ensemble=1),
}

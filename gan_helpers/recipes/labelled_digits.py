"""Digits by label: the ways of the chapter on labels, on one generator and one body of the discriminator.

The generator has the transposed convolutions of the chapter on convolutions, the discriminator dense layers,
as in the first paper on labels. Sizes, penalties and rates are our own, so that two cores can train many.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gan_helpers import _checks, classifier, image_metrics, mnist
from gan_helpers.albums import ACROSS, Album
from gan_helpers.data import StandardNormal
from gan_helpers.ensemble import Ensemble
from gan_helpers.labels import Asked, Concatenated, Ignoring, Joined, LabelledRows, Projection, Readers
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe, convolutions, full_digits, labels
from gan_helpers.tables import FIRST_SEED, Columns, Table
from gan_helpers.training import adam, fading

PIXELS, CLASSES = mnist.SIDE**2, mnist.CLASSES
NOISE = StandardNormal(8)
WIDTH = 256  # of both hidden layers of D
TOLD = 50  # numbers that a joined D makes of the label before it joins them
STEPS, BATCH, RATE, BETAS = 800, 64, 1e-3, (0.0, 0.99)
LONGER = 4_000  # steps of a table that asks what more of them bring
GAMMA = 1.0  # of R1 and R2
EACH = 200  # images that are asked for of each digit
BUNDLED = 10_000  # the first digits of the full set come with the package
EVEN = (1 / CLASSES,) * CLASSES


def inputs(
    seeds: int, seed: int | None = None, rows: int | None = None, device: str | None = None
) -> tuple[Tensor, Tensor]:
    """Return the package's training digits, ``(rows, 784)``, and what they show, ``(rows,)``.

    Args:
        seeds: how many runs; it does not matter here.
        seed: the base seed; nor does this.
        rows: how many images; all unless given.
        device: where they live; `gan_helpers.device.default_device` unless given.
    """
    digits = mnist.load(device=device).train
    return digits.images[:rows], digits.labels[:rows]


# The networks


def generator(ignores: bool = False) -> nn.Module:
    """Return a generator of noise and label to rows of 784 pixels from -1 to 1.

    Args:
        ignores: whether it does not use the label.
    """
    if ignores:
        return Ignoring(convolutions.generator(features=NOISE.features))
    return Concatenated(convolutions.generator(features=NOISE.features + CLASSES), CLASSES)


def _layer(fan_in: int, fan_out: int) -> list[nn.Module]:
    """Return one hidden layer of D."""
    return [nn.Linear(fan_in, fan_out), nn.LeakyReLU(0.2)]


def _body(features: int = PIXELS) -> nn.Module:
    """Return what D sees in a sample, WIDTH numbers."""
    return nn.Sequential(*_layer(features, WIDTH), *_layer(WIDTH, WIDTH))


def discriminator(how: str) -> nn.Module:
    """Return a discriminator.

    Args:
        how: it meets the label, one of `WAYS`.

    Raises:
        ValueError: if there is no such way.
    """
    if how not in WAYS:
        raise ValueError(f"how must be one of {', '.join(WAYS)}, not {how!r}.")
    if how == "joined":
        first, label = nn.Sequential(*_layer(PIXELS, WIDTH)), nn.Sequential(*_layer(CLASSES, TOLD))
        rest = nn.Sequential(*_layer(WIDTH + TOLD, WIDTH), nn.Linear(WIDTH, 1))
        return Joined(first, label, rest, CLASSES)
    if how == "concatenated":
        return Concatenated(nn.Sequential(_body(PIXELS + CLASSES), nn.Linear(WIDTH, 1)), CLASSES)
    if how == "projection":
        return Projection(_body(), WIDTH, CLASSES)
    if how == "ignoring":
        return Ignoring(nn.Sequential(_body(), nn.Linear(WIDTH, 1)))
    return Readers(_body(), WIDTH, CLASSES, readers=2 if how == "twin" else 1)


#: How D meets the label, in words.
WAYS = {
    "joined": "sample and label mapped apart, then joined",
    "concatenated": "label beside the pixels",
    "projection": "projection",
    "auxiliary": "D reads the label",
    "twin": "two readers",
    "ignoring": "D does not use the label",
}
READING = ("auxiliary", "twin")  # those whose D takes images alone, and reads


# The games


def changed(
    images: Tensor,
    shown: Tensor,
    how: str = "joined",
    *,
    g_ignores: bool = False,
    weight: float = 1.0,
    swapped: float = 0.0,
    again: float = 0.0,
    own: float = 0.0,
    steps: int = STEPS,
) -> Recipe:
    """Return a conditional game of digits. All digits are asked for equally often.

    Args:
        images: the real images, ``(n, 784)``, from 0 to 1.
        shown: the digits that they show, ``(n,)``.
        how: D meets the label, one of `WAYS`.
        g_ignores: whether G does not use the label.
        weight: of the labels that are misread, in the loss of G.
        swapped: the weight of real images with the labels of others, if D takes pairs.
        again: the weight with which the fakes count once more in the loss of D, if it takes pairs.
        own: the weight of real images that D is to refuse with their own labels, if it takes pairs.
        steps: how many it takes.

    Raises:
        TypeError: if ``images`` is not a floating-point tensor, or ``shown`` not one of whole numbers.
        ValueError: if one is empty, they are not as many, or there is no such way.
    """
    _checks.floating("images", images, f"(n, {PIXELS})", dims=2)
    if how in READING:
        d_loss, g_loss = labels.reading(how, weight, GAMMA)
    else:
        d_loss, g_loss = labels.listening(gamma=GAMMA, swapped=swapped, again=again, own=own)

    def optimiser(network: Ensemble) -> torch.optim.Optimizer:
        return fading(adam(network, RATE, BETAS), steps)

    return Recipe(
        G=partial(generator, g_ignores),
        D=partial(discriminator, how),
        data=LabelledRows(2 * images - 1, shown),
        noise=Asked(NOISE, EVEN),
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=optimiser,
        g_opt=optimiser,
        steps=steps,
        batch=BATCH,
    )


def original(images: Tensor, shown: Tensor) -> Recipe:
    """Return the game whose D maps image and label apart and then joins them, as the first paper does.

    Args:
        images: as for `changed`.
        shown: likewise.
    """
    return changed(images, shown)


# What is measured


def asked_for(G: Ensemble, seed: int | None = None, n: int = EACH, same: bool = False) -> Tensor:
    """Return what generators draw for each digit, ``(seeds, 10, n, 784)``.

    Args:
        G: the generators.
        seed: of the noise; the base seed unless given.
        n: how many images of each digit.
        same: whether all digits are drawn from the same noise, or each from noise of its own.

    Returns:
        Images in bytes.
    """
    rng = Stream("asked for", seed, next(G.parameters()).device)
    z = NOISE(G.seeds, n, rng).repeat(1, CLASSES, 1) if same else NOISE(G.seeds, CLASSES * n, rng)
    y = torch.arange(CLASSES, device=z.device).repeat_interleave(n).expand(G.seeds, -1)
    was = G.training
    with torch.no_grad():
        images: Tensor = G.eval()((z, y))
    G.train(was)
    made: Tensor = convolutions.levels(images).unflatten(1, (CLASSES, n))
    return made


def judged(made: Tensor, digits: mnist.Digits, judge: classifier.DigitClassifier) -> Columns:
    r"""Return whether images show the digits that were asked for, and how much of each they reach.

    Args:
        made: images of each digit in bytes, ``(seeds, 10, n, 784)``.
        digits: real ones to compare with, held out.
        judge: reads the images, and its features are compared.

    Returns:
        Each ``(seeds,)``: ``"read"``, the share that is read as the digit asked for, ``"read_least"``, that
        of the digit with the smallest; of all images together, the Fréchet distance ``"frechet"``,
        ``"density"`` and ``"coverage"``; ``"within_0"`` and so on, the coverage of the real images of a digit
        by those that were asked to show it, and their mean ``"within"``; ``"width"``, how far images that are
        read as asked spread, in units of real ones of that digit that are read right: a root of the ratio of
        their variances, in the mean over the digits that have two such images, 0 if none has; ``"doubt"``,
        the entropy of what the judge says, in nats, in the mean over these images.
    """
    seeds, _, n, _ = made.shape
    features, real = judge.features(made.float() / 255), judge.features(digits.images)
    asked = torch.arange(CLASSES, device=made.device)[:, None]
    right, known = judge.head(features).argmax(-1) == asked, judge.head(real).argmax(-1) == digits.labels
    all_of, within, width = features.flatten(1, 2), [], []
    for k in range(CLASSES):
        truth = real[digits.labels == k]
        within.append(image_metrics.density_coverage(features[:, k], truth).coverage)
        spread = _spread(real[(digits.labels == k) & known])
        width.append(
            torch.stack([_spread(f[ok]) for f, ok in zip(features[:, k], right[:, k], strict=True)]) / spread
        )
    near = image_metrics.density_coverage(all_of, real)
    chances = judge.head(features).double().softmax(-1)
    entropy = -torch.xlogy(chances, chances).sum(-1)
    read = right.double().mean(2)
    return {
        "read": read.mean(1),
        "read_least": read.amin(1),
        "frechet": image_metrics.frechet_distance(all_of.double(), real.double()),
        "density": near.density,
        "coverage": near.coverage,
        "within": torch.stack(within, 1).mean(1),
        "width": torch.stack(width, 1).nanmean(1).nan_to_num(),
        "doubt": (entropy * right).sum((1, 2)) / right.sum((1, 2)).clamp(min=1),
    } | {f"within_{k}": found for k, found in enumerate(within)}


def _spread(features: Tensor) -> Tensor:
    """Return the root of the summed variances of features, ``(n, features)``; NaN of fewer than two."""
    if len(features) < 2:
        return features.new_full((), torch.nan, dtype=torch.double)
    return features.double().var(0).sum().sqrt()


#: The games of the table, by how the label is used.
GAMES: dict[str, dict[str, Any]] = {
    "plain": {"how": "ignoring", "g_ignores": True},
    "d_ignores": {"how": "ignoring"},
    "concatenated": {"how": "concatenated"},
    "joined": {"how": "joined"},
    "projection": {"how": "projection"},
    "auxiliary": {"how": "auxiliary"},
    "unpaid": {"how": "auxiliary", "weight": 0.0},
    "twin": {"how": "twin"},
}


def games(seeds: int, seed: int) -> Columns:
    """Train all `GAMES` from the same seeds, and return what comes of each by names like ``read_projection``.

    Args:
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        What `judged` says; where D reads, also ``own``, the share of the images that its own reader takes for
        the digit that was asked for.
    """
    return _compared(GAMES, STEPS, seeds, seed)


def longer(seeds: int, seed: int) -> Columns:
    """Train the plain game and that by projection five times as long, and return what comes of them.

    Args:
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        The columns of `games` for these two.
    """
    return _compared({name: GAMES[name] for name in ("plain", "projection")}, LONGER, seeds, seed)


def swapped(seeds: int, seed: int, how: str = "projection") -> Columns:
    """Train a game whose D is shown real images with the labels of others, and return what comes of it.

    Args:
        seeds: how many runs.
        seed: the base seed.
        how: D meets the label, one of `WAYS` that take pairs.

    Returns:
        The columns of `games`, and which digit is read worst, by names like ``worst_projection``.
    """
    return _compared({how: {"how": how, "swapped": 1.0}}, STEPS, seeds, seed, worst=True)


def refused_more(seeds: int, seed: int) -> Columns:
    """Train the game by projection whose D refuses fakes with twice the weight, and return what comes of it.

    Args:
        seeds: how many runs.
        seed: the base seed.

    Returns:
        The columns of `games` for this one.
    """
    return _compared({"projection": {"how": "projection", "again": 1.0}}, STEPS, seeds, seed)


def own(seeds: int, seed: int) -> Columns:
    """Train the game by projection whose D also refuses real images with their own labels.

    Args:
        seeds: how many runs.
        seed: the base seed.

    Returns:
        The columns of `games` for this one.
    """
    return _compared({"projection": {"how": "projection", "own": 1.0}}, STEPS, seeds, seed)


def _compared(
    compared: dict[str, dict[str, Any]], steps: int, seeds: int, seed: int, worst: bool = False
) -> Columns:
    """Return what comes of games, for the tables."""
    digits, judge = mnist.load().test, classifier.load()
    columns: Columns = {}
    for name, changes in compared.items():
        recipe = changed(*inputs(seeds), **({"steps": steps} | changes))
        G, D = recipe.networks(seeds, seed=seed)
        recipe.train(G, D, seed=seed).require_whole()
        made = asked_for(G, seed)
        found = judged(made, digits, judge)
        if changes["how"] in READING:
            found["own"] = own_reading(D, made)
        if worst:
            found["worst"] = worst_read(made, judge)
        columns |= {f"{key}_{name}": values for key, values in found.items()}
    return columns


def worst_read(made: Tensor, judge: classifier.DigitClassifier) -> Tensor:
    """Return the digit that is least often read as asked, ``(seeds,)``.

    Args:
        made: images of each digit in bytes, ``(seeds, 10, n, 784)``.
        judge: reads them.
    """
    asked = torch.arange(CLASSES, device=made.device)[:, None]
    place: Tensor = (judge.predict(made.float() / 255) == asked).sum(2).argmin(1)
    return place


def own_reading(D: Ensemble, made: Tensor) -> Tensor:
    """Return the share of images that the reader in D takes for the digit that was asked for, ``(seeds,)``.

    Args:
        D: discriminators that read.
        made: images of each digit in bytes, ``(seeds, 10, n, 784)``.
    """
    with torch.no_grad():
        _, read, *_ = D(made.flatten(1, 2) / 127.5 - 1)
    asked = torch.arange(CLASSES, device=made.device).repeat_interleave(made.shape[2])
    share: Tensor = (read.argmax(-1) == asked).double().mean(1)
    return share


def floor(seeds: int, seed: int) -> Columns:
    """Return what `judged` says of real digits that neither a generator nor the judge has learned from.

    Args:
        seeds: how many draws, of as many images of each digit.
        seed: by which they are drawn.
    """
    unseen, digits, judge = full_digits(60_000).train[BUNDLED:], mnist.load().test, classifier.load()
    rng = Stream("floor", seed, unseen.images.device)
    places = [(unseen.labels == k).nonzero().flatten() for k in range(CLASSES)]
    found: list[Columns] = []
    for _ in range(seeds):
        drawn = torch.stack([unseen.images[at[rng.permutation(len(at))[:EACH]]] for at in places])
        found.append(judged(drawn.mul(255).round().byte().unsqueeze(0), digits, judge))
    return {key: torch.cat([one[key] for one in found]) for key in found[0]}


TABLES = {
    "games": Table(games, 8, ensemble=1),
    "refused_more": Table(refused_more, 8, ensemble=1),
    "own": Table(own, 8, ensemble=1),
    "swapped": Table(swapped, 8, ensemble=1),
    "swapped_beside": Table(partial(swapped, how="concatenated"), 8, ensemble=1),
    "longer": Table(longer, 8, ensemble=1),  # a run takes eight minutes of a core
    "floor": Table(floor, 20, ensemble=20),
}


def _best() -> Recipe:
    """Return the game whose digits are stored."""
    return changed(*inputs(1), how="projection", swapped=1.0)


def _drawn(seed: int, G: Ensemble) -> Tensor:
    """Return sixteen images of each digit, all digits from the same noise: grey levels from 0 to 1."""
    return asked_for(G, seed, ACROSS, same=True).flatten(1, 2).float() / 255


#: What the first four runs of `swapped` draw by projection. A row has a digit, and a column a draw of noise.
ALBUMS = {
    f"seed_{k}": Album(
        _best, partial(_drawn, FIRST_SEED + k), {50: ACROSS, STEPS: CLASSES * ACROSS}, FIRST_SEED + k
    )
    for k in range(4)
}

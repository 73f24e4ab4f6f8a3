r"""The right half of a digit from its left half, by a small U-Net and a judge of patches.

The networks are those of Isola et al. (2017), cut to 28 by 28 pixels and a few channels: a U-Net whose layers
of one size are joined and which normalises over the batch, and a discriminator that says of each patch
whether it is real, and does not normalise. The left half is given and stays as it is. Noise goes in where
pictures are smallest.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gan_helpers import _checks, classifier, image_metrics, mnist
from gan_helpers.data import Minibatches, StandardNormal
from gan_helpers.ensemble import Ensemble
from gan_helpers.pairs import absolute, losses_of
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe, bundled_digits
from gan_helpers.tables import Columns
from gan_helpers.training import adam

SIDE, PIXELS = mnist.SIDE, mnist.SIDE**2
FEW, MANY, NOISY = 12, 24, 8  # channels of 14 by 14 pixels, of 7 by 7, and of noise
NOISE = StandardNormal(16)
STEPS, BATCH, RATE, BETAS = 400, 32, 2e-3, (0.5, 0.999)
GAMMA = 0.1  # of R1 and R2, of the sum of 49 logits
JUDGED, ANSWERS = 1_000, 8  # digits that are held out, and answers to each
inputs = bundled_digits


# The data


def hidden(images: Tensor) -> Tensor:
    """Return images without their right half, which is black.

    Args:
        images: pixels from -1 to 1, ``(..., 784)``.
    """
    return joined(images, -torch.ones_like(images))


def joined(left: Tensor, right: Tensor) -> Tensor:
    """Return the left half of one image beside the right half of another.

    Args:
        left: ``(..., 784)``.
        right: ``(..., 784)``.
    """
    one, other = (image.unflatten(-1, (SIDE, SIDE)) for image in (left, right))
    return torch.cat([one[..., : SIDE // 2], other[..., SIDE // 2 :]], -1).flatten(-2)


class Halves(Minibatches):
    """Pairs (x, y) of a digit and its left half, in epochs.

    Args:
        images: pixels from -1 to 1, ``(n, 784)``.
    """

    def __init__(self, images: Tensor) -> None:
        super().__init__(images)

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Any:
        """Draw pairs for each seed, ``(seeds, batch, 784)`` each."""
        x = super().__call__(seeds, batch, rng)
        return x, hidden(x)


# The networks


class UNet(nn.Module):
    """A generator that halves a picture twice and doubles it twice, and joins layers of one size.

    Args:
        norm: normalise what the convolutions make over the batch, but for the first and the last one.
    """

    def __init__(self, norm: bool = True) -> None:
        super().__init__()

        def normal(channels: int) -> list[nn.Module]:
            return [nn.BatchNorm2d(channels, track_running_stats=False)] if norm else []

        self.image = nn.Unflatten(-1, (1, SIDE, SIDE))
        self.down = nn.Sequential(nn.Conv2d(1, FEW, 4, 2, 1), nn.LeakyReLU(0.2))
        self.deep = nn.Sequential(nn.Conv2d(FEW, MANY, 4, 2, 1), *normal(MANY), nn.LeakyReLU(0.2))
        self.noise = nn.Sequential(
            nn.Linear(NOISE.features, NOISY * 49), nn.LeakyReLU(0.2), nn.Unflatten(-1, (NOISY, 7, 7))
        )
        self.up = nn.Sequential(
            nn.ConvTranspose2d(MANY + NOISY, FEW, 4, 2, 1), *normal(FEW), nn.LeakyReLU(0.2)
        )
        self.last = nn.Sequential(nn.ConvTranspose2d(2 * FEW, 1, 4, 2, 1), nn.Tanh(), nn.Flatten(1))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Map noise ``(..., 16)`` and left halves ``(..., 784)`` to digits with those left halves."""
        large = self.down(self.image(y))
        small = torch.cat([self.deep(large), self.noise(z)], -3)
        return joined(y, self.last(torch.cat([self.up(small), large], -3)))


class Patches(nn.Module):
    """A discriminator of pairs that says of each of 49 patches, of 10 by 10 pixels, whether it is real.

    Patches overlap, and those at the border are cut.
    """

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Unflatten(-1, (1, SIDE, SIDE))
        self.network = nn.Sequential(
            nn.Conv2d(2, FEW, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(FEW, MANY, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(MANY, 1, 1), nn.Flatten(1),
        )  # fmt: skip

    def forward(self, x: Tensor, y: Tensor) -> Any:
        """Map digits and left halves, ``(..., 784)`` each, to logits, ``(..., 49)``."""
        return self.network(torch.cat([self.image(x), self.image(y)], -3))


# The games


def changed(
    images: Tensor,
    *,
    weight: float = 100.0,
    game: bool = True,
    gamma: float = 0.0,
    norm: bool = True,
    rate: float = RATE,
    steps: int = STEPS,
) -> Recipe:
    r"""Return a game on halves; unless told otherwise, with the loss of Isola et al.

    Args:
        images: the real digits, ``(n, 784)``, from 0 to 1.
        weight: :math:`\lambda`, of the mean absolute error of a pixel.
        game: whether G plays at all.
        gamma: the weight of :math:`\frac12 (R_1 + R_2)`.
        norm: whether G normalises over the batch.
        rate: the step size of both players.
        steps: how many it takes.
    """
    _checks.floating("images", images, f"(n, {PIXELS})", dims=2)
    d_loss, g_loss = losses_of(absolute, weight, game, gamma)
    return Recipe(
        G=partial(UNet, norm),
        D=Patches,
        data=Halves(2 * images - 1),
        noise=NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=lambda D: adam(D, rate, BETAS),
        g_opt=lambda G: adam(G, rate, BETAS),
        steps=steps,
        batch=BATCH,
    )


def original(images: Tensor) -> Recipe:
    """Return the game of the paper, 100 times the absolute error and the judge of patches.

    Args:
        images: as for `changed`.
    """
    return changed(images)


def repaired(images: Tensor) -> Recipe:
    """Return the game without a price on error, and with one on the slope of D.

    Args:
        images: as for `changed`.
    """
    return changed(images, weight=0.0, gamma=GAMMA)


# What is measured


def completed(G: Ensemble, images: Tensor, answers: int = ANSWERS, seed: int | None = None) -> Tensor:
    """Return digits that generators complete, from 0 to 1, ``(seeds, answers, n, 784)``.

    Where G normalises, it does so over these digits, as the paper's does over what it is tested on.

    Args:
        G: the generators.
        images: digits from 0 to 1, ``(n, 784)``, of which they see the left half.
        answers: how many to each.
        seed: of the noise; the base seed unless given.
    """
    y = hidden(2 * images - 1).expand(G.seeds, -1, -1)
    rng = Stream("completed", seed, images.device)
    with torch.no_grad():
        drawn = [G((NOISE(G.seeds, len(images), rng), y)) for _ in range(answers)]
    return (torch.stack(drawn, 1) + 1) / 2


def greyness(images: Tensor) -> Tensor:
    r"""Return the mean of :math:`1 - |2v - 1|` over pixels v of right halves, ``(seeds,)``.

    Args:
        images: from 0 to 1, ``(seeds, n, 784)``.
    """
    right = images.unflatten(2, (SIDE, SIDE))[..., SIDE // 2 :]
    grey: Tensor = (1 - (2 * right - 1).abs()).double().mean((1, 2, 3))
    return grey


def judged(x: Tensor, digits: mnist.Digits, others: mnist.Digits) -> Columns:
    """Return how good completed digits are.

    Args:
        x: answers, ``(seeds, answers, n, 784)``.
        digits: those that were completed.
        others: as many real ones to compare with.

    Returns:
        Each ``(seeds,)``: ``"read"``, the share that is read as the digit it was; ``"frechet"``, the distance
        of the first answers from other real digits; ``"grey"``, their `greyness` over that of the real
        halves; ``"error"``, the mean absolute error of a pixel of the right half; ``"spread"``, the root mean
        square deviation of such a pixel between answers; ``"readings"``, how many different digits the
        answers to one half are read as.
    """
    judge = classifier.load(x.device)
    first, real = x[:, 0], digits.images
    read = judge.predict(x)
    features, theirs = judge.features(first).double(), judge.features(others.images).double()
    kinds = torch.stack([(read == k).any(1) for k in range(mnist.CLASSES)]).sum(0)
    # The left half is given, so errors and deviations are those of half of the pixels.
    return {
        "read": (read == digits.labels).double().mean((1, 2)),
        "frechet": image_metrics.frechet_distance(features, theirs),
        "grey": greyness(first) / greyness(real.unsqueeze(0)),
        "error": 2 * (first - real).abs().double().mean((1, 2)),
        "spread": (2 * x.var(1).double().mean((1, 2))).sqrt(),
        "readings": kinds.double().mean(1),
    }


#: The games of the table, by what differs from the original.
GAMES: Mapping[str, dict[str, Any]] = {
    "absolute": {"game": False},
    "original": {},
    "light_priced": {"weight": 10.0, "gamma": GAMMA},
    "game": {"weight": 0.0},
    "game_priced": {"weight": 0.0, "gamma": GAMMA},
}
#: The same with a G that does not normalise.
BARE: Mapping[str, dict[str, Any]] = {name: changes | {"norm": False} for name, changes in GAMES.items()}


def slow(games: Mapping[str, dict[str, Any]]) -> Mapping[str, dict[str, Any]]:
    """Return pix2pix and the game with a price on slope at the rate of the paper.

    Args:
        games: `GAMES` or `BARE`.
    """
    return {name: games[name] | {"rate": 2e-4} for name in ("original", "game_priced")}


def games(seeds: int, seed: int, which: Mapping[str, dict[str, Any]] = GAMES) -> Columns:
    """Train games, and return what `judged` says by names such as ``read_absolute``.

    Args:
        seeds: how many runs of each.
        seed: the base seed.
        which: the games by their names, as what differs from the original.
    """
    test = mnist.load().test
    columns: Columns = {}
    for name, changes in which.items():
        recipe = changed(*inputs(seeds), **changes)
        G, D = recipe.networks(seeds, seed=seed)
        recipe.train(G, D, seed=seed).require_whole()
        x = completed(G, test.images[:JUDGED], seed=seed)
        found = judged(x, test[:JUDGED], test[JUDGED:])
        columns |= {f"{key}_{name}": values for key, values in found.items()}
    return columns


def real(seeds: int, seed: int) -> Columns:
    """Return what `judged` says of real digits, and of left halves beside others' right halves.

    The others are digits of the same kind, ``"other"``, or those with the nearest left halves, ``"near"``.

    Args:
        seeds: how many draws.
        seed: by which other halves are drawn.
    """
    test, train = mnist.load().test, mnist.load().train
    some, rng = test[:JUDGED], Stream("other halves", seed)
    own = some.images.expand(seeds, ANSWERS, -1, -1)
    index = torch.empty(seeds, ANSWERS, JUDGED, dtype=torch.long)
    for k in range(mnist.CLASSES):
        of_kind, place = (train.labels == k).nonzero().squeeze(1), some.labels == k
        index[:, :, place] = of_kind[rng.integers(len(of_kind), seeds, ANSWERS, int(place.sum()))]
    seen, known = hidden(2 * some.images - 1), hidden(2 * train.images - 1)
    nearest = torch.cdist(seen, known).topk(ANSWERS, largest=False).indices.T
    completed_by = {
        "own": own,
        "other": joined(own, train.images[index]),
        "near": joined(own, train.images[nearest].expand_as(own)),
    }
    columns: Columns = {}
    for name, x in completed_by.items():
        found = judged(x, some, test[JUDGED:])
        columns |= {f"{key}_{name}": values for key, values in found.items()}
    return columns

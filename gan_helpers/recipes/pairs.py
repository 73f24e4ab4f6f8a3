r"""Pictures from pictures, where the distribution of the answers is known: what is drawn, and how it varies.

A picture y is given and a picture x is asked for, as by Isola et al. (2017), who price errors beside the
game. Here y shows a ring or a square, and in x a bar stands out from it. A ring's bar has one of four
directions, all equally likely; that of a square is to the right three times out of four, else to the left. So
truth, sharpness and variety can be measured. Networks, data and rates are our own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from scipy import optimize
from torch import Tensor, nn

from gan_helpers import _checks, mnist
from gan_helpers.data import StandardNormal
from gan_helpers.ensemble import Ensemble
from gan_helpers.models import mlp
from gan_helpers.pairs import absolute, losses_of, squared
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe, halves, trained, unpaired
from gan_helpers.tables import Columns, Table
from gan_helpers.training import adam, fading

SIDE = 14
PIXELS = SIDE**2
PLACES = (4, 6)  # the upper or left edge of a shape
SIZE, BAR = 4, 8  # the side of a shape, and the pixels of a bar, 4 by 2
ANSWERS = ("right", "left", "up", "down")
RINGS, SQUARES = (0.25, 0.25, 0.25, 0.25), (0.75, 0.25, 0.0, 0.0)  # how likely each answer is
WIDTH = 64  # of both hidden layers of both players
STEPS, BATCH, RATE, BETAS = 1_200, 32, 4e-3, (0.0, 0.99)
NOISE = StandardNormal(8)
GAMMA = 1.0  # of R1 and R2
DRAWN = 200  # answers that are drawn to each picture


# The data


def _shape(ring: bool, row: int, column: int) -> Tensor:
    """Return a picture of a ring or a square, ``(14, 14)``."""
    y = torch.zeros(SIDE, SIDE)
    y[row : row + SIZE, column : column + SIZE] = 1
    if ring:
        y[row + 1 : row + SIZE - 1, column + 1 : column + SIZE - 1] = 0
    return y


def _with_bar(y: Tensor, row: int, column: int, answer: str) -> Tensor:
    """Return the picture with a bar."""
    x, half = y.clone(), SIZE // 2
    rows, columns = (slice(start + 1, start + 1 + half) for start in (row, column))
    if answer in ("right", "left"):
        start = column + SIZE if answer == "right" else column - SIZE
        x[rows, start : start + SIZE] = 1
    else:
        start = row + SIZE if answer == "down" else row - SIZE
        x[start : start + SIZE, columns] = 1
    return x


class Shapes:
    """Pairs (x, y): a shape y at one of four places, and the same with a bar, x.

    The first four pictures y are rings, and the others squares. ``given`` holds them, ``(8, 196)``,
    ``answers`` what may be asked for, ``(8, 4, 196)``, and ``shares`` how likely each answer is, ``(8, 4)``.
    Ink is 1.
    """

    def __init__(self) -> None:
        places = [(ring, row, column) for ring in (True, False) for row in PLACES for column in PLACES]
        shapes = [(_shape(*place), *place[1:]) for place in places]
        self.given = torch.stack([y.flatten() for y, _, _ in shapes])
        self.answers = torch.stack(
            [torch.stack([_with_bar(*shape, answer).flatten() for answer in ANSWERS]) for shape in shapes]
        )
        self.shares = torch.tensor([RINGS] * 4 + [SQUARES] * 4)

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Any:
        """Draw pairs for each seed: x and y, ``(seeds, batch, 196)`` each."""
        given, answers, shares = (part.to(rng.device) for part in (self.given, self.answers, self.shares))
        i = rng.integers(len(given), seeds, batch)
        below = shares.cumsum(1)[i][..., :-1] <= rng.uniform(seeds, batch, 1)
        return answers[i, below.sum(2)], given[i]


SHAPES = Shapes()


# The theory


def rarer(weight: float, share: float = 0.25, saturating: bool = True) -> float:
    r"""Return how often the rarer of two answers is drawn where the game and a price on error balance.

    For a share :math:`\pi` in the data it is the w that makes
    :math:`2 \operatorname{JS}((\pi, 1 - \pi), (w, 1 - w)) + c w` least, where
    :math:`c = 2 b \lambda (1 - 2 \pi)` is the price of drawing it and b the share of pixels in a bar:

    .. math:: \log \frac{w}{\pi + w} - \log \frac{1 - w}{2 - \pi - w} + c = 0

    With the loss :math:`-\log D` and the best D, held fixed, it is 0 or the w for which

    .. math:: \log \frac{\pi + w}{\pi} - \log \frac{2 - \pi - w}{1 - \pi} + c = 0

    Args:
        weight: :math:`\lambda`, of the mean absolute error of a pixel.
        share: :math:`\pi`, at most 1/2.
        saturating: whether G plays the minimax game, and not the one with :math:`-\log D`.
    """
    price = 2 * BAR / PIXELS * weight * (1 - 2 * share)

    def slope(w: float) -> float:
        if saturating:
            return math.log(w / (share + w)) - math.log((1 - w) / (2 - share - w)) + price
        return math.log((share + w) / share) - math.log((2 - share - w) / (1 - share)) + price

    least = 1e-12
    return float(optimize.brentq(slope, least, 0.5)) if slope(least) < 0 else 0.0


# The games


class Painter(nn.Module):
    """A generator of a picture and noise.

    Args:
        ignores: whether it does not get the noise.
    """

    def __init__(self, ignores: bool = False) -> None:
        super().__init__()
        self.network = mlp(PIXELS + NOISE.features, WIDTH, WIDTH, PIXELS, activation=nn.ReLU)
        self.ignores = ignores

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Map noise ``(..., 8)`` and pictures ``(..., 196)`` to pictures."""
        return torch.sigmoid(self.network(torch.cat([0 * z if self.ignores else z, y], -1)))


class Critic(nn.Module):
    """A discriminator of pairs of pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.network = mlp(2 * PIXELS, WIDTH, WIDTH, 1, activation=nn.ReLU)

    def forward(self, x: Tensor, y: Tensor) -> Any:
        """Map pictures x and y, ``(..., 196)`` each, to logits, ``(..., 1)``."""
        return self.network(torch.cat([x, y], -1))


def changed(
    *,
    error: Callable[[Tensor, Tensor], Tensor] = absolute,
    weight: float = 100.0,
    game: bool = True,
    gamma: float = 0.0,
    diversity: float = 0.0,
    ignores: bool = False,
    rate: float = RATE,
    betas: tuple[float, float] = BETAS,
    steps: int = STEPS,
) -> Recipe:
    r"""Return a game on shapes; unless told otherwise, with the loss of Isola et al.

    Args:
        error: `gan_helpers.pairs.absolute` or `gan_helpers.pairs.squared`.
        weight: :math:`\lambda`, of that error.
        game: whether G plays at all.
        gamma: the weight of :math:`\frac12 (R_1 + R_2)`.
        diversity: the weight of `gan_helpers.pairs.difference`.
        ignores: whether G gets no noise.
        rate: the first step size of both players, which fades.
        betas: Adam's, of both.
        steps: how many it takes.
    """
    d_loss, g_loss = losses_of(error, weight, game, gamma, diversity)

    def optimiser(network: Ensemble) -> torch.optim.Optimizer:
        return fading(adam(network, rate, betas), steps)

    return Recipe(
        G=partial(Painter, ignores),
        D=Critic,
        data=SHAPES,
        noise=NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=optimiser,
        g_opt=optimiser,
        steps=steps,
        batch=BATCH,
    )


def original() -> Recipe:
    """Return the game of the paper: 100 times the absolute error, and no price on the slope of D."""
    return changed()


def repaired() -> Recipe:
    """Return the game without a price on error, and with one on the slope of D."""
    return changed(weight=0.0, gamma=GAMMA)


# What is measured


def answered(G: Ensemble, seed: int | None = None, n: int = DRAWN) -> Tensor:
    """Return what generators answer to each picture, ``(seeds, 8, n, 196)``.

    Args:
        G: the generators.
        seed: of the noise; the base seed unless given.
        n: how many answers to each.
    """
    device = next(G.parameters()).device
    z = NOISE(G.seeds, len(SHAPES.given) * n, Stream("answered", seed, device))
    y = SHAPES.given.to(device).repeat_interleave(n, 0).expand(G.seeds, -1, -1)
    with torch.no_grad():
        x: Tensor = G((z, y)).unflatten(1, (-1, n))
    return x


def judged(x: Tensor) -> Columns:
    r"""Return how true, how sharp and how various answers are, for rings and for squares.

    Args:
        x: answers, ``(seeds, 8, n, 196)``.

    Returns:
        By names such as ``true_rings``, each ``(seeds,)``: ``"true"``, the share that are one of the allowed
        answers when pixels are cut at a half; ``"wrong"``, by how many pixels an answer that is cut so
        differs from the nearest allowed one, the median; ``"empty"``, the share that then have no ink where a
        bar may stand; ``"kinds"``, how many of the allowed answers are drawn rightly at least once;
        ``"grey"``, the sum of :math:`1 - |2v - 1|` over pixels v, in bars; ``"tv"``, how far the shares of
        the nearest allowed answers are from the known ones; ``"spread"``, the variance of pixels over the
        noise, summed, over that of the truth. All but ``"wrong"`` are means over the four pictures of a kind.
        ``"rarer"`` is the share of the rarer answer to a square.
    """
    _checks.floating("x", x, f"(seeds, 8, n, {PIXELS})", dims=4)
    answers, shares = SHAPES.answers.to(x), SHAPES.shares.to(x)
    # What is not allowed is farther than any picture can be.
    far = [
        (x - answers[:, None, k]).abs().sum(3) + PIXELS * (shares[:, k, None] == 0)
        for k in range(len(ANSWERS))
    ]
    cut = (x > 0.5).to(x.dtype)
    wrong = [
        (cut - answers[:, None, k]).abs().sum(3) + (shares[:, k, None] == 0) for k in range(len(ANSWERS))
    ]
    right = torch.stack(wrong) == 0  # (4 answers, seeds, 8, n)
    pixels = torch.stack(wrong).masked_fill((shares.T == 0)[:, None, :, None], PIXELS).amin(0)
    bars = (answers.amax(1) > answers.amin(1)).unsqueeze(1)
    got = F.one_hot(torch.stack(far).argmin(0), len(ANSWERS)).double().mean(2)
    mean = (shares.unsqueeze(2) * answers).sum(1)
    each = {
        "true": right.any(0).double().mean(2),
        "empty": ((cut * bars).sum(3) == 0).double().mean(2),
        "kinds": right.any(3).sum(0).double(),
        "grey": (1 - (2 * x - 1).abs()).sum(3).double().mean(2) / BAR,
        "tv": (got - shares).abs().sum(2) / 2,
        "spread": (x.var(2).sum(2) / (mean * (1 - mean)).sum(1)).double(),
    }
    kinds = {"rings": slice(0, 4), "squares": slice(4, 8)}
    columns = {f"{k}_{kind}": v[:, some].mean(1) for k, v in each.items() for kind, some in kinds.items()}
    columns |= {
        f"wrong_{kind}": pixels[:, some].flatten(1).double().quantile(0.5, 1) for kind, some in kinds.items()
    }
    return columns | {"rarer": got[:, 4:, 1].mean(1)}


# The tables

#: The games of the table, by what differs from the original.
GAMES: Mapping[str, dict[str, Any]] = {
    "squared": {"game": False, "error": squared},
    "absolute": {"game": False},
    "original": {},
    "light": {"weight": 10.0},
    "game": {"weight": 0.0},
    "original_priced": {"gamma": GAMMA},
    "light_priced": {"weight": 10.0, "gamma": GAMMA},
    "repaired": {"weight": 0.0, "gamma": GAMMA},
    "noiseless": {"weight": 0.0, "gamma": GAMMA, "ignores": True},
    "diverse": {"weight": 0.0, "diversity": 10.0},
}
#: Three of them as the paper trains, with its rate and its Adam, and with five times as many steps.
SLOW: Mapping[str, dict[str, Any]] = {
    name: GAMES[name] | {"rate": 2e-4, "betas": (0.5, 0.999), "steps": 5 * STEPS}
    for name in ("original", "game", "repaired")
}


def shapes(seeds: int, seed: int, which: Mapping[str, dict[str, Any]] = GAMES) -> Columns:
    """Train games, and return what `judged` says by names such as ``true_rings_squared``.

    Args:
        seeds: how many runs of each.
        seed: the base seed.
        which: the games by their names, as what differs from the original.
    """
    columns: Columns = {}
    for name, changes in which.items():
        found = judged(answered(trained(changed(**changes), seeds, seed), seed))
        columns |= {f"{key}_{name}": values for key, values in found.items()}
    return columns


def floor(seeds: int, seed: int) -> Columns:
    """Return what `judged` says of as many answers drawn by the known shares.

    Args:
        seeds: how many draws.
        seed: the base seed.
    """
    below = SHAPES.shares.cumsum(1)[:, None, :-1] <= Stream("real answers", seed).uniform(seeds, 8, DRAWN, 1)
    kinds = torch.arange(8)[:, None].expand(seeds, -1, DRAWN)
    return judged(SHAPES.answers[kinds, below.sum(3)])


def shapes_untrained(seeds: int, seed: int) -> Columns:
    """Return what `judged` says of the generators from which `shapes` starts, before their first step.

    Args:
        seeds: how many.
        seed: the base seed.
    """
    G, _ = original().networks(seeds, seed=seed)
    return {f"{key}_untrained": values for key, values in judged(answered(G, seed)).items()}


def untrained(seeds: int, seed: int) -> Columns:
    """Return what `halves.judged` says of generators of halves before their first step.

    They are those from which the games of `halves.GAMES` start, by names such as ``spread_untrained``.

    Args:
        seeds: how many.
        seed: the base seed.
    """
    test = mnist.load().test
    some, others = test[: halves.JUDGED], test[halves.JUDGED :]
    G, _ = halves.original(*halves.inputs(seeds)).networks(seeds, seed=seed)
    found = halves.judged(halves.completed(G, some.images, seed=seed), some, others)
    return {f"{key}_untrained": values for key, values in found.items()}


TABLES = {
    "shapes": Table(shapes, 64, ensemble=32),
    "shapes_slow": Table(partial(shapes, which=SLOW), 16, ensemble=16),
    "shapes_untrained": Table(shapes_untrained, 64, ensemble=32),
    "floor": Table(floor, 64),
    "digits": Table(halves.games, 8, ensemble=1),
    "digits_bare": Table(partial(halves.games, which=halves.BARE), 8, ensemble=1),
    "digits_real": Table(halves.real, 8, ensemble=8),
    "digits_slow": Table(partial(halves.games, which=halves.slow(halves.BARE)), 8, ensemble=1),
    "digits_slow_normed": Table(partial(halves.games, which=halves.slow(halves.GAMES)), 8, ensemble=1),
    "digits_untrained": Table(untrained, 8, ensemble=1),
    "unpaired": Table(unpaired.found, 64, ensemble=32),
    "unpaired_form": Table(partial(unpaired.found, which=unpaired.FORM), 64, ensemble=32),
    "unpaired_width": Table(unpaired.widths, 64, ensemble=32),
}

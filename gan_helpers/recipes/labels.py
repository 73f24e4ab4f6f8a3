"""Conditional games in the plane, where each label's distribution is known: who uses the label, and how.

The first paper hands the label to both players as further inputs; others compare it with what D sees, or let
D read it. Networks, data and rates are our own, so that many seeds fit on a page.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from scipy import optimize
from torch import Tensor, nn

from gan_helpers import _checks
from gan_helpers.data import Gaussian
from gan_helpers.ensemble import Ensemble
from gan_helpers.labels import Asked, Concatenated, Ignoring, Labelled, Projection, Readers, misread
from gan_helpers.losses import minimax_d, minimax_g, non_saturating_g
from gan_helpers.metrics import fit_gaussian, w2_gaussian
from gan_helpers.models import mlp
from gan_helpers.penalties import r1_r2
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe, trained
from gan_helpers.tables import Columns, Table
from gan_helpers.training import adam, fading

WIDTH = 32  # of both hidden layers of both players
STEPS, BATCH, RATE, BETAS = 1_500, 64, 3e-3, (0.0, 0.99)
GAMMA = 1.0  # of R1 and R2
SPREAD = 3.0  # the standard deviation of the noise
NOISE = Gaussian(torch.zeros(2), SPREAD**2 * torch.eye(2))
ASKED = 1_000  # samples that are asked for of each label
NEAR = 3.0  # standard deviations that a sample is at most off, to be where it was asked for


# The data


@dataclass(frozen=True)
class Truth:
    """What each label means: a Gaussian, and how often it is there.

    Args:
        parts: the distributions of x given the label.
        shares: of the labels.
    """

    parts: tuple[Gaussian, ...]
    shares: tuple[float, ...]

    @property
    def data(self) -> Labelled:
        """What draws (x, y)."""
        return Labelled(self.parts, self.shares)

    def likeliest(self, x: Tensor) -> Tensor:
        """Return the label that each point most likely has, ``(...)``.

        Args:
            x: points, ``(..., 2)``.
        """
        joint = [part.log_prob(x) + math.log(s) for part, s in zip(self.parts, self.shares, strict=True)]
        return torch.stack(joint, -1).argmax(-1)


def _tilted(x: float, y: float, angle: float, long: float, short: float) -> Gaussian:
    """Return a Gaussian at a place, with its standard deviations along and across a direction."""
    cos, sin = math.cos(angle), math.sin(angle)
    axes = torch.tensor([[long * cos, long * sin], [-short * sin, short * cos]])
    return Gaussian.from_transform(axes, torch.tensor([float(x), float(y)]))


#: Four labels that no sample leaves in doubt, and that are not equally frequent.
ISLANDS = Truth(
    (_tilted(-2, -2, 0.8, 0.6, 0.2), _tilted(2, -2, -0.8, 0.6, 0.2), _tilted(2, 2, 0, 0.35, 0.35),
     _tilted(-2, 2, 0, 0.6, 0.2)),
    (0.4, 0.3, 0.2, 0.1),
)  # fmt: skip
#: Two labels that share much of the plane.
OVERLAP = Truth((_tilted(-1, 0, 0, 1, 0.5), _tilted(1, 0, 0, 1, 0.5)), (0.5, 0.5))


# The theory


def blind_shares(shares: tuple[float, ...]) -> Tensor:
    r"""Return how often the best generator that uses no label makes each of several distributions.

    .. math:: w_y = \frac{1}{e^{\lambda / \pi_y} - 1}, \qquad \sum_y w_y = 1

    These minimise :math:`\sum_y \pi_y \operatorname{JS}(p_y, \sum_k w_k p_k)` if no two of the
    distributions meet.

    Args:
        shares: :math:`\pi`, of the labels.

    Returns:
        The shares w, ``(labels,)``.
    """
    pi = torch.tensor(shares, dtype=torch.float64)

    def excess(price: float) -> float:
        return float((1 / torch.expm1(price / pi)).sum() - 1)

    return 1 / torch.expm1(optimize.brentq(excess, 1e-3, 1.0) / pi)


@dataclass(frozen=True)
class Cut:
    """What is left of two overlapping normal distributions that are cut where they are equally likely.

    Args:
        sd: the standard deviation of a half, in those of one whole distribution.
        beyond: which share of one whole distribution lies beyond the cut.
    """

    sd: float
    beyond: float


def cut(mean: float = 1.0) -> Cut:
    r"""Return what a cut at 0 leaves of an even mixture of :math:`N(-m, 1)` and :math:`N(m, 1)`.

    The upper half has the mean :math:`\sqrt{2/\pi}\, e^{-m^2/2} + m\,(1 - 2 \Phi(-m))` and the second moment
    :math:`1 + m^2`.

    Args:
        mean: m.
    """
    beyond = 0.5 * math.erfc(mean / math.sqrt(2))
    middle = math.sqrt(2 / math.pi) * math.exp(-(mean**2) / 2) + mean * (1 - 2 * beyond)
    return Cut(math.sqrt(1 + mean**2 - middle**2), beyond)


def pushed(swapped: float, mean: float = 1.0) -> Cut:
    r"""Return what the best G draws for one of two overlapping bells, if D is shown swapped labels.

    With real samples whose labels are drawn anew, of weight :math:`\mu`, it draws

    .. math:: q_y = \max(0,\ c\, p_y - \mu\, \tfrac12 (p_0 + p_1)), \qquad \int q_y = 1

    Args:
        swapped: :math:`\mu`.
        mean: m, of the upper distribution :math:`N(m, 1)`; the lower one is :math:`N(-m, 1)`.
    """
    x = torch.linspace(-mean - 9, mean + 9, 100_001, dtype=torch.float64)
    upper, lower = (torch.exp(-((x - m) ** 2) / 2) for m in (mean, -mean))
    step = (x[1] - x[0]) / math.sqrt(2 * math.pi)

    def density(c: float) -> Tensor:
        return step * (c * upper - swapped * (upper + lower) / 2).clamp(min=0)

    q = density(optimize.brentq(lambda c: float(density(c).sum() - 1), 0.5, 2 + swapped))
    middle = (q * x).sum()
    return Cut(float((q * (x - middle) ** 2).sum().sqrt()), float(q[x < 0].sum()))


# The games


def _body() -> nn.Module:
    """Return what D sees in a sample, WIDTH numbers."""
    return nn.Sequential(nn.Linear(2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())


def generator(classes: int, ignores: bool = False) -> nn.Module:
    """Return a generator of noise and label.

    Args:
        classes: how many labels there are.
        ignores: whether it does not use them.
    """
    if ignores:
        return Ignoring(mlp(2, WIDTH, WIDTH, 2, activation=nn.ReLU))
    return Concatenated(mlp(2 + classes, WIDTH, WIDTH, 2, activation=nn.ReLU), classes)


def discriminator(how: str, classes: int) -> nn.Module:
    """Return a discriminator.

    Args:
        how: one of `WAYS`.
        classes: how many labels there are.

    Raises:
        ValueError: if there is no such way.
    """
    if how not in WAYS:
        raise ValueError(f"how must be one of {', '.join(WAYS)}, not {how!r}.")
    if how == "concatenated":
        return Concatenated(mlp(2 + classes, WIDTH, WIDTH, 1, activation=nn.ReLU), classes)
    if how == "projection":
        return Projection(_body(), WIDTH, classes)
    if how == "ignoring":
        return Ignoring(mlp(2, WIDTH, WIDTH, 1, activation=nn.ReLU))
    return Readers(_body(), WIDTH, classes, readers=2 if how == "twin" else 1)


#: How D meets the label, in words.
WAYS = {
    "concatenated": "label as an input of D",
    "projection": "projection",
    "auxiliary": "D reads the label",
    "real_only": "D learns to read from real samples",
    "twin": "two readers",
    "codes": "D reads a code",
    "ignoring": "D does not use the label",
}
LISTENING = ("concatenated", "projection", "ignoring")  # those whose D takes a pair


def slopes(D: Callable[..., Tensor], x: Tensor, y: Tensor, fake: Tensor, c: Tensor) -> Tensor:
    r"""Return :math:`\frac12 (R_1 + R_2)` of a D that takes samples with labels, ``(seeds,)``.

    The slope is that in the sample; a label has none.

    Args:
        D: takes pairs.
        x: real samples.
        y: their labels.
        fake: as many others.
        c: the labels that were asked for.
    """
    labels = torch.cat([y, c], 1)
    return r1_r2(lambda both: D((both, labels)), x, fake)


def listening(
    saturating: bool = False,
    gamma: float = GAMMA,
    swapped: float = 0.0,
    again: float = 0.0,
    own: float = 0.0,
) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    r"""Return the losses of D and of G in a game whose D takes pairs.

    Args:
        saturating: whether G descends the minimax loss.
        gamma: the weight of :math:`\frac12 (R_1 + R_2)`.
        swapped: the weight of real samples with the labels of others, which D learns to tell like fakes.
        again: the weight with which the fakes count once more, for comparison with those.
        own: that of real samples with their own labels, which D learns to refuse too: likewise.
    """

    def d_loss(G: Ensemble, D: Ensemble, real: Any, noise: Any) -> Tensor:
        (x, y), (z, c) = real, noise
        fake = G((z, c)).detach()
        others = [(x, y.roll(1, 1))] if swapped else []
        a, b, *moved = D((x, y), (fake, c), *others)
        refused = again * minimax_g(b) + own * minimax_g(a)
        refused = sum((swapped * minimax_g(told) for told in moved), refused)
        return minimax_d(a, b) - refused + gamma * slopes(D, x, y, fake, c)

    def g_loss(G: Ensemble, D: Ensemble, real: Any, noise: Any) -> Tensor:
        z, c = noise
        return (minimax_g if saturating else non_saturating_g)(D((G((z, c)), c)))

    return d_loss, g_loss


def reading(
    how: str, weight: float = 1.0, gamma: float = GAMMA
) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    r"""Return the losses of D and of G in a game whose D takes samples alone, and reads their labels.

    Args:
        how: one of `WAYS` that reads.
        weight: of the labels that are misread, in the loss of G.
        gamma: the weight of :math:`\frac12 (R_1 + R_2)`.
    """

    def d_loss(G: Ensemble, D: Ensemble, real: Any, noise: Any) -> Tensor:
        (x, y), (z, c) = real, noise
        fake = G((z, c)).detach()
        (a, read, *_), (b, heard, *twin) = D(x, fake)
        loss = minimax_d(a, b) + gamma * r1_r2(lambda both: D(both)[0], x, fake)
        if how != "codes":
            loss = loss + misread(read, y)
        if how in ("auxiliary", "codes"):
            loss = loss + misread(heard, c)
        return loss + misread(twin[0], c) if how == "twin" else loss

    def g_loss(G: Ensemble, D: Ensemble, real: Any, noise: Any) -> Tensor:
        z, c = noise
        b, heard, *twin = D(G((z, c)))
        told = misread(heard, c) - misread(twin[0], c) if how == "twin" else misread(heard, c)
        return non_saturating_g(b) + weight * told

    return d_loss, g_loss


def changed(
    how: str = "concatenated",
    truth: Truth = ISLANDS,
    *,
    g_ignores: bool = False,
    saturating: bool = False,
    weight: float = 1.0,
    gamma: float = GAMMA,
    swapped: float = 0.0,
    again: float = 0.0,
    own: float = 0.0,
    codes: int | None = None,
    steps: int = STEPS,
) -> Recipe:
    r"""Return a conditional game.

    Args:
        how: D meets the label, one of `WAYS`.
        truth: the data.
        g_ignores: whether G does not use the label.
        saturating: whether G descends the minimax loss, if D takes pairs.
        weight: of the labels that are misread, in the loss of G.
        gamma: the weight of :math:`\frac12 (R_1 + R_2)`.
        swapped: that of real samples with the labels of others, if D takes pairs.
        again: that with which the fakes count once more, if D takes pairs.
        own: that of real samples that D is to refuse with their own labels, if it takes pairs.
        codes: how many equally likely values G is asked for, if these are no labels of the data.
        steps: how many it takes.

    Raises:
        ValueError: if there is no such way.
    """
    asked = truth.shares if codes is None else (1 / _checks.whole("codes", codes),) * codes
    classes = len(asked)
    if how in LISTENING:
        d_loss, g_loss = listening(saturating, gamma, swapped, again, own)
    else:
        d_loss, g_loss = reading(how, weight, gamma)

    def optimiser(network: Ensemble) -> torch.optim.Optimizer:
        return fading(adam(network, RATE, BETAS), steps)

    return Recipe(
        G=partial(generator, classes, g_ignores),
        D=partial(discriminator, how, classes),
        data=truth.data,
        noise=Asked(NOISE, asked),
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=optimiser,
        g_opt=optimiser,
        steps=steps,
        batch=BATCH,
    )


def original() -> Recipe:
    """Return the game of the first paper: both players have the label as a further input."""
    return changed()


# What is measured


def asked_for(G: Ensemble, classes: int, seed: int | None = None, n: int = ASKED) -> Tensor:
    """Return what generators make of each label, ``(seeds, classes, n, 2)``, on the CPU.

    Args:
        G: the generators.
        classes: how many labels there are.
        seed: of the noise; the base seed unless given.
        n: how many samples of each.
    """
    z = NOISE(G.seeds, classes * n, Stream("asked for", seed, next(G.parameters()).device))
    y = torch.arange(classes, device=z.device).repeat_interleave(n).expand(G.seeds, -1)
    with torch.no_grad():
        x: Tensor = G((z, y)).unflatten(1, (classes, n))
    return x.cpu()


def judged(x: Tensor, truth: Truth) -> Columns:
    """Return whether samples are what was asked for.

    Args:
        x: samples of each label, ``(seeds, classes, n, 2)``.
        truth: what was asked for.

    Returns:
        Each ``(seeds,)``: ``"right"``, the share of the worst label within `NEAR` standard deviations of its
        centre; ``"read"``, the share that most likely has the label that was asked for, with labels asked for
        by their shares; ``"w2"``, the distance W2 of the worst label; ``"share_0"`` and so on, how often each
        label is the likeliest; ``"tv"``, how far these are from the shares of the data; ``"sd"``, the
        standard deviation along the first axis over that of the truth, the smallest of all labels.
    """
    x = x.double()
    shares = torch.tensor(truth.shares, dtype=x.dtype)
    near, far, wide = [], [], []
    for k, part in enumerate(truth.parts):
        mean, covariance = part.mean.double(), part.covariance.double()
        off = torch.linalg.solve_triangular(part.cholesky.double(), (x[:, k] - mean).mT, upper=False)
        near.append((off.norm(dim=1) < NEAR).double().mean(1))
        fitted = fit_gaussian(x[:, k])
        far.append(w2_gaussian(fitted.mean, fitted.covariance, mean, covariance))
        wide.append((fitted.covariance[:, 0, 0] / covariance[0, 0]).sqrt())
    likeliest = truth.likeliest(x)  # (seeds, asked, n)
    got = torch.stack([(likeliest == k).double().mean(2) for k in range(len(shares))], 2)
    made = (shares[:, None] * got).sum(1)
    return {
        "right": torch.stack(near, 1).amin(1),
        "read": (shares * got.diagonal(dim1=1, dim2=2)).sum(1),
        "w2": torch.stack(far, 1).amax(1),
        "sd": torch.stack(wide, 1).amin(1),
        "tv": (made - shares).abs().sum(1) / 2,
    } | {f"share_{k}": made[:, k] for k in range(len(shares))}


def informed(x: Tensor, truth: Truth) -> Columns:
    r"""Return what equally likely codes tell of the labels, which nobody told G.

    .. math:: I(c; y) = \sum_{c, y} p(c, y) \log_2 \frac{p(c, y)}{p(c)\, p(y)}

    Args:
        x: samples of each code, ``(seeds, codes, n, 2)``.
        truth: whose likeliest labels are counted.

    Returns:
        Each ``(seeds,)``: ``"bits"``, that; ``"pure"``, how many codes have 95 % of their samples in one
        label; ``"named"``, how many labels have a pure code; ``"tv"``, how far the shares of the likeliest
        labels are from those of the data.
    """
    likeliest = truth.likeliest(x.double())
    labels = len(truth.shares)
    got = torch.stack([(likeliest == k).double().mean(2) for k in range(labels)], 2)  # (seeds, codes, labels)
    joint, made = got / got.shape[1], got.mean(1)
    bits = torch.xlogy(joint, got / made.unsqueeze(1)).nan_to_num(0.0).sum((1, 2)) / math.log(2)
    pure = got >= 0.95
    return {
        "bits": bits,
        "pure": pure.any(2).sum(1).double(),
        "named": pure.any(1).sum(1).double(),
        "tv": (made - torch.tensor(truth.shares, dtype=made.dtype)).abs().sum(1) / 2,
    }


# The tables

#: Games on the islands, by who uses the label and how.
USING: dict[str, dict[str, Any]] = {
    "both": {},
    "projection": {"how": "projection"},
    "auxiliary": {"how": "auxiliary"},
    "g_ignores": {"g_ignores": True},
    "g_ignores_minimax": {"g_ignores": True, "saturating": True},
    "d_ignores": {"how": "ignoring"},
    "neither": {"how": "ignoring", "g_ignores": True},
}
#: Games on two labels that overlap.
OVERLAPPING: dict[str, dict[str, Any]] = {
    "concatenated": {},
    "projection": {"how": "projection"},
    "auxiliary": {"how": "auxiliary"},
    "light": {"how": "auxiliary", "weight": 0.1},
    "real_only": {"how": "real_only"},
    "twin": {"how": "twin"},
}
EVEN = Truth(ISLANDS.parts, (0.25,) * 4)
#: Games with codes that nobody labelled.
CODED: dict[str, dict[str, Any]] = {
    "even": {"truth": EVEN},
    "unread": {"truth": EVEN, "weight": 0.0},
    "uneven": {"truth": ISLANDS},
}


def _compared(games: dict[str, dict[str, Any]], truth: Truth, seeds: int, seed: int) -> Columns:
    """Train all games from the same seeds, and return what `judged` says by names such as ``w2_twin``."""
    columns: Columns = {}
    for name, changes in games.items():
        G = trained(changed(**({"truth": truth} | changes)), seeds, seed)
        found = judged(asked_for(G, len(truth.shares), seed), truth)
        columns |= {f"{key}_{name}": values for key, values in found.items()}
    return columns


def using(seeds: int, seed: int) -> Columns:
    """Train the games of `USING` on the islands.

    Args:
        seeds: how many runs of each.
        seed: the base seed.
    """
    return _compared(USING, ISLANDS, seeds, seed)


def overlapping(seeds: int, seed: int) -> Columns:
    """Train the games of `OVERLAPPING` on two labels that overlap.

    Args:
        seeds: how many runs of each.
        seed: the base seed.
    """
    return _compared(OVERLAPPING, OVERLAP, seeds, seed)


def swapped(seeds: int, seed: int) -> Columns:
    """Train projection on both truths with real samples that have the labels of others, of weight 1.

    Args:
        seeds: how many runs of each.
        seed: the base seed.
    """
    games = {"projection": {"how": "projection", "swapped": 1.0}}
    columns: Columns = {}
    for name, truth in (("islands", ISLANDS), ("overlap", OVERLAP)):
        found = _compared(games, truth, seeds, seed)
        columns |= {key.replace("projection", name): values for key, values in found.items()}
    return columns


def controls(seeds: int, seed: int) -> Columns:
    """Train what the games with minimax loss and with swapped labels are compared with.

    On the islands the plain game with the minimax loss; on both truths projection whose D refuses the fakes
    with twice the weight, and projection whose D refuses real samples with their own labels.

    Args:
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        What `judged` says by names such as ``w2_plain_minimax`` and ``sd_own_overlap``.
    """
    plain = {"plain_minimax": {"how": "ignoring", "g_ignores": True, "saturating": True}}
    columns = _compared(plain, ISLANDS, seeds, seed)
    for name, truth in (("islands", ISLANDS), ("overlap", OVERLAP)):
        games = {f"{key}_{name}": {"how": "projection", key: 1.0} for key in ("again", "own")}
        columns |= _compared(games, truth, seeds, seed)
    return columns


def coded(seeds: int, seed: int) -> Columns:
    """Train the games of `CODED`, and return what `informed` says by names such as ``bits_even``.

    Args:
        seeds: how many runs of each.
        seed: the base seed.
    """
    columns: Columns = {}
    for name, changes in CODED.items():
        G = trained(changed("codes", codes=4, **changes), seeds, seed)
        found = informed(asked_for(G, 4, seed), changes["truth"])
        columns |= {f"{key}_{name}": values for key, values in found.items()}
    return columns


def floor(seeds: int, seed: int) -> Columns:
    """Return what `judged` says of as many real samples, on the islands and on the labels that overlap.

    Args:
        seeds: how many draws.
        seed: the base seed.
    """
    rng = Stream("real samples", seed)
    columns: Columns = {}
    for name, truth in (("islands", ISLANDS), ("overlap", OVERLAP)):
        real = torch.stack([part(seeds, ASKED, rng) for part in truth.parts], 1)
        columns |= {f"{key}_{name}": values for key, values in judged(real, truth).items()}
    return columns


TABLES = {
    "coded": Table(coded, 64),
    "floor": Table(floor, 320, ensemble=320),
    "using": Table(using, 64),
    "overlapping": Table(overlapping, 64),
    "swapped": Table(swapped, 64),
    "controls": Table(controls, 64),
}

r"""Maps between two sets of points without pairs: what the cycle leaves open, and what training finds.

Two maps go there and back, G from y to x and F from x to y, each with a discriminator of its own. The game is
that of Zhu et al. (2017). Both sets are four islands on a circle, so that the maps can be counted: they move
whole islands, and which island goes where is an order of four.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import permutations
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_helpers.data import Gaussian
from gan_helpers.ensemble import Ensemble
from gan_helpers.labels import Labelled
from gan_helpers.losses import minimax_d, non_saturating_g
from gan_helpers.models import mlp
from gan_helpers.penalties import squared_slopes
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe
from gan_helpers.tables import Columns
from gan_helpers.training import adam, fading

WIDTH = 32  # of both hidden layers of all four networks
STEPS, BATCH, RATE, BETAS = 1_500, 64, 3e-3, (0.0, 0.99)
GAMMA = 1.0  # of R1 and R2
CYCLE = 1.0  # the weight of the way there and back
RADIUS, SD = 2.0, 0.15  # of the circle, and of an island
TURN = 0.35  # by how much the islands of x are turned, in radians: 20 degrees
EVEN, UNEVEN = (0.25,) * 4, (0.4, 0.3, 0.2, 0.1)
MOVED = 500  # points of each island that are looked at
FAR = 12.0  # times the first weights of the last layer, so that points move about as far as islands are apart
WHOLE = 0.95  # the share of an island that arrives together if it counts as moved
#: Which island each of the four goes to, in all orders; the first leaves all as they are.
ORDERS = tuple(permutations(range(4)))
#: The first weights of maps, torch's own, those of the identity, or with a last layer ``FAR`` times as large.
Start = Literal["random", "identity", "far"]
STARTS = get_args(Start)


# The data


@dataclass(frozen=True)
class Islands:
    """Four round islands on a circle.

    Args:
        shares: of the points, by island.
        turn: the angle of the first island, in radians.
    """

    shares: tuple[float, ...] = EVEN
    turn: float = 0.0

    @cached_property
    def means(self) -> Tensor:
        """The centres, ``(4, 2)``."""
        angles = self.turn + torch.arange(4) * math.pi / 2
        return RADIUS * torch.stack([angles.cos(), angles.sin()], 1)

    @cached_property
    def labelled(self) -> Labelled:
        """What draws points with the numbers of their islands."""
        return Labelled([Gaussian(mean, SD**2 * torch.eye(2)) for mean in self.means], self.shares)

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw points for each seed, ``(seeds, batch, 2)``."""
        points: Tensor = self.labelled(seeds, batch, rng)[0]
        return points

    def each(self, seeds: int, n: int, rng: Stream) -> Tensor:
        """Draw n points of each island, ``(seeds, 4, n, 2)``.

        Args:
            seeds: for how many.
            n: how many.
            rng: the stream.
        """
        return torch.stack([part(seeds, n, rng) for part in self.labelled.parts], 1)


# The networks


def _keep_points(network: nn.Sequential) -> None:
    """Give a network first weights by which points come out as they went in: relu(t) - relu(-t) = t."""
    first, second, last = (layer for layer in network if isinstance(layer, nn.Linear))
    signs = torch.cat([torch.eye(2), -torch.eye(2)])
    with torch.no_grad():
        for layer, weights in ((first, signs), (second, torch.eye(4, WIDTH))):
            layer.weight[:4] = weights
            layer.bias[:4] = 0
        last.weight.zero_()[:, :4] = signs.T
        last.bias.zero_()


class Maps(nn.Module):
    """The two maps, G from y to x and F from x to y.

    Args:
        residual: whether a network only says by how much a point moves.
        start: its first weights, one of `STARTS`.
    """

    def __init__(self, residual: bool = False, start: Start = "random") -> None:
        super().__init__()
        if start not in STARTS:
            raise ValueError(f"start must be one of {', '.join(STARTS)}, not {start!r}.")
        self.to_x, self.to_y = (mlp(2, WIDTH, WIDTH, 2, activation=nn.ReLU) for _ in range(2))
        self.residual = residual
        for network in (self.to_x, self.to_y):
            if start == "far":
                next(network[-1].parameters()).data.mul_(FAR)
            elif start == "identity" and residual:
                for weights in network[-1].parameters():
                    nn.init.zeros_(weights)
            elif start == "identity":
                _keep_points(network)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """Map points ``(..., 2)`` to G(y) and F(x), and these back: F(G(y)) and G(F(x))."""
        there = self._moved(self.to_x, y), self._moved(self.to_y, x)
        return *there, self._moved(self.to_y, there[0]), self._moved(self.to_x, there[1])

    def _moved(self, network: nn.Module, points: Tensor) -> Tensor:
        answer: Tensor = network(points)
        return points + answer if self.residual else answer


class Judges(nn.Module):
    """Two discriminators, of x and of y, that never meet."""

    def __init__(self) -> None:
        super().__init__()
        self.of_x, self.of_y = (mlp(2, WIDTH, WIDTH, 1, activation=nn.ReLU) for _ in range(2))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Map points ``(..., 2)`` to the logits of x and those of y, ``(..., 1)`` each."""
        return self.of_x(x), self.of_y(y)


# The game


def back_and_forth(points: Tensor, returned: Tensor) -> Tensor:
    r"""Return how far points are from where they started, :math:`\mathbb{E} \lVert F(G(y)) - y \rVert_1`.

    Args:
        points: where they start, ``(seeds, batch, 2)``.
        returned: where they come back to.
    """
    return (returned - points).abs().sum(2).mean(1)


def changed(
    shares: tuple[float, ...] = EVEN,
    *,
    cycle: float = CYCLE,
    residual: bool = False,
    start: Start = "random",
    steps: int = STEPS,
) -> Recipe:
    """Return the game of two maps, whose noise are the points y.

    Args:
        shares: of the islands, in both sets.
        cycle: the weight of the way there and back.
        residual: whether the networks say by how much a point moves, and not where to.
        start: the first weights of both maps, one of `STARTS`.
        steps: how many it takes.
    """

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, y: Tensor) -> Tensor:
        to_x, to_y = (fake.detach() for fake in G((x, y))[:2])
        (a, b), (a_fake, b_fake) = D((x, y), (to_x, to_y))
        xs, ys = torch.cat([x, to_x], 1), torch.cat([y, to_y], 1)
        slopes = squared_slopes(lambda some: D((some, ys))[0], xs)
        slopes = slopes + squared_slopes(lambda some: D((xs, some))[1], ys)
        # The mean over both halves is half of the sum of R1 and R2.
        return minimax_d(a, a_fake) + minimax_d(b, b_fake) + GAMMA * slopes.mean(1)

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, y: Tensor) -> Tensor:
        to_x, to_y, y_again, x_again = G((x, y))
        a_fake, b_fake = D((to_x, to_y))
        loss = non_saturating_g(a_fake) + non_saturating_g(b_fake)
        return loss + cycle * (back_and_forth(y, y_again) + back_and_forth(x, x_again))

    def optimiser(network: Ensemble) -> torch.optim.Optimizer:
        return fading(adam(network, RATE, BETAS), steps)

    return Recipe(
        G=partial(Maps, residual, start),
        D=Judges,
        data=Islands(shares, TURN),
        noise=Islands(shares),
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=optimiser,
        g_opt=optimiser,
        steps=steps,
        batch=BATCH,
    )


def original() -> Recipe:
    """Return the game with the cycle, of islands that are equally frequent."""
    return changed()


# What is measured


@dataclass(frozen=True, eq=False)
class Moved:
    """Where maps take the points of each island.

    Args:
        starts: points y, ``(seeds, 4, n, 2)``.
        ends: where G takes them.
        returned: where F takes these.
    """

    starts: Tensor
    ends: Tensor
    returned: Tensor


def moved(G: Ensemble, seed: int | None = None, n: int = MOVED) -> Moved:
    """Return where maps take points of each island.

    Args:
        G: the maps.
        seed: of the points; the base seed unless given.
        n: how many of each island.
    """
    starts = Islands().each(G.seeds, n, Stream("moved", seed, next(G.parameters()).device))
    y = starts.flatten(1, 2)
    with torch.no_grad():
        ends, _, returned, _ = G((y, y))
    return Moved(starts, *(points.unflatten(1, (4, n)) for points in (ends, returned)))


def arrivals(found: Moved) -> Tensor:
    """Return the share of each island that arrives at each island of x, ``(seeds, 4, 4)``.

    Args:
        found: where its points go.
    """
    nearest = torch.cdist(found.ends.flatten(1, 2), Islands(turn=TURN).means.to(found.ends)).argmin(2)
    shares: Tensor = F.one_hot(nearest, 4).double().unflatten(1, (4, -1)).mean(2)
    return shares


def order(shares: Tensor) -> Tensor:
    """Return which of `ORDERS` maps put islands in, -1 where two meet or one is torn, ``(seeds,)``.

    Args:
        shares: the share of each island that arrives at each, ``(seeds, 4, 4)``.
    """
    told = torch.tensor(ORDERS, device=shares.device)  # (24, 4)
    index = told[None, :, :, None].expand(len(shares), -1, -1, 1)
    arrived = shares.unsqueeze(1).expand(-1, len(told), -1, -1).gather(3, index).squeeze(3)
    whole = (arrived >= WHOLE).all(2)
    return torch.where(whole.any(1), whole.double().argmax(1), -1)


def kind(orders: Tensor) -> Tensor:
    """Return what each order does: 0 nothing, 1 turn, 2 mirror, 3 another order, -1 none, ``(seeds,)``.

    Args:
        orders: numbers of `ORDERS`, or -1.
    """
    steps = [{(later - one) % 4 for one, later in zip(o, o[1:], strict=False)} for o in ORDERS]
    kinds = [1 if step == {1} else 2 if step == {3} else 3 for step in steps]
    kinds[0] = 0
    # The last entry is what -1 means.
    return torch.tensor([*kinds, -1], device=orders.device)[orders.long()]


def measured(found: Moved, shares: tuple[float, ...]) -> Columns:
    """Return whether maps keep the shares and come home, and which they are.

    Args:
        found: where they take points.
        shares: of the islands.

    Returns:
        Each ``(seeds,)``: ``"order"`` and ``"kind"`` as the functions of those names say; ``"near"``, the
        share of the points of the worst island within three standard deviations of a centre; ``"tv"``, how
        far the shares of what arrives are from those of the data; ``"cycle"``, the mean distance of points
        from where they started, in units of the plane.
    """
    weights = torch.tensor(shares, dtype=torch.double, device=found.ends.device)
    centres = Islands(turn=TURN).means.to(found.ends)
    near = torch.cdist(found.ends.flatten(1, 2), centres).amin(2) < 3 * SD
    got = arrivals(found)
    orders = order(got)
    return {
        "order": orders.double(),
        "kind": kind(orders).double(),
        "near": near.double().unflatten(1, (4, -1)).mean(2).amin(1),
        "tv": ((weights[:, None] * got).sum(1) - weights).abs().sum(1) / 2,
        "cycle": ((found.returned - found.starts).norm(dim=3).double().mean(2) * weights).sum(1),
    }


def width(found: Moved) -> Tensor:
    """Return how wide islands arrive: the least deviation in any direction, over that of y, ``(seeds,)``.

    Of the four islands it is the narrowest one.

    Args:
        found: where maps take points.
    """
    apart = (found.ends - found.ends.mean(2, keepdim=True)).double()
    variances = torch.linalg.eigvalsh(apart.mT @ apart / (apart.shape[2] - 1))
    least: Tensor = variances[..., 0].amin(1).clamp(min=0).sqrt() / SD
    return least


#: The games of the table, by what differs from the original.
GAMES: Mapping[str, dict[str, Any]] = {
    "cycle": {},
    "no_cycle": {"cycle": 0.0},
    "residual": {"residual": True, "start": "identity"},
    "residual_no_cycle": {"residual": True, "start": "identity", "cycle": 0.0},
    "uneven": {"shares": UNEVEN},
    "uneven_no_cycle": {"shares": UNEVEN, "cycle": 0.0},
}


_FORMS: Mapping[str, dict[str, Any]] = {
    "form": {"residual": True},
    "far": {"residual": True, "start": "far"},
    "start": {"start": "identity"},
}
#: Form and start apart, with the cycle and without, by names such as ``"no_cycle_far"``.
FORM: Mapping[str, dict[str, Any]] = {
    f"{name}_{form}": GAMES[name] | changes
    for form, changes in _FORMS.items()
    for name in ("cycle", "no_cycle")
}


def found(seeds: int, seed: int, which: Mapping[str, dict[str, Any]] = GAMES) -> Columns:
    """Train games, and return what `measured` says by names such as ``kind_residual``.

    Args:
        seeds: how many runs of each.
        seed: the base seed.
        which: the games, by what differs from the original.
    """
    columns: Columns = {}
    for name, changes in which.items():
        recipe = changed(**changes)
        G, D = recipe.networks(seeds, seed=seed)
        recipe.train(G, D, seed=seed).require_whole()
        values = measured(moved(G, seed), changes.get("shares", EVEN))
        columns |= {f"{key}_{name}": value for key, value in values.items()}
    return columns


def widths(seeds: int, seed: int) -> Columns:
    """Train with the cycle and without it, and return how wide islands arrive.

    The names are such as ``width_cycle``; ``width_truth`` and ``near_truth`` are of as many points of x.

    Args:
        seeds: how many runs of each, and how many draws.
        seed: the base seed.
    """
    x = Islands(turn=TURN).each(seeds, MOVED, Stream("islands of x", seed))
    truth = Moved(x, x, x)
    columns = {"width_truth": width(truth), "near_truth": measured(truth, EVEN)["near"]}
    for name in ("cycle", "no_cycle"):
        recipe = changed(**GAMES[name])
        G, D = recipe.networks(seeds, seed=seed)
        recipe.train(G, D, seed=seed).require_whole()
        there = moved(G, seed)
        values = measured(there, EVEN)
        columns |= {f"width_{name}": width(there)}
        columns |= {f"{key}_{name}": values[key] for key in ("near", "kind")}
    return columns

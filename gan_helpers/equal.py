r"""Equal budgets for things that are compared: of arithmetic, and of tuning.

Arithmetic is counted as multiplications in products of matrices. Tuning is a number of settings, drawn at
random from the same ranges for all. The settings of one thing are trained side by side, as members of one
ensemble, each with its own rates.

Raises:
    TypeError: everywhere, if an argument is of the wrong type.
    ValueError: everywhere, if a number is out of range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gan_helpers import _checks
from gan_helpers.ensemble import Ensemble
from gan_helpers.randomness import Stream

RATES = (-4.0, -2.0)  # the powers of ten that both learning rates lie between
MOMENTA = (0.0, 0.5, 0.9)  # what Adam's beta1 can be
TURNS = (1, 2, 5)  # how many updates a critic can have for one of its generator


# Arithmetic


class _Counter(TorchDispatchMode):
    """Adds up the operations of all products of matrices, also of those that a gradient takes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        # torch.utils.flop_counter.FlopCounterMode would count the same, but breaks at a gradient's gradient.
        if count := flop_registry.get(func._overloadpacket):
            self.operations += count(*args, **(kwargs or {}), out_val=out)
        return out


def multiplications(work: Callable[[], object]) -> int:
    r"""Return how many multiplications a piece of work takes, in products of matrices.

    A product of an :math:`n \times k` with a :math:`k \times m` matrix takes :math:`n k m` of them. Those of
    forward and backward passes count alike, and so do those of a gradient's gradient. What is done number
    by number is not counted: activations, losses, kernels, random numbers and the optimiser.

    Args:
        work: a function without arguments.
    """
    _checks.function("work", work)
    with _Counter() as counter:
        work()
    return int(counter.operations) // 2  # torch counts additions as well


def of_gradient(loss: Callable[[], Tensor], *networks: Ensemble) -> int:
    """Return how many multiplications the gradient of a loss takes, for all members together.

    Args:
        loss: returns one loss per seed.
        networks: those whose weights get the gradient.
    """
    weights = [p for network in networks for p in network.parameters()]
    loss()  # the first call of an ensemble also holds it against its members, which is no part of the work
    return multiplications(lambda: torch.autograd.grad(loss().sum(), weights, allow_unused=True))


# Tuning


@dataclass(frozen=True)
class Setting:
    """What is tuned of a recipe.

    Args:
        g_rate: the learning rate of the generator, or of whatever is trained alone.
        d_rate: that of the critic.
        beta1: Adam's, of both.
        d_steps: updates of the critic for one of the generator.
        own: a number that the objective alone has, such as the weight of its penalty.
    """

    g_rate: float
    d_rate: float
    beta1: float
    d_steps: int
    own: float


def settings(n: int, powers: tuple[float, float], rng: Stream) -> list[Setting]:
    r"""Draw settings at random.

    Both rates are :math:`10^U` with U uniform over `RATES`, beta1 and the updates of the critic are any
    of `MOMENTA` and `TURNS`, and the objective's own number is :math:`10^U` over ``powers``. Each of these is
    drawn so that every n-th part of its range is met once, in an order of its own: a Latin hypercube, which
    leaves less to luck than free draws. Whatever the powers, the same stream gives the same rates.

    Args:
        n: how many.
        powers: the two powers of ten that the own number lies between.
        rng: the stream they are drawn from.

    References:
        McKay, Beckman and Conover (1979). https://doi.org/10.2307/1268522
    """
    _checks.whole("n", n)
    drawn = torch.stack([(rng.permutation(n) + rng.uniform(n).double()) / n for _ in range(5)], 1)
    (low, high), (least, most) = RATES, powers
    return [
        Setting(
            g_rate=10 ** (low + (high - low) * g),
            d_rate=10 ** (low + (high - low) * d),
            beta1=MOMENTA[int(len(MOMENTA) * beta)],
            d_steps=TURNS[int(len(TURNS) * turns)],
            own=10 ** (least + (most - least) * own),
        )
        for g, d, beta, turns, own in drawn.tolist()
    ]


def column(of: Sequence[Setting], name: str) -> Tensor:
    """Return one part of the settings of all members, ``(members,)``.

    Args:
        of: the setting of each member.
        name: which part, such as ``"g_rate"``.
    """
    return torch.tensor([getattr(setting, name) for setting in of], dtype=torch.get_default_dtype())


class MemberAdam(Optimizer):
    r"""Adam with a learning rate and a beta1 for each member of an ensemble, and a clip if asked for.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad v \leftarrow \beta_2 v + (1 - \beta_2) g^2,
        \quad w \leftarrow w - \alpha \, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    with :math:`\beta_2` = 0.999 and :math:`\epsilon` = 1e-8. With a clip c, all weights are then cut to
    [-c, c].

    Args:
        network: the ensemble whose weights are updated.
        rate: alpha of each member, ``(seeds,)``.
        beta1: that of each member, ``(seeds,)``.
        clip: c of each member, ``(seeds,)``.

    Raises:
        ValueError: if there is not one number for each member.

    References:
        Kingma and Ba (2015), algorithm 1. https://arxiv.org/abs/1412.6980
    """

    BETA2, EPSILON = 0.999, 1e-8

    def __init__(self, network: Ensemble, rate: Tensor, beta1: Tensor, clip: Tensor | None = None) -> None:
        for name, values in (("rate", rate), ("beta1", beta1), ("clip", clip)):
            if values is not None and values.shape != (network.seeds,):
                shape = tuple(values.shape)
                raise ValueError(
                    f"{name} must have one number for each of {network.seeds} members, not {shape}."
                )
        super().__init__(network.parameters(), {"rate": rate, "beta1": beta1, "clip": clip})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all weights by their gradients.

        Args:
            closure: not used.
        """
        for group in self.param_groups:
            for weights in group["params"]:
                self._move(weights, group)

    def _move(self, weights: Tensor, group: Mapping[str, Any]) -> None:
        """Update one tensor of weights, whose first axis is that of the members."""
        gradient, state = weights.grad, self.state[weights]
        if gradient is None:
            return
        if not state:
            state |= {"made": 0, "m": torch.zeros_like(weights), "v": torch.zeros_like(weights)}
        state["made"] += 1
        rate, beta1 = (_beside(group[name], weights) for name in ("rate", "beta1"))
        m = state["m"].lerp_(gradient, 1 - beta1)
        v = state["v"].lerp_(gradient.square(), 1 - self.BETA2)
        size = (v / (1 - self.BETA2 ** state["made"])).sqrt_().add_(self.EPSILON)
        weights.sub_(m * (rate / (1 - beta1 ** state["made"])) / size)
        if group["clip"] is not None:
            clip = _beside(group["clip"], weights)
            weights.copy_(torch.minimum(torch.maximum(weights, -clip), clip))


def _beside(values: Tensor, weights: Tensor) -> Tensor:
    """Return one number for each member in the shape of weights."""
    return values.view(-1, *[1] * (weights.dim() - 1)).to(weights)


def best(distances: Sequence[Tensor]) -> int:
    """Return which setting has the least median distance; a run that failed is infinitely far.

    Args:
        distances: for each setting, those of its seeds, ``(seeds,)``.

    Raises:
        ValueError: if there are none, or a distance is not a number.
    """
    if not len(distances):
        raise ValueError("distances must hold those of at least one setting.")
    values = torch.stack(list(distances)).double()
    if values.isnan().any():
        raise ValueError("distances must be numbers: count a run that failed as infinitely far.")
    # The lower one of two middle values: halfway between a distance and infinity is nowhere.
    return int(values.median(1).values.argmin())

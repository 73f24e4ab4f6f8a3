"""What changes in a run, as tensors by name: what a checkpoint keeps and sets again."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.optim import Optimizer

from gan_helpers.ensemble import Ensemble

State = dict[str, Tensor]


class CheckpointError(ValueError):
    """A checkpoint cannot be written or used; the message says why, and the way out."""


@runtime_checkable
class Stateful(Protocol):
    """Whatever changes in a run, and can be set to what it was.

    The two streams of a run are kept for it. A sampler or a loss that remembers more, such as a place in a
    data set or a stream of its own, has these two methods; `gan_helpers.data.Minibatches` is an example.
    """

    def state(self) -> State:
        """Return copies of all that changes, as tensors by name."""
        ...

    def load_state(self, state: State) -> None:
        """Go on from what `state` returned.

        Args:
            state: the tensors by name, on the CPU.

        Raises:
            ValueError: if they do not fit.
        """
        ...


@dataclass(frozen=True)
class Weights:
    """The weights, running statistics and dropout stream of an ensemble, as `Stateful`.

    Args:
        network: the ensemble.
    """

    network: Ensemble

    def state(self) -> State:
        """Return copies of all that changes in the network."""
        values = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        return values | {f"dropout/{key}": value for key, value in self.network.dropout.state().items()}

    def load_state(self, state: State) -> None:
        """Set the network to what `state` returned; see `Stateful`."""
        match(self.state(), state)
        dropout = {key.removeprefix("dropout/"): v for key, v in state.items() if key.startswith("dropout/")}
        self.network.dropout.load_state(dropout)
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                value.copy_(state[name])


@dataclass(frozen=True)
class Moments:
    """What an optimiser remembers of past gradients, and its numbers, as `Stateful`.

    Any optimiser of torch will do whose state is tensors and numbers.

    Args:
        optimiser: the optimiser.
    """

    optimiser: Optimizer

    def state(self) -> State:
        """Return copies: ``state/0/exp_avg`` is a tensor of the first weights, ``number/0/step`` a number."""
        packed, found = self.optimiser.state_dict(), {}
        for place, kept in packed["state"].items():
            for name, value in kept.items():
                kind = "state" if isinstance(value, Tensor) else "number"
                found[f"{kind}/{place}/{name}"] = _as_tensor(name, value)
        for place, group in enumerate(packed["param_groups"]):
            for name, value in _numbers_of(group).items():
                found[f"group/{place}/{name}"] = _as_tensor(name, value)
        return found

    def load_state(self, state: State) -> None:
        """Set the optimiser to what `state` returned; see `Stateful`."""
        groups = [dict(group) for group in self.optimiser.state_dict()["param_groups"]]
        kept: dict[int, dict[str, Any]] = {}
        match(self._after_a_step(state), state)
        for key, value in state.items():
            kind, place, name = key.split("/", 2)
            if kind == "group":
                groups[int(place)][name] = _as_before(groups[int(place)][name], value)
            else:
                kept.setdefault(int(place), {})[name] = value.clone() if kind == "state" else value.item()
        self.optimiser.load_state_dict({"state": kept, "param_groups": groups})

    def _after_a_step(self, state: State) -> State:
        """Return what a state looks like that holds something for the same weights as ``state``.

        An optimiser has no state before its first step. So a copy takes one, with slopes of 0.
        """
        twin = Moments(copy.deepcopy(self.optimiser))
        for group in twin.optimiser.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        twin.optimiser.step()
        held = {key.split("/")[1] for key in state if not key.startswith("group/")}
        return {
            key: value
            for key, value in twin.state().items()
            if key.startswith("group/") or key.split("/")[1] in held
        }


def _numbers_of(group: dict[str, Any]) -> dict[str, Any]:
    """Return what may change in a group of an optimiser: its numbers."""
    return {
        name: value
        for name, value in group.items()
        if name != "params" and isinstance(value, bool | int | float | Tensor | tuple)
    }


def _as_tensor(name: str, value: Any) -> Tensor:
    """Return numbers as a tensor that gives them back to the last bit."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    try:
        return torch.tensor(value, dtype=None if isinstance(value, bool | int) else torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"The optimiser keeps {name}, a {type(value).__name__}, and a checkpoint holds tensors and "
            "numbers alone: take another optimiser, or train without a checkpoint."
        ) from error


def _as_before(now: Any, value: Tensor) -> Any:
    """Return a tensor as the kind of thing that it is in the optimiser."""
    if isinstance(now, Tensor):
        return value.to(now.device, copy=True)
    return tuple(value.tolist()) if isinstance(now, tuple) else value.item()


def match(expected: State, found: State) -> None:
    """Check that tensors have the names, shapes and types expected.

    Args:
        expected: tensors as they should be.
        found: tensors as they are.

    Raises:
        ValueError: naming the first that differs.
    """
    for name in [*expected, *found]:
        one, other = expected.get(name), found.get(name)
        if one is None or other is None:
            raise ValueError(f"{name} is {'not expected' if one is None else 'missing'}.")
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            raise ValueError(
                f"{name} must be {one.dtype} of shape {tuple(one.shape)}, "
                f"not {other.dtype} of shape {tuple(other.shape)}."
            )

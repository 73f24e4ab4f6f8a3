"""What changes in a run, as tensors by name: what a checkpoint keeps and sets again."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
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


@dataclass(frozen=True)
class Generators:
    """The generators of random numbers that all code shares, torch's, NumPy's and Python's, as `Stateful`.

    Args:
        device: that of the networks; an accelerator has a generator of its own.
    """

    device: torch.device

    def state(self) -> State:
        """Return where they are."""
        _, keys, place, has_gauss, gauss = np.random.get_state()
        _, numbers, next_gauss = random.getstate()
        found = {
            "torch": torch.get_rng_state(),
            "numpy": torch.tensor([*map(int, keys), place, has_gauss]),
            "numpy_gauss": torch.tensor(gauss, dtype=torch.float64),
            "python": torch.tensor(numbers),
            "python_gauss": torch.tensor([] if next_gauss is None else [next_gauss], dtype=torch.float64),
        }
        if self.device.type != "cpu":
            found["device"] = torch.get_device_module(self.device).get_rng_state(*self._place())
        return found

    def load_state(self, state: State) -> None:
        """Set them to what `state` returned; see `Stateful`."""
        expected = self.state()
        match(
            {k: v for k, v in expected.items() if k != "python_gauss"},
            {k: v for k, v in state.items() if k != "python_gauss"},
        )
        *keys, place, has_gauss = state["numpy"].tolist()
        if not (0 <= place <= len(keys) and has_gauss in (0, 1) and 0 <= min(keys) <= max(keys) < 2**32):
            raise ValueError("numpy must be the numbers, the place and the rest of a Mersenne twister.")
        gauss = state["python_gauss"].tolist()
        torch.set_rng_state(state["torch"])
        np.random.set_state(
            ("MT19937", np.array(keys, "uint32"), place, has_gauss, float(state["numpy_gauss"]))
        )
        random.setstate((3, tuple(state["python"].tolist()), gauss[0] if gauss else None))
        if self.device.type != "cpu":
            torch.get_device_module(self.device).set_rng_state(state["device"], *self._place())

    def _place(self) -> tuple[torch.device, ...]:
        return () if self.device.type == "mps" else (self.device,)  # of which there is but one


@dataclass(frozen=True)
class Handed:
    """What has ``state_dict`` and ``load_state_dict``, such as a scheduler of learning rates, as `Stateful`.

    Args:
        thing: its state is made of tensors, numbers and texts, in dictionaries, lists and tuples.
    """

    thing: Any

    def state(self) -> State:
        """Return copies of the tensors, and all else as a text."""
        tensors: State = {}
        text = json.dumps(_written(self.thing.state_dict(), "", tensors))
        return {"text": torch.tensor(list(text.encode()), dtype=torch.uint8), **tensors}

    def load_state(self, state: State) -> None:
        """Set the thing to what `state` returned; see `Stateful`."""
        now = self.thing.state_dict()
        found = _read(json.loads(bytes(state["text"].tolist())), now, state)
        if not isinstance(found, dict) or found.keys() != now.keys():
            raise ValueError(f"it must hold {', '.join(map(str, now))}.")
        self.thing.load_state_dict(found)


def _written(value: Any, place: str, tensors: State) -> Any:
    """Return a value as JSON has it; tensors go into ``tensors``, by their places."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        tensors[f"at{place}"] = value.detach().clone()
        return {"tensor": f"at{place}"}
    if isinstance(value, dict):
        return {"dict": [[k, _written(part, f"{place}/{k}", tensors)] for k, part in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_written(part, f"{place}/{i}", tensors) for i, part in enumerate(value)]}
    return {"as it is": type(value).__qualname__}  # a function, say, which whoever goes on gives again


def _read(written: Any, now: Any, tensors: State) -> Any:
    """Return the value that `_written` wrote; ``now`` is the one in its place."""
    if not isinstance(written, dict):
        return written
    ((kind, content),) = written.items()
    if kind == "tensor":
        return tensors[content].clone()
    if kind == "dict":
        old = now if isinstance(now, dict) else {}
        found = {k: _read(part, old.get(k), tensors) for k, part in content}
        return Counter(found) if isinstance(now, Counter) else found
    if kind in ("list", "tuple"):
        olds = [*now, *[None] * len(content)] if isinstance(now, list | tuple) else [None] * len(content)
        parts = [_read(part, old, tensors) for part, old in zip(content, olds, strict=False)]
        return parts if kind == "list" else tuple(parts)
    if kind != "as it is" or type(now).__qualname__ != content:
        raise ValueError(f"it holds {content}, and there is {type(now).__name__} now.")
    return now


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

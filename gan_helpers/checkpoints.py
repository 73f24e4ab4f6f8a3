"""Checkpoints: a run of `gan_helpers.training.train` on disk, which goes on as if it had never stopped.

A checkpoint is a safetensors file: named tensors, and a header of JSON. Nothing in it can be executed. Three
things make it one that can be relied on.

- It is complete. Weights, optimisers, averages, streams of random numbers, samplers in the middle of an
  epoch and the history are all `Stateful`: each can say what it is, and be set to it.
- It is written beside the old one and then put in its place in one move. Whatever stops the program, at
  whatever moment, leaves the old file or the new one.
- It is checked before it is believed. A SHA-256 digest over the whole file finds every flipped bit, and a
  description of the run finds a file that belongs to another one. Then it is loaded whole or not at all.

References:
    The format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import copy
import dis
import functools
import hashlib
import inspect
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, BinaryIO, Protocol, runtime_checkable

import torch
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of
from torch import Tensor
from torch.optim import Optimizer

from gan_helpers.ensemble import Ensemble
from gan_helpers.files import write_whole

State = dict[str, Tensor]

FORMAT = "gan_helpers checkpoint, version 1"
MAX_HEADER = 2**22  # bytes; a thousand tensors need a hundredth of that
BLANK = "0" * 64  # stands in the place of the digest while it is computed
DIGEST = re.compile(rb'(?<="sha256":")[0-9a-f]{64}(?=")')
AFRESH = "Give another path, or delete the file to start afresh."


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


class Checkpoint:
    """The checkpoint of one run, at one path.

    Args:
        path: the file. Its folder has to exist.
        parts: all that changes in the run, by name.
        run: what is fixed about the run, by name; see `describe`. A file of another run is refused.

    Raises:
        CheckpointError: if there is no such folder, or something else than a file is at the path.
    """

    def __init__(
        self, path: str | os.PathLike[str], parts: Mapping[str, Stateful], run: Mapping[str, str]
    ) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise CheckpointError(f"There is no folder {self.path.parent} for the checkpoint: make it first.")
        if self.path.exists() and not self.path.is_file():
            raise CheckpointError(f"{self.path} is not a file: give the checkpoint a path of its own.")
        self._parts, self._run = dict(parts), dict(run)

    def save(self) -> None:
        """Write all parts as they are now; the old checkpoint stays until the new one is complete.

        Raises:
            CheckpointError: if the file cannot be written, or a part has no form as tensors.
        """
        tensors = {
            f"{part}/{name}": value.detach().cpu().contiguous()
            for part, stateful in self._parts.items()
            for name, value in stateful.state().items()
        }
        try:
            write_whole(self.path, packed(tensors, self._run))
        except OSError as error:
            raise CheckpointError(f"The checkpoint {self.path} could not be written: {error}.") from error

    def restore(self) -> bool:
        """Set all parts to what the file says, and tell whether there is one; an error changes nothing.

        Raises:
            CheckpointError: if the file is damaged, belongs to another run or does not fit.
        """
        if not self.path.exists():
            return False
        run, tensors = read(self.path)
        self._refuse_another(run)
        states: dict[str, State] = {part: {} for part in self._parts}
        for key, value in tensors.items():
            part, _, name = key.partition("/")
            if part not in states:
                raise CheckpointError(f"{self.path} holds {key}, which this run does not have. {AFRESH}")
            states[part][name] = value
        before = {part: stateful.state() for part, stateful in self._parts.items()}
        try:
            for part, stateful in self._parts.items():
                stateful.load_state(states[part])
        except BaseException as error:
            for part, stateful in self._parts.items():
                stateful.load_state(before[part])
            if not isinstance(error, Exception):
                raise
            raise CheckpointError(f"{self.path} does not fit this run: {part}: {error} {AFRESH}") from error
        return True

    def _refuse_another(self, run: dict[str, str]) -> None:
        differing = [
            f"{name} is {now} and was {then}"
            for name in {**self._run, **run}
            if self._run.get(name) != run.get(name)
            for now, then in [_where_they_differ(self._run.get(name), run.get(name))]
        ]
        if differing:
            raise CheckpointError(
                f"{self.path} is of another run: {'; '.join(differing)}. Nothing was changed. Call train "
                f"with the arguments of that run to go on with it. {AFRESH}"
            )


def _where_they_differ(one: str | None, other: str | None) -> tuple[str, str]:
    """Return two texts, long ones from a little before the first difference on."""
    texts = ["missing" if text is None else " ".join(text.split()) for text in (one, other)]
    start = max(0, len(os.path.commonprefix(texts)) - 30)
    if max(map(len, texts)) <= 80:
        start = 0
    shown = [f"{'...' if start else ''}{text[start : start + 80]}" for text in texts]
    return shown[0], shown[1]


# The file


def read(path: Path) -> tuple[dict[str, str], State]:
    """Return what a checkpoint says about its run, and its tensors on the CPU.

    Args:
        path: the file.

    Raises:
        CheckpointError: if it is not a checkpoint, or is damaged in any bit.
    """
    try:
        with path.open("rb") as file:
            header = _header(path, file)
            file.seek(0)
            tensors = tensors_of(file.read())
        metadata = _strings(header["__metadata__"])
        return _strings(json.loads(metadata["run"])), tensors
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} could not be read: {error}. Give another path.") from error
    except Exception as error:  # what a file that was made to look like a checkpoint can do is not known
        raise CheckpointError(f"{path} is not a checkpoint of gan_helpers ({error}). {AFRESH}") from error


def _header(path: Path, file: BinaryIO) -> dict[str, Any]:
    """Return the header, whose digest is that of the file; a header that claims to be huge is not read."""
    size, prefix = os.fstat(file.fileno()).st_size, file.read(8)
    length = int.from_bytes(prefix, "little")
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise CheckpointError(f"{path} is not a checkpoint of gan_helpers, or was cut short. {AFRESH}")
    header = file.read(length)
    claimed = DIGEST.findall(header)
    if len(claimed) != 1:
        raise CheckpointError(f"{path} is not a checkpoint of gan_helpers: it has no digest. {AFRESH}")
    digest = hashlib.sha256(prefix + DIGEST.sub(BLANK.encode(), header))
    while block := file.read(2**20):
        digest.update(block)
    if digest.hexdigest() != claimed[0].decode():
        raise CheckpointError(f"{path} is damaged: it is not what was written (SHA-256). {AFRESH}")
    found: dict[str, Any] = json.loads(header, object_pairs_hook=_without_twins)
    if found["__metadata__"]["format"] != FORMAT:
        raise CheckpointError(f"{path} was written by another version of gan_helpers. {AFRESH}")
    return found


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name appears twice in its header")
    return dict(pairs)


def _strings(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError("it does not describe its run")
    return found


def packed(tensors: State, run: Mapping[str, str]) -> bytes:
    """Return the bytes of a checkpoint, digest included."""
    metadata = {"format": FORMAT, "run": json.dumps(run), "sha256": BLANK}
    blank = bytes_of(tensors, metadata)
    return DIGEST.sub(hashlib.sha256(blank).hexdigest().encode(), blank, count=1)


# The parts


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


# What a run is


def describe(thing: object) -> str:
    """Return a text that is the same for the same sampler, loss or number, in every process.

    A function is told by its code and by the constants that it uses, an object by its class and, where it
    cannot change, by its values. What changes in a run does not take part.

    Args:
        thing: an argument of a run.
    """
    return _described(thing, ())


def _described(thing: object, outer: tuple[object, ...]) -> str:
    if any(thing is other for other in outer):
        return "itself"
    outer = (*outer, thing)
    if thing is None or isinstance(thing, bool | int | float | str | bytes | torch.dtype | torch.device):
        return repr(thing)
    if isinstance(thing, tuple | frozenset):
        parts = [_described(part, outer) for part in thing]
        return f"({', '.join(parts if isinstance(thing, tuple) else sorted(parts))})"
    if isinstance(thing, functools.partial):
        given = (thing.func, thing.args, tuple(sorted(thing.keywords.items())))
        return f"partial{_described(given, outer)}"
    if isinstance(thing, FunctionType):
        return f"{thing.__qualname__} {_digest(_constants(thing, outer))}"
    if isinstance(thing, Tensor):
        return f"{thing.dtype} {tuple(thing.shape)}"
    kind = type(thing).__qualname__
    if is_dataclass(thing) and not isinstance(thing, type) and type(thing).__dataclass_params__.frozen:  # type: ignore[attr-defined]
        values = [f"{field.name}={_described(getattr(thing, field.name), outer)}" for field in fields(thing)]
        return f"{kind}({', '.join(values)})"
    return thing.__qualname__ if isinstance(thing, type) else kind


def _constants(function: FunctionType, outer: tuple[object, ...]) -> str:
    """Return the code of a function, and the values of the names in it that it does not set itself."""
    code = function.__code__
    try:
        used = inspect.getclosurevars(function)
    except ValueError:  # a name that has no value yet
        used = inspect.ClosureVars({}, {}, {}, set())
    names = {**used.nonlocals, **{k: v for k, v in used.globals.items() if _is_own(v, function)}}
    stores = ("STORE_DEREF", "STORE_GLOBAL")
    changed = {step.argval for step in dis.get_instructions(code) if step.opname in stores}
    values = [f"{name}={_described(names[name], outer)}" for name in sorted(names.keys() - changed)]
    defaults = (function.__defaults__, tuple(sorted((function.__kwdefaults__ or {}).items())))
    return "\n".join([_code(code), _described(defaults, outer), *values])


def _is_own(value: object, function: FunctionType) -> bool:
    """Tell whether a global is a constant, or a function that was written where ``function`` was."""
    if isinstance(value, FunctionType):
        return value.__globals__ is function.__globals__
    return isinstance(value, bool | int | float | str | tuple)


def _code(code: CodeType) -> str:
    parts = [_code(part) if isinstance(part, CodeType) else _described(part, ()) for part in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {parts}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def described(network: Ensemble, optimiser: Optimizer) -> str:
    """Return a text that tells the architecture of an ensemble and the settings of its optimiser.

    Args:
        network: the ensemble.
        optimiser: the optimiser of its weights.
    """
    settings = ", ".join(f"{name}={value!r}" for name, value in sorted(optimiser.defaults.items()))
    return (
        f"{network.seeds} x {network._plain[0]}, seed {network.dropout.seed}, "
        f"{type(optimiser).__name__}({settings})"
    )

"""Tells what a run is, as texts: a checkpoint of another run is refused by them."""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
from dataclasses import fields, is_dataclass
from types import CodeType, FunctionType

import torch
from torch import Tensor
from torch.optim import Optimizer

from gan_helpers.ensemble import Ensemble


def describe(thing: object) -> str:
    """Return a text that is the same for the same sampler, loss or number, in every process.

    A function is told by its code and by the constants that it uses, an object by its class and, where it
    cannot change, by its values: data sets by all their numbers. What changes in a run does not take part.

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
    if isinstance(thing, type):
        return thing.__qualname__
    kind = type(thing).__qualname__
    if is_dataclass(thing) and type(thing).__dataclass_params__.frozen:  # type: ignore[union-attr]
        held = {field.name: getattr(thing, field.name) for field in fields(thing)}
    else:
        # Of what may change, only the data set of a sampler such as `Minibatches` stays as it is.
        data = getattr(thing, "data", None)
        held = {"data": data} if isinstance(data, Tensor) else {}
    values = [f"{name}={_held(value, outer)}" for name, value in held.items()]
    return f"{kind}({', '.join(values)})" if values else kind


def _held(value: object, outer: tuple[object, ...]) -> str:
    """Describe what cannot change: a tensor by its numbers too."""
    text = _described(value, outer)
    if not isinstance(value, Tensor) or value.is_meta:
        return text
    numbers = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return f"{text} {hashlib.sha256(numbers.data).hexdigest()[:16]}"


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
    members = network.seeds if network.share.is_whole else network.share
    settings = ", ".join(f"{name}={value!r}" for name, value in sorted(optimiser.defaults.items()))
    return (
        f"{members} x {network.architecture}, seed {network.dropout.seed}, "
        f"{type(optimiser).__name__}({settings})"
    )

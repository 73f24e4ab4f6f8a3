"""Argument checks that name the argument, the value and the way out."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")

LOGITS = "(seeds, batch, 1)"


def shown(value: Any) -> str:
    """Return a value and its type as a message shows them, or the type alone if the value is long."""
    text, kind = repr(value), type(value).__name__
    return f"{text} ({kind})" if len(text) <= 80 and "\n" not in text else f"one of type {kind}"


def whole(name: str, value: int, at_least: int = 1) -> int:
    """Return ``value`` if it is an integer of at least ``at_least``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number, not {shown(value)}.")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, not {value}.")
    return int(value)


def number(
    name: str,
    value: float,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    below: float = math.inf,
) -> float:
    """Return ``value`` if it is a finite real number inside the bounds given."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, not {shown(value)}.")
    value = float(value)
    bounds = (
        (math.isfinite(value), "finite"),
        (value > above, f"greater than {above:g}"),
        (value >= at_least, f"at least {at_least:g}"),
        (value <= at_most, f"at most {at_most:g}"),
        (value < below, f"less than {below:g}"),
    )
    for holds, expected in bounds:
        if not holds:
            raise ValueError(f"{name} must be {expected}, not {value:g}.")
    return value


def floating(name: str, value: Tensor, shape: str, dims: int | None = None) -> Tensor:
    """Return ``value`` if it is a non-empty floating-point tensor with ``dims`` dimensions."""
    _tensor_of(name, value, shape, "torch.float32")
    if not value.is_floating_point():
        raise TypeError(
            f"{name} must hold floating-point numbers, not {value.dtype}: call {name}.float() first."
        )
    return _of_shape(name, value, shape, dims)


def classes(
    name: str, value: Tensor, shape: str, dims: int | None = None, count: int | None = None
) -> Tensor:
    """Return ``value`` if it is a non-empty tensor of labels, below ``count``, with ``dims`` dimensions."""
    _tensor_of(name, value, shape, "torch.int64")
    if value.dtype != torch.long:
        raise TypeError(f"{name} must be of dtype torch.int64, not {value.dtype}: call {name}.long().")
    _of_shape(name, value, shape, dims)
    # Elsewhere than on the CPU a look at the labels would wait for the device at every batch.
    if value.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = (int(end) for end in value.aminmax())
        if low < 0 or (count is not None and high >= count):
            most = "on" if count is None else f"to {count - 1}"
            raise ValueError(f"{name} must be whole numbers from 0 {most}, not from {low} to {high}.")
    return value


def _tensor_of(name: str, value: Any, shape: str, dtype: str) -> None:
    """Check that ``value`` is a tensor."""
    if not isinstance(value, Tensor):
        call = f": call torch.tensor({name}, dtype={dtype})" if isinstance(value, list | np.ndarray) else ""
        raise TypeError(f"{name} must be a torch.Tensor of shape {shape}, not {type(value).__name__}{call}.")
    if value.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor, not {value.layout}: call {name}.to_dense().")


def _of_shape(name: str, value: Tensor, shape: str, dims: int | None) -> Tensor:
    """Return ``value`` if it is not empty and has ``dims`` dimensions."""
    if dims is not None and value.dim() != dims:
        way_out = _reshaped(name, value, shape, dims)
        raise ValueError(f"{name} must have shape {shape}, not {tuple(value.shape)}{way_out}.")
    if value.numel() == 0:
        raise ValueError(f"{name} is empty: its shape is {tuple(value.shape)}, and {shape} was expected.")
    return value


def _reshaped(name: str, value: Tensor, shape: str, dims: int) -> str:
    """Return how a tensor most likely gets the number of axes that it should have, to end a message with."""
    more = value.dim() - dims
    if more == 1 and value.shape[-1] == 1:
        return f": call {name}.squeeze(-1)"
    if more > 0 and shape.endswith(" features)"):
        one = f", or take one seed, {name}[0]" if shape == "(n, features)" and more == 1 else ""
        return f": call {name}.flatten({dims - 1}) on images{one}"
    if more == -1 and shape.startswith("(seeds, "):
        return f": call {name}.unsqueeze(0) if it is of one seed"
    return f": call {name}.unsqueeze(1)" if more == -1 and shape in ("(n, features)", "(m, features)") else ""


def tensor(name: str, value: Any) -> Tensor:
    """Return numbers or truth values in any form as a tensor on the CPU."""
    try:
        return torch.as_tensor(value).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a tensor, or numbers that make one, not {shown(value)}.") from error


def drawn_beside(name: str, value: Tensor, device: torch.device | str) -> None:
    """Check that the device of ``rng`` is that of the tensor ``value``."""
    if value.device.type != torch.device(device).type:
        raise ValueError(f"rng must be on {value.device}, as {name} is, not on {device}: move one of them.")


def alike(**named: Tensor) -> None:
    """Check that tensors have one shape and one precision."""
    shapes = [tuple(value.shape) for value in named.values()]
    if len(set(shapes)) > 1:
        raise ValueError(f"{' and '.join(named)} must have one shape, not {' and '.join(map(str, shapes))}.")
    (first, one), *others = named.items()
    for name, value in others:
        if value.dtype != one.dtype:
            raise TypeError(
                f"{first} and {name} must be of one dtype, not {one.dtype} and {value.dtype}: "
                f"call {name}.to({one.dtype})."
            )


def logits(**named: Tensor) -> None:
    """Check that these are one batch of outputs for each seed, all for as many seeds."""
    for name, value in named.items():
        floating(name, value, LOGITS)
        if value.dim() < 2:
            raise ValueError(f"{name} must have shape {LOGITS}, not {tuple(value.shape)}.")
    if len({len(value) for value in named.values()}) > 1:
        shapes = " and ".join(str(tuple(value.shape)) for value in named.values())
        raise ValueError(f"{' and '.join(named)} must be of as many seeds, not of shape {shapes}.")


def finite(name: str, value: Tensor, shape: str, dims: int | None = None) -> Tensor:
    """Return ``value`` if it passes `floating` and holds neither NaN nor infinity."""
    floating(name, value, shape, dims)
    # On the meta device a tensor has a shape but no numbers that could be bad.
    bad = 0 if value.is_meta else int((~torch.isfinite(value)).sum())
    if bad:
        raise ValueError(
            f"{name} holds {bad} values that are not finite, of {value.numel()}: remove them first."
        )
    return value


def symmetric(name: str, value: Tensor) -> Tensor:
    """Return ``value``, square matrices ``(..., d, d)``, if each equals its transpose but for rounding."""
    gap, size = (m.abs().amax((-2, -1)) for m in (value - value.mT, value))
    if (gap > 1e-5 * size).any():
        raise ValueError(
            f"{name} must be symmetric, but differs from its transpose by up to {gap.max():g}: "
            "take (C + C.mT) / 2 if that is a matter of precision."
        )
    return value


def instance(name: str, value: Any, kind: type[T]) -> T:
    """Return ``value`` if it is one of ``kind``."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be of type {kind.__name__}, not {shown(value)}.")
    return value


def text(name: str, value: str) -> str:
    """Return ``value`` if it is a string."""
    return instance(name, value, str)


def path(name: str, value: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """Return ``value`` if it names a file or a folder."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} must be a path, not {shown(value)}.")
    return value


def sequence(name: str, value: Any) -> Sequence[Any]:
    """Return ``value`` if it is a list, a tuple or the like, and no string."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise TypeError(
            f"{name} must be a list or a tuple, not {shown(value)}: put a single one into a list."
        )
    return value


def texts(name: str, value: Any) -> list[str]:
    """Return ``value``, a list, a tuple or the like of strings, as a list."""
    return [text(f"{name}[{i}]", one) for i, one in enumerate(sequence(name, value))]


def like_weights(name: str, value: Tensor, weight: Tensor) -> Tensor:
    """Return ``value`` if it is of the precision of the weights that it meets."""
    if value.dtype != weight.dtype and not torch.is_autocast_enabled(value.device.type):
        raise TypeError(
            f"{name} must be of dtype {weight.dtype}, as the weights are, not {value.dtype}: "
            f"call {name}.to({weight.dtype})."
        )
    return value


def iterable(name: str, value: Any) -> Iterable[Any]:
    """Return ``value`` if one can go through it."""
    if not isinstance(value, Iterable) or isinstance(value, str):
        raise TypeError(f"{name} must be a list or the like, not {shown(value)}.")
    return value


def function(name: str, value: Any) -> Any:
    """Return ``value`` if it can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {shown(value)}.")
    return value


def device(name: str, value: torch.device | str) -> torch.device:
    """Return the device that ``value`` is or names."""
    if not isinstance(value, torch.device | str):
        raise TypeError(f"{name} must be a device or its name, not {shown(value)}.")
    try:
        return torch.device(value)
    except RuntimeError as error:
        raise ValueError(f"{name} must name a device, such as 'cpu' or 'cuda:0', not {value!r}.") from error

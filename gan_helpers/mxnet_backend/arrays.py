"""Devices and numbers: NDArrays made of torch tensors, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from gan_helpers import _checks
from gan_helpers.mxnet_backend.importing import mx, nd


def numbers(name: str, value: Any, shape: str = "", dims: int | None = None) -> Any:
    """Return ``value`` if it is an NDArray, of ``dims`` axes.

    Args:
        name: the argument that it is.
        value: what it was given.
        shape: the shape that is expected, in words.
        dims: its number of axes; any unless given.
    """
    _checks.instance(name, value, nd.NDArray)
    if dims is not None and value.ndim != dims:
        raise ValueError(f"{name} must have shape {shape}, not {value.shape}.")
    return value


def probe(device: Any) -> None:
    """Compute a small matrix product on ``device``, forward and backward, and wait for its value.

    Args:
        device: an ``mx.Context``.

    Raises:
        Exception: whatever the device raises, or ArithmeticError if its answer is wrong.
    """
    _checks.instance("device", device, mx.Context)
    x = nd.ones((2, 2), ctx=device)
    x.attach_grad()
    with mx.autograd.record():
        y = nd.dot(x, x)
    y.backward()
    if x.grad.asnumpy().sum() != 16.0:
        raise ArithmeticError("a 2 x 2 matrix product came out wrong")


def candidates() -> list[Any]:
    """Return the first GPU that this build of MXNet sees, if any, as a list of none or one."""
    return [mx.gpu(0)] if mx.context.num_gpus() else []


def choose_device(devices: Iterable[Any] | None = None, probe: Callable[[Any], None] = probe) -> Any:
    """Return the first of ``devices`` on which ``probe`` computes, and the CPU if there is none.

    Args:
        devices: what to try, in this order; the GPU that MXNet sees unless given.
        probe: a function that raises when the device does not compute.
    """
    named = candidates() if devices is None else _checks.iterable("devices", devices)
    _checks.function("probe", probe)
    for device in named:
        try:
            probe(device)
        except Exception:  # drivers fail in many ways: any of them means 'not this one'
            continue
        return device
    return mx.cpu()


def default_device() -> Any:
    """Return the ``mx.Context`` that new networks are made on."""
    return choose_device()


def array(values: Tensor, like: Any = None, device: Any = None) -> Any:
    """Return the numbers of a torch tensor as an NDArray.

    Args:
        values: any shape and precision.
        like: an NDArray whose precision and device are taken.
        device: an ``mx.Context``; that of ``like``, or else `default_device`, unless given.
    """
    if like is not None:
        numbers("like", like)
    if device is not None:
        _checks.instance("device", device, mx.Context)
    if not isinstance(values, Tensor):
        raise TypeError(f"values must be a torch.Tensor, not {type(values).__name__}.")
    plain = values.detach().cpu().numpy()
    if device is None:
        device = default_device() if like is None else like.context
    return nd.array(plain, ctx=device, dtype=plain.dtype if like is None else like.dtype)


def tensor(values: Any) -> Tensor:
    """Return the numbers of an NDArray as a torch tensor on the CPU; this waits for them.

    Args:
        values: any shape and precision.
    """
    return torch.from_numpy(numbers("values", values).asnumpy())

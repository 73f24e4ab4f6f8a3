"""The one place that asks which device there is.

A driver can announce a GPU on which nothing runs: an old driver, a card that this build has no kernels
for, a card that is full. So the choice is made by computing, forward and backward, and not by asking.
``GAN_BOOK_DEVICE=cpu`` makes another choice. Every other module takes the device from the tensors that it is
given.
"""

from __future__ import annotations

import functools
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch

from gan_helpers import _checks

log = logging.getLogger("gan_helpers")

ROOM = 2**29  # bytes that a device must have left; a chapter takes less


def probe(device: torch.device) -> None:
    """Take the memory that a chapter needs, compute a small matrix product and its gradient, and wait for it.

    Args:
        device: the device to try.

    Raises:
        TypeError: if ``device`` is no device.
        Exception: whatever the device raises, or ArithmeticError if its answer is wrong.
    """
    torch.empty(ROOM, dtype=torch.uint8, device=_checks.device("device", device))
    x = torch.ones(2, 2, device=device, requires_grad=True)
    (x @ x).sum().backward()
    if x.grad is None or x.grad.sum().item() != 16.0:
        raise ArithmeticError("a 2 x 2 matrix product came out wrong")


def candidates() -> list[torch.device]:
    """Return the accelerator that this build of torch sees, if any, or the one device that is asked for.

    Raises:
        ValueError: if the environment variable ``GAN_BOOK_DEVICE`` is set and names no device.
    """
    if named := os.environ.get("GAN_BOOK_DEVICE"):
        return [_checks.device("GAN_BOOK_DEVICE", named)]
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return [] if accelerator is None else [accelerator]


def choose_device(
    devices: Iterable[torch.device] | None = None, probe: Callable[[torch.device], None] = probe
) -> torch.device:
    """Return the first of ``devices`` on which ``probe`` computes, and the CPU if there is none.

    A device that fails is left out with one line of notice; warnings of its driver are not shown.

    Args:
        devices: what to try, in this order; `gan_helpers.device.candidates` unless given.
        probe: a function that raises when the device does not compute.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if one of ``devices`` is the name of no device.
    """
    _checks.function("probe", probe)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # drivers that do not work say so when they are asked for candidates
        named = candidates() if devices is None else _checks.iterable("devices", devices)
        for device in (_checks.device("devices", each) for each in named):
            try:
                probe(device)
            except Exception as error:  # drivers fail in many ways: any of them means 'not this one'
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                log.warning("Using the CPU: %s is there but does not compute (%s).", device, reason)
            else:
                return device
    return torch.device("cpu")


@functools.cache
def default_device() -> torch.device:
    """Return the device that new networks are made on; it is chosen once in a process."""
    return choose_device()


@contextmanager
def memory_advice() -> Iterator[None]:
    """Turn an accelerator's lack of memory into one error that says what to do about it."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one, and Apple's GPUs raise it plain
        if "out of memory" not in str(error):
            raise
        raise torch.OutOfMemoryError(
            f"{str(error).strip().splitlines()[0]} To train on the CPU, set the environment variable "
            "GAN_BOOK_DEVICE=cpu and start Python again; or take fewer seeds or a smaller batch."
        ) from error

"""The one place that asks which device there is.

A driver can announce a GPU on which nothing runs: an old driver, a card that this build has no kernels
for, a card that is full. So the choice is made by computing, forward and backward, and not by asking.
Every other module takes the device from the tensors that it is given.
"""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable, Iterable

import torch

log = logging.getLogger("gan_helpers")


def probe(device: torch.device) -> None:
    """Compute a small matrix product on ``device``, forward and backward, and wait for its value.

    Args:
        device: the device to try.

    Raises:
        Exception: whatever the device raises, or ArithmeticError if its answer is wrong.
    """
    x = torch.ones(2, 2, device=device, requires_grad=True)
    (x @ x).sum().backward()
    if x.grad is None or x.grad.sum().item() != 16.0:
        raise ArithmeticError("a 2 x 2 matrix product came out wrong")


def candidates() -> list[torch.device]:
    """Return the accelerator that this build of torch sees, if any, as a list of none or one."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return [] if accelerator is None else [accelerator]


def choose_device(
    devices: Iterable[torch.device] | None = None, probe: Callable[[torch.device], None] = probe
) -> torch.device:
    """Return the first of ``devices`` on which ``probe`` computes, and the CPU if there is none.

    A device that fails is left out with one line of notice; warnings of its driver are not shown.

    Args:
        devices: what to try, in this order; the accelerator that torch sees unless given.
        probe: a function that raises when the device does not compute.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for device in candidates() if devices is None else devices:
            try:
                probe(device)
            except Exception as error:  # drivers fail in many ways: any of them means 'not this one'
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                log.warning("Using the CPU: %s is there but does not compute (%s).", device, reason)
            else:
                return torch.device(device)
    return torch.device("cpu")


@functools.cache
def default_device() -> torch.device:
    """Return the device that new networks are made on; it is chosen once in a process."""
    return choose_device()

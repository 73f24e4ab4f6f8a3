"""Turns a loss and its gradient into machine code of their own, where there is a compiler.

PyTorch traces the function once, fuses its operations and compiles them. The code is kept between processes,
in the folder that the environment variable ``TORCHINDUCTOR_CACHE_DIR`` names, or else in a temporary one.
"""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch

log = logging.getLogger("gan_helpers")


class Compiled:
    """A function of tensors that is compiled at its second call, and stays plain where that is not possible.

    In the first call the networks look at what their members compute, which can't be traced. Nor can random
    numbers from a stream of one's own, as in dropout, or a list that the function makes longer; and there may
    be no compiler, or an older PyTorch. One line of notice says so.

    Args:
        function: takes and returns tensors, and may call ``torch.autograd.grad``.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._plain = function
        self._best: Callable[..., Any] | None = None
        self._called = False

    def __call__(self, *args: Any) -> Any:
        """Return what the function returns."""
        if self._best is self._plain or not self._called:
            self._called = True
            return self._plain(*args)
        try:
            return self._trace(*args) if self._best is None else self._best(*args)
        except Exception as error:  # compilers fail in many ways; what is wrong in itself fails again below
            reason = " ".join(str(error).split("\n")[:2]).strip()  # a longer story follows
            _say(f"{reason.rstrip('.')} ({type(error).__name__})")
            self._best = self._plain
            return self._plain(*args)

    def _trace(self, *args: Any) -> Any:
        # A second trace would mean that the function changes from step to step: then compiling does not pay.
        options: dict[str, Any] = {"dynamic": False, "isolate_recompiles": True, "recompile_limit": 1}
        self._best = torch.compile(self._plain, fullgraph=True, **options)
        # Unless told, the tracer leaves gradients out. What it has to say about itself is not for readers.
        with torch._dynamo.config.patch(trace_autograd_ops=True), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._best(*args)


@functools.cache
def _say(reason: str) -> None:
    """Say once in a process why nothing is compiled."""
    log.warning("Not compiled: %s.", reason)

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
    """A function of tensors that is compiled at its first call, and stays plain where that is not possible.

    It is not possible with random numbers from a stream of one's own, as in dropout, with a list that the
    function makes longer, and without a compiler or with an older PyTorch. One line of notice says so.

    Args:
        function: takes and returns tensors, and may call ``torch.autograd.grad``.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._plain = function
        self._best: Callable[..., Any] | None = None

    def __call__(self, *args: Any) -> Any:
        """Return what the function returns."""
        if self._best is self._plain:
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

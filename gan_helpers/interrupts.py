"""Ctrl-C and SIGTERM end a training after the step under way, so that no step is left half made."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}  # the later one says more


class Stop:
    """What ends a training: the signal that has come, if any."""

    number = 0

    def note(self, number: int) -> None:
        """Take a signal down.

        Args:
            number: which.
        """
        self.number = max(self.number, number)

    def is_set(self) -> bool:
        """Tell whether one has come."""
        return self.number != 0

    @property
    def name(self) -> str:
        """What the signal is called."""
        return SIGNALS[signal.Signals(self.number)]


@contextmanager
def interrupts() -> Iterator[Stop]:
    """Turn the first Ctrl-C or SIGTERM into a mark that the loop looks at.

    A second Ctrl-C is a KeyboardInterrupt. SIGTERM, by which time limits and launchers end a program, does
    after the loop what it would have done at once.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread alone
        return
    # What something else than Python handles has no handler that could be put back.
    before = {number: found for number in SIGNALS if (found := signal.getsignal(number)) is not None}

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and stop.is_set():
            raise KeyboardInterrupt
        stop.note(number)

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if stop.number == signal.SIGTERM:
            signal.raise_signal(signal.SIGTERM)

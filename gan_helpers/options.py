"""How a training is made: the options of `gan_helpers.training.train` that belong together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from gan_helpers import _checks

Look = Callable[[Any], dict[str, Tensor]]
Path = str | os.PathLike[str]


@dataclass(frozen=True)
class Turns:
    """Who moves when in a step: some updates of D, then some of G.

    Args:
        d_steps: updates of D in each step, each on fresh data and noise.
        g_steps: updates of G in each step, each on fresh noise and the last data.
        reuse_noise: give the updates of G the noise of the last update of D instead of fresh noise.
        simultaneous: take both gradients from the same weights, data and noise, and update both networks
            then, instead of D first.

    Raises:
        TypeError: if a number is not whole, or a switch is not True or False.
        ValueError: if a number is below 1, or several updates are to be simultaneous.
    """

    d_steps: int = 1
    g_steps: int = 1
    reuse_noise: bool = False
    simultaneous: bool = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        _checks.whole("d_steps", self.d_steps)
        _checks.whole("g_steps", self.g_steps)
        _checks.instance("reuse_noise", self.reuse_noise, bool)
        _checks.instance("simultaneous", self.simultaneous, bool)
        if self.simultaneous and (self.d_steps, self.g_steps) != (1, 1):
            raise ValueError(
                "d_steps and g_steps must be 1 in simultaneous training, "
                f"not {self.d_steps} and {self.g_steps}."
            )

    @property
    def fresh_noise(self) -> bool:
        """Whether each update of G has noise of its own."""
        return not (self.reuse_noise or self.simultaneous)


ONE_EACH = Turns()


@dataclass(frozen=True)
class Watch:
    """What is looked at on the way.

    Args:
        function: gets the generators, and returns tensors by name, ``(seeds, ...)``; None for no look.
        every: steps between two looks.

    Raises:
        TypeError: if ``function`` is no function, or ``every`` is not whole.
        ValueError: if ``every`` is below 1.
    """

    function: Look | None
    every: int = 100

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.function is not None:
            _checks.function("watch", self.function)
        _checks.whole("every", self.every)

    @classmethod
    def of(cls, watch: Watch | Look | None) -> Watch:
        """Return ``watch`` itself, or a function with the usual distance between looks."""
        return watch if isinstance(watch, Watch) else cls(watch)


@dataclass(frozen=True)
class Checkpointing:
    """Where a run is kept, and how often.

    Args:
        path: the file. If it exists, the run goes on from there, to the same end as without the stop. Each
            share of the members of an ensemble has a file of its own beside it, which the path names.
        every: steps between two writings; it is also written before the first step, after the last, and
            when Ctrl-C or SIGTERM ends the run.
        also: what else changes in the run, by names of your choice, such as ``{"scheduler": scheduler}``:
            whatever has ``state_dict`` and ``load_state_dict``.

    Raises:
        TypeError: if ``path`` is not a path, ``every`` is not whole, or ``also`` has something without them.
        ValueError: if ``every`` is below 1.
    """

    path: Path
    every: int = 1_000
    also: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not isinstance(self.path, str | os.PathLike):
            kind = type(self.path).__name__
            raise TypeError(f"checkpoint must be the path of a file, not {self.path!r} ({kind}).")
        _checks.whole("every", self.every)
        if not isinstance(self.also, Mapping):
            kind = type(self.also).__name__
            raise TypeError(f'also must name what it holds, such as {{"scheduler": scheduler}}, not {kind}.')
        for name, thing in self.also.items():
            _checks.text("a name in also", name)
            if not (hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict")):
                kind = type(thing).__name__
                raise TypeError(f"also[{name!r}] must have state_dict and load_state_dict; {kind} has not.")

    @classmethod
    def of(cls, checkpoint: Checkpointing | Path) -> Checkpointing:
        """Return ``checkpoint`` itself, or a path with the usual distance between writings."""
        return checkpoint if isinstance(checkpoint, Checkpointing) else cls(checkpoint)

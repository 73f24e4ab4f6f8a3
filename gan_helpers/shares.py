"""Shares of a whole: some members of an ensemble, or some rows of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_helpers import _checks


@dataclass(frozen=True)
class Share:
    """Neighbours among many: those from ``first`` up to, and without, ``stop``, of ``of`` in all.

    Args:
        first: the first of them, counted from 0.
        stop: the one after the last.
        of: how many there are in all.

    Raises:
        TypeError: if an argument is not a whole number.
        ValueError: if it is empty, or not inside the whole.
    """

    first: int
    stop: int
    of: int

    def __post_init__(self) -> None:
        """Check the arguments."""
        _checks.whole("of", self.of)
        _checks.whole("first", self.first, at_least=0)
        if not self.first < _checks.whole("stop", self.stop) <= self.of:
            raise ValueError(
                f"first and stop must be a share of {self.of}, 0 <= first < stop <= {self.of}, "
                f"not {self.first} and {self.stop}."
            )

    @classmethod
    def whole(cls, of: int) -> Share:
        """Return the share that is everything.

        Args:
            of: how many there are.
        """
        return cls(0, of, of)

    @classmethod
    def of_rank(cls, of: int, rank: int, ranks: int) -> Share:
        """Return the share of one process; the shares of all differ by at most one in size.

        Args:
            of: how many there are to be shared out, at least one for each process.
            rank: which process, from 0.
            ranks: how many processes.
        """
        return cls(of * rank // ranks, of * (rank + 1) // ranks, of)

    def __len__(self) -> int:
        """Return how many it has."""
        return self.stop - self.first

    @property
    def is_whole(self) -> bool:
        """Whether it is everything."""
        return len(self) == self.of

    def part(self, x: Tensor, axis: int) -> Tensor:
        """Return the share of a tensor.

        Args:
            x: has ``of`` along the axis.
            axis: which.
        """
        return x.narrow(axis, self.first, len(self))

    def placed(self, marks: Tensor) -> Tensor:
        """Return marks of the share as marks of all, False elsewhere, ``(of,)``.

        Args:
            marks: True or False, one for each in the share.
        """
        among = torch.zeros(self.of, dtype=torch.bool, device=marks.device)
        among[self.first : self.stop] = marks
        return among

    def widened(self, name: str, size: int) -> int:
        """Return how long an axis is for all that is ``size`` long for the share, or for several joined.

        Args:
            name: what the axis is, for the error.
            size: a multiple of the share's length.
        """
        times, rest = divmod(size, len(self))
        if rest or not times:
            raise ValueError(
                f"Numbers for a share of the {name} must be drawn for its {len(self)}, not for {size}."
            )
        return times * self.of

    def narrowed(self, x: Tensor, axis: int) -> Tensor:
        """Return the share of a tensor in which several wholes are joined along an axis.

        Args:
            x: has a multiple of ``of`` along the axis.
            axis: which.
        """
        if self.is_whole:
            return x
        return self.part(x.unflatten(axis, (-1, self.of)), axis + 1).flatten(axis, axis + 1)

    def __str__(self) -> str:
        """Say which they are."""
        return f"{self.first}-{self.stop - 1} of {self.of}"

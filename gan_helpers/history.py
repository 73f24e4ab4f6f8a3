"""What a run of training leaves behind, in torch and in MXNet alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gan_helpers.shares import Share


class UnfinishedRunError(RuntimeError):
    """A run is to be measured that did not reach its end; the message says why it did not."""


@dataclass
class History:
    """What a run of `train` leaves behind; every tensor is on the device of the networks.

    Args:
        d_loss: the discriminators' losses, ``(steps, seeds)``.
        g_loss: the generators' losses, ``(steps, seeds)``.
        at: the steps at which ``watch`` was called, ``(records,)``.
        watched: what ``watch`` returned, by name, ``(records, seeds, ...)``.
        averaged: the generators' averaged weights, an ensemble, if an average was asked for.
        interrupted: whether the run was stopped by hand before its last step.
        failed: the seeds with a loss or a weight that is NaN or infinite, ``(seeds,)``, True or False.
        share: which members of an ensemble these seeds are, if that is known.
    """

    d_loss: Tensor
    g_loss: Tensor
    at: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    watched: dict[str, Tensor] = field(default_factory=dict)
    averaged: Any = None
    interrupted: bool = False
    failed: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    share: Share | None = None

    @property
    def steps(self) -> int:
        """The number of steps that were made."""
        return len(self.d_loss)

    def require_whole(self) -> History:
        """Return this history if the run reached its last step with all its seeds.

        Whoever measures networks for others, such as a table, asks for it first.

        Raises:
            UnfinishedRunError: if the run was stopped by hand, or seeds of it failed.
        """
        if self.interrupted:
            raise UnfinishedRunError(
                f"The run was stopped by hand after {self.steps} steps: its networks are half trained. "
                "Train afresh, or with a checkpoint to go on."
            )
        if self.failed.any():
            raise UnfinishedRunError(
                f"Seeds {self.failed.nonzero().flatten().tolist()} of the run became NaN or infinite: "
                "lower the learning rate, or leave these seeds out."
            )
        return self


class NonFiniteLossError(ArithmeticError):
    """A loss or a weight became NaN or infinite; ``history`` holds the run up to there.

    Args:
        message: which network, at which step, for which seeds.
        history: the losses so far.
    """

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history

"""A statement of the book, checked over seeds."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_helpers import _checks


class ClaimError(AssertionError):
    """A statement does not hold; the message tells what was measured for every seed."""


def claim(
    text: str, holds: Tensor | bool, *, at_least: int | None = None, values: Tensor | float | None = None
) -> None:
    """Print that a statement holds, in words that are the same in every run, or raise.

    What was measured follows in brackets that begin with *measured*. It differs from run to run, so that the
    tests leave these brackets out when they compare, and nothing else: ``tests/sanitise.cfg``.

    Args:
        text: the statement, without numbers that a run may change.
        holds: whether it does, one truth value per seed, ``(seeds,)``, or a single one.
        at_least: for how many seeds it has to hold; for all unless given.
        values: what was measured, one number per seed or a single one: shown as median and range.

    Raises:
        ClaimError: if it holds for fewer seeds than that, with the value of every seed.
        TypeError: if ``text`` is no string, ``holds`` not made of truth values, or ``values`` not of numbers.
        ValueError: if the shapes do not fit, or ``at_least`` is more than the number of seeds.
    """
    _checks.text("text", text)
    held = _checks.tensor("holds", holds)
    if held.dtype != torch.bool:
        raise TypeError(f"holds must be made of truth values, such as error < 0.1, not of {held.dtype}.")
    if held.dim() > 1 or held.numel() == 0:
        raise ValueError(
            f"holds must have shape (seeds,) or be one truth value, not shape {tuple(held.shape)}."
        )
    seeds = held.numel()
    needed = seeds if at_least is None else _checks.whole("at_least", at_least)
    if needed > seeds:
        raise ValueError(f"at_least must be at most the number of seeds, {seeds}, not {needed}.")
    share = "" if seeds == 1 else f" [at least {needed} of {seeds} seeds]"
    measured = None if values is None else _checks.tensor("values", values).reshape(-1).double()
    if measured is not None and len(measured) != seeds:
        raise ValueError(f"values must be as many as the seeds, {seeds}, not {len(measured)}.")
    if int(held.sum()) < needed:
        raise ClaimError(f"{text}{share}: holds for {int(held.sum())} of {seeds}.\n{_table(held, measured)}")
    print(f"Holds: {text}{share}{_summary(measured)}")


def _summary(measured: Tensor | None) -> str:
    """Return what was measured in brackets, which tests leave out when they compare."""
    if measured is None:
        return ""
    if len(measured) == 1:
        return f" (measured {measured.item():.3g})"
    middle, low, high = (measured.quantile(0.5).item(), measured.min().item(), measured.max().item())
    return f" (measured: median {middle:.3g}, from {low:.3g} to {high:.3g})"


def _table(held: Tensor, measured: Tensor | None) -> str:
    """Return a line for every seed: what was measured, and whether that was enough."""
    numbers = [""] * held.numel() if measured is None else [f"{value:.6g} " for value in measured.tolist()]
    rows = zip(numbers, held.reshape(-1).tolist(), strict=True)
    return "\n".join(
        f"seed {k}: {number}{'holds' if flag else 'fails'}" for k, (number, flag) in enumerate(rows)
    )

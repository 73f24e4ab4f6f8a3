r"""One batch over several processes: each takes a share of its rows, and the gradients are averaged.

A loss that is a mean over the batch is the mean of its values on the shares, weighted by their sizes
:math:`n_r`, and so is its gradient, a penalty's included:

.. math:: L = \sum_r \frac{n_r}{n} L_r, \qquad \nabla L = \sum_r \frac{n_r}{n} \nabla L_r

So losses and gradients go into one flat tensor, which is summed over the processes. Every process draws the
whole batch, as one alone would, and keeps its rows. What looks across the batch, such as batch normalisation,
has no such sum. The first step looks for that: it holds the gradient on the own rows against the mean of
those on two halves of them. What differs by less than roundings may is let through, such as a relativistic
average over a thousand rows.

PyTorch's DistributedDataParallel is not used. It averages the gradients that a call of ``backward`` leaves;
a penalty calls ``torch.autograd.grad`` inside a loss, where it has no part.

Raises:
    ProcessError: everywhere, if a loss looks across the batch, weights differ, or a process is gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from gan_helpers import _checks
from gan_helpers.ensemble import Ensemble
from gan_helpers.interrupts import SIGNALS, Stop
from gan_helpers.keeping import Kept, NoCheckpoint
from gan_helpers.processes import ALIKE, ProcessError, Processes
from gan_helpers.shares import Share
from gan_helpers.states import State, Stateful, Weights

Derivatives = tuple[Tensor, list[Tensor | None]]
Networks = tuple[Ensemble, Ensemble]  # G and D

# How far the gradient may be from the mean of those on two halves, relative to the largest of their norms. Of
# a loss that does split, 256 rows differed by 3e-6 where real and fake were alike and gradients cancelled,
# 4,096 by 4e-5 and 16,384 by 3e-4: it grows as the rows do. bfloat16 differed by 5e-2, float16 by 6e-3.
TOLERANCE = 1e-5
TOLERANCE_OF_PRODUCTS = (
    1e-3  # on an accelerator, which may round what it multiplies to ten bits; not measured
)
TOLERANCES = {torch.bfloat16: 1e-1, torch.float16: 2e-2}
ROWS = 256  # up to here the tolerance is the same
DRIFTED = (
    "One has drifted, and they were alike at the last writing: start the same command again, and a run with "
    "checkpoint= goes on from there."
)
LISTEN_EVERY = 10  # steps between two looks for a signal in what an accelerator has summed: each waits for it


class Player(Protocol):
    """What has a loss: ``name``, the ``loss`` itself, and two ways to its gradients."""

    name: str
    loss: Any
    fast: Callable[..., Derivatives]  # may be compiled

    def derivatives(self, G: Ensemble, D: Ensemble, x: Any, z: Any) -> Derivatives:
        """Return the losses, ``(seeds,)``, and the gradients of the player's weights."""
        ...


class Undivided:
    """A batch that one process has for itself.

    Args:
        batch: its rows.
    """

    def __init__(self, batch: int) -> None:
        self.rows = Share.whole(batch)
        self.stop = Stop()  # that of the run, once it has begun

    def is_over(self) -> bool:
        """Tell whether a signal ends the run after the step that was made."""
        return self.stop.is_set()

    def kept(self, kept: NoCheckpoint) -> NoCheckpoint:
        """Return what keeps the run.

        Args:
            kept: what would keep it in one process.
        """
        return kept

    def derive(self, player: Player, networks: Networks, x: Any, z: Any) -> Derivatives:
        """Return the losses, ``(seeds,)``, and the gradients of one player on the whole batch.

        Args:
            player: whose.
            networks: G and D.
            x: the own rows of the data.
            z: those of the noise.
        """
        return player.fast(*networks, x, z)

    def compare(self, when: str, networks: Networks) -> None:
        """Check that all processes have the same weights.

        Args:
            when: when this is.
            networks: G and D.
        """


class Divided(Undivided):
    """A batch of which each process has a share.

    Args:
        processes: who shares it.
        batch: its rows in all.

    Raises:
        TypeError: if ``processes`` is something else.
        ValueError: if a process would have fewer than two rows, too few to check the losses by.
    """

    def __init__(self, processes: Processes, batch: int) -> None:
        _checks.instance("processes", processes, Processes)
        if batch < 2 * processes.count:
            raise ValueError(
                f"batch must be at least {2 * processes.count}, two rows for each process, not {batch}: "
                "start fewer processes."
            )
        super().__init__(batch)
        self.rows = processes.share(batch, "batch")
        self._processes = processes
        self._checked: set[str] = set()
        self._signalled = torch.zeros(len(SIGNALS))  # how many processes had each signal at the last update
        self._steps = 0

    def is_over(self) -> bool:
        """Tell whether a signal in any process ends the run after this step: all tell the same."""
        self._steps += 1
        if self._signalled.device.type != "cpu" and self._steps % LISTEN_EVERY:
            return False
        came = [number for number, many in zip(SIGNALS, self._signalled.tolist(), strict=True) if many]
        for number in came:
            self.stop.note(number)
        return bool(came)

    def kept(self, kept: NoCheckpoint) -> NoCheckpoint:
        """Return what keeps the run: the first process has the file, and tells the others."""
        return KeptByFirst(kept, self._processes) if isinstance(kept, Kept) else kept

    def derive(self, player: Player, networks: Networks, x: Any, z: Any) -> Derivatives:
        """Return the sum of the losses and gradients of all processes, each with the weight of its rows."""
        halves = None if player.name in self._checked else self._on_halves(player, networks, x, z)
        with _drawing_for(self.rows, networks):
            losses, gradients = player.fast(*networks, x, z)
        if halves is not None:
            self._refuse_what_looks_across(player.name, gradients, halves)
        given = [g for g in gradients if g is not None]
        weight = len(self.rows) / self.rows.of
        signals = losses.new_tensor([self.stop.number == number for number in SIGNALS])
        parts = [*(weight * part for part in (*given, losses)), signals]
        *summed, losses, self._signalled = self._processes.summed(parts)
        found = iter(summed)
        return losses, [None if g is None else next(found) for g in gradients]

    def _on_halves(self, player: Player, networks: Networks, x: Any, z: Any) -> list[list[Tensor | None]]:
        """Return the gradients on two halves of the own rows, by their weights; all stays as it was."""
        first, stop, of = self.rows.first, self.rows.stop, self.rows.of
        middle = (first + stop) // 2
        found_on: list[list[Tensor | None]] = []
        for half in (Share(first, middle, of), Share(middle, stop, of)):
            changing = [*map(Weights, networks), player.loss]
            states = [(part, part.state()) for part in changing if isinstance(part, Stateful)]
            own = Share(half.first - first, half.stop - first, len(self.rows))
            with _drawing_for(half, networks):
                _, found = player.derivatives(*networks, part_of(own, x), part_of(own, z))
            for part, state in states:
                part.load_state(state)
            found_on.append([None if g is None else g * (len(half) / len(self.rows)) for g in found])
        return found_on

    def _refuse_what_looks_across(
        self, name: str, whole: list[Tensor | None], halves: list[list[Tensor | None]]
    ) -> None:
        self._checked.add(name)
        of_all = zip(whole, *halves, strict=True)
        known = _of_finite_members([of for of in of_all if all(g is not None for g in of)])
        if not known:
            return
        norms = [torch.stack([g.double().norm() for g in of]).norm() for of in zip(*known, strict=True)]
        size = torch.stack([norms[0], 2 * norms[1], 2 * norms[2]]).max()  # a half has about half the weight
        gap = torch.stack([(own - (a + b)).double().norm() for own, a, b in known]).norm()
        allowed = max(_tolerance(own, len(self.rows)) for own, *_ in known)
        if not gap <= allowed * size:
            raise ProcessError(
                f"The batch can't be split: {name.lower()}_loss is not the mean of its values on two halves "
                f"of it; the gradients differ by {float(gap / size):.0e} of their norm, and roundings by "
                f"{allowed:.0e} at most. Something looks across the batch, as batch normalisation or a "
                "distance between sets does, or draws random numbers that are not from D.dropout, or "
                "computes in less precision than the weights have: leave it out (GroupNorm looks at one "
                "sample alone), or share out the seeds, seeds=processes.share(16)."
            )

    def compare(self, when: str, networks: Networks) -> None:
        """Check that all processes have the same weights, to the last bit."""
        digests = {
            f"the digest of {name}'s weights": _digest(Weights(network).state())
            for name, network in zip("GD", networks, strict=True)
        }
        self._processes.refuse_unlike(f"networks {when}", digests, DRIFTED if self._steps else ALIKE)


def _of_finite_members(gradients: list[tuple[Any, ...]]) -> list[list[Tensor]]:
    """Return the gradients without the members, the first axis, that have one that is not finite."""
    if not gradients:
        return []
    finite = torch.stack([g.flatten(1).isfinite().all(1) for found in gradients for g in found]).all(0)
    return [[g[finite] for g in found] for found in gradients] if finite.any() else []


def _tolerance(gradient: Tensor, rows: int) -> float:
    """Return how far roundings may take a gradient over so many rows, relative to its norm."""
    if gradient.dtype in TOLERANCES:
        return TOLERANCES[gradient.dtype]
    exact = gradient.device.type == "cpu" or gradient.dtype == torch.float64
    return (TOLERANCE if exact else TOLERANCE_OF_PRODUCTS) * max(1.0, rows / ROWS)


def part_of(share: Share, batch: Any) -> Any:
    """Return the rows of a share of a batch, ``(seeds, rows, ...)``, or of several in a tuple.

    Args:
        share: which rows.
        batch: the tensor or the tuple.
    """
    return tuple(share.part(x, 1) for x in batch) if isinstance(batch, tuple) else share.part(batch, 1)


@contextmanager
def _drawing_for(rows: Share, networks: Networks) -> Iterator[None]:
    """Let the networks' own streams draw for the whole batch, and keep what belongs to these rows."""
    streams = [network.dropout for network in networks]
    for stream in streams:
        stream.rows = rows
    try:
        yield
    finally:
        for stream in streams:
            stream.rows = None


def _digest(state: State) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(name.encode())
        one_nan = value.detach().where(value == value, torch.nan)  # NaN has many forms, and a sum any of them
        digest.update(one_nan.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


class KeptByFirst(NoCheckpoint):
    """A run whose file the first process has; the others are set to what is in it.

    Args:
        kept: what keeps the run in the first process.
        processes: who trains.
    """

    def __init__(self, kept: Kept, processes: Processes) -> None:
        self._kept, self._processes = kept, processes

    def restore(self) -> bool:
        """Set the run in every process to what the file says, and tell whether there is one."""
        states = self._processes.from_first(self._restored)
        if states is not None and not self._processes.is_first:
            self._kept.load(states)
        return states is not None

    def _restored(self) -> Mapping[str, State] | None:
        if not self._kept.restore():
            return None
        return {
            part: {name: value.cpu() for name, value in state.items()}
            for part, state in self._kept.states().items()
        }

    def is_due(self, last: bool) -> bool:
        """Tell whether the run is written after this step."""
        return self._kept.is_due(last)

    def save(self) -> None:
        """Write the run, if it is one that can be written: the processes agree on that."""
        if self._processes.is_first:
            self._kept.save()
        else:
            self._kept.require_finite()

    def step_made(self, last: bool) -> None:
        """Write the run if it is time."""
        if self._processes.is_first:
            self._kept.step_made(last)
        elif self._kept.is_due(last):
            self._kept.require_finite()

    def rehearse(self, step: Callable[[], None]) -> None:
        """Make the next step with all, write what it gave, and take it back."""
        if self._processes.is_first:
            self._kept.rehearse(step)
        else:
            self._kept.take_back(step)

    def __str__(self) -> str:
        """Say where the run is kept."""
        return str(self._kept)

"""Keeps a run in its checkpoint while it is made, and tells whether it goes on as it went."""

from __future__ import annotations

import glob
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer

from gan_helpers.checkpoints import Checkpoint
from gan_helpers.describing import describe, described
from gan_helpers.ensemble import Ensemble
from gan_helpers.options import Checkpointing
from gan_helpers.recording import Record
from gan_helpers.shares import Share
from gan_helpers.states import CheckpointError, Generators, Handed, Moments, State, Stateful, Weights, match

log = logging.getLogger("gan_helpers")


class NoCheckpoint:
    """A run that is not kept."""

    def restore(self) -> bool:
        """Tell that there is nothing to go on from."""
        return False

    def save(self) -> None:
        """Keep nothing."""

    def is_due(self, last: bool) -> bool:
        """Tell that nothing is written after this step."""
        return False

    def step_made(self, last: bool) -> None:
        """Keep nothing."""

    def rehearse(self, step: Callable[[], None]) -> None:
        """Keep nothing."""

    def __str__(self) -> str:
        """Say what is left of the run."""
        return "with checkpoint= the same command could go on from there"


class Kept(NoCheckpoint):
    """A run that is written every so often.

    Beside its state the file holds what the step after it gave. Whoever goes on from the file makes that step
    first, and finds out there whether something else took part that the file does not hold.

    Args:
        checkpoint: where the run is kept; all that changes in it is part of it, ``expected`` too.
        every: steps between two writings.
        record: the losses so far.
        expected: what the step after the state gave.
    """

    def __init__(self, checkpoint: Checkpoint, every: int, record: Record, expected: Expected) -> None:
        self._checkpoint, self._every, self._record, self._expected = checkpoint, every, record, expected
        self._written: dict[str, State] | None = None  # and the step after it is still to come

    def restore(self) -> bool:
        """Set the run to what the file says, and tell whether there is one."""
        return self._checkpoint.restore()

    def states(self) -> dict[str, State]:
        """Return copies of all that changes in the run."""
        return self._checkpoint.states()

    def load(self, states: Mapping[str, State]) -> None:
        """Set the run to what `states` returned, in another process as a rule.

        Args:
            states: of all parts, by their names.
        """
        self._checkpoint.load(states)

    def is_due(self, last: bool) -> bool:
        """Tell whether the run is written after this step.

        Args:
            last: whether the run ends here.
        """
        return last or self._record.made % self._every == 0

    def require_finite(self) -> None:
        """Raise if the run is one that must not be written."""
        self._record.stop_unless_finite()

    def save(self) -> None:
        """Write the run as it is now."""
        self.require_finite()
        self._expected.losses = None
        self._written = self._checkpoint.states()
        self._checkpoint.write(self._written)

    def step_made(self, last: bool) -> None:
        """Write the run if it is time, or else what the step after the last writing gave.

        Args:
            last: whether the run ends here.
        """
        if self._written is None:
            self._compare()
        if self.is_due(last):
            self.save()
        elif self._written is not None:
            self._expect()

    def rehearse(self, step: Callable[[], None]) -> None:
        """Write what the next step would give, of a run that is stopped here, and take that step back.

        Args:
            step: makes a step.
        """
        if self._written is not None:
            self.take_back(step, self._expect)

    def take_back(self, step: Callable[[], None], made: Callable[[], None] = lambda: None) -> None:
        """Make a step, and set the run to what it was before.

        Args:
            step: makes a step.
            made: is called after it.
        """
        state = self.states()
        try:
            step()
            made()
        except Exception:  # it will fail again when the run goes on
            pass
        finally:
            self.load(state)

    def __str__(self) -> str:
        """Say where the run is kept."""
        return f"the same command goes on from {self._checkpoint.path}"

    def _expect(self) -> None:
        """Write the last state again, with the losses of the step after it."""
        assert self._written is not None
        self._expected.losses = self._record.newest()
        self._checkpoint.write(self._written | {"expected": self._expected.state()})
        self._written = None
        self._expected.losses = None

    def _compare(self) -> None:
        """Say so if the first step of a resumed run is not the one that the file tells."""
        expected, self._expected.losses = self._expected.losses, None
        if expected is None:
            return
        # Another machine rounds otherwise.
        if not torch.allclose(self._record.newest(), expected, rtol=1e-3, atol=1e-4, equal_nan=True):
            log.warning(
                "The run does not go on as it went: step %d gave other losses when it was made first. "
                "Something changes in data, noise, losses, layers or optimisers that %s does not keep. "
                "Give it the methods state and load_state, or hand it over: Checkpointing(path, also={...}).",
                self._record.made,
                self._checkpoint.path,
            )


class Expected:
    """The losses of the step after a state, ``(2, seeds)``, if they are known."""

    def __init__(self, seeds: int) -> None:
        self._seeds = seeds
        self.losses: Tensor | None = None

    def state(self) -> State:
        """Return the losses of D and G, or nothing."""
        return {} if self.losses is None else {"losses": self.losses}

    def load_state(self, state: State) -> None:
        """Set the losses to what `state` returned."""
        match({"losses": torch.zeros(2, self._seeds)} if state else {}, state)
        self.losses = state.get("losses")


def keep(
    checkpointing: Checkpointing,
    players: Mapping[str, tuple[Ensemble, Optimizer]],
    changing: Mapping[str, object],
    fixed: Mapping[str, object],
    record: Record,
) -> Kept:
    """Return what keeps a run: all in it that changes, and a description of all that does not.

    Args:
        checkpointing: where and how often.
        players: the networks and their optimisers, by the networks' names.
        changing: what else is part of the run's state, if it is `gan_helpers.states.Stateful`.
        fixed: what else the run is described by; what of it is `gan_helpers.states.Stateful` is both.
        record: the losses so far.

    Raises:
        CheckpointError: if there is something that changes and cannot be kept.
    """
    network = next(iter(players.values()))[0]
    device = next(network.parameters()).device
    if device.type == "meta":
        raise CheckpointError("Networks on the meta device have no numbers that a checkpoint could keep.")
    expected = Expected(network.seeds)
    own: dict[str, object] = {"history": record, "chance": Generators(device), "expected": expected}
    for name, (ensemble, optimiser) in players.items():
        _refuse_scheduler(f"{name.lower()}_opt", optimiser, checkpointing.also)
        own |= {name: Weights(ensemble), f"{name.lower()}_opt": Moments(optimiser)}
    own |= {f"also.{name}": Handed(thing) for name, thing in checkpointing.also.items()}
    run = {name: described(*player) for name, player in players.items()}
    run |= {name: describe(value) for name, value in fixed.items()}
    run |= {"device": device.type, "also": ", ".join(sorted(checkpointing.also))}
    parts = {k: part for k, part in {**changing, **fixed, **own}.items() if isinstance(part, Stateful)}
    path = own_file(Path(checkpointing.path), network.share)
    return Kept(Checkpoint(path, parts, run), checkpointing.every, record, expected)


def own_file(path: Path, share: Share) -> Path:
    """Return the file of a share of the members, such as ``run-members-0-7-of-16.safetensors``.

    Args:
        path: the file of all members.
        share: which of them are to be kept.

    Raises:
        CheckpointError: if the file is missing, and one is there of all, or of another share of them.
    """
    ending = f"-of-{share.of}{path.suffix}"
    own = path.with_name(f"{path.stem}-members-{share.first}-{share.stop - 1}{ending}")
    own = path if share.is_whole else own
    others = sorted(path.parent.glob(f"{glob.escape(path.stem)}-members-*{glob.escape(ending)}"))
    meeting = [other.name for other in others if _meets(other, share)]
    meeting += [path.name] if path.exists() else []
    if not own.exists() and meeting:
        raise CheckpointError(
            f"There is {meeting[0]}, and no file for members {share}: the run was begun by another number of "
            "processes. Start as many as then, or give another path."
        )
    return own


def _meets(file: Path, share: Share) -> bool:
    """Tell whether a file is of a share that has members of another one."""
    first, last = map(int, file.name.rpartition("-members-")[2].partition("-of-")[0].split("-"))
    return first < share.stop and share.first <= last


def _refuse_scheduler(name: str, optimiser: Optimizer, also: Mapping[str, object]) -> None:
    """Refuse a scheduler of learning rates that the checkpoint is not told of; it leaves a mark on `step`."""
    if not hasattr(optimiser.step, "_wrapped_by_lr_sched"):
        return
    if not any(getattr(thing, "optimizer", None) is optimiser for thing in also.values()):
        raise CheckpointError(
            f"{name} has a scheduler of its learning rate, and the checkpoint does not keep it: hand it "
            'over, checkpoint=Checkpointing(path, also={"scheduler": scheduler}).'
        )

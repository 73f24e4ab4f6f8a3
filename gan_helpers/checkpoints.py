"""Checkpoints: a run of `gan_helpers.training.train` on disk, which goes on as if it had never stopped.

Three things make a checkpoint one that can be relied on.

- It is complete. Weights, optimisers, averages, streams of random numbers, samplers in the middle of an
  epoch and the history are all `gan_helpers.states.Stateful`: each can say what it is, and be set to it.
- It is written beside the old one and then put in its place in one move. Whatever stops the program, at
  whatever moment, leaves the old file or the new one.
- It is checked before it is believed: the file by its digest, and the run by its description. Then it is
  loaded whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gan_helpers.checkpoint_files import AFRESH, packed, read
from gan_helpers.files import write_whole
from gan_helpers.states import CheckpointError, State, Stateful


class Checkpoint:
    """The checkpoint of one run, at one path.

    Args:
        path: the file. Its folder has to exist.
        parts: all that changes in the run, by name.
        run: what is fixed about the run, by name; see `describe`. A file of another run is refused.

    Raises:
        CheckpointError: if there is no such folder, or something else than a file is at the path.
    """

    def __init__(
        self, path: str | os.PathLike[str], parts: Mapping[str, Stateful], run: Mapping[str, str]
    ) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise CheckpointError(f"There is no folder {self.path.parent} for the checkpoint: make it first.")
        if self.path.exists() and not self.path.is_file():
            raise CheckpointError(f"{self.path} is not a file: give the checkpoint a path of its own.")
        self._parts, self._run = dict(parts), dict(run)

    def states(self) -> dict[str, State]:
        """Return copies of all parts as they are now.

        Raises:
            CheckpointError: if a part has no form as tensors.
        """
        return {part: stateful.state() for part, stateful in self._parts.items()}

    def load(self, states: Mapping[str, State]) -> None:
        """Set all parts to what `states` returned.

        Args:
            states: of all parts, by their names.
        """
        for part, stateful in self._parts.items():
            stateful.load_state(states[part])

    def write(self, states: Mapping[str, State]) -> None:
        """Write what `states` returned; the old checkpoint stays until the new one is complete.

        Args:
            states: of all parts, by their names.

        Raises:
            CheckpointError: if the file cannot be written.
        """
        tensors = {
            f"{part}/{name}": value.detach().cpu().contiguous()
            for part, state in states.items()
            for name, value in state.items()
        }
        try:
            write_whole(self.path, packed(tensors, self._run))
        except OSError as error:
            raise CheckpointError(f"The checkpoint {self.path} could not be written: {error}.") from error

    def restore(self) -> bool:
        """Set all parts to what the file says, and tell whether there is one; an error changes nothing.

        Raises:
            CheckpointError: if the file is damaged, belongs to another run or does not fit.
        """
        if not self.path.exists():
            return False
        run, tensors = read(self.path)
        self._refuse_another(run)
        states: dict[str, State] = {part: {} for part in self._parts}
        for key, value in tensors.items():
            part, _, name = key.partition("/")
            if part not in states:
                raise CheckpointError(f"{self.path} holds {key}, which this run does not have. {AFRESH}")
            states[part][name] = value
        before = self.states()
        try:
            for part, stateful in self._parts.items():
                stateful.load_state(states[part])
        except BaseException as error:
            self.load(before)
            if not isinstance(error, Exception):
                raise
            raise CheckpointError(f"{self.path} does not fit this run: {part}: {error} {AFRESH}") from error
        return True

    def _refuse_another(self, run: dict[str, str]) -> None:
        differing = [
            f"{name} is {now} and was {then}"
            for name in {**self._run, **run}
            if self._run.get(name) != run.get(name)
            for now, then in [_where_they_differ(self._run.get(name), run.get(name))]
        ]
        if differing:
            raise CheckpointError(
                f"{self.path} is of another run: {'; '.join(differing)}. Nothing was changed. Call train "
                f"with the arguments of that run to go on with it. {AFRESH}"
            )


def _where_they_differ(one: str | None, other: str | None) -> tuple[str, str]:
    """Return two texts, long ones from a little before the first difference on."""
    texts = ["missing" if text is None else " ".join(text.split()) for text in (one, other)]
    start = max(0, len(os.path.commonprefix(texts)) - 30)
    if max(map(len, texts)) <= 80:
        start = 0
    shown = [f"{'...' if start else ''}{text[start : start + 80]}" for text in texts]
    return shown[0], shown[1]

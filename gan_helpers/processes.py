"""Training in several processes at once, on one machine or on several, started by ``torchrun``.

There are two ways to share the work out, and this module has what both need.

- *Seeds.* Each process makes and trains a share of the members of an ensemble. They never meet, so nothing
  is sent until the end, where `Processes.gathered` joins the histories.
- *One batch.* All processes train the same networks, each on a share of the rows of every batch, and the
  gradients are averaged at each step: ``train(..., processes=processes)``; see `gan_helpers.splitting`.

Everything goes through ``torch.distributed``: over gloo between processors, over NCCL between NVIDIA's GPUs.

Raises:
    ProcessError: everywhere, if processes do not fit together, or one is gone.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from gan_helpers import _checks
from gan_helpers.device import default_device
from gan_helpers.ensemble import Ensemble
from gan_helpers.history import History
from gan_helpers.randomness import base_seed
from gan_helpers.recording import require_one_left
from gan_helpers.shares import Share

SET_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
START = "torchrun --nproc-per-node 2 SCRIPT"
WAIT = 600.0  # seconds that one process waits for another
# The same where each trains whole runs of its own, and one may end days before another: a process that dies
# is noticed at once all the same, and only one that stands still is waited for.
PATIENCE = 7 * 24 * 3600.0
ALIKE = "Give all the same environment, code and base seed."


class ProcessError(RuntimeError):
    """Processes cannot work together, or not any more; the message says why, and the way out."""


def are_started() -> bool:
    """Tell whether this program was started as one of several processes, as ``torchrun`` does it."""
    return all(name in os.environ for name in SET_BY_TORCHRUN)


def environment() -> dict[str, str]:
    """Return the environment for a program that a process starts for itself, and that is no part of them."""
    mine = {name: value for name, value in os.environ.items() if not _is_of_torchrun(name)}
    device = default_device()
    return mine if device.type == "cpu" else {**mine, "GAN_BOOK_DEVICE": f"{device.type}:{_local()}"}


def _is_of_torchrun(name: str) -> bool:
    return name in SET_BY_TORCHRUN or name.startswith(("LOCAL_", "GROUP_", "ROLE_", "TORCHELASTIC_"))


def _local() -> int:
    """Return which process of its machine this is."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextmanager
def joined(wait: float = WAIT) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` has started with this one, for the time of a ``with`` block.

    On a machine with GPUs each process takes one of its own; make networks inside the block. Where another
    launcher, such as Ray, has joined them already, they stay as they are, and so does its time of waiting.

    Args:
        wait: seconds that one waits for another before it says that something is wrong. With shares of the
            seeds, it must be longer than the fastest waits for the slowest at the end.

    Raises:
        TypeError: if ``wait`` is no number.
        ValueError: if it is not above 0.
        ProcessError: if the program was not started by ``torchrun``, there are more processes than GPUs,
            ``GAN_BOOK_DEVICE`` names one GPU for several, the others cannot be reached, or they have other
            versions or another base seed.

    References:
        https://docs.pytorch.org/docs/stable/elastic/run.html
    """
    _checks.number("wait", wait, above=0.0)
    if not dist.is_available():
        raise ProcessError("This build of torch has no torch.distributed: train in one process.")
    if dist.is_initialized():
        yield _found(default_device())
        return
    if not are_started():
        missing = ", ".join(name for name in SET_BY_TORCHRUN if name not in os.environ)
        raise ProcessError(
            f"This program was not started by torchrun: {missing} of its environment is not set. Start it "
            f"with {START}, with 1 in the place of 2 for a process alone."
        )
    device = _own_device()
    backend = "gloo"
    if device.type != "cpu":
        backend = f"cpu:gloo,{device.type}:{dist.get_default_backend_for_device(device.type)}"
    with _together("join"):
        dist.init_process_group(backend, timeout=timedelta(seconds=wait))
    try:
        yield _found(device)
    finally:
        dist.destroy_process_group()


def _found(device: torch.device) -> Processes:
    """Return the processes that torch knows of, if they have the same versions and base seed."""
    processes = Processes(dist.get_rank(), dist.get_world_size())
    processes.refuse_unlike("versions and base seed", versions(device))
    return processes


def _own_device() -> torch.device:
    """Return the device of this process, after taking a GPU of its own where there are any."""
    local, named = _local(), os.environ.get("GAN_BOOK_DEVICE", "")
    here = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", "1")))
    kind, _, index = named.partition(":")
    if index and kind != "cpu" and here > 1:
        raise ProcessError(
            f"GAN_BOOK_DEVICE={named} names one GPU for all {here} processes of this machine: set "
            f"GAN_BOOK_DEVICE={kind}, and each takes one of its own. CUDA_VISIBLE_DEVICES chooses among "
            "NVIDIA's."
        )
    if kind == "cpu" or not torch.accelerator.is_available():
        return default_device()
    if local >= (count := torch.accelerator.device_count()):
        raise ProcessError(
            f"Process {local} of this machine has no GPU: there are {count}. Start at most as many, or set "
            "the environment variable GAN_BOOK_DEVICE=cpu."
        )
    torch.accelerator.set_device_index(local)
    return default_device()


def versions(device: torch.device) -> dict[str, str]:
    """Return what has to be alike in all processes: packages, the kind of device and the base seed.

    Args:
        device: that of the process.
    """
    package = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        package.update(path.read_bytes())
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "gan_helpers": package.hexdigest()[:12],
        "device": device.type,
        "base seed": str(base_seed()),
    }


@contextmanager
def _together(what: str) -> Iterator[None]:
    """Turn what torch says of a process that is gone or does not answer into one error with a way out."""
    try:
        yield
    except RuntimeError as error:  # of the backends each has its own kind
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        who = f"Process {os.environ.get('RANK', '')} of {os.environ.get('WORLD_SIZE', '')}"
        raise ProcessError(
            f"{who} could not {what} the others: one has ended, stands still or is slower than "
            f"joined(wait=...) allows, or cannot be reached ({reason}). Start the same command again: a run "
            "with checkpoint= goes on from its last writing."
        ) from error


class Processes:
    """The processes that work together, as one of them sees them; `joined` returns it.

    Args:
        rank: which one this is, from 0.
        count: how many there are.
    """

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes files."""
        return self.rank == 0

    def share(self, of: int, name: str = "seeds") -> Share:
        """Return which of so many members, or other things, this process has.

        Args:
            of: how many there are.
            name: what they are, for the error.

        Raises:
            TypeError: if ``of`` is not a whole number.
            ValueError: if there are fewer than processes.
        """
        if _checks.whole(name, of) < self.count:
            raise ValueError(
                f"{name} must be at least {self.count}, one for each process, not {of}: "
                f"start fewer, --nproc-per-node {of}."
            )
        return Share.of_rank(of, self.rank, self.count)

    @overload
    def gathered(self, part: History) -> History: ...

    @overload
    def gathered(self, part: Ensemble) -> Ensemble: ...

    @overload
    def gathered(self, part: Mapping[str, Tensor]) -> dict[str, Tensor]: ...

    def gathered(self, part: Any) -> Any:
        """Return the whole of which each process has a share, in all of them.

        Args:
            part: the history of a run, an ensemble, or tensors by name with the seed axis in front.

        Raises:
            TypeError: if it is something else.
            ProcessError: if the shares do not fit together, this process was stopped before the end of its
                run, or another one is gone.
            NonFiniteLossError: if all members of all processes have failed.
        """
        if isinstance(part, History):
            self._refuse_unfinished(part)
            return self._history(part)
        if isinstance(part, Ensemble):
            self._refuse_no_shares(part.share)
            return part.widened(self._joined(part.values(), 0))
        if isinstance(part, Mapping):
            return self._joined(part, 0)
        raise TypeError(f"part must be a History, an Ensemble or tensors by name, not {type(part).__name__}.")

    def _refuse_no_shares(self, own: Share) -> None:
        """Check that what the processes have makes up one whole."""
        shares = self._of_all(own)
        ends = [0, *(share.stop for share in shares)]
        if [share.first for share in shares] != ends[:-1] or ends[-1] != own.of:
            raise ProcessError(
                f"The processes have members {', '.join(map(str, shares))}, which are no shares of one "
                "whole: make the ensemble with seeds=processes.share(16), say. What train(..., "
                "processes=processes) has made is whole in every process: leave gathered out."
            )

    def _refuse_unfinished(self, part: History) -> None:
        """Check that this process came to the end: if not, it does not wait for those that may."""
        if part.interrupted and self.count > 1:
            raise ProcessError(
                f"Process {self.rank} was stopped after {part.steps} steps, and there is no whole to gather. "
                "Start the same command again: a run with checkpoint= goes on to its end."
            )

    def _history(self, part: History) -> History:
        if part.share is not None:
            self._refuse_no_shares(part.share)
        steps = self._of_all(part.steps)
        if len(set(steps)) > 1:
            raise ProcessError(
                f"The processes made {', '.join(map(str, steps))} steps: give train the same steps in all."
            )
        over_time = {"d_loss": part.d_loss, "g_loss": part.g_loss, **part.watched}
        whole = self._joined(over_time, 1)
        history = replace(
            part,
            d_loss=whole.pop("d_loss"),
            g_loss=whole.pop("g_loss"),
            watched=whole,
            averaged=None if part.averaged is None else self.gathered(part.averaged),
            failed=self._joined({"failed": part.failed}, 0)["failed"],
            share=None if part.share is None else Share.whole(part.share.of),
        )
        require_one_left(history)
        return history

    def _joined(self, part: Mapping[str, Tensor], axis: int) -> dict[str, Tensor]:
        """Return the tensors of all processes, joined along an axis, on the device of the own ones."""
        parts = self._of_all({name: value.detach().cpu() for name, value in part.items()})
        if any(other.keys() != part.keys() for other in parts):
            raise ProcessError(f"The processes have other names: {[sorted(other) for other in parts]}.")
        return {
            name: torch.cat([other[name] for other in parts], axis).to(own.device)
            for name, own in part.items()
        }

    def _of_all(self, thing: Any) -> list[Any]:
        """Return what each process has, in their order."""
        found: list[Any] = [None] * self.count
        with _together("gather from"):
            dist.all_gather_object(found, thing)
        return found

    def from_first(self, make: Callable[[], Any]) -> Any:
        """Return what a function returns in the first process, which alone calls it.

        Args:
            make: the function.

        Raises:
            ProcessError: if it fails there; the first process has the error itself.
        """
        sent: list[Any] = [None, None]
        failed: Exception | None = None
        if self.is_first:
            try:
                sent[0] = make()
            except Exception as error:
                failed, sent[1] = error, str(error)
        with _together("hear from"):
            dist.broadcast_object_list(sent)
        if failed is not None:
            raise failed
        if sent[1] is not None:
            raise ProcessError(f"The first process could not go on: {sent[1]}")
        return sent[0]

    def refuse_unlike(self, what: str, own: Mapping[str, str], way_out: str = ALIKE) -> None:
        """Check that something is alike in all processes.

        Args:
            what: what it is.
            own: what this process has, by name.
            way_out: what to do if it is not.

        Raises:
            ProcessError: naming what differs, and where.
        """
        every = self._of_all(dict(own))
        for name in own:
            found = [other.get(name, "missing") for other in every]
            if len(set(found)) > 1:
                raise ProcessError(
                    f"The processes must have the same {what}; {name} is {_by_process(found)}. {way_out}"
                )

    def summed(self, parts: list[Tensor]) -> list[Tensor]:
        """Return the sums of tensors over all processes, in one message: the same to the last bit in each.

        Args:
            parts: tensors on one device, of the same shapes everywhere.
        """
        flat = torch.cat([part.reshape(-1) for part in parts])
        with _together("average with"):
            dist.all_reduce(flat)
        pieces = flat.split([part.numel() for part in parts])
        return [piece.view(part.shape).to(part.dtype) for piece, part in zip(pieces, parts, strict=True)]


def _by_process(found: list[str]) -> str:
    """Say which process has what; what most of them have is said once."""
    usual, many = Counter(found).most_common(1)[0]
    has_most = 2 * many > len(found)
    said = [f"{own} in process {rank}" for rank, own in enumerate(found) if not has_most or own != usual]
    return ", ".join([*said, f"{usual} in the others"] if has_most else said)

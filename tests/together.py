"""Runs that are trained by one process and by several: ``torchrun ... -m tests.together FOLDER TASK ...``.

A task is a function of this module. What it returns in the first process is stored in ``FOLDER/TASK.pt``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from gan_helpers import Checkpointing, Ensemble, History, NonFiniteLossError, Stream, Turns, adam, train
from gan_helpers.data import Minibatches, Normal, Sampler, Uniform
from gan_helpers.labels import Asked, Concatenated, Labelled, Projection
from gan_helpers.losses import (
    hinge_d,
    minimax_d,
    non_saturating_g,
    relativistic_d,
    relativistic_g,
    wasserstein_d,
    wasserstein_g,
)
from gan_helpers.models import mlp
from gan_helpers.penalties import gradient_penalty, r1
from gan_helpers.processes import ProcessError, Processes, joined
from gan_helpers.recording import Record
from gan_helpers.shares import Share

MEMBERS, BATCH = 5, 11  # neither is a multiple of 2 or 3
STEPS = 100

Run = dict[str, Tensor]


def with_dropout() -> nn.Module:
    """Return a network with dropout, also behind a convolution, whose outputs lie otherwise in memory."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 4, 2, padding=1), nn.LeakyReLU(0.2), nn.Dropout(0.3),
        nn.Flatten(), nn.Linear(36, 16), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(16, 1),
    )  # fmt: skip


def told(history: History, G: Ensemble, D: Ensemble) -> Run:
    """Return all numbers of a run."""
    found = {"d_loss": history.d_loss, "g_loss": history.g_loss, **history.watched}
    for name, network in {"G": G, "D": D, "average": history.averaged}.items():
        found |= {f"{name}/{key}": value for key, value in network.values().items()}
    return found


class Poisoned:
    """Normal data whose last row is NaN for some members from a batch of their own on.

    Args:
        features: of a row.
        since: by member, the first batch that is bad, from 0.
    """

    def __init__(self, features: int, since: dict[int, int]) -> None:
        self._features, self._since, self._drawn = features, since, 0

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw a batch."""
        x = rng.normal(seeds, batch, self._features) + 2
        for member, first in self._since.items():
            if self._drawn >= first:
                x[member, -1] = torch.nan
        self._drawn += 1
        return x


def of_members(share: int | Share, **options: Any) -> tuple[History, Ensemble, Ensemble]:
    """Train members on a data set in epochs, with dropout and a penalty that draws numbers of its own."""
    G = Ensemble(lambda: mlp(3, 8, 4), share, name="G", device="cpu")
    D = Ensemble(with_dropout, share, name="D", device="cpu")
    rows = torch.linspace(-1, 1, 23 * 4).view(23, 4).sin()

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        fake = G(z).detach()
        return wasserstein_d(*D(x, fake)) + gradient_penalty(D, x, fake, D.dropout)

    options = {"steps": STEPS, "ema": 0.9, "data": Minibatches(rows)} | options
    history = train(
        G, D, noise=Uniform(-1.0, 1.0, features=3), batch=BATCH, d_loss=d_loss,
        g_loss=lambda G, D, x, z: non_saturating_g(D(G(z))), d_opt=adam(D, 1e-3), g_opt=adam(G, 1e-3),
        watch=lambda G: {"size": torch.stack([p.flatten(1).norm(dim=1) for p in G.parameters()]).sum(0)},
        **options,
    )  # fmt: skip
    return history, G, D


def members(processes: Processes) -> Run:
    """Train a share of the members in each process."""
    history, G, D = of_members(processes.share(MEMBERS))
    return told(processes.gathered(history), processes.gathered(G), processes.gathered(D))


def of_batch(
    processes: Processes | None, dropout: bool = False, seeds: int = 1, **options: Any
) -> tuple[History, Ensemble, Ensemble]:
    """Train GANs with R1, one unless told, each process on a share of the rows."""
    G = Ensemble(lambda: mlp(2, 16, 4), seeds, name="G", device="cpu")
    D = Ensemble(with_dropout if dropout else lambda: mlp(4, 16, 1), seeds, name="D", device="cpu")

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return minimax_d(D(x), D(G(z).detach())) + 0.5 * r1(D, x)

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return non_saturating_g(D(G(z)))

    losses = {"d_loss": d_loss, "g_loss": g_loss}
    options = {"steps": STEPS, "ema": 0.9, "data": Poisoned(4, {})} | losses | options
    history = train(
        G, D, noise=Uniform(-1.0, 1.0, features=2), batch=BATCH, d_opt=adam(D, 1e-3), g_opt=adam(G, 1e-3),
        processes=processes, **options,
    )  # fmt: skip
    return history, G, D


def batch(processes: Processes | None) -> Run:
    """Split the batch."""
    return told(*of_batch(processes))


def batch_with_dropout(processes: Processes | None) -> Run:
    """Split the batch of a discriminator with dropout."""
    return told(*of_batch(processes, dropout=True))


def exactly(sampler: Sampler, precision: torch.dtype) -> Sampler:
    """Return a sampler whose numbers have a precision."""
    return lambda seeds, batch, rng: sampler(seeds, batch, rng).to(precision)


def batch_in_turns(processes: Processes | None) -> Run:
    """Split the batch of a relativistic game in which each player has several updates, from data in epochs.

    The last bias of D has no part in its losses. In single precision, its gradient would be roundings, and
    Adam would make steps of them.
    """
    rows = torch.linspace(-1, 1, 23 * 4, dtype=torch.float64).view(23, 4).sin()
    G = Ensemble(lambda: mlp(2, 16, 4), 2, name="G", device="cpu").to(torch.float64)
    D = Ensemble(lambda: mlp(4, 16, 1), 2, name="D", device="cpu").to(torch.float64)
    history = train(
        G, D, Minibatches(rows), exactly(Uniform(-1.0, 1.0, features=2), torch.float64), steps=30,
        d_loss=lambda G, D, x, z: relativistic_d(*D(x, G(z).detach())) + 0.5 * r1(D, x), ema=0.9,
        g_loss=lambda G, D, x, z: relativistic_g(*D(x, G(z))), turns=Turns(d_steps=3, g_steps=2),
        d_opt=adam(D, 1e-3), g_opt=adam(G, 1e-3), batch=BATCH, processes=processes,
    )  # fmt: skip
    return told(history, G, D)


def batch_of_pairs(processes: Processes | None, **options: Any) -> Run:
    """Split a batch of labelled samples, updating both players at once."""
    G = Ensemble(lambda: Concatenated(mlp(2 + 3, 16, 4), 3), 2, name="G", device="cpu")
    D = Ensemble(lambda: Projection(mlp(4, 16), 16, 3), 2, name="D", device="cpu")
    parts = [lambda seeds, batch, rng, mean=mean: rng.normal(seeds, batch, 4) + mean for mean in range(3)]
    noise = Asked(Uniform(-1.0, 1.0, features=2), [0.2, 0.3, 0.5])
    options = {"steps": 30, "turns": Turns(simultaneous=True)} | options
    history = train(
        G, D, Labelled(parts, [0.2, 0.3, 0.5]), noise, batch=BATCH, ema=0.9,
        d_loss=lambda G, D, x, z: minimax_d(D(x), D((G(z).detach(), z[1]))),
        g_loss=lambda G, D, x, z: non_saturating_g(D((G(z), z[1]))),
        d_opt=adam(D, 1e-3), g_opt=adam(G, 1e-3), processes=processes, **options,
    )  # fmt: skip
    return told(history, G, D)


def compiled_batch(processes: Processes | None) -> Run:
    """Split the batch of a game that is compiled."""
    return batch_of_pairs(processes, compile=True, turns=Turns(d_steps=2))


def poisoned_batch(processes: Processes | None) -> Run:
    """Split a batch in which the last process finds NaN: for one member after the other, and for all."""
    data = Poisoned(4, {1: 3, 2: 7})
    found = of_batch(processes, seeds=3, steps=12, data=data, on_nonfinite="go on")
    return {
        **told(*found),
        "failed": found[0].failed.float(),
        "stop": _said(lambda: of_batch(processes, seeds=3, data=Poisoned(4, {1: 3}))),
        "none left": _said(lambda: of_batch(processes, data=Poisoned(4, {0: 5}), on_nonfinite="go on")),
    }


def poisoned_members(processes: Processes | None) -> Run:
    """Share members out of which some fail, all of the first process among them, and then all."""

    def left(last: int) -> tuple[History, Ensemble, Ensemble]:
        data = Poisoned(4, {0: 3, 1: 7, 4: 5, 2: last, 3: last})
        share = MEMBERS if processes is None else processes.share(MEMBERS)
        history, G, D = of_members(share, steps=12, data=data, on_nonfinite="go on")
        if processes is None:
            return history, G, D
        return processes.gathered(history), processes.gathered(G), processes.gathered(D)

    found = left(STEPS)
    return {
        **told(*found),
        "failed": found[0].failed.float(),
        "none left": _said(lambda: left(9)),
    }


def _said(train: Callable[[], Any]) -> Tensor:
    """Return what an error says, and the losses that it has."""
    try:
        train()
    except NonFiniteLossError as error:
        letters = torch.tensor([*str(error).encode()], dtype=torch.float32)
        return torch.cat([letters, error.history.d_loss.flatten(), error.history.g_loss.flatten()])
    raise AssertionError("nothing was said of what is not finite")


def leaky() -> nn.Module:
    """Return a network with two hidden layers of 64."""
    return mlp(1, 64, 64, 1, activation=lambda: nn.LeakyReLU(0.2))


def lively(share: Share, precision: torch.dtype) -> Tensor:
    """Return the losses of a game that amplifies roundings, ``(steps, members)``."""
    G, D = (Ensemble(leaky, share, name=name, seed=1_000, device="cpu") for name in "GD")

    G.to(precision)
    D.to(precision)
    history = train(
        G, D, exactly(Normal(4.0, 1.25), precision), exactly(Uniform(0.0, 1.0), precision), steps=300,
        batch=64, seed=1_000,
        d_loss=lambda G, D, x, z: hinge_d(*D(x, G(z).detach())), d_opt=adam(D, 1.2e-3, (0.5, 0.999)),
        g_loss=lambda G, D, x, z: wasserstein_g(D(G(z))), g_opt=adam(G, 5.5e-4, (0.5, 0.999)),
        turns=Turns(d_steps=5),
    )  # fmt: skip
    return history.g_loss


def _checkpointed(processes: Processes, task: str, end: Any = None, at: int = 37) -> Run:
    """Train with a checkpoint in the folder; ``end`` is called in the last process after a step."""
    file = Path(sys.argv[1]) / "run.safetensors"
    options = {"checkpoint": Checkpointing(file, every=10)}

    def step_made(record: Record) -> None:
        made(record)
        if record.made == at and end is not None and processes.rank == processes.count - 1:
            end(record)

    made = Record.step_made
    with patch.object(Record, "step_made", step_made):
        if task == "batch":
            return told(*of_batch(processes, **options))
        history, G, D = of_members(processes.share(MEMBERS), **options)
        return told(processes.gathered(history), processes.gathered(G), processes.gathered(D))


def kept_batch(processes: Processes) -> Run:
    """Split the batch, and keep the run or go on with it."""
    return _checkpointed(processes, "batch")


def kept_members(processes: Processes) -> Run:
    """Share the members out, and keep the run or go on with it."""
    return _checkpointed(processes, "members")


def _signal(number: int) -> Callable[[Record], None]:
    return lambda record: signal.raise_signal(number)


def killed_batch(processes: Processes) -> Run:
    """Split the batch until one process is killed."""
    return _checkpointed(processes, "batch", _signal(signal.SIGKILL))


def killed_members(processes: Processes) -> Run:
    """Share the members out until one process is killed."""
    return _checkpointed(processes, "members", _signal(signal.SIGKILL))


def terminated_batch(processes: Processes) -> Run:
    """Split the batch until one process is told to end, later than in `killed_batch`: then all are."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    found = _checkpointed(processes, "batch", _signal(signal.SIGTERM), at=57)
    signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    return found


def interrupted_batch(processes: Processes) -> Run:
    """Split the batch until Ctrl-C reaches one process, later than in `terminated_batch`."""
    return _checkpointed(processes, "batch", _signal(signal.SIGINT), at=77)


def interrupted_members(processes: Processes) -> Run:
    """Share the members out until Ctrl-C reaches one process."""
    return _checkpointed(processes, "members", _signal(signal.SIGINT))


def drifted_batch(processes: Processes) -> Run:
    """Split the batch, and change one weight of the last process."""

    def change(record: Record) -> None:
        with torch.no_grad():
            record._weights[0].flatten()[0].nextafter_(torch.tensor(torch.inf))

    try:
        _checkpointed(processes, "batch", change)
    except ProcessError as error:
        return {"said": torch.tensor([*str(error).encode()])}
    raise AssertionError("nothing was said of weights that differ")


def stalled(processes: Processes) -> Run:
    """Split the batch until one process stands still."""
    return _checkpointed(processes, "batch", lambda record: time.sleep(3600))


def unlike(processes: Processes) -> Run:
    """Start from weights of another seed in each process."""
    with patch.dict(os.environ, GAN_BOOK_SEED=str(processes.rank)):
        return told(*of_batch(processes))


def objectives_cells(processes: Processes | None) -> Run:
    """Train a few steps by a game that draws numbers of its own, and by what learns alone."""
    from gan_helpers.recipes import objectives  # takes as long to load as all others

    target, found = objectives.TARGETS["ring"], {}
    with patch.object(objectives, "steps", lambda *_: 30):
        for key in ("penalised", "matching"):
            of = objectives.tried(objectives.ALL[key])[:1] * 3
            draw = objectives.trained(objectives.ALL[key], target, of, 0, processes)
            found[key] = draw(50, Stream("samples", 0))
    return found


def main() -> None:
    """Do the tasks of the command line."""
    folder, *tasks = sys.argv[1:]
    if "versions" in tasks and os.environ["RANK"] == "1":
        torch.__version__ = "2.0.0"
    if "seeds" in tasks:
        os.environ["GAN_BOOK_SEED"] = os.environ["RANK"]
    with joined(float(os.environ.get("WAIT", "60"))) as processes:
        for task in tasks:
            found = globals()[task](processes)
            if processes.is_first:
                torch.save(found, Path(folder) / f"{task}.pt")


if __name__ == "__main__":
    main()

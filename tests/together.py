"""Runs that are trained by one process and by several: ``torchrun ... -m tests.together FOLDER TASK ...``.

A task is a function of this module. What it returns in the first process is stored in ``FOLDER/TASK.pt``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from gan_helpers import Checkpointing, Ensemble, History, Stream, Turns, adam, train
from gan_helpers.data import Minibatches, Normal, Sampler, Uniform
from gan_helpers.losses import hinge_d, minimax_d, non_saturating_g, wasserstein_d, wasserstein_g
from gan_helpers.models import mlp
from gan_helpers.penalties import gradient_penalty, r1
from gan_helpers.processes import Processes, joined
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


def of_members(share: int | Share, **options: Any) -> tuple[History, Ensemble, Ensemble]:
    """Train members on a data set in epochs, with dropout and a penalty that draws numbers of its own."""
    G = Ensemble(lambda: mlp(3, 8, 4), share, name="G", device="cpu")
    D = Ensemble(with_dropout, share, name="D", device="cpu")
    rows = torch.linspace(-1, 1, 23 * 4).view(23, 4).sin()

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        fake = G(z).detach()
        return wasserstein_d(*D(x, fake)) + gradient_penalty(D, x, fake, D.dropout)

    options = {"steps": STEPS, "ema": 0.9} | options
    history = train(
        G, D, Minibatches(rows), Uniform(-1.0, 1.0, features=3), batch=BATCH, d_loss=d_loss,
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
    processes: Processes | None, dropout: bool = False, **options: Any
) -> tuple[History, Ensemble, Ensemble]:
    """Train one GAN with R1, each process on a share of the rows."""
    G = Ensemble(lambda: mlp(2, 16, 4), 1, name="G", device="cpu")
    D = Ensemble(with_dropout if dropout else lambda: mlp(4, 16, 1), 1, name="D", device="cpu")

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return minimax_d(D(x), D(G(z).detach())) + 0.5 * r1(D, x)

    options = {"steps": STEPS, "ema": 0.9} | options
    history = train(
        G, D, lambda seeds, batch, rng: rng.normal(seeds, batch, 4) + 2, Uniform(-1.0, 1.0, features=2),
        batch=BATCH, d_loss=d_loss, g_loss=lambda G, D, x, z: non_saturating_g(D(G(z))),
        d_opt=adam(D, 1e-3), g_opt=adam(G, 1e-3), processes=processes, **options,
    )  # fmt: skip
    return history, G, D


def batch(processes: Processes) -> Run:
    """Split the batch."""
    return told(*of_batch(processes))


def batch_with_dropout(processes: Processes) -> Run:
    """Split the batch of a discriminator with dropout."""
    return told(*of_batch(processes, dropout=True))


def leaky() -> nn.Module:
    """Return a network with two hidden layers of 64."""
    return mlp(1, 64, 64, 1, activation=lambda: nn.LeakyReLU(0.2))


def lively(share: Share, precision: torch.dtype) -> Tensor:
    """Return the losses of a game that amplifies roundings, ``(steps, members)``."""
    G, D = (Ensemble(leaky, share, name=name, seed=1_000, device="cpu") for name in "GD")

    def exactly(sampler: Sampler) -> Sampler:
        return lambda seeds, batch, rng: sampler(seeds, batch, rng).to(precision)

    G.to(precision)
    D.to(precision)
    history = train(
        G, D, exactly(Normal(4.0, 1.25)), exactly(Uniform(0.0, 1.0)), steps=300, batch=64, seed=1_000,
        d_loss=lambda G, D, x, z: hinge_d(*D(x, G(z).detach())), d_opt=adam(D, 1.2e-3, (0.5, 0.999)),
        g_loss=lambda G, D, x, z: wasserstein_g(D(G(z))), g_opt=adam(G, 5.5e-4, (0.5, 0.999)),
        turns=Turns(d_steps=5),
    )  # fmt: skip
    return history.g_loss


def _checkpointed(processes: Processes, task: str, end: Any = None) -> Run:
    """Train with a checkpoint in the folder; ``end`` is called in the last process after step 37."""
    file = Path(sys.argv[1]) / "run.safetensors"
    options = {"checkpoint": Checkpointing(file, every=10)}

    def step_made(record: Record) -> None:
        made(record)
        if record.made == 37 and end is not None and processes.rank == processes.count - 1:
            end()

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


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_batch(processes: Processes) -> Run:
    """Split the batch until one process is killed."""
    return _checkpointed(processes, "batch", _die)


def killed_members(processes: Processes) -> Run:
    """Share the members out until one process is killed."""
    return _checkpointed(processes, "members", _die)


def stalled(processes: Processes) -> Run:
    """Split the batch until one process stands still."""
    return _checkpointed(processes, "batch", lambda: time.sleep(3600))


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
    with joined(float(os.environ.get("WAIT", "60"))) as processes:
        for task in tasks:
            found = globals()[task](processes)
            if processes.is_first:
                torch.save(found, Path(folder) / f"{task}.pt")


if __name__ == "__main__":
    main()

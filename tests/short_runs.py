"""The recipes of the chapters, cut to a few steps, and all that is left of a run."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._pytree import keystr, tree_leaves_with_path

from gan_helpers import training
from gan_helpers.data import Normal
from gan_helpers.ensemble import Ensemble
from gan_helpers.history import History
from gan_helpers.interrupts import Stop
from gan_helpers.losses import minimax_d, non_saturating_g
from gan_helpers.models import mlp
from gan_helpers.options import Watch
from gan_helpers.recipes import Recipe, every
from gan_helpers.training import adam, train

STEPS = 4
SEEDS = 2


def short(name: str, seeds: int = SEEDS, seed: int = 0) -> Recipe:
    """Return a recipe that learns from 300 rows, which are more than a batch of 256 and less than two."""
    return every()[name](seeds, seed, rows=300, device="cpu")


#: The recipes on the common loop; one that is *changed*, without a change, is the original again.
RECIPES = [
    name
    for name in every()
    if not name.endswith(".changed") and type(r := short(name)) is Recipe and r.backend == "gan_helpers"
]


def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    return minimax_d(D(x), D(G(z).detach()))


def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    return non_saturating_g(D(G(z)))


def small(**changes: Any) -> Recipe:
    """Return a recipe whose networks are small, or one that differs from it."""
    settings = {
        "G": lambda: nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Linear(2, 1)),
        "D": lambda: mlp(1, 2, 1), "data": Normal(4.0, 1.25), "noise": Normal(0.0, 1.0), "d_loss": d_loss,
        "g_loss": g_loss, "d_opt": lambda D: adam(D, 1e-3), "g_opt": lambda G: adam(G, 1e-3), "steps": STEPS,
        "batch": 3, "options": {}, **changes,
    }  # fmt: skip
    return Recipe(**settings)


def spread(G: Ensemble) -> dict[str, Tensor]:
    """Watch one number for each seed."""
    return {"spread": torch.stack([p.flatten(1).std(1, correction=0) for p in G.parameters()]).sum(0)}


def moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return all numbers that an optimiser keeps."""
    leaves = tree_leaves_with_path(optimiser.state_dict())
    return {keystr(k): torch.as_tensor(v) for k, v in leaves if isinstance(v, Tensor | int | float)}


@dataclass
class Run:
    """Players that have just been made, with all that a training needs; ``train`` trains them."""

    recipe: Recipe
    seeds: int
    seed: int = 0

    def __post_init__(self) -> None:
        self.G, self.D = self.recipe.networks(self.seeds, seed=self.seed, device="cpu")
        self.d_opt, self.g_opt = self.recipe.d_opt(self.D), self.recipe.g_opt(self.G)

    @classmethod
    def of(cls, name: str, seed: int = 0) -> Run:
        return cls(short(name), SEEDS, seed)

    def train(self, steps: int = STEPS, **options: Any) -> History:
        r = self.recipe
        settings = {
            "batch": r.batch, "steps": steps, "seed": self.seed, "ema": 0.9, "watch": Watch(spread, every=2),
            "progress": False,
        }  # fmt: skip
        self.history = train(
            self.G, self.D, r.data, r.noise, d_loss=r.d_loss, g_loss=r.g_loss, d_opt=self.d_opt,
            g_opt=self.g_opt, **(settings | r.options | options),
        )  # fmt: skip
        return self.history

    def left(self) -> dict[str, Tensor]:
        """Return all that is left of the training, read without the means of checkpoints."""
        h = self.history
        networks = {"G": self.G, "D": self.D} | ({} if h.averaged is None else {"average": h.averaged})
        found = {f"{n}.{key}": v for n, net in networks.items() for key, v in net.state_dict().items()}
        for name, network in networks.items():
            found[f"{name}.dropout"] = network.dropout.generator.get_state()
        for name, optimiser in (("d_opt", self.d_opt), ("g_opt", self.g_opt)):
            found |= {f"{name}{key}": value for key, value in moments(optimiser).items()}
        found |= {"d_loss": h.d_loss, "g_loss": h.g_loss, "at": h.at, "failed": h.failed, **h.watched}
        found["interrupted"] = torch.tensor(h.interrupted)
        return found


def differing(ones: dict[str, Tensor], others: dict[str, Tensor]) -> list[str]:
    """Return the names under which two runs are not equal to the last bit."""
    names = [*ones, *(name for name in others if name not in ones)]
    return [n for n in names if n not in ones or n not in others or not torch.equal(ones[n], others[n])]


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors.items()}


def digest(tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of tensors, names included."""
    found = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


@contextmanager
def stopped_after(steps: int) -> Iterator[None]:
    """Let trainings end after some steps, as Ctrl-C would end them."""

    @contextmanager
    def interrupts() -> Iterator[Stop]:
        stop, left = Stop(), iter([*[False] * (steps - 1), True])
        stop.note(signal.SIGINT)
        with patch.object(stop, "is_set", lambda: next(left, False)):
            yield stop

    with patch.object(training, "interrupts", interrupts):
        yield

"""Recipes of which one player alone learns: generators without a critic, and critics of what stands still.

There are no turns to take, so the loop is a few lines. Its streams of data and noise are those of
`gan_helpers.training.train`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.lr_scheduler import LinearLR

from gan_helpers import _checks
from gan_helpers.ensemble import Ensemble
from gan_helpers.history import History
from gan_helpers.options import Look, Watch
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe
from gan_helpers.recording import Looks


@dataclass(frozen=True, kw_only=True)
class Solo(Recipe):
    """A recipe of which one player alone learns, and the other stays as it is.

    Args:
        learner: which one, ``"G"`` or ``"D"``.
        shrinking: whether its steps shrink to nothing, evenly; otherwise they stay as they are.

    Raises:
        ValueError: if there is no such player.
    """

    learner: str
    shrinking: bool = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.learner not in ("G", "D"):
            raise ValueError(f'learner must be "G" or "D", not {self.learner!r}.')

    def train(self, G: Ensemble, D: Ensemble, seed: int | None = None, **options: Any) -> History:
        """Train one player by its loss.

        Args:
            G: the generators.
            D: the discriminators.
            seed: the seed of data and noise; `gan_helpers.randomness.base_seed` unless given.
            options: ``steps`` and ``watch``, as for `gan_helpers.training.train`.

        Returns:
            The record of the run; the losses of the player that does not learn are empty, ``(0, seeds)``.
        """
        return _learn(self, G, D, seed, **options)


def _learn(
    recipe: Solo,
    G: Ensemble,
    D: Ensemble,
    seed: int | None,
    steps: int | None = None,
    watch: Watch | Look | None = None,
) -> History:
    """Train the learner of a recipe."""
    steps = _checks.whole("steps", recipe.steps if steps is None else steps)
    of_g = recipe.learner == "G"
    optimiser = recipe.g_opt(G) if of_g else recipe.d_opt(D)
    shrink = LinearLR(optimiser, 1.0, 0.0, total_iters=steps) if recipe.shrinking else None
    device = next((G if of_g else D).parameters()).device
    data, noise = Stream("data", seed, device), Stream("noise", seed, device)
    losses, looks = [], Looks(Watch.of(watch))
    if looks.due(0, last=False):
        looks.take(0, G)
    for step in range(1, steps + 1):
        x, z = recipe.data(G.seeds, recipe.batch, data), recipe.noise(G.seeds, recipe.batch, noise)
        loss = (recipe.g_loss if of_g else recipe.d_loss)(G, D, x, z)
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
        if shrink is not None:
            shrink.step()
        losses.append(loss.detach())
        if looks.due(step, last=step == steps):
            looks.take(step, G)
    learned, idle = torch.stack(losses), torch.empty(0, G.seeds)
    d_loss, g_loss = (idle, learned) if of_g else (learned, idle)
    return History(d_loss, g_loss, at=torch.tensor(looks.at), watched=looks.by_name())

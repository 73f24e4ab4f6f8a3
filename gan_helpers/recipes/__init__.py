"""The recipes of the chapters: what each source did, and what repairs it.

A chapter writes its recipe out where it teaches it. Calibration, benchmarks and tests take the same recipe
from here; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from gan_helpers.data import Sampler
from gan_helpers.ensemble import Ensemble
from gan_helpers.history import History
from gan_helpers.training import Loss, train


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run, but for the number of seeds and the base seed.

    Args:
        G: makes one generator.
        D: makes one discriminator.
        data: draws real samples.
        noise: draws the generators' input.
        d_loss: what D descends.
        g_loss: what G descends.
        d_opt: makes D's optimiser.
        g_opt: makes G's optimiser.
        steps: how many steps the recipe takes.
        batch: samples per seed and update.
        options: further options of `gan_helpers.training.train`.
    """

    G: Callable[[], nn.Module]
    D: Callable[[], nn.Module]
    data: Sampler
    noise: Sampler
    d_loss: Loss
    g_loss: Loss
    d_opt: Callable[[Ensemble], Optimizer]
    g_opt: Callable[[Ensemble], Optimizer]
    steps: int
    batch: int
    options: dict[str, Any]

    def networks(
        self, seeds: int, seed: int | None = None, device: str | None = None
    ) -> tuple[Ensemble, Ensemble]:
        """Return fresh generators and discriminators.

        Args:
            seeds: the number of members of each.
            seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
            device: where they live; `gan_helpers.device.default_device` unless given.
        """
        return (
            Ensemble(self.G, seeds, name="G", seed=seed, device=device),
            Ensemble(self.D, seeds, name="D", seed=seed, device=device),
        )

    def train(self, G: Ensemble, D: Ensemble, seed: int | None = None, **options: Any) -> History:
        """Train networks by this recipe.

        Args:
            G: the generators.
            D: the discriminators.
            seed: the seed of data and noise; `gan_helpers.randomness.base_seed` unless given.
            options: options of `gan_helpers.training.train` that go before the recipe's own.
        """
        fixed = {"steps": self.steps, "batch": self.batch, **self.options}
        return train(
            G,
            D,
            self.data,
            self.noise,
            d_loss=self.d_loss,
            g_loss=self.g_loss,
            d_opt=self.d_opt(D),
            g_opt=self.g_opt(G),
            seed=seed,
            **(fixed | options),
        )

r"""Progressive growing: networks that learn images of 7 by 7 pixels first, then 14 by 14, then 28 by 28.

The idea is that of Karras et al. (2018). The networks are those of the chapter on convolutions, with a way
out to pixels, and in from them, at each size. Data and fakes stay rows of 784 pixels all along: fakes are
enlarged, and D looks at means over blocks of pixels. So losses, penalties and judges need not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_helpers import mnist
from gan_helpers.ensemble import Ensemble
from gan_helpers.recipes import Recipe, bundled_digits, convolutions
from gan_helpers.recipes.convolutions import NOISE, PIXELS, doubled, halved, judged, multiplications, started
from gan_helpers.tables import Columns, Table

CHANNELS = (32, 16, 8)  # of 7 by 7, 14 by 14 and 28 by 28 pixels
FULL = len(CHANNELS) - 1  # how often a side of 7 is doubled
SHORT = 500  # steps at full size whose multiplications a run gets
inputs = bundled_digits


@dataclass
class Growth:
    """How large images are by now. It is one for both players and for all copies of them.

    Args:
        size: how often a side of 7 pixels has been doubled; 0.3 is on the way from 7 to 14.
    """

    size: float = FULL

    def __deepcopy__(self, memo: dict[int, Any]) -> Growth:
        """Return itself: the copies of a network grow with it."""
        return self

    def now(self) -> tuple[int, float]:
        """Return the size that is there already, and the share of the next one."""
        level = min(int(self.size), FULL)
        return level, self.size - level


def enlarged(images: Tensor, times: int = 1) -> Tensor:
    """Return images with each pixel four times, as often as told.

    Args:
        images: ``(..., height, width)``.
        times: how often each side is doubled.
    """
    return images.repeat_interleave(2**times, -1).repeat_interleave(2**times, -2)


def reduced(images: Tensor, times: int = 1) -> Tensor:
    """Return the means over blocks of pixels.

    Args:
        images: ``(..., height, width)``.
        times: how often each side is halved.
    """
    block = 2**times
    means: Tensor = images.unflatten(-1, (-1, block)).mean(-1).unflatten(-2, (-1, block)).mean(-2)
    return means


class Generator(nn.Module):
    """A generator that makes images as large as it has grown, and enlarges them to rows of 784 pixels.

    Args:
        growth: how large they are.
    """

    def __init__(self, growth: Growth) -> None:
        """Build layers for all sizes."""
        super().__init__()
        self.growth = growth
        small = CHANNELS[0]
        first = [nn.Linear(NOISE.features, small * 49), nn.Unflatten(-1, (small, 7, 7))]
        steps = [first, *(doubled(a, b) for a, b in zip(CHANNELS, CHANNELS[1:], strict=False))]
        self.sizes = nn.ModuleList(
            nn.Sequential(*layers, nn.BatchNorm2d(c), nn.ReLU())
            for layers, c in zip(steps, CHANNELS, strict=True)
        )
        self.grey = nn.ModuleList(nn.Conv2d(c, 1, 1) for c in CHANNELS)
        started(self)

    def forward(self, z: Tensor) -> Tensor:
        """Return images, ``(..., 784)``, from -1 to 1."""
        level, share = self.growth.now()
        for layers in self.sizes[: level + 1]:
            z = layers(z)
        image = self.grey[level](z)
        if share:
            finer = self.grey[level + 1](self.sizes[level + 1](z))
            image = torch.lerp(enlarged(image), finer, share)
            level += 1
        return enlarged(image.tanh(), FULL - level).flatten(-3)


class Discriminator(nn.Module):
    """A discriminator that looks at rows of 784 pixels as finely as it has grown.

    Args:
        growth: how finely.
    """

    def __init__(self, growth: Growth) -> None:
        """Build layers for all sizes."""
        super().__init__()
        self.growth = growth
        self.grey = nn.ModuleList(nn.Sequential(nn.Conv2d(1, c, 1), nn.LeakyReLU(0.2)) for c in CHANNELS)
        self.halves = nn.ModuleList(
            nn.Sequential(*halved(a, b), nn.LeakyReLU(0.2))
            for b, a in zip(CHANNELS, CHANNELS[1:], strict=False)
        )
        self.last = nn.Sequential(nn.Flatten(1), nn.Linear(CHANNELS[0] * 49, 1))
        started(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, ``(..., 1)``."""
        level, share = self.growth.now()
        x = x.unflatten(-1, (1, mnist.SIDE, mnist.SIDE))
        found = self.grey[level](reduced(x, FULL - level))
        if share:
            finer = self.grey[level + 1](reduced(x, FULL - level - 1))
            found = torch.lerp(found, self.halves[level](finer), share)
        for halve in reversed(self.halves[:level]):
            found = halve(found)
        logits: Tensor = self.last(found)
        return logits


# When it grows


def size_after(taken: int, phases: Sequence[int]) -> float:
    """Return how large images are after some steps: they stay, grow to the next size, stay, and so on.

    Args:
        taken: steps.
        phases: how many steps each of the five phases takes.
    """
    for phase, (steps, end) in enumerate(zip(phases, accumulate(phases), strict=True)):
        if taken < end:
            return phase // 2 + (phase % 2) * (1 - (end - taken) / steps)
    return FULL


def growing(optimiser: Optimizer, growth: Growth, phases: Sequence[int]) -> Optimizer:
    """Return G's optimiser itself, whose steps from now on make images grow. A checkpoint keeps how far.

    Args:
        optimiser: that of G, which moves last in a step.
        growth: what grows.
        phases: how many steps each phase takes.
    """

    def grow(optimiser: Optimizer, *_: Any) -> None:
        growth.size = size_after(optimiser.param_groups[0]["taken"], phases)

    def count(optimiser: Optimizer, *_: Any) -> None:
        optimiser.param_groups[0]["taken"] += 1
        grow(optimiser)

    optimiser.param_groups[0]["taken"] = 0
    optimiser.register_step_post_hook(count)
    optimiser.register_load_state_dict_post_hook(grow)
    optimiser.defaults["grows over"] = tuple(phases)  # by which a checkpoint knows the run
    grow(optimiser)
    return optimiser


def costs() -> list[int]:
    """Return how often G and D multiply for one sample in each phase."""
    growth = Growth()
    found = []
    with torch.device("meta"):  # counting takes no numbers, and no random ones from the caller's stream
        for phase in range(2 * FULL + 1):
            growth.size = phase / 2  # half-way, where it grows
            networks = ((Generator(growth), NOISE.features), (Discriminator(growth), PIXELS))
            found.append(sum(multiplications(network, features) for network, features in networks))
    return found


def equal_phases(steps: int) -> list[int]:
    """Return five phases that multiply equally often, and together as often as steps at full size.

    Counted is one way forward through G and D, as `costs` says. Over whole steps, with all gradients, the
    first phase gets less.

    Args:
        steps: how many.
    """
    every = costs()
    return [round(steps * every[-1] / len(every) / cost) for cost in every]


def changed(images: Tensor, grows: bool = True, steps: int = SHORT) -> Recipe:
    """Return the repaired recipe of the chapter with networks that grow, or with the same at full size.

    Args:
        images: the real images, ``(n, 784)``, from 0 to 1.
        grows: whether they grow, or are at full size from the start.
        steps: of full size, whose multiplications it takes.
    """
    growth, phases = Growth(), equal_phases(steps) if grows else [steps]
    G, D = partial(Generator, growth), partial(Discriminator, growth)
    recipe = convolutions.repaired(images, G=G, D=D, steps=sum(phases))
    if not grows:
        return recipe
    return replace(recipe, g_opt=lambda G: growing(recipe.g_opt(G), growth, phases))


def usual(images: Tensor, steps: int = SHORT) -> Recipe:
    """Return the repaired recipe of the chapter with its own networks.

    Args:
        images: the real images, ``(n, 784)``, from 0 to 1.
        steps: of the networks above at full size, whose multiplications it takes.
    """
    with torch.device("meta"):
        G, D = convolutions.generator(), convolutions.discriminator(norm=False)
        cost = multiplications(G, NOISE.features) + multiplications(D, PIXELS)
    return convolutions.repaired(images, steps=round(steps * costs()[-1] / cost))


VARIANTS: dict[str, Callable[..., Recipe]] = {
    "grown": changed,
    "full": partial(changed, grows=False),
    "usual": usual,
}


def compared(steps: int, seeds: int, seed: int) -> Columns:
    """Train by all `VARIANTS`, from the same seeds, with as many multiplications on the way forward.

    Args:
        steps: at full size, whose multiplications on the way forward all take.
        seeds: how many runs of each.
        seed: the base seed.

    Returns:
        What `convolutions.judged` says, by names such as ``"frechet_grown"``.
    """
    found: Columns = {}
    for name, make in VARIANTS.items():
        recipe = make(*inputs(seeds), steps=steps)
        G: Ensemble
        G, D = recipe.networks(seeds, seed=seed)
        recipe.train(G, D, seed=seed).require_whole()
        found |= {f"{key}_{name}": values for key, values in judged(G, seed).items()}
    return found


TABLES = {"short": Table(partial(compared, SHORT), 8, ensemble=1)}

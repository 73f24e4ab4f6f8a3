"""What a chapter's recipe says of itself: steps, batch, dropout, and the arithmetic of its networks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from benchmarks import chapters
from benchmarks.arithmetic import Arithmetic
from benchmarks.entrants import ours
from gan_helpers.recipes import Recipe


@dataclass(frozen=True)
class Facts:
    """What is read off a recipe.

    Args:
        steps: how many steps it takes.
        batch: samples of each seed in a step.
        dropout: the share of hidden units that D leaves out.
        flop: the operations of one step of one GAN.
    """

    steps: int
    batch: int
    dropout: float
    flop: int

    def stored(self) -> dict[str, Any]:
        """Return it as it is kept with the results."""
        return asdict(self)


@cache
def facts(name: str) -> Facts:
    """Return what the recipe of a chapter says of itself."""
    recipe = chapters.load(name).recipe(1, 0)
    return Facts(recipe.steps, recipe.batch, ours.dropout(recipe), arithmetic(name, recipe).flop)


def arithmetic(name: str, recipe: Recipe) -> Arithmetic:
    """Return the sizes of a recipe's step."""
    G, D = (ours.arrays(network) for network in recipe.networks(1, seed=0))
    maps = [tuple(w.shape[:0:-1] for w in weights if w.ndim == 3) for weights in (G, D)]
    return Arithmetic(
        *maps,
        fakes=recipe.batch,
        judged=1 if chapters.benchmark(name).whole_batches else recipe.batch,
        fresh_fakes=ours.turns(recipe).fresh_noise,
        judged_anew=not ours.turns(recipe).simultaneous or ours.dropout(recipe) > 0,
        trains_inputs=G[0].ndim != 3,
    )

"""What a chapter's recipe says of itself: steps, batch, dropout, and the arithmetic of its networks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from torch import Tensor, nn

from benchmarks import chapters
from benchmarks.arithmetic import Arithmetic, Maps
from benchmarks.entrants import ours
from gan_helpers import Stream
from gan_helpers.data import Sampler
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
    module = chapters.load(name)
    recipe = module.recipe(1, 0)
    flop = module.flop() if hasattr(module, "flop") else arithmetic(name, recipe).flop
    return Facts(recipe.steps, recipe.batch, ours.dropout(recipe), flop)


def arithmetic(name: str, recipe: Recipe) -> Arithmetic:
    """Return the sizes of a recipe's step."""
    networks = recipe.networks(1, seed=0)
    G = ours.arrays(networks[0])
    return Arithmetic(
        *map(maps, networks, (recipe.noise, recipe.data)),
        fakes=recipe.batch,
        judged=1 if chapters.benchmark(name).whole_batches else recipe.batch,
        fresh_fakes=ours.turns(recipe).fresh_noise,
        judged_anew=not ours.turns(recipe).simultaneous or ours.dropout(recipe) > 0,
        trains_inputs=G[0].ndim != 3,
    )


def maps(network: Any, inputs: Sampler) -> Maps:
    """Return the sizes of a network's linear maps; a convolution multiplies at each of its places."""
    pixels: list[int] = []

    def count(layer: nn.Module, x: tuple[Tensor], y: Tensor) -> None:
        pixels.append((x[0] if isinstance(layer, nn.ConvTranspose2d) else y)[0, 0].numel())

    weights = [w for w in ours.arrays(network) if w.ndim in (3, 5)]
    if any(w.ndim == 5 for w in weights):
        alone = network.member(0)
        for layer in alone.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.register_forward_hook(count)
        alone(inputs(1, 2, Stream("pixels", 0))[0])
    left = iter(pixels)
    return tuple(w.shape[:0:-1] if w.ndim == 3 else (next(left) * w[0, 0].size, w.shape[1]) for w in weights)

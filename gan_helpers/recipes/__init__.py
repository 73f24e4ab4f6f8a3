"""The recipes of the chapters: what each source did, and what repairs it.

A chapter writes its recipe out where it teaches it. Calibration, benchmarks and tests take the same recipe
from here; a test holds the two together.

The module of a chapter has functions that return a `Recipe`, first of all ``original``. They take what they
learn from, if they cannot draw it; the module's ``inputs(seeds, seed, rows, device)`` returns it.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

from torch import Tensor

from gan_helpers import mnist
from gan_helpers.data import Sampler
from gan_helpers.history import History
from gan_helpers.shares import Share
from gan_helpers.tables import Columns

Made = TypeVar("Made")  # a recipe as a rule


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
        options: further options of the backend's ``train``.
        start: how first weights are drawn, if not as usual: further options of the players' ensembles, such
            as ``{"D": {"sd": 0.2}}``.
        backend: the module whose ``Ensemble`` and ``train`` are used.
    """

    G: Callable[[], Any]
    D: Callable[[], Any]
    data: Sampler
    noise: Sampler
    d_loss: Callable[[Any, Any, Any, Any], Any]
    g_loss: Callable[[Any, Any, Any, Any], Any]
    d_opt: Callable[[Any], Any]
    g_opt: Callable[[Any], Any]
    steps: int
    batch: int
    options: dict[str, Any] = field(default_factory=dict)
    start: dict[str, dict[str, Any]] = field(default_factory=dict)
    backend: str = "gan_helpers"

    def networks(self, seeds: int | Share, seed: int | None = None, device: Any = None) -> tuple[Any, Any]:
        """Return fresh generators and discriminators.

        Args:
            seeds: the number of members of each, or a share of them.
            seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
            device: where they live; the backend's ``default_device`` unless given.
        """
        ensemble = import_module(self.backend).Ensemble
        G, D = (
            ensemble(make, seeds, name=name, seed=seed, device=device, **self.start.get(name, {}))
            for name, make in (("G", self.G), ("D", self.D))
        )
        return G, D

    def train(self, G: Any, D: Any, seed: int | None = None, **options: Any) -> History:
        """Train networks by this recipe.

        Args:
            G: the generators.
            D: the discriminators.
            seed: the seed of data and noise; `gan_helpers.randomness.base_seed` unless given.
            options: options of the backend's ``train`` that go before the recipe's own.
        """
        fixed = {"steps": self.steps, "batch": self.batch, **self.options}
        history: History = import_module(self.backend).train(
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
        return history


def trained(recipe: Recipe, seeds: int, seed: int | None = None) -> Any:
    """Return generators that a recipe has trained to its end, all of them whole.

    Args:
        recipe: what trains them.
        seeds: how many.
        seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
    """
    G, D = recipe.networks(seeds, seed=seed)
    recipe.train(G, D, seed=seed).require_whole()
    return G


def combinations(changes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return which changes are made where a repair is taken apart: none, all, each alone, each left out.

    Args:
        changes: their names.

    Returns:
        The changes by the names ``"none"``, ``"all"``, ``"only_r1"`` and ``"without_r1"`` for one called r1.
    """
    alone = {f"only_{name}": (name,) for name in changes}
    left_out = {f"without_{name}": tuple(other for other in changes if other != name) for name in changes}
    return {"none": (), **alone, **left_out, "all": tuple(changes)}


def taken_apart(
    recipe: Callable[..., Made],
    changes: Sequence[str],
    measured: Callable[[Made, int, int], Columns],
) -> Callable[[int, int], Columns]:
    """Return what a table of a repair taken apart runs: all `combinations`, each from the same seeds.

    Args:
        recipe: makes the recipe with the changes that are named, ``recipe("r1", "beta1")``.
        changes: all names.
        measured: trains by a recipe ``seeds`` members from a base seed, and returns what came out.

    Returns:
        ``run(seeds, seed)``, whose columns are called ``"w1_only_r1"`` for a measure ``w1``.
    """

    def run(seeds: int, seed: int) -> Columns:
        return {
            f"{measure}_{name}": values
            for name, made in combinations(changes).items()
            for measure, values in measured(recipe(*made), seeds, seed).items()
        }

    return run


def bundled_digits(
    seeds: int, seed: int | None = None, rows: int | None = None, device: str | None = None
) -> tuple[Tensor]:
    """Return the package's training digits, ``(rows, 784)``: what the recipes of digits learn from.

    Args:
        seeds: how many runs; it does not matter here.
        seed: the base seed; nor does this.
        rows: how many images; all unless given.
        device: where they live; `gan_helpers.device.default_device` unless given.
    """
    return (mnist.load(device=device).train.images[:rows],)


def full_digits(n: int) -> mnist.Mnist:
    """Return digits of the full set: the first ``n`` of its 60,000 to learn from, and its 10,000 others.

    Args:
        n: how many a source learned from.

    Raises:
        FileNotFoundError: if the full set can't be had.
    """
    digits = mnist.load(full=True)
    if len(digits.train) < n:
        raise FileNotFoundError("This takes the full set of digits, which can't be had here.")
    return mnist.Mnist(digits.train[:n], digits.test)


def collected(kind: str) -> dict[str, Any]:
    """Return what the modules of all chapters have of a kind, by names such as ``"fifty_lines_original"``.

    Args:
        kind: what a module calls it: ``"TABLES"``, ``"SNAPSHOTS"`` or ``"ALBUMS"``.
    """
    return {
        f"{found.name}_{key}": one
        for found in pkgutil.iter_modules(__path__)
        for key, one in getattr(import_module(f"{__name__}.{found.name}"), kind, {}).items()
    }


def every() -> dict[str, Callable[..., Recipe]]:
    """Return what makes the recipes of all chapters, by names such as ``"fifty_lines.original"``.

    Returns:
        Functions ``make(seeds, seed=None, rows=None, device=None, **changes) -> Recipe``. They make the
        inputs for so many seeds, ``rows`` of them or as many as the source has, and hand on the ``changes``.
    """
    modules = [import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    return {
        f"{module.__name__.rpartition('.')[2]}.{name}": partial(_made, module, make)
        for module in modules
        for name, make in vars(module).items()
        if not name.startswith("_")
        and inspect.isfunction(make)
        and make.__annotations__.get("return") == "Recipe"
    }


def _made(
    module: ModuleType,
    make: Callable[..., Recipe],
    seeds: int,
    seed: int | None = None,
    rows: int | None = None,
    device: Any = None,
    **changes: Any,
) -> Recipe:
    """Return a recipe with the inputs of its module, if it has any."""
    inputs = module.inputs(seeds, seed, rows, device) if hasattr(module, "inputs") else ()
    return make(*inputs, **changes)

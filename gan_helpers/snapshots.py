"""What generators on the line had made on the way, stored for figures with sliders: see CONTRIBUTING.md.

``python -m gan_helpers.snapshots NAME`` trains all recipes of a series and stores what came out in a file of
the package. The notebook draws one place of it; in the built pages, the reader moves about in all of it. A
recipe module says in its ``SNAPSHOTS`` what there is; ``"rounds"`` of ``fifty_lines`` is called
``fifty_lines_rounds``.

Raises:
    OSError: if the file cannot be read or written.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_helpers import _checks, metrics, recipes
from gan_helpers.ensemble import Ensemble
from gan_helpers.files import write_whole
from gan_helpers.options import Watch
from gan_helpers.recipes import Recipe
from gan_helpers.tables import FIRST_SEED, FOLDER

LEVELS = 2**16 - 1  # of a stored quantile
POINTS = 101  # at which the density of the data is stored, evenly spaced over the picture
WIDER = 1.0  # how far beyond the picture quantiles are kept, in widths of it; the rest lies at the ends


@dataclass(frozen=True)
class Series:
    """What a file of snapshots holds.

    Args:
        recipes: the recipes, by the words that the reader chooses them by. Their data are on the line, with
            ``density`` and ``quantile``.
        rounds: the steps at which there is a snapshot, in order, beginning with 0; of a recipe that takes
            fewer, those that it comes to.
        samples: what generators make, sorted or not, ``(seeds, n)``.
        view: the part of the line that is shown.
        bound: a distance W1 to compare with, and what it belongs to, such as ``("the block", 0.193)``.
        start: the place that is shown at first: the words of a recipe, the steps and the seed.
        seeds: how many runs of each recipe, from the same base seed.
        quantiles: how many numbers are kept of a generator: quantiles at (i - 1/2) / n for i from 1 to n.
    """

    recipes: Mapping[str, Recipe]
    rounds: tuple[int, ...]
    samples: Callable[[Ensemble], Tensor]
    view: tuple[float, float]
    bound: tuple[str, float]
    start: tuple[str, int, int]
    seeds: int = 16
    quantiles: int = 32

    def taken(self, recipe: Recipe) -> dict[str, Tensor]:
        """Train by a recipe, and return what there was at each of the rounds that it comes to.

        Args:
            recipe: the recipe.

        Returns:
            ``"quantiles"``, ``(rounds, seeds, quantiles)``, and ``"w1"``, ``(rounds, seeds)``.
        """
        at = (torch.arange(self.quantiles, dtype=torch.float64) + 0.5) / self.quantiles

        def look(G: Ensemble) -> dict[str, Tensor]:
            made = self.samples(G).double()
            kept = made.quantile(at.to(made.device), dim=1).T
            return {"quantiles": kept, "w1": metrics.w1(made, recipe.data)}  # type: ignore[arg-type]

        G, D = recipe.networks(self.seeds, seed=FIRST_SEED)
        rounds = [step for step in self.rounds if step <= recipe.steps]
        watch = Watch(look, every=math.gcd(*self.rounds))
        history = recipe.train(G, D, seed=FIRST_SEED, steps=rounds[-1], watch=watch).require_whole()
        kept = [i for i, step in enumerate(history.at.tolist()) if step in rounds]
        return {name: values[kept].cpu() for name, values in history.watched.items()}

    def written(self, taken: Mapping[str, Mapping[str, Tensor]]) -> str:
        """Return the text of the file: JSON with a line for each part.

        Args:
            taken: what `taken` returned of each recipe, by its words.
        """
        low, high = self.view
        reach = low - WIDER * (high - low), high + WIDER * (high - low)
        law: Any = next(iter(self.recipes.values())).data
        x = torch.linspace(low, high, POINTS, dtype=torch.float64).unsqueeze(1)
        w1 = [found["w1"].double().round(decimals=3) for found in taken.values()]
        content = {
            "choices": list(taken),
            "rounds": self.rounds,
            "seeds": self.seeds,
            "quantiles": self.quantiles,
            "view": self.view,
            "bound": self.bound,
            "start": self.start,
            "real": _rounded(law.density(x).flatten()),
            "w1": [values.tolist() for values in w1],
            "median": [_rounded(values.quantile(0.5, dim=1)) for values in w1],
            "within": [(values < self.bound[1]).sum(1).tolist() for values in w1],
            "reach": reach,
            "curves": [_packed(found["quantiles"], *reach) for found in taken.values()],
        }
        lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
        return "{\n" + ",\n".join(lines) + "\n}\n"


@dataclass(frozen=True)
class Snapshots:
    """What was stored of a series; `snapshots` reads it.

    Args:
        choices: the recipes in words.
        rounds: the steps at which there is a snapshot.
        quantiles: for each recipe, what its generators make, sorted, ``(rounds, seeds, n)``: the quantiles at
            (i - 1/2) / n.
        w1: their distances from the data, from all that was measured, each ``(rounds, seeds)``.
    """

    choices: tuple[str, ...]
    rounds: tuple[int, ...]
    quantiles: tuple[Tensor, ...]
    w1: tuple[Tensor, ...]

    def at(self, choice: str, rounds: int) -> tuple[Tensor, Tensor]:
        """Return one place: the quantiles, ``(seeds, n)``, and the distances, ``(seeds,)``.

        Args:
            choice: the recipe, one of ``choices``.
            rounds: the steps, one of ``rounds``.

        Raises:
            ValueError: if it is not there.
        """
        _known("choice", choice, self.choices)
        place = self.choices.index(choice)
        _known("rounds", rounds, self.rounds[: len(self.w1[place])])
        step = self.rounds.index(rounds)
        return self.quantiles[place][step], self.w1[place][step]


def snapshots(name: str) -> Snapshots:
    """Return what is stored under a name.

    Args:
        name: such as ``"fifty_lines_rounds"``.

    Raises:
        TypeError: if ``name`` is no string.
        ValueError: if there is no such file.
    """
    path = FOLDER / f"{_checks.text('name', name)}.json"
    _known("name", name, sorted(path.stem for path in FOLDER.glob("*.json")))
    content = json.loads(path.read_text(encoding="utf-8"))
    low, high = content["reach"]
    levels = (np.frombuffer(base64.b64decode(text), "<u2").astype(np.float64) for text in content["curves"])
    shape = -1, content["seeds"], content["quantiles"]
    return Snapshots(
        tuple(content["choices"]),
        tuple(content["rounds"]),
        tuple(low + (high - low) / LEVELS * torch.from_numpy(found).view(shape) for found in levels),
        tuple(torch.tensor(values, dtype=torch.float64) for values in content["w1"]),
    )


def _known(name: str, value: Any, known: Sequence[Any]) -> None:
    """Refuse what is not there.

    Raises:
        ValueError: if the value is none of those that are known.
    """
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, not {value!r}.")


def _rounded(values: Tensor) -> Any:
    """Return numbers as lists, with as many digits as are shown."""
    return values.double().round(decimals=3).tolist()


def _packed(quantiles: Tensor, low: float, high: float) -> str:
    """Return quantiles as whole numbers of two bytes, the lower one first, in base 64."""
    levels = ((quantiles.clamp(low, high) - low) / (high - low) * LEVELS).round()
    return base64.b64encode(levels.numpy().astype("<u2").tobytes()).decode("ascii")


def every() -> dict[str, Series]:
    """Return the series of all recipe modules by their names."""
    return recipes.collected("SNAPSHOTS")


def main() -> None:
    """Make the file that the command line asks for: anew after each recipe, so that ``--more`` can go on."""
    known = every()
    parser = argparse.ArgumentParser(prog="python -m gan_helpers.snapshots", description=__doc__)
    parser.add_argument("name", choices=sorted(known), help="which series")
    parser.add_argument("--more", action="store_true", help="keep what is stored, and make what is missing")
    args = parser.parse_args()
    series, taken = known[args.name], {}
    if args.more:
        stored = snapshots(args.name)
        for words, quantiles, w1 in zip(stored.choices, stored.quantiles, stored.w1, strict=True):
            taken[words] = {"quantiles": quantiles, "w1": w1}
    for words, recipe in series.recipes.items():
        if words not in taken:
            start = time.monotonic()
            taken[words] = series.taken(recipe)
            print(f"{words}: {time.monotonic() - start:.0f} s", flush=True)
        done = {one: taken[one] for one in series.recipes if one in taken}
        write_whole(FOLDER / f"{args.name}.json", series.written(done).encode())


if __name__ == "__main__":
    main()

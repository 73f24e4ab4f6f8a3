"""What was measured, as it is stored in `book/speed.json`, and the figures that are made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import chapters
from benchmarks.arithmetic import PRODUCT_FLOP
from benchmarks.environment import ROOT

STORED = ROOT / "book" / "speed.json"
Who = tuple[str, int]  # an entrant, and its number of seeds


class NotMeasured(LookupError):
    """A figure of something that has not been measured."""


@dataclass(frozen=True)
class Row:
    """What was measured of one process.

    Args:
        recipe: the recipe.
        entrant: who ran it, or "products".
        seeds: how many GANs at once.
        threads: on how many cores.
        turns: the seconds that one step of one GAN took, for each turn; all of a recipe and a number of
            threads took turns.
        start_up: the seconds until its first steps were done, less those of later ones: mostly compilation.
            Imports are not in it.
        peak_mb: the most memory that the process had, in MB.
    """

    recipe: str
    entrant: str
    seeds: int
    threads: int
    turns: list[float]
    start_up: float
    peak_mb: float

    @property
    def seconds(self) -> float:
        """The seconds that a step of one GAN took, the median over the turns."""
        return median(self.turns)


@dataclass(frozen=True)
class Busy:
    """What a step takes on a quiet machine, and beside one busy process for each core.

    Args:
        recipe: the recipe, trained by the package.
        seeds: how many GANs at once.
        threads: on how many threads.
        waiting: how threads wait for each other: "passive", or as they come.
        quiet: the seconds of a step of all seeds, for each turn.
        busy: the same, beside the busy processes.
    """

    recipe: str
    seeds: int
    threads: int
    waiting: str
    quiet: list[float]
    busy: list[float]

    @property
    def ratio(self) -> float:
        """How many times as long a step takes beside the others."""
        return median(self.busy) / median(self.quiet)


@dataclass
class Results:
    """All that was measured.

    Args:
        machine: what was measured on, and with which versions, by name.
        rows: one for each process.
        busy: each recipe on a quiet machine and beside busy processes.
        recipes: the `benchmarks.facts.Facts` of each recipe as it was measured.
        dates: when each recipe was measured, and what else there is.
        others: further figures by name, such as how long the book takes.
        checks: what was checked before.
    """

    machine: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    busy: list[Busy] = field(default_factory=list)
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    dates: dict[str, str] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path = STORED) -> Results:
        """Return what is stored."""
        if not path.exists():
            return cls()
        kept = json.loads(path.read_text(encoding="utf-8"))
        rows, busy = [Row(**row) for row in kept["rows"]], [Busy(**row) for row in kept["busy"]]
        return cls(**{**kept, "rows": rows, "busy": busy})

    def store(self, path: Path = STORED) -> None:
        """Store it, a row of the measurements on each line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        parts = []
        for name, value in asdict(self).items():
            if isinstance(value, list):
                lines = ",\n".join(f"  {json.dumps(entry)}" for entry in value)
                parts.append(f' "{name}": [\n{lines}\n ]')
            else:
                parts.append(f' "{name}": {json.dumps(value)}')
        path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")

    def merge(self, newer: Results) -> None:
        """Take over what was measured later, recipe by recipe."""
        order = chapters.names()
        for name in ("rows", "busy", "checks"):
            new = getattr(newer, name)
            again = {_recipe(entry) for entry in new}
            kept = [entry for entry in getattr(self, name) if _recipe(entry) not in again]
            setattr(self, name, sorted(kept + new, key=lambda entry: order.index(_recipe(entry))))
        for name in ("machine", "recipes", "dates", "others"):
            getattr(self, name).update(getattr(newer, name))

    def row(self, recipe: str, who: Who, threads: int) -> Row:
        """Return the row of one process.

        Raises:
            NotMeasured: if there is none.
        """
        for row in self.rows:
            if (row.recipe, row.entrant, row.seeds, row.threads) == (recipe, *who, threads):
                return row
        raise NotMeasured(f"{recipe}: {who} with {threads} threads")

    def ratio(self, recipe: str, one: Who, other: Who, threads: int) -> float:
        """Return the time of one entrant over that of another, the median over the turns."""
        pair = [self.row(recipe, who, threads).turns for who in (one, other)]
        return median(a / b for a, b in zip(*pair, strict=True))

    def share(self, recipe: str, who: Who, threads: int) -> float:
        """Return the share of torch's rate of products that an entrant's arithmetic reaches."""
        if recipe not in self.recipes:
            raise NotMeasured(recipe)
        return self.recipes[recipe]["flop"] / PRODUCT_FLOP * self.ratio(recipe, ("products", 1), who, threads)

    def rate(self, threads: int, recipe: str, multiplier: str = "products") -> float:
        """Return the rate of products of large matrices, in FLOP a second, beside a recipe."""
        return PRODUCT_FLOP / self.row(recipe, (multiplier, 1), threads).seconds

    def threads(self) -> list[int]:
        """Return the numbers of threads that were measured."""
        return sorted({row.threads for row in self.rows})

    def of(self, recipe: str) -> list[Row]:
        """Return the rows of a recipe."""
        return [row for row in self.rows if row.recipe == recipe]


def _recipe(entry: Row | Busy | dict[str, Any]) -> str:
    return entry["recipe"] if isinstance(entry, dict) else entry.recipe


def significant(values: Iterable[float], digits: int = 4) -> list[float]:
    """Return numbers as they are stored: with so many digits."""
    return [float(f"{value:.{digits}g}") for value in values]

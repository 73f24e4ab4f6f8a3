"""Tables of many runs, and how they are read: no recipe is needed for that.

A table is a file of the package, made by ``python -m gan_helpers.calibration``. Each recipe module says in
its ``TABLES`` what they hold; ``"original"`` of ``fifty_lines`` is the table ``fifty_lines_original``. The
last line of a file says how many runs there are, so that one that was cut short is noticed.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gan_helpers import _checks

Columns = dict[str, Tensor]

FOLDER = Path(__file__).parent / "assets"
FIRST_SEED = 1_000  # the base seed of a table's first runs: none that the book or its tests start from
END = "# {} runs"  # the last line of a table


@dataclass(frozen=True)
class Table:
    """What a table holds.

    Args:
        run: trains a number of seeds from a base seed, and returns what was measured of each, by name.
        seeds: how many runs.
        ensemble: how many of them are trained at a time.

    Raises:
        TypeError: if ``run`` is no function, or a number is not whole.
        ValueError: if a number is below 1.
    """

    run: Callable[[int, int], Columns]
    seeds: int
    ensemble: int = 64

    def __post_init__(self) -> None:
        """Check the arguments."""
        _checks.function("run", self.run)
        _checks.whole("seeds", self.seeds)
        _checks.whole("ensemble", self.ensemble)


def ledger(name: str) -> Columns:
    """Return a table by its columns, one number per run.

    Args:
        name: the table, such as ``"fifty_lines_original"``.

    Returns:
        The columns by name, each ``(runs,)`` in float64.

    Raises:
        TypeError: if ``name`` is no string.
        ValueError: if there is no such table, or its file is empty or cut short.
    """
    _checks.text("name", name)
    path = FOLDER / f"{name}.csv"
    if not path.is_file():
        known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.csv")))
        raise ValueError(f"name must be one of {known}, not {name!r}.")
    *lines, last = path.read_text(encoding="utf-8").split("\n")[:-1] or [""]
    if last != END.format(len(lines) - 1):
        raise ValueError(
            f"{path.name} is empty or cut short: `python -m gan_helpers.calibration {name}` makes it again."
        )
    rows = list(csv.DictReader(lines))
    return {key: torch.tensor([float(row[key]) for row in rows], dtype=torch.float64) for key in rows[0]}

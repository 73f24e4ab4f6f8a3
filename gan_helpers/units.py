r"""From the reader's own units to numbers for a network, and back.

A number is standardised, :math:`(x - \mu) / \sigma`. A category of k levels becomes k numbers, of which one
is 1 and the others are 0. What a network makes goes the way back: whole numbers are rounded, a category is
the level with the largest number.

Raises:
    TypeError: everywhere, if an argument is of the wrong type.
    ValueError: everywhere, if an argument is of a shape or a value that does not fit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gan_helpers import _checks

Array = NDArray[Any]


@dataclass(frozen=True)
class Number:
    r"""Numbers of one kind: a column of a table, all pixels of an image, all points of a curve.

    Args:
        name: what they are called.
        mean: :math:`\mu`, in their own units.
        sd: :math:`\sigma`, above 0.
        whole: whether they are whole.
        low: the least that there can be; None if there is no such bound.
        high: the most.
        width: how many there are in a row.
    """

    name: str
    mean: float
    sd: float
    whole: bool = False
    low: float | None = None
    high: float | None = None
    width: int = 1

    def __post_init__(self) -> None:
        """Check the arguments."""
        _checks.text("name", self.name)
        _checks.number("mean", self.mean)
        _checks.number("sd", self.sd, above=0)
        _checks.whole("width", self.width)

    def encoded(self, values: Array) -> Tensor:
        """Return ``(n, width)`` numbers in standard deviations from the mean."""
        own = torch.from_numpy(np.array(values, dtype=np.float64)).reshape(len(values), self.width)
        return (own - self.mean) / self.sd

    def numbers(self, x: Tensor) -> Tensor:
        """Return what a network made, ``(..., width)``, in their own units."""
        own = x * self.sd + self.mean
        own = own.round() if self.whole else own
        return own if self.low is None and self.high is None else own.clamp(self.low, self.high)

    def rounded(self, x: Tensor) -> Tensor:
        """Return what a network made as the numbers that a reader of it would see."""
        return (self.numbers(x) - self.mean) / self.sd

    def decoded(self, numbers: Array) -> Array:
        """Return numbers in their own units as a reader wants them."""
        return np.rint(numbers).astype(np.int64) if self.whole else numbers


@dataclass(frozen=True)
class Category:
    """A column of a table that holds one of some levels.

    Args:
        name: what it is called.
        levels: what it can hold, two or more.
    """

    name: str
    levels: tuple[str | int | float | bool, ...]

    def __post_init__(self) -> None:
        """Check the arguments."""
        _checks.text("name", self.name)
        if len(_checks.sequence("levels", self.levels)) < 2:
            raise ValueError(f"levels of {self.name} must be two or more, not {self.levels!r}.")

    @property
    def width(self) -> int:
        """How many numbers stand for it."""
        return len(self.levels)

    def encoded(self, values: Array) -> Tensor:
        """Return ``(n, width)`` numbers, one of which is 1 in each row."""
        places = {level: i for i, level in enumerate(self.levels)}
        given = np.asarray(values, dtype=object).tolist()  # plain texts and numbers, as messages show them
        found = [places.get(value) for value in given]
        if None in found:
            other = given[found.index(None)]
            raise ValueError(f"{self.name} holds {other!r}, which is none of its levels {self.levels}.")
        return F.one_hot(torch.tensor(found), self.width).double()

    def numbers(self, x: Tensor) -> Tensor:
        """Return the place of the level that a network chose, ``(..., 1)``."""
        return x.argmax(-1, keepdim=True).to(x)

    def rounded(self, x: Tensor) -> Tensor:
        """Return the choice of a network without its doubts."""
        return F.one_hot(x.argmax(-1), self.width).to(x)

    def decoded(self, numbers: Array) -> Array:
        """Return the levels at these places, ``(n,)``."""
        levels = np.array(self.levels, dtype=None if _of_one_type(self.levels) else object)
        return np.asarray(levels[numbers.astype(np.int64).ravel()])


Column = Number | Category


@dataclass(frozen=True)
class Units:
    """What a row of the reader's data is.

    Args:
        columns: of which a row is made, in their order.
        shape: of one row as the reader has it, such as (28, 28) for images; () for a table.
        table: whether rows have columns with names.
        frame: whether the reader has a data frame of pandas.
    """

    columns: tuple[Column, ...]
    shape: tuple[int, ...] = ()
    table: bool = False
    frame: bool = False

    @property
    def widths(self) -> list[int]:
        """How many numbers stand for each column."""
        return [column.width for column in self.columns]

    @property
    def features(self) -> int:
        """How many numbers stand for a row."""
        return sum(self.widths)

    @property
    def sizes(self) -> tuple[int, ...]:
        """What `Shares` takes: 1 for a number, and the number of levels for a category."""
        return tuple(
            size for c in self.columns for size in ([1] * c.width if isinstance(c, Number) else [c.width])
        )

    @property
    def _bytes(self) -> bool:
        """Whether rows are images with as many levels as a byte has."""
        first = self.columns[0]
        return len(self.shape) > 1 and isinstance(first, Number) and (first.low, first.high) == (0, 255)

    def encode(self, columns: Sequence[Array]) -> Tensor:
        """Return rows as a network meets them, ``(n, features)``.

        Args:
            columns: the values of each column, ``(n,)`` or ``(n, width)``.
        """
        parts = [column.encoded(values) for column, values in zip(self.columns, columns, strict=True)]
        return torch.cat(parts, 1).float()

    def rounded(self, x: Tensor) -> Tensor:
        """Return what a network made as the rows that a reader would see, in the network's units.

        Args:
            x: ``(..., features)``.
        """
        return torch.cat([c.rounded(part) for c, part in self._parts(x)], -1)

    def numbers(self, x: Tensor) -> Tensor:
        """Return what a network made in the reader's units, a category as the place of its level.

        Args:
            x: ``(..., features)``.
        """
        return torch.cat([c.numbers(part) for c, part in self._parts(x)], -1)

    def decode(self, x: Tensor) -> Any:
        """Return what a network made as the reader has rows.

        Args:
            x: ``(n, features)``.

        Returns:
            An array, ``(n, *shape)``, of bytes for images with pixels from 0 to 255; for a table its columns
            by name, or a data frame if it was one and pandas can be imported.
        """
        numbers = self.numbers(x.detach().cpu().double()).numpy()
        if not self.table:
            whole = all(isinstance(column, Number) and column.whole for column in self.columns)
            kind = np.uint8 if self._bytes else np.int64
            return (np.rint(numbers).astype(kind) if whole else numbers).reshape(len(x), *self.shape)
        ends = np.cumsum([c.width if isinstance(c, Number) else 1 for c in self.columns])
        parts = np.split(numbers, ends[:-1], axis=1)
        found = {c.name: c.decoded(part).reshape(len(x)) for c, part in zip(self.columns, parts, strict=True)}
        return _frame(found) if self.frame else found

    def text(self) -> str:
        """Return all of this as a text."""
        columns = [{type(column).__name__: asdict(column)} for column in self.columns]
        return json.dumps(asdict(self) | {"columns": columns})

    @classmethod
    def of(cls, text: str) -> Units:
        """Return what `text` returned as units again.

        Args:
            text: that text.
        """
        told = json.loads(_checks.text("text", text))
        kinds = {"Number": Number, "Category": Category}
        columns = [
            kinds[kind](**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
            for column in told.pop("columns")
            for kind, values in column.items()
        ]
        return cls(tuple(columns), tuple(told.pop("shape")), **told)

    def _parts(self, x: Tensor) -> list[tuple[Column, Tensor]]:
        if _checks.floating("x", x, "(..., features)").shape[-1] != self.features:
            raise ValueError(f"x must have {self.features} features, not {tuple(x.shape)}.")
        return list(zip(self.columns, x.split(self.widths, -1), strict=True))


class InUnits(nn.Module):
    """A last layer that gives numbers in the reader's units; see `Units.numbers`.

    Args:
        units: those units.
    """

    def __init__(self, units: Units) -> None:
        super().__init__()
        self.units = units

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., features)`` to the reader's numbers."""
        return self.units.numbers(x)


class Shares(nn.Module):
    r"""A last layer for rows with categories: their numbers become shares that sum to 1, by softmax.

    Args:
        sizes: of each part of a row; a part of size 1 is a number and stays as it is.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.sizes = tuple(_checks.whole(f"sizes[{i}]", size) for i, size in enumerate(sizes))
        # Neighbours that are numbers stay together, which is faster.
        self._parts: list[tuple[int, bool]] = []
        for size in self.sizes:
            if size == 1 and self._parts and not self._parts[-1][1]:
                self._parts[-1] = self._parts[-1][0] + 1, False
            else:
                self._parts.append((size, size > 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., sum(sizes))`` to the same shape."""
        parts = x.split([size for size, _ in self._parts], -1)
        told = [share for _, share in self._parts]
        return torch.cat([p.softmax(-1) if share else p for p, share in zip(parts, told, strict=True)], -1)

    def extra_repr(self) -> str:
        """Say what the sizes are."""
        return f"sizes={self.sizes}"


def number(name: str, values: Array, width: int = 1) -> Number:
    """Return units that standardise these values: mean 0, standard deviation 1.

    Args:
        name: what they are called.
        values: those to learn from, not all the same; whole if all of them are.
        width: how many there are in a row.
    """
    found = np.asarray(values, dtype=np.float64)
    return Number(
        name,
        mean=float(found.mean()),
        sd=float(found.std()),
        whole=np.issubdtype(np.asarray(values).dtype, np.integer),
        width=width,
    )


def _of_one_type(levels: tuple[Any, ...]) -> bool:
    return len({type(level) for level in levels}) == 1


def _frame(columns: dict[str, Array]) -> Any:
    """Return a data frame, or the columns where there is no pandas."""
    try:
        import pandas
    except ImportError:
        return columns
    return pandas.DataFrame(columns)

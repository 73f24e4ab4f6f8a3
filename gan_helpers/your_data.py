"""Data of your own: read, looked over, split, standardised, and learned by GANs from several seeds.

What comes in is an array, a table with numbers and categories, a folder of images, or curves. A part of the
rows is held out, and no generator sees it: it is what `gan_helpers.judging` compares with. Means and standard
deviations are those of the other part.

Raises:
    TypeError: everywhere, if an argument is of the wrong type.
    ValueError: everywhere, if data can't be learned from as they are; the message says why, and the way out.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_helpers import _checks
from gan_helpers.data import Resample, StandardNormal
from gan_helpers.device import default_device
from gan_helpers.ensemble import Ensemble
from gan_helpers.generators import Generators
from gan_helpers.losses import relativistic_d, relativistic_g
from gan_helpers.models import mlp
from gan_helpers.options import Turns
from gan_helpers.penalties import r1_r2
from gan_helpers.randomness import Stream
from gan_helpers.training import adam, fading, train
from gan_helpers.units import Category, Column, Number, Shares, Units, number

Array = NDArray[Any]

FEWEST = 60  # rows: with fewer there is nothing to judge by
HELD_OUT = 1 / 3  # of the rows
MOST_LEVELS = 50  # of a category
EXACT = 2**53  # up to here, double precision has all whole numbers
DATES = "{} holds dates or times: make numbers of them, such as days since a start."
SHOWN = 3  # names that a message lists
NUMBER = re.compile(r"\s*[+-]?\d+([.,]\d*)?\s*")  # as text, with a point or a comma
COLOURS = (1, 3, 4)  # that an image can have: grey, three, and three that can be seen through
IMAGES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}

# The recipe: the game and the penalties of the repaired one of the chapter on modes, with averaged weights.
STEPS = 3_000
BATCH = 64
WIDTH = 64  # of two hidden layers; four times that for long rows
RATE = 3e-3
GAMMA = 0.1  # of R1 and R2
EMA = 0.999


@dataclass(frozen=True, eq=False)
class Rows:
    """Data that were looked over; made by `array`, `table`, `images` or `curves`.

    Args:
        values: of each column, ``(n,)`` or ``(n, width)``.
        units: of a row; means and standard deviations are set when the rows are split.
    """

    values: tuple[Array, ...]
    units: Units

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.values[0])

    @property
    def digest(self) -> str:
        """What these rows are known by."""
        # Of the data alone: a mean can differ in its last digit from machine to machine.
        content = hashlib.sha256(repr([column.name for column in self.units.columns]).encode())
        for column, values in zip(self.units.columns, self.values, strict=True):
            plain = isinstance(column, Number)
            content.update(values.astype(np.float64).tobytes() if plain else repr(values.tolist()).encode())
        return content.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Split:
    """Rows in two parts, as networks meet them.

    Args:
        train: to learn from, ``(n, features)``.
        held_out: to judge by, ``(m, features)``.
        units: from standard deviations to the reader's units; learned from ``train``.
        origin: which rows, and how they were split.
    """

    train: Tensor
    held_out: Tensor
    units: Units
    origin: dict[str, str]


# What readers have


def array(x: Any) -> Rows:
    """Return the rows of an array.

    Args:
        x: numbers, ``(n, features)`` or ``(n,)``; rounded to whole numbers in samples if they are whole.
    """
    found = _numeric("x", x)
    if found.ndim not in (1, 2):
        raise ValueError(
            f"x must have shape (n, features), not {found.shape}: take images() of a folder for images, or "
            "x.reshape(len(x), -1)."
        )
    if found.ndim == 2 and not found.shape[1]:
        raise ValueError(f"x must have columns, and has none: its shape is {found.shape}.")
    _refuse_few(len(found))
    columns = found.reshape(len(found), -1).T
    names = [f"column {i}" for i in range(len(columns))]
    return _rows(names, list(columns), Units((), shape=found.shape[1:]))


def curves(y: Any) -> Rows:
    """Return curves, all seen at the same positions; they have one mean and one standard deviation.

    Args:
        y: one curve per row, ``(n, points)``.
    """
    a_list = isinstance(y, list | tuple) or (isinstance(y, np.ndarray) and y.dtype == object)
    several = a_list and all(hasattr(curve, "__len__") for curve in y)
    if several and len(lengths := {len(curve) for curve in y}) > 1:
        raise ValueError(
            f"y must hold curves of one length, not from {min(lengths)} to {max(lengths)} points: bring them "
            "to the same positions, as numpy.interp does."
        )
    found = _numeric("y", y)
    if found.ndim != 2 or found.shape[1] < 2:
        raise ValueError(f"y must have shape (n, points), with two points or more, not {found.shape}.")
    _refuse_gaps("y", found)
    _refuse_few(len(found))
    _refuse_constant({"All curves": found})
    _refuse_alike("curves", found)
    _refuse_inexact("y", found)
    _refuse_without_spread("y", found)
    return Rows((found,), Units((number("y", found, found.shape[1]),), shape=found.shape[1:]))


def images(folder: Any, brightest: float | None = None) -> Rows:
    """Return the images of a folder, grey if all are and else in colours; or images in an array.

    Args:
        folder: all images in it are taken, in the order of their names, without their transparency; they have
            to be of one size. Folders in it are not looked into. An array
            holds images as ``(n, height, width)`` or ``(n, height, width, colours)``, with 1, 3 or 4 colours.
        brightest: the value of a white pixel, in an array; black is 0. It is 255 for bytes unless given.
    """
    pixels = _read(folder) if isinstance(folder, str | os.PathLike) else _numeric("folder", folder)
    if pixels.ndim not in (3, 4):
        raise ValueError(f"folder must have shape (n, height, width) or one axis more, not {pixels.shape}.")
    _refuse_colours(pixels.shape)
    _refuse_few(len(pixels), "images")
    _refuse_gaps("folder", pixels)
    _refuse_constant({"All images": pixels})
    _refuse_alike("images", pixels)
    if brightest is None and pixels.dtype != np.uint8:
        raise ValueError(
            f"brightest must be given for pixels that are no bytes: these are {pixels.dtype} from "
            f"{pixels.min():g} to {pixels.max():g}, which does not tell what white is."
        )
    brightest = 255.0 if brightest is None else brightest
    half = _checks.number("brightest", brightest, above=0) / 2
    if pixels.min() < 0 or pixels.max() > brightest:
        found = f"{pixels.min():g} to {pixels.max():g}"
        raise ValueError(f"folder must hold pixels from 0 to {brightest:g}, not from {found}: set brightest.")
    whole = pixels.dtype.kind in "iu"
    unit = Number("pixels", half, half, whole, 0.0, 2 * half, int(pixels[0].size))
    return Rows((pixels.reshape(len(pixels), -1),), Units((unit,), shape=pixels.shape[1:]))


def _read(folder: str | os.PathLike[str]) -> Array:
    """Return the images of a folder as bytes."""
    path = Path(folder)
    if not path.is_dir():
        raise ValueError(f"folder must be a folder with images, and {path} is none.")
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGES and file.is_file())
    inside = any(file.is_dir() for file in path.iterdir())
    _refuse_few(len(files), f"images in {path}" + (", not counting the folders in it" if inside else ""))
    read = [_image(file) for file in files]
    for file, one in zip(files, read, strict=True):
        if one.size != read[0].size:
            sizes = f"{files[0].name} has {_size(read[0])} pixels and {file.name} {_size(one)}"
            raise ValueError(f"All images must have one size, but {sizes}: resize or crop them first.")
    for file, one in zip(files, read, strict=True):
        if one.mode.startswith(("I", "F")):
            raise ValueError(
                f"{file.name} has pixels of more than 8 bits: convert all images to 8 bits, or give images() "
                "an array of them and the brightest value."
            )
    grey = all(one.mode in ("1", "L", "LA") for one in read)
    return np.stack([np.asarray(one.convert("L" if grey else "RGB")) for one in read])


def table(data: Any, categories: Iterable[str] = ()) -> Rows:
    """Return the rows of a table. Columns of text and of truth values are categories, the others numbers.

    A column that pandas knows as a category is one here too. Numbers are whole where their type is.

    Args:
        data: a data frame of pandas, or columns by name.
        categories: names of columns of numbers, as text too, that are categories as well.
    """
    if isinstance(categories, str) or not isinstance(categories, Iterable):
        raise TypeError(
            f"categories must be a list of names of columns, not {_checks.shown(categories)}: write "
            f"[{categories!r}]."
        )
    chosen = {str(name) for name in categories}
    frame = hasattr(data, "columns") and hasattr(data, "to_numpy")
    if not frame and not isinstance(data, Mapping):
        raise TypeError(
            f"data must be a data frame, or columns by name, not {_checks.shown(data)}: read a file first, "
            "as pandas.read_csv does, and take array() for numbers without names."
        )
    names = [str(name) for name in (data.columns if frame else data)]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise ValueError(f"data must name each column once, and {_list(twice)} is there twice.")
    if unknown := chosen - set(names):
        raise ValueError(f"categories must name columns, and {_list(sorted(unknown))} is none.")
    if not names:
        raise ValueError("data has no columns.")
    given = {str(name): data[name] for name in (data.columns if frame else data)}
    columns = [_column(name, values) for name, values in given.items()]
    chosen |= {name for name, values in given.items() if str(getattr(values, "dtype", "")) == "category"}
    if len({len(column) for column in columns}) > 1:
        sizes = ", ".join(f"{name} {len(column)}" for name, column in zip(names, columns, strict=True))
        raise ValueError(f"data must have as many rows in each column, not {sizes}.")
    return _rows(names, columns, Units((), table=True, frame=frame), chosen)


def _column(name: str, values: Any) -> Array:
    """Return what a table holds under a name, with one value for each row."""
    found = _as_array(name, values)
    if found.ndim == 0:
        raise ValueError(
            f"{name} must hold one value per row, not {_checks.shown(values)}: give a list of them."
        )
    if found.ndim > 1:
        raise ValueError(
            f"{name} must hold one value per row, not an array of shape {found.shape}: make several columns "
            "of it, each with a name of its own."
        )
    return found


# What is said of bad data


def _rows(names: list[str], values: list[Array], units: Units, categories: Iterable[str] = ()) -> Rows:
    """Return columns that were looked over."""
    _refuse_few(len(values[0]))
    plain = {name: _plain(name, column) for name, column in zip(names, values, strict=True)}
    _refuse_constant(plain)
    columns: list[Column] = []
    for name, found in plain.items():
        if name in categories or found.dtype.kind not in "iuf":
            if name not in categories:
                _refuse_numbers_as_text(name, found)
            columns.append(_category(name, found))
            _refuse_rare(name, found)
        else:
            if units.table:
                _refuse_counter(name, found)
            _refuse_inexact(name, found)
            _refuse_without_spread(name, found)
            columns.append(number(name, found))
    return Rows(tuple(plain.values()), replace(units, columns=tuple(columns)))


def _plain(name: str, column: Array) -> Array:
    """Return a column as numbers, truth values or a mixture of Python's own, without gaps."""
    if column.dtype.kind in "Mm":
        raise ValueError(DATES.format(name))
    if column.dtype.kind == "c":
        raise ValueError(f"{name} holds complex numbers: make two columns, of .real and of .imag.")
    if column.dtype.kind in "biuf":
        _refuse_gaps(name, column)
        return column
    told = [_pythons_own(value) for value in column.astype(object)]
    gaps = [i for i, value in enumerate(told) if value is None or str(value) in ("nan", "<NA>", "NaT")]
    if gaps:
        raise ValueError(_gaps(name, len(gaps), gaps[0]))
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in told):
        numbers = np.array(told)
        if numbers.dtype == object:
            _refuse_inexact(name, numbers)
        _refuse_gaps(name, numbers)
        return numbers
    if other := [value for value in told if not isinstance(value, str | int | float | bool)]:
        if hasattr(other[0], "year") or isinstance(other[0], timedelta):
            raise ValueError(DATES.format(name))
        raise ValueError(f"{name} must hold numbers, text or truth values, not {_checks.shown(other[0])}.")
    plain = np.empty(len(told), dtype=object)
    plain[:] = told
    return plain


def _pythons_own(value: Any) -> Any:
    """Return a value as one of Python's own kinds, if it is one of NumPy's or a number of another kind."""
    value = value.item() if isinstance(value, np.generic) else value
    return float(value) if isinstance(value, Decimal | Fraction) else value


def _category(name: str, plain: Array) -> Category:
    levels = sorted(set(plain.tolist()), key=lambda level: (str(type(level)), level))
    if len(levels) > MOST_LEVELS:
        raise ValueError(
            f"{name} has {len(levels)} levels in {len(plain)} rows, and there can be {MOST_LEVELS} at most: "
            "leave out names and numbers of single rows, and join what is rare."
        )
    return Category(name, tuple(levels))


def _refuse_numbers_as_text(name: str, plain: Array) -> None:
    """Check that most levels are no numbers as text, as in a column in which a sign stands for gaps."""
    levels = sorted({value for value in plain.tolist() if isinstance(value, str)})
    numbers = [level for level in levels if NUMBER.fullmatch(level)]
    if len(numbers) > len(set(plain.tolist())) / 2:
        raise ValueError(
            f"{name} holds numbers as text, such as {numbers[0]!r}: make numbers of them, or name it in "
            "categories."
        )


def _refuse_counter(name: str, values: Array) -> None:
    """Check that whole numbers are not those of the rows, as an index has them."""
    if values.dtype.kind in "iu" and (np.diff(np.sort(values)) == 1).all():
        raise ValueError(
            f"{name} numbers the rows, each value once and in steps of 1: leave it out, or make floats of it "
            "if it measures something."
        )


def _refuse_gaps(name: str, values: Array) -> None:
    """Check that all numbers are finite."""
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        rows = ~finite.reshape(len(values), -1).all(1)
        raise ValueError(_gaps(name, int((~finite).sum()), int(rows.argmax())))


def _gaps(name: str, count: int, first: int) -> str:
    return (
        f"{name} holds {count} values that are missing or infinite, the first in row {first}: leave these "
        "rows out, or fill them in."
    )


def _refuse_few(n: int, what: str = "rows") -> None:
    if n < FEWEST:
        raise ValueError(
            f"There are {n} {what}, and at least {FEWEST} are needed: a part of them is held out to judge by."
        )


def _refuse_constant(columns: Mapping[str, Array]) -> None:
    """Check that no column holds one value alone."""
    same = [name for name, values in columns.items() if (values == values.flat[0]).all()]
    if same:
        has, leave = ("holds", "it") if len(same) == 1 else ("hold", "them")
        raise ValueError(
            f"{_list(same)} {has} the same value in all rows: leave {leave} out, there is nothing to learn."
        )


def _refuse_inexact(name: str, values: Array) -> None:
    """Check that double precision has these numbers if they are whole, and all between them."""
    if values.dtype.kind in "iuO" and max(int(values.max()), -int(values.min())) > EXACT:
        raise ValueError(
            f"{name} holds whole numbers beyond {EXACT:.1e}, where neighbours are not told apart: leave them "
            "out if they are names of rows, and else give them in another unit."
        )


def _refuse_alike(what: str, values: Array) -> None:
    """Check that the rows are not all the same."""
    if (values == values[0]).all():
        raise ValueError(f"All {what} are the same: there is nothing to learn.")


def _refuse_without_spread(name: str, values: Array) -> None:
    """Check that the squares of all deviations can be had in double precision."""
    with np.errstate(over="ignore", under="ignore"):
        spread = float(np.std(values.astype(np.float64)))
    if not 0 < spread < np.inf:
        raise ValueError(
            f"{name} has a standard deviation of {spread:g} as computers see it, with values from "
            f"{values.min():g} to {values.max():g}: give it in another unit."
        )


def _refuse_rare(name: str, values: Array) -> None:
    """Check that each level can be in both parts of the rows."""
    rare = [str(level) for level, times in Counter(values.tolist()).items() if times == 1]
    if rare:
        raise ValueError(
            f"{name} has levels in one row alone, {_list(rare)}: join them with others, or leave these rows "
            "out. A level is to be learned from some rows and judged by others."
        )


def _refuse_absent(columns: tuple[Column, ...], parts: list[list[Array]], seed: int | None) -> None:
    """Check that each level is in both parts of the rows, and more than one number in the first."""
    for i, column in enumerate(columns):
        if isinstance(column, Number):
            learned = parts[0][i]
            if not np.std(learned.astype(np.float64)) > 0:
                raise ValueError(
                    f"{column.name} holds the same value in all {len(learned)} rows to learn from, and "
                    f"others in those to judge by alone: take another seed than {seed}, or leave it out."
                )
            continue
        counts = [Counter(part[i].tolist()) for part in parts]
        way = "join them with others"
        if _missing(*counts) < 1:
            way += f", or take another seed than {seed}"
        for count, where in zip(counts, ("to learn from", "to judge by"), strict=True):
            if absent := [str(level) for level in column.levels if level not in count]:
                raise ValueError(
                    f"{column.name} has levels that are in none of the {count.total()} rows {where}, "
                    f"{_list(absent)}: {way}."
                )


def _missing(*counts: Counter[Any]) -> float:
    """Return how many levels a part of the rows does not have, on average over the ways to draw it."""
    whole = sum(counts, Counter[Any]())
    others = [1 - count.total() / whole.total() for count in counts]
    return sum(float(share**times) for share in others for times in whole.values())


def _refuse_colours(shape: tuple[int, ...]) -> None:
    """Check that images have their colours in the last axis, as many as can be shown."""
    if len(shape) == 3 or shape[3] in COLOURS:
        return
    first = shape[1] in COLOURS and shape[1] < shape[3]
    way = (
        "move the axis of colours to the end, as numpy.moveaxis(folder, 1, 3) does"
        if first
        else "leave some out"
    )
    raise ValueError(
        f"folder must have 1, 3 or 4 colours in its last axis, not {shape[3]} in {shape}: {way}."
    )


def _list(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _numeric(name: str, value: Any) -> Array:
    found = _as_array(name, value)
    if found.ndim == 0:
        raise TypeError(f"{name} must be an array, not {_checks.shown(value)}.")
    if found.dtype == object:
        found = _plain(name, found.reshape(-1)).reshape(found.shape)
    if found.dtype.kind == "b":
        found = found.astype(np.int64)
    if found.dtype.kind not in "iuf":
        kind = "text" if found.dtype.kind in "OU" else found.dtype
        raise TypeError(f"{name} must hold numbers, not {kind}: table() takes columns of text.")
    return found


def _as_array(name: str, value: Any) -> Array:
    """Return lists, or a tensor, as an array, if all of them are of one length and nothing is masked."""
    if isinstance(value, Tensor):
        plain = value.detach().cpu().to_dense()
        value = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    if isinstance(value, np.ma.MaskedArray) and np.any(value.mask):
        masked = np.broadcast_to(value.mask, value.shape)
        rows = masked.reshape(len(masked), -1).any(1)
        raise ValueError(_gaps(name, int(masked.sum()), int(rows.argmax())))
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{name} must hold rows of one shape, {_uneven(value)}: bring all to the same length, or images "
            "to the same size, first."
        ) from error


def _uneven(value: Iterable[Any]) -> str:
    """Say which of the rows that make no array are of two shapes."""
    first: tuple[int, ...] | None = None
    for i, row in enumerate(value):
        try:
            shape = np.shape(row)
        except ValueError:
            return f"and row {i} holds lists of several lengths"
        first = shape if first is None else first
        if shape != first:
            return f"and row 0 has {first} and row {i} {shape}"
    return "and these make no array"


def _image(file: Path) -> Image.Image:
    try:
        with Image.open(file) as opened:
            if (frames := getattr(opened, "n_frames", 1)) > 1:
                raise ValueError(f"{file.name} holds {frames} images: make a file of each, or keep one.")
            return ImageOps.exif_transpose(opened)  # turned as the camera says, as viewers show it
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{file} is no image that can be read ({error}): take it away.") from error


def _size(image: Image.Image) -> str:
    return f"{image.size[0]} x {image.size[1]}"


# Split and learned


def split(rows: Rows, held_out: float = HELD_OUT, seed: int | None = None) -> Split:
    """Return rows in two parts, to learn from and to judge by, drawn at random.

    Each level of a category has to be in both.

    Args:
        rows: the data.
        held_out: the share of rows that is held out, above 0 and below 1.
        seed: of the stream that draws; `gan_helpers.randomness.base_seed` unless given.
    """
    n = len(_checks.instance("rows", rows, Rows))
    count = round(_checks.number("held_out", held_out, above=0, below=1) * n)
    if min(count, n - count) < FEWEST // 3:
        raise ValueError(f"held_out must leave {FEWEST // 3} rows in each part of {n}, not {held_out}.")
    stream = Stream("split", seed)
    order = stream.permutation(n).numpy()
    parts = [[values[index] for values in rows.values] for index in (order[count:], order[:count])]
    _refuse_absent(rows.units.columns, parts, stream.seed)
    columns = tuple(
        _standardised(column, values) for column, values in zip(rows.units.columns, parts[0], strict=True)
    )
    units = replace(rows.units, columns=columns)
    origin = {"data": rows.digest, "rows": str(n), "held_out": repr(held_out), "seed": str(stream.seed)}
    return Split(units.encode(parts[0]), units.encode(parts[1]), units, origin)


def split_of(generators: Generators, rows: Rows) -> Split:
    """Return the parts that generators were trained and not trained on.

    Args:
        generators: of `fit`, loaded ones as well.
        rows: the data that they were trained on.
    """
    origin = _checks.instance("generators", generators, Generators).origin
    if not {"data", "held_out", "seed"} <= origin.keys():
        raise ValueError("generators must come from fit: others do not say which rows they have not seen.")
    if (digest := _checks.instance("rows", rows, Rows).digest) != origin["data"]:
        raise ValueError(
            f"rows are not those that the generators learned from: {len(rows)} of digest {digest}, and there "
            f"were {origin['rows']} of digest {origin['data']}. What was held out is known for those alone."
        )
    return split(rows, float(origin["held_out"]), int(origin["seed"]))


def _standardised(column: Column, values: Array) -> Column:
    """Return a column with the mean and the standard deviation of these values, unless it has bounds."""
    if isinstance(column, Category) or column.low is not None:
        return column
    learned = number(column.name, values, column.width)
    return replace(column, mean=learned.mean, sd=learned.sd)


def usual_noise(units: Units) -> StandardNormal:
    """Return noise with as many features as a row of these units has numbers, from 2 to 32.

    Args:
        units: of the rows.
    """
    return StandardNormal(min(max(units.features, 2), 32))


def generator(units: Units, noise: int) -> nn.Module:
    """Return a dense generator for rows of these units.

    Args:
        units: of the rows.
        noise: features of its input.
    """
    last: list[nn.Module] = [Shares(units.sizes)] if max(units.sizes) > 1 else []
    first = units.columns[0]
    if isinstance(first, Number) and first.low is not None:
        last = [nn.Tanh()]
    return nn.Sequential(*mlp(noise, *_hidden(units), units.features, activation=_leaky), *last)


def discriminator(units: Units) -> nn.Module:
    """Return a dense discriminator of rows of these units.

    Args:
        units: of the rows.
    """
    return mlp(units.features, *_hidden(units), 1, activation=_leaky)


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.2)


def _hidden(units: Units) -> list[int]:
    return [WIDTH if units.features <= WIDTH else 4 * WIDTH] * 2


def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor, gamma: float = GAMMA) -> Tensor:
    r"""Return what discriminators descend: the relativistic loss, :math:`R_1` and :math:`R_2`, ``(seeds,)``.

    Args:
        G: the generators.
        D: the discriminators.
        x: rows.
        z: noise.
        gamma: the weight of :math:`R_1` and :math:`R_2`.
    """
    fake = G(z).detach()
    loss = relativistic_d(*D(x, fake))
    return loss + gamma * r1_r2(D, x, fake) if gamma else loss


def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    """Return what generators descend: the relativistic loss, ``(seeds,)``.

    Args:
        G: the generators.
        D: the discriminators.
        x: rows.
        z: noise.
    """
    real, fake = D(x, G(z))
    return relativistic_g(real, fake)


def fit(
    rows: Rows,
    seeds: int = 8,
    steps: int = STEPS,
    *,
    G: Callable[[], nn.Module] | None = None,
    D: Callable[[], nn.Module] | None = None,
    noise: int | None = None,
    held_out: float = HELD_OUT,
    seed: int | None = None,
    stacked: bool = True,
    **options: Any,
) -> Generators:
    """Return generators that have learned from a part of the rows, one for each seed.

    A seed whose losses become NaN is left out. The weights are averages over the steps.

    Args:
        rows: the data, of `array`, `table`, `images` or `curves`.
        seeds: how many are trained, side by side.
        steps: how many they take.
        G: makes one generator, from noise to standardised rows, which are flat; `generator` unless given.
        D: makes one discriminator; `discriminator` unless given.
        noise: features of the noise; as many as a row has numbers unless given, from 2 to 32.
        held_out: the share of rows that is held out.
        seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
        stacked: False for networks that run one after the other.
        options: further options of `gan_helpers.training.train`, which go before the recipe's own. An
            optimiser is given as a function of its network, such as ``d_opt=lambda D: adam(D, 1e-4)``.

    Raises:
        UnfinishedRunError: if the run was stopped by hand, or no seed is left.
        NonFiniteLossError: if all seeds fail at once.
    """
    parts = split(rows, held_out, seed)
    units = parts.units
    z = usual_noise(units) if noise is None else StandardNormal(_checks.whole("noise", noise))
    made = {"G": G or (lambda: generator(units, z.features)), "D": D or (lambda: discriminator(units))}
    device = default_device()
    players = {
        name: Ensemble(make, seeds, name=name, seed=seed, device=device, stacked=stacked)
        for name, make in made.items()
    }
    _refuse_shape(Generators(players["G"], z), units.features)
    recipe: dict[str, Any] = {"d_loss": d_loss, "g_loss": g_loss, "batch": BATCH, "ema": EMA, "steps": steps}
    for name, network in players.items():
        recipe[f"{name.lower()}_opt"] = _optimiser(name.lower(), network, steps, options)
    data = Resample(parts.train.to(device))
    further = {key: value for key, value in options.items() if key not in ("d_opt", "g_opt")}
    chosen = {"on_nonfinite": "go on", "seed": seed} | recipe | further
    history = train(players["G"], players["D"], data, z, **chosen)
    return _kept(history, players["G"], z, parts)


def _refuse_shape(generators: Generators, features: int) -> None:
    """Check that what is made has the shape of rows."""
    made = generators.made(generators.noise(generators.seeds, 2, Stream("tried", 0)))
    if made.shape[1:] != (2, features):
        raise ValueError(
            f"G must make rows of {features} numbers, not of shape {tuple(made.shape[2:])}: nn.Flatten() at "
            "its end makes rows of images."
        )


def _optimiser(player: str, network: Ensemble, steps: int, options: Mapping[str, Any]) -> Optimizer:
    """Return the optimiser that was asked for, or Adam with a rate that is 0 after the last update."""
    if (make := options.get(f"{player}_opt")) is not None:
        made: Optimizer = _checks.function(f"{player}_opt", make)(network)
        return made
    turns = options.get("turns", Turns())
    updates = _checks.whole("steps", steps) * getattr(turns, f"{player}_steps")
    return fading(adam(network, RATE, betas=(0.0, 0.99)), updates)


def _kept(history: Any, network: Ensemble, noise: StandardNormal, parts: Split) -> Generators:
    """Return the generators of the seeds that did not fail."""
    good = (~history.failed).nonzero().flatten().tolist()
    if history.interrupted or not good:
        history.require_whole()
    averaged = network if history.averaged is None else history.averaged
    found = Generators(averaged.eval(), noise, parts.units, parts.origin)
    return found if len(good) == network.seeds else found.only(good)

"""Data of a reader's: read, refused with the way out, split without a leak, learned, and judged."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import date, timedelta
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from gan_helpers import Turns, adam, judging, report_pages, train, your_data
from gan_helpers.generators import Generators, load
from gan_helpers.history import NonFiniteLossError, UnfinishedRunError
from gan_helpers.judging import report
from gan_helpers.models import mlp
from gan_helpers.randomness import Stream
from gan_helpers.states import CheckpointError
from gan_helpers.units import Category, Number
from gan_helpers.your_data import Rows, array, curves, fit, images, split, split_of, table

N = 120
RNG = np.random.default_rng(0)
AGE, TOWN = RNG.integers(20, 80, N), RNG.choice(["Rome", "Oslo"], N)
COLUMNS = {"age": AGE, "town": TOWN, "income": RNG.normal(3e4, 5e3, N), "smokes": RNG.random(N) < 0.3}
PIXELS = RNG.integers(0, 256, (N, 4, 5), dtype=np.uint8)
WAVES = np.sin(np.linspace(0, 6, 30) + RNG.uniform(0, 6, (N, 1)))


def small(rows: Rows, **options) -> Generators:
    """Train for a moment."""
    return fit(rows, **({"seeds": 2, "steps": 3, "progress": False, "seed": 1} | options))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(tmp_path / f"{i:03}.png")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


# What comes in comes out


def test_a_table_keeps_its_columns_their_order_and_their_kinds() -> None:
    rows = table(COLUMNS)
    assert [type(c) for c in rows.units.columns] == [Number, Category, Number, Category]
    made = small(rows).sample(200, Stream("new", 1))
    assert list(made) == list(COLUMNS)
    assert made["age"].dtype == np.int64 and made["income"].dtype == np.float64
    assert set(made["town"]) <= {"Oslo", "Rome"} and made["smokes"].dtype == bool


def test_numbers_can_be_categories() -> None:
    level = RNG.integers(1, 4, N)
    unit = table({"level": level, "x": WAVES[:, 0]}, categories=["level"]).units.columns[0]
    assert isinstance(unit, Category) and unit.levels == (1, 2, 3)
    texts = table({"level": level.astype(str)}, categories=["level"]).units.columns[0]
    assert isinstance(texts, Category) and texts.levels == ("1", "2", "3")
    mixed = np.where(level == 1, "none", np.where(level == 2, "some", "3"))
    assert isinstance(table({"level": mixed}).units.columns[0], Category)


def test_numbers_that_differ_in_each_row_are_no_index() -> None:
    gap = np.arange(N) + (np.arange(N) > 60)
    for values in (gap, np.arange(N) * 2, np.arange(N, dtype=float)):
        assert isinstance(table({"x": values}).units.columns[0], Number)


KINDS = {
    "float64": lambda x: x,
    "float32": lambda x: x.astype(np.float32),
    "tensor": torch.tensor,
    "bfloat16": lambda x: torch.tensor(x).bfloat16(),
    "with gradients": lambda x: torch.tensor(x, requires_grad=True),
    "sparse": lambda x: torch.tensor(x).to_sparse(),
    "objects": lambda x: x.astype(object),
    "decimals": np.vectorize(lambda value: Decimal(str(value)), otypes=[object]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_any_kind_are_taken(kind: str) -> None:
    values = np.stack(array(KINDS[kind](WAVES[:, :3])).values, 1)
    np.testing.assert_allclose(values, WAVES[:, :3], atol=5e-3 if kind == "bfloat16" else 1e-6)
    assert isinstance(table({"x": KINDS[kind](WAVES[:, 0])}).units.columns[0], Number)


def test_an_array_keeps_its_shape() -> None:
    assert small(array(WAVES[:, :3])).sample(7, Stream("new", 1)).shape == (7, 3)
    assert small(array(WAVES[:, 0])).sample(7, Stream("new", 1)).shape == (7,)
    whole = small(array(AGE.reshape(-1, 1))).sample(7, Stream("new", 1))
    assert whole.dtype == np.int64


def test_images_and_curves_keep_theirs(folder: Path) -> None:
    rows = images(folder)
    assert np.array_equal(rows.values[0].reshape(PIXELS.shape), PIXELS)  # in the order of their names
    assert images(PIXELS).digest == rows.digest
    made = small(rows).sample(6, Stream("new", 1))
    assert made.shape == (6, 4, 5) and made.dtype == np.uint8
    assert np.array_equal(rows.units.decode(rows.units.encode(rows.values)), PIXELS)
    dim = images(PIXELS // 16, brightest=15).units
    assert dim.decode(torch.ones(1, 20)).dtype == np.int64  # levels of another scale are no bytes
    assert small(curves(WAVES)).sample(6, Stream("new", 1)).shape == (6, 30)
    Image.fromarray(np.stack([PIXELS[0]] * 3, 2)).save(folder / "000.png")
    assert images(folder).units.shape == (4, 5, 3)
    bright = images(PIXELS / 255, brightest=1).units.columns[0]
    assert bright == Number("pixels", 0.5, 0.5, False, 0.0, 1.0, 20)


@pytest.mark.skipif(not find_spec("pandas"), reason="no pandas here")
def test_a_data_frame_comes_back_as_one(tmp_path: Path) -> None:
    import pandas

    frame = pandas.DataFrame(COLUMNS).astype({"town": "category", "age": "Int64"})
    level = pandas.Series(pandas.Categorical(AGE % 3))
    assert table(frame.assign(level=level)).units.columns[-1] == Category("level", (0, 1, 2))
    assert np.array_equal(array(frame[["age", "income"]]).values[0], AGE)
    G = small(table(frame))
    made = load(G.save(tmp_path / "G"), device="cpu").sample(9, Stream("new", 1))
    assert isinstance(made, pandas.DataFrame) and list(made.columns) == list(COLUMNS) and len(made) == 9
    frame.loc[17, "age"] = pandas.NA
    with pytest.raises(ValueError, match="age holds 1 values that are missing .* in row 17"):
        table(frame)
    with pytest.raises(ValueError, match="when holds dates or times"):
        table(pandas.DataFrame({"when": pandas.date_range("2000-01-01", periods=N), "age": AGE}))
    with pytest.raises(ValueError, match="town holds 1 values that are missing"):
        table(pandas.DataFrame({"town": [None, *TOWN[1:]], "age": AGE}))


# Bad data


def with_gap(value: object) -> np.ndarray:
    found = np.array(TOWN, dtype=object)
    found[17] = value
    return found


BAD = {
    "NaN": (
        lambda: array(np.where(WAVES == WAVES[17, 2], np.nan, WAVES)),
        "column 2 holds 1 values that are missing or infinite, the first in row 17: leave these rows out",
    ),
    "infinite": (lambda: curves(np.where(WAVES == WAVES[17, 2], np.inf, WAVES)), "first in row 17"),
    "None": (lambda: table({"town": with_gap(None)}), "town holds 1 values that are missing"),
    "constant": (
        lambda: array(np.c_[WAVES[:, :2], np.ones(N)]),
        "column 2 holds the same value in all rows: leave it out",
    ),
    "constants": (lambda: table({"a": [1] * N, "b": ["x"] * N, "c": AGE}), "a, b hold the same value"),
    "few": (lambda: array(WAVES[:59]), "There are 59 rows, and at least 60 are needed"),
    "one row": (lambda: table({"town": with_gap("Ulm")}), "town has levels in one row alone, Ulm: join"),
    "names": (
        lambda: table({"name": [f"n{i}" for i in range(N)]}),
        "name has 120 levels in 120 rows, and there can be 50 at most: leave out names",
    ),
    "numbers as text": (
        lambda: table({"dose": ["?", *(f"{i},5" for i in range(1, N))]}),
        "dose holds numbers as text, such as '1,5': make numbers of them, or name it in categories",
    ),
    "few numbers as text": (lambda: table({"age": AGE.astype(str)}), "age holds numbers as text, such as"),
    "an index": (lambda: table({"id": AGE.argsort(), "age": AGE}), "id numbers the rows, .*: leave it out"),
    "lengths": (lambda: table({"a": AGE, "b": AGE[1:]}), "as many rows in each column, not a 120, b 119"),
    "unequal": (lambda: curves([[1.0, 2.0]] * 90 + [[1.0]] * 5), "one length, not from 1 to 2 points"),
    "no curves": (lambda: curves(WAVES[:, 0]), "shape .n, points., with two points or more, not .120,."),
    "flat": (lambda: curves(np.zeros((N, 5))), "All curves holds the same value"),
    "images as rows": (lambda: array(PIXELS), r"x must have shape .n, features., .*: take images"),
    "too bright": (lambda: images(PIXELS, 16), "pixels from 0 to 16, not from 0 to 255: set brightest"),
    "no bytes": (lambda: images(PIXELS / 255), "brightest must be given .* float64 from 0 to 1, which does"),
    "no folder": (lambda: images("nowhere"), "folder must be a folder with images, and nowhere is none"),
    "dates": (lambda: table({"when": np.arange(N).astype("datetime64[D]")}), "when holds dates or times"),
    "objects": (lambda: table({"o": [{}] * N}), "o must hold numbers, text or truth values, not {}"),
    "complex": (lambda: table({"c": AGE * 1j}), "c holds complex numbers"),
    "unknown": (lambda: table(COLUMNS, ["twon"]), "categories must name columns, and twon is none"),
    "nothing": (lambda: table({}), "data has no columns"),
    "tiny": (lambda: array(WAVES * 1e-200), "column 0 has a standard deviation of 0 as .* in another unit"),
    "huge": (lambda: curves(WAVES * 1e200), "y has a standard deviation of inf as computers see it"),
    "two axes": (lambda: table({"w": WAVES}), "w must hold one value per row, not an array of shape"),
    "no rows": (lambda: table({"a": 5}), r"a must hold one value per row, not 5 .int.: give a list of them"),
    "ragged": (
        lambda: array([[1, 2], [3]] * 40),
        r"x must hold rows of one shape, and row 0 has .2,. and row 1 .1,.: bring all to the same length",
    ),
    "ragged within": (
        lambda: array([[[1, 2], [3]]] * 80),
        "x must hold rows of one shape, and row 0 holds lists of several lengths: bring all",
    ),
    "ragged column": (
        lambda: table({"a": [[1, 2], [3]] * 40}),
        r"a must hold rows of one shape, and row 0 has .2,. and row 1 .1,.",
    ),
    "images of two sizes": (
        lambda: images([*PIXELS, PIXELS[0, :3]]),
        r"folder must hold rows of one shape, and row 0 has .4, 5. and row 120 .3, 5.: .*images to the",
    ),
    "curves of one point": (lambda: curves([1.0] * N), r"y must have shape .n, points., .*, not .120,."),
    "two colours": (
        lambda: images(np.stack([PIXELS] * 2, 3)),
        r"folder must have 1, 3 or 4 colours in its last axis, not 2 in .120, 4, 5, 2.: leave some out",
    ),
    "colours first": (
        lambda: images(np.stack([PIXELS] * 3, 1)),
        r"not 5 in .120, 3, 4, 5.: move the axis of colours to the end, as numpy.moveaxis.folder, 1, 3. does",
    ),
    "rows of one curve": (lambda: curves([WAVES[0]] * N), "All curves are the same: there is nothing to"),
    "one image": (lambda: images(PIXELS[:1].repeat(N, 0)), "All images are the same: there is nothing to"),
    "no columns": (lambda: array(np.zeros((N, 0))), r"x must have columns, and has none: .* .120, 0."),
    "empty": (lambda: array(np.zeros((0, 3))), "There are 0 rows, and at least 60 are needed"),
    "large names": (lambda: array(AGE + 2**60), "column 0 holds whole numbers beyond 9.0e[+]15, where neigh"),
    "unsigned": (
        lambda: table({"id": np.arange(N, dtype=np.uint64) * np.uint64(2**57)}),
        "id holds whole numbers beyond 9.0e[+]15, .*: leave them out if they are names of rows",
    ),
    "beyond all": (lambda: table({"id": [10**400 + i for i in range(N)]}), "id holds whole numbers beyond"),
    "masked": (
        lambda: table({"a": np.ma.masked_less(WAVES[:, 3], WAVES[17, 3] + 1e-9)}),
        "a holds .* values that are missing",
    ),
    "masked rows": (
        lambda: array(np.ma.masked_equal(WAVES, WAVES[17, 2])),
        "x holds 1 values that are missing or infinite, the first in row 17",
    ),
    "days": (lambda: table({"when": [date(2000, 1, 1 + k % 28) for k in range(N)]}), "when holds dates or"),
    "hours": (lambda: table({"for": [timedelta(hours=k) for k in range(N)]}), "for holds dates or times"),
    "unequal objects": (
        lambda: curves(np.array([[1.0] * (2 + k % 2) for k in range(N)], dtype=object)),
        "y must hold curves of one length, not from 2 to 3 points",
    ),
    "mixed gaps": (lambda: array([[1, None]] * N), "x holds 120 values that are missing"),
    "all held out": (lambda: split(array(WAVES), 0.9), "held_out must leave 20 rows in each part of 120"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_data_get_a_sentence(what: str) -> None:
    call, said = BAD[what]
    with pytest.raises(ValueError, match=said):
        call()


@pytest.mark.parametrize(
    "call", [lambda: array(TOWN), lambda: array(3), lambda: table(WAVES), lambda: fit(WAVES)]
)
def test_data_of_another_type_are_refused(call) -> None:
    with pytest.raises(TypeError, match="must (hold numbers|be an array|be a data frame|be of type Rows)"):
        call()


def test_an_image_is_taken_as_a_viewer_shows_it(folder: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: the camera was held on its side
    for i, pixels in enumerate(PIXELS):
        Image.fromarray(np.rot90(pixels)).save(folder / f"{i:03}.png", exif=turned)
    assert np.array_equal(images(folder).values[0].reshape(PIXELS.shape), PIXELS)


@pytest.mark.parametrize(
    ("turns", "updates"), [(Turns(), (3, 3)), (Turns(d_steps=5), (3, 15)), (Turns(g_steps=2), (6, 3))]
)
def test_the_rates_of_both_players_have_faded_at_the_end(
    turns: Turns, updates: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    used = {}

    def spied(G: Any, D: Any, *rest: Any, **options: Any) -> Any:
        used.update(options)
        return train(G, D, *rest, **options)

    monkeypatch.setattr(your_data, "train", spied)
    small(array(WAVES), turns=turns)
    for player, expected in zip("gd", updates, strict=True):
        optimiser = used[f"{player}_opt"]
        assert {int(state["step"]) for state in optimiser.state.values()} == {expected}
        assert optimiser.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def test_an_optimiser_is_given_as_a_function_of_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    small(array(WAVES), d_opt=lambda D: made.append(adam(D, 1e-4)) or made[0])
    assert {int(state["step"]) for state in made[0].state.values()} == {3}


def test_a_checkpoint_of_other_rows_is_refused(tmp_path: Path) -> None:
    small(array(WAVES), checkpoint=tmp_path / "run")
    with pytest.raises(CheckpointError, match="data is"):
        small(array(WAVES[::-1]), checkpoint=tmp_path / "run")


def test_images_of_mixed_sizes_and_broken_ones_are_named(folder: Path) -> None:
    Image.new("L", (9, 9)).save(folder / "050.png")
    with pytest.raises(ValueError, match="one size, but 000.png has 5 x 4 pixels and 050.png 9 x 9: resize"):
        images(folder)
    Image.fromarray(PIXELS[0].astype(np.uint16) * 200).save(folder / "050.png")
    with pytest.raises(ValueError, match="050.png has pixels of more than 8 bits: convert all images"):
        images(folder)
    (folder / "050.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="050.png is no image that can be read"):
        images(folder)
    for file in sorted(folder.glob("*.png"))[:100]:
        file.unlink()
    with pytest.raises(ValueError, match="There are 20 images in [^,]*, and at least 60 are needed"):
        images(folder)
    (folder / "more.png").mkdir()
    with pytest.raises(ValueError, match="There are 20 images in .*, not counting the folders in it, and at"):
        images(folder)


def test_transparency_is_left_out_and_several_images_in_a_file_are_refused(folder: Path) -> None:
    Image.fromarray(np.stack([PIXELS[0], PIXELS[1]], 2), "LA").save(folder / "000.png")
    assert np.array_equal(images(folder).values[0].reshape(PIXELS.shape), PIXELS)
    first, second = (Image.fromarray(pixels) for pixels in PIXELS[:2])
    first.save(folder / "film.gif", save_all=True, append_images=[second])
    with pytest.raises(ValueError, match="film.gif holds 2 images: make a file of each, or keep one"):
        images(folder)


@pytest.mark.parametrize(
    ("categories", "shown"), [("sex", "'sex' (str): write ['sex']"), (1, "1 (int): write [1]")]
)
def test_one_name_is_no_list_of_names(categories, shown: str) -> None:
    with pytest.raises(
        TypeError, match=re.escape(f"categories must be a list of names of columns, not {shown}.")
    ):
        table({"s": AGE % 2, "e": AGE % 3, "x": AGE % 4}, categories=categories)


def test_names_that_are_no_text_can_be_categories() -> None:
    columns = table({1: AGE % 3, 2: AGE}, categories=iter([1])).units.columns
    assert [type(column) for column in columns] == [Category, Number]
    with pytest.raises(ValueError, match="categories must name columns, and 3 is none"):
        table({1: AGE % 3, 2: AGE}, categories=[3])


def test_images_have_a_last_axis_of_one_three_or_four_colours() -> None:
    for colours in (1, 3, 4):
        assert images(np.stack([PIXELS] * colours, 3)).units.shape == (4, 5, colours)


# Split


def test_a_level_that_is_not_in_both_parts_is_named() -> None:
    town = TOWN.astype("<U6")
    town[[17, 90]] = "Ulm"
    rows, whole = table({"town": town, "age": AGE}), array(np.arange(N))
    said, absent = {0: "to learn from", 2: "to judge by"}, []
    for seed in range(40):
        parts = split(whole, seed=seed)
        held_out = set(parts.units.decode(parts.held_out).tolist())  # the same rows, by their places
        absent.append(len({17, 90} - held_out))
        if absent[-1] == 1:
            age = split(rows, seed=seed).units.decode(split(rows, seed=seed).held_out)["age"]
            assert sorted(age) == sorted(AGE[sorted(held_out)])
        else:
            n = {0: 80, 2: 40}[absent[-1]]
            words = f"town has levels that are in none of the {n} rows {said[absent[-1]]}, Ulm: join them "
            with pytest.raises(ValueError, match=f"{words}with others, or take another seed than {seed}[.]"):
                split(rows, seed=seed)
    assert set(absent) == {0, 1, 2}


def test_another_seed_is_not_advised_where_none_would_do() -> None:
    rows = table({"ward": [f"ward {i % 40}" for i in range(200)]})  # five rows of each
    for seed in range(20):
        with pytest.raises(ValueError, match="to (judge by|learn from), ward .*: join them with others[.]$"):
            split(rows, seed=seed)


def test_a_row_is_in_one_part_alone_and_means_are_those_of_the_training_rows() -> None:
    rows = array(np.c_[np.arange(N), WAVES[:, 0]])
    parts = split(rows, seed=1)
    both = (parts.train, parts.held_out)
    train, held = (parts.units.decode(part)[:, 0].round().astype(int) for part in both)
    assert sorted([*train, *held]) == list(range(N)) and len(held) == 40
    spread = parts.train.std(0, correction=0)
    assert parts.train.mean(0).abs().max() < 1e-6 and (spread - 1).abs().max() < 1e-6
    assert parts.held_out.mean(0).abs().max() > 1e-3
    assert torch.equal(parts.train, split(rows, seed=1).train)
    assert not torch.equal(parts.train, split(rows, seed=2).train)


def test_a_column_without_spread_among_the_training_rows_is_refused() -> None:
    """Its standard deviation is 0: there is no unit in which to learn it."""
    rare = np.zeros(N)
    rare[:2] = 1
    rows, refused = array(np.c_[WAVES[:, 0], rare]), []
    for seed in range(30):
        parts = split(array(np.arange(N)), 0.6, seed)
        held_out = set(parts.units.decode(parts.held_out).tolist())  # the same rows, by their places
        refused.append({0, 1} <= held_out)
        if refused[-1]:
            said = "column 1 holds the same value in all 48 rows to learn from, and others in those to judge "
            with pytest.raises(
                ValueError, match=f"{said}by alone: take another seed than {seed}, or leave it"
            ):
                split(rows, 0.6, seed)
        else:
            assert (split(rows, 0.6, seed).train.std(0, correction=0) - 1).abs().max() < 1e-5
    assert set(refused) == {True, False}


def test_generators_know_their_rows_again_and_refuse_others(tmp_path: Path) -> None:
    rows = table(COLUMNS)
    G = load(small(rows, held_out=0.4, seed=3).save(tmp_path / "G"), device="cpu")
    assert torch.equal(split_of(G, table(dict(COLUMNS))).held_out, split(rows, 0.4, 3).held_out)
    for other in (COLUMNS | {"age": AGE[::-1]}, {k: v[:-1] for k, v in COLUMNS.items()}):
        with pytest.raises(ValueError, match="rows are not those that the generators learned from"):
            split_of(G, table(other))
    with pytest.raises(ValueError, match="generators must come from fit"):
        split_of(Generators(G.network, G.noise), rows)


def test_rows_are_known_by_their_data_and_not_by_the_last_digit_of_a_mean() -> None:
    rows = table(COLUMNS)
    age, *others = rows.units.columns
    elsewhere = dataclasses.replace(age, mean=np.nextafter(age.mean, 99))
    units = dataclasses.replace(rows.units, columns=(elsewhere, *others))
    assert Rows(rows.values, units).digest == rows.digest
    for name in COLUMNS:
        assert table(COLUMNS | {name: COLUMNS[name][::-1]}).digest != rows.digest
    assert table({name.upper(): values for name, values in COLUMNS.items()}).digest != rows.digest


# Learned


def test_generators_learn_from_the_training_rows_alone_by_their_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def resample(data: Tensor):
        seen.append(data)
        return resampled(data)

    resampled = your_data.Resample
    monkeypatch.setattr(your_data, "Resample", resample)
    rows = array(WAVES[:, :3])
    one, other = small(rows), small(rows)
    assert torch.equal(seen[0].cpu(), split(rows, seed=1).train)
    z = Stream("z", 1).normal(2, 5, 3)
    assert torch.equal(one.made(z), other.made(z))
    assert not torch.equal(one.made(z), small(rows, seed=2).made(z))


def test_networks_of_ones_own_are_welcome() -> None:
    def own(sizes: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(mlp(*sizes), nn.Softmax(-1))  # which has no stacked form

    rows = array(WAVES[:, :3])
    G = small(rows, G=lambda: own((2, 4, 3)), D=lambda: mlp(3, 4, 1), noise=2, stacked=False)
    assert not G.network.is_stacked and G.sample(5, Stream("new", 1)).shape == (5, 3)


def test_convolutions_are_welcome_if_they_make_rows() -> None:
    def convolved(*last: nn.Module) -> nn.Module:
        first = nn.Linear(2, 20), nn.Unflatten(1, (1, 4, 5))
        return nn.Sequential(*first, nn.Conv2d(1, 1, 3, padding=1), *last)

    def judging_() -> nn.Module:
        return nn.Sequential(nn.Unflatten(1, (1, 4, 5)), nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(12, 1))

    rows = images(PIXELS)
    G = small(rows, G=lambda: convolved(nn.Flatten()), D=judging_, noise=2)
    assert G.sample(5, Stream("new", 1)).shape == (5, 4, 5)
    said = r"G must make rows of 20 numbers, not of shape .1, 4, 5.: nn.Flatten"
    with pytest.raises(ValueError, match=said):
        small(rows, G=convolved, D=judging_, noise=2)
    with pytest.raises(ValueError, match=r"G must make rows of 20 numbers, not of shape .3,."):
        small(rows, G=lambda: mlp(2, 3), noise=2)


def test_seeds_that_fail_are_left_out_and_no_seed_left_is_an_error() -> None:
    def broken(who: slice):
        def loss(G, D, x, z):
            losses = your_data.g_loss(G, D, x, z)
            weight = torch.ones_like(losses)
            weight[who] = torch.nan
            return losses * weight

        return loss

    rows = array(WAVES[:, :3])
    assert small(rows, g_loss=broken(slice(1, 2))).seeds == 1
    with pytest.raises((UnfinishedRunError, NonFiniteLossError), match="2 of 2 seeds|became NaN"):
        small(rows, g_loss=broken(slice(None)))


def test_ten_lines_are_enough(tmp_path: Path) -> None:
    rows = table(COLUMNS)
    G = fit(rows, seeds=2, steps=3)
    G.save(tmp_path / "mine.safetensors")
    G = load(tmp_path / "mine.safetensors")
    new = G.sample(1_000, Stream("new"))
    judged = report(G, rows)
    judged.save(tmp_path / "mine.html")
    assert len(new["age"]) == 1_000 and len(judged.verdicts) == 4


# Judged


def judge(x: Tensor) -> judging._Judge:
    return judging._Judge(split(array(x), 0.5, 1), 1)


def test_real_rows_pass_and_copies_pass_but_are_seen() -> None:
    x = Stream("x", 1).normal(800, 2)
    judging_ = judge(x)
    parts = split(array(x), 0.5, 1)
    fresh = judging_.measured(fresh_from(2, 4))
    assert int(judging_.passed(fresh).sum()) >= 3
    assert (fresh["copying"] - 0.5).abs().max() < 0.1 and (fresh["closeness"] - 1).abs().max() < 0.25
    copies = judging_.measured(judging.bootstrap(parts.train)(4, 400, Stream("b", 1)))
    assert copies["copying"].min() > 0.9 and copies["closeness"].max() < 1e-6
    shifted = judging_.measured(fresh_from(3) + 0.7)
    assert not judging_.passed(shifted).any() and shifted["told"].min() > judging_.real["told"].max()
    one_place = judging_.measured(0.1 * fresh_from(4))
    assert not judging_.passed(one_place).any() and one_place["coverage"].max() < 0.5
    assert shifted["distance"].min() > fresh["distance"].max() + 0.2


def fresh_from(seed: int, seeds: int = 2) -> Tensor:
    """Return samples of the true distribution, as standardised rows of `judge` are."""
    train = split(array(Stream("x", 1).normal(800, 2)), 0.5, 1).units
    mean, sd = (torch.tensor([getattr(c, name) for c in train.columns]) for name in ("mean", "sd"))
    return (Stream("x", seed).normal(seeds, 400, 2) - mean) / sd


@pytest.mark.parametrize("measure", ["distance", "coverage", "told"])
def test_one_measure_beyond_all_real_rows_is_enough_to_fail(measure: str) -> None:
    judging_ = judge(Stream("x", 1).normal(120, 2))
    real = judging_.real
    ends = {key: real[key].max() for key in ("distance", "told")} | {"coverage": real["coverage"].min()}
    within = {key: value.expand(3) for key, value in ends.items()}
    assert judging_.passed(within).all()
    worse = -0.01 if measure == "coverage" else 0.01
    beyond = within | {measure: within[measure] + worse * torch.tensor([0.0, 1.0, 0.0])}
    assert judging_.passed(beyond).tolist() == [True, False, True]


def test_samples_that_are_too_much_alike_can_be_nearer_without_covering_less() -> None:
    judging_ = judge(Stream("x", 1).normal(600, 10))
    fresh = Stream("f", 1).normal(4, 300, 10).double()
    spread, alike = judging_.measured(fresh), judging_.measured(0.8 * fresh)
    assert alike["distance"].max() < min(spread["distance"].min(), judging_.real["distance"].min())
    assert alike["coverage"].mean() > spread["coverage"].mean()
    assert alike["density"].min() > max(spread["density"].max(), judging_.real["density"].max())


def test_units_of_the_distance_are_those_of_the_network() -> None:
    made = {
        "level": (table({"l": ["a"] * 2 + ["b"] * (N - 2)}), 2**0.5),
        "pixels": (images(PIXELS), 2 * 20**0.5),
    }
    for rows, apart in made.values():
        column, values = rows.units.columns[0], rows.values[0]
        two = ["a", "b"] if isinstance(column, Category) else np.stack([0 * values[0], 0 * values[0] + 255])
        assert float(column.encoded(np.array(two)).diff(dim=0).norm()) == pytest.approx(apart)
    assert "in the units that the network sees" in report_pages.HEADS["distance"]


def test_membership_is_the_area_under_the_curve_of_the_attack() -> None:
    train, held = torch.tensor([[0.0], [5.0]]), torch.tensor([[2.0], [9.0]])
    x = torch.tensor([[[0.0], [4.0]], [[2.0], [9.0]], [[1.0], [7.0]]])  # distances 0, 1; 2, 3; 1, 2 of train
    assert judging.membership(x, train, held).tolist() == [1.0, 0.0, 0.5]
    many = Stream("x", 1).normal(1, 300, 3)
    assert judging.membership(many, many[0], many[0] + 9) == 1
    fresh = [Stream(name, 1).normal(200, 3) for name in ("t", "h")]
    assert abs(judging.membership(many, *fresh) - 0.5) < 0.1


def test_copying_by_chance_is_about_a_half() -> None:
    judging_ = judge(Stream("x", 1).normal(800, 2))
    found = judging_.shuffled(fresh_from(2)[0])
    assert len(found) == judging.SHUFFLES and abs(found.mean() - 0.5) < 0.02 and found.std() < 0.05


def test_what_is_judged_is_what_a_reader_gets() -> None:
    rows = array(np.c_[AGE, RNG.integers(0, 2, N)])
    judging_ = judging._Judge(split(rows, 0.5, 1), 1)
    doubtful = split(rows, 0.5, 1).train.unsqueeze(0) + 0.001
    assert judging_.measured(doubtful)["closeness"] < 1e-5


def test_rivals_have_the_moments_of_the_rows_and_nothing_of_other_rows() -> None:
    train = Stream("x", 1).normal(500, 1) @ torch.tensor([[1.0, -2.0, 0.0]]) + 3  # no spread but along a line
    made = judging.gaussian(train)(2, 4_000, Stream("g", 1))
    assert torch.allclose(made.flatten(0, 1).mean(0), train.double().mean(0), atol=0.1)
    assert torch.allclose(made.flatten(0, 1).T.cov(), train.double().T.cov(), atol=0.2)
    modes = torch.cat([Stream("a", 1).normal(250, 2), Stream("b", 1).normal(250, 2) + 9])
    drawn = judging.mixture(modes)(2, 1_000, Stream("m", 1))
    share = (drawn[..., 0] > 4.5).double().mean(1)
    assert (share - 0.5).abs().max() < 0.06  # in each seed's part: they are shuffled
    again = judging.bootstrap(modes)(2, 100, Stream("b", 1))
    assert (torch.cdist(again.double(), modes.double()).amin(2) == 0).all()


def test_above_some_width_the_numbers_of_the_gaussian_are_independent(monkeypatch) -> None:
    train = Stream("x", 1).normal(500, 1) @ torch.tensor([[1.0, -2.0]]) + 3
    monkeypatch.setattr(judging, "WHOLE", 1)
    made = judging.gaussian(train)(2, 4_000, Stream("g", 1)).flatten(0, 1)
    found, own = made.T.cov(), train.double().T.cov()
    assert torch.allclose(made.mean(0), train.double().mean(0), atol=0.1)
    assert torch.allclose(found.diag(), own.diag(), rtol=0.1)
    assert own[0, 1].abs() > 1 and found[0, 1].abs() < 0.1


def test_a_mixture_has_as_many_modes_as_the_rows_ask_for() -> None:
    centres = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0))  # 36 clouds
    train = (centres.repeat(20, 1) + 0.05 * Stream("x", 1).normal(720, 2)).float()
    drawn = judging.mixture(train)(1, 2_000, Stream("m", 1))[0]
    near = torch.cdist(drawn, centres.double()).amin(1) < 0.25
    assert near.double().mean() > 0.8


def columns(distance: list[float], copying: float = 0.5, closeness: float = 1.0) -> dict[str, Tensor]:
    n = len(distance)
    one = torch.ones(n, dtype=torch.float64)
    return {
        "distance": torch.tensor(distance, dtype=torch.float64), "passes": torch.arange(n) == 0,
        "copying": copying * one, "closeness": closeness * one,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("gan", "said"),
    [
        ([1.0, 1.1, 1.2, 1.3, 1.4, 1.5], "better than the Gaussian: 1.25 against 2.25"),
        ([3.0, 3.1, 3.2, 3.3, 3.4, 3.5], "worse than the Gaussian"),
        ([2.05, 2.15, 2.25, 2.35, 2.45, 2.55], "no better than the Gaussian, as far as 6 seeds can tell"),
        ([1.0, 1.1], "cannot be told from the Gaussian by 2 seeds: train 5 or more"),
    ],
)
def test_no_better_than_a_gaussian_is_an_answer(gan: list[float], said: str) -> None:
    other = columns([2.0, 2.1, 2.2, 2.3, 2.4, 2.5][: len(gan)])
    rows = {"GAN": columns(gan), "Gaussian": other, "mixture": other, "bootstrap": other}
    found = judging.verdicts(rows, {"copying": torch.linspace(0.4, 0.6, 100)})
    assert f"1 of {len(gan)} seeds pass" in found[0] and said in found[1] and "bootstrap" not in str(found)


@pytest.mark.parametrize(("copying", "closeness", "leans"), [(0.5, 1.0, 0), (0.7, 1.0, 1), (0.5, 0.1, 1)])
def test_leaning_to_the_training_rows_is_said(copying: float, closeness: float, leans: bool) -> None:
    rows = {"GAN": columns([1.0] * 6, copying, closeness), "Gaussian": columns([1.0] * 6)}
    found = judging.verdicts(rows, {"copying": torch.linspace(0.4, 0.6, 100)})[-1]
    assert ("leans to the rows" in found) == leans and ("no proof of privacy" in found) != leans


def test_where_rows_repeat_copying_cannot_be_told() -> None:
    rows = table({"town": TOWN, "smokes": COLUMNS["smokes"]})
    judged = report(small(rows), rows, seed=1)
    assert judged.verdicts[-1].startswith("Copying cannot be told") and len(judged.verdicts) == 4
    assert all(columns["closeness"].isfinite().all() for columns in judged.rows.values())
    assert judged.rows["bootstrap"]["closeness"].tolist() == [1, 1]


@pytest.mark.parametrize("kind", ["table", "images", "curves", "line"])
def test_a_page_needs_nothing_else_and_shows_names_as_they_are(kind: str, tmp_path: Path) -> None:
    made = {
        "table": lambda: table({"<script>$x": AGE, "town": TOWN} | {f"c{i}": WAVES[:, i] for i in range(12)}),
        "images": lambda: images(PIXELS), "curves": lambda: curves(WAVES), "line": lambda: array(WAVES[:, 0]),
    }  # fmt: skip
    rows = made[kind]()
    judged = report(small(rows), rows, seed=1)
    page = judged.save(tmp_path / "mine.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 1
    text = re.sub('base64,[^"]*', "", page)
    assert "<script" not in text and "http" not in text and "url(" not in text
    for verdict in judged.verdicts:
        assert verdict in page
    shows = {
        "table": "how often values occur in 40 real rows that were held out, with the extreme ones",
        "images": "24 real images that were held out", "curves": "20 real curves that were held out",
    }  # fmt: skip
    shows["line"] = shows["table"]
    sentence = f"<p>The picture shows {shows[kind]}. Keep this page where the data are."
    assert f"{sentence} Saved with <code>real=False</code> it has no picture.</p><img" in page
    bare = judged.save(tmp_path / "bare.html", real=False).read_text(encoding="utf-8")
    assert "<img" not in bare and sentence not in bare and "it would show real rows" in bare
    assert bare.split("<h2>Samples")[0] == page.split("<h2>Samples")[0]
    hostile = dataclasses.replace(judged, origin={"data": "<script>"})
    assert "<script" not in report_pages.page(hostile)
    assert len(re.findall("<tr>", page)) == 11 and "real rows" in page
    record = json.loads((tmp_path / "mine.json").read_text(encoding="utf-8"))
    assert record["verdicts"] == judged.verdicts
    assert set(record["rows"]) == {"GAN", "Gaussian", "mixture", "bootstrap", "real rows"}
    assert len(record["rows"]["GAN"]["distance"]) == 2
    again = report(small(rows), rows, seed=1)
    assert again.record() == judged.record()


def test_dark_samples_look_dark_beside_bright_rows() -> None:
    rows = images(PIXELS)
    judged = report(small(rows), rows, seed=1)
    held_out = judged.units.decode(judged.shown[0])
    figure = report_pages._images(held_out, held_out // 20, 255)
    above, below = (ax.images[0].get_array() for ax in figure.axes)
    assert above.max() == held_out[:24].max() / 255 and below.max() <= 0.05
    # On the page black, grey and white are three pictures.
    alike = [
        dataclasses.replace(judged, shown=(judged.shown[0], torch.full((40, 20), x))) for x in (-1.0, 0, 1)
    ]
    with np.errstate(all="raise"):
        assert len({report_pages.page(each) for each in alike}) == 3


def test_money_is_no_mathematics(tmp_path: Path) -> None:
    price = np.where(TOWN == "Rome", "$x_$", "$5-$10")
    rows = table({"price": price, "a" * 29 + "$x_$": AGE})
    judged = report(small(rows), rows, seed=1)
    assert judged.save(tmp_path / "mine.html").exists()
    x = [x.double() for x in judged.shown]
    ax, other = report_pages._columns(*x, judged.units).axes[:2]
    assert [label.get_text() for label in ax.get_xticklabels()] == [r"\$5-\$10", r"\$x_\$"]
    assert other.get_title() == "a" * 29 + r"\$"


@pytest.mark.parametrize("scale", [1.0, 1e-12])
def test_a_histogram_has_bars_in_any_unit(scale: float) -> None:
    ax, values = Figure().subplots(), scale * RNG.normal(size=500)
    report_pages._column(ax, Number("x", 0.0, scale), values, 1.1 * values)
    assert all((np.asarray(drawn.get_data().values) > 0).sum() > 10 for drawn in ax.patches)

"""The tables behind the claims: complete, readable, and made from seeds of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_helpers import calibration
from gan_helpers.calibration import FIRST_SEED, TABLES, Table, ledger, rows
from gan_helpers.metrics import GaussianFit
from gan_helpers.recipes import edward_mnist, fifty_lines, mxnet_gaussian

ASSETS = Path(calibration.__file__).parent / "assets"


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_is_there_with_all_its_runs(name: str) -> None:
    columns = ledger(name)
    assert {len(column) for column in columns.values()} == {TABLES[name].seeds}
    runs = set(zip(columns["seed"].tolist(), columns["member"].tolist(), strict=True))
    assert len(runs) == TABLES[name].seeds, "a run is there twice"


@pytest.mark.parametrize("name", sorted(TABLES))
def test_no_table_uses_a_seed_that_readers_start_from(name: str) -> None:
    assert ledger(name)["seed"].min() >= FIRST_SEED


def test_no_table_is_left_over() -> None:
    assert {path.stem for path in ASSETS.glob("*.csv")} == set(TABLES)


def test_an_unknown_table_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"fifty_lines_original.*not 'nothing'"):
        ledger("nothing")


def test_rows_count_members_and_change_the_seed_with_the_ensemble() -> None:
    table = Table(lambda seeds, seed: {"w1": torch.arange(seeds) + float(seed)}, 5)
    made = list(rows(table, seeds=5, ensemble=2))
    assert [(row["seed"], row["member"]) for row in made] == [
        (FIRST_SEED + i, k) for i, k in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0))
    ]
    assert made[3]["w1"] == FIRST_SEED + 2


@pytest.mark.parametrize("wrong", [0, -1])
def test_rows_want_at_least_one_run(wrong: int) -> None:
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        list(rows(Table(lambda seeds, seed: {}, 1), seeds=wrong, ensemble=2))


def test_the_command_lists_the_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["calibration", "--list"])
    calibration.main()
    assert capsys.readouterr().out.split() == sorted(TABLES)


def test_the_command_makes_a_table_and_makes_it_longer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "assets").mkdir()
    monkeypatch.setattr(calibration, "__file__", str(tmp_path / "calibration.py"))
    monkeypatch.setattr(calibration, "files", lambda _: tmp_path)
    small = Table(lambda seeds, seed: {"w1": torch.arange(seeds) + float(seed)}, 5, ensemble=2)
    monkeypatch.setitem(TABLES, "small", small)
    for arguments in ([], ["--more", "3"]):
        monkeypatch.setattr(sys, "argv", ["calibration", "small", *arguments])
        calibration.main()
    assert capsys.readouterr().out.split("\n")[:2] == ["small.csv holds 5 runs.", "small.csv holds 8 runs."]
    assert ledger("small")["seed"].tolist() == [FIRST_SEED + i for i in (0, 0, 1, 1, 2, 3, 3, 4)]
    assert ledger("small")["w1"].tolist() == [FIRST_SEED + i for i in (0, 1, 1, 2, 2, 3, 4, 4)]


def test_the_ideal_discriminator_guesses_where_both_laws_are_one_and_is_right_where_they_are_apart() -> None:
    law = mxnet_gaussian.REAL
    means = torch.stack([law.mean, law.mean + 100]).double()
    fit = GaussianFit(means, law.covariance.double().expand(2, 2, 2))
    assert mxnet_gaussian.ideal(fit, seed=5).tolist() == pytest.approx([0.5, 1.0], abs=0.01)


def test_the_ideal_discriminator_is_right_as_often_as_the_distance_in_variation_says() -> None:
    law = mxnet_gaussian.REAL
    shift = torch.tensor([1.0, 2.0]).double()  # along the first row of A: one standard deviation of the noise
    fit = GaussianFit((law.mean.double() + shift)[None], law.covariance.double()[None])
    a = mxnet_gaussian.A.double()
    apart = torch.linalg.solve(a.mT, shift).norm().item()
    expected = torch.special.ndtr(torch.tensor(apart / 2)).item()
    assert mxnet_gaussian.ideal(fit, seed=5).item() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("run", "columns"), [(calibration._order, {"change"}), (calibration._early, {"g_loss", "d_loss"})]
)
def test_a_short_table_has_one_number_per_run(
    run: Callable[[int, int], dict[str, Tensor]], columns: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = replace(fifty_lines.original(), steps=2), edward_mnist.original
    monkeypatch.setattr(fifty_lines, "original", lambda: short)
    monkeypatch.setattr(edward_mnist, "original", lambda images, steps: long(images, steps=502))
    made = run(2, 5)
    assert set(made) == columns and {tuple(column.shape) for column in made.values()} == {(2,)}
    assert all(column.isfinite().all() and (column > 0).all() for column in made.values())

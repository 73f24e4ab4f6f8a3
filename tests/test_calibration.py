"""The tables behind the claims: complete, readable, and made from seeds of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from gan_helpers import calibration
from gan_helpers.calibration import FIRST_SEED, TABLES, Table, ledger, rows

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

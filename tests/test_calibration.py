"""The tables behind the claims: complete, readable, made from seeds of their own, and whole at any moment."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from gan_helpers import calibration, tables
from gan_helpers.tables import FIRST_SEED, FOLDER, Table, ledger
from tests.reliability import Reached, measured

TABLES = calibration.tables()


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_is_there_with_all_its_runs_from_seeds_that_no_reader_starts_from(name: str) -> None:
    columns = ledger(name)
    assert {len(column) for column in columns.values()} == {TABLES[name].seeds}
    runs = set(zip(columns["seed"].tolist(), columns["member"].tolist(), strict=True))
    assert len(runs) == TABLES[name].seeds, "a run is there twice"
    assert columns["seed"].min() >= FIRST_SEED


def test_no_table_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.csv")} == set(TABLES)


def test_reading_a_table_loads_no_recipe() -> None:
    program = (
        f"import sys; from gan_helpers.tables import ledger; ledger({min(TABLES)!r}); print([*sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "gan_helpers.tables" in done.stdout and "gan_helpers.recipes" not in done.stdout


def test_a_table_that_cannot_be_read_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=f"{min(TABLES)}.*not 'nothing'"):
        ledger("nothing")
    text = calibration.written([{"seed": 1_000 + k, "w1": k / 3} for k in range(3)])
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    for left in range(len(text)):
        (tmp_path / "cut.csv").write_text(text[:left], encoding="utf-8")
        with pytest.raises(ValueError, match=r"cut\.csv is empty or cut .*: `python -m .* cut` makes it "):
            ledger("cut")
    (tmp_path / "cut.csv").write_text(text, encoding="utf-8")
    assert ledger("cut")["w1"].tolist() == [0, 0.333333, 0.666667]


def test_blocks_have_one_number_for_each_run_and_change_the_seed(tmp_path: Path) -> None:
    made = calibration.blocks(tmp_path, seeds=5, ensemble=2)
    for block in made:
        calibration.keep(Table(lambda runs, seed: {"w1": torch.arange(runs) + float(seed)}, 5), block)
    rows = [tuple(row.values()) for block in made for row in block.rows()]
    assert rows == [(1_000 + i, k, 1_000.0 + i + k) for i, k in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0))]
    with pytest.raises(ValueError, match="w1 must have one number for each of 2 runs"):
        block = calibration.blocks(tmp_path / "short", seeds=2, ensemble=2)[0]
        calibration.keep(Table(lambda runs, seed: {"w1": torch.zeros(3)}, 2), block)
    assert not block.file.exists()


def test_a_block_of_another_version_of_the_package_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "PACKAGE", tmp_path)
    versions = []
    for text in ("a = 1", "a = 2", "a = 2"):
        (tmp_path / "recipe.py").write_text(text, encoding="utf-8")
        versions.append(calibration.version())
    assert versions[0] != versions[1] == versions[2]


# The command, in a copy of the package with a small table

SMALL = """
import torch
from gan_helpers import Ensemble, adam, losses, train
from gan_helpers.data import Normal, Uniform
from gan_helpers.models import mlp
from gan_helpers.tables import Table

def run(seeds, seed):
    G, D = (Ensemble(lambda: mlp(1, 8, 1), seeds, name=name, seed=seed, device="cpu") for name in "GD")
    train(
        G, D, Normal(4.0, 1.25), Uniform(0.0, 1.0), batch=8, steps=100, seed=seed,
        d_loss=lambda G, D, x, z: losses.minimax_d(D(x), D(G(z).detach())), d_opt=adam(D, 1e-3),
        g_loss=lambda G, D, x, z: losses.non_saturating_g(D(G(z))), g_opt=adam(G, 1e-3),
    )
    return {"half": G(torch.full((seeds, 1, 1), 0.5)).detach().flatten()}

TABLES = {"table": Table(run, 4, ensemble=2)}
"""
#: Another table in its place, with the same columns, and one that takes no time.
OLD = calibration.written([{"seed": 1_000, "member": 0, "half": 0.5}])
HALVES = Table(lambda runs, seed: {"half": torch.full((runs,), 0.5)}, 1)
AS_IT_WAS = "The table is as it was. The same command goes on from the finished blocks.\n"


def copied(root: Path, *launcher: str) -> Callable[..., subprocess.Popen[str]]:
    """Copy the package with the small table alone, and return what starts the command that makes it."""
    unwanted = shutil.ignore_patterns("__pycache__", "*.csv", "*.gz")
    shutil.copytree(calibration.PACKAGE, root / "gan_helpers", ignore=unwanted)
    recipes = root / "gan_helpers" / "recipes"
    for path in recipes.glob("[!_]*.py"):
        path.unlink()
    (recipes / "small.py").write_text(SMALL, encoding="utf-8")
    (root / "pyproject.toml").touch()
    command = [sys.executable, *launcher, "-m", "gan_helpers.calibration", "small_table"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # in the background too
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "preexec_fn": heard}
    given |= {"cwd": root, "env": os.environ | {"PYTHONPATH": str(root)}, "start_new_session": True}
    return lambda *more: subprocess.Popen([*command, *more], **given)


@measured("kill", "SIGINT and SIGKILL at random moments while a table is made", fast=1, slow=20)
def test_what_stops_the_command_leaves_the_old_table_or_the_new_one(
    effort: int, reached: Reached, tmp_path: Path
) -> None:
    start, made, names = copied(tmp_path), calibration.blocks(tmp_path, 4, ensemble=2), dict[str, Any]()
    exec(SMALL, names)
    for block in made:
        calibration.keep(names["TABLES"]["table"], block)
    new = calibration.written([row for block in made for row in block.rows()])
    table = tmp_path / "gan_helpers" / "assets" / "small_table.csv"
    rng, half = random.Random(0), time.monotonic()
    for number in range(effort):
        table.write_text(OLD)
        process = start()
        if number == 0:  # by Ctrl-C when the first block is there, and then at any moment
            assert process.stdout.readline().startswith("1 of 2 blocks: 2 runs of base seed 1000 in ")
            half = time.monotonic() - half
        else:
            time.sleep(rng.uniform(0.3, 2.0) * half)
        os.killpg(process.pid, signal.SIGKILL if number % 2 else signal.SIGINT)  # to all, as a terminal does
        _, complaint = process.communicate(timeout=60)
        left = table.read_text()
        assert left in (OLD, new)
        if number == 0:
            assert (process.returncode, complaint, left) == (130, f"Stopped by hand. {AS_IT_WAS}", OLD)
        process = start("--processes", "2")
        said, complaint = process.communicate(timeout=300)
        assert (process.returncode, complaint, table.read_text()) == (0, "", new)
        assert said.endswith("small_table.csv holds 4 runs.\n")
        assert number or said.startswith("1 of 2 blocks are there already.\n")
        assert not (tmp_path / "_build" / "calibration" / "small_table").exists()
    reached(f"{effort} of {effort} times the old table or the new one, and the same one in the end")


@pytest.mark.reliability("processes", "a table made by two processes, and by more than it has blocks")
def test_processes_make_the_table_that_one_makes(reached: Reached, tmp_path: Path) -> None:
    made, names = calibration.blocks(tmp_path, 4, ensemble=2), dict[str, Any]()
    exec(SMALL, names)
    for block in made:
        calibration.keep(names["TABLES"]["table"], block)
    new = calibration.written([row for block in made for row in block.rows()])
    for ranks, complaint in (
        (2, ""),
        (3, "small_table has 2 blocks: start at most as many processes. The table is as it was."),
    ):
        root = tmp_path / str(ranks)
        start = copied(root, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}")
        process = start()
        said, words = process.communicate(timeout=300)
        assert (process.returncode == 0) == (ranks == 2), words
        assert complaint in words
        table = root / "gan_helpers" / "assets" / "small_table.csv"
        assert (table.read_text() if table.exists() else "") == (new if ranks == 2 else "")
        assert said.count("small_table.csv holds 4 runs.\n") == (ranks == 2)
    reached("the same to the last letter; one sentence")


def test_a_block_whose_program_is_gone_before_it_looks_is_not_made(tmp_path: Path) -> None:
    file = tmp_path / "1000-2.json"
    process = copied(tmp_path)("--block", "1000", "2", str(file), "1")  # 1 has not started it
    assert (*process.communicate(), process.returncode, file.exists()) == ("", "", 1, False)


def test_a_table_is_made_longer_and_what_stops_that_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dies, table = tmp_path / "python", tmp_path / "small_table.csv"
    dies.write_text("#!/bin/sh\nkill -9 $$\n")
    dies.chmod(0o755)
    table.write_text(OLD)
    for module in (tables, calibration):
        monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(calibration, "_scratch", lambda name: tmp_path / name)
    monkeypatch.setattr(calibration, "tables", lambda: {"small_table": HALVES})
    monkeypatch.setattr(calibration.signal, "signal", Mock())
    monkeypatch.setattr(sys, "executable", str(dies))

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["calibration", "small_table", *arguments])
        return calibration.main(), *capsys.readouterr()

    assert command() == (1, "", f"The runs of base seed 1000 did not end (code -9). {AS_IT_WAS}")
    refused = f"{dies} cannot be written: name another folder with --into. {AS_IT_WAS}"
    assert command("--into", str(dies)) == (1, "", refused)
    monkeypatch.setattr(calibration, "_make", lambda _, made, __: [calibration.keep(HALVES, b) for b in made])
    assert command("--more", "2", "--ensemble", "1") == (0, "small_table.csv holds 3 runs.\n", "")
    rows = [line.split(",")[:2] for line in table.read_text().splitlines()]
    assert rows == [["seed", "member"], ["1000", "0"], ["1001", "0"], ["1002", "0"], ["# 3 runs"]]

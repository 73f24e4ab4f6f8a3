"""The tables behind the claims: complete, readable, made from seeds of their own, and whole at any moment."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

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
        G, D, Normal(4.0, 1.25), Uniform(0.0, 1.0), batch=8, steps=400, seed=seed,
        d_loss=lambda G, D, x, z: losses.minimax_d(D(x), D(G(z).detach())), d_opt=adam(D, 1e-3),
        g_loss=lambda G, D, x, z: losses.non_saturating_g(D(G(z))), g_opt=adam(G, 1e-3),
    )
    return {"half": G(torch.full((seeds, 1, 1), 0.5)).detach().flatten()}

TABLES = {"table": Table(run, 4, ensemble=2)}
"""
AS_IT_WAS = "The table is as it was. The same command goes on from the finished blocks.\n"


class Copy:
    """A copy of the package, and the command that makes its small table."""

    def __init__(self, root: Path) -> None:
        unwanted = shutil.ignore_patterns("__pycache__", "*.csv", "*.gz")
        shutil.copytree(calibration.PACKAGE, root / "gan_helpers", ignore=unwanted)
        recipes = root / "gan_helpers" / "recipes"
        for path in recipes.glob("[!_]*.py"):
            path.unlink()
        (recipes / "small.py").write_text(SMALL, encoding="utf-8")
        (root / "pyproject.toml").touch()
        self.root, self.table = root, root / "gan_helpers" / "assets" / "small_table.csv"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "gan_helpers.calibration", "small_table", *arguments]
        env = os.environ | {"PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.root, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def text(self) -> str:
        return self.table.read_text(encoding="utf-8")

    def store_old(self) -> str:
        """Write another table in its place, with the same columns."""
        old = calibration.written([{"seed": 1_000, "member": 0, "half": 0.5}])
        self.table.write_text(old, encoding="utf-8")
        return old

    def run(self, *arguments: str) -> tuple[int, list[str], str]:
        """Return the exit code, the lines printed and what went to stderr."""
        process = self.start(*arguments)
        said, complaint = process.communicate(timeout=300)
        return process.returncode, said.splitlines(), complaint


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


@measured("kill", "SIGINT and SIGKILL at random moments while a table is made", fast=1, slow=20)
def test_what_stops_the_command_leaves_the_old_table_or_the_new_one(
    effort: int, reached: Reached, copy: Copy
) -> None:
    start = time.monotonic()
    code, said, complaint = copy.run("--processes", "2")
    whole, new = time.monotonic() - start, copy.text()
    assert (code, complaint, said[-1]) == (0, "", "small_table.csv holds 4 runs.")
    assert not (copy.root / "_build" / "calibration" / "small_table").exists()
    old = copy.store_old()
    rng = random.Random(0)
    for number in range(effort):
        copy.store_old()
        process = copy.start()
        time.sleep(rng.uniform(0.2, 1.0) * whole)
        os.killpg(process.pid, signal.SIGINT if number % 2 else signal.SIGKILL)
        process.communicate(timeout=60)
        assert copy.text() in (old, new)
        assert copy.run()[0] == 0 and copy.text() == new
    reached(f"{effort} of {effort} times the old table or the new one, and the same one in the end")


def test_ctrl_c_is_one_sentence_and_the_command_goes_on_and_makes_tables_longer(copy: Copy) -> None:
    old = copy.store_old()
    process = copy.start()
    assert process.stdout is not None and process.stdout.readline().startswith("1 of 2 blocks: 2 runs of ")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all that it has started
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (130, f"Stopped by hand. {AS_IT_WAS}")
    assert copy.text() == old
    code, said, _ = copy.run("--more", "2", "--ensemble", "1")
    assert (code, said[-1]) == (0, "small_table.csv holds 3 runs.")
    rows = [line.split(",")[:2] for line in copy.text().splitlines()]
    assert rows == [["seed", "member"], ["1000", "0"], ["1001", "0"], ["1002", "0"], ["# 3 runs"]]


def test_a_block_whose_program_is_gone_before_it_looks_is_not_made(copy: Copy) -> None:
    file = copy.root / "1000-2.json"
    code, said, complaint = copy.run("--block", "1000", "2", str(file), "1")  # 1 has not started it
    assert (code, said, complaint, file.exists()) == (1, [], "", False)


def test_a_run_that_does_not_end_and_a_folder_that_cannot_be_written_are_one_sentence(copy: Copy) -> None:
    (copy.root / "gan_helpers" / "recipes" / "small.py").write_text(
        "import os\nfrom gan_helpers.tables import Table\n"
        "TABLES = {'table': Table(lambda runs, seed: os.kill(os.getpid(), 9), 1)}\n",
        encoding="utf-8",
    )
    code, said, complaint = copy.run()
    assert (code, said) == (1, [])
    assert complaint == f"The runs of base seed 1000 did not end (code -9). {AS_IT_WAS}"
    code, _, complaint = copy.run("--into", str(copy.root / "pyproject.toml"))
    assert code == 1
    sentence = "pyproject.toml cannot be written: name another folder with --into."
    assert complaint.endswith(f"{sentence} {AS_IT_WAS}")

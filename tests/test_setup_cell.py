"""The cell that begins each chapter, the wheel that it installs, and what stands in for Colab."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import matplotlib
import pytest
import tomllib
from packaging.requirements import Requirement

from tools import colab
from tools.sheets import ROOT, load, notebooks

PACKAGE = ROOT / "gan_helpers"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

CHAPTERS = notebooks()
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def setup_cell(path: Path) -> Any:
    return next(c for c in load(path).cells if c.cell_type == "code")


def constant(source: str, name: str) -> Any:
    """Return what the cell assigns to a name."""
    (value,) = (
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )
    return ast.literal_eval(value)


def with_constant(source: str, name: str, value: Any) -> str:
    changed, count = re.subn(rf"^{name} = .*$", f"{name} = {value!r}", source, flags=re.MULTILINE)
    assert count == 1
    return changed


# The cells agree


def test_the_cell_is_the_same_in_all_chapters_but_for_what_the_chapter_needs() -> None:
    cells = [setup_cell(path) for path in CHAPTERS]
    assert len({with_constant(cell.source, "NEEDS", []) for cell in cells}) == 1
    assert len({json.dumps(cell.metadata, sort_keys=True) for cell in cells}) == 1
    assert "hide-input" in cells[0].metadata.tags


@every_chapter
def test_a_chapter_imports_nothing_that_is_not_installed(path: Path) -> None:
    """What the code imports is of Python itself, of the package's requirements, or named by the cell."""
    code = [c.source for c in load(path).cells if c.cell_type == "code"]
    imported: set[str] = set()
    for node in ast.walk(ast.parse("\n".join(code))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).split(".")[0])
    known = {Requirement(r).name for r in PROJECT["dependencies"]} | {"gan_helpers", "sklearn"}
    needs = " ".join(constant(code[0], "NEEDS"))
    missing = imported - known - set(sys.stdlib_module_names)
    assert {name for name in missing if name not in needs} == set()


# The cell at work


class Platform:
    """A Python in which gan_helpers is there or not, and pip notes what it is told."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.package_is_there = False
        self.told: list[list[str]] = []
        self.invalidated = 0
        find = importlib.util.find_spec
        patch.delenv("GAN_BOOK_WHEEL", raising=False)
        patch.setattr(importlib.util, "find_spec", lambda name: find(name) if self.package_is_there else None)
        patch.setattr(importlib, "invalidate_caches", self.invalidate)
        patch.setattr(subprocess, "run", self.run)

    def run(self, command: list[str], check: bool = False) -> None:
        assert check, "a failure of pip must stop the cell"
        assert command[:4] == [sys.executable, "-m", "pip", "install"]
        self.told.append(command[4:])

    def invalidate(self) -> None:
        assert self.told, "what Python knows of its folders is renewed after pip has run"
        self.invalidated += 1

    def execute(self, source: str) -> None:
        with matplotlib.rc_context():
            exec(compile(source, "setup cell", "exec"), {})


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    return Platform(monkeypatch)


ADDRESS = "https://example.org/owner/name"


FIRST = setup_cell(CHAPTERS[0]).source  # the others are the same, but for what they need


@pytest.mark.parametrize("address", ["", ADDRESS])
def test_nothing_is_installed_where_the_package_is(platform: Platform, address: str) -> None:
    platform.package_is_there = True
    platform.execute(with_constant(FIRST, "REPOSITORY", address))
    assert platform.told == [] and platform.invalidated == 0


@every_chapter
def test_the_package_comes_from_the_repository(
    platform: Platform, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = setup_cell(path).source
    platform.execute(with_constant(source, "REPOSITORY", ADDRESS))
    needs = [what.split() for what in constant(source, "NEEDS")]
    assert platform.told == [["-qq", f"git+{ADDRESS}"], *(["-qq", *what] for what in needs)]
    assert platform.invalidated == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("address", ["", ADDRESS])
def test_a_wheel_takes_the_place_of_the_repository(
    platform: Platform, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_BOOK_WHEEL", "file:///a%20folder/gan_helpers.whl")
    platform.execute(with_constant(FIRST, "REPOSITORY", address))
    assert platform.told == [["-qq", "file:///a%20folder/gan_helpers.whl"]]


def test_without_an_address_one_sentence_says_what_to_do(platform: Platform) -> None:
    sentence = r"^gan_helpers is not installed: run `pip install \.` in the folder of the book\.$"
    with pytest.raises(ModuleNotFoundError, match=sentence):
        platform.execute(with_constant(FIRST, "REPOSITORY", ""))
    assert platform.told == []


def test_a_failure_of_pip_stops_the_cell(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Mock(side_effect=subprocess.CalledProcessError(1, "pip")))
    with pytest.raises(subprocess.CalledProcessError):
        platform.execute(with_constant(FIRST, "REPOSITORY", ADDRESS))


def test_figures_look_as_in_the_book(platform: Platform) -> None:
    platform.package_is_there = True
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        assert not matplotlib.rcParams["figure.constrained_layout.use"]
        exec(FIRST, {})
        assert matplotlib.rcParams["figure.constrained_layout.use"]
        assert matplotlib.rcParams["figure.dpi"] == 120


WHEEL = "gan_helpers-0.0.1-py3-none-any.whl"


@pytest.fixture
def small_wheel(tmp_path: Path) -> Path:
    """Return a wheel of that name that is installed in no time, and brings a Matplotlib of its own."""
    path = tmp_path / "a folder" / WHEEL
    path.parent.mkdir()
    about = "gan_helpers-0.0.1.dist-info"
    files = {
        "gan_helpers/__init__.py": "",
        "matplotlib/__init__.py": "",
        "matplotlib/style.py": "use = print\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: gan_helpers\nVersion: 0.0.1\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{about}/RECORD"))
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in (files | {f"{about}/RECORD": record}).items():
            wheel.writestr(name, text)
    return path


def test_an_empty_environment_can_import_what_the_cell_has_installed(
    small_wheel: Path, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "empty")], check=True)
    python = tmp_path / "empty" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    program = with_constant(FIRST, "NEEDS", [])
    program += "\nimport gan_helpers\nprint(gan_helpers.__file__)\n"
    environment = os.environ | {"GAN_BOOK_WHEEL": small_wheel.as_uri(), "PIP_NO_INDEX": "1"}
    environment.pop("PYTHONPATH", None)
    for _ in range(2):  # the second time it is there
        done = subprocess.run(
            [str(python), "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        look, place = done.stdout.splitlines()
        assert look == "gan_helpers.book" and Path(place).is_relative_to(tmp_path / "empty")
        environment["GAN_BOOK_WHEEL"] = "file:///nowhere/to/be/found.whl"


# The wheel


def package_files() -> set[str]:
    paths = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(ROOT).as_posix() for path in paths}


def test_the_wheel_holds_the_whole_package_and_nothing_else(tmp_path: Path) -> None:
    was_built_in = (ROOT / "build").exists()
    wheel = colab.build_wheel(tmp_path)
    assert wheel.stat().st_size < 4_000_000
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == package_files()
    assert {"gan_helpers/assets/digit_classifier.safetensors", "gan_helpers/book.mplstyle"} <= names
    assert (ROOT / "build").exists() == was_built_in, "the checkout stays as it is"


def test_the_archive_of_the_source_holds_the_whole_package(tmp_path: Path) -> None:
    source = colab.source_of_the_package(tmp_path)
    build = "from setuptools import build_meta as b; b.build_sdist('archive')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (archive,) = (source / "archive").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert package_files() | {"pyproject.toml", "README.md", "LICENSE"} <= names


# What stands in for Colab


def test_the_platform_has_numpy_2_and_otherwise_the_pins_of_the_book() -> None:
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    platform = {Requirement(line).name: line for line in colab.PLATFORM}
    assert Requirement(platform.pop("numpy")).specifier.contains("2.1.3")
    assert platform.pop("torch").startswith("torch==2.11.")
    assert platform.pop("matplotlib").startswith("matplotlib==3.10.")
    assert set(platform.values()) <= set(pins)
    assert "gan_helpers" not in platform


def test_a_platform_that_is_disturbed_is_noticed() -> None:
    def wrong(**now: str) -> list[str]:
        return colab.complaints({"numpy": "2.1.3"}, now)

    assert wrong(numpy="2.1.3", gan_helpers="0.1.0", sympy="1.14.0") == []
    assert wrong(numpy="1.26.4", gan_helpers="0.1.0") == ["numpy was 2.1.3 and is 1.26.4"]
    assert wrong(gan_helpers="0.1.0") == ["numpy was 2.1.3 and is gone"]
    assert wrong(numpy="2.1.3") == ["gan_helpers was not installed"]


@pytest.mark.parametrize(
    ("returncode", "brings", "failures"),
    [
        (0, {"gan_helpers": "0.1.0"}, 0),
        (1, {"gan_helpers": "0.1.0"}, 2),
        (0, {"gan_helpers": "0.1.0", "numpy": "2.4.0"}, 2),
        (0, {}, 2),
    ],
)
def test_each_notebook_starts_from_the_platform_and_failures_are_counted(
    returncode: int,
    brings: dict[str, str],
    failures: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    platform = {"numpy": "2.1.3", "torch": "2.13.0"}
    now = dict(platform)

    def compared(notebook: Path, wheel: Path) -> subprocess.CompletedProcess[str]:
        assert now == platform, "what the chapter before has installed is gone"
        now.update(brings)
        return subprocess.CompletedProcess([], returncode, "what nbval said", "")

    def restore(*_: object) -> dict[str, str]:
        now.clear()
        now.update(platform)
        return dict(platform)

    def take_away(now_: dict[str, str], before: dict[str, str]) -> None:
        for name in set(now_) - set(before):
            del now[name]

    for name, instead in {
        "make_environment": restore,
        "take_away": take_away,
        "installed": lambda: dict(now),
        "build_wheel": lambda folder: folder / "some.whl",
        "compared": compared,
        "obstacle": lambda path: None,
    }.items():
        monkeypatch.setattr(colab, name, instead)
    assert colab.main([str(path) for path in CHAPTERS[:2]]) == (1 if failures else 0)
    said = capsys.readouterr().out.splitlines()
    assert len([line for line in said if line.endswith("failed.") and "..." in line]) == failures
    assert ("what nbval said" in said) == (failures > 0)
    assert said[-1].startswith("2 failed." if failures else "All is well, with numpy 2.1.3, torch 2.13.0")

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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import matplotlib
import pytest
import tomllib
from packaging.requirements import Requirement

from tools import colab
from tools.sheets import ROOT, load, notebooks, read

PACKAGE = ROOT / "gan_helpers"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

CHAPTERS = notebooks()
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def setup_cell(path: Path) -> Any:
    return next(c for c in load(path).cells if c.cell_type == "code")


def needs(source: str) -> list[str]:
    """Return what the cell installs beside the package."""
    return ast.literal_eval(re.findall(r"^NEEDS = (.*)$", source, re.MULTILINE)[0])


def with_constant(source: str, name: str, value: Any) -> str:
    changed, count = re.subn(rf"^{name} = .*$", f"{name} = {value!r}", source, flags=re.MULTILINE)
    assert count == 1
    return changed


# The cells agree


def test_the_cell_is_the_same_in_all_chapters_but_for_needs_and_threads() -> None:
    cells = [setup_cell(path) for path in CHAPTERS]
    plain = (with_constant(cell.source, "NEEDS", []) for cell in cells)
    assert len({with_constant(source, "THREADS", {}) for source in plain}) == 1
    assert len({json.dumps(cell.metadata, sort_keys=True) for cell in cells}) == 1
    assert "hide-input" in cells[0].metadata.tags


@every_chapter
def test_a_chapter_settles_its_threads_unless_the_reader_has(path: Path) -> None:
    lines = [line for line in setup_cell(path).source.splitlines() if "THREADS" in line]
    asked = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    asked_for = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": str(read(path.with_suffix(".toml")).threads or None),
    }
    for chosen in ({}, {"OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": "3"}):
        program = "\n".join(
            ["import os", *lines, "print(*map(os.environ.get, " + repr(tuple(asked_for)) + "))"]
        )
        done = subprocess.run(
            [sys.executable, "-c", program], env=asked | chosen, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == list((asked_for | chosen).values())


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
    missing = imported - known - set(sys.stdlib_module_names)
    assert {name for name in missing if name not in " ".join(needs(code[0]))} == set()


# The cell at work


ADDRESS = "https://example.org/owner/name"
FIRST = setup_cell(CHAPTERS[0]).source  # the others are the same, but for what they need
Execute = Callable[..., list]


@pytest.fixture
def execute(monkeypatch: pytest.MonkeyPatch) -> Iterator[Execute]:
    """Return a function that runs a cell where gan_helpers is there or not.

    It returns what pip is told to install, and "renew" where Python looks through its folders anew.
    """
    monkeypatch.delenv("GAN_BOOK_WHEEL", raising=False)

    def run(source: str, there: bool = False) -> list:
        calls, find = Mock(), importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: find(name) if there else None)
        monkeypatch.setattr(importlib, "invalidate_caches", calls.renew)
        monkeypatch.setattr(subprocess, "run", calls.pip)
        exec(compile(source, "setup cell", "exec"), {})
        pip = [sys.executable, "-m", "pip", "install", "-qq"]
        # With check, a failure of pip stops the cell.
        assert all(c.args[0][:5] == pip and c.kwargs == {"check": True} for c in calls.pip.call_args_list)
        return [args[0][5:] if name == "pip" else name for name, args, _ in calls.mock_calls]

    with matplotlib.rc_context():
        yield run


@pytest.mark.parametrize("address", ["", ADDRESS])
def test_where_the_package_is_there_only_the_look_of_figures_is_set(execute: Execute, address: str) -> None:
    matplotlib.rcdefaults()
    assert execute(with_constant(FIRST, "REPOSITORY", address), there=True) == []
    assert matplotlib.rcParams["figure.constrained_layout.use"]
    assert matplotlib.rcParams["figure.dpi"] == 120


@every_chapter
def test_the_package_comes_from_the_repository(
    execute: Execute, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = setup_cell(path).source
    told = execute(with_constant(source, "REPOSITORY", ADDRESS))
    assert told == [[f"git+{ADDRESS}"], *(what.split() for what in needs(source)), "renew"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("address", ["", ADDRESS])
def test_a_wheel_takes_the_place_of_the_repository(
    execute: Execute, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_BOOK_WHEEL", "file:///a%20folder/gan_helpers.whl")
    told = execute(with_constant(FIRST, "REPOSITORY", address))
    assert told == [["file:///a%20folder/gan_helpers.whl"], "renew"]


def test_without_an_address_one_sentence_says_what_to_do(execute: Execute) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"run `pip install \.` in the folder of the book\.$"):
        execute(with_constant(FIRST, "REPOSITORY", ""))


@pytest.fixture
def small_wheel(tmp_path: Path) -> Path:
    """Return a wheel of the package's name that is installed in no time, with a Matplotlib of its own."""
    path = tmp_path / "a folder" / "gan_helpers-0.0.1-py3-none-any.whl"
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


def test_wheel_and_archive_hold_the_whole_package(tmp_path: Path) -> None:
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    package = {path.relative_to(ROOT).as_posix() for path in files}
    was_built_in = (ROOT / "build").exists()
    wheel = colab.build_wheel(tmp_path)
    assert wheel.stat().st_size < 4_000_000
    with zipfile.ZipFile(wheel) as opened:
        assert {name for name in opened.namelist() if ".dist-info/" not in name} == package
    assert (ROOT / "build").exists() == was_built_in, "the checkout stays as it is"
    source = colab.source_of_the_package(tmp_path / "again")
    build = "from setuptools import build_meta as b; b.build_sdist('archive')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (archive,) = (source / "archive").glob("*.tar.gz")
    with tarfile.open(archive) as unpacked:
        names = {name.partition("/")[2] for name in unpacked.getnames()}
    assert package | {"pyproject.toml", "README.md", "LICENSE"} <= names


# What stands in for Colab


def test_the_platform_has_numpy_2_and_otherwise_the_pins_of_the_book() -> None:
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    platform = {Requirement(line).name: line for line in colab.PLATFORM}
    assert Requirement(platform.pop("numpy")).specifier.contains("2.1.3")
    assert platform.pop("torch").startswith("torch==2.11.")
    assert platform.pop("matplotlib").startswith("matplotlib==3.10.")
    assert set(platform.values()) <= set(pins)
    assert "gan_helpers" not in platform


@pytest.mark.parametrize(
    ("returncode", "brings", "said"),
    [
        (0, {"gan_helpers": "0.1.0", "sympy": "1.14.0"}, ""),
        (1, {"gan_helpers": "0.1.0"}, "what nbval said"),
        (0, {"gan_helpers": "0.1.0", "numpy": "2.4.0"}, "numpy was 2.1.3 and is 2.4.0"),
        (0, {"gan_helpers": "0.1.0", "numpy": None}, "numpy was 2.1.3 and is gone"),
        (0, {}, "gan_helpers was not installed"),
    ],
)
def test_each_notebook_starts_from_the_platform_and_failures_are_counted(
    returncode: int,
    brings: dict[str, str | None],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    platform = {"numpy": "2.1.3", "torch": "2.13.0"}
    now = dict[str, str | None](platform)

    def compared(notebook: Path, wheel: Path) -> subprocess.CompletedProcess[str]:
        assert now == platform, "what the chapter before has installed is gone"
        now.update(brings)
        return subprocess.CompletedProcess([], returncode, "what nbval said", "")

    def restore() -> dict[str, str]:
        now.clear()
        now.update(platform)
        return dict(platform)

    for name, instead in {
        "make_environment": restore,
        "pip": lambda *arguments: [now.pop(key) for key in arguments[3:]],  # it is told to uninstall
        "installed": lambda: {key: version for key, version in now.items() if version},
        "build_wheel": lambda folder: folder / "some.whl",
        "compared": compared,
        "obstacle": lambda path: None,
    }.items():
        monkeypatch.setattr(colab, name, instead)
    assert colab.main([str(path) for path in CHAPTERS[:2]]) == (1 if said else 0)
    lines = capsys.readouterr().out.splitlines()
    failures = 2 if said else 0
    assert len([line for line in lines if line.endswith("... failed.")]) == failures
    assert lines.count(said) == lines.count("what nbval said") == failures
    assert lines[-1].startswith("2 failed." if said else "All is well, with numpy 2.1.3, torch 2.13.0")

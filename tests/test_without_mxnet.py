"""Where MXNet is not installed, one sentence says so, its chapter is skipped, and all else goes on.

Its absence is played by a module of its name that cannot be found, ahead of the real one on the path.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SENTENCE = (
    "MXNet 1.9.1 is not installed (the book runs it on Linux on x86-64 alone), so its chapter is skipped."
)


@pytest.fixture
def without_mxnet(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which MXNet cannot be imported."""
    lines = "raise ModuleNotFoundError(\"No module named 'mxnet'\", name='mxnet')\n"
    (tmp_path / "mxnet.py").write_text(lines, encoding="utf-8")
    return os.environ | {"PYTHONPATH": str(tmp_path)}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )


def test_recipes_and_tables_can_be_read_and_the_import_says_so_in_one_sentence(
    without_mxnet: dict[str, str],
) -> None:
    program = (
        "from gan_helpers.tables import ledger\n"
        "from gan_helpers.recipes import mxnet_gaussian as recipe\n"
        "print(len(ledger('mxnet_gaussian_original')['w2']), recipe.original(*recipe.inputs(2)).steps)\n"
        "import gan_helpers.mxnet_backend\n"
    )
    done = run(without_mxnet, "-c", program)
    assert (done.returncode, done.stdout) == (1, "320 2500\n")
    first, *_, last = done.stderr.splitlines()
    assert (first, last) == ("Traceback (most recent call last):", f"ModuleNotFoundError: {SENTENCE}")
    assert "During handling" not in done.stderr


def test_the_notebook_and_the_tests_are_skipped(without_mxnet: dict[str, str]) -> None:
    tests = ("book/mxnet_gaussian.ipynb", "tests/test_mxnet_backend.py")
    done = run(without_mxnet, "-m", "pytest", "--nbval", "-q", "-rs", "-p", "no:cacheprovider", *tests)
    assert done.returncode in (0, 5), done.stdout  # 5: a module that is skipped whole has no tests
    *_, last = summary = done.stdout.splitlines()
    skipped = [line for line in summary if line.startswith("SKIPPED") and SENTENCE in line]
    assert all(any(name in line for line in skipped) for name in tests), summary
    assert "skipped" in last and "passed" not in last and "failed" not in last


def test_make_notebooks_leaves_the_chapter_as_it_was(without_mxnet: dict[str, str]) -> None:
    chapter = ROOT / "book" / "mxnet_gaussian.ipynb"
    before = chapter.read_bytes()
    done = run(without_mxnet, "-m", "tools.notebooks", "book/mxnet_gaussian.ipynb")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"book/mxnet_gaussian.ipynb ... left as it was: {SENTENCE}\n"
    assert chapter.read_bytes() == before


def test_another_missing_module_is_no_reason_to_skip(tmp_path: Path) -> None:
    (tmp_path / "mxnet.py").write_text("import something_that_mxnet_needs\n", encoding="utf-8")
    program = "from tools.notebooks import ROOT, obstacle; obstacle(ROOT / 'book' / 'mxnet_gaussian.ipynb')"
    done = run(os.environ | {"PYTHONPATH": str(tmp_path)}, "-c", program)
    assert done.returncode == 1 and "something_that_mxnet_needs" in done.stderr

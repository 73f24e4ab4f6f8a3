"""People see a progress bar; stored outputs never hold one."""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from gan_helpers import training
from gan_helpers.progress import someone_is_watching
from tests.short_runs import Run, small


def use_shell(monkeypatch: pytest.MonkeyPatch, shell: object) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("shell", [None, SimpleNamespace()], ids=["plain Python", "IPython"])
def test_without_a_notebook_a_person_is_at_a_terminal(
    shell: object, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_shell(monkeypatch, shell)
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: terminal))
    assert someone_is_watching() is terminal


def test_ipython_is_not_imported_to_find_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not someone_is_watching()
    assert "IPython" not in sys.modules


@pytest.mark.parametrize(
    ("content", "watched"), [({"allow_stdin": True}, True), ({"allow_stdin": False}, False), ({}, False)]
)
def test_a_notebook_is_watched_if_someone_could_answer_a_question(
    content: dict[str, bool], watched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = SimpleNamespace(get_parent=lambda channel: {"content": content})  # that was sent a cell to run
    use_shell(monkeypatch, SimpleNamespace(kernel=kernel))
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: not watched))
    assert someone_is_watching() is watched


@pytest.mark.parametrize(
    ("watching", "progress", "bar"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_training_draws_a_bar_for_those_who_watch_and_want_one(
    watching: bool, progress: bool, bar: bool, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(training, "someone_is_watching", lambda: watching)
    Run(small(), 1).train(3, progress=progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("3/3" in err or "it/s" in err or "0/3" in err) is bar
    assert bar or err == ""


SETUP = """
from gan_helpers import training
from tests.short_runs import Run, small
"""
TRAIN = "history = Run(small(), 2).train(3, progress=True)"
WATCH = "training.someone_is_watching = lambda: True\n"


def test_an_executed_notebook_stores_no_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(training.__file__).parents[1]))
    notebook = new_notebook(cells=[new_code_cell(source) for source in (SETUP, TRAIN, WATCH + TRAIN)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the notebook's machinery are not ours
        from nbclient import NotebookClient

        NotebookClient(notebook, kernel_name="python3", timeout=120).execute(cwd=str(tmp_path))
    setup, executed, watched = (cell.outputs for cell in notebook.cells)
    assert setup == executed == []
    assert watched != [], "had there been a bar, it would have been stored: else this test shows nothing"
    nbformat.validate(notebook)

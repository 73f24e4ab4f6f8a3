"""People see a progress bar; stored outputs never hold one."""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

from gan_helpers import training
from gan_helpers.ensemble import Ensemble
from gan_helpers.losses import minimax_d, non_saturating_g
from gan_helpers.models import mlp
from gan_helpers.progress import someone_is_watching
from gan_helpers.randomness import Stream


def use_shell(monkeypatch: pytest.MonkeyPatch, shell: object) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def notebook_shell(**content: bool) -> SimpleNamespace:
    """Return a shell with a kernel that was sent a cell to run."""
    return SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda channel: {"content": content}))


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


def test_a_notebook_is_watched_if_someone_could_answer_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    use_shell(monkeypatch, notebook_shell(allow_stdin=True))
    assert someone_is_watching() is True


@pytest.mark.parametrize("content", [{"allow_stdin": False}, {}])
def test_a_notebook_that_a_program_runs_is_not_watched(
    content: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_shell(monkeypatch, notebook_shell(**content))
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: True))
    assert someone_is_watching() is False


def short_run(progress: bool) -> None:
    G, D = (Ensemble(lambda: mlp(1, 1), 1, name=name, device="cpu") for name in "GD")

    def draw(seeds: int, batch: int, rng: Stream) -> torch.Tensor:
        return rng.normal(seeds, batch, 1)

    training.train(
        G,
        D,
        draw,
        draw,
        d_loss=lambda G, D, x, z: minimax_d(D(x), D(G(z))),
        g_loss=lambda G, D, x, z: non_saturating_g(D(G(z))),
        d_opt=training.adam(D, 1e-3),
        g_opt=training.adam(G, 1e-3),
        steps=3,
        batch=2,
        progress=progress,
    )


@pytest.mark.parametrize(
    ("watching", "progress", "bar"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_training_draws_a_bar_for_those_who_watch_and_want_one(
    watching: bool,
    progress: bool,
    bar: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(training, "someone_is_watching", lambda: watching)
    short_run(progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("3/3" in err or "it/s" in err or "0/3" in err) is bar
    assert bar or err == ""


SETUP = """
import torch
from gan_helpers import training
from gan_helpers.ensemble import Ensemble
from gan_helpers.losses import minimax_d, non_saturating_g
from gan_helpers.models import mlp
"""
TRAIN = """
G, D = (Ensemble(lambda: mlp(1, 1), 2, name=name, device="cpu") for name in "GD")
history = training.train(
    G, D, lambda k, n, rng: rng.normal(k, n, 1), lambda k, n, rng: rng.normal(k, n, 1),
    d_loss=lambda G, D, x, z: minimax_d(D(x), D(G(z))), g_loss=lambda G, D, x, z: non_saturating_g(D(G(z))),
    d_opt=training.adam(D, 1e-3), g_opt=training.adam(G, 1e-3), steps=3, batch=2,
)
"""
WATCH = "training.someone_is_watching = lambda: True"


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

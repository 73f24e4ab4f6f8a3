"""The reader's own settings change nothing that is compared, and a notebook stays whole wherever it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools.notebooks import ROOT

MEASURED = "Holds: it is {} (measured: wrong words)\n"
SHOWN = {"image/png": "aaaa", "text/plain": "<Figure size 640x480 with 1 Axes>"}
CELLS = {
    "import matplotlib\nfrom matplotlib import pyplot as plt\nplt.plot([1, 2])\nplt.show()": new_output(
        "display_data", data=SHOWN
    ),
    "print(matplotlib.rcParams['lines.linewidth'], 'leaked' in globals(), 'ü')": "1.5 False ü\n",
    "import torch\nfrom gan_helpers import default_device\n"
    "print(torch.ones(2, device=default_device()).sum().item())": "2.0\n",
    "import warnings\nwarnings.warn('of this machine')\n"
    "from tqdm.auto import tqdm\nprint(len(list(tqdm([1, 2], disable=True))))": "2\n",
    "import os\nprint(os.environ['OMP_WAIT_POLICY'], torch.get_num_threads())": "PASSIVE 1\n",
    "from gan_helpers.claims import claim\nclaim('it is near', True, values=0.25)": MEASURED.format("near"),
}


def output(expected: object) -> nbformat.NotebookNode:
    return new_output("stream", text=expected) if isinstance(expected, str) else expected


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project with the settings of this one and a small notebook, in which no cache can be written."""
    place = tmp_path / "checkout"
    shutil.copytree(ROOT / "tools", place / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conftest.py", "pyproject.toml", "gan_helpers"):
        (place / name).symlink_to(ROOT / name)
    (place / "tests").mkdir()
    for name in ("reliability.py", "sanitise.cfg"):
        (place / "tests" / name).symlink_to(ROOT / "tests" / name)
    (place / "tests" / "test_one.py").write_text("def test_one(): pass\n")
    cells = [
        new_code_cell(source, outputs=[output(expected)], execution_count=n)
        for n, (source, expected) in enumerate(CELLS.items(), start=1)
    ]
    (place / "book").mkdir()
    nbformat.write(new_notebook(cells=cells), place / "book" / "small.ipynb")
    for name in ("_build", ".pytest_cache", ".hypothesis"):  # a file where a folder is wanted stops root too
        (place / name).touch()
    return place


def hostile(folder: Path) -> dict[str, str]:
    """The environment of a reader with settings of all kinds and without a home."""
    files = {
        "ipython/profile_default/startup/leak.py": "leaked = True\n",
        "keras/keras.json": "{}",
        "matplotlib/matplotlibrc": "lines.linewidth: 9\n",
        "startup.py": "leaked = True\n",
        "lib/ipywidgets.py": "raise ImportError('there are no widgets')\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/dev/null/home",
        "PYTHONPATH": os.pathsep.join([str(folder / "lib"), str(ROOT)]),
        "PYTHONSTARTUP": str(folder / "startup.py"),
        "PYTHONWARNINGS": "always",
        "IPYTHONDIR": str(folder / "ipython"),
        "KERAS_HOME": str(folder / "keras"),
        "MPLCONFIGDIR": str(folder / "matplotlib"),
        "MPLBACKEND": "agg",
        "TQDM_DISABLE": "nonsense",
        "TORCH_LOGS": "+all",
        "GAN_BOOK_DEVICE": "cuda",
        "COLUMNS": "20",
        "LC_ALL": "C",
    }


def pytest_in(checkout: Path, environment: dict[str, str], *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "--nbval", *options]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert "Cell 3: " in said and "of this machine" in said, "notices are told"
    assert "Using the CPU: cuda" in said or torch.cuda.is_available()
    assert "IProgress" not in said
    return done.returncode, said


def test_no_setting_of_the_reader_changes_what_is_compared(checkout: Path, tmp_path: Path) -> None:
    code, said = pytest_in(checkout, hostile(tmp_path), "-n", "1", "--dist", "worksteal")
    assert code == 0 and f"{len(CELLS) + 1} passed" in said, said


OURS = [
    "import warnings\nwarnings.warn_explicit('odd', UserWarning, 'gan_helpers/losses.py', 3)",
    "from gan_helpers.recipes.fifty_lines import original\nG, D = original.networks(1)\n"
    "for again in range(2):\n    original.train(G, D, steps=1)",
]


def test_a_wrong_word_and_a_warning_of_our_own_are_noticed(checkout: Path, tmp_path: Path) -> None:
    path = checkout / "book" / "small.ipynb"
    text = path.read_text().replace(MEASURED.format("near")[:-1], MEASURED.format("far")[:-1])
    notebook = nbformat.reads(text, as_version=4)
    notebook.cells += [new_code_cell(source) for source in OURS]
    nbformat.write(notebook, path)
    code, said = pytest_in(checkout / "book", hostile(tmp_path), "small.ipynb")
    assert code == 1 and "3 failed" in said and f"{len(CELLS) - 1} passed" in said, said

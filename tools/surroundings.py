"""What notebooks and tests run in: the reader's own settings stay outside, and waiting threads sleep.

`settle` is called before Matplotlib, torch or a kernel is loaded, by all that runs notebooks or tests.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# How variables begin that change what a cell shows, but for those that say where packages are.
LEAKS = ("IPY", "KERAS_", "MATPLOTLIB", "MPL", "PYTHON", "TORCH_LOGS", "TQDM_")
KEPT = {"PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONUSERBASE"}

# Folders of the reader's own, each with settings that would be read, or in a place that cannot be written.
FOLDERS = (
    "IPYTHONDIR",
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "KERAS_HOME",
    "MPLCONFIGDIR",
)

# Small networks gain nothing from a second thread, and files run side by side. A thread that spins while it
# waits takes the core from the one that it waits for, where other programs compute too.
THREADS = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def settle(environment: MutableMapping[str, str] = os.environ) -> None:
    """Take the reader's settings out of an environment and put the book's in, but for those of threads."""
    for name in [name for name in environment if name.startswith(LEAKS) and name not in KEPT]:
        del environment[name]
    for name in FOLDERS:
        environment[name] = str(folder() / name.lower())
    for name, value in THREADS.items():
        environment.setdefault(name, value)


@functools.cache
def folder() -> Path:
    """Return a folder for settings and caches: in the checkout, or a temporary one if that is read only."""
    kept = ROOT / "_build" / "surroundings"
    try:
        kept.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=kept).close()
    except OSError:
        kept = Path(tempfile.mkdtemp(prefix="surroundings-"))
        atexit.register(shutil.rmtree, kept, ignore_errors=True)
    return kept

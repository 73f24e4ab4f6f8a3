"""What else takes a reader's time: the import of the package, and, when asked for, the book itself."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.environment import ROOT
from benchmarks.results import significant

IMPORT = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"

# A small process between: the most memory that a child had includes what its parent had when it started it.
WATCHED = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
unit = 1 if sys.platform == "darwin" else 1024
code, seconds = os.waitstatus_to_exitcode(status), time.perf_counter() - start
print(json.dumps([code, seconds, usage.ru_maxrss * unit / 1e6]))
"""


def imports(turns: int) -> dict[str, float]:
    """Return how long the import of the package takes beyond that of torch, in seconds; the median.

    Every import is in a fresh process, and the two take turns.
    """
    beyond = [_import("gan_helpers") - _import("torch") for _ in range(turns + 1)][1:]  # one to warm up
    return {"import_s": significant([median(beyond)], 3)[0]}


def _import(module: str) -> float:
    command = [sys.executable, "-c", IMPORT.format(module)]
    return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def book() -> dict[str, Any]:
    """Return how long the chapters and the pages take, in seconds, and a chapter's most memory, in MB."""
    chapters = {path.stem: _chapter(path) for path in sorted((ROOT / "book").glob("*.ipynb"))}
    with tempfile.TemporaryDirectory() as folder:
        builder = str(Path(sys.executable).with_name("jupyter-book"))
        options = ["--warningiserror", "--nitpick", "--keep-going", "--quiet"]
        pages = _watched([builder, "build", ".", "--path-output", folder, *options])
    return {
        "chapters": chapters,
        "chapters_s": round(sum(seconds for seconds, _ in chapters.values()), 1),
        "chapters_peak_mb": max(peak for _, peak in chapters.values()),
        "pages_s": pages[0],
    }


def _chapter(path: Path) -> tuple[float, float]:
    return _watched([sys.executable, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider", str(path)])


def _watched(command: list[str]) -> tuple[float, float]:
    """Run a command, with all that it starts, and return its seconds and its most memory in MB."""
    watched = [sys.executable, "-c", WATCHED, *command]
    done = subprocess.run(watched, cwd=ROOT, check=True, capture_output=True, text=True)
    code, seconds, peak = json.loads(done.stdout)
    if code:
        raise RuntimeError(f"It ended with {code}: {' '.join(command)}")
    time.sleep(1)  # what it started may take a moment to end
    return tuple(significant([seconds, peak], 3))

"""The environment of JAX, `.venv-bench`, made when it is missing or its requirements have changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
FOLDER = ROOT / ".venv-bench"


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def interpreter(folder: Path = FOLDER) -> Path:
    """Return the Python of the environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def is_made(folder: Path = FOLDER) -> bool:
    """Tell whether the environment is there and up to date."""
    record = folder / ".installed"
    return record.exists() and record.read_text(encoding="utf-8") == _made_from(folder)


def make(folder: Path = FOLDER) -> None:
    """Make the environment, unless it is up to date. Its record is written last."""
    if is_made(folder):
        return
    print(f"Making {folder.name}. The first time this downloads a lot.", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(interpreter(folder)), "-m", "pip", "install", "--quiet", "--requirement", str(REQUIREMENTS)]
    subprocess.run(pip, check=True)
    (folder / ".installed").write_text(_made_from(folder), encoding="utf-8")


def _made_from(folder: Path) -> str:
    return f"{folder}: {sys.version}\n{REQUIREMENTS.read_text(encoding='utf-8')}"

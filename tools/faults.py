"""Plant faults in a copy of the project, one at a time, and say which test notices each.

Usage: python -m tools.faults [WORD ...]

`tests/faults.toml` holds the faults. Without arguments all are planted; words choose those whose group or
name has one of them. Two copies are worked on side by side, and the checkout stays as it is. The exit code
is 1 if nobody notices a fault, or if the tests fail without any.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from shutil import copy as copy_file

import tomllib

ROOT = Path(__file__).resolve().parent.parent
LIST = "tests/faults.toml"
SEARCHED = {".ini", ".ipynb", ".js", ".md", ".py", ".toml", ".txt", ".yml", ""}
COPIES = 2
PATIENCE = 900  # seconds for the tests of a fault


@dataclass(frozen=True)
class Fault:
    """A fault to plant.

    Args:
        name: its group, and what is wrong.
        place: the folder or the file that has it.
        find: a text that is there once.
        put: what takes its place.
        tests: the test files that should notice.
    """

    name: str
    place: str
    find: str
    put: str
    tests: tuple[str, ...]


def faults(root: Path = ROOT) -> list[Fault]:
    """Return all faults of the list."""
    groups = tomllib.loads((root / LIST).read_text(encoding="utf-8"))
    return [
        Fault(f"{group}: {name}", listed["in"], find, put, tuple(tests or listed["tests"]))
        for group, listed in groups.items()
        for name, (find, put, *tests) in ((k, v) for k, v in listed.items() if k not in ("in", "tests"))
    ]


def tracked(root: Path) -> list[Path]:
    """Return the files of the project, without those that git ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return [path for name in names.split("\0")[:-1] if (path := root / name).is_file()]


def places(fault: Fault, files: Iterable[Path], root: Path) -> list[Path]:
    """Return the files that have the text of a fault, each as often as it has it."""
    folder = root / fault.place
    return [
        path
        for path in files
        if path.suffix in SEARCHED and path != root / LIST and (path == folder or folder in path.parents)
        for _ in range(path.read_text(encoding="utf-8").count(fault.find))
    ]


def noticed(copy: Path, tests: Iterable[str]) -> str:
    """Run tests in a copy, and return which was the first to fail, or nothing."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider"]
    env = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [*command, *(f"tests/{name}" for name in tests)],
            cwd=copy, env=env, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"the limit of {PATIENCE} s"
    if done.returncode == 0:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (?:tests/)?(.+?)(?: - |$)", done.stdout, re.M)
    return failed[1] if failed else done.stdout[-300:] + done.stderr[-300:]


def plant(fault: Fault, files: list[Path], copy: Path) -> str:
    """Plant a fault in a copy, and return who notices."""
    (path,) = places(fault, files, copy)
    sound = path.read_text(encoding="utf-8")
    path.write_text(sound.replace(fault.find, fault.put), encoding="utf-8", newline="\n")
    try:
        return noticed(copy, fault.tests)
    finally:
        path.write_text(sound, encoding="utf-8", newline="\n")


def copied(path: Path, root: Path, copy: Path) -> Path:
    """Copy a file of the project to the same place in a copy of it, and return that place."""
    target = copy / path.relative_to(root)
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(copy_file(path, target))  # with its permissions


def main(words: list[str], root: Path = ROOT) -> int:
    """Plant the faults that are asked for, and say who notices each."""
    chosen = [f for f in faults(root) if not words or any(word in f.name for word in words)]
    files = tracked(root)
    astray = [fault.name for fault in chosen if len(places(fault, files, root)) != 1]
    if astray or not chosen:
        print(
            "\n".join(f"{name}: its text is not found once" for name in astray) or "There is no such fault."
        )
        return 1
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(COPIES) as pool:
        copies: SimpleQueue[list[Path]] = SimpleQueue()
        for k in range(COPIES):
            copies.put([copied(path, root, Path(folder, str(k))) for path in files])

        def work(fault: Fault | None, tests: tuple[str, ...]) -> str:
            there = copies.get()
            copy = Path(folder, there[0].relative_to(folder).parts[0])
            try:
                return plant(fault, there, copy) if fault else noticed(copy, tests)
            finally:
                copies.put(there)

        sound = sorted({test for fault in chosen for test in fault.tests})
        for test, failed in zip(sound, pool.map(lambda t: work(None, (t,)), sound), strict=True):
            if failed:
                print(f"{test} fails without a fault: {failed}")
                pool.shutdown(cancel_futures=True)
                return 1
        unnoticed = 0
        for fault, by in zip(chosen, pool.map(lambda f: work(f, f.tests), chosen), strict=True):
            print(f"{fault.name}: {by or 'NOBODY notices'}", flush=True)
            unnoticed += not by
    print(f"{len(chosen)} faults, {unnoticed} of them unnoticed.")
    return int(unnoticed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Run the notebooks against their stored outputs from other seeds, and keep a list of what came out.

Usage: python -m tools.seeds [NOTEBOOK ...] [--seeds 1-20] [--threads 1 --jobs 2]

A new machine is in effect a new seed. Each run sets GAN_BOOK_SEED, and with it, in turn, one or two threads
and the processor's own instructions or those of AVX2, so that all four pairs meet every notebook. What
has been run is not run again, unless the code of the notebook has changed since. `make pages` then says on
the page of promises how many runs are of the notebooks as they are.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import nbformat

from tools.notebooks import obstacle
from tools.rules import sanitised
from tools.sheets import ROOT, notebooks

LEDGER = ROOT / "tests" / "seeds.csv"
FIELDS = ("notebook", "code", "seed", "threads", "instructions", "passed")
PAIRS = ((1, "default"), (2, "default"), (1, "avx2"), (2, "avx2"))


def code_of(path: Path) -> str:
    """Return a short digest of a notebook's code and of the outputs that are compared."""
    digest = hashlib.sha256()
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            digest.update(cell.source.encode())
            if "nbval-ignore-output" not in cell.metadata.get("tags", []):
                for output in cell.outputs:
                    text = output.get("text", output.get("data", {}).get("text/plain", ""))
                    digest.update(sanitised(text).encode())
    return digest.hexdigest()[:12]


def rows() -> list[dict[str, str]]:
    """Return the list of all runs so far."""
    if not LEDGER.exists():
        return []
    with LEDGER.open(newline="") as file:
        return list(csv.DictReader(file))


def current() -> list[dict[str, str]]:
    """Return the runs of the notebooks as they are now."""
    codes = {(path.stem, code_of(path)) for path in notebooks()}
    return [row for row in rows() if (row["notebook"], row["code"]) in codes]


def by_chapter() -> list[dict[str, str]]:
    """Return how many runs are of each notebook as it is now, and how many of what it was before."""
    known, now = rows(), current()
    found = []
    for name in (path.stem for path in notebooks()):
        passed = [row["passed"] == "1" for row in now if row["notebook"] == name]
        before = sum(row["notebook"] == name for row in known) - len(passed)
        as_it_is = f"{sum(passed)} of {len(passed)}" if passed else "not run since it changed"
        found.append(
            {"notebook": name, "passed as it is now": as_it_is, "runs of earlier versions": str(before)}
        )
    return found


def passes(path: Path, seed: int, threads: int, instructions: str) -> bool:
    """Run one notebook as the tests do, and say what failed."""
    settings = {"GAN_BOOK_SEED": str(seed), "OMP_NUM_THREADS": str(threads)}
    if instructions != "default":
        settings["ATEN_CPU_CAPABILITY"] = instructions
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider", str(path)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout[-4_000:], flush=True)
    return done.returncode == 0


def plan(paths: list[Path], seeds: range, threads: int | None) -> list[tuple[Path, int, int, str]]:
    """Return the runs that the list has not, notebook by notebook within a seed."""
    known = {(row["notebook"], row["code"], row["seed"]) for row in rows()}
    return [
        (path, seed, *PAIRS[seed % len(PAIRS)])
        for seed in seeds
        for path in paths
        if (path.stem, code_of(path), str(seed)) not in known
        and threads in (None, PAIRS[seed % len(PAIRS)][0])
    ]


def main() -> int:
    """Run what is missing, and add it to the list."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="which notebooks (default: all)")
    parser.add_argument("--seeds", default="1-20", help="from the first to the last (default %(default)s)")
    parser.add_argument("--threads", type=int, choices=(1, 2), help="only the seeds that use so many")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time (default %(default)s)")
    args = parser.parse_args()
    first, last = (int(end) for end in args.seeds.split("-"))
    paths = [path.resolve() for path in args.notebooks] or notebooks()
    paths = [path for path in paths if obstacle(path) is None]
    lock = Lock()
    failed = 0

    def one(run: tuple[Path, int, int, str]) -> None:
        nonlocal failed
        path, seed, threads, instructions = run
        code, passed = code_of(path), passes(*run)
        with lock:
            new = not LEDGER.exists()
            with LEDGER.open("a", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                if new:
                    writer.writerow(FIELDS)
                writer.writerow((path.stem, code, seed, threads, instructions, int(passed)))
            print(f"{path.stem}, seed {seed}, {threads} threads, {instructions}:", passed, flush=True)
            failed += not passed

    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(one, plan(paths, range(first, last + 1), args.threads)))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

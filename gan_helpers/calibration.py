"""Runs recipes over many fresh seeds and keeps what was measured: the tables behind the bounds of claims.

``python -m gan_helpers.calibration NAME`` remakes a table, ``--list`` names them all. The tables are part of
the package, so that a chapter can draw them wherever it runs. Their base seeds start at 1,000: none is a seed
that the book or its tests start from.

The runs are made in blocks, each an ensemble in a process of its own. What stops the program, at whatever
moment, leaves the table as it was; finished blocks are kept, and the same command goes on from them. A block
that was made by another version of the package is not taken.

Started with ``torchrun --nproc-per-node 2 -m``, each process makes its share of the blocks, and the first
writes the table.

Raises:
    OSError: if a file cannot be read or written, or a process not be started.
    ValueError: if a column has not one number for each run.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from platformdirs import user_cache_dir

from gan_helpers import recipes
from gan_helpers._memory import keep_freed_memory
from gan_helpers.device import default_device
from gan_helpers.files import write_whole
from gan_helpers.processes import PATIENCE, ProcessError, Processes, are_started, environment, joined
from gan_helpers.tables import END, FIRST_SEED, FOLDER, Columns, Table, ledger

PACKAGE = Path(__file__).parent
INTERRUPTED = 130  # the exit code of what Ctrl-C has ended


@dataclass(frozen=True)
class Block:
    """Runs that are trained together.

    Args:
        seed: their base seed.
        runs: how many.
        file: where what was measured of them is kept.
    """

    seed: int
    runs: int
    file: Path

    def rows(self) -> list[dict[str, float]]:
        """Return what was measured of each run."""
        columns = json.loads(self.file.read_text(encoding="utf-8"))
        return [
            {"seed": self.seed, "member": k, **{name: values[k] for name, values in columns.items()}}
            for k in range(self.runs)
        ]


def tables() -> dict[str, Table]:
    """Return the tables of all recipe modules by their names."""
    return recipes.collected("TABLES")


def version() -> str:
    """Return a digest of all that decides what a block measures: the package, torch and the device."""
    digest = hashlib.sha256(f"{torch.__version__} {default_device()}".encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _scratch(name: str) -> Path:
    """Return the folder for the blocks of a table: in the checkout, or else in the reader's cache.

    Args:
        name: the table.
    """
    checkout = PACKAGE.parent
    kept = checkout / "_build" if (checkout / "pyproject.toml").exists() else None
    if kept is None or not _writable(kept):
        kept = Path(user_cache_dir("gan_helpers"))
    return kept / "calibration" / name


def _writable(folder: Path) -> bool:
    """Return whether files can be made in a folder, which is made if it is missing.

    Args:
        folder: the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def blocks(folder: Path, seeds: int, ensemble: int, first: int = FIRST_SEED) -> list[Block]:
    """Return the blocks of a table.

    Args:
        folder: where they are kept.
        seeds: how many runs in all.
        ensemble: how many at a time.
        first: the base seed of the first block; each further one has the next.
    """
    sizes = [min(ensemble, seeds - start) for start in range(0, seeds, ensemble)]
    return [Block(first + i, size, folder / f"{first + i}-{size}.json") for i, size in enumerate(sizes)]


def keep(table: Table, block: Block) -> None:
    """Make a block and keep it.

    Args:
        table: what to run.
        block: which runs.
    """
    measured = table.run(block.runs, block.seed)
    columns = {name: values.double().tolist() for name, values in measured.items()}
    if wrong := [name for name, values in columns.items() if len(values) != block.runs]:
        raise ValueError(f"{wrong[0]} must have one number for each of {block.runs} runs.")
    write_whole(block.file, json.dumps(columns).encode())


def _guarded(table: Table, block: Block, parent: int) -> None:
    """Make a block in a process that does nothing else.

    The runs are trained beside the main thread. Ctrl-C then ends the process at once, where it would make
    `gan_helpers.training.train` return networks that are half trained. If the program that started this one
    is gone, it ends too.

    Args:
        table: what to run.
        block: which runs.
        parent: the program that started this one, which may be gone before this one can look.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    keep_freed_memory()  # `train` asks for it too, but some tables have loops of their own
    worker = threading.Thread(target=keep, args=(table, block), daemon=True)
    worker.start()
    while worker.is_alive() and os.getppid() == parent:
        worker.join(0.5)
    if not block.file.exists():
        os._exit(1)  # the runs that are under way would stand in the way of an orderly end


def _make(name: str, wanted: list[Block], processes: int) -> None:
    """Make those blocks that are not there yet, some of them side by side.

    Args:
        name: the table.
        wanted: all its blocks.
        processes: how many to make at a time; if several, each has one thread.

    Raises:
        ChildProcessError: if one cannot be made.
    """
    waiting = [block for block in wanted if not block.file.exists()]
    done = len(wanted) - len(waiting)
    if done:
        print(f"{done} of {len(wanted)} blocks are there already.", flush=True)
    alone = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"} if processes > 1 else {}
    running: dict[Block, tuple[subprocess.Popen[bytes], float]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                block = waiting.pop(0)
                task = [name, "--block", *map(str, (block.seed, block.runs, block.file, os.getpid()))]
                command = [sys.executable, "-m", "gan_helpers.calibration", *task]
                # In a session of its own: Ctrl-C is for this program, which then ends the others.
                process = subprocess.Popen(command, env=environment() | alone, start_new_session=True)
                running[block] = process, time.monotonic()
            time.sleep(0.05)
            for block, (process, start) in [*running.items()]:
                if process.poll() is None:
                    continue
                del running[block]
                if process.returncode:
                    raise ChildProcessError(
                        f"The runs of base seed {block.seed} did not end (code {process.returncode})."
                    )
                done += 1
                took = f"{block.runs} runs of base seed {block.seed} in {time.monotonic() - start:.0f} s"
                print(f"{done} of {len(wanted)} blocks: {took}.", flush=True)
    finally:
        for process, _ in running.values():
            process.kill()
            process.wait()


def written(rows: list[dict[str, float]]) -> str:
    """Return the file of a table.

    Args:
        rows: what was measured of each run, by column.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: f"{value:.6g}" for key, value in row.items()} for row in rows)
    return f"{text.getvalue()}{END.format(len(rows))}\n"


def _positive(text: str) -> int:
    """Return a whole number of at least 1 from the command line.

    Args:
        text: the number.

    Raises:
        ValueError: if it is none.
    """
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _arguments(names: list[str]) -> argparse.Namespace:
    """Return what the command line asks for.

    Args:
        names: the tables that there are.
    """
    parser = argparse.ArgumentParser(
        prog="python -m gan_helpers.calibration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", nargs="?", choices=names, metavar="NAME", help="which table")
    add("--list", action="store_true", help="name all tables")
    add("--seeds", type=_positive, help="runs (default: as many as the table has)")
    add("--more", type=_positive, help="keep the table's runs and add so many, from the next base seed on")
    add("--ensemble", type=_positive, help="runs trained at a time (default: the table's own number)")
    add("--processes", type=_positive, default=1, help="blocks made at a time (default: %(default)s)")
    add("--into", type=Path, default=FOLDER, help="the folder of the table (default: the package's own)")
    add("--block", nargs=4, help=argparse.SUPPRESS)  # what a process of its own is told to make
    return parser.parse_args()


def _remade(name: str, table: Table, args: argparse.Namespace, processes: Processes | None = None) -> str:
    """Remake a table or make it longer, and return what can be said of it.

    Args:
        name: the table.
        table: what it holds.
        args: what the command line asks for.
        processes: those that share the blocks out; this one alone if None.

    Raises:
        ProcessError: if there are more processes than blocks, or one is gone.
        OSError: if a block cannot be made, or the table not be written; it is then as it was.
    """
    old = ledger(name) if args.more else {}
    first = int(old["seed"].max()) + 1 if old else FIRST_SEED
    folder = _scratch(name) / version()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = blocks(folder, args.more or args.seeds or table.seeds, args.ensemble or table.ensemble, first)
    if processes is not None:
        if processes.count > len(wanted):
            raise ProcessError(f"{name} has {len(wanted)} blocks: start at most as many processes.")
        share = processes.share(len(wanted))
        wanted = wanted[share.first : share.stop]
    _make(name, wanted, args.processes)
    columns = _columns([row for block in wanted for row in block.rows()])
    if processes is not None:
        columns = processes.gathered(columns)
    rows = _rows(old) + _rows(columns)

    def write() -> str:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # from here on it is done
        write_whole(args.into / f"{name}.csv", written(rows).encode())
        return f"{name}.csv holds {len(rows)} runs."

    said = write() if processes is None else processes.from_first(write)
    shutil.rmtree(_scratch(name), ignore_errors=processes is not None)  # who shares a disk shares the folder
    return said


def _columns(rows: list[dict[str, float]]) -> Columns:
    return {key: torch.tensor([row[key] for row in rows], dtype=torch.float64) for key in rows[0]}


def _rows(columns: Columns) -> list[dict[str, float]]:
    values = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in values]


def main() -> int:
    """Do what the command line asks for, and return the exit code."""
    again = "The table is as it was. The same command goes on from the finished blocks."
    try:
        known = tables()
        args = _arguments(sorted(known))
        if args.list or args.name is None:
            print("\n".join(sorted(known)))
        elif args.block:
            seed, runs, file, parent = args.block
            _guarded(known[args.name], Block(int(seed), int(runs), Path(file)), int(parent))
        elif not _writable(args.into):
            raise PermissionError(f"{args.into} cannot be written: name another folder with --into.")
        elif are_started():
            with joined(PATIENCE) as processes:
                said = _remade(args.name, known[args.name], args, processes)
            if processes.is_first:
                print(said)
        else:
            print(_remade(args.name, known[args.name], args))
    except KeyboardInterrupt:
        print(f"Stopped by hand. {again}", file=sys.stderr)
        return INTERRUPTED
    except (OSError, ProcessError) as error:
        print(f"{error} {again}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

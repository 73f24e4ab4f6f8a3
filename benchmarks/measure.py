"""Times the entrants of a recipe, block by block, in turns."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import chapters, environment, fleet, plan
from benchmarks.entrants import PRODUCTS
from benchmarks.job import Job
from benchmarks.page import WAITING
from benchmarks.results import Busy, Row, significant


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Args:
        turns: how often each entrant takes its turn.
        seconds: how long a block lasts, about; at least one unit of steps.
        most_seeds: leave out those who train more GANs at once.
    """

    turns: int = 5
    seconds: float = 0.3
    most_seeds: int = 256


QUICK = Effort(turns=3, seconds=0.1, most_seeds=16)


def recipe(name: str, threads: int, effort: Effort) -> Iterator[Row]:
    """Yield the rows of a recipe: all of its entrants take turns, and the machine's products with them."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            plan.job(Path(folder), name, entrant, seeds, threads)
            for entrant, seeds in plan.entrants(name)
            if seeds <= effort.most_seeds
        ]
        jobs += [
            replace(jobs[0], entrant=name, seeds=1, unit=1) for name in PRODUCTS if plan.takes_part(name)
        ]
        with fleet.started(jobs) as workers:
            typical = [worker.run() for worker in workers]
            units = [max(1, round(effort.seconds / seconds)) for seconds in typical]
            turns: list[list[float]] = [[] for _ in workers]
            for turn in range(effort.turns):
                # There and back again, so that nobody is always the first.
                order = range(len(workers))[:: -1 if turn % 2 else 1]
                for i in order:
                    turns[i].append(workers[i].run(units[i]) / units[i])
            for worker, seconds in zip(workers, turns, strict=True):
                yield _row(worker, seconds)


def _row(worker: fleet.Worker, seconds: list[float]) -> Row:
    job: Job = worker.job
    start_up = worker.built + worker.first - sorted(seconds)[len(seconds) // 2]
    each = significant(s / job.unit / job.seeds for s in seconds)
    (start_up, peak) = significant([max(0.0, start_up), worker.end()], 3)
    return Row(job.recipe, job.entrant, job.seeds, job.threads, each, start_up, peak)


def crowded(name: str, effort: Effort) -> Iterator[Busy]:
    """Yield what a step of the package takes on a quiet machine, and beside a busy process for each core."""
    seeds = max(n for n in chapters.benchmark(name).seeds["ours"] if n <= 16)
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            replace(plan.job(Path(folder), name, "ours", seeds, threads), waiting=waiting, crowded=True)
            for threads, waiting in WAITING
            if threads <= environment.cores()
        ]
        with fleet.started(jobs) as workers:
            units = [max(1, round(2 * effort.seconds / worker.run())) for worker in workers]

            def turns() -> list[list[float]]:
                return [
                    significant(w.run(n) / n / w.job.unit for _ in range(effort.turns))
                    for w, n in zip(workers, units, strict=True)
                ]

            quiet = turns()
            with busy_processes(environment.cores()):
                busy = turns()
    for job, alone, beside in zip(jobs, quiet, busy, strict=True):
        yield Busy(name, seeds, job.threads, job.waiting, alone, beside)


@contextlib.contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """Let so many processes compute without end."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()

"""One process that runs one job: it says how long each block of steps took, and waits to be told the next.

Usage: python -m benchmarks.worker JOB, where JOB is a `benchmarks.job.Job` in JSON. It writes a line of JSON
for each block, and reads how many units of steps the next block has; 0 ends it.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import job as jobs
from benchmarks.entrants import ENTRANTS


class Ended(Exception):
    """Nobody wants another block."""


class Clock:
    """What a timed loop calls as its ``tick``."""

    def __init__(self) -> None:
        # Frameworks print what they like: they get the other stream, and this one is for the messages.
        self._messages = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self._left = 1
        self._since = time.perf_counter()

    def __call__(self) -> None:
        """End a unit of steps; at the end of a block, say how long it took and wait for the next."""
        self._left -= 1
        if self._left:
            return
        self.say(seconds=time.perf_counter() - self._since)
        self._left = int(sys.stdin.readline() or 0)
        if not self._left:
            raise Ended
        self._since = time.perf_counter()

    def say(self, **message: Any) -> None:
        """Send a message."""
        print(json.dumps(message), file=self._messages)


def limit(threads: int, pinned: bool, waiting: str = "") -> None:
    """Let this process use so many threads, and cores. It has to come before any framework is imported."""
    os.environ.pop("OMP_WAIT_POLICY", None)  # the reader's own choice is not what is measured
    if waiting:
        os.environ["OMP_WAIT_POLICY"] = waiting
    if pinned and hasattr(os, "sched_setaffinity"):  # for what frameworks start behind one's back
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"


def peak_memory() -> float:
    """Return the most memory that this process has had, in MB."""
    try:  # not ru_maxrss, which counts what the parent had when it started this process
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024 / 1e6
    except OSError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    """Run the job."""
    job = jobs.Job(**json.loads(sys.argv[1]))
    limit(job.threads, not (job.result or job.crowded), job.waiting)
    entrant = ENTRANTS[job.entrant]
    os.environ.update(entrant.environ)
    loop = importlib.import_module(f"benchmarks.entrants.{entrant.module}").loop
    if job.result:
        jobs.write(job.result, loop(job, lambda: None))
        return
    clock = Clock()
    try:
        loop(job, clock)
    except Ended:
        clock.say(peak_mb=peak_memory())


if __name__ == "__main__":
    main()

"""Starts workers, and lets them take turns, so that all meet the same weather on the machine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks import environment
from benchmarks.entrants import ENTRANTS
from benchmarks.job import Job


class Failed(RuntimeError):
    """A worker ended before its work."""


def command(job: Job) -> list[str]:
    """Return the command that runs a job in the environment of its entrant."""
    python = environment.interpreter() if ENTRANTS[job.entrant].elsewhere else sys.executable
    return [str(python), "-m", "benchmarks.worker", json.dumps(asdict(job))]


class Worker:
    """A process that trains, a block of steps at a time.

    Args:
        job: what it does.
        folder: where what it compiles is kept: a fresh folder makes it compile anew.
    """

    def __init__(self, job: Job, folder: str) -> None:
        self.job = job
        self._errors = tempfile.TemporaryFile("w+", dir=folder)
        environ = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": tempfile.mkdtemp(dir=folder)}
        self._process = subprocess.Popen(
            command(job), cwd=environment.ROOT, env=environ, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        try:
            #: Seconds until all was ready for the first step, without the imports.
            self.built = self._hear()["seconds"]
            #: Seconds of the first unit of steps, in which some compile.
            self.first = self.run()
        except Failed:
            self.close()
            raise

    def run(self, units: int = 1) -> float:
        """Make so many units of steps, and return the seconds that they took."""
        self._tell(units)
        return self._hear()["seconds"]

    def end(self) -> float:
        """End the process, and return the most memory that it had, in MB."""
        self._tell(0)
        peak = self._hear()["peak_mb"]
        self._process.wait()
        self.close()
        return peak

    def close(self) -> None:
        """End the process, if it has not ended."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _tell(self, units: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # what it died of is told by what it did not say
            print(units, file=self._process.stdin, flush=True)

    def _hear(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            raise Failed(f"{self.job} ended early:\n{self._errors.read()[-3_000:]}")
        return json.loads(line)


@contextlib.contextmanager
def started(jobs: Sequence[Job]) -> Iterator[list[Worker]]:
    """Start workers one after the other, and end them all at the end."""
    workers: list[Worker] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            for job in jobs:
                workers.append(Worker(job, folder))
            yield workers
        finally:
            for worker in workers:
                worker.close()

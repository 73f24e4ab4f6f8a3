"""Measure what two processes gain over one, ``python -m benchmarks.processes``, for a page of the book.

Both are started by torchrun, with one thread each. They take turns: the first alone with all the work, while
the other waits, and then both with their shares. A ratio is taken within a turn; the median and the range of
these are stored. ``--turns 1`` takes a look and stores nothing. From what two gain it is worked out what
more would.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist
from torch import Tensor

from benchmarks.environment import ROOT
from gan_helpers import Ensemble, Stream, adam, train
from gan_helpers.data import Sampler, StandardNormal, Uniform
from gan_helpers.losses import minimax_d, non_saturating_g
from gan_helpers.models import mlp
from gan_helpers.penalties import r1
from gan_helpers.processes import Processes, joined
from gan_helpers.recipes import fifty_lines
from gan_helpers.shares import Share

STORED = ROOT / "book" / "machines.csv"
WORKED_OUT = ROOT / "book" / "machines_more.csv"
MORE = (4, 8)  # processes that are not here
TURNS = 7
UNTIMED = 3  # first steps of a run
PIXELS = 784
COLUMNS = ("shared out", "work", "one", "two", "gain", "messages")


class Clock:
    """A sampler that notes when it is asked, once in a step."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._asked: list[float] = []

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw a batch."""
        self._asked.append(time.perf_counter())
        return self._sampler(seeds, batch, rng)

    @property
    def seconds(self) -> float:
        """The mean time of a step, without the first ones."""
        asked = self._asked[UNTIMED:]
        return (asked[-1] - asked[0]) / (len(asked) - 1)


Work = Callable[[Processes | None], float]


def of_members(seeds: int, steps: int, processes: Processes | None) -> float:
    """Train generators of the fifty lines, each process its share, and return the seconds of a step."""
    recipe = fifty_lines.original()
    clock = Clock(recipe.data)
    recipe = replace(recipe, data=clock)
    share = Share.whole(seeds) if processes is None else processes.share(seeds)
    G, D = recipe.networks(share, 0)
    recipe.train(G, D, 0, steps=steps, progress=False)
    return clock.seconds


def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    """Return the loss of D with R1."""
    return minimax_d(D(x), D(G(z).detach())) + 0.5 * r1(D, x)


def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    """Return the loss of G."""
    return non_saturating_g(D(G(z)))


def of_batch(width: int, batch: int, steps: int, processes: Processes | None) -> float:
    """Train one GAN of images, each process on its share of the rows; return the seconds of a step."""
    clock = Clock(Uniform(-1.0, 1.0, features=PIXELS))
    G = Ensemble(partial(mlp, 64, width, width, PIXELS), 1, name="G", seed=0)
    D = Ensemble(partial(mlp, PIXELS, width, width, 1), 1, name="D", seed=0)
    train(
        G, D, clock, StandardNormal(64), d_loss=d_loss, g_loss=g_loss,
        d_opt=adam(D, 2e-4), g_opt=adam(G, 2e-4), steps=steps, batch=batch, seed=0, progress=False,
        processes=processes,
    )  # fmt: skip
    return clock.seconds


def weights(width: int) -> int:
    """Return how many numbers the two gradients of a step of `of_batch` have."""
    players = mlp(64, width, width, PIXELS), mlp(PIXELS, width, width, 1)
    return sum(p.numel() for network in players for p in network.parameters())


#: What is shared out, in words, the work, and the numbers that a step sends.
WORKS: list[tuple[str, str, Work, int]] = [
    ("seeds", "16 GANs of the fifty lines", partial(of_members, 16, 60), 0),
    ("seeds", "256 GANs of the fifty lines", partial(of_members, 256, 20), 0),
    ("batch", "one GAN, width 64, 64 rows", partial(of_batch, 64, 64, 60), weights(64)),
    ("batch", "one GAN, width 512, 512 rows", partial(of_batch, 512, 512, 8), weights(512)),
]


def in_turns(work: Work, turns: int, processes: Processes) -> Iterator[tuple[float, float]]:
    """Yield the seconds of a step by the first process alone, and by all together."""
    for _ in range(turns):
        alone = processes.from_first(lambda: work(None))
        together = work(processes)
        dist.barrier()
        yield alone, together


def messages(numbers: int, turns: int = 20) -> float:
    """Return the seconds that two sums over the processes take, of half of the numbers each."""
    if not numbers:
        return 0.0
    flat, seconds = torch.zeros(numbers // 2), []
    for _ in range(turns):
        dist.barrier()
        started = time.perf_counter()
        dist.all_reduce(flat)
        seconds.append(time.perf_counter() - started)
    return 2 * median(seconds)


def measure(turns: int) -> None:
    """Measure in the processes that torchrun has started."""
    torch.set_num_threads(1)
    rows: list[dict[str, str]] = []
    with joined() as processes:
        for kind, words, work, numbers in WORKS:
            found = list(in_turns(work, turns, processes))
            sent = messages(numbers)
            one, two = (1_000 * median(column) for column in zip(*found, strict=True))
            gain = with_range([alone / together for alone, together in found])
            row = (kind, words, f"{one:.3g}", f"{two:.3g}", gain, f"{1_000 * sent:.2g}")
            rows.append(dict(zip(COLUMNS, row, strict=True)))
            if processes.is_first:
                print(", ".join(row), flush=True)
    if processes.is_first and turns >= TURNS:
        store(STORED, rows)
        store(WORKED_OUT, worked_out(rows))


def with_range(gains: list[float]) -> str:
    """Return the median of some gains and their range, as a cell of the table says it."""
    return f"{median(gains):.2f} ({min(gains):.2f} to {max(gains):.2f})"


def worked_out(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return how many times faster more processes would be than one.

    A step takes T = c + (T1 - c) / N + m 2 (N - 1) / N: what every process does, its share, and what it sends
    in a ring. T1, m, the messages of two, and the gain of two are measured; T2 is T1 / gain, and c follows
    from it. Where c is below 0 or above T1, the equation does not hold, and nothing is worked out.
    """
    return [
        {
            "shared out": row["shared out"],
            "work": row["work"],
            **{f"{n} processes": f"{_gain(row, n):.1f}" for n in MORE},
        }
        for row in rows
        if 0 <= common(row) <= float(row["one"])
    ]


def common(row: dict[str, str]) -> float:
    """Return c, what every process does, from what one and two take."""
    one, gain = float(row["one"]), float(row["gain"].split()[0])  # the median, before its range
    return 2 * (one / gain - float(row["messages"])) - one


def _gain(row: dict[str, str], n: int) -> float:
    one, sent, shared = float(row["one"]), float(row["messages"]), common(row)
    return one / (shared + (one - shared) / n + sent * 2 * (n - 1) / n)


def store(path: Path, rows: list[dict[str, str]]) -> None:
    """Write a table."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Start the processes, or be one of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=TURNS, help="how often they take turns")
    parser.add_argument("--joins", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.joins:
        measure(args.turns)
        return
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*launch, "-m", "benchmarks.processes", "--joins", f"--turns={args.turns}"]
    sys.exit(subprocess.run(command, cwd=Path(ROOT)).returncode)


if __name__ == "__main__":
    main()

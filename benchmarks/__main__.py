"""Time a round of the 50-line recipe, as its source writes it and as an ensemble: ``make bench``.

The two take turns, block by block, so that both meet the same weather on the machine. The table shows the
median time of a round for one GAN, and the median over the turns of the ratio to the source-style loop.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.source_style import source_style_round, tidied_round
from gan_helpers.recipes import fifty_lines

LABELS = {"source": "loop as its source writes it", "tidied": "the same loop, tidied"}
RESULT = Path(__file__).parents[1] / "_build" / "bench.json"


def one_network(one_round: Callable[[], None], rounds: int) -> float:
    """Return the seconds that a round of one network takes in torch's plain loop."""
    return _timed(lambda n: [one_round() for _ in range(n)], rounds)


def ensemble(seeds: int, rounds: int) -> float:
    """Return the seconds that a round of one GAN takes in an ensemble of ``seeds``."""
    recipe = fifty_lines.original()
    G, D = recipe.networks(seeds)
    return _timed(lambda n: recipe.train(G, D, steps=n, progress=False), rounds) / seeds


def _timed(work: Callable[[int], object], rounds: int) -> float:
    work(max(1, rounds // 10))  # warm-up
    start = time.perf_counter()
    work(rounds)
    return (time.perf_counter() - start) / rounds


def main() -> None:
    """Print the table and write it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--turns", type=int, default=7, help="how often each takes its turn (default %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=200, help="rounds in a turn (default %(default)s)")
    args = parser.parse_args()
    turns = [
        {"source": one_network(source_style_round(), args.rounds)}
        | {"tidied": one_network(tidied_round(), args.rounds)}
        | {str(seeds): ensemble(seeds, args.rounds) for seeds in (1, 16, 64)}
        for _ in range(args.turns)
    ]
    rows = []
    for name in turns[0]:
        microseconds = 1e6 * statistics.median(turn[name] for turn in turns)
        ratio = statistics.median(turn["source"] / turn[name] for turn in turns)
        rows.append({"entrant": name, "us_per_gan_round": microseconds, "times_faster": ratio})
    print(f"50 lines, one round of one GAN, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for row in rows:
        label = LABELS.get(row["entrant"], f"ensemble of {row['entrant']}")
        print(f"{label:30s} {row['us_per_gan_round']:8.0f} us {row['times_faster']:8.1f} times as fast")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"threads": torch.get_num_threads(), "rows": rows}, indent=1) + "\n")
    print(f"The figures: {RESULT.relative_to(Path.cwd()) if RESULT.is_relative_to(Path.cwd()) else RESULT}")


if __name__ == "__main__":
    main()

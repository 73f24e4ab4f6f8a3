"""Runs recipes over many fresh seeds and keeps what was measured: the tables behind the bounds of claims.

``python -m gan_helpers.calibration NAME`` remakes a table, ``--list`` names them all. The tables are part of
the package, so that a chapter can draw them wherever it runs. Their base seeds start at 1,000: none is a seed
that the book or its tests start from.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

import torch
from torch import Tensor

from gan_helpers import _checks, mnist, models
from gan_helpers.options import Watch
from gan_helpers.randomness import Stream
from gan_helpers.recipes import (
    Recipe,
    edward_mnist,
    fifty_lines,
    maxout_mnist,
    minimax,
    mxnet_gaussian,
    sinusoids,
)

Columns = dict[str, Tensor]

FIRST_SEED = 1_000


@dataclass(frozen=True)
class Table:
    """What a table holds.

    Args:
        run: trains a number of seeds from a base seed, and returns what was measured of each, by name.
        seeds: how many runs.
        ensemble: how many of them are trained at a time.

    Raises:
        TypeError: if ``run`` is no function, or a number is not whole.
        ValueError: if a number is below 1.
    """

    run: Callable[[int, int], Columns]
    seeds: int
    ensemble: int = 64

    def __post_init__(self) -> None:
        """Check the arguments."""
        _checks.function("run", self.run)
        _checks.whole("seeds", self.seeds)
        _checks.whole("ensemble", self.ensemble)


def _of(recipe: Callable[[], Recipe], seeds: int) -> Table:
    """Return the table of a recipe whose generators are measured at the end."""

    def run(seeds: int, seed: int) -> Columns:
        made = recipe()
        G, D = made.networks(seeds, seed=seed)
        history = made.train(G, D, seed=seed)
        return fifty_lines.measure((G if history.averaged is None else history.averaged).eval())

    return Table(run, seeds)


def _order(seeds: int, seed: int) -> Columns:
    """Return by how much D's answer about 100 real samples changes when they are sorted, ``(seeds,)``."""
    recipe = fifty_lines.original()
    G, D = recipe.networks(seeds, seed=seed)
    recipe.train(G, D, seed=seed)
    x = fifty_lines.REAL(seeds, 100, Stream("to be sorted", seed, next(D.parameters()).device))
    with torch.no_grad():
        answers = [D(models.decorate(samples)) for samples in (x, x.sort(dim=1).values)]
    return {"change": (answers[0] - answers[1]).abs().flatten()}


def _start(seeds: int, seed: int) -> Columns:
    """Return how high the mean of the fakes gets in the first 5,000 rounds of the 50 lines, ``(seeds,)``."""
    recipe = replace(fifty_lines.original(), steps=5_000)
    G, D = recipe.networks(seeds, seed=seed)
    history = recipe.train(
        G, D, seed=seed, watch=Watch(lambda G: {"mean": fifty_lines.quantile_samples(G).mean(1)}, every=200)
    )
    return {"highest_mean": history.watched["mean"].amax(0)}


def _early(seeds: int, seed: int) -> Columns:
    """Return the mean losses of Edward's recipe from iteration 500 to 1,500, each ``(seeds,)``."""
    recipe = edward_mnist.original(mnist.load().train.images, steps=1_500)
    G, D = recipe.networks(seeds, seed=seed)
    history = recipe.train(G, D, seed=seed)
    return {"g_loss": history.g_loss[500:].mean(0), "d_loss": history.d_loss[500:].mean(0)}


TABLES: dict[str, Table] = {
    "edward_early": Table(_early, 20, ensemble=4),
    "edward_original": Table(partial(edward_mnist.follow, "original"), 20, ensemble=4),
    "edward_penalised": Table(partial(edward_mnist.follow, "penalised"), 20, ensemble=4),
    "edward_repaired": Table(partial(edward_mnist.follow, "repaired"), 20, ensemble=4),
    "edward_sampled": Table(partial(edward_mnist.follow, "sampled"), 20, ensemble=4),
    "fifty_lines_original": _of(fifty_lines.original, 320),
    "fifty_lines_order": Table(_order, 320),
    "fifty_lines_later": _of(fifty_lines.later, 320),
    "fifty_lines_repaired": _of(fifty_lines.repaired, 320),
    "fifty_lines_start": Table(_start, 320),
    "fifty_lines_twins": Table(fifty_lines.twins, 320),
    "maxout_mnist_original": Table(partial(maxout_mnist.follow, "original"), 20, ensemble=1),
    "maxout_mnist_repaired": Table(
        partial(maxout_mnist.follow, "repaired", epochs=10, at=(10,)), 20, ensemble=1
    ),
    "maxout_mnist_slow_d": Table(partial(maxout_mnist.follow, "weak_d", epochs=3, at=(3,)), 20, ensemble=1),
    "maxout_mnist_switches": Table(maxout_mnist.switches, 20, ensemble=1),
    "minimax_discriminators": Table(minimax.discriminators, 320),
    "minimax_gradients": Table(minimax.gradients, 320),
    "sinusoids_original": Table(sinusoids.trial, 32, ensemble=8),
    "sinusoids_start": Table(partial(sinusoids.trial, epochs=4), 40, ensemble=8),
    "sinusoids_no_momentum": Table(partial(sinusoids.trial, ema=0.999, epochs=16, beta1=0.0), 28, ensemble=4),
    "sinusoids_r1": Table(
        partial(sinusoids.trial, ema=0.999, epochs=16, dropout=0.0, gamma=0.03), 24, ensemble=4
    ),
    "sinusoids_repaired": Table(partial(sinusoids.trial, ema=0.999, **sinusoids.REPAIR), 20, ensemble=4),
    "mxnet_gaussian_original": Table(mxnet_gaussian.original_runs, 320),
    "mxnet_gaussian_repaired": Table(mxnet_gaussian.repaired_runs, 320),
}


def ledger(name: str) -> dict[str, Tensor]:
    """Return a table by its columns, one number per run.

    Args:
        name: the table, such as ``"fifty_lines_original"``.

    Returns:
        The columns by name, each ``(runs,)`` in float64.

    Raises:
        TypeError: if ``name`` is no string.
        ValueError: if there is no such table.
    """
    _checks.text("name", name)
    with as_file(files("gan_helpers") / "assets" / f"{name}.csv") as path:
        if not path.is_file():
            raise ValueError(f"name must be one of {', '.join(sorted(TABLES))}, not {name!r}.")
        with path.open(newline="") as file:
            lines = list(csv.DictReader(file))
    return {key: torch.tensor([float(line[key]) for line in lines], dtype=torch.float64) for key in lines[0]}


def rows(table: Table, seeds: int, ensemble: int, first: int = FIRST_SEED) -> Iterator[dict[str, float]]:
    """Yield what was measured of each of ``seeds`` runs, ``ensemble`` of them trained at a time.

    Args:
        table: what to run.
        seeds: how many runs.
        ensemble: how many at a time.
        first: the base seed of the first ensemble; each further one has the next.

    Raises:
        TypeError: if a number is not whole.
        ValueError: if a number is below 1.
    """
    _checks.instance("table", table, Table)
    _checks.whole("seeds", seeds)
    _checks.whole("ensemble", ensemble)
    _checks.whole("first", first, at_least=0)
    for i, start in enumerate(range(0, seeds, ensemble)):
        size = min(ensemble, seeds - start)
        columns = table.run(size, first + i)
        for k in range(size):
            yield {
                "seed": first + i,
                "member": k,
                **{name: value[k].item() for name, value in columns.items()},
            }


def main() -> None:
    """Remake one table, or make it longer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", choices=sorted(TABLES), help="which table")
    parser.add_argument("--list", action="store_true", help="name all tables")
    parser.add_argument("--seeds", type=int, help="runs (default: as many as the table has)")
    parser.add_argument(
        "--more", type=int, help="keep the table's runs and add so many, from the next base seed on"
    )
    parser.add_argument(
        "--ensemble", type=int, help="runs trained at a time (default: the table's own number)"
    )
    args = parser.parse_args()
    if args.list or args.name is None:
        print("\n".join(sorted(TABLES)))
        return
    table = TABLES[args.name]
    seeds = args.more or args.seeds or table.seeds
    first = FIRST_SEED if args.more is None else int(ledger(args.name)["seed"].max()) + 1
    path = Path(__file__).parent / "assets" / f"{args.name}.csv"
    with path.open("w" if args.more is None else "a", newline="") as file:
        for n, row in enumerate(rows(table, seeds, args.ensemble or table.ensemble, first)):
            writer = csv.DictWriter(file, row, lineterminator="\n")
            if n == 0 and args.more is None:
                writer.writeheader()
            writer.writerow({key: f"{value:.6g}" for key, value in row.items()})
            file.flush()
    print(f"{path.name} holds {len(ledger(args.name)['seed'])} runs.")


if __name__ == "__main__":
    main()

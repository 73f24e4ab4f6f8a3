"""Measure the package beside what a reader would use instead: ``make bench``.

Without arguments, all recipes that have a module in benchmarks/chapters are checked and measured, the
figures are stored in book/speed.json, and the page 'Speed' gets its tables and its figure from them. Names
of recipes measure these alone, and keep what is stored of the others. A quick run is for a look: it stores
nothing in the book.

  make bench ARGS="fifty_lines sinusoids"   these recipes alone
  make bench ARGS="--quick"                 fewer seeds, and short: nothing is stored
  make bench ARGS="--check"                 only check that all do the same work
  make bench ARGS="--busy"                  only the package, beside busy processes and without
  make bench ARGS="--book"                  also run all chapters and build the pages
  make bench ARGS="--playground"            only the playground, in a browser
  make bench ARGS="--draw"                  measure nothing: tables and figure of what is stored
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks import chapters, checks, environment, extras, fleet, measure, page, playground
from benchmarks.facts import facts
from benchmarks.results import STORED, Results

QUICK_RESULT = environment.ROOT / "_build" / "bench.json"


def main() -> None:
    """Do what the arguments say."""
    args = arguments()
    if args.draw:
        page.draw(Results.load(STORED))
        return
    started = time.perf_counter()
    results = Results(machine=machine())
    if args.playground:
        measure_playground(args, results)
    elif args.busy:
        measure_crowded(args, results)
    else:
        environment.make()
        check(args.recipes, args.quick, results)
        if not args.check:
            measure_all(args, results)
            measure_crowded(args, results)
    if not args.check:
        finish(args, results)
    say(f"It took {page.duration(time.perf_counter() - started)}.")


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = chapters.names()
    parser.add_argument(
        "recipes", nargs="*", metavar="RECIPE", help=f"any of {', '.join(names)}; all chapters unless given"
    )
    for name, words in (
        ("quick", "short, with fewer seeds; nothing is stored in the book"),
        ("check", "only check that all do the same work"),
        ("busy", "only the package, beside busy processes and without"),
        ("book", "also run all chapters and build the pages, which takes about ten minutes"),
        ("draw", "measure nothing, and draw what is stored"),
        ("playground", "only the playground, in a browser"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=words)
    args = parser.parse_args()
    unknown = [name for name in args.recipes if name not in names]
    if unknown:
        parser.error(f"there is no recipe {unknown[0]}: choose from {', '.join(names)}")
    wanted = args.recipes or names
    args.recipes = [name for name in names if name in wanted and chapters.can_run(name)]
    return args


def processor() -> str:
    """Return what computes here, in words."""
    return f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}"


def machine() -> dict[str, str]:
    """Return what this is measured on, and the versions of what takes part."""
    here = {name: version(name) for name in ("torch", "numpy", "keras", "mxnet") if has(name)}
    there = dict(
        line.split("==")
        for line in environment.REQUIREMENTS.read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    return {
        "Cores": str(environment.cores()),
        "System": platform.system(),
        "Python": platform.python_version(),
        "PyTorch": here.get("torch", ""),
        "MXNet": here.get("mxnet", "is not here"),
        "Keras": here.get("keras", "is not here"),
        "JAX": there["jax"],
    }


def has(name: str) -> bool:
    """Tell whether a package is installed."""
    try:
        version(name)
    except ModuleNotFoundError:
        return False
    return True


def check(recipes: list[str], quick: bool, results: Results) -> None:
    """Check that all do the same work, and end the program if some do not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for found in all_checks(folder, recipes, quick):
            results.checks.append(asdict(found))
            say(f"{'same' if found.passed else 'WRONG'}: {found.recipe}, {found.entrant} x {found.seeds}, "
                f"{found.what}: {found.value:.3g}")  # fmt: skip
    wrong = [found for found in results.checks if not found["passed"]]
    if wrong:
        sys.exit(f"{len(wrong)} checks failed: what is not the same work is not compared.")


def all_checks(folder: Path, recipes: list[str], quick: bool) -> Iterator[checks.Check]:
    """Yield all checks; a quick run judges nothing that has to be trained to the end."""
    for recipe in recipes:
        yield from checks.same_work(folder, recipe, checks.checked(recipe))
        if hasattr(chapters.load(recipe), "judge") and not quick:
            yield from checks.as_in_the_table(folder, recipe)


def measure_all(args: argparse.Namespace, results: Results) -> None:
    """Measure what was asked for."""
    effort, today = effort_of(args), datetime.date.today().isoformat()
    here = f"{today}, {processor()}"
    for recipe in args.recipes:
        for threads in (1, 2):
            if threads > environment.cores():
                say(f"There is one core only: {recipe} with two threads is left out.")
                continue
            say(f"{recipe}, {threads} thread{'s'[: threads - 1]}")
            results.rows += measure.recipe(recipe, threads, effort)
        results.dates[recipe] = here
        results.recipes[recipe] = facts(recipe).stored()
        keep(args, results)
    results.others |= extras.imports(effort.turns)
    results.dates["import"] = today
    if args.book:
        say("all chapters, and the pages")
        results.others |= extras.book()
        results.dates["book"] = today


def measure_crowded(args: argparse.Namespace, results: Results) -> None:
    """Measure the package beside busy processes and without."""
    for recipe in args.recipes:
        say(f"{recipe}, beside {environment.cores()} busy processes and without")
        results.busy += measure.crowded(recipe, effort_of(args))
        results.dates["busy"] = datetime.date.today().isoformat()
        keep(args, results)


def measure_playground(args: argparse.Namespace, results: Results) -> None:
    """Measure what the page does that trains in the reader's browser."""
    say("the playground, in a browser")
    here = f"{processor()}, {environment.cores()} cores"
    # The rest of the machine tells of the other measurements.
    results.machine = {"Browser": f"Chromium {playground.version()} on {here}"}
    results.others.pop("playground_tfjs", None)  # a ratio is of one run
    results.others |= playground.measure(effort_of(args).turns)
    results.dates["playground"] = datetime.date.today().isoformat()


def effort_of(args: argparse.Namespace) -> measure.Effort:
    """Return how long to measure."""
    return measure.QUICK if args.quick else measure.Effort()


def keep(args: argparse.Namespace, results: Results) -> tuple[Results, Path]:
    """Store what was measured so far, beside what is stored of other recipes if it goes into the book."""
    kept, where = (Results(), QUICK_RESULT) if args.quick else (Results.load(STORED), STORED)
    kept.merge(results)
    kept.store(where)
    return kept, where


def finish(args: argparse.Namespace, results: Results) -> None:
    """Print the table, and draw the page if it goes into the book."""
    kept, where = keep(args, results)
    if not args.quick:
        page.draw(kept)
    tables = [page.busy(kept)] if args.busy else [page.overview(kept, args.recipes), page.busy(kept)]
    say("\n" + "\n\n".join(map(page.printed, tables)) + f"\n\n{page.aims(kept)}\n")
    say(f"The figures: {where.relative_to(environment.ROOT)}")


def say(words: Any) -> None:
    """Print at once."""
    print(words, flush=True)


if __name__ == "__main__":
    try:
        main()
    except fleet.Failed as failure:
        sys.exit(str(failure))

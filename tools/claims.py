"""Work out from the tables of many runs how likely each claim of the book is to fail.

Usage: python tools/claims.py [--replay NOTEBOOK --seeds 40]

Without arguments, it writes the tables of the page on reliability: `book/claims.csv` with the claims, and
`book/rates.csv` with the recipes. `claim_bases.py` beside it says which column each claim rests on. What a
claim asks of it, the bound and the number of seeds, is read from the notebook and stands nowhere else.

A claim fails if too few of its runs keep within its bound. How likely one run is to miss comes from

- a count, where a table has 300 runs or more and some may miss: the upper end of the one-sided 95 % interval
  of Clopper and Pearson, so 0.0093 if none of 320 misses;
- Student's t otherwise: the chance that one more run crosses the bound, if the runs are normal on
  the scale that is named: of logarithms for amounts, of arcsines of roots for shares, or plain.

`--replay` measures what needs no long training: it runs the cells of a notebook that lead up to such a claim
from base seeds of its own, and keeps the values that the claim is given.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from scipy import stats
from torch import Tensor

from gan_helpers.calibration import FIRST_SEED, ledger

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.claim_bases import RATES, REPLAYS, RESTS, Law, Rest  # noqa: E402
from tools.claim_reader import Claim, Limit, cells, claims_of  # noqa: E402

BOOK = ROOT / "book"
REPLAYED = ROOT / "tests" / "replayed.csv"
ENOUGH = 300  # runs that can be counted
LIMIT = 1e-4  # how often a claim may fail

SCALES = {"log": torch.log, "arcsine": lambda share: share.sqrt().asin(), "plain": lambda x: x}
FUNCTIONS = {"abs": torch.abs}


def column(rest: Rest, notebook: str, words: str) -> Tensor:
    """Return what a claim rests on, one number per run."""
    columns = ledger(rest.table) if rest.table != "replay" else {"value": replayed(notebook, words)}
    return eval(rest.column, {"__builtins__": {}}, FUNCTIONS | columns)


def misses(rest: Rest, values: Tensor, limits: tuple[Limit, ...], all_hold: bool) -> tuple[float, str]:
    """Return how likely one run is to miss, and by which rule."""
    n = len(values)
    beyond = [(values <= bound) if side == ">" else (values >= bound) for side, bound in limits]
    missed = int(torch.stack(beyond).any(0).sum())
    if n >= ENOUGH and not all_hold:
        return float(stats.beta.ppf(0.95, missed + 1, n - missed)), f"count: {missed} missed"
    if missed:
        return 1.0, f"{missed} missed"
    scale = SCALES[rest.scale]
    scaled = scale(values)
    spread = max(float(scaled.std()), rest.grain) * math.sqrt(1 + 1 / n)
    ends = [(side, float(scale(torch.tensor(bound, dtype=torch.float64)))) for side, bound in limits]
    away = [(float(scaled.mean()) - end) * (1 if side == ">" else -1) for side, end in ends]
    return min(1.0, sum(float(stats.t.sf(a / spread, n - 1)) for a in away)), f"Student, {rest.scale}"


def fails(p: float, of: int, at_least: int) -> float:
    """Return how likely fewer than ``at_least`` of ``of`` runs are to hold if each misses with p."""
    return float(stats.binom.sf(of - at_least, of, p))


# Replays


def replayed(notebook: str, words: str) -> Tensor:
    """Return what a claim was given when its cells were replayed, one number per run."""
    with REPLAYED.open(encoding="utf-8", newline="") as file:
        found = [
            float(row["value"])
            for row in csv.DictReader(file)
            if (row["notebook"], row["claim"]) == (notebook, words)
        ]
    return torch.tensor(found, dtype=torch.float64)


def replay(notebook: str, seed: int) -> dict[str, list[float]]:
    """Run the cells that lead up to the cheap claims of a chapter, and return what those are given."""
    wanted = {
        words
        for words, rests in RESTS[notebook].items()
        if any(isinstance(rest, Rest) and rest.table == "replay" for rest in listed(rests))
    }
    given: dict[str, list[float]] = {}

    def claim(text: str, holds: Tensor | bool, *, at_least: object = None, values: object = None) -> None:
        if text in wanted:
            what = torch.as_tensor(holds if values is None else values).double()
            given[text] = what.flatten().tolist()

    os.environ["GAN_BOOK_SEED"] = str(seed)
    space: dict[str, object] = {}
    for step in REPLAYS[notebook]:
        exec(cells(notebook).get(step, step), space)
        space["claim"] = claim
    return given


# The tables of the page


def listed(rests: object) -> tuple:
    """Return one or several as a tuple."""
    return rests if isinstance(rests, tuple) else (rests,)


def judged(notebook: str, claim: Claim, rests: object) -> Iterator[dict[str, str | float]]:
    """Yield a row for each column that a claim rests on; its chance to fail is their sum."""
    for rest in listed(rests):
        if isinstance(rest, Law):
            one = rest.p(claim.limits[0][1]) if callable(rest.p) else rest.p
            rule, p, runs, base = rest.why, fails(one, rest.of, claim.at_least or rest.of), "", "a known law"
        else:
            values = column(rest, notebook, claim.words)
            at_least = rest.at_least or claim.at_least or rest.of
            one, rule = misses(rest, values, rest.limits or claim.limits, at_least == rest.of)
            p, runs = fails(one, rest.of, at_least), str(len(values))
            base = "its own cells, replayed" if rest.table == "replay" else f"`{rest.table}`: `{rest.column}`"
        yield {
            "chapter": notebook, "claim": claim.words, "rests on": base, "runs": runs, "rule": rule,
            "fails with": p,
        }  # fmt: skip


def calibrated() -> list[dict[str, str | float]]:
    """Return all rows, chapter by chapter."""
    return [
        row
        for notebook, rests in RESTS.items()
        for claim in claims_of(notebook)
        if not isinstance(rests.get(claim.words, ""), str)
        for row in judged(notebook, claim, rests[claim.words])
    ]


def written(p: float) -> str:
    """Return a chance as the page shows it."""
    return f"{p:.0e}" if p >= 1e-12 else "below 1e-12"


def rates() -> list[dict[str, str]]:
    """Return for each recipe how many of its runs succeeded, with the 95 % interval."""
    found = []
    for recipe, table, success, condition in RATES:
        good = eval(condition, {"__builtins__": {}}, FUNCTIONS | ledger(table))
        k, n = int(good.sum()), len(good)
        low, high = stats.binomtest(k, n).proportion_ci(method="exact")
        found.append({
            "recipe": recipe, "table": f"`{table}`", "success": success, "runs": f"{k} of {n}",
            "95 % interval": f"{100 * low:.1f} to {100 * high:.1f} %",
        })  # fmt: skip
    return found


def pages() -> dict[str, list[dict[str, str]]]:
    """Return the tables of the page by the names of their files."""
    rows = [{**row, "fails with": written(row["fails with"])} for row in calibrated()]
    return {"claims.csv": rows, "rates.csv": rates()}


def store(path: Path, rows: list[dict[str, str]]) -> None:
    """Write rows into a file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> int:
    """Write the tables of the page, or replay a notebook first."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replay", metavar="NOTEBOOK", help="measure the cheap claims of a chapter again")
    parser.add_argument("--seeds", type=int, default=40, help="base seeds to replay (default %(default)s)")
    args = parser.parse_args()
    if args.replay:
        rows = []
        if REPLAYED.exists():
            with REPLAYED.open(encoding="utf-8", newline="") as file:
                rows = [row for row in csv.DictReader(file) if row["notebook"] != args.replay]
        for seed in range(FIRST_SEED, FIRST_SEED + args.seeds):
            rows += [
                {"notebook": args.replay, "claim": text, "seed": seed, "value": f"{value:.6g}"}
                for text, values in replay(args.replay, seed).items()
                for value in values
            ]
        store(REPLAYED, sorted(rows, key=lambda row: (row["notebook"], row["claim"])))
        return 0
    for name, table in pages().items():
        store(BOOK / name, table)
    worst = max(calibrated(), key=lambda row: row["fails with"])
    print(f"The least sure claim fails with a probability of {worst['fails with']:.1e}: {worst['claim']}")
    return int(worst["fails with"] >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())

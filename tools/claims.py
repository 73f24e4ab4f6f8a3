"""Work out from the tables of many runs how likely each claim of the book is to fail.

Usage: python -m tools.claims NOTEBOOK [--seeds 40]

`make pages` writes the tables: `book/claims.csv` with the claims, and `book/rates.csv` with the recipes. The
part `[claims]` of a chapter's sheet says what each claim rests on that chance can reach. What a claim asks
for, its bounds and the number of seeds, is read from the notebook.

    "it is near" = {table = "original", column = "w1"}
    "it is near" = [{table = "a", column = "w1"}, {table = "b", column = "w1"}]   both have to hold
    "it is near" = "replay"                      {table = "replay"}: its own cells, run from other base seeds
    "it is near" = {law = "share_off", why = "counts are binomial"}      a function of the chapter's recipes
    "it is near" = "same", "theorem", "built" or "fixed"                 it cannot fail, see `SENSES`

A claim that compares with no number says in a few words what it is held `against`.
A `column` is a formula of columns, and `where` chooses runs. The bound of a quotient falls to two columns:
with `parting = 2`, "over / under > 3" asks that the first is above 6 and the second below 2.

A claim fails if too few of its runs keep within its bound. How likely one run is to miss comes from

- a count, where a table has 300 runs or more and some may miss: the upper end of the one-sided 95 % interval
  of Clopper and Pearson, so 0.0093 if none of 320 misses;
- Student's t otherwise: the chance that one more run crosses the bound, if the runs are normal on the `scale`
  that is named: "log", unless another is given, for amounts, "arcsine", of roots, for shares, or "plain".
  `grain` is the least spread, for a column of which all runs are equal.

The command measures what needs no long training: it runs the cells of a notebook that lead up to such a
claim from base seeds of its own, and keeps the values that the claim is given in `tests/replayed.csv`.
"""

from __future__ import annotations

import argparse
import ast
import csv
import io
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module

import torch
from scipy import stats
from torch import Tensor

from gan_helpers.tables import FIRST_SEED, ledger
from tools.claim_reader import FLIPPED, OPERATIONS, Bound, Claim, claims_of
from tools.sheets import ROOT, Sheet, load, made, sheets

BOOK = ROOT / "book"
REPLAYED = ROOT / "tests" / "replayed.csv"
ENOUGH = 300  # runs that can be counted
LIMIT = 1e-4  # how often a claim may fail

#: Why a claim cannot fail, though it stands in a cell with random numbers.
SENSES = {
    "same": "two ways to the same numbers",
    "theorem": "a theorem of the chapter",
    "built": "follows from how the program is built",
    "fixed": "tables, or numbers that no seed changes",
}
SCALES: dict[str, Callable[[Tensor], Tensor]] = {
    "log": lambda x: x.clamp(min=0).log(),
    "arcsine": lambda x: x.clamp(0, 1).sqrt().asin(),
    "plain": lambda x: x,
}


@dataclass(frozen=True, kw_only=True)
class Base:
    """What a claim rests on, as its sheet says; the arguments are explained above."""

    table: str = ""
    column: str = "value"
    where: str = ""
    scale: str = "log"
    grain: float = 0.0
    parting: float | None = None
    law: str = ""
    why: str = ""
    against: str = ""


def bases(sheet: Sheet, words: str) -> list[Base]:
    """Return what a claim rests on; nothing for one that cannot fail."""
    said = sheet.claims[words]
    if isinstance(said, str):
        said = [{"table": said}] if said not in SENSES else []
    return [
        made(Base, values, f"{sheet.name}.toml: {words}")
        for values in (said if isinstance(said, list) else [said])
    ]


# The runs of a table


def formula(text: str, columns: dict[str, Tensor]) -> Tensor:
    """Return what a formula of columns comes to: names, numbers, + - * /, comparisons, &, abs and log."""

    def value(node: ast.expr) -> Tensor | float:
        match node:
            case ast.Name(id=name):
                return columns[name]
            case ast.Constant(value=int() | float() as number):
                return number
            case (
                ast.BinOp(left=left, op=op, right=right)
                | ast.Compare(left=left, ops=[op], comparators=[right])
            ):
                return OPERATIONS[type(op)](value(left), value(right))
            case ast.Call(func=ast.Name(id="abs" | "log" as name), args=[inner]):
                return getattr(torch, name)(value(inner))
        raise ValueError(f"{text!r} is no formula of columns.")

    return value(ast.parse(text, mode="eval").body)


table = cache(ledger)


@cache
def replays() -> dict[tuple[str, str], Tensor]:
    """Return what the claims were given when their cells were replayed, by chapter and words."""
    found: dict[tuple[str, str], list[float]] = {}
    with REPLAYED.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault((row["notebook"], row["claim"]), []).append(float(row["value"]))
    return {key: torch.tensor(values, dtype=torch.float64) for key, values in found.items()}


def column(base: Base, notebook: str, words: str) -> Tensor:
    """Return what a claim rests on, one number per run."""
    of_replay = base.table == "replay"
    columns = {"value": replays()[notebook, words]} if of_replay else table(f"{notebook}_{base.table}")
    values = formula(base.column, columns)
    return values[formula(base.where, columns)] if base.where else values


# How likely a claim is to fail


def asked(claim: Claim, all_bases: list[Base], place: int, runs: int) -> tuple[list[Bound], int, int]:
    """Return what a claim asks of one of the columns that it rests on.

    Args:
        claim: as the notebook has it.
        all_bases: the columns.
        place: which of them.
        runs: how many runs of this table the chapter has, as far as its other claims say so.

    Returns:
        The bounds, how many runs the chapter has, and how many of them have to keep within.
    """
    base, bounds = all_bases[place], list(claim.bounds)
    if not bounds:
        raise ValueError(f"No bound of {claim.words!r} can be read: compare something with a number.")
    if not claim.seeds:
        raise ValueError(f"The notebook has not printed {claim.words!r}: make notebooks.")
    part = "" if base.table == "replay" else bounds[0].parts[0]
    if base.parting is not None:
        (bound,) = bounds
        part = bound.parts[place]
        above = Bound(bound.side, bound.number * base.parting)
        bounds = [above if place == 0 else Bound(FLIPPED[bound.side], base.parting)]
    elif not part:
        runs = claim.seeds[place] if len(claim.seeds) > 1 else claim.seeds[0] // len(all_bases)
    above, below = {
        "": (claim.at_least or runs, claim.at_least or runs),
        "median": (runs - (runs - 1) // 2, (runs + 1) // 2),
        "max": (1, runs),
        "min": (runs, 1),
    }[part]
    return bounds, runs, above if bounds[0].side == ">" else below


def misses(base: Base, values: Tensor, bounds: list[Bound], all_hold: bool) -> tuple[float, str]:
    """Return how likely one run is to miss, and by which rule."""
    n = len(values)
    beyond = [(values <= b.number) if b.side == ">" else (values >= b.number) for b in bounds]
    missed = int(torch.stack(beyond).any(0).sum())
    if n >= ENOUGH and not all_hold:
        p = 1.0 if missed == n else float(stats.beta.ppf(0.95, missed + 1, n - missed))
        return p, f"count: {missed} missed"
    if missed:
        return 1.0, f"{missed} missed"
    scale = SCALES[base.scale]
    scaled = scale(values)
    spread = max(float(scaled.std()), base.grain) * math.sqrt(1 + 1 / n)
    ends = [(b.side, float(scale(torch.tensor(b.number, dtype=torch.float64)))) for b in bounds]
    away = [(float(scaled.mean()) - end) * (1 if side == ">" else -1) for side, end in ends]
    return min(1.0, sum(float(stats.t.sf(a / spread, n - 1)) for a in away)), f"Student, {base.scale}"


def fails(p: float, of: int, at_least: int) -> float:
    """Return how likely fewer than ``at_least`` of ``of`` runs are to hold if each misses with p."""
    return float(stats.binom.sf(of - at_least, of, p))


def judged(sheet: Sheet, claim: Claim, runs: dict[str, int]) -> Iterator[dict[str, str | float]]:
    """Yield a row for each column that a claim rests on; its chance to fail is their sum."""
    found = bases(sheet, claim.words)
    for place, base in enumerate(found):
        bounds, of, at_least = asked(claim, found, place, runs.get(base.table, 1))
        if base.law:
            law = getattr(import_module(f"gan_helpers.recipes.{sheet.name}"), base.law)
            one, rule, rests, n = law(bounds[0].number), base.why, "a known distribution", ""
        else:
            values = column(base, sheet.name, claim.words)
            one, rule = misses(base, values, bounds, at_least == of)
            where = f", where `{base.where}`" if base.where else ""
            rests = f"`{sheet.name}_{base.table}`: `{base.column}`{where}"
            rests, n = "its own cells, replayed" if base.table == "replay" else rests, str(len(values))
        ends = " to ".join(f"{number:.6g}" for number in sorted(b.number for b in bounds))
        share = f", {at_least} of {of}" if of > 1 else ""
        yield {
            "chapter": sheet.name, "claim": claim.words, "rests on": rests,
            "has to be": (ends if len(bounds) > 1 else f"{bounds[0].side} {ends}") + share,
            "runs": n, "rule": rule, "fails with": fails(one, of, at_least),
        }  # fmt: skip


def of_chapter(sheet: Sheet, claims: list[Claim]) -> Iterator[dict[str, str | float]]:
    """Yield the rows of a chapter."""
    claims = [claim for claim in claims if claim.random]
    runs: dict[str, int] = {}
    for claim in claims:
        found = bases(sheet, claim.words)
        for base, seeds in zip(found, claim.seeds, strict=False) if len(found) == len(claim.seeds) else ():
            runs[base.table] = max(runs.get(base.table, 1), seeds)
    for claim in claims:
        yield from judged(sheet, claim, runs)


@cache
def calibrated() -> list[dict[str, str | float]]:
    """Return all rows, chapter by chapter."""
    return [
        row for sheet in sheets() for row in of_chapter(sheet, claims_of(load(BOOK / f"{sheet.name}.ipynb")))
    ]


# The tables of the page


def rates() -> Iterator[dict[str, str]]:
    """Yield for each recipe how many of its runs succeeded, with the 95 % interval."""
    for name, rate in ((f"{sheet.name}_{rate['table']}", rate) for sheet in sheets() for rate in sheet.rates):
        good = formula(rate["if"], table(name))
        k, n = int(good.sum()), len(good)
        low, high = stats.binomtest(k, n).proportion_ci(method="exact")
        yield {
            "recipe": rate["recipe"], "table": f"`{name}`", "success": rate["success"],
            "runs": f"{k} of {n}", "95 % interval": f"{100 * low:.1f} to {100 * high:.1f} %",
        }  # fmt: skip


def written(rows: list[dict[str, str]]) -> str:
    """Return rows as the text of a file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def pages() -> dict[str, str]:
    """Return the tables of the page by the names of their files."""
    rows = [
        {**row, "fails with": f"{p:.0e}" if (p := row["fails with"]) >= 1e-12 else "below 1e-12"}
        for row in calibrated()
    ]
    return {"claims.csv": written(rows), "rates.csv": written(list(rates()))}


# Replays


def replay(sheet: Sheet, seed: int) -> dict[str, list[float]]:
    """Run the cells that lead up to the cheap claims of a chapter, and return what those are given."""
    wanted = {words for words in sheet.claims if any(b.table == "replay" for b in bases(sheet, words))}
    cells = {cell.id: cell.source for cell in load(BOOK / f"{sheet.name}.ipynb").cells}
    given: dict[str, list[float]] = {}

    def claim(text: str, holds: Tensor | bool, *, at_least: object = None, values: object = None) -> None:
        if text in wanted:
            given[text] = torch.as_tensor(values).double().flatten().tolist()

    os.environ["GAN_BOOK_SEED"] = str(seed)
    space: dict[str, object] = {}
    for step in sheet.replay:
        exec(cells.get(step, step), space)
        space["claim"] = claim
    return given


def main() -> None:
    """Measure again what the cheap claims of a chapter are given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebook", choices=[sheet.name for sheet in sheets() if sheet.replay])
    parser.add_argument("--seeds", type=int, default=40, help="base seeds to replay (default %(default)s)")
    args = parser.parse_args()
    with REPLAYED.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["notebook"] != args.notebook]
    (sheet,) = (sheet for sheet in sheets() if sheet.name == args.notebook)
    for seed in range(FIRST_SEED, FIRST_SEED + args.seeds):
        rows += [
            {"notebook": sheet.name, "claim": text, "seed": str(seed), "value": f"{value:.6g}"}
            for text, values in replay(sheet, seed).items()
            for value in values
        ]
    REPLAYED.write_text(written(sorted(rows, key=lambda row: (row["notebook"], row["claim"]))), "utf-8")


if __name__ == "__main__":
    main()

"""Work out from the tables of many runs how likely each claim of the book is to fail.

Usage: python -m tools.claims NOTEBOOK

`make pages` writes the tables: `book/claims.csv` with the claims, and `book/rates.csv` with the recipes. The
part `[claims]` of a chapter's sheet says what each claim rests on that chance can reach. What a claim asks
for, its bounds and the number of seeds, is read from the notebook.

    "it is near" = {table = "original", column = "w1"}
    "it is near" = [{table = "a", column = "w1"}, {table = "b", column = "w1"}]   both have to hold
    "it is near" = "replay"                      {table = "replay"}: its own cells, run from other base seeds
    "it is near" = {law = "share_off", why = "counts are binomial"}      a function of the chapter's recipes
    "it is near" = "same", "theorem", "built" or "fixed"                 it cannot fail, see `SENSES`

A claim that compares with no number says in a few words what it is held `against`.
A table of a recipe module that is no chapter's is given by its whole name, such as "labelled_digits_games".
A `column` is a formula of columns, with `abs` and `log`, and `where` chooses runs. The bound of a quotient
falls to two columns: with `parting = 2`, "over / under > 3" asks that the first is above 6 and the second
below 2.

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

from gan_helpers.tables import FIRST_SEED, FOLDER, ledger
from tools.claim_reader import FLIPPED, Bound, Claim, claims_of
from tools.sheets import BOOK, ROOT, Sheet, load, made, sheets

REPLAYED = ROOT / "tests" / "replayed.csv"
ENOUGH = 300  # runs that can be counted
LIMIT = 1e-4  # how often a claim may fail
REPLAYS = 40  # base seeds from which cheap cells are run again

#: Why a claim cannot fail, though it stands in a cell with random numbers.
SENSES = {
    "same": "two ways to the same numbers",
    "theorem": "a theorem of the chapter",
    "built": "follows from how the program is built",
    "fixed": "tables, or numbers that no seed changes",
}
PLACES = {"": "a known distribution", "replay": "its own cells, replayed"}  # without a table of runs
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
        said = [] if said in SENSES else {"table": said}
    found = said if isinstance(said, list) else [said]
    return [made(Base, values, f"{sheet.name}.toml: {words}") for values in found]


def formula(text: str, columns: dict[str, Tensor]) -> Tensor:
    """Return what a formula of columns comes to."""
    return eval(text, {"abs": torch.abs, "log": torch.log}, columns)


table = cache(ledger)


@cache
def replays() -> list[dict[str, str]]:
    """Return what claims were given when their cells were replayed, a row for each number."""
    return list(csv.DictReader(REPLAYED.read_text(encoding="utf-8").splitlines()))


def whole(notebook: str, name: str) -> str:
    """Return the whole name of a table: one of the notebook's own, or else of another recipe module."""
    own = f"{notebook}_{name}"
    return own if (FOLDER / f"{own}.csv").is_file() else name


def column(base: Base, notebook: str, words: str) -> Tensor:
    """Return what a claim rests on, one number per run."""
    if base.table == "replay":
        given = [float(r["value"]) for r in replays() if (r["notebook"], r["claim"]) == (notebook, words)]
        columns = {"value": torch.tensor(given, dtype=torch.float64)}
    else:
        columns = table(whole(notebook, base.table))
    values = formula(base.column, columns)
    return values[formula(base.where, columns)] if base.where else values


# How likely a claim is to fail


def asked(claim: Claim, found: list[Base], place: int, runs: int) -> tuple[list[Bound], int, int]:
    """Return what a claim asks of one of the columns: its bounds, how many runs, and how many have to hold.

    For a claim about one number of all runs, such as their median, ``runs`` says how many they are.
    """
    base, bounds = found[place], list(claim.bounds)
    if not bounds:
        raise ValueError(f"No bound of {claim.words!r} can be read: compare something with a number.")
    if not claim.seeds:
        raise ValueError(f"The notebook has not printed {claim.words!r}: make notebooks.")
    part = "" if base.table == "replay" else bounds[0].parts[0 if base.parting is None else place]
    if base.parting is not None:
        (bound,) = bounds
        above = Bound(bound.side, bound.number * base.parting)
        bounds = [Bound(FLIPPED[bound.side], base.parting) if place else above]
    elif not part:
        runs = claim.seeds[place] if len(claim.seeds) > 1 else claim.seeds[0] // len(found)
    if not part:
        return bounds, runs, claim.at_least or runs
    rank = {"min": 0, "median": (runs - 1) // 2, "max": runs - 1}[part]
    return bounds, runs, runs - rank if bounds[0].side == ">" else rank + 1


def misses(base: Base, values: Tensor, bounds: list[Bound], all_hold: bool) -> tuple[float, str]:
    """Return how likely one run is to miss, and by which rule."""
    n = len(values)
    beyond = [(values <= b.number) if b.side == ">" else (values >= b.number) for b in bounds]
    missed = int(torch.stack(beyond).any(0).sum())
    if n >= ENOUGH and not all_hold:
        interval = stats.binomtest(missed, n, alternative="less").proportion_ci(0.95, method="exact")
        return float(interval.high), f"count: {missed} missed"
    if missed:
        return 1.0, f"{missed} missed"
    scale = SCALES[base.scale]
    scaled = scale(values)
    spread = max(float(scaled.std()), base.grain) * math.sqrt(1 + 1 / n)
    ends = [(b.side, float(scale(torch.tensor(b.number, dtype=torch.float64)))) for b in bounds]
    away = [(float(scaled.mean()) - end) * (1 if side == ">" else -1) / spread for side, end in ends]
    return min(1.0, float(stats.t.sf(away, n - 1).sum())), f"Student, {base.scale}"


def fails(p: float, of: int, at_least: int) -> float:
    """Return how likely fewer than ``at_least`` of ``of`` runs are to hold if each misses with p."""
    return float(stats.binom.sf(of - at_least, of, p))


def of_chapter(sheet: Sheet, claims: list[Claim]) -> Iterator[dict[str, str | float]]:
    """Yield a row for each column that a claim rests on; its chance to fail is their sum."""
    rests = [(claim, bases(sheet, claim.words)) for claim in claims if claim.random]
    runs: dict[str, int] = {}
    for claim, found in rests:
        for base, seeds in zip(found, claim.seeds, strict=False):
            runs[base.table] = max(runs.get(base.table, 1), seeds)
    for claim, found in rests:
        for place, base in enumerate(found):
            bounds, of, at_least = asked(claim, found, place, runs.get(base.table, 1))
            ends = " to ".join(f"{number:.6g}" for number in sorted(b.number for b in bounds))
            where = f", where `{base.where}`" if base.where else ""
            table_of = f"`{whole(sheet.name, base.table)}`: `{base.column}`{where}"
            row = {"chapter": sheet.name, "claim": claim.words, "rests on": PLACES.get(base.table, table_of)}
            row["has to be"] = ends if len(bounds) > 1 else f"{bounds[0].side} {ends}"
            row["has to be"] += f", {at_least} of {of}" if of > 1 else ""
            if base.law:
                law = getattr(import_module(f"gan_helpers.recipes.{sheet.name}"), base.law)
                one, row["runs"], row["rule"] = law(bounds[0].number), "", base.why
            else:
                values = column(base, sheet.name, claim.words)
                one, rule = misses(base, values, bounds, at_least == of)
                row |= {"runs": str(len(values)), "rule": rule}
            yield {**row, "fails with": fails(one, of, at_least)}


@cache
def calibrated() -> list[dict[str, str | float]]:
    """Return all rows, chapter by chapter."""
    read = ((sheet, claims_of(load(BOOK / f"{sheet.name}.ipynb"))) for sheet in sheets())
    return [row for sheet, claims in read for row in of_chapter(sheet, claims)]


# The tables of the page


def rates() -> Iterator[dict[str, str]]:
    """Yield for each recipe how many of its runs succeeded, with the 95 % interval."""
    for name, rate in (
        (whole(sheet.name, rate["table"]), rate) for sheet in sheets() for rate in sheet.rates
    ):
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
    parser = argparse.ArgumentParser(description=main.__doc__)
    chapters = {sheet.name: sheet for sheet in sheets() if sheet.replay}
    parser.add_argument("notebook", choices=chapters)
    name = parser.parse_args().notebook
    rows = [row for row in replays() if row["notebook"] != name] + [
        {"notebook": name, "claim": text, "seed": str(seed), "value": f"{value:.6g}"}
        for seed in range(FIRST_SEED, FIRST_SEED + REPLAYS)
        for text, values in replay(chapters[name], seed).items()
        for value in values
    ]
    REPLAYED.write_text(written(sorted(rows, key=lambda row: (row["notebook"], row["claim"]))), "utf-8")


if __name__ == "__main__":
    main()

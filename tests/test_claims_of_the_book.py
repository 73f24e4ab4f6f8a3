"""Each claim of the book that chance can reach rests on a table, and hardly ever fails."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator

import pytest
import torch
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output
from scipy import stats

from tests.reliability import Reached, measured
from tools import claims
from tools.claim_reader import Bound, Claim, claims_of, names, words_of
from tools.sheets import Sheet, load, sheets

SHEETS = sheets()
of_each_chapter = pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)


def notebook_of(sheet: Sheet) -> NotebookNode:
    """Return the notebook of a sheet."""
    return load(claims.BOOK / f"{sheet.name}.ipynb")


def read(source: str, printed: str = "") -> list[Claim]:
    """Return the claims of a cell that has printed something."""
    return claims_of(
        new_notebook(cells=[new_code_cell(source, outputs=[new_output("stream", text=printed)])])
    )


def chances(rows: Iterable[dict]) -> dict[tuple[str, str], float]:
    """Return how likely each claim is to fail, by its chapter and its words."""
    found: dict[tuple[str, str], float] = {}
    for row in rows:
        key = row["chapter"], row["claim"]
        found[key] = found.get(key, 0.0) + row["fails with"]
    return found


# The book


@of_each_chapter
def test_every_claim_is_read_and_says_what_it_rests_on_if_chance_can_reach_it(sheet: Sheet) -> None:
    notebook = notebook_of(sheet)
    found = claims_of(notebook)
    lines = [line for c in notebook.cells if c.cell_type == "code" for line in c.source.splitlines()]
    assert len(found) == sum(line.lstrip().startswith("claim(") for line in lines)
    assert {claim.words for claim in found if claim.random} == set(sheet.claims)
    for claim in (claim for claim in found if claim.random):
        for base in (base for base in claims.bases(sheet, claim.words) if base.table == "replay"):
            assert len(claims.column(base, sheet.name, claim.words)) >= 20 * claim.seeds[0], claim.words


@measured("claims", "each claim that chance can reach, from tables of many runs", fast=1, slow=1)
def test_every_claim_fails_less_than_once_in_10_000_runs(effort: int, reached: Reached) -> None:
    found = chances(claims.calibrated())
    least, together = max(found.values()), sum(found.values())
    reached(f"{len(found)} claims; the least sure fails with {least:.0e}, any one with {together:.0e}")
    likely = {key: p for key, p in found.items() if not p < claims.LIMIT}
    assert not likely, "claim less: another bound, or fewer seeds"


@pytest.mark.parametrize("name", ["claims.csv", "rates.csv"])
def test_the_page_shows_what_the_tables_say(name: str) -> None:
    stored = (claims.BOOK / name).read_text(encoding="utf-8")
    assert stored == claims.pages()[name], "make pages writes it anew"
    assert f":file: {name}\n" in (claims.BOOK / "reliability.md").read_text(encoding="utf-8")


def test_a_replay_gives_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As draws of one distribution: on another processor training rounds otherwise, and ends elsewhere."""
    monkeypatch.setenv("GAN_BOOK_SEED", "0")  # put back afterwards
    sheet = min((s for s in SHEETS if s.replay and not s.needs), key=lambda s: len(s.replay))
    for words, values in claims.replay(sheet, claims.FIRST_SEED).items():
        stored = claims.column(claims.Base(table="replay"), sheet.name, words).tolist()
        assert values and len(stored) % len(values) == 0, words
        assert stats.ks_2samp(values, stored).pvalue > 1e-4, (words, values)


# No bound can be tightened unnoticed


def walked(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of a condition, without those that only choose what it is asked of."""
    yield node
    for part in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.Subscript) or isinstance(getattr(node, "op", None), ast.Invert)):
            yield from walked(part)


def tightenings(tree: ast.Module) -> Iterator[set[str]]:
    """Make each number that something is compared with hopeless in turn, and yield the claims it is for."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and names(node.func) == {"claim"}]
    for statement in ast.walk(tree):
        if isinstance(statement, ast.Assign):
            made = {name for target in statement.targets for name in names(target)}
            asked = {call: {n.id for n in walked(call.args[1]) if isinstance(n, ast.Name)} for call in calls}
            uses = {words_of(call) for call in calls if made & asked[call]}
        elif isinstance(statement, ast.Expr) and statement.value in calls:
            uses = {words_of(statement.value)}
        else:
            continue
        for node in (node for node in walked(statement) if isinstance(node, ast.Compare)):
            terms = [node.left, *node.comparators]
            for op, *sides in zip(node.ops, terms, terms[1:], strict=False):
                far = -1e9 if isinstance(op, (ast.Gt, ast.GtE)) else 1e9
                for side, hopeless in zip(sides, (far, -far), strict=True):
                    negated = isinstance(side, ast.UnaryOp)
                    number = side.operand if negated else side
                    if isinstance(number, ast.Constant):
                        before, number.value = number.value, -hopeless if negated else hopeless
                        yield uses
                        number.value = before


@of_each_chapter
def test_a_bound_that_is_tightened_makes_its_claim_fail(sheet: Sheet) -> None:
    notebook, tightened = notebook_of(sheet), set()
    on_chance = {words: bases for words in sheet.claims if (bases := claims.bases(sheet, words))}
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code" and "claim(" in cell.source):
        source, tree = cell.source, ast.parse(cell.source)
        for uses in tightenings(tree):
            cell.source = ast.unparse(tree)
            found = chances(claims.of_chapter(sheet, claims_of(notebook))) if uses & set(on_chance) else {}
            assert all(found[sheet.name, words] > 0.5 for words in uses & set(on_chance)), cell.source
            tightened |= uses
        cell.source = source
    # Where nothing could be tightened, the sheet says what the claim compares with instead of a number.
    assert {words for words, bases in on_chance.items() if bases[0].against} == set(on_chance) - tightened


# How a notebook is read


def test_a_claim_is_read_with_its_bounds_and_its_seeds() -> None:
    one = "off = Stream('x').normal(16)\nclaim('near', off < 0.5, at_least=13, values=off)\n"
    more = "for name, x in runs:\n    claim(f'{name}: near', x < 1, at_least=len(x) // 2)"
    printed = "Holds: near [at least 13 of 16 seeds]\nHolds: nearer\n"
    printed += "Holds: a: near [at least 1 of 2 seeds]\nHolds: b: near [at least 2 of 4 seeds]\n"
    assert read(one + more, printed) == [
        Claim("near", (Bound("<", 0.5),), 13, (16,), random=True),
        Claim("{name}: near", (Bound("<", 1.0),), None, (2, 4), random=False),
    ]


@pytest.mark.parametrize(
    ("condition", "bounds"),
    [
        ("0.2 < x < 1.5", "> 0.2, < 1.5"),
        ("(-0.8 < x) & (x < -0.2)", "> -0.8, < -0.2"),
        ("bool(x > 1 and (y < 2).all())", "> 1, < 2"),
        ("~counted | (x < 0.2)", "< 0.2"),
        ("x.max() / y.median() > 2", "> 2 max median"),
        ("(x - 0.5).abs() < 0.25", "< 0.75, > 0.25"),
        ("abs(x + 1) < 0.25", "< -0.75, > -1.25"),
        ("2 * y < x", "< 0"),
        ("x / 2 < 3 * 4**2", "< 96"),
        ("x * 4 > 1 - 3", "> -0.5"),
        ("x.abs() > 2", "> 2"),
        ("x < limit", "< 7"),
        ("x < R.mean", "< 4"),
        ("x < torch.log(torch.tensor(2))", "< 0.693147"),
        ("x < other", "< 0"),
        ("x > pinned.cpu()", "> 3.5"),
        ("x < pinned", "< 2.5"),
        ("x == 2", ""),
    ],
)
def test_bounds_are_numbers_that_something_is_compared_with(condition: str, bounds: str) -> None:
    known = "limit = 7\nR = Normal(mean=4.0)\nx, y = Stream('x')\npinned = w(x)\n"
    known += "claim('pinned', (pinned - 3).abs() < 0.5)\n"
    for cell in (f"claim('it', {condition})", f"holds = {condition}\nclaim('it', holds)"):
        said = [f"{b.side} {b.number:.6g} {' '.join(b.parts)}".strip() for b in read(known + cell)[-1].bounds]
        assert ", ".join(said) == bounds


@pytest.mark.parametrize(
    ("source", "random"),
    [
        ("x = ledger('a')['b']", False),
        ("G = Ensemble(make, 3)\ny = G(z)\nx = y.std()", True),
        ("x = Stream('x').normal(3)\nx = 3", False),
        ("y = Stream('x')\nfor x in y.normal(3):\n    pass", True),
        ("x = []\ndef loss(G):\n    x.append(1)", True),
        ("x = {}\ndef loss(G):\n    x['a'] = 1", True),
        ("def make():\n    return nn.Linear(1, 1)\nx = make()", True),
        ("def half(Stream):\n    return Stream / 2\nx = half(1)", False),
        ("a = train(G)\na, x = a.g_loss, 1", True),
        ("from gan_helpers.recipes import fifty_lines as r\nx = r.quantile_samples(G)", True),
        ("from gan_helpers.recipes import fifty_lines as r\nx = r.four_moments(y)", False),
    ],
)
def test_what_chance_can_reach_is_followed_from_name_to_name(source: str, random: bool) -> None:
    (claim,) = read(f"{source}\nclaim('it', x < 1)")
    assert claim.random == random


# What a table says


def miss(values: list[float], *ends: str, all_hold: bool = True, **said: float | str) -> tuple[float, str]:
    bounds = [Bound(end[0], float(end[1:])) for end in ends]
    base = claims.Base(**{"scale": "plain"} | said)
    return claims.misses(base, torch.tensor(values, dtype=torch.float64), bounds, all_hold)


@pytest.mark.parametrize("missed", [0, 2, 320])
def test_in_a_long_table_misses_are_counted(missed: int) -> None:
    p, rule = miss([0.0] * (320 - missed) + [1.0] * missed, "<1", all_hold=False)
    chance = sum(math.comb(320, k) * p**k * (1 - p) ** (320 - k) for k in range(missed + 1))
    assert chance == pytest.approx(0.05 if missed < 320 else 1) and rule == f"count: {missed} missed"


def test_in_a_short_table_one_more_run_is_foretold() -> None:
    # Of 1 and 3, the mean is 2 and the spread sqrt(2); with one degree of freedom t is the law of Cauchy.
    p, _ = miss([1.0, 3.0], "<5")
    assert p == pytest.approx(0.5 - math.atan(3 / math.sqrt(2 * 1.5)) / math.pi)
    both, _ = miss([1.0, 3.0], "<5", ">-1")
    assert both == pytest.approx(2 * p)
    logs, rule = miss([math.e, math.e**3], f"<{math.e**5}", ">-1", scale="log")
    assert logs == pytest.approx(p) and rule == "Student, log"
    shares, _ = miss([math.sin(0.1) ** 2, math.sin(0.3) ** 2], f"<{math.sin(0.5) ** 2}", scale="arcsine")
    assert shares == pytest.approx(p)
    assert miss([1.0, 2.0, 3.0], "<3")[0] == 1.0  # a run that misses leaves no claim
    grains = [miss([2.0] * 20, f"<{2 + 10 * grain}", grain=grain)[0] for grain in (0.1, 0.01)]
    assert grains[0] == pytest.approx(grains[1])  # equal runs are as far apart as the grain


def test_a_claim_fails_if_too_few_of_its_runs_hold() -> None:
    assert claims.fails(0.1, of=3, at_least=2) == pytest.approx(3 * 0.01 * 0.9 + 0.001)
    assert claims.fails(1 - 0.05 ** (1 / 320), of=16, at_least=13) == pytest.approx(1.25e-5, rel=0.01)


@pytest.mark.parametrize(
    ("parts", "side", "partings", "at_least", "asked"),
    [
        (("",), ">", [None], 13, [("> 2", 16, 13)]),
        (("",), "<", [None, None], None, [("< 2", 8, 8)] * 2),  # two tables share the seeds of one line
        (("median",), ">", [None], None, [("> 2", 16, 9)]),
        (("median",), "<", [None], None, [("< 2", 16, 8)]),
        (("max", "median"), ">", [3, 3], None, [("> 6", 16, 1), ("< 3", 16, 8)]),
        (("min", "max"), "<", [3, 3], None, [("< 6", 16, 1), ("> 3", 16, 1)]),
    ],
)
def test_what_a_claim_asks_of_each_column(
    parts: tuple[str, ...], side: str, partings: list, at_least: int | None, asked: list
) -> None:
    claim = Claim("", (Bound(side, 2.0, parts),), at_least, (16,), random=True)
    found = [claims.Base(table="a", parting=parting) for parting in partings]
    for place, expected in enumerate(asked):
        (bound,), of, needed = claims.asked(claim, found, place, runs=16)
        assert (f"{bound.side} {bound.number:g}", of, needed) == expected


def test_a_formula_is_worked_out_run_by_run() -> None:
    columns = {"a": torch.tensor([1.0, 4.0]), "b": torch.tensor([2.0, 2.0])}
    assert claims.formula("abs(a - 2 * b) / 3", columns).tolist() == [1.0, 0.0]
    assert claims.formula("(a > 1) & (b == 2)", columns).tolist() == [False, True]


@pytest.mark.parametrize(
    ("bounds", "message"),
    [((), "No bound of 'it' can be read"), ((Bound("<", 1.0),), "has not printed 'it'")],
)
def test_a_claim_that_cannot_be_judged_says_why(bounds: tuple[Bound, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        claims.asked(Claim("it", bounds, None, (), random=True), [claims.Base(table="a")], 0, 16)

"""Each claim of the book that chance can reach rests on a table, and hardly ever fails."""

from __future__ import annotations

import ast
import csv
import math
from pathlib import Path

import pytest
import torch

from tests.reliability import Reached
from tools import claims
from tools.claim_bases import REPLAYS, RESTS, Law, Rest
from tools.claim_reader import Claim, Reader, cells, claims_of
from tools.sheets import notebooks

BOOK = Path(__file__).resolve().parent.parent / "book"


def read(source: str) -> list[Claim]:
    """Return the claims of a cell."""
    reader = Reader()
    reader.read(ast.parse(source).body)
    return reader.claims


def chances() -> dict[tuple[str, str], float]:
    """Return how likely each claim is to fail, by its chapter and its words."""
    found: dict[tuple[str, str], float] = {}
    for row in claims.calibrated():
        key = row["chapter"], row["claim"]
        found[key] = found.get(key, 0.0) + row["fails with"]
    return found


# The book


def test_the_chapters_are_those_of_the_book() -> None:
    assert set(RESTS) == {path.stem for path in notebooks()}


@pytest.mark.parametrize("notebook", RESTS)
def test_every_claim_that_chance_can_reach_says_what_it_rests_on(notebook: str) -> None:
    random = {claim.words for claim in claims_of(notebook) if claim.random}
    assert random == set(RESTS[notebook])


@pytest.mark.parametrize("notebook", RESTS)
def test_every_claim_is_read(notebook: str) -> None:
    written = sum(
        source.count("\n" + " " * k + "claim(") for source in cells(notebook).values() for k in (0, 4, 8)
    )
    written += sum(source.startswith("claim(") for source in cells(notebook).values())
    assert len(claims_of(notebook)) == written > 20


def test_every_claim_fails_less_than_once_in_10_000_runs() -> None:
    likely = {key: p for key, p in chances().items() if not p < claims.LIMIT}
    assert not likely, "claim less: another bound, or fewer seeds"


@pytest.mark.reliability("claims", "each claim that chance can reach, from tables of many runs")
def test_what_the_tables_say_of_the_claims(reached: Reached) -> None:
    found = chances()
    reached(f"{len(found)} claims; the least sure fails with a probability of {max(found.values()):.0e}")
    assert max(found.values()) < claims.LIMIT


@pytest.mark.parametrize("name", ["claims.csv", "rates.csv"])
def test_the_page_shows_what_the_tables_say(name: str) -> None:
    with (BOOK / name).open(encoding="utf-8", newline="") as file:
        stored = list(csv.DictReader(file))
    assert stored == claims.pages()[name], "python tools/claims.py writes it anew"
    assert f":file: {name}" in (BOOK / "reliability.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("notebook", REPLAYS)
def test_every_claim_that_is_replayed_has_its_values(notebook: str) -> None:
    for words, rests in RESTS[notebook].items():
        for rest in claims.listed(rests):
            if isinstance(rest, Rest) and rest.table == "replay":
                runs = len(claims.replayed(notebook, words))
                assert runs >= 20 * rest.of, words


def test_a_replay_gives_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_BOOK_SEED", "0")  # put back afterwards
    for words, values in claims.replay("maxout_mnist", claims.FIRST_SEED).items():
        stored = claims.replayed("maxout_mnist", words)[:1].tolist()
        assert values == pytest.approx(stored, rel=1e-3), words


# How a notebook is read


def test_a_claim_is_read_with_its_bounds_and_its_seeds() -> None:
    (claim,) = read("off = Stream('x').normal(16)\nclaim('near', off < 0.5, at_least=13, values=off)")
    assert claim == Claim("near", (("<", 0.5),), 13, random=True)


@pytest.mark.parametrize(
    ("condition", "limits"),
    [
        ("x > 2", [(">", 2.0)]),
        ("x < -0.2", [("<", -0.2)]),
        ("0.2 < x < 1.5", [(">", 0.2), ("<", 1.5)]),
        ("(-0.8 < x) & (x < -0.2)", [(">", -0.8), ("<", -0.2)]),
        ("(x - 0.5).abs() < 0.08", [("<", 0.08)]),
        ("x.max() >= 1e-12", [(">", 1e-12)]),
        ("x < other", []),
    ],
)
def test_bounds_are_numbers_that_something_is_compared_with(condition: str, limits: list[tuple]) -> None:
    assert read(f"claim('it', {condition})")[0].limits == tuple(limits)
    assert read(f"holds = {condition}\nclaim('it', holds)")[0].limits == tuple(limits)


@pytest.mark.parametrize(
    ("source", "random"),
    [
        ("x = ledger('a')['b']", False),
        ("x = Stream('x').normal(3)", True),
        ("G = Ensemble(make, 3)\ny = G(z)\nx = y.std()", True),
        ("x = Stream('x').normal(3)\nx = 3", False),
        ("y = Stream('x')\nfor x in y.normal(3):\n    pass", True),
        ("x = []\ndef loss(G):\n    x.append(1)", True),
        ("x = {}\ndef loss(G):\n    x['a'] = 1", True),
        ("def make():\n    return nn.Linear(1, 1)\nx = make()", True),
        ("def half(Stream):\n    return Stream / 2\nx = half(1)", False),
        ("a = train(G)\na, x = a.g_loss, 1", True),
    ],
)
def test_what_chance_can_reach_is_followed_from_name_to_name(source: str, random: bool) -> None:
    (claim,) = read(f"{source}\nclaim('it', x < 1)")
    assert claim.random == random


def test_a_claim_in_a_loop_has_its_parts_in_braces() -> None:
    (claim,) = read("for name in 'ab':\n    claim(f'{name}: near', x < 1)")
    assert claim.words == "{name}: near"


# What a table says


def miss(values: list[float], limits: tuple, scale: str = "plain", all_hold: bool = True, grain: float = 0.0):
    rest = Rest("a", "b", scale=scale, grain=grain)
    return claims.misses(rest, torch.tensor(values, dtype=torch.float64), limits, all_hold)


def test_in_a_long_table_misses_are_counted() -> None:
    p, rule = miss([0.0] * 320, (("<", 1.0),), all_hold=False)
    assert p == pytest.approx(1 - 0.05 ** (1 / 320)) and rule == "count: 0 missed"
    p, rule = miss([0.0] * 318 + [1.0, 2.0], (("<", 1.0),), all_hold=False)
    chance = sum(math.comb(320, k) * p**k * (1 - p) ** (320 - k) for k in range(3))
    assert chance == pytest.approx(0.05) and rule == "count: 2 missed"


def test_in_a_short_table_one_more_run_is_foretold() -> None:
    # Of 1 and 3, the mean is 2 and the spread sqrt(2); with one degree of freedom t is the law of Cauchy.
    p, _ = miss([1.0, 3.0], (("<", 5.0),))
    assert p == pytest.approx(0.5 - math.atan(3 / math.sqrt(2 * 1.5)) / math.pi)
    both, _ = miss([1.0, 3.0], (("<", 5.0), (">", -1.0)))
    assert both == pytest.approx(2 * p)
    logs, rule = miss([math.e, math.e**3], (("<", math.e**5),), "log")
    assert logs == pytest.approx(p) and rule == "Student, log"
    shares, _ = miss([math.sin(0.1) ** 2, math.sin(0.3) ** 2], (("<", math.sin(0.5) ** 2),), "arcsine")
    assert shares == pytest.approx(p)


def test_a_run_of_a_short_table_that_misses_leaves_no_claim() -> None:
    assert miss([1.0, 2.0, 3.0], (("<", 3.0),))[0] == 1.0


def test_equal_runs_are_as_far_apart_as_the_grain() -> None:
    assert miss([2.0] * 20, (("<", 3.0),), grain=0.1)[0] == pytest.approx(
        miss([2.0] * 20, (("<", 2.1),), grain=0.01)[0]
    )


def test_a_claim_fails_if_too_few_of_its_runs_hold() -> None:
    assert claims.fails(0.1, of=1, at_least=1) == pytest.approx(0.1)
    assert claims.fails(0.1, of=2, at_least=1) == pytest.approx(0.01)
    assert claims.fails(0.1, of=3, at_least=2) == pytest.approx(3 * 0.01 * 0.9 + 0.001)
    assert claims.fails(1 - 0.05 ** (1 / 320), of=16, at_least=13) == pytest.approx(1.25e-5, rel=0.01)


def test_a_bound_in_the_notebook_is_the_bound_that_is_judged() -> None:
    rest = Rest("fifty_lines_repaired", "w1", 16)
    rows = [next(claims.judged("fifty_lines", Claim("", (("<", b),), 13, True), rest)) for b in (0.11, 0.05)]
    assert rows[0]["fails with"] < claims.LIMIT < 0.1 < rows[1]["fails with"]
    law = Law("as likely as its bound", lambda bound: bound)
    row = next(claims.judged("a", Claim("", (("<", 0.25),), None, True), law))
    assert row["fails with"] == pytest.approx(0.25)

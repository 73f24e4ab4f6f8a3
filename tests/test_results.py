"""Tables of results: what a change does is told from chance, against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from gan_helpers.recipes import combinations, taken_apart
from gan_helpers.results import (
    against_table,
    effect,
    effects_table,
    holm,
    ranking_table,
    results_table,
    told_apart,
    wilson,
)

ONE_TO_EIGHT = torch.arange(1.0, 9)


def test_an_effect_is_the_median_over_pairs_with_the_interval_of_the_sign_test() -> None:
    found = effect(torch.zeros(8), ONE_TO_EIGHT)
    assert found.median == 4.5 and found.p == pytest.approx(2 / 2**8)
    # From the first to the last of eight: 1 - 2/256 is .992; from the second to the seventh would be .930.
    assert (found.low, found.high) == (1, 8)
    even = effect(ONE_TO_EIGHT, ONE_TO_EIGHT + torch.tensor([1.0, -1] * 4))
    assert even.p == 1 and even.low < 0 < even.high


def test_equal_pairs_bring_p_to_one_unless_they_are_left_out() -> None:
    after = torch.cat([torch.full((20,), 2.0), torch.ones(29), torch.tensor([0.5])])  # 20 up, 1 down of 50
    kept, left_out = (effect(torch.ones(50), after, ratio=True, untied=u) for u in (False, True))
    assert kept.p == 1 and kept.signs is None
    assert left_out.p == pytest.approx(2 * (1 + 21) / 2**21) and left_out.signs == (20, 1)
    assert (left_out.median, left_out.low, left_out.high) == (kept.median, kept.low, kept.high)
    assert effect(after, after, untied=True).p == 1
    untied = effect(torch.zeros(8), ONE_TO_EIGHT, untied=True)
    assert untied.p == effect(torch.zeros(8), ONE_TO_EIGHT).p and untied.signs == (8, 0)


@pytest.mark.parametrize(("ratio", "median"), [(True, "× 1"), (False, "0")])
def test_a_table_without_equal_pairs_tells_in_how_many_a_change_is_seen(ratio: bool, median: str) -> None:
    ones = torch.ones(50)
    some, few = (torch.where(torch.arange(50) < n, 2.0, 1.0) for n in (20, 3))
    columns = {"w1_none": ones, "w1_only_a": some, "w1_only_b": few, "w1_only_c": ones, "w1_only_d": ones / 2}
    columns |= {"w1_all": ones, **{f"w1_without_{name}": ones for name in "abcd"}}
    table = effects_table(columns, "w1", dict(zip("abcd", "abcd", strict=True)), ratio, untied=True)
    a, b, c, d = (line.split(" | ")[2] for line in table.splitlines()[2:6])
    assert a == f"**{median} in the median, up in 20, down in 0**"
    assert b == f"{median} in the median, up in 3, down in 0, may be chance"
    assert c == "equal in all" and d.startswith("**") and "in the median" not in d
    assert "may be chance" in effects_table(columns, "w1", {"a": "a"}, ratio).splitlines()[2]


def test_ratios_are_those_of_the_logarithms() -> None:
    halved = effect(ONE_TO_EIGHT, ONE_TO_EIGHT / 2, ratio=True)
    assert (halved.low, halved.median, halved.high) == pytest.approx((0.5, 0.5, 0.5))


def test_several_effects_are_corrected_for_being_several() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1] and holm([0.02]) == pytest.approx([0.02])
    with pytest.raises(ValueError, match="p must be between 0 and 1"):
        holm([0.5, 1.5])


@pytest.mark.parametrize(
    ("before", "after", "ratio", "message"),
    [
        (ONE_TO_EIGHT, ONE_TO_EIGHT[1:], False, r"the same seeds, not \(8,\) and \(7,\)"),
        (torch.zeros(0), torch.zeros(0), False, "one number per seed"),
        (ONE_TO_EIGHT, ONE_TO_EIGHT / 0, False, "after must be finite: count the runs that failed"),
        (torch.zeros(8), ONE_TO_EIGHT, True, "before must be above 0 for ratios, not 0: take differences"),
    ],
)
def test_pairs_that_say_nothing_are_refused(before: Tensor, after: Tensor, ratio: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        effect(before, after, ratio)


def test_rows_are_recipes_and_cells_median_and_range() -> None:
    rows = {
        "original": {"w1": torch.tensor([0.3, 0.1, 0.2]), "good": torch.tensor([True, False, True])},
        "a Gaussian": {"w1": torch.tensor([0.012345])},
    }
    table = results_table(rows, {"$W_1$": "w1", "good": "good"})
    assert table.splitlines() == [
        "|  | $W_1$ | good | runs |",
        "| :-- | --: | --: | --: |",
        "| original | 0.2 (0.1 to 0.3) | 2 of 3 | 3 |",
        "| a Gaussian | 0.0123 | – | 1 |",
    ]
    assert table._repr_markdown_() == repr(table) == table
    with pytest.raises(ValueError, match="none has 'w2'"):
        results_table(rows, {"W2": "w2"})


def test_a_repair_is_taken_apart() -> None:
    def recipe(*made: str) -> Any:
        return {"a": 0.5, "b": 1.0}, made

    def measured(recipe: Any, seeds: int, seed: int) -> dict[str, Tensor]:
        factors, made = recipe
        error = ONE_TO_EIGHT[:seeds].clone()
        for name in made:
            error *= factors[name]
        return {"w1": error + seed}

    assert combinations(["a", "b", "c"])["without_b"] == ("a", "c")
    columns = taken_apart(recipe, ["a", "b"], measured)(8, 0)
    assert set(columns) == {f"w1_{name}" for name in combinations(["a", "b"])} and len(columns) == 6
    table = effects_table(columns, "w1", {"a": "a half", "b": "nothing"}).splitlines()
    chance = "× 1 (1 to 1), may be chance"
    assert table[2:] == [
        "| a half | 2.25 (0.5 to 4) | **× 0.5 (0.5 to 0.5)** | 4.5 (1 to 8) | **× 2 (2 to 2)** |",
        f"| nothing | 4.5 (1 to 8) | {chance} | 2.25 (0.5 to 4) | {chance} |",
        "| none of them | 4.5 (1 to 8) |  |  |  |",
        "| all of them |  |  | 2.25 (0.5 to 4) |  |",
    ]


def test_effects_are_corrected_for_what_else_is_asked_of_the_same_runs() -> None:
    columns = {"w1_none": ONE_TO_EIGHT, "w1_all": ONE_TO_EIGHT}
    columns |= {"w1_only_a": ONE_TO_EIGHT / 2, "w1_without_a": ONE_TO_EIGHT * 2}  # p is 1/128 for both
    alone, more = (effects_table(columns, "w1", {"a": "a"}, others=n * [0.9]) for n in (4, 5))
    assert alone.count("**") == 4 and "may be chance" not in alone  # 6/128 is less than 0.05
    assert more.count("may be chance") == 2 and "**" not in more  # and 7/128 is not


def test_small_numbers_end_at_the_fourth_place() -> None:
    values = torch.tensor([0.00926, 0.0000969, 0.12346], dtype=torch.float64)
    assert "| 0.0093 (0.0001 to 0.123) |" in results_table({"a": {"w": values}}, {"w": "w"})  # once


def test_recipes_are_held_against_one_pair_by_pair() -> None:
    rows = {"worse": {"w": ONE_TO_EIGHT + 2}, "the same": {"w": ONE_TO_EIGHT + torch.tensor([1.0, -1] * 4)}}
    *_, worse, same = against_table(rows, {"w": ONE_TO_EIGHT}, {"way off": "w"}).split("\n")
    assert worse == "| worse | **2 (2 to 2)** |" and "may be chance" in same


# Rankings


def test_wilsons_interval_is_that_of_its_formula() -> None:
    for k, n in ((0, 16), (5, 16), (16, 16)):
        z = 1.959964
        middle, half = (k + z**2 / 2) / (n + z**2), z / (n + z**2) * (k * (n - k) / n + z**2 / 4) ** 0.5
        assert wilson(torch.arange(n) < k) == pytest.approx((middle - half, middle + half), abs=1e-6)
    with pytest.raises(ValueError, match="at least one run"):
        wilson(torch.ones(0, dtype=torch.bool))
    with pytest.raises(TypeError, match="good must hold truth values"):
        wilson(torch.tensor([0.3, 0.9, 2.5]))


def test_counts_have_a_median_and_a_range_too() -> None:
    counts = {"a": {"found": torch.tensor([7, 8, 8])}}
    assert "| 8 (7 to 8) |" in str(results_table(counts, {"modes": "found"}))


def test_columns_are_told_apart_by_signs_alone_and_corrected_for_all_pairs() -> None:
    low, inf = torch.arange(10.0), torch.full((10,), float("inf"))
    mixed = low + torch.tensor([1.0, -1] * 5)
    p = told_apart({"low": low, "inf": inf, "mixed": mixed, "lost": inf})
    # Of six pairs four have all ten signs alike, which chance does once in 512; two are even or have none.
    assert p[0, 1] == p[1, 2] == p[0, 3] == p[2, 3] == pytest.approx(6 / 512)
    assert p[0, 2] == p[1, 3] == p[2, 2] == 1 and torch.equal(p, p.T)
    with pytest.raises(ValueError, match="the same seeds in all"):
        told_apart({"a": low, "b": low[1:]})


def test_a_ranking_goes_by_medians_and_names_what_is_not_told_apart() -> None:
    near = torch.arange(1.0, 11)
    far, close = near + 20, near + torch.tensor([-1.0] * 4 + [1] * 5 + [-1]) / 100
    lines = str(ranking_table({"far": far, "near": near, "close": close}, unit=2.0, limit=2.0)).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["1. near", "2. close", "3. far"]
    assert lines[2] == "| 1. near | 2.75 (0.5 to 5) | 4 of 10 | 17 to 69 % | 2 |"
    assert lines[4].endswith("| 0 of 10 | 0 to 28 % | none |")


def test_a_ranking_puts_the_median_halfway_between_two_and_at_infinity_if_one_of_them_is() -> None:
    halves = {"lost": torch.tensor([1.0, math.inf, math.inf, 1]), "kept": torch.tensor([4.0, 3, 9, 2])}
    lines = str(ranking_table(halves, unit=1.0, limit=1.0)).splitlines()
    assert [line.split("(")[0] for line in lines[2:]] == ["| 1. kept | 3.5 ", "| 2. lost | inf "]

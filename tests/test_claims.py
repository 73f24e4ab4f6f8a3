"""A claim prints fixed words, or raises and tells what every seed measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gan_helpers.claims import ClaimError, claim

ERRORS = torch.tensor([0.1, 0.2, 0.7])


def test_a_claim_that_holds_prints_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    claim("the mean is near 4", ERRORS < 0.5, at_least=2, values=ERRORS)
    assert capsys.readouterr().out == "Holds: the mean is near 4 [at least 2 of 3 seeds]\n"


def test_a_claim_about_all_seeds_asks_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    claim("the mean is near 4", ERRORS < 1)
    assert capsys.readouterr().out == "Holds: the mean is near 4 [at least 3 of 3 seeds]\n"
    with pytest.raises(ClaimError):
        claim("the mean is near 4", ERRORS < 0.5)


@pytest.mark.parametrize("holds", [True, np.True_, torch.tensor(True), torch.tensor(1.0) < 2])
def test_a_single_claim_names_no_seeds(holds: bool, capsys: pytest.CaptureFixture[str]) -> None:
    claim("the median is small", holds, values=0.25)
    assert capsys.readouterr().out == "Holds: the median is small\n"


def test_the_words_are_the_same_whatever_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    for errors in (ERRORS, ERRORS.flip(0) / 3, torch.zeros(3, dtype=torch.float64)):
        claim("the mean is near 4", errors < 0.5, at_least=2, values=errors)
    assert len(set(capsys.readouterr().out.splitlines())) == 1


def test_a_claim_that_fails_tells_what_every_seed_measured(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ClaimError) as caught:
        claim("the mean is near 4", ERRORS < 0.15, at_least=2, values=ERRORS)
    assert str(caught.value).splitlines() == [
        "the mean is near 4 [at least 2 of 3 seeds]: holds for 1 of 3.",
        "seed 0: 0.1 holds",
        "seed 1: 0.2 fails",
        "seed 2: 0.7 fails",
    ]
    assert capsys.readouterr().out == ""


def test_without_values_it_tells_for_which_seeds_it_failed() -> None:
    with pytest.raises(ClaimError, match="seed 0: holds\nseed 1: holds\nseed 2: fails"):
        claim("the mean is near 4", ERRORS < 0.5)


def test_a_single_claim_that_fails_tells_the_value() -> None:
    with pytest.raises(ClaimError, match="^the median is small: holds for 0 of 1.\nseed 0: 0.25 fails$"):
        claim("the median is small", False, values=0.25)


def test_a_value_that_is_no_number_does_not_count_as_holding() -> None:
    errors = torch.tensor([0.1, math.nan])
    with pytest.raises(ClaimError, match="seed 1: nan fails"):
        claim("the mean is near 4", errors < 0.5, values=errors)


def test_a_failed_claim_is_a_failed_assertion() -> None:
    assert issubclass(ClaimError, AssertionError)


@given(held=st.lists(st.booleans(), min_size=1, max_size=20), data=st.data())
def test_a_claim_holds_exactly_where_enough_seeds_do(held: list[bool], data: st.DataObject) -> None:
    at_least = data.draw(st.integers(1, len(held)))
    holds = torch.tensor(held)
    if sum(held) >= at_least:
        claim("it does", holds, at_least=at_least)
    else:
        with pytest.raises(ClaimError, match=f"holds for {sum(held)} of {len(held)}"):
            claim("it does", holds, at_least=at_least)


def test_values_may_still_carry_a_graph() -> None:
    errors = ERRORS.clone().requires_grad_()
    with pytest.raises(ClaimError, match="seed 2: 0.7 fails"):
        claim("the mean is near 4", errors < 0.5, values=errors)


@pytest.mark.parametrize(
    ("holds", "options", "error", "message"),
    [
        (ERRORS, {}, TypeError, "truth values, such as error < 0.1, not of torch.float32"),
        (torch.ones(3, dtype=torch.long), {}, TypeError, "truth values"),
        (1, {}, TypeError, "truth values"),
        (torch.ones(2, 3, dtype=torch.bool), {}, ValueError, r"shape \(seeds,\) .*not shape \(2, 3\)"),
        (torch.ones(0, dtype=torch.bool), {}, ValueError, r"not shape \(0,\)"),
        (ERRORS < 1, {"at_least": 4}, ValueError, "at most the number of seeds, 3, not 4"),
        (ERRORS < 1, {"at_least": 0}, ValueError, "at_least must be at least 1"),
        (ERRORS < 1, {"at_least": 1.5}, TypeError, "at_least must be a whole number"),
        (ERRORS < 1, {"values": ERRORS[:2]}, ValueError, "values must be as many as the seeds, 3, not 2"),
        (True, {"values": ERRORS}, ValueError, "as many as the seeds, 1, not 3"),
    ],
)
def test_wrong_arguments_are_named(
    holds: Tensor, options: dict[str, float], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        claim("it does", holds, **options)
    assert not isinstance(caught.value, ClaimError)

"""A claim prints fixed words, or raises and tells what every seed measured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from gan_helpers.claims import ClaimError, claim
from tools.rules import sanitised

ERRORS = torch.tensor([0.1, 0.2, 0.7])


@pytest.mark.parametrize("holds", [True, np.True_, torch.tensor(True), torch.tensor(1.0) < 2])
def test_a_single_claim_names_no_seeds(holds: bool, capsys: pytest.CaptureFixture[str]) -> None:
    claim("the median is small", holds, values=0.25)
    assert capsys.readouterr().out == "Holds: the median is small (measured 0.25)\n"


def test_the_words_are_the_same_whatever_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    for errors in (ERRORS, ERRORS.flip(0) / 3, torch.full((3,), 1.23456e-7, dtype=torch.float64)):
        claim("the mean is near 4 (at last)", errors < 0.5, at_least=2, values=errors)
    claim("the mean is near 4 (at last)", ERRORS < 1)
    shown = capsys.readouterr().out
    assert shown.splitlines()[0].endswith(" (measured: median 0.2, from 0.1 to 0.7)")
    two, three = (f"Holds: the mean is near 4 (at last) [at least {k} of 3 seeds]\n" for k in (2, 3))
    assert sanitised(shown) == 3 * two + three
    wrong = "Holds: the mean is near 5 (measured 4)\nfails (measured 4)\nHolds: (measured 4) is so\n"
    assert sanitised(wrong) == "Holds: the mean is near 5\nfails (measured 4)\nHolds: (measured 4) is so\n"


@pytest.mark.parametrize(
    ("holds", "options", "said"),
    [
        (
            ERRORS < 0.15,
            {"at_least": 2, "values": ERRORS.clone().requires_grad_()},  # which may still carry a graph
            "near 4 [at least 2 of 3 seeds]: holds for 1 of 3.\n"
            "seed 0: 0.1 holds\nseed 1: 0.2 fails\nseed 2: 0.7 fails",
        ),
        (
            ERRORS < 0.5,
            {},
            "near 4 [at least 3 of 3 seeds]: holds for 2 of 3.\nseed 0: holds\nseed 1: holds\nseed 2: fails",
        ),
        (False, {"values": 0.25}, "near 4: holds for 0 of 1.\nseed 0: 0.25 fails"),
        (torch.tensor(math.nan) < 0.5, {"values": math.nan}, "near 4: holds for 0 of 1.\nseed 0: nan fails"),
    ],
)
def test_a_claim_that_fails_is_a_failed_assertion_that_tells_what_every_seed_measured(
    holds: Any, options: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError) as caught:
        claim("near 4", holds, **options)
    assert type(caught.value) is ClaimError and str(caught.value) == said
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("holds", "options", "error", "message"),
    [
        (ERRORS, {}, TypeError, "truth values, such as error < 0.1, not of torch.float32"),
        (1, {}, TypeError, "truth values"),
        (torch.ones(2, 3, dtype=torch.bool), {}, ValueError, r"shape \(seeds,\) .*not shape \(2, 3\)"),
        (torch.ones(0, dtype=torch.bool), {}, ValueError, r"not shape \(0,\)"),
        (ERRORS < 1, {"at_least": 4}, ValueError, "at most the number of seeds, 3, not 4"),
        (ERRORS < 1, {"at_least": 0}, ValueError, "at_least must be at least 1"),
        (ERRORS < 1, {"values": ERRORS[:2]}, ValueError, "values must be as many as the seeds, 3, not 2"),
    ],
)
def test_wrong_arguments_are_named(
    holds: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        claim("it does", holds, **options)

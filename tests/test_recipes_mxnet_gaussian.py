"""The recipes of the MXNet chapter: what it writes out is what the package runs, and is measured right."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gan_helpers import metrics
from gan_helpers.metrics import GaussianFit
from gan_helpers.recipes import mxnet_gaussian as chapter
from tests.chapters import Chapter, assert_trains_by

CHAPTER = Chapter("mxnet_gaussian")
SIGMA = torch.tensor([[1.01, 1.95], [1.95, 4.25]], dtype=torch.float64)
VARIANCES, AXES = torch.linalg.eigh(SIGMA)


def covariances(*matrices: Tensor) -> GaussianFit:
    stacked = torch.stack(matrices).double()
    return GaussianFit(chapter.B.double().expand(len(stacked), 2), stacked)


# What needs no MXNet


def test_the_ideal_discriminator_guesses_where_both_laws_are_one_and_is_right_where_they_are_apart() -> None:
    law = chapter.REAL
    means = torch.stack([law.mean, law.mean + 100]).double()
    fit = GaussianFit(means, law.covariance.double().expand(2, 2, 2))
    assert chapter.ideal(fit, seed=5).tolist() == pytest.approx([0.5, 1.0], abs=0.01)


def test_the_ideal_discriminator_is_right_as_often_as_the_distance_in_variation_says() -> None:
    law = chapter.REAL
    shift = torch.tensor([1.0, 2.0]).double()  # along the first row of A: one standard deviation of the noise
    fit = GaussianFit((law.mean.double() + shift)[None], law.covariance.double()[None])
    a = chapter.A.double()
    apart = torch.linalg.solve(a.mT, shift).norm().item()
    expected = torch.special.ndtr(torch.tensor(apart / 2)).item()
    assert chapter.ideal(fit, seed=5).item() == pytest.approx(expected, abs=0.01)


def test_each_seed_has_points_of_its_own_and_their_law_is_that_of_rows() -> None:
    torch.testing.assert_close(chapter.REAL.covariance.double(), SIGMA, rtol=0, atol=1e-6)
    assert chapter.REAL.mean.tolist() == [1.0, 2.0]
    (x,), (few,) = chapter.inputs(100, seed=1), chapter.inputs(2, seed=3, rows=5)
    assert x.shape == (100, 1_000, 2) and few.shape == (2, 5, 2) and not torch.equal(few[0], few[1])
    fit = metrics.fit_gaussian(x.reshape(1, -1, 2))
    torch.testing.assert_close(fit.covariance[0], SIGMA, rtol=0.02, atol=0)
    torch.testing.assert_close(fit.mean[0], torch.tensor([1.0, 2.0]).double(), rtol=0, atol=0.02)


def test_the_minor_axis_ratio_and_w2_where_they_are_known() -> None:
    minor, major = (VARIANCES[k] * torch.outer(AXES[:, k], AXES[:, k]) for k in range(2))
    fits = covariances(SIGMA, major, major + 9 * minor, 4 * SIGMA, 0.25 * minor)
    expected = torch.tensor([1.0, 0.0, 3.0, 2.0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(chapter.minor_axis_ratio(fits), expected, rtol=0, atol=1e-3)
    distances = chapter.w2(covariances(SIGMA, major))
    assert distances[0] < 1e-6
    assert distances[1].item() == pytest.approx(math.sqrt(VARIANCES[0]), abs=1e-5)
    moved = GaussianFit(chapter.B.double()[None] + torch.tensor([[0.3, 0.4]]), SIGMA[None])
    assert chapter.w2(moved).item() == pytest.approx(0.5, abs=1e-6)


# What needs it


@pytest.fixture(scope="module")
def gm() -> Any:
    return pytest.importorskip(chapter.BACKEND, exc_type=ModuleNotFoundError)


@pytest.mark.parametrize(("nth", "name"), [(1, "original"), (2, "repaired")])
def test_the_chapter_trains_by_the_recipe_of_the_package(gm: Any, nth: int, name: str) -> None:
    written = CHAPTER.train("gm.train", nth)
    recipe = getattr(chapter, name)(*chapter.inputs(written.G.seeds))
    assert_trains_by(recipe, written)
    assert written.options.get("ema") == recipe.options.get("ema")


def test_the_definitions_of_the_chapter_are_those_of_the_package(gm: Any) -> None:
    theirs = CHAPTER.define("law", "w2", "minor_ratio", "best_score")
    G = gm.Ensemble(lambda: gm.mlp(2, 2), 4, sd=1.0, seed=1)
    mean, covariance = theirs["law"](G)
    fit = chapter.law(G)
    assert torch.equal(mean, fit.mean) and torch.equal(covariance, fit.covariance)
    torch.testing.assert_close(theirs["w2"](mean, covariance), chapter.w2(fit))
    ratio = theirs["minor_ratio"](covariance)
    torch.testing.assert_close(ratio, chapter.minor_axis_ratio(fit), rtol=1e-4, atol=0)
    scores = torch.stack([theirs["best_score"](m, C) for m, C in zip(mean, covariance, strict=True)])
    torch.testing.assert_close(scores, chapter.ideal(fit))


def test_the_law_is_that_of_samples(gm: Any) -> None:
    G = gm.Ensemble(lambda: gm.mlp(2, 2), 2, sd=1.0, seed=1)
    G.weights()[1][:] = 3
    z = torch.randn(2, 200_000, 2, generator=torch.Generator().manual_seed(0))
    sampled = metrics.fit_gaussian(gm.tensor(G(gm.array(z))))
    fit = chapter.law(G)
    torch.testing.assert_close(fit.mean, sampled.mean, rtol=0, atol=0.02)
    torch.testing.assert_close(fit.covariance, sampled.covariance, rtol=0.02, atol=0.02)


def test_what_is_measured_of_a_perfect_run(gm: Any) -> None:
    (x,) = chapter.inputs(2, seed=3)
    G = gm.Ensemble(lambda: gm.mlp(2, 2), 2)
    weight, bias = G.weights()
    weight[:] = gm.array(chapter.A.T.expand(2, 2, 2))
    bias[:] = gm.array(chapter.B.expand(2, 1, 2))
    right = torch.tensor([0.9, 0.7] + 16 * [0.6] + [0.5, 0.3]).unsqueeze(1).expand(20, 2)
    measured = chapter.measure(G, right, x)
    assert measured["w2"].max() < 1e-6
    torch.testing.assert_close(measured["minor"], torch.ones(2).double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(measured["w2_sample"], measured["w2_plain"], rtol=0, atol=1e-5)
    assert measured["correlation"][0].item() == pytest.approx(1.95 / math.sqrt(1.01 * 4.25), abs=1e-5)
    torch.testing.assert_close(measured["right_first"], torch.full((2,), 0.8))
    torch.testing.assert_close(measured["right_last"], torch.full((2,), 0.4))


def test_a_d_that_is_always_right_is_counted_so(gm: Any) -> None:
    high, low, answers = gm.mx.nd.ones((2, 4, 1)), -gm.mx.nd.ones((2, 4, 1)), chapter.Answers()
    for real, fake in ((high, low), (low, high), (high, high)):
        answers.note(real, fake)
    assert answers.right().tolist() == [[1.0, 1.0], [0.0, 0.0], [0.5, 0.5]]


@pytest.mark.parametrize("name", ["original", "repaired"])
def test_a_table_has_one_number_per_run(gm: Any, name: str) -> None:
    def short(x: Tensor, answers: chapter.Answers) -> Any:
        return replace(getattr(chapter, name)(x, answers), steps=10)

    columns = chapter.follow(short, 2, 5)
    assert {len(column) for column in columns.values()} == {2}
    assert {"w2", "minor", "w2_sample", "w2_plain", "right_first", "right_last"} <= set(columns)
    # The same run by hand: what is measured are the averaged generators, if there are such.
    recipe = short(*chapter.inputs(2, 5), chapter.Answers())
    G, D = recipe.networks(2, seed=5)
    history = recipe.train(G, D, seed=5)
    fit = chapter.law(history.averaged or G)
    assert torch.equal(columns["w2"], chapter.w2(fit))

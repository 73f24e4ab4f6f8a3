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
from gan_helpers.recipes import combinations
from gan_helpers.recipes import mxnet_gaussian as chapter
from gan_helpers.tables import ledger
from tests.chapters import Chapter, assert_trains_by

CHAPTER = Chapter("mxnet_gaussian")
SIGMA = torch.tensor([[1.01, 1.95], [1.95, 4.25]], dtype=torch.float64)
VARIANCES, AXES = torch.linalg.eigh(SIGMA)


def covariances(*matrices: Tensor) -> GaussianFit:
    stacked = torch.stack(matrices).double()
    return GaussianFit(chapter.B.double().expand(len(stacked), 2), stacked)


# What needs no MXNet


def test_the_ideal_discriminator_guesses_about_a_copy_and_is_right_where_the_fakes_are_far() -> None:
    real = chapter.REAL
    means = torch.stack([real.mean, real.mean + 100]).double()
    fit = GaussianFit(means, real.covariance.double().expand(2, 2, 2))
    assert chapter.ideal(fit, seed=5).tolist() == pytest.approx([0.5, 1.0], abs=0.01)


def test_the_ideal_discriminator_is_right_as_often_as_the_distance_in_variation_says() -> None:
    real = chapter.REAL
    shift = torch.tensor([1.0, 2.0]).double()  # along the first row of A: one standard deviation of the noise
    fit = GaussianFit((real.mean.double() + shift)[None], real.covariance.double()[None])
    a = chapter.A.double()
    apart = torch.linalg.solve(a.mT, shift).norm().item()
    expected = torch.special.ndtr(torch.tensor(apart / 2)).item()
    assert chapter.ideal(fit, seed=5).item() == pytest.approx(expected, abs=0.01)


def test_each_seed_has_points_of_its_own_and_their_covariance_is_that_of_rows() -> None:
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
    theirs = CHAPTER.define("gaussian", "w2", "minor_ratio", "best_score")
    G = gm.Ensemble(lambda: gm.mlp(2, 2), 4, sd=1.0, seed=1)
    mean, covariance = theirs["gaussian"](G)
    fit = chapter.gaussian(G)
    assert torch.equal(mean, fit.mean) and torch.equal(covariance, fit.covariance)
    torch.testing.assert_close(theirs["w2"](mean, covariance), chapter.w2(fit))
    ratio = theirs["minor_ratio"](covariance)
    torch.testing.assert_close(ratio, chapter.minor_axis_ratio(fit), rtol=1e-4, atol=0)
    scores = torch.stack([theirs["best_score"](m, C) for m, C in zip(mean, covariance, strict=True)])
    torch.testing.assert_close(scores, chapter.ideal(fit))


def test_the_gaussian_is_that_of_samples(gm: Any) -> None:
    G = gm.Ensemble(lambda: gm.mlp(2, 2), 2, sd=1.0, seed=1)
    G.weights()[1][:] = 3
    z = torch.randn(2, 200_000, 2, generator=torch.Generator().manual_seed(0))
    sampled = metrics.fit_gaussian(gm.tensor(G(gm.array(z))))
    fit = chapter.gaussian(G)
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
    fit = chapter.gaussian(history.averaged or G)
    assert torch.equal(columns["w2"], chapter.w2(fit))


# The changes of the repair, one at a time


def made_of(recipe: Any) -> dict[str, Any]:
    """Return what a recipe is made of, in numbers."""
    G, D = recipe.networks(1, seed=1)
    d_opt, g_opt = (make(player)._optimizer for make, player in ((recipe.d_opt, D), (recipe.g_opt, G)))
    turns = recipe.options["turns"]
    return {
        "width": D.weights()[0].shape[1], "activation": type(D.member(0)[1]).__name__,
        "outputs": D.weights()[-1].shape[2], "start": recipe.start, "batch": recipe.batch,
        "beta1": (d_opt.beta1, g_opt.beta1), "d_rate": d_opt.lr, "g_rate": g_opt.lr,
        "ema": recipe.options["ema"], "noise": turns.fresh_noise, "steps": recipe.steps,
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in chapter.CHANGES if name != "r1"])
def test_a_change_changes_what_it_names_and_no_more(gm: Any, name: str) -> None:
    (x,) = chapter.inputs(1, 5)
    before, after, whole = (made_of(chapter.changed(x, *names)) for names in ((), (name,), chapter.CHANGES))
    assert {key for key in before if before[key] != after[key]} == {name}
    assert after[name] == whole[name] and before["steps"] == whole["steps"] == 2_500


@pytest.mark.parametrize("outputs", [(), ("outputs",)])
def test_the_penalty_is_a_twentieth_of_the_squared_slope_of_the_logit(
    gm: Any, outputs: tuple[str, ...]
) -> None:
    (x,) = chapter.inputs(2, 5)
    plain, priced = (chapter.changed(x, *outputs, *names) for names in ((), ("r1",)))
    G, D = plain.networks(2, seed=1)
    points, z = gm.array(x[:, :8]), gm.array(x[:, 8:16])
    added = priced.d_loss(G, D, points, z) - plain.d_loss(G, D, points, z)

    def a(y: Tensor) -> Tensor:
        return gm.tensor(chapter.logit(D(gm.array(y)))).squeeze(2)

    h = 0.01
    slopes = [(a(x[:, :8] + step) - a(x[:, :8] - step)) / (2 * h) for step in h * torch.eye(2)]
    squared = torch.stack(slopes).square().sum(0).mean(1)
    torch.testing.assert_close(gm.tensor(chapter.squared_slope(D, points)), squared, rtol=0.02, atol=0)
    torch.testing.assert_close(gm.tensor(added), squared / 20, rtol=0.02, atol=1e-7)


def test_a_change_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="names must be of width, .*, not 'beta2'"):
        chapter.changed(*chapter.inputs(1, 5), "r1", "beta2")


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_d_that_knows_where_the_fakes_are_is_told_right(gm: Any, outputs: int) -> None:
    G, D = gm.Ensemble(lambda: gm.mlp(2, 2), 2), gm.Ensemble(lambda: gm.mlp(2, outputs), 2)
    G.weights()[1][:] = 100  # all fakes lie far off to the right
    weight, bias = D.weights()
    weight[0, -1], weight[1, -1] = -1, 1  # the second member is always wrong
    bias[0, 0, -1], bias[1, 0, -1] = 50, -50
    assert chapter.told(G, D, seed=5).tolist() == [1.0, 0.0]


def test_the_table_of_the_repair_taken_apart_has_each_change_alone_and_each_left_out() -> None:
    columns = ledger("mxnet_gaussian_apart").keys() - {"seed", "member"}
    names, measures = combinations(tuple(chapter.CHANGES)), ("w2", "minor", "ideal", "told", "slope")
    assert columns == {f"{measure}_{name}" for measure in measures for name in names}


def test_what_is_taken_apart_has_the_changes_that_are_named(gm: Any) -> None:
    (x,) = chapter.inputs(1, 5)
    assert made_of(chapter.with_changes("d_rate", "ema")(x)) == made_of(chapter.changed(x, "d_rate", "ema"))


def test_what_is_measured_of_a_short_run_is_what_its_columns_say(gm: Any) -> None:
    found = chapter.outcome(lambda x: replace(chapter.changed(x, "ema"), steps=10), 2, 5)
    assert {len(values) for values in found.values()} == {2}
    assert set(found) == {"w2", "minor", "ideal", "told", "slope"}


def test_the_source_s_recipe_is_the_same_in_pytorch(gm: Any) -> None:
    (x,) = chapter.inputs(2, 5)
    ours, theirs = (replace(recipe, steps=50) for recipe in (chapter.original(x), chapter._in_pytorch(x)))
    players, twins = ours.networks(2, seed=5), theirs.networks(2, seed=5)
    assert all(0.01 < next(twin.parameters()).std() < 0.03 for twin in twins)
    for player, twin in zip(players, twins, strict=True):
        for values, parameter in zip(player.weights(), twin.parameters(), strict=True):
            assert gm.tensor(values).any() == parameter.any()  # biases start at 0
            values[:] = 10 * values  # the gradients of small weights are as small as Adam's epsilon
            parameter.data.copy_(gm.tensor(values).reshape(parameter.shape))
    for recipe, (G, D) in ((ours, players), (theirs, twins)):
        recipe.train(G, D, seed=5)
    fit, twin_fit = chapter.gaussian(players[0]), chapter._fit(twins[0])
    torch.testing.assert_close(twin_fit.mean, fit.mean, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(twin_fit.covariance, fit.covariance, rtol=1e-3, atol=1e-4)


def test_the_table_of_rates_has_the_rates_that_its_columns_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(x: Tensor, d_rate: float, g_rate: float) -> Any:
        recipe = make(x, d_rate, g_rate)
        players = recipe.networks(1)
        opts = (recipe.d_opt(players[1]), recipe.g_opt(players[0]))
        assert [opt.param_groups[0]["lr"] for opt in opts] == [d_rate, g_rate]
        return replace(recipe, steps=2)

    make = chapter._in_pytorch
    monkeypatch.setattr(chapter, "_in_pytorch", short)
    found = chapter.rates(2, 5)
    assert found.keys() == ledger("mxnet_gaussian_rates").keys() - {"seed", "member"}
    (x,) = chapter.inputs(2, 5)
    recipe = short(x, 0.2, 0.004)
    G, D = recipe.networks(2, seed=5)
    recipe.train(G, D, seed=5)
    assert torch.equal(found["w2_0.2_0.004"], chapter.w2(chapter._fit(G)))


def test_the_longer_run_is_looked_at_where_its_columns_say(monkeypatch: pytest.MonkeyPatch) -> None:
    make = chapter._in_pytorch
    monkeypatch.setattr(chapter, "_in_pytorch", lambda x: replace(make(x), steps=2))
    found = chapter.longer(2, 5)
    assert [name for name in found if name.startswith("w2")] == ["w2_2", "w2_16", "w2_64"]
    recipe = replace(make(*chapter.inputs(2, 5)), steps=16)
    G, D = recipe.networks(2, seed=5)
    recipe.train(G, D, seed=5)
    torch.testing.assert_close(found["w2_16"], chapter.w2(chapter._fit(G)))


# The later version, and the plain estimator: no MXNet


def test_the_later_version_sums_over_its_batch_and_draws_biases_too() -> None:
    (x,) = chapter.inputs(50, 5)
    recipe = chapter.d2l(x)
    G, D = recipe.networks(50, seed=1)
    biases = torch.cat([p.flatten() for name, p in D.named_parameters() if "bias" in name])
    assert biases.std().item() == pytest.approx(0.02, rel=0.2) and recipe.steps == 2_500
    z = torch.zeros(50, 8, 2)
    for loss in (recipe.d_loss, recipe.g_loss):
        torch.testing.assert_close(
            loss(G, D, x[:, :8], z), torch.full((50,), 8 * math.log(2)), rtol=0.05, atol=0
        )


def test_the_loss_of_the_later_version_is_that_of_the_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    make = chapter.d2l
    monkeypatch.setattr(chapter, "d2l", lambda x: replace(make(x), steps=126))
    columns = chapter.successor(2, 5)
    (x,) = chapter.inputs(2, 5)
    G, D = chapter.d2l(x).networks(2, seed=5)
    history = chapter.d2l(x).train(G, D, seed=5)
    torch.testing.assert_close(columns["d_loss"], history.d_loss[1:].mean(0) / 8)
    z = torch.randn(2, 200_000, 2, generator=torch.Generator().manual_seed(0))
    sampled = chapter.w2(metrics.fit_gaussian(G(z).detach()))
    torch.testing.assert_close(columns["w2"], sampled, rtol=0.02, atol=0)


def test_more_points_bring_the_plain_estimator_closer() -> None:
    found = chapter.points(100, 5)
    medians = torch.stack([values.median() for values in found.values()])
    assert list(found) == ["n10", "n30", "n100", "n300", "n1000"] and (medians.diff() < 0).all()
    (x,) = chapter.inputs(100, 5)
    assert torch.equal(found["n30"], chapter.w2(metrics.fit_gaussian(x[:, :30])))

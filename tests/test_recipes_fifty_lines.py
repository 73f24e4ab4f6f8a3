"""The recipes of the GAN in 50 lines: what the chapter writes out, and what the source's later code does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy import stats
from torch import nn

from gan_helpers import Ensemble, Stream
from gan_helpers.data import Normal
from gan_helpers.models import decorate
from gan_helpers.penalties import r1
from gan_helpers.recipes import combinations, fifty_lines
from tests.chapters import Chapter, assert_trains_by

CHAPTER = Chapter("fifty_lines")


@pytest.mark.parametrize(("nth", "name"), [(1, "original"), (2, "repaired")])
def test_the_chapter_trains_by_the_recipe_of_the_package(nth: int, name: str) -> None:
    written = CHAPTER.train("train", nth)
    recipe = getattr(fifty_lines, name)()
    if name == "original":
        recipe = replace(recipe, steps=fifty_lines.BEGUN)
    assert_trains_by(recipe, written)
    assert written.options.get("ema") == recipe.options.get("ema")


def test_the_four_moments_of_the_exercise_are_those_of_the_package() -> None:
    x = Stream("moments", seed=0).normal(4, 500, 1)
    moments_of = CHAPTER.define("moments_of")["moments_of"]
    torch.testing.assert_close(moments_of(x), fifty_lines.four_moments(x))


def test_the_later_recipe_has_the_numbers_of_the_source() -> None:
    calls = {"D": 0, "G": 0}

    def counted(name: str, loss: Any) -> Any:
        def count(*args: Any) -> torch.Tensor:
            calls[name] += 1
            return loss(*args)

        return count

    recipe = fifty_lines.later()
    assert (recipe.steps, recipe.batch) == (5_000, 500)
    counting = replace(recipe, d_loss=counted("D", recipe.d_loss), g_loss=counted("G", recipe.g_loss))
    counting.train(*recipe.networks(2, seed=3), seed=3, steps=2)
    assert calls == {"D": 40, "G": 40}  # twenty updates of each player in a step
    for made, sizes, kind in ((recipe.G(), (1, 5, 5, 1), nn.Tanh), (recipe.D(), (4, 10, 10, 1), nn.Sigmoid)):
        maps, between = list(made)[::2], list(made)[1::2]
        assert (*(layer.in_features for layer in maps), maps[-1].out_features) == sizes
        assert [type(layer) for layer in between] == [kind, kind]
    for optimiser, network in zip((recipe.g_opt, recipe.d_opt), recipe.networks(1), strict=True):
        descent = optimiser(network)
        assert isinstance(descent, torch.optim.SGD)
        assert (descent.defaults["lr"], descent.defaults["momentum"]) == (1e-3, 0.9)


def test_generators_are_measured_at_the_middles_of_the_quantiles() -> None:
    line = nn.Linear(1, 1)
    nn.init.constant_(line.weight, 2.0)
    nn.init.constant_(line.bias, 1.0)
    G = Ensemble.of([line], device="cpu")
    samples = fifty_lines.quantile_samples(G, n=4)
    assert samples.tolist() == [[1.25, 1.75, 2.25, 2.75]] and samples.dtype == torch.float64
    found = {name: value.item() for name, value in fifty_lines.measure(G).items()}  # of U(1, 3)
    assert found == {
        "mean": pytest.approx(2.0, abs=1e-6),
        "sd": pytest.approx(3**-0.5, abs=1e-5),
        "skewness": pytest.approx(0.0, abs=1e-4),
        "kurtosis": pytest.approx(-1.2, abs=1e-4),
        "w1": pytest.approx(2.0, abs=0.1),  # nearly all of it lies on the left of the law
        "ks": pytest.approx(1 - stats.norm(4.0, 1.25).cdf(3.0), abs=0.01),
    }


def test_twins_start_one_rounding_apart_and_get_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    short = replace(fifty_lines.original(), steps=3)
    monkeypatch.setattr(fifty_lines, "original", lambda: short)
    gaps = fifty_lines.twins(2, seed=3)
    assert (gaps["start"] > 0).all() and (gaps["start"] < 1e-6).all()
    assert (gaps["later"] < 1e-4).all()


def test_a_repair_that_is_taken_apart_changes_what_it_names() -> None:
    scaled = fifty_lines.changed("inputs", "d_rate", "beta1")
    _, D = scaled.networks(1)
    assert (scaled.d_opt(D).defaults["lr"], scaled.d_opt(D).defaults["betas"]) == (4e-3, (0.0, 0.999))
    assert (
        scaled.g_opt(D).defaults["lr"] == 2e-4
        and fifty_lines.changed("g_rate").g_opt(D).defaults["lr"] == 1e-3
    )
    x = decorate(Normal(4.0, 1.25)(1, 100_000, Stream("many", seed=0)))
    for half in fifty_lines.StandardiseDecorated()(x).chunk(2, dim=2):
        assert half.mean().item() == pytest.approx(0, abs=0.02)
        assert half.std().item() == pytest.approx(1, abs=0.02)
    with pytest.raises(ValueError, match=r"names must be among single, r1, .*, not 'beta'"):
        fifty_lines.changed("r1", "beta")


def test_a_slope_is_priced_whether_D_sees_one_sample_or_a_batch() -> None:
    for seen in ((), ("single",)):
        plain, priced = (fifty_lines.changed(*seen, *more) for more in ((), ("r1",)))
        G, D = plain.networks(2, seed=3)
        x, z = (draw(2, 100, Stream("priced", seed=0)) for draw in (plain.data, plain.noise))
        extra = priced.d_loss(G, D, x, z) - plain.d_loss(G, D, x, z)
        torch.testing.assert_close(extra, 0.05 * r1(D, x if seen else decorate(x)), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", combinations(tuple(fifty_lines.CHANGES)))
def test_what_a_change_comes_to_is_measured_for_each_run(name: str) -> None:
    changes = combinations(tuple(fifty_lines.CHANGES))[name]
    found = fifty_lines.raw_and_averaged(fifty_lines.changed(*changes, steps=2), 2, 5)
    assert {"w1_raw", "sd_averaged", "slope", "failed"} < found.keys()
    assert all(values.shape == (2,) and values.isfinite().all() for values in found.values())
    assert not found["failed"].any() and (found["w1_raw"] != found["w1_averaged"]).all()


def test_a_generator_that_is_not_finite_has_no_measures() -> None:
    lines = [nn.Linear(1, 1), nn.Linear(1, 1)]
    nn.init.constant_(lines[0].bias, torch.nan)
    found = fifty_lines.measure(Ensemble.of(lines, device="cpu"))
    assert all(values.isfinite().tolist() == [False, True] for values in found.values())


def test_a_start_is_measured_where_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fifty_lines, "BEGUN", 200)
    found, long = fifty_lines.start(2, 5), fifty_lines.changed(steps=200)
    G, D = long.networks(2, seed=5)
    before = fifty_lines.measure(G)["mean"]
    long.train(G, D, seed=5)
    after = fifty_lines.measure(G)
    assert all(torch.equal(found[name], values) for name, values in after.items())
    torch.testing.assert_close(found["highest_mean"], torch.maximum(before, after["mean"]))


def test_a_long_run_is_looked_at_in_its_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fifty_lines, "ROUNDS", (0, 100))
    found = fifty_lines.long(2, 5)
    recipe = replace(fifty_lines.original(), steps=100)
    G, D = recipe.networks(2, seed=5)
    recipe.train(G, D, seed=5)
    torch.testing.assert_close(found["mean_100"], fifty_lines.measure(G)["mean"])
    assert all(((found[name] >= 0) & (found[name] <= 1)).all() for name in ("says_real_0", "right_100"))


def test_the_plain_alternative_comes_closer_the_more_samples_it_has() -> None:
    found = fifty_lines.fitted(8, 5)
    far, near = found["w1_100"], found["w1_400000"]
    assert (near < far).all() and near.max() < 0.01
    # Of a mean that is off by e, W1 is at least e.
    assert (far >= (found["mean_100"] - 4.0).abs() - 1e-3).all()
    assert found["kurtosis_100"].abs().max() < 0.01


def test_a_generator_has_an_elu_or_a_sigmoid_after_its_second_map() -> None:
    for second, kinds in ((nn.ELU, [nn.ELU, nn.ELU]), (nn.Sigmoid, [nn.ELU, nn.Sigmoid])):
        assert [type(layer) for layer in list(fifty_lines.generator(second))[1::2]] == kinds


def test_both_generators_are_trained_from_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    short = replace(fifty_lines.original(), steps=2)
    monkeypatch.setattr(fifty_lines, "original", lambda: short)
    found = fifty_lines.layers(2, 5)
    assert {"w1_raw_sigmoid", "w1_averaged_sigmoid", "w1_raw_elu", "w1_averaged_elu"} < found.keys()
    assert (found["w1_raw_sigmoid"] != found["w1_raw_elu"]).all()
    sigmoid, elu = (
        replace(short, G=lambda second=second: fifty_lines.generator(second)).networks(2, seed=5)[0]
        for second in (nn.Sigmoid, nn.ELU)
    )
    assert all(map(torch.equal, sigmoid.parameters(), elu.parameters()))


def test_a_step_may_have_several_bags_and_one_answer_for_each() -> None:
    one, two = (fifty_lines.changed("r1", "inputs", bags=bags) for bags in (1, 2))
    assert (one.batch, two.batch) == (100, 200)
    G, D = one.networks(2, seed=3)
    x, z = (draw(2, 200, Stream("bags", seed=0)) for draw in (one.data, one.noise))
    halves = [pair for pair in zip(x.chunk(2, 1), z.chunk(2, 1), strict=True)]
    for loss in ("d_loss", "g_loss"):
        apart = [getattr(one, loss)(G, D, *half) for half in halves]
        torch.testing.assert_close(getattr(two, loss)(G, D, x, z), sum(apart) / 2)


def test_ten_bags_are_seen_by_a_D_with_the_other_five_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(fifty_lines, "raw_and_averaged", lambda recipe, *args: asked.append((recipe, args)))
    fifty_lines.ten_bags(2, 5)
    ((recipe, args),) = asked
    assert (recipe.batch, recipe.steps, args) == (1_000, 4_000, (2, 5))
    G, D = recipe.networks(1)
    assert next(D.parameters()).shape[-1] == 200 and recipe.d_opt(D).defaults["lr"] == 4e-3
    assert recipe.g_opt(G).defaults["betas"] == (0.0, 0.999)


def test_twins_can_be_taught_without_a_game() -> None:
    found = fifty_lines.taught(2, seed=3, steps=400)
    assert (found["start"] > 0).all() and (found["start"] < 1e-6).all()
    assert (found["later"] < 1e-3).all()
    untaught = fifty_lines.measure(fifty_lines.original().networks(2, seed=3)[0])["w1"]
    assert (found["w1"] < untaught / 2).all()  # it comes towards the data

"""Games on shapes are those that they say they are; what is known of the answers, and measured, is right."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from gan_helpers import Ensemble, Stream
from gan_helpers.losses import minimax_d, non_saturating_g
from gan_helpers.pairs import difference, squared
from gan_helpers.penalties import r1, r2
from gan_helpers.recipes import Recipe, halves
from gan_helpers.recipes import pairs as chapter
from gan_helpers.tables import ledger
from tests.chapters import Chapter, assert_trains_by
from tests.plain_gan import numbers

SHAPES = chapter.SHAPES


def batch(recipe: Recipe) -> tuple[Ensemble, Ensemble, Tensor, Tensor, Tensor]:
    """Players of two seeds, and eight pairs and inputs for each."""
    G, D = recipe.networks(2, seed=3, device="cpu")
    x, y = SHAPES(2, 8, Stream("pairs", 1))
    return G, D, x, y, numbers(2, 8, 8).float()


# The data and the theory


def test_a_bar_stands_out_from_its_shape() -> None:
    assert SHAPES.given.sum(1).tolist() == [12] * 4 + [16] * 4
    for k in range(8):
        for j, answer in enumerate(chapter.ANSWERS):
            bar = (SHAPES.answers[k, j] - SHAPES.given[k]).view(14, 14)
            assert (bar >= 0).all() and bar.sum() == chapter.BAR
            rows, columns = bar.nonzero().double().mean(0).tolist()
            y = SHAPES.given[k].view(14, 14).nonzero().double().mean(0)
            off = (rows - y[0].item(), columns - y[1].item())
            assert off == {"right": (0, 4), "left": (0, -4), "up": (-4, 0), "down": (4, 0)}[answer]
    assert len({tuple(y.tolist()) for y in SHAPES.given}) == 8


def test_answers_come_as_often_as_they_should() -> None:
    x, y = SHAPES(2, 40_000, Stream("pairs", 2))
    for k in (0, 5):
        of_k = (y == SHAPES.given[k]).all(2)
        assert of_k.double().mean().item() == pytest.approx(1 / 8, abs=0.005)
        for j in range(4):
            share = (x[of_k] == SHAPES.answers[k, j]).all(1).double().mean().item()
            assert share == pytest.approx(SHAPES.shares[k, j].item(), abs=0.02)


@pytest.mark.parametrize("weight", [1.0, 10.0, 100.0])
def test_the_rarer_answer_is_as_rare_as_the_balance_says(weight: float) -> None:
    price = weight * 2 * 8 / 196 * (1 - 2 * 0.25)

    def cost(w: float) -> float:
        pairs = ((0.25, w), (0.75, 1 - w))
        both = [p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q)) for p, q in pairs]
        return sum(both) + price * w

    w = chapter.rarer(weight)
    assert cost(w) < cost(w * 1.01) and cost(w) < cost(w * 0.99)
    assert chapter.rarer(0.0) == pytest.approx(0.25)


@pytest.mark.parametrize("weight", [0.0, 1.0, 10.0, 20.0, 30.0, 100.0])
def test_with_minus_log_d_answers_cost_the_same_or_the_rarer_is_not_drawn(weight: float) -> None:
    w = chapter.rarer(weight, saturating=False)
    right, wrong = 0.25 / (0.25 + w), 0.75 / (1.75 - w)  # what the best D says of the rarer and of the other
    rarer, other = (-math.log(d) for d in (right, wrong))
    dearer = rarer + weight * 2 * 8 / 196 * (1 - 2 * 0.25) - other
    if weight < 20.5:
        assert w > 0 and dearer == pytest.approx(0, abs=1e-6)
    else:
        assert w == 0 and dearer > 0
    assert chapter.rarer(0.0, saturating=False) == pytest.approx(0.25)


# The games


def test_the_original_has_the_losses_of_the_paper() -> None:
    recipe = chapter.original()
    G, D, x, y, z = batch(recipe)
    fake = G((z, y))
    torch.testing.assert_close(recipe.d_loss(G, D, (x, y), z), minimax_d(D((x, y)), D((fake, y))))
    expected = non_saturating_g(D((fake, y))) + 100 * (x - fake).abs().mean((1, 2))
    torch.testing.assert_close(recipe.g_loss(G, D, (x, y), z), expected)
    assert (recipe.steps, recipe.batch) == (1_200, 32)
    (group,) = recipe.d_opt(D).param_groups
    assert (group["lr"], group["betas"]) == (4e-3, (0.0, 0.99))


def test_the_repaired_game_prices_slopes_and_no_errors() -> None:
    recipe = chapter.repaired()
    G, D, x, y, z = batch(recipe)
    fake = G((z, y))
    price = (r1(lambda s: D((s, y)), x) + r2(lambda s: D((s, y)), fake)) / 2
    torch.testing.assert_close(recipe.d_loss(G, D, (x, y), z), minimax_d(D((x, y)), D((fake, y))) + price)
    torch.testing.assert_close(recipe.g_loss(G, D, (x, y), z), non_saturating_g(D((fake, y))))


def test_an_error_alone_is_no_game() -> None:
    recipe = chapter.changed(game=False, error=squared, weight=3.0)
    G, D, x, y, z = batch(recipe)
    expected = 3 * (x - G((z, y))).square().mean((1, 2))
    torch.testing.assert_close(recipe.g_loss(G, D, (x, y), z), expected)


def test_answers_that_differ_are_paid() -> None:
    recipe = chapter.changed(weight=0.0, diversity=2.0)
    G, D, x, y, z = batch(recipe)
    fake, other = G((z, y)), G((z.roll(1, 1), y))
    expected = non_saturating_g(D((fake, y))) - 2 * difference(fake, other, z)
    torch.testing.assert_close(recipe.g_loss(G, D, (x, y), z), expected)


def test_who_gets_no_noise_answers_alike() -> None:
    G, _, _, y, z = batch(chapter.changed(ignores=True))
    assert torch.equal(G((z, y)), G((z + 1, y)))
    G, *_ = batch(chapter.changed())
    assert not torch.equal(G((z, y)), G((z + 1, y)))


# What is measured


def drawn(*of_each: Tensor) -> Tensor:
    """Answers of one seed, the same to all four pictures of a kind: first to rings, then to squares."""
    return torch.cat(
        [part.expand(4, *part.shape[-2:]) if part.dim() == 2 else part for part in of_each]
    ).unsqueeze(0)


def test_the_truth_is_true_and_sharp_and_various() -> None:
    rings, squares = SHAPES.answers[:4], SHAPES.answers[4:, torch.tensor([0, 0, 0, 1])]
    found = chapter.judged(drawn(rings, squares))
    for half in ("rings", "squares"):
        assert (found[f"true_{half}"].item(), found[f"grey_{half}"].item(), found[f"tv_{half}"].item()) == (
            1,
            0,
            0,
        )
        assert found[f"spread_{half}"].item() == pytest.approx(
            4 / 3
        )  # four answers, by the unbiased variance
    assert found["rarer"].item() == 0.25


def test_the_blur_is_grey_and_the_median_is_empty() -> None:
    mean = (SHAPES.shares.unsqueeze(2) * SHAPES.answers).sum(1).unsqueeze(1).expand(-1, 5, -1)
    found = chapter.judged(mean.unsqueeze(0))
    assert found["true_rings"].item() == 0 and found["true_squares"].item() == 1  # it is cut at a half
    # Four bars at 1/4 count 1/2 each; one at 3/4 and one at 1/4 do so too.
    assert (found["grey_rings"].item(), found["grey_squares"].item()) == pytest.approx((2, 1))
    assert (found["spread_rings"].item(), found["rarer"].item()) == (0, 0)
    empty = chapter.judged(SHAPES.given.unsqueeze(1).expand(-1, 5, -1).unsqueeze(0))
    assert empty["true_rings"].item() == empty["true_squares"].item() == 0


def test_an_answer_that_is_not_allowed_is_not_true() -> None:
    x = SHAPES.answers[:, 2].unsqueeze(1).expand(-1, 5, -1).unsqueeze(0)
    found = chapter.judged(x)
    assert found["true_rings"].item() == 1 and found["true_squares"].item() == 0
    assert found["tv_rings"].item() == 0.75


def test_a_pixel_is_told_from_a_bar_and_a_right_answer_from_one_that_varies() -> None:
    holed, rings = SHAPES.answers[:4].clone(), SHAPES.answers[:4]
    holed[:, :, 0] = 1  # a corner that no shape and no bar has
    found = chapter.judged(drawn(holed, SHAPES.answers[4:, torch.tensor([0, 1, 2, 3])]))
    assert (found["true_rings"].item(), found["wrong_rings"].item(), found["kinds_rings"].item()) == (0, 1, 0)
    # Of a square's four answers up and down are wrong, by two bars: the median is between 0 and 16.
    assert (found["true_squares"].item(), found["wrong_squares"].item()) == (0.5, chapter.BAR)
    assert (found["kinds_squares"].item(), found["empty_squares"].item()) == (2, 0)
    both = rings.amax(1, keepdim=True)  # all four bars at once, or none
    none = SHAPES.given[:4].unsqueeze(1)
    found = chapter.judged(drawn(torch.cat([both, none, none, none], 1), SHAPES.answers[4:]))
    assert found["spread_rings"].item() == pytest.approx(4 / 3)  # as of the truth, by the unbiased variance
    assert (found["true_rings"].item(), found["kinds_rings"].item()) == (0, 0)
    assert (found["empty_rings"].item(), found["wrong_rings"].item()) == (0.75, chapter.BAR)


def test_real_answers_are_at_the_floor() -> None:
    found = chapter.floor(20, 1)
    assert (found["true_rings"] == 1).all() and (found["grey_squares"] == 0).all()
    assert (found["kinds_rings"] == 4).all() and (found["kinds_squares"] == 2).all()
    assert found["spread_rings"].mean().item() == pytest.approx(1, abs=0.01)
    assert found["rarer"].mean().item() == pytest.approx(0.25, abs=0.01)


def test_the_table_holds_all_games(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(chapter, "trained", lambda recipe, seeds, seed: seeds)
    monkeypatch.setattr(chapter, "changed", lambda **changes: made.append(changes))
    monkeypatch.setattr(chapter, "answered", lambda G, seed: torch.rand(G, 8, 3, 196))
    found = chapter.shapes(2, 9)
    assert made == list(chapter.GAMES.values())
    assert all(any(key.endswith(f"_{game}") for key in found) for game in chapter.GAMES)
    assert all(values.shape == (2,) for values in found.values())


def test_the_slow_games_have_the_rate_of_the_paper() -> None:
    for name, changes in chapter.SLOW.items():
        slow, plain = chapter.changed(**changes), chapter.changed(**chapter.GAMES[name])
        (group,) = slow.g_opt(slow.networks(1, seed=1, device="cpu")[0]).param_groups
        assert (group["lr"], group["betas"]) == (2e-4, (0.5, 0.999))
        assert slow.steps == 5 * plain.steps
        assert {**changes, **chapter.GAMES[name]} == changes


def test_an_untrained_g_is_that_from_which_the_games_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "JUDGED", 30)
    seen: list[Ensemble] = []
    completed = halves.completed
    monkeypatch.setattr(
        halves, "completed", lambda G, *some, **more: seen.append(G) or completed(G, *some, **more)
    )
    found = chapter.untrained(1, 5)
    G, _ = halves.repaired(*halves.inputs(1)).networks(1, seed=5)
    for one, other in zip(G.parameters(), seen[0].parameters(), strict=True):
        assert torch.equal(one, other)
    assert found["spread_untrained"].shape == (1,)


def test_an_untrained_painter_is_that_from_which_every_game_on_shapes_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Ensemble] = []
    answered = chapter.answered
    monkeypatch.setattr(chapter, "answered", lambda G, seed: seen.append(G) or answered(G, seed, 3))
    found = chapter.shapes_untrained(2, 5)
    for changes in (*chapter.GAMES.values(), *chapter.SLOW.values()):
        G, _ = chapter.changed(**changes).networks(2, seed=5)
        for one, other in zip(G.parameters(), seen[0].parameters(), strict=True):
            assert torch.equal(one, other)
    assert all(key.endswith("_untrained") and values.shape == (2,) for key, values in found.items())


def test_of_the_tables_the_rate_is_not_what_makes_g_ignore_its_noise() -> None:
    slow = ledger("pairs_shapes_slow")
    assert (slow["spread_rings_original"] < 1e-3).all() and (slow["spread_rings_game"] < 1e-3).all()
    assert (slow["spread_rings_repaired"] > 0.15).all()


def test_of_the_tables_on_shapes_the_noise_that_g_begins_with_is_taken_out() -> None:
    made, slow = ledger("pairs_shapes"), ledger("pairs_shapes_slow")
    start = ledger("pairs_shapes_untrained")["spread_rings_untrained"]
    assert start.max() < 1e-3  # so a spread below it says nothing of what a game does
    assert (made["spread_rings_original"] < start).all()
    assert (made["spread_rings_light"] < start).all()
    assert (made["spread_rings_game"] < start).sum() == 63
    assert (made["spread_rings_repaired"] > start).all()
    assert all(slow[f"spread_rings_{name}"].max() < start.min() for name in ("original", "game"))


def test_of_the_tables_on_digits_only_a_price_on_slope_adds_to_the_noise_of_the_start() -> None:
    made, start = ledger("pairs_digits"), ledger("pairs_digits_untrained")["spread_untrained"]
    assert made["spread_original"].max() < start.min()
    assert (made["spread_game"] < start).sum() == 3
    assert made["spread_game_priced"].min() > start.max()
    assert ledger("pairs_digits_slow_normed")["spread_game_priced"].max() < start.min()


# The chapter

CHAPTER = Chapter("pairs")


@pytest.mark.parametrize(
    ("nth", "made"),
    [
        (0, lambda: chapter.changed(game=False, error=squared)),
        (1, chapter.original),
        (2, chapter.repaired),
    ],
)
def test_the_chapter_trains_by_the_recipes_of_the_package(nth: int, made: Any) -> None:
    assert_trains_by(made(), CHAPTER.train("played", nth))


def test_the_chapter_measures_as_the_package_does() -> None:
    written = CHAPTER.define("true", "spread")
    x = SHAPES(3, 40, Stream("drawn", 1))[0].unsqueeze(1).expand(-1, 8, -1, -1)
    found = chapter.judged(x)
    for name in ("true", "spread"):
        parts = [written[name](x[:, k], SHAPES.shares[k], SHAPES.answers[k]) for k in range(4)]
        torch.testing.assert_close(torch.stack(parts).mean(0), found[f"{name}_rings"])

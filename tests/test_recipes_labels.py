"""Conditional games are those that they say they are; what is predicted and measured of them is right."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from gan_helpers import Ensemble, Stream
from gan_helpers.labels import misread
from gan_helpers.losses import minimax_d, minimax_g, non_saturating_g
from gan_helpers.penalties import r1, r2
from gan_helpers.recipes import Recipe
from gan_helpers.recipes import labels as chapter
from gan_helpers.tables import ledger
from tests.chapters import Chapter, assert_trains_by
from tests.plain_gan import numbers

PAIR = tuple[Tensor, Tensor]


def batch(recipe: Recipe, classes: int) -> tuple[Ensemble, Ensemble, PAIR, PAIR]:
    """Players of two seeds, and eight samples and inputs for each with their labels."""
    G, D = recipe.networks(2, seed=3, device="cpu")
    y = torch.arange(16).view(2, 8) % classes
    x, z = numbers(2, 8, 2).float(), numbers(2, 8, 2, seed=1).float()
    return G, D, (x, y), (z, (y + 1) % classes)


# The data and the theory


def test_bells_are_where_they_are_said_to_be() -> None:
    part = chapter.ISLANDS.parts[0]
    assert part.mean.tolist() == [-2.0, -2.0]
    along = torch.tensor([math.cos(0.8), math.sin(0.8)])
    across = torch.tensor([-math.sin(0.8), math.cos(0.8)])
    assert (along @ part.covariance @ along).sqrt().item() == pytest.approx(0.6, rel=1e-4)
    assert (across @ part.covariance @ across).sqrt().item() == pytest.approx(0.2, rel=1e-4)
    for truth in (chapter.ISLANDS, chapter.OVERLAP, chapter.EVEN):
        assert sum(truth.shares) == pytest.approx(1)


def test_the_likeliest_label_counts_with_its_share() -> None:
    even = chapter.OVERLAP
    uneven = chapter.Truth(even.parts, (0.9, 0.1))
    x = torch.tensor([[-0.1, 0.0], [0.1, 0.0], [2.0, 0.0]])
    assert even.likeliest(x).tolist() == [0, 1, 1]
    # Densities are as e^{2 x_1} : 1, so with shares of 9 : 1 the border is at log(9) / 2 = 1.10.
    assert uneven.likeliest(x).tolist() == [0, 0, 1]


@pytest.mark.parametrize("shares", [(0.4, 0.3, 0.2, 0.1), (0.5, 0.5), (0.7, 0.3)])
def test_the_shares_of_who_uses_no_label_are_the_best(shares: tuple[float, ...]) -> None:
    pi, w = torch.tensor(shares).double(), chapter.blind_shares(shares)

    def cost(w: Tensor) -> Tensor:  # of distributions that do not meet
        common = torch.xlogy(w, 2 * w / (1 + w)) + torch.log(2 / (1 + w)) + (1 - w) * math.log(2)
        return (pi * common).sum() / 2

    assert w.sum().item() == pytest.approx(1, abs=1e-9)
    for i in range(len(w)):
        for j in range(len(w)):
            moved = w.clone()
            moved[i] += 1e-3
            moved[j] -= 1e-3
            assert i == j or cost(moved) > cost(w)


def test_what_a_cut_leaves() -> None:
    x = Stream("cut", 1).normal(400_000).double() + 1
    half = torch.cat([x[x > 0], -x[x < 0]])  # by symmetry the upper half of the mixture
    found = chapter.cut()
    assert half.std().item() == pytest.approx(found.sd, abs=0.003)
    assert (x < 0).double().mean().item() == pytest.approx(found.beyond, abs=0.003)
    assert chapter.cut(9.0).sd == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("swapped", [0.5, 1.0, 3.0])
def test_what_swapped_labels_push_apart_is_the_best_for_g(swapped: float) -> None:
    x = (torch.arange(130) - 59.5).double() / 10
    p, m = torch.exp(-((x - 1) ** 2) / 2), torch.exp(-((x + 1) ** 2) / 2)
    p, m = p / p.sum(), (p / p.sum() + m / m.sum()) / 2
    w = p.sqrt().requires_grad_()
    climb = torch.optim.LBFGS([w], max_iter=300, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def cost() -> Tensor:  # the value of the minimax game at the best D, of q that has the sum 1
        climb.zero_grad()
        s = w.square() / w.square().sum() + swapped * m
        loss = (p * (p / (p + s)).log() + torch.xlogy(s, s / (p + s))).sum()
        loss.backward()
        return loss

    climb.step(cost)
    q = w.detach().square() / w.detach().square().sum()
    sd, found = (q * (x - (q * x).sum()) ** 2).sum().sqrt().item(), chapter.pushed(swapped)
    assert (found.sd, found.beyond) == pytest.approx((sd, q[x < 0].sum().item()), abs=2e-3)


def test_what_is_left_of_a_bell_when_labels_are_swapped() -> None:
    found = chapter.pushed(1.0)
    assert (found.sd, found.beyond) == pytest.approx((0.821, 0.039), abs=5e-4)
    x = torch.linspace(-10, 10, 200_001, dtype=torch.float64)
    bell, other = (torch.exp(-((x - m) ** 2) / 2) for m in (1, -1))
    of_true = 1.736 - (bell + other) / (2 * bell)  # what is drawn, over the truth
    kept = (of_true.clamp(min=0) * bell).sum() / bell.sum()
    assert kept.item() == pytest.approx(1, abs=1e-3)
    assert x[of_true > 0].min().item() == pytest.approx(-0.45, abs=0.01)
    assert x[of_true > 1].min().item() == pytest.approx(0.37, abs=0.01)


def test_real_samples_that_are_refused_with_their_own_labels_push_nothing() -> None:
    p = numbers(7).double().square() + 0.1
    p = p / p.sum()
    w = torch.ones(7, dtype=torch.float64, requires_grad=True)
    climb = torch.optim.LBFGS([w], max_iter=300, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        climb.zero_grad()
        s = w.square() / w.square().sum() + p
        loss = (p * (p / (p + s)).log() + s * (s / (p + s)).log()).sum()
        loss.backward()
        return loss

    climb.step(cost)
    torch.testing.assert_close(w.detach().square() / w.detach().square().sum(), p, atol=1e-4, rtol=0)


def test_labels_that_do_not_meet_are_not_pushed() -> None:
    for found in (chapter.pushed(0.0), chapter.pushed(2.0, mean=9.0)):
        assert found.sd == pytest.approx(1, abs=1e-6)
    assert chapter.pushed(0.0).beyond == pytest.approx(chapter.cut().beyond, abs=1e-4)


# The games


def test_the_original_hands_the_label_to_both() -> None:
    recipe = chapter.original()
    G, D, (x, y), (z, c) = batch(recipe, 4)
    assert (recipe.steps, recipe.batch) == (1_500, 64)
    fake = G((z, c))
    price = (r1(lambda s: D((s, y)), x) + r2(lambda s: D((s, c)), fake)) / 2
    expected = minimax_d(D((x, y)), D((fake, c))) + price
    torch.testing.assert_close(recipe.d_loss(G, D, (x, y), (z, c)), expected)
    torch.testing.assert_close(recipe.g_loss(G, D, (x, y), (z, c)), non_saturating_g(D((fake, c))))
    (group,) = recipe.d_opt(D).param_groups
    assert (group["lr"], group["betas"]) == (3e-3, (0.0, 0.99))
    other = (y + 1) % 4
    assert not torch.equal(D((x, y)), D((x, other))) and not torch.equal(G((z, y)), G((z, other)))


def test_who_ignores_the_label_does_so_alone() -> None:
    for changes, which in (({"g_ignores": True}, 0), ({"how": "ignoring"}, 1)):
        recipe = chapter.changed(**changes)
        G, D, (x, y), (z, c) = batch(recipe, 4)
        alike = [torch.equal(N((z, y)), N((z, c))) for N in (G, D)]
        assert alike == [which == 0, which == 1]


@pytest.mark.parametrize("how", ["concatenated", "projection"])
def test_real_samples_with_the_labels_of_others_are_as_fakes_to_d(how: str) -> None:
    recipe = chapter.changed(how, swapped=0.5)
    G, D, (x, y), (z, c) = batch(recipe, 4)
    y[:, 3] = y[:, 4]  # so that a label that is swapped may be the right one
    others = torch.stack([y[:, (i - 1) % 8] for i in range(8)], 1)
    fake = G((z, c)).detach()
    price = (r1(lambda s: D((s, y)), x) + r2(lambda s: D((s, c)), fake)) / 2
    expected = minimax_d(D((x, y)), D((fake, c))) + 0.5 * softplus(D((x, others))).mean((1, 2)) + price
    torch.testing.assert_close(recipe.d_loss(G, D, (x, y), (z, c)), expected)
    torch.testing.assert_close(recipe.g_loss(G, D, (x, y), (z, c)), non_saturating_g(D((fake, c))))


def test_what_swapped_labels_are_compared_with_refuses_as_much() -> None:
    G, D, (x, y), (z, c) = batch(chapter.changed("projection"), 4)
    games = [
        chapter.changed("projection", own=own, again=again) for own, again in ((0, 0), (0.5, 0), (0, 0.25))
    ]
    plain, own, again = (recipe.d_loss(G, D, (x, y), (z, c)) for recipe in games)
    torch.testing.assert_close(own, plain + 0.5 * softplus(D((x, y))).mean((1, 2)))
    torch.testing.assert_close(again, plain + 0.25 * softplus(D((G((z, c)).detach(), c))).mean((1, 2)))


def test_the_saturating_game_has_the_other_loss_of_g() -> None:
    recipe = chapter.changed(saturating=True)
    G, D, real, (z, c) = batch(recipe, 4)
    torch.testing.assert_close(recipe.g_loss(G, D, real, (z, c)), minimax_g(D((G((z, c)), c))))


@pytest.mark.parametrize("how", ["auxiliary", "real_only", "twin", "codes"])
def test_readers_have_their_losses(how: str) -> None:
    recipe = chapter.changed(how, chapter.OVERLAP, weight=0.5)
    G, D, (x, y), (z, c) = batch(recipe, 2)
    fake = G((z, c))
    (a, read, *_), (b, heard, *twin) = D(x), D(fake)
    price = (r1(lambda s: D(s)[0], x) + r2(lambda s: D(s)[0], fake)) / 2
    told = {
        "auxiliary": misread(read, y) + misread(heard, c),
        "real_only": misread(read, y),
        "twin": misread(read, y) + misread(twin[0], c) if twin else torch.nan,
        "codes": misread(heard, c),
    }[how]
    torch.testing.assert_close(recipe.d_loss(G, D, (x, y), (z, c)), minimax_d(a, b) + price + told)
    asked = misread(heard, c) - (misread(twin[0], c) if how == "twin" else 0)
    torch.testing.assert_close(recipe.g_loss(G, D, (x, y), (z, c)), non_saturating_g(b) + 0.5 * asked)


def test_ways_are_named_and_codes_are_asked_for_equally_often() -> None:
    with pytest.raises(ValueError, match="how must be one of concatenated, .*, not 'shouted'"):
        chapter.changed("shouted").networks(1, seed=0)
    recipe = chapter.changed("codes", codes=5)
    _, c = recipe.noise(1, 20_000, Stream("codes", 1))
    assert (c.bincount(minlength=5) if c.dim() == 1 else c[0].bincount(minlength=5)).min() > 3_700


# What is measured


def test_real_samples_are_what_was_asked_for() -> None:
    found = chapter.floor(20, 1)
    assert found["right_islands"].mean().item() == pytest.approx(1 - math.exp(-4.5), abs=0.006)
    assert (found["read_islands"] > 0.999).all() and (found["tv_islands"] < 0.001).all()
    assert found["read_overlap"].mean().item() == pytest.approx(1 - chapter.cut().beyond, abs=0.01)
    assert (found["sd_overlap"] > 0.9).all() and (found["w2_islands"] < 0.1).all()


def test_samples_that_are_wrong_are_told_so() -> None:
    rng = Stream("samples", 1)
    real = torch.stack([part(1, 500, rng) for part in chapter.ISLANDS.parts], 1)
    swapped = real[:, [1, 0, 2, 3]]
    found = chapter.judged(swapped, chapter.ISLANDS)
    assert found["right"].item() == 0 and found["w2"].item() > 3.9
    assert found["read"].item() == pytest.approx(0.3, abs=1e-6)  # labels 2 and 3 alone
    assert found["share_0"].item() == pytest.approx(0.3, abs=1e-6)
    assert found["tv"].item() == pytest.approx(0.1, abs=1e-6)
    narrow = chapter.ISLANDS.parts[2].mean + 0.5 * (real - chapter.ISLANDS.parts[2].mean)
    real[:, 2] = narrow[:, 2]
    assert chapter.judged(real, chapter.ISLANDS)["sd"].item() == pytest.approx(0.5, rel=0.1)


def test_what_codes_tell_by_hand() -> None:
    places = torch.stack([part.mean for part in chapter.ISLANDS.parts])
    told = places[torch.tensor([[0, 0], [1, 1], [2, 2], [3, 3]])].unsqueeze(0)
    nothing = places[torch.tensor([[0, 1], [0, 1], [0, 1], [0, 1]])].unsqueeze(0)
    half = places[torch.tensor([[0, 0], [0, 0], [1, 1], [2, 3]])].unsqueeze(0)
    found = chapter.informed(torch.cat([told, nothing, half]), chapter.EVEN)
    # The third: H(y) of (1/2, 1/4, 1/8, 1/8) is 1.75 bits, and of it a quarter of the codes leaves 1 open.
    assert found["bits"].tolist() == pytest.approx([2, 0, 1.5])
    assert (found["pure"].tolist(), found["named"].tolist()) == ([4, 0, 3], [4, 0, 2])
    assert found["tv"].tolist() == pytest.approx([0, 0.5, 0.25])


@pytest.mark.parametrize("name", ["using", "overlapping", "coded", "swapped", "controls"])
def test_tables_hold_all_games(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    def trained(recipe: Recipe, seeds: int, seed: int) -> tuple[int, int]:
        return seeds, seed

    monkeypatch.setattr(chapter, "trained", trained)
    monkeypatch.setattr(chapter, "changed", lambda *how, **changes: made.append(changes | {"by": how}))
    monkeypatch.setattr(chapter, "asked_for", lambda G, classes, seed: torch.zeros(G[0], classes, 3, 2))
    games: Any = {"using": chapter.USING, "overlapping": chapter.OVERLAPPING, "coded": chapter.CODED}
    games |= {"controls": ("plain_minimax", "again_islands", "own_islands", "again_overlap", "own_overlap")}
    games = games.get(name, ("islands", "overlap"))
    found = getattr(chapter, name)(2, 9)
    assert len(made) == len(games)
    assert all(any(key.endswith(f"_{game}") for key in found) for game in games)
    assert all(values.shape == (2,) for values in found.values())
    assert {change["truth"] for change in made} <= {chapter.ISLANDS, chapter.OVERLAP, chapter.EVEN}


# The tables


def test_of_the_tables_one_reader_narrows_and_two_do_not() -> None:
    found = ledger("labels_overlapping")
    assert max(found[f"sd_{name}"].max() for name in ("auxiliary", "light", "real_only")) < chapter.cut().sd
    assert found["sd_twin"].quantile(0.05) > chapter.cut().sd and found["sd_twin"].min() > 0.77
    assert found["read_auxiliary"].min() > 0.9995


def test_of_the_tables_swapped_labels_narrow_what_overlaps_alone() -> None:
    swapped, overlapping, using = (ledger(f"labels_{name}") for name in ("swapped", "overlapping", "using"))
    assert swapped["sd_overlap"].max() < chapter.pushed(1.0).sd and swapped["read_overlap"].min() > 0.9994
    assert (swapped["sd_overlap"] < overlapping["sd_projection"]).all()
    assert (swapped["w2_islands"] < using["w2_projection"]).sum() == 45
    assert swapped["read_islands"].min() > 0.9995


def test_of_the_tables_who_ignores_the_label_does_what_is_said() -> None:
    found = ledger("labels_using")
    assert found["read_d_ignores"].mean().item() == pytest.approx(0.3, abs=0.02)
    assert not found["share_2_g_ignores"].any() and not found["share_3_g_ignores"].any()
    assert max(found["tv_d_ignores"].max(), found["tv_neither"].max()) < 0.04
    assert (found["read_both"] > 0.998).all()


def test_of_the_tables_what_is_said_of_a_blind_g_holds_beside_the_plain_game_of_its_loss() -> None:
    using, controls = ledger("labels_using"), ledger("labels_controls")
    for blind, table, plain in (
        ("g_ignores", using, "neither"),
        ("g_ignores_minimax", controls, "plain_minimax"),
    ):
        for key, sign in (("tv", 1), ("right", -1), ("read", 1)):
            assert (sign * (using[f"{key}_{blind}"] - table[f"{key}_{plain}"]) > 0).all()
    assert (using["w2_g_ignores"] < using["w2_neither"]).all()
    assert (using["w2_g_ignores_minimax"] > controls["w2_plain_minimax"]).sum() == 60


def test_of_the_tables_it_is_the_wrong_labels_that_narrow() -> None:
    swapped, overlapping, controls = (
        ledger(f"labels_{name}") for name in ("swapped", "overlapping", "controls")
    )
    for name in ("again", "own"):
        assert (swapped["sd_overlap"] < controls[f"sd_{name}_overlap"]).all()
        assert 30 < (controls[f"sd_{name}_overlap"] > overlapping["sd_projection"]).sum() < 36
    assert (controls["w2_own_islands"] < swapped["w2_islands"]).sum() == 32


def test_of_the_tables_codes_need_equal_shares_and_a_reward() -> None:
    found = ledger("labels_coded")
    assert [(found[f"named_{name}"] == 4).sum().item() for name in ("even", "unread", "uneven")] == [49, 0, 0]
    assert found["bits_unread"].max() < 0.011 and found["bits_even"].min() > 1


def test_of_the_tables_codes_tell_more_than_right_shares_let_them() -> None:
    """The bits are convex in the joint table, so the most is at a corner: seven cells at most are not 0."""
    codes, shares = torch.full((4,), 0.25).double(), torch.tensor(chapter.ISLANDS.shares).double()
    sums = torch.cat([torch.eye(4).repeat_interleave(4, 1), torch.eye(4).repeat(1, 4)])[:7].double()
    trees = torch.tensor([*itertools.combinations(range(16), 7)])
    square = sums[:, trees].movedim(1, 0)
    trees, square = trees[square.det().abs() > 0.5], square[square.det().abs() > 0.5]
    cells = torch.linalg.solve(square, torch.cat([codes, shares])[:7])
    trees, cells = trees[(cells > -1e-9).all(1)], cells[(cells > -1e-9).all(1)].clamp(min=0)
    alone = (codes[:, None] * shares).flatten()[trees]
    most = (torch.xlogy(cells, cells / alone).sum(1) / math.log(2)).max().item()
    assert most == pytest.approx(1.423, abs=5e-4)
    found = ledger("labels_coded")
    more = found["bits_uneven"] > most
    assert more.sum() == 43 and found["bits_uneven"][more].min() > most + 0.02
    assert (found["named_uneven"] == 3).sum() == 41 and more[found["named_uneven"] == 3].all()
    assert found["tv_uneven"][more].min() > 0.04


# The chapter

CHAPTER = Chapter("labels")


def written(*names: str, **given: Any) -> dict[str, Any]:
    return CHAPTER.define(*names, **given)


@pytest.mark.parametrize(
    ("nth", "made"),
    [
        (0, lambda: chapter.original()),
        (1, lambda: chapter.changed("auxiliary", chapter.OVERLAP)),
        (2, lambda: chapter.changed("twin", chapter.OVERLAP)),
        (3, lambda: chapter.changed("codes", chapter.EVEN, codes=4)),
    ],
)
def test_the_chapter_trains_by_the_recipes_of_the_package(nth: int, made: Any) -> None:
    assert_trains_by(made(), CHAPTER.train("played", nth))


def test_the_chapter_reads_as_the_package_does() -> None:
    logits, y = numbers(2, 6, 3), torch.arange(12).view(2, 6) % 3
    torch.testing.assert_close(written("misread")["misread"](logits, y), misread(logits, y))

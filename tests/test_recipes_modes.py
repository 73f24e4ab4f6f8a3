"""The recipes of modes are those that they say they are, and what is counted of them is right."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_helpers import Ensemble, History, Stream
from gan_helpers.losses import minimax_d, non_saturating_g, relativistic_d, relativistic_g
from gan_helpers.mode_metrics import count_modes
from gan_helpers.models import Maxout, MinibatchDiscrimination, pack
from gan_helpers.options import Turns
from gan_helpers.penalties import r1, r2
from gan_helpers.recipes import Recipe, combinations
from gan_helpers.recipes import modes as chapter
from gan_helpers.tables import ledger
from tests.chapters import Chapter, assert_trains_by
from tests.plain_gan import numbers


def batch(recipe: Recipe) -> tuple[Ensemble, Ensemble, Tensor, Tensor]:
    """Players of two seeds, and eight samples and inputs for each."""
    G, D = recipe.networks(2, seed=3, device="cpu")
    return G, D, numbers(2, 8, 2).float(), numbers(2, 8, 2, seed=1).float()


def numbers_of(optimiser: torch.optim.Optimizer) -> tuple[Any, ...]:
    (group,) = optimiser.param_groups
    return group["lr"], group["betas"], "fades over" in optimiser.defaults


# Small networks


def test_the_original_is_the_plain_game() -> None:
    recipe = chapter.original()
    G, D, x, z = batch(recipe)
    assert (recipe.steps, recipe.batch, recipe.options) == (3_000, 64, {})
    assert numbers_of(recipe.d_opt(D)) == numbers_of(recipe.g_opt(G)) == (1e-3, (0.8, 0.999), False)
    torch.testing.assert_close(recipe.d_loss(G, D, x, z), minimax_d(D(x), D(G(z))))
    torch.testing.assert_close(recipe.g_loss(G, D, x, z), non_saturating_g(D(G(z))))


def test_the_repair_makes_each_of_its_changes() -> None:
    recipe = chapter.repaired()
    G, D, x, z = batch(recipe)
    assert numbers_of(recipe.d_opt(D)) == numbers_of(recipe.g_opt(G)) == (3e-3, (0.0, 0.99), True)
    slopes = 0.1 / 2 * (r1(D, x) + r2(D, G(z)))
    torch.testing.assert_close(recipe.d_loss(G, D, x, z), relativistic_d(D(x), D(G(z))) + slopes)
    torch.testing.assert_close(recipe.g_loss(G, D, x, z), relativistic_g(D(x), D(G(z))))
    torch.testing.assert_close(G(z), chapter.original().networks(2, seed=3, device="cpu")[0](5 * z))


@pytest.mark.parametrize("name", chapter.CHANGES)
def test_a_change_alone_leaves_all_else_as_it_was(name: str) -> None:
    one, plain = chapter.changed(name), chapter.original()
    G, D, x, z = batch(one)
    assert (one.steps, one.batch, one.data) == (plain.steps, plain.batch, plain.data)
    made = chapter.original().networks(2, seed=3, device="cpu")[0]
    same = {
        "pairs": torch.equal(one.g_loss(G, D, x, z), plain.g_loss(G, D, x, z)),
        "slopes": torch.allclose(
            one.d_loss(G, D, x, z),
            (relativistic_d if name == "pairs" else minimax_d)(D(x), D(G(z))),
        ),
        "betas": one.d_opt(D).param_groups[0]["betas"] == (0.8, 0.999),
        "rate": "fades over" not in one.g_opt(G).defaults,
        "noise": torch.equal(G(z), made(z)),
    }
    assert [change for change, kept in same.items() if not kept] == [name]


def test_changes_are_named() -> None:
    with pytest.raises(ValueError, match="names must be among pairs, .*, not 'lambda'"):
        chapter.changed("lambda")


@pytest.mark.parametrize("m", [2, 4])
def test_packs_are_made_of_as_many_samples(m: int) -> None:
    recipe = chapter.packed(m)
    G, D, x, z = batch(recipe)
    assert recipe.batch == 64 and D(pack(x, m)).shape == (2, 8 // m, 1)
    torch.testing.assert_close(recipe.d_loss(G, D, x, z), minimax_d(D(pack(x, m)), D(pack(G(z), m))))
    torch.testing.assert_close(recipe.g_loss(G, D, x, z), non_saturating_g(D(pack(G(z), m))))


def test_company_and_its_control_take_as_many_products() -> None:
    judges = [chapter.in_company().D(), chapter.wide().D()]
    assert isinstance(judges[0], nn.Sequential) and isinstance(judges[0][4], MinibatchDiscrimination)
    linear = [sum(layer.weight.numel() for layer in judge.modules() if isinstance(layer, nn.Linear))
              for judge in judges]  # fmt: skip
    pairs = 64 * 24  # differences for each sample of a batch of 64
    assert linear[1] == pytest.approx(linear[0] + pairs, rel=0.02)


def test_who_looks_ahead_and_who_waits_take_as_many_steps_of_d() -> None:
    assert chapter.five_steps().options == {"turns": Turns(d_steps=5)}
    recipe = chapter.ahead()
    G, D, x, z = batch(recipe)
    before = [w.clone() for w in D.parameters()]
    seen = recipe.g_loss(G, D, x, z)
    assert all(torch.equal(a, b) for a, b in zip(before, D.parameters(), strict=True))
    for _ in range(5):
        slopes = torch.autograd.grad(minimax_d(D(x), D(G(z))).sum(), list(D.parameters()))
        with torch.no_grad():
            for w, slope in zip(D.parameters(), slopes, strict=True):
                w -= 0.1 * slope
    torch.testing.assert_close(seen, non_saturating_g(D(G(z))))


# The paper's networks


def test_the_networks_are_those_of_the_paper() -> None:
    G, D = chapter.paper_generator(), chapter.paper_discriminator(4)
    shapes = [tuple(p.shape) for p in G.parameters()]
    wide = [(400, 400), (400,), (400,)]  # no bias before the normalisation, which has a scale and a shift
    assert shapes == [(400, 2), (400,), (400,), *wide, *wide, *wide, (2, 400), (2,)]
    pieces = [layer for layer in D.modules() if isinstance(layer, Maxout)]
    assert [(m.linear.in_features, m.out_features, m.pieces) for m in pieces] == [
        (8, 200, 5), (200, 200, 5), (200, 200, 5)]  # fmt: skip
    for network in (G, D):
        for layer in network.modules():
            if isinstance(layer, nn.Linear) and layer.weight.numel() > 2_000:
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
                assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize("m", [1, 2])
def test_the_game_is_that_of_the_paper(m: int) -> None:
    recipe = chapter.pacgan(m)
    G, D, x, z = batch(recipe)
    assert (recipe.batch, recipe.options) == (100 * m, {"turns": Turns(simultaneous=True)})
    assert numbers_of(recipe.d_opt(D)) == numbers_of(recipe.g_opt(G)) == (1e-4, (0.8, 0.999), False)
    real, fake = pack(x, m), pack(G(z), m)
    torch.testing.assert_close(recipe.d_loss(G, D, x, z), minimax_d(D(real), D(fake)))
    torch.testing.assert_close(recipe.g_loss(G, D, x, z), non_saturating_g(D(fake)))


def test_the_repair_of_the_papers_game_changes_losses_and_momentum_alone() -> None:
    recipe, plain = chapter.pacgan(repair=True), chapter.pacgan()
    G, D, x, z = batch(recipe)
    assert (recipe.batch, recipe.options, recipe.steps) == (plain.batch, plain.options, plain.steps)
    assert numbers_of(recipe.d_opt(D)) == (1e-4, (0.0, 0.999), False)
    fake = G(z)
    expected = relativistic_d(D(x), D(fake)) + 0.1 / 2 * (r1(D, x) + r2(D, fake))
    torch.testing.assert_close(recipe.d_loss(G, D, x, z), expected)
    torch.testing.assert_close(recipe.g_loss(G, D, x, z), relativistic_g(D(x), D(fake)))


# What is counted


def test_fates_of_modes() -> None:
    # Four modes at looks 0, 500 and 600: never there, lost, back, and there all the time.
    each = torch.tensor([[[0, 3, 0, 1]], [[0, 2, 0, 9]], [[0, 0, 7, 4]]]).double()
    kept = History(torch.empty(0, 1), torch.empty(0, 1), torch.tensor([0, 500, 600]), {"each": each})
    fates = {name: values.item() for name, values in chapter.fates(kept).items()}
    assert fates == {"never": 1, "lost": 1, "missing": 2, "back": 1}
    kept.watched["near"] = torch.ones_like(each)
    assert not any(values.any() for values in chapter.fates(kept, "near").values())


def test_a_run_is_counted_at_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chapter, "EARLY", 4)
    recipe = replace(chapter.original(), steps=6)
    found = chapter.counted(recipe, 2, 5, told=(4, 6), every=2)
    G, D = recipe.networks(2, seed=5)
    recipe.train(G, D, seed=5)
    z = Stream("counting", 5).normal(2, 2_500, 2)
    counts = count_modes(G(z), chapter.RING)
    assert set(found) == {f"{m}_{s}" for m in ("modes", "high", "kl", "core") for s in (4, 6)} | {
        "never", "lost", "missing", "back"}  # fmt: skip
    for name, values in (("modes", counts.modes), ("high", counts.high_quality), ("kl", counts.reverse_kl)):
        torch.testing.assert_close(found[f"{name}_6"], values)
    near = (G(z)[:, :, None] - chapter.RING.means).norm(dim=3).amin(2) < chapter.RING.sd
    torch.testing.assert_close(found["core_6"], near.double().mean(1))


def test_the_coarse_count_is_of_samples_within_a_fifth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chapter, "EARLY", 4)
    recipe = replace(chapter.original(), steps=60)
    found = chapter.counted(recipe, 6, 5, told=(4, 60), every=4, coarse=True)
    plain = chapter.counted(recipe, 6, 5, told=(4, 60), every=4)
    assert all(torch.equal(found[name], values) for name, values in plain.items())
    fates = {f"{name}_near" for name in ("never", "lost", "missing", "back")}
    assert set(found) - set(plain) == {"near_4", "near_60"} | fates
    G, D = recipe.networks(6, seed=5)
    recipe.train(G, D, seed=5)
    x = G(Stream("counting", 5).normal(6, 2_500, 2))
    gaps = (x[:, :, None] - chapter.RING.means).norm(dim=3)
    visited = (gaps < 0.2).any(1).double().sum(1)
    assert visited.any() and not torch.equal(visited, found["modes_60"])
    torch.testing.assert_close(found["near_60"], visited)
    torch.testing.assert_close(found["never_near"] + found["lost_near"], 8 - visited)


def test_a_visit_is_to_one_mode() -> None:
    for target in (chapter.RING, chapter.GRID):
        assert torch.pdist(target.means).min() > 2 * chapter.NEAR


def test_real_samples_are_at_the_floors_that_theory_has_for_them() -> None:
    found = chapter.floor(40, 0)
    for name, k in (("ring", 8), ("grid", 25)):
        assert (found[f"modes_{name}"] == k).all()
        assert found[f"high_{name}"].mean().item() == pytest.approx(1 - math.exp(-4.5), abs=2e-3)
        assert found[f"kl_{name}"].mean().item() == pytest.approx((k - 1) / 5_000, rel=0.3)


def test_the_long_runs_on_the_grid_fade_over_all_their_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(chapter, "counted", lambda recipe, *rest: made.append((recipe, rest)))
    chapter.grid_long(2, 9)
    ((recipe, rest),) = made
    assert (recipe.data, recipe.steps) == (chapter.GRID, 12_000)
    assert rest == (2, 9, (3_000, 6_000, 9_000, 12_000), 500)
    assert recipe.d_opt(recipe.networks(1, seed=0)[1]).defaults["fades over"] == 12_000


def test_leaky_units_change_the_networks_alone() -> None:
    recipe, plain = chapter.leaky(), chapter.original()
    for network, last in ((recipe.G(), 2), (recipe.D(), 1)):
        assert isinstance(network, nn.Sequential)
        slopes = [layer.negative_slope for layer in network if isinstance(layer, nn.LeakyReLU)]
        sizes = [tuple(p.shape) for p in network.parameters() if p.dim() == 2]
        assert (slopes, sizes) == ([0.2, 0.2], [(64, 2), (64, 64), (last, 64)])
    G, D, x, z = batch(recipe)
    assert (recipe.steps, recipe.batch, recipe.data) == (plain.steps, plain.batch, plain.data)
    assert numbers_of(recipe.d_opt(D)) == numbers_of(plain.d_opt(D))
    torch.testing.assert_close(recipe.d_loss(G, D, x, z), minimax_d(D(x), D(G(z))))


def test_subsets_have_their_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(chapter, "changed", lambda *names: names)

    def counted(names: tuple[str, ...], seeds: int, seed: int) -> dict[str, Tensor]:
        asked.append((names, seeds, seed))
        return {"kl_3000": torch.zeros(seeds)}

    monkeypatch.setattr(chapter, "counted", counted)
    found = chapter.subsets(2, 9)
    assert set(found) == {"kl_3000_betas_rate", "kl_3000_betas_rate_noise"}
    assert asked == [(("betas", "rate"), 2, 9), (("betas", "rate", "noise"), 2, 9)]


def test_methods_have_their_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(recipe: Recipe, seeds: int, seed: int) -> dict[str, Tensor]:
        asked.append((recipe, seeds, seed))
        return {"kl_3000": torch.zeros(seeds)}

    monkeypatch.setattr(chapter, "counted", counted)
    assert set(chapter.methods(chapter.METHODS, 2, 9)) == {f"kl_3000_{name}" for name in chapter.METHODS}
    assert {ask[1:] for ask in asked} == {(2, 9)}


def test_controls_of_packing_have_as_many_answers_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Recipe] = []

    def counted(recipe: Recipe, seeds: int, seed: int) -> dict[str, Tensor]:
        asked.append(recipe)
        return {"kl_3000": torch.zeros(seeds)}

    monkeypatch.setattr(chapter, "counted", counted)
    assert set(chapter.methods(chapter.ANSWERS, 2, 9)) == {f"kl_3000_{name}" for name in chapter.ANSWERS}
    packs = {"few32": (32, 1), "few16": (16, 1), "many2": (64, 2), "many4": (64, 4)}
    for recipe, (name, (answers, size)) in zip(asked, packs.items(), strict=True):
        G, D = recipe.networks(2, seed=9, device="cpu")
        x, z = (draw(2, recipe.batch, Stream(name)) for draw in (recipe.data, recipe.noise))
        heard: list[Tensor] = []

        def hear(D: Ensemble, shown: Any, logits: Any, heard: list[Tensor] = heard) -> None:
            heard.extend(logits if isinstance(logits, tuple) else [logits])

        D.register_forward_hook(hear)
        recipe.d_loss(G, D, x, z)
        assert sum(logits.shape[1] for logits in heard) == 2 * answers  # of real ones and fakes
        assert recipe.batch == answers * size


# The tables


def test_real_samples_of_the_table_are_at_their_floors() -> None:
    found = ledger("modes_floor")
    for name, k in (("ring", 8), ("grid", 25)):
        assert (found[f"modes_{name}"] == k).all()
        assert found[f"high_{name}"].mean().item() == pytest.approx(1 - math.exp(-4.5), abs=1e-3)


def test_of_the_tables_the_repair_finds_all_modes_and_the_plain_game_none() -> None:
    apart, whole, plain = (ledger(f"modes_{name}") for name in ("apart", "repaired", "original"))
    assert {f"kl_3000_{way}" for way in combinations(tuple(chapter.CHANGES))} < set(apart)
    assert (apart["modes_3000_all"] == 8).all()
    good = whole["modes_3000"] == 8
    assert (len(good), good.sum()) == (300, 298)
    assert max(plain["modes_3000"].max(), apart["modes_3000_none"].max()) <= 1
    assert torch.equal(whole["missing"][good], whole["back"][good])


def test_of_the_tables_missing_modes_of_the_repair_are_near_and_those_of_the_plain_game_are_not() -> None:
    whole, plain = ledger("modes_repaired"), ledger("modes_original")
    collapsed = whole["missing_near"] > 0
    assert collapsed.sum() == 3 and (whole["near_3000"][~collapsed] == 8).all()
    assert whole["near_3000"][collapsed].tolist() == [8, 1, 1]
    assert plain["missing_near"].sum() > 0.9 * plain["missing"].sum()


def test_of_the_tables_adam_and_the_rate_need_the_noise() -> None:
    found = ledger("modes_subsets")
    assert (found["modes_3000_betas_rate_noise"] == 8).all()
    assert (found["modes_3000_betas_rate"] < 8).sum() == 10


def test_the_table_of_the_papers_networks_has_all_its_games() -> None:
    found = ledger("modes_paper")
    for name in chapter.PAPER:
        assert (found[f"modes_{chapter.PAPER_STEPS}_{name}"] == 8).all()


# The chapter

CHAPTER = Chapter("modes")


def written(*names: str, **given: Any) -> dict[str, Any]:
    return CHAPTER.define(*names, **given)


@pytest.mark.parametrize(("nth", "name"), [(0, "original"), (1, "repaired")])
def test_the_chapter_trains_by_the_recipes_of_the_package(nth: int, name: str) -> None:
    assert_trains_by(getattr(chapter, name)(), CHAPTER.train("train", nth))


def test_the_chapter_counts_as_the_package_does() -> None:
    x = chapter.RING(3, 500, Stream("counted", 1)) + 0.01 * numbers(3, 500, 2).float()
    x[1] += 5  # nothing sharp there
    found = written("counts")["counts"](x.double(), chapter.RING.means.double(), chapter.RING.sd)
    theirs = count_modes(x, chapter.RING)
    for one, other in zip(found, (theirs.modes, theirs.high_quality, theirs.reverse_kl), strict=True):
        torch.testing.assert_close(one.double(), other)


def test_packs_and_company_of_the_chapter_are_those_of_the_package() -> None:
    theirs, x = written("in_packs", "with_company"), numbers(2, 12, 2).float()
    for m in (1, 2, 3, 4):
        assert torch.equal(theirs["in_packs"](x, m), pack(x, m))
    layer = MinibatchDiscrimination(2, chapter.KERNELS, chapter.DIMENSIONS)
    T = layer.linear.weight.reshape(chapter.KERNELS, chapter.DIMENSIONS, 2)
    torch.testing.assert_close(theirs["with_company"](x[0], T), layer(x[0]))


def test_looking_ahead_in_the_chapter_is_that_of_the_package() -> None:
    recipe = chapter.ahead()
    G, D, x, z = batch(recipe)
    assert chapter.AHEAD == 5
    torch.testing.assert_close(written("look_ahead")["look_ahead"](G, D, x, z), recipe.g_loss(G, D, x, z))

"""The boxes are those of the papers, to the number, and what is measured of runs and critics is right."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_helpers import Ensemble, Stream, adam, dirac, metrics
from gan_helpers.divergences import mmd2, witness
from gan_helpers.losses import wasserstein_d
from gan_helpers.options import Turns
from gan_helpers.recipes import combinations, fifty_lines
from gan_helpers.recipes import distances as chapter
from gan_helpers.results import effect
from gan_helpers.tables import ledger
from tests.chapters import Chapter, assert_trains_by, weights
from tests.plain_gan import numbers

FEW = 6  # steps


def players(seeds: int = 2) -> tuple[Ensemble, Ensemble]:
    return chapter.original().networks(seeds, seed=3, device="cpu")


# The boxes


def test_the_first_box_is_that_of_the_paper() -> None:
    recipe = chapter.original()
    G, D = players()
    assert (recipe.batch, recipe.options) == (64, {"turns": Turns(d_steps=5)})
    for make, network in ((recipe.d_opt, D), (recipe.g_opt, G)):
        optimiser = make(network)
        assert type(optimiser) is torch.optim.RMSprop and optimiser.defaults["lr"] == 5e-5
    x, z = numbers(2, 4, 1).float(), numbers(2, 5, 1, seed=1).float()
    expected = D(G(z)).mean((1, 2)) - D(x).mean((1, 2))
    torch.testing.assert_close(recipe.d_loss(G, D, x, z), expected)
    torch.testing.assert_close(recipe.g_loss(G, D, x, z), -D(G(z)).mean((1, 2)))
    recipe.train(G, D, seed=0, steps=2)
    assert max(w.abs().max() for w in weights(D)) == pytest.approx(0.01)
    assert max(w.abs().max() for w in weights(G)) > 0.1


def test_the_second_box_is_that_of_the_paper() -> None:
    recipe = chapter.gradient_penalised()
    G, D = players()
    assert (recipe.batch, recipe.options) == (64, {"turns": Turns(d_steps=5)})
    for make, network in ((recipe.d_opt, D), (recipe.g_opt, G)):
        (group,) = make(network).param_groups
        assert (group["lr"], group["betas"]) == (1e-4, (0.0, 0.9)) and "clip" not in make(network).defaults
    x, z = numbers(2, 4, 1).float(), numbers(2, 4, 1, seed=1).float()
    u = Stream("D/dropout", 3).uniform(2, 4, 1)
    at = (u * x + (1 - u) * G(z)).detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(at).sum(), at)
    expected = D(G(z)).mean((1, 2)) - D(x).mean((1, 2)) + 10 * ((slope.abs() - 1) ** 2).mean((1, 2))
    torch.testing.assert_close(recipe.d_loss(G, D, x, z), expected)


@pytest.mark.parametrize("name", ["repaired", "one_sided", "with_r1_alone", "light"])
def test_the_others_differ_from_the_second_box_in_the_critics_loss_alone(name: str) -> None:
    recipe, box = getattr(chapter, name)(), chapter.gradient_penalised()
    assert (recipe.batch, recipe.options, recipe.steps) == (box.batch, box.options, box.steps)
    G, D = players()
    assert recipe.d_opt(D).defaults == box.d_opt(D).defaults
    x, z = numbers(2, 40, 1).float(), numbers(2, 40, 1, seed=1).float()
    u = Stream("D/dropout", 3).uniform(2, 40, 1)
    at = x if name == "with_r1_alone" else u * x + (1 - u) * G(z)
    at = at.detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(at).sum(), at)
    excess = slope.abs() - 1
    weight = 0.1 if name == "light" else 10
    cost = {"one_sided": excess.clamp(min=0), "light": excess}.get(name, slope)
    expected = D(G(z)).mean((1, 2)) - D(x).mean((1, 2)) + weight * (cost**2).mean((1, 2))
    torch.testing.assert_close(recipe.d_loss(G, D, x, z), expected)


def test_changes_are_named() -> None:
    with pytest.raises(ValueError, match="names must be among penalty, adam, target, not 'lambda'"):
        chapter.changed("lambda")
    only = chapter.changed("adam")
    assert only.d_loss is chapter.plain and only.d_opt(players()[1]).defaults["clip"] == 0.01


# What is measured of a run


class Straight(nn.Module):
    """A critic or a generator that is a straight line."""

    def __init__(self, slope: float, shift: float = 0.0) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)
        nn.init.constant_(self.line.weight, slope)
        nn.init.constant_(self.line.bias, shift)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.line(x)
        return out


def test_looks_tell_where_the_fakes_are_and_whom_the_critic_favours() -> None:
    G = Ensemble.of([Straight(2.0, 6.0), Straight(2.0, -1.0)], device="cpu")  # means 7 and 0
    D = Ensemble.of([Straight(1.0), Straight(1.0)], device="cpu")
    seen = chapter.looks(D)(G)
    torch.testing.assert_close(seen["mean"], torch.tensor([7.0, 0.0]).double())
    assert seen["favour"].tolist() == pytest.approx([-3.0, 4.0])
    torch.testing.assert_close(
        seen["distance"], metrics.w1(fifty_lines.quantile_samples(G, 1_000), chapter.REAL)
    )


def test_a_run_has_strayed_as_far_as_its_looks_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chapter, "EARLY", 50)
    recipe = replace(chapter.gradient_penalised(), steps=100)
    found = chapter.ended(recipe, 2, 5)
    G, D = recipe.networks(2, seed=5)
    history = recipe.train(G, D, seed=5, watch=chapter.looks(D))  # at 0 and at 100
    assert set(found) == {*fifty_lines.measure(G), "strays", "misled", "w1_early"}
    torch.testing.assert_close(found["w1"], fifty_lines.measure(G)["w1"])
    mean, favour = history.watched["mean"][-1], history.watched["favour"][-1]
    torch.testing.assert_close(found["strays"], (mean - 4).abs())
    assert found["misled"].tolist() == ((favour < 0) & ((mean - 4).abs() > 1)).double().tolist()


def test_paths_are_where_the_mean_fakes_of_both_boxes_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chapter, "changed", partial(chapter.changed, steps=100))
    found = chapter.paths(2, 5)
    boxes = {"none": chapter.original(), "without_target": chapter.gradient_penalised()}
    columns = ("mean_0", "mean_50", "mean_100", "furthest")
    assert set(found) == {f"{key}_{name}" for name in boxes for key in columns}
    for name, recipe in boxes.items():
        G, D = recipe.networks(2, seed=5)
        means = [fifty_lines.quantile_samples(G, 1_000).mean(1)]
        for steps in (50, 100):
            G, D = recipe.networks(2, seed=5)
            recipe.train(G, D, seed=5, steps=steps)
            means.append(fifty_lines.quantile_samples(G, 1_000).mean(1))
        for at, mean in zip((0, 50, 100), means, strict=True):
            torch.testing.assert_close(found[f"mean_{at}_{name}"], mean)
        torch.testing.assert_close(found[f"furthest_{name}"], (torch.stack(means) - 4).abs().amax(0))


def test_a_target_without_a_penalty_is_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []

    def ended(recipe: object, seeds: int, seed: int) -> dict[str, Tensor]:
        trained.append(recipe)
        return {"w1": torch.full((seeds,), float(len(trained)))}

    monkeypatch.setattr(chapter, "ended", ended)
    monkeypatch.setattr(chapter, "changed", lambda *names: names)
    columns = chapter.apart(2, 0)
    assert set(columns) == {f"w1_{name}" for name in combinations(tuple(chapter.CHANGES))}
    assert trained == [(), ("penalty",), ("adam",), ("penalty", "target"), ("penalty", "adam"),
                       ("penalty", "adam", "target")]  # fmt: skip
    assert torch.equal(columns["w1_only_target"], columns["w1_none"])
    assert torch.equal(columns["w1_without_penalty"], columns["w1_only_adam"])
    assert set(chapter.penalties({"one_sided": tuple, "r1": tuple}, 2, 0)) == {"w1_one_sided", "w1_r1"}
    assert chapter.LIGHT == {"light": chapter.light}


# Critics


def test_a_straight_critic_is_known_for_what_it_is() -> None:
    D = Ensemble.of([Straight(-0.5), Straight(2.0)], device="cpu")
    known = chapter.known(D)
    assert known["value"].tolist() == pytest.approx([0.5, -2.0], rel=1e-3)  # the means are 4 and 5
    assert known["steepest"].tolist() == pytest.approx([0.5, 2.0], rel=1e-3)
    # The true price rises from 4 + 1.25 t = 5 + 0.7 t on: at t = 1 / 0.55.
    turn = torch.tensor(4 + 1.25 / 0.55, dtype=torch.float64)
    falls = (chapter.REAL.cdf(turn) + chapter.FAKE.cdf(turn)).item() / 2
    assert known["agree"].tolist() == pytest.approx([falls, 1 - falls], abs=0.005)


def test_a_straight_critic_knows_nothing_of_fakes_with_the_mean_of_the_data() -> None:
    assert (chapter.NARROW.mean, chapter.NARROW.sd) == (4.0, 0.7)
    known = chapter.known(Ensemble.of([Straight(-0.5)], device="cpu"), chapter.NARROW)
    assert known["value"].tolist() == pytest.approx([0.0], abs=1e-5)
    assert known["agree"].tolist() == pytest.approx([0.5], abs=0.005)


def test_critics_learn_from_the_fakes_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, same, other = (
        weights(chapter.critic("normalised", 2, 1, steps=FEW, **asked))
        for asked in ({}, {"fakes": chapter.FAKE}, {"fakes": chapter.NARROW})
    )
    assert torch.equal(usual[0], same[0]) and not torch.equal(usual[0], other[0])
    monkeypatch.setattr(chapter, "critic", partial(chapter.critic, steps=FEW))
    for fakes in (chapter.FAKE, chapter.NARROW):
        found = chapter.critics(fakes, 2, 1)
        expected = chapter.known(chapter.critic("two_sided", 2, 1, fakes=fakes), fakes)
        assert len(found) == 12 and torch.equal(found["value_two_sided"], expected["value"])


@pytest.mark.parametrize("kind", chapter.CRITICS)
def test_critics_keep_to_their_rules_and_are_those_of_their_seed(kind: str) -> None:
    one, other = (chapter.critic(kind, 2, seed, steps=FEW) for seed in (1, 1))
    for a, b in zip(weights(one), weights(other), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(weights(one)[0], weights(chapter.critic(kind, 2, 2, steps=FEW))[0])
    largest = max(w.abs().max() for w in one.parameters())
    assert (largest <= 0.1) == (kind == "clipped")
    found = chapter.known(one)
    assert (found["value"] <= 1.0151 * found["steepest"] + 1e-3).all()  # W1 is 1.0150: duality
    assert kind != "normalised" or (found["steepest"] < 1.2).all()


def test_there_are_no_other_kinds() -> None:
    with pytest.raises(ValueError, match="kind must be one of clipped, .*, not 'cut'"):
        chapter.critic("cut", 1)


# Kernels and games


def test_a_generator_alone_descends_the_kernel_distance_and_its_critic_stays() -> None:
    recipe = chapter.kernel((1.0,))
    G, D = recipe.networks(2, seed=1, device="cpu")
    before = [w.clone() for w in weights(D)]
    x, z = numbers(2, 8, 1).float(), numbers(2, 8, 1, seed=1).float()
    torch.testing.assert_close(recipe.g_loss(G, D, x, z), mmd2(x, G(z), (1.0,)))
    history = recipe.train(G, D, seed=1, steps=300, watch=fifty_lines.measure)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(D), strict=True))
    assert history.g_loss.shape == (300, 2) and history.at.tolist() == [0, 100, 200, 300]
    assert (history.watched["w1"][-1] < 0.5 * history.watched["w1"][0]).all()
    with pytest.raises(ValueError, match="steps must be at least 1"):
        recipe.train(G, D, steps=0)


def test_the_box_of_the_mmd_gan_is_that_of_the_paper() -> None:
    recipe = chapter.mmd_gan()
    G, D = recipe.networks(2, seed=3, device="cpu")
    assert (recipe.batch, recipe.steps, recipe.options) == (64, 2_000, {"turns": Turns(d_steps=5)})
    for make, network in ((recipe.d_opt, D), (recipe.g_opt, G)):
        optimiser = make(network)
        assert type(optimiser) is torch.optim.RMSprop and optimiser.defaults["lr"] == 5e-5
    x, z = 4 + numbers(2, 6, 1).float(), numbers(2, 5, 1, seed=1).float().abs()
    kept = [(out[..., :1], (out[..., 1:] - was) ** 2) for out, was in ((D(x), x), (D(G(z)), G(z)))]
    apart = mmd2(kept[0][0], kept[1][0], (1.0, 2.0, 4.0, 8.0, 16.0))
    lost = sum(squares.mean((1, 2)) for _, squares in kept)
    torch.testing.assert_close(recipe.d_loss(G, D, x, z), 8 * lost - apart)
    torch.testing.assert_close(recipe.g_loss(G, D, x, z), apart)
    member = D.member(0)
    torch.testing.assert_close(member(x[0])[:, 1:], member.decoder(member.encoder(x[0])))
    louder = chapter.louder()
    torch.testing.assert_close(louder.d_loss(G, D, x, z), 1e6 * recipe.d_loss(G, D, x, z))
    torch.testing.assert_close(louder.g_loss(G, D, x, z), 1e6 * apart)
    narrow = mmd2(kept[0][0], kept[1][0], (0.001, 0.002, 0.004, 0.008, 0.016))
    torch.testing.assert_close(chapter.fitted_widths().g_loss(G, D, x, z), narrow)
    recipe.train(G, D, seed=0, steps=2)
    assert max(w.abs().max() for w in weights(D)) == pytest.approx(0.01)


def test_without_a_decoder_the_features_learn_from_mmd_alone() -> None:
    widths, narrow = chapter.WIDTHS, tuple(width / 1_000 for width in chapter.WIDTHS)
    expected = {"alone": (widths, 1.0), "alone_fitted": (narrow, 1.0), "alone_louder": (widths, 1e6)}
    assert set(chapter.UNDECODED) == set(expected)
    box = chapter.mmd_gan()
    for name, (of_kernel, factor) in expected.items():
        recipe = chapter.UNDECODED[name]()
        assert (recipe.batch, recipe.steps, recipe.options) == (box.batch, box.steps, box.options)
        G, D = recipe.networks(2, seed=3, device="cpu")
        x, z = 4 + numbers(2, 6, 1).float(), numbers(2, 5, 1, seed=1).float().abs()
        apart = factor * mmd2(D(x)[..., :1], D(G(z))[..., :1], of_kernel)
        torch.testing.assert_close(recipe.d_loss(G, D, x, z), -apart)
        torch.testing.assert_close(recipe.g_loss(G, D, x, z), apart)
        recipe.train(G, D, seed=0, steps=2)
        assert max(w.abs().max() for w in weights(D)) == pytest.approx(0.01)


def test_a_held_witness_pays_for_its_slope_and_its_weights_are_not_cut() -> None:
    recipe, box = chapter.witness_held(), chapter.mmd_gan()
    G, D = recipe.networks(2, seed=3, device="cpu")
    x, z = 4 + numbers(2, 6, 1).float(), numbers(2, 6, 1, seed=1).float().abs()
    fake = G(z).detach()
    u = Stream("D/dropout", 3).uniform(2, 6, 1)
    at = (u * x + (1 - u) * fake).detach().requires_grad_()
    features = [D(t)[..., :1] for t in (at, x, fake)]
    (slope,) = torch.autograd.grad(witness(*features, chapter.WIDTHS).sum(), at, create_graph=True)
    expected = box.d_loss(G, D, x, z) + 10 * (slope.abs() - 1).square().mean((1, 2))
    found = recipe.d_loss(G, D, x, z)
    torch.testing.assert_close(found, expected)
    of_d = [*D.parameters()]
    slopes = [torch.autograd.grad(loss.sum(), of_d, retain_graph=True) for loss in (found, expected)]
    torch.testing.assert_close(*slopes)
    torch.testing.assert_close(recipe.g_loss(G, D, x, z), box.g_loss(G, D, x, z))
    recipe.train(G, D, seed=0, steps=2)
    assert min(w.abs().max() for w in weights(D)) > 0.02
    for made, network in ((recipe.d_opt, D), (recipe.g_opt, G), (chapter.clipped_adam().g_opt, G)):
        (group,) = made(network).param_groups
        assert (group["lr"], group["betas"]) == (1e-4, (0.0, 0.9))
    assert chapter.clipped_adam().d_opt(D).defaults["clip"] == 0.01


def test_a_free_decoder_is_not_cut_and_a_cut_one_can_say_no_number() -> None:
    for recipe, low, high in ((chapter.mmd_gan(), 0.0, 0.021), (chapter.free_decoder(), 0.05, math.inf)):
        G, D = recipe.networks(2, seed=3, device="cpu")
        recipe.train(G, D, seed=0, steps=2)
        said = D(torch.linspace(-10, 10, 201).expand(2, -1).unsqueeze(2))[..., 1].abs().amax(1)
        assert ((low < said) & (said < high)).all()
        cut = [w.abs().max().item() for name, w in D.named_parameters() if "encoder" in name]
        assert max(cut) == pytest.approx(0.01)


def test_early_runs_are_those_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chapter, "EARLY", FEW)
    found = chapter.early(2, 5)
    for name, recipe in (("none", chapter.original()), ("all", chapter.repaired())):
        G, D = recipe.networks(2, seed=5)
        far = [metrics.w1(fifty_lines.quantile_samples(G, 1_000), chapter.REAL)]
        recipe.train(G, D, seed=5, steps=FEW)
        far.append(metrics.w1(fifty_lines.quantile_samples(G, 1_000), chapter.REAL))
        torch.testing.assert_close(found[f"nearer_{name}"], far[0] - far[1])


def test_what_was_learned_is_measured_at_the_end() -> None:
    short = {name: replace(make(), steps=FEW) for name, make in chapter.LEARNED.items()}
    found = chapter.learned({name: lambda r=r: r for name, r in short.items()}, 2, 4)
    for name, recipe in short.items():
        G, D = recipe.networks(2, seed=4)
        recipe.train(G, D, seed=4)
        torch.testing.assert_close(found[f"w1_{name}"], fifty_lines.measure(G)["w1"])
        if name == "numbers":
            assert recipe.g_opt(G).defaults["lr"] == 5e-5 and "apart_numbers" not in found
            continue
        f = D(chapter.REAL.quantile(chapter.QUANTILES).float().expand(2, -1).unsqueeze(2))[..., 0].double()
        apart = (f.unsqueeze(2) - f.unsqueeze(1)).square().mean((1, 2)).sqrt()
        torch.testing.assert_close(found[f"apart_{name}"], apart, rtol=1e-4, atol=0)


def test_games_and_power_have_their_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chapter, "MOVES", 40)
    assert set(chapter.games(3, 0)) == {f"strays_{name}" for name in chapter.RULES}
    monkeypatch.setattr(chapter, "DIMENSIONS", (1, 3))
    found = chapter.power(6, 0)
    assert set(found) == {"p_1", "p_3", "cosine_1", "cosine_3"}
    assert (found["p_1"] < 0.05).all() and (found["cosine_1"] == 1).all()
    assert ((found["cosine_3"] > 0) & (found["cosine_3"] < 1)).all()


def test_learned_features_aim_better_than_before_and_the_mean_of_slopes_aims_as_the_means(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chapter, "DIMENSIONS", (1, 16))
    monkeypatch.setattr(chapter, "BATCHES", 60)
    found = chapter.aims(4, 0)
    assert set(found) == {f"{name}_16" for name in ("begun", "learned", "bare", "all")}
    assert (found["begun_16"] < found["bare_16"]).all()
    assert (found["bare_16"] < found["learned_16"]).all()
    n = 64 * 60  # samples of each bell: the means' aim, of which a single run may miss a little
    torch.testing.assert_close(found["all_16"], torch.full((4,), (1 + 2 * 16 / n) ** -0.5), rtol=0.01, atol=0)


# The tables


def test_the_table_of_games_says_what_the_theory_says() -> None:
    games = ledger("distances_games")
    assert games["strays_target_0"].max() < 1e-4
    assert games["strays_two_sided"].sub(20).abs().max() < 1e-3
    assert games["strays_clipped"].max() == pytest.approx(0.1, rel=0.01)
    assert games["strays_plain"].min() > 1
    assert games["strays_turns"].max() < math.sqrt(2) * 1.05


def test_no_critic_of_the_table_earns_more_than_its_slope_allows() -> None:
    critics = ledger("distances_critics")
    for kind in chapter.CRITICS:
        assert (critics[f"value_{kind}"] <= 1.0151 * critics[f"steepest_{kind}"] + 1e-3).all()


def test_of_the_boxes_of_the_table_one_comes_home_and_one_goes_astray() -> None:
    apart, others = ledger("distances_apart"), ledger("distances_penalties")
    home = [apart["w1_none"], apart["w1_all"], others["w1_one_sided"], others["w1_r1"]]
    assert max(w1.max() for w1 in home) < 1 < 3 < apart["w1_without_target"].min()
    assert apart["strays_without_target"].max() < 1.1 * dirac.stall(10.0)
    assert torch.equal(apart["w1_only_target"], apart["w1_none"])


def test_narrower_kernels_bring_the_mmd_gan_closer_and_louder_losses_do_not() -> None:
    learned = ledger("distances_learned")
    assert (learned["w1_fitted"] < learned["w1_box"]).all()
    louder = effect(learned["w1_box"], learned["w1_louder"], ratio=True)
    assert louder.low < 1 < louder.high
    unlearned = effect(learned["w1_numbers"], learned["w1_fitted"], ratio=True)
    assert unlearned.low < 1 < unlearned.high
    assert learned["mean_box"].sub(4).abs().max() < 0.05 and learned["sd_box"].max() < 0.75
    assert learned["apart_box"].max() < 0.0025


# The chapter

CHAPTER = Chapter("distances")
CPU = torch.device("cpu")
KINDS = {"clipped": "clipped", "two-sided": "two_sided", "one-sided": "one_sided", "normalised": "normalised"}


def written(*names: str) -> dict[str, Any]:
    return CHAPTER.define(*names, default_device=lambda: CPU)


def test_the_chapter_has_the_laws_changes_and_widths_of_the_package() -> None:
    theirs = written("R", "F", "I", "WIDTHS")
    laws = theirs["R"], theirs["F"], theirs["I"]
    assert laws == (chapter.REAL, chapter.FAKE, chapter.NOISE)
    assert theirs["WIDTHS"] == chapter.BANDWIDTHS["mixed"]


def earned(D: Ensemble, x: Tensor, fake: Tensor) -> Tensor:
    """The chapter's loss of a critic, in the order of calls of the package: it matters to the last bits."""
    return wasserstein_d(D(x), D(fake))


def test_the_loss_of_the_chapter_is_that_of_the_package() -> None:
    D, x, fake = players()[1], numbers(2, 5, 1).float(), numbers(2, 4, 1, seed=1).float()
    torch.testing.assert_close(written("critic_loss")["critic_loss"](D, x, fake), earned(D, x, fake))


@pytest.mark.parametrize("name", KINDS)
def test_critics_of_the_chapter_learn_as_those_of_the_package(name: str) -> None:
    names = ("learn", "rules", "critic", "normed_critic")
    theirs = CHAPTER.define(*names, default_device=lambda: CPU, critic_loss=earned)
    normed = name == "normalised"
    D = Ensemble(theirs["normed_critic" if normed else "critic"], 2, name="D", device="cpu")
    optimiser = adam(D, 1e-3, betas=(0.0, 0.9))
    if name == "clipped":
        optimiser = torch.optim.RMSprop(D.parameters(), 5e-4)
    theirs["learn"](D, optimiser, steps=FEW, **theirs["rules"][name])
    ours = chapter.critic(KINDS[name], 2, steps=FEW)
    for one, other in zip(ours.parameters(), D.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("nth", "name"), [(0, "original"), (1, "gradient_penalised"), (2, "repaired")])
def test_the_chapter_trains_by_the_recipes_of_the_package(nth: int, name: str) -> None:
    written = CHAPTER.train("train", nth, critic_loss=lambda D, x, fake: wasserstein_d(*D(x, fake)))
    assert_trains_by(replace(getattr(chapter, name)(), steps=chapter.EARLY), written)


def test_the_smallest_game_of_the_chapter_is_that_of_the_package() -> None:
    theirs, start = written("play"), torch.tensor([1.5, 0.5], dtype=torch.float64)
    for rule in ({}, {"clip": 1.0}, {"penalty": 1.5}, {"penalty": 1.5, "one_sided": True},
                 {"penalty": 0.25, "target": 0.0}):  # fmt: skip
        paths = [play(*start, 0.02, 60, **rule) for play in (dirac.play_wasserstein, theirs["play"])]
        torch.testing.assert_close(*paths)


def test_the_kernel_loss_of_the_chapter_is_that_of_the_package() -> None:
    x, fake = numbers(2, 5, 1), numbers(2, 5, 1, seed=1)
    theirs = written("mmd_loss")["mmd_loss"](x, fake)
    torch.testing.assert_close(theirs, mmd2(x, fake, chapter.BANDWIDTHS["mixed"]))


def test_the_third_box_of_the_chapter_is_that_of_the_package() -> None:
    theirs, recipe = written("critic", "Coder", "box_3_g", "box_3_d"), chapter.mmd_gan()
    (G, D), mine = recipe.networks(2, seed=3, device="cpu"), theirs["Coder"]
    written_down = Ensemble(mine, 2, name="D", seed=3, device="cpu")
    x, z = numbers(2, 6, 1).float(), numbers(2, 5, 1, seed=1).float().abs()
    for name, loss in (("box_3_d", recipe.d_loss), ("box_3_g", recipe.g_loss)):
        torch.testing.assert_close(theirs[name](G, written_down, x, z), loss(G, D, x, z))


def test_the_page_says_of_learned_kernels_what_the_tables_say() -> None:
    learned = ledger("distances_learned") | ledger("distances_held") | ledger("distances_undecoded")
    text = "\n".join(cell.source for cell in CHAPTER.notebook.cells)
    for before, after in (("box", "louder"), ("box", "fitted"), ("numbers", "fitted"), ("box", "free"),
                          ("box", "adam"), ("adam", "witness"), ("numbers_adam", "witness"),
                          ("box", "alone"), ("louder", "alone_louder"), ("alone", "alone_louder"),
                          ("fitted", "alone_fitted"), ("alone_louder", "alone_fitted"),
                          ("numbers", "alone_fitted")):  # fmt: skip
        found = effect(learned[f"w1_{before}"], learned[f"w1_{after}"], ratio=True)
        assert f"× {found.median:.2f} ({found.low:.2f} to {found.high:.2f})" in text

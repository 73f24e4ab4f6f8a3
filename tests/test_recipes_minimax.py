"""The chapter on theory measures what the package measures, and the measurements are right where known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn.functional import softplus

from gan_helpers import Ensemble, Stream, Watch, dirac
from gan_helpers.data import Normal, Uniform
from gan_helpers.losses import minimax_d, minimax_g, non_saturating_g
from gan_helpers.metrics import jsd
from gan_helpers.models import mlp
from gan_helpers.recipes import minimax
from tests.chapters import Chapter, weights

CHAPTER = Chapter("minimax")
CPU = torch.device("cpu")


def written(*names: str) -> dict[str, Any]:
    return CHAPTER.define(*names, default_device=lambda: CPU)


def test_the_chapter_has_the_laws_and_looks_of_the_package() -> None:
    theirs = written("R", "F", "looks")
    assert (theirs["R"], theirs["F"], theirs["looks"]) == (minimax.REAL, minimax.FAKE, minimax.LOOKS)


@pytest.mark.parametrize(
    ("name", "law", "network"),
    [
        ("original", minimax.FAKE, "discriminator"),
        ("far", Uniform(-5.0, -3.0), "wide_discriminator"),  # drawn at once, and not by a generator
    ],
)
def test_the_chapter_learns_by_the_recipe_of_the_package(name: str, law: Any, network: str) -> None:
    recipe, theirs = getattr(minimax, name)(), written("learn", network)
    G, D = recipe.networks(2, device="cpu")
    seen: list[int] = []
    history = recipe.train(G, D, steps=5, watch=Watch(lambda _: {"D": weights(D)[-1].clone()}, every=2))
    other = Ensemble(theirs[network], 2, name="D", device="cpu")
    theirs["learn"](other, minimax.REAL, law, steps=5, look=seen.append)
    assert seen == [0, 1, 2, 3, 4, 5] and history.at.tolist() == [0, 2, 4, 5]
    assert history.d_loss.shape == (5, 2) and not torch.equal(*history.watched["D"][:2])
    for one, another in zip(weights(D), weights(other), strict=True):
        assert torch.equal(one, another)
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        recipe.train(G, D, steps=0)


def test_the_pulls_and_the_logits_are_the_same() -> None:
    G, D = minimax.far().networks(2, seed=3, device="cpu")
    theirs = written("pulls", "logits")
    z = Stream("z", 0).uniform(2, 20, 1)
    torch.testing.assert_close(torch.stack(minimax.pulls(G, D, z)), theirs["pulls"](G, D, z))
    x = torch.linspace(-1, 1, 7, dtype=torch.float64)
    assert torch.equal(minimax.logits(D, x), theirs["logits"](D, x))


def test_the_dirac_games_and_the_largest_steps_are_the_same() -> None:
    theirs, start = written("play", "largest_step"), torch.tensor([1.0, 0.5], dtype=torch.float64)
    for game in ({}, {"non_saturating": True}, {"gamma": 0.5}, {"alternating": True}):
        paths = [play(*start, 0.2, 30, **game) for play in (dirac.play, theirs["play"])]
        torch.testing.assert_close(*paths)
    for gamma in (0.0, 0.5, 1.0, 2.0):
        assert dirac.largest_step(gamma) == pytest.approx(theirs["largest_step"](gamma))


class Parabola(nn.Module):
    """The best logit for `REAL` and `FAKE`, shifted, as a network of one layer."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = nn.Linear(1, 1)
        nn.init.zeros_(self.shift.weight)
        nn.init.constant_(self.shift.bias, shift)

    def forward(self, x: Tensor) -> Tensor:
        best = -0.5 * ((x - 4.0) / 1.25) ** 2 + 0.5 * ((x - 5.0) / 0.7) ** 2 - math.log(1.25 / 0.7)
        return best + self.shift(x)


def test_the_best_discriminator_is_measured_as_the_best() -> None:
    measured = minimax.measure(Ensemble.of([Parabola(0.0)], device="cpu"))
    for name, gap in measured.items():
        assert gap.shape == (1,)
        assert abs(gap.item()) < 1e-3 if name == "logit_gap" else abs(gap.item()) < 1e-5, name


def test_a_shifted_discriminator_is_measured_as_worse() -> None:
    measured = minimax.measure(Ensemble.of([Parabola(0.5), Parabola(-1.0)], device="cpu"))
    torch.testing.assert_close(measured["logit_gap"], torch.tensor([0.5, 1.0]).double(), atol=1e-3, rtol=0)
    assert measured["largest_gap"][1].item() == pytest.approx(0.2449, abs=1e-3)  # tanh(1/4), halfway
    between = torch.linspace(-6, 14, 40_001, dtype=torch.float64).unsqueeze(1)
    p, q = minimax.REAL.density(between), minimax.FAKE.density(between)
    for k, shift in enumerate((0.5, -1.0)):
        gap = (((p / q).log() + shift).sigmoid() - p / (p + q)).abs()
        mean = (gap.nan_to_num() * (p + q) / 2).sum() * 20 / 40_000
        assert measured["mean_gap"][k].item() == pytest.approx(mean.item(), rel=1e-3)
    for name in ("mean_gap", "value_gap", "accuracy_gap"):
        assert (measured[name] > 0).all() and measured[name][1] > measured[name][0], name


def test_the_value_of_a_constant_answer_lacks_all_of_the_divergence() -> None:
    ignorant = nn.Linear(1, 1)
    nn.init.zeros_(ignorant.weight)
    nn.init.zeros_(ignorant.bias)
    measured = minimax.measure(Ensemble.of([ignorant], device="cpu"))
    divergence = jsd(minimax.REAL.density, minimax.FAKE.density, -6, 14)
    assert measured["value_gap"].item() == pytest.approx(2 * divergence, abs=1e-8)
    # It says fake to everything, so it is right half of the time; the best one is so 1/2 + TV/2 of the time.
    between = torch.linspace(-6, 14, 400_001, dtype=torch.float64).unsqueeze(1)
    areas = (minimax.REAL.density(between) - minimax.FAKE.density(between)).abs().sum() * 20 / 400_000
    assert measured["accuracy_gap"].item() == pytest.approx(areas.item() / 4, abs=1e-4)


def test_learning_lowers_the_loss_of_D() -> None:
    recipe = replace(minimax.original(), D=lambda: mlp(1, 8, 1), noise=Normal(1.0, 0.5), steps=100)
    G, D = recipe.networks(2, seed=0, device="cpu")
    x, fake = recipe.data(2, 2_000, Stream("x", 0)), recipe.noise(2, 2_000, Stream("fake", 0))
    before = minimax_d(*D(x, fake))
    recipe.train(G, D, seed=0)
    assert (minimax_d(*D(x, fake)) < before - 0.1).all()


def test_pulls_are_the_gradient_norms_of_each_network_alone() -> None:
    G = Ensemble(lambda: mlp(1, 4, 1), 3, name="G", seed=0, device="cpu")
    D = Ensemble(lambda: mlp(1, 4, 1), 3, name="D", seed=0, device="cpu")
    z = Stream("z", 0).uniform(3, 20, 1)
    norms = minimax.pulls(G, D, z)
    for k in range(3):
        g, d = G.member(k), D.member(k)
        for norm, loss in zip(norms, (minimax_g, non_saturating_g), strict=True):
            g.zero_grad()
            loss(d(g(z[k])).unsqueeze(0)).sum().backward()
            alone = torch.cat([p.grad.flatten() for p in g.parameters() if p.grad is not None]).norm()
            torch.testing.assert_close(norm[k], alone)


def test_a_run_of_the_tables_has_its_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    short = {name: replace(getattr(minimax, name)(), steps=25) for name in ("original", "far")}
    for name, recipe in short.items():
        monkeypatch.setattr(minimax, name, lambda recipe=recipe: recipe)
    monkeypatch.setattr(minimax, "LOOKS", (0, 20))
    assert {column.shape for column in minimax.discriminators(2, 5).values()} == {(2,)}
    columns = minimax.gradients(2, 5)
    assert list(columns) == ["saturating_0", "non_saturating_0", "saturating_20", "non_saturating_20"]
    # By hand: what the pulls are before the first step, and that they change.
    G, D = short["far"].networks(2, seed=5)
    z = ((torch.arange(500) + 0.5) / 500).expand(2, -1).unsqueeze(2).to(next(D.parameters()))
    torch.testing.assert_close(columns["saturating_0"], minimax.pulls(G, D, z)[0])
    assert (columns["saturating_20"] != columns["saturating_0"]).all()


def test_how_likely_plain_draws_are_to_be_off() -> None:
    edges, rng = np.linspace(1, 7, 25), np.random.default_rng(0)
    inside = np.diff([stats.norm(law.mean, law.sd).cdf(edges) for law in (minimax.REAL, minimax.FAKE)])
    real, fake = (rng.binomial(400_000, share, (500, 24)) for share in inside)
    off = np.abs(real / (real + fake) - inside[0] / inside.sum(0)).max(1)
    for bound in (0.008, 0.012):
        assert 0.8 * (off > bound).mean() < minimax.share_off(bound) < 2 * (off > bound).mean()

    x, fakes = (law(1, 400_000, Stream("draws")).double() for law in (minimax.REAL, minimax.FAKE))
    variances = [softplus(4 - x).var(), softplus(fakes - 4).var()]
    error = (sum(variances) / 400_000).sqrt().item()
    assert minimax.value_off(2 * error) == pytest.approx(0.0455, rel=0.03)
    assert minimax.share_off(-1.0) == minimax.value_off(-1.0) == 1.0


def test_a_game_with_a_change_differs_in_that_alone() -> None:
    plain = minimax.game()
    assert plain == minimax.Game(
        0.01,
        {"gamma": 0.0, "beta1": 0.9, "alternating": False, "non_saturating": False, "d_speed": 1.0},
        averaged=False,
    )
    for change in minimax.CHANGES:
        other = minimax.game(change)
        differ = [name for name, value in plain.rule.items() if other.rule[name] != value]
        assert len(differ) + (other.step != plain.step) + other.averaged == 1
    assert minimax.game("r1").rule["gamma"] == 0.5 and minimax.game("slower").step == 0.0025


def test_strays_are_the_largest_distances_of_the_last_quarter() -> None:
    start = Stream("starts", 3).uniform(2, 4, low=-1.0, high=1.0).double()
    theta = dirac.play_adam(*start, 0.01, 4_000, gamma=0.5)[:, 0]
    assert torch.equal(minimax.strays(minimax.game("r1"), 4, 3)["strays"], theta[3_001:].abs().amax(0))
    kept, most = theta[0].clone(), torch.zeros(4)
    for t in range(1, 4_001):
        decay = min(0.999, (1 + t) / (10 + t))
        kept = decay * kept + (1 - decay) * theta[t]
        most = torch.maximum(most, kept.abs()) if t > 3_000 else most
    torch.testing.assert_close(minimax.strays(minimax.game("r1", "ema"), 4, 3)["strays"], most.double())


def test_games_have_the_growth_and_the_strays_of_their_paths() -> None:
    columns = minimax.games(3, 2)
    start = Stream("starts", 2).uniform(2, 3, low=-1.0, high=1.0).double()
    path = dirac.play(*start, 0.2, 2_000, gamma=0.5)
    assert torch.equal(columns["strays_r1"], path[1_501:, 0].abs().amax(0))
    for name, rule in minimax.RULES.items():
        wanted = dirac.growth(**{"step": minimax.STEP, **rule})
        assert columns[f"growth_{name}"].tolist() == pytest.approx([wanted] * 3, rel=0.004), name
    assert columns["strays_fitted"].tolist() == pytest.approx((start[0].abs() * 0.8**1_501).tolist())
    assert (columns["strays_average"] > 1).all()


def test_how_likely_two_accuracies_are_to_add_up_wrongly() -> None:
    rng = np.random.default_rng(0)
    sums = (rng.binomial(20_000, 0.5, (2_000, 2)) / 20_000).sum(1) - 1
    off = (np.abs(sums) > 0.009).mean()  # one threshold, and no allowance
    assert minimax.sum_off(0.010) == pytest.approx(3 * off, rel=0.2)
    assert minimax.sum_off(0.03) < 1e-7 and minimax.sum_off(0.0) == 1.0


def test_pairs_are_the_games_with_two_changes_from_the_starts_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(minimax, "CHANGES", {name: "" for name in ("r1", "ema", "faster_d")})
    columns = minimax.pairs(3, 4)
    assert list(columns) == ["first", "strays_r1_ema", "strays_r1_faster_d", "strays_ema_faster_d"]
    theta, psi = Stream("starts", 4).uniform(2, 3, low=-1.0, high=1.0).double()
    assert torch.equal(columns["first"], theta.abs())
    path = dirac.play_adam(theta, psi, 0.01, 4_000, gamma=0.5, d_speed=4.0)[:, 0]
    assert torch.equal(columns["strays_r1_faster_d"], path[3_001:].abs().amax(0))


def test_how_likely_too_many_controls_are_below_a_twentieth() -> None:
    rng = np.random.default_rng(0)
    right = rng.binomial(1_000, 0.5, (4_000, 2_000))
    share = (stats.binom.sf(right - 1, 1_000, 0.5) < 0.05).mean(1)
    for bound in (0.045, 0.052):
        assert minimax.false_alarms(bound) == pytest.approx((share >= bound).mean(), rel=0.1)
    assert minimax.false_alarms(0.07) < 3e-6 and minimax.false_alarms(0.0) == 1.0


def test_how_likely_too_few_controls_are_below_a_twentieth() -> None:
    rng = np.random.default_rng(1)
    right = rng.binomial(500, 0.65, (4_000, 2_000)) + rng.binomial(500, 0.35, (4_000, 2_000))
    share = (stats.binom.sf(right - 1, 1_000, 0.5) < 0.05).mean(1)
    for bound in (0.035, 0.04):
        assert minimax.too_few_alarms(bound) == pytest.approx((share <= bound).mean(), rel=0.1)
    assert minimax.too_few_alarms(0.02) < 1e-6 and minimax.too_few_alarms(1.0) == 1.0

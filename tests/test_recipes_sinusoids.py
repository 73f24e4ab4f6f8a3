"""The recipe of the sinusoids: its parts against formulas and SciPy, and against the chapter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gan_helpers import Ensemble, Stream
from gan_helpers.albums import album
from gan_helpers.recipes import sinusoids
from gan_helpers.tables import ledger
from tests.chapters import Chapter, assert_trains_by

CHAPTER = Chapter("sinusoids")
T = sinusoids.REAL.positions.double()


def waves(b: Tensor, c: Tensor) -> Tensor:
    return torch.sin(b.unsqueeze(-1) * T + c.unsqueeze(-1))


@pytest.fixture
def rng() -> Stream:
    return Stream("tests of sinusoids", seed=5)


def test_the_best_sinusoid_of_a_sinusoid_is_itself(rng: Stream) -> None:
    b = rng.uniform(3, 200, low=0.3, high=3.9).double()
    c = rng.uniform(3, 200, low=-3.1, high=3.1).double()
    fit = sinusoids.best_sinusoid(waves(b, c), T)
    assert fit.b.shape == fit.c.shape == fit.residual.shape == (3, 200)
    torch.testing.assert_close(fit.b, b, atol=1e-8, rtol=0)
    torch.testing.assert_close(fit.c, c, atol=1e-8, rtol=0)
    assert fit.residual.max() < 1e-8


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest result of an operation has."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.numbers = max(self.numbers, made.numel())
        return made


def test_twice_as_many_curves_need_no_larger_tensors(rng: Stream) -> None:
    curves = sinusoids.REAL(1, 2_000, rng)
    found = []
    for n in (1_000, 2_000):
        with Largest() as largest:
            sinusoids.best_sinusoid(curves[:, :n], T)
        found.append(largest.numbers)
    assert found[0] == found[1]


def test_no_other_search_finds_a_closer_sinusoid(rng: Stream) -> None:
    b, c = rng.uniform(12, low=0.5, high=2.0).double(), rng.uniform(12, low=1.0, high=3.0).double()
    curves = (waves(b, c) + 0.5 * rng.normal(12, 64).double()).clamp(-1, 1)
    fit = sinusoids.best_sinusoid(curves, T)
    places = torch.cartesian_prod(torch.linspace(0.25, 4, 301), torch.linspace(-3.1, 3.1, 126)).double()
    tried = waves(*places.T)
    for y, residual in zip(curves, fit.residual, strict=True):
        start = places[(tried - y).square().sum(1).argmin()]
        gap = lambda at, y=y: np.sin(at[0] * T.numpy() + at[1]) - y.numpy()  # noqa: E731
        cost = least_squares(gap, start, bounds=([0.25, -9], [4, 9])).cost
        assert residual.item() <= math.sqrt(2 * cost / 64) + 1e-5


def test_the_residual_of_a_flat_line_is_the_size_of_the_slowest_wave() -> None:
    fit = sinusoids.best_sinusoid(torch.zeros(1, 64), T)
    slowest = waves(torch.tensor([0.25], dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    assert fit.b.item() == pytest.approx(0.25)
    assert fit.residual.item() == pytest.approx(slowest.square().mean().sqrt().item())


@pytest.mark.parametrize(
    ("curves", "options", "error", "words"),
    [
        (torch.zeros(2, 63), {}, ValueError, "curves must have 64 points each.*63"),
        (torch.full((1, 64), math.nan), {}, ValueError, "curves holds 64 values that are not finite"),
        (torch.zeros(1, 64, dtype=torch.long), {}, TypeError, "curves must hold floating-point"),
        (torch.zeros(1, 64), {"low": 2.0, "high": 1.0}, ValueError, "high must be greater than 2"),
        (torch.zeros(1, 64), {"low": 0.0}, ValueError, "low must be greater than 0"),
    ],
)
def test_the_best_sinusoid_refuses_what_it_cannot_fit(
    curves: Tensor, options: dict[str, float], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        sinusoids.best_sinusoid(curves, T, **options)


def test_measure_finds_nothing_wrong_with_the_data_and_much_with_a_half_of_them(rng: Stream) -> None:
    curves = sinusoids.REAL(2, 1_000, rng)
    good = sinusoids.measure(curves)
    assert good["residual"].max() < 1e-6 and good["residual_90"].max() < 1e-6
    assert good["b_ks"].max() < 0.06 and good["c_ks"].max() < 0.06
    assert ((good["slow"] - 0.5).abs() < 0.06).all()
    slow = sinusoids.measure(
        waves(rng.uniform(1, 500, low=0.5, high=1.25), rng.uniform(1, 500, low=1.0, high=2.0))
    )
    assert slow["slow"].item() == 1.0
    assert slow["b_ks"] == pytest.approx(0.5, abs=0.06)
    assert slow["c_ks"] == pytest.approx(1 - 1 / (math.pi - 1), abs=0.06)


def test_the_nearest_curve_is_found_for_each_seed_in_its_own_set() -> None:
    training = torch.stack([torch.zeros(5, 64), torch.ones(5, 64)])
    training[0, 3] = 0.5
    curves = torch.full((2, 1, 64), 0.75)
    torch.testing.assert_close(sinusoids.nearest(curves, training), torch.tensor([[0.25], [0.25]]))
    with pytest.raises(ValueError, match="same seeds and points"):
        sinusoids.nearest(curves[:1], training)


@pytest.mark.parametrize("beta1", [0.9, 0.0])
def test_adam_follows_the_formula_of_keras(beta1: float, rng: Stream) -> None:
    network = Ensemble(lambda: torch.nn.Linear(3, 2), 2, seed=1)
    optimiser = sinusoids.keras_adam(network, beta1)
    ours = [p.detach().double().clone() for p in network.parameters()]
    m, v = ([torch.zeros_like(p) for p in ours] for _ in range(2))
    for step in range(1, 6):
        for k, p in enumerate(network.parameters()):
            p.grad = 1e-6 * rng.normal(*p.shape)  # so small that epsilon counts
            m[k] = beta1 * m[k] + (1 - beta1) * p.grad.double()
            v[k] = 0.999 * v[k] + 0.001 * p.grad.double() ** 2
            rate = 1e-3 * math.sqrt(1 - 0.999**step) / (1 - beta1**step)
            ours[k] -= rate * m[k] / (v[k].sqrt() + 1e-7)
        optimiser.step()
    for p, q in zip(network.parameters(), ours, strict=True):
        torch.testing.assert_close(p.detach().double(), q, atol=2e-6, rtol=0)


def test_adam_wants_a_beta_below_one() -> None:
    with pytest.raises(ValueError, match="beta1 must be less than 1"):
        sinusoids.keras_adam(Ensemble(sinusoids.generator, 1, seed=1), 1.0)


def test_less_noise_is_the_same_generator_on_less_noise(rng: Stream) -> None:
    z = sinusoids.NOISE(2, 5, rng)
    plain, less = (Ensemble(lambda r=reach: sinusoids.generator(r), 2, seed=4) for reach in (5.0, 1.0))
    torch.testing.assert_close(less(z), plain(z / 5))
    assert len(list(sinusoids.generator().children())) == 6


def test_the_steepness_is_that_of_the_logit_without_dropout(rng: Stream) -> None:
    D = Ensemble(lambda: torch.nn.Sequential(torch.nn.Linear(64, 1), torch.nn.Dropout(0.5)), 2, seed=4)
    (weight, _) = D.parameters()
    found = sinusoids.steepness(D, rng.normal(2, 7, 64))
    torch.testing.assert_close(found, weight.detach().flatten(1).norm(dim=1))
    assert D.training and not found.requires_grad


def test_curves_appear_after_the_first_epoch_that_has_them() -> None:
    residuals = torch.tensor([[0.9, 0.9, 0.9], [0.1, 0.3, 0.4], [0.3, 0.2, 0.3]])
    assert sinusoids.appear(residuals).tolist() == [1, 2, 3]


def test_the_changes_are_those_of_the_repair_and_one_more() -> None:
    assert sinusoids.changed() == {}
    assert sinusoids.changed(*sinusoids.REPAIR) == {"beta1": 0.0, "dropout": 0.0, "gamma": 0.03}
    assert sinusoids.changed("noise") == {"reach": 1.0}


def test_a_part_of_the_repair_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinusoids, "ROWS", 256)
    found = sinusoids.part(sinusoids.changed("noise"), 2, 3)
    assert set(found) == {
        "residual", "b_ks", "averaged_residual", "averaged_b_ks", "slope", "slope_3", "residual_3",
        "appear", "lost", "g_loss", "d_right",
    }  # fmt: skip
    assert (found["appear"] == sinusoids.SHORT + 1).all()
    assert all(column.shape == (2,) for column in found.values())


def test_eight_even_draws_are_as_uneven_as_counted(rng: Stream) -> None:
    ks = sinusoids.metrics.ks(rng.uniform(4_000, 8), sinusoids.Uniform(0.0, 1.0))
    share = (8**0.5 * ks > 1.2).double().mean().item()
    assert sinusoids.uneven(1.2) == pytest.approx(share, abs=0.02)


def test_the_plain_alternatives_are_copies_and_sinusoids() -> None:
    found = sinusoids.plain(2, 3)
    assert found["again_nearest"].max() < 1e-6 < found["fit_nearest"].min()
    assert max(found["again_residual"].max(), found["fit_residual"].max()) < 1e-6
    assert (found["fit_b_ks"] < 0.06).all() and (found["ks_8"] > found["ks_64"]).all()


def test_the_data_are_those_of_the_source() -> None:
    curves, noise = sinusoids.inputs(1, seed=2)
    assert curves.shape == noise.shape == (1, 32_768, 64)
    fit = sinusoids.best_sinusoid(curves[:, :300], T)
    assert 0.5 <= fit.b.min() < 0.6 < 1.9 < fit.b.max() <= 2.0
    assert 1.0 <= fit.c.min() < 1.1 < 3.0 < fit.c.max() <= math.pi
    assert -5 <= noise.min() < -4.99 < 4.99 < noise.max() <= 5


def test_the_log_counts_right_answers_and_deceptions(rng: Stream) -> None:
    log = sinusoids.Log()
    recipe = sinusoids.original(*sinusoids.inputs(2, 3, rows=300), log=log, dropout=0.0)
    G, D = recipe.networks(2, seed=3)
    x, z = sinusoids.REAL(2, 40, rng), sinusoids.NOISE(2, 40, rng)
    recipe.d_loss(G, D, x, z)
    recipe.g_loss(G, D, x, z)
    right = torch.cat([D(x) > 0, D(G(z)) <= 0], 1).float().mean((1, 2))
    torch.testing.assert_close(log.d[0], right)
    torch.testing.assert_close(log.g[0], (D(G(z)) > 0).float().mean((1, 2)))


def test_the_recipes_have_the_numbers_of_source_and_repair() -> None:
    sets = sinusoids.inputs(1, 3, rows=300)  # two steps in an epoch
    source, repair = sinusoids.original(*sets), sinusoids.repaired(*sets)
    assert (source.steps, repair.steps, source.batch, sinusoids.ROWS) == (64 * 2, 16 * 2, 128, 32_768)
    for recipe, beta1, dropout in ((source, 0.9, 0.4), (repair, 0.0, 0.0)):
        G, D = recipe.networks(1, seed=3)
        for optimiser in (recipe.d_opt(D), recipe.g_opt(G)):
            assert optimiser.param_groups[0]["betas"] == (beta1, 0.999)
        assert {m.p for m in D.modules() if hasattr(m, "p")} == {dropout}


@pytest.mark.parametrize(("nth", "name"), [(1, "original"), (2, "repaired")])
def test_the_chapter_trains_by_the_recipe_of_the_package(nth: int, name: str) -> None:
    written = CHAPTER.train("train", nth)
    recipe = getattr(sinusoids, name)(*sinusoids.inputs(written.G.seeds), epochs=sinusoids.SHORT)
    assert_trains_by(recipe, written)


def test_the_grid_of_the_chapter_is_never_closer_than_the_fit_of_the_package(rng: Stream) -> None:
    curves = waves(rng.uniform(30, low=0.5, high=2.0).double(), rng.uniform(30).double()) + 0.2
    residual = sinusoids.best_sinusoid(curves, T).residual
    rough = CHAPTER.define("grid_residual")["grid_residual"](curves)
    assert (residual <= rough + 1e-4).all() and (rough < residual + 0.1).all()


def test_the_cut_is_where_keras_has_it() -> None:
    logits = torch.tensor([-30.0, -3.0, 0.0, 30.0])
    cut = sinusoids.within(logits, sinusoids.CUT)
    assert torch.nn.functional.softplus(-cut[0]).item() == pytest.approx(-math.log(1e-7), rel=1e-5)
    assert torch.equal(cut[1:3], logits[1:3]) and cut[3] == -cut[0]
    assert sinusoids.within(logits, 0.0) is logits
    # And G has lost where D gives a fake less than one chance in a thousand.
    assert math.exp(-sinusoids.LOST) < 1e-3 < math.exp(0.1 - sinusoids.LOST)


def test_the_log_has_the_last_batch_of_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinusoids, "ROWS", 256)  # two steps in an epoch
    found, run = sinusoids.logged(2, 5, epochs=3), sinusoids.trained(2, 5, epochs=3)
    kinds = ("d_loss", "d_right", "g_loss", "g_fools", "residual")
    assert set(found) == {f"{kind}_{e}" for kind in kinds for e in range(3)}
    torch.testing.assert_close(found["d_loss_1"], run.history.d_loss[3])
    torch.testing.assert_close(found["g_loss_2"], run.history.g_loss[5])
    torch.testing.assert_close(found["d_right_0"], run.log.d[1])
    torch.testing.assert_close(found["g_fools_2"], run.log.g[5])
    few = sinusoids.NOISE(2, 128, Stream("few", 5))
    with torch.no_grad():
        residual = sinusoids.best_sinusoid(run.G(few), T).residual.median(1).values
    torch.testing.assert_close(found["residual_2"], residual)


def test_the_stored_curves_are_those_of_a_full_run() -> None:
    *_, end = album("sinusoids_original").values()
    found = sinusoids.measure(2 * end[None] - 1)
    logged = ledger("sinusoids_log")
    assert found["residual"].item() == pytest.approx(logged["residual_63"][0].item(), rel=0.15)
    assert found["residual"] < 0.2 and found["b_ks"] > 0.4


def test_a_trial_returns_what_its_table_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinusoids, "ROWS", 256)
    columns = sinusoids.trial(2, 3, ema=0.9, epochs=4, beta1=0.0)
    wanted = set(ledger("sinusoids_repaired")) - {"seed", "member", "residual_13"}
    assert set(columns) == wanted
    assert all(column.shape == (2,) for column in columns.values())


def test_the_summary_takes_the_last_epoch_and_counts_the_lost_ones(rng: Stream) -> None:
    curves = sinusoids.REAL(2, 5, rng).expand(5, 2, 5, 64).clone()
    curves[4] = 0.0  # after the last of four epochs, flat
    g_loss = torch.tensor([[8.0, 1.0], [8.0, 1.0], [6.0, 1.0], [6.0, 9.0], [1.0, 1.0], [3.0, 1.0]])
    g_loss = torch.cat([g_loss, torch.tensor([[1.0, 2.0], [3.0, 4.0]])])
    log = sinusoids.Log(d=[torch.ones(2)] * 8, g=[torch.zeros(2)] * 8)
    columns = sinusoids.summary(curves, g_loss / 2, g_loss, log, epoch=2)
    assert columns["lost"].tolist() == [1, 0]
    assert columns["g_loss"].tolist() == [2, 3] and columns["d_loss"].tolist() == [1, 1.5]
    assert columns["d_right"].tolist() == [1, 1] and columns["g_fools"].tolist() == [0, 0]
    assert columns["residual_3"].min() > 0.5

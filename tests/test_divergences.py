"""Conjugates against a search, bounds against quadrature, moved earth against SciPy, kernels by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from gan_helpers import metrics
from gan_helpers.data import Normal, Uniform
from gan_helpers.divergences import DIVERGENCES, FDivergence, kantorovich, mmd2, transport, witness
from gan_helpers.randomness import Stream
from tests.plain_gan import numbers

P, Q = Normal(0.3, 0.8), Normal(0.0, 1.0)
each = pytest.mark.parametrize("name", DIVERGENCES)
RATIOS = torch.cat([torch.zeros(1), torch.logspace(-6, 6, 240_001)]).double()
#: Where the conjugate is compared: inside the domain.
TOP = {"KL": 3.0, "reverse KL": -1e-3, "Jensen-Shannon": 0.346, "Pearson": 5.0, "Neyman": 0.999,
       "squared Hellinger": 0.99, "total variation": 0.5}  # fmt: skip
CEILINGS = {"KL": math.inf, "reverse KL": 0.0, "Jensen-Shannon": math.log(2) / 2, "Pearson": math.inf,
            "Neyman": 1.0, "squared Hellinger": 1.0, "total variation": 0.5}  # fmt: skip


@each
def test_the_conjugate_is_the_largest_value_that_a_search_finds(name: str) -> None:
    found = DIVERGENCES[name]
    costs = found.f(RATIOS).nan_to_num(nan=math.inf)
    for t in torch.linspace(-4.0, TOP[name], 23, dtype=torch.float64):
        searched = (RATIOS * t - costs).amax()
        assert found.conjugate(t).item() == pytest.approx(searched.item(), abs=1e-6, rel=1e-6)


@each
def test_above_its_domain_the_conjugate_is_infinite_and_its_slopes_are_finite_below(name: str) -> None:
    found = DIVERGENCES[name]
    assert found.ceiling == pytest.approx(CEILINGS[name])
    if math.isfinite(found.ceiling):
        assert found.conjugate(torch.tensor([found.ceiling + 1e-3, 50.0])).tolist() == [math.inf] * 2
    t = torch.tensor([-0.3, 50.0], requires_grad=True)
    found.conjugate(t)[0].backward()
    assert t.grad is not None and t.grad.isfinite().all()


@each
def test_f_is_0_for_equal_laws_convex_and_has_the_slope_that_is_said(name: str) -> None:
    found = DIVERGENCES[name]
    r = torch.linspace(0.05, 5, 60, dtype=torch.float64).requires_grad_()
    assert found.f(torch.ones(1, dtype=torch.float64)).item() == pytest.approx(0, abs=1e-12)
    (slope,) = torch.autograd.grad(found.f(r).sum(), r)
    torch.testing.assert_close(slope, found.output(r.log()))
    assert (slope.diff() >= -1e-12).all()
    # With equality in Young's inequality, as at the best critic.
    best = found.critic(r.log())
    torch.testing.assert_close(found.f(r) + found.conjugate(best), r * best)


@each
def test_a_critic_and_its_slope_are_finite_as_long_as_they_can_be(name: str) -> None:
    found = DIVERGENCES[name]
    v = torch.tensor([-200.0, -40.0, 0.5, 40.0, 200.0], requires_grad=True)
    exact = v.detach().double().requires_grad_()
    torch.testing.assert_close(found.critic(v), found.critic(exact).float())
    (slope,), (true,) = (torch.autograd.grad(found.critic(at).sum(), at) for at in (v, exact))
    torch.testing.assert_close(slope, true.float())
    assert not found.critic(v).isnan().any() and not slope.isnan().any()


GRID = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
WEIGHTS = [law.density(GRID.unsqueeze(1)) * (GRID[1] - GRID[0]) for law in (P, Q)]


def earned(found: FDivergence, critic: Tensor) -> float:
    return float(WEIGHTS[0] @ critic - WEIGHTS[1] @ found.conjugate(critic))


@each
def test_the_best_critic_earns_the_divergence_and_others_less(name: str) -> None:
    found = DIVERGENCES[name]
    exact = found.exact(P.density, Q.density, -9, 9)
    best = P.log_prob(GRID.unsqueeze(1)) - Q.log_prob(GRID.unsqueeze(1))
    assert earned(found, found.critic(best)) == pytest.approx(exact, rel=2e-3)
    assert exact > 0.01
    for bent in (best + 0.3, 0.5 * best, best + GRID.sin()):
        assert earned(found, found.critic(bent)) < exact + (1e-4 if name == "total variation" else -1e-4)


def test_exact_values_that_are_known() -> None:
    def exact(name: str, p: Normal = P, q: Normal = Q, reach: float = 9) -> float:
        return DIVERGENCES[name].exact(p.density, q.density, -reach, reach)

    forth, back = (metrics.kl(a.density, b.density, -9, 9) for a, b in ((P, Q), (Q, P)))
    assert exact("KL") == pytest.approx(forth, abs=1e-8)
    assert exact("reverse KL") == pytest.approx(back, abs=1e-8)
    assert exact("Jensen-Shannon") == pytest.approx(metrics.jsd(P.density, Q.density, -9, 9), abs=1e-8)
    # Of two bells of width 1 that are one apart: textbook values.
    one, other = Normal(0.5, 1.0), Normal(-0.5, 1.0)
    assert exact("Pearson", one, other, 12) == pytest.approx(math.e - 1, rel=1e-6)
    assert exact("Neyman", one, other, 12) == pytest.approx(math.e - 1, rel=1e-6)
    assert exact("squared Hellinger", one, other) == pytest.approx(2 - 2 * math.exp(-1 / 8), rel=1e-6)
    assert exact("total variation", one, other) == pytest.approx(2 * stats.norm.cdf(0.5) - 1, rel=1e-4)


def test_laws_that_do_not_overlap_are_as_far_apart_as_f_says() -> None:
    left, right = (Uniform(low, low + 1.0) for low in (0.0, 2.0))
    found = {name: d.exact(left.density, right.density, 0.0, 3.0) for name, d in DIVERGENCES.items()}
    flat = {"Jensen-Shannon": math.log(2), "squared Hellinger": 2.0, "total variation": 1.0}
    assert found == pytest.approx({name: flat.get(name, math.inf) for name in found}, abs=2e-3)


@each
def test_the_bound_of_samples_is_one_for_each_seed_and_can_be_trained(name: str) -> None:
    found = DIVERGENCES[name]
    v = numbers(3, 5, 1).requires_grad_()
    real, fake = found.critic(v), found.critic(numbers(3, 7, 1, seed=1))
    bound = found.bound(real, fake)
    alone = torch.stack([real[k].mean() - found.conjugate(fake[k]).mean() for k in range(3)])
    torch.testing.assert_close(bound, alone)
    bound.sum().backward()
    assert v.grad is not None and v.grad.isfinite().all()


def test_one_answer_above_the_ceiling_proves_nothing() -> None:
    found = DIVERGENCES["total variation"]
    fake = torch.tensor([[[0.1], [0.2]], [[0.1], [0.6]]])
    assert found.bound(torch.zeros(2, 2, 1), fake).tolist() == [pytest.approx(-0.15), -math.inf]
    with pytest.raises(ValueError, match="real and fake must be of as many seeds"):
        found.bound(torch.zeros(1, 2, 1), fake)


# Moving earth


def laws(n: int, seed: int) -> tuple[Tensor, Tensor]:
    weights = numbers(2, n, seed=seed).square()
    return tuple((weights / weights.sum(1, keepdim=True)).unbind())  # type: ignore[return-value]


@pytest.mark.parametrize("seed", range(4))
def test_on_the_line_the_value_is_that_of_scipy_and_the_price_earns_it(seed: int) -> None:
    (p, q), x = laws(40, seed), 3 * numbers(40, seed=100 + seed)
    prices, plan = kantorovich(p, q, x), transport(p, q, x)
    expected = stats.wasserstein_distance(x.numpy(), x.numpy(), p.numpy(), q.numpy())
    assert prices.value == pytest.approx(expected) and plan.value == pytest.approx(expected)
    assert float((p - q) @ prices.price) == pytest.approx(expected)
    order = x.argsort()
    assert (prices.price[order].diff().abs() <= x[order].diff() + 1e-9).all() and prices.price[0] == 0
    torch.testing.assert_close(plan.plan.sum(1), p, atol=1e-6, rtol=0)  # as exact as the solver is
    torch.testing.assert_close(plan.plan.sum(0), q, atol=1e-6, rtol=0)  # as exact as the solver is
    assert (plan.plan >= -1e-12).all()


def test_the_price_falls_where_earth_moves_right_at_slope_one() -> None:
    x = torch.linspace(0, 4, 5)
    prices = kantorovich(torch.tensor([1.0, 0, 0, 0, 0]), torch.tensor([0, 0, 0, 0.5, 0.5]), x)
    assert prices.value == pytest.approx(3.5)
    assert prices.price.tolist() == pytest.approx([0, -1, -2, -3, -4])


def test_in_the_plane_both_programs_agree_and_prices_keep_to_all_ways() -> None:
    p, q = laws(15, 7)
    x = numbers(15, 2, seed=8)
    prices, plan = kantorovich(p, q, x), transport(p, q, x)
    assert prices.value == pytest.approx(plan.value)
    gaps = (prices.price[:, None] - prices.price[None]).abs()
    assert (gaps <= torch.cdist(x, x) + 1e-9).all()
    square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    halves = torch.tensor([0.5, 0, 0, 0.5]), torch.tensor([0, 0.5, 0.5, 0])
    assert kantorovich(*halves, square).value == pytest.approx(1.0)  # along the sides


def test_the_unit_of_the_points_does_not_matter() -> None:
    (p, q), x = laws(12, 3), numbers(12, seed=4)
    for unit in (1e-12, 1e25, 0.0):
        assert kantorovich(p, q, unit * x).value == pytest.approx(unit * kantorovich(p, q, x).value)
        assert transport(p, q, unit * x).value == pytest.approx(unit * transport(p, q, x).value)


def test_weights_that_are_no_law_are_refused() -> None:
    x, half = torch.linspace(0, 1, 2), torch.full((2,), 0.5)
    for wrong in (torch.tensor([0.5, 0.6]), torch.tensor([1.5, -0.5])):
        with pytest.raises(ValueError, match="p must hold weights of at least 0 that sum to 1"):
            kantorovich(wrong, half, x)
    with pytest.raises(ValueError, match="p and q must have shape"):
        transport(half, half, torch.zeros(3))


# Kernels


def test_values_by_hand() -> None:
    x, y = torch.tensor([[[0.0], [1.0]]]).double(), torch.tensor([[[0.0], [2.0]]]).double()
    k1, k2 = math.exp(-1 / 2), math.exp(-4 / 2)  # of points that are 1 and 2 apart
    cross = (1 + k2 + k1 + k1) / 4
    assert mmd2(x, y).tolist() == pytest.approx([k1 + k2 - 2 * cross])
    assert mmd2(x, y, biased=True).tolist() == pytest.approx([(1 + k1) / 2 + (1 + k2) / 2 - 2 * cross])
    wide = [math.exp(-1 / 18), math.exp(-4 / 18)]  # h = 3
    both = k1 + k2 - 2 * cross + sum(wide) - (1 + wide[1] + 2 * wide[0]) / 2
    assert mmd2(x, y, (1.0, 3.0)).tolist() == pytest.approx([both])


def test_it_is_the_statistic_of_the_two_sample_test() -> None:
    x, y = numbers(2, 9, 3), numbers(2, 6, 3, seed=1) + 0.4
    tested = [metrics.mmd(a, b, Stream("t", 0), 1.3, 3).statistic for a, b in zip(x, y, strict=True)]
    assert mmd2(x, y, (1.3,)).tolist() == pytest.approx(tested)


def known(shift: float, sd: float, h: float) -> float:
    """Return MMD^2 of N(0, 1) and N(shift, sd^2), a Gaussian integral."""

    def mean_kernel(variance: float, gap: float) -> float:
        return h / math.sqrt(h**2 + variance) * math.exp(-(gap**2) / (2 * (h**2 + variance)))

    return mean_kernel(2, 0) + mean_kernel(2 * sd**2, 0) - 2 * mean_kernel(1 + sd**2, shift)


def test_it_is_unbiased_and_the_other_is_too_large_by_what_points_are_to_themselves() -> None:
    x, y = numbers(20_000, 8, 1), 0.5 + 1.5 * numbers(20_000, 8, 1, seed=1)
    for h in (0.5, 2.0):
        values = mmd2(x, y, (h,))
        error = values.std() / len(values) ** 0.5
        assert abs(values.mean() - known(0.5, 1.5, h)) < 4 * error
        assert (mmd2(x, y, (h,), biased=True) > 0).all()
    assert (mmd2(x, numbers(20_000, 8, 1, seed=2)) < 0).double().mean() > 0.3


def test_seeds_are_apart_and_slopes_are_right() -> None:
    x, y = numbers(2, 4, 2), numbers(2, 3, 2, seed=1)
    for biased in (False, True):
        assert torch.autograd.gradcheck(
            lambda x, y, biased=biased: mmd2(x, y, (0.7, 2.0), biased),
            (x.clone().requires_grad_(), y.clone().requires_grad_()),
        )
    changed = y.clone()
    changed[1] += 1
    one, other = mmd2(x, y), mmd2(x, changed)
    assert one[0] == other[0] and one[1] != other[1]
    far = mmd2(x + 1e6, y + 1e6)  # products would lose all digits there
    np.testing.assert_allclose(far, one, rtol=1e-6)


def test_what_is_no_sample_or_no_bandwidth_is_refused() -> None:
    x = numbers(2, 3, 1)
    for wrong, message in (((), "at least one"), ((0.0,), r"bandwidths\[0\] must be greater than 0")):
        with pytest.raises(ValueError, match=message):
            mmd2(x, x, wrong)
    with pytest.raises(ValueError, match="as many seeds and features"):
        mmd2(x, x[:1])
    with pytest.raises(ValueError, match="at least 2 rows"):
        mmd2(x[:, :1], x)
    assert mmd2(x[:, :1], x, biased=True).shape == (2,)


def test_the_witness_is_the_critic_that_earns_the_biased_distance() -> None:
    x, y, widths = numbers(2, 4, 3), numbers(2, 6, 3, seed=1) + 0.4, (0.7, 2.0)
    earned = [witness(at, x, y, widths).mean((1, 2)) for at in (x, y)]
    torch.testing.assert_close(earned[0] - earned[1], mmd2(x, y, widths, biased=True))
    by_hand = witness(*(torch.tensor([[[at]]]).double() for at in (0.0, 1.0, 2.0)))
    assert by_hand.shape == (1, 1, 1) and by_hand.item() == pytest.approx(math.exp(-1 / 2) - math.exp(-2))
    with pytest.raises(ValueError, match="at, x and y must have as many seeds and features"):
        witness(x[:1], x, y)
    with pytest.raises(ValueError, match=r"bandwidths\[0\] must be greater than 0"):
        witness(x, x, y, (0.0,))

"""Samplers: shapes, laws, densities, and the bookkeeping of data sets."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gan_helpers.data import (
    Density,
    Gaussian,
    GaussianMixture,
    Minibatches,
    Normal,
    Resample,
    Sampler,
    Sinusoids,
    StandardNormal,
    Uniform,
    grid,
    ring,
)
from gan_helpers.randomness import Stream

A = torch.tensor([[1.0, 2.0], [-0.1, 0.5]])
B = torch.tensor([1.0, 2.0])
ROWS = torch.arange(10.0).unsqueeze(1) * torch.tensor([1.0, -1.0])

DENSITIES: dict[str, Density] = {
    "normal": Normal(4, 1.25),
    "uniform": Uniform(-5, 3),
    "uniform 3-D": Uniform(-1, 1, features=3),
    "noise": StandardNormal(3),
    "gaussian": Gaussian.from_transform(A, B),
    "mixture": GaussianMixture(torch.tensor([[0.0, 0.0], [3.0, 1.0], [0.0, -4.0]]), sd=0.7),
}
SAMPLERS: dict[str, Sampler] = DENSITIES | {
    "ring": ring(),
    "grid": grid(),
    "sinusoids": Sinusoids(),
    "minibatches": Minibatches(ROWS),
    "resample": Resample(ROWS),
}
FEATURES = {"normal": 1, "uniform": 1, "uniform 3-D": 3, "noise": 3, "sinusoids": 64}

# What SciPy says about the same laws.
LAWS = {
    "normal": stats.norm(4, 1.25).logpdf,
    "uniform": stats.uniform(-5, 8).logpdf,
    "uniform 3-D": lambda x: stats.uniform(-1, 2).logpdf(x).sum(-1, keepdims=True),
    "noise": stats.multivariate_normal(np.zeros(3)).logpdf,
    "gaussian": stats.multivariate_normal([1, 2], [[1.01, 1.95], [1.95, 4.25]]).logpdf,
    "mixture": lambda x: np.log(
        sum(stats.multivariate_normal(m, 0.49).pdf(x) for m in ([0, 0], [3, 1], [0, -4])) / 3
    ),
}


def fresh(name: str, device: str = "cpu") -> Sampler:
    """Return a sampler, a new one with its data on ``device`` if it is of a data set."""
    sampler = SAMPLERS[name]
    is_set = isinstance(sampler, Minibatches | Resample)
    return type(sampler)(ROWS.to(device).requires_grad_()) if is_set else sampler


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_draws_seeds_by_batch_by_features_from_its_stream_alone(name):
    first, again, other = (fresh(name)(3, 5, Stream("data", seed)) for seed in (1, 1, 2))
    assert first.shape == (3, 5, FEATURES.get(name, 2)) and first.shape[-1] == fresh(name).features
    assert (first.dtype, first.device.type, first.requires_grad) == (torch.float32, "cpu", False)
    assert first.equal(again) and not first.equal(other)
    assert not first[0].equal(first[1]) and not first[:, 0].equal(first[:, 1])


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_works_where_there_are_only_shapes(name):
    sampler = fresh(name, "meta")
    for _ in range(2):
        x = sampler(3, 7, Stream("data", 0, "meta"))
        assert (x.shape, x.device.type) == ((3, 7, sampler.features), "meta")


@pytest.mark.parametrize("name", DENSITIES)
def test_the_density_is_the_one_that_scipy_knows(name):
    p = DENSITIES[name]
    x = p(2, 50, Stream("points", 0)).double() * 1.3
    expected = LAWS[name](x.numpy()).reshape(2, 50)
    np.testing.assert_allclose(p.log_prob(x), expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(p.density(x), np.exp(expected), rtol=1e-5)


@pytest.mark.parametrize("name", DENSITIES)
def test_a_density_is_a_function_of_points_in_any_arrangement(name):
    p = DENSITIES[name]
    x = p(2, 6, Stream("points", 0))
    values = p.log_prob(x)
    assert (values.shape, values.dtype) == ((2, 6), torch.float32)
    torch.testing.assert_close(p.log_prob(x.reshape(3, 4, -1)), values.reshape(3, 4))
    torch.testing.assert_close(p.log_prob(x[1, 2]), values[1, 2])
    assert p.log_prob(x.to("meta")).shape == (2, 6)
    assert p.log_prob(torch.full_like(x, math.nan)).isnan().all()


@pytest.mark.parametrize(
    "p, law", [(Normal(4, 1.25), stats.norm(4, 1.25)), (Uniform(-5, 3), stats.uniform(-5, 8))]
)
def test_on_the_line_all_is_as_scipy_has_it(p, law):
    x = torch.linspace(-9, 9, 37, dtype=torch.float64).reshape(1, 37)
    u = torch.tensor([0.0, 1e-300, 1e-12, 0.3, 0.5, 1 - 1e-9, 1.0], dtype=torch.float64)
    np.testing.assert_allclose(p.cdf(x), law.cdf(x.numpy()), rtol=1e-12)
    np.testing.assert_allclose(p.quantile(u), law.ppf(u.numpy()), rtol=1e-9)
    assert (p.mean, p.sd) == pytest.approx((law.mean(), law.std()))
    assert p.quantile(torch.tensor([-0.1, 1.1, math.nan])).isnan().all()
    assert p.quantile(torch.rand(2, 3)).dtype == torch.float32
    assert stats.kstest(p(1, 20_000, Stream("data", 5)).flatten().double(), law.cdf).pvalue > 0.01


def test_a_linear_map_of_rows_has_covariance_transposed_a_times_a():
    p = Gaussian.from_transform(A, B)
    torch.testing.assert_close(p.covariance, torch.tensor([[1.01, 1.95], [1.95, 4.25]]))
    mapped = Stream("noise", 3).normal(200_000, 2) @ A + B
    for x in (mapped, *p(2, 100_000, Stream("data", 1))):
        torch.testing.assert_close(x.mean(0), B, atol=0.03, rtol=0)
        torch.testing.assert_close(x.T.cov(), p.covariance, atol=0.05, rtol=0)
    wide = Gaussian.from_transform(torch.tensor([[1.0], [2.0]]), torch.zeros(1))
    assert wide.covariance.tolist() == [[5.0]]


def test_a_nearly_singular_gaussian_is_a_thin_line():
    p = Gaussian(torch.zeros(2), torch.tensor([[1.0, 1 - 1e-7], [1 - 1e-7, 1.0]]))
    x = p(1, 1000, Stream("data", 0))
    assert (x[..., 0] - x[..., 1]).abs().max() < 0.01
    assert p.log_prob(x).isfinite().all()


def test_a_mixture_uses_every_mode_as_often_and_as_wide_and_each_seed_on_its_own():
    p = grid(side=3, spacing=2.0, sd=0.1)
    x = p(2, 9_000, Stream("data", 2))
    distance, mode = torch.cdist(x, p.means).min(2)
    assert stats.chisquare(mode.flatten().bincount(minlength=9).numpy()).pvalue > 0.01
    assert (mode[0] == mode[1]).float().mean().item() == pytest.approx(1 / 9, abs=0.02)
    assert (distance**2).mean().item() == pytest.approx(2 * 0.1**2, rel=0.05)
    assert (x - p.means[mode]).mean((0, 1)).abs().max() < 0.005


def test_the_published_ring_and_grid_and_rings_of_other_sizes():
    assert (ring().modes, ring().sd, grid().modes, grid().sd) == (8, 0.01, 25, 0.05)
    half = math.sqrt(0.5)
    turn = [(1, 0), (half, half), (0, 1), (-half, half), (-1, 0), (-half, -half), (0, -1), (half, -half)]
    torch.testing.assert_close(ring().means, torch.tensor(turn), atol=1e-6, rtol=0)
    triangle = torch.tensor([(2, 0), (-1, math.sqrt(3)), (-1, -math.sqrt(3))])
    torch.testing.assert_close(ring(3, radius=2.0).means, triangle, atol=1e-6, rtol=0)
    assert ring(1).means.tolist() == [[1, 0]]
    side = (-4, -2, 0, 2, 4)
    assert {tuple(mean) for mean in grid().means.tolist()} == {(a, b) for a in side for b in side}


def test_the_last_mode_of_a_narrow_mixture_is_not_lost_to_rounding():
    p = ring()
    at_the_modes = p.log_prob(p.means)
    torch.testing.assert_close(at_the_modes, torch.full((8,), -math.log(8 * 2 * math.pi * 1e-4)))


def test_sinusoids_have_uniform_frequencies_and_phases():
    family = Sinusoids(points=65)
    curves = family(2, 2000, Stream("data", 4)).double()
    before, here, after = curves[..., :-2], curves[..., 1:-1], curves[..., 2:]
    # sin(a - h) + sin(a + h) = 2 cos(h) sin(a), where h is b times the distance of two points
    h = torch.acos(((before + after) * here).sum(-1) / (2 * here**2).sum(-1))
    at_zero, slope = here[..., 31], (after - before)[..., 31] / (2 * torch.sin(h))
    b, c = h / (10 / 64), torch.atan2(at_zero, slope)
    for found, law in ((b, stats.uniform(0.5, 1.5)), (c, stats.uniform(0, math.pi))):
        assert stats.kstest(found.flatten().numpy(), law.cdf).pvalue > 0.01
    assert abs(np.corrcoef(b.flatten(), c.flatten())[0, 1]) < 0.05
    rebuilt = torch.sin(b[..., None] * family.positions + c[..., None])
    torch.testing.assert_close(rebuilt, curves, atol=1e-3, rtol=0)


def test_sinusoids_use_the_ranges_that_they_are_given():
    family = Sinusoids(points=5, low=0, high=1, frequency=(3.0, 3.001), phase=(0.5, 0.501))
    assert family.positions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    expected = torch.sin(3 * family.positions + 0.5).expand(2, 3, 5)
    torch.testing.assert_close(family(2, 3, Stream("data", 0)), expected, atol=3e-3, rtol=0)


@given(st.integers(1, 8), st.integers(1, 17), st.integers(1, 2), st.integers(1, 5))
@settings(max_examples=30)
def test_every_epoch_holds_every_row_once(n, batch, seeds, calls):
    sampler, rng = Minibatches(torch.arange(float(n)).unsqueeze(1)), Stream("data", n)
    drawn = torch.cat([sampler(seeds, batch, rng) for _ in range(calls)], dim=1).squeeze(-1)
    assert drawn.shape == (seeds, batch * calls)
    full, rest = drawn[:, : drawn.shape[1] // n * n], drawn[:, drawn.shape[1] // n * n :]
    assert (full.reshape(seeds, -1, n).sort(-1).values == torch.arange(float(n))).all()
    assert all(len(row.unique()) == len(row) for row in rest)


def test_orders_are_new_in_every_epoch_and_for_every_seed():
    sampler, rng = Minibatches(torch.arange(100.0).unsqueeze(1)), Stream("data", 0)
    orders = torch.cat([sampler(3, 100, rng) for _ in range(2)])
    assert len(orders.squeeze(-1).unique(dim=0)) == 6


@pytest.mark.parametrize("kind", [Minibatches, Resample])
@pytest.mark.parametrize("axes", [(1, 0), (2, 0, 1)])
def test_data_may_lie_in_memory_in_any_order(kind, axes):
    plain = torch.rand(*(3, 4, 5)[: len(axes)], generator=torch.Generator().manual_seed(0))
    turned = plain.permute(axes)
    x = kind(turned)(turned.shape[0], 6, Stream("data", 0))
    assert x.equal(kind(turned.clone(memory_format=torch.contiguous_format))(len(x), 6, Stream("data", 0)))
    own = turned.expand(len(x), *turned.shape[-2:])
    assert all((x[k].unsqueeze(1) == own[k]).all(2).any(1).all() for k in range(len(x)))


def test_minibatches_go_on_from_a_copy_of_their_state():
    sampler, rng = Minibatches(ROWS), Stream("data", 0)
    start = sampler.state()
    sampler(2, 7, rng)
    state, generator = sampler.state(), rng.generator.get_state()
    expected = [sampler(2, 7, rng) for _ in range(3)]

    resumed, again = Minibatches(ROWS), Stream("data", 99)
    resumed.load_state(state)
    state["order"].zero_()
    again.generator.set_state(generator)
    for x in expected:
        resumed.state()["order"].zero_()
        assert resumed(2, 7, again).equal(x)
    resumed.load_state(start)
    assert resumed(3, 10, Stream("data", 0)).equal(Minibatches(ROWS)(3, 10, Stream("data", 0)))


def test_resampling_draws_rows_whole_and_with_replacement():
    x = Resample(ROWS)(1, 5000, Stream("data", 0))[0]
    assert (x[:, 0] == -x[:, 1]).all()
    assert stats.chisquare(x[:, 0].long().bincount(minlength=10).numpy()).pvalue > 0.01
    few = Resample(ROWS)(200, 10, Stream("data", 1))[..., 0]
    assert any(len(row.unique()) < 10 for row in few)


RNG = Stream("data", 0)
IMAGES = torch.zeros(9, 28, 28)
STATE = {"order": torch.arange(10).expand(2, 10), "position": torch.tensor(3)}
REFUSED = {
    "sd must be greater than 0, not 0": lambda: Normal(4, 0),
    "high end of the support must be greater than 2, not 2": lambda: Uniform(2, 2),
    r"covariance must have shape \(2, 2\), as mean has 2": lambda: Gaussian(B, torch.eye(3)),
    "covariance must be symmetric.*by up to 2.1": lambda: Gaussian(B, A),
    "covariance must be positive definite.*diagonal": lambda: Gaussian(B, torch.ones(2, 2)),
    "radius must be greater than 0": lambda: ring(radius=0),
    "spacing must be greater than 0": lambda: grid(spacing=-1),
    "points must be at least 2, not 1": lambda: Sinusoids(points=1),
    "the positions must be greater than 5, not -5": lambda: Sinusoids(low=5, high=-5),
    "frequency must be greater than 2, not 0.5": lambda: Sinusoids(frequency=(2.0, 0.5)),
    r"phase must be a pair .* not \(0, 1, 2\)": lambda: Sinusoids(phase=(0, 1, 2)),
    r"data must have shape .* not \(5,\): call data.reshape\(-1, 1\)": lambda: Minibatches(torch.zeros(5)),
    r"not \(1, 9, 28, 28\): call data.flatten\(1\)": lambda: Resample(IMAGES[None]),
    r"call x.unsqueeze\(-1\)": lambda: Normal(4, 1).log_prob(torch.zeros(5)),
    r"x must have shape \(..., 2\), not \(3, 5\), features last": lambda: ring().density(torch.zeros(3, 5)),
    r"data must be a dense tensor, .*data.to_dense\(\)": lambda: Minibatches(ROWS.to_sparse()),
    r"seeds must be 9, not 2: .*\(9, 28, 28\).*call data.flatten": lambda: Resample(IMAGES)(2, 5, RNG),
    "rng must be on cpu, as data is, not on meta": lambda: Resample(ROWS)(2, 5, Stream("data", 0, "meta")),
    "state must hold order and position": lambda: Minibatches(ROWS).load_state({}),
    "state must hold orders of 9 rows": lambda: Minibatches(ROWS[:9]).load_state(STATE),
    "state\\['order'\\] must be of type Tensor": lambda: Minibatches(ROWS).load_state(STATE | {"order": [1]}),
    "position 11": lambda: Minibatches(ROWS).load_state(STATE | {"position": torch.tensor(11)}),
    "orders of 10 rows": lambda: Minibatches(ROWS).load_state(STATE | {"order": torch.zeros(2, 10).long()}),
}


@pytest.mark.parametrize("words", REFUSED)
def test_bad_arguments_are_refused_with_the_way_out(words):
    with pytest.raises((TypeError, ValueError), match=words):
        REFUSED[words]()


def test_the_number_of_seeds_cannot_change_inside_an_epoch():
    sampler = Minibatches(ROWS)
    sampler(3, 4, RNG)
    with pytest.raises(ValueError, match="seeds must be 3, as it was before, not 2.*another Minibatches"):
        sampler(2, 4, RNG)

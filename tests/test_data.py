"""Samplers: shapes, laws, densities, and the bookkeeping of data sets."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

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


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_draws_seeds_by_batch_by_features(name):
    sampler = SAMPLERS[name]
    if isinstance(sampler, Minibatches):
        sampler = Minibatches(sampler.data)
    x = sampler(3, 5, Stream("data", 0))
    assert x.shape == (3, 5, FEATURES.get(name, 2))
    assert x.shape[-1] == sampler.features
    assert (x.dtype, x.device.type) == (torch.float32, "cpu")
    assert not x[0].equal(x[1])
    assert not x[:, 0].equal(x[:, 1])


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_stream_alone_decides_what_is_drawn(name):
    def draw(seed: int) -> Tensor:
        sampler = SAMPLERS[name]
        sampler = Minibatches(ROWS) if isinstance(sampler, Minibatches) else sampler
        return sampler(2, 4, Stream("data", seed))

    assert draw(1).equal(draw(1))
    assert not draw(1).equal(draw(2))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_works_where_there_are_only_shapes(name):
    sampler = SAMPLERS[name]
    if isinstance(sampler, Minibatches | Resample):
        sampler = type(sampler)(ROWS.to("meta"))
    for _ in range(2):
        x = sampler(3, 7, Stream("data", 0, "meta"))
        assert (x.shape, x.device.type) == ((3, 7, sampler.features), "meta")


def test_a_sampler_may_be_a_plain_function():
    def constant(seeds: int, batch: int, rng: Stream) -> Tensor:
        return torch.ones(seeds, batch, 1)

    sampler: Sampler = constant
    assert sampler(2, 3, Stream("data", 0)).shape == (2, 3, 1)


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


def cells(low: float, high: float, count: int, dims: int) -> tuple[Tensor, float]:
    """Return the centres of the cells of a lattice and the volume of one."""
    width = (high - low) / count
    line = low + width * (torch.arange(count, dtype=torch.float64) + 0.5)
    return torch.cartesian_prod(*[line] * dims).reshape(-1, dims), width**dims


@pytest.mark.parametrize("name", DENSITIES)
def test_a_density_integrates_to_one(name):
    p = DENSITIES[name]
    x, volume = cells(-16, 16, {1: 3200, 2: 320, 3: 64}[p.features], p.features)
    assert p.density(x).sum().item() * volume == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", ["normal", "uniform"])
def test_one_dimensional_samples_follow_their_distribution_function(name):
    p = DENSITIES[name]
    x = p(1, 20_000, Stream("data", 5)).flatten().double()
    assert stats.kstest(x.numpy(), lambda t: p.cdf(torch.as_tensor(t)).numpy()).pvalue > 0.01
    assert x.mean().item() == pytest.approx(p.mean, abs=0.05)
    assert x.std().item() == pytest.approx(p.sd, abs=0.05)


@pytest.mark.parametrize(
    "p, law", [(Normal(4, 1.25), stats.norm(4, 1.25)), (Uniform(-5, 3), stats.uniform(-5, 8))]
)
def test_cdf_and_quantile_are_those_of_scipy(p, law):
    x = torch.linspace(-9, 9, 37, dtype=torch.float64).reshape(1, 37)
    u = torch.tensor([0.0, 1e-300, 1e-12, 0.3, 0.5, 1 - 1e-9, 1.0], dtype=torch.float64)
    np.testing.assert_allclose(p.cdf(x), law.cdf(x.numpy()), rtol=1e-12)
    np.testing.assert_allclose(p.quantile(u), law.ppf(u.numpy()), rtol=1e-9)
    assert (p.mean, p.sd) == pytest.approx((law.mean(), law.std()))
    assert p.quantile(torch.tensor([-0.1, 1.1, math.nan])).isnan().all()
    assert p.quantile(torch.rand(2, 3)).dtype == torch.float32


@given(st.floats(-50, 50), st.floats(0.01, 20), st.floats(0.001, 0.999))
@settings(max_examples=40)
def test_cdf_undoes_quantile(a, width, u):
    level = torch.tensor(u, dtype=torch.float64)
    for p in (Normal(a, width), Uniform(a, a + width)):
        assert p.cdf(p.quantile(level)).item() == pytest.approx(u, abs=1e-9)


def test_a_uniform_density_is_zero_outside_in_any_coordinate():
    p = Uniform(-1, 1, features=2)
    x = torch.tensor([[0.0, 0.5], [1.5, 0.0], [0.0, -2.0], [math.inf, 0.0], [1.0, -1.0]])
    assert p.density(x).tolist() == pytest.approx([0.25, 0, 0, 0, 0.25])


def test_a_linear_map_of_rows_has_covariance_transposed_a_times_a():
    p = Gaussian.from_transform(A, B)
    torch.testing.assert_close(p.covariance, torch.tensor([[1.01, 1.95], [1.95, 4.25]]))
    assert p.mean.equal(B)
    mapped = Stream("noise", 3).normal(200_000, 2) @ A + B
    torch.testing.assert_close(mapped.T.cov(correction=0), p.covariance, atol=0.03, rtol=0)
    wide = Gaussian.from_transform(torch.tensor([[1.0], [2.0]]), torch.zeros(1))
    assert wide.covariance.tolist() == [[5.0]]


def test_gaussian_samples_have_the_mean_and_covariance_asked_for():
    p = Gaussian(
        torch.tensor([1.0, -2.0, 0.0]), torch.tensor([[2.0, 0.9, 0], [0.9, 1, -0.4], [0, -0.4, 0.5]])
    )
    x = p(2, 100_000, Stream("data", 1))
    for seed in x:
        torch.testing.assert_close(seed.mean(0), p.mean, atol=0.02, rtol=0)
        torch.testing.assert_close(seed.T.cov(), p.covariance, atol=0.03, rtol=0)


def test_a_nearly_singular_gaussian_is_a_thin_line():
    p = Gaussian(torch.zeros(2), torch.tensor([[1.0, 1 - 1e-7], [1 - 1e-7, 1.0]]))
    x = p(1, 1000, Stream("data", 0))
    assert (x[..., 0] - x[..., 1]).abs().max() < 0.01
    assert p.log_prob(x).isfinite().all()


def test_a_mixture_uses_every_mode_as_often_and_as_wide():
    p = grid(side=3, spacing=2.0, sd=0.1)
    x = p(1, 18_000, Stream("data", 2))[0]
    distance, mode = torch.cdist(x, p.means).min(1)
    counts = mode.bincount(minlength=9).numpy()
    assert stats.chisquare(counts).pvalue > 0.01
    assert (distance**2).mean().item() == pytest.approx(2 * 0.1**2, rel=0.05)
    offset = (x - p.means[mode]).mean(0)
    assert offset.abs().max() < 0.005


def test_the_modes_of_one_seed_say_nothing_about_those_of_another():
    p = ring()
    first, second = torch.cdist(p(2, 4000, Stream("data", 3)), p.means).argmin(-1)
    assert (first == second).float().mean().item() == pytest.approx(1 / 8, abs=0.02)


@pytest.mark.parametrize("modes", [1, 3, 8])
def test_a_ring_has_as_many_modes_as_asked_for(modes):
    p = ring(modes, radius=2.0)
    assert (p.modes, p.features, p.means.unique(dim=0).shape[0]) == (modes, 2, modes)
    torch.testing.assert_close(p.means.norm(dim=1), torch.full((modes,), 2.0))
    gaps = torch.pdist(p.means)
    if modes > 1:
        assert gaps.min().item() == pytest.approx(4 * math.sin(math.pi / modes), abs=1e-5)
        assert p.means.mean(0).abs().max() < 1e-6
    assert p.means[0].tolist() == pytest.approx([2, 0], abs=1e-6)


def test_the_widely_copied_ring_has_seven_modes():
    angle = torch.linspace(0, 2 * math.pi, 8)
    copied = torch.stack((angle.cos(), angle.sin()), 1).round(decimals=4) + 0.0
    assert len(copied.unique(dim=0)) == 7
    assert len((ring().means.round(decimals=4) + 0.0).unique(dim=0)) == 8


def test_the_published_ring_and_grid():
    assert (ring().modes, ring().sd, grid().modes, grid().sd) == (8, 0.01, 25, 0.05)
    expected = {(float(a), float(b)) for a in (-4, -2, 0, 2, 4) for b in (-4, -2, 0, 2, 4)}
    assert {tuple(mean) for mean in grid().means.tolist()} == expected


def test_the_last_mode_of_a_narrow_mixture_is_not_lost_to_rounding():
    p = ring()
    at_the_modes = p.log_prob(p.means)
    torch.testing.assert_close(at_the_modes, torch.full((8,), -math.log(8 * 2 * math.pi * 1e-4)))


def recover(curves: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Return b and c of curves sin(b t + c) from their values around t = 0, in the middle."""
    before, here, after = curves[..., :-2], curves[..., 1:-1], curves[..., 2:]
    # sin(a - h) + sin(a + h) = 2 cos(h) sin(a)
    cosine = ((before + after) * here).sum(-1) / (2 * here**2).sum(-1)
    b = torch.acos(cosine) / step
    middle = curves.shape[-1] // 2
    slope = (curves[..., middle + 1] - curves[..., middle - 1]) / (2 * torch.sin(b * step))
    return b, torch.atan2(curves[..., middle], slope)


def test_sinusoids_have_uniform_frequencies_and_phases():
    family = Sinusoids(points=65)
    curves = family(2, 2000, Stream("data", 4)).double()
    b, c = recover(curves, step=10 / 64)
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


@given(st.integers(1, 12), st.integers(1, 30), st.integers(1, 3), st.integers(1, 8))
@settings(max_examples=60)
def test_every_epoch_holds_every_row_once(n, batch, seeds, calls):
    sampler, rng = Minibatches(torch.arange(float(n)).unsqueeze(1)), Stream("data", n)
    drawn = torch.cat([sampler(seeds, batch, rng) for _ in range(calls)], dim=1).squeeze(-1)
    assert drawn.shape == (seeds, batch * calls)
    full, rest = drawn[:, : drawn.shape[1] // n * n], drawn[:, drawn.shape[1] // n * n :]
    assert (full.reshape(seeds, -1, n).sort(-1).values == torch.arange(float(n))).all()
    assert all(len(row.unique()) == len(row) for row in rest)


def test_orders_are_new_in_every_epoch_and_for_every_seed():
    sampler, rng = Minibatches(torch.arange(100.0).unsqueeze(1)), Stream("data", 0)
    first, second = sampler(3, 100, rng), sampler(3, 100, rng)
    orders = torch.cat((first, second, torch.arange(100.0).expand(1, 100).unsqueeze(-1)))
    assert len(orders.squeeze(-1).unique(dim=0)) == 7


def test_every_order_is_as_likely():
    drawn = Minibatches(torch.arange(3.0).unsqueeze(1))(3000, 3, Stream("data", 1)).squeeze(-1)
    _, counts = drawn.unique(dim=0, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts.numpy()).pvalue > 0.01


@pytest.mark.parametrize("kind", [Minibatches, Resample])
def test_each_seed_may_have_data_of_its_own(kind):
    own = torch.arange(3.0).reshape(3, 1, 1).expand(3, 4, 2) + torch.arange(4.0).reshape(1, 4, 1) / 10
    x = kind(own)(3, 40, Stream("data", 0))
    assert x.shape == (3, 40, 2)
    for seed in range(3):
        torch.testing.assert_close(x[seed].unique(dim=0), own[seed])


@pytest.mark.parametrize("kind", [Minibatches, Resample])
@pytest.mark.parametrize("axes", [(1, 0), (2, 0, 1)])
def test_data_may_lie_in_memory_in_any_order(kind, axes):
    plain = torch.rand(*(3, 4, 5)[: len(axes)], generator=torch.Generator().manual_seed(0))
    turned = plain.permute(axes)
    x = kind(turned)(turned.shape[0], 6, Stream("data", 0))
    assert x.equal(kind(turned.clone(memory_format=torch.contiguous_format))(len(x), 6, Stream("data", 0)))
    own = turned.expand(len(x), *turned.shape[-2:])
    assert all((x[k].unsqueeze(1) == own[k]).all(2).any(1).all() for k in range(len(x)))


def test_minibatches_go_on_from_their_state():
    sampler, rng = Minibatches(ROWS), Stream("data", 0)
    sampler(2, 7, rng)
    state, generator = sampler.state(), rng.generator.get_state()
    expected = [sampler(2, 7, rng) for _ in range(3)]

    resumed, again = Minibatches(ROWS), Stream("data", 99)
    resumed.load_state(state)
    again.generator.set_state(generator)
    for x in expected:
        assert resumed(2, 7, again).equal(x)


def test_the_state_is_a_copy_in_both_directions():
    sampler, rng = Minibatches(ROWS), Stream("data", 0)
    sampler(1, 3, rng)
    state = sampler.state()
    state["order"].zero_()
    assert len(sampler(1, 7, rng).unique(dim=1)[0]) == 7

    other, state = Minibatches(ROWS), sampler.state()
    other.load_state(state)
    state["order"].zero_()
    assert other.state()["order"].equal(sampler.state()["order"])


def test_the_state_before_the_first_batch_can_be_loaded():
    sampler = Minibatches(ROWS)
    sampler(4, 3, Stream("data", 0))
    sampler.load_state(Minibatches(ROWS).state())
    assert sampler(2, 10, Stream("data", 0)).equal(Minibatches(ROWS)(2, 10, Stream("data", 0)))


def test_resampling_draws_rows_whole_and_with_replacement():
    x = Resample(ROWS)(1, 5000, Stream("data", 0))[0]
    assert (x[:, 0] == -x[:, 1]).all()
    assert stats.chisquare(x[:, 0].long().bincount(minlength=10).numpy()).pvalue > 0.01
    few = Resample(ROWS)(200, 10, Stream("data", 1))[..., 0]
    assert any(len(row.unique()) < 10 for row in few)


STATE = {"order": torch.arange(10).expand(2, 10), "position": torch.tensor(3)}


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Normal("4", 1), TypeError, "mean must be a real number, not '4'"),
        (lambda: Normal(math.nan, 1), ValueError, "mean must be finite, not nan"),
        (lambda: Normal(4, 0), ValueError, "sd must be greater than 0, not 0"),
        (lambda: Uniform(2, 2), ValueError, "high end of the support must be greater than 2, not 2"),
        (lambda: Uniform(0, 1, features=0), ValueError, "features must be at least 1, not 0"),
        (lambda: Uniform(0, math.inf), ValueError, "high end of the support must be finite"),
        (lambda: StandardNormal(2.0), TypeError, "features must be a whole number, not 2.0"),
        (lambda: Gaussian([0.0], torch.eye(1)), TypeError, "mean must be a torch.Tensor"),
        (
            lambda: Gaussian(torch.zeros(2, 1), torch.eye(2)),
            ValueError,
            r"mean must have shape \(features,\)",
        ),
        (lambda: Gaussian(B, torch.eye(3)), ValueError, r"covariance must have shape \(2, 2\).*\(3, 3\)"),
        (lambda: Gaussian(B, torch.eye(2) * math.nan), ValueError, "covariance holds 4 values that are not"),
        (lambda: Gaussian(B, A), ValueError, "covariance must be symmetric.*by up to 2.1"),
        (lambda: Gaussian(B, torch.ones(2, 2)), ValueError, "covariance must be positive definite.*diagonal"),
        (lambda: Gaussian.from_transform(A.long(), B), TypeError, "A must hold floating-point numbers"),
        (lambda: Gaussian.from_transform(A[:1], B), ValueError, "covariance must be positive definite"),
        (lambda: Gaussian.from_transform(A, B[:1]), ValueError, r"covariance must have shape \(1, 1\)"),
        (lambda: GaussianMixture(B, 1), ValueError, r"means must have shape \(modes, features\), not \(2,\)"),
        (lambda: GaussianMixture(torch.zeros(0, 2), 1), ValueError, "means is empty"),
        (lambda: GaussianMixture(A, -1), ValueError, "sd must be greater than 0, not -1"),
        (lambda: ring(0), ValueError, "modes must be at least 1, not 0"),
        (lambda: ring(8.0), TypeError, "modes must be a whole number, not 8.0"),
        (lambda: ring(radius=0), ValueError, "radius must be greater than 0"),
        (lambda: grid(side=0), ValueError, "side must be at least 1"),
        (lambda: grid(spacing=-1), ValueError, "spacing must be greater than 0"),
        (lambda: Sinusoids(points=1), ValueError, "points must be at least 2, not 1"),
        (lambda: Sinusoids(low=5, high=-5), ValueError, "the positions must be greater than 5, not -5"),
        (lambda: Sinusoids(frequency=2.0), TypeError, "frequency must be a pair such as .* not 2.0"),
        (lambda: Sinusoids(frequency=(2.0, 0.5)), ValueError, "frequency must be greater than 2, not 0.5"),
        (lambda: Sinusoids(phase=(0, 1, 2)), TypeError, r"phase must be a pair .* not \(0, 1, 2\)"),
        (lambda: Minibatches([[1.0]]), TypeError, "data must be a torch.Tensor"),
        (lambda: Minibatches(torch.zeros(0, 2)), ValueError, "data is empty"),
        (lambda: Minibatches(torch.zeros(5)), ValueError, r"data must have shape .* not \(5,\)"),
        (lambda: Minibatches(torch.zeros(2, 2, 2, 2)), ValueError, "data must have shape"),
        (
            lambda: Minibatches(torch.tensor([[math.inf]])),
            ValueError,
            "data holds 1 values that are not finite",
        ),
        (lambda: Resample(torch.ones(3, 1).int()), TypeError, r"data must hold floating.*data.float\(\)"),
        (lambda: Resample(torch.zeros(5)), ValueError, "data must have shape"),
        (lambda: Minibatches(ROWS).load_state({}), ValueError, "state must hold order and position"),
        (lambda: Minibatches(ROWS[:9]).load_state(STATE), ValueError, "state must hold orders of 9 rows"),
        (
            lambda: Minibatches(ROWS).load_state(STATE | {"position": torch.tensor(11)}),
            ValueError,
            "position 11",
        ),
        (
            lambda: Minibatches(ROWS).load_state(STATE | {"order": torch.zeros(2, 10).long()}),
            ValueError,
            "state must hold orders of 10 rows",
        ),
    ],
)
def test_bad_parameters_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(
    "seeds, batch, rng, error, message",
    [
        (0, 5, Stream("data", 0), ValueError, "seeds must be at least 1, not 0"),
        (2.0, 5, Stream("data", 0), TypeError, "seeds must be a whole number, not 2.0"),
        (2, 0, Stream("data", 0), ValueError, "batch must be at least 1, not 0"),
        (2, True, Stream("data", 0), TypeError, "batch must be a whole number, not True"),
        (
            2,
            5,
            torch.Generator(),
            TypeError,
            r'rng must be a Stream, not Generator: make one with Stream\("data"\)',
        ),
    ],
)
def test_bad_requests_are_refused(name, seeds, batch, rng, error, message):
    with pytest.raises(error, match=message):
        SAMPLERS[name](seeds, batch, rng)


@pytest.mark.parametrize("kind", [Minibatches, Resample])
def test_requests_that_a_data_set_cannot_meet_are_refused(kind):
    with pytest.raises(ValueError, match="seeds must be 3, not 2: data holds a set for each seed"):
        kind(torch.zeros(3, 4, 1))(2, 5, Stream("data", 0))
    with pytest.raises(ValueError, match="rng must be on cpu, as data is, not on meta: move one"):
        kind(ROWS)(2, 5, Stream("data", 0, "meta"))


def test_the_number_of_seeds_cannot_change_inside_an_epoch():
    sampler = Minibatches(ROWS)
    sampler(3, 4, Stream("data", 0))
    with pytest.raises(
        ValueError, match="seeds must be 3, as it was before, not 2.*make another Minibatches"
    ):
        sampler(2, 4, Stream("data", 0))


@pytest.mark.parametrize("name", DENSITIES)
def test_points_of_another_shape_are_refused(name):
    p = DENSITIES[name]
    with pytest.raises(ValueError, match=rf"x must have shape \(\.\.\., {p.features}\), not \(2, 7\)"):
        p.log_prob(torch.zeros(2, 7))
    with pytest.raises(ValueError, match="x must have shape"):
        p.density(torch.tensor(0.0))
    with pytest.raises(ValueError, match="x is empty"):
        p.log_prob(torch.zeros(0, p.features))
    with pytest.raises(TypeError, match="x must hold floating-point numbers"):
        p.log_prob(torch.zeros(2, p.features, dtype=torch.long))


@pytest.mark.parametrize("p", [Normal(4, 1.25), Uniform(-5, 3)])
def test_cdf_and_quantile_want_tensors(p):
    with pytest.raises(TypeError, match="x must be a torch.Tensor of shape .* not float"):
        p.cdf(0.5)
    with pytest.raises(TypeError, match="u must be a torch.Tensor of shape .* not float"):
        p.quantile(0.5)

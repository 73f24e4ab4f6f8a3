"""Metrics, against closed forms and against SciPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial.distance
import torch
from scipy import stats
from torch import Tensor

from gan_helpers.data import Normal, Uniform
from gan_helpers.metrics import (
    classifier_two_sample_test,
    fit_gaussian,
    jsd,
    kl,
    ks,
    mmd,
    moments,
    sliced_w1,
    w1,
    w1_points,
    w2_gaussian,
)
from gan_helpers.randomness import Stream

NORMAL, TARGET = Normal(0, 1).density, Normal(4, 1.25)
# The uniform distribution with the target's mean and standard deviation: wrong, and hard to tell apart.
MATCHED = Uniform(4 - 1.25 * math.sqrt(3), 4 + 1.25 * math.sqrt(3))


def quantiles(law: Normal | Uniform, n: int = 20_000) -> Tensor:
    """Return the n points that stand for a distribution best, as the sample of one seed, (1, n)."""
    return law.quantile((torch.arange(n, dtype=torch.float64) + 0.5) / n).unsqueeze(0)


def skewed(seeds: int = 3, n: int = 400) -> Tensor:
    """Return samples that differ from one another and are not symmetric, (seeds, n)."""
    z = Stream("sample", 1).normal(seeds, n).double()
    return torch.exp(0.5 * z) * torch.arange(1.0, seeds + 1).unsqueeze(1) - 2


def test_the_matched_uniform_is_as_far_away_as_is_known():
    assert (MATCHED.mean, MATCHED.sd) == pytest.approx((TARGET.mean, TARGET.sd))
    x = quantiles(MATCHED)
    assert f"{ks(x, TARGET).item():.3f}" == "0.057"
    assert f"{w1(x, TARGET).item():.3f}" == "0.193"
    assert f"{jsd(MATCHED.density, TARGET.density, -6, 14):.3f}" == "0.049"


# Moments


def test_moments_are_those_of_scipy_for_each_seed():
    found, x = moments(skewed()), skewed().numpy()
    np.testing.assert_allclose(found.mean, x.mean(1), rtol=1e-12)
    np.testing.assert_allclose(found.sd, x.std(1), rtol=1e-12)
    np.testing.assert_allclose(found.skewness, stats.skew(x, axis=1), rtol=1e-10)
    np.testing.assert_allclose(found.kurtosis, stats.kurtosis(x, axis=1), rtol=1e-10)


@pytest.mark.parametrize("value", [0.0, 3.7, -1e6 / 3])
def test_a_sample_without_spread_has_no_shape(value):
    # In double precision the mean of 1001 numbers like these is off by a rounding.
    found = moments(torch.full((2, 1001), value, dtype=torch.float64))
    assert found.sd.tolist() == [0, 0]
    assert found.skewness.isnan().all() and found.kurtosis.isnan().all()


# Distances on the line


def test_w1_and_ks_are_those_of_scipy_for_each_seed():
    x = TARGET(3, 257, Stream("sample", 0)).squeeze(-1) * torch.tensor([[1.0], [0.5], [1.3]])
    against = quantiles(TARGET, 257)[0].numpy()
    expected = [stats.wasserstein_distance(seed.double().numpy(), against) for seed in x]
    np.testing.assert_allclose(w1(x, TARGET), expected, rtol=1e-12)
    expected = [stats.kstest(seed.double().numpy(), stats.norm(4, 1.25).cdf).statistic for seed in x]
    np.testing.assert_allclose(ks(x, TARGET), expected, rtol=1e-12)


@pytest.mark.parametrize("m", [1, 40, 1001])
@pytest.mark.parametrize("decimals", [0, 8], ids=["ties", "no ties"])
@pytest.mark.parametrize(
    "metric, scipy_s",
    [(w1, stats.wasserstein_distance), (ks, lambda x, y: stats.ks_2samp(x, y, mode="asymp").statistic)],
)
def test_the_distance_of_two_samples_is_that_of_scipy(metric, scipy_s, decimals, m):
    x, y = skewed(3, 40).round(decimals=decimals), skewed(3, m).flip(0).round(decimals=decimals) + 1
    expected = [scipy_s(a.numpy(), b.numpy()) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(metric(x, y), expected, rtol=1e-9)
    np.testing.assert_allclose(metric(y, x), expected, rtol=1e-9)
    alone = [scipy_s(a.numpy(), y[0].numpy()) for a in x]
    np.testing.assert_allclose(metric(x, y[0]), alone, rtol=1e-9)
    assert metric(x, x).tolist() == [0, 0, 0]


def test_ks_looks_at_both_sides_of_every_step():
    target = Uniform(0, 1)
    x = torch.tensor([[0.9, 0.9], [0.1, 0.1], [-3.0, -2.0], [0.5, 2.0]])
    assert ks(x, target).tolist() == pytest.approx([0.9, 0.9, 1, 0.5])


def test_one_number_makes_a_sample():
    assert w1(torch.tensor([[5.0]]), TARGET).item() == pytest.approx(1)
    assert ks(torch.tensor([[4.0]]), TARGET).item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    "metric",
    [lambda x: w1(x, TARGET), lambda x: ks(x, TARGET), lambda x: w1(x, 2 * x[0]), lambda x: moments(x).sd],
)
def test_metrics_are_in_double_precision_without_a_graph_and_do_not_see_the_order(metric):
    x = skewed().float().requires_grad_()
    found = metric(x)
    assert (found.dtype, found.shape, found.requires_grad) == (torch.float64, (3,), False)
    assert found.equal(metric(x.detach().double()))
    torch.testing.assert_close(metric(x[:, Stream("order", 0).permutation(x.shape[1])]), found)


# Distances in the plane


def test_the_distance_of_points_is_the_cheapest_way_to_pair_them():
    x, y = (torch.stack([skewed(3, 5), skewed(3, 5).flip(k)], 2) + k for k in (0, 1))
    expected = [
        min((a - b[list(order)]).norm(dim=1).mean().item() for order in itertools.permutations(range(5)))
        for a, b in zip(x, y, strict=True)
    ]
    assert w1_points(x, y).tolist() == pytest.approx(expected)


def test_on_a_line_in_the_plane_it_is_that_of_scipy_and_stays_so_when_the_line_is_turned():
    x, y = skewed(3, 60), skewed(3, 60).flip(0) + 1
    expected = [stats.wasserstein_distance(a.numpy(), b.numpy()) for a, b in zip(x, y, strict=True)]
    for line in (torch.tensor([1.0, 0]), torch.tensor([0.6, -0.8])):
        found = w1_points(x.unsqueeze(2) * line, y.unsqueeze(2) * line)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert w1_points(x.unsqueeze(2), x.flip(1).unsqueeze(2)).tolist() == [0, 0, 0]


def test_shadows_in_each_direction_are_compared_in_widths_of_the_second_sample():
    x = torch.stack([skewed(3, 50), skewed(3, 50).flip(1)], 2)
    y = torch.stack([skewed(1, 80)[0] * 2 + 1, skewed(1, 80)[0].flip(0)], 1)
    expected = np.zeros(3)
    for k in range(8):
        way = torch.tensor([math.cos(math.pi * k / 8), math.sin(math.pi * k / 8)], dtype=torch.float64)
        shadow = (y.double() @ way).numpy()
        for seed, points in enumerate(x.double() @ way):
            expected[seed] += stats.wasserstein_distance(points.numpy(), shadow) / shadow.std() / 8
    np.testing.assert_allclose(sliced_w1(x, y), expected, rtol=1e-5)
    assert sliced_w1(y[None], y).item() == 0


def test_a_block_as_wide_as_a_bell_differs_in_its_shadows_and_not_in_its_fit():
    rng = Stream("shadows", 0)
    block = (rng.uniform(1, 4000, 2) - 0.5) * 12**0.5
    bell, other = rng.normal(10_000, 2), rng.normal(1, 4000, 2)
    fit = fit_gaussian(block)
    assert w2_gaussian(fit.mean, fit.covariance, torch.zeros(2).double(), EYE.double()).item() < 0.1
    assert sliced_w1(block, bell).item() > 2 * sliced_w1(other, bell).item()


# Gaussians


def covariances(seeds: int, d: int, seed: int = 0) -> Tensor:
    """Return random covariances, (seeds, d, d)."""
    a = Stream("covariance", seed).normal(seeds, d, d).double()
    return a @ a.mT


def test_the_fitted_gaussian_is_that_of_numpy():
    x = Stream("sample", 0).normal(3, 50, 4) @ Stream("map", 0).normal(4, 4) + 3
    fit = fit_gaussian(x)
    assert fit.mean.dtype == torch.float64
    np.testing.assert_allclose(fit.mean, x.double().mean(1), rtol=1e-12)
    expected = [np.cov(sample.double().numpy().T, bias=True) for sample in x]
    np.testing.assert_allclose(fit.covariance, expected, rtol=1e-9)


@pytest.mark.parametrize("targets", [1, 4])
def test_w2_is_the_trace_formula_with_scipy_roots(targets):
    """One target is for all seeds, and has no axis of seeds."""
    c1, c2 = covariances(4, 3, seed=1), covariances(targets, 3, seed=2).squeeze(0)
    mean = Stream("mean", 0).normal(4, 3)
    found = w2_gaussian(mean, c1, torch.zeros(3), c2)
    assert (found.shape, found.dtype) == ((4,), torch.float64)
    for k, target in enumerate(c2.expand(4, 3, 3)):
        root = scipy.linalg.sqrtm(target.numpy())
        cross = scipy.linalg.sqrtm(root @ c1[k].numpy() @ root).real
        squared = (mean[k].double() ** 2).sum() + np.trace((c1[k] + target).numpy() - 2 * cross)
        assert found[k].item() == pytest.approx(math.sqrt(squared), rel=1e-9)


def test_w2_between_lines_is_exact():
    v, w, zero = torch.tensor([3.0, 4.0]).double(), torch.tensor([1.0, 0.0]).double(), torch.zeros(2)
    found = w2_gaussian(zero, v.outer(v), zero, w.outer(w))
    assert found.item() == pytest.approx(math.sqrt(25 + 1 - 2 * 3), rel=1e-7)
    assert w2_gaussian(zero, torch.zeros(2, 2), zero, w.outer(w)).item() == pytest.approx(1)


def test_w2_resolves_small_distances():
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1)
    assert w2_gaussian(zero, one, zero, one * (1 + 1e-10) ** 2).item() == pytest.approx(1e-10, rel=1e-4)
    c = covariances(5, 4)
    assert w2_gaussian(torch.zeros(4), c, torch.zeros(4), c).max() < 1e-12


def test_w2_forgives_what_rounding_does_to_a_covariance():
    tilted, negative = torch.tensor([[1.0, 1.0 + 1e-6], [1.0, 1.0]]), torch.tensor([1.0, -1e-8]).diag()
    zero = torch.zeros(2)
    assert w2_gaussian(zero, tilted, zero, torch.ones(2, 2)).item() < 2e-3
    assert w2_gaussian(zero, negative, zero, torch.tensor([1.0, 0.0]).diag()).item() < 1e-12


# Divergences


def python_normal(x: float) -> float:
    return math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize("p", [NORMAL, stats.norm(0, 1).pdf, python_normal])
@pytest.mark.filterwarnings("error")
def test_densities_come_in_every_usual_form(p):
    assert jsd(p, NORMAL, -9, 9) == pytest.approx(0, abs=1e-12)
    assert kl(p, NORMAL, -9, 9) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize(
    "p, q, expected",
    [
        (Uniform(0, 1), Uniform(0.7, 1.7), 0.7 * math.log(2)),
        (Uniform(0, 1), Uniform(2, 2.5), math.log(2)),
        (Normal(-1, 0.01), Normal(1, 0.01), math.log(2)),
    ],
)
def test_jsd_is_log_2_times_the_share_that_does_not_overlap(p, q, expected):
    found = jsd(p.density, q.density, -3, 3)
    assert type(found) is float and found == pytest.approx(expected, abs=1e-6)
    assert jsd(q.density, p.density, -3, 3) == pytest.approx(found, abs=1e-9)


@pytest.mark.parametrize(
    "m1, s1, m2, s2", [(0, 1, 1, 1), (4, 1.25, 3, 2), (0, 1, 0, 0.9), (0, 0.05, 0.1, 0.06)]
)
def test_kl_between_normals(m1, s1, m2, s2):
    expected = math.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5
    # Wide limits: far out both densities are too small for a double, and not both from the same point on.
    assert kl(Normal(m1, s1).density, Normal(m2, s2).density, -45, 45) == pytest.approx(expected, abs=1e-6)


def test_kl_is_infinite_only_where_p_has_mass_that_q_lacks():
    wide, narrow = Uniform(0, 2).density, Uniform(0, 1).density
    assert kl(wide, narrow, -1, 3) == math.inf
    assert kl(narrow, wide, -1, 3) == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("mean", [-8.1, 12.3])
def test_narrow_peaks_on_a_wide_range_are_found(mean):
    p, q = Normal(mean, 0.05).density, Normal(mean + 0.05, 0.05).density
    assert kl(p, q, mean - 1, mean + 1) == pytest.approx(0.5, abs=1e-6)
    assert jsd(p, q, -50, 50) == pytest.approx(jsd(p, q, mean - 1, mean + 1), abs=1e-6)


@pytest.mark.parametrize("divergence", [jsd, kl])
@pytest.mark.parametrize(
    "p, q, low, high, words",
    [
        (NORMAL, Normal(5, 1).density, -6, 6, "q must integrate to 1, but does to 0.84"),
        (lambda x: x / 2, NORMAL, -9, 9, "p must be a density, finite and at least 0"),
        (NORMAL, lambda x: math.nan, -9, 9, "q must be a density.* but is nan at"),
        (Normal(0, 1), NORMAL, -9, 9, r"p must be a density such as .*\.density, not Normal\(mean=0"),
        (NORMAL, NORMAL, 9, -9, "high must be greater than 9, not -9"),
        (lambda x: torch.ones(2), NORMAL, -9, 9, r"must be one number for one x, not of shape \(2,\)"),
    ],
)
def test_what_is_no_density_is_refused(divergence, p, q, low, high, words):
    with pytest.raises((TypeError, ValueError), match=words):
        divergence(p, q, low, high)


def test_a_density_may_miss_a_thousandth_of_its_mass_and_no_more():
    assert jsd(lambda x: 0.9991 * python_normal(x), NORMAL, -9, 9) == pytest.approx(0, abs=1e-3)
    with pytest.raises(ValueError, match="p must integrate to 1, but does to 0.9989"):
        jsd(lambda x: 0.9989 * python_normal(x), NORMAL, -9, 9)


def test_a_density_too_rough_to_integrate_is_refused():
    with pytest.raises(ValueError, match=r"an integral over \[0, 1\] is known only to within"):
        jsd(lambda x: 1 + math.cos(1e7 * x), Uniform(0, 1).density, 0, 1)


def test_a_density_is_computed_once_at_each_point():
    points = []
    jsd(lambda x: points.append(x.item()) or python_normal(x), NORMAL, -9, 9)
    assert len(points) == len(set(points)) > 100


# Two-sample tests


def pair(n: int, m: int, seed: int, shift: float = 0.0, features: int = 2) -> tuple[Tensor, Tensor]:
    """Return two normal samples, the second one shifted."""
    z = Stream("pair", seed).normal(n + m, features)
    return z[:n], z[n:] + shift


def test_mmd_is_the_sum_over_pairs_at_their_median_distance_unless_a_bandwidth_is_given():
    x, y = pair(5, 6, seed=0, shift=0.5)
    median = np.median(scipy.spatial.distance.pdist(torch.cat((x, y)).double().numpy()))
    for given, h in ((0.7, 0.7), (None, median)):
        found = mmd(x, y, Stream("test", 0), given, permutations=1)
        xx, yy, xy = (
            np.exp(-(scipy.spatial.distance.cdist(a, b) ** 2) / (2 * h**2)).sum()
            for a, b in ((x, x), (y, y), (x, y))
        )
        expected = (xx - 5) / 20 + (yy - 6) / 30 - 2 * xy / 30
        assert found.statistic == pytest.approx(expected, rel=1e-6)
        assert found.bandwidth == pytest.approx(h, rel=1e-12)
    as_far = 501 * mmd(x, x + 100, Stream("test", 0)).p_value  # of 500 splits, and the one that was found
    assert as_far == pytest.approx(round(as_far)) and as_far < 10


def test_mmd_under_the_null_is_unbiased_and_its_p_value_uniform():
    found = [mmd(*pair(12, 17, seed), Stream("test", seed), permutations=39) for seed in range(120)]
    statistics = np.array([result.statistic for result in found])
    assert abs(statistics.mean()) < 3 * statistics.std() / math.sqrt(120)
    assert stats.kstest([result.p_value for result in found], "uniform").pvalue > 0.01


def test_mmd_does_not_see_where_the_origin_is():
    x, y = (s.double() for s in pair(30, 30, seed=6, shift=0.5))
    here, far = (mmd(x + at, y + at, Stream("test", 0), permutations=9) for at in (0, 1e6))
    assert far.statistic == pytest.approx(here.statistic, rel=1e-6)


def test_mmd_counts_splits_that_tie():
    # Four points split in half: of the three distinct splits this one is the extreme.
    x, y = torch.tensor([[0.1], [0.3]]), torch.tensor([[5.7], [6.1]])
    found = mmd(x, y, Stream("test", 0), permutations=3000)
    assert found.p_value == pytest.approx(1 / 3, abs=0.03)


def test_tests_repeat_with_the_stream_and_change_with_it():
    x, y = pair(20, 20, seed=4)
    for test in (mmd, classifier_two_sample_test):
        results = [test(x, y, Stream("test", seed)) for seed in (0, 0, 1)]
        assert results[0] == results[1] != results[2]


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_a_classifier_comes_close_to_the_best_accuracy(shift):
    found = classifier_two_sample_test(*pair(2000, 2000, 5, shift, features=1), Stream("test", 0))
    assert found.accuracy == pytest.approx(stats.norm.cdf(shift / 2), abs=0.03)
    assert found.effect_size == found.accuracy - 0.5
    assert found.p_value < 1e-20 if shift else 0.01 < found.p_value < 1


def test_the_usual_classifier_sees_local_differences():
    place = torch.arange(20.0).repeat(40).reshape(-1, 2, 1) + 0.01 * Stream("sample", 0).normal(400, 2, 1)
    found = classifier_two_sample_test(place[:, 0], place[:, 1], Stream("test", 0))
    assert found.accuracy == 1


class Memory:
    """A classifier that knows by heart what it has seen, and answers 0 to anything else."""

    def fit(self, X, y):
        self.seen = dict(zip(X[:, 0], y, strict=True))

    def predict(self, X):
        self.asked = list(X[:, 0])
        return np.array([[self.seen.get(x, 0)] for x in self.asked])


@pytest.mark.parametrize("n", [2, 11, 40])
def test_a_classifier_is_judged_on_rows_that_it_has_not_seen(n):
    x, y = torch.arange(2.0 * n).reshape(2, n, 1)
    memory, test = Memory(), n - n // 2
    found = classifier_two_sample_test(x, y, Stream("test", 0), classifier=memory)
    assert sorted([*memory.seen, *memory.asked]) == list(range(2 * n))
    assert [sum(a < n for a in half) for half in (memory.seen, memory.asked)] == [n // 2, test]
    assert all(label == (a >= n) for a, label in memory.seen.items())
    assert found.accuracy == 0.5
    assert found.p_value == pytest.approx(stats.binom(2 * test, 0.5).sf(test - 1))


# Bad input

HALF = torch.tensor([[0.0, math.nan]])
EYE = torch.eye(2)
ONE = EYE[0]
RNG = Stream("test", 0)
REFUSED = {
    r"\(seeds, n\), not ndarray: call torch.tensor\(x": lambda: moments(np.ones((2, 3))),
    r"\(seeds, n\), not \(2,\): call x.unsqueeze\(0\) if": lambda: moments(ONE),
    r"\(seeds, n\), not \(2, 2, 1\): call x.squeeze\(-1\)": lambda: ks(EYE.unsqueeze(2), TARGET),
    "x holds 1 values that are not finite, of 2": lambda: moments(HALF),
    "target must have a method quantile, as data.Normal.* or be a torch.Tensor": lambda: w1(EYE, NORMAL),
    r"not \(3, 1\): call target.squeeze\(-1\)": lambda: w1(EYE, torch.ones(3, 1)),
    r"target must have shape \(m,\) or \(2, m\), not \(3, 4\)": lambda: w1(EYE, torch.ones(3, 4)),
    r"one shape, not \(1, 2, 2\) and \(1, 2, 1\)": lambda: w1_points(EYE[None], ONE[None, :, None]),
    r"2 features, not 3 and 2": lambda: sliced_w1(torch.ones(1, 4, 3), EYE),
    r"y must have shape \(m, 2\), not \(1, 2, 2\)": lambda: sliced_w1(EYE[None], EYE[None]),
    "y must spread in each of eight directions": lambda: sliced_w1(EYE[None], EYE * torch.tensor([1.0, 0.0])),
    "target holds 1 values that are not finite": lambda: ks(EYE, HALF[0]),
    r"not \(3, 5, 28, 28\): call x.flatten\(2\) on images": lambda: fit_gaussian(torch.ones(3, 5, 28, 28)),
    r"mean1 must .* \(2,\) and \(3, 3\)": lambda: w2_gaussian(ONE, torch.eye(3), ONE, EYE),
    r"mean1 must have .* \(1, 2, 2\) and": lambda: w2_gaussian(EYE[None], EYE, ONE, EYE),
    "features, not 2 and 3": lambda: w2_gaussian(ONE, EYE, torch.ones(3), torch.eye(3)),
    "cov2 must be symmetric": lambda: w2_gaussian(ONE, EYE, ONE, EYE + EYE.roll(1, 1).triu()),
    "cov1 must have no negative eigenvalue.* -1": lambda: w2_gaussian(ONE, -EYE, ONE, EYE),
    r"seeds, not \[3, 4\]": lambda: w2_gaussian(torch.ones(4, 2), EYE, ONE, EYE.expand(3, 2, 2)),
    r"y must have shape \(n, features\), not \(2,\): call y.unsqueeze\(1\)": lambda: mmd(EYE, ONE, RNG),
    "x and y must have as many features, not 2 and 3": lambda: mmd(EYE, torch.eye(3), RNG),
    "x and y must have at least 2 rows each, not 2 and 1": lambda: mmd(EYE, EYE[:1], RNG),
    "bandwidth must be greater than 0, not 0": lambda: mmd(EYE, EYE + 1, RNG, bandwidth=0),
    "median distance .* give a bandwidth": lambda: mmd(torch.ones(3, 1), torch.ones(3, 1), RNG),
    "as many rows, not 2 and 3: cut the": lambda: classifier_two_sample_test(EYE, torch.ones(3, 2), RNG),
}


@pytest.mark.parametrize("words", REFUSED)
def test_bad_arguments_are_refused_with_the_way_out(words):
    with pytest.raises((TypeError, ValueError), match=words):
        REFUSED[words]()

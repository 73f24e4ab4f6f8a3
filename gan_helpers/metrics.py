r"""How far what a generator makes is from what it should make, with the exact distance wherever there is one.

Functions of samples take one sample for each seed, ``(seeds, n)`` or ``(seeds, n, features)``, and return one
number for each seed, computed in double precision on the sample's device and without gradients. Two-sample
tests and divergences compare one pair and return Python numbers. Every moment divides by n: it is the moment
of the sample itself, and what maximum likelihood fits.

Raises:
    TypeError: everywhere, if a sample is not a floating-point tensor, or another argument of another type.
    ValueError: everywhere, if an argument is empty, not finite, or of a shape that does not fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import rel_entr
from scipy.stats import binomtest
from torch import Tensor

from gan_helpers import _checks
from gan_helpers._quadrature import LineDensity, densities, integral
from gan_helpers.randomness import Stream

NO_SPREAD = 1e-9  # of the largest standard deviation: rounding alone, across points on a line
NEGLIGIBLE_MASS = 1e-9  # of p, where q is 0: rounding in the far tails, and not a smaller support
ROUNDING = 1e-12  # two permutations whose statistics differ by less are equal
TINY = float(np.finfo(np.float64).tiny)


class HasQuantile(Protocol):
    """A distribution on the line with a known quantile function."""

    def quantile(self, u: Tensor) -> Tensor:
        """Return the inverse of the distribution function at ``u``, elementwise."""
        ...


class HasCdf(Protocol):
    """A distribution on the line with a known distribution function."""

    def cdf(self, x: Tensor) -> Tensor:
        r"""Return :math:`P(X \le x)`, elementwise."""
        ...


class Classifier(Protocol):
    """What learns to tell two samples apart: any classifier in scikit-learn's manner."""

    def fit(self, X: NDArray[np.float64], y: NDArray[np.int64]) -> object:
        """Learn from rows ``X`` with labels ``y``, 0 or 1."""
        ...

    def predict(self, X: NDArray[np.float64]) -> ArrayLike:
        """Return the label of each row of ``X``."""
        ...


@dataclass(frozen=True, eq=False)
class Moments:
    """The moments of one sample for each seed; see `moments`.

    Args:
        mean: the mean, ``(seeds,)``.
        sd: the standard deviation, ``(seeds,)``.
        skewness: the third standardised moment, ``(seeds,)``.
        kurtosis: the fourth standardised moment less 3, ``(seeds,)``.
    """

    mean: Tensor
    sd: Tensor
    skewness: Tensor
    kurtosis: Tensor


@dataclass(frozen=True, eq=False)
class GaussianFit:
    """The Gaussian closest to one sample for each seed; see `fit_gaussian`.

    Args:
        mean: the means, ``(seeds, features)``.
        covariance: the covariances, ``(seeds, features, features)``.
    """

    mean: Tensor
    covariance: Tensor


@dataclass(frozen=True)
class MMDTest:
    """The result of a kernel two-sample test; see `mmd`.

    Args:
        statistic: the unbiased estimate of MMD², which may be negative.
        p_value: how often a random split of the same points does at least as well, from 0 to 1.
        bandwidth: of the kernel, in the units of the points.
    """

    statistic: float
    p_value: float
    bandwidth: float


@dataclass(frozen=True)
class ClassifierTest:
    """The result of a classifier two-sample test; see `classifier_two_sample_test`.

    Args:
        accuracy: share of the held-out points that were told right, from 0 to 1.
        effect_size: accuracy - 1/2: 0 for samples that can't be told apart, 1/2 for separate ones.
        p_value: how likely guessing is to do at least as well, from 0 to 1.
    """

    accuracy: float
    effect_size: float
    p_value: float


def _sample(name: str, x: Tensor, shape: str, dims: int | None = None) -> Tensor:
    """Return a checked sample in double precision, without its graph."""
    return _checks.finite(name, x, shape, dims).detach().double()


def moments(x: Tensor) -> Moments:
    r"""Return mean, standard deviation, skewness and excess kurtosis of each seed's sample.

    .. math:: m_k = \frac{1}{n} \sum_i (x_i - \bar{x})^k, \qquad
        \bar{x}, \quad \sqrt{m_2}, \quad m_3 / m_2^{3/2}, \quad m_4 / m_2^2 - 3

    All divide by n: these are the biased estimators, also known as population moments, as in
    ``scipy.stats.skew`` and ``scipy.stats.kurtosis``. A normal distribution has skewness and kurtosis 0.
    Of a sample without spread both are NaN.

    Args:
        x: samples, ``(seeds, n)``.

    Reference:
        Joanes and Gill, *Comparing measures of sample skewness and kurtosis*, 1998,
        https://doi.org/10.1111/1467-9884.00122.
    """
    x = _sample("x", x, "(seeds, n)", dims=2)
    mean = x.mean(1)
    centred = x - mean.unsqueeze(1)
    m2, m3, m4 = ((centred**k).mean(1) for k in (2, 3, 4))
    # The mean of n equal numbers can be off by n roundings, which must not be taken for a spread.
    spread = m2 > (x.shape[1] * torch.finfo(x.dtype).eps * mean) ** 2
    m2 = m2.where(spread, 0)
    return Moments(mean, m2.sqrt(), m3.where(spread, 0) / m2**1.5, m4.where(spread, 0) / m2**2 - 3)


def w1(x: Tensor, target: HasQuantile | Tensor) -> Tensor:
    r"""Return the 1-Wasserstein distance of each seed's sample from a distribution on the line.

    .. math:: W_1 = \int_0^1 |Q_x(u) - Q(u)|\, du \approx
        \frac{1}{n} \sum_{i=1}^{n} \left| x_{(i)} - Q\left(\frac{i - 1/2}{n}\right) \right|

    That is the exact distance between the sample and the n points that stand for the target best, in
    the units of x. Even a perfect sample is not at 0: its own noise is left, of the order of
    :math:`\sigma / \sqrt{n}`. From another sample it is :math:`\int |F_x(t) - F(t)|\, dt`, exactly.

    Args:
        x: samples, ``(seeds, n)``.
        target: what they should follow: `data.Normal`, `data.Uniform` or anything else with ``quantile``; or
            a sample of it, ``(m,)`` for all seeds alike or ``(seeds, m)``.

    Returns:
        The distances, ``(seeds,)``.

    Reference:
        Vallender, *Calculation of the Wasserstein distance between probability distributions on the line*,
        1974, https://doi.org/10.1137/1118101.
    """
    x = _sample("x", x, "(seeds, n)", dims=2)
    if isinstance(target, Tensor):
        points, gap = _gaps(x, target)
        return (gap[:, :-1] * points.diff()).sum(1)
    _needs(target, "quantile")
    u = (torch.arange(x.shape[1], dtype=x.dtype, device=x.device) + 0.5) / x.shape[1]
    return (x.sort(1).values - target.quantile(u)).abs().mean(1)


def w1_points(x: Tensor, y: Tensor) -> Tensor:
    r"""Return the 1-Wasserstein distance of two samples of one size in any number of dimensions.

    .. math:: W_1 = \min_{\sigma} \frac{1}{n} \sum_{i=1}^{n} \lVert x_i - y_{\sigma(i)} \rVert

    over all ways to pair them. It is exact, by an assignment problem that takes time of up to the order of
    :math:`n^3`: 1,000 points take about a tenth of a second. Two samples of one distribution are not at 0;
    how far they are apart grows with the number of dimensions.

    Args:
        x: one sample for each seed, ``(seeds, n, features)``.
        y: the other ones, of the same shape.

    Returns:
        The distances, ``(seeds,)``.

    Reference:
        Crouse, *On implementing 2D rectangular assignment algorithms*, 2016,
        https://doi.org/10.1109/TAES.2016.140952; it is what SciPy solves the problem by.
    """
    x, y = (_sample(name, sample, "(seeds, n, features)", dims=3) for name, sample in (("x", x), ("y", y)))
    if x.shape != y.shape:
        raise ValueError(f"x and y must have one shape, not {tuple(x.shape)} and {tuple(y.shape)}.")
    found = []
    for cost in torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").cpu().numpy():
        found.append(cost[linear_sum_assignment(cost)].mean())
    return torch.tensor(found, dtype=x.dtype, device=x.device)


def sliced_w1(x: Tensor, y: Tensor) -> Tensor:
    r"""Return the distance W1 of the shadows of two samples of the plane, averaged over eight directions.

    .. math:: \frac{1}{8} \sum_{k=0}^{7} \frac{W_1(x w_k,\ y w_k)}{\operatorname{sd}(y w_k)}, \qquad
        w_k = \left(\cos \frac{\pi k}{8},\ \sin \frac{\pi k}{8}\right)

    It takes time of the order of :math:`n \log n`, so it can use more points than `w1_points`, and has less
    noise. It sees shape, which `w2_gaussian` of two fits does not.

    Args:
        x: one sample for each seed, ``(seeds, n, 2)``.
        y: what they should follow: a sample of it for all seeds alike, ``(m, 2)``.

    Returns:
        The distances in standard deviations of y's shadows, ``(seeds,)``.

    Raises:
        ValueError: if a shadow of y has no standard deviation.

    Reference:
        Bonneel et al., *Sliced and Radon Wasserstein barycenters of measures*, 2015,
        https://doi.org/10.1007/s10851-014-0506-3.
    """
    x = _sample("x", x, "(seeds, n, 2)", dims=3)
    y = _sample("y", y, "(m, 2)", dims=2).to(x.device)
    if x.shape[2] != 2 or y.shape[1] != 2:
        raise ValueError(f"x and y must have 2 features, not {x.shape[2]} and {y.shape[1]}.")
    angles = torch.arange(8, dtype=x.dtype, device=x.device) * (torch.pi / 8)
    ways = torch.stack([angles.cos(), angles.sin()], 1)
    spreads = (y @ ways.T).std(0, correction=0)
    if not spreads.min() > NO_SPREAD * spreads.max():
        raise ValueError("y must spread in each of eight directions: its points lie on a line across one.")
    return torch.stack([w1(x @ way, y @ way) for way in ways], 1).div(spreads).mean(1)


def ks(x: Tensor, target: HasCdf | Tensor) -> Tensor:
    r"""Return the Kolmogorov-Smirnov statistic of each seed's sample against a distribution on the line.

    .. math:: D = \sup_t |F_x(t) - F(t)|
        = \max_i \max\left( \frac{i}{n} - F(x_{(i)}),\ F(x_{(i)}) - \frac{i - 1}{n} \right)

    Args:
        x: samples, ``(seeds, n)``.
        target: what they should follow: `data.Normal`, `data.Uniform` or anything else with a continuous
            ``cdf``; or a sample of it, ``(m,)`` for all seeds alike or ``(seeds, m)``.

    Returns:
        The statistics, ``(seeds,)``, from 0 to 1.

    Reference:
        Massey, *The Kolmogorov-Smirnov test for goodness of fit*, 1951,
        https://doi.org/10.1080/01621459.1951.10500769.
    """
    x = _sample("x", x, "(seeds, n)", dims=2)
    if isinstance(target, Tensor):
        return _gaps(x, target)[1].amax(1)
    _needs(target, "cdf")
    n = x.shape[1]
    cdf = target.cdf(x.sort(1).values)
    steps = torch.arange(n + 1, dtype=x.dtype, device=x.device) / n
    return torch.maximum(steps[1:] - cdf, cdf - steps[:-1]).amax(1)


def _gaps(x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the points of two samples in order, and how far apart the shares up to each point are."""
    target = _sample("target", target, "(m,) or (seeds, m)").to(x.device)
    if target.dim() not in (1, 2) or target.dim() == 2 and len(target) != len(x):
        call = ": call target.squeeze(-1)" if target.shape[-1:] == (1,) else ""
        raise ValueError(f"target must have shape (m,) or ({len(x)}, m), not {tuple(target.shape)}{call}.")
    samples = x.sort(1).values, target.expand(len(x), -1).sort(1).values
    points = torch.cat(samples, 1).sort(1).values
    shares = [torch.searchsorted(sample, points, right=True).double() / sample.shape[1] for sample in samples]
    return points, (shares[0] - shares[1]).abs()


def _needs(target: object, method: str) -> None:
    """Check that a distribution has the function that a metric is computed from."""
    if not callable(getattr(target, method, None)):
        raise TypeError(
            f"target must have a method {method}, as data.Normal and data.Uniform have, or be a torch.Tensor "
            f"with a sample, not of type {type(target).__name__}."
        )


def fit_gaussian(x: Tensor) -> GaussianFit:
    r"""Return the mean and the covariance of each seed's sample.

    .. math:: \bar{x} = \frac{1}{n} \sum_i x_i, \qquad
        S = \frac{1}{n} \sum_i (x_i - \bar{x}) (x_i - \bar{x})^\top

    S divides by n, not by n - 1: together they are the Gaussian of maximum likelihood.

    Args:
        x: samples, ``(seeds, n, features)``.
    """
    x = _sample("x", x, "(seeds, n, features)", dims=3)
    mean = x.mean(1)
    centred = x - mean.unsqueeze(1)
    return GaussianFit(mean, centred.mT @ centred / x.shape[1])


def w2_gaussian(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> Tensor:
    r"""Return the 2-Wasserstein distance between Gaussians, in closed form.

    .. math:: W_2^2 = |m_1 - m_2|^2
        + \operatorname{tr}\left( C_1 + C_2 - 2 (C_2^{1/2} C_1 C_2^{1/2})^{1/2} \right)

    It is computed in its equivalent form :math:`|m_1 - m_2|^2 + \min_U \|C_1^{1/2} - C_2^{1/2} U\|_F^2` over
    the orthogonal U. That is a sum of squares, where the trace is a difference of nearly equal numbers once
    the fit is good. Covariances may be singular: a generator that makes a line is at an exact distance too.

    Args:
        mean1: means of the first Gaussians, ``(seeds, features)`` or ``(features,)``.
        cov1: their covariances, ``(seeds, features, features)`` or ``(features, features)``.
        mean2: means of the second Gaussians. Leading axes broadcast, so one target serves all seeds.
        cov2: their covariances.

    Returns:
        The distances W2 (not squared), in the units of the features, ``(seeds,)``; ``()`` without seeds.

    Raises:
        ValueError: if a covariance is not symmetric or has a negative eigenvalue.

    Reference:
        Givens and Shortt, *A class of Wasserstein metrics for probability distributions*, 1984,
        https://doi.org/10.1307/mmj/1029003026; for the form with U: Bhatia, Jain and Lim, *On the
        Bures-Wasserstein distance between positive definite matrices*, 2019,
        https://arxiv.org/abs/1712.01504.
    """
    m1, root1 = _gaussian("1", mean1, cov1)
    m2, root2 = (part.to(m1.device) for part in _gaussian("2", mean2, cov2))
    if m1.shape[-1] != m2.shape[-1]:
        raise ValueError(
            f"mean1 and mean2 must have as many features, not {m1.shape[-1]} and {m2.shape[-1]}."
        )
    seeds = {t.shape[0] for t, alone in ((m1, 1), (m2, 1), (root1, 2), (root2, 2)) if t.dim() > alone}
    if len(seeds - {1}) > 1:
        raise ValueError(f"Means and covariances must be of as many seeds, not {sorted(seeds)}.")
    left, _, right = torch.linalg.svd(root2 @ root1)
    gap = root1 - root2 @ (left @ right)
    squared: Tensor = ((m1 - m2) ** 2).sum(-1) + (gap**2).sum((-2, -1))
    return squared.sqrt()


def _gaussian(number: str, mean: Tensor, cov: Tensor) -> tuple[Tensor, Tensor]:
    """Return a checked mean and the symmetric root of its covariance, in double precision."""
    _checks.finite(f"mean{number}", mean, "(seeds, features) or (features,)")
    _checks.finite(f"cov{number}", cov, "(seeds, features, features) or (features, features)")
    d = mean.shape[-1] if mean.dim() else 0
    if cov.shape[-2:] != (d, d) or mean.dim() > 2 or cov.dim() > 3:
        raise ValueError(
            f"mean{number} must have shape ([seeds,] features) and cov{number} ([seeds,] features, "
            f"features), not {tuple(mean.shape)} and {tuple(cov.shape)}."
        )
    return mean.detach().double(), _root(f"cov{number}", cov.detach().double())


def _root(name: str, cov: Tensor) -> Tensor:
    """Return the symmetric square root of each covariance (..., features, features)."""
    # A covariance computed in single precision is off by about 1e-7 of its size: that is not an error.
    values, vectors = torch.linalg.eigh(_checks.symmetric(name, cov))
    if (values[..., 0] < -1e-5 * values[..., -1].abs()).any():
        lowest = values[..., 0].min().item()
        raise ValueError(f"{name} must have no negative eigenvalue, but has {lowest:g}: is it a covariance?")
    root: Tensor = (vectors * values.clamp(min=0).sqrt().unsqueeze(-2)) @ vectors.mT
    return root


def jsd(p: LineDensity, q: LineDensity, low: float, high: float) -> float:
    r"""Return the Jensen-Shannon divergence of two densities on the line, in nats, by quadrature.

    .. math:: \operatorname{JSD}(p, q) = \frac{1}{2} \operatorname{KL}(p \,\|\, m)
        + \frac{1}{2} \operatorname{KL}(q \,\|\, m), \qquad m = \frac{p + q}{2}

    It is 0 for equal densities and log 2, about 0.693, for densities that don't overlap.

    Args:
        p: a density: ``Normal(4, 1.25).density``, ``scipy.stats.norm(4, 1.25).pdf``, or a function of a
            float. It is called with a tensor of shape ``(1,)`` and may return one number in any form.
        q: the other one.
        low: where the integral starts. Both densities must have their mass in [low, high].
        high: where it ends.

    Raises:
        ValueError: if a density is negative or not finite somewhere, or its integral differs from 1 by more
            than 0.001, or can't be found as well as that.

    Reference:
        Lin, *Divergence measures based on the Shannon entropy*, 1991, https://doi.org/10.1109/18.61115.
    """
    f, g = densities(p, q, low, high)

    def integrand(x: float) -> float:
        a, b = f(x), g(x)
        # p log(p / m) is this with both doubled; a + b, unlike its half, can't underflow to 0 under a.
        return float(rel_entr(2 * a, a + b) + rel_entr(2 * b, a + b)) / 4

    return integral(integrand, low, high)


def kl(p: LineDensity, q: LineDensity, low: float, high: float) -> float:
    r"""Return the Kullback-Leibler divergence of two densities on the line, in nats, by quadrature.

    .. math:: \operatorname{KL}(p \,\|\, q) = \int p(x) \log \frac{p(x)}{q(x)} \, dx

    It is infinite if q is 0 where p is not. A density that is too small for a double is 0 as well: a normal
    one is from 38 standard deviations on, so choose limits inside that of q.

    Args:
        p: the density that the mean is taken over, as for `jsd`.
        q: the other one.
        low: where the integral starts. Both densities must have their mass in [low, high].
        high: where it ends.

    Raises:
        ValueError: if a density is negative or not finite somewhere, or its integral differs from 1 by more
            than 0.001, or can't be found as well as that.

    Reference:
        Kullback and Leibler, *On information and sufficiency*, 1951,
        https://doi.org/10.1214/aoms/1177729694.
    """
    f, g = densities(p, q, low, high)
    if integral(lambda x: f(x) if g(x) == 0 else 0.0, low, high) > NEGLIGIBLE_MASS:
        return math.inf
    return integral(lambda x: float(rel_entr(f(x), max(g(x), TINY))), low, high)


def mmd(
    x: Tensor, y: Tensor, rng: Stream, bandwidth: float | None = None, permutations: int = 500
) -> MMDTest:
    r"""Test whether two samples come from one distribution, by the maximum mean discrepancy.

    .. math:: \widehat{\operatorname{MMD}}{}^2 = \frac{1}{n(n-1)} \sum_{i \ne j} k(x_i, x_j)
        + \frac{1}{m(m-1)} \sum_{i \ne j} k(y_i, y_j) - \frac{2}{nm} \sum_{i, j} k(x_i, y_j)

    with the kernel :math:`k(a, b) = \exp(-|a - b|^2 / (2 h^2))`. The estimate is unbiased: for samples of one
    distribution it is 0 on average, and often negative. The p-value is the share of random splits of the
    pooled points, the actual one included, that are at least as far apart. Memory grows with the square
    of n + m.

    Args:
        x: the first sample, ``(n, features)`` with n of at least 2.
        y: the second sample, ``(m, features)`` with m of at least 2.
        rng: the stream that the splits are drawn from.
        bandwidth: h, in the units of the points; the median distance between pooled points unless given.
        permutations: number of random splits; the p-value can't be below 1 / (permutations + 1).

    Raises:
        ValueError: if more than half of the distances are 0 and no ``bandwidth`` is given.

    Reference:
        Gretton et al., *A kernel two-sample test*, 2012, https://jmlr.org/papers/v13/gretton12a.html; the
        p-value: Phipson and Smyth, *Permutation p-values should never be zero*, 2010,
        https://doi.org/10.2202/1544-6115.1585.
    """
    n, pooled = _pool(x, y, rng)
    permutations = _checks.whole("permutations", permutations)
    if bandwidth is None:
        bandwidth = _median_distance(pooled)
    h = _checks.number("bandwidth", bandwidth, above=0)
    distance = torch.cdist(pooled, pooled, compute_mode="donot_use_mm_for_euclid_dist")
    kernel = torch.exp(-(distance**2) / (2 * h**2)).fill_diagonal_(0)
    statistics = _mmd_of_splits(kernel, _splits(n, len(pooled), permutations, rng).to(kernel))
    # Equal splits give sums in another order, so a tie may look like a difference of rounding.
    as_far = (statistics >= statistics[0] - ROUNDING).double().mean()
    return MMDTest(statistics[0].item(), as_far.item(), h)


def _pool(x: Tensor, y: Tensor, rng: Stream) -> tuple[int, Tensor]:
    """Return the size of the first of two checked samples, and both of them as one tensor."""
    if not isinstance(rng, Stream):
        raise TypeError(f'rng must be a Stream, not {type(rng).__name__}: make one with Stream("test").')
    x, y = (_sample(name, s, "(n, features)", dims=2) for name, s in (("x", x), ("y", y)))
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"x and y must have as many features, not {x.shape[1]} and {y.shape[1]}.")
    if min(len(x), len(y)) < 2:
        raise ValueError(f"x and y must have at least 2 rows each, not {len(x)} and {len(y)}: draw more.")
    return len(x), torch.cat((x, y.to(x.device)))


def _median_distance(points: Tensor) -> float:
    """Return the median distance between two different points of (n, features)."""
    median = torch.pdist(points).median().item()
    if median == 0:
        raise ValueError("The median distance of x and y is 0, as most points are equal: give a bandwidth.")
    return median


def _splits(n: int, total: int, permutations: int, rng: Stream) -> Tensor:
    """Return which of ``total`` points belong to the first sample, (permutations + 1, total), 0 or 1.

    The first row is the actual split: the first ``n`` points.
    """
    chosen = torch.stack([rng.permutation(total)[:n] for _ in range(permutations)])
    actual = torch.arange(n, device=chosen.device).unsqueeze(0)
    splits = torch.zeros(permutations + 1, total, device=chosen.device)
    return splits.scatter_(1, torch.cat((actual, chosen)), 1.0)


def _mmd_of_splits(kernel: Tensor, first: Tensor) -> Tensor:
    """Return the unbiased MMD² of each split (splits, points) of points whose kernel has a diagonal of 0."""
    n = first[0].sum()
    m = len(kernel) - n
    xx = ((first @ kernel) * first).sum(1)
    xy = first @ kernel.sum(1) - xx
    yy = kernel.sum() - 2 * xy - xx
    return xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m)


def classifier_two_sample_test(
    x: Tensor, y: Tensor, rng: Stream, classifier: Classifier | None = None
) -> ClassifierTest:
    r"""Test whether two samples come from one distribution, by training a classifier to tell them apart.

    It learns from a random half of each sample and is judged on the other halves. If the samples come from
    one distribution it can only guess, and the number that it gets right is binomial with 1/2. The p-value is
    exact and one-sided.

    Args:
        x: the first sample, ``(n, features)`` with n of at least 2.
        y: the second sample, of the same shape, so that guessing has an accuracy of 1/2.
        rng: the stream that the halves are drawn from.
        classifier: anything with scikit-learn's ``fit`` and ``predict``, which is then fitted; unless given,
            k nearest neighbours, with k the square root of the number of training points, made odd.

    Reference:
        Lopez-Paz and Oquab, *Revisiting classifier two-sample tests*, 2017,
        https://arxiv.org/abs/1610.06545.
    """
    n, pooled = _pool(x, y, rng)
    if len(pooled) != 2 * n:
        raise ValueError(
            f"x and y must have as many rows, not {n} and {len(pooled) - n}: cut the longer one, or else "
            "always naming it beats guessing."
        )
    judge = _nearest_neighbours(2 * (n // 2)) if classifier is None else _usable(classifier)
    points, label = pooled.cpu().numpy(), np.repeat((0, 1), n)
    order = np.concatenate([rng.permutation(n).cpu().numpy() + start for start in (0, n)])
    half = np.tile(np.arange(n) < n // 2, 2)
    train, test = order[half], order[~half]
    judge.fit(points[train], label[train])
    guess = np.reshape(judge.predict(points[test]), len(test))
    right = int((guess == label[test]).sum())
    p_value = float(binomtest(right, len(test), 0.5, alternative="greater").pvalue)
    return ClassifierTest(right / len(test), right / len(test) - 0.5, p_value)


def _usable(classifier: Classifier) -> Classifier:
    """Return ``classifier`` if it can be fitted and asked."""
    if not all(callable(getattr(classifier, method, None)) for method in ("fit", "predict")):
        raise TypeError(
            f"classifier must have methods fit and predict, as in scikit-learn, not {classifier!r}."
        )
    return classifier


def _nearest_neighbours(rows: int) -> Classifier:
    """Return a k-nearest-neighbours classifier for ``rows`` training points."""
    # Loading it takes a second or two, and nothing else here needs it.
    from sklearn.neighbors import KNeighborsClassifier

    k = (math.isqrt(rows) - 1) | 1  # odd, so that two classes can't tie
    nearest: Classifier = KNeighborsClassifier(n_neighbors=k)
    return nearest

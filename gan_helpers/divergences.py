r"""Three families of distances between distributions: by densities, by moving earth, by kernels.

An f-divergence is a mean of a convex function of the ratio of two densities, and a best critic's value. The
distance W1 is the least work of moving one distribution into the other, and again a best critic's value, of
a critic whose slope is at most 1. The kernel distance MMD has its best critic in closed form, so no network
is needed.

Raises:
    TypeError: everywhere, if an argument is of the wrong type.
    ValueError: everywhere, if an argument is empty or of a shape that does not fit, or out of its range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog
from torch import Tensor
from torch.nn.functional import softplus

from gan_helpers import _checks
from gan_helpers._quadrature import LineDensity, densities, integral

NEGLIGIBLE_MASS = 1e-9  # of one where the other has none: rounding in the far tails
WEIGHTS_OFF = 1e-5  # how far from 1 weights may sum, as those in single precision do

Elementwise = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FDivergence:
    r"""A divergence that is a mean of a convex function f of the ratio of two densities.

    .. math:: D_f(p, q) = \mathbb{E}_q\left[f\left(\frac{p(x)}{q(x)}\right)\right]
        \ge \mathbb{E}_p[T(x)] - \mathbb{E}_q[f^*(T(x))], \qquad f^*(t) = \sup_{r \ge 0} \; r t - f(r)

    The bound holds for each critic T, and is an equation for :math:`T = f'(p / q)`. With the logarithm of the
    ratio, :math:`v = \log(p / q)`, that is :math:`f'(e^v)`.

    Args:
        f: the function, with f(1) = 0, elementwise on ratios of at least 0.
        conjugate: its convex conjugate :math:`f^*`, elementwise; infinite above its domain.
        output: :math:`f'(e^v)`, elementwise: what the best critic says where the logarithm of the ratio is v.

    References:
        Nowozin, Cseke and Tomioka (2016), table 2. https://arxiv.org/abs/1606.00709
    """

    f: Elementwise
    conjugate: Elementwise
    output: Elementwise

    def __post_init__(self) -> None:
        """Check the arguments."""
        for name in ("f", "conjugate", "output"):
            _checks.function(name, getattr(self, name))

    @property
    def ceiling(self) -> float:
        """The end of the domain of the conjugate, f' at infinity. No critic may say more."""
        return float(self.output(torch.tensor(math.inf, dtype=torch.float64)))

    def critic(self, log_ratio: Tensor) -> Tensor:
        r"""Return what a critic says who takes the logarithm of the ratio for v: :math:`T = f'(e^v)`.

        So the output of a network, any number, becomes a critic inside the domain.

        Args:
            log_ratio: v, of any shape.
        """
        return self.output(_checks.floating("log_ratio", log_ratio, "(...)"))

    def bound(self, real: Tensor, fake: Tensor) -> Tensor:
        r"""Return what a critic proves the divergence to be at least, but for the noise of the samples.

        .. math:: \mathbb{E}_p[T(x)] - \mathbb{E}_q[f^*(T(x))]

        Args:
            real: what it says of samples of p, ``(seeds, batch, 1)``.
            fake: what it says of samples of q, ``(seeds, batch, 1)``.

        Returns:
            One number per seed, ``(seeds,)``; minus infinity if something said of q is above `ceiling`.
        """
        _checks.logits(real=real, fake=fake)
        return real.flatten(1).mean(1) - self.conjugate(fake).flatten(1).mean(1)

    def exact(self, p: LineDensity, q: LineDensity, low: float, high: float) -> float:
        """Return the divergence of two densities on the line, by quadrature.

        Args:
            p: a density, as for `gan_helpers.metrics.jsd`.
            q: the other one.
            low: where the integral starts. Both densities must have their mass in [low, high].
            high: where it ends.

        Returns:
            The divergence over [low, high], infinite if one has mass where the other has none and f says so.

        Raises:
            ValueError: if a density is negative or not finite somewhere, or its integral differs from 1 by
                more than 0.001, or can't be found as well as that.
        """
        of_p, of_q = densities(p, q, low, high)

        def integrand(x: float) -> float:
            a, b = of_p(x), of_q(x)
            return b * self._at(a / b) if a > 0 and b > 0 else 0.0

        p_alone = integral(lambda x: of_p(x) if of_q(x) == 0 else 0.0, low, high)
        q_alone = integral(lambda x: of_q(x) if of_p(x) == 0 else 0.0, low, high)
        alone = [(p_alone, self.ceiling), (q_alone, self._at(0.0))]
        return integral(integrand, low, high) + sum(
            mass * cost for mass, cost in alone if mass > NEGLIGIBLE_MASS
        )

    def _at(self, ratio: float) -> float:
        return float(self.f(torch.tensor(ratio, dtype=torch.float64)))


def _up_to(ceiling: float, values: Elementwise) -> Elementwise:
    """Return a function that is infinite above ``ceiling``."""
    # Inside, or the branch that is not taken would spoil the gradient of the one that is.
    return lambda t: torch.where(t <= ceiling, values(t.clamp(max=ceiling)), math.inf)


def _mean_log(r: Tensor) -> Tensor:
    """Return the f of the Jensen-Shannon divergence."""
    return (torch.xlogy(r, 2 * r / (1 + r)) + torch.log(2 / (1 + r))) / 2


#: The f-divergences by their names. Each is 0 for equal ones; "Jensen-Shannon" is `gan_helpers.metrics.jsd`.
DIVERGENCES = {
    "KL": FDivergence(
        f=lambda r: torch.xlogy(r, r),
        conjugate=lambda t: (t - 1).exp(),
        output=lambda v: 1 + v,
    ),
    "reverse KL": FDivergence(
        f=lambda r: -r.log(),
        conjugate=_up_to(0.0, lambda t: -1 - (-t).log()),
        output=lambda v: -(-v).exp(),
    ),
    "Jensen-Shannon": FDivergence(
        f=_mean_log,
        conjugate=_up_to(math.log(2) / 2, lambda t: -torch.log(2 - (2 * t).exp()) / 2),
        output=lambda v: (math.log(2) - softplus(-v)) / 2,
    ),
    "Pearson": FDivergence(
        f=lambda r: (r - 1) ** 2,
        conjugate=lambda t: t.clamp(min=-2) ** 2 / 4 + t.clamp(min=-2),  # no ratio is below 0
        output=lambda v: 2 * v.expm1(),
    ),
    "Neyman": FDivergence(
        f=lambda r: (1 - r) ** 2 / r,
        conjugate=_up_to(1.0, lambda t: 2 - 2 * (1 - t).sqrt()),
        output=lambda v: -(-2 * v).expm1(),
    ),
    "squared Hellinger": FDivergence(
        f=lambda r: (r.sqrt() - 1) ** 2,
        conjugate=_up_to(1.0, lambda t: t / (1 - t)),
        output=lambda v: -(-v / 2).expm1(),
    ),
    "total variation": FDivergence(
        f=lambda r: (r - 1).abs() / 2,
        conjugate=_up_to(0.5, lambda t: t.clamp(min=-0.5)),
        output=lambda v: v.sign() / 2,
    ),
}


# Moving earth


@dataclass(frozen=True, eq=False)
class Prices:
    """The best prices of a carrier who may ask no more than the way is long; see `kantorovich`.

    Args:
        value: what he earns, W1, in the units of the points.
        price: the price at each point, ``(n,)``, 0 at the first.
    """

    value: float
    price: Tensor


@dataclass(frozen=True, eq=False)
class Plan:
    """The cheapest way to move one distribution into another; see `transport`.

    Args:
        value: the work, W1, in the units of the points.
        plan: how much goes from each point to each other, ``(n, n)``; rows sum to p and columns to q.
    """

    value: float
    plan: Tensor


def kantorovich(p: Tensor, q: Tensor, points: Tensor) -> Prices:
    r"""Return W1 of two distributions on the same points and its best critic, by linear programming.

    .. math:: W_1(p, q) = \max_{\varphi} \; \sum_i (p_i - q_i) \, \varphi_i \quad\text{so that}\quad
        |\varphi_i - \varphi_j| \le \lVert x_i - x_j \rVert

    On the line it is enough to ask this of neighbours; else all pairs are asked, which takes memory as
    :math:`n^2`.

    Args:
        p: the weights of one distribution, ``(n,)``, which sum to 1.
        q: those of the other, ``(n,)``.
        points: where they are, ``(n,)`` on the line or ``(n, features)``.

    References:
        Villani (2009), theorem 5.10. https://doi.org/10.1007/978-3-540-71050-9
    """
    (of_p, of_q), x, unit = _laws(p, q, points)
    n = len(x)
    if x.shape[1] == 1:
        order = np.argsort(x[:, 0], kind="stable")
        one, other = order[:-1], order[1:]
    else:
        one, other = np.triu_indices(n, 1)
    rows, ones = np.arange(len(one)), np.ones(len(one))
    gaps = sparse.csr_array((np.r_[ones, -ones], (np.r_[rows, rows], np.r_[other, one])), (len(one), n))
    longest = np.linalg.norm(x[other] - x[one], axis=1)
    best = linprog(
        of_q - of_p,
        A_ub=sparse.vstack([gaps, -gaps]),
        b_ub=np.r_[longest, longest],
        bounds=[(0, 0)] + [(None, None)] * (n - 1),
    )
    return Prices(-unit * float(best.fun), unit * torch.from_numpy(best.x))


def transport(p: Tensor, q: Tensor, points: Tensor) -> Plan:
    r"""Return W1 of two distributions on the same points and the cheapest way to move the earth.

    .. math:: W_1(p, q) = \min_{\pi \ge 0} \; \sum_{ij} \pi_{ij} \lVert x_i - x_j \rVert
        \quad\text{so that}\quad \sum_j \pi_{ij} = p_i, \; \sum_i \pi_{ij} = q_j

    It has :math:`n^2` unknowns: for up to some hundred points.

    Args:
        p: the weights of one distribution, ``(n,)``, which sum to 1.
        q: those of the other, ``(n,)``.
        points: where they are, ``(n,)`` on the line or ``(n, features)``.

    References:
        Villani (2009), theorem 5.10. https://doi.org/10.1007/978-3-540-71050-9
    """
    weights, x, unit = _laws(p, q, points)
    n = len(x)
    length = np.linalg.norm(x[:, None] - x[None], axis=2)
    leaves = sparse.kron(sparse.eye_array(n), np.ones((1, n)))
    arrives = sparse.kron(np.ones((1, n)), sparse.eye_array(n))
    best = linprog(length.ravel(), A_eq=sparse.vstack([leaves, arrives]), b_eq=weights.ravel())
    return Plan(unit * float(best.fun), torch.from_numpy(best.x.reshape(n, n)))


def _laws(p: Tensor, q: Tensor, points: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return checked weights of two distributions, ``(2, n)``, points, ``(n, features)``, and their unit."""
    weights = []
    for name, law in (("p", p), ("q", q)):
        law = _checks.finite(name, law, "(n,)", dims=1).detach().double().cpu()
        if (law < 0).any() or abs(law.sum().item() - 1) > WEIGHTS_OFF:
            shown = f"{law.min().item():g} and {law.sum().item():g}"
            raise ValueError(
                f"{name} must hold weights of at least 0 that sum to 1; their least and their sum are "
                f"{shown}: divide by the sum."
            )
        weights.append(law / law.sum())
    x = _checks.finite("points", points, "(n,) or (n, features)").detach().double().cpu()
    if x.dim() not in (1, 2) or not len(weights[0]) == len(weights[1]) == len(x):
        shapes = [tuple(each.shape) for each in (p, q, points)]
        raise ValueError(
            f"p and q must have shape (n,), and points (n,) or (n, features), not {shapes[0]}, {shapes[1]} "
            f"and {shapes[2]}."
        )
    unit = x.abs().amax().item() or 1.0  # for the solver, whose tolerances are absolute
    return torch.stack(weights).numpy(), (x / unit).reshape(len(x), -1).numpy(), unit


# Kernels


def mmd2(x: Tensor, y: Tensor, bandwidths: Sequence[float] = (1.0,), biased: bool = False) -> Tensor:
    r"""Return the squared maximum mean discrepancy of two samples: a loss for a generator without a critic.

    .. math:: \widehat{\operatorname{MMD}}{}^2 = \frac{1}{n(n-1)} \sum_{i \ne j} k(x_i, x_j)
        + \frac{1}{m(m-1)} \sum_{i \ne j} k(y_i, y_j) - \frac{2}{nm} \sum_{i, j} k(x_i, y_j), \qquad
        k(a, b) = \sum_h e^{-\lVert a - b \rVert^2 / (2 h^2)}

    Unbiased, it is 0 on average for samples of one kind, and often negative. The biased estimate counts each
    point with itself as well, divides by :math:`n^2` and :math:`m^2`, and is never negative.
    `gan_helpers.metrics.mmd` tests with the same estimate.

    Args:
        x: one sample for each seed, ``(seeds, n, features)``.
        y: the other ones, ``(seeds, m, features)``.
        bandwidths: the h of the kernels, in the units of the samples.
        biased: whether points are counted with themselves.

    Returns:
        One number per seed, ``(seeds,)``, which can be differentiated in both samples.

    References:
        Gretton et al. (2012), equations 3 and 5, https://jmlr.org/papers/v13/gretton12a.html; as a loss: Li,
        Swersky and Zemel (2015), https://arxiv.org/abs/1502.02761, and Dziugaite, Roy and Ghahramani (2015),
        https://arxiv.org/abs/1505.03906
    """
    for name, sample in (("x", x), ("y", y)):
        _checks.floating(name, sample, "(seeds, n, features)", dims=3)
    if x.shape[::2] != y.shape[::2]:
        raise ValueError(
            f"x and y must have as many seeds and features, not {tuple(x.shape)} and {tuple(y.shape)}."
        )
    _checks.instance("biased", biased, bool)
    if not biased and min(x.shape[1], y.shape[1]) < 2:
        raise ValueError(
            f"x and y must have at least 2 rows each, not {x.shape[1]} and {y.shape[1]}: draw more."
        )
    widths = [_checks.number(f"bandwidths[{i}]", h, above=0) for i, h in enumerate(_widths(bandwidths))]

    def alike(sample: Tensor) -> Tensor:
        k, n = _kernel(sample, sample, widths), sample.shape[1]
        if biased:
            return k.mean((1, 2))
        return (k.sum((1, 2)) - k.diagonal(dim1=1, dim2=2).sum(1)) / (n * (n - 1))

    return alike(x) + alike(y) - 2 * _kernel(x, y, widths).mean((1, 2))


def witness(at: Tensor, x: Tensor, y: Tensor, bandwidths: Sequence[float] = (1.0,)) -> Tensor:
    r"""Return the critic of a kernel: how much nearer places are to one sample than to another.

    .. math:: w(t) = \frac{1}{n} \sum_i k(t, x_i) - \frac{1}{m} \sum_j k(t, y_j)

    With the kernel k of `mmd2`. The mean of w over x, less that over y, is the biased MMD².

    Args:
        at: the places t, ``(seeds, places, features)``.
        x: one sample for each seed, ``(seeds, n, features)``.
        y: the other ones, ``(seeds, m, features)``.
        bandwidths: the h of the kernels, in the units of the samples.

    Returns:
        The witness at each place, ``(seeds, places, 1)``.

    References:
        Gretton et al. (2012), section 2.3. https://jmlr.org/papers/v13/gretton12a.html
    """
    for name, sample in (("at", at), ("x", x), ("y", y)):
        _checks.floating(name, sample, "(seeds, n, features)", dims=3)
    if not at.shape[::2] == x.shape[::2] == y.shape[::2]:
        shapes = f"{tuple(at.shape)}, {tuple(x.shape)} and {tuple(y.shape)}"
        raise ValueError(f"at, x and y must have as many seeds and features, not {shapes}.")
    widths = [_checks.number(f"bandwidths[{i}]", h, above=0) for i, h in enumerate(_widths(bandwidths))]
    return (_kernel(at, x, widths).mean(2) - _kernel(at, y, widths).mean(2)).unsqueeze(2)


def _widths(bandwidths: Sequence[float]) -> Sequence[float]:
    """Return the bandwidths if there are any."""
    if not _checks.sequence("bandwidths", bandwidths):
        raise ValueError(f"bandwidths must hold at least one number, not {bandwidths!r}.")
    return bandwidths


def _kernel(x: Tensor, y: Tensor, widths: Sequence[float]) -> Tensor:
    """Return the kernel between all points of two samples, ``(seeds, n, m)``."""
    # By differences: squares less products would be off where samples are far from 0.
    squared = (x.unsqueeze(2) - y.unsqueeze(1)).square().sum(3)
    return torch.stack([torch.exp(-squared / (2 * h**2)) for h in widths]).sum(0)

r"""Samplers: distributions with known densities, families of curves, and data sets served in batches.

A sampler is called with a number of seeds, a batch size and a `Stream`, and returns a tensor of shape
``(seeds, batch, features)``. Noise and data are the same kind of thing. Samples are drawn, and live, on the
stream's device; for a data set that has to be the device of its tensor.

Where the distribution is known there is ``log_prob``, and in one dimension also ``cdf`` and ``quantile``, so
that what a generator has learned is compared with the truth and not with one more sample of it.

Raises:
    TypeError: everywhere, if an argument is not a tensor of floating-point numbers, a number or a `Stream`
        where one is asked for.
    ValueError: everywhere, if an argument is empty, not finite, of another shape or out of its range.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_helpers import _checks
from gan_helpers.randomness import Stream


class Sampler(Protocol):
    """Whatever draws ``(seeds, batch, features)`` numbers from a stream: a plain function will do."""

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw ``batch`` samples for each of ``seeds`` independent runs.

        Args:
            seeds: number of runs, the size of the leading axis.
            batch: number of samples for each run.
            rng: the stream to draw from.

        Returns:
            The samples, ``(seeds, batch, features)``.
        """
        ...


def _request(seeds: int, batch: int, rng: Stream) -> tuple[int, int]:
    """Return the two sizes of a call to a sampler, checked along with the stream."""
    if not isinstance(rng, Stream):
        raise TypeError(f'rng must be a Stream, not {type(rng).__name__}: make one with Stream("data").')
    return _checks.whole("seeds", seeds), _checks.whole("batch", batch)


def _interval(name: str, ends: Sequence[float]) -> None:
    """Check that ``ends`` are the two ends of an interval that is not empty."""
    if not isinstance(ends, tuple | list) or len(ends) != 2:
        raise TypeError(f"{name} must be a pair such as (0.5, 2.0), not {ends!r}.")
    low = _checks.number(f"the low end of {name}", ends[0])
    _checks.number(f"the high end of {name}", ends[1], above=low)


def _points(x: Tensor, features: int) -> Tensor:
    """Return ``x`` if it holds points with as many ``features`` as a density is a function of."""
    shape = f"(..., {features})"
    _checks.floating("x", x, shape)
    if x.shape[-1:] != (features,):
        call = ": call x.unsqueeze(-1)" if features == 1 else ""
        raise ValueError(f"x must have shape {shape}, not {tuple(x.shape)}, features last{call}.")
    return x


class Density(ABC):
    """A sampler whose density is known; ``features`` is the number of coordinates of a sample."""

    @abstractmethod
    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw samples of shape ``(seeds, batch, features)``, as `Sampler` says."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Return the logarithm of the density at ``x``, in nats.

        Args:
            x: points, ``(..., features)``.

        Returns:
            One number for each point, ``(...)``; minus infinity where the density is 0.
        """

    def density(self, x: Tensor) -> Tensor:
        r"""Return the density :math:`p(x) = \exp \log p(x)` at ``x``, which is as for `log_prob`."""
        return self.log_prob(x).exp()


@dataclass(frozen=True)
class Normal(Density):
    r"""The normal distribution on the line, :math:`N(\mu, \sigma^2)`.

    ``log_prob`` and ``density`` take points ``(..., 1)``; ``cdf`` and ``quantile`` take any shape.

    Args:
        mean: :math:`\mu`.
        sd: the standard deviation :math:`\sigma > 0`, not the variance.
    """

    mean: float
    sd: float

    def __post_init__(self) -> None:
        """Check the arguments."""
        _checks.number("mean", self.mean)
        _checks.number("sd", self.sd, above=0)

    @property
    def features(self) -> int:
        """The number of coordinates of one sample."""
        return 1

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw a batch for each seed, ``(seeds, batch, features)``; see `Sampler`."""
        seeds, batch = _request(seeds, batch, rng)
        return rng.normal(seeds, batch, 1).mul_(self.sd).add_(self.mean)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the logarithm of the density at ``x``; see `Density.log_prob`."""
        z = (_points(x, self.features).squeeze(-1) - self.mean) / self.sd
        return -0.5 * z**2 - math.log(self.sd * math.sqrt(2 * math.pi))

    def cdf(self, x: Tensor) -> Tensor:
        r"""Return :math:`P(X \le x)`, elementwise."""
        _checks.floating("x", x, "(...)")
        # By erfc, for 1 + erf would lose the lower tail to rounding.
        return 0.5 * torch.erfc((self.mean - x) / (self.sd * math.sqrt(2)))

    def quantile(self, u: Tensor) -> Tensor:
        """Return the inverse of `cdf` at ``u`` in [0, 1], elementwise; NaN outside."""
        z: Tensor = torch.special.ndtri(_checks.floating("u", u, "(...)"))
        return self.mean + self.sd * z


@dataclass(frozen=True)
class Uniform(Density):
    """The uniform distribution on [low, high], independently in each coordinate.

    ``cdf`` and ``quantile`` are elementwise; they, ``mean`` and ``sd`` are those of one coordinate.

    Args:
        low: lower end.
        high: upper end, greater than ``low``.
        features: number of coordinates.
    """

    low: float
    high: float
    features: int = 1

    def __post_init__(self) -> None:
        """Check the arguments."""
        _interval("the support", (self.low, self.high))
        _checks.whole("features", self.features)

    @property
    def mean(self) -> float:
        """The mean of one coordinate, the middle of the interval."""
        return (self.low + self.high) / 2

    @property
    def sd(self) -> float:
        r"""The standard deviation of one coordinate, :math:`(high - low) / \sqrt{12}`."""
        return (self.high - self.low) / math.sqrt(12)

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw a batch for each seed, ``(seeds, batch, features)``; see `Sampler`."""
        seeds, batch = _request(seeds, batch, rng)
        return rng.uniform(seeds, batch, self.features, low=self.low, high=self.high)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the logarithm of the density at ``x``; see `Density.log_prob`."""
        outside = ((_points(x, self.features) < self.low) | (x > self.high)).any(-1)
        # The zero times x keeps the dtype, the device and NaN of x.
        inside = (0 * x).sum(-1) - self.features * math.log(self.high - self.low)
        return inside.masked_fill(outside, -math.inf)

    def cdf(self, x: Tensor) -> Tensor:
        r"""Return :math:`P(X \le x)` of one coordinate, elementwise."""
        _checks.floating("x", x, "(...)")
        return ((x - self.low) / (self.high - self.low)).clamp(0, 1)

    def quantile(self, u: Tensor) -> Tensor:
        """Return the inverse of `cdf` at ``u`` in [0, 1], elementwise; NaN outside."""
        _checks.floating("u", u, "(...)")
        return (self.low + (self.high - self.low) * u).masked_fill((u < 0) | (u > 1), math.nan)


@dataclass(frozen=True)
class StandardNormal(Density):
    """The normal distribution N(0, I), the usual noise that a generator starts from.

    Args:
        features: number of coordinates.
    """

    features: int

    def __post_init__(self) -> None:
        """Check the arguments."""
        _checks.whole("features", self.features)

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw a batch for each seed, ``(seeds, batch, features)``; see `Sampler`."""
        seeds, batch = _request(seeds, batch, rng)
        return rng.normal(seeds, batch, self.features)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the logarithm of the density at ``x``; see `Density.log_prob`."""
        return -0.5 * (_points(x, self.features) ** 2).sum(-1) - self.features / 2 * math.log(2 * math.pi)


def _cholesky(covariance: Tensor) -> Tensor:
    """Return the lower factor L of ``covariance`` = L Lᵀ, in the covariance's dtype and on its device."""
    # Double precision on the CPU: a long, thin Gaussian can fail in single precision although it is fine.
    factor, info = torch.linalg.cholesky_ex(covariance.detach().to("cpu", torch.float64))
    if info:
        raise ValueError(
            f"covariance must be positive definite, not {covariance.tolist()}: "
            "if a direction has no spread, leave it out or add a small variance to the diagonal."
        )
    lower: Tensor = factor.to(covariance)
    return lower


@dataclass(frozen=True, eq=False)
class Gaussian(Density):
    r"""The normal distribution :math:`N(\mu, \Sigma)` in any number of dimensions.

    Samples are :math:`x = L z + \mu` with :math:`z \sim N(0, I)` and :math:`L L^\top = \Sigma`.

    Args:
        mean: :math:`\mu`, ``(features,)``.
        covariance: :math:`\Sigma`, ``(features, features)``, symmetric and positive definite.

    Raises:
        ValueError: if ``covariance`` is not symmetric and positive definite.
    """

    mean: Tensor
    covariance: Tensor
    cholesky: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the arguments and factor the covariance."""
        d = _checks.finite("mean", self.mean, "(features,)", dims=1).numel()
        _checks.finite("covariance", self.covariance, f"({d}, {d})", dims=2)
        if self.covariance.shape != (d, d):
            shape = tuple(self.covariance.shape)
            raise ValueError(f"covariance must have shape {(d, d)}, as mean has {d} features, not {shape}.")
        _checks.symmetric("covariance", self.covariance)
        object.__setattr__(self, "cholesky", _cholesky(self.covariance))

    @classmethod
    def from_transform(cls, A: Tensor, b: Tensor) -> Gaussian:
        r"""Return the law of :math:`X = Z A + b` for rows :math:`Z \sim N(0, I)`: :math:`N(b, A^\top A)`.

        A sample is a *row* here, so the matrix multiplies from the right and the covariance is
        :math:`A^\top A`; :math:`A A^\top` belongs to columns.

        Args:
            A: the matrix, ``(noise features, features)``, of full column rank.
            b: the shift, ``(features,)``.

        Raises:
            ValueError: if X has no spread in some direction.
        """
        _checks.finite("A", A, "(noise features, features)", dims=2)
        return cls(mean=b, covariance=A.T @ A)

    @property
    def features(self) -> int:
        """The number of coordinates of one sample."""
        return self.mean.numel()

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw a batch for each seed, ``(seeds, batch, features)``; see `Sampler`."""
        seeds, batch = _request(seeds, batch, rng)
        z = rng.normal(seeds, batch, self.features)
        return z @ self.cholesky.T.to(z) + self.mean.detach().to(z)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the logarithm of the density at ``x``; see `Density.log_prob`."""
        y = (_points(x, self.features) - self.mean.to(x)).reshape(-1, self.features)
        factor = self.cholesky.to(x)
        # The change of variables z = L⁻¹ (x - mean), on rows: z Lᵀ = x - mean.
        z = torch.linalg.solve_triangular(factor.T, y, upper=True, left=False).reshape(x.shape)
        return StandardNormal(self.features).log_prob(z) - factor.diagonal().log().sum()


@dataclass(frozen=True, eq=False)
class GaussianMixture(Density):
    r"""Round Gaussians of one width, each as likely as the others.

    .. math:: p(x) = \frac{1}{k} \sum_{i=1}^{k} N(x;\ \mu_i, \sigma^2 I)

    Args:
        means: the modes :math:`\mu_i`, ``(modes, features)``.
        sd: the standard deviation :math:`\sigma > 0` of a mode in each coordinate.
    """

    means: Tensor
    sd: float

    def __post_init__(self) -> None:
        """Check the arguments."""
        _checks.finite("means", self.means, "(modes, features)", dims=2)
        _checks.number("sd", self.sd, above=0)

    @property
    def modes(self) -> int:
        """The number of Gaussians."""
        return self.means.shape[0]

    @property
    def features(self) -> int:
        """The number of coordinates of one sample."""
        return self.means.shape[1]

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw a batch for each seed, ``(seeds, batch, features)``; see `Sampler`."""
        seeds, batch = _request(seeds, batch, rng)
        mode = rng.integers(self.modes, seeds, batch)
        z = rng.normal(seeds, batch, self.features)
        return self.means.detach().to(z)[mode] + self.sd * z

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the logarithm of the density at ``x``; see `Density.log_prob`."""
        z = (_points(x, self.features).unsqueeze(-2) - self.means.to(x)) / self.sd  # (..., modes, features)
        scale = self.features * math.log(self.sd * math.sqrt(2 * math.pi)) + math.log(self.modes)
        return torch.logsumexp(-0.5 * (z**2).sum(-1), -1) - scale


def ring(modes: int = 8, radius: float = 1.0, sd: float = 0.01) -> GaussianMixture:
    r"""Return Gaussians spaced evenly on a circle, at the angles :math:`2 \pi k / modes` for k from 0.

    The last angle stops short of a full turn. ``linspace(0, 2 * pi, 8)``, which is often seen for this,
    includes both 0 and :math:`2 \pi`: the same point, so seven modes, one of them twice as likely.

    Args:
        modes: how many.
        radius: of the circle.
        sd: standard deviation of each mode in each coordinate.

    Reference:
        Metz et al., *Unrolled Generative Adversarial Networks*, 2017, https://arxiv.org/abs/1611.02163;
        the radius and the width are those of Lin et al., *PacGAN*, 2018, https://arxiv.org/abs/1712.04086.
    """
    modes, radius = _checks.whole("modes", modes), _checks.number("radius", radius, above=0)
    angles = 2 * math.pi * torch.arange(modes, dtype=torch.float64) / modes
    means = radius * torch.stack((angles.cos(), angles.sin()), dim=1)
    return GaussianMixture(means.to(torch.get_default_dtype()), sd)


def grid(side: int = 5, spacing: float = 2.0, sd: float = 0.05) -> GaussianMixture:
    """Return Gaussians on a square lattice that is centred at 0, ``side`` to a row.

    Args:
        side: modes in a row; there are ``side**2`` in all.
        spacing: distance between neighbours.
        sd: standard deviation of each mode in each coordinate.

    Reference:
        Lin et al., *PacGAN: The power of two samples in generative adversarial networks*, 2018,
        https://arxiv.org/abs/1712.04086.
    """
    side, spacing = _checks.whole("side", side), _checks.number("spacing", spacing, above=0)
    line = spacing * (torch.arange(side) - (side - 1) / 2)
    return GaussianMixture(torch.cartesian_prod(line, line), sd)


@dataclass(frozen=True)
class Sinusoids:
    r"""Sine curves, each seen at the same positions.

    .. math:: x_j = \sin(b\, t_j + c), \qquad b \sim U(\text{frequency}), \quad c \sim U(\text{phase})

    One sample is one curve: it has one b and one c, and ``points`` features.

    Args:
        points: number of positions, at least 2.
        low: the first position.
        high: the last position.
        frequency: the ends of the interval of b, in radians for each unit of position.
        phase: the ends of the interval of c, in radians.
    """

    points: int = 64
    low: float = -5.0
    high: float = 5.0
    frequency: tuple[float, float] = (0.5, 2.0)
    phase: tuple[float, float] = (0.0, math.pi)

    def __post_init__(self) -> None:
        """Check the arguments."""
        _checks.whole("points", self.points, at_least=2)
        _interval("the positions", (self.low, self.high))
        _interval("frequency", self.frequency)
        _interval("phase", self.phase)

    @property
    def features(self) -> int:
        """The number of values of one curve, ``points``."""
        return self.points

    @property
    def positions(self) -> Tensor:
        """The evenly spaced positions, ``(points,)``, both ends included."""
        return torch.linspace(self.low, self.high, self.points)

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw a batch for each seed, ``(seeds, batch, features)``; see `Sampler`."""
        seeds, batch = _request(seeds, batch, rng)
        b = rng.uniform(seeds, batch, 1, low=self.frequency[0], high=self.frequency[1])
        c = rng.uniform(seeds, batch, 1, low=self.phase[0], high=self.phase[1])
        return torch.sin(b * self.positions.to(b) + c)  # (seeds, batch, points)


def _data_set(data: Tensor) -> Tensor:
    """Return ``data`` if it is a data set: one for all seeds, or one for each."""
    shape = "(n, features) or (seeds, n, features)"
    _checks.finite("data", data, shape)
    if data.dim() not in (2, 3):
        call = "flatten(1)" if data.dim() > 3 else "reshape(-1, 1)"
        raise ValueError(f"data must have shape {shape}, not {tuple(data.shape)}: call data.{call}.")
    return data.detach().contiguous()  # for `_rows`, which would copy it at each batch


def _data_request(data: Tensor, seeds: int, batch: int, rng: Stream) -> tuple[int, int]:
    """Return the two sizes of a call to the sampler of a data set, checked against the data."""
    seeds, batch = _request(seeds, batch, rng)
    if data.dim() == 3 and data.shape[0] != seeds:
        raise ValueError(
            f"seeds must be {data.shape[0]}, not {seeds}: data holds a set for each seed, as its shape is "
            f"{tuple(data.shape)}. A set for all has shape (n, features): call data.flatten(1) on images."
        )
    _checks.drawn_beside("data", data, rng.device)
    return seeds, batch


def _rows(data: Tensor, index: Tensor) -> Tensor:
    """Return the rows ``index`` (seeds, batch) of a data set: (seeds, batch, features)."""
    if data.dim() == 3:
        seeds, n, _ = data.shape
        index = index + torch.arange(0, seeds * n, n, device=data.device).unsqueeze(1)
    # Not data[index], which fetches number by number where each seed has a set: on a CPU, ten times slower.
    return F.embedding(index, data.flatten(0, -2))


@dataclass(frozen=True, eq=False)
class Resample:
    """A data set as a distribution: rows drawn with replacement, each equally likely.

    Args:
        data: ``(n, features)`` for all seeds alike, or ``(seeds, n, features)`` with a set for each.
    """

    data: Tensor

    def __post_init__(self) -> None:
        """Check the arguments."""
        object.__setattr__(self, "data", _data_set(self.data))

    @property
    def features(self) -> int:
        """The number of values in a row."""
        return self.data.shape[-1]

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw a batch for each seed, ``(seeds, batch, features)``; see `Sampler`."""
        seeds, batch = _data_request(self.data, seeds, batch, rng)
        return _rows(self.data, rng.integers(self.data.shape[-2], seeds, batch))


class Minibatches:
    """A data set in epochs: every row once, in a fresh random order, then again in another.

    Each seed has an order of its own. A batch that does not fit into what is left of an epoch goes on into
    the next one, so no row is dropped and all batches are of the size asked for. The position is kept
    between calls, which makes this the one sampler that changes: give each training run its own.

    Args:
        data: ``(n, features)`` for all seeds alike, or ``(seeds, n, features)`` with a set for each.
    """

    def __init__(self, data: Tensor) -> None:
        """Stand before the first epoch."""
        self.data = _data_set(data)
        # As if an epoch had just ended: the first call then draws the first order.
        self._order = torch.empty(0, self.n, dtype=torch.long, device=data.device)
        self._position = self.n

    @property
    def n(self) -> int:
        """The number of rows, which is the length of an epoch."""
        return self.data.shape[-2]

    @property
    def features(self) -> int:
        """The number of values in a row."""
        return self.data.shape[-1]

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw a batch for each seed, ``(seeds, batch, features)``; see `Sampler`."""
        seeds, batch = _data_request(self.data, seeds, batch, rng)
        if len(self._order) not in (0, seeds):
            raise ValueError(
                f"seeds must be {len(self._order)}, as it was before, not {seeds}: "
                "each seed is inside an epoch, so make another Minibatches for another number of seeds."
            )
        return _rows(self.data, self._next(seeds, batch, rng))

    def state(self) -> dict[str, Tensor]:
        """Return the orders ``(seeds, n)`` and the position in them, as copies, for a checkpoint.

        The stream is not part of it: a run goes on exactly as it would have if its generator is restored too.
        """
        return {"order": self._order.clone(), "position": torch.tensor(self._position)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from where another `Minibatches` of the same number of rows was.

        Args:
            state: what its `state` returned.

        Raises:
            ValueError: if ``state`` does not belong to a data set of this many rows.
        """
        _checks.instance("state", state, dict)
        if state.keys() != {"order", "position"}:
            raise ValueError(
                f"state must hold order and position, not {sorted(state)}: load what state() returned."
            )
        for key, value in state.items():
            _checks.instance(f"state[{key!r}]", value, Tensor)
        order, position = state["order"].to(self.data.device, torch.long, copy=True), int(state["position"])
        rows = torch.arange(self.n, device=order.device)
        fits = order.shape[1:] == (self.n,) and 0 <= position <= self.n
        if not fits or (order.sort(-1).values != rows).any():
            raise ValueError(
                f"state must hold orders of {self.n} rows and a position in them, not an order of shape "
                f"{tuple(order.shape)} and position {position}: load what state() returned for these data."
            )
        self._order, self._position = order, position

    def _next(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Return the indices of the next ``batch`` rows of each seed, (seeds, batch), and move on."""
        pieces = []
        while batch:
            if self._position == self.n:
                self._order, self._position = torch.stack([rng.permutation(self.n) for _ in range(seeds)]), 0
            step = min(batch, self.n - self._position)
            pieces.append(self._order[:, self._position : self._position + step])
            self._position += step
            batch -= step
        return torch.cat(pieces, dim=1)

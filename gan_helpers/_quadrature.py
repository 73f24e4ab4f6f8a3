"""Integrals over densities on the line, with a check that they are known well."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.integrate import quad

from gan_helpers import _checks

#: A density on the line. It is called with a tensor of shape (1,), which suits a `data.Density`, the ``pdf``
#: of a frozen SciPy distribution and a function made for floats, and returns one number in any form.
LineDensity = Callable[[Any], Any]

TOLERANCE = 1e-3  # how far from 1 a density may integrate, and how well an integral must be known
PIECES = 16  # equal parts of the range that the quadrature starts from, so that it sees narrow peaks


def densities(
    p: LineDensity, q: LineDensity, low: float, high: float
) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """Return two densities as functions from float to float, with the limits and both masses checked."""
    _checks.number("high", high, above=_checks.number("low", low))
    f, g = _on_floats("p", p), _on_floats("q", q)
    for name, density in (("p", f), ("q", g)):
        mass = integral(density, low, high)
        if abs(mass - 1) > TOLERANCE:
            raise ValueError(
                f"{name} must integrate to 1, but does to {mass:.4g} on [{low:g}, {high:g}]: "
                "widen the limits until they hold its mass, or normalise it."
            )
    return f, g


def _on_floats(name: str, density: LineDensity) -> Callable[[float], float]:
    """Return ``density`` as a function from float to float that refuses values no density has."""
    if hasattr(density, "density") or not callable(density):  # a sampler, which is callable too
        shown = _checks.shown(density)
        raise TypeError(f"{name} must be a density such as Normal(4, 1.25).density, not {shown}.")

    def at(x: float) -> float:
        answer = _checks.tensor(f"{name}(x)", density(torch.tensor([x], dtype=torch.float64)))
        if answer.numel() != 1:
            raise ValueError(f"{name}(x) must be one number for one x, not of shape {tuple(answer.shape)}.")
        value = float(answer)
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be a density, finite and at least 0, but is {value:g} at {x:g}.")
        return value

    # The integrals start from the same points, and most densities are not worth computing twice.
    return functools.cache(at)


def integral(f: Callable[[float], float], low: float, high: float) -> float:
    """Return the integral of ``f`` from ``low`` to ``high``, if it can be had."""
    inner = np.linspace(low, high, PIECES + 1)[1:-1]
    # In full, since SciPy warns of divergence when the integrand of two equal densities is rounding alone.
    value, error = quad(f, low, high, points=inner, limit=1000, full_output=True)[:2]
    if error > TOLERANCE:
        raise ValueError(
            f"p and q must be smooth enough to integrate, but an integral over [{low:g}, {high:g}] is known "
            f"only to within {error:.2g}: narrow the limits, or smooth p and q."
        )
    return float(value)

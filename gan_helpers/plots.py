"""One visual language for all chapters; every function draws on the Axes that it is given.

Real data, fakes and the discriminator have a colour and a line style each, everywhere: blue and solid,
vermilion and dashed, green and dotted. The three are told apart in print and by colour-blind readers too.

Raises:
    TypeError: in all functions, if what is drawn is not made of floating-point tensors.
    ValueError: in all functions, if a shape does not fit.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray
from torch import Tensor

from gan_helpers import _checks

REAL: dict[str, Any] = {"color": "#0072B2", "linestyle": "-"}
FAKE: dict[str, Any] = {"color": "#D55E00", "linestyle": "--"}
DISCRIMINATOR: dict[str, Any] = {"color": "#009E73", "linestyle": ":"}


class Distribution(Protocol):
    """A one-dimensional distribution with a density and quantiles, such as `gan_helpers.data.Normal`."""

    def density(self, x: Tensor) -> Tensor:
        """Return the density at points of shape ``(..., 1)``."""
        ...

    def quantile(self, u: Tensor) -> Tensor:
        """Return the quantiles of u, elementwise."""
        ...


def _array(values: Tensor) -> NDArray[Any]:
    return values.detach().cpu().numpy()


def band(ax: Axes, at: Tensor, values: Tensor, label: str, style: dict[str, Any] | None = None) -> None:
    """Draw how a quantity runs over the steps for all seeds: median, middle half, and full range.

    Args:
        ax: where to draw.
        at: the steps, ``(records,)``.
        values: the quantity for each step and seed, ``(records, seeds)``.
        label: what the median line is called in the legend.
        style: the colour and line style, `FAKE` unless given.
    """
    _checks.floating("values", values, "(records, seeds)", dims=2)
    if at.shape != values.shape[:1]:
        raise ValueError(
            f"at must have one step for each of the {len(values)} records, not shape {tuple(at.shape)}."
        )
    style = FAKE if style is None else style
    steps, runs = _array(at), _array(values)
    low, lower, middle, upper, high = np.nanquantile(runs, (0, 0.25, 0.5, 0.75, 1), axis=1)
    ax.fill_between(steps, low, high, color=style["color"], alpha=0.15, linewidth=0)
    ax.fill_between(steps, lower, upper, color=style["color"], alpha=0.35, linewidth=0)
    ax.plot(steps, middle, label=label, **style)


def density(
    ax: Axes, samples: Tensor, truth: Distribution, label: str = "fakes, one line per seed", bins: int = 60
) -> None:
    """Draw the histogram of each seed's samples over the true density.

    Args:
        ax: where to draw.
        samples: one row for each seed, ``(seeds, n)``, in the units of the distribution.
        truth: the true distribution.
        label: what the histograms are called in the legend.
        bins: the number of bins, over the range that holds all but 2 in 10,000 of the true distribution.
    """
    _checks.floating("samples", samples, "(seeds, n)", dims=2)
    low, high = truth.quantile(torch.tensor([1e-4, 1 - 1e-4], dtype=torch.float64)).tolist()
    grid = torch.linspace(low, high, 400, dtype=torch.float64)
    curve = _array(truth.density(grid.unsqueeze(1)))
    ax.fill_between(_array(grid), curve, color=REAL["color"], alpha=0.2, linewidth=0)
    ax.plot(_array(grid), curve, label="real density", **REAL)
    edges = np.linspace(low, high, _checks.whole("bins", bins) + 1)
    for row in _array(samples):
        heights = np.histogram(row, edges)[0] / (len(row) * (edges[1] - edges[0]))
        ax.stairs(heights, edges, **FAKE | {"linewidth": 1, "alpha": max(0.4, 1 / len(samples))})
    ax.plot([], label=label, **FAKE | {"linewidth": 1})  # for the legend, where a pale line is hard to see


def per_seed(
    ax: Axes,
    groups: dict[str, Tensor],
    mark: float | None = None,
    label: str = "",
    real: Collection[str] = (),
) -> None:
    """Draw a strip for each group, on a logarithmic axis: a point for each seed, and a bar at the median.

    The height of a point within its strip says nothing: it keeps the points apart. Groups of fakes are discs;
    those that come from the real data without a generator are squares in the colour of real data.

    Args:
        ax: where to draw.
        groups: the numbers of each group, by name, each ``(seeds,)`` and positive.
        mark: a number to mark with a line.
        label: what that line is called in the legend.
        real: the names of the groups that come from the real data.
    """
    for row, (name, values) in enumerate(groups.items()):
        numbers = _array(_checks.floating(name, values, "(seeds,)", dims=1))
        # Multiples of the golden ratio spread evenly whatever their number, and follow no order of size.
        heights = row + 0.5 * (np.arange(len(numbers)) * 0.618034 % 1 - 0.5)
        color, marker = (REAL["color"], "s") if name in real else (FAKE["color"], "o")
        ax.plot(
            numbers, heights, linestyle="none", marker=marker, markersize=4, alpha=0.5, color=color, mew=0
        )
        ax.vlines(np.median(numbers), row - 0.36, row + 0.36, color="0.2", label="" if row else "median")
    ax.set_yticks(range(len(groups)), list(groups))
    ax.invert_yaxis()
    ax.set_xscale("log")
    if mark is not None:
        ax.axvline(mark, color="C1", linestyle="-.", label=label, zorder=1)


def surface(
    ax: Axes, x: Tensor, y: Tensor, logits: Tensor, arrows: int = 11, scale: float | None = None
) -> None:
    """Draw D over the plane: its answers as shades, its boundary, and where it sends fakes.

    The darker the shade, the more real. On the dotted line D(x) is one half. An arrow is the force of the
    non-saturating loss on a fake that is there, (1 - D(x)) times the gradient of the logit.

    Args:
        ax: where to draw.
        x: the places along the first axis, evenly spaced, ``(columns,)``.
        y: the places along the second axis, evenly spaced, ``(rows,)``.
        logits: what D says there, ``(rows, columns)``.
        arrows: how many arrows there are along each axis, at most.
        scale: the force that is drawn one unit of x long; chosen by matplotlib unless given.
    """
    _checks.floating("logits", logits, "(rows, columns)", dims=2)
    if logits.shape != (len(y), len(x)):
        raise ValueError(f"logits must have shape {(len(y), len(x))}, as y and x, not {tuple(logits.shape)}.")
    across, up, a, answers = (_array(t.double()) for t in (x, y, logits, logits.double().sigmoid()))
    shades = LinearSegmentedColormap.from_list("answers", ["#FFFFFF", "#8FD3BE"])
    ax.contourf(across, up, answers, np.linspace(0, 1, 11), cmap=shades)
    if a.min() < 0 < a.max():
        color, line = DISCRIMINATOR["color"], DISCRIMINATOR["linestyle"]
        ax.contour(across, up, a, [0.0], colors=[color], linestyles=[line], linewidths=2.5)
    to_y, to_x = (1 - answers) * np.stack(np.gradient(a, up, across))
    rows, columns = (slice(None, None, -(-n // arrows)) for n in a.shape)
    force = to_x[rows, columns], to_y[rows, columns]
    ax.quiver(across[columns], up[rows], *force, color="0.35", angles="xy", scale_units="xy", scale=scale)

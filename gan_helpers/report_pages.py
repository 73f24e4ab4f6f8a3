"""The page of a report: one file of HTML, with its pictures in it, that asks nothing of any server."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from gan_helpers.units import Category, Column, Units

Array = NDArray[Any]

if TYPE_CHECKING:
    from gan_helpers.judging import Report

MOST = 12  # columns that are drawn
ACROSS = 8  # images in a line
LINES = 3  # of images
CURVES = 20
REAL, FAKE = "#0072B2", "#D55E00"

STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: auto; padding: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #8886; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; height: auto; background: #fff; }
dt { font-weight: 600; }
"""

HEADS = {
    "distance": "W₁ from held-out rows, in the units that the network sees; less is better.",
    "density": "How densely samples lie among held-out rows; 1 for real rows.",
    "precision": "Share of samples that lie among held-out rows.",
    "coverage": "Share of held-out rows that have a sample near them.",
    "told by a classifier": "How often trees tell samples from held-out rows; 0.5 is guessing.",
    "copying": "Share of samples nearer to a training row than to a held-out one; about 0.5 if rows are new.",
    "closeness": "Distance to the nearest training row, in units of that of unseen rows; 0 for copies.",
    "membership": "How often trained rows are nearer to a sample than unseen rows; 0.5 is guessing.",
    "passes": "Distance, coverage and classifier are all within what real rows get.",
}

SHOWS = (
    "<p>The picture shows {}. Keep this page where the data are. Saved with <code>real=False</code> it has "
    "no picture.</p>"
)
LEFT_OUT = "<p>There is no picture, since it would show real rows beside the samples.</p>"


def page(report: Report, real: bool = True) -> str:
    """Return the page of a report.

    Args:
        report: of `gan_helpers.judging.report`.
        real: False leaves the picture out, which shows real rows that were held out.

    Raises:
        AttributeError: if it is no report.
    """
    verdicts = "".join(f"<li>{html.escape(verdict)}</li>" for verdict in report.verdicts)
    heads = "".join(f"<dt>{name}</dt><dd>{html.escape(said)}</dd>" for name, said in HEADS.items())
    origin = ", ".join(f"{key} {value}" for key, value in report.origin.items())
    picture = _picture(*report.shown, report.units) if real else LEFT_OUT
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>How good are these samples?</title><style>{STYLE}</style></head><body>"
        f"<h1>How good are these samples?</h1><ul>{verdicts}</ul>"
        f'<h2>Measures</h2><div class="wide">{_table(report.table())}</div>'
        f"<p>Median and range over the seeds.</p><dl>{heads}</dl>"
        f"<h2>Samples</h2>{picture}"
        f"<h2>Origin</h2><p>{html.escape(origin)}</p></body></html>\n"
    )


def _table(markdown: str) -> str:
    """Return a table in Markdown as one in HTML."""
    lines = [line[1:-1].split("|") for line in f"{markdown}".splitlines()]
    del lines[1]  # which says how columns are aligned
    head, *rows = map(list, zip(*lines, strict=True))  # measures become rows, which fit a narrow page
    made = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{_cells('th', head)}</tr></thead><tbody>{made}</tbody></table>"


def _cells(kind: str, texts: list[str]) -> str:
    return "".join(f"<{kind}>{html.escape(text.strip())}</{kind}>" for text in texts)


def _picture(real: Tensor, fake: Tensor, units: Units) -> str:
    """Return a picture of rows and samples, what it shows of real ones, and a text for who cannot see it."""
    if len(units.shape) > 1:
        white = units.decode(torch.ones(1, units.features)).max()
        figure = _images(units.decode(real), units.decode(fake), white)
        text = "held-out images above, samples below"
        shows = f"{_lines(len(real)) * ACROSS} real images that were held out"
    elif units.columns[0].width > 1 and not units.table:
        figure, text = _curves(units.decode(real), units.decode(fake)), "held-out curves left, samples right"
        shows = f"{min(CURVES, len(real))} real curves that were held out"
    else:
        figure, text = _columns(real, fake, units), "each column, held-out rows and samples"
        shows = f"how often values occur in {len(real)} real rows that were held out, with the extreme ones"
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    data = base64.b64encode(content.getvalue()).decode()
    return f'{SHOWS.format(shows)}<img alt="Of {text}." src="data:image/png;base64,{data}">'


def _lines(n: int) -> int:
    """Return how many lines of images are drawn of n."""
    return min(LINES, n // ACROSS)


def _images(real: Array, fake: Array, white: float) -> Figure:
    figure = Figure(figsize=(7, 7 * 2 * LINES / ACROSS + 0.6), layout="constrained")
    for ax, images, title in zip(_axes(figure, 2, 1), (real, fake), ("held out", "samples"), strict=True):
        tiles = [
            np.concatenate([*images[i * ACROSS : (i + 1) * ACROSS]], 1) for i in range(_lines(len(images)))
        ]
        # One scale for both: samples that are too dark have to look so.
        ax.imshow(np.concatenate(tiles) / white, cmap="gray", vmin=0, vmax=1)
        ax.set(title=title, xticks=[], yticks=[])
    return figure


def _curves(real: Array, fake: Array) -> Figure:
    figure = Figure(figsize=(7, 3), layout="constrained")
    for ax, curves, title in zip(_axes(figure, 1, 2), (real, fake), ("held out", "samples"), strict=True):
        ax.plot(curves[:CURVES].T, color=REAL if title == "held out" else FAKE, linewidth=0.8)
        ax.set(title=title, ylim=(real.min(), real.max()))
    return figure


def _columns(real: Tensor, fake: Tensor, units: Units) -> Figure:
    columns = units.columns[:MOST]
    lines = -(-len(columns) // 3)
    figure = Figure(figsize=(7, 1.9 * lines + 0.3), layout="constrained")
    axes = _axes(figure, lines, 3)
    parts = [x.double().split(units.widths, -1) for x in (real, fake)]
    for ax, column, one, other in zip(axes, columns, *parts, strict=False):
        _column(ax, column, column.numbers(one).numpy().ravel(), column.numbers(other).numpy().ravel())
    for ax in axes[len(columns) :]:
        ax.set_axis_off()
    axes[0].legend(fontsize=7)
    return figure


def _column(ax: Axes, column: Column, real: Array, fake: Array) -> None:
    """Draw how often values occur, among held-out rows and among samples."""
    if isinstance(column, Category):
        edges = np.arange(column.width + 1) - 0.5
        ax.set_xticks(range(column.width), [_plain(level, 8) for level in column.levels], fontsize=6)
    else:
        edges = np.histogram_bin_edges(np.concatenate([real, fake]), bins=20)
    for values, color, label in ((real, REAL, "held out"), (fake, FAKE, "samples")):
        shares = np.histogram(values, edges)[0] / len(values)
        ax.stairs(shares, edges, color=color, label=label, fill=label == "held out", alpha=0.6)
    ax.set_title(_plain(column.name, 30), fontsize=8)


def _plain(text: object, most: int) -> str:
    """Return the beginning of a text, in which no sign stands for mathematics."""
    return str(text)[:most].replace("$", r"\$")


def _axes(figure: Figure, lines: int, columns: int) -> list[Axes]:
    return list(np.atleast_1d(figure.subplots(lines, columns)).ravel())

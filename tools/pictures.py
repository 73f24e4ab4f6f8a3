"""Make the pictures of the landing page: the moving one, its still twin, and a thumbnail of each chapter.

Usage: python -m tools.pictures [hero] [thumbnails]

Without arguments, all are made. The moving picture is a GAN that the package trains, one network against one,
at the base seed 0; nothing is selected. A thumbnail is a figure that its chapter has stored, made small.
"""

from __future__ import annotations

import base64
import io
import sys
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib import style
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from nbformat import NotebookNode
from PIL import Image
from torch import Tensor, nn

from gan_helpers import Ensemble, Stream, Watch, adam, losses, penalties, plots, train
from gan_helpers.animation import animate
from gan_helpers.data import StandardNormal, ring
from gan_helpers.models import mlp
from tools.sheets import ROOT, Sheet, load, sheets

STATIC = ROOT / "book" / "_static"
HERO, STILL, THUMBNAILS = STATIC / "hero.png", STATIC / "hero-still.png", STATIC / "thumbnails"

WIDTH, HEIGHT, COLOURS = 480, 270, 32  # of a thumbnail

# The moving picture: a ring of eight clouds, in a window of the plane.
REAL = ring(8, radius=2.0, sd=0.15)
NOISE = StandardNormal(2)
REACH = 2.9  # the window is [-REACH, REACH] in both directions
LEVELS = 14  # shades of D's answer
SHOWN = [
    *range(0, 36, 2),
    *range(36, 60, 4),
    *range(60, 160, 10),
    *range(160, 400, 30),
    *range(400, 3_001, 260),
]


@dataclass
class Frame:
    """What a training looks like at one of its steps.

    Args:
        step: the step.
        fakes: what G makes of the noise, ``(points, 2)``.
        answers: D's answer on a lattice of the window, ``(rows, columns)``.
    """

    step: int
    fakes: Tensor
    answers: Tensor


def window(points: int = 105) -> Tensor:
    """Return the coordinates of the lattice on which D is asked, the same in both directions."""
    return torch.linspace(-REACH, REACH, points)


def lattice(line: Tensor) -> Tensor:
    """Return the points of the window, ``(rows * columns, 2)``: row by row, and along a row in x."""
    return torch.cartesian_prod(line, line).flip(1)


def course(steps: list[int], seed: int = 0) -> list[Frame]:
    """Train one GAN on the ring and return how it went.

    Args:
        steps: the steps to look at, from 0 upwards.
        seed: the base seed of weights, data and noise.
    """

    def network(name: str, outputs: int) -> Ensemble:
        def member() -> nn.Module:
            return mlp(2, 64, 64, outputs, activation=lambda: nn.LeakyReLU(0.2))

        return Ensemble(member, seeds=1, name=name, seed=seed, device="cpu")

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return losses.minimax_d(*D(x, G(z).detach())) + 0.1 / 2 * penalties.r1(D, x)

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return losses.non_saturating_g(D(G(z)))

    G, D = network("G", 2), network("D", 1)
    z = NOISE(1, 400, Stream("shown", seed))
    line = window()
    points = lattice(line).unsqueeze(0)

    def look(G: Ensemble) -> dict[str, Tensor]:
        return {"fakes": G(z), "answers": D(points).sigmoid()}

    history = train(
        G, D, REAL, NOISE, d_loss=d_loss, g_loss=g_loss,
        d_opt=adam(D, 2e-3, betas=(0.5, 0.99)), g_opt=adam(G, 1e-3, betas=(0.5, 0.99)),
        batch=256, steps=max(steps), watch=Watch(look, every=2), seed=seed, progress=False,
    )  # fmt: skip
    seen = {int(at): number for number, at in enumerate(history.at)}
    fakes, answers = (history.watched[name][:, 0] for name in ("fakes", "answers"))
    shape = (len(line), len(line))
    return [Frame(step, fakes[seen[step]], answers[seen[step]].reshape(shape)) for step in steps]


def draw(figure: Figure, frame: Frame) -> None:
    """Draw what there is at one step: D's answer as a surface, and both kinds of points on it."""
    figure.set_layout_engine("none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH))
    ax.set_axis_off()
    green = LinearSegmentedColormap.from_list("answers", ["#FFFFFF", plots.DISCRIMINATOR["color"]])
    line, levels = window(), np.linspace(0, 1, LEVELS + 1)
    ax.contourf(line, line, frame.answers, levels=levels, cmap=green, antialiased=False)
    half = {"colors": "#00684B", "linestyles": plots.DISCRIMINATOR["linestyle"], "linewidths": 1.5}
    ax.contour(line, line, frame.answers, levels=[0.5], **half)
    x = REAL(1, 320, Stream("real points shown", 0))[0]
    plain = {"linestyle": "none", "markeredgewidth": 0}
    ax.plot(*x.T, marker="o", color=plots.REAL["color"], markersize=5, **plain)
    ax.plot(*frame.fakes.T, marker="^", color=plots.FAKE["color"], markersize=6, **plain)
    label = {"facecolor": "white", "edgecolor": "none", "pad": 5}
    ax.text(0.03, 0.97, f"step {frame.step:,}", transform=ax.transAxes, va="top", size=14, bbox=label)


def hero() -> None:
    """Write the moving picture, and the still one for those who prefer no motion."""
    moving = animate(draw, course(SHOWN), figsize=(5.2, 5.2), seconds=5.0, colours=64)
    HERO.write_bytes(moving.png)
    with Image.open(HERO) as picture:
        picture.seek(picture.n_frames - 1)
        picture.convert("RGB").quantize(64).save(STILL, optimize=True)


def stored(notebook: NotebookNode, name: str) -> Image.Image:
    """Return the stored figure of that name."""
    for cell in notebook.cells:
        if cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == name:
            (picture,) = [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
            return Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    raise LookupError(f"no figure is called {name}.")


def thumbnail(sheet: Sheet) -> Image.Image:
    """Return a chapter's figure at the size of a card, on white."""
    shown = sheet.thumbnail
    figure = stored(load(ROOT / "book" / f"{sheet.name}.ipynb"), shown.figure)
    size = (figure.width, figure.height) * 2
    figure = figure.crop(tuple(round(share * length) for share, length in zip(shown.box, size, strict=True)))
    figure.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    card = Image.new("RGB", (WIDTH, HEIGHT), "white")
    card.paste(figure, ((WIDTH - figure.width) // 2, (HEIGHT - figure.height) // 2))
    return card


def thumbnails() -> None:
    """Write the thumbnails of all chapters."""
    THUMBNAILS.mkdir(exist_ok=True)
    for sheet in sheets():
        small = thumbnail(sheet).quantize(COLOURS, dither=Image.Dither.NONE)
        small.save(THUMBNAILS / f"{sheet.name}.png", optimize=True)


def main(arguments: list[str]) -> int:
    """Make what is asked for, or all."""
    style.use("gan_helpers.book")
    makers = {"hero": hero, "thumbnails": thumbnails}
    for name in arguments or makers:
        makers[name]()
    for path in (HERO, STILL, *sorted(THUMBNAILS.glob("*.png"))):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A picture that moves: one drawing for each frame, kept as an animated PNG.

An animated PNG is a PNG. It moves in a page, in Jupyter and on Colab, without scripts and without a player.
Whoever cannot show it moving, a printer among them, shows its default image, which is the finished picture.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from gan_helpers import _checks

Frame = TypeVar("Frame")
Place = tuple[float, float, float, float]  # left, bottom, width and height, as parts of the figure


@dataclass(frozen=True)
class Animation:
    """What `animate` made; a notebook that ends a cell with it shows it.

    Args:
        frames: the number of frames.
        png: the animated PNG, as the bytes of a file.
    """

    frames: int
    png: bytes = field(repr=False)

    def __repr__(self) -> str:
        return f"Animation({self.frames} frames)"

    def _repr_png_(self) -> bytes:
        return self.png


def animate(
    draw: Callable[[Figure, Frame], None],
    frames: Sequence[Frame],
    *,
    figsize: tuple[float, float] | None = None,
    seconds: float = 4.5,
    dpi: float = 100.0,
    colours: int = 64,
) -> Animation:
    """Return the frames as an animation that plays once and stops at the last one.

    Each frame is drawn afresh, on a figure that is empty again. Axes stay where the last frame has them, so
    that the picture does not shake; draw must therefore make the same axes each time, and should give them
    fixed limits. All frames share the colours of five of them, the last included.

    Args:
        draw: ``draw(figure, frame)`` draws one frame on the figure that it is given.
        frames: what draw gets, one after the other; the last is the finished picture.
        figsize: width and height in inches; that of matplotlib's settings unless given.
        seconds: how long the animation plays; readers need no means to stop what ends within five seconds.
        dpi: pixels per inch.
        colours: how many colours there are at most; fewer make a smaller file.

    Returns:
        The animation.

    Raises:
        TypeError: if a number is not one.
        ValueError: if there are fewer than two frames, a number is out of range, or two frames differ in
            their number of axes.

    References:
        PNG specification, third edition, section 4.9. https://www.w3.org/TR/png-3/#apng-frame-based-animation
    """
    _checks.number("seconds", seconds, above=0.0, at_most=5.0)
    _checks.number("dpi", dpi, above=0.0)
    if _checks.whole("colours", colours, at_least=2) > 256:
        raise ValueError(f"colours must be at most 256, not {colours}: a palette has no room for more.")
    if len(frames) < 2:
        raise ValueError(f"frames must hold at least two, not {len(frames)}: a single one does not move.")
    figure = Figure(figsize=figsize or mpl.rcParams["figure.figsize"], dpi=dpi)
    canvas = FigureCanvasAgg(figure)  # one for all frames: it remembers the sizes of its words
    places: list[Place] | None = None
    pictures = []
    for frame in reversed(frames):  # the last one says where the axes are
        figure.clear()
        draw(figure, frame)
        places = _placed(figure, places)
        canvas.draw()  # type: ignore[no-untyped-call]
        pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        pictures.append(pixels[..., :3].copy())
    pictures.reverse()
    return Animation(len(frames), _file(pictures, round(1_000 * seconds / len(frames)), colours))


def _placed(figure: Figure, places: list[Place] | None) -> list[Place]:
    """Return where the axes are, after they have been put to the places given."""
    if places is None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # which is not asked again
        return [ax.get_position(original=True).bounds for ax in figure.axes]
    if len(places) != len(figure.axes):
        raise ValueError(
            f"draw made {len(figure.axes)} axes for one frame and {len(places)} for the last: "
            "make the same ones for each frame."
        )
    for ax, place in zip(figure.axes, places, strict=True):
        ax.set_position(place)
    return places


def _file(pictures: list[NDArray[np.uint8]], milliseconds: int, colours: int) -> bytes:
    """Return an animated PNG whose default image is the last picture, and no part of the animation."""
    palette = _palette(pictures, colours)
    # Which entry is nearest? Looked up for 32 levels of each colour; the first is 0 and the last 255.
    levels = np.linspace(0, 255, 32, dtype=np.float32)
    gaps = [(levels[:, None] - palette[:, i]) ** 2 for i in range(3)]
    nearest = (gaps[0][:, None, None] + gaps[1][:, None] + gaps[2]).argmin(-1).astype(np.uint8)
    images = []
    for picture in pictures:
        red, green, blue = np.moveaxis(picture >> 3, -1, 0)
        images.append(Image.fromarray(nearest[red, green, blue], mode="P"))
        images[-1].putpalette(palette.tobytes())
    file = io.BytesIO()
    images[-1].save(
        file, "PNG", save_all=True, default_image=True, append_images=images,
        duration=milliseconds, loop=1, optimize=True,
    )  # fmt: skip
    return file.getvalue()


def _palette(pictures: list[NDArray[np.uint8]], colours: int) -> NDArray[np.uint8]:
    """Return the colours of five of the pictures, ``(colours, 3)``."""
    at = np.linspace(0, len(pictures) - 1, 5).round().astype(int)
    pixels = np.concatenate([pictures[i] for i in at])
    boxes = np.asarray(Image.fromarray(pixels).quantize(colours)).ravel()
    # Each box of similar colours is shown by its commonest one, not by their mean: white stays white.
    numbers = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    _, where, counts = np.unique(numbers, return_index=True, return_counts=True)
    where = where[counts.argsort()]
    palette = np.full((colours, 3), 255, dtype=np.uint8)
    palette[boxes[where]] = pixels.reshape(-1, 3)[where]  # of several colours in a box, the last one stays
    return palette

"""An animation is a PNG that ends where it should, stays small and says the same words everywhere."""

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

from gan_helpers import plots
from gan_helpers.animation import animate

matplotlib.use("Agg")


def moving_bar(figure, position):
    ax = figure.subplots(subplot_kw={"xlim": (0, 1), "ylim": (0, 1), "title": "long" * int(10 * position)})
    ax.bar(position, 1.0, width=0.2, color=plots.FAKE["color"])


def bare(figure, shade):
    figure.patch.set_facecolor((shade, shade, shade))


def frames_of(animation):
    """Return the default image and then each frame, as red, green and blue."""
    with Image.open(io.BytesIO(animation.png)) as file:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(file)]


def durations_of(animation):
    """Return how many milliseconds each frame is shown."""
    with Image.open(io.BytesIO(animation.png)) as file:
        assert file.default_image and file.info["loop"] == 1
        return [frame.info.get("duration") for frame in ImageSequence.Iterator(file)][1:]


@pytest.fixture(scope="module")
def animation():
    return animate(moving_bar, [0.2, 0.5, 0.8], figsize=(3, 2), seconds=1.5)


def test_it_plays_once_in_order_and_in_the_time_given_and_its_still_image_is_the_last(animation):
    assert durations_of(animation) == [500, 500, 500]
    still, *frames = frames_of(animation)
    assert [np.array_equal(still, frame) for frame in frames] == [False, False, True]
    orange = [(frame == (0xD5, 0x5E, 0x00)).all(-1).any(0).nonzero()[0].mean() for frame in frames]
    assert orange == sorted(orange) and orange[-1] - orange[0] > 0.4 * still.shape[1]


def test_a_frame_that_changes_nothing_takes_its_time():
    assert durations_of(animate(bare, [1.0, 1.0, 1.0, 0.0], figsize=(1, 1), seconds=2.0))[0] == 1_500


def test_axes_stay_where_the_last_frame_has_them():
    seen = []

    def growing(figure, height):
        seen.append(figure.subplots())
        seen[-1].plot([0, 1], [0, height])

    with matplotlib.rc_context({"figure.constrained_layout.use": True}):
        animate(growing, [1.0, 1e6 / 3], figsize=(3, 2))  # labels of one digit, and of six
        alone = Figure(figsize=(3, 2))
        growing(alone, 1.0)
        alone.draw_without_rendering()
    last, first, by_itself = (ax.get_position().bounds for ax in seen)
    assert first == last != by_itself


def test_white_stays_white_and_colours_are_few(animation):
    assert all(tuple(frame[0, 0]) == (255, 255, 255) for frame in frames_of(animation))
    fewer = animate(moving_bar, [0.2, 0.5, 0.8], figsize=(3, 2), colours=4)
    assert len({tuple(pixel) for frame in frames_of(fewer) for pixel in frame.reshape(-1, 3)}) == 4
    assert len(fewer.png) < len(animation.png)


def test_colours_of_the_last_frame_alone_are_kept():
    red = animate(lambda figure, k: figure.patch.set_facecolor("red" if k == 19 else "white"), range(20))
    assert (frames_of(red)[-1] == (255, 0, 0)).all()


def test_a_notebook_shows_the_picture_in_matplotlibs_size_and_compares_fixed_words():
    with matplotlib.rc_context({"figure.figsize": (2.0, 1.0)}):
        shown = animate(bare, [0.0, 1.0], dpi=50)
    assert frames_of(shown)[0].shape == (50, 100, 3)
    assert (shown._repr_png_(), repr(shown)) == (shown.png, "Animation(2 frames)")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": [1.0]}, "frames must hold at least two, not 1"),
        ({"seconds": 6.0}, "seconds must be at most 5"),
        ({"dpi": 0.0}, "dpi must be greater than 0"),
        ({"colours": 257}, "colours must be at most 256, not 257"),
        ({"colours": 1}, "colours must be at least 2"),
        ({"draw": lambda figure, n: figure.subplots(1, 1 + int(n))}, "1 axes for one frame and 2 for"),
    ],
)
def test_a_bad_argument_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        animate(**{"draw": bare, "frames": [0.0, 1.0]} | changes)

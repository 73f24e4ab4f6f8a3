"""The landing page: its moving picture, and the thumbnails of its cards."""

import re

import numpy as np
import pytest
from PIL import Image

from tools import pictures
from tools.sheets import ALT_LENGTH, BOOK, ROOT, sheets

LANDING = (BOOK / "intro.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("sheet", sheets(), ids=lambda sheet: sheet.name)
def test_a_thumbnail_is_its_chapters_figure_made_small(sheet):
    path = pictures.THUMBNAILS / f"{sheet.name}.png"
    assert path.stat().st_size < 40_000
    with Image.open(path) as picture:
        kept = np.asarray(picture.convert("RGB"), dtype=float)
    fresh = np.asarray(pictures.thumbnail(sheet), dtype=float)
    assert kept.shape == fresh.shape
    assert np.abs(kept - fresh).mean() < 6, "run make pictures"


def test_every_picture_of_the_page_has_a_text_of_its_own():
    texts = re.findall(r'(?:^:img-alt: |alt=")([^"\n]*)', LANDING, re.MULTILINE)
    assert len(texts) == len(set(texts)) > LANDING.count("<img")
    assert all(len(text) in ALT_LENGTH for text in texts)


def test_the_moving_picture_is_small_and_stops_within_five_seconds():
    assert pictures.HERO.stat().st_size < 1_000_000
    with Image.open(pictures.HERO) as picture:
        assert picture.n_frames > 24
        assert picture.info["loop"] == 1
        lengths = []
        for frame in range(1, picture.n_frames):  # frame 0 is for those who cannot show it moving
            picture.seek(frame)
            lengths.append(picture.info["duration"])
    assert sum(lengths) <= 5_000


def test_who_prefers_no_motion_gets_the_last_frame():
    still = re.search(r'<source media="\(prefers-reduced-motion: reduce\)" srcset="([^"]+)">', LANDING)[1]
    assert (BOOK / still).resolve() == (ROOT / "_static" / pictures.STILL.name)
    with Image.open(pictures.STILL) as kept, Image.open(pictures.HERO) as moving:
        assert getattr(kept, "n_frames", 1) == 1
        moving.seek(moving.n_frames - 1)
        gap = np.asarray(kept.convert("RGB"), float) - np.asarray(moving.convert("RGB"), float)
    assert np.abs(gap).mean() < 2


def test_the_frames_show_a_training_from_its_first_step():
    frames = pictures.course([0, 2, 4])
    assert [frame.step for frame in frames] == [0, 2, 4]
    start, _, end = frames
    assert start.fakes.shape == end.fakes.shape == (400, 2)
    assert start.answers.shape == (len(pictures.window()),) * 2
    assert ((start.answers > 0) & (start.answers < 1)).all()
    assert (start.fakes - end.fakes).abs().max() > 1e-3, "G has not moved"


def test_rows_of_the_surface_are_heights_of_the_plane():
    """Matplotlib takes the first axis as y; the points are (x, y)."""
    line = pictures.window()
    lattice = pictures.lattice(line).reshape(len(line), len(line), 2)
    assert (lattice[3, :, 0] == line).all()
    assert (lattice[3, :, 1] == line[3]).all()

"""The landing page: its moving picture, its thumbnails, and a card for every chapter that says the truth."""

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from PIL import Image

from tools import pages, pictures
from tools.sheets import read

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"

LANDING = (BOOK / "intro.md").read_text(encoding="utf-8")


def chapters():
    """The names of the chapters, in their order."""
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    files = [Path(c["file"]) for part in parts for c in part["chapters"]]
    return [file.name for file in files if (ROOT / file).with_suffix(".ipynb").is_file()]


def notebook(name):
    return nbformat.read(BOOK / f"{name}.ipynb", as_version=4)


def cards():
    """The options of each card, and below 'title' and 'minutes' what it says."""
    found = {}
    for title, body in re.findall(r"^::::\{grid-item-card\} (.*?)$(.*?)^::::$", LANDING, re.M | re.S):
        card = dict(re.findall(r"^:([\w-]+): (.*)$", body, re.MULTILINE))
        minutes = re.search(r"^read (\d+) min · run (\d+) min$", body, re.MULTILINE)
        found[card["link"]] = card | {"title": title, "minutes": [int(n) for n in minutes.groups()]}
    return found


def test_every_chapter_has_a_card_in_its_order():
    assert list(cards()) == chapters()
    assert [int(card["title"].split(".")[0]) for card in cards().values()] == list(range(1, 7))


@pytest.mark.parametrize("name", chapters())
def test_a_card_bears_the_name_of_its_chapter(name):
    words = cards()[name]["title"].split(". ", maxsplit=1)[1]
    assert notebook(name).cells[0].source.startswith(f"# {words}")


@pytest.mark.parametrize("name", chapters())
def test_the_minutes_on_a_card_are_those_of_its_chapter(name):
    read, run = cards()[name]["minutes"]
    assert read == pytest.approx(pages.minutes_to_read(notebook(name)), rel=0.15, abs=3)
    number = {"one": 1, "a": 1, "two": 2, "three": 3, "half": 1}
    said = re.search(r"runs\s+in\s+(?:about\s+)?([\w\s]*?)\s*minutes?", notebook(name).cells[0].source)[1]
    assert run == max(number.get(word, 0) for word in said.split()) + ("and a half" in said)


@pytest.mark.parametrize("name", chapters())
def test_a_thumbnail_is_its_chapters_figure_made_small(name):
    path = BOOK / cards()[name]["img-top"]
    assert path.stem == name
    assert path.stat().st_size < 40_000
    with Image.open(path) as picture:
        kept = np.asarray(picture.convert("RGB"), dtype=float)
    fresh = np.asarray(pictures.thumbnail(read(BOOK / f"{name}.ipynb")), dtype=float)
    assert kept.shape == fresh.shape
    assert np.abs(kept - fresh).mean() < 6, "run make pictures"


def test_every_picture_of_the_page_has_a_text_of_its_own():
    texts = re.findall(r'(?:^:img-alt: |alt=")([^"\n]*)', LANDING, re.MULTILINE)
    assert len(texts) == len(set(texts)) == len(chapters()) + LANDING.count("<img")
    assert all(30 <= len(text) <= 400 for text in texts)


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

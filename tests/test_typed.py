"""Numbers that a reader types, in a real browser: what is drawn is what the stored sheets have.

The page is a bare one with the markup that Jupyter Book gives a figure, so nothing needs to be built.
"""

import base64
import io
import shutil

import numpy as np
import pytest
from PIL import Image

from gan_helpers.albums import album, every
from gan_helpers.tables import FIRST_SEED
from tools import site_pages
from tools.sheets import ROOT

NAMES = sorted(name for name in every() if name.startswith("labelled_digits_seed_"))
FIGURE = """<figure class="align-default" id="fig-{}"><img src="still.png" alt="Digits"><figcaption>Sixteen
drawings.</figcaption></figure>"""
PAGE = """<!doctype html>
<html lang="en" data-theme="light"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A field alone</title><link rel="icon" href="data:,">
<style>figure {{ margin: 0 }} img {{ max-width: 100% }}</style>
<link rel="stylesheet" href="custom.css"><link rel="stylesheet" href="typed.css">
<script defer src="typed.js"></script></head><body>{}</body></html>
"""
DRAWN = """canvas => {
  const { width, height } = canvas, copy = new OffscreenCanvas(width, height).getContext("2d");
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, width, height);
  return [width, height, ...data.filter((_, i) => i % 4 == 0)];
}"""
SIDE, GAP = 28, 10


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A page, opened as a file, with the figure and one that has no sheets."""
    folder = tmp_path_factory.mktemp("typed")
    for name in ("custom.css", "typed.js", "typed.css"):
        shutil.copy(ROOT / "book" / "_static" / name, folder)
    shutil.copy(ROOT / "book" / "_static" / "logo.png", folder / "still.png")
    figures = FIGURE.format("labelled-digits-typed") + FIGURE.format("of-another-kind-typed")
    (folder / "page.html").write_text(PAGE.format(site_pages.with_sheets(figures)), encoding="utf-8")
    return (folder / "page.html").as_uri()


@pytest.fixture
def opened(visit, url):
    """The page; whatever the browser complains about fails the test."""
    seen = visit(url)
    seen.page.get_by_role("textbox").wait_for()
    yield seen.page
    assert seen.complaints == []


def drawings(page, seed, number):
    """The sixteen drawings of a seed, ``(16, 28, 28 n)``, cut out of its canvas."""
    width, height, *ink = page.locator("canvas").nth(seed).evaluate(DRAWN)
    ink, wide = np.array(ink, np.uint8).reshape(height, width), len(number) * SIDE
    columns = next(n for n in (16, 8, 4, 2, 1) if n * (wide + GAP) <= width + GAP)
    corners = [(i // columns * (SIDE + GAP), i % columns * (wide + GAP)) for i in range(16)]
    return np.stack([ink[y : y + SIDE, x : x + wide] for y, x in corners])


def stored(seed, number):
    """The same, from the album of the seed."""
    sheet = list(album(NAMES[seed]).values())[-1].mul(255).round().byte().view(10, 16, SIDE, SIDE).numpy()
    return np.concatenate([sheet[int(digit)] for digit in number], 2)


def border(field):
    """How thick the border is that one sees."""
    return field.evaluate("input => getComputedStyle(input).borderTopWidth")


def test_what_is_drawn_is_what_is_stored(opened):
    assert opened.locator("canvas").count() == len(NAMES) >= 2
    field = opened.get_by_role("textbox", name="A number of up to 6 digits")
    for number in (site_pages.FIRST_TYPED, "7", "305198"):
        if field.input_value() != number:
            field.fill(number)
        assert opened.get_by_role("status").inner_text().startswith(f"{number}, drawn 16 times by each of ")
        for seed in range(len(NAMES)):
            assert np.array_equal(drawings(opened, seed, number), stored(seed, number)), (number, seed)
            name = opened.locator("canvas").nth(seed).get_attribute("aria-label")
            assert name == f"16 drawings of the number {number}: Run {FIRST_SEED + seed}"


def test_the_keyboard_is_enough_and_what_is_no_digit_is_told(opened):
    opened.keyboard.press("Tab")
    opened.keyboard.press("Control+a")
    opened.keyboard.type("41")
    opened.keyboard.type("x")
    status, field = opened.get_by_role("status"), opened.get_by_role("textbox")
    assert status.inner_text().startswith("“x” is no digit: only 0 to 9 can be drawn.")
    assert field.get_attribute("aria-invalid") == "true" and border(field) == "2px"
    field.fill("9x")
    assert np.array_equal(drawings(opened, 0, "41"), stored(0, "41"))  # what was typed before
    field.press("Backspace")
    assert status.inner_text().startswith("9, drawn") and field.get_attribute("aria-invalid") == "false"
    assert border(field) == "1px"
    opened.keyboard.press("Control+a")
    opened.keyboard.press("Delete")
    told = "Type a number: up to 6 digits from 0 to 9. Below is what was typed before."
    assert status.inner_text() == told
    opened.keyboard.type("12345678")
    assert field.input_value() == "123456"


def test_a_figure_without_sheets_stays_and_without_javascript_all_do(visit, url):
    page = visit(url).page
    page.get_by_role("textbox").wait_for()
    assert page.locator("img").count() == 1
    assert visit(url, script=False).page.locator("img").count() == 2


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_cut_or_too_small_to_be_touched(visit, url, width):
    page = visit(url, width=width).page
    page.get_by_role("textbox").fill("305198")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for seed in range(len(NAMES)):
        assert np.array_equal(drawings(page, seed, "305198"), stored(seed, "305198"))
    box = page.locator("canvas").first.bounding_box()
    sizes = page.locator("canvas").first.evaluate("canvas => [canvas.width, canvas.height]")
    assert [box["width"], box["height"]] == pytest.approx(
        sizes, abs=1
    )  # a pixel of a digit is one of the page
    assert page.get_by_role("textbox").bounding_box()["height"] >= 24


def test_ink_is_dark_on_light_and_light_on_dark(opened):
    filters = "getComputedStyle(document.querySelector('canvas')).filter"
    assert opened.evaluate(filters) == "invert(1)"
    opened.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert opened.evaluate(filters) == "none"


def test_sheets_are_the_files_themselves():
    html = site_pages.with_sheets(FIGURE.format("labelled-digits-typed"))
    for name in NAMES:
        png = (ROOT / "gan_helpers" / "assets" / f"{name}.png").read_bytes()
        text = base64.b64encode(png).decode()
        assert text in html and Image.open(io.BytesIO(png)).mode == "L"

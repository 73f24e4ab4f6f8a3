"""The button below an animation, and the peace of those who ask for less motion, in a real browser.

The page is a bare one with the markup that Jupyter Book gives an animation, so nothing needs to be built.
"""

import shutil
from pathlib import Path

import pytest

from gan_helpers.animation import animate

STATIC = Path(__file__).resolve().parent.parent / "book" / "_static"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>An animation alone</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="_static/animations.css">
<script defer src="_static/animations.js"></script></head>
<body><div class="cell tag_animation"><div class="cell_output"><figure><img src="moving.png" alt="Red, then
blue"><figcaption>From red to blue.</figcaption></figure></div></div>
<div class="cell"><div class="cell_output"><figure><img src="moving.png" alt="A figure"></figure></div></div>
</body></html>
"""
STILL = "image => image.src.startsWith('blob:') && image.complete"
COLOUR = """image => {
  const context = document.createElement("canvas").getContext("2d");
  context.drawImage(image, 0, 0);
  return [...context.getImageData(5, 5, 1, 1).data].slice(0, 3);
}"""
MOVES = """async image => {
  const bytes = await (await fetch(image.src)).arrayBuffer();
  return new TextDecoder("latin1").decode(bytes).includes("acTL");
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with nothing but the page, its script and its picture."""
    folder = tmp_path_factory.mktemp("player")
    (folder / "_static").mkdir()
    for name in ("animations.js", "animations.css"):
        shutil.copy(STATIC / name, folder / "_static")
    moving = animate(lambda figure, name: figure.patch.set_facecolor(name), ["red", "blue"], figsize=(1, 1))
    (folder / "moving.png").write_bytes(moving.png)
    (folder / "page.html").write_text(PAGE, encoding="utf-8")
    return folder


@pytest.fixture
def opened(visit):
    """Opens an address for readers who want motion or do not; complaints of the browser fail the test."""
    visits = []

    def open_page(url, motion):
        visits.append(visit(url, motion=motion))
        return visits[-1].page

    yield open_page
    assert [one.complaints for one in visits] == [[] for _ in visits]


LOADED = "document.images[0].complete && document.images[0].naturalWidth === 100"


def test_each_animation_and_no_other_picture_has_a_button_that_plays_again(opened, address):
    page = opened(f"{address}page.html", "no-preference")
    assert page.locator("button").all_inner_texts() == ["Play again"]
    assert page.locator(".tag_animation img + button + figcaption").count() == 1
    image = page.locator("img").first
    assert page.evaluate(MOVES, image.element_handle())
    page.locator("button").click()
    assert image.get_attribute("src") == "moving.png?1"
    page.keyboard.press("Enter")
    assert image.get_attribute("src") == "moving.png?2"
    page.wait_for_function(LOADED)


def test_who_wants_less_motion_sees_the_finished_picture_and_may_play_it(opened, address):
    page = opened(f"{address}page.html", "reduce")
    image, button = page.locator("img").first.element_handle(), page.locator("button")
    page.wait_for_function(STILL, arg=image)
    assert page.evaluate("image => image.style.visibility", image) == ""
    assert not page.evaluate(MOVES, image)
    assert page.evaluate(COLOUR, image) == [0, 0, 255]
    assert button.inner_text() == "Play"
    button.click()
    assert button.inner_text() == "Play again"
    assert page.evaluate(MOVES, image)


def test_in_a_page_read_from_a_file_the_button_works_all_the_same(opened, site):
    page = opened((site / "page.html").as_uri(), "reduce")
    page.locator("button").click()
    page.wait_for_function(LOADED)
    assert page.locator("img").first.get_attribute("src") == "moving.png?1"

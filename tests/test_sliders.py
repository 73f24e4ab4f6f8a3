"""The figures with sliders, in a real browser: their keys, their numbers and their curves are those stored.

The page is a bare one with the markup that Jupyter Book gives a figure, so nothing needs to be built.
"""

import json
import re
import shutil

import pytest

from gan_helpers.snapshots import snapshots
from gan_helpers.tables import FOLDER
from tools.sheets import ROOT
from tools.site_pages import with_snapshots

NAME = "fifty_lines_rounds"
STORED, FILE = snapshots(NAME), json.loads((FOLDER / f"{NAME}.json").read_text(encoding="utf-8"))
FIGURE = """<figure class="align-default" id="fig-{}"><img src="still.png" alt="A bell"><figcaption>The bell
of the data.</figcaption></figure>"""
PAGE = """<!doctype html>
<html lang="en" data-theme="light"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The sliders alone</title><link rel="icon" href="data:,">
<style>figure {{ margin: 0 }} img {{ max-width: 100% }}</style>
<link rel="stylesheet" href="custom.css"><link rel="stylesheet" href="sliders.css">
<script defer src="sliders.js"></script></head><body>{}</body></html>
"""
CEILING = 0.65  # what lies above it leaves the picture, whose bell stands 242 pixels high in a wide window
DRAWN = """() => [...document.querySelectorAll("svg .line:not(.real)")].map(line =>
  line.getAttribute("d").match(/[-\\d.]+/g).map(Number))"""


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A page, opened as a file, with the figure and one that has no snapshots."""
    folder = tmp_path_factory.mktemp("sliders")
    for name in ("custom.css", "sliders.js", "sliders.css"):
        shutil.copy(ROOT / "book" / "_static" / name, folder)
    shutil.copy(ROOT / "book" / "_static" / "logo.png", folder / "still.png")
    figures = FIGURE.format(NAME.replace("_", "-")) + FIGURE.format("of-another-kind")
    (folder / "page.html").write_text(PAGE.format(with_snapshots(figures)), encoding="utf-8")
    return (folder / "page.html").as_uri()


@pytest.fixture
def opened(visit, url):
    """The page; whatever the browser complains about fails the test."""
    seen = visit(url)
    yield seen.page
    assert seen.complaints == []


def said(choice, rounds, seed):
    """The sentence for a place, from the stored distances."""
    place = STORED.choices.index(choice), STORED.rounds.index(rounds)
    near, median = (FILE[key][place[0]][place[1]] for key in ("within", "median"))
    return (
        f"After {rounds:,} rounds, {near} of 16 seeds are closer to the data than {FILE['bound'][0]} "
        f"(W₁ below {FILE['bound'][1]}). The median W₁ is {median:.3f}; "
        f"seed {seed} has {STORED.at(choice, rounds)[1][seed]:.3f}."
    )


def shown(page):
    return re.sub(r"\s+", " ", page.get_by_role("status").inner_text())


def test_keys_move_the_sliders_and_the_numbers_are_those_of_the_table(opened):
    choice, rounds, seed = FILE["start"]
    assert shown(opened) == said(choice, rounds, seed)
    opened.keyboard.press("Tab")
    opened.keyboard.press("ArrowDown")
    last = len(STORED.w1[1]) - 1  # which may come before the round that was shown
    assert shown(opened) == said(choice := STORED.choices[1], STORED.rounds[last], seed)
    opened.keyboard.press("Tab")
    opened.keyboard.press("ArrowLeft")
    assert shown(opened) == said(choice, rounds := STORED.rounds[last - 1], seed)
    opened.keyboard.press("Tab")
    opened.keyboard.press("ArrowRight")
    assert shown(opened) == said(choice, rounds, seed + 1)
    values = [
        opened.get_by_role("slider", name=name).get_attribute("aria-valuetext") for name in ("Rounds", "Seed")
    ]
    assert values == [f"{rounds:,}", str(seed + 1)]
    opened.keyboard.press("End")
    assert shown(opened) == said(choice, rounds, 15)


def test_every_place_has_the_curves_and_numbers_that_are_stored(opened):
    box = opened.locator("svg").bounding_box()
    low, high = FILE["view"]
    for choice, rounds in ((STORED.choices[0], 0), (STORED.choices[-1], STORED.rounds[-1])):
        opened.get_by_role("combobox", name="Changes").select_option(choice)
        opened.get_by_role("slider", name="Rounds").fill(str(STORED.rounds.index(rounds)))
        assert shown(opened) == said(choice, rounds, FILE["start"][2])
        made = STORED.at(choice, rounds)[0]
        *others, chosen = opened.evaluate(DRAWN)  # the chosen one lies on top
        order = [k for k in range(16) if k != FILE["start"][2]] + [FILE["start"][2]]
        for seed, line in zip(order, [*others, chosen], strict=True):
            x = [low + (px - 1) / (box["width"] - 2) * (high - low) for px in line[::2]]
            at = made[seed]
            heights = (1 / (len(at) * at.diff().clamp(min=1e-3))).clamp(max=2 * CEILING).tolist()
            assert [CEILING * (250 - py) / 242 for py in line[3:-2:2]] == pytest.approx(heights, abs=0.01)
            ends = [at[0].item(), *((at[1:] + at[:-1]) / 2).tolist(), at[-1].item()]
            assert x == pytest.approx(ends, abs=0.01)
        assert opened.locator("svg circle").count() == 16


def test_a_figure_without_snapshots_stays_and_without_javascript_all_do(visit, url):
    assert visit(url).page.locator("img").count() == 1
    assert visit(url, script=False).page.locator("img").count() == 2


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_cut_or_too_small_to_be_touched(visit, url, width):
    page = visit(url, width=width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    frame = page.locator("svg").bounding_box()
    for text in page.locator("svg text").all():
        box = text.bounding_box()
        right = frame["x"] + frame["width"]
        assert box["x"] > frame["x"] - 1 and right > box["x"] + box["width"] - 1
    assert all(one.bounding_box()["height"] >= 24 for one in page.locator(".sliders [name]").all())


def test_colours_follow_the_theme(opened):
    strokes = "['.real.line', '.chosen.line'].map(n => getComputedStyle(document.querySelector(n)).stroke)"
    light = opened.evaluate(strokes)
    assert light == ["rgb(0, 114, 178)", "rgb(213, 94, 0)"]  # those of gan_helpers.plots
    opened.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert not set(light) & set(opened.evaluate(strokes))

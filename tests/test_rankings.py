"""The rankings that a reader sorts, in a real browser: numbers and orders are those of the tables.

The page is a bare one with the markup that Jupyter Book gives a figure, so nothing needs to be built.
"""

import math
import shutil

import pytest

from gan_helpers.recipes.objectives import MEASURED, TARGETS, on
from gan_helpers.tables import ledger
from tools.sheets import ROOT
from tools.site_pages import results, with_results

FIGURE = """<figure class="align-default" id="fig-{}"><img src="still.png" alt="Runs"><figcaption>All
runs.</figcaption></figure>"""
PAGE = """<!doctype html>
<html lang="en" data-theme="light"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The rankings alone</title><link rel="icon" href="data:,">
<style>figure {{ margin: 0 }} img {{ max-width: 100% }}</style>
<link rel="stylesheet" href="custom.css"><link rel="stylesheet" href="sliders.css">
<link rel="stylesheet" href="rankings.css"><script defer src="rankings.js"></script></head>
<body>{}</body></html>
"""
STORED = results()


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A page, opened as a file, with the figure and another one."""
    folder = tmp_path_factory.mktemp("rankings")
    for name in ("custom.css", "sliders.css", "rankings.js", "rankings.css"):
        shutil.copy(ROOT / "book" / "_static" / name, folder)
    shutil.copy(ROOT / "book" / "_static" / "logo.png", folder / "still.png")
    figures = with_results(FIGURE.format("obj-runs") + FIGURE.format("of-another-kind"))
    (folder / "page.html").write_text(PAGE.format(figures), encoding="utf-8")
    return (folder / "page.html").as_uri()


@pytest.fixture
def opened(visit, url):
    """The page; whatever the browser complains about fails the test."""
    seen = visit(url)
    yield seen.page
    assert seen.complaints == []


def shown(page):
    """The rows of the table: a name and three numbers."""
    rows = [row.split("\t") for row in page.locator("table tbody").inner_text().splitlines()]
    return [(name, *(float(n.replace("failed", "inf")) for n in numbers)) for name, *numbers in rows]


def test_what_is_stored_are_the_tables():
    for name, stored in zip(MEASURED, STORED, strict=True):
        table = ledger(f"objectives_{name}")
        assert stored["words"] == TARGETS[name].words
        assert len(stored["measures"]) == (4 if "modes_floor" in table else 1)
        for measure in stored["measures"]:
            key = measure["key"]
            unit = table["distance_floor"].quantile(0.5) if key == "distance" else 1
            for row, shown in zip((*on(TARGETS[name]), "likelihood", "floor"), measure["rows"], strict=True):
                runs = [math.inf if v is None else v for v in shown["runs"]]
                assert runs == pytest.approx((table[f"{key}_{row}"] / unit).tolist(), rel=1e-3), (name, row)


@pytest.mark.parametrize("target", range(len(STORED)))
def test_rows_are_sorted_by_their_medians_with_the_numbers_of_their_runs(opened, target):
    opened.get_by_role("combobox", name="Target").select_option(str(target))
    rows = shown(opened)
    names = {row["name"]: row["runs"] for row in STORED[target]["measures"][0]["rows"]}
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)
    assert {row[0] for row in rows} == set(names)
    for name, median, least, most in rows:
        runs = sorted(math.inf if v is None else v for v in names[name])
        middle = (runs[(len(runs) - 1) // 2] + runs[len(runs) // 2]) / 2
        assert (median, least, most) == pytest.approx((middle, runs[0], runs[-1]), rel=6e-3)
    assert opened.locator("svg circle").count() == len(rows)


def test_a_heading_sorts_by_keys_and_a_second_time_the_other_way(opened):
    worst = opened.get_by_role("button", name="most")
    worst.focus()
    opened.keyboard.press("Enter")
    first = [row[3] for row in shown(opened)]
    assert first == sorted(first)
    assert opened.get_by_role("columnheader", name="most").get_attribute("aria-sort") == "ascending"
    opened.keyboard.press("Enter")  # where the focus has stayed
    assert [row[3] for row in shown(opened)] == first[::-1]
    opened.get_by_role("button", name="name").click()
    assert [row[0] for row in shown(opened)] == [r["name"] for r in STORED[0]["measures"][0]["rows"]]


def test_a_measure_stays_if_the_next_target_has_it(opened):
    target, measure = (opened.get_by_role("combobox", name=name) for name in ("Target", "Measure"))
    target.select_option("2")
    measure.select_option("1")
    target.select_option("3")
    assert "a grid of 25: modes found" in opened.get_by_role("status").inner_text()
    target.select_option("0")
    assert "distance in floors" in opened.get_by_role("status").inner_text()


def test_without_javascript_the_figure_is_all_there_is(visit, url):
    assert visit(url).page.locator(".rankings table").count() == 1
    page = visit(url, script=False).page
    assert page.locator("img").count() == 2 and page.locator(".rankings table").count() == 0


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_cut_or_too_small_to_be_touched(visit, url, width):
    page = visit(url, width=width).page
    page.get_by_role("combobox", name="Target").select_option("3")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    frame = page.locator("svg").bounding_box()
    for text in page.locator("svg text").all():
        box = text.bounding_box()
        assert box["x"] > frame["x"] - 1
        assert frame["x"] + frame["width"] > box["x"] + box["width"] - 1
    assert all(one.bounding_box()["height"] >= 24 for one in page.locator(".rankings [name]").all())

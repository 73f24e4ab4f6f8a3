"""The figure that the reader moves, in a real browser: its numbers, its keyboard, its pointer and its words.

The page is a bare one with the markup that the chapter has, so nothing needs to be built. The figure leaves
its numbers with all digits in data attributes, which are compared with two computations of other kinds: sums
over a fine grid of x, and the `best_pulls` of the chapter.
"""

import math
import re
import shutil
from itertools import product
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import softplus

from gan_helpers import metrics
from gan_helpers.data import Normal

BOOK = Path(__file__).resolve().parent.parent / "book"
CELLS = [cell.source for cell in nbformat.read(BOOK / "minimax.ipynb", as_version=4).cells]
PAGE = """<!doctype html>
<html lang="en" data-theme="light"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The figure alone</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="../_static/custom.css"></head><body>
{figure}
</body></html>
"""
REAL = Normal(4.0, 1.25)
TOLERANCE = 1e-6
SIDEWAYS = "The mean is right, and nothing pulls sideways."

# The sliders' ends, the places that the text speaks of, and some between.
MEANS = (-3.0, -2.25, 0.5, 3.95, 4.0, 5.0, 8.35, 11.0)
SDS = (0.25, 0.5, 0.7, 1.25, 3.0, 4.0)

SET = """([mean, sd]) => {
  for (const [name, value] of Object.entries({mean, sd})) {
    const input = document.querySelector(`[name=${name}]`);
    input.value = value;
    input.dispatchEvent(new Event("input"));
  }
  const figure = document.querySelector(".theory");
  const texts = [...figure.querySelectorAll("tspan, label b")].map(text => text.textContent);
  return {data: {...figure.dataset}, texts, markup: figure.querySelector("svg").innerHTML};
}"""

# Pairs of texts that touch, and texts that leave the picture.
MISPLACED = """() => {
  const frame = document.querySelector("svg").getBoundingClientRect();
  const boxes = [...document.querySelectorAll("svg text")]
    .map(text => [text.textContent, text.getBoundingClientRect()]);
  const wrong = boxes.filter(([, b]) => b.left < frame.left - 1 || b.right > frame.right + 1
    || b.top < frame.top - 1 || b.bottom > frame.bottom + 1).map(([text]) => text);
  boxes.forEach(([one, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
    if (a.left < b.right && b.left < a.right && a.top + 3 < b.bottom && b.top + 3 < a.bottom) {
      wrong.push([one, other]);
    }
  }));
  return wrong;
}"""


def one_cell(begins):
    (found,) = [source for source in CELLS if begins in source]
    return found


@pytest.fixture
def address(tmp_path):
    """A page with nothing but the figure, and its script where a built page has it."""
    (tmp_path / "book").mkdir()
    (tmp_path / "_static").mkdir()
    for name in ("custom.css", "theory.js", "theory.css"):
        shutil.copy(BOOK / "_static" / name, tmp_path / "_static")
    shutil.copytree(BOOK / "_static" / "playground", tmp_path / "_static" / "playground")
    page = tmp_path / "book" / "figure.html"
    page.write_text(PAGE.format(figure=one_cell('<figure class="theory">')), encoding="utf-8")
    return page.as_uri()


@pytest.fixture
def figure(reader, address):
    """The page with the figure; whatever the browser complains about fails the test."""
    reader.page.set_viewport_size({"width": 1280, "height": 900})
    yield reader.open(address).page
    assert reader.complaints == []


def data(page):
    found = page.evaluate("({...document.querySelector('.theory').dataset})")
    return {name: float(value) for name, value in found.items()}


def place(page):
    now = data(page)
    return now["mean"], now["sd"]


def words(page):
    """What the figure says of its present state when the hand rests: aloud, and in the picture."""
    start = "Mean {:.2f}, standard deviation {:.2f}.".format(*place(page)).replace("-", "−")
    page.wait_for_function(
        "start => document.querySelector('[role=status]').textContent.startsWith(start)", arg=start
    )
    return [text.replace("\u00a0", " ") for text in page.locator("[role=status] span").all_text_contents()]


def limits(mean, sd):
    """Where both laws have all of their mass."""
    return min(4 - 12 * 1.25, mean - 12 * sd), max(4 + 12 * 1.25, mean + 12 * sd)


def by_grid(mean, sd):
    """The numbers of the figure by their definitions, as sums over a grid of x."""
    x = np.linspace(*limits(mean, sd), 4_001)
    width = x[1] - x[0]
    log_p, log_q = stats.norm(4, 1.25).logpdf(x), stats.norm(mean, sd).logpdf(x)
    p, q, log_sum = np.exp(log_p), np.exp(log_q), np.logaddexp(log_p, log_q)
    log_d, log_not_d = log_p - log_sum, log_q - log_sum  # log D*, log(1 - D*)
    slope = (x - mean) / sd**2 - (x - 4) / 1.25**2  # of log p/q
    numbers = {"value": (p * log_d + q * log_not_d).sum() * width}
    for name, weight in (("saturating", np.exp(log_d)), ("nonSaturating", np.exp(log_not_d))):
        numbers[f"{name}Mean"] = (q * weight * slope).sum() * width
        numbers[f"{name}Sd"] = (q * weight * slope * (x - mean) / sd).sum() * width
    real, fake = stats.norm(4, 1.25).pdf(mean), stats.norm(mean, sd).pdf(mean)
    return numbers | {"answer": real / (real + fake)}


def test_numbers_agree_with_the_package_the_chapter_and_a_grid_and_are_those_shown(figure):
    names = {"torch": torch, "softplus": softplus, "Normal": Normal, "R": REAL}
    exec(one_cell("def best_pulls"), names)
    for mean, sd in product(MEANS, SDS):
        state = figure.evaluate(SET, [mean, sd])
        got = {name: float(value) for name, value in state["data"].items()}
        wanted = by_grid(mean, sd) | {"mean": mean, "sd": sd}
        wanted["jsd"] = metrics.jsd(REAL.density, Normal(mean, sd).density, *limits(mean, sd))
        assert got == pytest.approx(wanted, abs=TOLERANCE, rel=0), (mean, sd)
        for pull in ("saturatingMean", "saturatingSd"):  # which is tiny far away, and right all the same
            assert got[pull] == pytest.approx(wanted[pull], rel=1e-6, abs=1e-12), (mean, sd)
        pulls = [got[loss + of] for loss in ("saturating", "nonSaturating") for of in ("Mean", "Sd")]
        in_the_chapter = [pull for loss in names["best_pulls"](mean, sd) for pull in loss.tolist()]
        assert pulls == pytest.approx(in_the_chapter, abs=TOLERANCE, rel=0), (mean, sd)
        # Rounded, and never a number that is none.
        assert not re.search(r"NaN|Infinity|undefined|null|-0\.0+\b", state["markup"])
        *shown, jsd, value, shown_mean, shown_sd = [as_number(text) for text in state["texts"]]
        assert (shown_mean, shown_sd) == (mean, sd)
        assert [jsd, value] == pytest.approx([got["jsd"], got["value"]], abs=0.51e-4)
        assert shown == pytest.approx(pulls, abs=1e-9, rel=0.06)


def as_number(text):
    """The number that a text of the picture shows: -0.329, 2.1 · 10⁻⁵, or 0."""
    plain = text.replace("\u00a0", "").translate(str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789"))
    return float(plain.replace("·10", "e"))


def test_keyboard(figure):
    def press(*keys):
        for key in keys:
            figure.keyboard.press(key)
            style = "(({outlineStyle, outlineWidth}) => [outlineStyle, outlineWidth])"
            assert figure.evaluate(f"{style}(getComputedStyle(document.activeElement))") == ["solid", "2px"]
        return place(figure)

    assert press("Tab", "ArrowRight") == (5.05, 0.7)
    assert press("End") == (11, 0.7)
    assert press("Tab", "Home") == (11, 0.25)
    assert press("Tab", "Tab", "Enter") == (4, 1.25)  # past "our fakes" to "a copy"
    assert words(figure)[1] == "A copy: D* says one half to everything, and nothing pulls."
    press("Tab", "Tab", "Tab")


VERDICTS = {
    (5.0, 0.7): "log(1 − D) pulls the mean 1.1 times as hard as −log D.",
    (4.0, 0.5): f"{SIDEWAYS} The fakes are too narrow, and both losses say so.",
    (4.0, 3.0): f"{SIDEWAYS} The fakes are too wide, and both losses say so.",
    (-2.25, 0.5): "D* is hardly ever wrong: the JSD is at 99.9 % of its ceiling. "
    "−log D pulls the mean 1,600 times as hard as log(1 − D).",
    (-2.25, 3.0): "−log D pulls the mean 29 times as hard as log(1 − D).",  # and D* errs now and then
}


def test_the_verdict_says_what_the_numbers_mean(figure):
    for setting, verdict in VERDICTS.items():
        figure.evaluate(SET, list(setting))
        assert words(figure)[1] == verdict


def test_sliders_have_names_and_the_numbers_are_announced(figure):
    mean, sd = (figure.get_by_role("slider", name=name) for name in ("Mean of the fakes", "Their standard"))
    assert [slider.get_attribute("aria-valuetext") for slider in (mean, sd)] == ["5.00", "0.70"]
    mean.press("ArrowLeft")
    announced, now = words(figure)[0], data(figure)
    assert f"V is −{-now['value']:.4f}, the JSD {now['jsd']:.4f}." in announced
    for loss, name in (("saturating", "log(1 − D)"), ("nonSaturating", "−log D")):
        pulls = f"the mean by −{-now[f'{loss}Mean']:.3f} and the width by +{now[f'{loss}Sd']:.3f}"
        assert f"{name} pulls {pulls}" in announced


MIDDLE = """([selector, which]) => {
  const box = document.querySelectorAll(selector)[which].getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}"""


def pull(page, at, right, down=0):
    """Drag from a place of the page; return how far that is in units of x."""
    page.mouse.move(*at)
    page.mouse.down()
    for share in (0.3, 1.0):
        page.mouse.move(at[0] + share * right, at[1] + share * down)
    page.mouse.up()
    return right / (page.locator("svg").bounding_box()["width"] - 2) * 16


def drag(page, selector, right, down=0, which=0):
    # In one step: the picture is drawn anew when its size is known, and a handle found before is gone then.
    return pull(page, page.evaluate(MIDDLE, [selector, which]), right, down)


def test_mouse_moves_the_bell_by_its_top_and_its_body_and_not_beside_it(figure):
    mean, sd = place(figure)
    moved = drag(figure, ".top", -120, down=300)
    after = place(figure)
    assert after == (pytest.approx(mean + moved, abs=0.03), sd)
    figure.mouse.move(20, 200)  # released: the bell stays
    assert place(figure) == after
    figure.evaluate(SET, [5.0, 0.7])
    box = figure.locator("svg").bounding_box()
    unit = (box["width"] - 2) / 16
    for start, mean in ((0.0, 5), (5.2, 6)):  # no fakes at 0
        pull(figure, (box["x"] + 1 + (start + 4) * unit, box["y"] + 150), unit)
        assert place(figure) == (pytest.approx(mean), 0.7)
    drag(figure, ".top", 5_000)
    assert place(figure)[0] == 11


def test_mouse_widens_the_bell_by_its_flanks(figure):
    for flank, outwards in ((0, -60), (1, 60)):
        mean, sd = place(figure)
        widened = abs(drag(figure, ".flank", outwards, which=flank))
        assert place(figure) == (mean, pytest.approx(sd + widened, abs=0.03))
    drag(figure, ".flank", 3_000, which=1)
    assert place(figure)[1] == 4


def walked(loss, mean, sd):
    """Gradient steps of size 0.2 until the JSD is below 1e-4: how many, and where they end."""
    for steps in range(601):
        now = by_grid(mean, sd)
        if math.log(2) + now["value"] / 2 < 1e-4:
            return steps, mean, sd
        mean, sd = mean + 0.2 * now[f"{loss}Mean"], sd + 0.2 * now[f"{loss}Sd"]
    raise AssertionError("600 steps were not enough")


@pytest.mark.parametrize(
    ("loss", "name", "far"),
    [
        ("saturating", "log(1 − D)", "not home after 600 steps. D* is hardly ever wrong"),
        ("nonSaturating", "−log D", "home after"),
    ],
)
def test_a_walk_is_gradient_descent(figure, loss, name, far):
    figure.get_by_role("button", name="far away").click()
    steps, mean, sd = walked(loss, -2.25, 0.5)
    figure.locator(f"[data-walk={loss}]").click()
    assert place(figure) == pytest.approx((mean, sd), abs=TOLERANCE)
    assert words(figure)[1].startswith(f"{name}: home after {steps} steps. As good as a copy")
    figure.evaluate(SET, [-3.0, 0.25])  # a narrow law, still farther away
    figure.locator(f"[data-walk={loss}]").click()
    assert words(figure)[1].startswith(f"{name}: {far}")


def test_a_walk_can_be_watched_and_stopped(visit, address):
    seen = visit(address, motion="no-preference")
    page = seen.page
    page.locator("[data-go='-2.25 0.5']").click()
    button = page.locator("[data-walk=saturating]")
    button.click()
    page.wait_for_function("Number(document.querySelector('.theory').dataset.sd) > 0.52")
    assert button.inner_text().startswith("stop (")
    button.click()
    stopped = data(page)
    page.wait_for_timeout(200)
    assert data(page) == stopped
    assert button.inner_text() == "log(1\u00a0−\u00a0D)"
    assert page.locator(".ghost").count() == 1  # where it began
    page.locator("[data-walk=nonSaturating]").click()
    page.wait_for_function("Number(document.querySelector('.theory').dataset.jsd) < 1e-4")
    assert seen.complaints == []


# Which letters there are depends on the computer: those it has, much wider ones, and narrower ones.
@pytest.mark.parametrize("width", [320, 390, 520, 560, 680, 1280])
def test_nothing_is_cut_or_covered(reader, address, width):
    reader.page.set_viewport_size({"width": width, "height": 844})
    page = reader.open(address).page
    settings = ((5.0, 0.7), (-3.0, 0.25), (-2.25, 0.5), (11.0, 4.0), (4.0, 1.25))
    for spacing, setting in product(("0", "0.25em", "-0.05em"), settings):
        page.add_style_tag(content=f".theory svg text {{ letter-spacing: {spacing} }}")
        page.evaluate(SET, list(setting))
        assert page.evaluate(MISPLACED) == [], (spacing, setting)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_picture_follows_the_width_of_the_page(figure):
    assert figure.locator(".theory-fallback").count() == 0
    wide = figure.locator("svg").get_attribute("viewBox")
    figure.set_viewport_size({"width": 500, "height": 800})
    figure.wait_for_function("was => document.querySelector('svg').getAttribute('viewBox') !== was", arg=wide)
    narrow = figure.locator("svg").get_attribute("viewBox").split()[2]
    assert float(narrow) == pytest.approx(figure.locator("svg").bounding_box()["width"], abs=1)


def test_colours_follow_the_theme(figure):
    # In one step: a line that was found before the picture is drawn anew has no colour any more.
    names = ("svg .real.line", "svg .fake.line", "svg .best")
    strokes = "names => names.map(n => getComputedStyle(document.querySelector(n)).stroke)"
    light = figure.evaluate(strokes, names)
    assert light == ["rgb(0, 114, 178)", "rgb(213, 94, 0)", "rgb(0, 158, 115)"]  # those of gan_helpers.plots
    figure.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert not set(light) & set(figure.evaluate(strokes, names))


def test_without_javascript_a_sentence_stands_in_its_place(visit, address):
    page = visit(address, script=False).page
    assert "you can move and widen the fakes here" in page.locator(".theory").inner_text()

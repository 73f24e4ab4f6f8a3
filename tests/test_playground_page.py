"""The playground in a real browser, opened as a file: its tours, links and keys, and the programs it writes.

The page is a bare one with the markup of book/playground.md, so nothing needs to be built. Whatever the
browser complains about, and any request to anywhere, fails the test.
"""

import gzip
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from axe_playwright_python.base import AXE_SCRIPT

BOOK = Path(__file__).resolve().parent.parent / "book"
FOLDER = BOOK / "_static" / "playground"
MARKUP = re.search(r"```\{raw\} html\n(.*?)```", (BOOK / "playground.md").read_text("utf-8"), re.DOTALL)[1]
SCRIPTS = re.findall(r'src="../_static/playground/(\w+)\.js"', MARKUP)
PAGE = """<!doctype html>
<html lang="en" data-theme="{theme}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The playground alone</title><link rel="icon" href="data:,">
<style>
html {{ --pst-color-text-base: #222832; --pst-color-text-muted: #48566b; --pst-color-background: #fff;
  --pst-color-surface: #f3f4f5; --pst-color-border: #d1d5da; }}
html[data-theme=dark] {{ --pst-color-text-base: #ced6dd; --pst-color-text-muted: #9ca4af;
  --pst-color-background: #121212; --pst-color-surface: #29313d; --pst-color-border: #48566b; }}
a {{ color: #0b57b8; }}
html[data-theme=dark] a {{ color: #528fe4; }}
body {{ background: var(--pst-color-background); color: var(--pst-color-text-base); font-family: sans-serif;
  margin: 1rem; }}
</style></head><body><main><h1>The playground</h1>
{markup}
<p style="height: 200vh">The end.</p></main></body></html>
"""
QUICK = "data=dirac&loss=minimax&gRate=0.2&dRate=0.2&beta1=0&turns=simultaneous"  # the smallest game
MOST = 60_000  # bytes of all that is sent, compressed by gzip at level 6


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A function that returns where the page lies, as a file, light or dark."""
    folder = tmp_path_factory.mktemp("playground")
    shutil.copytree(FOLDER, folder / "_static" / "playground")
    (folder / "book").mkdir()

    def at(link="", theme="light"):
        page = folder / "book" / f"{theme}.html"
        page.write_text(PAGE.format(theme=theme, markup=MARKUP), encoding="utf-8")
        return page.as_uri() + (f"#{link}" if link else "")

    return at


@pytest.fixture
def opened(visit, address):
    """A function that opens the page and waits until it shows something."""
    seen = []

    def go(link="", theme="light", **options):
        one = visit(address(link, theme), theme=theme, **options)
        seen.append(one)
        one.page.wait_for_selector(".playground[data-step]")
        return one.page

    yield go
    assert [one.complaints for one in seen] == [[]] * len(seen)


def data(page):
    return page.evaluate("({...document.querySelector('.playground').dataset})")


def wait(page, condition):
    """Wait until an expression of the playground's `data` is true."""
    found = "const data = document.querySelector('.playground').dataset"
    page.wait_for_function(f"() => {{ {found}; return {condition}; }}")


# What there is


def test_all_that_is_sent_is_small():
    sent = [path for path in FOLDER.iterdir() if path.suffix in (".js", ".css")]
    assert sum(len(gzip.compress(path.read_bytes(), 6)) for path in sent) <= MOST


def test_every_script_is_on_the_page_once_and_after_what_it_needs():
    assert sorted(SCRIPTS) == sorted(path.stem for path in FOLDER.glob("*.js"))
    assert SCRIPTS[0] == "modules"
    for at, name in enumerate(SCRIPTS[1:], 1):
        text = (FOLDER / f"{name}.js").read_text("utf-8")
        defined, needs = re.search(r'Playground\.define\("(\w+)",\s*\[(.*?)\]', text, re.DOTALL).groups()
        assert defined == name
        assert set(re.findall(r'"(\w+)"', needs)) <= set(SCRIPTS[1:at]), name


def test_exported_functions_say_what_they_take():
    for path in FOLDER.glob("*.js"):
        text = path.read_text("utf-8")
        exported = re.findall(r"^  return \{ (.*?) \};$", text, re.MULTILINE)
        for name in {word.strip() for line in exported[-1:] for word in line.split(",")}:
            before = re.search(rf"((?:.*\n){{1,3}}) *(?:const|function|class|async function) {name}\b", text)
            assert before is None or "*/" in before[1] or name.isupper(), f"{path.name}: {name} has no types"


# Links


LINKS = {
    "width=5000": "Units in a layer: from 1 to 128 and whole, not 5000; here it is 128.",
    "loss=best": "Loss: there is no “best”; here it is “non-saturating”.",
    "gRate=fast": "G’s learning rate: from 0.000001 to 1, not fast; here it is 0.001.",
    "data=strokes&strokes=AAAA": "",
    "data=strokes": "There is no stroke to learn: draw one first.",
    "data=__proto__": "What is learned: there is no “__proto__”",
    "tour=nowhere": "There is no tour called “nowhere”.",
    "turns=simultaneous&dSteps=3": "D moves as often as G: once, not 3 times.",
    "data=dirac&loss=hinge": "Loss: the smallest game is played with minimax or non_saturating, not hinge",
    "lr=0.1": "There is no setting “lr”.",
    "wdith=5": "There is no setting “wdith”.",
    "beta1=-0.5": "β₁, the momentum: Adam’s is not negative; here it is 0.",
    "features=1": "Numbers or points: not 1 with a ring of 8 heaps; here it is 2.",
    "gRate=": "G’s learning rate: nothing is given; here it is 0.001.",
    "data=dirac&r2=1": "R2: not 1 with a single point (Dirac); here it is 0.",
    "data=strokes&strokes=!!!!AAAA": "Of the strokes 1 points could be used",
    "tour=ring&width=5": "These are not the settings of the tour, so its story is left out.",
    "seed=1.5": "Seed of all: from 0 to 4294967295 and whole, not 1.5; here it is 2.",
}


def test_a_link_that_asks_too_much_is_answered_in_words(visit, address):
    for link, words in LINKS.items():
        seen = visit(address(link if link[:5] in ("data=", "tour=", "wdith") else f"data=ring&{link}"))
        if link != "data=strokes":
            seen.page.wait_for_selector(".playground[data-step]")
        assert words in seen.page.locator(".pg-problem").inner_text(), link
        assert seen.complaints == []


def test_what_the_reader_changes_goes_into_the_link_and_back(opened):
    page = opened("tour=ring")
    page.locator(".pg-choices summary").click()
    page.get_by_label("Loss").select_option("hinge")
    page.get_by_label("Batch").fill("16")
    page.get_by_label("Batch").press("Enter")
    page.get_by_label("D’s learning rate").press("ArrowRight")
    page.get_by_label("two moons").check()
    link = page.evaluate("location.hash")
    assert link.startswith("#data=moons&loss=hinge&dRate=0.0011&batch=16")
    again = opened(link[1:])
    again.locator(".pg-choices summary").click()
    assert again.evaluate("location.hash") == link
    assert again.get_by_label("Loss").input_value() == "hinge"
    assert again.get_by_label("Batch").input_value() == "16"
    assert again.locator("[name=data]:checked").get_attribute("value") == "moons"
    assert again.get_by_label("Link to these settings").input_value().endswith(link)


def test_the_same_link_begins_with_the_same_steps(opened):
    told = []
    for _ in range(2):
        page = opened("data=tilted&seed=12&batch=16")
        for step in (1, 2, 3):
            page.get_by_role("button", name="Step", exact=True).click()
            wait(page, f"data.step === '{step}'")
        told.append(page.locator(".pg-meters").inner_text())
    assert told[0] == told[1]
    page.get_by_role("button", name="Other seeds").click()
    wait(page, "data.step === '0'")
    assert "seed=13" in page.evaluate("location.hash")


def test_headings_stay_in_the_address_and_links_are_followed_when_open(opened):
    page = opened("what-to-look-at")
    assert page.evaluate("location.hash") == "#what-to-look-at"
    assert page.get_by_role("button", name="The ring").get_attribute("aria-pressed") == "true"
    assert (
        page.get_by_label("Link to these settings", exact=True).input_value().endswith("#tour=ring&data=ring")
    )
    page.evaluate("location.hash = 'width=7&data=moons'")
    page.get_by_role("button", name="Your own").and_(page.locator("[aria-pressed=true]")).wait_for()
    assert page.evaluate("location.hash") == "#data=moons&width=7"
    page.evaluate("location.hash = 'what-happens-where'")
    page.wait_for_timeout(200)
    assert page.evaluate("location.hash") == "#what-happens-where"


# Playing


def test_guess_then_run_then_repair(opened):
    page = opened("tour=dirac")
    assert page.locator(".pg-next").count() == 0
    page.get_by_role("button", name="all 16").click()
    page.wait_for_selector(".pg-next")
    assert data(page)["playing"] == "false" and data(page)["good"] == "0"
    assert page.locator(".pg-verdict").inner_text() == "You said all 16. It is 0 of 16."
    assert "0 of 16 come home" in page.locator(".pg-score").inner_text()
    page.get_by_role("button", name="Now the repair").click()
    page.get_by_role("button", name="all 16").click()
    page.wait_for_selector(".pg-verdict")
    assert page.locator(".pg-verdict").inner_text() == (
        "You said all 16, and so it is. It is 16 of 16. Before the repair it was 0."
    )
    assert page.locator(".pg-dots .good").count() == 16
    page.get_by_role("button", name="Next: The ring").click()
    assert page.evaluate("location.hash") == "#tour=ring&data=ring"


def test_networks_learn_when_played_and_stop_when_paused(opened):
    page = opened("data=bell&features=1&batch=8&width=4")
    play = page.get_by_role("button", name="Play")
    play.click()
    wait(page, "Number(data.step) > 20")
    page.get_by_role("button", name="Pause").click()
    wait(page, "data.playing === 'false'")
    page.wait_for_timeout(500)
    stopped = data(page)["step"]
    page.wait_for_timeout(500)
    assert data(page)["step"] == stopped
    shown = page.locator("[data-meter=w1] td").all_inner_texts()
    assert 0 < float(shown[1]) < float(shown[0])  # the floor is not zero, and not reached after 20 steps
    page.get_by_role("button", name="Restart").click()
    wait(page, "data.step === '0'")


def test_a_guess_stands_and_where_to_look_is_in_sight(opened):
    page = opened("tour=dirac", width=1000)
    page.set_viewport_size({"width": 1000, "height": 800})
    page.get_by_role("button", name="none").click()
    page.get_by_role("button", name="all 16").dispatch_event("click")
    assert page.locator(".pg-guesses [aria-pressed=true]").inner_text() == "none"
    assert page.locator(".pg-bar").evaluate("e => e.getBoundingClientRect().bottom <= innerHeight")
    page.wait_for_selector(".pg-next")
    assert page.locator(".pg-verdict").inner_text() == "You said none, and so it is. It is 0 of 16."
    assert page.locator(".pg-card").evaluate("e => e.getBoundingClientRect().top >= 0")
    said = page.locator(".pg-said").inner_text()
    assert said.startswith("You said none, and so it is. It is 0 of 16.") and "not yet a success" in said
    page.get_by_role("button", name="none").click()
    page.wait_for_timeout(200)
    assert data(page)["step"] == "150" and page.locator(".pg-next").count() == 1
    page.get_by_role("button", name="Play").click()
    wait(page, "Number(data.step) > 1000")
    page.get_by_role("button", name="Pause").click()
    page.locator(".pg-share summary").click()
    wait(page, "data.playing === 'false'")
    page.wait_for_timeout(500)
    assert f"STEPS = 16, 0, {int(data(page)['step']):_}" in page.locator("pre code").inner_text()


def test_who_has_looked_cannot_guess(opened):
    page = opened("tour=dirac")
    page.get_by_role("button", name="Step", exact=True).click()
    wait(page, "data.step === '1'")
    assert page.locator(".pg-guesses [aria-disabled=true]").count() == 5
    assert "After 1 step." in page.locator(".pg-large canvas").get_attribute("aria-label")
    page.get_by_role("button", name="none").click(force=True)
    assert page.locator(".pg-guesses [aria-pressed=true]").count() == 0
    page.get_by_role("button", name="Restart").click()
    wait(page, "data.step === '0'")
    assert page.locator(".pg-guesses [aria-disabled=true]").count() == 0


def test_one_place_says_how_far_it_is(opened):
    page = opened("tour=dirac")
    page.evaluate(
        """() => {
          window.heard = [];
          const said = document.querySelector(".pg-said");
          const hear = new MutationObserver(() => heard.push(said.textContent));
          hear.observe(said, {childList: true, subtree: true});
        }"""
    )
    page.get_by_role("button", name="all 16").click()
    page.wait_for_selector(".pg-next")
    page.wait_for_timeout(200)
    heard = page.evaluate("heard")
    assert [int(step) for step in re.findall(r"^(\d+) steps?: 0 of 16\.$", "\n".join(heard), re.MULTILINE)][
        1:
    ]
    assert sum("You said all 16" in words for words in heard) == 1
    assert page.locator(".pg-card [role=status]").count() == 0
    described = page.locator(".pg-card").get_attribute("aria-describedby").split()
    assert "smallest GAN" in page.locator(f"#{described[0]}").inner_text()
    assert "After 150 steps" in page.locator(f"#{described[1]}").inner_text()


def test_beside_the_score_stands_its_interval(opened):
    """Wilson's; by scipy.stats.binomtest(k, 16).proportion_ci(method="wilson")."""
    page = opened("tour=dirac")
    assert "share: 0 to 19 %" in page.locator(".pg-score").inner_text()
    page.get_by_role("button", name="none").click()
    page.wait_for_selector(".pg-next")
    page.get_by_role("button", name="Now the repair").click()
    page.get_by_role("button", name="none").click()
    page.wait_for_selector(".pg-verdict b")
    assert "share: 81 to 100 %" in page.locator(".pg-score").inner_text()


def test_fakes_beside_the_picture_are_counted_in_it(opened):
    """With such rates some of the sixteen are soon far away."""
    for link in ("data=bell&features=1", "data=moons"):
        page = opened(f"{link}&gRate=1&batch=8&width=8")
        page.get_by_role("button", name="Play").click()
        wait(page, "Number(data.step) > 20")
        page.get_by_role("button", name="Pause").click()
        wait(page, "data.playing === 'false'")
        labels = []
        for tile in page.get_by_role("radio", name="GAN ").all():
            tile.click()
            page.wait_for_timeout(150)
            labels.append(page.locator(".pg-large canvas").get_attribute("aria-label"))
        found = re.findall(
            r"\d+ % of its fakes are (left of|right of|below|above) the picture", " ".join(labels)
        )
        assert found and (link == "data=moons" or not {"below", "above"} & {*found}), labels
    drawn = page.evaluate(
        """() => {
          const {large, beyond} = Playground.require("drawing");
          const [canvas, told] = [document.createElement("canvas"), []];
          document.body.append(canvas);
          const {fillText} = CanvasRenderingContext2D.prototype;
          CanvasRenderingContext2D.prototype.fillText = (text) => told.push(text);
          const of = {samples: Float32Array.of(9, 9, 0, 0, 0, -9, 0, 9)};
          const colours = {ink: "#000", fake: "#000", card: "#fff", real: "#000", line: "#000"};
          large(canvas, {kind: "plane", view: [-1, 1, -1, 1], large: of}, {fakes: true}, colours);
          CanvasRenderingContext2D.prototype.fillText = fillText;
          return [told, beyond([-3, 0, 0, 0], 1, [-2, 2, 0, 1])];
        }"""
    )
    up, right = "↑ 50 % of the fakes", "→ 25 % of the fakes"
    assert drawn == [[right, "↓ 25 % of the fakes", up], [0.25, 0]]


def test_a_game_that_comes_apart_is_still_a_picture(opened):
    page = opened("data=dirac&r1=100&gRate=1&dRate=1")
    page.get_by_role("button", name="Play").click()
    wait(page, "Number(data.step) > 200")
    page.get_by_role("button", name="Pause").click()
    wait(page, "data.playing === 'false'")
    assert inked(page, ".pg-large canvas") > 3
    assert max(map(len, page.locator(".pg-meters td").all_inner_texts())) <= 8
    assert "its numbers overflowed" in page.locator(".pg-said").inner_text()
    assert set(page.locator(".pg-meters td:nth-child(2)").all_inner_texts()) == {"–"}


def test_samples_without_spread_have_no_shape(opened):
    page = opened("data=bell&features=1&layers=1&width=1&noise=uniform")  # some have a unit that is dead
    seen = []
    for tile in page.get_by_role("radio", name="GAN ").all():
        tile.click()
        page.wait_for_timeout(150)
        seen.append(page.locator("[data-meter=skewness] td").first.inner_text())
    assert "no spread" in seen and "not a number" not in seen
    assert len(set(seen)) > 2  # others have a shape


def test_slow_motion_is_slow(opened):
    page = opened(QUICK)
    page.get_by_role("button", name="Slow motion").click()
    page.get_by_role("button", name="Play").click()
    page.wait_for_timeout(2000)
    assert 2 <= int(data(page)["step"]) <= 12


def test_it_pauses_out_of_sight_and_goes_on_in_sight(opened):
    page = opened(QUICK)
    page.get_by_role("button", name="Play").click()
    wait(page, "data.playing === 'true'")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    wait(page, "data.playing === 'false'")
    page.evaluate("scrollTo(0, 0)")
    wait(page, "data.playing === 'true'")
    hide = """hidden => {
      Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    wait(page, "data.playing === 'false'")
    page.wait_for_timeout(500)
    stopped = data(page)["step"]
    page.wait_for_timeout(500)
    assert data(page)["step"] == stopped
    page.evaluate(hide, False)
    wait(page, "data.playing === 'true'")


def test_where_motion_is_unwelcome_pictures_change_once_a_second(opened):
    drawn = {}
    for motion in ("reduce", "no-preference"):
        page = opened(QUICK, motion=motion)
        page.get_by_role("button", name="Play").click()
        before = int(data(page)["drawn"])
        page.wait_for_timeout(4000)
        drawn[motion] = int(data(page)["drawn"]) - before
    assert 1 <= drawn["reduce"] <= 6 < drawn["no-preference"]


# For everyone


FOCUSED = """() => {
  const focused = document.activeElement, {outlineStyle, outlineWidth} = getComputedStyle(focused);
  const name = focused.textContent.trim() || focused.name || focused.type;
  return [Boolean(focused.closest(".playground")), name, `${outlineStyle} ${outlineWidth}`];
}"""


def test_keys_choose_play_and_change(opened):
    page = opened(QUICK)
    tiles = page.get_by_role("radio", name="GAN ")
    assert tiles.count() == 16
    tiles.first.focus()
    for key, chosen in (
        ("Right", 1),
        ("Down", 5),
        ("Left", 4),
        ("Up", 0),
        ("Left", 15),
        ("Home", 0),
        ("End", 15),
    ):
        page.keyboard.press(key if key in ("Home", "End") else f"Arrow{key}")
        assert tiles.nth(chosen).evaluate("e => e === document.activeElement")
        assert page.locator("[aria-checked=true]").count() == 1
        assert page.get_by_role("heading", name=f"GAN {chosen + 1}, large").count() == 1
    play = page.get_by_role("button", name="Play")
    play.focus()
    page.keyboard.press("Space")
    wait(page, "Number(data.step) > 0")
    page.keyboard.press("Space")
    wait(page, "data.playing === 'false'")
    reached = {}
    page.locator("h1").click()
    for _ in range(40):
        page.keyboard.press("Tab")
        inside, name, style = page.evaluate(FOCUSED)
        if inside:
            reached[name] = style
    assert set(reached.values()) == {"solid 3px"}, reached
    assert set(reached) >= {"Play", "Step", "Slow motion", "Restart", "Other seeds"}


def test_keys_keep_their_place(opened):
    page = opened("tour=dirac")

    def place():
        return page.evaluate(
            "[document.activeElement.className, document.activeElement.textContent.slice(0, 20)]"
        )

    tab = page.get_by_role("button", name="Dirac’s")
    tab.focus()
    page.keyboard.press("Enter")
    assert place()[1] == "Dirac’s spiral"
    page.get_by_role("button", name="6 to 10").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".pg-next")
    assert place()[1] == "6 to 10"
    page.get_by_role("button", name="Now the repair").focus()
    page.keyboard.press("Enter")
    assert place()[0] == "pg-card"
    page.keyboard.press("Tab")
    assert place()[1] == "none"
    page.get_by_role("button", name="Your own").focus()
    page.keyboard.press("Enter")
    assert place()[1] == "Your own"
    page.get_by_label("two moons").check()
    for name, after in (("Batch", "turns"), ("Units in a layer", "layers")):
        page.get_by_label(name).fill("9999")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.name") == after
    assert page.get_by_label("Batch").input_value() == "512"
    assert page.locator(".pg-choices .pg-problem").inner_text().startswith("Units in a layer: from 1 to 128")
    page.get_by_label("Batch").fill("")
    page.get_by_role("button", name="Restart").click()  # with one click
    assert page.get_by_label("Batch").input_value() == "512"
    assert page.locator(".pg-said[role=status]").count() == 1


def test_what_is_drawn_is_also_said(opened):
    page = opened("tour=ring")
    picture = page.locator(".pg-large canvas")
    assert re.fullmatch(
        r"GAN 1: heaps found \d, not yet a success\. After 0 steps\.", picture.get_attribute("aria-label")
    )
    assert "0 of 16 find all 8 heaps" in page.locator(".pg-said").inner_text()
    assert "dashed line" in page.locator(".pg-chart canvas").get_attribute("aria-label")


BROKEN = "async () => (await axe.run({preload: false})).violations.map(v => [v.id, v.nodes.map(n => n.html)])"
TINY = """() => {
  const found = document.querySelectorAll(".playground :is(button, select, summary, .pg-key, .pg-chip)");
  const tiny = e => e.checkVisibility() && e.getBoundingClientRect().height < 24;
  return [...found].filter(tiny).map(e => e.textContent);
}"""
VIEWS = [(1280, "light"), (390, "dark"), (320, "light"), (1280, "dark")]


@pytest.mark.parametrize(("width", "theme"), VIEWS)
def test_nothing_keeps_people_from_reading_and_nothing_is_too_wide(opened, width, theme):
    for link in ("tour=ring", "tour=dirac", "data=strokes&strokes=AAAABBBBfQfQ", "data=bell&features=1"):
        page = opened(link, theme, width=width)
        for fold in page.locator(".pg-fold summary").all():
            fold.click()
        page.evaluate(AXE_SCRIPT)
        if link == "tour=dirac":
            page.get_by_role("button", name="none").click()
            page.wait_for_selector(".pg-next")
        assert page.evaluate(BROKEN) == [], link
        assert page.evaluate("document.documentElement.scrollWidth") <= width, link
        assert page.evaluate(TINY) == [], link


def test_a_page_whose_workers_have_not_answered_yet_has_names_too(browser, address):
    context = browser.new_context()
    context.add_init_script("Worker.prototype.postMessage = () => {}")
    page = context.new_page()
    page.goto(address())
    page.wait_for_selector(".pg-tile")
    page.evaluate(AXE_SCRIPT)
    assert page.locator(".playground[data-step]").count() == 0
    assert page.evaluate(BROKEN) == []
    context.close()


def inked(page, selector):
    """How many colours there are on a canvas."""
    return page.evaluate(
        """selector => {
          const canvas = document.querySelector(selector);
          const copy = new OffscreenCanvas(canvas.width, canvas.height);
          const pen = copy.getContext("2d", {willReadFrequently: true});
          pen.drawImage(canvas, 0, 0);
          const {data} = pen.getImageData(0, 0, canvas.width, canvas.height);
          return new Set(new Uint32Array(data.buffer)).size;
        }""",
        selector,
    )


LINKS_TO_DRAW = ["tour=ring", "tour=fifty", "tour=line", "tour=dirac", "data=grid", "data=moons"]


@pytest.mark.parametrize("link", LINKS_TO_DRAW)
def test_pictures_show_something_and_follow_the_theme(opened, link):
    page = opened(link)
    for selector in (".pg-large canvas", ".pg-tile canvas", ".pg-chart canvas"):
        assert inked(page, selector) > 3, selector
    colour = "getComputedStyle(document.querySelector('.playground')).getPropertyValue('--real')"
    before = page.evaluate(colour), int(data(page)["drawn"])
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    wait(page, f"Number(data.drawn) > {before[1]}")
    assert page.evaluate(colour) != before[0]


def test_layers_are_shown_and_hidden(opened):
    page = opened("tour=ring")
    for name in ("real", "fakes", "D: taken for real"):
        page.get_by_label(name, exact=True).uncheck()
    assert inked(page, ".pg-large canvas") == 1
    for name in ("which way D’s slope pushes", "the noise as G bends it"):
        page.get_by_label(name).check()
        assert inked(page, ".pg-large canvas") > 1
        page.get_by_label(name).uncheck()


def test_what_the_reader_draws_is_learned(opened):
    page = opened("tour=ring")
    page.locator(".pg-choices summary").click()
    page.get_by_label("what I draw").check()
    page.get_by_role("button", name="Clear").click()
    assert page.locator(".pg-problem").inner_text() == "There is no stroke to learn: draw one first."
    for name in ("Play", "Step", "Restart", "Other seeds"):
        assert page.get_by_role("button", name=name, exact=True).is_disabled()
    assert inked(page, ".pg-large canvas") == 1 and page.locator("pre code").text_content() == ""
    box = page.locator(".pg-pad").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 3 * box["width"] / 4, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert page.get_by_role("button", name="Play").is_enabled()
    assert page.locator(".pg-problem").inner_text() == ""
    wait(page, "data.step === '0'")
    page.locator(".pg-share summary").click()
    points = re.findall(r"\[(-?[\d.]+), (-?[\d.]+)\]", page.locator("pre code").inner_text())
    x, y = zip(*((float(a), float(b)) for a, b in points), strict=True)
    page.get_by_role("button", name="Undo").click()
    assert page.locator(".pg-problem").inner_text().startswith("There is no stroke")
    page.get_by_role("button", name="Undo").click()
    assert page.locator(".pg-problem").inner_text() == ""  # what was cleared is back
    assert (min(x), max(x)) == (pytest.approx(-1, abs=0.05), pytest.approx(1, abs=0.09))
    assert max(map(abs, y)) < 0.05 and len(points) == pytest.approx(2 / 0.06, abs=2)
    gaps = [later - before for before, later in zip(x, x[1:], strict=False)]
    assert gaps == pytest.approx([0.06] * len(gaps), abs=0.002)


def test_a_stroke_ends_at_the_pad_and_leaves_earlier_ones_alone(opened):
    told = opened("tour=ring").evaluate(
        """() => {
          const {spaced, thinned, pad} = Playground.require("controls");
          const beside = spaced([[0, 0], [3, 0], [3, 1], [0, 1]]);
          const most = Playground.require("presets").MOST_POINTS;
          const before = Array.from({length: most - 5}, (_, i) => [i / 1000, 0]);
          let now;
          const made = pad(before, points => now = points);
          document.body.append(made);
          const canvas = made.querySelector("canvas");
          canvas.setPointerCapture = () => 0;
          const box = canvas.getBoundingClientRect();
          const go = (kind, x) => canvas.dispatchEvent(
            new PointerEvent(kind, {clientX: box.left + x * box.width, clientY: box.top + box.height / 4}));
          go("pointerdown", 0.1);
          go("pointermove", 0.9);
          go("pointerup", 0.9);
          return {beside, before, now, most, said: made.querySelector("[role=status]").textContent};
        }"""
    )
    assert max(x for x, _ in told["beside"]) <= 2 and {y for _, y in told["beside"]} == {0, 1}
    assert told["now"][:-5] == told["before"] and len(told["now"]) == told["most"]
    new = [x for x, _ in told["now"][-5:]]
    assert min(b - a for a, b in zip(new, new[1:], strict=False)) > 0.5  # all along the stroke
    assert told["said"].startswith("The pad is full")


LABELS = {
    "data=bell&features=1": "−2 0 2 4 6 8 10",
    "data=tilted&gRate=1&dRate=1": "",
    "data=dirac&r1=100&gRate=1&dRate=1": "",
}


@pytest.mark.parametrize("width", [1280, 390])
def test_no_label_is_cut(visit, address, width):
    for link, axis in LABELS.items():
        page = visit("about:blank", width=width).page
        page.add_init_script(
            """window.written = [];
            const {fillText} = CanvasRenderingContext2D.prototype;
            CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
              const {actualBoundingBoxLeft: left, actualBoundingBoxRight: right} = this.measureText(text);
              const scale = this.getTransform().a;
              written.push([text, x - left >= -0.5 && x + right <= this.canvas.width / scale + 0.5]);
              return fillText.call(this, text, x, y);
            };"""
        )
        page.goto(address(link))
        page.wait_for_selector(".playground[data-step]")
        page.get_by_role("button", name="Play").click()
        wait(page, "Number(data.step) > 60")
        page.get_by_role("button", name="Pause").click()
        wait(page, "data.playing === 'false'")
        written = page.evaluate("written")
        assert [text for text, whole in written if not whole] == [], link
        assert set(axis.split()) <= {text for text, _ in written}


def test_without_javascript_a_sentence_stands_in_its_place(visit, address):
    page = visit(address(), script=False).page
    assert page.locator(".playground").inner_text().startswith("With JavaScript, sixteen GANs learn here.")


LACKING = {
    "HTMLCanvasElement.prototype.getContext = () => null": "does not let a page draw",
    "delete globalThis.IntersectionObserver": "IntersectionObserver",
    "delete globalThis.ResizeObserver": "ResizeObserver",
    "delete Object.hasOwn": "hasOwn",
}


@pytest.mark.parametrize("missing", LACKING)
def test_a_browser_that_cannot_says_so(browser, address, missing):
    context = browser.new_context()
    context.add_init_script(missing)
    page = context.new_page()
    page.goto(address())
    said = page.locator(".playground").inner_text()
    assert said.startswith("This browser lacks something") and LACKING[missing] in said
    context.close()


WITHOUT = {
    "no workers": "delete globalThis.Worker",
    "workers that fail": """globalThis.Worker = class {
      constructor() { setTimeout(() => this.onerror({message: ""}), 50); }
      postMessage() {}
      terminate() {}
    }""",
    "no media queries": "delete globalThis.matchMedia",
}


@pytest.mark.parametrize("missing", WITHOUT)
def test_what_a_browser_can_do_without(browser, address, missing):
    context = browser.new_context()
    context.add_init_script(WITHOUT[missing])
    page = context.new_page()
    page.goto(address("data=bell&features=1&batch=8&width=4&seeds=4"))
    page.wait_for_selector(".playground[data-step]")
    page.get_by_role("button", name="Play").click()
    wait(page, "Number(data.step) > 20")
    assert page.locator(".pg-problem").inner_text() == ""
    context.close()


# From here to code


def test_the_program_is_on_the_page_and_the_notebook_is_handed_over(opened):
    page = opened("tour=line")
    page.locator(".pg-share summary").click()
    written = """() => {
      const {TOURS, validate} = Playground.require("presets");
      return Playground.require("recipe").python(validate(TOURS.line.settings).settings, TOURS.line.until);
    }"""
    shown = page.locator("pre code").inner_text()
    assert shown.strip() == page.evaluate(written).strip()
    with page.expect_download() as handed:
        page.get_by_role("button", name="Open as a notebook").click()
    assert handed.value.suggested_filename == "sixteen-gans-tilted.ipynb"
    content = nbformat.read(handed.value.path(), as_version=4)
    assert "STEPS = 16, 0, 1_000" in content.cells[1].source

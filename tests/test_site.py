"""The built pages, read as files and looked at in a browser, wide and light, and narrow and dark.

The same eyes are also shown pages with faults of each kind, and have to find them.
"""

import re
from collections import defaultdict
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
import tomllib
from axe_playwright_python.base import AXE_SCRIPT
from bs4 import BeautifulSoup

from tools import site_pages
from tools.sheets import ROOT, pages

pytestmark = pytest.mark.first

BOOK = [page.relative_to(ROOT).with_suffix(".html").as_posix() for page in pages()]
MADE = ["search.html", "genindex.html", "py-modindex.html", "_modules/gan_helpers/losses.html"]
# What a page is made of does not depend on its colours, nor its colours on its width: two views see all.
VIEWS = {"wide and light": (1280, "light"), "narrow and dark": (390, "dark")}
WIDE, NARROW = VIEWS
SERIOUS = ("serious", "critical")
TOKEN = re.compile(r'<span class="\w\w?">([^<]*)</span>')  # a word of highlighted code


# What is wrong on an open page, by kind: scripts that return complaints.

MATHEMATICS = r"""() => {
  const short = text => text.trim().replace(/\s+/g, " ").slice(0, 60);
  const found = [...document.querySelectorAll("mjx-merror, [data-mjx-error]")]
    .map(e => `an error in: ${short(e.dataset.mjxError || e.textContent)}`);
  for (const e of document.querySelectorAll(".math"))
    if (!e.querySelector("mjx-container")) found.push(`not rendered: ${short(e.textContent)}`);
  const texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { textContent: text, parentElement: parent } = texts.currentNode;
    if (parent.closest("pre, code, script, style, mjx-container, .math")) continue;
    if (/\\[()[\]]|\$[^$\n]+\$|\\[a-z]{2,}\b/.test(text)) found.push(`left in the text: ${short(text)}`);
  }
  return found;
}"""

PICTURES = """() => [...document.images].flatMap(image => {
  const name = image.src.startsWith("data:") ? "an inline picture" : image.src;
  const found = image.complete && image.naturalWidth ? [] : [`not loaded: ${name}`];
  // A logo beside the title that it stands for needs no words.
  const needsWords = !image.closest(".navbar-brand");
  if (!image.hasAttribute("alt") || (needsWords && !image.alt.trim())) found.push(`no alt text: ${name}`);
  return found;
})"""

# A wide table or a long line of code may scroll, in a box of its own; the page may not.
WIDTH = """() => {
  const root = document.documentElement, room = Math.min(root.clientWidth, screen.width);
  if (root.scrollWidth <= room) return [];
  const hides = e => getComputedStyle(e).overflowX !== "visible";
  const boxed = e => e && e !== document.body && (hides(e) || boxed(e.parentElement));
  const wide = [...document.querySelectorAll("main *")]
    .filter(e => e.getBoundingClientRect().right > room + 1 && !boxed(e.parentElement))
    .map(e => `${e.tagName.toLowerCase()}.${[...e.classList].join(".")}`);
  return [`${root.scrollWidth} px in a window of ${room}: ${[...new Set(wide)].slice(0, 6).join(", ")}`];
}"""

# Where there is room, nobody has to scroll a formula or a line of a chapter's code sideways.
CUT = """() => {
  if (innerWidth < 600) return [];
  const right = e => e.getBoundingClientRect().right;
  const formulas = [...document.querySelectorAll(".math mjx-container:has(mjx-math)")].filter(e =>
    right(e.querySelector("mjx-math")) > right(e.hasAttribute("display") ? e : e.closest(".math")) + 1);
  const code = [...document.querySelectorAll(".cell pre")].filter(e => e.scrollWidth > e.clientWidth + 1);
  return [...formulas, ...code].map(e => `${e.tagName.toLowerCase()}: ${e.textContent.slice(0, 80)}`);
}"""

EYES = {"mathematics": MATHEMATICS, "pictures": PICTURES, "width": WIDTH, "cut": CUT}

# Formulas are left out: each is some hundred elements, which MathJax labels for screen readers as a whole.
# The reference says the same of each kind of thing, and code has colours by the kind of word: ten of a kind
# are looked at. So are ten texts of one colour and size on one ground, which are equally legible.
ACCESSIBILITY = """async () => {
  const seen = {}, often = (...kind) => (seen[kind] = (seen[kind] ?? 0) + 1) > 10;
  const all = selector => [...document.querySelectorAll(selector)];
  for (const e of all("mjx-container")) e.replaceChildren("x");
  for (const e of all("dl.py")) if (often(e.className)) e.remove();
  for (const e of all("pre span")) if (often("code", e.className)) e.replaceWith(e.textContent);
  document.body.normalize();
  const ground = e => {
    const { backgroundColor, backgroundImage, opacity } = getComputedStyle(e);
    const own = `${backgroundColor} ${backgroundImage} ${opacity};`.replace("rgba(0, 0, 0, 0) none 1;", "");
    return (e.parentElement ? ground(e.parentElement) : "") + own;
  };
  for (const e of all("body *")) {
    const speaks = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || e.matches("input");
    const { color, fontSize, fontWeight, textShadow } = getComputedStyle(e);
    e.toggleAttribute("data-read", speaks && e.checkVisibility({ visibilityProperty: true })
      && !often(color, fontSize, fontWeight, textShadow, ground(e)));
  }
  axe.configure({ rules: [{ id: "color-contrast", selector: "[data-read]" }] });
  const { violations } = await axe.run({ resultTypes: ["violations"], preload: false });
  return violations.map(v => [v.impact, v.id, v.nodes.slice(0, 4).map(n => n.html.slice(0, 200))]);
}"""

# What follows the width of the window is drawn in the frames that come next. Only a third of a second later,
# and later still on a busy machine, the theme lets the keyboard reach what scrolls.
CHANGED = """async theme => {
  Object.assign(document.documentElement.dataset, { theme, mode: theme });
  for (let frames = 0; frames < 4; frames++) await new Promise(requestAnimationFrame);
  for (const change of document.getAnimations()) if (change.transitionProperty) change.finish();
  const boxes = [...document.querySelectorAll("pre, .output, .pst-scrollable-table-container")];
  const scrolls = e => e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight;
  for (let tries = 0; tries < 50 && boxes.some(e => (e.tabIndex === 0) !== scrolls(e)); tries++)
    await new Promise(done => setTimeout(done, 100));
  return getComputedStyle(document.body).backgroundColor;
}"""


def show(page, view):
    """Let an open page have the width and the colours of a view."""
    width, theme = VIEWS[view]
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=theme)
    ground = page.evaluate(CHANGED, theme)
    assert (max(map(int, re.findall(r"\d+", ground)[:3])) < 128) == (theme == "dark"), ground


def findings(visit, views=tuple(VIEWS)):
    """All that is wrong on an open page: complaints by kind."""
    page, found = visit.page, defaultdict(list)
    for view in views:
        show(page, view)
        for kind, script in EYES.items():
            found[kind] += page.evaluate(script)
    page.evaluate(AXE_SCRIPT)
    for view in reversed(views):  # which leaves less of the page
        show(page, view)
        broken = page.evaluate(ACCESSIBILITY)
        found["accessibility"] += [f"{name}: {nodes}" for impact, name, nodes in broken if impact in SERIOUS]
    found["errors"] = visit.complaints
    return {kind: complaints for kind, complaints in found.items() if complaints}


@pytest.mark.parametrize("name", BOOK + MADE)
def test_nothing_is_wrong(reader, address, name):
    assert findings(reader.open(address + name)) == {}


# The same eyes, on pages with faults

END = "</article>"
#: In which view it is seen, what is planted, and what is then said: of which kind, with which words.
FAULTS = [
    (WIDE, '<img src="nowhere.png" alt="None">', "errors: nowhere", "pictures: nowhere"),
    (WIDE, '<img src="../_static/logo.png">', "pictures: logo", "accessibility: image-alt"),
    (WIDE, '<script src="https://example.org/a.js"></script>', "errors: example"),
    (WIDE, "<script>console.error('a fault')</script>", "errors: error: a fault"),
    (WIDE, "<script>throw new Error('no')</script>", "errors: uncaught: no"),
    (WIDE, r"<p class='mathjax_ignore'>It is \(x^2\).</p>", r"mathematics: It is \(x"),
    (WIDE, "<p>It is $x^2$.</p>", "mathematics: It is $x"),
    (WIDE, r'<p><span class="math">\(\frac{1\)</span></p>', "mathematics: not rendered"),
    (WIDE, rf"<p><span class='math'>\({'x+' * 150}x\)</span></p>", "cut: mjx-container"),
    (WIDE, f"<div class='cell'><pre tabindex='0'>{'code ' * 40}</pre></div>", "cut: pre"),
    (NARROW, "<table><tr><td>" + "wide" * 60 + "</td></tr></table>", "width: table"),
    (WIDE, '<p style="color: #bbb; background: #fff">Pale</p>', "accessibility: Pale"),
    (NARROW, '<p style="color: #333">Dark</p>', "accessibility: Dark"),
    (WIDE, "<button></button>", "accessibility: button-name"),
]


@pytest.mark.parametrize("view", VIEWS)
def test_faults_are_found_and_nothing_else(reader, address, view):
    edited = "".join(html for of, html, *_ in FAULTS if of == view) + END
    url = f"{address}book/notation.html"  # which has formulas, and so MathJax
    found = findings(reader.open(url, edit=lambda text: text.replace(END, edited)), [view])
    said = [f"{kind}: {complaint}" for kind, complaints in found.items() for complaint in complaints]
    wanted = [one.split(": ", 1) for of, _, *words in FAULTS for one in words if of == view]
    fits = [[one.startswith(kind) and words in one for one in said] for kind, words in wanted]
    assert all(map(any, fits)) and all(map(any, zip(*fits, strict=True))), (wanted, said)


# What the pages are given beyond what Sphinx writes


def test_a_formula_keeps_its_stop_and_its_brackets():
    formula = r'<span class="math notranslate nohighlight">\(x\)</span>'
    for before, after in (("", "."), ("(", "),"), ("“", "”"), ("", "’s"), ("", "-dimensional"), ("", "?")):
        kept = f'<span class="unbroken">{before}{formula}{after}</span>'
        assert site_pages.unbroken(f"<p>If {before}{formula}{after} is</p>") == f"<p>If {kept} is</p>"
    assert site_pages.unbroken(f"<p>If {formula} is, {formula}</p>") == f"<p>If {formula} is, {formula}</p>"


def test_claims_are_marked_and_other_outputs_are_not():
    output = '<div class="output stream highlight-x"><div class="highlight"><pre><span></span>{}</pre></div>'
    spoken = output.format("runs: 3\nHolds: it is so\nHolds: so is that")
    marked = site_pages.marked_claims(spoken)
    assert marked == spoken.replace("highlight-x", "highlight-x claims").replace("Holds:", "<b>Holds:</b>")
    assert site_pages.marked_claims(output.format("epoch | Holds: no")) == output.format("epoch | Holds: no")


def test_a_wide_formula_shrinks_on_a_phone_and_grows_again(visit, address):
    page = visit(f"{address}book/mxnet_gaussian.html", width=390).page
    formula = "document.querySelector('#equation-mx-slope mjx-container')"
    size = f"parseFloat(getComputedStyle({formula}).fontSize)"
    page.wait_for_function(f"{formula}.style.fontSize.startsWith('calc')")
    assert page.evaluate(f"{formula}.scrollWidth <= {formula}.clientWidth + 1")
    small = page.evaluate(size)
    page.set_viewport_size({"width": 1000, "height": 844})
    page.wait_for_function(f"small => small < 0.9 * {size}", arg=small)


# What a reader does


def test_search_finds_a_term_and_its_page(visit, address):
    opened = visit(f"{address}book/intro.html")
    page, results = opened.page, opened.page.locator("#search-results")
    page.keyboard.press("Control+k")
    field = "#pst-search-dialog input[type=search], .search-button__search-container input"
    page.locator(field).first.fill("Jensen-Shannon divergence")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?*")
    results.locator("li a").first.wait_for()
    assert "The minimax game and the Jensen-Shannon divergence" in results.inner_text()
    results.locator("li a").first.click()
    page.wait_for_url("**/book/*.html*")
    assert opened.complaints == []


def test_next_and_previous_go_through_the_book_and_back_in_the_colours_chosen(visit, address):
    opened = visit(address + BOOK[0])
    page = opened.page
    button = page.locator("button.theme-switch-button:visible").first
    for _ in range(3):
        if page.locator("html").get_attribute("data-theme") != "dark":
            button.click()
    for link, name in (("right-next", BOOK[1]), ("right-next", BOOK[2]), ("left-prev", BOOK[1])):
        page.locator(f"a.{link}").click()
        page.wait_for_url(f"{address}{name}")
        assert page.locator("html").get_attribute("data-theme") == "dark"
    assert opened.complaints == []


def test_on_a_phone_the_contents_open(visit, address):
    opened = visit(address + BOOK[1], width=390, theme="dark")
    opened.page.locator("button.primary-toggle:visible").click()
    contents = opened.page.locator("dialog a.internal, .bd-sidebar-primary a.internal")
    contents.first.wait_for(state="visible")
    assert opened.complaints == []


@pytest.mark.parametrize("name", [BOOK[0], "book/notation.html", "search.html?q=logits"])
def test_pages_work_as_files(visit, site, name):
    opened = visit(f"{site.as_uri()}/{name}")
    assert opened.page.evaluate(MATHEMATICS) == opened.page.evaluate(PICTURES) == []
    if "search" in name:
        opened.page.locator("#search-results li a").first.wait_for()
    assert opened.complaints == []


# The pages as files


@pytest.fixture(scope="module")
def trees(site):
    """All pages, parsed, by their name."""
    paths = [path for path in sorted(site.rglob("*.html")) if site / "_static" not in path.parents]
    texts = {p.relative_to(site).as_posix(): TOKEN.sub(r"\1", p.read_text(encoding="utf-8")) for p in paths}
    return {name: BeautifulSoup(text, "html.parser") for name, text in texts.items()}


def test_links_between_pages_lead_somewhere(site, trees):
    assert set(BOOK + MADE) <= set(trees)
    known = {name: {e["id"] for e in tree.find_all(id=True)} for name, tree in trees.items()}
    lost = set()
    for name, tree in trees.items():
        for link in {a["href"] for a in tree.find_all("a", href=True)} - {"#", ""}:
            if urlsplit(link).scheme:
                continue
            path, anchor = urldefrag(urljoin(f"/{name}", link))
            path = unquote(urlsplit(path).path).removeprefix("/")
            there = (site / path).is_file() and (
                not anchor or unquote(anchor) in known.get(path, {unquote(anchor)})
            )
            if not there:
                lost.add(f"{name}: {link}")
    assert lost == set()


def test_pages_follow_each_other_as_in_the_contents(trees):
    for before, name, after in zip([None, *BOOK], BOOK, [*BOOK[1:], None], strict=False):
        for kind, neighbour in (("left-prev", before), ("right-next", after)):
            found = [urljoin(name, a["href"]) for a in trees[name].find_all("a", class_=kind)]
            assert found == [neighbour] * (neighbour is not None), (name, kind)


@pytest.mark.parametrize("name", BOOK + MADE)
def test_headings_are_in_order_below_one_title(trees, name):
    # The theme has the title and the contents a second time, for printing alone.
    headings = trees[name].select_one("main").find_all(re.compile("^h[1-6]$"))
    found = [int(h.name[1]) for h in headings if not h.find_parent(id="jb-print-docs-body")]
    assert found.count(1) == 1 and found[0] == 1, found
    assert not [pair for pair in zip(found, found[1:], strict=False) if pair[1] > pair[0] + 1], found
    assert trees[name].html["lang"] == "en"
    assert trees[name].title.get_text(strip=True)


def test_each_page_says_in_a_sentence_of_its_own_what_it_is_about(trees):
    found = [trees[name].find("meta", attrs={"name": "description"})["content"] for name in BOOK]
    assert min(map(len, found)) > 60 and len(set(found)) == len(BOOK)


def test_nothing_is_prepared_for_a_visit_elsewhere(site, trees):
    """A connection that is opened beforehand shows in no list of requests."""
    for name, tree in trees.items():
        hints = tree.find_all("link", rel=["preconnect", "dns-prefetch", "prefetch", "preload"])
        assert not [link for link in hints if urlsplit(link["href"]).scheme], name
        text = (site / name).read_text(encoding="utf-8")
        assert not re.findall(r"unpkg\.com|\bcdn\.\w+|binder-examples", text), name


@pytest.mark.parametrize("chapter", [page.stem for page in pages() if page.suffix == ".ipynb"])
def test_a_chapter_can_be_downloaded(trees, chapter):
    links = trees[f"book/{chapter}.html"].select("a.btn-download-source-button")
    assert [link for link in links if link["href"].endswith(f"book/{chapter}.ipynb")] != []


def test_buttons_lead_to_the_repository_or_there_are_none(trees):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = project.get("urls", {}).get("Repository", "")
    path = address.removeprefix("https://github.com/") or "no repository"
    for name, tree in trees.items():
        buttons = tree.select(".article-header-buttons a[href], .header-article-items a[href]")
        outside = [a["href"] for a in buttons if urlsplit(a["href"]).scheme]
        assert bool(outside) == bool(address) or name not in BOOK, name
        assert all(path in link for link in outside), outside

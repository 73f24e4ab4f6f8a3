"""One address, in all places or in none, and pages whose buttons follow it."""

import re
import shutil

import nbformat
import pytest
import tomllib
import yaml
from bs4 import BeautifulSoup

from tests.browsing import built
from tools import publish as publisher
from tools.notebooks import METADATA
from tools.sheets import ROOT

FIRST = "https://github.com/Ada-L/gan.book"
SECOND = "https://github.com/someone/other"
ELSEWHERE = re.compile(r"https://(?:github\.com|colab\.\w+\.google\.com|mybinder\.org|[\w-]+\.github\.io)/")


@pytest.fixture
def copy(tmp_path):
    """A copy of the files that hold the address."""
    for path in publisher.places(ROOT):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


def contents(root):
    return {path: path.read_bytes() for path in publisher.places(root)}


def addresses(root):
    """What the files say the repository's address is, each once."""
    found = []
    for path in publisher.places(root):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            found += re.findall(r'\bREPOSITORY = \\"(.*?)\\"', text)
        elif path.suffix == ".toml":
            found.append(tomllib.loads(text)["project"].get("urls", {}).get("Repository", ""))
        elif path.suffix == ".cff":
            found.append(yaml.safe_load(text).get("repository-code", ""))
        else:
            found += re.findall(r"\[!\[.*\]\((.*)/actions/.*\)\]", text) or [""]
    return found


def test_all_places_of_this_book_agree():
    assert len(set(addresses(ROOT))) == 1


def test_every_place_gets_the_address_once(copy):
    lines = {path: path.read_text(encoding="utf-8").splitlines() for path in publisher.places(copy)}
    changed = publisher.publish(FIRST, copy)
    assert set(changed) <= set(lines)
    assert addresses(copy) == [FIRST] * len(lines)
    for path, before in lines.items():
        if path.suffix == ".ipynb":
            after = path.read_text(encoding="utf-8").splitlines()
            assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
    before = contents(copy)
    assert publisher.publish(FIRST + ".git", copy) == publisher.publish(FIRST + "/", copy) == []
    assert contents(copy) == before


def test_a_second_address_leaves_no_trace_of_the_first(copy):
    publisher.publish(SECOND, copy)
    direct = contents(copy)
    publisher.publish(FIRST, copy)
    assert all(b"gan.book" in text for text in contents(copy).values())
    publisher.publish(SECOND, copy)
    assert contents(copy) == direct


NO_REPOSITORY = [
    "", "github.com/a/b", "http://github.com/a/b", "https://gitlab.com/a/b", "https://github.com/a",
    "https://github.com/a/b/tree/main", "https://github.com/a c/b", "https://github.com/a/..",
    'https://github.com/a/b"',
]  # fmt: skip


def test_what_is_refused_changes_nothing(copy):
    (copy / "CITATION.cff").write_text("cff-version: 1.2.0\n", encoding="utf-8")
    before = contents(copy)
    with pytest.raises(ValueError, match=r"^CITATION\.cff: 0 places fit"):
        publisher.publish(FIRST, copy)
    for address in NO_REPOSITORY:
        with pytest.raises(ValueError, match=r"is not of the form https://github.com/OWNER/NAME\."):
            publisher.publish(address, copy)
    assert contents(copy) == before


def test_where_the_pages_are():
    assert publisher.pages_address(FIRST) == "https://ada-l.github.io/gan.book/"
    assert publisher.pages_address("https://github.com/Ada-L/ada-l.github.io") == "https://ada-l.github.io/"


@pytest.fixture
def small_book(tmp_path):
    """A book of one text and one notebook, with this book's settings and files."""
    for name in ("_config.yml", "pyproject.toml", "README.md", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("tools", "book/_static"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "book" / "references.bib", tmp_path / "book")
    toc = "format: jb-book\nroot: book/intro\nchapters: [{file: book/chapter}]\n"
    (tmp_path / "_toc.yml").write_text(toc, encoding="utf-8")
    (tmp_path / "book" / "intro.md").write_text("# A book\n\nIt has a {cite}`Goodfellow2014`.\n", "utf-8")
    cells = [
        nbformat.v4.new_markdown_cell("# A chapter\n\nIts first sentence says what it is about."),
        nbformat.v4.new_code_cell('REPOSITORY = ""', execution_count=1),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=METADATA)
    nbformat.write(notebook, tmp_path / "book" / "chapter.ipynb")
    return tmp_path


def pages_of(book):
    """The pages of a book, as text by their name."""
    html = built(book, book, "--all", "--quiet")
    texts = [*html.glob("*.html"), *html.glob("book/*.html"), *html.glob("*.xml"), *html.glob("robots.txt")]
    return {path.relative_to(html).as_posix(): path.read_text(encoding="utf-8") for path in texts}


def links(page):
    return {a["href"] for a in BeautifulSoup(page, "html.parser").find_all("a", href=True)}


def check_published(pages, owner, name, home):
    repository = f"https://github.com/{owner}/{name}"
    chapter = pages["book/chapter.html"]
    assert {link for link in links(chapter) if ELSEWHERE.match(link) and "issues" not in link} == {
        repository,
        f"{repository}/edit/main/book/chapter.ipynb",
        f"https://colab.research.google.com/github/{owner}/{name}/blob/main/book/chapter.ipynb",
        f"https://mybinder.org/v2/gh/{owner}/{name}/main?urlpath=lab/tree/book/chapter.ipynb",
    }
    assert any(link.startswith(f"{repository}/issues/new?") for link in links(chapter))
    head = BeautifulSoup(chapter, "html.parser").head
    here = f"{home}book/chapter.html"
    assert head.find("link", rel="canonical")["href"] == here
    assert head.find("meta", property="og:url")["content"] == here
    assert head.find("meta", property="og:image")["content"].startswith(f"{home}_images/social_previews/")
    assert "Its first sentence" in head.find("meta", attrs={"name": "description"})["content"]
    named = re.findall(r"<loc>(.*)</loc>", pages["sitemap.xml"])
    assert named == [f"{home}book/{name}.html" for name in ("chapter", "intro")]
    assert pages["robots.txt"] == f"Sitemap: {home}sitemap.xml\n"


def test_pages_have_no_address_and_then_the_last_one(small_book):
    pages = pages_of(small_book)
    assert not [name for name, text in pages.items() if ELSEWHERE.search(text)]
    assert not {"sitemap.xml", "robots.txt"} & set(pages)
    assert "og:url" not in pages["book/chapter.html"] and "og:image" not in pages["book/chapter.html"]
    assert any(link.endswith("chapter.ipynb") for link in links(pages["book/chapter.html"])), "no download"
    publisher.publish(SECOND, small_book)
    publisher.publish(FIRST, small_book)
    pages = pages_of(small_book)
    check_published(pages, "Ada-L", "gan.book", "https://ada-l.github.io/gan.book/")
    assert not [name for name, text in pages.items() if re.search("someone[/.]", text)]

"""The reference has every public name, and names in a chapter's code lead to it."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import gan_helpers
from tools import reference_links as links
from tools.sheets import BOOK, load, notebooks

MODULES = re.findall(r"automodule:: (\S+)", (BOOK / "helpers.md").read_text(encoding="utf-8"))


#: The functions and classes that these modules define and do not hide.
REFERENCE = {
    f"{module}.{name}": thing
    for module in MODULES
    for name, thing in vars(importlib.import_module(module)).items()
    if not name.startswith("_") and callable(thing) and getattr(thing, "__module__", None) == module
}


def test_every_public_name_is_described_and_those_of_the_package_itself_are_among_them() -> None:
    """What has no docstring of its own is left out of the reference."""
    assert [name for name, thing in REFERENCE.items() if not (thing.__doc__ or "").strip()] == []
    assert {links.home(f"gan_helpers.{name}") for name in gan_helpers.__all__} <= set(REFERENCE)


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_what_a_chapter_imports_is_in_the_reference(path: Path) -> None:
    cells = load(path).cells
    names = links.imported_names("\n".join(c.source for c in cells if c.cell_type == "code"))
    assert len(names) > 5
    homes = {links.home(name) for name in names.values() if "mxnet_backend" not in name}
    assert homes <= {*REFERENCE, *MODULES}


# The links


def code(text: str) -> str:
    """Return a line as Pygments marks it up: names, dots and signs, as far as the links look at them."""
    marked = re.sub(r"(\w+)|([.=(,)])", lambda m: span("n", m[1]) if m[1] else span("o", m[2]), text)
    return f'<div class="highlight"><pre><span></span>{marked}\n</pre></div>'


def span(kind: str, text: str) -> str:
    return f'<span class="{kind}">{text}</span>'


NAMES = {"train": "gan_helpers.train", "losses": "gan_helpers.losses", "Normal": "gan_helpers.data.Normal"}
PLACES = {"gan_helpers.training.train", "gan_helpers.losses.minimax_d", "gan_helpers.data.Normal"}


def place(name: str) -> str | None:
    return f"h#{name}" if name in PLACES else None


def found(*blocks: str) -> list[tuple[str, str]]:
    """Return the target and the text of each link on a page with these blocks of code."""
    html = links.linked("<p>train</p>" + "".join(blocks), NAMES, place)
    return [
        (target, re.sub("<.*?>", "", text))
        for target, text in re.findall(r'href="h#([\w.]+)" title="\1">(.*?)</a>', html)
    ]


def test_imports_say_what_a_name_means() -> None:
    text = "import torch\nfrom gan_helpers import train as fit, losses\nfrom gan_helpers.data import Normal\n"
    assert links.imported_names(text) == {"fit" if name == "train" else name: NAMES[name] for name in NAMES}


def test_a_name_leads_to_the_module_that_defines_it() -> None:
    homes = {"train": "training.train", "data.Normal": "data.Normal", "nowhere.nothing": "nowhere.nothing"}
    for name, home in homes.items():
        assert links.home(f"gan_helpers.{name}") == f"gan_helpers.{home}"


IMPORT = code("from gan_helpers import train").replace(span("n", "from"), span("kn", "from"))
TRAIN = ("gan_helpers.training.train", "train")


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([code("a, train(G)"), code("train(D)")], [TRAIN]),  # the first use alone
        ([code("losses.minimax_d(x)")], [("gan_helpers.losses.minimax_d", "losses.minimax_d")]),
        ([code("Normal.nothing(x)")], [("gan_helpers.data.Normal", "Normal")]),  # a method is no part of it
        ([code(text) for text in ("digits.train", "f(train=3)", "other(x)", "losses.unheard_of")], []),
        ([IMPORT], []),
        ([IMPORT, code("train(G)")], [TRAIN]),
    ],
)
def test_which_words_are_links(blocks: list[str], expected: list[tuple[str, str]]) -> None:
    assert found(*blocks) == expected


def test_the_text_stays_as_it_was() -> None:
    page = "<p>train</p>" + code("losses.minimax_d(train, Normal.nothing)")
    html = links.linked(page, NAMES, place)
    assert html.count("<a ") == 3
    assert re.sub("</?a.*?>", "", html) == page

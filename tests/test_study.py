"""The pages to study from: the glossary, the sources and the tables at the head of the reference."""

import ast
import re
from collections import Counter

import pytest

from tools.sheets import BOOK, ROOT

PLACE = re.compile(r"\]\(\w+\.(ipynb|md)#[\w-]+\)|\{(numref|eq|prf:ref|func|class|term|cite:\w)\}`")


def glossary():
    """The terms of each entry, and their explanation."""
    body = re.search(r"^```\{glossary\}\n(.*?)^```", (BOOK / "glossary.md").read_text(), re.M | re.S)[1]
    entries = re.findall(r"((?:^(?!:)\S.*\n)+)((?:^ +\S.*\n)+)", body, re.MULTILINE)
    return [(terms.splitlines(), text) for terms, text in entries]


def rows(page):
    """The cells of each row of a page's tables, but for the headings."""
    lines = [line for line in (BOOK / page).read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    heads = {n - 1 for n, row in enumerate(cells) if set(row[0]) <= {"-", " ", "|"}}
    return [row for n, row in enumerate(cells) if n not in heads and n - 1 not in heads]


def test_no_term_is_explained_twice():
    terms = [term.lower() for names, _ in glossary() for term in names]
    assert len(terms) > 50
    assert len(terms) == len(set(terms))


@pytest.mark.parametrize(("names", "text"), glossary(), ids=[names[0] for names, _ in glossary()])
def test_a_term_is_short_and_its_letters_or_its_place_are_given(names, text):
    assert 5 <= len(text.split()) <= 60
    assert PLACE.search(text) or "$" in text, names


def test_what_is_said_of_a_source_has_its_check_and_the_verdicts_are_as_many_as_the_page_says():
    for said, _, check in rows("sources.md"):
        assert PLACE.search(check), f"{said}: it links to no section, figure, equation or theorem"
    verdicts = [re.match(r"\*\*(Right|In part|No|Open)\b", found) for _, found, _ in rows("sources.md")]
    assert None not in verdicts
    count = Counter(verdict[1].lower() for verdict in verdicts)
    text = (BOOK / "sources.md").read_text()
    sentence = r"(\d+) rows below, (\d+) say \*right\*, (\d+) \*in part\*, (\d+)\s\*no\* and (\d+) \*open\*"
    said = [int(n) for n in re.search(sentence, text).groups()]
    assert said == [len(verdicts), *(count[verdict] for verdict in ("right", "in part", "no", "open"))]


def test_every_source_has_its_rows():
    text = (BOOK / "sources.md").read_text()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert sections
    for section in sections:
        assert section.count("\n| ") >= 5, section.splitlines()[0]


@pytest.mark.parametrize(
    "module",
    "losses penalties models data divergences metrics image_metrics mode_metrics dirac".split(),
)
def test_the_tables_of_the_reference_name_all_functions(module):
    tree = ast.parse((ROOT / "gan_helpers" / f"{module}.py").read_text())
    names = {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    listed = re.findall(rf"~gan_helpers\.{module}\.(\w+)", (BOOK / "helpers.md").read_text())
    assert names <= set(listed)
    assert len(listed) == len(set(listed))

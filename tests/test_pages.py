"""The sheets of the chapters, what is made from them, and a chapter that is added as CONTRIBUTING.md says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import minutes, pages, sheets
from tools.sheets import SheetError, load, notebooks, read

CHAPTERS = notebooks()
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)

SHEET = """
recreates = "a curve"
framework = "PyTorch"
blurb = "Draw a curve."
recipes = "The curve"

[thumbnail]
figure = "fig-curve"
alt = "A curve that rises from zero, and bends."
"""


@every_chapter
def test_a_sheet_fits_its_notebook(path: Path) -> None:
    assert sheets.complaints(read(path), load(path)) == []


def test_what_is_made_from_the_sheets_is_up_to_date() -> None:
    assert [path.name for path in pages.stale()] == [], "`make pages` writes them anew"


@every_chapter
def test_the_minutes_at_the_head_of_a_chapter_are_those_that_were_measured(path: Path) -> None:
    said = re.search(r"runs\s+in\s+(?:about\s+)?([\w\s]*?)\s*minutes?", load(path).cells[0].source)[1]
    half = ("and a half" in said) / 2
    numbers = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
    found = [numbers[w] + half for w in said.removesuffix("and a half").split() if w in numbers]
    low, high = min(found) - 1, max(found) + 1
    assert low <= minutes.to_run()[path.stem] <= high, said


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    """A sheet that is right, beside where its notebook would be."""
    path = tmp_path / "curve.toml"
    path.write_text(SHEET, encoding="utf-8")
    assert read(path.with_suffix(".ipynb")).thumbnail.box == [0, 0, 1, 1]
    return path


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("framework", "library", "curve.toml has the unknown key 'library': there are recreates, "),
        ('blurb = "Draw a curve."', "", "curve.toml has no blurb."),
        ("[thumbnail]", "[thumbnail", "curve.toml is not valid TOML: "),
        ("alt = ", "text = ", "curve.toml, thumbnail, has the unknown key 'text': there are figure, alt"),
        ("rises from zero, and bends", "rises", "curve.toml: thumbnail.alt has "),
        ("[thumbnail]", "needs = 3\n[thumbnail]", "curve.toml: needs is no table."),
        (
            "[thumbnail]",
            '[needs]\nsympy = "keras>=3"\n[thumbnail]',
            "curve.toml: needs.sympy asks for keras.",
        ),
        ("[thumbnail]", '[needs]\nsympy = "=="\n[thumbnail]', "curve.toml: needs.sympy is no requirement"),
    ],
)
def test_a_wrong_sheet_is_refused_in_a_sentence(sheet: Path, old: str, new: str, sentence: str) -> None:
    assert old in SHEET
    sheet.write_text(SHEET.replace(old, new), encoding="utf-8")
    with pytest.raises(SheetError) as raised:
        read(sheet.with_suffix(".ipynb"))
    assert str(raised.value).startswith(sentence)


def test_a_notebook_without_a_sheet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SheetError, match=r"^curve\.ipynb has no sheet: write curve\.toml beside it\.$"):
        read(tmp_path / "curve.ipynb")


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    text = "a\n% x\nold\n% end of x\nb\n"
    assert pages.between(text, "% {}", "x", "new\n") == "a\n% x\nnew\n% end of x\nb\n"
    for wrong in ("a\n", text + text):
        with pytest.raises(ValueError, match="places are marked 'x', not one"):
            pages.between(wrong, "% {}", "x", "new\n")

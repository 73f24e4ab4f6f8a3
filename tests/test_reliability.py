"""The table of `make reliability`: what is measured lands in it, and the page shows what is stored."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import nbformat
import pytest

from tests import reliability
from tests.reliability import AREAS, COLUMNS, last_measured, measured, merged, rows_of
from tools import seeds
from tools.sheets import BOOK


def report(area: str, tried: str, passed: bool = True, figure: str | None = None) -> Any:
    said = [("reliability", [area, tried])] + ([] if figure is None else [("reached", figure)])
    return SimpleNamespace(user_properties=said, passed=passed)


def row(area: str, tried: str, reached: str, on: str = "2026-01-02") -> dict[str, str]:
    return dict(zip(COLUMNS, (area, tried, AREAS[area], reached, on), strict=True))


def test_a_measured_test_has_a_small_and_a_large_effort() -> None:
    fast, slow = measured("kill", "it", fast=3, slow=200).args[1]
    assert (fast.values, fast.marks) == ((3,), ())
    assert slow.values == (200,)
    assert [mark.args for mark in slow.marks] == [("kill", "it")]


def test_rows_say_what_was_reached_and_what_failed() -> None:
    reports = [
        report("kill", "one", figure="200 of 200"),
        *[report("repeat", "two", figure="bit-equal")] * 2,
        report("cache", "three"),
        report("numbers", "four", passed=False, figure="all caught"),
        report("numbers", "four", figure="all caught"),
        SimpleNamespace(user_properties=[], passed=True),
    ]
    reached = {row["what was tried"]: row["figure reached"] for row in rows_of(reports, "2026-01-02")}
    assert reached == {"one": "200 of 200", "two": "bit-equal", "three": "passed", "four": "1 of 2 failed"}


def test_what_was_not_measured_again_stays_and_the_areas_keep_their_order() -> None:
    old = [row("kill", "one", "1"), row("numbers", "four", "4")]
    new = [row("claims", "six", "6"), row("kill", "one", "new")]
    assert merged(old, new[::-1]) == [*new, old[1]]


def marks(thing: Any) -> Iterator[tuple[str, str]]:
    """Yield the areas of a test and what it tries."""
    for mark in getattr(thing, "pytestmark", ()):
        for inner in (mark, *(m for case in mark.args[1:] for p in case for m in getattr(p, "marks", ()))):
            if inner.name == "reliability":
                yield inner.args


def test_every_stored_row_is_of_a_test_that_exists_and_none_failed_and_the_page_shows_them() -> None:
    names = [path.stem for path in Path(__file__).parent.glob("test_*.py")]
    modules = map(importlib.import_module, names)  # pytest has done so, if it runs them all
    known = {row for module in modules for thing in vars(module).values() for row in marks(thing)}
    for stored in last_measured():
        assert (stored["area"], stored["what was tried"]) in known, "its test is gone: delete the row"
        assert stored["figure to reach"] == AREAS[stored["area"]]
        assert "failed" not in stored["figure reached"], stored
    page = (BOOK / "reliability.md").read_text(encoding="utf-8")
    assert ":file: reliability.csv" in page and ":file: seeds.csv" in page


@pytest.mark.parametrize("selected", ["reliability", "not reliability", ""])
def test_a_run_for_the_table_prints_and_stores_it_and_no_other_run_does(
    selected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reliability, "MEASURED", tmp_path / "table.csv")
    setup, done = report("kill", "one"), report("kill", "one", figure="200 of 200")
    setup.when, done.when = "setup", "call"
    setup.failed = done.failed = False
    terminal, lines = Mock(stats={"passed": [setup, done], "deselected": []}), []
    terminal.section.side_effect = terminal.write_line.side_effect = lines.append
    config: Any = SimpleNamespace(option=SimpleNamespace(markexpr=selected), rootpath=tmp_path)
    reliability.pytest_terminal_summary(terminal, config)
    if selected != "reliability":
        assert lines == [] and not (tmp_path / "table.csv").exists()
        return
    (stored,) = last_measured()
    assert stored["figure reached"] == "200 of 200"
    place = lines.index(f"kill: {AREAS['kill']}")
    assert lines[place + 1] == f"    one: 200 of 200 ({stored['measured on']})"
    assert lines.count("    not measured yet") == len(AREAS) - 1


def test_the_slow_tests_are_left_out_unless_they_are_asked_for(pytestconfig: pytest.Config) -> None:
    assert "-m=not reliability" in pytestconfig.getini("addopts")


def test_no_run_of_the_notebooks_as_they_are_has_failed() -> None:
    assert {row["passed"] for row in seeds.current()} <= {"1"}


def write(path: Path, source: str, text: str = "Holds", plain: str = "<Figure>", *tags: str) -> str:
    """Write a notebook of one cell, and return its digest."""
    outputs = [
        nbformat.v4.new_output("stream", text=text),
        nbformat.v4.new_output("display_data", {"text/plain": plain, "image/png": "aaaa"}),
    ]
    cell = nbformat.v4.new_code_cell(source, outputs=outputs, metadata={"tags": list(tags)})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return seeds.code_of(path)


def test_the_list_of_seeds_counts_only_runs_of_the_notebooks_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = chapters = [tmp_path / f"{name}.ipynb" for name in ("one", "two")]
    monkeypatch.setattr(seeds, "notebooks", lambda: chapters)
    monkeypatch.setattr(seeds, "LEDGER", tmp_path / "seeds.csv")
    first, second, old = write(one, "1"), write(two, "2"), "old"
    runs = [("one", first, 1, 1), ("one", first, 2, 0), ("two", second, 1, 1), ("two", old, 1, 0)]
    lines = [f"{notebook},{code},{seed},1,default,{passed}\n" for notebook, code, seed, passed in runs]
    seeds.LEDGER.write_text(",".join(seeds.FIELDS) + "\n" + "".join(lines), encoding="utf-8")
    write(one, "3")
    stale, current = ([*row.values()] for row in seeds.by_chapter())
    assert (stale, current) == (["one", "not run since it changed", "2"], ["two", "1 of 1", "1"])


def test_a_run_belongs_to_the_code_and_to_the_outputs_that_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "one.ipynb"
    written = [("a",), ("b",), ("a", "Fails"), ("a", "Holds", "<Axes>"), ("a",)]
    digests = [write(path, *one) for one in written]
    assert len(set(digests)) == 4 and digests[0] == digests[-1]
    ignored = {write(path, "a", text, "<Figure>", "nbval-ignore-output") for text in ("0.1", "0.2")}
    assert len(ignored) == 1

"""The table of `make reliability`: what is measured lands in it, and the page shows what is stored."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import reliability
from tests.reliability import AREAS, COLUMNS, last_measured, measured, merged, rows_of

TESTS = Path(__file__).parent


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
        report("repeat", "two", figure="bit-equal"),
        report("repeat", "two", figure="bit-equal"),
        report("cache", "three"),
        report("numbers", "four", passed=False, figure="all caught"),
        report("numbers", "four", figure="all caught"),
        SimpleNamespace(user_properties=[], passed=True),
    ]
    assert rows_of(reports, "2026-01-02") == [
        row("kill", "one", "200 of 200"),
        row("repeat", "two", "bit-equal"),
        row("cache", "three", "passed"),
        row("numbers", "four", "1 of 2 failed"),
    ]


def test_what_was_not_measured_again_stays_and_the_areas_keep_their_order() -> None:
    old = [row("kill", "one", "1"), row("numbers", "four", "4")]
    new = [row("notebooks", "five", "5"), row("claims", "six", "6"), row("kill", "one", "new")]
    assert merged(old, new) == [
        row("claims", "six", "6"), row("kill", "one", "new"), row("numbers", "four", "4"),
        row("notebooks", "five", "5"),
    ]  # fmt: skip


def strings(path: Path) -> set[str]:
    """Return all texts in a Python file."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_stored_row_is_of_a_test_that_exists_and_none_failed() -> None:
    known = set().union(*(strings(path) for path in TESTS.glob("test_*.py")))
    for stored in last_measured():
        assert stored["what was tried"] in known, "its test is gone: delete the row"
        assert stored["figure to reach"] == AREAS[stored["area"]]
        assert "failed" not in stored["figure reached"], stored


def test_the_page_shows_the_stored_table() -> None:
    page = (TESTS.parent / "book" / "reliability.md").read_text(encoding="utf-8")
    assert ":file: reliability.csv" in page


class Terminal(SimpleNamespace):
    """Keeps what is printed at the end of a run."""

    def section(self, title: str) -> None:
        self.lines = [title]

    def write_line(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("selected", ["reliability", "not reliability", ""])
def test_a_run_for_the_table_prints_and_stores_it_and_no_other_run_does(
    selected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reliability, "MEASURED", tmp_path / "table.csv")
    done = report("kill", "one", figure="200 of 200")
    done.when, done.failed = "call", False
    setup = report("kill", "one")
    setup.when, setup.failed = "setup", False
    terminal = Terminal(stats={"passed": [setup, done], "deselected": []}, lines=[])
    config: Any = SimpleNamespace(option=SimpleNamespace(markexpr=selected), rootpath=tmp_path)
    reliability.pytest_terminal_summary(terminal, config)
    if selected != "reliability":
        assert terminal.lines == [] and not (tmp_path / "table.csv").exists()
        return
    (stored,) = last_measured()
    assert stored["figure reached"] == "200 of 200"
    place = terminal.lines.index(f"kill: {AREAS['kill']}")
    assert terminal.lines[place + 1] == f"    one: 200 of 200 ({stored['measured on']})"
    assert terminal.lines.count("    not measured yet") == len(AREAS) - 1


def test_the_slow_tests_are_left_out_unless_they_are_asked_for(pytestconfig: pytest.Config) -> None:
    assert "-m=not reliability" in pytestconfig.getini("addopts")


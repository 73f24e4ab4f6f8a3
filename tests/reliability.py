"""What `make reliability` measures: which areas there are, what each has to reach, and what it reached.

A test that belongs to it takes ``effort``, a number, and says with the fixture ``reached`` how far it came:

    @measured("kill", "SIGKILL at random moments while saving", fast=3, slow=200)
    def test_a_kill_breaks_nothing(effort: int, reached: Reached) -> None:
        ...
        reached(f"{whole} of {effort} checkpoints load")

`make test` runs it with the small effort, and `make reliability` with the large one. The rows that were
measured last are kept in `book/reliability.csv`, which a page of the book shows.
"""

from __future__ import annotations

import csv
import datetime
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

Reached = Callable[[str], None]
Row = dict[str, str]

MEASURED = Path(__file__).resolve().parent.parent / "book" / "reliability.csv"
COLUMNS = ("area", "what was tried", "figure to reach", "figure reached", "measured on")

#: The areas in the order of the table, each with the figure to reach.
AREAS = {
    "claims": "100 % hold; each claim fails with a probability below 0.0001",
    "repeat": "bit-equal, every recipe",
    "compiled": "the same losses and weights, to 1e-9",
    "checkpoints": "equal to the last bit in everything",
    "kill": "the old or the new checkpoint loads, never a broken one",
    "hostile checkpoint": "nothing executed, no crash, one type of error that says what is wrong",
    "download": "the next mirror or a clear error within 60 s; nothing unverified enters the cache",
    "cache": "verified at every load; heals itself; says what it did",
    "bombs": "stops at the expected size; under 64 MB more memory; one clear error",
    "numbers": "caught within one step, and named; the other seeds unharmed",
    "processes": "equal to one process within 1e-5; one clear error; goes on to the last bit",
    "interrupt": "kernel usable, history kept, resumed to the last bit",
    "device": "training finishes on the CPU with one line of notice",
    "arguments": "an error that names argument, value and expectation",
    "notebooks": "at least 80 % of the cells with text output are compared",
}


def measured(area: str, tried: str, *, fast: int, slow: int) -> pytest.MarkDecorator:
    """Run a test twice: with the effort ``fast`` in `make test`, and with ``slow`` in `make reliability`.

    Args:
        area: a key of `AREAS`.
        tried: what the test tries, for the table; several tests that say the same share a row.
        fast: a number that the test takes as ``effort``, such as how often it tries.
        slow: the number for the table.
    """
    slowly = pytest.mark.reliability(area, tried)
    return pytest.mark.parametrize(
        "effort", [pytest.param(fast, id="fast"), pytest.param(slow, id="slow", marks=slowly)]
    )


@pytest.fixture
def reached(request: pytest.FixtureRequest) -> Reached:
    """Return the function with which a test says how far it came."""
    # Not record_property: it warns beside --junitxml, and here warnings are errors.
    return lambda figure: request.node.user_properties.append(("reached", figure))


def last_measured() -> list[Row]:
    """Return the rows that were measured last, in the order of the areas."""
    if not MEASURED.exists():
        return []
    with MEASURED.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rows_of(reports: Iterable[pytest.TestReport], today: str) -> list[Row]:
    """Return one row for each thing that was tried; if one of its tests failed, the row says so."""
    figures: dict[tuple[str, str], list[str]] = {}
    for report in reports:
        said = dict(report.user_properties)
        if "reliability" in said:
            figure = said.get("reached", "passed") if report.passed else "failed"
            figures.setdefault(tuple(said["reliability"]), []).append(figure)
    return [
        dict(zip(COLUMNS, (area, tried, AREAS[area], _joined(found), today), strict=True))
        for (area, tried), found in figures.items()
    ]


def _joined(figures: list[str]) -> str:
    failed = figures.count("failed")
    return f"{failed} of {len(figures)} failed" if failed else "; ".join(dict.fromkeys(figures))


def merged(old: list[Row], new: list[Row]) -> list[Row]:
    """Return the new rows, and those old ones that were not measured again, in the order of the areas."""
    rows = {(row["area"], row["what was tried"]): row for row in [*old, *new]}
    return sorted(rows.values(), key=lambda row: list(AREAS).index(row["area"]))


# What pytest calls


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note in the test's report where its figure belongs; reports also travel between processes."""
    marker = item.get_closest_marker("reliability")
    if marker is not None:
        area, tried = marker.args
        if area not in AREAS:
            raise pytest.UsageError(f"There is no area {area!r} in AREAS.")
        item.user_properties.append(("reliability", [area, tried]))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table and store it, if this was a run for it."""
    if config.option.markexpr != "reliability":
        return
    stats = terminalreporter.stats
    reports = [
        report
        for outcome in ("passed", "failed", "error")
        for report in stats.get(outcome, [])
        if report.when == "call" or report.failed
    ]
    rows = merged(last_measured(), rows_of(reports, datetime.date.today().isoformat()))
    with MEASURED.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    terminalreporter.section("reliability")
    for area, figure in AREAS.items():
        terminalreporter.write_line(f"{area}: {figure}")
        found = [row for row in rows if row["area"] == area]
        for row in found:
            terminalreporter.write_line(
                f"    {row['what was tried']}: {row['figure reached']} ({row['measured on']})"
            )
        if not found:
            terminalreporter.write_line("    not measured yet")
    terminalreporter.write_line(f"The table is stored in {MEASURED.relative_to(config.rootpath)}.")

"""A plugin of pytest for notebooks: what they run in, what is compared, and that each stays whole."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from typing import Any

import pytest

from tools import surroundings

NOTICES = "written to stderr"
#: No matter of the machine: a warning at a line of the package, or networks that meet the same numbers again.
OURS = re.compile(r"gan_helpers[/\\][\w/\\]*\.py:\d+: \w*Warning|^These networks were trained", re.MULTILINE)
MOST_WORKERS = 4  # each holds torch, and a kernel that does too

surroundings.settle()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Deal out files, not tests, to processes side by side: the cells of a notebook need each other."""
    if config.getoption("numprocesses", None) or config.getoption("dist", "no") in (
        "load",
        "worksteal",
        "loadgroup",
    ):
        config.option.dist = "loadfile"
        config.option.loadscopereorder = False  # our order is kept


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes ``-n auto`` starts."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS)


def pytest_configure(config: pytest.Config) -> None:
    """Find the file of what is left out when outputs are compared, from whatever folder the tests are run."""
    if config.option.nbval_sanitize_with:
        config.option.nbval_sanitize_with = str(config.rootpath / config.option.nbval_sanitize_with)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave notices out of what is compared, and begin with what takes longest if files run side by side."""
    for file in {item.parent for item in items if item.path.suffix == ".ipynb"}:
        # Drivers, caches and fonts of a machine have their say there; the book's own outputs have none.
        file.skip_compare += ("stderr",)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (item.path.suffix != ".ipynb", item.get_closest_marker("first") is None))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    """Keep the notices of a cell in its report, which travels between processes; one of ours is a failure."""
    report = yield
    if call.when == "call":
        outputs = getattr(item, "test_outputs", None) or ()
        notices = [output.text for output in outputs if output.get("name") == "stderr"]
        report.sections += [(NOTICES, text) for text in notices]
        if report.passed and any(OURS.search(text) for text in notices):
            report.outcome, report.longrepr = "failed", f"{item.name} is told by the package what is wrong."
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which cells had notices, and of what they were."""
    found = [
        f"{report.nodeid}: {text.strip()}"
        for report in terminalreporter.stats.get("passed", ())
        for title, text in report.sections
        if title == NOTICES
    ]
    if found:
        terminalreporter.section("notices of cells, which are not compared")
        terminalreporter.write("\n".join(found) + "\n")

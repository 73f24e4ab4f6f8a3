"""The list of planted faults fits the project, and the command that plants them tells who notices."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools import faults

LIST = """
[all]
in = "sample.py"
tests = ["test_one.py"]
one = ["return 1", "return 3"]
two = ["return 2", "return 3"]
red = ["return 2", "return 3", "test_red.py"]
odd = ["return", ""]
"""


def test_every_fault_of_the_list_can_be_planted() -> None:
    files = faults.tracked(faults.ROOT)
    for fault in faults.faults():
        assert len(faults.places(fault, files, faults.ROOT)) == 1, fault
        assert all((faults.ROOT / "tests" / test).is_file() for test in fault.tests), fault
        assert fault.find != fault.put


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["one", "two"],
            "all: one: test_one.py::test_it\nall: two: NOBODY notices\n2 faults, 1 of them unnoticed.",
        ),
        (["red"], "test_red.py fails without a fault: test_red.py::test_it"),
        (["odd"], "all: odd: its text is not found once"),
        (["none"], "There is no such fault."),
    ],
)
def test_it_says_which_test_notices_or_that_nobody_does(
    words: list[str], said: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take longer than the tests
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p xdist.plugin")
    (tmp_path / "tests").mkdir()
    (tmp_path / "sample.py").write_text("def one():\n    return 1\n\n\ndef two():\n    return 2\n")
    (tmp_path / "tests/faults.toml").write_text(LIST)
    (tmp_path / "tests/test_one.py").write_text(
        "import sample\n\n\ndef test_it():\n    assert sample.one() == 1\n"
    )
    (tmp_path / "tests/test_red.py").write_text("def test_it():\n    assert False\n")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert faults.main([f"all: {word}" for word in words], tmp_path) == 1
    assert capsys.readouterr().out.strip() == said
    assert "return 1" in (tmp_path / "sample.py").read_text()

"""Brings in the project's plugins, and skips, in one sentence, a notebook that cannot run here."""

from __future__ import annotations

import pytest

from tools.notebooks import obstacle

pytest_plugins = ["tests.reliability", "tools.compared"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cells of such notebooks; their kernels are then not started either."""
    notebooks = {item.path for item in items if item.path.suffix == ".ipynb"}
    reasons = {path: reason for path in notebooks if (reason := obstacle(path))}
    for item in items:
        if item.path in reasons:
            item.add_marker(pytest.mark.skip(reason=reasons[item.path]))

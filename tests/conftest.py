"""What all tests share: one thread and no time limits, and the browser for those that look at pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from tests.browsing import address, browser, browser_file, pages_tested, reader, site, visit
from tests.playground import in_browser, modules_page, node

__all__ = ["address", "browser", "in_browser", "modules_page", "node", "reader", "site", "visit"]

# A slow machine is no failure; and the same examples everywhere make a failure one that can be repeated.
settings.register_profile("book", deadline=None, derandomize=True, database=None, max_examples=50)
settings.load_profile("book")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Small networks gain nothing from threads, and lose much where other programs compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_report_header() -> list[str]:
    """Say which browser and which pages the tests of the pages take, if they run."""
    return [f"browser: {browser_file() or 'none was found'}", f"pages: {pages_tested()}"]

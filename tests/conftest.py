"""What all tests share: one thread and no time limits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

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

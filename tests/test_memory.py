"""Freed memory stays with the process, unless somebody has decided otherwise."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator
from unittest.mock import Mock

import pytest

from gan_helpers import _memory as memory

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="The C library is not GNU's.")

# Takes four blocks of 20 MB, frees them, and asks how much the library has kept.
STEPS = """
import ctypes, torch
from gan_helpers._memory import keep_freed_memory
print(keep_freed_memory() if {asked} else None)
class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    _fields_ = [(name, ctypes.c_int) for name in names]
library = ctypes.CDLL(None)
library.mallinfo.restype = Info
blocks = [torch.ones(5_000_000) for _ in range(4)]
del blocks
print(library.mallinfo().fordblks)
"""


def kept(asked: bool) -> tuple[str, int]:
    program = STEPS.format(asked=asked)
    said, free = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    return said, int(free)


@needs_glibc
def test_what_a_step_frees_is_there_for_the_next_one() -> None:
    said, free = kept(asked=True)
    assert said == "True"
    assert free > 80_000_000
    assert kept(asked=False)[1] < 20_000_000


@pytest.fixture
def unasked() -> Iterator[None]:
    memory.keep_freed_memory.cache_clear()
    yield
    memory.keep_freed_memory.cache_clear()


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"])
def test_who_has_set_it_is_left_alone(monkeypatch: pytest.MonkeyPatch, name: str, unasked: None) -> None:
    monkeypatch.setenv(name, "131072")
    assert memory.keep_freed_memory() is False


@pytest.mark.parametrize("error", [OSError, TypeError])
def test_another_c_library_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], unasked: None
) -> None:
    monkeypatch.setattr(memory.ctypes, "CDLL", Mock(side_effect=error))
    assert memory.keep_freed_memory() is False

"""Freed memory stays with the process, unless somebody has decided otherwise."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from gan_helpers import _memory as memory

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="The C library is not GNU's.")

# Takes and frees blocks of 0.2 to 0.6 MB, as a step of training does, and counts the pages that it is given.
STEPS = """
import resource, torch
from gan_helpers._memory import keep_freed_memory
print(keep_freed_memory() if {asked} else None)
def step():
    return [torch.ones(50_000 * (1 + i % 3)) for i in range(30)]
for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(asked: bool) -> tuple[str, int]:
    program = STEPS.format(asked=asked)
    said, faults = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    return said, int(faults)


@needs_glibc
def test_a_step_gets_its_memory_back_without_new_pages() -> None:
    said, faults = pages(asked=True)
    assert said == "True"
    assert faults < 1_000  # of some 130,000
    assert pages(asked=False)[1] > 10 * faults + 10_000


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"])
def test_who_has_set_it_is_left_alone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "131072")
    memory.keep_freed_memory.cache_clear()
    assert memory.keep_freed_memory() is False
    memory.keep_freed_memory.cache_clear()


@pytest.mark.parametrize("error", [OSError, TypeError])
def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def refuses(_: object) -> None:
        raise error

    monkeypatch.setattr(memory.ctypes, "CDLL", refuses)
    memory.keep_freed_memory.cache_clear()
    assert memory.keep_freed_memory() is False
    memory.keep_freed_memory.cache_clear()

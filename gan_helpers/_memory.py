"""Keeps the memory that one step frees for the next one.

A step of training frees some megabytes and the next step wants them back. The C library of Linux returns such
blocks to the kernel at once, and the kernel clears each page anew before it hands it out again: for tensors
of a megabyte that takes as long as the arithmetic. So it is asked to keep them.
"""

from __future__ import annotations

import ctypes
import functools
import os

# The numbers that malloc.h of the GNU C library gives to these settings.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_BLOCK = 32 * 2**20  # bytes; the library accepts no larger threshold
KEPT = 2**31 - 1  # bytes: all that a program here frees


@functools.cache
def keep_freed_memory() -> bool:
    """Ask the C library, once in a process, to keep blocks of up to 32 MB that are freed.

    Who has set ``MALLOC_TRIM_THRESHOLD_`` or ``MALLOC_MMAP_THRESHOLD_`` in the environment is left alone.

    Returns:
        Whether it does so now; False where the C library is not GNU's.

    References:
        The manual of the GNU C library, mallopt(3). https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    if {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys():
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  (other libraries have a mallopt that does nothing)
        settings = ((M_MMAP_THRESHOLD, LARGEST_BLOCK), (M_TRIM_THRESHOLD, KEPT))
        return all([library.mallopt(name, value) == 1 for name, value in settings])
    except (AttributeError, OSError, TypeError):  # not the GNU C library; TypeError on Windows
        return False

"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed: no lock is needed
    fcntl = None  # type: ignore[assignment]

#: What file systems answer that cannot sync at all, in contrast to a disk that is full or broken.
NOT_OFFERED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Put ``content`` in the place of what is at ``path``, in one move that survives a loss of power.

    It is written beside the old file first. Whatever stops the program, at whatever moment, leaves the old
    file or the new one.

    Args:
        path: the file; its folder has to exist.
        content: all of it.

    Raises:
        OSError: if it cannot be written; the old file is then as it was.
    """
    path = Path(path)
    _sweep(path)
    with beside(path) as file:
        file.write(content)
        file.flush()
        _sync(file)
        if fcntl is None:
            file.close()  # Windows moves no open file
        os.replace(file.name, path)
    if os.name == "posix":
        with suppress(OSError):  # not all can: the file is in its place already
            _sync_folder(path.parent)


@contextmanager
def beside(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path``, which is locked as long as its writer lives, if it can be.

    Args:
        path: the file that it is to replace.

    Raises:
        OSError: if there can be no such file. An error inside the block removes it.
    """
    with (path.parent / f".{path.name}.{secrets.token_hex(8)}.part").open("xb") as file:
        try:
            if fcntl is not None:
                with suppress(OSError):  # not all know locks, which only keep others from sweeping
                    fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        except BaseException:
            file.close()
            Path(file.name).unlink(missing_ok=True)
            raise


def _sweep(path: Path) -> None:
    """Remove the temporary files of writers that died; those of living ones are locked."""
    for stale in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with suppress(OSError), stale.open("rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stale.unlink()


def _sync(file: BinaryIO) -> None:
    """Bring what was written to the disk, where a file system offers that."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in NOT_OFFERED:
            raise


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)

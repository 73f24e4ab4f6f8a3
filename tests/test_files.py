"""A file is written whole or not at all, on file systems that offer little too."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from gan_helpers import files
from gan_helpers.files import write_whole


def failing(code: int, kind: str) -> Any:
    """Return an ``fsync`` that fails for files, or for folders."""

    def fsync(number: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{number}") == (kind == "folder"):
            raise OSError(code, os.strerror(code))

    return fsync


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"old")
    return tmp_path / "file"


def test_a_file_is_replaced(path: Path) -> None:
    write_whole(path, b"new")
    write_whole(str(path), b"newer")
    assert path.read_bytes() == b"newer" and os.listdir(path.parent) == ["file"]


@pytest.mark.skipif(files.fcntl is None, reason="this system has no locks")
@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS])
def test_protections_that_a_file_system_does_not_offer_are_done_without(
    code: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.fcntl, "flock", no_locks)
    monkeypatch.setattr(files.os, "fsync", failing(code, "folder"))
    write_whole(path, b"new")
    monkeypatch.setattr(files.os, "fsync", failing(errno.EINVAL, "file"))
    write_whole(path, b"newer")
    assert path.read_bytes() == b"newer" and os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_what_could_not_be_written_is_an_error_and_the_old_file_stays(
    code: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.os, "fsync", failing(code, "file"))
    with pytest.raises(OSError, match=os.strerror(code)):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(path.parent) == ["file"]


def test_what_dead_writers_left_is_swept_and_the_file_of_a_living_one_is_not(path: Path) -> None:
    with files.beside(path) as file:
        file.write(b"half")
        if files.fcntl is not None:
            write_whole(path, b"new")
            assert Path(file.name).exists()
        os.replace(file.name, path.with_name("done"))
    for name in (".file.dead.part", ".another.dead.part"):
        path.with_name(name).write_bytes(b"of a dead one")
    write_whole(path, b"newer")
    assert sorted(os.listdir(path.parent)) == [".another.dead.part", "done", "file"]

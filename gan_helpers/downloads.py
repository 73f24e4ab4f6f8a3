"""Files from the network, verified before they are kept and at each use, and never waited for long.

A file is known by the bytes in it, and not by how they were packed: a mirror may pack them anew, and a folder
may hold them packed by gzip or as they are.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import re
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

from gan_helpers import _checks
from gan_helpers.progress import someone_is_watching, tqdm

log = logging.getLogger("gan_helpers")

TIMEOUT = 15.0  # seconds for the next PIECE, or for all before the first, after which a mirror is given up
PIECE = 2**16  # bytes
SLACK = 2**16  # bytes that a packed file may have more than what is in it
LOOPBACK = ("127.0.0.1", "::1")  # this machine itself: here alone plain http will do


@dataclass(frozen=True)
class File:
    """A file and what must be in it, once it is unpacked.

    Args:
        name: its file name, to which ``.gz`` is added where it is packed.
        size: its bytes. A packed file may have a few more and no more than that.
        checksum: the SHA-256 of these bytes, in hexadecimal digits.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if ``size`` is below 1, or the checksum is none.
    """

    name: str
    size: int
    checksum: str

    def __post_init__(self) -> None:
        """Check the arguments."""
        _checks.text("name", self.name)
        _checks.whole("size", self.size)
        if not re.fullmatch("[0-9a-f]{64}", _checks.text("checksum", self.checksum)):
            raise ValueError(f"checksum must be 64 hexadecimal digits, not {self.checksum!r}.")


class UnavailableError(OSError):
    """A file can't be had; the message says where it was looked for, and what was wrong there."""


class _RefusedError(ValueError):
    """A mirror is left; the message says in a few words why."""


def read(path: str | os.PathLike[str], file: File) -> bytearray:
    """Return what is in a file, packed by gzip or not, after checking that it is what it should be.

    Args:
        path: where it is, whatever it is called there.
        file: what must be in it. No more than its size is unpacked, whatever the content says.

    Raises:
        TypeError: if an argument is of the wrong type.
        OSError: if there is no such file, or it can't be read.
        ValueError: if something else is in it.
    """
    _checks.instance("file", file, File)
    with open(_checks.path("path", path), "rb") as stream:
        too_long = os.fstat(stream.fileno()).st_size > file.size + SLACK
        content = bytearray() if too_long else _unpacked(stream, file.size)
    if len(content) != file.size or hashlib.sha256(content).hexdigest() != file.checksum:
        raise ValueError(
            f"{path} must hold {file.size:,} bytes with the SHA-256 {file.checksum}, packed by gzip or not, "
            "and does not: it is damaged, or another file."
        )
    return content


def _unpacked(raw: BinaryIO, size: int) -> bytearray:
    """Return the bytes of a file without its packing: of more than ``size`` one more, and none if damaged."""
    packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    stream: Any = gzip.GzipFile(fileobj=raw) if packed else raw
    content, found = bytearray(size + 1), 0
    with memoryview(content) as view:
        try:
            # Piece by piece: all at once it would be in memory twice.
            while read := stream.readinto(view[found : found + PIECE]):
                found += read
        except (gzip.BadGzipFile, EOFError, zlib.error):
            found = 0
    del content[found:]
    return content


def fetch(files: Sequence[File], mirrors: Sequence[str], folder: str | os.PathLike[str]) -> list[bytearray]:
    """Return what is in some files, from the folder that keeps them or else from a mirror.

    What the folder has already, packed or not, is verified and taken. What it lacks is downloaded packed,
    verified and kept there; where that replaces a damaged file, a line says so.

    Args:
        files: what is wanted.
        mirrors: https addresses of folders that hold the packed files, tried in this order.
        folder: where files are kept; it is made if need be.

    Raises:
        TypeError: if an argument is of the wrong type; ``mirrors`` is a sequence of addresses, not one.
        UnavailableError: if a file can't be had, or not be kept.
    """
    files = [_checks.instance(f"files[{i}]", f, File) for i, f in enumerate(_checks.sequence("files", files))]
    left, failures = _checks.texts("mirrors", mirrors), list[str]()
    folder = Path(os.path.expanduser(_checks.path("folder", folder)))

    def had(file: File) -> bytearray:
        content = _kept(file, folder)
        while content is None:
            if not left:
                raise UnavailableError("; ".join(failures) or "no mirror was given")
            try:
                content = _downloaded(file, left[0], folder)
            except _RefusedError as error:
                failures.append(f"{left.pop(0)}: {error}")
        return content

    try:
        return [had(file) for file in files]
    except UnavailableError:
        raise
    except OSError as error:  # of the folder: no other mirror would help
        raise UnavailableError(f"{folder}: {error.strerror or type(error).__name__}") from error


def _kept(file: File, folder: Path) -> bytearray | None:
    """Return what is in a file of the folder, packed or not, or None if it isn't there whole."""
    for name in (f"{file.name}.gz", file.name):
        with suppress(FileNotFoundError, ValueError):
            return read(folder / name, file)
    return None


def _downloaded(file: File, mirror: str, folder: Path) -> bytearray:
    """Return what is in a file that a mirror serves packed, which is then kept in the folder."""
    path = folder / f"{file.name}.gz"
    damaged = path.exists()
    folder.mkdir(parents=True, exist_ok=True)
    handle, unverified = tempfile.mkstemp(dir=folder)
    try:
        with open(handle, "wb") as stream:
            for piece in _pieces(f"{mirror.rstrip('/')}/{path.name}", file.size + SLACK):
                stream.write(piece)
        try:
            content = read(unverified, file)
        except ValueError as error:
            raise _RefusedError("another file than expected") from error
        os.replace(unverified, path)
    finally:
        Path(unverified).unlink(missing_ok=True)
    if damaged:
        log.warning("%s was damaged and has been fetched again.", path)
    return content


def _pieces(url: str, limit: int) -> Iterator[bytes]:
    """Yield what an address serves, at most ``limit`` bytes of it, unless it keeps us waiting.

    A thread of its own reads, since a timeout of the connection would begin anew with every single byte.
    """
    pieces: SimpleQueue[bytes | Exception | None] = SimpleQueue()
    hidden = not someone_is_watching()
    with tqdm(unit="B", unit_scale=True, desc=url.rsplit("/", 1)[1], disable=hidden) as bar:
        Thread(target=_read, args=(url, limit, pieces, bar), daemon=True).start()
        while True:
            try:
                piece = pieces.get(timeout=TIMEOUT)
            except Empty:
                raise _RefusedError("too slow") from None
            if isinstance(piece, Exception):
                raise _RefusedError(_reason(piece)) from piece
            if piece is None:
                return
            bar.update(len(piece))
            yield piece


def _read(url: str, limit: int, pieces: SimpleQueue[bytes | Exception | None], bar: tqdm[Any]) -> None:
    """Put what an address serves into a queue, and then None, or the error that ended it."""
    # It takes a while to import, and most of the book does without.
    import requests

    try:
        _refuse_unsafe(url)
        with requests.get(
            url,
            stream=True,
            headers={"Accept-Encoding": "identity"},  # the files are packed already
            timeout=2 * TIMEOUT,  # ends this thread when the other has long gone on
            hooks={"response": _refuse_redirect},
        ) as response:
            response.raise_for_status()
            bar.total = int(response.headers.get("Content-Length", 0)) or None
            for piece in response.iter_content(PIECE):
                limit -= len(piece)
                if limit < 0:
                    raise _RefusedError("more than expected")
                pieces.put(piece)
        pieces.put(None)
    except Exception as error:  # whatever it is, it is for the thread that waits
        pieces.put(error)


def _refuse_unsafe(url: str) -> None:
    """Raise unless an address is https, or one of this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise _RefusedError("not an https address")


def _refuse_redirect(response: Any, *_: object, **__: object) -> None:
    """Raise if a response sends us on to an address that is not https."""
    scheme = urlsplit(urljoin(response.url, response.headers.get("location", ""))).scheme
    if response.is_redirect and scheme != "https":
        raise _RefusedError(f"redirected to {scheme}")


def _reason(error: Exception) -> str:
    """Say in a few words why a mirror did not serve."""
    if isinstance(error, _RefusedError):
        return str(error)
    response = getattr(error, "response", None)
    return type(error).__name__ if response is None else f"status {response.status_code}"

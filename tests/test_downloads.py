"""Files come verified from a mirror or the folder that keeps them, or one error says why not."""

from __future__ import annotations

import errno
import gzip
import logging
import multiprocessing
import os
import random
import socket
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gan_helpers import downloads
from gan_helpers.downloads import File, UnavailableError
from tests.mirrors import Answer, Mirror, entry, pack
from tests.reliability import measured

CONTENTS = {name: random.Random(name).randbytes(2_000) + bytes(2_000) for name in ("one", "two", "three")}
FILES = [entry(name, content) for name, content in CONTENTS.items()]
PACKED = {f"{name}.gz": pack(content) for name, content in CONTENTS.items()}
NAMES = list(PACKED)
NOBODY = "http://127.0.0.1:9/nobody/"


@pytest.fixture
def mirror(monkeypatch) -> Iterator[Mirror]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Mirror(PACKED) as server:
        yield server


@pytest.fixture
def second(mirror) -> Iterator[Mirror]:
    with Mirror(PACKED) as server:
        yield server


def fetch(folder: Path, *mirrors: Mirror | str, files: list[File] = FILES) -> dict[str, bytes]:
    """Return what is in the files by name, which has to be right."""
    urls = [m if isinstance(m, str) else m.url for m in mirrors]
    found = {f.name: bytes(c) for f, c in zip(files, downloads.fetch(files, urls, folder), strict=True)}
    assert files is not FILES or found == CONTENTS
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_are_downloaded_once_and_verified_at_each_use(mirror, tmp_path, caplog, capfd):
    folder = tmp_path / "new" / "folder"
    fetch(folder, mirror.url.rstrip("/"), files=FILES[:1])
    (folder / "two").write_bytes(b"a reader's own")  # what is wrong and not packed stays as it is
    fetch(folder, mirror)
    assert mirror.asked == NAMES and names(folder) == sorted([*NAMES, "two"])
    fetch(folder, NOBODY)
    assert (folder / "two").read_bytes() == b"a reader's own"
    assert caplog.records == [] and capfd.readouterr() == ("", ""), "where all goes well nothing is said"


@pytest.mark.parametrize("watching", [True, False])
def test_only_people_see_a_progress_bar(watching, mirror, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(downloads, "someone_is_watching", lambda: watching)
    fetch(tmp_path, mirror)
    out, err = capfd.readouterr()
    assert out == "" and ("one.gz: 100%" in err) is watching and (watching or err == "")


# What counts is what is in a file

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda content: content,
    "packed well": lambda content: gzip.compress(content, 9, mtime=123),
    "packed not at all": lambda content: gzip.compress(content, 0),
    "packed in two": lambda content: gzip.compress(content[:99]) + gzip.compress(content[99:]),
}


@pytest.mark.parametrize("pack_anew", PACKINGS.values(), ids=PACKINGS)
@pytest.mark.parametrize("place", ["one", "one.gz", "mirror", "mirror that unpacks"])
def test_a_file_is_taken_however_it_is_packed(pack_anew, place, mirror, tmp_path):
    content = pack_anew(CONTENTS["one"])
    if place == "mirror":
        mirror.files = {"one.gz": content}
    elif place == "mirror that unpacks":
        mirror.answer = lambda request, name: mirror.send(
            request, 200, gzip.compress(content), Content_Encoding="gzip"
        )
    else:
        (tmp_path / place).write_bytes(content)
    for mirrors in ([mirror], [NOBODY]):  # from the mirror once, and after that from the folder
        assert fetch(tmp_path, *mirrors, files=FILES[:1]) == {"one": CONTENTS["one"]}
    assert names(tmp_path) == ["one" if place == "one" else "one.gz"]


CONTENT, WHOLE = CONTENTS["one"], PACKED["one.gz"]
DAMAGED = {
    "nothing": b"",
    "a page": b"<!DOCTYPE html><title>Not found</title>",
    "a byte too few": pack(CONTENT[:-1]),
    "a byte too many": pack(CONTENT + b"1"),
    "another byte": pack(CONTENT[:-1] + b"1"),
    "another byte, not packed": CONTENT[:-1] + b"1",
    "something behind it": WHOLE + b"1",
    "packed twice": pack(WHOLE),
    "no end of parts with nothing in them": gzip.compress(b"") * 4_000 + WHOLE,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_is_not_what_it_should_be_is_refused(name, tmp_path):
    (tmp_path / "some.gz").write_bytes(DAMAGED[name])
    with pytest.raises(ValueError, match="some.gz must hold 4,000 bytes with the SHA-256 [0-9a-f]{64}"):
        downloads.read(tmp_path / "some.gz", FILES[0])


@measured("bombs", "gzip files with made-up content", fast=150, slow=10_000)
def test_a_made_up_file_is_refused_or_right(effort, reached, tmp_path):
    refused = []

    @settings(max_examples=effort)
    @given(st.binary(max_size=60), st.integers(0, len(WHOLE)), st.integers(0, len(WHOLE)))
    def one(noise: bytes, start: int, length: int) -> None:
        (tmp_path / "some.gz").write_bytes(WHOLE[:start] + noise + WHOLE[start + length :])
        try:
            assert downloads.read(tmp_path / "some.gz", FILES[0]) == CONTENT
        except ValueError as error:
            assert str(error).count("some.gz must hold") == 1
            refused.append(error)

    one()
    assert len(refused) > 0.6 * effort
    reached(f"{len(refused):,} of {effort:,} refused in one line each, and all others were right")


# Small files that would fill the memory


@measured("bombs", "a file, and mirrors, that send 1 MB which becomes 1 GB, or all of it", fast=1, slow=1)
def test_what_does_not_stop_is_not_read_to_its_end(effort, reached, mirror, second, tmp_path):
    """A file of 1 MB unpacks to 1 GB; one mirror sends 1 GB, and of another's 1 MB a reader would make it."""
    bomb, images, sent, grown = 16 * gzip.compress(bytes(2**26)), File("images", 47_040_016, "0" * 64), [], []
    assert len(bomb) < 1.1 * 2**20
    (tmp_path / "bomb.gz").write_bytes(bomb)

    def endless(pieces: int, piece: bytes, encoding: str | None) -> Answer:
        def answer(request: BaseHTTPRequestHandler, name: str) -> None:
            Mirror.send(request, 200, b"", Content_Length=None, Content_Encoding=encoding)
            for _ in range(pieces):
                request.wfile.write(piece)
                sent.append(len(piece))

        return answer

    mirror.answer, second.answer = endless(2**10, bytes(2**20), None), endless(1, bomb, "gzip")
    for call, words in (
        (lambda: downloads.read(tmp_path / "bomb.gz", images), "bomb.gz must hold 47,040,016 bytes"),
        (lambda: fetch(tmp_path, mirror, files=[images]), f"^{mirror.url}: more than expected$"),
        (lambda: fetch(tmp_path, second, files=[images]), f"^{second.url}: more than expected$"),
    ):
        tracemalloc.start()
        with pytest.raises((ValueError, OSError), match=words):
            call()
        grown.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    assert 40 < grown[0] < 64 and max(grown) < 64, grown
    assert sum(sent) < 47_040_016 + 2**24, "what was on its way when the reader left"
    assert names(tmp_path) == ["bomb.gz"]
    reached(f"left after {' MB, '.join(f'{g:.0f}' for g in grown)} MB more memory")


# Mirrors that fail

Fault = Callable[[Mirror], Answer]


def sends(change: Callable[[bytes], bytes], status: int = 200, **headers: object) -> Fault:
    return lambda mirror: lambda request, name: mirror.send(request, status, change(PACKED[name]), **headers)


def flipped(body: bytes) -> bytes:
    return body[:30] + bytes([body[30] ^ 1]) + body[31:]


def raw(*pieces: bytes, wait: float = 0) -> Fault:
    """Write these bytes with a pause after each, in units of the timeout, and close the connection."""

    def fault(mirror: Mirror) -> Answer:
        def answer(request: BaseHTTPRequestHandler, name: str) -> None:
            for piece in pieces:
                request.wfile.write(piece)
                if mirror.closing.wait(wait * downloads.TIMEOUT):
                    return

        return answer

    return fault


def redirected(url: str) -> Fault:
    return sends(lambda body: b"", 302, Location=url)


HEAD = b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\n"
OTHER = "another file than expected"
FAULTS: dict[str, tuple[Fault, str]] = {
    "403": (sends(lambda body: b"<html>Sorry.</html>", 403), "status 403"),
    "a page instead of the file": (sends(lambda body: b"<html>Please log in to this network.</html>"), OTHER),
    "a file cut short": (sends(lambda body: body[:-5]), OTHER),
    "a connection cut short": (raw(HEAD, b"1"), "ChunkedEncodingError"),
    "a flipped bit": (sends(flipped), OTHER),
    "too many bytes": (sends(lambda body: body + bytes(2**17)), "more than expected"),
    "a length that is a lie": (sends(lambda body: body, Content_Length=10), OTHER),
    "a packing that is a lie": (sends(flipped, Content_Encoding="deflate"), "ContentDecodingError"),
    "no answer": (raw(b"", wait=99), "too slow"),
    "a stall": (raw(HEAD, wait=99), "too slow"),
    # Never silent for long, and never done.
    "a drip": (raw(HEAD, *[b"1"] * 90, wait=1 / 40), "too slow"),
    "a drip before the file": (raw(HEAD[:17], *[b"X: wait\r\n"] * 90, wait=1 / 40), "too slow"),
    "a redirect to http on this machine": (redirected("http://127.0.0.1:9/mnist.gz"), "redirected to http"),
    "a redirect to another folder": (redirected("/other/mnist.gz"), "redirected to http"),
    "a redirect to another host": (redirected("//example.org/mnist.gz"), "redirected to http"),
    "a redirect to a file": (redirected("file:///etc/hostname"), "redirected to file"),
}


@measured("download", "three mirrors with the same fault, one fault after the other", fast=0.4, slow=15)
def test_mirrors_that_fail_are_left_in_a_few_words(effort, reached, mirror, tmp_path, monkeypatch):
    """The effort is the timeout in seconds."""
    monkeypatch.setattr(downloads, "TIMEOUT", effort)
    took = []
    for name, (fault, reason) in FAULTS.items():
        mirror.answer = fault(mirror)
        mirror.asked.clear()
        start = time.monotonic()
        with pytest.raises(UnavailableError) as caught:
            fetch(tmp_path, mirror, mirror, mirror)
        took.append(time.monotonic() - start)
        assert str(caught.value) == "; ".join(3 * [f"{mirror.url}: {reason}"]), name
        assert mirror.asked == 3 * NAMES[:1] and names(tmp_path) == [], f"{name}: nothing half done is left"
    assert max(took) < 60
    reached(f"{len(took)} of {len(FAULTS)} end in one clear line after at most {max(took):.0f} s")


def test_a_redirect_to_https_is_followed(mirror, tmp_path):
    """It leads to a server that does not speak https."""
    mirror.answer = redirected(f"https{mirror.url[4:]}")(mirror)
    with pytest.raises(UnavailableError, match="SSLError"):
        fetch(tmp_path, mirror)


def test_a_mirror_that_fails_half_way_is_followed_by_the_next(mirror, second, tmp_path, caplog):
    mirror.answer = lambda request, name: (
        mirror.serve(request, name) if name == NAMES[0] else mirror.send(request, 404, b"")
    )
    fetch(tmp_path, mirror, second)
    assert (mirror.asked, second.asked) == (NAMES[:2], NAMES[1:]), "neither file nor mirror is tried again"
    assert names(tmp_path) == sorted(NAMES) and caplog.records == []


UNSAFE = "not an https address"
ADDRESSES = {
    "ftp//x": UNSAFE,
    "http://": UNSAFE,
    "http://[": "ValueError",
    "https://": "InvalidURL",
    "file:///etc/": UNSAFE,
    "http://localhost:9/": UNSAFE,
    "http://127.0.0.1.example.org/": UNSAFE,
    NOBODY: "ConnectionError",
}


def test_nothing_is_asked_of_an_address_without_https_and_all_are_named(tmp_path, monkeypatch):
    asked, look_up = [], socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: asked.append(a[0]) or look_up(*a, **k))
    with pytest.raises(UnavailableError) as caught:
        fetch(tmp_path, *ADDRESSES)
    assert str(caught.value) == "; ".join(f"{url}: {reason}" for url, reason in ADDRESSES.items())
    assert set(asked) == {"127.0.0.1"}
    with pytest.raises(UnavailableError, match="^no mirror was given$"):
        fetch(tmp_path)


# A folder that is damaged, can't be written, or that several write at once


def damaged(name: str, chance: random.Random) -> bytes:
    """Return a packed file with another checksum or content, cut, or with more behind it."""
    packed, content = PACKED[name], CONTENTS[name[:-3]]
    place = chance.randrange(len(content))
    other = content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]
    return chance.choice((packed[:-8] + b"12345678", pack(other), packed[: place // 4], packed + b"1"))


@measured("cache", "a file damaged at random", fast=20, slow=1_000)
def test_a_damaged_file_is_fetched_again(effort, reached, mirror, tmp_path, caplog):
    fetch(tmp_path, mirror)
    chance = random.Random(0)
    for _ in range(effort):
        name = chance.choice(NAMES)
        (tmp_path / name).write_bytes(damaged(name, chance))
        for asked in ([name], []):
            mirror.asked.clear()
            caplog.clear()
            fetch(tmp_path, mirror)
            assert mirror.asked == asked
            notices = [f"{tmp_path / name} was damaged and has been fetched again." for name in asked]
            assert [record.getMessage() for record in caplog.records] == notices
    reached(f"{effort} of {effort} found, fetched again, and said so")


def test_a_folder_that_is_read_only_is_read_and_if_that_is_not_enough_named(mirror, tmp_path, monkeypatch):
    def denied(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    fetch(tmp_path, mirror)
    monkeypatch.setattr(tempfile, "mkstemp", denied)
    fetch(tmp_path, NOBODY)
    for spoil in (lambda file: file.write_bytes(b"damaged"), Path.unlink):
        spoil(tmp_path / NAMES[2])
        before = names(tmp_path)
        with pytest.raises(UnavailableError, match=f"^{tmp_path}: Permission denied$"):
            fetch(tmp_path, mirror)
        assert names(tmp_path) == before


def test_a_place_where_nothing_can_be_stored_is_named(mirror, second, tmp_path):
    """Another mirror would not help. That no file may be longer than 4 kB is a full disk any user can try."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnavailableError, match="cache: Not a directory$"):
        fetch(tmp_path / "file" / "cache", mirror, second)
    assert mirror.asked == []
    resource = pytest.importorskip("resource", reason="this system has no such limit")
    content = os.urandom(2**20)
    mirror.files = {"large.gz": pack(content)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(UnavailableError, match="cache: File too large$"):
            fetch(tmp_path / "cache", mirror, second, files=[entry("large", content)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert second.asked == [] and names(tmp_path / "cache") == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork a process")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@measured("cache", "processes that fetch and repair it at once", fast=4, slow=16)
def test_processes_at_once_all_get_the_files(effort, reached, mirror, tmp_path):
    """They start together and the mirror is slow, so that each finds the others at work."""
    fetch(tmp_path, mirror)
    (tmp_path / NAMES[0]).unlink()
    (tmp_path / NAMES[1]).write_bytes(b"damaged")
    mirror.asked.clear()
    mirror.answer = lambda request, name: (time.sleep(0.3), mirror.serve(request, name))[0]
    fork = multiprocessing.get_context("fork")
    start, results = fork.Barrier(effort), fork.Queue()

    def work() -> None:
        said = StringIO()
        logging.getLogger("gan_helpers").handlers = [logging.StreamHandler(said)]
        start.wait()
        fetch(tmp_path, mirror)
        results.put(said.getvalue().splitlines())

    workers = [fork.Process(target=work) for _ in range(effort)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(timeout=60)
    notice = f"{tmp_path / NAMES[1]} was damaged and has been fetched again."
    assert {line for said in found for line in said} <= {notice}
    assert mirror.asked.count(NAMES[0]) > 1, "they were at it together"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == PACKED
    reached(f"{len(found)} of {effort} have all files, and all files are whole")

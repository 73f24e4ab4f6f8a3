"""Files come verified from a mirror or the folder that keeps them, or one error says why not."""

from __future__ import annotations

import gzip
import logging
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from io import StringIO
from pathlib import Path
from typing import Any

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


CONTENT = CONTENTS["one"]
WHOLE = pack(CONTENT)
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
    with pytest.raises(
        ValueError, match=r"some.gz must hold 4,000 bytes with the SHA-256 [0-9a-f]{64}, .*damaged"
    ):
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

SCRIPT = """
import sys
from pathlib import Path
from gan_helpers import downloads
import requests

def memory(which):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which)) / 1024

file = downloads.File("images", 47_040_016, "0" * 64)
bomb, folder, *mirrors = sys.argv[1:]
for call in (
    lambda: downloads.read(bomb, file), *(lambda m=m: downloads.fetch([file], [m], folder) for m in mirrors)
):
    Path("/proc/self/clear_refs").write_text("5")  # the highest amount is counted anew from here
    before = memory("VmRSS")
    try:
        call()
    except (ValueError, OSError) as error:
        print(memory("VmHWM") - before, error)
"""


@measured("bombs", "a file, and mirrors, that send 1 MB which becomes 1 GB, or all of it", fast=1, slow=1)
def test_what_does_not_stop_is_not_read_to_its_end(effort, reached, mirror, second, tmp_path):
    """A file of 1 MB unpacks to 1 GB; one mirror sends 1 GB, and of another's 1 MB a reader would make it."""
    # Not getrusage, in which a process begins at the highest amount of the one that started it.
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system does not say how much memory a process has used")
    bomb, sent = 16 * gzip.compress(bytes(2**26)), []
    assert len(bomb) < 1.1 * 2**20
    (tmp_path / "bomb.gz").write_bytes(bomb)

    def sends(pieces: int, piece: bytes, encoding: str | None) -> Answer:
        def answer(request: BaseHTTPRequestHandler, name: str) -> None:
            Mirror.send(request, 200, b"", Content_Length=None, Content_Encoding=encoding)
            for _ in range(pieces):
                request.wfile.write(piece)
                sent.append(len(piece))

        return answer

    mirror.answer, second.answer = sends(2**10, bytes(2**20), None), sends(1, bomb, "gzip")
    arguments = [tmp_path / "bomb.gz", tmp_path / "folder", mirror.url, second.url]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    grown, errors = zip(*(line.split(" ", 1) for line in done.stdout.splitlines()), strict=True)
    assert "bomb.gz must hold 47,040,016 bytes" in errors[0]
    assert errors[1:] == tuple(f"{m.url}: more than expected" for m in (mirror, second))
    assert 40 < float(grown[0]) < 64 and max(map(float, grown)) < 64, grown
    assert sum(sent) < 47_040_016 + 2**24, "what was on its way when the reader left"
    assert names(tmp_path / "folder") == []
    reached(f"left after {' MB, '.join(f'{float(g):.0f}' for g in grown)} MB more memory")


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
    "503": (sends(lambda body: b"<html>Sorry.</html>", 503), "status 503"),
    "a page instead of the file": (sends(lambda body: b"<html>Please log in to this network.</html>"), OTHER),
    "a file cut short": (sends(lambda body: body[:-5]), OTHER),
    "a connection cut short": (raw(HEAD, b"1"), "ChunkedEncodingError"),
    "a flipped bit": (sends(flipped), OTHER),
    "nothing": (sends(lambda body: b""), OTHER),
    "too many bytes": (sends(lambda body: body + bytes(2**17)), "more than expected"),
    "a length that is a lie": (sends(lambda body: body, Content_Length=10), OTHER),
    "a packing that is a lie": (sends(flipped, Content_Encoding="deflate"), "ContentDecodingError"),
    "no answer": (raw(b"", wait=99), "too slow"),
    "a stall": (raw(HEAD, wait=99), "too slow"),
    # Never silent for long, and never done.
    "a drip": (raw(HEAD, *[b"1"] * 90, wait=1 / 40), "too slow"),
    "a drip before the file": (raw(HEAD[:17], *[b"X: wait\r\n"] * 90, wait=1 / 40), "too slow"),
    "a redirect to http": (redirected("http://example.org/mnist.gz"), "redirected to http"),
    "a redirect to http on this machine": (redirected("http://127.0.0.1:9/mnist.gz"), "redirected to http"),
    "a redirect to another folder": (redirected("/other/mnist.gz"), "redirected to http"),
    "a redirect to another host": (redirected("//example.org/mnist.gz"), "redirected to http"),
    "a redirect to a file": (redirected("file:///etc/hostname"), "redirected to file"),
    # It is followed: here to a server that does not speak https.
    "a redirect to https": (lambda mirror: redirected(f"https{mirror.url[4:]}")(mirror), "SSLError"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_mirror_that_fails_is_left_in_a_few_words(fault, mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.4)  # where readers would wait for a quarter of a minute
    answer, reason = FAULTS[fault]
    mirror.answer = answer(mirror)
    start = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        fetch(tmp_path, mirror)
    assert str(caught.value) == f"{mirror.url}: {reason}"
    assert time.monotonic() - start < 10
    assert mirror.asked == NAMES[:1] and names(tmp_path) == [], "nothing half done is left"


@pytest.mark.reliability("download", "three mirrors with the same fault, one fault after the other")
def test_readers_do_not_wait_for_long(reached, mirror, tmp_path):
    took = []
    for fault, reason in FAULTS.values():
        with Mirror(PACKED) as a, Mirror(PACKED) as b:
            for each in (a, b, mirror):
                each.answer = fault(each)
            start = time.monotonic()
            with pytest.raises(UnavailableError) as caught:
                fetch(tmp_path, a, b, mirror)
            took.append(time.monotonic() - start)
        assert str(caught.value).count(reason) == 3 and names(tmp_path) == []
    assert max(took) < 60
    reached(f"{len(took)} of {len(FAULTS)} end in one clear line after at most {max(took):.0f} s")


def test_a_mirror_that_fails_half_way_is_followed_by_the_next(mirror, second, tmp_path, caplog):
    mirror.answer = lambda request, name: (
        mirror.serve(request, name) if name == NAMES[0] else mirror.send(request, 404, b"")
    )
    fetch(tmp_path, mirror, second)
    assert (mirror.asked, second.asked) == (NAMES[:2], NAMES[1:]), "neither file nor mirror is tried again"
    assert names(tmp_path) == sorted(NAMES) and caplog.records == []


def test_all_mirrors_are_named_or_that_there_is_none(tmp_path):
    for urls, words in ((["a", "b"], "a: not an https address; b: not an https address"), ([], "no mirror")):
        with pytest.raises(UnavailableError, match=f"^{words}"):
            fetch(tmp_path, *urls)


UNSAFE = "not an https address"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp//x", UNSAFE),
        ("http://", UNSAFE),
        ("http://[", "ValueError"),
        ("https://", "InvalidURL"),
        ("file:///etc/", UNSAFE),
        ("http://localhost:9/", UNSAFE),
        ("http://127.0.0.1.example.org/", UNSAFE),
        (NOBODY, "ConnectionError"),
    ],
)
def test_nothing_is_asked_of_an_address_without_https(url, reason, tmp_path, monkeypatch):
    if url != NOBODY:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args: pytest.fail("a name is looked up"))
    with pytest.raises(UnavailableError) as caught:
        fetch(tmp_path, url)
    assert str(caught.value) == f"{url}: {reason}"


# A folder that is damaged, can't be written, or that several write at once


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Return a file with a bit turned over, a piece cut off, or other content."""
    place = chance.randrange(len(content))
    turned = bytes([content[place] ^ (1 << chance.randrange(8))])
    return chance.choice(
        (content[:place] + turned + content[place + 1 :], content[:place], content + b"1", b"something else")
    )


def is_whole(packed: bytes, content: bytes) -> bool:
    """Whether a file is as good as before: a bit turned over in its date, say, changes nothing in it."""
    try:
        return gzip.decompress(packed) == content
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return False


@measured("cache", "a file damaged at random", fast=20, slow=1_000)
def test_a_damaged_file_is_fetched_again(effort, reached, mirror, tmp_path, caplog):
    fetch(tmp_path, mirror)
    chance, found = random.Random(0), 0
    for _ in range(effort):
        name = chance.choice(NAMES)
        (tmp_path / name).write_bytes(damaged(PACKED[name], chance))
        whole = is_whole((tmp_path / name).read_bytes(), CONTENTS[name[:-3]])
        mirror.asked.clear()
        caplog.clear()
        fetch(tmp_path, mirror)
        assert mirror.asked == [name] * (not whole)
        notice = f"{tmp_path / name} was damaged and has been fetched again."
        assert [record.getMessage() for record in caplog.records] == [notice] * (not whole)
        found += not whole
    mirror.asked.clear()
    fetch(tmp_path, mirror)
    assert mirror.asked == []
    reached(f"{found} of {effort} found, fetched again, and said so; in the others no content had changed")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take the right to write into a folder away, from a user who may write everywhere too."""
    nobody, user = 65534, os.geteuid()
    folder.chmod(0o555)
    if user == 0:
        os.seteuid(nobody)
    try:
        if not os.access(downloads.__file__, os.R_OK, effective_ids=True):
            pytest.skip("The package lies where no other user may look.")
        yield
    finally:
        if user == 0:
            os.seteuid(user)
        folder.chmod(0o755)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may look into, unlike ``tmp_path``."""
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has no such rights")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_folder_that_is_read_only_is_read_and_if_that_is_not_enough_named(public, mirror):
    fetch(public, mirror)
    for file in public.iterdir():
        file.chmod(0o644)
    with read_only(public):
        fetch(public, NOBODY)
    for spoil in (lambda file: file.write_bytes(b"damaged"), Path.unlink):
        spoil(public / NAMES[2])
        before = names(public)
        with read_only(public), pytest.raises(UnavailableError, match=f"^{public}: Permission denied$"):
            fetch(public, mirror)
        assert names(public) == before
    fetch(public, mirror)  # as soon as it may be written it is put right


def test_a_place_where_nothing_can_be_stored_is_named(mirror, second, tmp_path):
    """Another mirror would not help. That no file may be longer than 4 kB is a full disk any user can try."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnavailableError, match="cache: Not a directory$"):
        fetch(tmp_path / "file" / "cache", mirror, second)
    assert mirror.asked == second.asked == []
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


def fetch_in_a_process(mirror: Mirror, folder: Path, start: Any, results: Any) -> None:
    """Fetch the files when the others do too, and tell what was said."""
    said = StringIO()
    logging.getLogger("gan_helpers").handlers = [logging.StreamHandler(said)]
    start.wait()
    fetch(folder, mirror)
    results.put(said.getvalue().splitlines())


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
    arguments = (mirror, tmp_path, start, results)
    workers = [fork.Process(target=fetch_in_a_process, args=arguments) for _ in range(effort)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(timeout=60)
    assert [worker.exitcode for worker in workers] == [0] * effort
    notice = f"{tmp_path / NAMES[1]} was damaged and has been fetched again."
    assert {line for said in found for line in said} <= {notice}
    assert mirror.asked.count(NAMES[0]) > 1, "they were at it together"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == PACKED
    reached(f"{len(found)} of {effort} have all files, and all files are whole")

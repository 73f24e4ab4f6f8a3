"""The full set comes verified from a mirror or the cache, or is done without; one line says which."""

from __future__ import annotations

import gzip
import importlib
import logging
import multiprocessing
import os
import random
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from mirrors import NAMES, Answer, Mirror, entry, publish

from gan_helpers import mnist
from tests.reliability import measured

SHAPES = ((60, 28, 28), (60,), (10, 28, 28), (10,))


@pytest.fixture
def small(monkeypatch) -> dict[str, bytes]:
    """The four files at a size that is quick to make, with their checksums."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return publish(monkeypatch, SHAPES)


@pytest.fixture
def mirror(small) -> Iterator[Mirror]:
    server = Mirror(small)
    yield server
    server.close()


@pytest.fixture
def second(small) -> Iterator[Mirror]:
    server = Mirror(small)
    yield server
    server.close()


def load(cache: Path, *mirrors: Mirror | str) -> mnist.Mnist:
    urls = [m if isinstance(m, str) else m.url for m in mirrors]
    return mnist.load(full=True, device="cpu", cache=cache, mirrors=urls)


def is_full(digits: mnist.Mnist) -> bool:
    """Whether it is the (small) full set; it has to be one or the other."""
    sizes = len(digits.train), len(digits.test)
    assert sizes in ((60, 10), (8_000, 2_000))
    return sizes == (60, 10)


def test_the_full_set_is_downloaded_once_and_verified_at_each_load(mirror, small, tmp_path, caplog, capfd):
    first = load(tmp_path / "new" / "folder", mirror)
    assert is_full(first)
    assert mirror.asked == NAMES
    again = load(tmp_path / "new" / "folder", "http://127.0.0.1:9/nobody/")
    assert again.train.images.equal(first.train.images)
    pixels = gzip.decompress(small[NAMES[0]])[16:]
    assert first.train.images.mul(255).round().to(torch.uint8).numpy().tobytes() == pixels
    assert first.test.labels.tolist() == list(gzip.decompress(small[NAMES[3]])[8:])
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == sorted(NAMES)
    assert caplog.records == [] and capfd.readouterr() == ("", ""), "where all goes well nothing is said"


FASHION = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.skipif(not FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
@measured("download", "real sets of 60,000 and 10,000 images", fast=1, slow=1)
def test_a_real_set_of_the_real_size_arrives(effort, reached, monkeypatch, tmp_path, caplog):
    """Fashion-MNIST has MNIST's format, its file names and its 60,000 + 10,000 images, of clothes."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    files = {name: (FASHION / name).read_bytes() for name in NAMES}
    entries = tuple(entry(files[file.name], file.shape, file.name) for file in mnist.FULL)
    monkeypatch.setattr(mnist, "FULL", entries)
    server = Mirror(files)
    clothes = load(tmp_path, server)
    server.close()
    assert caplog.records == []
    assert clothes.train.images.shape == (60_000, 784) and clothes.test.images.shape == (10_000, 784)
    assert clothes.train.labels.bincount().tolist() == [6_000] * 10
    assert clothes.test.labels.bincount().tolist() == [1_000] * 10
    pixels = gzip.decompress(files[NAMES[0]])[16:]
    assert clothes.train.images.mul(255).round().to(torch.uint8).numpy().tobytes() == pixels
    # A bag (8) is a block, a trouser (1) two columns with a gap: a column of the middle tells them apart.
    bags, trousers = (clothes.train[clothes.train.labels == k].images.mean(0).view(28, 28) for k in (8, 1))
    assert bags[20, 13:15].mean() > 2 * trousers[20, 13:15].mean()
    reached(f"all {len(clothes.train) + len(clothes.test):,} images are there to the last pixel")


def test_an_address_may_end_with_a_slash_or_not(mirror, tmp_path):
    assert is_full(load(tmp_path, mirror.url.rstrip("/")))


@pytest.mark.parametrize("watching", [True, False])
def test_only_people_see_a_progress_bar(watching, mirror, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(mnist, "someone_is_watching", lambda: watching)
    load(tmp_path, mirror)
    out, err = capfd.readouterr()
    assert out == ""
    assert ("100%" in err) is watching
    assert watching or err == ""


# Mirrors that fail

Fault = Callable[[Mirror], Answer]


def status(code: int) -> Fault:
    return lambda mirror: lambda request, name: mirror.send(request, code, b"<html>Sorry.</html>")


def html(mirror: Mirror) -> Answer:
    return lambda request, name: mirror.send(request, 200, b"<html>Please log in to this network.</html>")


def changed(change: Callable[[bytes], bytes], **headers: object) -> Fault:
    return lambda mirror: (
        lambda request, name: mirror.send(request, 200, change(mirror.files[name]), **headers)
    )


def flipped(body: bytes) -> bytes:
    return body[:30] + bytes([body[30] ^ 1]) + body[31:]


def interrupted(mirror: Mirror) -> Answer:
    def answer(request: BaseHTTPRequestHandler, name: str) -> None:
        body = mirror.files[name]
        mirror.send(request, 200, body[:-5], Content_Length=len(body))

    return answer


def silent(mirror: Mirror) -> Answer:
    return lambda request, name: mirror.closing.wait()


def stalling(mirror: Mirror) -> Answer:
    def answer(request: BaseHTTPRequestHandler, name: str) -> None:
        body = mirror.files[name]
        mirror.send(request, 200, body[:100], Content_Length=len(body))
        mirror.closing.wait()

    return answer


def dripping(mirror: Mirror) -> Answer:
    """Never silent for long, and never done: a byte now and a byte then."""

    def answer(request: BaseHTTPRequestHandler, name: str) -> None:
        body = mirror.files[name]
        mirror.send(request, 200, b"", Content_Length=len(body))
        for k in range(len(body)):
            request.wfile.write(body[k : k + 1])
            if mirror.closing.wait(mnist.TIMEOUT / 60):
                return

    return answer


def dripping_headers(mirror: Mirror) -> Answer:
    def answer(request: BaseHTTPRequestHandler, name: str) -> None:
        request.send_response(200)
        for k in range(90):
            request.send_header(f"X-{k}", "wait")
            request.flush_headers()
            if mirror.closing.wait(mnist.TIMEOUT / 60):
                return

    return answer


def redirected(url: str) -> Fault:
    return lambda mirror: lambda request, name: mirror.send(request, 302, b"", Location=url)


OTHER = "another file than expected"
FAULTS: dict[str, tuple[Fault, str]] = {
    "403": (status(403), "status 403"),
    "404": (status(404), "status 404"),
    "503": (status(503), "status 503"),
    "a page instead of the file": (html, OTHER),
    "a file cut short": (changed(lambda body: body[:-5]), OTHER),
    "a connection cut short": (interrupted, "ChunkedEncodingError"),
    "a flipped bit": (changed(flipped), OTHER),
    "nothing": (changed(lambda body: b""), OTHER),
    "a byte too many": (changed(lambda body: body + b"1"), "more than expected"),
    "a length that is a lie": (changed(lambda body: body, Content_Length=10), OTHER),
    "a packing that is a lie": (changed(flipped, Content_Encoding="deflate"), "ContentDecodingError"),
    "no answer": (silent, "too slow"),
    "a stall": (stalling, "too slow"),
    "a drip": (dripping, "too slow"),
    "a drip before the file": (dripping_headers, "too slow"),
    "a redirect to http": (redirected("http://example.org/mnist.gz"), "redirected to http"),
    "a redirect to http on this machine": (redirected("http://127.0.0.1:9/mnist.gz"), "redirected to http"),
    "a redirect to another folder": (redirected("/other/mnist.gz"), "redirected to http"),
    "a redirect to another host": (redirected("//example.org/mnist.gz"), "redirected to http"),
    "a redirect to a file": (redirected("file:///etc/hostname"), "redirected to file"),
    # It is followed: here to a server that does not speak https.
    "a redirect to https": (lambda mirror: redirected(f"https{mirror.url[4:]}")(mirror), "SSLError"),
}


@pytest.fixture
def impatient(monkeypatch) -> None:
    """Wait for a second where readers would wait for a quarter of a minute."""
    monkeypatch.setattr(mnist, "TIMEOUT", 1.0)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_next_mirror_serves_where_one_fails(fault, mirror, second, tmp_path, impatient, caplog):
    mirror.answer = FAULTS[fault][0](mirror)
    assert is_full(load(tmp_path, mirror, second))
    assert (mirror.asked, second.asked) == (NAMES[:1], NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES), "nothing half done is left"
    assert caplog.records == []


@pytest.mark.parametrize("fault", FAULTS)
def test_the_bundled_digits_serve_where_no_mirror_does(fault, mirror, tmp_path, impatient, caplog):
    answer, reason = FAULTS[fault]
    mirror.answer = answer(mirror)
    start = time.monotonic()
    assert not is_full(load(tmp_path, mirror))
    assert time.monotonic() - start < 10
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert message.startswith("Using the bundled 10,000 digits; the full set is not there")
    assert "\n" not in message
    assert message.endswith(f"({mirror.url}: {reason}).")
    assert list(tmp_path.iterdir()) == [], "nothing half done is left"


@pytest.mark.reliability("download", "three mirrors with the same fault, one fault after the other")
def test_readers_do_not_wait_for_long(reached, small, tmp_path, caplog):
    took = []
    for number, (fault, reason) in enumerate(FAULTS.values()):
        mirrors = [Mirror(small) for _ in range(3)]
        for mirror in mirrors:
            mirror.answer = fault(mirror)
        caplog.clear()
        start = time.monotonic()
        assert not is_full(load(tmp_path / str(number), *mirrors))
        took.append(time.monotonic() - start)
        (record,) = caplog.records
        assert record.getMessage().count(reason) == 3
        assert list((tmp_path / str(number)).iterdir()) == []
        for mirror in mirrors:
            mirror.close()
    assert max(took) < 60
    reached(f"{len(took)} of {len(FAULTS)} end in one clear line after at most {max(took):.0f} s")


def test_a_mirror_that_fails_half_way_is_followed_by_the_next(mirror, second, tmp_path):
    mirror.answer = lambda request, name: (
        mirror.serve(request, name) if name in NAMES[:2] else mirror.send(request, 404, b"")
    )
    assert is_full(load(tmp_path, mirror, second))
    assert (mirror.asked, second.asked) == (NAMES[:3], NAMES[2:]), "what has arrived is not fetched again"


def test_without_a_network_there_is_one_line_that_names_all_mirrors(small, tmp_path, caplog):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        urls = [f"http://127.0.0.1:{unused.getsockname()[1]}/{name}/" for name in "ab"]
        assert not is_full(load(tmp_path, *urls))
    (record,) = caplog.records
    a, b = (f"{url}: ConnectionError" for url in urls)
    assert record.getMessage().endswith(f"({a}; {b}).")


def test_no_mirror_at_all(small, tmp_path, caplog):
    assert not is_full(load(tmp_path))
    assert "(no mirror was given)" in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "no address",
        "ftp//x",
        "http://",
        "http://[",
        "https://",
        "gopher://127.0.0.1/",
        "file:///etc/",
        "http://localhost:9/",
        "http://127.0.0.1.example.org/",
    ],
)
def test_what_is_no_https_address_counts_as_a_mirror_that_fails(url, mirror, tmp_path, monkeypatch):
    def refuse(*args: object) -> None:
        raise AssertionError("no name may be looked up")

    monkeypatch.setattr(socket, "gethostbyname", refuse)
    assert is_full(load(tmp_path, url, mirror))


@pytest.mark.parametrize("url", ["http://example.org/", "http://10.0.0.1/", "file:///etc/"])
def test_nothing_is_asked_of_an_address_without_https(url, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: pytest.fail("a name is looked up"))
    assert not is_full(load(tmp_path, url))
    assert f"({url}: not an https address)." in caplog.text


def test_one_address_alone_is_refused(tmp_path):
    with pytest.raises(TypeError, match="put a single one into a list"):
        mnist.load(full=True, device="cpu", mirrors="https://example.org/", cache=tmp_path)


def test_where_nothing_can_be_stored_one_line_names_the_folder(mirror, second, tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    assert not is_full(load(tmp_path / "file" / "cache", mirror, second))
    assert "file/cache: Not a directory)." in caplog.text.replace(os.sep, "/")
    assert len(caplog.records) == 1
    assert mirror.asked == second.asked == []


def test_pooch_may_speak_again_afterwards(mirror, tmp_path, monkeypatch):
    import pooch

    monkeypatch.setattr(pooch.get_logger(), "level", logging.DEBUG)
    load(tmp_path, mirror)
    assert pooch.get_logger().level == logging.DEBUG


# A cache that is damaged, can't be written, or that several write at once


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Return a file with a bit turned over, a piece cut off, or other content."""
    place = chance.randrange(len(content))
    turned = bytes([content[place] ^ (1 << chance.randrange(8))])
    return chance.choice(
        (content[:place] + turned + content[place + 1 :], content[:place], content + b"1", b"something else")
    )


@measured("cache", "a file damaged at random", fast=10, slow=1_000)
def test_a_damaged_file_in_the_cache_is_fetched_again(effort, reached, mirror, tmp_path, caplog):
    whole, chance = load(tmp_path, mirror), random.Random(0)
    for _ in range(effort):
        name = chance.choice(NAMES)
        (tmp_path / name).write_bytes(damaged(mirror.files[name], chance))
        mirror.asked.clear()
        caplog.clear()
        healed = load(tmp_path, mirror)
        assert healed.train.images.equal(whole.train.images) and healed.test.labels.equal(whole.test.labels)
        assert mirror.asked == [name]
        (record,) = caplog.records
        assert record.getMessage() == f"{tmp_path / name} was damaged and has been fetched again."
    mirror.asked.clear()
    assert is_full(load(tmp_path, mirror)) and mirror.asked == []
    reached(f"{effort} of {effort} found, fetched again, and said so")


def test_a_damaged_file_in_the_cache_is_not_used_without_a_network_either(mirror, tmp_path, caplog):
    load(tmp_path, mirror)
    (tmp_path / NAMES[2]).write_bytes(b"something else")
    mirror.answer = status(503)(mirror)
    assert not is_full(load(tmp_path, mirror))
    assert len(caplog.records) == 1


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take the right to write into a folder away, from a user who may write everywhere too."""
    importlib.import_module("pooch")  # later its files may be out of reach
    nobody = 65534
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(nobody)
    try:
        if not os.access(mnist.__file__, os.R_OK, effective_ids=True):
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


def test_a_folder_that_is_read_only_is_named(public, mirror, caplog):
    with read_only(public):
        assert not is_full(load(public, mirror))
    assert f"({public}: Permission denied)." in caplog.text
    assert len(caplog.records) == 1 and mirror.asked == []


def test_a_full_folder_that_is_read_only_is_used(public, mirror, caplog):
    load(public, mirror)
    for file in public.iterdir():
        file.chmod(0o644)
    with read_only(public):
        assert is_full(load(public, "http://127.0.0.1:9/nobody/"))
    assert caplog.records == []


def test_a_damaged_file_in_a_folder_that_is_read_only_is_named_and_not_used(public, mirror, caplog):
    load(public, mirror)
    (public / NAMES[3]).write_bytes(b"damaged")
    with read_only(public):
        assert not is_full(load(public, mirror))
    (record,) = caplog.records
    assert record.getMessage().endswith(f"({public}: Permission denied).")
    assert (public / NAMES[3]).read_bytes() == b"damaged"
    assert is_full(load(public, mirror)), "as soon as it may be written it is put right"


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "gan_helpers", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_named_and_nothing_half_written_stays(small_disk, mirror, second, caplog):
    mirror.files = {**mirror.files, NAMES[0]: os.urandom(2**20)}
    large = entry(mirror.files[NAMES[0]], (60, 28, 28), NAMES[0])
    assert not is_full(load_with(large, small_disk, mirror, second))
    assert f"({small_disk}: No space left on device)." in caplog.text
    assert len(caplog.records) == 1 and second.asked == [], "another mirror would not help"
    assert list(small_disk.iterdir()) == []


def test_a_limit_on_files_is_named_like_a_full_disk(mirror, tmp_path, caplog):
    """What any user can try: no file may be longer than 4 kB."""
    resource = pytest.importorskip("resource", reason="this system has no such limit")
    mirror.files = {**mirror.files, NAMES[0]: os.urandom(2**20)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        large = entry(mirror.files[NAMES[0]], (60, 28, 28), NAMES[0])
        assert not is_full(load_with(large, tmp_path / "cache", mirror))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"({tmp_path / 'cache'}: File too large)." in caplog.text
    assert list((tmp_path / "cache").iterdir()) == []


def load_with(first: mnist.IdxFile, cache: Path, *mirrors: Mirror) -> mnist.Mnist:
    """Load a full set whose first file is another one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist, "FULL", (first, *mnist.FULL[1:]))
        return load(cache, *mirrors)


def load_in_a_process(mirror: Mirror, cache: Path, start: Any, results: Any) -> None:
    """Load the full set when the others do too, and tell what came out and what was said."""
    said = StringIO()
    logging.getLogger("gan_helpers").handlers = [logging.StreamHandler(said)]
    start.wait()
    digits = load(cache, mirror)
    results.put((len(digits.train), digits.train.images.double().sum().item(), said.getvalue().splitlines()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork a process")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@measured("cache", "processes that fetch and repair it at once", fast=4, slow=16)
def test_processes_at_once_all_get_the_full_set(effort, reached, mirror, tmp_path):
    """They start together and the mirror is slow, so that each finds the others at work."""
    first = load(tmp_path, mirror)
    for missing, damaged in (NAMES[:2], NAMES[2:]):
        (tmp_path / missing).unlink()
        (tmp_path / damaged).write_bytes(b"damaged")
    mirror.asked.clear()
    mirror.answer = lambda request, name: (time.sleep(0.3), mirror.serve(request, name))[0]
    fork = multiprocessing.get_context("fork")
    start, results = fork.Barrier(effort), fork.Queue()
    arguments = (mirror, tmp_path, start, results)
    loaders = [fork.Process(target=load_in_a_process, args=arguments) for _ in range(effort)]
    for loader in loaders:
        loader.start()
    found = [results.get(timeout=120) for _ in loaders]
    for loader in loaders:
        loader.join(timeout=60)
    assert [loader.exitcode for loader in loaders] == [0] * effort
    notices = {f"{tmp_path / name} was damaged and has been fetched again." for name in NAMES[1::2]}
    for images, ink, said in found:
        assert (images, ink) == (60, first.train.images.double().sum().item())
        assert set(said) <= notices
    assert mirror.asked.count(NAMES[0]) > 1, "they were at it together"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    assert all((tmp_path / name).read_bytes() == mirror.files[name] for name in NAMES)
    reached(f"{len(found)} of {effort} have the full set, and all files are whole")

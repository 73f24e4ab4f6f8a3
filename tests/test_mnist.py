"""The bundled digits are what they should be; the full set comes from a mirror, or is done without."""

from __future__ import annotations

import gzip
import hashlib
import logging
import math
import os
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from gan_helpers import mnist
from gan_helpers.data import Minibatches, Resample
from gan_helpers.mnist import Digits, IdxFile
from gan_helpers.randomness import Stream

# The bundled digits


@pytest.fixture(scope="module")
def digits() -> mnist.Mnist:
    return mnist.load(device="cpu")


def test_the_bundled_digits_are_there_without_a_network(monkeypatch):
    def refuse(*args):
        raise AssertionError("nothing may be asked of the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    digits = mnist.load(device="cpu")
    assert (len(digits.train), len(digits.test)) == (8_000, 2_000)


def test_images_are_rows_from_0_to_1(digits):
    for part in (digits.train, digits.test):
        assert part.images.shape == (len(part), 784)
        assert (part.images.dtype, part.labels.dtype) == (torch.float32, torch.int64)
        assert part.images.aminmax() == (0, 1)
        assert part.images.mul(255).round().div(255).equal(part.images), "a grey level was a byte"


def test_the_classes_are_those_of_the_data(digits):
    labels = torch.cat((digits.train.labels, digits.test.labels))
    assert labels.bincount().tolist() == [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]


def test_an_image_stands_upright(digits):
    """A 7 has its bar on top and a 1 is a column: rows and columns are not exchanged."""
    seven, one = (digits.train[digits.train.labels == k].images.mean(0).view(28, 28) for k in (7, 1))
    assert seven[:14].sum() > 1.1 * seven[14:].sum()
    assert one.sum(0).amax() > 1.5 * one.sum(1).amax()


def test_labels_belong_to_their_images(digits):
    """The nearest class mean tells 80 % of digits right; had the order been lost, it would tell 10 %."""
    means = torch.stack([digits.train[digits.train.labels == k].images.mean(0) for k in range(10)])
    guess = torch.cdist(digits.test.images, means).argmin(1)
    assert (guess == digits.test.labels).float().mean() > 0.75


def test_held_out_digits_are_not_among_those_to_train_on(digits):
    def distinct(images):
        return {row.numpy().tobytes() for row in images}

    assert not distinct(digits.train.images) & distinct(digits.test.images)


def test_each_call_returns_the_same(digits):
    again = mnist.load(device="cpu")
    assert again.train.images.equal(digits.train.images) and again.test.labels.equal(digits.test.labels)


def test_the_default_device_is_asked_for_and_another_obeyed(monkeypatch):
    monkeypatch.setattr(mnist, "default_device", lambda: torch.device("meta"))
    assert mnist.load().train.images.is_meta
    assert mnist.load(device="cpu").train.images.device.type == "cpu"


def test_the_images_are_a_data_set_for_the_samplers(digits):
    for sampler in (Resample(digits.train.images), Minibatches(digits.train.images)):
        x = sampler(2, 5, Stream("data", 0))
        assert x.shape == (2, 5, 784)
        assert all((digits.train.images == image).all(1).any() for image in x.flatten(0, 1))


# Records


def test_a_part_of_the_digits(digits):
    first, threes = digits.test[:10], digits.test[digits.test.labels == 3]
    assert first.images.equal(digits.test.images[:10]) and first.labels.equal(digits.test.labels[:10])
    assert len(threes) == 204 and (threes.labels == 3).all()
    assert digits.test[torch.tensor([5, 5])].images[1].equal(digits.test.images[5])


@pytest.mark.parametrize(
    ("images", "labels", "error", "words"),
    [
        (torch.zeros(2, 784, dtype=torch.uint8), torch.zeros(2).long(), TypeError, "images.float"),
        (torch.zeros(2, 784), torch.zeros(2), TypeError, "labels.long"),
        (torch.zeros(2, 28, 28), torch.zeros(2).long(), ValueError, r"\(n, 784\)"),
        (torch.zeros(2, 783), torch.zeros(2).long(), ValueError, r"\(2, 783\)"),
        (torch.zeros(2, 784), torch.zeros(3).long(), ValueError, r"\(3,\)"),
        (torch.zeros(0, 784), torch.zeros(0).long(), ValueError, "empty"),
    ],
)
def test_digits_of_another_form_are_refused(images, labels, error, words):
    with pytest.raises(error, match=words):
        Digits(images, labels)


# Black and white


def test_a_pixel_is_1_with_its_grey_level_as_probability():
    images = torch.tensor([0.0, 0.25, 0.9, 1.0]).expand(40_000, 4)
    b = mnist.binarise(images, Stream("pixels", 0))
    assert (b.shape, b.dtype) == (images.shape, images.dtype)
    assert set(b.unique().tolist()) == {0.0, 1.0}
    assert b[:, 0].sum() == 0 and b[:, 3].sum() == 40_000
    sd = (images[0] * (1 - images[0]) / 40_000).sqrt()
    assert ((b.mean(0) - images[0]).abs() <= 5 * sd).all()
    # Pixels are independent: the covariance of two is 0.
    assert abs((b[:, 1] * b[:, 2]).mean() - 0.225) < 0.011


def test_each_call_binarises_anew_and_the_stream_decides():
    images, rng = torch.full((3, 5, 784), 0.5), Stream("pixels", 0)
    first, second = mnist.binarise(images, rng), mnist.binarise(images, rng)
    assert not first.equal(second)
    assert mnist.binarise(images, Stream("pixels", 0)).equal(first)
    assert not mnist.binarise(images, Stream("pixels", 1)).equal(first)


@pytest.mark.parametrize("bad", [-0.1, 1.1, 255.0, math.nan])
def test_grey_levels_outside_0_to_1_are_refused(bad):
    with pytest.raises(ValueError, match="images must hold numbers from 0 to 1"):
        mnist.binarise(torch.tensor([0.5, bad]), Stream("pixels", 0))


def test_bytes_are_refused():
    with pytest.raises(TypeError, match="images must hold floating-point numbers"):
        mnist.binarise(torch.zeros(2, dtype=torch.uint8), Stream("pixels", 0))


# The IDX format


def idx(shape: tuple[int, ...], content: bytes, kind: int = 8) -> bytes:
    """Return an IDX file as the format's description has it, gzipped."""
    header = bytes((0, 0, kind, len(shape))) + b"".join(n.to_bytes(4, "big") for n in shape)
    return gzip.compress(header + content, compresslevel=1, mtime=0)


def entry(packed: bytes, shape: tuple[int, ...], name: str = "some.gz") -> IdxFile:
    return IdxFile(name, shape, f"md5:{hashlib.md5(packed).hexdigest()}")


def test_an_idx_file_is_read_row_by_row():
    packed = idx((2, 3), bytes((0, 1, 2, 3, 128, 255)))
    array = mnist.unpack(packed, entry(packed, (2, 3)))
    assert array.dtype == torch.uint8
    assert array.tolist() == [[0, 1, 2], [3, 128, 255]]


SIX = bytes(6)
WHOLE = idx((2, 3), SIX)
DAMAGED = {
    "another shape": (idx((3, 2), SIX), "must start with 00 00 08 02 00 00 00 02 00 00 00 03, not"),
    "one axis more": (idx((2, 3, 1), SIX), "must start with"),
    "signed bytes": (idx((2, 3), SIX, kind=9), "must start with"),
    "too short": (idx((2, 3), SIX[1:]), "must hold 6 numbers, not 5"),
    "too long": (idx((2, 3), SIX + b"1"), "must hold 6 numbers, not more"),
    "a header alone": (idx((2, 3), b""), "must hold 6 numbers, not 0"),
    "nothing": (b"", "not nothing"),
    "not gzipped": (b"<!DOCTYPE html><title>Not found</title>", "must be a whole gzip file"),
    "the gzip stream cut off": (WHOLE[:-9], "must be a whole gzip file"),
    "the gzip checksum cut off": (WHOLE[:-6], "must be a whole gzip file"),
    "a flipped bit of the checksum": (WHOLE[:-5] + bytes([WHOLE[-5] ^ 1]) + WHOLE[-4:], "whole gzip file"),
    "a damaged stream": (WHOLE[:10] + b"\xff" * 8 + WHOLE[18:], "must be a whole gzip file"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_is_not_what_it_should_be_is_refused(name):
    packed, words = DAMAGED[name]
    with pytest.raises(ValueError, match=f"some.gz .*{words}"):
        mnist.unpack(packed, entry(packed, (2, 3)))


def test_another_checksum_is_refused():
    with pytest.raises(ValueError, match="some.gz must have the checksum md5:.*damaged"):
        mnist.unpack(WHOLE, entry(WHOLE + b"1", (2, 3)))


def test_a_small_file_that_unpacks_to_a_large_one_is_not_unpacked():
    packed = idx((2, 3), bytes(20_000_000))
    file = entry(packed, (2, 3))
    tracemalloc.start()
    with pytest.raises(ValueError, match="not more"):
        mnist.unpack(packed, file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_labels_above_9_are_refused(monkeypatch):
    packed = idx((2,), bytes((3, 10)))
    array = mnist.unpack(packed, entry(packed, (2,)))
    with pytest.raises(ValueError, match="labels must be from 0 to 9, not up to 10"):
        mnist._digits(torch.zeros(2, 28, 28, dtype=torch.uint8), array, "cpu")


# The full set, from mirrors on this machine

SHAPES = ((60, 28, 28), (60,), (10, 28, 28), (10,))


class Mirror:
    """A server on this machine; ``answer`` decides what each request gets, and ``asked`` keeps the names."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.asked = files, []
        self.answer: Callable[[BaseHTTPRequestHandler, str], None] = self.serve
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                mirror.asked.append(name)
                mirror.answer(self, name)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/mnist/"

    def serve(self, request: BaseHTTPRequestHandler, name: str) -> None:
        self.send(request, 200, self.files[name])

    @staticmethod
    def send(request: BaseHTTPRequestHandler, status: int, body: bytes, length: int | None = None) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        request.end_headers()
        request.wfile.write(body)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def small(monkeypatch) -> dict[str, bytes]:
    """The four files at a size that is quick to make, with their checksums."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return publish(monkeypatch, SHAPES)


def publish(monkeypatch: pytest.MonkeyPatch, shapes: tuple[tuple[int, ...], ...]) -> dict[str, bytes]:
    files, entries = {}, []
    for file, shape in zip(mnist.FULL, shapes, strict=True):
        content = bytes(range(10)) * (math.prod(shape) // 10)
        files[file.name] = idx(shape, content)
        entries.append(entry(files[file.name], shape, file.name))
    monkeypatch.setattr(mnist, "FULL", tuple(entries))
    return files


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


NAMES = [file.name for file in mnist.FULL]


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


def test_files_of_the_real_size_arrive(monkeypatch, tmp_path):
    """As large as the real ones: 47 million pixels."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    shapes = tuple(file.shape for file in mnist.FULL)
    server = Mirror(publish(monkeypatch, shapes))
    digits = load(tmp_path, server)
    server.close()
    assert digits.train.images.shape == (60_000, 784) and digits.test.images.shape == (10_000, 784)
    assert len(digits.train.labels) == 60_000 and len(digits.test.labels) == 10_000


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


def test_a_changed_file_in_the_cache_is_fetched_again(mirror, tmp_path):
    load(tmp_path, mirror)
    (tmp_path / NAMES[1]).write_bytes(b"something else")
    mirror.asked.clear()
    assert is_full(load(tmp_path, mirror))
    assert mirror.asked == [NAMES[1]]


def test_a_changed_file_in_the_cache_is_not_used_without_a_network_either(mirror, tmp_path, caplog):
    load(tmp_path, mirror)
    (tmp_path / NAMES[2]).write_bytes(b"something else")
    mirror.answer = status(503)(mirror)
    assert not is_full(load(tmp_path, mirror))
    assert len(caplog.records) == 1


def status(code: int) -> Callable[[Mirror], Callable[[BaseHTTPRequestHandler, str], None]]:
    return lambda mirror: lambda request, name: mirror.send(request, code, b"<html>Sorry.</html>")


def html(mirror: Mirror) -> Callable[[BaseHTTPRequestHandler, str], None]:
    return lambda request, name: mirror.send(request, 200, b"<html>Please log in to this network.</html>")


def shortened(mirror: Mirror) -> Callable[[BaseHTTPRequestHandler, str], None]:
    return lambda request, name: mirror.send(request, 200, mirror.files[name][:-5])


def interrupted(mirror: Mirror) -> Callable[[BaseHTTPRequestHandler, str], None]:
    def answer(request: BaseHTTPRequestHandler, name: str) -> None:
        body = mirror.files[name]
        mirror.send(request, 200, body[:-5], length=len(body))

    return answer


def silent(mirror: Mirror) -> Callable[[BaseHTTPRequestHandler, str], None]:
    return lambda request, name: time.sleep(1)


FAULTS = {
    "404": (status(404), "status 404"),
    "503": (status(503), "status 503"),
    "a page instead of the file": (html, "another file than expected"),
    "a file cut short": (shortened, "another file than expected"),
    "a connection cut short": (interrupted, "(ChunkedEncodingError|another file than expected)"),
    "no answer": (silent, "ReadTimeout"),
}


@pytest.fixture
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(mnist, "TIMEOUT", 0.2)


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
    assert not is_full(load(tmp_path, mirror))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert message.startswith("Using the bundled 10,000 digits; the full set is not there")
    assert "\n" not in message
    assert re.search(rf"\({mirror.url}: {reason}\)\.$", message), message
    assert list(tmp_path.iterdir()) == [], "nothing half done is left"


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


@pytest.mark.parametrize("url", ["no address", "ftp//x", "http://", "gopher://127.0.0.1/"])
def test_what_is_no_address_counts_as_a_mirror_that_fails(url, small, mirror, tmp_path):
    assert is_full(load(tmp_path, url, mirror))


def test_one_address_alone_is_refused(tmp_path):
    with pytest.raises(TypeError, match="put it into a list"):
        mnist.load(full=True, device="cpu", mirrors="https://example.org/", cache=tmp_path)


def test_where_nothing_can_be_stored_one_line_names_the_folder(mirror, second, tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    assert not is_full(load(tmp_path / "file" / "cache", mirror, second))
    assert "file/cache: Not a directory)." in caplog.text.replace(os.sep, "/")
    assert len(caplog.records) == 1
    assert mirror.asked == second.asked == []


@pytest.fixture
def read_only(tmp_path) -> Iterator[Path]:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere")
    yield folder
    folder.chmod(0o700)


def test_a_folder_that_is_read_only_is_named(read_only, mirror, caplog):
    assert not is_full(load(read_only, mirror))
    assert f"({read_only}: Permission denied)." in caplog.text
    assert len(caplog.records) == 1 and mirror.asked == []


def test_a_full_folder_that_is_read_only_is_used(mirror, tmp_path, read_only):
    read_only.chmod(0o700)
    load(read_only, mirror)
    read_only.chmod(0o500)
    assert is_full(load(read_only, "http://127.0.0.1:9/nobody/"))


def test_pooch_may_speak_again_afterwards(mirror, tmp_path, monkeypatch):
    import pooch

    monkeypatch.setattr(pooch.get_logger(), "level", logging.DEBUG)
    load(tmp_path, mirror)
    assert pooch.get_logger().level == logging.DEBUG


def test_the_published_files_are_the_usual_ones():
    assert [file.shape[0] for file in mnist.FULL] == [60_000, 60_000, 10_000, 10_000]
    assert all(len(file.checksum) == len("md5:") + 32 for file in mnist.FULL)
    assert all(url.startswith("https://") and url.endswith("/") for url in mnist.MIRRORS)
    assert len({replace(file, checksum="") for file in mnist.FULL}) == 4

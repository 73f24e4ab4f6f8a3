"""The digits are what they should be, and no file makes more of itself than it may."""

from __future__ import annotations

import gzip
import math
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mirrors import Mirror, entry, idx

from gan_helpers import mnist
from gan_helpers.data import Minibatches, Resample
from gan_helpers.mnist import Digits
from gan_helpers.randomness import Stream
from tests.reliability import measured

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


def test_images_and_stream_are_on_one_device():
    with pytest.raises(ValueError, match="rng must be on meta, as images is, not on cpu"):
        mnist.binarise(torch.zeros(2, device="meta"), Stream("pixels", 0))


def test_bytes_are_refused():
    with pytest.raises(TypeError, match="images must hold floating-point numbers"):
        mnist.binarise(torch.zeros(2, dtype=torch.uint8), Stream("pixels", 0))


# The IDX format


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
    with pytest.raises(ValueError, match="some.gz must have the SHA-256 [0-9a-f]{64}, and has not.*damaged"):
        mnist.unpack(WHOLE, entry(WHOLE + b"1", (2, 3)))


def read(packed: bytes) -> torch.Tensor | None:
    """Return the array of a file that should hold (2, 3), or None if it is refused in words of our own."""
    try:
        return mnist.unpack(packed, entry(packed, (2, 3)))
    except ValueError as error:
        assert str(error).startswith("some.gz must ") and "\n" not in str(error)
        return None


HEADER = bytes((0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3))
LENGTHS = st.sampled_from((0, 1, 2, 3, 4, 6, 2**16, 2**31 - 1, 2**31, 2**32 - 1)) | st.integers(0, 2**32 - 1)
STARTS = st.one_of(
    st.binary(max_size=24),
    st.builds(
        lambda zeros, kind, lengths: zeros + bytes(kind) + b"".join(n.to_bytes(4, "big") for n in lengths),
        st.just(bytes(2)) | st.binary(min_size=2, max_size=2),
        st.tuples(st.just(8) | st.integers(0, 255), st.integers(0, 3) | st.integers(0, 255)),
        st.lists(LENGTHS, max_size=4),
    ),
    st.integers(0, len(HEADER)).map(lambda n: HEADER[:n]),
)


def fuzz_headers(examples: int) -> int:
    """Read that many files with a header made up, and return how many were refused."""
    refused = []

    @settings(max_examples=examples)
    @given(STARTS, st.binary(max_size=8))
    def one(start: bytes, content: bytes) -> None:
        array = read(gzip.compress(start + content, 1, mtime=0))
        refused.append(array is None)
        right = start + content == HEADER + (start + content)[12:] and len(start + content) == 18
        assert (array is not None) == right
        assert array is None or array.flatten().tolist() == list((start + content)[12:])

    one()
    return sum(refused)


@measured("bombs", "IDX files with a made-up header", fast=300, slow=10_000)
def test_a_made_up_header_is_refused_or_right(effort, reached):
    refused = fuzz_headers(effort)
    assert refused > 0.6 * effort
    reached(f"{refused:,} of {effort:,} refused in one line each, and all others were right")


@settings(max_examples=300)
@given(st.binary(max_size=60), st.integers(0, len(WHOLE)), st.integers(0, len(WHOLE)))
def test_a_made_up_file_is_refused_or_right(noise, start, length):
    array = read(WHOLE[:start] + noise + WHOLE[start + length :])
    assert array is None or array.shape == (2, 3)


# Small files that would fill the memory

MEASURED = """
import sys
from pathlib import Path
from gan_helpers import mnist

def memory(which):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which)) / 1024

mnist.load(device="cpu")
{}
Path("/proc/self/clear_refs").write_text("5")  # the highest amount is counted anew from here
before = memory("VmRSS")
{}
print(memory("VmHWM") - before)
"""


def more_memory(prepared: str, measured: str) -> float:
    """Return by how many MB the memory of a fresh process grows at its highest."""
    # Not getrusage, in which a process begins at the highest amount of the one that started it.
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system does not say how much memory a process has used")
    script = MEASURED.format(prepared, measured)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1])


@pytest.fixture(scope="module")
def bomb(tmp_path_factory) -> Path:
    """A file of 1 MB that unpacks to 1 GB: an IDX file of the right shape that has too much in it."""
    header = bytes((0, 0, 8, 3)) + b"".join(n.to_bytes(4, "big") for n in mnist.FULL[0].shape)
    path = tmp_path_factory.mktemp("bomb") / "bomb.gz"
    path.write_bytes(gzip.compress(header) + 16 * gzip.compress(bytes(2**26)))
    assert path.stat().st_size < 1.1 * 2**20
    return path


@measured("bombs", "a file of 1 MB that unpacks to 1 GB", fast=1, slow=1)
def test_a_small_file_that_unpacks_to_a_large_one_is_not_unpacked(effort, reached, bomb):
    """The array that is expected takes 45 MB, and what is read stops there."""
    prepared = f"""
import hashlib
packed = Path({str(bomb)!r}).read_bytes()
file = mnist.IdxFile("bomb.gz", (60_000, 28, 28), len(packed), hashlib.sha256(packed).hexdigest())
"""
    measured = """
try:
    mnist.unpack(packed, file)
except ValueError as error:
    assert str(error) == "bomb.gz must hold 47,040,000 numbers, not more.", error
else:
    raise AssertionError("it was unpacked")
"""
    grown = more_memory(prepared, measured)
    assert 40 < grown < 64, grown
    reached(f"refused after {grown:.0f} MB more memory")


@pytest.mark.parametrize("encoding", [None, "gzip"])
@measured("bombs", "a mirror that sends 1 GB, or 1 MB packed so that it becomes 1 GB", fast=1, slow=1)
def test_a_mirror_that_does_not_stop_sending_is_left(effort, reached, bomb, encoding, tmp_path, monkeypatch):
    """Whether it sends 1 GB, or 1 MB of which an obliging reader would make 1 GB."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    sent = []

    def answer(request, name):
        if encoding:
            body = [bomb.read_bytes()]
        else:
            body = (bytes(2**20) for _ in range(2**10))
        Mirror.send(request, 200, b"", Content_Length=None, Content_Encoding=encoding)
        for piece in body:
            request.wfile.write(piece)
            sent.append(len(piece))

    mirror = Mirror({})
    mirror.answer = answer
    measured = f"""
import logging
logging.basicConfig(format="%(message)s", stream=sys.stdout)
mnist.load(full=True, device="cpu", cache={str(tmp_path)!r}, mirrors=[{mirror.url!r}])
"""
    try:
        grown = more_memory("", measured)
        assert grown < 64, grown
    finally:
        mirror.close()
    assert sum(sent) < mnist.FULL[0].size + 2**24, "what was on its way when the reader left"
    assert list(tmp_path.iterdir()) == []
    reached(f"left after {grown:.0f} MB more memory")


def test_labels_above_9_are_refused(monkeypatch):
    packed = idx((2,), bytes((3, 10)))
    array = mnist.unpack(packed, entry(packed, (2,)))
    with pytest.raises(ValueError, match="labels must be from 0 to 9, not up to 10"):
        mnist._digits(torch.zeros(2, 28, 28, dtype=torch.uint8), array, "cpu")


def test_the_published_files_are_the_usual_ones():
    assert [file.shape[0] for file in mnist.FULL] == [60_000, 60_000, 10_000, 10_000]
    assert [file.size for file in mnist.FULL] == [9_912_422, 28_881, 1_648_877, 4_542]
    assert all(url.startswith("https://") and url.endswith("/") for url in mnist.MIRRORS)
    assert len({file.name for file in mnist.FULL} | {file.checksum for file in mnist.FULL}) == 8

"""The digits are what they should be: those of the package, and all of MNIST where it can be had."""

from __future__ import annotations

import gzip
import math
import socket
from pathlib import Path

import pytest
import torch

from gan_helpers import mnist
from gan_helpers.mnist import Digits
from gan_helpers.randomness import Stream
from tests.mirrors import Mirror, entry, pack
from tests.reliability import measured

# The bundled digits


@pytest.fixture(scope="module")
def digits() -> mnist.Mnist:
    return mnist.load(device="cpu")


def test_the_bundled_digits_are_there_without_a_network_and_the_same_each_time(digits, monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *args: pytest.fail("nothing may be asked of the network"))
    again = mnist.load(device="cpu")
    assert (len(digits.train), len(digits.test)) == (8_000, 2_000)
    assert again.train.images.equal(digits.train.images) and again.test.labels.equal(digits.test.labels)


def test_images_are_rows_from_0_to_1_and_classes_those_of_the_data(digits):
    for part in (digits.train, digits.test):
        assert part.images.shape == (len(part), 784)
        assert (part.images.dtype, part.labels.dtype) == (torch.float32, torch.int64)
        assert part.images.aminmax() == (0, 1)
        assert part.images.mul(255).round().div(255).equal(part.images), "a grey level was a byte"
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
    train, test = ({row.numpy().tobytes() for row in part.images} for part in (digits.train, digits.test))
    assert not train & test


def test_the_default_device_is_asked_for_and_another_obeyed(monkeypatch):
    monkeypatch.setattr(mnist, "default_device", lambda: torch.device("meta"))
    assert mnist.load().train.images.is_meta
    assert mnist.load(device="cpu").train.images.device.type == "cpu"


# All of MNIST


def is_whole(digits: mnist.Mnist, files: dict[str, bytes]) -> bool:
    """Whether digits are to the last pixel those of four IDX files: a header, and a byte for each number."""
    found = [
        values.to(torch.uint8).numpy().tobytes()
        for part in (digits.train, digits.test)
        for values in (part.images.mul(255).round(), part.labels)
    ]
    return found == [content[start:] for content, start in zip(files.values(), (16, 8, 16, 8), strict=True)]


@pytest.fixture
def small(monkeypatch) -> dict[str, bytes]:
    """The four files of the full set at a size that is quick to make."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    sizes = (16 + 60 * 784, 8 + 60, 16 + 10 * 784, 8 + 10)
    files = {file.name: bytes(k % 10 for k in range(n)) for file, n in zip(mnist.FULL, sizes, strict=True)}
    made = tuple(entry(*item) for item in files.items())
    for name, (_, mirrors) in mnist.SETS.items():
        monkeypatch.setitem(mnist.SETS, name, (made, mirrors))
    return files


def test_the_full_set_is_loaded_from_a_mirror_and_then_from_the_cache(small, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(mnist, "user_cache_dir", lambda name: tmp_path / name)
    with Mirror({f"{name}.gz": pack(content) for name, content in small.items()}) as mirror:
        assert is_whole(mnist.load(True, "cpu", mirrors=[mirror.url]), small)
    assert is_whole(mnist.load(True, "cpu", mirrors=[]), small)
    (tmp_path / "gan_helpers").rename(tmp_path / "mine")
    assert is_whole(mnist.load(True, "cpu", mirrors=[], cache=str(tmp_path / "mine")), small)
    assert caplog.records == []


def test_the_bundled_digits_serve_where_the_full_set_cannot_be_had(digits, tmp_path, caplog):
    again = mnist.load(True, "cpu", cache=tmp_path, mirrors=["http://example.org/"])
    assert again.test.images.equal(digits.test.images)
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "bundled 10,000 digits" in record.getMessage()
    assert "(http://example.org/: not an https address)" in record.getMessage()


def test_clothes_have_a_folder_of_their_own_and_nothing_takes_their_place(small, tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "user_cache_dir", lambda name: tmp_path / name)
    monkeypatch.setattr(mnist, "TRAINING", 40)
    with Mirror({f"{name}.gz": pack(content) for name, content in small.items()}) as mirror:
        clothes = mnist.load(True, "cpu", name="fashion", mirrors=[mirror.url])
    assert is_whole(clothes, small)
    some = mnist.load(device="cpu", name="fashion", mirrors=[])
    assert some.train.images.equal(clothes.train.images[:40]) and len(some.test) == 10
    assert (tmp_path / "gan_helpers" / "fashion").is_dir()
    with pytest.raises(OSError, match="no mirror was given"):
        mnist.load(device="cpu", name="fashion", cache=tmp_path / "nothing", mirrors=[])
    with pytest.raises(ValueError, match="name must be one of mnist, fashion, not 'letters'"):
        mnist.load(name="letters")


@pytest.mark.parametrize("name", mnist.SETS)
def test_the_published_files_are_the_usual_ones(name):
    published, mirrors = mnist.SETS[name]
    assert [file.size for file in published] == [16 + 60_000 * 784, 8 + 60_000, 16 + 10_000 * 784, 8 + 10_000]
    assert all(url.startswith("https://") and url.endswith("/") for url in mirrors)


ALL = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist-full"


@pytest.mark.skipif(not ALL.is_dir(), reason="All of MNIST is not in ../shared/data/mnist-full.")
@measured("download", "all of MNIST from a mirror that has packed it anew", fast=1, slow=1)
def test_all_of_mnist_arrives(effort, reached, digits, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    packed = {f"{file.name}.gz": (ALL / f"{file.name}.gz").read_bytes() for file in mnist.FULL}
    with Mirror(packed) as mirror:
        full = mnist.load(True, "cpu", cache=tmp_path, mirrors=[mirror.url])
    assert caplog.records == []
    assert is_whole(full, {name: gzip.decompress(content) for name, content in packed.items()})
    assert full.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    first = {row.numpy().tobytes() for row in full.train.images[:10_000]}
    assert {row.numpy().tobytes() for row in digits.train.images} <= first, "the bundled digits are a part"
    reached(f"all {len(full.train) + len(full.test):,} images are there to the last pixel")


# Records


def test_a_part_of_the_digits(digits):
    first, threes = digits.test[:10], digits.test[digits.test.labels == 3]
    assert first.images.equal(digits.test.images[:10]) and first.labels.equal(digits.test.labels[:10])
    assert len(threes) == 204 and (threes.labels == 3).all()
    assert digits.test[torch.tensor([5, 5])].images[1].equal(digits.test.images[5])


@pytest.mark.parametrize(("pixels", "labels"), [(783, 2), (784, 3)])
def test_digits_of_another_form_are_refused(pixels, labels):
    with pytest.raises(ValueError, match=rf"shape \(n, 784\) .* not \(2, {pixels}\) and \({labels},\)"):
        Digits(torch.zeros(2, pixels), torch.zeros(labels).long())


# Black and white


def test_a_pixel_is_1_with_its_grey_level_as_probability():
    images = torch.tensor([0.0, 0.25, 0.9, 1.0]).expand(40_000, 4)
    b = mnist.binarise(images, Stream("pixels", 0))
    assert (b.shape, b.dtype, b.unique().tolist()) == (images.shape, images.dtype, [0, 1])
    assert b[:, 0].sum() == 0 and b[:, 3].sum() == 40_000
    sd = (images[0] * (1 - images[0]) / 40_000).sqrt()
    assert ((b.mean(0) - images[0]).abs() <= 5 * sd).all()
    # Pixels are independent: the covariance of two is 0.
    assert abs((b[:, 1] * b[:, 2]).mean() - 0.225) < 0.011


def test_each_call_binarises_anew_and_the_stream_decides():
    images, rng = torch.full((3, 5, 784), 0.5), Stream("pixels", 0)
    first = mnist.binarise(images, rng)
    assert not mnist.binarise(images, rng).equal(first)
    assert mnist.binarise(images, Stream("pixels", 0)).equal(first)


@pytest.mark.parametrize("bad", [-0.1, 1.1, 255, math.nan])
def test_what_are_no_grey_levels_is_refused(bad):
    with pytest.raises(ValueError, match="from 0 to 1, not from"):
        mnist.binarise(torch.tensor([0.5, bad]), Stream("pixels", 0))


def test_pixels_are_drawn_where_the_images_are():
    with pytest.raises(ValueError, match="rng must be on meta, as images is, not on cpu"):
        mnist.binarise(torch.zeros(2, device="meta"), Stream("pixels", 0))

"""Handwritten digits: 10,000 that come with the package, and on request all of MNIST.

Two lines make a sampler of them, as of any other data set::

    digits = mnist.load()  # 8,000 to train on and 2,000 held out; load(full=True): 60,000 and 10,000
    data = Minibatches(digits.train.images)

An image is a row of 784 numbers from 0 (background) to 1 (ink). The bundled digits are part of MNIST's
training set, so they are no test of what was trained on the full one.

References:
    LeCun, Bottou, Bengio and Haffner, *Gradient-based learning applied to document recognition*, 1998,
    https://doi.org/10.1109/5.726791. MNIST is distributed under CC BY-SA 3.0.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from gan_helpers import _checks
from gan_helpers.device import default_device
from gan_helpers.progress import someone_is_watching
from gan_helpers.randomness import Stream

log = logging.getLogger("gan_helpers")

SIDE = 28  # pixels: an image is SIDE x SIDE
CLASSES = 10
TRAINING = 8_000  # of the bundled digits; the others are held out
TIMEOUT = 10.0  # seconds without a word after which a mirror is given up

#: Where the full set is fetched from, tried in this order.
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
)


@dataclass(frozen=True)
class IdxFile:
    """A gzipped file in the IDX format, and what must be in it.

    Args:
        name: its file name.
        shape: the shape of the array in it, of unsigned bytes.
        checksum: of the gzipped file, such as ``"md5:d53e..."``.
    """

    name: str
    shape: tuple[int, ...]
    checksum: str


BUNDLED = (
    IdxFile(
        "mnist-10k-images-idx3-ubyte.gz",
        (10_000, SIDE, SIDE),
        "sha256:3ec8f1f33bbb16ea01df6bf5cfe4bb49f4b31f6b898e38c71bfb8af417d1a1b8",
    ),
    IdxFile(
        "mnist-10k-labels-idx1-ubyte.gz",
        (10_000,),
        "sha256:ef16c0682860b320586563944959fb88a9b6452750c793586e4da533c6c33749",
    ),
)
FULL = (
    IdxFile("train-images-idx3-ubyte.gz", (60_000, SIDE, SIDE), "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    IdxFile("train-labels-idx1-ubyte.gz", (60_000,), "md5:d53e105ee54ea40749a09fcbcd1e9432"),
    IdxFile("t10k-images-idx3-ubyte.gz", (10_000, SIDE, SIDE), "md5:9fb629c4189551a2d022fa330f9573f3"),
    IdxFile("t10k-labels-idx1-ubyte.gz", (10_000,), "md5:ec29112dd5afa0611ce80d1b7f02629c"),
)


@dataclass(frozen=True, eq=False)
class Digits:
    """Images of digits and what they show; ``digits[:100]`` and ``digits[digits.labels == 3]`` are a part.

    Args:
        images: ``(n, 784)``, floating-point from 0 to 1, row by row from the top.
        labels: the digits, ``(n,)``, whole numbers from 0 to 9.

    Raises:
        TypeError: if ``images`` is not a floating-point tensor, or ``labels`` not one of whole numbers.
        ValueError: if the shapes are others, or there is no image.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        """Check the arguments."""
        n, pixels = len(_checks.floating("images", self.images, "(n, 784)", dims=2)), SIDE * SIDE
        if self.labels.dtype != torch.long:
            raise TypeError(
                f"labels must be of dtype torch.int64, not {self.labels.dtype}: call labels.long()."
            )
        if self.images.shape != (n, pixels) or self.labels.shape != (n,):
            raise ValueError(
                f"images must have shape (n, {pixels}) and labels (n,), "
                f"not {tuple(self.images.shape)} and {tuple(self.labels.shape)}."
            )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index: slice | Tensor) -> Digits:
        """Return the digits of a slice, of indices or of a mask."""
        return Digits(self.images[index], self.labels[index])


@dataclass(frozen=True, eq=False)
class Mnist:
    """A set of digits in its two parts.

    Args:
        train: to learn from.
        test: to judge by: digits that are not in ``train``.
    """

    train: Digits
    test: Digits


def load(
    full: bool = False,
    device: torch.device | str | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
    mirrors: Sequence[str] = MIRRORS,
) -> Mnist:
    """Return the digits, ready to train on: the bundled ones, or on request all of MNIST.

    The full set is downloaded at the first time and verified at each. Where it can't be had, one line says
    so and the bundled digits are returned: ``len(digits.train)`` is 60,000 or 8,000.

    Args:
        full: whether to load all 60,000 + 10,000 digits.
        device: where they will live; `gan_helpers.device.default_device` unless given. In single precision
            the full set takes 220 MB there.
        cache: the folder that keeps downloaded files; the system's folder for such things unless given.
        mirrors: addresses of folders that hold the four files of the full set, tried in this order.

    Raises:
        TypeError: if ``mirrors`` is one address and not a sequence of them.
        ValueError: if a file of the package is damaged.
    """
    if isinstance(mirrors, str):
        raise TypeError(f"mirrors must be a sequence of addresses, not {mirrors!r}: put it into a list.")
    device = default_device() if device is None else device
    packed = _download(cache, mirrors) if full else None
    if packed is None:
        assets = files("gan_helpers") / "assets"
        images, labels = (unpack((assets / file.name).read_bytes(), file) for file in BUNDLED)
        digits = _digits(images, labels, device)
        return Mnist(digits[:TRAINING], digits[TRAINING:])
    arrays = (unpack(content, file) for content, file in zip(packed, FULL, strict=True))
    images, labels, test_images, test_labels = arrays
    return Mnist(_digits(images, labels, device), _digits(test_images, test_labels, device))


def binarise(images: Tensor, rng: Stream) -> Tensor:
    r"""Return black and white images in which each pixel is 1 with its grey level as the probability.

    .. math:: b_j \sim \operatorname{Bernoulli}(x_j)

    Called anew for every batch it makes a grey image a distribution over binary ones; as a sampler:
    ``lambda seeds, batch, rng: binarise(data(seeds, batch, rng), rng)``.

    Args:
        images: grey levels from 0 to 1, of any shape.
        rng: the stream to draw from, on the device of ``images``.

    Returns:
        Zeros and ones, shaped as ``images`` and of its dtype.

    Raises:
        TypeError: if ``images`` is not a floating-point tensor.
        ValueError: if ``images`` is empty or, on the CPU, holds anything outside [0, 1].

    Reference:
        Salakhutdinov and Murray, *On the quantitative analysis of deep belief networks*, 2008,
        https://doi.org/10.1145/1390156.1390266.
    """
    _checks.floating("images", images, "(..., pixels)")
    # Elsewhere than on the CPU this would wait for the device at every batch; there torch itself stops.
    if images.device.type == "cpu" and not ((images >= 0) & (images <= 1)).all():
        low, high = images.aminmax()
        raise ValueError(
            f"images must hold numbers from 0 to 1, not from {low:g} to {high:g}: divide bytes by 255."
        )
    return rng.bernoulli(images)


def unpack(packed: bytes, file: IdxFile) -> Tensor:
    """Return the array in a gzipped IDX file, after checking that it is what it should be.

    Args:
        packed: the content of the file.
        file: what must be in it. No more than its size is unpacked, whatever the content says.

    Returns:
        The array, ``file.shape``, uint8.

    Raises:
        ValueError: if the checksum, the format, the shape or the size is another.

    Reference:
        The format: LeCun, Cortes and Burges, *The MNIST database of handwritten digits*,
        http://yann.lecun.com/exdb/mnist/.
    """
    algorithm, expected = file.checksum.split(":")
    if hashlib.new(algorithm, packed, usedforsecurity=False).hexdigest() != expected:
        raise ValueError(f"{file.name} must have the checksum {file.checksum}, and has not: it is damaged.")
    # Two zeros, the type 8 for unsigned bytes, the number of axes, and the length of each axis.
    header = bytes((0, 0, 8, len(file.shape))) + b"".join(n.to_bytes(4, "big") for n in file.shape)
    size = math.prod(file.shape)
    try:
        with gzip.open(io.BytesIO(packed)) as stream:
            start, content = stream.read(len(header)), bytearray(stream.read(size + 1))
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{file.name} must be a whole gzip file, and is not ({error}).") from error
    if start != header:
        raise ValueError(f"{file.name} must start with {header.hex(' ')}, not {start.hex(' ') or 'nothing'}.")
    if len(content) != size:
        found = "more" if len(content) > size else f"{len(content):,}"
        raise ValueError(f"{file.name} must hold {size:,} numbers, not {found}.")
    return torch.frombuffer(content, dtype=torch.uint8).view(file.shape)


def _digits(images: Tensor, labels: Tensor, device: torch.device | str) -> Digits:
    """Return bytes as `Digits` on ``device``."""
    if labels.max() >= CLASSES:
        raise ValueError(f"labels must be from 0 to 9, not up to {labels.max()}.")
    return Digits(images.to(device).flatten(1).float().div_(255), labels.to(device).long())


def _download(cache: str | os.PathLike[str] | None, mirrors: Sequence[str]) -> list[bytes] | None:
    """Return the four files of the full set, or None after one line that says why they can't be had."""
    # These take a while to import, and most of the book needs neither.
    import pooch
    import requests

    folder = Path(pooch.os_cache("gan_helpers") if cache is None else cache)
    failures = []
    for mirror in mirrors:
        try:
            return [_fetch(file, mirror, folder).read_bytes() for file in FULL]
        except (requests.RequestException, ValueError) as error:
            failures.append(f"{mirror}: {_reason(error)}")
        except OSError as error:  # of the folder: no other mirror would help
            cause = error.__cause__ or error  # pooch wraps some in a longer one
            failures = [f"{folder}: {getattr(cause, 'strerror', None) or type(cause).__name__}"]
            break
    log.warning(
        "Using the bundled 10,000 digits; the full set is not there (%s).",
        "; ".join(failures) or "no mirror was given",
    )
    return None


def _fetch(file: IdxFile, mirror: str, folder: Path) -> Path:
    """Return where a verified file of the full set is, from the cache or else from ``mirror``."""
    import pooch

    downloader = pooch.HTTPDownloader(progressbar=someone_is_watching(), timeout=TIMEOUT)
    url = f"{mirror.rstrip('/')}/{file.name}"
    with _quiet(pooch.get_logger()):
        return Path(pooch.retrieve(url, file.checksum, file.name, folder, downloader=downloader))


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep a logger from telling what goes as it should."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _reason(error: Exception) -> str:
    """Say in a few words why a mirror did not serve."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"status {response.status_code}"
    # Pooch raises a plain ValueError if the checksum is another, the others have names that tell.
    return "another file than expected" if type(error) is ValueError else type(error).__name__

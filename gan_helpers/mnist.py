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
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any
from urllib.parse import urljoin, urlsplit

import torch
from torch import Tensor
from tqdm.auto import tqdm

from gan_helpers import _checks
from gan_helpers.device import default_device
from gan_helpers.progress import someone_is_watching
from gan_helpers.randomness import Stream

log = logging.getLogger("gan_helpers")

SIDE = 28  # pixels: an image is SIDE x SIDE
CLASSES = 10
TRAINING = 8_000  # of the bundled digits; the others are held out
TIMEOUT = 15.0  # seconds for the next PIECE, or for all before the first, after which a mirror is given up
PIECE = 2**16  # bytes
LOOPBACK = ("127.0.0.1", "::1")  # this machine itself: here alone plain http will do

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
        size: of the gzipped file in bytes. No more is downloaded.
        checksum: the SHA-256 of the gzipped file, in hexadecimal digits.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if a number is below 1, or the checksum is none.
    """

    name: str
    shape: tuple[int, ...]
    size: int
    checksum: str

    def __post_init__(self) -> None:
        """Check the arguments."""
        _checks.text("name", self.name)
        for i, n in enumerate(_checks.sequence("shape", self.shape)):
            _checks.whole(f"shape[{i}]", n)
        _checks.whole("size", self.size)
        if not re.fullmatch("[0-9a-f]{64}", _checks.text("checksum", self.checksum)):
            raise ValueError(f"checksum must be 64 hexadecimal digits, not {self.checksum!r}.")


BUNDLED = (
    IdxFile(
        "mnist-10k-images-idx3-ubyte.gz",
        (10_000, SIDE, SIDE),
        1_613_753,
        "3ec8f1f33bbb16ea01df6bf5cfe4bb49f4b31f6b898e38c71bfb8af417d1a1b8",
    ),
    IdxFile(
        "mnist-10k-labels-idx1-ubyte.gz",
        (10_000,),
        5_103,
        "ef16c0682860b320586563944959fb88a9b6452750c793586e4da533c6c33749",
    ),
)
FULL = (
    IdxFile(
        "train-images-idx3-ubyte.gz",
        (60_000, SIDE, SIDE),
        9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    IdxFile(
        "train-labels-idx1-ubyte.gz",
        (60_000,),
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte.gz",
        (10_000, SIDE, SIDE),
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte.gz",
        (10_000,),
        4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
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
        if _checks.instance("labels", self.labels, Tensor).dtype != torch.long:
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

    The full set is downloaded at the first time and verified at each. A damaged file is fetched again, and a
    line says so. Where the full set can't be had, one line says why and the bundled digits are returned:
    ``len(digits.train)`` is 60,000 or 8,000.

    Args:
        full: whether to load all 60,000 + 10,000 digits.
        device: where they will live; `gan_helpers.device.default_device` unless given. In single precision
            the full set takes 220 MB there.
        cache: the folder that keeps downloaded files; the system's folder for such things unless given.
        mirrors: https addresses of folders that hold the four files of the full set, tried in this order.

    Raises:
        TypeError: if an argument is of the wrong type; ``mirrors`` is a sequence of addresses, not one.
        ValueError: if there is no such device, or a file of the package is damaged.
    """
    for i, mirror in enumerate(_checks.sequence("mirrors", mirrors)):
        _checks.text(f"mirrors[{i}]", mirror)
    if cache is not None:
        _checks.path("cache", cache)
    device = default_device() if device is None else _checks.device("device", device)
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
        ValueError: if ``images`` is empty, not where ``rng`` draws or, on the CPU, outside [0, 1].

    Reference:
        Salakhutdinov and Murray, *On the quantitative analysis of deep belief networks*, 2008,
        https://doi.org/10.1145/1390156.1390266.
    """
    _checks.floating("images", images, "(..., pixels)")
    _checks.instance("rng", rng, Stream)
    _checks.drawn_beside("images", images, rng.device)
    if images.device.type == "cpu":  # elsewhere this would wait for the device at every batch
        low, high = images.amin(), images.amax()
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"images must hold numbers from 0 to 1, not from {low:g} to {high:g}: divide bytes by 255."
            )
    # Not torch.bernoulli, which takes more than twice as long on a processor.
    return rng.uniform(*images.shape).lt_(images).to(images.dtype)


def unpack(packed: bytes, file: IdxFile) -> Tensor:
    """Return the array in a gzipped IDX file, after checking that it is what it should be.

    Args:
        packed: the content of the file.
        file: what must be in it. No more than its size is unpacked, whatever the content says.

    Returns:
        The array, ``file.shape``, uint8.

    Raises:
        TypeError: if ``packed`` is not of bytes, or ``file`` not an `IdxFile`.
        ValueError: if the checksum, the format, the shape or the size is another.

    Reference:
        The format: LeCun, Cortes and Burges, *The MNIST database of handwritten digits*,
        http://yann.lecun.com/exdb/mnist/.
    """
    _checks.instance("packed", packed, bytes)
    _checks.instance("file", file, IdxFile)
    if hashlib.sha256(packed).hexdigest() != file.checksum:
        raise ValueError(f"{file.name} must have the SHA-256 {file.checksum}, and has not: it is damaged.")
    # Two zeros, the type 8 for unsigned bytes, the number of axes, and the length of each axis.
    header = bytes((0, 0, 8, len(file.shape))) + b"".join(n.to_bytes(4, "big") for n in file.shape)
    size, found = math.prod(file.shape), 0
    content = memoryview(bytearray(size + 1))  # one more than there may be
    try:
        with gzip.open(io.BytesIO(packed)) as stream:
            start = stream.read(len(header))
            # Piece by piece: all at once it would be in memory twice.
            while read := stream.readinto(content[found : found + PIECE]):
                found += read
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{file.name} must be a whole gzip file, and is not ({error}).") from error
    if start != header:
        raise ValueError(f"{file.name} must start with {header.hex(' ')}, not {start.hex(' ') or 'nothing'}.")
    if found != size:
        numbers = "more" if found > size else f"{found:,}"
        raise ValueError(f"{file.name} must hold {size:,} numbers, not {numbers}.")
    return torch.frombuffer(content, dtype=torch.uint8, count=size).view(file.shape)


def _digits(images: Tensor, labels: Tensor, device: torch.device | str) -> Digits:
    """Return bytes as `Digits` on ``device``."""
    if labels.max() >= CLASSES:
        raise ValueError(f"labels must be from 0 to 9, not up to {labels.max()}.")
    return Digits(images.to(device).flatten(1).float().div_(255), labels.to(device).long())


def _download(cache: str | os.PathLike[str] | None, mirrors: Sequence[str]) -> list[bytes] | None:
    """Return the four files of the full set, or None after one line that says why they can't be had."""
    # It takes a while to import, and most of the book does without.
    import pooch

    folder = Path(pooch.os_cache("gan_helpers") if cache is None else cache)
    failures = []
    for mirror in mirrors:
        try:
            return [_fetch(file, mirror, folder).read_bytes() for file in FULL]
        except _RefusedError as error:
            failures.append(f"{mirror}: {error}")
        except ValueError:  # pooch's, of another checksum
            failures.append(f"{mirror}: another file than expected")
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

    def download(url: str, output: str, _: object) -> None:
        """Write to ``output`` what an address serves; pooch then verifies it and moves it into the cache."""
        hidden = not someone_is_watching()
        with tqdm(total=file.size, unit="B", unit_scale=True, desc=file.name, disable=hidden) as bar:
            with open(output, "wb") as stream:
                for piece in _pieces(url, file.size):
                    stream.write(piece)
                    bar.update(len(piece))

    url = f"{mirror.rstrip('/')}/{file.name}"
    with _quiet(pooch.get_logger()):
        return Path(
            pooch.retrieve(
                url, f"sha256:{file.checksum}", file.name, folder, processor=_notice, downloader=download
            )
        )


def _notice(path: str, action: str, _: object) -> str:
    """Say that a damaged file of the cache was replaced; pooch calls this once a file is verified."""
    if action == "update":
        log.warning("%s was damaged and has been fetched again.", path)
    return path


class _RefusedError(ValueError):
    """A mirror is left; the message says in a few words why."""


def _pieces(url: str, size: int) -> Iterator[bytes]:
    """Yield what an address serves, at most ``size`` bytes of it, unless it keeps us waiting.

    A thread of its own reads, since a timeout of the connection would begin anew with every single byte.
    """
    import requests

    pieces: SimpleQueue[bytes | Exception | None] = SimpleQueue()

    def read() -> None:
        left = size
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
                for piece in response.iter_content(PIECE):
                    left -= len(piece)
                    if left < 0:
                        raise _RefusedError("more than expected")
                    pieces.put(piece)
            pieces.put(None)
        except Exception as error:  # whatever it is, it is for the thread that waits
            pieces.put(error)

    Thread(target=read, daemon=True).start()
    while True:
        try:
            piece = pieces.get(timeout=TIMEOUT)
        except Empty:
            raise _RefusedError("too slow") from None
        if isinstance(piece, Exception):
            raise _RefusedError(_reason(piece)) from piece
        if piece is None:
            return
        yield piece


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
    if isinstance(error, _RefusedError):
        return str(error)
    response = getattr(error, "response", None)
    return type(error).__name__ if response is None else f"status {response.status_code}"

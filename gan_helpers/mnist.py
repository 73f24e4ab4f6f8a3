"""Handwritten digits: 10,000 that come with the package, and on request all of MNIST, or Fashion-MNIST.

Two lines make a sampler of them, as of any other data set::

    digits = mnist.load()  # 8,000 to train on and 2,000 held out; load(full=True): 60,000 and 10,000
    data = Minibatches(digits.train.images)

An image is a row of 784 numbers from 0 (background) to 1 (ink). The bundled digits are part of MNIST's
training set, so they are no test of what was trained on the full one. ``load(name="fashion")`` has clothes in
their place, of the same size.

References:
    LeCun, Bottou, Bengio and Haffner, *Gradient-based learning applied to document recognition*, 1998,
    https://doi.org/10.1109/5.726791. MNIST is distributed under CC BY-SA 3.0.

    Xiao, Rasul and Vollgraf, *Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms*, 2017, https://arxiv.org/abs/1708.07747. Fashion-MNIST is distributed under the MIT licence.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files

import torch
from platformdirs import user_cache_dir
from torch import Tensor

from gan_helpers import _checks, downloads
from gan_helpers.device import default_device
from gan_helpers.downloads import File
from gan_helpers.randomness import Stream

log = logging.getLogger("gan_helpers")

SIDE = 28  # pixels: an image is SIDE x SIDE
CLASSES = 10
TRAINING, HELD_OUT = 8_000, 2_000  # of the bundled digits

#: Where the full set is fetched from, tried in this order.
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
)
#: Where Fashion-MNIST is.
FASHION_MIRRORS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
)


BUNDLED = (
    File(
        "mnist-10k-images-idx3-ubyte",
        7_840_016,
        "87ff80b1af14cbb3cd72b14f87b48775177b2bbd6ad1b2645c25bd389d95c284",
    ),
    File(
        "mnist-10k-labels-idx1-ubyte",
        10_008,
        "abc1ca0c0af29e09d56751fab3baff6f96ac830fe542e7e091e7f3ed8afce81d",
    ),
)
FULL = (
    File(
        "train-images-idx3-ubyte",
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    File(
        "train-labels-idx1-ubyte",
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    File(
        "t10k-images-idx3-ubyte",
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    File(
        "t10k-labels-idx1-ubyte",
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)
FASHION = (
    File(
        "train-images-idx3-ubyte",
        47_040_016,
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    File(
        "train-labels-idx1-ubyte",
        60_008,
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    File(
        "t10k-images-idx3-ubyte",
        7_840_016,
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    File(
        "t10k-labels-idx1-ubyte",
        10_008,
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)
#: The files of the sets, and where these are, by the names of the sets.
SETS = {"mnist": (FULL, MIRRORS), "fashion": (FASHION, FASHION_MIRRORS)}


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
        n, pixels = len(_checks.floating("images", self.images, "(n, 784)", dims=2)), SIDE**2
        _checks.classes("labels", self.labels, "(n,)")
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
    name: str = "mnist",
    cache: str | os.PathLike[str] | None = None,
    mirrors: Sequence[str] | None = None,
) -> Mnist:
    """Return the digits, ready to train on: the bundled ones, or on request all of MNIST, or Fashion-MNIST.

    The full set is downloaded at the first time and verified at each. Whoever has it already names the
    folder: ``mnist.load(full=True, cache="data/mnist")``. A damaged file is fetched again, and a line says
    so. Where the full set can't be had, one line says why and the bundled digits are returned:
    ``len(digits.train)`` is 60,000 or 8,000. Nothing of Fashion-MNIST is bundled, so that has to be had.

    Args:
        full: whether to load all 60,000 + 10,000 images; else there are 8,000 + 2,000.
        device: where they will live; `gan_helpers.device.default_device` unless given. In single precision
            the full set takes 220 MB there.
        name: ``"mnist"``, or ``"fashion"``: clothes, whose labels stand for ten kinds of them.
        cache: the folder that keeps the four files of the set, as they are or packed by gzip, from
            whatever source; the system's folder for such things unless given.
        mirrors: https addresses of folders that have those files packed, tried in this order; those of
            `SETS` unless given.

    Raises:
        TypeError: if an argument is of the wrong type; ``mirrors`` is a sequence of addresses, not one.
        ValueError: if there is no such device or set, or a file of the package is damaged.
        OSError: if Fashion-MNIST can't be had.
    """
    if _checks.text("name", name) not in SETS:
        raise ValueError(f"name must be one of {', '.join(SETS)}, not {name!r}.")
    if mirrors is not None:
        _checks.texts("mirrors", mirrors)
    if cache is not None:
        _checks.path("cache", cache)
    device = default_device() if device is None else _checks.device("device", device)
    if name == "fashion":
        clothes = _fetched(name, device, cache, mirrors)
        return clothes if full else Mnist(clothes.train[:TRAINING], clothes.test[:HELD_OUT])
    if full:
        try:
            return _fetched(name, device, cache, mirrors)
        except downloads.UnavailableError as error:
            log.warning("Using the bundled 10,000 digits; the full set is not there (%s).", error)
    images, labels = (_bundled(file) for file in BUNDLED)
    digits = _digits(images, labels, device)
    return Mnist(digits[:TRAINING], digits[TRAINING:])


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


def _fetched(
    name: str,
    device: torch.device | str,
    cache: str | os.PathLike[str] | None,
    mirrors: Sequence[str] | None,
) -> Mnist:
    """Return a whole set from its folder, or from where it can be had; all sets have the same file names."""
    wanted, usual = SETS[name]
    folder = cache or os.path.join(user_cache_dir("gan_helpers"), "" if name == "mnist" else name)
    contents = downloads.fetch(wanted, usual if mirrors is None else mirrors, folder)
    images, labels, test_images, test_labels = contents
    return Mnist(_digits(images, labels, device), _digits(test_images, test_labels, device))


def _bundled(file: File) -> bytearray:
    """Return what is in a file of the package."""
    with as_file(files("gan_helpers") / "assets" / f"{file.name}.gz") as path:
        return downloads.read(path, file)


def _digits(images: bytearray, labels: bytearray, device: torch.device | str) -> Digits:
    """Return the contents of two IDX files on ``device``: bytes after a header of 4, and 4 for each axis."""
    pixels = torch.frombuffer(images, dtype=torch.uint8, offset=16).view(-1, SIDE**2)
    shown = torch.frombuffer(labels, dtype=torch.uint8, offset=8)
    return Digits(pixels.to(device).float().div_(255), shown.to(device).long())

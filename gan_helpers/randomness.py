"""Named streams of random numbers: one for each use, so that no use disturbs another."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gan_helpers import _checks
from gan_helpers.shares import Share


def base_seed() -> int:
    """Return the seed that all of the book's runs start from: ``GAN_BOOK_SEED``, or 0.

    Raises:
        ValueError: if the environment variable is not a whole number of at least 0.
    """
    text = os.environ.get("GAN_BOOK_SEED", "0")
    if not text.strip().isdecimal():
        raise ValueError(
            f"GAN_BOOK_SEED must be a whole number of at least 0, not {text!r}: set it to 7, for example."
        )
    return int(text)


@dataclass
class Stream:
    """A stream of random numbers on one device, fixed by its name and its seed.

    Streams with different names or seeds are unrelated, so drawing more noise never changes the data.

    Args:
        name: what the numbers are for, such as ``"noise"``.
        seed: `base_seed` unless given.
        device: where the numbers are drawn and live; the CPU unless given.
        members: the share of an ensemble that the numbers are for, their first axis. They are drawn for all
            members, and those of the share are kept: so each gets what it gets beside the others.
        rows: the same for the rows of a batch, the second axis.

    Raises:
        TypeError: if an argument, here or in a method, is of the wrong type.
        ValueError: if ``seed`` is negative, there is no such device, or what a method is asked for cannot be.
    """

    name: str
    seed: int | None = None
    device: torch.device | str = "cpu"
    members: Share | None = field(default=None, repr=False)
    rows: Share | None = field(default=None, repr=False)
    generator: torch.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _checks.text("name", self.name)
        self.seed = base_seed() if self.seed is None else _checks.whole("seed", self.seed, at_least=0)
        self.device = _checks.device("device", self.device)
        for name in ("members", "rows"):
            if getattr(self, name) is not None:
                _checks.instance(name, getattr(self, name), Share)
        # The meta device has shapes but no numbers, hence no generator of its own: any serves.
        place = "cpu" if self.device.type == "meta" else self.device
        digest = hashlib.sha256(f"{self.name}/{self.seed}".encode()).digest()
        self.generator = torch.Generator(place).manual_seed(int.from_bytes(digest[:7], "big"))

    def normal(self, *shape: int) -> Tensor:
        """Draw from N(0, 1)."""
        return self._kept(
            shape, lambda sizes: torch.randn(sizes, generator=self.generator, device=self.device)
        )

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draw from the uniform distribution on [low, high)."""
        _checks.number("high", high, at_least=_checks.number("low", low))
        u = self._kept(shape, lambda sizes: torch.rand(sizes, generator=self.generator, device=self.device))
        return u if (low, high) == (0.0, 1.0) else u.mul_(high - low).add_(low)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Draw whole numbers from 0 to ``high - 1``, each equally likely."""
        _checks.whole("high", high)
        return self._kept(
            shape, lambda sizes: torch.randint(high, sizes, generator=self.generator, device=self.device)
        )

    def permutation(self, n: int) -> Tensor:
        """Draw an order of 0 to ``n - 1``, each equally likely."""
        return torch.randperm(_checks.whole("n", n), generator=self.generator, device=self.device)

    def keep(self, probability: float, like: Tensor) -> Tensor:
        """Draw a mask shaped as ``like``: 1 with the given ``probability`` and 0 otherwise."""
        _checks.floating("like", like, "(...)")
        p = _checks.number("probability", probability, at_least=0.0, at_most=1.0)
        # Not bernoulli_, which takes more than twice as long on a processor.
        # In the order of the axes, however those of ``like`` lie in memory: a share of it may lie otherwise.
        return self._kept(
            like.shape, lambda sizes: like.new_empty(sizes).uniform_(generator=self.generator).lt_(p)
        )

    def _kept(self, shape: tuple[int, ...], draw: Callable[[tuple[int, ...]], Tensor]) -> Tensor:
        """Draw numbers for all, and return those of the share."""
        sizes = list(_sizes(shape))
        shares = [
            (axis, share)
            for axis, share in ((0, self.members), (1, self.rows))
            if share is not None and axis < len(sizes)
        ]
        for axis, share in shares:
            sizes[axis] = share.widened(("members", "rows of a batch")[axis], sizes[axis])
        drawn = draw(tuple(sizes))
        for axis, share in shares:
            drawn = share.narrowed(drawn, axis)
        return drawn

    def state(self) -> dict[str, Tensor]:
        """Return where the stream is, as a tensor of bytes, for a checkpoint."""
        return {"generator": self.generator.get_state()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from where another stream of this kind of device was.

        Args:
            state: what its `state` returned.

        Raises:
            TypeError: if ``state`` is no dictionary.
            ValueError: if ``state`` is none of a stream's on such a device.
        """
        _checks.instance("state", state, dict)
        now = self.generator.get_state()
        bytes_ = state.get("generator", torch.empty(0))
        try:
            if state.keys() != {"generator"} or (bytes_.shape, bytes_.dtype) != (now.shape, now.dtype):
                raise RuntimeError("it has another size")
            self.generator.set_state(bytes_.cpu())
        except RuntimeError as error:
            raise ValueError(f"state is not that of a stream on {self.device}: {error}") from error


def _sizes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the lengths of the axes of what is to be drawn, if that is what they are."""
    return tuple(_checks.whole(f"shape[{i}]", n, at_least=0) for i, n in enumerate(shape))

"""Says so when networks go on with the random numbers that they were trained with before."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

log = logging.getLogger("gan_helpers")

_seeds: WeakKeyDictionary[Any, list[int]] = WeakKeyDictionary()


def say_if_reused(networks: tuple[Any, Any], seed: int) -> None:
    """Say once that streams start again which the networks have had, and how to go on with fresh numbers.

    Args:
        networks: G and D.
        seed: that of the streams of data and noise.
    """
    if any(_seeds.get(network, []).count(seed) == 1 for network in networks):
        log.warning(
            "These networks were trained with the random numbers of seed %d before, and now meet the same "
            "data and noise again. For fresh ones give another seed, seed=%d, or make one call with more "
            "steps; checkpoint= goes on where a run stopped.",
            seed,
            seed + 1,
        )


@contextmanager
def remembered(networks: tuple[Any, Any], seed: int, record: Any) -> Iterator[None]:
    """Remember which streams the networks were trained with, if a step is made inside.

    Args:
        networks: G and D.
        seed: that of the streams of data and noise.
        record: has ``made``, the number of steps.
    """
    try:
        yield
    finally:
        for network in networks if record.made else ():
            _seeds.setdefault(network, []).append(seed)

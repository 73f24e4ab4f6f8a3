r"""Losses of a game on pairs of pictures: one is given, the other is asked for, and errors have a price.

A pair is (x, y): y is given and x is asked for, tensors ``(seeds, batch, ...)``. Both players are told y, as
labels are told in `gan_helpers.labels`: ``G((z, y))`` and ``D((x, y))``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gan_helpers import _checks
from gan_helpers.ensemble import Ensemble
from gan_helpers.losses import minimax_d, non_saturating_g
from gan_helpers.penalties import r1_r2

Error = Callable[[Tensor, Tensor], Tensor]
Losses = tuple[Callable[..., Tensor], Callable[..., Tensor]]


def _pictures(**named: Tensor) -> None:
    """Check that pictures are floating-point tensors of one shape."""
    for name, pictures in named.items():
        _checks.floating(name, pictures, "(seeds, batch, ...)")
    _checks.alike(**named)


def absolute(x: Tensor, fake: Tensor) -> Tensor:
    r"""Return the mean absolute error of a pixel, :math:`\frac1n \mathbb{E} \lVert x - G(z, y) \rVert_1`.

    Args:
        x: pictures, ``(seeds, batch, ...)``.
        fake: what was drawn in their place.

    Returns:
        One error per seed, ``(seeds,)``, in units of a pixel.

    Raises:
        TypeError: if one is not a floating-point tensor.
        ValueError: if they differ in shape.

    References:
        Isola et al. (2017), equation 3. https://arxiv.org/abs/1611.07004
    """
    _pictures(x=x, fake=fake)
    return (x - fake).abs().flatten(1).mean(1)


def squared(x: Tensor, fake: Tensor) -> Tensor:
    r"""Return the mean squared error of a pixel, :math:`\frac1n \mathbb{E} \lVert x - G(z, y) \rVert^2`.

    Args:
        x: pictures, ``(seeds, batch, ...)``.
        fake: what was drawn in their place.

    Returns:
        One error per seed, ``(seeds,)``, in squared units of a pixel.

    Raises:
        TypeError: if one is not a floating-point tensor.
        ValueError: if they differ in shape.
    """
    _pictures(x=x, fake=fake)
    return (x - fake).square().flatten(1).mean(1)


def difference(one: Tensor, other: Tensor, z: Tensor) -> Tensor:
    r"""Return how far apart two answers to a picture are, for noise that is as far apart.

    .. math:: \mathbb{E} \frac{\lVert G(z, y) - G(z', y) \rVert_1}{\lVert z - z' \rVert_1}

    where z' is the noise of the sample before, and both norms are means.

    Args:
        one: answers to the noise, ``(seeds, batch, ...)``.
        other: answers to the noise of the sample before.
        z: the noise, ``(seeds, batch, features)``.

    Raises:
        TypeError: if one is not a floating-point tensor.
        ValueError: if the answers differ in shape, or the noise has not three dimensions or is of one sample.

    References:
        Mao et al. (2019). https://arxiv.org/abs/1903.05628
    """
    _pictures(one=one, other=other)
    _checks.floating("z", z, "(seeds, batch, features)", dims=3)
    if z.shape[1] < 2:
        raise ValueError("z must hold two samples or more, as each is compared with the one before, not 1.")
    apart = (one - other).abs().flatten(2).mean(2)
    return (apart / (z - z.roll(1, 1)).abs().mean(2)).mean(1)


def losses_of(error: Error, weight: float, game: bool, gamma: float, diversity: float = 0.0) -> Losses:
    r"""Return the losses of a game with a price on error: of :math:`-\log D + \lambda` times the error.

    Args:
        error: of pictures and what was drawn in their place, ``(seeds,)``.
        weight: :math:`\lambda`.
        game: whether G plays at all; D learns in any case.
        gamma: the weight of :math:`\frac12 (R_1 + R_2)`.
        diversity: the reward for answers that differ, `difference`.

    Raises:
        TypeError: when a loss is computed, if pictures are not floating-point tensors.
        ValueError: then, if they differ in shape.
    """

    def d_loss(G: Ensemble, D: Ensemble, real: Any, z: Tensor) -> Tensor:
        x, y = real
        fake = G((z, y)).detach()
        loss = minimax_d(*D((x, y), (fake, y)))
        if gamma:
            given = torch.cat([y, y], 1)
            loss = loss + gamma * r1_r2(lambda both: D((both, given)), x, fake)
        return loss

    def g_loss(G: Ensemble, D: Ensemble, real: Any, z: Tensor) -> Tensor:
        x, y = real
        fake = G((z, y))
        loss = weight * error(x, fake)
        if game:
            loss = loss + non_saturating_g(D((fake, y)))
        return loss - diversity * difference(fake, G((z.roll(1, 1), y)), z) if diversity else loss

    return d_loss, g_loss

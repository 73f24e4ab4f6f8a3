"""Penalties on the slope of the discriminator, one per seed, to be added to its loss.

Each is a mean over the batch of a function of one sample's own gradient norm. A discriminator that
looks across the batch, through batch normalisation for example, has no such gradient: leave it out of D.

Raises:
    TypeError: in all functions, if samples are no floating-point tensor, or D no function that returns one.
        Also if real and generated ones differ in precision.
    ValueError: in all functions, if samples are empty or have no batch and feature axes, if real and
        generated ones differ in shape, or D(x) does not depend on x.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gan_helpers import _checks
from gan_helpers.randomness import Stream

Discriminator = Callable[[Tensor], Tensor]


def _require_pair(x: Tensor, fake: Tensor) -> None:
    """Check that real and generated samples have a batch, and are alike."""
    for name, samples in (("x", x), ("fake", fake)):
        _checks.floating(name, samples, "(seeds, batch, ...)")
        if samples.dim() < 3:
            raise ValueError(f"{name} must have shape (seeds, batch, ...), not {tuple(samples.shape)}.")
    _checks.alike(x=x, fake=fake)


def squared_slopes(D: Discriminator, x: Tensor) -> Tensor:
    r"""Return the squared norm of D's gradient at each sample, ready to be differentiated again.

    .. math:: \lVert \nabla_x D(x) \rVert^2

    Args:
        D: maps ``(seeds, batch, ...)`` to logits.
        x: where the slope is taken, ``(seeds, batch, ...)``; no gradient flows back into x.

    Returns:
        One squared norm per sample, ``(seeds, batch)``, in squared logits per squared unit of x.
    """
    _checks.function("D", D)
    _checks.floating("x", x, "(seeds, batch, ...)")
    if x.dim() < 3:
        raise ValueError(f"x must have shape (seeds, batch, ...), not {tuple(x.shape)}.")
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        logits = _checks.floating("D(x)", D(x), "(seeds, batch, 1)")
        slopes = None
        if logits.requires_grad:
            (slopes,) = torch.autograd.grad(logits.sum(), x, create_graph=True, allow_unused=True)
    if slopes is None:
        raise ValueError("D(x) does not depend on x, so it has no slope: do not detach what D returns.")
    return slopes.flatten(2).square().sum(2)


def r1(D: Discriminator, x: Tensor) -> Tensor:
    r"""Return the mean squared slope of D at real samples.

    .. math:: R_1 = \mathbb{E}_{x \sim p_{data}} \lVert \nabla_x D(x) \rVert^2

    The papers weight it with gamma / 2.

    Args:
        D: maps ``(seeds, batch, ...)`` to logits.
        x: real samples, ``(seeds, batch, ...)``.

    Returns:
        One penalty per seed, ``(seeds,)``.

    References:
        Mescheder, Geiger and Nowozin (2018), equation 9. https://arxiv.org/abs/1801.04406
    """
    return squared_slopes(D, x).mean(1)


def r2(D: Discriminator, fake: Tensor) -> Tensor:
    r"""Return the mean squared slope of D at generated samples.

    .. math:: R_2 = \mathbb{E}_{x \sim p_g} \lVert \nabla_x D(x) \rVert^2

    The papers weight it with gamma / 2.

    Args:
        D: maps ``(seeds, batch, ...)`` to logits.
        fake: generated samples, ``(seeds, batch, ...)``; no gradient flows back into them.

    Returns:
        One penalty per seed, ``(seeds,)``.

    References:
        Mescheder, Geiger and Nowozin (2018), equation 10. https://arxiv.org/abs/1801.04406
    """
    return squared_slopes(D, fake).mean(1)


def r1_r2(D: Discriminator, x: Tensor, fake: Tensor) -> Tensor:
    r"""Return the mean of `r1` and `r2`, in one pass through D.

    .. math:: \frac12 (R_1 + R_2)

    Args:
        D: maps ``(seeds, batch, ...)`` to logits.
        x: real samples, ``(seeds, batch, ...)``.
        fake: generated samples, as many; no gradient flows back into them.

    Returns:
        One penalty per seed, ``(seeds,)``. The papers weight it with gamma.

    References:
        Huang et al. (2024), section 2. https://arxiv.org/abs/2501.05441
    """
    _require_pair(x, fake)
    return squared_slopes(D, torch.cat([x, fake], 1)).mean(1)


def gradient_penalty(
    D: Discriminator,
    x: Tensor,
    fake: Tensor,
    rng: Stream,
    target: float = 1.0,
    one_sided: bool = False,
) -> Tensor:
    r"""Return how far the slope of D is from ``target`` between real and generated samples.

    .. math:: \mathbb{E}\left[(\lVert \nabla_{\hat x} D(\hat x) \rVert - 1)^2\right],
        \quad \hat x = u\,x + (1 - u)\,G(z), \quad u \sim U(0, 1)

    Each sample has its own u and its own norm. The paper weights the penalty with 10. One-sided, a slope
    below the target costs nothing: :math:`\max(0, \lVert \nabla_{\hat x} D(\hat x) \rVert - 1)^2`.

    Args:
        D: maps ``(seeds, batch, ...)`` to outputs without a sigmoid.
        x: real samples, ``(seeds, batch, ...)``.
        fake: generated samples, as many; no gradient flows back into them.
        rng: the stream that u comes from.
        target: the slope that costs nothing, in outputs per unit of x.
        one_sided: whether smaller slopes cost nothing either.

    Returns:
        One penalty per seed, ``(seeds,)``.

    References:
        Gulrajani et al. (2017), algorithm 1; one-sided, section 4. https://arxiv.org/abs/1704.00028
    """
    _require_pair(x, fake)
    _checks.number("target", target, at_least=0.0)
    _checks.instance("one_sided", one_sided, bool)
    _checks.instance("rng", rng, Stream)
    u = rng.uniform(*x.shape[:2], *[1] * (x.dim() - 2)).to(x)
    # At 0 the root has no slope and autograd would give NaN; the smallest float is far below any slope.
    tiny = torch.finfo(x.dtype).tiny
    slopes = squared_slopes(D, torch.lerp(fake.detach(), x.detach(), u)).clamp_min(tiny).sqrt()
    excess = slopes - target
    return (excess.clamp_min(0) if one_sided else excess).square().mean(1)

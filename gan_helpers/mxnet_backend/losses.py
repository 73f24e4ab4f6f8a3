"""Losses of logits and the penalty R1, one number per seed.

Raises:
    TypeError: in all functions, if an argument is no NDArray.
    ValueError: in all functions, if one is not of shape ``(seeds, batch, 1)``, or the seeds differ; in those
        of slopes, if the network has more than one output.
"""

from __future__ import annotations

from typing import Any

from gan_helpers import _checks
from gan_helpers.mxnet_backend.arrays import numbers
from gan_helpers.mxnet_backend.importing import nd
from gan_helpers.mxnet_backend.networks import Ensemble


def _per_seed(values: Any) -> Any:
    return values.mean(axis=0, exclude=True)


def _softplus(values: Any) -> Any:
    return nd.Activation(values, act_type="softrelu")


def _logits(**named: Any) -> None:
    for name, logits in named.items():
        numbers(name, logits, "(seeds, batch, 1)", dims=3)
    if len({len(logits) for logits in named.values()}) > 1:
        shapes = " and ".join(str(logits.shape) for logits in named.values())
        raise ValueError(f"{' and '.join(named)} must be of as many seeds, not of shape {shapes}.")


def minimax_d(real: Any, fake: Any) -> Any:
    """Return the negative value of the game, ``(seeds,)``; see `gan_helpers.losses.minimax_d`.

    Args:
        real: logits of real samples, ``(seeds, batch, 1)``.
        fake: logits of generated samples, ``(seeds, batch, 1)``.
    """
    _logits(real=real, fake=fake)
    return _per_seed(_softplus(-real)) + _per_seed(_softplus(fake))


def minimax_g(fake: Any) -> Any:
    """Return the generator's part of the value of the game, ``(seeds,)``; see `gan_helpers.losses.minimax_g`.

    Args:
        fake: logits of generated samples, ``(seeds, batch, 1)``.
    """
    _logits(fake=fake)
    return -_per_seed(_softplus(fake))


def non_saturating_g(fake: Any) -> Any:
    """Return the non-saturating loss, ``(seeds,)``; see `gan_helpers.losses.non_saturating_g`.

    Args:
        fake: logits of generated samples, ``(seeds, batch, 1)``.
    """
    _logits(fake=fake)
    return _per_seed(_softplus(-fake))


def squared_slopes(D: Ensemble, x: Any) -> Any:
    """Return the squared norm of D's gradient at each sample; see `gan_helpers.penalties.squared_slopes`.

    Args:
        D: discriminators with one output.
        x: where the slope is taken, ``(seeds, batch, features)``; no gradient flows back into x.

    Returns:
        One squared norm per sample, ``(seeds, batch)``.
    """
    _checks.instance("D", D, Ensemble)
    return (D.slopes(numbers("x", x).detach()) ** 2).sum(axis=2)


def r1(D: Ensemble, x: Any) -> Any:
    """Return the mean squared slope of D at real samples, ``(seeds,)``; see `gan_helpers.penalties.r1`.

    Args:
        D: discriminators with one output.
        x: real samples, ``(seeds, batch, features)``.
    """
    return squared_slopes(D, x).mean(axis=1)

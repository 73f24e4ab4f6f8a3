r"""How many modes of a mixture a generator reaches, how sharply, and how evenly.

Modes that are found say nothing of how good the samples are, and good samples say nothing of the modes that
are missed: the three numbers belong together. Not even real samples are at their ideal, so what those get is
the floor to compare with. It depends on the number of samples: use as many as for the generator.

Raises:
    TypeError: everywhere, if samples are no floating-point tensor, or the target is no mixture.
    ValueError: everywhere, if samples are empty, not finite, or of a shape that does not fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_helpers import _checks
from gan_helpers.data import GaussianMixture


@dataclass(frozen=True, eq=False)
class ModeCounts:
    """What the modes of a mixture get of one sample for each seed; see `count_modes`.

    Args:
        modes: how many have a sample of high quality, ``(seeds,)``.
        high_quality: the share of samples of high quality, ``(seeds,)``, from 0 to 1.
        reverse_kl: how unevenly these are spread over the modes, in nats, ``(seeds,)``.
        each: how many samples of high quality each mode has, ``(seeds, modes)``.
    """

    modes: Tensor
    high_quality: Tensor
    reverse_kl: Tensor
    each: Tensor


def count_modes(x: Tensor, target: GaussianMixture, radius: float = 3.0) -> ModeCounts:
    r"""Return how many modes each seed's sample finds, and how sharply and how evenly.

    .. math:: q_i = \frac{n_i}{\sum_j n_j}, \qquad
        \operatorname{KL}(q \,\|\, u) = \sum_{i=1}^{k} q_i \log(k\, q_i)

    A sample belongs to the mode nearest to it, and is of high quality if it is less than ``radius``
    standard deviations away. Mode i has :math:`n_i` samples of high quality, and counts as found with one.
    In two dimensions :math:`1 - e^{-9/2}`, 98.89 %, of real samples are closer than 3: a larger share means
    modes that have shrunk. The divergence from equal shares is reverse, as q comes first, so modes that are
    missed leave it finite: it is at most log k, and is taken to be that if no sample is of high quality. Of n
    real samples it is on average about :math:`(k - 1) / (2 n)`.

    Args:
        x: samples, ``(seeds, n, features)``; the paper takes n = 2,500.
        target: the mixture, whose k modes are equally likely, as those of `data.ring` and `data.grid`.
        radius: the largest distance of a sample of high quality, in standard deviations of a mode.

    Reference:
        Lin et al., *PacGAN: The power of two samples in generative adversarial networks*, 2018,
        https://arxiv.org/abs/1712.04086, and the code that comes with it.
    """
    x = _checks.finite("x", x, "(seeds, n, features)", dims=3).detach().double()
    _checks.instance("target", target, GaussianMixture)
    _checks.number("radius", radius, above=0)
    if x.shape[2] != target.features:
        raise ValueError(f"x must have {target.features} features, as target has, not {tuple(x.shape)}.")
    distances = torch.cdist(x, target.means.to(x), compute_mode="donot_use_mm_for_euclid_dist")
    distance, mode = distances.min(2)
    good = (distance < radius * target.sd).double()
    counts = torch.zeros(len(x), target.modes, dtype=x.dtype, device=x.device).scatter_add_(1, mode, good)
    q = counts / counts.sum(1, keepdim=True)
    largest = math.log(target.modes)
    divergence = (largest + torch.xlogy(q, q).sum(1)).nan_to_num(largest)
    return ModeCounts((counts > 0).double().sum(1), good.mean(1), divergence, counts)

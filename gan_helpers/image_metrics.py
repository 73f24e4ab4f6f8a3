r"""How good generated images are, and how varied, in the features of a classifier or pixel by pixel.

There is no known density of digits, so all of these compare with a sample of real ones, and even real images
that are not in that sample are not at the ideal value. What they get is the floor to compare with. It depends
on the number of images: use as many as for the generator.

``x`` is one sample for each seed, ``(seeds, n, features)``, and ``real`` one for all, ``(m, features)``. The
features are those of `gan_helpers.classifier`, or of any other network, or the pixels themselves.

Raises:
    TypeError: everywhere, if an argument is not a tensor of the kind of numbers that it is said to hold.
    ValueError: everywhere, if an argument is empty, not finite, or of a shape that does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_helpers import _checks
from gan_helpers.metrics import fit_gaussian, w2_gaussian

CHUNK = 1_000  # points whose distances to the real ones are in memory at once


@dataclass(frozen=True, eq=False)
class DensityCoverage:
    """How many samples are where the real ones are, and how many of the real ones they reach.

    Args:
        density: samples in the neighbourhood of a real point, in units of what is expected, ``(seeds,)``.
        coverage: share of the real points with a sample in their neighbourhood, ``(seeds,)``.
    """

    density: Tensor
    coverage: Tensor


@dataclass(frozen=True, eq=False)
class Nearest:
    """For each sample the real point that is closest to it.

    Args:
        index: which one it is, ``(seeds, n)``.
        distance: how far it is, in the units of the features, ``(seeds, n)``.
    """

    index: Tensor
    distance: Tensor


def class_shares(labels: Tensor, classes: int = 10) -> Tensor:
    """Return how often each class occurs in each seed's sample.

    Args:
        labels: classes, ``(seeds, n)``, whole numbers from 0 to ``classes - 1``.
        classes: how many there are.

    Returns:
        Shares that sum to 1, ``(seeds, classes)``.

    Raises:
        ValueError: if ``labels`` holds another number.
    """
    classes = _checks.whole("classes", classes)
    _checks.classes("labels", labels, "(seeds, n)", dims=2)
    low, high = (int(end) for end in labels.aminmax())
    if low < 0 or high >= classes:
        raise ValueError(f"labels must be from 0 to {classes - 1}, not from {low} to {high}.")
    counts = torch.zeros(len(labels), classes, dtype=torch.double, device=labels.device)
    return counts.scatter_add_(1, labels, torch.ones_like(labels, dtype=torch.double)) / labels.shape[1]


def class_kl(shares: Tensor, real: Tensor) -> Tensor:
    r"""Return the divergence of each seed's classes from the real ones, in nats.

    .. math:: \operatorname{KL}(q \,\|\, p) = \sum_c q_c \log \frac{q_c}{p_c}

    with q the generated shares and p the real ones. In this direction a class that is never generated adds
    nothing of its own, so the result is finite: if only class c is generated it is :math:`-\log p_c`, about
    2.3 for digits. Of n real images it is on average about :math:`(classes - 1) / (2 n)`.

    Args:
        shares: q, ``(seeds, classes)``, of `class_shares`.
        real: p, ``(classes,)``, all above 0.

    Returns:
        The divergences, ``(seeds,)``.

    Raises:
        ValueError: if shares are negative or don't sum to 1, or a real class is missing.

    Reference:
        Metz et al., *Unrolled generative adversarial networks*, 2017, https://arxiv.org/abs/1611.02163,
        which measures the collapse of stacked digits in this way.
    """
    q = _checks.finite("shares", shares, "(seeds, classes)", dims=2).detach().double()
    p = _checks.finite("real", real, "(classes,)", dims=1).detach().to(q)
    if q.shape[1:] != p.shape:
        raise ValueError(f"shares must be of {len(p)} classes, as real is, not of {q.shape[1]}.")
    for name, s in (("shares", q), ("real", p)):
        if (s < 0).any() or ((s.sum(-1) - 1).abs() > 1e-4).any():
            raise ValueError(f"{name} must be at least 0 and sum to 1: divide counts by their sum.")
    if (p == 0).any():
        raise ValueError("real must have all classes, or the divergence may be infinite: add real images.")
    return torch.xlogy(q, q / p).sum(1)


def frechet_distance(x: Tensor, real: Tensor) -> Tensor:
    r"""Return the squared Fréchet distance between Gaussians fitted to the samples and to the real points.

    .. math:: d^2 = |m_1 - m_2|^2
        + \operatorname{tr}\left( C_1 + C_2 - 2 (C_2^{1/2} C_1 C_2^{1/2})^{1/2} \right)

    It sees means and covariances only, and it is biased: real against real is above 0, the more so the fewer
    points and the more features there are. With Inception features it is known as FID. With others it is
    another number: compare it with none but those of the same features.

    Args:
        x: samples, ``(seeds, n, features)``.
        real: real points, ``(m, features)``.

    Returns:
        The squared distances, ``(seeds,)``.

    Reference:
        Heusel et al., *GANs trained by a two time-scale update rule converge to a local Nash equilibrium*,
        2017, https://arxiv.org/abs/1706.08500.
    """
    _compare(x, real)
    generated, true = fit_gaussian(x), fit_gaussian(real.unsqueeze(0))
    return w2_gaussian(generated.mean, generated.covariance, true.mean, true.covariance) ** 2


def density_coverage(x: Tensor, real: Tensor, k: int = 5) -> DensityCoverage:
    r"""Return how densely each seed's samples lie among the real points, and how many of them they cover.

    .. math:: \text{density} = \frac{1}{k n} \sum_{j=1}^{n} \sum_{i=1}^{m} [\, |x_j - r_i| < d_k(r_i) \,],
        \qquad \text{coverage} = \frac{1}{m} \sum_{i=1}^{m} [\, \min_j |x_j - r_i| < d_k(r_i) \,]

    with :math:`d_k(r)` the distance from r to the k-th nearest other real point. For samples of the real
    distribution density is 1 on average, whatever n, and coverage is
    :math:`1 - \prod_{i=1}^{k} (m - i) / (n + m - i)`: about 0.97 for k = 5 and n = m. Density may be above 1,
    if samples crowd where real points do.

    Args:
        x: samples, ``(seeds, n, features)``.
        real: real points, ``(m, features)``, more than ``k``.
        k: which neighbour sets the size of a neighbourhood.

    Raises:
        ValueError: if ``k`` is not below m.

    Reference:
        Naeem et al., *Reliable fidelity and diversity metrics for generative models*, 2020,
        https://arxiv.org/abs/2002.09797.
    """
    x, real = (t.detach().double() for t in _compare(x, real))
    inside = torch.stack([near.double().sum(0) for near in _inside(x, real, k)])
    return DensityCoverage(inside.sum(1) / (k * x.shape[1]), (inside > 0).double().mean(1))


def precision(x: Tensor, real: Tensor, k: int = 5) -> Tensor:
    r"""Return the share of each seed's samples that lie among the real points.

    .. math:: \frac{1}{n} \sum_{j=1}^{n} [\, \exists i: |x_j - r_i| < d_k(r_i) \,]

    with :math:`d_k(r)` as in `density_coverage`. One far real point has a wide neighbourhood and lets many
    samples in, which is why the density is told beside it.

    Args:
        x: samples, ``(seeds, n, features)``.
        real: real points, ``(m, features)``, more than ``k``.
        k: which neighbour sets the size of a neighbourhood.

    Returns:
        The shares, ``(seeds,)``.

    Raises:
        ValueError: if ``k`` is not below m.

    Reference:
        Kynkäänniemi et al., *Improved precision and recall metric for assessing generative models*, 2019,
        https://arxiv.org/abs/1904.06991.
    """
    x, real = (t.detach().double() for t in _compare(x, real))
    return torch.stack([near.any(1).double().mean() for near in _inside(x, real, k)])


def _inside(x: Tensor, real: Tensor, k: int) -> Iterator[Tensor]:
    """Yield for each seed which samples are in the neighbourhood of which real points, ``(n, m)``."""
    if _checks.whole("k", k) >= len(real):
        raise ValueError(f"k must be below the number of real points, {len(real)}, not {k}.")
    radius = torch.cdist(real, real).fill_diagonal_(torch.inf).kthvalue(k, dim=1).values
    for sample in x:
        yield torch.cdist(sample, real) < radius


def nearest(x: Tensor, real: Tensor) -> Nearest:
    """Return which real point is closest to each sample, and its distance: has an image been seen before?

    Args:
        x: samples, ``(seeds, n, features)``.
        real: real points, ``(m, features)``; for images to show, both are pixels.
    """
    x, real = (t.detach().double() for t in _compare(x, real))
    rows = x.flatten(0, 1)
    index = torch.cat([torch.cdist(chunk, real).argmin(1) for chunk in rows.split(CHUNK)])
    # By products of matrices a distance near 0 is not exact, so the one that counts is computed anew.
    distance = (rows - real[index]).norm(dim=1)
    return Nearest(index.view(x.shape[:2]), distance.view(x.shape[:2]))


def copying(x: Tensor, train: Tensor, held_out: Tensor) -> Tensor:
    """Return the share of each seed's samples that are nearer to a training point than to a held-out one.

    A generator that has learned the distribution and not the points gets 1/2, one that repeats what it was
    shown gets 1. Samples as near to both count half.

    Args:
        x: samples, ``(seeds, n, features)``.
        train: what the generator was trained on, or a part of it, ``(m, features)``.
        held_out: as many points that it was not, ``(m, features)``.

    Returns:
        The shares, ``(seeds,)``.

    Raises:
        ValueError: if there are not as many points of both kinds.
    """
    _checks.finite("train", train, "(m, features)", dims=2)
    _checks.finite("held_out", held_out, "(m, features)", dims=2)
    if train.shape != held_out.shape:
        raise ValueError(
            f"train and held_out must have one shape, not {tuple(train.shape)} and {tuple(held_out.shape)}: "
            "among more points there is a nearer one, so use as many."
        )
    gap = nearest(x, held_out).distance - nearest(x, train).distance
    return ((gap.sign() + 1) / 2).mean(1)


def _compare(x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Return samples and real points that fit together, on the device and in the precision of the samples."""
    _checks.finite("x", x, "(seeds, n, features)", dims=3)
    _checks.finite("real", real, "(m, features)", dims=2)
    if x.shape[2] != real.shape[1]:
        raise ValueError(f"x and real must have as many features, not {x.shape[2]} and {real.shape[1]}.")
    return x, real.to(x)

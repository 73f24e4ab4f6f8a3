"""The Gaussian in two dimensions, in MXNet: the source's recipe and the repaired one.

The source is Lipton et al. (2017); the layers that its text lost are those of its repository. MXNet is
imported when a recipe is run, and not before, so that this module can be read where there is no MXNet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan_helpers import metrics
from gan_helpers.data import Gaussian, Minibatches, StandardNormal
from gan_helpers.metrics import GaussianFit
from gan_helpers.randomness import Stream
from gan_helpers.tables import Table

# MXNet has no annotations. `G` and `D` below are ensembles of `gan_helpers.mxnet_backend`, x and z NDArrays.

A = torch.tensor([[1.0, 2.0], [-0.1, 0.5]])
B = torch.tensor([1.0, 2.0])
REAL = Gaussian.from_transform(A, B)
NOISE = StandardNormal(2)
EPOCHS = 10


@dataclass(frozen=True)
class Run:
    """What a recipe leaves behind.

    Args:
        G: the generators to be judged, a `gan_helpers.mxnet_backend.Ensemble`: the averaged ones if there is
            an average.
        history: the record of the training, a `gan_helpers.mxnet_backend.History`.
        right: the share of real and fake samples that D told right at each step, ``(steps, seeds)``.
    """

    G: Any
    history: Any
    right: Tensor


def points(seeds: int, seed: int | None = None) -> Tensor:
    """Return the 1,000 real points that each seed learns from, rows z A + b, ``(seeds, 1000, 2)``.

    Args:
        seeds: the number of data sets.
        seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
    """
    return Stream("points", seed).normal(seeds, 1_000, 2) @ A + B


def original(x: Tensor, seed: int | None = None, **options: Any) -> Run:
    """Train by the source's recipe: 10 epochs of batches of 4, a softmax over two outputs.

    Args:
        x: the points of each seed, ``(seeds, n, 2)``.
        seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
        options: options of `gan_helpers.mxnet_backend.train` that go before the recipe's own.
    """
    from gan_helpers import mxnet_backend as gm

    right = []

    def logit(outputs: Any) -> Any:
        return outputs[:, :, 1:] - outputs[:, :, :1]

    def d_loss(G: Any, D: Any, x: Any, z: Any) -> Any:
        real, fake = (logit(outputs) for outputs in D(x, G(z).detach()))
        right.append(_right(real.detach(), fake.detach()))
        return gm.minimax_d(real, fake)

    def g_loss(G: Any, D: Any, x: Any, z: Any) -> Any:
        return gm.non_saturating_g(logit(D(G(z))))

    G = gm.Ensemble(lambda: gm.mlp(2, 2), len(x), name="G", seed=seed)
    D = gm.Ensemble(lambda: gm.mlp(2, 5, 3, 2), len(x), name="D", seed=seed)
    fixed = {"steps": EPOCHS * x.shape[1] // 4, "batch": 4, "reuse_noise": True}
    history = gm.train(
        G,
        D,
        Minibatches(x),
        NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=gm.adam(D, 0.05),
        g_opt=gm.adam(G, 0.01),
        seed=seed,
        **(fixed | options),
    )
    return Run(G, history, gm.tensor(gm.nd.stack(*right)))


def repaired(x: Tensor, seed: int | None = None, **options: Any) -> Run:
    """Train by the repaired recipe: a wider D whose slope costs, larger batches, and averaged weights.

    Args:
        x: the points of each seed, ``(seeds, n, 2)``.
        seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
        options: options of `gan_helpers.mxnet_backend.train` that go before the recipe's own.
    """
    from gan_helpers import mxnet_backend as gm

    right = []

    def d_loss(G: Any, D: Any, x: Any, z: Any) -> Any:
        real, fake = D(x, G(z).detach())
        right.append(_right(real.detach(), fake.detach()))
        return gm.minimax_d(real, fake) + 0.1 / 2 * gm.r1(D, x)

    def g_loss(G: Any, D: Any, x: Any, z: Any) -> Any:
        return gm.non_saturating_g(D(G(z)))

    G = gm.Ensemble(lambda: gm.mlp(2, 2), len(x), name="G", seed=seed)
    D = gm.Ensemble(lambda: gm.mlp(2, 32, 32, 1, activation=0.2), len(x), name="D", seed=seed, sd=0.2)
    fixed = {"steps": 2_500, "batch": 128, "ema": 0.999}
    history = gm.train(
        G,
        D,
        Minibatches(x),
        NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=gm.adam(D, 8e-3, betas=(0.5, 0.999)),
        g_opt=gm.adam(G, 4e-3, betas=(0.5, 0.999)),
        seed=seed,
        **(fixed | options),
    )
    return Run(history.averaged, history, gm.tensor(gm.nd.stack(*right)))


def _right(real: Any, fake: Any) -> Any:
    """Return the share of samples that D told right, ``(seeds,)``, of detached logits."""
    return ((real > 0).mean(axis=(1, 2)) + (fake <= 0).mean(axis=(1, 2))) / 2


def law(G: Any) -> GaussianFit:
    r"""Return the Gaussian that each linear generator makes of N(0, I), exactly.

    .. math:: G(z) = W z + c \quad\Rightarrow\quad G(z) \sim N(c, W W^\top)

    Args:
        G: generators of one dense layer, without an activation.
    """
    from gan_helpers.mxnet_backend import tensor

    weight, bias = (tensor(values).double() for values in G.weights())
    return GaussianFit(bias.squeeze(1), weight @ weight.mT)


def w2(fit: GaussianFit) -> Tensor:
    """Return the exact distance W2 of each Gaussian from the real law, ``(seeds,)``, in the units of x.

    Args:
        fit: the Gaussians.
    """
    return metrics.w2_gaussian(fit.mean, fit.covariance, REAL.mean, REAL.covariance)


def minor_axis_ratio(fit: GaussianFit) -> Tensor:
    r"""Return the spread along the real law's minor axis over the spread that is right there, ``(seeds,)``.

    .. math:: \sqrt{\frac{v^\top C v}{v^\top \Sigma v}}, \qquad v \text{ the eigenvector of }
        \Sigma \text{ with the smallest eigenvalue}

    It is 1 for the real law, 0 for a line along its major axis, and above 1 for a fit that is too fat.

    Args:
        fit: the Gaussians, with covariances C.
    """
    variances, axes = torch.linalg.eigh(REAL.covariance.double())
    minor = axes[:, 0].to(fit.covariance)
    ratio: Tensor = ((fit.covariance @ minor) @ minor / variances[0].to(minor)).sqrt()
    return ratio


def measure(run: Run, x: Tensor) -> dict[str, Tensor]:
    """Return how far generators are from the truth, and the plain estimator beside it, each ``(seeds,)``.

    Args:
        run: what a recipe left behind.
        x: the points that it learned from, ``(seeds, n, 2)``.

    Returns:
        The distance ``w2`` from the real law, ``minor``, the minor-axis ratio, and the ``correlation`` of
        the two coordinates; ``w2_sample``, the distance from the Gaussian fitted to the points;
        ``w2_plain`` and ``minor_plain`` of that fit; the share that D told right in the first and in the
        last tenth of the run.
    """
    made, plain = law(run.G), metrics.fit_gaussian(x)
    spread = made.covariance.diagonal(dim1=1, dim2=2).sqrt()
    tenths = run.right.unflatten(0, (10, -1)).mean(1)
    return {
        "w2": w2(made),
        "minor": minor_axis_ratio(made),
        "correlation": made.covariance[:, 0, 1] / spread.prod(1),
        "w2_sample": metrics.w2_gaussian(made.mean, made.covariance, plain.mean, plain.covariance),
        "w2_plain": w2(plain),
        "minor_plain": minor_axis_ratio(plain),
        "right_first": tenths[0],
        "right_last": tenths[-1],
    }


def ideal(fit: GaussianFit, seed: int | None = None, n: int = 20_000) -> Tensor:
    """Return how often it is right to say 'real' where the real density is the larger one, ``(seeds,)``.

    Args:
        fit: the Gaussians that the fakes come from.
        seed: the base seed of the samples; `gan_helpers.randomness.base_seed` unless given.
        n: how many real samples, and how many fakes.
    """
    scores = []
    for mean, covariance in zip(fit.mean, fit.covariance, strict=True):
        fakes, rng = Gaussian(mean, covariance), Stream("ideal", seed)
        real, fake = (law(1, n, rng).double() for law in (REAL, fakes))
        right = [REAL.log_prob(real) > fakes.log_prob(real), REAL.log_prob(fake) <= fakes.log_prob(fake)]
        scores.append(torch.stack(right).double().mean())
    return torch.stack(scores)


def _judged(recipe: Callable[[Tensor, int], Run], seeds: int, seed: int) -> dict[str, Tensor]:
    """Train by a recipe and return what was measured, with the ``ideal`` score, each ``(seeds,)``."""
    x = points(seeds, seed)
    run = recipe(x, seed)
    return measure(run, x) | {"ideal": ideal(law(run.G), seed)}


def original_runs(seeds: int, seed: int) -> dict[str, Tensor]:
    """Train by the source's recipe and return what was measured, each ``(seeds,)``.

    Args:
        seeds: the number of runs.
        seed: the base seed.
    """
    return _judged(original, seeds, seed)


def repaired_runs(seeds: int, seed: int) -> dict[str, Tensor]:
    """Train by the repaired recipe and return what was measured, each ``(seeds,)``.

    Args:
        seeds: the number of runs.
        seed: the base seed.
    """
    return _judged(repaired, seeds, seed)


TABLES = {"original": Table(original_runs, 320), "repaired": Table(repaired_runs, 320)}

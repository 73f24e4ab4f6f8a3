"""The Gaussian in two dimensions, in MXNet: the source's recipe and the repaired one.

The source is Lipton et al. (2017); the layers that its text lost are those of its repository. MXNet is
imported when a recipe's networks are made, and not before, so that all else is there without it too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from gan_helpers import metrics
from gan_helpers.data import Gaussian, Minibatches, StandardNormal
from gan_helpers.metrics import GaussianFit
from gan_helpers.options import Turns
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe
from gan_helpers.tables import Table

# MXNet has no annotations. `G` and `D` below are ensembles of `gan_helpers.mxnet_backend`, x and z NDArrays.

A = torch.tensor([[1.0, 2.0], [-0.1, 0.5]])
B = torch.tensor([1.0, 2.0])
REAL = Gaussian.from_transform(A, B)
NOISE = StandardNormal(2)
EPOCHS = 10
BACKEND = "gan_helpers.mxnet_backend"


def gm() -> Any:
    """Return the package's MXNet side, under the name that it has in the chapter."""
    return import_module(BACKEND)


@dataclass
class Answers:
    """How often D was right at each step.

    Args:
        shares: the share of real and fake samples that D told right, an NDArray ``(seeds,)`` for each step.
    """

    shares: list[Any] = field(default_factory=list)

    def note(self, real: Any, fake: Any) -> None:
        """Keep what share of the logits of one step, ``(seeds, batch, 1)`` each, was on the right side."""
        on_real, on_fake = real.detach() > 0, fake.detach() <= 0
        self.shares.append((on_real.mean(axis=(1, 2)) + on_fake.mean(axis=(1, 2))) / 2)

    def right(self) -> Tensor:
        """Return the shares, ``(steps, seeds)``."""
        shares: Tensor = gm().tensor(gm().nd.stack(*self.shares))
        return shares


def inputs(
    seeds: int, seed: int | None = None, rows: int | None = None, device: str | None = None
) -> tuple[Tensor]:
    """Return the real points that each seed learns from, rows z A + b, ``(seeds, rows, 2)``.

    Args:
        seeds: the number of data sets.
        seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
        rows: how many points; the source's 1,000 unless given.
        device: where they live; the CPU unless given.
    """
    z = Stream("points", seed, device or "cpu").normal(seeds, rows or 1_000, 2)
    return (z @ A.to(z) + B.to(z),)


def original(x: Tensor, answers: Answers | None = None) -> Recipe:
    """Return the source's recipe: 10 epochs of batches of 4, a softmax over two outputs.

    Args:
        x: the points of each seed, ``(seeds, n, 2)``.
        answers: takes notes of D's answers.
    """

    def logit(outputs: Any) -> Any:
        return outputs[:, :, 1:] - outputs[:, :, :1]

    def d_loss(G: Any, D: Any, x: Any, z: Any) -> Any:
        real, fake = (logit(outputs) for outputs in D(x, G(z).detach()))
        if answers is not None:
            answers.note(real, fake)
        return gm().minimax_d(real, fake)

    def g_loss(G: Any, D: Any, x: Any, z: Any) -> Any:
        return gm().non_saturating_g(logit(D(G(z))))

    return Recipe(
        G=lambda: gm().mlp(2, 2),
        D=lambda: gm().mlp(2, 5, 3, 2),
        data=Minibatches(x),
        noise=NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=lambda D: gm().adam(D, 0.05),
        g_opt=lambda G: gm().adam(G, 0.01),
        steps=EPOCHS * x.shape[1] // 4,
        batch=4,
        options={"turns": Turns(reuse_noise=True)},
        backend=BACKEND,
    )


def repaired(x: Tensor, answers: Answers | None = None) -> Recipe:
    """Return the repaired recipe: a wider D whose slope costs, larger batches, and averaged weights.

    Args:
        x: the points of each seed, ``(seeds, n, 2)``.
        answers: takes notes of D's answers.
    """

    def d_loss(G: Any, D: Any, x: Any, z: Any) -> Any:
        real, fake = D(x, G(z).detach())
        if answers is not None:
            answers.note(real, fake)
        return gm().minimax_d(real, fake) + 0.1 / 2 * gm().r1(D, x)

    def g_loss(G: Any, D: Any, x: Any, z: Any) -> Any:
        return gm().non_saturating_g(D(G(z)))

    return Recipe(
        G=lambda: gm().mlp(2, 2),
        D=lambda: gm().mlp(2, 32, 32, 1, activation=0.2),
        data=Minibatches(x),
        noise=NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=lambda D: gm().adam(D, 8e-3, betas=(0.5, 0.999)),
        g_opt=lambda G: gm().adam(G, 4e-3, betas=(0.5, 0.999)),
        steps=2_500,
        batch=128,
        options={"ema": 0.999},
        start={"D": {"sd": 0.2}},
        backend=BACKEND,
    )


def law(G: Any) -> GaussianFit:
    r"""Return the Gaussian that each linear generator makes of N(0, I), exactly.

    .. math:: G(z) = W z + c \quad\Rightarrow\quad G(z) \sim N(c, W W^\top)

    Args:
        G: generators of one dense layer, without an activation.
    """
    weight, bias = (gm().tensor(values).double() for values in G.weights())
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


def measure(G: Any, right: Tensor, x: Tensor) -> dict[str, Tensor]:
    """Return how far generators are from the truth, and the plain estimator beside it, each ``(seeds,)``.

    Args:
        G: the generators.
        right: how often D was right at each step, ``(steps, seeds)``.
        x: the points that it learned from, ``(seeds, n, 2)``.

    Returns:
        The distance ``w2`` from the real law, ``minor``, the minor-axis ratio, and the ``correlation`` of
        the two coordinates; ``w2_sample``, the distance from the Gaussian fitted to the points;
        ``w2_plain`` and ``minor_plain`` of that fit; the share that D told right in the first and in the
        last tenth of the run.
    """
    made, plain = law(G), metrics.fit_gaussian(x)
    spread = made.covariance.diagonal(dim1=1, dim2=2).sqrt()
    tenths = right.unflatten(0, (10, -1)).mean(1)
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


def follow(make: Callable[[Tensor, Answers], Recipe], seeds: int, seed: int) -> dict[str, Tensor]:
    """Train by a recipe and return what `measure` says, with the ``ideal`` score, each ``(seeds,)``.

    Args:
        make: `original` or `repaired`.
        seeds: the number of runs.
        seed: the base seed.
    """
    (x,), answers = inputs(seeds, seed), Answers()
    recipe = make(x, answers)
    G, D = recipe.networks(seeds, seed=seed)
    history = recipe.train(G, D, seed=seed).require_whole()
    judged = G if history.averaged is None else history.averaged
    return measure(judged, answers.right(), x) | {"ideal": ideal(law(judged), seed)}


TABLES = {
    "original": Table(partial(follow, original), 320),
    "repaired": Table(partial(follow, repaired), 320),
}

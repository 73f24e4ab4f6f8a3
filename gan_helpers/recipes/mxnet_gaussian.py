"""The Gaussian in two dimensions, in MXNet: the source's recipe and the repaired one.

The source is Lipton et al. (2017); the layers that its text lost are those of its repository. MXNet is
imported when a recipe's networks are made, and not before, so that all else is there without it too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from gan_helpers import losses, metrics, penalties
from gan_helpers.data import Gaussian, Minibatches, StandardNormal
from gan_helpers.metrics import GaussianFit
from gan_helpers.models import mlp
from gan_helpers.options import Turns, Watch
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe, taken_apart
from gan_helpers.tables import Columns, Table
from gan_helpers.training import adam

# MXNet has no annotations. `G` and `D` below are ensembles of `gan_helpers.mxnet_backend`, x and z NDArrays.

A = torch.tensor([[1.0, 2.0], [-0.1, 0.5]])
B = torch.tensor([1.0, 2.0])
REAL = Gaussian.from_transform(A, B)
NOISE = StandardNormal(2)
EPOCHS = 10
POINTS = (10, 30, 100, 300, 1_000)
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


def logit(outputs: Any) -> Any:
    """Return the logit ``(seeds, batch, 1)`` of a D with one output, or with two: the second less the first.

    Args:
        outputs: what D returns, an NDArray ``(seeds, batch, 1)`` or ``(seeds, batch, 2)``.
    """
    return outputs if outputs.shape[2] == 1 else outputs[:, :, 1:] - outputs[:, :, :1]


#: What the repair changes, by the names that `changed` takes, and in words.
CHANGES = {
    "width": "32 and 32 hidden units in $D$, not 5 and 3",
    "activation": "leaky rectifiers in $D$, not tanh",
    "outputs": "one output of $D$, not two",
    "start": "first weights of $D$ ten times as large",
    "batch": "batches of 128, not 4",
    "beta1": r"$\beta_1 = 0.5$, not 0.9",
    "d_rate": "rate of $D$ 0.008, not 0.05",
    "g_rate": "rate of $G$ 0.004, not 0.01",
    "r1": "the $R_1$ penalty",
    "ema": "an average of $G$'s weights",
    "noise": "fresh noise for $G$",
}
#: The learning rates of the table ``rates``; those of the source and of the repair are among them.
D_RATES = (0.002, 0.008, 0.02, 0.05, 0.2)
G_RATES = (0.001, 0.004, 0.01, 0.04)


def changed(x: Tensor, *names: str, answers: Answers | None = None) -> Recipe:
    """Return the source's recipe with some of the changes of the repair: 10 epochs of its 250 steps.

    Args:
        x: the points of each seed, ``(seeds, n, 2)``.
        names: the changes, of `CHANGES`.
        answers: takes notes of D's answers.

    Raises:
        ValueError: if there is no change of a name.
    """
    made = set(names)
    if unknown := made - CHANGES.keys():
        raise ValueError(f"names must be of {', '.join(CHANGES)}, not {min(unknown)!r}.")
    betas = (0.5 if "beta1" in made else 0.9, 0.999)

    def d_loss(G: Any, D: Any, x: Any, z: Any) -> Any:
        real, fake = (logit(outputs) for outputs in D(x, G(z).detach()))
        if answers is not None:
            answers.note(real, fake)
        loss = gm().minimax_d(real, fake)
        return loss + 0.1 / 2 * squared_slope(D, x) if "r1" in made else loss

    def g_loss(G: Any, D: Any, x: Any, z: Any) -> Any:
        return gm().non_saturating_g(logit(D(G(z))))

    hidden = (32, 32) if "width" in made else (5, 3)
    outputs = 1 if "outputs" in made else 2
    activation = 0.2 if "activation" in made else "tanh"
    return Recipe(
        G=lambda: gm().mlp(2, 2),
        D=lambda: gm().mlp(2, *hidden, outputs, activation=activation),
        data=Minibatches(x),
        noise=NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=lambda D: gm().adam(D, 0.008 if "d_rate" in made else 0.05, betas),
        g_opt=lambda G: gm().adam(G, 0.004 if "g_rate" in made else 0.01, betas),
        steps=EPOCHS * x.shape[1] // 4,
        batch=128 if "batch" in made else 4,
        options={
            "turns": Turns(reuse_noise="noise" not in made),
            "ema": 0.999 if "ema" in made else None,
        },
        start={"D": {"sd": 0.2}} if "start" in made else {},
        backend=BACKEND,
    )


def original(x: Tensor, answers: Answers | None = None) -> Recipe:
    """Return the source's recipe: 10 epochs of batches of 4, a softmax over two outputs.

    Args:
        x: the points of each seed, ``(seeds, n, 2)``.
        answers: takes notes of D's answers.
    """
    return changed(x, answers=answers)


def repaired(x: Tensor, answers: Answers | None = None) -> Recipe:
    """Return the repaired recipe: all changes.

    Args:
        x: the points of each seed, ``(seeds, n, 2)``.
        answers: takes notes of D's answers.
    """
    return changed(x, *CHANGES, answers=answers)


def d2l(x: Tensor) -> Recipe:
    """Return the recipe of the source's living successor, in PyTorch: 20 epochs of batches of 8.

    Args:
        x: the points of each seed, ``(seeds, n, 2)``.

    Source:
        Zhang et al. (2023), section 20.1; losses are sums over the batch, and biases start as weights do.
    """
    batch = 8

    def d_loss(G: Any, D: Any, x: Any, z: Any) -> Any:
        return batch / 2 * losses.minimax_d(*D(x, G(z).detach()))

    def g_loss(G: Any, D: Any, x: Any, z: Any) -> Any:
        return batch * losses.non_saturating_g(D(G(z)))

    return Recipe(
        G=lambda: _drawn(2, 2),
        D=lambda: _drawn(2, 5, 3, 1),
        data=Minibatches(x),
        noise=NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=lambda D: adam(D, 0.05),
        g_opt=lambda G: adam(G, 0.005),
        steps=20 * x.shape[1] // batch,
        batch=batch,
        options={"turns": Turns(reuse_noise=True)},
    )


def _drawn(*sizes: int, biases: bool = True) -> nn.Module:
    """Return a network of PyTorch with tanh units whose numbers start at a standard deviation of 0.02."""
    network = mlp(*sizes, activation=nn.Tanh)
    for weight in network.parameters():
        nn.init.normal_(weight, 0, 0.02 if biases or weight.dim() > 1 else 0)
    return network


def _in_pytorch(x: Tensor, d_rate: float = 0.05, g_rate: float = 0.01) -> Recipe:
    """Return the source's recipe in PyTorch, where a step of networks as small as these is quicker.

    All is as in MXNet but for one thing: PyTorch's Adam adds its epsilon at another place, which matters in
    the first steps, where gradients are tiny.
    """

    def d_loss(G: Any, D: Any, x: Any, z: Any) -> Any:
        return losses.minimax_d(*map(logit, D(x, G(z).detach())))

    def g_loss(G: Any, D: Any, x: Any, z: Any) -> Any:
        return losses.non_saturating_g(logit(D(G(z))))

    return Recipe(
        G=lambda: _drawn(2, 2, biases=False),
        D=lambda: _drawn(2, 5, 3, 2, biases=False),
        data=Minibatches(x),
        noise=NOISE,
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=lambda D: adam(D, d_rate),
        g_opt=lambda G: adam(G, g_rate),
        steps=EPOCHS * x.shape[1] // 4,
        batch=4,
        options={"turns": Turns(reuse_noise=True)},
    )


def squared_slope(D: Any, x: Any) -> Any:
    """Return the mean squared slope of the logit of one or two outputs at some points, ``(seeds,)``.

    Args:
        D: the discriminators.
        x: the points, an NDArray ``(seeds, batch, 2)``.
    """
    outputs = D.weights()[-1].shape[2]
    return (D.slopes(x, (-1.0, 1.0)[-outputs:]) ** 2).sum(axis=2).mean(axis=1)


def gaussian(G: Any) -> GaussianFit:
    r"""Return the Gaussian that each linear generator makes of N(0, I), exactly.

    .. math:: G(z) = W z + c \quad\Rightarrow\quad G(z) \sim N(c, W W^\top)

    Args:
        G: generators of one dense layer, without an activation.
    """
    weight, bias = (gm().tensor(values).double() for values in G.weights())
    return GaussianFit(bias.squeeze(1), weight @ weight.mT)


def w2(fit: GaussianFit) -> Tensor:
    """Return the exact distance W2 of each Gaussian from the real one, ``(seeds,)``, in the units of x.

    Args:
        fit: the Gaussians.
    """
    return metrics.w2_gaussian(fit.mean, fit.covariance, REAL.mean, REAL.covariance)


def minor_axis_ratio(fit: GaussianFit) -> Tensor:
    r"""Return the spread along the data's minor axis over the spread that is right there, ``(seeds,)``.

    .. math:: \sqrt{\frac{v^\top C v}{v^\top \Sigma v}}, \qquad v \text{ the eigenvector of }
        \Sigma \text{ with the smallest eigenvalue}

    It is 1 for the real distribution, 0 for a line along its major axis, above 1 for a fit that is too fat.

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
        The distance ``w2`` from the real distribution, ``minor``, the minor-axis ratio, and the
        ``correlation`` of the two coordinates; ``w2_sample``, the distance from the Gaussian that is
        fitted to the points; ``w2_plain`` and ``minor_plain`` of that fit; the share that D told right in
        the first and in the last tenth of the run.
    """
    made, plain = gaussian(G), metrics.fit_gaussian(x)
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
        real, fake = (one(1, n, rng).double() for one in (REAL, fakes))
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
    return measure(judged, answers.right(), x) | {"ideal": ideal(gaussian(judged), seed)}


def told(G: Any, D: Any, seed: int | None = None, n: int = 10_000) -> Tensor:
    """Return how often discriminators are right about real samples and fakes that are new, ``(seeds,)``.

    Args:
        G: the generators.
        D: discriminators of one output or two.
        seed: the base seed of the samples; `gan_helpers.randomness.base_seed` unless given.
        n: how many real samples, and how many fakes.
    """
    rng, answers = Stream("told", seed), Answers()
    real, z = (gm().array(sampler(G.seeds, n, rng), like=G.weights()[0]) for sampler in (REAL, NOISE))
    answers.note(*(logit(outputs) for outputs in D(real, G(z))))
    return answers.right()[0]


def outcome(make: Callable[[Tensor], Recipe], seeds: int, seed: int) -> Columns:
    """Train by a recipe, and return what became of its generators and its discriminators, each ``(seeds,)``.

    Args:
        make: makes the recipe of the points of each seed.
        seeds: the number of runs.
        seed: the base seed.

    Returns:
        ``w2`` and ``minor`` as in `measure`, and `ideal` of the generators that are judged; `told` of the
        last players; ``slope``, the root mean square of the slope of D's logit at real samples.
    """
    recipe = make(*inputs(seeds, seed))
    G, D = recipe.networks(seeds, seed=seed)
    history = recipe.train(G, D, seed=seed).require_whole()
    made = gaussian(G if history.averaged is None else history.averaged)
    real = gm().array(REAL(seeds, 2_000, Stream("slope", seed)))
    return {
        "w2": w2(made),
        "minor": minor_axis_ratio(made),
        "ideal": ideal(made, seed),
        "told": told(G, D, seed),
        "slope": gm().tensor(squared_slope(D, real)).sqrt(),
    }


def with_changes(*names: str) -> Callable[[Tensor], Recipe]:
    """Return what makes the recipe with some changes, of the points of each seed.

    Args:
        names: the changes, of `CHANGES`.
    """
    return lambda x: changed(x, *names)


def successor(seeds: int, seed: int) -> Columns:
    """Train by the recipe of `d2l`, and return what it reports and what became of it, each ``(seeds,)``.

    Args:
        seeds: the number of runs.
        seed: the base seed.

    Returns:
        ``w2`` and ``minor`` as in `measure`; ``slope`` as in `outcome`; ``d_loss``, D's mean loss per sample
        in the last epoch.
    """
    (x,) = inputs(seeds, seed)
    recipe = d2l(x)
    G, D = recipe.networks(seeds, seed=seed)
    history = recipe.train(G, D, seed=seed).require_whole()
    made = _fit(G)
    last = history.d_loss[-x.shape[1] // recipe.batch :]
    real = REAL(seeds, 2_000, Stream("slope", seed)).double()
    return {
        "w2": w2(made),
        "minor": minor_axis_ratio(made),
        "slope": penalties.r1(D.double(), real).sqrt().detach(),
        "d_loss": last.mean(0) / recipe.batch,
    }


def _fit(G: Any) -> GaussianFit:
    """Return the Gaussian that each linear generator of PyTorch makes."""
    weight, bias = (values.detach().double().cpu() for values in G.parameters())
    return GaussianFit(bias.flatten(1), weight @ weight.mT)


def rates(seeds: int, seed: int) -> Columns:
    """Train the source's recipe, in PyTorch, with each pair of `D_RATES` and `G_RATES`.

    Args:
        seeds: the number of runs.
        seed: the base seed.

    Returns:
        ``w2`` as in `measure` and `ideal`, by D's rate and G's: ``"w2_0.008_0.004"``.
    """
    (x,) = inputs(seeds, seed)
    columns: Columns = {}
    for d_rate, g_rate in product(D_RATES, G_RATES):
        recipe = _in_pytorch(x, d_rate, g_rate)
        G, D = recipe.networks(seeds, seed=seed)
        recipe.train(G, D, seed=seed).require_whole()
        columns[f"w2_{d_rate:g}_{g_rate:g}"] = w2(_fit(G))
        columns[f"ideal_{d_rate:g}_{g_rate:g}"] = ideal(_fit(G), seed)
    return columns


def longer(seeds: int, seed: int) -> Columns:
    """Train the source's recipe, in PyTorch, until it has seen as many samples as the repaired one.

    Args:
        seeds: the number of runs.
        seed: the base seed.

    Returns:
        ``w2`` and ``minor`` as in `measure` after the source's 2,500 steps, after 20,000 and after 80,000:
        ``"w2_80000"``.
    """
    recipe = _in_pytorch(*inputs(seeds, seed))
    steps = recipe.steps * 128 // recipe.batch

    def look(G: Any) -> Columns:
        return {"w2": w2(_fit(G)), "minor": minor_axis_ratio(_fit(G))}

    G, D = recipe.networks(seeds, seed=seed)
    history = recipe.train(G, D, seed=seed, steps=steps, watch=Watch(look, every=recipe.steps))
    watched = history.require_whole().watched
    at = {made: history.at.tolist().index(made) for made in (recipe.steps, 8 * recipe.steps, steps)}
    return {f"{name}_{made}": values[i] for made, i in at.items() for name, values in watched.items()}


def points(seeds: int, seed: int) -> Columns:
    """Return the distance W2 of a Gaussian fitted to 10, 30, 100, 300 and 1,000 points, each ``(seeds,)``.

    Args:
        seeds: the number of data sets.
        seed: the base seed.
    """
    (x,) = inputs(seeds, seed)
    return {f"n{n}": w2(metrics.fit_gaussian(x[:, :n])) for n in POINTS}


TABLES = {
    "original": Table(partial(follow, original), 320),
    "repaired": Table(partial(follow, repaired), 320),
    "apart": Table(taken_apart(with_changes, tuple(CHANGES), outcome), 32),
    "longer": Table(longer, 32),
    "rates": Table(rates, 32),
    "d2l": Table(successor, 320),
    "points": Table(points, 320),
}

r"""Sinusoids from noise: the recipe of a walkthrough in Keras, and what repairs it.

The source is an article in the magazine of Codemotion. Its text never defines the batch; 128 follows from
the accuracies in its log.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from scipy import stats
from torch import Tensor, nn

from gan_helpers import _checks, metrics
from gan_helpers.albums import Album
from gan_helpers.data import Resample, Sampler, Sinusoids, Uniform
from gan_helpers.device import default_device
from gan_helpers.ensemble import Ensemble
from gan_helpers.history import History
from gan_helpers.losses import minimax_d, non_saturating_g
from gan_helpers.models import dense
from gan_helpers.options import Turns, Watch
from gan_helpers.penalties import r1, squared_slopes
from gan_helpers.randomness import Stream
from gan_helpers.recipes import Recipe, combinations
from gan_helpers.tables import FIRST_SEED, Table

REAL = Sinusoids(phase=(1.0, math.pi))
NOISE = Uniform(-5.0, 5.0, features=64)
ROWS = 32_768
BATCH = 128
EPOCHS = 64
LOST = 7.0  # nats: an epoch in which D gives fakes less than one chance in a thousand
SHORT = 16  # epochs: a quarter of the source's, for the repair and for what it is compared with
CURVE = 0.2  # a residual below which a line is called a curve
CUT = 1e-7  # how far from 0 and 1 Keras 3 keeps a probability, on PyTorch and JAX
CHANGES: dict[str, dict[str, float]] = {
    "beta1": {"beta1": 0.0},
    "dropout": {"dropout": 0.0},
    "r1": {"gamma": 0.03},
    "noise": {"reach": 1.0},
}
REPAIR = ("beta1", "dropout", "r1")
PARTS = combinations(REPAIR) | {"only_noise": ("noise",), "all_noise": (*REPAIR, "noise")}


@dataclass
class Log:
    """What the columns of an epoch table are made of; the lists get an entry ``(seeds,)`` at each step.

    Args:
        d: the share of D's batch, real and fake, that D judges right in D's step.
        g: the share of the fakes that D takes for real in G's step.
    """

    d: list[Tensor] = field(default_factory=list)
    g: list[Tensor] = field(default_factory=list)


class Times(nn.Module):
    """Multiplies its input by a number.

    Args:
        factor: the number.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, z: Tensor) -> Tensor:
        """Return the product."""
        return self.factor * z


def generator(reach: float = 5.0) -> nn.Module:
    """Return the source's generator, from 64 numbers of noise to a curve of 64 points.

    Args:
        reach: how far from 0 the noise reaches that the first layer gets; it comes in from -5 to 5.
    """
    first = [] if reach == NOISE.high else [Times(reach / NOISE.high)]
    return nn.Sequential(
        *first, dense(64, 64), nn.LeakyReLU(0.2), dense(64, 512), nn.LeakyReLU(0.2), dense(512, 64), nn.Tanh()
    )


def discriminator(dropout: float = 0.4) -> nn.Module:
    """Return the source's discriminator, from a curve of 64 points to a logit.

    Args:
        dropout: the share of hidden units that a step leaves out.
    """
    return nn.Sequential(
        dense(64, 64), nn.ReLU(), nn.Dropout(dropout),
        dense(64, 64), nn.ReLU(), nn.Dropout(dropout), dense(64, 1),
    )  # fmt: skip


def keras_adam(network: Ensemble, beta1: float = 0.9) -> torch.optim.Adam:
    r"""Return Adam with the numbers of Keras, and with epsilon where Keras has it.

    .. math:: \theta \leftarrow \theta - \alpha \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}
        \frac{m}{\sqrt{v} + \epsilon}, \qquad \alpha = 10^{-3},\ \beta_2 = 0.999,\ \epsilon = 10^{-7}

    PyTorch adds epsilon to the corrected root, :math:`\sqrt{v / (1 - \beta_2^t)}`. So its epsilon has to be
    larger in the first steps to be the same.

    Args:
        network: the ensemble whose weights are to be updated.
        beta1: how slowly the mean of the gradients forgets.

    Raises:
        TypeError: if ``beta1`` is not a real number.
        ValueError: if ``beta1`` lies outside [0, 1).

    References:
        Kingma and Ba (2015), the remark at the end of section 2. https://arxiv.org/abs/1412.6980
    """
    betas = (_checks.number("beta1", beta1, at_least=0.0, below=1.0), 0.999)
    parameters = list(network.parameters())
    optimiser = torch.optim.Adam(parameters, lr=1e-3, betas=betas, fused=parameters[0].device.type != "meta")
    for group in optimiser.param_groups:
        group["updates"] = 0  # here, where a checkpoint keeps it

    def place_epsilon(optimiser: Any, *_: Any) -> None:
        for group in optimiser.param_groups:
            group["updates"] += 1
            group["eps"] = 1e-7 / math.sqrt(1 - betas[1] ** group["updates"])

    optimiser.register_step_pre_hook(place_epsilon)
    return optimiser


class SameRows:
    """Draws the rows which the data sampler of the same run draws.

    It keeps a second stream of the name and the seed of the data's: give each training run its own.

    Args:
        sampler: a `gan_helpers.data.Resample` of as many rows as the data have.
    """

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self._twin: Stream | None = None
        self._state: dict[str, Tensor] = {}

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        """Draw a batch for each seed, ``(seeds, batch, features)``; see `gan_helpers.data.Sampler`."""
        if self._twin is None:
            self._twin = Stream("data", rng.seed, rng.device)
            if self._state:
                self._twin.load_state(self._state)
        return self.sampler(seeds, batch, self._twin)

    def state(self) -> dict[str, Tensor]:
        """Return where the second stream is, for a checkpoint; nothing before the first batch."""
        return dict(self._state) if self._twin is None else self._twin.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from where another one was; see `gan_helpers.states.Stateful`."""
        if state.keys() - {"generator"}:
            raise ValueError(f"state must be that of a stream, or empty, not {sorted(state)}.")
        self._twin, self._state = None, dict(state)


def inputs(
    seeds: int, seed: int | None = None, rows: int | None = None, device: str | None = None
) -> tuple[Tensor, Tensor]:
    """Return what the recipes learn from: curves and fixed noise for each seed, both ``(seeds, rows, 64)``.

    Args:
        seeds: the number of runs.
        seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
        rows: how many curves; the source's 32,768 unless given.
        device: where they live; `gan_helpers.device.default_device` unless given.
    """
    rows, where = rows or ROWS, device or default_device()
    return (
        REAL(seeds, rows, Stream("curves", seed, where)),
        NOISE(seeds, rows, Stream("fixed noise", seed, where)),
    )


def within(logits: Tensor, cut: float) -> Tensor:
    """Return logits whose probabilities are at least ``cut`` away from 0 and 1; any logits if it is 0.

    Args:
        logits: of any shape.
        cut: a probability below 1/2.
    """
    if not cut:
        return logits
    limit = math.log((1 - cut) / cut)
    return logits.clamp(-limit, limit)


def original(
    curves: Tensor,
    noise: Tensor,
    *,
    epochs: int = EPOCHS,
    beta1: float = 0.9,
    dropout: float = 0.4,
    gamma: float = 0.0,
    reach: float = 5.0,
    cut: float = 0.0,
    log: Log | None = None,
) -> Recipe:
    """Return the source's recipe, or one that differs from it in the numbers given; it serves for one run.

    Args:
        curves: the real curves of each seed, ``(seeds, rows, 64)``; an epoch has ``rows // 128`` steps.
        noise: as many rows of noise, ``(seeds, rows, 64)``.
        epochs: how many times as many rows are drawn as there are.
        beta1: of both players' Adam.
        dropout: the share of hidden units that D leaves out.
        gamma: the weight of R1, which enters as gamma / 2.
        reach: how far from 0 the noise reaches that G gets.
        cut: keep D's probabilities this far from 0 and 1, as Keras 3 does by 1e-7 on PyTorch and JAX, so that
            the losses have no slope beyond; not at all if 0.
        log: where to note how often D is right.
    """
    log = Log() if log is None else log

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        real, fake = D(x, G(z).detach())
        log.d.append(((real > 0).float().mean((1, 2)) + (fake < 0).float().mean((1, 2))) / 2)
        game = minimax_d(within(real, cut), within(fake, cut))
        return (game + gamma / 2 * r1(D, x) if gamma else game) / 2

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        fake = D(G(z))
        log.g.append((fake > 0).float().mean((1, 2)))
        return non_saturating_g(within(fake, cut))

    return Recipe(
        G=lambda: generator(reach),
        D=lambda: discriminator(dropout),
        data=Resample(curves),
        noise=SameRows(Resample(noise)),
        d_loss=d_loss,
        g_loss=g_loss,
        d_opt=lambda D: keras_adam(D, beta1),
        g_opt=lambda G: keras_adam(G, beta1),
        steps=epochs * (curves.shape[1] // BATCH),
        batch=BATCH,
        options={"turns": Turns(reuse_noise=True)},
    )


def changed(*names: str) -> dict[str, Any]:
    """Return the numbers of `original` with some `CHANGES` made: none is the source's, `REPAIR` the repair.

    Args:
        names: the changes.
    """
    return {key: value for name in names for key, value in CHANGES[name].items()}


def repaired(curves: Tensor, noise: Tensor, **options: Any) -> Recipe:
    """Return the repaired recipe: Adam without momentum, and R1 in the place of dropout; 16 epochs of it.

    Args:
        curves: as for `original`.
        noise: as for `original`.
        options: options of `original` that go before those of the repair.
    """
    return original(curves, noise, **({"epochs": SHORT} | changed(*REPAIR) | options))


@dataclass(frozen=True, eq=False)
class Fit:
    """The sinusoid that is closest to each curve; see `best_sinusoid`.

    Args:
        b: the frequency, ``(...)``, in radians for each unit of position.
        c: the phase, ``(...)``, in radians, from -pi to pi.
        residual: the root mean square difference, ``(...)``, in the units of the curve.
    """

    b: Tensor
    c: Tensor
    residual: Tensor


def best_sinusoid(curves: Tensor, positions: Tensor, low: float = 0.25, high: float = 4.0) -> Fit:
    r"""Return the sinusoid of amplitude 1 that is closest to each curve.

    .. math:: \min_{b, c} \sqrt{\frac{1}{n} \sum_{j=1}^{n} (y_j - \sin(b\, t_j + c))^2}

    The best of a grid of b and c is the start of a damped Gauss-Newton search, which accepts no step that
    makes the fit worse. It needs neither a gradient nor a start from the caller.

    Args:
        curves: ``(..., n)``.
        positions: :math:`t_j`, ``(n,)``, in [-5, 5] or not much wider: the grid is made for that.
        low: the smallest b.
        high: the largest b.

    Returns:
        b, c and the residual of each curve, in double precision.

    Raises:
        TypeError: if a tensor is not a floating-point one, or an end not a real number.
        ValueError: if a curve is not finite or not as long as ``positions``, or the interval is empty.
    """
    _checks.finite("curves", curves, "(..., n)")
    _checks.finite("positions", positions, "(n,)", dims=1)
    if curves.shape[-1:] != positions.shape:
        raise ValueError(
            f"curves must have {len(positions)} points each, as positions has, "
            f"not shape {tuple(curves.shape)}."
        )
    _checks.number("high", high, above=_checks.number("low", low, above=0.0))
    y = curves.detach().double().reshape(-1, len(positions))
    t = positions.to(y)
    b, c = _search(y, t, *_best_of_grid(y, t, low, high), low, high)
    residual = (y - torch.sin(b * t + c)).square().mean(1).sqrt()
    c = torch.remainder(c + math.pi, 2 * math.pi) - math.pi
    shape = curves.shape[:-1]
    return Fit(b.reshape(shape), c.reshape(shape), residual.reshape(shape))


def _best_of_grid(y: Tensor, t: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Return the b and c, (curves, 1), of the closest sinusoid on a grid."""
    b = torch.linspace(low, high, 151, dtype=y.dtype, device=y.device)
    c = torch.linspace(-math.pi, math.pi, 65, dtype=y.dtype, device=y.device)[:-1]
    pairs = torch.cartesian_prod(b, c)
    grid = torch.sin(pairs[:, :1] * t + pairs[:, 1:])
    # The squared distances, but for the curves' own squares, which are the same for all of the grid. So many
    # curves at a time that memory does not grow with their number.
    size = grid.square().sum(1)
    best = pairs[torch.cat([(size - 2 * part @ grid.T).argmin(1) for part in y.split(250)])]
    return best[:, :1], best[:, 1:]


def _search(y: Tensor, t: Tensor, b: Tensor, c: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Return better b and c, (curves, 1), by Levenberg's and Marquardt's method."""
    error = (y - torch.sin(b * t + c)).square().sum(1, keepdim=True)
    damping = torch.full_like(b, 1e-3)
    for _ in range(15):
        slope = torch.cos(b * t + c)
        gap = y - torch.sin(b * t + c)
        bb = (slope * t).square().sum(1, keepdim=True) * (1 + damping)
        cc = slope.square().sum(1, keepdim=True) * (1 + damping)
        bc = (slope.square() * t).sum(1, keepdim=True)
        to_b, to_c = (slope * t * gap).sum(1, keepdim=True), (slope * gap).sum(1, keepdim=True)
        determinant = bb * cc - bc.square()
        new_b = (b + (cc * to_b - bc * to_c) / determinant).clamp(low, high)
        new_c = c + (bb * to_c - bc * to_b) / determinant
        new_error = (y - torch.sin(new_b * t + new_c)).square().sum(1, keepdim=True)
        better = new_error < error
        b, c = torch.where(better, new_b, b), torch.where(better, new_c, c)
        error, damping = torch.where(better, new_error, error), damping * torch.where(better, 0.1, 10.0)
    return b, c


def nearest(curves: Tensor, training: Tensor) -> Tensor:
    """Return the root mean square distance of each curve to the nearest training curve.

    Args:
        curves: ``(seeds, n, points)``.
        training: the training curves, ``(seeds, rows, points)``.

    Returns:
        The distances, ``(seeds, n)``, in the units of the curves.

    Raises:
        TypeError: if an argument is not a floating-point tensor.
        ValueError: if the seeds or the points of both differ.
    """
    _checks.floating("curves", curves, "(seeds, n, points)", dims=3)
    _checks.floating("training", training, "(seeds, rows, points)", dims=3)
    if curves.shape[::2] != training.shape[::2]:
        raise ValueError(
            "curves and training must have the same seeds and points, "
            f"not shapes {tuple(curves.shape)} and {tuple(training.shape)}."
        )
    squares = torch.stack([torch.cdist(y, x).amin(1) for y, x in zip(curves, training, strict=True)])
    return squares / math.sqrt(curves.shape[2])


def draw(G: Ensemble, n: int = 1_000, seed: int | None = None) -> Tensor:
    """Return curves that generators make of fresh noise, ``(seeds, n, 64)``.

    Args:
        G: generators.
        n: how many curves for each seed.
        seed: the base seed of that noise; `gan_helpers.randomness.base_seed` unless given.
    """
    device = next(G.parameters()).device
    with torch.no_grad():
        curves: Tensor = G(NOISE(G.seeds, n, Stream("fresh noise", seed, device)))
    return curves


def measure(curves: Tensor) -> dict[str, Tensor]:
    """Return how good the curves of each seed are, each ``(seeds,)``.

    Args:
        curves: made from fresh noise, ``(seeds, n, 64)``.

    Returns:
        The ``residual`` of the best sinusoid: its median over curves, and ``residual_90``, which nine in ten
        are below; the distances ``b_ks`` and ``c_ks`` of the fitted b and c from the laws of the data;
        and the share of ``slow`` curves, whose b lies in the lower half of the data's interval.
    """
    fit = best_sinusoid(curves, REAL.positions)
    return {
        "residual": fit.residual.median(1).values,
        "residual_90": fit.residual.quantile(0.9, dim=1),
        "b_ks": metrics.ks(fit.b, Uniform(*REAL.frequency)),
        "c_ks": metrics.ks(fit.c, Uniform(*REAL.phase)),
        "slow": (fit.b < sum(REAL.frequency) / 2).double().mean(1),
    }


@dataclass(frozen=True, eq=False)
class Run:
    """A training and what it was made from.

    Args:
        G: the last generators.
        history: their history; watched are curves of a ``few`` rows of noise, and D's ``slope``.
        log: how often D was right.
        sets: the curves and the noise that they were trained on.
        epoch: steps in an epoch.
    """

    G: Ensemble
    history: History
    log: Log
    sets: tuple[Tensor, Tensor]
    epoch: int


def trained(seeds: int, seed: int, ema: float | None = None, **changes: Any) -> Run:
    """Train by the source's recipe with some changes.

    Args:
        seeds: the number of runs.
        seed: their base seed.
        ema: how slowly an average of G's weights forgets; no average if None.
        changes: the numbers of `original` that differ from the source's.
    """
    log, sets = Log(), inputs(seeds, seed)
    made = original(*sets, log=log, **changes)
    G, D = made.networks(seeds, seed=seed)
    few = NOISE(seeds, 128, Stream("few", seed, default_device()))
    epoch = sets[0].shape[1] // BATCH
    look = Watch(lambda _: {"few": G(few), "slope": steepness(D, sets[0][:, :128])}, epoch)
    history = made.train(G, D, seed=seed, watch=look, ema=ema)
    history.require_whole()
    return Run(G.eval(), history, log, sets, epoch)


def steepness(D: Ensemble, x: Tensor) -> Tensor:
    """Return the root of the mean squared slope of D's logit at real curves, without dropout, ``(seeds,)``.

    Args:
        D: discriminators that are being trained.
        x: the curves, ``(seeds, n, 64)``.
    """
    found = squared_slopes(D.eval(), x).detach().mean(1).sqrt()
    D.train()
    return found


def trial(seeds: int, seed: int, ema: float | None = None, **changes: Any) -> dict[str, Tensor]:
    """Train by the source's recipe with some changes; return what a table holds, each ``(seeds,)``.

    Args:
        seeds: the number of runs.
        seed: their base seed.
        ema: as for `trained`.
        changes: as for `trained`.

    Returns:
        What `measure` says of the last generators; the residual of their ``averaged`` ones, if asked for; the
        residual on noise that was ``seen`` in training, and the distance to the ``nearest`` training curve
        of the fakes and of as many fresh ``real`` curves, all medians; and the columns of `summary`.
    """
    run = trained(seeds, seed, ema, **changes)
    history = run.history
    columns = judged(run.G, run.sets, seed)
    if history.averaged is not None:
        columns["averaged"] = measure(draw(history.averaged.eval(), seed=seed))["residual"]
    return columns | summary(history.watched["few"], history.d_loss, history.g_loss, run.log, run.epoch)


def logged(seeds: int, seed: int, epochs: int = EPOCHS) -> dict[str, Tensor]:
    """Train by the source's recipe, and return what its log prints of each epoch, each ``(seeds,)``.

    Args:
        seeds: the number of runs.
        seed: their base seed.
        epochs: as for `original`.

    Returns:
        Of the last batch of the first epoch ``d_loss_0``, ``d_right_0``, ``g_loss_0`` and ``g_fools_0``, the
        shares as in `Log`; the median residual after it, ``residual_0``, of curves from noise that no step
        trains on; and so on for each epoch.
    """
    run = trained(seeds, seed, epochs=epochs)
    losses = {"d_loss": run.history.d_loss, "g_loss": run.history.g_loss}
    columns = losses | {"d_right": torch.stack(run.log.d), "g_fools": torch.stack(run.log.g)}
    columns = {name: values[run.epoch - 1 :: run.epoch] for name, values in columns.items()}
    few = run.history.watched["few"][1:]
    columns["residual"] = best_sinusoid(few, REAL.positions).residual.median(2).values
    return {f"{name}_{e}": row for name, rows in columns.items() for e, row in enumerate(rows)}


def appear(residuals: Tensor) -> Tensor:
    """Return after how many epochs lines are curves, ``(seeds,)``; one more than there are if they never are.

    Args:
        residuals: before the training and after each epoch, ``(epochs + 1, seeds)``.
    """
    return (residuals > CURVE).cummin(0).values.double().sum(0)


def part(changes: dict[str, Any], seeds: int, seed: int, epochs: int = SHORT) -> dict[str, Tensor]:
    """Train with some changes, and return what a table of the repair taken apart holds, each ``(seeds,)``.

    Args:
        changes: the numbers of `original` that differ from the source's.
        seeds: the number of runs.
        seed: their base seed.
        epochs: the same for all that are compared.

    Returns:
        The ``residual`` and the ``b_ks`` of `measure`, and both for an average of G's weights; D's ``slope``
        at real curves, at the end and after epoch 3 when the first is 0; the ``residual_3`` then; after
        how many epochs curves ``appear``, one more than there are if they never do; in how many G
        had ``lost``; and means over the last epoch, ``g_loss`` and ``d_right``.
    """
    run = trained(seeds, seed, ema=0.999, epochs=epochs, **changes)
    history = run.history
    assert history.averaged is not None
    ends = {"": run.G, "averaged_": history.averaged.eval()}
    found = {name: measure(draw(G, seed=seed)) for name, G in ends.items()}
    residuals = best_sinusoid(history.watched["few"], REAL.positions).residual.median(2).values
    g_loss = history.g_loss.unflatten(0, (-1, run.epoch)).mean(1)
    return {name + key: found[name][key] for name in found for key in ("residual", "b_ks")} | {
        "slope": history.watched["slope"][-1],
        "slope_3": history.watched["slope"][4],
        "residual_3": residuals[4],
        "appear": appear(residuals),
        "lost": (g_loss > LOST).double().sum(0),
        "g_loss": g_loss[-1],
        "d_right": torch.stack(run.log.d[-run.epoch :]).mean(0),
    }


def judged(G: Ensemble, sets: tuple[Tensor, Tensor], seed: int | None = None) -> dict[str, Tensor]:
    """Return `measure` of fresh curves, and whether G knows its training set by heart, each ``(seeds,)``.

    Args:
        G: generators.
        sets: the curves and the noise that they were trained on.
        seed: the base seed of fresh noise; `gan_helpers.randomness.base_seed` unless given.
    """
    fakes = draw(G, seed=seed)
    with torch.no_grad():
        seen = best_sinusoid(G(sets[1][:, :1_000]), REAL.positions).residual
    fresh = REAL(G.seeds, 200, Stream("fresh curves", seed, fakes.device))
    return measure(fakes) | {
        "seen": seen.median(1).values,
        "nearest": nearest(fakes[:, :200], sets[0]).median(1).values,
        "nearest_real": nearest(fresh, sets[0]).median(1).values,
    }


def summary(watched: Tensor, d_loss: Tensor, g_loss: Tensor, log: Log, epoch: int) -> dict[str, Tensor]:
    """Return how good curves were after every tenth epoch, and means over the last, each ``(seeds,)``.

    Args:
        watched: curves before the training and after each epoch, ``(epochs + 1, seeds, n, 64)``.
        d_loss: the losses of D, ``(steps, seeds)``.
        g_loss: the losses of G, ``(steps, seeds)``.
        log: of as many steps.
        epoch: steps in an epoch.

    Returns:
        ``residual_3``, the median after epoch 3 when the first is 0, and so on by tens; in how many epochs G
        had ``lost``; the losses; the shares of the log, ``d_right`` and ``g_fools``.
    """
    residuals = {
        f"residual_{e}": best_sinusoid(watched[e + 1], REAL.positions).residual.median(1).values
        for e in range(3, len(watched) - 1, 10)
    }
    last = {"d_loss": d_loss, "d_right": torch.stack(log.d), "g_loss": g_loss, "g_fools": torch.stack(log.g)}
    lost = (g_loss.unflatten(0, (-1, epoch)).mean(1) > LOST).double().sum(0)
    return residuals | {"lost": lost} | {k: values[-epoch:].double().mean(0) for k, values in last.items()}


def apart(seeds: int, seed: int) -> dict[str, Tensor]:
    """Return what `part` says of all `PARTS`, each from the same seeds, as ``residual_only_r1`` and so on.

    Args:
        seeds: the number of runs.
        seed: their base seed.
    """
    return {
        f"{measure}_{name}": values
        for name, made in PARTS.items()
        for measure, values in part(changed(*made), seeds, seed).items()
    }


def uneven(bound: float) -> float:
    """Return how likely the KS of 8 even draws is to be above a bound over the root of 8.

    Args:
        bound: the bound.
    """
    return float(stats.kstwo.sf(bound / math.sqrt(8), 8))


def plain(seeds: int, seed: int) -> dict[str, Tensor]:
    """Return how good curves are that no network makes, each ``(seeds,)``.

    Args:
        seeds: the number of runs.
        seed: their base seed.

    Returns:
        `measure` and the distance to the ``nearest`` training curve: of training curves drawn again,
        ``again_``, and of sinusoids with b and c between the ends of those fitted to 1,000 of them, ``fit_``;
        and the KS of the frequencies of but 8 and 64 curves drawn again, ``ks_8`` and ``ks_64``.
    """
    curves, rng = inputs(seeds, seed)[0], Stream("plain", seed, default_device())
    fit = best_sinusoid(curves[:, :1_000], REAL.positions)
    ends = ((b.amin(1, keepdim=True), b.amax(1, keepdim=True)) for b in (fit.b, fit.c))
    b, c = (low + (high - low) * rng.uniform(seeds, 1_000) for low, high in ends)
    made = {
        "again": Resample(curves)(seeds, 1_000, rng),
        "fit": torch.sin(b.unsqueeze(2) * REAL.positions.to(b) + c.unsqueeze(2)).to(curves),
    }
    found = {
        name: measure(fakes) | {"nearest": nearest(fakes[:, :200], curves).median(1).values}
        for name, fakes in made.items()
    }
    few = {f"ks_{n}": measure(made["again"][:, :n])["b_ks"] for n in (8, 64)}
    return {f"{name}_{key}": value for name in found for key, value in found[name].items()} | few


TABLES = {
    "original": Table(trial, 32, ensemble=8),
    "log": Table(logged, 8, ensemble=8),
    "start": Table(partial(trial, epochs=4), 40, ensemble=8),
    "no_momentum": Table(partial(trial, ema=0.999, epochs=SHORT, **changed("beta1")), 28, ensemble=4),
    "r1": Table(partial(trial, ema=0.999, epochs=SHORT, **changed("dropout", "r1")), 24, ensemble=4),
    "repaired": Table(partial(trial, ema=0.999, epochs=SHORT, **changed(*REPAIR)), 20, ensemble=4),
    "apart": Table(apart, 16, ensemble=8),
    "cut": Table(partial(trial, cut=CUT), 32, ensemble=8),
    "plain": Table(plain, 32, ensemble=8),
}

#: The first run of the table ``log``, to its end: curves from -1 to 1 as grey levels from 0 to 1. The moments
#: are epochs of 256 steps.
ALBUMS = {
    "original": Album(
        lambda: original(*inputs(8, FIRST_SEED)),
        lambda G: (draw(G, 1_008, FIRST_SEED) + 1) / 2,
        {256 * e: 64 for e in (0, 1, *range(2, 17, 2), 24, 34, 44, 54)} | {256 * EPOCHS: 1_008},
        seeds=8,
        shape=(1, 64),
    ),
}

"""Training: the loop of `gan_helpers.training` for ensembles in MXNet."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from gan_helpers import _checks
from gan_helpers.data import Sampler
from gan_helpers.history import History
from gan_helpers.interrupts import interrupts
from gan_helpers.mxnet_backend.arrays import array, tensor
from gan_helpers.mxnet_backend.importing import mx, nd
from gan_helpers.mxnet_backend.networks import Ensemble
from gan_helpers.options import ONE_EACH, Look, Turns, Watch
from gan_helpers.progress import someone_is_watching
from gan_helpers.randomness import Stream
from gan_helpers.recording import Looks, first_bad_loss, not_finite

CHECK_EVERY = 100  # steps between two looks at the losses; each look waits for MXNet's queue

Loss = Callable[[Ensemble, Ensemble, Any, Any], Any]


def adam(network: Any, lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> Any:
    """Return a ``gluon.Trainer`` with MXNet's Adam, for all members at once.

    Args:
        network: the ensemble, or any Gluon block, whose weights are to be updated.
        lr: the step size alpha.
        betas: the decay rates of the two moment estimates, beta1 and beta2.
    """
    _checks.instance("network", network, mx.gluon.Block)
    if len(_checks.sequence("betas", betas)) != 2:
        raise ValueError(f"betas must hold two numbers, beta1 and beta2, not {betas!r}.")
    _checks.number("lr", lr, above=0.0)
    for i, beta in enumerate(betas):
        _checks.number(f"betas[{i}]", beta, at_least=0.0, below=1.0)
    options = {"learning_rate": lr, "beta1": betas[0], "beta2": betas[1]}
    return mx.gluon.Trainer(network.collect_params(), "adam", options)


def train(
    G: Ensemble,
    D: Ensemble,
    data: Sampler,
    noise: Sampler,
    *,
    d_loss: Loss,
    g_loss: Loss,
    d_opt: Any,
    g_opt: Any,
    steps: int,
    batch: int,
    turns: Turns = ONE_EACH,
    ema: float | None = None,
    watch: Watch | Look | None = None,
    seed: int | None = None,
    progress: bool = True,
) -> History:
    """Train the generators G against the discriminators D, all seeds at once.

    The same arguments and streams give the same numbers as in `gan_helpers.training.train`. Ctrl-C ends the
    run after the step under way and returns what there is.

    Args:
        G: the generators, from noise to samples.
        D: the discriminators, from samples to logits.
        data: draws real samples as a torch tensor, ``data(seeds, batch, rng) -> (seeds, batch, features)``.
        noise: draws the generators' input in the same way.
        d_loss: ``d_loss(G, D, x, z) -> (seeds,)``, what D descends, of NDArrays.
        g_loss: ``g_loss(G, D, x, z) -> (seeds,)``, what G descends.
        d_opt: a ``gluon.Trainer`` of D's weights, such as ``adam(D, 0.05)``.
        g_opt: a ``gluon.Trainer`` of G's weights.
        steps: how many steps to make.
        batch: samples per seed and update.
        turns: who moves when in a step; not simultaneously.
        ema: the decay of an exponential moving average of G's weights; no average if None.
        watch: a function of the generators that returns tensors by name, ``(seeds, ...)``, or a `Watch` that
            says how often too. It is called before the first step, now and then, and after the last, on the
            average if there is one.
        seed: the seed of the streams of data and noise; `gan_helpers.randomness.base_seed` unless given.
        progress: show people a progress bar; it is never part of stored outputs.

    Raises:
        ValueError: if G and D differ in seeds, or a loss function does not return one loss per seed.
        NonFiniteLossError: soon after the first loss that is NaN or infinite; the message says which it was.
    """
    for name, value in (("steps", steps), ("batch", batch)):
        _checks.whole(name, value)
    for name, network in (("G", G), ("D", D)):
        _checks.instance(name, network, Ensemble)
    for name, function in (("data", data), ("noise", noise), ("d_loss", d_loss), ("g_loss", g_loss)):
        _checks.function(name, function)
    for name, trainer in (("d_opt", d_opt), ("g_opt", g_opt)):
        _checks.instance(name, trainer, mx.gluon.Trainer)
    if _checks.instance("turns", turns, Turns).simultaneous:
        raise ValueError("turns must not be simultaneous in MXNet: the players move one after the other.")
    if G.seeds != D.seeds:
        raise ValueError(f"G has {G.seeds} seeds and D has {D.seeds}: make both with the same number.")
    average = None if ema is None else _Average(G, ema)
    shown = G if average is None else average.network
    losses, looks = _Losses(), Looks(Watch.of(watch))
    data_rng, noise_rng, like = Stream("data", seed), Stream("noise", seed), G.weights()[0]

    def draw(sampler: Sampler, rng: Stream) -> Any:
        return array(sampler(G.seeds, batch, rng), like=like)

    with interrupts() as stop:
        if looks.due(0, last=False):
            looks.take(0, shown)
        hidden = not (progress and someone_is_watching())
        for step in tqdm(range(1, steps + 1), leave=False, disable=hidden):
            for _ in range(turns.d_steps):
                x, z = draw(data, data_rng), draw(noise, noise_rng)
                d_losses = _descend("d_loss", d_loss, d_opt, G, D, x, z)
            for _ in range(turns.g_steps):
                z = draw(noise, noise_rng) if turns.fresh_noise else z
                g_losses = _descend("g_loss", g_loss, g_opt, G, D, x, z)
            losses.keep(d_losses, g_losses)
            if average is not None:
                average.update(G)
            last = step == steps or stop.is_set()
            if step % CHECK_EVERY == 0 or last:
                losses.stop_unless_finite()
            if looks.due(step, last):
                looks.take(step, shown)
            if last:
                break
    return History(
        **losses.by_player(),
        at=torch.tensor(looks.at, dtype=torch.long),
        watched=looks.by_name(),
        averaged=None if average is None else average.network,
        interrupted=step < steps,
        failed=torch.zeros(G.seeds, dtype=torch.bool),
        share=None,
    )


def _descend(name: str, loss: Loss, trainer: Any, G: Ensemble, D: Ensemble, x: Any, z: Any) -> Any:
    """Let one player take one step, and return its losses."""
    with mx.autograd.record():
        losses = loss(G, D, x, z)
    if losses.shape != (G.seeds,):
        raise ValueError(
            f"{name} must return one loss per seed, shape {(G.seeds,)}, not {losses.shape}: "
            "take the mean over all axes but the first."
        )
    losses.backward()  # of the sum over seeds
    trainer.step(1)
    return losses.detach()


class _Average:
    """An exponential moving average of a network's weights; the first averages are shorter."""

    def __init__(self, network: Ensemble, decay: float) -> None:
        self.network = network.copy()
        self._decay = _checks.number("ema", decay, at_least=0.0, below=1.0)
        self._updates = 0

    def update(self, network: Ensemble) -> None:
        """Move the average a little towards the weights as they are now."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        for ours, newest in zip(self.network.weights(), network.weights(), strict=True):
            ours += (1 - decay) * (newest - ours)


class _Losses:
    """Keeps the losses of all steps, and stops at one that is not finite."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Any]] = {"d_loss": [], "g_loss": []}

    def keep(self, *losses: Any) -> None:
        """Keep the losses of D and of G of one step, ``(seeds,)`` each."""
        for kept, values in zip(self._kept.values(), losses, strict=True):
            kept.append(values)

    def by_player(self) -> dict[str, Tensor]:
        """Return all losses, ``(steps, seeds)``, as ``d_loss`` and ``g_loss``; this waits for them."""
        return {name: tensor(nd.stack(*kept)) for name, kept in self._kept.items()}

    def stop_unless_finite(self) -> None:
        """Raise if one of the last losses is NaN or infinite."""
        recent = [nd.stack(*kept[-CHECK_EVERY:]).sum() for kept in self._kept.values()]
        if math.isfinite(sum(total.asscalar() for total in recent)):
            return
        # The sum of large numbers may be infinite although they are not. And one looks late.
        d_loss, g_loss = self.by_player().values()
        if found := first_bad_loss(d_loss, g_loss):
            what, seeds, steps = found
            raise not_finite(what, seeds, History(d_loss[:steps], g_loss[:steps]))

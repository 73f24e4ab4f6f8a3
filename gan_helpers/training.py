"""The one loop that trains every adversarial pair of the book.

The loop is algorithm 1 of Goodfellow et al. (2014): some steps of the discriminator, then one of the
generator, again and again. What differs between the chapters is data, networks, losses and optimisers,
and these are arguments. Nothing in the loop asks an accelerator for a value.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from gan_helpers import _checks
from gan_helpers._compiling import Compiled
from gan_helpers._memory import keep_freed_memory
from gan_helpers._reuse import remembered, say_if_reused
from gan_helpers.data import Sampler
from gan_helpers.device import memory_advice
from gan_helpers.ensemble import Ensemble
from gan_helpers.history import History
from gan_helpers.interrupts import interrupts
from gan_helpers.keeping import Kept, NoCheckpoint, keep
from gan_helpers.options import ONE_EACH, Checkpointing, Look, Turns, Watch
from gan_helpers.processes import Processes
from gan_helpers.progress import someone_is_watching, tqdm
from gan_helpers.randomness import Stream
from gan_helpers.recording import CHECK_EVERY, Record
from gan_helpers.shares import Share
from gan_helpers.splitting import Divided, Undivided, part_of
from gan_helpers.states import State, Weights, match

log = logging.getLogger("gan_helpers")

Loss = Callable[[Ensemble, Ensemble, Tensor, Tensor], Tensor]


def adam(network: Ensemble, lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.Adam:
    """Return torch's Adam for all members at once, in its fused form where the device has one.

    Adam treats every number by itself, so the members do not meet in it.

    Args:
        network: the ensemble whose weights are to be updated.
        lr: the step size alpha.
        betas: the decay rates of the two moment estimates, beta1 and beta2.

    Raises:
        TypeError: if network is no ensemble, or a number is not real.
        ValueError: if lr is not above 0, there are not two betas in [0, 1), or all weights are frozen.

    References:
        Kingma and Ba (2015). https://arxiv.org/abs/1412.6980
    """
    _checks.instance("network", network, Ensemble)
    _checks.number("lr", lr, above=0.0)
    if len(_checks.sequence("betas", betas)) != 2:
        raise ValueError(f"betas must hold two numbers, beta1 and beta2, not {betas!r}.")
    # As floats: torch refuses two numbers of different kinds, such as (0, 0.9).
    beta1, beta2 = (_checks.number(f"betas[{i}]", betas[i], at_least=0.0, below=1.0) for i in (0, 1))
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("network has no weights to train: all are frozen, as those of a copy are.")
    fused = parameters[0].device.type != "meta"
    return torch.optim.Adam(parameters, lr=float(lr), betas=(beta1, beta2), fused=fused)


def clipped(optimiser: Optimizer, c: float) -> Optimizer:
    r"""Return the optimiser itself, which from now on cuts its weights to [-c, c] after each step.

    .. math:: w \leftarrow \operatorname{clip}(w, -c, c)

    A number is cut by itself, so the members of an ensemble do not meet. The first weights are cut only after
    the first step.

    Args:
        optimiser: of the critic's weights, such as ``RMSprop(D.parameters(), 5e-5)``.
        c: the largest size of a weight, above 0.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if c is not above 0.

    References:
        Arjovsky, Chintala and Bottou (2017), algorithm 1. https://arxiv.org/abs/1701.07875
    """
    _checks.instance("optimiser", optimiser, Optimizer)
    c = _checks.number("c", c, above=0.0)

    @torch.no_grad()
    def cut(optimiser: Optimizer, *_: Any) -> None:
        for group in optimiser.param_groups:
            for weights in group["params"]:
                weights.clamp_(-c, c)

    optimiser.register_step_post_hook(cut)
    optimiser.defaults["clip"] = c  # by which a checkpoint knows the run
    return optimiser


def fading(optimiser: Optimizer, steps: int) -> Optimizer:
    r"""Return the optimiser itself, whose learning rate from now on fades to 0 along half a cosine.

    .. math:: \eta_t = \tfrac12 \eta_0 \left(1 + \cos\frac{\pi t}{T}\right)

    The first step is taken at the full rate, and after the last the rate is 0. A checkpoint keeps the rate
    and the steps taken, so a run goes on where it was.

    Args:
        optimiser: any whose groups have a rate, such as ``adam(G, 1e-3)``.
        steps: how many it will take, T.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if ``steps`` is below 1.

    References:
        Loshchilov and Hutter (2017), equation 5, without restarts. https://arxiv.org/abs/1608.03983
    """
    _checks.instance("optimiser", optimiser, Optimizer)
    _checks.whole("steps", steps)
    for group in optimiser.param_groups:
        group |= {"full_lr": group["lr"], "taken": 0}

    def fade(optimiser: Optimizer, *_: Any) -> None:
        for group in optimiser.param_groups:
            group["taken"] += 1
            left = (1 + math.cos(math.pi * min(group["taken"] / steps, 1.0))) / 2
            group["lr"] = group["full_lr"] * left

    optimiser.register_step_post_hook(fade)
    optimiser.defaults["fades over"] = steps  # by which a checkpoint knows the run
    return optimiser


def train(
    G: Ensemble,
    D: Ensemble,
    data: Sampler,
    noise: Sampler,
    *,
    d_loss: Loss,
    g_loss: Loss,
    d_opt: Optimizer,
    g_opt: Optimizer,
    steps: int,
    batch: int,
    turns: Turns = ONE_EACH,
    ema: float | None = None,
    watch: Watch | Look | None = None,
    seed: int | None = None,
    checkpoint: Checkpointing | str | os.PathLike[str] | None = None,
    on_nonfinite: Literal["stop", "go on"] = "stop",
    compile: bool = False,
    progress: bool = True,
    processes: Processes | None = None,
) -> History:
    """Train the generators G against the discriminators D, all seeds at once.

    A step is some updates of D, each on fresh data and noise, and some of G, each on fresh noise and the last
    data; `gan_helpers.options.Turns` says how many, one of each unless told. The sum of the losses over seeds
    is descended, so every member gets the gradient that it would get alone. Ctrl-C ends the run after the
    step under way and returns what there is; SIGTERM ends the program there.

    Args:
        G: the generators, from noise to samples.
        D: the discriminators, from samples to logits.
        data: draws real samples, ``data(seeds, batch, rng) -> (seeds, batch, ...)``. What it returns goes to
            the losses as it is: a tuple of samples and their labels will do too.
        noise: draws the generators' input in the same way.
        d_loss: ``d_loss(G, D, x, z) -> (seeds,)``, what D descends.
        g_loss: ``g_loss(G, D, x, z) -> (seeds,)``, what G descends.
        d_opt: an optimiser of D's weights, such as ``adam(D, 2e-4)``.
        g_opt: an optimiser of G's weights.
        steps: how many steps to make.
        batch: samples per seed and update.
        turns: who moves when, such as ``Turns(d_steps=5)`` or ``Turns(simultaneous=True)``.
        ema: the decay of an exponential moving average of G's weights, updated after each step, such as
            0.999; the first averages are shorter. No average if None.
        watch: a function of the generators that returns tensors by name, or `gan_helpers.options.Watch` to
            say how often. It is called before the first step, after each 100 steps and after the last,
            without gradients and in evaluation mode, on the averaged generators if there is an average.
        seed: the seed of the streams of data and noise; `gan_helpers.randomness.base_seed` unless given.
        checkpoint: a file that keeps the run, or `gan_helpers.options.Checkpointing` to say how often. If it
            exists, the run goes on from there, to the same end as without the stop. Data, noise and losses
            take part with all that they remember if they are `gan_helpers.states.Stateful`. To train longer,
            raise ``steps``.
        on_nonfinite: what to do at a loss or a weight that is NaN or infinite. ``"stop"`` raises an error;
            ``"go on"`` lets the other seeds go on, which it does not touch, until none is left.
        compile: turn losses and gradients into machine code of their own, which takes some seconds and then
            makes each step faster: for long runs. Where that is not possible, one line says so and the run
            goes on without. Results are the same but for rounding.
        progress: show people a progress bar; it is never part of stored outputs.
        processes: those that share the rows of each batch, from `gan_helpers.processes.joined`; this one
            alone if None. The losses have to be means over the batch. The first process writes the
            checkpoint, and Ctrl-C in any ends the run after the same step in all.

    Returns:
        The record of the run.

    Raises:
        TypeError: if an argument has the wrong type, or a function returns something else than it should.
        ValueError: if a number is out of range, G and D differ in seeds, an optimiser belongs to other
            weights, a loss function does not return one loss per seed or does not depend on its player, or a
            batch is too small to be shared.
        CheckpointError: if the checkpoint is damaged, of another run, or cannot be written.
        torch.OutOfMemoryError: if an accelerator has no memory left; the message says what to do.
        NonFiniteLossError: at the first loss or weight that is NaN or infinite, unless others are to go on.
        ProcessError: if a process is gone or has other weights, or a loss can't be split over a batch.

    References:
        Goodfellow et al. (2014), algorithm 1. https://arxiv.org/abs/1406.2661; Yazici et al. (2019) for the
        average. https://arxiv.org/abs/1806.04498
    """
    _checks.whole("steps", steps)
    _checks.whole("batch", batch)
    _checks.instance("turns", turns, Turns)
    watch = Watch.of(watch)
    if on_nonfinite not in ("stop", "go on"):
        raise ValueError(f'on_nonfinite must be "stop" or "go on", not {on_nonfinite!r}.')
    device = _common_device(G, D)
    split = Undivided(batch) if processes is None else Divided(processes, batch)

    draw = _Draw({"data": data, "noise": noise}, G.share, split.rows, seed, device)
    g_player = _Player("G", G, g_loss, g_opt, compile, split)
    d_player = _Player("D", D, d_loss, d_opt, compile, split)
    average = None if ema is None else Average(G, ema)
    record = Record(steps, G, D, watch, G if average is None else average.network, on_nonfinite == "go on")
    game = _Game(draw, d_player, g_player, average, record, turns)
    kept = split.kept(
        NoCheckpoint() if checkpoint is None else game.kept(Checkpointing.of(checkpoint), watch, ema)
    )

    G.train()
    D.train()
    keep_freed_memory()
    with memory_advice(), interrupts() as split.stop, remembered((G, D), draw.seed, record):
        begun = kept.restore()
        split.compare("before a step", (G, D))
        if not begun:
            say_if_reused((G, D), draw.seed)
            record.look()
            kept.save()
        shown = progress and someone_is_watching()
        left = range(record.made, steps)
        for _ in tqdm(left, initial=record.made, total=steps, leave=False, disable=not shown):
            game.step()
            whole = record.made == steps
            record.look(last=whole)
            stopped = split.is_over()
            last = stopped or whole
            if last or kept.is_due(last) or record.made % CHECK_EVERY == 0:
                split.compare(f"after step {record.made}", (G, D))
            kept.step_made(last)
            if stopped and not whole:
                kept.rehearse(game.step)
                log.warning(
                    "%s ended the training after step %d of %d: %s.",
                    split.stop.name,
                    record.made,
                    steps,
                    kept,
                )
            if stopped:
                break
        record.stop_unless_finite()
        record.look(last=True)  # after an interrupt: a run that goes on from there does not have this look
    return record.history(None if average is None else average.network)


class _Draw:
    """The batches of a run: its samplers, and the stream that each draws from."""

    def __init__(
        self,
        samplers: dict[str, Sampler],
        members: Share,
        rows: Share,
        seed: int | None,
        device: torch.device,
    ) -> None:
        self.samplers = {name: _sampler(name, sampler) for name, sampler in samplers.items()}
        self.streams = {name: Stream(name, seed, device) for name in samplers}
        self.members, self.rows = members, rows

    @property
    def seed(self) -> int:
        """The seed of the streams."""
        return cast("int", self.streams["data"].seed)

    def __call__(self, name: str) -> Any:
        """Return the next batch, ``(seeds, batch, ...)``, or several that belong together as a tuple.

        It is drawn for all members and rows, and the share is kept: so each gets what it gets without shares.
        """
        batch: Any = self.samplers[name](self.members.of, self.rows.of, self.streams[name])
        for part in batch if isinstance(batch, tuple) else (batch,):
            _with_seeds(name, part, self.members.of)
        if not self.members.is_whole:
            batch = self._own(batch)
        return batch if self.rows.is_whole else part_of(self.rows, batch)

    def _own(self, batch: Any) -> Any:
        """Return the share of the members."""
        if isinstance(batch, tuple):
            return tuple(self.members.part(part, 0) for part in batch)
        return self.members.part(batch, 0)


def _sampler(name: str, sampler: Any) -> Sampler:
    """Return ``sampler`` if it can draw; a data set cannot."""
    if callable(sampler) and not hasattr(sampler, "__array__"):
        return cast("Sampler", sampler)
    shape = f" of shape {tuple(sampler.shape)}" if hasattr(sampler, "__array__") else ""
    raise TypeError(
        f"{name} must be a function that draws batches, {name}(seeds, batch, rng) -> (seeds, batch, ...), "
        f"not {type(sampler).__name__}{shape}: Resample(torch.as_tensor(rows)) draws from a data set, "
        "(rows, features), and Minibatches serves it in epochs."
    )


def _with_seeds(name: str, batch: Any, seeds: int) -> None:
    """Check that a sampler returned a tensor with the seed axis in front."""
    if not isinstance(batch, Tensor):
        raise TypeError(f"{name} must return a tensor, (seeds, batch, ...), not {type(batch).__name__}.")
    if batch.dim() < 2 or batch.shape[0] != seeds:
        raise ValueError(
            f"{name} must return (seeds, batch, ...) with seeds = {seeds}, not {tuple(batch.shape)}: "
            "x.expand(seeds, *x.shape) gives all seeds the same."
        )


@dataclass(frozen=True)
class _Game:
    """All that takes part in a step."""

    draw: _Draw
    D: _Player
    G: _Player
    average: Average | None
    record: Record
    turns: Turns

    def step(self) -> None:
        """Let D take its turns, and then G, or both at once."""
        networks = self.G.network, self.D.network
        for _ in range(self.turns.d_steps):
            x, z = self.draw("data"), self.draw("noise")
            self.record.losses("D", self.D.differentiate(*networks, x, z))
            if not self.turns.simultaneous:
                self.D.descend()
        for _ in range(self.turns.g_steps):
            if self.turns.fresh_noise:
                z = self.draw("noise")
            self.record.losses("G", self.G.differentiate(*networks, x, z))
            self.G.descend()
        if self.turns.simultaneous:
            self.D.descend()
        if self.average is not None:
            self.average.update(self.G.network)
        self.record.step_made()

    def kept(self, checkpointing: Checkpointing, watch: Watch, ema: float | None) -> Kept:
        """Return what keeps the run in a checkpoint."""
        streams = self.draw.streams
        functions = self.draw.samplers | {"d_loss": self.D.loss, "g_loss": self.G.loss}
        settings = {
            "batch": self.draw.rows.of, "seed": self.draw.seed, **vars(self.turns), "ema": ema,
            "watch": watch.function, "every": watch.every,
        }  # fmt: skip
        players = {player.name: (player.network, player.optimiser) for player in (self.G, self.D)}
        changing = {"average": self.average, **{f"{name}_rng": rng for name, rng in streams.items()}}
        return keep(checkpointing, players, changing, functions | settings, self.record)


def _common_device(G: Ensemble, D: Ensemble) -> torch.device:
    """Return the device that both players live on."""
    for name, network in (("G", G), ("D", D)):
        if not isinstance(network, Ensemble):
            kind = type(network).__name__
            raise TypeError(f"{name} must be an Ensemble, not {kind}: Ensemble.of([{name}]) makes one.")
    if G.seeds != D.seeds:
        raise ValueError(f"G has {G.seeds} seeds and D has {D.seeds}: make both with the same number.")
    if G.share != D.share:
        raise ValueError(f"G has members {G.share} and D {D.share}: give both the same share.")
    devices = {p.device for network in (G, D) for p in network.parameters()}
    if len(devices) != 1:
        raise ValueError(
            f"G and D must be on one device, not on {sorted(map(str, devices))}: name it for both."
        )
    return devices.pop()


class _Player:
    """A network with its loss and the optimiser of its weights."""

    def __init__(
        self,
        name: str,
        network: Ensemble,
        loss: Loss,
        optimiser: Optimizer,
        compile: bool,
        split: Undivided,
    ) -> None:
        if not isinstance(optimiser, Optimizer):
            raise TypeError(
                f"{name.lower()}_opt must be a torch optimiser, such as adam({name}, 2e-4), "
                f"not {type(optimiser).__name__}."
            )
        self.name = name
        self.network = network
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.optimiser = optimiser
        held = {id(p) for group in optimiser.param_groups for p in group["params"]}
        if held != {id(p) for p in self.parameters}:
            opt = f"{name.lower()}_opt"
            raise ValueError(
                f"{opt} must update the weights of {name} and no others: {opt}=adam({name}, 2e-4)."
            )
        self.loss = _checks.function(f"{name.lower()}_loss", loss)
        self.fast = Compiled(self.derivatives) if compile else self.derivatives
        self._split = split

    def derivatives(
        self, G: Ensemble, D: Ensemble, x: Tensor, z: Tensor
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Return the losses, and the gradients of their sum for this player's weights alone."""
        losses = _one_per_seed(f"{self.name.lower()}_loss", self.loss(G, D, x, z), G.seeds)
        if not losses.requires_grad:
            return losses, [None for _ in self.parameters]
        gradients = torch.autograd.grad(losses.sum(), self.parameters, allow_unused=True)
        # A gradient may lie in memory in another order than its weights, and a fused optimiser does not look.
        return losses.detach(), [
            None if g is None else g.contiguous() for g in cast("Sequence[Tensor | None]", gradients)
        ]

    def differentiate(self, G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        """Give the weights their gradients, and return the losses, ``(seeds,)``."""
        losses, gradients = self._split.derive(self, (G, D), x, z)
        if all(gradient is None for gradient in gradients):
            raise ValueError(
                f"{self.name.lower()}_loss does not depend on the weights of {self.name}: "
                "call the network in it, and do not detach what it returns."
            )
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        return losses

    def descend(self) -> None:
        """Let the optimiser take one step."""
        self.optimiser.step()


def _one_per_seed(name: str, losses: Any, seeds: int) -> Tensor:
    """Return what a loss function returned, if it is one loss per seed."""
    if not isinstance(losses, Tensor):
        raise TypeError(f"{name} must return a tensor, not {type(losses).__name__}.")
    if losses.shape != (seeds,):
        raise ValueError(
            f"{name} must return one loss per seed, shape {(seeds,)}, "
            f"not {tuple(losses.shape)}: take the mean over all axes but the first."
        )
    return losses


class Average:
    """An exponential moving average of a network's weights; its buffers are the newest ones.

    The first averages are shorter: after t updates the decay is at most (1 + t) / (10 + t), so that the
    weights from before the training are soon forgotten. The average itself is ``network``.

    Args:
        network: what is averaged.
        decay: of the later averages, such as 0.999.

    Raises:
        ValueError: if ``decay`` is not in [0, 1).
    """

    def __init__(self, network: Ensemble, decay: float) -> None:
        self.network = network.copy()
        self._decay = _checks.number("ema", decay, at_least=0.0, below=1.0)
        self._updates = 0

    @torch.no_grad()
    def update(self, network: Ensemble) -> None:
        """Move the average a little towards the weights as they are now.

        Args:
            network: the one that is averaged.
        """
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        for ours, newest in zip(self.network.parameters(), network.parameters(), strict=True):
            ours.lerp_(newest, 1 - decay)
        for buffer, latest in zip(self.network.buffers(), network.buffers(), strict=True):
            buffer.copy_(latest)

    def state(self) -> State:
        """Return copies of the averages and their number, for a checkpoint."""
        return Weights(self.network).state() | {"updates": torch.tensor(self._updates)}

    def load_state(self, state: State) -> None:
        """Set the average to what `state` returned.

        Args:
            state: that.
        """
        match(self.state(), state)
        Weights(self.network).load_state({k: value for k, value in state.items() if k != "updates"})
        self._updates = int(state["updates"])

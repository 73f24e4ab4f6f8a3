"""The one loop that trains every adversarial pair of the book.

The loop is algorithm 1 of Goodfellow et al. (2014): some steps of the discriminator, then one of the
generator, again and again. What differs between the chapters is data, networks, losses and optimisers,
and these are arguments. Nothing in the loop asks an accelerator for a value.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from gan_helpers import _checks
from gan_helpers._compiling import Compiled
from gan_helpers._memory import keep_freed_memory
from gan_helpers.checkpoints import Checkpoint
from gan_helpers.data import Sampler
from gan_helpers.describing import describe, described
from gan_helpers.device import memory_advice
from gan_helpers.ensemble import Ensemble
from gan_helpers.history import History
from gan_helpers.interrupts import interrupts
from gan_helpers.options import ONE_EACH, Checkpointing, Look, Turns, Watch
from gan_helpers.progress import someone_is_watching, tqdm
from gan_helpers.randomness import Stream
from gan_helpers.recording import Record
from gan_helpers.states import CheckpointError, Moments, State, Stateful, Weights, match

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
) -> History:
    """Train the generators G against the discriminators D, all seeds at once.

    A step is some updates of D, each on fresh data and noise, and some of G, each on fresh noise and the last
    data; `gan_helpers.options.Turns` says how many, one of each unless told. The sum of the losses over seeds
    is descended, so every member gets the gradient that it would get alone. Ctrl-C ends the run after the
    step under way and returns what there is.

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

    Returns:
        The record of the run.

    Raises:
        TypeError: if an argument has the wrong type, or a function returns something else than it should.
        ValueError: if a number is out of range, G and D differ in seeds, an optimiser belongs to other
            weights, or a loss function does not return one loss per seed or does not depend on its player.
        CheckpointError: if the checkpoint is damaged, of another run, or cannot be written.
        torch.OutOfMemoryError: if an accelerator has no memory left; the message says what to do.
        NonFiniteLossError: at the first loss or weight that is NaN or infinite, unless others are to go on.

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

    draw = _Draw({"data": data, "noise": noise}, G.seeds, batch, seed, device)
    g_player = _Player("G", G, g_loss, g_opt, compile)
    d_player = _Player("D", D, d_loss, d_opt, compile)
    average = None if ema is None else _Average(G, ema)
    record = Record(steps, G, D, watch, G if average is None else average.network, on_nonfinite == "go on")
    kept = _Kept(None)
    if checkpoint is not None:
        settings = {"ema": ema, **vars(turns), "watch": watch.function, "every": watch.every}
        kept = _kept(Checkpointing.of(checkpoint), draw, (g_player, d_player), average, record, settings)

    G.train()
    D.train()
    keep_freed_memory()
    with memory_advice(), interrupts() as stop:
        if not kept.restore():
            record.look()
            kept.save()
        shown = progress and someone_is_watching()
        left = range(record.made, steps)
        for _ in tqdm(left, initial=record.made, total=steps, leave=False, disable=not shown):
            for _ in range(turns.d_steps):
                x, z = draw("data"), draw("noise")
                record.losses("D", d_player.differentiate(G, D, x, z))
                if not turns.simultaneous:
                    d_player.descend()
            for _ in range(turns.g_steps):
                if turns.fresh_noise:
                    z = draw("noise")
                record.losses("G", g_player.differentiate(G, D, x, z))
                g_player.descend()
            if turns.simultaneous:
                d_player.descend()
            if average is not None:
                average.update(G)
            record.step_made()
            record.look(last=record.made == steps)
            stopped = stop.is_set()
            if kept.due(record.made, last=stopped or record.made == steps):
                record.stop_unless_finite()
                kept.save()
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
        seeds: int,
        batch: int,
        seed: int | None,
        device: torch.device,
    ) -> None:
        self.samplers = {name: _checks.function(name, sampler) for name, sampler in samplers.items()}
        self.streams = {name: Stream(name, seed, device) for name in samplers}
        self.seeds, self.batch = seeds, batch

    def __call__(self, name: str) -> Tensor:
        """Return the next batch, ``(seeds, batch, ...)``."""
        batch: Tensor = self.samplers[name](self.seeds, self.batch, self.streams[name])
        return batch


class _Kept:
    """The checkpoint of a run and how often it is written, or nothing at all."""

    def __init__(self, checkpoint: Checkpoint | None, every: int = 1) -> None:
        self._checkpoint, self._every = checkpoint, every

    def restore(self) -> bool:
        """Set the run to what the file says, and tell whether there is one."""
        return self._checkpoint is not None and self._checkpoint.restore()

    def due(self, made: int, last: bool) -> bool:
        """Tell whether it is time to write after ``made`` steps."""
        return self._checkpoint is not None and (last or made % self._every == 0)

    def save(self) -> None:
        """Write the run as it is now."""
        if self._checkpoint is not None:
            self._checkpoint.save()


def _kept(
    checkpointing: Checkpointing,
    draw: _Draw,
    players: tuple[_Player, _Player],
    average: _Average | None,
    record: Record,
    settings: dict[str, object],
) -> _Kept:
    """Return what keeps a run: all in it that changes, and a description of all that does not."""
    device = draw.streams["data"].device
    if torch.device(device).type == "meta":
        raise CheckpointError("Networks on the meta device have no numbers that a checkpoint could keep.")
    functions = draw.samplers | {f"{player.name.lower()}_loss": player.loss for player in players}
    changing: dict[str, object] = {"average": average, "history": record}
    changing |= {f"{name}_rng": stream for name, stream in draw.streams.items()}
    run = {"device": torch.device(device).type}
    for player in players:
        changing |= {
            player.name: Weights(player.network),
            f"{player.name.lower()}_opt": Moments(player.optimiser),
        }
        run[player.name] = described(player.network, player.optimiser)
    fixed = {**functions, **settings, "batch": draw.batch, "seed": draw.streams["data"].seed}
    run |= {name: describe(value) for name, value in fixed.items()}
    parts = {name: part for name, part in (changing | fixed).items() if isinstance(part, Stateful)}
    return _Kept(Checkpoint(checkpointing.path, parts, run), checkpointing.every)


def _common_device(G: Ensemble, D: Ensemble) -> torch.device:
    """Return the device that both players live on."""
    for name, network in (("G", G), ("D", D)):
        if not isinstance(network, Ensemble):
            kind = type(network).__name__
            raise TypeError(f"{name} must be an Ensemble, not {kind}: Ensemble.of([{name}]) makes one.")
    if G.seeds != D.seeds:
        raise ValueError(f"G has {G.seeds} seeds and D has {D.seeds}: make both with the same number.")
    devices = {p.device for network in (G, D) for p in network.parameters()}
    if len(devices) != 1:
        raise ValueError(
            f"G and D must be on one device, not on {sorted(map(str, devices))}: name it for both."
        )
    return devices.pop()


class _Player:
    """A network with its loss and the optimiser of its weights."""

    def __init__(self, name: str, network: Ensemble, loss: Loss, optimiser: Optimizer, compile: bool) -> None:
        if not isinstance(optimiser, Optimizer):
            raise TypeError(f"{name.lower()}_opt must be a torch optimiser, not {type(optimiser).__name__}.")
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
        self._derive = Compiled(self._derivatives) if compile else self._derivatives

    def _derivatives(
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
        losses, gradients = self._derive(G, D, x, z)
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


class _Average:
    """An exponential moving average of a network's weights; its buffers are the newest ones.

    The first averages are shorter: after t updates the decay is at most (1 + t) / (10 + t), so that the
    weights from before the training are soon forgotten.
    """

    def __init__(self, network: Ensemble, decay: float) -> None:
        self.network = network.copy()
        self._decay = _checks.number("ema", decay, at_least=0.0, below=1.0)
        self._updates = 0

    @torch.no_grad()
    def update(self, network: Ensemble) -> None:
        """Move the average a little towards the weights as they are now."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        for ours, newest in zip(self.network.parameters(), network.parameters(), strict=True):
            ours.lerp_(newest, 1 - decay)
        for kept, latest in zip(self.network.buffers(), network.buffers(), strict=True):
            kept.copy_(latest)

    def state(self) -> State:
        """Return copies of the averages and their number, for a checkpoint."""
        return Weights(self.network).state() | {"updates": torch.tensor(self._updates)}

    def load_state(self, state: State) -> None:
        """Set the average to what `state` returned."""
        match(self.state(), state)
        Weights(self.network).load_state({k: value for k, value in state.items() if k != "updates"})
        self._updates = int(state["updates"])

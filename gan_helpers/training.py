"""The one loop that trains every adversarial pair of the book.

The loop is algorithm 1 of Goodfellow et al. (2014): some steps of the discriminator, then one of the
generator, again and again. What differs between the chapters is data, networks, losses and optimisers,
and these are arguments. Nothing in the loop asks an accelerator for a value.
"""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from tqdm.auto import tqdm

from gan_helpers import _checks
from gan_helpers._compiling import Compiled
from gan_helpers._memory import keep_freed_memory
from gan_helpers.checkpoints import (
    Checkpoint,
    CheckpointError,
    Moments,
    State,
    Stateful,
    Weights,
    describe,
    described,
    match,
)
from gan_helpers.data import Sampler
from gan_helpers.device import memory_advice
from gan_helpers.ensemble import Ensemble
from gan_helpers.progress import someone_is_watching
from gan_helpers.randomness import Stream

Loss = Callable[[Ensemble, Ensemble, Tensor, Tensor], Tensor]
Watch = Callable[[Ensemble], dict[str, Tensor]]

CHECK_EVERY = 100  # steps between two looks at weights, and at an accelerator's losses: each waits for it


@dataclass
class History:
    """What a run of `train` leaves behind; every tensor is on the device of the networks.

    Args:
        d_loss: the discriminators' losses, ``(steps, seeds)``.
        g_loss: the generators' losses, ``(steps, seeds)``.
        at: the steps at which ``watch`` was called, ``(records,)``.
        watched: what ``watch`` returned, by name, ``(records, seeds, ...)``.
        averaged: the generators' averaged weights, if an average was asked for.
        interrupted: whether the run was stopped by hand before its last step.
        failed: the seeds with a loss or a weight that is NaN or infinite, ``(seeds,)``, True or False.
    """

    d_loss: Tensor
    g_loss: Tensor
    at: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    watched: dict[str, Tensor] = field(default_factory=dict)
    averaged: Ensemble | None = None
    interrupted: bool = False
    failed: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))

    @property
    def steps(self) -> int:
        """The number of steps that were made."""
        return len(self.d_loss)


class NonFiniteLossError(ArithmeticError):
    """A loss or a weight became NaN or infinite; ``history`` holds the run up to there.

    Args:
        message: which network, at which step, for which seeds.
        history: the losses so far.
    """

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


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
    for i, beta in enumerate(betas):
        _checks.number(f"betas[{i}]", beta, at_least=0.0, below=1.0)
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("network has no weights to train: all are frozen, as those of a copy are.")
    return torch.optim.Adam(parameters, lr=lr, betas=betas, fused=parameters[0].device.type != "meta")


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
    d_steps: int = 1,
    g_steps: int = 1,
    reuse_noise: bool = False,
    simultaneous: bool = False,
    ema: float | None = None,
    watch: Watch | None = None,
    every: int = 100,
    seed: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1_000,
    on_nonfinite: Literal["stop", "go on"] = "stop",
    compile: bool = False,
    progress: bool = True,
) -> History:
    """Train the generators G against the discriminators D, all seeds at once.

    A step is ``d_steps`` updates of D, each on fresh data and noise, and ``g_steps`` updates of G, each on
    fresh noise and the last data. The sum of the losses over seeds is descended, so every member gets the
    gradient that it would get alone. Ctrl-C ends the run after the step under way and returns what there is.

    Args:
        G: the generators, from noise to samples.
        D: the discriminators, from samples to logits.
        data: draws real samples, ``data(seeds, batch, rng) -> (seeds, batch, ...)``.
        noise: draws the generators' input in the same way.
        d_loss: ``d_loss(G, D, x, z) -> (seeds,)``, what D descends.
        g_loss: ``g_loss(G, D, x, z) -> (seeds,)``, what G descends.
        d_opt: an optimiser of D's weights, such as ``adam(D, 2e-4)``.
        g_opt: an optimiser of G's weights.
        steps: how many steps to make.
        batch: samples per seed and update.
        d_steps: updates of D in each step.
        g_steps: updates of G in each step.
        reuse_noise: give the updates of G the noise of the last update of D instead of fresh noise.
        simultaneous: take both gradients from the same weights, data and noise, and update both networks
            then, instead of D first.
        ema: the decay of an exponential moving average of G's weights, updated after each step, such as
            0.999; the first averages are shorter. No average if None.
        watch: a function of the generators that returns tensors by name. It is called before the first
            step, after each ``every`` steps and after the last, without gradients and in evaluation
            mode, on the averaged generators if there is an average.
        every: steps between two calls of ``watch``.
        seed: the seed of the streams of data and noise; `gan_helpers.randomness.base_seed` unless given.
        checkpoint: a file that keeps the run. If it exists, the run goes on from there, to the same end as
            without the stop. It is written before the first step, after each ``checkpoint_every`` steps,
            after the last, and when Ctrl-C ends the run. Data, noise and losses take part with all that they
            remember if they are `gan_helpers.checkpoints.Stateful`. To train longer, raise ``steps``.
        checkpoint_every: steps between two writings of the checkpoint.
        on_nonfinite: what to do at a loss or a weight that is NaN or infinite. ``"stop"`` raises an error;
            ``"go on"`` lets the other seeds go on, which it does not touch, until none is left.
        compile: turn losses and gradients into machine code of their own, which takes some seconds and then
            makes each step faster: for long runs. Where that is not possible, one line says so and the run
            goes on without. Results are the same but for rounding.
        progress: show people a progress bar; it is never part of stored outputs.

    Returns:
        The record of the run.

    Raises:
        TypeError: if an argument has the wrong type, a loss function's result included.
        ValueError: if a number is out of range, G and D differ in seeds, an optimiser belongs to other
            weights, or a loss function does not return one loss per seed or does not depend on its player.
        CheckpointError: if the checkpoint is damaged, of another run, or cannot be written.
        torch.OutOfMemoryError: if an accelerator has no memory left; the message says what to do.
        NonFiniteLossError: at the first loss or weight that is NaN or infinite, unless others are to go on.

    References:
        Goodfellow et al. (2014), algorithm 1. https://arxiv.org/abs/1406.2661; Yazici et al. (2019) for the
        average. https://arxiv.org/abs/1806.04498
    """
    for name, value in (
        ("steps", steps), ("batch", batch), ("d_steps", d_steps), ("g_steps", g_steps), ("every", every),
        ("checkpoint_every", checkpoint_every),
    ):  # fmt: skip
        _checks.whole(name, value)
    functions = {"data": data, "noise": noise, "d_loss": d_loss, "g_loss": g_loss, "watch": watch}
    for name, function in functions.items():
        if function is not None or name != "watch":
            _checks.function(name, function)
    if simultaneous and (d_steps, g_steps) != (1, 1):
        raise ValueError(
            f"d_steps and g_steps must be 1 in simultaneous training, not {d_steps} and {g_steps}."
        )
    if on_nonfinite not in ("stop", "go on"):
        raise ValueError(f'on_nonfinite must be "stop" or "go on", not {on_nonfinite!r}.')
    device = _common_device(G, D)
    g_player = _Player("G", G, g_loss, g_opt, compile)
    d_player = _Player("D", D, d_loss, d_opt, compile)
    average = None if ema is None else _Average(G, ema)
    record = _Record(steps, G, D, device, watch, G if average is None else average.network, on_nonfinite)
    data_rng, noise_rng = Stream("data", seed, device), Stream("noise", seed, device)
    kept = None
    if checkpoint is not None:
        changing = {
            "G": Weights(G), "D": Weights(D), "g_opt": Moments(g_opt), "d_opt": Moments(d_opt),
            "average": average, "history": record, "data_rng": data_rng, "noise_rng": noise_rng,
        }  # fmt: skip
        numbers = {
            "seed": data_rng.seed, "batch": batch, "d_steps": d_steps, "g_steps": g_steps, "ema": ema,
            "reuse_noise": reuse_noise, "simultaneous": simultaneous, "every": every,
        }  # fmt: skip
        kept = _checkpoint(checkpoint, device, [g_player, d_player], changing, functions, numbers)
    G.train()
    D.train()
    keep_freed_memory()
    with memory_advice(), _interrupts() as stop:
        if kept is None or not kept.restore():
            record.watch()
            if kept is not None:
                kept.save()
        shown = progress and someone_is_watching()
        left = range(record.made, steps)
        for step in tqdm(left, initial=record.made, total=steps, leave=False, disable=not shown):
            for _ in range(d_steps):
                x, z = data(G.seeds, batch, data_rng), noise(G.seeds, batch, noise_rng)
                record.losses("D", step, d_player.differentiate(G, D, x, z))
                if not simultaneous:
                    d_player.descend()
            for _ in range(g_steps):
                if not (reuse_noise or simultaneous):
                    z = noise(G.seeds, batch, noise_rng)
                record.losses("G", step, g_player.differentiate(G, D, x, z))
                g_player.descend()
            if simultaneous:
                d_player.descend()
            if average is not None:
                average.update(G)
            record.step_made()
            if record.made % every == 0 or record.made == steps:
                record.watch()
            stopped = stop.is_set()
            if kept is not None and (record.made % checkpoint_every == 0 or record.made == steps or stopped):
                record.stop_unless_finite()
                kept.save()
            if stopped:
                break
        record.stop_unless_finite()
        record.watch()  # after an interrupt: the run that goes on from the checkpoint does not have this look
    return record.history(average)


def _checkpoint(
    path: str | os.PathLike[str],
    device: torch.device,
    players: list[_Player],
    changing: Mapping[str, object],
    functions: Mapping[str, object],
    numbers: Mapping[str, object],
) -> Checkpoint:
    """Return the checkpoint of a run: all in it that changes, and a description of all that does not."""
    if device.type == "meta":
        raise CheckpointError("Networks on the meta device have no numbers that a checkpoint could keep.")
    parts = {k: part for k, part in {**changing, **functions}.items() if isinstance(part, Stateful)}
    run = {player.name: described(player.network, player.optimiser) for player in players}
    run |= {name: describe(value) for name, value in {**functions, **numbers}.items()}
    return Checkpoint(path, parts, run | {"device": device.type})


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
        self._loss = loss
        self._derive = Compiled(self._derivatives) if compile else self._derivatives

    def _derivatives(
        self, G: Ensemble, D: Ensemble, x: Tensor, z: Tensor
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Return the losses, and the gradients of their sum for this player's weights alone."""
        losses = _one_per_seed(f"{self.name.lower()}_loss", self._loss(G, D, x, z), G.seeds)
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


class _Record:
    """Keeps losses and watched values on the device, and stops at what is not finite."""

    def __init__(
        self,
        steps: int,
        G: Ensemble,
        D: Ensemble,
        device: torch.device,
        watch: Watch | None,
        shown: Ensemble,
        on_nonfinite: str,
    ) -> None:
        self.made = 0  # steps
        self._losses = {name: torch.zeros(steps, G.seeds, device=device) for name in "DG"}
        self._players = {"D": D, "G": G}
        self._weights = [*D.parameters(), *G.parameters()]
        self._look_every = 1 if device.type == "cpu" else CHECK_EVERY
        self._has_numbers = device.type != "meta"
        self._goes_on = on_nonfinite == "go on"
        self._watch, self._shown = watch, shown
        self._at: list[int] = []
        self._watched: list[dict[str, Tensor]] = []

    def losses(self, name: str, step: int, losses: Tensor) -> None:
        """Keep the losses of one network at one step."""
        kept = self._losses[name]
        kept[step] = losses
        if (step + 1) % self._look_every == 0 or step + 1 == len(kept):
            self.stop_unless_finite(kept[max(0, step + 1 - self._look_every) : step + 1])

    def step_made(self) -> None:
        """Count a step, and look at the weights now and then: in between, the next loss tells."""
        self.made += 1
        if self.made % CHECK_EVERY == 0:
            self.stop_unless_finite()

    @torch.no_grad()
    def stop_unless_finite(self, latest: Tensor | None = None) -> None:
        """Raise if one of the latest losses, or else a weight, is not finite, unless other seeds go on."""
        if not self._has_numbers:
            return
        if math.isfinite((get_total_norm(self._weights) if latest is None else latest.sum()).item()):
            return
        # The norm or the sum of large numbers may be infinite although they are not. And on an accelerator,
        # where one looks late, the other network may have been the first: in each step D goes before G.
        known = self.made if latest is None else self.made + 1
        failed = self._failed(known)
        if not (failed.all() if self._goes_on else failed.any()):
            return
        bad = torch.stack([self._losses["D"], self._losses["G"]], dim=1)[:known].isfinite().logical_not()
        turns = bad.flatten(0, 1).any(1).nonzero()
        ill = {name: seeds for name in "DG" if (seeds := _not_finite(self._players[name])).any()}
        if len(turns):
            first, turn = divmod(int(turns[0]), 2)
            name, seeds = "DG"[turn], bad[first, turn]
            value = self._losses[name][first][seeds][0].item()
            what = f"The loss of {name} is {value} at step {first + 1}"
            history = self._until(first + 1)
            # What is known about the weights is of now: it tells of the cause only if the loss is of now too.
            more = f" So are weights of {' and '.join(ill)}." if ill and first == self.made else ""
        else:
            name, seeds = next(iter(ill.items()))
            what, more = f"Weights of {name} are not finite after step {self.made}", ""
            history = self._until(self.made)
        raise NonFiniteLossError(
            f"{what}, for {int(seeds.sum())} of {len(seeds)} seeds: {seeds.nonzero().flatten().tolist()}."
            f"{more} Look at its data, or lower its learning rate. "
            "The losses up to there are in this error's history.",
            history,
        )

    def _failed(self, known: int) -> Tensor:
        """Return which seeds have a loss in the first ``known`` steps, or a weight, that is not finite."""
        finite = torch.stack(list(self._losses.values()))[:, :known].isfinite().flatten(0, 1).all(0)
        return ~finite | _not_finite(self._players["D"]) | _not_finite(self._players["G"])

    def watch(self) -> None:
        """Keep what the caller wants to see after the steps made, unless it was seen already."""
        if self._watch is None or self._at[-1:] == [self.made]:
            return
        training = self._shown.training
        self._shown.eval()
        with torch.no_grad():
            self._watched.append({name: value.clone() for name, value in self._watch(self._shown).items()})
        self._shown.train(training)
        self._at.append(self.made)

    def _looks(self) -> dict[str, Tensor]:
        """Return what was watched, by name, (records, ...)."""
        return {
            name: torch.stack([values[name].to(newest.device) for values in self._watched])
            for name, newest in (self._watched[-1] if self._watched else {}).items()
        }

    def _until(self, made: int, average: _Average | None = None) -> History:
        return History(
            d_loss=self._losses["D"][:made],
            g_loss=self._losses["G"][:made],
            at=torch.tensor(self._at, dtype=torch.long),
            watched=self._looks(),
            averaged=None if average is None else average.network,
            failed=self._failed(made),
        )

    def history(self, average: _Average | None) -> History:
        """Return the record of the steps made."""
        history = self._until(self.made, average)
        history.interrupted = self.made < len(self._losses["D"])
        return history

    def state(self) -> State:
        """Return copies of the losses and of what was watched, for a checkpoint."""
        return {
            "made": torch.tensor(self.made),
            "d_loss": self._losses["D"][: self.made].clone(),
            "g_loss": self._losses["G"][: self.made].clone(),
            "at": torch.tensor(self._at, dtype=torch.long),
            "names": torch.tensor(len(self._watched[-1]) if self._watched else 0),
            **{f"watched/{name}": values for name, values in self._looks().items()},
        }

    def load_state(self, state: State) -> None:
        """Set the record to what `state` returned."""
        match({"made": torch.tensor(0)}, {"made": state["made"]})
        made = int(state["made"])
        if not 0 <= made <= len(self._losses["D"]):
            raise ValueError(f"it has made {made} steps, and steps is {len(self._losses['D'])}: raise steps.")
        at, device = state["at"].tolist(), self._losses["D"].device
        watched = {k[len("watched/") :]: value for k, value in state.items() if k.startswith("watched/")}
        expected = {
            "made": torch.tensor(0),
            "d_loss": self._losses["D"][:made],
            "g_loss": self._losses["G"][:made],
            "at": torch.zeros(len(at), dtype=torch.long),
            "names": torch.tensor(0),
        }
        match(expected, {k: value for k, value in state.items() if not k.startswith("watched/")})
        looked = 0 if self._watch is None else len(at)
        in_order = at == sorted(set(at)) and all(0 <= step <= made for step in at)
        whole = len(watched) == state["names"] and all(len(looks) == looked for looks in watched.values())
        if not (in_order and whole and len(at) == looked):
            raise ValueError("its looks at the generators do not belong to its steps.")
        for name, kept in self._losses.items():
            kept.zero_()[:made] = state[f"{name.lower()}_loss"]
        self.made, self._at = made, at
        self._watched = [
            {name: values[i].to(device) for name, values in watched.items()} for i in range(looked)
        ]


def _not_finite(network: Ensemble) -> Tensor:
    """Return which members have a weight that is NaN or infinite, (seeds,)."""
    return ~torch.stack([p.detach().flatten(1).isfinite().all(1) for p in network.parameters()]).all(0)


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event, so that no step is left half made; a second one is an error."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread alone
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)

"""The one loop that trains every adversarial pair of the book.

The loop is algorithm 1 of Goodfellow et al. (2014): some steps of the discriminator, then one of the
generator, again and again. What differs between the chapters is data, networks, losses and optimisers,
and these are arguments. Nothing in the loop asks an accelerator for a value.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

import torch
from torch import Tensor
from torch.optim import Optimizer
from tqdm.auto import tqdm

from gan_helpers import _checks
from gan_helpers.data import Sampler
from gan_helpers.ensemble import Ensemble
from gan_helpers.progress import someone_is_watching
from gan_helpers.randomness import Stream

Loss = Callable[[Ensemble, Ensemble, Tensor, Tensor], Tensor]
Watch = Callable[[Ensemble], dict[str, Tensor]]

CHECK_EVERY = 100  # steps between two looks at an accelerator's losses; each look waits for it


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
    """

    d_loss: Tensor
    g_loss: Tensor
    at: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    watched: dict[str, Tensor] = field(default_factory=dict)
    averaged: Ensemble | None = None
    interrupted: bool = False

    @property
    def steps(self) -> int:
        """The number of steps that were made."""
        return len(self.d_loss)


class NonFiniteLossError(ArithmeticError):
    """A loss became NaN or infinite; ``history`` holds the run up to there.

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
        TypeError: if a number is not real.
        ValueError: if lr is not above 0, a beta lies outside [0, 1), or all weights are frozen.

    References:
        Kingma and Ba (2015). https://arxiv.org/abs/1412.6980
    """
    _checks.number("lr", lr, above=0.0)
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
        progress: show people a progress bar; it is never part of stored outputs.

    Returns:
        The record of the run.

    Raises:
        TypeError: if an argument has the wrong type, a loss function's result included.
        ValueError: if a number is out of range, G and D differ in seeds, an optimiser belongs to other
            weights, or a loss function does not return one loss per seed or does not depend on its player.
        NonFiniteLossError: at the first loss that is NaN or infinite.

    References:
        Goodfellow et al. (2014), algorithm 1. https://arxiv.org/abs/1406.2661; Yazici et al. (2019) for the
        average. https://arxiv.org/abs/1806.04498
    """
    for name, value in (
        ("steps", steps), ("batch", batch), ("d_steps", d_steps), ("g_steps", g_steps), ("every", every),
    ):  # fmt: skip
        _checks.whole(name, value)
    if simultaneous and (d_steps, g_steps) != (1, 1):
        raise ValueError(
            f"d_steps and g_steps must be 1 in simultaneous training, not {d_steps} and {g_steps}."
        )
    device = _common_device(G, D)
    g_player, d_player = _Player("G", G, g_opt), _Player("D", D, d_opt)
    average = None if ema is None else _Average(G, ema)
    record = _Record(steps, G.seeds, device, watch, G if average is None else average.network)
    data_rng, noise_rng = Stream("data", seed, device), Stream("noise", seed, device)
    G.train()
    D.train()
    record.watch(0)
    made = 0
    with _interrupts() as stop:
        for step in tqdm(range(steps), leave=False, disable=not (progress and someone_is_watching())):
            for _ in range(d_steps):
                x, z = data(G.seeds, batch, data_rng), noise(G.seeds, batch, noise_rng)
                d_player.differentiate(record.losses("D", step, d_loss(G, D, x, z)))
                if not simultaneous:
                    d_player.descend()
            for _ in range(g_steps):
                if not (reuse_noise or simultaneous):
                    z = noise(G.seeds, batch, noise_rng)
                g_player.differentiate(record.losses("G", step, g_loss(G, D, x, z)))
                g_player.descend()
            if simultaneous:
                d_player.descend()
            if average is not None:
                average.update(G)
            made = step + 1
            if made % every == 0 or made == steps or stop.is_set():
                record.watch(made)
            if stop.is_set():
                break
    return record.history(made, average, interrupted=made < steps)


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
    """A network with the optimiser of its weights."""

    def __init__(self, name: str, network: Ensemble, optimiser: Optimizer) -> None:
        if not isinstance(optimiser, Optimizer):
            raise TypeError(f"{name.lower()}_opt must be a torch optimiser, not {type(optimiser).__name__}.")
        self.name = name
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.optimiser = optimiser
        held = {id(p) for group in optimiser.param_groups for p in group["params"]}
        if held != {id(p) for p in self.parameters}:
            opt = f"{name.lower()}_opt"
            raise ValueError(
                f"{opt} must update the weights of {name} and no others: {opt}=adam({name}, 2e-4)."
            )

    def differentiate(self, losses: Tensor) -> None:
        """Take the gradient of the sum over seeds, for this player's weights alone."""
        for parameter in self.parameters:
            parameter.grad = None
        # Not autograd.grad: its gradients may lie in memory in another order than their parameters, and a
        # fused optimiser does not look; backward puts them in order.
        if losses.requires_grad:
            losses.sum().backward(inputs=self.parameters)
        if all(p.grad is None for p in self.parameters):
            raise ValueError(
                f"{self.name.lower()}_loss does not depend on the weights of {self.name}: "
                "call the network in it, and do not detach what it returns."
            )

    def descend(self) -> None:
        """Let the optimiser take one step."""
        self.optimiser.step()


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


class _Record:
    """Keeps losses and watched values on the device, and stops at a loss that is not finite."""

    def __init__(
        self, steps: int, seeds: int, device: torch.device, watch: Watch | None, shown: Ensemble
    ) -> None:
        self._losses = {name: torch.zeros(steps, seeds, device=device) for name in "DG"}
        self._look_every = 1 if device.type == "cpu" else CHECK_EVERY
        self._has_numbers = device.type != "meta"
        self._watch, self._shown = watch, shown
        self._at: list[int] = []
        self._watched: list[dict[str, Tensor]] = []

    def losses(self, name: str, step: int, losses: Tensor) -> Tensor:
        """Keep the losses of one network at one step and hand them on."""
        kept = self._losses[name]
        if not isinstance(losses, Tensor):
            raise TypeError(f"{name.lower()}_loss must return a tensor, not {type(losses).__name__}.")
        if losses.shape != kept.shape[1:]:
            raise ValueError(
                f"{name.lower()}_loss must return one loss per seed, shape {tuple(kept.shape[1:])}, "
                f"not {tuple(losses.shape)}: take the mean over all axes but the first."
            )
        kept[step] = losses.detach()
        if self._has_numbers and ((step + 1) % self._look_every == 0 or step + 1 == len(kept)):
            self._stop_unless_finite(name, step)
        return losses

    def _stop_unless_finite(self, name: str, step: int) -> None:
        since = max(0, step + 1 - self._look_every)
        if math.isfinite(self._losses[name][since : step + 1].sum().item()):
            return
        # The sum of large numbers may be infinite although they are not. And on an accelerator, where one
        # looks late, the other network may have been the first: in each step D goes before G.
        bad = ~torch.isfinite(torch.stack([self._losses["D"], self._losses["G"]], dim=1)[: step + 1])
        turns = bad.flatten(0, 1).any(1).nonzero()
        if not len(turns):
            return
        first, turn = divmod(int(turns[0]), 2)
        name, seeds = "DG"[turn], bad[first, turn].nonzero().flatten().tolist()
        raise NonFiniteLossError(
            f"The loss of {name} is {self._losses[name][first, seeds[0]].item()} at step {first + 1}, for "
            f"{len(seeds)} of {bad.shape[2]} seeds: {seeds}. Look at its data, or lower its learning rate. "
            "The losses up to there are in this error's history.",
            self.history(first + 1, None, interrupted=False),
        )

    def watch(self, made: int) -> None:
        """Keep what the caller wants to see after ``made`` steps."""
        if self._watch is None:
            return
        training = self._shown.training
        self._shown.eval()
        with torch.no_grad():
            self._watched.append({name: value.clone() for name, value in self._watch(self._shown).items()})
        self._shown.train(training)
        self._at.append(made)

    def history(self, made: int, average: _Average | None, interrupted: bool) -> History:
        """Return the record of the first ``made`` steps."""
        d_losses, g_losses = self._losses["D"], self._losses["G"]
        names = self._watched[0] if self._watched else {}
        return History(
            d_loss=d_losses[:made],
            g_loss=g_losses[:made],
            at=torch.tensor(self._at, dtype=torch.long),
            watched={name: torch.stack([values[name] for values in self._watched]) for name in names},
            averaged=None if average is None else average.network,
            interrupted=interrupted,
        )


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

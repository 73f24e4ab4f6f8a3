"""One network each, in PyTorch's plain loop: as the sources write theirs, and some of them tidied.

The libraries of some sources are gone. Their loops are written in the same manner: what they make once is
made once, and what they read out at every step is read out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import chapters
from benchmarks.entrants.torch_settings import torch_settings
from benchmarks.job import Job, Tick, Weights, read

Step = Callable[[], Any]
Draw = Callable[[], Tensor]


@dataclass(frozen=True)
class Program:
    """What a source's program has.

    Args:
        G: one generator.
        D: one discriminator.
        real: draws a batch of data.
        noise: draws a batch of noise.
        step: makes the function that trains both for one step, of the four above.
    """

    G: nn.Module
    D: nn.Module
    real: Draw
    noise: Draw
    step: Callable[[nn.Module, nn.Module, Draw, Draw], Step]


def loop(job: Job, tick: Tick) -> Weights:
    """Train one network by the program that the chapter has under the entrant's name."""
    with torch_settings(job.threads, job.double):
        return _loop(job, tick)


def _loop(job: Job, tick: Tick) -> Weights:
    torch.manual_seed(job.seed)
    np.random.seed(job.seed)
    weights, given = read(job.start)
    program = getattr(chapters.load(job.recipe), job.entrant)(job, given.get("data"))
    G, D = program.G, program.D
    for network, values in ((G, weights["G"]), (D, weights["D"])):
        with torch.no_grad():
            for parameter, value in zip(network.parameters(), values, strict=True):
                parameter.copy_(torch.from_numpy(value[0]))
    step = program.step(G, D, *(replayed(job) if job.replay else (program.real, program.noise)))
    tick()
    for made in range(1, job.steps + 1):
        step()
        if made % job.unit == 0:
            tick()
    return {
        "G": [p.detach().numpy()[None] for p in G.parameters()],
        "D": [p.detach().numpy()[None] for p in D.parameters()],
    }


def replayed(job: Job) -> tuple[Draw, Draw]:
    """Return functions that hand out the batches of a file, one after the other."""
    arrays = read(job.replay)[1]
    x, z = (iter(torch.from_numpy(arrays[name][:, :, 0]).flatten(0, 1)) for name in "xz")
    return lambda: next(x), lambda: next(z)


def differentiate(loss: Tensor, network: nn.Module, retain_graph: bool = False) -> None:
    """Take the gradient of a loss for the weights of one player alone."""
    network.zero_grad()
    loss.backward(inputs=list(network.parameters()), retain_graph=retain_graph)

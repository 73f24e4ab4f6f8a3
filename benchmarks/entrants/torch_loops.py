"""One network each, in PyTorch's plain loop: as the sources write theirs, and one of them tidied.

The sources of the two MNIST chapters used libraries that are gone. Here their loops are written in the same
manner: what they make once is made once, and what they read out at every step is read out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.entrants.torch_settings import torch_settings
from benchmarks.job import Job, Tick, Weights, read
from gan_helpers.recipes import edward_mnist, fifty_lines, maxout_mnist

Step = Callable[[], Any]
Draw = Callable[[], Tensor]


def loop(job: Job, tick: Tick) -> Weights:
    """Train one network by the loop of the recipe."""
    with torch_settings(job.threads, job.double):
        return _loop(job, tick)


def _loop(job: Job, tick: Tick) -> Weights:
    torch.manual_seed(job.seed)
    np.random.seed(job.seed)
    make_networks, own_draws, program = PROGRAMS[job.recipe, job.entrant]
    weights, given = read(job.start)
    G, D = make_networks(job)
    for network, values in ((G, weights["G"]), (D, weights["D"])):
        with torch.no_grad():
            for parameter, value in zip(network.parameters(), values, strict=True):
                parameter.copy_(torch.from_numpy(value[0]))
    step = program(G, D, *(replayed(job) if job.replay else own_draws(job, given)))
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


# The 50 lines


def fifty_networks(job: Job) -> tuple[nn.Module, nn.Module]:
    """Return the source's networks; D judges 100 samples and their squared deviations at once."""
    D = nn.Sequential(
        nn.Linear(200, 50), nn.ELU(), nn.Linear(50, 50), nn.ELU(), nn.Linear(50, 1), nn.Sigmoid()
    )
    return fifty_lines.generator(), D


def fifty_draws(job: Job, given: dict[str, Any]) -> tuple[Draw, Draw]:
    """Return the source's samplers: data from NumPy, noise from torch."""
    n = job.batch
    return (
        lambda: torch.tensor(np.random.normal(4.0, 1.25, (n, 1)), dtype=torch.float32),
        lambda: torch.rand(n, 1),
    )


def fifty_source(G: nn.Module, D: nn.Module, real: Draw, noise: Draw) -> Step:
    """Return one round in the manner of the source's program.

    Its labels are made afresh for each call of the loss, its decoration takes the mean to Python and spreads
    it over a tensor of ones, and its optimiser is Adam as it comes.
    """

    def decorated(row: Tensor) -> Tensor:
        mean = torch.ones(row.size()) * torch.mean(row, 1, keepdim=True).tolist()[0][0]
        return torch.cat([row, torch.pow(row - mean, 2.0)], 1)

    loss = nn.BCELoss()
    d_opt, g_opt = (torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.9, 0.999)) for network in (D, G))

    def step() -> None:
        D.zero_grad()
        loss(D(decorated(real().t())), torch.ones(1, 1)).backward()
        fake = G(noise()).detach()
        loss(D(decorated(fake.t())), torch.zeros(1, 1)).backward()
        d_opt.step()
        G.zero_grad()
        fake = G(noise())
        loss(D(decorated(fake.t())), torch.ones(1, 1)).backward()
        g_opt.step()

    return step


def tidied_draws(job: Job, given: dict[str, Any]) -> tuple[Draw, Draw]:
    """Return samplers that draw in torch alone."""
    return lambda: torch.normal(4.0, 1.25, (job.batch, 1)), lambda: torch.rand(job.batch, 1)


def fifty_tidied(G: nn.Module, D: nn.Module, real: Draw, noise: Draw) -> Step:
    """Return the same round without those detours, and with Adam in its fused form."""

    def decorated(x: Tensor) -> Tensor:
        return torch.cat([x, (x - x.mean().detach()) ** 2]).T

    loss = nn.BCELoss()
    d_opt, g_opt = (torch.optim.Adam(network.parameters(), lr=2e-4, fused=True) for network in (D, G))
    is_real, is_fake = torch.ones(1, 1), torch.zeros(1, 1)

    def step() -> None:
        D.zero_grad()
        loss(D(decorated(real())), is_real).backward()
        loss(D(decorated(G(noise()).detach())), is_fake).backward()
        d_opt.step()
        G.zero_grad()
        loss(D(decorated(G(noise()))), is_real).backward()
        g_opt.step()

    return step


# Maxout


def maxout_networks(job: Job) -> tuple[nn.Module, nn.Module]:
    """Return one pair of the recipe's networks."""
    return maxout_mnist.generator(), maxout_mnist.discriminator(dropout=job.dropout)


def maxout_draws(job: Job, given: dict[str, Any]) -> tuple[Draw, Draw]:
    """Return the source's samplers: an order for each epoch, and noise from NumPy."""
    images, n = given["data"], job.batch

    def batches() -> Iterator[Tensor]:
        while True:
            order = np.random.permutation(len(images))
            for i in range(len(images) // n):
                yield torch.from_numpy(images[order[i * n : (i + 1) * n]])

    x = batches()
    return lambda: next(x), lambda: torch.from_numpy(np.random.rand(n, 100).astype(np.float32))


def maxout_source(G: nn.Module, D: nn.Module, real: Draw, noise: Draw) -> Step:
    """Return one step: fakes are made once, both losses are of the same weights, and all is read out.

    As in the recipe of the book, D's dropout is drawn anew for the loss of G.
    """
    entropy = nn.BCEWithLogitsLoss()
    d_opt, g_opt = (torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.5, 0.999)) for network in (D, G))

    def step() -> tuple[float, ...]:
        x, fakes = real(), G(noise())
        of_real, of_fake, again = D(x), D(fakes.detach()), D(fakes)
        one, zero = torch.ones(len(x), 1), torch.zeros(len(x), 1)
        d_loss, g_loss = entropy(of_real, one) + entropy(of_fake, zero), entropy(again, one)
        differentiate(d_loss, D)
        differentiate(g_loss, G)
        d_opt.step()
        g_opt.step()
        right_real, right_fake = (of_real >= 0).float().mean(), (of_fake < 0).float().mean()
        return d_loss.item(), g_loss.item(), right_real.item(), right_fake.item()

    return step


# Edward


def edward_networks(job: Job) -> tuple[nn.Module, nn.Module]:
    """Return one pair of the recipe's networks."""
    return edward_mnist.generator(), edward_mnist.discriminator()


def edward_draws(job: Job, given: dict[str, Any]) -> tuple[Draw, Draw]:
    """Return the source's samplers: images in their order, whose pixels NumPy draws, and uniform noise."""
    images, n = (255 * given["data"]).round().astype(np.uint8), job.batch

    def batches() -> Iterator[Tensor]:
        start = 0
        while True:
            rows = np.arange(start, start + n) % len(images)
            start += n
            yield torch.from_numpy(np.random.binomial(1, images[rows] / np.float32(255)).astype(np.float32))

    x = batches()
    return lambda: next(x), lambda: torch.rand(n, 100) * 2 - 1


def edward_source(G: nn.Module, D: nn.Module, real: Draw, noise: Draw) -> Step:
    """Return one step: both losses come from one pass through both networks, and both are read out."""
    entropy = nn.BCEWithLogitsLoss()
    d_opt, g_opt = (torch.optim.Adam(network.parameters()) for network in (D, G))

    def step() -> tuple[float, float]:
        x, fakes = real(), G(noise())
        of_real, of_fake = D(x), D(fakes)
        one, zero = torch.ones(len(x), 1), torch.zeros(len(x), 1)
        d_loss, g_loss = entropy(of_real, one) + entropy(of_fake, zero), entropy(of_fake, one)
        differentiate(d_loss, D, retain_graph=True)
        differentiate(g_loss, G)
        d_opt.step()
        g_opt.step()
        return d_loss.item(), g_loss.item()

    return step


def differentiate(loss: Tensor, network: nn.Module, retain_graph: bool = False) -> None:
    """Take the gradient of a loss for the weights of one player alone."""
    network.zero_grad()
    loss.backward(inputs=list(network.parameters()), retain_graph=retain_graph)


PROGRAMS: dict[tuple[str, str], tuple[Any, Any, Any]] = {
    ("fifty_lines", "source"): (fifty_networks, fifty_draws, fifty_source),
    ("fifty_lines", "tidied"): (fifty_networks, tidied_draws, fifty_tidied),
    ("maxout_mnist", "source"): (maxout_networks, maxout_draws, maxout_source),
    ("edward_mnist", "source"): (edward_networks, edward_draws, edward_source),
}

"""The 50-line recipe as one network each in torch's plain loop: as its source writes it, and tidied."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from gan_helpers.recipes import fifty_lines


def source_style_round() -> Callable[[], None]:
    """Return a function that makes one round in the manner of the source's program.

    Its data come from NumPy, its labels are made afresh for each call of the loss, its decoration takes the
    mean to Python and spreads it over a tensor of ones, and its optimiser is Adam as it comes.
    """

    def decorated(row: Tensor) -> Tensor:
        mean = torch.ones(row.size()) * torch.mean(row, 1, keepdim=True).tolist()[0][0]
        return torch.cat([row, torch.pow(row - mean, 2.0)], 1)

    G, D, loss = fifty_lines.generator(), discriminator(), nn.BCELoss()
    d_opt, g_opt = (torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.9, 0.999)) for network in (D, G))

    def one_round() -> None:
        D.zero_grad()
        real = torch.tensor(np.random.normal(4.0, 1.25, (1, 100)), dtype=torch.float32)
        loss(D(decorated(real)), torch.ones(1, 1)).backward()
        fake = G(torch.rand(100, 1)).detach()
        loss(D(decorated(fake.t())), torch.zeros(1, 1)).backward()
        d_opt.step()
        G.zero_grad()
        fake = G(torch.rand(100, 1))
        loss(D(decorated(fake.t())), torch.ones(1, 1)).backward()
        g_opt.step()

    return one_round


def tidied_round() -> Callable[[], None]:
    """Return a function that makes the same round without those detours, and with Adam in its fused form."""

    def decorated(x: Tensor) -> Tensor:
        return torch.cat([x, (x - x.mean().detach()) ** 2]).T

    G, D, loss = fifty_lines.generator(), discriminator(), nn.BCELoss()
    d_opt, g_opt = (torch.optim.Adam(network.parameters(), lr=2e-4, fused=True) for network in (D, G))
    real, fake = torch.ones(1, 1), torch.zeros(1, 1)

    def one_round() -> None:
        D.zero_grad()
        loss(D(decorated(torch.normal(4.0, 1.25, (100, 1)))), real).backward()
        loss(D(decorated(G(torch.rand(100, 1)).detach())), fake).backward()
        d_opt.step()
        G.zero_grad()
        loss(D(decorated(G(torch.rand(100, 1)))), real).backward()
        g_opt.step()

    return one_round


def discriminator() -> nn.Module:
    """Return the source's discriminator: it judges 100 samples and their squared deviations at once."""
    return nn.Sequential(
        nn.Linear(200, 50), nn.ELU(), nn.Linear(50, 50), nn.ELU(), nn.Linear(50, 1), nn.Sigmoid()
    )

"""The 50-line recipe written the way its source writes it: one network each, torch's plain loop."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gan_helpers.recipes import fifty_lines


def decorated(x: Tensor) -> Tensor:
    """Return samples ``(batch, 1)`` and their squared deviations as one row ``(1, 2 * batch)``."""
    deviations = (x - x.mean().detach()) ** 2
    return torch.cat([x, deviations]).T


def source_style_round() -> Callable[[], None]:
    """Return a function that makes one round: a step of D on real and on fake, then a step of G."""
    G = fifty_lines.generator()
    D = nn.Sequential(
        nn.Linear(200, 50), nn.ELU(), nn.Linear(50, 50), nn.ELU(), nn.Linear(50, 1), nn.Sigmoid()
    )
    loss = nn.BCELoss()
    d_opt = torch.optim.Adam(D.parameters(), lr=2e-4, betas=(0.9, 0.999))
    g_opt = torch.optim.Adam(G.parameters(), lr=2e-4, betas=(0.9, 0.999))
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

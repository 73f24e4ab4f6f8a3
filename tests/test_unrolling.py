"""A generator that looks ahead, against steps that are worked out by hand and one network after the other."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from gan_helpers import losses
from gan_helpers.ensemble import Ensemble
from gan_helpers.models import mlp
from gan_helpers.training import adam, train
from gan_helpers.unrolling import unrolled
from tests.plain_gan import Replay, numbers, plain_networks


def value(G: nn.Module, D: nn.Module, x: Tensor, z: Tensor) -> Tensor:
    """Return D's loss of a game whose value is squared in D: D(G(z)) - D(x) + D^2 / 2."""
    fake, real = D(G(z)), D(x)
    return (fake - real + fake.square() / 2).flatten(1).mean(1)


def payoff(G: nn.Module, D: nn.Module, x: Tensor, z: Tensor) -> Tensor:
    return -D(G(z)).flatten(1).mean(1)


def players(theta: float, psi: float) -> tuple[Ensemble, Ensemble]:
    """Return G(z) = theta z and D(x) = psi x, of one seed."""
    networks = []
    for weight in (theta, psi):
        layer = nn.Linear(1, 1, bias=False).double()
        nn.init.constant_(layer.weight, weight)
        networks.append(Ensemble.of([layer]))
    return networks[0], networks[1]


def test_one_step_ahead_by_hand() -> None:
    theta, psi, rate = 0.5, 0.3, 0.1
    G, D = players(theta, psi)
    x, z = torch.full((1, 1, 1), 2.0).double(), torch.ones(1, 1, 1).double()
    found = unrolled(value, payoff, steps=1, rate=rate)(G, D, x, z)
    # L_D = psi theta - 2 psi + psi^2 theta^2 / 2, so its slope in psi is theta - 2 + psi theta^2.
    ahead = psi - rate * (theta - 2 + psi * theta**2)
    assert found.item() == pytest.approx(-ahead * theta)
    (slope,) = torch.autograd.grad(found.sum(), G.parameters())
    # -(psi' theta)' in theta: psi' itself moves with theta, by -rate (1 + 2 psi theta).
    assert slope.item() == pytest.approx(-ahead + theta * rate * (1 + 2 * psi * theta))


@pytest.mark.parametrize("steps", [1, 3])
def test_each_seed_looks_ahead_as_it_would_alone_and_D_stays(steps: int) -> None:
    Gs, Ds = plain_networks(lambda: mlp(2, 4, 2), 3), plain_networks(lambda: mlp(2, 4, 1), 3)
    x, z, rate = numbers(3, 5, 2), numbers(3, 5, 2, seed=1), 0.2
    G, D = Ensemble.of(Gs).double(), Ensemble.of(Ds).double()
    before = copy.deepcopy(D.state_dict())

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return losses.minimax_d(D(x), D(G(z)))

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return losses.non_saturating_g(D(G(z)))

    found = unrolled(d_loss, g_loss, steps, rate)(G, D, x, z)
    for k in range(3):
        judge = Ensemble.of([Ds[k]]).double()
        optimiser = torch.optim.SGD(judge.parameters(), lr=rate)
        one = Ensemble.of([Gs[k]]).double()
        for _ in range(steps):
            optimiser.zero_grad()
            d_loss(one, judge, x[[k]], z[[k]]).sum().backward()
            optimiser.step()
        assert found[k].item() == pytest.approx(g_loss(one, judge, x[[k]], z[[k]]).item())
    assert all(torch.equal(value, before[name]) for name, value in D.state_dict().items())


def test_it_trains_in_the_loop_and_frozen_weights_of_D_stay() -> None:
    G = Ensemble(lambda: mlp(2, 4, 2), 2, name="G", device="cpu", seed=0)
    D = Ensemble(lambda: mlp(2, 4, 1), 2, name="D", device="cpu", seed=0)
    frozen = next(D.parameters()).requires_grad_(False)
    kept = frozen.clone()

    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return losses.minimax_d(D(x), D(G(z)))

    history = train(
        G, D, Replay(numbers(5, 2, 6, 2).float()), Replay(numbers(10, 2, 6, 2, seed=1).float()),
        d_loss=d_loss, g_loss=unrolled(d_loss, lambda G, D, x, z: losses.non_saturating_g(D(G(z))), 2, 0.1),
        d_opt=adam(D, 1e-3), g_opt=adam(G, 1e-3), steps=5, batch=6, progress=False,
    )  # fmt: skip
    assert history.g_loss.isfinite().all() and torch.equal(frozen, kept)

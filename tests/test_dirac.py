"""The Dirac GAN: its forces are gradients of the book's losses, and its theorems hold for its paths."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gan_helpers.dirac import (
    eigenvalues,
    forces,
    growth,
    largest_step,
    play,
    play_adam,
    play_wasserstein,
    stall,
    wasserstein_eigenvalues,
    wasserstein_forces,
)
from gan_helpers.losses import minimax_d, minimax_g, non_saturating_g, wasserstein_d, wasserstein_g
from gan_helpers.penalties import gradient_penalty, r1
from gan_helpers.randomness import Stream

START = torch.tensor([1.0, 0.5], dtype=torch.float64)


@pytest.fixture
def places() -> tuple[Tensor, Tensor]:
    theta, psi = torch.randn(2, 20, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return theta.requires_grad_(), psi.requires_grad_()


@pytest.mark.parametrize("non_saturating", [False, True])
def test_forces_are_the_gradients_of_the_losses(places: tuple[Tensor, Tensor], non_saturating: bool) -> None:
    theta, psi = places
    origin = torch.zeros(20, 1, 1, dtype=torch.float64)
    d_loss = minimax_d(psi * origin, psi * theta) + 0.7 / 2 * r1(lambda x: psi * x, origin)
    g_loss = (non_saturating_g if non_saturating else minimax_g)(psi * theta)
    (down_psi,) = torch.autograd.grad(d_loss.sum(), psi, retain_graph=True)
    (down_theta,) = torch.autograd.grad(g_loss.sum(), theta)
    to_theta, to_psi = forces(theta.detach(), psi.detach(), non_saturating=non_saturating, gamma=0.7)
    torch.testing.assert_close(to_theta, -down_theta)
    torch.testing.assert_close(to_psi, -down_psi)


def test_a_step_of_the_minimax_game_multiplies_the_squared_radius_as_pythagoras_says() -> None:
    path = play(*START, step=0.3, steps=50)
    squared = path.square().sum(1)
    answer = torch.sigmoid(path[:-1, 0] * path[:-1, 1])
    torch.testing.assert_close(squared[1:], squared[:-1] * (1 + 0.3**2 * answer**2))


def test_steps_worked_out_by_hand() -> None:
    one, two = torch.tensor(1.0), torch.tensor(2.0)
    answer = 1 / (1 + math.exp(-2.0))
    path = play(one, two, step=0.1, steps=1, gamma=0.5)
    assert path.shape == (2, 2)
    assert path[0].tolist() == [1.0, 2.0]
    assert path[1].tolist() == pytest.approx([1 + 0.1 * answer * 2, 2 - 0.1 * (answer + 0.5 * 2)])
    turn = play(one, two, step=0.1, steps=1, alternating=True, non_saturating=True)
    psi = 2 - 0.1 * answer
    answer = 1 / (1 + math.exp(-psi))
    assert turn[1].tolist() == pytest.approx([1 + 0.1 * (1 - answer) * psi, psi])


def test_many_games_at_once_are_the_games_alone() -> None:
    theta, psi = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    together = play(theta, psi, step=0.2, steps=5, gamma=0.3)
    assert together.shape == (6, 2, 3, 4)
    alone = play(theta[1, 2], psi[1, 2], step=0.2, steps=5, gamma=0.3)
    torch.testing.assert_close(together[:, :, 1, 2], alone)


@pytest.mark.parametrize("gamma", [0.0, 0.4, 1.0, 2.5])
@pytest.mark.parametrize("non_saturating", [False, True])
def test_eigenvalues_are_those_of_the_jacobian(gamma: float, non_saturating: bool) -> None:
    def field(point: Tensor) -> Tensor:
        return torch.stack(forces(point[0], point[1], non_saturating=non_saturating, gamma=gamma))

    # By differences: a defective matrix, as at gamma = 1, has eigenvalues that are known to half the digits.
    sides = torch.eye(2, dtype=torch.float64) * 1e-4
    J = torch.stack([(field(side) - field(-side)) / 2e-4 for side in sides], dim=1)
    ours = eigenvalues(gamma)
    assert ours.shape == (2,)
    torch.testing.assert_close(ours.sum().real, J.trace(), atol=1e-7, rtol=0)
    torch.testing.assert_close(ours.prod().real, torch.linalg.det(J), atol=1e-7, rtol=0)
    assert ours[0].real >= ours[1].real or ours[0].imag > ours[1].imag


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.999, 1.0, 1.001, 2.0, 10.0])
def test_the_largest_step_separates_home_from_away(gamma: float) -> None:
    for factor, homewards in ((0.97, True), (1.03, False)):
        path = play(*(1e-4 * START), step=factor * largest_step(gamma), steps=400, gamma=gamma)
        assert bool(path[-1].norm() < path[0].norm()) == homewards


def test_the_largest_step_has_its_peak_at_one_and_needs_a_penalty() -> None:
    with pytest.raises(ValueError, match="gamma must be at least 0, not -0.5"):
        largest_step(-0.5)
    assert largest_step(0.0) == 0.0
    assert largest_step(1.0) == 4.0
    assert largest_step(0.9) == pytest.approx(3.6)
    assert largest_step(1e9) == pytest.approx(2e-9)  # 4 (gamma - root) would be 0 in floating point


def test_steps_of_the_non_saturating_game_end_on_a_circle() -> None:
    orbit = play(*START, step=0.1, steps=6_000, non_saturating=True)[-300:].norm(dim=1)
    assert ((orbit / math.sqrt(0.2) - 1).abs() < 0.1).all()


def test_momentum_and_a_faster_discriminator_by_hand() -> None:
    one, two = torch.tensor(1.0, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)
    path = play(one, two, step=0.1, steps=2, momentum=0.5, d_speed=3.0)
    first = forces(one, two)
    moved = torch.stack([0.1 * first[0], 0.3 * first[1]])
    second = forces(1 + moved[0], 2 + moved[1])
    torch.testing.assert_close(path[1], torch.stack([one, two]) + moved)
    again = 0.5 * moved + torch.stack([0.1 * second[0], 0.3 * second[1]])
    torch.testing.assert_close(path[2], path[1] + again)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("step", [0.2, 1.5])
def test_the_growth_is_that_of_the_eigenvalues(gamma: float, step: float) -> None:
    wanted = (1 + step * eigenvalues(gamma)).abs().max().item()
    assert growth(step, gamma=gamma) == pytest.approx(wanted)
    assert growth(step, gamma=gamma, non_saturating=True) == pytest.approx(wanted)


def test_growth_where_it_is_known() -> None:
    assert growth(0.2, alternating=True) == pytest.approx(1.0)  # two shears
    assert growth(0.2, d_speed=4.0) == pytest.approx((1 + 0.2**2) ** 0.5)  # the eigenvalues are 1 +- 0.2 i
    # With momentum b the eigenvalues solve m^2 - (1 + b + s) m + b = 0 for s = +- 0.1 i.
    root = ((1.9 + 0.1j) ** 2 - 4 * 0.9) ** 0.5
    assert growth(0.2, momentum=0.9) == pytest.approx(max(abs(1.9 + 0.1j + s * root) / 2 for s in (1, -1)))
    with pytest.raises(ValueError, match="momentum must be"):
        growth(0.2, momentum=1.0)


@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize("beta1", [0.0, 0.9])
def test_steps_of_adam_are_those_of_torch(alternating: bool, beta1: float) -> None:
    theta, psi = (torch.nn.Parameter(value.clone()) for value in START)
    d_opt = torch.optim.Adam([psi], 0.04, (beta1, 0.999))
    g_opt = torch.optim.Adam([theta], 0.01, (beta1, 0.999))
    wanted = [torch.stack([theta, psi]).detach()]
    for _ in range(30):
        forced = forces(theta.detach(), psi.detach(), non_saturating=True, gamma=0.3)
        psi.grad, theta.grad = -forced[1], -forced[0]
        d_opt.step()
        if alternating:
            theta.grad = -forces(theta.detach(), psi.detach(), non_saturating=True, gamma=0.3)[0]
        g_opt.step()
        wanted.append(torch.stack([theta, psi]).detach())
    rule = {"non_saturating": True, "gamma": 0.3, "alternating": alternating, "beta1": beta1, "d_speed": 4.0}
    torch.testing.assert_close(play_adam(*START, 0.01, 30, **rule), torch.stack(wanted))
    assert torch.equal(play_adam(*START, 0.01, 3), play_adam(*START, 0.01, 3, beta1=0.9))
    assert play_adam(*(one.to("meta") for one in START), 0.01, 3).is_meta
    with pytest.raises(ValueError, match="beta1 must be"):
        play_adam(*START, 0.01, 1, beta1=1.0)


# The Wasserstein game


@pytest.mark.parametrize(("target", "one_sided"), [(1.0, False), (0.3, False), (0.0, False), (1.0, True)])
def test_wasserstein_forces_are_the_gradients_of_the_losses(
    places: tuple[Tensor, Tensor], target: float, one_sided: bool
) -> None:
    theta, psi = places
    origin = torch.zeros(20, 1, 1, dtype=torch.float64)
    cost = gradient_penalty(lambda x: psi * x, origin, theta, Stream("u", 0), target, one_sided)
    (down_psi,) = torch.autograd.grad((wasserstein_d(psi * origin, psi * theta) + 0.7 * cost).sum(), psi)
    (down_theta,) = torch.autograd.grad(wasserstein_g(psi * theta).sum(), theta)
    rule = {"penalty": 0.7, "target": target, "one_sided": one_sided}
    to_theta, to_psi = wasserstein_forces(theta.detach(), psi.detach(), **rule)
    torch.testing.assert_close(to_theta, -down_theta)
    torch.testing.assert_close(to_psi, -down_psi)


def test_without_a_penalty_a_step_multiplies_the_radius_and_turns_keep_an_ellipse() -> None:
    squared = play_wasserstein(*START, 0.3, 40).square().sum(1)
    torch.testing.assert_close(squared[1:], squared[:-1] * (1 + 0.3**2))
    theta, psi = play_wasserstein(*START, 0.3, 400, alternating=True).unbind(1)
    kept = theta**2 + psi**2 - 0.3 * theta * psi
    torch.testing.assert_close(kept, kept[0].expand(401))


def test_wasserstein_steps_by_hand() -> None:
    one, two = torch.tensor(1.0), torch.tensor(2.0)
    path = play_wasserstein(one, two, 0.1, 1, penalty=3.0)
    assert path[0].tolist() == [1.0, 2.0]
    assert path[1].tolist() == pytest.approx([1 + 0.1 * 2, 2 - 0.1 * (1 + 2 * 3 * 1)])
    assert play_wasserstein(one, two, 0.1, 1, clip=0.5)[1].tolist() == pytest.approx([1.2, 0.5])
    turn = play_wasserstein(one, -two, 0.1, 1, clip=0.5, alternating=True)
    assert turn[1].tolist() == pytest.approx([1 - 0.1 * 0.5, -0.5])
    assert wasserstein_forces(one, 0 * one, penalty=3.0)[1].item() == -1.0  # a flat critic feels no penalty


@pytest.mark.parametrize("penalty", [0.0, 0.4, 1.0, 2.5])
def test_wasserstein_eigenvalues_are_those_of_the_jacobian(penalty: float) -> None:
    def field(point: Tensor) -> Tensor:
        return torch.stack(wasserstein_forces(point[0], point[1], penalty=penalty, target=0.0))

    J = torch.autograd.functional.jacobian(field, torch.tensor([0.1, 0.1], dtype=torch.float64))
    ours = wasserstein_eigenvalues(penalty)
    torch.testing.assert_close(ours.sum().real, J.trace())
    torch.testing.assert_close(ours.prod().real, torch.linalg.det(J))
    assert ours[0].real > ours[1].real or ours[0].imag >= ours[1].imag


@pytest.mark.parametrize("penalty", [1.0, 3.0, 10.0])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_two_sided_penalty_stalls_on_the_wrong_side_and_a_target_of_0_does_not(
    penalty: float, side: float
) -> None:
    theta, psi = torch.tensor([side * stall(penalty) / 2, 0.1 * side], dtype=torch.float64)
    away = play_wasserstein(theta, psi, 0.05, 6_000, penalty=penalty)
    assert away[-1].tolist() == pytest.approx([side * stall(penalty), 0.0], abs=1e-3)
    assert stall(penalty) == 2 * penalty and stall(penalty, 0.5) == penalty
    home = play_wasserstein(theta, psi, 0.05, 6_000, penalty=penalty, target=0.0)
    assert home[-1].tolist() == pytest.approx([0.0, 0.0], abs=1e-3)


def test_a_weak_penalty_a_one_sided_one_and_clipping_circle() -> None:
    theta, psi = torch.tensor([5.0, 0.1], dtype=torch.float64)
    for rule, radius in (({"penalty": 10.0, "one_sided": True}, 1.0), ({"clip": 0.1}, 0.1)):
        theta_late = play_wasserstein(theta, psi, 0.02, 6_000, alternating=True, **rule)[-1_000:, 0]
        assert theta_late.abs().amax().item() == pytest.approx(radius, rel=0.02)
    late = play_wasserstein(theta, psi, 0.02, 6_000, penalty=0.1, alternating=True)[-2_000:, 0]
    assert late.amax() > 1 and late.amin() < -1


def test_what_the_wasserstein_game_refuses() -> None:
    with pytest.raises(ValueError, match="clip must be greater than 0"):
        play_wasserstein(*START, 0.1, 1, clip=0.0)
    with pytest.raises(ValueError, match="penalty must be at least 0"):
        stall(-1.0)

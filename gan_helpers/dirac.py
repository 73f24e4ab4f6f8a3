r"""The Dirac GAN: the smallest game in which gradient steps miss an equilibrium that is there.

All real data are the point 0, all fakes are the point :math:`\theta`, and the discriminator's logit is
:math:`a(x) = \psi x`. The game is that of every other chapter, with one weight for each player:

.. math:: V(\theta, \psi) = \log\sigma(0) + \log(1 - \sigma(\psi\theta))

Its equilibrium is :math:`\theta = \psi = 0`. Nothing here is random, so points may have any shape. The
Wasserstein game, with a critic in the discriminator's place, is played by functions of its own.

Raises:
    TypeError: in all functions, if an argument is of the wrong type.
    ValueError: in all functions, if an argument is not finite or out of its range, if theta and psi differ in
        shape, or the points run off to infinity.

Reference:
    Mescheder, Geiger and Nowozin, *Which training methods for GANs do actually converge?*, 2018,
    https://arxiv.org/abs/1801.04406.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gan_helpers import _checks


def forces(
    theta: Tensor, psi: Tensor, *, non_saturating: bool = False, gamma: float = 0.0
) -> tuple[Tensor, Tensor]:
    r"""Return the directions in which gradient steps move the two players.

    .. math:: \dot\theta = \sigma(\psi\theta)\,\psi \quad\text{or, non-saturating,}\quad
        (1 - \sigma(\psi\theta))\,\psi, \qquad
        \dot\psi = -\sigma(\psi\theta)\,\theta - \gamma\psi

    The last term is the gradient of :math:`\tfrac{\gamma}{2} R_1`, since the slope of the discriminator is
    :math:`\psi` everywhere.

    Args:
        theta: where the fakes are, of any shape.
        psi: the discriminator's weight, of the same shape.
        non_saturating: whether the generator descends -log D instead of log(1 - D).
        gamma: the weight of the penalty R1, at least 0.
    """
    _checks.finite("theta", theta, "(...)")
    _checks.finite("psi", psi, "(...)")
    _checks.alike(theta=theta, psi=psi)
    gamma = _checks.number("gamma", gamma, at_least=0.0)
    answer = torch.sigmoid(psi * theta)
    towards = 1 - answer if non_saturating else answer
    return towards * psi, -answer * theta - gamma * psi


def play(
    theta: Tensor,
    psi: Tensor,
    step: float,
    steps: int,
    *,
    non_saturating: bool = False,
    gamma: float = 0.0,
    alternating: bool = False,
    momentum: float = 0.0,
    d_speed: float = 1.0,
) -> Tensor:
    r"""Return the points that gradient steps of size h lead through.

    .. math:: \theta_{t+1} = \theta_t + h\,\dot\theta, \qquad \psi_{t+1} = \psi_t + h\,\dot\psi

    Args:
        theta: where the fakes start, of any shape.
        psi: the discriminator's first weight, of the same shape.
        step: h, above 0.
        steps: how many steps, at least 1.
        non_saturating: whether the generator descends -log D instead of log(1 - D).
        gamma: the weight of the penalty R1, at least 0.
        alternating: let psi move first, and theta then answer the new psi, instead of both at once.
        momentum: the share of its last move that a player makes again in each step, between -1 and 1.
        d_speed: how many times as long the steps of psi are, above 0.

    Returns:
        Theta and psi before the first step and after each, ``(steps + 1, 2, ...)``.
    """
    _checks.whole("steps", steps)
    forces(theta, psi, gamma=gamma)  # which checks them
    move = _move(step, non_saturating, gamma, alternating, momentum, d_speed)
    state = torch.stack([theta, psi, 0 * theta, 0 * psi])
    path = [state[:2]]
    for _ in range(steps):
        state = move(state)
        path.append(state[:2])
    return torch.stack(path)


def _move(
    step: float, non_saturating: bool, gamma: float, alternating: bool, momentum: float, d_speed: float
) -> Callable[[Tensor], Tensor]:
    """Return the step of a game: a function of theta, psi and the last moves of both, ``(4, ...)``."""
    _checks.number("step", step, above=0.0)
    _checks.number("momentum", momentum, above=-1.0, below=1.0)
    _checks.number("d_speed", d_speed, above=0.0)

    def move(state: Tensor) -> Tensor:
        theta, psi, of_theta, of_psi = state
        to_theta, to_psi = forces(theta, psi, non_saturating=non_saturating, gamma=gamma)
        of_psi = momentum * of_psi + d_speed * step * to_psi
        psi = psi + of_psi
        if alternating:
            to_theta, _ = forces(theta, psi, non_saturating=non_saturating, gamma=gamma)
        of_theta = momentum * of_theta + step * to_theta
        return torch.stack([theta + of_theta, psi, of_theta, of_psi])

    return move


def play_adam(
    theta: Tensor,
    psi: Tensor,
    step: float,
    steps: int,
    *,
    non_saturating: bool = False,
    gamma: float = 0.0,
    alternating: bool = False,
    beta1: float = 0.9,
    d_speed: float = 1.0,
) -> Tensor:
    r"""Return the points that steps of Adam lead through, with one optimiser for each player.

    Its second memory is 0.999 and its small constant :math:`10^{-8}`.

    Args:
        theta: where the fakes start, of any shape.
        psi: the discriminator's first weight, of the same shape.
        step: Adam's step size, above 0.
        steps: how many steps, at least 1.
        non_saturating: whether the generator descends -log D instead of log(1 - D).
        gamma: the weight of the penalty R1, at least 0.
        alternating: let psi move first, and theta then answer the new psi, instead of both at once.
        beta1: the share of the old average that Adam keeps of the gradients, at least 0 and below 1.
        d_speed: how many times as long the steps of psi are, above 0.

    Returns:
        Theta and psi before the first step and after each, ``(steps + 1, 2, ...)``.

    Reference:
        Kingma and Ba, *Adam: a method for stochastic optimization*, 2015, https://arxiv.org/abs/1412.6980.
    """
    _checks.number("step", step, above=0.0)
    _checks.whole("steps", steps)
    _checks.number("beta1", beta1, at_least=0.0, below=1.0)
    _checks.number("d_speed", d_speed, above=0.0)
    forces(theta, psi, gamma=gamma)  # which checks them
    means = theta.new_zeros(2, 2, *theta.shape)  # of the forces and their squares, by player
    path = [torch.stack([theta, psi])]

    def move(player: int, force: Tensor, t: int) -> Tensor:
        first, second = means[:, player]
        first.lerp_(force, 1 - beta1)
        second.lerp_(force**2, 1 - 0.999)
        moved: Tensor = step * first / (1 - beta1**t) / ((second / (1 - 0.999**t)).sqrt() + 1e-8)
        return moved

    for t in range(1, steps + 1):
        to_theta, to_psi = forces(theta, psi, non_saturating=non_saturating, gamma=gamma)
        psi = psi + d_speed * move(1, to_psi, t)
        if alternating:
            to_theta, _ = forces(theta, psi, non_saturating=non_saturating, gamma=gamma)
        theta = theta + move(0, to_theta, t)
        path.append(torch.stack([theta, psi]))
    return torch.stack(path)


def growth(
    step: float,
    *,
    non_saturating: bool = False,
    gamma: float = 0.0,
    alternating: bool = False,
    momentum: float = 0.0,
    d_speed: float = 1.0,
) -> float:
    """Return by what factor a step of `play` multiplies the distance from the equilibrium, close to it.

    It is the largest size of an eigenvalue of the Jacobian of one step, at the equilibrium. Below 1, all
    starts that are near enough lead home. Above 1, almost none does. At 1 it decides nothing.

    Args:
        step: h, above 0.
        non_saturating: as for `play`, like all that follow.
        gamma: the weight of the penalty R1.
        alternating: whether theta answers the new psi.
        momentum: the share of its last move that a player makes again.
        d_speed: how many times as long the steps of psi are.
    """
    move = _move(step, non_saturating, gamma, alternating, momentum, d_speed)
    at_home = torch.zeros(4, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(move, at_home)
    return float(torch.linalg.eigvals(jacobian).abs().max())


def eigenvalues(gamma: float) -> Tensor:
    r"""Return the eigenvalues of the game's gradient field at the equilibrium.

    .. math:: J = \begin{pmatrix} 0 & \tfrac12 \\ -\tfrac12 & -\gamma \end{pmatrix}, \qquad
        \lambda = \frac{-\gamma \pm \sqrt{\gamma^2 - 1}}{2}

    They are the same for both losses of the generator. If both real parts are below 0, which is so for every
    gamma above 0, small enough steps that start near enough reach the equilibrium.

    Args:
        gamma: the weight of the penalty R1, at least 0.

    Returns:
        The two eigenvalues, complex, ``(2,)``, the one with the plus sign first.
    """
    gamma = _checks.number("gamma", gamma, at_least=0.0)
    root = torch.sqrt(torch.tensor(gamma**2 - 1, dtype=torch.complex128))
    return torch.stack([-gamma + root, -gamma - root]) / 2


def largest_step(gamma: float) -> float:
    r"""Return the step size below which simultaneous steps near the equilibrium reach it.

    .. math:: h < 4\gamma \;\;(\gamma \le 1), \qquad
        h < 4\left(\gamma - \sqrt{\gamma^2 - 1}\right) \;\;(\gamma \ge 1)

    A step multiplies by :math:`I + hJ`, so it shrinks if :math:`|1 + h\lambda| < 1` for both eigenvalues.
    Above the bound one of them is larger than 1 in size, and almost every start leads away.

    Args:
        gamma: the weight of the penalty R1, at least 0; without it, no step is small enough.
    """
    gamma = _checks.number("gamma", gamma, at_least=0.0)
    # As a quotient where gamma is large: the difference of the formula would lose its digits.
    return 4 * gamma if gamma <= 1 else 4 / (gamma + math.sqrt(gamma**2 - 1))


# The Wasserstein game


def wasserstein_forces(
    theta: Tensor, psi: Tensor, *, penalty: float = 0.0, target: float = 1.0, one_sided: bool = False
) -> tuple[Tensor, Tensor]:
    r"""Return the directions in which gradient steps move the players of the Wasserstein game.

    .. math:: V(\theta, \psi) = 0 - \psi\theta, \qquad \dot\theta = \psi, \qquad
        \dot\psi = -\theta - 2\lambda\,(|\psi| - 1) \operatorname{sign}\psi

    The last term is the gradient of the penalty :math:`\lambda (|\psi| - 1)^2` on the critic's slope; with a
    target of 0 it is that of R1 with :math:`\gamma = 2\lambda`. A flat critic, :math:`\psi = 0`, feels none.

    Args:
        theta: where the fakes are, of any shape.
        psi: the critic's slope, of the same shape.
        penalty: :math:`\lambda`, at least 0.
        target: the slope that costs nothing, at least 0.
        one_sided: whether smaller slopes cost nothing either.

    Reference:
        For the penalty: Gulrajani et al., *Improved training of Wasserstein GANs*, 2017,
        https://arxiv.org/abs/1704.00028.
    """
    _checks.finite("theta", theta, "(...)")
    _checks.finite("psi", psi, "(...)")
    _checks.alike(theta=theta, psi=psi)
    penalty = _checks.number("penalty", penalty, at_least=0.0)
    target = _checks.number("target", target, at_least=0.0)
    _checks.instance("one_sided", one_sided, bool)
    excess = psi.abs() - target
    excess = excess.clamp(min=0) if one_sided else excess
    return psi, -theta - 2 * penalty * excess * psi.sign()


def play_wasserstein(
    theta: Tensor,
    psi: Tensor,
    step: float,
    steps: int,
    *,
    penalty: float = 0.0,
    target: float = 1.0,
    one_sided: bool = False,
    clip: float | None = None,
    alternating: bool = False,
) -> Tensor:
    r"""Return the points that gradient steps of size h lead through in the Wasserstein game.

    .. math:: \psi_{t+1} = \operatorname{clip}(\psi_t + h\,\dot\psi, -c, c), \qquad
        \theta_{t+1} = \theta_t + h\,\dot\theta

    Args:
        theta: where the fakes start, of any shape.
        psi: the critic's first slope, of the same shape.
        step: h, above 0.
        steps: how many steps, at least 1.
        penalty: :math:`\lambda`, as for `wasserstein_forces`, like the next two.
        target: the slope that costs nothing.
        one_sided: whether smaller slopes cost nothing either.
        clip: c, above 0; no clipping unless given.
        alternating: let psi move first, and theta then answer the new psi, instead of both at once.

    Returns:
        Theta and psi before the first step and after each, ``(steps + 1, 2, ...)``.
    """
    _checks.number("step", step, above=0.0)
    _checks.whole("steps", steps)
    if clip is not None:
        _checks.number("clip", clip, above=0.0)
    _checks.instance("alternating", alternating, bool)
    path = []
    for _ in range(steps + 1):
        to_theta, to_psi = wasserstein_forces(theta, psi, penalty=penalty, target=target, one_sided=one_sided)
        path.append(torch.stack([theta, psi]))
        moved = psi + step * to_psi
        psi = moved if clip is None else moved.clamp(-clip, clip)
        theta = theta + step * (psi if alternating else to_theta)
    return torch.stack(path)


def wasserstein_eigenvalues(penalty: float) -> Tensor:
    r"""Return the eigenvalues of the Wasserstein game's gradient field at home, with a target slope of 0.

    .. math:: J = \begin{pmatrix} 0 & 1 \\ -1 & -2\lambda \end{pmatrix}, \qquad
        \mu = -\lambda \pm \sqrt{\lambda^2 - 1}

    Without a penalty they are :math:`\pm i`: the players circle. They are also those around the point where
    a penalty with another target makes the fakes `stall`.

    Args:
        penalty: :math:`\lambda`, at least 0.

    Returns:
        The two eigenvalues, complex, ``(2,)``, the one with the plus sign first.
    """
    penalty = _checks.number("penalty", penalty, at_least=0.0)
    root = torch.sqrt(torch.tensor(penalty**2 - 1, dtype=torch.complex128))
    return torch.stack([-penalty + root, -penalty - root])


def stall(penalty: float, target: float = 1.0) -> float:
    r"""Return how far from the data the two-sided penalty lets the fakes come to rest, on the wrong side.

    .. math:: \dot\theta = \psi = 0, \quad
        \dot\psi = -\theta \pm 2\lambda s = 0 \quad\Rightarrow\quad |\theta| = 2\lambda s

    A critic that sends the fakes home has the slope s, and is to turn round when they have passed the data.
    To turn, its slope has to pass 0, and the penalty pushes it away from there with a force of up to
    :math:`2\lambda s`. So the fakes go on until they are so far that the gain outweighs this, and by then the
    critic is flat. For :math:`\lambda \ge 1` they stay: the eigenvalues are real, and psi does not cross 0.

    Args:
        penalty: :math:`\lambda`, at least 0.
        target: the slope s that costs nothing, at least 0.
    """
    penalty = _checks.number("penalty", penalty, at_least=0.0)
    return 2 * penalty * _checks.number("target", target, at_least=0.0)

r"""The Dirac GAN: the smallest game in which gradient steps miss an equilibrium that is there.

All real data are the point 0, all fakes are the point :math:`\theta`, and the discriminator's logit is
:math:`a(x) = \psi x`. The game is that of every other chapter, with one weight for each player:

.. math:: V(\theta, \psi) = \log\sigma(0) + \log(1 - \sigma(\psi\theta))

Its equilibrium is :math:`\theta = \psi = 0`. Nothing here is random, so points may have any shape.

Reference:
    Mescheder, Geiger and Nowozin, *Which training methods for GANs do actually converge?*, 2018,
    https://arxiv.org/abs/1801.04406.
"""

from __future__ import annotations

import math

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

    Raises:
        TypeError: if a point is not a floating-point tensor, or gamma not a real number.
        ValueError: if a point is not finite, gamma is negative, or theta and psi differ in shape.
    """
    _checks.finite("theta", theta, "(...)")
    _checks.finite("psi", psi, "(...)")
    _checks.same_shape(theta=theta, psi=psi)
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

    Returns:
        Theta and psi before the first step and after each, ``(steps + 1, 2, ...)``.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a number is out of range, or the points run off to infinity.
    """
    _checks.number("step", step, above=0.0)
    _checks.whole("steps", steps)
    forces(theta, psi, gamma=gamma)  # which checks them
    path = [torch.stack([theta, psi])]
    for _ in range(steps):
        to_theta, to_psi = forces(theta, psi, non_saturating=non_saturating, gamma=gamma)
        psi = psi + step * to_psi
        if alternating:
            to_theta, _ = forces(theta, psi, non_saturating=non_saturating, gamma=gamma)
        theta = theta + step * to_theta
        path.append(torch.stack([theta, psi]))
    return torch.stack(path)


def eigenvalues(gamma: float) -> Tensor:
    r"""Return the eigenvalues of the game's gradient field at the equilibrium.

    .. math:: J = \begin{pmatrix} 0 & \tfrac12 \\ -\tfrac12 & -\gamma \end{pmatrix}, \qquad
        \lambda = \frac{-\gamma \pm \sqrt{\gamma^2 - 1}}{2}

    They are the same for both losses of the generator. Small steps reach the equilibrium if and only if both
    real parts are below 0, that is for every gamma above 0.

    Args:
        gamma: the weight of the penalty R1, at least 0.

    Returns:
        The two eigenvalues, complex, ``(2,)``, the one with the plus sign first.

    Raises:
        TypeError: if gamma is not a real number.
        ValueError: if gamma is negative or not finite.
    """
    gamma = _checks.number("gamma", gamma, at_least=0.0)
    root = torch.sqrt(torch.tensor(gamma**2 - 1, dtype=torch.complex128))
    return torch.stack([-gamma + root, -gamma - root]) / 2


def largest_step(gamma: float) -> float:
    r"""Return the step size below which simultaneous steps near the equilibrium reach it.

    .. math:: h < 4\gamma \;\;(\gamma \le 1), \qquad
        h < 4\left(\gamma - \sqrt{\gamma^2 - 1}\right) \;\;(\gamma \ge 1)

    A step multiplies by :math:`I + hJ`, so it shrinks if :math:`|1 + h\lambda| < 1` for both eigenvalues.

    Args:
        gamma: the weight of the penalty R1, at least 0; without it, no step is small enough.

    Raises:
        TypeError: if gamma is not a real number.
        ValueError: if gamma is negative or not finite.
    """
    gamma = _checks.number("gamma", gamma, at_least=0.0)
    # As a quotient where gamma is large: the difference of the formula would lose its digits.
    return 4 * gamma if gamma <= 1 else 4 / (gamma + math.sqrt(gamma**2 - 1))

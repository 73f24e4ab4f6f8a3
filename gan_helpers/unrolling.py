"""Generators that look ahead: the loss of G against the discriminator as it will be after its next steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from gan_helpers import _checks

Loss = Callable[[Any, Any, Tensor, Tensor], Tensor]


def unrolled(d_loss: Loss, g_loss: Loss, steps: int, rate: float) -> Loss:
    r"""Return a loss of G that sees how D will answer, by gradient steps of D that are taken on trial.

    .. math:: \psi^0 = \psi, \qquad
        \psi^{k+1} = \psi^k - \eta\, \nabla_\psi L_D(\theta, \psi^k), \qquad
        L_G^K(\theta) = L_G(\theta, \psi^K)

    The gradient for G flows through the steps of D too, so ``d_loss`` must not detach what G makes. D
    itself does not move. Each step costs about as much as a further update of D, and memory for all K.

    Args:
        d_loss: ``d_loss(G, D, x, z) -> (seeds,)``, what D descends.
        g_loss: ``g_loss(G, D, x, z) -> (seeds,)``, what G descends.
        steps: how many steps ahead, K.
        rate: the size of a step, :math:`\eta`.

    Returns:
        The loss, ``loss(G, D, x, z) -> (seeds,)``, for `gan_helpers.training.train`.

    Raises:
        TypeError: if a loss is no function, ``steps`` not whole, or ``rate`` no number.
        ValueError: if ``steps`` is below 1, or ``rate`` not above 0.

    References:
        Metz et al. (2017), equations 7 to 10. https://arxiv.org/abs/1611.02163
    """
    _checks.function("d_loss", d_loss)
    _checks.function("g_loss", g_loss)
    _checks.whole("steps", steps)
    _checks.number("rate", rate, above=0)

    def loss(G: Any, D: Any, x: Tensor, z: Tensor) -> Tensor:
        weights = {name: weight for name, weight in D.named_parameters() if weight.requires_grad}

        def ahead(*inputs: Any) -> Any:
            return functional_call(D, weights, inputs)

        for _ in range(steps):
            downhill = torch.autograd.grad(
                d_loss(G, ahead, x, z).sum(), tuple(weights.values()), create_graph=True
            )
            weights = {
                name: weight - rate * slope
                for (name, weight), slope in zip(weights.items(), downhill, strict=True)
            }
        return g_loss(G, ahead, x, z)

    return loss

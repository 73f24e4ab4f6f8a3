r"""Ten objectives of generators, each with at most one number of its own that has to be tuned.

A game is two losses of G, D, real samples x, noise z and the own number of each seed. One of the ten has no
critic at all.

Raises:
    TypeError: everywhere, if an argument is not what the losses take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from gan_helpers.ensemble import Ensemble
from gan_helpers.losses import (
    hinge_d,
    least_squares_d,
    least_squares_g,
    minimax_d,
    minimax_g,
    non_saturating_g,
    relativistic_d,
    relativistic_g,
    wasserstein_d,
    wasserstein_g,
)
from gan_helpers.penalties import gradient_penalty, r1, r2
from gan_helpers.rivals import RIVALS, Rival

Loss = Callable[[Ensemble, Ensemble, Tensor, Tensor, Tensor], Tensor]
PENALTY = "the weight of the penalty", (-2.0, 1.0)


@dataclass(frozen=True)
class Game:
    """An objective of two players.

    Args:
        d_loss: ``d_loss(G, D, x, z, own) -> (seeds,)``, with the own number of each seed, ``(seeds,)``.
        g_loss: the same for the generator.
        own: what its own number is, if it has one.
        powers: the powers of ten that the own number lies between.
        clips: whether the own number is where the critic's weights are cut.
    """

    d_loss: Loss
    g_loss: Loss
    own: str = ""
    powers: tuple[float, float] = (0.0, 0.0)
    clips: bool = False


Objective = Game | Rival


def _tells(loss: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """Return the loss of a critic of data and fakes."""
    return lambda G, D, x, z, own: loss(*D(x, G(z).detach()))


def _fools(loss: Callable[[Tensor], Tensor]) -> Loss:
    """Return the loss of a generator that depends on its fakes alone."""
    return lambda G, D, x, z, own: loss(D(G(z)))


def _pairs(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor, own: Tensor) -> Tensor:
    """Return the relativistic loss of a generator."""
    return relativistic_g(*D(x, G(z)))


def _with_r1(loss: Loss) -> Loss:
    """Return a loss of D with R1."""
    return lambda G, D, x, z, own: loss(G, D, x, z, own) + own / 2 * r1(D, x)


def _with_r2(loss: Loss) -> Loss:
    """Return a loss of D with R2."""
    return lambda G, D, x, z, own: loss(G, D, x, z, own) + own / 2 * r2(D, G(z).detach())


def _penalised(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor, own: Tensor) -> Tensor:
    """Return the loss of a critic whose slope is held near 1."""
    fake = G(z).detach()
    return wasserstein_d(*D(x, fake)) + own * gradient_penalty(D, x, fake, D.dropout)


PLAIN = Game(_tells(minimax_d), _fools(non_saturating_g))  # the game whose steps are counted

#: The ten, by name.
OBJECTIVES: dict[str, Objective] = {
    "minimax": Game(_tells(minimax_d), _fools(minimax_g)),
    "non_saturating": PLAIN,
    "least_squares": Game(_tells(least_squares_d), _fools(least_squares_g)),
    "hinge": Game(_tells(hinge_d), _fools(wasserstein_g)),
    "clipped": Game(
        _tells(wasserstein_d), _fools(wasserstein_g), "where weights are cut", (-2.0, -0.5), clips=True
    ),
    "penalised": Game(_penalised, _fools(wasserstein_g), *PENALTY),
    "mmd": RIVALS["mmd"],
    "relativistic_r1": Game(_with_r1(_tells(relativistic_d)), _pairs, *PENALTY),
    "relativistic_r1_r2": Game(_with_r2(_with_r1(_tells(relativistic_d))), _pairs, *PENALTY),
    "non_saturating_r1": Game(_with_r1(_tells(minimax_d)), _fools(non_saturating_g), *PENALTY),
}

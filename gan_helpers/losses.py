"""The losses of both players, as functions of logits, named as in the papers.

Every function takes logits of shape ``(seeds, batch, ...)``, the discriminator's outputs before any
sigmoid, and returns one loss per seed, of shape ``(seeds,)``: the mean over all other axes. With
D = sigmoid(logit), log D = -softplus(-logit) and log(1 - D) = -softplus(logit), which stays exact where
D itself rounds to 0 or 1.

The training loop adds the losses of the seeds up. It never averages them: so each member of an ensemble
gets exactly the gradient that it would get alone.

Raises:
    TypeError: in all functions, if an argument is not a floating-point tensor.
    ValueError: in all functions, if an argument is empty or has no batch axis, or two are not of as many
        seeds; in the relativistic ones, if the two differ in shape.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import relu, softplus

from gan_helpers import _checks


def _per_seed(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1)


def _pairs(real: Tensor, fake: Tensor) -> None:
    _checks.logits(real=real, fake=fake)
    if real.shape != fake.shape:
        raise ValueError(
            f"real and fake are compared pair by pair and must have one shape, not {tuple(real.shape)} "
            f"and {tuple(fake.shape)}: draw as many fakes as there are real samples."
        )


def minimax_d(real: Tensor, fake: Tensor) -> Tensor:
    r"""Return the negative value of the game, the loss that the discriminator descends.

    .. math:: L_D = -V(D, G) = -\mathbb{E}[\log D(x)] - \mathbb{E}[\log(1 - D(G(z)))]

    Args:
        real: logits of real samples, ``(seeds, batch, 1)``.
        fake: logits of generated samples, ``(seeds, batch, 1)``.

    Returns:
        One loss per seed in nats, ``(seeds,)``; 2 log 2 where D answers 1/2 throughout.

    References:
        Goodfellow et al. (2014), equation 1. https://arxiv.org/abs/1406.2661
    """
    _checks.logits(real=real, fake=fake)
    return _per_seed(softplus(-real)) + _per_seed(softplus(fake))


def minimax_g(fake: Tensor) -> Tensor:
    r"""Return the generator's part of the value of the game, which it descends.

    .. math:: L_G = \mathbb{E}[\log(1 - D(G(z)))]

    Its slope in the logit is -D(G(z)): it vanishes where D is sure, hence 'saturating'.

    Args:
        fake: logits of generated samples, ``(seeds, batch, 1)``.

    Returns:
        One loss per seed in nats, ``(seeds,)``; at most 0.

    References:
        Goodfellow et al. (2014), equation 1. https://arxiv.org/abs/1406.2661
    """
    _checks.logits(fake=fake)
    return -_per_seed(softplus(fake))


def non_saturating_g(fake: Tensor) -> Tensor:
    r"""Return the loss with which the generator maximises log D(G(z)).

    .. math:: L_G = -\mathbb{E}[\log D(G(z))]

    Its slope in the logit is -(1 - D(G(z))): it is largest where D is sure.

    Args:
        fake: logits of generated samples, ``(seeds, batch, 1)``.

    Returns:
        One loss per seed in nats, ``(seeds,)``; at least 0.

    References:
        Goodfellow et al. (2014), section 3. https://arxiv.org/abs/1406.2661
    """
    _checks.logits(fake=fake)
    return _per_seed(softplus(-fake))


def least_squares_d(real: Tensor, fake: Tensor) -> Tensor:
    r"""Return the squared distance of the outputs from 1 for real and 0 for fake, halved.

    .. math:: L_D = \tfrac12 \mathbb{E}[(D(x) - 1)^2] + \tfrac12 \mathbb{E}[D(G(z))^2]

    Args:
        real: outputs for real samples, ``(seeds, batch, 1)``, without a sigmoid.
        fake: outputs for generated samples, ``(seeds, batch, 1)``, without a sigmoid.

    Returns:
        One loss per seed, ``(seeds,)``.

    References:
        Mao et al. (2017), equation 9. https://arxiv.org/abs/1611.04076
    """
    _checks.logits(real=real, fake=fake)
    return 0.5 * _per_seed((real - 1).square()) + 0.5 * _per_seed(fake.square())


def least_squares_g(fake: Tensor) -> Tensor:
    r"""Return the squared distance of the outputs for fakes from 1, halved.

    .. math:: L_G = \tfrac12 \mathbb{E}[(D(G(z)) - 1)^2]

    Args:
        fake: outputs for generated samples, ``(seeds, batch, 1)``, without a sigmoid.

    Returns:
        One loss per seed, ``(seeds,)``.

    References:
        Mao et al. (2017), equation 9. https://arxiv.org/abs/1611.04076
    """
    _checks.logits(fake=fake)
    return 0.5 * _per_seed((fake - 1).square())


def wasserstein_d(real: Tensor, fake: Tensor) -> Tensor:
    r"""Return the negative difference of means that the critic maximises.

    .. math:: L_D = \mathbb{E}[D(G(z))] - \mathbb{E}[D(x)]

    Args:
        real: outputs for real samples, ``(seeds, batch, 1)``, without a sigmoid.
        fake: outputs for generated samples, ``(seeds, batch, 1)``, without a sigmoid.

    Returns:
        One loss per seed, ``(seeds,)``.

    References:
        Arjovsky, Chintala and Bottou (2017), equation 3. https://arxiv.org/abs/1701.07875
    """
    _checks.logits(real=real, fake=fake)
    return _per_seed(fake) - _per_seed(real)


def wasserstein_g(fake: Tensor) -> Tensor:
    r"""Return the negative mean output for fakes.

    .. math:: L_G = -\mathbb{E}[D(G(z))]

    Args:
        fake: outputs for generated samples, ``(seeds, batch, 1)``, without a sigmoid.

    Returns:
        One loss per seed, ``(seeds,)``.

    References:
        Arjovsky, Chintala and Bottou (2017), algorithm 1. https://arxiv.org/abs/1701.07875
    """
    _checks.logits(fake=fake)
    return -_per_seed(fake)


def hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    r"""Return the loss of outputs that have not cleared the margins 1 and -1.

    .. math:: L_D = \mathbb{E}[\max(0, 1 - D(x))] + \mathbb{E}[\max(0, 1 + D(G(z)))]

    The generator's loss that goes with it is `wasserstein_g`.

    Args:
        real: outputs for real samples, ``(seeds, batch, 1)``, without a sigmoid.
        fake: outputs for generated samples, ``(seeds, batch, 1)``, without a sigmoid.

    Returns:
        One loss per seed, ``(seeds,)``.

    References:
        Lim and Ye (2017). https://arxiv.org/abs/1705.02894
    """
    _checks.logits(real=real, fake=fake)
    return _per_seed(relu(1 - real)) + _per_seed(relu(1 + fake))


def relativistic_d(real: Tensor, fake: Tensor) -> Tensor:
    r"""Return the loss of a discriminator that says which of two samples is the real one.

    .. math:: L_D = \mathbb{E}[\operatorname{softplus}(-(D(x) - D(G(z))))]

    Args:
        real: logits of real samples, ``(seeds, batch, 1)``.
        fake: logits of generated samples, as many, ``(seeds, batch, 1)``.

    Returns:
        One loss per seed in nats, ``(seeds,)``; log 2 where D tells nothing.

    References:
        Jolicoeur-Martineau (2019), https://arxiv.org/abs/1807.00734; Huang et al. (2024), equation 2,
        https://arxiv.org/abs/2501.05441
    """
    _pairs(real, fake)
    return _per_seed(softplus(fake - real))


def relativistic_g(real: Tensor, fake: Tensor) -> Tensor:
    r"""Return the loss of a generator whose samples should look more real than real ones.

    .. math:: L_G = \mathbb{E}[\operatorname{softplus}(-(D(G(z)) - D(x)))]

    Args:
        real: logits of real samples, ``(seeds, batch, 1)``.
        fake: logits of generated samples, as many, ``(seeds, batch, 1)``.

    Returns:
        One loss per seed in nats, ``(seeds,)``; log 2 where D tells nothing.

    References:
        Jolicoeur-Martineau (2019), https://arxiv.org/abs/1807.00734; Huang et al. (2024), equation 2,
        https://arxiv.org/abs/2501.05441
    """
    _pairs(real, fake)
    return _per_seed(softplus(real - fake))

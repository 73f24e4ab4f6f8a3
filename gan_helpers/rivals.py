r"""Plain ways to a generator, without an opponent: what a GAN on known data has to be compared with.

Each learns from the same samples as a GAN. What is trained here are ensembles, seed by seed as everywhere.

Raises:
    TypeError: everywhere, if an argument is of the wrong type.
    ValueError: everywhere, if an argument is of a shape or a size that does not fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from sklearn.mixture import GaussianMixture as Mixture
from torch import Tensor, nn

from gan_helpers import _checks
from gan_helpers.divergences import mmd2
from gan_helpers.ensemble import Ensemble
from gan_helpers.metrics import fit_gaussian
from gan_helpers.models import mlp
from gan_helpers.randomness import Stream
from gan_helpers.shares import Share
from gan_helpers.training import Average

HIDDEN = (64, 64)  # widths of all networks
EULER = 50  # steps from noise to sample by flow matching
COUPLINGS = 4  # of the flow
WIDTHS = (0.25, 1.0, 4.0)  # of the kernels, in units of the own number

Networks = Sequence[Ensemble]


def network(inputs: int, outputs: int) -> nn.Module:
    """Return a network with two hidden layers of 64 and leaky ReLU with slope 0.2.

    Args:
        inputs: features of its input.
        outputs: features of its output.
    """
    return mlp(inputs, *HIDDEN, outputs, activation=lambda: nn.LeakyReLU(0.2))


@dataclass(frozen=True)
class Rival:
    """A generator that learns alone.

    Args:
        shapes: inputs and outputs of its networks, for so many features of the data.
        loss: ``loss(networks, x, z, rng, own) -> (seeds,)``, with data and noise, ``(seeds, batch,
            features)``, a stream for what else is random, and the own number of each seed, ``(seeds,)``.
        sample: ``sample(networks, z, rng)``, a sample for each row of noise.
        own: what its own number is, if it has one.
        powers: the powers of ten that the own number lies between.
        normal: whether its noise has to be N(0, I).
        line: whether it can be had on the line.
    """

    shapes: Callable[[int], list[tuple[int, int]]]
    loss: Callable[[Networks, Tensor, Tensor, Stream, Tensor], Tensor]
    sample: Callable[[Networks, Tensor, Stream], Tensor]
    own: str = ""
    powers: tuple[float, float] = (0.0, 0.0)
    normal: bool = True
    line: bool = True

    def networks(self, features: int, seeds: int | Share, seed: int | None = None) -> list[Ensemble]:
        """Return fresh networks, on the CPU: they are small.

        Args:
            features: of the data.
            seeds: how many members each has, or a share of them.
            seed: the base seed; `gan_helpers.randomness.base_seed` unless given.
        """
        shapes = self.shapes(_checks.whole("features", features))
        names = ["G", *(f"G{i}" for i in range(2, len(shapes) + 1))]
        return [
            Ensemble(partial(network, *shape), seeds, name=name, seed=seed, device="cpu")
            for name, shape in zip(names, shapes, strict=True)
        ]


def learn(
    networks: Networks,
    loss: Callable[[], Tensor],
    optimisers: Sequence[torch.optim.Optimizer],
    steps: int,
    ema: float = 0.999,
) -> list[Ensemble]:
    """Let networks descend one loss together, and return the averages of their weights.

    A member whose loss is not finite is lost; the others go on.

    Args:
        networks: what learns.
        loss: returns one loss per seed on fresh data, ``(seeds,)``.
        optimisers: of the weights of all networks.
        steps: how many.
        ema: the decay of the averages.
    """
    averages = [Average(network, ema) for network in networks]
    for _ in range(_checks.whole("steps", steps)):
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss().sum().backward()
        for optimiser in optimisers:
            optimiser.step()
        for average, newest in zip(averages, networks, strict=True):
            average.update(newest)
    return [average.network.eval() for average in averages]


# Kernels


def kernel_loss(networks: Networks, x: Tensor, z: Tensor, rng: Stream, scale: Tensor) -> Tensor:
    r"""Return the unbiased MMD² of data and fakes, with kernels of `WIDTHS` times a scale.

    Args:
        networks: the generator alone.
        x: data, ``(seeds, batch, features)``.
        z: noise, as many.
        rng: not used.
        scale: of each seed, ``(seeds,)``.

    References:
        Li, Swersky and Zemel (2015). https://arxiv.org/abs/1502.02761
    """
    unit = scale.view(-1, 1, 1)
    return mmd2(x / unit, networks[0](z) / unit, WIDTHS)


def pushed(networks: Networks, z: Tensor, rng: Stream) -> Tensor:
    """Return what a generator makes of noise.

    Args:
        networks: the generator alone.
        z: noise, ``(seeds, n, features)``.
        rng: not used.
    """
    made: Tensor = networks[0](z)
    return made


# A variational autoencoder


def _halves(network: Ensemble, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return a mean and a standard deviation, the two halves of a network's outputs."""
    mean, log_sd = network(x).chunk(2, 2)
    return mean, log_sd.clamp(-7, 7).exp()


def vae_loss(networks: Networks, x: Tensor, z: Tensor, rng: Stream, own: Tensor) -> Tensor:
    r"""Return minus the evidence lower bound of an autoencoder with normal code and normal outputs.

    .. math:: -\mathbb{E}_{z \sim q(z|x)}[\log p(x|z)] + \operatorname{KL}(q(z|x) \,\|\, N(0, I))

    Args:
        networks: the decoder, from codes to means and spreads of samples, and the encoder, the other way.
        x: data, ``(seeds, batch, features)``.
        z: N(0, I), as many: where in its normal distribution each code lies.
        rng: not used.
        own: not used.

    References:
        Kingma and Welling (2014), equation 10. https://arxiv.org/abs/1312.6114
    """
    decoder, encoder = networks
    mean, sd = _halves(encoder, x)
    centre, spread = _halves(decoder, mean + sd * z)
    missed: Tensor = 0.5 * ((x - centre) / spread).square() + spread.log() + 0.5 * math.log(2 * math.pi)
    price = 0.5 * (mean.square() + sd.square() - 1) - sd.log()
    return (missed.sum(2) + price.sum(2)).mean(1)


def vae_sample(networks: Networks, z: Tensor, rng: Stream) -> Tensor:
    """Return what the decoder makes of codes, with the spread that it says it has.

    Args:
        networks: the decoder and the encoder.
        z: codes from N(0, I), ``(seeds, n, features)``.
        rng: where the spread comes from.
    """
    centre, spread = _halves(networks[0], z)
    return centre + spread * rng.normal(*centre.shape).to(centre)


# Flow matching


def matching_loss(networks: Networks, x: Tensor, z: Tensor, rng: Stream, own: Tensor) -> Tensor:
    r"""Return how far a network is from the velocity on straight ways from noise to data.

    .. math:: \mathbb{E} \lVert v((1 - t) z + t x, t) - (x - z) \rVert^2, \quad t \sim U(0, 1)

    Args:
        networks: the velocity v, from a place and a time to a direction.
        x: data, ``(seeds, batch, features)``.
        z: N(0, I), as many.
        rng: where times come from.
        own: not used.

    References:
        Lipman et al. (2023), equation 9; straight ways: Liu, Gong and Liu (2023), equation 1.
        https://arxiv.org/abs/2210.02747, https://arxiv.org/abs/2209.03003
    """
    t = rng.uniform(*x.shape[:2], 1).to(x)
    missed: Tensor = networks[0](torch.cat([torch.lerp(z, x, t), t], 2)) - (x - z)
    return missed.square().sum(2).mean(1)


def matching_sample(networks: Networks, z: Tensor, rng: Stream) -> Tensor:
    """Return where noise is carried by the velocity, in `EULER` equal steps.

    Args:
        networks: the velocity.
        z: N(0, I), ``(seeds, n, features)``.
        rng: not used.
    """
    place = z
    for step in range(EULER):
        time = torch.full_like(z[..., :1], step / EULER)
        place = place + networks[0](torch.cat([place, time], 2)) / EULER
    return place


# A normalising flow


def _coupled(network: Ensemble, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Return by how much the other half is shifted and stretched, given the half that is kept."""
    shift, stretch = network(kept).chunk(2, 2)
    return shift, 3 * (stretch / 3).tanh()


def flow_loss(networks: Networks, x: Tensor, z: Tensor, rng: Stream, own: Tensor) -> Tensor:
    r"""Return minus the log likelihood under a chain of affine couplings, in nats.

    Each maps the one coordinate to :math:`(x_2 - t(x_1)) \, e^{-s(x_1)}`, and the coordinates change
    places. The end of the chain is N(0, I), and each coupling adds -s to the log density.

    Args:
        networks: t and s of each coupling.
        x: data, ``(seeds, batch, 2)``.
        z: not used.
        rng: not used.
        own: not used.

    References:
        Dinh, Sohl-Dickstein and Bengio (2017), section 3. https://arxiv.org/abs/1605.08803
    """
    kept, moved = x.chunk(2, 2)
    log_density = torch.zeros_like(kept)
    for network in networks:
        shift, stretch = _coupled(network, kept)
        kept, moved = (moved - shift) * (-stretch).exp(), kept
        log_density = log_density - stretch
    log_density = log_density - 0.5 * (kept.square() + moved.square()) - math.log(2 * math.pi)
    return -log_density.mean((1, 2))


def flow_sample(networks: Networks, z: Tensor, rng: Stream) -> Tensor:
    """Return what the chain of couplings makes of noise, run the other way.

    Args:
        networks: t and s of each coupling.
        z: N(0, I), ``(seeds, n, 2)``.
        rng: not used.
    """
    kept, moved = z.chunk(2, 2)
    for network in reversed(networks):
        shift, stretch = _coupled(network, moved)
        kept, moved = moved, kept * stretch.exp() + shift
    return torch.cat([kept, moved], 2)


#: What is trained alone, by name.
RIVALS = {
    "mmd": Rival(
        lambda d: [(d, d)], kernel_loss, pushed, "the scale of the kernels", (-1.0, 0.5), normal=False
    ),
    "vae": Rival(lambda d: [(d, 2 * d), (d, 2 * d)], vae_loss, vae_sample),
    "matching": Rival(lambda d: [(d + 1, d)], matching_loss, matching_sample),
    "flow": Rival(lambda d: [(1, 2)] * COUPLINGS, flow_loss, flow_sample, line=False),
}


def fitted(x: Tensor, modes: int, n: int, rng: Stream) -> Tensor:
    r"""Return samples of what maximum likelihood fits to data: a Gaussian, or round Gaussians of any weight.

    With one mode it is the closed form, mean and covariance. With more it is EM from means that k-means++
    finds, ten times anew, of which the most likely is taken.

    Args:
        x: data, ``(seeds, m, features)``.
        modes: how many Gaussians.
        n: how many samples to draw of each fit.
        rng: where samples and starts come from.

    Returns:
        Samples, ``(seeds, n, features)``.

    References:
        Dempster, Laird and Rubin (1977). https://doi.org/10.1111/j.2517-6161.1977.tb01600.x
    """
    x = _checks.finite("x", x, "(seeds, m, features)", dims=3).double()
    z = rng.normal(len(x), _checks.whole("n", n), x.shape[2]).double()
    if _checks.whole("modes", modes) == 1:
        fit = fit_gaussian(x)
        factor: Tensor = torch.linalg.cholesky(fit.covariance)
        return z @ factor.mT + fit.mean.unsqueeze(1)
    made = []
    for rows, noise in zip(x.numpy(), z, strict=True):
        start = int(rng.integers(2**31 - 1, 1))
        em = Mixture(
            modes, covariance_type="spherical", n_init=10, init_params="k-means++", random_state=start
        ).fit(rows)
        drawn = torch.multinomial(torch.from_numpy(em.weights_), n, True, generator=rng.generator)
        centres, spreads = torch.from_numpy(em.means_), torch.from_numpy(em.covariances_).sqrt()
        made.append(centres[drawn] + spreads[drawn].unsqueeze(1) * noise)
    return torch.stack(made)

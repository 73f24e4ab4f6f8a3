"""Networks as plain ``torch.nn`` modules: one member each, for `gan_helpers.ensemble.Ensemble` to stack."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor, nn

from gan_helpers import _checks


def mlp(*sizes: int, activation: Callable[[], nn.Module] = nn.ELU) -> nn.Sequential:
    """Return a multilayer perceptron: linear maps with an activation between each two.

    Args:
        sizes: features of the input, of each hidden layer and of the output; ``mlp(1, 50, 50, 1)`` has
            three linear maps.
        activation: makes the activation, such as ``nn.ELU`` or ``lambda: nn.LeakyReLU(0.2)``.

    Returns:
        A module from ``(..., sizes[0])`` to ``(..., sizes[-1])``; its last layer is linear.

    Raises:
        TypeError: if a size is not a whole number, or ``activation`` makes no module.
        ValueError: if there are fewer than two sizes, or one is below 1.
    """
    if isinstance(activation, nn.Module):
        raise TypeError(
            f"activation must be a function that makes a module, not the module {activation!r}: give its "
            "class, or lambda: nn.LeakyReLU(0.2)."
        )
    _checks.function("activation", activation)
    if len(sizes) < 2:
        raise ValueError(f"mlp needs at least two sizes, of its input and its output, not {sizes}.")
    widths = [_checks.whole(f"sizes[{i}]", size) for i, size in enumerate(sizes)]
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(fan_in, fan_out), _checks.instance("activation()", activation(), nn.Module)]
    return nn.Sequential(*layers[:-1])


def dense(fan_in: int, fan_out: int) -> nn.Linear:
    r"""Return a linear map that starts as Keras and TensorFlow start theirs: by Glorot's rule, biases at 0.

    .. math:: w_{ij} \sim U(-a, a), \quad a = \sqrt{6 / (n_{in} + n_{out})}

    Args:
        fan_in: features of the input, :math:`n_{in}`.
        fan_out: features of the output, :math:`n_{out}`.

    Raises:
        TypeError: if an argument is not a whole number.
        ValueError: if an argument is below 1.

    References:
        Glorot and Bengio (2010). https://proceedings.mlr.press/v9/glorot10a.html
    """
    layer = nn.Linear(_checks.whole("fan_in", fan_in), _checks.whole("fan_out", fan_out))
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Maxout(nn.Module):
    r"""A layer whose every unit is the largest of several linear maps.

    .. math:: h_i(x) = \max_{j} \; w_{ij}^\top x + b_{ij}

    Args:
        in_features: features of the input.
        out_features: units of the layer.
        pieces: linear maps that each unit takes the largest of.

    Raises:
        TypeError: if an argument is not a whole number.
        ValueError: if an argument is below 1.

    References:
        Goodfellow et al. (2013). https://arxiv.org/abs/1302.4389
    """

    def __init__(self, in_features: int, out_features: int, pieces: int) -> None:
        super().__init__()
        _checks.whole("in_features", in_features)
        self.out_features = _checks.whole("out_features", out_features)
        self.pieces = _checks.whole("pieces", pieces)
        self.linear = nn.Linear(in_features, out_features * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in_features)`` to ``(..., out_features)``."""
        _checks.like_weights("x", _checks.floating("x", x, "(..., in_features)"), self.linear.weight)
        if x.shape[-1:] != self.linear.weight.shape[-1:]:
            features = self.linear.weight.shape[-1]
            raise ValueError(f"x must have shape (..., {features}), not {tuple(x.shape)}.")
        units: Tensor = self.linear(x)
        pieces: Tensor = units.unflatten(-1, (self.out_features, self.pieces))
        return pieces.amax(-1)


class MinibatchDiscrimination(nn.Module):
    r"""A layer that tells each sample how close the others of its batch are.

    .. math:: M_i = T f(x_i) \in \mathbb{R}^{B \times C}, \qquad
        o_b(x_i) = \sum_{j=1}^{n} \exp(-\lVert M_{i,b} - M_{j,b} \rVert_1)

    The sum goes over the whole batch, the sample itself included, which adds 1. It is put behind the
    features. A discriminator with this layer judges samples in company: give it real ones and fakes in two
    calls, not in one pass, and no penalty on its slope at single samples.

    Args:
        in_features: features of the input f(x).
        kernels: how many numbers o_b are added to them, B.
        dimensions: of the space that each compares samples in, C.

    Raises:
        TypeError: if an argument is not a whole number.
        ValueError: if an argument is below 1.

    References:
        Salimans et al. (2016), section 3.2. https://arxiv.org/abs/1606.03498
    """

    def __init__(self, in_features: int, kernels: int, dimensions: int) -> None:
        super().__init__()
        _checks.whole("in_features", in_features)
        self.kernels = _checks.whole("kernels", kernels)
        self.dimensions = _checks.whole("dimensions", dimensions)
        self.linear = nn.Linear(in_features, kernels * dimensions, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., batch, in_features)`` to ``(..., batch, in_features + kernels)``."""
        _checks.like_weights("x", _checks.floating("x", x, "(..., batch, in_features)"), self.linear.weight)
        if x.dim() < 2 or x.shape[-1] != self.linear.weight.shape[-1]:
            features = self.linear.weight.shape[-1]
            raise ValueError(f"x must have shape (..., batch, {features}), not {tuple(x.shape)}.")
        maps = self.linear(x).unflatten(-1, (self.kernels, self.dimensions)).unbind(-1)
        # One dimension after the other is twice as fast as torch.cdist.
        distance = reduce(torch.add, ((m.unsqueeze(-2) - m.unsqueeze(-3)).abs() for m in maps))
        return torch.cat([x, torch.exp(-distance).sum(-2)], -1)


class Standardise(nn.Module):
    """A fixed shift and scale, so that a network meets inputs of about zero mean and unit variance.

    Args:
        mean: what is subtracted, in the units of the input.
        sd: what the difference is divided by, in the units of the input.

    Raises:
        TypeError: if an argument is not a real number.
        ValueError: if ``sd`` is not above 0, or an argument is not finite.
    """

    def __init__(self, mean: float, sd: float) -> None:
        super().__init__()
        self.mean = _checks.number("mean", mean)
        self.sd = _checks.number("sd", sd, above=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map x to (x - mean) / sd, elementwise."""
        _checks.floating("x", x, "(...)")
        return (x - self.mean) / self.sd

    def extra_repr(self) -> str:
        """Say what the shift and the scale are."""
        return f"mean={self.mean:g}, sd={self.sd:g}"


def decorate(x: Tensor) -> Tensor:
    """Return each batch as one input: its samples, then their squared deviations from the batch mean.

    A discriminator of this sees a whole batch at once and judges its spread, not single samples. As in the
    source, the mean is taken as a constant: no gradient flows through it.

    Args:
        x: samples, ``(seeds, batch, 1)``.

    Returns:
        One row per seed, ``(seeds, 1, 2 * batch)``, in units and squared units of x.

    Raises:
        TypeError: if x is not a floating-point tensor.
        ValueError: if x does not have that shape.
    """
    _checks.floating("x", x, "(seeds, batch, 1)", dims=3)
    if x.shape[2] != 1:
        raise ValueError(f"x must have shape (seeds, batch, 1), not {tuple(x.shape)}.")
    deviations = x - x.detach().mean(1, keepdim=True)
    return torch.cat([x, deviations.square()], dim=1).mT


def pack(x: Tensor, m: int) -> Tensor:
    r"""Return samples in packs of m, each of which is one input of a packed discriminator.

    .. math:: (x_1, \dots, x_n) \mapsto ((x_1, \dots, x_m), (x_{m+1}, \dots, x_{2m}), \dots)

    The first axis of a sample, its features or its channels, becomes m times as long: ``D(pack(x, 2))``
    judges two samples of one kind at a time, with a D of twice as many inputs.

    Args:
        x: samples, ``(seeds, batch, features, ...)``.
        m: how many to a pack; the batch has to be a multiple of it.

    Returns:
        The packs, ``(seeds, batch / m, m * features, ...)``.

    Raises:
        TypeError: if x is not a floating-point tensor, or m not a whole number.
        ValueError: if m is below 1 or does not divide the batch, or x has no batch and feature axes.

    References:
        Lin et al. (2018). https://arxiv.org/abs/1712.04086
    """
    _checks.floating("x", x, "(seeds, batch, features, ...)")
    _checks.whole("m", m)
    if x.dim() < 3 or x.shape[1] % m:
        raise ValueError(
            f"x must have shape (seeds, batch, features, ...) with a batch that m = {m} divides, "
            f"not {tuple(x.shape)}."
        )
    packs: Tensor = x.unflatten(1, (-1, m)).flatten(2, 3)
    return packs

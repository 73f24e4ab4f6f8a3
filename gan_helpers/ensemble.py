"""K independent networks as one module, stacked on a leading *seed axis*.

Training one small network leaves most of a processor idle. K of them, with their weights stacked, cost
little more: one batched product does the work of K small ones. No number ever passes from one member to
another, so an ensemble trains exactly as K separate runs would.

A member is written as an ordinary ``torch.nn`` module. `Ensemble` makes K of them, each from its own
random numbers, and puts a stacked layer in the place of each layer. Weights keep their names and get a
leading axis: ``weight`` of shape ``(out, in)`` becomes ``(seeds, out, in)``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_helpers import _checks
from gan_helpers.device import default_device
from gan_helpers.randomness import Stream

# Layers that treat every number by itself: a further axis changes nothing.
ELEMENTWISE = (
    nn.ELU, nn.GELU, nn.Identity, nn.LeakyReLU, nn.ReLU, nn.Sigmoid, nn.SiLU, nn.Softplus, nn.Tanh,
)  # fmt: skip


class Ensemble(nn.Module):
    """K independent networks with a leading seed axis; one network is an ensemble of one.

    Args:
        member: makes one network as a plain module, for example ``lambda: mlp(1, 50, 50, 1)``. Modules of
            your own are welcome if all that they do to the axes is counted from the last one.
        seeds: the number of members, K.
        name: which stream of random numbers the weights come from. Two ensembles of the same name and
            seed start from the same numbers, so the two players have different names.
        seed: the seed of that stream; `gan_helpers.randomness.base_seed` unless given. Member k starts
            alike in every ensemble that has a member k, and on every device.
        device: where the weights live; `gan_helpers.device.default_device` unless given.

    Raises:
        TypeError: if an argument is of the wrong type, or a layer of the member has no stacked form.
        ValueError: if ``seeds`` is below 1, there is no such device, or ``member`` returns one and the same
            network twice.
    """

    def __init__(
        self,
        member: Callable[[], nn.Module],
        seeds: int,
        *,
        name: str = "network",
        seed: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        _checks.function("member", member)
        _checks.text("name", name)
        members = [_seeded(member, Stream(f"{name}/{k}", seed)) for k in range(_checks.whole("seeds", seeds))]
        if len({id(network) for network in members}) < seeds:
            raise ValueError("member must make a new network at each call, not return the same one again.")
        self._stack(members, Stream(f"{name}/dropout", seed, default_device() if device is None else device))

    @classmethod
    def of(cls, members: Sequence[nn.Module], device: torch.device | str | None = None) -> Ensemble:
        """Return an ensemble of networks that exist already, all of one architecture.

        Args:
            members: the networks; they are copied.
            device: where the weights live; that of the first network unless given.

        Raises:
            TypeError: if an argument is of the wrong type, or a layer has no stacked form.
            ValueError: if there is no member or device, or the members differ in architecture.
        """
        for i, member in enumerate(_checks.sequence("members", members)):
            _checks.instance(f"members[{i}]", member, nn.Module)
        if not members:
            raise ValueError("members is empty: an ensemble needs at least one network.")
        if len({str(member) for member in members}) > 1:
            raise ValueError(
                "members differ in architecture: an ensemble stacks networks of one architecture."
            )
        if device is None:
            device = next((p.device for p in members[0].parameters()), torch.device("cpu"))
        ensemble = cls.__new__(cls)
        nn.Module.__init__(ensemble)
        ensemble._stack(members, Stream("network/dropout", device=device))
        return ensemble

    def _stack(self, members: Sequence[nn.Module], dropout: Stream) -> None:
        weights = [id(p) for layer in members[0].modules() for p in layer.parameters(recurse=False)]
        if len(set(weights)) < len(weights):
            raise TypeError("A weight that two layers share has no stacked form: use one layer twice.")
        self.seeds = len(members)
        self.dropout = dropout
        # A list hides the plain network from `parameters()`: it is kept for its architecture alone.
        self._plain = [copy.deepcopy(members[0]).cpu()]
        self.network = _stacked(members, dropout, {}).to(dropout.device)
        self.train(members[0].training)

    def forward(self, *inputs: Tensor) -> Any:
        """Return the outputs for one input, or a tuple of the outputs for several.

        Several inputs go through the network in one pass, joined along the batch axis: faster than one
        after the other, and the same unless a layer looks across the batch, as batch normalisation does.

        Args:
            inputs: one or more tensors of shape ``(seeds, batch, ...)``.

        Raises:
            TypeError: if an input is not a floating-point tensor of the precision of the weights.
            ValueError: if there is no input, or one does not start with the seed axis or fit the layers.
        """
        for i, x in enumerate(inputs):
            _checks.floating(f"inputs[{i}]", x, "(seeds, batch, ...)")
            if x.dim() < 3 or x.shape[0] != self.seeds:
                raise ValueError(
                    f"inputs[{i}] must have shape (seeds, batch, ...) with seeds = {self.seeds}, "
                    f"not {tuple(x.shape)}."
                )
        if len(inputs) == 1:
            return self.network(inputs[0])
        if not inputs:
            raise ValueError("An ensemble needs at least one input of shape (seeds, batch, ...).")
        return self.network(torch.cat(inputs, 1)).split([x.shape[1] for x in inputs], 1)

    def member(self, k: int) -> nn.Module:
        """Return member ``k`` as a plain network with a copy of its weights, on the CPU.

        Args:
            k: which one, from 0 to ``seeds - 1``.

        Raises:
            TypeError: if k is not a whole number.
            ValueError: if there is no such member.
        """
        if _checks.whole("k", k, at_least=0) >= self.seeds:
            raise ValueError(
                f"k must be at most {self.seeds - 1}, not {k}: the ensemble has {self.seeds} members."
            )
        plain = copy.deepcopy(self._plain[0])
        weights = {name: value[k].cpu().clone() for name, value in self.network.state_dict().items()}
        plain.load_state_dict(weights, assign=True)  # which keeps the precision
        return plain.train(self.training)

    def copy(self) -> Ensemble:
        """Return an ensemble with the same weights that shares nothing with this one and is not trained."""
        return copy.deepcopy(self).requires_grad_(False)

    def extra_repr(self) -> str:
        """Say how many members there are."""
        return f"seeds={self.seeds}"


def _seeded(member: Callable[[], nn.Module], stream: Stream) -> nn.Module:
    """Make a member from the numbers of ``stream``; torch's global stream is left as it was."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # Not torch.manual_seed, which would reseed every accelerator too.
        torch.default_generator.manual_seed(stream.generator.initial_seed())
        network = member()
    if not isinstance(network, nn.Module):
        raise TypeError(f"member must return a torch.nn.Module, not {type(network).__name__}.")
    return network


def _stacked(layers: Sequence[nn.Module], dropout: Stream, made: dict[int, nn.Module]) -> nn.Module:
    """Return the stacked form of the same layer of all members; a layer used twice stays one layer."""
    first = layers[0]
    if id(first) not in made:
        made[id(first)] = _stack_anew(layers, dropout, made)
    return made[id(first)]


def _stack_anew(layers: Sequence[nn.Module], dropout: Stream, made: dict[int, nn.Module]) -> nn.Module:
    first: Any = layers[0]
    kind = type(first)  # not isinstance: a subclass may compute something else
    twin: nn.Module = copy.deepcopy(first)
    if kind in ELEMENTWISE:
        return twin
    if kind is nn.Dropout:
        return _Dropout(first.p, dropout)
    if kind is nn.Flatten:
        return nn.Flatten(_past_seeds(first.start_dim), _past_seeds(first.end_dim))
    if kind is nn.Unflatten:
        return nn.Unflatten(_past_seeds(first.dim), first.unflattened_size)
    if kind in STACKED:
        return STACKED[kind](layers)
    children = {name: child for name, child in first._modules.items() if child is not None}
    own = [*first.parameters(recurse=False), *first.buffers(recurse=False)]
    if own or not (children or _is_own(first)):
        known = [kind.__name__ for kind in (*STACKED, nn.Dropout, nn.Flatten, nn.Unflatten, *ELEMENTWISE)]
        raise TypeError(f"{kind.__name__} has no stacked form: build members of {', '.join(known)}.")
    for name in children:
        setattr(twin, name, _stacked([getattr(layer, name) for layer in layers], dropout, made))
    return twin


def _is_own(layer: nn.Module) -> bool:
    """Tell whether a layer without weights or children was written outside torch."""
    return not type(layer).__module__.startswith("torch.")


def _past_seeds(axis: int) -> int:
    """Return an axis counted from the front as it is behind the seed axis."""
    return axis if axis < 0 else axis + 1


class _Stacked(nn.Module):
    """Parameters and buffers of K equal layers, each with a leading seed axis."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        for name, parameter in layers[0].named_parameters():
            values = torch.stack([layer.get_parameter(name).detach() for layer in layers])
            self.register_parameter(name, nn.Parameter(values, requires_grad=parameter.requires_grad))
        for name, _ in layers[0].named_buffers():
            self.register_buffer(name, torch.stack([layer.get_buffer(name) for layer in layers]))
        self.seeds = len(layers)
        self.kind = type(layers[0]).__name__

    def _takes(self, x: Tensor, size: int, *dims: int) -> None:
        """Check that an input has the precision of the weights, so many features or channels, and axes."""
        if (weight := self._parameters.get("weight")) is not None:
            _checks.like_weights("inputs", x, weight)
        if x.dim() not in dims or x.shape[2] != size:
            rest = ", height, width" if dims == (5,) else ""
            raise ValueError(
                f"inputs must reach {self.kind} as (seeds, batch, {size}{rest}), not {tuple(x.shape)}."
            )


class _Linear(_Stacked):
    """K linear layers: (seeds, batch, in) to (seeds, batch, out)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__(layers)
        self.has_bias = layers[0].bias is not None

    def forward(self, x: Tensor) -> Tensor:
        self._takes(x, self.weight.shape[2], 3)
        if not self.has_bias:
            return torch.bmm(x, self.weight.mT)
        if x.shape[2] == 1:  # one feature: each product is a single number
            return torch.addcmul(self.bias.unsqueeze(1), x, self.weight.mT)
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.mT)


class _Dropout(nn.Module):
    """Dropout whose masks come from the ensemble's own stream."""

    def __init__(self, p: float, stream: Stream) -> None:
        super().__init__()
        self.p = p
        self.stream = stream

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        if self.p == 1.0:
            return torch.zeros_like(x)
        return x * self.stream.keep(1 - self.p, like=x).div_(1 - self.p)


def _fold(x: Tensor) -> Tensor:
    """Join seeds and channels: (seeds, batch, channels, ...) to (batch, seeds * channels, ...)."""
    return x.transpose(0, 1).flatten(1, 2)


def _unfold(x: Tensor, seeds: int) -> Tensor:
    """Undo `_fold`."""
    unfolded: Tensor = x.unflatten(1, (seeds, -1))
    return unfolded.transpose(0, 1)


class _BatchNorm(_Stacked):
    """K batch normalisations: each seed's statistics are its own."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, layers: Sequence[nn.BatchNorm1d | nn.BatchNorm2d]) -> None:
        super().__init__(layers)
        self.eps, self.affine = layers[0].eps, layers[0].affine
        self.features = layers[0].num_features
        self.dims = (3, 4) if self.kind == "BatchNorm1d" else (5,)
        self.momentum, self.tracks = layers[0].momentum, layers[0].track_running_stats
        if self.momentum is None:
            raise TypeError(
                "BatchNorm with momentum=None has no stacked form: give it a momentum, such as 0.1."
            )

    def forward(self, x: Tensor) -> Tensor:
        self._takes(x, self.features, *self.dims)
        if self.training and self.tracks:
            self.num_batches_tracked += 1
        folded = F.batch_norm(
            _fold(x),
            self.running_mean.flatten() if self.tracks else None,
            self.running_var.flatten() if self.tracks else None,
            self.weight.flatten() if self.affine else None,
            self.bias.flatten() if self.affine else None,
            training=self.training or not self.tracks,
            momentum=self.momentum or 0.0,
            eps=self.eps,
        )
        return _unfold(folded, self.seeds)


class _Convolution(_Stacked):
    """K convolutions as one with K times the groups: (seeds, batch, channels, height, width)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layers: Sequence[nn.Conv2d | nn.ConvTranspose2d]) -> None:
        super().__init__(layers)
        layer = layers[0]
        if layer.padding_mode != "zeros":
            raise TypeError(
                f"{type(layer).__name__} with padding_mode={layer.padding_mode!r} has no stacked form."
            )
        self.options: dict[str, Any] = {
            "stride": layer.stride,
            "padding": layer.padding,
            "dilation": layer.dilation,
            "groups": layer.groups * self.seeds,
        }
        self.channels = layer.in_channels
        self.convolve: Callable[..., Tensor] = F.conv2d
        if isinstance(layer, nn.ConvTranspose2d):
            self.options["output_padding"] = layer.output_padding
            self.convolve = F.conv_transpose2d
        self.has_bias = layer.bias is not None

    def forward(self, x: Tensor) -> Tensor:
        self._takes(x, self.channels, 5)
        bias = self.bias.flatten() if self.has_bias else None
        return _unfold(self.convolve(_fold(x), self.weight.flatten(0, 1), bias, **self.options), self.seeds)


STACKED: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    nn.Linear: _Linear,
    nn.BatchNorm1d: _BatchNorm,
    nn.BatchNorm2d: _BatchNorm,
    nn.Conv2d: _Convolution,
    nn.ConvTranspose2d: _Convolution,
}

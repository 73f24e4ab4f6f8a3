"""The stacked form of a network: K equal layers as one, which computes for each seed what its layer would.

What has no such form, and what would be lost in it, is refused by name: hooks, layers in a plain list, plain
attributes that differ between the members.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm

from gan_helpers import _checks
from gan_helpers.randomness import Stream

IN_TURN = "give stacked=False, which runs the members one after the other"

# Layers that treat every number by itself: a further axis changes nothing.
ELEMENTWISE = (
    nn.ELU, nn.GELU, nn.Identity, nn.LeakyReLU, nn.ReLU, nn.Sigmoid, nn.SiLU, nn.Softplus, nn.Tanh,
)  # fmt: skip

# What every module has; all else that is no parameter, buffer or child, its class has put there.
COMMON = vars(nn.Module()).keys() - {"training"}
PLAIN = bool | int | float | str | None  # what a message can show
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def stacked(members: Sequence[nn.Module], dropout: Stream) -> nn.Module:
    """Return the stacked form of networks of one architecture; `dropout` gives the masks.

    Raises:
        TypeError: if a layer has none, or holds what would be lost.
    """
    weights = [id(p) for layer in members[0].modules() for p in layer.parameters(recurse=False)]
    if len(set(weights)) < len(weights):
        raise TypeError(
            f"A weight that two layers share has no stacked form: use one layer twice, or {IN_TURN}."
        )
    return _stacked(members, dropout, {})


def _stacked(layers: Sequence[nn.Module], dropout: Stream, made: dict[int, nn.Module]) -> nn.Module:
    """Return the stacked form of the same layer of all members; a layer used twice stays one layer."""
    first = layers[0]
    if id(first) not in made:
        made[id(first)] = _stack_anew(layers, dropout, made)
    return made[id(first)]


def _stack_anew(layers: Sequence[nn.Module], dropout: Stream, made: dict[int, nn.Module]) -> nn.Module:
    first: Any = layers[0]
    kind = type(first)  # not isinstance: a subclass may compute something else
    if parametrize.is_parametrized(first):
        return _with_spectral_norm(layers)
    children = {name: child for name, child in first._modules.items() if child is not None}
    if kind not in KNOWN:
        own = [*first.parameters(recurse=False), *first.buffers(recurse=False)]
        if own or not (children or _is_own(first)):
            known = ", ".join(kind.__name__ for kind in KNOWN)
            raise TypeError(f"{kind.__name__} has no stacked form: build members of {known}, or {IN_TURN}.")
    _refuse_what_would_be_lost(layers)
    if kind in STACKED:
        return STACKED[kind](layers)
    if kind is nn.Dropout:
        return Dropout(first.p, dropout)
    if kind is nn.Flatten:
        return nn.Flatten(_past_seeds(first.start_dim), _past_seeds(first.end_dim))
    if kind is nn.Unflatten:
        return nn.Unflatten(_past_seeds(first.dim), first.unflattened_size)
    twin: nn.Module = copy.deepcopy(first)
    for name in children:
        setattr(twin, name, _stacked([getattr(layer, name) for layer in layers], dropout, made))
    return twin


def _with_spectral_norm(layers: Sequence[nn.Module]) -> nn.Module:
    """Return the stacked form of layers whose weights are over their spectral norms."""
    first: Any = layers[0]
    kind = parametrize.type_before_parametrizations(first)
    found = {name: [type(part).__name__ for part in parts] for name, parts in first.parametrizations.items()}
    if kind not in NORMALISED or found != {"weight": [_SpectralNorm.__name__]}:
        shown = ", ".join(f"{name} by {' and '.join(parts)}" for name, parts in found.items())
        known = ", ".join(kind.__name__ for kind in NORMALISED)
        raise TypeError(
            f"{kind.__name__} that computes its {shown} has no stacked form: take spectral_norm of the "
            f"weight of {known}, or {IN_TURN}."
        )
    norms: list[Any] = [layer.get_submodule("parametrizations.weight.0") for layer in layers]
    for parts in (layers, norms):
        _refuse_what_would_be_lost(parts)
    twin = STACKED[kind]([_bare(layer) for layer in layers])
    parametrize.register_parametrization(twin, "weight", _Spectral(norms), unsafe=True)  # unasked, no step
    return twin


def _bare(layer: Any) -> nn.Module:
    """Return a layer that has as its weight what a parametrisation computes its weight from."""
    bare: nn.Module = object.__new__(parametrize.type_before_parametrizations(layer))
    weights = {**layer._parameters, "weight": layer.parametrizations.weight.original}
    vars(bare).update(vars(layer), _parameters=weights, _modules={})
    return bare


def _is_own(layer: nn.Module) -> bool:
    """Tell whether a layer without weights or children was written outside torch."""
    return not type(layer).__module__.startswith("torch.")


def _past_seeds(axis: int) -> int:
    """Return an axis counted from the front as it is behind the seed axis."""
    return axis if axis < 0 else axis + 1


# What would be lost


def _refuse_what_would_be_lost(layers: Sequence[nn.Module]) -> None:
    """Check that the same layer of all members is no more than its class, its weights and its children."""
    kind = type(layers[0]).__name__
    for layer in layers:
        for place in HOOKS:
            for hook in getattr(layer, place).values():
                name = getattr(hook, "__name__", type(hook).__name__)
                raise TypeError(
                    f"{kind} has a hook, {name}, which has no stacked form: remove it, or {IN_TURN}."
                )
        if "forward" in vars(layer):
            raise TypeError(
                f"{kind} has a forward of its own, set on the instance, which has no stacked form: "
                f"write a class, or {IN_TURN}."
            )
    states = [{k: v for k, v in vars(layer).items() if k not in COMMON} for layer in layers]
    for name in dict.fromkeys(name for state in states for name in state):
        value, *others = (state.get(name) for state in states)
        if any(isinstance(part, nn.Module | nn.Parameter) for part in _parts(value)):
            raise TypeError(
                f"{kind} keeps layers or weights in {name}, a plain {type(value).__name__}, where they are "
                f"not seen: use nn.ModuleList, or {IN_TURN}."
            )
        for k, other in enumerate(others, start=1):
            if not _same(value, other):
                shown = f", {other!r} and {value!r}" if isinstance(value, PLAIN) else ""
                raise TypeError(
                    f"{kind} has another {name} in member {k} than in member 0{shown}. In an ensemble they "
                    f"share what is no parameter: make it the same, or {IN_TURN}."
                )


def _parts(value: object) -> Iterator[object]:
    """Yield a value, and what is inside it if it is a container."""
    yield value
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _parts(part)


def _same(one: Any, other: Any) -> bool:
    """Tell whether two plain values are the same; of what can't be compared, the first call tells more."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return torch.equal(one, other.to(one.device))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, float):
        return repr(one) == repr(other)  # NaN is itself
    if type(one).__eq__ is object.__eq__:  # type: ignore[comparison-overlap]
        return True
    equal = one == other
    return bool(equal.all() if hasattr(equal, "all") else equal)


# The layers


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

    def _takes(self, x: Tensor, size: int | None, *dims: int) -> None:
        """Check that an input has the precision of the weights, so many features or channels, and axes."""
        if (weight := next(self.parameters(), None)) is not None:
            _checks.like_weights("inputs", x, weight)
        if x.dim() not in dims or size not in (None, x.shape[2]):
            shape = f"(seeds, batch, {size or 'channels'}{', height, width' if dims == (5,) else ''})"
            raise ValueError(f"inputs must reach {self.kind} as {shape}, not {tuple(x.shape)}.")


class _Linear(_Stacked):
    """K linear layers: (seeds, batch, in) to (seeds, batch, out)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__(layers)
        self.features, self.has_bias = layers[0].in_features, layers[0].bias is not None

    def forward(self, x: Tensor) -> Tensor:
        self._takes(x, self.features, 3)
        weight = self.weight.mT
        if not self.has_bias:
            return torch.bmm(x, weight)
        if x.shape[2] == 1:  # one feature: each product is a single number
            return torch.addcmul(self.bias.unsqueeze(1), x, weight)
        return torch.baddbmm(self.bias.unsqueeze(1), x, weight)


class Dropout(nn.Module):
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
                f"BatchNorm with momentum=None has no stacked form: give it one, such as 0.1, or {IN_TURN}."
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


class _GroupNorm(_Stacked):
    """K group normalisations as one with K times the groups."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layers: Sequence[nn.GroupNorm]) -> None:
        super().__init__(layers)
        self.groups, self.eps, self.affine = layers[0].num_groups, layers[0].eps, layers[0].affine
        self.channels = layers[0].num_channels

    def forward(self, x: Tensor) -> Tensor:
        self._takes(x, self.channels, 3, 4, 5, 6)
        folded = F.group_norm(
            _fold(x),
            self.groups * self.seeds,
            self.weight.flatten() if self.affine else None,
            self.bias.flatten() if self.affine else None,
            self.eps,
        )
        return _unfold(folded, self.seeds)


class _LayerNorm(_Stacked):
    """K layer normalisations: as one without weights, and then the weights of each seed."""

    def __init__(self, layers: Sequence[nn.LayerNorm]) -> None:
        super().__init__(layers)
        self.shape, self.eps = layers[0].normalized_shape, layers[0].eps

    def forward(self, x: Tensor) -> Tensor:
        self._takes(x, None, x.dim())
        if x.shape[1:][-len(self.shape) :] != self.shape:
            shape = f"(seeds, ..., {', '.join(map(str, self.shape))})"
            raise ValueError(f"inputs must reach LayerNorm as {shape}, not {tuple(x.shape)}.")
        normal = F.layer_norm(x, self.shape, eps=self.eps)
        ones = [1] * (x.dim() - 1 - len(self.shape))
        for name, parameter in self.named_parameters():
            seen = parameter.view(self.seeds, *ones, *self.shape)
            normal = normal * seen if name == "weight" else normal + seen
        return normal


class _Convolution(_Stacked):
    """K convolutions, on a GPU as one with K times the groups: (seeds, batch, channels, height, width)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layers: Sequence[nn.Conv2d | nn.ConvTranspose2d]) -> None:
        super().__init__(layers)
        layer = layers[0]
        if layer.padding_mode != "zeros":
            raise TypeError(
                f"{type(layer).__name__} with padding_mode={layer.padding_mode!r} has no stacked form: "
                f"take zeros, or {IN_TURN}."
            )
        self.options: dict[str, Any] = {
            "stride": layer.stride,
            "padding": layer.padding,
            "dilation": layer.dilation,
        }
        self.channels, self.groups = layer.in_channels, layer.groups
        self.convolve: Callable[..., Tensor] = F.conv2d
        if isinstance(layer, nn.ConvTranspose2d):
            self.options["output_padding"] = layer.output_padding
            self.convolve = F.conv_transpose2d
        self.has_bias = layer.bias is not None
        self.columns = _Columns(layer) if _Columns.are_faster(layer) else None

    def forward(self, x: Tensor) -> Tensor:
        self._takes(x, self.channels, 5)
        if x.device.type != "cpu":
            return self.grouped(x)
        if self.columns:
            bias = self.bias.flatten() if self.has_bias else None
            return _unfold(self.columns(_fold(x), self.weight, bias), self.seeds)
        return self.in_turn(x)

    def grouped(self, x: Tensor) -> Tensor:
        """Convolve all seeds at once."""
        bias = self.bias.flatten() if self.has_bias else None
        groups = self.groups * self.seeds
        y = self.convolve(_fold(x), self.weight.flatten(0, 1), bias, groups=groups, **self.options)
        return _unfold(y, self.seeds)

    def in_turn(self, x: Tensor) -> Tensor:
        """Convolve seed by seed, which is faster on a processor: its groups are slow, backwards above all."""
        biases = self.bias if self.has_bias else [None] * self.seeds
        each = zip(x, self.weight, biases, strict=True)
        return _unfold(
            torch.cat([self.convolve(*of, groups=self.groups, **self.options) for of in each], 1), self.seeds
        )


class _Columns:
    """A convolution of grey images, or a transposed one to them, as products with columns of pixels.

    On a processor PyTorch's own convolutions are slow where there is one channel, their gradients above all.
    """

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
        self.kernel, self.dilation, self.stride = layer.kernel_size, layer.dilation, layer.stride
        self.padding: Any = layer.padding
        self.more = layer.output_padding if isinstance(layer, nn.ConvTranspose2d) else None

    @staticmethod
    def are_faster(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
        """Tell whether a layer has one channel on the side of the image, and moves by more than a pixel."""
        grey = layer.out_channels if isinstance(layer, nn.ConvTranspose2d) else layer.in_channels
        return grey == 1 and min(layer.stride) > 1 and not isinstance(layer.padding, str)

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve ``(batch, seeds * channels, height, width)`` with ``(seeds, ...)``."""
        places = self.kernel, self.dilation, self.padding, self.stride
        sizes = zip(x.shape[2:], *places, self.more or (0, 0), strict=True)
        matrix = weight.flatten(2)
        if self.more is None:
            size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s, _ in sizes]
            columns = F.unfold(x, *places).unflatten(1, (len(weight), -1))
            y = (matrix @ columns).flatten(1, 2).unflatten(2, size)
        else:
            size = [(n - 1) * s - 2 * p + d * (k - 1) + m + 1 for n, k, d, p, s, m in sizes]
            columns = matrix.mT @ x.unflatten(1, (len(weight), -1)).flatten(3)
            y = F.fold(columns.flatten(1, 2), (size[0], size[1]), *places)
        shifted: Tensor = y if bias is None else y + bias.view(-1, 1, 1)
        return shifted


class _OfChannels(_Stacked):
    """A layer that treats every channel by itself: seeds join the channels."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__(layers)
        self.layer = copy.deepcopy(layers[0])

    def forward(self, x: Tensor) -> Tensor:
        self._takes(x, None, 5)
        return _unfold(self.layer(_fold(x)), self.seeds)


class _Spectral(_Stacked):
    """K spectral norms: a weight (seeds, ...) over the largest singular value of each seed's matrix."""

    _u: Tensor
    _v: Tensor

    def __init__(self, layers: Sequence[_SpectralNorm]) -> None:
        super().__init__(layers)
        self.dim, self.eps, self.steps = layers[0].dim, layers[0].eps, layers[0].n_power_iterations

    def forward(self, weight: Tensor) -> Tensor:
        matrix = weight.movedim(self.dim + 1, 1).flatten(2)
        u, v = self._u.clone().unsqueeze(2), self._v.clone().unsqueeze(2)  # a later step leaves them alone
        if self.training:
            with torch.no_grad():
                for _ in range(self.steps):
                    u = F.normalize(matrix @ v, dim=1, eps=self.eps)
                    v = F.normalize(matrix.mT @ u, dim=1, eps=self.eps)
                self._u.copy_(u.squeeze(2))
                self._v.copy_(v.squeeze(2))
        largest = u.mT @ matrix @ v
        return weight / largest.view(-1, *[1] * (weight.dim() - 1))


class _Embedding(_Stacked):
    """K tables: labels (seeds, batch, ...) to (seeds, batch, ..., features)."""

    weight: Tensor

    def __init__(self, layers: Sequence[nn.Embedding]) -> None:
        super().__init__(layers)
        for option in ("padding_idx", "max_norm", "scale_grad_by_freq", "sparse"):
            if (value := getattr(layers[0], option)) is not None and value is not False:
                raise TypeError(
                    f"Embedding with {option}={value!r} has no stacked form: leave it out, or {IN_TURN}."
                )

    def forward(self, x: Tensor) -> Tensor:
        # Not F.embedding with shifted labels: one that is too large would read the next member's table.
        weight = self.weight
        labels = x.flatten(1).unsqueeze(2).expand(-1, -1, weight.shape[2])
        features: Tensor = weight.gather(1, labels).unflatten(1, x.shape[1:])
        return features


STACKED: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    nn.Linear: _Linear,
    nn.Embedding: _Embedding,
    nn.BatchNorm1d: _BatchNorm,
    nn.BatchNorm2d: _BatchNorm,
    nn.Conv2d: _Convolution,
    nn.ConvTranspose2d: _Convolution,
    nn.GroupNorm: _GroupNorm,
    nn.LayerNorm: _LayerNorm,
    nn.Upsample: _OfChannels,
    nn.PixelShuffle: _OfChannels,
    nn.AvgPool2d: _OfChannels,
    nn.MaxPool2d: _OfChannels,
    nn.AdaptiveAvgPool2d: _OfChannels,
}
NORMALISED = (nn.Linear, nn.Embedding, nn.Conv2d, nn.ConvTranspose2d)  # by spectral_norm
KNOWN = (*STACKED, nn.Dropout, nn.Flatten, nn.Unflatten, *ELEMENTWISE)

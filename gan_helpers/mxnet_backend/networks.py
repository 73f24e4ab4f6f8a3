"""Networks: perceptrons in Gluon, and ensembles of them with a leading seed axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gan_helpers import _checks
from gan_helpers.mxnet_backend.arrays import array, default_device, numbers
from gan_helpers.mxnet_backend.importing import mx, nd
from gan_helpers.randomness import Stream

_Initializer: Any = mx.init.Initializer
_Block: Any = mx.gluon.Block


@dataclass(frozen=True)
class _Elementwise:
    """An activation, its slope in operators that can be differentiated, and how Gluon writes it."""

    f: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    block: Callable[[], Any]


def _named(kind: str) -> _Elementwise:
    slopes: dict[str, Callable[[Any], Any]] = {
        "tanh": lambda v: 1 - nd.tanh(v) ** 2,
        "sigmoid": lambda v: nd.sigmoid(v) * (1 - nd.sigmoid(v)),
        "softrelu": nd.sigmoid,
        # A comparison has no gradient, and asking for one ends the process: its argument is detached.
        "relu": lambda v: v.detach() > 0,
    }
    if kind not in slopes:
        raise TypeError(f"activation {kind!r} has no stacked form: use one of {', '.join(slopes)}.")
    return _Elementwise(
        lambda v: nd.Activation(v, act_type=kind), slopes[kind], lambda: mx.gluon.nn.Activation(kind)
    )


def _leaky(alpha: float) -> _Elementwise:
    return _Elementwise(
        lambda v: nd.LeakyReLU(v, slope=alpha),
        lambda v: (v.detach() > 0) * (1 - alpha) + alpha,
        lambda: mx.gluon.nn.LeakyReLU(alpha),
    )


def mlp(*sizes: int, activation: str | float = "tanh") -> Any:
    """Return a multilayer perceptron in Gluon: dense layers with an activation between each two.

    Args:
        sizes: features of the input, of each hidden layer and of the output; ``mlp(2, 5, 3, 2)`` has three
            dense layers.
        activation: the name of Gluon's activation, or the slope of a leaky rectifier below 0.

    Returns:
        A ``gluon.nn.Sequential`` without numbers yet; its last layer is linear.
    """
    if not isinstance(activation, str):
        _checks.number("activation", activation, at_least=0.0)
    if len(sizes) < 2:
        raise ValueError(f"mlp needs at least two sizes, of its input and its output, not {sizes}.")
    widths = [_checks.whole(f"sizes[{i}]", size) for i, size in enumerate(sizes)]
    network = mx.gluon.nn.Sequential()
    for i, (fan_in, fan_out) in enumerate(zip(widths, widths[1:], strict=False)):
        if i:
            act = _named(activation) if isinstance(activation, str) else _leaky(activation)
            network.add(act.block())
        network.add(mx.gluon.nn.Dense(fan_out, in_units=fan_in))
    return network


class _Drawn(_Initializer):  # type: ignore[misc]
    """Gives weights normal numbers from a stream, and leaves biases at Gluon's 0."""

    def __init__(self, sd: float, stream: Stream) -> None:
        super().__init__()
        self._sd, self._stream = sd, stream

    def _init_weight(self, _: str, weight: Any) -> None:
        weight[:] = array(self._stream.normal(*weight.shape), like=weight) * self._sd


class Ensemble(_Block):  # type: ignore[misc]
    """K independent Gluon networks with a leading seed axis; one network is an ensemble of one.

    The dense layers of the members are stacked, and one ``batch_dot`` does the products of all. It is a
    block like any other: ``collect_params`` gives its weights, for a ``gluon.Trainer`` too.

    Args:
        member: makes one network, such as ``lambda: mlp(2, 5, 3, 2)``: a ``Sequential`` of ``Dense``,
            ``Activation`` and ``LeakyReLU``, with ``in_units`` given and without numbers yet.
        seeds: the number of members, K.
        name: which stream of random numbers the weights come from.
        seed: the seed of that stream; `gan_helpers.randomness.base_seed` unless given.
        sd: the standard deviation of the first weights. Biases start at 0.
        device: an ``mx.Context``; `default_device` unless given.

    Raises:
        TypeError: if a layer has no stacked form.
    """

    def __init__(
        self,
        member: Callable[[], Any],
        seeds: int,
        *,
        name: str = "network",
        seed: int | None = None,
        sd: float = 0.02,
        device: Any = None,
    ) -> None:
        super().__init__()
        _checks.number("sd", sd, at_least=0.0)
        _checks.function("member", member)
        _checks.text("name", name)
        if device is not None:
            _checks.instance("device", device, mx.Context)
        members = [member() for _ in range(_checks.whole("seeds", seeds))]
        for k, network in enumerate(members):
            drawn = _Drawn(sd, Stream(f"{name}/{k}", seed))
            network.initialize(drawn, ctx=default_device() if device is None else device)
        self._stack(members)

    @classmethod
    def of(cls, members: Sequence[Any]) -> Ensemble:
        """Return an ensemble of networks that exist already and have their weights, which are copied.

        Args:
            members: Gluon networks of one architecture.

        Raises:
            TypeError: if a layer has no stacked form.
            ValueError: if there is no member, or the members differ in architecture.
        """
        for i, member in enumerate(_checks.sequence("members", members)):
            _checks.instance(f"members[{i}]", member, _Block)
        if not members:
            raise ValueError("members is empty: an ensemble needs at least one network.")
        ensemble = cls.__new__(cls)
        _Block.__init__(ensemble)
        ensemble._stack(members)
        return ensemble

    def _stack(self, members: Sequence[Any]) -> None:
        plans = [list(_layers(member)) for member in members]
        shapes = [[layer.weight.shape if _is_dense(layer) else repr(layer) for layer in p] for p in plans]
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError(
                "members differ in architecture: an ensemble stacks networks of one architecture."
            )
        self.seeds = len(members)
        # Each entry is an activation, or the names of the weights and the biases of a dense layer.
        self._plan: list[_Elementwise | tuple[str, str]] = []
        for i, layers in enumerate(zip(*plans, strict=True)):
            if not _is_dense(layers[0]):
                self._plan.append(_elementwise(layers[0]))
                continue
            names = (f"weight{i}", f"bias{i}")
            self._keep(names[0], nd.stack(*[layer.weight.data() for layer in layers]))
            self._keep(names[1], nd.stack(*[layer.bias.data().expand_dims(0) for layer in layers]))
            self._plan.append(names)

    def _keep(self, name: str, values: Any) -> None:
        """Make a Gluon parameter of these values."""
        parameter = self.params.get(name, shape=values.shape, dtype=values.dtype)
        parameter.initialize(mx.init.Zero(), ctx=values.context)
        parameter.set_data(values)
        setattr(self, name, parameter)

    def weights(self) -> list[Any]:
        """Return the values of all weights and biases, in the order of the layers."""
        return [getattr(self, name).data() for names in self._dense for name in names]

    @property
    def _dense(self) -> list[tuple[str, str]]:
        return [step for step in self._plan if not isinstance(step, _Elementwise)]

    def forward(self, *inputs: Any) -> Any:
        """Return the outputs for one input, or a list of the outputs for several.

        Several inputs go through the network in one pass, joined along the batch axis.

        Args:
            inputs: one or more NDArrays, ``(seeds, batch, features)``.
        """
        if not inputs:
            raise ValueError("An ensemble needs at least one input of shape (seeds, batch, features).")
        for i, x in enumerate(inputs):
            numbers(f"inputs[{i}]", x)
            if x.ndim != 3 or x.shape[0] != self.seeds:
                raise ValueError(
                    f"inputs[{i}] must have shape (seeds, batch, features) with seeds = {self.seeds}, "
                    f"not {x.shape}."
                )
        x = inputs[0] if len(inputs) == 1 else nd.concat(*inputs, dim=1)
        for step in self._plan:
            x = self._apply(step, x)
        if len(inputs) == 1:
            return x
        ends = np.cumsum([0, *(each.shape[1] for each in inputs)]).tolist()
        return [nd.slice_axis(x, axis=1, begin=a, end=b) for a, b in zip(ends, ends[1:], strict=False)]

    def _apply(self, step: _Elementwise | tuple[str, str], x: Any) -> Any:
        if isinstance(step, _Elementwise):
            return step.f(x)
        weight, bias = (getattr(self, name).data() for name in step)
        # Not broadcast_add, whose gradient for the bias takes MXNet five times as long as this product does.
        ones = nd.ones((*x.shape[:2], 1), ctx=x.context, dtype=x.dtype)
        return nd.batch_dot(x, weight, transpose_b=True) + nd.batch_dot(ones, bias)

    def slopes(self, x: Any, outputs: Sequence[float] = (1.0,)) -> Any:
        r"""Return the gradient of the output with respect to each input, in ordinary operators.

        .. math:: \nabla_x a(x) = W_1^\top \operatorname{diag}(f'(v_1)) \, W_2^\top \cdots W_n^\top

        Args:
            x: where it is taken, ``(seeds, batch, features)``.
            outputs: of several outputs, what each counts in the sum whose gradient is taken: ``(-1, 1)`` for
                the second less the first.

        Returns:
            The gradients, shaped as x, which can be differentiated with respect to the weights.

        Raises:
            TypeError: if ``outputs`` is no sequence of numbers.
            ValueError: if the network has another number of outputs.
        """
        for i, weight in enumerate(_checks.sequence("outputs", outputs)):
            _checks.number(f"outputs[{i}]", weight)
        passed = [numbers("x", x, "(seeds, batch, features)", dims=3)]
        for step in self._plan:
            passed.append(self._apply(step, passed[-1]))
        output = passed.pop()
        if output.shape[2] != len(outputs):
            asked = "one output" if len(outputs) == 1 else f"{len(outputs)} outputs"
            raise ValueError(f"The slope is that of {asked}, but the network has {output.shape[2]}.")
        # Not ones_like: backward would end the process there, as it does at a comparison.
        one, like = (*output.shape[:2], 1), {"ctx": output.context, "dtype": output.dtype}
        gradient = nd.concat(*(nd.full(one, weight, **like) for weight in outputs), dim=2)
        for step, v in zip(reversed(self._plan), reversed(passed), strict=True):
            if isinstance(step, _Elementwise):
                gradient = gradient * step.slope(v)
            else:
                gradient = nd.batch_dot(gradient, getattr(self, step[0]).data())
        return gradient

    def member(self, k: int) -> Any:
        """Return member ``k`` as a plain Gluon network with a copy of its weights.

        Args:
            k: which one, from 0 to ``seeds - 1``.
        """
        if _checks.whole("k", k, at_least=0) >= self.seeds:
            raise ValueError(
                f"k must be at most {self.seeds - 1}, not {k}: the ensemble has {self.seeds} members."
            )
        network = mx.gluon.nn.Sequential()
        for step in self._plan:
            if isinstance(step, _Elementwise):
                network.add(step.block())
                continue
            weight, bias = (getattr(self, name).data()[k] for name in step)
            layer = mx.gluon.nn.Dense(weight.shape[0], in_units=weight.shape[1], dtype=weight.dtype)
            layer.initialize(mx.init.Zero(), ctx=weight.context)
            layer.weight.set_data(weight)
            layer.bias.set_data(bias[0])
            network.add(layer)
        return network

    def copy(self) -> Ensemble:
        """Return an ensemble with the same weights that shares nothing with this one."""
        return type(self).of([self.member(k) for k in range(self.seeds)])


def _layers(network: Any) -> Iterator[Any]:
    """Yield the layers of a network one after the other; the activation of a dense layer follows it."""
    nn = mx.gluon.nn
    if isinstance(network, nn.Sequential | nn.HybridSequential):
        for child in network._children.values():
            yield from _layers(child)
    elif _is_dense(network):
        yield network
        if network.act is not None:
            yield network.act
    elif isinstance(network, nn.Activation | nn.LeakyReLU):
        yield network
    else:
        known = "Sequential, HybridSequential, Dense, Activation, LeakyReLU"
        raise TypeError(f"{type(network).__name__} has no stacked form: build members of {known}.")


def _is_dense(layer: Any) -> bool:
    return isinstance(layer, mx.gluon.nn.Dense)


def _elementwise(layer: Any) -> _Elementwise:
    if isinstance(layer, mx.gluon.nn.LeakyReLU):
        return _leaky(layer._alpha)
    return _named(layer._act_type)

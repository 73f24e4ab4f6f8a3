r"""Ensembles, losses and training in MXNet, under the names that they have in torch.

This is the one place that imports MXNet. Its last release, 1.9.1, was written for an older NumPy, so NumPy
is lent its former names while MXNet is imported, and is then left as it was. Samplers are those of
`gan_helpers.data`, drawn from the same `Stream`: both frameworks can be given the same numbers. What comes
out for metrics, plots and claims is a torch tensor again.

MXNet cannot differentiate twice. The slope of a discriminator, which a penalty needs, is therefore written
out in ordinary operators (`Ensemble.slopes`), and what is written out can be differentiated once.
"""

from __future__ import annotations

import importlib
import math
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from packaging.version import Version
from torch import Tensor

from gan_helpers import _checks, history
from gan_helpers.data import Gaussian, Minibatches, Resample, Sampler, StandardNormal
from gan_helpers.interrupts import interrupts
from gan_helpers.progress import someone_is_watching, tqdm
from gan_helpers.randomness import Stream

__all__ = [
    "Ensemble", "Gaussian", "History", "Minibatches", "Resample", "StandardNormal", "Stream",
    "adam", "array", "candidates", "choose_device", "default_device", "minimax_d", "minimax_g", "mlp", "mx",
    "non_saturating_g", "probe", "r1", "squared_slopes", "tensor", "train",
]  # fmt: skip

MISSING = (
    "MXNet 1.9.1 is not installed (its wheels are for Linux on x86-64 alone), so its chapter is skipped."
)

# What MXNet 1.9.1 takes from NumPy and newer releases lack. Those that are None it only passes on.
FORMER_NAMES: dict[str, Any] = {
    "bool": bool, "Inf": math.inf, "PINF": math.inf, "NINF": -math.inf, "PZERO": 0.0, "NZERO": -0.0,
    "NAN": math.nan, "NaN": math.nan, "alltrue": np.all, "sometrue": np.any, "product": np.prod,
    "in1d": np.isin, "msort": np.sort, "round_": np.round, "trapz": None, "mirr": None, "npv": None,
    "pmt": None, "ppmt": None, "pv": None, "rate": None,
}  # fmt: skip

CHECK_EVERY = 100  # steps between two looks at the losses; each look waits for MXNet's queue


def _former_distutils() -> dict[str, types.ModuleType]:
    """Return stand-ins for what MXNet takes from ``distutils``, where Python no longer has it."""
    if find_spec("distutils") is not None:
        return {}
    package, version = types.ModuleType("distutils"), types.ModuleType("distutils.version")
    vars(version).update(LooseVersion=Version, StrictVersion=Version)
    return {"distutils": package, "distutils.version": version}


@contextmanager
def _as_it_was_then() -> Iterator[None]:
    """Lend NumPy and Python, for the time of an import, what they offered when MXNet 1.9.1 was written."""
    names = {name: value for name, value in FORMER_NAMES.items() if name not in vars(np)}
    modules = _former_distutils()
    vars(np).update(names)
    sys.modules.update(modules)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name in names:
            delattr(np, name)
        for name in modules:
            del sys.modules[name]


def _import_mxnet() -> Any:
    """Return MXNet.

    Raises:
        ModuleNotFoundError: in one sentence, if it is not installed; any other failure is passed on.
    """
    try:
        with _as_it_was_then():
            mxnet = importlib.import_module("mxnet")
    except ModuleNotFoundError as error:
        if error.name != "mxnet":
            raise
        raise ModuleNotFoundError(MISSING, name="mxnet") from None
    # Before it makes an NDArray, MXNet asks whether the numbers are one of SciPy's sparse matrices, by a name
    # that SciPy warns about and will drop. Without SciPy it does not ask.
    mxnet.ndarray.utils.spsp = None
    return mxnet


mx: Any = _import_mxnet()
nd: Any = mx.nd
_Initializer: Any = mx.init.Initializer
_Block: Any = mx.gluon.Block


def _numbers(name: str, value: Any, shape: str = "", dims: int | None = None) -> Any:
    """Return ``value`` if it is an NDArray, of ``dims`` axes."""
    _checks.instance(name, value, nd.NDArray)
    if dims is not None and value.ndim != dims:
        raise ValueError(f"{name} must have shape {shape}, not {value.shape}.")
    return value


# Devices


def probe(device: Any) -> None:
    """Compute a small matrix product on ``device``, forward and backward, and wait for its value.

    Args:
        device: an ``mx.Context``.

    Raises:
        TypeError: if ``device`` is no device.
        Exception: whatever the device raises, or ArithmeticError if its answer is wrong.
    """
    _checks.instance("device", device, mx.Context)
    x = nd.ones((2, 2), ctx=device)
    x.attach_grad()
    with mx.autograd.record():
        y = nd.dot(x, x)
    y.backward()
    if x.grad.asnumpy().sum() != 16.0:
        raise ArithmeticError("a 2 x 2 matrix product came out wrong")


def candidates() -> list[Any]:
    """Return the first GPU that this build of MXNet sees, if any, as a list of none or one."""
    return [mx.gpu(0)] if mx.context.num_gpus() else []


def choose_device(devices: Iterable[Any] | None = None, probe: Callable[[Any], None] = probe) -> Any:
    """Return the first of ``devices`` on which ``probe`` computes, and the CPU if there is none.

    Args:
        devices: what to try, in this order; the GPU that MXNet sees unless given.
        probe: a function that raises when the device does not compute.

    Raises:
        TypeError: if an argument is of the wrong type.
    """
    named = candidates() if devices is None else _checks.iterable("devices", devices)
    _checks.function("probe", probe)
    for device in named:
        try:
            probe(device)
        except Exception:  # drivers fail in many ways: any of them means 'not this one'
            continue
        return device
    return mx.cpu()


def default_device() -> Any:
    """Return the ``mx.Context`` that new networks are made on."""
    return choose_device()


# Numbers


def array(values: Tensor, like: Any = None, device: Any = None) -> Any:
    """Return the numbers of a torch tensor as an NDArray.

    Args:
        values: any shape and precision.
        like: an NDArray whose precision and device are taken.
        device: an ``mx.Context``; that of ``like``, or else `default_device`, unless given.

    Raises:
        TypeError: if ``values`` is not a torch tensor, or another argument of the wrong type.
    """
    if like is not None:
        _numbers("like", like)
    if device is not None:
        _checks.instance("device", device, mx.Context)
    if not isinstance(values, Tensor):
        raise TypeError(f"values must be a torch.Tensor, not {type(values).__name__}.")
    numbers = values.detach().cpu().numpy()
    if device is None:
        device = default_device() if like is None else like.context
    return nd.array(numbers, ctx=device, dtype=numbers.dtype if like is None else like.dtype)


def tensor(values: Any) -> Tensor:
    """Return the numbers of an NDArray as a torch tensor on the CPU; this waits for them.

    Args:
        values: any shape and precision.

    Raises:
        TypeError: if ``values`` is no NDArray.
    """
    return torch.from_numpy(_numbers("values", values).asnumpy())


# Networks


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

    Raises:
        TypeError: if a size is not a whole number, or there is no such activation.
        ValueError: if there are fewer than two sizes, or one is below 1.
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
        TypeError: if an argument is of the wrong type, or a layer has no stacked form.
        ValueError: if ``seeds`` is below 1.
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
            TypeError: if ``members`` is no list of networks, or a layer has no stacked form.
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

        Raises:
            TypeError: if an input is no NDArray.
            ValueError: if there is no input, or one does not have that shape.
        """
        if not inputs:
            raise ValueError("An ensemble needs at least one input of shape (seeds, batch, features).")
        for i, x in enumerate(inputs):
            _numbers(f"inputs[{i}]", x)
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

    def slopes(self, x: Any) -> Any:
        r"""Return the gradient of the single output with respect to each input, in ordinary operators.

        .. math:: \nabla_x D(x) = W_1^\top \operatorname{diag}(f'(v_1)) \, W_2^\top \cdots W_n^\top

        Args:
            x: where it is taken, ``(seeds, batch, features)``.

        Returns:
            The gradients, shaped as x, which can be differentiated with respect to the weights.

        Raises:
            TypeError: if ``x`` is no NDArray.
            ValueError: if the network has more than one output, or ``x`` does not have that shape.
        """
        passed = [_numbers("x", x, "(seeds, batch, features)", dims=3)]
        for step in self._plan:
            passed.append(self._apply(step, passed[-1]))
        output = passed.pop()
        if output.shape[2] != 1:
            raise ValueError(f"The slope is that of one output, but the network has {output.shape[2]}.")
        # Not ones_like: backward would end the process there, as it does at a comparison.
        gradient = nd.ones(output.shape, ctx=output.context, dtype=output.dtype)
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

        Raises:
            TypeError: if k is not a whole number.
            ValueError: if there is no such member.
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


# Losses and the penalty, of logits, one number per seed


def _per_seed(values: Any) -> Any:
    return values.mean(axis=0, exclude=True)


def _softplus(values: Any) -> Any:
    return nd.Activation(values, act_type="softrelu")


def _logits(**named: Any) -> None:
    for name, logits in named.items():
        _numbers(name, logits, "(seeds, batch, 1)", dims=3)
    if len({len(logits) for logits in named.values()}) > 1:
        shapes = " and ".join(str(logits.shape) for logits in named.values())
        raise ValueError(f"{' and '.join(named)} must be of as many seeds, not of shape {shapes}.")


def minimax_d(real: Any, fake: Any) -> Any:
    """Return the negative value of the game, ``(seeds,)``; see `gan_helpers.losses.minimax_d`.

    Args:
        real: logits of real samples, ``(seeds, batch, 1)``.
        fake: logits of generated samples, ``(seeds, batch, 1)``.

    Raises:
        TypeError: if an argument is no NDArray.
        ValueError: if an argument does not have that shape.
    """
    _logits(real=real, fake=fake)
    return _per_seed(_softplus(-real)) + _per_seed(_softplus(fake))


def minimax_g(fake: Any) -> Any:
    """Return the generator's part of the value of the game, ``(seeds,)``; see `gan_helpers.losses.minimax_g`.

    Args:
        fake: logits of generated samples, ``(seeds, batch, 1)``.

    Raises:
        TypeError: if the argument is no NDArray.
        ValueError: if the argument does not have that shape.
    """
    _logits(fake=fake)
    return -_per_seed(_softplus(fake))


def non_saturating_g(fake: Any) -> Any:
    """Return the non-saturating loss, ``(seeds,)``; see `gan_helpers.losses.non_saturating_g`.

    Args:
        fake: logits of generated samples, ``(seeds, batch, 1)``.

    Raises:
        TypeError: if the argument is no NDArray.
        ValueError: if the argument does not have that shape.
    """
    _logits(fake=fake)
    return _per_seed(_softplus(-fake))


def squared_slopes(D: Ensemble, x: Any) -> Any:
    """Return the squared norm of D's gradient at each sample; see `gan_helpers.penalties.squared_slopes`.

    Args:
        D: discriminators with one output.
        x: where the slope is taken, ``(seeds, batch, features)``; no gradient flows back into x.

    Returns:
        One squared norm per sample, ``(seeds, batch)``.

    Raises:
        ValueError: if the network has more than one output.
    """
    _checks.instance("D", D, Ensemble)
    return (D.slopes(_numbers("x", x).detach()) ** 2).sum(axis=2)


def r1(D: Ensemble, x: Any) -> Any:
    """Return the mean squared slope of D at real samples, ``(seeds,)``; see `gan_helpers.penalties.r1`.

    Args:
        D: discriminators with one output.
        x: real samples, ``(seeds, batch, features)``.

    Raises:
        ValueError: if the network has more than one output.
    """
    return squared_slopes(D, x).mean(axis=1)


# Training

Loss = Callable[[Ensemble, Ensemble, Any, Any], Any]
Watch = Callable[[Ensemble], dict[str, Tensor]]


@dataclass
class History:
    """What a run of `train` leaves behind; its numbers are torch tensors on the CPU.

    Args:
        d_loss: the discriminators' losses, ``(steps, seeds)``.
        g_loss: the generators' losses, ``(steps, seeds)``.
        at: the steps at which ``watch`` was called, ``(records,)``.
        watched: what ``watch`` returned, by name, ``(records, seeds, ...)``.
        averaged: the generators' averaged weights, if an average was asked for.
        interrupted: whether the run was stopped by hand before its last step.
    """

    d_loss: Tensor
    g_loss: Tensor
    at: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    watched: dict[str, Tensor] = field(default_factory=dict)
    averaged: Ensemble | None = None
    interrupted: bool = False

    @property
    def steps(self) -> int:
        """The number of steps that were made."""
        return len(self.d_loss)


def adam(network: Any, lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> Any:
    """Return a ``gluon.Trainer`` with MXNet's Adam, for all members at once.

    Args:
        network: the ensemble, or any Gluon block, whose weights are to be updated.
        lr: the step size alpha.
        betas: the decay rates of the two moment estimates, beta1 and beta2.

    Raises:
        TypeError: if ``network`` is no block, or a number is not real.
        ValueError: if lr is not above 0, or a beta lies outside [0, 1).
    """
    _checks.instance("network", network, _Block)
    _checks.sequence("betas", betas)
    _checks.number("lr", lr, above=0.0)
    for i, beta in enumerate(betas):
        _checks.number(f"betas[{i}]", beta, at_least=0.0, below=1.0)
    options = {"learning_rate": lr, "beta1": betas[0], "beta2": betas[1]}
    return mx.gluon.Trainer(network.collect_params(), "adam", options)


def train(
    G: Ensemble,
    D: Ensemble,
    data: Sampler,
    noise: Sampler,
    *,
    d_loss: Loss,
    g_loss: Loss,
    d_opt: Any,
    g_opt: Any,
    steps: int,
    batch: int,
    reuse_noise: bool = False,
    ema: float | None = None,
    watch: Watch | None = None,
    every: int = 100,
    seed: int | None = None,
    progress: bool = True,
) -> History:
    """Train the generators G against the discriminators D, all seeds at once.

    A step is an update of D on fresh data and noise, and an update of G on fresh noise, as in
    `gan_helpers.training.train`. The same arguments and streams give the same numbers there. Ctrl-C ends the
    run after the step under way and returns what there is.

    Args:
        G: the generators, from noise to samples.
        D: the discriminators, from samples to logits.
        data: draws real samples as a torch tensor, ``data(seeds, batch, rng) -> (seeds, batch, features)``.
        noise: draws the generators' input in the same way.
        d_loss: ``d_loss(G, D, x, z) -> (seeds,)``, what D descends, of NDArrays.
        g_loss: ``g_loss(G, D, x, z) -> (seeds,)``, what G descends.
        d_opt: a ``gluon.Trainer`` of D's weights, such as ``adam(D, 0.05)``.
        g_opt: a ``gluon.Trainer`` of G's weights.
        steps: how many steps to make.
        batch: samples per seed and update.
        reuse_noise: give the update of G the noise of the update of D instead of fresh noise.
        ema: the decay of an exponential moving average of G's weights; no average if None.
        watch: a function of the generators that returns tensors by name, ``(seeds, ...)``. It is called
            before the first step, after each ``every`` steps and after the last, on the average if there
            is one.
        every: steps between two calls of ``watch``.
        seed: the seed of the streams of data and noise; `gan_helpers.randomness.base_seed` unless given.
        progress: show people a progress bar; it is never part of stored outputs.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a number is out of range, G and D differ in seeds, or a loss function does not return
            one loss per seed.
        NonFiniteLossError: soon after the first loss that is NaN or infinite; the message says which it was.
    """
    for name, value in (("steps", steps), ("batch", batch), ("every", every)):
        _checks.whole(name, value)
    for name, network in (("G", G), ("D", D)):
        _checks.instance(name, network, Ensemble)
    for name, function in (("data", data), ("noise", noise), ("d_loss", d_loss), ("g_loss", g_loss)):
        _checks.function(name, function)
    for name, trainer in (("d_opt", d_opt), ("g_opt", g_opt)):
        _checks.instance(name, trainer, mx.gluon.Trainer)
    if watch is not None:
        _checks.function("watch", watch)
    if G.seeds != D.seeds:
        raise ValueError(f"G has {G.seeds} seeds and D has {D.seeds}: make both with the same number.")
    average = None if ema is None else _Average(G, ema)
    record = _Record(watch, G if average is None else average.network)
    data_rng, noise_rng, like = Stream("data", seed), Stream("noise", seed), G.weights()[0]

    def draw(sampler: Sampler, rng: Stream) -> Any:
        return array(sampler(G.seeds, batch, rng), like=like)

    with interrupts() as stop:
        record.watch(0)
        shown = progress and someone_is_watching()
        for step in tqdm(range(1, steps + 1), leave=False, disable=not shown):
            x, z = draw(data, data_rng), draw(noise, noise_rng)
            record.losses["D"].append(_descend("d_loss", d_loss, d_opt, G, D, x, z))
            if not reuse_noise:
                z = draw(noise, noise_rng)
            record.losses["G"].append(_descend("g_loss", g_loss, g_opt, G, D, x, z))
            if average is not None:
                average.update(G)
            last = step == steps or stop.is_set()
            if step % CHECK_EVERY == 0 or last:
                record.stop_unless_finite()
            if step % every == 0 or last:
                record.watch(step)
            if last:
                break
    return record.history(None if average is None else average.network, interrupted=step < steps)


def _descend(name: str, loss: Loss, trainer: Any, G: Ensemble, D: Ensemble, x: Any, z: Any) -> Any:
    """Let one player take one step, and return its losses."""
    with mx.autograd.record():
        losses = loss(G, D, x, z)
    if losses.shape != (G.seeds,):
        raise ValueError(
            f"{name} must return one loss per seed, shape {(G.seeds,)}, not {losses.shape}: "
            "take the mean over all axes but the first."
        )
    losses.backward()  # of the sum over seeds
    trainer.step(1)
    return losses.detach()


class _Average:
    """An exponential moving average of a network's weights; the first averages are shorter."""

    def __init__(self, network: Ensemble, decay: float) -> None:
        self.network = network.copy()
        self._decay = _checks.number("ema", decay, at_least=0.0, below=1.0)
        self._updates = 0

    def update(self, network: Ensemble) -> None:
        """Move the average a little towards the weights as they are now."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        for ours, newest in zip(self.network.weights(), network.weights(), strict=True):
            ours += (1 - decay) * (newest - ours)


class _Record:
    """Keeps losses and watched values, and stops at a loss that is not finite."""

    def __init__(self, watch: Watch | None, shown: Ensemble) -> None:
        self.losses: dict[str, list[Any]] = {"D": [], "G": []}
        self._watch, self._shown = watch, shown
        self._at: list[int] = []
        self._watched: list[dict[str, Tensor]] = []

    def watch(self, made: int) -> None:
        """Keep what the caller wants to see after ``made`` steps."""
        if self._watch is not None:
            self._at.append(made)
            self._watched.append(self._watch(self._shown))

    def stop_unless_finite(self) -> None:
        """Raise if one of the last losses is NaN or infinite."""
        recent = [nd.stack(*losses[-CHECK_EVERY:]).sum() for losses in self.losses.values()]
        if math.isfinite(sum(total.asscalar() for total in recent)):
            return
        # The sum of large numbers may be infinite although they are not. And one looks late: in each step D
        # goes before G.
        losses = torch.stack([tensor(nd.stack(*losses)) for losses in self.losses.values()], dim=1)
        bad = ~losses.isfinite()  # (steps, 2, seeds)
        turns = bad.flatten(0, 1).any(1).nonzero()
        if not len(turns):
            return
        first, turn = divmod(int(turns[0]), 2)
        seeds = bad[first, turn]
        raise history.NonFiniteLossError(
            f"The loss of {'DG'[turn]} is {losses[first, turn][seeds][0].item()} at step {first + 1}, for "
            f"{int(seeds.sum())} of {len(seeds)} seeds: {seeds.nonzero().flatten().tolist()}. Look at its "
            "data, or lower its learning rate. The losses up to there are in this error's history.",
            history.History(d_loss=losses[: first + 1, 0], g_loss=losses[: first + 1, 1]),
        )

    def history(self, averaged: Ensemble | None, interrupted: bool) -> History:
        """Return the record of the run."""
        names = self._watched[0] if self._watched else {}
        return History(
            d_loss=tensor(nd.stack(*self.losses["D"])),
            g_loss=tensor(nd.stack(*self.losses["G"])),
            at=torch.tensor(self._at, dtype=torch.long),
            watched={name: torch.stack([values[name] for values in self._watched]) for name in names},
            averaged=averaged,
            interrupted=interrupted,
        )

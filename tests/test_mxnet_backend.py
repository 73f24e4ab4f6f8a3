"""MXNet's side computes what torch's side computes, and a stacked ensemble what single Gluon networks do."""

from __future__ import annotations

import inspect
import math
import signal
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gan_helpers
from gan_helpers import losses, models, penalties, training
from gan_helpers.data import Gaussian, StandardNormal
from gan_helpers.history import NonFiniteLossError
from tests.plain_gan import Replay, numbers

try:
    from gan_helpers import mxnet_backend as gm
    from gan_helpers.mxnet_backend import importing
except ModuleNotFoundError as error:
    if error.name != "mxnet":
        raise
    pytest.skip(str(error), allow_module_level=True)

mx, nd = gm.mx, gm.nd
PRODUCT = nd.dot
LEAKY = 0.2


def double(values: Tensor) -> Any:
    """Return an NDArray in double precision on the CPU."""
    return gm.array(values.double(), device=mx.cpu())


def gluon_members(make: Callable[[], Any], count: int, seed: int = 0, scale: float = 0.7) -> list[Any]:
    """Return plain Gluon networks in double precision with random weights and biases."""
    members = []
    for k in range(count):
        network = make()
        network.cast("float64")
        network.initialize(mx.init.Zero(), ctx=mx.cpu())
        for i, parameter in enumerate(network.collect_params().values()):
            parameter.set_data(double(scale * numbers(*parameter.shape, seed=100 * (seed + 1) + 10 * k + i)))
        members.append(network)
    return members


def in_torch(network: Any, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Return a plain Gluon network as a torch network with the same weights."""
    dense = [layer for layer in network._children.values() if isinstance(layer, mx.gluon.nn.Dense)]
    layers: list[nn.Module] = []
    for layer in dense:
        outputs, inputs = layer.weight.shape
        linear = nn.Linear(inputs, outputs, dtype=torch.float64)
        linear.weight.data = gm.tensor(layer.weight.data())
        linear.bias.data = gm.tensor(layer.bias.data())
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


def weights_of(network: Any) -> list[Tensor]:
    """Return the weights and biases of a plain Gluon network, in the order of the layers."""
    return [gm.tensor(parameter.data()) for parameter in network.collect_params().values()]


def assert_members_are(ensemble: Any, members: list[list[Tensor]], atol: float) -> None:
    for k, expected in enumerate(members):
        for ours, theirs in zip(weights_of(ensemble.member(k)), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


# The import, devices and numbers


def test_what_the_import_needs_is_lent_and_taken_back_also_after_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importing, "find_spec", lambda name: None)
    before = dict(vars(np))
    with pytest.raises(ZeroDivisionError), importing.as_it_was_then():
        from distutils.version import LooseVersion

        assert set(importing.FORMER_NAMES) <= set(vars(np)) and LooseVersion("1.9") < LooseVersion("1.17")
        raise ZeroDivisionError
    assert dict(vars(np)) == before and "distutils.version" not in sys.modules


@pytest.mark.parametrize("name", sorted(set(gm.__all__) - {"mx", "nd", "array", "tensor"}))
def test_names_and_arguments_are_those_of_the_torch_side(name: str) -> None:
    sides = (gan_helpers, losses, models, penalties, training, gan_helpers.data, gan_helpers.device)
    ours, theirs = getattr(gm, name), next(getattr(side, name) for side in sides if hasattr(side, name))
    if inspect.isfunction(ours) and name not in ("mlp", "probe"):
        arguments = list(inspect.signature(ours).parameters)
        assert [p for p in inspect.signature(theirs).parameters if p in arguments] == arguments
    else:
        assert ours is theirs or callable(ours)


def test_a_device_that_does_not_compute_is_passed_over() -> None:
    def broken(device: Any) -> None:
        raise RuntimeError("no kernel image")

    assert gm.choose_device([mx.gpu(0)], broken) == mx.cpu()
    assert gm.choose_device([mx.cpu(0)]) == mx.cpu(0)
    if not mx.context.num_gpus():
        assert gm.candidates() == [] and gm.default_device() == mx.cpu()


@pytest.mark.parametrize("wrong", [lambda a, b: a * b, lambda a, b: PRODUCT(a, b.detach())])
def test_the_probe_fails_where_products_or_gradients_come_out_wrong(
    wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    gm.probe(mx.cpu())
    monkeypatch.setattr(nd, "dot", wrong)
    with pytest.raises(ArithmeticError, match="product came out wrong"):
        gm.probe(mx.cpu())


def test_numbers_come_back_as_they_went_or_in_the_precision_of_another() -> None:
    for x in (numbers(2, 3, 4), numbers(2, 3, 4).float()):
        torch.testing.assert_close(gm.tensor(gm.array(x)), x, rtol=0, atol=0)
    like = nd.zeros((1,), dtype="float64", ctx=mx.cpu(0))
    made = gm.array(x, like=like)
    assert made.dtype == np.float64 and made.context == like.context


# Networks


@pytest.mark.parametrize(
    ("activation", "theirs", "atol"),
    [
        ("tanh", nn.Tanh, 1e-12),
        ("sigmoid", nn.Sigmoid, 1e-12),
        ("relu", nn.ReLU, 1e-12),
        ("softrelu", nn.Softplus, 1e-12),
        (LEAKY, lambda: nn.LeakyReLU(LEAKY), 1e-6),  # which MXNet multiplies by in single precision
    ],
)
def test_a_stack_its_slopes_and_its_penalty_are_those_of_torch(
    activation: str | float, theirs: Callable[[], nn.Module], atol: float
) -> None:
    members = gluon_members(lambda: gm.mlp(2, 6, 5, 1, activation=activation), 3)
    twins = [in_torch(member, theirs) for member in members]
    D, x = gm.Ensemble.of(members), numbers(3, 7, 2, seed=5)
    outputs = torch.stack([twin(x[k]) for k, twin in enumerate(twins)])
    torch.testing.assert_close(gm.tensor(D(double(x))), outputs.detach(), rtol=0, atol=atol)
    slopes = [torch.autograd.functional.jacobian(twin, x[k]).sum((0, 1)) for k, twin in enumerate(twins)]
    torch.testing.assert_close(gm.tensor(D.slopes(double(x))), torch.stack(slopes), rtol=0, atol=atol)
    # The gradient of the penalty needs torch to differentiate twice, and MXNet once.
    samples = double(x)
    samples.attach_grad()
    with mx.autograd.record():
        value = gm.r1(D, samples) + 0 * samples.sum(axis=(1, 2))
    value.backward()
    assert (gm.tensor(samples.grad) == 0).all()  # none flows into the samples
    for k, twin in enumerate(twins):
        expected = penalties.r1(lambda y, twin=twin: twin(y), x[k : k + 1])
        torch.testing.assert_close(gm.tensor(value)[k : k + 1], expected.detach(), rtol=0, atol=atol)
        expected.backward()
        for i, layer in enumerate(module for module in twin if isinstance(module, nn.Linear)):
            weight, bias = (getattr(D, name).grad() for name in D._dense[i])
            torch.testing.assert_close(gm.tensor(weight)[k], layer.weight.grad, rtol=0, atol=atol)
            no_slope = torch.zeros_like(layer.bias) if layer.bias.grad is None else layer.bias.grad
            torch.testing.assert_close(gm.tensor(bias)[k, 0], no_slope, rtol=0, atol=atol)


def test_the_slope_of_a_difference_of_outputs_is_that_of_one_output_with_the_weights_subtracted() -> None:
    D, x = gm.Ensemble(lambda: gm.mlp(2, 4, 2), 3, sd=1.0), gm.array(numbers(3, 5, 2).float())
    one = gm.Ensemble(lambda: gm.mlp(2, 4, 1), 3)
    (hidden, bias, last, _), theirs = D.weights(), one.weights()
    theirs[0][:], theirs[1][:], theirs[2][:] = hidden, bias, last[:, 1:] - last[:, :1]
    slopes = gm.tensor(D.slopes(x, (-1.0, 1.0)))
    torch.testing.assert_close(slopes, gm.tensor(one.slopes(x)))


def test_several_inputs_go_through_in_one_pass() -> None:
    G = gm.Ensemble(lambda: gm.mlp(2, 3, 2), 2, sd=1.0)
    x, y = (gm.array(numbers(2, n, 2, seed=n).float()) for n in (4, 3))
    both = G(x, y)
    assert [each.shape for each in both] == [(2, 4, 2), (2, 3, 2)]
    for one, other in zip(both, (G(x), G(y)), strict=True):
        torch.testing.assert_close(gm.tensor(one), gm.tensor(other))


def test_a_member_starts_alike_in_every_ensemble_whatever_mxnet_draws() -> None:
    ends = []
    for seed in (1, 2):
        mx.random.seed(seed)
        small, large = (gm.Ensemble(lambda: gm.mlp(2, 4), k, name="D", seed=3).weights()[0] for k in (2, 5))
        ends.append(gm.tensor(nd.random.normal(shape=(3,))))
        mx.random.seed(seed)
        assert torch.equal(gm.tensor(nd.random.normal(shape=(3,))), ends[-1])
        assert torch.equal(gm.tensor(small), gm.tensor(large)[:2])
    other = gm.Ensemble(lambda: gm.mlp(2, 4), 2, name="G", seed=3).weights()[0]
    assert len({str(member.tolist()) for each in (large, other) for member in gm.tensor(each)}) == 7


def test_first_weights_have_the_spread_asked_for_and_biases_are_zero() -> None:
    weight, bias = gm.Ensemble(lambda: gm.mlp(50, 60), 20, sd=0.2, seed=1).weights()
    assert gm.tensor(weight).std().item() == pytest.approx(0.2, rel=0.02)
    assert (gm.tensor(bias) == 0).all() and bias.shape == (20, 1, 60)


def test_a_dense_layer_may_bring_its_activation() -> None:
    def make() -> Any:
        network = mx.gluon.nn.HybridSequential()
        network.add(mx.gluon.nn.Dense(5, in_units=2, activation="tanh"), mx.gluon.nn.Dense(1, in_units=5))
        return network

    members = gluon_members(make, 2)
    x = double(numbers(2, 4, 2))
    expected = nd.stack(*[member(x[k]) for k, member in enumerate(members)])
    torch.testing.assert_close(gm.tensor(gm.Ensemble.of(members)(x)), gm.tensor(expected))


def test_members_and_copies_share_nothing_with_the_ensemble() -> None:
    G = gm.Ensemble(lambda: gm.mlp(2, 3, 2, activation=LEAKY), 2, sd=1.0)
    x = gm.array(numbers(2, 4, 2).float())
    before, member, copy = gm.tensor(G(x)), G.member(1), G.copy()
    torch.testing.assert_close(gm.tensor(member(x[1])), before[1])
    for weight in G.weights():
        weight[:] = 0
    torch.testing.assert_close(gm.tensor(copy(x)), before)
    torch.testing.assert_close(gm.tensor(member(x[1])), before[1])


def alone(layer: Any) -> Any:
    """Return an ensemble of one network of one layer."""
    network = mx.gluon.nn.Sequential()
    network.add(layer)
    return gm.Ensemble(lambda: network, 1)


WRONG: dict[str, Callable[[], Any]] = {
    "at least two sizes": lambda: gm.mlp(2),
    r"sizes\[1\] must be a whole number": lambda: gm.mlp(2, 1.5),
    "Dropout has no stacked form: build members of": lambda: alone(mx.gluon.nn.Dropout(0.5)),
    "'softsign' has no stacked form": lambda: alone(mx.gluon.nn.Activation("softsign")),
    "members is empty": lambda: gm.Ensemble.of([]),
    "differ in architecture": lambda: gm.Ensemble.of([gm.mlp(2, n, 1) for n in (3, 4)]),
    "seeds must be at least 1": lambda: gm.Ensemble(lambda: gm.mlp(2, 2), 0),
    r"inputs\[0\] must have .* seeds = 2, not \(3, 4, 2\)": lambda: players()[0](nd.zeros((3, 4, 2))),
    "at least one input": lambda: players()[0](),
    "k must be at most 1, not 2": lambda: players()[0].member(2),
    "one output, but the network has 2": lambda: players()[0].slopes(double(numbers(2, 4, 2))),
    r"real and fake must be of as many seeds, not of shape \(2, 4, 1\)": lambda: gm.minimax_d(
        double(numbers(2, 4, 1)), double(numbers(1, 4, 1))
    ),
    r"d_loss must return one loss per seed, shape \(2,\), not \(1,\)": lambda: short_run(
        *players(), d_loss=lambda *args: d_loss(*args).sum()
    ),
    "G has 2 seeds and D has 3": lambda: short_run(players()[0], players(3)[1]),
    "ema must be less than 1": lambda: short_run(*players(), ema=1.0),
    "turns must not be simultaneous": lambda: short_run(*players(), turns=gm.Turns(simultaneous=True)),
    r"betas must hold two numbers, beta1 and beta2": lambda: gm.adam(players()[0], 0.1, betas=(0.5,)),
    r"betas\[1\] must be less than 1": lambda: gm.adam(players()[0], 0.1, betas=(0.5, 1.0)),
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_is_named(words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        WRONG[words]()


# Losses


@pytest.mark.parametrize("name", ["minimax_d", "minimax_g", "non_saturating_g"])
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_losses_and_their_gradients_are_those_of_torch(name: str, scale: float) -> None:
    count = len(inspect.signature(getattr(losses, name)).parameters)
    logits = [(scale * numbers(3, 5, 1, seed=i)).requires_grad_() for i in range(count)]
    arrays = [double(each) for each in logits]
    for each in arrays:
        each.attach_grad()
    expected = getattr(losses, name)(*logits)
    expected.sum().backward()
    with mx.autograd.record():
        value = getattr(gm, name)(*arrays)
    value.backward()
    torch.testing.assert_close(gm.tensor(value), expected.detach(), rtol=1e-6, atol=1e-8)
    for ours, theirs in zip(arrays, logits, strict=True):
        torch.testing.assert_close(gm.tensor(ours.grad), theirs.grad, rtol=1e-6, atol=1e-8)


# Training


def d_loss(G: Any, D: Any, x: Any, z: Any) -> Any:
    real, fake = D(x, G(z).detach())
    return gm.minimax_d(real, fake) + 0.3 * gm.r1(D, x)


def g_loss(G: Any, D: Any, x: Any, z: Any) -> Any:
    return gm.non_saturating_g(D(G(z)))


def players(seeds: int = 2) -> tuple[Any, Any]:
    Gs = gluon_members(lambda: gm.mlp(2, 2), seeds)
    Ds = gluon_members(lambda: gm.mlp(2, 6, 5, 1, activation=LEAKY), seeds, seed=1)
    return gm.Ensemble.of(Gs), gm.Ensemble.of(Ds)


def short_run(G: Any, D: Any, **options: Any) -> Any:
    fixed = {
        "d_loss": d_loss, "g_loss": g_loss, "d_opt": gm.adam(D, 0.02), "g_opt": gm.adam(G, 0.01),
        "steps": 3, "batch": 4, "seed": 1, "progress": False,
    }  # fmt: skip
    return gm.train(G, D, StandardNormal(2), StandardNormal(2), **(fixed | options))


def in_the_sources_way(G: Any, D: Any, data: Tensor, noise: Tensor, steps: int) -> list[list[Tensor]]:
    """Train one pair as the source does: softmax over two outputs, and the same fakes for both players."""
    batch = data.shape[1]
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    g_opt = mx.gluon.Trainer(G.collect_params(), "adam", {"learning_rate": 0.01})
    d_opt = mx.gluon.Trainer(D.collect_params(), "adam", {"learning_rate": 0.05})
    real, fake = nd.ones((batch,)), nd.zeros((batch,))
    for t in range(steps):
        x, z = double(data[t]), double(noise[t])
        with mx.autograd.record():
            made = G(z)
            d_value = loss(D(x), real) + loss(D(made.detach()), fake)
        d_value.backward()
        d_opt.step(batch)
        with mx.autograd.record():
            g_value = loss(D(made), real)
        g_value.backward()
        g_opt.step(batch)
    return [weights_of(G), weights_of(D)]


def test_a_stack_trains_as_separate_runs_of_the_sources_loop() -> None:
    seeds, steps, batch = 3, 60, 4
    Gs = gluon_members(lambda: gm.mlp(2, 2), seeds, scale=0.02)
    Ds = gluon_members(lambda: gm.mlp(2, 5, 3, 2), seeds, seed=1, scale=0.02)
    data = Replay(numbers(steps, seeds, batch, 2, seed=2) + 1)
    noise = Replay(numbers(steps, seeds, batch, 2, seed=3))
    G, D = gm.Ensemble.of(Gs), gm.Ensemble.of(Ds)

    def logit(outputs: Any) -> Any:
        return outputs[:, :, 1:] - outputs[:, :, :1]

    gm.train(
        G, D, data, noise,
        d_loss=lambda G, D, x, z: gm.minimax_d(*map(logit, D(x, G(z).detach()))),
        g_loss=lambda G, D, x, z: gm.non_saturating_g(logit(D(G(z)))),
        d_opt=gm.adam(D, 0.05), g_opt=gm.adam(G, 0.01),
        steps=steps, batch=batch, turns=gm.Turns(reuse_noise=True), progress=False,
    )  # fmt: skip
    alone = [
        in_the_sources_way(Gs[k], Ds[k], data.values[:, k], noise.values[:, k], steps) for k in range(seeds)
    ]
    assert_members_are(G, [pair[0] for pair in alone], atol=1e-9)
    assert_members_are(D, [pair[1] for pair in alone], atol=1e-9)


def bias(G: Any) -> dict[str, Tensor]:
    """Return the biases of either backend's linear generators, (seeds, features)."""
    ours = isinstance(G, gm.Ensemble)
    return {"bias": gm.tensor(G.weights()[1]).squeeze(1) if ours else G.network[0].bias}


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 40, "ema": 0.9},
        {"watch": gm.Watch(bias, every=2), "turns": gm.Turns(reuse_noise=True)},
        {"ema": 0.5, "turns": gm.Turns(d_steps=2)},
        {"watch": None, "turns": gm.Turns(g_steps=2)},
        {"turns": gm.Turns(g_steps=2, reuse_noise=True)},
    ],
)
def test_mxnet_and_torch_train_the_same_networks_and_watch_them_alike(options: dict[str, Any]) -> None:
    law = Gaussian(torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 0.3], [0.3, 0.5]]))
    options = {"steps": 5, "batch": 8, "seed": 5, "progress": False, "watch": bias} | options
    G, D = players()
    their_G = training.Ensemble.of([in_torch(G.member(k), nn.Identity) for k in range(2)])
    their_D = training.Ensemble.of([in_torch(D.member(k), lambda: nn.LeakyReLU(LEAKY)) for k in range(2)])

    def their_d_loss(G: Any, D: Any, x: Tensor, z: Tensor) -> Tensor:
        x = x.double()
        return losses.minimax_d(*D(x, G(z.double()).detach())) + 0.3 * penalties.r1(D, x)

    ours = gm.train(
        G, D, law, StandardNormal(2), d_loss=d_loss, g_loss=g_loss,
        d_opt=gm.adam(D, 0.02, (0.5, 0.99)), g_opt=gm.adam(G, 0.01, (0.5, 0.99)), **options,
    )  # fmt: skip
    theirs = training.train(
        their_G, their_D, law, StandardNormal(2), d_loss=their_d_loss,
        g_loss=lambda G, D, x, z: losses.non_saturating_g(D(G(z.double()))),
        d_opt=training.adam(their_D, 0.02, (0.5, 0.99)), g_opt=training.adam(their_G, 0.01, (0.5, 0.99)),
        **options,
    )  # fmt: skip
    for mine, other in ((G, their_G), (D, their_D), (ours.averaged, theirs.averaged)):
        if mine is not None:
            expected = [[p.detach() for p in other.member(k).parameters()] for k in range(2)]
            assert_members_are(mine, expected, atol=1e-5)
    for one, other in (
        (ours.d_loss, theirs.d_loss), (ours.g_loss, theirs.g_loss), (ours.at, theirs.at),
        (ours.watched, theirs.watched),
    ):  # fmt: skip
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5, check_dtype=False)
    assert ours.require_whole() is ours


@pytest.mark.parametrize("player", ["d", "g"])
@pytest.mark.parametrize(("at", "steps"), [(2, 3), (40, 101)])
def test_a_loss_that_is_not_finite_is_named_by_network_step_and_seeds(
    player: str, at: int, steps: int
) -> None:
    calls, loss = 0, {"d": d_loss, "g": g_loss}[player]

    def breaks(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        return loss(*args) * double(torch.tensor([1.0, math.inf if calls >= at else 1.0]))

    message = rf"The loss of {player.upper()} is -?inf at step {at}, for 1 of 2 seeds: \[1\]"
    with pytest.raises(NonFiniteLossError, match=message) as error:
        short_run(*players(), steps=steps, **{f"{player}_loss": breaks})
    history = error.value.history
    assert history.d_loss.shape == history.g_loss.shape == (at, 2)
    assert getattr(history, f"{player}_loss")[: at - 1].isfinite().all()


def test_large_losses_are_not_taken_for_infinite_ones() -> None:
    """Their sum over seeds overflows, and they do not."""
    largest = double(torch.full((2,), torch.finfo(torch.double).max, dtype=torch.double))
    history = short_run(*players(), d_loss=lambda *args: d_loss(*args) * 0 + largest)
    assert history.steps == 3 and history.d_loss.isfinite().all()


def test_an_interrupt_ends_the_run_after_the_step_under_way() -> None:
    calls, before = 0, signal.getsignal(signal.SIGINT)

    def pressed(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            signal.raise_signal(signal.SIGINT)
        return d_loss(*args)

    pairs = players(), players()
    look = {"watch": bias, "ema": 0.9}
    history = short_run(*pairs[0], steps=50, d_loss=pressed, **look)
    whole = short_run(*pairs[1], steps=3, **look)
    assert history.interrupted and not whole.interrupted
    assert history.steps == 3 and history.at.tolist() == [0, 3] and history.averaged is not None
    for ours, theirs in zip(*pairs, strict=True):
        for a, b in zip(ours.weights(), theirs.weights(), strict=True):
            assert torch.equal(gm.tensor(a), gm.tensor(b)), "no step is left half made"
    assert signal.getsignal(signal.SIGINT) is before

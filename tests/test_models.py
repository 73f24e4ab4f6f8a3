"""The networks of the book: their layers, shapes and values by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gan_helpers.models import Maxout, MinibatchDiscrimination, Standardise, decorate, dense, mlp, pack
from tests.plain_gan import numbers


@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=5))
def test_an_mlp_has_an_activation_between_each_two_linear_maps_and_none_at_its_ends(sizes: list[int]) -> None:
    network = mlp(*sizes)
    kinds = [type(layer) for layer in network]
    assert kinds == [nn.Linear, *[nn.ELU, nn.Linear] * (len(sizes) - 2)]
    assert [(layer.in_features, layer.out_features) for layer in network[::2]] == list(
        zip(sizes, sizes[1:], strict=False)
    )
    assert network(torch.zeros(3, 2, sizes[0])).shape == (3, 2, sizes[-1])


def test_an_mlp_takes_any_activation_and_makes_each_anew() -> None:
    network = mlp(1, 2, 2, 1, activation=lambda: nn.LeakyReLU(0.2))
    assert network[1].negative_slope == 0.2
    assert network[1] is not network[3]


def test_a_maxout_unit_is_the_largest_of_its_own_linear_maps() -> None:
    layer = Maxout(4, 3, pieces=5).double()
    x = numbers(2, 6, 4)
    w, b = layer.linear.weight, layer.linear.bias
    for i in range(3):
        pieces = [x @ w[5 * i + j] + b[5 * i + j] for j in range(5)]
        torch.testing.assert_close(layer(x)[..., i], torch.stack(pieces).max(0).values)


def test_minibatch_discrimination_is_the_sum_of_the_paper() -> None:
    layer = MinibatchDiscrimination(4, kernels=3, dimensions=2).double()
    f = numbers(5, 4)
    T = layer.linear.weight.mT.reshape(4, 3, 2)
    M = torch.einsum("na,abc->nbc", f, T)
    found = layer(f)
    assert torch.equal(found[:, :4], f)
    for i in range(5):
        for b in range(3):
            o = sum(math.exp(-(M[i, b] - M[j, b]).abs().sum().item()) for j in range(5))
            assert found[i, 4 + b].item() == pytest.approx(o)


def test_minibatch_discrimination_by_hand() -> None:
    layer = MinibatchDiscrimination(1, kernels=1, dimensions=2)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor([[1.0], [-1.0]]))  # distances are twice those of the samples
    near, far = math.exp(-2 * 0.5), math.exp(-2 * 2.0)
    sums = [1 + near + far, 1 + near + math.exp(-2 * 1.5), 1 + far + math.exp(-2 * 1.5)]
    torch.testing.assert_close(layer(torch.tensor([[0.0], [0.5], [2.0]]))[:, 1], torch.tensor(sums))
    assert layer(torch.zeros(7, 1))[:, 1].tolist() == [7.0] * 7  # collapsed: each counts all of the batch


@pytest.mark.parametrize("shape", [(3,), (3, 4, 4)])
def test_a_pack_holds_neighbours_of_one_seed_sample_by_sample(shape: tuple[int, ...]) -> None:
    x = numbers(2, 6, *shape)
    packs = pack(x, 3)
    assert packs.shape == (2, 2, 9, *shape[1:])
    for seed in range(2):
        for i in range(2):
            torch.testing.assert_close(packs[seed, i], torch.cat(list(x[seed, 3 * i : 3 * i + 3])))
    assert torch.equal(pack(x, 1), x)


def test_maxout_units_can_learn_the_absolute_value() -> None:
    layer = Maxout(1, 1, pieces=2)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        layer.linear.bias.zero_()
    x = torch.tensor([[-2.0], [0.0], [3.0]])
    assert torch.equal(layer(x), x.abs())


#: What `test_arguments` does not try.
WRONG: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: mlp(), ValueError, "mlp needs at least two sizes"),
    (lambda: mlp(3), ValueError, "mlp needs at least two sizes"),
    (lambda: mlp(1, 4, 1, activation=nn.ReLU()), TypeError, r"not the module ReLU\(\): give its class"),
    (lambda: mlp(1, 4, 1, activation=lambda: 0), TypeError, r"activation\(\) must be of type Module"),
    (lambda: Maxout(2, 2, 2)(torch.ones(2, 3)), ValueError, r"x must have shape \(..., 2\), not \(2, 3\)"),
    (
        lambda: MinibatchDiscrimination(2, 2, 2)(torch.ones(2)),
        ValueError,
        r"x must have shape \(..., batch, 2\), not \(2,\)",
    ),
    (lambda: pack(torch.ones(1, 5, 2), 2), ValueError, r"a batch that m = 2 divides, not \(1, 5, 2\)"),
    (lambda: Standardise(0.0, 0.0), ValueError, "sd must be greater than 0"),
    (lambda: Standardise(0.0, -1.0), ValueError, "sd must be greater than 0"),
    (
        lambda: decorate(torch.ones(3, 2, 2)),
        ValueError,
        r"x must have shape \(seeds, batch, 1\), not \(3, 2, 2\)",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), WRONG)
def test_wrong_arguments_are_named(make: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_standardise_shifts_then_scales() -> None:
    layer = Standardise(4.0, 1.25)
    torch.testing.assert_close(layer(torch.tensor([4.0, 5.25, 1.5])), torch.tensor([0.0, 1.0, -2.0]))
    assert not list(layer.parameters())
    assert "mean=4, sd=1.25" in repr(layer)


def test_a_decorated_batch_is_its_samples_and_their_squared_deviations_by_seed() -> None:
    x = torch.tensor([[[1.0], [3.0]], [[0.0], [10.0]]])  # means 2 and 5
    assert torch.equal(decorate(x), torch.tensor([[[1.0, 3.0, 1.0, 1.0]], [[0.0, 10.0, 25.0, 25.0]]]))


def test_the_mean_of_a_decorated_batch_is_a_constant_to_the_gradient() -> None:
    x = torch.tensor([[[1.0], [3.0], [8.0]]], requires_grad=True)  # mean 4
    decorate(x)[..., 3:].square().sum().backward()
    # The slope of (x - 4)^4 with 4 held fixed: 4 (x - 4)^3. With the mean moving too, it would sum to 0.
    assert x.grad is not None and x.grad.flatten().tolist() == [4 * -27, 4 * -1, 4 * 64]


def test_a_dense_layer_starts_by_glorots_rule() -> None:
    torch.manual_seed(0)
    layer = dense(64, 512)
    edge = (6 / (64 + 512)) ** 0.5
    assert 0.99 * edge < layer.weight.abs().max() <= edge
    assert layer.weight.std().item() == pytest.approx(edge / 3**0.5, rel=0.02)
    assert layer.bias.eq(0).all()

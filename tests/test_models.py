"""The networks of the book: their layers, shapes and values by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plain_gan import numbers
from torch import Tensor, nn

from gan_helpers.models import Maxout, Standardise, decorate, dense, mlp

bad_size = pytest.mark.parametrize(
    ("size", "error"), [(0, ValueError), (-3, ValueError), (2.0, TypeError), (True, TypeError)]
)


def test_an_mlp_has_an_activation_between_each_two_linear_maps_and_none_at_its_ends() -> None:
    kinds = [type(layer) for layer in mlp(1, 50, 50, 1)]
    assert kinds == [nn.Linear, nn.ELU, nn.Linear, nn.ELU, nn.Linear]
    assert [type(layer) for layer in mlp(3, 2)] == [nn.Linear]


def test_an_mlp_has_the_sizes_asked_for() -> None:
    maps = mlp(4, 7, 5, 2)[::2]
    assert [(layer.in_features, layer.out_features) for layer in maps] == [(4, 7), (7, 5), (5, 2)]


def test_an_mlp_takes_any_activation_and_makes_each_anew() -> None:
    network = mlp(1, 2, 2, 1, activation=lambda: nn.LeakyReLU(0.2))
    assert network[1].negative_slope == 0.2
    assert network[1] is not network[3]


@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=5), batch=st.integers(1, 4))
def test_an_mlp_maps_its_first_size_to_its_last(sizes: list[int], batch: int) -> None:
    assert mlp(*sizes)(torch.zeros(3, batch, sizes[0])).shape == (3, batch, sizes[-1])


@bad_size
def test_the_sizes_of_an_mlp_are_whole_numbers_of_at_least_one(size: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"sizes\[1\] must be"):
        mlp(2, size, 1)


@pytest.mark.parametrize("sizes", [(), (3,)])
def test_an_mlp_needs_an_input_and_an_output(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="mlp needs at least two sizes"):
        mlp(*sizes)


def test_a_maxout_unit_is_the_largest_of_its_own_linear_maps() -> None:
    layer = Maxout(4, 3, pieces=5).double()
    x = numbers(2, 6, 4)
    w, b = layer.linear.weight, layer.linear.bias
    for i in range(3):
        pieces = [x @ w[5 * i + j] + b[5 * i + j] for j in range(5)]
        torch.testing.assert_close(layer(x)[..., i], torch.stack(pieces).max(0).values)


def test_maxout_units_can_learn_the_absolute_value() -> None:
    layer = Maxout(1, 1, pieces=2)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        layer.linear.bias.zero_()
    x = torch.tensor([[-2.0], [0.0], [3.0]])
    assert torch.equal(layer(x), x.abs())


@bad_size
@pytest.mark.parametrize("name", ["in_features", "out_features", "pieces"])
def test_the_sizes_of_maxout_are_counts(name: str, size: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{name} must be"):
        Maxout(**{"in_features": 2, "out_features": 2, "pieces": 2, name: size})


def test_standardise_shifts_then_scales() -> None:
    layer = Standardise(4.0, 1.25)
    torch.testing.assert_close(layer(torch.tensor([4.0, 5.25, 1.5])), torch.tensor([0.0, 1.0, -2.0]))
    assert not list(layer.parameters())
    assert "mean=4, sd=1.25" in repr(layer)


@pytest.mark.parametrize(
    ("mean", "sd", "message"),
    [
        (0.0, 0.0, "sd must be greater than 0"),
        (0.0, -1.0, "sd must be greater than 0"),
        (float("nan"), 1.0, "mean must be finite"),
        (0.0, float("inf"), "sd must be finite"),
        ("0", 1.0, "mean must be a real number"),
    ],
)
def test_standardise_needs_a_finite_mean_and_a_positive_sd(mean: float, sd: float, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Standardise(mean, sd)


def test_a_decorated_batch_is_its_samples_and_their_squared_deviations_by_seed() -> None:
    x = torch.tensor([[[1.0], [3.0]], [[0.0], [10.0]]])  # means 2 and 5
    assert torch.equal(decorate(x), torch.tensor([[[1.0, 3.0, 1.0, 1.0]], [[0.0, 10.0, 25.0, 25.0]]]))


def test_the_mean_of_a_decorated_batch_is_a_constant_to_the_gradient() -> None:
    x = torch.tensor([[[1.0], [3.0], [8.0]]], requires_grad=True)  # mean 4
    decorate(x)[..., 3:].square().sum().backward()
    # The slope of (x - 4)^4 with 4 held fixed: 4 (x - 4)^3. With the mean moving too, it would sum to 0.
    assert x.grad is not None and x.grad.flatten().tolist() == [4 * -27, 4 * -1, 4 * 64]


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.ones(3, 2), ValueError, r"x must have shape \(seeds, batch, 1\), not \(3, 2\)"),
        (torch.ones(3, 2, 2), ValueError, r"not \(3, 2, 2\)"),
        (torch.ones(3, 2, 1, dtype=torch.long), TypeError, "must hold floating-point numbers"),
        (torch.ones(3, 0, 1), ValueError, "x is empty"),
    ],
)
def test_only_batches_of_numbers_can_be_decorated(x: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        decorate(x)


def test_a_dense_layer_starts_by_glorots_rule() -> None:
    torch.manual_seed(0)
    layer = dense(64, 512)
    edge = (6 / (64 + 512)) ** 0.5
    assert 0.99 * edge < layer.weight.abs().max() <= edge
    assert layer.weight.std().item() == pytest.approx(edge / 3**0.5, rel=0.02)
    assert layer.bias.eq(0).all()
    with pytest.raises(ValueError, match="fan_out must be at least 1"):
        dense(1, 0)

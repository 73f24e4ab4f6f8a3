"""Errors of pictures, and the reward for answers that differ, are what their formulas say."""

from __future__ import annotations

import pytest
import torch

from gan_helpers.pairs import absolute, difference, squared
from tests.plain_gan import numbers


def test_errors_by_hand() -> None:
    x = torch.tensor([[[0.0, 1, 1, 0]], [[1.0, 1, 1, 1]]])
    fake = torch.tensor([[[0.5, 1, 0, 0]], [[1.0, 1, 1, 1]]])
    assert absolute(x, fake).tolist() == [1.5 / 4, 0]
    assert squared(x, fake).tolist() == [1.25 / 4, 0]


def test_errors_of_one_seed_are_its_own() -> None:
    x, fake = numbers(2, 3, 5), numbers(2, 3, 5, seed=1).requires_grad_()
    for error in (absolute, squared):
        (slope,) = torch.autograd.grad(error(x, fake)[1], fake)
        assert not slope[0].any() and slope[1].any()


def test_pictures_of_other_shapes_have_no_error() -> None:
    for error in (absolute, squared):
        with pytest.raises(ValueError, match="x and fake must have one shape"):
            error(numbers(2, 3, 5), numbers(2, 3, 4))
        with pytest.raises(TypeError, match="fake must be"):
            error(numbers(2, 3, 5), [1.0])


def test_answers_that_differ_are_compared_with_how_the_noise_differs() -> None:
    one, z = torch.tensor([[[1.0, 3], [2, 2]]]), torch.tensor([[[0.0], [4]]])
    # Both pairs are the same two samples: they differ by 1 a pixel, and the noise by 4.
    assert difference(one, one.roll(1, 1), z).tolist() == [0.25]
    assert difference(one, one, z).tolist() == [0]
    with pytest.raises(ValueError, match="z must hold two samples or more"):
        difference(one[:, :1], one[:, :1], z[:, :1])

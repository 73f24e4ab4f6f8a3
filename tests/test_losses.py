"""Each loss against values by hand, against probabilities, and against its slope in closed form."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from plain_gan import PLAIN_LOSSES, numbers
from torch import Tensor

from gan_helpers import losses

# Whether a loss looks at real and fake logits, or at fake ones alone.
BOTH = ("minimax_d", "least_squares_d", "wasserstein_d", "hinge_d", "relativistic_d", "relativistic_g")
FAKE = ("minimax_g", "non_saturating_g", "least_squares_g", "wasserstein_g")
ALL = (*BOTH, *FAKE)

# The plain loss that does the same: the game, and the place in its pair.
PLAIN = {
    "minimax_d": ("minimax", 0),
    "minimax_g": ("minimax", 1),
    "non_saturating_g": ("non-saturating", 1),
    "least_squares_d": ("least squares", 0),
    "least_squares_g": ("least squares", 1),
    "wasserstein_d": ("wasserstein", 0),
    "wasserstein_g": ("wasserstein", 1),
    "hinge_d": ("hinge", 0),
    "relativistic_d": ("relativistic", 0),
    "relativistic_g": ("relativistic", 1),
}


def value(name: str, real: Tensor, fake: Tensor) -> Tensor:
    loss: Callable[..., Tensor] = getattr(losses, name)
    return loss(real, fake) if name in BOTH else loss(fake)


def column(*logits: float) -> Tensor:
    """Return the logits of one seed, (1, batch, 1)."""
    return torch.tensor(logits, dtype=torch.float64).reshape(1, -1, 1)


def test_every_public_loss_is_tested() -> None:
    public = {
        name
        for name, function in inspect.getmembers(losses, inspect.isfunction)
        if function.__module__ == losses.__name__ and not name.startswith("_")
    }
    assert public == set(ALL) == set(PLAIN)


LOG3 = math.log(3)  # the logit of D = 3/4


# Three pairs by hand. D answers 1/2 throughout; D = 3/4 for the real and 1/4 for the fake; two samples each.
@pytest.mark.parametrize(
    ("name", "undecided", "right", "two_samples"),
    [
        # real (0), fake (0)      real (log 3), fake (-log 3)      real (2, -1), fake (0, 3)
        ("minimax_d", 2 * math.log(2), 2 * math.log(4 / 3), None),
        ("minimax_g", math.log(1 / 2), math.log(3 / 4), None),
        ("non_saturating_g", math.log(2), math.log(4), None),
        ("least_squares_d", 0.5, ((LOG3 - 1) ** 2 + LOG3**2) / 2, ((1 + 4) / 2 + (0 + 9) / 2) / 2),
        ("least_squares_g", 0.5, (LOG3 + 1) ** 2 / 2, (1 + 4) / 2 / 2),
        ("wasserstein_d", 0.0, -2 * LOG3, 1.5 - 0.5),
        ("wasserstein_g", 0.0, LOG3, -1.5),
        ("hinge_d", 2.0, 0.0, (0 + 2) / 2 + (1 + 4) / 2),
        ("relativistic_d", math.log(2), math.log(1 + 1 / 9), None),
        ("relativistic_g", math.log(2), math.log(1 + 9), None),
    ],
)
def test_values_by_hand(name: str, undecided: float, right: float, two_samples: float | None) -> None:
    assert value(name, column(0), column(0)).item() == pytest.approx(undecided)
    assert value(name, column(LOG3), column(-LOG3)).item() == pytest.approx(right)
    if two_samples is not None:
        assert value(name, column(2, -1), column(0, 3)).item() == pytest.approx(two_samples)


def of_probabilities(name: str, real: float, fake: float) -> float:
    """Return the losses that are made of logarithms as the papers write them, with D and not its logit."""

    def D(logit: float) -> float:
        return 1 / (1 + math.exp(-logit))

    return {
        "minimax_d": -math.log(D(real)) - math.log(1 - D(fake)),
        "minimax_g": math.log(1 - D(fake)),
        "non_saturating_g": -math.log(D(fake)),
        "relativistic_d": -math.log(D(real - fake)),
        "relativistic_g": -math.log(D(fake - real)),
    }[name]


@given(real=st.floats(-10, 10), fake=st.floats(-10, 10))
def test_losses_of_logits_are_those_of_probabilities(real: float, fake: float) -> None:
    for name in ("minimax_d", "minimax_g", "non_saturating_g", "relativistic_d", "relativistic_g"):
        expected = of_probabilities(name, real, fake)
        assert value(name, column(real), column(fake)).item() == pytest.approx(expected, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("name", ALL)
def test_each_seed_has_the_loss_that_torch_computes_for_it_alone(name: str) -> None:
    real, fake = 3 * numbers(4, 7, 1), 3 * numbers(4, 7, 1, seed=1)
    game, place = PLAIN[name]
    out = value(name, real, fake)
    assert out.shape == (4,)
    for k in range(4):
        torch.testing.assert_close(out[k], PLAIN_LOSSES[game][place](real[k], fake[k]), rtol=1e-7, atol=1e-7)


def s(logit: Tensor) -> Tensor:
    return torch.sigmoid(logit)


ZERO = torch.zeros_like

# The slope of one sample's loss in its real and in its fake logit.
SLOPES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "minimax_d": (lambda r, f: s(r) - 1, lambda r, f: s(f)),
    "minimax_g": (lambda r, f: ZERO(r), lambda r, f: -s(f)),
    "non_saturating_g": (lambda r, f: ZERO(r), lambda r, f: s(f) - 1),
    "least_squares_d": (lambda r, f: r - 1, lambda r, f: f),
    "least_squares_g": (lambda r, f: ZERO(r), lambda r, f: f - 1),
    "wasserstein_d": (lambda r, f: ZERO(r) - 1, lambda r, f: ZERO(f) + 1),
    "wasserstein_g": (lambda r, f: ZERO(r), lambda r, f: ZERO(f) - 1),
    "hinge_d": (lambda r, f: -(r < 1).to(r), lambda r, f: (f > -1).to(f)),
    "relativistic_d": (lambda r, f: s(r - f) - 1, lambda r, f: 1 - s(r - f)),
    "relativistic_g": (lambda r, f: 1 - s(f - r), lambda r, f: s(f - r) - 1),
}


@pytest.mark.parametrize("name", ALL)
def test_slopes_are_those_of_the_closed_form_and_are_not_averaged_over_seeds(name: str) -> None:
    batch = 7
    real = (3 * numbers(4, batch, 1)).requires_grad_()
    fake = (3 * numbers(4, batch, 1, seed=1)).requires_grad_()
    (value(name, real, fake).sum() + 0 * real.sum()).backward()
    for logits, slope in zip((real, fake), SLOPES[name], strict=True):
        expected = slope(real.detach(), fake.detach()) / batch
        torch.testing.assert_close(logits.grad, expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", ALL)
def test_gradients_agree_with_finite_differences_to_second_order(name: str) -> None:
    real, fake = numbers(2, 3, 1).requires_grad_(), numbers(2, 3, 1, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda r, f: value(name, r, f), (real, fake))
    assert torch.autograd.gradgradcheck(lambda r, f: value(name, r, f), (real, fake))


@pytest.mark.parametrize(
    ("name", "sure_and_right", "sure_and_wrong"),
    [  # real 10,000 and fake -10,000, and the other way round
        ("minimax_d", 0, 20_000),
        ("minimax_g", 0, -10_000),
        ("non_saturating_g", 10_000, 0),
        ("least_squares_d", (9_999**2 + 10_000**2) / 2, (10_001**2 + 10_000**2) / 2),
        ("least_squares_g", 10_001**2 / 2, 9_999**2 / 2),
        ("wasserstein_d", -20_000, 20_000),
        ("wasserstein_g", 10_000, -10_000),
        ("hinge_d", 0, 20_002),
        ("relativistic_d", 0, 20_000),
        ("relativistic_g", 20_000, 0),
    ],
)
def test_extreme_logits_give_exact_losses_and_finite_slopes(
    name: str, sure_and_right: float, sure_and_wrong: float
) -> None:
    for size, expected in ((10_000.0, sure_and_right), (-10_000.0, sure_and_wrong)):
        real = torch.full((1, 2, 1), size, requires_grad=True)
        fake = torch.full((1, 2, 1), -size, requires_grad=True)
        out = value(name, real, fake)
        assert out.item() == pytest.approx(expected, rel=1e-6)
        (out.sum() + 0 * real.sum()).backward()
        for logits, slope in zip((real, fake), SLOPES[name], strict=True):
            torch.testing.assert_close(logits.grad, slope(real.detach(), fake.detach()) / 2)


def test_small_losses_are_not_rounded_to_zero() -> None:
    confident = torch.full((1, 1, 1), 30.0)
    assert losses.non_saturating_g(confident).item() == pytest.approx(math.exp(-30), rel=1e-6)
    assert losses.minimax_g(-confident).item() == pytest.approx(-math.exp(-30), rel=1e-6)


def test_the_minimax_loss_saturates_where_the_fakes_are_seen_through_and_the_other_does_not() -> None:
    fake = torch.full((1, 1, 1), -20.0, requires_grad=True)
    (saturating,) = torch.autograd.grad(losses.minimax_g(fake).sum(), fake)
    (other,) = torch.autograd.grad(losses.non_saturating_g(fake).sum(), fake)
    assert abs(saturating.item()) < 1e-8
    assert other.item() == pytest.approx(-1)


def test_the_minimax_losses_add_up_to_a_game_of_sum_zero() -> None:
    real, fake = numbers(3, 5, 1), numbers(3, 5, 1, seed=1)
    about_real_alone = losses.minimax_d(real, fake) + losses.minimax_g(fake)
    torch.testing.assert_close(about_real_alone, -F.logsigmoid(real).mean((1, 2)))


def test_the_wasserstein_loss_is_linear_and_the_hinge_loss_is_not() -> None:
    real, fake = column(5, 7), column(-4, -9)  # beyond the margins, where the hinge is flat
    assert losses.wasserstein_d(2 * real, 2 * fake).item() == 2 * losses.wasserstein_d(real, fake).item() != 0
    assert losses.hinge_d(real, fake).item() == losses.hinge_d(2 * real, 2 * fake).item() == 0


def test_the_relativistic_losses_compare_pairs_and_not_means() -> None:
    real, fake = column(0, 4), column(4, 0)
    expected = (math.log1p(math.exp(4)) + math.log1p(math.exp(-4))) / 2  # of means it would be log 2
    assert losses.relativistic_d(real, fake).item() == pytest.approx(expected)
    assert losses.relativistic_g(real, fake).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", ALL)
def test_losses_average_over_all_axes_behind_the_seeds(name: str) -> None:
    real, fake = numbers(2, 3, 1, 4, 4), numbers(2, 3, 1, 4, 4, seed=1)
    flat = value(name, real.reshape(2, -1, 1), fake.reshape(2, -1, 1))
    torch.testing.assert_close(value(name, real, fake), flat)


@pytest.mark.parametrize("name", ["minimax_d", "least_squares_d", "wasserstein_d", "hinge_d"])
def test_numbers_of_real_and_fake_samples_may_differ_where_they_are_not_paired(name: str) -> None:
    real, fake = numbers(2, 3, 1), numbers(2, 5, 1, seed=1)
    torch.testing.assert_close(value(name, real, fake), value(name, real, torch.cat([fake, fake], 1)))


@pytest.mark.parametrize("name", ["relativistic_d", "relativistic_g"])
def test_pairs_need_as_many_fakes_as_real_samples(name: str) -> None:
    with pytest.raises(ValueError, match="draw as many fakes as there are real samples"):
        value(name, numbers(2, 3, 1), numbers(2, 5, 1))
    with pytest.raises(ValueError, match="must have one shape"):
        value(name, numbers(2, 3, 1), numbers(2, 1, 1))  # would broadcast without a word


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (torch.ones(3), ValueError, r"fake must have shape \(seeds, batch, 1\), not \(3,\)"),
        (torch.ones(3, 0, 1), ValueError, "fake is empty"),
        (torch.ones(3, 2, 1, dtype=torch.long), TypeError, r"fake must hold floating-point numbers"),
        ([0.5], TypeError, "fake must be a torch.Tensor"),
        (0.5, TypeError, "fake must be a torch.Tensor"),
    ],
)
def test_wrong_logits_are_named(name: str, bad: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        value(name, torch.ones(3, 2, 1), bad)


@pytest.mark.parametrize("name", BOTH)
def test_wrong_real_logits_are_named_too(name: str) -> None:
    with pytest.raises(ValueError, match="real must have shape"):
        value(name, torch.ones(3), torch.ones(3, 2, 1))


@pytest.mark.parametrize("name", BOTH)
def test_one_seeds_real_logits_are_not_held_against_all_fakes(name: str) -> None:
    with pytest.raises(ValueError, match="real and fake must"):
        value(name, torch.ones(1, 2, 1), torch.ones(3, 2, 1))  # would broadcast without a word

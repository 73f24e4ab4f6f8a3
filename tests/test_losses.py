"""Each loss against values by hand, against torch's own, and against its slope in closed form."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_helpers import losses
from tests.plain_gan import PLAIN_LOSSES, numbers

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
PAIRED = ("relativistic_d", "relativistic_g")
#: Those that look at real and fake logits; the others look at fake ones alone.
BOTH = [name for name in PLAIN if name.endswith("_d") or name in PAIRED]
every = pytest.mark.parametrize("name", PLAIN)


def value(name: str, real: Tensor, fake: Tensor) -> Tensor:
    loss: Callable[..., Tensor] = getattr(losses, name)
    return loss(real, fake) if name in BOTH else loss(fake)


def column(*logits: float) -> Tensor:
    """Return the logits of one seed, (1, batch, 1)."""
    return torch.tensor(logits, dtype=torch.float64).reshape(1, -1, 1)


def test_every_public_loss_is_tested() -> None:
    functions = inspect.getmembers(losses, inspect.isfunction)
    own = {name for name, function in functions if function.__module__ == losses.__name__}
    assert {name for name in own if not name.startswith("_")} == set(PLAIN)


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


@every
def test_each_seed_has_the_loss_that_torch_computes_for_it_alone(name: str) -> None:
    game, place = PLAIN[name]
    loss = PLAIN_LOSSES[game][place]
    for shape in ((4, 7, 1), (4, 3, 1, 2, 2)):  # the mean is over all axes behind the seeds
        real, fake = 3 * numbers(*shape), 3 * numbers(*shape, seed=1)
        alone = torch.stack([loss(r, f) for r, f in zip(real, fake, strict=True)])
        torch.testing.assert_close(value(name, real, fake), alone, rtol=1e-7, atol=1e-7)


ZERO, s = torch.zeros_like, torch.sigmoid

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


@every
def test_slopes_are_those_of_the_closed_form_and_are_not_averaged_over_seeds(name: str) -> None:
    """Both terms of D's loss are scaled alike, then."""
    batch = 7
    real = (3 * numbers(4, batch, 1)).requires_grad_()
    fake = (3 * numbers(4, batch, 1, seed=1)).requires_grad_()
    (value(name, real, fake).sum() + 0 * real.sum()).backward()
    for logits, slope in zip((real, fake), SLOPES[name], strict=True):
        expected = slope(real.detach(), fake.detach()) / batch
        torch.testing.assert_close(logits.grad, expected, rtol=1e-7, atol=1e-8)


@every
def test_losses_can_be_differentiated_twice(name: str) -> None:
    real, fake = numbers(2, 3, 1).requires_grad_(), numbers(2, 3, 1, seed=1).requires_grad_()
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


# Known mistakes


def test_the_minimax_loss_saturates_and_adds_up_to_a_game_of_sum_zero_unlike_the_other() -> None:
    fake = torch.full((1, 1, 1), -20.0, requires_grad=True)
    (saturating,) = torch.autograd.grad(losses.minimax_g(fake).sum(), fake)
    (other,) = torch.autograd.grad(losses.non_saturating_g(fake).sum(), fake)
    assert abs(saturating.item()) < 1e-8
    assert other.item() == pytest.approx(-1)
    real, fake = numbers(3, 5, 1), numbers(3, 5, 1, seed=1)
    about_real_alone = losses.minimax_d(real, fake) + losses.minimax_g(fake)
    torch.testing.assert_close(about_real_alone, -F.logsigmoid(real).mean((1, 2)))


def test_the_wasserstein_loss_is_linear_and_the_hinge_loss_is_not() -> None:
    real, fake = column(5, 7), column(-4, -9)  # beyond the margins, where the hinge is flat
    assert losses.wasserstein_d(2 * real, 2 * fake).item() == 2 * losses.wasserstein_d(real, fake).item() != 0
    assert losses.hinge_d(real, fake).item() == losses.hinge_d(2 * real, 2 * fake).item() == 0


@pytest.mark.parametrize("name", PAIRED)
def test_the_relativistic_losses_compare_pairs_and_not_means(name: str) -> None:
    expected = (math.log1p(math.exp(4)) + math.log1p(math.exp(-4))) / 2  # of means it would be log 2
    assert value(name, column(0, 4), column(4, 0)).item() == pytest.approx(expected)
    for fakes in (5, 1):  # one would be held against all without a word
        with pytest.raises(ValueError, match="must have one shape.*draw as many fakes as there are real"):
            value(name, numbers(2, 3, 1), numbers(2, fakes, 1))


@pytest.mark.parametrize("name", [name for name in BOTH if name not in PAIRED])
def test_other_losses_take_any_numbers_of_real_and_fake_samples_and_as_many_seeds(name: str) -> None:
    real, fake = numbers(2, 3, 1), numbers(2, 5, 1, seed=1)
    torch.testing.assert_close(value(name, real, fake), value(name, real, torch.cat([fake, fake], 1)))
    with pytest.raises(ValueError, match="real and fake must"):
        value(name, real[:1], fake)  # would be held against all without a word

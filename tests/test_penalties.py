"""Penalties against closed forms, against finite differences, and one norm for each sample."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from gan_helpers.ensemble import Ensemble
from gan_helpers.models import mlp
from gan_helpers.penalties import gradient_penalty, r1, r1_r2, r2, squared_slopes
from gan_helpers.randomness import Stream
from tests.plain_gan import numbers, plain_networks

Penalty = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]


def places() -> Stream:
    """Return the stream of the places between real and fake, the same at every call."""
    return Stream("u", seed=0)


PENALTIES: dict[str, Penalty] = {
    "r1": r1,
    "r2": r2,
    "gradient penalty": lambda D, x: gradient_penalty(D, x, 2 - x, places()),
    "one-sided gradient penalty": lambda D, x: gradient_penalty(D, x, 2 - x, places(), one_sided=True),
    "gradient penalty of target 0": lambda D, x: gradient_penalty(D, x, 2 - x, places(), target=0),
}
each = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)


def linear(w: Tensor) -> Callable[[Tensor], Tensor]:
    """Return D(x) = w x for each seed's own w, (seeds, features)."""
    return lambda x: torch.einsum("kbi,ki->kb", x, w).unsqueeze(2)


def quadratic(x: Tensor) -> Tensor:
    """Return D(x) = |x|^2 / 2, whose slope at x is x itself."""
    return x.square().sum(2, keepdim=True) / 2


def test_the_slope_of_a_linear_discriminator_is_its_weight_wherever_it_is_taken() -> None:
    w, x, fake = numbers(3, 4), numbers(3, 6, 4, seed=1), numbers(3, 6, 4, seed=2)
    norms = w.square().sum(1)
    torch.testing.assert_close(squared_slopes(linear(w), x), norms[:, None].expand(3, 6))
    torch.testing.assert_close(r1(linear(w), x), norms)
    torch.testing.assert_close(r2(linear(w), fake), norms)
    torch.testing.assert_close(gradient_penalty(linear(w), x, fake, places()), (norms.sqrt() - 1) ** 2)
    torch.testing.assert_close(gradient_penalty(linear(w), x, fake, places(), 0.3), (norms.sqrt() - 0.3) ** 2)


def test_each_sample_has_a_norm_of_its_own() -> None:
    x = torch.tensor([[[3.0, 4.0], [0.0, 1.0]], [[0.0, 2.0], [0.0, 0.0]]])  # norms 5 and 1, then 2 and 0
    torch.testing.assert_close(squared_slopes(quadratic, x), torch.tensor([[25.0, 1.0], [4.0, 0.0]]))
    torch.testing.assert_close(r1(quadratic, x), torch.tensor([13.0, 2.0]))
    torch.testing.assert_close(r2(quadratic, x), torch.tensor([13.0, 2.0]))
    # Between x and x there is only x. One norm over the batch, sqrt(26), would give 16.8 for the first seed.
    torch.testing.assert_close(gradient_penalty(quadratic, x, x, places()), torch.tensor([8.0, 1.0]))
    # One-sided, the flat place of the second seed costs nothing.
    one_sided = gradient_penalty(quadratic, x, x, places(), one_sided=True)
    torch.testing.assert_close(one_sided, torch.tensor([8.0, 0.5]))
    both = gradient_penalty(quadratic, x, x, places(), 1.5, one_sided=True)
    torch.testing.assert_close(both, torch.tensor([3.5**2 / 2, 0.5**2 / 2]))


def test_the_slope_of_an_ensemble_is_that_of_each_sample_in_each_plain_member() -> None:
    members = plain_networks(lambda: mlp(2, 5, 1), 3)
    x = numbers(3, 3, 2)
    out = squared_slopes(Ensemble.of(members), x)
    for k, member in enumerate(members):
        for i in range(3):
            slope = torch.autograd.functional.jacobian(member, x[k, i])  # one sample, one network, one graph
            torch.testing.assert_close(out[k, i], slope.square().sum())


def test_both_penalties_in_one_pass_are_half_of_their_sum() -> None:
    x, fake = numbers(2, 5, 2), numbers(2, 5, 2, seed=1)
    torch.testing.assert_close(r1_r2(quadratic, x, fake), (r1(quadratic, x) + r2(quadratic, fake)) / 2)
    with pytest.raises(ValueError, match="fake"):  # a mean over both would weigh the larger half more
        r1_r2(quadratic, x, fake[:, :3])


def visited(x: Tensor, fake: Tensor, rng: Stream) -> Tensor:
    """Return the points at which the gradient penalty takes D's slope."""
    points = []

    def D(x: Tensor) -> Tensor:
        points.append(x.detach())
        return quadratic(x.flatten(2))

    gradient_penalty(D, x, fake, rng)
    (at,) = points
    return at


def test_places_between_real_and_fake_are_uniform_and_not_normal_or_fixed_and_one_for_each_sample() -> None:
    x, fake = torch.ones(4, 2_000, 3), torch.zeros(4, 2_000, 3)
    u = visited(x, fake, places())
    assert torch.equal(u, u[..., :1].expand_as(u))  # all features of a sample move together
    u = u[..., 0]
    assert 0 <= u.min() and u.max() < 1
    assert u.unique().numel() > 7_900
    for seed in u:
        assert stats.kstest(seed.numpy(), "uniform").pvalue > 0.001
    assert torch.corrcoef(u).fill_diagonal_(0).abs().max() < 0.1  # seeds draw their own


def test_places_lie_on_the_line_from_fake_to_real_and_are_drawn_anew_at_each_call() -> None:
    x, fake, rng, twin = numbers(2, 5, 3), numbers(2, 5, 3, seed=1), places(), places()
    at = [visited(x, fake, rng) for _ in range(2)]
    for points in at:
        u = twin.uniform(2, 5, 1).double()
        torch.testing.assert_close(points, u * x + (1 - u) * fake)
    assert not torch.equal(*at)


def test_an_image_has_one_place_and_one_norm_over_all_its_axes() -> None:
    x = numbers(2, 3, 1, 4, 4)
    at = visited(torch.ones_like(x), torch.zeros_like(x), places())
    assert torch.equal(at, at[..., :1, :1].expand_as(at)) and at.unique().numel() == 6
    out = r1(lambda x: x.square().sum((2, 3, 4)).unsqueeze(2) / 2, x)
    torch.testing.assert_close(out, x.square().sum((2, 3, 4)).mean(1))


@each
def test_a_flat_discriminator_has_finite_slopes(penalty: Penalty) -> None:
    D = Ensemble(lambda: mlp(2, 4, 1), 3, device="cpu")
    for p in D.parameters():
        nn.init.zeros_(p)
    out = penalty(D, numbers(3, 5, 2, dtype=torch.float32))
    expected = 1.0 if penalty is PENALTIES["gradient penalty"] else 0.0
    assert out.tolist() == pytest.approx([expected] * 3)
    out.sum().backward()
    slopes = [p.grad for p in D.parameters() if p.grad is not None]
    assert slopes and all(slope.isfinite().all() for slope in slopes)


def test_one_flat_place_does_not_spoil_the_slopes_of_the_others() -> None:
    w = torch.tensor([[2.0]], requires_grad=True)
    x = torch.tensor([[[0.0], [3.0]]])  # |slope| of w x^2 / 2 is 0 at the first sample and 6 at the second
    out = gradient_penalty(lambda x: w * quadratic(x), x, x, places())
    assert out.item() == pytest.approx((1 + 25) / 2)
    out.sum().backward()
    assert w.grad is not None and w.grad.item() == pytest.approx(2 * (6 - 1) * 3 / 2)


@each
def test_the_slope_of_a_penalty_agrees_with_finite_differences_to_second_order(penalty: Penalty) -> None:
    x = numbers(2, 2, 2)
    w, v = numbers(2, 2, 3, seed=1).requires_grad_(), numbers(2, 3, 1, seed=2).requires_grad_()

    def of_weights(w: Tensor, v: Tensor) -> Tensor:
        return penalty(lambda x: torch.tanh(x @ w) @ v, x)

    assert torch.autograd.gradcheck(of_weights, (w, v)) and torch.autograd.gradgradcheck(of_weights, (w, v))


@pytest.mark.parametrize("name", ["r2", "gradient penalty"])
def test_no_gradient_flows_to_the_generator(name: str) -> None:
    G = Ensemble(lambda: mlp(1, 3, 2), 2, name="G", device="cpu")
    D = Ensemble(lambda: mlp(2, 3, 1), 2, name="D", device="cpu")
    fake = G(torch.ones(2, 4, 1))
    out = r2(D, fake) if name == "r2" else gradient_penalty(D, torch.zeros(2, 4, 2), fake, places())
    gradients = torch.autograd.grad(out.sum(), list(G.parameters()), allow_unused=True)
    assert gradients == (None,) * len(gradients)


@each
def test_penalties_leave_samples_and_torchs_generator_alone_and_need_no_gradients(penalty: Penalty) -> None:
    x, generator = numbers(2, 3, 2), torch.get_rng_state()
    before = x.clone()
    measured = penalty(quadratic, x)
    assert torch.equal(x, before) and not x.requires_grad
    assert torch.equal(torch.get_rng_state(), generator)
    with torch.no_grad():
        assert torch.equal(penalty(quadratic, x), measured) and measured.shape == (2,)


@each
def test_a_seed_has_the_penalty_that_it_has_alone(penalty: Penalty) -> None:
    x = numbers(3, 4, 2)
    changed = x.clone()
    changed[1] *= 10
    one, other = penalty(quadratic, x), penalty(quadratic, changed)
    assert torch.equal(one[[0, 2]], other[[0, 2]]) and one[1] != other[1]


def test_what_has_no_slopes_is_refused() -> None:
    x = torch.ones(2, 3, 1)
    with pytest.raises(ValueError, match="x and fake must have one shape"):
        gradient_penalty(quadratic, x, x[:, :1], places())
    with pytest.raises(TypeError, match=r"x and fake must be of one dtype.*call fake.to\(torch.float32\)"):
        gradient_penalty(quadratic, x, x.double(), places())
    with pytest.raises(ValueError, match="target must be at least 0"):
        gradient_penalty(quadratic, x, x, places(), -1.0)
    for D in (lambda x: x.detach(), lambda x: torch.ones(2, 3, 1, requires_grad=True)):
        with pytest.raises(ValueError, match=r"D\(x\) does not depend on x"):
            r1(D, x)

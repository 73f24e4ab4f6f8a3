"""Equal budgets: multiplications as by hand, settings that are drawn fairly, and Adam member by member."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gan_helpers import Ensemble, Stream, adam
from gan_helpers.equal import (
    MOMENTA,
    RATES,
    TURNS,
    MemberAdam,
    Setting,
    best,
    column,
    multiplications,
    of_gradient,
    settings,
)
from gan_helpers.losses import wasserstein_g
from gan_helpers.penalties import r1
from tests.plain_gan import numbers

# Arithmetic


@pytest.mark.parametrize(("n", "k", "m"), [(3, 4, 5), (1, 7, 2)])
def test_a_product_takes_as_many_multiplications_as_by_hand(n: int, k: int, m: int) -> None:
    a, b = torch.ones(n, k), torch.ones(k, m)
    assert multiplications(lambda: a @ b) == n * k * m
    assert multiplications(lambda: a.exp() * a) == 0


def test_the_gradient_of_one_layer_takes_one_product_more_for_its_weights_and_none_for_its_data() -> None:
    D = Ensemble(lambda: nn.Linear(3, 5), 2, seed=0, device="cpu")
    x = numbers(2, 7, 3).float()
    assert of_gradient(lambda: D(x).mean((1, 2)), D) == 2 * (2 * 7 * 3 * 5)


def test_two_layers_also_pass_the_gradient_on() -> None:
    D = Ensemble(lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1)), 1, seed=0, device="cpu")
    x, first, second = numbers(1, 7, 3).float(), 7 * 3 * 5, 7 * 5
    once = of_gradient(lambda: D(x).mean((1, 2)), D)
    assert once == 2 * first + 3 * second  # forward; backward, to the inputs of the second layer alone
    # The slope in x: forward, and back to x. Its own gradient passes back through both products to their
    # weights, and torch also carries what ReLU's slope would pass on to the first layer: zeros.
    penalty = of_gradient(lambda: r1(D, x), D)
    assert penalty == 2 * (first + second) + (2 * first + second) + first


def test_a_generators_gradient_goes_through_the_critic_and_leaves_its_weights_alone() -> None:
    G = Ensemble(lambda: nn.Linear(2, 3), 1, name="G", seed=0, device="cpu")
    D = Ensemble(lambda: nn.Linear(3, 1), 1, name="D", seed=0, device="cpu")
    z = numbers(1, 7, 2).float()
    assert of_gradient(lambda: wasserstein_g(D(G(z))), G) == 2 * (7 * 2 * 3) + 2 * (7 * 3)


# Settings


def test_settings_meet_each_part_of_each_range_once_and_share_their_rates() -> None:
    n = 9
    one, other = (settings(n, powers, Stream("settings", 5)) for powers in ((-2.0, 1.0), (0.0, 0.0)))
    assert [(s.g_rate, s.d_rate, s.beta1, s.d_steps) for s in one] == [
        (s.g_rate, s.d_rate, s.beta1, s.d_steps) for s in other
    ]
    assert all(s.own == 1 for s in other)
    parts: dict[str, tuple[float, float]] = {"g_rate": RATES, "d_rate": RATES, "own": (-2.0, 1.0)}
    for name, (low, high) in parts.items():
        places = [n * (math.log10(getattr(s, name)) - low) / (high - low) for s in one]
        assert sorted(map(int, places)) == list(range(n)), name
    assert sorted(s.beta1 for s in one) == sorted(3 * MOMENTA)
    assert sorted(s.d_steps for s in one) == sorted(3 * TURNS)
    orders = {tuple(sorted(range(n), key=lambda i: getattr(one[i], name))) for name in parts}  # noqa: B023
    assert len(orders) == 3


def test_what_is_drawn_depends_on_the_stream_and_a_number_of_settings_is_needed() -> None:
    drawn = [settings(4, (0.0, 1.0), Stream("settings", seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    with pytest.raises(ValueError, match="n must be at least 1"):
        settings(0, (0.0, 1.0), Stream("settings", 1))


@pytest.mark.parametrize(
    ("distances", "expected"),
    [
        ([[3.0, 3.0, 3.0], [1.0, 1.0, 9.0], [2.0, 2.0, 0.0]], 1),  # the median, and neither mean nor best
        ([[math.inf] * 3, [7.0, math.inf, 8.0]], 1),
        ([[1.0, 1.0, math.inf, math.inf], [2.0, 2.0, 2.0, 2.0]], 0),  # the lower one of two in the middle
        ([[math.inf] * 2, [math.inf] * 2], 0),
    ],
)
def test_the_best_setting_has_the_least_median(distances: list[list[float]], expected: int) -> None:
    assert best([torch.tensor(values) for values in distances]) == expected


def test_there_is_no_best_of_nothing_nor_of_what_is_not_a_number() -> None:
    with pytest.raises(ValueError, match="at least one setting"):
        best([])
    with pytest.raises(ValueError, match="infinitely far"):
        best([torch.tensor([1.0, math.nan])])


# Adam


def rates(*values: float) -> Tensor:
    return torch.tensor(values)


def moved(optimiser: torch.optim.Optimizer, network: Ensemble, steps: int = 5) -> list[Tensor]:
    x = numbers(network.seeds, 6, 2).float()
    for _ in range(steps):
        optimiser.zero_grad()
        network(x).square().mean((1, 2)).sum().backward()
        optimiser.step()
    return [w.detach().clone() for w in network.parameters()]


def net(seeds: int = 2) -> Ensemble:
    return Ensemble(lambda: nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)), seeds, seed=3,
                    device="cpu")  # fmt: skip


def test_each_member_moves_as_torchs_adam_moves_it_alone() -> None:
    network = net()
    ours = moved(MemberAdam(network, rates(1e-2, 3e-3), rates(0.0, 0.9)), network)
    for k, (rate, beta1) in enumerate([(1e-2, 0.0), (3e-3, 0.9)]):
        alone = net()
        for one, other in zip(ours, moved(adam(alone, rate, betas=(beta1, 0.999)), alone), strict=True):
            torch.testing.assert_close(one[k], other[k])


def test_a_clip_cuts_each_members_weights_to_its_own_size() -> None:
    network = net()
    for weights in moved(MemberAdam(network, rates(0.1, 0.1), rates(0.5, 0.5), rates(0.02, 0.3)), network):
        assert weights[0].abs().max() <= 0.02 + 1e-7 and weights[1].abs().max() <= 0.3 + 1e-7
    largest = max(w[1].abs().max() for w in network.parameters())
    assert largest.item() == pytest.approx(0.3)


def test_a_member_that_is_lost_leaves_the_others_alone() -> None:
    both, sound = net(), net()
    with torch.no_grad():
        next(both.parameters())[0] = math.nan
    broken, whole = (moved(MemberAdam(n, rates(0.1, 0.1), rates(0.5, 0.5)), n) for n in (both, sound))
    for one, other in zip(broken, whole, strict=True):
        assert torch.equal(one[1], other[1])


def test_adam_goes_on_from_what_it_has_stored() -> None:
    through, stopped = net(), net()
    ours = moved(MemberAdam(through, rates(0.1, 0.2), rates(0.5, 0.9)), through, 6)
    first, second = (MemberAdam(stopped, rates(0.1, 0.2), rates(0.5, 0.9)) for _ in range(2))
    moved(first, stopped, 3)
    second.load_state_dict(first.state_dict())
    for one, other in zip(ours, moved(second, stopped, 3), strict=True):
        assert torch.equal(one, other)


def test_adam_needs_a_number_for_each_member() -> None:
    with pytest.raises(ValueError, match=r"rate must have one number for each of 2 members, not \(3,\)"):
        MemberAdam(net(), rates(1, 1, 1), rates(0, 0))


def test_a_part_of_all_settings_is_a_column() -> None:
    of = [Setting(1.0, 2.0, 0.5, 1, 3.0), Setting(4.0, 5.0, 0.0, 1, 6.0)]
    assert column(of, "own").tolist() == [3, 6] and column(of, "beta1").tolist() == [0.5, 0]

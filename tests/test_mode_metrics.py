"""Modes counted where the answer is known by hand, and what real samples get."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.spatial
import torch
from scipy import stats
from torch import Tensor

from gan_helpers.data import GaussianMixture, grid, ring
from gan_helpers.mode_metrics import count_modes
from gan_helpers.randomness import Stream

PAPER = 2_500  # samples
PERFECT = 1 - math.exp(-4.5)
TWO = GaussianMixture(torch.tensor([[0.0, 0.0], [10.0, 0.0]]), 2.0)


def shrunk(target: GaussianMixture, by: float, seeds: int = 8) -> Tensor:
    """Return samples whose modes are as wide as they should be, times a factor."""
    narrow = GaussianMixture(target.means, by * target.sd)
    return narrow(seeds, PAPER, Stream("modes", 3))


def test_counts_by_hand() -> None:
    inside, outside = [1.0, 5.9], [0.0, 6.1]  # 5.98 and 6.1 from the first mode: three deviations are 6
    other = [9.0, 1.0]
    x = torch.tensor([[inside, inside, inside, other], [inside, outside, outside, outside], [outside] * 4])
    found = count_modes(x, TWO)
    assert found.modes.tolist() == [2, 1, 0]
    assert found.high_quality.tolist() == [1, 0.25, 0]
    uneven = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert found.reverse_kl.tolist() == pytest.approx([uneven, math.log(2), math.log(2)])


def test_the_border_is_of_low_quality_and_where_the_radius_says() -> None:
    x = torch.tensor([[[0.0, 6.0]]])
    assert count_modes(x, TWO).high_quality.item() == 0
    assert count_modes(x, TWO, radius=3.01).high_quality.item() == 1


@pytest.mark.parametrize("target", [ring(), grid()])
def test_a_perfect_sampler_is_at_the_floor(target: GaussianMixture) -> None:
    found = count_modes(target(64, PAPER, Stream("modes", 0)), target)
    k = target.modes
    assert (found.modes == k).all()
    error = math.sqrt(PERFECT * (1 - PERFECT) / (64 * PAPER))
    assert found.high_quality.mean().item() == pytest.approx(PERFECT, abs=4 * error)
    # 2 n KL is nearly chi squared, with k - 1 degrees of freedom.
    floor = (k - 1) / (2 * PAPER)
    assert found.reverse_kl.mean().item() == pytest.approx(floor, rel=4 * math.sqrt(2 / (k - 1) / 64) + 0.03)


@pytest.mark.parametrize("by", [0.5, 0.8, 2.0])
def test_modes_of_another_width_show_in_the_share_alone(by: float) -> None:
    found = count_modes(shrunk(ring(), by), ring())
    expected = stats.chi2.cdf((3 / by) ** 2, 2)
    error = math.sqrt(expected * (1 - expected) / (8 * PAPER))
    assert found.high_quality.mean().item() == pytest.approx(expected, abs=4 * error + 1e-4)
    assert (found.high_quality.mean() > PERFECT) == (by < 1)
    assert (found.modes == 8).all()
    assert found.reverse_kl.max() < 0.01


@pytest.mark.parametrize("kept", [1, 3, 24])
def test_modes_that_are_missed_show_in_count_and_divergence(kept: int) -> None:
    some = GaussianMixture(grid().means[:kept], grid().sd)
    found = count_modes(some(8, PAPER, Stream("modes", 1)), grid())
    assert (found.modes == kept).all()
    least = torch.full((8,), math.log(25 / kept), dtype=torch.float64)
    torch.testing.assert_close(found.reverse_kl, least, rtol=0, atol=0.02)
    assert (found.reverse_kl >= least - 1e-12).all()
    assert found.high_quality.mean().item() == pytest.approx(PERFECT, abs=0.005)


def test_it_agrees_with_counting_one_sample_after_the_other() -> None:
    target = grid(3, spacing=0.5, sd=0.1)  # modes that overlap
    x = Stream("modes", 2).normal(3, 200, 2)
    found = count_modes(x, target)
    for k, sample in enumerate(x.double().numpy()):
        near = scipy.spatial.KDTree(target.means.double().numpy()).query(sample)
        counts = np.bincount(near[1][near[0] / 0.1 < 3], minlength=9)
        assert found.modes[k] == np.count_nonzero(counts)
        assert found.high_quality[k].item() == pytest.approx(counts.sum() / 200)
        divergence = stats.entropy(counts / counts.sum(), np.full(9, 1 / 9))
        assert found.reverse_kl[k].item() == pytest.approx(divergence)


def test_counts_are_in_double_precision_without_a_graph_seed_by_seed() -> None:
    x = ring()(3, 50, Stream("modes", 0)).requires_grad_()
    together = count_modes(x, ring())
    for name, values in vars(together).items():
        shape = (3, 8) if name == "each" else (3,)
        assert (values.dtype, values.shape, values.requires_grad) == (torch.float64, shape, False)
        alone = [getattr(count_modes(one.unsqueeze(0), ring()), name) for one in x]
        assert values.equal(torch.cat(alone))


def test_samples_of_other_features_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x must have 2 features, as target has, not \(1, 5, 3\)"):
        count_modes(torch.ones(1, 5, 3), ring())

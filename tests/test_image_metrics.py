"""Metrics of images, where the truth is known: by hand, in closed form, or by an expectation."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from gan_helpers import classifier, image_metrics, mnist
from gan_helpers.image_metrics import (
    class_kl,
    class_shares,
    copying,
    density_coverage,
    frechet_distance,
    nearest,
    precision,
)
from gan_helpers.randomness import Stream


def normal(*shape: int, name: str = "x") -> Tensor:
    return Stream(name, 0).normal(*shape)


# Classes


def test_shares_by_hand():
    labels = torch.tensor([[0, 1, 1, 2], [3, 3, 3, 3]])
    assert class_shares(labels, 4).tolist() == [[0.25, 0.5, 0.25, 0], [0, 0, 0, 1]]
    assert class_shares(labels).shape == (2, 10)


REAL = torch.tensor([0.1, 0.2, 0.3, 0.4])


def test_the_divergence_of_classes_is_scipy_s_and_in_the_stated_direction():
    shares = torch.cat((torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.25] * 4]), REAL[None], torch.eye(4)))
    expected = [stats.entropy(row, REAL) for row in shares]
    assert class_kl(shares, REAL).numpy() == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_the_floor_of_the_divergence_is_as_stated():
    """Twice n times the divergence is about chi-squared, with a mean of classes - 1."""
    real, n = torch.full((10,), 0.1), 2_000
    kl = class_kl(class_shares(Stream("labels", 0).integers(10, 4_000, n)), real)
    assert kl.mean().item() == pytest.approx(9 / (2 * n), rel=0.05)


# Fréchet distance


def test_the_frechet_distance_of_a_shift_of_a_scale_and_of_a_point():
    """The formula in full is that of `w2_gaussian`, whose tests compare it with SciPy's roots."""
    real = normal(500, 6).double()
    x = torch.stack((real, real + torch.arange(6.0), 3 * real, 0 * real))
    spread = ((real.mean(0) ** 2).sum() + real.var(0, correction=0).sum()).item()
    assert frechet_distance(x, real).numpy() == pytest.approx([0, 55, 4 * spread, spread], abs=1e-8)


# Density and coverage


def by_loops(x: Tensor, real: Tensor, k: int) -> tuple[float, float]:
    """The definition, point by point."""
    hits, covered, x, real = 0, 0, x.tolist(), real.tolist()
    for i, r in enumerate(real):
        others = sorted(math.dist(r, s) for j, s in enumerate(real) if j != i)
        inside = [math.dist(r, p) < others[k - 1] for p in x]
        hits += sum(inside)
        covered += any(inside)
    return hits / (k * len(x)), covered / len(real)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_density_and_coverage_are_those_of_the_definition(k):
    """Whole numbers put many points on a border, which is outside."""
    x = (4 * torch.tensor([0.5, 1, 2]).view(3, 1, 1) * normal(3, 25, 2)).round()
    real = (4 * normal(20, 2, name="real")).round()
    result = density_coverage(x, real, k)
    expected = [by_loops(sample, real, k) for sample in x]
    assert result.density.tolist() == pytest.approx([d for d, _ in expected])
    assert result.coverage.tolist() == pytest.approx([c for _, c in expected])


def test_precision_is_the_share_of_samples_with_a_real_neighbourhood_around_them():
    x = (4 * torch.tensor([0.5, 1, 2]).view(3, 1, 1) * normal(3, 25, 2)).round()
    real = (4 * normal(20, 2, name="real")).round()
    expected = [sum(by_loops(point[None], real, 3)[0] > 0 for point in sample) / 25 for sample in x]
    assert precision(x, real, 3).tolist() == pytest.approx(expected) and 0 < min(expected) < max(expected)
    assert precision(real[None], real).item() == 1


@pytest.mark.parametrize(("n", "m", "k"), [(50, 50, 5), (20, 60, 3), (80, 30, 1)])
def test_samples_of_the_real_distribution_are_at_the_stated_expectation(n, m, k):
    results = [
        density_coverage(normal(4, n, 3, name=f"x{i}"), normal(m, 3, name=f"r{i}"), k) for i in range(200)
    ]
    density, coverage = (torch.cat([getattr(r, name) for r in results]) for name in ("density", "coverage"))
    expected = 1 - math.prod((m - i) / (n + m - i) for i in range(1, k + 1))
    # The four seeds of a trial share their real points, so it is the trials that are independent.
    for value, truth in ((density, 1.0), (coverage, expected)):
        error = value.view(200, 4).mean(1).std() / math.sqrt(200)
        assert abs(value.mean() - truth) < 4 * error


# Nearest points


def test_the_nearest_points_are_found(monkeypatch):
    x, real = normal(3, 7, 5), normal(40, 5, name="real")
    points = real.tolist()
    distance = torch.tensor([[[math.dist(p, r) for r in points] for p in sample] for sample in x.tolist()])
    for chunk in (1_000, 4):
        monkeypatch.setattr(image_metrics, "CHUNK", chunk)
        result = nearest(x, real)
        assert result.index.equal(distance.argmin(2))
        torch.testing.assert_close(result.distance.float(), distance.amin(2))


def test_a_copied_image_is_found_at_distance_0():
    real = Stream("real", 0).uniform(300, 784)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0)).view(3, 100)
    result = nearest(real[order], real)
    assert result.index.equal(order)
    assert (result.distance == 0).all()
    far = 1_000 + real  # where single precision would have other neighbours
    assert nearest(far[order], far).index.equal(order)


def test_copies_are_told_from_new_points():
    train, held_out = normal(50, 3, name="train"), normal(50, 3, name="held out")
    assert copying(torch.stack((train, held_out)), train, held_out).tolist() == [1, 0]
    assert copying(normal(2, 9, 3), train, train).tolist() == [0.5, 0.5]


# All of them

METRICS = {
    "frechet": frechet_distance,
    "density": lambda x, real: density_coverage(x, real).density,
    "coverage": lambda x, real: density_coverage(x, real).coverage,
    "precision": precision,
    "nearest": lambda x, real: nearest(x, real).distance.mean(1),
    "copying": lambda x, real: copying(x, real, real.flip(1)),
}
on_all = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


@on_all
def test_each_seed_gets_the_number_it_would_get_alone_and_no_graph(metric):
    x, real = normal(4, 30, 3).cumsum(0).requires_grad_(), normal(40, 3, name="real")
    together = metric(x, real)
    assert (together.shape, together.dtype, together.requires_grad) == ((4,), torch.float64, False)
    alone = torch.cat([metric(x[k : k + 1], real) for k in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


@on_all
@pytest.mark.parametrize(
    ("x", "real", "words"),
    [
        ((2, 5, 28, 28), (40, 3), r"x must have .* call x.flatten\(2\) on images"),
        ((2, 30, 9), (40, 3, 3), r"\(m, features\).*flatten\(1\) on images"),
        ((2, 30, 3), (40, 4), "as many features, not 3 and 4"),
    ],
)
def test_what_does_not_fit_is_refused(x, real, words, metric):
    with pytest.raises(ValueError, match=words):
        metric(torch.zeros(x), torch.zeros(real))


REFUSED = {
    "from 0 to 9, not from 0 to 10": lambda: class_shares(torch.tensor([[0, 10]])),
    "not from -1 to 1": lambda: class_shares(torch.tensor([[-1, 1]])),
    "real must have all classes": lambda: class_kl(torch.eye(4), torch.tensor([0.5, 0.5, 0, 0])),
    "of 4 classes, as real is, not of 3": lambda: class_kl(torch.eye(3), REAL),
    "shares must be at least 0 and sum to 1": lambda: class_kl(torch.ones(1, 4), REAL),
    "real must be at least 0 and sum to 1": lambda: class_kl(torch.eye(4), 2 * REAL),
    "shares must be at least 0": lambda: class_kl(torch.tensor([[1.5, -0.5, 0, 0]]), REAL),
    "below the number of real points, 5, not 5": lambda: density_coverage(normal(1, 5, 2), normal(5, 2)),
    r"one shape, not \(9, 2\) and \(8, 2\)": lambda: copying(normal(1, 5, 2), normal(9, 2), normal(8, 2)),
}


@pytest.mark.parametrize("words", REFUSED)
def test_bad_arguments_are_refused_with_the_way_out(words):
    with pytest.raises((TypeError, ValueError), match=words):
        REFUSED[words]()


# Digits


@pytest.fixture(scope="module")
def features() -> dict[str, Tensor]:
    digits, judge = mnist.load(device="cpu"), classifier.load("cpu")
    images, labels = digits.train.images[:2_000], digits.train.labels[:2_000]
    few = images[labels < 5].repeat(2, 1)[:2_000]
    made = {
        "real": digits.test.images,
        "fresh": images,
        "half the digits": few,
        "noisy": (images + 0.3 * normal(2_000, 784)).clamp(0, 1),
        "noise": Stream("noise", 0).uniform(2_000, 784),
    }
    return {name: judge.features(value) for name, value in made.items()}


def test_better_digits_are_nearer_than_worse_ones(features):
    samples = torch.stack([features[name] for name in ("fresh", "half the digits", "noisy", "noise")])
    fresh, half, noisy, noise = frechet_distance(samples, features["real"])
    assert fresh < 0.2 * min(half, noisy) and max(half, noisy) < noise


def test_the_floor_of_the_frechet_distance_is_as_stated(features):
    """Digits that the classifier has learned from are no further from held-out ones than from each other."""
    floor = frechet_distance(features["fresh"].unsqueeze(0), features["real"]).item()
    assert 0.25 < floor < 0.35
    halves = frechet_distance(features["fresh"][None, :1_000], features["fresh"][1_000:]).item()
    assert floor < halves < 3 * floor


def test_missing_digits_cost_coverage_and_not_density(features):
    fresh, few = (
        density_coverage(features[name][None], features["real"]) for name in ("fresh", "half the digits")
    )
    assert fresh.density.item() == pytest.approx(1, abs=0.07)
    assert fresh.coverage.item() == pytest.approx(1 - 2**-5, abs=0.02)
    assert few.coverage < 0.6 and few.density > 0.9

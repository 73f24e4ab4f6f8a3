"""Three digits make a mode: they are drawn apart from each other, read as they were drawn, and counted."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from gan_helpers import classifier, image_metrics, mnist
from gan_helpers.randomness import Stream
from gan_helpers.recipes import convolutions
from gan_helpers.recipes import stacked as chapter
from gan_helpers.tables import ledger

DIGITS = mnist.load(device="cpu")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[mnist.Mnist]:
    """Have 300 digits of either part, and count few images."""
    digits = mnist.Mnist(DIGITS.train[:300], DIGITS.test[:300])
    monkeypatch.setattr(chapter, "every_digit", lambda: digits)
    for name, value in {"JUDGED": 100, "COUNTED": 200, "CHUNK": 100}.items():
        monkeypatch.setattr(chapter, name, value)
    yield digits


def test_an_image_is_three_digits_drawn_apart() -> None:
    x = chapter.Stacked(DIGITS.train.images[:50])(2, 4_000, Stream("stacked", 1, "cpu"))
    planes = x.unflatten(2, (3, 784))
    which = (planes[:, :, :, None, ::7] == DIGITS.train.images[:50, ::7]).all(4).double().argmax(3)
    assert torch.equal(DIGITS.train.images[:50][which], planes)
    # Each of the 50 is as likely in each colour, and no colour says anything of another one.
    for one, other in ((0, 1), (1, 2), (0, 2)):
        pairs = (which[..., one] * 50 + which[..., other]).flatten().bincount(minlength=2_500).double()
        assert abs(pairs.var().item() - 3.2) < 0.4  # that of Poisson's law
    assert not torch.equal(x[0], x[1])


def test_modes_are_read_off_the_three_colours() -> None:
    found = chapter.labels(chapter.Stacked(DIGITS.test.images)(1, 500, Stream("read", 2, "cpu")), judge())
    assert found.shape == (1, 500)
    digits, rng = DIGITS.test, Stream("read", 2, "cpu")
    index = chapter.Stacked(torch.arange(len(digits)).double()[:, None])(1, 500, rng).long()
    truth = digits.labels[index] @ torch.tensor([100, 10, 1])
    assert (found == truth).double().mean() > 0.93  # three digits, each read right nearly always


def judge() -> classifier.DigitClassifier:
    """Return the judge of digits."""
    return classifier.load("cpu")


def test_evenness_is_the_formula_worked_by_hand() -> None:
    found = chapter.spread(torch.tensor([[7, 7, 7, 999], [0, 1, 2, 3]]))
    assert found["modes"].tolist() == [2, 4]
    uneven = 0.75 * math.log(750) + 0.25 * math.log(250)
    assert found["kl"].tolist() == pytest.approx([uneven, math.log(250)])


@pytest.mark.parametrize("repair", [False, True])
def test_the_game_is_that_of_the_chapter_on_convolutions(repair: bool) -> None:
    images = DIGITS.train.images[:100]
    ours = chapter.changed(images, repair, steps=5)
    theirs = (convolutions.repaired if repair else convolutions.original)(images, steps=5)
    assert (ours.steps, ours.batch) == (theirs.steps, theirs.batch)
    for name in ("G", "D"):
        mine, other = (getattr(recipe, name)() for recipe in (ours, theirs))
        shapes = [[tuple(w.shape) for w in network.parameters()] for network in (mine, other)]
        differ = [(a, b) for a, b in zip(*shapes, strict=True) if a != b]
        # The layer next to the pixels has three channels in place of one, and so has its bias in G.
        assert (
            differ
            == {"G": [((16, 3, 4, 4), (16, 1, 4, 4)), ((3,), (1,))], "D": [((16, 3, 4, 4), (16, 1, 4, 4))]}[
                name
            ]
        )
    assert [p["lr"] for p in ours.d_opt(ours.networks(1)[1]).param_groups] == [
        p["lr"] for p in theirs.d_opt(theirs.networks(1)[1]).param_groups
    ]
    x = ours.data(1, 4, Stream("pixels", 3, "cpu"))
    assert x.min() == -1 and x.max() <= 1 and x.shape == (1, 4, 2352)


def test_a_run_is_counted_on_its_way_by_the_average_of_its_weights(few: mnist.Mnist) -> None:
    columns = chapter.whole(True, 1, 3, steps=4, at=(2, 4))
    assert set(columns) == {f"{m}_{s}" for m in ("modes", "kl", "frechet") for s in (2, 4)}
    for steps in (2, 4):
        recipe = chapter.changed(few.train.images, True, 4)
        G, D = recipe.networks(1, seed=3)
        averaged = recipe.train(G, D, seed=3, steps=steps).averaged
        assert averaged is not None
        z = Stream("counting", 3).normal(1, 200, 100)
        images = convolutions.drawn(averaged, z).float() / 255
        modes = chapter.labels(images, judge())
        assert columns[f"modes_{steps}"] == len(modes.unique())
        assert columns[f"kl_{steps}"] == chapter.spread(modes)["kl"]
        digits = images.unflatten(2, (3, 784)).flatten(1, 2)[:, :100]
        features = (judge().features(x).double() for x in (digits, few.test.images[:100]))
        expected = image_metrics.frechet_distance(*features).item()
        assert columns[f"frechet_{steps}"].item() == pytest.approx(expected)


def test_real_images_are_made_of_digits_that_they_are_not_compared_with(
    few: mnist.Mnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    stacked = chapter.Stacked
    monkeypatch.setattr(chapter, "Stacked", lambda images: drawn.append(images) or stacked(images))
    assert set(chapter.floor(2, 3)) == {"modes", "kl", "frechet"}
    assert torch.equal(drawn[0], few.test.images[100:])


def test_floors_are_what_chance_makes_of_equal_shares() -> None:
    floor = ledger("stacked_floor")
    assert (floor["modes"] == 1_000).all()
    # Digits are not equally frequent in the test set, so it is a little more than 999 / (2 * 25,600).
    assert 0.0195 < floor["kl"].median() < 0.06

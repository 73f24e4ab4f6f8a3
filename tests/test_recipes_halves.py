"""Halves of digits are given and drawn as it is said, and completed digits are judged right."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gan_helpers import Ensemble, Stream, mnist
from gan_helpers.losses import minimax_d, non_saturating_g
from gan_helpers.penalties import r1, r2
from gan_helpers.recipes import halves
from gan_helpers.tables import ledger
from tests.chapters import Chapter, assert_trains_by
from tests.plain_gan import numbers

IMAGES = torch.rand(40, 784, generator=torch.Generator().manual_seed(1))


def test_the_right_half_is_hidden_and_joined() -> None:
    image = torch.arange(784.0).expand(2, -1)
    y = halves.hidden(image).view(2, 28, 28)
    assert torch.equal(y[:, :, :14], image.view(2, 28, 28)[:, :, :14]) and (y[:, :, 14:] == -1).all()
    both = halves.joined(image, -image).view(2, 28, 28)
    assert (both[:, :, :14] >= 0).all() and (both[:, :, 14:] < 0).all()


def test_pairs_are_digits_and_their_own_halves() -> None:
    x, y = halves.Halves(2 * IMAGES - 1)(2, 5, Stream("halves", 1))
    assert x.shape == y.shape == (2, 5, 784)
    assert torch.equal(y, halves.hidden(x))
    assert all(any(torch.equal(one, image) for image in 2 * IMAGES - 1) for one in x[0])


def test_the_left_half_stays_and_the_noise_is_used() -> None:
    G = Ensemble(halves.UNet, 2, name="G", seed=1, device="cpu")
    x, z = numbers(2, 3, 784).float().tanh(), numbers(2, 3, 16).float()
    y = halves.hidden(x)
    one, other = G((z, y)), G((z + 1, y))
    assert torch.equal(halves.hidden(one), y) and not torch.equal(one, other)
    for k in range(2):
        torch.testing.assert_close(one[k], G.member(k)(z[k], y[k]))


def test_a_normalised_g_has_a_layer_more_after_two_convolutions() -> None:
    plain, normed = halves.changed(IMAGES, norm=False).G(), halves.UNet()
    added = {name for name, _ in normed.named_parameters()} - {name for name, _ in plain.named_parameters()}
    kinds = [type(layer) for layer in normed.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert len(kinds) == 2 and added == {"deep.1.weight", "deep.1.bias", "up.1.weight", "up.1.bias"}
    y = halves.hidden(2 * IMAGES - 1)
    before = normed.deep[:2](normed.down(normed.image(y)))
    torch.testing.assert_close(before.mean((0, 2, 3)), torch.zeros(halves.MANY), atol=1e-5, rtol=0)


def test_a_patch_is_ten_pixels_wide() -> None:
    D = halves.Patches()
    x = numbers(1, 784).float().requires_grad_()
    logits = D(x, halves.hidden(x.detach()))
    assert logits.shape == (1, 49)
    (slope,) = torch.autograd.grad(logits[0, 24], x)  # the one in the middle
    seen = slope.view(28, 28).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [10, 10]


@pytest.mark.parametrize(("weight", "gamma"), [(100.0, 0.0), (10.0, 0.1)])
def test_the_game_has_the_losses_that_it_says(weight: float, gamma: float) -> None:
    recipe = halves.changed(IMAGES, weight=weight, gamma=gamma)
    G, D = recipe.networks(2, seed=1, device="cpu")
    x, y = recipe.data(2, 4, Stream("data", 1))
    z = numbers(2, 4, 16).float()
    fake = G((z, y))
    price = (r1(lambda s: D((s, y)), x) + r2(lambda s: D((s, y)), fake)) / 2
    expected = minimax_d(D((x, y)), D((fake, y))) + gamma * price
    torch.testing.assert_close(recipe.d_loss(G, D, (x, y), z), expected)
    expected = non_saturating_g(D((fake, y))) + weight * (x - fake).abs().mean((1, 2))
    torch.testing.assert_close(recipe.g_loss(G, D, (x, y), z), expected)


def test_several_answers_to_each_half_are_drawn() -> None:
    G = Ensemble(halves.UNet, 2, name="G", seed=1, device="cpu")
    x = halves.completed(G, IMAGES[:6], answers=3, seed=1)
    assert x.shape == (2, 3, 6, 784) and x.amin() >= 0 and x.amax() <= 1
    torch.testing.assert_close(halves.hidden(x[0, 0]), halves.hidden(IMAGES[:6]).clamp(min=-1))
    assert not torch.equal(x[:, 0], x[:, 1])


def test_real_digits_are_judged_as_real_and_blanks_are_not() -> None:
    test = mnist.load(device="cpu").test
    some, others = test[:300], test[300:600]
    real = some.images.expand(1, 2, -1, -1)
    found = halves.judged(real, some, others)
    assert found["read"].item() > 0.95 and found["readings"].item() == 1
    assert (found["error"].item(), found["spread"].item(), found["grey"].item()) == (0, 0, pytest.approx(1))
    blank = halves.judged((halves.hidden(2 * real - 1) + 1) / 2, some, others)
    assert blank["grey"].item() == 0 and blank["read"].item() < 0.7
    assert blank["frechet"].item() > 10 * found["frechet"].item()
    ink = some.images.view(-1, 28, 28)[:, :, 14:].double().mean().item()
    assert blank["error"].item() == pytest.approx(ink)


def test_the_spread_is_that_of_a_pixel_of_the_right_half() -> None:
    test = mnist.load(device="cpu").test[:20]
    dark, light = torch.zeros(1, 1, 20, 784), torch.full((1, 1, 20, 784), 0.5)
    x = torch.cat([halves.joined(test.images.expand_as(part), part) for part in (dark, light)], 1)
    # The deviation of 0 and 0.5 is 0.5 over the root of 2, by the unbiased variance.
    assert halves.judged(x, test, test)["spread"].item() == pytest.approx(0.5 / 2**0.5, rel=1e-5)


def test_the_table_holds_all_games(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []
    changed = halves.changed

    def short(images: torch.Tensor, **changes: Any) -> Any:
        made.append(changes)
        return changed(images, **changes, steps=1)

    monkeypatch.setattr(halves, "changed", short)
    monkeypatch.setattr(halves, "completed", lambda G, images, seed: images.expand(1, 2, -1, -1))
    found = halves.games(1, 5)
    assert made == list(halves.GAMES.values())
    assert {key.rpartition("_")[0] for key in found} >= {"read", "frechet"}
    assert all(values.shape == (1,) for values in found.values())


def test_of_the_tables_g_draws_in_every_run_if_it_normalises() -> None:
    normed, bare = ledger("pairs_digits"), ledger("pairs_digits_bare")
    for name in ("absolute", "original"):
        assert (normed[f"frechet_{name}"] < 20).all() and (bare[f"frechet_{name}"] < 20).sum() == 2
        assert (normed[f"error_{name}"] < bare[f"error_{name}"]).all()


def test_of_the_tables_who_does_not_pay_for_errors_uses_the_noise_and_is_read_less() -> None:
    table = ledger("pairs_digits")
    assert (table["spread_light_priced"] < table["spread_original"]).all()
    assert (table["spread_original"] < table["spread_game"]).all()
    assert (table["spread_game"] < table["spread_game_priced"]).all()
    assert (table["read_game_priced"] < table["read_original"] - 0.12).all()


def test_halves_of_others_are_of_the_same_kind_and_various() -> None:
    found = halves.real(1, 3)
    assert found["read_own"].item() > 0.97 and found["spread_own"].item() == 0
    assert found["read_other"].item() > 0.9 and found["spread_other"].item() > 0.2
    assert found["spread_near"] < found["spread_other"] and found["error_near"] < found["error_other"]


def test_the_chapter_trains_by_the_recipes_of_the_package() -> None:
    images = halves.inputs(1)[0]
    chapter = Chapter("pairs")
    for nth, recipe in enumerate((halves.original(images), halves.repaired(images))):
        assert_trains_by(recipe, chapter.train("completed_by", nth))

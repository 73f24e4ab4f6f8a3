"""The recipes of the chapter on binarised digits, and that the chapter writes out the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan_helpers import Ensemble, Stream, classifier, mnist
from gan_helpers.history import History
from gan_helpers.recipes import edward_mnist
from gan_helpers.recipes.edward_mnist import Binary, InOrder
from tests.chapters import Chapter, assert_trains_by

CHAPTER = Chapter("edward_mnist")


@pytest.fixture(scope="module")
def images() -> Tensor:
    return mnist.load(device="cpu").train.images[:300]


def test_images_are_read_in_their_order_and_then_again() -> None:
    data, rng = InOrder(torch.arange(5.0).unsqueeze(1)), Stream("data")
    assert data(2, 3, rng).tolist() == [[[0.0], [1.0], [2.0]]] * 2
    assert data(1, 3, rng).flatten().tolist() == [3.0, 4.0, 0.0]
    assert data(1, 7, rng).flatten().tolist() == [1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 2.0]


@pytest.mark.parametrize("wrong", [torch.zeros(0, 4), torch.zeros(4)])
def test_images_must_be_rows(wrong: Tensor) -> None:
    with pytest.raises(ValueError, match="images"):
        InOrder(wrong)


def test_each_visit_tosses_the_pixels_anew(images: Tensor) -> None:
    draw = edward_mnist.Binarised(InOrder(images[:1]))
    x = draw(2, 2_000, Stream("data", seed=0))
    assert ((x == 0) | (x == 1)).all()
    torch.testing.assert_close(x.mean((0, 1)), images[0], atol=0.05, rtol=0)
    assert not torch.equal(x[0], x[1])


def test_the_variants_differ_from_the_source_in_what_they_say(images: Tensor) -> None:
    made = {name: edward_mnist.original(images, **v) for name, v in edward_mnist.VARIANTS.items()}
    assert {name: recipe.steps for name, recipe in made.items()} == {
        "original": 15_000, "sampled": 5_000, "penalised": 5_000, "repaired": 5_000,
    }  # fmt: skip
    for name, recipe in made.items():
        G, D = recipe.networks(1, seed=0)
        assert isinstance(G.network, Binary) == (name in ("sampled", "repaired"))
        calm = name in ("penalised", "repaired")
        assert {opt.defaults["betas"][0] for opt in (recipe.g_opt(G), recipe.d_opt(D))} == {
            0.5 if calm else 0.9
        }
        x, z = recipe.data(1, 4, Stream("x")), recipe.noise(1, 4, Stream("z"))
        plain = edward_mnist.original(images).d_loss(G, D, x, z)
        assert bool(recipe.d_loss(G, D, x, z) > plain) == calm


def test_sampled_pixels_are_coins_with_the_grey_level_as_their_odds() -> None:
    odds = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0])

    class Odds(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return odds.expand(*z.shape[:-1], 5)

    u = Stream("u", seed=0).uniform(1, 20_000, 5, low=-1.0, high=1.0)
    x = Binary(Odds(), features=2)(torch.cat([torch.zeros(1, 20_000, 2), u], 2))
    assert ((x == 0) | (x == 1)).all()
    torch.testing.assert_close(x.mean((0, 1)), odds, atol=0.02, rtol=0)


def test_the_gradient_of_sampled_pixels_is_that_of_their_odds() -> None:
    z = Stream("z", seed=0).uniform(1, 7, 884, low=-1.0, high=1.0)
    weights = Stream("weights", seed=0).normal(1, 7, 784)
    network = Binary(edward_mnist.generator())
    through = torch.autograd.grad((weights * network(z)).sum(), list(network.parameters()))
    odds = torch.autograd.grad((weights * network.grey(z[..., :100])).sum(), list(network.parameters()))
    for a, b in zip(through, odds, strict=True):
        torch.testing.assert_close(a, b)


def test_pictures_are_the_same_for_a_network_and_for_the_sampled_one_around_it() -> None:
    grey_network = edward_mnist.generator()
    z = Stream("z", seed=0).uniform(1, 9, 884, low=-1.0, high=1.0)
    plain = edward_mnist.pictures(Ensemble.of([grey_network]), z)
    around = Ensemble.of([Binary(grey_network)])
    for a, b in zip(plain, edward_mnist.pictures(around, z), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(plain[1], around(z).detach())


def test_answers_count_what_d_gets_right() -> None:
    D = Ensemble.of([nn.Linear(4, 1)])
    with torch.no_grad():
        D.network.weight.fill_(1.0)
        D.network.bias.fill_(-2.0)  # real: at least two white pixels
    real = torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [1, 0, 0, 0]])
    grey = torch.tensor([[[0.4] * 4, [0.9] * 4, [0.3] * 4, [0.2] * 4]])
    sampled = torch.tensor([[[0.0, 1, 0, 0], [0, 0, 0, 0]]])
    found = edward_mnist.answers(D, grey, sampled, real)
    assert {name: value.tolist() for name, value in found.items()} == {
        "right_real": [0.75], "right_grey": [0.75], "right_sampled": [1.0],
    }  # fmt: skip


def test_grey_is_neither_nearly_black_nor_nearly_white() -> None:
    images = torch.tensor([[[0.0, 0.04, 0.06, 0.5], [0.94, 0.96, 1.0, 0.2]], [[0.0] * 4, [1.0] * 4]])
    assert edward_mnist.grey_share(images).tolist() == [0.5, 0.0]


def test_a_linear_test_tells_other_odds_and_not_the_same() -> None:
    rng = Stream("odds", seed=0)
    x = mnist.binarise(torch.full((2, 800, 50), 0.3), rng)
    y = mnist.binarise(torch.full((800, 50), 0.3), rng)
    x[1] = mnist.binarise(torch.full((800, 50), 0.7), rng)
    same, other = edward_mnist.two_sample(x, y, seed=0).tolist()
    assert abs(same - 0.5) < 0.08
    assert other > 0.95


def test_judges_get_the_same_numbers_from_the_same_seed() -> None:
    (z, real), (again, real_again) = (edward_mnist.judged(1, seed=1, n=20) for _ in range(2))
    assert z.shape == (1, 20, 884) and real.shape == (20, 784)
    assert torch.equal(z, again) and torch.equal(real, real_again)
    assert not torch.equal(z, edward_mnist.judged(1, seed=2, n=20)[0])


def test_an_untrained_pair_is_measured_as_what_it_is(images: Tensor) -> None:
    recipe = edward_mnist.original(images)
    G, D = recipe.networks(1, seed=1)
    with torch.no_grad():
        found = edward_mnist.measure(G, D, classifier.load(device="cpu"), seed=1)
    assert {value.shape for value in found.values()} == {(1,)}
    assert found["grey_share"] > 0.9
    assert found["two_sample"] > 0.99
    assert found["frechet"] > 10
    assert abs(found["copying"] - 0.5) < 0.2


def test_each_seed_is_judged_on_a_split_of_its_own() -> None:
    rng = Stream("odds", seed=0)
    x = mnist.binarise(torch.full((1, 400, 20), 0.35), rng).expand(3, -1, -1)  # three times the same images
    found = edward_mnist.two_sample(x, mnist.binarise(torch.full((400, 20), 0.3), rng), seed=0)
    assert len(set(found.tolist())) == 3


def test_copies_of_the_training_images_are_found_out(images: Tensor) -> None:
    """A generator that deals out training images, whatever the noise."""
    dealt = mnist.load(device="cpu").train.images[:2_000]

    class Dealer(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return dealt[torch.arange(z.shape[-2]) % len(dealt)].expand(*z.shape[:-1], -1).round()

    _, D = edward_mnist.original(images).networks(1, seed=1, device="cpu")
    with torch.no_grad():
        found = edward_mnist.measure(Ensemble(Dealer, 1, device="cpu"), D, classifier.load("cpu"), seed=1)
    assert found["copying"] > 0.9


def test_a_history_becomes_the_columns_of_a_table() -> None:
    losses = torch.arange(5_000.0).unsqueeze(1).expand(-1, 2)
    watched = {"frechet": torch.tensor([[9.0, 9.0], [1.0, 2.0]])}
    history = History(losses, -losses, at=torch.tensor([0, 5_000]), watched=watched)
    columns = edward_mnist.columns(history)
    assert {name: value.tolist() for name, value in columns.items()} == {
        "g_loss_1": [0.0] * 2, "d_loss_1": [0.0] * 2,
        "g_loss_1000": [-999.0] * 2, "d_loss_1000": [999.0] * 2,
        "g_loss_5000": [-4999.0] * 2, "d_loss_5000": [4999.0] * 2,
        "frechet_5000": [1.0, 2.0],
    }  # fmt: skip


@pytest.mark.parametrize(("call", "name"), [("inference.run", "original"), ("repaired.run", "repaired")])
def test_the_chapter_trains_by_the_recipe_of_the_package(call: str, name: str) -> None:
    assert_trains_by(getattr(edward_mnist, name)(*edward_mnist.inputs(1)), CHAPTER.train(call, 0))


def test_early_losses_are_the_means_from_iteration_500_on(monkeypatch: pytest.MonkeyPatch) -> None:
    original = edward_mnist.original
    monkeypatch.setattr(edward_mnist, "original", lambda images, steps: original(images, steps=502))
    early = edward_mnist.early(2, 5)
    assert set(early) == {"g_loss", "d_loss"}
    assert all(loss.shape == (2,) and loss.isfinite().all() and (loss > 0).all() for loss in early.values())

"""The recipes of the chapter on binarised digits, and that the chapter writes out the same."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from gan_helpers import Ensemble, Stream, classifier, image_metrics, mnist
from gan_helpers.history import History
from gan_helpers.options import Watch
from gan_helpers.recipes import Recipe, combinations, edward_mnist
from gan_helpers.recipes.edward_mnist import Binary, InOrder
from gan_helpers.tables import ledger
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


@pytest.mark.parametrize("made", combinations(tuple(edward_mnist.CHANGES)).values(), ids="-".join)
def test_each_change_is_made_and_no_other(made: tuple[str, ...], images: Tensor) -> None:
    recipe = edward_mnist.changed(images, *made)
    assert recipe.steps == edward_mnist.SHORT
    G, D = recipe.networks(1, seed=0)
    assert isinstance(G.network, Binary) == ("tosses" in made)
    momentum = {opt.defaults["betas"][0] for opt in (recipe.g_opt(G), recipe.d_opt(D))}
    assert momentum == {0.5 if "beta1" in made else 0.9}
    x, z = recipe.data(1, 4, Stream("x")), recipe.noise(1, 4, Stream("z"))
    plain = edward_mnist.original(images).d_loss(G, D, x, z)
    assert bool(recipe.d_loss(G, D, x, z) > plain) == ("r1" in made)


def test_the_grey_recipe_shows_d_the_images_themselves(images: Tensor) -> None:
    x = edward_mnist.original(images, grey=True).data(1, 4, Stream("x"))
    assert torch.equal(x[0], images[:4])
    assert set(edward_mnist.original(images).data(1, 4, Stream("x")).unique().tolist()) == {0.0, 1.0}


def test_interleaved_g_looks_back_through_weights_that_have_moved(images: Tensor) -> None:
    """By hand: activations are old; the way back is through the new D, then through G's new last layer."""
    recipe = edward_mnist.interleaved(images, steps=1)
    (G, D), before = (recipe.networks(1, seed=3, device="cpu") for _ in range(2))
    optimiser = recipe.g_opt(G)
    replace(recipe, g_opt=lambda G: optimiser).train(G, D, seed=3)
    (first, last), (V1, V2), (first_before, last_before), (U1, U2) = (
        [layer for layer in network.member(0) if isinstance(layer, nn.Linear)] for network in (G, D, *before)
    )
    z = edward_mnist.NOISE(1, edward_mnist.BATCH, Stream("noise", 3, "cpu"))[0]
    with torch.no_grad():
        hidden = first_before(z).relu()
        p = last_before(hidden).sigmoid()
        inner = U1(p)
        back = -(1 - U2(inner.relu()).sigmoid()) / edward_mnist.BATCH
        back = ((back @ V2.weight) * (inner > 0)) @ V1.weight * p * (1 - p)
        through = (back @ last.weight) * (hidden > 0)
        wanted = [through.T @ z, through.sum(0), back.T @ hidden, back.sum(0)]
    for weights, gradient in zip(G.parameters(), wanted, strict=True):
        found = optimiser.state[weights]["exp_avg"][0] / 0.1  # one step keeps a tenth of the gradient
        found = found.mT if found.shape != gradient.shape else found
        torch.testing.assert_close(found.squeeze(0), gradient, rtol=1e-3, atol=1e-7)


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


def test_a_forest_sees_what_sums_of_pixels_do_not() -> None:
    rng = Stream("pairs", seed=0)
    apart = mnist.binarise(torch.full((1, 600, 8), 0.5), rng)
    alike = mnist.binarise(torch.full((600, 4), 0.5), rng).repeat(1, 2)  # each pixel twice
    assert abs(edward_mnist.two_sample(apart, alike, seed=0).item() - 0.5) < 0.1
    assert edward_mnist.two_sample(apart, alike, seed=0, trees=20).item() > 0.8


def test_stray_pixels_touch_no_other_white_one() -> None:
    images = torch.zeros(2, 1, 28, 28)
    images[0, 0, 0, 0] = images[0, 0, 5, 5] = images[0, 0, 6, 6] = images[0, 0, 9, 7] = 1.0
    images[1, 0, 3, 27] = images[1, 0, 4, 0] = 1.0  # at the two sides
    assert edward_mnist.stray(images.flatten(2)).tolist() == [0.5, 1.0]


def test_digits_of_fewer_kinds_are_far_by_the_distance_and_near_beside_the_same_kinds() -> None:
    judge, digits = classifier.load("cpu"), mnist.load(device="cpu")
    real, others = digits.test.images[:1_000], digits.train.images[:2_000]
    few = others[judge.predict(others) < 5].unsqueeze(0)
    same = judge.features(real.unsqueeze(0)), judge.features(real)
    assert edward_mnist.frechet_alike(real.unsqueeze(0), real, judge) < 1e-6
    far = image_metrics.frechet_distance(judge.features(few), same[1])
    assert edward_mnist.frechet_alike(few, real, judge) < far / 5


def test_three_recipes_are_looked_at_more_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edward_mnist, "SHORT", 2)
    digits = mnist.load()
    few = mnist.Mnist(digits.train[:300], digits.test[:200])
    monkeypatch.setattr(mnist, "load", lambda: few)
    monkeypatch.setattr(edward_mnist, "criticised", lambda x, *_: {"mean": x.mean((1, 2))})
    found = edward_mnist.closely(2, 5)
    assert set(found) == {"mean_original", "mean_penalised", "mean_repaired"}
    for name, changes in edward_mnist.CLOSELY.items():
        recipe = edward_mnist.changed(few.train.images, *changes)
        G, D = recipe.networks(2, seed=5)
        recipe.train(G, D, seed=5)
        sampled = edward_mnist.pictures(G, edward_mnist.judged(2, 5)[0])[1]
        assert torch.equal(found[f"mean_{name}"], sampled.mean((1, 2)))


def test_the_floor_is_of_another_split_in_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = mnist.load()
    few = mnist.Mnist(digits.train[:800], digits.test[:200])
    monkeypatch.setattr(mnist, "load", lambda: few)
    monkeypatch.setattr(edward_mnist, "mixed", edward_mnist.dealt)
    sizes: list[tuple[int, int]] = []

    def criticised(x: Tensor, beside: Tensor, *_: object) -> dict[str, Tensor]:
        sizes.append((x.shape[1], len(beside)))
        return {"first": x[:, 0].sum(1)}

    monkeypatch.setattr(edward_mnist, "criticised", criticised)
    assert len(set(edward_mnist.plain(3, 5)["first_floor"].tolist())) == 3
    assert sizes == [(200, 200), (200, 200), (100, 100), (100, 100)] * 3


def test_new_digits_are_dealt_out_in_the_proportions_of_the_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edward_mnist, "mixed", lambda images, rng: mnist.binarise(images, rng))
    sides: list[tuple[Tensor, Tensor, Tensor]] = []

    def copied(x: Tensor, met: Tensor, others: Tensor) -> Tensor:
        sides.append((x, met, others))
        return torch.zeros(len(x))

    monkeypatch.setattr(edward_mnist, "copied", copied)
    tossed: list[bool] = []

    def copying(x: Tensor, met: Tensor, others: Tensor) -> Tensor:
        tossed.append(all(images.unique().tolist() == [0, 1] for images in (x, met, others)))
        return torch.zeros(len(x))

    monkeypatch.setattr(edward_mnist.image_metrics, "copying", copying)
    edward_mnist.copiers(2, 5)
    assert tossed == [True] * 4, "the games' fakes are beside tossed digits too"
    new = [(x, met, others) for x, met, others in sides if len(met) == 6_400]
    assert len(new) == 6 and not torch.equal(new[0][1], new[3][1])
    for x, met, others in new[::3]:
        assert x.shape == (1, 2_000, 784) and len(others) == 1_600
        assert len(torch.cat([met, others]).unique(dim=0)) == 8_000


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


def test_the_share_of_copies_is_told_from_what_is_nearest() -> None:
    train, held_out = torch.eye(10)[:8], torch.eye(10)[8:]
    x = torch.eye(10)[torch.tensor([[0, 3, 8, 9], [0, 1, 2, 3]])]
    assert edward_mnist.copied(x, train, held_out).tolist() == pytest.approx([(0.5 - 0.8) / 0.2, 1.0])


def test_d_is_asked_about_what_it_has_seen_and_what_not() -> None:
    D = Ensemble.of([nn.Linear(2, 1)])
    with torch.no_grad():
        D.network.weight.copy_(torch.tensor([[1.0, 0.0]]))
        D.network.bias.zero_()
    seen, fresh = torch.tensor([[1.0, 0], [3, 0]]), torch.tensor([[1.0, 0], [-2, 0]])
    found = edward_mnist.remembered(Ensemble.of([nn.Identity()]), D, seen, fresh, -seen.unsqueeze(0))
    assert {name: value.item() for name, value in found.items()} == {
        "right_seen": 1.0, "right_fresh": 0.5, "right_fake": 1.0,
        "logit_seen": 2.0, "logit_fresh": -0.5, "logit_fake": -2.0,
    }  # fmt: skip


def test_what_is_remembered_is_kept_every_thousand_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edward_mnist, "measure", lambda *_: {"frechet": torch.ones(1)})
    monkeypatch.setattr(edward_mnist, "Watch", lambda look, every: Watch(look, every // 1_000))
    for grey in (False, True):
        found = edward_mnist.remember(partial(edward_mnist.original, grey=grey, steps=2), 1, 5)
        assert {"right_seen_1", "logit_fresh_2", "d_loss_1", "frechet_2", "frechet_grey_2"} < set(found)


def test_the_source_learns_from_all_but_five_thousand_of_the_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.linspace(0, 1, 60_000).unsqueeze(1).expand(-1, 784)
    every = mnist.Digits(images, torch.zeros(60_000).long())
    monkeypatch.setattr(mnist, "load", lambda full: mnist.Mnist(every, every[:10]))
    digits = edward_mnist.source_digits()
    assert torch.equal(digits.train.images, images[:55_000])
    assert torch.equal(digits.test.images, images[55_000:])
    monkeypatch.setattr(mnist, "load", lambda full: mnist.Mnist(every[:8_000], every[:10]))
    with pytest.raises(FileNotFoundError, match="full set"):
        edward_mnist.source_digits()


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> mnist.Mnist:
    """Digits in the place of the full set: those that are held out elsewhere, and some to hold out."""
    digits = mnist.load()
    parts = mnist.Mnist(digits.test, digits.train[:4_000])
    monkeypatch.setattr(edward_mnist, "source_digits", lambda: parts)
    return parts


@pytest.mark.parametrize("name", ["whole", "whole_grey", "whole_as_run"])
def test_runs_on_the_whole_set_learn_from_it_and_are_judged_by_what_it_leaves(
    name: str, others: mnist.Mnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Tensor] = []
    remembered = edward_mnist.remembered

    def ask(G: Ensemble, D: Ensemble, *kinds: Tensor) -> dict[str, Tensor]:
        asked.extend(kinds[:2])
        return remembered(G, D, *kinds)

    def make(images: Tensor) -> Recipe:
        assert torch.equal(images, others.train.images)
        return replace(edward_mnist.WHOLE_RUNS[name](images), steps=2)

    monkeypatch.setattr(edward_mnist, "remembered", ask)
    found = edward_mnist.whole(make, 2, seed=5)
    assert {"g_loss_1", "right_seen_2", "right_fresh_2", "frechet_2", "copied_2"} < set(found)
    for shown, part in zip(asked, (others.train, others.test), strict=False):
        wanted = part.images[:2_000] if "grey" in name else part.images[:2_000].bernoulli()
        assert (shown - wanted).abs().mean() < 0.1 and (shown.unique().numel() > 2) == ("grey" in name)


def test_a_mixture_and_held_out_digits_stand_beside_other_held_out_ones(others: mnist.Mnist) -> None:
    found = edward_mnist.whole_plain(2, seed=5)
    assert {value.shape for value in found.values()} == {(2,)}
    assert ((0.1 < found["frechet_floor"]) & (found["frechet_floor"] < found["frechet_mixture"])).all()
    assert ((0.4 < found["two_sample_floor"]) & (found["two_sample_floor"] < 0.6)).all()
    # These were shuffled before they were split, so new digits are no copies; of a mixture some nearly are.
    assert (found["copied_new"].abs() < 0.2).all() and (found["copied_mixture"] > found["copied_new"]).all()


def test_a_mixture_finds_two_kinds_of_images() -> None:
    rng = Stream("two kinds", seed=0)
    odds = torch.tensor([[0.9] * 6, [0.1] * 6])
    images = mnist.binarise(odds[(rng.uniform(4_000) > 0.7).long()], rng)
    shares, found = edward_mnist.mixture(images, rng, components=2)
    assert edward_mnist.COMPONENTS == 114_064 // 785  # as many weights as G has
    order = shares.argsort(descending=True)
    torch.testing.assert_close(shares[order], torch.tensor([0.7, 0.3]), atol=0.03, rtol=0)
    torch.testing.assert_close(found[order], odds, atol=0.04, rtol=0)


def test_dealt_images_are_moved_to_the_right() -> None:
    image = torch.zeros(1, 28, 28)
    image[0, 3, 5] = 1.0
    (moved,) = edward_mnist.dealt(image.flatten(1), Stream("dealt"), n=1, shift=2)
    assert moved.nonzero().flatten().tolist() == [3 * 28 + 7]


@pytest.mark.parametrize("tables", [edward_mnist.REPAIR, edward_mnist.HALVES])
def test_each_combination_of_changes_is_paired_with_the_others_by_seed(tables: dict[str, str]) -> None:
    apart = edward_mnist.apart(tables)
    (runs,) = {len(values) for values in apart.values()}
    first = ledger("edward_mnist_original")
    for name, table in tables.items():
        whole = ledger(f"edward_mnist_{table}")
        assert torch.equal(apart[f"frechet_{name}"], whole["frechet_5000"][:runs])
        assert all(torch.equal(whole[key][:runs], first[key][:runs]) for key in ("seed", "member"))


@pytest.mark.parametrize(("call", "name"), [("inference.run", "original"), ("repaired.run", "repaired")])
def test_the_chapter_begins_the_recipe_of_the_package(call: str, name: str) -> None:
    recipe = getattr(edward_mnist, name)(*edward_mnist.inputs(1), steps=edward_mnist.BEGUN[name])
    assert_trains_by(recipe, CHAPTER.train(call, 0))


def test_early_losses_are_the_means_from_iteration_500_on(monkeypatch: pytest.MonkeyPatch) -> None:
    original = edward_mnist.original
    monkeypatch.setattr(edward_mnist, "original", lambda images, steps: original(images, steps=502))
    early = edward_mnist.early(2, 5)
    assert set(early) == {"g_loss", "d_loss"}
    assert all(loss.shape == (2,) and loss.isfinite().all() and (loss > 0).all() for loss in early.values())


def test_beginnings_of_both_recipes_are_measured_where_the_chapter_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(edward_mnist, "BEGUN", {"original": 2, "repaired": 1})
    found = edward_mnist.begun(2, 5)
    for name, steps in edward_mnist.BEGUN.items():
        recipe = getattr(edward_mnist, name)(*edward_mnist.inputs(2), steps=steps)
        G, D = recipe.networks(2, seed=5)
        history = recipe.train(G, D, seed=5)
        assert torch.equal(found[f"d_loss_{name}"], history.d_loss.mean(0))
        grey, _ = edward_mnist.pictures(G, edward_mnist.judged(2, 5)[0])
        assert torch.equal(found[f"grey_share_{name}"], edward_mnist.grey_share(grey))
        assert (found[f"frechet_{name}"] > 10).all()

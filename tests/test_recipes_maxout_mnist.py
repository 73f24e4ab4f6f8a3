"""The maxout chapter's recipe: the networks, the losses from one forward pass, and the variants."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_helpers import Ensemble, History, Stream, Watch, classifier, mnist
from gan_helpers.recipes import Recipe, maxout_mnist
from tests.chapters import Chapter, assert_trains_by

CHAPTER = Chapter("maxout_mnist")
DIGITS = mnist.load(device="cpu")
FEW = DIGITS.train.images[:512]
STARTS: tuple[maxout_mnist.Start, ...] = ("source", "ones", "torch")


def trained(steps: int = 3, seeds: int = 1, **options: Any) -> tuple[Ensemble, Ensemble]:
    recipe = maxout_mnist.original(FEW, **options)
    G, D = recipe.networks(seeds, seed=3, device="cpu")
    recipe.train(G, D, seed=3, steps=steps)
    return G, D


def linear_maps(network: nn.Module) -> list[nn.Linear]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)]


def test_other_starts_are_gains_at_one_and_the_weights_of_torch() -> None:
    ones, usual = (list(maxout_mnist.generator(start=start)) for start in ("ones", "torch"))
    for layer in (layer for layer in ones + usual if isinstance(layer, nn.BatchNorm1d)):
        assert (layer.weight == 1).all()
    assert not any(layer.bias.any() for layer in linear_maps(nn.Sequential(*ones)))
    for layer in linear_maps(nn.Sequential(*usual, maxout_mnist.discriminator(start="torch"))):
        assert layer.weight.abs().max().item() == pytest.approx(layer.in_features**-0.5, rel=0.05)
        assert layer.bias.any()


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, [0, 3, 6]), ({"norm": False}, []), ({"norm_last": True}, [0, 3, 6, 8])],
)
def test_normalisation_stands_where_it_is_asked_for(options: dict[str, Any], expected: list[int]) -> None:
    layers = list(maxout_mnist.generator(**options))
    assert [i for i, layer in enumerate(layers) if isinstance(layer, nn.BatchNorm1d)] == expected
    assert isinstance(layers[-1], nn.Sigmoid)
    assert sum(isinstance(layer, nn.ReLU) for layer in layers) == 2


def test_answers_are_shares_of_right_ones() -> None:
    answers = maxout_mnist.Answers()
    real, fake = torch.tensor([[0.0, 2.0, -1.0, 1.0], [1.0, 0.0, -3.0, 1.0]]).view(2, 1, 4, 1)
    answers.note(real, fake)
    assert answers.real[0].tolist() == [0.75] and answers.fake[0].tolist() == [0.25]
    trained(steps=2, seeds=2, answers=answers)
    assert len(answers.real) == len(answers.fake) == 3 and answers.fake[2].shape == (2,)


def test_every_variant_trains_and_differs_from_the_original() -> None:
    reference = dict(trained(steps=2)[0].state_dict())
    for name, options in maxout_mnist.VARIANTS.items():
        G, _ = trained(steps=2, **options)
        state = G.state_dict()
        same = state.keys() == reference.keys() and all(torch.equal(state[k], reference[k]) for k in state)
        assert same == (name == "original"), name


def test_the_repair_is_a_variant() -> None:
    recipe = maxout_mnist.repaired(FEW, epochs=2)
    assert recipe.steps == 4
    D = recipe.D()
    assert all(layer.p == 0 for layer in D.modules() if isinstance(layer, nn.Dropout))


def test_changes_are_made_one_by_one() -> None:
    assert maxout_mnist.options() | {"G": None, "D": None} == {"G": None, "D": None, "gamma": 0.0}
    made = {name: maxout_mnist.options(name) for name in maxout_mnist.CHANGES}
    assert {name: options["gamma"] for name, options in made.items()} == {"start": 0, "dropout": 0, "r1": 1}
    for name, options in made.items():
        G, D = list(options["G"]()), list(options["D"]())
        assert (G[0].weight == 1).all() == (name == "start")
        assert (linear_maps(options["D"]())[0].weight.abs().max() > 0.005) == (name == "start")
        assert {layer.p for layer in D if isinstance(layer, nn.Dropout)} == {
            0.0 if name == "dropout" else 0.5
        }
    with pytest.raises(ValueError, match="changes must be some of start, dropout, r1, not 'r2'"):
        maxout_mnist.options("r2")


def test_in_place_g_looks_back_through_weights_that_have_moved() -> None:
    """By hand: the old D chooses the pieces and gives the answers; the weights on the way back are new."""
    recipe = maxout_mnist.original(
        FEW, order="in_place", D=lambda: maxout_mnist.discriminator(dropout=0.0, start="torch")
    )
    (G, D), (before_G, before_D) = (recipe.networks(1, seed=3, device="cpu") for _ in range(2))
    recipe.train(G, D, seed=3, steps=1)
    fakes = before_G(Stream("noise", 3, "cpu").uniform(1, maxout_mnist.BATCH, 100))
    answers, way = before_D(fakes).detach(), fakes
    old, new = (linear_maps(network.member(0)) for network in (before_D, D))
    h = fakes.detach()
    for was, now in zip(old[:2], new[:2], strict=True):
        pieces = was(h).unflatten(-1, (240, 5))
        way = now(way).unflatten(-1, (240, 5)).gather(-1, pieces.argmax(-1, keepdim=True)).squeeze(-1)
        h = pieces.amax(-1)
    loss = (-answers.sigmoid().neg().add(1) * new[2](way)).mean()
    (wanted, *_) = torch.autograd.grad(loss, [p for p in before_G.parameters() if p.dim() == 3][-1:])
    (found, *_) = [p.grad for p in G.parameters() if p.dim() == 3][-1:]
    assert found is not None
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-8)


def test_the_log_of_the_source_is_whole() -> None:
    assert len(maxout_mnist.SOURCE_LOG) == 30 and maxout_mnist.SOURCE_LOG[-1] == (0.84, 1.586, 0.745, 0.87)


def test_a_slow_discriminator_learns_twenty_times_more_slowly() -> None:
    for name, lr in (("original", 1e-3), ("weak_d", 5e-5)):
        recipe = maxout_mnist.original(FEW, **maxout_mnist.VARIANTS[name])
        G, D = recipe.networks(1, seed=3, device="cpu")
        assert recipe.d_opt(D).param_groups[0]["lr"] == pytest.approx(lr)
        assert recipe.g_opt(G).param_groups[0]["lr"] == 1e-3


def test_bad_images_are_named() -> None:
    with pytest.raises(ValueError, match="images must hold at least 256 images"):
        maxout_mnist.original(FEW[:255])
    with pytest.raises(TypeError, match="floating-point"):
        maxout_mnist.original((FEW * 255).byte())
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        maxout_mnist.original(FEW, epochs=0)


def test_shown_images_are_grey_levels_of_what_g_makes() -> None:
    G = Ensemble(nn.Sigmoid, 2)
    images = maxout_mnist.shown(G, torch.tensor([[[0.0]], [[100.0]]]))
    assert images.dtype == torch.uint8 and images.flatten().tolist() == [128, 255]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> mnist.Mnist:
    """Few digits in the place of all, few of which are judged."""
    digits = mnist.Mnist(DIGITS.train[:512], DIGITS.test[:200])
    monkeypatch.setattr(mnist, "load", lambda device=None: digits)
    monkeypatch.setattr(maxout_mnist, "JUDGED", 200)
    return digits


@pytest.fixture(scope="module")
def judged() -> dict[str, Tensor]:
    """Held-out digits, training digits, one digit alone and noise, as if four seeds had made them."""
    judge, real, train = classifier.load("cpu"), DIGITS.test[:1_000], DIGITS.train
    ones = train.images[train.labels == 1][:100].repeat(10, 1)
    noise = Stream("pixels", 0).uniform(1_000, 784)
    fakes = torch.stack([real.images, train.images[:1_000], ones, noise]).mul(255).round().byte()
    return maxout_mnist.measure(fakes, real, judge)


def test_measures_of_the_real_images_themselves_are_ideal(judged: dict[str, Tensor]) -> None:
    assert judged["frechet"][0] < 1e-3 and judged["kl"][0] < 1e-9
    assert judged["coverage"][0] == 1 and judged["digits"][0] == 10


def test_measures_tell_real_from_collapsed_from_noise(judged: dict[str, Tensor]) -> None:
    assert judged["frechet"][1] < 2 < 20 < judged["frechet"][2:].min()
    assert judged["coverage"][1] > 0.9 and judged["coverage"][2] < 0.2 and judged["coverage"][3] < 0.01
    assert judged["kl"][1] < 0.05 and 1.5 < judged["kl"][2] < 2.5
    assert judged["digits"].tolist()[:3] == [10, 10, 1]
    assert 0.8 < judged["density"][1] < 1.2


def test_spread_is_the_deviation_of_a_pixel() -> None:
    images = torch.tensor([[[0, 255], [255, 255]], [[7, 9], [7, 9]]], dtype=torch.uint8)
    assert maxout_mnist.spread(images).tolist() == pytest.approx([0.5**0.5 / 2, 0])


def test_evaluation_mode_alone_lowers_the_spread_of_the_first_weights() -> None:
    """No step is taken: the running averages start at one, and after an epoch they have not forgotten it."""
    G, batches = Ensemble(maxout_mnist.generator, 2, name="G"), Stream("batches", 3)
    for _ in range(32):
        in_training = G(batches.uniform(2, maxout_mnist.BATCH, 100)).detach().std(1).mean(1)
    evaluated = G.eval()(batches.uniform(2, maxout_mnist.BATCH, 100)).detach().std(1).mean(1)
    assert ((in_training > 0.005) & (evaluated < 0.0005)).all()


def test_the_plain_alternative_has_the_moments_of_the_digits() -> None:
    fakes = maxout_mnist.gaussian(FEW, 2, 4_000, Stream("plain", 3)).float() / 255
    assert fakes.shape == (2, 4_000, 784)
    inner = (FEW.mean(0) - 0.5).abs() < 0.1  # where little is cut off
    assert (fakes.mean(1) - FEW.mean(0))[:, inner].abs().max() < 0.06
    assert maxout_mnist.plain(1, 3)["spread"] < maxout_mnist.spread((FEW * 255).byte()[None])


def test_tables_of_causes_hold_what_is_measured_of_a_run(few: mnist.Mnist) -> None:
    apart = maxout_mnist.apart(2, seed=3, epochs=1, names=("only_r1", "all"))
    assert {"kl_only_r1", "kl_all"} <= apart.keys()
    recipe = maxout_mnist.repaired(FEW, epochs=1)
    G, D = recipe.networks(2, seed=3)
    recipe.train(G, D, seed=3)
    D.eval()
    images = maxout_mnist.shown(G.eval(), Stream("shown", 3).uniform(2, 200, 100))
    assert torch.equal(apart["spread_all"], maxout_mnist.spread(images))
    shown = few.test.images.expand(2, -1, -1)
    right = (D(shown) >= 0).double().mean((1, 2))
    assert torch.equal(apart["right_held_out_all"], right)
    x = shown.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(D(x).sum(), x)
    torch.testing.assert_close(apart["slope_all"], slopes.square().sum(-1).mean(1).sqrt())
    early = maxout_mnist.heed({"G": lambda: maxout_mnist.generator(start="ones")}, 2, seed=3, epochs=1)
    assert early["spread_0"].min() > 0.15 and early["kl_1"].shape == (2,)


def test_the_source_learns_from_the_full_set_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (60_000, 10)
    every, test = (mnist.Digits(torch.rand(n, 1).expand(-1, 784), torch.zeros(n).long()) for n in sizes)
    monkeypatch.setattr(mnist, "load", lambda full: mnist.Mnist(every, test))
    digits = maxout_mnist.source_digits()
    assert torch.equal(digits.train.images, every.images[:50_000]) and len(digits.test) == 10
    monkeypatch.setattr(mnist, "load", lambda full: DIGITS)
    with pytest.raises(FileNotFoundError, match="full set"):
        maxout_mnist.source_digits()


def test_a_run_is_followed_over_its_epochs(few: mnist.Mnist, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = maxout_mnist.follow({}, 2, seed=3, epochs=2, at=(1, 2))
    assert {"frechet_1", "kl_2", "d_loss_1", "right_fake_2"} <= columns.keys()
    assert all(value.shape == (2,) for value in columns.values())
    # The same run by hand: what was seen after each epoch, and the means over its two steps.
    answers, images = maxout_mnist.Answers(), few.train.images
    recipe = maxout_mnist.original(images, epochs=2, answers=answers)
    G, D = recipe.networks(2, seed=3)
    z = Stream("shown", 3, images.device).uniform(2, 200, 100)
    history = recipe.train(G, D, seed=3, watch=Watch(lambda G: {"i": maxout_mnist.shown(G, z)}, 2))
    for epoch in (1, 2):
        seen = maxout_mnist.measure(history.watched["i"][epoch], few.test, classifier.load())
        assert torch.equal(columns[f"frechet_{epoch}"], seen["frechet"])
        steps = slice(2 * epoch - 2, 2 * epoch)
        assert torch.equal(columns[f"d_loss_{epoch}"], history.d_loss[steps].mean(0))
        assert torch.equal(columns[f"g_loss_{epoch}"], history.g_loss[steps].mean(0))
        assert torch.equal(columns[f"right_fake_{epoch}"], torch.stack(answers.fake)[steps].mean(0))
    monkeypatch.setattr(maxout_mnist, "source_digits", lambda: few)
    every = maxout_mnist.whole({}, 2, seed=3, epochs=2)
    assert torch.equal(every["frechet_1"], columns["frechet_1"]) and "frechet_2" not in every
    assert torch.equal(every["g_loss_2"], columns["g_loss_2"])
    seen = D.eval()(images[:200].expand(2, -1, -1)) >= 0
    assert torch.equal(every["right_seen"], seen.double().mean((1, 2)))
    monkeypatch.setattr(maxout_mnist, "VARIANTS", {"original": {}, "minimax": {}})
    both = maxout_mnist.switches(2, seed=3, epochs=2)
    assert torch.equal(both["original_frechet"], columns["frechet_2"])
    assert torch.equal(both["minimax_d_loss"], columns["d_loss_2"])


def test_a_discriminator_may_learn_alone_before_the_game(
    few: mnist.Mnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, seen = Recipe.train, []

    def watched(recipe: Recipe, G: Ensemble, D: Ensemble, seed: int, **options: Any) -> History:
        before = [[weight.clone() for weight in network.parameters()] for network in (G, D)]
        history = train(recipe, G, D, seed, **options)
        moved = [
            not all(map(torch.equal, old, network.parameters()))
            for old, network in zip(before, (G, D), strict=True)
        ]
        seen.append((seed, len(history.d_loss), *moved))
        return history

    monkeypatch.setattr(Recipe, "train", watched)
    columns = maxout_mnist.follow({}, 2, seed=3, epochs=1, at=(1,), alone=2)
    assert seen == [(1_000_003, 4, False, True), (3, 2, True, True)]
    usual = maxout_mnist.follow({}, 2, seed=3, epochs=1, at=(1,))
    assert not torch.equal(columns["d_loss_1"], usual["d_loss_1"])


def test_letting_d_learn_first_is_followed_in_two_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def follow(changes: Any, seeds: int, seed: int, epochs: int, at: Any, alone: int) -> Any:
        asked.append((changes, seeds, seed, at, alone))
        return {f"kl_{epochs}": torch.full((seeds,), float(alone))}

    monkeypatch.setattr(maxout_mnist, "follow", follow)
    columns = maxout_mnist.learned_first(2, 3, epochs=4)
    assert set(columns) == {"in_place_kl", "d_alone_kl"} and columns["d_alone_kl"].eq(1).all()
    assert asked == [({"order": "in_place"}, 2, 3, (4,), 0), ({}, 2, 3, (4,), 1)]


def test_the_chapter_begins_the_recipe_of_the_package() -> None:
    begun = maxout_mnist.original(*maxout_mnist.inputs(1), epochs=10)
    assert_trains_by(begun, CHAPTER.train("train", 0))

"""The convolutional chapter's recipe: the rules, what breaks them, the repair, and what is measured."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_helpers import Ensemble, Stream, classifier, mnist
from gan_helpers.losses import minimax_d, non_saturating_g, relativistic_d, relativistic_g
from gan_helpers.recipes import combinations, edward_mnist
from gan_helpers.recipes import convolutions as chapter
from gan_helpers.recipes.maxout_mnist import measure
from gan_helpers.tables import ledger
from tests.chapters import Chapter, assert_trains_by
from tests.plain_gan import numbers

CHAPTER = Chapter("convolutions")
DIGITS = mnist.load(device="cpu")
FEW = DIGITS.train.images[:200]


def kinds(network: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in network.children()]


def players(seeds: int = 1, **options: Any) -> tuple[Ensemble, Ensemble]:
    return chapter.original(FEW, **options).networks(seeds, seed=3, device="cpu")


def batches(seeds: int = 1, n: int = 6) -> tuple[Tensor, Tensor]:
    x = 2 * FEW[: seeds * n].view(seeds, n, 784) - 1
    return x, numbers(seeds, n, 100).float()


# The networks


def test_the_networks_are_those_of_the_source_but_smaller() -> None:
    assert kinds(chapter.generator()) == [
        "Linear", "Unflatten", "BatchNorm2d", "ReLU", "ConvTranspose2d", "BatchNorm2d", "ReLU",
        "ConvTranspose2d", "Tanh", "Flatten",
    ]  # fmt: skip
    assert kinds(chapter.discriminator()) == [
        "Unflatten",
        "Conv2d",
        "LeakyReLU",
        "Conv2d",
        "BatchNorm2d",
        "LeakyReLU",
        "Flatten",
        "Linear",
    ]
    for network in (chapter.generator(), chapter.discriminator()):
        for layer in network.modules():
            assert not isinstance(layer, nn.LeakyReLU) or layer.negative_slope == 0.2
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert (layer.kernel_size, layer.stride, layer.padding) == ((4, 4), (2, 2), (1, 1))


def test_first_weights_are_those_of_the_source() -> None:
    for network in (chapter.generator(), chapter.discriminator()):
        for layer in network.modules():
            weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
            if isinstance(weight, Tensor):
                n, normal = weight.numel(), isinstance(layer, nn.BatchNorm2d)
                assert weight.mean().item() == pytest.approx(float(normal), abs=0.1 / math.sqrt(n))
                assert weight.std().item() == pytest.approx(0.02, abs=0.06 / math.sqrt(n))
                assert isinstance(bias, Tensor) and not bias.any()
    usual = chapter.discriminator(source_start=False)
    assert any(layer.bias.any() for layer in usual.modules() if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize("kernel", [3, 4, 5])
def test_kernels_double_and_halve(kernel: int) -> None:
    assert chapter.generator(kernel=kernel)(torch.zeros(2, 100)).shape == (2, 784)
    assert chapter.discriminator(kernel=kernel)(torch.zeros(2, 784)).shape == (2, 1)


def test_each_rule_is_broken_where_it_says() -> None:
    made = {
        name: (
            kinds(chapter.generator(**rule.get("G", {}))),
            kinds(chapter.discriminator(**rule.get("D", {}))),
        )
        for name, rule in chapter.RULES.items()
    }
    assert "ConvTranspose2d" not in made["pooled"][0] and made["pooled"][1].count("MaxPool2d") == 2
    assert [k.count("BatchNorm2d") for k in made["original"]] == [2, 1]
    assert [k.count("BatchNorm2d") for k in made["no_norm"]] == [0, 0]
    assert [k.count("BatchNorm2d") for k in made["no_norm_d"]] == [2, 0]
    assert [k.count("BatchNorm2d") for k in made["norm_everywhere"]] == [3, 2]
    assert [k.count("Linear") for k in made["hidden"]] == [2, 2]
    assert "ReLU" not in made["leaky_g"][0] and "LeakyReLU" not in made["relu_d"][1]
    assert made["sigmoid"][0][-2] == "Sigmoid"
    same = [name for name, networks in made.items() if networks == made["original"]]
    assert same == ["original", "beta1", "rate", "start"]
    for name, expected in (("original", (2e-4, 0.5)), ("beta1", (2e-4, 0.9)), ("rate", (1e-3, 0.5))):
        recipe = chapter.changed(FEW, **chapter.RULES[name])
        (group,) = recipe.d_opt(players()[1]).param_groups
        assert (group["lr"], group["betas"][0]) == expected


def test_other_layers_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match='up must be "transposed" or "upsampled", not \'bilinear\''):
        chapter.doubled(1, 1, up="bilinear")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='down must be "strided" or "pooled", not \'mean\''):
        chapter.halved(1, 1, down="mean")  # type: ignore[arg-type]


def test_multiplications_are_counted() -> None:
    by_hand = 100 * 32 * 49 + 49 * 32 * 16 * 16 + 196 * 16 * 16
    assert chapter.multiplications(chapter.generator(), 100) == by_hand
    assert chapter.multiplications(chapter.discriminator(), 784) == 196 * 16 * 16 + 49 * 512 * 16 + 32 * 49
    for role, features in (("generator", 100), ("discriminator", 784)):
        dense, conv = (getattr(chapter, f"{kind}{role}")() for kind in ("dense_", ""))
        counts = [chapter.multiplications(network, features) for network in (dense, conv)]
        assert counts[0] == pytest.approx(counts[1], rel=0.01)
        assert not any(layer._forward_hooks for layer in conv.modules())


# The recipes


def test_the_original_plays_the_first_game() -> None:
    recipe, (G, D), (x, z) = chapter.original(FEW), players(2), batches(2)
    assert (recipe.batch, recipe.steps, recipe.options) == (64, chapter.STEPS, {})
    expected = minimax_d(D(x), D(G(z)))
    torch.testing.assert_close(recipe.d_loss(G, D, x, z), expected)
    torch.testing.assert_close(recipe.g_loss(G, D, x, z), non_saturating_g(D(G(z))))
    served = recipe.data(1, 64, Stream("data", 0))
    assert served.min() == -1 and served.max() == 1
    grey = chapter.original(FEW, grey=True).data(1, 64, Stream("data", 0))
    torch.testing.assert_close(2 * grey - 1, served)


def test_the_repair_pairs_and_pays_for_slope() -> None:
    recipe = chapter.repaired(FEW)
    G, D = recipe.networks(2, seed=3, device="cpu")
    x, z = batches(2)
    fake = G(z).detach()
    cost = torch.zeros(2)
    for samples in (x, fake):
        at = samples.clone().requires_grad_()
        (slopes,) = torch.autograd.grad(D(at).sum(), at)
        cost += slopes.square().sum(2).mean(1)
    torch.testing.assert_close(recipe.d_loss(G, D, x, z), relativistic_d(D(x), D(fake)) + cost / 2)
    torch.testing.assert_close(recipe.g_loss(G, D, x, z), relativistic_g(D(x), D(fake)))
    (group,) = recipe.g_opt(G).param_groups
    assert (group["lr"], group["betas"]) == (chapter.RATE, chapter.BETAS)


def test_changes_are_made_one_by_one() -> None:
    assert set(combinations(chapter.CHANGES)) >= {"none", "all"}
    G, D = players()
    found = {}
    for name in chapter.CHANGES:
        recipe = chapter.original(FEW, **chapter.options(name))
        (group,) = recipe.d_opt(D).param_groups
        normed = "BatchNorm2d" in kinds(recipe.D())
        x, z = batches()
        paired = torch.equal(recipe.g_loss(G, D, x, z), relativistic_g(D(x), D(G(z))))
        found[name] = (group["lr"], group["betas"][0], normed, paired)
    assert found == {
        "penalties": (2e-4, 0.5, False, False),
        "pairing": (2e-4, 0.5, True, True),
        "rate": (chapter.RATE, 0.5, True, False),
        "beta1": (2e-4, 0.0, True, False),
    }
    with pytest.raises(ValueError, match="changes must be some of .*, not 'norm'"):
        chapter.options("norm")


def test_bad_images_are_named() -> None:
    with pytest.raises(ValueError, match="images must have shape"):
        chapter.original(FEW[0])
    with pytest.raises(TypeError, match="floating-point"):
        chapter.original((FEW * 255).byte())


@pytest.mark.parametrize("make", [chapter.original, chapter.repaired, chapter.dense])
def test_nothing_in_a_recipe_asks_a_device_for_a_number(make: Any) -> None:
    """On the meta device there are shapes and no numbers: whoever reads one fails."""
    recipe = make(FEW.to("meta"))
    G, D = recipe.networks(2, seed=3, device="meta")
    x, z = torch.empty(2, 4, 784, device="meta"), torch.empty(2, 4, 100, device="meta")
    for network, loss, optimiser in ((D, recipe.d_loss, recipe.d_opt), (G, recipe.g_loss, recipe.g_opt)):
        losses = loss(G, D, x, z)
        assert losses.is_meta and losses.shape == (2,)
        losses.sum().backward()
        optimiser(network).step()


# Shuffled pixels


def test_shuffled_pixels_are_put_back() -> None:
    order = chapter.order_of_pixels()
    assert order.sort().values.tolist() == list(range(784)) and order.tolist() != list(range(784))
    assert torch.equal(chapter.put_back(FEW[:, order], order), FEW)


def test_a_dense_game_does_not_notice_the_order_of_pixels() -> None:
    """With D's first and G's last weights in the same order as the pixels, so is all that is trained.

    Single precision: Adam's first steps make much of roundings.
    """
    order = chapter.order_of_pixels()
    plain, shuffled = chapter.dense(FEW), chapter.dense(FEW[:, order])
    G, D = plain.networks(1, seed=3, device="cpu")
    G2, D2 = shuffled.networks(1, seed=3, device="cpu")
    with torch.no_grad():
        first = next(p for p in D2.parameters() if p.shape[-1] == 784)
        first.copy_(first[..., order])
        for p in G2.parameters():
            if 784 in p.shape[1:2]:
                p.copy_(p[:, order])
    plain.train(G, D, seed=3, steps=3)
    shuffled.train(G2, D2, seed=3, steps=3)
    z = numbers(1, 8, 100).float()
    expected = G.eval()(z)
    torch.testing.assert_close(chapter.put_back(G2.eval()(z), order), expected, atol=0.02, rtol=0)
    assert (G2(z) - expected).abs().max() > 0.2


# What is measured


def test_levels_and_what_is_drawn() -> None:
    assert chapter.levels(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0, 128, 255]
    for last, grey in ((nn.Tanh(), False), (nn.Sigmoid(), True)):
        G = Ensemble.of([last], device="cpu").train()
        drawn = chapter.drawn(G, torch.tensor([[[-100.0, 0.0, 100.0]]]), grey)
        assert drawn.flatten().tolist() == [0, 128, 255] and G.training


def test_a_checkerboard_is_seen_as_one() -> None:
    rows, columns = torch.meshgrid(torch.arange(28), torch.arange(28), indexing="ij")
    board = ((rows + columns) % 2).flatten()
    stripes = (rows % 4 < 1).long().flatten()
    ramp = rows.flatten()
    images = torch.stack([board, stripes, ramp]).float()[:, None]
    found = chapter.checker(images)
    assert found[:2].tolist() == pytest.approx([1, 1]) and found[2] == pytest.approx(
        15 / (28**2 - 1), rel=0.1
    )
    assert chapter.checker(images, 2)[:2].tolist() == pytest.approx([1, 1 / 3])
    white = chapter.checker(numbers(1, 2_000, 784))
    assert white.item() == pytest.approx(15 / 783, rel=0.05)
    assert chapter.checker(torch.zeros(1, 2, 784)).item() == 0
    with pytest.raises(ValueError, match="period must divide 28, not be 3"):
        chapter.checker(images, 3)


def test_an_arc_keeps_the_norm_and_a_line_does_not() -> None:
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    root = math.sqrt(2)
    torch.testing.assert_close(chapter.on_sphere(a, b, 0.5), torch.tensor([root, root]))
    torch.testing.assert_close(chapter.on_line(a, b, 0.25), torch.tensor([1.5, 0.5]))
    t = torch.linspace(0, 1, 5).unsqueeze(1)
    torch.testing.assert_close(chapter.on_sphere(a, b, t).norm(dim=1), torch.full((5,), 2.0))
    torch.testing.assert_close(chapter.on_sphere(a, b, 1.0), b)


def straight() -> nn.Module:
    """Return a generator whose pixels are a tenth of the first number of the noise."""
    layer = nn.Linear(100, 784)
    nn.init.zeros_(layer.bias)
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.weight[:, 0] = 0.1
    return layer


def test_what_a_step_does_is_felt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chapter, "measure", lambda images, *_: {"frechet": images.double().std(1).mean(1)})
    walked = chapter.walked(Ensemble.of([straight()], device="cpu"), DIGITS.test[:2_000], 3)
    # A step of length 1 has a root mean square of 1/10 in each of 100 coordinates; pixels are halved.
    assert walked["felt"].item() == pytest.approx(0.1 * 0.1 / 2, rel=0.15)
    assert (walked["frechet_line"] / walked["frechet_arc"]).item() == pytest.approx(0.5**0.5, rel=0.05)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> mnist.Mnist:
    """Few digits in the place of all, few of which are judged, and short runs."""
    digits = mnist.Mnist(DIGITS.train[:200], DIGITS.test[:200])
    monkeypatch.setattr(mnist, "load", lambda device=None: digits)
    monkeypatch.setattr(chapter, "inputs", lambda seeds: (digits.train.images,))
    monkeypatch.setattr(chapter, "every_digit", lambda: digits)
    monkeypatch.setattr(chapter, "JUDGED", 200)
    train = chapter.Recipe.train
    monkeypatch.setattr(
        chapter.Recipe,
        "train",
        lambda self, G, D, **options: train(self, G, D, **{"steps": min(self.steps, 4), **options}),
    )
    return digits


def by_hand(recipe: chapter.Recipe, few: mnist.Mnist) -> tuple[Ensemble, Tensor]:
    """Train, and return the generators with what they draw."""
    G, D = recipe.networks(1, seed=3)
    recipe.train(G, D, seed=3)
    return G, chapter.drawn(G, Stream("shown", 3).normal(1, 200, 100))


def test_tables_hold_what_is_measured_of_a_run(few: mnist.Mnist) -> None:
    columns = chapter.apart(1, 3)
    assert {f"frechet_{name}" for name in combinations(chapter.CHANGES)} <= columns.keys()
    _, images = by_hand(chapter.repaired(few.train.images), few)
    found = measure(images, few.test, classifier.load())
    for name, value in found.items():
        assert torch.equal(columns[f"{name}_all"], value)
    assert torch.equal(columns["checker_all"], chapter.checker(images))
    assert not torch.equal(columns["checker_none"], columns["checker_all"])


def test_the_table_of_shuffled_pixels_puts_them_back(few: mnist.Mnist) -> None:
    columns, order = chapter.shuffled(1, 3), chapter.order_of_pixels()
    for name, make in (("conv", chapter.repaired), ("dense", chapter.dense)):
        for suffix, data in (("", few.train.images), ("_shuffled", few.train.images[:, order])):
            _, images = by_hand(make(data), few)
            images = chapter.put_back(images, order) if suffix else images
            assert torch.equal(columns[f"checker_{name}{suffix}"], chapter.checker(images))


def test_rules_and_boards_are_compared_from_the_same_seeds(
    few: mnist.Mnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chapter, "RULES", {key: chapter.RULES[key] for key in ("original", "sigmoid")})
    columns = chapter.rules(1, 3)
    _, images = by_hand(chapter.original(few.train.images), few)
    assert torch.equal(columns["checker_original"], chapter.checker(images))
    grey = chapter.changed(few.train.images, **chapter.RULES["sigmoid"])
    G, _ = by_hand(grey, few)
    images = chapter.drawn(G, Stream("shown", 3).normal(1, 200, 100), grey=True)
    assert torch.equal(columns["checker_sigmoid"], chapter.checker(images))
    boards = chapter.boards(1, 3)
    assert torch.equal(boards["checker_kernel_4"], columns["checker_original"])
    first = chapter.changed(few.train.images, **chapter.BOARDS["kernel_3"]).networks(1, seed=3)[0]
    with torch.no_grad():
        fakes = first(Stream("shown", 3).normal(1, 200, 100))
    assert torch.equal(boards["first_kernel_3"], chapter.checker(fakes))


def test_the_rule_on_pooling_has_two_halves(few: mnist.Mnist) -> None:
    made = {
        name: (
            "Upsample" in kinds(chapter.generator(**changes.get("G", {}))),
            "MaxPool2d" in kinds(chapter.discriminator(**changes.get("D", {}))),
        )
        for name, changes in chapter.POOLING.items()
    }
    assert made == {
        "original": (False, False),
        "enlarged_g": (True, False),
        "pooled_d": (False, True),
        "pooled": (True, True),
    }
    columns = chapter.pooling(1, 3)
    _, images = by_hand(chapter.original(few.train.images), few)
    assert torch.equal(columns["checker_original"], chapter.checker(images))


def test_untrained_grids_are_those_of_training_mode(few: mnist.Mnist) -> None:
    early = chapter.first(2, 3)
    assert early.keys() == {*chapter.BOARDS, "no_norm", "sigmoid"}
    G, _ = chapter.original(few.train.images).networks(2, seed=3)
    with torch.no_grad():
        fakes = G(Stream("shown", 3).normal(2, 200, 100))
    assert torch.equal(early["kernel_4"], chapter.checker(fakes))


def test_a_beginning_is_measured_whole(few: mnist.Mnist) -> None:
    columns = chapter.begun(1, 3)
    G, images = by_hand(chapter.repaired(few.train.images), few)
    assert torch.equal(columns["checker"], chapter.checker(images))
    assert torch.equal(columns["felt"], chapter.walked(G, few.test, 3)["felt"])
    shown = chapter.drawn(G, Stream("copied", 3).normal(1, 100, 100)).float() / 255
    expected = edward_mnist.copied(shown, few.train.images, few.test.images)
    assert torch.equal(chapter.copies(1, 3)["copied"], expected)


def test_copies_are_looked_for_among_all_training_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever deals out the last of many training digits copies as much as one who deals the first."""
    digits = mnist.Mnist(DIGITS.train[:500], DIGITS.test[:100])
    monkeypatch.setattr(chapter, "JUDGED", 100)
    monkeypatch.setattr(chapter, "drawn", lambda G, z: (digits.train.images[-50:] * 255).round().byte()[None])
    G, _ = players()
    assert chapter.copied(G, digits, 3)["copied"].item() == pytest.approx(1)
    monkeypatch.setattr(chapter, "drawn", lambda G, z: (digits.test.images[:50] * 255).round().byte()[None])
    assert chapter.copied(G, digits, 3)["copied"].item() == pytest.approx(-5)


def test_a_long_run_is_measured_on_its_way(few: mnist.Mnist) -> None:
    columns = chapter.whole(1, 3, steps=4, at=(2, 4))
    assert {"frechet_2", "frechet_4", "frechet_arc"} <= columns.keys()
    recipe = chapter.repaired(few.train.images, **chapter.LONG, steps=4)
    G, D = recipe.networks(1, seed=3)
    averaged = recipe.train(G, D, seed=3, steps=4).averaged
    images = chapter.drawn(averaged, Stream("shown", 3).normal(1, 200, 100))
    found = measure(images, few.test, classifier.load())
    assert torch.equal(columns["frechet_4"], found["frechet"])
    assert torch.equal(columns["checker_4"], chapter.checker(images))


def test_the_floor_is_real_digits_beside_others(few: mnist.Mnist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chapter, "JUDGED", 50)
    monkeypatch.setattr(
        mnist, "load", lambda device=None: mnist.Mnist(DIGITS.train[300:500], DIGITS.test[300:400])
    )
    seen = []

    def noted(images: Tensor, real: mnist.Digits, _: Any) -> dict[str, Tensor]:
        seen.append((images[0].float() / 255, real.images))
        return {"frechet": torch.zeros(1)}

    monkeypatch.setattr(chapter, "measure", noted)
    columns = chapter.floor(2, 3)
    assert columns["frechet"].shape == columns["frechet_second"].shape == (2,)
    known, bundled = few.test.images[:50], DIGITS.test.images[300:400]
    parts = (few.train.images, few.test.images[50:100], few.test.images[100:], DIGITS.train.images[300:500])
    for nth, (images, real) in enumerate(seen):
        assert torch.equal(real, bundled if nth > 5 else known)
        # Two digits are further apart than 0.1. The part of 50 is drawn whole.
        assert torch.cdist(images, parts[nth // 2]).amin(1).max() < 0.1
        assert len(images) == 50 == len(images.unique(dim=0))
    assert not torch.equal(seen[0][0], seen[1][0])


def test_clothes_are_learned_judged_by_others_and_held_out(
    few: mnist.Mnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    every, judge = mnist.Mnist(DIGITS.train[:600], DIGITS.test[:100]), classifier.load("cpu")
    monkeypatch.setattr(mnist, "load", lambda full=False, name="mnist": {"fashion": (few, every)}[name][full])
    monkeypatch.setattr(mnist, "TRAINING", 200)
    learned: list[mnist.Digits] = []
    monkeypatch.setattr(classifier, "fit", lambda digits, epochs: learned.append(digits) or judge)
    columns = chapter.clothes(2, 3)
    assert learned[0].images.equal(every.train.images[200:])  # those that no game sees
    G, D = (recipe := chapter.repaired(few.train.images)).networks(2, seed=3)
    recipe.train(G, D, seed=3)
    images = chapter.drawn(G, Stream("shown", 3).normal(2, chapter.JUDGED, 100))
    assert torch.equal(columns["frechet"], measure(images, few.test, judge)["frechet"])
    assert columns["frechet_floor"].shape == columns["read"].shape == (2,)
    assert columns["read"][0] == pytest.approx(classifier.accuracy(judge, few.test))


# The notebook


def test_the_exercise_on_clothes_says_what_its_table_has() -> None:
    table, digits = ledger("convolutions_clothes"), ledger("convolutions_begun")
    (said,) = (c.source for c in CHAPTER.notebook.cells if c.source.startswith("The distances of clothes"))
    for column, form in (("frechet", ".1f"), ("coverage", ".2f")):
        for of in (table, digits):
            assert f"{of[column].min():{form}} to {of[column].max():{form}}" in said
    for floor in (table["frechet_floor"], ledger("convolutions_floor")["frechet_bundled"]):
        assert f"{floor.min():.2f} to {floor.max():.2f}" in said


def test_the_chapter_trains_by_the_recipes_of_the_package() -> None:
    for nth, make in enumerate((chapter.original, chapter.repaired)):
        assert_trains_by(make(*chapter.inputs(2)), CHAPTER.train("train", nth))

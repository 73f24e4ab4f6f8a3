"""Games of digits by label are those that they say they are, and what is measured of them is right."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from gan_helpers import Ensemble, Stream, classifier, mnist
from gan_helpers.labels import misread
from gan_helpers.losses import minimax_d, non_saturating_g
from gan_helpers.penalties import r1, r2
from gan_helpers.recipes import Recipe
from gan_helpers.recipes import labelled_digits as chapter
from gan_helpers.recipes.convolutions import levels
from gan_helpers.tables import ledger
from tests.chapters import Chapter, assert_trains_by
from tests.plain_gan import numbers

DIGITS = mnist.load(device="cpu")
FEW = DIGITS.train[:200].images, DIGITS.train[:200].labels
PAIR = tuple[Tensor, Tensor]


def batch(recipe: Recipe) -> tuple[Ensemble, Ensemble, PAIR, PAIR]:
    """Players of two seeds, and six images and inputs for each with their labels."""
    G, D = recipe.networks(2, seed=3, device="cpu")
    y = torch.arange(12).view(2, 6) % 10
    x, z = numbers(2, 6, 784).float().tanh(), numbers(2, 6, 8, seed=1).float()
    return G, D, (x, y), (z, (y + 1) % 10)


# The games


def test_all_digits_are_learned_from_and_asked_for() -> None:
    images, shown = chapter.inputs(1)
    assert torch.equal(images, mnist.load().train.images) and torch.equal(shown, mnist.load().train.labels)
    assert [len(part) for part in chapter.inputs(1, rows=7)] == [7, 7]
    recipe = chapter.original(*FEW)
    x, y = recipe.data(1, 200, Stream("rows", 1, "cpu"))
    order = [(FEW[0] * 2 - 1 - row).abs().sum(1).argmin() for row in x[0]]
    assert torch.equal(FEW[1][torch.stack(order)], y[0])
    _, c = recipe.noise(1, 20_000, Stream("noise", 1, "cpu"))
    assert c[0].bincount(minlength=10).min() > 1_800


@pytest.mark.parametrize("how", ["joined", "concatenated", "projection", "ignoring"])
def test_a_d_that_is_told_the_label_has_the_losses_of_pairs(how: str) -> None:
    recipe = chapter.changed(*FEW, how)
    G, D, (x, y), (z, c) = batch(recipe)
    fake = G((z, c)).detach()
    price = chapter.GAMMA * (r1(lambda s: D((s, y)), x) + r2(lambda s: D((s, c)), fake)) / 2
    expected = minimax_d(D((x, y)), D((fake, c))) + price
    torch.testing.assert_close(recipe.d_loss(G, D, (x, y), (z, c)), expected)
    torch.testing.assert_close(recipe.g_loss(G, D, (x, y), (z, c)), non_saturating_g(D((fake, c))))
    assert torch.equal(D((x, y)), D((x, c))) == (how == "ignoring")


def test_a_d_that_is_shown_swapped_labels_takes_them_for_fakes() -> None:
    recipe = chapter.changed(*FEW, "projection", swapped=0.5)
    G, D, (x, y), (z, c) = batch(recipe)
    plain = chapter.changed(*FEW, "projection").d_loss(G, D, (x, y), (z, c))
    other = softplus(D((x, y[:, [5, 0, 1, 2, 3, 4]]))).mean((1, 2))
    torch.testing.assert_close(recipe.d_loss(G, D, (x, y), (z, c)), plain + 0.5 * other)
    again = chapter.changed(*FEW, "projection", again=0.5).d_loss(G, D, (x, y), (z, c))
    fakes = softplus(D((G((z, c)).detach(), c))).mean((1, 2))
    torch.testing.assert_close(again, plain + 0.5 * fakes)
    own = chapter.changed(*FEW, "projection", own=0.5).d_loss(G, D, (x, y), (z, c))
    torch.testing.assert_close(own, plain + 0.5 * softplus(D((x, y))).mean((1, 2)))
    both = chapter.changed(*FEW, "projection", swapped=0.5, again=0.25).d_loss(G, D, (x, y), (z, c))
    torch.testing.assert_close(both, plain + 0.5 * other + 0.25 * fakes)


@pytest.mark.parametrize(("how", "weight"), [("auxiliary", 1.0), ("auxiliary", 0.0), ("twin", 1.0)])
def test_a_d_that_reads_has_the_losses_of_reading(how: str, weight: float) -> None:
    recipe = chapter.changed(*FEW, how, weight=weight)
    G, D, (x, y), (z, c) = batch(recipe)
    fake = G((z, c)).detach()
    (a, read, *_), (b, heard, *twin) = D(x), D(fake)
    price = chapter.GAMMA * (r1(lambda s: D(s)[0], x) + r2(lambda s: D(s)[0], fake)) / 2
    told = misread(read, y) + (misread(twin[0], c) if twin else misread(heard, c))
    torch.testing.assert_close(recipe.d_loss(G, D, (x, y), (z, c)), minimax_d(a, b) + price + told)
    asked = misread(heard, c) - (misread(twin[0], c) if twin else 0)
    torch.testing.assert_close(recipe.g_loss(G, D, (x, y), (z, c)), non_saturating_g(b) + weight * asked)


def test_players_are_of_one_size_and_g_hears_the_label_unless_it_is_deaf() -> None:
    sizes = {how: sum(w.numel() for w in chapter.discriminator(how).parameters()) for how in chapter.WAYS}
    assert max(sizes.values()) < 1.06 * min(sizes.values())
    for ignores in (False, True):
        G, z = chapter.generator(ignores).eval(), numbers(4, 8).float()
        drawn = [G(z, torch.full((4,), k)) for k in (2, 7)]
        assert drawn[0].shape == (4, 784) and torch.equal(*drawn) == ignores
    with pytest.raises(ValueError, match="how must be one of joined, .*, not 'shouted'"):
        chapter.discriminator("shouted")


def test_rates_fade_and_penalties_are_those_that_are_said() -> None:
    recipe = chapter.original(*FEW)
    assert (recipe.steps, recipe.batch) == (chapter.STEPS, chapter.BATCH)
    G, D = recipe.networks(1, seed=3)
    for optimiser in (recipe.d_opt(D), recipe.g_opt(G)):
        (group,) = optimiser.param_groups
        assert (group["lr"], group["betas"]) == (chapter.RATE, chapter.BETAS)
        for _ in range(recipe.steps):
            optimiser.step()
        assert group["lr"] == pytest.approx(0, abs=1e-9)


# What is measured


def test_digits_are_asked_for_in_order_from_noise_of_their_own_or_from_the_same() -> None:
    deaf, _ = chapter.changed(*FEW, how="ignoring", g_ignores=True).networks(2, seed=3)
    made = chapter.asked_for(deaf, 5, n=3, same=True)
    assert made.shape == (2, 10, 3, 784) and made.dtype == torch.uint8 and deaf.training
    assert torch.equal(made, made[:, :1].expand_as(made)) and not torch.equal(made[:, :, 0], made[:, :, 1])
    assert len({image.tobytes() for image in chapter.asked_for(deaf, 5, n=3)[0].flatten(0, 1).numpy()}) == 30
    G, _ = chapter.original(*FEW).networks(2, seed=3)
    z = chapter.NOISE(2, 30, Stream("asked for", 5))
    drawn, y = chapter.asked_for(G, 5, n=3), torch.arange(30).expand(2, -1) // 3
    with torch.no_grad():
        assert torch.equal(drawn.flatten(1, 2), levels(G.eval()((z, y))))


def sheet(shown: list[int], n: int = 40, digits: mnist.Digits = DIGITS.test) -> Tensor:
    """Bytes of real digits, the held-out ones or others, ``(1, 10, n, 784)``: row k shows ``shown[k]``."""
    rows = [digits.images[digits.labels == k][:n] for k in shown]
    return torch.stack(rows).mul(255).round().byte().unsqueeze(0)


def test_real_digits_are_what_was_asked_for_and_others_are_not() -> None:
    judge = classifier.load("cpu")
    found = chapter.judged(sheet(list(range(10))), DIGITS.test, judge)
    assert found["read"].item() > 0.95 and found["frechet"].item() < 5
    assert found["within"].item() == pytest.approx(sum(found[f"within_{k}"].item() for k in range(10)) / 10)
    assert found["width"].item() == pytest.approx(1, abs=0.1) and found["doubt"].item() < 0.1
    swapped = chapter.judged(sheet([1, 0, *range(2, 10)]), DIGITS.test, judge)
    assert swapped["read"].item() == pytest.approx(0.8, abs=0.03) and swapped["read_least"].item() < 0.05
    assert swapped["within_0"].item() < 0.1 < swapped["within_2"].item()
    # All images together do not know what was asked.
    for key in ("frechet", "coverage", "density"):
        torch.testing.assert_close(swapped[key], found[key])


def test_the_same_digits_are_less_wide_if_they_are_faint_or_noisy() -> None:
    judge, rng = classifier.load("cpu"), Stream("damage", 1, "cpu")
    made = sheet(list(range(10)), n=150).float() / 255

    def judged(images: Tensor, key: str = "width") -> float:
        bytes_ = images.clamp(0, 1).mul(255).round().byte()
        return chapter.judged(bytes_, DIGITS.test, judge)[key].item()

    noise = rng.normal(*made.shape)
    whole = judged(made)
    assert whole == pytest.approx(1, abs=0.01)
    assert judged(0.965 * made) < whole - 0.03 and judged(0.7 * made) == pytest.approx(0.71, abs=0.02)
    assert judged(made + 0.2 * noise) == pytest.approx(0.84, abs=0.01)
    made = sheet(list(range(10)), n=200, digits=DIGITS.train).float() / 255  # a cleaner image covers more
    assert judged(made, "coverage") == pytest.approx(0.97, abs=0.01)
    assert judged(made + 0.1 * rng.normal(*made.shape), "coverage") == pytest.approx(0.77, abs=0.02)


def test_one_image_for_each_digit_is_read_right_and_has_no_width() -> None:
    judge, one = classifier.load("cpu"), sheet(list(range(10)))[:, :, :1].expand(-1, -1, 40, -1)
    found = chapter.judged(one, DIGITS.test, judge)
    assert found["read"].item() > 0.85 and found["width"].item() < 1e-4
    assert found["within"].item() < 0.2


@pytest.mark.parametrize("rows", [0, 1])
def test_a_digit_with_too_few_images_that_are_right_does_not_count_in_the_width(rows: int) -> None:
    assert chapter._spread(numbers(rows, 4)).isnan()
    judge, made = classifier.load("cpu"), sheet(list(range(10)))
    width = chapter.judged(made, DIGITS.test, judge)["width"]
    few = made.clone()
    few[:, 3, rows:] = made[:, 4, :1]  # fours where threes were asked for
    assert chapter.judged(few, DIGITS.test, judge)["width"].item() == pytest.approx(width.item(), rel=0.05)
    assert chapter.judged(torch.zeros_like(made), DIGITS.test, judge)["width"].isfinite().all()


def test_the_digit_that_is_read_worst_is_named() -> None:
    judge, made = classifier.load("cpu"), sheet([*range(6), 2, *range(7, 10)])
    assert chapter.worst_read(torch.cat([made, made[:, [*range(3), 5, *range(4, 10)]]]), judge)[0] == 6


def test_doubt_is_the_entropy_of_the_judge() -> None:
    judge, made = classifier.load("cpu"), sheet(list(range(10)))
    logits = judge(made.float().flatten(0, 2) / 255).double()
    p, right = logits.softmax(1), logits.argmax(1) == torch.arange(10).repeat_interleave(40)
    expected = -(p * p.log()).sum(1)[right].mean()
    found = chapter.judged(made, DIGITS.test, judge)["doubt"].item()
    assert found == pytest.approx(expected.item(), rel=1e-4)


def test_the_reader_in_d_is_asked_about_what_it_sees() -> None:
    recipe = chapter.changed(*FEW, "auxiliary")
    _, D = recipe.networks(2, seed=3)
    made = sheet(list(range(10)), n=5).expand(2, -1, -1, -1)
    _, read = D(2 * made.flatten(1, 2).float() / 255 - 1)
    expected = (read.argmax(2) == torch.arange(50) // 5).double().mean(1)
    torch.testing.assert_close(chapter.own_reading(D, made), expected)


# The tables


def test_a_table_has_all_games_from_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = chapter.asked_for
    monkeypatch.setattr(chapter, "asked_for", lambda G, seed: asked(G, seed, n=6))
    monkeypatch.setattr(chapter, "GAMES", {k: chapter.GAMES[k] | {"steps": 2} for k in ("plain", "twin")})
    found = chapter.games(1, 5)
    for name, changes in chapter.GAMES.items():
        recipe = chapter.changed(*chapter.inputs(1), **changes)
        G, D = recipe.networks(1, seed=5)
        recipe.train(G, D, seed=5)
        made = asked(G, 5, n=6)
        expected = chapter.judged(made, mnist.load().test, classifier.load())
        if name == "twin":
            expected["own"] = chapter.own_reading(D, made)
        for key, value in expected.items():
            torch.testing.assert_close(found[f"{key}_{name}"], value)
    monkeypatch.setattr(chapter, "STEPS", 2)
    found, recipe = (
        chapter.swapped(1, 5),
        chapter.changed(*chapter.inputs(1), "projection", swapped=1.0, steps=2),
    )
    G, D = recipe.networks(1, seed=5)
    recipe.train(G, D, seed=5)
    made = asked(G, 5, n=6)
    for key, value in chapter.judged(made, mnist.load().test, classifier.load()).items():
        torch.testing.assert_close(found[f"{key}_projection"], value)
    assert torch.equal(found["worst_projection"], chapter.worst_read(made, classifier.load()))


TABLE = ledger("labelled_digits_games")


def test_of_the_table_projection_is_ahead_in_every_run() -> None:
    others = [name for name in chapter.GAMES if name != "projection"]
    for name in others:
        assert (TABLE["read_projection"] > TABLE[f"read_{name}"]).all()
        assert (TABLE["frechet_projection"] < 0.6 * TABLE[f"frechet_{name}"]).all()
    assert TABLE["read_projection"].min() > 0.88
    assert (TABLE["frechet_joined"] < TABLE["frechet_plain"]).sum() == 7
    assert (TABLE["frechet_concatenated"] < TABLE["frechet_plain"]).all()


def test_of_the_table_who_is_paid_for_being_read_pleases_the_reader_alone() -> None:
    assert (TABLE["own_auxiliary"] > 0.9985).all() and (TABLE["read_auxiliary"] < 0.82).all()
    for key, sign in (("frechet", 1), ("coverage", -1), ("width", -1)):
        assert (sign * (TABLE[f"{key}_auxiliary"] - TABLE[f"{key}_unpaid"]) > 0).all()
        assert (sign * (TABLE[f"{key}_auxiliary"] - TABLE[f"{key}_projection"]) > 0).all()
    assert (TABLE["frechet_auxiliary"] > TABLE["frechet_plain"]).all()
    assert TABLE["doubt_auxiliary"].min() > 5 * ledger("labelled_digits_floor")["doubt"].max()


def test_of_the_table_who_is_not_checked_is_right_by_chance() -> None:
    for name in ("plain", "d_ignores", "unpaid"):
        assert (TABLE[f"read_{name}"] - 0.1).abs().max() < 0.06
    assert ledger("labelled_digits_floor")["read"].min() > 0.975


def test_of_the_tables_swapped_labels_are_heard_and_narrow() -> None:
    swapped, beside = ledger("labelled_digits_swapped"), ledger("labelled_digits_swapped_beside")
    for found, how in ((swapped, "projection"), (beside, "concatenated")):
        without = {key: TABLE[f"{key}_{how}"][: len(found["seed"])] for key in ("read", "within", "width")}
        assert (found[f"read_{how}"] > without["read"]).all() and (
            found[f"within_{how}"] > without["within"]
        ).all()
        assert (found[f"width_{how}"] < without["width"]).all()
    assert swapped["read_projection"].min() >= 0.9645
    assert (swapped["frechet_projection"] < TABLE["frechet_projection"]).all()
    assert swapped["worst_projection"].tolist().count(9) == 7


def test_of_the_tables_to_refuse_fakes_more_is_not_what_swapped_labels_do() -> None:
    swapped, refused = ledger("labelled_digits_swapped"), ledger("labelled_digits_refused_more")
    assert (swapped["read_projection"] > refused["read_projection"] + 0.068).all()
    assert (refused["read_projection"] > TABLE["read_projection"]).sum() == 2


def test_of_the_tables_to_refuse_real_digits_is_not_what_swapped_labels_do() -> None:
    swapped, own = ledger("labelled_digits_swapped"), ledger("labelled_digits_own")
    assert (swapped["read_projection"] > own["read_projection"] + 0.0655).all()
    assert (own["read_projection"] > TABLE["read_projection"]).sum() == 1
    assert (own["coverage_projection"] < TABLE["coverage_projection"]).all()


# The chapter


def test_the_chapter_trains_by_projection() -> None:
    recipe = chapter.changed(*chapter.inputs(2), "projection", swapped=1.0)
    assert_trains_by(recipe, Chapter("labels").train("train", 0))

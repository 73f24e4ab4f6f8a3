"""Data sets are learned as readers learn theirs, and what leaks of them is measured right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from scipy.stats import mannwhitneyu
from torch import Tensor, nn

from gan_helpers import Ensemble, Stream, judging, your_data
from gan_helpers.judging import gaussian, membership, mixture
from gan_helpers.recipes import your_data as recipe
from gan_helpers.results import effect, holm
from gan_helpers.tables import ledger
from gan_helpers.units import Category
from tests.chapters import Chapter

FEW = 3  # steps
CHAPTER = Chapter("your_data")


def test_the_data_are_what_the_text_says() -> None:
    rows = {name: load() for name, load in recipe.DATA.items()}
    assert [len(found) for found in rows.values()] == [442, 178, 150, 569, 2_000, 600, 1_797]
    assert [found.units.features for found in rows.values()] == [12, 16, 7, 32, 3, 64, 64]
    kinds = [c.name for c in rows["diabetes"].units.columns if isinstance(c, Category)]
    assert kinds == ["sex"] and rows["wine"].units.columns[-1].name == "grower"
    assert rows["iris"].units.columns[-1].name == "species" and rows["waves"].units.shape == (64,)
    assert rows["cancer"].units.columns[-1].name == "diagnosis" and rows["colours"].units.columns[0].whole
    assert rows["digits"].units.shape == (8, 8) and rows["digits"].values[0].max() == 16
    assert rows["diabetes"].units.columns[0].whole and not rows["diabetes"].units.columns[2].whole


def test_what_is_attacked_is_what_fit_trains() -> None:
    rows = recipe.wine()
    parts = your_data.split(rows, seed=3)
    G, D = recipe.trained(parts, 2, 3, your_data.GAMMA, FEW)
    fitted = your_data.fit(rows, 2, FEW, seed=3, progress=False)
    z = Stream("z", 1).normal(2, 5, 16)
    assert torch.equal(G.made(z), fitted.made(z)) and G.origin == fitted.origin
    assert not torch.equal(recipe.trained(parts, 2, 3, 0.0, FEW)[0].made(z), fitted.made(z))
    assert not D.training


def test_a_discriminator_tells_who_was_there_as_often_as_the_pairs_say() -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Linear(1, 1, bias=False)
            nn.init.ones_(self.w.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.w(x[..., :1])

    D = Ensemble.of([First(), First()], device="cpu")
    D.network.state_dict()["w.weight"][1] = -1.0
    train, held = torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [1.0], [2.0]])
    assert recipe.told_by(D, train, held).tolist() == pytest.approx([4.5 / 6, 1.5 / 6])


def test_the_columns_of_the_tables_are_named_by_measure_and_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "STEPS", FEW)
    briefly = {name: (held_out, gamma, FEW) for name, (held_out, gamma, _) in recipe.SETTINGS.items()}
    monkeypatch.setattr(recipe, "SETTINGS", briefly)
    found = recipe.judged("wine", 2, 5)
    assert {"distance_gan", "told_gaussian", "coverage_real", "closeness_bootstrap"} <= set(found)
    assert all(values.shape == (2,) and values.dtype == torch.float64 for values in found.values())
    leaks = recipe.leaks(2, 5)
    tellers = recipe.TELLERS.values()
    assert set(leaks) == {f"{who}_{name}" for who in tellers for name in recipe.SETTINGS}
    assert all(((0 <= values) & (values <= 1)).all() for values in leaks.values())
    monkeypatch.setattr(recipe, "LENGTHS", (1, FEW))
    longer = recipe.lengths("wine", 2, 5)
    assert {f"{measure}_{steps}" for measure in ("distance", *tellers) for steps in (1, FEW)} <= set(longer)
    assert torch.equal(longer[f"distance_{FEW}"], found["distance_gan"])
    assert not torch.equal(longer["distance_1"], found["distance_gan"])


def test_the_settings_are_what_their_words_say() -> None:
    assert recipe.SETTINGS.keys() == recipe.WORDS.keys()
    for name, (held_out, gamma, steps) in recipe.SETTINGS.items():
        words = recipe.WORDS[name]
        assert words.startswith(f"{len(your_data.split(recipe.diabetes(), held_out, 1).train)} rows")
        assert (gamma == 0) == ("without" in words)
        assert steps == (300 if "300 steps" in words else recipe.STEPS)


def test_the_control_asks_about_rows_that_nobody_was_trained_on() -> None:
    parts = your_data.split(recipe.wine(), seed=3)
    G, D = recipe.trained(parts, 2, 3, your_data.GAMMA, FEW)
    told = recipe.attacked(G, D, parts, 3)
    half = -(-len(parts.held_out) // 2)
    one, other = parts.held_out[:half], parts.held_out[half:]
    assert torch.equal(told["unseen"], recipe.told_by(D, one, other))
    assert torch.equal(told["critic"], recipe.told_by(D, parts.train, parts.held_out))
    z = Stream("attacked/Gaussian", 3)
    plain = parts.units.rounded(gaussian(parts.train)(2, recipe.SAMPLES, z))
    assert torch.equal(told["gaussian"], membership(plain, parts.train, parts.held_out))


def test_the_table_of_lengths_holds_the_runs_of_the_other() -> None:
    longer, once = ledger("your_data_diabetes_steps"), ledger("your_data_diabetes")
    for measure in recipe.SHOWN.values():
        torch.testing.assert_close(longer[f"{measure}_{recipe.STEPS}"], once[f"{measure}_gan"])


def test_the_chapter_writes_the_games_of_the_package() -> None:
    rows = recipe.wine()
    parts = your_data.split(rows, seed=3)
    names = CHAPTER.define("d_loss", "g_loss")
    G = Ensemble(lambda: your_data.generator(parts.units, 16), 2, name="G", seed=3)
    D = Ensemble(lambda: your_data.discriminator(parts.units), 2, name="D", seed=3)
    x, z = parts.train[:20].expand(2, -1, -1), Stream("z", 1).normal(2, 20, 16)
    for name in ("d_loss", "g_loss"):
        torch.testing.assert_close(names[name](G, D, x, z), getattr(your_data, name)(G, D, x, z))


# The rivals of the digits


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """Return what becomes the BIC of each mixture that is fitted, by its number of modes."""
    found: dict[int, float] = {}

    class Seen(judging.GaussianMixture):
        def bic(self, rows):
            found[self.n_components] = super().bic(rows)
            return found[self.n_components]

    monkeypatch.setattr(judging, "GaussianMixture", Seen)
    return found


def test_bic_takes_as_many_modes_as_the_text_says(chosen: dict[int, float]) -> None:
    for name, best in {"digits": 32, "waves": 64}.items():
        chosen.clear()
        mixture(your_data.split(recipe.DATA[name](), seed=1_000).train)
        assert sorted(chosen) == [2, 4, 8, 16, 32, 64] and min(chosen, key=chosen.__getitem__) == best


def test_a_small_mixture_of_digits_and_rows_without_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are what the text holds beside the table: a rival of 16 modes, and training rows drawn once."""
    monkeypatch.setattr(judging, "MODES", (2, 4, 8, 16))
    parts = your_data.split(recipe.digits(), seed=1_000)
    judge = judging._Judge(parts, 1_000)
    small = judge.measured(mixture(parts.train)(8, judge.n, Stream("measured", 1_000)))
    assert [round(middle(small[key]), 2) for key in ("distance", "coverage", "told")] == pytest.approx(
        [3.42, 0.48, 0.9], abs=0.011
    )
    longer = ledger("your_data_digits_steps")
    assert middle(longer["distance_3000"]) < middle(small["distance"])
    rng = Stream("without", 1_000)
    once = [parts.train[rng.permutation(len(parts.train))[: judge.n]] for _ in range(8)]
    found = judge.measured(torch.stack(once))
    assert middle(found["told"]) == pytest.approx(0.48, abs=0.01)
    assert abs(int(judge.passed(found).sum()) - 6) <= 1  # on this machine and on others


# The numbers of the text


def middle(values: Tensor) -> float:
    return float(values.double().quantile(0.5))


def between(before: Tensor, after: Tensor) -> tuple[float, float, float]:
    """Return the median of what pairs differ by, and the ends of its interval."""
    found = effect(before, after)
    return found.median, found.low, found.high


def middles(table: dict[str, Tensor], *columns: str) -> tuple[float, ...]:
    return tuple(middle(table[column]) for column in columns)


def by_chance(one: int, other: int) -> float:
    """Return the standard deviation of how often one is right about rows that do not differ."""
    return float(((one + other + 1) / (12 * one * other)) ** 0.5)


def sentences() -> Iterator[tuple[str, tuple[float, ...]]]:
    """Yield what the chapter says in numbers, and these from its tables."""
    once, longer, leaks = (ledger(f"your_data_{name}") for name in ("diabetes", "diabetes_steps", "leaks"))
    pulled, wine, iris = (ledger(f"your_data_{name}") for name in ("diabetes_pulled", "wine", "iris"))
    colours, cancer = (ledger(f"your_data_{name}") for name in ("colours", "cancer"))
    digits, slow, drawn = (
        ledger(f"your_data_{name}") for name in ("digits", "digits_steps", "digits_pulled")
    )
    # After 1,000 steps
    gaussian, mixture = once["distance_gaussian"], once["distance_mixture"]
    yield (
        "which share a split and nothing else, is ${:.2f}$, with a 95 % interval from ${:.2f}$ to ${:.2f}$",
        between(gaussian, once["distance_gan"]),
    )
    yield "worse, by ${:.2f}$ (${:.2f}$ to ${:.2f}$)", between(once["told_gaussian"], once["told_gan"])
    yield (
        "nearer to the training rows in all {:.0f} runs",
        (float((once["closeness_gan"] < once["closeness_gaussian"]).sum()),),
    )
    # After 300 and 3,000
    yield (
        "off than the Gaussian, by {:.2f} ({:.2f} to {:.2f}). With 1,000",
        between(gaussian, longer["distance_300"]),
    )
    yield "it is nearer, by {:.2f} ({:.2f} to {:.2f})", between(longer["distance_3000"], gaussian)
    yield (
        "the difference is ${:.2f}$ (${:.2f}$ to ${:.2f}$). The mixture",
        between(once["told_gaussian"], longer["told_3000"]),
    )
    yield "further off too, by {:.2f} ({:.2f} to {:.2f})", between(longer["distance_3000"], mixture)
    critics, samples = ([f"{who}_{steps}" for steps in recipe.LENGTHS] for who in ("critic", "samples"))
    yield (
        "in {:.2f}, {:.2f} and {:.2f} of all pairs. Samples are in {:.2f}, {:.2f} and {:.2f}, where those of "
        "the Gaussian stay at {:.2f}",
        middles(longer, *critics, *samples, "gaussian_3000"),
    )
    yield "with {:.2f} against {:.2f}", (middle(longer["distance_3000"]), middle(once["distance_real"]))
    yield (
        "by {:.2f} ({:.2f} to {:.2f}), a median of 16 pairs. For 60",
        between(longer["distance_1000"], longer["distance_300"]),
    )
    # The trap
    yield (
        "the difference is {:.3f} (${:.2f}$ to ${:.2f}$), a median",
        between(pulled["distance_gaussian_85"], longer["distance_3000"]),
    )
    apart = longer["distance_3000"] - pulled["distance_gaussian_85"]
    yield "it is ${:.2f}$ on one split and ${:.2f}$ on the other", (middle(apart[:8]), middle(apart[8:]))
    yield (
        "tells it at {:.2f}, where it tells the GAN at {:.2f}",
        (middle(pulled["told_gaussian_85"]), middle(longer["told_3000"])),
    )
    yield (
        "raised too: {:.2f}, next to {:.2f} of real rows and {:.2f} of the whole Gaussian",
        (
            *middles(longer, "density_3000"),
            *middles(once, "density_real"),
            *middles(pulled, "density_gaussian_100"),
        ),
    )
    # Other data
    yield (
        "on the wines {:.0f} % of the GAN's samples are nearer to a training row than to a held-out one, "
        "{:.0f} % of the Gaussian's and {:.0f} % of the mixture's",
        tuple(100 * x for x in middles(wine, "copying_gan", "copying_gaussian", "copying_mixture")),
    )
    yield (
        "the tumours, by {:.0f} % in the median",
        (100 * (1 - middle(cancer["distance_gan"]) / middle(cancer["distance_mixture"])),),
    )
    for row, passes in {"gan": [4, 6], "mixture": [3, 6]}.items():
        assert [int(table[f"passes_{row}"].sum()) for table in (wine, iris)] == passes
    yield "of the wines four of 8 seeds pass and of the irises six; of the mixture's, three and six", ()
    yield (
        "tells their samples at {:.2f} and those of the GAN at {:.2f}",
        middles(ledger("your_data_waves"), "told_mixture", "told_gan"),
    )
    assert round(middle(colours["distance_gaussian"]) / middle(colours["distance_gan"])) == 3
    yield "On the colours it is three times as near, in the median", ()
    assert [int(found.sum()) for found in (longer["passes_3000"], once["passes_gaussian"])] == [3, 3]
    yield "Three of 16 seeds pass, as many as of the Gaussian", ()
    # Digits
    yield (
        "than the Gaussian, by {:.2f} ({:.2f} to {:.2f}), a median of 8 pairs",
        between(digits["distance_gaussian"], digits["distance_gan"]),
    )
    assert int((digits["coverage_bootstrap"] < 0.955).sum()) == 7
    yield "seven of its eight runs fail as well, by little: a pass needs 0.955", ()
    yield (
        "nearer than after 1,000, by {:.2f} ({:.2f} to {:.2f}), and ahead of the Gaussian in all three",
        between(slow["distance_3000"], slow["distance_1000"]),
    )
    yield (
        "covers {:.2f} of the held-out digits where the mixture covers {:.2f}",
        (middle(slow["coverage_3000"]), middle(digits["coverage_mixture"])),
    )
    yield (
        "it is further off, {:.2f} in place of {:.2f}",
        (middle(slow["distance_3000"]), middle(digits["distance_mixture"])),
    )
    yield (
        "tells it more often, at {:.2f} in place of {:.2f}",
        (middle(slow["told_3000"]), middle(digits["told_mixture"])),
    )
    keys = ("distance", "coverage", "told")
    chances = [mannwhitneyu(slow[f"{key}_3000"], digits[f"{key}_mixture"]).pvalue for key in keys]
    assert max(holm([float(p) for p in chances])) < 0.05
    yield "By the test of the table above, corrected for three, all three are told", ()
    yield (
        "the mixture is nearer than the GAN, by {:.2f} ({:.2f} to {:.2f})",
        between(drawn["distance_mixture_85"], slow["distance_3000"]),
    )
    yield (
        "covers more, {:.2f} in place of {:.2f}",
        (middle(drawn["coverage_mixture_85"]), middle(slow["coverage_3000"])),
    )
    assert middle(drawn["density_mixture_85"]) < digits["density_real"].min()
    yield "{:.2f} is below that of real rows", middles(drawn, "density_mixture_85")
    yield (
        "a classifier knows it in {:.2f}, where it knows the GAN in {:.2f}",
        (middle(drawn["told_mixture_85"]), middle(slow["told_3000"])),
    )
    yield "in {:.2f} of the pairs, with 1,198 rows", middles(slow, "critic_3000")
    # Who was trained on
    d, s, g = (
        [f"{who}_{name}" for name in ("few", "middle", "usual")] for who in ("critic", "samples", "gaussian")
    )
    yield "falls from {:.2f} to {:.2f} and {:.2f} as the rows", middles(leaks, *d)
    yield "right in {:.0f} of 100", (100 * middle(leaks["critic_few"]),)
    yield "{:.0f} of 100 pairs with 60 rows", (100 * middle(leaks["critic_few"]),)
    yield "Samples fall to {:.2f}", middles(leaks, s[2])
    yield "Gaussian of the same rows are at {:.2f}", middles(leaks, g[2])
    yield "tell {:.2f}, where those of the GAN tell {:.2f}", middles(leaks, g[0], s[0])
    yield "prefers one half of the unseen rows, {:.2f}", middles(leaks, "unseen_usual")
    chance, many = by_chance(73, 74), by_chance(295, 147)
    yield (
        "moves such a number by {:.2f} with 73 and 74 of them, one standard deviation, so 0.43 is no "
        "surprise. With 295 and 147 it moves it by {:.2f}",
        (chance, many),
    )
    assert (middle(leaks["critic_usual"]) - 0.5) / many > 5
    assert 0.9 < (middle(leaks["samples_usual"]) - 0.5) / many < 1.2
    yield (
        "60 rows fall from {:.2f} to {:.2f}, and $D$ from {:.2f} to {:.2f}",
        middles(leaks, "samples_few", "samples_brief", "critic_few", "critic_brief"),
    )
    more = {steps: longer[f"samples_{steps}"] - longer[f"gaussian_{steps}"] for steps in (1_000, 3_000)}
    yield (
        "in {:.0f} of 16 pairs, in the median by {:.2f}, and after 3,000 steps in all {:.0f}, by {:.2f}",
        (
            float((more[1_000] > 0).sum()),
            middle(more[1_000]),
            float((more[3_000] > 0).sum()),
            middle(more[3_000]),
        ),
    )
    yield (
        "by {:.2f} more than a Gaussian's after 1,000 steps, and by {:.2f} after 3,000",
        (middle(more[1_000]), middle(more[3_000])),
    )
    yield (
        "$D$ tells {:.2f} after 1,000 steps and {:.2f} after 3,000",
        middles(longer, "critic_1000", "critic_3000"),
    )
    yield (
        "seen {:,.0f}, {:.0f} and {:.0f} times",
        tuple(your_data.BATCH * 1_000 / rows for rows in (60, 150, 295)),
    )
    yield (
        "{:.0f} times, give {:.2f}, more than 150 rows",
        (your_data.BATCH * 3_000 / 295, middle(longer["critic_3000"])),
    )
    yield "Why is its membership {:.2f} on the patients", middles(once, "membership_bootstrap")


def test_the_numbers_of_the_text_are_those_of_the_tables() -> None:
    text = "\n".join(cell.source for cell in CHAPTER.notebook.cells if cell.cell_type == "markdown")
    said = [words.format(*numbers) for words, numbers in sentences()]
    assert [words for words in said if words not in text] == []

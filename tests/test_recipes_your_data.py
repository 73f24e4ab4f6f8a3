"""Data sets are learned as readers learn theirs, and what leaks of them is measured right."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan_helpers import Ensemble, Stream, your_data
from gan_helpers.judging import gaussian, membership
from gan_helpers.recipes import your_data as recipe
from gan_helpers.tables import ledger
from gan_helpers.units import Category
from tests.chapters import Chapter

FEW = 3  # steps


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
    names = Chapter("your_data").define("d_loss", "g_loss")
    G = Ensemble(lambda: your_data.generator(parts.units, 16), 2, name="G", seed=3)
    D = Ensemble(lambda: your_data.discriminator(parts.units), 2, name="D", seed=3)
    x, z = parts.train[:20].expand(2, -1, -1), Stream("z", 1).normal(2, 20, 16)
    for name in ("d_loss", "g_loss"):
        torch.testing.assert_close(names[name](G, D, x, z), getattr(your_data, name)(G, D, x, z))

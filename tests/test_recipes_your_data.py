"""Data sets are learned as readers learn theirs, and what leaks of them is measured right."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan_helpers import Ensemble, Stream, your_data
from gan_helpers.recipes import your_data as recipe
from gan_helpers.results import effect
from gan_helpers.tables import ledger
from gan_helpers.units import Category
from tests.chapters import BOOK

FEW = 3  # steps


def test_the_data_are_what_the_text_says() -> None:
    rows = {name: load() for name, load in recipe.DATA.items()}
    assert [len(found) for found in rows.values()] == [442, 178, 1_797]
    assert [found.units.features for found in rows.values()] == [12, 16, 64]
    kinds = [c.name for c in rows["diabetes"].units.columns if isinstance(c, Category)]
    assert kinds == ["sex"] and rows["wine"].units.columns[-1].name == "grower"
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
    found = recipe.judged("wine", 2, 5)
    assert {"distance_gan", "told_gaussian", "coverage_real", "closeness_bootstrap"} <= set(found)
    assert all(values.shape == (2,) and values.dtype == torch.float64 for values in found.values())
    leaks = recipe.leaks(2, 5)
    assert set(leaks) == {f"{by}_{name}" for by in ("samples", "critic") for name in recipe.SETTINGS}
    assert all(((0 <= values) & (values <= 1)).all() for values in leaks.values())
    for held_out, _ in list(recipe.SETTINGS.values())[1:]:
        assert len(your_data.split(recipe.diabetes(), held_out, 1).train) == recipe.TRAINED


def test_the_page_tells_what_the_tables_hold() -> None:
    page = (BOOK / "helpers.md").read_text(encoding="utf-8")
    assert str(recipe.told("diabetes")).replace("| W1 |", "| $W_1$ |") in page
    assert str(recipe.told("digits")).replace("| W1 |", "| $W_1$ |") in page
    assert str(recipe.leaked()) in page
    digits = ledger("your_data_digits")
    found = effect(digits["distance_gaussian"], digits["distance_gan"])
    assert f"by ${found.median:.2f}$ (${found.low:.2f}$ to ${found.high:.2f}$)" in page and found.p < 0.05
    columns = ledger("your_data_diabetes")
    for measure, said in (("distance", "$-0.05$, with a 95 % interval from $-0.08$ to $0.01$"),
                          ("told", "$0.08$ ($0.04$ to $0.15$)")):  # fmt: skip
        found = effect(columns[f"{measure}_gaussian"], columns[f"{measure}_gan"])
        for number in (found.median, found.low, found.high):
            assert f"${number:.2f}$" in said
        assert said in page and (found.p < 0.05) == (measure == "told")
    leaks = ledger("your_data_leaks")
    for who in ("samples", "critic"):
        assert effect(leaks[f"{who}_few"], leaks[f"{who}_bare"]).p > 0.5
    assert len(your_data.split(recipe.diabetes(), seed=1).train) == 295 and recipe.TRAINED == 60

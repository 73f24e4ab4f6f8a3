"""Snapshots of generators: what is stored of them, and that the stored ones are those of their recipes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gan_helpers import metrics
from gan_helpers import snapshots as module
from gan_helpers.recipes import fifty_lines
from gan_helpers.snapshots import Series, every, snapshots
from gan_helpers.tables import FIRST_SEED, FOLDER

ALL = every()
REMAKE = "`python -m gan_helpers.snapshots {}` makes it again"
SHORT = fifty_lines.changed("single", steps=4)
SMALL = Series(
    recipes={"one": SHORT, "the other": replace(SHORT, options={"ema": 0.9}, steps=2)},
    rounds=(0, 2, 4),
    samples=fifty_lines.quantile_samples,
    view=(-1.0, 9.0),
    bound=("a bound", 3.0),
    start=("one", 4, 1),
    seeds=2,
    quantiles=4,
)


@pytest.mark.parametrize("name", ALL)
def test_what_is_stored_fits_its_series_and_its_own_numbers(name: str) -> None:
    series, stored = ALL[name], snapshots(name)
    content = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert stored.choices == tuple(series.recipes) and stored.rounds == series.rounds, REMAKE.format(name)
    assert content["start"] == list(series.start) and content["bound"] == list(series.bound)
    law, (low, high) = next(iter(series.recipes.values())).data, content["reach"]
    for k, (recipe, made, w1) in enumerate(
        zip(series.recipes.values(), stored.quantiles, stored.w1, strict=True)
    ):
        rounds = sum(step <= recipe.steps for step in series.rounds)
        assert made.shape == (rounds, series.seeds, series.quantiles) and w1.shape == (rounds, series.seeds)
        assert content["within"][k] == (w1 < series.bound[1]).sum(1).tolist()
        assert content["median"][k] == pytest.approx(w1.quantile(0.5, dim=1).tolist(), abs=6e-4)
        # A distance is that of ten thousand numbers; some dozens of these say nearly the same.
        kept = ((made > low) & (made < high)).all(2)
        coarse = metrics.w1(made.flatten(0, 1), law).view(kept.shape)
        torch.testing.assert_close(coarse[kept], w1[kept], rtol=0.02, atol=0.03)


@pytest.mark.parametrize("name", ALL)
def test_what_is_stored_is_what_the_recipes_do(name: str) -> None:
    series, stored = ALL[name], snapshots(name)
    for words, recipe in series.recipes.items():
        G, _ = recipe.networks(series.seeds, seed=FIRST_SEED)
        found = metrics.w1(series.samples(G), recipe.data)
        torch.testing.assert_close(found, stored.at(words, 0)[1], rtol=0, atol=1e-3, msg=REMAKE.format(name))
    words, short = series.start[0], replace(series, rounds=series.rounds[:2])
    taken = short.taken(series.recipes[words])
    for now, then in zip(
        (taken["quantiles"][1], taken["w1"][1]), stored.at(words, short.rounds[1]), strict=True
    ):
        torch.testing.assert_close(now.double(), then, rtol=0, atol=0.02, msg=REMAKE.format(name))


def test_snapshots_are_quantiles_and_distances_at_their_rounds() -> None:
    taken = SMALL.taken(SHORT)
    assert taken["quantiles"].shape == (3, 2, 4) and taken["w1"].shape == (3, 2)
    G, D = SHORT.networks(2, seed=FIRST_SEED)
    SHORT.train(G, D, seed=FIRST_SEED, steps=2)
    made = fifty_lines.quantile_samples(G).sort(dim=1).values
    # Of 10,000 numbers in order, one eighth lies below the mean of the 1,250th and the next, nearly.
    torch.testing.assert_close(taken["quantiles"][1], made[:, 1250::2500], rtol=0, atol=1e-3)
    torch.testing.assert_close(taken["w1"][1], metrics.w1(made, SHORT.data))


def test_a_file_is_written_by_the_command_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "every", lambda: {"small": SMALL})
    monkeypatch.setattr(sys, "argv", ["snapshots", "small"])
    module.main()
    stored, taken = snapshots("small"), SMALL.taken(SHORT)
    quantiles, w1 = stored.at("one", 4)
    torch.testing.assert_close(quantiles, taken["quantiles"][2].double(), rtol=0, atol=3e-4)
    torch.testing.assert_close(w1, taken["w1"][2].double(), rtol=0, atol=5.1e-4)
    assert (stored.at("the other", 2)[1] != stored.at("one", 2)[1]).all()  # of averaged weights
    longer = replace(SMALL, recipes={**SMALL.recipes, "a third": SHORT}, samples=lambda G: torch.zeros(2, 8))
    monkeypatch.setattr(module, "every", lambda: {"small": longer})
    monkeypatch.setattr(sys, "argv", ["snapshots", "small", "--more"])
    module.main()
    more = snapshots("small")
    for now, then in zip(more.quantiles[:2] + more.w1[:2], stored.quantiles + stored.w1, strict=True):
        assert torch.equal(now, then)
    assert more.at("a third", 4)[0].abs().max() < 3e-4
    with pytest.raises(ValueError, match=r"^choice must be one of one, the other, not 'none'\.$"):
        stored.at("none", 4)
    with pytest.raises(ValueError, match=r"^rounds must be one of 0, 2, not 4\.$"):
        stored.at("the other", 4)
    with pytest.raises(ValueError, match=r"^name must be one of small, not 'large'\.$"):
        snapshots("large")


def test_what_lies_far_outside_is_kept_at_the_end_of_the_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    far = {"quantiles": torch.tensor([[[-1e3, 0.0, 4.0, 1e3]] * 2] * 3), "w1": torch.ones(3, 2)}
    (tmp_path / "far.json").write_text(SMALL.written({"one": far}), encoding="utf-8")
    quantiles = snapshots("far").at("one", 0)[0][0].tolist()
    assert quantiles == pytest.approx([-11.0, 0.0, 4.0, 19.0], abs=3e-4)

"""The recipes of the MXNet chapter: what it writes out is what the package runs, and is measured right."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from torch import Tensor

from gan_helpers import metrics
from gan_helpers.data import Minibatches, StandardNormal
from gan_helpers.metrics import GaussianFit
from gan_helpers.recipes import mxnet_gaussian as recipe

BOOK = Path(__file__).resolve().parent.parent / "book"
CONSTANTS = {"A", "b", "x", "Z", "R", "nd", "dense", "axes", "minor"}
SIGMA = torch.tensor([[1.01, 1.95], [1.95, 4.25]], dtype=torch.float64)


def covariances(*matrices: Tensor) -> GaussianFit:
    stacked = torch.stack(matrices).double()
    return GaussianFit(recipe.B.double().expand(len(stacked), 2), stacked)


# What needs no MXNet


def test_the_law_of_the_points_is_that_of_rows() -> None:
    torch.testing.assert_close(recipe.REAL.covariance.double(), SIGMA, rtol=0, atol=1e-6)
    assert recipe.REAL.mean.tolist() == [1.0, 2.0]
    x = recipe.points(100, seed=1)
    fit = metrics.fit_gaussian(x.reshape(1, -1, 2))
    torch.testing.assert_close(fit.covariance[0], SIGMA, rtol=0.02, atol=0)
    torch.testing.assert_close(fit.mean[0], torch.tensor([1.0, 2.0]).double(), rtol=0, atol=0.02)


def test_each_seed_has_points_of_its_own() -> None:
    x = recipe.points(2, seed=3)
    assert x.shape == (2, 1_000, 2) and not torch.equal(x[0], x[1])
    assert torch.equal(x, recipe.points(2, seed=3)) and not torch.equal(x, recipe.points(2, seed=4))


def test_the_minor_axis_ratio_where_it_is_known() -> None:
    values, axes = torch.linalg.eigh(SIGMA)
    major = values[1] * torch.outer(axes[:, 1], axes[:, 1])
    minor = values[0] * torch.outer(axes[:, 0], axes[:, 0])
    fits = covariances(SIGMA, major, major + 9 * minor, 4 * SIGMA, 0.25 * minor)
    expected = torch.tensor([1.0, 0.0, 3.0, 2.0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(recipe.minor_axis_ratio(fits), expected, rtol=0, atol=1e-3)


def test_w2_where_it_is_known() -> None:
    values, axes = torch.linalg.eigh(SIGMA)
    line = values[1] * torch.outer(axes[:, 1], axes[:, 1])
    distances = recipe.w2(covariances(SIGMA, line))
    assert distances[0] < 1e-6
    assert distances[1].item() == pytest.approx(math.sqrt(values[0]), abs=1e-5)
    moved = GaussianFit(recipe.B.double()[None] + torch.tensor([[0.3, 0.4]]), SIGMA[None])
    assert recipe.w2(moved).item() == pytest.approx(0.5, abs=1e-6)


# What needs it


class Chapter:
    """The definitions of the notebook and its calls of ``gm.train``, without running the rest."""

    def __init__(self) -> None:
        notebook = nbformat.read(BOOK / "mxnet_gaussian.ipynb", as_version=4)
        nodes = [n for c in notebook.cells if c.cell_type == "code" for n in ast.parse(c.source).body]
        kept = (ast.Import, ast.ImportFrom, ast.FunctionDef)
        wanted = [n for n in nodes if isinstance(n, kept) or self._assigned(n) & CONSTANTS]
        self.names: dict[str, Any] = {"right": []}
        exec(compile(ast.Module(wanted, []), "mxnet_gaussian", "exec"), self.names)
        calls = [c for node in nodes for c in ast.walk(node) if isinstance(c, ast.Call)]
        self.ensembles = [
            c for c in calls if ast.unparse(c.func) == "gm.Ensemble" and "name=" in ast.unparse(c)
        ]
        self.trainings = [c for c in calls if ast.unparse(c.func) == "gm.train"]

    @staticmethod
    def _assigned(node: ast.stmt) -> set[str]:
        targets = node.targets if isinstance(node, ast.Assign) else []
        return {name.id for t in targets for name in ast.walk(t) if isinstance(name, ast.Name)}

    def ensemble(self, place: int, seed: int) -> Any:
        """Make the networks of one call of ``gm.Ensemble``, three of them."""
        call = self.ensembles[place]
        given = {word.arg: ast.literal_eval(word.value) for word in call.keywords} | {"seeds": 3}
        member = eval(compile(ast.Expression(call.args[0]), "a member", "eval"), self.names)
        return self.names["gm"].Ensemble(member, seed=seed, **given)

    def train(self, place: int, G: Any, D: Any, x: Tensor, steps: int, seed: int) -> dict[str, Any]:
        """Train as one call of ``gm.train`` says, but for a few steps; return history and options."""
        names = self.names | {"G": G, "D": D}
        options = {
            word.arg: eval(compile(ast.Expression(word.value), "an option", "eval"), names)
            for word in self.trainings[place].keywords
            if word.arg not in ("watch", "every")
        }
        length = options.pop("steps")
        law = StandardNormal(2)
        history = names["gm"].train(G, D, Minibatches(x), law, steps=steps, seed=seed, **options)
        return {"history": history, "steps": length, "batch": options["batch"]}


@pytest.fixture(scope="module")
def chapter() -> Chapter:
    try:
        return Chapter()
    except ModuleNotFoundError as error:
        if error.name != "mxnet":
            raise
        pytest.skip(str(error))


@pytest.mark.parametrize(("name", "place", "steps"), [("original", 1, 2_500), ("repaired", 2, 2_500)])
def test_the_chapter_trains_by_the_recipe_of_the_package(
    chapter: Chapter, name: str, place: int, steps: int
) -> None:
    x = recipe.points(3, seed=3)
    run = getattr(recipe, name)(x, seed=3, steps=20)
    G, D = (chapter.ensemble(2 * (place - 1) + i, seed=3) for i in range(2))
    written = chapter.train(place, G, D, x, steps=20, seed=3)
    assert written["steps"] == steps
    learned = written["history"].averaged or G
    ours, theirs = recipe.law(run.G), recipe.law(learned)
    assert torch.equal(ours.mean, theirs.mean) and torch.equal(ours.covariance, theirs.covariance)
    assert torch.equal(run.history.d_loss, written["history"].d_loss)


def test_the_recipes_take_as_many_steps_as_the_chapter(
    chapter: Chapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    gm = chapter.names["gm"]
    taken: list[dict[str, Any]] = []

    def noted(*args: Any, **options: Any) -> Any:
        taken.append(options)
        raise StopIteration

    monkeypatch.setattr(gm, "train", noted)
    for run in (recipe.original, recipe.repaired):
        with pytest.raises(StopIteration):
            run(recipe.points(2, seed=3))
    assert [(options["steps"], options["batch"]) for options in taken] == [(2_500, 4), (2_500, 128)]


def test_the_definitions_of_the_chapter_are_those_of_the_package(chapter: Chapter) -> None:
    gm = chapter.names["gm"]
    G = gm.Ensemble(lambda: gm.mlp(2, 2), 4, sd=1.0, seed=1)
    mean, covariance = chapter.names["law"](G)
    fit = recipe.law(G)
    assert torch.equal(mean, fit.mean) and torch.equal(covariance, fit.covariance)
    torch.testing.assert_close(chapter.names["w2"](mean, covariance), recipe.w2(fit))
    ratio = chapter.names["minor_ratio"](covariance)
    torch.testing.assert_close(ratio, recipe.minor_axis_ratio(fit), rtol=1e-4, atol=0)


def test_the_law_is_that_of_samples(chapter: Chapter) -> None:
    gm = chapter.names["gm"]
    G = gm.Ensemble(lambda: gm.mlp(2, 2), 2, sd=1.0, seed=1)
    G.weights()[1][:] = 3
    z = torch.randn(2, 200_000, 2, generator=torch.Generator().manual_seed(0))
    sampled = metrics.fit_gaussian(gm.tensor(G(gm.array(z))))
    fit = recipe.law(G)
    torch.testing.assert_close(fit.mean, sampled.mean, rtol=0, atol=0.02)
    torch.testing.assert_close(fit.covariance, sampled.covariance, rtol=0.02, atol=0.02)


def test_what_is_measured_of_a_perfect_run(chapter: Chapter) -> None:
    gm = chapter.names["gm"]
    x = recipe.points(2, seed=3)
    G = gm.Ensemble(lambda: gm.mlp(2, 2), 2)
    weight, bias = G.weights()
    weight[:] = gm.array(recipe.A.T.expand(2, 2, 2))
    bias[:] = gm.array(recipe.B.expand(2, 1, 2))
    right = torch.tensor([0.9, 0.7] + 16 * [0.6] + [0.5, 0.3]).unsqueeze(1).expand(20, 2)
    measured = recipe.measure(recipe.Run(G, None, right), x)
    assert measured["w2"].max() < 1e-6
    torch.testing.assert_close(measured["minor"], torch.ones(2).double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(measured["w2_sample"], measured["w2_plain"], rtol=0, atol=1e-5)
    assert measured["correlation"][0].item() == pytest.approx(1.95 / math.sqrt(1.01 * 4.25), abs=1e-5)
    torch.testing.assert_close(measured["right_first"], torch.full((2,), 0.8))
    torch.testing.assert_close(measured["right_last"], torch.full((2,), 0.4))


def test_a_d_that_is_always_right_is_counted_so() -> None:
    gm = pytest.importorskip("gan_helpers.mxnet_backend", exc_type=ModuleNotFoundError)
    high, low = gm.nd.ones((2, 4, 1)), -gm.nd.ones((2, 4, 1))
    assert gm.tensor(recipe._right(high, low)).tolist() == [1.0, 1.0]
    assert gm.tensor(recipe._right(low, high)).tolist() == [0.0, 0.0]
    assert gm.tensor(recipe._right(high, high)).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("runs", ["original_runs", "repaired_runs"])
def test_a_table_has_one_number_per_run(runs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gan_helpers.mxnet_backend", exc_type=ModuleNotFoundError)
    name = runs.removesuffix("_runs")
    recipes = {name: getattr(recipe, name)}
    monkeypatch.setattr(recipe, name, lambda x, seed: recipes[name](x, seed, steps=10))
    columns = getattr(recipe, runs)(2, 5)
    assert {len(column) for column in columns.values()} == {2}
    assert {"w2", "minor", "w2_sample", "w2_plain", "right_first", "right_last"} <= set(columns)

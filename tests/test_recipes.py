"""What a chapter writes out and what the package offers are the same recipe, to the last bit."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from scipy import stats

from gan_helpers import Ensemble, Stream, train
from gan_helpers.recipes import Recipe, fifty_lines

BOOK = Path(__file__).resolve().parent.parent / "book"


class Chapter:
    """The definitions of a notebook, and its calls of ``train``, without running the rest."""

    def __init__(self, name: str) -> None:
        notebook = nbformat.read(BOOK / f"{name}.ipynb", as_version=4)
        cells = [ast.parse(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
        nodes = [node for cell in cells for node in cell.body]
        wanted = [node for node in nodes if self._defines(node)]
        self.names: dict[str, Any] = {}
        exec(compile(ast.Module(wanted, []), name, "exec"), self.names)
        calls = [node for cell in cells for node in ast.walk(cell) if isinstance(node, ast.Call)]
        self.trainings = [call for call in calls if getattr(call.func, "id", "") == "train"]

    @staticmethod
    def _defines(node: ast.stmt) -> bool:
        constant = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("R", "I")
        return constant or isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)

    def train(self, place: int, G: Ensemble, D: Ensemble, steps: int) -> dict[str, Any]:
        """Train as the chapter's call of ``train`` says, but for a few steps and without twins."""
        given = {word.arg: word.value for word in self.trainings[place].keywords}
        names = self.names | {"G": G, "D": D}
        options = {
            key: eval(compile(ast.Expression(value), "a call of train", "eval"), names)
            for key, value in given.items()
            if key not in ("watch", "every")
        }
        length = options.pop("steps")
        train(G, D, names["R"], names["I"], steps=steps, seed=3, **options)
        return {"steps": length}


@pytest.fixture(scope="module")
def chapter() -> Chapter:
    return Chapter("fifty_lines")


@pytest.mark.parametrize(
    ("place", "make", "G", "D"),
    [
        (1, fifty_lines.original, "generator", "discriminator"),
        (2, fifty_lines.repaired, "scaled_generator", "critic"),
    ],
)
def test_the_chapter_trains_by_the_recipe_of_the_package(
    chapter: Chapter, place: int, make: Callable[[], Recipe], G: str, D: str
) -> None:
    recipe = make()
    ours = recipe.networks(3, seed=3)
    written = (
        Ensemble(chapter.names[G], 3, name="G", seed=3),
        Ensemble(chapter.names[D], 3, name="D", seed=3),
    )
    recipe.train(*ours, seed=3, steps=5)
    assert chapter.train(place, *written, steps=5) == {"steps": recipe.steps}
    for one, other in zip(ours, written, strict=True):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name


def test_the_chapter_asks_for_the_average_that_the_recipe_takes(chapter: Chapter) -> None:
    given = {word.arg: word.value for word in chapter.trainings[2].keywords}
    assert ast.literal_eval(given["ema"]) == fifty_lines.repaired().options["ema"]


def test_the_four_moments_of_the_exercise_are_those_of_the_package(chapter: Chapter) -> None:
    x = Stream("moments", seed=0).normal(4, 500, 1)
    torch.testing.assert_close(chapter.names["moments_of"](x), fifty_lines.four_moments(x))


def test_the_later_recipe_makes_twenty_updates_of_each_player_in_a_step() -> None:
    recipe = fifty_lines.later()
    G, D = recipe.networks(2, seed=3)
    calls = {"D": 0, "G": 0}

    def counted(name: str, loss: Any) -> Any:
        def count(*args: Any) -> torch.Tensor:
            calls[name] += 1
            return loss(*args)

        return count

    train(
        G, D, recipe.data, recipe.noise,
        d_loss=counted("D", recipe.d_loss), g_loss=counted("G", recipe.g_loss),
        d_opt=recipe.d_opt(D), g_opt=recipe.g_opt(G), steps=2, batch=recipe.batch, **recipe.options,
    )  # fmt: skip
    assert calls == {"D": 40, "G": 40}
    assert isinstance(recipe.d_opt(D), torch.optim.SGD)


def test_the_later_recipe_has_the_numbers_of_the_source() -> None:
    recipe = fifty_lines.later()
    assert (recipe.steps, recipe.batch) == (5_000, 500)
    G, D = recipe.networks(1, seed=3)
    assert [type(layer).__name__ for layer in recipe.G()] == ["Linear", "Tanh", "Linear", "Tanh", "Linear"]
    assert [type(layer).__name__ for layer in recipe.D()] == [
        "Linear",
        "Sigmoid",
        "Linear",
        "Sigmoid",
        "Linear",
    ]
    for network, sizes in ((recipe.G(), (1, 5, 5, 1)), (recipe.D(), (4, 10, 10, 1))):
        maps = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
        assert (*(layer.in_features for layer in maps), maps[-1].out_features) == sizes
    for optimiser in (recipe.d_opt(D), recipe.g_opt(G)):
        (group,) = optimiser.param_groups
        assert (group["lr"], group["momentum"]) == (1e-3, 0.9)


def test_generators_are_measured_at_the_middles_of_the_quantiles() -> None:
    line = Ensemble.of([torch.nn.Linear(1, 1)], device="cpu")
    with torch.no_grad():
        line.network.weight.fill_(2.0)
        line.network.bias.fill_(1.0)
    samples = fifty_lines.quantile_samples(line, n=4)
    assert samples.tolist() == [[1.25, 1.75, 2.25, 2.75]] and samples.dtype == torch.float64
    found = fifty_lines.measure(line)  # U(1, 3)
    assert {name: value.shape for name, value in found.items()} == dict.fromkeys(found, (1,))
    assert found["mean"].item() == pytest.approx(2.0, abs=1e-6)
    assert found["sd"].item() == pytest.approx(3**-0.5, abs=1e-5)
    assert found["skewness"].item() == pytest.approx(0.0, abs=1e-4)
    assert found["kurtosis"].item() == pytest.approx(-1.2, abs=1e-4)
    assert found["w1"].item() == pytest.approx(2.0, abs=0.1)  # nearly all of it lies on the left of the law
    assert found["ks"].item() == pytest.approx(1 - stats.norm(4.0, 1.25).cdf(3.0), abs=0.01)


def test_twins_start_one_rounding_apart_and_get_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    short = fifty_lines.original()
    monkeypatch.setattr(fifty_lines, "original", lambda: type(short)(**{**vars(short), "steps": 3}))
    gaps = fifty_lines.twins(2, seed=3)
    assert (gaps["start"] > 0).all() and (gaps["start"] < 1e-6).all()
    assert (gaps["later"] < 1e-4).all()

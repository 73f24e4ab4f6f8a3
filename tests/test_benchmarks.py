"""The benchmarks compare like with like and count right, and the page shows what is stored."""

from __future__ import annotations

import csv
import importlib
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import __main__ as program
from benchmarks import checks, environment, fleet, measure, page, plan, starts, targets
from benchmarks.arithmetic import ARITHMETIC, PRODUCT_FLOP, Arithmetic
from benchmarks.entrants import ENTRANTS, PRODUCTS, torch_loops
from benchmarks.entrants.torch_settings import torch_settings
from benchmarks.job import Job, Weights, read, write
from benchmarks.results import STORED, NotMeasured, Results, Row
from gan_helpers.models import decorate

BOOK = environment.ROOT / "book"
PAGE = BOOK / "speed.md"

needs_figures = pytest.mark.skipif(
    not STORED.exists(), reason="Nothing is measured yet: make bench stores it."
)


# All do the same work


def here(*jobs: Job) -> list[Weights]:
    """Run jobs to their ends in this process."""
    modules = [f"benchmarks.entrants.{ENTRANTS[job.entrant].module}" for job in jobs]
    return [
        importlib.import_module(name).loop(job, lambda: None) for name, job in zip(modules, jobs, strict=True)
    ]


@pytest.mark.parametrize(
    ("recipe", "entrant", "steps"),
    [
        ("fifty_lines", "source", 20),
        ("fifty_lines", "tidied", 20),
        ("mxnet_gaussian", "mxnet", 20),
        ("mxnet_gaussian", "hybrid", 20),
        ("maxout_mnist", "source", 4),
        ("edward_mnist", "source", 20),
    ],
)
def test_a_loop_does_the_work_of_the_package(tmp_path: Path, recipe: str, entrant: str, steps: int) -> None:
    if recipe == "mxnet_gaussian":
        pytest.importorskip("gan_helpers.mxnet_backend", exc_type=ModuleNotFoundError)
    found = list(checks.same_work(tmp_path, recipe, [(entrant, 1)], here, steps))
    assert len(found) == (3 if recipe in plan.DROPOUT else 2)
    assert all(check.passed for check in found), found


def test_the_loop_in_keras_does_the_work_of_the_package(tmp_path: Path) -> None:
    # In a process of its own, since it sets Keras' precision for all that comes after.
    found = list(checks.same_work(tmp_path, "sinusoids", [("keras_torch", 1)], steps=4))
    assert len(found) == 3 and all(check.passed for check in found), found


def test_other_work_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(G: nn.Module, D: nn.Module, real: Callable[[], Tensor], noise: Callable[[], Tensor]) -> Any:
        return torch_loops.fifty_tidied(G, D, lambda: real() + 1e-3, noise)

    parts = torch_loops.PROGRAMS["fifty_lines", "tidied"]
    monkeypatch.setitem(torch_loops.PROGRAMS, ("fifty_lines", "tidied"), (*parts[:2], shifted))
    moved, same = checks.same_work(tmp_path, "fifty_lines", [("tidied", 1)], here)
    assert moved.passed and not same.passed


def test_dropout_that_does_nothing_is_found(tmp_path: Path) -> None:
    def without(*jobs: Job) -> list[Weights]:
        return here(*(replace(job, dropout=0.0) for job in jobs))

    found = list(checks.same_work(tmp_path, "maxout_mnist", [("source", 1)], without, steps=4))
    assert [check.passed for check in found] == [True, True, False]


def test_weights_travel_in_their_order(tmp_path: Path) -> None:
    weights = {"G": [torch.full((2, 1), float(i)).numpy() for i in range(12)], "D": [torch.ones(2).numpy()]}
    write(tmp_path / "file.npz", weights, data=torch.zeros(3).numpy())
    again, others = read(tmp_path / "file.npz")
    assert [w[0, 0] for w in again["G"]] == list(range(12))
    assert len(again["D"]) == 1 and others["data"].shape == (3,)


def test_a_run_in_double_precision_leaves_torch_as_it_was() -> None:
    before = torch.get_num_threads(), torch.get_default_dtype()
    with pytest.raises(KeyError), torch_settings(before[0] + 1, double=True):
        assert (torch.get_num_threads(), torch.get_default_dtype()) == (before[0] + 1, torch.float64)
        raise KeyError
    assert (torch.get_num_threads(), torch.get_default_dtype()) == before


def test_the_judges_tell_trained_networks_from_untrained_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untrained(job: Job) -> list[Weights]:
        return [read(job.start)[0]]

    monkeypatch.setattr(checks, "trained", untrained)
    assert not any(check.passed for check in checks.as_in_the_table(tmp_path, "fifty_lines", seeds=4))


# Workers


def test_a_worker_times_blocks_of_steps_and_tells_its_memory(tmp_path: Path) -> None:
    job = Job("fifty_lines", "source", starts.start(tmp_path, "fifty_lines", 1), batch=100, steps=99, unit=3)
    with fleet.started([job]) as (worker,):
        assert worker.built > 0 and worker.first > 0
        assert worker.run(2) > 0
        assert 50 < worker.end() < 5_000


def test_a_worker_that_fails_tells_why(tmp_path: Path) -> None:
    job = Job("fifty_lines", "source", str(tmp_path / "nowhere.npz"), batch=100, steps=99, unit=3)
    with pytest.raises(fleet.Failed, match=r"nowhere\.npz"), fleet.started([job]):
        pass


# The arithmetic


def least(sizes: Arithmetic, seen: Callable[[Tensor], Tensor]) -> int:
    """Count the products of a step that makes none in vain; the networks are plain perceptrons."""

    def network(maps: tuple[tuple[int, int], ...]) -> nn.Sequential:
        return nn.Sequential(*[part for i, o in maps for part in (nn.Linear(i, o), nn.Tanh())])

    G, D = network(sizes.G), network(sizes.D)
    x = torch.zeros(sizes.fakes, sizes.G[-1][1])
    with FlopCounterMode(display=False) as counter:
        fakes = G(torch.zeros(sizes.fakes, sizes.G[0][0]))
        both = D(torch.cat([seen(x), seen(fakes.detach())]))
        torch.autograd.grad(both.sum(), list(D.parameters()))
        if sizes.fresh_fakes:
            fakes = G(torch.zeros(sizes.fakes, sizes.G[0][0]))
        torch.autograd.grad(D(seen(fakes)).sum(), list(G.parameters()))
    return counter.get_total_flops()


@pytest.mark.parametrize("recipe", ["fifty_lines", "sinusoids", "mxnet_gaussian"])
def test_the_arithmetic_of_a_step_is_what_torch_counts(recipe: str) -> None:
    def decorated(x: Tensor) -> Tensor:
        return decorate(x.unsqueeze(0)).squeeze(0)

    seen = decorated if recipe == "fifty_lines" else lambda x: x
    assert least(ARITHMETIC[recipe], seen) == ARITHMETIC[recipe].flop


@pytest.mark.parametrize("recipe", ["maxout_mnist", "edward_mnist"])
def test_the_arithmetic_of_the_recipes_on_images_is_that_of_their_loops(tmp_path: Path, recipe: str) -> None:
    job = plan.job(tmp_path, recipe, "source", 1, threads=1)
    counted = []
    counter = FlopCounterMode(display=False)

    def tick() -> None:
        counted.append(counter.get_total_flops() if counted else 0)

    with counter:
        torch_loops.loop(replace(job, steps=1, unit=1), tick)
    assert counted == [0, ARITHMETIC[recipe].flop]


# Results


def row(entrant: str, seeds: int, turns: list[float], threads: int = 1, recipe: str = "fifty_lines") -> Row:
    return Row(recipe, entrant, seeds, threads, turns, start_up=2.0, peak_mb=300.0)


@pytest.fixture
def results() -> Results:
    rows = [
        row("source", 1, [4.0, 40.0, 6.0]),
        row("ours", 16, [0.1, 1.0, 0.3]),
        row("products", 1, [2.0, 2.0, 2.0]),
    ]
    return Results({"Cores": "2"}, rows, {"fifty_lines": "2026-01-02"}, {"import_s": 0.02}, [])


def test_a_ratio_is_taken_within_each_turn(results: Results) -> None:
    assert results.ratio("fifty_lines", ("source", 1), ("ours", 16), 1) == pytest.approx(40)
    with pytest.raises(NotMeasured):
        results.ratio("fifty_lines", ("source", 1), ("ours", 4), 1)


def test_a_share_is_the_rate_of_the_step_over_that_of_large_products(results: Results) -> None:
    rates = [ARITHMETIC["fifty_lines"].flop / t for t in (0.1, 1.0, 0.3)]
    machine = PRODUCT_FLOP / 2.0
    assert results.share("fifty_lines", ("ours", 16), 1) == pytest.approx(sorted(rates)[1] / machine)


def test_results_can_be_stored_and_are_merged_by_recipe(results: Results, tmp_path: Path) -> None:
    newer = Results(rows=[row("ours", 1, [1.0], recipe="sinusoids")], dates={"sinusoids": "2026-02-03"})
    results.merge(newer)
    newest = Results(rows=[row("source", 1, [9.0])], others={"pages_s": 30.0})
    results.merge(newest)
    results.store(tmp_path / "a" / "speed.json")
    again = Results.load(tmp_path / "a" / "speed.json")
    assert again == results
    assert [(r.recipe, r.entrant) for r in again.rows] == [("fifty_lines", "source"), ("sinusoids", "ours")]
    assert again.dates == {"fifty_lines": "2026-01-02", "sinusoids": "2026-02-03"}
    assert again.others == {"import_s": 0.02, "pages_s": 30.0}
    assert Results.load(tmp_path / "nothing.json") == Results()


def test_the_rate_beside_a_recipe_is_that_of_each_library(results: Results) -> None:
    results.rows.append(row("jax_products", 1, [1.0, 1.0, 1.0]))
    assert page.steps(results)[1][2:6] == ["8.59 GFLOP/s", page.MISSING, "17.2 GFLOP/s", page.MISSING]
    assert [line[1] for line in page.entrants(results, "fifty_lines")[1:]] == ["1", "16"]


def test_chapters_that_were_not_measured_leave_no_empty_table(results: Results) -> None:
    assert page.chapters(results)[1:] == [["all", page.MISSING, page.MISSING]]
    results.others["chapters"] = {"minimax": [30.0, 700.0]}
    assert page.chapters(results)[1:] == [["minimax", "30 s", "700 MB"]]


def test_aims_are_met_or_missed_or_unknown(results: Results) -> None:
    lines = {line[1]: line[2:] for line in page.targets(results)[1:]}
    first = targets.TARGETS[0].words
    assert lines[first] == ["at most 1/12", "1/40", page.MISSING, page.MISSING, ""]
    entrants = {("source", 1): 1.0, ("ours", 16): 0.1, ("jax", 16): 0.05}
    results.rows += [row(*who, [time], threads=2) for who, time in entrants.items()]
    lines = {line[1]: line[2:] for line in page.targets(results)[1:]}
    assert lines[first] == ["at most 1/12", "1/40", "1/10", "with one thread", "1/20"]
    assert lines["import of gan_helpers, beyond that of torch"] == ["at most 50 ms", "20 ms", "", "yes", ""]


def test_at_least_and_at_most_look_in_opposite_directions() -> None:
    for target in targets.TARGETS:
        more, less = target.limit * 1.01, target.limit * 0.99
        assert (target.met(more), target.met(less)) == (target.at_least, not target.at_least)
        assert target.met(target.limit)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1.234e-6, "1.23 µs"), (9.999e-4, "1000 µs"), (0.0456, "45.6 ms"), (2.0, "2 s"), (1_200.0, "20 min")],
)
def test_times_are_written_in_the_unit_that_suits_them(seconds: float, words: str) -> None:
    assert page.duration(seconds) == words


# The program


def test_all_lists_have_the_same_recipes_and_entrants_that_exist() -> None:
    assert set(plan.PLANS) == set(ARITHMETIC) == set(starts.RECIPES)
    assert {who for each in plan.PLANS.values() for who in each.seeds} | set(PRODUCTS) == set(ENTRANTS)
    assert set(plan.DROPOUT) | set(checks.JUDGES) <= set(plan.PLANS)
    for recipe in plan.PLANS.values():
        assert all(max(numbers) <= 256 and min(numbers) == 1 for numbers in recipe.seeds.values())


@pytest.mark.parametrize("recipe", [name for name in starts.RECIPES if name != "mxnet_gaussian"])
def test_steps_and_batch_are_those_of_the_recipe(recipe: str) -> None:
    from benchmarks.entrants import ours

    made = ours.recipe_of(recipe, 1, 0, dropout=plan.DROPOUT.get(recipe, 0.0))
    assert (made.steps, made.batch) == starts.RECIPES[recipe]


class Run:
    """The program with measurements that cost nothing, and with a place of its own to store them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.stored, self.quick = folder / "speed.json", folder / "bench.json"
        self.measured: list[tuple[str, int]] = []
        self.drawn: list[Results] = []
        self.check = checks.Check("fifty_lines", "source", 1, "differs", 1e-17, True)
        monkeypatch.setattr(environment, "ROOT", folder)
        monkeypatch.setattr(environment, "make", lambda: None)
        monkeypatch.setattr(program, "STORED", self.stored)
        monkeypatch.setattr(program, "QUICK_RESULT", self.quick)
        monkeypatch.setattr(environment, "cores", lambda: 2)
        monkeypatch.setattr(program, "all_checks", lambda *_: [self.check])
        monkeypatch.setattr(measure, "recipe", self.measure)
        monkeypatch.setattr(program.extras, "imports", lambda turns: {"import_s": 0.01})
        monkeypatch.setattr(page, "draw", self.drawn.append)

    def measure(self, recipe: str, threads: int, effort: measure.Effort) -> list[Row]:
        self.measured.append((recipe, threads))
        return [row("source", 1, [1.0], threads, recipe), row("products", 1, [1.0], threads, recipe)]

    def __call__(self, *arguments: str) -> None:
        self.monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        program.main()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path, monkeypatch)


def test_a_run_checks_measures_stores_and_draws(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("fifty_lines")
    assert run.measured == [("fifty_lines", 1), ("fifty_lines", 2)]
    stored = Results.load(run.stored)
    assert [r.entrant for r in stored.rows] == ["source", "products"] * 2
    assert stored.checks[0]["value"] == 1e-17 and stored.others == {"import_s": 0.01}
    assert run.drawn == [stored]
    printed = capsys.readouterr().out
    assert "same: fifty_lines, source x 1" in printed and "The GAN in 50 lines" in printed


def test_a_run_of_one_recipe_keeps_what_is_stored_of_the_others(run: Run) -> None:
    run("edward_mnist")
    run("fifty_lines")
    assert [r.recipe for r in Results.load(run.stored).rows] == ["fifty_lines"] * 4 + ["edward_mnist"] * 4


def test_a_quick_run_and_a_check_store_nothing_in_the_book(run: Run) -> None:
    run("--quick", "fifty_lines")
    assert run.measured and run.quick.exists()
    run.measured.clear()
    run("--check", "fifty_lines")
    assert not run.measured
    assert not run.stored.exists() and not run.drawn


def test_what_is_not_the_same_work_is_not_measured(run: Run) -> None:
    run.check = replace(run.check, passed=False)
    with pytest.raises(SystemExit, match="1 checks failed"):
        run("fifty_lines")
    assert not run.measured and not run.stored.exists()


def test_an_unknown_recipe_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("fourty_lines")
    assert "there is no recipe fourty_lines: choose from fifty_lines" in capsys.readouterr().err


# The page


@needs_figures
def test_the_tables_of_the_page_are_those_of_what_is_stored() -> None:
    for name, table in page.tables(Results.load(STORED)).items():
        with (BOOK / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            assert list(csv.reader(file)) == table, f"{name}.csv is old: run make bench ARGS=--draw"


@needs_figures
def test_the_figure_of_the_page_is_of_what_is_stored() -> None:
    with Image.open(BOOK / page.FIGURE) as picture:
        assert picture.info["Description"] == page.drawn_from(Results.load(STORED))
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)  # legible on a dark page too


@needs_figures
def test_the_page_shows_each_table_and_no_other() -> None:
    shown = re.findall(r"^:file: (\S+)\.csv$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(shown) == sorted([*page.tables(Results()), "speed_tried"])
    assert sorted(path.stem for path in BOOK.glob("speed*.csv")) == sorted(shown)


@needs_figures
def test_the_text_of_the_page_states_no_measurement() -> None:
    """They would be old as soon as somebody measures again."""
    text = re.sub(r"^(```|:::).*?^\1", "", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    units = r"(times|seconds|s|ms|µs|us|MB|GB|%|percent|GFLOP\S*)"
    assert re.findall(rf"\d[\d.,]*\s*{units}\b|\d\s*%", text) == []


@needs_figures
def test_what_is_stored_is_whole() -> None:
    kept = json.loads(STORED.read_text(encoding="utf-8"))
    assert all(check["passed"] for check in kept["checks"])
    results = Results.load(STORED)
    turns = {(r.recipe, r.threads): len(r.turns) for r in results.rows}
    assert all(len(r.turns) == turns[r.recipe, r.threads] for r in results.rows)
    for recipe, each in plan.PLANS.items():
        for who, numbers in each.seeds.items():
            for seeds in numbers:
                for threads in (1, 2):
                    assert results.row(recipe, (who, seeds), threads).seconds > 0

"""The benchmarks compare like with like and count right, and the page shows what is stored."""

from __future__ import annotations

import csv
import importlib
import json
import re
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import __main__ as program
from benchmarks import chapters, checks, environment, fleet, measure, page, plan, starts, targets
from benchmarks.arithmetic import PRODUCT_FLOP, Arithmetic
from benchmarks.entrants import ENTRANTS, torch_loops
from benchmarks.facts import facts
from benchmarks.job import Job, Weights, read, write
from benchmarks.results import STORED, Busy, NotMeasured, Results, Row

BOOK = environment.ROOT / "book"
PAGE = BOOK / page.PAGE
CHAPTERS = [name for name in chapters.names() if chapters.can_run(name)]
#: Who trains one network in the environment of the tests: each chapter's, and the modules of their loops.
RIVALS = [
    (name, entrant, ENTRANTS[entrant].module)
    for name in CHAPTERS
    for entrant in chapters.benchmark(name).seeds
    if not ENTRANTS[entrant].elsewhere and ENTRANTS[entrant].module != "ours"
]
#: One chapter and its plain loop in PyTorch, with dropout and without.
PLAIN = next(name for name, entrant, _ in RIVALS if entrant == "source" and not facts(name).dropout)
DROPPING = next(name for name, entrant, _ in RIVALS if entrant == "source" and facts(name).dropout)

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


def beside(ours: Job, *theirs: Job) -> list[Weights]:
    """Run all jobs but the package's in one process beside it: Keras sets its precision for all."""
    program = "import sys\nfrom benchmarks.worker import main\nfor sys.argv[1] in sys.argv[1:]: main()"
    command = [sys.executable, "-c", program, *(fleet.command(job)[-1] for job in theirs)]
    subprocess.run(command, cwd=environment.ROOT, check=True, capture_output=True)
    return [*here(ours), *(read(job.result)[0] for job in theirs)]


@pytest.mark.parametrize(("name", "entrant", "module"), RIVALS)
def test_a_rival_does_the_work_of_the_package(tmp_path: Path, name: str, entrant: str, module: str) -> None:
    run = beside if module == "keras_loop" else here
    found = list(checks.same_work(tmp_path, name, [(entrant, 1)], run, steps=4))
    assert len(found) == (3 if facts(name).dropout else 2)
    assert all(check.passed for check in found), found
    assert torch.get_default_dtype() == torch.float32  # all was computed in double precision


def test_other_work_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chapter = chapters.load(PLAIN)
    source = chapter.source

    def shifted(job: Job, data: Any) -> torch_loops.Program:
        made = source(job, data)
        return replace(made, step=lambda G, D, real, noise: made.step(G, D, lambda: real() + 1e-3, noise))

    monkeypatch.setattr(chapter, "source", shifted)
    moved, same = checks.same_work(tmp_path, PLAIN, [("source", 1)], here)
    assert moved.passed and not same.passed


def test_dropout_that_does_nothing_is_found(tmp_path: Path) -> None:
    def without(*jobs: Job) -> list[Weights]:
        return here(replace(jobs[1], dropout=0.0)) * len(jobs)  # all would end there

    found = list(checks.same_work(tmp_path, DROPPING, [("source", 1)], without, steps=4))
    assert [check.passed for check in found] == [True, True, False]


def test_weights_travel_in_their_order(tmp_path: Path) -> None:
    weights = {"G": [torch.full((2, 1), float(i)).numpy() for i in range(12)], "D": [torch.ones(2).numpy()]}
    write(tmp_path / "file.npz", weights, data=torch.zeros(3).numpy())
    again, others = read(tmp_path / "file.npz")
    assert [w[0, 0] for w in again["G"]] == list(range(12))
    assert len(again["D"]) == 1 and others["data"].shape == (3,)


@pytest.mark.parametrize("name", [name for name in CHAPTERS if hasattr(chapters.load(name), "judge")])
def test_the_judges_tell_trained_networks_from_untrained_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(checks, "trained", lambda job: [read(job.start)[0]])
    assert not any(check.passed for check in checks.as_in_the_table(tmp_path, name, seeds=4))


# Workers


def test_a_worker_times_blocks_and_tells_its_memory_or_why_it_fails(tmp_path: Path, monkeypatch: Any) -> None:
    start = starts.start(tmp_path, PLAIN, 1)
    job = Job(PLAIN, "source", start, batch=facts(PLAIN).batch, steps=99, unit=3)
    with fleet.started([job]) as (worker,):
        assert worker.built > 0 and worker.first > 0
        assert worker.run(2) > 0
        assert 50 < worker.end() < 5_000
    monkeypatch.setattr(fleet, "command", lambda job: [sys.executable, "-c", "open('nowhere.npz')"])
    with pytest.raises(fleet.Failed, match=r"nowhere\.npz"), fleet.started([job]):
        pass


def test_a_step_is_timed_beside_busy_processes_which_end(monkeypatch: pytest.MonkeyPatch) -> None:
    started, Popen = [], measure.subprocess.Popen
    busy = lambda: sum(process.poll() is None for process in started)  # noqa: E731
    worker = Mock(job=Mock(unit=1), run=lambda units=1: units * (1.0 + busy()))  # and no process
    monkeypatch.setattr(environment, "cores", lambda: 1)
    monkeypatch.setattr(fleet, "started", lambda jobs: nullcontext([worker for _ in jobs]))
    monkeypatch.setattr(
        measure.subprocess, "Popen", lambda *a, **k: started.append(Popen(*a, **k)) or started[-1]
    )
    (row,) = measure.crowded(PLAIN, measure.Effort(turns=2, seconds=0.01))
    assert (row.threads, row.waiting, row.quiet, row.busy) == (1, "", [1, 1], [2, 2])
    assert len(started) == 1 and busy() == 0


# The arithmetic


@pytest.mark.parametrize("name", [name for name, entrant, _ in RIVALS if entrant == "source"])
def test_the_arithmetic_of_a_step_is_that_of_its_loop(tmp_path: Path, name: str) -> None:
    counted, counter = [], FlopCounterMode(display=False)
    job = replace(plan.job(tmp_path, name, "source", 1, threads=1), steps=1, unit=1)
    with counter:
        torch_loops.loop(job, lambda: counted.append(counter.get_total_flops()))
    in_vain = chapters.benchmark(name).whole_batches  # such a loop lets D's loss reach weights that stay
    before, after = counted
    assert before == 0 and (after > facts(name).flop if in_vain else after == facts(name).flop)


@pytest.mark.parametrize("fresh", [True, False])
def test_the_arithmetic_counts_the_products_of_a_step_that_makes_none_in_vain(fresh: bool) -> None:
    """Seven rows go through G as they are, and through D as one."""
    sizes = Arithmetic(((3, 5), (5, 2)), ((14, 4), (4, 1)), 7, 1, fresh_fakes=fresh)
    G, D, behind_G, behind_D = 3 * 5 + 5 * 2, 14 * 4 + 4 * 1, 5 * 2, 4 * 1
    d_step = 7 * G + 2 * (2 * D + behind_D)  # the fakes; then both batches, forward and back
    g_step = 2 * D + 7 * (G + behind_G) + (7 * G if fresh else 0)
    assert sizes.flop == 2 * (d_step + g_step)


# Results

FIRST, SECOND, *_ = chapters.names()


def row(entrant: str, seeds: int, turns: list[float], threads: int = 1, recipe: str = FIRST) -> Row:
    return Row(recipe, entrant, seeds, threads, turns, start_up=2.0, peak_mb=300.0)


@pytest.fixture
def results() -> Results:
    rows = [
        row("source", 1, [4.0, 40.0, 6.0]),
        row("ours", 16, [0.1, 1.0, 0.3]),
        row("products", 1, [2.0, 2.0, 2.0]),
    ]
    return Results(
        {"Cores": "2"}, rows, [Busy(FIRST, 16, 1, "", [2.0, 1.0, 3.0], [9.0, 5.0, 4.0])],
        {FIRST: {"steps": 10, "flop": 1_000}}, {FIRST: "2026-01-02"}, {"import_s": 0.02},
    )  # fmt: skip


def test_ratios_and_shares_are_taken_within_each_turn(results: Results) -> None:
    assert results.ratio(FIRST, ("source", 1), ("ours", 16), 1) == pytest.approx(40)
    # Large products at a rate of PRODUCT_FLOP / 2, the step at one of 1,000 / .1, 1,000 / 1 and 1,000 / .3.
    assert results.share(FIRST, ("ours", 16), 1) == pytest.approx(1_000 / 0.3 / (PRODUCT_FLOP / 2))
    with pytest.raises(NotMeasured):
        results.ratio(FIRST, ("source", 1), ("ours", 4), 1)


def test_results_can_be_stored_and_are_merged_by_recipe(results: Results, tmp_path: Path) -> None:
    results.merge(Results(rows=[row("ours", 1, [1.0], recipe=SECOND)], dates={SECOND: "2026-02-03"}))
    results.merge(Results(rows=[row("source", 1, [9.0])], others={"pages_s": 30.0}))
    results.store(tmp_path / "a" / "speed.json")
    again = Results.load(tmp_path / "a" / "speed.json")
    assert again == results
    assert [(r.recipe, r.entrant) for r in again.rows] == [(FIRST, "source"), (SECOND, "ours")]
    assert again.dates == {FIRST: "2026-01-02", SECOND: "2026-02-03"}
    assert again.others == {"import_s": 0.02, "pages_s": 30.0}
    assert Results.load(tmp_path / "nothing.json") == Results()


def test_tables_write_what_was_measured_and_say_what_was_not(results: Results) -> None:
    results.rows.append(row("jax_products", 1, [1.0, 1.0, 1.0]))
    rates = page.steps(results)[1][1:6]
    assert rates == ["1 kFLOP", "8.59 GFLOP/s", page.MISSING, "17.2 GFLOP/s", page.MISSING]
    source, ours = page.entrants(results, FIRST)[1:]
    assert (source[1], ours[1]) == ("1", "16")
    assert ours[6:] == ["2 s", "50 s", "300 MB"]  # 2 s, and 10 steps of .3 s for each of 16
    assert page.busy(results)[1][1:5] == ["16", "2 s", "2.5 times", page.MISSING]
    assert set(page.busy(results)[2][1:]) == {page.MISSING}
    assert page.chapters(results)[1:] == [["all", page.MISSING, page.MISSING]]
    results.others["chapters"] = {"a": [30.0, 700.0]}
    assert page.chapters(results)[1:] == [["a", "30 s", "700 MB"]]


def test_aims_are_met_or_missed_or_unknown(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = targets.over_source(FIRST, ("ours", 16), ("source", 1))
    aim = targets.Target("here", "a step", 1 / 12, **figures)
    share = targets.share_of_rate("here", FIRST, 0.5)
    monkeypatch.setattr(page, "all_targets", lambda: [aim, share, *targets.OWN])

    assert page.targets(results)[1][2:] == ["at most 1/12", "1/40", page.MISSING, page.MISSING, ""]
    results.rows += [row("source", 1, [1.0], 2), row("ours", 16, [0.1], 2), row("jax", 16, [0.05], 2)]
    results.busy.append(Busy(FIRST, 16, 2, "passive", [1.0], [4.0]))
    found = {line[1]: line[2:] for line in page.targets(results)[1:]}
    assert found["a step"] == ["at most 1/12", "1/40", "1/10", "with one thread", "1/20"]
    assert found[share.words][:3] == ["at least 50 %", "below 1 %", page.MISSING]
    assert share.met(0.51) and share.met(0.5) and not share.met(0.49)
    assert found[targets.OWN[0].words] == ["at most 3.00", "2.50", "4.00", "with one thread", ""]
    assert found["import of gan_helpers, beyond that of torch"] == ["at most 50 ms", "20 ms", "", "yes", ""]


# The program


@pytest.mark.parametrize("name", chapters.names())
def test_a_chapter_names_entrants_that_exist_and_has_their_programs(name: str) -> None:
    chapter = chapters.load(name)
    programs = {"torch_loops": "", "keras_loop": "in_keras", "mxnet_loops": "in_mxnet", "jax_scan": "in_jax"}
    for entrant, numbers in chapter.BENCHMARK.seeds.items():
        module = ENTRANTS[entrant].module
        assert module == "ours" or callable(getattr(chapter, programs[module] or entrant))
        assert max(numbers) <= 256 and min(numbers) == 1


class Run:
    """The program with measurements that cost nothing, and with a place of its own to store them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.stored, self.quick = folder / "speed.json", folder / "bench.json"
        self.measured: list[tuple[str, int]] = []
        self.drawn: list[Results] = []
        self.check = checks.Check(PLAIN, "source", 1, "differs", 1e-17, True)
        for where, name, value in (
            (environment, "ROOT", folder),
            (environment, "make", lambda: None),
            (environment, "cores", lambda: 2),
            (program, "STORED", self.stored),
            (program, "QUICK_RESULT", self.quick),
            (program, "all_checks", lambda *_: [self.check]),
            (program.extras, "imports", lambda turns: {"import_s": 0.01}),
            (program.playground, "version", lambda: "1.2"),
            (program.playground, "measure", lambda turns: {"playground_one": 150.0, "playground_tfjs": 50.0}),
            (measure, "recipe", self.measure),
            (measure, "crowded", lambda name, effort: [Busy(name, 16, 1, "", [1.0], [2.0])]),
            (page, "draw", self.drawn.append),
        ):
            monkeypatch.setattr(where, name, value)

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
    run(PLAIN)
    assert run.measured == [(PLAIN, 1), (PLAIN, 2)]
    stored = Results.load(run.stored)
    assert [r.entrant for r in stored.rows] == ["source", "products"] * 2
    assert [r.ratio for r in stored.busy] == [2.0]
    assert stored.recipes[PLAIN] == facts(PLAIN).stored()
    assert stored.checks[0]["value"] == 1e-17 and stored.others == {"import_s": 0.01}
    assert run.drawn == [stored]
    printed = capsys.readouterr().out
    assert f"same: {PLAIN}, source x 1" in printed and chapters.benchmark(PLAIN).title in printed
    run(DROPPING)  # which keeps what is stored of the others
    assert {r.recipe for r in Results.load(run.stored).rows} == {PLAIN, DROPPING}


def test_runs_can_be_of_a_part_and_store_that_alone(run: Run) -> None:
    run("--quick", PLAIN)
    assert run.measured and run.quick.exists()
    run.measured.clear()
    run("--check", PLAIN)
    assert not run.measured and not run.stored.exists() and not run.drawn
    run("--busy", PLAIN)
    stored = Results.load(run.stored)
    assert not run.measured and not stored.rows and not stored.checks
    assert [r.recipe for r in stored.busy] == [PLAIN] and run.drawn == [stored]
    run("--playground")
    stored = Results.load(run.stored)
    assert not run.measured and stored.others == {"playground_one": 150.0, "playground_tfjs": 50.0}
    assert stored.machine["Browser"].startswith("Chromium 1.2 on ")
    lines = page.aims(stored).splitlines()
    assert any(line.startswith("yes") and "one GAN, 2-32-32-2" in line for line in lines)
    assert any(line.startswith("yes") and line.endswith("; 3.00.") for line in lines)


def test_what_is_not_the_same_work_is_not_measured(run: Run) -> None:
    run.check = replace(run.check, passed=False)
    with pytest.raises(SystemExit, match="1 checks failed"):
        run(PLAIN)
    with pytest.raises(SystemExit):
        run("no_such_recipe")
    assert not run.measured and not run.stored.exists()


# The page


@needs_figures
def test_the_page_its_tables_and_its_figure_are_of_what_is_stored() -> None:
    results, text = Results.load(STORED), PAGE.read_text(encoding="utf-8")
    old = "is old: run make bench ARGS=--draw"
    assert page.with_tables(text) == text, f"{PAGE.name} {old}"
    for name, table in page.tables(results).items():
        with (BOOK / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            assert list(csv.reader(file)) == table, f"{name}.csv {old}"
    with Image.open(BOOK / page.FIGURE) as picture:
        assert picture.info["Description"] == page.drawn_from(results), f"{page.FIGURE} {old}"
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)  # legible on a dark page too
    shown = re.findall(r"^:file: (\S+)\.csv$", text, re.MULTILINE)
    assert sorted(shown) == sorted([*page.tables(Results()), "speed_tried"])
    assert sorted(path.stem for path in BOOK.glob("speed*.csv")) == sorted(shown)


@needs_figures
def test_the_text_of_the_page_states_no_measurement() -> None:
    """They would be old as soon as somebody measures again."""
    text = re.sub(r"^(```|:::).*?^\1", "", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    units = r"(times|seconds|s|ms|µs|us|MB|GB|%|percent|GFLOP\S*)"
    assert re.findall(rf"\d[\d.,]*\s*{units}\b|\d\s*%", text) == []


@needs_figures
def test_what_is_stored_is_whole_and_of_the_recipes_as_they_are() -> None:
    assert all(check["passed"] for check in json.loads(STORED.read_text(encoding="utf-8"))["checks"])
    results = Results.load(STORED)
    for name in chapters.names():
        for threads in (1, 2):
            entrants = chapters.benchmark(name).seeds.items()
            rows = [results.row(name, (who, n), threads) for who, seeds in entrants for n in seeds]
            assert len({len(row.turns) for row in rows}) == 1 and all(row.seconds > 0 for row in rows)
    for name in CHAPTERS:
        assert results.recipes[name] == facts(name).stored()

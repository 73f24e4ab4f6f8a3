"""A run goes on from its checkpoint as if it had never stopped, and one that cannot says so."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gan_helpers import checkpoint_files, checkpoints, files
from gan_helpers.checkpoint_files import read
from gan_helpers.checkpoints import Checkpoint
from gan_helpers.data import Minibatches, Normal, Resample
from gan_helpers.describing import describe
from gan_helpers.ensemble import Ensemble
from gan_helpers.losses import minimax_d, non_saturating_g
from gan_helpers.models import mlp
from gan_helpers.options import Checkpointing, Turns, Watch
from gan_helpers.randomness import Stream
from gan_helpers.states import CheckpointError, Moments, Weights
from gan_helpers.training import adam, clipped
from tests.reliability import Reached, measured
from tests.short_runs import RECIPES, STEPS, Run, copied, d_loss, differing, small, spread, stopped_after


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a place for a checkpoint, on a disk that nothing waits for: no power is lost here."""
    monkeypatch.setattr(files.os, "fsync", lambda file: None)
    return tmp_path / "run.safetensors"


def saved(path: Path, steps: int = STEPS, **changes: Any) -> Run:
    """Train by the small recipe with a checkpoint."""
    run = Run(small(**changes), 2)
    run.train(steps, checkpoint=path)
    return run


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return all that is written as checkpoints from now on."""
    contents: list[bytes] = []
    write = checkpoints.write_whole
    noted = Mock(side_effect=lambda path, content: contents.append(content) or write(path, content))
    monkeypatch.setattr(checkpoints, "write_whole", noted)
    return contents


# --- Going on --------------------------------------------------------------------------------------------


@measured(
    "checkpoints", "each recipe stopped at its steps and resumed by fresh networks", fast=STEPS, slow=12
)
@pytest.mark.parametrize("name", RECIPES)
def test_a_stopped_run_goes_on_to_the_same_end(
    name: str, effort: int, reached: Reached, path: Path, tmp_path: Path
) -> None:
    whole = Run.of(name)
    few = {"batch": 80} if whole.recipe.batch > 200 else {}  # of 300 rows: the fourth step begins an epoch
    whole.train(effort, checkpoint=tmp_path / "whole", **few)
    places = sorted({1, effort // 2, effort - 1, effort})
    for stop in places if effort > STEPS else [effort // 2]:
        path.unlink(missing_ok=True)
        stopped = Run.of(name)
        with stopped_after(stop):
            history = stopped.train(effort, checkpoint=path, **few)
        assert history.steps == stop and history.interrupted is (stop < effort)
        resumed = Run.of(name)
        resumed.train(effort, checkpoint=path, **few)
        assert differing(whole.left(), resumed.left()) == []
        assert differing(read(path)[1], read(tmp_path / "whole")[1]) == [], "streams of random numbers too"
    reached(f"torch.equal on everything, stopped after {len(places)} different steps, {len(RECIPES)} recipes")


class SGDWithCount(torch.optim.SGD):
    """Keeps a plain number for each weight, as older optimisers do."""

    def step(self, closure: Any = None) -> None:
        super().step()
        for p in self.param_groups[0]["params"]:
            self.state[p]["count"] = self.state[p].get("count", 0) + 1


def noisy() -> Any:
    """Return a loss with a stream of its own, which it gives to the checkpoint."""
    rng = Stream("penalty", 0)

    def loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return minimax_d(D(x + rng.normal(*x.shape)), D(G(z).detach()))

    loss.state, loss.load_state = rng.state, rng.load_state
    return loss


def optimised(make: Callable[[Any], torch.optim.Optimizer]) -> Callable[[], dict[str, Any]]:
    return lambda: {"d_opt": lambda D: make(D.parameters()), "g_opt": lambda G: make(G.parameters())}


ROWS = Normal(0.0, 1.0)(1, 7, Stream("rows", 0))[0]
#: What a run is made of, and what train is told.
GOING_ON: dict[str, tuple[Callable[[], dict[str, Any]], dict[str, Any]]] = {
    "several turns": (dict, {"turns": Turns(d_steps=2, g_steps=3)}),
    "both at once": (dict, {"turns": Turns(simultaneous=True)}),
    "the same noise": (dict, {"turns": Turns(reuse_noise=True)}),
    "no average": (dict, {"ema": None}),
    "a data set in epochs, in the middle": (lambda: {"data": Minibatches(ROWS)}, {}),
    "a loss with a stream": (lambda: {"d_loss": noisy()}, {}),
    "spectral norm": (lambda: {"D": lambda: spectral_norm(nn.Linear(1, 1))}, {}),
    "Adam": (optimised(lambda p: torch.optim.Adam(p, 1e-3, fused=False, amsgrad=True)), {}),
    "SGD": (optimised(lambda p: torch.optim.SGD(p, 1e-2)), {}),
    "RMSprop": (optimised(lambda p: torch.optim.RMSprop(p, 1e-3, momentum=0.5, centered=True)), {}),
    "NAdam": (optimised(lambda p: torch.optim.NAdam(p, 1e-3)), {}),
    "plain numbers": (optimised(lambda p: SGDWithCount(p, 1e-2, momentum=0.5)), {}),
}


@pytest.mark.parametrize(
    ("kind", "stop"), [*((kind, 2) for kind in GOING_ON), ("SGD", 1), ("SGD", 3), ("SGD", STEPS)]
)
def test_every_kind_of_run_goes_on(kind: str, stop: int, path: Path) -> None:
    make, options = GOING_ON[kind]
    whole, stopped, resumed = (Run(small(**make()), 2) for _ in range(3))
    whole.train(**options)
    with stopped_after(stop):
        stopped.train(checkpoint=path, **options)
    history = resumed.train(checkpoint=path, **options)
    assert differing(whole.left(), resumed.left()) == []
    assert history.at.tolist() == [0, 2, 4], "a look at the end of a stopped run is not one of the whole run"


SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "milestones": lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [2, 5], 0.1),
    "function": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 0.7**step),
}


def trained(path: Path | None, stop: int, kind: str) -> Run:
    """Train with something in it that is no part of the networks, up to a step."""
    calls = itertools.count(1)

    def loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        scale = {"counter": next(calls), "python": random.random(), "numpy": np.random.randn()}
        noise = torch.randn_like(x) if kind == "torch" else random.gauss(0, 1) if kind == "gauss" else 0.0
        return d_loss(G, D, x + noise, z) * scale.get(kind, 1.0)

    rows = iter(torch.randn(99, 3, 1, generator=torch.Generator().manual_seed(0)))
    data = (lambda k, n, rng: next(rows).expand(k, -1, -1)) if kind == "iterator" else Normal(4.0, 1.25)
    run, also = Run(small(d_loss=loss, data=data), 2), {}
    if kind in SCHEDULERS:
        scheduler = also["scheduler"] = SCHEDULERS[kind](run.d_opt)
        run.d_opt.register_step_post_hook(lambda *_: scheduler.step())
    with stopped_after(stop):
        run.train(6, checkpoint=None if path is None else Checkpointing(path, 2, also))
    return run


@pytest.mark.parametrize("kind", ["torch", "numpy", "python", "gauss", *SCHEDULERS])
def test_what_all_code_shares_and_what_is_handed_over_goes_on(kind: str, path: Path) -> None:
    ends = []
    for stops, kept in (((9,), None), ((3, 9), path)):
        for seed, stop in enumerate(stops):  # a new process starts from other numbers
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            run = trained(kept, stop, kind)
        ends.append(run.left())
    assert differing(*ends) == []


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("kind", ["counter", "iterator"])
def test_a_run_that_does_not_go_on_as_it_went_says_so(
    kind: str, killed: bool, path: Path, caplog: pytest.LogCaptureFixture, written: list[bytes]
) -> None:
    trained(path, 4, kind)
    if killed:
        path.write_bytes(written[3])  # what was there after step 3
    (message,) = caplog.messages
    assert message == f"Ctrl-C ended the training after step 4 of 6: the same command goes on from {path}."
    caplog.clear()
    trained(path, 9, kind)
    (message,) = caplog.messages
    assert "does not go on as it went: step" in message and "Checkpointing(path, also=" in message


def test_a_scheduler_that_is_not_handed_over_is_refused(path: Path) -> None:
    run = Run(small(), 2)
    torch.optim.lr_scheduler.StepLR(run.g_opt, 1)
    with pytest.raises(CheckpointError, match='g_opt has a scheduler .*also={"scheduler": scheduler}'):
        run.train(checkpoint=path)
    with pytest.raises(TypeError, match=r"also\['x'\] must have state_dict and load_state_dict; int has not"):
        Checkpointing(path, also={"x": 3})


def test_an_optimiser_that_keeps_other_things_is_refused() -> None:
    run = Run(small(), 2)
    run.train(1)
    next(iter(run.d_opt.state.values()))["past"] = ["a", "list"]
    with pytest.raises(CheckpointError, match="The optimiser keeps past, a list, and .*: take another"):
        Moments(run.d_opt).state()


def test_steps_can_be_added_and_not_taken_away(path: Path) -> None:
    whole = Run(small(), 2)
    whole.train(6)
    saved(path, steps=4)
    assert differing(whole.left(), saved(path, steps=6).left()) == [], "and training is left as it is"
    before = path.stat().st_ino, path.stat().st_mtime_ns
    assert differing(whole.left(), saved(path, steps=6).left()) == [], "a complete run is not made again"
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before, "and nothing is written"
    with pytest.raises(CheckpointError, match="it has made 6 steps, and steps is 5: raise steps"):
        saved(path, steps=5)


def test_it_is_written_at_the_start_every_so_often_and_at_the_end(path: Path, written: list[bytes]) -> None:
    plain, run = Run(small(), 2), Run(small(), 2)
    plain.train(7)
    run.train(7, checkpoint=Checkpointing(path, every=3))
    assert differing(plain.left(), run.left()) == []
    made = []
    for content in written:
        path.write_bytes(content)
        made.append(int(read(path)[1]["history/made"]))
    assert made == [0, 0, 3, 3, 6, 7], "and once more with what the next step gave"


def test_nothing_in_a_checkpoint_is_forgotten(path: Path) -> None:
    """Each tensor matters: a run that goes on without it ends elsewhere, or is refused."""
    with stopped_after(2):
        saved(path)
    (run, tensors), resumed = read(path), Run(small(), 2)
    for name in tensors.keys() - {"expected/losses"}:
        rest = {key: value for key, value in tensors.items() if key != name}
        path.write_bytes(checkpoint_files.packed(rest, run))
        with pytest.raises(CheckpointError, match="missing|does not fit"):
            resumed.train(checkpoint=path)


# --- Of another run --------------------------------------------------------------------------------------

OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "batch": ({"batch": 4}, {}, "batch is 4 and was 3"),
    "layers": ({"G": lambda: mlp(1, 3, 1)}, {}, "G is .*ELU.* and was .*BatchNorm1d"),
    "data": ({"data": Normal(5.0, 1.25)}, {}, r"data is Normal\(mean=5.0, .* was Normal\(mean=4.0"),
    "kind of data": ({"data": lambda k, n, rng: rng.normal(k, n, 1)}, {}, "data is <lambda>|data is test"),
    "loss": ({"g_loss": lambda G, D, x, z: non_saturating_g(D(G(z))) * 2}, {}, "g_loss is .* and was g_loss"),
    "learning rate": ({"d_opt": lambda D: adam(D, 2e-3)}, {}, r"lr=0\.002"),
    "optimiser": ({"d_opt": lambda D: torch.optim.SGD(D.parameters(), 1e-3)}, {}, "D is "),
    "clipping": ({"d_opt": lambda D: clipped(adam(D, 1e-3), 0.1)}, {}, r"clip=0\.1"),
    "seed": ({}, {"seed": 1}, "seed is 1 and was 0"),
    "average": ({}, {"ema": 0.5}, "ema is 0.5 and was 0.9"),
    "looks": ({}, {"watch": Watch(spread, every=3)}, "every is 3 and was 2"),
    "watch": ({}, {"watch": Watch(None, 2)}, "watch is None and was spread"),
    "d_steps": ({}, {"turns": Turns(d_steps=2)}, "d_steps is 2 and was 1"),
    "noise": ({}, {"turns": Turns(reuse_noise=True)}, "reuse_noise is True and was False"),
    "at once": ({}, {"turns": Turns(simultaneous=True)}, "simultaneous is True and was False"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_checkpoint_of_another_run_is_refused_and_nothing_is_changed(what: str, path: Path) -> None:
    saved(path)
    changes, options, message = OTHERS[what]
    content, run = path.read_bytes(), Run(small(**changes), 2)
    before = copied({**run.G.state_dict(), **run.D.state_dict()})
    with pytest.raises(CheckpointError, match=message) as caught:
        run.train(**{"checkpoint": path, **options})
    assert "of another run" in str(caught.value) and "delete the file" in str(caught.value)
    assert path.read_bytes() == content
    assert differing(before, {**run.G.state_dict(), **run.D.state_dict()}) == []


def weighted(gamma: float) -> Any:
    return lambda G, D, x, z: gamma * d_loss(G, D, x, z)


def test_functions_are_told_by_their_code_and_their_constants() -> None:
    def counting() -> Any:
        calls = 0

        def count() -> None:
            nonlocal calls
            calls += 1

        return count

    assert describe(weighted(0.1)) == describe(weighted(0.1)) != describe(weighted(0.2))
    one, other = counting(), counting()
    described = describe(one)
    one()
    assert described == describe(one) == describe(other), "what it counts is not what it is"
    assert describe(Resample(torch.zeros(3, 2))) != describe(Resample(torch.zeros(4, 2)))
    assert describe(Resample(torch.zeros(3, 2, device="meta")))
    for kind in (Resample, Minibatches):
        same, again, other = (kind(torch.full((3, 2), value)) for value in (0.0, 0.0, 1.0))
        assert describe(same) == describe(again) != describe(other), "other data are another run"
    assert describe(describe) and describe(lambda: itself) and describe(len)


def itself() -> Any:
    return itself


# --- Paths and folders -----------------------------------------------------------------------------------


def test_paths_that_cannot_be_used_are_refused_before_anything_runs(tmp_path: Path) -> None:
    for wrong, message in (
        (True, "checkpoint must be the path of a file"),
        (tmp_path / "none" / "run", "There is no folder .*: make it first"),
        (tmp_path, "is not a file: give the checkpoint a path of its own"),
    ):
        with pytest.raises((TypeError, CheckpointError), match=message):
            saved(wrong)


def test_a_folder_that_cannot_be_written_to_is_found_before_the_first_step(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.os, "fsync", Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(CheckpointError, match="could not be written: .*No space left on device"):
        saved(path, d_loss=lambda G, D, x, z: 1 / 0)


def test_the_meta_device_has_nothing_to_keep(path: Path) -> None:
    recipe = small()
    with pytest.raises(CheckpointError, match="meta device have no numbers"):
        recipe.train(*recipe.networks(2, device="meta"), checkpoint=path)


def test_a_failed_run_does_not_overwrite_the_last_good_checkpoint(path: Path) -> None:
    calls = itertools.count(1)

    def spoilt(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        losses = non_saturating_g(D(G(z)))
        infinite_slope = (losses - losses).sqrt().sum() * 0
        return losses + infinite_slope if next(calls) == 3 else losses

    with pytest.raises(ArithmeticError, match="Weights of G are not finite after step 3"):
        Run(small(g_loss=spoilt), 2).train(checkpoint=Checkpointing(path, every=1))
    tensors = read(path)[1]
    assert int(tensors["history/made"]) == 2 and all(v.isfinite().all() for v in tensors.values())


# --- Killed ----------------------------------------------------------------------------------------------


def saver(path: Path) -> tuple[Ensemble, Checkpoint]:
    G = Ensemble(lambda: nn.Linear(40, 40), 8, device="cpu")
    return G, Checkpoint(path, {"G": Weights(G)}, {"run": "this"})


def save_for_ever(path: Path) -> None:
    """Save checkpoints in a loop, whose weights are all one number, and never come back."""
    torch.set_num_threads(1)
    G, checkpoint = saver(path)
    checkpoint.restore()
    first = int(next(G.parameters()).max()) + 1 if path.exists() else 1
    for number in itertools.count(first):
        with torch.no_grad():
            for parameter in G.parameters():
                parameter.fill_(number)
        checkpoint.write(checkpoint.states())


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # a fork beside threads, from 3.12 on
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@measured("kill", "SIGKILL at random moments while saving", fast=3, slow=200)
def test_a_killed_writer_leaves_the_old_or_the_new_checkpoint(
    effort: int, reached: Reached, path: Path
) -> None:
    chance = random.Random(effort)
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    last, litter = 0.0, 0
    for _ in range(effort):
        writer = context.Process(target=save_for_ever, args=(path,), daemon=True)
        writer.start()
        before = path.stat().st_mtime_ns if path.exists() else 0
        limit = time.monotonic() + 60
        while (not path.exists() or path.stat().st_mtime_ns == before) and time.monotonic() < limit:
            time.sleep(0.001)  # until it has saved once
        time.sleep(chance.random() * 0.02)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        values = [v.flatten() for v in read(path)[1].values() if v.is_floating_point()]
        (number,) = torch.cat(values).unique().tolist()  # one checkpoint, not parts of two
        assert number > last
        last = number
        stale = list(path.parent.glob(".*.part"))
        assert len(stale) <= 1, "the next save swept what was left over"
        litter += len(stale)
    checkpoint = saver(path)[1]
    checkpoint.write(checkpoint.states())
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    reached(f"{effort} of {effort} loaded, {litter} stale files swept, {int(last)} saves in all")

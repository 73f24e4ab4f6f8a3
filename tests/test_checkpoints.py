"""A run goes on from its checkpoint as if it had never stopped, and no broken file is believed."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

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
from gan_helpers.recipes import Recipe, fifty_lines
from gan_helpers.states import CheckpointError, Moments, Stateful, Weights
from gan_helpers.training import adam, train
from tests.reliability import Reached, measured
from tests.short_runs import RECIPES, STEPS, Run, copied, differing, spread, stopped_after

ROOT = Path(__file__).resolve().parent.parent


def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    return minimax_d(D(x), D(G(z).detach()))


def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
    return non_saturating_g(D(G(z)))


def small(**changes: Any) -> Recipe:
    """Return a recipe whose checkpoint is small, or one that differs from it."""
    settings = {
        "G": lambda: nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Linear(2, 1)),
        "D": lambda: mlp(1, 2, 1), "data": Normal(4.0, 1.25), "noise": Normal(0.0, 1.0), "d_loss": d_loss,
        "g_loss": g_loss, "d_opt": lambda D: adam(D, 1e-3), "g_opt": lambda G: adam(G, 1e-3), "steps": STEPS,
        "batch": 3, "options": {}, **changes,
    }  # fmt: skip
    return Recipe(**settings)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.safetensors"


def saved(path: Path, steps: int = STEPS, **changes: Any) -> Run:
    """Train by the small recipe with a checkpoint."""
    run = Run(small(**changes), 2)
    run.train(steps, checkpoint=path)
    return run


# --- Going on --------------------------------------------------------------------------------------------


@measured(
    "checkpoints", "each recipe stopped at its steps and resumed by fresh networks", fast=STEPS, slow=12
)
@pytest.mark.parametrize("name", RECIPES)
def test_a_stopped_run_goes_on_to_the_same_end(
    name: str, effort: int, reached: Reached, path: Path, tmp_path: Path
) -> None:
    whole = Run.of(name)
    whole.train(effort, checkpoint=tmp_path / "whole")
    places = sorted({1, effort // 2, effort - 1, effort})
    for stop in places if effort > STEPS else [effort // 2]:
        path.unlink(missing_ok=True)
        stopped = Run.of(name)
        with stopped_after(stop):
            history = stopped.train(effort, checkpoint=path)
        assert history.steps == stop and history.interrupted is (stop < effort)
        resumed = Run.of(name)
        resumed.train(effort, checkpoint=path)
        assert differing(whole.left(), resumed.left()) == []
        assert differing(read(path)[1], read(tmp_path / "whole")[1]) == [], "streams of random numbers too"
    reached(f"torch.equal on everything, stopped after {len(places)} different steps, {len(RECIPES)} recipes")


@pytest.mark.parametrize("stop", range(1, STEPS + 1))
def test_it_may_stop_at_the_first_a_middle_and_the_last_step(stop: int, path: Path) -> None:
    whole = Run(small(), 2)
    whole.train()
    with stopped_after(stop):
        Run(small(), 2).train(checkpoint=path)
    resumed = Run(small(), 2)
    history = resumed.train(checkpoint=path)
    assert differing(whole.left(), resumed.left()) == []
    assert history.at.tolist() == [0, 2, 4], (
        "the look at the end of a stopped run is not one of the whole run"
    )


@pytest.mark.parametrize(
    "options",
    [
        {"turns": Turns(d_steps=2, g_steps=3)},
        {"turns": Turns(simultaneous=True)},
        {"turns": Turns(reuse_noise=True)},
        {"ema": None},
    ],
    ids=str,
)
def test_every_option_of_the_loop_goes_on(options: dict[str, Any], path: Path) -> None:
    ends = []
    for steps in ([STEPS], [2, STEPS]):
        for last in steps:
            run = Run(small(), 2)
            with stopped_after(last):
                run.train(STEPS, checkpoint=path if len(steps) > 1 else None, **({"ema": 0.9} | options))
        run.history.averaged = run.history.averaged or run.G
        ends.append(run.left())
    assert differing(*ends) == []


class SGDWithCount(torch.optim.SGD):
    """Keeps a plain number for each weight, as older optimisers do."""

    def step(self, closure: Any = None) -> None:
        super().step()
        for p in self.param_groups[0]["params"]:
            self.state[p]["count"] = self.state[p].get("count", 0) + 1


OPTIMISERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "fused Adam": lambda p: torch.optim.Adam(p, 1e-3, fused=True),
    "Adam": lambda p: torch.optim.Adam(p, 1e-3, fused=False, amsgrad=True),
    "SGD": lambda p: torch.optim.SGD(p, 1e-2),
    "SGD with momentum": lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 1e-3, momentum=0.5, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 1e-2),
    "NAdam": lambda p: torch.optim.NAdam(p, 1e-3),
    "plain numbers": lambda p: SGDWithCount(p, 1e-2, momentum=0.5),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_any_optimiser_goes_on(name: str, path: Path) -> None:
    make = OPTIMISERS[name]

    def run() -> Run:
        return Run(small(d_opt=lambda D: make(D.parameters()), g_opt=lambda G: make(G.parameters())), 2)

    whole, stopped, resumed = run(), run(), run()
    whole.train()
    with stopped_after(2):
        stopped.train(checkpoint=path)
    resumed.train(checkpoint=path)
    assert differing(whole.left(), resumed.left()) == []


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
    longer = Run(small(), 2)
    longer.train(6, checkpoint=path)
    assert differing(whole.left(), longer.left()) == []
    with pytest.raises(CheckpointError, match="it has made 6 steps, and steps is 5: raise steps"):
        Run(small(), 2).train(5, checkpoint=path)


def test_a_run_that_is_complete_is_not_made_again(path: Path) -> None:
    whole = saved(path)
    before = path.stat()
    again = Run(small(data=Normal(4.0, 1.25)), 2)
    again.train(checkpoint=path)
    assert differing(whole.left(), again.left()) == []
    assert path.stat() == before, "and nothing is written"


def test_a_checkpoint_leaves_the_training_as_it_is(path: Path) -> None:
    plain = Run(small(), 2)
    plain.train()
    assert differing(plain.left(), saved(path).left()) == []
    other = Run(small(), 2)
    other.train(checkpoint=Checkpointing(path.with_name("other"), every=1))
    assert differing(plain.left(), other.left()) == []


def test_it_is_written_at_the_start_every_so_often_and_at_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    write = checkpoints.write_whole

    def noted(path: Path, content: bytes) -> None:
        write(path, content)
        made.append(int(read(path)[1]["history/made"]))

    monkeypatch.setattr(checkpoints, "write_whole", noted)
    Run(small(), 2).train(7, checkpoint=Checkpointing(path, every=3))
    assert made == [0, 3, 6, 7]


def test_a_data_set_in_epochs_goes_on_in_the_middle(path: Path) -> None:
    rows = Normal(0.0, 1.0)(1, 7, Stream("rows", 0))[0]
    runs = [Run(small(data=Minibatches(rows)), 2) for _ in range(3)]
    runs[0].train()
    with stopped_after(2):
        runs[1].train(checkpoint=path)
    runs[2].train(checkpoint=path)
    assert differing(runs[0].left(), runs[2].left()) == []


def test_a_loss_with_a_stream_of_its_own_goes_on(path: Path) -> None:
    def noisy() -> Any:
        rng = Stream("penalty", 0)

        def loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
            return minimax_d(D(x + rng.normal(*x.shape)), D(G(z).detach()))

        loss.state, loss.load_state = rng.state, rng.load_state
        return loss

    assert isinstance(noisy(), Stateful)
    runs = [Run(small(d_loss=noisy()), 2) for _ in range(3)]
    runs[0].train()
    with stopped_after(2):
        runs[1].train(checkpoint=path)
    runs[2].train(checkpoint=path)
    assert differing(runs[0].left(), runs[2].left()) == []


def test_nothing_in_a_checkpoint_is_forgotten(path: Path) -> None:
    """Each tensor matters: a run that goes on without it ends elsewhere, or is refused."""
    with stopped_after(2):
        Run(small(), 2).train(checkpoint=path)
    run, tensors = read(path)
    for name in tensors:
        rest = {key: value for key, value in tensors.items() if key != name}
        path.write_bytes(checkpoint_files.packed(rest, run))
        with pytest.raises(CheckpointError, match="missing|does not fit"):
            Run(small(), 2).train(checkpoint=path)


# --- Of another run --------------------------------------------------------------------------------------

OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "batch": ({"batch": 4}, {}, "batch is 4 and was 3"),
    "layers": ({"G": lambda: mlp(1, 3, 1)}, {}, "G is .*ELU.* and was .*BatchNorm1d"),
    "data": (
        {"data": Normal(5.0, 1.25)},
        {},
        r"data is Normal\(mean=5.0, sd=1.25\) and was Normal\(mean=4.0",
    ),
    "kind of data": ({"data": lambda k, n, rng: rng.normal(k, n, 1)}, {}, "data is <lambda>|data is test"),
    "loss": ({"g_loss": lambda G, D, x, z: non_saturating_g(D(G(z))) * 2}, {}, "g_loss is .* and was g_loss"),
    "learning rate": ({"d_opt": lambda D: adam(D, 2e-3)}, {}, r"lr=0\.002"),
    "optimiser": ({"d_opt": lambda D: torch.optim.SGD(D.parameters(), 1e-3)}, {}, "D is "),
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


def test_a_checkpoint_of_another_number_of_seeds_is_refused(path: Path) -> None:
    saved(path)
    with pytest.raises(CheckpointError, match="G is 3 x Sequential"):
        Run(small(), 3).train(checkpoint=path)


def weighted(gamma: float) -> Any:
    return lambda G, D, x, z: gamma * d_loss(G, D, x, z)


def counting() -> Any:
    calls = 0

    def loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return d_loss(G, D, x, z) + 0 * calls

    return loss


def test_functions_are_told_by_their_code_and_their_constants() -> None:
    assert describe(weighted(0.1)) == describe(weighted(0.1)) != describe(weighted(0.2))
    one, other = counting(), counting()
    described = describe(one)
    one(*Run(small(), 2).recipe.networks(2), torch.zeros(2, 3, 1), torch.zeros(2, 3, 1))
    assert described == describe(one) == describe(other), "what it counts is not what it is"
    assert describe(Resample(torch.zeros(3, 2))) != describe(Resample(torch.zeros(4, 2)))
    assert describe(describe) and describe(lambda: itself) and describe(len)


def itself() -> Any:
    return itself


def test_descriptions_are_the_same_in_every_process() -> None:
    program = (
        "from gan_helpers.describing import describe; from gan_helpers.recipes import fifty_lines as f;"
        "print(describe(f.repaired().d_loss), describe(f.later().g_loss), describe(f.REAL))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, cwd=ROOT,
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in "12"
    }  # fmt: skip
    r = fifty_lines
    expected = f"{describe(r.repaired().d_loss)} {describe(r.later().g_loss)} {describe(r.REAL)}\n"
    assert seen == {expected}


# --- Paths and folders -----------------------------------------------------------------------------------


def test_paths_that_cannot_be_used_are_refused_before_anything_runs(tmp_path: Path) -> None:
    for wrong in (3, True, 1.5, ["a"]):
        with pytest.raises(TypeError, match="checkpoint must be the path of a file"):
            Run(small(), 2).train(checkpoint=wrong)
    with pytest.raises(CheckpointError, match="There is no folder .*: make it first"):
        Run(small(), 2).train(checkpoint=tmp_path / "none" / "run")
    with pytest.raises(CheckpointError, match="is not a file: give the checkpoint a path of its own"):
        Run(small(), 2).train(checkpoint=tmp_path)


def test_a_folder_that_cannot_be_written_to_is_found_at_the_first_step(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(CheckpointError, match="could not be written: .*No space left on device"):
        Run(small(), 2).train(checkpoint=path)
    assert list(path.parent.iterdir()) == [], "the unfinished file is removed"


def test_the_meta_device_has_nothing_to_keep(path: Path) -> None:
    G, D = small().networks(2, device="meta")
    with pytest.raises(CheckpointError, match="meta device have no numbers"):
        train(
            G, D, Normal(0.0, 1.0), Normal(0.0, 1.0), d_loss=d_loss, g_loss=g_loss, d_opt=adam(D, 1e-3),
            g_opt=adam(G, 1e-3), steps=1, batch=2, checkpoint=path,
        )  # fmt: skip


def test_a_failed_run_does_not_overwrite_the_last_good_checkpoint(path: Path) -> None:
    def spoilt() -> Any:
        calls = 0

        def loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            losses = g_loss(G, D, x, z)
            return losses + (losses - losses).sqrt().sum() * 0 if calls == 3 else losses  # an infinite slope

        return loss

    with pytest.raises(ArithmeticError, match="Weights of G are not finite after step 3"):
        Run(small(g_loss=spoilt()), 2).train(checkpoint=Checkpointing(path, every=1))
    tensors = read(path)[1]
    assert int(tensors["history/made"]) == 2 and all(v.isfinite().all() for v in tensors.values())


# --- Killed ----------------------------------------------------------------------------------------------


def save_for_ever(path: str, seed: int) -> None:
    """Save checkpoints in a loop, whose weights are all one number, and never come back."""
    torch.set_num_threads(1)
    G = Ensemble(lambda: nn.Linear(40, 40), 8, device="cpu")
    checkpoint = Checkpoint(path, {"G": Weights(G)}, {"run": "this"})
    checkpoint.restore()
    number = next(G.parameters()).detach().max().item() if Path(path).exists() else 0.0
    while True:
        number += 1
        with torch.no_grad():
            for parameter in G.parameters():
                parameter.fill_(number)
        checkpoint.save()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # a fork beside threads, from 3.12 on
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@measured("kill", "SIGKILL at random moments while saving", fast=3, slow=200)
def test_a_killed_writer_leaves_the_old_or_the_new_checkpoint(
    effort: int, reached: Reached, path: Path
) -> None:
    chance = random.Random(effort)
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    last, litter, progress = 0.0, 0, 0
    for kill in range(effort):
        writer = context.Process(target=save_for_ever, args=(str(path), kill), daemon=True)
        writer.start()
        before = path.stat().st_mtime_ns if path.exists() else 0
        limit = time.monotonic() + 60
        while (not path.exists() or path.stat().st_mtime_ns == before) and time.monotonic() < limit:
            time.sleep(0.001)  # until it has saved once
        time.sleep(chance.random() * 0.02)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        values = [v for name, v in read(path)[1].items() if v.is_floating_point()]
        numbers = {float(n) for value in values for n in (value.min(), value.max())}
        assert len(numbers) == 1, "one checkpoint, not parts of two"
        (number,) = numbers
        assert number >= last
        progress += number > last
        last = number
        stale = list(path.parent.glob(".*.part"))
        assert len(stale) <= 1, "the next save swept what was left over"
        litter += len(stale)
    Checkpoint(
        path, {"G": Weights(Ensemble(lambda: nn.Linear(40, 40), 8, device="cpu"))}, {"run": "this"}
    ).save()
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert progress == effort
    reached(f"{effort} of {effort} loaded, {litter} stale files swept, {int(last)} saves in all")


def test_the_temporary_file_of_a_living_writer_is_not_swept(path: Path) -> None:
    with files.beside(path) as file:
        file.write(b"half")
        if files.fcntl is not None:
            saved(path)
            assert Path(file.name).exists()
        os.replace(file.name, path.with_name("done"))
    (path.parent / f".{path.name}.dead.part").write_bytes(b"of a dead one")
    other = path.parent / ".another.dead.part"
    other.write_bytes(b"of another checkpoint")
    saved(path.with_name(path.name), steps=5)
    assert sorted(p.name for p in path.parent.iterdir()) == sorted([other.name, "done", path.name])


# --- Hostile files ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("intact") / "run"
    with stopped_after(2):
        Run(small(), 2).train(checkpoint=path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def victim() -> Run:
    return Run(small(), 2)


def refused(victim: Run, path: Path, content: bytes, match: str = ".") -> None:
    """Check that train refuses a file, and that it changes neither networks nor file."""
    path.write_bytes(content)
    before = copied(victim.G.state_dict())
    with pytest.raises(CheckpointError, match=match) as caught:
        victim.train(checkpoint=path)
    assert re.search("another path|that run", str(caught.value)), "it says the way out"
    assert differing(before, victim.G.state_dict()) == [] and not victim.d_opt.state
    assert path.read_bytes() == content and len(list(path.parent.iterdir())) == 1


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (os.mkdir, (os.environ["TRAP"],))


@measured("hostile checkpoint", "pickles, with and without the container of torch.save", fast=1, slow=1)
def test_a_pickle_is_not_executed(
    effort: int, reached: Reached, victim: Run, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = path.parent.parent / f"{path.parent.name}-trap"
    monkeypatch.setenv("TRAP", str(trap))
    torch_file = io.BytesIO()
    torch.save({"G": Trap()}, torch_file)
    contents = [torch_file.getvalue(), *(pickle.dumps(Trap(), protocol) for protocol in range(6))]
    for content in contents:
        refused(victim, path, content, "is not a checkpoint of gan_helpers")
        refused(victim, path, len(content).to_bytes(8, "little") + content, "not a checkpoint")
    assert not trap.exists()
    reached(f"{2 * len(contents)} of {2 * len(contents)} refused, nothing executed")


@measured("hostile checkpoint", "a file cut short, at every kind of place", fast=15, slow=400)
def test_a_truncated_file_is_refused(
    effort: int, reached: Reached, intact: bytes, victim: Run, path: Path
) -> None:
    header = 8 + int.from_bytes(intact[:8], "little")
    edges = [0, 1, 7, 8, 9, header - 1, header, header + 1, len(intact) - 1]
    chance = random.Random(0)
    lengths = [*edges, *(chance.randrange(len(intact)) for _ in range(effort - len(edges)))]
    for length in lengths:
        refused(victim, path, intact[:length])
    refused(victim, path, intact + b"\0", "damaged")
    refused(victim, path, intact[:header] + bytes(len(intact) - header), "damaged")
    reached(f"{len(lengths)} of {len(lengths)} refused")


@measured("hostile checkpoint", "one bit flipped, anywhere in the file", fast=60, slow=1_000)
def test_every_flipped_bit_is_found(
    effort: int, reached: Reached, intact: bytes, victim: Run, path: Path
) -> None:
    header = 8 + int.from_bytes(intact[:8], "little")
    chance = random.Random(1)
    for i in range(effort):
        place = chance.randrange(header if i % 2 else len(intact))
        flipped = bytearray(intact)
        flipped[place] ^= 1 << chance.randrange(8)
        refused(victim, path, bytes(flipped))
    reached(f"{effort} of {effort} found")


def test_every_bit_of_the_header_counts(intact: bytes, path: Path) -> None:
    header = 8 + int.from_bytes(intact[:8], "little")
    start = intact.index(b'"sha256"') - 40
    for place in (*range(8), *range(start, min(start + 130, header))):
        for bit in range(8):
            flipped = bytearray(intact)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            with pytest.raises(CheckpointError):
                read(path)


@measured("hostile checkpoint", "headers that claim up to 2^64 bytes", fast=1, slow=1)
def test_a_giant_header_is_not_read(
    effort: int, reached: Reached, intact: bytes, victim: Run, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = [0, 1, 2**22 + 1, 2**31, 2**40, 2**63, 2**64 - 1]
    for claim in claims:
        refused(
            victim,
            path,
            claim.to_bytes(8, "little") + intact[8:],
            "not a checkpoint of gan_helpers, or was cut",
        )
    with path.open("wb") as file:  # as large as it says, and empty
        file.write((2**33).to_bytes(8, "little"))
        file.truncate(2**33 + 8)
    with pytest.raises(CheckpointError, match="not a checkpoint of gan_helpers, or was cut"):
        victim.train(checkpoint=path)
    nested = b"[" * 100_000
    refused(victim, path, len(nested).to_bytes(8, "little") + nested, "no digest")
    reached(f"{len(claims) + 2} of {len(claims) + 2} refused, nothing of that size allocated")


def packed(tensors: dict[str, Tensor], run: dict[str, str]) -> bytes:
    """Return a file with a digest that is right, as someone would make it who means harm."""
    return checkpoint_files.packed(tensors, run)


def digested(header: bytes, body: bytes = b"") -> bytes:
    """Return a file with any header that has a place for the digest, and the right one in it."""
    content = len(header).to_bytes(8, "little") + header + body
    digest = checkpoint_files.hashlib.sha256(content).hexdigest()
    return checkpoint_files.DIGEST.sub(digest.encode(), content, count=1)


def without(tensors: dict[str, Tensor], **changes: Tensor) -> dict[str, Tensor]:
    return {**tensors, **{name.replace("__", "/"): value for name, value in changes.items()}}


FORGERIES: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    "shape of weights": lambda t: t | {"G/network.0.weight": torch.zeros(2, 3, 1)},
    "more axes": lambda t: t | {"G/network.0.weight": t["G/network.0.weight"][None]},
    "precision": lambda t: t | {"G/network.0.weight": t["G/network.0.weight"].double()},
    "whole numbers": lambda t: t | {"D/network.0.weight": t["D/network.0.weight"].long()},
    "a tensor more": lambda t: t | {"G/network.9.weight": torch.zeros(1)},
    "a part more": lambda t: t | {"H/weight": torch.zeros(1)},
    "no name": lambda t: t | {"": torch.zeros(1)},
    "a moment of another shape": lambda t: t | {"d_opt/state/0/exp_avg": torch.zeros(())},
    "a moment of no weight": lambda t: t | {"d_opt/state/77/exp_avg": torch.zeros(1)},
    "a moment with a strange name": lambda t: t | {"d_opt/state/x/y/z": torch.zeros(1)},
    "an unknown moment": lambda t: t | {"d_opt/state/0/other": torch.zeros(1)},
    "a number of the optimiser": lambda t: t | {"d_opt/group/0/lr": torch.zeros(3)},
    "a group of the optimiser": lambda t: t | {"d_opt/group/7/lr": torch.tensor(0.1)},
    "nonsense in the optimiser": lambda t: t | {"d_opt/": torch.zeros(1)},
    "position below 0": lambda t: t | {"history/made": torch.tensor(-1)},
    "position beyond the end": lambda t: t | {"history/made": torch.tensor(2**62)},
    "position NaN": lambda t: t | {"history/made": torch.tensor(float("nan"))},
    "position as a list": lambda t: t | {"history/made": torch.tensor([2])},
    "fewer losses": lambda t: t | {"history/d_loss": t["history/d_loss"][:1]},
    "looks in the future": lambda t: t | {"history/at": torch.tensor([0, 99])},
    "looks out of order": lambda t: t | {"history/at": torch.tensor([2, 0])},
    "looks with two axes": lambda t: t | {"history/at": torch.tensor([[0, 2]])},
    "one look less": lambda t: t | {"history/watched/spread": t["history/watched/spread"][:1]},
    "a look without axes": lambda t: t | {"history/watched/spread": torch.tensor(1.0)},
    "no place in the history": lambda t: {k: v for k, v in t.items() if k != "history/made"},
    "a stream of zeros": lambda t: t | {"data_rng/generator": torch.zeros_like(t["data_rng/generator"])},
    "a short stream": lambda t: t | {"noise_rng/generator": t["noise_rng/generator"][:16]},
    "a stream of floats": lambda t: t | {"G/dropout/generator": t["G/dropout/generator"].float()},
    "averages": lambda t: t | {"average/updates": torch.zeros(2)},
    "nothing": lambda t: {},
}


@measured(
    "hostile checkpoint", "wrong shapes, types, names and positions under a right digest", fast=1, slow=1
)
def test_a_forgery_with_a_right_digest_is_refused_and_nothing_is_changed(
    effort: int, reached: Reached, intact: bytes, victim: Run, path: Path
) -> None:
    path.write_bytes(intact)
    run, tensors = read(path)
    for forge in FORGERIES.values():
        refused(
            victim, path, packed(forge(tensors), run), "does not fit this run|which this run does not have"
        )
    reached(f"{len(FORGERIES)} of {len(FORGERIES)} refused, nothing changed")


@measured("hostile checkpoint", "the file of each other recipe", fast=1, slow=len(RECIPES))
def test_the_file_of_another_recipe_is_refused(effort: int, reached: Reached, path: Path) -> None:
    names = list(RECIPES)[:3] if effort == 1 else list(RECIPES)
    contents = {}
    for name in names:
        with stopped_after(1):
            Run.of(name).train(checkpoint=path)
        contents[name] = path.read_bytes()
        path.unlink()
    for name in names:
        for other in names:
            path.write_bytes(contents[other])
            if other != name:
                with pytest.raises(CheckpointError, match="of another run"):
                    Run.of(name).train(checkpoint=path)
    reached(f"{len(names) * (len(names) - 1)} of {len(names) * (len(names) - 1)} refused")


BLANK = b'"sha256":"' + b"0" * 64 + b'"'
FORMAT = json.dumps(checkpoint_files.FORMAT).encode()


@pytest.mark.parametrize(
    "header",
    [
        b"{" + BLANK + b"}",
        b'{"__metadata__":{' + BLANK + b"}}",
        b'{"__metadata__":{"format":"another",' + BLANK + b"}}",
        b'{"__metadata__":{"format":' + FORMAT + b"," + BLANK + b"}}",
        b'{"__metadata__":{"format":' + FORMAT + b',"run":"[",' + BLANK + b"}}",
        b'{"__metadata__":{"format":' + FORMAT + b',"run":"[1]",' + BLANK + b"}}",
        b'{"__metadata__":{"format":' + FORMAT + b',"run":"{}",' + BLANK + b"}}",
        b'{"__metadata__":{"format":' + FORMAT + b',"run":{},' + BLANK + b"}}",
        b'{"__metadata__":{"format":' + FORMAT + b',"run":"{}","run":"{}",' + BLANK + b"}}",
        b'{"__metadata__":[' + BLANK[9:] + b"," + BLANK + b"]}",
        b'{"__metadata__":{"format":' + FORMAT + b',"run":"{}",' + BLANK + b'},"a":1}',
        b'{"__metadata__":{"format":' + FORMAT + b',"run":"{}",' + BLANK
        + b'},"a":{"dtype":"F32","shape":[9223372036854775807,9],"data_offsets":[0,4]}}',
        b'{"__metadata__":{"format":' + FORMAT + b',"run":"{}",' + BLANK
        + b'},"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}',
        b'{"__metadata__":{"format":' + FORMAT + b',"run":"{}",' + BLANK
        + b'},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        + b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b"{" + BLANK + b"," + BLANK + b"}",
        b"[" * 3_000 + BLANK,
        b'{"a":' + b"9" * 5_000 + b"," + BLANK + b"}",
        b"\xff\xfe" + BLANK,
    ],
)  # fmt: skip
def test_headers_made_by_hand_are_refused(header: bytes, path: Path, victim: Run) -> None:
    refused(victim, path, digested(header, bytes(4)))


@given(content=st.binary(max_size=400))
def test_any_bytes_are_refused(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any-bytes"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read(path)
    path.write_bytes(digested(content + BLANK))
    with pytest.raises(CheckpointError):
        read(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(metadata=st.dictionaries(st.sampled_from(["format", "run", "other"]), JSON), rest=JSON)
def test_any_json_is_refused_as_a_header(
    metadata: dict[str, Any], rest: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any-json"
    header = {"__metadata__": metadata | {"format": checkpoint_files.FORMAT, "sha256": "0" * 64}, "x": rest}
    path.write_bytes(digested(json.dumps(header, separators=(",", ":")).encode()))
    with pytest.raises(CheckpointError):
        read(path)


def test_the_weights_of_someone_else_are_no_checkpoint(path: Path, victim: Run) -> None:
    refused(victim, path, safetensors_bytes({"weight": torch.zeros(3)}), "it has no digest")


# --- No pickle anywhere ----------------------------------------------------------------------------------

UNSAFE = re.compile(
    r"\b(?:c?pickle|cloudpickle|dill|joblib|shelve|marshal)\b|torch\.(?:load|save)\b|allow_pickle|(?<![\w.])(?:eval|exec)\("
)


def sources() -> dict[str, str]:
    """Return the code of the package and of the notebooks."""
    found = {str(p): p.read_text(encoding="utf-8") for p in (ROOT / "gan_helpers").rglob("*.py")}
    for path in (ROOT / "book").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        found[str(path)] = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return found


def test_nothing_in_the_package_or_a_notebook_reads_what_could_be_executed() -> None:
    assert len(sources()) > 20
    for name, text in sources().items():
        assert not UNSAFE.search(text), f"{name}: {UNSAFE.search(text)}"


@pytest.mark.parametrize(
    "line", ["import pickle", "torch.load(f)", "np.load(f, allow_pickle=True)", "x = eval(y)"]
)
def test_what_is_looked_for_would_be_found(line: str) -> None:
    assert UNSAFE.search(line)

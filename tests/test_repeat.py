"""The same recipe with the same seed ends at the same bits in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gan_helpers.describing import describe
from gan_helpers.recipes import every
from tests.chapters import weights
from tests.reliability import Reached, measured
from tests.short_runs import SEEDS, differing, digest, moments, short

ROOT = Path(__file__).resolve().parent.parent


def kept_by(optimiser: Any) -> dict[str, Tensor]:
    """Return all numbers that an optimiser keeps, of torch or of MXNet."""
    if isinstance(optimiser, torch.optim.Optimizer):
        return moments(optimiser)
    (updater,) = optimiser._updaters
    states = {f"{i}.{k}": v for i, values in updater.states.items() for k, v in enumerate(values)}
    found = {name: torch.from_numpy(values.asnumpy()) for name, values in states.items()}
    return found | {"updates": torch.tensor(updater.optimizer.num_update)}


def left_by(name: str, steps: int, seed: int = 5) -> dict[str, Tensor]:
    """Return all that a recipe leaves behind after some steps: weights, optimisers and history."""
    made: dict[str, Any] = {}

    def kept(player: str, make: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda network: made.setdefault(player, make(network))

    recipe = short(name, seed=seed)
    recipe = replace(recipe, d_opt=kept("d_opt", recipe.d_opt), g_opt=kept("g_opt", recipe.g_opt))
    G, D = recipe.networks(SEEDS, seed=seed)
    first = weights(D)[0].clone()
    history = recipe.train(G, D, seed=seed, steps=steps, watch=lambda _: {"first": weights(D)[0].clone()})
    assert not torch.equal(first, history.watched["first"][-1])
    left = {"d_loss": history.d_loss, "g_loss": history.g_loss, **history.watched}
    for player, network in (("G", G), ("D", D), ("average", history.averaged)):
        left |= {f"{player}.{i}": v for i, v in enumerate(weights(network) if network is not None else ())}
    return left | {f"{k}.{name}": v for k, opt in made.items() for name, v in kept_by(opt).items()}


def end(name: str, steps: int) -> str:
    """Return the digest of what a recipe leaves behind, and how its parts are described."""
    parts = [describe(part) for part in vars(short(name, seed=5)).values()]
    return " ".join([digest(left_by(name, steps)), *parts])


def needs(name: str) -> None:
    """Skip a test whose recipe needs a backend that is not here."""
    pytest.importorskip(short(name).backend, exc_type=ModuleNotFoundError)


@measured("repeat", "two fresh processes, SHA-256 of weights, optimisers and history", fast=2, slow=100)
@pytest.mark.parametrize("name", every())
def test_fresh_processes_end_at_the_same_bits(name: str, effort: int, reached: Reached) -> None:
    needs(name)
    # Starting Python takes longer than the training: this process has to do, and for one recipe a fresh one.
    fresh = 2 if effort > 2 else int(name == "fifty_lines.repaired")
    ends = [end(name, effort) for _ in range(2 - fresh)]
    other = [seed for seed in "123" if seed != os.environ.get("PYTHONHASHSEED")]
    for hash_seed in other[:fresh]:
        command = [sys.executable, "-m", "tests.test_repeat", name, str(effort)]
        env = os.environ | {"PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"}
        ends.append(subprocess.check_output(command, cwd=ROOT, env=env, text=True).strip())
    assert len(ends[0].split()[0]) == 64 and ends[0] == ends[1]
    reached(f"bit-equal after {effort} steps, {len(every())} of {len(every())} recipes")


@pytest.mark.parametrize("name", ["fifty_lines.repaired", "mxnet_gaussian.repaired", "minimax.far"])
def test_another_seed_ends_elsewhere(name: str) -> None:
    needs(name)
    ends = [left_by(name, 2, seed) for seed in (5, 6)]
    assert digest(ends[0]) != digest(ends[1])
    assert {"d_loss", "first"} <= set(differing(*ends))


if __name__ == "__main__":  # python -m tests.test_repeat NAME STEPS: what a fresh process makes of a recipe
    print(end(sys.argv[1], int(sys.argv[2])))

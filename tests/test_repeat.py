"""The same recipe with the same seed ends at the same bits in every process."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import keystr, tree_leaves_with_path

from gan_helpers.ensemble import Ensemble
from gan_helpers.recipes import minimax, mxnet_gaussian
from tests.reliability import Reached, measured
from tests.short_runs import RECIPES, Run, differing, digest

ROOT = Path(__file__).resolve().parent.parent


def of_recipe(name: str, steps: int, seed: int) -> dict[str, Tensor]:
    """Return all that a recipe on the common loop leaves behind."""
    run = Run.of(name, seed)
    run.train(steps)
    return run.left()


def of_mxnet(name: str, steps: int, seed: int) -> dict[str, Tensor]:
    """Return the same of a recipe in MXNet; the loop tells which players and trainers it was given."""
    gm = importlib.import_module("gan_helpers.mxnet_backend")
    given: dict[str, Any] = {}

    def noted(G: Any, D: Any, *samplers: Any, **options: Any) -> Any:
        given.update(options, G=G, D=D)
        return trained(G, D, *samplers, **options)

    recipe: Callable[..., mxnet_gaussian.Run] = getattr(mxnet_gaussian, name.split(".")[1])
    trained = gm.train
    with patch.object(gm, "train", noted):
        run = recipe(mxnet_gaussian.points(3, seed), seed, steps=steps, ema=0.9)
    left = {"d_loss": run.history.d_loss, "g_loss": run.history.g_loss, "right": run.right}
    for player, network in (("G", given["G"]), ("D", given["D"]), ("average", run.history.averaged)):
        left |= {f"{player}.{i}": gm.tensor(values) for i, values in enumerate(network.weights())}
    for trainer in ("d_opt", "g_opt"):
        (updater,) = given[trainer]._updaters
        for i, moments in updater.states.items():
            left |= {f"{trainer}.{i}.{k}": gm.tensor(values) for k, values in enumerate(moments)}
        left[f"{trainer}.updates"] = torch.tensor(updater.optimizer.num_update)
    return left


def of_theory(name: str, steps: int, seed: int) -> dict[str, Tensor]:
    """Return the same of the discriminators that learn against a generator that stands still."""
    against, make = {
        "minimax.discriminators": (minimax.FAKE, minimax.discriminator),
        "minimax.gradients": (minimax.FAR, minimax.wide_discriminator),
    }[name]
    made, looks = [], []
    D = Ensemble(make, 3, name="D", seed=seed)
    G = Ensemble.of([minimax.far_generator() for _ in range(3)], device=next(D.parameters()).device)
    z = torch.linspace(0.0, 1.0, 50).expand(3, -1).unsqueeze(2)

    def noted(*arguments: Any) -> torch.optim.Optimizer:
        made.append(adam(*arguments))
        return made[-1]

    adam = minimax.adam
    with patch.object(minimax, "adam", noted):
        look = lambda _: looks.append(torch.stack(minimax.pulls(G, D, z.to(device))))  # noqa: E731
        device = next(D.parameters()).device
        minimax.learn(D, minimax.REAL, against, steps=steps, look=look, seed=seed)
    (optimiser,) = made
    leaves = tree_leaves_with_path(optimiser.state_dict())
    kept = {keystr(path): torch.as_tensor(leaf) for path, leaf in leaves if isinstance(leaf, Tensor | float)}
    return {**D.state_dict(), **kept, "pulls": torch.stack(looks)}


#: Every recipe of the book, and what tells all that it leaves behind.
EVERY: dict[str, Callable[[str, int, int], dict[str, Tensor]]] = {
    **dict.fromkeys(RECIPES, of_recipe),
    **dict.fromkeys(("mxnet_gaussian.original", "mxnet_gaussian.repaired"), of_mxnet),
    **dict.fromkeys(("minimax.discriminators", "minimax.gradients"), of_theory),
}


def left_by(name: str, steps: int, seed: int = 5) -> dict[str, Tensor]:
    """Return all that a recipe leaves behind after some steps: weights, optimisers and history."""
    return EVERY[name](name, steps, seed)


def in_a_fresh_process(name: str, steps: int, hash_seed: str) -> str:
    """Return the SHA-256 of all that a training leaves behind, made by a new Python."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.test_repeat", name, str(steps)],
        cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def needs_mxnet(name: str) -> None:
    """Skip a test of MXNet where it cannot be had."""
    if name.startswith("mxnet"):
        pytest.importorskip("gan_helpers.mxnet_backend", exc_type=ModuleNotFoundError)


@measured("repeat", "two fresh processes, SHA-256 of weights, optimisers and history", fast=2, slow=100)
@pytest.mark.parametrize("name", EVERY)
def test_fresh_processes_end_at_the_same_bits(name: str, effort: int, reached: Reached) -> None:
    needs_mxnet(name)
    if effort == 2 and name != "fifty_lines.repaired":
        # Starting Python takes longer than the training: here one process has to do.
        ends = [digest(left_by(name, effort)) for _ in range(2)]
    else:
        ends = [in_a_fresh_process(name, effort, hash_seed) for hash_seed in ("1", "2")]
    assert len(ends[0]) == 64
    assert ends[0] == ends[1]
    reached(f"bit-equal after {effort} steps, {len(EVERY)} of {len(EVERY)} recipes")


@pytest.mark.parametrize("name", ["fifty_lines.repaired", "mxnet_gaussian.repaired", "minimax.gradients"])
def test_another_seed_ends_elsewhere(name: str) -> None:
    needs_mxnet(name)
    ends = [left_by(name, 2, seed) for seed in (5, 6)]
    assert digest(ends[0]) != digest(ends[1])
    history = {"pulls"} if name.startswith("minimax") else {"d_loss", "g_loss"}
    assert history <= set(differing(*ends))


@pytest.mark.parametrize(
    "name", ["fifty_lines.repaired", "mxnet_gaussian.original", "minimax.discriminators"]
)
def test_the_digest_sees_every_bit(name: str) -> None:
    needs_mxnet(name)
    left = left_by(name, 1)
    whole = digest(left)
    for part in left:
        changed = left | {part: left[part].clone()}
        flat = changed[part].flatten().view(left[part].dtype)
        flat[-1:] = ~flat[-1:] if flat.dtype.is_floating_point is False else -flat[-1:] - 1
        assert digest(changed | {part: flat.reshape(left[part].shape)}) != whole, part


def test_every_recipe_is_repeated() -> None:
    chapters = {path.stem for path in (ROOT / "gan_helpers" / "recipes").glob("[a-z]*.py")}
    assert {name.split(".")[0] for name in EVERY} == chapters


if __name__ == "__main__":  # python -m tests.test_repeat NAME STEPS: what a fresh process makes of a recipe
    print(digest(left_by(sys.argv[1], int(sys.argv[2]))))

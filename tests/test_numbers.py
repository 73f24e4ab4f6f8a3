"""NaN and infinity: found within a step, named, and kept away from the seeds that they do not belong to."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_helpers.data import Normal
from gan_helpers.history import NonFiniteLossError
from gan_helpers.models import mlp
from gan_helpers.penalties import r1
from gan_helpers.randomness import Stream
from tests.reliability import Reached, measured
from tests.short_runs import Run, copied, d_loss, differing, small

SEEDS, STEPS = 4, 6


def convolution() -> nn.Module:
    """Return a network with every layer in which seeds could meet: groups, batches and normalisation."""
    return nn.Sequential(
        nn.Linear(1, 16), nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 3, 3, 2, 1), nn.BatchNorm2d(3),
        nn.ReLU(), nn.ConvTranspose2d(3, 2, 4, 2, 1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(32, 1),
    )  # fmt: skip


NETWORKS: dict[str, Callable[[], nn.Module]] = {"dense": lambda: mlp(1, 8, 8, 1), "convolutions": convolution}


class Injector:
    """Breaks something of some seeds at one step, when the data of that step are drawn."""

    def __init__(self, place: str, at: int, seeds: list[int], value: float) -> None:
        self.place, self.at, self.seeds, self.value = place, at, seeds, value
        self.run: Run | None = None
        self.calls = 0

    def __call__(self, seeds: int, batch: int, rng: Stream) -> Tensor:
        x = Normal(1.0, 1.0)(seeds, batch, rng)
        self.calls += 1
        if self.calls == self.at and self.place == "data":
            x[self.seeds, 0] = self.value
        if self.calls == self.at and self.place in "GD" and self.run is not None:
            next(getattr(self.run, self.place).parameters()).data[self.seeds] = self.value
        return x


def broken(network: str, place: str = "none", at: int = 3, seeds: Any = (2,), value: float = math.nan) -> Run:
    """Return a run in which something is going to break."""
    injector, make = Injector(place, at, list(seeds), value), NETWORKS[network]
    recipe = small(
        G=make, D=make, data=injector, batch=5,
        d_loss=lambda G, D, x, z: d_loss(G, D, x, z) + 0.1 * r1(D, x),
    )  # fmt: skip
    injector.run = Run(recipe, SEEDS)
    return injector.run


def of_seeds(run: Run, seeds: list[int]) -> dict[str, Tensor]:
    """Return all that is left of some seeds of a run."""
    found = {}
    for name, value in run.left().items():
        if name.endswith(".dropout") or name in ("at", "interrupted") or not value.dim():
            continue
        axis = 1 if name in ("d_loss", "g_loss", "spread") else 0
        assert value.shape[axis] == SEEDS, name
        found[name] = value.index_select(axis, torch.tensor(seeds))
    return found


CASES = list(itertools.product(NETWORKS, ("G", "D", "data"), (math.nan, math.inf, -math.inf)))


@measured("numbers", "NaN and infinity in weights and data of one seed", fast=1, slow=STEPS)
def test_what_is_not_finite_is_found_within_a_step_and_named(effort: int, reached: Reached) -> None:
    found = 0
    steps = [3] if effort == 1 else range(1, STEPS + 1)
    for (network, place, value), at in itertools.product(CASES, steps):
        run = broken(network, place, at, (2,), value)
        with pytest.raises(NonFiniteLossError) as caught:
            run.train(STEPS)
        message, history = str(caught.value), caught.value.history
        assert history.steps in (at - 1, at), (network, place, value)
        assert f"for 1 of {SEEDS} seeds: [2]." in message
        assert f" step {at}," in message or f" step {at - 1}," in message
        assert history.failed.tolist() == [False, False, True, False]
        if place == "data":
            assert "The loss of D is" in message and "weights of" not in message and "its data" in message
        else:
            assert f"eights of {place}" in message, message
        found += 1
    reached(f"{found} of {found} found within one step, with the network and the seed")


@measured("numbers", "the other seeds when asked to go on", fast=1, slow=STEPS)
def test_the_other_seeds_go_on_as_if_nothing_had_happened(effort: int, reached: Reached) -> None:
    sound, unharmed = [0, 1, 3], 0
    steps = [2] if effort == 1 else range(1, STEPS + 1)
    for network in NETWORKS:
        intact = broken(network)
        intact.train(STEPS)
        assert not intact.history.failed.any()
        expected = of_seeds(intact, sound)
        cases = [(place, value) for name, place, value in CASES if name == network]
        for (place, value), at in itertools.product(cases, steps):
            run = broken(network, place, at, (2,), value)
            history = run.train(STEPS, on_nonfinite="go on")
            assert history.failed.tolist() == [False, False, True, False]
            assert differing(expected, of_seeds(run, sound)) == [], (network, place, value, at)
            unharmed += 1
    reached(f"bit-equal to a run without the fault, {unharmed} of {unharmed}")


def test_several_seeds_may_fail_at_once_and_if_all_do_the_run_ends() -> None:
    history = broken("dense", "G", 2, (0, 1, 3)).train(STEPS, on_nonfinite="go on")
    assert history.failed.tolist() == [True, True, False, True] and history.steps == STEPS
    with pytest.raises(NonFiniteLossError, match=r"for 4 of 4 seeds: \[0, 1, 2, 3\]") as caught:
        broken("dense", "G", 2, (0, 1, 2, 3)).train(STEPS, on_nonfinite="go on")
    assert caught.value.history.failed.all() and caught.value.history.steps == 2


@pytest.mark.parametrize("name", ["G", "D"])
def test_weights_that_the_last_step_breaks_are_found(name: str) -> None:
    run = broken("dense")
    weights, steps = next(getattr(run, name).parameters()), itertools.count(1)
    run.g_opt.register_step_post_hook(lambda *_: next(steps) == STEPS and weights.data[1].fill_(math.inf))
    with pytest.raises(NonFiniteLossError) as caught:
        run.train(STEPS)
    assert f"Weights of {name} are not finite after step {STEPS}, for 1 of 4 seeds: [1]." in str(caught.value)
    assert caught.value.history.steps == STEPS


class WithIdleWeights(nn.Module):
    """A network with weights that its answer does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = mlp(1, 8, 1), nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def test_weights_that_no_loss_depends_on_are_looked_at_now_and_then() -> None:
    run = Run(small(D=WithIdleWeights), SEEDS)
    run.D.network.idle.weight.data[1] = math.nan
    with pytest.raises(NonFiniteLossError, match=r"Weights of D .* after step 100, for 1 of 4 seeds: \[1\]"):
        run.train(150)


@pytest.mark.parametrize("value", [math.nan, -1e25])
def test_networks_that_come_in_broken_are_named_and_large_weights_are_not_broken(value: float) -> None:
    run = broken("dense")
    list(run.D.parameters())[-1].data[0] = value
    if math.isnan(value):
        with pytest.raises(
            NonFiniteLossError, match=r"step 1, for 1 of 4 seeds: \[0\]. So are weights of D."
        ):
            run.train(2)
    else:  # only its square is infinite
        assert run.train(2).steps == 2


def test_a_run_that_goes_on_can_be_stopped_and_resumed(tmp_path: Path) -> None:
    whole = broken("dense", "D", 2)
    whole.train(STEPS, on_nonfinite="go on", checkpoint=tmp_path / "run")
    left = copied(whole.left())
    again = broken("dense", "none")
    again.train(STEPS, on_nonfinite="go on", checkpoint=tmp_path / "run")
    ends = ({name: value.nan_to_num(7.0) for name, value in end.items()} for end in (left, again.left()))
    assert differing(*ends) == [] and again.history.failed.tolist() == [False, False, True, False]

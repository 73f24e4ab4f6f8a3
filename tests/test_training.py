"""The loop against a plainly written one, its options one by one, and what it does when things go wrong."""

from __future__ import annotations

import itertools
import math
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_helpers import training
from gan_helpers.checkpoint_files import read
from gan_helpers.ensemble import Ensemble
from gan_helpers.history import History, NonFiniteLossError, UnfinishedRunError
from gan_helpers.losses import minimax_d
from gan_helpers.models import mlp
from gan_helpers.options import Turns, Watch
from gan_helpers.randomness import Stream
from gan_helpers.recording import CHECK_EVERY, Record
from gan_helpers.training import adam, clipped, fading, train
from tests.plain_gan import Replay, classify, cross_entropy, numbers, plain_networks, play
from tests.short_runs import d_loss, g_loss, stopped_after

SEEDS, BATCH = 3, 5


def plain_d_loss(G: nn.Module, D: nn.Module, x: Tensor, z: Tensor) -> Tensor:
    return classify(D(x), D(G(z).detach()))


def plain_g_loss(G: nn.Module, D: nn.Module, x: Tensor, z: Tensor) -> Tensor:
    return cross_entropy(D(G(z)), 1)


def normal(seeds: int, batch: int, rng: Stream) -> Tensor:
    return rng.normal(seeds, batch, 1)


def small() -> nn.Module:
    return mlp(1, 4, 3, 1)


def pair(seeds: int = SEEDS, make_g: Callable[[], nn.Module] = small) -> tuple[Ensemble, Ensemble]:
    """Return small players, the same at every call."""
    G = Ensemble(make_g, seeds, name="G", seed=0, device="cpu")
    return G, Ensemble(small, seeds, name="D", seed=0, device="cpu")


def run(G: Ensemble, D: Ensemble, **options: Any) -> History:
    """Train with settings that a test changes one by one."""
    settings = {
        "data": normal, "noise": normal, "d_loss": d_loss, "g_loss": g_loss, "steps": 5, "batch": BATCH,
        "seed": 0, "progress": False, **options,
    }  # fmt: skip
    for name, network in (("d_opt", D), ("g_opt", G)):
        given = settings[name] if name in settings else adam(network, 5e-3, betas=(0.5, 0.9))
        settings[name] = given(G, D) if callable(given) else given
    return train(G, D, **settings)


def weights(network: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in network.parameters()]


def kept(network: nn.Module) -> list[Tensor]:
    """Return copies of weights and buffers."""
    return [value.clone() for value in network.state_dict().values()]


def changing() -> nn.Module:
    """Return a network that is another in training than in evaluation."""
    return nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 4), nn.Dropout(), nn.Linear(4, 1))


def first_weights(network: Ensemble) -> dict[str, Tensor]:
    return {"first": next(network.parameters())}


def same(ones: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(ones, others, strict=True))


# --- Against a plain loop --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"d_steps": 3}, {"g_steps": 2}, {"d_steps": 2, "g_steps": 3}, {"reuse_noise": True},
     {"d_steps": 3, "reuse_noise": True}, {"simultaneous": True}],
    ids=str,
)  # fmt: skip
def test_training_is_that_of_a_plain_loop(options: dict[str, Any]) -> None:
    steps = 25
    Gs = plain_networks(small, SEEDS)
    Ds = plain_networks(small, SEEDS, seed=1)
    G, D = Ensemble.of(Gs), Ensemble.of(Ds)
    d_steps, g_steps = options.get("d_steps", 1), options.get("g_steps", 1)
    fresh = 0 if {"reuse_noise", "simultaneous"} & options.keys() else g_steps
    data = Replay(numbers(steps * d_steps, SEEDS, BATCH, 1, seed=2))
    noise = Replay(numbers(steps * (d_steps + fresh), SEEDS, BATCH, 1, seed=3))
    history = run(G, D, data=data, noise=noise, steps=steps, turns=Turns(**options))
    assert (data.calls, noise.calls) == (len(data.values), len(noise.values)), "every batch is drawn afresh"
    assert history.steps == steps and not history.d_loss.requires_grad and history.watched == {}
    for k in range(SEEDS):
        inputs = (Gs[k], Ds[k], data.of(k), noise.of(k), plain_d_loss, plain_g_loss)
        expected = play(*inputs, steps=steps, **options)
        recorded = torch.stack([history.d_loss[:, k], history.g_loss[:, k]], 1).tolist()
        torch.testing.assert_close(torch.tensor(recorded), torch.tensor(expected), rtol=0, atol=1e-6)
        for ensemble, plain in ((G, Gs[k]), (D, Ds[k])):
            for stacked, parameter in zip(ensemble.parameters(), plain.parameters(), strict=True):
                torch.testing.assert_close(stacked[k], parameter.detach(), rtol=0, atol=1e-10)


def test_the_optimiser_gets_gradients_that_lie_in_memory_as_the_weights_do() -> None:
    """A fused optimiser reads memory in its order; autograd.grad returns transposed gradients."""
    G, D = pair()
    run(G, D, steps=1)
    for p in (*G.parameters(), *D.parameters()):
        assert p.grad is not None and p.is_contiguous() and p.grad.is_contiguous()


# --- Streams and modes -----------------------------------------------------------------------------------


def test_a_run_is_the_same_again_and_another_with_another_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_BOOK_SEED", "7")
    ends = []
    for seed in (0, 0, 1, 7, None):
        G, D = pair()
        history = run(G, D, seed=seed)
        ends.append([history.d_loss, history.g_loss, *weights(G), *weights(D)])
    assert same(ends[0], ends[1]) and same(ends[3], ends[4])
    assert not same(ends[0], ends[2]) and not same(ends[0], ends[3])


def test_data_and_noise_come_from_streams_of_their_own() -> None:
    def drawn(**options: Any) -> dict[str, list[Tensor]]:
        found: dict[str, list[Tensor]] = {"data": [], "noise": []}

        def sampler(name: str) -> Callable[[int, int, Stream], Tensor]:
            return lambda *args: found[name].append(normal(*args)) or found[name][-1]

        run(*pair(), **{name: sampler(name) for name in found}, steps=3, **options)
        return found

    usual, reused = drawn(), drawn(turns=Turns(reuse_noise=True))
    assert len({str(batch.tolist()) for batches in usual.values() for batch in batches}) == 3 + 6
    assert same(usual["data"], reused["data"]), "less noise leaves the data as they were"


def test_the_random_numbers_of_torch_are_left_alone() -> None:
    before = torch.get_rng_state()
    run(*pair(make_g=changing), ema=0.9)
    assert torch.equal(torch.get_rng_state(), before)


def test_networks_train_in_training_mode_whatever_mode_they_come_in() -> None:
    G, D = pair(make_g=changing)
    run(G.eval(), D.eval(), steps=4)
    assert G.training and D.training
    assert G.network[0].num_batches_tracked.tolist() == [8] * SEEDS  # in D's turn and in G's


# --- Each player moves its own weights alone -------------------------------------------------------------


def test_a_loss_that_forgets_to_detach_trains_alike() -> None:
    ends = []
    for loss in (d_loss, lambda G, D, x, z: minimax_d(D(x), D(G(z)))):
        G, D = pair()
        run(G, D, d_loss=loss)
        ends.append(weights(G) + weights(D))
    assert same(*ends)


def test_frozen_weights_are_left_as_they_are() -> None:
    G, D = pair()
    G.network[0].requires_grad_(False)
    before = weights(G)
    run(G, D)
    after = weights(G)
    assert same(before[:2], after[:2]) and not same(before[2:], after[2:])


# --- The average of weights ------------------------------------------------------------------------------


@pytest.mark.parametrize("ema", [0.0, 0.5, 0.999])
def test_the_average_is_that_of_a_sum_by_hand(ema: float) -> None:
    steps = 30
    (plain_G,) = plain_networks(small, 1)
    (plain_D,) = plain_networks(small, 1, seed=1)
    G, D = Ensemble.of([plain_G]), Ensemble.of([plain_D])
    data, noise = Replay(numbers(steps, 1, BATCH, 1)), Replay(numbers(2 * steps, 1, BATCH, 1, seed=1))
    seen = [weights(plain_G)]
    play(
        plain_G, plain_D, data.of(0), noise.of(0), plain_d_loss, plain_g_loss,
        steps=steps, after_step=lambda: seen.append(weights(plain_G)),
    )  # fmt: skip
    averages = seen[0]
    for t, newest in enumerate(seen[1:], start=1):
        a = min(ema, (1 + t) / (10 + t))  # the first averages are shorter
        averages = [a * average + (1 - a) * now for average, now in zip(averages, newest, strict=True)]
    history = run(G, D, data=data, noise=noise, steps=steps, ema=ema)
    assert history.averaged is not None
    for stacked, average in zip(history.averaged.parameters(), averages, strict=True):
        torch.testing.assert_close(stacked[0], average, rtol=0, atol=1e-10)


def test_an_average_leaves_the_training_as_it_is_and_is_what_is_watched() -> None:
    def last(G: Ensemble) -> dict[str, Tensor]:
        return {"last": list(G.parameters())[-1]}

    (G, D), (other_G, other_D) = (pair(make_g=changing) for _ in range(2))
    history, without = run(G, D, ema=0.9, watch=last), run(other_G, other_D)
    averaged = history.averaged
    assert same(weights(G) + weights(D), weights(other_G) + weights(other_D)) and without.averaged is None
    assert not any(p.requires_grad for p in averaged.parameters()) and not same(weights(averaged), weights(G))
    assert torch.equal(history.watched["last"][-1], weights(averaged)[-1])
    assert same(list(averaged.buffers()), list(G.buffers())), "running statistics are the newest ones"
    assert not {b.data_ptr() for b in averaged.buffers()} & {b.data_ptr() for b in G.buffers()}


# --- What is kept ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "every", "at"),
    [(6, 2, [0, 2, 4, 6]), (7, 3, [0, 3, 6, 7]), (5, 100, [0, 5]), (1, 1, [0, 1])],
)
def test_watch_is_called_before_every_so_often_and_at_the_end(steps: int, every: int, at: list[int]) -> None:
    G, D = pair()
    expected = [weights(G)[0]]
    for length in at[1:]:
        one, other = pair()
        run(one, other, steps=length)
        expected.append(weights(one)[0])
    history = run(G, D, steps=steps, watch=Watch(first_weights, every))
    assert history.at.tolist() == at
    assert torch.equal(history.watched["first"], torch.stack(expected))


def test_watch_sees_evaluation_mode_without_gradients_and_training_goes_on_as_before() -> None:
    modes = []

    def watch(G: Ensemble) -> dict[str, Tensor]:
        modes.append((torch.is_grad_enabled(), {part.training for part in G.modules()}))
        return {"samples": G(torch.ones(SEEDS, 2, 1))}

    (G, D), others = (pair(make_g=changing) for _ in range(2))
    history = run(G, D, watch=Watch(watch, every=1))
    assert Watch(watch).every == 100
    run(*others)
    assert modes == [(False, {False})] * 6 and history.watched["samples"].shape == (6, SEEDS, 2, 1)
    assert G.training and same(kept(G), kept(others[0]))


def test_each_look_finds_the_same_names_and_shapes() -> None:
    sizes = itertools.count(1)
    with pytest.raises(ValueError, match=r"the same names and shapes at each look: .*\(2,\)} at step 5"):
        run(*pair(), watch=lambda G: {"x": torch.zeros(next(sizes))})


# --- Losses that are not finite --------------------------------------------------------------------------


def breaks(at: int, seeds: list[int], value: float, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a loss function that is ``value`` for some seeds from its call number ``at`` on."""
    calls = itertools.count(1)

    def broken(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        factors = torch.ones(G.seeds)
        factors[seeds] = value if next(calls) >= at else 1.0
        return factors * loss(G, D, x, z)  # the gradients break with the losses

    return broken


@pytest.mark.parametrize("value", [math.nan, -math.inf])
@pytest.mark.parametrize("name", ["D", "G"])
@pytest.mark.parametrize(("at", "seeds"), [(1, [0, 1, 2]), (4, [1]), (5, [0, 2])])
def test_a_loss_that_is_not_finite_is_named_by_network_step_and_seeds(
    at: int, seeds: list[int], name: str, value: float
) -> None:
    key, loss = f"{name.lower()}_loss", d_loss if name == "D" else g_loss
    with pytest.raises(NonFiniteLossError) as caught:
        G, D = pair()
        run(G, D, **{key: breaks(at, seeds, value, loss)}, watch=Watch(first_weights, every=2))
    assert name == "G" or all(p.isfinite().all() for p in weights(G) + weights(D)), "no step is made"
    expected = f"The loss of {name} is {value} at step {at}, for {len(seeds)} of 3 seeds: {seeds}."
    assert expected in str(caught.value)
    history = caught.value.history
    assert history.steps == at and not history.interrupted
    assert history.at.tolist() == list(range(0, at, 2)) and len(history.watched["first"]) == len(history.at)
    intact = run(*pair())
    assert torch.equal(history.d_loss[: at - 1], intact.d_loss[: at - 1])
    assert torch.equal(history.g_loss[: at - 1], intact.g_loss[: at - 1])
    assert (~getattr(history, key)[at - 1].isfinite()).nonzero().flatten().tolist() == seeds


def test_large_losses_are_not_taken_for_infinite_ones() -> None:
    """Their sum over seeds overflows, and they do not."""
    large = 3e38
    history = run(*pair(), d_loss=lambda G, D, x, z: 0 * d_loss(G, D, x, z) + large)
    assert history.steps == 5 and history.d_loss.min() > 2.9e38


@pytest.mark.parametrize(
    ("name", "at", "steps"), [("D", 30, 150), ("G", 30, 150), ("G", 107, 150), ("D", 7, 9)]
)
def test_on_an_accelerator_the_first_bad_loss_is_found_although_one_looks_late(
    name: str, at: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(Record):
        look_every = property(lambda self: CHECK_EVERY, lambda self, _: None)  # as on an accelerator

    monkeypatch.setattr(training, "Record", Late)
    counted = Mock(side_effect=d_loss)
    losses = {"D": counted, "G": g_loss}
    losses[name] = breaks(at, [1], math.nan, losses[name])
    expected = f"The loss of {name} is nan at step {at}, for 1 of 3 seeds"
    with pytest.raises(NonFiniteLossError, match=expected) as caught:
        run(*pair(), steps=steps, d_loss=losses["D"], g_loss=losses["G"])
    assert caught.value.history.steps == at
    assert counted.call_count == min(steps, math.ceil(at / CHECK_EVERY) * CHECK_EVERY), "it looks late"


# --- Interrupts ------------------------------------------------------------------------------------------


@pytest.fixture
def handler() -> Any:
    """Return a handler of Ctrl-C of the test's own, which is in place before and must be after."""

    def mine(number: int, frame: object) -> None:
        pytest.fail("the handler of before was called during training")

    before = signal.signal(signal.SIGINT, mine)
    yield mine
    signal.signal(signal.SIGINT, before)


def interrupting(call: int, function: Callable[..., Any], times: int = 1) -> Callable[..., Any]:
    """Return a function that presses Ctrl-C in the given call."""
    calls = itertools.count(1)

    def pressed(*args: Any) -> Any:
        for _ in range(times if next(calls) == call else 0):
            signal.raise_signal(signal.SIGINT)
        return function(*args)

    return pressed


@pytest.mark.parametrize("name", ["d_loss", "g_loss"])
def test_an_interrupt_ends_the_run_after_the_step_under_way(name: str, handler: Any) -> None:
    G, D = pair()
    loss = interrupting(3, d_loss if name == "d_loss" else g_loss)
    history = run(G, D, steps=50, ema=0.9, watch=first_weights, **{name: loss})
    whole = run(*(others := pair()), steps=3)
    assert history.interrupted and history.steps == 3
    assert torch.equal(history.d_loss, whole.d_loss) and torch.equal(history.g_loss, whole.g_loss)
    assert same(weights(G) + weights(D), weights(others[0]) + weights(others[1])), "no step"
    assert history.at.tolist() == [0, 3] and len(history.watched["first"]) == 2
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_interrupt_while_watching_ends_the_run_there(handler: Any) -> None:
    history = run(*pair(), steps=50, watch=Watch(interrupting(3, first_weights), every=2))
    assert history.interrupted and history.steps == 4 and history.at.tolist() == [0, 2, 4]


def test_a_second_interrupt_is_not_waited_for(handler: Any) -> None:
    twice = interrupting(3, d_loss, times=2)
    for error, loss in ((KeyboardInterrupt, twice), (ZeroDivisionError, lambda *_: 1 / 0)):
        with pytest.raises(error):
            run(*pair(), steps=50, d_loss=loss)
        assert signal.getsignal(signal.SIGINT) is handler
    history = run(*pair(), d_loss=interrupting(5, d_loss))
    assert history.steps == 5 and not history.interrupted, "in the last step there is nothing to stop"
    assert not run(*pair()).interrupted, "and a new run does not remember it"


def test_sigterm_is_heard_after_the_step_and_then_does_what_it_would_have_done(tmp_path: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        calls = itertools.count(1)

        def told(*args: Any) -> Any:
            for _ in range(
                2 if next(calls) == 3 else 0
            ):  # from the launcher, and from who stops the launcher
                signal.raise_signal(signal.SIGTERM)
                assert heard == []
            return d_loss(*args)

        history = run(*pair(), steps=50, d_loss=told, checkpoint=tmp_path / "run")
        assert history.interrupted and history.steps == 3 and heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert int(read(tmp_path / "run")[1]["history/made"]) == 3


def test_training_works_in_a_thread_where_no_signal_arrives() -> None:
    with ThreadPoolExecutor(1) as pool:
        history = pool.submit(lambda: run(*pair())).result()
    assert torch.equal(history.d_loss, run(*pair()).d_loss)


# --- Wrong arguments -------------------------------------------------------------------------------------


class Spare(nn.Module):
    """A network with a layer that it does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(1, 1), nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def test_weights_that_a_loss_does_not_use_stay_as_they_are() -> None:
    G, D = pair(make_g=Spare)
    before = weights(G)
    run(G, D)
    assert same(before[2:], weights(G)[2:]) and not same(before[:2], weights(G)[:2])


def test_networks_that_meet_the_same_numbers_again_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    G, D = pair()
    with pytest.raises(ZeroDivisionError):
        run(G, D, d_loss=lambda G, D, x, z: 1 / 0)
    run(G, D, seed=3)
    run(G, D, seed=4)
    run(*pair(), seed=3)
    assert not caplog.messages, "no step, another seed, or other networks: nothing is drawn twice"
    for _ in range(3):
        run(G, D, seed=3)
    (message,) = caplog.messages
    assert "seed 3 before" in message and "seed=4" in message


def test_only_a_whole_run_is_measured() -> None:
    history = run(*pair())
    assert history.require_whole() is history
    with stopped_after(2), pytest.raises(UnfinishedRunError, match="stopped by hand after 2"):
        run(*pair()).require_whole()
    broken = run(*pair(), d_loss=breaks(2, [1], math.nan, d_loss), on_nonfinite="go on")
    with pytest.raises(UnfinishedRunError, match=r"Seeds \[1\]"):
        broken.require_whole()


OF_ALL = r"shape \(3,\), not \({}\): take the mean over all axes but the first"
#: What train is given, the error, and what it says.
WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"data": np.zeros((9, 2))}, TypeError, r"data must be .*not ndarray of shape \(9, 2\): Resample"),
    ({"noise": torch.zeros(3, 1)}, TypeError, r"noise must be .*not Tensor of shape \(3, 1\): Resample"),
    ({"data": lambda k, n, rng: np.zeros((k, n, 1))}, TypeError, "data must return a tensor, .*ndarray"),
    ({"data": lambda k, n, rng: rng.normal(n, 1)}, ValueError, r"data must return .*= 3, not \(5, 1\)"),
    ({"watch": lambda G: None}, TypeError, "watch must return tensors by name, .* not NoneType"),
    ({"watch": lambda G: {"mean": 3.0}}, TypeError, "watch must return tensors .*not float under 'mean'"),
    ({"watch": 3}, TypeError, "^watch must be a function"),
    ({"d_loss": 3}, TypeError, "^d_loss must be a function"),
    ({"g_loss": lambda G, D, x, z: 0.5}, TypeError, "g_loss must return a tensor, not float"),
    ({"g_loss": lambda G, D, x, z: D(x)}, ValueError, f"g_loss .*{OF_ALL.format('3, 5, 1')}"),
    ({"d_loss": lambda G, D, x, z: D(x)[:1, 0, 0]}, ValueError, f"d_loss .*{OF_ALL.format('1,')}"),
    ({"d_loss": lambda G, D, x, z: d_loss(G, D, x, z).detach()}, ValueError, "d_loss does not depend on"),
    ({"d_loss": lambda G, D, x, z: G(z).mean((1, 2))}, ValueError, "d_loss does not depend on .* D: call"),
    ({"g_loss": lambda G, D, x, z: D(G(z).detach()).mean((1, 2))}, ValueError, "g_loss does not depend on"),
    ({"turns": {"d_steps": 2}}, TypeError, "turns must be of type Turns"),
    ({"d_opt": 1e-3}, TypeError, r"d_opt must be a torch .* adam\(D, 2e-4\), not float"),
    ({"d_opt": lambda G, D: adam(G, 1e-3)}, ValueError, r"d_opt must update .* of D .*adam\(D, 2e-4"),
    ({"g_opt": lambda G, D: torch.optim.SGD([*G.parameters(), *D.parameters()])}, ValueError, "g_opt must"),
    ({"g_opt": lambda G, D: torch.optim.SGD(list(G.parameters())[1:])}, ValueError, "g_opt must update"),
    ({"steps": 0}, ValueError, "steps must be"),
    ({"batch": 2.5}, TypeError, "batch must be"),
    ({"seed": -1}, ValueError, "seed must be"),
    ({"ema": 1.0}, ValueError, "ema must be"),
    ({"on_nonfinite": True}, ValueError, 'on_nonfinite must be "stop" or "go on", not True'),
]


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG)
def test_what_is_given_and_what_functions_return_is_checked_in_a_few_words(
    wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    G, D = pair()
    before = weights(G)
    with pytest.raises(error, match=message) as caught:
        run(G, D, **wrong)
    assert len(str(caught.value)) < 300
    assert same(before, weights(G))


def test_players_are_ensembles_with_as_many_seeds() -> None:
    G, D = pair()
    with pytest.raises(ValueError, match="G has 2 seeds and D has 3: make both with the same number"):
        run(pair(2)[0], D)
    with pytest.raises(TypeError, match=r"D must be an Ensemble, not Sequential: Ensemble.of\(\[D\]\)"):
        run(G, mlp(1, 1), d_opt=None)
    for several in ({"d_steps": 2}, {"g_steps": 2}):
        with pytest.raises(ValueError, match="d_steps and g_steps must be 1 in simultaneous training"):
            Turns(simultaneous=True, **several)


# --- Adam ------------------------------------------------------------------------------------------------


def test_adam_is_torchs_with_the_numbers_given() -> None:
    G, _ = pair()
    optimiser = adam(G, 2e-4, betas=(0.5, 0.9))
    assert isinstance(optimiser, torch.optim.Adam)
    (group,) = optimiser.param_groups
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (2e-4, (0.5, 0.9), 1e-8, 0)
    assert {id(p) for p in group["params"]} == {id(p) for p in G.parameters()}
    assert adam(G, 2e-4).param_groups[0]["betas"] == (0.9, 0.999)
    adam(G, 1, betas=(0, 0.9)).step()  # whole numbers will do


@pytest.mark.parametrize(
    ("lr", "betas", "message"),
    [
        (0.0, (0.5, 0.9), "lr must be"),
        ("1", (0.5, 0.9), "lr must be"),
        (1e-3, (-0.1, 0.9), r"betas\[0\] must be"),
        (1e-3, (0.5, 1.0), r"betas\[1\] must be"),
        (1e-3, (0.9,), "betas must hold two numbers"),
    ],
)
def test_adam_has_a_step_size_and_two_rates(lr: Any, betas: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        adam(pair(1)[0], lr, betas)


def test_adam_is_for_ensembles_with_weights_to_train() -> None:
    with pytest.raises(TypeError, match="network must be of type Ensemble"):
        adam(nn.Linear(1, 1), 1e-3)
    with pytest.raises(ValueError, match="network has no weights to train"):
        adam(pair(1)[0].copy(), 1e-3)


# --- Clipping --------------------------------------------------------------------------------------------


def test_clipped_weights_are_those_of_each_member_that_is_cut_after_each_step_alone() -> None:
    plain = plain_networks(small, SEEDS)
    D = Ensemble.of(plain)
    optimisers = [torch.optim.RMSprop(network.parameters(), 5e-2) for network in plain]
    optimiser = torch.optim.RMSprop(D.parameters(), 5e-2)
    assert clipped(optimiser, 0.3) is optimiser
    assert max(p.abs().max() for p in D.parameters()) > 0.3, "the first weights are not cut before a step"
    for step in range(4):
        for k, (network, own) in enumerate(zip(plain, optimisers, strict=True)):
            for i, (p, stacked) in enumerate(zip(network.parameters(), D.parameters(), strict=True)):
                p.grad = numbers(*p.shape, seed=100 * step + 10 * k + i)
                stacked.grad = torch.zeros_like(stacked) if stacked.grad is None else stacked.grad
                stacked.grad[k] = p.grad
            own.step()
            with torch.no_grad():
                for p in network.parameters():
                    p.clamp_(-0.3, 0.3)
        optimiser.step()
        assert all(p.abs().max() <= 0.3 for p in D.parameters())
    for k, network in enumerate(plain):
        for p, stacked in zip(network.parameters(), D.parameters(), strict=True):
            torch.testing.assert_close(stacked[k].detach(), p.detach())


def test_all_updates_of_a_training_are_clipped_and_those_of_the_other_player_are_not() -> None:
    G, D = pair()
    largest = []

    def looking(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        largest.append(max(p.abs().max().item() for p in weights(D)))
        return d_loss(G, D, x, z)

    run(G, D, steps=4, turns=Turns(d_steps=3), d_loss=looking, d_opt=lambda _, D: clipped(adam(D, 0.1), 0.2))
    assert len(largest) == 12 and largest[0] > 0.2 and max(largest[1:]) == pytest.approx(0.2)
    assert max(p.abs().max() for p in weights(G)) > 0.3


def test_a_fading_rate_is_half_a_cosine_and_the_weights_move_by_it() -> None:
    G, D = pair()
    optimiser = torch.optim.SGD(D.parameters(), 0.5)
    assert fading(optimiser, 4) is optimiser
    weight, moved, rates = next(D.parameters()), [], []
    for _ in range(5):
        rates.append(optimiser.param_groups[0]["lr"])
        before = weight.detach().clone()
        for p in D.parameters():
            p.grad = torch.ones_like(p)
        optimiser.step()
        moved.append((before - weight.detach()).mean().item())
    expected = [0.5 * (1 + math.cos(math.pi * t / 4)) / 2 for t in range(5)]
    assert rates == pytest.approx(expected) and expected[0] == 0.5 and expected[4] == 0
    assert moved == pytest.approx(expected, abs=1e-6)


def test_a_fading_run_goes_on_from_a_checkpoint_at_its_rate(tmp_path: Path) -> None:
    ends = []
    for stops in ((6,), (3, 6)):
        for steps in stops:
            G, D = pair()
            d_opt, g_opt = (fading(adam(network, 0.1), 6) for network in (D, G))
            file = tmp_path / f"{len(stops)}.safetensors"
            run(G, D, steps=steps, checkpoint=file, d_opt=d_opt, g_opt=g_opt)
        ends.append([p.detach().clone() for p in (*G.parameters(), *D.parameters())])
    for one, other in zip(*ends, strict=True):
        assert torch.equal(one, other)


def test_fading_takes_an_optimiser_and_a_number_of_steps() -> None:
    with pytest.raises(TypeError, match="optimiser must be of type Optimizer"):
        fading(pair(1)[1], 10)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        fading(adam(pair(1)[1], 0.1), 0)


def test_clipping_takes_an_optimiser_and_a_size() -> None:
    with pytest.raises(TypeError, match="optimiser must be of type Optimizer"):
        clipped(pair(1)[1], 0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="c must be greater than 0, not 0"):
        clipped(adam(pair(1)[1], 0.1), 0.0)

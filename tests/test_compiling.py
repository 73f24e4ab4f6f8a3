"""Compiled training is the same training, and where nothing can be compiled it goes on without."""

from __future__ import annotations

import logging
import shutil
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from gan_helpers import _compiling as compiling
from gan_helpers._compiling import Compiled
from gan_helpers.data import Normal
from gan_helpers.history import History
from gan_helpers.losses import non_saturating_g
from gan_helpers.models import mlp
from gan_helpers.penalties import r1
from gan_helpers.randomness import Stream
from tests.reliability import Reached, measured
from tests.short_runs import Run, d_loss, small

QUICK, WHOLE = 20, 100  # steps


@pytest.fixture(autouse=True)
def nothing_was_said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what was said, and run what PyTorch traces without C++, which takes a minute to compile."""
    compiling._say.cache_clear()
    caplog.set_level(logging.WARNING, logger="gan_helpers")  # torch has more to tell
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


def run(compile: bool, steps: int = QUICK, **losses: Any) -> tuple[History, list[Tensor]]:
    """Return a short run in double precision, and the weights that it ends with."""
    recipe = small(
        **{name: lambda: mlp(1, 8, 1).double() for name in "GD"},
        **{name: lambda *args: Normal(1.0, 1.0)(*args).double() for name in ("data", "noise")},
        **{"batch": 20, "d_loss": lambda G, D, x, z: d_loss(G, D, x, z) + 0.5 * r1(D, x), **losses},
    )
    made = Run(recipe, 3)
    history = made.train(steps, compile=compile)
    return history, [p.detach() for network in (made.G, made.D) for p in network.parameters()]


@pytest.mark.skipif(shutil.which("c++") is None, reason="There is no C++ compiler here.")
@measured("compiled", "100 steps in machine code and without it", fast=QUICK, slow=WHOLE)
def test_compiled_training_is_the_same_training(
    effort: int, reached: Reached, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if effort == WHOLE:
        monkeypatch.undo()  # in machine code
    (plain, ours), (quick, theirs) = run(False, effort), run(True, effort)
    assert caplog.messages == []  # it really was compiled
    gap = max((b - a).abs().max().item() for a, b in zip(ours, theirs, strict=True))
    reached(f"weights that differ by at most {gap:.0e} after {effort} steps")
    torch.testing.assert_close(quick.d_loss, plain.d_loss, rtol=1e-6, atol=1e-9)
    assert gap < 1e-9


def refuses(*_: Any, **__: Any) -> Any:
    raise RuntimeError("no compiler here\n\nand a long story about it")


def test_without_a_compiler_training_goes_on_with_one_line_of_notice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch, "compile", refuses)
    (plain, ours), (quick, theirs) = run(False), run(True)
    assert caplog.messages == ["Not compiled: no compiler here (RuntimeError)."]
    assert torch.equal(plain.g_loss, quick.g_loss)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_what_fails_in_the_middle_is_tried_plainly_and_never_again_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def sometimes(function: Any, **_: Any) -> Any:
        def call(x: int) -> int:
            calls.append(x)
            return refuses() if x == 2 else function(x)

        return call

    monkeypatch.setattr(torch, "compile", sometimes)
    double = Compiled(lambda x: 2 * x)
    assert [double(x) for x in (0, 1, 2, 3)] == [0, 2, 4, 6]  # the first call is plain
    assert calls == [1, 2]


def test_an_error_of_the_function_itself_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", refuses)
    with pytest.raises(ValueError, match="g_loss does not depend on the weights of G"):
        run(True, g_loss=lambda G, D, x, z: D(x).mean((1, 2)))
    with pytest.raises(TypeError, match="d_loss must return a tensor, not float"):
        run(True, d_loss=lambda G, D, x, z: 0.5)


def test_numbers_from_a_stream_are_not_compiled_and_stay_right(caplog: pytest.LogCaptureFixture) -> None:
    def tossed(rng: Stream) -> Any:
        return lambda G, D, x, z: non_saturating_g(D(G(z + rng.normal(*z.shape))))

    plain, quick = (run(c, g_loss=tossed(Stream("toss", 0)))[0] for c in (False, True))
    assert len(caplog.messages) == 1
    torch.testing.assert_close(quick.g_loss, plain.g_loss, rtol=1e-6, atol=1e-9)


def test_what_changes_from_step_to_step_is_not_compiled_again_and_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    factor = [1.0]
    scaled = Compiled(lambda x: x * factor[0])
    for step in range(4):
        factor[0] = float(step)
        assert scaled(torch.ones(2)).tolist() == [step, step]
    assert [record.name for record in caplog.records].count("gan_helpers") == 1

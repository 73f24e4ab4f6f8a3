"""Streams are fixed by name and seed, and know nothing of each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gan_helpers.randomness import Stream, base_seed

DRAWS: dict[str, Callable[[Stream], Tensor]] = {
    "normal": lambda rng: rng.normal(3, 4),
    "uniform": lambda rng: rng.uniform(3, 4, low=-2.0, high=5.0),
    "integers": lambda rng: rng.integers(1000, 3, 4),
    "permutation": lambda rng: rng.permutation(30),
    "keep": lambda rng: rng.keep(0.5, like=torch.zeros(40, device=rng.device)),
}
each = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)


@each
def test_a_stream_is_fixed_by_its_name_and_seed_and_goes_on(draw: Callable[[Stream], Tensor]) -> None:
    streams = [Stream(name, seed) for name in ("data", "noise") for seed in (0, 1)]
    drawn = [draw(rng) for rng in streams for _ in range(2)]
    assert len({str(numbers.tolist()) for numbers in drawn}) == 8
    assert torch.equal(draw(Stream("data", seed=1)), drawn[2])
    assert drawn[0].device.type == "cpu" and draw(Stream("data", 0, device="meta")).is_meta


@each
def test_streams_neither_use_nor_change_the_random_numbers_of_torch(draw: Callable[[Stream], Tensor]) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        before = torch.get_rng_state()
        first = draw(Stream("data", seed=3))
        assert torch.equal(torch.get_rng_state(), before)
        torch.default_generator.manual_seed(2)
        assert torch.equal(draw(Stream("data", seed=3)), first)


@each
def test_a_stream_goes_on_from_where_another_was(draw: Callable[[Stream], Tensor]) -> None:
    first, second = Stream("data", 0), Stream("noise", 7)
    draw(first)
    state = first.state()
    expected = [draw(first) for _ in range(3)]
    assert not torch.equal(draw(second), expected[0])
    for _ in range(2):  # what was drawn meanwhile is no part of the state
        second.load_state(state)
        assert all(torch.equal(draw(second), numbers) for numbers in expected)


def test_a_state_of_another_size_is_refused_and_changes_nothing() -> None:
    rng, twin = Stream("data", 0), Stream("data", 0)
    wrong = [{}, {"generator": torch.zeros(3, dtype=torch.uint8)}, rng.state() | {"more": torch.zeros(1)}]
    for state in wrong:
        with pytest.raises(ValueError, match="state is not that of a stream on cpu: it has another size"):
            rng.load_state(state)
    assert torch.equal(rng.normal(3), twin.normal(3))


def test_drawing_more_noise_does_not_change_the_data() -> None:
    data, noise, again = Stream("data", seed=3), Stream("noise", seed=3), Stream("data", seed=3)
    for i in range(3):
        noise.normal(100 * i)
        assert torch.equal(data.normal(5), again.normal(5))


key = st.tuples(st.text(max_size=8), st.integers(0, 2**40))


@given(one=key, other=key)
def test_streams_are_alike_only_if_name_and_seed_are(one: tuple[str, int], other: tuple[str, int]) -> None:
    alike = torch.equal(Stream(*one).normal(4), Stream(*other).normal(4))
    assert alike == (one == other)


def test_streams_of_neighbouring_seeds_are_unrelated() -> None:
    draws = torch.stack([Stream("data", seed).normal(2_000) for seed in range(20)])
    assert torch.corrcoef(draws).fill_diagonal_(0).abs().max() < 0.12


# What is drawn


def test_normal_numbers_are_standard_normal() -> None:
    x = Stream("x", seed=0).normal(50_000)
    assert x.mean().item() == pytest.approx(0, abs=0.02)
    assert x.std().item() == pytest.approx(1, abs=0.02)
    assert (x < -1).double().mean().item() == pytest.approx(0.1587, abs=0.01)


@pytest.mark.parametrize("interval", [{}, {"low": -2.0, "high": 6.0}])
def test_uniform_numbers_fill_the_interval_evenly(interval: dict[str, float]) -> None:
    low, high = interval.get("low", 0.0), interval.get("high", 1.0)
    u = Stream("u", seed=0).uniform(50_000, **interval)
    assert low <= u.min() and u.max() <= high
    shares = torch.histc(u, bins=8, min=low, max=high) / 50_000
    assert shares.tolist() == pytest.approx([1 / 8] * 8, abs=0.01)


def test_whole_numbers_are_equally_likely_and_a_permutation_holds_each_once() -> None:
    counts = torch.bincount(Stream("i", seed=0).integers(5, 50_000))
    assert (counts / 50_000).tolist() == pytest.approx([0.2] * 5, abs=0.01)
    order = Stream("p", seed=0).permutation(100)
    assert order.sort().values.tolist() == list(range(100)) != order.tolist()


def test_a_mask_keeps_with_the_probability_given_and_looks_like_its_model() -> None:
    like = torch.zeros(100, 100, dtype=torch.float64, requires_grad=True)
    mask = Stream("m", seed=0).keep(0.8, like=like)
    assert mask.dtype == torch.float64 and mask.shape == like.shape and not mask.requires_grad
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert mask.mean().item() == pytest.approx(0.8, abs=0.02)


# The base seed


def test_streams_without_a_seed_follow_the_base_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GAN_BOOK_SEED", raising=False)
    assert base_seed() == Stream("data").seed == 0
    monkeypatch.setenv("GAN_BOOK_SEED", " 7 ")
    assert base_seed() == Stream("data").seed == 7
    assert torch.equal(Stream("data").normal(5), Stream("data", seed=7).normal(5))
    assert Stream("data", seed=0).seed == 0


@pytest.mark.parametrize("text", ["", " ", "-1", "1.5", "seven", "1e3", "0x10", "7 8", "²"])
def test_a_base_seed_that_is_no_whole_number_is_an_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_BOOK_SEED", text)
    with pytest.raises(ValueError, match="GAN_BOOK_SEED must be a whole number of at least 0, not"):
        base_seed()

"""Labels travel with samples and noise, networks use them as their papers say, and reading has its loss."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gan_helpers import Ensemble, Stream, adam, train
from gan_helpers.data import Normal, StandardNormal
from gan_helpers.labels import (
    Asked,
    Concatenated,
    Ignoring,
    Joined,
    Labelled,
    LabelledRows,
    Projection,
    Readers,
    Shares,
    misread,
    one_hot,
)
from gan_helpers.losses import minimax_d, non_saturating_g
from gan_helpers.models import mlp
from tests.plain_gan import numbers

SHARES = (0.5, 0.3, 0.2)


# Samplers


def test_labels_come_as_often_as_their_shares_say() -> None:
    y = Shares(SHARES)(2, 50_000, Stream("labels", 1))
    assert (y.shape, y.dtype) == ((2, 50_000), torch.long)
    for k, share in enumerate(SHARES):
        # Four standard deviations of a share of 50,000.
        assert ((y == k).double().mean(1) - share).abs().max() < 4 * math.sqrt(share / 50_000)


@pytest.mark.parametrize(
    ("shares", "said"), [((0.5, 0.6), "sum 1, not 1.1"), ((1.5, -0.5), "a share must be"), ((), "sum 1")]
)
def test_shares_are_shares(shares: tuple[float, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Shares(shares)


def test_a_sample_is_of_its_label() -> None:
    parts = [Normal(10.0 * k, 0.1) for k in range(3)]
    x, y = Labelled(parts, SHARES)(2, 500, Stream("pairs", 1))
    assert (x.shape, y.shape) == ((2, 500, 1), (2, 500))
    assert torch.equal((x.squeeze(2) / 10).round().long(), y)
    assert y.unique().tolist() == [0, 1, 2]
    for k, part in enumerate(parts):
        assert (x[y == k] - part.mean).std() == pytest.approx(0.1, rel=0.3)


def test_there_is_a_share_for_each_part() -> None:
    with pytest.raises(ValueError, match="as many as parts, 2, not 3"):
        Labelled([Normal(0.0, 1.0)] * 2, SHARES)


def test_rows_keep_their_labels_through_epochs() -> None:
    rows = torch.arange(12.0).reshape(6, 2)
    labels = torch.tensor([3, 1, 4, 1, 5, 9])
    sampler, rng = LabelledRows(rows, labels), Stream("rows", 2)
    drawn = [sampler(3, 4, rng) for _ in range(4)]  # ends within an epoch
    x, y = (torch.cat(part, 1) for part in zip(*drawn, strict=True))
    assert torch.equal(labels[(x[:, :, 0] / 2).long()], y)
    assert torch.equal(x[:, :6, 0].sort(1).values, rows[:, 0].expand(3, -1))  # each row once an epoch
    other = LabelledRows(rows, labels)
    other.load_state(sampler.state())
    copy = Stream("rows", 2)
    copy.load_state(rng.state())
    assert all(torch.equal(a, b) for a, b in zip(sampler(3, 5, rng), other(3, 5, copy), strict=True))


def test_rows_and_labels_are_as_many() -> None:
    with pytest.raises(ValueError, match="as many as rows, 6, not 5"):
        LabelledRows(torch.zeros(6, 2), torch.zeros(5, dtype=torch.long))
    with pytest.raises(TypeError, match="labels must be of dtype torch.int64"):
        LabelledRows(torch.zeros(6, 2), torch.zeros(6))
    with pytest.raises(ValueError, match="labels must be whole numbers from 0 on, not from -1 to 10"):
        LabelledRows(torch.rand(3, 2), torch.tensor([1, 10, -1]))


def test_noise_has_labels_that_say_nothing_of_it() -> None:
    z, y = Asked(StandardNormal(2), SHARES)(1, 20_000, Stream("noise", 3))
    assert (z.shape, y.shape) == ((1, 20_000, 2), (1, 20_000))
    for k in range(3):
        assert z[y == k].mean(0).abs().max() < 0.1


# Networks


def test_one_hot_by_hand() -> None:
    y = torch.tensor([[2, 0]])
    assert torch.equal(one_hot(y, 3, torch.zeros(1)), torch.tensor([[[0.0, 0, 1], [1, 0, 0]]]))
    assert one_hot(y, 3, torch.zeros(1).double()).dtype == torch.double
    with pytest.raises(TypeError, match="y must be of dtype torch.int64"):
        one_hot(torch.zeros(2), 3, torch.zeros(1))
    with pytest.raises(ValueError, match="y must be whole numbers from 0 to 1, not from 0 to 2"):
        one_hot(y, 2, torch.zeros(1))


def test_a_concatenated_network_sees_the_label_behind_the_sample() -> None:
    linear = nn.Linear(5, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 10, 100, 200, 300]]))
        linear.bias.zero_()
    network = Concatenated(linear, 3)
    found = network(torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([2, 0]))
    assert found.squeeze(1).tolist() == [321.0, 143.0]


def test_a_joined_network_maps_sample_and_label_apart_by_hand() -> None:
    first, label, rest = nn.Linear(2, 1, bias=False), nn.Linear(3, 1, bias=False), nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 10]]))
        label.weight.copy_(torch.tensor([[5.0, 6, 7]]))
        rest.weight.copy_(torch.tensor([[1.0, 100]]))
    found = Joined(first, label, rest, 3)(torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([2, 0]))
    assert found.squeeze(1).tolist() == [721.0, 543.0]


def test_who_ignores_the_label_answers_alike_to_all() -> None:
    network, x = Ignoring(mlp(2, 4, 1)), numbers(5, 2).float()
    answers = [network(x, torch.full((5,), k)) for k in range(3)]
    assert torch.equal(answers[0], answers[1]) and torch.equal(answers[0], network.network(x))


def test_projection_by_hand() -> None:
    network = Projection(nn.Identity(), 2, 3)
    with torch.no_grad():
        network.head.weight.copy_(torch.tensor([[1.0, -1]]))
        network.head.bias.fill_(0.5)
        network.directions.weight.copy_(torch.tensor([[1.0, 2, 3], [4, 5, 6]]))  # v_0 = (1, 4), ...
    # 2 - 3 + 0.5 + (2, 3) · v_y: for labels 0 and 2, v = (1, 4) and (3, 6).
    found = network(torch.tensor([[2.0, 3], [2, 3]]), torch.tensor([0, 2]))
    assert found.squeeze(1).tolist() == [-0.5 + 14, -0.5 + 24]


def test_readers_see_the_sample_alone() -> None:
    network, x = Readers(mlp(2, 8), 8, 3, readers=2), numbers(6, 2).float()
    logit, *read = network(x)
    assert logit.shape == (6, 1) and [r.shape for r in read] == [(6, 3), (6, 3)]
    h = network.body(x)
    torch.testing.assert_close(logit, network.head(h))
    assert not torch.equal(read[0], read[1])
    torch.testing.assert_close(read[1], network.readers[1](h))


@pytest.mark.parametrize("pairs", [True, False])
def test_ensembles_of_such_networks_do_what_their_members_do(pairs: bool) -> None:
    def member() -> nn.Module:
        return Projection(mlp(2, 4), 4, 3) if pairs else Readers(mlp(2, 4), 4, 3)

    D, x, y = Ensemble(member, 3, seed=1), numbers(3, 5, 2).float(), torch.arange(15).view(3, 5) % 3
    for k in range(3):
        if pairs:
            torch.testing.assert_close(D((x, y))[k], D.member(k)(x[k], y[k]))
        else:
            for ours, alone in zip(D(x), D.member(k)(x[k]), strict=True):
                torch.testing.assert_close(ours[k], alone)


def test_the_one_loop_takes_pairs() -> None:
    def d_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return minimax_d(*D(x, (G(z).detach(), z[1])))

    def g_loss(G: Ensemble, D: Ensemble, x: Tensor, z: Tensor) -> Tensor:
        return non_saturating_g(D((G(z), z[1])))

    G = Ensemble(lambda: Concatenated(mlp(4, 8, 1), 3), 2, name="G", seed=0)
    D = Ensemble(lambda: Concatenated(mlp(4, 8, 1), 3), 2, name="D", seed=0)
    parts = [Normal(float(k), 0.1) for k in range(3)]
    noise = Asked(Normal(0.0, 1.0), SHARES)
    history = train(
        G, D, Labelled(parts, SHARES), noise, d_loss=d_loss, g_loss=g_loss, d_opt=adam(D, 1e-2),
        g_opt=adam(G, 1e-2), steps=5, batch=8, seed=1,
    )  # fmt: skip
    assert history.d_loss.shape == (5, 2) and history.d_loss.isfinite().all()


# Reading


def test_misread_by_hand() -> None:
    logits = torch.tensor([[[0.0, 0.0], [0.0, math.log(3)]], [[5.0, 5.0], [math.log(9), 0.0]]]).double()
    y = torch.tensor([[0, 1], [1, 0]])
    # C(y | x) is 1/2 and 3/4 for the first seed, 1/2 and 9/10 for the second.
    expected = torch.tensor([-math.log(0.5 * 0.75) / 2, -math.log(0.5 * 0.9) / 2]).double()
    torch.testing.assert_close(misread(logits, y), expected)


def test_misread_is_finite_and_of_each_seed_alone() -> None:
    logits = torch.tensor([[[1e4, -1e4]], [[0.0, 0.0]]], requires_grad=True)
    loss = misread(logits, torch.tensor([[1], [0]]))
    assert loss.isfinite().all()
    (slope,) = torch.autograd.grad(loss[1], logits)
    assert not slope[0].any() and slope[1].any()


def test_misread_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"y must have shape \(2, 3\), as logits has, not \(2, 4\)"):
        misread(torch.zeros(2, 3, 5), torch.zeros(2, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="y must be whole numbers from 0 to 9, not from -100 to 1"):
        misread(torch.zeros(1, 3, 10), torch.tensor([[0, 1, -100]]))

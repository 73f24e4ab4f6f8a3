"""One player learns, alone, and the other one stays as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gan_helpers.options import Watch
from gan_helpers.recipes import distances, minimax
from tests.chapters import weights


@pytest.mark.parametrize(
    ("learner", "recipe"), [("G", distances.kernel()), ("D", replace(minimax.far(), steps=3))]
)
def test_only_the_learner_learns_and_has_losses(learner: str, recipe: distances.Solo) -> None:
    players = dict(zip("GD", recipe.networks(2, seed=1, device="cpu"), strict=True))
    before = {name: [w.clone() for w in weights(network)] for name, network in players.items()}
    history = recipe.train(*players.values(), seed=1, steps=3)
    for name, network in players.items():
        same = all(torch.equal(a, b) for a, b in zip(before[name], weights(network), strict=True))
        assert same == (name != learner)
        losses = history.g_loss if name == "G" else history.d_loss
        assert losses.shape == (3 if name == learner else 0, 2)


def test_steps_shrink_where_they_should() -> None:
    moved = []
    for shrinking in (True, False):
        recipe = replace(minimax.original(), shrinking=shrinking)
        G, D = recipe.networks(1, seed=1, device="cpu")
        seen = Watch(lambda _, D=D: {"w": weights(D)[0].clone()}, every=1)
        path = recipe.train(G, D, seed=1, steps=20, watch=seen).watched["w"]
        moved.append((path[-1] - path[-2]).abs().max() / (path[1] - path[0]).abs().max())
    assert moved[0] < 0.1 < moved[1]


def test_there_are_two_players() -> None:
    with pytest.raises(ValueError, match='learner must be "G" or "D", not \'both\''):
        replace(distances.kernel(), learner="both")

"""After 100 steps the playground's weights are those of the package, for each loss and each penalty."""

import json

import pytest
import torch

from tests.playground import LOSSES, PENALTIES, PLAY, SETTINGS, check_parity, furthest, trained


@pytest.mark.parametrize("penalty", ["both", "gp"])  # all of them in a browser, below
@pytest.mark.parametrize("loss", LOSSES)
def test_100_steps_of_adam_end_at_the_weights_of_the_package(node, loss, penalty):
    check_parity(node, SETTINGS | {"loss": loss} | PENALTIES[penalty])


OTHERS = {
    "one dimension, tanh, three layers": {
        "data": "bell", "features": 1, "activation": "tanh", "layers": 3, "width": 20, "batch": 50, "r1": 0.2,
        "gp": 1.0,
    },
    "several updates, an average, uniform noise": {
        "dSteps": 3, "ema": 0.99, "noise": "uniform", "width": 17, "r1": 0.1, "r2": 0.1, "activation": "tanh",
    },
    "both at once, an odd batch": {"turns": "simultaneous", "batch": 37, "activation": "relu", "r2": 0.5},
    "wide, one layer": {
        "width": 64, "layers": 1, "loss": "relativistic", "r1": 0.1, "r2": 0.1, "beta1": 0.0, "beta2": 0.99,
    },
    "narrow and deep, ring": {
        "data": "ring", "width": 5, "layers": 4, "loss": "hinge", "gp": 1.0, "activation": "tanh",
    },
    "nothing hidden": {"layers": 0, "r1": 0.1, "gp": 1.0},
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_end_there_too(node, name):
    check_parity(node, SETTINGS | OTHERS[name])


@pytest.mark.parametrize("penalty", ["none", "r1", "gp"])
@pytest.mark.parametrize("loss", ["minimax", "non_saturating"])
def test_in_single_precision_the_package_ends_there_too(node, loss, penalty):
    """As a reader trains. Of these games no gradient is a sum that is exactly 0, so roundings stay small.

    How small depends on the processor: 0.0002 was the largest seen.
    """
    settings = SETTINGS | {"loss": loss} | PENALTIES[penalty]
    first, feed, last, _, _ = trained(json.dumps(settings), dtype=torch.float32)
    got = node(PLAY, settings=settings, first=first, feed=feed, steps=100)
    assert max(furthest(got[name], last[name]) for name in "GD") < 1e-3


@pytest.mark.parametrize("loss", LOSSES)
def test_100_steps_in_the_browser_end_there_too(in_browser, loss):
    for penalty in PENALTIES.values():
        check_parity(in_browser, SETTINGS | {"loss": loss} | penalty)


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_in_the_browser(in_browser, name):
    check_parity(in_browser, SETTINGS | OTHERS[name])

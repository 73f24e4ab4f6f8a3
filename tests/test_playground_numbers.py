"""The playground's modules under node and in a real browser, held against what the package computes.

Weights, data and noise are made here and handed over, so that both train the same thing.
"""

import json
import shutil
import subprocess
from itertools import product
from pathlib import Path

import pytest
import torch
from scipy.special import ndtri
from torch import nn

from gan_helpers import dirac, losses, metrics, penalties
from gan_helpers.data import Gaussian, Normal, grid, ring
from gan_helpers.ensemble import Ensemble
from gan_helpers.mode_metrics import count_modes
from gan_helpers.models import mlp
from gan_helpers.options import Turns
from gan_helpers.randomness import Stream
from gan_helpers.training import adam, train

FOLDER = Path(__file__).resolve().parent.parent / "book" / "_static" / "playground"
MODULES = ("modules", "numbers", "kernels", "networks", "losses", "training", "data", "meters", "game")
LOAD = """
const vm = require("vm"), fs = require("fs");
const context = vm.createContext({WebAssembly});
for (const file of FILES) vm.runInContext(fs.readFileSync(file, "utf8"), context, file);
const given = JSON.parse(fs.readFileSync(0, "utf8"));
const need = vm.runInContext("Playground", context).require;
const told = JSON.stringify((RUN)(need, given), (_, v) => v instanceof Object && "BYTES_PER_ELEMENT" in v
  ? Array.from(v) : ArrayBuffer.isView(v) ? Array.from(v) : v);
process.stdout.write(told);
"""
ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": lambda: nn.LeakyReLU(0.2), "tanh": nn.Tanh}
LOSSES = ("minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic")
PENALTIES = {
    "none": {},
    "r1": {"r1": 0.3},
    "r2": {"r2": 0.3},
    "both": {"r1": 0.1, "r2": 0.2},
    "gp": {"gp": 10.0},
}
SETTINGS = {
    "data": "tilted", "features": 2, "loss": "non_saturating", "r1": 0, "r2": 0, "gp": 0, "gRate": 1e-3,
    "dRate": 2e-3, "beta1": 0.5, "beta2": 0.999, "dSteps": 1, "batch": 128, "width": 32, "layers": 2,
    "activation": "leaky_relu", "ema": 0, "noise": "normal", "seed": 0, "seeds": 16,
}  # fmt: skip
TOLERANCE = 1e-8  # of a weight; both compute in double precision


def numbers_of(value):
    """What JSON can hold of tensors."""
    return value.tolist() if isinstance(value, torch.Tensor) else value


@pytest.fixture(scope="module")
def node():
    """A function that runs JavaScript, a function of the modules and of what is handed over, under node."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not on the path")

    def run(code, **given):
        files = [str(FOLDER / f"{name}.js") for name in MODULES]
        program = LOAD.replace("FILES", json.dumps(files)).replace("RUN", code)
        handed = json.dumps(given, default=numbers_of)
        done = subprocess.run([found, "-e", program], input=handed, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


# Random numbers


def test_philox_gives_the_numbers_of_its_paper(node):
    counters = [[0] * 4, [0xFFFFFFFF] * 4, [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]]
    keys = [[0] * 2, [0xFFFFFFFF] * 2, [0xA4093822, 0x299F31D0]]
    code = "(need, {counters, keys}) => counters.map((c, i) => need('numbers').philox(c, keys[i], new Uint32Array(4)))"
    assert node(code, counters=counters, keys=keys) == [
        [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8],
        [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ]


def test_random_numbers_have_their_laws_and_depend_on_their_place_alone(node):
    code = """(need) => {
      const {Stream} = need("numbers");
      const stream = (...key) => new Stream(...key);
      const draw = (s, place) => s.normal(new Float64Array(6), place);
      const one = stream(3, 1, "noise");
      draw(one, 7);
      return {
        normal: stream(0, 0, "noise").normal(new Float64Array(20000), 0),
        uniform: stream(0, 0, "noise").uniform(new Float64Array(20000), 0),
        again: [draw(one, 5), draw(stream(3, 1, "noise"), 5)],
        other: [[3, 1, "data"], [3, 2, "noise"], [4, 1, "noise"]].map(key => draw(stream(...key), 5)[0]),
      };
    }"""
    got = node(code)
    normal, uniform = (torch.tensor(got[name], dtype=torch.float64)[None] for name in ("normal", "uniform"))
    critical = 1.95 / 20_000**0.5  # of a Kolmogorov-Smirnov test at 0.1 %
    assert metrics.ks(normal, Normal(0.0, 1.0)).item() < critical
    assert metrics.ks(uniform, torch.linspace(0, 1, 100_001, dtype=torch.float64)).item() < critical
    assert abs((normal[0, ::2] * normal[0, 1::2]).mean()) < 4 / 100
    assert got["again"][0] == got["again"][1]
    assert len({got["again"][0][0], *got["other"]}) == 4


def test_quantiles_of_the_normal_law(node):
    u = [1e-300, 1e-12, 1e-4, 0.02, 0.07, 0.3, 0.5, 0.6, 0.93, 0.999, 1 - 1e-12]
    got = node("(need, {u}) => u.map(need('numbers').quantile)", u=u)
    assert got == pytest.approx(ndtri(u).tolist(), rel=1e-13, abs=1e-15)


# Losses, penalties and their derivatives


def loss_of_d(settings, rng=None):
    """What D descends by these settings, in the package's words."""
    name = settings["loss"]
    of = {"non_saturating": "minimax"}.get(name, name)

    def d_loss(G, D, x, z):
        fake = G(z).detach()
        value = getattr(losses, f"{of}_d")(*D(x, fake))
        if settings["r1"]:
            value = value + settings["r1"] / 2 * penalties.r1(D, x)
        if settings["r2"]:
            value = value + settings["r2"] / 2 * penalties.r2(D, fake)
        if settings["gp"]:
            value = value + settings["gp"] * penalties.gradient_penalty(D, x, fake, rng)
        return value

    return d_loss


def loss_of_g(settings):
    """What G descends by these settings."""
    name = settings["loss"]
    if name == "relativistic":
        return lambda G, D, x, z: losses.relativistic_g(*D(x, G(z)))
    of = {"hinge": "wasserstein"}.get(name, name)
    return lambda G, D, x, z: getattr(losses, f"{of}_g")(D(G(z)))


def pair(settings, dtype=torch.float64, seed=1):
    """A generator and a discriminator by these settings, each an ensemble of one."""
    features, hidden = settings["features"], [settings["width"]] * settings["layers"]
    activation = ACTIVATIONS[settings["activation"]]
    return [
        Ensemble(
            lambda out=out: mlp(features, *hidden, out, activation=activation), 1, name=name, seed=seed, device="cpu"
        ).to(dtype)
        for name, out in (("G", features), ("D", 1))
    ]


def flat(tensors):
    """Numbers of tensors in the order in which a network has them."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


class Recorded(Stream):
    """A stream that keeps what was drawn from it."""

    def uniform(self, *shape, **ends):
        drawn = super().uniform(*shape, **ends)
        self.kept = [*getattr(self, "kept", []), drawn.flatten()]
        return drawn


def recording(sampler, dtype, kept):
    """A sampler that keeps its batches."""

    def draw(seeds, batch, rng):
        drawn = sampler(seeds, batch, rng)
        kept.append(drawn.flatten())
        return drawn.to(dtype)

    return draw


def real_data(settings):
    """The law that the settings name, as the package has it."""
    if settings["features"] == 1:
        return Normal(4.0, 1.25)
    if settings["data"] == "ring":
        return ring(sd=0.05)
    return Gaussian.from_transform(torch.tensor([[1.0, 2.0], [-0.1, 0.5]]), torch.tensor([1.0, 2.0]))


def noise_of(settings):
    """The law of the noise."""
    features = settings["features"]
    if settings["noise"] == "uniform":
        return lambda seeds, batch, rng: rng.uniform(seeds, batch, features)
    return lambda seeds, batch, rng: rng.normal(seeds, batch, features)


def trained(settings, steps=100, dtype=torch.float64):
    """Train by the package; return the first weights, all batches, and the weights and losses at the end."""
    G, D = pair(settings, dtype)
    first = {"G": flat(G.parameters()), "D": flat(D.parameters())}
    feed = {"data": [], "noise": []}
    rng = Recorded("mix", 1)
    turns = Turns(settings["dSteps"], simultaneous=settings.get("turns") == "simultaneous")
    betas = settings["beta1"], settings["beta2"]
    history = train(
        G, D, recording(real_data(settings), dtype, feed["data"]), recording(noise_of(settings), dtype, feed["noise"]),
        d_loss=loss_of_d(settings, rng), g_loss=loss_of_g(settings), d_opt=adam(D, settings["dRate"], betas),
        g_opt=adam(G, settings["gRate"], betas), steps=steps, batch=settings["batch"], turns=turns,
        ema=settings["ema"] or None, seed=1, progress=False,
    )  # fmt: skip
    last = {"G": flat(G.parameters()), "D": flat(D.parameters())}
    average = flat(history.G.parameters()) if settings["ema"] else None
    return first, {**feed, "mix": getattr(rng, "kept", [])}, last, average, history


PLAY = """(need, {settings, first, feed, steps}) => {
  const floats = name => (feed[name] ?? []).map(batch => new Float32Array(batch));
  const batches = {data: floats("data"), noise: floats("noise"), mix: floats("mix")};
  const game = need("game").create(settings, 0, batches);
  game.setWeights(first);
  game.step(steps);
  const all = (numbers) => Array.from(numbers);
  const {G, D} = game.weights();
  return {G: all(G), D: all(D), losses: game.losses(), average: all(game.players.average?.weights ?? [])};
}"""


def furthest(got, wanted):
    """The largest difference of a number."""
    return (torch.tensor(got, dtype=torch.float64) - wanted.double()).abs().max().item()


def check_parity(play, settings):
    first, feed, last, average, history = trained(settings)
    got = play(PLAY, settings=settings, first=first, feed=feed, steps=100)
    off = {name: furthest(got[name], last[name]) for name in ("G", "D")}
    if average is not None:
        off["average"] = furthest(got["average"], average)
    assert max(off.values()) < TOLERANCE, off
    at_end = [history.d_loss[-1].item(), history.g_loss[-1].item()]
    assert [got["losses"]["d"], got["losses"]["g"]] == pytest.approx(at_end, abs=1e-4, rel=1e-4)
    return max(off.values())


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("loss", LOSSES)
def test_100_steps_of_adam_end_at_the_weights_of_the_package(node, loss, penalty):
    check_parity(node, SETTINGS | {"loss": loss} | PENALTIES[penalty])


OTHERS = {
    "one dimension, tanh, three layers": {
        "data": "bell", "features": 1, "activation": "tanh", "layers": 3, "width": 20, "batch": 50, "r1": 0.2, "gp": 1.0,
    },
    "several updates, an average, uniform noise": {
        "dSteps": 3, "ema": 0.99, "noise": "uniform", "width": 17, "r1": 0.1, "r2": 0.1, "activation": "tanh",
    },
    "both at once, an odd batch": {"turns": "simultaneous", "batch": 37, "activation": "relu", "r2": 0.5},
    "wide, one layer": {"width": 64, "layers": 1, "loss": "relativistic", "r1": 0.1, "r2": 0.1, "beta1": 0.0, "beta2": 0.99},
    "narrow and deep, ring": {"data": "ring", "width": 5, "layers": 4, "loss": "hinge", "gp": 1.0, "activation": "tanh"},
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_end_there_too(node, name):
    check_parity(node, SETTINGS | OTHERS[name])

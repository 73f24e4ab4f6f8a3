"""The playground's modules under node and in a browser, and the same games by the package.

Weights, data and noise are made here and handed over, so that both train the same thing. Both compute in
double precision. In single precision the package itself ends up to 0.2 from there after 100 steps of some
games: a gradient whose terms cancel is 0 there, and Adam makes a full step of what rounding leaves of it.
"""

import functools
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from gan_helpers import losses, penalties
from gan_helpers.data import Gaussian, Normal, ring
from gan_helpers.ensemble import Ensemble
from gan_helpers.models import mlp
from gan_helpers.options import Turns
from gan_helpers.randomness import Stream
from gan_helpers.training import adam, train

FOLDER = Path(__file__).resolve().parent.parent / "book" / "_static" / "playground"
MODULES = ("modules", "numbers", "assembly", "kernels", "networks", "losses", "training", "data", "meters")
MODULES += ("game", "team", "crew")
LOAD = """
const vm = require("vm"), fs = require("fs");
for (const file of FILES) vm.runInThisContext(fs.readFileSync(file, "utf8"), file);
const given = JSON.parse(fs.readFileSync(0, "utf8"));
const need = vm.runInThisContext("Playground").require;
const plain = (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
process.stdout.write(JSON.stringify((RUN)(need, given), plain));
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


PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Modules alone</title>
<link rel="icon" href="data:,">{scripts}</head><body></body></html>"""


@pytest.fixture
def modules_page(reader, tmp_path):
    """A page, opened as a file, with nothing but the modules; a complaint of the browser fails the test."""
    scripts = "".join(f'<script defer src="{(FOLDER / f"{name}.js").as_uri()}"></script>' for name in MODULES)
    file = tmp_path / "modules.html"
    file.write_text(PAGE.format(scripts=scripts), encoding="utf-8")
    yield reader.open(file.as_uri()).page
    assert reader.complaints == []


@pytest.fixture
def in_browser(modules_page):
    """A function that runs JavaScript as `node` does, in the browser."""

    def run(code, **given):
        handed = json.loads(json.dumps(given, default=numbers_of))
        return modules_page.evaluate(f"given => ({code})(Playground.require, given)", handed)

    return run


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
            lambda out=out: mlp(features, *hidden, out, activation=activation),
            1,
            name=name,
            seed=seed,
            device="cpu",
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


@functools.cache
def trained(settings, steps=100, dtype=torch.float64):
    """Train by the package; return the first weights, all batches, and the weights and losses at the end."""
    settings = json.loads(settings)
    G, D = pair(settings, dtype)
    first = {"G": flat(G.parameters()), "D": flat(D.parameters())}
    feed = {"data": [], "noise": []}
    rng = Recorded("mix", 1)
    turns = Turns(settings["dSteps"], simultaneous=settings.get("turns") == "simultaneous")
    betas = settings["beta1"], settings["beta2"]
    history = train(
        G, D, recording(real_data(settings), dtype, feed["data"]),
        recording(noise_of(settings), dtype, feed["noise"]),
        d_loss=loss_of_d(settings, rng), g_loss=loss_of_g(settings), d_opt=adam(D, settings["dRate"], betas),
        g_opt=adam(G, settings["gRate"], betas), steps=steps, batch=settings["batch"], turns=turns,
        ema=settings["ema"] or None, seed=1, progress=False,
    )  # fmt: skip
    last = {"G": flat(G.parameters()), "D": flat(D.parameters())}
    average = flat(history.averaged.parameters()) if settings["ema"] else None
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
    first, feed, last, average, history = trained(json.dumps(settings))
    got = play(PLAY, settings=settings, first=first, feed=feed, steps=100)
    off = {name: furthest(got[name], last[name]) for name in ("G", "D")}
    if average is not None:
        off["average"] = furthest(got["average"], average)
    assert max(off.values()) < TOLERANCE, off
    at_end = [history.d_loss[-1].item(), history.g_loss[-1].item()]
    assert [got["losses"]["d"], got["losses"]["g"]] == pytest.approx(at_end, abs=1e-4, rel=1e-4)
    return max(off.values())

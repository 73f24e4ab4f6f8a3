"""The playground's modules under node, held against what the package computes."""

import re
import shutil
import subprocess
from itertools import product

import pytest
import torch
from scipy.special import ndtri

from gan_helpers import dirac, losses, metrics
from gan_helpers.data import Gaussian, Normal, grid, ring
from gan_helpers.mode_metrics import count_modes
from gan_helpers.randomness import Stream
from tests.playground import (
    ACTIVATIONS,
    FOLDER,
    LOSSES,
    MODULES,
    PENALTIES,
    SETTINGS,
    Recorded,
    flat,
    furthest,
    loss_of_d,
    loss_of_g,
    pair,
    real_data,
)

FIRST = [
    [13553555, 11183399], [10691301, 9706186], [3112231, 8262281], [5049998, 2074247], [12040573, 13368386],
    [1478484, 16528068], [15648444, 14305779], [4570265, 6526513],
]  # fmt: skip

# Random numbers


def test_philox_gives_the_numbers_of_its_paper(node):
    counters = [[0] * 4, [0xFFFFFFFF] * 4, [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]]
    keys = [[0] * 2, [0xFFFFFFFF] * 2, [0xA4093822, 0x299F31D0]]
    code = """(need, {counters, keys}) =>
      counters.map((counter, i) => need("numbers").philox(counter, keys[i], new Uint32Array(4)))"""
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
    u = [1e-4, 5e-4, 0.02, 0.07, 0.3, 0.5, 0.6, 0.93, 0.999, 0.9999]
    got = node("(need, {u}) => u.map(need('numbers').quantile)", u=u)
    assert got == pytest.approx(ndtri(u).tolist(), rel=1e-12, abs=1e-15)


# Losses, penalties and their derivatives


def test_both_ways_to_compute_agree(node):
    """The plain products, which a browser without WebAssembly SIMD gets, against the fast ones."""
    code = """(need, {settings}) => {
      const kernels = need("kernels"), make = kernels.make;
      const ends = [make, build => build(kernels.plain())].map(way => {
        kernels.make = way;
        const game = need("game").create(settings, 3);
        game.step(20);
        return [game.players.G.kernels.name, game.weights()];
      });
      kernels.make = make;
      return ends;
    }"""
    for extra in (
        {},
        {"width": 7, "batch": 9, "gp": 1, "activation": "tanh"},
        {"features": 1, "data": "bell", "r2": 1},
    ):
        (fast, one), (plain, other) = node(code, settings=SETTINGS | {"r1": 0.1} | extra)
        assert (fast, plain) == ("WebAssembly SIMD", "plain JavaScript")
        for player in "GD":
            assert furthest(one[player], torch.tensor(other[player], dtype=torch.float64)) < 1e-9


def test_losses_and_their_slopes(node):
    """Far from 0 too, where D or 1 - D rounds to 0."""
    real, fake = (torch.tensor(a, dtype=torch.float64).view(1, -1, 1).requires_grad_() for a in (
        [-800.0, -3.0, -0.2, 0.0, 0.7, 1.5, 40.0, 900.0], [2.0, -50.0, 0.3, -0.7, -1.4, 0.0, 700.0, -900.0],
    ))  # fmt: skip
    code = """(need, {name, real, fake}) => {
      const {ofD, ofG} = need("losses"), n = real.length;
      const [r, f, dr, df, dg] = [real, fake, n, n, n].map(x => new Float64Array(x));
      return {d: ofD(name, r, f, n, dr, df), g: ofG(name, r, f, n, dg), dr, df, dg};
    }"""
    for name in LOSSES:
        got = node(code, name=name, real=real.flatten(), fake=fake.flatten())
        of = {"non_saturating": "minimax"}.get(name, name)
        d = getattr(losses, f"{of}_d")(real, fake)
        d_slopes = torch.autograd.grad(d.sum(), (real, fake))
        g = loss_of_g({"loss": name})(lambda z: z, lambda *x: x if len(x) > 1 else x[0], real, fake)
        (g_slopes,) = torch.autograd.grad(g.sum(), fake)
        wanted = {"d": d, "g": g, "dr": d_slopes[0], "df": d_slopes[1], "dg": g_slopes}
        for key, value in wanted.items():
            assert torch.tensor(got[key]).flatten().tolist() == pytest.approx(
                value.flatten().tolist(), rel=1e-6, abs=1e-12
            ), (name, key)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_derivatives_are_those_of_autograd(node, activation):
    """The gradients of each player at random weights, before an optimiser hides their size."""
    code = """(need, {settings, first, feed}) => {
      const floats = name => feed[name].map(batch => new Float32Array(batch));
      const batches = {data: floats("data"), noise: floats("noise"), mix: floats("mix")};
      const game = need("game").create(settings, 0, batches);
      game.setWeights(first);
      const {players} = game;
      players.source.data(players.real.y[0], players.real.columns);
      players.source.noise(players.made.y[0], players.made.columns);
      players.derivativesOfD();
      players.derivativesOfG();
      return {D: players.D.gradient, G: players.G.gradient};
    }"""
    for loss, penalty in product(("non_saturating", "relativistic", "hinge"), ("none", "both", "gp")):
        settings = (
            SETTINGS | {"loss": loss, "activation": activation, "batch": 21, "width": 13} | PENALTIES[penalty]
        )
        G, D = pair(settings, seed=5)
        rng = Stream("batches", 5)
        x, z = (rng.normal(1, 21, 2).double() for _ in "xz")
        mix = Recorded("mix", 5)
        wanted = {}
        for name, network, loss_of in (("D", D, loss_of_d(settings, mix)), ("G", G, loss_of_g(settings))):
            value = loss_of(G, D, x, z).sum()
            wanted[name] = flat(torch.autograd.grad(value, list(network.parameters())))
        feed = {"data": [x.flatten()], "noise": [z.flatten()], "mix": getattr(mix, "kept", [])}
        first = {"G": flat(G.parameters()), "D": flat(D.parameters())}
        got = node(code, settings=settings, first=first, feed=feed)
        for name in "DG":
            assert furthest(got[name], wanted[name]) < 1e-12, (loss, penalty, name)


def test_the_game_of_two_weights_is_that_of_the_package(node):
    settings = SETTINGS | {"data": "dirac", "features": 1, "gRate": 0.1, "dRate": 0.2}
    code = """(need, {settings, start, steps}) => {
      const game = need("game").create(settings, 0);
      const first = game.meters();
      game.setWeights({G: [start[0]], D: [start[1]]});
      game.step(steps);
      return {first, last: game.meters()};
    }"""
    start = torch.tensor([0.6, -0.8], dtype=torch.float64)
    for loss, r1, momentum, turns in (
        ("minimax", 0.0, 0.0, "simultaneous"),
        ("non_saturating", 0.3, 0.0, "simultaneous"),
        ("minimax", 0.0, -0.3, "alternating"),
        ("non_saturating", 0.1, 0.5, "alternating"),
    ):
        made = settings | {"loss": loss, "r1": r1, "beta1": momentum, "turns": turns}
        got = node(code, settings=made, start=start, steps=200)
        path = dirac.play(
            *start, 0.1, 200, non_saturating=loss == "non_saturating", gamma=r1, momentum=momentum,
            d_speed=2.0, alternating=turns == "alternating",
        )  # fmt: skip
        assert [got["last"]["theta"], got["last"]["psi"]] == pytest.approx(path[-1].tolist(), abs=1e-10)
        assert got["first"]["distance"] == pytest.approx(1)


# Laws and meters


def covariance(x):
    fit = metrics.fit_gaussian(x)
    return fit.mean[0], fit.covariance[0]


def law(node, n=20_000, **settings):
    """Samples of a law, and what the module says of it."""
    code = """(need, {settings, n}) => {
      const law = need("data").of(settings), {Stream} = need("numbers");
      return {...law, samples: law.sample(n, new Stream(0, 0, "data"), 0)};
    }"""
    got = node(code, settings=settings, n=n)
    return torch.tensor(got["samples"], dtype=torch.float64).view(1, n, -1), got


def test_laws_are_those_of_the_package(node):
    for settings, same in (
        ({"data": "bell", "features": 1}, Normal(4.0, 1.25)),
        ({"data": "bell", "features": 2}, Gaussian(torch.tensor([2.0, 1.0]), torch.eye(2))),
        ({"data": "tilted"}, real_data(SETTINGS)),
        ({"data": "ring"}, ring(sd=0.05)),
        ({"data": "grid"}, grid(spacing=0.7, sd=0.05)),
    ):
        x, got = law(node, **settings)
        theirs = same(1, 20_000, Stream("data", 3)).double()
        assert got["features"] == same.features == x.shape[2]
        for ours, wanted in zip(covariance(x), covariance(theirs), strict=True):
            assert torch.allclose(ours, wanted, atol=0.1), settings
        if got["modes"]:
            assert torch.allclose(torch.tensor(got["modes"]), same.means, atol=1e-6)
            counts = count_modes(x, same)
            assert counts.modes.item() == same.modes
            assert counts.high_quality.item() == pytest.approx(0.9889, abs=0.004)
            assert counts.reverse_kl.item() < 4 * (same.modes - 1) / (2 * 20_000)


def test_moons_and_strokes_lie_where_they_are_said_to(node):
    x, _ = law(node, data="moons")
    right = (x[0] - torch.tensor([-0.5, -0.25])).norm(dim=1)
    left = (x[0] - torch.tensor([0.5, 0.25])).norm(dim=1)
    off = torch.minimum((right - 1).abs(), (left - 1).abs())
    assert off.mean() < 0.1
    assert (off < 0.4).double().mean() > 0.999
    assert abs(x.mean()) < 0.03
    points = [[0.5, 0.5], [-1.0, 0.25], [1.5, -1.5]]
    x, got = law(node, data="strokes", strokes=points)
    distances, nearest = torch.cdist(x[0], torch.tensor(points, dtype=torch.float64)).min(1)
    assert distances.square().mean().sqrt().item() == pytest.approx(0.04 * 2**0.5, rel=0.05)
    assert nearest.bincount().tolist() == pytest.approx([20_000 / 3] * 3, rel=0.05)


def test_what_cannot_be_learned_is_refused_with_words(node):
    code = """(need, {settings}) => {
      try { need("game").create(settings, 0); return ""; } catch (error) { return error.message; }
    }"""
    assert "draw one first" in node(code, settings=SETTINGS | {"data": "strokes", "strokes": []})
    assert "data must be one of bell, tilted" in node(code, settings=SETTINGS | {"data": "digits"})


def test_measures_are_those_of_the_package(node):
    """On real samples, on poor ones, and on some without any spread."""
    rng = Stream("measured", 2)
    code = """(need, {name, x, y}) => {
      const m = need("meters"), law = need("data").of({data: name, features: name === "bell" ? 1 : 2});
      const sample = new Float32Array(x);
      if (name === "bell") return {w1: m.w1(sample, law), ...m.moments(sample)};
      const some = new Float32Array(y), shadows = m.shadows(some);
      return {
        ...(law.modes ? m.countModes(sample, law.modes, law.sd) : {}),
        sliced: m.slicedW1(m.shadows(sample.subarray(0, 200)), shadows, shadows.map(s => m.moments(s).sd)),
        fit: m.fitGaussian(sample),
      };
    }"""
    bell = Normal(4.0, 1.25)
    for x in (bell(1, 1000, rng), rng.normal(1, 1000, 1) ** 3, torch.full((1, 1000, 1), 3.0)):
        got = node(code, name="bell", x=x.flatten(), y=[])
        x = x.squeeze(2)
        moments = metrics.moments(x)
        wanted = {name: getattr(moments, name).item() for name in ("mean", "sd", "skewness", "kurtosis")}
        wanted["w1"] = metrics.w1(x, bell).item()
        for name, value in wanted.items():
            assert (got[name] is None and value != value) or got[name] == pytest.approx(
                value, rel=1e-9, abs=1e-12
            )
    tilted = real_data(SETTINGS)
    line = torch.cat([rng.normal(1, 2500, 1)] * 2, 2)
    for name, same in (("ring", ring(sd=0.05)), ("grid", grid(spacing=0.7, sd=0.05)), ("tilted", tilted)):
        for x in (same(1, 2500, rng), rng.normal(1, 2500, 2), line, torch.zeros(1, 2500, 2)):
            y = same(1, 200, rng)
            got = node(code, name=name, x=x.flatten(), y=y.flatten())
            assert got["sliced"] == pytest.approx(metrics.sliced_w1(x[:, :100], y[0]).item(), rel=1e-6)
            fit = metrics.fit_gaussian(x)
            for part, of in (("mean", fit.mean[0]), ("covariance", fit.covariance[0])):
                assert torch.tensor(got["fit"][part]).flatten().tolist() == pytest.approx(
                    of.flatten().tolist(), rel=1e-5, abs=1e-6
                )
            if name != "tilted":
                counts = count_modes(x, same)
                assert got["modes"] == counts.modes.item()
                assert got["each"] == counts.each[0].tolist()
                assert got["least"] == pytest.approx(counts.each.min().item() * same.modes / 2500)
                assert got["high"] == pytest.approx(counts.high_quality.item())
                assert got["klReverse"] == pytest.approx(counts.reverse_kl.item(), abs=1e-9)


def test_a_perfect_generator_reads_its_floor_and_is_a_success(node):
    """Real samples instead of G's, many times: within the spread that these have, and never a failure."""
    code = """(need, {settings}) => {
      const m = need("meters"), law = need("data").of(settings), {Stream} = need("numbers");
      const rule = m.rule(settings), stream = new Stream(11, 0, "real"), n = m.needed(settings);
      const all = Array.from({length: 20}, (_, i) => m.measure(law.sample(n, stream, i), law));
      return {rule, floor: m.floor(settings), all, good: all.map(rule.good)};
    }"""
    for settings in (
        {"data": "bell", "features": 1}, {"data": "bell", "features": 2}, {"data": "tilted"},
        {"data": "ring"}, {"data": "grid"}, {"data": "moons"},
        {"data": "strokes", "strokes": [[0, 0], [1, 1], [-1, 0.5]]},
    ):  # fmt: skip
        got = node(code, settings=settings)
        assert all(got["good"]), settings
        values = sorted(m[got["rule"]["key"]] for m in got["all"])
        assert values[0] <= got["floor"][got["rule"]["key"]] <= values[-1]
        assert got["rule"]["floor"] == got["floor"][got["rule"]["key"]]
        other = "w1" if settings.get("features") == 1 else "sliced"
        values = sorted(m[other] for m in got["all"])
        assert values[0] <= got["floor"][other] <= values[-1]


DRAWN = """
const drawn = {
  heart: t => [1.15 * Math.sin(t) ** 3, Math.cos(t) - 0.4 * Math.cos(2 * t) - 0.15 * Math.cos(3 * t)],
  spiral: t => [0.23 * t * Math.cos(2 * t), 0.23 * t * Math.sin(2 * t)],
  ear: t => [Math.cos(t) + (t > 5 ? 0.4 : 0), Math.sin(t)],
};
const points = name => Array.from({length: 110}, (_, i) => drawn[name](2 * Math.PI * (i + 0.5) / 110));
"""  # what readers may draw; a blob, a block or a disc is none of these


def test_what_has_learned_no_shape_is_no_success(node):
    """As many samples as are measured, of the data's mean and covariance: drawn anew, 20 times each."""
    code = """(need, {settings}) => {
      DRAWN
      const m = need("meters"), {Stream, quantile} = need("numbers");
      if (settings.strokes) settings.strokes = points(settings.strokes);
      const law = need("data").of(settings), rule = m.rule(settings), n = m.needed(settings);
      const fit = law.features === 2 ? m.fitGaussian(law.sample(20000, new Stream(4, 0, "real"), 0)) : null;
      const root = () => {
        const [[a, b], [, d]] = fit.covariance, low = Math.sqrt(a);
        return [[low, 0], [b / low, Math.sqrt(d - b * b / a)]];
      };
      const shapes = {
        blob: u => u.map(quantile),
        block: u => u.map(v => Math.sqrt(12) * (v - 0.5)),
        disc: ([u, v]) => [Math.cos, Math.sin].map(f => 2 * Math.sqrt(u) * f(2 * Math.PI * v)),
        points: u => u.map(v => v < 0.5 ? -1 : 1),
        thin: ([u]) => [quantile(u), 0],
      };
      const passed = shape => Array.from({length: 20}, (_, k) => {
        const u = new Stream(5, 0, "look").uniform(new Float64Array(2 * n), k).map(v => v + 2 ** -26);
        const x = new Float32Array(n * law.features);
        for (let i = 0; i < n; i++) {
          const [p, q] = shapes[shape]([u[2 * i], u[2 * i + 1]]);
          if (law.features === 1) x[i] = law.mean + law.sd * p;
          else {
            const [[a], [c, d]] = root();
            x[2 * i] = fit.mean[0] + a * p;
            x[2 * i + 1] = fit.mean[1] + c * p + d * q;
          }
        }
        return rule.good(m.measure(x, law));
      }).filter(Boolean).length;
      return Object.fromEntries(Object.keys(shapes).map(shape => [shape, passed(shape)]));
    }""".replace("DRAWN", DRAWN)
    drawn = [{"data": "strokes", "features": 2, "strokes": name} for name in ("heart", "spiral", "ear")]
    for settings in ({"data": name, "features": 2} for name in ("ring", "grid", "moons")):
        assert set(node(code, settings=settings).values()) == {0}, settings
    for settings in drawn:
        got = node(code, settings=settings)
        assert got["blob"] == got["block"] == got["points"] == got["thin"] == 0, settings
    for settings in ({"data": "tilted"}, {"data": "bell", "features": 2}, {"data": "bell", "features": 1}):
        got = node(code, settings=settings)
        wrong = ("block", "points") if settings.get("features") == 1 else ("block", "disc", "points", "thin")
        assert got["blob"] == 20  # which is the law itself
        assert [got[shape] for shape in wrong] == [0] * len(wrong), settings


def test_heaps_that_have_almost_nothing_are_not_found(node):
    """Real samples, of which all but so many of each heap were moved to the middle of one."""
    code = """(need, {settings, kept}) => {
      const m = need("meters"), law = need("data").of(settings), {Stream} = need("numbers");
      const x = law.sample(2500, new Stream(2, 0, "real"), 0), each = law.modes.map(() => 0);
      for (let i = 0; i < 2500; i++) {
        const off = law.modes.map(([a, b]) => Math.hypot(x[2 * i] - a, x[2 * i + 1] - b));
        const heap = off.indexOf(Math.min(...off));
        if (heap && ++each[heap] > kept) x.set(law.modes[0], 2 * i);
      }
      const found = m.measure(x, law);
      return [found.modes, m.rule(settings).good(found)];
    }"""
    for name, modes in (("ring", 8), ("grid", 25)):
        fair = 2500 // modes
        for kept, good in ((1, False), (fair // 10, False), (fair * 2 // 5, False), (fair * 3 // 5, True)):
            assert node(code, settings={"data": name}, kept=kept) == [modes, good], (name, kept)


# What is shown


def test_arrows_and_answers_are_those_of_d(node):
    """Against autograd, for each loss."""
    code = """(need, {settings, first, points}) => {
      const game = need("game").create(settings, 0);
      game.setWeights(first);
      const at = new Float32Array(points);
      const real = game.law.points.slice(0, at.length);
      const [arrows, surface, warp] = [game.arrows(at), game.surface(at), game.warp(at)];
      return {arrows, surface, warp, middle: game.middle(), real};
    }"""
    points = Stream("points", 4).normal(1, 30, 2)
    for loss in LOSSES:
        settings = SETTINGS | {"loss": loss}
        G, D = pair(settings, seed=6)
        first = {"G": flat(G.parameters()), "D": flat(D.parameters())}
        got = node(code, settings=settings, first=first, points=points.flatten())
        x = points.double().requires_grad_()
        real = torch.tensor(got["real"], dtype=torch.float64).view(1, 30, 2)
        value = loss_of_g(settings)(lambda z: z, D, real, x)
        (slopes,) = torch.autograd.grad(30 * value.sum(), x)
        assert got["arrows"] == pytest.approx((-slopes).flatten().tolist(), abs=1e-6)
        outputs = D(points.double()).flatten()
        if loss == "least_squares":
            wanted = outputs.clamp(0, 1)
        else:
            wanted = torch.sigmoid(
                outputs - (got["middle"] if loss in ("wasserstein", "relativistic") else 0)
            )
        assert got["surface"] == pytest.approx(wanted.tolist(), abs=1e-6)
        assert got["warp"] == pytest.approx(G(points.double()).flatten().tolist(), abs=1e-5)


def test_the_same_seed_gives_the_same_run_and_another_does_not(node):
    code = """(need, {settings, member}) => {
      const game = need("game").create(settings, member);
      game.samples(10);
      game.step(5);
      game.meters();
      game.step(5);
      return game.weights();
    }"""
    plain = """(need, {settings, member}) => {
      const game = need("game").create(settings, member);
      game.step(10);
      return game.weights();
    }"""
    settings = SETTINGS | {"r1": 0.1, "gp": 1, "ema": 0.9}
    one = node(code, settings=settings, member=2)
    assert one == node(plain, settings=settings, member=2)  # looking changes nothing
    assert one != node(plain, settings=settings, member=3)
    assert one != node(plain, settings=settings | {"seed": 1}, member=2)


def test_a_link_gives_the_same_first_numbers_everywhere(node):
    """Fixed ones: with others, a link that somebody has sent would give another run."""
    code = """(need) => {
      const {Stream} = need("numbers");
      return ["data", "noise", "G", "D", "mix", "look", "real", "floor"]
        .map(use => new Stream(7, 3, use).uniform(new Float64Array(2), 5).map(u => u * 2 ** 24));
    }"""
    assert node(code) == FIRST


# The sources


def sources():
    return sorted(FOLDER.glob("*.js"))


def test_every_function_says_its_types():
    """Those with a name; without the type checker this is all that is known of them."""
    for name in MODULES:
        text = (FOLDER / f"{name}.js").read_text(encoding="utf-8")
        for before, function in re.findall(r"(.*\n) {2,4}(?:async )?function (\w+)\(", text):
            taken_from = text[: text.index(f"function {function}(")]
            comment = taken_from[taken_from.rfind("/**") :]
            assert "*/" in before, f"{name}: {function}"
            assert re.search(r"@(param|returns|type) ", comment), f"{name}: {function}"


def test_the_type_checker_has_nothing_to_complain_about():
    compiler = shutil.which("tsc")
    if compiler is None:
        pytest.skip("tsc is not on the path")
    types, options = (
        str(FOLDER / "types.d.ts"),
        "--noEmit --allowJs --checkJs --target es2022 --lib es2023,dom,dom.iterable",
    )
    ours = [str(FOLDER / f"{name}.js") for name in MODULES]
    for files, strict in ((ours, ["--strict"]), (map(str, sources()), [])):
        done = subprocess.run(
            [compiler, *options.split(), *strict, types, *files], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout


def test_modules_need_nothing_from_elsewhere():
    for path in sources():
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        for forbidden in ("import(", "importScripts", "fetch(", "XMLHttpRequest", "eval(", "new Function"):
            assert forbidden not in text, f"{path.name}: {forbidden}"

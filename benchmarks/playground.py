"""How fast the playground learns and draws in a browser without a window, and TensorFlow.js if that is here.

The work is that of its aim: G 2-32-32-2 against D 2-32-32-1 with rectifiers, batches of 128, the
non-saturating loss and R1, Adam. TensorFlow.js, which GAN Lab computes with, is measured where the
environment variable GAN_BOOK_TFJS names its file tf.min.js, on its plain backend: a browser without a window
has no GPU.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.environment import ROOT
from benchmarks.results import significant

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
SECONDS = 4  # of one measurement
WARM = 1.5  # seconds that a page plays before its pictures are counted: its scripts are compiled meanwhile
SETTINGS = {
    "data": "ring", "features": 2, "loss": "non_saturating", "r1": 0.1, "r2": 0, "gp": 0, "gRate": 1e-3,
    "dRate": 1e-3, "beta1": 0.5, "beta2": 0.999, "dSteps": 1, "batch": 128, "width": 32, "layers": 2,
    "activation": "relu", "ema": 0, "noise": "normal", "turns": "alternating", "seed": 0,
}  # fmt: skip

#: Plays, and returns how many steps a second each game takes.
PLAY = """async ([settings, seconds]) => {
  const crew = Playground.require("crew").start(settings, {workers: 2});
  let step = 0;
  crew.onframe(state => { step = state.step; });
  crew.play();
  const rest = s => new Promise(done => setTimeout(done, 1000 * s));
  while (step < 20) await rest(0.05);
  const [from, began] = [step, performance.now()];
  await rest(seconds);
  const rate = 1000 * (step - from) / (performance.now() - began);
  crew.stop();
  return rate;
}"""

#: Counts the pictures that the browser draws in a second while the page plays.
FRAMES = """seconds => new Promise(done => {
  let count = 0;
  const began = performance.now();
  const next = now => {
    count += 1;
    if (now - began < 1000 * seconds) requestAnimationFrame(next);
    else done(1000 * count / (now - began));
  };
  requestAnimationFrame(next);
})"""

#: The same steps in TensorFlow.js; returns how many a second.
TENSORFLOW = """async seconds => {
  await tf.setBackend("cpu");
  const layer = (from, to) => {
    const a = 1 / Math.sqrt(from);
    return [tf.variable(tf.randomUniform([from, to], -a, a)), tf.variable(tf.randomUniform([to], -a, a))];
  };
  const [G, D] = [2, 1].map(out => [layer(2, 32), layer(32, 32), layer(32, out)]);
  const through = (network, x) => network.reduce((y, [w, b], i) => {
    const z = tf.add(tf.matMul(y, w), b);
    return i < 2 ? tf.relu(z) : z;
  }, x);
  const [dAdam, gAdam] = [1, 2].map(() => tf.train.adam(1e-3, 0.5, 0.999, 1e-8));
  const ring = () => tf.tidy(() => {
    const angle = tf.mul(tf.floor(tf.randomUniform([128, 1], 0, 8)), Math.PI / 4);
    return tf.add(tf.concat([tf.cos(angle), tf.sin(angle)], 1), tf.randomNormal([128, 2], 0, 0.05));
  });
  const slopes = tf.grad(x => tf.sum(through(D, x)));
  const dLoss = (x, z) => {
    const r1 = tf.mul(0.05, tf.mean(tf.sum(tf.square(slopes(x)), 1)));
    const [real, fake] = [through(D, x), through(D, through(G, z))];
    return tf.addN([tf.mean(tf.softplus(tf.neg(real))), tf.mean(tf.softplus(fake)), r1]);
  };
  const gLoss = z => tf.mean(tf.softplus(tf.neg(through(D, through(G, z)))));
  const step = () => tf.tidy(() => {
    const x = ring();
    dAdam.minimize(() => dLoss(x, tf.randomNormal([128, 2])), false, D.flat());
    gAdam.minimize(() => gLoss(tf.randomNormal([128, 2])), false, G.flat());
  });
  for (let i = 0; i < 5; i++) step();
  const began = performance.now();
  let steps = 0;
  while (performance.now() - began < 1000 * seconds) {
    step();
    steps += 1;
  }
  return 1000 * steps / (performance.now() - began);
}"""


def measure(turns: int = 3) -> dict[str, float]:
    """Return steps and pictures a second, those of the fastest turn: what else a machine does only slows it.

    Raises:
        RuntimeError: if there is no browser.
    """
    found: dict[str, list[float]] = {}
    with opened() as page:
        for _ in range(turns):
            for name, value in once(page).items():
                found.setdefault(name, []).append(value)
    return {name: significant([max(values)], 3)[0] for name, values in found.items()}


def version() -> str:
    """Return the browser's version."""
    with opened() as page:
        return str(page.context.browser.version)


def once(page: Any) -> dict[str, float]:
    """Return what one turn measures."""
    page.goto(page.address)
    rates = {
        f"playground_{name}": page.evaluate(PLAY, [SETTINGS | {"seeds": seeds}, SECONDS])
        for name, seeds in (("one", 1), ("sixteen", 16))
    }
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_timeout(1000 * WARM)
    rates["playground_frames"] = page.evaluate(FRAMES, SECONDS)
    if library := os.environ.get("GAN_BOOK_TFJS"):
        page.goto("about:blank")
        page.add_script_tag(path=library)
        rates["playground_tfjs"] = page.evaluate(TENSORFLOW, SECONDS)
    return rates


@contextmanager
def opened() -> Iterator[Any]:
    """A page of a browser; its ``address`` is the playground alone, as a file."""
    from playwright.sync_api import sync_playwright

    named = os.environ.get("GAN_BOOK_BROWSER")
    file = named or next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if file is None:
        raise RuntimeError("no Chromium was found: install one, or set GAN_BOOK_BROWSER to its file")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=file)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.address = alone(Path(name)).as_uri()
        yield page
        browser.close()


def alone(folder: Path) -> Path:
    """Return a page with nothing but the playground, and its scripts where a built page has them."""
    shutil.copytree(ROOT / "book" / "_static" / "playground", folder / "_static" / "playground")
    text = (ROOT / "book" / "playground.md").read_text(encoding="utf-8")
    markup = re.findall(r"```\{raw\} html\n(.*?)```", text, re.DOTALL)[0]
    page = folder / "book" / "playground.html"
    page.parent.mkdir()
    page.write_text(f'<!doctype html><meta charset="utf-8"><title>Alone</title><main>{markup}</main>')
    return page

"""The playground's games in a real browser: with workers that a page opened as a file makes, and without."""

import pytest

from tests.playground import SETTINGS

CREW = """async ({settings, workers, without}) => {
  if (without) window.Worker = undefined;
  const crew = Playground.require("crew").start(settings, {workers});
  let state, complaint = "";
  crew.onerror(words => { complaint = words; });
  const until = test => new Promise((done, fail) => {
    setTimeout(() => fail(new Error(`waited in vain for ${test}`)), 60000);
    const look = (now) => { state = now; if (test(now)) done(now); };
    crew.onframe(look);
    const wait = setInterval(() => { if (complaint) { clearInterval(wait); done(); } }, 50);
  });
  const steps = () => state.members.map(m => m.step);
  const even = n => s => s.members.every(m => m.step === n);
  const seen = {};
  await until(s => s.large);
  if (complaint) return {complaint};
  seen.start = {steps: steps(), members: state.members.map(m => m.member), running: state.running};
  crew.step(3);
  await until(even(3));
  crew.ask(1);
  await until(s => s.large.member === 1);
  seen.large = {keys: Object.keys(state.large), samples: state.large.samples.length,
    surface: [state.large.surface.columns, state.large.surface.rows, state.large.surface.values.length],
    arrows: [state.large.arrows.points.length, state.large.arrows.vectors.length],
    warp: [state.large.warp.columns * state.large.warp.rows, state.large.warp.points.length]};
  crew.play(40);
  await until(s => !s.running && even(40)(s));
  seen.until = steps();
  crew.play();
  await until(s => s.step > 60);
  seen.playing = state.running;
  crew.pause();
  const rest = () => new Promise(done => setTimeout(done, 1000));
  await rest(); // the workers agree on a step
  await until(s => new Set(steps()).size === 1);
  const paused = steps();
  await rest();
  seen.paused = [paused, steps()];
  crew.pace(5);
  const [began, from] = [performance.now(), state.step];
  crew.play();
  await until(s => s.step >= from + 4);
  seen.paced = performance.now() - began;
  seen.small = state.members[0];
  crew.stop();
  return seen;
}"""


@pytest.mark.parametrize("how", [{"workers": 2}, {"workers": 5}, {"workers": 2, "without": True}])
def test_the_crew_does_as_it_is_told(modules_page, how):
    """With workers made of a page that is a file, and without any."""
    settings = SETTINGS | {"seeds": 5, "width": 8, "batch": 16, "data": "ring"}
    seen = modules_page.evaluate(CREW, {"settings": settings, "without": False} | how)
    assert seen["start"] == {"steps": [0] * 5, "members": [0, 1, 2, 3, 4], "running": False}
    assert seen["large"]["samples"] == 2000
    assert seen["large"]["surface"][0] * seen["large"]["surface"][1] == seen["large"]["surface"][2]
    assert seen["large"]["arrows"] == [120, 120]
    assert 2 * seen["large"]["warp"][0] == seen["large"]["warp"][1]
    assert seen["until"] == [40] * 5
    assert seen["playing"]
    paused, later = seen["paused"]
    assert paused == later and len(set(paused)) == 1
    assert seen["paced"] >= 600
    assert seen["small"]["curve"]["at"][0] == 0 and len(seen["small"]["samples"]) == 400


def test_all_seeds_are_those_of_games_alone(in_browser):
    """Sharing out among workers changes nothing of a run."""
    settings = SETTINGS | {"seeds": 3, "width": 8, "batch": 16, "r1": 0.1}
    code = """async (need, {settings}) => {
      const crew = need("crew").start(settings, {workers: 2});
      const together = await new Promise(done => {
        crew.onframe(s => s.members.every(m => m.step === 30) && done(s.members.map(m => m.samples)));
        crew.step(30);
      });
      crew.stop();
      const alone = together.map((samples, member) => {
        const game = need("game").create(settings, member);
        game.step(30);
        return game.samples(samples.length / 2);
      });
      return [together, alone].map(all => all.map(samples => Array.from(samples)));
    }"""
    together, alone = in_browser(code, settings=settings)
    assert together == alone


def test_a_run_that_comes_apart_is_said_to_have_failed(modules_page):
    code = """async settings => {
      const crew = Playground.require("crew").start(settings, {workers: 1});
      const state = await new Promise(done => {
        crew.onframe(s => s.members.every(m => m.step === 60) && done(s));
        crew.step(60);
      });
      crew.stop();
      return state.members.map(({failed, good, step}) => ({failed, good, step}));
    }"""
    settings = SETTINGS | {
        "seeds": 2,
        "loss": "wasserstein",
        "gRate": 1e200,
        "dRate": 1e200,
        "width": 8,
        "batch": 16,
    }
    assert modules_page.evaluate(code, settings) == [{"failed": True, "good": False, "step": 60}] * 2


def test_what_cannot_be_started_is_said_in_words(modules_page):
    seen = modules_page.evaluate(
        CREW, {"settings": SETTINGS | {"data": "strokes", "strokes": []}, "workers": 2}
    )
    assert "draw one first" in seen["complaint"]

"""The playground's links and the programs that it writes: its modules without a page, under node."""

import json
import random
import re
import shutil
import subprocess
import warnings
from pathlib import Path

import matplotlib
import nbformat
import pytest
from matplotlib import pyplot as plt

FOLDER = Path(__file__).resolve().parent.parent / "book" / "_static" / "playground"
PAGE = FOLDER.parents[1] / "playground.md"
MODULES = ("modules", "numbers", "data", "meters", "presets", "recipe")
#: Settings that no tour has.
ODD = {
    "penalties": {"loss": "wasserstein", "r1": 0.5, "r2": 0.25, "gp": 10, "dSteps": 3, "noise": "uniform"},
    "nothing hidden": {"data": "moons", "layers": 0, "loss": "hinge", "ema": 0.5, "batch": 7},
    "drawn": {"data": "strokes", "strokes": [[0, 0], [1, 1.5], [-0.5, 0.123]], "loss": "least_squares"},
    "two bells": {"data": "bell", "features": 2, "turns": "simultaneous", "activation": "tanh", "beta2": 0.9},
    "saturating": {"data": "grid", "loss": "minimax", "activation": "leaky_relu", "width": 3, "layers": 4},
    "relativistic": {"data": "bell", "features": 1, "loss": "relativistic", "seeds": 3},
    "answers": {"data": "dirac", "loss": "non_saturating", "r1": 0.3, "beta1": -0.5, "turns": "alternating"},
    "all diverge": {"data": "ring", "beta2": 0, "gRate": 1, "dRate": 1, "layers": 4, "activation": "relu"},
    "more turns than it has": {"data": "moons", "turns": "simultaneous", "dSteps": 3},
    "a faster D": {"data": "dirac", "dRate": 0.4, "gRate": 0.1},
}  # fmt: skip


@pytest.fixture(scope="module")
def ask():
    """A function that runs an expression of `need("module")` and of what is handed over, under node."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not on the path")
    files = [str(FOLDER / f"{name}.js") for name in MODULES]

    def run(expression, given=None):
        program = f"""const vm = require("vm"), fs = require("fs");
        for (const file of {json.dumps(files)}) vm.runInThisContext(fs.readFileSync(file, "utf8"), file);
        const need = vm.runInThisContext("Playground").require;
        const given = JSON.parse(fs.readFileSync(0, "utf8"));
        process.stdout.write(JSON.stringify({expression}));"""
        done = subprocess.run([found, "-e", program], input=json.dumps(given), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


# Links


def settings_of(ask, some):
    """Some settings made whole."""
    return ask("given.map(some => need('presets').validate(some).settings)", some)


def test_a_link_holds_all_settings(ask):
    numbers = random.Random(0)
    bounds, choices = ask("[need('presets').NUMBERS, need('presets').CHOICES]")
    wanted = []
    for _ in range(200):
        some = {name: numbers.choice(list(of)) for name, of in choices.items()}
        for name, (least, most, *whole) in bounds.items():
            value = numbers.uniform(least, most)
            some[name] = round(value) if whole else float(f"{value:.6g}")
        points = numbers.randrange(1, 240)
        some["strokes"] = [[round(numbers.uniform(-2, 2), 3) for _ in "xy"] for _ in range(points)]
        wanted.append(some)
    told = ask(
        """given.map(some => {
          const {validate, toLink, fromLink} = need("presets");
          const {settings} = validate(some);
          const link = toLink(settings);
          return {settings, link, back: fromLink(link)};
        })""",
        wanted,
    )
    for one in told:
        settings, back = one["settings"], one["back"]
        assert back["problems"] == [] and back["tour"] == "" and not back["repaired"]
        points = settings.pop("strokes"), back["settings"].pop("strokes")
        assert back["settings"] == settings
        if settings["data"] == "strokes":
            assert points[1] == points[0]  # exactly: the same run
    assert len({one["link"] for one in told}) == len(told)


def test_a_tour_is_known_by_its_link(ask):
    for name, tour in ask("need('presets').TOURS").items():
        for settings, repaired in ((tour["settings"], False), (tour["repaired"]["settings"], True)):
            for seed in (0, 5):
                (whole,) = settings_of(ask, [settings | {"seed": seed}])
                link = ask("need('presets').toLink(given.whole, given.name)", {"whole": whole, "name": name})
                back = ask("need('presets').fromLink(given)", link)
                assert (back["tour"], back["repaired"], back["settings"]) == (name, repaired, whole)
        assert f'id="tour={name}"' in PAGE.read_text("utf-8")  # links lead there without JavaScript too
        bare = ask("need('presets').fromLink(given).settings", f"tour={name}")
        assert [bare] == settings_of(ask, [tour["settings"]])


def test_a_story_is_told_of_its_own_game_alone(ask):
    for link in ("tour=ring&data=moons&gRate=0.5", "seeds=3&tour=ring", "tour=ring&data=ring&r1=0.3"):
        back = ask("need('presets').fromLink(given)", link)
        assert (back["tour"], back["repaired"]) == ("", False), link
    assert ask("need('presets').fromLink('tour=ring&seed=7').tour") == "ring"


def test_a_heading_is_no_link_to_settings(ask):
    links = ("what-to-look-at", "%E0%A4%A", "", "wdith=5", "width=3", "tour=ring", "data=ring&x=1")
    assert ask("given.map(need('presets').isLink)", links) == [False] * 3 + [True] * 4


def test_the_smallest_game_has_nothing_hidden(ask):
    tours = ask("need('presets').TOURS")
    bare, *others = settings_of(
        ask, [{"data": "dirac"}] + [t["settings"] | {"data": "dirac"} for t in tours.values()]
    )
    shown = set(ask("need('presets').DIRAC_HAS"))
    for settings in others:
        assert {name: v for name, v in settings.items() if name not in shown} == {
            name: v for name, v in bare.items() if name not in shown
        }
    assert (bare["gp"], bare["dSteps"], bare["strokes"], bare["noise"]) == (0, 1, [], "normal")


def test_both_at_once_move_equally_often(ask):
    told = ask("need('presets').validate({turns: 'simultaneous', dSteps: 3})")
    assert told["settings"]["dSteps"] == 1
    assert told["problems"] == [
        "Updates of D for one of G: when both move at once, D moves as often as G: once, not 3 times."
    ]


# Programs


def programs(ask):
    """The programs of all tours, repaired and not, and of odd settings, by name."""
    tours = ask("need('presets').TOURS")
    some = ODD | {name: tour["settings"] for name, tour in tours.items()}
    some |= {f"{name}, repaired": tour["repaired"]["settings"] for name, tour in tours.items()}
    whole = settings_of(ask, list(some.values()))
    made = "given.map(s => [recipe.parts(s, 20), recipe.python(s, 20), recipe.notebook(s, 20, 'x')])"
    written = ask(f"(recipe => {made})(need('recipe'))", whole)
    return dict(zip(some, written, strict=True))


def test_a_notebook_leads_back_to_where_the_page_is(ask):
    (whole,) = settings_of(ask, [{}])
    write = "need('recipe').notebook(given.whole, 20, given.link)"
    first = ask(write, {"whole": whole, "link": "https://example.org/playground.html#data=ring"})
    assert "(https://example.org/playground.html#data=ring)" in json.loads(first)["cells"][0]["source"][2]
    kept = ask(write, {"whole": whole, "link": "file:///home/me/playground.html#data=ring"})
    assert "file:" not in kept and "`#data=ring`" in kept and "Colab" not in kept


def test_each_program_runs_and_says_how_many_succeed(ask, capsys, monkeypatch):
    matplotlib.use("Agg")
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    for name, (parts, text, stored) in programs(ask).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the same seeds meet the same numbers again
            exec(compile(text, name, "exec"), {"__name__": name})
        (said,) = capsys.readouterr().out.splitlines()
        assert re.match(r"\d+ of (16|3) (find|have|come home)", said), (name, said)
        book = nbformat.reads(stored, as_version=4)
        nbformat.validate(book)
        assert [cell.source for cell in book.cells if cell.cell_type == "code"] == parts, name
        assert re.sub(r"\s", "", text) == re.sub(r"\s", "", "".join(parts)), name

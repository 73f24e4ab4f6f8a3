"""For each rule of the notebooks one that breaks it, and each notebook of the book against each rule."""

import base64
import struct
from functools import cache
from operator import attrgetter

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.reliability import measured
from tools import notebooks as runner
from tools import rules, sheets
from tools.rules import RULES, code_cells, pictures, tags, texts
from tools.sheets import BOOK

# Every rule against a notebook that keeps it and against notebooks that break it and nothing else.

ALT = "A curve that rises from zero, bends at one half, and levels off at one."
CAPTION = {"caption": "The answer of D along a line.", "name": "fig-answer"}
BOX = """:::{admonition} In short, for a first reading
:class: tip dropdown

Two is the floor of 2.5. On a first reading, go on at the [summary](#summary).
:::
"""
EXERCISES = """## Exercises

```{exercise}
:label: ex-one

Why?
```

````{solution} ex-one
:class: dropdown

```python
# a comment, not a heading
```
````
"""


def printed(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def png(width=840, size=0, moving=False):
    """The beginning of a PNG, as base64: the header with the width, and what is asked for."""
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, 432)
    return base64.b64encode((header + b"acTL" * moving).ljust(size, b"\0")).decode()


def picture(data=None):
    return new_output("display_data", data={"image/png": data or png(), "text/plain": "<Figure>"})


def good_notebook():
    """A small notebook that keeps all rules."""
    described = {"image": {"alt": ALT}, "figure": CAPTION}
    cells = [
        new_markdown_cell("# A title\n\nText, with a [link](https://example.org/some/page) and p/(p + q)."),
        new_code_cell("import math"),
        new_code_cell("print(math.floor(2.5))", outputs=[printed("2\n")]),
        new_code_cell("draw()", outputs=[picture()], metadata={"tags": ["hide-input"], "mystnb": described}),
        *(
            new_code_cell(f"claim({n})", outputs=[printed(f"holds: at least 13 of 16 in step {n}\n")])
            for n in range(4)
        ),
        new_markdown_cell(EXERCISES),
        new_code_cell(""),
        new_markdown_cell(BOX),
    ]
    notebook = new_notebook(cells=cells, metadata=runner.METADATA)
    for n, (_, cell) in enumerate(code_cells(notebook), start=1):
        cell.execution_count = n
    return notebook


def changed_cell(index, **changes):
    """A change that sets the given fields of one cell."""

    def change(notebook):
        for name, value in changes.items():
            notebook.cells[index][name] = nbformat.from_dict(value)

    return change


def prints(text):
    return changed_cell(2, outputs=[printed(text)])


def code(source, *tags, place=2):
    return changed_cell(place, source=source, metadata={"tags": list(tags)})


def says(text):
    return changed_cell(0, source=f"# A title\n\n{text}")


def figure(**changes):
    """A change of what is said of the figure: its alt text, its caption or its name."""
    said = {"alt": ALT, **CAPTION} | changes
    described = {"image": {"alt": said.pop("alt")}, "figure": said}
    return changed_cell(3, metadata={"tags": ["hide-input"], "mystnb": described})


def shows(**data):
    return changed_cell(2, outputs=[new_output("display_data", data={"text/plain": "x", **data})])


def error(notebook):
    notebook.cells[2].outputs = [new_output("error", ename="ValueError", evalue="no", traceback=[])]


def exercises(old, new):
    """A change that replaces a piece of the exercises."""
    assert old in EXERCISES
    return changed_cell(8, source=EXERCISES.replace(old, new))


def box(old, new):
    """A change that replaces a piece of the box for first readers."""
    assert old in BOX
    return changed_cell(10, source=BOX.replace(old, new))


def animated(notebook, data):
    notebook.cells[3].outputs = [picture(data)]
    notebook.cells[3].metadata.tags.append("animation")


TAGGED = {"tags": ["nbval-ignore-output"]}
BREAKS = {
    rules.is_valid: [changed_cell(1, id="not an id!"), lambda nb: nb.cells[2].update(id=nb.cells[1].id)],
    rules.is_as_make_notebooks_leaves_it: [
        lambda nb: nb.metadata.kernelspec.update(name="gan"),
        lambda nb: nb.metadata.language_info.update(version="3.11.7"),
        lambda nb: nb.metadata.update(widgets={}),
        changed_cell(1, metadata={"execution": {"iopub.execute_input": "12:00"}}),
        changed_cell(1, metadata={"ExecuteTime": {"end_time": "12:00"}}),
        lambda nb: nb.cells[3].outputs[0].metadata.update({"image/png": {"width": 640}}),
    ],
    rules.ran_in_order: [
        changed_cell(1, execution_count=None),
        changed_cell(1, execution_count=7),
        lambda nb: nb.cells.append(nb.cells.pop(2)),
    ],
    rules.has_no_stderr: [changed_cell(2, outputs=[printed("2\n"), printed("a warning\n", name="stderr")])],
    rules.has_no_errors: [error],
    rules.has_plain_outputs: [
        shows(**{"application/vnd.jupyter.widget-view+json": {}}),
        shows(**{"image/svg+xml": "<svg/>"}),
        shows(**{"text/html": "<script>1</script>"}),
    ],
    rules.has_stable_outputs: [
        prints("<matplotlib.lines.Line2D at 0x7f3a5c1b9d90>"),
        *(prints(f"took {time}") for time in ("3.2 s", "15ms", "12 seconds")),
        *(prints(text) for text in ("120 it/s", " 40%|████      |", "running on cuda:0", "device: CPU")),
        *(prints(text) for text in ("D loss 0.69", "0.6931471824645996", "on 2026-01-31")),
    ],
    rules.compares_most_outputs: [
        lambda nb: [cell.update(outputs=[]) for _, cell in code_cells(nb) if not pictures(cell)],
        lambda nb: [nb.cells[i].metadata.update(TAGGED) for i in (2, 4)],
        lambda nb: [nb.cells[i].metadata.update(TAGGED) for i in range(1, 8)],
    ],
    rules.has_known_tags: [
        changed_cell(2, metadata={"tags": ["nbval-ignore-outputs"]}),
        code("# NBVAL_IGNORE_OUTPUT\nprint(2)"),
    ],
    rules.describes_figures: [
        changed_cell(3, metadata={"tags": ["hide-input"]}),
        *(figure(alt=alt) for alt in ("A curve.", f"An image of {ALT}")),
        *(figure(caption=caption) for caption in ("", ALT)),
        figure(name=""),
        changed_cell(3, outputs=[picture(), picture()]),
        says("![](picture.png)"),
    ],
    rules.has_small_pictures: [
        changed_cell(3, outputs=[picture(png(size=300_003))]),
        lambda nb: animated(nb, png(size=1_000_001, moving=True)),
        changed_cell(3, outputs=[picture(png(width=1_080))]),
    ],
    rules.tags_animations: [
        changed_cell(3, outputs=[picture(png(moving=True))]),
        lambda nb: nb.cells[3].metadata.tags.append("animation"),
    ],
    rules.names_no_local_path: [
        *(prints(text) for text in ("saved to /opt/someone/gan.png", "<ipykernel_123>")),
        *(code(text) for text in ("open('/data/mnist')", r"open(r'C:\mnist')")),
        says("Look into ~/books."),
    ],
    rules.is_plain_python: [
        code(text, place=1)
        for text in ("%matplotlib inline", "!pip list", "plt.plot(x);", "plt.plot(x);  # drawn\n")
    ],
    rules.trains_what_it_makes: [
        code("history = train(G, D2, data, noise)"),
        code("class Game:\n    def run(self):\n        train(self.G)\n\nGame(twin_G).run()"),
    ],
    rules.has_short_cells: [
        code("\n".join(f"a{n} = {n}" for n in range(11)), place=1),
        lambda nb: (code("x = 1", "hide-input", place=1)(nb), code("import math\n" * 11)(nb)),
        code("\n".join(f"a{n} = {n}" for n in range(26))),
        code(f"a = {'1' * 90}"),
        lambda nb: [cell.metadata.update(tags=["complete-program"]) for cell in nb.cells[4:6]],
    ],
    rules.has_ordered_headings: [
        changed_cell(0, source="Text first.\n\n# A title"),
        *(exercises("## Exercises", heading) for heading in ("# Exercises", "### Exercises")),
    ],
    rules.sets_formulas_apart: [says("So\n$$\nx = 1.\n$$"), says("$$\nx = 1.\n$$\n\nand\n$$\ny = 2.\n$$")],
    rules.has_exercises_with_hidden_solutions: [
        changed_cell(8, source="## Exercises"),
        exercises(":label: ex-one", ""),
        exercises("{solution} ex-one", "{solution} ex-two"),
        exercises(":class: dropdown", ""),
    ],
    rules.has_one_short_box: [
        lambda nb: nb.cells.pop(10),
        lambda nb: nb.cells.append(new_markdown_cell(BOX)),
        box(" dropdown", ""),
        box("[summary]", "[end]"),
        box("Two is", "Two is " * 80),
    ],
}


ALLOWS = {
    rules.has_no_errors: [
        lambda nb: (error(nb), nb.cells[2].metadata.update(tags=["raises-exception"])),
    ],
    rules.has_stable_outputs: [
        lambda nb: (prints("took 3 s")(nb), nb.cells[2].metadata.update(TAGGED)),
        prints("(16, 100, 1), 13 of 16 seeds, 2.5 sigma, 0.69, step 3 starts"),
    ],
    rules.has_small_pictures: [lambda nb: animated(nb, png(size=1_000_000, moving=True))],
    rules.tags_animations: [lambda nb: animated(nb, png(moving=True))],
    rules.compares_most_outputs: [lambda nb: nb.cells[2].metadata.update(TAGGED)],
    rules.names_no_local_path: [says("$a/b$, and/or, https://a.org/b/c, 1/2/3")],
    rules.has_short_cells: [
        code("x = 1\n" * 60, "hide-input", place=1),
        code("x = 1\n" * 60, "hide-input"),
        code("x = 1\n" * 60, "complete-program"),
    ],
    rules.is_plain_python: [code("a = 1; b = 2\n# done;", place=1)],
    rules.sets_formulas_apart: [says("So\n\n$$\nx = 1.\n$$ (one)\n\nand\n\n$$\ny = 2.\n$$")],
    rules.trains_what_it_makes: [
        code("G, D = made()\ntrain(G, D, lambda G: G(z))", place=1),
        code("def run(G):\n    train(G)\n\nG = made()\nrun(G)", place=1),
    ],
}


def cases(changes):
    pairs = [(rule, change) for rule, found in changes.items() for change in found]
    return pytest.mark.parametrize(("rule", "change"), pairs, ids=attrgetter("__name__"))


@cases({rule: BREAKS[rule] for rule in RULES})
def test_a_broken_notebook_breaks_this_rule_and_no_other(rule, change):
    notebook = good_notebook()
    change(notebook)
    assert [r.__name__ for r in RULES if r(notebook)] == [rule.__name__]


@cases(ALLOWS)
def test_what_the_rule_allows(rule, change):
    notebook = good_notebook()
    change(notebook)
    assert rule(notebook) == []


# The book itself.


CHAPTERS = sheets.notebooks()
load = cache(sheets.load)  # nothing below changes a notebook


def all_cells():
    return [cell for path in CHAPTERS for _, cell in code_cells(load(path))]


@pytest.mark.parametrize("rule", RULES, ids=attrgetter("__name__"))
@pytest.mark.parametrize("path", CHAPTERS, ids=attrgetter("stem"))
def test_notebook(path, rule):
    complaints = rule(load(path))
    assert not complaints, "\n".join(complaints)


def test_contents_and_folder_agree():
    """Every page in the folder is in _toc.yml and the other way round, and none is there twice."""
    found = [path for path in BOOK.rglob("*") if path.suffix in {".md", ".ipynb"}]
    found = [path for path in found if not {"_static", ".ipynb_checkpoints"} & set(path.parts)]
    assert sorted(sheets.pages()) == sorted(found)


def test_every_figure_has_a_name_of_its_own():
    names = [cell.metadata.mystnb.figure.name for cell in all_cells() if pictures(cell)]
    assert sorted(set(names)) == sorted(names)


@measured("notebooks", "each cell with text output, of all notebooks", fast=1, slow=1)
def test_most_outputs_are_compared(effort, reached):
    """Why the others are not is in the sheets, and on a page of the book."""
    printing = [cell for cell in all_cells() if texts(cell)]
    compared = [cell for cell in printing if "nbval-ignore-output" not in tags(cell)]
    assert len(compared) >= 0.8 * len(printing)
    reached(f"{len(compared)} of {len(printing)} are compared, and the others listed with the reason")


def test_pictures_shown_elsewhere_are_those_of_the_notebooks():
    found = {}
    for path in CHAPTERS:
        found |= runner.pictures(load(path))
    assert set(found) == set(runner.PICTURES.values()), "a figure was renamed: run make notebooks"
    for file, picture in found.items():
        assert file.read_bytes() == picture, f"{file.name} is old: run make notebooks"

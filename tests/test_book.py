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
    return new_output(
        "display_data", data={"image/png": data or png(), "text/plain": "<Figure size 840x432 with 1 Axes>"}
    )


def good_notebook():
    """A small notebook that keeps all rules."""
    described = {
        "image": {"alt": ALT},
        "figure": {"caption": "The answer of D along a line.", "name": "fig-answer"},
    }
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


def figure(**mystnb):
    metadata = {"tags": ["hide-input"], "mystnb": mystnb}
    return changed_cell(3, metadata=metadata)


def shows(**data):
    return changed_cell(2, outputs=[new_output("display_data", data={"text/plain": "x", **data})])


def error(notebook):
    notebook.cells[2].outputs = [new_output("error", ename="ValueError", evalue="no", traceback=[])]


def without_outputs(notebook):
    for _, cell in code_cells(notebook):
        if not pictures(cell):
            cell.outputs = []


def replaced(index, old, new):
    """A change that replaces a piece of one cell's source."""

    def change(notebook):
        assert old in notebook.cells[index].source
        notebook.cells[index].source = notebook.cells[index].source.replace(old, new)

    return change


def animated(notebook, data):
    notebook.cells[3].outputs = [picture(data)]
    notebook.cells[3].metadata.tags.append("animation")


def two_programs(notebook):
    for cell in notebook.cells[4:6]:
        cell.metadata.tags = ["complete-program"]


def long_imports_after_a_hidden_cell(notebook):
    notebook.cells[1].metadata.tags = ["hide-input"]
    notebook.cells[2].source = "import math\n" * 11


CAPTION = {"caption": "The answer of D along a line.", "name": "fig-answer"}
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
        shows(**{"image/svg+xml": "<svg/>"}),
        shows(**{"application/vnd.plotly.v1+json": {}}),
        shows(**{"application/vnd.jupyter.widget-view+json": {}}),
        shows(**{"text/html": "<script>1</script>"}),
    ],
    rules.has_stable_outputs: [
        prints(text)
        for text in (
            "<matplotlib.lines.Line2D at 0x7f3a5c1b9d90>",
            "took 3.2 s",
            "took 15ms",
            "12 seconds",
            "120 it/s",
            " 40%|████      |",
            "running on cuda:0",
            "device: CPU",
            "D loss 0.69",
            "0.6931471824645996",
            "on 2026-01-31",
        )  # fmt: skip
    ],
    rules.compares_most_outputs: [
        without_outputs,
        lambda nb: [nb.cells[i].metadata.update(TAGGED) for i in (2, 4)],
        lambda nb: [nb.cells[i].metadata.update(TAGGED) for i in range(1, 8)],
    ],
    rules.has_known_tags: [
        changed_cell(2, metadata={"tags": ["nbval-ignore-outputs"]}),
        changed_cell(2, metadata={"tags": ["remove-cell"]}),
        changed_cell(2, source="# NBVAL_IGNORE_OUTPUT\nprint(2)"),
    ],
    rules.describes_figures: [
        figure(),
        figure(figure=CAPTION),
        figure(image={"alt": "A curve."}, figure=CAPTION),
        figure(image={"alt": ALT}, figure={"caption": "", "name": "fig-answer"}),
        figure(image={"alt": ALT}, figure={"caption": ALT, "name": "fig-answer"}),
        figure(image={"alt": f"An image of {ALT}"}, figure=CAPTION),
        figure(image={"alt": ALT}, figure={"caption": CAPTION["caption"]}),
        changed_cell(3, outputs=[picture(), picture()]),
        changed_cell(0, source="# A title\n\n![](picture.png)"),
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
        prints("saved to /opt/someone/gan.png"),
        prints("<ipykernel_123>"),
        changed_cell(2, source="open('/data/mnist')"),
        changed_cell(2, source=r"open(r'C:\mnist')"),
        changed_cell(0, source="# A title\n\nLook into ~/books."),
    ],
    rules.is_plain_python: [
        changed_cell(1, source="%matplotlib inline"),
        changed_cell(1, source="!pip list"),
        changed_cell(1, source="plt.plot(x);"),
        changed_cell(1, source="plt.plot(x);  # drawn\n"),
    ],
    rules.trains_what_it_makes: [
        changed_cell(2, source="history = train(G, D2, data, noise)"),
        changed_cell(
            2, source="class Game:\n    def run(self):\n        train(self.G)\n\n\nGame(twin_G).run()"
        ),
    ],
    rules.has_short_cells: [
        changed_cell(1, source="\n".join(f"a{n} = {n}" for n in range(11))),
        long_imports_after_a_hidden_cell,
        changed_cell(2, source="\n".join(f"a{n} = {n}" for n in range(26))),
        changed_cell(2, source=f"a = {'1' * 90}"),
        two_programs,
    ],
    rules.has_ordered_headings: [
        changed_cell(0, source="Text first.\n\n# A title"),
        replaced(8, "## Exercises", "# Exercises"),
        replaced(8, "## Exercises", "### Exercises"),
    ],
    rules.has_exercises_with_hidden_solutions: [
        changed_cell(8, source="## Exercises"),
        replaced(8, ":label: ex-one", ""),
        replaced(8, "{solution} ex-one", "{solution} ex-two"),
        replaced(8, ":class: dropdown", ""),
    ],
}


@pytest.mark.parametrize("rule", RULES, ids=attrgetter("__name__"))
def test_a_good_notebook_keeps_the_rule(rule):
    assert rule(good_notebook()) == []


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        pytest.param(rule, change, id=f"{rule.__name__}-{n}")
        for rule in RULES
        for n, change in enumerate(BREAKS[rule])
    ],
)
def test_a_broken_notebook_breaks_this_rule_and_no_other(rule, change):
    notebook = good_notebook()
    change(notebook)
    assert [r.__name__ for r in RULES if r(notebook)] == [rule.__name__]


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        (rules.has_no_errors, lambda nb: (error(nb), nb.cells[2].metadata.update(tags=["raises-exception"]))),
        (rules.has_stable_outputs, lambda nb: (prints("took 3 s")(nb), nb.cells[2].metadata.update(TAGGED))),
        (rules.has_stable_outputs, prints("(16, 100, 1), 13 of 16 seeds, 2.5 sigma, 0.69, step 3 starts")),
        (rules.has_small_pictures, lambda nb: animated(nb, png(size=1_000_000, moving=True))),
        (rules.tags_animations, lambda nb: animated(nb, png(moving=True))),
        (rules.compares_most_outputs, lambda nb: nb.cells[2].metadata.update(TAGGED)),
        (
            rules.names_no_local_path,
            changed_cell(0, source="# A title\n\n$a/b$, and/or, https://a.org/b/c, 1/2/3"),
        ),
        (rules.has_short_cells, changed_cell(1, source="x = 1\n" * 60, metadata={"tags": ["hide-input"]})),
        (rules.has_short_cells, changed_cell(2, source="x = 1\n" * 60, metadata={"tags": ["hide-input"]})),
        (
            rules.has_short_cells,
            changed_cell(2, source="x = 1\n" * 60, metadata={"tags": ["complete-program"]}),
        ),
        (rules.is_plain_python, changed_cell(1, source="a = 1; b = 2\n# done;")),
        (rules.trains_what_it_makes, changed_cell(1, source="G, D = made()\ntrain(G, D, lambda G: G(z))")),
        (
            rules.trains_what_it_makes,
            changed_cell(1, source="def run(G):\n    train(G)\n\n\nG = made()\nrun(G)"),
        ),
    ],
)
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

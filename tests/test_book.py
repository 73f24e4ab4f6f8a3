"""The rules that every notebook of the book keeps, and for each rule a notebook that breaks it.

A rule is a function of one notebook that returns its complaints. The tests at the end apply each rule to
each notebook of _toc.yml. The tests before them prove that each rule complains when it should: a rule that
cannot fail protects nothing.
"""

import ast
import base64
import copy
import io
import re
import struct
import tokenize
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.reliability import measured
from tools import notebooks as runner
from tools import sheets

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"

KNOWN_TAGS = {
    "animation",  # the page gives it a button to play it again
    "complete-program",  # a program shown whole, of any length
    "full-width",
    "hide-cell",
    "hide-input",
    "hide-output",
    "margin",
    "nbval-check-output",
    "nbval-ignore-output",
    "raises-exception",
}
PLAIN_OUTPUTS = {"image/png", "text/html", "text/latex", "text/markdown", "text/plain"}
MAX_SETUP_LINES = 10
MAX_CELL_LINES = 25
MAX_LINE_LENGTH = 88
MAX_IGNORED = 0.2
ALT_LENGTH = range(30, 401)
CAPTION_LENGTH = range(15, 401)
MAX_PICTURE = 400_000  # bytes of base64
MAX_ANIMATION = 1_000_000  # bytes of the file
MAX_WIDTH = 900  # pixels: 7 inches, which a phone shows with letters that can be read, and a margin

# What differs between machines and runs, and so has no place in an output that is compared.
UNSTABLE = {
    "an address": r"\b0x[0-9a-f]{6,}",
    "a time": r"(?<![\w.])\d+(\.\d+)?\s?(ns|us|µs|ms|s|sec|secs|seconds?|minutes?|hours?)\b",
    "a rate": r"\b(it/s|s/it|steps/s|samples/s)\b",
    "a progress bar": r"\d%\||[█▏▎▍▌▋▊▉]",
    "a device": r"(?i)\b(cuda|cpu|gpu|mps|xpu)\b(?!-)",
    "a raw loss": r"(?i)\bloss(es)?\b[^\n]*\d\.\d{2,}",
    "a raw number": r"\d\.\d{5,}",
    "a date": r"\b20\d\d-\d\d-\d\d\b",
}
LOCAL_PATH = r"(?<![\w:/.~<])(/[A-Za-z_.][\w.+-]*){2,}|\b[A-Za-z]:\\\w|~/\w|ipykernel_\d+"
DIRECTIVE = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{(?P<kind>[\w:-]+)\}(?P<argument>[^\n]*)\n(?P<body>.*?)^(?P=fence)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)


def code_cells(notebook):
    """The code cells that hold code, with their place in the notebook."""
    return [(i, c) for i, c in enumerate(notebook.cells) if c.cell_type == "code" and c.source.strip()]


def markdown_cells(notebook):
    return [(i, c) for i, c in enumerate(notebook.cells) if c.cell_type == "markdown"]


def tags(cell):
    return set(cell.metadata.get("tags", ()))


def texts(cell):
    """What a cell's outputs say in words, as nbval compares it; a figure's repr says nothing."""
    found = []
    for output in cell.outputs:
        if output.output_type == "stream":
            found.append(output.text)
        for kind, value in output.get("data", {}).items():
            if kind.startswith("text/") and "image/png" not in output.data:
                found.append(value)
    return found


def pictures(cell):
    return [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]


def moves(picture):
    """Whether a PNG is an animated one."""
    return b"acTL" in base64.b64decode(picture)


def width(picture):
    """The width of a PNG in pixels; its header begins with it."""
    return struct.unpack(">I", base64.b64decode(picture)[16:20])[0]


def lines(source):
    return [line for line in source.splitlines() if line.strip()]


def directives(notebook):
    """The directives of the text, as (kind, argument, options)."""
    found = []
    for _, cell in markdown_cells(notebook):
        for match in DIRECTIVE.finditer(cell.source):
            options = dict(re.findall(r"^:([\w-]+):[ \t]*(.*)$", match["body"], re.MULTILINE))
            found.append((match["kind"], match["argument"].strip(), options))
    return found


# The rules.


def is_valid(notebook):
    """The file keeps the notebook format, and each cell has an id of its own."""
    ids = [cell.get("id") for cell in notebook.cells]
    if None in ids or len(set(ids)) != len(ids):
        return ["cells without an id of their own"]
    try:
        nbformat.validate(copy.deepcopy(notebook))
    except nbformat.ValidationError as error:
        return [f"not a valid notebook: {error.message}"]
    return []


def is_as_make_notebooks_leaves_it(notebook):
    """Kernel python3, and no versions, times, widget states or editor's notes."""
    tidy = runner.tidied(notebook)
    complaints = []
    if notebook.metadata != tidy.metadata:
        complaints.append(
            f"metadata {dict(notebook.metadata)}, not {dict(tidy.metadata)}: run make notebooks"
        )
    for i, (cell, clean) in enumerate(zip(notebook.cells, tidy.cells, strict=True)):
        if cell != clean:
            complaints.append(f"cell {i} holds metadata that make notebooks removes")
    return complaints


def ran_in_order(notebook):
    """Every cell has run, once, from top to bottom."""
    counts = [cell.execution_count for _, cell in code_cells(notebook)]
    return [] if counts == list(range(1, len(counts) + 1)) else [f"executed as {counts}: run make notebooks"]


def has_no_stderr(notebook):
    """No warning and no log line is stored."""
    return [
        f"cell {i} stores stderr: {output.text[:80]!r}"
        for i, cell in code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stderr"
    ]


def has_no_errors(notebook):
    """No exception is stored, but where the text wants to show one."""
    return [
        f"cell {i} stores {output.ename} and is not tagged raises-exception"
        for i, cell in code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "error" and "raises-exception" not in tags(cell)
    ]


def has_plain_outputs(notebook):
    """Outputs are text or PNG: no SVG, scripts, widgets or plotting libraries' own formats."""
    complaints = []
    for i, cell in code_cells(notebook):
        for output in cell.outputs:
            strange = set(output.get("data", {})) - PLAIN_OUTPUTS
            if strange:
                complaints.append(f"cell {i} has outputs of type {sorted(strange)}")
            if re.search(r"<(script|video|iframe|svg)", output.get("data", {}).get("text/html", "")):
                complaints.append(f"cell {i} has HTML that is more than text")
    return complaints


def has_stable_outputs(notebook):
    """What nbval compares is the same on every machine, at every speed, with every seed."""
    return [
        f"cell {i} prints {what}, and its output is compared: {match[0]!r}"
        for i, cell in code_cells(notebook)
        if "nbval-ignore-output" not in tags(cell)
        for text in texts(cell)
        for what, pattern in UNSTABLE.items()
        for match in re.finditer(pattern, text)
    ]


def compares_most_outputs(notebook):
    """At least one output is compared, and at most a fifth of them is not."""
    with_text = [c for _, c in code_cells(notebook) if texts(c) or "nbval-ignore-output" in tags(c)]
    ignored = [c for c in with_text if "nbval-ignore-output" in tags(c)]
    if len(ignored) == len(with_text):
        return ["no output is compared: the notebook passes whatever it prints"]
    if len(ignored) > MAX_IGNORED * len(with_text):
        return [f"{len(ignored)} of {len(with_text)} cells with text are tagged nbval-ignore-output"]
    return []


def has_known_tags(notebook):
    """A mistyped tag does nothing and says nothing. The comments that nbval also reads are not used."""
    complaints = [
        f"cell {i} has unknown tags: {sorted(tags(cell) - KNOWN_TAGS)}"
        for i, cell in enumerate(notebook.cells)
        if tags(cell) - KNOWN_TAGS
    ]
    for i, cell in code_cells(notebook):
        if re.search(r"#.*(NBVAL_|PYTEST_VALIDATE_)", cell.source):
            complaints.append(f"cell {i} steers nbval by a comment: use a tag")
    return complaints


def describes_figures(notebook):
    """A figure has a text for those who cannot see it, and a caption that is another text."""
    complaints = []
    for i, cell in code_cells(notebook):
        if not pictures(cell):
            continue
        if len(pictures(cell)) > 1:
            complaints.append(
                f"cell {i} draws {len(pictures(cell))} figures: they cannot be described one by one"
            )
        mystnb = cell.metadata.get("mystnb", {})
        alt = mystnb.get("image", {}).get("alt", "").strip()
        caption = mystnb.get("figure", {}).get("caption", "").strip()
        if len(alt) not in ALT_LENGTH:
            complaints.append(f"cell {i}: mystnb.image.alt has {len(alt)} letters")
        if len(caption) not in CAPTION_LENGTH:
            complaints.append(f"cell {i}: mystnb.figure.caption has {len(caption)} letters")
        if alt and alt == caption:
            complaints.append(f"cell {i}: the alt text repeats the caption")
        if re.match(r"(?i)(an?|the)?\s*(image|picture|figure)\b", alt):
            complaints.append(f"cell {i}: the alt text says that it is a picture, not what is in it")
        if not re.fullmatch(r"fig-[a-z0-9-]+", mystnb.get("figure", {}).get("name", "")):
            complaints.append(f"cell {i}: mystnb.figure.name is not of the form fig-something")
    for i, cell in markdown_cells(notebook):
        if re.search(r"!\[\s*\]\(", cell.source):
            complaints.append(f"cell {i} has a picture without alt text")
    return complaints


def has_small_pictures(notebook):
    """A page loads fast, the repository stays small, and a phone shows the letters large enough."""
    complaints = []
    for i, cell in code_cells(notebook):
        for picture in pictures(cell):
            if not moves(picture) and len(picture) > MAX_PICTURE:
                complaints.append(f"cell {i} stores a picture of {len(picture):,} bytes: rasterise less")
            if moves(picture) and len(base64.b64decode(picture)) > MAX_ANIMATION:
                complaints.append(f"cell {i} stores an animation of over a megabyte: fewer frames or colours")
            if width(picture) > MAX_WIDTH:
                complaints.append(f"cell {i} is {width(picture)} pixels wide: 7 inches are enough")
    return complaints


def tags_animations(notebook):
    """What moves is tagged, for the page gives readers a button to play it again; nothing else is."""
    return [
        f"cell {i} is {'not ' * moving}tagged animation and {'moves' if moving else 'stands still'}"
        for i, cell in code_cells(notebook)
        for moving in [any(map(moves, pictures(cell)))]
        if moving != ("animation" in tags(cell))
    ]


def names_no_local_path(notebook):
    """Nothing points into the machine on which the notebook was written."""
    complaints = []
    for i, cell in enumerate(notebook.cells):
        for text in (cell.source, *(texts(cell) if cell.cell_type == "code" else ())):
            complaints += [f"cell {i} names the path {match[0]!r}" for match in re.finditer(LOCAL_PATH, text)]
    return complaints


def parses(source):
    try:
        return bool(ast.parse(source))
    except SyntaxError:
        return False


def is_plain_python(notebook):
    """No magics, no shell, and no semicolon at the end, which nbval does not honour."""
    complaints = []
    for i, cell in code_cells(notebook):
        if not parses(cell.source):
            complaints.append(f"cell {i} is not plain Python")
            continue
        words = [t.string for t in tokenize.generate_tokens(io.StringIO(cell.source).readline)]
        if [word for word in words if word.strip() and not word.startswith("#")][-1:] == [";"]:
            complaints.append(f"cell {i} ends with a semicolon: end with plt.show() or assign to _")
    return complaints


def has_short_cells(notebook):
    """A cell is read at a glance: short setup, short cells, lines that fit the page."""
    complaints = []
    cells = code_cells(notebook)
    shown = [cell for _, cell in cells if not tags(cell) & {"hide-input", "hide-cell"}]
    if shown and len(lines(shown[0].source)) > MAX_SETUP_LINES:
        complaints.append(f"the setup has more than {MAX_SETUP_LINES} lines")
    for i, cell in cells:
        hidden = tags(cell) & {"hide-input", "hide-cell", "complete-program"}
        if not hidden and len(lines(cell.source)) > MAX_CELL_LINES:
            complaints.append(f"cell {i} has {len(lines(cell.source))} lines: split it, or hide a bulky plot")
        if any(len(line) > MAX_LINE_LENGTH for line in cell.source.splitlines()):
            complaints.append(f"cell {i} has a line of more than {MAX_LINE_LENGTH} letters")
    if sum("complete-program" in tags(cell) for _, cell in cells) > 1:
        complaints.append("more than one cell is tagged complete-program")
    return complaints


def has_ordered_headings(notebook):
    """The title comes first and is the only one; below it no level is left out."""
    found = []
    for _, cell in markdown_cells(notebook):
        text = re.sub(r"^(`{3,}|:{3,}).*?^\1[ \t]*$", "", cell.source, flags=re.MULTILINE | re.DOTALL)
        found += [len(match[1]) for match in re.finditer(r"^(#{1,6}) \S", text, re.MULTILINE)]
    first = notebook.cells[0].source if notebook.cells else ""
    if not first.startswith("# ") or found.count(1) != 1:
        return ["the first cell must begin with the title, the only heading of level 1"]
    skipped = any(b > a + 1 for a, b in zip(found, found[1:], strict=False))
    return ["a level of headings is left out"] if skipped else []


def has_exercises_with_hidden_solutions(notebook):
    """There are exercises, and each has a solution that stays closed until it is asked for."""
    found = directives(notebook)
    exercises = [o.get("label", "") for kind, _, o in found if kind in ("exercise", "exercise-start")]
    solutions = {a: o for kind, a, o in found if kind in ("solution", "solution-start")}
    if not exercises:
        return ["there is no exercise"]
    complaints = [] if all(exercises) else ["an exercise has no label"]
    complaints += [
        f"exercise {label} has no solution" for label in exercises if label and label not in solutions
    ]
    complaints += [
        f"the solution of {label} is not hidden: it wants :class: dropdown"
        for label, options in solutions.items()
        if "dropdown" not in options.get("class", "")
    ]
    return complaints


NETWORK = re.compile(r"(\w+_)?[GD]\d?")
TRAINS = {"train", "step"}  # what trains in itself; step is an optimiser's


def calls(*statements):
    """The calls in statements, by the name of the function, without what stands before its last dot."""
    nodes = [node for statement in statements for node in ast.walk(statement)]
    found = [node for node in nodes if isinstance(node, ast.Call)]
    return [(getattr(node.func, "attr", getattr(node.func, "id", None)), node) for node in found]


def trains_what_it_makes(notebook):
    """A cell that trains also makes the networks, so that it can be run again."""
    training, complaints = set(TRAINS), []
    for i, cell in code_cells(notebook):
        statements = ast.parse(cell.source).body if parses(cell.source) else []
        defined = [one for one in statements if isinstance(one, ast.FunctionDef | ast.ClassDef)]
        training |= {one.name for one in defined if training & {name for name, _ in calls(one)}}
        others = [one for one in statements if one not in defined]
        names = [node for s in others for node in ast.walk(s) if isinstance(node, ast.Name)]
        made = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        given = {
            argument.id
            for name, call in calls(*others)
            for argument in call.args
            if name in training and isinstance(argument, ast.Name) and NETWORK.fullmatch(argument.id)
        }
        if given - made:
            complaints.append(
                f"cell {i} trains {', '.join(sorted(given - made))}, which another cell has made"
            )
    return complaints


RULES = [
    is_valid,
    is_as_make_notebooks_leaves_it,
    ran_in_order,
    has_no_stderr,
    has_no_errors,
    has_plain_outputs,
    has_stable_outputs,
    compares_most_outputs,
    has_known_tags,
    describes_figures,
    has_small_pictures,
    tags_animations,
    names_no_local_path,
    is_plain_python,
    trains_what_it_makes,
    has_short_cells,
    has_ordered_headings,
    has_exercises_with_hidden_solutions,
]


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
    is_valid: [changed_cell(1, id="not an id!"), lambda nb: nb.cells[2].update(id=nb.cells[1].id)],
    is_as_make_notebooks_leaves_it: [
        lambda nb: nb.metadata.kernelspec.update(name="gan"),
        lambda nb: nb.metadata.language_info.update(version="3.11.7"),
        lambda nb: nb.metadata.update(widgets={}),
        changed_cell(1, metadata={"execution": {"iopub.execute_input": "12:00"}}),
        changed_cell(1, metadata={"ExecuteTime": {"end_time": "12:00"}}),
        lambda nb: nb.cells[3].outputs[0].metadata.update({"image/png": {"width": 640}}),
    ],
    ran_in_order: [
        changed_cell(1, execution_count=None),
        changed_cell(1, execution_count=7),
        lambda nb: nb.cells.append(nb.cells.pop(2)),
    ],
    has_no_stderr: [changed_cell(2, outputs=[printed("2\n"), printed("a warning\n", name="stderr")])],
    has_no_errors: [error],
    has_plain_outputs: [
        shows(**{"image/svg+xml": "<svg/>"}),
        shows(**{"application/vnd.plotly.v1+json": {}}),
        shows(**{"application/vnd.jupyter.widget-view+json": {}}),
        shows(**{"text/html": "<script>1</script>"}),
    ],
    has_stable_outputs: [
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
        )
    ],
    compares_most_outputs: [
        without_outputs,
        lambda nb: [nb.cells[i].metadata.update(TAGGED) for i in (2, 4)],
        lambda nb: [nb.cells[i].metadata.update(TAGGED) for i in range(1, 8)],
    ],
    has_known_tags: [
        changed_cell(2, metadata={"tags": ["nbval-ignore-outputs"]}),
        changed_cell(2, metadata={"tags": ["remove-cell"]}),
        changed_cell(2, source="# NBVAL_IGNORE_OUTPUT\nprint(2)"),
    ],
    describes_figures: [
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
    has_small_pictures: [
        changed_cell(3, outputs=[picture(png(size=300_003))]),
        lambda nb: animated(nb, png(size=1_000_001, moving=True)),
        changed_cell(3, outputs=[picture(png(width=1_080))]),
    ],
    tags_animations: [
        changed_cell(3, outputs=[picture(png(moving=True))]),
        lambda nb: nb.cells[3].metadata.tags.append("animation"),
    ],
    names_no_local_path: [
        prints("saved to /opt/someone/gan.png"),
        prints("<ipykernel_123>"),
        changed_cell(2, source="open('/data/mnist')"),
        changed_cell(2, source=r"open(r'C:\mnist')"),
        changed_cell(0, source="# A title\n\nLook into ~/books."),
    ],
    is_plain_python: [
        changed_cell(1, source="%matplotlib inline"),
        changed_cell(1, source="!pip list"),
        changed_cell(1, source="plt.plot(x);"),
        changed_cell(1, source="plt.plot(x);  # drawn\n"),
    ],
    trains_what_it_makes: [
        changed_cell(2, source="history = train(G, D2, data, noise)"),
        changed_cell(
            2, source="class Game:\n    def run(self):\n        train(self.G)\n\n\nGame(twin_G).run()"
        ),
    ],
    has_short_cells: [
        changed_cell(1, source="\n".join(f"a{n} = {n}" for n in range(11))),
        long_imports_after_a_hidden_cell,
        changed_cell(2, source="\n".join(f"a{n} = {n}" for n in range(26))),
        changed_cell(2, source=f"a = {'1' * 90}"),
        two_programs,
    ],
    has_ordered_headings: [
        changed_cell(0, source="Text first.\n\n# A title"),
        replaced(8, "## Exercises", "# Exercises"),
        replaced(8, "## Exercises", "### Exercises"),
    ],
    has_exercises_with_hidden_solutions: [
        changed_cell(8, source="## Exercises"),
        replaced(8, ":label: ex-one", ""),
        replaced(8, "{solution} ex-one", "{solution} ex-two"),
        replaced(8, ":class: dropdown", ""),
    ],
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
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
        (has_no_errors, lambda nb: (error(nb), nb.cells[2].metadata.update(tags=["raises-exception"]))),
        (has_stable_outputs, lambda nb: (prints("took 3 s")(nb), nb.cells[2].metadata.update(TAGGED))),
        (has_stable_outputs, prints("(16, 100, 1), 13 of 16 seeds, 2.5 sigma, 0.69, step 3 starts")),
        (has_small_pictures, lambda nb: animated(nb, png(size=1_000_000, moving=True))),
        (tags_animations, lambda nb: animated(nb, png(moving=True))),
        (compares_most_outputs, lambda nb: nb.cells[2].metadata.update(TAGGED)),
        (names_no_local_path, changed_cell(0, source="# A title\n\n$a/b$, and/or, https://a.org/b/c, 1/2/3")),
        (has_short_cells, changed_cell(1, source="x = 1\n" * 60, metadata={"tags": ["hide-input"]})),
        (has_short_cells, changed_cell(2, source="x = 1\n" * 60, metadata={"tags": ["hide-input"]})),
        (has_short_cells, changed_cell(2, source="x = 1\n" * 60, metadata={"tags": ["complete-program"]})),
        (is_plain_python, changed_cell(1, source="a = 1; b = 2\n# done;")),
        (trains_what_it_makes, changed_cell(1, source="G, D = made()\ntrain(G, D, lambda G: G(z))")),
        (trains_what_it_makes, changed_cell(1, source="def run(G):\n    train(G)\n\n\nG = made()\nrun(G)")),
    ],
)
def test_what_the_rule_allows(rule, change):
    notebook = good_notebook()
    change(notebook)
    assert rule(notebook) == []


# The book itself.


def notebook_files():
    try:
        return runner.notebooks()
    except FileNotFoundError:  # test_contents_and_folder_agree says which page is missing
        return [path for path in sorted(BOOK.glob("*.ipynb"))]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", notebook_files(), ids=lambda path: path.stem)
def test_notebook(path, rule):
    """Every notebook of the book keeps every rule."""
    complaints = rule(nbformat.read(path, as_version=4))
    assert not complaints, "\n".join(complaints)


def test_contents_and_folder_agree():
    """Every page in the folder is in _toc.yml and the other way round, and none is there twice."""
    listed = sheets.pages()
    assert sorted(listed) == sorted({*BOOK.rglob("*.md"), *BOOK.rglob("*.ipynb")} - unlisted())


def unlisted():
    """Files in the book's folder that are no pages."""
    return {p for p in BOOK.rglob("*") if "_static" in p.parts or ".ipynb_checkpoints" in p.parts}


def test_every_figure_has_a_name_of_its_own():
    names = [
        cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
        for path in notebook_files()
        for _, cell in code_cells(nbformat.read(path, as_version=4))
        if pictures(cell)
    ]
    assert sorted(set(names)) == sorted(names)


@measured("notebooks", "each cell with text output, of all notebooks", fast=1, slow=1)
def test_most_outputs_are_compared(effort, reached):
    """Why the others are not is in the sheets, and on a page of the book."""
    cells = {
        (path.stem, cell.id): cell
        for path in notebook_files()
        for _, cell in code_cells(nbformat.read(path, as_version=4))
    }
    ignored = {place for place, cell in cells.items() if "nbval-ignore-output" in tags(cell)}
    printing = {place for place, cell in cells.items() if texts(cell)}
    compared = printing - ignored
    assert len(compared) >= 0.8 * len(printing)
    reached(f"{len(compared)} of {len(printing)} are compared, and the others listed with the reason")


def test_pictures_shown_elsewhere_are_those_of_the_notebooks():
    found = {}
    for path in runner.notebooks():
        found |= runner.pictures(nbformat.read(path, as_version=4))
    assert set(found) == set(runner.PICTURES.values()), "a figure was renamed: run make notebooks"
    for file, picture in found.items():
        assert file.read_bytes() == picture, f"{file.name} is old: run make notebooks"

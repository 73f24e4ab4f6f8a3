"""The rules that every notebook of the book keeps.

Usage: python -m tools.rules [NOTEBOOK ...]

A rule is a function of one notebook that returns its complaints. `make test` applies all of them to all
chapters, and proves for each one that it complains when it should: a rule that cannot fail protects nothing.
"""

from __future__ import annotations

import ast
import base64
import copy
import io
import re
import struct
import sys
import tokenize
from pathlib import Path

import nbformat

from tools.notebooks import tidied
from tools.sheets import ALT_LENGTH, ROOT, load, notebooks

#: Two are our own: an animation gets a button to play it again, a complete program is shown whole.
KNOWN_TAGS = {
    "animation", "complete-program", "full-width", "hide-cell", "hide-input", "hide-output", "margin",
    "nbval-check-output", "nbval-ignore-output", "raises-exception",
}  # fmt: skip
PLAIN_OUTPUTS = {"image/png", "text/html", "text/latex", "text/markdown", "text/plain"}
MAX_SETUP_LINES = 10
MAX_CELL_LINES = 25
MAX_LINE_LENGTH = 88
MAX_IGNORED = 0.2
CAPTION_LENGTH = range(15, 401)
MAX_PICTURE = 400_000  # bytes of base64
MAX_ANIMATION = 1_000_000  # bytes of the file
MAX_WIDTH = 900  # pixels: 7 inches, which a phone shows with letters that can be read, and a margin

# What nbval leaves out when it compares, as pairs of a pattern and what comes in its place.
LEFT_OUT = re.findall(
    r"^regex: (.*)\nreplace: (.*)$", (ROOT / "tests" / "sanitise.cfg").read_text(encoding="utf-8"), re.M
)

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
    """Return the cells of text, with their place in the notebook."""
    return [(i, c) for i, c in enumerate(notebook.cells) if c.cell_type == "markdown"]


def tags(cell):
    """Return the tags of a cell."""
    return set(cell.metadata.get("tags", ()))


def texts(cell):
    """What a cell's outputs say in words, as nbval compares it; a figure's repr says nothing."""
    found = []
    for output in cell.outputs:
        if output.output_type == "stream":
            found.append(sanitised(output.text))
        for kind, value in output.get("data", {}).items():
            if kind.startswith("text/") and "image/png" not in output.data:
                found.append(value)
    return found


def sanitised(text):
    """Return a text without what nbval leaves out."""
    for pattern, replacement in LEFT_OUT:
        text = re.sub(pattern, replacement, text)
    return text


def pictures(cell):
    """Return the pictures that a cell has drawn, as base64."""
    return [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]


def moves(picture):
    """Whether a PNG is an animated one."""
    return b"acTL" in base64.b64decode(picture)


def width(picture):
    """The width of a PNG in pixels; its header begins with it."""
    return struct.unpack(">I", base64.b64decode(picture)[16:20])[0]


def lines(source):
    """Return the lines that hold something."""
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
    tidy = tidied(notebook)
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
    """Return whether a cell is Python."""
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


def sets_formulas_apart(notebook):
    """An empty line comes before a formula of its own, or a theorem around it shows the formula as text."""
    complaints = []
    for i, cell in markdown_cells(notebook):
        found = ["", *cell.source.splitlines()]
        fences = [n for n, line in enumerate(found) if line.startswith("$$")]
        complaints += [
            f"cell {i} has no empty line before a formula, after {found[n - 1]!r}"
            for n in fences[::2]
            if found[n - 1].strip()
        ]
    return complaints


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


BOX = "In short, for a first reading"
LONGEST_BOX = 130  # words


def has_one_short_box(notebook):
    """One folded box says in short what comes of all this, and leads first readers on to the summary."""
    boxes = [cell.source for _, cell in markdown_cells(notebook) if BOX in cell.source]
    if len(boxes) != 1:
        return [f"there are {len(boxes)} boxes with the title {BOX!r}, not one"]
    complaints = [] if len(boxes[0].split()) <= LONGEST_BOX else [f"the box has over {LONGEST_BOX} words"]
    wanted = (":class: tip dropdown", "On a first reading, go on at the [summary](#summary)")
    return complaints + [f"the box lacks {words!r}" for words in wanted if words not in boxes[0]]


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
    sets_formulas_apart,
    has_exercises_with_hidden_solutions,
    has_one_short_box,
]


def main(arguments: list[str]) -> int:
    """Apply the rules to the notebooks named, or to all, and say what is wrong."""
    found = [
        f"{path.name}: {complaint}"
        for path in map(Path, arguments or notebooks())
        for rule in RULES
        for complaint in rule(load(path))
    ]
    print("\n".join(found) or "All rules are kept.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

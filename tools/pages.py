"""What the pages say of each chapter, made from the sheets and the table of contents."""

from __future__ import annotations

import re

from nbformat import NotebookNode

WORDS_PER_MINUTE = 200
LINES_PER_MINUTE = 12  # of code that is read, not skimmed


def minutes_to_read(notebook: NotebookNode) -> float:
    """Return how long a chapter takes: its words, and the lines of code that it shows."""
    text = " ".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    code = [
        line
        for cell in notebook.cells
        if cell.cell_type == "code" and not {"hide-input", "hide-cell"} & set(cell.metadata.get("tags", ()))
        for line in cell.source.splitlines()
        if line.strip()
    ]
    return len(re.findall(r"\w[\w'-]*", text)) / WORDS_PER_MINUTE + len(code) / LINES_PER_MINUTE

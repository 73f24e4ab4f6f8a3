"""How long a chapter is: the minutes to read it, and those that `make notebooks` measured to run it."""

from __future__ import annotations

import csv
import re

from nbformat import NotebookNode

from tools.sheets import BOOK

MEASURED = BOOK / "minutes.csv"
WORDS_PER_MINUTE = 200
LINES_PER_MINUTE = 12  # of code that is read, not skimmed


def to_read(notebook: NotebookNode) -> float:
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


def to_run() -> dict[str, float]:
    """Return how long each chapter ran when its outputs were stored."""
    if not MEASURED.exists():
        return {}
    with MEASURED.open(encoding="utf-8", newline="") as file:
        return {row["chapter"]: float(row["minutes"]) for row in csv.DictReader(file)}


def store(chapter: str, seconds: float) -> None:
    """Keep how long a chapter ran, to the half minute."""
    kept = to_run() | {chapter: max(1, round(seconds / 30)) / 2}
    lines = [f"{name},{minutes}\n" for name, minutes in sorted(kept.items())]
    MEASURED.write_text("chapter,minutes\n" + "".join(lines), encoding="utf-8", newline="\n")

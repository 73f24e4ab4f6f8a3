"""Run the book's notebooks afresh and store their outputs in place.

Usage: python -m tools.notebooks [NOTEBOOK ...]

Without arguments, all notebooks of _toc.yml are run, in its order. A notebook whose run fails, or that
needs what this system cannot have, is left as it was. What is stored depends on the notebook alone: no
times, no versions, no names of the machine.
"""

from __future__ import annotations

import base64
import copy
import importlib
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from tools import minutes, surroundings
from tools.sheets import ROOT, notebooks, read

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_METADATA = {"mystnb", "tags"}
PICTURES = {"fig-side-by-side": ROOT / "book" / "_static" / "original-and-repaired.png"}  # for the README


def obstacle(path: Path) -> str | None:
    """Return in a sentence why a notebook cannot run on this system, or None if it can."""
    if not path.with_suffix(".toml").exists():
        return None  # a notebook of the reader's own
    needs = {name: need.module for name, need in read(path).needs.items() if need.module}
    for name, module in needs.items():
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            return str(error)
    return None


def tidied(notebook: NotebookNode) -> NotebookNode:
    """Return a copy without what depends on the machine, the moment or the editor."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in CELL_METADATA})
        for output in cell.get("outputs", ()):
            if "metadata" in output:
                output.metadata = NotebookNode()
    return notebook


def written(notebook: NotebookNode) -> str:
    """Return the file's text: keys in alphabetical order, lists of lines, a newline at the end."""
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def run(path: Path) -> NotebookNode:
    """Run a notebook from a clean state in its own folder, and return it with its outputs.

    Raises:
        CellExecutionError: if a cell raises that is not tagged ``raises-exception``.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=None,
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    return tidied(notebook)


def pictures(notebook: NotebookNode) -> dict[Path, bytes]:
    """Return the figures of a notebook that are also shown elsewhere, by the file that they go to."""
    found = {}
    for cell in notebook.cells:
        file = PICTURES.get(cell.metadata.get("mystnb", {}).get("figure", {}).get("name"))
        for output in cell.get("outputs", ()) if file else ():
            found[file] = base64.b64decode(output.data["image/png"])
    return found


def main(arguments: list[str]) -> int:
    """Run the notebooks named, or all, and say what became of each."""
    os.chdir(ROOT)
    surroundings.settle()
    for path in [Path(name).resolve() for name in arguments] or notebooks():
        print(f"{path.relative_to(ROOT)} ...", end=" ", flush=True)
        if reason := obstacle(path):
            print(f"left as it was: {reason}")
            continue
        start = time.monotonic()
        try:
            notebook = run(path)
        except CellExecutionError as error:
            print(f"failed, and is left as it was.\n{error}")
            return 1
        text = written(notebook)
        changed = text != path.read_text(encoding="utf-8")
        if changed:
            path.write_text(text, encoding="utf-8", newline="\n")
        for file, picture in pictures(notebook).items():
            file.write_bytes(picture)
        seconds = time.monotonic() - start
        if path in notebooks():
            minutes.store(path.stem, seconds)
        print(f"{'stored' if changed else 'unchanged'}, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

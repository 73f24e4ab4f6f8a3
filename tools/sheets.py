"""Reads the table of contents, and the sheets: what pages and tests need to know of each chapter.

A chapter is a notebook that `_toc.yml` lists. Its sheet is the file `book/NAME.toml` beside it;
CONTRIBUTING.md says what each part of it is. A sheet that is wrong is refused in a sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import nbformat
import tomllib
import yaml
from nbformat import NotebookNode
from packaging.requirements import InvalidRequirement, Requirement

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
ALT_LENGTH = range(30, 401)
TABLES = ("thumbnail", "needs", "uncompared", "claims")
WHOLE = [0.0, 0.0, 1.0, 1.0]


class SheetError(ValueError):
    """A sheet that cannot be used; the sentence names the file and what is wrong."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """A package that a chapter needs beside `gan_helpers`.

    Args:
        requirement: as pip takes it, with a marker if some systems cannot have it.
        options: more arguments for pip.
        module: what is imported to see whether it is there, for one that some systems cannot have.
    """

    requirement: str
    options: str = ""
    module: str = ""

    def for_pip(self) -> str:
        """Return the arguments of pip, without the marker: the setup cell asks for it anywhere."""
        return f"{self.options} {self.requirement.split(';')[0]}".strip()


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """The figure that says most about a chapter at the size of a stamp.

    Args:
        figure: its name in the notebook.
        alt: the text for those who cannot see it.
        box: the part of it to show: left, top, right and bottom as shares of its size.
    """

    figure: str
    alt: str
    box: list[float] = field(default_factory=lambda: list(WHOLE))


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What pages and tests need to know of a chapter.

    Args:
        name: its notebook, without folder and ending.
        recreates: what, in a few words.
        framework: in which library.
        blurb: a sentence for its card.
        recipes: the heading of its recipes in the reference.
        title: on its card, if the heading of the chapter is too long for it.
        thumbnail: the picture on its card.
        needs: packages that it installs, by name.
        uncompared: cells whose output is not compared, and why.
        claims: what each claim rests on, see `tools/claims.py`.
        rates: what counts as a success of which recipe.
        threads: with how many its networks learn fastest where they are too small for all; 0 for all.
        replay: the cells that lead up to the claims that rest on a replay.
    """

    name: str
    recreates: str
    framework: str
    blurb: str
    recipes: str
    thumbnail: Thumbnail
    title: str = ""
    needs: dict[str, Need] = field(default_factory=dict)
    uncompared: dict[str, str] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    rates: list[dict[str, Any]] = field(default_factory=list)
    threads: int = 0
    replay: list[str] = field(default_factory=list)


def pages(root: Path = ROOT) -> list[Path]:
    """Return the files of all pages in _toc.yml, in its order."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    found = [toc["root"]]

    def walk(node: dict) -> None:
        for child in (*node.get("parts", ()), *node.get("chapters", ()), *node.get("sections", ())):
            if "file" in child:
                found.append(child["file"])
            walk(child)

    walk(toc)
    files = []
    for name in found:
        candidates = [root / f"{name}{ending}" for ending in (".ipynb", ".md")]
        existing = [path for path in candidates if path.exists()]
        if len(existing) != 1:
            raise FileNotFoundError(f"_toc.yml names {name}, but {len(existing)} files fit, not one.")
        files += existing
    return files


def notebooks(root: Path = ROOT) -> list[Path]:
    """Return the notebooks in _toc.yml, in its order: the chapters."""
    return [path for path in pages(root) if path.suffix == ".ipynb"]


def made(kind: type, values: Any, place: str, **more: Any) -> Any:
    """Return a part of a sheet.

    Raises:
        SheetError: if it is no table, has a key that nothing reads, or lacks one.
    """
    if not isinstance(values, dict):
        raise SheetError(f"{place} is no table.")
    known = {item.name: item for item in fields(kind) if item.name not in more}
    if unknown := sorted(set(values) - set(known)):
        raise SheetError(f"{place} has the unknown key {unknown[0]!r}: there are {', '.join(known)}.")
    try:
        return kind(**more | values)
    except TypeError as error:  # ... missing 1 required keyword-only argument: 'alt'
        missing = ", ".join(re.findall(r"'(\w+)'", str(error)))
        raise SheetError(f"{place} has no {missing}.") from None


def need(name: str, value: Any, place: str) -> Need:
    """Return what a line or a table below ``[needs]`` says."""
    found = made(Need, {"requirement": value} if isinstance(value, str) else value, f"{place}, needs.{name},")
    try:
        requirement = Requirement(found.requirement)
    except InvalidRequirement as error:
        raise SheetError(f"{place}: needs.{name} is no requirement: {error}") from None
    if requirement.name != name:
        raise SheetError(f"{place}: needs.{name} asks for {requirement.name}.")
    return found


def read(path: Path) -> Sheet:
    """Return the sheet of a notebook.

    Raises:
        SheetError: if there is none, or it is wrong.
    """
    file = path.with_suffix(".toml")
    place = file.name
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SheetError(f"{path.name} has no sheet: write {place} beside it.") from None
    except tomllib.TOMLDecodeError as error:
        raise SheetError(f"{place} is not valid TOML: {error}") from None
    sheet = made(Sheet, values, place, name=path.stem)
    if wrong := [part for part in TABLES if not isinstance(getattr(sheet, part), dict)]:
        raise SheetError(f"{place}: {wrong[0]} is no table.")
    thumbnail = made(Thumbnail, sheet.thumbnail, f"{place}, thumbnail,")
    if len(thumbnail.alt) not in ALT_LENGTH:
        raise SheetError(f"{place}: thumbnail.alt has {len(thumbnail.alt)} letters, not 30 to 400.")
    needs = {name: need(name, value, place) for name, value in sheet.needs.items()}
    return made(Sheet, values | {"thumbnail": thumbnail, "needs": needs}, place, name=path.stem)


def sheets(root: Path = ROOT) -> list[Sheet]:
    """Return the sheets of all chapters in the order of _toc.yml."""
    return [read(path) for path in notebooks(root)]


def figures(notebook: NotebookNode) -> set[str]:
    """Return the names of a notebook's figures."""
    named = [cell.metadata.get("mystnb", {}).get("figure", {}).get("name") for cell in notebook.cells]
    return {name for name in named if name}


def complaints(sheet: Sheet, notebook: NotebookNode) -> list[str]:
    """Return in sentences where a sheet does not fit its notebook."""
    file = f"{sheet.name}.toml"
    found = []
    if sheet.thumbnail.figure not in figures(notebook):
        found.append(f"{file}: no figure of the notebook is called {sheet.thumbnail.figure}.")
    tagged = {c.id for c in notebook.cells if "nbval-ignore-output" in c.metadata.get("tags", ())}
    found += [
        f"{file}: uncompared names {cell}, which is not tagged nbval-ignore-output."
        for cell in sorted(set(sheet.uncompared) - tagged)
    ]
    found += [
        f"{file}: uncompared lacks the reason for {cell}." for cell in sorted(tagged - set(sheet.uncompared))
    ]
    found += [
        f"{file}: the reason for {cell} is no sentence."
        for cell, reason in sheet.uncompared.items()
        if len(reason) <= 20 or not reason.endswith(".")
    ]
    title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
    if not title.startswith(sheet.title):
        found.append(f"{file}: {sheet.title!r} is not how the title begins.")
    return found


def load(path: Path) -> NotebookNode:
    """Return a notebook."""
    return nbformat.read(path, as_version=4)

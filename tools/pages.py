"""Write what the project's files say of each chapter, from the sheets and the table of contents.

Usage: python -m tools.pages

That is: the cards of the landing page, the table of README.md, the recipes in the reference, what the setup
cells install and the extras of the same names, and the tables of the page on reliability. In a file that
people write too, it is what stands between two marks, such as `% cards` and `% end of cards`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from tools import claims, minutes, seeds
from tools.sheets import BOOK, ROOT, Sheet, SheetError, load, sheets


def title(sheet: Sheet) -> str:
    """Return the heading of a chapter."""
    return load(BOOK / f"{sheet.name}.ipynb").cells[0].source.splitlines()[0].removeprefix("# ")


def card(number: int, sheet: Sheet) -> str:
    """Return a chapter's card on the landing page."""
    try:
        run = minutes.to_run()[sheet.name]
    except KeyError:
        todo = f"`make notebooks ARGS=book/{sheet.name}.ipynb` measures it"
        raise SheetError(f"Nobody has measured how long {sheet.name} runs: {todo}.") from None
    read = minutes.to_read(load(BOOK / f"{sheet.name}.ipynb"))
    return f"""::::{{grid-item-card}} {number}. {sheet.title or title(sheet)}
:img-top: _static/thumbnails/{sheet.name}.png
:img-alt: {sheet.thumbnail.alt}
:class-img-top: dark-light
:link: {sheet.name}
:link-type: doc

{sheet.blurb}
:::{{card-footer}}
read {5 * max(1, round(read / 5))} min · run {int(run + 0.5)} min
:::
::::
"""


def cards(chapters: list[Sheet]) -> str:
    """Return the cards of the landing page."""
    head = ":::::{grid} 1 2 2 3\n:gutter: 3\n:class-container: landing-cards\n\n"
    return head + "\n".join(card(n, sheet) for n, sheet in enumerate(chapters, 1)) + ":::::\n"


def contents(chapters: list[Sheet]) -> str:
    """Return the table of README.md."""
    rows = [f"| [{title(s)}](book/{s.name}.ipynb) | {s.recreates} | {s.framework} |\n" for s in chapters]
    return "| Chapter | Recreates | In |\n| --- | --- | --- |\n" + "".join(rows)


def glance(chapters: list[Sheet]) -> str:
    """Return the list of recipes at the head of the reference."""
    names = ["Recipe", *(sheet.name for sheet in chapters if recipe(sheet))]
    lines = "".join(f"   ~gan_helpers.recipes.{name}\n" for name in names)
    return f"```{{eval-rst}}\n.. autosummary::\n   :nosignatures:\n\n{lines}```\n"


def reference(chapters: list[Sheet]) -> str:
    """Return the recipes in the reference, each below its heading."""
    return "\n".join(
        f"### {sheet.recipes}\n\n```{{eval-rst}}\n.. automodule:: gan_helpers.recipes.{sheet.name}\n```\n"
        for sheet in chapters
        if recipe(sheet)
    )


def recipe(sheet: Sheet) -> bool:
    """Return whether a chapter has a recipe module."""
    return (ROOT / "gan_helpers" / "recipes" / f"{sheet.name}.py").exists()


def extras(chapters: list[Sheet]) -> str:
    """Return the extras of pyproject.toml: one for each package that a chapter needs."""
    needs = {name: need.requirement for sheet in chapters for name, need in sheet.needs.items()}
    return "".join(f'{name} = ["{needs[name]}"]\n' for name in sorted(needs))


def uncompared(chapters: list[Sheet]) -> list[dict[str, str]]:
    """Return the cells that are not compared, chapter by chapter."""
    return [
        {"notebook": sheet.name, "cell": cell, "reason": reason}
        for sheet in chapters
        for cell, reason in sheet.uncompared.items()
    ]


#: What stands between marks: the file, the name of the marks, and what is written there.
PARTS: list[tuple[str, str, Callable[[list[Sheet]], str]]] = [
    ("book/intro.md", "cards", cards),
    ("README.md", "chapters", contents),
    ("book/helpers.md", "recipes at a glance", glance),
    ("book/helpers.md", "recipes", reference),
    ("pyproject.toml", "what single chapters need", extras),
]
MARKS = {"README.md": "<!-- {} -->", "pyproject.toml": "# {}"}


def between(text: str, mark: str, name: str, new: str) -> str:
    """Return a text with what stands between the two marks of a name replaced.

    Raises:
        ValueError: if the marks are not there, once each and in this order.
    """
    begin, end = (re.escape(mark.format(words)) for words in (name, f"end of {name}"))
    found = re.findall(rf"^{begin}\n.*?^{end}$", text, re.MULTILINE | re.DOTALL)
    if len(found) != 1:
        raise ValueError(f"{len(found)} places are marked {name!r}, not one")
    begin, end = (mark.format(words) for words in (name, f"end of {name}"))
    return text.replace(found[0], f"{begin}\n{new}{end}")


def setup(text: str, sheet: Sheet) -> str:
    """Return the file of a notebook with what its setup cell installs, and how many threads it asks for."""
    threads = {"OMP_WAIT_POLICY": "PASSIVE"}
    threads |= {"OMP_NUM_THREADS": str(sheet.threads)} if sheet.threads else {}
    needs = [need.for_pip() for need in sheet.needs.values()]
    for name, value in {"NEEDS": needs, "THREADS": threads}.items():
        line = json.dumps(f"{name} = {json.dumps(value)}\n")
        text, count = re.subn(
            rf'^( *)"{name} = .*",$', lambda m, line=line: f"{m[1]}{line},", text, flags=re.MULTILINE
        )
        if count != 1:
            raise ValueError(f"{count} lines of {sheet.name}.ipynb begin with {name}, not one")
    return text


def made() -> dict[Path, str]:
    """Return all that is made from sheets and contents, by file."""
    chapters = sheets()
    texts: dict[Path, str] = {}
    for file, name, make in PARTS:
        path = ROOT / file
        text = texts.get(path) or path.read_text(encoding="utf-8")
        texts[path] = between(text, MARKS.get(file, "% {}"), name, make(chapters))
    for sheet in chapters:
        path = BOOK / f"{sheet.name}.ipynb"
        texts[path] = setup(path.read_text(encoding="utf-8"), sheet)
    tables = claims.pages() | {
        "uncompared.csv": claims.written(uncompared(chapters)),
        "seeds.csv": claims.written(seeds.by_chapter()),
    }
    return texts | {BOOK / name: text for name, text in tables.items()}


def stale() -> dict[Path, str]:
    """Return those files that are not as they would be made now, with their new text."""
    return {
        path: text
        for path, text in made().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }


def main() -> int:
    """Write what is stale, and say so."""
    try:
        found = stale()
    except ValueError as error:
        print(f"Nothing was written: {error}", file=sys.stderr)
        return 1
    for path, text in found.items():
        path.write_text(text, encoding="utf-8", newline="\n")
        print(path.relative_to(ROOT).as_posix())
    print(f"{len(found)} files changed." if found else "All pages say what the sheets say.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

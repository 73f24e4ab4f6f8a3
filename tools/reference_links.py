"""A Sphinx extension: in a chapter's code, a name of the package leads to its place in the reference.

Where a chapter first uses a function or a class of `gan_helpers`, the name in the cell is a link. The
notebooks hold nothing for it: what a name means is read from their imports.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from sphinx.application import Sphinx

PACKAGE = "gan_helpers"
BLOCK = re.compile(r'(?<=<div class="highlight"><pre>).*?(?=</pre>)', re.DOTALL)
IMPORT = re.compile(r'(?:<span></span>)?\s*<span class="kn">')  # how a line with an import begins
DOT = '<span class="o">.</span>'
# A name that is no attribute of something else and no keyword of a call, and an attribute of its own.
NAME = re.compile(
    rf'(?<!{re.escape(DOT)})<span class="n">(?P<name>\w+)</span>'
    rf'(?P<rest>{re.escape(DOT)}<span class="n">(?P<attribute>\w+)</span>)?(?!<span class="o">=</span>)'
)


def imported_names(code: str) -> dict[str, str]:
    """Return what the names that the code imports from the package stand for, as dotted names."""
    found = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def home(dotted: str) -> str:
    """Return the name under which the reference has an object: that of the module that defines it."""
    module, _, name = dotted.rpartition(".")
    try:
        thing = getattr(importlib.import_module(module), name)
    except (AttributeError, ImportError):
        return dotted
    return f"{getattr(thing, '__module__', module)}.{getattr(thing, '__qualname__', name)}"


def linked(html: str, names: dict[str, str], address: Callable[[str], str | None]) -> str:
    """Make the first use of each name in the code blocks of a page a link.

    Args:
        html: the page's text.
        names: what the names of the chapter stand for, as :func:`imported_names` returns it.
        address: returns where the reference describes a dotted name, or None.
    """
    done = set()

    def link(match: re.Match[str]) -> str:
        if match["name"] not in names:
            return match[0]
        target = home(names[match["name"]])
        text, rest = match[0], ""
        if match["attribute"] and (place := address(home(f"{names[match['name']]}.{match['attribute']}"))):
            target = home(f"{names[match['name']]}.{match['attribute']}")
        else:
            place, rest = address(target), match["rest"] or ""
            text = text.removesuffix(rest)
        if place is None or target in done:
            return match[0]
        done.add(target)
        return f'<a class="reference internal" href="{escape(place)}" title="{target}">{text}</a>{rest}'

    def block(match: re.Match[str]) -> str:
        lines = match[0].split("\n")
        return "\n".join(line if IMPORT.match(line) else NAME.sub(link, line) for line in lines)

    return BLOCK.sub(block, html)


def link_page(app: Sphinx, pagename: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    """Link the names on the page, if it is a notebook."""
    if "body" not in context or pagename not in app.env.found_docs:
        return
    path = Path(app.env.doc2path(pagename))
    if path.suffix != ".ipynb":
        return
    cells = nbformat.read(path, as_version=4).cells
    names = imported_names("\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    objects = app.env.domaindata["py"]["objects"]

    def address(dotted: str) -> str | None:
        if dotted not in objects:
            return None
        return f"{context['pathto'](objects[dotted].docname)}#{objects[dotted].node_id}"

    context["body"] = linked(context["body"], names, address)


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx about it."""
    app.connect("html-page-context", link_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Write the repository's address into every file that needs it.

Usage: python -m tools.publish https://github.com/OWNER/NAME

The pages take the address from pyproject.toml when they are built (see site_pages.py). Other files are read
where nothing of the project runs, so each has the address in its own text: the setup cells of the notebooks,
README.md and CITATION.cff. A further run changes the address again.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from tools.sheets import ROOT
from tools.site_pages import pages_address

ADDRESS = re.compile(
    r"https://github\.com/[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}"
)
WORKFLOW = "pages.yml"


def checked(address: str) -> str:
    """Return the address without what may stand at its end, a slash or ".git".

    Raises:
        ValueError: if it is not the address of a repository on GitHub.
    """
    tidy = address.strip().removesuffix("/").removesuffix(".git")
    if not ADDRESS.fullmatch(tidy):
        raise ValueError(f"{address!r} is not of the form https://github.com/OWNER/NAME.")
    return tidy


def replaced(pattern: str, new: str, text: str) -> str:
    """Return the text with the one place that fits the pattern replaced.

    Raises:
        ValueError: if no place or more than one fits.
    """
    text, count = re.subn(pattern, lambda _: new, text, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"{count} places fit {pattern!r}, not one")
    return text


def in_project(text: str, address: str) -> str:
    """Return pyproject.toml with its table of addresses, before that of the extras."""
    text = re.sub(r"^\[project\.urls\]\n(?:\w.*\n)*\n", "", text, flags=re.MULTILINE)
    urls = f'[project.urls]\nHomepage = "{pages_address(address)}"\nRepository = "{address}"\n\n'
    extras = "[project.optional-dependencies]"
    return replaced(rf"^{re.escape(extras)}$", urls + extras, text)


def in_notebook(text: str, address: str) -> str:
    """Return a notebook's file with the address in the setup cell."""
    return replaced(r'\bREPOSITORY = \\"[^"\\]*\\"', rf"REPOSITORY = \"{address}\"", text)


def in_readme(text: str, address: str) -> str:
    """Return README.md with badges below its title."""
    text = re.sub(r"^<!-- badges -->\n(?:.*\n)*?<!-- end of badges -->\n\n", "", text, flags=re.MULTILINE)
    checks = f"{address}/actions/workflows/{WORKFLOW}"
    badges = (
        f"[![State of the checks]({checks}/badge.svg)]({checks})\n[Read the book]({pages_address(address)})\n"
    )
    title = text.split("\n", 1)[0]
    block = f"{title}\n\n<!-- badges -->\n{badges}<!-- end of badges -->"
    return replaced(rf"\A{re.escape(title)}$", block, text)


def in_citation(text: str, address: str) -> str:
    """Return CITATION.cff with the addresses of the code and of the book, before the list of licences."""
    text = re.sub(r"^(repository-code|url): .*\n", "", text, flags=re.MULTILINE)
    lines = f"repository-code: {address}\nurl: {pages_address(address)}\n"
    return replaced(r"^license:$", f"{lines}license:", text)


def places(root: Path) -> dict[Path, Callable[[str, str], str]]:
    """Return the files that hold the address, each with the function that writes it."""
    found = {path: in_notebook for path in sorted((root / "book").glob("*.ipynb"))}
    return found | {
        root / "pyproject.toml": in_project,
        root / "README.md": in_readme,
        root / "CITATION.cff": in_citation,
    }


def publish(address: str, root: Path = ROOT) -> list[Path]:
    """Write the address everywhere, and return the files that changed: all of them, or none if one fails.

    Raises:
        ValueError: if the address is none, or a file has no place for it.
    """
    address = checked(address)
    texts = {}
    for path, write in places(root).items():
        before = path.read_text(encoding="utf-8")
        try:
            after = write(before, address)
        except ValueError as error:
            raise ValueError(f"{path.relative_to(root).as_posix()}: {error}.") from None
        if after != before:
            texts[path] = after
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8", newline="\n")
    return list(texts)


def main(arguments: list[str]) -> int:
    """Publish under the address given, and say what changed."""
    try:
        changed = publish(" ".join(arguments))
    except ValueError as error:
        print(f"Nothing was changed: {error}", file=sys.stderr)
        return 1
    print("".join(f"{path.relative_to(ROOT).as_posix()}\n" for path in changed), end="")
    print(f"{len(changed)} files changed. Commit them, and `make book` builds pages with their buttons.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

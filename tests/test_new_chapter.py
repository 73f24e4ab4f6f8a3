"""A chapter is five files: one that is copied under a new name, as CONTRIBUTING says, fits in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.sheets import ROOT, figures, load, sheets

NAME = "copied"
LABELS = re.compile(r"^:label: (\S+)|^\((\S+)\)=|^\$\$ \((\S+)\)", re.MULTILINE)
CHECKS = (
    "test_pages", "test_book", "test_pictures", "test_project", "test_calibration", "test_reference",
    "test_claims_of_the_book", "test_study", "test_setup_cell", f"test_recipes_{NAME}",
)  # fmt: skip
#: In these files: what is asked of each chapter, and what knows of all of them.
CHOSEN = f"{NAME} or up_to_date or of_its_own or folder_agree or left_over or in_the_reference"


def copy_of_the_project(root: Path) -> None:
    """Copy what the project's checks read."""
    unwanted = shutil.ignore_patterns(".*", "_build", "build", "dist", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, root, ignore=unwanted)
    shutil.copytree(ROOT / ".ci", root / ".ci")


def renamed(text: str, old: str) -> str:
    """Return the text of a chapter's file under the new name, with labels of its own."""
    return re.sub(rf"(?<![a-z]){old}(?![a-z])", NAME, text)


def add_chapter(root: Path, old: str) -> None:
    """Copy a chapter under a new name: five files, and the tables of runs that its commands would make."""
    book, recipes = root / "book", root / "gan_helpers" / "recipes"
    cells = load(book / f"{old}.ipynb")
    text = "\n".join(cell.source for cell in cells.cells)
    labels = figures(cells) | {label for found in LABELS.findall(text) for label in found if label}
    notebook = renamed((book / f"{old}.ipynb").read_text(encoding="utf-8"), old)
    for label in labels:
        new = f"fig-{NAME}-{label[4:]}" if label.startswith("fig-") else f"{NAME}-{label}"
        notebook = re.sub(rf"(?<![\w-]){label}(?![\w-])", new, notebook)
    (book / f"{NAME}.ipynb").write_text(notebook, encoding="utf-8")

    sheet = renamed((book / f"{old}.toml").read_text(encoding="utf-8"), old)
    sheet = re.sub(r'^figure = "fig-', f'figure = "fig-{NAME}-', sheet, flags=re.MULTILINE)
    sheet = re.sub(r'^alt = "', 'alt = "Once more: ', sheet, flags=re.MULTILINE)
    (book / f"{NAME}.toml").write_text(sheet, encoding="utf-8")

    toc = (root / "_toc.yml").read_text(encoding="utf-8")
    line = f"      - file: book/{old}\n"
    (root / "_toc.yml").write_text(toc.replace(line, line + line.replace(old, NAME)), encoding="utf-8")

    for folder, prefix in ((recipes, ""), (root / "tests", "test_recipes_")):
        text = (folder / f"{prefix}{old}.py").read_text(encoding="utf-8")
        (folder / f"{prefix}{NAME}.py").write_text(renamed(text, old), encoding="utf-8")

    # What the commands would make
    assets = root / "gan_helpers" / "assets"
    for table in assets.glob(f"{old}_*.csv"):
        shutil.copy(table, assets / table.name.replace(old, NAME))
    shutil.copy(*(book / "_static" / "thumbnails" / f"{name}.png" for name in (old, NAME)))
    for file in (root / "tests" / "replayed.csv", book / "minutes.csv"):
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        lines += [renamed(line, old) for line in lines if line.startswith(f"{old},")]
        file.write_text("".join(lines), encoding="utf-8")


def python(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def chapter() -> str:
    """The first chapter that needs nothing beside the package."""
    return next(sheet.name for sheet in sheets() if not sheet.needs)


def test_a_copied_chapter_passes_the_checks(tmp_path: Path, chapter: str) -> None:
    root = tmp_path / "project"
    copy_of_the_project(root)
    add_chapter(root, chapter)
    assert python(root, "-m", "tools.pages").returncode == 0
    for page in ("README.md", "book/intro.md", "book/helpers.md", "book/claims.csv", "book/seeds.csv"):
        assert NAME in (root / page).read_text(encoding="utf-8"), page
    files = [f"tests/{name}.py" for name in CHECKS]
    done = python(root, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", CHOSEN, *files)
    assert done.returncode == 0, done.stdout
    done = python(root, "-m", "ruff", "check", "--no-cache", ".")
    assert done.returncode == 0, done.stdout

"""Reads chapters: their notebooks, cells and definitions, and runs what they write out for a few steps."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from symtable import symtable
from typing import Any
from unittest.mock import patch

import nbformat
import torch
from nbformat import NotebookNode
from torch import Tensor

BOOK = Path(__file__).resolve().parent.parent / "book"
NAMES = sorted(path.stem for path in BOOK.glob("*.ipynb"))
FEW = 3  # steps

Functions = ast.FunctionDef | ast.ClassDef


@dataclass
class Training:
    """What a call of ``train`` in a chapter was given, and what a few steps of it left behind."""

    G: Any
    D: Any
    options: dict[str, Any]
    history: Any


class Chapter:
    """A chapter by its name, such as ``"fifty_lines"``."""

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def notebook(self) -> NotebookNode:
        """The notebook as it is stored."""
        return nbformat.read(BOOK / f"{self.name}.ipynb", as_version=4)

    @property
    def code(self) -> list[str]:
        """The sources of all code cells."""
        return [cell.source for cell in self.notebook.cells if cell.cell_type == "code"]

    @cached_property
    def statements(self) -> list[ast.stmt]:
        """The statements of all code cells but the first, which installs the package."""
        return [statement for source in self.code[1:] for statement in ast.parse(source).body]

    def calls(self, function: str) -> Iterator[tuple[int, ast.Call]]:
        """Yield the calls of a function, written as in the chapter, with the places of their statements."""
        for place, statement in enumerate(self.statements):
            for node in () if isinstance(statement, Functions) else ast.walk(statement):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == function:
                    yield place, node

    def define(self, *names: str, **given: Any) -> dict[str, Any]:
        """Run what the last definitions of these names need, and no more; return all names that this gives.

        Args:
            names: what is wanted.
            given: what is taken instead of what the chapter has under these names.
        """
        return self._run(self._needed(set(names), len(self.statements), set(given)), given)

    def train(self, function: str, nth: int, **given: Any) -> Training:
        """Make the networks of a training and train them for a few steps, by the chapter's own statements.

        Args:
            function: what trains, as the chapter calls it: ``train``, ``gm.train`` or a function around it.
            nth: which of its calls, from 0.
            given: what is taken instead of what the chapter has under these names.
        """
        place, _ = list(self.calls(function))[nth]
        needed = self._needed(_loaded(self.statements[place]), place, set(given)) | {place}
        side = importlib.import_module(
            "gan_helpers.mxnet_backend" if function.startswith("gm.") else "gan_helpers"
        )
        found: list[Training] = []
        train: Callable[..., Any] = side.train

        def few(G: Any, D: Any, *samplers: Any, **options: Any) -> Any:
            history = train(G, D, *samplers, **(options | {"steps": FEW, "watch": None}))
            found.append(Training(G, D, options, history))
            return history

        with patch.object(side, "train", few):
            self._run(needed, given)
        return found[-1]

    def _needed(self, names: set[str], before: int, given: set[str]) -> set[int]:
        """Return the places of the statements that define names, and what these need in turn."""
        needed: set[int] = set()
        wanted = {(name, before) for name in names}
        seen: set[tuple[str, int]] = set()
        while wanted:
            name, end = wanted.pop()
            seen.add((name, end))
            place = next((i for i in reversed(range(end)) if name in _bound(self.statements[i])), None)
            if place is None or name in given:
                continue
            needed.add(place)
            statement = self.statements[place]
            # A function looks its names up when it is called.
            end = before if isinstance(statement, Functions) else place
            wanted |= {(name, end) for name in _loaded(statement)} - seen
        return needed

    def _run(self, places: set[int], given: dict[str, Any]) -> dict[str, Any]:
        names = dict(given)
        for place in sorted(places):
            exec(compile(ast.Module([self.statements[place]], []), self.name, "exec"), names)
            names.update(given)
        return names


def _bound(statement: ast.stmt) -> set[str]:
    """Return the names that a statement gives a value."""
    if isinstance(statement, Functions):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.split(".")[0] for alias in statement.names}
    nodes = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
    return {node.id for node in nodes if isinstance(node.ctx, ast.Store)}


def _loaded(statement: ast.stmt) -> set[str]:
    """Return the names that a statement reads, inside of functions too, and that are not their own."""
    table = symtable(ast.unparse(statement), "a statement", "exec")
    names = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    inner = list(table.get_children())
    for scope in inner:
        names |= {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global()}
        inner += scope.get_children()
    return names


def weights(network: Any) -> list[Tensor]:
    """Return the weights and buffers of an ensemble, of either backend."""
    if isinstance(network, torch.nn.Module):
        return list(network.state_dict().values())
    tensor = importlib.import_module("gan_helpers.mxnet_backend").tensor
    return [tensor(values) for values in network.weights()]


def assert_trains_by(recipe: Any, written: Training) -> None:
    """Show that a chapter's training is that of a recipe, to the last bit."""
    assert (written.options["steps"], written.options["batch"]) == (recipe.steps, recipe.batch)
    G, D = recipe.networks(written.G.seeds)
    history = recipe.train(G, D, steps=FEW)
    assert torch.equal(history.d_loss, written.history.d_loss)
    assert torch.equal(history.g_loss, written.history.g_loss)
    averages = [(history.averaged, written.history.averaged)]
    for ours, theirs in [(G, written.G), (D, written.D), *averages]:
        assert (ours is None) == (theirs is None)
        for one, other in zip(weights(ours), weights(theirs), strict=True) if ours is not None else ():
            assert torch.equal(one, other)

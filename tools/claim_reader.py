"""Reads the claims of the book's chapters, and finds those that random numbers can reach."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from pathlib import Path

BOOK = Path(__file__).resolve().parent.parent / "book"

Limit = tuple[str, float]

#: Names that bring random numbers into a cell.
RANDOM = {
    "Stream", "Ensemble", "train", "networks", "base_seed", "judged", "data_sets", "play", "random",
    "RandomState", "default_rng", "manual_seed", "set_random_seed", "Linear", "Dense", "dense", "Dropout",
}  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """A claim as it stands in a notebook.

    Args:
        words: what it says; parts in braces differ from case to case.
        limits: the bounds that its condition names, such as (">", 0.1).
        at_least: how many seeds have to keep them, if it says so in a number.
        random: whether a random number can reach its condition.
    """

    words: str
    limits: tuple[Limit, ...]
    at_least: int | None
    random: bool


def cells(notebook: str) -> dict[str, str]:
    """Return the code cells of a chapter by their names."""
    found = json.loads((BOOK / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: "".join(cell["source"]) for cell in found if cell["cell_type"] == "code"}


def claims_of(notebook: str) -> list[Claim]:
    """Return the claims of a chapter in their order."""
    reader = Reader()
    for source in cells(notebook).values():
        reader.read(ast.parse(source).body)
    return reader.claims


def names(node: ast.AST) -> set[str]:
    """Return the names and attributes in a piece of code."""
    found = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return found | {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}


def limits_of(condition: ast.expr) -> tuple[Limit, ...]:
    """Return the bounds in a condition: the numbers that something is compared with."""
    found = []
    for node in ast.walk(condition):
        if isinstance(node, ast.Compare):
            terms = [node.left, *node.comparators]
            for left, operator, right in zip(terms, node.ops, terms[1:], strict=False):
                for number, sides in ((left, "><"), (right, "<>")):
                    try:
                        bound = float(ast.literal_eval(number))
                    except (ValueError, TypeError):
                        continue  # it is no number
                    found.append((sides[isinstance(operator, (ast.Gt, ast.GtE))], bound))
    return tuple(found)


class Reader:
    """Goes through a notebook, statement by statement, and follows which names random numbers reach."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self.touched: set[str] = set()
        self.filled: set[str] = set()  # by functions that are called later
        self.assigned: dict[str, ast.expr] = {}

    def random(self, found: set[str]) -> bool:
        """Return whether one of the names is random."""
        return bool(found & (RANDOM | self.touched | self.filled))

    def read(self, body: list[ast.stmt]) -> None:
        """Go through statements in their order."""
        for statement in body:
            match statement:
                case ast.FunctionDef() | ast.ClassDef():
                    self.define(statement)
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self.bind(target, value)
                case ast.AugAssign(target=target, value=value) if self.random(names(value)):
                    self.bind(target, value)
                case ast.For(target=target, iter=value, body=inner):
                    self.bind(target, value)
                    self.read(inner)
                case ast.With(body=inner) | ast.Try(body=inner):
                    self.read(inner)
                case ast.Expr(value=ast.Call(func=ast.Name(id="claim")) as call):
                    self.claim(call)
                case ast.Expr(value=ast.Call(func=ast.Attribute(value=owner)) as call):
                    if self.random(names(call)):
                        self.bind(owner, call)

    def bind(self, target: ast.expr, value: ast.expr) -> None:
        """Note what is assigned to names, or to parts of them."""
        for name in (node.id for node in ast.walk(target) if isinstance(node, ast.Name)):
            if self.random(names(value)):
                self.touched.add(name)
            elif not isinstance(target, (ast.Subscript, ast.Attribute)):
                self.touched.discard(name)
            self.assigned[name] = value

    def define(self, made: ast.FunctionDef | ast.ClassDef) -> None:
        """Note whether a function is random, and what it fills when it is called."""
        own = {arg.arg for node in ast.walk(made) if isinstance(node, ast.arguments) for arg in node.args}
        for node in ast.walk(made):
            match node:
                case ast.Call(func=ast.Attribute(value=place, attr="append")):
                    self.filled |= names(place) - own
                case ast.Assign(targets=[ast.Subscript(value=place)]):
                    self.filled |= names(place) - own
        self.touched.discard(made.name)
        if self.random(names(made) - own):
            self.touched.add(made.name)

    def claim(self, call: ast.Call) -> None:
        """Note a claim."""
        words, condition = call.args
        said = {keyword.arg: keyword.value for keyword in call.keywords}
        at_least = said.get("at_least")
        if isinstance(condition, ast.Name):  # what was assigned to it has the bound
            whole = self.assigned.get(condition.id, condition)
        else:
            whole = condition
        self.claims.append(
            Claim(
                words=words.value if isinstance(words, ast.Constant) else ast.unparse(words)[2:-1],
                limits=limits_of(whole),
                at_least=at_least.value if isinstance(at_least, ast.Constant) else None,
                random=self.random(names(condition)),
            )
        )

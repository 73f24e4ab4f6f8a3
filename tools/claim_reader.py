"""Reads the claims of a chapter: their bounds, their seeds, and whether random numbers can reach them."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace

from nbformat import NotebookNode

from tools.sheets import ROOT

#: Names that bring random numbers into a cell, or into a chapter's recipes and by these into its cells.
RANDOM = {
    "Stream", "Ensemble", "train", "base_seed", "random", "RandomState", "default_rng", "manual_seed",
    "set_random_seed", "Linear", "Dense", "dense", "Dropout", "fit",
}  # fmt: skip

#: What numbers are worked out with, beside the numbers of the notebook.
FUNCTIONS = {"log": math.log, "tensor": float}
SCOPE = {"__builtins__": {}, "math": math, "torch": SimpleNamespace(**FUNCTIONS), **FUNCTIONS}
FLIPPED = {">": "<", "<": ">"}
SIDES = {ast.Gt: ">", ast.GtE: ">", ast.Lt: "<", ast.LtE: "<"}
UNDONE = {ast.Add: operator.sub, ast.Sub: operator.add, ast.Mult: operator.truediv, ast.Div: operator.mul}


@dataclass(frozen=True)
class Bound:
    """What a claim asks of something that was measured."""

    side: str  # ">" if it has to be above the number, "<" if below
    number: float
    parts: tuple[str, ...] = ("",)  # how all seeds were made one number, such as "median"; two of a quotient


@dataclass(frozen=True)
class Claim:
    """A claim as it stands in a notebook."""

    words: str  # parts in braces differ from case to case
    bounds: tuple[Bound, ...]
    at_least: int | None  # how many seeds have to keep the bounds, or None for all
    seeds: tuple[int, ...]  # how many there are, for each line that it has printed
    random: bool  # whether a random number can reach its condition


def claims_of(notebook: NotebookNode) -> list[Claim]:
    """Return the claims of a notebook in their order."""
    reader = Reader()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            reader.printed = "".join(output.get("text", "") for output in cell.outputs)
            reader.read(ast.parse(cell.source).body)
    return reader.claims


def words_of(call: ast.Call) -> str:
    """Return what a claim says; parts in braces differ from case to case."""
    words = call.args[0]
    return words.value if isinstance(words, ast.Constant) else ast.unparse(words)[2:-1]


def names(node: ast.AST) -> set[str]:
    """Return the names in a piece of code, its attributes, and those of names with their names."""
    found = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    parts = [n for n in ast.walk(node) if isinstance(n, ast.Attribute)]
    return found | {n.attr for n in parts} | {f"{getattr(n.value, 'id', '')}.{n.attr}" for n in parts}


@cache
def random_recipes(name: str) -> set[str]:
    """Return what is random of a chapter's recipes."""
    reader, path = Reader(), ROOT / "gan_helpers" / "recipes" / f"{name}.py"
    reader.read(ast.parse(path.read_text(encoding="utf-8")).body if path.exists() else [])
    return reader.touched


class Reader:
    """Goes through a notebook, statement by statement, and follows what its names stand for."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self.printed = ""  # by the cell that is read
        self.touched: set[str] = set()  # the names that random numbers reach
        self.sources = set(RANDOM)  # those that stay random, whatever they are given
        self.assigned: dict[str, ast.expr] = {}
        self.numbers: dict[str, object] = {}
        self.pinned: dict[tuple[ast.AST, str], float] = {}  # the two ends that a claim has set to a name

    def read(self, body: list[ast.stmt]) -> None:
        """Go through statements in their order."""
        for statement in body:
            match statement:
                case ast.ImportFrom(module="gan_helpers.recipes", names=imported):
                    for part in imported:
                        self.sources |= {f"{part.asname or part.name}.{r}" for r in random_recipes(part.name)}
                case ast.FunctionDef() | ast.ClassDef():
                    self.define(statement)
                case ast.Expr(value=ast.Call(func=ast.Name(id="claim")) as call):
                    self.claim(call)
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self.bind(target, value)
                case (
                    ast.AugAssign(target=target, value=value)
                    | ast.Expr(value=ast.Call(func=ast.Attribute(value=target)) as value)
                ) if self.random(names(value)):
                    self.bind(target, value)
                case ast.For(target=target, iter=value, body=inner):
                    self.bind(target, value)
                    self.read(inner)
                case ast.With(body=inner) | ast.Try(body=inner):
                    self.read(inner)

    # Which names random numbers reach

    def random(self, found: set[str]) -> bool:
        """Return whether one of the names is random."""
        return bool(found & (self.sources | self.touched))

    def bind(self, target: ast.expr, value: ast.expr) -> None:
        """Note what is assigned to names, or to parts of them."""
        for name in (node for node in ast.walk(target) if isinstance(node, ast.Name)):
            if self.random(names(value)):
                self.touched.add(name.id)
            elif isinstance(name.ctx, ast.Store):
                self.touched.discard(name.id)
            if isinstance(name.ctx, ast.Store):
                given = {k.arg: self.number(k.value) for k in getattr(value, "keywords", ()) if k.arg}
                self.numbers[name.id] = SimpleNamespace(**given) if given else self.number(value)  # R.mean
                self.assigned[name.id] = value

    def define(self, made: ast.FunctionDef | ast.ClassDef) -> None:
        """Note whether a function is random, and what it fills when it is called."""
        own = {node.arg for node in ast.walk(made) if isinstance(node, ast.arg)}
        for node in ast.walk(made):
            match node:
                case (
                    ast.Call(func=ast.Attribute(value=place, attr="append"))
                    | ast.Assign(targets=[ast.Subscript(value=place)])
                ):
                    self.sources |= names(place) - own
        self.touched.discard(made.name)
        if self.random(names(made) - own):
            self.touched.add(made.name)

    # What a condition compares with which number

    def number(self, node: ast.expr) -> float | None:
        """Return the number that an expression is whatever the seed, if it can be read."""
        try:
            return float(eval(ast.unparse(node), SCOPE, self.numbers))
        except Exception:  # it needs more than numbers
            return None

    def followed(self, node: ast.AST) -> ast.AST:
        """Return what a name stands for, and anything else as it is."""
        return self.assigned.get(node.id, node) if isinstance(node, ast.Name) else node

    def bounds(self, node: ast.expr) -> Iterator[tuple[ast.expr, Bound]]:
        """Yield what a condition compares with numbers, and how."""
        match self.followed(node):
            case ast.BoolOp(op=ast.And()) | ast.BinOp(op=ast.BitAnd() | ast.BitOr()) as joined:
                for part in ast.iter_child_nodes(joined):  # of ~counted | (x < 1) too
                    yield from self.bounds(part)
            case (
                ast.Call(func=ast.Name(id="bool"), args=[inner])
                | ast.Call(func=ast.Attribute(value=inner, attr="all"))
            ):
                yield from self.bounds(inner)
            case ast.Compare(left=left, ops=ops, comparators=others):
                for a, op, b in zip([left, *others], ops, others, strict=False):
                    if side := SIDES.get(type(op)):
                        yield from self.compared(a, side, b)

    def compared(self, a: ast.expr, side: str, b: ast.expr) -> Iterator[tuple[ast.expr, Bound]]:
        """Yield the bounds of one comparison, with a number or with a name that a claim has pinned."""
        for measured, other, way in ((a, b, side), (b, a, FLIPPED[side])):
            pins = [self.pinned.get((self.followed(part), FLIPPED[way])) for part in ast.walk(other)]
            ends = [end for end in (self.number(other), *pins) if end is not None]
            if ends:
                yield from self.solved(measured, way, ends[0])
                return
        yield from self.solved(ast.BinOp(a, ast.Sub(), b), side, 0.0)

    def solved(self, node: ast.expr, side: str, end: float) -> Iterator[tuple[ast.expr, Bound]]:
        """Yield the bounds of what is left once known numbers and absolute values are taken from one side."""
        match self.followed(node):
            case (
                ast.Call(func=ast.Attribute(value=x, attr="abs"), args=[])
                | ast.Call(func=ast.Name(id="abs"), args=[x])
            ) if side == "<":
                yield from self.solved(x, "<", end)
                yield from self.solved(x, ">", -end)
            case ast.BinOp(left=x, op=op, right=right) if (
                type(op) in UNDONE and (c := self.number(right) or 0) > 0
            ):
                yield from self.solved(x, side, UNDONE[type(op)](end, c))
            case ast.BinOp(left=over, op=ast.Div(), right=under):
                yield node, Bound(side, end, (self.part(over), self.part(under)))
            case _:
                yield node, Bound(side, end, (self.part(node),))

    def part(self, node: ast.expr) -> str:
        """Return how one number was made of all seeds, or nothing."""
        match self.followed(node):
            case ast.Call(func=ast.Attribute(attr="median" | "max" | "min" as way), args=[]):
                return way
        return ""

    def claim(self, call: ast.Call) -> None:
        """Note a claim, and what it says of a name if no seed can change it."""
        words, condition = words_of(call), call.args[1]
        line = re.sub(r"\\{[^{}]*\\}", ".*", re.escape(words))
        lines = rf"^Holds: {line}(?: \[at least \d+ of (\d+) seeds\])?(?: \(measured.*)?$"
        seeds = tuple(int(n or 1) for n in re.findall(lines, self.printed, re.M))
        at_least = next((self.number(k.value) for k in call.keywords if k.arg == "at_least"), None)
        found, random = list(self.bounds(condition)), self.random(names(condition))
        bounds = tuple(bound for _, bound in found)
        self.claims.append(Claim(words, bounds, at_least and int(at_least), seeds, random))
        if set(seeds) <= {1} and len(found) == 2:
            self.pinned |= {(self.followed(node), bound.side): bound.number for node, bound in found}

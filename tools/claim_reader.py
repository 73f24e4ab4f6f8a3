"""Reads the claims of a chapter: their bounds, their seeds, and whether random numbers can reach them."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nbformat import NotebookNode

#: Names that bring random numbers into a cell.
RANDOM = {
    "Stream", "Ensemble", "train", "networks", "base_seed", "judged", "inputs", "play", "random",
    "RandomState", "default_rng", "manual_seed", "set_random_seed", "Linear", "Dense", "dense", "Dropout",
    "Answers",
}  # fmt: skip

OPERATIONS: dict[type, Callable] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow, ast.BitAnd: operator.and_, ast.Lt: operator.lt, ast.Gt: operator.gt,
    ast.Eq: operator.eq,
}  # fmt: skip
KNOWN: dict[str, Callable[[float], float]] = {"log": math.log, "tensor": float}
FLIPPED = {">": "<", "<": ">"}
SIDES = {ast.Gt: ">", ast.GtE: ">", ast.Lt: "<", ast.LtE: "<"}


@dataclass(frozen=True)
class Bound:
    """What a claim asks of something that was measured.

    Args:
        side: ">" if it has to be above the number, "<" if below.
        number: where it ends.
        parts: how all seeds were made one number, such as "median"; "" if they were not. A quotient has two.
    """

    side: str
    number: float
    parts: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Claim:
    """A claim as it stands in a notebook.

    Args:
        words: what it says; parts in braces differ from case to case.
        bounds: what it asks for, as far as its condition says so in numbers.
        at_least: how many seeds have to keep them, or None for all.
        seeds: how many there are, for each line that it prints.
        random: whether a random number can reach its condition.
    """

    words: str
    bounds: tuple[Bound, ...]
    at_least: int | None
    seeds: tuple[int, ...]
    random: bool


def claims_of(notebook: NotebookNode) -> list[Claim]:
    """Return the claims of a notebook in their order."""
    reader = Reader()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            printed = "".join(output.get("text", "") for output in cell.outputs)
            reader.read(ast.parse(cell.source).body, printed)
    return reader.claims


def words_of(call: ast.Call) -> str:
    """Return what a claim says; parts in braces differ from case to case."""
    words = call.args[0]
    return words.value if isinstance(words, ast.Constant) else ast.unparse(words)[2:-1]


def names(node: ast.AST) -> set[str]:
    """Return the names and attributes in a piece of code."""
    found = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return found | {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}


class Bounds:
    """Follows the names of a notebook, and reads what a condition compares with which number."""

    def __init__(self) -> None:
        self.assigned: dict[str, ast.expr] = {}
        self.numbers: dict[str, float] = {}
        self.pinned: dict[str, dict[str, float]] = {}  # what a claim has said of a name: above, below

    def bind(self, name: str, value: ast.expr) -> None:
        """Note what a name stands for."""
        number = self.number(value)
        self.assigned[name] = value
        self.pinned.pop(name, None)
        self.numbers.pop(name, None)
        if number is not None:
            self.numbers[name] = number

    def number(self, node: ast.expr) -> float | None:
        """Return the number that an expression is whatever the seed, if it can be read."""
        match node:
            case ast.Constant(value=int() | float() as value):
                return float(value)
            case ast.Name(id=name):
                return self.numbers.get(name)
            case ast.Attribute(
                value=ast.Name(id=name), attr=said
            ):  # R.mean, of R = Normal(mean=4.0, sd=1.25)
                keywords = getattr(self.assigned.get(name), "keywords", ())
                return next((self.number(k.value) for k in keywords if k.arg == said), None)
            case ast.UnaryOp(op=ast.USub(), operand=value):
                found = self.number(value)
                return None if found is None else -found
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATIONS:
                a, b = self.number(left), self.number(right)
                return None if a is None or b is None else OPERATIONS[type(op)](a, b)
            case ast.Call(func=func, args=[value]) if (called := ast.unparse(func).split(".")[-1]) in KNOWN:
                found = self.number(value)
                return KNOWN[called](found) if found else None
        return None

    def end(self, node: ast.expr, side: str) -> float | None:
        """Return the number that something is compared with, which may be what a claim has said of a name."""
        found = self.number(node)
        if found is None and len(known := names(node) & set(self.pinned)) == 1:
            return self.pinned[known.pop()][FLIPPED[side]]
        return found

    def of(self, node: ast.expr) -> Iterator[tuple[ast.expr, Bound]]:
        """Yield what a condition compares with numbers, and how."""
        match node:
            case ast.Name(id=name) if name in self.assigned:
                yield from self.of(self.assigned[name])
            case ast.BoolOp(op=ast.And(), values=parts):
                for part in parts:
                    yield from self.of(part)
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr(), right=right):  # ~counted | (x < 1)
                yield from self.of(left)
                yield from self.of(right)
            case (
                ast.Call(func=ast.Name(id="bool"), args=[inner])
                | ast.Call(func=ast.Attribute(value=inner, attr="all"))
            ):
                yield from self.of(inner)
            case ast.Compare(left=left, ops=operators, comparators=others):
                terms = [left, *others]
                for a, op, b in zip(terms, operators, others, strict=False):
                    if type(op) in SIDES:
                        yield from self.compared(a, SIDES[type(op)], b)

    def compared(self, a: ast.expr, side: str, b: ast.expr) -> Iterator[tuple[ast.expr, Bound]]:
        """Yield the bounds of one comparison."""
        for measured, other, way in ((a, b, side), (b, a, FLIPPED[side])):
            number = self.end(other, way)
            if number is not None:
                yield from self.solved(measured, way, number)
                return
        yield from self.solved(ast.BinOp(a, ast.Sub(), b), side, 0.0)

    def solved(self, node: ast.expr, side: str, end: float) -> Iterator[tuple[ast.expr, Bound]]:
        """Yield the bounds of what is left once known numbers and absolute values are taken from one side."""
        followed = self.assigned.get(node.id) if isinstance(node, ast.Name) else node
        match followed:
            case (
                ast.Call(func=ast.Attribute(value=x, attr="abs"), args=[])
                | ast.Call(func=ast.Name(id="abs"), args=[x])
            ) if side == "<":
                yield from self.solved(x, "<", end)
                yield from self.solved(x, ">", -end)
                return
            case ast.BinOp(left=x, op=op, right=right) if (c := self.number(right)) is not None:
                if isinstance(op, (ast.Sub, ast.Add)):
                    yield from self.solved(x, side, end + c if isinstance(op, ast.Sub) else end - c)
                    return
                if isinstance(op, (ast.Mult, ast.Div)) and c > 0:
                    yield from self.solved(x, side, end * c if isinstance(op, ast.Div) else end / c)
                    return
            case ast.BinOp(left=over, op=ast.Div(), right=under):
                yield node, Bound(side, end, (self.part(over), self.part(under)))
                return
        yield node, Bound(side, end, (self.part(node),))

    def part(self, node: ast.expr) -> str:
        """Return how one number was made of all seeds, or nothing."""
        match self.assigned.get(node.id) if isinstance(node, ast.Name) else node:
            case ast.Call(func=ast.Attribute(attr="median" | "max" | "min" as way), args=[]):
                return way
        return ""


class Reader:
    """Goes through a notebook, statement by statement, and follows which names random numbers reach."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self.touched: set[str] = set()
        self.filled: set[str] = set()
        self.bounds = Bounds()

    def random(self, found: set[str]) -> bool:
        """Return whether one of the names is random."""
        return bool(found & (RANDOM | self.touched | self.filled))

    def read(self, body: list[ast.stmt], printed: str = "") -> None:
        """Go through statements in their order.

        Args:
            body: the statements.
            printed: what the cell has printed.
        """
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
                    self.read(inner, printed)
                case ast.With(body=inner) | ast.Try(body=inner):
                    self.read(inner, printed)
                case ast.Expr(value=ast.Call(func=ast.Name(id="claim")) as call):
                    self.claim(call, printed)
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
            self.bounds.bind(name, value)

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

    def claim(self, call: ast.Call, printed: str) -> None:
        """Note a claim, and what it says of a name if no seed can change it."""
        said, condition = words_of(call), call.args[1]
        line = re.sub(r"\\{[^{}]*\\}", ".*", re.escape(said))
        share, measured = r"(?: \[at least (\d+) of (\d+) seeds\])?", r"(?: \(measured.*)?"
        shares = re.findall(rf"^Holds: {line}{share}{measured}$", printed, re.M)
        given = {keyword.arg: self.bounds.number(keyword.value) for keyword in call.keywords}
        at_least = given.get("at_least") or next((int(k) for k, n in shares if k and k != n), None)
        found = list(self.bounds.of(condition))
        random = self.random(names(condition))
        self.claims.append(
            Claim(
                words=said,
                bounds=tuple(bound for _, bound in found),
                at_least=at_least and int(at_least),
                seeds=tuple(int(n or 1) for _, n in shares),
                random=random,
            )
        )
        both = {bound.side: bound.number for _, bound in found}
        if set(self.claims[-1].seeds) <= {1} and len(both) == 2 and len({ast.dump(x) for x, _ in found}) == 1:
            (name, _), _ = found
            if isinstance(name, ast.Name):
                self.bounds.pinned[name.id] = both

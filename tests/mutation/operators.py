"""Mutation operators: small changes of one function's syntax tree.

Texts stay as they are: tests assert on state and codes, not on sentences. Module-level code is not mutated.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_BOUNDARIES = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_TRIMS = ("strip", "rstrip", "lstrip", "lower", "casefold", "removeprefix", "removesuffix")


@dataclass(frozen=True)
class Mutant:
    """One change, the `number`th of its file: `lines` are the lines of the changed statement or expression."""

    file: str
    number: int
    function: str
    first_line: int
    lines: range
    change: str
    function_hash: str
    source: str

    @property
    def key(self) -> str:
        """The same for the same change of the same source, wherever the function is in its file."""
        text = (
            f"{self.file}\n{self.function}\n{self.function_hash}\n{self.change}\n{self.lines.start - self.first_line}"
        )
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    @property
    def name(self) -> tuple[str, str, str]:
        """The words with which tests/mutants.md names it."""
        return self.file, self.function, self.change


def mutants(path: Path, file: str) -> Iterator[Mutant]:
    """Every mutant of a file's functions and methods."""
    text = path.read_text()
    tree = ast.parse(text)
    for number, (function, qualified, node, change, _) in enumerate(_changes_of(tree)):
        source = hashlib.sha256(ast.unparse(function).encode()).hexdigest()
        first = min([function.lineno, *(each.lineno for each in function.decorator_list)])
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        yield Mutant(file, number, qualified, first, lines, change, source, text)


def changed_module(mutant: Mutant) -> ast.Module:
    """The mutant's whole module."""
    tree = ast.parse(mutant.source)
    *_, changed = next(itertools.islice(_changes_of(tree), mutant.number, None))
    changed.apply()
    return ast.fix_missing_locations(tree)


def _changes_of(tree: ast.Module) -> Iterator[tuple[Function, str, Any, str, _Changed]]:
    for prefix, function in _functions(tree.body, ""):
        for node, change, changed in _changes(function):
            yield function, f"{prefix}{function.name}", node, change, changed


def _functions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Function]]:
    for node in body:
        if isinstance(node, Function):
            yield prefix, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{prefix}{node.name}.")


@dataclass
class _Changed:
    """A child of a node (`index`: in a list of children), and what replaces it."""

    parent: ast.AST
    field: str
    index: int | None
    new: Any

    def apply(self) -> None:
        if self.index is None:
            setattr(self.parent, self.field, self.new)
        else:
            getattr(self.parent, self.field)[self.index] = self.new


def _changes(function: Function) -> Iterator[tuple[Any, str, _Changed]]:
    for index, statement in enumerate(function.body):
        if index or not _is_text(statement):
            yield from _of(statement, function, "body", index)


def _of(node: ast.AST, parent: ast.AST, field: str, index: int | None) -> Iterator[tuple[Any, str, _Changed]]:
    """The changes of a node and of everything in it, but not in texts and annotations."""
    if isinstance(node, ast.JoinedStr | ast.Assert) or field == "annotation":
        return
    if isinstance(node, ast.expr | ast.stmt):
        for change, new in _replacements(node, parent, field):
            yield node, f"{_short(node)} → {change}", _Changed(parent, field, index, new)
    yield from _of_lists(node)
    for name, child in ast.iter_fields(node):
        if isinstance(child, ast.AST):
            yield from _of(child, node, name, None)
        elif isinstance(child, list):
            for place, each in enumerate(child):
                if isinstance(each, ast.AST):
                    yield from _of(each, node, name, place)


def _of_lists(node: ast.AST) -> Iterator[tuple[Any, str, _Changed]]:
    """What leaves out one child of a list: a filter, a case, the body of a handler."""
    match node:
        case ast.comprehension(ifs=[_, *_] as filters):
            for each in filters:
                rest = [other for other in filters if other is not each]
                yield each, f"if {_short(each)} → no filter", _Changed(node, "ifs", None, rest)
        case ast.Match(cases=[_, _, *_] as cases):
            for one in cases:
                rest_of = [other for other in cases if other is not one]
                named = f"case {_short(one.pattern)}{' if ' + _short(one.guard) if one.guard else ''}"
                yield one.pattern, f"{named} → no case", _Changed(node, "cases", None, rest_of)
        case ast.ExceptHandler() if not isinstance(node.body[0], ast.Raise):
            yield node, f"except {_short(node.type)} → raise", _Changed(node, "body", None, [ast.Raise()])
        case ast.BoolOp():
            for each in node.values:
                left = [other for other in node.values if other is not each]
                word = "and" if isinstance(node.op, ast.And) else "or"
                yield each, f"{_short(each)} in {word} → left out", _Changed(node, "values", None, left)


def _replacements(node: ast.expr | ast.stmt, parent: ast.AST, field: str) -> Iterator[tuple[str, ast.AST]]:
    condition = field in ("test", "guard")
    if condition and not isinstance(node, ast.Constant) and not _wording(parent):
        if not isinstance(parent, ast.While):
            yield "True", ast.Constant(value=True)
        yield "False", ast.Constant(value=False)
    match node:
        case ast.Compare(ops=[op]) if type(op) in _COMPARISONS and (not condition or isinstance(op, _BOUNDARIES)):
            other = _COMPARISONS[type(op)]()
            new = ast.Compare(left=node.left, ops=[other], comparators=node.comparators)
            yield _short(new), new
        case ast.UnaryOp(op=ast.Not(), operand=operand) if not condition:
            yield _short(operand), operand
        case ast.Constant(value=bool() as value):
            yield str(not value), ast.Constant(value=not value)
        case ast.Constant(value=int() as number) if not isinstance(parent, ast.Slice):
            yield str(number + 1), ast.Constant(value=number + 1)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.BitOr() | ast.BitAnd()) if not _is_text(left):
            yield _short(left), left
        case ast.Call(func=ast.Attribute(attr=name, value=receiver)) if name in _TRIMS:
            yield _short(receiver), receiver
        case ast.Expr() if not _is_text(node):
            yield "nothing", ast.Pass()
        case ast.Raise() | ast.Continue() | ast.AugAssign():
            yield "nothing", ast.Pass()


def _wording(parent: ast.AST) -> bool:
    """Whether a condition chooses between two texts only."""
    return isinstance(parent, ast.IfExp) and _is_text(parent.body) and _is_text(parent.orelse)


def _is_text(node: ast.AST) -> bool:
    match node:
        case ast.JoinedStr() | ast.Constant(value=str()):
            return True
        case ast.Expr(value=value):
            return _is_text(value)
        case ast.BinOp(left=left):
            return _is_text(left)
    return False


def _short(node: ast.AST | None) -> str:
    text = " ".join(ast.unparse(node).split()) if node is not None else ""
    return text if len(text) <= 70 else f"{text[:45]} … {text[-20:]}"

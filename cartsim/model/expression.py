"""The formulas of a model file: read safely, evaluated with numpy.

A formula is data, never code. It is parsed to a syntax tree, every node is held against a short list of
what is allowed, and from then on only the tree is walked. Lengths and nesting are limited so that a
hostile file gets an error instead of exhausting the interpreter.
"""

from __future__ import annotations

import ast
import math
import operator
import reprlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cartsim.errors import InputError
from cartsim.model.extent import measure

FUNCTIONS = frozenset({"exp", "log", "sqrt"})
MAX_LENGTH = 2000
MAX_DEPTH = 100

_ALLOWED = "numbers, names, + - * / **, parentheses and " + ", ".join(f"{f}(x)" for f in sorted(FUNCTIONS))
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_SIGNS = (ast.UAdd, ast.USub)


@dataclass(frozen=True)
class Expression:
    """A checked formula. Two expressions are equal when their texts are.

    text: the formula on one line; tree: its checked syntax tree; names: the names it refers to, without
    functions. Made by `parse` only.
    """

    text: str
    tree: ast.expr = field(compare=False, repr=False)
    names: frozenset[str] = field(compare=False, repr=False)

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """The value of the formula where each name has the number or array given for it.

        values: a number or array for every name in `names`; arrays broadcast as numpy's do.
        Returns a numpy float or array. Results that are not finite are returned as they come
        (inf, nan), without warnings. Raises KeyError for a name without a value.
        """
        with np.errstate(all="ignore"):
            return _evaluate(self.tree, values)

    def __reduce__(self) -> tuple[Any, ...]:
        # The text says it all and is a tenth of the tree's pickle.
        return parse, (self.text, "expression")


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Name(id=name):
            # As numpy numbers: they give inf or nan where Python's would raise.
            return np.asarray(values[name], dtype=float)[()]
        case ast.Constant(value=float() | int() as number):
            return np.float64(number)
        case ast.Call(func=ast.Name(id=function), args=[argument]):
            return getattr(np, function)(_evaluate(argument, values))
        case ast.UnaryOp(op=sign, operand=operand):
            inner = _evaluate(operand, values)
            return -inner if isinstance(sign, ast.USub) else inner
        case ast.BinOp(left=left, op=operation, right=right):
            return _OPERATORS[type(operation)](_evaluate(left, values), _evaluate(right, values))
    raise TypeError(f"not a checked formula: {ast.dump(node)}")


def parse(text: str | float, where: str) -> Expression:
    """Read a formula.

    text: the formula, or a number; where: file and entry, for the error message.
    Raises InputError for anything but numbers, names, + - * / **, parentheses, exp, log and sqrt, and for
    numbers that do not come to a finite one.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        if not _finite(text) and not isinstance(text, float):  # too long for a double, or even to be printed
            raise InputError(f"{where}: the number has more than 308 digits; numbers go up to 1.8e308")
        text = repr(text)
    if not isinstance(text, str):
        raise InputError(f"{where}: a formula must be text or a number, not {reprlib.repr(text)}")
    line = " ".join(text.split())
    shown = _short(ascii(line))
    if not line:
        raise InputError(f"{where}: the formula is empty; write a number or {_ALLOWED}")
    if len(line) > MAX_LENGTH:
        raise InputError(
            f"{where}: the formula has {len(line)} characters, at most {MAX_LENGTH} are read; "
            "split it with [definitions]"
        )
    if not line.isascii() or not line.isprintable() or "#" in line:
        odd = next(c for c in line if not c.isascii() or not c.isprintable() or c == "#")
        raise InputError(f"{where}: {odd!a} is not allowed in the formula {shown}; use {_ALLOWED}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(line, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
        reason = problem.msg if isinstance(problem, SyntaxError) else "nested too deeply"
        raise InputError(f"{where}: cannot read {shown} ({reason}); use {_ALLOWED}") from None
    names = _check(tree, line, where)
    measure(tree, {}, where)
    return Expression(line, tree, names)


def _check(tree: ast.expr, text: str, where: str) -> frozenset[str]:
    """The names in a tree in which every node is allowed; raises InputError for the first that is not."""
    names = set()
    stack: list[tuple[ast.AST, int]] = [(tree, 1)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise InputError(f"{where}: the formula is nested more than {MAX_DEPTH} deep; split it with [definitions]")
        match node:
            case ast.Constant(value=float() | int() as number) if _finite(number):
                pass
            case ast.Name(id=name) if "__" not in name and name not in FUNCTIONS:
                names.add(name)
            case ast.UnaryOp(op=op, operand=operand) if isinstance(op, _SIGNS):
                stack.append((operand, depth + 1))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                stack += [(right, depth + 1), (left, depth + 1)]
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
                stack.append((argument, depth + 1))
            case _:
                piece = _short(ascii(ast.get_source_segment(text, node) or text))
                raise InputError(f"{where}: {piece} is not allowed in a formula; use {_ALLOWED}")
    return frozenset(names)


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _finite(number: float) -> bool:
    try:
        return not isinstance(number, bool) and math.isfinite(float(number))
    except OverflowError:
        return False

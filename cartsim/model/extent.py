"""How large a formula is, counted on its syntax tree before any algebra is done with it.

Algebra with exact numbers has no bounds of its own: it would write out ``9**9**9``, and definitions that use one
another twice double at every step. So every formula is measured first, with the definitions it uses unfolded.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from cartsim.errors import InputError

MAX_OPERATIONS = 5000
"""Of one formula, and of all the equations of a model together: 17 times those of the largest shipped model."""
MAX_NESTING = 30
MAX_FACTORS = 1000


class Extent(NamedTuple):
    """The size of a formula with its definitions unfolded.

    operations: number of them; nesting: levels of functions, powers and brackets (sums in sums and products in
    products are one level); factors: how many are multiplied once powers are written out; kind: "sum", "product" or
    "" for the rest; value: the number it comes to when it is made of numbers alone, else None.
    """

    operations: int = 0
    nesting: int = 0
    factors: int = 1
    kind: str = ""
    value: float | None = None


_NAME = Extent()
_FUNCTIONS = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt}
_OPERATORS: dict[type[ast.operator], Any] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}


def measure(tree: ast.expr, known: Mapping[str, Extent], where: str) -> Extent:
    """The extent of a checked formula.

    known: extents of the definitions it may use; any other name is a quantity without a fixed value.
    Raises InputError that names `where` and the piece: for a piece made of numbers that is not a finite real
    number, a division by zero, and a formula beyond one of the limits of this module.
    """

    def walk(node: ast.expr) -> Extent:
        match node:
            case ast.Constant(value=float() | int() as number):
                return Extent(value=float(number))
            case ast.Name(id=name):
                return known.get(name, _NAME)
            case ast.UnaryOp(op=sign, operand=operand):
                inner = walk(operand)
                value = inner.value if inner.value is None or isinstance(sign, ast.UAdd) else -inner.value
                return inner._replace(operations=inner.operations + 1, value=value)
            case ast.Call(func=ast.Name(id=name), args=[argument]):
                inner = walk(argument)
                value = None if inner.value is None else float(_FUNCTIONS[name](inner.value))
                found = Extent(inner.operations + 1, inner.nesting + 1, inner.factors, "", value)
            case ast.BinOp(left=left, op=operation, right=right):
                found = _joined(walk(left), type(operation), walk(right), node, where)
            case _:
                raise TypeError(f"not a checked formula: {ast.dump(node)}")
        return _bounded(found, node, where)

    with np.errstate(all="ignore"):
        return walk(tree)


def _joined(left: Extent, operation: type[ast.operator], right: Extent, node: ast.expr, where: str) -> Extent:
    value = None
    if left.value is not None and right.value is not None:
        value = float(_OPERATORS[operation](left.value, right.value))
    elif operation is ast.Div and right.value == 0:
        raise InputError(f"{where}: {_piece(node)} divides by zero; no quantity has a value there")
    operations = left.operations + right.operations + 1
    if operation is ast.Pow:
        exponent = math.nan if right.value is None else abs(right.value)
        factors = left.factors * max(1, int(exponent)) if exponent.is_integer() else left.factors + right.factors
        return Extent(operations, max(left.nesting, right.nesting) + 1, factors, "", value)
    kind = "sum" if operation in (ast.Add, ast.Sub) else "product"
    nesting = max(side.nesting + (side.kind != kind) for side in (left, right))
    factors = max(left.factors, right.factors) if kind == "sum" else left.factors + right.factors
    return Extent(operations, nesting, factors, kind, value)


def _bounded(found: Extent, node: ast.expr, where: str) -> Extent:
    if found.value is not None and not math.isfinite(found.value):
        raise InputError(
            f"{where}: {_piece(node)} comes to {found.value:g}; numbers must come to finite real numbers, "
            "at most 1.8e308 in size"
        )
    for size, most, what in (
        (found.operations, MAX_OPERATIONS, "operations"),
        (found.nesting, MAX_NESTING, "levels of nesting"),
        (found.factors, MAX_FACTORS, "factors, powers written out"),
    ):
        if size > most:
            raise InputError(
                f"{where}: {_piece(node)} unfolds to {_count(size)} {what}, at most {most} are read; "
                "write it with fewer, or carry a part as a state of its own"
            )
    return found


def _count(size: int) -> str:
    return str(size) if size < 10**9 else f"{float(size):.0e}" if size < 10**300 else "over 1e300"


def _piece(node: ast.expr) -> str:
    text = ast.unparse(node)
    return repr(text if len(text) <= 60 else text[:57] + "...")

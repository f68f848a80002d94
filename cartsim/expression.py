"""The formulas of a model file: read safely, evaluated with numpy, checked for units.

A formula is data, never code. It is parsed to a syntax tree, every node is held against a short list of
what is allowed, and from then on only the tree is walked. Lengths and nesting are limited so that a
hostile file gets an error instead of exhausting the interpreter.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.errors import InputError

if TYPE_CHECKING:
    import pint

FUNCTIONS = frozenset({"exp", "log", "sqrt"})
MAX_LENGTH = 2000
MAX_DEPTH = 100

_ALLOWED = "numbers, names, + - * / **, parentheses and " + ", ".join(f"{f}(x)" for f in sorted(FUNCTIONS))
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
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


def _evaluate(node: ast.AST, values: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        # As numpy numbers: they give inf or nan where Python's would raise.
        return np.asarray(values[node.id], dtype=float)[()]
    if isinstance(node, ast.Constant):
        return np.float64(node.value)
    if isinstance(node, ast.Call):
        return getattr(np, node.func.id)(_evaluate(node.args[0], values))
    if isinstance(node, ast.UnaryOp):
        inner = _evaluate(node.operand, values)
        return -inner if isinstance(node.op, ast.USub) else inner
    left, right = _evaluate(node.left, values), _evaluate(node.right, values)
    match node.op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case _:
            return left**right


def parse(text: str | float, where: str) -> Expression:
    """Read a formula.

    text: the formula, or a number; where: file and entry, for the error message.
    Raises InputError for anything but numbers, names, + - * / **, parentheses, exp, log and sqrt.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        text = repr(text)
    if not isinstance(text, str):
        raise InputError(f"{where}: a formula must be text or a number, not {text!r}")
    line = " ".join(text.split())
    shown = line if len(line) <= 80 else line[:77] + "..."
    if not line:
        raise InputError(f"{where}: the formula is empty; write a number or {_ALLOWED}")
    if len(line) > MAX_LENGTH:
        raise InputError(f"{where}: the formula has {len(line)} characters, at most {MAX_LENGTH} are read; "
                         "split it with [definitions]")
    if not line.isascii() or not line.isprintable() or "#" in line:
        odd = next(c for c in line if not c.isascii() or not c.isprintable() or c == "#")
        raise InputError(f"{where}: {odd!r} is not allowed in a formula ({shown}); use {_ALLOWED}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(line, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
        reason = problem.msg if isinstance(problem, SyntaxError) else "nested too deeply"
        raise InputError(f"{where}: cannot read {shown!r} ({reason}); use {_ALLOWED}") from None
    return Expression(line, tree, _check(tree, line, where))


def _check(tree: ast.expr, text: str, where: str) -> frozenset[str]:
    """The names in a tree in which every node is allowed; raises InputError for the first that is not."""
    names = set()
    stack: list[tuple[ast.AST, int]] = [(tree, 1)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise InputError(f"{where}: the formula is nested more than {MAX_DEPTH} deep; "
                             "split it with [definitions]")
        match node:
            case ast.Constant(value=value) if type(value) in (int, float) and _finite(value):
                pass
            case ast.Name(id=name) if "__" not in name and name not in FUNCTIONS:
                names.add(name)
            case ast.UnaryOp(op=op, operand=operand) if isinstance(op, _SIGNS):
                stack.append((operand, depth + 1))
            case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _OPERATORS):
                stack += [(right, depth + 1), (left, depth + 1)]
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
                stack.append((argument, depth + 1))
            case _:
                piece = ast.get_source_segment(text, node) or text
                piece = piece if len(piece) <= 80 else piece[:77] + "..."
                raise InputError(f"{where}: {piece!r} is not allowed in a formula; use {_ALLOWED}")
    return frozenset(names)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


# --- units -------------------------------------------------------------------------------------------

# cells, receptor molecules and gene copies are dimensions of their own: a rate per cell is not a rate.
_UNITS = """
milli- = 1e-3 = m-
micro- = 1e-6 = u-
nano- = 1e-9 = n-
pico- = 1e-12 = p-
kilo- = 1e3 = k-
second = [time] = s
minute = 60 second = min
hour = 60 minute = h
day = 24 hour = d
week = 7 day
month = 30.4375 day
year = 365.25 day
meter = [length] = m
mm3 = 1e-9 meter ** 3
liter = 1e-3 meter ** 3 = L
gram = [mass] = g
mole = [substance] = mol
molar = mole / liter = M
cell = [cells]
molecule = [molecules]
copy = [copies] = _ = copies
percent = 0.01
"""


@lru_cache(maxsize=1)
def _registry() -> pint.UnitRegistry:
    import pint  # takes a third of a second, and a file is checked only once

    registry = pint.UnitRegistry(None)
    for line in _UNITS.strip().splitlines():
        registry.define(line)
    return registry


def parse_unit(text: str, where: str) -> pint.Unit:
    """Read a unit such as ``1/day``, ``cells/L`` or ``copies/ug``; ``1`` is dimensionless.

    Raises InputError for a unit that is not known.
    """
    import pint

    formula = parse(text, where)
    known = {}
    for name in formula.names:
        try:
            known[name] = _registry().parse_units(name)
        except pint.UndefinedUnitError:
            raise InputError(f"{where}: unknown unit {name!r} in {text!r}; use s, min, h, day, week, month, "
                             "year, m, mm3, L, g, mol, M (with m, u, n, p, k before them), cell, molecule, "
                             "copy, percent") from None
    if any(isinstance(n, ast.Constant) and n.value != 1 and not _is_exponent(formula.tree, n)
           for n in ast.walk(formula.tree)):
        raise InputError(f"{where}: a unit has no numbers but 1 and powers, not {text!r}")
    return unit_of(formula, known, where)


def _is_exponent(tree: ast.AST, number: ast.Constant) -> bool:
    powers = [n.right for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Pow)]
    return any(number is leaf for power in powers for leaf in ast.walk(power))


def same_unit(one: pint.Unit | None, other: pint.Unit | None) -> bool:
    """Whether two units are equal, conversion factor included. None (the number 0) fits any unit."""
    if one is None or other is None:
        return True
    ratio = _registry().Quantity(1.0, one / other).to_base_units()
    return ratio.unitless and math.isclose(ratio.magnitude, 1.0, rel_tol=1e-9)


def unit_of(expression: Expression, units: Mapping[str, pint.Unit], where: str) -> pint.Unit | None:
    """The unit of a formula whose names have the given units; None for the number 0, which fits any.

    Strict: sums of equal units only (conversion factors are constants of the model), arguments of exp and
    log and exponents dimensionless, and so the base of any power that is not a whole number.
    Raises InputError that names `where`, the piece and the units found.
    """
    one = _registry().dimensionless

    def plain(node: ast.AST, role: str) -> None:
        unit = walk(node)
        if not same_unit(unit, one):
            raise InputError(f"{where}: {role} must be dimensionless, but {ast.unparse(node)!r} has unit "
                             f"{unit_text(unit)}; divide by a quantity of that unit")

    def power(node: ast.BinOp) -> pint.Unit | None:
        plain(node.right, "an exponent")
        exponent = _literal(node.right)
        if exponent is None or exponent != int(exponent):
            plain(node.left, "the base of a power that is not a whole number")
            return one
        base = walk(node.left)
        return None if base is None else base ** int(exponent)

    def walk(node: ast.AST) -> pint.Unit | None:
        if isinstance(node, ast.Name):
            return units[node.id]
        if isinstance(node, ast.Constant):
            return one if node.value else None
        if isinstance(node, ast.UnaryOp):
            return walk(node.operand)
        if isinstance(node, ast.Call):
            if node.func.id == "sqrt":
                inner = walk(node.args[0])
                return None if inner is None else inner**0.5
            plain(node.args[0], f"the argument of {node.func.id}")
            return one
        if isinstance(node.op, ast.Pow):
            return power(node)
        left, right = walk(node.left), walk(node.right)
        if isinstance(node.op, (ast.Add, ast.Sub)):
            if not same_unit(left, right):
                raise InputError(f"{where}: {ast.unparse(node)!r} adds {unit_text(left)} to "
                                 f"{unit_text(right)}; bring both to one unit with a constant")
            return right if left is None else left
        if isinstance(node.op, ast.Mult):
            return None if left is None or right is None else left * right
        if right is None:
            raise InputError(f"{where}: {ast.unparse(node)!r} divides by zero")
        return None if left is None else left / right

    return walk(expression.tree)


def unit_text(unit: pint.Unit | None) -> str:
    """A unit in words for a message, reduced so that day/s does not hide behind other factors."""
    if unit is None:
        return "any unit"
    reduced = _registry().Quantity(1.0, unit).to_reduced_units()
    factor = "" if math.isclose(reduced.magnitude, 1.0, rel_tol=1e-9) else f"{reduced.magnitude:.6g} "
    return f"{factor}{reduced.units!s}" if str(reduced.units) else f"{factor}dimensionless".strip()


def _literal(node: ast.AST) -> float | None:
    """The number that a node spells out (with a sign), else None."""
    if isinstance(node, ast.UnaryOp):
        inner = _literal(node.operand)
        return None if inner is None else (-inner if isinstance(node.op, ast.USub) else inner)
    return float(node.value) if isinstance(node, ast.Constant) else None



"""Units: reading them, and the unit of a formula. pint does the arithmetic, imported only when needed."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from cartsim.errors import InputError
from cartsim.model.expression import Expression, parse

if TYPE_CHECKING:
    from pint.facets.plain import PlainUnit as Unit
    from pint.registry import UnitRegistry

# Cells, receptor molecules and gene copies are dimensions of their own: a rate per cell is not a rate.
_DEFINITIONS = """
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
_KNOWN = (
    "s, min, h, day, week, month, year, m, mm3, L, g, mol, M (with p, n, u, m, k before them), cell, "
    "molecule, copy, percent, 1"
)


@lru_cache(maxsize=1)
def _registry() -> UnitRegistry:
    import pint  # takes a third of a second, and a file is checked only once

    registry: UnitRegistry = pint.UnitRegistry(None)
    for line in _DEFINITIONS.strip().splitlines():
        registry.define(line)
    return registry


def parse_unit(text: str, where: str) -> Unit:
    """Read a unit such as ``1/day``, ``cells/L`` or ``copies/ug``; ``1`` is dimensionless.

    Raises InputError for a unit that is not known, naming `where`.
    """
    import pint

    formula = parse(text, where)
    known: dict[str, Unit] = {}
    for name in formula.names:
        try:
            known[name] = _registry().parse_units(name)
        except (pint.PintError, ValueError):
            raise InputError(f"{where}: unknown unit {name!r} in {text!r}; use {_KNOWN}") from None

    def read(node: ast.expr) -> Unit:
        match node:
            case ast.Name(id=name):
                return known[name]
            case ast.Constant(value=1):
                return _registry().dimensionless
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return read(left) * read(right)
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return read(left) / read(right)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                exponent = _literal(right)
                if exponent is not None and exponent in range(-9, 10):
                    return read(left) ** int(exponent)
        raise InputError(f"{where}: {text!r} is not a unit; write names joined by * and /, powers as L**2")

    return read(formula.tree)


def same_unit(one: Unit | None, other: Unit | None) -> bool:
    """Whether two units are equal, conversion factor included. None (the number 0) fits any unit."""
    if one is None or other is None:
        return True
    try:
        ratio = _registry().Quantity(1.0, one / other).to_base_units()
    except ArithmeticError:  # a factor beyond the doubles, such as day**99/s**99
        return False
    return ratio.unitless and math.isclose(ratio.magnitude, 1.0, rel_tol=1e-9)


def unit_text(unit: Unit | None) -> str:
    """A unit for a message, with factors such as s/day brought together."""
    if unit is None:
        return "any unit"
    try:
        reduced = _registry().Quantity(1.0, unit).to_reduced_units()
    except ArithmeticError:
        return str(unit)
    factor = "" if math.isclose(reduced.magnitude, 1.0, rel_tol=1e-9) else f"{reduced.magnitude:.6g} "
    return min(str(unit), f"{factor}{reduced.units}", key=len)


def unit_of(expression: Expression, units: Mapping[str, Unit | None], where: str) -> Unit | None:
    """The unit of a formula whose names have the given units; None for the number 0, which fits any.

    Strict: sums of equal units only (conversion factors are constants of the model), arguments of exp and
    log and exponents dimensionless, and so the base of any power that is not a whole number.
    Raises InputError that names `where`, the piece and the units found.
    """
    one = _registry().dimensionless

    def plain(node: ast.expr, role: str) -> Unit:
        unit = walk(node)
        if not same_unit(unit, one):
            raise InputError(
                f"{where}: {role} must be dimensionless, but {ast.unparse(node)!r} has unit "
                f"{unit_text(unit)}; divide by a quantity of that unit"
            )
        return one

    def power(base: ast.expr, exponent: ast.expr) -> Unit | None:
        plain(exponent, "an exponent")
        number = _literal(exponent)
        if number is None or number != int(number):
            return plain(base, "the base of a power that is not a whole number")
        unit = walk(base)
        return None if unit is None else unit ** int(number)

    def walk(node: ast.expr) -> Unit | None:
        match node:
            case ast.Name(id=name):
                return units[name]
            case ast.Constant(value=value):
                return one if value else None
            case ast.UnaryOp(operand=operand):
                return walk(operand)
            case ast.Call(func=ast.Name(id="sqrt"), args=[argument]):
                unit = walk(argument)
                return None if unit is None else unit**0.5
            case ast.Call(func=ast.Name(id=function), args=[argument]):
                return plain(argument, f"the argument of {function}")
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return power(left, right)
            case ast.BinOp(left=left, op=operation, right=right):
                return join(node, walk(left), operation, walk(right))
        raise TypeError(f"not a checked formula: {ast.dump(node)}")

    def join(node: ast.expr, left: Unit | None, operation: ast.operator, right: Unit | None) -> Unit | None:
        match operation:
            case ast.Add() | ast.Sub():
                if not same_unit(left, right):
                    raise InputError(
                        f"{where}: {ast.unparse(node)!r} joins {unit_text(left)} and "
                        f"{unit_text(right)}; bring both to one unit with a constant"
                    )
                return right if left is None else left
            case ast.Mult():
                return None if left is None or right is None else left * right
        if right is None:
            raise InputError(f"{where}: {ast.unparse(node)!r} divides by zero")
        return None if left is None else left / right

    return walk(expression.tree)


def _literal(node: ast.expr) -> float | None:
    """The number that a node spells out (with a sign), else None."""
    match node:
        case ast.Constant(value=float() | int() as number):
            return float(number)
        case ast.UnaryOp(op=sign, operand=operand):
            inner = _literal(operand)
            return -inner if inner is not None and isinstance(sign, ast.USub) else inner
    return None

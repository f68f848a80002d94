"""From a model's equations to the expressions that are integrated.

A log-scaled state x is carried as y = ln x. Its equation becomes dy/dt = rate / x, where the division is carried into
the terms, so that only ratios of log-scaled states remain and those are exponentials of differences: nothing overflows
when a pool falls to e^-800 of its start, and nothing is lost to cancellation.

Symbols are numbered: no name of a model file goes any further. Exact numbers have no size that they cannot reach, so
only small whole numbers stay exact; every other number is a double at once, and every expression has a largest size.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations_with_replacement

import sympy as sp

from cartsim.engine import size
from cartsim.engine.size import Budget
from cartsim.errors import InputError
from cartsim.model.expression import Expression
from cartsim.model.model import in_order, shown
from cartsim.model.reader import Model, check_extents

TIME = sp.Symbol("t", real=True)
MAX_WHOLE = 1000
"""Whole numbers up to here are exact, so that x**2 is a square; larger ones are doubles."""


@dataclass(frozen=True)
class System:
    """A model in integration variables y (ln x for log-scaled states, x for linear ones).

    ``slopes[i]`` is dy_i/dt, ``jacobian[i, j]`` its derivative by y_j (absent where it is zero) and ``drift[i]`` its
    derivative by time. ``natural_*`` hold the same model in natural units, as the file states it.
    """

    y: tuple[sp.Symbol, ...]
    x: tuple[sp.Symbol, ...]
    parameters: tuple[sp.Symbol, ...]
    slopes: tuple[sp.Expr, ...]
    jacobian: dict[tuple[int, int], sp.Expr]
    drift: tuple[sp.Expr, ...]
    natural_rates: tuple[sp.Expr, ...]
    natural_initial: tuple[sp.Expr, ...]
    natural_seeds: dict[int, sp.Expr]
    natural_outputs: tuple[sp.Expr, ...]
    per_dose: sp.Expr | None


def build(model: Model) -> System:
    """Translate a checked model into a :class:`System`.

    Raises InputError that names the entry when its algebra grows beyond the limits of ``size``.
    """
    check_extents(model)
    budget = Budget()
    # Numbered in the order of the names: sympy orders terms by their symbols, and so sums round.
    parameters = _numbered("p", model.parameters)
    y, x = _numbered("y", model.states), _numbered("x", model.states)
    log_scaled = [state.scale == "log" for state in model.states.values()]
    carried_as = [sp.exp(v) if log else v for v, log in zip(y.values(), log_scaled, strict=True)]
    natural = _Reader(model, parameters | x | {"time": TIME}, budget)
    carried = _Reader(model, parameters | dict(zip(y, carried_as, strict=True)) | {"time": TIME}, budget)
    linear_part = {v for v, log in zip(y.values(), log_scaled, strict=True) if not log}

    slopes, jacobian, drift = [], {}, []
    for i, (state, variable) in enumerate(zip(model.states.values(), y.values(), strict=True)):
        with _entry(model, f"states.{state.name}.rate"):
            slope = carried(state.rate)
            if log_scaled[i]:
                slope = _relative(slope, variable, linear_part, budget)
            slopes.append(budget.measured(_differences_of_logs(slope, budget)))
            for j, other in enumerate(y.values()):
                if slopes[i].has(other):
                    derivative = budget.derivative(slopes[i], other)
                    jacobian[i, j] = budget.measured(_differences_of_logs(derivative, budget))
            drift.append(budget.measured(budget.derivative(slopes[i], TIME)))

    def read(formula: Expression, where: str) -> sp.Expr:
        with _entry(model, where):
            return budget.measured(natural(formula))

    states = model.states.values()
    return System(
        y=tuple(y.values()),
        x=tuple(x.values()),
        parameters=tuple(parameters.values()),
        slopes=tuple(slopes),
        jacobian=jacobian,
        drift=tuple(drift),
        natural_rates=tuple(read(s.rate, f"states.{s.name}.rate") for s in states),
        natural_initial=tuple(read(s.initial, f"states.{s.name}.initial") for s in states),
        natural_seeds={i: read(s.seed, f"states.{s.name}.seed") for i, s in enumerate(states) if s.seed},
        natural_outputs=tuple(read(o.value, f"outputs.{o.name}.value") for o in model.outputs.values()),
        per_dose=read(model.dosing.per_dose, "dosing.per_dose") if model.dosing else None,
    )


def _numbered(letter: str, names: Iterable[str]) -> dict[str, sp.Symbol]:
    """A numbered symbol for each name, in the order given, the numbers in alphabetical order."""
    names = list(names)
    digits = len(str(len(names)))
    numbers = {name: k for k, name in enumerate(sorted(names))}
    return {name: sp.Symbol(f"{letter}_{numbers[name]:0{digits}d}", real=True) for name in names}


@contextmanager
def _entry(model: Model, where: str) -> Iterator[None]:
    """Says which entry of a model an error is about."""
    try:
        yield
    except InputError as problem:
        raise InputError(f"model {shown(model.name)}: {where}: {problem}") from None


class _Reader:
    """Turns checked formulas into sympy, with names looked up and definitions unfolded."""

    def __init__(self, model: Model, known: dict[str, sp.Expr], budget: Budget) -> None:
        self.definitions = {name: model.definitions[name] for name in in_order(model.definitions, "definitions")}
        self.known = dict(known)
        self.budget = budget

    def __call__(self, formula: Expression) -> sp.Expr:
        needed = set(formula.names)
        for name in reversed(self.definitions):
            if name in needed:
                needed |= self.definitions[name].names
        for name, definition in self.definitions.items():  # each after those it uses
            if name in needed and name not in self.known:
                self.known[name] = self.read(definition.tree)
        return self.read(formula.tree)

    def read(self, node: ast.AST) -> sp.Expr:
        """One node, a double if it has no symbols, and measured."""
        value = self.joined(node)
        if not value.free_symbols:
            return _number(value)
        return self.budget.measured(value)

    def joined(self, node: ast.AST) -> sp.Expr:
        match node:
            case ast.Constant(value=number):
                return sp.Integer(number) if isinstance(number, int) else sp.Float(number)
            case ast.Name(id=name):
                return self.known[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.read(operand)
            case ast.UnaryOp(operand=operand):
                return self.read(operand)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return _power(self.read(left), self.read(right))
            case ast.BinOp(left=left, op=op, right=right):
                a, b = self.read(left), self.read(right)
                if isinstance(op, ast.Add):
                    return a + b
                if isinstance(op, ast.Sub):
                    return a - b
                return a * b if isinstance(op, ast.Mult) else _quotient(a, b, self.budget)
            case ast.Call(func=ast.Name(id=name), args=[argument]):
                value = self.read(argument)
                return {"log": _log, "exp": sp.exp, "sqrt": _sqrt}[name](value)
        raise TypeError(f"expression node {type(node).__name__} should have been refused by the parser")


def _number(value: sp.Expr) -> sp.Expr:
    """A small whole number as it is, any other as a double: exact ones have no largest size."""
    if value.is_Integer and abs(value) <= MAX_WHOLE:
        return value
    return sp.Float(size.number(value))


def _numeric(value: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """A product as the size of its number and the rest, which keeps the sign."""
    factors = sp.Mul.make_args(value)
    fixed = sp.Mul(*[f for f in factors if not f.free_symbols])
    rest = sp.Mul(*[f for f in factors if f.free_symbols])
    return (-fixed, -rest) if fixed.is_negative else (fixed, rest)


def _log(value: sp.Expr) -> sp.Expr:
    """Ln of a product with exponentials as a sum, so that ln(exp(y)/p) is y - ln p."""
    if not value.free_symbols:
        return sp.Float(math.log(size.number(value))) if value.is_positive else sp.nan
    fixed, value = _numeric(value)
    if fixed != 1:
        return _log(fixed) + _log(value)
    factors = sp.Mul.make_args(value)
    exponents = [f.args[0] for f in factors if isinstance(f, sp.exp)]
    if not exponents:
        return sp.log(value)
    rest = sp.Mul(*[f for f in factors if not isinstance(f, sp.exp)])
    return sp.Add(*exponents) + (sp.log(rest) if rest != 1 else 0)


def _sqrt(value: sp.Expr) -> sp.Expr:
    if not value.free_symbols:
        return sp.Float(math.sqrt(size.number(value))) if value.is_nonnegative else sp.nan
    fixed, rest = _numeric(value)
    return sp.sqrt(rest) if fixed == 1 else _sqrt(fixed) * sp.sqrt(rest)


def _quotient(a: sp.Expr, b: sp.Expr, budget: Budget) -> sp.Expr:
    """A / b, saturating fractions brought to the form 1 / (1 + ...), which no small pool can turn into 0/0.

    Both are multiplied by the sums that b's own terms are divided by, and then divided by a's exponential.
    """
    for term in sp.Add.make_args(b):
        for factor in sp.Mul.make_args(term):
            if factor.is_Pow and factor.exp == -1 and factor.base.is_Add:
                b = budget.measured(sp.Add(*[t * factor.base for t in sp.Add.make_args(b)]))
                a = budget.measured(a * factor.base)
    exponents = [f.args[0] for f in sp.Mul.make_args(a) if isinstance(f, sp.exp)]
    if b.is_Add and exponents:
        inverse = sp.exp(-sp.Add(*exponents))
        return _merged(*sp.Mul.make_args(a), inverse, budget=budget) / _times(b, inverse, budget)
    return a / b


def _times(terms: sp.Expr, factor: sp.Expr, budget: Budget) -> sp.Expr:
    """A sum times an exponential, carried into every term."""
    parts = sp.Add.make_args(budget.expanded(terms))
    return sp.Add(*[_merged(*sp.Mul.make_args(part), factor, budget=budget) for part in parts])


def _power(base: sp.Expr, exponent: sp.Expr) -> sp.Expr:
    if exponent.is_Integer:
        return base**exponent
    return sp.exp(exponent * _log(base))


def _differences_of_logs(expression: sp.Expr, budget: Budget) -> sp.Expr:
    """exp(a) exp(-b) as exp(a - b): the ratio of two vanishing pools is a number, not 0/0."""
    expression = expression.replace(
        lambda e: e.is_Mul and sum(isinstance(f, sp.exp) for f in e.args) > 1,
        lambda e: _merged(*e.args, budget=budget),
    )
    return expression.replace(
        lambda e: e.is_Mul and any(isinstance(f, sp.exp) for f in e.args),
        lambda e: _balanced(*e.args, budget=budget),
    )


def _balanced(*factors: sp.Expr, budget: Budget) -> sp.Expr:
    """exp(u + v) / (b exp(u) + c exp(v))**2 as a product of ratios, of which none is inf * 0 when the pools vanish."""
    for exponential in (f for f in factors if isinstance(f, sp.exp)):
        for power in (f for f in factors if f.is_Pow and f.base.is_Add and f.exp.is_Integer and f.exp < -1):
            terms = (f for term in power.base.args for f in sp.Mul.make_args(term))
            exponents = sorted({f.args[0] for f in terms if isinstance(f, sp.exp)}, key=str)
            for parts in combinations_with_replacement(exponents, -int(power.exp)):
                if budget.expanded(sp.Add(*parts) - exponential.args[0]) == 0:
                    rest = [f for f in factors if f not in (exponential, power)]
                    return sp.Mul(*rest, *(1 / _times(power.base, sp.exp(-part), budget) for part in parts))
    return sp.Mul(*factors)


def _merged(*factors: sp.Expr, budget: Budget) -> sp.Expr:
    """A product with its exponentials in one."""
    exponents = [f.args[0] for f in factors if isinstance(f, sp.exp)]
    rest = [f for f in factors if not isinstance(f, sp.exp)]
    return sp.Mul(*rest, sp.exp(budget.expanded(sp.Add(*exponents))))


def _relative(rate: sp.Expr, variable: sp.Symbol, linear_part: set[sp.Symbol], budget: Budget) -> sp.Expr:
    """Rate / exp(variable), the division carried into the factor of each term that takes it without a pole."""
    terms = []
    for term in sp.Add.make_args(rate):
        factors = list(sp.Mul.make_args(term))
        if not any(isinstance(f, sp.exp) and f.has(variable) for f in factors):
            sums = [k for k, f in enumerate(factors) if f.is_Add and f.has(variable)]
            # Of several sums, the one without linear states, and with most terms: its partners vanish together.
            sums.sort(key=lambda k: (len(factors[k].free_symbols & linear_part), -len(factors[k].atoms(sp.exp))))
            if sums:
                factors[sums[0]] = _times(factors[sums[0]], sp.exp(-variable), budget)
                terms.append(sp.Mul(*factors))
                continue
        terms.append(term * sp.exp(-variable))
    return sp.Add(*terms)

"""From a model's equations to the expressions that are integrated.

A log-scaled state x is carried as y = ln x. Its equation becomes dy/dt = rate / x, where the division is carried into
the terms, so that only ratios of log-scaled states remain and those are exponentials of differences: nothing overflows
when a pool falls to e^-800 of its start, and nothing is lost to cancellation.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from itertools import combinations_with_replacement

import sympy as sp

from cartsim.model.reader import Model

TIME = sp.Symbol("t", real=True)


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
    """Translate a checked model into a :class:`System`."""
    names = list(model.states)
    parameters = {name: sp.Symbol(f"p_{name}", real=True) for name in model.parameters}
    y = tuple(sp.Symbol(f"y_{name}", real=True) for name in names)
    x = tuple(sp.Symbol(f"x_{name}", real=True) for name in names)
    log_scaled = [model.states[name].scale == "log" for name in names]

    def reader(state_values: dict[str, sp.Expr]) -> _Reader:
        return _Reader(model, parameters | state_values | {"time": TIME})

    natural = reader(dict(zip(names, x, strict=True)))
    carried = reader({n: sp.exp(v) if log else v for n, v, log in zip(names, y, log_scaled, strict=True)})

    linear_part = {v for v, log in zip(y, log_scaled, strict=True) if not log}
    slopes = []
    for i, name in enumerate(names):
        rate = carried(model.states[name].rate.tree)
        slopes.append(_differences_of_logs(_relative(rate, y[i], linear_part) if log_scaled[i] else rate))
    jacobian = {}
    for i, slope in enumerate(slopes):
        for j, variable in enumerate(y):
            if slope.has(variable):
                jacobian[i, j] = _differences_of_logs(sp.diff(slope, variable))
    return System(
        y=y,
        x=x,
        parameters=tuple(parameters.values()),
        slopes=tuple(slopes),
        jacobian=jacobian,
        drift=tuple(sp.diff(slope, TIME) for slope in slopes),
        natural_rates=tuple(natural(model.states[n].rate.tree) for n in names),
        natural_initial=tuple(natural(model.states[n].initial.tree) for n in names),
        natural_seeds={
            i: natural(model.states[n].seed.tree) for i, n in enumerate(names) if model.states[n].seed
        },
        natural_outputs=tuple(natural(o.value.tree) for o in model.outputs.values()),
        per_dose=natural(model.dosing.per_dose.tree) if model.dosing else None,
    )


class _Reader:
    """Turns checked expression trees into sympy, with names looked up and definitions unfolded."""

    def __init__(self, model: Model, known: dict[str, sp.Expr]) -> None:
        self.definitions = model.definitions
        self.known = dict(known)

    def __call__(self, node: ast.AST) -> sp.Expr:
        match node:
            case ast.Constant(value=number):
                return sp.Integer(number) if isinstance(number, int) else sp.Float(number)
            case ast.Name(id=name):
                if name not in self.known:
                    self.known[name] = self(self.definitions[name].tree)
                return self.known[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self(operand)
            case ast.UnaryOp(operand=operand):
                return self(operand)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return _power(self(left), self(right))
            case ast.BinOp(left=left, op=op, right=right):
                a, b = self(left), self(right)
                if isinstance(op, ast.Add):
                    return a + b
                if isinstance(op, ast.Sub):
                    return a - b
                return a * b if isinstance(op, ast.Mult) else _quotient(a, b)
            case ast.Call(func=ast.Name(id=name), args=[argument]):
                value = self(argument)
                if name == "log":
                    return _log(value)
                return {"exp": sp.exp, "sqrt": sp.sqrt}[name](value)
        raise TypeError(f"expression node {type(node).__name__} should have been refused by the parser")


def _log(value: sp.Expr) -> sp.Expr:
    """ln of a product with exponentials as a sum, so that ln(exp(y)/p) is y - ln p."""
    factors = sp.Mul.make_args(value)
    exponents = [f.args[0] for f in factors if isinstance(f, sp.exp)]
    if not exponents:
        return sp.log(value)
    rest = sp.Mul(*[f for f in factors if not isinstance(f, sp.exp)])
    return sp.Add(*exponents) + (sp.log(rest) if rest != 1 else 0)


def _quotient(a: sp.Expr, b: sp.Expr) -> sp.Expr:
    """a / b, saturating fractions brought to the form 1 / (1 + ...), which no small pool can turn into 0/0.

    Both are multiplied by the sums that b's own terms are divided by, and then divided by a's exponential.
    """
    for term in sp.Add.make_args(b):
        for factor in sp.Mul.make_args(term):
            if factor.is_Pow and factor.exp == -1 and factor.base.is_Add:
                b = sp.Add(*[t * factor.base for t in sp.Add.make_args(b)])
                a = a * factor.base
    exponents = [f.args[0] for f in sp.Mul.make_args(a) if isinstance(f, sp.exp)]
    if b.is_Add and exponents:
        inverse = sp.exp(-sp.Add(*exponents))
        return _merged(*sp.Mul.make_args(a), inverse) / _times(b, inverse)
    return a / b


def _times(terms: sp.Expr, factor: sp.Expr) -> sp.Expr:
    """A sum times an exponential, carried into every term."""
    parts = sp.Add.make_args(sp.expand_mul(terms))
    return sp.Add(*[_merged(*sp.Mul.make_args(part), factor) for part in parts])


def _power(base: sp.Expr, exponent: sp.Expr) -> sp.Expr:
    if exponent.is_Integer:
        return base**exponent
    return sp.exp(exponent * _log(base))


def _differences_of_logs(expression: sp.Expr) -> sp.Expr:
    """exp(a) exp(-b) as exp(a - b): the ratio of two vanishing pools is a number, not 0/0."""
    expression = expression.replace(
        lambda e: e.is_Mul and sum(isinstance(f, sp.exp) for f in e.args) > 1,
        lambda e: _merged(*e.args),
    )
    return expression.replace(
        lambda e: e.is_Mul and any(isinstance(f, sp.exp) for f in e.args),
        lambda e: _balanced(*e.args),
    )


def _balanced(*factors: sp.Expr) -> sp.Expr:
    """exp(u + v) / (b exp(u) + c exp(v))**2 as a product of ratios, of which none is inf * 0 when the pools vanish."""
    for exponential in (f for f in factors if isinstance(f, sp.exp)):
        for power in (f for f in factors if f.is_Pow and f.base.is_Add and f.exp.is_Integer and f.exp < -1):
            terms = (f for term in power.base.args for f in sp.Mul.make_args(term))
            exponents = sorted({f.args[0] for f in terms if isinstance(f, sp.exp)}, key=str)
            for parts in combinations_with_replacement(exponents, -int(power.exp)):
                if sp.expand_mul(sp.Add(*parts) - exponential.args[0]) == 0:
                    rest = [f for f in factors if f not in (exponential, power)]
                    return sp.Mul(*rest, *(1 / _times(power.base, sp.exp(-part)) for part in parts))
    return sp.Mul(*factors)


def _merged(*factors: sp.Expr) -> sp.Expr:
    """A product with its exponentials in one."""
    exponents = [f.args[0] for f in factors if isinstance(f, sp.exp)]
    rest = [f for f in factors if not isinstance(f, sp.exp)]
    return sp.Mul(*rest, sp.exp(sp.expand_mul(sp.Add(*exponents))))


def _relative(rate: sp.Expr, variable: sp.Symbol, linear_part: set[sp.Symbol]) -> sp.Expr:
    """rate / exp(variable), the division carried into the factor of each term that takes it without a pole."""
    terms = []
    for term in sp.Add.make_args(rate):
        factors = list(sp.Mul.make_args(term))
        if not any(isinstance(f, sp.exp) and f.has(variable) for f in factors):
            sums = [k for k, f in enumerate(factors) if f.is_Add and f.has(variable)]
            # Of several sums, the one without linear states, and with most terms: its partners vanish together.
            sums.sort(
                key=lambda k: (len(factors[k].free_symbols & linear_part), -len(factors[k].atoms(sp.exp)))
            )
            if sums:
                factors[sums[0]] = _times(factors[sums[0]], sp.exp(-variable))
                terms.append(sp.Mul(*factors))
                continue
        terms.append(term * sp.exp(-variable))
    return sp.Add(*terms)

"""How much algebra a model may cost: every step is measured before it is made.

sympy grows expressions without a limit, and what its C code has begun cannot be interrupted. A `Budget` counts the
symbols, numbers and operations that a step can leave, and refuses the model before the step when too many are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import sympy as sp

from cartsim.errors import InputError

MAX_SIZE = 20_000
"""Of one expression, written out."""
MAX_WORK = 300_000
"""Of all expressions on the way to a kernel: 80 times a shipped model's; ten seconds or so of a processor."""
MAX_POWER = 1000

T = TypeVar("T")
_OPERATIONS = (sp.Add, sp.Mul, sp.exp, sp.log, sp.Abs, sp.sign)
_MEND = "write the equations with fewer operations, or carry a part as a state of its own"


class Budget:
    """The work that is left, and the sizes known so far."""

    def __init__(self) -> None:
        self.left = MAX_WORK
        self._sizes: dict[sp.Basic, int] = {}
        self._terms: dict[sp.Basic, tuple[int, int]] = {}

    def spend(self, work: int) -> None:
        """Raises InputError when a model's algebra costs more than ``MAX_WORK`` in all."""
        self.left -= work
        if self.left < 0:
            raise InputError(f"solving the equations takes more than {MAX_WORK} steps of algebra, "
                             f"the Jacobian with them; {_MEND}")  # fmt: skip

    def measured(self, expression: sp.Expr) -> sp.Expr:
        """The expression itself, its size spent; raises InputError when it is too large, or no real finite number."""
        self.spend(self._bounded(self.size(expression)))
        return expression

    def expanded(self, expression: sp.Expr) -> sp.Expr:
        """Products of sums as sums of products, unless that makes too many."""
        self.spend(self._bounded(_walk(expression, self._terms, _expanded_size)[1]))
        return sp.expand_mul(expression)

    def derivative(self, expression: sp.Expr, variable: sp.Symbol) -> sp.Expr:
        """The derivative by a variable, unless it is too large."""

        def derived_size(e: sp.Basic, parts: list[int]) -> int:
            if e == variable:
                return 1
            changing = [part for part in parts if part]
            if isinstance(e, sp.Add) or not changing:
                return sum(parts)
            return sum(changing) + len(changing) * self.size(e)

        self.spend(self._bounded(_walk(expression, {}, derived_size)))
        return sp.diff(expression, variable)

    def size(self, expression: sp.Expr) -> int:
        """Symbols, numbers and operations of an expression, written out."""
        return _walk(expression, self._sizes, _size)

    def _bounded(self, size: int) -> int:
        if size > MAX_SIZE:
            found = size if size < 10**9 else "over 1e9"
            raise InputError(f"the equations grow to {found} symbols, at most {MAX_SIZE} are handled in one "
                             f"expression; {_MEND}")  # fmt: skip
        return size


def _size(e: sp.Basic, parts: list[int]) -> int:
    if e.is_Number:
        number(e)
    elif e.is_Pow:
        if e.exp.is_Integer and abs(e.exp) > MAX_POWER:
            raise InputError(f"a quantity is raised to a power beyond {MAX_POWER}; use smaller powers")
    elif not (e.is_Symbol or isinstance(e, _OPERATIONS)):
        raise InputError("the equations divide by zero or leave the real numbers, whatever the parameters are; "
                         "correct them")  # fmt: skip
    return 1 + sum(parts)


def _expanded_size(e: sp.Basic, parts: list[tuple[int, int]]) -> tuple[int, int]:
    """Terms of an expression once expanded, and its size then."""
    if e.is_Add:
        return sum(terms for terms, _ in parts), 1 + sum(size for _, size in parts)
    if e.is_Mul:
        terms = math.prod(terms for terms, _ in parts)
        return terms, sum(1 + size * (terms // own) for own, size in parts)
    return 1, 1 + sum(size for _, size in parts)


def number(value: sp.Expr) -> float:
    """A number without symbols as a double; raises InputError unless it is real and finite."""
    try:
        found = float(value)
    except (TypeError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise InputError("a part of the equations comes to a number that is not real and finite, whatever the "
                         "parameters are; correct it")  # fmt: skip
    return found


def _walk(expression: sp.Basic, memo: dict[sp.Basic, T], join: Callable[[sp.Basic, list[T]], T]) -> T:
    """What ``join`` makes of an expression and its parts, from the leaves up and without recursion."""
    waiting = [expression]
    while waiting:
        e = waiting[-1]
        missing = [part for part in e.args if part not in memo]
        if e in memo or not missing:
            waiting.pop()
            if e not in memo:
                memo[e] = join(e, [memo[part] for part in e.args])
        else:
            waiting += missing
    return memo[expression]

"""What a model's equations say of its states: flows between them, growth, loss, production, and what drives each."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cartsim.model.model import Model


@dataclass(frozen=True)
class Process:
    """One process, read off the terms of the states' rates.

    kind: "flow" (a loss of ``source`` that is a gain of ``target``, up to the ratio of their volumes), "growth" (a gain
    proportional to the state itself), "production" (any other gain) or "loss"; rate: its constant or definition, such
    as K12 or expansion; drivers: states that the rate depends on beside the one it acts on; gain, loss: the terms, as
    the rates of target and source have them, both without sign.
    """

    kind: str
    source: str | None
    target: str | None
    rate: str
    drivers: tuple[str, ...]
    gain: str | None
    loss: str | None


@dataclass(frozen=True)
class _Term:
    """A term of a state's rate: a product of factors over a product of divisors."""

    state: str
    factors: tuple[str, ...]
    divisors: tuple[str, ...]

    @property
    def text(self) -> str:
        return "*".join(f"({x})" for x in self.factors) + "".join(f"/({x})" for x in self.divisors)


def processes(model: Model) -> list[Process]:
    """The processes of a model, in the order of its states. Each term of each rate is part of exactly one.

    A product is taken apart where one of its factors is a sum, so that Km*(a - b) is production and loss; a product of
    two sums, as in binding, is one term.
    """
    gains: list[_Term] = []
    losses: list[_Term] = []
    for name, state in model.states.items():
        for sign, factors, divisors in _terms(state.rate.tree):
            term = _Term(name, tuple(map(ast.unparse, factors)), tuple(map(ast.unparse, divisors)))
            (gains if sign > 0 else losses).append(term)
    found = []
    for loss in losses:
        gain = next((g for g in gains if _same_flow(loss, g)), None)
        if gain is not None:
            gains.remove(gain)
        rate = _rate(model, loss)
        found.append(
            Process(
                "loss" if gain is None else "flow",
                loss.state,
                None if gain is None else gain.state,
                rate,
                _drivers(model, (*loss.factors, *loss.divisors), loss.state),
                None if gain is None else gain.text,
                loss.text,
            )
        )
    for gain in gains:
        kind = "growth" if gain.state in gain.factors else "production"
        drivers = _drivers(model, (*gain.factors, *gain.divisors), gain.state)
        found.append(Process(kind, None, gain.state, _rate(model, gain), drivers, gain.text, None))
    order = list(model.states)
    return sorted(found, key=lambda each: order.index(each.source or each.target or ""))


def _same_flow(loss: _Term, gain: _Term) -> bool:
    """Whether a gain of another state is this loss, times or over what turns one volume into the other."""
    left = list(gain.factors)
    for factor in loss.factors:
        if factor not in left:
            return False
        left.remove(factor)
    return gain.state != loss.state and loss.state in loss.factors and set(loss.divisors) <= set(gain.divisors)


_Parts = tuple[int, list[ast.expr], list[ast.expr]]


def _terms(node: ast.expr) -> list[_Parts]:
    """Sign, factors and divisors of each term of a formula."""
    match node:
        case ast.UnaryOp(op=op, operand=operand):
            flip = -1 if isinstance(op, ast.USub) else 1
            return [(flip * sign, top, bottom) for sign, top, bottom in _terms(operand)]
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            flip = -1 if isinstance(op, ast.Sub) else 1
            return _terms(left) + [(flip * sign, top, bottom) for sign, top, bottom in _terms(right)]
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return [(sign, top, [*bottom, right]) for sign, top, bottom in _terms(left)]
        case ast.BinOp(op=ast.Mult()):
            factors = [_terms(each) for each in _factors(node)]
            if sum(len(each) > 1 for each in factors) > 1:
                return [(1, list(_factors(node)), [])]
            found: list[_Parts] = [(1, [], [])]
            for each in factors:
                found = [(s * t, [*a, *c], [*b, *d]) for s, a, b in found for t, c, d in each]
            return found
    return [(1, [node], [])]


def _factors(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            yield from _factors(left)
            yield from _factors(right)
        case _:
            yield node


def _states(model: Model, texts: Iterable[str]) -> set[str]:
    """States in formulas, also those behind definitions."""
    found, todo = set(), [name for text in texts for name in _names(text)]
    while todo:
        name = todo.pop()
        if name in model.states:
            found.add(name)
        elif name in model.definitions:
            todo += model.definitions[name].names
    return found


def _names(text: str) -> list[str]:
    return [node.id for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)]


def _drivers(model: Model, texts: Iterable[str], own: str) -> tuple[str, ...]:
    found = _states(model, texts) - {own}
    return tuple(name for name in model.states if name in found)


def _rate(model: Model, term: _Term) -> str:
    """The constants and definitions of a term, else the other state that it is times."""
    plain = [x for x in term.factors if x.isidentifier() and x not in model.states]
    constant = [x for x in term.factors if x not in plain and not _states(model, [x])]
    under = "".join(f"/{x}" for x in term.divisors)
    others = [x for x in term.factors if x in model.states and x != term.state]
    return ("*".join([*plain, *constant] or others) or "1") + under

"""Writes the source text of a model's kernel module; see ``kernel`` for what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sympy as sp
from sympy.printing.pycode import PythonCodePrinter

from cartsim.engine import symbols, tableau
from cartsim.engine.check import checked
from cartsim.engine.elimination import Elimination
from cartsim.engine.layout import LANES, Rows
from cartsim.engine.scale import ABSENT, EMPTY_BELOW, NOTHING
from cartsim.engine.size import Budget, number
from cartsim.errors import InputError
from cartsim.model.model import shown
from cartsim.model.reader import Model
from cartsim.version import __version__

_PLAIN = "@kept('{}', error_model='numpy', nogil=True)"
MAX_SOURCE = 400_000
"""Characters, ten times a shipped model's: compiling them takes minutes."""
_VECTOR, _MATRIX, _CUBE = "float64[::1]", "float64[:, ::1]", "float64[:, :, :]"


def generate(model: Model) -> str:
    """The source text of a model's kernel module, proved to be arithmetic on numbered names.

    Raises InputError for a model whose equations grow too large.
    """
    writer = _Writer(model)
    try:
        source = writer.module()
        if len(source) > MAX_SOURCE:
            raise InputError(f"its equations make {len(source)} characters of code, at most {MAX_SOURCE} are compiled; "
                             "use fewer states, or fewer that depend on one another")  # fmt: skip
        return checked(source)
    except InputError as problem:
        raise InputError(f"model {shown(model.name)}: {problem}") from None


class _Writer:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.states = list(model.states.values())
        self.n = len(self.states)
        self.system = symbols.build(model)
        constants = _Constants(self.system.parameters, (*self.system.y, symbols.TIME))

        def prepared(expression: sp.Expr) -> sp.Expr:
            return constants.hoist(_reciprocals(expression))

        self.slopes = {f"f_{i}": prepared(e) for i, e in enumerate(self.system.slopes)}
        self.jacobian = {f"j_{i}_{j}": prepared(e) for (i, j), e in self.system.jacobian.items()}
        self.drift = {f"d_{i}": prepared(e) for i, e in enumerate(self.system.drift) if e != 0}
        used = [*self.slopes.values(), *self.jacobian.values(), *self.drift.values()]
        free = {symbol for e in used for symbol in e.free_symbols}
        self.constants = {symbol: meaning for symbol, meaning in constants.meaning.items() if symbol in free}
        self.timed = symbols.TIME in free
        self.y = [s.name for s in self.system.y]
        self.c = [s.name for s in self.constants]
        # Linear pools can be gone too (extinction); log-scaled ones show it by their value.
        self.alive = [i for i, s in enumerate(self.states) if s.volume is not None and s.scale == "linear"]
        self.elimination = Elimination(self.n, set(self.system.jacobian))
        self.rows = Rows(self.n, len(self.c), len(self.elimination.factors()))

    def module(self) -> str:
        header = f'''"""Written by cartsim {__version__}; made anew when the model changes."""
from math import sqrt

from cartsim.engine.arithmetic import FAST, quick_exp, fast_exp as exp, fast_log as log
from cartsim.engine.piece import piece

EMPTY_BELOW = {EMPTY_BELOW}
N_CONSTANTS = {len(self.c)}
N_FACTORS = {len(self.elimination.factors())}
'''
        parts = (
            self.stage(),
            self.attempt(),
            self.constants_function(),
            self.initial(),
            self.infuse(),
            self.rates(),
            self.outputs(),
        )
        return "\n\n".join([header, *("\n".join(part) + "\n" for part in parts)])

    # --- one step of all lanes ------------------------------------------------------------------------------------

    def guarded(self, name: str, i: int) -> str:
        """A row of state i: zero while its pool is empty, which it stays until the next dose."""
        if self.states[i].scale == "log":
            return f"{name} if {self.y[i]} > EMPTY_BELOW else 0.0"
        return f"{name} * alive_{i}" if i in self.alive else name

    def stage(self) -> list[str]:
        """Slopes at the states of a stage, and the solution of its linear system, in every lane."""
        names = list(self.slopes)
        unknown, right = [f"k_{i}" for i in range(self.n)], [f"r_{i}" for i in range(self.n)]
        lines = [
            *(self.loaded(self.rows.moment, ["t"]) if self.timed else ()),
            *self.loaded(self.rows.at, self.y),
            *self.fixed(self.slopes.values()),
            *_block(self.slopes, 0, "s_", _STEP_PRINTER),
            *self.loaded(self.rows.known, right),
            *self.loaded(self.rows.inverse, ["inv_h"]),
            *(f"r_{i} = inv_h*r_{i} + ({self.guarded(name, i)})" for i, name in enumerate(names)),
            *self.loaded(self.rows.factors, self.elimination.factors()),
            *self.elimination.solve(right, unknown),
            *self.stored(self.rows.now, unknown),
        ]
        return ["@piece(fastmath=FAST)", "def stage(w):", *_loop(lines), "    return"]

    def attempt(self) -> list[str]:
        """One Rodas5P step tried in every lane."""
        return [
            f"@kept('void({_VECTOR}, float64)', error_model='numpy', fastmath=FAST, nogil=True)",
            "def attempt(w, rtol):",
            *_loop(self.first_stage()),
            *(line for s in range(1, tableau.STAGES) for line in (*self.moved(s), "    stage(w)")),
            "    strict = 1.0 / rtol",
            *_loop(self.ending()),
            *self.dense(),
        ]

    def loaded(self, row: int, names: Iterable[str]) -> list[str]:
        return [f"{name} = w[{row + k * LANES} + l]" for k, name in enumerate(names)]

    def stored(self, row: int, names: Iterable[str]) -> list[str]:
        return [f"w[{row + k * LANES} + l] = {name}" for k, name in enumerate(names)]

    def fixed(self, read: Iterable[sp.Expr]) -> list[str]:
        """What does not change within a step, as far as it is read."""
        free = {symbol for e in read for symbol in e.free_symbols}
        places = [(s, self.rows.constants + k * LANES) for k, s in enumerate(self.constants)]
        alive = [f"alive_{i} = w[{self.rows.alive + i * LANES} + l]" for i in self.alive]
        return [*(f"{s.name} = w[{place} + l]" for s, place in places if s in free), *alive]

    def first_stage(self) -> list[str]:
        """Slopes, Jacobian and its factors at the start of the step, where the first stage is."""
        everything = self.slopes | self.jacobian | self.drift
        drift = [f"h*h*d_{i}" if f"d_{i}" in self.drift else "0.0" for i in range(self.n)]
        return [
            *(self.loaded(self.rows.time, ["t"]) if self.timed else ()),
            *self.loaded(self.rows.step, ["h"]),
            *self.start(),
            *self.fixed(everything.values()),
            *_block(everything, 0, "q_", _STEP_PRINTER),
            *(f"{name} = {self.guarded(name, int(name.split('_')[1]))}" for name in everything),
            "inv_h = 1.0 / h",
            *self.stored(self.rows.inverse, ["inv_h"]),
            f"diagonal = {1 / tableau.GAMMA!r} * inv_h",
            *self.elimination.factor(),
            *self.stored(self.rows.factors, self.elimination.factors()),
            *(self.stored(self.rows.drift, drift) if self.drift else ()),
            *(
                f"r_{i} = f_{i}" + (f" + {tableau.DRIFT[0]!r}*h*d_{i}" if f"d_{i}" in self.drift else "")
                for i in range(self.n)
            ),
            *self.elimination.solve([f"r_{i}" for i in range(self.n)], [f"k_{i}" for i in range(self.n)]),
            *self.stored(self.rows.now, [f"k_{i}" for i in range(self.n)]),
        ]

    def start(self) -> list[str]:
        """States at the start of the step: where it was taken, the end of the last one."""
        lines = self.loaded(self.rows.taken, ["taken"])
        for i, state in enumerate(self.states):
            lines.append(f"new_{i} = w[{self.rows.new + i * LANES} + l]")
            if state.scale == "log":
                lines.append(f"new_{i} = {ABSENT!r} if new_{i} < {NOTHING!r} else new_{i}")
        lines += self.loaded(self.rows.y, self.y)
        lines += [f"{name} = new_{i} if taken > 0.0 else {name}" for i, name in enumerate(self.y)]
        return [*lines, *self.stored(self.rows.y, self.y)]

    def moved(self, s: int) -> list[str]:
        """Where the slopes of stage s are taken, and what its right-hand side has besides them, times the step."""
        rows = self.rows
        last = f"w[{rows.now} + l]"
        stages = [*(f"w[{rows.stages + m * self.n * LANES} + l]" for m in range(s - 1)), last]
        known = [f"{c!r}*{k}" for c, k in zip(tableau.C[s], stages, strict=True)]
        if self.drift and tableau.DRIFT[s]:
            known.append(f"{tableau.DRIFT[s]!r}*w[{rows.drift} + l]")
        if s < 6:
            at = [f"w[{rows.y} + l]", *(f"{a!r}*{k}" for a, k in zip(tableau.A[s], stages, strict=True))]
        else:
            at = [f"w[{rows.at} + l]", last]
        lines = self.of_all_states(
            f"w[{rows.at} + l] = {' + '.join(at)}",
            f"w[{rows.known} + l] = {' + '.join(known)}",
            f"w[{rows.stages + (s - 1) * self.n * LANES} + l] = {last}",
        )
        if self.timed and tableau.NODES[s] != tableau.NODES[s - 1]:
            moment = f"w[{rows.moment} + l] = w[{rows.time} + l] + {tableau.NODES[s]!r}*w[{rows.step} + l]"
            return [*_loop([moment]), *lines]
        return lines

    def of_all_states(self, *lines: str) -> list[str]:
        """Statements that are the same for all states, whose rows lie one behind the other."""
        return _loop(lines, self.n * LANES)

    def dense(self) -> list[str]:
        """The dense output."""
        rows, block = self.rows, self.n * LANES
        stages = [*(rows.stages + m * block for m in range(tableau.STAGES - 1)), rows.now]
        terms = [[f"{a!r}*w[{row} + l]" for a, row in zip(each, stages, strict=True)] for each in tableau.DENSE]
        return self.of_all_states(
            *(f"w[{rows.dense + d * block} + l] = {' + '.join(each)}" for d, each in enumerate(terms))
        )

    def ending(self) -> list[str]:
        """States at the end of the step, and its error in units of the tolerance."""
        rows = self.rows
        lines = ["total = 0.0"]
        for i, state in enumerate(self.states):
            place = i * LANES
            lines += [f"k_{i} = w[{rows.now + place} + l]", f"new_{i} = w[{rows.at + place} + l] + k_{i}"]
            lines += [f"w[{rows.new + place} + l] = new_{i}"]
            if state.scale == "log":
                lines.append(f"e_{i} = k_{i} * strict")  # an error of a logarithm is a relative error
            else:
                lines.append(f"x_{i} = w[{rows.y + place} + l]")
                lines.append(f"size_{i} = abs(x_{i}) if abs(x_{i}) > abs(new_{i}) else abs(new_{i})")
                lines.append(f"e_{i} = k_{i} * strict / (size_{i} + {float(state.negligible)!r})")
            lines.append(f"total = total + e_{i}*e_{i}")
        return [
            *lines,
            f"total = total * {1.0 / self.n!r}",
            *self.stored(rows.error, ["sqrt(total)"]),
            *self.stored(rows.growth, ["quick_exp(-0.1*log(total))"]),
        ]

    # --- one patient, in natural units ----------------------------------------------------------------------------

    def parameters_read(self, by: Iterable[sp.Expr]) -> list[str]:
        free = {symbol for e in by for symbol in e.free_symbols}
        return [f"    {s.name} = p[{k}]" for k, s in enumerate(self.system.parameters) if s in free]

    def constants_function(self) -> list[str]:
        """What depends on parameters alone."""
        targets = {f"c[{k}]": meaning for k, meaning in enumerate(self.constants.values())}
        head = [_PLAIN.format(f"void({_VECTOR}, {_VECTOR})"), "def constants(p, c):"]
        return [*head, *self.parameters_read(targets.values()), *_block(targets, 4, "s_"), "    return"]

    def initial(self) -> list[str]:
        """States at time 0, before any dose."""
        lines = [_PLAIN.format(f"void({_VECTOR}, {_VECTOR})"), "def initial(p, x):"]
        lines += self.parameters_read(self.system.natural_initial)
        lines += [f"    x[{i}] = {_text(e)}" for i, e in enumerate(self.system.natural_initial)]
        return lines

    def infuse(self) -> list[str]:
        """A dose, and the seeds of pools that are empty or renewed by it."""
        lines = [_PLAIN.format(f"void({_VECTOR}, float64, {_VECTOR})"), "def infuse(p, amount, x):"]
        if self.model.dosing is not None:
            assert self.system.per_dose is not None
            dosed = list(self.model.states).index(self.model.dosing.state)
            lines += self.parameters_read([self.system.per_dose, *self.system.natural_seeds.values()])
            lines.append(f"    x[{dosed}] += amount * ({_text(self.system.per_dose)})")
            lines += [f"    {s.name} = x[{i}]" for i, s in enumerate(self.system.x)]
            for i, seed in self.system.natural_seeds.items():
                if i != dosed:
                    name = self.system.x[i].name
                    line = f"x[{i}] = {name} = {_text(seed)}"
                    renewed = self.states[i].renewed
                    lines += [f"    {line}"] if renewed else [f"    if {name} == 0.0:", f"        {line}"]
        return [*lines, "    return"]

    def rates(self) -> list[str]:
        """Time derivatives as the model file states them."""
        targets = {f"dx[{i}]": e for i, e in enumerate(self.system.natural_rates)}
        return [
            _PLAIN.format(f"void(float64, {_VECTOR}, {_VECTOR}, {_VECTOR})"),
            "def rates(t, p, x, dx):",
            *self.parameters_read(targets.values()),
            *(f"    {s.name} = x[{i}]" for i, s in enumerate(self.system.x)),
            *_block({name: _reciprocals(e) for name, e in targets.items()}, 4, "s_"),
            "    return",
        ]

    def outputs(self) -> list[str]:
        """Outputs and states of patient ``who`` at its first ``done`` times, those that have a column."""
        signature = f"void({_VECTOR}, {_VECTOR}, {_MATRIX}, int64[::1], int64, int64, {_CUBE})"
        lines = [_PLAIN.format(signature), "def outputs(times, p, x, column, who, done, out):"]
        everything = [*self.system.natural_outputs, *self.system.x]
        lines += self.parameters_read(everything)
        for k, expression in enumerate(everything):
            lines += [f"    at = column[{k}]", "    if at >= 0:", "        for j in range(done):"]
            if expression.has(symbols.TIME):
                lines.append("            t = times[j]")
            lines += [f"            {s.name} = x[{i}, j]" for i, s in enumerate(self.system.x) if expression.has(s)]
            lines += _block({"out[at, who, j]": _reciprocals(expression)}, 12, "s_")
        return [*lines, "    return"]


class _Constants:
    """Collects what depends on parameters alone, to be computed once a patient instead of in every stage."""

    def __init__(self, parameters: Iterable[sp.Symbol], changing: Iterable[sp.Symbol]) -> None:
        self.changing = set(changing)
        self.meaning: dict[sp.Symbol, sp.Expr] = {}
        self._symbols: dict[sp.Expr, sp.Symbol] = {}

    def _symbol(self, meaning: sp.Expr) -> sp.Symbol:
        if meaning not in self._symbols:
            symbol = self._symbols[meaning] = sp.Symbol(f"c_{len(self._symbols)}", real=True)
            self.meaning[symbol] = meaning
        return self._symbols[meaning]

    def hoist(self, expression: sp.Expr) -> sp.Expr:
        """The expression with every largest fixed part replaced by a symbol."""
        if expression.is_Number:
            return expression
        if not expression.free_symbols & self.changing:
            return self._symbol(expression)
        if expression.is_Add or expression.is_Mul:
            fixed = expression.func(*[a for a in expression.args if not a.free_symbols & self.changing])
            moving = [self.hoist(a) for a in expression.args if a.free_symbols & self.changing]
            return expression.func(self.hoist(fixed), *moving)
        return expression.func(*[self.hoist(a) for a in expression.args]) if expression.args else expression


_reciprocal = sp.Function("reciprocal")


def _reciprocals(expression: sp.Expr) -> sp.Expr:
    """b**-k as reciprocal(b)**k, so that one division serves every use of the same denominator."""
    return expression.replace(
        lambda e: e.is_Pow and e.exp.is_Integer and e.exp.is_negative,
        lambda e: _reciprocal(e.base) ** (-e.exp),
    )


def _mirrored(expressions: list[sp.Expr]) -> list[sp.Expr]:
    """exp(-a) as reciprocal(exp(a)) where both occur: a division costs a fraction of an exponential."""
    swap: dict[sp.Expr, sp.Expr] = {}
    budget = Budget()
    atoms = sorted({e for x in expressions for e in x.atoms(sp.exp)}, key=lambda e: e.sort_key())
    for e in atoms:
        opposite = sp.exp(budget.expanded(-e.args[0]))
        if opposite in atoms and opposite not in swap:
            swap[e] = _reciprocal(opposite)
    return [x.xreplace(swap) for x in expressions]


def _block(targets: dict[str, sp.Expr], indent: int, prefix: str, printer: _Printer | None = None) -> list[str]:
    """Statements that set each target, shared subexpressions first."""
    printer = printer or _PRINTER
    shared, results = sp.cse(_mirrored(list(targets.values())), symbols=sp.numbered_symbols(prefix), order="none")
    lines = [f"{symbol} = {printer.doprint(e)}" for symbol, e in shared]
    lines += [f"{name} = {printer.doprint(e)}" for name, e in zip(targets, results, strict=True)]
    return [" " * indent + line for line in lines]


def _loop(lines: Iterable[str], length: int = LANES) -> list[str]:
    """Statements that are made for each lane l."""
    return [f"    for l in range({length}):", *("        " + line for line in lines)]


def _text(expression: sp.Expr) -> str:
    return str(_PRINTER.doprint(_reciprocals(expression)))


class _Printer(PythonCodePrinter):
    """Doubles everywhere, small powers as products, reciprocal(x) as a division."""

    exponential = "exp"

    def _print_Function(self, e: sp.Expr) -> str:  # the only one left is reciprocal
        return f"(1.0 / ({self._print(e.args[0])}))"

    def _print_exp(self, e: sp.Expr) -> str:
        return f"{self.exponential}({self._print(e.args[0])})"

    def _print_log(self, e: sp.Expr) -> str:
        return f"log({self._print(e.args[0])})"

    def _print_Integer(self, e: sp.Expr) -> str:
        return repr(number(e))

    def _print_Rational(self, e: sp.Expr) -> str:
        return repr(number(e))

    def _print_Float(self, e: sp.Expr) -> str:
        return repr(number(e))

    def _print_sign(self, e: sp.Expr) -> str:  # the slope of abs, which sqrt(x**2) is
        x = self._print(e.args[0])
        return f"(1.0 if ({x}) > 0.0 else -1.0 if ({x}) < 0.0 else 0.0)"

    def _print_Pow(self, e: sp.Expr, **_: Any) -> str:
        base, exponent = self._print(e.base), e.exp
        if abs(exponent) == sp.Rational(1, 2):
            return f"sqrt({base})" if exponent > 0 else f"(1.0 / sqrt({base}))"
        whole, factor = (exponent, f"({base})") if exponent.is_Integer else (2 * exponent, f"sqrt({base})")
        if whole.is_Integer and abs(whole) <= (4 if exponent.is_Integer else 7):
            product = "*".join([factor] * abs(int(whole)))
            return f"({product})" if exponent > 0 else f"(1.0 / ({product}))"
        if exponent.is_Integer:
            return f"(({base})**{int(exponent)})"
        return f"{self.exponential}(({self._print(exponent)})*log({base}))"


class _StepPrinter(_Printer):
    """For what is computed in every stage of every step."""

    exponential = "quick_exp"


_PRINTER, _STEP_PRINTER = (each({"fully_qualified_modules": False}) for each in (_Printer, _StepPrinter))

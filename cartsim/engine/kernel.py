"""From symbols to machine code: one generated module per model.

The module holds a handful of small functions for one patient (``constants``, ``initial``, ``infuse``, ``rates``,
``outputs``) and one large one, ``attempt``, which tries one Rodas5P step for every lane at once: slopes, analytic
Jacobian, a sparse elimination written out in full, eight stages, error estimate and dense output. Its loop body has no
branches and works on one flat array with rows at fixed offsets, so that the compiler turns it into packed instructions.

The source is kept on disk beside numba's cache of its machine code, under a name made from the model's mathematics.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from cartsim import __version__
from cartsim.cache import cache_dir
from cartsim.engine import tableau
from cartsim.model import Model

EMPTY_BELOW = -625.0  # ln of a pool that is empty, as rodas marks it, lies below
LANES = 16  # patients side by side: two packed registers of eight doubles, or four of four


@dataclass(frozen=True)
class Kernel:
    """The compiled functions of one model and the layout of their work array (rows of ``LANES`` numbers)."""

    attempt: Any
    constants: Any
    initial: Any
    infuse: Any
    rates: Any
    outputs: Any
    n_states: int
    n_constants: int
    source: Path


def compile_model(model: Model, announce: Callable[[str], None] | None = None) -> Kernel:
    """The kernel of a model, from memory, from disk, or newly made (which takes some seconds; ``announce`` is told)."""
    key = _key(model)
    module = _loaded.get(key)
    if module is None:
        path = cache_dir() / "kernels" / f"kernel_{key}.py"
        if not path.exists():
            if announce:
                announce(f"compiling {model.name} for this machine (once; about half a minute)")
            _write_whole(path, generate(model))
        module = _loaded[key] = _import(path)
    return Kernel(
        attempt=module.attempt,
        constants=module.constants,
        initial=module.initial,
        infuse=module.infuse,
        rates=module.rates,
        outputs=module.outputs,
        n_states=len(model.states),
        n_constants=module.N_CONSTANTS,
        source=Path(module.__file__),
    )


_loaded: dict[str, ModuleType] = {}


def _key(model: Model) -> str:
    """Names the generated source: the model's mathematics, the code that generates, and cartsim's version."""
    here = Path(__file__).parent
    digest = hashlib.sha256(f"{model.digest} {__version__}".encode())
    for name in ("symbols.py", "kernel.py", "tableau.py", "arithmetic.py"):
        digest.update((here / name).read_bytes())
    return digest.hexdigest()[:20]


def _write_whole(path: Path, text: str) -> None:
    """Write beside and rename, so that another process never reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(beside, path)


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    return module


# --- generating -------------------------------------------------------------------------------------------------------


def generate(model: Model) -> str:
    """The source text of a model's kernel module."""
    import sympy as sp

    from cartsim.engine import symbols

    system = symbols.build(model)
    n = len(system.y)
    constants = _Constants(system.parameters, system.y + (symbols.TIME,))
    slopes = [constants.hoist(_reciprocals(e)) for e in system.slopes]
    jacobian = {ij: constants.hoist(_reciprocals(e)) for ij, e in system.jacobian.items()}
    drift = {i: constants.hoist(_reciprocals(e)) for i, e in enumerate(system.drift) if e != 0}
    log_scaled = [state.scale == "log" for state in model.states.values()]
    countable = [state.volume is not None for state in model.states.values()]
    printer = _Printer()

    def block(targets: dict[str, sp.Expr], indent: int, prefix: str) -> list[str]:
        """Statements that set each target, shared subexpressions first."""
        shared, results = sp.cse(
            _mirror_exponentials(list(targets.values())), symbols=sp.numbered_symbols(prefix), order="none"
        )
        lines = [f"{s} = {printer.doprint(e)}" for s, e in shared]
        lines += [f"{name} = {printer.doprint(e)}" for name, e in zip(targets, results, strict=True)]
        return [" " * indent + line for line in lines]

    used = sorted(
        {s for e in [*slopes, *jacobian.values(), *drift.values()] for s in e.free_symbols} & set(constants.symbols),
        key=lambda s: constants.symbols.index(s),
    )
    y_names = [s.name for s in system.y]
    c_names = [s.name for s in used]
    live = [f"alive_{i}" for i in range(n) if countable[i] and not log_scaled[i]]
    arguments = ", ".join(["t", *y_names, *c_names, *live])

    def guard(i: int, name: str) -> str:
        """A pool that is absent stays absent: its row is zero."""
        if log_scaled[i]:
            return f"{name} if y_here_{i} > EMPTY_BELOW else 0.0"
        return f"{name} * alive_{i}" if countable[i] else name

    # slopes alone, for stages 2 to 8
    body = block({f"f_{i}": e for i, e in enumerate(slopes)}, 4, "s_")
    for i in range(n):
        body.append(f"    f_{i} = " + guard(i, f"f_{i}").replace(f"y_here_{i}", y_names[i]))
    slopes_text = "\n".join(
        [
            "@njit(error_model='numpy', fastmath=FAST, forceinline=True)",
            f"def slopes({arguments}):",
            *body,
            f"    return {', '.join(f'f_{i}' for i in range(n))}" + ("," if n == 1 else ""),
        ]
    )

    # one step for every lane
    rows = _Rows(n, len(c_names))
    step: list[str] = []
    put = step.append
    load = lambda row: f"w[{row} + l]"  # noqa: E731
    put(f"t = {load(rows.time)}")
    put(f"h = {load(rows.step)}")
    for i, name in enumerate(y_names):
        put(f"{name} = {load(rows.y + i * LANES)}")
    for k, name in enumerate(c_names):
        put(f"{name} = {load(rows.constants + k * LANES)}")
    for i in range(n):
        if f"alive_{i}" in live:
            put(f"alive_{i} = {load(rows.alive + i * LANES)}")
    targets = {f"f_{i}": e for i, e in enumerate(slopes)}
    targets |= {f"j_{i}_{j}": e for (i, j), e in jacobian.items()}
    targets |= {f"d_{i}": e for i, e in drift.items()}
    step += block(targets, 0, "q_")
    for i in range(n):
        for name in [f"f_{i}", *(f"j_{r}_{c}" for r, c in jacobian if r == i), *([f"d_{i}"] if i in drift else [])]:
            put(f"{name} = " + guard(i, name).replace(f"y_here_{i}", y_names[i]))
    put("inv_h = 1.0 / h")
    put(f"diagonal = inv_h * {1 / tableau.GAMMA!r}")
    elimination = _Elimination(n, set(jacobian))
    step += elimination.factor()
    for s in range(tableau.STAGES):
        if s == 0:
            stage_y = list(y_names)
        elif s < 6:
            for i in range(n):
                put(f"u_{i} = {y_names[i]} + " + " + ".join(f"{tableau.A[s][m]!r}*k{m}_{i}" for m in range(s)))
            stage_y = [f"u_{i}" for i in range(n)]
        else:
            for i in range(n):
                put(f"u_{i} = u_{i} + k{s - 1}_{i}")
        if s > 0:
            stage_t = "t" if tableau.NODES[s] == 0 else f"t + {tableau.NODES[s]!r}*h"
            put(
                ", ".join(f"f_{i}" for i in range(n))
                + f" = slopes({', '.join([stage_t, *stage_y, *c_names, *live])})"
                + ("" if n > 1 else "[0]")
            )
        for i in range(n):
            terms = [f"{tableau.C[s][m]!r}*k{m}_{i}" for m in range(s)]
            text = f"f_{i}" + (f" + inv_h*({' + '.join(terms)})" if terms else "")
            if i in drift and tableau.DRIFT[s] != 0:
                text += f" + {tableau.DRIFT[s]!r}*h*d_{i}"
            put(f"r_{i} = {text}")
        step += elimination.solve([f"r_{i}" for i in range(n)], [f"k{s}_{i}" for i in range(n)])
    last = tableau.STAGES - 1
    put("total = 0.0")
    for i in range(n):
        put(f"new_{i} = u_{i} + k{last}_{i}")
        put(f"{load(rows.new + i * LANES)} = new_{i}")
        if log_scaled[i]:
            put(f"e_{i} = k{last}_{i} / rtol")
        else:
            negligible = list(model.states.values())[i].negligible
            put(f"size_{i} = abs({y_names[i]}) if abs({y_names[i]}) > abs(new_{i}) else abs(new_{i})")
            put(f"e_{i} = k{last}_{i} / (rtol * (size_{i} + {negligible!r}))")
        put(f"total = total + e_{i}*e_{i}")
        for d in range(3):
            put(
                f"{load(rows.dense + (d * n + i) * LANES)} = "
                + " + ".join(f"{tableau.DENSE[d][m]!r}*k{m}_{i}" for m in range(tableau.STAGES))
            )
    put(f"{load(rows.error)} = sqrt(total * {1.0 / n!r})")
    attempt_text = "\n".join(
        [
            "@njit(f'void(float64[::1], float64)', error_model='numpy', fastmath=FAST, cache=True, nogil=True)",
            "def attempt(w, rtol):",
            f"    for l in range({LANES}):",
            *("        " + line for line in step),
        ]
    )

    # one patient at a time, in natural units
    p_load = [f"    {s.name} = p[{k}]" for k, s in enumerate(system.parameters)]
    x_load = [f"    {s.name} = x[{i}]" for i, s in enumerate(system.x)]
    scalar = "@njit('{}', error_model='numpy', cache=True, nogil=True)"

    constants_text = "\n".join(
        [
            scalar.format("void(float64[::1], float64[::1])"),
            "def constants(p, c):",
            *p_load,
            *block({f"c[{k}]": constants.meaning[s] for k, s in enumerate(used)}, 4, "s_"),
            "    return",
        ]
    )
    initial_text = "\n".join(
        [
            scalar.format("void(float64[::1], float64[::1])"),
            "def initial(p, x):",
            *p_load,
            *(
                f"    x[{i}] = {system.x[i].name} = {printer.doprint(_reciprocals(e))}"
                for i, e in _in_order(system.natural_initial, system.x)
            ),
            "    return",
        ]
    )
    infuse_lines: list[str] = []
    if model.dosing:
        d = list(model.states).index(model.dosing.state)
        infuse_lines += [
            *p_load,
            f"    x[{d}] += amount * ({printer.doprint(_reciprocals(system.per_dose))})",
            *x_load,
        ]
        for i, seed in system.natural_seeds.items():
            if i != d:
                name = system.x[i].name
                infuse_lines += [
                    f"    if {name} == 0.0:",
                    f"        x[{i}] = {name} = {printer.doprint(_reciprocals(seed))}",
                ]
    infuse_text = "\n".join(
        [
            scalar.format("void(float64[::1], float64, float64[::1])"),
            "def infuse(p, amount, x):",
            *infuse_lines,
            "    return",
        ]
    )
    rates_text = "\n".join(
        [
            scalar.format("void(float64, float64[::1], float64[::1], float64[::1])"),
            "def rates(t, p, x, dx):",
            *p_load,
            *x_load,
            *block({f"dx[{i}]": _reciprocals(e) for i, e in enumerate(system.natural_rates)}, 4, "s_"),
            "    return",
        ]
    )
    out_lines: list[str] = []
    n_out = len(model.outputs)
    for k, expression in enumerate(system.natural_outputs):
        needs = [f"            {s.name} = x[{i}, j]" for i, s in enumerate(system.x) if expression.has(s)]
        out_lines += [
            f"    at = column[{k}]",
            "    if at >= 0:",
            "        for j in range(done):",
            *(["            t = times[j]"] if expression.has(symbols.TIME) else []),
            *needs,
            *block({"out[at, who, j]": _reciprocals(expression)}, 12, "s_"),
        ]
    for i in range(n):
        out_lines += [
            f"    at = column[{n_out + i}]",
            "    if at >= 0:",
            "        for j in range(done):",
            f"            out[at, who, j] = x[{i}, j]",
        ]
    outputs_text = "\n".join(
        [
            scalar.format("void(float64[::1], float64[::1], float64[:,::1], int64[::1], int64, int64, float64[:,:,::1])"),
            "def outputs(times, p, x, column, who, done, out):",
            *p_load,
            *out_lines,
            "    return",
        ]
    )
    header = [
        f'"""Generated by cartsim {__version__} from the model {model.name}; made anew when the model changes."""',
        "from math import sqrt",
        "",
        "from numba import njit",
        "",
        "from cartsim.engine.arithmetic import FAST, fast_exp as exp, fast_log as log",
        "",
        f"EMPTY_BELOW = {EMPTY_BELOW}  # ln of an empty pool lies below",
        f"N_CONSTANTS = {len(c_names)}",
        "",
        "",
    ]
    texts = [slopes_text, attempt_text, constants_text, initial_text, infuse_text, rates_text, outputs_text]
    return "\n".join(header) + "\n\n\n".join(texts) + "\n"


class _Rows:
    """Where each quantity starts in the work array; ``rodas`` reads the same layout."""

    def __init__(self, n: int, n_constants: int) -> None:
        self.time = 0
        self.step = LANES
        self.error = 2 * LANES
        self.y = 3 * LANES
        self.new = self.y + n * LANES
        self.dense = self.new + n * LANES
        self.alive = self.dense + 3 * n * LANES
        self.constants = self.alive + n * LANES
        self.size = self.constants + n_constants * LANES


class _Constants:
    """Collects what depends on parameters alone, to be computed once a patient instead of every stage."""

    def __init__(self, parameters: Iterable[Any], changing: Iterable[Any]) -> None:
        self.parameters = set(parameters)
        self.changing = set(changing)
        self.symbols: list[Any] = []
        self.meaning: dict[Any, Any] = {}
        self._by_meaning: dict[Any, Any] = {}

    def _symbol(self, expression: Any) -> Any:
        import sympy as sp

        if expression not in self._by_meaning:
            symbol = sp.Symbol(f"c_{len(self.symbols)}", real=True)
            self.symbols.append(symbol)
            self.meaning[symbol] = expression
            self._by_meaning[expression] = symbol
        return self._by_meaning[expression]

    def hoist(self, expression: Any) -> Any:
        if expression.is_Number:
            return expression
        if not expression.free_symbols & self.changing:
            return self._symbol(expression)
        if not expression.args:
            return expression
        if expression.is_Add or expression.is_Mul:
            fixed = [a for a in expression.args if not a.free_symbols & self.changing]
            moving = [self.hoist(a) for a in expression.args if a.free_symbols & self.changing]
            if not fixed:
                return expression.func(*moving)
            together = expression.func(*fixed)
            return expression.func(together if together.is_Number else self._symbol(together), *moving)
        return expression.func(*[self.hoist(a) for a in expression.args])


def _reciprocals(expression: Any) -> Any:
    """Write b**-k as reciprocal(b)**k, so that one division serves every use of the same denominator."""
    import sympy as sp

    reciprocal = sp.Function("reciprocal")
    return expression.replace(
        lambda e: e.is_Pow and e.exp.is_Integer and e.exp.is_negative,
        lambda e: reciprocal(e.base) ** (-e.exp),
    )


def _mirror_exponentials(expressions: list[Any]) -> list[Any]:
    """exp(-a) as reciprocal(exp(a)) where both occur: a division costs a fraction of an exponential."""
    import sympy as sp

    reciprocal = sp.Function("reciprocal")
    swap: dict[Any, Any] = {}
    atoms = sorted({e for x in expressions for e in x.atoms(sp.exp)}, key=lambda e: e.sort_key())
    arguments = {e.args[0] for e in atoms}
    for e in atoms:
        argument = e.args[0]
        opposite = sp.expand_mul(-argument)
        if opposite in arguments and sp.exp(opposite) not in swap:
            swap[e] = reciprocal(sp.exp(opposite))
    return [x.xreplace(swap) for x in expressions]


class _Elimination:
    """LU of (diagonal - J) in an order fixed once a model: sparse, written out, pivots on the diagonal (Markowitz)."""

    def __init__(self, n: int, pattern: set[tuple[int, int]]) -> None:
        self.pattern = pattern
        filled = set(pattern) | {(i, i) for i in range(n)}
        remaining = set(range(n))
        self.order: list[int] = []
        self.plan: list[tuple[int, list[int], list[int]]] = []
        while remaining:

            def cost(p: int) -> tuple[int, int]:
                rows = sum((i, p) in filled for i in remaining if i != p)
                columns = sum((p, j) in filled for j in remaining if j != p)
                return rows * columns, p

            pivot = min(remaining, key=cost)
            remaining.remove(pivot)
            rows = sorted(i for i in remaining if (i, pivot) in filled)
            columns = sorted(j for j in remaining if (pivot, j) in filled)
            filled |= {(i, j) for i in rows for j in columns}
            self.order.append(pivot)
            self.plan.append((pivot, rows, columns))

    def factor(self) -> list[str]:
        made: set[tuple[int, int]] = set()
        lines = []
        n = len(self.order)
        for i in range(n):
            for j in range(n):
                if i == j:
                    lines.append(f"m_{i}_{j} = diagonal - j_{i}_{j}" if (i, j) in self.pattern else f"m_{i}_{j} = diagonal")
                    made.add((i, j))
                elif (i, j) in self.pattern:
                    lines.append(f"m_{i}_{j} = -j_{i}_{j}")
                    made.add((i, j))
        for pivot, rows, columns in self.plan:
            lines.append(f"v_{pivot} = 1.0 / m_{pivot}_{pivot}")
            for i in rows:
                lines.append(f"m_{i}_{pivot} = m_{i}_{pivot} * v_{pivot}")
                for j in columns:
                    if (i, j) in made:
                        lines.append(f"m_{i}_{j} = m_{i}_{j} - m_{i}_{pivot} * m_{pivot}_{j}")
                    else:
                        lines.append(f"m_{i}_{j} = -m_{i}_{pivot} * m_{pivot}_{j}")
                        made.add((i, j))
        return lines

    def solve(self, right: list[str], solution: list[str]) -> list[str]:
        lines = []
        for pivot, rows, _ in self.plan:
            lines += [f"{right[i]} = {right[i]} - m_{i}_{pivot} * {right[pivot]}" for i in rows]
        for pivot, _, columns in reversed(self.plan):
            known = "".join(f" - m_{pivot}_{j} * {solution[j]}" for j in columns)
            lines.append(f"{solution[pivot]} = ({right[pivot]}{known}) * v_{pivot}")
        return lines


def _in_order(expressions: tuple[Any, ...], x: tuple[Any, ...]) -> list[tuple[int, Any]]:
    """Initial values, each after those it is made from."""
    left = dict(enumerate(expressions))
    ordered: list[tuple[int, Any]] = []
    while left:
        ready = [i for i, e in left.items() if not any(e.has(x[j]) for j in left if j != i)]
        ordered += [(i, left.pop(i)) for i in ready]
    return ordered


def _Printer() -> Any:
    from sympy.printing.pycode import PythonCodePrinter

    class Printer(PythonCodePrinter):
        def _print_Function(self, e: Any) -> str:  # the only one left is reciprocal
            return f"(1.0 / ({self._print(e.args[0])}))"

        def _print_exp(self, e: Any) -> str:
            return f"exp({self._print(e.args[0])})"

        def _print_log(self, e: Any) -> str:
            return f"log({self._print(e.args[0])})"

        def _print_Integer(self, e: Any) -> str:
            return f"{int(e)}.0"

        def _print_Rational(self, e: Any) -> str:
            return repr(float(e))

        def _print_Float(self, e: Any) -> str:
            return repr(float(e))

        def _print_Pow(self, e: Any, **kwargs: Any) -> str:
            base, exponent = e.as_base_exp()
            if exponent == 0.5:
                return f"sqrt({self._print(base)})"
            if exponent == -0.5:
                return f"(1.0 / sqrt({self._print(base)}))"
            if exponent.is_Integer and 0 < exponent <= 4:
                return "(" + "*".join([f"({self._print(base)})"] * int(exponent)) + ")"
            if exponent.is_Integer:
                return f"(({self._print(base)})**{int(exponent)})"
            return f"exp(({self._print(exponent)})*log({self._print(base)}))"

    return Printer({"fully_qualified_modules": False})

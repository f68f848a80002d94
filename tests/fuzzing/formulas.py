"""Hostile formulas whose units are right: what is simulated has to be what an independent integrator finds.

Small models are drawn: one or two states, rates and outputs of any shape that the grammar has. A model that is not
refused is simulated for three patients and held against

- the formulas themselves: outputs at the simulated states, evaluated with ``Expression.evaluate``;
- ``scipy.integrate.solve_ivp`` on the rates, where two of its methods agree;
- the rule that whatever is not finite is named on stderr, and that only what goes wrong is named.

Sums that cancel are allowed their rounding: it is measured by evaluating with a small random error in every operation.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import math
import re
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from fuzzing import hostile
from fuzzing.case import REFUSED, RIGHT, Bad, Case

if TYPE_CHECKING:
    from cartsim.model.expression import Expression
    from cartsim.model.reader import Model

TIMES = (0.0, 0.25, 1.0, 2.0)
RATES = 60_000  # evaluations after which the other integrator gives up
_VALUES = (0.0, 1.0, -1.0, 0.5, 2.0, 3.0, -2.5, 1e-8, 1e8, 0.1, 10.0)
_LITERALS = ("0", "1", "2", "3", "0.5", "-1", "1e-6", "1e6", "10", "0.1", "1e-300", "1e300", "700", "2.5")


def run(case: Case) -> str:
    from cartsim.model.reader import load

    rng = case.rng
    path = case.work / "own.toml"
    path.write_text(_drawn(rng))
    patients = [{"p": rng.choice(_VALUES), "q": rng.choice(_VALUES)} for _ in range(2)]
    table = ["id,p,q", "0,1,0.5", *(f"{k},{each['p']},{each['q']}" for k, each in enumerate(patients, 1))]
    (case.work / "patients.csv").write_text("\n".join(table) + "\n")
    case.tell(f"{path.read_text()}\n{table}")
    before = case.files()
    call = case.call(
        "simulate", path.name, "--times", ",".join(map(str, TIMES)), "--patients", "patients.csv",
        "--outputs", "out,A" + (",B" if "[states.B]" in path.read_text() else ""),
    )  # fmt: skip
    case.hold(call, before)
    if call.code == 2:
        return REFUSED
    rows = list(csv.DictReader(io.StringIO(call.out)))
    model = load(path)
    for k, parameters in enumerate([{"p": 1.0, "q": 0.5}, *patients]):
        own = [{name: float(cell) for name, cell in row.items()} for row in rows if row["id"] == str(k)]
        if [row["time"] for row in own] != list(TIMES):
            raise Bad(f"patient {k} has rows {own}")
        named = re.search(rf"\b{k} \(", call.err) is not None
        try:
            _hold(model, parameters, own, named)
        except Bad as bad:
            raise Bad(f"patient {k}, {parameters}: {bad}\nstderr: {call.err}\nrows: {own}") from None
    return RIGHT


# --- models -----------------------------------------------------------------------------------------------------------


def _drawn(rng: Random) -> str:
    """A model file with hostile formulas and, now and then, a hostile name."""
    states = ["A", "B"][: rng.choice([1, 1, 2])]
    leaves = [*states, "p", "q"]
    name = rng.choice(["own", "own", "own", f"own {hostile.text(rng)}"])
    lines = [f"[model]\nname = {json.dumps(name[:500])}\nsource = 'made up'\ntime = 'h'"]
    for parameter, value in (("p", 1), ("q", 0.5)):
        lines.append(f"[parameters.{parameter}]\nvalue = {value}\nunit = '1'\nsource = 'made up'")
    lines.append("[parameters.r]\nvalue = 1\nunit = '1/h'\nsource = 'made up'")
    definitions, definition = _definitions(rng, leaves)
    if definitions:
        lines.append("[definitions]\n" + "\n".join(f"{key} = '{text}'" for key, text in definitions.items()))
        leaves = [*leaves, definition, definition]
    for state in states:
        scale = rng.choice(["linear", "log"])
        initial = rng.choice(["1", "2", "0.5", "p", "q", "p + 1", _tree(rng, ["p", "q"], 2)])
        tree = _tree(rng, leaves, rng.choice([1, 2, 3]))
        rate = {
            "free": f"({tree})*r",
            "bound": f"({tree} - {state})*r",
            "relative": f"{state}*({tree})*r",
            "damped": f"(1/(1 + ({tree})**2) - {state})*r",
        }[rng.choice(["free", "bound", "relative", "damped"])]
        small = "negligible = 1e-9\n" if scale == "linear" else ""
        lines.append(
            f"[states.{state}]\nunit = '1'\nscale = '{scale}'\ninitial = '{initial}'\nrate = '{rate}'\n{small}"
        )
    lines.append(f"[outputs.out]\nunit = '1'\nvalue = '{_tree(rng, leaves, rng.choice([1, 2, 3, 4]))}'")
    return "\n\n".join(lines) + "\n"


def _definitions(rng: Random, leaves: list[str]) -> tuple[dict[str, str], str]:
    """No definitions, or a chain of them that grows, and the name to use."""
    kind = rng.choice(["none", "none", "tree", "ratios", "squares", "twice", "powers", "logs"])
    if kind == "none":
        return {}, ""
    if kind == "tree":
        return {"d0": _tree(rng, leaves, 3)}, "d0"
    step = {
        "ratios": "d{0}/(d{0} + {1})",
        "squares": "d{0}*d{0} - {1}*d{0}",
        "twice": "(d{0} + {1})*(d{0} - 1)/(1 + d{0}**2)",
        "powers": "(d{0} + {1})**0.5",
        "logs": "log(1 + d{0}**2) + {1}*d{0}",
    }[kind]
    n = rng.choice([2, 3, 4, 6, 10, 25])
    chain = {"d0": "A"} | {f"d{k}": step.format(k - 1, rng.choice(["p", "q", "1", "0.1"])) for k in range(1, n + 1)}
    return chain, f"d{n}"


def _tree(rng: Random, leaves: list[str], depth: int) -> str:
    """A formula of numbers without unit."""
    if depth == 0 or rng.random() < 0.1:
        return rng.choice(leaves) if rng.random() < 0.7 else rng.choice(_LITERALS)
    if rng.random() < 0.06:
        return rng.choice(
            ["1/0", "log(0)", "log(-1)", "sqrt(-1)", "exp(1000)", "0/0", "9**9**9", "2**3**4", "10**400", "0**-1"]
        )
    a, b = (_tree(rng, leaves, depth - 1) for _ in range(2))
    pick = rng.randrange(16)
    if pick <= 7:
        return f"({a} {rng.choice('+-*/*/+-')} {b})"
    if pick <= 9:
        return f"({a})**{rng.choice(['2', '3', '0.5', '-1', '-2', '(-0.5)', '1.5', '7', '60', '0', '1'])}"
    if pick == 10:
        return f"({a})**({b})"
    if pick == 11:
        return f"({a})/(({a}) + ({b}))"
    return f"{rng.choice(['exp', 'log', 'sqrt', '-', 'exp'])}({a})"


# --- judgment ---------------------------------------------------------------------------------------------------------


def _hold(model: Model, parameters: Mapping[str, float], rows: list[dict[str, float]], named: bool) -> None:
    """Raise `Bad` unless a patient's rows are right, or wrong and named."""
    finite = all(math.isfinite(cell) for row in rows for cell in row.values())
    if not finite and not named:
        raise Bad("numbers that are not finite, and nothing says so")
    known = parameters | {"r": 1.0}
    for row in rows:
        if all(math.isfinite(row[name]) for name in model.states):
            _hold_output(model, known | row, row["out"], named)
    truth = _truth(model, known)
    if truth is None:
        return
    if named and finite:
        raise Bad("named as failed, yet all numbers are there")
    if named:
        if _harmless(model, known, truth):
            raise Bad(f"failed, yet the solution is {truth.tolist()}")
        return
    got = np.array([[row[name] for name in model.states] for row in rows])
    size = np.abs(truth).max(axis=0) + 1e-6
    if (np.abs(got - truth) > 1e-3 * size).any():
        raise Bad(f"the solution is {truth.tolist()}")


def _hold_output(model: Model, values: Mapping[str, float], got: float, named: bool) -> None:
    formula = model.outputs["out"].value
    want = float(_unfolded(model, formula, values))
    if math.isfinite(want) and math.isfinite(got):
        spread = _spread(model, formula, values)
        if abs(got - want) > 1e-8 * abs(want) + 1e3 * spread + 1e-290:
            raise Bad(f"at time {values['time']:g} out is {got!r}, its formula gives {want!r}")
    elif (math.isfinite(want) and not named) or (math.isfinite(got) and not _removable(model, formula, values, got)):
        raise Bad(f"at time {values['time']:g} out is {got!r}, its formula gives {want!r}")


def _unfolded(model: Model, formula: Expression, values: Mapping[str, float]) -> Any:
    """The value of a formula that may use definitions."""
    known = dict(values)
    for name, definition in model.definitions.items():
        if definition.names <= known.keys():
            known[name] = definition.evaluate(known)
    return formula.evaluate(known)


def _spread(model: Model, formula: Expression, values: Mapping[str, float]) -> float:
    """How far rounding may take the value: the range of evaluations with an error of 1e-14 in every operation."""
    found = []
    for seed in range(12):
        rng = Random(seed)
        known = {name: value * (1 + 1e-14 * rng.uniform(-1, 1)) for name, value in values.items()}
        for name, definition in model.definitions.items():
            if definition.names <= known.keys():
                known[name] = _shaken(definition.tree, known, rng)
        found.append(_shaken(formula.tree, known, rng))
    return math.inf if not np.isfinite(found).all() else float(np.ptp(found))


def _shaken(node: ast.expr, values: Mapping[str, float], rng: Random) -> float:
    with np.errstate(all="ignore"):
        value: Any
        match node:
            case ast.Name(id=name):
                value = np.float64(values[name])
            case ast.Constant(value=float() | int() as number):
                value = np.float64(number)
            case ast.Call(func=ast.Name(id=function), args=[argument]):
                value = getattr(np, function)(_shaken(argument, values, rng))
            case ast.UnaryOp(op=sign, operand=operand):
                value = _shaken(operand, values, rng) * (-1 if isinstance(sign, ast.USub) else 1)
            case ast.BinOp(left=left, op=operation, right=right):
                a = np.float64(_shaken(left, values, rng))
                exponent = isinstance(operation, ast.Pow) and isinstance(right, (ast.Constant, ast.UnaryOp))
                b = np.float64(ast.literal_eval(right)) if exponent else np.float64(_shaken(right, values, rng))
                match operation:
                    case ast.Add():
                        value = a + b
                    case ast.Sub():
                        value = a - b
                    case ast.Mult():
                        value = a * b
                    case ast.Div():
                        value = a / b
                    case _:
                        value = a**b
            case _:
                raise TypeError(ast.dump(node))
        return float(value * (1 + 1e-14 * rng.uniform(-1, 1)))


def _removable(model: Model, formula: Expression, values: Mapping[str, float], got: float) -> bool:
    """Whether a finite value of a formula that reads 0/0 or inf/inf as it stands is what algebra makes of it."""
    import sympy as sp

    symbols = {name: sp.Symbol(name, real=True) for name in values}

    def read(node: ast.expr) -> Any:
        match node:
            case ast.Name(id=name):
                return symbols[name] if name in symbols else read(model.definitions[name].tree)
            case ast.Constant(value=float() | int() as number):
                return sp.Float(number, 40) if isinstance(number, float) else sp.Integer(number)
            case ast.Call(func=ast.Name(id=function), args=[argument]):
                return getattr(sp, function)(read(argument))
            case ast.UnaryOp(op=sign, operand=operand):
                return -read(operand) if isinstance(sign, ast.USub) else read(operand)
            case ast.BinOp(left=left, op=operation, right=right):
                a, b = read(left), read(right)
                match operation:
                    case ast.Add():
                        return a + b
                    case ast.Sub():
                        return a - b
                    case ast.Mult():
                        return a * b
                    case ast.Div():
                        return a / b
                    case _:
                        return a**b
        raise TypeError(ast.dump(node))

    expression = read(formula.tree)
    numbers = {symbols[name]: sp.Float(value, 40) for name, value in values.items()}
    ways = (lambda e: e, sp.expand, sp.simplify) if sp.count_ops(expression) < 100 else (lambda e: e,)
    for way in ways:
        value = way(expression).subs(numbers).evalf(30, maxn=400)
        if value.is_real and value.is_finite and abs(float(value) - got) <= 1e-6 * abs(float(value)) + 1e-290:
            return True
    return False


def _truth(model: Model, known: Mapping[str, float]) -> Any:
    """States at `TIMES` by scipy, (times, states), or None where it gives none that two methods agree on."""
    from scipy.integrate import solve_ivp

    names = list(model.states)
    start = np.array([float(_unfolded(model, state.initial, known)) for state in model.states.values()])
    log_scaled = np.array([state.scale == "log" for state in model.states.values()])
    if not np.isfinite(start).all() or (start[log_scaled] <= 0).any():
        return None

    def slopes(time: float, x: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise TimeoutError
        values = known | dict(zip(names, x, strict=True)) | {"time": time}
        return np.array([float(_unfolded(model, state.rate, values)) for state in model.states.values()])

    left = RATES
    if not np.isfinite(slopes(0.0, start)).all():
        return None
    found = []
    for method, rtol in (("LSODA", 1e-10), ("Radau", 1e-9)):
        left = RATES
        try:
            with np.errstate(all="ignore"):
                run = solve_ivp(
                    slopes, (0.0, TIMES[-1]), start, method=method, t_eval=TIMES, rtol=rtol, atol=1e-13, first_step=1e-9
                )
        except (TimeoutError, ValueError, ZeroDivisionError, OverflowError, np.linalg.LinAlgError):
            return None
        if not run.success or run.y.shape[1] != len(TIMES) or not np.isfinite(run.y).all():
            return None
        found.append(run.y.T)
    one, other = found
    if (np.abs(one - other) > 1e-6 * (np.abs(one).max(axis=0) + 1e-6)).any() or (one[:, log_scaled] <= 1e-9).any():
        return None
    return one


def _harmless(model: Model, known: Mapping[str, float], truth: Any) -> bool:
    """Whether rates and outputs are finite and moderate around the solution, so that nothing excuses a failure."""
    rng = Random(0)
    for row, time in zip(truth, TIMES, strict=True):
        for _ in range(20):
            near = [x * (1 + 0.01 * rng.uniform(-1, 1)) + 1e-6 * rng.uniform(-1, 1) for x in row]
            values = known | dict(zip(model.states, near, strict=True)) | {"time": time}
            formulas = [*(state.rate for state in model.states.values()), model.outputs["out"].value]
            found = np.array([float(_unfolded(model, formula, values)) for formula in formulas])
            if not (np.abs(found) < 1e12).all():
                return False
    return True

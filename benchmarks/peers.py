"""The other engines, each run over the same patients: seconds for each repeat, and the states that it found.

Every engine is optional. One that is not installed raises :class:`Missing` with the reason.
"""

from __future__ import annotations

import ast
import importlib.util
import operator
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import forms
import numpy as np

MAX_STEPS = 10_000  # between two outputs
HERE = Path(__file__).parent

# seconds (repeats,) for all patients, states (n, m, 8), NaN for a patient whose integration failed
Run = tuple[np.ndarray, np.ndarray]


class Missing(Exception):
    """The engine is not installed here, or does not run."""


def tolerances(form: str, rtol: float) -> tuple[float, float]:
    """What a solver is given, scalars since not every engine takes one a state.

    In logarithms the absolute tolerance is that of the pool relative to itself, and a relative one on top would loosen
    it by the size of the logarithm. In linear states the absolute one is mrgsolve's default.
    """
    return (rtol / 100, rtol) if form == "conditioned" else (rtol, 1e-8)


def _needs(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise Missing(f"the Python package {package} is not installed")


def _timed(run: Callable[[], np.ndarray], repeats: int) -> Run:
    seconds = np.empty(repeats)
    for k in range(repeats):
        began = time.perf_counter()
        states = run()
        seconds[k] = time.perf_counter() - began
    return seconds, states


# --- numbalsoda ---------------------------------------------------------------------------------------------


def numbalsoda(form: str, rtol: float, p: np.ndarray, y0: np.ndarray, times: np.ndarray, repeats: int) -> Run:
    """LSODA in C++, called in a compiled loop over patients."""
    _needs("numbalsoda")
    from numba import carray, cfunc, njit
    from numbalsoda import lsoda, lsoda_sig

    f = forms.right_hand_sides()[form]
    n_states, n_parameters = y0.shape[1], p.shape[1]

    @cfunc(lsoda_sig)
    def right_hand_side(t, y, dy, data):
        f(carray(y, (n_states,)), carray(data, (n_parameters,)), carray(dy, (n_states,)))

    @njit
    def every_patient(pointer, p, y0, times, rtol, atol, max_steps):
        states = np.empty((p.shape[0], times.size, y0.shape[1]))
        for i in range(p.shape[0]):
            found, success = lsoda(pointer, y0[i], times, p[i], rtol, atol, max_steps)
            states[i] = found
            if not success:
                states[i] = np.nan
        return states

    settings = (times, *tolerances(form, rtol), MAX_STEPS)
    every_patient(right_hand_side.address, p[:1], y0[:1], *settings)
    return _timed(lambda: every_patient(right_hand_side.address, p, y0, *settings), repeats)


# --- scipy ----------------------------------------------------------------------------------------------------


def scipy(form: str, rtol: float, p: np.ndarray, y0: np.ndarray, times: np.ndarray, repeats: int) -> Run:
    """odeint (LSODA) with a compiled right-hand side; unlike solve_ivp it can be told to give up."""
    from numba import njit
    from scipy.integrate import odeint

    f = forms.right_hand_sides()[form]

    @njit
    def right_hand_side(t, y, p):
        dy = np.empty_like(y)
        f(y, p, dy)
        return dy

    right_hand_side(0.0, y0[0], p[0])
    relative, absolute = tolerances(form, rtol)
    settings = {"rtol": relative, "atol": absolute, "mxstep": MAX_STEPS, "tfirst": True, "full_output": True}

    def run() -> np.ndarray:
        states = np.full((len(p), len(times), y0.shape[1]), np.nan)
        for i in range(len(p)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found, report = odeint(right_hand_side, y0[i], times, (p[i],), **settings)
            if report["message"] == "Integration successful.":
                states[i] = found
        return states

    return _timed(run, repeats)


# --- libroadrunner ----------------------------------------------------------------------------------------------


def libroadrunner(form: str, rtol: float, p: np.ndarray, y0: np.ndarray, times: np.ndarray, repeats: int) -> Run:
    """CVODE on SBML that libroadrunner compiles; patients are set from Python one after the other."""
    _needs("roadrunner")
    import roadrunner

    roadrunner.Logger.disableLogging()
    model = roadrunner.RoadRunner(_sbml(form))
    model.timeCourseSelections = list(forms.STATES)
    integrator = model.getIntegrator()
    integrator.relative_tolerance, integrator.absolute_tolerance = tolerances(form, rtol)
    integrator.maximum_num_steps = MAX_STEPS
    names = list(model.model.getGlobalParameterIds())
    order = [(forms.PARAMETERS + forms.STATES).index(name) for name in names]
    values = np.hstack([p, y0])[:, order]
    places, grid = list(range(len(names))), times.tolist()

    def run() -> np.ndarray:
        states = np.full((len(p), len(times), y0.shape[1]), np.nan)
        for i in range(len(p)):
            model.reset()
            model.model.setGlobalParameterValues(places, values[i])
            try:
                states[i] = np.asarray(model.simulate(times=grid))
            except RuntimeError:
                model.getIntegrator().restart(0.0)
        return states

    return _timed(run, repeats)


def _sbml(form: str) -> str:
    names = forms.PARAMETERS + forms.STATES
    listed = "".join(
        f'<parameter id="{name}" value="1" constant="{"false" if name in forms.STATES else "true"}"/>' for name in names
    )
    rules = "".join(
        f'<rateRule variable="{name}"><math xmlns="http://www.w3.org/1998/Math/MathML">'
        f"{_mathml(ast.parse(text, mode='eval').body)}</math></rateRule>"
        for name, text in forms.FORMULAS[form].items()
    )
    return (
        '<?xml version="1.0"?><sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">'
        f'<model id="clinical"><listOfParameters>{listed}</listOfParameters>'
        f"<listOfRules>{rules}</listOfRules></model></sbml>"
    )


_OPERATORS = {ast.Add: "plus", ast.Sub: "minus", ast.Mult: "times", ast.Div: "divide"}


def _mathml(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=number):
            return f"<cn>{number}</cn>"
        case ast.Name(id=name):
            return f"<ci>{name}</ci>"
        case ast.UnaryOp(operand=operand):
            return f"<apply><minus/>{_mathml(operand)}</apply>"
        case ast.BinOp(left=left, op=op, right=right):
            return f"<apply><{_OPERATORS[type(op)]}/>{_mathml(left)}{_mathml(right)}</apply>"
        case ast.Call(func=ast.Name(id=name), args=arguments):
            inner = "".join(map(_mathml, arguments))
            return f"<apply><{'power' if name == 'pow' else name}/>{inner}</apply>"
    raise TypeError(f"no MathML for {ast.dump(node)}")


# --- R -------------------------------------------------------------------------------------------------------


def desolve(form: str, rtol: float, p: np.ndarray, y0: np.ndarray, times: np.ndarray, repeats: int) -> Run:
    """deSolve's lsoda with the model in C."""
    return _by_r("deSolve", form, rtol, p, y0, times, repeats)


def mrgsolve(form: str, rtol: float, p: np.ndarray, y0: np.ndarray, times: np.ndarray, repeats: int) -> Run:
    """mrgsolve, all patients in one call."""
    return _by_r("mrgsolve", form, rtol, p, y0, times, repeats)


def _by_r(engine: str, form: str, rtol: float, p: np.ndarray, y0: np.ndarray, times: np.ndarray, repeats: int) -> Run:
    if shutil.which("Rscript") is None:
        raise Missing("R is not installed")
    there = subprocess.run(["Rscript", "-e", f"stopifnot(requireNamespace('{engine}'))"], capture_output=True)
    if there.returncode:
        raise Missing(f"the R package {engine} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder)
        _csv(to / "parameters.csv", forms.PARAMETERS, p)
        _csv(to / f"start_{form}.csv", forms.STATES, y0)
        _csv(to / "times.csv", ("time",), times[:, None])
        if engine == "deSolve":
            shutil.copy(HERE / "desolve.c", to)
            subprocess.run(["R", "CMD", "SHLIB", "desolve.c"], cwd=to, check=True, capture_output=True)
        else:
            (to / f"mrgsolve_{form}.txt").write_text(_mrgsolve_code(form))
        settings = [engine, form, *tolerances(form, rtol), repeats, folder]
        done = subprocess.run(["Rscript", HERE / "peers.R", *map(str, settings)], capture_output=True, text=True)
        if done.returncode:
            raise Missing(f"{engine} did not run: {done.stderr.strip()[-200:]}")
        result = np.fromfile(to / "result.bin")
    states = result[repeats:].reshape(len(p), y0.shape[1], len(times)).transpose(0, 2, 1)
    return result[:repeats], states


def _mrgsolve_code(form: str) -> str:
    """Parameters and starts of each patient come as columns of its idata set."""
    starts = [f"start_{name}" for name in forms.STATES]
    return "\n".join(
        [
            "$PARAM @annotated",
            *(f"{name}: 1: of the patient" for name in (*forms.PARAMETERS, *starts)),
            "$CMT " + " ".join(forms.STATES),
            "$MAIN",
            *(f"{name}_0 = start_{name};" for name in forms.STATES),
            "$ODE",
            *(f"dxdt_{name} = {text};" for name, text in forms.FORMULAS[form].items()),
        ]
    )


def _csv(path: Path, names: tuple[str, ...], values: np.ndarray) -> None:
    np.savetxt(path, values, "%.17g", ",", header=",".join(names), comments="")


# --- diffsol --------------------------------------------------------------------------------------------------------


def pydiffsol(form: str, rtol: float, p: np.ndarray, y0: np.ndarray, times: np.ndarray, repeats: int) -> Run:
    """Diffsol's BDF in Rust on compiled DiffSL, patient after patient from Python.

    Its other methods fail in the conditioned form. Logarithms of pools that fill from nearly nothing need a first step
    far below the one that it takes by itself.
    """
    _needs("pydiffsol")
    import pydiffsol as diffsol

    ode = diffsol.Ode(_diffsl(form), matrix_type=diffsol.nalgebra_dense, ode_solver=diffsol.bdf)
    ode.rtol, ode.atol = tolerances(form, rtol)
    ode.h0, ode.options.min_timestep = 1e-16, 1e-30
    inputs = np.hstack([p, y0])

    def run() -> np.ndarray:
        states = np.full((len(p), len(times), y0.shape[1]), np.nan)
        for i in range(len(p)):
            try:
                states[i] = ode.solve_dense(inputs[i], times).ys.T
            except RuntimeError:
                continue
        return states

    run()
    return _timed(run, repeats)


def _diffsl(form: str) -> str:
    starts = {name: f"{name}0start" for name in forms.STATES}
    blocks = {
        "in": [f"{name} = 1.0" for name in (*forms.PARAMETERS, *starts.values())],
        "u": [f"{name} = {start}" for name, start in starts.items()],
        "F": forms.FORMULAS[form].values(),
    }
    # An underscore begins an index there.
    return "\n".join(f"{kind}_i {{ {', '.join(parts).replace('_', '')} }}" for kind, parts in blocks.items())


# --- diffrax --------------------------------------------------------------------------------------------------------


def diffrax(form: str, rtol: float, p: np.ndarray, y0: np.ndarray, times: np.ndarray, repeats: int) -> Run:
    """Kvaerno's 5(4), implicit, by JAX: all patients in one compiled call that goes on until the last is done."""
    _needs("diffrax")
    import diffrax as dfx
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    formulas = [ast.parse(text, mode="eval").body for text in forms.FORMULAS[form].values()]

    def slopes(t, y, own):
        known = dict(zip((*forms.PARAMETERS, *forms.STATES), (*own, *y), strict=True))
        return jnp.stack([_traced(each, known, {"exp": jnp.exp, "pow": jnp.power}) for each in formulas])

    relative, absolute = tolerances(form, rtol)
    control = dfx.PIDController(relative, absolute)
    settings = {"stepsize_controller": control, "max_steps": MAX_STEPS, "throw": False}

    def one(own, start):
        term, saved = dfx.ODETerm(slopes), dfx.SaveAt(ts=jnp.asarray(times))
        # As above: logarithms of pools that fill need a small first step.
        found = dfx.diffeqsolve(term, dfx.Kvaerno5(), 0.0, times[-1], 1e-12, start, own, saveat=saved, **settings)
        return jnp.where(found.result == dfx.RESULTS.successful, found.ys, jnp.nan)

    every = jax.jit(jax.vmap(one))
    every(p, y0).block_until_ready()
    return _timed(lambda: np.asarray(every(p, y0)), repeats)


def _traced(node: ast.AST, known: dict, functions: dict):
    """A formula's value, by the operations of its numbers."""
    match node:
        case ast.Constant(value=number):
            return number
        case ast.Name(id=name):
            return known[name]
        case ast.UnaryOp(operand=operand):
            return -_traced(operand, known, functions)
        case ast.BinOp(left=left, op=operation, right=right):
            return _ARITHMETIC[type(operation)](_traced(left, known, functions), _traced(right, known, functions))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return functions[name](*(_traced(each, known, functions) for each in arguments))
    raise ValueError(ast.dump(node))


_ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


ENGINES: dict[str, Callable[[str, float, np.ndarray, np.ndarray, np.ndarray, int], Run]] = {
    "numbalsoda": numbalsoda,
    "scipy LSODA": scipy,
    "libroadrunner": libroadrunner,
    "deSolve": desolve,
    "mrgsolve": mrgsolve,
    "pydiffsol": pydiffsol,
    "diffrax": diffrax,
}
SLOW = {"scipy LSODA", "diffrax"}

"""The integrator against closed forms and scipy, on models that know nothing of cells."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from reference import rosenbrock
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.special import lambertw

import cartsim
from cartsim.engine import kernel, tableau
from cartsim.engine.layout import LANES, Rows
from cartsim.engine.trajectories import Status
from cartsim.regimen import Regimen, Retreatment

MODELS = Path(__file__).parents[1] / "models"


def load(name: str) -> cartsim.Model:
    return cartsim.load(MODELS / f"{name}.toml")


def run(name: str, times, outputs=None, patients=None, regimen=None, **settings) -> cartsim.Simulation:
    model = load(name)
    jobs = {key: settings.pop(key) for key in ("n", "n_jobs") if key in settings}
    if patients is None or isinstance(patients, cartsim.Population):
        who = model if patients is None else patients
    else:
        who = cartsim.Patients(model, patients)
    names = outputs or list(model.states)
    return cartsim.simulate(who, regimen, times, names, solver=cartsim.Solver(**settings), **jobs)


# --- one step -----------------------------------------------------------------------------------------------


class Stepper:
    """The generated ``attempt`` of a model, one patient in every lane."""

    def __init__(self, name: str, **values: float) -> None:
        model = load(name)
        self.kernel = kernel.compile_model(model)
        self.n = self.kernel.n_states
        self.rows = Rows(self.n, self.kernel.n_constants, self.kernel.n_factors)
        self.work = np.zeros((self.rows.size // LANES, LANES))
        self.work[self.rows.alive // LANES : self.rows.constants // LANES] = 1.0
        constants = np.empty(self.kernel.n_constants)
        self.kernel.constants(model.values(values, 1)[0], constants)
        self.work[self.rows.constants // LANES : self.rows.inverse // LANES] = constants[:, None]

    def __call__(self, t, y: np.ndarray, h, rtol: float = 1e-6) -> tuple[np.ndarray, np.ndarray]:
        """State at the end of a step from y (n,) and the weighted error, for every lane's h; t and h may differ."""
        self.work[self.rows.time // LANES] = t
        self.work[self.rows.step // LANES] = h
        self.work[self._block(self.rows.y)] = np.reshape(y, (self.n, -1))
        self.kernel.attempt(self.work.reshape(-1), rtol)
        return self.work[self._block(self.rows.new)].copy(), self.work[self.rows.error // LANES].copy()

    def inside(self, y: np.ndarray, theta: float) -> np.ndarray:
        """Dense output in the step just tried, lane 0."""
        new = self.work[self._block(self.rows.new)][:, 0]
        start = self.rows.dense // LANES
        d = self.work[start : start + 3 * self.n, 0].reshape(3, self.n)
        return (1 - theta) * y + theta * (new + (1 - theta) * (d[0] + theta * (d[1] + theta * d[2])))

    def _block(self, row: int) -> slice:
        return slice(row // LANES, row // LANES + self.n)


def textbook_step(f, jacobian, drift, t: float, y: np.ndarray, h: float) -> tuple[np.ndarray, np.ndarray]:
    """End of a step and error estimate by the untransformed Rosenbrock formulas (Hairer & Wanner II, eq. IV.7.4)."""
    alpha, gamma, b, embedded = rosenbrock()
    matrix = np.eye(len(y)) - h * tableau.GAMMA * jacobian
    k: list[np.ndarray] = []
    for i in range(tableau.STAGES):
        stage = y + sum((alpha[i, j] * k[j] for j in range(i)), np.zeros_like(y))
        coupling = sum((gamma[i, j] * k[j] for j in range(i)), np.zeros_like(y))
        right = h * f(t + alpha[i].sum() * h, stage) + h * jacobian @ coupling + h * h * gamma[i].sum() * drift
        k.append(np.linalg.solve(matrix, right))
    return y + b @ k, (b - embedded) @ k


def test_a_step_is_that_of_the_textbook() -> None:
    mu, t, y = 3.0, 0.0, np.array([1.3, -0.7])
    steps = np.geomspace(1e-3, 0.5, LANES)
    found, errors = Stepper("van_der_pol", mu=mu)(t, y, steps, rtol=1e-6)
    jacobian = np.array([[0, 1], [-2 * mu * y[0] * y[1] - 1, mu * (1 - y[0] ** 2)]])

    def f(_: float, z: np.ndarray) -> np.ndarray:
        return np.array([z[1], mu * (1 - z[0] ** 2) * z[1] - z[0]])

    for lane, h in enumerate(steps):
        end, error = textbook_step(f, jacobian, np.zeros(2), t, y, h)
        np.testing.assert_allclose(found[:, lane], end, rtol=1e-11)
        weights = 1e-6 * (np.maximum(abs(y), abs(end)) + 1.0)
        expected = math.sqrt(np.mean((error / weights) ** 2))
        assert errors[lane] == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_a_step_of_rates_that_depend_on_time_is_that_of_the_textbook() -> None:
    k, tau, a, b, t, h = 10.0, 2.0, -0.5, 0.1, 0.7, 0.3
    y = np.array([0.9, 0.2, 0.8])  # slave, ln pool, riccati

    def f(time: float, z: np.ndarray) -> np.ndarray:
        decay = math.exp(-time / tau)
        return np.array([-k * (z[0] - decay) - decay / tau, a + b * time, -(z[2] ** 2) / tau])

    jacobian = np.diag([-k, 0, -2 * y[2] / tau])
    drift = np.array([(-k / tau + 1 / tau**2) * math.exp(-t / tau), b, 0])
    found, _ = Stepper("forced", k=k, tau=tau, a=a, b=b)(t, y, h)
    np.testing.assert_allclose(found[:, 0], textbook_step(f, jacobian, drift, t, y, h)[0], rtol=1e-12)


def test_observed_order_of_the_steps_and_of_the_dense_output() -> None:
    exact: Callable[[float], np.ndarray] = lambda t: np.array([math.exp(-t / 2), 1 / (1 + t / 2)])  # noqa: E731
    seen = [0, 2]  # the pool's logarithm is a parabola and exact in any case
    stepper = Stepper("forced", k=1.0)
    at_end, between = [], []
    counts = [16, 32, 64]
    for count in counts:
        h, y, worst = 4.0 / count, np.array([1.0, 0.0, 1.0]), 0.0
        for i in range(count):
            new, _ = stepper(i * h, y, h)
            for theta in (0.25, 0.5, 0.75):
                error = stepper.inside(y, theta)[seen] - exact((i + theta) * h)
                worst = max(worst, abs(error).max())
            y = new[:, 0]
        assert y[1] == pytest.approx(-0.5 * 4 + 0.1 * 4**2 / 2, abs=1e-13)
        at_end.append(abs(y[seen] - exact(4.0)).max())
        between.append(worst)
    slope = np.polyfit(np.log(counts), np.log([at_end, between]).T, 1)[0]
    assert -slope[0] == pytest.approx(5, abs=0.35)
    assert -slope[1] > 3.9


def test_steps_grow_with_the_fifth_root_of_the_tolerance() -> None:
    steps = [run("van_der_pol", [0, 30.0], rtol=rtol).steps[0] for rtol in (1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10)]
    slope = np.polyfit(np.arange(5, 11), np.log10(steps), 1)[0]
    assert 0.17 < slope < 0.26
    assert steps[1] < 600


# --- closed forms ---------------------------------------------------------------------------------------------


def spread(n: int, **ranges: tuple[float, float]) -> dict[str, np.ndarray]:
    """Parameters drawn evenly on a log scale."""
    rng = np.random.default_rng(7)
    return {name: np.exp(rng.uniform(np.log(low), np.log(high), n)) for name, (low, high) in ranges.items()}


@pytest.mark.parametrize(("rtol", "bound"), [(1e-4, 1e-3), (1e-6, 1e-5), (1e-9, 1e-7)])
def test_one_compartment(rtol: float, bound: float) -> None:
    patients = spread(200, ka=(0.05, 30), ke=(0.01, 5))
    times = np.array([0, 1e-3, 0.1, 0.5, 1, 2, 5, 12, 18])
    regimen = cartsim.Regimen.repeated(50.0, times=[0.0, 5.0])
    seen = run("one_compartment", times, ["depot", "center", "concentration"], patients, regimen, rtol=rtol)
    ka, ke = patients["ka"][:, None], patients["ke"][:, None]

    def after(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        given = t >= 0
        t = np.maximum(t, 0)
        return given * 50 * np.exp(-ka * t), given * 50 * ka / (ka - ke) * (np.exp(-ke * t) - np.exp(-ka * t))

    depot, center = (sum(parts) for parts in zip(after(times), after(times - 5.0), strict=True))
    assert (seen.status == Status.ok).all()
    np.testing.assert_allclose(seen["depot"], depot, rtol=bound)
    np.testing.assert_allclose(seen["center"], center, rtol=bound, atol=bound * 1e-3)
    np.testing.assert_allclose(seen["concentration"], seen["center"] / 20, rtol=1e-15)


@pytest.mark.parametrize(("rtol", "bound"), [(1e-6, 1e-5), (1e-9, 1e-8)])
def test_chain_of_transits(rtol: float, bound: float) -> None:
    patients = spread(100, k=(0.02, 20))
    times = np.linspace(0, 40, 81)
    seen = run("chain", times, None, patients, 1.0, rtol=rtol)
    kt = patients["k"][:, None] * times
    for n, name in enumerate(("first", "second", "third", "fourth")):
        exact = kt**n / math.factorial(n) * np.exp(-kt)
        np.testing.assert_allclose(seen[name], exact, rtol=bound, atol=bound * 1e-2)


def test_logistic_growth_from_next_to_nothing() -> None:
    times = np.linspace(0, 200, 41)
    patients = {"start": np.array([1e3, 1.0, 1e-6, 1e-12]), "r": np.array([0.4, 1.0, 0.7, 3.0])}
    seen = run("growth", times, ["followed_as_log", "followed_as_is"], patients, rtol=1e-8)
    start, r = patients["start"][:, None], patients["r"][:, None]
    with np.errstate(over="ignore"):
        exact = 1e9 / (1 + (1e9 / start - 1) * np.exp(-r * times))
    np.testing.assert_allclose(seen["followed_as_log"], exact, rtol=1e-6)
    np.testing.assert_allclose(seen["followed_as_is"][0], exact[0], rtol=1e-5)


def test_a_logarithm_keeps_its_accuracy_however_small_the_pool() -> None:
    times = np.array([0, 100.0, 350.0, 1000.0])
    seen = run("one_compartment", times, ["depot"], {"ka": np.array([1.7])}, 1e6)
    np.testing.assert_allclose(seen["depot"][0, :3], 1e6 * np.exp(-1.7 * times[:3]), rtol=1e-6)
    assert seen["depot"][0, 2] < 1e-250
    assert seen["depot"][0, 3] == 0  # below the range of doubles a pool is gone


def test_saturable_elimination_down_to_nothing() -> None:
    times = np.array([0, 5.0, 20.0, 60.0, 200.0])
    vmax, km = np.array([200.0, 1e3, 300.0]), np.array([100.0, 1e3, 30.0])
    seen = run("growth", times, ["saturating"], {"Vmax": vmax, "Km": km}, rtol=1e-8)
    for row in range(3):
        # x/Km exp(x/Km) = x0/Km exp((x0 - Vmax t)/Km), so x = Km W(that); where it underflows, W(z) is z.
        log_z = np.log(1e3 / km[row]) + (1e3 - vmax[row] * times) / km[row]
        exact = km[row] * np.where(log_z > -30, lambertw(np.exp(np.maximum(log_z, -30))).real, np.exp(log_z))
        np.testing.assert_allclose(seen["saturating"][row], exact, rtol=1e-6, atol=1e-260)
    assert (seen.status == Status.ok).all()


def test_rates_that_depend_on_time() -> None:
    k = 10.0 ** np.arange(0, 10)
    times = np.linspace(0, 8, 33)
    seen = run("forced", times, ["slave", "pool", "riccati", "clock"], {"k": k})
    exact = np.tile(np.exp(-times / 2), (len(k), 1))
    np.testing.assert_allclose(seen["slave"][:2], exact[:2], rtol=1e-6)
    np.testing.assert_allclose(seen["slave"], exact, rtol=2e-5)  # any method of this kind loses some when it is stiff
    tight = run("forced", times, ["slave"], {"k": k}, rtol=1e-10)
    np.testing.assert_allclose(tight["slave"], exact, rtol=2e-8)
    np.testing.assert_allclose(seen["pool"][0], np.exp(-0.5 * times + 0.05 * times**2), rtol=1e-10)
    np.testing.assert_allclose(seen["riccati"][0], 1 / (1 + times / 2), rtol=1e-6)
    np.testing.assert_array_equal(seen["clock"][0], times)


def test_robertson() -> None:
    # End values of the test set for initial value problem solvers (Bari, release 2.4) at 1e11 s.
    seen = run("robertson", [0, 0.4, 40, 4e3, 4e5, 1e11], rtol=1e-9)

    def f(_: float, y: np.ndarray) -> list[float]:
        first, second = 0.04 * y[0] - 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
        return [-first, first - second, second]

    reference = solve_ivp(f, (0, 4e5), [1, 0, 0], "Radau", [0, 0.4, 40, 4e3, 4e5], rtol=1e-11, atol=1e-16)
    for row, name in enumerate("abc"):
        np.testing.assert_allclose(seen[name][0, :5], reference.y[row], rtol=1e-6, atol=1e-14)
    total = seen["a"] + seen["b"] + seen["c"]
    np.testing.assert_allclose(total, 1, rtol=1e-9)
    np.testing.assert_allclose(seen["a"][0, -1], 0.2083340149701255e-7, rtol=1e-5)
    np.testing.assert_allclose(seen["b"][0, -1], 0.8333360770334713e-13, rtol=1e-5)


def test_van_der_pol() -> None:
    times = np.linspace(0, 20, 41)
    seen = run("van_der_pol", times, None, {"mu": np.array([0.1, 1, 5, 30])}, rtol=1e-9)
    for row, mu in enumerate([0.1, 1, 5, 30]):
        reference = solve_ivp(
            lambda _, y, mu=mu: [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]],
            (0, 20), [2, 0], "LSODA", times, rtol=1e-12, atol=1e-12,
        )  # fmt: skip
        np.testing.assert_allclose(seen["x"][row], reference.y[0], rtol=1e-5, atol=1e-6)
    # The stiff case of the same test set, in its original time: mu 1000, end at 2000 s.
    stiff = run("van_der_pol", [0, 2000.0], None, {"mu": np.array([1000.0])}, rtol=1e-8)
    assert stiff["x"][0, -1] == pytest.approx(0.1706167732170483e1, rel=1e-6)
    assert stiff["v"][0, -1] * 1000 == pytest.approx(-0.8928097010247975, rel=1e-6)
    assert stiff.steps[0] < 1500


# --- elimination without exchange of rows --------------------------------------------------------------------


def test_a_step_at_a_vanishing_pivot_is_refused_or_right() -> None:
    a, b, c, d = 1.0, 2.0, 2.0, 3.0
    stepper = Stepper("pivot", a=a, b=b, c=c, d=d)
    vanishing = 1 / (a * tableau.GAMMA)
    distances = np.concatenate([[0.0], 2.0 ** -np.arange(1, 54), -(2.0 ** -np.arange(1, 54))])
    rtol, refused = 1e-6, 0
    y = 1e-4 * np.array([1.0, 1.0])  # small beside what is negligible, so that steps as long as this do occur
    for first in range(0, len(distances), LANES):
        steps = vanishing * (1 + np.resize(distances[first : first + LANES], LANES))
        found, errors = stepper(0.0, y, steps, rtol)
        for lane, h in enumerate(steps):
            if not errors[lane] <= 1:
                refused += 1
                continue
            exact = expm(h * np.array([[a, -b], [c, -d]])) @ y
            assert abs(found[:, lane] - exact).max() < 100 * rtol * 1e-3
    assert refused > 0


def test_patients_whose_steps_meet_vanishing_pivots_come_out_right() -> None:
    n = 2000
    a = np.linspace(0.2, 2.5, n)
    times = np.array([0, 50.0, 400.0, 3000.0])
    seen = run("pivot", times, None, {"a": a, "d": a + 2.0, "b": a + 2.0, "c": a + 2.0})
    assert set(seen.status) <= {Status.ok, Status.too_many_steps, Status.step_too_small}
    assert (seen.status == Status.ok).mean() > 0.99
    for row in np.flatnonzero(seen.status == Status.ok)[::4]:
        matrix = np.array([[a[row], -(a[row] + 2)], [a[row] + 2, -(a[row] + 2)]])
        for column, t in enumerate(times):
            exact = expm(t * matrix) @ [1.0, 0.0]
            found = [seen["x"][row, column], seen["y"][row, column]]
            np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-7)


# --- how a patient ends --------------------------------------------------------------------------------------


def test_a_patient_that_fails_is_nan_and_the_rest_is_whole() -> None:
    n = 40
    patients = {"blowup": np.where(np.arange(n) == 17, 1.0, 0.01)}  # 1/(1 - blowup*t): a pole at 1, or at 100
    times = np.array([0.0, 0.5, 2.0, 20.0])
    seen = run("growth", times, None, patients)
    assert seen.status[17] in (Status.step_too_small, Status.too_many_steps)
    assert all(np.isnan(seen[name][17]).all() for name in seen.values)
    rest = np.arange(n) != 17
    assert (seen.status[rest] == Status.ok).all()
    np.testing.assert_allclose(seen["reciprocal"][rest], np.tile(1 / (1 - 0.01 * times), (n - 1, 1)), rtol=1e-5)
    alone = run("growth", times, None, {"blowup": patients["blowup"][rest]})
    for name in seen.values:
        np.testing.assert_array_equal(seen[name][rest], alone[name])
    assert list(seen.failures["id"]) == [17]


def log_chain(n: int, folder: Path) -> Path:
    """A model of ``n`` pools, each filled by the one before and all carried as logarithms, the first by the dose."""
    text = ['[model]\nname = "log_chain"\nsource = "textbook"\ntime = "h"']
    text.append('[parameters.k]\nvalue = 0.7\nunit = "1/h"\nsource = "made up"')
    for i in range(n):
        inflow = f"k*pool{i - 1}" if i else ""
        text.append(f'[states.pool{i}]\nunit = "mg"\nscale = "log"\ninitial = "0"\nseed = "0"')
        text.append(f'rate = "{inflow} - k*pool{i}"')
    text.append('[dosing]\nstate = "pool0"\nper_dose = "1"\ndose = 1\nunit = "mg"')
    path = folder / f"log_chain_{n}.toml"
    path.write_text("\n".join(text) + "\n")
    return path


def test_empty_pools_are_filled_or_the_patient_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTSIM_CACHE", str(tmp_path / "cache"))
    k, times = 10.0 ** np.arange(-3, 16, 3), np.array([1e-5, 0.01, 1.0, 5.0])
    names = ["pool0", "pool1", "pool2", "pool3"]
    seen = cartsim.simulate(cartsim.Patients(log_chain(4, tmp_path), {"k": k}), 1.0, times, names)
    assert (seen.status == Status.ok).all()
    kt = np.outer(k, times)
    for n, name in enumerate(names):
        exact = kt**n / math.factorial(n) * np.exp(-kt)
        np.testing.assert_allclose(seen[name], exact, rtol=1e-4, atol=1e-200)
    # Deeper than one explicit step can reach: better no result than pools that stay empty.
    deep = cartsim.simulate(log_chain(8, tmp_path), 1.0, times, ["pool0", "pool7"])
    assert list(deep.status) == [Status.step_too_small]
    assert np.isnan(deep["pool0"]).all()


def test_too_many_steps_has_its_status() -> None:
    mu = np.array([1.0, 1000.0])
    seen = run("van_der_pol", [0, 10.0, 3000.0], None, {"mu": mu}, max_steps=300)
    assert list(seen.status) == [Status.too_many_steps] * 2
    assert np.isnan(seen["x"]).all()
    assert (seen.steps == 300).all()
    seen = run("van_der_pol", [0, 10.0], None, {"mu": mu}, max_steps=300)
    assert list(seen.status) == [Status.ok] * 2


def test_above_the_ceiling_a_patient_ends() -> None:
    times = np.arange(0, 101.0)
    seen = run("growth", times, ["endless"], {"g": np.array([0.4, 0.1, 40.0])})
    assert list(seen.status) == [Status.ceiling, Status.ok, Status.ceiling]
    with np.errstate(over="ignore"):
        exact = 1e3 * np.exp(np.outer([0.4, 0.1, 40.0], times))
    for row in range(3):
        whole = np.isfinite(seen["endless"][row])
        np.testing.assert_allclose(seen["endless"][row, whole], exact[row, whole], rtol=1e-5)
        assert whole[exact[row] <= 1e12].all()
        assert not whole[exact[row] > 1e12 * (1 + 1e-5)].any()


def test_reaching_the_ceiling_after_the_last_time_is_no_end() -> None:
    seen = run("growth", [0, 51.0], ["endless"], {"g": np.array([0.4])})  # 1e12 is passed at 51.8 days
    assert list(seen.status) == [Status.ok]


# --- patients do not see each other ---------------------------------------------------------------------------


def test_results_do_not_depend_on_neighbors_threads_or_chunks() -> None:
    patients = spread(301, ka=(0.05, 30), ke=(0.01, 5), V=(1, 100))
    times = np.linspace(0, 30, 16)
    whole = run("one_compartment", times, None, patients, 100.0)
    threads = run("one_compartment", times, None, patients, 100.0, n_jobs=2)
    order = np.random.default_rng(3).permutation(301)
    shuffled = run("one_compartment", times, None, {k: v[order] for k, v in patients.items()}, 100.0)
    pieces = [
        run("one_compartment", times, None, {k: v[part] for k, v in patients.items()}, 100.0)
        for part in (slice(0, 1), slice(1, 5), slice(5, 301))
    ]
    for name in whole.values:
        np.testing.assert_array_equal(threads[name], whole[name])
        np.testing.assert_array_equal(shuffled[name], whole[name][order])
        np.testing.assert_array_equal(np.concatenate([piece[name] for piece in pieces]), whole[name])
    np.testing.assert_array_equal(np.concatenate([piece.steps for piece in pieces]), whole.steps)


def test_arrays_and_numbers_of_any_make_are_taken() -> None:
    days, patients = np.arange(31), spread(3, ka=(0.05, 30), ke=(0.01, 5), V=(1, 100))
    rule = {"state": "eliminated", "above_nadir": 2, "above": 1, "earliest": 3, "delay": 2}
    exact = Retreatment(**{key: value if key == "state" else float(value) for key, value in rule.items()})
    plain = run("one_compartment", days[::2].astype(float), None, patients, Regimen.single(100.0, retreatment=exact))
    assert np.isfinite(plain.retreated).any()
    frozen = np.arange(31.0)
    frozen.flags.writeable = False
    for times in (days[::2], frozen[::2], list(range(0, 31, 2)), np.arange(0, 31, 2, dtype=np.float32)):
        seen = run("one_compartment", times, None, patients, Regimen.single(100, retreatment=Retreatment(**rule)))
        for name in plain.values:
            np.testing.assert_array_equal(seen[name], plain[name])
        np.testing.assert_array_equal(seen.retreated, plain.retreated)


# --- random models --------------------------------------------------------------------------------------------

SPECIES = ("u", "v", "w")
KINDS = {
    "linear": "{k}*{a}",
    "saturable": "{k}*{a}/({m} + {a})",
    "catalyzed": "{k}*{a}*{b}/({m} + {b})",
    "collision": "{k}*{a}*{b}",
    "power": "{k}*{a}*(1 + {b})**0.7",
}

reaction = st.tuples(
    st.sampled_from(sorted(KINDS)), st.permutations(range(3)), st.booleans()
)  # kind, (a, b, target), whether what leaves a arrives at the target
network = st.tuples(st.lists(reaction, min_size=2, max_size=5), st.tuples(*[st.booleans()] * 3))


def model_text(reactions: list, log_scaled: tuple[bool, ...]) -> str:
    text = ['[model]\nname = "random"\nsource = "hypothesis"\ntime = "h"\n']
    for i in range(len(reactions)):
        text.append(f'[parameters.k{i}]\nvalue = 1\nunit = "1/h"\nsource = "made up"\n')
        text.append(f'[parameters.m{i}]\nvalue = 1\nunit = "1"\nsource = "made up"\n')
    text.append('[parameters.feed]\nvalue = 1\nunit = "1/h"\nsource = "made up"\n')
    rates: dict[int, list[str]] = {0: ["feed"], 1: [], 2: []}
    for i, (kind, (a, b, target), arrives) in enumerate(reactions):
        flow = KINDS[kind].format(k=f"k{i}", m=f"m{i}", a=SPECIES[a], b=SPECIES[b])
        rates[a].append(f"-{flow}")
        if arrives:
            rates[target].append(f"+ {flow}")
    for i, name in enumerate(SPECIES):
        scale = "log" if log_scaled[i] else "linear"
        text.append(f'[states.{name}]\nunit = "1"\nscale = "{scale}"\ninitial = "{1 + i}"')
        text.append(f'rate = "{" ".join(rates[i]) or "0*feed"}"')
        text.append("" if log_scaled[i] else "negligible = 1e-6")
    return "\n".join(text) + "\n"


def by_hand(reactions: list, k: np.ndarray, m: np.ndarray, feed: float) -> Callable:
    def f(_: float, y: np.ndarray) -> np.ndarray:
        slope = np.array([feed, 0.0, 0.0])
        for i, (kind, (a, b, target), arrives) in enumerate(reactions):
            flow = k[i] * y[a]
            if kind == "saturable":
                flow /= m[i] + y[a]
            elif kind == "catalyzed":
                flow *= y[b] / (m[i] + y[b])
            elif kind == "collision":
                flow *= y[b]
            elif kind == "power":
                flow *= (1 + y[b]) ** 0.7
            slope[a] -= flow
            if arrives:
                slope[target] += flow
        return slope

    return f


@settings(
    max_examples=5, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(network=network)
def test_random_networks_agree_with_scipy(network: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTSIM_CACHE", str(tmp_path / "cache"))  # their machine code is of no further use
    reactions, log_scaled = network
    path = tmp_path / "random.toml"
    path.write_text(model_text(reactions, log_scaled))
    n, rng = 15, np.random.default_rng(len(reactions))
    k = 10.0 ** rng.uniform(-2, 2, (n, len(reactions)))
    m = 10.0 ** rng.uniform(-1, 1, (n, len(reactions)))
    feed = 10.0 ** rng.uniform(-1, 1, n)
    columns = {f"k{i}": k[:, i] for i in range(len(reactions))}
    columns |= {f"m{i}": m[:, i] for i in range(len(reactions))} | {"feed": feed}
    times = np.array([0, 0.01, 0.3, 1, 4, 20.0])
    seen = cartsim.simulate(
        cartsim.Patients(path, columns), None, times, list(SPECIES), solver=cartsim.Solver(rtol=1e-8)
    )
    assert (seen.status == Status.ok).all()
    for row in range(n):
        f = by_hand(reactions, k[row], m[row], feed[row])
        reference = solve_ivp(f, (0, 20), [1.0, 2.0, 3.0], "LSODA", times, rtol=1e-10, atol=1e-13)
        for i, name in enumerate(SPECIES):
            np.testing.assert_allclose(seen[name][row], reference.y[i], rtol=1e-5, atol=1e-8)

"""Population estimation: SAEM against mixed models with a closed form, quadrature, and known truth."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import minimize

from cartsim import InputError, load
from cartsim.fitting import maximum as module
from cartsim.fitting.errors import ErrorModel
from cartsim.fitting.individual import PARAMETERS
from cartsim.fitting.population import PopulationEstimate, PopulationFit, Saem, estimate_by_saem, fit_population
from cartsim.fitting.synthetic import Sampled, synthetic_patients
from cartsim.observations import read_observations
from cartsim.runs import Trail

MODEL = "bb2121_clinical"
TESTS = Path(__file__).parents[1]
SMALL = Saem(explore=40, smooth=20)


class Linear:
    """y = X phi + normal error of SD sigma: a linear mixed model, whose likelihood has a closed form.

    Of unequal numbers of observations; values outside low..high are known only to be there.
    """

    parameters = ("a", "b")
    errors: Mapping[str, ErrorModel] = {}

    def __init__(self, mu: Any, omega: Any, sigma: float, n: int = 40, seed: int = 3, limits: Any = (-9, 9)) -> None:
        rng = np.random.default_rng(seed)
        self.count = rng.integers(2, 7, n)
        k = int(self.count.max())
        self.x, self.seen = np.zeros((n, k, 2)), np.arange(k) < self.count[:, None]
        for i, m in enumerate(self.count):
            self.x[i, :m] = np.column_stack([np.ones(m), np.linspace(-1, 1, m)])
        self.parameters = self.parameters[: len(mu)]
        self.x = self.x[:, :, : len(mu)]
        self.phi = np.asarray(mu) + rng.standard_normal((n, len(mu))) @ np.linalg.cholesky(np.asarray(omega)).T
        y = np.einsum("nkd,nd->nk", self.x, self.phi) + sigma * rng.standard_normal((n, k))
        self.limits = limits
        self.y = np.clip(y, *limits)

    @property
    def n(self) -> int:
        return len(self.count)

    def predict(self, values: np.ndarray, who: np.ndarray) -> list[np.ndarray]:
        return [np.einsum("rkd,rd->rk", self.x[who], np.log(values))]

    def terms(self, mean: np.ndarray, who: np.ndarray, sigma: float) -> np.ndarray:
        y, (low, high) = self.y[who], self.limits
        below, above = stats.norm.logcdf(low, mean, sigma), stats.norm.logsf(high, mean, sigma)
        inside = stats.norm.logpdf(y, mean, sigma)
        return np.where(y <= low, below, np.where(y >= high, above, inside))

    def log_likelihood(self, predicted: list[np.ndarray], who: np.ndarray, sigmas: Any = None) -> np.ndarray:
        return np.where(self.seen[who], self.terms(predicted[0], who, sigmas["y"]["add"]), 0.0).sum(axis=1)

    def frame(self) -> pd.DataFrame:
        row, visit = np.nonzero(self.seen)
        return pd.DataFrame({"y": self.y[row, visit], "t": self.x[row, visit, 1], "id": row})


def few_draws(patch: pytest.MonkeyPatch, n: int) -> None:
    """Fewer draws for -2LL and its derivatives, where it is not asked how exact they are."""
    patch.setattr(module, "DRAWS", n)
    patch.setattr(module, "HELD", n // 2)


def start(d: int = 2) -> PopulationEstimate:
    return PopulationEstimate(np.zeros(d), np.eye(d), {("y", "add"): 1.0})


def estimates(fit: PopulationFit, kind: str) -> np.ndarray:
    return fit.estimates.loc[fit.estimates["kind"] == kind, "value"].to_numpy()


def errors(fit: PopulationFit, kind: str) -> np.ndarray:
    return fit.estimates.loc[fit.estimates["kind"] == kind, "se"].to_numpy()


@pytest.mark.parametrize("full", [False, True])
def test_linear_mixed_model_against_statsmodels(full: bool) -> None:
    """Estimates, standard errors and -2LL are those of maximum likelihood in closed form (MixedLM)."""
    from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

    data = Linear([0.5, -0.3], [[0.09, 0.02 * full], [0.02 * full, 0.04]], 0.2)
    fit = estimate_by_saem(data, start(), settings=Saem(full=full, explore=100, smooth=100))
    pattern = None if full else MixedLMParams.from_components(np.ones(2), np.eye(2))
    known = MixedLM.from_formula("y ~ t", data.frame(), groups="id", re_formula="~t").fit(reml=False, free=pattern)
    assert fit.converged
    assert fit.warnings == ()
    mean, se = np.log(estimates(fit, "typical")), fit.estimates["rse"].to_numpy()[:2]
    assert mean == pytest.approx(known.fe_params.to_numpy(), abs=0.1 * se.min())
    assert se == pytest.approx(known.bse_fe.to_numpy(), rel=0.1)
    covariance = known.cov_re.to_numpy()
    assert estimates(fit, "omega") == pytest.approx(np.sqrt(np.diagonal(covariance)), rel=0.02)
    assert estimates(fit, "sigma")[0] == pytest.approx(np.sqrt(known.scale), rel=0.02)
    assert fit.minus_2LL == pytest.approx(-2 * known.llf, abs=4 * fit.minus_2LL_se)
    assert fit.minus_2LL_se < 0.3
    assert fit.aic == pytest.approx(fit.minus_2LL + 2 * (6 if full else 5))
    assert fit.bic == pytest.approx(fit.minus_2LL + np.log(40) * (6 if full else 5))
    if full:
        rho = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
        assert estimates(fit, "correlation")[0] == pytest.approx(rho, abs=0.03)
    # Posterior means of the patients: best linear unbiased predictions.
    individuals = fit.individuals.pivot(index="id", columns="parameter", values="value")
    effects = np.array([[*known.random_effects[i]] for i in range(40)]) + known.fe_params.to_numpy()
    assert np.log(individuals.to_numpy()) == pytest.approx(effects, abs=0.05)


def test_standard_errors_of_variances_against_the_balanced_design() -> None:
    """One random effect, m observations each: mean squares are independent and known."""
    data = Linear([0.5], [[0.16]], 0.3, n=60)
    m = 4
    data.count[:] = m
    data.seen = np.arange(data.y.shape[1]) < data.count[:, None]
    rng = np.random.default_rng(5)
    data.x[:] = 1.0
    data.y = data.phi + 0.3 * rng.standard_normal(data.y.shape)
    fit = estimate_by_saem(data, start(1), settings=Saem(explore=80, smooth=80))
    y = data.y[:, :m]
    within = y.var(axis=1).sum() * m / (60 * (m - 1))
    between = y.mean(axis=1).var() - within / m  # maximum likelihood
    assert estimates(fit, "omega")[0] == pytest.approx(np.sqrt(between), rel=0.01)
    assert estimates(fit, "sigma")[0] == pytest.approx(np.sqrt(within), rel=0.01)
    assert np.log(estimates(fit, "typical"))[0] == pytest.approx(y.mean(), abs=0.005)
    total = between + within / m
    # Variances of the two mean squares, by the delta method.
    sd_within = within * np.sqrt(2 / (60 * (m - 1)))
    sd_between = np.sqrt(2 * total**2 / 60 + (sd_within / m) ** 2)
    assert errors(fit, "sigma")[0] == pytest.approx(sd_within / (2 * np.sqrt(within)), rel=0.07)
    assert errors(fit, "omega")[0] == pytest.approx(sd_between / (2 * np.sqrt(between)), rel=0.07)
    assert fit.estimates.loc[0, "rse"] == pytest.approx(np.sqrt(total / 60), rel=0.07)


def test_a_parameter_without_variability_against_statsmodels() -> None:
    """A random intercept and one slope for all, far from where it begins: closed form (MixedLM)."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    data = Linear([0.5, -0.3], [[0.09, 0], [0, 1e-12]], 0.2)
    first = PopulationEstimate(np.array([0.0, 1.5]), np.diag([1.0, 0.0]), {("y", "add"): 1.0})
    fit = estimate_by_saem(data, first, settings=Saem(explore=60, smooth=30))
    known = MixedLM.from_formula("y ~ t", data.frame(), groups="id").fit(reml=False)
    assert fit.converged
    assert fit.warnings == ()
    assert fit.estimates["kind"].tolist() == ["typical", "typical", "omega", "sigma"]
    mean, se = np.log(estimates(fit, "typical")), fit.estimates["rse"].to_numpy()[:2]
    assert mean == pytest.approx(known.fe_params.to_numpy(), abs=0.1 * se.min())
    assert se == pytest.approx(known.bse_fe.to_numpy(), rel=0.05)
    assert estimates(fit, "omega")[0] == pytest.approx(np.sqrt(known.cov_re.iloc[0, 0]), rel=0.02)
    assert fit.minus_2LL == pytest.approx(-2 * known.llf, abs=4 * fit.minus_2LL_se)
    assert set(fit.individuals["parameter"]) == {"a"}


def test_covariate_effect_against_nlme() -> None:
    """Theophylline (Boeckmann 1994): the exponent of weight in the volume is 0.56 by nlme, from wherever it begins."""
    model = load(TESTS / "models/theophylline.toml").override({"b": -0.5})
    error = {"concentration": ErrorModel("combined")}
    names = ["ka", "CL", "V", "b"]
    saem = Saem(explore=50, smooth=20)
    fit = fit_population(model, TESTS / "theophylline.csv", names, errors=error, saem=saem)
    found = fit.estimates.set_index(["kind", "name"])
    assert fit.converged
    assert found.loc[("typical", "b"), "value"] == pytest.approx(0.56, abs=0.06)
    # By adaptive quadrature (nine points in each of three dimensions) of the solution in closed form.
    assert fit.minus_2LL == pytest.approx(343.84, abs=4 * fit.minus_2LL_se)
    assert found.loc[("typical", "b"), "se"] == pytest.approx(0.28, rel=0.15)
    known = {"ka": 1.4995, "CL": 2.758, "V": 31.96}
    for name, value in known.items():
        assert found.loc[("typical", name), "value"] == pytest.approx(value, rel=0.02)


def test_a_nearly_singular_omega_against_quadrature() -> None:
    """Theophylline, all correlations: what adaptive quadrature (seven points in each of three dimensions) gives.

    The correlation of CL and V is 0.93 there, which the data hardly tell from 1.
    """
    error = {"concentration": ErrorModel("combined")}
    saem = Saem(explore=100, smooth=30, full=True)
    path = TESTS / "models/theophylline.toml"
    fit = fit_population(path, TESTS / "theophylline.csv", ["ka", "CL", "V"], errors=error, saem=saem)
    assert fit.converged
    assert fit.warnings == ()
    assert fit.minus_2LL == pytest.approx(336.776, abs=4 * fit.minus_2LL_se)
    known = {
        "ka": (1.511, 0.2014), "CL": (2.773, 0.0753), "V": (31.85, 0.0449), "omega ka": (0.6615, 0.2376),
        "omega CL": (0.2471, 0.2247), "omega V": (0.1224, 0.3326), "concentration add": (0.2653, 0.2629),
        "concentration prop": (0.1351, 0.1248),
    }  # fmt: skip
    for row in fit.estimates.itertuples():
        name = f"omega {row.name}" if row.kind == "omega" else row.name
        if row.kind != "correlation":
            value, error = known[name]
            assert np.log(row.value / value) == pytest.approx(0, abs=0.25 * error)
            assert row.rse == pytest.approx(error, rel=0.1)
    last = fit.estimates.set_index(["kind", "name"]).loc[("correlation", "CL, V")]
    assert last["value"] == pytest.approx(0.935, abs=0.03)
    assert last["high"] > 0.99
    assert last["low"] < 0.5


def test_an_omega_that_vanishes_does_not_hold_the_mean() -> None:
    """A slope that is the same in all, begun with a little variability: its mean moves, its limits are not narrow."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    data = Linear([0.5, -0.3], [[0.09, 0], [0, 1e-12]], 0.2)
    first = PopulationEstimate(np.array([0.0, 0.5]), np.diag([1.0, 0.03**2]), {("y", "add"): 1.0})
    fit = estimate_by_saem(data, first, settings=Saem(explore=60, smooth=30))
    known = MixedLM.from_formula("y ~ t", data.frame(), groups="id").fit(reml=False)
    found = fit.estimates.set_index(["kind", "name"])
    assert found.loc[("typical", "b"), "rse"] == pytest.approx(known.bse_fe["t"], rel=0.15)
    assert np.log(found.loc[("typical", "b"), "value"]) == pytest.approx(
        known.fe_params["t"], abs=0.3 * known.bse_fe["t"]
    )


def test_censored_values_against_quadrature() -> None:
    """A third of the values known only to lie below or above a limit: maximum likelihood by Gauss-Hermite."""
    data = Linear([0.2], [[0.25]], 0.3, n=80, limits=(-0.2, 0.7))
    share = (data.y[data.seen] <= -0.2).mean() + (data.y[data.seen] >= 0.7).mean()
    assert 0.25 < share < 0.6
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = np.log(weights / np.sqrt(2 * np.pi))
    who = np.repeat(np.arange(80), 60)

    def minus_2ll(x: np.ndarray) -> float:
        mu, omega, sigma = x[0], *np.exp(x[1:])
        phi = np.tile(mu + omega * nodes, 80)
        height = data.log_likelihood([data.x[who, :, 0] * phi[:, None]], who, {"y": {"add": sigma}}).reshape(80, 60)
        return -2 * float(np.logaddexp.reduce(height + weights, axis=1).sum())

    best = minimize(minus_2ll, [0.0, -1.0, -1.0], method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-6})
    fit = estimate_by_saem(data, start(1), settings=Saem(explore=100, smooth=100))
    found = np.log(np.concatenate([estimates(fit, kind) for kind in ("typical", "omega", "sigma")]))
    assert fit.converged
    assert found == pytest.approx(best.x, abs=0.02)
    assert fit.minus_2LL == pytest.approx(best.fun, abs=4 * fit.minus_2LL_se)
    step = 0.02
    bend = [(minus_2ll(best.x + e) - 2 * best.fun + minus_2ll(best.x - e)) / step**2 / 2 for e in step * np.eye(3)]
    assert 1 / np.sqrt(np.diagonal(np.linalg.inv(fit.covariance))) == pytest.approx(1 / np.sqrt(bend), rel=0.1)


@pytest.fixture(scope="module")
def recovered() -> tuple[PopulationFit, pd.DataFrame]:
    """50 patients: categories, transgene with a limit of quantification, sBCMA mostly below its own."""
    data, truth = synthetic_patients(
        (*(150e6,) * 15, *(450e6,) * 35),
        parameters=PARAMETERS,
        transgene=Sampled((7, 14, 28, 61, 91, 183), 0.3, 50.0),
        seed=11,
    )
    assert (data["value"].str.startswith("<")).mean() > 0.1
    assert (data["category"] != "").mean() > 0.3
    with pytest.MonkeyPatch.context() as patch:
        few_draws(patch, 600)
        return fit_population(MODEL, data, PARAMETERS, saem=Saem(explore=60, smooth=40)), truth


def test_population_is_recovered(recovered: tuple[PopulationFit, pd.DataFrame]) -> None:
    """Continuous, censored and categorical data together: means and omegas within 30 % of the truth."""
    fit, truth = recovered
    model = load("bb2121_clinical")
    assert fit.converged
    typical = np.array([model.parameters[name].value for name in PARAMETERS])
    omega = np.array([model.parameters[name].iiv.omega for name in PARAMETERS])
    assert estimates(fit, "typical") == pytest.approx(typical, rel=0.3)
    assert estimates(fit, "omega") == pytest.approx(omega, rel=0.3)
    sigma = fit.estimates[fit.estimates["kind"] == "sigma"].set_index("name")["value"]
    assert sigma["transgene log"] == pytest.approx(0.3, rel=0.3)
    within = (fit.estimates["low"] < fit.estimates["high"]).all()
    assert within
    # The patients' own values follow.
    found = fit.individuals.pivot(index="id", columns="parameter", values="value")[list(PARAMETERS)]
    for name in PARAMETERS:
        assert np.corrcoef(np.log(found[name]), np.log(truth[name]))[0, 1] > 0.75


def test_trace_and_its_picture(recovered: tuple[PopulationFit, pd.DataFrame]) -> None:
    fit, _ = recovered
    trace = fit.trace
    assert (trace["iteration"].diff().dropna() == 1).all()
    assert trace["phase"].value_counts()[["explore", "smooth"]].tolist() == [60, 40]
    last = trace.iloc[-1]
    assert last["Kexp_max"] == pytest.approx(fit.estimates.loc[0, "value"])
    assert last["omega Kexp_max"] == pytest.approx(estimates(fit, "omega")[0])
    settled = trace[trace["phase"] != "newton"].tail(30)
    for name, goal in (("accepted_together", 0.3), ("accepted_alone", 0.4)):
        assert settled[name].mean() == pytest.approx(goal, abs=0.1)
    figure = fit.plot.trace()
    assert [axis.get_title() for axis in figure.axes][:4] == [
        "Kexp_max (1/day)", "Kkill_max (1/day)", "gamma_m", "omega Kexp_max",
    ]  # fmt: skip
    assert [axis.get_title() for axis in fit.plot.trace("gamma_m").axes] == ["gamma_m", "omega gamma_m"]
    with pytest.raises(InputError, match="no estimate of 'K12'; choose one of Kexp_max"):
        fit.plot.trace("K12")


def test_fixed_means_and_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    few_draws(monkeypatch, 200)
    days = {"transgene": Sampled((7, 14, 28, 61), 0.3, 50.0), "sbcma": Sampled()}
    data, _ = synthetic_patients((450e6,) * 4, parameters=PARAMETERS, seed=1, **days)
    # What is asked here does not depend on how well it fits.
    saem = Saem(explore=10, smooth=10, seed=5, fixed_means=["gamma_m"])
    first, again = (fit_population(MODEL, data, saem=saem) for _ in range(2))
    pd.testing.assert_frame_equal(first.trace, again.trace)
    pd.testing.assert_frame_equal(first.estimates, again.estimates)
    held = first.estimates.set_index("name").loc["gamma_m"].iloc[0]
    assert held["value"] == pytest.approx(0.215)
    assert np.isnan(held["se"])
    assert ("typical", "gamma_m") not in first.names
    assert ("omega", "gamma_m") in [*first.names, *first.limits]
    assert first.made_by["seed"] == 5


class Stopped(Exception):
    pass


def test_a_fit_goes_on_from_any_step_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_draws(monkeypatch, 200)
    data = read_observations("crb401_synthetic").of("sbcma_change")

    def fit(checkpoint: Path | None = None) -> PopulationFit:
        return fit_population(MODEL, data, ["gamma_b"], saem=Saem(10, 10, checkpoint=checkpoint))

    whole, keep = fit(), Trail.keep
    steps = len(whole.trace)
    assert steps > 20  # a Newton step too
    for last in (1, 13, 20, 21):
        # As if the process was killed after so many steps.
        def stop(self: Trail, done: int, pack: Any, last: int = last) -> None:
            keep(self, done, pack)
            if done == last:
                raise Stopped

        monkeypatch.setattr(Trail, "keep", stop)
        with pytest.raises(Stopped):
            fit(tmp_path)
        (folder,) = tmp_path.iterdir()
        assert [path.name for path in folder.glob("*.npz")] == [f"part_0_{last}.npz"]
    monkeypatch.setattr(Trail, "keep", keep)
    for damaged in (False, True):
        if damaged:
            (part,) = folder.glob("*.npz")
            part.write_bytes(part.read_bytes()[:-100])
        again = fit(tmp_path)
        pd.testing.assert_frame_equal(again.trace, whole.trace, check_exact=True)
        pd.testing.assert_frame_equal(again.estimates, whole.estimates, check_exact=True)
        assert np.array_equal(again.sample.eta, whole.sample.eta)
    assert len(list(tmp_path.iterdir())) == 1
    other = fit_population(MODEL, data, ["gamma_b"], saem=Saem(10, 11, checkpoint=tmp_path))
    assert len(other.trace) >= 21
    assert len(list(tmp_path.iterdir())) == 2  # another fit has a folder of its own


# The command with few draws, which sends itself a signal after a step.
KILLED = """
import os
from cartsim.cli import main
from cartsim.fitting import maximum
from cartsim.runs import Trail

maximum.DRAWS, maximum.HELD, keep = 200, 100, Trail.keep

def kept(self, done, pack):
    keep(self, done, pack)
    if done == int(os.environ["STEP"]):
        os.kill(os.getpid(), int(os.environ["SENT"]))

Trail.keep = kept
main()
"""


def test_a_killed_command_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    read_observations("crb401_synthetic").of("sbcma_change").given.to_csv(data, index=False)
    words = [sys.executable, "-c", KILLED, "population", str(data), "--estimate", "gamma_b", "--explore", "30",
             "--smooth", "10", "--rtol", "1e-5", "--no-pictures", "--jobs", "1"]  # fmt: skip
    path = os.pathsep.join([str(Path(module.__file__).parents[2]), os.environ.get("PYTHONPATH", "")])

    def run(*more: str | Path, step: int = 0, sent: int = 0) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": path, "STEP": str(step), "SENT": str(int(sent))}
        return subprocess.run([*words, *more], capture_output=True, text=True, env=environment)

    assert run("--out", tmp_path / "whole").returncode == 0
    going = ("--checkpoint", tmp_path / "kept", "--out", tmp_path / "again")
    for step, sent, says in ((7, signal.SIGKILL, ""), (33, signal.SIGINT, "kept; the same command goes on from there")):
        ended = run(*going, step=step, sent=sent)
        assert says in ended.stderr
        assert ended.returncode != 0
        assert [part.name for part in (tmp_path / "kept").glob("*/part_0_*.npz")] == [f"part_0_{step}.npz"]
        assert not (tmp_path / "again" / "estimates.csv").exists()
    ended = run(*going)
    assert "steps taken from" in ended.stderr
    for name in ("estimates.csv", "trace.csv", "individuals.csv", "population.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert json.loads((tmp_path / "again" / "population.json").read_text())["solver"].startswith("Solver(rtol=1e-05")


def test_what_the_data_do_not_show_is_said() -> None:
    """No variability of b in the truth: its omega goes towards 0, and the fit says so or gives no standard error."""
    data = Linear([0.5, -0.3], [[0.09, 0], [0, 1e-12]], 0.2)
    fit = estimate_by_saem(data, start(), settings=Saem(explore=150, smooth=50))
    assert estimates(fit, "omega")[1] < 0.1
    se = fit.estimates.set_index(["kind", "name"]).loc[("omega", "b"), "se"]
    assert fit.warnings or se > 0.3 * estimates(fit, "omega")[1]
    assert np.log(estimates(fit, "typical")) == pytest.approx([0.5, -0.3], abs=0.15)


def test_a_fit_that_did_not_converge_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEPS", 0)
    data = Linear([0.5, -0.3], [[0.09, 0], [0, 0.04]], 0.2)
    fit = estimate_by_saem(
        data,
        PopulationEstimate(np.array([3.0, 3.0]), np.eye(2), {("y", "add"): 5.0}),
        settings=Saem(explore=10, smooth=10),
    )
    assert not fit.converged
    assert any("not converged" in said or "no standard errors" in said for said in fit.warnings)
    assert np.isfinite(fit.estimates["value"]).all()
    assert fit.estimates[["se", "rse", "low", "high"]].isna().all(axis=None)
    figure = fit.plot.trace()
    assert np.isnan([each.get_height() for axis in figure.axes for each in axis.patches]).all()
    assert any("not converged" in text.get_text() for text in figure.texts)


def test_what_cannot_be_told_apart_has_no_standard_error() -> None:
    """Two values a patient and two parameters: error and variability are one."""
    data = Linear([0.5, -0.3], [[0.09, 0], [0, 0.04]], 0.05, n=12)
    data.seen[:] = np.arange(data.y.shape[1]) < 2
    data.x[:, :2, 1] = [-1, 1]
    data.y[:, :2] = np.einsum("nkd,nd->nk", data.x[:, :2], data.phi)
    fit = estimate_by_saem(data, start(), settings=SMALL)
    assert not fit.converged
    assert any("omega a, omega b, sigma y add: the data do not identify them" in said for said in fit.warnings)
    assert fit.estimates["se"].isna().tolist() == [False, False, True, True, True]


def test_an_error_that_vanishes_is_said() -> None:
    """Curves meet their points, so that the likelihood has no bound."""
    data = Linear([0.5, -0.3], [[0.09, 0], [0, 0.04]], 1e-9)
    fit = estimate_by_saem(data, start(), settings=Saem(explore=150, smooth=20))
    assert fit.vanished == [("y", "add")]
    assert not fit.converged
    assert any("runs to 0" in said for said in fit.warnings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimate": ["Kexp"]}, "no parameter or covariate 'Kexp'"),
        ({"estimate": []}, "name at least one"),
        ({"saem": Saem(fixed_means=["Kg"])}, "mean of Kg is to be fixed, but it is not among"),
        ({"saem": Saem(full=True, fixed_means=["gamma_m"])}, "leave fixed_means out"),
        ({"estimate": {"Kg": -0.1}}, "Kg has no log-normal variability above 0; give its omega"),
        ({"estimate": ["EC50_exp"]}, "none varies between patients"),
        ({"estimate": {"Kg": None, "gamma_m": 0}}, "none varies between patients"),
        ({"estimate": ["Kg", "gamma_m"], "saem": Saem(fixed_means=["Kg"])}, "Kg does not vary"),
        ({"saem": 150}, "saem is 150; give Saem"),
        ({"seed": 3}, r"fit_population takes no seed=3; it is a setting of the algorithm: saem=Saem\(seed="),
        ({"erors": None}, "fit_population takes no erors=None; did you mean errors?"),
        ({"errors": {"transgene": ErrorModel("additive")}}, "'transgene', which is not in the data"),
    ],
)
def test_bad_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_population(MODEL, "crb401_synthetic", **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"explore": 5}, "5 exploring and 100 smoothing iterations; give whole numbers, 10 or more of each"),
        ({"smooth": np.float64(20)}, "150 exploring and 20.0 smoothing iterations"),
        ({"seed": np.int64(-1)}, "seed is -1; give a whole number"),
        ({"fixed_means": "Kexp_max"}, "fixed_means is 'Kexp_max'; give a list of names"),
    ],
)
def test_bad_settings_of_the_algorithm_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Saem(**settings)


def test_progress_counts_iterations_and_newton_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []

    @contextmanager
    def bar(shown: bool, what: str, total: int) -> Iterator[Callable[[int], None]]:
        assert (shown, what, total) == (True, "iterations", 20 + module.STEPS)
        yield steps.append

    monkeypatch.setattr("cartsim.fitting.population.bar", bar)
    fit = estimate_by_saem(
        Linear([0.5, -0.3], [[0.09, 0], [0, 0.04]], 0.2), start(), settings=Saem(10, 10, progress=True)
    )
    assert sum(steps) == len(fit.trace)


def test_one_patient_is_no_population() -> None:
    data, _ = synthetic_patients((450e6,))
    with pytest.raises(InputError, match="two patients or more"):
        fit_population(MODEL, data)


def test_command(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from cartsim.cli.app import app

    data, _ = synthetic_patients((450e6,) * 8, parameters=PARAMETERS, transgene=Sampled((7, 14, 28), 0.3, 50.0), seed=2)
    data.to_csv(tmp_path / "data.csv", index=False)
    out = tmp_path / "out"
    words = ["population", str(tmp_path / "data.csv"), "--estimate", "Kexp_max,Kkill_max", "--explore", "40",
             "--smooth", "20", "--error", "transgene=lognormal", "--out", str(out)]  # fmt: skip
    result = CliRunner().invoke(app, words)
    assert result.exit_code in (0, 1), result.output
    assert result.exit_code == (0 if "not converged" not in result.stderr else 1)
    names = {"estimates.csv", "trace.csv", "individuals.csv", "population.json", "convergence.png"}
    assert {path.name for path in out.iterdir()} == names
    assert "omega Kexp_max" in result.stdout
    bad = CliRunner().invoke(app, ["population", "crb401_synthetic", "--fix-mean", "Kg", "--out", str(tmp_path / "no")])
    assert bad.exit_code == 2
    assert "mean of Kg" in bad.stderr
    assert not (tmp_path / "no").exists()

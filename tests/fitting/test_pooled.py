"""Estimation against certified values, closed forms and scipy; recovery of known truth; the mouse of the paper."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from cartsim import load
from cartsim.errors import InputError
from cartsim.fitting import (
    DataSet,
    ErrorModel,
    Estimated,
    Prior,
    Problem,
    fit_problem,
    replicate,
    table_priors,
)
from cartsim.regimen import Regimen

FIGURE_2B = Path(__file__).parents[2].parent / "shared" / "data" / "xenograft_fig2b.csv"

# y = b1 + (y0 - b1) exp(-b2 c t): saturation for y0 = 0, exponential decay for b1 = 0.
TOY = """
[model]
name = "toy"
source = "defined"
time = "day"
[parameters]
b1 = { value = 0.0, unit = "mg", source = "defined" }
b2 = { value = 0.1, unit = "1/day", low = 0, source = "defined", rse = 0.2 }
c = { value = 1.0, unit = "1", source = "defined" }
y0 = { value = 10.0, unit = "mg", source = "defined" }
[states.y]
unit = "mg"
scale = "linear"
initial = "y0"
negligible = 1e-6
rate = "b2*c*(b1 - y)"
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy") / "toy.toml"
    path.write_text(TOY)
    return load(path)


def _table(time, value, **columns):
    columns = {"id": 1, "output": "y"} | columns
    return pd.DataFrame({"time": np.asarray(time, float), "value": value} | columns)


def _decay(seed=3, n=12, sd=0.2):
    """Times and log-normal measurements of 10 exp(-0.1 t)."""
    time = np.linspace(1, 20, n)
    return time, 10 * np.exp(-0.1 * time + sd * np.random.default_rng(seed).standard_normal(n))


def _by_name(found):
    return found.estimates.set_index("name")


def _fit(problem, **settings):
    """A fit that has nothing to remark."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit_problem(problem, **settings)
    assert found.converged
    return found


# --- certified values and closed forms ------------------------------------------------------------------

# NIST Statistical Reference Datasets, nonlinear regression, y = b1 (1 - exp(-b2 x)): data, the harder start, certified
# estimates, their standard errors, residual sum of squares.
NIST = {
    "Misra1a": (
        [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0],
        [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78],
        (500, 1e-4), (2.3894212918e02, 5.5015643181e-04), (2.7070075241e00, 7.2668688436e-06), 1.2455138894e-01,
    ),
    "BoxBOD": (
        [1, 2, 3, 5, 7, 10], [109, 149, 149, 191, 213, 224],
        (1, 1), (2.1380940889e02, 5.4723748542e-01), (1.2354515176e01, 1.0455993237e-01), 1.1680088766e03,
    ),
}  # fmt: skip


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("name", NIST)
def test_certified_nonlinear_regression(toy, name, scale):
    x, y, start, certified, errors, squares = NIST[name]
    data = DataSet(name, toy.override({"y0": 0}), _table(x, y), ErrorModel("additive"))
    wanted = [Estimated("b1", start[0], scale), Estimated("b2", start[1], scale)]
    found = _fit(Problem([data], wanted))
    rows = _by_name(found)
    n = len(x)
    np.testing.assert_allclose(rows["estimate"][["b1", "b2"]], certified, rtol=1e-5)
    assert rows["estimate"]["y.add"] == pytest.approx(np.sqrt(squares / n), rel=2e-4)
    assert found.log_likelihood == pytest.approx(stats.norm.logpdf(0, 0, 1) * n - n / 2 * (np.log(squares / n) + 1))
    if name == "Misra1a":
        # Certified errors take n - 2 for n, and expected information, which the curvature here changes by 0.2 %.
        np.testing.assert_allclose(rows["se"][["b1", "b2"]] * np.sqrt(n / (n - 2)), errors, rtol=0.003)


def test_linear_regression_on_logarithms(toy):
    """Log-normal error and exponential decay: everything is known in closed form."""
    time, value = _decay()
    n = len(time)
    data = DataSet("d", toy, _table(time, value), ErrorModel("lognormal"))
    found = _fit(Problem([data], ["y0", Estimated("b2", scale="linear")]), starts=2)
    rows = _by_name(found)

    ols = stats.linregress(time, np.log(value))
    residual = np.log(value) - ols.intercept - ols.slope * time
    sd = np.sqrt(np.mean(residual**2))
    assert np.log(rows["estimate"]["y0"]) == pytest.approx(ols.intercept, abs=1e-4)
    assert rows["estimate"]["b2"] == pytest.approx(-ols.slope, rel=1e-4)
    assert rows["estimate"]["y.log"] == pytest.approx(sd, rel=1e-4)

    ml = np.sqrt((n - 2) / n)  # of errors by maximum likelihood to those of regression
    assert rows["rse"]["y0"] == pytest.approx(ols.intercept_stderr * ml, rel=1e-3)
    assert rows["se"]["b2"] == pytest.approx(ols.stderr * ml, rel=1e-3)
    assert rows["rse"]["y.log"] == pytest.approx(1 / np.sqrt(2 * n), rel=1e-3)
    z = stats.norm.ppf(0.975)
    assert rows["high"]["y0"] == pytest.approx(np.exp(ols.intercept + z * ols.intercept_stderr * ml), rel=1e-3)
    assert rows["low"]["b2"] == pytest.approx(-ols.slope - z * ols.stderr * ml, rel=1e-3)
    mean, squares = time.mean(), np.sum(time**2) / n
    assert found.correlation.loc["y0", "b2"] == pytest.approx(mean / np.sqrt(squares), rel=1e-3)

    log_likelihood = stats.lognorm.logpdf(value, sd, scale=np.exp(np.log(value) - residual)).sum()
    assert found.log_likelihood == pytest.approx(log_likelihood, abs=1e-6)
    assert found.aic == pytest.approx(2 * 3 - 2 * log_likelihood)
    assert found.bic == pytest.approx(3 * np.log(n) - 2 * log_likelihood)

    profile = found.profile("b2")
    spread = np.sum((time - mean) ** 2)
    reach = np.sqrt(n * sd**2 / spread * np.expm1(stats.chi2.ppf(0.95, 1) / n))  # with sd estimated anew
    assert profile.identified
    assert profile.low == pytest.approx(-ols.slope - reach, rel=0.01)
    assert profile.high == pytest.approx(-ols.slope + reach, rel=0.01)
    change = n * np.log1p((profile.curve["value"] + ols.slope) ** 2 * spread / (n * sd**2))
    np.testing.assert_allclose(profile.curve["change"], change, atol=0.02)


def test_a_prior_and_data_make_the_posterior(toy):
    """Known error SD and log-normal prior: the posterior is normal on the log scale."""
    time, value = _decay()
    data = DataSet("d", toy, _table(time, value), ErrorModel("lognormal", log=0.2))
    found = _fit(Problem([data], ["y0"], {"y0": Prior(7.0, 0.1)}), starts=1)
    of_data, of_prior = len(time) / 0.2**2, 1 / 0.1**2
    mean = (of_data * np.mean(np.log(value) + 0.1 * time) + of_prior * np.log(7)) / (of_data + of_prior)
    row = _by_name(found).loc["y0"]
    assert np.log(row["estimate"]) == pytest.approx(mean, abs=1e-4)
    assert row["rse"] == pytest.approx((of_data + of_prior) ** -0.5, rel=1e-3)
    assert row["shrinkage"] == pytest.approx(of_prior / (of_data + of_prior), rel=1e-3)
    assert (row["prior"], row["prior_rse"]) == (7.0, 0.1)
    deviance = -2 * stats.norm.logpdf(np.log(value), mean - 0.1 * time, 0.2).sum() + 2 * np.log(value).sum()
    assert found.objective == pytest.approx(deviance + ((mean - np.log(7)) / 0.1) ** 2, abs=1e-5)

    # Without its own prior the profile is that of the data alone, here the mean of normal values.
    alone = found.profile("y0", priors="others")
    half = stats.norm.ppf(0.975) / np.sqrt(of_data)
    center = np.mean(np.log(value) + 0.1 * time)
    np.testing.assert_allclose(np.log([alone.low, alone.high]), [center - half, center + half], atol=1e-3)


@pytest.mark.parametrize("kind", ["additive", "proportional", "combined", "lognormal"])
@pytest.mark.parametrize("censored", [False, True])
def test_other_likelihoods_are_those_of_scipy(toy, kind, censored):
    """The same maximum as a plain search with scipy's distributions and the solved equation."""
    time, value = _decay(seed=5, n=60, sd=0.15)
    value = np.maximum(value + 0.5 * np.random.default_rng(5).standard_normal(60), 0.3)
    limit = 2.0 if censored else 0.0
    below = value < limit

    def cost(x):
        y0, b2 = np.exp(x[:2])
        f = y0 * np.exp(-b2 * time)
        if kind == "lognormal":
            dist, at, jacobian = stats.norm(np.log(f), np.exp(x[2])), np.log, np.log(value)
        else:
            add = 0 if kind == "proportional" else np.exp(x[2])
            prop = 0 if kind == "additive" else np.exp(x[-1])
            dist, at, jacobian = stats.norm(f, np.sqrt(add**2 + (prop * f) ** 2)), np.asarray, 0 * f
        density = dist.logpdf(at(value)) - jacobian
        return -np.where(below, dist.logcdf(at(limit)) if censored else 0, density).sum()

    start = np.log([10, 0.1, 0.3] + ([0.1] if kind == "combined" else []))
    settings = {"xatol": 1e-6, "fatol": 1e-9, "maxiter": 5000, "maxfev": 5000}
    best = optimize.minimize(cost, start, method="Nelder-Mead", options=settings)
    error = ErrorModel(kind, lloq=limit or None)
    found = fit_problem(Problem([DataSet("d", toy, _table(time, value), error)], ["y0", "b2"]), starts=1)
    assert found.converged
    assert found.log_likelihood == pytest.approx(-best.fun, abs=1e-4)
    np.testing.assert_allclose(np.log(found.estimates["estimate"][:2]), best.x[:2], atol=2e-3)


def test_the_column_below_says_the_same_as_a_limit(toy):
    time, value = _decay(n=20)
    with_limit = DataSet("d", toy, _table(time, value), ErrorModel("lognormal", lloq=3))
    marked = _table(time, np.maximum(value, 3), below=value < 3)
    with_column = DataSet("d", toy, marked, ErrorModel("lognormal"))
    a, b = (fit_problem(Problem([data], ["y0", "b2"]), starts=1) for data in (with_limit, with_column))
    np.testing.assert_array_equal(a.estimates["estimate"], b.estimates["estimate"])
    simulated = replicate(b.problem, b.values, 1).data[0].layout
    assert not simulated.below.any()
    assert np.ptp(simulated.value / value) > 0.1


# --- several data sets ----------------------------------------------------------------------------------


def test_data_sets_share_a_parameter(toy):
    """Two decays with one rate: analysis of covariance on the logarithms."""
    (t1, v1), (t2, v2) = _decay(1, 10), _decay(2, 15)
    error = ErrorModel("lognormal", log=0.2)
    one = DataSet("one", toy, _table(t1, v1), error)
    two = DataSet("two", toy.override({"y0": 5}), _table(t2, 0.4 * v2), error)
    found = _fit(Problem([one, two], ["b2", "one.y0", "two.y0"]), starts=1)
    design = np.zeros((25, 3))
    design[:, 0] = -np.concatenate([t1, t2])
    design[:10, 1] = design[10:, 2] = 1
    measured = np.log(np.concatenate([v1, 0.4 * v2]))
    expected = np.linalg.lstsq(design, measured, rcond=None)[0]
    rows = _by_name(found)
    assert rows["estimate"]["b2"] == pytest.approx(expected[0], rel=1e-4)
    np.testing.assert_allclose(np.log(rows["estimate"][["one.y0", "two.y0"]]), expected[1:], atol=1e-4)
    covariance = 0.2**2 * np.linalg.inv(design.T @ design)
    assert rows["se"]["b2"] == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-3)
    assert found.model("two").parameters["y0"].value == rows["estimate"]["two.y0"]
    assert set(found.residuals()["data"]) == {"one", "two"}
    both = [found.predict(data=name) for name in ("one", "two")]
    pd.testing.assert_frame_equal(found.predict(), pd.concat(both, ignore_index=True))
    with pytest.raises(InputError, match="say which, one or two"):
        found.model()


def test_models_of_different_scale_share_what_they_have_in_common():
    problem, truth = _joint()
    found = fit_problem(replicate(problem, truth, 1), starts=1)
    rows = _by_name(found)
    assert found.converged
    assert {"KC50", "dish.Kkill_max", "mouse.Kkill_max"} <= set(rows.index)
    for name, value in truth.items():
        assert rows["low"][name] * 0.9 < value < rows["high"][name] * 1.1
    alone, _ = _mouse()
    assert rows["rse"]["mouse.Kkill_max"] > 0
    with pytest.raises(InputError, match="is in 1/h in dish and in 1/day in mouse, so it cannot be shared"):
        Problem(problem.data, ["Kkill_max"])
    assert alone.n_observations < problem.n_observations


def test_a_fit_is_the_prior_of_the_next():
    problem, truth = _dish()
    dish = fit_problem(replicate(problem, truth, 4), starts=1)
    known = dish.priors(["KC50"])
    row = _by_name(dish).loc["KC50"]
    assert known == {"KC50": Prior(row["estimate"], row["rse"])}
    assert set(dish.priors({"KC50": "mouse.KC50"})) == {"mouse.KC50"}
    mouse, truth = _mouse()
    names = [each.name for each in mouse.estimate]
    mouse = replicate(Problem(mouse.data, [*names, "KC50"], known), truth | {"KC50": 2.24}, 4)
    found = _by_name(fit_problem(mouse, starts=1))
    assert found["shrinkage"]["KC50"] > 0.9  # a mouse says little of it
    assert found["estimate"]["KC50"] == pytest.approx(row["estimate"], rel=0.02)
    assert found["rse"]["KC50"] == pytest.approx(row["rse"], rel=0.02)
    with pytest.raises(InputError, match="no standard error of 'tau'"):
        dish.priors(["tau"])


# --- recovery of known truth ----------------------------------------------------------------------------


def _dish():
    """Six cell lines, four ratios, three donors, read at 4 h."""
    lines = ("JeKo", "Daudi", "U266-B1", "NCI-H929", "RPMI-8226", "K562-BCMA")
    rows = [(f"{line}/{et}/{k}", line, et) for line in lines for et in (1, 2, 4, 10) for k in range(3)]
    table = pd.DataFrame(rows, columns=["id", "variant", "ET"]).assign(time=4.0, output="cytolysis", value=50.0)
    data = DataSet("dish", "bb2121_invitro", table, ErrorModel("additive"))
    truth = {"Kkill_max": 0.353, "KC50": 2.24, "gamma": 1.07, "cytolysis.add": 3.0}
    return Problem([data], ["Kkill_max", "KC50", "gamma"]), truth


def _mouse():
    """Four mice under vehicle and four treated, measured as in Figure 2b."""
    volume, blood = (1, 4, 8, 11, 15, 18, 22, 25, 29), (2, 4, 8, 10, 12, 15, 18, 22, 25, 29)
    rows = [(f"{arm}{k}", t, "tumor_volume", dose)
            for arm, dose in (("vehicle", 0), ("treated", 5e6)) for k in range(4) for t in volume]  # fmt: skip
    rows += [(f"treated{k}", t, "cart_blood", 5e6) for k in range(4) for t in blood]
    table = pd.DataFrame(rows, columns=["id", "time", "output", "dose"]).assign(value=100.0)
    error = {"tumor_volume": ErrorModel("combined"), "cart_blood": ErrorModel("lognormal")}
    truth = {"Kexp_max": 0.9168, "Kkill_max": 0.612, "K21": 0.3288, "Kg": 0.0888, "tau": 47.4,
             "tumor_volume.add": 10.0, "tumor_volume.prop": 0.15, "cart_blood.log": 0.3}  # fmt: skip
    return Problem([DataSet("mouse", "bb2121_xenograft", table, error)], [*truth][:5]), truth


def _patients():
    """Three patients at each of four doses; what the paper estimates."""
    kinetic, marker = (2, 4, 7, 9, 11, 14, 21, 28, 60, 90, 180, 270, 365), (14, 28, 60, 90, 120, 150, 180, 270, 365)
    schedule = {"transgene": kinetic, "mprotein_change": marker, "sbcma_change": marker}
    rows = [(f"{dose:g}/{k}", t, output, dose) for dose in (50e6, 150e6, 450e6, 800e6) for k in range(3)
            for output, times in schedule.items() for t in times]  # fmt: skip
    table = pd.DataFrame(rows, columns=["id", "time", "output", "dose"]).assign(value=10.0)
    error = {"transgene": ErrorModel("lognormal"), "mprotein_change": ErrorModel("additive"),
             "sbcma_change": ErrorModel("additive")}  # fmt: skip
    names = ["Kexp_max", "EC50_exp", "Rm", "Kel_e", "Kel_m", "K12", "K21", "Kkill_max", "gamma_m"]
    parameters = load("bb2121_clinical").parameters
    truth = {name: parameters[name].value for name in names}
    truth |= {"transgene.log": 0.4, "mprotein_change.add": 5.0, "sbcma_change.add": 5.0}
    return Problem([DataSet("patients", "bb2121_clinical", table, error)], names), truth


def _joint():
    """Dish and mouse with one KC50."""
    (dish, of_dish), (mouse, of_mouse) = _dish(), _mouse()
    own = {"Kkill_max"}
    truth = {f"dish.{name}" if name in own or "." in name else name: value for name, value in of_dish.items()}
    truth |= {f"mouse.{name}" if name in own or "." in name else name: value for name, value in of_mouse.items()}
    names = [name for name in truth if name.count(".") < 2 and not name.endswith((".add", ".prop", ".log"))]
    return Problem([*dish.data, *mouse.data], names), truth


@pytest.mark.parametrize("made", [_dish, _mouse, _patients])
def test_known_truth_is_found_again(made):
    """Of 20 data sets simulated from the published values, the 95 % limits of every single estimate, error SDs
    included, hold the truth in at least 16. (At 95 % coverage a count below 16 has a chance of 0.03 %.)"""
    problem, truth = made()
    hits = dict.fromkeys(truth, 0)
    for seed in range(20):
        found = fit_problem(replicate(problem, truth, seed), starts=1)
        assert found.converged
        rows = _by_name(found)
        for name, value in truth.items():
            hits[name] += bool(rows["low"][name] <= value <= rows["high"][name])
    assert min(hits.values()) >= 16, hits


# --- the mouse of the paper -----------------------------------------------------------------------------

MOUSE_NAMES = ["Kexp_max", "EC50_exp", "Kkill_max", "K12", "K21", "Kg", "tau"]


@pytest.fixture(scope="module")
def refit():
    """The mouse model fitted to the digitised Figure 2b with Table 1 as prior.

    Blood of vehicle mice is left out: the model has no CAR-T cells there, whatever its parameters.
    """
    if not FIGURE_2B.exists():
        pytest.skip("the digitised data of Figure 2b are not here")
    raw = pd.read_csv(FIGURE_2B)
    raw = raw[raw["series"] != "blood_cart_vehicle"]
    table = pd.DataFrame(
        {
            "id": raw["series"].str.rpartition("_")[2],
            "time": raw["day"],
            "output": np.where(raw["series"].str.startswith("tumor"), "tumor_volume", "cart_blood"),
            "value": raw["value"],
            "dose": np.where(raw["series"].str.endswith("vehicle"), 0, 5e6),
        }
    )
    data = DataSet("mouse", "bb2121_xenograft", table, ErrorModel("combined"))
    return _fit(Problem([data], MOUSE_NAMES, table_priors("bb2121_xenograft", MOUSE_NAMES)), starts=4)


def test_every_estimate_is_within_one_rse_of_table_1(refit):
    rows = _by_name(refit).loc[MOUSE_NAMES]
    off = np.abs(rows["estimate"] / rows["prior"] - 1) / rows["prior_rse"]
    assert (off < 1).all(), off
    assert refit.starts["converged"].all()
    assert np.ptp(refit.starts["objective"]) < 1e-3


def test_profiles_tell_what_the_mouse_data_do_not_identify(refit):
    """EC50_exp, K12 and K21 rest on their priors; growth, killing and its delay are in the data."""
    shrinkage = _by_name(refit)["shrinkage"]
    assert (shrinkage[["EC50_exp", "K12", "K21"]] > 0.8).all()
    assert (shrinkage[["Kkill_max", "Kg", "tau"]] < 0.3).all()
    found = refit.profiles()
    assert all(profile.identified and profile.improvement < 0.01 for profile in found.values())
    for name in ("EC50_exp", "K12", "K21"):
        curve = found[name].curve
        assert curve["data"].max() < 0.5 * found[name].threshold  # the prior makes the walls
    alone = refit.profiles(["EC50_exp", "K12", "K21", "Kg"], priors="none")
    assert {name: profile.identified for name, profile in alone.items()} == {
        "EC50_exp": False, "K12": False, "K21": False, "Kg": True,
    }  # fmt: skip


def test_processes_do_not_change_a_fit(toy):
    time, value = _decay()
    problem = Problem([DataSet("d", toy, _table(time, value), ErrorModel("lognormal"))], ["y0", "b2"])
    one, two = _fit(problem), _fit(problem, n_jobs=2)
    pd.testing.assert_frame_equal(one.estimates, two.estimates)
    pd.testing.assert_frame_equal(one.starts, two.starts)
    pd.testing.assert_frame_equal(one.profile("b2").curve, two.profiles(n_jobs=2)["b2"].curve)


# --- what a fit is asked --------------------------------------------------------------------------------


def test_residuals_and_predictions_agree(toy):
    time, value = _decay()
    table = _table(time, value)
    found = fit_problem(Problem([DataSet("d", toy, table, ErrorModel("lognormal", lloq=2))], ["y0", "b2"]), starts=1)
    residuals = found.residuals()
    y0, b2, sd = found.estimates["estimate"]
    np.testing.assert_allclose(residuals["predicted"], y0 * np.exp(-b2 * time), rtol=1e-6)
    below = value < 2
    assert (residuals["below"] == below).all()
    assert residuals.loc[below, ["residual", "weighted"]].isna().all(axis=None)
    expected = np.log(value / residuals["predicted"]) / sd
    np.testing.assert_allclose(residuals["weighted"][~below], expected[~below], rtol=1e-6)
    curves = found.predict(time)
    np.testing.assert_allclose(curves["predicted"], residuals["predicted"], rtol=1e-9)
    assert ((curves["low"] < curves["predicted"]) & (curves["predicted"] < curves["high"])).all()
    pd.testing.assert_frame_equal(curves, found.predict(time))
    assert found.predict([1.0], draws=0)[["low", "high"]].isna().all(axis=None)


def test_limits_of_predictions_are_those_of_regression(toy):
    time, value = _decay(n=30)
    data = DataSet("d", toy, _table(time, value), ErrorModel("lognormal"))
    found = fit_problem(Problem([data], ["y0", Estimated("b2", scale="linear")]), starts=1)
    curve = found.predict([10.0], draws=20_000)
    sd = found.values["y.log"]
    half = stats.norm.ppf(0.975) * sd * np.sqrt(1 / 30 + (10 - time.mean()) ** 2 / np.sum((time - time.mean()) ** 2))
    assert np.log(curve["high"] / curve["predicted"])[0] == pytest.approx(half, rel=0.03)


def test_conditions_are_simulated_once(toy):
    table = pd.concat([_table([1, 2], [9, 8], id=k, y0=10 + k % 2) for k in range(6)], ignore_index=True)
    data = DataSet("d", toy, table, ErrorModel("additive"))
    assert data.layout.n_conditions == 2
    found = fit_problem(Problem([data], ["b2"]), starts=1)
    np.testing.assert_allclose(
        found.residuals()["predicted"][::2], found.residuals()["predicted"][0] * np.tile([1, 1.1], 3)
    )
    assert found.predict([1.0])["ids"].tolist() == ["0, 2, 4", "1, 3, 5"]


def test_more_starts_find_the_better_end(toy):
    """A search that begins where the curve is level at once ends there, and says that it does not know b2."""
    x, y, _, certified, *_ = NIST["BoxBOD"]
    data = DataSet("d", toy.override({"y0": 0}), _table(x, y), ErrorModel("additive"))
    problem = Problem([data], [Estimated("b1", 170), Estimated("b2", 20)])
    with pytest.warns(UserWarning, match="b2 is not identified"):
        alone = fit_problem(problem, starts=1)
    assert alone.values["b1"] == pytest.approx(np.mean(y), rel=1e-4)
    found = _fit(problem, starts=8)
    assert found.values["b2"] == pytest.approx(certified[1], rel=1e-4)
    assert found.objective == found.starts["objective"].min() < alone.objective - 10
    assert found.starts["objective"][0] == pytest.approx(alone.objective)
    pd.testing.assert_frame_equal(found.starts, fit_problem(problem, starts=8).starts)


# --- what cannot be known -------------------------------------------------------------------------------


def test_a_parameter_that_does_not_enter_is_refused_by_name():
    table = pd.DataFrame({"id": 1, "time": [1.0, 2.0], "output": "transgene", "value": [1.0, 2.0]})
    data = DataSet("d", "bb2121_clinical", table, ErrorModel("lognormal"))
    with pytest.raises(InputError, match="gamma_b cannot be identified: it does not enter what is observed"):
        Problem([data], ["Kexp_max", "gamma_b"])
    with pytest.raises(InputError, match="Pm cannot be identified: it does not enter the equations"):
        Problem([data], ["Pm"])


def test_a_parameter_without_influence_is_named():
    """Without a dose nothing depends on expansion."""
    table = pd.DataFrame({"id": 1, "time": [1.0, 5, 9, 12], "output": "tumor_volume", "dose": 0})
    data = DataSet("d", "bb2121_xenograft", table.assign(value=[160.0, 250, 330, 440]), ErrorModel("proportional"))
    with pytest.warns(UserWarning, match="Kexp_max is not identified: the data do not depend on it"):
        found = fit_problem(Problem([data], ["Kg", "Kexp_max"]), starts=1)
    assert found.converged
    assert found.not_identified == ("Kexp_max",)
    rows = _by_name(found)
    assert np.isnan(rows["se"]["Kexp_max"])
    assert rows["estimate"]["Kexp_max"] == pytest.approx(0.9168)
    assert np.isfinite(rows["se"]["Kg"])
    assert found.predict().notna().all(axis=None)
    assert not found.profile("Kexp_max").identified


@pytest.mark.filterwarnings("ignore:c is not identified")
def test_parameters_that_only_act_together_are_named(toy):
    time, value = _decay()
    data = DataSet("d", toy, _table(time, value), ErrorModel("lognormal"))
    with pytest.warns(UserWarning, match="b2 is not identified: the data do not tell it from c"):
        found = fit_problem(Problem([data], ["y0", "b2", "c"]), starts=1)
    assert found.not_identified == ("b2", "c")
    assert found.values["b2"] * found.values["c"] == pytest.approx(
        -stats.linregress(time, np.log(value)).slope, rel=1e-3
    )
    assert np.isfinite(_by_name(found)["se"]["y0"])
    profile = found.profile("c")
    assert not profile.identified
    assert (profile.low, profile.high) == (0, np.inf)
    known = _fit(Problem(found.problem.data, ["y0", "b2", "c"], {"c": Prior(1.0, 0.1)}), starts=1)
    assert _by_name(known)["shrinkage"]["c"] == pytest.approx(1, abs=1e-3)


def test_an_estimate_at_its_limit_says_so(toy):
    time, value = _decay()
    data = DataSet("d", toy, _table(time, value), ErrorModel("lognormal"))
    with pytest.warns(UserWarning, match="b2 is at its lower limit"):
        found = fit_problem(Problem([data], ["y0", Estimated("b2", 0.3, low=0.2, high=0.5)]), starts=1)
    assert 0.2 <= found.values["b2"] < 0.201
    assert _by_name(found)["remark"]["b2"] == "at its lower limit"


@pytest.mark.filterwarnings("ignore:standard errors are from the expected information")
def test_a_fit_that_does_not_converge_is_marked(toy):
    time, value = _decay()
    data = DataSet("d", toy, _table(time, value), ErrorModel("lognormal"))
    with pytest.warns(UserWarning, match="the fit did not converge"):
        found = fit_problem(
            Problem([data], [Estimated("y0", 500.0), Estimated("b2", 0.01)]), starts=1, max_evaluations=2
        )
    assert not found.converged
    assert found.message == "not converged after 2 evaluations"
    assert found.estimates["estimate"].notna().all()
    assert found.estimates[["se", "rse", "low", "high"]].isna().all(axis=None)
    assert len(found.failures) == 3
    assert found.predict()[["low", "high"]].isna().all(axis=None)
    assert found.predict()["predicted"].notna().all()
    assert np.isnan([found.profile("b2").low, found.profile("b2").high]).all()
    with pytest.raises(InputError, match="no standard error of 'b2'"):
        found.priors(["b2"])


def test_fewer_observations_than_parameters_are_warned_of(toy):
    data = DataSet("d", toy, _table([1, 2], [9, 8]), ErrorModel("additive", add=0.1))
    wanted = ["y0", "b2", Estimated("b1", 1.0)]
    with pytest.warns(UserWarning, match="2 observations for 3 numbers to estimate"):
        fit_problem(Problem([data], wanted, {"y0": Prior(10, 0.1), "b1": Prior(1, 0.1)}), starts=1)


# --- bad input ------------------------------------------------------------------------------------------


def _data(toy, table=None, error=None, **settings):
    return DataSet(
        "d", toy, _table([1, 2, 3], [9, 8, 7]) if table is None else table, error or ErrorModel("additive"), **settings
    )


GOOD = _table([1, 2, 3], [9, 8, 7])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (GOOD.assign(output="z"), "row 1 .*output 'z' is no output of model toy"),
        (GOOD.assign(time=[-1, 2, 3]), "row 1 .*time -1 is before time 0"),
        (GOOD.assign(time=[1, np.inf, 3]), "row 2 .*time inf is not finite; write a number"),
        (GOOD.assign(value=None), "no values, which a pooled fit is made from"),
        (GOOD.assign(value=["1", "x", "3"]), "row 2 .*value 'x' is not a number"),
        (GOOD.iloc[:0], "no observations"),
        (GOOD.drop(columns="id"), "no column id; its columns are time, value, output"),
        (GOOD.assign(id=[1, None, 1]), "row 2 has no id"),
        (GOOD.assign(b3=1), "no parameter or covariate 'b3'"),
        (GOOD.assign(b1=[1, 2, 3]), "row 2 .*b1 2 is not the b1 of the patient's other rows"),
        (GOOD.assign(b2=-1), "row 1 .*b2 -1 is not possible; it must be a finite number, 0 or more"),
        (GOOD.assign(dose=5), "needs a model with dosing"),
        (GOOD.assign(variant="x"), "variant 'x' is none of toy"),
        (GOOD.assign(below=["no", "yes", "no"]), "row 1 .*below 'no' is neither; give true or false"),
        ("file.csv", "file.csv: there is no such file"),
        (3, "observations are int; give a data frame"),
    ],
)  # fmt: skip
def test_bad_observations_are_refused(toy, table, message):
    with pytest.raises(InputError, match=message):
        _data(toy, table)


def test_observations_before_the_first_dose_are_refused():
    table = pd.DataFrame({"id": 1, "time": [1.0, 4], "output": "transgene", "value": 1.0})
    with pytest.raises(InputError, match=r"row 1 .*time 1\.0 is before the first dose at 3"):
        DataSet("d", "bb2121_clinical", table, ErrorModel(), Regimen.single(450e6, time=3))
    with pytest.raises(InputError, match="the regimen fixes the dose, and there is a column dose"):
        DataSet("d", "bb2121_clinical", table.assign(dose=1e6), ErrorModel(), 450e6)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ErrorModel("lognormal"), "row 2 .*value 0 of y has no lognormal error, which is for values above 0"),
        (ErrorModel("proportional"), "row 2 .*value 0 of y has no proportional error, which is for values above 0"),
        ({"z": ErrorModel()}, "an error model for 'z', of which there is no observation"),
        ({}, "no error model for y"),
    ],
)
def test_error_models_that_do_not_fit_are_refused(toy, error, message):
    with pytest.raises(InputError, match=message):
        DataSet("d", toy, _table([1, 2, 3], [9, 0, 7]), error)


@pytest.mark.parametrize(
    ("estimate", "message"),
    [
        ([], "name at least one parameter"),
        (["b2", "b2"], "each once"),
        (["b3"], "no model has this parameter; choose from b1, b2, c, y0"),
        (["e.b2"], "there is no data set 'e'"),
        (["b2", "d.b2"], "'b2' and 'd.b2' both stand for b2 of d"),
        ([Estimated("b2", 0.1, low=0.2, high=1)], "the start 0.1 is outside its limits 0.2 to 1; move one of them"),
        ([Estimated("b2", low=2, high=1)], "nothing lies between the limits 2 and 1"),
        ([Estimated("b2", -1.0, "linear")], "the start -1 is outside its limits 0 to inf"),
        (["b1"], "start 0 on the log scale; give numbers above 0 or take scale 'linear'"),
    ],
)
def test_bad_parameters_are_refused(toy, estimate, message):
    with pytest.raises(InputError, match=message):
        Problem([_data(toy)], estimate)


def test_what_cannot_be_estimated_is_refused_at_once():
    with pytest.raises(InputError, match="b2: start is nan; give a finite number"):
        Estimated("b2", float("nan"))
    with pytest.raises(InputError, match="b2: scale 'cubic'; choose log or linear"):
        Estimated("b2", scale="cubic")


def test_bad_problems_are_refused(toy):
    data = _data(toy)
    with pytest.raises(InputError, match="give at least one, each a name of its own"):
        Problem([data, data], ["b2"])
    with pytest.raises(InputError, match="a prior for 'b1', which is not estimated"):
        Problem([data], ["b2"], {"b1": Prior(1, 0.1)})
    with pytest.raises(InputError, match="b2 is estimated, and given as a column of d"):
        Problem([_data(toy, GOOD.assign(b2=0.2))], ["b2"])
    with pytest.raises(InputError, match=r"b2 is 0\.1 in d, 0\.3 in e; say where to start"):
        Problem([data, DataSet("e", toy.override({"b2": 0.3}), GOOD, ErrorModel("additive"))], ["b2"])
    with pytest.raises(InputError, match=r"'a\.b': give it a name without a dot"):
        DataSet("a.b", toy, GOOD, ErrorModel("additive"))
    with pytest.raises(InputError, match="the estimate must not be 0"):
        Prior(0, 0.1)
    with pytest.raises(InputError, match="rse is nan; give a number"):
        Prior(1, float("nan"))
    with pytest.raises(InputError, match="toy gives no relative standard error of 'y0'; it does of b2"):
        table_priors(toy, ["y0"])
    assert table_priors(toy) == {"b2": Prior(0.1, 0.2)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"starts": 0}, "starts is 0; give a whole number from 1 to 1000"),
        ({"max_evaluations": 0}, "max_evaluations is 0"),
        ({"level": 95}, "the level is 95; give a share between 0 and 1, such as 0.95"),
    ],
)
def test_bad_settings_of_a_fit_are_refused(toy, settings, message):
    with pytest.raises(InputError, match=message):
        fit_problem(Problem([_data(toy)], ["b2"]), **settings)


def test_bad_questions_to_a_fit_are_refused(toy):
    found = fit_problem(Problem([_data(toy)], ["b2"]), starts=1)
    with pytest.raises(InputError, match="'b1' is not estimated"):
        found.profile("b1")
    with pytest.raises(InputError, match="choose all, others or none"):
        found.profile("b2", priors="some")
    with pytest.raises(InputError, match=r"no value for y\.add"):
        replicate(found.problem, {"b2": 1.0}, 1)
    zero = _data(toy.override({"y0": 0}), error=ErrorModel("proportional"))
    with pytest.raises(InputError, match="y in row 1 is predicted as 0, with which proportional error cannot be"):
        fit_problem(Problem([zero], ["b2"]))

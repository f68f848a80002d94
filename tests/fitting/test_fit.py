"""cartsim fit and its pictures: what they write and show, and every bad input as one line."""

from __future__ import annotations

import json
import re
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cartsim.errors import InputError
from cartsim.fitting import (
    CategoryRules,
    DataSet,
    ErrorModel,
    Estimated,
    Prior,
    Problem,
    fit,
    fit_individuals,
    fit_problem,
)
from cartsim.model.reader import load
from cartsim.plots.estimation import FitPictures, profiles
from cartsim.solver import Solver

MODEL, DATA = "bb2121_clinical", "crb401_synthetic"
TOY = """
[model]
name = "toy"
source = "defined"
time = "day"
[parameters]
k = { value = 0.1, unit = "1/day", low = 0, source = "defined", rse = 0.2 }
y0 = { value = 10.0, unit = "mg", low = 0, source = "defined" }
idle = { value = 1.0, unit = "mg", source = "defined" }
[states.y]
unit = "mg"
scale = "linear"
initial = "y0"
negligible = 1e-6
rate = "-k*y"
[outputs.twice]
unit = "mg"
value = "2*y + 0*idle"
"""
FILES = ("correlation.csv", "estimates.csv", "fit.json", "predictions.csv", "predictions.png", "profiles.csv",
         "profiles.png", "residuals.csv", "residuals.png", "starts.csv")  # fmt: skip


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A model file, and beside it data.csv: decay of two subjects, one of them begun at 20."""
    path = tmp_path_factory.mktemp("toy") / "toy.toml"
    path.write_text(TOY)
    rng = np.random.default_rng(1)
    rows = [(k, t, output, size * y0 * np.exp(-0.12 * t + 0.1 * rng.standard_normal()), y0)
            for k, y0 in ((1, 10), (2, 20)) for t in range(1, 16, 2)
            for output, size in (("y", 1), ("twice", 2))]  # fmt: skip
    table = pd.DataFrame(rows, columns=["id", "time", "output", "value", "y0"])
    table.to_csv(path.with_name("data.csv"), index=False)
    return path


@pytest.fixture(scope="module")
def found(toy):
    table = pd.read_csv(toy.with_name("data.csv"))
    data = DataSet("toy", load(toy), table, ErrorModel("lognormal", lloq=3))
    return fit_problem(Problem([data], ["k"], {"k": Prior(0.1, 0.2)}), starts=1)


def _call(toy, *words, data=None):
    from typer.testing import CliRunner

    from cartsim.cli.app import app

    given = ["fit", toy, data or toy.with_name("data.csv"), *words]
    return CliRunner().invoke(app, [str(word) for word in given])


# --- command --------------------------------------------------------------------------------------------


def test_a_fit_from_the_command_line_is_that_from_python(toy, tmp_path):
    result = _call(toy, "--estimate", "k", "--error", "lognormal", "--error", "y=combined:add=0.1", "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    data = DataSet("toy", load(toy), pd.read_csv(toy.with_name("data.csv")),
                   {"y": ErrorModel("combined", add=0.1), "twice": ErrorModel("lognormal")})  # fmt: skip
    expected = fit_problem(Problem([data], ["k"]))
    written = pd.read_csv(tmp_path / "estimates.csv")
    assert list(written["name"]) == ["k", "y.prop", "twice.log"]
    np.testing.assert_allclose(written["estimate"], expected.estimates["estimate"], rtol=1e-12)
    summary = json.loads((tmp_path / "fit.json").read_text())
    assert summary["converged"] is True
    assert summary["aic"] == pytest.approx(expected.aic)
    assert summary["profiles"]["k"]["low"] < 0.12 < summary["profiles"]["k"]["high"]
    assert len(pd.read_csv(tmp_path / "residuals.csv")) == 32
    for text in ("k ", "twice.log", "converged; 32 observations", "AIC"):
        assert text in result.stdout


def test_an_earlier_fit_is_the_prior_of_the_next(toy, tmp_path):
    quick = ("--estimate", "k", "--error", "lognormal", "--profiles", "no", "--no-pictures")
    first = _call(toy, *quick, "--prior", "table1", "--out", tmp_path / "first")
    assert first.exit_code == 0, first.stderr
    one = pd.read_csv(tmp_path / "first" / "estimates.csv").set_index("name").loc["k"]
    assert (one["prior"], one["prior_rse"]) == (0.1, 0.2)
    second = _call(toy, *quick, "--prior", tmp_path / "first" / "estimates.csv", "--out", tmp_path / "second")
    assert second.exit_code == 0, second.stderr
    two = pd.read_csv(tmp_path / "second" / "estimates.csv").set_index("name").loc["k"]
    assert two["prior"] == pytest.approx(one["estimate"])
    assert two["rse"] < one["rse"]
    assert not (tmp_path / "second" / "profiles.csv").exists()


def test_options_reach_the_fit(toy, tmp_path):
    free = tmp_path / "free.csv"
    pd.read_csv(toy.with_name("data.csv")).query("id == 1").drop(columns="y0").to_csv(free, index=False)
    result = _call(toy, "--estimate", "k,y0", "--error", "lognormal:lloq=2,log=0.1", "--set", "idle=2", "--start",
                   "y0=8", "--limits", "y0=5:9", "--linear", "k", "--starts", "2", "--level", "0.9", "--profiles",
                   "no", "--no-pictures", "--out", tmp_path / "out", data=free)  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "y0 is at its upper limit" in result.stderr
    assert "90 % limits" in result.stdout
    rows = pd.read_csv(tmp_path / "out" / "estimates.csv").set_index("name")
    assert list(rows.index) == ["k", "y0"]
    assert rows["low"]["k"] + rows["high"]["k"] == pytest.approx(2 * rows["estimate"]["k"])
    starts = pd.read_csv(tmp_path / "out" / "starts.csv")
    assert starts["y0"][0] == pytest.approx(8)
    assert len(starts) == 2
    assert json.loads((tmp_path / "out" / "fit.json").read_text())["made_by"]["values"]["idle"] == 2
    assert pd.read_csv(tmp_path / "out" / "residuals.csv")["below"].any()


def test_a_search_without_an_end_is_said(toy, tmp_path, monkeypatch):
    monkeypatch.setattr("cartsim.fitting.fit_problem", partial(fit_problem, max_evaluations=1))
    result = _call(toy, "--estimate", "k", "--error", "lognormal", "--profiles", "no", "--out", tmp_path)
    assert result.exit_code == 1
    assert "NOT CONVERGED: not converged after 1 evaluations" in result.stdout
    assert "the fit did not converge" in result.stderr
    assert json.loads((tmp_path / "fit.json").read_text())["converged"] is False
    estimates, curves = (pd.read_csv(tmp_path / name) for name in ("estimates.csv", "predictions.csv"))
    assert np.isfinite(estimates["estimate"]).all()
    assert estimates[["rse", "low", "high"]].isna().all(axis=None)
    assert curves[["low", "high"]].isna().all(axis=None)
    assert " to " not in result.stdout


def test_files_of_two_models_are_fitted_together(toy, tmp_path):
    """Two decays with one rate, in models that call their states differently: analysis of covariance on logarithms."""
    other = tmp_path / "other.toml"
    other.write_text(
        TOY.replace('"toy"', '"other"').replace("[outputs.twice]", "[outputs.thrice]").replace("2*y", "3*y")
    )
    rng, t = np.random.default_rng(3), np.arange(1.0, 13.0, 2.0)
    logs = {"a": np.log(9.0) - 0.12 * t + 0.2 * rng.standard_normal(6), "b": np.log(60.0) - 0.12 * t[:4]}
    logs["b"] += 0.1 * rng.standard_normal(4)
    for (name, values), output in zip(logs.items(), ("y", "thrice"), strict=True):
        table = pd.DataFrame({"id": 1, "time": t[: len(values)], "output": output, "value": np.exp(values)})
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    words = ("--estimate", "k,a.y0,b.y0", "--error", "lognormal:log=0.2", "--error", "b.thrice=lognormal:log=0.1",
             "--starts", 1, "--profiles", "no", "--set", "b.idle=3")  # fmt: skip
    data = tmp_path / "a.csv", f"{other}={tmp_path / 'b.csv'}"
    result = _call(toy, data[1], *words, "--out", tmp_path / "out", data=data[0])
    assert result.exit_code == 0, result.stderr
    found = pd.read_csv(tmp_path / "out" / "estimates.csv").set_index("name")

    design = np.zeros((10, 3))
    design[:, 0] = -np.concatenate([t, t[:4]])
    design[:6, 1] = design[6:, 2] = 1
    weight = np.repeat([1 / 0.2, 1 / 0.1], [6, 4])
    measured = np.concatenate([logs["a"], logs["b"] - np.log(3)])
    expected = np.linalg.lstsq(design * weight[:, None], measured * weight, rcond=None)[0]
    covariance = np.linalg.inv((design * weight[:, None] ** 2).T @ design)
    assert found["estimate"]["k"] == pytest.approx(expected[0], rel=1e-4)
    np.testing.assert_allclose(np.log(found["estimate"][["a.y0", "b.y0"]]), expected[1:], atol=1e-4)
    assert found["se"]["k"] == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-3)
    np.testing.assert_allclose(found["rse"][["a.y0", "b.y0"]], np.sqrt(np.diagonal(covariance))[1:], rtol=1e-3)
    assert set(pd.read_csv(tmp_path / "out" / "predictions.csv")["data"]) == {"a", "b"}
    assert set(pd.read_csv(tmp_path / "out" / "residuals.csv")["data"]) == {"a", "b"}
    assert (tmp_path / "out" / "predictions.png").stat().st_size > 10_000
    said = json.loads((tmp_path / "out" / "fit.json").read_text())["repeat"]
    assert said.split()[:5] == ["cartsim", "fit", str(toy), str(data[0]), data[1]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.csv"], "data.csv: a data set is called data already; give the files different names"),
        (["none=more.csv"], "model 'none'"),
        (["more.csv", "--set", "mouse.idle=1"], "--set mouse.idle: there is no data set 'mouse'; "),
        (["more.csv", "--set", "more.k=1"], "--set more.k: it is also to be estimated"),
        (["more.csv", "--error", "more.z=additive"], "--error more.z: more has no observation of 'z'"),
        (["more.csv", "--dose", "mouse=1e6"], "--dose mouse: there is no data set 'mouse'"),
        (["more.csv", "--estimate", "k,mouse.y0"], "there is no data set 'mouse'"),
        (["more.csv", "--prior", "table1"], "models differ in k; estimate it for each data set, as more.k"),
    ],
)  # fmt: skip
def test_bad_options_of_several_files_are_one_line(toy, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    for name in ("data", "more"):
        (tmp_path / f"{name}.csv").write_text("id,time,output,value\n1,1,y,9\n1,2,y,8\n")
    (tmp_path / "other.toml").write_text(TOY.replace("rse = 0.2", "rse = 0.3"))
    if words[-1] == "table1":
        words = ["other.toml=more.csv", *words[1:]]
    result = _call(toy, "--estimate", "k", *words, "--out", tmp_path / "out", data="data.csv")
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--estimate", "q"], "estimate 'q': no model has this parameter"),
        (["--estimate", "k", "--error", "gamma"], "error model 'gamma'; choose from additive"),
        (["--estimate", "k", "--error", "z=additive"], "--error z: data has no observation of 'z'"),
        (["--estimate", "k", "--error", "additive:sd=1"], "no setting 'sd'; choose from add, prop, log, lloq"),
        (["--estimate", "k", "--prior", "none.csv"], "none.csv: there is no such file"),
        (["--estimate", "k", "--prior", "data.csv"], "no column name, estimate, rse; give the estimates.csv of a fit"),
        (["--estimate", "idle", "--prior", "table1"], "--prior table1: it knows nothing of idle"),
        (["--estimate", "k", "--set", "k=1"], "--set k: it is also to be estimated"),
        (["--estimate", "k", "--set", "q=1"], "has no parameter 'q'"),
        (["--estimate", "k", "--start", "y0=1"], "--start y0: it is not estimated"),
        (["--estimate", "k", "--limits", "k=1"], "--limits k=1: write NAME=LOW:HIGH"),
        (["--estimate", "k", "--limits", "k=1:2"], "the start 0.1 is outside its limits 1 to 2"),
        (["--estimate", "k", "--linear", "y0"], "--linear y0: it is not estimated"),
        (["--estimate", "k", "--profiles", "some"], "--profiles some: choose from all, others, none, no"),
        (["--estimate", "y0"], "y0 is estimated, and given as a column of data"),
        (["--estimate", "k", "--dose", "1e6"], "has no [dosing] section"),
    ],
)  # fmt: skip
def test_bad_options_are_one_line(toy, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(toy.parent)
    result = _call(toy, *words, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


# --- pictures -------------------------------------------------------------------------------------------


def test_predictions_show_curves_and_points(found):
    residuals = found.residuals()
    figure = found.plot.predictions()
    axes = [axis for axis in figure.axes if axis.get_visible() and axis.lines]
    assert [axis.get_ylabel() for axis in axes] == ["y (mg)", "twice (mg)"]
    of_y = residuals[residuals["output"] == "y"]
    drawn = [line for line in axes[0].lines if line.get_linestyle() == "None"]
    points = np.concatenate([line.get_ydata() for line in drawn])
    assert sorted(points) == sorted(of_y["observed"])
    hollow = np.concatenate([line.get_ydata() for line in drawn if str(line.get_markerfacecolor()) == "none"])
    assert len(hollow) == of_y["below"].sum() > 0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1", "2"]
    assert axes[0].get_xlabel() == "Time (days)"


def test_residuals_show_each_measured_value_three_times(found):
    table = found.residuals()
    axes = found.plot.residuals().axes
    assert len(axes) == 6
    shown = [(axis.get_xlabel(), axis.get_ylabel()) for axis in axes[:3]]
    assert shown[0] == ("Predicted y (mg)", "Observed y (mg)")
    assert shown[1:] == [(x, "Weighted residual (SDs)") for x in ("Predicted y (mg)", "Time (days)")]
    seen = table[(table["output"] == "twice") & ~table["below"]]
    np.testing.assert_array_equal(axes[3].lines[0].get_ydata(), seen["observed"])
    np.testing.assert_array_equal(axes[5].lines[0].get_ydata(), seen["weighted"])
    np.testing.assert_array_equal(axes[5].lines[0].get_xdata(), seen["time"])
    below = SimpleNamespace(residuals=lambda: table.assign(below=True))
    with pytest.raises(InputError, match="there are none to draw"):
        FitPictures(below).residuals()


def test_profiles_show_data_and_priors(found):
    profile = found.profile("k")
    figure = profiles([profile])
    axis = figure.axes[0]
    for line, column in zip(axis.lines, ("change", "data", "prior"), strict=False):
        np.testing.assert_array_equal(line.get_ydata(), profile.curve[column])
    assert axis.get_xlabel() == "k (1/day)"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["all", "data", "priors"]
    alone = profiles([found.profile("k", priors="none")])
    assert not alone.legends
    with pytest.raises(InputError, match="none are given"):
        profiles([])


# --- from Python ----------------------------------------------------------------------------------------


def test_a_fit_takes_the_settings_of_the_search_and_the_solver(toy):
    table = pd.read_csv(toy.with_name("data.csv"))
    found = fit(toy, table, ["k"], starts=2, seed=5, level=0.9, solver=Solver(rtol=1e-6, extinction=1.0))
    assert (found.level, len(found.starts)) == (0.9, 2)
    assert (found.made_by["rtol"], found.made_by["extinction"], found.made_by["seed"]) == (1e-6, 1.0, 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sarts": 1}, "fit takes no sarts=1; did you mean starts?"),
        ({"erors": None}, "fit takes no erors=None; did you mean errors"),
        ({"draws": 100}, "fit takes no draws=100; cs.fit_individuals takes it"),
        ({"solver": 1e-6}, "solver is 1e-06; give Solver"),
        ({"starts": np.int64(0)}, "starts is 0; give a whole number from 1 to 1000"),
        ({"seed": np.float64(1.5)}, "seed is 1.5; give a whole number"),
        ({"level": np.float64(2)}, "the level is 2.0; give a share between 0 and 1"),
    ],
)
def test_bad_settings_of_a_fit_are_said_in_one_sentence(toy, settings, message):
    with pytest.raises(InputError, match=re.escape(message)):
        fit(toy, pd.read_csv(toy.with_name("data.csv")), ["k"], **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dose": "a"}, "dose is 'a'; give a number of cells or a Regimen"),
        ({"dose": np.float64(-1)}, "a dose is -1.0; give"),
        ({"errors": 1}, "errors is 1; give an error model, or a mapping"),
        ({"errors": {"y": 1}}, "the error model of y is 1; give ErrorModel"),
        ({"priors": 1}, "priors is 1; give a mapping of names to priors"),
        ({"priors": {"k": 1}}, "the prior of k is 1; give Prior(estimate, rse)"),
        ({"n_jobs": 0}, "n_jobs is 0; give 1 or more, or -1 for all cores"),
        ({"estimate": [1]}, "what is to be estimated is 1; give the name of a parameter"),
    ],
)
def test_other_kinds_of_object_are_said_in_one_sentence(toy, settings, message):
    with pytest.raises(InputError, match=re.escape(message)):
        fit(toy, pd.read_csv(toy.with_name("data.csv")), **{"estimate": ["k"], **settings})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Estimated("k", start="a"), "k: start is 'a'; give a finite number"),
        (lambda: Prior(np.float64("nan"), 1), "prior: estimate is nan; give a number"),
        (lambda: ErrorModel("additive", add=np.float64(-1)), "additive error: add is -1.0; give a number above 0"),
        (lambda: ErrorModel(["a"]), "error model ['a']; choose from"),
        (lambda: CategoryRules(pd_absolute=np.float64(-1)), "pd_absolute is -1.0; give a number of g/L"),
        (lambda: CategoryRules(pd_absolute="a"), "pd_absolute is 'a'; give a number of g/L"),
        (lambda: CategoryRules(bins=3), "bins is 3; give SinghLandmark"),
        (lambda: fit_individuals(MODEL, DATA, draws=np.float64(3)), "3.0 draws; give a whole number, 100 or more"),
        (lambda: fit_individuals(MODEL, DATA, sed=3), "fit_individuals takes no sed=3; did you mean seed?"),
        (lambda: fit_individuals(MODEL, DATA, 5), "estimate is 5; give a list of names"),
        (lambda: fit_individuals(MODEL, DATA, {"Kexp_max": "b"}), "the omega of Kexp_max is 'b'; give a number"),
        (lambda: fit_individuals(MODEL, DATA, rules=5), "rules is 5; give CategoryRules"),
        (lambda: fit_individuals(MODEL, DATA, solver=5), "solver is 5; give Solver"),
        (lambda: fit_individuals(MODEL, DATA, errors=5), "errors is 5; give a mapping of outputs to error models"),
        (lambda: fit_individuals(MODEL, DATA, n_jobs="a"), "n_jobs is 'a'; give 1 or more"),
    ],
)
def test_every_mistake_is_one_sentence(make, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make()


def test_an_error_that_runs_to_0_leaves_nothing_with_narrow_limits(toy):
    t = np.array([1.0, 2.0, 5.0])
    table = pd.DataFrame({"id": 1, "time": t, "output": "y", "value": 10 * np.exp(-0.1 * t), "y0": 10.0})
    with pytest.warns(UserWarning, match="runs to 0"):
        found = fit(toy, table, ["k"], errors=ErrorModel("lognormal"), starts=1)
    assert found.values["k"] == pytest.approx(0.1, rel=1e-4)
    assert found.frame[["se", "rse", "low", "high"]].isna().all(axis=None)
    assert "hang on an error that runs to 0" in found.frame.loc[0, "remark"]
    held = fit(toy, table, ["k"], errors=ErrorModel("lognormal", log=0.1), starts=1)
    assert held.frame[["se", "low", "high"]].notna().all(axis=None)

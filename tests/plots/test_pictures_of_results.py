"""``result.plot``: pictures of every result, drawn of that result's numbers, in a caller's axes where one suffices."""

from __future__ import annotations

import inspect
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import cartsim as cs
from cartsim.plots import pictures_of
from cartsim.sensitivity.responders import filtered

MONTH = 30.4375
DAYS = (0, 1, 3, 7, 14, 21, 28, 60, 120, 180)
NAMES = ["Kexp_max", "EC50_exp", "K12"]


pytestmark = pytest.mark.usefixtures("_no_warnings")


@pytest.fixture(scope="module")
def trial() -> cs.TrialResult:
    population = cs.Population(cs.load("bb2121_clinical"), 1, {"burden": cs.uniform(5, 95)})
    return cs.Trial(population, [50e6, 450e6], n=40).run()


@pytest.fixture(scope="module")
def results(trial) -> dict[str, cs.results.Result]:
    pytest.importorskip("SALib")
    model = cs.load("bb2121_clinical")
    population = cs.Population(model, 1, {"burden": cs.uniform(5, 95)})
    regimens = {"single": 450e6, "double": 900e6}
    box = cs.ranges(model, NAMES, "factor")
    cmax, curve = cs.endpoint(model, "Cmax"), cs.endpoint(model, "transgene", times=DAYS[1:])
    listed = pd.DataFrame({"id": range(20), "arm": ["low", "high"] * 10, "death_day": [100.0, *[np.nan] * 19]})
    mortal = cs.Trial(population, [450e6], n=60, solver=cs.Solver(extinction=1.0))
    return {
        "typical": cs.simulate(model, 450e6, DAYS),
        "few": cs.simulate(cs.Patients(model, {"dose": [50e6, 450e6]}), None, DAYS),
        "many": cs.simulate(population, 450e6, DAYS, ["transgene", "mprotein_change"], n=30),
        "trial": trial,
        "responses": cs.respond("trial_synthetic", cs.IMWG2016(), patients=listed),
        "sweep": cs.sweep(model, {"dose": [150e6, 450e6], "burden": [20, 50, 80]}),
        "uncertain sweep": cs.sweep(
            model, {"dose": [150e6, 450e6], "burden": [20, 50, 80]}, replicates=8, uncertainty=True
        ),
        "rates": cs.sweep_trials(cs.Trial(population, [450e6], n=20), {"dose": [150e6, 450e6], "burden": [20, 80]}),
        "exposure": cs.exposure_response(trial, "CRR", covariates=["burden"], validate=trial, n_jobs=1),
        "doses": cs.dose_response(population, [50e6, 150e6, 450e6], n=20),
        "replicates": cs.replicate(cs.Trial(population, [50e6, 450e6], 10, independent=True), 8, uncertainty=True),
        "ranks": cs.prcc(cmax, box, n=20),
        "ranks of a curve": cs.prcc(curve, box, n=20),
        "regimens": cs.compare(cs.Trial(population, regimens, n=30)),
        "retreated": cs.retreat(mortal),
        "selection": cs.select(population, 60, {"Cmax": (1e3, 1e6)}),
        "sobol": cs.sobol(cmax, box, n=16),
        "sobol of a curve": cs.sobol(curve, box, n=16),
        "local": cs.local(cmax, NAMES),
        "local of a curve": cs.local(curve, NAMES),
        "tornado": cs.tornado(cmax, box),
        "responders": filtered(cmax, box, 35_000.0, n=60),
        "published": cs.published("crb401"),
        "prediction": cs.predict("crb401", population, replicates=8),
    }


# The pictures of each result; None: cannot be drawn of this one.
ALL = {
    "typical": {"over_time": {"outputs": "transgene"}},
    "few": {"over_time": {"outputs": "transgene"}},
    "many": {"over_time": {"outputs": "mprotein_change"}},
    "trial": {
        "overview": {},
        "survival": {"endpoint": "DOR"},
        "landmark": {"by": "MRD"},
        "incidence": {"of": "response", "arm": "450e6"},
        "residual": {"limit": 1e-4},
        "responses": {"at": "best"},
        "response_over_time": {"arm": "450e6"},
        "kinetics": {},
        "biomarkers": {"marker": "sbcma"},
        "by_response": {},
        "spider": {"arm": "50e6"},
        "waterfall": {"arm": "50e6"},
        "swimmer": {"arm": "450e6"},
        "exposure": {"measure": "Cmax"},
    },
    "responses": {"survival": {"endpoint": "OS"}, "landmark": {"month": 3}, "incidence": {"arm": "low"}},
    "sweep": {"contours": {"names": "Tmax"}, "limits": None},
    "uncertain sweep": {"contours": {"names": "Tmax"}, "limits": {"names": "Cmax"}},
    "rates": {"contours": {"names": "CR"}, "limits": None},
    "exposure": {
        "response": {},
        "exposures": {},
        "survival": {"endpoint": "PFS"},
        "dose_response": {},
        "dose_exposure": {},
        "validation": {},
        "roc": {},
    },
    "doses": {"response": {"landmark": 6}, "exposure": {"measure": "Tmax_day"}},
    "replicates": {"distributions": {"endpoints": ("CR",)}, "by_dose": {"endpoints": ("CR",)}},
    "ranks": {"bars": {}},
    "ranks of a curve": {"bars": {}},
    "regimens": {"differences": {"unit": "ratio"}},
    "retreated": {"second_responses": {}},
    "selection": {"distributions": {"names": "Cmax"}},
    "sobol": {"bars": {}, "convergence": {}, "over_time": None},
    "sobol of a curve": {"bars": None, "convergence": None, "over_time": {}},
    "local": {"bars": {}, "map": None},
    "local of a curve": {"bars": None, "map": {}},
    "tornado": {"tornado": {}},
    "responders": {"parameters": {}},
    "published": {"forest": {"kind": "times"}},
    "prediction": {"forest": {"kind": "times"}},
}
DRAWN = [(of, name) for of, names in ALL.items() for name, options in names.items() if options is not None]


def rendered(figure):
    assert isinstance(figure, Figure)
    FigureCanvasAgg(figure).draw()
    return figure


def lines(axis):
    return [line.get_ydata() for line in axis.get_lines()]


def test_the_pictures_are_those_listed(results):
    for of, names in ALL.items():
        assert set(dir(results[of].plot)) == set(names), of


@pytest.mark.parametrize(("of", "name"), DRAWN)
def test_every_picture_has_a_title_units_and_a_word_of_help(results, of, name):
    method = getattr(results[of].plot, name)
    figure = rendered(method())
    assert figure.get_suptitle()
    axes = [axis for axis in figure.axes if axis.axison]
    assert any(axis.get_xlabel() for axis in axes)
    assert inspect.getdoc(method)
    box, tight = figure.bbox_inches, figure.get_tightbbox()
    assert tight.x0 > -0.05
    assert tight.x1 < box.x1 + 0.05


@pytest.mark.parametrize(("of", "name"), DRAWN)
def test_a_picture_of_one_panel_is_drawn_in_the_axes_given(results, of, name):
    method = getattr(results[of].plot, name)
    if "ax" not in inspect.signature(method).parameters:
        assert name in ("overview", "by_response", "convergence", "over_time", "parameters", "limits", "exposures")
        return
    sheet = Figure(figsize=(9, 4), layout="constrained")
    own, other = sheet.subplots(1, 2)
    assert method(**ALL[of][name], ax=own) is sheet
    rendered(sheet)
    assert own.has_data()
    assert own.get_title() or own.get_title(loc="left")
    assert not other.has_data()
    assert not sheet.get_suptitle()


def test_called_it_draws_the_usual_picture(results):
    for of, usual in (("trial", "overview"), ("sobol", "bars"), ("sobol of a curve", "over_time"), ("local", "bars")):
        plot = results[of].plot
        drawn, expected = BytesIO(), BytesIO()
        plot().savefig(drawn, format="png", dpi=30)
        getattr(plot, usual)().savefig(expected, format="png", dpi=30)
        assert drawn.getvalue() == expected.getvalue(), of
        assert repr(plot).startswith(f"pictures, of which plot() draws {usual}:\n")


def test_no_figure_is_left_with_pyplot(results):
    import matplotlib.pyplot as plt

    results["trial"].plot()
    assert not plt.get_fignums()


# --- what they show ---------------------------------------------------------------------------------------


def test_simulation_shows_lines_of_few_and_bands_of_many(results):
    run = results["few"]
    axis = run.plot.over_time("transgene").axes[0]
    for line, curve in zip(lines(axis), run["transgene"], strict=True):
        np.testing.assert_array_equal(line, curve)
    assert axis.get_ylabel() == "transgene (copies/µg)"
    assert axis.get_xlabel() == "Time (months, square-root scale)"
    np.testing.assert_allclose(axis.get_lines()[0].get_xdata(), np.array(DAYS) / MONTH)
    legend = [text.get_text() for text in run.plot("transgene").legends[0].get_texts()]
    assert legend == ["id 0, 50 × 10⁶ cells", "id 1, 450 × 10⁶ cells"]

    run = results["many"]
    figure = run.plot()
    assert [axis.get_yscale() for axis in figure.axes[:2]] == ["log", "linear"]
    for axis, output in zip(figure.axes, run, strict=False):
        np.testing.assert_array_equal(lines(axis)[0], np.percentile(run[output], 50, axis=0))
        outer = np.concatenate([path.vertices for path in axis.collections[0].get_paths()])
        for level in (5, 95):
            edge = np.percentile(run[output], level, axis=0)
            assert all(
                np.isclose(outer, pair).all(axis=1).any() for pair in zip(np.array(DAYS) / MONTH, edge, strict=True)
            )


def test_simulation_by_groups(results):
    run = results["few"]
    axis = run.plot("mprotein_change", by="dose").axes[0]
    np.testing.assert_array_equal(lines(axis), run["mprotein_change"])
    with pytest.raises(cs.InputError, match="30 groups cannot be told apart"):
        results["many"].plot(by="burden")


def test_trial_shows_its_own_numbers(trial):
    axis = trial.plot.survival().axes[0]
    for k, arm in enumerate(trial.arms):
        np.testing.assert_array_equal(lines(axis)[2 * k], trial.survival(arm=arm).survival)

    table = trial.responses().set_index(["endpoint", "category", "arm"])["percent"]
    (axis,) = trial.plot.responses("best").axes
    for bars in (each for each in axis.containers if each.get_label() in ("CR", "VGPR", "PR")):
        expected = [table["best response", bars.get_label(), arm] for arm in trial.arms]
        np.testing.assert_allclose([bar.get_height() for bar in bars], expected)
    axis = trial.plot.responses(21).axes[0]
    (bars,) = [each for each in axis.containers if each.get_label() == "CR"]
    np.testing.assert_allclose([bar.get_height() for bar in bars], [table["month 21", "CR", arm] for arm in trial.arms])

    early = trial.plot.kinetics().axes[0]
    for k, arm in enumerate(trial.arms):
        expected = np.median(trial.curves[arm].values["transgene"], axis=0)
        np.testing.assert_array_equal(lines(early)[k], expected)
    axis = trial.plot.biomarkers("mprotein").axes[1]
    expected = np.median(trial.curves["450e6"].values["mprotein_change"], axis=0)
    np.testing.assert_array_equal(lines(axis)[0], expected)


def test_swimmer_ends_where_the_patients_do(trial):
    axis = trial.plot.swimmer("450e6", first=40).axes[0]
    ends = [segment[1, 0] for segment in axis.collections[0].get_segments()]
    np.testing.assert_allclose(np.sort(ends), np.sort(trial.arm("450e6")["last_day"] / MONTH))
    marks = next(line for line in axis.get_lines() if line.get_marker() == "X")
    known = trial.arm("450e6")["progression_day"].dropna() / MONTH
    drawn = np.asarray(marks.get_xdata())
    np.testing.assert_allclose(np.sort(drawn[np.isfinite(drawn)]), np.sort(known))


def test_swimmer_marks_nothing_beyond_a_bar_and_nobody_treated_anew_as_ongoing():
    """Under EMA progression may be found after a new therapy: its bar goes on until then."""
    model = cs.load("bb2121_clinical").override({"Kg": 0.03, "Kkill_max": 0.12})
    protocol = cs.Protocol(conduct=cs.Conduct(new_therapy=0.1), rules=cs.Rules(censoring="ema"))
    result = cs.Trial(cs.Population(model, 1), [150e6], 60, protocol).run()
    rows = result.patients.dropna(subset=["last_day", "progression_day"], how="all")
    axis = result.plot.swimmer(first=60).axes[0]
    ends = np.array([segment[1, 0] for segment in axis.collections[0].get_segments()])
    drawn = {line.get_marker(): line for line in axis.get_lines()}
    found = np.asarray(drawn["X"].get_xdata())
    assert (found[np.isfinite(found)] <= ends[np.isfinite(found)] + 1e-9).all()
    assert np.isfinite(found).sum() == rows["progression_day"].notna().sum()
    assert (rows["progression_day"] > rows["last_day"]).sum() > 5
    ongoing = rows["progression_day"].isna() & rows["new_therapy_day"].isna()
    assert len(drawn[">"].get_xdata()) == ongoing.sum()


def test_response_over_time_judges_as_the_trial_did(trial):
    """In CR at a visit are those whose CR, by the table of patients, has begun and who have not progressed."""
    rows, days = trial.arm("450e6"), np.array(trial.protocol.visits.response)
    complete = trial.plot.response_over_time("450e6").axes[0].collections[0]  # the lowest
    tops = np.concatenate([path.vertices for path in complete.get_paths()])
    began, progressed = rows["cr_day"].to_numpy()[:, None], rows["progression_day"].to_numpy()[:, None]
    shares = 100 * ((days >= began) & ~(days >= progressed)).mean(axis=0)
    assert shares.max() > 10
    for pair in zip(days / MONTH, shares, strict=True):
        assert np.isclose(tops, pair).all(axis=1).any()


def test_indices_along_time_stand_under_the_typical_curve(results):
    found = results["sobol of a curve"]
    figure = found.plot.over_time(phases={"all": (1, 180)})
    model = found.function.model
    days, values = figure.axes[0].lines[0].get_data()
    expected = cs.simulate(model, None, DAYS[1:], ["transgene"])["transgene"][0]
    np.testing.assert_allclose(values[np.isin(days, DAYS[1:])], expected, rtol=1e-9)


# --- what cannot be drawn ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "draw", "message"),
    [
        ("many", lambda plot: plot("nothing"), "no output 'nothing'"),
        ("many", lambda plot: plot(by="nothing"), "no column 'nothing' to group by"),
        ("trial", lambda plot: plot.spider("450"), "no arm '450'"),
        ("trial", lambda plot: plot.responses(7), "no landmark 7; give 'best' or one of the months 6, 21"),
        ("trial", lambda plot: plot.biomarkers("calcium"), "no marker 'calcium'; give mprotein or sbcma"),
        ("trial", lambda plot: plot.by_response(output="calcium"), "no output 'calcium'"),
        ("trial", lambda plot: plot.exposure("dose"), "no exposure 'dose'; give Cmax or AUC0-28"),
        ("sweep", lambda plot: plot("nothing"), "no column 'nothing'"),
        ("doses", lambda plot: plot.response(7), "no landmark 7; choose one of 6.0, 21.0"),
        ("doses", lambda plot: plot.exposure("AUC"), "no measure 'AUC'"),
        ("regimens", lambda plot: plot("days"), "no differences in 'days'"),
        ("selection", lambda plot: plot("nothing"), "no column 'nothing'"),
        ("sobol", lambda plot: plot.over_time(), "Cmax is one number"),
        ("sobol of a curve", lambda plot: plot.bars(), "transgene is a curve; draw over_time"),
        ("local", lambda plot: plot.map(), "Cmax is one number"),
        ("local of a curve", lambda plot: plot.bars(), "transgene is a curve; draw map"),
    ],
)
def test_bad_requests_are_one_line(results, of, draw, message):
    with pytest.raises(cs.InputError) as refused:
        draw(results[of].plot)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_several_panels_are_not_drawn_in_one_axes(results):
    axis = Figure().subplots()
    for draw in (
        lambda: results["trial"].plot.responses(ax=axis),
        lambda: results["trial"].plot.spider(ax=axis),
        lambda: results["many"].plot(ax=axis),
        lambda: results["sweep"].plot(ax=axis),
        lambda: results["regimens"].plot(ax=axis),
    ):
        with pytest.raises(cs.InputError, match="ax takes one panel and there are"):
            draw()
    with pytest.raises(cs.InputError, match="ax is Figure; give one axes"):
        results["trial"].plot.survival(ax=Figure())


def test_what_a_trial_did_not_keep_is_not_drawn():
    population = cs.Population(cs.load("bb2121_clinical"), 1)
    bare = cs.Trial(population, [450e6], n=5, curves=0).run(keep_visits=False, columns=())
    assert len(rendered(bare.plot()).axes) == 2  # responses and survival
    for draw, message in (
        (bare.plot.kinetics, "no trajectories of this trial were kept"),
        (bare.plot.spider, "no trajectories of this trial were kept"),
        (bare.plot.swimmer, "the measurements of this trial were not kept"),
        (bare.plot.response_over_time, "the measurements of this trial were not kept"),
        (bare.plot.waterfall, "the column change of this trial's patients was not kept"),
    ):
        with pytest.raises(cs.InputError, match=message):
            draw()


def test_other_things_have_no_pictures():
    with pytest.raises(cs.InputError, match="no pictures of a dict"):
        pictures_of({})


def test_a_forest_shows_what_is_published_and_predicted(results):
    found = results["prediction"]
    known = cs.baseline("crb401", "karmma")
    axis = found.plot.forest(known, kind="shares").axes[0]
    table = found.rows(known)
    table = table[(table["unit"] == "%") & (table["role"] == "fit")]
    columns = ["value", f"{found.name} predicted", f"{known.name} predicted"]
    drawn = [np.sort(np.concatenate([line.get_xdata()])) for line in axis.get_lines()[:3]]
    for values, column in zip(drawn, columns, strict=True):
        np.testing.assert_allclose(values[np.isfinite(values)], np.sort(table[column].dropna()))
    assert axis.get_xlabel() == "Patients (%)"
    published = results["published"]
    axis = published.plot.forest(kind="times").axes[0]
    arrows = [line for line in axis.get_lines() if line.get_marker() == ">"]
    assert len(arrows) == 1  # the upper limit of DOR is not reached
    with pytest.raises(cs.InputError, match="no rows of kind 'doses'"):
        published.plot.forest(kind="doses")

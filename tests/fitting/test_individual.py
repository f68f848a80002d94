"""Individual fits: likelihood terms against scipy.stats or simulation, posteriors against closed forms, recovery."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from counting import counted
from scipy import stats
from scipy.optimize import minimize

from cartsim import InputError, load, simulate
from cartsim.endpoints.rules import Response, SinghLandmark
from cartsim.fitting.data import CategoryRules, patient_data
from cartsim.fitting.errors import ErrorModel
from cartsim.fitting.individual import ERRORS, PARAMETERS, IndividualFits, fit_individuals
from cartsim.fitting.likelihood import PatientLikelihood, _lowest_before, judged
from cartsim.fitting.population import Saem, fit_population
from cartsim.fitting.posterior import find_modes, log_normal, sample_posteriors
from cartsim.fitting.synthetic import CRB401_DOSES, Sampled, synthetic_patients
from cartsim.model.model import Variability
from cartsim.observations import example
from cartsim.schedule import MONTH
from cartsim.solver import Solver

MODEL = load("bb2121_clinical")
NADIR = CategoryRules()
BASELINE = CategoryRules(progression="baseline")
TYPICAL = np.array([[MODEL.parameters[name].value for name in PARAMETERS]], float)
DAYS = np.array([28.0, 61.0, 91.0, 183.0, 365.0, 548.0])


def table(text: str) -> pd.DataFrame:
    return pd.read_csv(StringIO(text), dtype=str, keep_default_na=False)


def likelihood(
    data: pd.DataFrame, rules: CategoryRules = NADIR, errors: dict[str, ErrorModel] | None = None
) -> PatientLikelihood:
    read = patient_data(data, MODEL, rules)
    names = ["category" if s.category is not None else s.output for s in read.series]
    chosen = {name: (errors or {}).get(name, ERRORS.get(name, ERRORS[""])) for name in names}
    return PatientLikelihood(read, MODEL, PARAMETERS, chosen)


def one_patient(categories: str, dose: str = "450e6") -> pd.DataFrame:
    rows = [("1", dose, str(day), c) for day, c in zip(DAYS, categories.split(), strict=False)]
    return pd.DataFrame(rows, columns=["id", "dose", "time", "category"])


@pytest.fixture(scope="module")
def levels() -> np.ndarray:
    """The typical patient's M-protein over baseline at DAYS."""
    return 1 + simulate(MODEL, 450e6, DAYS, ["mprotein_change"])["mprotein_change"][0] / 100


@pytest.fixture(scope="module")
def fits() -> IndividualFits:
    return fit_individuals(MODEL, "crb401_synthetic")


def test_a_variant_of_variability_is_none_of_a_patient() -> None:
    with pytest.raises(InputError, match=r"row 1 .*'Rm_absolute_SD' changes variability, which is the same"):
        likelihood(one_patient("PR PR").assign(variant="Rm_absolute_SD"))


def test_a_variant_with_other_equations_is_none_of_a_patient() -> None:
    with pytest.raises(InputError, match=r"row 1 .*'window' changes equations, .*; fit the model .*:VARIANT instead"):
        likelihood(one_patient("PR PR").assign(variant="window"))


def test_what_is_0_or_1_in_a_patient_is_not_estimated() -> None:
    kg = replace(MODEL.parameters["Kg"], value=0.5, iiv=Variability("bernoulli"))
    model = replace(MODEL, parameters=MODEL.parameters | {"Kg": kg})
    for fit in (fit_individuals, fit_population):
        with pytest.raises(InputError, match=r"Kg is 0 or 1 in each patient, .*; give it as a column of the data"):
            fit(model, "crb401_synthetic", ["Kg"])


# --- likelihood terms -----------------------------------------------------------------------------------


def test_intervals_are_those_of_the_paper() -> None:
    found = BASELINE.intervals()
    assert found[Response.PD] == (1.25, np.inf)
    assert found[Response.SD] == (0.75, 1.25)
    assert found[Response.MR] == (0.5, 0.75)
    assert found[Response.PR] == pytest.approx((0.1, 0.5))
    assert found[Response.VGPR] == pytest.approx((0.01, 0.1))
    assert found[Response.CR] == pytest.approx((-np.inf, 0.01))
    by_limit = CategoryRules(SinghLandmark(cr_limit=0.2), "baseline").intervals(M0=40.0)
    assert by_limit[Response.CR][1] == by_limit[Response.VGPR][0] == pytest.approx(0.2 / 40)
    assert CategoryRules().intervals()[Response.SD] == (0.75, np.inf)


@pytest.mark.parametrize("kind", ["lognormal", "additive"])
def test_categories_have_the_probability_of_their_interval(kind: str, levels: np.ndarray) -> None:
    names = ["SD", "PR", "VGPR", "VGPR", "PR", "PD"]
    error = ErrorModel("lognormal", log=0.3) if kind == "lognormal" else ErrorModel("additive", add=0.05)
    own = likelihood(one_patient(" ".join(names)), BASELINE, {"category": error})
    measured = stats.lognorm(0.3, scale=levels) if kind == "lognormal" else stats.norm(levels, 0.05)
    limits = np.array([BASELINE.intervals()[Response[name]] for name in names])
    expected = np.log((measured.cdf(limits[:, 1]) - measured.cdf(limits[:, 0]))[:-1])
    predicted = own.predict(TYPICAL, np.array([0]))
    assert predicted[0][0] == pytest.approx(levels, rel=1e-6)
    tail = measured.logsf(1.25)[-1]  # of PD, far away, where the difference of two cdfs has no digits left
    assert own(TYPICAL, np.array([0]))[0] == pytest.approx(expected.sum() + tail, rel=1e-6)


def test_values_and_limits_of_quantification(levels: np.ndarray) -> None:
    data = table(
        "id,dose,time,category,output,value\n1,450e6,14,,transgene,20000\n1,450e6,183,,transgene,<50\n"
        "1,450e6,14,,sbcma_change,-92\n1,450e6,28,,sbcma_change,<-99\n1,450e6,28,,mprotein,0.5\n"
    )
    errors = {"mprotein": ErrorModel("combined", add=0.02, prop=0.1), "transgene": ErrorModel("lognormal", log=0.3)}
    own = likelihood(data, errors=errors)
    run = simulate(MODEL, 450e6, [14, 28, 183], ["transgene", "sBCMA", "mprotein"])
    transgene, sbcma, mprotein = (run[name][0] for name in ("transgene", "sBCMA", "mprotein"))
    expected = (
        stats.lognorm(0.3, scale=transgene[0]).logpdf(20000)
        + stats.lognorm(0.3, scale=transgene[2]).logcdf(50)
        + stats.lognorm(0.2, scale=sbcma[0]).logpdf(0.08)
        + stats.lognorm(0.2, scale=sbcma[1]).logcdf(0.01)
        + stats.norm(mprotein[1], np.hypot(0.02, 0.1 * mprotein[1])).logpdf(0.5)
    )
    assert own(TYPICAL, np.array([0]))[0] == pytest.approx(expected, rel=1e-5)


def test_the_lowest_measurement_before_a_visit() -> None:
    """Mean and SD by Clark's formulas against a million simulated histories."""
    mean, sd = np.log([[0.5, 0.12, 0.1, 0.1, 0.11, 0.2]]), np.full((1, 6), 0.1)
    seen = np.array([[True, True, True, False, True, True]])
    found, spread = _lowest_before(mean, sd, seen, 0.0)
    draws = mean + sd * np.random.default_rng(1).standard_normal((1_000_000, 6))
    draws = np.where(seen, draws, np.inf)
    lowest = np.minimum.accumulate(np.column_stack([np.zeros(len(draws)), draws[:, :-1]]), axis=1)
    assert found[0] == pytest.approx(lowest.mean(axis=0), abs=0.003)
    assert spread[0] == pytest.approx(lowest.std(axis=0), abs=0.003)


@pytest.mark.parametrize("absolute", [0.0, 1.5])
def test_progression_from_the_nadir_against_simulated_trials(levels: np.ndarray, absolute: float) -> None:
    """How often a visit is each category when M-protein is measured and judged as in a trial.

    That PD and the bins are taken as independent given the prediction costs less than a point.
    """
    rules = CategoryRules(pd_absolute=absolute)
    noise = np.random.default_rng(2).standard_normal((200_000, len(DAYS)))
    M0 = np.full(len(noise), 30.0)
    codes, _ = judged(levels * np.exp(0.05 * noise), np.full(noise.shape, Response.SD, np.int8), rules, M0)
    for visit in range(len(DAYS)):
        told = []
        for category in list(Response)[1:]:
            seen = ["SD"] * len(DAYS)  # what the other visits are makes no difference, that they are does
            seen[visit] = category.name
            told.append(np.exp(_term(likelihood(one_patient(" ".join(seen)).assign(M0="30"), rules), visit)))
            assert told[-1] == pytest.approx((codes[:, visit] == category).mean(), abs=0.01), category.name
        assert sum(told) == pytest.approx(1, abs=1e-9)


def _term(own: PatientLikelihood, visit: int) -> float:
    from cartsim.fitting.likelihood import _category_terms

    who = np.array([0])
    predicted = own.predict(TYPICAL, who)[0]
    M0 = own.data.table["M0"].to_numpy()
    error = own.errors["category"]
    return float(_category_terms(own.data.series[0], who, predicted, error, {}, own.data.rules, M0)[0, visit])


def test_a_limit_in_grams_is_each_patients_own() -> None:
    rules = CategoryRules(SinghLandmark(cr_limit=0.3), "baseline")
    same = np.full((3, 2), Response.SD, np.int8)
    codes, _ = judged(np.array([[0.012, 0.4]] * 3), same, rules, np.array([20.0, 40.0, 20.0]))
    assert codes.tolist() == [[Response.CR, Response.PR], [Response.VGPR, Response.PR], [Response.CR, Response.PR]]


def test_a_visit_without_assessment_says_nothing(levels: np.ndarray) -> None:
    whole = likelihood(one_patient("PR VGPR NE VGPR"))
    less = one_patient("PR VGPR NE VGPR")
    without = likelihood(less[less["category"] != "NE"])
    who = np.array([0])
    assert whole(TYPICAL, who)[0] == pytest.approx(without(TYPICAL, who)[0], abs=1e-12)


def test_rows_are_patients_of_their_own() -> None:
    """All patients in one call or each alone: the same, in any order; impossible parameters are minus infinity."""
    data, truth = synthetic_patients(CRB401_DOSES[:5], sbcma=Sampled())
    own = likelihood(data)
    values = truth[list(PARAMETERS)].to_numpy()
    together = own(values, np.arange(5))
    assert own(values[::-1], np.arange(5)[::-1]) == pytest.approx(together[::-1], rel=1e-12)
    for i in range(5):
        alone = likelihood(data[data["id"] == i])
        assert alone(values[i : i + 1], np.array([0]))[0] == pytest.approx(together[i], rel=1e-9)
    assert own(np.array([[-1.0, 0.3, 0.2], [np.nan, 0.3, 0.2]]), np.array([0, 1])) == pytest.approx([-np.inf] * 2)


def test_synthetic_patients_have_nothing_after_their_followup() -> None:
    data, _ = synthetic_patients((450e6,) * 4, follow_up=(60.0, 80.0), transgene=Sampled((14.0, 28.0, 91.0)))
    assert data.groupby("output")["time"].max().to_dict() == {"": 2 * MONTH, "sbcma_change": 2 * MONTH, "transgene": 28}


def test_an_untreated_patient() -> None:
    own = likelihood(table("id,dose,time,category,output,value\n1,0,28,SD,,\n1,0,28,,transgene,<50\n"))
    assert own(TYPICAL, np.array([0]))[0] == pytest.approx(0, abs=1e-3)


# --- posteriors -----------------------------------------------------------------------------------------


def gaussian(eta: np.ndarray, who: np.ndarray) -> np.ndarray:
    """Posterior of a normal measurement of eta with precision 0, 1, 8 around 0, 1, -1 in each component."""
    precision, at = np.array([0.0, 1.0, 8.0])[who, None], np.array([0.0, 1.0, -1.0])[who, None]
    return log_normal(eta) - 0.5 * (precision * (eta - at) ** 2).sum(axis=1)


def test_modes_and_curvatures_of_normal_posteriors() -> None:
    modes = find_modes(gaussian, 3, 2)
    assert modes.converged.all()
    assert modes.eta == pytest.approx(np.array([[0, 0], [0.5, 0.5], [-8 / 9, -8 / 9]]), abs=1e-4)
    assert modes.covariance == pytest.approx(np.eye(2) / np.array([1, 2, 9])[:, None, None], abs=1e-4)


def test_the_higher_of_two_modes_is_found() -> None:
    def target(eta: np.ndarray, who: np.ndarray) -> np.ndarray:
        low, high = (-0.5 * ((eta - c) ** 2).sum(axis=1) / 0.04 for c in (-1.0, 1.0))
        return np.logaddexp(low, high + 0.5)

    modes = find_modes(target, 1, 2)
    assert modes.eta[0] == pytest.approx([1, 1], abs=1e-3)


def test_moments_quantiles_and_evidence_of_normal_posteriors() -> None:
    modes = find_modes(gaussian, 3, 2)
    sample = sample_posteriors(gaussian, modes.eta, modes.covariance, 1, draws=20_000)
    precision, at = np.array([0.0, 1.0, 8.0]), np.array([0.0, 1.0, -1.0])
    # Two normal densities multiplied: evidence of a N(0, 1/precision + 1) variable, without its constant.
    expected = -np.log1p(precision) - at**2 * precision / (1 + precision)
    assert sample.log_evidence == pytest.approx(expected, abs=0.03)
    assert sample.mean() == pytest.approx(modes.eta, abs=0.03)
    assert sample.covariance() == pytest.approx(modes.covariance, abs=0.03)
    low, high = sample.quantiles((0.025, 0.975))
    half = 1.959964 * np.sqrt(np.diagonal(modes.covariance, axis1=1, axis2=2))
    assert low == pytest.approx(modes.eta - half, abs=0.06)
    assert high == pytest.approx(modes.eta + half, abs=0.06)


def test_a_bent_posterior_is_followed() -> None:
    """A banana, whose mode says little of its shape: against integration on a grid."""

    def target(eta: np.ndarray, who: np.ndarray) -> np.ndarray:
        return log_normal(eta) - 0.5 * ((eta[:, 1] + 1 - eta[:, 0] ** 2) / 0.1) ** 2

    modes = find_modes(target, 1, 2)
    sample = sample_posteriors(target, modes.eta, modes.covariance, 3, draws=20_000)
    x = np.linspace(-5, 5, 1001)
    grid = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.exp(target(grid, np.zeros(len(grid), int)))
    assert sample.log_evidence[0] == pytest.approx(np.log(density.sum() * 1e-4), abs=0.05)
    second = (density @ grid**2) / density.sum()
    assert (sample.weight[0] @ sample.eta[0] ** 2) == pytest.approx(second, rel=0.08)


def test_a_fit_is_the_maximum_that_scipy_finds() -> None:
    data, _ = synthetic_patients(CRB401_DOSES[10:12], sbcma=Sampled())
    fits = fit_individuals(MODEL, data, draws=100)
    own = fits.likelihood
    for i in range(2):

        def cost(eta: np.ndarray, i: int = i) -> float:
            value = own(fits.values(eta[None]), np.array([i]))[0] + log_normal(eta)
            return -float(value)

        best = min(minimize(cost, start, method="Nelder-Mead").fun for start in ([0, 0, 0], [1, 0, -1]))
        assert -fits.modes.log_density[i] <= best + 1e-3


# --- recovery -------------------------------------------------------------------------------------------


def test_intervals_cover_the_truth_in_simulated_data_sets() -> None:
    """20 replicates of 8 patients whose parameters are drawn anew from the population.

    Counted by parameter: in replicate r, patient r mod 8, chosen before looking; the 95 % posterior interval holds
    the true value in 16 of 20 or more. And over all 160 patients in 90 to 99 %.
    """
    parts, truths = [], []
    for replicate in range(20):
        data, truth = synthetic_patients((50e6, 150e6, *(450e6,) * 5, 800e6), seed=replicate, sbcma=Sampled())
        parts.append(data.assign(id=data["id"] + 8 * replicate))
        truths.append(truth)
    fits = fit_individuals(MODEL, pd.concat(parts), draws=400)
    assert fits.modes.converged.all()
    found = fits.parameters
    true = pd.concat(truths)[list(PARAMETERS)].to_numpy().ravel()  # a row a patient: the order of the fits
    covered = ((found["low"] < true) & (true < found["high"])).to_numpy().reshape(20, 8, 3)
    chosen = covered[np.arange(20), np.arange(20) % 8]
    assert (chosen.sum(axis=0) >= 16).all(), chosen.sum(axis=0)
    assert (covered.mean(axis=(0, 1)) >= 0.90).all()
    assert (covered.mean(axis=(0, 1)) <= 0.99).all()


def test_a_solver_is_used_as_asked() -> None:
    """The likelihood comes nearer to that of the least tolerance."""
    data, _ = synthetic_patients((150e6, 450e6), seed=5)
    exact, rough = (fit_individuals(MODEL, data, draws=100, solver=Solver(rtol)) for rtol in (1e-10, 1e-4))
    usual = fit_individuals(MODEL, data, draws=100)
    assert exact.likelihood.solver == Solver(1e-10)
    assert "rtol=1e-10" in exact.made_by["solver"]
    everyone = np.arange(2)
    values = exact.values(exact.modes.eta)
    off = [
        np.abs(fits.likelihood(values, everyone) - exact.likelihood(values, everyone)).max() for fits in (rough, usual)
    ]
    assert off[0] > off[1] > 0


def test_a_patient_whose_search_did_not_converge_has_no_limits() -> None:
    data, _ = synthetic_patients((150e6, *(450e6,) * 3), seed=5)
    whole = fit_individuals(MODEL, data, draws=100)
    lost = np.array([False, True, False, False])
    fits = replace(whole, modes=replace(whole.modes, converged=~lost))
    limits = ["rse", "low", "high"]
    who = fits.parameters["id"] == fits.data.ids[1]
    assert fits.parameters.loc[who, limits].isna().all(axis=None)
    pd.testing.assert_frame_equal(fits.parameters[~who], whole.parameters[~who])
    assert fits.parameters["estimate"].notna().all()
    assert fits.failures["id"].tolist() == [fits.data.ids[1]]


def test_the_example_is_what_it_says_it_is() -> None:
    """Synthetic, and made by the generator with its defaults."""
    path = example()
    truth_file = path.with_name(f"{path.stem}_truth.csv")
    for each in (path, truth_file):
        assert "SYNTHETIC" in each.read_text().splitlines()[0]
    data, truth = synthetic_patients()
    shipped = pd.read_csv(path, comment="#", keep_default_na=False)
    assert shipped["category"].tolist() == data["category"].tolist()
    assert shipped["time"].to_numpy() == pytest.approx(data["time"].to_numpy())
    assert pd.read_csv(truth_file, comment="#").to_numpy(float) == pytest.approx(truth.to_numpy(float), rel=1e-6)
    doses = pd.read_csv(truth_file, comment="#")["dose"].value_counts().to_dict()
    assert doses == {50_000_000: 3, 150_000_000: 8, 450_000_000: 19, 800_000_000: 3}


def test_the_example_is_fitted(fits: IndividualFits) -> None:
    assert fits.likelihood.parameters == (*PARAMETERS, "gamma_b")  # since there is sBCMA
    assert fits.warnings == ()
    assert fits.patients["agreement"].mean() > 0.9
    assert (fits.sample.ess >= 100).all()
    truth = pd.read_csv(example().with_name("crb401_synthetic_truth.csv"), comment="#").set_index("id")
    found = fits.parameters
    true = np.array([truth.loc[i, name] for i, name in zip(found["id"], found["parameter"], strict=True)])
    covered = (found["low"] < true) & (true < found["high"])
    assert (covered.groupby(found["parameter"]).sum() >= 28).all()  # of 33; below has a chance of 1 %
    assert np.corrcoef(np.log(found["estimate"]), np.log(true))[0, 1] > 0.9


def test_fits_take_few_simulations_and_are_the_same_again(
    fits: IndividualFits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A simulation takes about 35 microseconds, so that these are seconds; see ``benchmarks/fits.py``."""
    calls = counted(monkeypatch, PatientLikelihood, "predict")
    simulated = counted(monkeypatch, PatientLikelihood, "predict", of=lambda _, values, who: len(who))
    again = fit_individuals(MODEL, "crb401_synthetic")
    assert calls.n < 60
    assert simulated.n < 100_000
    pd.testing.assert_frame_equal(again.parameters, fits.parameters)


def test_survival_of_the_fits_is_near_the_observed(fits: IndividualFits) -> None:
    curves = fits.survival()
    assert list(curves) == [(g, k) for g in ("< 150e6", "≥ 150e6") for k in ("observed", "fitted")]
    assert [curve.n for curve in curves.values()] == [3, 3, 30, 30]
    observed, fitted = (curves["≥ 150e6", kind] for kind in ("observed", "fitted"))
    assert abs(observed.median.value - fitted.median.value) <= 3.1  # one visit apart


# --- what is reported -----------------------------------------------------------------------------------


def test_survival_is_derived_from_the_categories() -> None:
    """By hand: PD on its day; else the last assessment; two missed visits before PD censor it (FDA)."""
    data = table(
        "id,dose,time,category\na,50e6,28,PR\na,50e6,61,PD\nb,50e6,28,PR\nb,50e6,61,SD\nb,50e6,91,NE\n"
        "c,450e6,28,VGPR\nc,450e6,61,NE\nc,450e6,91,NE\nc,450e6,122,PD\nd,450e6,28,NE\n"
    )
    found = fit_individuals(MODEL, data, draws=100).pfs()["observed"].frame(["a", "b", "c", "d"])
    assert found["time"].tolist() == [61, 61, 28, 0]
    assert found["event"].tolist() == [True, False, False, False]
    assert found["reason"].tolist() == ["progression", "no event", "missed visits", "no later assessment"]


def test_patients_without_information_have_the_prior() -> None:
    data = table("id,dose,time,category\n1,450e6,28,NE\n2,450e6,28,PR\n")
    fits = fit_individuals(MODEL, data, draws=2000)
    own = fits.parameters[fits.parameters["id"] == 1]
    assert own["estimate"].to_numpy() == pytest.approx(fits.typical, rel=1e-3)
    assert own["shrinkage"].to_numpy() == pytest.approx(1, abs=0.1)
    assert own["rse"].to_numpy() == pytest.approx(fits.omega, rel=0.05)
    assert own["high"].to_numpy() == pytest.approx(fits.typical * np.exp(1.96 * fits.omega), rel=0.1)
    assert fits.patients.loc[0, "log_evidence"] == pytest.approx(0, abs=0.02)


def test_settings_are_followed(fits: IndividualFits) -> None:
    data = one_patient("MR PR PR PR PR PR")
    wide = fit_individuals(MODEL, data, estimate=dict.fromkeys(PARAMETERS) | {"Kkill_max": 2.0}, draws=100)
    assert wide.shrinkage.set_index("parameter").loc["Kkill_max", "omega"] == 2.0
    loose = fit_individuals(MODEL, data, errors={"category": ErrorModel("lognormal", log=0.5)}, draws=100)
    assert (loose.modes.log_density != wide.modes.log_density).all()
    assert "bb2121_clinical" in fits.made_by["model"]


def test_bands_hold_what_they_stand_for(fits: IndividualFits) -> None:
    categories = fits.categories
    same = categories[categories["observed"] == categories["fitted"]]
    assert (same["low"] <= same["change"] + 1e-9).all()
    assert (same["change"] <= same["high"] + 1e-9).all()
    apart = categories[categories["observed"] != categories["fitted"]]
    assert ((apart["change"] < apart["low"]) | (apart["change"] > apart["high"])).all()
    best = [categories[categories["id"] == i]["observed"] for i in fits.representatives()]
    ranks = [max(Response[name] for name in own) for own in best]
    assert ranks == sorted(set(ranks))


def test_pictures(fits: IndividualFits) -> None:
    shown = fits.representatives()
    figure = fits.plot.categories()
    assert [axis.get_title().split(",")[0] for axis in figure.axes[: len(shown)]] == [f"id {i}" for i in shown]
    with pytest.raises(InputError, match="no patient 99"):
        fits.plot.categories([99])
    labels = [text.get_text() for text in fits.plot.survival().legends[0].get_texts()]
    assert len(labels) == 4
    assert "< 150 × 10⁶ cells, observed" in labels[0]


# --- bad input ------------------------------------------------------------------------------------------

HEAD = "id,dose,time,category,output,value\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD, "no observations"),
        (HEAD + "1,450e6,28,PR,,\n1,450e6,61,XR,,\n", "row 2 .id 1, time 61.: category 'XR' is not on the scale"),
        (HEAD + "1,450e6,-2,PR,,\n", "row 1 .id 1.: time '?-2'? is before the infusion"),
        (HEAD + "1,450e6,0,PR,,\n", "on day 0"),
        (HEAD + "1,450e6,28,,tumour,3\n", "row 1 .id 1, time 28.: output 'tumour' is no output of model"),
        (HEAD + "1,450e6,28,PR,,\n1,450e6,28,SD,,\n", "row 2 .id 1.: time '28' has category in row 1 too"),
        (HEAD + "1,450e6,28,,transgene,5\n1,450e6,28,,transgene,<50\n", "has transgene in row 1 too"),
        (HEAD + "1,450e6,28,PR,,4\n", "not both"),
        (HEAD + "1,450e6,28,,,\n", "is missing; give a value or a category"),
        (HEAD + "1,450e6,28,PR,transgene,\n", "leave output empty"),
        (HEAD + "1,450e6,28,,transgene,many\n", "value 'many' is not a number"),
        (HEAD + "1,450e6,28,,sbcma_change,-120\n", "nothing falls by more than 100"),
        (HEAD + "1,450e6,28,,sbcma_change,-100\n", "has no logarithm"),
        (HEAD + "1,450e6,28,,transgene,0\n", "has no logarithm"),
        (
            HEAD + "1,450e6,28,PR,,\n1,150e6,61,PR,,\n",
            "row 2 .id 1, time 61.: dose '150e6' is not the dose of the patient's other rows",
        ),
        (HEAD + "1,-5,28,PR,,\n", "dose '-5' is negative"),
        (HEAD + "1,450e6,soon,PR,,\n", "time 'soon' is not a number"),
        (HEAD + ",450e6,28,PR,,\n", "row 1 has no id"),
        ("id,dose,category\n1,450e6,PR\n", "no column time"),
        ("id,dose,time\n1,450e6,28\n", "no column value"),
        ("id,dose,time,category,Kexpmax\n1,450e6,28,PR,2\n", "did you mean Kexp_max"),
        (
            "id,dose,time,category,burden\n1,450e6,28,PR,200\n",
            "burden '200' is not possible; it must be a finite number from",
        ),
        ("id,dose,time,category,gamma_m\n1,450e6,28,PR,0.2\n", "gamma_m is a column of the data"),
    ],
)
def test_bad_data_are_refused_by_row(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        fit_individuals(MODEL, table(text))
    path = tmp_path / "data.csv"
    path.write_text("# a comment\n" + text)
    with pytest.raises(InputError, match=message):
        fit_individuals(MODEL, path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimate": ["Kexp"]}, "no parameter or covariate 'Kexp'"),
        ({"estimate": []}, "name at least one"),
        ({"estimate": ["Kg"]}, "no log-normal variability"),
        ({"estimate": ["Tumor0"]}, "no positive typical value"),
        ({"estimate": {"Kexp_max": -0.3}}, "no log-normal variability above 0; give its omega"),
        ({"draws": 10}, "10 draws"),
        ({"errors": {"transgene": ErrorModel("lognormal", log=0.1)}}, "'transgene', which is not in the data"),
        ({"errors": {"category": ErrorModel("lognormal")}}, "leaves an SD open"),
        ({"errors": {"category": ErrorModel("lognormal", log=0.1, lloq=1.0)}}, "has an lloq"),
        ({"rules": CategoryRules(pd_absolute=5.0)}, "need the column M0"),
        ({"rules": CategoryRules(SinghLandmark(cr_limit=0.2))}, "need the column M0"),
        ({"model": "bb2121_nothing"}, "no model"),
    ],
)
def test_bad_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_individuals(**{"model": MODEL, "observations": one_patient("PR VGPR")} | settings)


def test_impossible_data_are_refused() -> None:
    data = table(HEAD + "1,450e6,28,PR,,\n2,0,28,,transgene,1000\n")
    with pytest.raises(InputError, match="data of id 2 are impossible"):
        fit_individuals(MODEL, data)
    with pytest.raises(InputError, match="data of id 2 are impossible"):
        fit_population(MODEL, data, saem=Saem(explore=10, smooth=10))


def test_many_rows_go_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    data, truth = synthetic_patients(CRB401_DOSES[:6])
    own, values = likelihood(data), truth[list(PARAMETERS)].to_numpy()
    whole = own(values, np.arange(6))
    monkeypatch.setattr("cartsim.fitting.likelihood.BLOCK", 4)
    assert own(values, np.arange(6)) == pytest.approx(whole, rel=1e-12)


def test_bad_rules_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose 'nadir' or 'baseline'"):
        CategoryRules(progression="best")
    with pytest.raises(InputError, match="pd_absolute"):
        CategoryRules(pd_absolute=-1.0)
    with pytest.raises(InputError, match="no example is called 'crb402'"):
        fit_individuals(MODEL, "crb402")
    with pytest.raises(InputError, match="no such file"):
        fit_individuals(MODEL, tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("# nothing\n")
    with pytest.raises(InputError, match="empty"):
        fit_individuals(MODEL, tmp_path / "empty.csv")
    (tmp_path / "twice.csv").write_text("id,dose,time,time,category\n1,450e6,28,28,PR\n")
    with pytest.raises(InputError, match="the column time is there twice"):
        fit_individuals(MODEL, tmp_path / "twice.csv")
    possible = one_patient("PR VGPR").assign(M0="1.5")  # 0.2 g/L is 13 % of 1.5 g/L
    with pytest.raises(InputError, match="no VGPR is possible"):
        fit_individuals(MODEL, possible, rules=CategoryRules(SinghLandmark(cr_limit=0.2)))


# --- command line ---------------------------------------------------------------------------------------


def test_command(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from cartsim.cli.app import app

    data, _ = synthetic_patients(CRB401_DOSES[:4])
    data.to_csv(tmp_path / "data.csv", index=False)
    out = tmp_path / "out"
    words = ["fit-responses", str(tmp_path / "data.csv"), "--draws", "100", "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "4 patients" in result.stdout
    names = {"parameters.csv", "shrinkage.csv", "patients.csv", "categories.csv", "pfs.csv", "fits.json", "fits.png"}
    assert names | {"pfs.png"} == {path.name for path in out.iterdir()}
    assert len(pd.read_csv(out / "parameters.csv")) == 16


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "no example is called 'nowhere'"),
        (["crb401_synthetic", "--progression", "up"], "choose 'nadir' or 'baseline'"),
        (["crb401_synthetic", "--criteria", "cr=5"], "the bins must fall"),
        (["crb401_synthetic", "--error", "lognormal"], "write OUTPUT=KIND"),
        (["crb401_synthetic", "--error", "category=lognormal:add=1"], "lognormal error has no add; it has log"),
        (["crb401_synthetic", "--estimate", "Kexp_max,Kexp_max"], "each once"),
    ],
)
def test_command_refuses_bad_input(words: list[str], message: str, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from cartsim.cli.app import app

    result = CliRunner().invoke(app, ["fit-responses", *words, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_months_of_the_example_are_visits() -> None:
    days = pd.read_csv(example(), comment="#")["time"].unique()
    assert set(np.round(days[days > 28] / MONTH, 3)) <= {2, 3, 4, 5, 6, 9, 12, 15, 18, 21, 24}

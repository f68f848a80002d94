"""Survival estimates against lifelines, R's survival package and published SAS output."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import CensoredData, ecdf

from cartsim.endpoints.survival import (
    Estimate,
    cox,
    hazard_ratio,
    interval_censored,
    kaplan_meier,
    kaplan_meier_by,
    largest_distance,
    log_rank,
)
from cartsim.errors import InputError

lifelines = pytest.importorskip("lifelines")
from lifelines import CoxPHFitter, KaplanMeierFitter  # noqa: E402
from lifelines import datasets as public  # noqa: E402
from lifelines.statistics import logrank_test, multivariate_logrank_test  # noqa: E402
from lifelines.utils import restricted_mean_survival_time  # noqa: E402

NAN = float("nan")


def _larynx() -> tuple:
    d = public.load_larynx()
    return d["time"], d["death"], 1 + d["Stage_II"] + 2 * d["Stage_III"] + 3 * d["Stage_IV"]


def _columns(load: str, time: str, event: str, group: str) -> tuple:
    d = getattr(public, load)()
    return d[time], d[event], d[group]


PUBLIC = {
    "waltons": lambda: _columns("load_waltons", "T", "E", "group"),
    "leukemia": lambda: _columns("load_leukemia", "t", "status", "Rx"),
    "larynx": _larynx,
    "rossi": lambda: _columns("load_rossi", "week", "arrest", "fin"),
    "lung": lambda: _columns("load_lung", "time", "status", "sex"),
    "gbsg2": lambda: _columns("load_gbsg2", "time", "cens", "tgrade"),
}

# R 4.2.2, survival 3.5.3, on the data sets as lifelines ships them:
#   quantile(survfit(Surv(t, e) ~ g, conf.type = "log-log"), c(.25, .5, .75)): quantiles, lower, upper
#   survdiff(Surv(t, e) ~ g)$chisq
#   coxph(Surv(t, e) ~ factor(g), ties = "efron", then "breslow"): coef, se(coef), loglik
#   f = survfit(Surv(t, e) ~ 1, conf.type = "log-log"): print(f, rmean = tau), summary(f, times = tau) at the
#   median time tau
R_QUANTILES = {
    "waltons": {
        "control": ((51, 58, 63), (48, 56, 61), (54, 60, 68)),
        "miR-137": ((15, 26, 29), (9, 19, 26), (22, 29, 36)),
    },
    "leukemia": {0: ((13, 23, NAN), (6, 13, 23), (22, NAN, NAN)), 1: ((4, 8, 12), (1, 4, 8), (5, 11, 22))},
    "larynx": {
        1: ((4.0, 6.5, NAN), (2.4, 4.3, 7.4), (6.0, NAN, NAN)),
        2: ((3.6, 7.0, NAN), (0.2, 3.6, 6.2), (7.0, NAN, NAN)),
        # S ends at exactly 0.25: R takes the middle to the end of follow-up (8.95), SAS and we say NE
        3: ((1.3, 5.0, NAN), (0.3, 1.6, 6.3), (1.9, 7.8, NAN)),
        4: ((0.8, 1.5, 3.6), (0.1, 0.4, 1.0), (1.5, 3.6, NAN)),
    },
    "rossi": {
        0: ((44, NAN, NAN), (35, NAN, NAN), (NAN, NAN, NAN)),
        1: ((NAN,) * 3, (46, NAN, NAN), (NAN,) * 3),
    },
    "lung": {
        1: ((144, 270, 457), (105, 210, 371), (176, 306, 567)),
        2: ((226, 426, 687), (167, 345, 524), (310, 524, 765)),
    },
    "gbsg2": {
        "I": ((1459, NAN, NAN), (982, 1990, NAN), (NAN, NAN, NAN)),
        "II": ((745, 1730, NAN), (629, 1481, 2456), (838, 2018, NAN)),
        "III": ((476, 1337, NAN), (394, 956, 2034), (552, 2034, NAN)),
    },
}
R_CHISQ = {
    "waltons": 122.24912557301,
    "leukemia": 16.792940989217,
    "larynx": 22.762757064648,
    "rossi": 3.8375695765491,
    "lung": 10.326741954886,
    "gbsg2": 21.094434587501,
}
R_COX = {
    "waltons": (
        ([2.05253515449], [0.216974003735], -613.18188201851),
        ([2.05966656906], [0.218885697035], -629.23295975679),
    ),
    "leukemia": (
        ([1.57212514883], [0.412396717709], -85.008424577372),
        ([1.50919141259], [0.409564406367], -86.379622071146),
    ),
    "larynx": (
        (
            [0.0648111567569, 0.6148073242747, 1.7349038166588],
            [0.458427093160, 0.355187058587, 0.419387877424],
            -188.62079071074,
        ),
        (
            [0.0657619001656, 0.6120601144951, 1.7228385906245],
            [0.458442539395, 0.355203597304, 0.419660203866],
            -189.08124164827,
        ),
    ),
    "rossi": (
        ([-0.369069210276], [0.189722436789], -673.46210409214),
        ([-0.368583969081], [0.189722080195], -673.76991602785),
    ),
    "lung": (
        ([-0.53102353762], [0.167178583231], -744.59299902495),
        ([-0.530396574509], [0.167180837386], -744.81818274538),
    ),
    "gbsg2": (
        ([0.871796134842, 1.153747861637], [0.246049900406, 0.261539788470], -1775.9877228871),
        ([0.87162987176, 1.15343493240], [0.246049900337, 0.261540269578], -1776.0631604639),
    ),
}
R_RMEAN = {  # tau, mean, se
    "waltons": (56, 46.60772800216, 1.09894327042),
    "leukemia": (10.5, 8.22606553866, 0.48195294558),
    "larynx": (4, 3.114020149118, 0.139909478442),
    "rossi": (52, 45.854166666667, 0.608509352265),
    "lung": (255.5, 206.96244527196, 4.87985595179),
    "gbsg2": (1084, 899.922836371, 11.261270070),
}
R_AT_TAU = {  # S, se, lower, upper, at risk
    "waltons": (0.4299026499659, 0.0390100048387, 0.3526890048194, 0.5046796092329, 87),
    "leukemia": (0.5654315699293, 0.0772885228882, 0.4016606660380, 0.7001926102038, 21),
    "larynx": (0.5603913864190, 0.0540005170441, 0.4482415413502, 0.6583893422745, 46),
    "rossi": (0.736111111111, 0.021205101981, 0.691859715796, 0.775063183375, 322),
    "lung": (0.5966691802526, 0.0332805844557, 0.5282701773594, 0.6584493651110, 114),
    "gbsg2": (0.6483696519564, 0.0192361210143, 0.6092504684712, 0.6846289732445, 343),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_as_r_survival(name: str) -> None:
    time, event, group = PUBLIC[name]()
    curves = kaplan_meier_by(time, event, group)
    assert list(curves) == list(R_QUANTILES[name])
    for label, curve in curves.items():
        quantiles = [curve.quantile(p) for p in (0.25, 0.5, 0.75)]
        ours = [[q.value for q in quantiles], [q.low for q in quantiles], [q.high for q in quantiles]]
        np.testing.assert_allclose(ours, R_QUANTILES[name][label], rtol=1e-12)
    assert log_rank(time, event, group).statistic == pytest.approx(R_CHISQ[name], rel=1e-9)
    for ties, (coef, std_error, log_likelihood) in zip(("efron", "breslow"), R_COX[name], strict=True):
        fit = hazard_ratio(time, event, group, ties=ties)
        assert fit.converged
        np.testing.assert_allclose(fit.coef, coef, rtol=1e-6)
        np.testing.assert_allclose(fit.std_error, std_error, rtol=1e-6)
        assert fit.log_likelihood == pytest.approx(log_likelihood, rel=1e-9)
    tau, mean, se = R_RMEAN[name]
    whole = kaplan_meier(time, event)
    restricted = whole.restricted_mean(tau)
    assert (restricted.value, restricted.std_error) == pytest.approx((mean, se), rel=1e-9)
    np.testing.assert_allclose(whole.at(tau).iloc[0, 1:].to_list(), R_AT_TAU[name], rtol=1e-9)


def _simulated(kind: str) -> tuple:
    rng = np.random.default_rng(20)
    n = 400
    group = rng.integers(0, 3, n)
    time, cut = rng.exponential(10, n) * (1 + 0.4 * group), rng.exponential(4, n)
    if kind == "ties":
        return np.ceil(time / 4), rng.random(n) < 0.8, group
    return np.minimum(time, cut), time < cut, group  # heavy censoring


ALL = PUBLIC | {kind: lambda kind=kind: _simulated(kind) for kind in ("ties", "heavy censoring")}


@pytest.mark.parametrize("name", ALL)
def test_as_lifelines(name: str) -> None:
    time, event, group = (np.asarray(x) for x in ALL[name]())
    curve = kaplan_meier(time, event)
    theirs = KaplanMeierFitter().fit(time, event)
    np.testing.assert_allclose(curve.survival, theirs.survival_function_.iloc[:, 0], atol=1e-9)
    limits = theirs.confidence_interval_.to_numpy()
    defined = curve.survival > 0
    ours = np.column_stack([curve.low, curve.high])
    np.testing.assert_allclose(ours[defined], limits[defined], atol=1e-9)
    table = theirs.event_table
    np.testing.assert_array_equal(curve.n_risk, table["at_risk"])
    np.testing.assert_array_equal(curve.n_event, table["observed"])
    np.testing.assert_array_equal(curve.n_censored, table["censored"])
    tau = float(np.median(time))
    assert curve.restricted_mean(tau).value == pytest.approx(restricted_mean_survival_time(theirs, tau), rel=1e-6)

    theirs = multivariate_logrank_test(time, group, event)
    ours = log_rank(time, event, group)
    assert ours.statistic == pytest.approx(theirs.test_statistic, rel=1e-6)
    assert ours.pvalue == pytest.approx(theirs.p_value, rel=1e-6)
    labels = np.unique(group)
    two = np.isin(group, labels[:2])
    theirs = logrank_test(
        time[group == labels[0]],
        time[group == labels[1]],
        event[group == labels[0]],
        event[group == labels[1]],
    )
    assert log_rank(time[two], event[two], group[two]).statistic == pytest.approx(theirs.test_statistic, rel=1e-6)

    x = (group != labels[0]).astype(float)
    data = pd.DataFrame({"t": time, "e": event, "x": x})
    theirs = CoxPHFitter().fit(data, "t", "e", fit_options={"precision": 1e-12})
    ours = cox(time, event, {"x": x})
    assert ours.coef[0] == pytest.approx(theirs.params_["x"], abs=1e-6)
    assert ours.std_error[0] == pytest.approx(theirs.standard_errors_["x"], abs=1e-6)


def test_median_and_limits_as_sas_prints_them() -> None:
    # R's kidney data by sex. A published PROC LIFETEST output of them gives 22 (12, 30) and 130 (58, 185).
    days = """
        8 16 23 13 22 28 447 318 30 12 24 245 7 9 511 30 53 196 15 154 7 333 141 8 96 38 149 70 536 25
        17 4 185 177 292 114 22 159 15 108 152 562 402 24 13 66 39 46 12 40 113 201 132 156 34 30 2 25
        130 26 27 58 5 43 152 30 190 5 119 8 54 16 6 78 63 8
    """
    events = "1110111111111111111111101100101011110010111011101101111111111101111011000110"
    sexes = "1122112211221122221122222222221122222222112222221122222211222222222222222211"
    time = np.array(days.split(), dtype=float)
    event, sex = (np.array(list(text), dtype=int) for text in (events, sexes))
    curves = kaplan_meier_by(time, event, sex)
    assert f"{curves[1].median:.0f}" == "22 (12, 30)"
    assert f"{curves[2].median:.0f}" == "130 (58, 185)"
    # survdiff(Surv(time, status) ~ sex, kidney)$chisq; coxph(Surv(time, status) ~ sex, kidney)
    assert log_rank(time, event, sex).statistic == pytest.approx(8.308327595, rel=1e-9)
    fit = hazard_ratio(time, event, sex)
    assert (fit.coef[0], fit.std_error[0]) == pytest.approx((-0.8377329609, 0.2966120306), rel=1e-6)


def test_midpoint_where_survival_stays_at_one_half() -> None:
    # A published PROC LIFETEST output: 89 of 178 have the event by 11.3347, S = 0.5, next event at 11.8275;
    # SAS prints the median 11.5811.
    time = np.concatenate([np.linspace(0.1, 11.2, 86), [11.3018, 11.3018, 11.3347, 11.8275], np.full(88, 20.0)])
    event = np.arange(178) < 90
    curve = kaplan_meier(time, event)
    assert curve.median.value == pytest.approx(11.58110, abs=5e-5)
    assert f"{curve.median:.4f}".startswith("11.5811 (")
    # 5 of 10, although products of fractions do not give 0.5 exactly
    assert kaplan_meier(range(1, 11), np.ones(10)).median.value == 5.5
    assert kaplan_meier([1, 2, 3, 4], [1, 1, 0, 1]).median.value == 3.0  # censored within the flat part


def test_not_estimable_is_shown_as_ne() -> None:
    assert str(kaplan_meier([5, 8, 9], [0, 0, 0]).median) == "NE (NE, NE)"
    assert str(kaplan_meier([5, 8, 9, 10, 11, 12], [1, 0, 0, 0, 0, 0]).median) == "NE (5, NE)"
    partly = kaplan_meier([1, 2, 3, 4, 5, 6, 7, 8], [1, 1, 1, 1, 1, 0, 0, 0])
    assert f"{partly.median:.1f}" == "4.5 (1.0, NE)"  # R: survfit(Surv(1:8, c(1,1,1,1,1,0,0,0)) ~ 1)
    # Where R and SAS part (CAMIS, Comp/r-sas_survival): S ends at exactly 0.5. SAS prints NE for the median
    # and for the rate on day 120; 0.5 (0.184, 0.753) is the rate on day 118.
    time = [54, 75, 77, 84, 87, 92, 103, 105, 112, 118]
    flat = kaplan_meier(time, [1, 1, 1, 1, 1, 0, 0, 0, 0, 0])
    assert np.isnan(flat.median.value)
    rates = flat.at([118, 120])
    assert rates.loc[0, ["survival", "low", "high"]].to_list() == pytest.approx([0.5, 0.184, 0.753], abs=5e-4)
    assert rates.loc[1, ["survival", "low", "high"]].isna().all()
    assert kaplan_meier(time, [1, 1, 1, 1, 1, 0, 0, 0, 0, 1]).at(120)["survival"][0] == 0
    assert f"{Estimate(8.8, 5.6, float('nan')):.1f}" == "8.8 (5.6, NE)"


def test_landmarks_and_numbers_at_risk() -> None:
    curve = kaplan_meier([2, 3, 3, 5, 8], [1, 1, 0, 0, 1])
    table = curve.at([0, 1.9, 2, 4, 8, 9])
    np.testing.assert_allclose(table["survival"], [1, 1, 0.8, 0.6, 0, 0])
    np.testing.assert_allclose(table["low"][:2], [1, 1])
    assert table["low"][4:].isna().all()
    assert table["n_risk"].tolist() == [5, 5, 5, 2, 1, 0]
    assert curve.at_risk([0, 3, 3.1]).tolist() == [5, 4, 2]
    beyond = kaplan_meier([2, 3, 5], [1, 0, 0]).at([4, 5, 6])
    assert beyond["survival"].isna().tolist() == [False, False, True]
    frame = curve.frame()
    assert frame["time"].tolist() == [0, 2, 3, 5, 8]
    assert frame["n_event"].sum() == curve.events == 3


def test_restricted_mean_limits() -> None:
    curve = kaplan_meier([1, 2, 3, 4], [1, 1, 1, 1])
    # R: print(survfit(Surv(1:4, rep(1, 4)) ~ 1), rmean = 3.5): 2.375 (se 0.48)
    mean = curve.restricted_mean(3.5)
    assert mean.value == pytest.approx(2.375)
    assert mean.std_error == pytest.approx(0.48, abs=0.005)
    assert (mean.low + mean.high) / 2 == pytest.approx(mean.value)
    assert curve.restricted_mean(10).value == curve.restricted_mean().value == 2.5
    with pytest.raises(InputError, match="known up to 3"):
        kaplan_meier([1, 3], [1, 0]).restricted_mean(4)


samples = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=40)


@given(samples, st.sampled_from([0.25, 0.5, 0.75]))
@settings(max_examples=150, deadline=None)
def test_kaplan_meier_properties(sample: list, p: float) -> None:
    time, event = (np.array(x) for x in zip(*sample, strict=True))
    curve = kaplan_meier(time, event)
    assert (np.diff(curve.survival) <= 0).all()
    defined = ~np.isnan(curve.low)
    assert (curve.low[defined] <= curve.survival[defined] + 1e-12).all()
    assert (curve.high[defined] >= curve.survival[defined] - 1e-12).all()
    for t in (0, 3, 7.5, 13):
        assert curve.at_risk(t)[0] == (time >= t).sum()
    estimate = curve.quantile(p)
    if not np.isnan(estimate.value):
        assert not estimate.low > estimate.value
        assert not estimate.high < estimate.value
    if event.all():
        np.testing.assert_allclose(curve.survival, [(time > t).mean() for t in curve.times], atol=1e-12)
        if time.max() > 0:
            assert curve.restricted_mean().value == pytest.approx(time.mean())
        assert estimate.value == pytest.approx(np.quantile(time, p, method="averaged_inverted_cdf"))
    scaled = kaplan_meier(time * 3.0, event).quantile(p)
    np.testing.assert_allclose(
        [scaled.value, scaled.low, scaled.high],
        [3 * x for x in (estimate.value, estimate.low, estimate.high)],
    )


@given(samples, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_log_rank_does_not_hang_on_names_or_order(sample: list, seed: int) -> None:
    time, event = (np.array(x) for x in zip(*sample, strict=True))
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, time.size)
    first = log_rank(time, event, group)
    order = rng.permutation(time.size)
    second = log_rank(time[order], event[order], np.array(["b", "c", "a"])[group[order]])
    assert first.df == second.df
    np.testing.assert_allclose(first.statistic, second.statistic, rtol=1e-6, atol=1e-9)


def test_nothing_to_compare_is_an_answer() -> None:
    assert np.isnan(log_rank([1, 2, 3], [1, 1, 0], ["a", "a", "a"]).pvalue)
    assert np.isnan(log_rank([1, 2, 3], [0, 0, 0], ["a", "b", "a"]).pvalue)
    assert np.isnan(log_rank([5, 5, 5], [1, 1, 1], ["a", "b", "a"]).pvalue)
    # a group whose patients all leave before the first event says nothing
    time, event, group = [1, 3, 4, 5, 6], [0, 1, 1, 1, 0], ["x", "a", "b", "a", "b"]
    assert log_rank(time, event, group) == log_rank(time[1:], event[1:], group[1:])


# -------------------------------------------------------------------------------------------------- Cox


def test_cox_with_several_covariates_and_strata() -> None:
    rossi = public.load_rossi()
    columns = rossi[["fin", "age", "race", "wexp", "mar", "paro", "prio"]]
    # R: coxph(Surv(week, arrest) ~ fin + age + race + wexp + mar + paro + prio, rossi)
    fit = cox(rossi["week"], rossi["arrest"], columns)
    coef = [-0.3794221664859, -0.0574377426841, 0.3138997878425, -0.1497956976665, -0.4337038779373]
    coef += [-0.0848710825004, 0.0914970809853]
    std_error = [0.1913794807135, 0.0219994706007, 0.3079927765574, 0.2122242962486, 0.3818680576688]
    std_error += [0.1957566719066, 0.0286485499600]
    np.testing.assert_allclose(fit.coef, coef, rtol=1e-6)
    np.testing.assert_allclose(fit.std_error, std_error, rtol=1e-6)
    table = fit.frame()
    assert table["term"].tolist() == list(columns)
    np.testing.assert_allclose(table["hazard_ratio"], np.exp(coef), rtol=1e-6)
    np.testing.assert_allclose(table["low"], np.exp(np.array(coef) - 1.959963985 * np.array(std_error)), rtol=1e-6)
    assert table["pvalue"][0] == pytest.approx(0.04742, abs=1e-5)
    # R: coxph(Surv(week, arrest) ~ fin + age + strata(race), rossi); survdiff(... ~ fin + strata(race))$chisq
    fit = cox(rossi["week"], rossi["arrest"], rossi[["fin", "age"]], strata=rossi["race"])
    np.testing.assert_allclose(fit.coef, [-0.3390067981538, -0.0716151563538], rtol=1e-6)
    np.testing.assert_allclose(fit.std_error, [0.1902111085910, 0.0209365274393], rtol=1e-6)
    test = log_rank(rossi["week"], rossi["arrest"], rossi["fin"], strata=rossi["race"])
    assert test.statistic == pytest.approx(4.0484965977397, rel=1e-9)


def test_hazard_ratio_against_a_reference() -> None:
    time, event, group = PUBLIC["gbsg2"]()
    fit = hazard_ratio(time, event, group, reference="III")
    assert fit.terms == ("I", "II")
    ratio = fit.hazard_ratio("I")
    assert ratio.value == pytest.approx(np.exp(-1.153747861637), rel=1e-6)
    assert ratio.low < ratio.value < ratio.high < 1
    with pytest.raises(InputError, match="reference 'IV'"):
        hazard_ratio(time, event, group, reference="IV")
    with pytest.raises(InputError, match="term 'III' is not in the fit"):
        fit.hazard_ratio("III")


@pytest.mark.parametrize(
    ("event", "x", "note"),
    [
        ([1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], "did not converge"),
        ([0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0], "no events"),
        ([1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1], "constant"),
    ],
)
def test_cox_that_cannot_be_fitted_says_so(event: list, x: list, note: str) -> None:
    fit = cox([1, 2, 3, 4, 5, 6], event, {"x": x})
    assert not fit.converged
    assert note in fit.note
    assert np.isnan(fit.std_error).all()
    assert "NE" in str(fit.hazard_ratio())


@pytest.mark.parametrize(
    ("time", "x"),
    [(np.arange(1.0, 51), np.arange(1.0, 51)), ([1, 2], [0, 1]), ([1, 2], [1, 0])],
    ids=["fifty times in order", "two patients", "two patients, other way"],
)
def test_cox_says_infinite_of_a_likelihood_without_an_optimum(time, x) -> None:
    fit = cox(time, np.ones(len(x)), {"x": x})
    assert not fit.converged
    assert "infinite" in fit.note
    assert np.isnan(fit.std_error).all()


@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1.0, 1e6, 1e12])
def test_cox_does_not_hang_on_the_unit_of_a_covariate(unit: float) -> None:
    rng = np.random.default_rng(3)
    dose = rng.choice([150.0, 300.0, 450.0], 300)
    time, event = rng.exponential(10 * np.exp(dose / 300)), rng.random(300) < 0.7
    data = pd.DataFrame({"t": time, "e": event, "x": dose / 100})
    theirs = CoxPHFitter().fit(data, "t", "e", fit_options={"precision": 1e-12})
    ours = cox(time, event, {"dose": dose * unit})
    assert ours.converged
    assert ours.coef[0] * unit * 100 == pytest.approx(theirs.params_["x"], rel=1e-7)
    assert ours.std_error[0] * unit * 100 == pytest.approx(theirs.standard_errors_["x"], rel=1e-7)


# ------------------------------------------------------------------------------------- interval censoring


def _turnbull(lower: np.ndarray, upper: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Self-consistent estimate by plain EM on the half-open cells between all end points."""
    cells = np.unique(np.concatenate([lower, upper, np.where(lower == upper, lower - 1e-3, 0.0)]))
    left, right = cells[:-1], cells[1:]
    start = np.where(lower == upper, lower - 1e-3, lower)
    inside = (left[None] >= start[:, None]) & (right[None] <= upper[:, None])
    p = np.full(left.size, 1 / left.size)
    for _ in range(20_000):
        share = inside * p
        p = (share / share.sum(axis=1, keepdims=True)).mean(axis=0)
    return np.array([1 - p[right <= end].sum() for end in ends])


def test_interval_censored_curve_as_r() -> None:
    days = np.array([28.0, 60, 90, 120, 150, 180])
    lower = np.array([0, 0, 28, 28, 28, 60, 60, 60, 90, 90, 120, 120, 28, 60, 150, 180, 180, 120, 75, 130])
    upper = np.array([28, 60, 60, 60, 90, 90, 120, 90, 120, 150, 150, 180, 180, 150, 180, 0, 0, 0, 75, 130.0])
    upper[15:18] = np.inf
    curve = interval_censored(lower, upper)
    # R: survfit(Surv(lower, ifelse(upper == Inf, NA, upper), type = "interval2") ~ 1). Its steps stand
    # inside the intervals; here the value after each.
    r = {28: 0.936096182411, 60: 0.770190184945, 75: 0.515615260743}
    r |= {120: 0.425557130217, 130: 0.188926120737, 180: 0.113313553645}
    ends = dict(zip(curve.times, curve.survival, strict=True))
    for day, survival in r.items():
        assert ends[day] == pytest.approx(survival, abs=1e-4)
    np.testing.assert_allclose(curve.survival, _turnbull(lower, upper, curve.times), atol=1e-5)
    assert (np.diff(curve.survival) <= 0).all()
    assert set(days) <= set(curve.times)
    assert list(curve.frame().columns) == ["time", "survival"]


def test_interval_censored_without_uncertainty_is_kaplan_meier() -> None:
    time, event, _ = PUBLIC["leukemia"]()
    time, event = np.asarray(time, dtype=float), np.asarray(event, dtype=bool)
    curve = interval_censored(time, np.where(event, time, np.inf))
    exact = kaplan_meier(time, event)
    np.testing.assert_allclose(curve.survival, exact.at(curve.times)["survival"], atol=1e-6)
    assert curve.median_interval[1] == exact.median.value


def test_interval_censoring_without_lifelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lifelines", None)
    with pytest.raises(InputError, match=r"pip install \"cartsim\[interval\]\""):
        interval_censored([0, 1], [1, 2])


# --------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kaplan_meier([1, -2], [1, 0]), "time of patient 1 is -2"),
        (lambda: kaplan_meier([1, np.inf], [1, 0]), "time of patient 1 is inf"),
        (lambda: kaplan_meier([NAN, NAN], [1, 0]), "nobody to analyse"),
        (lambda: kaplan_meier([1, 2], [1, 2]), "1 for an event, 0 for censored"),
        (lambda: kaplan_meier([1, 2], [1]), "one length"),
        (lambda: kaplan_meier([1, 2], [1, 1]).quantile(50), "fraction between 0 and 1"),
        (lambda: kaplan_meier([1, 2], [1, 1]).at([-1]), "not negative"),
        (lambda: log_rank([1, 2], [1, 1], ["a", None]), "group of patient 1 is missing"),
        (lambda: log_rank([1, 2], [1, 1], ["a"]), "one label for each of 2 patients"),
        (lambda: cox([1, 2], [1, 1], {"x": ["low", "high"]}), "covariate x is not numeric"),
        (lambda: cox([1, 2], [1, 1], {"x": [1, NAN]}), "one finite number for each of 2 patients"),
        (lambda: cox([1, 2], [1, 1], {}), "no covariates"),
        (lambda: cox([1, 2], [1, 1], {"x": [0, 1]}, ties="exact"), "allowed are 'efron' and 'breslow'"),
        (lambda: interval_censored([3], [2]), "interval 0 is"),
        (lambda: interval_censored([3], [4, 5]), "one length"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_importing_endpoints_is_cheap() -> None:
    code = (
        "import sys; import cartsim.endpoints.survival, cartsim.endpoints.kinetics;"
        "print([m for m in ('pandas', 'scipy.stats', 'statsmodels', 'lifelines') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_largest_distance_is_that_of_scipys_curves():
    rng = np.random.default_rng(5)
    sides = [(np.round(rng.exponential(size, 40), 1) + 0.1, rng.random(40) < 0.7) for size in (6, 11)]
    curves = [kaplan_meier(time, event) for time, event in sides]
    steps = [ecdf(CensoredData(time[event], right=time[~event])).sf for time, event in sides]
    shared = np.arange(0, min(curve.times[-1] for curve in curves) + 0.01, 0.05)
    apart = np.abs(steps[0].evaluate(shared + 1e-9) - steps[1].evaluate(shared + 1e-9))
    far, when = largest_distance(*curves)
    assert far == pytest.approx(apart.max(), abs=1e-12)
    assert when == pytest.approx(shared[np.argmax(apart > apart.max() - 1e-12)], abs=1e-6)
    assert largest_distance(curves[0], curves[0]) == (0.0, 0.0)

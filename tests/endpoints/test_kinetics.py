"""Noncompartmental analysis against hand calculations, a scalar retelling of the rules, and NonCompart."""

from __future__ import annotations

from itertools import pairwise
from math import exp, isnan, log

import numpy as np
import pandas as pd
import pytest
from counting import python_calls
from hypothesis import given, settings
from hypothesis import strategies as st

from cartsim.endpoints import kinetics
from cartsim.endpoints.kinetics import nca, noncompartmental
from cartsim.errors import InputError
from cartsim.schedule import KARMMA_KINETICS, MONTH

NAN = float("nan")
DAYS = KARMMA_KINETICS[:11]  # 2, 4, 7, 9, 11, 14, 21 and months 1 to 4


def one(days: list, values: list, **settings_: object) -> pd.Series:
    return noncompartmental(days, [values], **settings_).iloc[0]


def test_sampling_days_of_karmma() -> None:
    assert KARMMA_KINETICS[:7] == (2, 4, 7, 9, 11, 14, 21)
    assert [day / MONTH for day in KARMMA_KINETICS[7:]] == [1, 2, 3, 4, 5, 6, 9, 12, 15, 18, 21, 24]


# ------------------------------------------------------------------------------------ hand calculations


def down(dt: float, c1: float, c2: float) -> float:
    """Logarithmic trapezoid."""
    return dt * (c1 - c2) / log(c1 / c2)


def test_linear_by_hand() -> None:
    row = one([4, 10, 20, 28], [100, 500, 300, 60], method="linear")
    #                0-4            4-10             10-20             20-28
    assert row["AUC0-28"] == pytest.approx(4 * 50 + 6 * 300 + 10 * 400 + 8 * 180)
    assert (row["Cmax"], row["Tmax_day"], row["expansion_rate"]) == (500, 10, 50)
    assert (row["clast"], row["tlast_day"]) == (60, 28)
    assert row["AUC_flag"] == "observed"


def test_linear_up_log_down_by_hand() -> None:
    row = one([4, 10, 20, 28], [100, 500, 300, 60])
    assert row["AUC0-28"] == pytest.approx(4 * 50 + 6 * 300 + down(10, 500, 300) + down(8, 300, 60))
    level = one([4, 10, 28], [100, 100, 100])  # equal neighbors: nothing falls
    assert level["AUC0-28"] == pytest.approx(4 * 50 + 24 * 100)
    barely = one([4, 10, 28], [100, 100, np.nextafter(100, 0)])  # falls by the last bit
    assert barely["AUC0-28"] == pytest.approx(4 * 50 + 24 * 100)
    between = one([21, MONTH], [249, 249])  # the value interpolated on day 28 may be off by the last bit
    assert between["AUC0-28"] == pytest.approx(21 * 249 / 2 + 7 * 249)


def test_sample_on_day_zero_counts_in_the_area_only() -> None:
    row = one([0, 4, 28], [900, 100, 60])
    assert row["AUC0-28"] == pytest.approx(down(4, 900, 100) + down(24, 100, 60))
    assert (row["Cmax"], row["Tmax_day"]) == (100, 4)
    missed = one([0, 4, 28], [NAN, 100, 60])
    assert missed["AUC0-28"] == pytest.approx(4 * 50 + down(24, 100, 60))


def test_below_the_limit_in_the_middle_by_hand() -> None:
    row = one([4, 10, 14, 28], [200, 49, 300, 60])  # 49 becomes 0: straight down to it and up from it
    assert row["AUC0-28"] == pytest.approx(4 * 100 + 6 * 100 + 4 * 150 + down(14, 300, 60))
    assert one([4, 10, 14, 28], [200, 50, 300, 60])["AUC0-28"] > row["AUC0-28"]  # 50 itself is quantifiable


def test_below_the_limit_at_the_end_by_hand() -> None:
    row = one([4, 10, 21, 35], [200, 800, 400, 0])
    # on day 28, half way between 400 and 0: 200, linearly
    assert row["AUC0-28"] == pytest.approx(4 * 100 + 6 * 500 + down(11, 800, 400) + down(7, 400, 200))
    assert row["AUC_flag"] == "interpolated"
    zero = one([4, 10, 21, 35], [200, 800, 0, 0])
    assert zero["AUC0-28"] == pytest.approx(4 * 100 + 6 * 500 + 11 * 400)
    assert (zero["clast"], zero["tlast_day"]) == (800, 10)


def test_last_sample_after_the_horizon_is_interpolated_by_hand() -> None:
    row = one([10, 21, 35], [800, 400, 100])
    middle = 200  # the geometric mean, half way between
    assert row["AUC0-28"] == pytest.approx(10 * 400 + down(11, 800, 400) + down(7, 400, middle))
    linear = one([10, 21, 35], [800, 400, 100], method="linear")
    assert linear["AUC0-28"] == pytest.approx(10 * 400 + 11 * 600 + 7 * (400 + 250) / 2)
    rising = one([10, 21, 35], [800, 100, 400])  # logarithmic interpolation also where the curve rises
    assert rising["AUC0-28"] == pytest.approx(10 * 400 + down(11, 800, 100) + 7 * (100 + 200) / 2)


def test_last_sample_before_the_horizon_is_extrapolated_by_hand() -> None:
    # exactly exponential from day 10 on: lambda_z is 0.1 whatever the points
    values = [1000 * exp(-0.1 * (t - 10)) for t in (10, 12, 15, 20)]
    row = one([10, 12, 15, 20], values)
    assert row["lambda_z"] == pytest.approx(0.1)
    assert row["half_life_days"] == pytest.approx(log(2) / 0.1)
    assert row["n_lambda"] == 3  # the sample of Cmax does not count
    assert row["AUC0-28"] == pytest.approx(10 * 500 + down(18, 1000, 1000 * exp(-1.8)))
    assert row["AUC_flag"] == "extrapolated"
    # not exponential: the value on day 28 is that of the regression line
    x, y = np.array([12, 15, 20]), np.log([700, 600, 200])
    slope, intercept = np.polyfit(x, y, 1)
    row = one([10, 12, 15, 20], [1000, 700, 600, 200])
    pieces = 10 * 500 + down(2, 1000, 700) + down(3, 700, 600) + down(5, 600, 200)
    assert row["AUC0-28"] == pytest.approx(pieces + down(8, 200, exp(intercept + 28 * slope)))
    assert row["lambda_z"] == pytest.approx(-slope)


def test_extrapolation_after_a_last_sample_below_the_limit_by_hand() -> None:
    # KarMMa: lambda_z serves where day 28 lies after the last number; the zero of day 21 still counts
    values = [1000 * exp(-0.1 * (t - 10)) for t in (10, 12, 15, 18)]
    row = one([10, 12, 15, 18, 21], [*values, 10.0])
    end = 1000 * exp(-1.8)
    area = 10 * 500 + down(8, 1000, values[-1]) + 3 * values[-1] / 2 + 7 * end / 2
    assert row["AUC0-28"] == pytest.approx(area)


@pytest.mark.parametrize(
    ("values", "auc_flag", "lambda_z_flag"),
    [
        ([100, 900, 500, 300, NAN], "no lambda_z", "fewer than 3 points after Cmax"),
        ([100, NAN, NAN, NAN, NAN], "no lambda_z", "fewer than 3 points after Cmax"),
        ([900, 500, 600, 700, NAN], "no lambda_z", "no decline"),
        ([900, 500, 500, 500, NAN], "no lambda_z", "no decline"),
        ([0, 10, 0, 49, NAN], "no lambda_z", "nothing quantifiable"),
        ([NAN] * 5, "no sample", "no sample"),
    ],
)
def test_missing_area_says_why(values: list, auc_flag: str, lambda_z_flag: str) -> None:
    row = one([4, 8, 12, 16, 20], values)
    assert isnan(row["AUC0-28"])
    assert isnan(row["lambda_z"])
    assert row["n_lambda"] == 0
    assert (row["AUC_flag"], row["lambda_z_flag"]) == (auc_flag, lambda_z_flag)


def test_single_point() -> None:
    before = one([11], [4000])
    assert (before["Cmax"], before["Tmax_day"], before["clast"]) == (4000, 11, 4000)
    assert isnan(before["AUC0-28"])
    on_the_day = one([28], [4000])
    assert on_the_day["AUC0-28"] == 28 * 2000
    after = one([35], [4000])  # beside the zero of day 0: linear
    assert after["AUC0-28"] == pytest.approx(28 * 3200 / 2)


def test_nothing_quantifiable() -> None:
    row = one([4, 20, 30], [10, 0, 49])
    assert row["Cmax"] == 0
    assert row["AUC0-28"] == 0
    assert isnan(row["Tmax_day"])
    assert isnan(row["expansion_rate"])
    assert isnan(row["clast"])
    assert row["Cmax_flag"] == "nothing quantifiable"
    none = one([4, 20], [NAN, NAN])
    assert isnan(none["Cmax"])
    assert none["Cmax_flag"] == "no sample"


def test_tmax_is_the_first_of_equal_peaks() -> None:
    assert one([4, 8, 12], [500, 700, 700])["Tmax_day"] == 8


def test_lambda_z_takes_more_points_where_the_fit_is_as_good() -> None:
    exact = [100 * exp(-0.05 * t) for t in (2, 5, 9, 14, 20, 28)]
    assert one([2, 5, 9, 14, 20, 28], exact, lloq=0)["n_lambda"] == 5
    # within 1e-4 of the best adjusted R2, but not best
    nearly = [*exact]
    nearly[1] *= 1.003
    row = one([2, 5, 9, 14, 20, 28], nearly, lloq=0)
    assert row["n_lambda"] == 5
    assert row["r2_adj"] > 1 - 1e-4
    nearly[1] *= 1.3
    assert one([2, 5, 9, 14, 20, 28], nearly, lloq=0)["n_lambda"] == 4


def test_persistence() -> None:
    days = [month * MONTH for month in (1, 5, 6, 9, 12)]
    table = noncompartmental(days, [[900, 80, 60, 0, 0], [900, 80, 20, 0, 70], [900, 80, NAN, 0, NAN]])
    assert table["persistence_6m"].tolist() == [True, False, pd.NA]  # month 5 does not stand in for month 6
    assert table["persistence_12m"].tolist() == [False, True, pd.NA]
    assert one([180, 185], [60, 20])["persistence_6m"] is np.False_  # 185 is nearer to 182.6
    assert table["persistence_6m"].mean() == 0.5
    near = noncompartmental([182.625 - 16, 182.625 + 15], [[60, NAN], [NAN, 60]])  # half a month is 15.2 days
    assert near["persistence_6m"].tolist() == [pd.NA, True]


def test_horizon_names_the_area() -> None:
    row = one([10, 90], [100, 100], horizon=90)
    assert row["AUC0-90"] == pytest.approx(10 * 50 + 80 * 100)


# --------------------------------------------------------------------------- a public implementation

# NonCompart 0.4.9 (R): the formulas of its BestSlope and IntAUC, after values below 50 were set to 0 and
# (0, 0) was put in front; AUC0-28 with down = "Log" and down = "Linear", LAMZ, LAMZNPT, R2ADJ.
PROFILES = {
    "falls to the end": (
        [120, 3000, 45000, 61000, 52000, 30000, 9000, 2600, 300, 90, 0],
        (577257.12306113, 600125.43046358, 0.055251861251405, 3, 0.94760619895098),
    ),
    "below the limit in the middle": (
        [0, 200, 9000, 20000, 30, 8000, 1500, 400, 0, 60, 0],
        (108872.83062342, 115894.37086093, 0.040542561224963, 3, 0.82893228793530),
    ),
    "below the limit at the end, last number after the horizon": (
        [0, 500, 7000, 9000, 4000, 900, 300, 75, 0, 40, 0],
        (51451.121791191, 53815.894039735, 0.15093181372894, 3, 0.99930333003312),
    ),
    # its "Linear" goes over to logarithms after the last number even between samples: not compared
    "below the limit at the end, last number before the horizon": (
        [0, 500, 7000, 9000, 4000, 900, 300, 0, 0, 0, 0],
        (51289.828707705, None, 0.24093621712322, 3, 0.80879965285036),
    ),
    "below the limit at the end, nothing sampled after": (
        [60, 8000, 12000, 5000, 1200, 400, 0, NAN, NAN, NAN, NAN],
        (63022.672933480, 65121.241181336, 0.49417665260068, 3, 0.92872974593002),
    ),
    "last number before the horizon": (
        [100, 20000, 42000, 35000, 16000, 9000, NAN, NAN, NAN, NAN, NAN],
        (307624.20447880, 311291.95955217, 0.26532180352568, 3, 0.91878762672543),
    ),
    "last number on day 21, rises on the way": (
        [100, 1000, 30000, 42000, 12000, 16000, 4000, NAN, NAN, NAN, NAN],
        (289789.20060992, 305301.87288371, 0.12548821010864, 3, 0.54946593247332),
    ),
    "last number after the horizon, samples missed": (
        [NAN, 1000, NAN, 42000, NAN, 16000, NAN, 2500, NAN, 100, NAN],
        (356731.08073594, 398013.30798479, 0.062174738030997, 3, 0.94498054062849),
    ),
    "too few points after Cmax": (
        [100, 1000, 30000, 42000, 35000, 20000, NAN, NAN, NAN, NAN, NAN],
        (NAN, NAN, NAN, 0, NAN),
    ),
    "rising tail": ([100, 50000, 3000, 4000, 5000, 6000, NAN, NAN, NAN, NAN, NAN], (NAN, NAN, NAN, 0, NAN)),
    "single point": ([NAN, NAN, NAN, NAN, 4000, NAN, NAN, NAN, NAN, NAN, NAN], (NAN, NAN, NAN, 0, NAN)),
    "nothing quantifiable": ([0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0], (0, 0, NAN, 0, NAN)),
}


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_as_noncompart(name: str) -> None:
    values, (area_log, area_linear, lambda_z, points, r2_adj) = PROFILES[name]
    row = one(DAYS, values)
    expected = (area_log, lambda_z, points, r2_adj)
    ours = (row["AUC0-28"], row["lambda_z"], row["n_lambda"], row["r2_adj"])
    assert ours == pytest.approx(expected, rel=1e-10, nan_ok=True)
    if area_linear is not None:
        linear = one(DAYS, values, method="linear")["AUC0-28"]
        assert linear == pytest.approx(area_linear, rel=1e-10, nan_ok=True)


# R's Theoph: hours, mg/L. NonCompart 0.4.9 as above, AUC0-24 (subject 10 was last sampled at 23.7 h).
THEOPH = {
    1: (
        [0, 0.25, 0.57, 1.12, 2.02, 3.82, 5.1, 7.03, 9.05, 12.12, 24.37],
        [0.74, 2.84, 6.57, 10.5, 9.66, 8.58, 8.36, 7.47, 6.89, 5.94, 3.28],
        (146.0101988926492, 147.6945865714286, 0.0484569969658, 3, 0.9999994593500),
    ),
    2: (
        [0, 0.27, 0.52, 1, 1.92, 3.5, 5.02, 7.03, 9, 12, 24.3],
        [0, 1.72, 7.91, 8.31, 8.33, 6.85, 6.08, 5.4, 4.55, 3.01, 0.9],
        (88.457260922376, 91.249080487805, 0.104086443688, 4, 0.995793082426),
    ),
    9: (
        [0, 0.3, 0.63, 1.05, 2.02, 3.53, 5.02, 7.17, 8.8, 11.6, 24.43],
        [0, 7.37, 9.03, 7.14, 6.33, 5.66, 5.67, 4.24, 4.11, 3.16, 1.12],
        (83.4473671297417, 85.8298502338270, 0.0824586341803, 3, 0.9988873296457),
    ),
    10: (
        [0, 0.37, 0.77, 1.02, 2.05, 3.55, 5.05, 7.08, 9.38, 12.1, 23.7],
        [0.24, 2.89, 5.22, 6.41, 7.83, 10.21, 9.18, 8.02, 7.14, 5.68, 2.42],
        (136.2930353204155, 139.0850652233682, 0.0749598237758, 3, 0.9990173677229),
    ),
}


@pytest.mark.parametrize("subject", THEOPH)
def test_theophylline_as_noncompart(subject: int) -> None:
    times, values, (area_log, area_linear, lambda_z, points, r2_adj) = THEOPH[subject]
    row = one(times, values, lloq=0, horizon=24)
    ours = (row["AUC0-24"], row["lambda_z"], row["n_lambda"], row["r2_adj"])
    assert ours == pytest.approx((area_log, lambda_z, points, r2_adj), rel=1e-10)
    linear = one(times, values, lloq=0, horizon=24, method="linear")["AUC0-24"]
    assert linear == pytest.approx(area_linear, rel=1e-10)


def test_theophylline_as_published() -> None:
    # Subject 1 as WinNonlin prints it: AUClast 148.923, half-life 14.304
    times, values, _ = THEOPH[1]
    row = one(times, values, lloq=0, horizon=24.37, method="linear")
    assert row["AUC0-24.37"] == pytest.approx(148.923, abs=5e-4)
    assert row["half_life_days"] == pytest.approx(14.304, abs=5e-4)


# --------------------------------------------------------------------------- the rules once more, one by one


def scalar(days: list, values: list, lloq: float, method: str, horizon: float) -> dict:
    """NCA of one patient told plainly from the published rules."""
    seen = [(t, 0.0 if c < lloq else c) for t, c in zip(days, values, strict=True) if not isnan(c)]
    after = [(t, c) for t, c in seen if t > 0]
    out = dict.fromkeys(("Cmax", "Tmax_day", "AUC", "lambda_z", "r2_adj"), NAN) | {"n_lambda": 0}
    if not after:
        return out
    out["Cmax"] = max(c for _, c in after)
    if out["Cmax"] > 0:
        out["Tmax_day"] = next(t for t, c in after if c == out["Cmax"])
    tail = [(t, log(c)) for t, c in after if c > 0 and t > out["Tmax_day"]]
    fits = []
    for k in range(3, len(tail) + 1):
        x, y = np.array(tail[-k:]).T
        slope, intercept = np.polyfit(x, y, 1)
        if slope < -1e-12:
            r2 = np.corrcoef(x, y)[0, 1] ** 2
            fits.append((1 - (1 - r2) * (k - 1) / (k - 2), k, slope, intercept))
    if fits:
        best = max(fits)[0]
        out["r2_adj"], out["n_lambda"], slope, intercept = max(
            (fit for fit in fits if fit[0] > best - 1e-4), key=lambda fit: fit[1]
        )
        out["lambda_z"] = -slope

    def piece(t1: float, c1: float, t2: float, c2: float, way: str) -> float:
        if way == "linear-log" and c1 > c2 * (1 + 1e-9) > 0:  # the quotient below loses all digits at c1 = c2
            return (t2 - t1) * (c1 - c2) / log(c1 / c2)
        return (t2 - t1) * (c1 + c2) / 2

    points = seen if seen[0][0] == 0 else [(0.0, 0.0), *seen]
    inside = [point for point in points if point[0] <= horizon]
    area = sum(piece(*a, *b, method) for a, b in pairwise(inside))
    (t1, c1), beyond = inside[-1], [point for point in points if point[0] > horizon]
    if t1 < horizon and beyond:
        t2, c2 = beyond[0]
        part = (horizon - t1) / (t2 - t1)
        logarithmic = method == "linear-log" and c1 > 0 and c2 > 0
        c = exp(log(c1) * (1 - part) + log(c2) * part) if logarithmic else c1 * (1 - part) + c2 * part
        area += piece(t1, c1, horizon, c, method)
    elif t1 < horizon:
        area = area + piece(t1, c1, horizon, exp(intercept + slope * horizon), "linear-log") if fits else NAN
    out["AUC"] = area
    return out


level = st.one_of(st.just(NAN), st.just(0.0), st.floats(1, 1e6))
profiles = st.lists(level, min_size=20, max_size=20)


@given(st.lists(profiles, min_size=1, max_size=4), st.sampled_from(["linear-log", "linear"]), st.integers(0, 12))
@settings(max_examples=200, deadline=None)
def test_all_at_once_as_one_by_one(patients: list, method: str, stop: int) -> None:
    days = [0.0, *KARMMA_KINETICS]
    for values in patients:
        values[20 - stop :] = [NAN] * stop
    table = noncompartmental(days, patients, method=method)
    for (_, row), values in zip(table.iterrows(), patients, strict=True):
        expected = scalar(days, values, 50.0, method, 28.0)
        if row["lambda_z_flag"] == "no decline" or row["lambda_z"] < 1e-9:
            continue  # flat to rounding: either answer will do
        ours = {name: row["AUC0-28" if name == "AUC" else name] for name in expected}
        assert ours == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True)


@given(profiles, st.floats(0.01, 100))
@settings(max_examples=60, deadline=None)
def test_units_do_not_matter(values: list, factor: float) -> None:
    days = [0.0, *KARMMA_KINETICS]
    one_unit, other = (
        one(days, values),
        one(days, [c * factor for c in values], lloq=50 * factor * (1 - 1e-12)),
    )
    for name, scale in (("Cmax", factor), ("AUC0-28", factor), ("clast", factor), ("Tmax_day", 1), ("tlast_day", 1)):
        assert other[name] == pytest.approx(one_unit[name] * scale, rel=1e-6, nan_ok=True)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    values = np.exp(rng.normal(6, 2, (50, len(DAYS))))
    values[rng.random(values.shape) < 0.2] = NAN
    whole = noncompartmental(DAYS, values)
    monkeypatch.setattr(kinetics, "BLOCK", 7)
    pd.testing.assert_frame_equal(noncompartmental(DAYS, values), whole)
    assert len(noncompartmental(DAYS, np.empty((0, len(DAYS))))) == 0


def test_arguments_are_left_as_they_were() -> None:
    values = np.full((2, 3), 10.0)
    noncompartmental([1, 2, 3], values)
    assert (values == 10).all()


def test_a_hundred_thousand_patients_are_no_hundred_thousand_calls() -> None:
    values = np.exp(np.random.default_rng(0).normal(6, 2, (100_000, len(KARMMA_KINETICS))))
    with python_calls() as calls:
        noncompartmental(KARMMA_KINETICS, values)
    assert calls.n < 20_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"days": [1, 2]}, "a day for each sample"),
        ({"transgene": [1, 2, 3]}, "patients x samples"),
        ({"days": [1, 1, 2]}, "must increase"),
        ({"days": [-1, 1, 2]}, "not negative"),
        ({"transgene": [[1, -5, 3]]}, "patient 0, sample 1 is -5"),
        ({"transgene": [[1, 5, np.inf]]}, "patient 0, sample 2 is inf"),
        ({"days": [[1, 2, NAN]]}, "with a day each"),
        ({"method": "log"}, "allowed are 'linear-log' and 'linear'"),
        ({"horizon": 0}, "horizon is 0"),
        ({"lloq": -1}, "lloq is -1"),
    ],
)
def test_bad_input(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        noncompartmental(**({"days": [1, 2, 3], "transgene": [[1, 2, 3]]} | arguments))


# ------------------------------------------------------------------------------------------ users' tables


def tidy(**columns: list) -> pd.DataFrame:
    table = {"id": ["a", "a", "a", "b", "b"], "time": [2, 9, 30, 5, 40], "value": [100, 900, 60, 70, 300]}
    return pd.DataFrame(table | columns)


def test_table_with_times_of_each_patients_own() -> None:
    result = nca(tidy())
    assert result["id"].tolist() == ["a", "b"]
    for i, (days, values) in enumerate([([2, 9, 30], [100, 900, 60]), ([5, 40], [70, 300])]):
        pd.testing.assert_series_equal(
            result.iloc[i].drop("id"), one(days, values).drop("id"), check_names=False, check_dtype=False
        )


def test_table_may_mix_patients_and_hold_text_numbers() -> None:
    order = [3, 0, 1, 4, 2]
    mixed = tidy().iloc[order].astype(str)
    result = nca(mixed)
    assert result["id"].tolist() == ["b", "a"]
    expected = nca(tidy()).iloc[[1, 0]].reset_index(drop=True)
    pd.testing.assert_frame_equal(result, expected)
    pd.testing.assert_frame_equal(nca(tidy(value=[100, 900, "<50", 70, 300])), nca(tidy(value=[100, 900, 0, 70, 300])))
    assert len(nca(tidy(unit=["copies/ug"] * 5))) == 2


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"time": [2, 30, 9, 5, 40]}, "row 3 .*sort"),
        ({"time": [2, 9, 9, 5, 40]}, "row 3 .*repeats"),
        ({"value": [100, -900, 60, 70, 300]}, "row 2 .*negative"),
        ({"value": [100, 900, "<60", 70, 300]}, "row 3 .*'<60' is below a limit above the lloq of 50"),
        ({"value": [100, 900, 60, None, 300]}, "row 4 .*missing; write 0"),
        ({"value": [100, 900, 60, np.inf, 300]}, "row 4 .*not finite"),
        ({"time": [2, 9, 30, 5, ""]}, "row 5 .*missing"),
        ({"time": [-3, 9, 30, 5, 40]}, "row 1 .*negative"),
        ({"time": ["day 2", 9, 30, 5, 40]}, "row 1 .*not a number"),
        ({"id": ["a", "a", None, "b", "b"]}, "row 3 .*no id"),
        ({"unit": ["copies/ug"] * 4 + ["copies/mL"]}, "row 5 .*convert to one unit"),
    ],
)
def test_bad_tables_name_the_row(columns: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        nca(tidy(**columns))


def test_tables_without_columns_or_rows() -> None:
    with pytest.raises(InputError, match="no column value"):
        nca(tidy().drop(columns="value"))
    with pytest.raises(InputError, match="no rows"):
        nca(tidy().iloc[:0])


def test_rounding_is_no_decline() -> None:
    """The values after Cmax rise as they fall: the slope is 0 but for rounding, no half-life of 8e17 days."""
    row = one([2, 5, 547.9, 639.2, 730.5], [100, 500, 100, 200, 100])
    assert row["lambda_z_flag"] == "no decline"
    assert isnan(row["half_life_days"])
    slow = one([5, 100, 200, 300], [500, 100, 99.99, 99.98])  # a true decline, however slow, stays one
    assert slow["lambda_z"] == pytest.approx(1e-6, rel=1e-3)


def test_a_last_zero_may_end_the_area() -> None:
    values = [1000 * exp(-0.1 * (t - 10)) for t in (10, 12, 15, 18)]
    area = noncompartmental([10, 12, 15, 18, 21], [[*values, 10.0]], after_blq="zero")["AUC0-28"][0]
    assert area == pytest.approx(10 * 500 + down(8, 1000, values[-1]) + 3 * values[-1] / 2)
    with pytest.raises(InputError, match="after_blq is 'none'"):
        noncompartmental([10, 12], [[1.0, 2.0]], after_blq="none")

"""Cumulative incidence: lifelines, statsmodels, the binomial distribution."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import AalenJohansenFitter
from statsmodels.duration.survfunc import CumIncidenceRight

from cartsim.endpoints.incidence import cumulative_incidence
from cartsim.endpoints.survival import kaplan_meier
from cartsim.errors import InputError


def causes(codes: np.ndarray) -> pd.Categorical:
    return pd.Categorical.from_codes(codes, ["progression", "death"])


def test_untied_times_as_lifelines_has_them() -> None:
    rng = np.random.default_rng(2)
    time, codes = rng.exponential(10, 150), rng.integers(-1, 2, 150)
    found = cumulative_incidence(time, causes(codes))
    for code, cause in enumerate(found.events):
        theirs = AalenJohansenFitter().fit(time, codes + 1, code + 1)
        expected = theirs.cumulative_density_.iloc[:, 0]
        at = np.searchsorted(found.times, expected.index, side="right") - 1
        assert found.incidence[cause][at] == pytest.approx(expected.to_numpy(), abs=1e-10)
        assert found.std_error[cause][at] ** 2 == pytest.approx(theirs.variance_.to_numpy(float), abs=1e-8)
        limits = theirs.confidence_interval_.to_numpy(float)
        known = np.isfinite(limits).all(axis=1) & (expected.to_numpy() > 0)
        assert found.low[cause][at][known] == pytest.approx(limits[known].min(axis=1), abs=1e-6)
        assert found.high[cause][at][known] == pytest.approx(limits[known].max(axis=1), abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(5, 80))
def test_tied_times_as_statsmodels_has_them(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    time, codes = rng.integers(1, 9, n).astype(float), rng.integers(-1, 2, n)
    codes[:2] = (0, 1)  # statsmodels counts the causes by their highest code
    found = cumulative_incidence(time, causes(codes))
    theirs = CumIncidenceRight(time, codes + 1)
    at = np.searchsorted(found.times, theirs.times)
    for k, cause in enumerate(found.events):
        assert found.incidence[cause][at] == pytest.approx(theirs.cinc[k])
        known = np.isfinite(theirs.cinc_se[k])
        assert found.std_error[cause][at][known] == pytest.approx(theirs.cinc_se[k][known], abs=1e-9)
    total = sum(found.incidence.values())
    assert 1 - total == pytest.approx(kaplan_meier(time, codes >= 0).survival, abs=1e-12)
    for cause, share in found.incidence.items():
        assert (np.diff(share) >= 0).all()
        assert ((found.low[cause] <= share) & (share <= found.high[cause])).all()


def test_without_censoring_it_is_a_proportion() -> None:
    rng = np.random.default_rng(7)
    time, codes = rng.integers(1, 6, 60).astype(float), rng.integers(0, 2, 60)
    found = cumulative_incidence(time, causes(codes))
    for k, t in enumerate(found.times):
        p = np.mean((time <= t) & (codes == 0))
        assert found.incidence["progression"][k] == pytest.approx(p)
        assert found.std_error["progression"][k] == pytest.approx(np.sqrt(p * (1 - p) / 60), abs=1e-12)


def test_one_cause_is_one_minus_kaplan_meier() -> None:
    time, event = np.array([1.0, 2, 2, 3, 4, 5]), np.array([1, 0, 1, 1, 0, 1], bool)
    found = cumulative_incidence(time, pd.Categorical.from_codes(np.where(event, 0, -1), ["death"]))
    curve = kaplan_meier(time, event)
    assert found.incidence["death"] == pytest.approx(1 - curve.survival)
    assert found.std_error["death"][:-1] == pytest.approx(curve.std_error[:-1])


def test_at_a_time() -> None:
    found = cumulative_incidence([1.0, 2.0, 3.0, np.nan], causes(np.array([0, 1, -1, -1])))
    assert found.n == 3
    assert found.at(2.5)["incidence"].tolist() == pytest.approx([1 / 3, 1 / 3])
    assert found.at(0)["incidence"].tolist() == [0, 0]
    assert found.at(4)["incidence"].isna().all()
    with pytest.raises(InputError, match="not negative"):
        found.at(-1)
    with pytest.raises(InputError, match=r"pandas\.Categorical"):
        cumulative_incidence([1.0], ["death"])

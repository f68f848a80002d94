"""Landmark analysis: lifelines on the patients at risk, and no head start for those who respond late."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from lifelines.statistics import multivariate_logrank_test

from cartsim.endpoints.landmarks import landmark_analysis
from cartsim.endpoints.survival import log_rank
from cartsim.errors import InputError


def test_curves_are_those_of_the_patients_at_risk() -> None:
    rng = np.random.default_rng(3)
    time, event = rng.exponential(12, 200), rng.random(200) < 0.7
    group = pd.Categorical.from_codes(rng.integers(-1, 3, 200), ["low", "middle", "high"])
    found = landmark_analysis(time, event, group, 4.0)
    assert found.ended == (time <= 4).sum()
    kept = (time > 4) & ~pd.isna(group)
    for name, curve in found.curves.items():
        own = kept & (np.asarray(group) == name)
        theirs = KaplanMeierFitter().fit(time[own] - 4, event[own]).survival_function_.iloc[:, 0]
        assert curve.survival == pytest.approx(theirs.to_numpy())
    expected = multivariate_logrank_test(time[kept] - 4, np.asarray(group)[kept], event[kept])
    assert found.logrank.pvalue == pytest.approx(expected.p_value)
    table = found.frame()
    assert table["group"].tolist() == ["low", "middle", "high"]
    assert table["n"].sum() == kept.sum()


def test_late_responders_have_no_head_start() -> None:
    """Response has no influence on progression here; only who progresses late lives to respond."""
    rng = np.random.default_rng(11)
    n = 2000
    progression, response = rng.exponential(10, n), rng.exponential(10, n)
    event = np.ones(n, bool)
    ever = response < progression
    assert log_rank(progression, event, ever).pvalue < 1e-50
    by_then = pd.Categorical.from_codes((ever & (response <= 6)).astype(int), ["no", "yes"])
    assert landmark_analysis(progression, event, by_then, 6.0).logrank.pvalue > 0.05


def test_bad_landmarks_are_refused() -> None:
    group = pd.Categorical(["a", "b"])
    with pytest.raises(InputError, match="nobody is at risk at month 9"):
        landmark_analysis([3.0, 9.0], [True, True], group, 9.0)
    with pytest.raises(InputError, match="give a month"):
        landmark_analysis([3.0, 9.0], [True, True], group, -1.0)

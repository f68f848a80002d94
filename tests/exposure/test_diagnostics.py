"""Diagnostics against scipy, definitions and R."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, mannwhitneyu

from cartsim.errors import InputError
from cartsim.exposure.diagnostics import hosmer_lemeshow, likelihood_ratio, roc
from cartsim.exposure.logistic import fit_linear


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 80)
    return y, np.round(rng.standard_normal(80) + y, 1)  # with ties


def test_area_and_its_error_by_definition(scores):
    y, s = scores
    cases, controls = s[y == 1], s[y == 0]
    wins = (cases[:, None] > controls) + 0.5 * (cases[:, None] == controls)
    found = roc(y, s).auc
    assert found.value == pytest.approx(mannwhitneyu(cases, controls).statistic / wins.size)
    variance = np.var(wins.mean(axis=1), ddof=1) / len(cases) + np.var(wins.mean(axis=0), ddof=1) / len(controls)
    assert found.std_error == pytest.approx(np.sqrt(variance))
    assert found.high - found.low == pytest.approx(2 * 1.959964 * np.sqrt(variance), rel=1e-6)


def test_the_curve_begins_at_none_and_ends_at_all_and_has_that_area(scores):
    found = roc(*scores)
    ends = found.frame.iloc[[0, -1]]
    assert ends["sensitivity"].tolist() == [0, 1] and ends["specificity"].tolist() == [1, 0]
    area = np.trapezoid(found.frame["sensitivity"], 1 - found.frame["specificity"])
    assert area == pytest.approx(found.auc.value)
    perfect = roc([0, 0, 1, 1], [1, 2, 3, 4]).auc
    assert (perfect.value, perfect.low, perfect.high) == (1, 1, 1)


def test_hosmer_lemeshow_by_definition():
    rng = np.random.default_rng(8)
    p = rng.uniform(0.05, 0.95, 500)
    y = rng.random(500) < p
    found = hosmer_lemeshow(y, p)
    data = pd.DataFrame({"y": y, "p": p, "g": pd.qcut(p, 10, labels=False)}).groupby("g")
    n, o, e = data.size(), data["y"].sum(), data["p"].sum()
    statistic = ((o - e) ** 2 / e + ((n - o) - (n - e)) ** 2 / (n - e)).sum()
    assert found.test.statistic == pytest.approx(statistic) and found.test.df == 8
    assert found.test.p == pytest.approx(chi2.sf(statistic, 8))
    assert found.table["observed"].sum() == y.sum() and found.table["n"].sum() == 500
    assert hosmer_lemeshow(y, np.sqrt(p)).test.p < 1e-6  # a model that is wrong


def test_likelihood_ratio_of_models_of_the_same_patients(scores):
    y, s = scores
    data = pd.DataFrame({"y": y, "x": np.exp(s), "z": np.arange(80) % 3})
    larger, smaller = fit_linear(data, "y", "x", ["z"]), fit_linear(data, "y", "x")
    test = likelihood_ratio(larger, smaller)
    assert test.p == pytest.approx(chi2.sf(2 * (larger.loglik - smaller.loglik), 1))
    with pytest.raises(InputError, match="larger model first"):
        likelihood_ratio(smaller, larger)
    with pytest.raises(InputError, match="same patients"):
        likelihood_ratio(larger, fit_linear(data.iloc[1:], "y", "x"))


def test_bad_input_is_named():
    with pytest.raises(InputError, match="1 in all 3"):
        roc([1, 1, 1], [1, 2, 3])
    with pytest.raises(InputError, match="shapes"):
        roc([1, 0], [1, 2, 3])
    with pytest.raises(InputError, match="groups"):
        hosmer_lemeshow([1, 0, 1, 0], [0.5, 0.5, 0.5, 0.5])

"""KarMMa's published model and the surrogates give what the paper gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

import cartsim as cs
from cartsim.exposure.data import exposure_data
from cartsim.exposure.published import (
    population_rate,
    published,
    published_models,
    published_predictions,
    published_rates,
    reference_auc,
)


def test_the_surrogates_and_the_published_model_return_the_published_rates():
    table = published_predictions().set_index(["model", "dose"])
    for name in ("ORR_surrogate", "tocilizumab_surrogate"):
        assert (table.loc[name, "difference"].abs() < 1).all()
        assert (table.loc[name, "kind"] == "surrogate").all() and table.loc[name, "title"].str.contains(
            "surrogate"
        ).all()
    assert table.loc["ORR_surrogate", "published"].tolist() == [59.7, 72.7, 78.3]
    assert table.loc["tocilizumab_surrogate", "published"].tolist() == [43.2, 51.1, 53.9]
    crr = table.loc["CRR"].iloc[0]
    assert crr["published"] == 100 * 42 / 128 and crr["low"] < crr["percent"] < crr["high"]


def test_rates_of_the_population_are_integrals():
    def rate(shift):
        return quad(lambda z: expit(-9.81 + 0.67 * (np.log(3e6) + 1.24 * z) + shift) * norm.pdf(z), -9, 9)[0]

    assert population_rate(published("CRR")) == pytest.approx(0.64 * rate(-1.68) + 0.36 * rate(0), rel=1e-9)
    with pytest.raises(cs.InputError, match="no published exposure-response model 'CR'; did you mean CRR"):
        published("CR")


def test_a_trial_reports_crs_requiring_tocilizumab_by_the_surrogate():
    frame = {"auc028": [1e6, 3e6, 9e6, np.nan], "dose": [300e6, 310e6, 450e6, 300e6], "arm": ["a", "a", "b", "b"]}
    data = exposure_data(frame)
    assert reference_auc(data)[0] == 2e6
    table = published_rates(data).set_index(["model", "arm"])
    found = table.loc["tocilizumab_surrogate"]
    assert found["n"].tolist() == [2, 1, 3] and (found["kind"] == "surrogate").all()
    assert found["percent"]["b"] == pytest.approx(100 * expit(0.015 + 0.42 * np.log(4.5)))
    assert "CRR" not in table.index  # M-protein is not known
    more = exposure_data({**frame, "M0": [5, 20, 20, 20]})
    assert "CRR" in set(published_rates(more)["model"])
    assert reference_auc(exposure_data(pd.DataFrame({"auc028": [4.0], "dose": [100e6]})))[0] == pytest.approx(12)
    for model in published_models().values():
        with pytest.raises(cs.InputError):
            model.probability(1e6)  # the reference or a covariate is missing

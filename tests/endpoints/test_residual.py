"""Residual disease by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from cartsim.endpoints.censoring import TimeToEvent
from cartsim.endpoints.residual import residual_disease
from cartsim.endpoints.rules import Response
from cartsim.errors import InputError
from cartsim.schedule import MONTH

NAN = np.nan
DAYS = MONTH * np.array([1.0, 6.0, 12.0, 18.0])
CR, PR, PD = Response.CR, Response.PR, Response.PD

# cells per 1e5, response held, PFS in months and event, then: first negative month, sustained, loss in months and event
CASES = {
    "sustained, then lost": ([5, 0.5, 0.5, 0.5], [PR, CR, CR, CR], (18, False), (6, True, 12, False)),
    "a visit missed": ([5, 0.5, NAN, 0.5], [PR, CR, CR, CR], (18, False), (6, True, 12, False)),
    "positive between": ([0.5, 3, 0.5, 0.5], [CR, CR, CR, CR], (18, False), (1, False, 5, True)),
    "eleven months": ([0.5, 0.5, 0.5, 2.0], [CR, CR, CR, CR], (18, False), (1, False, 17, True)),
    "not in CR": ([0.5, 0.5, 0.5, 0.5], [PR, PR, PR, PR], (18, False), (NAN, False, NAN, False)),
    "progression": ([0.5, 0.5, 0.5, 0.5], [CR, CR, PD, PD], (12, True), (1, False, 11, True)),
    "at the limit": ([1.0, 1.0, 1.0, 1.0], [CR, CR, CR, CR], (18, False), (NAN, False, NAN, False)),
    "negative after censoring": ([5, 5, 0.5, 0.5], [CR, CR, CR, CR], (6, False), (12, False, NAN, False)),
    "censored at the last assessment": ([0.5, 0.5, NAN, NAN], [CR, CR, CR, CR], (18, False), (1, False, 5, False)),
}


@pytest.mark.parametrize("name", CASES)
def test_by_hand(name: str) -> None:
    cells, held, (end, event), (first, sustained, time, lost) = CASES[name]
    pfs = TimeToEvent(np.array([MONTH * end]), np.array([event]), pd.Categorical(["any"]))
    found = residual_disease([cells], DAYS, [held], pfs)
    np.testing.assert_allclose(found.negative_day / MONTH, [first])
    assert found.sustained.tolist() == [sustained]
    np.testing.assert_allclose(found.loss.time, [time])
    assert found.loss.event.tolist() == [lost]


def test_shares_are_of_those_assessed() -> None:
    cells = np.array([[0.5, 0.5], [0.5, NAN], [3.0, NAN], [NAN, NAN]])
    held = np.array([[CR, CR], [PR, CR], [CR, CR], [CR, CR]])
    pfs = TimeToEvent(np.full(4, 400.0), np.zeros(4, bool), pd.Categorical(["no event"] * 4))
    table = residual_disease(cells, DAYS[:2], held, pfs).by_visit()
    assert table[["n", "assessed", "CR", "negative", "negative_in_CR"]].to_numpy().tolist() == [
        [4, 3, 2, 2, 1],
        [4, 1, 1, 1, 1],
    ]
    low, high = proportion_confint(1, 3, method="wilson")
    assert table.loc[0, ["percent", "low", "high"]].tolist() == pytest.approx([100 / 3, 100 * low, 100 * high])
    nobody = residual_disease(np.full((4, 1), NAN), DAYS[:1], held[:, :1], pfs).by_visit()
    assert nobody[["percent", "low", "high"]].isna().all(axis=None)


def test_another_limit_and_bad_ones() -> None:
    pfs = TimeToEvent(np.array([400.0]), np.array([False]), pd.Categorical(["no event"]))
    strict = residual_disease([[0.5, 0.05]], DAYS[:2], [[CR, CR]], pfs, limit=1e-6)
    assert strict.negative.tolist() == [[False, True]]
    with pytest.raises(InputError, match="sensitivity is 5"):
        residual_disease([[0.5, 0.05]], DAYS[:2], [[CR, CR]], pfs, limit=5)
    with pytest.raises(InputError, match="do not fit"):
        residual_disease([[0.5, 0.05]], DAYS, [[CR, CR]], pfs)

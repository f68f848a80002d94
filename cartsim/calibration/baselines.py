"""What one would predict of a trial without a model: from what another trial published.

* Shares: what the other trial found of the same endpoint in the same kind of patients, k of n, makes the probability
  Beta(k + 1/2, n - k + 1/2), and the count of the new trial beta-binomial. Arms are put together: the row of the other
  trial with most patients is taken.
* Times: the logarithm of the other trial's median is taken as normal, with the standard error of its limits, and the
  new trial's median about it with that of an exponential survival of as many patients, 1/(ln(2) sqrt(n)).

A row without a counterpart in the other trial is not predicted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.calibration.prediction import TIMES, Prediction, scored
from cartsim.calibration.rows import Z, half_width
from cartsim.errors import InputError, check_count, check_seed
from cartsim.trial.published import PublishedTrial, Row, published

if TYPE_CHECKING:
    from pathlib import Path


def baseline(
    trial: str | Path | PublishedTrial,
    other: str | Path | PublishedTrial,
    *,
    draws: int = TIMES,
    seed: int = 2021,
    name: str | None = None,
) -> Prediction:
    """A prediction of a trial without a model, from the published rows of another one.

    Parameters
    ----------
    trial, other
        As for `published`: the one that is predicted, and the one that is known.
    draws, seed
        Of what the trial would have published.
    name
        What the prediction is called.

    Raises
    ------
    InputError
        As `published`, and where no row has a counterpart.

    Examples
    --------
    >>> import cartsim as cs
    >>> found = cs.baseline("karmma", "crb401").frame.set_index("id")
    >>> bool(80 < found.loc["ORR_all", "predicted"] < 90)
    True
    """
    import pandas as pd

    check_count(draws, f"{draws} draws")
    check_seed(seed)
    known, told = published(other), published(trial)
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    for row in told.rows:
        twin = _twin(row, known) if row.role != "context" and row.n else None
        if twin is not None:
            found[row.id] = (
                _shares(row, twin, rng, draws) if row.statistic == "share" else _times(row, twin, rng, draws)
            )
    if not found:
        raise InputError(f"{known.name} has no row that {told.name} has too; take another trial")
    made = {"model": "none", "trial": told.name, "from": known.name, "from_digest": known.digest, "draws": int(draws)}
    return scored(name or f"counts of {known.name}", told, pd.DataFrame(found), made | {"seed": int(seed)})


def _twin(row: Row, known: PublishedTrial) -> Row | None:
    """The row of the other trial that is of the same endpoint and subset, the one of most patients."""
    same = ("endpoint", "statistic", "subset", "month", "limit")
    rows = [own for own in known.rows if own.role != "context" and own.n]
    rows = [own for own in rows if all(getattr(own, name) == getattr(row, name) for name in same)]
    rows = [own for own in rows if own.events is not None or row.statistic in ("KM median", "median")]
    return max(rows, key=lambda own: own.n or 0, default=None)


def _shares(row: Row, twin: Row, rng: np.random.Generator, draws: int) -> Any:
    n, events = twin.n or 0, twin.events or 0
    share = rng.beta(events + 0.5, n - events + 0.5, draws)
    return 100 * rng.binomial(row.n or 0, np.clip(share * row.evaluable / twin.evaluable, 0, 1)) / (row.n or 1)


def _times(row: Row, twin: Row, rng: np.random.Generator, draws: int) -> Any:
    spread = half_width(twin)
    error = 1 / (math.log(2) * math.sqrt(twin.n or 1)) if math.isnan(spread) else spread / Z
    own = 1 / (math.log(2) * math.sqrt(row.n or 1))
    return twin.value * np.exp(rng.normal(0, math.hypot(error, own), draws))

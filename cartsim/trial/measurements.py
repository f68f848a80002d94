"""What a trial knows of its patients: measured at visits, and true where nobody measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from cartsim.trial.protocol import Visits


COLUMNS = ("mprotein", "sbcma", "mrd", "transgene")
"""What is kept of a visit, in g/L, percent change, cells per 1e5 and copies/ug."""


@dataclass(frozen=True)
class Curves:
    """True trajectories kept for pictures: ``values[output]`` is (patients, times), in the model's units."""

    times: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Visited:
    """What is kept of the visits of n patients of one arm.

    Attributes
    ----------
    ids
        (n,) Of the patients.
    days, kinetic_days
        (v,) and (k,): days of assessments and of samples; (n, v) and (n, k) where they take place within windows.
    baseline, mprotein
        (n,) and (n, v) M-protein in g/L as measured, NaN where a visit was missed.
    sbcma
        (n, v) Percent change as measured.
    mrd
        (n, v) True myeloma cells per 1e5 nucleated marrow cells, also where a visit was missed.
    transgene
        (n, k) copies/ug as measured.
    """

    ids: NDArray[np.generic]
    days: NDArray[np.float64]
    baseline: NDArray[np.float64]
    mprotein: NDArray[np.float64]
    sbcma: NDArray[np.float64]
    mrd: NDArray[np.float64]
    kinetic_days: NDArray[np.float64]
    transgene: NDArray[np.float64]

    @property
    def shared(self) -> dict[str, NDArray[np.float64]]:
        """Days that are the same for all patients."""
        return {name: own for name in ("days", "kinetic_days") if (own := getattr(self, name)).ndim == 1}

    @classmethod
    def joined(cls, parts: Sequence[Visited]) -> Visited:
        """The measurements of several groups of patients in one."""
        shared = parts[0].shared
        own = [f.name for f in fields(cls) if f.name not in shared]
        return cls(**shared, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in own})

    def frame(self, visits: Visits | None = None) -> pd.DataFrame:
        """In long form: ``id``, ``time``, and the measurements in the order of `COLUMNS`; day 0 is the baseline.

        ``visits``: what was planned, needed where visits took place within windows; ``planned``, the planned day, is
        then a column too, by which the rows of a patient are in order.
        """
        import pandas as pd

        windows = visits is not None and visits.windows
        planned = (visits.response, visits.kinetics) if visits is not None else (self.days, self.kinetic_days)
        days = np.union1d([0.0], np.union1d(*planned))
        n = len(self.ids)
        response, kinetics = (np.searchsorted(days, own) for own in planned)
        columns = {name: np.full((n, len(days)), np.nan) for name in COLUMNS}
        columns["mprotein"][:, 0] = self.baseline
        for name, values in columns.items():
            values[:, kinetics if name == "transgene" else response] = getattr(self, name)
        times = {"time": np.tile(days, n)}
        if windows:
            attended = np.zeros((n, len(days)))
            attended[:, kinetics], attended[:, response] = self.kinetic_days, self.days
            times = {"time": attended.reshape(-1), "planned": times["time"]}
        return pd.DataFrame(
            {"id": np.repeat(self.ids, len(days))}
            | times
            | {name: values.reshape(-1) for name, values in columns.items()}
        )


@dataclass(frozen=True)
class Measurements(Visited):
    """All that a trial knows of n patients of one arm: their visits, and the rest.

    Attributes
    ----------
    given
        Columns (n,) by name: ``id``, ``arm``, ``dose``, and the parameters and covariates that vary.
    landmarks, landmark_change
        (l,) months of snapshots, and (n, l) true percent change of M-protein at them.
    events
        (n,) each: ``new_therapy_day``, ``death_day`` and ``end_day``, the last that is seen; NaN for none.
    status
        (n,) Of the integration.
    curves
        True trajectories of the first of them, or None.
    """

    arm: str
    given: dict[str, Any]
    landmarks: tuple[float, ...]
    landmark_change: NDArray[np.float64]
    events: dict[str, NDArray[np.float64]]
    status: NDArray[np.int64]
    curves: Curves | None = None

    @property
    def patients(self) -> pd.DataFrame:
        """What each patient was given, as a table."""
        import pandas as pd

        return pd.DataFrame(self.given)

    def visited(self) -> Visited:
        """The part that is kept."""
        return Visited(**{f.name: getattr(self, f.name) for f in fields(Visited)})

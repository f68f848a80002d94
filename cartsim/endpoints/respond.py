"""A user's own patients judged as a trial judges its own: responses, times to events, survival by arm."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.endpoints.histories import Histories, lay_out
from cartsim.endpoints.judged import Judged
from cartsim.endpoints.outcomes import outcomes
from cartsim.endpoints.response import Assessments
from cartsim.endpoints.rules import IMWG2016
from cartsim.errors import elsewhere
from cartsim.observations import Observations
from cartsim.version import __version__

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False, eq=False)
class Responses(Judged):
    """A user's judged patients.

    Attributes
    ----------
    patients
        A row a patient: ``id``, ``arm`` ("all" where none is given), ``pfs_day``, ``pfs_event``, ``pfs_reason``,
        ``os_day``, ``os_event``, days of events, and what `Judgement` has; times in days. Also ``frame``.
    rules
        Of response and progression.
    history
        The assessments.
    """

    what = "responses"
    patients: pd.DataFrame
    rules: IMWG2016
    history: Histories
    made_by: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row an arm: ``n``, ``ORR`` and ``CR`` in percent; medians of PFS, OS, DOR, TTR (``PFS_months``, ...)."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for arm, medians in self.medians("PFS", "OS", "DOR", "TTR").items():
            best = self.arm(arm)["best"]
            rates = {"ORR": 100 * (best >= "PR").mean(), "CR": 100 * (best == "CR").mean()}
            rows.append({"arm": arm, "n": len(best)} | rates | medians)
        return pd.DataFrame(rows)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know."""
        unjudged = int((self.patients["best"] == "NE").sum())
        return (f"{unjudged} of {len(self.patients)} patients are not evaluable (NE)",) if unjudged else ()

    def _assessments(self, arm: str) -> Assessments:
        seen, own = self.history, self.history.arm == arm
        events = {name: days[own] for name, days in seen.events.items()}
        return seen.values[own], seen.days[own], seen.baseline[own], self.rules, events

    def _title(self) -> str:
        return f"responses of {len(self.patients):,} patients"


@elsewhere(seed="nothing is drawn: the patients are those observed", n="the patients are those observed")
def respond(
    observations: Observations | pd.DataFrame | str | Path,
    rules: IMWG2016,
    *,
    censoring: str = "fda",
    censor_no_baseline: bool | None = None,
    output: str | None = None,
    patients: pd.DataFrame | None = None,
) -> Responses:
    """Responses and times to events judged from a user's own M-protein (g/L), as those of a trial are.

    Parameters
    ----------
    observations
        See `cartsim.observations`; what else is asked of them is said at `cartsim.endpoints.histories.lay_out`. Columns
        ``new_therapy_day``, ``death_day`` and ``end_day`` end a patient's assessments, and times to events are read off
        them; without an ``end_day`` the living are followed to their last row. A column ``arm`` divides the patients.
    rules
        Of response and progression.
    censoring
        Of progression-free survival: "fda" or "ema".
    censor_no_baseline
        Whether a death without a baseline is censored on day 0; by default under "fda" only.
    output
        Which values, where there are several outputs; by default those of "mprotein_gL".
    patients
        A second table with baselines, events and arms, a row a patient; those without assessments are NE.

    Raises
    ------
    InputError
        As `lay_out`, and for another rule of censoring.

    Examples
    --------
    >>> import cartsim as cs
    >>> import pandas as pd
    >>> visits = pd.DataFrame({"id": 1, "time": [0, 28, 56, 91], "value": [40, 10, 3, 3], "death_day": 200})
    >>> found = cs.respond(visits, cs.IMWG2016())
    >>> found.patients["best"].tolist(), found.times("DOR", arm="all").reason.tolist()
    (['VGPR'], ['death'])
    >>> found.survival("OS").n
    1
    """
    import pandas as pd

    seen = lay_out(observations, output=output, patients=patients)
    found = outcomes(
        seen.values,
        seen.days,
        seen.baseline,
        rules,
        censoring,
        events=seen.events,
        alive_day=seen.seen_day,
        censor_no_baseline=censor_no_baseline,
    )
    own = {"id": seen.ids, "arm": pd.Categorical(seen.arm, list(dict.fromkeys(seen.arm)), ordered=True)}
    columns = seen.events | found.columns(np.zeros(len(seen.ids), bool))
    made = {"rules": asdict(rules), "censoring": censoring, "censor_no_baseline": censor_no_baseline}
    made |= {"cartsim": __version__}
    return Responses(pd.DataFrame(own | columns), rules, seen, made)

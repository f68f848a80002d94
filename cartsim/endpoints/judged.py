"""What a table of judged patients tells by arm, whoever the patients are: those of a trial, or a user's own."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.endpoints import comparison
from cartsim.endpoints.categories import categorical
from cartsim.endpoints.incidence import CumulativeIncidence, cumulative_incidence
from cartsim.endpoints.landmarks import Landmark, landmark_analysis
from cartsim.endpoints.response import Assessments, Judgement, judge
from cartsim.endpoints.rules import Response
from cartsim.endpoints.survival import UNKNOWN, KaplanMeier, known_curve, median_of
from cartsim.endpoints.times import ENDPOINTS, READ, time_to_event
from cartsim.errors import InputError, brief, choices
from cartsim.results import Result
from cartsim.schedule import MONTH

if TYPE_CHECKING:
    import pandas as pd

    from cartsim.endpoints.censoring import TimeToEvent

INCIDENCES = {"progression": "PFS", "response": "TTR"}
"""Events with a cumulative incidence, and the time that they are read off."""

COMPARED = ("PFS", "OS", "DOR")
"""Endpoints in the table of comparisons."""

LEVELS = ("below PR", "PR", "VGPR", "CR")
"""Groups of responses at a landmark; without any confirmed one: below PR."""

RATES = (6, 12, 24)
"""Months of the survival rates in the table of estimates."""


class Judged(Result):
    """Patients with responses, their dates, and times to events, in one arm or several.

    ``patients`` has a row a patient and arm with ``id``, ``arm`` (categorical) and the columns that
    `cartsim.endpoints.times` reads.
    """

    patients: pd.DataFrame

    @property
    def arms(self) -> list[str]:
        """Names of the arms."""
        return [str(name) for name in self.patients["arm"].cat.categories]

    @property
    def frame(self) -> pd.DataFrame:  # type: ignore[override]
        """The table of patients."""
        return self.patients

    def arm(self, name: str) -> pd.DataFrame:
        """The patients of one arm."""
        return self.patients[self._in(name)]

    def times(self, endpoint: str = "PFS", *, arm: str) -> TimeToEvent:
        """Time, event and reason of each patient of an arm, in months; NaN outside the analysis set.

        ``endpoint`` is one of `cartsim.endpoints.times.ENDPOINTS`, where they are defined. Raises `InputError` for
        another, and for an unknown arm.
        """
        return time_to_event(self._read(arm), endpoint)

    def survival(self, endpoint: str = "PFS", *, arm: str | None = None) -> KaplanMeier:
        """Kaplan-Meier estimate of an endpoint in an arm, months.

        Parameters
        ----------
        endpoint
            "PFS", "OS", "DOR", "TTR" (time to response) or "TTBR" (to best response), see `cartsim.endpoints.times`.
        arm
            Its name; may be left out where there is one.

        Raises
        ------
        InputError
            For another endpoint, an unknown arm, and where the arm has nobody to analyse (no responder, for DOR).
        """
        arm = self._one(arm)
        time, event, _ = self.times(endpoint, arm=arm)
        curve = known_curve(time, event)
        if curve is None:
            raise InputError(f"{endpoint} in arm {arm}: nobody to analyse")
        return curve

    def estimates(self) -> pd.DataFrame:
        """A row an endpoint and arm, all times in months.

        ``endpoint``, ``arm``, ``n`` and ``events``; ``median_months`` with limits (Kaplan-Meier, Brookmeyer-Crowley),
        NaN where not reached; ``percent_M_months`` event-free at month M with limits, NaN where unknown; and of TTR and
        TTBR the median and range among those who responded, ``responders_median_months`` and so on.
        """
        import pandas as pd

        return pd.DataFrame([self._estimate(endpoint, arm) for endpoint in ENDPOINTS for arm in self.arms])

    def compare(self, endpoint: str = "PFS", *, reference: str | None = None, tau: float | None = None) -> pd.DataFrame:
        """Each arm against a reference: log-rank test, hazard ratio, difference of restricted means.

        Arms of a trial may hold the same virtual patients, each under every treatment, as no real trial can. Such arms
        are not independent: patients who do well in one do well in the other. The limits of the difference of
        restricted means know it (``rmst_paired``). Log-rank test and hazard ratio are those of a trial of independent
        arms of this size, which is what a reader expects of them; taken as statements about these arms their p-values
        are too large and their limits too wide. p-values also fall with the number of virtual patients, which costs
        nothing: read them for the size of a trial that could be carried out.

        Parameters
        ----------
        endpoint
            As for `survival`.
        reference
            Name of the arm to compare with, by default the first.
        tau
            Month up to which means are restricted.

        Returns
        -------
        pandas.DataFrame
            ``endpoint``, then the columns of `cartsim.endpoints.comparison.compare`.

        Raises
        ------
        InputError
            For fewer than two arms, an unknown reference, and as `survival`.
        """
        if len(self.arms) < 2:
            raise InputError(f"{len(self.arms)} arm; give two or more to compare")
        reference = self.arms[0] if reference is None else reference
        own = self.arm(reference)["id"].to_numpy()
        samples = {arm: (found.time, found.event) for arm in self.arms for found in [self.times(endpoint, arm=arm)]}
        paired = [arm for arm in self.arms if np.array_equal(self.arm(arm)["id"].to_numpy(), own)]
        if endpoint == "DOR":  # of those who respond, who need not be the same patients
            paired = []
        table = comparison.compare(samples, reference=reference, tau=tau, paired=paired)
        table.insert(0, "endpoint", endpoint)
        return table

    def comparisons(self, reference: str | None = None) -> pd.DataFrame:
        """`compare` of `COMPARED`, those with events, and of PFS in any case."""
        import pandas as pd

        had = {name for name in COMPARED for arm in self.arms if self.times(name, arm=arm).event.any()}
        chosen = [name for name in COMPARED if name in {*had, "PFS"}]
        return pd.concat([self.compare(name, reference=reference) for name in chosen], ignore_index=True)

    def medians(self, *endpoints: str) -> dict[str, dict[str, float]]:
        """Medians of each arm and their limits by column: ``PFS_months``, ``PFS_months_low``, ..."""
        found: dict[str, dict[str, float]] = {}
        for arm in self.arms:
            read, row = self._read(arm), found.setdefault(arm, {})
            for endpoint in endpoints:
                time, event, _ = time_to_event(read, endpoint)
                row |= median_of(time, event).named(f"{endpoint}_months")
        return found

    def tables(self) -> dict[str, pd.DataFrame]:
        """Patients, survival.csv (`estimates`) and, with two arms or more, comparisons.csv."""
        compared = {"comparisons.csv": self.comparisons()} if len(self.arms) > 1 else {}
        return super().tables() | {"survival.csv": self.estimates()} | compared

    def incidence(self, of: str = "progression", *, arm: str | None = None) -> CumulativeIncidence:
        """Cumulative incidence in an arm, months: of progression against death without it, or of response against both.

        Parameters
        ----------
        of
            "progression" (causes progression and death) or "response" (causes response, progression and death).
            Patients are censored as in PFS.
        arm
            Its name; may be left out where there is one.

        Raises
        ------
        InputError
            For another event, an unknown arm, and where there is nobody to analyse.
        """
        import pandas as pd

        if of not in INCIDENCES:
            raise InputError(f"no incidence of {of!r}; there are {', '.join(INCIDENCES)}")
        causes = ["progression", "death"] if of == "progression" else ["response", "progression", "death"]
        patients = self.arm(self._one(arm))
        found = time_to_event(patients, INCIDENCES[of])
        ended = found.event | patients["pfs_event"].to_numpy(bool)
        cause = pd.Series(found.reason, dtype=object).where(ended)
        return cumulative_incidence(found.time, pd.Categorical(cause, causes))

    def landmark(self, month: float, *, by: str = "response", arm: str | None = None, limit: float = 1e-5) -> Landmark:
        """Progression-free survival from a month on, by what was known of the patients by then.

        Both assessments of a response lie before the landmark, and who has progressed, died or been censored by then is
        left out: no group is given time in which its patients could not have progressed.

        Parameters
        ----------
        month
            The landmark.
        by
            "response", the best one confirmed; in a trial also "MRD": negative in complete response at the latest
            assessment, or not.
        arm
            Its name; may be left out where there is one.
        limit
            Share of nucleated marrow cells below which residual disease is negative.

        Raises
        ------
        InputError
            For an unknown arm, another division, measurements that were not kept, and where nobody is at risk any more.
        """
        arm = self._one(arm)
        found, groups = self.times(arm=arm), self.known_by(month, by, arm, limit)
        return landmark_analysis(found.time, found.event, groups, month)

    def known_by(self, month: float, by: str, arm: str, limit: float) -> pd.Categorical:
        """The group of each patient of an arm as known at a landmark, see `landmark`."""
        if by != "response":
            raise InputError(f"no landmark analysis by {by!r} of {self.what}; there is one by response")
        best = self.judged(arm, until=month * MONTH).best
        return categorical(np.maximum(best - Response.MR, 0), LEVELS)

    def judged(self, arm: str, until: float = np.inf) -> Judgement:
        """The arm's assessments up to a day, judged by the rules of the result."""
        mprotein, days, baseline, rules, events = self._assessments(arm)
        return judge(mprotein, days, baseline, rules, **events | {"end_day": np.fmin(events["end_day"], until)})

    @abstractmethod
    def _assessments(self, arm: str) -> Assessments:
        """What `judge` is given of an arm."""

    def _in(self, arm: str) -> NDArray[np.bool_]:
        if arm not in self.arms:
            raise InputError(f"no arm {brief(arm)} here{choices(arm, self.arms)}")
        return self.patients["arm"].array.codes == self.arms.index(arm)

    def _read(self, arm: str) -> dict[str, Any]:
        """The columns that the times of an arm are read off."""
        own = self._in(arm)
        return {name: self.patients[name].array[own] for name in READ if name in self.patients}

    def _one(self, arm: str | None) -> str:
        if arm is None and len(self.arms) > 1:
            raise InputError(f"which arm? give arm=, one of {', '.join(self.arms)}")
        return self.arms[0] if arm is None else arm

    def _estimate(self, endpoint: str, arm: str) -> dict[str, object]:
        time, event, _ = self.times(endpoint, arm=arm)
        curve, n = known_curve(time, event), int((~np.isnan(time)).sum())
        row: dict[str, object] = {"endpoint": endpoint, "arm": arm, "n": n, "events": int(event.sum())}
        row |= (curve.median if curve else UNKNOWN).named("median", "_months")
        for month in RATES:
            row |= (curve.rate(month) if curve else UNKNOWN).named("percent", f"_{month}_months")
        responded = time[event] if endpoint in ("TTR", "TTBR") and event.any() else np.array([np.nan])
        for what, of in (("median", np.median), ("shortest", np.min), ("longest", np.max)):
            row[f"responders_{what}_months"] = float(of(responded))
        return row

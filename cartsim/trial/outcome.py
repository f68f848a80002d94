"""The outcome of a trial: what was measured, judged. Patients, response rates, survival, kinetics, by arm."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.endpoints.judged import Judged
from cartsim.endpoints.kinetics import noncompartmental
from cartsim.endpoints.markers import mrd_negative
from cartsim.endpoints.outcomes import outcomes
from cartsim.endpoints.rates import clopper_pearson, wilson
from cartsim.endpoints.residual import ResidualDisease, residual_disease
from cartsim.endpoints.response import Judgement, Response, judge, landmark
from cartsim.endpoints.times import READ
from cartsim.errors import InputError, brief, check_kind
from cartsim.files import writable_folder, write_whole
from cartsim.runs import as_bytes, from_bytes, pack_frame, unpack_frame
from cartsim.schedule import MONTH
from cartsim.trial.measurements import COLUMNS, Curves, Measurements, Visited
from cartsim.trial.protocol import Protocol, Rules, Visits
from cartsim.trial.summary import GROUPS, summarize

if TYPE_CHECKING:
    import pandas as pd

    from cartsim.runs import Arrays

NEGATIVE = ("not MRD-negative in CR", "MRD-negative in CR")
SUMMARIZED = ("id", "arm", "status", "Cmax", "Tmax", "AUC0-28", "measurable", *READ)


@dataclass(frozen=True, repr=False, eq=False)
class TrialResult(Judged):
    """A judged trial.

    Attributes
    ----------
    protocol
        By which it was carried out and judged.
    patients
        A row a patient and arm: parameters, kinetics, best response and its dates, progression-free survival. For each
        landmark the category as observed (``month_6``: of M-protein as measured at the nearest assessment within half
        a month, NE without one) and the true state (``true_6``, ``change_6``: as if everybody had been followed).
        Also ``frame``.
    visits
        Measurements by arm; empty if they were not kept.
    curves
        True trajectories of the first patients by arm, for pictures.
    """

    what = "trial"
    protocol: Protocol
    patients: pd.DataFrame
    visits: dict[str, Visited]
    curves: dict[str, Curves]
    made_by: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row an arm, see `summarize`; then median overall survival, duration of response and time to response."""
        table = summarize(self.patients, self.protocol.visits.landmarks)
        return self.with_medians(table, ("OS", "DOR", "TTR"))

    @property
    def failures(self) -> pd.DataFrame:
        """Patients whose integration failed: ``id``, ``arm``, ``status``."""
        failed = self.patients[self.patients["status"] != "ok"]
        return failed[["id", "arm", "status"]].reset_index(drop=True)

    def judge(self, rules: Rules) -> TrialResult:
        """The same measurements judged by other rules, without simulating. Raises `InputError` if none were kept."""
        if not isinstance(rules, Rules):
            raise InputError(f"rules are {brief(rules)}; give Rules(...), such as Rules(censoring='ema')")
        readout = Readout(rules, keep_visits=False)
        patients = _stacked([readout(seen).patients for seen in self.measurements()], self.arms)
        return replace(self, protocol=replace(self.protocol, rules=rules), patients=patients)

    def _measured(self, arm: str) -> Measurements:
        rows = self.arm(arm)
        if not self.visits:
            raise InputError("the measurements of this trial were not kept; run it with keep_visits=True")
        return measurements_of(rows, self.visits[arm], self.protocol.visits)

    def judged(self, arm: str, until: float = np.inf) -> Judgement:
        seen = self._measured(arm)
        return judge(
            seen.mprotein,
            seen.response_days,
            seen.baseline,
            self.protocol.rules.response,
            new_therapy_day=seen.course.new_therapy_day,
            death_day=seen.course.death_day,
            end_day=np.fmin(seen.course.last_day, until),
        )

    def known_by(self, month: float, by: str, arm: str, limit: float) -> pd.Categorical:
        import pandas as pd

        if by != "MRD":
            return super().known_by(month, by, arm, limit)
        seen, day = self._measured(arm), month * MONTH
        judged = self.judged(arm, until=day)
        complete, known = judged.confirmed == Response.CR, judged.evaluable  # not after a new therapy
        latest = np.where(known, np.arange(known.shape[1]), -1).max(axis=1)
        good = np.take_along_axis(mrd_negative(seen.mrd, limit) & complete & known, np.maximum(latest, 0)[:, None], 1)
        return pd.Categorical.from_codes(np.where(latest < 0, -1, good[:, 0].astype(int)), NEGATIVE)

    def measurements(self) -> list[Measurements]:
        """What was measured, an entry an arm, as it was judged. Raises `InputError` if it was not kept."""
        return [self._measured(name) for name in self.arms]

    def responses(self) -> pd.DataFrame:
        """Rates in percent, a row for each arm, endpoint and category.

        Landmarks are told as observed ("month 6") and as the true state of all ("month 6, true state"). With Wilson
        limits ``low``, ``high``, and those of Clopper and Pearson, ``exact_low`` and ``exact_high``, which hold the
        level for any true rate and are wider.
        """
        import pandas as pd

        rows = []
        for arm, group in self.patients.groupby("arm", observed=True, sort=False):
            for month in self.protocol.visits.landmarks:
                for column, endpoint in (("month", f"month {month:g}"), ("true", f"month {month:g}, true state")):
                    codes = group[f"{column}_{month:g}"]
                    for name, categories in GROUPS.items():
                        rows.append((arm, endpoint, name, len(group), int(codes.isin(categories).sum())))
            for response in Response:
                count = int((group["best"] == response.name).sum())
                rows.append((arm, "best response", response.name, len(group), count))
        table = pd.DataFrame(rows, columns=["arm", "endpoint", "category", "n", "count"])
        table["percent"] = 100 * table["count"] / table["n"]
        for name, limits in (("", wilson), ("exact_", clopper_pearson)):
            low, high = limits(table["count"].to_numpy(), table["n"].to_numpy())
            table[f"{name}low"], table[f"{name}high"] = 100 * low, 100 * high
        return table

    def residual(self, arm: str | None = None, *, limit: float = 1e-5) -> ResidualDisease:
        """Residual disease of an arm from visit to visit; ``.by_visit()`` is a table of shares.

        Parameters
        ----------
        arm
            Its name; may be left out where there is one.
        limit
            Share of nucleated marrow cells below which residual disease is negative.

        Raises
        ------
        InputError
            For an unknown arm, a limit outside 0 to 1, and measurements that were not kept.
        """
        arm = self._one(arm)
        seen = self._measured(arm)
        judged, pfs = self.judged(arm), self.times(arm=arm)
        cells = np.where(judged.evaluable, seen.mrd, np.nan)  # not after a new therapy
        return residual_disease(
            cells, seen.response_days, judged.confirmed, pfs._replace(time=pfs.time * MONTH), limit=limit
        )

    def pfs(self) -> pd.DataFrame:
        """Kaplan-Meier steps of every arm: ``arm``, then those of ``KaplanMeier.frame``, ``time_months`` first."""
        import pandas as pd

        steps = {arm: self.survival(arm=arm).frame() for arm in self.arms}
        return pd.concat(steps, names=["arm"]).reset_index(level="arm").rename(columns={"time": "time_months"})

    def save(self, folder: str | Path) -> list[Path]:
        """Write patients.parquet, visits.parquet (if kept), responses.csv, survival.csv, pfs.csv and summary.json.

        And comparisons.csv where there are two arms or more.
        """
        check_kind("the folder", folder, (str, Path), "a path")
        folder = writable_folder(folder)
        writers: dict[str, Callable[[Path], Any]] = {
            "patients.parquet": lambda path: self.patients.to_parquet(path, index=False),
            "responses.csv": lambda path: self.responses().to_csv(path, index=False),
            "survival.csv": lambda path: self.estimates().to_csv(path, index=False),
            "pfs.csv": lambda path: self.pfs().to_csv(path, index=False),
            "summary.json": lambda path: path.write_text(json.dumps(self.about(), indent=2) + "\n"),
        }
        if len(self.arms) > 1:
            writers["comparisons.csv"] = lambda path: self.comparisons().to_csv(path, index=False)
        if self.visits:
            writers["visits.parquet"] = lambda path: visits_table(self.visits).to_parquet(path, index=False)
        return [write_whole(folder / name, write) for name, write in writers.items()]

    def about(self) -> dict[str, Any]:
        """What summary.json holds."""
        rules = self.protocol.rules
        return {
            "made_by": self.made_by,
            "visits": vars(self.protocol.visits),
            "rules": {
                "response": vars(rules.response),
                "landmark": vars(rules.landmark),
                **rules.further(),
            },
            "arms": json.loads(self.summary.to_json(orient="records")),
            "failures": json.loads(self.failures.to_json(orient="records")),
        }

    def _title(self) -> str:
        months = self.protocol.visits.response[-1] / MONTH
        patients = f"{len(self.patients):,} patients in {len(self.arms)} arm{'s' if len(self.arms) > 1 else ''}"
        return f"trial of {self.made_by.get('model', 'a model')}: {patients}, {months:.3g} months"


@dataclass(frozen=True)
class ChunkOutcome:
    """What `Readout` makes of one chunk."""

    arm: str
    patients: Any
    visits: Visited | None
    curves: Curves | None


@dataclass(frozen=True)
class Readout:
    """Judges the measurements of one chunk; what `Trial.run` applies where the chunk was simulated."""

    rules: Rules = field(default_factory=Rules)
    keep_visits: bool = True
    columns: tuple[str, ...] | None = None

    def __call__(self, seen: Measurements) -> ChunkOutcome:
        import pandas as pd

        from cartsim.engine.trajectories import Status

        course, rules = seen.course, self.rules
        found = outcomes(
            seen.mprotein,
            seen.response_days,
            seen.baseline,
            rules.response,
            rules.censoring,
            events=(course.new_therapy_day, course.death_day, course.last_day),
            alive_day=seen.response_days[-1],  # without a cut-off the living are followed to the last visit
            censor_no_baseline=rules.censor_no_baseline,
        )
        failed = Status.failed(seen.status)
        extra: dict[str, Any] = {
            "status": pd.Categorical.from_codes(seen.status, [status.name for status in Status]),
            "new_therapy_day": course.new_therapy_day,
            "death_day": course.death_day,
            "end_day": course.last_day,
        }
        for k, month in enumerate(seen.landmarks):
            change = seen.landmark_change[:, k]
            extra[f"change_{month:g}"] = change
            for name, known in (("month", _observed_change(seen, found.judged.evaluable, month)), ("true", change)):
                codes = landmark(known, rules.landmark, baseline=seen.baseline)
                extra[f"{name}_{month:g}"] = pd.Categorical.from_codes(codes, [r.name for r in Response], ordered=True)
        sbcma = np.where(np.isnan(seen.sbcma_change), np.inf, seen.sbcma_change)
        lowest = sbcma.min(axis=1)
        extra["sbcma_nadir"] = np.where(np.isfinite(lowest), lowest, np.nan)
        lowest = np.where(found.judged.evaluable & np.isfinite(seen.mrd), seen.mrd, np.inf).min(axis=1)
        extra["mrd_lowest"] = np.where(np.isfinite(lowest), lowest, np.nan)
        kinetics = noncompartmental(seen.kinetic_days, seen.transgene, lloq=rules.lloq, after_blq=rules.after_blq)
        patients = pd.concat(
            [
                seen.patients,
                pd.DataFrame(extra),
                found.frame(seen.patients["id"], failed),
                kinetics.drop(columns="id", errors="ignore"),
            ],
            axis=1,
        )
        if self.columns is not None:
            landmarks = [f"{name}_{month:g}" for month in seen.landmarks for name in ("month", "true")]
            patients = patients[list(dict.fromkeys([*SUMMARIZED, *landmarks, *self.columns]))].copy()
        visits = None
        if self.keep_visits:
            visits = Visited.of(seen)
        return ChunkOutcome(seen.arm, patients, visits, seen.curves)

    def bytes_kept(self, varied: int, visits: Visits) -> int:
        """Least bytes that stay of a patient: its row in the table, and its measurements where they are kept."""
        landmarks = len(visits.landmarks)
        numbers = varied + 42 + 2 * landmarks if self.columns is None else 8 + len({*self.columns} - {*SUMMARIZED})
        if self.keep_visits:
            numbers += 2 + 3 * len(visits.response) + len(visits.kinetics)
        return 8 * numbers

    def pack(self, result: ChunkOutcome) -> Arrays:
        """The result as arrays, for a checkpoint."""
        arrays: Arrays = {"arm": as_bytes(result.arm)}
        arrays |= {f"patients/{name}": values for name, values in pack_frame(result.patients).items()}
        if result.visits is not None:
            own = {name: values for name, values in vars(result.visits).items() if name != "ids"}
            arrays |= {f"visits/{name}": values for name, values in own.items()}
        if result.curves is not None:
            arrays["curves"] = result.curves.times
            arrays |= {f"curves/{name}": values for name, values in result.curves.values.items()}
        return arrays

    def unpack(self, arrays: Arrays, n: int) -> ChunkOutcome:
        """The result of n patients that `pack` was given. Raises ValueError or the like if it is not one."""

        def under(place: str) -> Arrays:
            return {name.removeprefix(place): own for name, own in arrays.items() if name.startswith(place)}

        patients = unpack_frame(under("patients/"), n)
        visits = None
        if self.keep_visits:
            visits = Visited(ids=patients["id"].to_numpy(), **under("visits/"))
            if any(len(values) != n for values in (visits.baseline, visits.mprotein, visits.sbcma, visits.transgene)):
                raise ValueError(f"visits of other than {n} patients")
        curves = Curves(arrays["curves"], under("curves/")) if "curves" in arrays else None
        return ChunkOutcome(from_bytes(arrays["arm"]), patients, visits, curves)


def _observed_change(seen: Measurements, evaluable: NDArray[np.bool_], month: float) -> NDArray[np.float64]:
    """(n,) Percent change as measured at the assessment nearest to a landmark, NaN without one within half a month."""
    distance = np.where(evaluable, np.abs(seen.response_days - month * MONTH), np.inf)
    nearest = distance.argmin(axis=1)
    rows = np.arange(len(nearest))
    value = np.where(distance[rows, nearest] <= MONTH / 2, seen.mprotein[rows, nearest], np.nan)
    return 100 * (value / seen.baseline - 1)


def gathered(parts: Sequence[ChunkOutcome], protocol: Protocol, made: dict[str, Any]) -> TrialResult:
    """The result of a trial from the outcomes of its chunks, in order; the chunks' tables are given up."""
    names = list(dict.fromkeys(part.arm for part in parts))
    patients = _stacked([part.patients for part in parts], names)
    for part in parts:
        object.__setattr__(part, "patients", None)  # one copy at a time
    visits, curves = {}, {}
    for name in names:
        own = [part for part in parts if part.arm == name]
        kept = [part.visits for part in own if part.visits is not None]
        if kept:
            visits[name] = Visited.joined(kept)
        shown = [part.curves for part in own if part.curves is not None]
        if shown:
            outputs = shown[0].values
            values = {output: np.concatenate([each.values[output] for each in shown]) for output in outputs}
            curves[name] = Curves(shown[0].times, values)
    return TrialResult(protocol, patients, visits, curves, made)


def _stacked(parts: Sequence[pd.DataFrame], arms: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    patients = pd.concat(parts, ignore_index=True)
    patients["arm"] = pd.Categorical(patients["arm"], categories=list(arms), ordered=True)
    return patients


def visits_table(visits: Mapping[str, Visited]) -> pd.DataFrame:
    """All measurements in long form: ``arm``, ``id``, ``time`` and `COLUMNS`."""
    import pandas as pd

    return pd.concat([own.frame().assign(arm=arm) for arm, own in visits.items()], ignore_index=True)[
        ["arm", "id", "time", *COLUMNS]
    ]


def measurements_of(patients: pd.DataFrame, visits: Visited, planned: Visits) -> Measurements:
    """Measurements of one arm again, from a judged trial's table of patients and what was kept of the visits."""
    from cartsim.engine.trajectories import Status
    from cartsim.trial.conduct import Course

    n = len(patients)
    never = np.full(n, np.nan)
    own = patients.columns.get_loc("status")  # parameters and covariates stand before it
    return Measurements(
        arm=str(patients["arm"].iloc[0]),
        patients=patients.iloc[:, :own].reset_index(drop=True),
        response_days=visits.days,
        baseline=visits.baseline,
        mprotein=visits.mprotein,
        sbcma_change=visits.sbcma,
        mrd=visits.mrd,
        kinetic_days=visits.kinetic_days,
        transgene=visits.transgene,
        landmarks=planned.landmarks,
        landmark_change=patients[[f"change_{month:g}" for month in planned.landmarks]].to_numpy(),
        course=Course(
            evaluable=np.isfinite(visits.mprotein),
            followup_day=never,
            dropout_day=never,
            new_therapy_day=patients["new_therapy_day"].to_numpy(),
            death_day=patients["death_day"].to_numpy(),
            last_day=patients["end_day"].to_numpy(),
        ),
        status=np.array([Status[name] for name in patients["status"]], np.int64),
    )

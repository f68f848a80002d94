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

from cartsim.endpoints.censoring import progression_free_survival
from cartsim.endpoints.kinetics import noncompartmental
from cartsim.endpoints.markers import mrd_per_1e5
from cartsim.endpoints.rates import wilson
from cartsim.endpoints.response import Judgement, Response, judge, landmark
from cartsim.endpoints.survival import KaplanMeier, kaplan_meier
from cartsim.errors import InputError
from cartsim.files import writable_folder, write_whole
from cartsim.model.model import choices
from cartsim.results import Result
from cartsim.runs import as_bytes, from_bytes, pack_frame, unpack_frame
from cartsim.schedule import MONTH
from cartsim.trial.measurements import Curves, Measurements, Visited
from cartsim.trial.protocol import Protocol, Rules, Visits

if TYPE_CHECKING:
    import pandas as pd

    from cartsim.runs import Arrays

SUMMARIZED = ("id", "arm", "status", "Cmax", "Tmax", "AUC0-28", "best", "measurable", "pfs_time", "pfs_event")
GROUPS = {"NE": ("NE",), "PD": ("PD",), "SD": ("SD",), "MR-VGPR": ("MR", "PR", "VGPR"), "CR": ("CR",)}
"""Groups of landmark categories: those of Singh 2021, Figure 6, which calls MR, PR and VGPR together PR; and NE."""


@dataclass(frozen=True, repr=False, eq=False)
class TrialResult(Result):
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

    @property
    def arms(self) -> list[str]:
        """Names of the arms."""
        return [str(name) for name in self.patients["arm"].cat.categories]

    @property
    def frame(self) -> pd.DataFrame:
        """The table of patients."""
        return self.patients

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row an arm, see `summarize`."""
        return summarize(self.patients, self.protocol.visits.landmarks)

    @property
    def failures(self) -> pd.DataFrame:
        """Patients whose integration failed: ``id``, ``arm``, ``status``."""
        failed = self.patients[self.patients["status"] != "ok"]
        return failed[["id", "arm", "status"]].reset_index(drop=True)

    def arm(self, name: str) -> pd.DataFrame:
        """The patients of one arm."""
        if name not in self.arms:
            raise InputError(f"no arm {name!r} in this trial{choices(name, self.arms)}")
        return self.patients[self.patients["arm"] == name]

    def survival(self, endpoint: str = "PFS", *, arm: str) -> KaplanMeier:
        """Kaplan-Meier estimate of an arm's progression-free survival, in months.

        Raises `InputError` for another endpoint or an unknown arm.
        """
        if endpoint != "PFS":
            raise InputError(f"no survival endpoint {endpoint!r}; a trial is judged for PFS")
        rows = self.arm(arm)
        return kaplan_meier(rows["pfs_time"].to_numpy() / MONTH, rows["pfs_event"].to_numpy())

    def judge(self, rules: Rules) -> TrialResult:
        """The same measurements judged by other rules, without simulating. Raises `InputError` if none were kept."""
        if not isinstance(rules, Rules):
            raise InputError(f"rules are {rules!r}; give Rules(...), such as Rules(censoring='ema')")
        if not self.visits:
            raise InputError("the measurements of this trial were not kept; run it with keep_visits=True")
        readout = Readout(rules, keep_visits=False)
        parts = [readout(seen).patients for seen in self.measurements()]
        patients = _stacked(parts, self.arms)
        # Residual disease is of the true tumor, which no visit measures, and depends on no rule.
        patients = patients.assign(mrd_lowest=self.patients["mrd_lowest"].to_numpy())
        return replace(self, protocol=replace(self.protocol, rules=rules), patients=patients)

    def measurements(self) -> list[Measurements]:
        """What was measured, an entry an arm, as it was judged."""
        return [measurements_of(self.arm(name), self.visits[name], self.protocol.visits) for name in self.arms]

    def responses(self) -> pd.DataFrame:
        """Rates with Wilson limits, in percent: a row for each arm, endpoint and category.

        Landmarks are told as observed ("month 6") and as the true state of all ("month 6, true state").
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
        low, high = wilson(table["count"].to_numpy(), table["n"].to_numpy())
        return table.assign(percent=100 * table["count"] / table["n"], low=100 * low, high=100 * high)

    def pfs(self) -> pd.DataFrame:
        """Kaplan-Meier steps of every arm: ``arm``, then the columns of ``KaplanMeier.frame`` (months)."""
        import pandas as pd

        steps = {arm: self.survival(arm=arm).frame() for arm in self.arms}
        return pd.concat(steps, names=["arm"]).reset_index(level="arm")

    def save(self, folder: str | Path) -> list[Path]:
        """Write patients.parquet, visits.parquet (if kept), responses.csv, pfs.csv and summary.json."""
        folder = writable_folder(folder)
        writers: dict[str, Callable[[Path], Any]] = {
            "patients.parquet": lambda path: self.patients.to_parquet(path, index=False),
            "responses.csv": lambda path: self.responses().to_csv(path, index=False),
            "pfs.csv": lambda path: self.pfs().to_csv(path, index=False),
            "summary.json": lambda path: path.write_text(json.dumps(self.about(), indent=2) + "\n"),
        }
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

        from cartsim.engine.rodas import Status

        course, rules = seen.course, self.rules
        judged = _judged(seen, rules, course.new_therapy_day)
        evaluable, progression_day = judged.evaluable, judged.progression_day
        if rules.censoring == "ema":  # a new therapy ends the best response, but not the search for progression
            through = _judged(seen, rules, None)
            evaluable, progression_day = through.evaluable, np.fmin(progression_day, through.progression_day)
        pfs = progression_free_survival(
            np.insert(seen.response_days, 0, 0.0),
            np.insert(evaluable, 0, np.isfinite(seen.baseline), axis=1),
            progression_day,
            death_day=course.death_day,
            new_therapy_day=course.new_therapy_day,
            followup_day=course.last_day,
            rule=rules.censoring,
            censor_no_baseline=rules.censor_no_baseline,
        )
        table = judged.patient_table(seen.patients["id"]).assign(progression_day=progression_day)
        failed = Status.failed(seen.status)
        extra: dict[str, Any] = {
            "status": pd.Categorical.from_codes(seen.status, [status.name for status in Status]),
            "pfs_time": np.where(failed, np.nan, pfs.time),
            "pfs_event": pfs.event & ~failed,
            "pfs_reason": pfs.reason,
            "new_therapy_day": course.new_therapy_day,
            "death_day": course.death_day,
            "end_day": course.last_day,
        }
        for k, month in enumerate(seen.landmarks):
            change = seen.landmark_change[:, k]
            extra[f"change_{month:g}"] = change
            for name, known in (("month", _observed_change(seen, judged.evaluable, month)), ("true", change)):
                codes = landmark(known, rules.landmark, baseline=seen.baseline)
                extra[f"{name}_{month:g}"] = pd.Categorical.from_codes(codes, [r.name for r in Response], ordered=True)
        sbcma = np.where(np.isnan(seen.sbcma_change), np.inf, seen.sbcma_change)
        lowest = sbcma.min(axis=1)
        extra["sbcma_nadir"] = np.where(np.isfinite(lowest), lowest, np.nan)
        residual = mrd_per_1e5(seen.tumor_relative, seen.patients["burden"].to_numpy()[:, None] / 100)
        lowest = np.where(judged.evaluable & np.isfinite(residual), residual, np.inf).min(axis=1)
        extra["mrd_lowest"] = np.where(np.isfinite(lowest), lowest, np.nan)
        kinetics = noncompartmental(seen.kinetic_days, seen.transgene, lloq=rules.lloq, after_blq=rules.after_blq)
        patients = pd.concat(
            [
                seen.patients,
                pd.DataFrame(extra),
                table.drop(columns="id"),
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
        numbers = varied + 40 + 2 * landmarks if self.columns is None else 5 + len({*self.columns} - {*SUMMARIZED})
        if self.keep_visits:
            numbers += 2 + 2 * len(visits.response) + len(visits.kinetics)
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


def _judged(seen: Measurements, rules: Rules, new_therapy_day: NDArray[np.float64] | None) -> Judgement:
    return judge(
        seen.mprotein,
        seen.response_days,
        seen.baseline,
        rules.response,
        new_therapy_day=new_therapy_day,
        death_day=seen.course.death_day,
        end_day=seen.course.last_day,
    )


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


def summarize(patients: pd.DataFrame, landmarks: tuple[float, ...]) -> pd.DataFrame:
    """A row an arm: n, failed, medians with 5th and 95th percentile, rates in percent, median PFS in months.

    Landmark rates (``PD_6``) are of all patients as observed; ``measurable`` is the number with measurable disease,
    among whom ``ORR_measurable`` and ``CR_measurable`` are.
    """
    import pandas as pd

    rows = []
    for arm, group in patients.groupby("arm", observed=True, sort=False):
        row: dict[str, Any] = {"arm": arm, "n": len(group), "failed": int((group["status"] != "ok").sum())}
        for name in ("Cmax", "Tmax", "AUC0-28"):
            values = group[name].dropna().to_numpy()
            low, middle, high = np.percentile(values, [5, 50, 95]) if values.size else (np.nan,) * 3
            row |= {name: middle, f"{name}_p5": low, f"{name}_p95": high}
        for month in landmarks:
            codes = group[f"month_{month:g}"]
            row |= {f"{name}_{month:g}": 100 * float(codes.isin(held).mean()) for name, held in GROUPS.items()}
        measurable = group[group["measurable"]]
        for end, those in (("", group), ("_measurable", measurable)):
            row[f"ORR{end}"] = 100 * float((those["best"] >= "PR").mean())
            row[f"CR{end}"] = 100 * float((those["best"] == "CR").mean())
        row["measurable"] = len(measurable)
        known = group["pfs_time"].notna()
        months = group["pfs_time"][known].to_numpy() / MONTH
        median = kaplan_meier(months, group["pfs_event"][known].to_numpy()).median if known.any() else None
        row |= {
            "PFS": median.value if median else np.nan,
            "PFS_low": median.low if median else np.nan,
            "PFS_high": median.high if median else np.nan,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def visits_table(visits: Mapping[str, Visited]) -> pd.DataFrame:
    """All measurements in long form: ``arm``, ``id``, ``time``, ``mprotein`` (g/L), ``sbcma`` (%), ``transgene``."""
    import pandas as pd

    return pd.concat([own.frame().assign(arm=arm) for arm, own in visits.items()], ignore_index=True)[
        ["arm", "id", "time", "mprotein", "sbcma", "transgene"]
    ]


def measurements_of(patients: pd.DataFrame, visits: Visited, planned: Visits) -> Measurements:
    """Measurements of one arm again, from a judged trial's table of patients and what was kept of the visits."""
    from cartsim.engine.rodas import Status
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
        tumor_relative=np.full(visits.mprotein.shape, np.nan),
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

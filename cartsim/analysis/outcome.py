"""The outcome of a trial: what was measured, judged. Patients, response rates, survival, kinetics, by arm."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartsim.endpoints.censoring import progression_free_survival
from cartsim.endpoints.kinetics import LLOQ, nca
from cartsim.endpoints.markers import mrd_per_1e5
from cartsim.endpoints.response import IMWG2016, Response, SinghLandmark, figure6, judge, landmark
from cartsim.endpoints.survival import KaplanMeier, kaplan_meier
from cartsim.files import writable_folder, write_whole
from cartsim.runs import as_bytes, check_size, from_bytes, pack_frame, unpack_frame
from cartsim.schedule import MONTH
from cartsim.simulate import made_by
from cartsim.trial import Curves as ChunkCurves
from cartsim.trial import Observations, Trial

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from cartsim.runs import Arrays

SUMMARIZED = ("id", "arm", "status", "Cmax", "Tmax", "AUC0-28", "best", "pfs_time", "pfs_event")
GROUPS = ("PD", "SD", "PR", "CR")  # of Singh 2021, Figure 6: PR holds MR, PR and VGPR


@dataclass(frozen=True)
class Rules:
    """By what a trial is judged: response criteria, landmark bins, censoring, and the transgene's limit."""

    response: IMWG2016 = field(default_factory=IMWG2016)
    landmark: SinghLandmark = field(default_factory=SinghLandmark)
    censoring: str = "fda"
    lloq: float = LLOQ


@dataclass(frozen=True)
class Visits:
    """The measurements of one arm, NaN where a visit was missed: g/L, percent change and copies/ug."""

    ids: NDArray[Any]
    days: NDArray[np.float64]
    baseline: NDArray[np.float64]
    mprotein: NDArray[np.float64]
    sbcma: NDArray[np.float64]
    kinetic_days: NDArray[np.float64]
    transgene: NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """True trajectories for pictures: ``values[output][arm]`` is (patients, times)."""

    times: NDArray[np.float64]
    values: dict[str, dict[str, NDArray[np.float64]]]


@dataclass(frozen=True)
class Outcome:
    """A judged trial.

    ``patients``: a row a patient and arm: parameters, kinetics, best response and its dates, progression-free survival,
    landmark categories. ``visits`` by arm (empty if not kept), ``curves``, ``summary`` (a row an arm), ``made_by``.
    """

    trial: Trial
    rules: Rules
    patients: pd.DataFrame
    visits: dict[str, Visits]
    curves: Curves
    summary: pd.DataFrame
    made_by: dict[str, Any]

    def survival(self, arm: str) -> KaplanMeier:
        """Kaplan-Meier estimate of an arm's progression-free survival, in months."""
        rows = self.patients[self.patients["arm"] == arm]
        return kaplan_meier(rows["pfs_time"].to_numpy() / MONTH, rows["pfs_event"].to_numpy())

    def failures(self) -> pd.DataFrame:
        """Patients whose integration failed: ``id``, ``arm``, ``status``."""
        failed = self.patients[self.patients["status"] != "ok"]
        return failed[["id", "arm", "status"]].reset_index(drop=True)

    def responses(self) -> pd.DataFrame:
        """Rates with Wilson limits, in percent: a row for each arm, endpoint and category."""
        import pandas as pd

        rows = []
        for arm, group in self.patients.groupby("arm", observed=True, sort=False):
            for month in self.trial.visits.landmarks:
                codes = group[f"month_{month:g}"]
                for category in ("NE", *GROUPS):
                    rows.append((arm, f"month {month:g}", category, len(group), int((codes == category).sum())))
            for response in Response:
                count = int((group["best"] == response.name).sum())
                rows.append((arm, "best response", response.name, len(group), count))
        table = pd.DataFrame(rows, columns=["arm", "endpoint", "category", "n", "count"])
        low, high = wilson(table["count"].to_numpy(), table["n"].to_numpy())
        return table.assign(percent=100 * table["count"] / table["n"], low=100 * low, high=100 * high)

    def pfs(self) -> pd.DataFrame:
        """Kaplan-Meier steps of every arm: ``arm``, then the columns of ``KaplanMeier.frame`` (months)."""
        import pandas as pd

        arms = [arm.name for arm in self.trial.arms]
        return pd.concat({arm: self.survival(arm).frame() for arm in arms}, names=["arm"]).reset_index(level="arm")

    def save(self, folder: str | Path) -> list[Path]:
        """Write patients.parquet, visits.parquet (if kept), responses.csv, pfs.csv and summary.json."""
        folder = writable_folder(folder)
        writers: dict[str, Callable[[Path], Any]] = {
            "patients.parquet": lambda path: self.patients.to_parquet(path, index=False),
            "responses.csv": lambda path: self.responses().to_csv(path, index=False),
            "pfs.csv": lambda path: self.pfs().to_csv(path, index=False),
            "summary.json": lambda path: path.write_text(json.dumps(self._summary(), indent=2) + "\n"),
        }
        if self.visits:
            writers["visits.parquet"] = lambda path: visits_table(self.visits).to_parquet(path, index=False)
        return [write_whole(folder / name, write) for name, write in writers.items()]

    def _summary(self) -> dict[str, Any]:
        return {
            "made_by": self.made_by,
            "visits": vars(self.trial.visits),
            "rules": {
                "response": vars(self.rules.response),
                "landmark": vars(self.rules.landmark),
                "censoring": self.rules.censoring,
                "lloq": self.rules.lloq,
            },
            "arms": json.loads(self.summary.to_json(orient="records")),
            "failures": json.loads(self.failures().to_json(orient="records")),
        }


def run(
    trial: Trial,
    rules: Rules = Rules(),
    *,
    n_jobs: int = -1,
    chunk: int = 2000,
    progress: bool = False,
    checkpoint: str | Path | None = None,
    keep_visits: bool = True,
    columns: Sequence[str] | None = None,
) -> Outcome:
    """Simulate a trial and judge it, chunk by chunk; see :meth:`cartsim.trial.Trial.run` for the options.

    For a trial that is too large to be kept whole: without ``keep_visits`` measurements are judged and forgotten, and
    with ``columns`` only these of the patients' table are kept (beside those that the summary needs). Raises
    `InputError`, before any work, for a trial that memory cannot hold or that would not end within a year.
    """
    import numpy as np
    import pandas as pd

    judge_by = Readout(rules, keep_visits, None if columns is None else tuple(columns))
    n = sum(arm.n for arm in trial.arms)
    check_size(
        n,
        "patients (of all arms)",
        kept=n * judge_by.bytes_kept(trial),
        working=trial.bytes_working(),
        at_once=chunk,
        n_jobs=n_jobs,
    )
    parts = trial.run(
        judge_by,
        n_jobs=n_jobs,
        chunk=chunk,
        progress=progress,
        checkpoint=checkpoint,
    )
    names = [arm.name for arm in trial.arms]
    patients = pd.concat([part.patients for part in parts], ignore_index=True)
    patients["arm"] = pd.Categorical(patients["arm"], categories=names, ordered=True)
    for part in parts:
        object.__setattr__(part, "patients", None)  # one copy at a time
    visits: dict[str, Visits] = {}
    values: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name in names:
        own = [part for part in parts if part.arm == name]
        if keep_visits:
            visits[name] = _joined([part.visits for part in own])
        for output in own[0].curves.values if own[0].curves else ():
            kept = [part.curves.values[output] for part in own if part.curves]
            values.setdefault(output, {})[name] = np.concatenate(kept)
    times = parts[0].curves.times if parts[0].curves else np.empty(0)
    seed = trial.population.seed if trial.population else trial.seed
    return Outcome(
        trial=trial,
        rules=rules,
        patients=patients,
        visits=visits,
        curves=Curves(times, values),
        summary=summarize(patients, trial.visits.landmarks),
        made_by=made_by(trial.model, seed=seed, rtol=trial.rtol, arms=str({a.name: a.n for a in trial.arms})),
    )


@dataclass(frozen=True)
class ChunkOutcome:
    """What :class:`Readout` makes of one chunk."""

    arm: str
    patients: Any
    visits: Visits | None
    curves: Any


@dataclass(frozen=True)
class Readout:
    """Judges one chunk of observations; what ``Trial.run`` applies where the chunk was simulated."""

    rules: Rules = field(default_factory=Rules)
    keep_visits: bool = True
    columns: tuple[str, ...] | None = None

    def __call__(self, seen: Observations) -> ChunkOutcome:
        import numpy as np
        import pandas as pd

        from cartsim.engine.rodas import Status

        course, rules = seen.course, self.rules
        judged = judge(
            seen.mprotein,
            seen.response_days,
            seen.baseline,
            rules.response,
            new_therapy_day=course.new_therapy_day,
            death_day=course.death_day,
            end_day=course.last_day,
        )
        pfs = progression_free_survival(
            seen.response_days,
            judged.evaluable,
            judged.progression_day,
            death_day=course.death_day,
            new_therapy_day=course.new_therapy_day,
            followup_day=course.last_day,
            rule=rules.censoring,
        )
        table = judged.patient_table(seen.patients["id"])
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
            codes = figure6(landmark(change, rules.landmark, baseline=seen.baseline))
            extra[f"change_{month:g}"] = change
            extra[f"month_{month:g}"] = pd.Categorical.from_codes(codes, [r.name for r in Response], ordered=True)
        sbcma = np.where(np.isnan(seen.sbcma_change), np.inf, seen.sbcma_change)
        lowest = sbcma.min(axis=1)
        extra["sbcma_nadir"] = np.where(np.isfinite(lowest), lowest, np.nan)
        residual = mrd_per_1e5(seen.tumor_relative, seen.patients["burden"].to_numpy()[:, None] / 100)
        extra["mrd_lowest"] = residual.min(axis=1)
        kinetics = nca(seen.kinetic_days, seen.transgene, lloq=rules.lloq)
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
            landmarks = [f"month_{month:g}" for month in seen.landmarks]
            patients = patients[list(dict.fromkeys([*SUMMARIZED, *landmarks, *self.columns]))].copy()
        visits = None
        if self.keep_visits:
            visits = Visits(
                ids=seen.patients["id"].to_numpy(),
                days=seen.response_days,
                baseline=seen.baseline,
                mprotein=seen.mprotein,
                sbcma=seen.sbcma_change,
                kinetic_days=seen.kinetic_days,
                transgene=seen.transgene,
            )
        return ChunkOutcome(seen.arm, patients, visits, seen.curves)

    def bytes_kept(self, trial: Trial) -> int:
        """Least bytes that stay of a patient: its row in the table, and its measurements where they are kept."""
        assert trial.population is not None
        varied, landmarks = len(trial.population.varied), len(trial.visits.landmarks)
        numbers = varied + 40 + landmarks if self.columns is None else 5 + len({*self.columns} - {*SUMMARIZED})
        if self.keep_visits:
            numbers += 2 + 2 * len(trial.visits.response) + len(trial.visits.kinetics)
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
            visits = Visits(ids=patients["id"].to_numpy(), **under("visits/"))
            if any(len(values) != n for values in (visits.baseline, visits.mprotein, visits.sbcma, visits.transgene)):
                raise ValueError(f"visits of other than {n} patients")
        curves = ChunkCurves(arrays["curves"], under("curves/")) if "curves" in arrays else None
        return ChunkOutcome(from_bytes(arrays["arm"]), patients, visits, curves)


def summarize(patients: pd.DataFrame, landmarks: tuple[float, ...]) -> pd.DataFrame:
    """A row an arm: n, failed, medians with 5th and 95th percentile, rates in percent, median PFS in months."""
    import numpy as np
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
            row |= {f"{category}_{month:g}": 100 * float((codes == category).mean()) for category in GROUPS}
        row["ORR"] = 100 * float((group["best"] >= "PR").mean())
        row["CR"] = 100 * float((group["best"] == "CR").mean())
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


def wilson(
    count: NDArray[Any], n: NDArray[Any], level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson score limits of proportions (statsmodels)."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(count, n, alpha=1 - level, method="wilson")
    return low, high


def visits_table(visits: dict[str, Visits]) -> pd.DataFrame:
    """All measurements in long form: ``arm``, ``id``, ``time``, ``mprotein`` (g/L), ``sbcma`` (%), ``transgene``."""
    import numpy as np
    import pandas as pd

    parts = []
    for arm, own in visits.items():
        days = np.union1d([0.0], np.union1d(own.days, own.kinetic_days))
        n = len(own.ids)
        columns = {name: np.full((n, len(days)), np.nan) for name in ("mprotein", "sbcma", "transgene")}
        columns["mprotein"][:, 0] = own.baseline
        columns["mprotein"][:, np.searchsorted(days, own.days)] = own.mprotein
        columns["sbcma"][:, np.searchsorted(days, own.days)] = own.sbcma
        columns["transgene"][:, np.searchsorted(days, own.kinetic_days)] = own.transgene
        parts.append(
            pd.DataFrame(
                {"arm": arm, "id": np.repeat(own.ids, len(days)), "time": np.tile(days, n)}
                | {name: values.reshape(-1) for name, values in columns.items()}
            )
        )
    return pd.concat(parts, ignore_index=True)


def _joined(parts: list[Visits | None]) -> Visits:
    import numpy as np

    first = parts[0]
    assert first is not None
    shared = {"days": first.days, "kinetic_days": first.kinetic_days}
    return Visits(
        **{
            f.name: shared.get(f.name)
            if f.name in shared
            else np.concatenate([getattr(part, f.name) for part in parts])
            for f in fields(Visits)
        }
    )

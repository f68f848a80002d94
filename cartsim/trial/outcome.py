"""The outcome of a trial: what was measured, judged. Patients, response rates, survival, kinetics, by arm."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.endpoints.categories import categorical, responses
from cartsim.endpoints.judged import Judged
from cartsim.endpoints.kinetics import PERSISTENCE, noncompartmental_columns
from cartsim.endpoints.markers import mrd_negative
from cartsim.endpoints.outcomes import outcomes
from cartsim.endpoints.rates import clopper_pearson, percentages
from cartsim.endpoints.residual import ResidualDisease, residual_disease
from cartsim.endpoints.response import Assessments, Response, landmark
from cartsim.endpoints.times import READ
from cartsim.errors import InputError, brief, check_kind
from cartsim.files import writable_folder, write_whole
from cartsim.observations import EVENTS
from cartsim.runs import as_bytes, from_bytes, pack_frame, unpack_frame
from cartsim.schedule import MONTH
from cartsim.trial.measurements import Curves, Measurements, Visited
from cartsim.trial.protocol import Protocol, Rules, Visits
from cartsim.trial.summary import GROUPS, summarize

if TYPE_CHECKING:
    import pandas as pd

    from cartsim.runs import Arrays

STATES = {"month": "", "true": ", true state"}
"""Columns of categories at landmarks, as observed and of the true state of all, and how endpoints are told apart."""

NEGATIVE = ("not MRD-negative in CR", "MRD-negative in CR")
SUMMARIZED = ("id", "arm", "status", "Cmax", "Tmax_day", "AUC0-28", "measurable", *READ)


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
        return summarize(self.patients, self.protocol.visits.landmarks, self.medians("OS", "DOR", "TTR"))

    @property
    def failures(self) -> pd.DataFrame:
        """Patients whose integration failed: ``id``, ``arm``, ``status``."""
        failed = self.patients[self.patients["status"] != "ok"]
        return failed[["id", "arm", "status"]].reset_index(drop=True)

    def judge(self, rules: Rules) -> TrialResult:
        """The same measurements judged by other rules, without simulating. Raises `InputError` if none were kept."""
        if not isinstance(rules, Rules):
            raise InputError(f"rules are {brief(rules)}; give Rules(...), such as Rules(censoring='ema')")
        protocol = self.protocol.judged_by(rules)
        readout = Readout(protocol, keep_visits=False)
        patients = _joined([readout(seen).patients for seen in self.measurements()], self.arms)
        return replace(self, protocol=protocol, patients=patients)

    def _measured(self, arm: str) -> Measurements:
        """Measurements of one arm again, from the table of patients and what was kept of the visits."""
        from cartsim.engine.trajectories import Status

        rows, landmarks = self.arm(arm), self.protocol.visits.landmarks
        if not self.visits:
            raise InputError("the measurements of this trial were not kept; run it with keep_visits=True")
        return Measurements(
            **vars(self.visits[arm]),
            arm=str(rows["arm"].iloc[0]),
            # Parameters and covariates stand before the status.
            given=_columns(rows.iloc[:, : rows.columns.get_loc("status")]),
            landmarks=landmarks,
            landmark_change=rows[[f"change_{month:g}" for month in landmarks]].to_numpy(),
            events={name: rows[name].to_numpy() for name in EVENTS},
            status=np.array([Status[name] for name in rows["status"]], np.int64),
        )

    def _assessments(self, arm: str) -> Assessments:
        seen = self._measured(arm)
        return seen.mprotein, seen.days, seen.baseline, self.protocol.rules.response, seen.events

    def known_by(self, month: float, by: str, arm: str, limit: float) -> pd.Categorical:
        if by != "MRD":
            return super().known_by(month, by, arm, limit)
        seen, day = self._measured(arm), month * MONTH
        judged = self.judged(arm, until=day)
        complete, known = judged.confirmed == Response.CR, judged.evaluable  # not after a new therapy
        latest = np.where(known, np.arange(known.shape[1]), -1).max(axis=1)
        good = np.take_along_axis(mrd_negative(seen.mrd, limit) & complete & known, np.maximum(latest, 0)[:, None], 1)
        return categorical(np.where(latest < 0, -1, good[:, 0].astype(int)), NEGATIVE)

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
                for column, state in STATES.items():
                    codes = group[f"{column}_{month:g}"]
                    for name, categories in GROUPS.items():
                        count = int(codes.isin(categories).sum())
                        rows.append((arm, f"month {month:g}{state}", name, len(group), count))
            for response in Response:
                count = int((group["best"] == response.name).sum())
                rows.append((arm, "best response", response.name, len(group), count))
        table = pd.DataFrame(rows, columns=["arm", "endpoint", "category", "n", "count"])
        count, n = table["count"].to_numpy(), table["n"].to_numpy()
        low, high = clopper_pearson(count, n)
        return table.assign(**percentages(count, n), exact_low=100 * low, exact_high=100 * high)

    def persistence(self) -> pd.DataFrame:
        """Transgene at months 6 and 12, a row an arm and month: who had a sample, and in whom it was quantifiable.

        ``n``, ``evaluable`` (a sample within half a month), ``detectable``, and the ``percent`` of those evaluable with
        Wilson limits ``low``, ``high``, NaN where nobody was. Raises `InputError` where the columns were not kept.
        """
        import pandas as pd

        missing = [name for name in PERSISTENCE.values() if name not in self.patients]
        if missing:
            raise InputError(f"the column {missing[0]} was not kept; run the trial without columns=")
        rows = []
        for arm, group in self.patients.groupby("arm", observed=True, sort=False):
            for month, name in PERSISTENCE.items():
                found = group[name]
                rows.append((arm, month, len(group), int(found.notna().sum()), int(found.sum())))
        table = pd.DataFrame(rows, columns=["arm", "month", "n", "evaluable", "detectable"])
        known = table["evaluable"] > 0
        shares = percentages(table["detectable"].to_numpy(), np.maximum(table["evaluable"].to_numpy(), 1))
        return table.assign(**{name: np.where(known, values, np.nan) for name, values in shares.items()})

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
        return residual_disease(cells, seen.days, judged.confirmed, pfs._replace(time=pfs.time * MONTH), limit=limit)

    def pfs(self) -> pd.DataFrame:
        """Kaplan-Meier steps of every arm: ``arm``, then those of ``KaplanMeier.frame``, ``time_months`` first."""
        import pandas as pd

        steps = {arm: self.survival(arm=arm).frame() for arm in self.arms}
        return pd.concat(steps, names=["arm"]).reset_index(level="arm").rename(columns={"time": "time_months"})

    def save(self, folder: str | Path) -> list[Path]:
        """Write patients.parquet, visits.parquet (if kept), responses.csv, survival.csv, pfs.csv, persistence.csv and
        summary.json, and comparisons.csv where there are two arms or more.
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
        if {*PERSISTENCE.values()} <= set(self.patients):
            writers["persistence.csv"] = lambda path: self.persistence().to_csv(path, index=False)
        if len(self.arms) > 1:
            writers["comparisons.csv"] = lambda path: self.comparisons().to_csv(path, index=False)
        if self.visits:
            writers["visits.parquet"] = lambda path: visits_table(self.visits, self.protocol.visits).to_parquet(
                path, index=False
            )
        return [write_whole(folder / name, write) for name, write in writers.items()]

    def about(self) -> dict[str, Any]:
        """What summary.json holds."""
        rules = self.protocol.rules
        return {
            "made_by": self.made_by,
            "visits": asdict(self.protocol.visits),
            "rules": {
                "response": vars(rules.response),
                "landmark": vars(rules.landmark),
                **rules.further() | {"lloq": self.protocol.lloq},
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
    """What `Readout` makes of one chunk; its patients as columns (n,) by name."""

    arm: str
    patients: dict[str, Any]
    visits: Visited | None
    curves: Curves | None


@dataclass(frozen=True)
class Readout:
    """Judges the measurements of one chunk; what `Trial.run` applies where the chunk was simulated."""

    protocol: Protocol = field(default_factory=Protocol)
    keep_visits: bool = True
    columns: tuple[str, ...] | None = None

    def __call__(self, seen: Measurements) -> ChunkOutcome:
        from cartsim.engine.trajectories import Status

        rules = self.protocol.rules
        found = outcomes(
            seen.mprotein,
            seen.days,
            seen.baseline,
            rules.response,
            rules.censoring,
            events=seen.events,
            alive_day=seen.days[..., -1],  # without a cut-off the living are followed to the last visit
            censor_no_baseline=rules.censor_no_baseline,
        )
        columns = seen.given | {"status": categorical(seen.status, tuple(Status.__members__))} | seen.events
        for k, month in enumerate(seen.landmarks):
            change = seen.landmark_change[:, k]
            columns[f"change_{month:g}"] = change
            for name, known in (("month", _observed_change(seen, found.judged.evaluable, month)), ("true", change)):
                columns[f"{name}_{month:g}"] = responses(landmark(known, rules.landmark, baseline=seen.baseline))
        for name, values in (("sbcma_nadir", seen.sbcma), ("mrd_lowest", seen.mrd)):
            lowest = np.where(found.judged.evaluable & np.isfinite(values), values, np.inf).min(axis=1)
            columns[name] = np.where(np.isfinite(lowest), lowest, np.nan)
        columns |= found.columns(Status.failed(seen.status))
        transgene = seen.transgene
        if rules.sampled_until == "progression":
            left = np.fmin(found.progression_day, seen.events["new_therapy_day"])
            transgene = np.where(seen.kinetic_days > left[:, None], np.nan, transgene)
        columns |= noncompartmental_columns(
            seen.kinetic_days, transgene, lloq=self.protocol.lloq, after_blq=rules.after_blq
        )
        if self.columns is not None:
            landmarks = [f"{name}_{month:g}" for month in seen.landmarks for name in STATES]
            columns = {name: columns[name] for name in [*SUMMARIZED, *landmarks, *self.columns]}
        visits = seen.visited() if self.keep_visits else None
        return ChunkOutcome(seen.arm, columns, visits, seen.curves)

    def bytes_kept(self, varied: int, visits: Visits) -> int:
        """Least bytes that stay of a patient: its row in the table, and its measurements where they are kept."""
        landmarks = len(visits.landmarks)
        numbers = varied + 42 + 2 * landmarks if self.columns is None else 8 + len({*self.columns} - {*SUMMARIZED})
        if self.keep_visits:
            numbers += 2 + 3 * len(visits.response) + len(visits.kinetics)
            numbers += len(visits.response) + len(visits.kinetics) if visits.windows else 0
        return 8 * numbers

    def pack(self, result: ChunkOutcome) -> Arrays:
        """The result as arrays, for a checkpoint."""
        import pandas as pd

        arrays: Arrays = {"arm": as_bytes(result.arm)}
        arrays |= {f"patients/{name}": values for name, values in pack_frame(pd.DataFrame(result.patients)).items()}
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

        patients = _columns(unpack_frame(under("patients/"), n))
        visits = None
        if self.keep_visits:
            visits = Visited(ids=patients["id"], **under("visits/"))
            if any(len(values) != n for name, values in vars(visits).items() if name not in visits.shared):
                raise ValueError(f"visits of other than {n} patients")
        curves = Curves(arrays["curves"], under("curves/")) if "curves" in arrays else None
        return ChunkOutcome(from_bytes(arrays["arm"]), patients, visits, curves)


def _observed_change(seen: Measurements, evaluable: NDArray[np.bool_], month: float) -> NDArray[np.float64]:
    """(n,) Percent change as measured at the assessment nearest to a landmark, NaN without one within half a month."""
    distance = np.where(evaluable, np.abs(seen.days - month * MONTH), np.inf)
    nearest = distance.argmin(axis=1)
    rows = np.arange(len(nearest))
    value = np.where(distance[rows, nearest] <= MONTH / 2, seen.mprotein[rows, nearest], np.nan)
    return 100 * (value / seen.baseline - 1)


def gathered(parts: Sequence[ChunkOutcome], protocol: Protocol, made: dict[str, Any]) -> TrialResult:
    """The result of a trial from the outcomes of its chunks, in order; the chunks' columns are given up."""
    names = list(dict.fromkeys(part.arm for part in parts))
    patients = _joined([part.patients for part in parts], names)
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


def _joined(parts: Sequence[dict[str, Any]], arms: Sequence[str]) -> pd.DataFrame:
    """The table of all patients; the parts are emptied on the way, so that there is one copy at a time."""
    import pandas as pd

    columns = {name: _concatenated([part.pop(name) for part in parts]) for name in list(parts[0])}
    columns["arm"] = pd.Categorical(columns["arm"], categories=list(arms), ordered=True)
    return pd.DataFrame(columns)


def _concatenated(parts: Sequence[Any]) -> Any:
    """Parts of one column as one; categories by their codes, which pandas would compare name by name."""
    import pandas as pd

    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    if isinstance(first, pd.Categorical):
        return pd.Categorical.from_codes(np.concatenate([part.codes for part in parts]), dtype=first.dtype)
    return pd.concat([pd.Series(part) for part in parts], ignore_index=True).array


def _columns(table: pd.DataFrame) -> dict[str, Any]:
    """The columns of a table by name, as arrays."""
    return {name: np.asarray(own) if isinstance(own.dtype, np.dtype) else own.array for name, own in table.items()}


def visits_table(visits: Mapping[str, Visited], planned: Visits) -> pd.DataFrame:
    """All measurements in long form: ``arm``, ``id``, ``time``, with windows ``planned``, and `COLUMNS`."""
    import pandas as pd

    table = pd.concat([own.frame(planned).assign(arm=arm) for arm, own in visits.items()], ignore_index=True)
    return table[["arm", *table.columns.drop("arm")]]

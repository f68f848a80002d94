"""Retreatment at progression: a second infusion for those in whom the first one has failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.endpoints.censoring import duration_of_response, progression_free_survival
from cartsim.endpoints.kinetics import noncompartmental_columns
from cartsim.endpoints.paired import difference_of_rates
from cartsim.endpoints.rates import percentages, wilson
from cartsim.endpoints.response import judge
from cartsim.endpoints.survival import median_of
from cartsim.errors import InputError, check_kind, elsewhere
from cartsim.regimen import Infusion, Regimen
from cartsim.results import Result
from cartsim.schedule import MONTH
from cartsim.simulation import simulate_rows
from cartsim.trial.conduct import Conduct
from cartsim.trial.outcome import TrialResult
from cartsim.trial.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

KARMMA_RETREATED, KARMMA_RESPONDED = 28, 6  # Munshi 2021, doi:10.1056/NEJMoa2024850


@dataclass(frozen=True, repr=False, eq=False)
class Retreated(Result):
    """Second infusions at progression, in the same patients.

    ``patients``: a row for each retreated patient and second dose (0: not retreated, for comparison): id,
    ``second_dose``, ``status`` of the simulation, ``day`` of retreatment, ``mprotein`` (g/L) and ``tumor`` (percent of
    its first burden) then, ``first_best`` response to the first infusion, ``best`` response to the second, its
    ``response_day`` and ``progression_day`` and its ``duration_days`` (with ``ended``), counted from retreatment,
    ``Cmax`` and ``Tmax_day`` of the second expansion. ``by_dose``, also ``summary``: a row a second dose: n, responded,
    percent with Wilson limits, percent with CR, ``duration_months`` (median duration of response, with limits), median
    tumor at retreatment and Cmax.
    ``differences`` of the response rates to that of the smallest second dose, with paired limits. ``first``: the trial
    of the first infusion.
    """

    what = "retreatment"
    first: TrialResult
    patients: pd.DataFrame
    by_dose: pd.DataFrame
    differences: pd.DataFrame
    made_by: dict[str, Any] = field(default_factory=dict)

    def against_karmma(self) -> str:
        """The rates beside KarMMa's, in one sentence."""
        if self.patients.empty:
            return "Nobody progressed, so nobody was retreated"
        low, high = wilson(KARMMA_RESPONDED, KARMMA_RETREATED)
        rates = "; ".join(
            f"{row.percent:.0f} % ({row.low:.0f}-{row.high:.0f}) after {row.second_dose / 1e6:g}e6 cells"
            for row in self.summary.itertuples()
            if row.second_dose > 0
        )
        return (
            f"Second response in {rates}; KarMMa {100 * KARMMA_RESPONDED / KARMMA_RETREATED:.0f} % "
            f"({100 * low:.0f}-{100 * high:.0f}), {KARMMA_RESPONDED} of {KARMMA_RETREATED}. At retreatment the median "
            f"patient had {self.summary['tumor'].iloc[-1]:.0f} % of the first tumor burden, on which expansion depends"
        )

    @property
    def frame(self) -> pd.DataFrame:
        """The retreated patients."""
        return self.patients

    @property
    def summary(self) -> pd.DataFrame:
        """A row a second dose."""
        return self.by_dose

    @property
    def failures(self) -> pd.DataFrame:
        """Infusions without a complete result: ``id``, ``arm`` (the dose), ``status``."""
        import pandas as pd

        failed = self.patients[self.patients["status"] != "ok"] if len(self.patients) else self.patients
        rows = failed.reindex(columns=["id", "second_dose", "status"]).rename(columns={"second_dose": "arm"})
        told = [part for part in (self.first.failures, rows) if len(part)]
        return pd.concat(told, ignore_index=True) if told else self.first.failures

    def tables(self) -> dict[str, pd.DataFrame]:
        """retreated.csv (patients), retreatment.csv and retreatment_differences.csv."""
        return {
            "retreated.csv": self.patients,
            "retreatment.csv": self.summary,
            "retreatment_differences.csv": self.differences,
        }

    def about(self) -> dict[str, Any]:
        """What retreatment.json holds."""
        return {"made_by": self.made_by, "against_karmma": self.against_karmma()}


@elsewhere(seed="a seed belongs to the patients: Population(model, seed=...)")
def retreat(
    trial: Trial,
    second_doses: Sequence[float] | None = None,
    *,
    delay: float = 28.0,
    n_jobs: int = -1,
    progress: bool = False,
) -> Retreated:
    """Treat the patients of a trial, and those who progress again, ``delay`` days after the day of progression.

    The first infusion is judged as in any trial, without error of measurement, and so is the day of progression. The
    second is judged by the same rules at the same visits counted from it, with M-protein at retreatment as the new
    baseline: a response is a confirmed fall by half from there; CR and VGPR keep their limits in g/L. The patient's
    parameters stay as they were: there are no antibodies against the cells, no exhaustion and no loss of antigen.
    Without ``extinction`` in the trial's `Solver`, pools far below one cell may re-expand when the tumor comes back, as
    the published equations have it.

    Parameters
    ----------
    trial
        Of one arm, a single dose. Its assays and conduct are not used.
    second_doses
        Cells, each given to all who progressed; by default the same dose, and twice it.
    delay
        Days from progression to the second infusion.
    n_jobs, progress
        As for `cartsim.Trial.run`.

    Raises
    ------
    InputError
        For a trial of several arms or without a dose, and second doses or delays that cannot be.
    """
    import pandas as pd

    check_kind("the trial", trial, Trial, "Trial(population, arms)")
    dose = trial.arms[0].dose
    if len(trial.arms) != 1 or dose is None:
        raise InputError("retreatment follows one dose; give a trial with one arm, such as arms=[450e6]")
    second = check_retreatment(dose, second_doses, delay)
    protocol = trial.protocol.judged_by(trial.protocol.rules)
    visits = replace(protocol.visits, window=(0, 0), kinetics_window=(0, 0))
    trial = replace(trial, protocol=replace(protocol, visits=visits, assays={}, conduct=Conduct()), curves=0)
    first = trial.run(n_jobs=n_jobs, progress=progress, keep_visits=False)
    progressed = first.patients[first.patients["progression_day"].notna()]
    parts = [
        _second(trial, group, Infusion(0.0, dose), float(day) + delay, (0.0, *second))
        for day, group in progressed.groupby("progression_day")
    ]
    patients = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["id", "second_dose"])
    patients = patients.sort_values(["second_dose", "id"], ignore_index=True)
    rows, compared = [], []
    responded = {cells: rows_["responded"].to_numpy() for cells, rows_ in patients.groupby("second_dose")}
    for cells, group in patients.groupby("second_dose"):
        rows.append(_summary(float(cells), group))
        if cells > min(second):
            d = difference_of_rates(responded[cells], responded[min(second)])
            compared.append((cells, min(second), d.value, d.low, d.high))
    columns = ["second_dose", "reference", "difference", "low", "high"]
    return Retreated(
        first=first,
        patients=patients,
        by_dose=pd.DataFrame(rows),
        differences=pd.DataFrame(compared, columns=columns),
        made_by=first.made_by | {"n": trial.n, "dose": dose, "second_doses": str(list(second)), "delay": delay},
    )


def check_retreatment(dose: float, second_doses: Sequence[float] | None, delay: float) -> tuple[float, ...]:
    """The doses of retreatment (by default the first and twice it); InputError for what cannot be one."""
    second = tuple(second_doses) if second_doses is not None else (dose, 2 * dose)
    if not second or len(set(second)) < len(second):
        raise InputError(f"second doses {list(second)}; give one or more, each once")
    for cells in second:
        if not cells > 0:
            raise InputError(f"a second dose of {cells:g} cells; give a number above 0")
        Infusion(delay, cells)  # refuses what is no time or no number of cells
    return second


def _second(trial: Trial, group: pd.DataFrame, first: Infusion, day: float, doses: tuple[float, ...]) -> pd.DataFrame:
    """Patients with one day of retreatment, all of them with each of the doses, judged from that day on."""
    from cartsim.engine.trajectories import Status

    visits, rules = trial.protocol.visits, trial.protocol.rules
    cells = np.repeat(doses, len(group))
    group = group.iloc[np.tile(np.arange(len(group)), len(doses))]
    table = group.set_index("id")[[name for name in group if name in trial.model.parameters]]
    response, kinetics = day + np.array(visits.response), day + np.array(visits.kinetics)
    times = np.unique(np.concatenate([[day], response, kinetics]))
    outputs, regimen = ["mprotein_gL", "transgene", "tumor_relative"], Regimen((first, Infusion(day)))
    simulated = simulate_rows(trial.model, table, regimen, times, outputs, own_dose=cells, solver=trial.solver)

    def at(name: str, days: ArrayLike) -> NDArray[np.float64]:
        # What is nearly 0 may miss it by the tolerance.
        return np.maximum(simulated.usable(name)[:, np.searchsorted(times, days)], 0.0)

    baseline = at("mprotein_gL", [day])[:, 0]
    judged = judge(at("mprotein_gL", response), visits.response, baseline, rules.response)
    survival = progression_free_survival(
        visits.response, judged.evaluable, judged.progression_day, rule=rules.censoring
    )
    lasting = duration_of_response(survival, judged.response_day)
    kinetic = noncompartmental_columns(visits.kinetics, at("transgene", kinetics), lloq=trial.protocol.lloq)
    found = judged.patient_table(table.index)[["id", "best", "response_day", "progression_day", "change"]]
    return found.assign(
        second_dose=cells,
        status=[Status(code).name for code in simulated.status],
        day=day,
        mprotein=baseline,
        tumor=100 * at("tumor_relative", [day])[:, 0],
        responded=(found["best"] >= "PR").to_numpy(),
        duration_days=lasting.time,
        ended=lasting.event,
        Cmax=kinetic["Cmax"],
        Tmax_day=kinetic["Tmax_day"],
        first_best=group["best"].astype(str).to_numpy(),
    )


def _summary(cells: float, group: pd.DataFrame) -> dict[str, Any]:
    count, n = int(group["responded"].sum()), len(group)
    row: dict[str, Any] = {"second_dose": cells, "n": n, "responded": count}
    row |= {name: float(value) for name, value in percentages(count, n).items()}
    row["CR"] = 100 * float((group["best"] == "CR").mean())
    row |= median_of(group["duration_days"] / MONTH, group["ended"]).named("duration_months")
    return row | {name: float(group[name].median()) for name in ("tumor", "Cmax")}

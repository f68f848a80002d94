"""Once or twice, and how: split doses, a second infusion, and retreatment at progression, in the same patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartsim.analysis.outcome import Outcome, Rules, run, wilson
from cartsim.analysis.paired import bootstrap, difference_of_means, difference_of_rates, ratio_of_means
from cartsim.assay import Assay
from cartsim.conduct import Conduct
from cartsim.endpoints.censoring import duration_of_response, progression_free_survival
from cartsim.endpoints.kinetics import nca
from cartsim.endpoints.response import judge
from cartsim.endpoints.survival import Estimate, kaplan_meier
from cartsim.errors import InputError
from cartsim.files import save_tables
from cartsim.model import Model, load
from cartsim.population import Population
from cartsim.regimen import Infusion, Regimen
from cartsim.simulate import RTOL, simulate
from cartsim.trial import MONTH, Arm, Trial, Visits

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

KARMMA_RETREATED, KARMMA_RESPONDED = 28, 6  # Munshi 2021, doi:10.1056/NEJMoa2024850


def common(dose: float) -> dict[str, Regimen]:
    """Regimens to compare with one infusion: twice the dose, the dose split over three days, and a second infusion.

    The split is 10, 30 and 60 % on days 0, 1 and 2, as in early CD19 trials; the second infusion comes on day 90.
    """
    return {
        "single": Regimen.single(dose),
        "double": Regimen.single(2 * dose),
        "split": Regimen.split(dose, (0.1, 0.3, 0.6), (0, 1, 2)),
        "second on day 90": Regimen.repeated(dose, (0, 90)),
    }


@dataclass(frozen=True)
class Comparison:
    """Regimens in the same patients.

    ``outcome`` is the judged trial, an arm a regimen. ``differences``: a row for each other regimen and endpoint,
    ``difference`` to ``reference`` with paired 95 % limits ``low``, ``high`` in ``unit``: percentage points, months,
    or a ratio of geometric means.
    """

    outcome: Outcome
    reference: str
    differences: pd.DataFrame

    def save(self, folder: str | Path) -> list[Path]:
        """Write regimens.csv (a row a regimen), differences.csv and regimens.json."""
        tables = {"regimens.csv": self.outcome.summary, "differences.csv": self.differences}
        return save_tables(folder, tables, ("regimens.json", self.outcome.made_by))


def compare(
    model: str | Path | Model,
    regimens: Mapping[str, Regimen],
    *,
    reference: str | None = None,
    n: int = 1000,
    population: Population | None = None,
    visits: Visits = Visits(),  # noqa: B008 (frozen)
    rules: Rules = Rules(),  # noqa: B008 (frozen)
    assays: Mapping[str, Assay] | None = None,
    conduct: Conduct = Conduct(),  # noqa: B008 (frozen)
    extinction: float | None = None,
    seed: int = 2021,
    resamples: int = 500,
    rtol: float = RTOL,
    n_jobs: int = -1,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> Comparison:
    """Treat the same n patients with each regimen, and compare with ``reference`` (the first one by default).

    Endpoints: response (PR or CR) and CR at the landmarks, confirmed best response (PR or better) and CR, M-protein
    change at the landmarks, progression-free months up to the last visit (area under the Kaplan-Meier curve), Cmax and
    AUC0-28. Limits: `cartsim.analysis.paired`; those of progression-free months by bootstrap over patients. Transgene
    is not sampled on days on which any of the regimens infuses, since the cells just infused would be measured.
    The other arguments are those of `cartsim.trial.Trial`.
    """
    import pandas as pd

    if len(regimens) < 2:
        raise InputError(f"{len(regimens)} regimens; give two or more to compare")
    names = list(regimens)
    reference = names[0] if reference is None else reference
    if reference not in regimens:
        raise InputError(f"no regimen {reference!r} to compare with; there are {', '.join(names)}")
    infused = {infusion.time for regimen in regimens.values() for infusion in regimen.doses}
    sampled = replace(visits, kinetics=tuple(day for day in visits.kinetics if day not in infused))
    model = load(model)
    trial = Trial(
        model,
        tuple(Arm(n=n, name=name, regimen=regimen) for name, regimen in regimens.items()),
        population,
        sampled,
        dict(assays or {}),
        conduct,
        seed,
        rtol,
        extinction,
        curves=0,
    )
    judged = run(trial, rules, n_jobs=n_jobs, progress=progress, checkpoint=checkpoint, keep_visits=False)
    groups = {name: rows.reset_index(drop=True) for name, rows in judged.patients.groupby("arm", observed=True)}
    tau = visits.response[-1]
    base = groups[reference]
    rows: list[tuple[Any, ...]] = []
    for name in names:
        if name == reference:
            continue
        arm = groups[name]

        def add(endpoint: str, unit: str, found: Estimate, name: str = name) -> None:
            rows.append((name, endpoint, unit, found.value, found.low, found.high))

        for month in visits.landmarks:
            at = f"month_{month:g}"
            for what, least in (("response", "PR"), ("CR", "CR")):
                found = difference_of_rates(arm[at] >= least, base[at] >= least)
                add(f"{what} at month {month:g}", "points", found)
            change = difference_of_means(arm[f"change_{month:g}"], base[f"change_{month:g}"])
            add(f"M-protein change at month {month:g}", "points", change)
        add("best response PR or better", "points", difference_of_rates(arm["best"] >= "PR", base["best"] >= "PR"))
        add("best response CR", "points", difference_of_rates(arm["best"] == "CR", base["best"] == "CR"))
        add(
            f"progression-free time to month {tau / MONTH:g}", "months", _months_gained(arm, base, tau, resamples, seed)
        )
        for measure in ("Cmax", "AUC0-28"):
            add(measure, "ratio", ratio_of_means(arm[measure], base[measure]))
    table = pd.DataFrame(rows, columns=["regimen", "endpoint", "unit", "difference", "low", "high"])
    table.insert(1, "reference", reference)
    return Comparison(judged, reference, table)


@dataclass(frozen=True)
class Retreated:
    """Second infusions at progression, in the same patients.

    ``patients``: a row for each retreated patient and second dose (0: not retreated, for comparison): id,
    ``second_dose``, ``day`` of retreatment, ``mprotein`` (g/L) and ``tumor`` (percent of its first burden) then,
    ``first_best`` response to the first infusion, ``best`` response to the second, its ``response_day`` and
    ``progression_day`` and its ``duration`` (days, with ``ended``), counted from retreatment, ``Cmax`` and ``Tmax`` of
    the second expansion. ``summary``: a row a second dose: n, responded, percent with Wilson limits, percent with CR,
    median duration of response in months with limits, median tumor at retreatment and Cmax.
    ``differences`` of the response rates to that of the smallest second dose, with paired limits. ``first``: the trial
    of the first infusion.
    """

    first: Outcome
    patients: pd.DataFrame
    summary: pd.DataFrame
    differences: pd.DataFrame
    made_by: dict[str, Any] = field(default_factory=dict)

    def against_karmma(self) -> str:
        """The rates beside KarMMa's, in one sentence."""
        import numpy as np

        if self.patients.empty:
            return "Nobody progressed, so nobody was retreated"
        low, high = (limit[0] for limit in wilson(np.array([KARMMA_RESPONDED]), np.array([KARMMA_RETREATED])))
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

    def save(self, folder: str | Path) -> list[Path]:
        """Write retreated.csv (patients), retreatment.csv, retreatment_differences.csv and retreatment.json."""
        tables = {
            "retreated.csv": self.patients,
            "retreatment.csv": self.summary,
            "retreatment_differences.csv": self.differences,
        }
        about = {"made_by": self.made_by, "against_karmma": self.against_karmma()}
        return save_tables(folder, tables, ("retreatment.json", about))


def retreat(
    model: str | Path | Model,
    dose: float,
    second_doses: Sequence[float] | None = None,
    *,
    n: int = 1000,
    delay: float = 28.0,
    extinction: float | None = None,
    population: Population | None = None,
    visits: Visits = Visits(),  # noqa: B008 (frozen)
    rules: Rules = Rules(),  # noqa: B008 (frozen)
    seed: int = 2021,
    rtol: float = RTOL,
    n_jobs: int = -1,
    progress: bool = False,
) -> Retreated:
    """Treat n patients with ``dose`` cells, and those who progress again, ``delay`` days after the day of progression.

    second_doses: cells, each given to all who progressed (by default the same dose, and twice it).
    The first infusion is judged as in any trial (IMWG 2016 at the visits, without error of measurement), and so is the
    day of progression. The second is judged by the same rules at the same visits counted from it, with M-protein at
    retreatment as the new baseline: a response is a confirmed fall by half from there; CR and VGPR keep their limits in
    g/L. The patient's parameters stay as they were: there are no antibodies against the cells, no exhaustion and no
    loss of antigen. ``extinction`` (cells) is that of `cartsim.simulate.simulate`: without it, pools far below one cell
    may re-expand when the tumor comes back, as the published equations have it.
    """
    import pandas as pd

    second = check_retreatment(dose, second_doses, delay)
    model = load(model)
    trial = Trial(model, (Arm(dose, n=n),), population, visits, seed=seed, rtol=rtol, extinction=extinction, curves=0)
    first = run(trial, rules, n_jobs=n_jobs, progress=progress, keep_visits=False)
    progressed = first.patients[first.patients["progression_day"].notna()]
    assert trial.population is not None
    model = trial.population.model
    inputs = [name for name in progressed if name in model.parameters]
    parts = []
    for day, group in progressed.groupby("progression_day"):
        for cells in (0.0, *second):
            regimen = Regimen((Infusion(0.0, dose), Infusion(float(day) + delay, cells)))
            parts.append(_second(model, group[["id", *inputs]], regimen, visits, rules, rtol, extinction))
            parts[-1]["first_best"] = group["best"].astype(str).to_numpy()
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
        summary=pd.DataFrame(rows),
        differences=pd.DataFrame(compared, columns=columns),
        made_by=first.made_by | {"n": n, "dose": dose, "second_doses": str(list(second)), "delay": delay},
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


def _second(
    model: Model,
    table: pd.DataFrame,
    regimen: Regimen,
    visits: Visits,
    rules: Rules,
    rtol: float,
    extinction: float | None,
) -> pd.DataFrame:
    """Patients with one day of retreatment, judged from that day on."""
    import numpy as np

    day, cells = regimen.doses[1].time, regimen.doses[1].amount
    response, kinetics = day + np.array(visits.response), day + np.array(visits.kinetics)
    times = np.unique(np.concatenate([[day], response, kinetics]))
    outputs = ["mprotein_gL", "transgene", "tumor_relative"]
    simulated = simulate(model, table, regimen, times, outputs, rtol=rtol, extinction=extinction)

    def at(name: str, days: ArrayLike) -> NDArray[np.float64]:
        # What is nearly 0 may miss it by the tolerance.
        return np.maximum(simulated[name][:, np.searchsorted(times, days)], 0.0)

    baseline = at("mprotein_gL", [day])[:, 0]
    judged = judge(at("mprotein_gL", response), visits.response, baseline, rules.response)
    survival = progression_free_survival(
        visits.response, judged.evaluable, judged.progression_day, rule=rules.censoring
    )
    lasting = duration_of_response(survival, judged.response_day)
    kinetic = nca(visits.kinetics, at("transgene", kinetics), lloq=rules.lloq)
    found = judged.patient_table(table["id"].to_numpy())[["id", "best", "response_day", "progression_day", "change"]]
    return found.assign(
        second_dose=cells,
        day=day,
        mprotein=baseline,
        tumor=100 * at("tumor_relative", [day])[:, 0],
        responded=(found["best"] >= "PR").to_numpy(),
        duration=lasting.time,
        ended=lasting.event,
        Cmax=kinetic["Cmax"].to_numpy(),
        Tmax=kinetic["Tmax"].to_numpy(),
    )


def _summary(cells: float, group: pd.DataFrame) -> dict[str, Any]:
    import numpy as np

    count, n = int(group["responded"].sum()), len(group)
    low, high = (float(limit[0]) for limit in wilson(np.array([count]), np.array([n])))
    row = {
        "second_dose": cells,
        "n": n,
        "responded": count,
        "percent": 100 * count / n,
        "low": 100 * low,
        "high": 100 * high,
    }
    row["CR"] = 100 * float((group["best"] == "CR").mean())
    known = group["duration"].notna()
    median = kaplan_meier(group["duration"][known] / MONTH, group["ended"][known]).median if known.any() else None
    row |= {
        "duration": median.value if median else np.nan,
        "duration_low": median.low if median else np.nan,
        "duration_high": median.high if median else np.nan,
        "tumor": float(group["tumor"].median()),
        "Cmax": float(group["Cmax"].median()),
    }
    return row


def _months_gained(arm: pd.DataFrame, base: pd.DataFrame, tau: float, resamples: int, seed: int) -> Estimate:
    """Difference of the areas under the two Kaplan-Meier curves up to tau, in months."""
    import numpy as np

    known = (arm["pfs_time"].notna() & base["pfs_time"].notna()).to_numpy()
    times = [group["pfs_time"].to_numpy()[known] for group in (arm, base)]
    events = [group["pfs_event"].to_numpy()[known] for group in (arm, base)]

    def gained(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        areas = [area_under_survival(t[rows], e[rows], tau) for t, e in zip(times, events, strict=True)]
        return np.array((areas[0] - areas[1]) / MONTH)

    value, low, high = bootstrap(gained, int(known.sum()), times=resamples, seed=seed)
    return Estimate(float(value), float(low), float(high))


def area_under_survival(time: NDArray[np.float64], event: NDArray[np.bool_], tau: float) -> float:
    """Restricted mean up to tau of times (n,) with events; after the last time the curve is taken to stay."""
    import numpy as np

    ends, place = np.unique(np.minimum(time, tau), return_inverse=True)
    total = np.bincount(place)
    events = np.bincount(place, weights=event & (time <= tau))
    at_risk = total[::-1].cumsum()[::-1]
    survival = np.cumprod(1 - events / at_risk)
    edges = np.concatenate([[0.0], ends, [tau]])
    return float(np.diff(edges) @ np.concatenate([[1.0], survival]))

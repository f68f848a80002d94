"""Response and exposure against dose in one population, and where, if anywhere, a plateau begins.

Singh 2021, Figure 6b (doi:10.1002/psp4.12598): response categories at 6 and 21 months against 10e6 to 1,000e6 cells.
The paper reads a threshold near 150e6 cells from it. The deposited model with the published variability does not show
one: its response rates are flat from 10e6 cells on. What is found here is reported as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.endpoints.paired import bootstrap, difference_of_means, difference_of_rates
from cartsim.endpoints.rates import percentages
from cartsim.endpoints.survival import Estimate
from cartsim.errors import InputError, brief, elsewhere
from cartsim.experiments.replicates import Replicates, ends, replicated
from cartsim.model.model import Model, Variability
from cartsim.model.reader import load
from cartsim.population.patients import Patients
from cartsim.population.population import Population
from cartsim.population.variability import fixed, logitnormal, uniform
from cartsim.results import Result
from cartsim.runs import Running
from cartsim.solver import Solver
from cartsim.trial.outcome import GROUPS, STATES
from cartsim.trial.protocol import Protocol
from cartsim.trial.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

DOSES = (10e6, 20e6, 50e6, 100e6, 150e6, 200e6, 300e6, 450e6, 600e6, 800e6, 1000e6)
CLAIMED_THRESHOLD = {"bb2121_clinical": 150e6}  # cells, by model; Singh 2021, Figure 6b

BURDENS: dict[str, Variability] = {
    "fixed": fixed(),  # everybody has the model's typical burden, 50 %
    "uniform": uniform(5, 95),  # the range of Singh 2021, Figure 4
    # 65 of KarMMa's 128 patients had 50 % or more (Munshi 2021, doi:10.1056/NEJMoa2024850); the SD is assumed and
    # puts nine tenths of the patients between 8 and 93 %.
    "karmma": logitnormal(1.5),
}
"""Distributions of the tumor burden by name."""

BEGINS = "begins in this range"
RESPONSE = ("MR-VGPR", "CR")  # at a landmark: PR or CR in the words of Singh 2021, whose PR holds MR
LEAST = 5.0  # percentage points: a smaller rise over the range of doses is called flat
SHARE = 0.9  # of the greatest effect; the plateau begins where it is reached


@dataclass(frozen=True)
class Plateau:
    """An Emax curve, rate = E0 + Emax*dose/(ED50 + dose), through response rates (percent), and what it says.

    ``rise``: over the range of doses, in percentage points. ``begins``: the dose with nine tenths of Emax, NaN where
    ``verdict`` says that no plateau begins in the range. ``fitted`` (d,) is the curve at the doses. Limits are
    bootstrapped over patients, since the same patients are treated at every dose.
    """

    e0: float
    emax: float
    ed50: float
    rise: Estimate
    begins: Estimate
    verdict: str
    fitted: NDArray[np.float64]

    @property
    def found(self) -> bool:
        """Whether a plateau begins within the range of doses."""
        return self.verdict == BEGINS

    def text(self) -> str:
        """The verdict, and the dose at which the plateau begins with its limits where one does."""
        if not self.found:
            return self.verdict
        begins, low, high = map(_cells, (self.begins.value, self.begins.low, self.begins.high))
        return f"begins at {begins} cells ({100 * self.begins.level:g} % limits {low} to {high})"


@dataclass(frozen=True, repr=False, eq=False)
class DoseResponse(Result):
    """Response and exposure of the same n patients at every dose.

    Attributes
    ----------
    responses
        dose, landmark (months), category (NE and those of Figure 6), n, count, percent with Wilson limits, as observed;
        ``true_percent``, of the true state. Also ``frame``.
    differences
        landmark, dose and the response rate (MR or better, as observed) there less that at the highest dose, percentage
        points with paired limits.
    exposure
        dose, measure (Cmax, Tmax_day, AUC0-28 as sampled), n, mean of the logarithm, percentiles 5, 25, 50, 75, 95.
    slopes
        measure and the exponent b of exposure ~ dose**b within patients, with limits (1 is proportional to dose).
    plateaus
        By landmark, of the response rates as observed.
    failed
        Patients without a result, by arm. Also ``failures``.
    replicates
        The same doses anew in other patients and, with uncertainty, under other estimates; None where not asked for.
    """

    what = "dose-response"
    doses: NDArray[np.float64]
    responses: pd.DataFrame
    differences: pd.DataFrame
    exposure: pd.DataFrame
    slopes: pd.DataFrame
    plateaus: dict[float, Plateau]
    failed: pd.DataFrame
    made_by: dict[str, Any] = field(default_factory=dict)
    replicates: Replicates | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """Response rates by dose, landmark and category."""
        return self.responses

    @property
    def failures(self) -> pd.DataFrame:
        """Patients without a result, by arm."""
        return self.failed

    @property
    def claimed(self) -> float | None:
        """The threshold dose that a publication claims of the model, if one does: Singh 2021 of bb2121, 150e6 cells."""
        return CLAIMED_THRESHOLD.get(str(self.made_by.get("model")))

    @property
    def summary(self) -> pd.DataFrame:
        """A row a dose and landmark: MR or better as observed, percent with Wilson limits; median Cmax and AUC0-28."""
        rates = self.responses[self.responses["category"].isin(RESPONSE)]
        table = rates.groupby(["dose", "landmark"], as_index=False).agg({"count": "sum", "n": "first"})
        medians = self.exposure.pivot(index="dose", columns="measure", values="p50")
        shown = {name: table["dose"].map(medians[name]) for name in ("Cmax", "AUC0-28")}
        return table.assign(**percentages(table.pop("count"), table.pop("n")), **shown)

    def plateau_table(self) -> pd.DataFrame:
        """A row a landmark: the curve, its rise and where the plateau begins, with limits, and the verdict."""
        import pandas as pd

        rows = [
            {
                "landmark": landmark,
                "e0": p.e0,
                "emax": p.emax,
                "ed50": p.ed50,
                **p.rise.named("rise"),
                **p.begins.named("begins"),
                "verdict": p.verdict,
            }
            for landmark, p in self.plateaus.items()
        ]
        return pd.DataFrame(rows)

    def plateau_text(self) -> str:
        """Where response stops rising with dose, by landmark, in one sentence."""
        return "Plateau: " + "; ".join(f"at month {month:g} {p.text()}" for month, p in self.plateaus.items())

    def plateau_replicates(self) -> pd.DataFrame:
        """A row a landmark: the curve through the rates of each replicate, over all of them.

        ``rise`` over the range of doses, percentage points, the median with the ends that hold 95 % of the replicates;
        ``share``, percent of the replicates in which response rises or falls by `LEAST` points or more and the plateau
        begins within the range; and where it begins in these, ``begins`` (cells) with such ends. Empty without
        replicates or with fewer than three doses.
        """
        import pandas as pd

        rows: list[dict[str, float]] = []
        if self.replicates is None or len(self.doses) < 3:
            return pd.DataFrame(rows)
        curve, x, level = _EmaxFit(self.doses), self.doses, 0.95
        for month in self.plateaus:
            rates = self.replicates.frame[f"response_{month:g}"].to_numpy().reshape(-1, len(x))
            fits = np.array([curve(each) for each in rates])
            rise = fits[:, 1] * (x[-1] / (fits[:, 2] + x[-1]) - x[0] / (fits[:, 2] + x[0]))
            begins = fits[:, 2] * SHARE / (1 - SHARE)
            shown = (np.abs(rise) >= LEAST) & (begins >= x[0]) & (begins <= x[-1])
            row = {"landmark": month, "replicates": len(rates), "share": 100 * float(shown.mean())}
            for name, values in (("rise", rise), ("begins", begins[shown])):
                row |= dict(zip((name, f"{name}_low", f"{name}_high"), ends(values, level), strict=True))
            rows.append(row)
        return pd.DataFrame(rows)

    def replicates_text(self) -> str:
        """Where response stops rising with dose in the replicates, in one sentence; "" without replicates."""
        said = []
        for row in self.plateau_replicates().to_dict("records"):
            where = "" if row["share"] == 0 else f" at {_cells(row['begins'])} cells"
            if row["share"] >= LEAST:
                where += f" (95 % of these {_cells(row['begins_low'])} to {_cells(row['begins_high'])})"
            said.append(f"month {row['landmark']:g} in {row['share']:.0f} % of them{where}")
        return f"A plateau begins in the replicates: {'; '.join(said)}" if said else ""

    def threshold(self, dose: float | None = None) -> str:
        """What these rates say of a claimed threshold dose: whether doses below it do worse, in one sentence.

        By default `claimed`; "" for a model of which no threshold is claimed.
        """
        dose = self.claimed if dose is None else dose
        if dose is None:
            return ""
        below = self.doses[self.doses < dose]
        if not below.size:
            return f"No dose below {dose / 1e6:g}e6 cells was simulated, so a threshold there cannot be judged"
        said = []
        for landmark, p in self.plateaus.items():
            rates = self.responses[(self.responses["landmark"] == landmark)]
            rates = rates[rates["category"].isin(RESPONSE)].groupby("dose")["percent"].sum()
            low, high = rates[below[0]], rates[self.doses[-1]]
            shown = "shows" if p.found and p.begins.low <= dose <= p.begins.high else "does not show"
            said.append(
                f"month {landmark:g} {shown} it, {low:.1f} % at {below[0] / 1e6:g}e6, {high:.1f} % at "
                f"{self.doses[-1] / 1e6:g}e6, plateau {p.text()}"
            )
        return f"A threshold near {dose / 1e6:g}e6 cells: " + "; ".join(said)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table by the name of its file."""
        tables = {
            "responses.csv": self.responses,
            "differences.csv": self.differences,
            "exposure.csv": self.exposure,
            "slopes.csv": self.slopes,
            "plateaus.csv": self.plateau_table(),
        }
        if self.replicates is not None:
            tables |= self.replicates.tables() | {"plateau_replicates.csv": self.plateau_replicates()}
        return tables

    def about(self) -> dict[str, Any]:
        """What dose_response.json holds."""
        about = {"made_by": self.made_by, "plateau": self.plateau_text(), "threshold": self.threshold()}
        if self.replicates is not None:
            about |= {"replicates": self.replicates.made_by, "plateau_replicates": self.replicates_text()}
        return about


@elsewhere(Running, seed="a seed belongs to the patients: Population(model, seed=...)")
def dose_response(
    population: Population | Patients,
    doses: Sequence[float] = DOSES,
    *,
    n: int | None = None,
    protocol: Protocol = Protocol(),  # noqa: B008 (frozen)
    solver: Solver = Solver(),  # noqa: B008 (frozen)
    replicates: int | None = None,
    uncertainty: bool | pd.DataFrame = False,
    **how: Unpack[Running],
) -> DoseResponse:
    """Treat the same n patients with each dose and judge them at the protocol's landmarks (months) against baseline.

    Responses are told as observed: by M-protein as measured at the nearest assessment within half a month, in percent
    of all patients, NE without one. The true state, as if everybody had been followed, stands beside them.

    Parameters
    ----------
    population
        Who is treated; `with_burden` makes one of a named distribution of the tumor burden.
    doses
        Cells, two or more, increasing.
    n, protocol, solver
        As for `cartsim.Trial`.
    replicates, uncertainty
        Repeat it all so often (500 times where uncertainty alone is asked for), each time with n other patients and, as
        in `cartsim.replicate`, under other estimates: see ``DoseResponse.replicates``.
    how
        n_jobs, progress and checkpoint, as for `cartsim.Trial.run`.

    Raises
    ------
    InputError
        Before any work, for doses or patients that cannot be.
    """
    import pandas as pd

    given = _doses(doses)
    trial = Trial(population, given.tolist(), n, protocol, solver, curves=0)
    again = replicated(trial, replicates, uncertainty, **how)
    judged = trial.run(keep_visits=False, columns=(), **how)
    n, seed = trial.n or 0, population.seed
    dose_of = {arm.name: dose for arm, dose in zip(trial.arms, given.tolist(), strict=True)}
    patients = judged.patients.assign(dose=judged.patients["arm"].map(dose_of).astype(float))
    shape = (len(given), n)
    responses, differences, plateaus = [], [], {}
    for month in protocol.visits.landmarks:
        seen, true = (patients[f"{column}_{month:g}"].astype(str).to_numpy().reshape(shape) for column in STATES)
        responded = np.isin(seen, [name for group in RESPONSE for name in GROUPS[group]])
        for dose, *states in zip(given, seen, true, strict=True):
            for name, held in GROUPS.items():
                count, real = (int(np.isin(state, held).sum()) for state in states)
                responses.append((dose, month, name, n, count, 100 * real / n))
        for dose, row in zip(given[:-1], responded[:-1], strict=True):
            d = difference_of_rates(row, responded[-1])
            differences.append((month, dose, given[-1], d.value, d.low, d.high))
        plateaus[month] = plateau(given, responded.T, seed=seed)
    table = pd.DataFrame(responses, columns=["dose", "landmark", "category", "n", "count", "true_percent"])
    table = table.assign(**percentages(table["count"], table["n"]), true_percent=table.pop("true_percent"))
    return DoseResponse(
        doses=given,
        responses=table,
        differences=pd.DataFrame(differences, columns=["landmark", "dose", "reference", "difference", "low", "high"]),
        exposure=_exposure(patients, given),
        slopes=_slopes(patients, given, shape),
        plateaus=plateaus,
        failed=judged.failures,
        made_by=judged.made_by | {"burden": _burden(population), "n": n, "rules": repr(protocol.rules)},
        replicates=again,
    )


def plateau(
    doses: ArrayLike, responded: ArrayLike, *, resamples: int = 500, seed: int = 2021, level: float = 0.95
) -> Plateau:
    """Where response stops rising with dose: responded (n, d), true or false, of the same patients at d doses.

    An Emax curve is fitted by least squares to the d rates, for each ED50 on a fine logarithmic grid (a hundredth of
    the lowest to a hundred times the highest dose), and again to each of ``resamples`` bootstrap samples of patients.
    No plateau is claimed where the rise over the range is surely below `LEAST` points (flat), where its limits
    include 0, or where nine tenths of Emax lie beyond the highest dose.
    """
    x, y = _doses(doses), np.asarray(responded, float)
    if y.ndim != 2 or y.shape[1] != len(x) or len(y) == 0:
        raise InputError(f"responses of shape {y.shape} at {len(x)} doses; give (patients, doses)")
    if len(x) < 3:
        nothing = Estimate(np.nan, np.nan, np.nan, level=level)
        rates = 100 * y.mean(axis=0)
        rise = Estimate(float(rates[-1] - rates[0]), np.nan, np.nan, level=level)
        return Plateau(np.nan, np.nan, np.nan, rise, nothing, "not fitted: fewer than three doses", rates)
    curve = _EmaxFit(x)

    def fit(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        times = np.bincount(rows, minlength=len(y))  # that each patient is there; much quicker than taking the rows
        e0, emax, ed50 = curve(100 * (times @ y / len(rows)))
        effect = x / (ed50 + x)
        return np.array([e0, emax, ed50, emax * (effect[-1] - effect[0]), ed50 * SHARE / (1 - SHARE)])

    value, low, high = bootstrap(fit, len(y), times=resamples, seed=seed, level=level)
    e0, emax, ed50, rise, begins = value
    limits = Estimate(float(rise), float(low[3]), float(high[3]), level=level)
    if limits.low > -LEAST and limits.high < LEAST:
        verdict = f"none in this range (flat within {LEAST:g} percentage points)"
    elif limits.low <= 0 <= limits.high:
        verdict = "none in this range (no rise or fall is shown)"
    elif begins > x[-1]:
        verdict = "none in this range (still changing at the highest dose)"
    elif begins < x[0]:
        verdict = "none in this range (reached below the lowest dose)"
    else:
        verdict = BEGINS
    start = (float(begins), float(low[4]), float(high[4])) if verdict == BEGINS else (np.nan,) * 3
    return Plateau(
        float(e0), float(emax), float(ed50), limits, Estimate(*start, level=level), verdict, e0 + emax * x / (ed50 + x)
    )


class _EmaxFit:
    """Least squares for E0, Emax and ED50: linear in the first two for every ED50 of a grid."""

    def __init__(self, doses: NDArray[np.float64]) -> None:
        positive = doses[doses > 0]
        self.ed50 = np.geomspace(positive[0] / 100, 100 * positive[-1], 1200)
        effect = doses / (self.ed50[:, None] + doses)
        self.mean = effect.mean(axis=1)
        self.effect = effect - self.mean[:, None]
        self.size = (self.effect**2).sum(axis=1)

    def __call__(self, rates: NDArray[np.float64]) -> tuple[float, float, float]:
        middle = rates.mean()
        emax = self.effect @ (rates - middle) / self.size
        best = int((emax**2 * self.size).argmax())  # the most that is explained
        return float(middle - emax[best] * self.mean[best]), float(emax[best]), float(self.ed50[best])


def _cells(dose: float) -> str:
    return f"{dose / 1e6:.3g}e6"


def _doses(doses: ArrayLike) -> NDArray[np.float64]:
    try:
        given = np.asarray(doses, float)
    except (TypeError, ValueError):
        raise InputError(f"doses are {brief(doses)}; give numbers of cells") from None
    if given.ndim != 1 or given.size < 2 or not np.isfinite(given).all() or given[0] < 0:
        raise InputError(f"doses are {given.tolist()}; give two or more finite numbers of cells, none negative")
    if (np.diff(given) <= 0).any():
        raise InputError(f"doses {', '.join(f'{d:g}' for d in given)} do not increase; sort them, each given once")
    return given


def with_burden(model: str | Path | Model, burden: str | Variability, *, seed: int = 2021) -> Population:
    """Virtual patients with a distribution of the tumor burden: a name of `BURDENS`, or a `Variability`.

    Raises `InputError` for an unknown name.
    """
    if isinstance(burden, str):
        if burden not in BURDENS:
            raise InputError(f"burden {burden!r} is not known; it is one of {', '.join(BURDENS)}, or a distribution")
        burden = BURDENS[burden]
    return Population(load(model), seed, {"burden": burden})


def _burden(population: Population | Patients) -> str:
    """What is recorded of the burden: the name of its distribution if it has one."""
    if not isinstance(population, Population):
        return "of the patients' table"
    own = population.varied.get("burden", fixed())
    return next((name for name, known in BURDENS.items() if _like(known, own)), repr(own))


def _like(known: Variability, own: Variability) -> bool:
    low, high = (known.low, own.low), (known.high, own.high)
    same = all(a is None or a == b for a, b in (low, high))
    return (known.distribution, known.omega) == (own.distribution, own.omega) and same


def _exposure(patients: pd.DataFrame, doses: NDArray[np.float64]) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for dose in doses:
        group = patients[patients["dose"] == dose]
        for name in ("Cmax", "Tmax_day", "AUC0-28"):
            values = group[name].dropna().to_numpy(float)
            levels = np.percentile(values, [5, 25, 50, 75, 95]) if values.size else np.full(5, np.nan)
            above = values[values > 0]
            rows.append((dose, name, values.size, np.log(above).mean() if above.size else np.nan, *levels))
    return pd.DataFrame(rows, columns=["dose", "measure", "n", "mean_log", "p5", "p25", "p50", "p75", "p95"])


def _slopes(patients: pd.DataFrame, doses: NDArray[np.float64], shape: tuple[int, int]) -> pd.DataFrame:
    """The exponent of dose in each patient's exposure, averaged over patients with Student limits."""
    import pandas as pd

    positive = doses > 0
    x = np.log(doses[positive]) - np.log(doses[positive]).mean()
    rows = []
    for name in ("Cmax", "AUC0-28"):
        values = patients[name].to_numpy(float).reshape(shape)[positive]
        complete = (values > 0).all(axis=0)  # quantifiable at every dose
        slope = x @ np.log(values[:, complete]) / (x @ x)
        b = difference_of_means(slope, np.zeros(slope.size)) if slope.size else Estimate(np.nan, np.nan, np.nan)
        rows.append((name, int(complete.sum()), b.value, b.low, b.high))
    return pd.DataFrame(rows, columns=["measure", "n", "exponent", "low", "high"])

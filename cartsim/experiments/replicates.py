"""Many replicates of a trial: how its endpoints scatter from trial to trial, and how often one arm beats another.

Replicate k treats the next patients of the same population, those numbered from k*n on, n being the size of the largest
arm. So replicate 0 is the trial itself, and the first of many replicates are those of fewer. What a replicate finds
depends on its number and the seed alone.

With uncertainty each replicate has its own draw of the estimates, typical values and omegas, the same for all of its
arms (`cartsim.population.uncertainty`): its limits then hold both what sampling and what the model do not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from cartsim.endpoints.rates import wilson
from cartsim.endpoints.response import Response
from cartsim.endpoints.survival import log_rank, median_of
from cartsim.errors import InputError, brief, check_count, check_kind, elsewhere, say
from cartsim.population.patients import Patients
from cartsim.population.population import APART, Population, endless
from cartsim.population.uncertainty import uncertain
from cartsim.provenance import made_by
from cartsim.regimen import Regimen
from cartsim.results import Result
from cartsim.runs import ArrayWork, Kept, Running, check_size, joined, run_pieces
from cartsim.schedule import MONTH
from cartsim.trial.outcome import Readout
from cartsim.trial.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

    from cartsim.runs import Arrays

TIMES = 500  # replicates, if nothing is said
PATIENTS = 2000  # simulated at a time
LEVEL = 0.95
ALPHA = 0.05  # two-sided
EXPOSURE = ("Cmax", "Tmax_day", "AUC0-28")  # of which an arm's median is kept
RATIOS = ("Cmax", "AUC0-28")  # of which arms are compared by their ratio


@dataclass(frozen=True, repr=False, eq=False)
class Replicates(Result):
    """Replicates of a trial.

    Attributes
    ----------
    frame
        A row a replicate and arm: ``n``, ``failed``, ``ORR`` and ``CR`` (best confirmed response, percent),
        ``PFS_months`` (median; NaN where not reached), ``response_M`` and ``CR_M`` (MR or better, and CR, as observed
        at month M, percent), and the arm's medians of ``Cmax``, ``Tmax_day`` and ``AUC0-28``.
    tests
        A row a replicate and pair of arms: two-sided p-values ``p_ORR`` of the score test of equal response rates and
        ``p_PFS`` of the log-rank test; NaN where there is nothing to compare.
    doses
        Cells of the first infusion by arm; NaN where patients have their own.
    """

    what = "replicates"
    frame: pd.DataFrame
    tests: pd.DataFrame
    doses: dict[str, float]
    made_by: dict[str, Any] = field(default_factory=dict)

    @property
    def times(self) -> int:
        """How many replicates."""
        return int(self.made_by["replicates"])

    @property
    def arms(self) -> list[str]:
        """Names of the arms."""
        return list(self.doses)

    @property
    def endpoints(self) -> list[str]:
        """Columns of `frame` that are endpoints."""
        return [name for name in self.frame if name not in ("replicate", "arm", "n", "failed")]

    @property
    def summary(self) -> pd.DataFrame:
        """A row an arm: median of each endpoint over the replicates, with its 2.5th and 97.5th percentile."""
        return self.limits(LEVEL)

    @property
    def failures(self) -> pd.DataFrame:
        """Arms of replicates in which the integration of some patients failed."""
        return self.frame.loc[self.frame["failed"] > 0, ["replicate", "arm", "n", "failed"]].reset_index(drop=True)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know."""
        failed = int(self.frame["failed"].sum())
        said = [f"{failed} patients failed and count as not responding; see failures"] if failed else []
        if len(self.arms) > 1 and not self.made_by["independent"]:
            said.append(
                "the arms have the same patients, so that power is not that of a trial which randomises; "
                "for that give Trial(..., independent=True) or --independent"
            )
        return tuple(said)

    def limits(self, level: float = LEVEL) -> pd.DataFrame:
        """A row an arm: ``n``, and of each endpoint the median over replicates and the ends that hold ``level``.

        A median PFS that is not reached is longer than any that is; NaN where the percentile is not reached.
        """
        import pandas as pd

        if not 0 < level < 1:
            raise InputError(f"the level is {level}; give a share between 0 and 1, such as 0.95")
        arms = self.frame.groupby("arm", observed=True, sort=False)
        return pd.DataFrame([{"arm": arm} | _limits(own, self.endpoints, level) for arm, own in arms])

    def pairs(self, alpha: float = ALPHA, reference: str | None = None) -> pd.DataFrame:
        """A row a pair of arms and endpoint: how ``arm`` compares with ``reference`` from replicate to replicate.

        Parameters
        ----------
        alpha
            Two-sided p-values below it show a difference.
        reference
            The arm to compare all others with; by default each arm is compared with all that come before it.

        Returns
        -------
        pandas.DataFrame
            ``difference`` in ``unit`` (percentage points, months, days; of Cmax and AUC the ratio), the median over
            replicates with the ends that hold 95 %, NaN where not reached; ``higher``, the share of replicates in which
            the arm is above the reference (equal is not above); of ORR and PFS ``power``, the share in which the test
            shows a difference, with its Wilson limits, which tell of the number of replicates.

        Raises
        ------
        InputError
            For an unknown arm, and an alpha that is no probability.
        """
        import pandas as pd

        if not 0 < alpha < 1:
            raise InputError(f"alpha is {alpha}; give a number between 0 and 1, such as 0.05")
        if reference is not None and reference not in self.arms:
            raise InputError(f"no arm {reference!r} in these replicates; there are {', '.join(self.arms)}")
        arms = {str(name): own for name, own in self.frame.groupby("arm", observed=True, sort=False)}
        rows = []
        for (later, earlier), own in self.tests.groupby(["arm", "reference"], sort=False):
            if reference not in (None, later, earlier):
                continue
            arm, base = (earlier, later) if later == reference else (later, earlier)
            for name in self.endpoints:
                row = {"arm": arm, "reference": base, "endpoint": name}
                row |= _difference(name, _ordered(name, arms[arm][name]), _ordered(name, arms[base][name]))
                rows.append(row | _power(own.get(f"p_{name.removesuffix('_months')}"), alpha))
        return pd.DataFrame(rows)

    def tables(self, reference: str | None = None) -> dict[str, pd.DataFrame]:
        """Every table by the name of its file; arms compared with a reference, or with each other."""
        tables = {"replicates.csv": self.frame, "replicates_summary.csv": self.summary}
        if len(self.arms) > 1:
            tables |= {"replicates_tests.csv": self.tests, "replicates_pairs.csv": self.pairs(reference=reference)}
        return tables

    def title(self) -> str:
        """How often what was done anew, and what the limits hold."""
        holds = "sampling and parameter uncertainty" if self.made_by["uncertainty"] else "sampling"
        return f"{self.times:,} replicates of a trial of {self.made_by['model']}: 95 % of them ({holds})"

    def _title(self) -> str:
        return self.title()


@elsewhere(seed="a seed belongs to the patients: Population(model, seed=...)")
def replicate(
    trial: Trial,
    times: int = TIMES,
    *,
    uncertainty: bool | pd.DataFrame = False,
    n_jobs: int = -1,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> Replicates:
    """Run a trial many times, each time with other patients, and keep the endpoints of each.

    Parameters
    ----------
    trial
        Of virtual patients; its arms may be doses or regimens, of the same patients or ``independent``.
    times
        Replicates.
    uncertainty
        True: each replicate is of other typical values and omegas: one of the draws of the population, in an order that
        the seed says and again from the beginning where there are more replicates; where it has none, drawn by their
        relative standard errors in the model file. Or a covariance matrix of the typical values, see
        `cartsim.with_uncertainty`.
    n_jobs, progress, checkpoint
        As for `cartsim.Trial.run`.

    Raises
    ------
    InputError
        Before any work, for patients that are a table or Sobol points, of which no others can be had, and for
        uncertainty where the model file knows of none.

    Examples
    --------
    >>> import cartsim as cs
    >>> trial = cs.Trial(cs.Population("bb2121_clinical", seed=1), [50e6, 450e6], n=20, independent=True)
    >>> found = cs.replicate(trial, 10, uncertainty=True)
    >>> found.summary[["arm", "ORR", "ORR_low", "ORR_high"]].shape
    (2, 4)
    """
    import pandas as pd

    from cartsim.engine import kernel

    check_kind("the trial", trial, Trial, "Trial(population, arms)")
    width = max(arm.n or 0 for arm in trial.arms)
    patients = replicable(trial.population, times, width)
    if uncertainty is not False:
        patients = uncertain(patients, width, uncertainty)
    trial = replace(trial, population=patients, curves=0)
    at_once = max(1, PATIENTS // width)
    work = _Replicates(trial, width)
    check_size(
        times * sum(arm.n or 0 for arm in trial.arms),
        "patients (of all replicates and arms)",
        kept=8 * int(times) * len(trial.arms) * (12 + 2 * len(trial.protocol.visits.landmarks) + len(trial.arms)),
        working=trial.bytes_working(),
        at_once=PATIENTS,
        n_jobs=n_jobs,
    )
    kept = None if checkpoint is None else Kept(checkpoint, "replicates", {"trial": trial})
    pieces = run_pieces(work, [int(times)], at_once, what="replicates", n_jobs=n_jobs, progress=progress, kept=kept)
    kernel.compile_model(trial.model, say)  # once, before the workers all want it
    found = joined(pieces)
    names = [arm.name for arm in trial.arms]
    pairs = [(names[j], names[i]) for i, j in combinations(range(len(names)), 2)]
    tests = {name: found.pop(name) for name in ("p_ORR", "p_PFS")}
    number = np.arange(times)
    frame = pd.DataFrame({"replicate": np.repeat(number, len(names)), "arm": np.tile(names, times)})
    compared = pd.DataFrame(
        {
            "replicate": np.repeat(number, len(pairs)),
            "arm": [arm for arm, _ in pairs] * int(times),
            "reference": [reference for _, reference in pairs] * int(times),
        }
    )
    return Replicates(
        frame.assign(**{name: values.reshape(-1) for name, values in found.items()}),
        compared.assign(**{name: values.reshape(-1) for name, values in tests.items()}),
        {arm.name: _first_dose(trial, arm.regimen) for arm in trial.arms},
        made_by(
            trial.model,
            replicates=int(times),
            uncertainty=drawn(uncertainty, patients),
            independent=trial.independent,
            arms=str({arm.name: arm.n for arm in trial.arms}),
            **patients.about(),
            rtol=trial.solver.rtol,
            rules=repr(trial.protocol.rules),
        ),
    )


class _Replicates(ArrayWork):
    """Simulates and judges some replicates of all arms, and keeps an arm's endpoints: arrays (replicates, arms)."""

    def __init__(self, trial: Trial, width: int) -> None:
        self.trial, self.width = trial, width
        self.judge = Readout(trial.protocol, keep_visits=False, columns=())

    def __call__(self, start: int, stop: int) -> Arrays:
        arms = [self._arm(k, start, stop) for k in range(len(self.trial.arms))]
        endpoints = [self._endpoints(arm) for arm in arms]
        found = {name: np.stack([own[name] for own in endpoints], axis=1) for name in endpoints[0]}
        pairs = list(combinations(range(len(arms)), 2))
        responded = [arm["best"] >= Response.PR for arm in arms]
        count, n = [own.sum(axis=1) for own in responded], [own.shape[1] for own in responded]
        tests = {
            "p_ORR": [score_test(count[j], count[i], n[j], n[i]) for i, j in pairs],
            "p_PFS": [self._log_rank(arms[i], arms[j]) for i, j in pairs],
        }
        return found | {name: np.reshape(own, (len(pairs), stop - start)).T for name, own in tests.items()}

    def _arm(self, arm: int, start: int, stop: int) -> Arrays:
        """What is judged of each patient of one arm, (replicates, patients)."""
        n, width = self.trial.arms[arm].n or 0, self.width
        spans = (
            [(start * width, stop * width)] if n == width else [(k * width, k * width + n) for k in range(start, stop)]
        )
        parts = []
        for first, last in spans:
            for begin in range(first, last, PATIENTS):
                table = self.judge(self.trial.measure(arm, begin, min(begin + PATIENTS, last))).patients
                parts.append({name: _plain(column) for name, column in table.items() if name not in ("id", "arm")})
        return {name: np.concatenate([part[name] for part in parts]).reshape(-1, n) for name in parts[0]}

    def _endpoints(self, arm: Arrays) -> Arrays:
        n = arm["best"].shape[1]
        found: dict[str, NDArray[Any]] = {
            "n": np.full(len(arm["best"]), n),
            "failed": (arm["status"] != 0).sum(axis=1),
            "ORR": 100 * (arm["best"] >= Response.PR).mean(axis=1),
            "CR": 100 * (arm["best"] == Response.CR).mean(axis=1),
            "PFS_months": np.array(
                [median_of(t / MONTH, e).value for t, e in zip(arm["pfs_day"], arm["pfs_event"], strict=True)]
            ),
        }
        for month in self.trial.protocol.visits.landmarks:
            codes = arm[f"month_{month:g}"]
            found[f"response_{month:g}"] = 100 * (codes >= Response.MR).mean(axis=1)
            found[f"CR_{month:g}"] = 100 * (codes == Response.CR).mean(axis=1)
        return found | {name: np.array([_middle(values) for values in arm[name]]) for name in EXPOSURE}

    def _log_rank(self, one: Arrays, other: Arrays) -> NDArray[np.float64]:
        group = np.repeat([0, 1], [one["best"].shape[1], other["best"].shape[1]])
        time = np.hstack([one["pfs_day"], other["pfs_day"]]) / MONTH
        event = np.hstack([one["pfs_event"], other["pfs_event"]])
        return np.array([log_rank(t, e, group).pvalue for t, e in zip(time, event, strict=True)])


def score_test(a: NDArray[Any], b: NDArray[Any], n_a: int, n_b: int) -> NDArray[np.float64]:
    """Two-sided p-values of the score test (chi-squared, not corrected): are a of n_a and b of n_b as likely."""
    from scipy.special import ndtr

    pooled = (a + b) / (n_a + n_b)
    se = np.sqrt(pooled * (1 - pooled) * (1 / n_a + 1 / n_b))
    z = np.divide(a / n_a - b / n_b, se, out=np.full(np.shape(se), np.nan), where=se > 0)
    return 2 * ndtr(-np.abs(z))


def replicated(
    trial: Trial, replicates: int | None, uncertainty: bool | pd.DataFrame, **how: Unpack[Running]
) -> Replicates | None:
    """Replicates of a trial where they or uncertainty are asked for, else None."""
    times = asked(replicates, uncertainty)
    return None if times is None else replicate(trial, times, uncertainty=uncertainty, **how)


def asked(replicates: int | None, uncertainty: bool | pd.DataFrame) -> int | None:
    """How many replicates are asked for: `TIMES` where uncertainty alone is, None where neither is."""
    return replicates if replicates is not None or uncertainty is False else TIMES


def replicable(population: Population | Patients, replicates: int, n: int = 1) -> Population:
    """The population itself; refused for a number of replicates that cannot be, or where no other patients are."""
    check_count(replicates, f"{brief(replicates)} replicates")
    if not (isinstance(population, Population) and endless(population)):
        raise InputError("replicates need other patients each time; give a Population whose sampler is 'random'")
    if replicates * n > APART:
        raise InputError(f"{replicates:,} replicates of {n:,} patients an arm; ask for at most {APART:,} patients")
    return population


def _plain(column: Any) -> NDArray[Any]:
    """Numbers, and categories by their codes, which are those of `Response` and of the engine's `Status`."""
    return column.codes if hasattr(column, "codes") else np.asarray(column)


def _middle(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else np.nan


def limits_of(trial: Trial, times: int) -> dict[str, Any]:
    """Those of the one arm of a trial over replicates, computed here and now: see `Replicates.limits`; ``failed``."""
    found = _Replicates(trial, trial.n or 0)(0, times)
    own = {name: values[:, 0] for name, values in found.items() if values.shape[1]}
    endpoints = [name for name in own if name not in ("n", "failed")]
    return _limits(own, endpoints, LEVEL) | {"failed": int(own["failed"].sum())}


def _limits(own: Mapping[Any, Any], endpoints: Iterable[str], level: float) -> dict[str, Any]:
    """A row of what one arm's columns over the replicates say."""
    row: dict[str, Any] = {"n": int(np.asarray(own["n"])[0])}
    for name in endpoints:
        found = ends(_ordered(name, own[name]), level)
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))
    return row


def ends(values: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float, float]:
    """The median and the ends that hold ``level`` of the values known; NaN for what is infinite, not reached."""
    known = values[~np.isnan(values)]
    if not known.size:
        return np.nan, np.nan, np.nan
    found = np.quantile(known, (0.5, 0.5 - level / 2, 0.5 + level / 2), method="inverted_cdf")
    middle, low, high = np.where(np.isfinite(found), found, np.nan).tolist()
    return middle, low, high


def _ordered(name: str, values: Any) -> NDArray[np.float64]:
    """Values of an endpoint by replicate; a median survival that is not reached is longer than any that is."""
    found = np.asarray(values, float)
    return np.where(np.isnan(found), np.inf, found) if name == "PFS_months" else found


def _difference(name: str, a: NDArray[np.float64], b: NDArray[np.float64]) -> dict[str, Any]:
    """How a compares with b, values of an endpoint by replicate."""
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = a / b if name in RATIOS else a - b
    apart = np.where((a == b) & np.isinf(a), 0.0, apart)
    known = ~np.isnan(apart)
    middle, low, high = ends(apart)
    higher = float((a > b)[known].mean()) if known.any() else np.nan
    unit = "ratio" if name in RATIOS else {"PFS_months": "months", "Tmax_day": "days"}.get(name, "points")
    return {"unit": unit, "difference": middle, "low": low, "high": high, "higher": higher}


def _power(pvalues: Any, alpha: float) -> dict[str, float]:
    """The share of p-values below alpha with its limits; NaN for an endpoint that is not tested."""
    if pvalues is None:
        return dict.fromkeys(("power", "power_low", "power_high"), np.nan)
    shown, n = int((pvalues < alpha).sum()), len(pvalues)
    low, high = wilson(np.array([shown]), np.array([n]))
    return {"power": shown / n, "power_low": float(low[0]), "power_high": float(high[0])}


def _first_dose(trial: Trial, regimen: Regimen | None) -> float:
    """Cells of the first infusion, 0 for none."""
    if regimen is None or not regimen.doses:
        return 0.0
    amount = regimen.doses[0].amount
    dosing = trial.model.dosing
    return float(amount) if amount is not None else dosing.dose if dosing is not None else np.nan


def drawn(uncertainty: bool | pd.DataFrame, population: Population | Patients) -> str | bool:
    """What is recorded of the uncertainty."""
    if not isinstance(uncertainty, bool):
        return f"covariance of {', '.join(map(str, uncertainty.columns))}"
    if not uncertainty or not isinstance(population, Population) or population.draws is None:
        return uncertainty
    return f"{len(population.draws)} draws of {', '.join(population.draws)}, in an order by the seed, then again"

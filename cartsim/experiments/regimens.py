"""Regimens in the same patients: twice the dose, split doses, a second infusion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

from cartsim.endpoints.comparison import Sample, restricted_mean_difference
from cartsim.endpoints.paired import difference_of_means, difference_of_rates, ratio_of_means
from cartsim.endpoints.survival import Estimate
from cartsim.errors import InputError, check_kind, elsewhere
from cartsim.experiments.replicates import Replicates, replicated
from cartsim.regimen import Regimen
from cartsim.results import Result
from cartsim.runs import Running
from cartsim.schedule import MONTH
from cartsim.trial.outcome import STATES, TrialResult
from cartsim.trial.trial import Trial

if TYPE_CHECKING:
    import pandas as pd


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


@dataclass(frozen=True, repr=False, eq=False)
class Comparison(Result):
    """Regimens in the same patients.

    Attributes
    ----------
    outcome
        The judged trial, an arm a regimen.
    reference
        Name of the arm that the others are compared with.
    differences
        A row for each other regimen and endpoint: ``difference`` to ``reference`` with paired 95 % limits ``low``,
        ``high`` in ``unit``: percentage points, months, or a ratio of geometric means. Also ``frame``.
    replicates
        The trial anew in other patients and, with uncertainty, under other estimates; None where not asked for.
    """

    what = "regimens"
    outcome: TrialResult
    reference: str
    differences: pd.DataFrame
    replicates: Replicates | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """The differences."""
        return self.differences

    @property
    def summary(self) -> pd.DataFrame:
        """A row a regimen: the summary of the trial."""
        return self.outcome.summary

    @property
    def failures(self) -> pd.DataFrame:
        """Patients whose integration failed."""
        return self.outcome.failures

    @property
    def made_by(self) -> dict[str, Any]:  # type: ignore[override]
        """Model, settings and versions of the trial."""
        again = {} if self.replicates is None else {"replicates": self.replicates.made_by}
        return self.outcome.made_by | {"reference": self.reference} | again

    def tables(self) -> dict[str, pd.DataFrame]:
        """regimens.csv (a row a regimen), differences.csv, and the tables of replicates."""
        tables = {"regimens.csv": self.summary, "differences.csv": self.differences}
        return tables if self.replicates is None else tables | self.replicates.tables(self.reference)


@elsewhere(Running, seed="a seed belongs to the patients: Population(model, seed=...)")
def compare(
    trial: Trial,
    *,
    reference: str | None = None,
    replicates: int | None = None,
    uncertainty: bool | pd.DataFrame = False,
    **how: Unpack[Running],
) -> Comparison:
    """Run a trial whose arms are regimens, and compare them in the same patients.

    Endpoints: MR or better and CR at the landmarks as observed (percent of all patients) and of the true state of all,
    the true change of M-protein at the landmarks, confirmed best response (PR or better) and CR, progression-free
    months up to the last that both curves are known to (restricted mean), Cmax and AUC0-28. Limits know that the
    patients are the same, see `cartsim.endpoints.paired` and, for months,
    `cartsim.endpoints.comparison.restricted_mean_difference`. Transgene is not sampled on days on which any of the
    regimens infuses, since the cells just infused would be measured.

    Parameters
    ----------
    trial
        Two or more arms of the same patients: ``Trial(population, {"single": 450e6, "split": Regimen.split(...)})``.
    reference
        The arm to compare with, by default the first.
    replicates, uncertainty
        Repeat the trial so often (500 times where uncertainty alone is asked for), each time with other patients and,
        as in `cartsim.replicate`, under other estimates: see ``Comparison.replicates``.
    how
        n_jobs, progress and checkpoint, as for `cartsim.Trial.run`.

    Raises
    ------
    InputError
        For fewer than two arms, arms of different numbers of patients or of different patients, or an unknown
        reference.
    """
    import pandas as pd

    check_kind("the trial", trial, Trial, "Trial(population, arms)")
    names = [arm.name for arm in trial.arms]
    if len(names) < 2:
        raise InputError(f"{len(names)} regimens; give two or more to compare")
    if len({arm.n for arm in trial.arms}) > 1:
        raise InputError(
            "arms of different numbers of patients; give all the same, so that each patient is in all arms"
        )
    if trial.independent:
        raise InputError(
            "regimens are compared in the same patients, and these arms have others each; leave out independent=True, "
            "or compare such arms with trial.run().compare() or cartsim.replicate(trial).pairs()"
        )
    reference = names[0] if reference is None else reference
    if reference not in names:
        raise InputError(f"no regimen {reference!r} to compare with; there are {', '.join(names)}")
    visits = trial.protocol.visits
    infused = {infusion.time for arm in trial.arms if arm.regimen for infusion in arm.regimen.doses}
    sampled = replace(visits, kinetics=tuple(day for day in visits.kinetics if day not in infused))
    trial = replace(trial, protocol=replace(trial.protocol, visits=sampled), curves=0)
    again = replicated(trial, replicates, uncertainty, **how)
    judged = trial.run(keep_visits=False, **how)
    groups = {name: rows.reset_index(drop=True) for name, rows in judged.patients.groupby("arm", observed=True)}
    base = groups[reference]
    rows: list[tuple[Any, ...]] = []
    for name in names:
        if name == reference:
            continue
        arm = groups[name]

        def add(endpoint: str, unit: str, found: Estimate, name: str = name) -> None:
            rows.append((name, endpoint, unit, found.value, found.low, found.high))

        for month in visits.landmarks:
            for column, state in STATES.items():
                at = f"{column}_{month:g}"
                for what, least in (("MR or better", "MR"), ("CR", "CR")):
                    found = difference_of_rates(arm[at] >= least, base[at] >= least)
                    add(f"{what} at month {month:g}{state}", "points", found)
            change = difference_of_means(arm[f"change_{month:g}"], base[f"change_{month:g}"])
            add(f"M-protein change at month {month:g}{STATES['true']}", "points", change)
        add("best response PR or better", "points", difference_of_rates(arm["best"] >= "PR", base["best"] >= "PR"))
        add("best response CR", "points", difference_of_rates(arm["best"] == "CR", base["best"] == "CR"))
        gained, last = restricted_mean_difference(_progression(arm), _progression(base), paired=True)
        add(f"progression-free time to month {last:g}", "months", gained)
        for measure in ("Cmax", "AUC0-28"):
            add(measure, "ratio", ratio_of_means(arm[measure], base[measure]))
    table = pd.DataFrame(rows, columns=["regimen", "endpoint", "unit", "difference", "low", "high"])
    table.insert(1, "reference", reference)
    return Comparison(judged, reference, table, again)


def _progression(patients: pd.DataFrame) -> Sample:
    return patients["pfs_day"].to_numpy() / MONTH, patients["pfs_event"].to_numpy()

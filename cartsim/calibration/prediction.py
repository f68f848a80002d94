"""A published trial predicted: done again many times by virtual patients, at its real size, and compared row by row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from cartsim.calibration import scores
from cartsim.calibration.rows import Sample, statistic
from cartsim.errors import InputError, check_kind, check_seed, elsewhere, say
from cartsim.experiments.replicates import replicable
from cartsim.model.model import Model
from cartsim.population.population import Population
from cartsim.population.stored import population_names, read_population
from cartsim.population.uncertainty import uncertain
from cartsim.provenance import made_by
from cartsim.results import Result
from cartsim.runs import ArrayWork, Kept, Running, check_size, describe, joined, run_pieces
from cartsim.schedule import MONTH
from cartsim.solver import Solver
from cartsim.trial.published import PublishedTrial, Row, published
from cartsim.trial.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

    from cartsim.runs import Arrays

TIMES = 500
"""Simulated trials, if nothing is said."""

PATIENTS = 4000  # simulated at a time
KINDS = {"%": "shares", "months": "times", "days": "times"}
"""What rows of a unit are called in the table of scores; the others are "other"."""


@dataclass(frozen=True, repr=False, eq=False)
class Prediction(Result):
    """What a population, or a baseline, predicts of a published trial.

    Attributes
    ----------
    name
        Of who predicts.
    trial
        The `PublishedTrial`.
    statistics
        A row a simulated trial, a column a row of results: what it would have published; NaN where nobody could tell,
        infinite for a median that is not reached.
    frame
        A row a published row: value and limits as published; ``predicted`` (median of the simulated trials) with
        ``predicted_low`` and ``predicted_high``, which hold 90 %; ``known``, the share of trials with a value;
        ``covers``, whether the published value lies in these limits; ``within``, whether the predicted median lies in
        the published limits; ``interval_score`` and ``log_score``, see `cartsim.calibration.scores`.
    """

    what = "prediction"
    name: str
    trial: PublishedTrial
    statistics: pd.DataFrame
    frame: pd.DataFrame
    made_by: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> pd.DataFrame:
        """The columns that one reads first."""
        names = ["id", "unit", "role", "value", "low", "high", "predicted", "predicted_low", "predicted_high", "covers"]
        return self.frame[names]

    @property
    def skipped(self) -> pd.DataFrame:
        """Published rows that are not predicted: ``id``, ``endpoint``, ``why``."""
        import pandas as pd

        known = {*self.frame["id"], *self.trial.skipped["id"]}
        rest = [(row.id, row.endpoint, "not predicted") for row in self.trial.rows if row.id not in known]
        more = pd.DataFrame(rest, columns=["id", "endpoint", "why"])
        return pd.concat([self.trial.skipped, more], ignore_index=True)

    @property
    def scores(self) -> pd.DataFrame:
        """Scores of the rows that count, see `compare`."""
        return self.compare()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know."""
        few = self.frame.loc[self.frame["known"] < 0.5, "id"].tolist()
        said = [f"{', '.join(few)}: most simulated trials have nobody to tell of"] if few else []
        return tuple(said)

    def compare(self, *others: Prediction, roles: Sequence[str] = ("fit",)) -> pd.DataFrame:
        """The prediction and others of the same trial, by the rows that all of them predict.

        Parameters
        ----------
        *others
            Predictions of the same trial.
        roles
            Which rows: by default those that count once.

        Returns
        -------
        pandas.DataFrame
            A row a prediction and kind of rows ("shares", "times", "other" and "all"): how many ``rows``; how many
            published values the 90 % limits ``cover`` and how many predicted medians lie ``within`` published limits
            (of ``limited`` rows that have them); mean ``interval_score`` and mean ``log_score``, lower being better.

        Raises
        ------
        InputError
            For predictions of another trial.
        """
        import pandas as pd

        every = self._with(others)
        shared = set.intersection(*(set(each.frame["id"]) for each in every))
        parts = []
        for each in every:
            own = each.frame[each.frame["id"].isin(shared) & each.frame["role"].isin(list(roles))]
            kind = own["unit"].map(KINDS).fillna("other")
            for name in ("shares", "times", "other", "all"):
                rows = own if name == "all" else own[kind == name]
                if len(rows):
                    parts.append(_scored(each.name, name, rows))
        return pd.DataFrame(parts)

    def rows(self, *others: Prediction) -> pd.DataFrame:
        """A row a published row: published, and by prediction its median, 90 % limits, interval and log score.

        Columns of a prediction begin with its name. Raises `InputError` for predictions of another trial.
        """
        import pandas as pd

        every = self._with(others)
        published_ = ["id", "endpoint", "arms", "subset", "unit", "role", "value", "low", "high"]
        table = pd.DataFrame([row.cells(*published_) for row in self._rows(every)], columns=published_).set_index("id")
        own = ["predicted", "predicted_low", "predicted_high", "covers", "interval_score", "log_score"]
        for each in every:
            columns = each.frame.set_index("id")[own].reindex(table.index)
            table = table.join(columns.add_prefix(f"{each.name} "))
        return table.reset_index()

    def tables(self) -> dict[str, pd.DataFrame]:
        """The table of rows, the scores, what is skipped, and the statistic of every simulated trial."""
        return {
            "prediction.csv": self.frame,
            "prediction_scores.csv": self.scores,
            "prediction_skipped.csv": self.skipped,
            "prediction_statistics.csv": self.statistics,
        }

    def _with(self, others: Sequence[Prediction]) -> list[Prediction]:
        for other in others:
            check_kind("the other prediction", other, Prediction, "a Prediction of the same trial")
            if other.trial.digest != self.trial.digest:
                raise InputError(
                    f"a prediction of {other.trial.name} and one of {self.trial.name}; compare those of one trial"
                )
        return [self, *others]

    def _rows(self, every: Sequence[Prediction]) -> list[Row]:
        ids = {name for each in every for name in each.frame["id"]}
        return [row for row in self.trial.rows if row.id in ids]

    def _title(self) -> str:
        return f"{self.trial.name} as predicted by {self.name}, {len(self.statistics):,} simulated trials"


def frozen(population: Population) -> str:
    """The digest (SHA-256) of all that a prediction by a population hangs on: model, variability, seed, draws."""
    return hashlib.sha256(json.dumps(describe(population), sort_keys=True).encode()).hexdigest()


@elsewhere(Running, n="a published trial has its own number of patients: predict(trial, population)")
def predict(
    trial: str | Path | PublishedTrial,
    population: Population | Model | str,
    *,
    replicates: int = TIMES,
    seed: int | None = None,
    uncertainty: bool | None = None,
    name: str | None = None,
    solver: Solver | None = None,
    **how: Unpack[Running],
) -> Prediction:
    """Predict a published trial: done again many times by virtual patients, as many in each arm as it had.

    The digest of the population is taken before the file of the trial is opened, and stands in ``made_by``.

    Parameters
    ----------
    trial
        As for `published`.
    population
        Who is treated; or by name one that comes with cartsim, or a model, whose own population it is.
    replicates
        Simulated trials, each with patients of its own.
    seed
        Another seed than that of the population.
    uncertainty
        Whether each simulated trial is under a draw of its own of the estimates: by default where the population has
        draws. True for a population without them: by the standard errors of the model file.
    name
        What the prediction is called; by default the model.
    solver
        Tolerance, extinction, steps.
    **how
        ``n_jobs``, ``progress`` and ``checkpoint``, as for `Trial.run`.

    Raises
    ------
    InputError
        As `published` and `replicate`.

    Examples
    --------
    >>> import cartsim as cs
    >>> found = cs.predict("crb401", "bb2121_clinical", replicates=20)
    >>> row = found.frame.set_index("id").loc["CR_450"]
    >>> bool(row["covers"]), f"{row['value']:.1f}"
    (False, '42.1')
    """
    import pandas as pd

    from cartsim.engine import kernel

    who = _population(population)
    if seed is not None:
        check_seed(seed)
        who = replace(who, seed=int(seed))
    digest = frozen(who)
    told = published(trial)
    drawn = who.draws is not None if uncertainty is None else bool(uncertainty)
    largest = max(arm.n or 0 for arm in told.arms)
    who = replicable(who, replicates, largest)
    again = told.trial(who, solver=Solver() if solver is None else solver)
    work = _Predictions(told, again, drawn)
    check_size(
        replicates * told.n,
        "patients (of all simulated trials)",
        kept=8 * int(replicates) * len(told.rows),
        working=again.bytes_working(),
        at_once=PATIENTS,
        n_jobs=how.get("n_jobs", -1),
    )
    checkpoint, n_jobs, progress = how.get("checkpoint"), how.get("n_jobs", -1), how.get("progress", False)
    inputs = {"trial": again, "rows": told.rows, "uncertainty": drawn}
    kept = None if checkpoint is None else Kept(checkpoint, "prediction", inputs)
    at_once = max(1, PATIENTS // told.n)
    pieces = run_pieces(
        work, [int(replicates)], at_once, what="simulated trials", n_jobs=n_jobs, progress=progress, kept=kept
    )
    kernel.compile_model(again.model, say)  # once, before the workers all want it
    return scored(
        name or (population if isinstance(population, str) else who.model.name),
        told,
        pd.DataFrame(joined(pieces)),
        made_by(
            again.model,
            replicates=int(replicates),
            uncertainty=drawn,
            **who.about(),
            population_digest=digest,
            trial=told.name,
            trial_digest=told.digest,
        ),
    )


def scored(name: str, trial: PublishedTrial, statistics: pd.DataFrame, made: dict[str, Any]) -> Prediction:
    """A prediction from what simulated trials would have published, a column a row."""
    import pandas as pd

    last = trial.protocol.visits.response[-1] / MONTH
    rows = [row for row in trial.rows if row.id in statistics]
    table = [_row(row, statistics[row.id].to_numpy(float), last) for row in rows]
    return Prediction(name, trial, statistics, pd.DataFrame(table), made)


def _population(given: Population | Model | str) -> Population:
    if isinstance(given, Population):
        return given
    if isinstance(given, str) and given in population_names():
        return read_population(given).of()
    return Population(given)  # type: ignore[arg-type]


class _Predictions(ArrayWork):
    """Simulates and judges some of the trials, and keeps the statistic of every row that has one."""

    def __init__(self, told: PublishedTrial, again: Trial, uncertainty: bool) -> None:
        self.told = told
        self.rows = [row for row in told.rows if row.role != "context"]
        self.trials = []
        for arm in again.arms:
            # Blocks of as many patients as the arm has: block k is under draw k in every arm.
            own = uncertain(again.population, arm.n or 1, True) if uncertainty else again.population  # type: ignore[arg-type]
            self.trials.append(replace(again, population=own))

    def __call__(self, start: int, stop: int) -> Arrays:
        sizes = [arm.n or 0 for arm in self.told.arms]
        seen = (trial.measure(k, start * sizes[k], stop * sizes[k]) for k, trial in enumerate(self.trials))
        sample = Sample.measured(self.told, seen, stop - start)
        return {row.id: statistic(row, sample) for row in self.rows}


def _row(row: Row, drawn: NDArray[np.float64], last: float) -> dict[str, Any]:
    """One row of the table."""
    told = row.cells("id", "endpoint", "subset", "statistic", "unit", "role", "arms", "class", "n", "source", "note")
    told |= row.cells("value", "low", "high")
    known = drawn[~np.isnan(drawn)]
    nothing = dict.fromkeys(("predicted", "predicted_low", "predicted_high", "interval_score", "log_score"), np.nan)
    if not known.size:
        return told | nothing | {"known": 0.0, "covers": None, "within": None}
    ends = np.quantile(known, (0.5, scores.ALPHA / 2, 1 - scores.ALPHA / 2), method="inverted_cdf")
    middle, low, high = (float(end) for end in ends)
    digit = scores.DIGIT.get(row.unit, 0.0)
    limited = not np.isnan(row.low)
    return told | {
        "predicted": middle,
        "predicted_low": low,
        "predicted_high": high,
        "known": known.size / drawn.size,
        "covers": low - digit <= row.value <= high + digit,
        "within": row.low - digit <= middle <= row.high + digit if limited else None,
        "interval_score": float(scores.interval_score(*scores.scaled(row, [low, high, row.value], last))),
        "log_score": scores.log_score(row, known, last),
    }


def _scored(prediction: str, kind: str, rows: pd.DataFrame) -> dict[str, Any]:
    within = rows["within"].dropna()
    return {
        "prediction": prediction,
        "kind": kind,
        "rows": len(rows),
        "cover": int(rows["covers"].eq(True).sum()),
        "within": int(within.astype(bool).sum()),
        "limited": len(within),
        "interval_score": float(rows["interval_score"].mean()),
        "log_score": float(rows["log_score"].mean()),
    }

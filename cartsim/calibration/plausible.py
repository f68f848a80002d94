"""Plausible patients weighted until they look like those of published trials: the other way to a population.

Patients are drawn widely and kept if they are plausible (`cartsim.experiments.selection`, after Allen, Rieger and
Musante 2016, doi:10.1002/psp4.12063). Each is treated in every arm of the trials, and has one weight, its prevalence,
in all of them. The weights are those that maximise

    log likelihood of what was published  -  entropy * sum of w log(n w),

whose second part is the relative entropy of the weights to equal ones (maximum entropy, or entropy balancing:
Hainmueller 2012, doi:10.1093/pan/mpr025, here with targets that are known no better than so many patients tell). Where
shares are linear in the weights, the best ones are exponential in what each patient adds to each share: it is among
these that scipy's BFGS looks for them, as many numbers x as the rows have independent classes. How uncertain the
weights are is told by others, each found anew for numbers of patients drawn from what was published (a parametric
bootstrap; alternate virtual populations).

Weights can meet almost every target, by few patients: the effective size, 1 / sum of w^2, tells how many are left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import pairwise
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.calibration.likelihood import JEFFREYS, log_likelihood
from cartsim.calibration.prediction import TIMES, Prediction, scored
from cartsim.calibration.rows import Reading, Sample, Term, statistic, terms
from cartsim.errors import InputError, brief, check_count, check_kind, check_seed, elsewhere
from cartsim.experiments.selection import Plausible, Range, select
from cartsim.population.patients import Patients
from cartsim.population.population import Population
from cartsim.provenance import made_by
from cartsim.results import Result
from cartsim.threads import in_threads, threads
from cartsim.trial.published import PublishedTrial, published

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

EXAMINED, MOST = 1000, 20_000
"""Patients drawn, if nothing is said, and at most: the time that weights take grows with their square."""

BOUNDS: dict[str, Range] = {"Cmax": (10.0, 1e7), "Tmax": (1.0, 60.0)}
"""What is plausible, if nothing is said: peaks of the transgene (copies/ug) a hundred times beyond those of most
patients of KarMMa on either side, and within two months."""

ENTROPY = 3.0
SPREAD = 1.5
ALTERNATIVES = 20
FEW = 100  # patients: shares of fewer are known to five points at best
PART = 0.1  # of the plausible patients
_ELEMENTS = 200_000  # of an array of weights that is worked on at a time
_STEP = 1e-6  # in x
_FLAT = 1e-2  # log likelihood a unit of x


@dataclass(frozen=True, repr=False, eq=False)
class Weighted(Result):
    """Plausible patients with weights.

    Attributes
    ----------
    population
        The patients, `Plausible`.
    weights
        (n,) Of each; they add up to 1.
    others
        (k, n) Weights that may be as well.
    trials
        The `PublishedTrial`s that they were weighted to.
    frame
        A row a published row: ``trial``, ``id``, ``endpoint``, ``arms``, ``subset``, ``unit``, ``role``, ``value``,
        ``low`` and ``high`` as published; ``plausible`` and ``weighted``, of these patients without and with weights;
        ``within``, whether the latter lies in the published limits.
    """

    what = "weighted patients"
    population: Plausible
    weights: Floats
    others: Floats
    trials: tuple[PublishedTrial, ...]
    frame: pd.DataFrame
    made_by: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.weights)

    @cached_property
    def size(self) -> float:
        """Effective sample size: of how many patients of one weight shares would be known as well."""
        return float(1 / (self.weights**2).sum())

    @property
    def summary(self) -> pd.DataFrame:
        """The rows that count."""
        return self.frame[self.frame["role"] == "fit"].drop(columns=["endpoint", "subset", "role"])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know."""
        said = f"an effective sample size of {self.size:.0f} of {len(self):,} plausible patients"
        if self.size < FEW or self.size < PART * len(self):
            return (f"{said}: few patients carry the rows; draw more, nearer to the trial, or give more entropy",)
        return ()

    @cached_property
    def moved(self) -> pd.DataFrame:
        """How the weights moved what varies: median and 5th and 95th percentile, ``plausible`` and ``weighted``."""
        import pandas as pd

        from cartsim.calibration.weighted import quantile

        rows = []
        table = self.population.table(0, len(self))
        everybody = np.ones((1, len(self)), bool)
        for name, values in table.items():
            row: dict[str, Any] = {"name": name}
            for kind, w in (("plausible", np.full(len(self), 1 / len(self))), ("weighted", self.weights)):
                for p in (50, 5, 95):
                    row[f"{kind}_p{p}"] = float(quantile(values.to_numpy(float)[None], w, everybody, p / 100)[0])
            rows.append(row)
        return pd.DataFrame(rows)

    def patients(self, n: int, seed: int = 2021) -> Patients:
        """Patients drawn from these by their weights, with replacement, to be treated in any trial.

        Raises
        ------
        InputError
            For what is no number of patients.
        """
        check_count(n, f"{brief(n)} patients")
        check_seed(seed)
        chosen = np.random.default_rng(seed).choice(len(self), int(n), p=self.weights)
        table = self.population.table(0, len(self), complete=True).iloc[chosen].reset_index(drop=True)
        derived = [name for name, p in self.population.model.parameters.items() if p.expression is not None]
        own = [name for name in table if name not in derived or name in self.population.varied]
        return Patients(self.population.model, table[own], seed)

    def predict(
        self,
        trial: str | Path | PublishedTrial,
        *,
        replicates: int = TIMES,
        seed: int = 2021,
        name: str = "weighted patients",
        n_jobs: int = -1,
    ) -> Prediction:
        """Predict a published trial, each arm of as many of these patients as it had, drawn by their weights.

        The weights differ from one simulated trial to the next: each has one of ``others``, by a Bayesian bootstrap
        (Rubin 1981) of who is plausible, so that limits are wide where few patients carry the rows.

        Parameters
        ----------
        trial
            As for `published`.
        replicates, seed
            Simulated trials, and the seed of who is drawn for each.
        name
            What the prediction is called.
        n_jobs
            Threads.

        Raises
        ------
        InputError
            As `published`.
        """
        import pandas as pd

        check_count(replicates, f"{brief(replicates)} replicates")
        check_seed(seed)
        told = published(trial)
        everybody = _treated(told, self.population, n_jobs)
        rng = np.random.default_rng(seed)
        n = len(self)
        drawn = rng.exponential(size=(replicates, n)) * self.others[np.arange(replicates) % len(self.others)]
        reached = drawn.cumsum(axis=1)
        picked = []
        for k, arm in enumerate(told.arms):
            at = rng.random((replicates, arm.n or 0)) * reached[:, -1:]
            who = [np.searchsorted(own, places, side="right") for own, places in zip(reached, at, strict=True)]
            picked.append(k * n + np.minimum(np.array(who), n - 1))
        place = np.hstack(picked)
        names = np.repeat([arm.name for arm in told.arms], [arm.n or 0 for arm in told.arms])
        columns = {key: own[0][place] for key, own in everybody.columns.items()}
        sample = Sample(names, np.ones(len(names)), columns)
        found = {row.id: statistic(row, sample) for row in told.rows if row.role != "context"}
        made = self.made_by | {"trial": told.name, "trial_digest": told.digest, "replicates": int(replicates)}
        return scored(name, told, pd.DataFrame(found), made)

    def tables(self) -> dict[str, pd.DataFrame]:
        """The rows, the patients with their weights, and how what varies was moved."""
        who = self.population.table(0, len(self)).assign(weight=self.weights).reset_index()
        return {"weighted_rows.csv": self.frame, "weighted_patients.csv": who, "weighted_moved.csv": self.moved}

    def _title(self) -> str:
        names = " and ".join(trial.name for trial in self.trials)
        return (
            f"{len(self):,} plausible patients of {self.population.model.name} weighted to {names}: "
            f"effective sample size {self.size:.0f}"
        )


@elsewhere(seed="a seed belongs to the patients: Population(model, seed=...)")
def weigh(
    population: Population,
    trials: str | Path | PublishedTrial | Sequence[str | Path | PublishedTrial],
    n: int = EXAMINED,
    *,
    within: Mapping[str, Range] | None = None,
    spread: float = SPREAD,
    entropy: float = ENTROPY,
    alternatives: int = ALTERNATIVES,
    n_jobs: int = -1,
) -> Weighted:
    """Plausible patients of a population, weighted to what trials published.

    Parameters
    ----------
    population
        Who is drawn.
    trials
        As for `published`, one or several; their rows in the role "fit" count.
    n
        Patients drawn.
    within
        Limits of measures of a patient at the model's dose, as for `select`; by default `BOUNDS`.
    spread
        The SDs of all that varies are so many times those of the population.
    entropy
        How many units of log likelihood a unit of relative entropy is worth: less meets the rows better, and leaves
        fewer patients.
    alternatives
        How many other sets of weights are found, each for numbers drawn from what was published.
    n_jobs
        Threads.

    Returns
    -------
    Weighted
        Its ``size`` is the effective sample size.

    Raises
    ------
    InputError
        For spread and entropy that are not above 0, as `published` and `select`, and where weights are not found.

    Examples
    --------
    >>> import cartsim as cs
    >>> found = cs.weigh(cs.Population("bb2121_clinical:window", seed=1), "crb401", 100, alternatives=2)
    >>> 1 < found.size <= len(found) <= 100
    True
    """
    check_kind("the population", population, Population, "Population(model, seed=...)")
    for word, value in (("spread", spread), ("entropy", entropy)):
        if not isinstance(value, Real) or not 0 < float(value) < np.inf:
            raise InputError(f"{word} is {brief(value)}; give a number above 0")
    if check_count(n, f"weights of {brief(n)} patients") > MOST:
        raise InputError(f"weights of {n:,} patients; draw at most {MOST:,}")
    check_count(alternatives, f"{brief(alternatives)} alternatives")
    listed = [trials] if isinstance(trials, (str, Path, PublishedTrial)) else list(trials)
    told = tuple(published(each) for each in listed)
    if not told or len({each.digest for each in told}) < len(told):
        raise InputError(f"{len(told)} trials to weigh patients to; give one or more, each once")
    bounds = BOUNDS if within is None else within
    wide = population.varying(
        {name: replace(v, omega=v.omega * float(spread)) for name, v in population.varied.items()}
    )
    chosen = select(wide, n, bounds, n_jobs=n_jobs).population
    pieces = [_Piece(each, _treated(each, chosen, n_jobs)) for each in told]
    if not any(piece.terms for piece in pieces):
        raise InputError(f"{' and '.join(each.name for each in told)}: no row that counts; give a trial with some")
    weights, others = _Search(pieces, len(chosen), float(entropy), n_jobs).found(int(alternatives), chosen.seed)
    settings = {"n": int(n), "within": str(dict(bounds)), "spread": float(spread), "entropy": float(entropy)}
    return Weighted(
        chosen,
        weights,
        others,
        told,
        _rows(pieces, weights),
        made_by(
            chosen.model,
            **chosen.about(),
            **settings,
            trials=", ".join(each.name for each in told),
            trials_digests=", ".join(each.digest for each in told),
            effective_size=float(1 / (weights**2).sum()),
        ),
    )


def _treated(told: PublishedTrial, patients: Plausible, n_jobs: int) -> Sample:
    """Every patient in every arm, judged as the trial did."""
    n = len(patients)
    trial = told.trial(patients, n=n)
    return Sample.measured(told, (trial.measure(k, 0, n, n_jobs=threads(n_jobs)) for k in range(len(trial.arms))), 1)


class _Piece:
    """One trial's rows, read off patients with any weights."""

    def __init__(self, told: PublishedTrial, everybody: Sample) -> None:
        self.told, self.everybody, self.terms = told, everybody, terms(told)

    def under(self, weights: Floats) -> Sample:
        """The patients under k sets of weights (k, n)."""
        arms = len(self.told.arms)
        own = np.tile(weights * weights.shape[1], (1, arms)) * self.everybody.weight
        columns = {
            name: np.broadcast_to(column, (len(weights), column.shape[1]))
            for name, column in self.everybody.columns.items()
        }
        return Sample(self.everybody.arm, own, columns)


class _Search:
    """For weights of n patients, whose logarithms are linear in what each adds to each share."""

    def __init__(self, pieces: Sequence[_Piece], n: int, entropy: float, n_jobs: int) -> None:
        self.pieces, self.n, self.entropy, self.n_jobs = pieces, n, entropy, n_jobs
        self.terms: list[Term] = [term for piece in pieces for term in piece.terms]
        added = self._added()
        left, sizes, _ = np.linalg.svd(added - added.mean(axis=0), full_matrices=False)
        # Shares of a term add up to 1 and rows overlap: directions that say nothing are left out.
        self.basis = left[:, sizes > 1e-6 * max(sizes[0], 1e-300)] * np.sqrt(n)

    def found(self, alternatives: int, seed: int) -> tuple[Floats, Floats]:
        """The best weights (n,), and others (k, n) for numbers drawn from the published ones."""
        k = self.basis.shape[1]
        if k == 0:
            raise InputError("all plausible patients are alike in every row; draw more of them, or more widely")
        best = self._best(np.zeros(k), [term.observed for term in self.terms])
        rng = np.random.default_rng(seed)
        drawn = [[_drawn_anew(term.observed, rng) for term in self.terms] for _ in range(alternatives)]
        found = in_threads((partial(self._best, best, own) for own in drawn), threads(self.n_jobs))
        return tilted(self.basis, best[None])[0], tilted(self.basis, np.stack(list(found)))

    def _best(self, start: Floats, observed: Sequence[Floats]) -> Floats:
        from scipy.optimize import minimize

        found = minimize(self._value_and_slope, start, (observed,), "BFGS", jac=True, options={"gtol": _FLAT})
        if not np.isfinite(found.fun):
            raise InputError("no weights were found for these rows; give more entropy")
        place: Floats = found.x
        return place

    def _readings(self, weights: Floats) -> list[Reading]:
        found = []
        for piece in self.pieces:
            sample = piece.under(weights)
            found += [term.read(sample) for term in piece.terms]
        return found

    def _added(self) -> Floats:
        """(n, classes) What each patient adds to each share when its weight is twice that of the others."""
        wide = max(piece.everybody.columns["best"].shape[1] for piece in self.pieces)
        at_once = max(1, _ELEMENTS // wide)
        even = np.full((1, self.n), 1 / self.n)
        usual = np.hstack([np.nan_to_num(reading.shares) for reading in self._readings(even)])

        def added(start: int, stop: int) -> Floats:
            weights = np.repeat(even, stop - start, axis=0)
            weights[np.arange(stop - start), np.arange(start, stop)] *= 2
            shares = [np.nan_to_num(reading.shares) for reading in self._readings(weights)]
            return (np.hstack(shares) - usual) * self.n

        edges = [*range(0, self.n, at_once), self.n]
        return np.vstack(list(in_threads((partial(added, a, b) for a, b in pairwise(edges)), threads(self.n_jobs))))

    def _lost(self, x: Floats, observed: Sequence[Floats]) -> Floats:
        """(k,) What is minimised."""
        weights = tilted(self.basis, x)
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = np.where(weights > 0, weights * np.log(weights * self.n), 0.0).sum(axis=1)
        likely = sum(
            log_likelihood(own, *reading) for own, reading in zip(observed, self._readings(weights), strict=True)
        )
        return self.entropy * entropy - likely

    def _value_and_slope(self, x: Floats, observed: Sequence[Floats]) -> tuple[float, Floats]:
        lost = self._lost(np.vstack([x[None], x + _STEP * np.eye(len(x))]), observed)
        return float(lost[0]), (lost[1:] - lost[0]) / _STEP


def tilted(basis: Floats, x: Floats) -> Floats:
    """(k, n) Weights of k places x, which add up to 1; their logarithms are linear in x."""
    tilt = x @ basis.T
    weights = np.exp(tilt - tilt.max(axis=1, keepdims=True))
    total: Floats = weights / weights.sum(axis=1, keepdims=True)
    return total


def _drawn_anew(observed: Floats, rng: np.random.Generator) -> Floats:
    """Numbers of patients in classes as another trial of the same size might have had them."""
    shares, whole = observed + JEFFREYS, max(1, round(observed.sum()))
    return rng.multinomial(whole, shares / shares.sum()) * (observed.sum() / whole)


def _rows(pieces: Sequence[_Piece], weights: Floats) -> pd.DataFrame:
    """The table of rows, without weights and with them."""
    import pandas as pd

    found = []
    for piece in pieces:
        sample = piece.under(np.vstack([np.full_like(weights, 1 / len(weights)), weights]))
        for row in piece.told.rows:
            if row.role == "context":
                continue
            plain, weighted = statistic(row, sample)
            told = row.cells("id", "endpoint", "arms", "subset", "unit", "role", "value", "low", "high")
            inside = None if np.isnan(row.low) else bool(row.low <= weighted <= row.high)
            ours = {"plausible": plain, "weighted": weighted, "within": inside}
            found.append({"trial": piece.told.name} | told | ours)
    return pd.DataFrame(found)

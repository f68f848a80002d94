"""The pooled fit: estimates with their errors, and everything asked of a fit afterwards."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import (
    InputError,
    brief,
    check_count,
    check_jobs,
    check_kind,
    check_level,
    check_seed,
    choices,
    elsewhere,
    whole,
)
from cartsim.fitting.errors import ErrorModel
from cartsim.fitting.pooled.axes import Axis, Prior
from cartsim.fitting.pooled.evaluation import SOLVER, Evaluator
from cartsim.fitting.pooled.problem import DataSet, Estimated, Problem
from cartsim.fitting.pooled.profiles import Profile, profile
from cartsim.fitting.pooled.search import MAX_EVALUATIONS, Found, search
from cartsim.fitting.pooled.uncertainty import NO_ERROR, NO_MINIMUM, Uncertainty, uncertainty
from cartsim.model.model import Model
from cartsim.model.reader import load
from cartsim.observations import Observations
from cartsim.provenance import made_by
from cartsim.regimen import Regimen
from cartsim.results import Result
from cartsim.simulation import checked_times
from cartsim.solver import Solver

if TYPE_CHECKING:
    import pandas as pd

SPREAD = 0.5  # of further starts about the first, SD of the logarithm (or relative), where there is no prior


class Search(TypedDict, total=False):
    """How a fit is searched for, as for `fit_problem`."""

    starts: int
    seed: int
    level: float
    solver: Solver
    n_jobs: int
    max_evaluations: int


@dataclass(frozen=True, repr=False, eq=False)
class Fit(Result):
    """Estimates and how sure they are.

    Attributes
    ----------
    problem
        What was estimated from which data.
    estimates
        A row for each parameter and each SD of an error model with `name`, `estimate`, `unit`, `se`, `rse` (a
        fraction), `low`, `high` (limits of confidence at `level`, symmetric on the scale of estimation), `prior`,
        `prior_rse`, `shrinkage` (towards the prior, (se/prior se)^2: 0 the data say all, 1 the prior does) and
        `remark`. What has no error, and why, is in the remark; nothing has where the fit did not converge. Also
        ``frame``.
    correlation
        Of the estimates on their scale.
    converged, message
        Of the best search.
    objective
        -2 log likelihood, with priors plus the squares of the deviations in prior SDs.
    log_likelihood, aic, bic
        Of the data alone, all estimated numbers counted.
    not_identified
        Names of what the data do not identify.
    starts
        Where each search began and ended.
    remarks
        Whatever else is worth knowing, a line each. Also ``warnings``.
    level
        Of confidence.
    """

    what = "fit"
    problem: Problem
    estimates: pd.DataFrame
    correlation: pd.DataFrame
    converged: bool
    message: str
    objective: float
    log_likelihood: float
    aic: float
    bic: float
    n_observations: int
    not_identified: tuple[str, ...]
    starts: pd.DataFrame
    remarks: tuple[str, ...]
    level: float
    made_by: dict[str, Any]
    _evaluator: Evaluator = field(repr=False)
    _best: Found = field(repr=False)
    _uncertainty: Uncertainty = field(repr=False)

    @property
    def frame(self) -> pd.DataFrame:
        """The estimates."""
        return self.estimates

    @property
    def summary(self) -> pd.DataFrame:
        """The estimates with their limits; with priors also these."""
        prior = ["prior", "shrinkage"] if self.problem.priors else []
        return self.estimates[["name", "estimate", "unit", "rse", "low", "high", *prior]]

    @property
    def failures(self) -> pd.DataFrame:
        """The estimates without a standard error, and why they have none."""
        lost = self.estimates["remark"] != ""
        return self.estimates.loc[lost, ["name", "estimate", "remark"]].reset_index(drop=True)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The remarks."""
        return self.remarks

    def tables(self) -> dict[str, pd.DataFrame]:
        """Estimates, their correlation, the searches, residuals and predictions."""
        return {
            "estimates.csv": self.estimates,
            "correlation.csv": self.correlation.rename_axis("name").reset_index(),
            "starts.csv": self.starts,
            "residuals.csv": self.residuals(),
            "predictions.csv": self.predict(),
        }

    def about(self) -> dict[str, Any]:
        """How the fit ended, how likely it makes the data, and what made it; None for a number that JSON lacks."""
        names = ("converged", "message", "objective", "log_likelihood", "aic", "bic", "n_observations",
                 "not_identified", "remarks", "level", "made_by")  # fmt: skip
        found = {name: getattr(self, name) for name in names}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in found.items()}

    def _title(self) -> str:
        said = "" if self.converged else ", NOT CONVERGED"
        return f"{super()._title()}: {self.n_observations} observations, AIC {self.aic:.1f}{said}"

    @property
    def values(self) -> dict[str, float]:
        """Estimates by name."""
        return dict(zip(self.estimates["name"], self.estimates["estimate"], strict=True))

    def priors(self, names: Iterable[str] | Mapping[str, str] | None = None) -> dict[str, Prior]:
        """What this fit tells the next one: estimate and RSE of parameters (all that have one by default).

        A mapping gives them other names there: {"KC50": "mouse.KC50"}. Raises `InputError` for a name without RSE.
        """
        sure = self.estimates.iloc[: len(self.problem.axes)].set_index("name")
        sure = sure[np.isfinite(sure["rse"])]
        wanted = names if isinstance(names, Mapping) else {n: n for n in (sure.index if names is None else names)}
        for name in wanted:
            if name not in sure.index:
                raise InputError(f"this fit has no standard error of {name!r}{choices(name, sure.index)}")
        return {new: Prior(float(sure["estimate"][old]), float(sure["rse"][old])) for old, new in wanted.items()}

    def model(self, name: str | None = None) -> Model:
        """The model of a data set (of the only one by default) with the estimates as its values."""
        data = self._data(name)
        uses = self.problem.uses[self.problem.data.index(data)]
        return data.layout.model.override({parameter: self.values[axis] for parameter, axis in uses.items()})

    def residuals(self) -> pd.DataFrame:
        """A row an observation: data, id, time, output, observed, below, predicted, sd, residual, weighted.

        `residual` is observed minus predicted, `weighted` the same in SDs (of the logarithms for log-normal
        error); both are NaN where a value is only known to be `below`.
        """
        import pandas as pd

        u = self._evaluator.u(self._best.x[None])
        values = self._evaluator.values(u)
        parts = []
        for data, f in zip(self.problem.data, self._evaluator.predictions(values), strict=True):
            layout = data.layout
            frame = pd.DataFrame(
                {
                    "data": data.name,
                    "id": layout.ids,
                    "time": layout.times[layout.time_index],
                    "output": np.array(layout.outputs)[layout.output],
                    "observed": layout.value,
                    "below": layout.below,
                    "predicted": f[0],
                    "sd": np.nan,
                    "residual": np.where(layout.below, np.nan, layout.value - f[0]),
                    "weighted": np.nan,
                }
            )
            for output, error in data.layout.errors.items():
                rows = (frame["output"] == output).to_numpy()
                sigma = self._evaluator.sigmas(data, output, error, values)
                moments = error.moments(f[0, rows], **sigma)
                with np.errstate(divide="ignore", invalid="ignore"):
                    weighted = (error.measured(layout.value[rows]) - moments.mean) / moments.sd
                frame.loc[rows, "sd"] = moments.sd
                frame.loc[rows, "weighted"] = np.where(layout.below[rows], np.nan, weighted)
            parts.append(frame)
        return pd.concat(parts, ignore_index=True)

    def predict(
        self, times: ArrayLike | None = None, *, data: str | None = None, draws: int = 200, seed: int = 1
    ) -> pd.DataFrame:
        """Curves of a data set (of all, one after the other, by default) with limits from the uncertainty of the
        estimates.

        times: by default 200 from 0 to the last observation. A row for each condition, output and time: `condition`
        (a number), `ids` (of the subjects in it), `time`, `output`, `predicted`, `low`, `high` (percentiles of
        `draws` sets of parameters drawn from the estimates' normal distribution, at the fit's level; measurement
        error is not in them). draws=0 leaves the limits out, and so does a fit that did not converge. Deterministic in
        `seed`.
        """
        import pandas as pd

        if data is None and len(self.problem.data) > 1:
            every = [self.predict(times, data=each.name, draws=draws, seed=seed) for each in self.problem.data]
            return pd.concat(every, ignore_index=True)
        chosen = self._data(data)
        layout, evaluator = chosen.layout, self._evaluator
        times = np.linspace(0, layout.times[-1], 200) if times is None else checked_times(times)
        center = evaluator.u(self._best.x[None])
        u = np.vstack([center, self._draws(center[0], draws, seed)])
        curves = evaluator.curves(evaluator.values(u), chosen, times)
        tail = (1 - self.level) / 2
        parts = []
        for k, output in enumerate(layout.outputs):
            for c in range(layout.n_conditions):
                drawn = curves[k, 1:, c]
                sure = np.isfinite(drawn).all(axis=1)
                limits = np.quantile(drawn[sure], (tail, 1 - tail), axis=0) if sure.any() else np.full(2, np.nan)
                members = pd.unique(layout.ids[layout.condition == c])
                parts.append(
                    pd.DataFrame(
                        {
                            "data": chosen.name,
                            "condition": c,
                            "ids": ", ".join(str(each) for each in members),
                            "output": output,
                            "time": times,
                            "predicted": curves[k, 0, c],
                            "low": limits[0],
                            "high": limits[1],
                        }
                    )
                )
        return pd.concat(parts, ignore_index=True)

    def profile(self, name: str, *, priors: str = "all", level: float | None = None) -> Profile:
        """The profile of a parameter or SD: everything else estimated anew with it held at other values.

        priors: "all", as in the fit; "others", without the one of the parameter itself, which shows what the data
        say of it, given what is known of the others; "none", what the data alone say, about their own best fit,
        which takes longer the less that is. Raises `InputError` for an unknown name.
        """
        return self.profiles([name], priors=priors, level=level)[name]

    def profiles(
        self,
        names: Iterable[str] | None = None,
        *,
        priors: str = "all",
        level: float | None = None,
        n_jobs: int = 1,
    ) -> dict[str, Profile]:
        """Profiles of several parameters, all that are estimated by default, in `n_jobs` processes; see `profile`."""
        from joblib import Parallel, delayed

        names = [axis.name for axis in self.problem.axes] if names is None else list(names)
        for name in names:
            if name not in self._evaluator.names:
                raise InputError(f"{name!r} is not estimated{choices(name, self._evaluator.names)}")
        level = self.level if level is None else level
        check_level(level)
        if priors not in ("all", "others", "none"):
            raise InputError(f"priors is {priors!r}; choose all, others or none")
        evaluator, best = self._evaluator, self._best
        if priors == "none":
            evaluator, best = self._again(self.problem.without_priors())
        tasks = []
        for name in names:
            if priors == "others" and name in self.problem.priors:
                evaluator, best = self._again(self.problem.without_priors([name]))
            made = self.made_by | {"priors": priors}
            tasks.append(delayed(profile)(evaluator, best, evaluator.names.index(name), level, made))
        return dict(zip(names, Parallel(n_jobs)(tasks), strict=True))

    def _again(self, problem: Problem) -> tuple[Evaluator, Found]:
        """The best fit of the same problem with fewer priors, searched from this fit."""
        evaluator = Evaluator(problem, self._evaluator.solver)
        return evaluator, search(evaluator, self._best.x)

    def _data(self, name: str | None) -> DataSet:
        names = [data.name for data in self.problem.data]
        if name is None and len(names) == 1:
            return self.problem.data[0]
        if name not in names:
            raise InputError(f"data set {name!r}: say which, {' or '.join(names)}")
        return self.problem.data[names.index(name)]

    def _draws(self, u: NDArray[np.float64], n: int, seed: int) -> NDArray[np.float64]:
        """Estimates (n, d) drawn from their normal distribution, (0, d) where no parameter has an error.

        What has none beside others that do stays: they hold given its value.
        """
        covariance = self._uncertainty.covariance
        sure = np.isfinite(np.diagonal(covariance))
        n = n if sure[: self._evaluator.p].any() else 0
        drawn = np.repeat(u[None], n, axis=0)
        if n:
            root = np.linalg.cholesky(covariance[np.ix_(sure, sure)])
            normal = np.random.default_rng(seed).standard_normal((n, int(sure.sum())))
            drawn[:, sure] += normal @ root.T
        ends = np.array([axis.ends for axis in self._evaluator.axes])
        return np.clip(drawn, ends[:, 0], ends[:, 1])


@elsewhere(
    Search,
    saem="cs.fit_population takes it; fit describes all subjects by the same parameters",
    draws="cs.fit_individuals takes it; fit describes all subjects by the same parameters",
    rules="a pooled fit takes no response categories; cs.fit_individuals does",
)
def fit(
    model: str | Path | Model,
    observations: Observations | pd.DataFrame | str | Path,
    estimate: Sequence[str | Estimated],
    *,
    errors: ErrorModel | Mapping[str, ErrorModel] | None = None,
    priors: Mapping[str, Prior] | None = None,
    dose: Regimen | float | None = None,
    **search: Unpack[Search],
) -> Fit:
    """Estimate parameters of a model from the pooled data of all subjects; of several data sets see `fit_problem`.

    Parameters
    ----------
    model
        A model, its name, or the path of its file.
    observations
        See `cartsim.observations`; values only, response categories are left out with a warning.
    estimate
        Names of parameters, or `Estimated` for other starts, scales and limits; all others keep the model's values.
    errors
        An error model for all outputs or one for each by name. By default additive for changes in percent and for
        outputs with values of 0 or less, log-normal for all others, with SDs that are estimated.
    priors
        By the names in ``estimate``, see `table_priors` and `Fit.priors`.
    dose
        Cells infused at time 0, or a `Regimen`; else the observations' column ``dose``, else the model's dose.
    search
        starts, seed, level, solver, n_jobs and max_evaluations, as for `fit_problem`.

    Raises
    ------
    InputError
        As `fit_problem`.

    Examples
    --------
    >>> import cartsim as cs
    >>> found = cs.fit("bb2121_clinical", "trial_synthetic", ["Kexp_max"], starts=1)
    >>> found.converged, found.frame["name"].tolist()
    (True, ['Kexp_max', 'mprotein_gL.log', 'transgene.log'])
    """
    chosen = load(model)
    if isinstance(estimate, str):
        estimate = [estimate]
    check_kind("estimate", estimate, Sequence, 'a list of names, such as ["Kexp_max"]')
    data = DataSet(chosen.name.replace(".", "_"), chosen, observations, errors, dose)
    return fit_problem(Problem([data], estimate, priors or {}), **search)


@elsewhere()
def fit_problem(
    problem: Problem,
    *,
    starts: int = 4,
    seed: int = 2021,
    level: float = 0.95,
    solver: Solver = SOLVER,
    n_jobs: int = 1,
    max_evaluations: int = MAX_EVALUATIONS,
) -> Fit:
    """Estimate a problem's parameters by maximum likelihood, or by maximum posterior where it has priors.

    Data of all subjects are pooled: they share the parameters, and differ by dose and covariates only. The best of
    several searches is taken. Warns, and goes on, when there are fewer observations than numbers to estimate or the
    search does not converge; the `Fit` is marked then.

    Parameters
    ----------
    problem
        Data sets, and what is estimated from them.
    starts, seed
        Searches: from the given start and, above 1, from points of a Latin hypercube around it.
    level
        Of confidence, a fraction.
    solver
        By default with a tolerance of 1e-8, so that slopes by differences are exact enough.
    n_jobs
        Processes that share the searches.
    max_evaluations
        Of likelihood and slopes in one search.

    Raises
    ------
    InputError
        For bad settings, and where an error model cannot be with the predictions.
    """
    from joblib import Parallel, delayed

    check_kind("problem", problem, Problem, "Problem([DataSet(...), ...], [names]), or use cs.fit")
    check_kind("solver", solver, Solver, "Solver(rtol=1e-8)")
    if not whole(starts) or not 1 <= starts <= 1000:
        raise InputError(f"starts is {brief(starts)}; give a whole number from 1 to 1000")
    check_count(max_evaluations, f"max_evaluations is {brief(max_evaluations)}")
    check_seed(seed)
    check_level(level)
    check_jobs(n_jobs)
    evaluator = Evaluator(problem, solver)
    places = _places(evaluator.axes[: evaluator.p], starts, seed)
    first = evaluator.start(places[0])
    _check_predictions(evaluator, first)

    remarks = [
        f"{data.layout.left_out} rows of {data.name} without a value are left out: a pooled fit takes no categories"
        for data in problem.data
        if data.layout.left_out
    ]
    n, d = problem.n_observations, len(evaluator.axes)
    if n < d:
        remarks.append(f"{n} observations for {d} numbers to estimate; fix some or add data")
    begins = [first, *(evaluator.start(place) for place in places[1:])]
    found = Parallel(n_jobs)(delayed(search)(evaluator, begin, max_evaluations) for begin in begins)
    best = min(found, key=lambda each: (each.objective, not each.converged))
    near = sum(each.objective < best.objective + 0.1 for each in found)
    if starts > 1 and near == 1:
        remarks.append(f"only one of {starts} searches came to this fit; try more starts")
    if not best.converged:
        remarks.append(f"the fit did not converge ({best.message}): its numbers are where it stopped, without limits")
    sure = uncertainty(evaluator, best)
    estimates, correlation = _tables(evaluator, best, sure, level)
    lost = tuple(name for name, reason in zip(evaluator.names, sure.reasons, strict=True) if "not id" in reason)
    said = zip(evaluator.names, sure.reasons, strict=True)
    remarks += [f"{name} is {reason}" for name, reason in said if reason and reason not in (NO_MINIMUM, NO_ERROR)]
    if NO_ERROR in sure.reasons:
        remarks.append("an error runs to 0, so nothing has limits: too few values for it; hold it with an error model")
    if not sure.observed:
        remarks.append("standard errors are from the expected information, the observed one is not positive")
    for remark in remarks:
        warnings.warn(remark, stacklevel=3)
    log_likelihood = -0.5 * float(best.point.deviance[0])
    return Fit(
        problem=problem,
        estimates=estimates,
        correlation=correlation,
        converged=best.converged,
        message=best.message,
        objective=best.objective,
        log_likelihood=log_likelihood,
        aic=2 * d - 2 * log_likelihood,
        bic=d * float(np.log(n)) - 2 * log_likelihood,
        n_observations=n,
        not_identified=lost,
        starts=_starts(problem, places, found),
        remarks=tuple(remarks),
        level=level,
        made_by=made_by(
            problem.data[0].layout.model,
            starts=starts,
            seed=seed,
            rtol=solver.rtol,
            extinction=solver.extinction,
            max_evaluations=max_evaluations,
        )
        | {"models": {data.name: data.layout.model.digest for data in problem.data}},
        _evaluator=evaluator,
        _best=best,
        _uncertainty=sure,
    )


def replicate(problem: Problem, values: Mapping[str, float], seed: int) -> Problem:
    """The same problem with data simulated from known values: what a fit should find again.

    values: of everything that is estimated, SDs of error models too (see the names in `Fit.estimates`); times,
    doses and covariates are those of the problem. Deterministic in `seed`.
    """
    evaluator = Evaluator(problem)
    missing = [name for name in evaluator.names if name not in values]
    if missing:
        raise InputError(f"no value for {', '.join(missing)}; give one for each estimated number")
    given = {name: np.array([float(values[name])]) for name in evaluator.names}
    rng = np.random.default_rng(seed)
    measured = []
    for data, f in zip(problem.data, evaluator.predictions(given), strict=True):
        new = f[0].copy()
        for k, (output, error) in enumerate(data.layout.errors.items()):
            rows = data.layout.output == k
            moments = error.moments(f[0, rows], **evaluator.sigmas(data, output, error, given))
            drawn = moments.mean + moments.sd * rng.standard_normal(int(rows.sum()))
            new[rows] = np.exp(drawn) if error.kind == "lognormal" else drawn
        measured.append(new)
    return problem.with_values(measured)


def _places(axes: Sequence[Axis], starts: int, seed: int) -> NDArray[np.float64]:
    """Parameters u (starts, p) to start from, the given ones first."""
    from scipy.special import ndtri
    from scipy.stats import qmc

    center = np.array([axis.u(axis.start) for axis in axes])
    if starts == 1:
        return center[None]
    sd = np.array([min(axis.prior_u[1], SPREAD * axis.size) for axis in axes])
    ends = np.array([axis.ends for axis in axes])
    points = ndtri(qmc.LatinHypercube(len(center), rng=np.random.default_rng(seed)).random(starts - 1))
    return np.clip(np.vstack([center, center + sd * points]), ends[:, 0], ends[:, 1])


def _check_predictions(evaluator: Evaluator, x: NDArray[np.float64]) -> None:
    """Errors in proportion to a prediction need one that is not 0."""
    predicted = evaluator.predictions(evaluator.values(evaluator.u(x[None])))
    for data, f in zip(evaluator.problem.data, predicted, strict=True):
        for k, (output, error) in enumerate(data.layout.errors.items()):
            zero = (data.layout.output == k) & ~data.layout.below & (f[0] <= 0)
            if error.kind in ("proportional", "lognormal") and zero.any():
                raise InputError(
                    f"{data.name}: {output} in row {int(zero.argmax()) + 1} is predicted as {f[0, zero][0]:g}, with "
                    f"which {error.kind} error cannot be; take combined or additive error, or leave the row out"
                )


def _tables(evaluator: Evaluator, best: Found, sure: Uncertainty, level: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    import pandas as pd
    from scipy.special import ndtri

    u = evaluator.u(best.x[None])[0]
    sd = np.sqrt(np.diagonal(sure.covariance))
    z = float(ndtri(0.5 + level / 2))
    rows = []
    for k, axis in enumerate(evaluator.axes):
        value = float(axis.value(u[k]))
        se = sd[k] * value if axis.scale == "log" else sd[k]
        rows.append(
            {
                "name": axis.name,
                "estimate": value,
                "unit": axis.unit,
                "se": se,
                "rse": se / abs(value) if value else np.nan,
                "low": float(axis.value(u[k] - z * sd[k])),
                "high": float(axis.value(u[k] + z * sd[k])),
                "prior": axis.prior.estimate if axis.prior else np.nan,
                "prior_rse": axis.prior.rse if axis.prior else np.nan,
                "shrinkage": (sd[k] / axis.prior_u[1]) ** 2 if axis.prior else np.nan,
                "remark": sure.reasons[k],
            }
        )
    correlation = sure.covariance / np.outer(sd, sd)
    return pd.DataFrame(rows), pd.DataFrame(correlation, index=evaluator.names, columns=evaluator.names)


def _starts(problem: Problem, places: NDArray[np.float64], found: list[Found]) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {axis.name: axis.value(places[:, k]) for k, axis in enumerate(problem.axes)}
    ended = ("objective", "converged", "evaluations", "message")
    return pd.DataFrame(columns | {name: [getattr(each, name) for each in found] for name in ended})

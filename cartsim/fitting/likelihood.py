"""How probable all that was observed of each patient is, for any parameters: predictions first, then the terms.

A measured value has its density, a value below the limit of quantification and a response category the probability
of their interval, by the error model of the output (`cartsim.fitting.errors`). For outputs that are changes in
percent the error acts on the level relative to baseline, 1 + change/100: "lognormal" with log=0.05 is an assay's
coefficient of variation of 5 %, "additive" with add=0.05 an SD of 5 percentage points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from cartsim.endpoints.rules import Response
from cartsim.errors import InputError, check_jobs, check_kind
from cartsim.fitting.data import CategoryRules, PatientData, Series, is_change
from cartsim.fitting.errors import ErrorModel, normal_between
from cartsim.model.model import Model
from cartsim.population.patients import outside
from cartsim.simulation import simulate_rows
from cartsim.solver import Solver

Floats = NDArray[np.float64]
Ints = NDArray[np.signedinteger[Any]]
BLOCK = 20_000  # rows simulated and compared at a time, so that memory does not grow with the data

Sigmas = Mapping[str, Mapping[str, float]]  # of each series (see `label`), by the names in ErrorModel.sigmas


def label(series: Series) -> str:
    """What error models call a series: its output, or "category"."""
    return "category" if series.category is not None else series.output


@dataclass(frozen=True)
class PatientLikelihood:
    """The likelihood of the data of n patients as a function of ``parameters`` (d names of the model).

    errors: an error model for each series, by `label`. Rows (r) are pairs of a patient and a set of parameters; all
    rows are simulated in one call.
    """

    data: PatientData
    model: Model
    parameters: tuple[str, ...]
    errors: dict[str, ErrorModel]
    solver: Solver = Solver()  # noqa: RUF009 (frozen)
    n_jobs: int = 1

    def __post_init__(self) -> None:
        check_kind("solver", self.solver, Solver, "Solver(rtol=1e-6)")
        check_jobs(self.n_jobs)

    @property
    def n(self) -> int:
        return len(self.data.ids)

    def predict(self, values: Floats, who: Ints) -> list[Floats]:
        """Levels of each series at its days, (r, k): of patients ``who`` (r,) with parameters ``values`` (r, d).

        NaN for parameters that the model does not allow, and where a patient's tumor outgrows every limit.
        """
        parts = [self._predict(values[block], who[block]) for block in _blocks(len(who))]
        return [np.concatenate(own) for own in zip(*parts, strict=True)]

    def _predict(self, values: Floats, who: Ints) -> list[Floats]:
        import pandas as pd

        impossible = np.zeros(len(who), bool)
        table = {name: column.to_numpy()[who] for name, column in self.data.table.items()}
        dose = table.pop("dose")
        for k, name in enumerate(self.parameters):
            parameter = self.model.parameters[name]
            wrong = outside(values[:, k], parameter.low, parameter.high)
            table[name] = np.where(wrong, np.float64(parameter.value or 0.0), values[:, k])
            impossible |= wrong
        outputs = list(dict.fromkeys(series.output for series in self.data.series))
        times = np.unique(np.concatenate([s.days[np.isfinite(s.days)] for s in self.data.series]))
        rows = pd.DataFrame(table, index=pd.RangeIndex(len(who), name="id"))
        run = simulate_rows(
            self.model, rows, None, times, outputs, own_dose=dose, solver=self.solver, n_jobs=self.n_jobs
        )
        found = []
        for series in self.data.series:
            place = np.searchsorted(times, np.where(np.isfinite(series.days), series.days, times[0]))[who]
            levels = np.take_along_axis(run[series.output], place, axis=1)
            levels = np.where(np.isfinite(levels), levels, np.nan)
            if is_change(self.model, series.output):
                levels = np.maximum(1 + levels / 100, 0.0)  # rounding may leave a level that vanishes below 0
            levels[impossible] = np.nan
            found.append(levels)
        return found

    def log_likelihood(self, predicted: list[Floats], who: Ints, sigmas: Sigmas | None = None) -> Floats:
        """Log-likelihood of the patients' data given the predictions of `predict`, (r,).

        sigmas: standard deviations that the error models leave open. Minus infinity where a prediction is missing.
        """
        total = np.zeros(len(who))
        for block in _blocks(len(who)):
            for series, levels in zip(self.data.series, predicted, strict=True):
                terms = self._terms(series, who[block], levels[block], dict((sigmas or {}).get(label(series), {})))
                total[block] += np.where(series.known[who[block]], terms, 0.0).sum(axis=1)
        return np.where(np.isnan(total), -np.inf, total)

    def _terms(self, series: Series, who: Ints, levels: Floats, sigma: dict[str, Any]) -> Floats:
        error = self.errors[label(series)]
        if series.category is None:
            low, high = series.low[who], series.high[who]
            return error.log_likelihood(high, levels, low != high, **sigma)
        M0 = self.data.table["M0"].to_numpy()[who] if "M0" in self.data.table else None
        return _category_terms(series, who, levels, error, sigma, self.data.rules, M0)

    def __call__(self, values: Floats, who: Ints, sigmas: Sigmas | None = None) -> Floats:
        return self.log_likelihood(self.predict(values, who), who, sigmas)


def _blocks(rows: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, max(rows, 1), BLOCK)]


def error_models(
    data: PatientData, model: Model, given: Mapping[str, ErrorModel] | None, default: Mapping[str, ErrorModel]
) -> dict[str, ErrorModel]:
    """The error model of each series: given by label, else the default of the label or of "" (any other).

    Raises `InputError` for an error model of a series that is not in the data, one with a limit of quantification
    (the data say which values lie below it), and values that a log-normal error cannot have.
    """
    names = [label(series) for series in data.series]
    check_kind("errors", given or {}, Mapping, "a mapping of outputs to error models")
    for name, error in (given or {}).items():
        if name not in names:
            raise InputError(f"an error model of {name!r}, which is not in the data; they hold {', '.join(names)}")
        check_kind(f"the error model of {name}", error, ErrorModel, 'ErrorModel("lognormal"), say')
    models = {}
    for series, name in zip(data.series, names, strict=True):
        chosen = (given or {}).get(name) or default.get(name) or default[""]
        if chosen.lloq is not None:
            raise InputError(f"the error model of {name} has an lloq; write values below it as <{chosen.lloq:g}")
        if chosen.kind == "lognormal" and series.category is None and (series.high[series.known] <= 0).any():
            what = "a fall by 100 %" if is_change(model, series.output) else "0 or less"
            raise InputError(
                f"{name}: a value is {what}, which has no logarithm; write it as below its limit, such as <-99, "
                "or choose another error model"
            )
        models[name] = chosen
    return models


def _category_terms(
    series: Series,
    who: Ints,
    levels: Floats,
    error: ErrorModel,
    sigma: dict[str, Any],
    rules: CategoryRules,
    M0: Floats | None,
) -> Floats:
    """Log probabilities of categories.

    With progression from the nadir, a visit is PD with the probability that its measurement exceeds the limit set by
    the lowest measurement before it, both being uncertain. A visit that is not PD is in the interval of its category,
    independently (which in the typical patient is within half a point of what simulated trials give). The
    probabilities of all categories sum to 1.
    """
    assert series.category is not None
    category = series.category[who]
    m = error.moments(levels, **sigma)
    log_scale = error.kind == "lognormal"
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = series.low[who], series.high[who]
        if log_scale:
            low, high = np.log(np.maximum(low, 0)), np.log(high)
        terms = normal_between(low, high, m.mean, m.sd)
        if rules.progression == "baseline":
            return terms
        lowest, spread = _lowest_before(m.mean, m.sd, category != Response.NE, 0.0 if log_scale else 1.0)
        limits = [lowest, lowest + spread]
        if log_scale:
            limits = [np.log(_progression_limit(np.exp(x), rules, M0)) for x in limits]
        else:
            limits = [_progression_limit(x, rules, M0) for x in limits]
        z = (m.mean - limits[0]) / np.hypot(m.sd, limits[1] - limits[0])
        return np.where(category == Response.PD, log_ndtr(z), log_ndtr(-z) + terms)


def _lowest_before(mean: Floats, sd: Floats, assessed: NDArray[np.bool_], baseline: float) -> tuple[Floats, Floats]:
    """Mean and SD, (r, k), of the lowest measurement before each visit, the baseline (without error) being the first.

    By the moments of the lesser of two normal variables, visit by visit (Clark 1961, Oper Res 9:145): the lowest of
    many noisy values lies below the lowest of what they measure.
    """
    from scipy.special import ndtr

    lowest, spread = np.full(mean.shape, baseline), np.zeros(mean.shape)
    for k in range(mean.shape[1] - 1):
        a, b, va, vb = lowest[:, k], mean[:, k], spread[:, k] ** 2, sd[:, k] ** 2
        width = np.sqrt(va + vb)
        z = (b - a) / width
        first, density = ndtr(z), np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)  # first: how likely a is the lesser
        least = a * first + b * (1 - first) - width * density
        square = (a**2 + va) * first + (b**2 + vb) * (1 - first) - (a + b) * width * density
        lowest[:, k + 1] = np.where(assessed[:, k], least, a)
        spread[:, k + 1] = np.where(assessed[:, k], np.sqrt(np.maximum(square - least**2, 0)), spread[:, k])
    return lowest, spread


def _progression_limit(lowest: Floats, rules: CategoryRules, M0: Floats | None) -> Floats:
    """The level above which a visit is PD, given the lowest level before it."""
    limit = (1 + rules.bins.pd / 100) * lowest
    if rules.pd_absolute > 0:
        assert M0 is not None  # the reader of the data saw to it
        limit = np.maximum(limit, lowest + rules.pd_absolute / M0[:, None])
    return limit


def judged(
    levels: Floats, category: NDArray[np.int8], rules: CategoryRules, M0: Floats | None = None
) -> tuple[NDArray[np.int8], Floats]:
    """Codes (n, k) of the categories that levels (n, k) have at visits, NE where ``category`` (n, k) is, without error;
    and the level above which each visit is PD.
    """
    codes = np.full(levels.shape, Response.SD, np.int8)
    starts: list[float | None] = [None]
    if rules.bins.cr_limit is not None and M0 is not None:  # only then do intervals differ between patients
        starts = np.unique(M0).tolist()
    for start in starts:
        own = np.full((len(levels), 1), True) if start is None else (np.asarray(M0) == start)[:, None]
        for code, (low, high) in rules.intervals(start).items():
            codes[own & (levels > low) & (levels <= high)] = code
    limit = np.full(levels.shape, 1 + rules.bins.pd / 100)
    if rules.progression == "nadir":
        assessed = np.where(category == Response.NE, np.inf, levels)
        before = np.column_stack([np.ones(len(levels)), assessed[:, :-1]])
        limit = _progression_limit(np.minimum.accumulate(before, axis=1), rules, M0)
        codes[levels > limit] = Response.PD
    codes[(category == Response.NE) | np.isnan(levels)] = Response.NE
    return codes, limit

"""The choice of an exposure-response model as in the KarMMa analysis: linear or Emax, then covariates step by step.

1. Linear, Emax and sigmoid Emax models are fitted without covariates. Of those whose parameters the data tell, the one
   of the lowest AIC is taken.
2. Whether there is a relationship at all is a likelihood-ratio test of exposure in the linear model. Without one,
   covariates are not looked at.
3. Each covariate is tested in the linear model beside exposure (on patients who have a value).
4. Those below the first threshold are tested again in the chosen model (on patients who have all of them): the one with
   the smallest p-value enters, as long as there is one below the second threshold; then the one with the largest
   leaves, as long as there is one above the third.

All tests are likelihood-ratio tests of two models of the same patients; a categorical covariate enters as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from cartsim.errors import InputError, brief, check_level, choices
from cartsim.exposure import emax, logistic
from cartsim.exposure.covariates import Covariate, screen_covariate
from cartsim.exposure.curves import LinearCurve, Scaling
from cartsim.exposure.design import Design, read_design, transformed
from cartsim.exposure.model import ExposureModel
from cartsim.exposure.separation import Separation
from cartsim.results import Result
from cartsim.version import __version__

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

HILLS = {"Emax": 1.0, "sigmoid Emax": None}
"""H of the Emax models by name; None is estimated."""

MODELS = ("linear", *HILLS)


@dataclass(frozen=True)
class Rules:
    """Thresholds of the choice, those of the KarMMa analysis by default.

    Attributes
    ----------
    univariate, forward, backward
        p-values below which a covariate is looked at further, enters and stays.
    rare
        Categories with a smaller share of the patients are merged.
    missing
        Covariates that a larger share of the patients lack are excluded.
    largest_rse
        Percent: an Emax model whose Emax, EC50 or H has a larger relative standard error is not taken.
    need_exposure
        Whether covariates are looked at only where exposure matters (p below ``univariate``).
    """

    univariate: float = 0.05
    forward: float = 0.05
    backward: float = 0.01
    rare: float = 0.10
    missing: float = 0.10
    largest_rse: float = 100.0
    need_exposure: bool = True

    def __post_init__(self) -> None:
        for name in ("univariate", "forward", "backward", "rare", "missing"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise InputError(f"{name} is {brief(value)}; give a share from 0 to 1")
        if not isinstance(self.largest_rse, (int, float)) or not self.largest_rse > 0:
            raise InputError(f"largest_rse is {brief(self.largest_rse)}; give percent above 0")


@dataclass(frozen=True, eq=False, repr=False)
class Selection(Result):
    """A chosen model and the way to it.

    Attributes
    ----------
    model
        The chosen one, fitted to all patients who have its covariates.
    path
        A row a test: step, candidate, n, minus_2ll with it, delta (by how much minus_2ll is higher without it), df,
        p, kept, note.
    candidates
        A row for each model without covariates and (where some are kept) with them: model, covariates, n, parameters,
        minus_2ll, aic, largest_rse (of its exposure parameters, percent), identified, chosen, note.
    coding
        A row a covariate: covariate, screened, coding in words or why it was excluded.
    notes
        Sentences that a reader should know.
    made_by
        Settings.
    """

    model: ExposureModel
    path: pd.DataFrame
    candidates: pd.DataFrame
    coding: pd.DataFrame
    notes: tuple[str, ...]
    made_by: Mapping[str, Any] = field(default_factory=dict)

    what = "exposure-response selection"

    @property
    def frame(self) -> pd.DataFrame:
        """The path."""
        return self.path

    @property
    def summary(self) -> pd.DataFrame:
        """Estimates of the chosen model."""
        return self.model.estimates

    @property
    def kept(self) -> tuple[str, ...]:
        """Covariates of the chosen model."""
        return tuple(each.name for each in self.model.design.covariates)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know of the choice and of the model."""
        return self.notes + self.model.warnings

    def tables(self) -> dict[str, pd.DataFrame]:
        """The model's tables, path, candidates and coding by file name."""
        own = {"path.csv": self.path, "candidates.csv": self.candidates, "coding.csv": self.coding}
        return self.model.tables() | own

    def _title(self) -> str:
        chosen = ", ".join(self.kept) or "no covariate"
        return f"{self.model.title} (kept: {chosen})"


def select(
    data: pd.DataFrame,
    outcome: str,
    exposure: str,
    covariates: Sequence[str] = (),
    *,
    models: Sequence[str] = MODELS,
    log: bool = True,
    rules: Rules | None = None,
    level: float = 0.95,
) -> Selection:
    """Choose between linear and Emax models, and covariates step by step.

    Parameters
    ----------
    data, outcome, exposure, log, level
        As in `cartsim.exposure.logistic.fit_linear`.
    covariates
        Columns that are screened. One that is constant, has too many missing values or too few patients in all
        categories but one is excluded, which `Selection.coding` says.
    models
        Among which is chosen: "linear", "Emax" (H = 1), "sigmoid Emax".
    rules
        Thresholds.

    Raises
    ------
    InputError
        For unknown models, and what `read_design` refuses.
    """
    import pandas as pd

    check_level(level)
    rules = Rules() if rules is None else rules
    unknown = [each for each in models if each not in MODELS]
    if isinstance(models, str) or unknown or not models:
        given = unknown[0] if unknown and not isinstance(models, str) else models
        raise InputError(f"models has {brief(given)}{choices(str(given), MODELS)}")
    if isinstance(covariates, str):
        raise InputError(f"covariates are {brief(covariates)}; give a list of columns, such as ['sex']")
    base = read_design(data, outcome, exposure, log=log)
    data = data.iloc[base.rows].reset_index(drop=True)  # from here on all patients have outcome and exposure
    search = _Search(data, base, rules, log)
    structure = search.choose(models)
    better = search.better_but_unusable(structure)
    coded, coding = _code(data, covariates, rules)
    kept: tuple[Covariate, ...] = ()
    notes: tuple[str, ...] = ()
    p = search.exposure()
    if p < rules.univariate or not rules.need_exposure:
        kept, notes = search.covariates(structure, coded)
    elif coded:
        notes = (f"no relationship with {exposure} (p = {p:.2g}): covariates were not looked at",)
    final = read_design(data, outcome, exposure, kept, log=log)
    if kept:
        search.compare(models, final, structure)
    final = replace(final, rows=base.rows[final.rows])  # places in the data that were given
    model = _fit(structure, final, log, level, "profile")
    made_by = {
        "model": structure, "outcome": outcome, "exposure": exposure, "level": level, "log": log,
        **{each.name: getattr(rules, each.name) for each in fields(rules)}, "cartsim": __version__,
    }  # fmt: skip
    path, candidates = pd.DataFrame(search.tests), _candidates(search.fits)
    return Selection(model, path, candidates, coding, base.notes + better + notes, made_by)


@dataclass(frozen=True, eq=False)
class _Search:
    """Tests and fits are noted down as they are made."""

    data: pd.DataFrame
    base: Design
    rules: Rules
    log: bool
    tests: list[dict[str, Any]] = field(default_factory=list)
    fits: list[dict[str, Any]] = field(default_factory=list)
    known: dict[tuple[Covariate, ...], float] = field(default_factory=dict)
    """-2 ln L of the chosen Emax model with covariates in this order, of the patients of the steps."""

    def choose(self, models: Sequence[str]) -> str:
        """The model of the lowest AIC among those that can be told."""
        rows = self.compare(models, self.base, None)
        usable = [each for each in rows if each["usable"]]
        chosen = min(usable, key=lambda each: each["aic"])["model"] if usable else "linear"
        for each in rows:
            each["chosen"] = each["model"] == chosen
        return chosen

    def better_but_unusable(self, chosen: str) -> tuple[str, ...]:
        """A sentence if an Emax model that was not taken has a lower AIC."""
        aic = {each["model"]: each["aic"] for each in self.fits if np.isfinite(each["aic"])}
        best = min(aic, key=lambda name: aic[name], default=chosen)
        if aic.get(best, 0.0) >= aic.get(chosen, 0.0):
            return ()
        return (
            f"the {best} model has a lower AIC ({aic[best]:.1f} against {aic[chosen]:.1f}), but the data do not tell "
            f"its parameters well enough: see candidates, and where the {chosen} curve leaves the observed rates",
        )

    def compare(self, models: Sequence[str], design: Design, chosen: str | None) -> list[dict[str, Any]]:
        """Rows of the table of candidates."""
        rows = []
        for name in models:
            row: dict[str, Any] = {"model": name, "covariates": ", ".join(each.name for each in design.covariates)}
            row |= {"n": len(design.y), "aic": np.nan, "usable": False, "chosen": name == chosen}
            try:
                fit = _fit(name, design, self.log, 0.95, "wald")
            except InputError as error:
                row |= {"identified": False, "note": str(error)}
            else:
                row |= _judged(fit, self.rules)
            rows.append(row)
        self.fits.extend(rows)
        return rows

    def exposure(self) -> float:
        """p-value of exposure in the linear model."""
        p = self._test("exposure", self.base.exposure, self.base.y, *self._linear(self.base), slice(1, 2))
        self.tests[-1]["kept"] = p < self.rules.univariate
        return p

    def covariates(self, structure: str, coded: Sequence[Covariate]) -> tuple[tuple[Covariate, ...], tuple[str, ...]]:
        """Those kept, and sentences."""
        notes: tuple[str, ...] = ()
        screened = [each for each in coded if self._univariate(each)]
        if len(coded) > 1:
            chance = 100 * (1 - (1 - self.rules.backward) ** len(coded))
            notes = (
                f"{len(coded)} covariates were looked at: if none mattered, one or more would be kept with a "
                f"probability of up to {chance:.0f} %",
            )
        if not screened:
            return (), notes
        design = read_design(self.data, self.base.outcome, self.base.exposure, screened, log=self.log)
        inside: list[str] = []
        while outside := [each.name for each in screened if each.name not in inside]:
            step = f"forward {len(inside) + 1}"
            p = {name: self._stepwise(step, structure, design, [*inside, name], name) for name in outside}
            best = min(p, key=lambda name: p[name])
            if not p[best] < self.rules.forward:
                break
            self._mark(step, best, True)
            inside.append(best)
        number = 0
        while inside:
            number += 1
            step = f"backward {number}"
            p = {name: self._stepwise(step, structure, design, inside, name) for name in inside}
            worst = max(p, key=lambda name: p[name])
            leaves = p[worst] > self.rules.backward
            for name in inside:
                self._mark(step, name, not (leaves and name == worst))
            if not leaves:
                break
            inside.remove(worst)
        return tuple(each for name in inside for each in screened if each.name == name), notes

    def _univariate(self, covariate: Covariate) -> bool:
        design = read_design(self.data, self.base.outcome, self.base.exposure, [covariate], log=self.log)
        columns, names = self._linear(design)
        p = self._test("univariate", covariate.name, design.y, columns, names, slice(2, None))
        self.tests[-1]["kept"] = p < self.rules.univariate
        return p < self.rules.univariate

    def _stepwise(self, step: str, structure: str, design: Design, names: Sequence[str], tested: str) -> float:
        """p-value of one covariate among some, noted down."""
        full = design.only(names)
        place = full.places[tested]
        if structure == "linear":
            columns, terms = self._linear(full)
            return self._test(step, tested, full.y, columns, terms, slice(2 + place.start, 2 + place.stop))
        less = design.only([name for name in names if name != tested])
        df = place.stop - place.start
        try:
            with_it, without = (self._minus_2ll(structure, each) for each in (full, less))
        except InputError as error:
            return self._note(step, tested, len(full.y), df, np.nan, np.nan, f"not tested: {error}")
        return self._note(step, tested, len(full.y), df, with_it, without, "")

    def _minus_2ll(self, structure: str, design: Design) -> float:
        """Of an Emax model, which several tests compare with: it is fitted once."""
        if design.covariates not in self.known:
            self.known[design.covariates] = -2 * emax.fit_design(design, HILLS[structure], limits="wald").loglik
        return self.known[design.covariates]

    def _linear(self, design: Design) -> tuple[Floats, tuple[str, ...]]:
        raw = np.column_stack([transformed(design.x, self.log), design.z])
        names = ("intercept", design.exposure, *design.terms)
        return LinearCurve(names, self.log, Scaling.of(raw)).inputs(design.x, design.z), names

    def _test(self, step: str, tested: str, y: Floats, columns: Floats, names: tuple[str, ...], which: slice) -> float:
        """p-value of columns in a logistic regression, noted down."""
        df = columns[:, which].shape[1]
        try:
            logistic.check_independent(columns, names)
        except InputError as error:
            return self._note(step, tested, len(y), df, np.nan, np.nan, f"not tested: {error}")
        found, less = (logistic.maximum_likelihood(each, y) for each in (columns, np.delete(columns, which, axis=1)))
        if isinstance(found, Separation) or isinstance(less, Separation):
            with_it, without = logistic.penalized_ratio(columns, y, which)
            return self._note(step, tested, len(y), df, with_it, without, "separated: by Firth's penalized likelihood")
        return self._note(step, tested, len(y), df, -2 * found[2], -2 * less[2], "")

    def _note(self, step: str, tested: str, n: int, df: int, with_it: float, without: float, note: str) -> float:
        delta = max(0.0, without - with_it) if np.isfinite(with_it) else np.nan
        p = float(chdtrc(df, delta)) if np.isfinite(with_it) else 1.0
        self.tests.append(
            {
                "step": step,
                "candidate": tested,
                "n": n,
                "minus_2ll": with_it,
                "delta": delta,
                "df": df,
                "p": p if np.isfinite(with_it) else np.nan,
                "kept": False,
                "note": note,
            }
        )
        return p

    def _mark(self, step: str, name: str, kept: bool) -> None:
        for each in self.tests:
            if each["step"] == step and each["candidate"] == name:
                each["kept"] = kept


def _fit(name: str, design: Design, log: bool, level: float, limits: str) -> ExposureModel:
    if name == "linear":
        return logistic.fit_design(design, log=log, level=level)
    return emax.fit_design(design, HILLS[name], limits=limits, level=level)


def _judged(fit: ExposureModel, rules: Rules) -> dict[str, Any]:
    """What a table of candidates says of a fit."""
    rse = fit.estimates["rse"].to_numpy()
    shape = rse[1:2] if fit.kind == "linear" else rse[1 : fit.shape]
    largest = float(shape.max()) if np.isfinite(shape).all() else np.inf
    note, usable = "", fit.identified
    if not fit.identified:
        note = fit.warnings[0]
    elif fit.kind != "linear" and largest > rules.largest_rse:
        note, usable = f"relative standard error above {rules.largest_rse:g} %", False
    elif np.isnan(fit.aic):
        note = fit.warnings[0]
    return {
        "parameters": len(fit.theta),
        "minus_2ll": -2 * fit.loglik,
        "aic": fit.aic if np.isfinite(fit.aic) else np.inf,
        "largest_rse": largest,
        "identified": bool(fit.identified),
        "usable": usable,
        "note": note,
    }


def _code(data: pd.DataFrame, names: Sequence[str], rules: Rules) -> tuple[list[Covariate], pd.DataFrame]:
    """The covariates that are screened, and what is said of each."""
    import pandas as pd

    repeated = [name for name in names if list(names).count(name) > 1]
    if repeated:
        raise InputError(f"covariate {repeated[0]} is given twice; give it once")
    found = [(name, *screen_covariate(data, name, rare=rules.rare, missing=rules.missing)) for name in names]
    table = pd.DataFrame(
        [{"covariate": name, "screened": coded is not None, "coding": words} for name, coded, words in found],
        columns=["covariate", "screened", "coding"],
    )
    return [coded for _, coded, _ in found if coded is not None], table


def _candidates(fits: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    columns = [
        "model",
        "covariates",
        "n",
        "parameters",
        "minus_2ll",
        "aic",
        "largest_rse",
        "identified",
        "chosen",
        "note",
    ]
    table = pd.DataFrame(fits).reindex(columns=columns)
    table[["aic", "largest_rse"]] = table[["aic", "largest_rse"]].replace(np.inf, np.nan)
    return table

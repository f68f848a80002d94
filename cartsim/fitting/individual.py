"""Individual fits from response categories, as Figure 5 of Singh 2021 (doi:10.1002/psp4.12598) has them.

The paper fits each patient of the first bb2121 trial to the sequence of IMWG categories in its swimmer plot, with the
typical parameters held at those of the cell kinetics. Here every patient's parameters are those at the mode of the
posterior (MAP): the prior is the population's log-normal distribution, typical values and omegas from the model file;
the likelihood is interval-censored, see `cartsim.fitting.likelihood`. The posterior's moments and intervals
come from importance sampling, since a posterior from intervals is not normal: where all visits are alike, a parameter
is bounded on one side only. All patients are fitted at once, a call of `simulate` per step.

What the paper does not say: the error of M-protein (here log-normal with an SD of 0.05, an assay's coefficient of
variation), the cut-off of CR, and from where progression counts (see `CategoryRules`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.endpoints.censoring import TimeToEvent, progression_free_survival
from cartsim.endpoints.rules import Response
from cartsim.endpoints.survival import KaplanMeier, kaplan_meier
from cartsim.errors import InputError, brief, check_kind, check_seed, elsewhere, whole
from cartsim.fitting.data import CategoryRules, PatientData, patient_data
from cartsim.fitting.errors import ErrorModel
from cartsim.fitting.likelihood import PatientLikelihood, error_models, judged
from cartsim.fitting.posterior import Modes, Sample, find_modes, log_normal, sample_posteriors
from cartsim.model.model import Model
from cartsim.model.reader import load
from cartsim.observations import Observations
from cartsim.population.patients import Patients, check_name
from cartsim.provenance import made_by
from cartsim.results import Result
from cartsim.schedule import MONTH
from cartsim.simulation import Simulation, simulate
from cartsim.solver import Solver

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.signedinteger[Any]]

ERRORS = {
    "category": ErrorModel("lognormal", log=0.05),
    "": ErrorModel("lognormal", log=0.2),
}
"""Error models by default: of M-protein behind the categories, and of any measured output."""

PARAMETERS = ("Kexp_max", "Kkill_max", "gamma_m")
LOW_DOSE = 150e6  # cells; Figure 5b parts the patients there
FEW_DRAWS = 100  # effective draws below which posterior intervals are too rough to report without a word


@dataclass(frozen=True, repr=False, eq=False)
class IndividualFits(Result):
    """Fits of n patients in d parameters.

    Attributes
    ----------
    likelihood
        The data and how probable they are.
    typical, omega
        (d,) The prior.
    modes, sample
        The posteriors of eta, a patient's log deviation from the typical value in omegas.
    """

    what = "individual fits"
    likelihood: PatientLikelihood
    typical: Floats
    omega: Floats
    modes: Modes
    sample: Sample
    made_by: dict[str, Any]

    @property
    def data(self) -> PatientData:
        return self.likelihood.data

    def values(self, eta: Floats) -> Floats:
        """Parameters (..., d) at eta (..., d)."""
        return self.typical * np.exp(self.omega * eta)

    @property
    def frame(self) -> pd.DataFrame:
        """The estimates, see `parameters`."""
        return self.parameters

    @property
    def summary(self) -> pd.DataFrame:
        """A row a parameter, see `shrinkage`."""
        return self.shrinkage

    @property
    def failures(self) -> pd.DataFrame:
        """The patients whose search for the mode did not converge."""
        return self.patients[~self.patients["converged"]].reset_index(drop=True)

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """A row a patient and parameter.

        ``estimate`` at the mode; ``rse`` posterior SD of the logarithm, nearly the relative standard error; ``low``,
        ``high`` the 95 % posterior interval; ``eta`` the mode in omegas from the typical value; ``shrinkage`` the
        posterior variance over the prior's: 1 where the data say nothing. Without ``rse``, ``low`` and ``high`` where
        the search for the mode did not converge.
        """
        import pandas as pd

        low, high = self.values(self.sample.quantiles((0.025, 0.975)))
        variance = np.diagonal(self.sample.covariance(), axis1=1, axis2=2)
        n, d = self.modes.eta.shape
        found = pd.DataFrame(
            {
                "id": np.repeat(self.data.ids, d),
                "dose": np.repeat(self.data.table["dose"].to_numpy(), d),
                "parameter": np.tile(np.array(self.likelihood.parameters), n),
                "estimate": self.values(self.modes.eta).ravel(),
                "rse": (self.omega * np.sqrt(variance)).ravel(),
                "low": low.ravel(),
                "high": high.ravel(),
                "eta": self.modes.eta.ravel(),
                "shrinkage": variance.ravel(),
            }
        )
        found.loc[np.repeat(~self.modes.converged, d), ["rse", "low", "high"]] = np.nan
        return found

    @cached_property
    def patients(self) -> pd.DataFrame:
        """A row a patient: id, dose, observations, agreement (share of categories that the fit has too),
        log_likelihood at the mode, log_evidence (over the prior), ess (effective draws), converged.
        """
        import pandas as pd

        categories = self.categories
        agreement = (categories["observed"] == categories["fitted"]).groupby(categories["id"]).mean()
        observations = sum(series.known.sum(axis=1) for series in self.data.series)
        return pd.DataFrame(
            {
                "id": self.data.ids,
                "dose": self.data.table["dose"],
                "observations": observations,
                "agreement": agreement.reindex(self.data.ids).to_numpy(),
                "log_likelihood": self.modes.log_density - log_normal(self.modes.eta),
                "log_evidence": self.sample.log_evidence,
                "ess": self.sample.ess,
                "converged": self.modes.converged,
            }
        )

    @property
    def shrinkage(self) -> pd.DataFrame:
        """By parameter: typical, omega, mean_eta, sd_eta (omegas), and eta shrinkage 1 - sd_eta (Savic 2009)."""
        import pandas as pd

        sd = self.modes.eta.std(axis=0, ddof=1) if len(self.modes.eta) > 1 else np.full(len(self.omega), np.nan)
        return pd.DataFrame(
            {
                "parameter": self.likelihood.parameters,
                "typical": self.typical,
                "omega": self.omega,
                "mean_eta": self.modes.eta.mean(axis=0),
                "sd_eta": sd,
                "shrinkage": 1 - sd,
            }
        )

    @property
    def minus_2LL(self) -> float:
        """-2 log likelihood of all data under the population (the individual parameters integrated out)."""
        return -2 * float(self.sample.log_evidence.sum())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Searches that did not converge, and posteriors with few effective draws."""
        said = []
        for wrong, what in (
            (~self.modes.converged, "the search for the mode did not converge"),
            (self.sample.ess < FEW_DRAWS, f"fewer than {FEW_DRAWS} effective draws, so intervals are rough"),
        ):
            if wrong.any():
                who = ", ".join(map(str, self.data.ids[wrong]))
                said.append(f"{wrong.sum()} of {len(wrong)} patients (id {who}): {what}")
        return tuple(said)

    def curves(self, times: ArrayLike, outputs: Sequence[str] | None = None) -> Simulation:
        """All patients at their modes, simulated at ``times`` (days); ``[output]`` is (n, times)."""
        fitted = self.values(self.modes.eta)
        table = self.data.table.assign(**dict(zip(self.likelihood.parameters, fitted.T, strict=True)))
        names = list(dict.fromkeys(series.output for series in self.data.series)) if outputs is None else outputs
        patients = Patients(self.likelihood.model, table.assign(id=self.data.ids))
        return simulate(patients, None, times, names, solver=self.likelihood.solver)

    @cached_property
    def categories(self) -> pd.DataFrame:
        """A row an assessment: id, time, observed and fitted category, ``change`` (M-protein of the fit, percent from
        baseline), and from ``low`` to ``high`` what changes the observed category stands for, given the fit's nadir.
        """
        import pandas as pd

        columns = ["id", "time", "observed", "fitted", "change", "low", "high"]
        series = self.data.responses
        if series is None or series.category is None:
            return pd.DataFrame(columns=columns)
        everyone = np.arange(len(self.data.ids))
        levels = self.likelihood.predict(self.values(self.modes.eta), everyone)[self.data.series.index(series)]
        codes, limit = judged(levels, series.category, self.data.rules, self._M0)
        low, high = series.low, series.high
        if self.data.rules.progression == "nadir":
            progressed = series.category == Response.PD
            low, high = np.where(progressed, limit, low), np.where(progressed, high, np.minimum(high, limit))
        row, visit = np.nonzero(series.known)
        names = np.array([category.name for category in Response])
        cells = (
            self.data.ids[row],
            series.days[row, visit],
            names[series.category[row, visit]],
            names[codes[row, visit]],
            *(100 * (x[row, visit] - 1) for x in (levels, np.maximum(low, 0), high)),
        )
        return pd.DataFrame(dict(zip(columns, cells, strict=True)))

    def representatives(self) -> list[Any]:
        """Ids of one patient for each best observed category, the one with the most assessments; worst first."""
        best = self.categories.assign(code=[Response[name] for name in self.categories["observed"]]).groupby("id")
        table = best["code"].agg(["max", "size"]).sort_values(["max", "size"], ascending=[True, False], kind="stable")
        return list(table[~table["max"].duplicated()].index)

    @property
    def _M0(self) -> Floats | None:
        return self.data.table["M0"].to_numpy() if "M0" in self.data.table else None

    def pfs(self) -> dict[str, TimeToEvent]:
        """Progression-free survival in days, "observed" and "fitted", by one rule.

        The event is the first visit in PD; visits that are NE count as missed (FDA censoring). The fitted curve is
        judged at the patient's own visits; where the patient progressed, also at the visits that others have later,
        so that a fit may progress later than its patient did.
        """
        series = self.data.responses
        if series is None or series.category is None:
            raise InputError("progression-free survival needs response categories; the data have none")
        calendar = np.unique(series.days[np.isfinite(series.days)])
        n = len(self.data.ids)
        observed = np.zeros((n, len(calendar)), np.int8)
        planned = np.zeros(observed.shape, bool)
        row, visit = np.nonzero(np.isfinite(series.days))
        place = np.searchsorted(calendar, series.days[row, visit])
        observed[row, place], planned[row, place] = series.category[row, visit], True
        progressed = (observed == Response.PD).any(axis=1)
        later = progressed[:, None] & (calendar > np.nanmax(series.days, axis=1)[:, None])

        levels = 1 + self.curves(calendar, [series.output]).usable(series.output) / 100
        assessed = (observed != Response.NE) | later
        fitted, _ = judged(levels, np.where(assessed, Response.SD, Response.NE), self.data.rules, self._M0)
        return {
            "observed": _time_to_progression(calendar, planned, observed),
            "fitted": _time_to_progression(calendar, planned | later, fitted),
        }

    def survival(self, split: float = LOW_DOSE) -> dict[tuple[str, str], KaplanMeier]:
        """Kaplan-Meier curves in months by dose group and "observed" or "fitted", as Figure 5b."""
        dose = self.data.table["dose"].to_numpy()
        groups = {f"< {split / 1e6:g}e6": dose < split, f"≥ {split / 1e6:g}e6": dose >= split}
        return {
            (group, kind): kaplan_meier(pfs.time[rows] / MONTH, pfs.event[rows])
            for group, rows in groups.items()
            if rows.any()
            for kind, pfs in self.pfs().items()
        }

    def pfs_table(self) -> pd.DataFrame:
        """A row a patient: id, dose, and day, event and reason, observed and fitted."""
        import pandas as pd

        table = pd.DataFrame({"id": self.data.ids, "dose": self.data.table["dose"]})
        for kind, pfs in self.pfs().items():
            table[[f"{kind}_day", f"{kind}_event", f"{kind}_reason"]] = pfs.frame()[["time", "event", "reason"]]
        return table

    def tables(self) -> dict[str, pd.DataFrame]:
        """Parameters, shrinkage and patients; with response categories also these and progression-free survival."""
        found = {"parameters": self.parameters, "shrinkage": self.shrinkage, "patients": self.patients}
        if self.data.responses is not None:
            found |= {"categories": self.categories, "pfs": self.pfs_table()}
        return {f"{name}.csv": table for name, table in found.items()}

    def about(self) -> dict[str, Any]:
        """What made the fits, -2LL, warnings, and median PFS in months."""
        found = {**self.made_by, "minus_2LL": self.minus_2LL, "warnings": list(self.warnings)}
        if self.data.responses is not None:
            medians = {f"{group}, {kind}": curve.median.value for (group, kind), curve in self.survival().items()}
            found["median_pfs_months"] = {name: None if np.isnan(m) else m for name, m in medians.items()}
        return found

    def _title(self) -> str:
        return f"individual fits of {self.likelihood.model.name}: {len(self.data.ids)} patients"


@elsewhere(
    saem="cs.fit_population takes it; individual fits take the model's variability as it is",
    priors="the model's variability is the prior; give omegas as estimate={name: omega}",
)
def fit_individuals(
    model: str | Path | Model,
    observations: Observations | pd.DataFrame | str | Path,
    estimate: Sequence[str] | Mapping[str, float | None] | None = None,
    *,
    errors: Mapping[str, ErrorModel] | None = None,
    rules: CategoryRules = CategoryRules(),  # noqa: B008 (frozen)
    draws: int = 1000,
    seed: int = 2021,
    solver: Solver = Solver(),  # noqa: B008 (frozen)
    n_jobs: int = 1,
) -> IndividualFits:
    """Fit every patient by itself, the population's variability as prior.

    Parameters
    ----------
    model
        A model, its name, or the path of its file.
    observations
        Values and response categories, see `cartsim.observations`; a column ``dose`` is needed.
    estimate
        Parameters estimated for each patient, the others being typical; by default Kexp_max, Kkill_max and gamma_m,
        and gamma_b where the data have sBCMA. A mapping gives the SD of a parameter's logarithm in the population, in
        place of that of the model file where it is not None.
    errors
        Error models by output, of categories by "category", all with fixed SDs. By default log-normal, with an SD of
        0.05 for M-protein behind the categories and 0.2 for any measured output.
    rules
        Which change of M-protein each category stands for.
    draws
        Of each patient's posterior; about half of them are effective.
    seed
        Of the draws.
    solver
        How exactly the equations are solved.
    n_jobs
        Threads.

    Raises
    ------
    InputError
        For bad data, unknown parameters, and those without log-normal variability. A search that does not converge is
        marked, not raised: see ``failures`` and ``warnings``.

    Examples
    --------
    >>> import cartsim as cs
    >>> fits = cs.fit_individuals("bb2121_clinical", "crb401_synthetic", draws=100)
    >>> len(fits.frame), len(fits.failures)
    (132, 0)
    """
    chosen = load(model)
    data = patient_data(observations, chosen, rules)
    names = chosen_parameters(estimate, data)
    typical, sd = lognormal_prior(chosen, names, data, estimate if isinstance(estimate, Mapping) else {})
    models = error_models(data, chosen, errors, ERRORS)
    for name, error in models.items():
        if any(getattr(error, sigma) is None for sigma in error.sigmas):
            raise InputError(f"the error model of {name} leaves an SD open; individual fits need its number")
    if not whole(draws) or draws < FEW_DRAWS:
        raise InputError(f"{brief(draws)} draws; give a whole number, {FEW_DRAWS} or more")
    check_seed(seed)
    likelihood = PatientLikelihood(data, chosen, names, models, solver, n_jobs)

    def target(eta: Floats, who: Ints) -> Floats:
        return likelihood(typical * np.exp(sd * eta), who) + log_normal(eta)

    modes = find_modes(target, likelihood.n, len(names))
    refuse_impossible(data, np.isfinite(target(modes.eta, np.arange(likelihood.n))))
    sample = sample_posteriors(target, modes.eta, modes.covariance, seed, draws=draws)
    settings = {"seed": seed, "parameters": ", ".join(names), "draws": draws}
    made = made_by(chosen, **settings, errors=str(models), rules=repr(rules), solver=repr(solver))
    return IndividualFits(likelihood, typical, sd, modes, sample, made)


def chosen_parameters(estimate: Iterable[str] | None, data: PatientData) -> tuple[str, ...]:
    """The parameters asked for, or by default those of Singh 2021: gamma_b only where the data have sBCMA."""
    if estimate is not None:
        check_kind("estimate", estimate, Iterable, "a list of names, or a mapping of names to omegas")
        for name, omega in estimate.items() if isinstance(estimate, Mapping) else ():
            if omega is not None and not isinstance(omega, Real):
                raise InputError(f"the omega of {name} is {brief(omega)}; give a number, or None for the model's")
        return (estimate,) if isinstance(estimate, str) else tuple(estimate)
    sbcma = any(series.output in ("sbcma_change", "sBCMA") for series in data.series)
    return (*PARAMETERS, "gamma_b") if sbcma else PARAMETERS


def refuse_impossible(data: PatientData, possible: NDArray[np.bool_]) -> None:
    """Raise `InputError` for patients whose data no parameters that were tried can bring about."""
    if not possible.all():
        who = ", ".join(map(str, data.ids[~possible][:10]))
        raise InputError(
            f"data of id {who} are impossible whatever the parameters, such as transgene without a dose; "
            "correct them or leave the patient out"
        )


def lognormal_prior(
    model: Model, names: Sequence[str], data: PatientData, omega: Mapping[str, float | None]
) -> tuple[Floats, Floats]:
    """Typical values and omegas of parameters that vary log-normally; refuses what cannot be estimated.

    ``omega``: in place of the model's where it has a number.
    """
    if not names or len(set(names)) < len(names):
        raise InputError(f"estimate {', '.join(names) or '(nothing)'}: name at least one parameter, each once")
    typical, sd = [], []
    for name in names:
        typical.append(typical_value(model, name, data))
        iiv = model.parameters[name].iiv
        given = omega.get(name)
        if given is None:
            given = iiv.omega if iiv and iiv.distribution == "lognormal" else 0.0
        if not (np.isfinite(given) and given > 0):
            raise InputError(f"{name} has no log-normal variability above 0; give its omega or leave it out")
        sd.append(given)
    return np.array(typical), np.array(sd)


def typical_value(model: Model, name: str, data: PatientData, *, positive: bool = True) -> float:
    """The typical value of a parameter; refuses what cannot be estimated."""
    check_name(model, name, "estimate")
    iiv = model.parameters[name].iiv
    if iiv is not None and iiv.distribution == "bernoulli":
        raise InputError(f"{name} is 0 or 1 in each patient, and only what varies continuously is estimated; "
                         "give it as a column of the data, or leave it out")  # fmt: skip
    value = model.parameters[name].value
    if name in data.table:
        raise InputError(f"{name} is a column of the data and so known; do not estimate it")
    if value is None or (positive and value <= 0):
        what = "positive typical value to vary about" if positive else "typical value to begin at"
        raise InputError(f"{name} has no {what}; override it or leave it out")
    return value


def _time_to_progression(calendar: Floats, planned: NDArray[np.bool_], category: NDArray[np.int8]) -> TimeToEvent:
    """PFS from categories (n, v) on a common calendar (v,), of which each patient has the planned visits."""
    order = np.argsort(~planned, axis=1, kind="stable")  # a patient's own visits first, then padding
    mine = np.take_along_axis(planned, order, axis=1)
    days = np.where(mine, calendar[order], np.nan)
    codes = np.take_along_axis(category, order, axis=1)
    progressed = mine & (codes == Response.PD)
    first = np.where(progressed, days, np.inf).min(axis=1)
    return progression_free_survival(days, mine & (codes != Response.NE), np.where(np.isfinite(first), first, np.nan))

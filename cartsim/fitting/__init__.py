"""Parameters from data: pooled, of individual patients, or of a population.

    >>> import cartsim as cs
    >>> observations = cs.read_observations("trial_synthetic")  # or a file of your own, see cartsim.observations
    >>> found = cs.fit("bb2121_clinical", observations, ["Kexp_max"])
    >>> fits = cs.fit_individuals("bb2121_clinical", observations)
    >>> population = cs.fit_population("bb2121_clinical", observations)  # doctest: +SKIP

`fit` describes all subjects by the same parameters (maximum likelihood, or maximum posterior with priors). A sequence
such as dish, mouse, patient is one fit after the other, each with the `Fit.priors` of the one before; a joint fit is
one `Problem` with several data sets, whose models share the parameters of the same name, given to `fit_problem`.
`fit_individuals` gives every patient parameters of its own, with the known variability as prior; `fit_population`
estimates typical values and variability themselves (SAEM). These two also take response categories.
"""

from cartsim.fitting.data import CategoryRules, PatientData, patient_data
from cartsim.fitting.errors import ErrorModel
from cartsim.fitting.estimate import PopulationEstimate
from cartsim.fitting.individual import IndividualFits, fit_individuals
from cartsim.fitting.pooled.axes import Prior
from cartsim.fitting.pooled.fitting import Fit, fit, fit_problem, replicate
from cartsim.fitting.pooled.problem import DataSet, Estimated, Problem, table_priors
from cartsim.fitting.pooled.profiles import Profile
from cartsim.fitting.population import PopulationFit, Saem, fit_population
from cartsim.fitting.synthetic import Sampled, synthetic_patients

__all__ = [
    "CategoryRules",
    "DataSet",
    "ErrorModel",
    "Estimated",
    "Fit",
    "IndividualFits",
    "PatientData",
    "PopulationEstimate",
    "PopulationFit",
    "Prior",
    "Problem",
    "Profile",
    "Saem",
    "Sampled",
    "fit",
    "fit_individuals",
    "fit_population",
    "fit_problem",
    "patient_data",
    "replicate",
    "synthetic_patients",
    "table_priors",
]

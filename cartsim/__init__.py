"""cartsim: virtual trials of anti-BCMA CAR-T cell therapy, from a model file to response rates and survival.

    >>> import cartsim as cs
    >>> model = cs.load("bb2121_clinical")
    >>> sim = cs.simulate(model, dose=450e6, times=range(1, 365))  # the typical patient
    >>> trial = cs.Trial(cs.Population(model, seed=1), arms=[150e6, 450e6])

Names and submodules are imported when they are first used, so that ``import cartsim`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cartsim.errors import InputError
from cartsim.version import __version__

if TYPE_CHECKING:
    from cartsim.calibration.baselines import baseline as baseline
    from cartsim.calibration.calibration import calibrate as calibrate
    from cartsim.calibration.calibration import read_calibration as read_calibration
    from cartsim.calibration.plausible import weigh as weigh
    from cartsim.calibration.prediction import predict as predict
    from cartsim.endpoints.kinetics import nca as nca
    from cartsim.endpoints.respond import respond as respond
    from cartsim.endpoints.rules import IMWG2016 as IMWG2016
    from cartsim.endpoints.rules import SinghLandmark as SinghLandmark
    from cartsim.experiments.dose_response import dose_response as dose_response
    from cartsim.experiments.measures import Measure as Measure
    from cartsim.experiments.measures import Reading as Reading
    from cartsim.experiments.regimens import compare as compare
    from cartsim.experiments.replicates import replicate as replicate
    from cartsim.experiments.retreatment import retreat as retreat
    from cartsim.experiments.selection import select as select
    from cartsim.experiments.sweep import sweep as sweep
    from cartsim.experiments.sweep import sweep_trials as sweep_trials
    from cartsim.exposure.analysis import exposure_response as exposure_response
    from cartsim.fitting.errors import ErrorModel as ErrorModel
    from cartsim.fitting.individual import fit_individuals as fit_individuals
    from cartsim.fitting.pooled.fitting import fit as fit
    from cartsim.fitting.population import fit_population as fit_population
    from cartsim.model.model import Model as Model
    from cartsim.model.model import Variability as Variability
    from cartsim.model.reader import load as load
    from cartsim.observations import Observations as Observations
    from cartsim.observations import read_observations as read_observations
    from cartsim.population.patients import Patients as Patients
    from cartsim.population.population import Population as Population
    from cartsim.population.stored import populations as populations
    from cartsim.population.stored import read_population as read_population
    from cartsim.population.stored import save_population as save_population
    from cartsim.population.uncertainty import ensemble as ensemble
    from cartsim.population.uncertainty import with_uncertainty as with_uncertainty
    from cartsim.population.variability import bernoulli as bernoulli
    from cartsim.population.variability import fixed as fixed
    from cartsim.population.variability import logitnormal as logitnormal
    from cartsim.population.variability import lognormal as lognormal
    from cartsim.population.variability import normal as normal
    from cartsim.population.variability import uniform as uniform
    from cartsim.regimen import Infusion as Infusion
    from cartsim.regimen import Regimen as Regimen
    from cartsim.regimen import Retreatment as Retreatment
    from cartsim.sensitivity.endpoint import endpoint as endpoint
    from cartsim.sensitivity.indices import efast as efast
    from cartsim.sensitivity.indices import sobol as sobol
    from cartsim.sensitivity.local import local as local
    from cartsim.sensitivity.local import tornado as tornado
    from cartsim.sensitivity.ranges import ranges as ranges
    from cartsim.sensitivity.ranks import prcc as prcc
    from cartsim.simulation import Simulation as Simulation
    from cartsim.simulation import simulate as simulate
    from cartsim.solver import Solver as Solver
    from cartsim.trial.assay import Assay as Assay
    from cartsim.trial.conduct import Conduct as Conduct
    from cartsim.trial.conduct import Followup as Followup
    from cartsim.trial.outcome import TrialResult as TrialResult
    from cartsim.trial.protocol import Protocol as Protocol
    from cartsim.trial.protocol import Rules as Rules
    from cartsim.trial.protocol import Visits as Visits
    from cartsim.trial.published import published as published
    from cartsim.trial.stored import read_trial as read_trial
    from cartsim.trial.trial import Arm as Arm
    from cartsim.trial.trial import Trial as Trial

_HOME = {
    "calibration.baselines": ("baseline",),
    "calibration.calibration": ("calibrate", "read_calibration"),
    "calibration.plausible": ("weigh",),
    "calibration.prediction": ("predict",),
    "endpoints.kinetics": ("nca",),
    "endpoints.respond": ("respond",),
    "endpoints.rules": ("IMWG2016", "SinghLandmark"),
    "experiments.dose_response": ("dose_response",),
    "experiments.measures": ("Measure", "Reading"),
    "experiments.regimens": ("compare",),
    "experiments.replicates": ("replicate",),
    "experiments.retreatment": ("retreat",),
    "experiments.selection": ("select",),
    "experiments.sweep": ("sweep", "sweep_trials"),
    "exposure.analysis": ("exposure_response",),
    "fitting.errors": ("ErrorModel",),
    "fitting.individual": ("fit_individuals",),
    "fitting.pooled.fitting": ("fit",),
    "fitting.population": ("fit_population",),
    "model.model": ("Model", "Variability"),
    "model.reader": ("load",),
    "observations": ("Observations", "read_observations"),
    "population.patients": ("Patients",),
    "population.population": ("Population",),
    "population.stored": ("populations", "read_population", "save_population"),
    "population.uncertainty": ("ensemble", "with_uncertainty"),
    "population.variability": ("bernoulli", "fixed", "logitnormal", "lognormal", "normal", "uniform"),
    "regimen": ("Infusion", "Regimen", "Retreatment"),
    "sensitivity.endpoint": ("endpoint",),
    "sensitivity.indices": ("efast", "sobol"),
    "sensitivity.local": ("local", "tornado"),
    "sensitivity.ranges": ("ranges",),
    "sensitivity.ranks": ("prcc",),
    "simulation": ("Simulation", "simulate"),
    "solver": ("Solver",),
    "trial.assay": ("Assay",),
    "trial.conduct": ("Conduct", "Followup"),
    "trial.outcome": ("TrialResult",),
    "trial.protocol": ("Protocol", "Rules", "Visits"),
    "trial.published": ("published",),
    "trial.stored": ("read_trial",),
    "trial.trial": ("Arm", "Trial"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
_ROOMS = (
    "calibration",
    "endpoints",
    "engine",
    "experiments",
    "exposure",
    "fitting",
    "model",
    "paper",
    "plots",
    "population",
    "sensitivity",
    "trial",
)

__all__ = ["InputError", "__version__", *_MODULE]


def __getattr__(name: str) -> Any:
    if name in _MODULE:
        value = getattr(import_module(f"cartsim.{_MODULE[name]}"), name)
    elif name in _ROOMS:
        value = import_module(f"cartsim.{name}")
    else:
        raise AttributeError(f"module 'cartsim' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS})

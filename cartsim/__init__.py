"""cartsim: virtual trials of anti-BCMA CAR-T cell therapy, from a model file to response rates and survival.

    >>> import cartsim
    >>> run = cartsim.simulate("bb2121_clinical", times=range(1, 365))
    >>> run["transgene"].max()  # after day 1: the infused cells themselves have left the blood

Heavy packages (numba, sympy, pint, pandas) are imported where they are used, so
that ``import cartsim`` is quick.
"""

from cartsim.errors import InputError
from cartsim.model.reader import Model, Variability, load
from cartsim.population.population import Population
from cartsim.population.uncertainty import with_uncertainty
from cartsim.population.variability import fixed, logitnormal, lognormal, normal, uniform
from cartsim.regimen import Infusion, Regimen, Retreatment
from cartsim.simulation import Simulation, simulate
from cartsim.trial.trial import Arm, Trial
from cartsim.version import __version__

__all__ = [
    "Arm",
    "Infusion",
    "InputError",
    "Model",
    "Population",
    "Regimen",
    "Retreatment",
    "Simulation",
    "Trial",
    "Variability",
    "__version__",
    "fixed",
    "load",
    "logitnormal",
    "lognormal",
    "normal",
    "simulate",
    "uniform",
    "with_uncertainty",
]

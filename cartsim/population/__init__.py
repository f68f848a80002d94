"""Who is treated: virtual patients, a user's own, and all randomness of parameters.

The room is also a word, ``cartsim.population("published", seed=1)``: see `cartsim.population.stored.population`.
"""

import sys
from types import ModuleType
from typing import Any

from cartsim.population.patients import patients_from_table
from cartsim.population.population import Population
from cartsim.population.stored import population as _stored
from cartsim.population.uncertainty import ensemble, with_uncertainty
from cartsim.population.variability import bernoulli, fixed, logitnormal, lognormal, normal, uniform

__all__ = [
    "Population",
    "bernoulli",
    "ensemble",
    "fixed",
    "logitnormal",
    "lognormal",
    "normal",
    "patients_from_table",
    "uniform",
    "with_uncertainty",
]


class _Room(ModuleType):
    # A package of the name is there before any function can be, so it is the package that is called.
    def __call__(self, *args: Any, **options: Any) -> Population:
        return _stored(*args, **options)


sys.modules[__name__].__class__ = _Room

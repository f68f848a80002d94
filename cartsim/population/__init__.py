"""Who is treated: virtual patients, a user's own, and all randomness of parameters."""

from cartsim.population.patients import patients_from_table
from cartsim.population.population import Population
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

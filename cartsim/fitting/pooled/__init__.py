"""Estimation by maximum likelihood on pooled data, with priors from earlier fits.

    >>> mouse = DataSet("mouse", "bb2121_xenograft", observations, ErrorModel("combined"))
    >>> names = ["Kexp_max", "EC50_exp", "Kkill_max", "tau"]
    >>> found = fit(Problem([mouse], names, table_priors("bb2121_xenograft", names)))
    >>> found.estimates

A sequence such as dish, mouse, patient is one fit after the other, each with the `priors` of the one before; a joint
fit is one `Problem` with several data sets, whose models share the parameters of the same name.
"""

from cartsim.fitting.errors import ErrorModel
from cartsim.fitting.pooled.axes import Prior
from cartsim.fitting.pooled.fitting import Fit, fit, replicate
from cartsim.fitting.pooled.problem import DataSet, Estimated, Problem, table_priors
from cartsim.fitting.pooled.profiles import Profile

__all__ = [
    "DataSet",
    "ErrorModel",
    "Estimated",
    "Fit",
    "Prior",
    "Problem",
    "Profile",
    "fit",
    "replicate",
    "table_priors",
]

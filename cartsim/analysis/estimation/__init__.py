"""Estimation by maximum likelihood on pooled data, with priors from earlier fits.

    >>> mouse = DataSet("mouse", "bb2121_xenograft", observations, ErrorModel("combined"))
    >>> names = ["Kexp_max", "EC50_exp", "Kkill_max", "tau"]
    >>> found = fit(Problem([mouse], names, table_priors("bb2121_xenograft", names)))
    >>> found.estimates

A sequence such as dish, mouse, patient is one fit after the other, each with the `priors` of the one before; a joint
fit is one `Problem` with several data sets, whose models share the parameters of the same name.
"""

from cartsim.analysis.estimation.axes import Prior
from cartsim.analysis.estimation.fitting import Fit, fit, replicate
from cartsim.analysis.estimation.problem import DataSet, Estimated, Problem, table_priors
from cartsim.analysis.estimation.profiles import Profile
from cartsim.analysis.likelihood import ErrorModel

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

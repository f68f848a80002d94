"""Uncertainty of the typical values themselves: one model for each replicate trial."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cartsim.errors import InputError
from cartsim.model.model import Model
from cartsim.population.correlation import symmetric, symmetric_root
from cartsim.population.draws import uniforms
from cartsim.population.patients import check_name

if TYPE_CHECKING:
    import pandas as pd


def with_uncertainty(model: Model, seed: int, replicate: int, *, covariance: pd.DataFrame | None = None) -> Model:
    """The model with typical values drawn from their uncertainty: one draw for each `replicate` (0, 1, ...).

    Each value with a relative standard error in the model file is multiplied by exp(rse z), so that it keeps
    its sign. `covariance` replaces these errors: the covariance matrix of the estimates in their own
    units, as estimation software reports it, names as index and columns. Divided by the typical values
    it becomes that of the logarithms (delta method). Variability between patients stays as it is.
    Raises `InputError` for unknown names and a matrix that is not symmetric and positive semidefinite.
    """
    from scipy.special import ndtri

    if covariance is None:
        errors = {name: p.rse for name, p in model.parameters.items() if p.rse and p.value is not None}
        names, root = list(errors), np.diag(list(errors.values()))
        typical = np.array([model.parameters[name].value for name in names])
    else:
        names, matrix = symmetric(covariance, "covariance")
        for name in names:
            check_name(model, name, "covariance")
            if not model.parameters[name].value:
                raise InputError(f"covariance: {name} has no typical value but 0 or a formula; leave it out")
        typical = np.array([model.parameters[name].value for name in names])
        root = symmetric_root(matrix / np.outer(typical, typical), "covariance")
    scores = [ndtri(uniforms(seed, f"uncertainty/{name}", replicate, replicate + 1)[0]) for name in names]
    drawn = typical * np.exp(root @ np.array(scores))
    return model.override(dict(zip(names, drawn.tolist(), strict=True)))

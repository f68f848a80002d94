"""Whether a sampler has found what it samples: rank-normalised split R-hat and effective sizes (Vehtari et al. 2021,
doi:10.1214/20-BA1221), by arviz-stats.

Walkers of an ensemble are not independent of each other, ensembles are. So R-hat compares ensembles, each as one chain
of all its walkers; the effective size counts every walker as a chain, whose disagreement lowers it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError


def r_hat(chain: NDArray[np.float64]) -> NDArray[np.float64]:
    """(d,) Rank-normalised split R-hat of a chain (steps, ensembles, walkers, d), the larger of bulk and tails."""
    steps, ensembles, walkers, d = chain.shape
    whole = np.moveaxis(chain, 1, 0).reshape(ensembles, steps * walkers, d)  # halves are earlier and later steps
    return np.array([float(_arviz().rhat(whole[:, :, i], method="rank")) for i in range(d)])


def effective_size(chain: NDArray[np.float64]) -> NDArray[np.float64]:
    """(d,) Effective number of draws of a chain (steps, ensembles, walkers, d), the lesser of bulk and tails."""
    steps, ensembles, walkers, d = chain.shape
    each = chain.reshape(steps, ensembles * walkers, d).transpose(1, 0, 2)

    def least(own: NDArray[np.float64]) -> float:
        arviz = _arviz()
        return min(float(arviz.ess(own, method="bulk")), float(arviz.ess(own, method="tail", prob=(0.05, 0.95))))

    return np.array([least(each[:, :, i]) for i in range(d)])


def _arviz():  # type: ignore[no-untyped-def]
    try:
        from arviz_stats.base import array_stats
    except ImportError:
        raise InputError("calibration needs the package arviz-stats; install cartsim[calibration]") from None
    return array_stats

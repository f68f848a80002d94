"""How likely what a trial published is under simulated patients.

Every published row says how many of n patients fell into each of a few classes (see `cartsim.calibration.rows`). The
simulated patients fall into the same classes, and their shares are known up to the Monte Carlo error of so many: given
their numbers m the shares have a Dirichlet distribution with m + 1/2 (Jeffreys' prior), so that the published numbers
are Dirichlet-multinomial. No outcome is then impossible because no simulated patient had it, and few simulated patients
say less than many. Numbers need not be whole: half of 33 patients, or as many as limits are worth.

Pieces of the likelihood count as independent. Those of a trial's responses are, by their making; how long a response
lasted and progression-free survival are of partly the same patients, which makes posteriors a little too narrow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

JEFFREYS = 0.5
"""Added to the number of simulated patients in each class."""


def log_likelihood(observed: ArrayLike, shares: NDArray[np.float64], simulated: ArrayLike) -> NDArray[np.float64]:
    """(k,) Log probability of the numbers observed (c,), given shares (k, c) of so many simulated patients (k,).

    Where nobody simulated is of whom the row tells (shares NaN), the shares have Jeffreys' prior alone.
    """
    from scipy.special import gammaln

    seen = np.asarray(observed, float)
    counted = np.nan_to_num(shares) * np.asarray(simulated, float)[..., None] + JEFFREYS
    n, total = seen.sum(), counted.sum(axis=-1)
    each = gammaln(seen + counted) - gammaln(counted) - gammaln(seen + 1)
    found: NDArray[np.float64] = each.sum(axis=-1) + gammaln(n + 1) + gammaln(total) - gammaln(n + total)
    return found


def tail(observed: ArrayLike, shares: NDArray[np.float64], simulated: ArrayLike) -> NDArray[np.float64]:
    """(c,) Posterior predictive probability of fewer than observed in each class, half of equal included.

    Averaged over draws, shares (k, c): near 0 or 1 where the simulated patients cannot give what was published.
    """
    from scipy.special import betainc

    seen = np.asarray(observed, float)
    n = seen.sum()
    counted = np.nan_to_num(shares) * np.asarray(simulated, float)[..., None] + JEFFREYS
    p = counted / counted.sum(axis=-1, keepdims=True)

    def at_most(k: NDArray[np.float64]) -> NDArray[np.float64]:
        # The binomial distribution function, which in this form has numbers between whole ones too.
        inside = (k >= 0) & (k < n)
        safe = np.where(inside, k, 0.0)
        return np.where(inside, betainc(n - safe, safe + 1, 1 - p), np.where(k < 0, 0.0, 1.0))

    found: NDArray[np.float64] = (0.5 * (at_most(seen) + at_most(seen - 1))).mean(axis=0)
    return found

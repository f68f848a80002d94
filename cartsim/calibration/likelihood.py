"""How likely what a trial published is under simulated patients.

Every published row says how many of n patients fell into each of a few classes: responders or not, best responses,
still free of progression at the published median or not (half of them are), below or above a published quantile. The
simulated patients fall into the same classes, and their shares are known up to the Monte Carlo error of so many: given
their numbers m the shares have a Dirichlet distribution with m + 1/2 (Jeffreys' prior), so that the published numbers
are Dirichlet-multinomial. No outcome is then impossible because no simulated patient had it, and few simulated patients
say less than many. Numbers need not be whole: half of 33 patients, or as many as limits are worth.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

JEFFREYS = 0.5
"""Added to the number of simulated patients in each class."""

Z95 = 1.959963984540054


def log_likelihood(observed: ArrayLike, shares: NDArray[np.float64], simulated: ArrayLike) -> NDArray[np.float64]:
    """(k,) Log probability of the numbers observed (c,), given shares (k, c) of so many simulated patients (k,).

    A row without simulated patients in its denominator (shares NaN) has the probability that Jeffreys' prior gives.
    """
    from scipy.special import gammaln

    seen = np.asarray(observed, float)
    counted = np.nan_to_num(shares) * np.asarray(simulated, float)[..., None] + JEFFREYS
    n, total = seen.sum(), counted.sum(axis=-1)
    each = gammaln(seen + counted) - gammaln(counted) - gammaln(seen + 1)
    return each.sum(axis=-1) + gammaln(n + 1) + gammaln(total) - gammaln(n + total)


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

    return (0.5 * (at_most(seen) + at_most(seen - 1))).mean(axis=0)


def effective_n(value: float, low: float, high: float, n: float) -> float:
    """How many uncensored patients a Kaplan-Meier median with 95 % limits is worth, at most n.

    The limits are those of its logarithm; near the median of an exponential curve survival falls by log(2)/2 for each
    unit of log time, which turns their width into a standard error of the survival there, and this into n. One limit
    suffices (the other NaN); without any, n itself.
    """
    spread = [math.log(end / value) for end in (low, high) if math.isfinite(end) and end > 0 and end != value]
    if not spread:
        return float(n)
    # With both ends their mean distance, else the one there is.
    error = sum(map(abs, spread)) / len(spread) / Z95 * math.log(2) / 2
    return min(float(n), 0.25 / error**2)


def quantile_counts(levels: ArrayLike, n: float) -> NDArray[np.float64]:
    """(c,) Numbers of n patients between published quantiles of these levels (c - 1,): below the first, ..."""
    return n * np.diff(np.concatenate([[0.0], np.asarray(levels, float), [1.0]]))

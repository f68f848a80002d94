"""Sobol and eFAST indices: how the variance of an endpoint is divided among the parameters.

Every analysis asks a `Function`: a table of parameter sets in (a row a set, a column a parameter), a number or a curve
for each out. `cartsim.endpoint` makes one of a model; any other function of a table does as well.

    >>> import cartsim as cs
    >>> found = cs.sobol(cs.endpoint("bb2121_clinical", "Cmax"), ["Kexp_max", "Kel_e", "K12"], n=16)
    >>> found.ranking()[0]
    'Kexp_max'

The indices are computed by SALib (the extra ``cartsim[sensitivity]``). They divide the variance of the output, so its
scale matters: what spreads over powers of ten between sets (Cmax, AUC, transgene) is taken as its logarithm, for
otherwise a few highest values make up all variance and no affordable sample converges. Every result says which scale it
is on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError, brief, check_level, check_seed, elsewhere, whole
from cartsim.results import Result
from cartsim.sensitivity.endpoint import FailedRuns, Function, along, refuse_failed, scaled
from cartsim.sensitivity.ranges import Range, resolved

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95
RESAMPLES = 100  # bootstrap samples behind the limits of Sobol indices
HARMONICS = 4  # of eFAST's frequencies; SALib's M
FEWEST = 16  # base samples of Sobol's method, fewest


@dataclass(frozen=True, repr=False, eq=False)
class Indices(Result):
    """First and total order indices.

    Attributes
    ----------
    table
        A row a parameter (and time): ``time`` for a curve, ``parameter``, ``first``, ``first_low``, ``first_high``,
        ``total``, ``total_low``, ``total_high``. Estimates can lie slightly below 0 or above 1. Limits are of the
        `level`: by bootstrap, for eFAST by repeated search curves (NaN for one curve). All are NaN at times at which
        the output is constant. Also ``frame``.
    n
        Base samples (Sobol) or runs a parameter (eFAST).
    dropped
        Sobol blocks left out since a run of theirs had failed; ``failures`` lists these runs.
    samples, values
        The parameter sets kept and what the function returned for them, (runs,) or (runs, m).
    """

    what = "sensitivity"
    table: pd.DataFrame
    method: str
    function: Function
    n: int
    seed: int
    level: float
    dropped: int
    failed_runs: pd.DataFrame
    samples: pd.DataFrame
    values: NDArray[np.float64]

    @property
    def frame(self) -> pd.DataFrame:
        """A row a parameter (and time)."""
        return self.table

    @property
    def summary(self) -> pd.DataFrame:
        """A row a parameter, the most important first; means over the times of a curve."""
        means = self.table.drop(columns="time", errors="ignore").groupby("parameter", sort=False).mean()
        return means.sort_values("total", ascending=False, kind="stable").reset_index()

    @property
    def failures(self) -> pd.DataFrame:
        """Parameter sets whose runs failed."""
        return self.failed_runs

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was left out."""
        if not self.dropped:
            return ()
        return (f"{self.dropped} of {self.n} Saltelli blocks were left out: {len(self.failures)} runs failed",)

    def how(self) -> str:
        """How they were computed, and of what."""
        method = {"sobol": "Sobol", "efast": "eFAST"}[self.method]
        scale = "logarithm" if self.function.scale == "log" else "value itself"
        by = {"sobol": "bootstrap limits", "efast": "limits of repeated search curves"}[self.method]
        limits = f", with {100 * self.level:g} % {by}" if self.level == self.level else ""
        return f"{method}, n = {self.n:,}, {len(self.samples):,} runs, variance of the {scale}{limits}"

    def ranking(self, order: str = "total") -> list[str]:
        """Parameters, the most important first, by the mean index over times."""
        means = self.table.groupby("parameter", sort=False)[order].mean()
        return list(means.sort_values(ascending=False, kind="stable").index)

    @property
    def made_by(self) -> dict[str, Any]:  # type: ignore[override]
        """Method, endpoint, scale, sizes, seed, and the versions that computed it."""
        return {
            **self.function.made_by,
            "method": self.method,
            "endpoint": self.function.name,
            "unit": self.function.unit,
            "scale": self.function.scale,
            "parameters": list(self.samples.columns),
            "n": self.n,
            "runs": len(self.samples),
            "dropped_blocks": self.dropped,
            "seed": self.seed,
            "SALib": version("SALib"),
        }

    def _title(self) -> str:
        runs = f"{len(self.samples):,} runs"
        return f"{self.method} indices of {self.function.name} ({self.function.scale} scale), {runs}"

    def convergence(self, time: float | None = None) -> pd.DataFrame:
        """Sobol indices from the first 16, 32, 64, ... base samples: ``n`` and the columns of `table`.

        No run is repeated, since a Sobol sequence grows by appending. For a curve, of the reading at
        ``time``. Raises `InputError` for eFAST, whose curves have no beginning, and a time that was not read.
        """
        if self.method != "sobol":
            raise InputError("eFAST indices cannot be had from part of the runs; repeat the analysis with other n")
        values, times = self.values, self.function.times
        if times is not None and (time is None or time not in times):
            raise InputError(f"time {time} was not read; choose one of {', '.join(f'{t:g}' for t in times)}")
        if time not in self._converging:
            own = values if times is None else values[:, np.flatnonzero(times == time)[0]]
            self._converging[time] = self._growing(own)
        return self._converging[time].copy()

    @cached_property
    def _converging(self) -> dict[float | None, pd.DataFrame]:
        """What `convergence` has found, by time: a table and its picture ask for the same."""
        return {}

    def _growing(self, values: NDArray[np.float64]) -> pd.DataFrame:
        import pandas as pd

        names, block = list(self.samples.columns), self.samples.shape[1] + 2
        blocks = len(self.samples) // block
        sizes = [size for size in 2 ** np.arange(4, 31) if size < blocks] + [blocks]
        alone = replace(self.function, times=None)
        parts = []
        for size in sizes:
            found = _sobol_indices(alone, names, values[: size * block], self.seed, self.level)
            parts.append(found.assign(n=size))
        return pd.concat(parts, ignore_index=True)


@elsewhere()
def sobol(
    function: Function | Callable,
    ranges: Mapping[str, Range] | Sequence[str],
    n: int = 1024,
    *,
    seed: int = 2021,
    failed: str = "stop",
    level: float = LEVEL,
) -> Indices:
    """First and total order Sobol indices of a number or a curve, with confidence limits, from n*(D + 2) runs.

    Saltelli's design on scrambled Sobol points and the estimators of Saltelli 2010
    (doi:10.1016/j.cpc.2009.09.018), both SALib's, over independent `ranges` of D parameters. n: base samples,
    a power of two. The same seed gives the same points, the first n of them also in a larger sample. failed:
    "stop" raises `FailedRuns` if any run has no finite result, "drop" leaves out the whole Saltelli block of
    each such run, which tilts the ranges toward what can be simulated: see ``Indices.dropped``. Raises
    `InputError` before any run for a bad n, seed or ranges or where no parameter can change the output, and
    after them where the output is constant.
    """
    _salib()
    from SALib.sample.sobol import sample

    function, box = resolved(function, ranges)
    names = list(box)
    if not whole(n) or n < FEWEST or n & (n - 1):
        raise InputError(f"n is {brief(n)}; Sobol's method needs a power of two, {FEWEST} or more, such as 1024")
    if failed not in ("stop", "drop"):
        raise InputError(f"failed is {failed!r}; it is 'stop' or 'drop'")
    check_seed(seed)
    check_level(level)
    points = sample(_problem(names), int(n), calc_second_order=False, seed=seed)
    table = table_of(box, points)
    values = function(table)
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    failures = table[bad]
    if failed == "stop":
        refuse_failed(function, table, values, hint="; or set failed='drop' to leave out their blocks")
    block = len(names) + 2
    lost = bad.reshape(n, block).any(axis=1)
    if n - lost.sum() < FEWEST:
        raise FailedRuns(
            f"{function.name}: only {n - lost.sum()} of {n} Saltelli blocks are without a failed run; "
            f"at least {FEWEST} are needed: narrow the ranges",
            failures,
        )
    keep = np.repeat(~lost, block)
    table, values = table[keep].reset_index(drop=True), values[keep]
    refuse_constant(function, values)
    found = _sobol_indices(function, names, values, seed, level)
    return Indices(found, "sobol", function, n, seed, level, int(lost.sum()), failures, table, values)


@elsewhere()
def efast(
    function: Function | Callable,
    ranges: Mapping[str, Range] | Sequence[str],
    n: int = 1025,
    *,
    curves: int = 1,
    seed: int = 2021,
    level: float = LEVEL,
) -> Indices:
    """First and total order indices by the extended Fourier amplitude sensitivity test, from curves*n*D runs.

    Saltelli, Tarantola and Chan 1999 (doi:10.1080/00401706.1999.10485594), by SALib, with four harmonics. n:
    runs on the search curve of each parameter, above 64; from 128*(D - 1) on the other parameters have a
    frequency each. curves: search curves of each parameter, with other random phases (the paper's resampling): the
    indices are their means, and from two curves on have Student's limits. There are none of one curve: the bootstrap
    that SALib offers breaks the curve and does not hold, as it says itself. Raises as `sobol`; a failed run always
    stops it, since a search curve is only of use as a whole.
    """
    _salib()
    import pandas as pd
    from SALib.analyze.fast import compute_orders
    from SALib.sample.fast_sampler import sample
    from scipy.stats import t as student

    function, box = resolved(function, ranges)
    names = list(box)
    fewest = 4 * HARMONICS**2 + 1
    if not whole(n) or n < fewest:
        raise InputError(f"n is {brief(n)}; eFAST needs a whole number, {fewest} or more runs a parameter")
    if not whole(curves) or curves < 1:
        raise InputError(f"{brief(curves)} search curves; give a whole number, 1 or more, and 5 or so for limits")
    check_seed(seed)
    check_level(level)
    seeds = [seed + k for k in range(curves)]
    tables = [table_of(box, sample(_problem(names), int(n), M=HARMONICS, seed=each)) for each in seeds]
    table = pd.concat(tables, ignore_index=True)
    values = function(table)
    refuse_failed(function, table, values)
    refuse_constant(function, values)
    on_scale = scaled(function, values)
    omega = (n - 1) // (2 * HARMONICS)
    found = np.full((curves, 2, len(names), on_scale.shape[1]), np.nan)
    for k in np.flatnonzero(~constant_at(function, values)):
        for c, i in np.ndindex(curves, len(names)):
            start = (c * len(names) + i) * n
            found[c, :, i, k] = compute_orders(on_scale[start : start + n, k], n, HARMONICS, omega)
    mean, half = found.mean(axis=0), np.full(found.shape[1:], np.nan)
    if curves > 1:
        half = student.ppf(0.5 + level / 2, curves - 1) * found.std(axis=0, ddof=1) / np.sqrt(curves)
    columns = {
        f"{order}{end}": mean[k] + sign * half[k] if sign else mean[k]
        for k, order in enumerate(("first", "total"))
        for end, sign in (("", 0), ("_low", -1), ("_high", 1))
    }
    indices = along(function, names, columns)
    level = level if curves > 1 else np.nan
    return Indices(indices, "efast", function, n, seed, level, 0, table[:0], table, values)


def _salib() -> None:
    """Raise where SALib is missing, before anything is simulated."""
    try:
        import SALib  # noqa: F401
    except ImportError:
        raise InputError(
            "Sobol and eFAST indices need the package SALib; install it with pip install 'cartsim[sensitivity]'"
        ) from None


def _problem(names: list[str]) -> dict[str, Any]:
    """What SALib is to sample: shares of each range's distribution."""
    return {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}


def table_of(ranges: Mapping[str, Range], points: NDArray[np.float64]) -> pd.DataFrame:
    """Parameter sets of points (sets, parameters) that are shares of each range's distribution."""
    import pandas as pd

    return pd.DataFrame({name: each.at(points[:, i]) for i, (name, each) in enumerate(ranges.items())})


def _sobol_indices(
    function: Function, names: list[str], values: NDArray[np.float64], seed: int, level: float
) -> pd.DataFrame:
    from SALib.analyze.sobol import analyze

    on_scale = scaled(function, values)
    columns = {
        f"{order}{end}": np.full((len(names), on_scale.shape[1]), np.nan)
        for order in ("first", "total")
        for end in ("", "_low", "_high")
    }
    for k in np.flatnonzero(~constant_at(function, values)):
        # SALib takes a seed of 0 for none.
        found = analyze(
            _problem(names),
            on_scale[:, k],
            calc_second_order=False,
            num_resamples=RESAMPLES,
            conf_level=level,
            seed=seed + 1,
        )
        for order, key in (("first", "S1"), ("total", "ST")):
            columns[order][:, k] = found[key]
            columns[f"{order}_low"][:, k] = found[key] - found[f"{key}_conf"]
            columns[f"{order}_high"][:, k] = found[key] + found[f"{key}_conf"]
    return along(function, names, columns)


def constant_at(function: Function, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """At which times, (m,), the output does not vary beyond its accuracy."""
    values = values.reshape(len(values), -1)
    return np.ptp(values, axis=0) <= function.accuracy * np.abs(values).max(axis=0)


def refuse_constant(function: Function, values: NDArray[np.float64]) -> None:
    """Raise `InputError` where the output never varies."""
    if constant_at(function, values).all():
        raise InputError(
            f"{function.name} is constant, {values.flat[0]:g} in all {len(values)} runs, so its indices are not "
            "defined; vary other parameters, or over wider ranges"
        )

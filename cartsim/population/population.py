"""Virtual patients as one table: a row a patient, a column for each parameter or covariate that varies.

Every random number has an address (seed, stream, patient), the stream being a name such as that of a
parameter, and is computed from its address alone. So a patient is the same in any chunk, on any worker, in
every arm and in a larger population, and varying one more parameter leaves the others as they were.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

from cartsim.errors import InputError
from cartsim.model.reader import DISTRIBUTIONS, Model, Variability
from cartsim.population.patients import allowed, check_name, outside, patients_from_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = [
    "Population",
    "fixed",
    "logitnormal",
    "lognormal",
    "normal",
    "patients_from_table",
    "uniform",
    "uniforms",
    "with_uncertainty",
]

# Ranges are checked for draws of up to this many standard deviations: beyond lies one patient in 1e9.
_REACH = 6.0


def uniforms(seed: int, stream: str, start: int, stop: int) -> NDArray[np.float64]:
    """Random numbers in (0, 1) of the patients start..stop-1 in one stream, shape (stop - start,).

    Streams are independent of each other. Noise that differs by visit takes a stream for each visit, such as
    "assay/mprotein/day28". The generator is Philox 4x64 (Salmon et al. 2011,
    doi:10.1145/2063384.2063405), keyed by the hash of seed and stream, its counter being the patient.
    """
    import numpy as np

    if not 0 <= start <= stop:
        raise InputError(f"patients {start} to {stop}: patients are numbered from 0, and start <= stop")
    block, skip = divmod(start, 4)  # one step of the counter gives four numbers
    words = np.random.Philox(key=_key(seed, stream), counter=block).random_raw(stop - 4 * block)[skip:]
    # 52 bits and half a step keep out 0 and 1, and the numbers symmetric about 0.5.
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def lognormal(omega: float) -> Variability:
    """The typical value times exp(omega z), z standard normal: omega is the SD of the logarithm."""
    return Variability("lognormal", omega)


def normal(sd: float) -> Variability:
    """The typical value plus sd z, z standard normal."""
    return Variability("normal", sd)


def logitnormal(sd: float, low: float | None = None, high: float | None = None) -> Variability:
    """Within low..high (by default the parameter's limits): sd z is added to the logit of the place there."""
    return Variability("logitnormal", sd, low, high)


def uniform(low: float | None = None, high: float | None = None) -> Variability:
    """Equally likely anywhere in low..high (by default the parameter's limits)."""
    return Variability("uniform", 0.0, low, high)


def fixed() -> Variability:
    """No variability: every patient has the typical value."""
    return Variability("lognormal", 0.0)


@dataclass(frozen=True)
class Population:
    """The virtual patients of a model, without end: `table` gives any range of them.

    `variability` replaces or extends, by name, what the model file says of its parameters and covariates.
    That of a derived parameter acts on what each patient's other values give:
    Tumor0 = 5e7*burden*exp(omega z).
    `correlation` holds correlations of the underlying normal variables: {("K12", "K21"): 0.5}, or a
    symmetric frame with names as index and columns.
    `sampler` is "random" or "sobol" (scrambled Sobol points, a dimension for each quantity that varies; with
    them, varying one more changes the others).

    Raises `InputError` for unknown names, impossible distributions, those that leave the range which the
    model allows, and correlations that are not positive semidefinite with unit diagonal.
    """

    model: Model
    seed: int = 2021
    variability: Mapping[str, Variability] | None = None
    correlation: Mapping[tuple[str, str], float] | pd.DataFrame | None = None
    sampler: str = "random"

    def __post_init__(self) -> None:
        for name in self.variability or {}:
            check_name(self.model, name, "variability")
        for name, variability in self.varied.items():
            _check_variability(self.model, name, variability)
        if self.sampler not in ("random", "sobol"):
            raise InputError(f"sampler {self.sampler!r} is not known; it is 'random' or 'sobol'")
        _ = self._mixing  # checks the correlations

    @cached_property
    def varied(self) -> dict[str, Variability]:
        """What varies and how, in the order of the model file."""
        varied = {}
        for name, parameter in self.model.parameters.items():
            variability = (self.variability or {}).get(name, parameter.iiv)
            if variability is None or (variability.distribution != "uniform" and variability.omega == 0):
                continue
            if variability.distribution in ("logitnormal", "uniform"):
                low = parameter.low if variability.low is None else variability.low
                high = parameter.high if variability.high is None else variability.high
                variability = replace(variability, low=low, high=high)
            varied[name] = variability
        return varied

    def table(self, start: int, stop: int, *, complete: bool = False) -> pd.DataFrame:
        """Patients start..stop-1: index `id` (patient number), a column for each quantity that varies.

        With `complete`, a column for every parameter and covariate. Values are in the model file's units.
        """
        import pandas as pd

        if not 0 <= start < stop:
            raise InputError(f"patients {start} to {stop}: patients are numbered from 0, and start < stop")
        parameters = self.model.parameters
        scores = self._scores(start, stop)
        columns: dict[str, Any] = {}
        # What a derived parameter is derived from is drawn before it.
        needs = {name: p.expression.names if p.expression else () for name, p in parameters.items()}
        for name in TopologicalSorter(needs).static_order():
            if name in self.varied:
                typical: Any = parameters[name].value
                if typical is None:
                    typical = self.model.values(columns, stop - start)[:, list(parameters).index(name)]
                columns[name] = _spread(name, self.varied[name], typical, scores[name])
        names = list(self.varied)
        if complete:
            values = self.model.values(columns, stop - start)
            columns = dict(zip(parameters, values.T, strict=True))
            names = [name for name, parameter in parameters.items() if parameter.role != "constant"]
        index = pd.RangeIndex(start, stop, name="id")
        return pd.DataFrame({name: columns[name] for name in names}, index=index)

    def _scores(self, start: int, stop: int) -> dict[str, NDArray[np.float64]]:
        """Standard normal variables by name, each (stop - start,), correlated as asked."""
        from scipy.special import ndtri

        if self.sampler == "sobol":
            points = _sobol(self.seed, len(self.varied), start, stop)
            scores = {name: ndtri(points[i]) for i, name in enumerate(self.varied)}
        else:
            scores = {
                name: ndtri(uniforms(self.seed, f"parameter/{name}", start, stop)) for name in self.varied
            }
        names, root = self._mixing
        # Column by column, since the rounding of a matrix product may depend on the number of rows.
        mixed = {
            name: sum(root[i, j] * scores[other] for j, other in enumerate(names))
            for i, name in enumerate(names)
        }
        return scores | mixed

    @cached_property
    def _mixing(self) -> tuple[list[str], NDArray[np.float64]]:
        """Names of the correlated quantities and the root of their correlation matrix."""
        import numpy as np

        pairs = _correlation_pairs(self.correlation)
        for name in {name: None for pair in pairs for name in pair}:
            check_name(self.model, name, "correlation")
            if name not in self.varied:
                raise InputError(f"correlation: {name} does not vary; give it a variability or leave it out")
        linked = {name for (a, b), rho in pairs.items() if a != b and rho != 0 for name in (a, b)}
        names = [name for name in self.varied if name in linked]
        matrix = np.eye(len(names))
        for i, a in enumerate(names):
            for j, b in enumerate(names):
                matrix[i, j] = pairs.get((a, b), matrix[i, j])
        return names, _symmetric_root(matrix, "correlation")


def with_uncertainty(
    model: Model, seed: int, replicate: int, *, covariance: pd.DataFrame | None = None
) -> Model:
    """The model with typical values drawn from their uncertainty: one draw for each `replicate` (0, 1, ...).

    Each value with a relative standard error in the model file is multiplied by exp(rse z), so that it keeps
    its sign. `covariance` replaces these errors: the covariance matrix of the estimates in their own
    units, as estimation software reports it, names as index and columns. Divided by the typical values
    it becomes that of the logarithms (delta method). Variability between patients stays as it is.
    Raises `InputError` for unknown names and a matrix that is not symmetric and positive semidefinite.
    """
    import numpy as np
    from scipy.special import ndtri

    if covariance is None:
        errors = {name: p.rse for name, p in model.parameters.items() if p.rse and p.value is not None}
        names, root = list(errors), np.diag(list(errors.values()))
        typical = np.array([model.parameters[name].value for name in names])
    else:
        names, matrix = _symmetric(covariance, "covariance")
        for name in names:
            check_name(model, name, "covariance")
            if not model.parameters[name].value:
                raise InputError(f"covariance: {name} has no typical value but 0 or a formula; leave it out")
        typical = np.array([model.parameters[name].value for name in names])
        root = _symmetric_root(matrix / np.outer(typical, typical), "covariance")
    scores = [ndtri(uniforms(seed, f"uncertainty/{name}", replicate, replicate + 1)[0]) for name in names]
    drawn = typical * np.exp(root @ np.array(scores))
    return model.override(dict(zip(names, drawn.tolist(), strict=True)))


def _key(seed: int, stream: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{int(seed)}/{stream}".encode()).digest()[:16], "little")


def _sobol(seed: int, dimensions: int, start: int, stop: int) -> NDArray[np.float64]:
    """Scrambled Sobol points start..stop-1, shape (dimensions, stop - start), within (0, 1)."""
    import numpy as np
    from scipy.stats import qmc

    if dimensions == 0:
        return np.empty((0, stop - start))
    if stop > 2**30:
        raise InputError(
            f"patients {start} to {stop}: there are {2**30:,} Sobol points; use the random sampler"
        )
    engine = qmc.Sobol(dimensions, rng=_key(seed, "sobol"))
    if start == 0:  # the first point by itself: scipy warns of a first request that is not a power of two
        points = np.vstack([engine.random(1), engine.random(stop - 1)])
    else:
        points = engine.fast_forward(start).random(stop - start)
    # Points are the lower edges of cells of width 2^-30; the middles are never 0.
    return np.ascontiguousarray(points.T) + 2.0**-31


def _spread(
    name: str, variability: Variability, typical: Any, score: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values with the given distribution about the typical value (a number or one a patient)."""
    import numpy as np
    from scipy.special import expit, logit, ndtr

    omega, low, high = variability.omega, variability.low, variability.high
    if variability.distribution == "lognormal":
        return typical * np.exp(omega * score)
    if variability.distribution == "normal":
        return typical + omega * score
    assert low is not None and high is not None  # _check_variability saw to it
    if variability.distribution == "uniform":
        return low + (high - low) * ndtr(score)
    share = np.asarray((typical - low) / (high - low))
    if not np.all((share > 0) & (share < 1)):
        raise InputError(
            f"variability of {name}: a typical value is not between the logitnormal's {low:g} and {high:g}"
        )
    return low + (high - low) * expit(logit(share) + omega * score)


def _check_variability(model: Model, name: str, variability: Variability) -> None:
    import numpy as np

    where = f"variability of {name}"
    kind, omega, low, high = variability.distribution, variability.omega, variability.low, variability.high
    if kind not in DISTRIBUTIONS:
        raise InputError(f"{where}: {kind!r} is not known; it is one of {', '.join(DISTRIBUTIONS)}")
    if not (math.isfinite(omega) and omega >= 0):
        raise InputError(f"{where}: omega is {omega:g}; a standard deviation is a finite number, 0 or more")
    if kind in ("logitnormal", "uniform"):
        if low is None or high is None or not -math.inf < low < high < math.inf:
            raise InputError(f"{where}: {kind} needs finite low and high, low below high")
    parameter = model.parameters[name]
    if parameter.value is None:
        return
    ends = _spread(name, variability, parameter.value, np.array([-_REACH, _REACH]))
    wrong = outside(ends, parameter.low, parameter.high)
    if wrong.any():
        raise InputError(
            f"{where}: this {kind} reaches {ends[wrong][0]:.4g}, but {name} must be "
            f"{allowed(parameter.low, parameter.high)}; use lognormal, logitnormal or uniform"
        )


def _correlation_pairs(
    correlation: Mapping[tuple[str, str], float] | pd.DataFrame | None,
) -> dict[tuple[str, str], float]:
    """Correlations by pair of names, each pair in both orders."""
    if correlation is None:
        return {}
    if isinstance(correlation, Mapping):
        pairs = dict(correlation)
    else:
        names, matrix = _symmetric(correlation, "correlation")
        pairs = {(a, b): float(matrix[i, j]) for i, a in enumerate(names) for j, b in enumerate(names)}
    # Correlations that were computed miss 1 and symmetry by rounding; hence the small tolerance.
    for (a, b), rho in pairs.items():
        if a == b and not abs(rho - 1) < 1e-8:
            raise InputError(f"correlation: {a} with itself is {rho:g}; the diagonal must be 1")
        if not abs(rho) < 1 + 1e-8:
            raise InputError(f"correlation: {a} with {b} is {rho:g}; a correlation is a number from -1 to 1")
        if not abs(pairs.get((b, a), rho) - rho) < 1e-8:
            raise InputError(f"correlation: {a} with {b} is {rho:g} and also {pairs[b, a]:g}; give one")
    return pairs | {(b, a): rho for (a, b), rho in pairs.items()}


def _symmetric(frame: pd.DataFrame, what: str) -> tuple[list[str], NDArray[np.float64]]:
    """Names and values of a symmetric matrix given as a frame."""
    import numpy as np

    names = list(frame.columns)
    if len(set(names)) < len(names) or len(frame) != len(names) or set(frame.index) != set(names):
        raise InputError(f"{what}: the matrix needs the same names as index and columns, each once")
    try:
        matrix = frame.loc[names].to_numpy(dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{what}: the matrix must hold numbers only") from None
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, rtol=1e-8, atol=0):
        raise InputError(f"{what}: the matrix must be finite and symmetric")
    return names, (matrix + matrix.T) / 2


def _symmetric_root(matrix: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    """The symmetric A with A @ A = matrix: singular matrices have it too, and the order of names is free."""
    import numpy as np

    values, vectors = np.linalg.eigh(matrix)
    if values.size and values[0] < -1e-10 * max(values[-1], 0.0):
        raise InputError(
            f"{what}: the matrix is not positive semidefinite (smallest eigenvalue {values[0]:.3g}); "
            "bring its entries off the diagonal nearer to 0"
        )
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T

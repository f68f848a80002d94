"""What an assay reports of a true concentration: error, rounding, limits of detection and quantification.

The error belongs to the patient and the day alone (see `cartsim.population.draws.uniforms`), so that arms share it
and another visit, another patient or another size of chunk changes no measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.endpoints.response import numbers_of
from cartsim.errors import InputError
from cartsim.model.model import finite_number
from cartsim.population.draws import uniforms

BELOW = {"zero": 0.0, "half": 0.5, "limit": 1.0}
"""What is reported below the limit of quantification, in multiples of it."""

RESIDUE = 1e-4
"""What an integration at the loosest tolerance may leave a true value below zero; far below any limit of detection."""


@dataclass(frozen=True)
class Assay:
    """How a concentration is measured; as it stands, `Assay()`, without error or limits.

    cv       SD of the logarithm of the error, which multiplies the truth and has median 1; nearly the
             coefficient of variation, which is sqrt(exp(cv^2) - 1)
    step     rounding to multiples of it, halves to the even one
    lod      limit of detection: readings below it are reported as 0
    loq      limit of quantification: readings below it, if not below `lod`, are reported as `below` says
    below    "zero": as 0, "half": as half of `loq`, "limit": as `loq`

    `step`, `lod` and `loq` are in the unit of what is measured, None for none. A reading is rounded before
    it is compared with the limits, so that what is quantified is a multiple of `step`.
    Raises `InputError` for anything but finite numbers, a `cv` below 0 or above 3 (percent, most likely), a
    step or limit that is not above 0, `lod` above `loq`, or an unknown `below`.
    """

    cv: float = 0.0
    lod: float | None = None
    loq: float | None = None
    below: str = "zero"
    step: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= finite_number(self.cv, "assay cv") <= 3:
            raise InputError(f"assay cv is {self.cv:g}; the SD of the log error is 0 to 3, 0.1 for 10 %")
        for name in ("lod", "loq", "step"):
            value = getattr(self, name)
            if value is not None and finite_number(value, f"assay {name}") <= 0:
                raise InputError(f"assay {name} is {value:g}; give a number above 0, or None for none")
        if self.lod is not None and self.loq is not None and self.lod > self.loq:
            raise InputError(f"assay lod {self.lod:g} is above loq {self.loq:g}; what is quantified is detected")
        if self.below not in tuple(BELOW):
            raise InputError(f"assay below is {self.below!r}; it is one of {', '.join(BELOW)}")

    def measure(
        self, truth: ArrayLike, *, seed: int, name: str, start: int, days: ArrayLike, times: int = 1
    ) -> NDArray[np.float64]:
        """What is reported, shape (n, v), of the true concentrations (n, v) of patients start..start+n/times-1.

        days (v,) are those of the visits as planned; the error of a visit is drawn from the stream "assay/name/day",
        the day with six digits. times: so often the patients stand below each other, with the same errors. NaN stays
        NaN, and an exact 0 is reported as 0 whatever `below` says.
        Raises `InputError` for shapes that do not fit, anything but numbers, and values that are infinite or
        below zero by more than `RESIDUE`. Percent changes are no concentrations: measure the level instead.
        """
        values, day = (
            numbers_of(what, given).astype(float) for what, given in ((f"true {name}", truth), ("days", days))
        )
        if values.ndim != 2 or day.shape != values.shape[1:] or not np.isfinite(day).all():
            raise InputError(
                f"true {name} has shape {values.shape}, days {day.shape}; give (n, v) and (v,), days finite"
            )
        wrong = np.argwhere((values < -RESIDUE) | np.isinf(values))
        if wrong.size:
            row, visit = wrong[0]
            raise InputError(
                f"true {name} of patient {start + row} on day {day[visit]:g} is {values[row, visit]:g}; "
                "an assay measures concentrations, finite and 0 or more, not changes"
            )
        values = np.maximum(values, 0.0)
        reading = values
        if self.cv:
            error = np.exp(self.cv * _scores(seed, name, start, len(values) // times, day))
            reading = values * np.tile(error, (times, 1))
        if self.step is not None:
            reading = _rounded(reading, self.step)
        report = reading
        if self.loq is not None:
            report = np.where((reading < self.loq) & (values > 0), BELOW[self.below] * self.loq, report)
        if self.lod is not None:
            report = np.where(reading < self.lod, 0.0, report)
        return report


def _scores(seed: int, name: str, start: int, n: int, days: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard normal variables, shape (n, v)."""
    from scipy.special import ndtri

    scores = np.empty((n, len(days)))
    for visit, day in enumerate(days):
        scores[:, visit] = ndtri(uniforms(seed, f"assay/{name}/{day:g}", start, start + n))
    return scores


def _rounded(values: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    # 3 * 0.1 is not 0.3, 3 / 10 is: dividing gives the decimals a limit is written in.
    return np.rint(values / step) * step if step >= 1 else np.rint(values / step) / (1 / step)

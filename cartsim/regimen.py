"""What is infused and when: single, repeated and split doses, and retreatment when a condition is met.

Times are in the model's time unit (days for the clinical model), amounts in numbers of cells. An amount of
None means the patient's own dose: the `dose` column of the patients, or the dose of the trial arm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from cartsim.errors import InputError, brief, check_kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Infusion:
    """`amount` cells (None: the patient's own dose) at `time`. A dose of 0 leaves the patient untreated."""

    time: float
    amount: float | None = None

    def __post_init__(self) -> None:
        _check_number("the time of an infusion", self.time)
        if self.amount is not None:
            _check_number("a dose", self.amount)


@dataclass(frozen=True)
class Retreatment:
    """A further infusion for each patient in whom `state` has come back.

    The condition holds when `state` is at or above `above_nadir` times its lowest value so far, and at or
    above the level `above`; each of the two counts only if given. It is looked at from the time `earliest`
    on, and the nadir starts anew with every retreatment. The infusion follows `delay` after the condition
    is first met, at most `maximum` times. `dose` is in cells; None repeats the patient's first infusion.
    """

    dose: float | None = None
    state: str = "mprotein"
    above_nadir: float | None = None
    above: float | None = None
    earliest: float = 0.0
    delay: float = 0.0
    maximum: int = 1

    def __post_init__(self) -> None:
        if self.dose is not None:
            _check_number("the retreatment dose", self.dose)
        if self.above_nadir is None and self.above is None:
            raise InputError(
                "retreatment needs its condition: above_nadir (a factor on the lowest value), above (a level), or both"
            )
        if self.above_nadir is not None:
            _check_number("above_nadir", self.above_nadir)
            if self.above_nadir <= 1:
                raise InputError(f"above_nadir is {self.above_nadir:g}; it is a factor on the lowest value, above 1")
        if self.above is not None:
            _check_number("above", self.above)
        _check_number("earliest", self.earliest)
        _check_number("delay", self.delay)
        if self.maximum not in range(1, 1001):
            raise InputError(f"maximum is {self.maximum}; it is a whole number from 1 to 1000")


@dataclass(frozen=True)
class Regimen:
    """Infusions at increasing times, the same for every patient, and an optional retreatment rule."""

    doses: tuple[Infusion, ...] = ()
    retreatment: Retreatment | None = None

    def __post_init__(self) -> None:
        check_kind("the doses of a regimen", self.doses, Iterable, "a list of Infusion(time, amount)")
        object.__setattr__(self, "doses", tuple(self.doses))
        for each in self.doses:
            check_kind("a dose of a regimen", each, Infusion, "Infusion(time, amount)")
        for earlier, later in pairwise(self.doses):
            if later.time == earlier.time:
                raise InputError(f"two infusions at time {later.time:g}; give their sum as one dose")
            if later.time < earlier.time:
                raise InputError(
                    f"infusion at {later.time:g} after one at {earlier.time:g}; give them in order of time"
                )
        if self.retreatment is not None and not self.doses:
            raise InputError("retreatment without a first infusion; give the regimen at least one dose")

    @classmethod
    def none(cls) -> Regimen:
        """No treatment at all."""
        return cls()

    @classmethod
    def single(cls, dose: float | None = None, *, time: float = 0.0, retreatment: Retreatment | None = None) -> Regimen:
        """One infusion of `dose` cells."""
        return cls((Infusion(time, dose),), retreatment)

    @classmethod
    def repeated(
        cls,
        dose: float | None = None,
        times: Sequence[float] | None = None,
        *,
        every: float | None = None,
        n: int | None = None,
        retreatment: Retreatment | None = None,
    ) -> Regimen:
        """The same dose at each of `times`, or `n` times, one `every` so long, the first at time 0."""
        if times is None:
            if every is None or n is None:
                raise InputError("repeated doses need their times, or both every (an interval) and n (how many)")
            _check_number("every", every)
            if every == 0 or n not in range(1, 1001):
                raise InputError(f"every={every:g}, n={n}: the interval must be above 0, n whole and from 1 to 1000")
            times = [k * every for k in range(int(n))]
        elif every is not None or n is not None:
            raise InputError("repeated doses are given by their times or by every and n, not both")
        elif len(times) == 0:
            raise InputError("repeated doses need at least one time; Regimen.none() is no treatment")
        return cls(tuple(Infusion(time, dose) for time in times), retreatment)

    @classmethod
    def split(
        cls,
        total: float,
        fractions: Sequence[float],
        times: Sequence[float],
        *,
        retreatment: Retreatment | None = None,
    ) -> Regimen:
        """`total` cells given as `fractions` (which sum to 1) at `times`."""
        _check_number("the total dose", total)
        if len(fractions) != len(times) or len(times) == 0:
            raise InputError(f"{len(fractions)} fractions at {len(times)} times; give one fraction for each time")
        for fraction in fractions:
            _check_number("a fraction of the dose", fraction)
        if not math.isclose(sum(fractions), 1, rel_tol=1e-9):
            raise InputError(f"the fractions of a split dose sum to {sum(fractions):.10g}; they must sum to 1")
        infusions = tuple(Infusion(time, total * part) for time, part in zip(times, fractions, strict=True))
        return cls(infusions, retreatment)

    def schedule(
        self, n: int, per_patient_dose: ArrayLike | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Times (k,) and amounts in cells (n, k) of the k planned infusions for n patients.

        `per_patient_dose`, one number or an array (n,), fills the amounts that are None. Retreatment is not
        planned and so not part of it.
        Raises `InputError` when a patient's own dose is called for but missing, negative or not finite.
        """
        import numpy as np

        times = np.array([infusion.time for infusion in self.doses], dtype=np.float64)
        amounts = np.empty((n, len(times)))
        own = None
        if any(infusion.amount is None for infusion in self.doses):
            own = _own_doses(n, per_patient_dose)
        for k, infusion in enumerate(self.doses):
            amounts[:, k] = own if infusion.amount is None else infusion.amount
        return times, amounts


def _own_doses(n: int, per_patient_dose: ArrayLike | None) -> NDArray[np.float64]:
    import numpy as np

    if per_patient_dose is None:
        raise InputError("the regimen needs the patients' own doses; give one dose or a dose column")
    own = np.asarray(per_patient_dose, dtype=np.float64)
    if own.shape not in ((), (n,)):
        raise InputError(f"doses of shape {own.shape} for {n} patients; give one number or one dose a patient")
    own = np.broadcast_to(own, (n,))
    bad = np.flatnonzero(~(np.isfinite(own) & (own >= 0)))
    if bad.size:
        row = bad[0]
        raise InputError(f"the dose of patient row {row} is {own[row]:g}; give a finite number, 0 or more")
    return own


def _check_number(what: str, value: float) -> None:
    """Refuse all but finite numbers from 0 up."""
    try:
        good = math.isfinite(value) and value >= 0
    except TypeError:
        good = False
    if not good:
        raise InputError(f"{what} is {brief(value)}; give a finite number, 0 or more")

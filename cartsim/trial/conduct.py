"""How a trial goes for each patient: visits missed, dropout, new therapy, death, and the data cut-off.

All is drawn by address (see `cartsim.population.draws.uniforms`). The arm, the chunk and the other arguments are
no part of it, so arms stay comparable, and adding deaths changes no dropout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError, brief
from cartsim.model.model import finite_number
from cartsim.population.draws import uniforms
from cartsim.schedule import MONTH


@dataclass(frozen=True)
class Followup:
    """Months from infusion to the data cut-off: median, shortest and longest of patients who entered in turn.

    A two-piece uniform distribution has exactly these three: half of the patients lie evenly between shortest
    and median, half between median and longest, as with a steady accrual in each half of the recruitment.
    Raises `InputError` unless they are finite and 0 <= shortest <= median <= longest.
    """

    median: float
    shortest: float
    longest: float

    def __post_init__(self) -> None:
        for name in ("median", "shortest", "longest"):
            finite_number(getattr(self, name), f"follow-up {name}")
        if not 0 <= self.shortest <= self.median <= self.longest:
            raise InputError(
                f"follow-up of {self.shortest:g} to {self.longest:g} months with median {self.median:g}; "
                "give 0 <= shortest <= median <= longest"
            )


KARMMA_FOLLOWUP = Followup(median=13.3, shortest=11.8, longest=21.2)
"""Munshi 2021, doi:10.1056/NEJMoa2024850, of the 128 treated: time to the data cut-off. The shortest of 0.2 months that
the paper gives is of patients who died. The last infusion was 3 months before April 19, 2019, the cut-off of the
pharmacokinetics, and the data cut-off was January 14, 2020, so nobody could be followed for less than 11.8 months."""


@dataclass(frozen=True)
class Conduct:
    """What keeps a trial from seeing everything; as it stands, `Conduct()`, nothing does.

    missed         probability that a visit is missed, independently for each visit after day 0
    dropout        hazard of leaving the trial, a month
    new_therapy    hazard of starting another therapy, a month; its start does not end observation
    death          hazard of death from causes that the model does not know, a month
    followup       staggered entry and administrative cut-off; None: no cut-off

    Hazards are constant, so waiting times are exponential. Raises `InputError` for anything but finite
    numbers, a probability outside 0 to 1, or a negative hazard.
    """

    missed: float = 0.0
    dropout: float = 0.0
    new_therapy: float = 0.0
    death: float = 0.0
    followup: Followup | None = None

    def __post_init__(self) -> None:
        if not 0 <= finite_number(self.missed, "conduct missed") <= 1:
            raise InputError(f"conduct missed is {self.missed:g}; a probability is a number from 0 to 1")
        for name in ("dropout", "new_therapy", "death"):
            value = finite_number(getattr(self, name), f"conduct {name}")
            if value < 0:
                raise InputError(f"conduct {name} is {value:g}; a hazard (a month) is 0 or more")
        if not (self.followup is None or isinstance(self.followup, Followup)):
            raise InputError(f"conduct followup is {brief(self.followup)}; give a Followup, or None for no cut-off")


@dataclass(frozen=True, eq=False)
class Course:
    """How it went for n patients; days from infusion, (n,), NaN where a thing never happens.

    evaluable    (n, v) whether a visit took place: neither missed nor after `last_day`
    followup_day, dropout_day, new_therapy_day, death_day    each by itself, also where another came before
    last_day     the first of data cut-off, dropout and death: nothing later is seen
    """

    evaluable: NDArray[np.bool_]
    followup_day: NDArray[np.float64]
    dropout_day: NDArray[np.float64]
    new_therapy_day: NDArray[np.float64]
    death_day: NDArray[np.float64]
    last_day: NDArray[np.float64]


def draw(conduct: Conduct, seed: int, start: int, stop: int, days: ArrayLike) -> Course:
    """The course of patients start..stop-1 with visits on `days` (v,), each drawn from its own stream.

    Visits on one day (to six digits) are one visit, missed for every measurement and in every call. Those at
    or before day 0 are never missed, since nobody enters a trial without a baseline.
    Raises `InputError` for days that are not a list of finite numbers, and for patients below 0.
    """
    visits = np.asarray(days)
    if visits.ndim != 1 or visits.dtype.kind not in "iuf" or not np.isfinite(visits).all():
        raise InputError(f"visit days are {brief(days)}; give a list of finite numbers")
    if not 0 <= start <= stop:
        raise InputError(f"patients {start} to {stop}: patients are numbered from 0, and start <= stop")
    never = np.full(stop - start, np.nan)

    def waiting(event: str, hazard: float) -> NDArray[np.float64]:
        if hazard == 0:
            return never
        return -np.log1p(-uniforms(seed, f"conduct/{event}", start, stop)) / hazard * MONTH

    followup_day = never
    if conduct.followup is not None:
        span = conduct.followup
        share = uniforms(seed, "conduct/followup", start, stop)
        followup_day = MONTH * np.interp(share, (0, 0.5, 1), (span.shortest, span.median, span.longest))
    dropout_day, death_day = waiting("dropout", conduct.dropout), waiting("death", conduct.death)
    last_day = np.fmin(np.fmin(followup_day, dropout_day), death_day)
    evaluable = ~(visits > last_day[:, None])
    if conduct.missed:
        for visit, day in enumerate(visits):
            if day > 0:
                share = uniforms(seed, f"conduct/missed/{day:g}", start, stop)
                evaluable[:, visit] &= share >= conduct.missed
    new_therapy_day = waiting("new_therapy", conduct.new_therapy)
    return Course(evaluable, followup_day, dropout_day, new_therapy_day, death_day, last_day)

"""How a trial goes for each patient: visits missed, dropout, new therapy, death, and the cut-offs.

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
    early_death    further hazard of death, a month, during the first ``early_months``: of those who die soon after the
                   infusion, before a response can be confirmed or even assessed (they count as not evaluable)
    early_months   see early_death
    kinetics_cutoff  months by which the cut-off of transgene samples comes before the data cut-off

    Hazards are constant, so waiting times are exponential. Raises `InputError` for anything but finite
    numbers, a probability outside 0 to 1, a negative hazard or time, and a cut-off of samples without a data cut-off.
    """

    missed: float = 0.0
    dropout: float = 0.0
    new_therapy: float = 0.0
    death: float = 0.0
    followup: Followup | None = None
    early_death: float = 0.0
    early_months: float = 1.0
    kinetics_cutoff: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= finite_number(self.missed, "conduct missed") <= 1:
            raise InputError(f"conduct missed is {self.missed:g}; a probability is a number from 0 to 1")
        for name in ("dropout", "new_therapy", "death", "early_death"):
            value = finite_number(getattr(self, name), f"conduct {name}")
            if value < 0:
                raise InputError(f"conduct {name} is {value:g}; a hazard (a month) is 0 or more")
        if not (self.followup is None or isinstance(self.followup, Followup)):
            raise InputError(f"conduct followup is {brief(self.followup)}; give a Followup, or None for no cut-off")
        for name in ("early_months", "kinetics_cutoff"):
            value = finite_number(getattr(self, name), f"conduct {name}")
            if value < 0:
                raise InputError(f"conduct {name} is {value:g}; give months, 0 or more")
        if self.kinetics_cutoff and self.followup is None:
            raise InputError(
                f"conduct kinetics_cutoff is {self.kinetics_cutoff:g} months before the data cut-off, and there is "
                "none; give followup too"
            )


@dataclass(frozen=True, eq=False)
class Course:
    """How it went for n patients; days from infusion, (n,), NaN where a thing never happens.

    evaluable    (n, v) whether a visit took place: neither missed nor after `last_day`
    followup_day, dropout_day, new_therapy_day, death_day    each by itself, also where another came before
    last_day     the first of data cut-off, dropout and death: nothing later is seen
    sampled_day  the same with the cut-off of the transgene samples: no sample is later
    """

    evaluable: NDArray[np.bool_]
    followup_day: NDArray[np.float64]
    dropout_day: NDArray[np.float64]
    new_therapy_day: NDArray[np.float64]
    death_day: NDArray[np.float64]
    last_day: NDArray[np.float64]
    sampled_day: NDArray[np.float64]


def draw(
    conduct: Conduct,
    seed: int,
    start: int,
    stop: int,
    days: ArrayLike,
    *,
    attended: NDArray[np.float64] | None = None,
) -> Course:
    """The course of patients start..stop-1 with visits planned on `days` (v,), each drawn from its own stream.

    Visits on one day (to six digits) are one visit, missed for every measurement and in every call. Those at
    or before day 0 are never missed, since nobody enters a trial without a baseline. `attended` (n, v): the days on
    which they take place, if not on the planned ones.
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
    early = waiting("early_death", conduct.early_death)
    death_day = np.fmin(death_day, np.where(early < conduct.early_months * MONTH, early, np.nan))
    last_day = np.fmin(np.fmin(followup_day, dropout_day), death_day)
    sampled_day = np.fmin(last_day, followup_day - conduct.kinetics_cutoff * MONTH)
    evaluable = ~((visits if attended is None else attended) > last_day[:, None])
    if conduct.missed:
        for visit, day in enumerate(visits):
            if day > 0:
                share = uniforms(seed, f"conduct/missed/{day:g}", start, stop)
                evaluable[:, visit] &= share >= conduct.missed
    new_therapy_day = waiting("new_therapy", conduct.new_therapy)
    return Course(evaluable, followup_day, dropout_day, new_therapy_day, death_day, last_day, sampled_day)

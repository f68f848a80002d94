"""What a trial does with its patients: visits, assays, conduct, and the rules by which it is judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cartsim.endpoints.kinetics import AFTER_BLQ, LLOQ
from cartsim.endpoints.rules import IMWG2016, SinghLandmark, changed_settings
from cartsim.errors import InputError, brief, check_kind
from cartsim.schedule import KARMMA_KINETICS, KARMMA_RESPONSE
from cartsim.trial.assay import Assay
from cartsim.trial.conduct import Conduct
from cartsim.trial.windows import Window, attended_days, checked_window, possible_days, sample_spans, spans

ASSAYED = ("mprotein", "sbcma", "transgene")
CENSORING = ("fda", "ema")
SAMPLED_UNTIL = ("cut-off", "progression")


@dataclass(frozen=True)
class Visits:
    """When patients are seen; on KarMMa's days by default.

    Parameters
    ----------
    response, kinetics
        Planned days after infusion of response assessments and transgene samples.
    landmarks
        Months of the response snapshots, seen at the nearest visit within half a month.
    window
        Whole days before and after the planned day within which assessments take place, such as (-3, 7). Each day is as
        likely, drawn for each patient and visit. Windows that would overlap end half-way between the planned days; none
        begins before day 1.
    kinetics_window
        The same of samples on other days than those of assessments; as samples of the first weeks are taken on their
        day, none by default. A sample planned on the day of an assessment is taken at it.

    Raises
    ------
    InputError
        For times that do not increase from above 0, windows that do not hold the planned day, and samples that might
        change places.
    """

    response: tuple[float, ...] = KARMMA_RESPONSE
    kinetics: tuple[float, ...] = KARMMA_KINETICS
    landmarks: tuple[float, ...] = (6.0, 21.0)
    window: Window = (0, 0)
    kinetics_window: Window = (0, 0)

    def __post_init__(self) -> None:
        for what in ("response", "kinetics", "landmarks"):
            try:
                values = [float(day) for day in getattr(self, what)]
            except (TypeError, ValueError):
                raise InputError(f"{what} visits {brief(getattr(self, what))}: give a list of times after 0") from None
            if not values or not all(0 < day < math.inf for day in values) or sorted(set(values)) != values:
                raise InputError(f"{what} visits {values}: give increasing times after 0, at least one")
            object.__setattr__(self, what, tuple(values))
        for what in ("window", "kinetics_window"):
            object.__setattr__(self, what, checked_window(getattr(self, what), f"the {what.replace('_', ' ')}"))
        _ = self.spans  # checks that samples keep their order

    @property
    def windows(self) -> bool:
        """Whether a visit may take place on another day than the planned one."""
        return any((*self.window, *self.kinetics_window))

    @cached_property
    def spans(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(v, 2) and (k, 2): first and last day of the window of each assessment and sample, from the planned day."""
        of_response = spans(self.response, self.window)
        return of_response, sample_spans(self.kinetics, self.kinetics_window, self.response, of_response)

    def possible(self) -> NDArray[np.float64]:
        """All days, increasing, on which an assessment or a sample may take place."""
        return np.unique(
            np.concatenate(
                [possible_days(*each) for each in zip((self.response, self.kinetics), self.spans, strict=True)]
            )
        )

    def attended(self, seed: int, start: int, stop: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Days of the assessments (v,) and samples (k,) of patients start..stop-1; with windows (n, v) and (n, k)."""
        planned = self.response, self.kinetics
        if not self.windows:
            return np.array(planned[0]), np.array(planned[1])
        response, kinetics = (
            attended_days(days, span, seed, start, stop) for days, span in zip(planned, self.spans, strict=True)
        )
        return response, kinetics


@dataclass(frozen=True)
class Rules:
    """By what a trial is judged.

    Parameters
    ----------
    response, landmark
        Criteria of best response and progression, and bins of the response snapshots.
    censoring
        Of progression-free survival, "fda" or "ema". Best response ends at a new therapy under both. Progression at
        the last visit before a new therapy, which no visit confirms, is an event only with
        ``IMWG2016(pd_confirmed_by_therapy=True)``.
    lloq
        Limit of quantification of the transgene, copies/ug; by default that of the trial's assay (its ``loq``), 50 for
        an assay without one.
    censor_no_baseline
        Whether a death without a baseline is censored on day 0; by default as the censoring rule has it (fda does).
    after_blq
        What AUC0-28 takes after a last sample below ``lloq``: the regression's value on day 28 ("lambda_z", as
        Phoenix), or nothing ("zero").
    sampled_until
        Samples of transgene that count: all up to the cut-off ("cut-off"), or as in a trial whose patients leave the
        schedule of samples with progression or a new therapy, those up to it ("progression").
    """

    response: IMWG2016 = field(default_factory=IMWG2016)
    landmark: SinghLandmark = field(default_factory=SinghLandmark)
    censoring: str = "fda"
    lloq: float | None = None
    censor_no_baseline: bool | None = None
    after_blq: str = AFTER_BLQ[0]
    sampled_until: str = SAMPLED_UNTIL[0]

    def __post_init__(self) -> None:
        check_kind("response", self.response, IMWG2016, "IMWG2016(...)")
        check_kind("landmark", self.landmark, SinghLandmark, "SinghLandmark(...)")
        if not (self.lloq is None or (isinstance(self.lloq, Real) and 0 <= self.lloq < math.inf)):
            raise InputError(f"lloq is {brief(self.lloq)}; give copies/µg, 0 or more, or None for the assay's own")
        if self.censoring not in CENSORING:
            raise InputError(f"censoring {brief(self.censoring)} is not known; it is {' or '.join(CENSORING)}")
        if self.censor_no_baseline not in (None, True, False):
            raise InputError(f"censor_no_baseline is {self.censor_no_baseline!r}; give True, False or None")
        if self.after_blq not in AFTER_BLQ:
            raise InputError(f"after_blq is {self.after_blq!r}; it is {' or '.join(AFTER_BLQ)}")
        if self.sampled_until not in SAMPLED_UNTIL:
            raise InputError(f"sampled_until is {brief(self.sampled_until)}; it is {' or '.join(SAMPLED_UNTIL)}")

    def further(self) -> dict[str, Any]:
        """The settings beside those of response criteria and landmark bins."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("response", "landmark")}

    def changed(self) -> str:
        """The settings that differ from the defaults: "ife_limit=0.1 censoring=ema", or "default"."""
        own = changed_settings(self, [f for f in fields(self) if f.name in self.further()])
        return " ".join([*changed_settings(self.response), *changed_settings(self.landmark), *own]) or "default"


@dataclass(frozen=True)
class Protocol:
    """How a trial is carried out and judged.

    Parameters
    ----------
    visits
        When responses are assessed and transgene is sampled.
    assays
        Measurement error of ``mprotein`` (g/L), ``sbcma`` (relative to baseline) and ``transgene`` (copies/ug).
    conduct
        Missed visits, dropout, cut-off, new therapy, deaths.
    rules
        By what it is judged.

    Raises
    ------
    InputError
        For an assay of anything else.
    """

    visits: Visits = field(default_factory=Visits)
    assays: Mapping[str, Assay] = field(default_factory=dict)
    conduct: Conduct = field(default_factory=Conduct)
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        for name, kind in (("visits", Visits), ("conduct", Conduct), ("rules", Rules)):
            check_kind(f"protocol {name}", getattr(self, name), kind, f"{kind.__name__}(...)")
        check_kind("protocol assays", self.assays, Mapping, 'a mapping, such as {"transgene": Assay(cv=0.3)}')
        for name, assay in self.assays.items():
            if name not in ASSAYED:
                raise InputError(f"an assay of {name!r}; assays are of mprotein, sbcma or transgene")
            check_kind(f"the assay of {name}", assay, Assay, "Assay(...), such as Assay(cv=0.3)")

    @property
    def lloq(self) -> float:
        """Limit of quantification of the transgene, copies/ug: of the rules, else of the assay, else 50."""
        own = self.assays.get("transgene", Assay()).loq
        return next((limit for limit in (self.rules.lloq, own) if limit is not None), LLOQ)

    def judged_by(self, rules: Rules) -> Protocol:
        """The same trial under other rules; its own limit of quantification stays where they say nothing of it."""
        return replace(self, rules=replace(rules, lloq=self.lloq if rules.lloq is None else rules.lloq))

"""What a trial does with its patients: visits, assays, conduct, and the rules by which it is judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import Any

from cartsim.endpoints.kinetics import AFTER_BLQ, LLOQ
from cartsim.endpoints.rules import IMWG2016, SinghLandmark, changed_settings
from cartsim.errors import InputError, brief, check_kind
from cartsim.schedule import KARMMA_KINETICS, KARMMA_RESPONSE
from cartsim.trial.assay import Assay
from cartsim.trial.conduct import Conduct

ASSAYED = ("mprotein", "sbcma", "transgene")
CENSORING = ("fda", "ema")


@dataclass(frozen=True)
class Visits:
    """Days after infusion of response assessments and transgene samples; KarMMa's by default.

    ``landmarks`` are the months of the response snapshots, seen at the nearest visit within half a month. Raises
    `InputError` for times that do not increase from above 0.
    """

    response: tuple[float, ...] = KARMMA_RESPONSE
    kinetics: tuple[float, ...] = KARMMA_KINETICS
    landmarks: tuple[float, ...] = (6.0, 21.0)

    def __post_init__(self) -> None:
        for what in ("response", "kinetics", "landmarks"):
            try:
                values = [float(day) for day in getattr(self, what)]
            except (TypeError, ValueError):
                raise InputError(f"{what} visits {brief(getattr(self, what))}: give a list of times after 0") from None
            if not values or not all(0 < day < math.inf for day in values) or sorted(set(values)) != values:
                raise InputError(f"{what} visits {values}: give increasing times after 0, at least one")
            object.__setattr__(self, what, tuple(values))


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
    """

    response: IMWG2016 = field(default_factory=IMWG2016)
    landmark: SinghLandmark = field(default_factory=SinghLandmark)
    censoring: str = "fda"
    lloq: float | None = None
    censor_no_baseline: bool | None = None
    after_blq: str = AFTER_BLQ[0]

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

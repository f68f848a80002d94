"""What a trial does with its patients: visits, assays, conduct, and the rules by which it is judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from cartsim.endpoints.kinetics import LLOQ
from cartsim.endpoints.rules import IMWG2016, SinghLandmark
from cartsim.errors import InputError
from cartsim.schedule import KARMMA_KINETICS, KARMMA_RESPONSE
from cartsim.trial.assay import Assay
from cartsim.trial.conduct import Conduct

ASSAYED = ("mprotein", "sbcma", "transgene")
CENSORING = ("fda", "ema")


@dataclass(frozen=True)
class Visits:
    """Days after infusion of response assessments and transgene samples; KarMMa's by default.

    ``landmarks`` are the months of the response snapshots. Raises `InputError` for times that do not increase from
    above 0.
    """

    response: tuple[float, ...] = KARMMA_RESPONSE
    kinetics: tuple[float, ...] = KARMMA_KINETICS
    landmarks: tuple[float, ...] = (6.0, 21.0)

    def __post_init__(self) -> None:
        for what in ("response", "kinetics", "landmarks"):
            try:
                values = [float(day) for day in getattr(self, what)]
            except (TypeError, ValueError):
                raise InputError(f"{what} visits {getattr(self, what)!r}: give a list of times after 0") from None
            if not values or not all(0 < day < math.inf for day in values) or sorted(set(values)) != values:
                raise InputError(f"{what} visits {values}: give increasing times after 0, at least one")
            object.__setattr__(self, what, tuple(values))


@dataclass(frozen=True)
class Rules:
    """By what a trial is judged: response criteria, landmark bins, censoring ("fda" or "ema"), transgene's LLOQ."""

    response: IMWG2016 = field(default_factory=IMWG2016)
    landmark: SinghLandmark = field(default_factory=SinghLandmark)
    censoring: str = "fda"
    lloq: float = LLOQ

    def __post_init__(self) -> None:
        if self.censoring not in CENSORING:
            raise InputError(f"censoring {self.censoring!r} is not known; it is {' or '.join(CENSORING)}")

    def changed(self) -> str:
        """The settings that differ from the defaults: "ife_limit=0.1 censoring=ema", or "default"."""
        plain = Rules()
        settings: list[tuple[Any, Any, str]] = [
            (part, default, f.name)
            for part, default in ((self.response, plain.response), (self.landmark, plain.landmark))
            for f in fields(part)
        ]
        settings += [(self, plain, name) for name in ("censoring", "lloq")]
        return (
            " ".join(
                f"{name}={getattr(part, name)}"
                for part, default, name in settings
                if getattr(part, name) != getattr(default, name)
            )
            or "default"
        )


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
            if not isinstance(getattr(self, name), kind):
                raise InputError(f"protocol {name} is {getattr(self, name)!r}; give {kind.__name__}(...)")
        for name in self.assays:
            if name not in ASSAYED:
                raise InputError(f"an assay of {name!r}; assays are of mprotein, sbcma or transgene")

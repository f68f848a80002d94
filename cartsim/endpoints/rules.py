"""Response categories, and the rules they are judged by: frozen objects with named settings.

* `IMWG2016`: the serum M-protein part of the IMWG criteria (Kumar 2016, doi:10.1016/S1470-2045(16)30206-6),
  with confirmation; for `judge` and `judge_each` of `cartsim.endpoints.response` and for `cartsim.respond`.
* `SinghLandmark`: the snapshot of Singh 2021 (doi:10.1002/psp4.12598, Figure 6) against baseline, without
  confirmation; for `landmark` of the same file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError, brief, choices


class Response(IntEnum):
    """Response categories, worse to better; NE is not evaluable."""

    NE = 0
    PD = 1
    SD = 2
    MR = 3
    PR = 4
    VGPR = 5
    CR = 6


def labels(codes: ArrayLike) -> NDArray[np.str_]:
    """The names ("NE", "PD", ..., "CR") of response codes, in the codes' shape."""
    names: NDArray[np.str_] = np.array([category.name for category in Response])[np.asarray(codes)]
    return names


@dataclass(frozen=True)
class IMWG2016:
    """The serum M-protein part of the IMWG 2016 criteria; concentrations in g/L.

    ife_limit       CR at or below it (negative on immunofixation)
    spep_limit      VGPR below it, whatever the fall (not seen on electrophoresis)
    mr_fall, pr_fall, vgpr_fall    least fall from baseline, as a fraction
    pd_rise, pd_absolute    PD: least rise above the lowest confirmed value, both as a fraction and in g/L
    high_nadir, high_nadir_rise    from a lowest confirmed value of high_nadir up, high_nadir_rise is enough
    measurable      least baseline of measurable disease; others are flagged, and judged all the same
    confirm         response and progression need the next assessment to agree
    nadir_confirmed    PD is counted from the lowest confirmed value; False: from the lowest value
    nadir_lower     of two assessments that confirm a response, the lower value is the confirmed one; False: the higher
    pd_confirmed_by_death, pd_confirmed_by_therapy    what follows PD at the last assessment confirms it

    Raises `InputError` for a setting that is not a number, negative or out of order.
    """

    name: ClassVar[str] = "imwg2016"

    ife_limit: float = 0.2
    spep_limit: float = 1.0
    mr_fall: float = 0.25
    pr_fall: float = 0.50
    vgpr_fall: float = 0.90
    pd_rise: float = 0.25
    pd_absolute: float = 5.0
    high_nadir: float = 50.0
    high_nadir_rise: float = 10.0
    measurable: float = 10.0
    confirm: bool = True
    nadir_confirmed: bool = True
    nadir_lower: bool = False
    pd_confirmed_by_death: bool = False
    pd_confirmed_by_therapy: bool = False

    def __post_init__(self) -> None:
        _check_settings(self)
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0:
                raise InputError(f"{self.name}: {field.name} is {value}; it must be 0 or more")
        if not 0 < self.mr_fall < self.pr_fall < self.vgpr_fall <= 1:
            raise InputError(
                f"{self.name}: the falls must be fractions with 0 < mr_fall < pr_fall < vgpr_fall <= 1, not "
                f"{self.mr_fall}, {self.pr_fall}, {self.vgpr_fall}"
            )
        if not self.pd_rise + self.pd_absolute > 0:
            raise InputError(f"{self.name}: pd_rise and pd_absolute are both 0; progression needs a rise")


@dataclass(frozen=True)
class SinghLandmark:
    """The bins of Singh 2021 at a landmark, in percent change from baseline.

    PD above `pd`, MR from `mr` down, PR from `pr` down, VGPR from `vgpr` down, CR below `cr`, else SD. The
    CR cut-off is not in the paper and CR rates hang on it; with `cr_limit` (g/L) CR is M-protein at or below
    that limit instead, and `landmark` needs the baseline.

    Raises `InputError` for a setting that is not a number or out of order.
    """

    name: ClassVar[str] = "singh_landmark"

    pd: float = 25.0
    mr: float = -25.0
    pr: float = -50.0
    vgpr: float = -90.0
    cr: float = -99.0
    cr_limit: float | None = None

    def __post_init__(self) -> None:
        _check_settings(self)
        if not self.pd > self.mr > self.pr > self.vgpr >= self.cr >= -100:
            raise InputError(
                f"{self.name}: the bins must fall, pd > mr > pr > vgpr >= cr >= -100, not "
                f"{self.pd}, {self.mr}, {self.pr}, {self.vgpr}, {self.cr}"
            )
        if self.cr_limit is not None and self.cr_limit < 0:
            raise InputError(f"{self.name}: cr_limit is {self.cr_limit}; it must be 0 or more, in g/L")


Rules = IMWG2016 | SinghLandmark
_RULES: dict[str, type[IMWG2016] | type[SinghLandmark]] = {r.name: r for r in (IMWG2016, SinghLandmark)}
_SWITCH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def rules_from(name: str, settings: Mapping[str, str | float | bool | None] | None = None) -> Rules:
    """The rules called `name` ("imwg2016" or "singh_landmark") with settings as numbers, switches or text.

    Raises `InputError` for an unknown name or setting, or a value that cannot be read.
    """
    if name not in _RULES:
        raise InputError(f"no rules are called {name!r}; choose from {', '.join(_RULES)}")
    kind = _RULES[name]
    defaults = {field.name: field.default for field in fields(kind)}
    values: dict[str, Any] = {}
    for setting, value in (settings or {}).items():
        if setting not in defaults:
            raise InputError(f"{name} has no setting {setting!r}{choices(setting, defaults)}")
        values[setting] = _parsed(f"{name}: {setting}", value, defaults[setting])
    return kind(**values)


def label(rules: Rules) -> str:
    """The rules' name and the settings that differ from the defaults: "imwg2016 ife_limit=0.1"."""
    return " ".join([rules.name, *changed_settings(rules)])


def changed_settings(rules: Any, among: Sequence[Field[Any]] | None = None) -> list[str]:
    """The settings of a dataclass, or some of them, that differ from the defaults: ["ife_limit=0.1"]."""
    values = {f.name: (getattr(rules, f.name), f.default) for f in among or fields(rules)}
    return [f"{name}={value}" for name, (value, default) in values.items() if value != default]


def switch(what: str, text: str) -> bool:
    """True or False of a text such as "true" or "no"; InputError for another."""
    if text.strip().lower() not in _SWITCH:
        raise InputError(f"{what} is {text!r}; write true or false")
    return _SWITCH[text.strip().lower()]


def _parsed(what: str, value: Any, default: Any) -> Any:
    """A setting's text as what its default is; values that are not text are left to the rules to check."""
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if isinstance(default, bool):
        return switch(what, value)
    if default is None and text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{what} is {brief(value)}; write a number") from None


def _check_settings(rules: Rules) -> None:
    for field in fields(rules):
        value = getattr(rules, field.name)
        if isinstance(field.default, bool):
            if not isinstance(value, bool | np.bool_):
                raise InputError(f"{rules.name}: {field.name} is {brief(value)}; it must be True or False")
        elif not (value is None and field.default is None):
            number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
            if not number or not math.isfinite(value):
                raise InputError(f"{rules.name}: {field.name} is {brief(value)}; it must be a finite number")

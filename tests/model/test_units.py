"""Units of formulas: strict, and clear about what does not match."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartsim.errors import InputError
from cartsim.model.expression import parse
from cartsim.model.units import parse_unit, same_unit, unit_of, unit_text

UNITS = {
    name: parse_unit(text, "here")
    for name, text in {
        "k": "1/day",
        "N": "cell/L",
        "V": "L",
        "Kon": "1/M/s",
        "s_per_day": "s/day",
        "NA": "molecule/mol",
        "part": "1",
        "pct": "percent",
        "M": "g/L",
        "time": "day",
        "tau": "h",
        "h_per_day": "h/day",
    }.items()
}


@pytest.mark.parametrize(
    ("formula", "unit"),
    [
        ("k*N", "cell/L/day"),
        ("N*V", "cell"),
        ("Kon*s_per_day/NA", "L/(molecule*day)"),
        ("exp(k*time)", "1"),
        ("part**part", "1"),
        ("N**2/N", "cells/L"),
        ("sqrt(N*N)", "cell/L"),
        ("2*N - N/3", "cell/L"),
        ("-N + 0", "cell/L"),
        ("0 - N", "cell/L"),
        ("pct*part", "percent"),
        ("tau/h_per_day", "day"),
        ("2**(time*k)", "1"),
        ("N**-2", "L**2/cell**2"),
        ("(N/N)**0.5", "1"),
        ("log(2)*k", "1/day"),
        ("N**1.0", "cell/L"),
    ],
)
def test_unit(formula, unit):
    assert same_unit(unit_of(parse(formula, "here"), UNITS, "here"), parse_unit(unit, "here"))


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("k + N", r"joins 1 / day and cell / liter"),
        ("N + 1", "joins cell / liter and dimensionless"),
        ("time + tau", "joins day and hour"),
        ("part + pct", "joins dimensionless and percent"),
        ("exp(N)", "argument of exp"),
        ("log(pct)", "argument of log"),
        ("N**0.5", "base of a power"),
        ("N**part", "base of a power"),
        ("part**N", "an exponent must be dimensionless"),
        ("2**pct", "an exponent"),
        ("N/0", "divides by zero"),
        ("exp(k*tau)", "argument of exp"),
    ],
)
def test_mismatch(formula, message):
    with pytest.raises(InputError, match=rf"^here: .*{message}"):
        unit_of(parse(formula, "here"), UNITS, "here")


@pytest.mark.parametrize("formula", ["0", "0.0", "0*N", "-0", "0/N"])
def test_zero_fits_any_unit(formula):
    unit = unit_of(parse(formula, "here"), UNITS, "here")
    assert unit is None
    assert same_unit(unit, UNITS["N"])
    assert unit_text(unit) == "any unit"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("cells/L", "cell/L", True),
        ("copies/ug", "copy/ug", True),
        ("L", "mm3", False),
        ("uL", "mm3", True),
        ("1/M/s", "L/mol/s", True),
        ("percent", "1", False),
        ("day", "h", False),
        ("month", "day", False),
        ("cell", "molecule", False),
        ("cell", "1", False),
        ("nM", "M", False),
        ("mg/mL", "g/L", True),
        ("1", "g/g", True),
        ("week*1", "week", True),
        ("L**2/L", "L", True),
    ],
)
def test_equal_units(one, other, same):
    assert same_unit(parse_unit(one, "here"), parse_unit(other, "here")) is same


def test_conversion_factors_agree_with_pints_own_registry():
    import pint

    reference = pint.UnitRegistry()
    for name in ("min", "hour", "day", "week", "year", "mL", "uL", "mg", "pg", "nmol", "nM", "percent", "kg"):
        ours = parse_unit(name, "here")._REGISTRY.Quantity(1.0, name).to_base_units()
        # base units differ by a power of ten (pint's mass is in grams here, in kilograms there)
        theirs = reference.Quantity(1.0, name).to_base_units()
        factor = 1e3 if "kilogram" in str(theirs.units) else 1.0
        assert ours.magnitude == pytest.approx(theirs.magnitude * factor, rel=1e-12), name


@pytest.mark.parametrize(
    "text",
    [
        "furlong",
        "cels/L",
        "2*L",
        "1000",
        "L**0.5",
        "L**99",
        "L + L",
        "exp(L)",
        "-L",
        "",
        "L**L",
        "1/0",
        "os.system",
        "s**9**9**9",
        "day day",
        "%",
        "None",
        "nan",
        "kkg",
    ],
)
def test_bad_units(text):
    with pytest.raises(InputError, match=r"^here: "):
        parse_unit(text, "here")


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="Ldaycelsmug1/*()-9 _.", max_size=12))
def test_any_text_is_a_unit_or_refused(text):
    try:
        unit = parse_unit(text, "here")
    except InputError:
        return
    assert same_unit(unit, unit)

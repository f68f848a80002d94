"""Reading, checking and freezing model files, with every way in which a file or a value can be wrong."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartsim.errors import InputError
from cartsim.model import reader as model_module
from cartsim.model.reader import Model, Variability, load, names

TEXT = """
[model]
name = "small"
source = "nobody"
time = "day"

[constants.h_per_day]
value = 24
unit = "h/day"
source = "defined"

[parameters.k]
value = 0.5
unit = "1/day"
rse = 0.1
iiv = { distribution = "lognormal", omega = 0.3 }
low = 0
source = "Table 1"

[parameters.V]
value = 5
unit = "L"
low = 1
high = 10
source = "Table 1"

[parameters.start]
value = "per_percent*burden"
unit = "cell/L"
high = 150
source = "deduced"

[parameters.per_percent]
value = 2
unit = "cell/L/percent"
source = "deduced"

[covariates.burden]
value = 50
unit = "percent"
low = 0.01
high = 100
source = "assumed"

[unused.Pm]
value = 12.1
unit = "g/day"
source = "Table 1"
doc = "cancels"

[definitions]
loss = "leave*A"
leave = "k*N/(N + A)"

[states.A]
unit = "cell/L"
scale = "log"
initial = 0
seed = "1e-6"
rate = "-loss"
volume = "V"

[states.N]
unit = "cell/L"
scale = "linear"
initial = "start"
rate = "-k*N"
negligible = 1e-3
ceiling = 1e9

[outputs.double]
unit = "cell/L"
value = "2*A"

[dosing]
state = "A"
per_dose = "1/V"
dose = 100
unit = "cell"

[variants.fast.parameters]
k = 2

[variants.big.parameters]
V = 10

[variants.big.covariates]
burden = 60

[variants.wide.parameters.k]
iiv = { distribution = 'lognormal', omega = 1.2 }
rse = 0.5
source = "Table 2"
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "small.toml") -> str:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def small(write) -> Model:
    return load(write(TEXT))


def swapped(old: str, new: str) -> str:
    assert TEXT.count(old) == 1, f"{old!r} must occur once"
    return TEXT.replace(old, new)


# --- what is read ------------------------------------------------------------------------------------


def test_everything_in_the_file_is_in_the_model(small):
    assert (small.name, small.source, small.time) == ("small", "nobody", "day")
    assert list(small.parameters) == ["h_per_day", "k", "V", "start", "per_percent", "burden"]
    assert [p.role for p in small.parameters.values()] == ["constant"] + 4 * ["parameter"] + ["covariate"]
    k = small.parameters["k"]
    assert (k.value, k.unit, k.rse, k.low, k.high, k.source) == (0.5, "1/day", 0.1, 0.0, None, "Table 1")
    assert (k.iiv.distribution, k.iiv.omega) == ("lognormal", 0.3)
    assert small.parameters["start"].expression.text == "per_percent*burden"
    assert small.parameters["start"].value is None
    assert list(small.states) == ["A", "N"]
    a, n = small.states.values()
    assert (a.scale, a.initial.text, a.seed.text, a.negligible, a.volume) == ("log", "0", "1e-6", 0.0, "V")
    assert (n.scale, n.seed, n.negligible, n.ceiling, n.volume) == ("linear", None, 1e-3, 1e9, None)
    assert small.outputs["double"].value.text == "2*A"
    assert (small.dosing.state, small.dosing.dose, small.dosing.unit) == ("A", 100.0, "cell")
    assert small.variants["fast"].values == {"k": 2.0}
    assert small.variants["big"].values == {"V": 10.0, "burden": 60.0}
    assert not any(variant.formulas for variant in small.variants.values())
    wide = small.variants["wide"].parameters["k"]
    assert wide == {"iiv": Variability("lognormal", 1.2), "rse": 0.5, "source": "Table 2"}
    assert (small.unused["Pm"].value, small.unused["Pm"].role) == (12.1, "unused")
    assert small.path.endswith("small.toml")


def test_definitions_come_after_what_they_use(small):
    assert list(small.definitions) == ["leave", "loss"]


def test_frozen_and_cheap_to_pickle(small):
    with pytest.raises(dataclasses.FrozenInstanceError):
        small.name = "other"
    clinical = load("bb2121_clinical")
    payload = pickle.dumps(clinical)
    assert len(payload) < 20_000  # with its variants
    assert len(pickle.dumps(clinical.variant("window_second_site"))) < 20_000
    assert pickle.loads(payload) == clinical
    assert pickle.loads(pickle.dumps(small.override({"k": 1}))) == small.override({"k": 1})


def test_load_takes_models_paths_names_and_variants(small, write):
    from pathlib import Path

    assert load(small) is small
    assert load(Path(small.path)) == small
    assert load(small.path + ":fast") == small.variant("fast")
    assert load(small.path + ":fast").parameters["k"].value == 2
    assert load("bb2121_clinical").name == "bb2121_clinical"
    assert load("bb2121_invitro:Daudi").parameters["Ag_tumor"].value == 1173
    assert names() == ["bb2121_clinical", "bb2121_invitro", "bb2121_xenograft"]


def test_a_file_without_doses_outputs_or_definitions(write):
    text = """
        [model]
        name = "decay"
        source = "nobody"
        time = "h"
        [parameters]
        k = { value = 1, unit = "1/h", source = "nobody" }
        [states.N]
        unit = "cell"
        scale = "log"
        initial = 10
        rate = "-k*N"
    """
    model = load(write(text))
    assert model.dosing is None
    assert model.outputs == model.definitions == model.variants == {}


# --- digest ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("value = 0.5", "value = 0.7"),
        ("omega = 0.3", "omega = 0.4"),
        ('source = "nobody"', 'source = "somebody"'),
        ("low = 1\n", "low = 2\n"),
        ("dose = 100", "dose = 5"),
        ("k = 2", "k = 3"),
        ("value = 12.1", "value = 12"),
    ],
)
def test_digest_ignores_values_and_words(small, write, old, new):
    assert load(write(swapped(old, new))).digest == small.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('rate = "-k*N"', 'rate = "-2*k*N"'),
        ('leave = "k*N/(N + A)"', 'leave = "k*N/(N + 2*A)"'),
        ('value = "2*A"', 'value = "3*A"'),
        ("[outputs.double]", "[outputs.twice]"),
        ("negligible = 1e-3", "negligible = 1"),
        ("ceiling = 1e9", "ceiling = 1e8"),
        ('seed = "1e-6"', 'seed = "1e-5"'),
        ('per_dose = "1/V"', 'per_dose = "2/V"'),
        ('initial = "start"', 'initial = "2*start"'),
        ('value = "per_percent*burden"', 'value = "burden*per_percent"'),
        ('state = "A"', 'state = "N"'),
        ("[unused.Pm]", "[parameters.Pm]"),
        ('volume = "V"', ""),
    ],
)
def test_digest_covers_the_mathematics(small, write, old, new):
    assert load(write(swapped(old, new))).digest != small.digest


def test_override_keeps_the_digest(small):
    assert small.override({"k": 1, "start": 3, "burden": 20}).digest == small.digest


# --- values ------------------------------------------------------------------------------------------


def test_typical_values(small):
    values = small.values({}, 3)
    assert (values.shape, values.dtype) == ((3, 6), np.float64)
    np.testing.assert_array_equal(values, np.tile([24, 0.5, 5, 100, 2, 50], (3, 1)))
    assert small.values({}, 0).shape == (0, 6)


@pytest.mark.parametrize("kind", [dict, pd.DataFrame])
def test_columns_and_derived_parameters(small, kind):
    table = kind({"id": ["a", "b"], "dose": [1.0, 2.0], "burden": [10, 20], "k": np.array([1, 2])})
    values = dict(zip(small.parameters, small.values(table, 2).T, strict=True))
    np.testing.assert_array_equal(values["k"], [1, 2])
    np.testing.assert_array_equal(values["burden"], [10, 20])
    np.testing.assert_array_equal(values["start"], [20, 40])
    np.testing.assert_array_equal(values["V"], [5, 5])


def test_a_given_derived_parameter_keeps_its_value(small):
    values = small.values({"start": [7, 8], "burden": 10}, 2)
    np.testing.assert_array_equal(values[:, list(small.parameters).index("start")], [7, 8])
    fixed = small.override({"start": 9}).values({"burden": [10, 20]}, 2)
    np.testing.assert_array_equal(fixed[:, list(small.parameters).index("start")], [9, 9])


def test_override_and_variant_leave_the_original(small):
    changed = small.override({"burden": 20})
    assert changed.values({}, 1)[0].tolist() == [24, 0.5, 5, 40, 2, 20]
    assert small.values({}, 1)[0].tolist() == [24, 0.5, 5, 100, 2, 50]
    assert small.variant("big").values({}, 1)[0].tolist() == [24, 0.5, 10, 120, 2, 60]
    assert small.override({"k": np.float64(2)}) == small.override({"k": 2})
    assert small.parameters["k"].iiv.omega == 0.3
    k = small.override({"k": 0.7}).variant("wide").parameters["k"]
    assert (k.value, k.iiv, k.rse, k.source) == (0.7, Variability("lognormal", 1.2), 0.5, "Table 2")
    assert small.variant("wide").digest == small.digest  # machine code depends on neither
    assert small.variant("wide").inputs() != small.inputs()
    assert small.variant("big").name == "small:big"
    assert small.override({}) == small


@pytest.mark.parametrize(
    ("table", "n", "message"),
    [
        ({"K": [1]}, 1, "no parameter 'K'; did you mean k?"),
        ({"burdn": [1]}, 1, "no parameter 'burdn'; did you mean burden?"),
        ({"Pm": [1]}, 1, "'Pm' does not enter the equations .* cancels; leave it out"),
        ({"A": [1]}, 1, "no parameter 'A'"),
        ({"k": [1, 2]}, 3, r"'k' has shape \(2,\), expected 3 values"),
        ({"k": [[1, 2, 3]]}, 3, r"'k' has shape \(1, 3\)"),
        ({"k": ["a", "b"]}, 2, "'k' must hold numbers only"),
        ({"k": [{}, 1]}, 2, "'k' must hold numbers only"),
        ({"k": [1, np.nan]}, 2, r"k = nan 1/day \(patient row 1\) is not allowed; give a finite number"),
        ({"k": [None, 1]}, 2, r"k = nan .*row 0"),
        ({"k": [np.inf, 1]}, 2, r"k = inf"),
        ({"k": [1, -1]}, 2, r"k = -1 1/day \(patient row 1\) is not allowed; give 0 or more"),
        ({"burden": [50, 101]}, 2, r"burden = 101 percent \(patient row 1\) is not allowed; give 0\.01 to 100"),
        ({"burden": 0}, 1, r"burden = 0 percent is not allowed; give 0\.01 to 100"),
        ({"burden": [50, 80]}, 2, r"start = 160 cell/L \(patient row 1\) is not allowed; give 150 or less"),
    ],
)
def test_bad_tables(small, table, n, message):
    with pytest.raises(InputError, match=message):
        small.values(table, n)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"burdn": 1}, "did you mean burden?"),
        ({"Pm": 1}, "does not enter"),
        ({"k": np.nan}, "k: must be a finite"),
        ({"k": "1"}, "k: must be a finite number, not '1'"),
        ({"k": None}, "must be a finite"),
        ({"k": True}, "finite"),
        ({"k": [1, 2]}, "finite"),
        ({"k": -1}, "k = -1 1/day is not allowed; give 0 or more"),
        ({"k": 0}, "k = 0 varies lognormally"),
        ({"V": 11}, "V = 11 L is not allowed; give 1 to 10"),
        ({"burden": 80}, "start = 160 cell/L is not allowed"),
        ({1: 1}, "no parameter 1"),
    ],
)
def test_bad_overrides(small, values, message):
    with pytest.raises(InputError, match=message):
        small.override(values)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 75), st.floats(0, 1e6))
def test_values_are_those_given(burden, k):
    model = load("bb2121_clinical")
    values = dict(zip(model.parameters, model.values({"burden": burden, "Kel_e": [k]}, 1)[0], strict=True))
    assert (values["burden"], values["Kel_e"], values["Tumor0"]) == (burden, k, 5e7 * burden)


# --- bad files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # sections and fields
        ("[definitions]", "[definition]", "unknown entry 'definition'; did you mean definitions?"),
        ('name = "small"\n', "", r"\[model\]: name missing"),
        ('time = "day"', 'time = ""', "model.time: must be text, not ''"),
        ("rse = 0.1", "rsd = 0.1", "parameters.k: unknown entry 'rsd'; did you mean rse?"),
        ("rse = 0.1", "rse = 0", "parameters.k.rse: 0 must be above 0"),
        ("rse = 0.1", "rse = true", "parameters.k.rse: must be a finite number, not True"),
        ('source = "assumed"', "", "covariates.burden: source missing; add it"),
        ('source = "assumed"', 'source = " "', "covariates.burden.source: must be text"),
        ('source = "defined"', "", "constants.h_per_day: source missing"),
        ('unit = "h/day"\nsource = "defined"', "", "constants.h_per_day: unit, source missing; add them"),
        ("value = 0.5", "", "parameters.k: value missing"),
        ("value = 0.5", "value = nan", "parameters.k.value: must be a finite number, not nan"),
        ("value = 0.5", "value = inf", "parameters.k.value: must be a finite number"),
        ("value = 0.5", "value = [1]", r"parameters.k.value: must be a finite number, not \[1\]"),
        ("value = 0.5", "value = 2020-01-01", "parameters.k.value: must be a finite number"),
        ("value = 24", 'value = "12*2"', "constants.h_per_day.value: must be a number here, not '12"),
        ("value = 12.1", 'value = "k"', "unused.Pm.value: must be a number here, not 'k'"),
        ("[variants.fast.parameters]\nk = 2", "[variants]\nfast = 2", "variants.fast: a variant is a table"),
        ('rate = "-loss"', "", "states.A: rate missing"),
        ("dose = 100", "dose = -1", "dosing.dose: -1 is negative"),
        ("dose = 100", "dose = nan", "dosing.dose: must be a finite number"),
        # limits and variability
        ("value = 0.5", "value = -0.5", "k = -0.5 1/day is not allowed; give 0 or more"),
        ("value = 0.5", "value = 0", "k = 0 varies lognormally, so its value must be above 0"),
        ("value = 50", "value = 120", "burden = 120 percent is not allowed; give 0.01 to 100"),
        ("value = 50", "value = 90", "start = 180 cell/L is not allowed; give 150 or less"),
        ("high = 10\n", "high = 4\n", "V = 5 L is not allowed; give 1 to 4"),
        ("V = 10\n", "V = 11\n", "V = 11 L is not allowed; give 1 to 10"),
        ("k = 2", "q = 2", "variants.fast: parameters.q: must be a table with value, unit, source, not 2"),
        ("k = 2", 'k = "2x"', "variants.fast: parameters.k.value: cannot read '2x'"),
        ("rse = 0.5", "rse = 0", "variants.wide: parameters.k.rse: 0 must be above 0"),
        ("rse = 0.5", "value = 0", "k = 0 varies lognormally"),
        ("rse = 0.5", "value = nan", "variants.wide: parameters.k.value: must be a finite number"),
        ("rse = 0.5", "units = 'h'", "variants.wide: parameters.k: unknown entry 'units'"),
        ('rse = 0.5\nsource = "Table 2"', "", "variants.wide.parameters.k: source missing; add it"),
        ("omega = 1.2", "omega = -1.2", "variants.wide: parameters.k.iiv.omega: -1.2 is negative"),
        (
            "'lognormal'",
            "'uniform', low = 1",
            "variants.wide: parameters.k.iiv: a uniform distribution has low and high, no omega",
        ),
        ("omega = 0.3", "omega = -0.3", "parameters.k.iiv.omega: -0.3 is negative"),
        ("omega = 0.3", "omega = nan", "parameters.k.iiv.omega: must be a finite number"),
        (", omega = 0.3", "", "parameters.k.iiv: a lognormal distribution needs omega"),
        ("omega = 0.3", "omega = 0.3, low = 0", "a lognormal distribution has no low or high"),
        ('"lognormal"', '"lognormall"', "iiv.distribution: 'lognormall' is not one of lognormal, normal"),
        ('"lognormal"', "[]", r"iiv.distribution: \[\] is not one of"),
        ('"lognormal"', '"logitnormal"', "k: a logitnormal distribution needs low and high"),
        ('"lognormal", omega = 0.3', '"uniform", low = 0.5, high = 1', "k = 0.5 must lie between the limits 0.5 and 1"),
        ('"lognormal", omega = 0.3', '"uniform", omega = 0.3', "a uniform distribution has low and high, no omega"),
        ('{ distribution = "lognormal", omega = 0.3 }', "0.3", "parameters.k.iiv: must be a table"),
        (
            '"lognormal", omega = 0.3',
            '"bernoulli", omega = 0.3',
            "k.iiv: a bernoulli distribution has no omega, low or high",
        ),
        (
            '0.5\nunit = "1/day"\nrse = 0.1\niiv = { distribution = "lognormal", omega = 0.3',
            '1.5\nunit = "1/day"\niiv = { distribution = "bernoulli"',
            "k = 1.5 is the share of patients of a bernoulli",
        ),
        # names
        ("[parameters.V]", "[parameters.N]", "states.N: the name 'N' is taken by parameters.N"),
        ("[outputs.double]", "[outputs.A]", "outputs.A: the name 'A' is taken by states.A"),
        ("[parameters.V]", "[parameters.time]", "the name 'time' is taken by cartsim"),
        ("[parameters.V]", "[parameters.exp]", "the name 'exp' is taken by cartsim"),
        ("[parameters.V]", "[parameters.id]", "the name 'id' is taken by cartsim"),
        ("[parameters.V]", '[parameters."V b"]', "'V b' cannot be a name"),
        ("[parameters.V]", '[parameters."a\\nb"]', "cannot be a name"),
        ("[parameters.V]", "[parameters.lambda]", "'lambda' cannot be a name"),
        ("[parameters.V]", "[parameters.__V]", "'__V' cannot be a name"),
        ("[parameters.V]", "[parameters._V]", "'_V' cannot be a name"),
        # formulas
        ('rate = "-loss"', 'rate = "-los"', "states.A.rate: undefined name 'los'; did you mean loss?"),
        ('rate = "-loss"', 'rate = "-loss*double"', "states.A.rate: undefined name 'double'"),
        ('rate = "-loss"', 'rate = "-loss*Pm"', "states.A.rate: undefined name 'Pm'"),
        ('rate = "-loss"', "rate = \"__import__('os').system('true')\"", "states.A.rate: .* not allowed"),
        ('rate = "-loss"', 'rate = "k.real*A"', "states.A.rate: 'k.real' is not allowed"),
        ('rate = "-loss"', 'rate = "max(k, 1)*A"', r"states.A.rate: 'max\(k, 1\)' is not allowed"),
        ('rate = "-loss"', "rate = true", "states.A.rate: a formula must be text or a number"),
        ('loss = "leave*A"', 'loss = "leave[0]"', "definitions.loss: 'leave\\[0\\]' is not allowed"),
        ('loss = "leave*A"', 'loss = "leave*B"', "definitions.loss: undefined name 'B'"),
        ('leave = "k*N/(N + A)"', 'leave = "k*loss/loss"', "definitions: circular: l.* -> l.* -> l.*break the circle"),
        ('leave = "k*N/(N + A)"', 'leave = "k*leave/leave"', "definitions: circular: leave -> leave"),
        ("value = 2\n", 'value = "start/burden"\n', "circular: .*start.* break the circle"),
        ('value = "per_percent*burden"', 'value = "per_percent*N"', "start.value: 'N' cannot be used here, only param"),
        ('value = "per_percent*burden"', 'value = "leave*V"', "start.value: 'leave' cannot be used here"),
        ('value = "per_percent*burden"', 'value = "per_percent*time"', "start.value: 'time' cannot be used here"),
        ('value = "per_percent*burden"', 'value = "per_percent*log(burden/burden - 1)"', "start = -inf"),
        ('initial = "start"', 'initial = "start + A"', "states.N.initial: 'A' cannot be used here, only what does not"),
        ('initial = "start"', 'initial = "leave"', "states.N.initial: 'leave' cannot be used here"),
        ('per_dose = "1/V"', 'per_dose = "1/V*time"', "dosing.per_dose: 'time' cannot be used here"),
        ('volume = "V"', 'volume = "W"', "states.A.volume: no parameter 'W'"),
        ('volume = "V"', 'volume = "leave"', "states.A.volume: no parameter 'leave'"),
        ('state = "A"', 'state = "C"', "dosing.state: no state 'C'"),
        # states
        ('scale = "log"', 'scale = "ln"', "states.A.scale: 'ln' is not one of log, linear"),
        ('seed = "1e-6"', "", "states.A: a log-scaled state that starts at 0 needs a seed"),
        ("negligible = 1e-3", "", r"states.N: a linear state needs negligible, the size \(in cell/L\)"),
        ("negligible = 1e-3", "negligible = 0", "states.N.negligible: 0 must be above 0"),
        ("negligible = 1e-3", 'negligible = 1e-3\nseed = "1"', "states.N.seed: only for log-scaled states"),
        ('seed = "1e-6"', 'seed = "1e-6"\nnegligible = 1', "states.A.negligible: only for linear states"),
        ("ceiling = 1e9", "ceiling = -1", "states.N.ceiling: -1 must be above 0"),
        # units
        (
            'unit = "1/day"',
            'unit = "1/h"',
            "'-loss' has unit cell / hour / liter, wanted is cell / day / liter; .* constant of hour / day",
        ),
        ('unit = "1/day"', 'unit = "1/dya"', "k.unit: unknown unit 'dya' in '1/dya'; use s, min"),
        ('unit = "1/day"', 'unit = ""', "parameters.k.unit: must be text"),
        ('unit = "g/day"', 'unit = "g/dat"', "Pm.unit: unknown unit 'dat'"),
        ('time = "day"', 'time = "L"', "model.time: 'L' is no unit of time"),
        ('time = "day"', 'time = "h"', "wanted is cell / hour / liter"),
        ('leave = "k*N/(N + A)"', 'leave = "k*N/(N + 1)"', "definitions.leave: 'N \\+ 1' joins"),
        ('rate = "-loss"', 'rate = "-leave"', "states.A.rate: '-leave' has unit 1 / day, wanted is"),
        ('value = "2*A"', 'value = "2*A*V"', "outputs.double.value: '2\\*A\\*V' has unit cell, wanted is cell / liter"),
        ('per_dose = "1/V"', 'per_dose = "1"', "dosing.per_dose: '1' has unit dimensionless, wanted is 1 / liter"),
        ('volume = "V"', 'volume = "k"', "states.A.volume: 'A\\*k' has unit"),
        ('seed = "1e-6"', 'seed = "1e-6*V"', "states.A.seed: .* has unit liter, wanted is cell / liter"),
        ('initial = "start"', 'initial = "start*V"', "states.N.initial: .* has unit cell, wanted is cell / liter"),
        ('value = "per_percent*burden"', 'value = "per_percent"', "parameters.start.value: 'per_percent' has unit"),
    ],
)
def test_bad_files(write, old, new, message):
    with pytest.raises(InputError, match=rf"^small\.toml: .*{message}") as caught:
        load(write(swapped(old, new)))
    assert "\n" not in str(caught.value)


def test_no_states(write):
    text = TEXT.split("[states.A]")[0].split("[definitions]")[0] + "[states]\n"
    with pytest.raises(InputError, match=r"\[states\] is empty"):
        load(write(text))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"this is not toml", "not a TOML file"),
        (b"\xff\xfe\x00", "not a TOML file"),
        (b"", "model, parameters, states missing"),
        (b"[a]\n[a]", "not a TOML file"),
        (b"model = 3\nparameters = 1\nstates = 2", "must be a table"),
        (b"x = " + b"[" * 100_000, "not a TOML file"),
        (b"#" * 1_000_001, "bytes, at most 1000000"),
        (
            b'[model]\nname="a"\nsource="a"\ntime="h"\n[parameters]\n[states]\nA = 3',
            "states.A: must be a table with unit",
        ),
        (b'parameters = 3\nstates = 3\n[model]\nname="a"\nsource="a"\ntime="h"', "parameters must be a table"),
    ],
)
def test_not_a_model(tmp_path, content, message):
    path = tmp_path / "small.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bb2121_clinicl", "no model 'bb2121_clinicl'; did you mean bb2121_clinical"),
        ("zzz", "no model 'zzz'; choose from bb2121_clinical, bb2121_invitro, bb2121_xenograft"),
        ("", "no model ''"),
        ("../models/bb2121_clinical", "no model"),
        ("bb2121_clinical:x", "no variant 'x'"),
        ("bb2121_invitro:Daudy", "no variant 'Daudy'; did you mean Daudi?"),
        ("bb2121_invitro:", "no variant ''"),
        ("nowhere.toml", "cannot read the model file 'nowhere.toml': No such file"),
        ("a\x00.toml", "cannot read"),
        ("nowhere.toml:fast", "cannot read the model file"),
    ],
)
def test_unknown_models(name, message):
    with pytest.raises(InputError, match=message) as caught:
        load(name)
    assert "\n" not in str(caught.value)


def test_a_folder_is_not_a_model(tmp_path):
    (tmp_path / "x.toml").mkdir()
    with pytest.raises(InputError, match="cannot read the model file"):
        load(tmp_path / "x.toml")


def test_long_chains_of_definitions(write):
    chain = "\n".join(f'd{i} = "d{i - 1}"' for i in range(2000, 0, -1)) + '\nd0 = "k"\n'
    model = load(write(swapped('leave = "k*N/(N + A)"', f'leave = "d2000"\n{chain}')))
    assert next(iter(model.definitions)) == "d0"


# --- the check of units happens once -----------------------------------------------------------------


def test_units_are_checked_once_for_a_file(write, monkeypatch, tmp_path):
    monkeypatch.setenv("CARTSIM_CACHE", str(tmp_path / "cache"))
    calls = []
    checked = model_module._check_units
    monkeypatch.setattr(model_module, "_check_units", lambda *a: (calls.append(a), checked(*a)))
    path = write(TEXT)
    load(path)
    load(path)
    assert len(calls) == 4  # the model and its three variants
    load(write(swapped("value = 0.5", "value = 0.6")))
    assert len(calls) == 8
    bad = write(swapped('unit = "1/day"', 'unit = "1/h"'), "bad.toml")
    for _ in range(2):  # a failed check leaves no mark
        with pytest.raises(InputError):
            load(bad)


def test_a_checked_model_loads_without_pint():
    load("bb2121_clinical")
    code = "import sys; from cartsim.model.reader import load; load('bb2121_clinical'); print('pint' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

"""Models that say only what differs: variants within a file, and files that extend another model."""

from __future__ import annotations

import pytest

from cartsim.errors import InputError
from cartsim.model.reader import load
from cartsim.regimen import Infusion, Regimen
from cartsim.simulation import simulate

BASE = """
[model]
name = "decay"
source = "nobody"
time = "day"

[parameters.k]
value = 0.5
unit = "1/day"
source = "Table 1"
iiv = { distribution = "lognormal", omega = 0.3 }

[parameters.V]
value = 2
unit = "L"
source = "Table 1"

[states.A]
unit = "cell/L"
scale = "log"
initial = "0"
seed = "0"
rate = "-k*A"

[dosing]
state = "A"
per_dose = "1/V"
dose = 100
unit = "cell"
"""
CAPPED = """
[variants.capped]
model.doc = "decay that saturates"
parameters.top = { value = 10, unit = "cell/L", source = "assumed" }
definitions.share = "1/(1 + A/top)"
states.A.rate = "-k*A*share"
outputs.cells = { unit = "cell", value = "V*A" }

[variants.large]
extends = "capped"
parameters.V = 4
dosing.dose = 50
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "decay.toml") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def extending(base: str, more: str = "", name: str = "other") -> str:
    return f'[model]\nname = "{name}"\nextends = "{base}"\n{more}'


def test_a_variant_is_the_model_with_what_differs(write):
    path = write(BASE + CAPPED)
    base, capped, large = (load(path + end) for end in ("", ":capped", ":large"))
    assert (capped.name, capped.doc, capped.source) == ("decay:capped", "decay that saturates", "nobody")
    assert list(capped.parameters) == ["k", "V", "top"]
    assert capped.parameters["k"] == base.parameters["k"]
    assert capped.states["A"].rate.text == "-k*A*share"
    assert capped.states["A"].seed == base.states["A"].seed
    assert capped.variants == {}
    assert (large.parameters["V"].value, large.parameters["V"].source) == (4, "Table 1")
    assert (large.dosing.dose, large.dosing.per_dose.text, list(large.outputs)) == (50, "1/V", ["cells"])
    assert large.digest == capped.digest != base.digest
    assert base.variants["large"].formulas == ["share", "A", "dosing"]


def test_a_variant_of_a_changed_model_keeps_the_change(write):
    model = load(write(BASE + CAPPED)).override({"k": 0.7})
    assert model.variant("capped").parameters["k"].value == 0.7
    assert model.variant("large").values({}, 1).tolist() == [[0.7, 4, 10]]


def test_a_file_that_extends_another_is_that_file_with_what_differs(write):
    write(BASE + CAPPED)
    other = load(write(extending("decay.toml:large", '[definitions]\nshare = "1/(1 + 2*A/top)"'), "other.toml"))
    large = load(str(write(BASE + CAPPED)) + ":large")
    assert (other.name, other.source, other.time) == ("other", "nobody", "day")
    assert (other.parameters, other.outputs, other.dosing) == (large.parameters, large.outputs, large.dosing)
    assert other.definitions["share"].text == "1/(1 + 2*A/top)"
    assert other.variants == {}
    again = load(write(extending("other.toml", "[variants.slow.parameters]\nk = 0.1", "third"), "third.toml"))
    assert again.variant("slow").parameters["k"].value == 0.1


def test_a_packaged_model_is_extended_by_its_name(write):
    own = load(write(extending("bb2121_clinical", "[parameters]\nKg = { value = 0.02, source = 'own data' }")))
    published = load("bb2121_clinical")
    assert own.digest == published.digest
    assert own.inputs() == published.override({"Kg": 0.02}).inputs() | {"name": "other"}
    window = load(write(extending("bb2121_clinical:window", "[parameters]\nKsup = 0.2"), "w.toml"))
    assert list(window.states) == list(load("bb2121_clinical:window").states)
    assert window.parameters["Ksup"].value == 0.2


def test_each_dose_renews_a_renewed_state(write):
    support = """
        [states.support]
        unit = "1"
        scale = "log"
        initial = "0"
        seed = "3"
        renewed = true
        rate = "-k*support"
        """
    twice = Regimen([Infusion(1, 100), Infusion(3, 100)])
    found = simulate(load(write(BASE + support)), twice, [0.5, 1, 3, 5])["support"][0]
    assert found == pytest.approx([0, 3, 3, 3 * 2.718281828459045**-1], rel=1e-6)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "[variants]\nfast = 2",
            r"variants.fast: a variant is a table of sections: write \[variants.fast.parameters\]",
        ),
        ("variants = 3", "variants must be a table"),
        ("[variants.fast]\nk = 2", "variants.fast: unknown entry 'k'; write parameters.k, within the variant"),
        ("[variants.fast]\nparameter.k = 2", "variants.fast: unknown entry 'parameter'; did you mean parameters"),
        ("[variants.fast.model]\nname = 'x'", "variants.fast.model: unknown entry 'name'; choose from doc, source"),
        ("[variants.fast]\nmodel = 2", "variants.fast.model: must be a table with any of doc, source, not 2"),
        ("[variants.fast]\nparameters = 2", "variants.fast: parameters must be a table"),
        ("[variants.fast]\nextends = 'slow'", "variants.fast.extends: no variant 'slow'"),
        ("[variants.fast]\nextends = 2", "variants.fast.extends: no variant 2"),
        ("[variants.fast]\nextends = 'fast'", "variants.fast.extends: circular: fast -> fast; break the circle"),
        ("variants.a.extends = 'b'\nvariants.b.extends = 'a'", "variants.b.extends: circular: a -> b -> a"),
        ("[variants.fast.states.A]\nrate = '-k*B'", "variants.fast: states.A.rate: undefined name 'B'"),
        ("[variants.fast.states.A]\nrate = '-k'", "variants.fast: states.A.rate: '-k' has unit 1 / day, wanted"),
        ("[variants.fast.states.A]\nrenewed = 1", "variants.fast: states.A.renewed: must be true or false, not 1"),
        (
            "[variants.fast.parameters]\nA = { value = 1, unit = '1', source = 'x' }",
            "variants.fast: states.A: the name 'A' is taken",
        ),
        ("[variants.fast.covariates]\nk = 1", "variants.fast: covariates.k: the name 'k' is taken by parameters.k"),
        ("[variants.fast.covariates]\nq = 1", "variants.fast: covariates.q: must be a table with value, unit, source"),
        ("[variants.fast.parameters.k]\nvalue = 1", "variants.fast.parameters.k: source missing; add it"),
        ("[variants.fast.constants]\nk = nan", "variants.fast: constants.k: must be a table"),
    ],
)
def test_bad_variants(write, more, message):
    text = more + "\n" + BASE if more.startswith("variants") else BASE + more
    with pytest.raises(InputError, match=rf"^decay\.toml: {message}") as caught:
        load(write(text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ('extends = "decay.toml"', r"\[model\]: name missing; add it"),
        (
            'name = "x"\nextends = "../decay.toml"',
            "model.extends: '../decay.toml' is none; give a model that comes with",
        ),
        ('name = "x"\nextends = "/etc/passwd"', "model.extends: '/etc/passwd' is none"),
        ('name = "x"\nextends = "a\\\\b.toml"', "model.extends: .* is none"),
        ('name = "x"\nextends = 3', "model.extends: 3 is none"),
        ('name = "x"\nextends = "bb2121_clinicl"', "model.extends: no model 'bb2121_clinicl'; did you mean"),
        ('name = "x"\nextends = "x.toml"', "model.extends: circular: x.toml -> x.toml; break the circle"),
        ('name = "x"\nextends = "a.toml"', "model.extends: circular: x.toml -> a.toml -> x.toml"),
    ],
)
def test_bad_extends(write, head, message):
    write(BASE)
    write(extending("x.toml"), "a.toml")
    with pytest.raises(InputError, match=message) as caught:
        load(write(f"[model]\n{head}\n", "x.toml"))
    assert "\n" not in str(caught.value)


def test_extends_goes_so_deep_and_no_deeper(write):
    write(BASE, "m0.toml")
    paths = [write(extending(f"m{k - 1}.toml", name=f"m{k}"), f"m{k}.toml") for k in range(1, 13)]
    assert load(paths[8]).parameters == load(paths[0]).parameters
    with pytest.raises(InputError, match="more than 10 models extend one another"):
        load(paths[11])


def test_a_base_that_is_missing_or_wrong_is_named(write):
    with pytest.raises(InputError, match=r"cannot read the model file .*none\.toml': No such file"):
        load(write(extending("none.toml")))
    write(BASE.replace('"-k*A"', '"-q*A"'), "base.toml")
    with pytest.raises(InputError, match=r"^base\.toml: states.A.rate: undefined name 'q'"):
        load(write(extending("base.toml")))
    write(BASE, "base.toml")
    with pytest.raises(InputError, match="has no variant 'fast'"):
        load(write(extending("base.toml:fast")))
    changed = load(write(extending("base.toml")))
    write(BASE.replace("-k*A", "-2*k"), "base.toml")  # the marks of checked units know the base as well
    with pytest.raises(InputError, match="wanted is"):
        load(changed.path)

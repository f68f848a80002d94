"""The shipped models: against Table 1, and against reference results, integrated here by scipy.

The right-hand sides come from `Expression.evaluate`, so nothing of cartsim's engine takes part. Reference
results were made by independent engines from the paper's equations.
"""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import mpmath
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import solve_ivp
from scipy.optimize import brentq, minimize_scalar

from cartsim.model.expression import parse
from cartsim.model.reader import Model, load, names
from cartsim.model.units import parse_unit, same_unit
from cartsim.population.population import Population
from cartsim.simulation import simulate

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
FIGURE_2B = SHARED / "xenograft_fig2b.csv"
TABLE_1 = SHARED / "singh2021_table1.csv"
needs_table = pytest.mark.skipif(not TABLE_1.exists(), reason="Table 1 is not beside the checkout")


class Solution:
    """A model solved by scipy's LSODA, log-scaled states as logarithms, absent ones as nothing at all."""

    def __init__(self, model: Model, dose: float, t_end: float, *, rtol: float = 1e-10, **parameters: float):
        self.model = model
        self.parameters = dict(zip(model.parameters, model.values(parameters, 1)[0], strict=True))
        start = self._start(dose)
        self.absent = {n: 0.0 for n, s in model.states.items() if s.scale == "log" and start[n] == 0}
        self.present = [s for n, s in model.states.items() if n not in self.absent]
        y0 = [np.log(start[s.name]) if s.scale == "log" else start[s.name] for s in self.present]
        self.solved = solve_ivp(self._rate, (0, t_end), y0, method="LSODA", rtol=rtol, atol=rtol, dense_output=True)
        assert self.solved.success, self.solved.message

    def _start(self, dose: float) -> dict[str, float]:
        fixed = {**self.parameters}
        for name, formula in self.model.definitions.items():
            if formula.names <= fixed.keys():
                fixed[name] = formula.evaluate(fixed)
        start = {s.name: float(s.initial.evaluate(fixed)) for s in self.model.states.values()}
        if dose:
            start[self.model.dosing.state] += dose * self.model.dosing.per_dose.evaluate(fixed)
            for s in self.model.states.values():
                if s.seed is not None and start[s.name] == 0:
                    start[s.name] = float(s.seed.evaluate(self._environment(0, start)))
        return start

    def _environment(self, t: float, states: dict[str, float]) -> dict[str, float]:
        known = {**self.parameters, **states, "time": t}
        for name, formula in self.model.definitions.items():
            known[name] = formula.evaluate(known)
        return known

    def _rate(self, t: float, y: np.ndarray) -> list[float]:
        known = self._environment(t, self._states(y))
        return [s.rate.evaluate(known) / (known[s.name] if s.scale == "log" else 1) for s in self.present]

    def _states(self, y: np.ndarray) -> dict[str, float]:
        values = (np.exp(v) if s.scale == "log" else v for s, v in zip(self.present, y, strict=True))
        return {**self.absent, **{s.name: v for s, v in zip(self.present, values, strict=True)}}

    def __call__(self, name: str, t: float) -> float:
        known = self._environment(t, self._states(self.solved.sol(t)))
        return float(known[name] if name in known else self.model.outputs[name].value.evaluate(known))

    def rate(self, state: str, t: float) -> float:
        known = self._environment(t, self._states(self.solved.sol(t)))
        return float(self.model.states[state].rate.evaluate(known))


# --- what every shipped file promises ----------------------------------------------------------------


@pytest.mark.parametrize("name", names())
def test_every_value_has_its_provenance(name):
    model = load(name)
    assert model.name == name
    for p in (*model.parameters.values(), *model.unused.values()):
        assert p.source.startswith(("published: ", "deduced: ", "assumed", "defined")), p.name
        assert p.doc or p.role == "constant", p.name
    for entry in (*model.states.values(), *model.outputs.values()):
        assert entry.doc, entry.name


@pytest.mark.parametrize("name", names())
def test_nothing_is_idle(name):
    model = load(name)
    formulas = [
        *model.definitions.values(),
        *(o.value for o in model.outputs.values()),
        *(f for s in model.states.values() for f in (s.initial, s.seed, s.rate)),
        *(p.expression for p in model.parameters.values()),
        model.dosing and model.dosing.per_dose,
    ]
    used = {s.volume for s in model.states.values()}.union(*(f.names for f in formulas if f is not None))
    assert not (model.parameters.keys() | model.definitions.keys()) - used


# --- Table 1 -----------------------------------------------------------------------------------------

MODELS = {"invitro": "bb2121_invitro", "xenograft": "bb2121_xenograft", "clinical": "bb2121_clinical"}
UNITS = {"1/cell": "molecule/cell", "copies/ug per cells/L": "copy*L/ug/cell"}  # as the table writes them


def table_1() -> list[dict[str, str]]:
    return list(csv.DictReader(TABLE_1.open())) if TABLE_1.exists() else []


@needs_table
@pytest.mark.parametrize("row", table_1(), ids=lambda row: f"{row['model']}-{row['parameter']}")
def test_table_1(row):
    model = load(MODELS[row["model"]])
    name = row["parameter"]
    if "[" in name:
        name, line = name.rstrip("]").split("[")
        model = model.variant(line)
    parameter = (model.parameters | model.unused)[name]
    value = (
        parameter.value
        if parameter.expression is None
        else parameter.expression.evaluate({p.name: p.value for p in model.parameters.values() if p.value is not None})
    )
    assert value == pytest.approx(float(row["value"]), rel=1e-12)
    assert same_unit(parse_unit(parameter.unit, name), parse_unit(UNITS.get(row["unit"], row["unit"]), name))
    assert row["status"] in parameter.source

    def fraction(percent: str) -> object:
        return pytest.approx(float(percent) / 100) if percent else None

    assert parameter.rse == fraction(row["rse_percent"])
    assert (parameter.iiv is None) == (not row["omega"])
    if parameter.iiv is not None:
        assert parameter.iiv.distribution == "lognormal"
        assert parameter.iiv.omega == float(row["omega"])
        assert parameter.iiv.rse == fraction(row["omega_rse_percent"])


@needs_table
@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_called_published_that_table_1_does_not_have(model):
    listed = {row["parameter"].split("[")[0] for row in table_1() if row["model"] == model}
    for p in load(MODELS[model]).parameters.values():
        if p.role == "parameter" and p.source.startswith("published: Table 1"):
            assert p.name in listed
        elif p.name not in listed:
            assert p.iiv is None or p.source.startswith("assumed"), f"{p.name}: variability from nowhere"


# --- clinical ----------------------------------------------------------------------------------------

CLINICAL = {  # dose (1e6), burden: Cmax, Tmax, transgene d28, d90, d180, M d28, M nadir, its day, M d365
    (50, 50): (37261, 16.31, 8791, 145.2, 27.51, 0.4431, 0.0753, 88.8, 0.1173),
    (450, 50): (35598, 14.18, 5963, 133.4, 25.28, 0.3924, 0.0768, 86.2, 0.1201),
    (450, 20): (2987, 14.90, 622, 12.2, 2.31, 0.5068, 0.2484, 70.0, 0.4056),
    (450, 95): (290550, 14.91, 54600, 1096, 207.6, 0.3685, 0.0258, 121.8, 0.0359),
}


def peak(run: Solution, output: str, low: float, high: float) -> tuple[float, float]:
    """Height and time of the highest value between two times."""
    found = minimize_scalar(lambda t: -run(output, t), bounds=(low, high), method="bounded", options={"xatol": 1e-5})
    return -found.fun, found.x


@pytest.mark.parametrize(("dose", "burden"), CLINICAL)
def test_clinical_reference(dose, burden):
    run = Solution(load("bb2121_clinical"), dose * 1e6, 400, burden=burden)
    cmax, tmax, *transgene, m28, m_low, day_low, m365 = CLINICAL[dose, burden]
    height, day = peak(run, "transgene", 5, 25)
    assert height == pytest.approx(cmax, rel=1e-3)
    assert day == pytest.approx(tmax, abs=0.02)
    # the printed digits of the smaller numbers are coarser than 0.1 %
    for t, expected, digit in zip((28, 90, 180), transgene, (1, 0.1, 0.01), strict=True):
        assert run("transgene", t) == pytest.approx(expected, rel=1e-3, abs=digit / 2)
    nadir = brentq(lambda t: run.rate("mprotein", t), 40, 200)
    assert nadir == pytest.approx(day_low, abs=0.12)  # that day was read off a grid
    for t, expected in ((28, m28), (nadir, m_low), (365, m365)):
        assert run("mprotein", t) == pytest.approx(expected, rel=1e-3, abs=0.5e-4)
    assert run("mprotein_change", 28) == pytest.approx(100 * (run("mprotein", 28) - 1))
    assert run("mprotein_gL", 28) == pytest.approx(30 * run("mprotein", 28))


def test_table_1_binding_constants_fit_the_reference_and_the_deposited_ones_do_not():
    deposited = {"Kon": 7.103e4, "Koff": 2.385e-3}
    run = Solution(load("bb2121_clinical"), 450e6, 30, **deposited)
    assert peak(run, "transgene", 5, 25)[0] / CLINICAL[450, 50][0] - 1 == pytest.approx(0.0053, abs=2e-4)


def test_clinical_untreated():
    run = Solution(load("bb2121_clinical"), 0, 300)
    assert run.absent.keys() == {"CARTe_PB", "CARTe_BM", "CARTm_PB", "CARTm_BM", "complex"}
    for t in (1.0, 100.0, 300.0):
        assert run("tumor_relative", t) == pytest.approx(np.exp(0.008 * t), rel=1e-8)
        assert run("transgene", t) == run("cart_marrow", t) == 0


def test_clinical_seeds_do_not_show():
    """Seeds of all cells a thousand times larger leave the results where they are."""
    model = load("bb2121_clinical")
    larger = {
        n: dataclasses.replace(s, seed=parse(f"1000*({s.seed.text})", n)) if n.startswith("CART") else s
        for n, s in model.states.items()
    }
    one, other = (Solution(m, 450e6, 180) for m in (model, dataclasses.replace(model, states=larger)))
    for t in (1, 14, 90, 180):
        for output in ("transgene", "mprotein"):
            assert other(output, t) == pytest.approx(one(output, t), rel=1e-6)


@pytest.mark.parametrize(
    ("cart", "tumor"),
    [
        (1e-6, 2.5e9),
        (1e10, 2.5e9),
        (1e9, 1e-3),
        (2.5e9, 2.5e9),
        (1e-6, 1e-6),
    ],
)
def test_clinical_seed_is_the_binding_equilibrium(cart, tumor):
    model = load("bb2121_clinical")
    known = dict(zip(model.parameters, model.values({}, 1)[0], strict=True))
    known |= {"CARTe_BM": cart, "CARTm_BM": 0.0, "Tumor": tumor}
    for name in ("kon", "koff", "C", "free_sum"):
        known[name] = float(model.definitions[name].evaluate(known))
    with mpmath.workdps(60):
        a, b = 15000 * mpmath.mpf(cart), 12590 * mpmath.mpf(tumor)
        s = a + b + mpmath.mpf(known["koff"]) / mpmath.mpf(known["kon"])
        expected = (s - mpmath.sqrt(s * s - 4 * a * b)) / 2
    assert model.states["complex"].seed.evaluate(known) == pytest.approx(float(expected), rel=1e-7)


# --- in vitro ----------------------------------------------------------------------------------------

CYTOLYSIS = {  # percent at 4 h in 100 uL, at E:T 1, 2, 4, 10
    "JeKo": (8.0, 15.2, 26.4, 45.1),
    "Daudi": (31.9, 46.3, 58.5, 68.2),
    "U266-B1": (50.7, 61.5, 68.3, 72.7),
    "RPMI-8226": (68.8, 72.2, 73.9, 75.0),
}


@pytest.mark.parametrize("line", CYTOLYSIS)
@pytest.mark.parametrize("column", range(4))
def test_cytolysis_reference(line, column):
    run = Solution(load(f"bb2121_invitro:{line}"), 0, 4, ET=(1, 2, 4, 10)[column])
    assert run("cytolysis", 4) == pytest.approx(CYTOLYSIS[line][column], abs=0.06)
    assert run("viability", 4) == pytest.approx(100 - run("cytolysis", 4))


def test_the_cell_lines_are_the_variants_and_the_default_is_one_of_them():
    model = load("bb2121_invitro")
    assert set(model.variants) == {"JeKo", "Daudi", "U266-B1", "NCI-H929", "RPMI-8226", "K562-BCMA"}
    assert model.parameters == model.variant("RPMI-8226").parameters


def test_the_other_reading_of_Rm_is_a_variation_of_200_percent():
    own, other = (load(f"bb2121_clinical{variant}") for variant in ("", ":Rm_absolute_SD"))
    assert other.override({}).values({}, 1).tolist() == own.values({}, 1).tolist()  # the typical patient is the same
    spread = stats.lognorm(other.parameters["Rm"].iiv.omega)
    assert spread.std() / spread.mean() == pytest.approx(2, rel=1e-12)
    (first, second) = (Population(model, seed=3).table(0, 20_000) for model in (own, other))
    assert first["Rm"].std() / first["Rm"].mean() < 1e-4
    assert np.log(second["Rm"]).std() == pytest.approx(other.parameters["Rm"].iiv.omega, rel=0.02)
    assert first.drop(columns="Rm").equals(second.drop(columns="Rm"))
    memory = [simulate(Population(m, 3), 450e6, [365], ["CARTm_BM"], n=300)["CARTm_BM"][:, 0] for m in (own, other)]
    assert np.median(np.abs(np.log(memory[1] / memory[0]))) > 0.5  # of each patient, by half or more at a year


def test_only_cells_per_volume_matter():
    model = load("bb2121_invitro:JeKo")
    one = Solution(model, 0, 4, ET=4)("cytolysis", 4)
    assert Solution(model, 0, 4, ET=4, MV=200, Tumor0=2e5)("cytolysis", 4) == pytest.approx(one, abs=1e-5)
    assert one - Solution(model, 0, 4, ET=4, MV=200)("cytolysis", 4) > 9


@pytest.mark.parametrize("line", ["JeKo", "K562-BCMA"])
def test_starting_complexes_small_is_starting_them_at_zero(line):
    """The published start is zero complexes; here they are integrated linearly from there."""
    model = load(f"bb2121_invitro:{line}")
    run = Solution(model, 0, 4)
    known = dict(run.parameters)

    def rate(t: float, y: np.ndarray) -> list[float]:
        states = {"Nt": np.exp(y[0]), "Ne": np.exp(y[1]), "cplx": y[2]}
        values = known | states | {"time": t}
        for name, formula in model.definitions.items():
            values[name] = formula.evaluate(values)
        rates = [s.rate.evaluate(values) for s in model.states.values()]
        return [rates[0] / states["Nt"], rates[1] / states["Ne"], rates[2]]

    start = [np.log(1e5), np.log(1e5), 0.0]
    end = solve_ivp(rate, (0, 4), start, method="LSODA", rtol=1e-10, atol=1e-12, first_step=1e-9).y[0, -1]
    alone = 1e5 * 2 ** (4 / known["DT_tumor"])
    assert run("cytolysis", 4) == pytest.approx(100 * (1 - np.exp(end) / alone), abs=1e-4)


def test_no_effectors_no_killing():
    run = Solution(load("bb2121_invitro:Daudi"), 0, 24, ET=0)
    assert run.absent.keys() == {"Ne", "cplx"}
    assert run("cytolysis", 24) == pytest.approx(0, abs=1e-6)
    assert run("Nt", 24) == pytest.approx(2e5, rel=1e-8)


# --- xenograft ---------------------------------------------------------------------------------------

BLOOD = {2: 0.626, 8: 93.08, 12: 403.84, 15: 305.02, 20: 60.54}  # cells/uL
VOLUME = {4: 195.91, 8: 115.68, 12: 27.39}  # mm3


@pytest.fixture(scope="module")
def mouse() -> Solution:
    return Solution(load("bb2121_xenograft"), 5e6, 70)


def test_xenograft_reference(mouse):
    for day, expected in BLOOD.items():
        assert mouse("cart_blood", day) == pytest.approx(expected, rel=2e-3)
    for day, expected in VOLUME.items():
        assert mouse("tumor_volume", day) == pytest.approx(expected, rel=2e-3)
    height, day = peak(mouse, "cart_blood", 5, 25)
    assert 400 < height < 425
    assert 12 < day < 13


def test_xenograft_seed_does_not_show(mouse):
    """A seed a million times smaller, and complexes from nothing, give the same mouse."""
    model = load("bb2121_xenograft")
    starved = Solution.__new__(Solution)
    start = Solution._start

    def smaller(self: Solution, dose: float) -> dict[str, float]:
        values = start(self, dose)
        return values | {"CART_tumor": values["CART_tumor"] * 1e-6, "complex": values["complex"] * 1e-12}

    starved._start = smaller.__get__(starved)
    starved.__init__(model, 5e6, 20)
    for day in BLOOD:
        assert starved("cart_blood", day) == pytest.approx(mouse("cart_blood", day), rel=1e-5)


def test_vehicle_grows_exponentially():
    run = Solution(load("bb2121_xenograft"), 0, 33)
    assert run.absent.keys() == {"CART_PB", "CART_tumor", "complex"}
    for day in (10, 33):
        assert run("tumor_volume", day) == pytest.approx(151 * np.exp(0.0888 * day), rel=1e-8)
        assert run("cart_blood", day) == 0


def test_fixed_volume_never_contracts():
    run = Solution(load("bb2121_xenograft:fixed_volume"), 5e6, 40)
    blood = [run("cart_blood", day) for day in np.arange(2, 40)]
    assert np.all(np.diff(blood) > 0)
    assert run("cart_blood", 29) > 2000


@pytest.mark.skipif(not FIGURE_2B.exists(), reason="Figure 2b is not beside the checkout")
@pytest.mark.parametrize(
    ("series", "output", "limit"),
    [
        ("blood_cart_treated", "cart_blood", 40),
        ("tumor_volume_treated", "tumor_volume", 20),
    ],
)
def test_xenograft_against_the_digitised_points(mouse, series, output, limit):
    rows = [row for row in csv.DictReader(FIGURE_2B.open()) if row["series"] == series]
    error = [mouse(output, float(row["day"])) - float(row["value"]) for row in rows]
    assert np.sqrt(np.mean(np.square(error))) <= limit

"""Structures beside the published clinical model: their equations written out here, their limits, extreme patients."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from cartsim.model.reader import load
from cartsim.population.patients import Patients
from cartsim.population.population import Population
from cartsim.population.variability import uniform
from cartsim.regimen import Infusion, Regimen
from cartsim.simulation import simulate
from cartsim.solver import Solver

VARIANTS = ("window", "window_resistant", "window_exhaustion", "window_second_site")
OUTPUTS = ["transgene", "mprotein_gL", "mprotein_change", "sbcma_change", "tumor_relative"]
TIMES = np.array([1, 3, 7, 11, 14, 28, 60, 90, 180, 365, 730.0])
FINE = Solver(rtol=1e-8)


def variant(name: str):
    return load(f"bb2121_clinical:{name}")


def solved(name: str, p: dict[str, float], dose: float, times: np.ndarray) -> dict[str, np.ndarray]:
    """A variant as docs/variants.md has it, by scipy: logarithms of cells, complexes at equilibrium at the start."""
    kon, koff = p["Kon"] * 86400 / 6.02214076e23, p["Koff"] * 86400
    resistant = p["antigen_loss"] * p["resistant"] if name == "window_resistant" else 0.0
    far = p["extramedullary"] if name == "window_second_site" else 0.0
    size, entry = p.get("Vsite", 1.0) * far, p.get("access", 0.0) * far
    cars, antigens, t0, top = p["Ag_CAR"], p["Ag_tumor"], p["Tumor0"], p["Tumor_max"]
    into_marrow = p["K12"] * p["Vb"] / p["Vbm"]

    def bound(c: float, t: float) -> float:
        total = cars * c + antigens * t + koff / kon
        return 2 * cars * c * antigens * t / (total + math.sqrt(total**2 - 4 * cars * c * antigens * t))

    def whole(y: np.ndarray) -> tuple[float, float]:
        """All of the tumor, and what makes sBCMA, over baseline."""
        seen = math.exp(y[5]) / t0
        if far:
            return (both := (seen * p["Vbm"] + math.exp(y[9]) / t0 * size) / (p["Vbm"] + size)), both
        return seen + (math.exp(y[8]) / t0 if resistant else 0.0), seen / (1 - resistant)

    def rates(time: float, y: np.ndarray) -> list[float]:
        eb, em, mb, mm, x, t = np.exp(y[:6]).tolist()
        function = math.exp(y[8]) if name == "window_exhaustion" else 1.0
        support = math.exp(-p["Ksup"] * time)
        per_cart, per_tumor = x / (em + mm), x / t
        occupied = per_cart / (p["EC50_exp"] + per_cart)
        kill = p["Kkill_max"] * function * per_tumor / (p["KC50"] + per_tumor)
        expansion = p["Kexp_max"] * support * function * occupied
        cells = t + (math.exp(y[8]) if resistant else 0.0)
        growth = p["Kg"] * (1 - cells / top)
        everything, seen = whole(y)
        slopes = [
            -p["K12"] * (1 + p.get("access", 0) * size / p["Vbm"])
            - p["Kel_e"]
            + p["K21"] * p["Vbm"] / p["Vb"] * em / eb,
            into_marrow * eb / em - p["K21"] + expansion - p["Rm"],
            -p["K12"] - p["Kel_m"] + p["K21"] * p["Vbm"] / p["Vb"] * mm / mb,
            into_marrow * mb / mm - p["K21"] + p["Rm"] * em / mm,
            (kon * (cars * (em + mm) - x) * (antigens * t - x) - koff * x) / x,
            growth - kill,
            p["Km"] * (everything ** p["gamma_m"] - y[6]),
            p["Kb"] * (seen ** p["gamma_b"] - y[7]),
        ]
        if name == "window_exhaustion":
            slopes.append(-p["Kexh"] * occupied)
        if resistant:
            slopes.append(growth)
        if far:
            c, away = np.exp(y[8:10]).tolist()
            slopes[0] += p["K21"] * size / p["Vb"] * c / eb
            on_cart, on_tumor = bound(c, away) / c, bound(c, away) / away
            slopes.append(
                into_marrow * entry * eb / c - p["K21"] + p["Kexp_max"] * support * on_cart / (p["EC50_exp"] + on_cart)
            )
            slopes.append(p["Kg"] * (1 - away / top) - p["Kkill_max"] * on_tumor / (p["KC50"] + on_tumor))
        return slopes

    sensitive = (1 - resistant) * t0
    start = [dose * p["F"] / p["Vb"], 1e-6, 1e-9, 1e-9, bound(1e-6 + 1e-9, sensitive), sensitive, math.e, math.e]
    start += [1.0] if name == "window_exhaustion" else [resistant * t0] if resistant else []
    start += [1e-12 * dose, t0] if far else []  # the site begins with next to nothing
    y0 = np.log(start)
    run = solve_ivp(rates, (0, times[-1]), y0, "LSODA", times, rtol=1e-10, atol=1e-10)
    assert run.success, run.message
    tumor, m, b = np.array([whole(y)[0] for y in run.y.T]), run.y[6], run.y[7]
    return {
        "transgene": p["TransC"] * np.exp(run.y[[0, 2]]).sum(axis=0),
        "mprotein_gL": p["M0"] * m,
        "mprotein_change": 100 * (m - 1),
        "sbcma_change": 100 * (b - 1),
        "tumor_relative": tumor,
    }


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_against_its_equations_written_out(name):
    model = variant(name)
    table = Population(model, 11).table(0, 6, complete=True)
    if "extramedullary" in table:
        table["extramedullary"] = 1.0
    if "antigen_loss" in table:
        table["antigen_loss"] = 1.0
    run = simulate(Patients(model, table), 300e6, TIMES, OUTPUTS, solver=FINE)
    assert not len(run.failures)
    for i, (_, row) in enumerate(table.iterrows()):
        p = dict(zip(model.parameters, model.values(row.to_dict(), 1)[0], strict=True))
        truth = solved(name, p, 300e6, TIMES)
        for output in OUTPUTS:
            size = 1e-3 if output in ("mprotein_change", "sbcma_change") else 1e-9
            np.testing.assert_allclose(run[output][i], truth[output], rtol=2e-5, atol=size, err_msg=f"{i} {output}")


def of_both(name: str, base: str, given: dict[str, float], also: dict[str, float]) -> None:
    """A variant, in a limit, has the outputs of another model in the same patients."""
    model, other = variant(name), load(f"bb2121_clinical{base}")
    table = Population(model, 3).table(0, 20, complete=True)
    own = Patients(model, table.assign(**given))
    names = [each for each in table if each in other.parameters]
    theirs = Patients(other, table[names].assign(**{k: v for k, v in also.items() if k in other.parameters}))
    first, second = (simulate(who, 450e6, TIMES, OUTPUTS, solver=FINE) for who in (own, theirs))
    reached = second["tumor_relative"] < 100  # the published growth has no end
    for output in OUTPUTS:
        np.testing.assert_allclose(first[output][reached], second[output][reached], rtol=2e-5, atol=1e-3)


def test_a_window_that_stays_open_is_the_published_model():
    of_both("window", "", {"Ksup": 0.0, "F": 1.0, "Tumor_max": 1e100}, {})


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("window_resistant", {"antigen_loss": 0.0}),
        ("window_resistant", {"antigen_loss": 1.0, "resistant": 0.0}),
        ("window_exhaustion", {"Kexh": 0.0}),
        ("window_second_site", {"extramedullary": 0.0}),
    ],
)
def test_without_its_mechanism_a_variant_is_the_window(name, given):
    of_both(name, ":window", given, {})


@pytest.mark.parametrize("name", VARIANTS)
def test_untreated_patients_grow_as_the_closed_form(name):
    model = variant(name)
    who = Population(model, 5)
    table = who.table(0, 50, complete=True)
    run = simulate(who, Regimen.none(), TIMES, [*OUTPUTS, "support"], n=50, solver=FINE)
    assert (run["transgene"] == 0).all()
    assert (run["support"] == 0).all()
    grown = np.exp(np.outer(table["Kg"], TIMES))
    share = (table["Tumor0"] / table["Tumor_max"]).to_numpy()[:, None]
    np.testing.assert_allclose(run["tumor_relative"], grown / (1 + share * (grown - 1)), rtol=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_second_infusion_opens_the_window_again(name):
    run = simulate(
        variant(name), Regimen([Infusion(10, 150e6), Infusion(100, 150e6)]), [0, 10, 99, 100, 101], ["support"]
    )
    ksup = variant(name).parameters["Ksup"].value
    assert run["support"][0] == pytest.approx([0, 1, math.exp(-89 * ksup), 1, math.exp(-ksup)], rel=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_extreme_patients_are_integrated(name):
    who = Population(variant(name), 8, {"Kg": uniform(0.001, 0.12), "Ksup": uniform(0, 1), "Rm": uniform(1e-6, 0.02)})
    for dose in (50e6, 450e6):
        run = simulate(who, dose, TIMES, OUTPUTS, n=2000)
        assert not len(run.failures)
        assert all(np.isfinite(run[output]).all() for output in OUTPUTS)


def test_relapse_without_the_antigen_makes_no_soluble_antigen():
    run = simulate(
        variant("window_resistant").override({"antigen_loss": 1}), 450e6, [90, 365], [*OUTPUTS, "resistant_percent"]
    )
    assert run["resistant_percent"][0, 1] > 99
    assert run["mprotein_change"][0, 1] > 50
    assert run["sbcma_change"][0, 1] < -99


def test_the_model_of_the_page_has_patients_in_whom_nothing_expands(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "variants.md").read_text()
    (tmp_path / "own.toml").write_text(page.split("```toml")[1].split("```")[0])
    who = Population(load(tmp_path / "own.toml"), 2)
    table = who.table(0, 200)
    run = simulate(who, 450e6, [7, 14], ["cart_marrow"], n=200)["cart_marrow"]
    never = (table["expands"] == 0).to_numpy()
    assert 0.05 < never.mean() < 0.2
    assert (run[never, 1] < run[never, 0]).all()
    assert run[never, 0].max() < np.median(run[~never, 0]) / 10

"""What Singh et al. 2021 report of this model, looked for in what cartsim simulates: found, or shown not to be there.

Doses, burdens and months are the paper's: 50 to 800 million cells, 5 to 95 % of marrow, 6 and 21 months.
"""

from __future__ import annotations

import numpy as np
import pytest

import cartsim

DOSES = (50e6, 150e6, 450e6, 800e6)
BURDENS = (5.0, 20.0, 50.0, 80.0, 95.0)
MONTH = 30.4375
OUTPUTS = ["transgene", "mprotein_change", "sbcma_change"]
DAYS = np.unique(np.concatenate([np.arange(0, 60, 0.1), np.arange(60, 641.0), [6 * MONTH, 21 * MONTH]]))


def at(days: float) -> int:
    return int(np.searchsorted(DAYS, days))


@pytest.fixture(scope="module")
def typical() -> dict[float, cartsim.Simulation]:
    """The typical patient at five burdens, by dose."""
    patients = cartsim.Patients("bb2121_clinical", {"burden": np.array(BURDENS)})
    return {d: cartsim.simulate(patients, d, DAYS, OUTPUTS) for d in DOSES}


@pytest.fixture(scope="module")
def population() -> dict[float, cartsim.Simulation]:
    """A thousand virtual patients, the same ones under every dose."""
    patients = cartsim.Population("bb2121_clinical", variability={"Tumor0": cartsim.lognormal(0.5)})
    return {d: cartsim.simulate(patients, d, DAYS, [*OUTPUTS, "mprotein_gL"], n=1000) for d in (10e6, *DOSES)}


def peak(simulation: cartsim.Simulation) -> tuple[np.ndarray, np.ndarray]:
    """Cmax and Tmax of the first wave, after the first day; a relapse may bring another."""
    transgene = np.where((DAYS >= 1) & (DAYS <= 60), simulation["transgene"], 0)
    return transgene.max(axis=1), DAYS[transgene.argmax(axis=1)]


# --- cell kinetics ------------------------------------------------------------------------------------------


def test_expansion_follows_burden_far_more_than_dose(typical: dict) -> None:
    cmax = np.array([peak(typical[d])[0] for d in DOSES])
    over_burden = cmax.max(axis=1) / cmax.min(axis=1)
    over_dose = cmax.max(axis=0) / cmax.min(axis=0)
    assert (over_burden > 1000).all()
    assert (over_dose < 1.3).all()
    assert (np.diff(cmax, axis=1) > 0).all()  # ever more with burden, at each dose


def test_peak_settles_at_two_to_three_weeks(typical: dict, population: dict) -> None:
    tmax = np.array([peak(typical[d])[1] for d in DOSES])
    assert (np.diff(tmax, axis=0) < 0).all()  # earlier with dose
    assert (tmax[:, 0] > 21).all()  # late while there is little to bind to
    assert ((tmax[:, 1:] > 13.5) & (tmax[:, 1:] < 21)).all()
    for simulation in population.values():
        assert 13.5 < np.median(peak(simulation)[1]) < 21


def test_expansion_is_biphasic(typical: dict) -> None:
    """A fast fall from the peak, then a slow one, carried by memory cells (paper, Figure 3a)."""
    transgene = np.log(typical[450e6]["transgene"][BURDENS.index(50)])

    def half_life(first: float, last: float) -> float:
        return np.log(2) * (last - first) / (transgene[at(first)] - transgene[at(last)])

    assert 3 * half_life(30, 60) < half_life(120, 180)


# --- biomarkers ---------------------------------------------------------------------------------------------


def test_falls_of_biomarkers_rise_with_burden_and_saturate(typical: dict) -> None:
    for output in ("mprotein_change", "sbcma_change"):
        for dose in DOSES:
            depth = -typical[dose][output].min(axis=1)
            gain = np.diff(depth) / np.diff(BURDENS)
            assert (gain > 0).all()
            assert gain[0] > 3 * gain[-1]


def test_falls_of_biomarkers_are_steep_and_then_saturate_in_time(typical: dict) -> None:
    patient = BURDENS.index(50)
    for dose in DOSES:
        fall = -typical[dose]["mprotein_change"][patient]
        assert fall[at(28)] - fall[at(14)] > 30  # percent of baseline within two weeks
        assert abs(fall[at(120)] - fall[at(60)]) < 5  # and then within two months
        sbcma = -typical[dose]["sbcma_change"][patient]
        assert sbcma[at(28)] > 99
        assert sbcma[at(90)] - sbcma[at(28)] < 1


def test_sbcma_answers_faster_than_mprotein(population: dict) -> None:
    for simulation in population.values():
        half = [
            np.median(DAYS[(simulation[name] < 0.5 * simulation[name].min(axis=1)[:, None]).argmax(axis=1)])
            for name in ("sbcma_change", "mprotein_change")
        ]
        assert half[0] + 5 < half[1]


# --- response and progression ---------------------------------------------------------------------------------


def progressed(simulation: cartsim.Simulation, month: float) -> float:
    """Share of patients with serum M-protein 25 % and 5 g/L above its lowest so far, up to a month."""
    level = simulation["mprotein_gL"][:, : at(month * MONTH) + 1]
    lowest = np.minimum.accumulate(level, axis=1)
    return float(((level >= 1.25 * lowest) & (level >= lowest + 5)).any(axis=1).mean())


def share(simulation: cartsim.Simulation, month: float, low: float, high: float) -> float:
    change = simulation["mprotein_change"][:, at(month * MONTH)]
    return float(((change > low) & (change <= high)).mean())


def test_more_patients_have_progressed_by_21_months_than_by_6(population: dict) -> None:
    for simulation in population.values():
        assert progressed(simulation, 21) > progressed(simulation, 6) + 0.05


def test_fewer_patients_are_in_response_at_21_months_than_at_6(population: dict) -> None:
    for simulation in population.values():
        at_6, at_21 = (share(simulation, month, -np.inf, -25) for month in (6, 21))
        assert at_6 > 0.97
        assert at_21 < at_6 - 0.05


def test_response_rates_show_no_threshold_in_dose(population: dict) -> None:
    """The paper sees fewer responses below 150e6 cells. With the published variability they do not depend on dose."""
    for month in (6, 21):
        for low, high in ((25, np.inf), (-25, 25), (-np.inf, -25), (-np.inf, -50), (-np.inf, -90)):
            rates = [share(simulation, month, low, high) for simulation in population.values()]
            assert max(rates) - min(rates) < 0.025, (month, low, high, rates)


def test_nobody_is_far_above_baseline(population: dict) -> None:
    """The paper's bin of progression, 25 % above baseline, is empty here: patients relapse towards their baseline."""
    for simulation in population.values():
        assert share(simulation, 6, 25, np.inf) < 0.001
        assert share(simulation, 21, 25, np.inf) < 0.001


def test_expansion_is_not_least_at_the_lowest_dose(typical: dict) -> None:
    """Nor does the typical patient's expansion fall at 50e6 cells: with a larger dose the tumor is killed sooner."""
    cmax = np.array([peak(typical[d])[0] for d in DOSES])
    assert (np.diff(cmax, axis=0) < 0).all()

"""Make the packaged examples models/examples/*.csv: synthetic, no real patient.

crb401_synthetic: response categories and sBCMA, and the truth behind them. trial_synthetic: measured transgene and
serum M-protein, for responses, noncompartmental analysis and fits alike.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cartsim.files import write_whole
from cartsim.fitting.synthetic import synthetic_patients
from cartsim.model.reader import load
from cartsim.population.population import Population
from cartsim.population.variability import fixed
from cartsim.schedule import KARMMA_KINETICS, KARMMA_RESPONSE
from cartsim.simulation import simulate_rows
from cartsim.trial.assay import Assay

MODEL = "bb2121_clinical"
FOLDER = Path(__file__).parents[1] / "models" / "examples"

CRB401 = """33 virtual patients of cartsim's model bb2121_clinical, at doses like those of the first bb2121 trial
(CRB-401): 3 at 50e6, 8 at 150e6, 19 at 450e6 and 3 at 800e6 cells. Kexp_max, Kkill_max, gamma_m and gamma_b vary
as in the model file, all else is typical. Made by cartsim.fitting.synthetic.synthetic_patients(), seed 402:
M-protein and sBCMA with log-normal errors (SD 0.05 and 0.2), responses judged visit by visit from the measured
M-protein, sBCMA quantified down to 1 % of baseline, follow-up drawn evenly from 6 to 24 months and ended by
progression.
"""
TRIAL = """20 virtual patients of cartsim's model bb2121_clinical, 6 at 150e6 and 14 at 450e6 cells. Kexp_max,
Kkill_max, gamma_m and M0 vary as in the model file, all else is typical. Made by notebooks/make_examples.py, seed 403:
transgene (quantified from 50 copies/ug) and serum M-protein with log-normal errors (SD 0.3 and 0.05) over one year. M0
is the M-protein measured on day 0.
"""


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    data, truth = synthetic_patients()
    write("crb401_synthetic", "SYNTHETIC response categories and sBCMA; no real patient is in this file.", CRB401, data)
    what = "The true parameters behind crb401_synthetic.csv, which is SYNTHETIC."
    write("crb401_synthetic_truth", what, CRB401, truth)
    write("trial_synthetic", "SYNTHETIC transgene and M-protein; no real patient is in this file.", TRIAL, trial())


def trial(seed: int = 403) -> pd.DataFrame:
    """Measured values of 20 patients in the form of `cartsim.observations`."""
    model, doses = load(MODEL), np.repeat([150e6, 450e6], [6, 14])
    varied = ("Kexp_max", "Kkill_max", "gamma_m", "M0")
    others = {name: fixed() for name, p in model.parameters.items() if p.iiv and name not in varied}
    patients = Population(model, seed, others).table(0, len(doses))
    schedule = {
        "transgene": (np.array([day for day in KARMMA_KINETICS if day <= 366]), Assay(cv=0.3)),
        "mprotein_gL": (np.array([0.0, *(day for day in KARMMA_RESPONSE if day <= 366)]), Assay(cv=0.05)),
    }
    times = np.unique(np.concatenate([days for days, _ in schedule.values()]))
    run = simulate_rows(model, patients, None, times, list(schedule), own_dose=doses)
    rows = []
    for output, (days, assay) in schedule.items():
        values = run[output][:, np.searchsorted(times, days)]
        measured = assay.measure(values, seed=seed, name=output, start=0, days=days)
        M0 = measured[:, 0] if output == "mprotein_gL" else None
        for i, j in np.ndindex(*measured.shape):
            low = output == "transgene" and measured[i, j] < 50
            rows.append((i, doses[i], days[j], output, "<50" if low else f"{measured[i, j]:.4g}"))
    table = pd.DataFrame(rows, columns=["id", "dose", "time", "output", "value"])
    assert M0 is not None
    table["M0"] = [f"{M0[i]:.4g}" for i in table["id"]]
    return table.sort_values(["id", "output", "time"], kind="stable", ignore_index=True)


def write(name: str, what: str, how: str, table: pd.DataFrame) -> None:
    comment = "".join(f"# {line}\n" for line in (what + "\n" + how).splitlines())
    text = comment + table.astype({"dose": int}).to_csv(index=False, lineterminator="\n", float_format="%.8g")
    write_whole(FOLDER / f"{name}.csv", lambda beside: beside.write_text(text))


if __name__ == "__main__":
    main()

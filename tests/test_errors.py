"""Mistakes of a newcomer in Python: one line that says what was given and what to do, without numpy's scalars."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

import cartsim as cs
from cartsim.errors import brief

MODEL = cs.load("bb2121_clinical")
PATIENTS = cs.Population(MODEL, seed=1)
TRIAL = cs.Trial(PATIENTS, [150e6, 450e6], n=5)
TABLE = pd.DataFrame({"burden": [20, 50]})
PEAK = cs.endpoint(MODEL, "Cmax")
LEVELS = pd.DataFrame({"id": [1, 1], "time": [0, 28], "value": [30, 5]})
EVEN = {"dose": [1e6, 2e6], "burden": [5, 50]}

MISTAKES = {
    "a number as outputs": lambda: cs.simulate(MODEL, 450e6, [1], 3),
    "an array as a dose": lambda: cs.simulate(MODEL, np.array([450e6]), [1]),
    "numpy's number as an output": lambda: cs.simulate(MODEL, 450e6, [1], [np.float64(3)]),
    "levels in words": lambda: cs.simulate(MODEL, 450e6, [1, 2]).quantiles("all"),
    "numpy's number as a level": lambda: cs.simulate(MODEL, 450e6, [1, 2]).quantiles([np.float64(-1)]),
    "a frame as variability": lambda: cs.Population(MODEL, 1, TABLE),
    "a number as variability": lambda: cs.Population(MODEL, 1, {"burden": 50}),
    "a list as variability": lambda: cs.Population(MODEL, 1, ["burden"]),
    "an omega in words": lambda: cs.Population(MODEL, 1, {"Kel_e": cs.lognormal("wide")}),  # type: ignore[arg-type]
    "numpy's seed": lambda: cs.Population(MODEL, np.float64(1)),
    "one correlation": lambda: cs.Population(MODEL, correlation=0.5),
    "a pair in one text": lambda: cs.Population(MODEL, correlation={"K12,K21": 0.5}),
    "a correlation in words": lambda: cs.Population(MODEL, correlation={("K12", "K21"): "high"}),
    "no patients": lambda: cs.Patients(MODEL, None),
    "an array as patients": lambda: cs.Patients(MODEL, np.ones((2, 2))),
    "a population as patients": lambda: cs.Patients(MODEL, PATIENTS),
    "a burden of 200 %": lambda: cs.Patients(MODEL, TABLE.assign(burden=[20, 200])),
    "a negative dose of a patient": lambda: cs.Patients(MODEL, TABLE.assign(dose=-1)),
    "numpy's dose": lambda: cs.Arm(np.float64(-3)),
    "a number as a regimen": lambda: cs.Arm(regimen=450e6),
    "a seed of an arm": lambda: cs.Arm(450e6, seed=1),
    "numbers as infusions": lambda: cs.Regimen([1e6, 2e6]),
    "rules as a protocol": lambda: cs.Trial(PATIENTS, [450e6], 5, cs.Rules()),
    "a series of arms": lambda: cs.Trial(PATIENTS, pd.Series([1e6, 2e6])),
    "half a patient": lambda: cs.Trial(PATIENTS, [1e6], np.float64(0.5)),
    "n of a run": lambda: TRIAL.run(n=3),
    "a seed of a run": lambda: TRIAL.run(seed=3),
    "a chunk in words": lambda: TRIAL.run(chunk="all"),
    "half a thread": lambda: TRIAL.run(n_jobs=0.5),
    "one assay": lambda: cs.Protocol(assays=cs.Assay()),
    "a number as an assay": lambda: cs.Protocol(assays={"sbcma": 0.3}),
    "criteria by name": lambda: cs.Rules(response="imwg"),
    "a limit in words": lambda: cs.Rules(lloq="low"),
    "a limit that is none": lambda: cs.Rules(lloq=np.nan),
    "a list of axes": lambda: cs.sweep(MODEL, ["dose", "burden"]),
    "a measure as a reading": lambda: cs.sweep(MODEL, EVEN, reading="Cmax"),
    "a seed of a sweep": lambda: cs.sweep(MODEL, EVEN, seed=1),
    "a seed of a dose-response": lambda: cs.dose_response(PATIENTS, [1e6, 2e6], seed=1),
    "a population as a trial": lambda: cs.compare(PATIENTS),
    "nothing as a trial": lambda: cs.retreat(None),
    "a trial that is none": lambda: cs.sweep_trials(PATIENTS, EVEN),
    "a replicate of a population": lambda: cs.replicate(PATIENTS, 3),
    "no endpoint": lambda: cs.endpoint(MODEL, None),
    "a horizon in words": lambda: cs.endpoint(MODEL, "Cmax", horizon="late"),
    "no parameters": lambda: cs.local(PEAK, None),
    "a value in words": lambda: cs.local(PEAK, {"K12": "high"}),
    "ends as a range": lambda: cs.tornado(PEAK, {"K12": (1, 2)}),
    "a factor in words": lambda: cs.ranges(MODEL, ["K12"], "factor", factor="two"),
    "values without names": lambda: MODEL.override([1, 2]),
    "no folder of a trial": lambda: cs.read_trial(None),
    "no place to save": lambda: cs.simulate(MODEL, 450e6, [1, 2]).save(None),
    "nothing to estimate": lambda: cs.fit(MODEL, "trial_synthetic", None),
    "other rules to respond by": lambda: cs.respond(LEVELS, cs.Rules()),
    "a seed of data": lambda: cs.respond(LEVELS, cs.IMWG2016(), seed=1),
    "a limit of data in words": lambda: cs.nca(LEVELS, lloq="a"),
    "a horizon of data in words": lambda: cs.nca(LEVELS, horizon="late"),
    "a column that is not there": lambda: TRIAL.run(columns=["x"]),
    "one column": lambda: TRIAL.run(columns="burden"),
    "a number as a checkpoint": lambda: TRIAL.run(checkpoint=3),
    "threads in words": lambda: cs.simulate(MODEL, 450e6, [1], n_jobs="a"),
    "no thread": lambda: cs.simulate(MODEL, 450e6, [1], n_jobs=0),
    "a list of outputs": lambda: cs.simulate(MODEL, 450e6, [1])[["transgene"]],
    "uncertainty in words": lambda: cs.replicate(TRIAL, uncertainty="x"),
    "a misspelt keyword": lambda: cs.respond(LEVELS, cs.IMWG2016(), censor="ema"),
    "a misspelt keyword of a sweep": lambda: cs.sweep(MODEL, EVEN, n_job=2),
    "a misspelt keyword of a run": lambda: TRIAL.run(njobs=2),
    "a misspelt keyword of a comparison": lambda: cs.compare(TRIAL, refrence="450e6"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_says_what_to_do(mistake):
    with pytest.raises(cs.InputError) as caught:
        MISTAKES[mistake]()
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 300
    assert not re.search(r"np\.|float64|int64|array\(| object at ", said)


def test_a_misspelt_keyword_is_told_from_one_that_belongs_elsewhere():
    with pytest.raises(cs.InputError, match=r"^sweep takes no n_job=2; did you mean n_jobs\?$"):
        cs.sweep(MODEL, EVEN, n_job=2)
    with pytest.raises(cs.InputError, match=r"^run takes no seed=3; a seed belongs to the patients"):
        TRIAL.run(seed=3)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.float64(0.5), "0.5"),
        (np.array(3), "3"),
        (np.ones((2, 3)), "ndarray of shape (2, 3)"),
        ((np.float64(1), "a"), "(1.0, 'a')"),
        ([np.int64(1)], "[1]"),
        (TABLE, "DataFrame of shape (2, 1)"),
        (cs.IMWG2016(), "IMWG2016"),
        ("a\nb", "'a\\nb'"),
    ],
)
def test_a_value_in_a_message_is_short(value, said):
    assert brief(value) == said

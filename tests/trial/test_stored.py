"""A stored trial judged again gives what a new run under those rules would have given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from counting import python_calls

from cartsim.endpoints.rules import IMWG2016, SinghLandmark
from cartsim.errors import InputError
from cartsim.population.population import Population
from cartsim.trial.assay import Assay
from cartsim.trial.conduct import KARMMA_FOLLOWUP, Conduct
from cartsim.trial.protocol import Protocol, Rules
from cartsim.trial.stored import judge_stored, read_trial
from cartsim.trial.trial import Arm, Trial

PATIENTS = Population("bb2121_clinical")
ARMS = (Arm(150e6, n=60), Arm(450e6, n=40))
PLAIN = Trial(PATIENTS, ARMS)
SEEN = Trial(
    PATIENTS,
    ARMS,
    protocol=Protocol(
        assays={"mprotein": Assay(cv=0.1, step=0.1), "transgene": Assay(cv=0.3), "sbcma": Assay(cv=0.1)},
        conduct=Conduct(missed=0.15),
    ),
)
ENDS = Conduct(missed=0.2, dropout=0.03, new_therapy=0.03, death=0.03, followup=KARMMA_FOLLOWUP)
ENDED = Trial(PATIENTS, ARMS, protocol=Protocol(conduct=ENDS))
FEW = Trial(PATIENTS, [450e6], 3, Protocol(conduct=Conduct(missed=0.6)))  # some visits nobody attends
RULES = [
    Rules(),
    Rules(IMWG2016(ife_limit=5.0, pd_absolute=2.0, confirm=False), censoring="ema"),
    Rules(IMWG2016(pd_confirmed_by_death=True), SinghLandmark(cr=-95.0), lloq=1000.0),
]


@pytest.mark.parametrize("trial", [PLAIN, SEEN, ENDED, FEW], ids=["plain", "seen", "ended", "few"])
def test_judged_again_as_if_run_again(tmp_path: Path, trial: Trial) -> None:
    ran = trial.run()
    ran.save(tmp_path)
    stored = read_trial(tmp_path)
    for rules in RULES:
        again = replace(trial, protocol=replace(trial.protocol, rules=rules)).run()
        for judged in (ran.judge(rules), stored.judge(rules)):
            pd.testing.assert_frame_equal(judged.patients, again.patients, check_exact=True, check_like=True)
        table = judge_stored(tmp_path, rules)
        assert (table.pop("rules") == rules.changed()).all()
        pd.testing.assert_frame_equal(table, again.summary, check_dtype=False)


def test_many_settings_are_told_apart(tmp_path: Path) -> None:
    PLAIN.run().save(tmp_path)
    rules = [Rules(IMWG2016(ife_limit=limit)) for limit in (0.1, 0.2, 5.0)]
    table = judge_stored(tmp_path, rules)
    assert list(table["rules"].unique()) == ["ife_limit=0.1", "default", "ife_limit=5.0"]
    assert list(table["arm"]) == ["150e6", "450e6"] * 3
    assert list(judge_stored(tmp_path, {"strict": rules[0], "lax": rules[2]})["rules"]) == ["strict"] * 2 + ["lax"] * 2
    with pytest.raises(InputError, match="each once"):
        judge_stored(tmp_path, [rules[0], rules[0]])
    with pytest.raises(InputError, match="one or more"):
        judge_stored(tmp_path, [])


def test_settings_in_words() -> None:
    rules = Rules(IMWG2016(ife_limit=0.1, confirm=False), SinghLandmark(cr_limit=0.2), "ema", 100.0)
    assert rules.changed() == "ife_limit=0.1 confirm=False cr_limit=0.2 censoring=ema lloq=100.0"
    assert Rules().changed() == "default"


def test_what_is_no_trial_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no patients\.parquet"):
        judge_stored(tmp_path, Rules())
    PLAIN.run(keep_visits=False).save(tmp_path)
    with pytest.raises(InputError, match=r"no visits\.parquet"):
        judge_stored(tmp_path, Rules())
    PLAIN.run().save(tmp_path)
    patients = pd.read_parquet(tmp_path / "patients.parquet")
    visits = pd.read_parquet(tmp_path / "visits.parquet")
    visits[visits["id"] != 3].to_parquet(tmp_path / "visits.parquet")
    with pytest.raises(InputError, match="not hold a whole trial"):
        judge_stored(tmp_path, Rules())
    visits.to_parquet(tmp_path / "visits.parquet")
    patients.drop(columns="status").to_parquet(tmp_path / "patients.parquet")
    with pytest.raises(InputError, match="status"):
        judge_stored(tmp_path, Rules())


def test_two_thousand_patients_are_judged_in_the_calls_of_fifty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No patient is simulated again or looked at by itself; how long it takes: ``benchmarks/judging.py``."""
    rules = [Rules(IMWG2016(ife_limit=0.05 * k)) for k in range(1, 4)]
    taken = []
    for n in (25, 1000):
        Trial(PATIENTS, [50e6, 450e6], n).run().save(tmp_path / str(n))
        judge_stored(tmp_path / str(n), rules[:1])  # what is imported or made once
        with monkeypatch.context() as patch, python_calls() as calls:
            patch.setattr(Trial, "measure", None)
            assert len(judge_stored(tmp_path / str(n), rules)) == 6
        taken.append(calls.n)
    assert taken[1] < 1.2 * taken[0]

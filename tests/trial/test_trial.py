"""A trial's patients, arms and protocol: what is taken, what is given, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import cartsim as cs
from cartsim.errors import InputError

MODEL = cs.load("bb2121_clinical")
POPULATION = cs.Population(MODEL, seed=3)
SHORT = cs.Protocol(cs.Visits(response=(28.0, 61.0, 92.0), landmarks=(2.0,)))


def test_arms_are_doses_arms_or_a_mapping_of_names():
    trial = cs.Trial(POPULATION, [150e6, cs.Arm(450e6, n=20, name="high"), 8e8], 10)
    assert [(arm.name, arm.n) for arm in trial.arms] == [("150e6", 10), ("high", 20), ("800e6", 10)]
    split = cs.Regimen.split(450e6, (0.5, 0.5), (0, 7))
    named = cs.Trial(POPULATION, {"one": 450e6, "two": split}, 10)
    assert [arm.name for arm in named.arms] == ["one", "two"]
    assert named.arms[1].regimen == split


def test_a_thousand_of_a_population_and_all_of_a_table():
    assert cs.Trial(POPULATION, [450e6]).n == 1000
    mine = cs.Patients(MODEL, {"burden": [20.0, 40.0, 60.0]})
    assert cs.Trial(mine, [450e6]).n == 3
    assert cs.Trial(mine, [450e6], 2).arms[0].n == 2


def test_patients_of_a_table_are_treated_as_a_simulation_treats_them():
    mine = cs.Patients(MODEL, {"id": ["a", "b"], "burden": [20.0, 60.0], "Kg": [0.01, 0.008], "dose": [1e8, 4e8]})
    result = cs.Trial(mine, [cs.Arm(regimen=cs.Regimen.single(), name="own dose")], protocol=SHORT).run()
    assert result.patients["id"].tolist() == ["a", "b"]
    assert result.patients["dose"].tolist() == [1e8, 4e8]
    alone = cs.simulate(mine, times=[28.0, 61.0, 92.0], outputs=["mprotein_gL"])
    np.testing.assert_allclose(result.visits["own dose"].mprotein, alone["mprotein_gL"], rtol=1e-4)


def test_the_same_patients_are_in_every_arm():
    patients = cs.Trial(POPULATION, [150e6, 450e6], 30, SHORT).run().patients
    one, other = (rows.reset_index(drop=True) for _, rows in patients.groupby("arm", observed=True))
    pd.testing.assert_series_equal(one["Kexp_max"], other["Kexp_max"])
    assert one["Cmax"].tolist() != other["Cmax"].tolist()


def test_the_population_says_which_model_and_seed():
    shifted = cs.Population(MODEL.override({"Kg": 0.02}), seed=9)
    made = cs.Trial(shifted, [450e6], 5, SHORT).run().made_by
    assert made["values"]["Kg"] == 0.02
    assert made["seed"] == 9
    assert made["variability"]["Kexp_max"] == "lognormal 0.22"
    wide = cs.Population("bb2121_clinical:Rm_absolute_SD", 9, {"burden": cs.uniform(5, 95)}, {("K12", "K21"): 0.5})
    for made in (cs.Trial(wide, [450e6], 5, SHORT).run().made_by, cs.simulate(wide, times=[0, 1], n=2).made_by):
        assert made["model"] == "bb2121_clinical:Rm_absolute_SD"
        assert made["variability"]["Rm"] == "lognormal 1.268636241"
        assert made["variability"]["burden"] == "uniform 5 to 95"
        assert made["correlation"] == {"K12,K21": 0.5}


def test_map_gives_what_a_function_makes_of_each_chunk_in_order():
    trial = cs.Trial(POPULATION, [150e6, 450e6], 25, SHORT)
    found = trial.map(lambda seen: (seen.arm, len(seen.patients)), chunk=10)
    assert found == [("150e6", 10), ("150e6", 10), ("150e6", 5), ("450e6", 10), ("450e6", 10), ("450e6", 5)]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: cs.Trial(MODEL, [450e6]), r"a trial of Model; give Population\(model, seed=...\)"),
        (lambda: cs.Trial(pd.DataFrame(), [450e6]), r"give Population\(model, seed=...\) or Patients\(model, table\)"),
        (lambda: cs.Trial(POPULATION, []), "without arms"),
        (lambda: cs.Trial(POPULATION, cs.Arm(450e6)), "give a list"),
        (lambda: cs.Trial(POPULATION, 450e6), "give a list"),
        (lambda: cs.Trial(POPULATION, ["much"]), r"an arm is 'much'; give a dose in cells"),
        (lambda: cs.Trial(POPULATION, [450e6, 450e6]), "two arms called '450e6'"),
        (lambda: cs.Trial(POPULATION, [450e6], 0), "a trial of 0 patients"),
        (lambda: cs.Trial(POPULATION, [450e6], 2.5), "a trial of 2.5 patients"),
        (lambda: cs.Trial(cs.Patients(MODEL, {"burden": [20.0]}), [450e6], 2), "but there are 1; ask for fewer"),
        (lambda: cs.Trial(POPULATION, [450e6], protocol=cs.Visits()), r"give Protocol\(...\)"),
        (lambda: cs.Trial(POPULATION, [450e6], solver=1e-6), r"give Solver\(...\)"),
        (lambda: cs.Trial(cs.Population("bb2121_xenograft"), [5e6]), "cannot be tried on patients"),
        (lambda: cs.Protocol(assays={"ldh": cs.Assay()}), "an assay of 'ldh'"),
        (lambda: cs.Protocol(rules="ema"), r"give Rules\(...\)"),
        (lambda: cs.Rules(censoring="who"), "it is fda or ema"),
        (lambda: cs.Arm(450e6, covariates=60), "give a mapping"),
        (lambda: cs.Trial(POPULATION, [cs.Arm(450e6, covariates={"age": 60})]), "age"),
        (lambda: cs.Trial(POPULATION, [cs.Arm(450e6, covariates={"burden": 160})]), "burden"),
        (
            lambda: cs.Trial(cs.Patients(MODEL, {"burden": [20.0]}), [cs.Arm(450e6, covariates={"burden": 30})]),
            "the patients are a table; give a Population",
        ),
        (lambda: cs.Arm(), "either a dose or a regimen"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(call, says):
    with pytest.raises(InputError, match=says) as refused:
        call()
    assert "np." not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_arm_whose_regimen_leaves_the_dose_open_reports_what_it_infuses():
    """It infuses the model's dose, and once said 0."""
    arms = [
        cs.Arm(regimen=cs.Regimen.single()),
        cs.Arm(regimen=cs.Regimen.repeated(None, (0, 90)), name="twice"),
        cs.Arm(450e6),
    ]
    result = cs.Trial(cs.Population("bb2121_clinical", 1), arms, 5).run()
    assert (result.patients["dose"] == 450e6).all()
    once, said = (result.arm(name)["Cmax"].to_numpy() for name in ("regimen", "450e6"))
    assert (once == said).all()


def test_patients_of_an_arm_may_differ_from_those_of_the_others(tmp_path):
    """Typical values keep the same patients, and who differs in nothing is as without the other arms."""
    own = {"burden": cs.uniform(60, 95), "Kg": 0.02}
    arms = [cs.Arm(150e6, covariates=own), cs.Arm(450e6), cs.Arm(450e6, name="K21", covariates={"K21": 0.2})]
    trial = cs.Trial(POPULATION, arms, 20)
    result = trial.run(chunk=7, n_jobs=2)
    low, high, other = (result.arm(name) for name in result.arms)
    assert low["burden"].between(60, 95).all()
    assert (low["Kg"] == 0.02).all()
    assert (high["Kg"] == MODEL.parameters["Kg"].value).all()
    alone = cs.Trial(POPULATION, [450e6], 20).run().patients
    for name in ("Cmax", "pfs_day", "burden", "K12"):
        assert high[name].tolist() == alone[name].tolist()
    assert other["K21"].to_numpy() == pytest.approx(high["K21"] * 0.2 / MODEL.parameters["K21"].value)
    by_hand = cs.Trial(cs.Population(MODEL.override({"Kg": 0.02}), 3, {"burden": own["burden"]}), [150e6], 20).run()
    assert low["AUC0-28"].tolist() == by_hand.patients["AUC0-28"].tolist()
    result.save(tmp_path)
    again = cs.read_trial(tmp_path).judge(cs.Rules(censoring="ema"))
    pd.testing.assert_frame_equal(again.patients, result.judge(cs.Rules(censoring="ema")).patients)
    assert (
        result.made_by["covariates"] == "{'150e6': {'burden': 'uniform 60 to 95', 'Kg': '0.02'}, 'K21': {'K21': '0.2'}}"
    )
    assert cs.replicate(replace(trial, curves=0), 2, uncertainty=True).frame["Cmax"].nunique() == 6


def test_what_an_arm_says_of_a_quantity_is_no_longer_drawn():
    drawn = replace(POPULATION, draws=pd.DataFrame({"omega(Kg)": [0.1, 0.3], "K21": [0.01, 0.02]}))
    own = cs.Arm(450e6, covariates={"Kg": cs.uniform(0.01, 0.02)}).of(drawn).draws
    pd.testing.assert_frame_equal(own, drawn.draws[["K21"]])


def test_checkpoints_know_the_covariates_of_arms(tmp_path):
    def run(covariates):
        arm = cs.Arm(450e6, 5, covariates=covariates)
        return cs.Trial(POPULATION, [arm]).run(checkpoint=tmp_path).patients["burden"].tolist()

    assert run(None) == run({}) == run(None)
    assert run({"burden": cs.uniform(60, 95)}) != run(None)
    assert run({"burden": cs.uniform(60, 95)}) != run({"burden": cs.uniform(80, 95)})


def test_who_is_never_assessed_counts_and_does_not_respond():
    conduct = cs.Conduct(early_death=0.4, missed=0.2)
    result = cs.Trial(POPULATION, [450e6], 300, cs.Protocol(conduct=conduct)).run()
    unseen = result.patients["visits"] == 0
    assert 0.1 < (result.patients["death_day"] < 28).mean() < 0.6
    assert unseen.sum() >= (result.patients["death_day"] < 28).sum()
    assert (result.patients.loc[unseen, "best"] == "NE").all()
    rates = result.responses().query("endpoint == 'best response'").set_index("category")
    assert rates["n"].tolist() == [300] * len(rates)
    assert rates.loc["NE", "count"] >= unseen.sum()
    assert result.summary["ORR"].item() == pytest.approx(100 * (result.patients["best"] >= "PR").sum() / 300)


def test_a_share_of_patients_may_be_of_another_kind():
    """In some the support of expansion is lost within days, in the others never."""
    mixed = cs.Population("bb2121_clinical:window", 1, {"Ksup": cs.bernoulli()})
    trial = cs.Trial(mixed, [cs.Arm(450e6), cs.Arm(450e6, name="more", covariates={"Ksup": 0.6})], 200)
    patients = trial.run(keep_visits=False).patients
    share = patients.groupby("arm", observed=True)["Ksup"].mean()
    assert share["450e6"] == pytest.approx(0.144, abs=0.09)
    assert share["more"] == pytest.approx(0.6, abs=0.11)
    kinds = patients.groupby("Ksup")["AUC0-28"].median()
    assert list(kinds.index) == [0.0, 1.0]
    assert kinds[0.0] > 10 * kinds[1.0]

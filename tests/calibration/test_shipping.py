"""A calibration made into a population that is used by its name."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

import cartsim as cs
from cartsim.calibration.calibration import Calibration
from cartsim.calibration.shipping import ship

DRAWS = pd.DataFrame(
    {"Kg": [0.01 + 0.001 * k for k in range(50)], "omega(Kexp_max)": [0.1 + 0.01 * k for k in range(50)]}
)
WORDS = {"title": "Mine", "purpose": "a test", "limits": "no more", "command": "cartsim calibrate --trial crb401"}


@pytest.fixture
def calibration() -> Calibration:
    population = cs.Population("bb2121_clinical", 5, sampler="sobol", draws=DRAWS)
    at = {"R_hat": [1.01, 1.03], "effective": [500.0, 420.0], "informed": ["identified", "not"]}
    return Calibration(
        frame=pd.DataFrame({"estimate": list(DRAWS)} | at),
        draws=DRAWS,
        rows=pd.DataFrame({"trial": ["CRB-401"] * 3, "role": ["fit", "fit", "repeat"], "within": [True, False, True]}),
        trace=pd.DataFrame(),
        population=replace(population.at({"Kg": 0.03}), draws=DRAWS),
        priors={},
        converged=True,
        said="converged",
        evaluations=1,
        seconds=1.0,
        made_by={"trials": {"CRB-401": "12ab"}, "protocol_digest": "34cd", "cartsim": "0", "model": "bb2121_clinical"},
    )


def test_a_shipped_population_has_some_of_the_draws_and_says_where_it_is_from(calibration, tmp_path) -> None:
    prediction = cs.predict("crb401", "bb2121_clinical", replicates=5)
    told = ship(calibration, tmp_path / "mine.toml", **WORDS, predictions=[prediction], draws=20)
    found = cs.population(tmp_path / "mine.toml", seed=1)
    assert (found.sampler, found.model.parameters["Kg"].value, len(found.draws)) == ("random", 0.03, 20)
    assert not found.draws.duplicated().any()
    assert len(found.draws.merge(DRAWS.round(9).assign(known=True)).dropna()) == 20
    assert told.provenance["trials"] == {"CRB-401": "12ab"}
    assert (told.provenance["largest_R_hat"], told.provenance["identified"]) == (1.03, ["Kg"])
    assert told.scores["fitted CRB-401"] == {"medians_within_published_limits": 1, "rows": 2}
    every = prediction.compare().set_index("kind").loc["all"]
    assert told.scores["predicted CRB-401"]["interval_score"] == pytest.approx(every["interval_score"])


def test_what_cannot_be_shipped(calibration, tmp_path) -> None:
    path = tmp_path / "mine.toml"
    with pytest.raises(cs.InputError, match=r"has not converged \(R-hat 2\); go on"):
        ship(replace(calibration, converged=False, said="R-hat 2"), path, **WORDS)
    with pytest.raises(cs.InputError, match="400 draws of a calibration that has 50"):
        ship(calibration, path, **WORDS)
    assert not path.exists()

"""What the README shows of the Python API runs as it stands, and each line reads well in a notebook."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cartsim.fitting import maximum, population
from cartsim.observations import example

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


def run(block: str, names: dict[str, Any]) -> list[Any]:
    """What the expressions of a block gave, statement by statement."""
    shown = []
    for statement in ast.parse(block).body:
        code = ast.unparse(statement)
        if isinstance(statement, ast.Expr):
            shown.append(eval(code, names))
        else:
            exec(code, names)
            shown += [names[target.id] for target in getattr(statement, "targets", ()) if isinstance(target, ast.Name)]
    return shown


def readable(value: Any) -> bool:
    return len(repr(value)) < 4000 and hasattr(value, "_repr_html_") | (not hasattr(value, "made_by"))


def test_there_are_two_blocks() -> None:
    assert len(BLOCKS) == 2


def test_every_line_runs_and_reads_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("SALib")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    shown = run(BLOCKS[0], names)
    assert all(readable(value) for value in shown), [len(repr(value)) for value in shown]
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "comparisons.csv", "patients.parquet", "persistence.csv", "pfs.csv", "responses.csv", "summary.json",
        "survival.csv", "visits.parquet",
    ]  # fmt: skip

    pd.DataFrame({"id": [1, 2], "burden": [20.0, 60.0]}).to_csv("mine.csv", index=False)
    shutil.copy(example("trial_synthetic"), "data.csv")
    assert "SYNTHETIC" in example("trial_synthetic").read_text().splitlines()[0]
    quick = population.Saem(explore=20, smooth=10)
    original = population.estimate_by_saem
    monkeypatch.setattr(
        population, "estimate_by_saem", lambda likelihood, first, free, _: original(likelihood, first, free, quick)
    )
    monkeypatch.setattr(maximum, "DRAWS", 400)
    monkeypatch.setattr(maximum, "HELD", 200)
    shown = run(BLOCKS[1], names)
    assert all(readable(value) for value in shown), [len(repr(value)) for value in shown]
    assert len(names["mine"]) == 2
    results = [value for value in shown if hasattr(value, "made_by")]
    assert len(results) == 4
    for result in results:
        assert len(repr(result)) < 2500
        assert "<table" in result._repr_html_()
        assert len(result._repr_html_()) < 5000
        assert {"frame", "summary", "failures", "warnings", "save", "plot"} <= set(dir(result))
    pooled, individual, everyone, responses = results
    for fitted in (pooled, individual, everyone):
        assert fitted.made_by["model"] == "bb2121_clinical"
        assert {"warnings", "remarks"} & fitted.about().keys()
    assert pooled.converged
    assert pooled.warnings == ()
    assert pooled.frame["name"].tolist() == ["Kexp_max", "mprotein_gL.log", "transgene.log"]
    assert len(individual.frame) == 20 * 3
    assert everyone.frame["kind"].tolist() == ["typical"] * 3 + ["omega"] * 3 + ["sigma"] * 2
    (kinetics,) = (value for value in shown if isinstance(value, pd.DataFrame))
    assert len(responses.frame) == len(kinetics) == 20
    assert (responses.frame["best"] >= "PR").mean() > 0.8  # nine in ten respond in this model

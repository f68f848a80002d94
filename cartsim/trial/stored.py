"""A trial that was saved, read again: to be judged by other rules, or drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError
from cartsim.trial.measurements import Visited
from cartsim.trial.outcome import TrialResult
from cartsim.trial.protocol import Protocol, Rules, Visits

if TYPE_CHECKING:
    import pandas as pd


def read_trial(folder: str | Path) -> TrialResult:
    """A saved trial, with the measurements that it was judged by.

    Parameters
    ----------
    folder
        What `TrialResult.save` or the command ``cartsim trial`` wrote.

    Raises
    ------
    InputError
        For files that are missing, damaged or not of one trial, and for a trial without its visits.
    """
    from cartsim.endpoints.rules import IMWG2016, SinghLandmark

    folder = Path(folder)
    patients, visits = _table(folder, "patients.parquet"), _table(folder, "visits.parquet")
    try:
        about = json.loads(_file(folder, "summary.json").read_text("utf-8"))
        planned = Visits(**{name: tuple(days) for name, days in about["visits"].items()})
        given = about["rules"]
        rules = Rules(
            IMWG2016(**given["response"]), SinghLandmark(**given["landmark"]), given["censoring"], given["lloq"]
        )
        kept = {
            str(arm): _visited(rows, visits[visits["arm"] == arm], planned, str(arm))
            for arm, rows in patients.groupby("arm", observed=True, sort=False)
        }
        trial = TrialResult(Protocol(visits=planned, rules=rules), patients, kept, {}, dict(about["made_by"]))
        trial.measurements()  # whatever judging reads is there
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{folder} does not hold a whole trial of cartsim ({error}); run the trial again") from None
    return trial


def judge_stored(folder: str | Path, rules: Rules | Sequence[Rules] | Mapping[str, Rules]) -> pd.DataFrame:
    """Summary of a saved trial under each of the rules.

    Returns a row for each rules and arm: ``rules`` (the key of a mapping, else the settings that differ from the
    defaults), then the columns of the summary. Raises `InputError` as `read_trial`, and when rules are missing or given
    twice.
    """
    import pandas as pd

    if isinstance(rules, Rules):
        rules = [rules]
    named = dict(rules) if isinstance(rules, Mapping) else {each.changed(): each for each in rules}
    if not named or len(named) < len(rules):
        raise InputError(f"{len(rules)} rules, {len(named)} of them different; give one or more, each once")
    trial = read_trial(folder)
    tables = []
    for name, each in named.items():
        table = trial.judge(each).summary
        table.insert(0, "rules", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _visited(patients: pd.DataFrame, visits: pd.DataFrame, planned: Visits, arm: str) -> Visited:
    n = len(patients)
    days = visits["time"].to_numpy().reshape(n, -1)
    ids = visits["id"].to_numpy().reshape(n, -1)
    if (days != days[0]).any() or (ids != patients["id"].to_numpy()[:, None]).any():
        raise ValueError(f"patients and visits of arm {arm} differ")

    def measured(name: str, on: NDArray[np.float64]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = visits[name].to_numpy().reshape(n, -1)
        return values[:, np.searchsorted(days[0], on)]

    response, kinetic = np.array(planned.response), np.array(planned.kinetics)
    return Visited(
        ids=patients["id"].to_numpy(),
        days=response,
        baseline=measured("mprotein", np.zeros(1))[:, 0],
        mprotein=measured("mprotein", response),
        sbcma=measured("sbcma", response),
        kinetic_days=kinetic,
        transgene=measured("transgene", kinetic),
    )


def _table(folder: Path, name: str) -> pd.DataFrame:
    import pandas as pd

    path = _file(folder, name)
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
        raise InputError(f"{path}: {' '.join(str(error).split())}; run the trial again") from None


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise InputError(f"no {name} in {folder}; give the folder of a trial run with its visits kept")
    return path

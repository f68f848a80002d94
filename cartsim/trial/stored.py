"""A trial that was saved, read again: to be judged by other rules, or drawn."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim import memory
from cartsim.endpoints.rules import IMWG2016, SinghLandmark
from cartsim.errors import InputError, check_kind
from cartsim.tables import regular_file
from cartsim.trial.measurements import Visited
from cartsim.trial.outcome import Readout, TrialResult, gathered
from cartsim.trial.protocol import Protocol, Rules, Visits

if TYPE_CHECKING:
    import pandas as pd


FORMER = {"Tmax": "Tmax_day", "tlast": "tlast_day", "half_life": "half_life_days"}
"""Columns of trials that were saved under earlier names."""


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
    import pandas as pd

    check_kind("a stored trial", folder, (str, Path), "the folder that it was saved in")
    folder = Path(folder)
    patients, visits = _table(folder, "patients.parquet").rename(columns=FORMER), _table(folder, "visits.parquet")
    protocol, made = _planned(_file(folder, "summary.json"))
    try:
        if not len(patients):
            raise ValueError("there are no patients")
        if patients["arm"].isna().any():
            raise ValueError("there are patients without an arm")
        for name in ("mrd_lowest", "burden", "new_therapy_day", "death_day", "end_day"):
            _numbers(patients, name)
        for month in protocol.visits.landmarks:
            _numbers(patients, f"change_{month:g}")
        names = list(dict.fromkeys(str(arm) for arm in patients["arm"]))
        for name in names:
            place = np.flatnonzero(patients["arm"].astype(str) == name)
            if place[-1] - place[0] >= len(place):
                raise ValueError(f"the patients of arm {name} are not one below the other")
        patients["arm"] = pd.Categorical(patients["arm"].astype(str), names, ordered=True)
        kept = {
            str(arm): _visited(rows, visits[visits["arm"].astype(str) == arm], protocol.visits, str(arm))
            for arm, rows in patients.groupby("arm", observed=True, sort=False)
        }
        trial = TrialResult(protocol, patients, kept, {}, made)
        trial.measurements()  # whatever judging reads is there
    except (KeyError, TypeError, ValueError) as error:
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
    measured, tables = trial.measurements(), []
    for name, each in named.items():
        protocol = trial.protocol.judged_by(each)
        judge = Readout(protocol, keep_visits=False, columns=())  # what the summary reads
        table = gathered([judge(seen) for seen in measured], protocol, trial.made_by).summary
        table.insert(0, "rules", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _planned(path: Path) -> tuple[Protocol, dict[str, Any]]:
    """The visits and rules that summary.json has, and what made the trial."""
    try:
        about = json.loads(path.read_text("utf-8"))
        days: dict[str, Any] = {name: tuple(map(float, own)) for name, own in dict(about["visits"]).items()}
        planned = Visits(**days)
        given = about["rules"]
        response, landmark = IMWG2016(**given["response"]), SinghLandmark(**given["landmark"])
        further = {name: given[name] for name in Rules().further() if name in given}
        rules = Rules(response, landmark, **further | {"lloq": float(given["lloq"])})
        made = dict(about["made_by"])
    # RecursionError: brackets within brackets; OverflowError: an integer that no float holds.
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        raise InputError(
            f"{path.parent} does not hold a whole trial of cartsim ({path.name} says: {error}); run the trial again"
        ) from None
    return Protocol(visits=planned, rules=rules), made


def _visited(patients: pd.DataFrame, visits: pd.DataFrame, planned: Visits, arm: str) -> Visited:
    n = len(patients)
    if not len(visits):
        raise ValueError(f"arm {arm} has no visits")
    days = _numbers(visits, "planned" if planned.windows else "time").reshape(n, -1)
    ids = visits["id"].to_numpy().reshape(n, -1)
    if (days != days[0]).any() or (ids != patients["id"].to_numpy()[:, None]).any():
        raise ValueError(f"patients and visits of arm {arm} differ")

    def measured(name: str, on: NDArray[np.float64]) -> NDArray[np.float64]:
        if not np.isin(on, days[0]).all() or (np.diff(days[0]) <= 0).any():
            raise ValueError(f"arm {arm} was not seen on the days that were planned")
        return _numbers(visits, name).reshape(n, -1)[:, np.searchsorted(days[0], on)]

    def attended(on: NDArray[np.float64], span: NDArray[np.int64]) -> NDArray[np.float64]:
        if not planned.windows:
            return on
        own = measured("time", on)
        if not ((own >= on + span[:, 0]) & (own <= on + span[:, 1])).all():
            raise ValueError(f"arm {arm} was seen outside of the windows")
        return own

    response, kinetic = np.array(planned.response), np.array(planned.kinetics)
    return Visited(
        ids=patients["id"].to_numpy(),
        days=attended(response, planned.spans[0]),
        baseline=measured("mprotein", np.zeros(1))[:, 0],
        **{name: measured(name, response) for name in ("mprotein", "sbcma", "mrd")},
        kinetic_days=attended(kinetic, planned.spans[1]),
        transgene=measured("transgene", kinetic),
    )


def _numbers(table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """A column of numbers; ValueError for one of anything else."""
    if table[name].dtype.kind not in "iuf":
        raise ValueError(f"{name} holds {table[name].dtype} and not numbers")
    return table[name].to_numpy("float64")


def _table(folder: Path, name: str) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = _file(folder, name)
    try:
        with pq.ParquetFile(path) as file:
            # A short file can stand for any number of rows.
            size = 8 * file.metadata.num_rows * file.metadata.num_columns
            memory.require(2 * size, f"{path}: reading {file.metadata.num_rows:,} rows", "run a smaller trial")
            return file.read().to_pandas()
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}; run the trial again") from None


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if not os.path.lexists(path):
        raise InputError(f"no {name} in {folder}; give the folder of a trial run with its visits kept")
    regular_file(path)
    return path

"""A stored trial judged again, under other rules: from what was measured, without simulating."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from cartsim import memory
from cartsim.analysis.outcome import Readout, Rules, summarize
from cartsim.errors import InputError
from cartsim.tables import regular_file
from cartsim.trial import Observations, Visits

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class StoredTrial:
    """What `read` finds in a folder: measurements by arm, the table of patients, landmarks in months."""

    arms: tuple[Observations, ...]
    patients: pd.DataFrame
    landmarks: tuple[float, ...]

    def judge(self, rules: Rules) -> pd.DataFrame:
        """The table of patients as it would have been, had the trial been judged by these rules."""
        import pandas as pd

        readout = Readout(rules, keep_visits=False)
        patients = pd.concat([readout(seen).patients for seen in self.arms], ignore_index=True)
        patients["arm"] = pd.Categorical(patients["arm"], [seen.arm for seen in self.arms], ordered=True)
        # Residual disease is of the true tumor, which no visit measures, and depends on no rule.
        return patients.assign(mrd_lowest=self.patients["mrd_lowest"].to_numpy())


def rejudge(folder: str | Path, rules: Rules | Sequence[Rules] | Mapping[str, Rules]) -> pd.DataFrame:
    """Summary of a stored trial under each of the rules.

    folder: what `Outcome.save` or the command ``cartsim trial`` wrote, with visits.parquet. Returns a row for
    each rules and arm: ``rules`` (the key of a mapping, else the settings that differ from the defaults),
    then the columns of `cartsim.analysis.outcome.summarize`. Raises InputError for a folder that does not
    hold a whole trial, and when rules are missing or given twice.
    """
    import pandas as pd

    if isinstance(rules, Rules):
        rules = [rules]
    named = dict(rules) if isinstance(rules, Mapping) else {describe(each): each for each in rules}
    if not named or len(named) < len(rules):
        raise InputError(f"{len(rules)} rules, {len(named)} of them different; give one or more, each once")
    trial = read(folder)
    tables = []
    for name, each in named.items():
        table = summarize(trial.judge(each), trial.landmarks)
        table.insert(0, "rules", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def describe(rules: Rules) -> str:
    """The settings that differ from the defaults: "ife_limit=0.1 censoring=ema", or "default"."""
    plain = Rules()
    changed = [
        f"{field.name}={getattr(part, field.name)}"
        for part, default in ((rules.response, plain.response), (rules.landmark, plain.landmark))
        for field in fields(part)
        if getattr(part, field.name) != getattr(default, field.name)
    ]
    changed += [
        f"{name}={getattr(rules, name)}"
        for name in ("censoring", "lloq")
        if getattr(rules, name) != getattr(plain, name)
    ]
    return " ".join(changed) or "default"


def read(folder: str | Path) -> StoredTrial:
    """Read a stored trial. Raises InputError for files that are missing, damaged or not of one trial."""
    folder = Path(folder)
    patients, visits = _table(folder, "patients.parquet"), _table(folder, "visits.parquet")
    planned = _planned(_file(folder, "summary.json"))
    try:
        parts, rows_seen = [], 0
        for arm, rows in patients.groupby("arm", observed=True, sort=False):
            if (rows.index != range(rows_seen, rows_seen + len(rows))).any():
                raise ValueError(f"the patients of arm {arm} are not one below the other")
            rows_seen += len(rows)
            own = visits[visits["arm"] == arm]
            parts.append(_observations(str(arm), rows.reset_index(drop=True), own, planned))
        if not parts or rows_seen < len(patients):
            raise ValueError("there are patients without an arm" if len(patients) else "there are no patients")
        _numbers(patients, "mrd_lowest")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder} does not hold a whole trial of cartsim ({error}); run the trial again") from None
    return StoredTrial(tuple(parts), patients, planned.landmarks)


def _planned(path: Path) -> Visits:
    """The days of the visits, as summary.json has them."""
    try:
        visits = json.loads(path.read_text("utf-8"))["visits"]
        planned = Visits(**{name: tuple(map(float, days)) for name, days in dict(visits).items()})
        if not all(map(math.isfinite, (*planned.response, *planned.kinetics, *planned.landmarks))):
            raise ValueError("a day is infinite")
    # RecursionError: brackets within brackets; OverflowError: an integer that no float holds.
    except (KeyError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise InputError(
            f"{path.parent} does not hold a whole trial of cartsim ({path.name} says of its visits: {error}); "
            "run the trial again"
        ) from None
    return planned


def _observations(arm: str, patients: pd.DataFrame, visits: pd.DataFrame, planned: Visits) -> Observations:
    import numpy as np

    from cartsim.conduct import Course
    from cartsim.engine.rodas import Status

    n = len(patients)
    if not len(visits):
        raise ValueError(f"arm {arm} has no visits")
    days = _numbers(visits, "time").reshape(n, -1)
    ids = visits["id"].to_numpy().reshape(n, -1)
    if (days != days[0]).any() or (ids != patients["id"].to_numpy()[:, None]).any():
        raise ValueError(f"patients and visits of arm {arm} differ")

    def measured(name: str, on: NDArray[np.float64]) -> NDArray[np.float64]:
        if not np.isin(on, days[0]).all() or (np.diff(days[0]) <= 0).any():
            raise ValueError(f"arm {arm} was not seen on the days that were planned")
        return _numbers(visits, name).reshape(n, -1)[:, np.searchsorted(days[0], on)]

    response, kinetic = np.array(planned.response), np.array(planned.kinetics)
    never, seen = np.full(n, np.nan), measured("mprotein", response)
    _numbers(patients, "burden")
    own = patients.columns.get_loc("status")  # parameters and covariates stand before it
    return Observations(
        arm=arm,
        patients=patients.iloc[:, :own],
        response_days=response,
        baseline=measured("mprotein", np.zeros(1))[:, 0],
        mprotein=seen,
        sbcma_change=measured("sbcma", response),
        tumor_relative=np.full(seen.shape, np.nan),
        kinetic_days=kinetic,
        transgene=measured("transgene", kinetic),
        landmarks=planned.landmarks,
        landmark_change=np.column_stack([_numbers(patients, f"change_{month:g}") for month in planned.landmarks]),
        course=Course(
            evaluable=np.isfinite(seen),
            followup_day=never,
            dropout_day=never,
            new_therapy_day=_numbers(patients, "new_therapy_day"),
            death_day=_numbers(patients, "death_day"),
            last_day=_numbers(patients, "end_day"),
        ),
        status=np.array([Status[name] for name in patients["status"]], np.int64),
        curves=None,
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

"""A stored trial judged again, under other rules: from what was measured, without simulating."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from cartsim.errors import InputError
from cartsim.trial.outcome import Readout, Rules, summarize
from cartsim.trial.trial import Observations, Visits

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
    then the columns of `cartsim.trial.outcome.summarize`. Raises InputError for a folder that does not
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
    summary = _file(folder, "summary.json").read_text()
    try:
        planned = Visits(**{name: tuple(days) for name, days in json.loads(summary)["visits"].items()})
        parts = [
            _observations(str(arm), rows.reset_index(drop=True), visits[visits["arm"] == arm], planned)
            for arm, rows in patients.groupby("arm", observed=True, sort=False)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder} does not hold a whole trial of cartsim ({error}); run the trial again") from None
    return StoredTrial(tuple(parts), patients, planned.landmarks)


def _observations(arm: str, patients: pd.DataFrame, visits: pd.DataFrame, planned: Visits) -> Observations:
    import numpy as np

    from cartsim.engine.rodas import Status
    from cartsim.trial.conduct import Course

    n = len(patients)
    days = visits["time"].to_numpy().reshape(n, -1)
    ids = visits["id"].to_numpy().reshape(n, -1)
    if (days != days[0]).any() or (ids != patients["id"].to_numpy()[:, None]).any():
        raise ValueError(f"patients and visits of arm {arm} differ")

    def measured(name: str, on: NDArray[np.float64]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = visits[name].to_numpy().reshape(n, -1)
        return values[:, np.searchsorted(days[0], on)]

    response, kinetic = np.array(planned.response), np.array(planned.kinetics)
    never, seen = np.full(n, np.nan), measured("mprotein", response)
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
        landmark_change=patients[[f"change_{month:g}" for month in planned.landmarks]].to_numpy(),
        course=Course(
            evaluable=np.isfinite(seen),
            followup_day=never,
            dropout_day=never,
            new_therapy_day=patients["new_therapy_day"].to_numpy(),
            death_day=patients["death_day"].to_numpy(),
            last_day=patients["end_day"].to_numpy(),
        ),
        status=np.array([Status[name] for name in patients["status"]], np.int64),
        curves=None,
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

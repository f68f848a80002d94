"""A stored trial judged again, under other rules: from what was measured, without simulating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from cartsim.analysis.outcome import Readout, Rules, summarize
from cartsim.errors import InputError
from cartsim.trial import Observations

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
    """Read a stored trial. Raises InputError for files that are missing, damaged or not of one trial.

    The files do not say why observation ended, nor which visits everybody missed. A trial with dropout, cut-off,
    new therapy or deaths, or with such a visit, is therefore refused.
    """
    folder = Path(folder)
    patients, visits = _table(folder, "patients.parquet"), _table(folder, "visits.parquet")
    try:
        months = [name for name in map(str, patients) if name.startswith("change_")]
        landmarks = tuple(float(name.removeprefix("change_")) for name in months)
        parts = [
            _observations(str(arm), rows.reset_index(drop=True), visits[visits["arm"] == arm], landmarks)
            for arm, rows in patients.groupby("arm", observed=True, sort=False)
        ]
    except InputError:
        raise
    except (KeyError, ValueError) as error:
        raise InputError(f"{folder} does not hold a whole trial of cartsim ({error}); run the trial again") from None
    return StoredTrial(tuple(parts), patients, landmarks)


def _observations(arm: str, patients: pd.DataFrame, visits: pd.DataFrame, landmarks: tuple[float, ...]) -> Observations:
    import numpy as np

    from cartsim.conduct import Course
    from cartsim.engine.rodas import Status

    n = len(patients)
    days = visits["time"].to_numpy().reshape(n, -1)
    ids = visits["id"].to_numpy().reshape(n, -1)
    if (days != days[0]).any() or (ids != patients["id"].to_numpy()[:, None]).any():
        raise ValueError(f"patients and visits of arm {arm} differ")

    def measured(name: str) -> NDArray[np.float64]:
        values: NDArray[np.float64] = visits[name].to_numpy().reshape(n, -1)
        return values

    mprotein, sbcma, transgene = measured("mprotein"), measured("sbcma"), measured("transgene")
    after = days[0] > 0
    response = after & ~(np.isnan(mprotein) & np.isnan(sbcma)).all(axis=0)
    kinetic = after & ~np.isnan(transgene).all(axis=0)
    if (patients["visits"] + patients["missed"] != response.sum()).any():
        raise InputError(
            f"arm {arm}: observation ended early for some patients, or a visit was missed by all, which the files "
            "of a trial do not tell; judge it when it runs"
        )
    never = np.full(n, np.nan)
    seen = mprotein[:, response]
    own = patients.columns.get_loc("status")  # parameters and covariates stand before it
    return Observations(
        arm=arm,
        patients=patients.iloc[:, :own],
        response_days=days[0][response],
        baseline=mprotein[:, 0],
        mprotein=seen,
        sbcma_change=sbcma[:, response],
        tumor_relative=np.full(seen.shape, np.nan),
        kinetic_days=days[0][kinetic],
        transgene=transgene[:, kinetic],
        landmarks=landmarks,
        landmark_change=patients[[f"change_{month:g}" for month in landmarks]].to_numpy(),
        course=Course(
            evaluable=np.isfinite(seen),
            followup_day=never,
            dropout_day=never,
            new_therapy_day=never,
            death_day=never,
            last_day=never,
        ),
        status=np.array([Status[name] for name in patients["status"]], np.int64),
        curves=None,
    )


def _table(folder: Path, name: str) -> pd.DataFrame:
    import pandas as pd

    path = folder / name
    if not path.is_file():
        raise InputError(f"no {name} in {folder}; give the folder of a trial run with its visits kept")
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
        raise InputError(f"{path}: {' '.join(str(error).split())}; run the trial again") from None

"""The summary of a trial: a row an arm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.endpoints.survival import median_of
from cartsim.schedule import MONTH

if TYPE_CHECKING:
    import pandas as pd

GROUPS = {"NE": ("NE",), "PD": ("PD",), "SD": ("SD",), "MR-VGPR": ("MR", "PR", "VGPR"), "CR": ("CR",)}
"""Groups of landmark categories: those of Singh 2021, Figure 6, which calls MR, PR and VGPR together PR; and NE."""
_MEDIANS = ("Cmax", "Tmax_day", "AUC0-28")


def summarize(patients: pd.DataFrame, landmarks: tuple[float, ...]) -> pd.DataFrame:
    """A row an arm: n, failed, medians with 5th and 95th percentile, rates in percent, median PFS (``PFS_months``).

    Landmark rates (``PD_6``) are of all patients as observed; ``measurable`` is the number with measurable disease,
    among whom ``ORR_measurable`` and ``CR_measurable`` are.
    """
    import pandas as pd

    rows = []
    months = [f"month_{month:g}" for month in landmarks]
    # Only what is read: groups are copies.
    read = patients[["arm", "status", *_MEDIANS, *months, "measurable", "best", "pfs_day", "pfs_event"]]
    for arm, group in read.groupby("arm", observed=True, sort=False):
        row: dict[str, Any] = {"arm": arm, "n": len(group), "failed": int((group["status"] != "ok").sum())}
        for name in _MEDIANS:
            values = group[name].dropna().to_numpy()
            low, middle, high = np.percentile(values, [5, 50, 95]) if values.size else (np.nan,) * 3
            row |= {name: middle, f"{name}_p5": low, f"{name}_p95": high}
        for month in landmarks:
            codes = group[f"month_{month:g}"]
            row |= {f"{name}_{month:g}": 100 * float(codes.isin(held).mean()) for name, held in GROUPS.items()}
        measurable = group["measurable"]
        for end, those in (("", group["best"]), ("_measurable", group["best"][measurable])):
            row[f"ORR{end}"] = 100 * float((those >= "PR").mean())
            row[f"CR{end}"] = 100 * float((those == "CR").mean())
        row["measurable"] = int(measurable.sum())
        median = median_of(group["pfs_day"].to_numpy() / MONTH, group["pfs_event"].to_numpy())
        rows.append(row | median.named("PFS_months"))
    return pd.DataFrame(rows)

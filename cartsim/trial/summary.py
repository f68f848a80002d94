"""The summary of a trial: a row an arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.bands import quantiles
from cartsim.endpoints.categories import response_codes
from cartsim.endpoints.rules import Response
from cartsim.endpoints.survival import median_of
from cartsim.schedule import MONTH

if TYPE_CHECKING:
    import pandas as pd

GROUPS = {"NE": ("NE",), "PD": ("PD",), "SD": ("SD",), "MR-VGPR": ("MR", "PR", "VGPR"), "CR": ("CR",)}
"""Groups of landmark categories: those of Singh 2021, Figure 6, which calls MR, PR and VGPR together PR; and NE."""
_MEDIANS = ("Cmax", "Tmax_day", "AUC0-28")


def summarize(
    patients: pd.DataFrame | Mapping[str, Any],
    landmarks: tuple[float, ...],
    further: Mapping[str, dict[str, float]] | None = None,
) -> pd.DataFrame:
    """A row an arm: n, failed, medians with 5th and 95th percentile, rates in percent, median PFS (``PFS_months``).

    ``patients`` is a table or columns by name; ``further`` are columns of each arm that come last.
    Landmark rates (``PD_6``) are of all patients as observed; ``measurable`` is the number with measurable disease,
    among whom ``ORR_measurable`` and ``CR_measurable`` are.
    """
    import pandas as pd

    rows = []
    arms, failed = pd.Categorical(patients["arm"]), pd.Categorical(patients["status"]) != "ok"
    numbers = {name: np.asarray(patients[name]) for name in ("measurable", "pfs_day", "pfs_event")}
    kinetics = np.column_stack([patients[name] for name in _MEDIANS])
    categories = {name: response_codes(patients[name]) for name in ("best", *(f"month_{m:g}" for m in landmarks))}
    for code, arm in enumerate(arms.categories):
        own = arms.codes == code
        n = int(own.sum())
        if not n:
            continue
        row: dict[str, Any] = {"arm": arm, "n": n, "failed": int(failed[own].sum())}
        for name, low, middle, high in zip(_MEDIANS, *quantiles(kinetics[own], (0.05, 0.5, 0.95)), strict=True):
            row |= {name: middle, f"{name}_p5": low, f"{name}_p95": high}
        for month in landmarks:
            codes = categories[f"month_{month:g}"][own]
            counts = np.bincount(codes + 1, minlength=len(Response) + 1)[1:]  # without those of none
            for name, held in GROUPS.items():
                row[f"{name}_{month:g}"] = 100 * float(sum(counts[Response[each]] for each in held) / n)
        best, measurable = categories["best"][own], numbers["measurable"][own]
        for end, those in (("", best), ("_measurable", best[measurable])):
            of = those.size or np.nan
            row[f"ORR{end}"] = 100 * float((those >= Response.PR).sum() / of)
            row[f"CR{end}"] = 100 * float((those == Response.CR).sum() / of)
        row["measurable"] = int(measurable.sum())
        median = median_of(numbers["pfs_day"][own] / MONTH, numbers["pfs_event"][own])
        rows.append(row | median.named("PFS_months") | (further[str(arm)] if further else {}))
    return pd.DataFrame(rows)

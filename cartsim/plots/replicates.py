"""How endpoints scatter over the replicates of a trial, by arm and by dose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.errors import InputError
from cartsim.plots.pictures import Pictures
from cartsim.plots.style import COLORS, arm_colors, arm_title, finish, line, panels, plain_log, quantity_title

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.experiments.replicates import Replicates

NOT_REACHED = "not reached"


def replicates(
    frame: pd.DataFrame,
    endpoints: tuple[str, ...] = ("ORR", "CR", "PFS_months"),
    *,
    note: str = "",
    ax: Axes | None = None,
) -> Figure:
    """The share of the replicates in which an endpoint is at most so much: a panel an endpoint, a line an arm.

    A line that ends below 100 % is that of an endpoint which the other replicates did not reach.

    Parameters
    ----------
    frame
        `Replicates.frame`.
    endpoints
        Its columns to draw.
    note
        What the reader must know.
    ax
        Axes to draw one endpoint in; by default a figure of its own.

    Raises
    ------
    InputError
        For columns that it does not have.
    """
    unknown = [name for name in endpoints if name not in frame]
    if unknown or not endpoints:
        raise InputError(f"no endpoint {', '.join(unknown)} of these replicates; choose from {', '.join(frame)}")
    arms = list(dict.fromkeys(frame["arm"]))
    colors = arm_colors(arms)
    dashes = dict(zip(arms, ("-", "--", "-.", ":") * len(arms), strict=False))
    figure, axes = panels(len(endpoints), ax=ax, width=3.4, height=2.9, columns=3, sharey=True)
    for axis, name in zip(axes, endpoints, strict=True):
        for arm in arms:
            values = np.sort(frame.loc[frame["arm"] == arm, name].to_numpy(float))
            known = values[np.isfinite(values)]
            share = 100 * np.arange(1, len(known) + 1) / len(values)
            axis.step(known, share, where="post", color=colors[arm], ls=dashes[arm], lw=1.8)
            if len(known) and len(known) < len(values):
                axis.plot(known[-1], share[-1], marker=">", ms=5, color=colors[arm])
        axis.set_xlabel(quantity_title(name).replace(" (", "\n("))
        axis.set_ylim(0, 101)
        if not frame[name].notna().any():
            axis.text(0.5, 0.5, NOT_REACHED, ha="center", transform=axis.transAxes)
    axes[0].set_ylabel("Replicates at or below it (%)")
    handles = [line(arm_title(arm), color=colors[arm], ls=dashes[arm], lw=1.8) for arm in arms]
    return finish(figure, "From trial to trial", handles, note=note, ax=ax)


def replicates_by_dose(
    limits: Mapping[str, pd.DataFrame],
    doses: Mapping[str, float],
    endpoints: tuple[str, ...],
    *,
    note: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Endpoints against dose with the band that holds most replicates, a panel an endpoint.

    Parameters
    ----------
    limits
        By population, `Replicates.limits`; a row of panels a population.
    doses
        Cells by arm, `Replicates.doses`; arms of a dose of 0 or of no one dose are left out.
    endpoints, note, ax
        As for `replicates`.

    Raises
    ------
    InputError
        Where fewer than two arms have a dose.
    """
    if len({dose for dose in doses.values() if dose > 0}) < 2:
        raise InputError("replicates_by_dose: fewer than two doses; draw distributions() of the arms")
    columns = min(3, len(endpoints)) if len(limits) == 1 else len(endpoints)
    figure, axes = panels(len(endpoints) * len(limits), ax=ax, width=3.8, height=3.0, columns=columns)
    for k, axis in enumerate(axes):
        population, name = list(limits)[k // len(endpoints)], endpoints[k % len(endpoints)]
        at = limits[population].assign(dose=limits[population]["arm"].map(doses)).query("dose > 0").sort_values("dose")
        axis.fill_between(at["dose"] / 1e6, at[f"{name}_low"], at[f"{name}_high"], color=COLORS[0], alpha=0.22, lw=0)
        axis.plot(at["dose"] / 1e6, at[name], color=COLORS[0], marker="o", ms=3.5, lw=1.6)
        axis.set_xscale("log")
        plain_log(axis.xaxis)
        axis.set_xlabel("Dose (10⁶ CAR-T cells)")
        axis.set_ylabel(quantity_title(name).replace(" (", "\n("))
        axis.set_title(population, fontsize=10)
        if "%" in quantity_title(name):
            axis.set_ylim(-2, 102)
    return finish(figure, "Against dose, from trial to trial", note=note, ax=ax)


def by_dose(
    found: Mapping[str, Replicates],
    endpoints: tuple[str, ...] | None = None,
    *,
    note: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Replicates of several populations against the doses of their arms, see `replicates_by_dose`."""
    first = next(iter(found.values()))
    if endpoints is None:
        endpoints = tuple(name for name in first.endpoints if name.startswith("response_"))
    said = f"{_said(first)} Line: median; band: 2.5th to 97.5th percentile." if note is None else note
    limits = {population: own.summary for population, own in found.items()}
    return replicates_by_dose(limits, first.doses, endpoints, note=said, ax=ax)


def _said(found: Replicates) -> str:
    made: Any = found.made_by
    what = "patients and estimates" if made["uncertainty"] else "patients"
    sizes = " or ".join(f"{n:,}" for n in sorted(set(found.frame["n"])))
    return f"{made['replicates']:,} replicates, each with its own {what}; {sizes} patients an arm."


class ReplicatesPictures(Pictures):
    """Pictures of the replicates of a trial."""

    usual = "distributions"
    _result: Replicates

    def distributions(
        self,
        endpoints: tuple[str, ...] = ("ORR", "CR", "PFS_months"),
        *,
        note: str | None = None,
        ax: Axes | None = None,
    ) -> Figure:
        """The share of the replicates in which an endpoint is at most so much, by arm.

        Parameters
        ----------
        endpoints
            Columns of the result's frame.
        note
            Below; by default how many replicates, and of what.
        ax
            Axes to draw one endpoint in.
        """
        said = f"{_said(self._result)} Arrow: not reached in the other replicates." if note is None else note
        return replicates(self._result.frame, endpoints, note=said, ax=ax)

    def by_dose(
        self, endpoints: tuple[str, ...] | None = None, *, note: str | None = None, ax: Axes | None = None
    ) -> Figure:
        """Endpoints against the arms' doses with 95 % bands; by default response at the landmarks.

        Parameters
        ----------
        endpoints
            Columns of the result's frame.
        note
            Below; by default how many replicates, and of what.
        ax
            Axes to draw one endpoint in.
        """
        return by_dose({"": self._result}, endpoints, note=note, ax=ax)

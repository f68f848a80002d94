"""How endpoints scatter over the replicates of a trial, by arm and by dose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.errors import InputError
from cartsim.plots import style
from cartsim.plots.pictures import Pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.experiments.replicates import Replicates


def replicates_by_dose(
    found: Mapping[str, Replicates],
    endpoints: tuple[str, ...] | None = None,
    *,
    note: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Endpoints against dose with the band that holds 95 % of the replicates, a panel an endpoint.

    Parameters
    ----------
    found
        By population; a row of panels a population. Arms of a dose of 0 or of no one dose are left out.
    endpoints
        Columns of the results' frame; by default response at the landmarks.
    note
        Below; by default how many replicates, and of what.
    ax
        Axes to draw one endpoint of one population in.

    Raises
    ------
    InputError
        Where fewer than two arms have a dose.
    """
    first = next(iter(found.values()))
    if endpoints is None:
        endpoints = tuple(name for name in first.endpoints if name.startswith("response_"))
    if len({dose for dose in first.doses.values() if dose > 0}) < 2:
        raise InputError("replicates_by_dose: fewer than two doses; draw distributions() of the arms")
    shown = [(population, own, name) for population, own in found.items() for name in endpoints]
    columns = min(3, len(endpoints)) if len(found) == 1 else len(endpoints)
    figure, axes = style.panels(len(shown), ax=ax, width=3.8, height=3.0, columns=columns)
    for axis, (population, own, name) in zip(axes, shown, strict=True):
        limits = own.summary
        at = limits.assign(dose=limits["arm"].map(own.doses) / 1e6).query("dose > 0").sort_values("dose")
        axis.fill_between(at["dose"], at[f"{name}_low"], at[f"{name}_high"], color=style.COLORS[0], alpha=0.22, lw=0)
        axis.plot(at["dose"], at[name], color=style.COLORS[0], marker="o", ms=3.5, lw=1.6)
        style.dose_scale(axis)
        axis.set_xlabel(style.DOSE)
        axis.set_ylabel(style.quantity_title(name).replace(" (", "\n("))
        axis.set_title(population, fontsize=10)
        if "%" in style.quantity_title(name):
            axis.set_ylim(-2, 102)
    said = f"{_said(first)} Line: median; band: 2.5th to 97.5th percentile." if note is None else note
    return style.finish(figure, "Against dose, from trial to trial", note=said, ax=ax)


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
        """The share of the replicates in which an endpoint is at most so much: a panel an endpoint, a line an arm.

        A line that ends below 100 % is that of an endpoint which the other replicates did not reach.

        Parameters
        ----------
        endpoints
            Columns of the result's frame.
        note
            Below; by default how many replicates, and of what.
        ax
            Axes to draw one endpoint in.

        Raises
        ------
        InputError
            For columns that it does not have.
        """
        frame = self._result.frame
        unknown = [name for name in endpoints if name not in frame]
        if unknown or not endpoints:
            raise InputError(f"no endpoint {', '.join(unknown)} of these replicates; choose from {', '.join(frame)}")
        arms = list(dict.fromkeys(frame["arm"]))
        dashes = zip(style.arm_colors(arms).items(), ("-", "--", "-.", ":") * len(arms), strict=False)
        pens = {arm: {"color": color, "ls": dash, "lw": 1.8} for (arm, color), dash in dashes}
        figure, axes = style.panels(len(endpoints), ax=ax, width=3.4, height=2.9, columns=3, sharey=True)
        for axis, name in zip(axes, endpoints, strict=True):
            for arm, pen in pens.items():
                values = np.sort(frame.loc[frame["arm"] == arm, name].to_numpy(float))
                known = values[np.isfinite(values)]
                share = 100 * np.arange(1, len(known) + 1) / len(values)
                axis.step(known, share, where="post", **pen)
                if len(known) and len(known) < len(values):
                    axis.plot(known[-1], share[-1], marker=">", ms=5, color=pen["color"])
            axis.set_xlabel(style.quantity_title(name).replace(" (", "\n("))
            axis.set_ylim(0, 101)
            if not frame[name].notna().any():
                style.say_empty(axis, "not reached")
        axes[0].set_ylabel("Replicates at or below it (%)")
        handles = [style.line(style.arm_title(arm), **pen) for arm, pen in pens.items()]
        said = f"{_said(self._result)} Arrow: not reached in the other replicates." if note is None else note
        return style.finish(figure, "From trial to trial", handles, note=said, ax=ax)

    def by_dose(
        self, endpoints: tuple[str, ...] | None = None, *, note: str | None = None, ax: Axes | None = None
    ) -> Figure:
        """Endpoints against the arms' doses with 95 % bands, see `replicates_by_dose`.

        Parameters
        ----------
        endpoints, note, ax
            As there.
        """
        return replicates_by_dose({"": self._result}, endpoints, note=note, ax=ax)

"""Pictures of a fit: predictions over data, residuals, profiles. Frames of `cartsim.fitting.pooled` in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.errors import InputError
from cartsim.plots.pictures import Pictures, chosen
from cartsim.plots.style import (
    COLORS,
    FAINT,
    INK,
    arm_colors,
    finish,
    first_column,
    label_below,
    label_with_unit,
    line,
    need,
    panels,
    times_called,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.fitting import Profile
    from cartsim.fitting.pooled.fitting import Fit
    from cartsim.model.model import Model

WIDE = 30.0  # ratio of largest to smallest from which an axis is logarithmic
LISTED = 12  # conditions named in a legend


def predictions(
    curves: pd.DataFrame,
    residuals: pd.DataFrame,
    *,
    time: str = "days",
    units: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """The fitted curves with their limits over the observations, a panel an output, a color a condition.

    Observations only known to be below a value are drawn open. Values are on a logarithmic axis where all are above 0
    and they span far.

    Parameters
    ----------
    curves
        Of `Fit.predict`.
    residuals
        Of `Fit.residuals`.
    time
        Unit of the axis.
    units
        By output, as model files write them, such as `units_of` finds.
    """
    need("predictions", curves, ("data", "condition", "ids", "output", "time", "predicted", "low", "high"))
    need("predictions", residuals, ("data", "id", "output", "time", "observed", "below"))
    residuals = residuals[residuals["data"].isin(curves["data"])]
    outputs = list(dict.fromkeys(curves["output"]))
    conditions = dict(curves.drop_duplicates("condition")[["condition", "ids"]].to_numpy())
    colors = arm_colors([str(condition) for condition in conditions])
    figure, axes = panels(len(outputs), ax=ax, width=4.6, height=3.4, columns=2)
    for axis, output in zip(axes, outputs, strict=True):
        for condition, ids in conditions.items():
            color = colors[str(condition)]
            own = curves[(curves["output"] == output) & (curves["condition"] == condition)]
            seen = residuals[(residuals["output"] == output) & residuals["id"].astype(str).isin(ids.split(", "))]
            if seen.empty:  # not measured under this condition
                continue
            own = own[own["time"] <= 1.05 * seen["time"].max()]
            axis.fill_between(own["time"], own["low"], own["high"], color=color, alpha=0.2, lw=0)
            axis.plot(own["time"], own["predicted"], color=color, lw=1.4)
            for below, face in ((False, color), (True, "none")):
                part = seen[seen["below"] == below]
                axis.plot(part["time"], part["observed"], "o", ms=4, mec=color, mfc=face, ls="none")
        observed = residuals.loc[residuals["output"] == output, "observed"].to_numpy(float)
        low, high = observed.min(), observed.max()
        if _wide(observed):
            axis.set_yscale("log")
            axis.set_ylim(low / 3, high * 3)
        else:
            margin = 0.15 * (high - low) or 1.0
            axis.set_ylim(low - margin, high + margin)
        axis.set_ylabel(_labelled(output, units))
    label_below(axes, f"Time ({time})")
    shown = [(str(c), ids if len(ids) <= 24 else f"{ids[:22]} ...") for c, ids in conditions.items()]
    handles = [line(ids, color=colors[c], marker="o") for c, ids in shown] if 1 < len(shown) <= LISTED else []
    limits = "" if np.isfinite(curves["low"]).any() else " without limits"
    return finish(figure, f"Fit{limits} and observations", handles, ax=ax)


def residuals(table: pd.DataFrame, *, time: str = "days", units: Mapping[str, str] | None = None) -> Figure:
    """Observed against predicted, and weighted residuals over prediction and time, a row an output.

    Weighted residuals of a good model scatter about 0, one in twenty beyond 2.

    Parameters
    ----------
    table
        Of `Fit.residuals`.
    time, units
        As for `predictions`.

    Raises
    ------
    InputError
        For a table without the columns that are needed, or without a measured value.
    """
    need("residuals", table, ("output", "time", "observed", "below", "predicted", "weighted"))
    table = table[~table["below"].astype(bool)]
    outputs = list(dict.fromkeys(table["output"]))
    if not outputs:
        raise InputError("residuals: every value is only known to be below a limit; there are none to draw")
    figure, axes = panels(3 * len(outputs), width=3.6, height=3.1, columns=3)
    for row, output in enumerate(outputs):
        own = table[table["output"] == output]
        first, second, third = axes[3 * row : 3 * row + 3]
        _points(first, own["predicted"], own["observed"])
        both = own[["predicted", "observed"]].to_numpy(float)
        if _wide(both.ravel()):
            first.set_xscale("log")
            first.set_yscale("log")
            second.set_xscale("log")
        ends = [both.min(), both.max()]
        first.plot(ends, ends, color=FAINT, lw=1)
        shown = _labelled(output, units)
        first.set_xlabel(f"Predicted {shown}")
        first.set_ylabel(f"Observed {shown}")
        for axis, x, label in ((second, "predicted", f"Predicted {shown}"), (third, "time", f"Time ({time})")):
            _points(axis, own[x], own["weighted"])
            for level, style in ((0, "-"), (-2, ":"), (2, ":")):
                axis.axhline(level, color=FAINT, lw=1, ls=style)
            axis.set_xlabel(label)
            axis.set_ylabel("Weighted residual (SDs)")
    return finish(figure, "Residuals")


def profiles(found: Sequence[Profile], *, ax: Axes | None = None) -> Figure:
    """Profiles, a panel a parameter: the change of -2 log likelihood, its parts from data and priors, the limits.

    The dashed line is the threshold of the level of confidence; a curve that does not cross it on both sides belongs
    to a parameter that is not identified. Crosses are points at which the search did not converge.

    Parameters
    ----------
    found
        Of `Fit.profiles`.
    """
    if not found:
        raise InputError("profiles: none are given; give at least one")
    figure, axes = panels(len(found), ax=ax, width=3.1, height=2.7, columns=4)
    parts = (("change", INK, "all"), ("data", COLORS[0], "data"), ("prior", COLORS[1], "priors"))
    for axis, profile in zip(axes, found, strict=True):
        for column, color, _ in parts if profile.with_priors else parts[:1]:
            axis.plot(profile.curve["value"], profile.curve[column], color=color, lw=1.3, marker="o", ms=2.5)
        lost = profile.failures
        axis.plot(lost["value"], lost["change"], "x", color=INK, ms=7)
        axis.axhline(profile.threshold, color=FAINT, lw=1, ls="--")
        axis.axvline(profile.estimate, color=FAINT, lw=1)
        axis.set_ylim(min(-0.3, 1.1 * profile.curve["data"].clip(-profile.threshold).min()), 2 * profile.threshold)
        if _wide(profile.curve["value"].to_numpy(float)):
            axis.set_xscale("log")
        axis.set_xlabel(label_with_unit(profile.name, profile.unit), fontsize=9)
        if not (profile.converged and profile.identified):
            wrong = "not identified" if profile.converged else "not converged"
            axis.set_title(wrong, fontsize=9, color=COLORS[1])
    for axis in first_column(axes):
        axis.set_ylabel("Change of -2 log L")
    priors = any(profile.with_priors for profile in found)
    handles = [line(label, color=color) for _, color, label in parts] if priors else []
    return finish(figure, f"Likelihood profiles, {100 * found[0].level:g} % threshold dashed", handles, ax=ax)


def units_of(model: Model) -> dict[str, str]:
    """Units of a model's outputs and states, by name."""
    return {name: each.unit for name, each in (model.outputs | model.states).items()}


def _labelled(output: str, units: Mapping[str, str] | None) -> str:
    return label_with_unit(output, (units or {}).get(output, "1"))


def _points(axis: Axes, x: Any, y: Any) -> None:
    axis.plot(x, y, "o", ms=4, color=COLORS[0], alpha=0.7, mec="none")


def _wide(values: Any) -> bool:
    """Whether values are all above 0 and span so far that a logarithmic axis shows them better."""
    values = np.asarray(values, float)
    return bool(values.size and values.min() > 0 and values.max() > WIDE * values.min())


class FitPictures(Pictures):
    """Pictures of a fit."""

    usual = "predictions"
    _result: Fit

    def predictions(self, data: str | None = None, output: str | None = None, *, ax: Axes | None = None) -> Figure:
        """The fitted curves with their limits over the observations, a panel an output.

        Parameters
        ----------
        data
            Name of the data set, of the only one by default.
        output
            One output; by default all.
        """
        fit = self._result
        curves, seen = chosen(fit.predict(data=data), "output", output, "output"), fit.residuals()
        model = fit.model(data)
        return predictions(curves, seen, time=times_called(model.time), units=units_of(model), ax=ax)

    def residuals(self) -> Figure:
        """Observed against predicted, and weighted residuals over prediction and time, a row an output.

        Raises
        ------
        InputError
            Where every value is only known to be below a limit.
        """
        fit = self._result
        models = [fit.model(each.name) for each in fit.problem.data]
        units = {name: unit for model in models for name, unit in units_of(model).items()}
        time = " or ".join(dict.fromkeys(times_called(model.time) for model in models))
        return residuals(fit.residuals(), time=time, units=units)

    def profiles(self, names: str | Sequence[str] | None = None, *, n_jobs: int = 1, ax: Axes | None = None) -> Figure:
        """Likelihood profiles, a panel a parameter; they are computed now, which takes a search a point.

        Parameters
        ----------
        names
            Parameters; by default all that are estimated.
        n_jobs
            Processes.
        """
        shown = [names] if isinstance(names, str) else names
        return profiles(list(self._result.profiles(shown, n_jobs=n_jobs).values()), ax=ax)

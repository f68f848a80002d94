"""Pictures of a fit: predictions over data, residuals, profiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.errors import InputError
from cartsim.plots import style
from cartsim.plots.pictures import Pictures, chosen

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.fitting import Profile
    from cartsim.fitting.pooled.fitting import Fit

WIDE = 30.0  # ratio of largest to smallest from which an axis is logarithmic
LISTED = 12  # conditions named in a legend


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
    figure, axes = style.panels(len(found), ax=ax, width=3.1, height=2.7, columns=4)
    parts = (("change", style.INK, "all"), ("data", style.COLORS[0], "data"), ("prior", style.COLORS[1], "priors"))
    for axis, profile in zip(axes, found, strict=True):
        for column, color, _ in parts if profile.with_priors else parts[:1]:
            axis.plot(profile.curve["value"], profile.curve[column], color=color, lw=1.3, marker="o", ms=2.5)
        lost = profile.failures
        axis.plot(lost["value"], lost["change"], "x", color=style.INK, ms=7)
        axis.axhline(profile.threshold, color=style.FAINT, lw=1, ls="--")
        axis.axvline(profile.estimate, color=style.FAINT, lw=1)
        axis.set_ylim(min(-0.3, 1.1 * profile.curve["data"].clip(-profile.threshold).min()), 2 * profile.threshold)
        if _wide(profile.curve["value"].to_numpy(float)):
            axis.set_xscale("log")
        axis.set_xlabel(style.label_with_unit(profile.name, profile.unit), fontsize=9)
        if not (profile.converged and profile.identified):
            wrong = "not identified" if profile.converged else "not converged"
            axis.set_title(wrong, fontsize=9, color=style.COLORS[1])
    style.outer_labels(axes, y="Change of −2 log L")
    priors = any(profile.with_priors for profile in found)
    handles = [style.line(label, color=color) for _, color, label in parts] if priors else []
    return style.finish(figure, f"Likelihood profiles, {100 * found[0].level:g} % threshold dashed", handles, ax=ax)


def _points(axis: Axes, x: Any, y: Any) -> None:
    axis.plot(x, y, "o", ms=4, color=style.COLORS[0], alpha=0.7, mec="none")


def _wide(values: Any) -> bool:
    """Whether values are all above 0 and span so far that a logarithmic axis shows them better."""
    values = np.asarray(values, float)
    return bool(values.size and values.min() > 0 and values.max() > WIDE * values.min())


class FitPictures(Pictures):
    """Pictures of a fit."""

    usual = "predictions"
    _result: Fit

    def predictions(self, data: str | None = None, output: str | None = None, *, ax: Axes | None = None) -> Figure:
        """The fitted curves with their limits over the observations, a panel an output of a data set.

        Each condition has a color. Observations only known to be below a value are drawn open. Values are on a
        logarithmic axis where all are above 0 and they span far.

        Parameters
        ----------
        data
            Name of a data set, by default all.
        output
            One output; by default all.
        """
        curves = chosen(self._result.predict(data=data), "output", output, "output")
        residuals = self._result.residuals()
        shown = list(dict.fromkeys(zip(curves["data"], curves["output"], strict=True)))
        several = len({data for data, _ in shown}) > 1
        conditions = curves.drop_duplicates(["data", "condition"])[["data", "condition", "ids"]].to_numpy().tolist()
        names = {(data, c): f"{data}: {ids}" if several else str(ids) for data, c, ids in conditions}
        colors: dict[Any, Any] = {}
        for data in dict.fromkeys(data for data, _ in names):
            own_names = [key for key in names if key[0] == data]
            colors |= zip(own_names, style.arm_colors([str(c) for _, c in own_names]).values(), strict=True)
        figure, axes = style.panels(len(shown), ax=ax, width=4.6, height=3.4, columns=2)
        for axis, (data, output) in zip(axes, shown, strict=True):
            curve = curves[(curves["data"] == data) & (curves["output"] == output)]
            observations = residuals[(residuals["data"] == data) & (residuals["output"] == output)]
            for condition, own in curve.groupby("condition"):
                color = colors[data, condition]
                seen = observations[observations["id"].astype(str).isin(own["ids"].iloc[0].split(", "))]
                if seen.empty:  # not measured under this condition
                    continue
                own = own[own["time"] <= 1.05 * seen["time"].max()]
                axis.fill_between(own["time"], own["low"], own["high"], color=color, alpha=0.2, lw=0)
                axis.plot(own["time"], own["predicted"], color=color, lw=1.4)
                for below, face in ((False, color), (True, "none")):
                    part = seen[seen["below"] == below]
                    axis.plot(part["time"], part["observed"], "o", ms=4, mec=color, mfc=face, ls="none")
            observed = observations["observed"].to_numpy(float)
            low, high = observed.min(), observed.max()
            if _wide(observed):
                axis.set_yscale("log")
                axis.set_ylim(low / 3, high * 3)
            else:
                margin = 0.15 * (high - low) or 1.0
                axis.set_ylim(low - margin, high + margin)
            axis.set_ylabel(self._labelled(output))
            axis.set_title(data if several else "", fontsize=9)
            axis.set_xlabel(self._time(data))
        short = {key: name if len(name) <= 24 else f"{name[:22]} ..." for key, name in names.items()}
        handles = [style.line(name, color=colors[key], marker="o") for key, name in short.items()]
        handles = handles if 1 < len(handles) <= LISTED else []
        limits = "" if np.isfinite(curves["low"]).any() else " without limits"
        return style.finish(figure, f"Fit{limits} and observations", handles, ax=ax)

    def residuals(self) -> Figure:
        """Observed against predicted, and weighted residuals over prediction and time, a row an output.

        Weighted residuals of a good model scatter about 0, one in twenty beyond 2.

        Raises
        ------
        InputError
            Where every value is only known to be below a limit.
        """
        table = self._result.residuals()
        table = table[~table["below"].astype(bool)]
        outputs = list(dict.fromkeys(table["output"]))
        if not outputs:
            raise InputError("residuals: every value is only known to be below a limit; there are none to draw")
        time = self._time(*dict.fromkeys(table["data"]))
        figure, axes = style.panels(3 * len(outputs), width=3.6, height=3.1, columns=3)
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
            first.plot(ends, ends, color=style.FAINT, lw=1)
            shown = self._labelled(output)
            first.set_xlabel(f"Predicted {shown}")
            first.set_ylabel(f"Observed {shown}")
            for axis, x, label in ((second, "predicted", f"Predicted {shown}"), (third, "time", time)):
                _points(axis, own[x], own["weighted"])
                for level, pen in ((0, "-"), (-2, ":"), (2, ":")):
                    axis.axhline(level, color=style.FAINT, lw=1, ls=pen)
                axis.set_xlabel(label)
                axis.set_ylabel("Weighted residual (SDs)")
        return style.finish(figure, "Residuals")

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

    def _time(self, *data: str) -> str:
        """Label of the times of these data sets."""
        units = dict.fromkeys(style.times_called(self._result.model(name).time) for name in data)
        return f"Time ({' or '.join(units)})"

    def _labelled(self, output: str) -> str:
        """The output with its unit."""
        models = (self._result.model(each.name) for each in self._result.problem.data)
        units = {name: each.unit for model in models for name, each in (model.outputs | model.states).items()}
        return style.label_with_unit(output, units[output])

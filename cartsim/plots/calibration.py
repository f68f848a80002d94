"""Pictures of a calibration: prior against posterior, how the ensembles went."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError, choices
from cartsim.plots import style
from cartsim.plots.pictures import Pictures
from cartsim.plots.prediction import forest_of
from cartsim.trial.published import PublishedTrial, published
from cartsim.trial.published import names as shipped_trials

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.calibration.calibration import Calibration

BINS = 32
PRIOR, POSTERIOR = style.FAINT, style.COLORS[0]


class CalibrationPictures(Pictures):
    """Pictures of a calibration."""

    usual = "marginals"
    _result: Calibration

    def marginals(self, estimates: Sequence[str] | None = None, *, note: str | None = None) -> Figure:
        """Prior against posterior, a panel an estimate; above each the posterior's median and 90 % limits.

        An estimate is drawn on the scale of its prior, where that is normal; the dot below marks the best fit.

        Parameters
        ----------
        estimates
            Which; by default all.
        note
            Below; by default how the sampling ended.
        """
        found = self._result
        names = self._chosen(estimates)
        figure, axes = style.panels(len(names), width=2.5, height=1.9, columns=4)
        table = found.frame.set_index("estimate")
        reach = np.linspace(-3.2, 3.2, 161)
        for axis, name in zip(axes, names, strict=True):
            prior, row = found.priors[name], table.loc[name]
            z = prior.places(found.draws[name].to_numpy())
            edges = np.linspace(min(z.min(), -2.6), max(z.max(), 2.6), BINS + 1)
            heights = np.histogram(z, edges, density=True)[0]
            if prior.scale == "log":
                axis.set_xscale("log")
            axis.fill_between(prior.values(reach), _normal(reach), color=PRIOR, alpha=0.3, lw=0)
            axis.stairs(heights, prior.values(edges), color=POSTERIOR, lw=1.4, baseline=None)
            axis.plot(row["mode"], 0, "o", color=POSTERIOR, ms=5, clip_on=False, zorder=5)
            axis.set_ylim(0, 1.08 * max(heights.max(), _normal(np.zeros(1))[0]))
            axis.set_yticks([])
            axis.spines["left"].set_visible(False)
            _few_ticks(axis, *prior.values(np.array([edges[0], edges[-1]])), log=prior.scale == "log")
            parameter = found.population.model.parameters.get(name)  # none of an omega, which has no unit
            label = name if parameter is None else style.label_with_unit(name, parameter.unit)
            said = f"{label}\n{row['median']:.3g} ({row['low']:.2g} to {row['high']:.2g})"
            axis.set_title(said, fontsize=9, color=style.INK if row["informed"] == "identified" else style.FAINT)
        handles = [style.area("prior", color=PRIOR, alpha=0.4), style.line("posterior", color=POSTERIOR)]
        said = f"Median (90 % limits); black: identified. {found.said[:1].upper()}{found.said[1:]}."
        title = f"Estimates of {found.made_by['model']}, calibrated to {', '.join(found.trials)}"
        return style.finish(figure, title, handles, note=said if note is None else note)

    def chains(self, estimates: Sequence[str] | None = None, *, note: str | None = None) -> Figure:
        """How the ensembles went from step to step: median and 90 % of the walkers of each, a panel an estimate.

        The steps on gray are left out. Ensembles that have not come together have not converged.

        Parameters
        ----------
        estimates
            Which; by default all.
        note
            Below; by default how the sampling ended.

        Raises
        ------
        InputError
            For a sampler without chains, and an unknown estimate.
        """
        found = self._result
        if found.trace.empty:
            raise InputError("chains: this calibration was sampled without chains; draw marginals")
        names = self._chosen(estimates)
        figure, axes = style.panels(len(names), width=2.7, height=1.9, columns=4, sharex=True)
        last = found.trace["step"].max()
        for axis, name in zip(axes, names, strict=True):
            own = found.trace[found.trace["estimate"] == name]
            axis.axvspan(0, last / 3, color=style.FAINT, alpha=0.15, lw=0)
            for ensemble, part in own.groupby("ensemble"):
                color = style.COLORS[int(ensemble) % len(style.COLORS)]
                axis.fill_between(part["step"], part["low"], part["high"], color=color, alpha=0.12, lw=0)
                axis.plot(part["step"], part["median"], color=color, lw=1.1)
            if found.priors[name].scale == "log":
                axis.set_yscale("log")
            _few_ticks(axis, own["low"].min(), own["high"].max(), log=found.priors[name].scale == "log", along="y")
            axis.set_xlim(0, last)
            axis.set_title(name, fontsize=9)
        style.outer_labels(axes, x="Step")
        several = sorted(found.trace["ensemble"].unique())
        handles = [style.line(f"ensemble {k + 1}", color=style.COLORS[int(k) % len(style.COLORS)]) for k in several]
        said = f"Median and 5th to 95th percentile of the walkers. {found.said[:1].upper()}{found.said[1:]}."
        return style.finish(figure, "How the ensembles went", handles, note=said if note is None else note)

    def rows(
        self,
        trial: str | Path | PublishedTrial | None = None,
        *,
        kind: str | None = None,
        roles: Sequence[str] = ("fit",),
        ax: Axes | None = None,
    ) -> Figure:
        """Published results with 95 % limits beside fitted medians with 90 % limits, a row a result.

        Parameters
        ----------
        trial
            One of those that it was calibrated to; by default the first that comes with cartsim.
        kind
            "shares", "times" or "other"; by default all.
        roles
            Which rows: "fit" (those that count once), "repeat".

        Raises
        ------
        InputError
            For another trial or kind, and where no row is left.
        """
        told = self._trial(trial)
        rows = self._result.rows
        rows = rows[rows["trial"] == told.name]
        fitted = {"median": "predicted", "fitted_low": "predicted_low", "fitted_high": "predicted_high"}
        table = rows.rename(columns={own: f"calibrated {as_}" for own, as_ in fitted.items()})
        title = f"{told.name}: published (95 % limits) and calibrated (90 % limits)"
        return forest_of(table, told, ["calibrated"], title, kind, roles, ax)

    def _trial(self, trial: str | Path | PublishedTrial | None) -> PublishedTrial:
        """The trial, as it was when the calibration was made."""
        known = self._result.made_by["trials"]
        for each in shipped_trials() if trial is None else [trial]:
            told = published(each)
            if told.digest in known.values():
                return told
        which = "give the path of its file" if trial is None else f"it is of {', '.join(known)}"
        raise InputError(f"rows: the calibration is of no such trial as it is now; {which}")

    def _chosen(self, estimates: Sequence[str] | None) -> list[str]:
        known = list(self._result.priors)
        names = known if estimates is None else [estimates] if isinstance(estimates, str) else list(estimates)
        for name in names:
            if name not in known:
                raise InputError(f"no estimate {name!r} was free{choices(str(name), known)}")
        return names


def _normal(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)


def _few_ticks(axis: Axes, low: float, high: float, *, log: bool, along: str = "x") -> None:
    """At most four labels that stand apart: of a logarithmic axis round numbers, of another what matplotlib takes."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    own = axis.xaxis if along == "x" else axis.yaxis
    own.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    own.set_tick_params(labelsize=8)
    if not log:
        own.set_major_locator(MaxNLocator(4))
        return
    decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = np.sort(np.outer(10.0**decades, steps).ravel())
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        if len(ticks) <= 4:
            break
    own.set_ticks(ticks[:: -(-len(ticks) // 4) or 1])
    own.set_minor_locator(NullLocator())

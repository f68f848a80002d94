"""Pictures of an exposure-response analysis, in the layout of the KarMMa and KarMMa-3 figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.errors import InputError
from cartsim.plots import style
from cartsim.plots.pictures import Pictures
from cartsim.plots.survival import kaplan_meier, tested

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.exposure.analysis import ExposureResponse

OBSERVED, FITTED, OTHER = style.INK, style.COLORS[0], style.COLORS[1]
SURVIVAL = {
    "PFS": ("Progression-free survival", None, "infusion"),
    "DOR": ("Duration of response", "Still in response", "first response"),
}
DASHES = {"linear": "--", "Emax": "-", "sigmoid Emax": ":"}
MARKS = {"assumed": ("o", style.COLORS[1]), "by model": ("D", style.COLORS[0]), "simulated": ("s", style.INK)}


class ExposureResponsePictures(Pictures):
    """Pictures of an exposure-response analysis."""

    usual = "response"
    _result: ExposureResponse

    def response(self, *, ax: Axes | None = None) -> Figure:
        """Observed rates by quartile of exposure with limits, and the models' curves in exposure alone.

        As Figures 2 and 3 of the KarMMa analysis: error bars at the median of each quartile, horizontal lines over its
        range, responders/patients above; beneath, median and 90 % range of exposure by dose.
        """
        found = self._result
        figure, (axis,) = style.panels(1, ax=ax, width=7.6, height=5.0)
        table, chosen = found.quartiles, found.model
        values = found.data.frame[found.exposure]
        values = values[values > 0] if chosen.log else values
        low, high = float(values.min()), float(values.max())
        grid = np.geomspace(low, high, 200) if chosen.log else np.linspace(low, high, 200)
        handles = []
        for kind, model in found.curves.items():
            own, curve = kind == chosen.kind, model.predict(grid)
            if own and curve["low"].notna().all():
                axis.fill_between(grid, 100 * curve["low"], 100 * curve["high"], color=FITTED, alpha=0.15, lw=0)
            pen: dict[str, Any] = {"ls": DASHES[kind], "lw": 2.0 if own else 1.2}
            pen["color"] = FITTED if own else style.FAINT
            axis.plot(grid, 100 * curve["probability"], zorder=3 if own else 2, **pen)
            handles.append(style.line(f"{kind} model{', chosen, with 95 % limits' if own else ''}", **pen))
        if chosen.design.covariates:
            # Covariates go with exposure, so that no one patient's curve passes through the quartiles.
            own = found.evaluation[found.evaluation["quartile"] != "all"]
            pen = {"color": OTHER, "marker": "x", "ms": 8, "mew": 2, "ls": ""}
            axis.plot(own["median_exposure"], own["predicted"], **pen)
            held = ", ".join(each.name for each in chosen.design.covariates)
            handles.append(style.line(f"with {held}: mean over the quartile's patients", **pen))
        whiskers = style.reach(table["percent"], table["low"], table["high"])
        axis.errorbar(
            table["median"], table["percent"], yerr=whiskers, fmt="o", ms=6, color=OBSERVED, capsize=4, lw=1.4
        )
        axis.hlines(table["percent"], table["lowest"], table["highest"], color=OBSERVED, lw=0.8, alpha=0.6)
        for row in table.itertuples():
            axis.annotate(
                f"{row.quartile}: {row.events}/{row.n}",
                (row.median, row.high),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=9,
            )
        handles.append(style.line("observed by quartile, 95 % limits", color=OBSERVED, marker="o", lw=1.4))
        if _dose_ranges(axis, found.data.frame, found.exposure):
            handles.append(
                style.line("exposure by dose, median and 90 % range", color=style.COLORS[2], marker="D", lw=1.4)
            )
        if chosen.log:
            axis.set_xscale("log")
        ticks = np.arange(0, 101, 20)
        axis.set_yticks(ticks)
        axis.set_ylabel(f"{found.endpoint_title} (% of patients)")
        axis.set_xlabel(found.exposure_title)
        title = f"{found.endpoint} by {found.exposure_name}, n = {int(table['n'].sum())}"
        return style.finish(figure, title, handles, ax=ax)

    def exposures(self) -> Figure:
        """Exposure by response and by dose, and how Cmax and AUC0-28 go together (KarMMa analysis, Figure 1)."""
        found, frame = self._result, self._result.data.frame
        both = {"cmax", "auc028"} <= set(frame)
        groups = _dose_groups(frame)
        figure, axes = style.panels(1 + bool(groups) + both, width=3.9, height=3.8, columns=3)
        yes, x = frame[found.endpoint], frame[found.exposure]
        divided = {f"no {found.endpoint}": x[yes == 0], found.endpoint: x[yes == 1]}
        _boxes(axes[0], divided, found.exposure_title)
        axes[0].set_title("By response", fontsize=10)
        if groups:
            _boxes(axes[1], {name: x[own] for name, own in groups.items()}, found.exposure_title)
            axes[1].set_title("By dose", fontsize=10)
            axes[1].set_xlabel(style.DOSE)
        if both:
            own = frame[["cmax", "auc028"]]
            own = own[(own > 0).all(axis=1)]
            axes[-1].loglog(own["cmax"], own["auc028"], ls="", marker="o", ms=4, color=FITTED, alpha=0.6, mew=0)
            plain, logs = (float(np.corrcoef(each.to_numpy().T)[0, 1]) for each in (own, np.log(own)))
            axes[-1].set_title(f"r = {plain:.2f}; of logarithms {logs:.2f}", fontsize=10)
            axes[-1].set_xlabel(found.title_of("cmax"))
            axes[-1].set_ylabel(found.title_of("auc028"))
        note = "Box: quartiles; whiskers: 5th and 95th percentile; points: patients. Logarithmic axes."
        return style.finish(figure, f"{found.exposure_name} by response and dose", note=note)

    def survival(self, endpoint: str = "PFS", *, last: float | None = None, ax: Axes | None = None) -> Figure:
        """Kaplan-Meier curves by quartile of exposure with the log-rank test (KarMMa-3, Figure 2).

        Parameters
        ----------
        endpoint
            "PFS" or "DOR".
        last
            Month at which the axis ends.
        ax
            Axes to draw the curves in, without the numbers at risk.

        Raises
        ------
        InputError
            Where the times of this endpoint are not in the data.
        """
        found = self._result.survival
        if endpoint not in found:
            raise InputError(
                f"no {endpoint} by exposure here; there is {' and '.join(found) or 'no survival endpoint'}"
            )
        what, scale, since = SURVIVAL[endpoint]
        by = f"by quartile of {self._result.exposure_name}{tested(found[endpoint].logrank.pvalue)}"
        return kaplan_meier(found[endpoint].curves, what=what, scale=scale, since=since, by=by, last=last, ax=ax)

    def dose_response(self, *, ax: Axes | None = None) -> Figure:
        """Predicted rates at each dose with limits (KarMMa analysis, Figure 4), beside those as simulated.

        Raises
        ------
        InputError
            Where nothing was predicted, as doses are not known.
        """
        found = self._result
        if found.prediction is None:
            raise InputError("no dose-response was predicted; give data with a column dose")
        table = found.prediction.table
        doses = sorted(table["dose"].unique())
        figure, (axis,) = style.panels(1, ax=ax, width=7.4, height=4.6)
        handles, ways = [], list(dict.fromkeys(table["way"]))
        for k, way in enumerate(ways):
            own = table[table["way"] == way].sort_values("dose")
            mark, color = MARKS[way]
            x = np.searchsorted(doses, own["dose"]) + 0.25 * (k - (len(ways) - 1) / 2)
            limits = style.reach(own["percent"], own["low"], own["high"])
            axis.errorbar(x, own["percent"], yerr=limits, fmt=mark, ms=6, color=color, capsize=3, lw=1.2, ls="-")
            for at, row in zip(x, own.itertuples(), strict=True):
                above = way == "simulated"
                axis.annotate(
                    f"{row.events:.0f}/{row.n}",
                    (at, row.high if above else row.low),
                    xytext=(0, 5 if above else -5),
                    textcoords="offset points",
                    ha="center",
                    va="bottom" if above else "top",
                    fontsize=8,
                    color=color,
                )
            handles.append(style.line(f"{way}: {found.prediction.words(way)}", color=color, marker=mark, lw=1.2))
        axis.set_xticks(range(len(doses)), [f"{dose / 1e6:g}" for dose in doses])
        axis.set_xlim(-0.5, len(doses) - 0.5)
        axis.margins(y=0.15)
        axis.set_xlabel(style.DOSE)
        axis.set_ylabel(f"{found.endpoint_title} (% of patients)")
        note = (
            "The assumption is that of the KarMMa analysis. Limits of 95 %: of models, from their estimates; as "
            f"simulated, Wilson's. {found.prediction.text}{'.' * bool(found.prediction.text)}"
        )
        return style.finish(
            figure, f"{found.endpoint} predicted by dose, {found.model.kind} model", handles, note=note, ax=ax
        )

    def dose_exposure(self, *, ax: Axes | None = None) -> Figure:
        """Exposure against the dose infused with the regression of the reference patient (KarMMa-3, Figure 1).

        Raises
        ------
        InputError
            Where there was no regression, as doses are not known or all the same.
        """
        found = self._result
        if found.dose is None:
            raise InputError("no regression of exposure on dose; give data with several doses in a column dose")
        figure, (axis,) = style.panels(1, ax=ax, width=6.8, height=4.4)
        curve, seen = found.dose.curve(), found.dose.observed
        axis.plot(seen["dose"] / 1e6, seen["exposure"], ls="", marker="o", ms=5, mfc="none", mec=OBSERVED, alpha=0.6)
        axis.fill_between(curve["dose"] / 1e6, curve["low"], curve["high"], color=FITTED, alpha=0.2, lw=0)
        axis.plot(curve["dose"] / 1e6, curve["exposure"], color=FITTED, lw=2)
        axis.set_yscale("log")
        axis.set_xlabel(style.DOSE)
        axis.set_ylabel(found.exposure_title)
        handles = [
            style.line("observed", color=OBSERVED, marker="o", mfc="none", ls=""),
            style.line("reference patient", color=FITTED, lw=2),
            style.area("95 % limits of the mean", color=FITTED, alpha=0.2, lw=0),
        ]
        held = ", ".join(f"{name} {value:.3g}" for name, value in found.dose.reference.items())
        note = f"{found.dose.text}." + (f" Reference patient: {held}." if held else "")
        return style.finish(figure, f"{found.exposure_name} by dose infused", handles, note=note, ax=ax)

    def validation(self, *, ax: Axes | None = None) -> Figure:
        """Observed against predicted rates of a second trial, by quartile of its exposure.

        Raises
        ------
        InputError
            Where no second trial was given.
        """
        found = self._result
        if found.validation is None:
            raise InputError("there is no second trial; give one as validate=")
        figure, (axis,) = style.panels(1, ax=ax, width=5.6, height=5.0)
        axis.plot([0, 100], [0, 100], color=style.FAINT, lw=1, ls="--")
        for row in found.validation.itertuples():
            every = row.quartile == "all"
            axis.errorbar(
                row.predicted,
                row.observed,
                xerr=style.reach(row.predicted, row.predicted_low, row.predicted_high)[:, None],
                yerr=style.reach(row.observed, row.observed_low, row.observed_high)[:, None],
                fmt="s" if every else "o",
                color=OTHER if every else FITTED,
                capsize=3,
                ms=6,
                lw=1.2,
            )
            axis.annotate(
                f"{row.quartile} ({row.events}/{row.n})",
                (row.predicted, row.observed),
                xytext=(-6, 5) if every else (6, -12),
                textcoords="offset points",
                ha="right" if every else "left",
                fontsize=9,
            )
        highest = found.validation[["observed_high", "predicted_high"]].to_numpy().max()
        end = min(100.0, 10 * np.ceil(highest / 10))
        axis.set_xlim(-0.03 * end, 1.03 * end)
        axis.set_ylim(-0.03 * end, 1.03 * end)
        axis.set_aspect("equal")
        axis.set_xlabel(f"Predicted {found.endpoint} (% of patients)")
        axis.set_ylabel(f"Observed {found.endpoint} (% of patients)")
        handles = [
            style.line("quartile of exposure", color=FITTED, marker="o", ls=""),
            style.line("all patients", color=OTHER, marker="s", ls=""),
            style.line("as predicted", color=style.FAINT, ls="--", lw=1),
        ]
        return style.finish(figure, f"{found.endpoint} of a second trial against the model", handles, ax=ax)

    def roc(self, *, ax: Axes | None = None) -> Figure:
        """Receiver operating characteristic of the chosen model in its own patients."""
        found = self._result
        figure, (axis,) = style.panels(1, ax=ax, width=5.2, height=4.8)
        axis.plot([0, 100], [0, 100], color=style.FAINT, lw=1, ls="--")
        curve = found.roc
        axis.plot(100 * (1 - curve.frame["specificity"]), 100 * curve.frame["sensitivity"], color=FITTED, lw=2)
        axis.set_xlim(-1, 101)
        axis.set_ylim(-1, 101)
        axis.set_aspect("equal")
        axis.set_xlabel("1 − specificity (%)")
        axis.set_ylabel("Sensitivity (%)")
        return style.finish(figure, f"{found.endpoint}: area under the ROC curve {curve.auc:.2f}", ax=ax)


def _dose_groups(frame: pd.DataFrame) -> dict[str, Any]:
    """Patients by dose in millions of cells, to tens where doses are many; none for a single dose or more than six."""
    if "dose" not in frame or not frame["dose"].notna().any():
        return {}
    millions = (frame["dose"] / 1e6).round(-1 if frame["dose"].nunique() > 6 else 6)
    levels = sorted(millions.dropna().unique())
    return {f"{level:g}": (millions == level).to_numpy() for level in levels} if 1 < len(levels) <= 6 else {}


def _dose_ranges(axis: Axes, frame: pd.DataFrame, exposure: str) -> bool:
    """Median and 90 % range of exposure of each dose, beneath the curves; whether there are any."""
    groups = _dose_groups(frame) if exposure != "dose" else {}
    floor = -6.0
    for k, (name, own) in enumerate(groups.items()):
        values = frame[exposure][own].dropna()
        values = values[values > 0]
        if not len(values):
            continue
        low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
        y = floor - 7 * k
        axis.plot([low, high], [y, y], color=style.COLORS[2], lw=1.4)
        axis.plot(middle, y, marker="D", ms=6, color=style.COLORS[2])
        text = f"{name} × 10⁶, n = {len(values)}"
        axis.annotate(text, (high, y), (6, 0), textcoords="offset points", va="center", fontsize=8, color=style.INK)
    axis.set_ylim(floor - 7 * len(groups) + 3 if groups else -4, 112)
    return bool(groups)


def _boxes(axis: Axes, groups: dict[str, Any], label: str) -> None:
    """Boxes with whiskers from the 5th to the 95th percentile, and the patients beside their middle."""
    known = {name: np.asarray(values[values > 0], float) for name, values in groups.items()}
    known = {name: values for name, values in known.items() if len(values)}
    axis.boxplot(
        list(known.values()),
        whis=(5, 95),
        showfliers=False,
        widths=0.6,
        medianprops={"color": OTHER, "lw": 2},
        boxprops={"color": OBSERVED},
    )
    for k, values in enumerate(known.values(), 1):
        places = k + 0.22 * np.sin(np.arange(len(values)) * 2.4)  # apart, the same each time
        axis.plot(places, values, ls="", marker="o", ms=3, color=FITTED, alpha=0.4, mew=0)
    axis.set_yscale("log")
    axis.set_xticks(
        range(1, len(known) + 1), [f"{name}\nn = {len(values)}" for name, values in known.items()], fontsize=9
    )
    axis.set_ylabel(label)

"""What decides the outcome: tornado, indices, their course along time, their convergence, responders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError
from cartsim.plots import style
from cartsim.plots.pictures import Pictures
from cartsim.sensitivity.phases import Course, course

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.sensitivity.endpoint import Function
    from cartsim.sensitivity.indices import Indices
    from cartsim.sensitivity.local import Elasticities, Tornado
    from cartsim.sensitivity.ranks import RankCorrelations
    from cartsim.sensitivity.responders import Responders

LOW, HIGH = "#56B4E9", "#00274D"  # the two ends of a range; first and total order
GRAY = "#C9C9C9"  # bars of what is not clear
# Okabe and Ito without yellow, which is too pale for lines, each color with a line style of its own.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B")
STYLES = ("-", "--")
FEW = 8  # values below which each has a mark
SHADES = ("#EEF4FA", "#FFFFFF", "#F5F0E6")
SMALL = 0.02  # indices below it are one gray group, unless named
WHISKERS: dict[str, Any] = {"fmt": "none", "ecolor": style.FAINT, "elinewidth": 1.2, "capsize": 2}
Phases = Mapping[str, tuple[float, float]]


class _FunctionPictures(Pictures):
    """Pictures of what is known of a function: one number, or a curve, which has a picture of its own."""

    _result: Any
    _of_curve: str

    @property
    def usual(self) -> str:  # type: ignore[override]
        return "bars" if self._result.function.times is None else self._of_curve

    def _times(self) -> NDArray[np.float64]:
        """Those of the curve."""
        function: Function = self._result.function
        if function.times is None:
            raise InputError(f"{function.name} is one number, which has no course along time; draw bars")
        return function.times

    def _refuse_curve(self) -> None:
        function: Function = self._result.function
        if function.times is not None:
            raise InputError(f"{function.name} is a curve; draw {self._of_curve}")


class IndicesPictures(_FunctionPictures):
    """Pictures of Sobol or eFAST indices."""

    _result: Indices
    _of_curve = "over_time"

    def bars(self, *, note: str | None = None, ax: Axes | None = None) -> Figure:
        """First and total order indices with their limits, the most important parameter at the top.

        Parameters
        ----------
        note
            Below; by default how the indices were computed.

        Raises
        ------
        InputError
            For a curve; see `over_time`.
        """
        self._refuse_curve()
        table = self._result.table.sort_values("total", ascending=False, kind="stable")
        figure, axis, rows = _rows(table["parameter"], ax=ax)
        limited = bool(np.isfinite(table[["first_high", "total_high"]]).all(axis=None))
        for order, shift, color in (("first", 0.18, HIGH), ("total", -0.18, LOW)):
            value = table[order].to_numpy()
            axis.barh(rows + shift, value, height=0.34, color=color)
            if limited:
                axis.errorbar(value, rows + shift, xerr=table[f"{order}_high"] - value, **WHISKERS)
        axis.axvline(0, color=style.INK, lw=0.9)
        axis.set_xlabel(f"Share of the variance{' (whiskers: limits)' if limited else ''}")
        handles = [style.area("first order: alone", color=HIGH), style.area("total: with interactions", color=LOW)]
        return style.finish(
            figure,
            f"Sensitivity indices: {self._result.function.name}",
            handles,
            note=self._result.how() if note is None else note,
            ax=ax,
        )

    def over_time(
        self,
        *,
        phases: Phases | None = None,
        named: Sequence[str] = (),
        note: str | None = None,
    ) -> Figure:
        """Indices of a curve along time, a column a phase with its own axis, under the typical curve.

        After Figure S1 of Singh 2021 as the paper's text describes it. At most eight parameters are drawn in color,
        the others gray.

        Parameters
        ----------
        phases
            First and last time by name; by default expansion, contraction and persistence of the model's CAR-T cells,
            the whole time where there are none.
        named
            Parameters drawn in color even if their indices stay below 0.02.
        note
            Below; by default how the indices were computed.

        Raises
        ------
        InputError
            For an endpoint that is one number; see `bars`.
        """
        found, function, times = self._result, self._result.function, self._times()
        if of_model := function.model is not None:
            own = course(function)
        else:
            own = Course(times, np.median(found.values, axis=0), {"whole time": (float(times[0]), float(times[-1]))})
        shown, t, y = own.phases if phases is None else phases, own.times, own.curve
        if not shown:
            raise InputError("over_time: give at least one phase, its name with its first and last time")
        styles = _styles(found.table, named)
        figure, drawn = style.panels(
            3 * len(shown), width=3.6, height=2.5, columns=len(shown), sharey="row", height_ratios=(0.8, 1, 1)
        )
        axes: NDArray[Any] = np.array(drawn, object).reshape(3, len(shown))
        limits = y[(t >= min(a for a, _ in shown.values())) & (t <= max(b for _, b in shown.values())) & (y > 0)]
        top = max(1.0, *(float(found.table[order].max()) for order in ("first", "total")))
        for column, (phase, (start, end)) in enumerate(shown.items()):
            inside = (t >= start) & (t <= end)
            above, *both = axes[:, column]
            above.set_title(phase.capitalize(), fontsize=11)
            above.plot(t[inside], y[inside], color=style.INK, lw=1.8)
            if (y > 0).all():
                above.set_yscale("log")
                if limits.size:
                    above.set_ylim(limits.min() / 1.5, limits.max() * 1.5)
            part = found.table[found.table["time"].between(start, end)]
            for axis, order in zip(both, ("first", "total"), strict=True):
                _index_lines(axis, part, "time", order, styles)
                axis.set_ylim(-0.04, 1.04 * top)
            for axis in axes[:, column]:
                axis.set_xlim(start, end)
                axis.set_facecolor(SHADES[column % len(SHADES)])
            both[-1].set_xlabel(f"Time since infusion ({_unit(function)})")
        labels = (
            f"{'Typical patient' if of_model else 'Median of all runs'}\n{_endpoint(function)}",
            "First order index\n(share of variance, alone)",
            "Total order index\n(with interactions)",
        )
        for axis, label in zip(axes[:, 0], labels, strict=True):
            axis.set_ylabel(label)
        title = f"Sensitivity along time: {function.name}"
        return style.finish(figure, title, _named(styles), note=found.how() if note is None else note)

    def convergence(self, time: float | None = None, *, named: Sequence[str] = (), note: str | None = None) -> Figure:
        """Sobol indices with their limits against the number of base samples.

        Parameters
        ----------
        time
            Of a curve, which reading.
        named
            Parameters drawn in color even if their indices stay below 0.02.
        note
            Below; by default how the indices were computed.

        Raises
        ------
        InputError
            For eFAST, and a time that was not read.
        """
        found = self._result
        table = found.convergence(time)
        styles = _styles(table[table["n"] == table["n"].max()], named)
        sizes = np.unique(table["n"])
        figure, axes = style.panels(2, width=4.8, height=3.7, sharey=True)
        for axis, order in zip(axes, ("first", "total"), strict=True):
            _index_lines(axis, table, "n", order, styles)
            axis.set_xscale("log", base=2)
            axis.set_xticks(sizes, [f"{n:,}" for n in sizes], fontsize=9, rotation=45)
            axis.minorticks_off()
            axis.set_title(f"{order.capitalize()} order", fontsize=10)
        low, high = table[["first_low", "total_low"]].min().min(), table[["first_high", "total_high"]].max().max()
        axes[0].set_ylim(max(-0.4, low - 0.02), min(1.4, high + 0.02))
        style.outer_labels(axes, "Base samples n", "Share of the variance\n(bands: limits)")
        at = "" if time is None else f" on {time:g}"
        title = f"Convergence of Sobol indices: {found.function.name}{at}"
        return style.finish(figure, title, _named(styles), note=found.how() if note is None else note)


class RankPictures(Pictures):
    """The picture of partial rank correlations."""

    usual = "bars"
    _result: RankCorrelations

    def bars(self, *, note: str | None = None, ax: Axes | None = None) -> Figure:
        """Partial rank correlations with their limits, the strongest at the top; of a curve, where they are strongest.

        Parameters
        ----------
        note
            Below; by default from how many runs.
        ax
            Axes to draw in.
        """
        found, table = self._result, self._result.summary
        limited = f"{100 * found.made_by['level']:g} % limits by Fisher's z."
        said = f"Latin hypercube of {len(found.samples):,} runs. {limited}"
        if found.function.times is not None:
            said += " Each parameter at the time at which it is strongest."
        figure, axis, rows = _signed_rows(table["parameter"], table["prcc"], ax=ax)
        axis.errorbar(table["prcc"], rows, xerr=style.reach(table["prcc"], table["low"], table["high"]), **WHISKERS)
        axis.set_xlim(-1.03, 1.03)
        axis.set_xlabel("Partial rank correlation (whiskers: limits)")
        title = f"Rises or falls with the parameter: {found.function.name}"
        return style.finish(figure, title, note=said if note is None else note, ax=ax)


class ElasticitiesPictures(_FunctionPictures):
    """Pictures of local sensitivities."""

    _result: Elasticities
    _of_curve = "map"

    def bars(self, *, ax: Axes | None = None) -> Figure:
        """Elasticities of one number, the largest at the top.

        Raises
        ------
        InputError
            For a curve; see `map`.
        """
        self._refuse_curve()
        table = self._result.frame.sort_values("elasticity", key=np.abs, ascending=False, kind="stable")
        figure, axis, _ = _signed_rows(table["parameter"], table["elasticity"], ax=ax)
        name = self._result.function.name
        axis.set_xlabel(f"% change of {name} for 1 % more of the parameter")
        return style.finish(figure, f"Local elasticities: {name}", ax=ax)

    def map(
        self,
        *,
        slopes: bool | None = None,
        phases: Phases | None = None,
        note: str = "",
        ax: Axes | None = None,
    ) -> Figure:
        """Elasticities of a curve along time, a row a parameter: blue lowers the output, red raises it.

        Parameters are ordered by when they matter most; the few values beyond the colors' ends are drawn as these.

        Parameters
        ----------
        slopes
            Draw the change of the output itself; by default of what is not on a log scale and may pass through 0,
            where elasticities have no limit.
        phases
            First and last time by name, marked.
        note
            What the reader must know.

        Raises
        ------
        InputError
            For an endpoint that is one number, see `bars`, and a curve of one time.
        """
        function, times = self._result.function, self._times()
        if len(times) < 2:
            raise InputError("map: the curve has one time; give at least two")
        slopes = function.scale == "linear" if slopes is None else slopes
        frame = self._result.frame
        wide = frame.pivot(index="parameter", columns="time", values="slope" if slopes else "elasticity")
        wide = wide * np.log(1.1) if slopes else wide
        wide = wide.iloc[np.argsort(np.argmax(np.abs(np.nan_to_num(wide.to_numpy())), axis=1), kind="stable")]
        values = wide.to_numpy()
        sizes = np.abs(values[np.isfinite(values)])
        top = float(np.quantile(sizes, 0.98)) if sizes.any() else 1.0
        figure, (axis,) = style.panels(1, ax=ax, width=9.6, height=0.34 * len(wide), extra=1.9)
        axis.spines[["top", "right"]].set_visible(True)
        # Columns of one width each: evenly spaced days would leave the expansion a sliver.
        mesh = axis.pcolormesh(values, cmap="RdBu_r", vmin=-top, vmax=top, rasterized=True)
        axis.set_facecolor("#DDDDDD")
        axis.set_yticks(np.arange(len(wide)) + 0.5, list(wide.index), fontsize=9)
        axis.invert_yaxis()
        axis.tick_params(axis="y", length=0)
        ticks = np.unique(np.linspace(0, len(times) - 1, min(len(times), 14)).round().astype(int))
        axis.set_xticks(ticks + 0.5, [f"{times[k]:g}" for k in ticks], fontsize=9)
        axis.set_xlabel(f"Time since infusion ({_unit(function)}; one column a reading)")
        for name, (start, end) in (phases or {}).items():
            inside = np.flatnonzero((times >= start) & (times <= end))
            if inside.size == 0:
                continue
            middle = (inside[0] + inside[-1] + 1) / 2
            axis.text(middle, -0.15, name, ha="center", va="bottom", fontsize=9, color=style.INK)
            if inside[0] > 0:
                axis.axvline(inside[0], color=style.INK, lw=1)
        bar = figure.colorbar(mesh, ax=axis, pad=0.01, extend="both" if (sizes > top).any() else "neither")
        change = f"Change of {_endpoint(function)}\nfor 10 % more" if slopes else "% change of the output\nfor 1 % more"
        bar.set_label(f"{change} of the parameter", fontsize=9)
        kind = "sensitivities" if slopes else "elasticities"
        return style.finish(figure, f"Local {kind} along time: {function.name}", note=note, ax=ax)


class TornadoPictures(Pictures):
    """The picture of a tornado."""

    usual = "tornado"
    _result: Tornado

    def tornado(self, *, note: str = "", ax: Axes | None = None) -> Figure:
        """The endpoint with each parameter at the ends of its range, the widest at the top.

        Parameters
        ----------
        note
            What the reader must know of the ranges.
        """
        table, function = self._result.frame, self._result.function
        names = [f"{row.parameter}  ({_short(row.low)} to {_short(row.high)})" for row in table.itertuples()]
        figure, axis, rows = _rows(names, ax=ax)
        typical = float(table["typical"].iloc[0])
        for row, low, high in zip(rows, table["at_low"], table["at_high"], strict=True):
            # The shorter bar on top: both ends may lie on one side.
            for value, color in sorted(((low, LOW), (high, HIGH)), key=lambda bar: -abs(bar[0] - typical)):
                axis.barh(row, value - typical, left=typical, height=0.62, color=color)
        axis.axvline(typical, color=style.INK, lw=0.9)
        axis.set_xscale(function.scale)
        axis.set_xlabel(_endpoint(function))
        handles = [style.area("at the low end of the range", color=LOW), style.area("at the high end", color=HIGH)]
        return style.finish(figure, f"One parameter at a time: {function.name}", handles, note=note, ax=ax)


class RespondersPictures(Pictures):
    """The picture of what tells responders from the others."""

    usual = "parameters"
    _result: Responders

    def parameters(self, response: str = "", *, note: str = "") -> Figure:
        """Left, how far the groups lie apart in each parameter; right, odds ratios of response.

        Parameters
        ----------
        response
            What a response is; by default as far as the result knows.
        note
            What the reader must know.
        """
        found, table = self._result, self._result.table
        if not response and "threshold" in found.made_by:
            response = f"{found.made_by.get('endpoint', 'endpoint')} of {found.made_by['threshold']:g} or more"
        rows = np.arange(len(table))[::-1]
        figure, (apart, odds) = style.panels(2, width=4.6, height=0.36 * len(table), extra=2.0, sharey=True)
        apart.barh(rows, table["ks"], height=0.6, color=np.where(table["p_holm"] < 0.05, HIGH, GRAY))
        apart.set_xlim(0, max(1e-9, 1.08 * table["ks"].max()))
        apart.set_yticks(rows, table["parameter"], fontsize=9)
        apart.set_xlabel("Kolmogorov-Smirnov distance\n(gray: adjusted p of 0.05 or more)")
        if np.isfinite(table["odds_ratio"]).all():
            ratio = table["odds_ratio"].to_numpy()
            limits = style.reach(ratio, table["odds_low"], table["odds_high"])
            odds.errorbar(ratio, rows, xerr=limits, fmt="o", color=HIGH, ms=5, capsize=3, lw=1.2)
            odds.axvline(1, color=style.FAINT, lw=0.9)
            odds.set_xscale("log")
            odds.set_xlabel("Odds ratio of response for one SD,\nothers held (95 % limits)")
            odds.set_title(f"Logistic regression, area under the ROC curve {found.auc:.3f}", fontsize=10)
        else:
            style.say_empty(odds, "no finite odds ratios")
            odds.set_xticks([])
        for axis in (apart, odds):
            axis.tick_params(axis="y", length=0)
        title = f"{response or 'Responders'}: {found.n_responders:,} against {found.n_others:,} others"
        return style.finish(figure, title, note=" ".join(each for each in (found.note, note) if each))


def _rows(names: Iterable[str], *, ax: Axes | None) -> tuple[Figure, Axes, NDArray[Any]]:
    """A panel with a row for each name, the first at the top, and where the rows are."""
    names = list(names)
    rows = np.arange(len(names), dtype=float)[::-1]
    figure, (axis,) = style.panels(1, ax=ax, width=7.4, height=0.38 * len(names), extra=1.7)
    axis.set_yticks(rows, names, fontsize=9)
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(-0.6, len(names) - 0.4)
    return figure, axis, rows


def _signed_rows(names: Iterable[str], values: Any, *, ax: Axes | None) -> tuple[Figure, Axes, NDArray[Any]]:
    """`_rows` with a bar in each, those below 0 pale."""
    figure, axis, rows = _rows(names, ax=ax)
    axis.barh(rows, values, height=0.62, color=np.where(values < 0, LOW, HIGH))
    axis.axvline(0, color=style.INK, lw=0.9)
    return figure, axis, rows


def _endpoint(function: Function) -> str:
    return style.label_with_unit(function.name, function.unit)


def _styles(table: pd.DataFrame, named: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Color, line style and width by parameter: gray for those that hardly matter, and beyond eight."""
    highest = table.groupby("parameter", sort=False)["total"].max()
    for name in named:
        if name not in highest.index:
            raise InputError(f"{name} is not among the parameters {', '.join(highest.index)}")
    large = highest[(highest >= SMALL) & ~highest.index.isin(named)].sort_values(ascending=False)
    chosen = [*named, *large.index][: len(COLORS)]
    styles: dict[str, dict[str, Any]] = {name: {"color": style.FAINT, "lw": 0.8} for name in highest.index}
    for k, name in enumerate(name for name in highest.index if name in chosen):
        styles[name] = {"color": COLORS[k], "ls": STYLES[k % len(STYLES)], "lw": 1.8}
    return styles


def _index_lines(axis: Axes, table: pd.DataFrame, x: str, order: str, styles: dict[str, dict[str, Any]]) -> None:
    """Indices of each parameter with their limits; marked where they are few."""
    for name, own in table.groupby("parameter", sort=False):
        pen = styles[str(name)]
        axis.fill_between(own[x], own[f"{order}_low"], own[f"{order}_high"], color=pen["color"], alpha=0.15, lw=0)
        axis.plot(own[x], own[order], marker="o" if len(own) < FEW else None, ms=3, **pen)
    axis.axhline(0, color=style.FAINT, lw=0.7)


def _named(styles: Mapping[str, dict[str, Any]]) -> list[Any]:
    """Legend entries of `_styles`: the colored ones, and the gray ones in one."""
    handles = [style.line(name, **pen) for name, pen in styles.items() if pen["color"] != style.FAINT]
    gray = [name for name, pen in styles.items() if pen["color"] == style.FAINT]
    if gray:
        handles.append(style.line(f"others: {', '.join(gray)}", color=style.FAINT, lw=1))
    return handles


def _unit(function: Function) -> str:
    return "days" if function.model is None else style.times_called(function.model.time)


def _short(x: float) -> str:
    return f"{x:.3g}".replace("e+0", "e").replace("e-0", "e-")

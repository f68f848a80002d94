"""What decides the outcome: tornado, indices, their course along time, their convergence, responders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
# Okabe and Ito without yellow, which is too pale for lines, each color with a line style of its own.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B")
STYLES = ("-", "--", "-", "--", "-", "--", "-", "--")
SHADES = ("#EEF4FA", "#FFFFFF", "#F5F0E6")
SMALL = 0.02  # indices below it are one gray group, unless named


def tornado(table: pd.DataFrame, *, endpoint: str, log: bool = False, note: str = "", ax: Axes | None = None) -> Figure:
    """The endpoint with each parameter at the ends of its range, the widest at the top.

    Parameters
    ----------
    table
        ``frame`` of `cartsim.tornado`.
    endpoint
        Its name with unit.
    log
        Draw on a logarithmic axis.
    note
        What the reader must know of the ranges.
    """
    _need(table, "tornado", ("parameter", "low", "high", "at_low", "at_high", "typical"))
    rows = np.arange(len(table))[::-1]
    figure, (axis,) = style.panels(1, ax=ax, width=7.4, height=0.36 * len(table), extra=1.7)
    typical = float(table["typical"].iloc[0])
    for row, low, high in zip(rows, table["at_low"], table["at_high"], strict=True):
        # The shorter bar on top: both ends may lie on one side.
        for value, color in sorted(((low, LOW), (high, HIGH)), key=lambda bar: -abs(bar[0] - typical)):
            axis.barh(row, value - typical, left=typical, height=0.62, color=color)
    axis.axvline(typical, color=style.INK, lw=0.9)
    if log:
        axis.set_xscale("log")
    labels = [f"{row.parameter}  ({_short(row.low)} to {_short(row.high)})" for row in table.itertuples()]
    _name_rows(axis, rows, labels)
    axis.set_xlabel(endpoint)
    handles = [style.area("at the low end of the range", color=LOW), style.area("at the high end", color=HIGH)]
    return style.finish(figure, f"One parameter at a time: {endpoint.split(' (')[0]}", handles, note=note, ax=ax)


def index_bars(table: pd.DataFrame, *, endpoint: str, note: str = "", ax: Axes | None = None) -> Figure:
    """First and total order indices of one number with their limits, the most important parameter at the top.

    Parameters
    ----------
    table
        `Indices.table` of an endpoint that is not a curve.
    endpoint
        Its name with unit.
    note
        What the reader must know.
    """
    _need(table, "index_bars", ("parameter", "first", "first_low", "total", "total_high"), without="time")
    table = table.sort_values("total", ascending=False, kind="stable")
    rows = np.arange(len(table))[::-1].astype(float)
    figure, (axis,) = style.panels(1, ax=ax, width=7.4, height=0.4 * len(table), extra=1.7)
    limited = bool(np.isfinite(table[["first_high", "total_high"]]).all(axis=None))
    for order, shift, color in (("first", 0.18, HIGH), ("total", -0.18, LOW)):
        value = table[order].to_numpy()
        half = table[f"{order}_high"].to_numpy() - value
        axis.barh(rows + shift, value, height=0.34, color=color)
        if np.isfinite(half).all():
            axis.errorbar(value, rows + shift, xerr=half, fmt="none", ecolor=style.FAINT, elinewidth=1.2, capsize=2)
    axis.axvline(0, color=style.INK, lw=0.9)
    _name_rows(axis, rows, table["parameter"])
    axis.set_xlabel(f"Share of the variance{' (whiskers: limits)' if limited else ''}")
    handles = [style.area("first order: alone", color=HIGH), style.area("total: with interactions", color=LOW)]
    return style.finish(figure, f"Sensitivity indices: {endpoint.split(' (')[0]}", handles, note=note, ax=ax)


def elasticity_map(
    table: pd.DataFrame,
    *,
    endpoint: str,
    unit: str = "days",
    slopes: bool = False,
    phases: Mapping[str, tuple[float, float]] | None = None,
    note: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Elasticities along time, a row a parameter: blue lowers the output, red raises it.

    Parameters are ordered by when they matter most; the few values beyond the colors' ends are drawn as these.

    Parameters
    ----------
    table
        ``frame`` of `cartsim.local` for a curve.
    endpoint
        Its name with unit.
    unit
        Of the times.
    slopes
        Draw the change of the output itself, for outputs that pass through 0, where elasticities have no limit.
    phases
        First and last time by name, marked.
    note
        What the reader must know.
    """
    _need(table, "elasticity_map", ("parameter", "time", "elasticity", "slope"))
    wide = table.pivot(index="parameter", columns="time", values="slope" if slopes else "elasticity")
    if slopes:
        wide = wide * np.log(1.1)
    times = wide.columns.to_numpy(float)
    if len(times) < 2:
        raise InputError("elasticity_map: give at least two times")
    wide = wide.iloc[np.argsort(np.argmax(np.abs(np.nan_to_num(wide.to_numpy())), axis=1), kind="stable")]
    values = wide.to_numpy()
    # Columns of one width each: evenly spaced days would leave the expansion a sliver.
    edges = np.arange(len(times) + 1)
    sizes = np.abs(values[np.isfinite(values)])
    top = float(np.quantile(sizes, 0.98)) if sizes.any() else 1.0
    figure, (axis,) = style.panels(1, ax=ax, width=9.6, height=0.34 * len(wide), extra=1.9)
    axis.spines[["top", "right"]].set_visible(True)
    mesh = axis.pcolormesh(edges, np.arange(len(wide) + 1), values, cmap="RdBu_r", vmin=-top, vmax=top, rasterized=True)
    axis.set_facecolor("#DDDDDD")
    axis.set_yticks(np.arange(len(wide)) + 0.5, list(wide.index), fontsize=9)
    axis.invert_yaxis()
    axis.tick_params(axis="y", length=0)
    shown = _even(len(times), 14)
    axis.set_xticks(shown + 0.5, [f"{times[k]:g}" for k in shown], fontsize=9)
    axis.set_xlabel(f"Time since infusion ({unit}; one column a reading)")
    for name, (start, end) in (phases or {}).items():
        inside = np.flatnonzero((times >= start) & (times <= end))
        if inside.size == 0:
            continue
        axis.text((inside[0] + inside[-1] + 1) / 2, -0.15, name, ha="center", va="bottom", fontsize=9, color=style.INK)
        if inside[0] > 0:
            axis.axvline(inside[0], color=style.INK, lw=1)
    bar = figure.colorbar(mesh, ax=axis, pad=0.01, extend="both" if (sizes > top).any() else "neither")
    change = f"Change of {endpoint}\nfor 10 % more" if slopes else "% change of the output\nfor 1 % more"
    bar.set_label(f"{change} of the parameter", fontsize=9)
    kind = "sensitivities" if slopes else "elasticities"
    return style.finish(figure, f"Local {kind} along time: {endpoint.split(' (')[0]}", note=note, ax=ax)


def elasticity_bars(table: pd.DataFrame, *, endpoint: str, ax: Axes | None = None) -> Figure:
    """Elasticities of one number, the largest at the top.

    Parameters
    ----------
    table
        ``frame`` of `cartsim.local` for an endpoint that is not a curve.
    endpoint
        Its name with unit.
    """
    _need(table, "elasticity_bars", ("parameter", "elasticity"), without="time")
    table = table.sort_values("elasticity", key=np.abs, ascending=False, kind="stable")
    rows = np.arange(len(table))[::-1]
    figure, (axis,) = style.panels(1, ax=ax, width=7.4, height=0.36 * len(table), extra=1.5)
    axis.barh(rows, table["elasticity"], height=0.62, color=np.where(table["elasticity"] < 0, LOW, HIGH))
    axis.axvline(0, color=style.INK, lw=0.9)
    _name_rows(axis, rows, table["parameter"])
    axis.set_xlabel(f"% change of {endpoint.split(' (')[0]} for 1 % more of the parameter")
    return style.finish(figure, f"Local elasticities: {endpoint.split(' (')[0]}", ax=ax)


def indices_over_time(
    table: pd.DataFrame,
    curve_times: ArrayLike,
    curve: ArrayLike,
    phases: Mapping[str, tuple[float, float]],
    *,
    endpoint: str,
    whose: str = "Typical patient",
    unit: str = "days",
    named: Sequence[str] = (),
    note: str = "",
) -> Figure:
    """Indices along time, a column a phase with an axis of its own: above the typical curve, then both orders.

    After Figure S1 of Singh 2021 as the paper's text describes it. At most eight parameters are drawn in color, the
    others gray.

    Parameters
    ----------
    table
        `Indices.table` of a curve; bands are its limits.
    curve_times, curve
        (m,) A curve to draw above them.
    phases
        First and last time by name.
    endpoint
        Its name with unit.
    whose
        Whose the curve is.
    unit
        Of the times.
    named
        Parameters drawn in color even if their indices stay below 0.02.
    note
        What the reader must know.
    """
    _need(table, "indices_over_time", ("parameter", "time", "first", "total", "total_low", "total_high"))
    if not phases:
        raise InputError("indices_over_time: give at least one phase, its name with its first and last time")
    styles = _styles(table, named)
    figure, axes = _phase_grid(list(phases))
    t, y = np.asarray(curve_times, float), np.asarray(curve, float)
    limits = y[(t >= min(a for a, _ in phases.values())) & (t <= max(b for _, b in phases.values())) & (y > 0)]
    top = max(1.0, *(float(table[order].max()) for order in ("first", "total")))
    for column, (start, end) in enumerate(phases.values()):
        inside = (t >= start) & (t <= end)
        axes[0][column].plot(t[inside], y[inside], color=style.INK, lw=1.8)
        if (y > 0).all():
            axes[0][column].set_yscale("log")
        if (y > 0).all() and limits.size:
            axes[0][column].set_ylim(limits.min() / 1.5, limits.max() * 1.5)
        part = table[table["time"].between(start, end)]
        for row, order in enumerate(("first", "total"), start=1):
            axis = axes[row][column]
            for name, own in part.groupby("parameter", sort=False):
                color, pen, width = styles[str(name)]
                days = own["time"].to_numpy()
                axis.fill_between(days, own[f"{order}_low"], own[f"{order}_high"], color=color, alpha=0.16, lw=0)
                axis.plot(days, own[order], color=color, ls=pen, lw=width, marker="." if len(days) < 5 else None)
            axis.axhline(0, color=style.FAINT, lw=0.7)
            axis.set_ylim(-0.04, 1.04 * top)
        for axis in (axes[0][column], axes[1][column], axes[2][column]):
            axis.set_xlim(start, end)
            axis.set_facecolor(SHADES[column % len(SHADES)])
        axes[2][column].set_xlabel(f"Time since infusion ({unit})")
    axes[0][0].set_ylabel(f"{whose}\n{endpoint}")
    axes[1][0].set_ylabel("First order index\n(share of variance, alone)")
    axes[2][0].set_ylabel("Total order index\n(with interactions)")
    return style.finish(figure, f"Sensitivity along time: {endpoint.split(' (')[0]}", _named(styles), note=note)


def convergence(table: pd.DataFrame, *, endpoint: str, named: Sequence[str] = (), note: str = "") -> Figure:
    """Indices with their limits against the number of base samples.

    Parameters
    ----------
    table
        Of `Indices.convergence`.
    endpoint, named, note
        As for `indices_over_time`.
    """
    from matplotlib.figure import Figure

    _need(table, "convergence", ("n", "parameter", "first_low", "first_high", "total_low", "total_high"))
    styles = _styles(table[table["n"] == table["n"].max()], named)
    sizes = np.unique(table["n"])
    figure = Figure(figsize=(9.6, 4.6), layout="constrained")
    for axis, order, title in zip(
        style.grid(figure, 2, sharey=True), ("first", "total"), ("First order", "Total order"), strict=True
    ):
        axis.axhline(0, color=style.FAINT, lw=0.7)
        for name, own in table.groupby("parameter", sort=False):
            color, pen, width = styles[str(name)]
            axis.fill_between(own["n"], own[f"{order}_low"], own[f"{order}_high"], color=color, alpha=0.14, lw=0)
            axis.plot(own["n"], own[order], color=color, ls=pen, lw=width, marker="o", ms=3)
        axis.set_xscale("log", base=2)
        axis.set_xticks(sizes, [f"{n:,}" for n in sizes], fontsize=9, rotation=45)
        axis.minorticks_off()
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("Base samples n")
    low, high = table[["first_low", "total_low"]].min().min(), table[["first_high", "total_high"]].max().max()
    figure.axes[0].set_ylim(max(-0.4, low - 0.02), min(1.4, high + 0.02))
    figure.axes[0].set_ylabel("Share of the variance\n(bands: limits)")
    return style.finish(figure, f"Convergence of Sobol indices: {endpoint.split(' (')[0]}", _named(styles), note=note)


def responders(table: pd.DataFrame, *, response: str, n: tuple[int, int], auc: float, note: str = "") -> Figure:
    """Left, how far responders and the others lie apart in each parameter; right, odds ratios of response.

    Parameters
    ----------
    table, auc
        Of `cartsim.sensitivity.responders.Responders`.
    response
        What a response is.
    n
        Numbers of responders and others.
    note
        What the reader must know.
    """
    from matplotlib.figure import Figure

    _need(table, "responders", ("parameter", "ks", "p_holm", "odds_ratio", "odds_low", "odds_high"))
    rows = np.arange(len(table))[::-1]
    figure = Figure(figsize=(9.2, 2.0 + 0.36 * len(table)), layout="constrained")
    apart, odds = style.grid(figure, 2, sharey=True)
    clear = table["p_holm"].to_numpy() < 0.05
    apart.barh(rows, table["ks"], height=0.6, color=np.where(clear, HIGH, "#C9C9C9"))
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
        odds.set_title(f"Logistic regression, area under the ROC curve {auc:.3f}", fontsize=10)
    else:
        style.say_empty(odds, "no finite odds ratios")
        odds.set_xticks([])
    for axis in (apart, odds):
        axis.tick_params(axis="y", length=0)
    return style.finish(figure, f"{response}: {n[0]:,} against {n[1]:,} others", note=note)


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
        note = self._result.how() if note is None else note
        return index_bars(self._result.table, endpoint=_endpoint(self._result.function), note=note, ax=ax)

    def over_time(
        self,
        *,
        phases: Mapping[str, tuple[float, float]] | None = None,
        named: Sequence[str] = (),
        note: str | None = None,
    ) -> Figure:
        """Indices of a curve along time, a column a phase, under the curve of the typical patient.

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
        return indices_over_time(
            found.table,
            own.times,
            own.curve,
            own.phases if phases is None else phases,
            endpoint=_endpoint(function),
            whose="Typical patient" if of_model else "Median of all runs",
            unit=_unit(function),
            named=named,
            note=found.how() if note is None else note,
        )

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
        at = "" if time is None else f" on {time:g}"
        name, bracket, rest = _endpoint(found.function).partition(" (")
        note = found.how() if note is None else note
        return convergence(found.convergence(time), endpoint=f"{name}{at}{bracket}{rest}", named=named, note=note)


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
        found = self._result
        limited = f"{100 * found.made_by['level']:g} % limits by Fisher's z."
        said = f"Latin hypercube of {len(found.samples):,} runs. {limited}"
        if found.function.times is not None:
            said += " Each parameter at the time at which it is strongest."
        table = found.summary
        rows = np.arange(len(table))[::-1]
        figure, (axis,) = style.panels(1, ax=ax, width=7.4, height=0.36 * len(table), extra=1.7)
        axis.barh(rows, table["prcc"], height=0.62, color=np.where(table["prcc"] < 0, LOW, HIGH))
        limits = style.reach(table["prcc"], table["low"], table["high"])
        axis.errorbar(table["prcc"], rows, xerr=limits, fmt="none", ecolor=style.FAINT, elinewidth=1.2, capsize=2)
        axis.axvline(0, color=style.INK, lw=0.9)
        _name_rows(axis, rows, table["parameter"])
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
        return elasticity_bars(self._result.frame, endpoint=_endpoint(self._result.function), ax=ax)

    def map(
        self,
        *,
        slopes: bool | None = None,
        phases: Mapping[str, tuple[float, float]] | None = None,
        note: str = "",
        ax: Axes | None = None,
    ) -> Figure:
        """Elasticities of a curve along time, a row a parameter: blue lowers the output, red raises it.

        Parameters
        ----------
        slopes
            Draw the change of the output itself; by default of what is not on a log scale and may pass through 0.
        phases
            First and last time by name, marked.
        note
            What the reader must know.

        Raises
        ------
        InputError
            For an endpoint that is one number; see `bars`.
        """
        self._times()
        found = self._result
        slopes = found.function.scale == "linear" if slopes is None else slopes
        endpoint, unit = _endpoint(found.function), _unit(found.function)
        return elasticity_map(found.frame, endpoint=endpoint, unit=unit, slopes=slopes, phases=phases, note=note, ax=ax)


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
        function = self._result.function
        log = function.scale == "log"
        return tornado(self._result.frame, endpoint=_endpoint(function), log=log, note=note, ax=ax)


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
        found = self._result
        if not response and "threshold" in found.made_by:
            response = f"{found.made_by.get('endpoint', 'endpoint')} of {found.made_by['threshold']:g} or more"
        n = (found.n_responders, found.n_others)
        said = " ".join(each for each in (found.note, note) if each)
        return responders(found.table, response=response or "Responders", n=n, auc=found.auc, note=said)


def _name_rows(axis: Axes, rows: NDArray[Any], names: Sequence[str]) -> None:
    """A name beside each row of bars."""
    axis.set_yticks(rows, names, fontsize=9)
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(-0.6, len(rows) - 0.4)


def _endpoint(function: Function) -> str:
    return style.label_with_unit(function.name, function.unit)


def _phase_grid(names: Sequence[str]) -> tuple[Figure, list[list[Axes]]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(3.5 * len(names) + 0.6, 6.4), 8.4), layout="constrained")
    axes = figure.subplots(3, len(names), sharey="row", squeeze=False, height_ratios=(0.8, 1, 1))
    for axis in axes.ravel():
        style.clean(axis)
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(name.capitalize(), fontsize=11)
    return figure, [list(row) for row in axes]


def _styles(table: pd.DataFrame, named: Sequence[str]) -> dict[str, tuple[str, str, float]]:
    """Color, line style and width by parameter: gray for those that hardly matter, and beyond eight."""
    highest = table.groupby("parameter", sort=False)["total"].max()
    for name in named:
        if name not in highest.index:
            raise InputError(f"{name} is not among the parameters {', '.join(highest.index)}")
    large = highest[(highest >= SMALL) & ~highest.index.isin(named)].sort_values(ascending=False)
    chosen = [*named, *large.index][: len(COLORS)]
    styles = {name: (style.FAINT, "-", 0.8) for name in highest.index}
    for k, name in enumerate(name for name in highest.index if name in chosen):
        styles[name] = (COLORS[k], STYLES[k], 1.8)
    return styles


def _named(styles: Mapping[str, tuple[str, str, float]]) -> list[Any]:
    """Legend entries of `_styles`: the colored ones, and the gray ones in one."""
    colored = {name: pen for name, pen in styles.items() if pen[0] != style.FAINT}
    handles = [style.line(name, color=color, ls=dash, lw=2) for name, (color, dash, _) in colored.items()]
    gray = [name for name in styles if name not in colored]
    if gray:
        handles.append(style.line(f"others: {', '.join(gray)}", color=style.FAINT, lw=1))
    return handles


def _unit(function: Function) -> str:
    return "days" if function.model is None else style.times_called(function.model.time)


def _short(x: float) -> str:
    return f"{x:.3g}".replace("e+0", "e").replace("e-0", "e-")


def _even(count: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _need(table: pd.DataFrame, what: str, columns: Sequence[str], without: str = "") -> None:
    style.need(what, table, columns)
    if without and without in table:
        raise InputError(f"{what}: this result is along time; see indices_over_time")

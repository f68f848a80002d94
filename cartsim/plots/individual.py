"""Individual fits: curves over the bands of the observed categories, observed and fitted survival."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.endpoints.survival import largest_distance
from cartsim.errors import InputError
from cartsim.plots import style
from cartsim.plots.pictures import Pictures
from cartsim.plots.survival import above_numbers, numbers_at_risk, survival_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.fitting.individual import IndividualFits

LOWEST, HIGHEST = 0.2, 200.0  # percent of baseline at which bands without a limit end


class IndividualPictures(Pictures):
    """Pictures of individual fits."""

    usual = "categories"
    _result: IndividualFits

    def categories(self, shown: Sequence[Any] | None = None, *, columns: int = 5, ax: Axes | None = None) -> Figure:
        """Fitted M-protein over what the observed categories stand for, a panel a patient, as Figure 5a of Singh 2021.

        In percent of baseline on a log scale, on which VGPR and CR can be told apart.

        Parameters
        ----------
        shown
            Ids; by default one patient for each best response.
        columns
            Panels beside each other.

        Raises
        ------
        InputError
            For an id that is not there, and data without categories.
        """
        fits = self._result
        if fits.categories.empty:
            raise InputError("these data have no response categories to draw; see patients and parameters")
        days = np.arange(0.0, fits.data.last_day() + 1)
        run = fits.curves(days, ["mprotein_change"])
        ids = list(run.ids)
        chosen = fits.representatives() if shown is None else list(shown)
        for each in chosen:
            if each not in ids:
                raise InputError(f"categories: there is no patient {each!r}")
        if not chosen:
            raise InputError("categories: no patients are given; give at least one id")
        seen = fits.categories[fits.categories["id"].isin(chosen)]
        per, unit = style.time_unit(days[-1])
        figure, axes = style.panels(
            len(chosen), ax=ax, width=2.3, height=1.9, columns=columns, sharex=True, sharey=True
        )
        for axis, each in zip(axes, chosen, strict=True):
            own, row = seen[seen["id"] == each], ids.index(each)
            low, high = (np.clip(own[name].to_numpy(float) + 100, LOWEST, HIGHEST) for name in ("low", "high"))
            colors = [style.CATEGORY_COLORS[name] for name in own["observed"]]
            at = own["time"].to_numpy(float) / per
            axis.vlines(at, low, high, colors=colors, lw=3.0, alpha=0.85)
            axis.scatter(at, np.sqrt(low * high), s=14, color="white", edgecolor=colors, lw=1.2, zorder=3)
            axis.plot(days / per, run["mprotein_change"][row] + 100, color=style.INK, lw=1.3)
            axis.axhline(100, color=style.FAINT, lw=0.6)
            dose = style.arm_title(f"{fits.data.table['dose'].iloc[row]:g}")
            axis.set_title(f"id {each}, {dose}", fontsize=9.5)
            axis.set_yscale("log")
            axis.set_ylim(LOWEST, HIGHEST)
            axis.set_yticks([1, 10, 100], ["1", "10", "100"])
            style.time_axis(axis, 1.03 * days[-1] / per, unit)
        style.outer_labels(axes, style.time_label(unit).replace(" (", "\n("), "M-protein\n(% of baseline)")
        title = "Fitted M-protein (lines) and what the observed categories stand for (bars)"
        return style.finish(figure, title, style.category_handles(seen["observed"]), ax=ax)

    def survival(self, split: float = 150e6, *, ax: Axes | None = None) -> Figure:
        """Progression-free survival, observed and of the fits, by dose group, as Figure 5b of Singh 2021.

        Observed curves are broad and pale and fitted ones thin and dashed upon them, so that both are seen where they
        coincide; the gaps of one group's dashes are filled by the next group's.

        Parameters
        ----------
        split
            Cells that part the two groups.

        Raises
        ------
        InputError
            For data without categories.
        """
        curves = self._result.survival(split)
        groups = list(dict.fromkeys(group for group, _ in curves))
        shades = style.arm_colors(groups)
        figure, axis, risk = above_numbers(len(curves), 5.2, 4.4, ax=ax)
        lines, rows = [], {}
        for (group, kind), curve in curves.items():
            color, observed = shades[group], kind == "observed"
            sign, _, dose = group.partition(" ")
            named = f"{sign} {style.arm_title(dose)}"
            median = "not reached" if np.isnan(curve.median.value) else f"{curve.median.value:.1f} months"
            said = f"{named}, {kind}: median {median}, {curve.events}/{curve.n} events"
            if not observed:
                apart, month = largest_distance(curves[group, "observed"], curve)
                said += f", at most {100 * apart:.0f} points apart (month {month:.0f})" if apart else ", the same curve"
            pen: dict[str, Any] = (
                {"lw": 5, "alpha": 0.4}
                if observed
                else {"lw": 1.6, "ls": (4 * groups.index(group), (4, 4)), "zorder": 3}
            )
            lines += axis.step(curve.times, curve.survival, where="post", color=color, label=said, **pen)
            if observed:
                marked = curve.n_censored > 0
                axis.plot(curve.times[marked], curve.survival[marked], ls="", marker="|", ms=9, mew=1.4, color=color)
            rows[f"{named.removesuffix(' × 10⁶ cells')}, {kind}"] = curve
        axis.set_ylim(-0.01, 1.03)
        survival_axes(axis, "Progression-free survival", "infusion", "months")
        style.time_axis(axis, 1.03 * max(float(curve.times[-1]) for curve in curves.values()) or 1.0, "months")
        if risk is not None:
            numbers_at_risk(risk, axis.get_xticks(), rows, [shades[group] for group, _ in curves])
        return style.finish(figure, "Progression-free survival, observed and of the individual fits", lines, ax=ax)

"""Individual fits: curves over the bands of the observed categories, observed and fitted survival."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cartsim.endpoints.survival import largest_distance
from cartsim.errors import InputError
from cartsim.plots import style
from cartsim.plots.pictures import Pictures
from cartsim.plots.survival import above_numbers, numbers_at_risk, survival_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.endpoints.survival import KaplanMeier
    from cartsim.fitting.individual import IndividualFits

LOWEST, HIGHEST = 0.2, 200.0  # percent of baseline at which bands without a limit end


def response_fits(
    times: ArrayLike,
    curves: ArrayLike,
    ids: ArrayLike,
    categories: pd.DataFrame,
    *,
    doses: ArrayLike | None = None,
    shown: Sequence[Any] | None = None,
    columns: int = 6,
    ax: Axes | None = None,
) -> Figure:
    """Fitted M-protein of patients over what their observed categories stand for, as Figure 5a of Singh 2021, but in
    percent of baseline on a log scale, on which VGPR and CR can be told apart.

    Parameters
    ----------
    times
        (m,) days.
    curves
        (n, m) percent change from baseline.
    ids
        (n,)
    categories
        A row an assessment with ``id``, ``time``, ``observed`` and the limits ``low``, ``high`` in percent, such as
        `IndividualFits.categories`.
    doses
        (n,) cells, for the titles.
    shown
        Ids to draw, by default all.
    columns
        Panels beside each other.
    """
    t, values = style.matrices("response_fits", times, {"fits": curves})
    known = list(np.asarray(ids))
    chosen = known if shown is None else list(shown)
    for each in chosen:
        if each not in known:
            raise InputError(f"response_fits: there is no patient {each!r}")
    per, unit = style.time_unit(t[-1])
    if not chosen:
        raise InputError("response_fits: no patients are given; give at least one id")
    figure, axes = style.panels(len(chosen), ax=ax, width=2.6, height=2.1, columns=columns, sharex=True, sharey=True)
    for axis, each in zip(axes, chosen, strict=True):
        own = categories[categories["id"] == each]
        low, high = (np.clip(own[name].to_numpy(float) + 100, LOWEST, HIGHEST) for name in ("low", "high"))
        colors = [style.CATEGORY_COLORS[name] for name in own["observed"]]
        days = own["time"].to_numpy(float) / per
        axis.vlines(days, low, high, colors=colors, lw=3.0, alpha=0.85)
        axis.scatter(days, np.sqrt(low * high), s=14, color=colors, edgecolor="white", lw=0.5, zorder=3)
        row = known.index(each)
        axis.plot(t / per, values["fits"][row] + 100, color=style.INK, lw=1.3)
        axis.axhline(100, color=style.FAINT, lw=0.6)
        dose = "" if doses is None else f", {style.arm_title(f'{np.asarray(doses, float)[row]:g}')}"
        axis.set_title(f"id {each}{dose}", fontsize=8.5)
        axis.set_yscale("log")
        axis.set_ylim(LOWEST, HIGHEST)
        axis.set_yticks([1, 10, 100], ["1", "10", "100"])
        style.time_axis(axis, 1.03 * t[-1] / per, unit)
    style.outer_labels(axes, style.time_label(unit), "M-protein\n(% of baseline)")
    title = "Fitted M-protein (lines) and what the observed categories stand for (bars)"
    return style.finish(figure, title, style.category_handles(categories["observed"]), ax=ax)


def fitted_survival(
    curves: Mapping[tuple[str, str], KaplanMeier],
    *,
    what: str = "Progression-free survival",
    ax: Axes | None = None,
) -> Figure:
    """Observed and fitted survival by group, months, as Figure 5b of Singh 2021, with the numbers at risk beneath.

    Observed curves are broad and pale and fitted ones thin and dashed upon them, so that both are seen where they
    coincide; the gaps of one group's dashes are filled by the next group's.

    Parameters
    ----------
    curves
        By group and "observed" or "fitted".
    what
        The endpoint, for the axis and the title.
    """
    if not curves:
        raise InputError("fitted_survival: no curves are given; give at least one group")
    groups = list(dict.fromkeys(group for group, _ in curves))
    shades = style.arm_colors(groups)
    figure, axis, risk = above_numbers(len(curves), 5.2, 4.4, ax=ax)
    lines = []
    for (group, kind), curve in curves.items():
        color, observed = shades[group], kind == "observed"
        median = "not reached" if np.isnan(curve.median.value) else f"{curve.median.value:.1f} months"
        said = f"{_dose_group(group)}, {kind}: median {median}, {curve.events}/{curve.n} events"
        if not observed and (group, "observed") in curves:
            apart, month = largest_distance(curves[group, "observed"], curve)
            said += f", at most {100 * apart:.0f} points apart (month {month:.0f})" if apart else ", the same curve"
        pen: dict[str, Any] = (
            {"lw": 5, "alpha": 0.4} if observed else {"lw": 1.6, "ls": (4 * groups.index(group), (4, 4)), "zorder": 3}
        )
        lines += axis.step(curve.times, curve.survival, where="post", color=color, label=said, **pen)
        if observed:
            marked = curve.n_censored > 0
            axis.plot(curve.times[marked], curve.survival[marked], ls="", marker="|", ms=9, mew=1.4, color=color)
    axis.set_ylim(-0.01, 1.03)
    survival_axes(axis, what, "infusion", "months")
    style.time_axis(axis, 1.03 * max(float(curve.times[-1]) for curve in curves.values()) or 1.0, "months")
    if risk is not None:
        rows = {
            f"{_dose_group(group).removesuffix(' × 10⁶ cells')}, {kind}": curve
            for (group, kind), curve in curves.items()
        }
        numbers_at_risk(risk, axis.get_xticks(), rows, [shades[group] for group, _ in curves])
    return style.finish(figure, f"{what}, observed and of the individual fits", lines, ax=ax)


def _dose_group(name: str) -> str:
    sign, _, dose = name.partition(" ")
    return f"{sign} {style.arm_title(dose)}" if dose else name


class IndividualPictures(Pictures):
    """Pictures of individual fits."""

    usual = "categories"
    _result: IndividualFits

    def categories(self, shown: Sequence[Any] | None = None, *, ax: Axes | None = None) -> Figure:
        """Fitted M-protein over what the observed categories stand for, a panel a patient.

        Parameters
        ----------
        shown
            Ids; by default one patient for each best response.

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
        doses = fits.data.table["dose"].to_numpy()
        chosen = fits.representatives() if shown is None else shown
        categories = fits.categories[fits.categories["id"].isin(chosen)]
        return response_fits(days, run["mprotein_change"], run.ids, categories, doses=doses, shown=chosen, ax=ax)

    def survival(self, split: float = 150e6, *, ax: Axes | None = None) -> Figure:
        """Progression-free survival, observed and of the fits, by dose group.

        Parameters
        ----------
        split
            Cells that part the two groups.

        Raises
        ------
        InputError
            For data without categories.
        """
        return fitted_survival(self._result.survival(split), ax=ax)

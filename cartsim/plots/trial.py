"""Pictures of a trial: an overview, and one function for each of those that clinicians read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.errors import InputError
from cartsim.model.model import choices
from cartsim.plots import style
from cartsim.plots.exposure import exposure_quartiles
from cartsim.plots.judged import JudgedPictures
from cartsim.plots.kinetics import TRANSGENE, by_response, marker_change, transgene
from cartsim.plots.patients import spider, swimmer, waterfall
from cartsim.plots.response import response_bars, response_over_time
from cartsim.schedule import MONTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from cartsim.trial.measurements import Curves, Measurements
    from cartsim.trial.outcome import TrialResult

MARKERS = {"mprotein": ("Serum M-protein", "mprotein_change"), "sbcma": ("Soluble BCMA", "sbcma_change")}
EXPOSURES = {"Cmax": TRANSGENE.replace("Transgene", "Cmax"), "AUC0-28": "AUC0–28 (day × copies/µg DNA)"}


class TrialPictures(JudgedPictures):
    """Pictures of a trial."""

    usual = "overview"
    _result: TrialResult

    def overview(self) -> Figure:
        """Kinetics, M-protein, best response and progression-free survival of all arms, on one page.

        Without the first two where no trajectories were kept.
        """
        from matplotlib.figure import Figure

        kept = bool(self._result.curves)
        figure = Figure(figsize=(12.4, 8.4 if kept else 4.4), layout="constrained")
        # Rows of their own, so that the legend beside the bars leaves no gap above it.
        rows = figure.subfigures(2 if kept else 1, 1, squeeze=False).ravel()
        axes = [axis for row in rows for axis in row.subplots(1, 2)]
        if kept:
            self.kinetics(ax=axes[0])
            self.biomarkers("mprotein", ax=axes[1])
        self.responses("best", ax=axes[-2])
        self.survival(ax=axes[-1])
        n = len(self._result.patients)
        style.heading(figure, f"Trial of {self._result.made_by.get('model', 'a model')}, {n:,} patients in all arms")
        return figure

    def responses(
        self,
        at: float | str | None = None,
        *,
        grouped: bool | None = None,
        true_state: bool = False,
        ax: Axes | None = None,
    ) -> Figure:
        """Shares of the response categories by arm with the response rate, a panel a landmark.

        Parameters
        ----------
        at
            "best" for the best response, or the month of a landmark; by default all landmarks.
        grouped
            Count MR and VGPR as PR, as Figure 6b of Singh 2021 does; by default at landmarks only.
        true_state
            At landmarks show all patients as if they had been followed, in place of what was observed.
        """
        months = self._result.protocol.visits.landmarks
        if at is not None and at != "best" and at not in months:
            known = ", ".join(f"{month:g}" for month in months)
            raise InputError(f"no landmark {at!r}; give 'best' or one of the months {known}")
        if at == "best":
            return response_bars({"Best response": self._by_arm("best")}, grouped=bool(grouped), ax=ax)
        chosen = months if at is None else (float(at),)
        column, which = ("true", "true state") if true_state else ("month", "as observed")
        landmarks = {f"{month:g} months, {which}": self._by_arm(f"{column}_{month:g}") for month in chosen}
        return response_bars(landmarks, grouped=grouped is None or grouped, ax=ax)

    def response_over_time(self, arm: str | None = None, *, ax: Axes | None = None) -> Figure:
        """Shares of the response categories held from each visit to the next, a panel an arm.

        Parameters
        ----------
        arm
            Its name; by default all.

        Raises
        ------
        InputError
            Where measurements were not kept.
        """
        judged = {name: self._result.judged(name) for name in self._seen(arm)}
        planned = np.array(self._result.protocol.visits.response)
        seen = {name: np.where(each.evaluable, planned, -np.inf).max(axis=1) for name, each in judged.items()}
        held = {name: each.confirmed for name, each in judged.items()}
        return response_over_time(planned, held, last_day=seen, ax=ax)

    def kinetics(self, *, ax: Axes | None = None) -> Figure:
        """Transgene in blood by arm: medians, and percentile bands of each arm; without assay error.

        Raises
        ------
        InputError
            Where no trajectories were kept.
        """
        times, values = self._curves("transgene")
        return transgene(times, values, lloq=self._result.protocol.lloq, ax=ax)

    def biomarkers(self, marker: str | None = None, *, ax: Axes | None = None) -> Figure:
        """Change of M-protein and soluble BCMA from baseline with percentile bands; without assay error.

        Parameters
        ----------
        marker
            "mprotein" or "sbcma"; by default both.

        Raises
        ------
        InputError
            For another marker, and where no trajectories were kept.
        """
        if marker is not None and marker not in MARKERS:
            raise InputError(f"no marker {marker!r}; give {' or '.join(MARKERS)}")
        shown = MARKERS.values() if marker is None else (MARKERS[marker],)
        times, _ = self._curves("transgene")
        return marker_change(times, {name: self._curves(output)[1] for name, output in shown}, ax=ax)

    def by_response(self, arm: str | None = None, *, output: str = "transgene") -> Figure:
        """Transgene or a marker over time by best response, a panel a category; without assay error.

        Parameters
        ----------
        arm
            Its name; by default all patients together.
        output
            "transgene", "mprotein" or "sbcma".

        Raises
        ------
        InputError
            For another output, and where no trajectories were kept.
        """
        if output != "transgene" and output not in MARKERS:
            raise InputError(f"no output {output!r}; give transgene, {' or '.join(MARKERS)}")
        name, column = (TRANSGENE, "transgene") if output == "transgene" else MARKERS[output]
        times, curves = self._curves(column, arm)
        best = self._by_arm("best", arm)
        values = np.concatenate(list(curves.values()))
        groups = np.concatenate([best[each].to_numpy()[: len(rows)] for each, rows in curves.items()])
        if output == "transgene":
            return by_response(times, values, groups, lloq=self._result.protocol.lloq)
        return by_response(times, values, groups, marker=f"{name} (% change from baseline)", log=False)

    def spider(self, arm: str | None = None, *, first: int = 250, columns: int = 4, ax: Axes | None = None) -> Figure:
        """True M-protein of each of the first patients, followed or not, colored by best response, a panel an arm.

        Parameters
        ----------
        arm
            Its name; by default all.
        first
            Patients drawn of each arm.
        columns
            Panels beside each other.

        Raises
        ------
        InputError
            Where no trajectories were kept.
        """
        times, curves = self._curves("mprotein_change", arm)
        best = {name: rows.to_numpy()[: len(curves[name])] for name, rows in self._by_arm("best", arm).items()}
        return spider(times, curves, best, first=first, columns=columns, ax=ax)

    def waterfall(self, arm: str | None = None, *, ax: Axes | None = None) -> Figure:
        """Lowest measured M-protein of every patient, in order, colored by best response, a panel an arm.

        Parameters
        ----------
        arm
            Its name; by default all.
        """
        return waterfall(self._by_arm("change", arm), self._by_arm("best", arm), ax=ax)

    def swimmer(self, arm: str | None = None, *, first: int = 40, ax: Axes | None = None) -> Figure:
        """Course of each of the first patients of one arm: a bar from infusion to the last day, colored by response.

        Parameters
        ----------
        arm
            Its name; by default the first.
        first
            Patients drawn.

        Raises
        ------
        InputError
            Where measurements were not kept.
        """
        arm = self._result.arms[0] if arm is None else arm
        seen = self._seen(arm)[arm]
        events = {"progression": "progression_day", "first response": "response_day"}
        rows = self._result.arm(arm)
        # Progression may be found after a new therapy, with which responses end.
        last = rows[["last_day", "progression_day"]].max(axis=1)
        ended = rows[["new_therapy_day", "death_day"]].min(axis=1)
        over = rows["progression_day"].notna() | (ended.notna() & ~(ended > rows["end_day"]))
        return swimmer(
            seen.days,
            self._held(seen),
            last,
            events={name: rows[column] for name, column in events.items()},
            ongoing=~over,
            first=first,
            title=arm,
            ax=ax,
        )

    def exposure(self, measure: str | None = None, *, groups: int = 4, ax: Axes | None = None) -> Figure:
        """Response rates by quartile of exposure (Cmax and AUC0-28), all arms together.

        Parameters
        ----------
        measure
            "Cmax" or "AUC0-28"; by default both.
        groups
            4 for quartiles.
        """
        if measure is not None and measure not in EXPOSURES:
            raise InputError(f"no exposure {measure!r}; give {' or '.join(EXPOSURES)}")
        chosen = EXPOSURES if measure is None else {measure: EXPOSURES[measure]}
        best = self._column("best")
        return exposure_quartiles(
            {shown: self._column(name) for name, shown in chosen.items()},
            {"ORR (PR or better)": best >= "PR", "CR": best == "CR"},
            groups=groups,
            ax=ax,
        )

    def residual(self, *, limit: float = 1e-5, ax: Axes | None = None) -> Figure:
        """Share of the patients assessed at a visit who are MRD-negative in complete response, with Wilson limits.

        Parameters
        ----------
        limit
            Share of nucleated marrow cells below which residual disease is negative.
        ax
            Axes to draw in.

        Raises
        ------
        InputError
            Where measurements were not kept.
        """
        figure, (axis,) = style.panels(1, ax=ax, width=7.4, height=4.2)
        arms = self._result.arms
        pens = style.arm_pens(arms)
        end, highest = 0.0, 0.0
        for k, arm in enumerate(arms):
            found = self._result.residual(arm, limit=limit)
            table = found.by_visit().dropna()
            month, share, low, high = table[["month", "percent", "low", "high"]].to_numpy(float).T
            aside = 0.12 * (k - (len(arms) - 1) / 2)  # so that limits of arms do not cover each other
            pen = pens[arm] | {"lw": 1.5, "elinewidth": 0.8, "marker": "o", "ms": 4, "capsize": 2}
            label = f"{style.arm_title(arm)}, n = {len(found.assessed)}"
            axis.errorbar(month + aside, share, yerr=style.reach(share, low, high), label=label, **pen)
            end, highest = max(end, found.days[-1] / MONTH), max(highest, high.max())
        style.time_axis(axis, end, "months")
        axis.set_xlim(0, end + 0.5)
        axis.set_ylim(0, min(100.0, 1.08 * highest))
        axis.set_xlabel(style.time_label("months"))
        axis.set_ylabel("MRD-negative in CR (% of those assessed)")
        by = f" {style.by_arm(arms)}" if len(arms) > 1 else ""
        title = f"Residual disease below $10^{{{np.log10(limit):.3g}}}$ in complete response{by}, 95 % limits"
        return style.finish(figure, title, axis.get_legend_handles_labels()[0], ax=ax)

    # --- what the pictures read ----------------------------------------------------------------------------

    def _arms(self, arm: str | None) -> list[str]:
        arms = self._result.arms
        if arm is not None and arm not in arms:
            raise InputError(f"no arm {arm!r} in this trial{choices(arm, arms)}")
        return arms if arm is None else [arm]

    def _column(self, name: str) -> Any:
        if name not in self._result.patients:
            raise InputError(f"the column {name} of this trial's patients was not kept; run it without columns=")
        return self._result.patients[name]

    def _by_arm(self, name: str, arm: str | None = None) -> dict[str, Any]:
        column, own = self._column(name), self._result.patients["arm"]
        return {each: column[own == each] for each in self._arms(arm)}

    def _curves(self, output: str, arm: str | None = None) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Times and an output's true trajectories by arm."""
        kept: Mapping[str, Curves] = {name: own for name, own in self._result.curves.items() if name in self._arms(arm)}
        if not kept:
            raise InputError("no trajectories of this trial were kept; run it again with curves=1000")
        return next(iter(kept.values())).times, {name: own.values[output] for name, own in kept.items()}

    def _seen(self, arm: str | None) -> dict[str, Measurements]:
        arms, measured = self._arms(arm), self._result.measurements()
        return {seen.arm: seen for seen in measured if seen.arm in arms}

    def _held(self, seen: Measurements) -> NDArray[np.int8]:
        """(n, v) Confirmed response at each visit, by the trial's own rules."""
        return self._result.judged(seen.arm).confirmed

"""Draw the gallery: a trial is simulated and every picture of cartsim.plots is made of it.

    python docs/gallery.py

writes docs/gallery/*.png and docs/gallery.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

import cartsim
from cartsim import plots
from cartsim.endpoints.kinetics import LLOQ
from cartsim.endpoints.response import judge
from cartsim.plots.style import arm_title
from cartsim.trial import outcome
from cartsim.trial.assay import Assay
from cartsim.trial.conduct import Conduct, Followup
from cartsim.trial.outcome import Outcome
from cartsim.trial.trial import Arm, Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
DOSES = (50e6, 150e6, 450e6, 800e6)
ARM = "450e6"  # of the pictures that show one arm
PATIENTS = 400
REPLICATES, SMALL = 40, 60  # trials behind the visual predictive check, and their size
DPI, COLORS = 90, 64  # enough for a screen, and less than 150 kB a picture

SBCMA_LOQ = 0.01  # of baseline
ASSAYS = {
    "mprotein": Assay(cv=0.05, step=0.1, lod=0.1),
    "sbcma": Assay(cv=0.15, loq=SBCMA_LOQ),
    "transgene": Assay(cv=0.3, loq=LLOQ),
}

HEAD = """# Gallery

The pictures of `cartsim.plots`, all of one simulated trial: the published clinical model (`bb2121_clinical`) with its
own variability and a baseline burden spread evenly over 5 to 95 % of the marrow, {n} patients at each of four doses,
the same patients in every arm. What is measured has log-normal assay error ({m:g} % for M-protein, {b:g} % for soluble
BCMA, {t:g} % for the transgene). The transgene is quantified from {lloq:g} copies/µg on, soluble BCMA from {loq:g} % of
its baseline (assumed). 3 % of the visits are missed, and data are cut off 12 to 24.5 months after infusion.
`python docs/gallery.py` makes this page.
"""


@dataclass(frozen=True)
class Entry:
    """A picture, its file's name, its heading, and what a reader should know."""

    name: str
    title: str
    text: str
    figure: Figure


def trial(seed: int = 2021, n: int = PATIENTS, doses: tuple[float, ...] = DOSES) -> Outcome:
    """The trial that is shown, or one of the same design with other patients."""
    model = cartsim.load("bb2121_clinical")
    return outcome.run(
        Trial(
            model,
            tuple(Arm(dose, n) for dose in doses),
            population=cartsim.Population(model, seed, {"burden": cartsim.uniform(5, 95)}),
            assays=ASSAYS,
            conduct=Conduct(missed=0.03, followup=Followup(median=21, shortest=12, longest=24.5)),
            seed=seed,
        ),
        n_jobs=1,
    )


def pictures(shown: Outcome) -> Iterator[Entry]:
    """Every picture of the gallery."""
    arms = [arm.name for arm in shown.trial.arms]
    table = {arm: shown.patients[shown.patients["arm"] == arm] for arm in arms}
    best = {arm: rows["best"] for arm, rows in table.items()}
    times, values = shown.curves.times, shown.curves.values
    visits = shown.visits
    held = {
        arm: judge(seen.mprotein, seen.days, seen.baseline, shown.rules.response).confirmed
        for arm, seen in visits.items()
    }
    one, seen = table[ARM], visits[ARM]
    singled = f"Arm of {arm_title(ARM)}."

    yield Entry(
        "transgene",
        "CAR-T kinetics",
        "`plots.transgene(times, arms)`. The peak is reached at two to three weeks and hardly depends on dose; "
        "between patients it differs by three decades.",
        plots.transgene(times, values["transgene"]),
    )
    yield Entry(
        "markers",
        "Soluble BCMA and M-protein",
        "`plots.marker_change(times, markers)`. Without assay error.",
        plots.marker_change(
            times, {"Soluble BCMA": values["sbcma_change"], "Serum M-protein": values["mprotein_change"]}
        ),
    )
    yield Entry(
        "spider",
        "Spider",
        "`plots.spider(times, arms, groups)`. The first 250 patients of each arm, as Figure 6a of Singh 2021 shows "
        "them.",
        plots.spider(
            times,
            values["mprotein_change"],
            {arm: rows["month_21"] for arm, rows in table.items()},
            colored_by="response at 21 months",
            grouped=True,
        ),
    )
    yield Entry(
        "landmarks",
        "Response at 6 and 21 months",
        "`plots.response_bars(landmarks)`. In the groups of Figure 6b of Singh 2021. The published model with its "
        "published variability shows no threshold in dose; the paper reports one near 150 × 10⁶ cells.",
        plots.response_bars(
            {
                f"{month:g} months": {arm: rows[f"month_{month:g}"] for arm, rows in table.items()}
                for month in shown.trial.visits.landmarks
            }
        ),
    )
    yield Entry(
        "best_response",
        "Best overall response",
        "`plots.response_bars(landmarks, grouped=False)`. By the IMWG criteria, with confirmation.",
        plots.response_bars({"Best overall response (IMWG 2016)": best}, grouped=False),
    )
    yield Entry(
        "survival",
        "Progression-free survival",
        "`plots.kaplan_meier(curves)`. Limits are log-log, those of the median as SAS gives them; NE where a limit "
        "is not reached.",
        plots.kaplan_meier({arm: shown.survival(arm) for arm in arms}),
    )
    yield Entry(
        "swimmer",
        "Swimmer",
        f"`plots.swimmer(days, status, last_day)`. {singled} The first 40 patients, not a choice of them.",
        plots.swimmer(
            seen.days,
            held[ARM],
            one["last_day"],
            events={"progression": one["progression_day"], "first response": one["response_day"]},
            ongoing=one["progression_day"].isna(),
            title=ARM,
        ),
    )
    yield Entry(
        "waterfall",
        "Waterfall",
        "`plots.waterfall(change, best)`. The lowest M-protein of a patient need not be confirmed, the best response "
        "is: hence single bars of another color.",
        plots.waterfall({arm: rows["change"] for arm, rows in table.items()}, best),
    )
    yield Entry(
        "response_over_time",
        "Response over time",
        "`plots.response_over_time(days, arms)`. From the first assessment on; the area of those who are not followed "
        "any more grows with the data cut-off.",
        plots.response_over_time(seen.days, held, last_day={arm: rows["last_day"] for arm, rows in table.items()}),
    )
    yield Entry(
        "transgene_by_response",
        "Transgene by best response",
        f"`plots.by_response(times, values, best)`. {singled} As measured; what is below the limit of quantification "
        "is drawn in the gray strip. Few are followed to month 24.",
        plots.by_response(seen.kinetic_days, seen.transgene, best[ARM]),
    )
    yield Entry(
        "sbcma_by_response",
        "Soluble BCMA by best response",
        f"`plots.by_response(times, values, best, marker=..., lloq=...)`. {singled} On a logarithmic axis, "
        "in percent of baseline.",
        plots.by_response(
            seen.days, 100 + seen.sbcma, best[ARM], marker="Soluble BCMA (% of baseline)", lloq=100 * SBCMA_LOQ
        ),
    )
    yield Entry(
        "exposure",
        "Response by quartile of exposure",
        "`plots.exposure_quartiles(exposures, responses)`. All arms together.",
        plots.exposure_quartiles(
            {
                "Cmax (copies/µg DNA)": shown.patients["Cmax"],
                "AUC0–28 (day × copies/µg DNA)": shown.patients["AUC0-28"],
            },
            {"ORR (PR or better)": shown.patients["best"] >= "PR", "CR": shown.patients["best"] == "CR"},
        ),
    )
    replicates = [trial(seed, SMALL, (float(ARM),)).visits[ARM] for seed in range(REPLICATES + 1)]
    yield Entry(
        "predictive_check",
        "Visual predictive check",
        f"`plots.visual_predictive_check(times, observed, simulated)`. Individual data of patients are not public: "
        f"the observed trial is itself simulated, of the same design with another seed ({SMALL} patients).",
        plots.visual_predictive_check(
            replicates[0].kinetic_days,
            {ARM: replicates[0].transgene},
            {ARM: np.stack([replicate.transgene for replicate in replicates[1:]])},
        ),
    )


def main() -> None:
    """Write the gallery beside this file."""
    (HERE / "gallery").mkdir(exist_ok=True)
    m, b, t = (100 * ASSAYS[name].cv for name in ("mprotein", "sbcma", "transgene"))
    page = [HEAD.format(n=PATIENTS, m=m, b=b, t=t, lloq=LLOQ, loq=100 * SBCMA_LOQ)]
    for entry in pictures(trial()):
        path = plots.save(entry.figure, HERE / "gallery" / f"{entry.name}.png", dpi=DPI)
        with Image.open(path) as image:
            small = image.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
        page.append(f"## {entry.title}\n\n{entry.text}\n\n![{entry.title}](gallery/{entry.name}.png)\n")
    (HERE / "gallery.md").write_text("\n".join(page))


if __name__ == "__main__":
    main()

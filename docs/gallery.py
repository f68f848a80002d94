"""Draw the gallery: a trial is simulated and every picture of a trial is made of it.

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
from cartsim.plots.style import arm_title
from cartsim.trial.assay import Assay
from cartsim.trial.conduct import Conduct, Followup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
DOSES = (50e6, 150e6, 450e6, 800e6)
ARM = "450e6"  # of the pictures that show one arm
PATIENTS = 400
REPLICATES, SMALL = 40, 60  # trials behind the visual predictive check, and their size
DPI, COLORS = 90, 128  # enough for a screen, and less than 150 kB a picture

SBCMA_LOQ = 0.01  # of baseline
ASSAYS = {
    "mprotein": Assay(cv=0.05, step=0.1, lod=0.1),
    "sbcma": Assay(cv=0.15, loq=SBCMA_LOQ),
    "transgene": Assay(cv=0.3, loq=LLOQ),
}

HEAD = """# Gallery

The pictures of a trial, all of one `result = cartsim.Trial(...).run()`: the published clinical model
(`bb2121_clinical`) with its own variability and a baseline burden spread evenly over 5 to 95 % of the marrow, {n}
patients at each of four doses, the same patients in every arm. What is measured has log-normal assay error ({m:g} % for
M-protein, {b:g} % for soluble BCMA, {t:g} % for the transgene). The transgene is quantified from {lloq:g} copies/µg on,
soluble BCMA from {loq:g} % of its baseline (assumed). 3 % of the visits are missed, and data are cut off 12 to 24.5
months after infusion. The functions of `cartsim.plots` draw the same pictures of plain arrays and tables.
`python docs/gallery.py` makes this page.
"""


@dataclass(frozen=True)
class Entry:
    """A picture, its file's name, its heading, and what a reader should know."""

    name: str
    title: str
    text: str
    figure: Figure


def trial(seed: int = 2021, n: int = PATIENTS, doses: tuple[float, ...] = DOSES) -> cartsim.TrialResult:
    """The trial that is shown, or one of the same design with other patients."""
    population = cartsim.Population("bb2121_clinical", seed, {"burden": cartsim.uniform(5, 95)})
    conduct = Conduct(missed=0.03, followup=Followup(median=21, shortest=12, longest=24.5))
    return cartsim.Trial(population, doses, n, cartsim.Protocol(assays=ASSAYS, conduct=conduct)).run(n_jobs=1)


def pictures(shown: cartsim.TrialResult) -> Iterator[Entry]:
    """Every picture of the gallery."""
    draw, best, seen = shown.plot, shown.arm(ARM)["best"], shown.visits[ARM]
    curves = {arm: kept.values["mprotein_change"] for arm, kept in shown.curves.items()}
    singled = f"Arm of {arm_title(ARM)}."

    yield Entry(
        "overview",
        "Overview",
        "`result.plot()`. Kinetics and M-protein are medians; the other pictures show how patients differ.",
        draw(),
    )
    yield Entry(
        "transgene",
        "CAR-T kinetics",
        "`result.plot.kinetics()`. The peak is reached at two to three weeks and hardly depends on dose; "
        "between patients it differs by three decades.",
        draw.kinetics(),
    )
    yield Entry(
        "markers",
        "Soluble BCMA and M-protein",
        "`result.plot.biomarkers()`. Without assay error.",
        draw.biomarkers(),
    )
    yield Entry(
        "spider",
        "Spider",
        "`result.plot.spider()` colors by best response; here `plots.spider(times, arms, groups)` does by the true "
        "state at 21 months. The first 250 patients of each arm, as Figure 6a of Singh 2021 shows them.",
        plots.spider(
            shown.curves[ARM].times,
            curves,
            {arm: shown.arm(arm)["true_21"] for arm in shown.arms},
            colored_by="state at 21 months",
            grouped=True,
        ),
    )
    yield Entry(
        "landmarks",
        "Response at 6 and 21 months",
        "`result.plot.responses()`. As observed, in the groups of Figure 6b of Singh 2021; `true_state=True` shows all "
        "patients as if they had been followed. The published model with its "
        "published variability shows no threshold in dose; the paper reports one near 150 × 10⁶ cells.",
        draw.responses(),
    )
    yield Entry(
        "best_response",
        "Best overall response",
        '`result.plot.responses("best")`. By the IMWG criteria, with confirmation.',
        draw.responses("best"),
    )
    yield Entry(
        "survival",
        "Progression-free survival",
        "`result.plot.survival()`. Limits are log-log, those of the median as SAS gives them; NE where a limit "
        "is not reached.",
        draw.survival(),
    )
    yield Entry(
        "swimmer",
        "Swimmer",
        f'`result.plot.swimmer("{ARM}")`. {singled} The first 40 patients, not a choice of them.',
        draw.swimmer(ARM),
    )
    yield Entry(
        "waterfall",
        "Waterfall",
        "`result.plot.waterfall()`. The lowest M-protein of a patient need not be confirmed, the best response "
        "is: hence single bars of another color.",
        draw.waterfall(),
    )
    yield Entry(
        "response_over_time",
        "Response over time",
        "`result.plot.response_over_time()`. From the first assessment on; the area of those who are not followed "
        "any more grows with the data cut-off.",
        draw.response_over_time(),
    )
    yield Entry(
        "transgene_by_response",
        "Transgene by best response",
        f"`plots.by_response(times, values, best)`. {singled} As measured; what is below the limit of quantification "
        "is drawn in the gray strip. Few are followed to month 24.",
        plots.by_response(seen.kinetic_days, seen.transgene, best),
    )
    yield Entry(
        "sbcma_by_response",
        "Soluble BCMA by best response",
        f"`plots.by_response(times, values, best, marker=..., lloq=...)`. {singled} On a logarithmic axis, "
        "in percent of baseline.",
        plots.by_response(
            seen.days, 100 + seen.sbcma, best, marker="Soluble BCMA (% of baseline)", lloq=100 * SBCMA_LOQ
        ),
    )
    yield Entry(
        "exposure",
        "Response by quartile of exposure",
        "`result.plot.exposure()`. All arms together.",
        draw.exposure(),
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

"""Draw the typical patient of each structure of the clinical model, and print what a trial of each shows.

    python docs/variants.py

writes docs/variants/typical.png and prints the table of docs/variants.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import cartsim
from cartsim.plots import style

HERE = Path(__file__).parent
DOSE, MONTHS, PATIENTS = 450e6, 18, 1000
DAYS = np.concatenate([np.arange(0, 30, 0.25), np.arange(30, MONTHS * 30.4375, 1.0)])
STRUCTURES = {  # variant: what a line is called, what the patient has, color, dashes
    "": ("published", {}, "#555555", "-"),
    "window": ("window", {}, "#0072B2", "-"),
    "window_resistant": ("window, antigen loss", {"antigen_loss": 1}, "#D55E00", (0, (5, 1.5))),
    "window_exhaustion": ("window, exhaustion", {}, "#009E73", (0, (3, 1.5, 1, 1.5))),
    "window_second_site": ("window, second site", {"extramedullary": 1}, "#CC79A7", (0, (1.2, 1.2))),
}
PANELS = {
    "transgene": "Transgene (copies/µg)",
    "mprotein_change": "M-protein (change, %)",
    "sbcma_change": "Soluble BCMA (change, %)",
    "tumor_relative": "Tumor (multiple of baseline)",
}
LOWEST = {"transgene": 1.0, "tumor_relative": 1e-8}


def model(variant: str) -> cartsim.Model:
    """The clinical model in one of its structures."""
    return cartsim.load(f"bb2121_clinical:{variant}" if variant else "bb2121_clinical")


def draw() -> None:
    """The picture of the typical patient, of the kind that has what the structure is about."""
    figure, axes = style.panels(len(PANELS), columns=2, height=2.9, sharex=True)
    for variant, (_, has, color, dashes) in STRUCTURES.items():
        run = cartsim.simulate(model(variant).override(has), DOSE, DAYS, list(PANELS))
        for axis, output in zip(axes, PANELS, strict=True):
            axis.plot(DAYS / 30.4375, run[output][0], color=color, ls=dashes, lw=1.8)
    for axis, (output, label) in zip(axes, PANELS.items(), strict=True):
        axis.set_ylabel(label)
        if output in LOWEST:
            axis.set_yscale("log")
            axis.set_ylim(bottom=LOWEST[output])
        else:
            axis.set_ylim(-105, 205)
            axis.axhline(0, color=style.INK, lw=0.6)
        axis.set_xlim(0, MONTHS)
        axis.set_xticks(range(0, MONTHS + 1, 3))
    for axis in axes[2:]:
        axis.set_xlabel("Months after infusion")
    style.legend_below(figure, [style.line(n, color=c, ls=d, lw=1.8) for n, _, c, d in STRUCTURES.values()])
    (HERE / "variants").mkdir(exist_ok=True)
    style.save(figure, HERE / "variants" / "typical.png", dpi=110)


def table() -> None:
    """What a trial of so many patients at 450 million cells shows of each structure."""
    print("| structure | patients | ORR (%) | CR (%) | PFS (months) | Tmax (days) | Cmax (copies/µg) |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for variant, (called, has, *_) in STRUCTURES.items():
        burden = {"burden": cartsim.logitnormal(0.78)}
        rows = [(called, model(variant), burden)]
        for name in has:
            for each, word in ((1, "with"), (0, "without")):
                rows.append((f"{called}: {word} it", model(variant).override({name: each}), burden))
        for label, chosen, varied in rows:
            found = cartsim.Trial(cartsim.Population(chosen, 1, varied), [DOSE], n=PATIENTS).run().summary.iloc[0]
            pfs = "not reached" if np.isnan(found["PFS_months"]) else f"{found['PFS_months']:.0f}"
            rates = " | ".join(f"{found[name]:.0f}" for name in ("ORR", "CR"))
            print(f"| {label} | {PATIENTS:,} | {rates} | {pfs} | {found['Tmax_day']:.0f} | {found['Cmax']:,.0f} |")


if __name__ == "__main__":
    draw()
    table()

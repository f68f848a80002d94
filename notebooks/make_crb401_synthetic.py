"""Make the packaged example models/examples/crb401_synthetic.csv and its truth: synthetic, no real patient."""

from __future__ import annotations

from pathlib import Path

from cartsim.files import write_whole
from cartsim.fitting.synthetic import synthetic_patients

HOW = """33 virtual patients of cartsim's model bb2121_clinical, at doses like those of the first bb2121 trial
(CRB-401): 3 at 50e6, 8 at 150e6, 19 at 450e6 and 3 at 800e6 cells. Kexp_max, Kkill_max, gamma_m and gamma_b vary
as in the model file, all else is typical. Made by cartsim.fitting.synthetic.synthetic_patients(), seed 402:
M-protein and sBCMA with log-normal errors (SD 0.05 and 0.2), responses judged visit by visit from the measured
M-protein, sBCMA quantified down to 1 % of baseline, follow-up drawn evenly from 6 to 24 months and ended by
progression.
"""


def main() -> None:
    folder = Path(__file__).parents[1] / "models" / "examples"
    folder.mkdir(exist_ok=True)
    data, truth = synthetic_patients()
    for name, what, table in (
        ("crb401_synthetic.csv", "SYNTHETIC response categories and sBCMA; no real patient is in this file.", data),
        ("crb401_synthetic_truth.csv", "The true parameters behind crb401_synthetic.csv, which is SYNTHETIC.", truth),
    ):
        comment = "".join(f"# {line}\n" for line in (what + "\n" + HOW).splitlines())
        text = comment + table.astype({"dose": int}).to_csv(index=False, lineterminator="\n", float_format="%.8g")
        write_whole(folder / name, lambda beside, text=text: beside.write_text(text))


if __name__ == "__main__":
    main()

"""Write docs/exposure_response.md: a worked example whose numbers and pictures are computed here.

python docs/exposure_response.py
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

import cartsim as cs
from cartsim import plots
from cartsim.experiments.dose_response import BURDENS
from cartsim.exposure.analysis import ExposureResponse
from cartsim.exposure.published import published_predictions, reference_auc
from cartsim.trial import KARMMA_FOLLOWUP

HERE = Path(__file__).parent
FOLDER = HERE / "exposure_response"
KARMMA = {150e6: 4, 300e6: 70, 450e6: 54}
"""Patients of KarMMa by target dose."""
DPI, COLORS = 90, 128
SEED, SECOND = 14, 15


def trial(seed: int = SEED) -> cs.TrialResult:
    """A trial as large as KarMMa, at its doses, with its burdens (half at 50 % or more) and follow-up."""
    population = cs.Population("bb2121_clinical", seed, {"burden": BURDENS["karmma"]})
    protocol = cs.Protocol(conduct=cs.Conduct(followup=KARMMA_FOLLOWUP))
    arms = [cs.Arm(dose, n) for dose, n in KARMMA.items()]
    return cs.Trial(population, arms, protocol=protocol, independent=True).run(n_jobs=1)


def markdown(table: pd.DataFrame, columns: dict[str, str | Callable[[Any], str]]) -> str:
    """A table with these columns, each a format of a row or a function of it."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in table.to_dict("records"):
        cells = (form.format_map(row) if isinstance(form, str) else form(row) for form in columns.values())
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def known(form: str, column: str) -> Callable[[Any], str]:
    """The format of a row, or nothing where a column of it is missing."""
    return lambda row: "" if pd.isna(row[column]) else form.format_map(row)


def small(column: str) -> Callable[[Any], str]:
    """A p-value."""
    return lambda row: "" if pd.isna(row[column]) else "< 0.0001" if row[column] < 1e-4 else f"{row[column]:.4f}"


def filled(text: str) -> str:
    """The page with its paragraphs filled anew, since some hold computed sentences."""
    parts = text.split("\n\n")
    plain = [not part.startswith(("|", "#", "`", "!")) and "```" not in part for part in parts]
    return "\n\n".join(
        textwrap.fill(part, 120, break_long_words=False, break_on_hyphens=False) if own else part
        for part, own in zip(parts, plain, strict=True)
    )


PAGE = """# Exposure-response

Does more exposure mean more response, and what would another dose do? `cartsim er` and `cs.exposure_response` answer it
the way the analyses of KarMMa and KarMMa-3 do, on a simulated trial or on your own patients. Every number and picture
here is computed by `python docs/exposure_response.py`.

```sh
cartsim trial --dose 150e6,300e6,450e6 --n 128 --independent --burden karmma --out trial_out
cartsim er trial_out --endpoint VGPR --exposure auc028 --covariates burden --out er
cartsim er mine.csv --endpoint CRS_tocilizumab --covariates sex,mprotein_high --out er
```

```python
import cartsim as cs

found = cs.exposure_response("trial_out", "VGPR", "auc028", covariates=["burden"])
found.quartiles, found.summary, found.survival_table(), found.prediction.table
found.plot()  # also .exposures(), .survival("DOR"), .dose_response(), .dose_exposure(), .roc()
found.save("er")
```

## A trial as large as KarMMa

{patients} virtual patients at KarMMa's target doses (4, 70 and 54 at 150, 300 and 450 million cells), its burdens and
its follow-up, under the published model (`bb2121_clinical`). {left}Under this model {orr:.0f} % of them respond (PR or
better; 73 % did in KarMMa), which leaves few from whom to learn who does not: the outcome here is VGPR or better, in
{responders} of {n}.

{quartiles}

![Response by exposure](exposure_response/response.png)

Linear and Emax models on the logit are compared by AIC; one whose exposure parameters are not told by the data, or with
a relative standard error above 100 %, is not taken. All are fitted by maximum likelihood, which AIC needs and which
puts Emax too far from 0 in trials of this size; `cartsim.exposure.emax.fit_emax(..., method="firth")`, a penalized
likelihood, takes about half of that away.

{models}

The chosen {kind} model, n = {fitted}; {area}.

{estimates}

Every test of the choice of covariates (likelihood ratios; univariate and forward p < 0.05, backward 0.01):

{selection}

![Exposure by response and dose](exposure_response/exposures.png)

These curves are not causal: exposure of CAR-T cells is in part a result of response (both depend on the burden that
drives expansion, and the 28 days must be lived through), so that a dose that raised exposure need not move a patient
along the curve.

## Survival by quartile

{survival}

![Progression-free survival by quartile](exposure_response/PFS.png)

Cox regression on ln exposure and the covariates asked for; a small p under "proportional" says that the hazard ratio
changes over time:

{cox}

AUC0-28 is known on day 28 only and whoever progresses early may never reach a high one, so a short first quartile is
partly a matter of time.

## Dose and exposure

{dose_text}.

![Exposure by dose](exposure_response/dose_exposure.png)

## What another dose would do

The KarMMa analysis predicts rates at each dose by scaling each patient's AUC0-28 with dose. That is an assumption, and
for cells that multiply in the patient not an obvious one: KarMMa-3 found little association of dose with exposure. A
simulated trial shows what it costs, for its patients can be treated with every dose.

{prediction}

![Rates by dose](exposure_response/dose_response.png)

{prediction_text}. In the published model with its published variability exposure hardly depends on dose (within the
same patients AUC0-28 ~ dose^{slope:.2f}), since cells multiply until their target is gone: the whole rise that the
assumption predicts is then the assumption's own. With another model, or data in which exposure follows dose, the two
would agree. Neither is a statement about patients: there were four at 150 million cells in KarMMa.

## A second trial

The model fitted above on another simulated trial of the same design (other patients, seed {second}); z is the
difference in standard errors, of estimates and chance together:

{validation}

![Observed against predicted](exposure_response/validation.png)

## KarMMa's own model, and two surrogates

`models/karmma_er.toml` holds what is published of KarMMa's models. Of complete response that is the model itself. Of
overall response and of CRS requiring tocilizumab only predictions are printed: the two *surrogates* are logit models
in ln(AUC0-28 / its median at 300 million cells), chosen to reproduce these predictions for log-normal AUC0-28 (SD of
the logarithm 1.24) in proportion to dose. They are no estimates from patients and none of KarMMa's models.

{published}

They let a simulated trial report CRS requiring tocilizumab, which no mechanism here produces. In the trial above
({reference}):

{reported}

The published model of complete response is in absolute units; simulated AUC0-28 lies about ten times below KarMMa's
(geometric mean {geometric:.2g} against 3e6 day × copies/µg), and so does what it says of these patients.

## Your own data

A row a patient, columns under these names in any case: `auc028`, `cmax`, `tmax`, `clast`, `dose` (cells); `ORR`, `CRR`,
`VGPR`, `MRD_CR` or any other outcome of 0 and 1; `pfs_months` and `pfs_event`, `dor_months` and `dor_event`. Any other
column can be a covariate. `expansion_rate` (Cmax/Tmax) is worked out, and so is `mprotein_high` where there is a column
`M0` (baseline M-protein, g/L). What has no columns is left out: without `dose` nothing is predicted by dose. Cells
without a value stay empty.
"""


def page(found: ExposureResponse, trial_patients: int) -> str:
    """The page, of an analysis with a second trial."""
    assert found.prediction is not None and found.dose is not None and found.validation is not None
    frame = found.frame
    limits = "({low:.1f} to {high:.1f})"
    prediction = found.prediction.table.assign(million=lambda table: table["dose"] / 1e6)
    return PAGE.format(
        patients=trial_patients,
        left="".join(f"{note[0].upper()}{note[1:]}. " for note in found.data.notes),
        responders=int(frame[found.endpoint].sum()),
        n=len(frame),
        quartiles=markdown(
            found.quartiles,
            {
                "quartile": "{quartile}",
                "n": "{n}",
                "median AUC0-28": "{median:,.0f}",
                "VGPR or better, % (95 % limits)": "{percent:.1f} " + limits,
            },
        ),
        orr=100 * frame["ORR"].mean(),
        models=markdown(
            found.selection.candidates,
            {
                "model": "{model}",
                "parameters": "{parameters:.0f}",
                "AIC": known("{aic:.1f}", "aic"),
                "largest RSE, %": known("{largest_rse:.0f}", "largest_rse"),
                "": lambda row: "chosen" if row["chosen"] else str(row["note"]),
            },
        ),
        kind=found.model.kind,
        fitted=found.model.n,
        area=f"area under its ROC curve {found.roc.auc:.2f}",
        estimates=markdown(
            found.model.estimates,
            {
                "parameter": "{parameter}",
                "estimate": "{estimate:.4g}",
                "RSE, %": known("{rse:.0f}", "rse"),
                "95 % limits": known("{low:.3g} to {high:.3g}", "low"),
                "p": small("p"),
            },
        ),
        selection=markdown(
            found.selection.path,
            {
                "step": "{step}",
                "tested": "{candidate}",
                "n": "{n}",
                "df": "{df}",
                "p": small("p"),
                "kept": lambda row: "yes" if row["kept"] else "no",
            },
        ),
        survival=markdown(
            found.survival_table(),
            {
                "": "{endpoint} {quartile}",
                "n": "{n}",
                "events": "{events}",
                "median, months": lambda row: (
                    f"{row['median_months']:.1f}" if row["median_months"] > 0 else "not reached"
                ),
                "log-rank p": small("logrank_p"),
            },
        ),
        cox=markdown(
            found.cox,
            {
                "": "{endpoint}",
                "term": "{term}",
                "hazard ratio (95 % limits)": "{hazard_ratio:.2f} ({low:.2f} to {high:.2f})",
                "p": small("pvalue"),
                "p, proportional": "{proportional_p:.2f}",
            },
        ),
        dose_text=found.dose.text,
        prediction=markdown(
            prediction,
            {
                "dose, 10⁶ cells": "{million:g}",
                "way": lambda row: f"{row['way']}: {found.prediction.words(row['way'])}",
                "median AUC0-28": "{median_exposure:,.0f}",
                "VGPR or better, % (95 % limits)": "{percent:.1f} " + limits,
                "assumed less this, points": known("{gap:+.1f}", "gap"),
            },
        ),
        prediction_text=found.prediction.text,
        slope=found.prediction.slope.value,
        second=SECOND,
        validation=markdown(
            found.validation,
            {
                "quartile": "{quartile}",
                "n": "{n}",
                "observed, %": "{observed:.1f} ({observed_low:.1f} to {observed_high:.1f})",
                "predicted, %": "{predicted:.1f} ({predicted_low:.1f} to {predicted_high:.1f})",
                "z": "{z:.1f}",
            },
        ),
        published=markdown(
            published_predictions(),
            {
                "": "{title}",
                "kind": "{kind}",
                "dose, 10⁶ cells": lambda row: "all of KarMMa" if pd.isna(row["dose"]) else f"{row['dose'] / 1e6:g}",
                "computed, %": "{percent:.1f}",
                "published, %": lambda row: (
                    f"{row['published']:.1f}"
                    + ("" if pd.isna(row["low"]) else f" ({row['low']:.1f} to {row['high']:.1f})")
                ),
            },
        ),
        reference=f"reference AUC0-28: {reference_auc(found.data)[1]}",
        reported=markdown(
            found.published[found.published["arm"] == "all"],
            {"": "{title}", "kind": "{kind}", "n": "{n}", "% (95 % limits)": "{percent:.1f} " + limits},
        ),
        geometric=float(np.exp(np.log(frame["auc028"].dropna()).mean())),
    )


def main() -> None:
    """Write the page and its pictures beside this file."""
    FOLDER.mkdir(exist_ok=True)
    shown = trial()
    found = cs.exposure_response(shown, "VGPR", "auc028", ["burden"], validate=trial(SECOND), n_jobs=1)
    for name, figure in (
        ("response", found.plot()),
        ("exposures", found.plot.exposures()),
        ("PFS", found.plot.survival("PFS")),
        ("dose_response", found.plot.dose_response()),
        ("dose_exposure", found.plot.dose_exposure()),
        ("validation", found.plot.validation()),
    ):
        path = plots.save(figure, FOLDER / f"{name}.png", dpi=DPI)
        with Image.open(path) as image:
            small = image.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
    (HERE / "exposure_response.md").write_text(filled(page(found, len(shown.patients))).rstrip() + "\n")


if __name__ == "__main__":
    main()

"""Synthetic data sets of individual patients, with the truth behind them: for examples, tests and recovery studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.endpoints.rules import Response
from cartsim.errors import InputError
from cartsim.fitting.data import MPROTEIN, CategoryRules
from cartsim.fitting.likelihood import judged
from cartsim.model.model import Model
from cartsim.model.reader import load
from cartsim.population.draws import uniforms
from cartsim.population.population import Population
from cartsim.population.variability import fixed
from cartsim.schedule import KARMMA_RESPONSE, MONTH
from cartsim.simulation import simulate_rows
from cartsim.trial.assay import Assay

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

CRB401_DOSES = (*(50e6,) * 3, *(150e6,) * 8, *(450e6,) * 19, *(800e6,) * 3)
"""Doses like those of the first bb2121 trial (CRB-401), 33 patients."""

MPROTEIN_CV = 0.05  # SD of the logarithm of what an assay of M-protein shows


@dataclass(frozen=True)
class Sampled:
    """When an output is measured and how well.

    days: from infusion; cv: SD of the logarithm of the error; limit: of quantification, of changes in percent that of
    the level relative to baseline (0.01: reported as "<-99").
    """

    days: tuple[float, ...] = ()
    cv: float = 0.2
    limit: float = 0.01


def synthetic_patients(
    doses: Sequence[float] = CRB401_DOSES,
    *,
    model: str | Model = "bb2121_clinical",
    parameters: Sequence[str] = ("Kexp_max", "Kkill_max", "gamma_m", "gamma_b"),
    follow_up: tuple[float, float] = (6 * MONTH, 24 * MONTH),
    sbcma: Sampled = Sampled((28.0, 2 * MONTH, 3 * MONTH)),
    transgene: Sampled = Sampled(),
    rules: CategoryRules = CategoryRules(),  # noqa: B008 (frozen)
    seed: int = 402,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Observations in the form of `cartsim.observations`, and the true parameters: a row a patient.

    Only ``parameters`` vary, as the model file has it. M-protein is measured with a log-normal error at KarMMa's visits
    up to the end of each patient's follow-up (days), drawn evenly from ``follow_up``, and judged by ``rules`` from the
    measured values, as a trial does; the first PD is the last assessment. sBCMA is measured as a level and given as
    percent change, the transgene in copies/ug, both with a limit of quantification.
    """
    import pandas as pd

    chosen = load(model)
    n = len(doses)
    others = {name: fixed() for name, p in chosen.parameters.items() if p.iiv and name not in parameters}
    truth = Population(chosen, seed, others).table(0, n).reset_index()
    truth.insert(1, "dose", np.asarray(doses, float))
    every = np.unique(np.concatenate([np.asarray(d, float) for d in (KARMMA_RESPONSE, sbcma.days, transgene.days)]))
    outputs = [MPROTEIN, "sbcma_change", "transgene"]
    rows = truth.set_index("id").drop(columns="dose")
    run = simulate_rows(chosen, rows, None, every, outputs, own_dose=truth["dose"].to_numpy())
    if len(run.failures):
        first = run.failures.iloc[0]
        raise InputError(
            f"{len(run.failures)} of {n} true patients have no complete result, the first with id {first['id']} "
            f"({first['status']}); choose another seed or narrower parameters"
        )

    def measured(output: str, at: ArrayLike, cv: float) -> tuple[Floats, Floats]:
        at = np.asarray(at, float)
        values = run[output][:, np.searchsorted(every, at)]
        levels = 1 + values / 100 if output.endswith("_change") else values
        return at, Assay(cv=cv).measure(np.maximum(levels, 0), seed=seed, name=output, start=0, days=at)

    visits, mprotein = measured(MPROTEIN, KARMMA_RESPONSE, MPROTEIN_CV)
    end = follow_up[0] + (follow_up[1] - follow_up[0]) * uniforms(seed, "follow-up", 0, n)
    codes, _ = judged(mprotein, np.full(mprotein.shape, Response.SD, np.int8), rules)
    found: list[tuple[int, float, float, str, str, str]] = []
    for i in range(n):
        own = (i, float(doses[i]))
        for day, code in zip(visits, codes[i], strict=True):
            if day > end[i]:
                break
            found.append((*own, day, Response(code).name, "", ""))
            if code == Response.PD:
                break
    for output, how in (("sbcma_change", sbcma), ("transgene", transgene)):
        sampled, values = measured(output, how.days, how.cv)
        for i, j in np.argwhere(sampled <= end[:, None]):
            known = max(float(values[i, j]), how.limit)
            shown = f"{100 * (known - 1):.6g}" if output.endswith("_change") else f"{known:.6g}"
            text = shown if values[i, j] >= how.limit else f"<{shown}"
            found.append((int(i), float(doses[i]), float(sampled[j]), "", output, text))
    data = pd.DataFrame(found, columns=["id", "dose", "time", "category", "output", "value"])
    data = data.sort_values(["id", "time"], kind="stable", ignore_index=True)
    return data, truth

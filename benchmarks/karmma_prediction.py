"""What a calibration to CRB-401 says of CRB-401 (fitted) and of KarMMa (predicted), row by row, against baselines.

    python benchmarks/karmma_prediction.py [--population crb401] [--priors FILE] [--replicates 500]

Prints, and writes into results/karmma_prediction.md and .csv, a table of all rows of both trials: published with
limits, median with 90 % limits of the calibrated population, in or out, and the scores of that, of the prior
predictive, of the published population, and of what the counts of CRB-401 say without a model. docs/credibility.md
gets the same, and the pictures, between its marks. The calibrated population is frozen, its digest printed, before the
file of KarMMa is opened. (about two minutes on two cores)
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import cartsim as cs
from cartsim.calibration.prediction import Prediction, frozen
from cartsim.calibration.priors import estimates, possible, priors_of, read_priors
from cartsim.plots.style import save

HERE = Path(__file__).parent
PRIORS = HERE.parent / "models" / "priors" / "window.toml"
PAGE = HERE.parent / "docs" / "credibility.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
SCORES = {"interval_score": "interval score", "log_score": "log score"}

# Why a row may be missed: the links between the trials, or within the model, that are not there.
WHY = {
    "ORR": "the patients of the two trials differ (extramedullary disease 27 and 39 %) in more than the model is told",
    "CR": "as ORR: nothing of the patient but burden and M-protein bears on depth",
    "VGPR or better": "as ORR",
    "below PR": "as ORR: hardly any simulated tumor resists",
    "best response": "small numbers of single categories, and best responses that the model has rarely (SD, PD)",
    "MRD": "residual disease is that of the whole tumor; a sample of marrow sees less, and not everybody has one",
    "TTR": "the month-1 visit makes it: the day within the window decides",
    "TTCR": "fall of M-protein: one half-life for all, and complete response needs immunofixation, not M-protein alone",
    "DOR": "relapse is regrowth; what brings it (lost antigen, sites out of reach, tired cells) is a variant at best",
    "PFS": "as DOR, and of those who never respond the model has too few",
    "relapse": "as DOR",
    "Tmax": "the days of samples make it: it can be 9, 11, 14 and nothing between",
    "persistence": "one rate of loss of memory cells for all; the assay's limit decides about the rest",
    "AUC": "dose enters expansion weakly, and products of one dose differ",
    "correlation": "the model's exposure is one peak: what widens it widens Cmax too",
    "Cmax": "responders and others differ in expansion less than they did: other reasons not to respond are missing",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--population", default="crb401", help="calibrated to CRB-401: a name, or a .toml file")
    parser.add_argument(
        "--priors", type=Path, default=PRIORS, help="the TOML file of priors that it was calibrated with"
    )
    parser.add_argument("--replicates", type=int, default=500)
    parser.add_argument("--seed", type=int, default=2021)
    parser.add_argument("--cores", type=int, default=-1)
    asked = parser.parse_args()

    stored = cs.read_population(asked.population)
    calibrated = stored.of(asked.seed)
    if calibrated.draws is None:
        raise SystemExit(f"{asked.population} has no draws of its estimates, which a calibration leaves")
    prior = prior_predictive(stored.model, list(calibrated.draws), asked.priors, asked.replicates, asked.seed)
    digest = frozen(calibrated)
    print(f"frozen: {digest}", flush=True)

    how = {"replicates": asked.replicates, "n_jobs": asked.cores}
    fitted = together("crb401", calibrated, prior, None, how)
    predicted = together("karmma", calibrated, prior, "crb401", how)
    text = report(fitted, predicted, digest)
    print(text)
    results = HERE / "results"
    (results / "karmma_prediction.md").write_text(text)
    tables = [each[0].rows(*each[1:]).assign(trial=each[0].trial.name) for each in (fitted, predicted)]
    pd.concat(tables).to_csv(results / "karmma_prediction.csv", index=False)
    for name, each in (("crb401", fitted), ("karmma", predicted)):
        save(each[0].plot.forest(*each[1:]), PAGE.parent / "credibility" / f"forest_{name}.png", dpi=90)
    pictures = "".join(
        f"\n![{title}](credibility/forest_{name}.png)\n"
        for name, title in (("karmma", "KarMMa, predicted"), ("crb401", "CRB-401, fitted"))
    )
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(before + BEGIN + "\n\n" + text + pictures + "\n" + END + rest.partition(END)[2])


def together(
    trial: str, calibrated: cs.Population, prior: cs.Population, other: str | None, how: dict[str, Any]
) -> list[Prediction]:
    """The calibrated population's prediction first, then the others'."""
    found = [
        cs.predict(trial, calibrated, name="calibrated", **how),
        cs.predict(trial, prior, name="prior", **how),
        # As Table 1 has it: its standard errors are the uncertainty.
        cs.predict(
            trial,
            cs.read_population("published").of(calibrated.seed),
            name="published population",
            uncertainty=True,
            **how,
        ),
    ]
    if other is not None:
        found.append(cs.baseline(trial, other, draws=how["replicates"], name="counts"))
    return found


def prior_predictive(model: str, names: Sequence[str], path: Path, draws: int, seed: int) -> cs.Population:
    """The model's population under draws of the priors of what was calibrated."""
    base = cs.Population(cs.load(model), seed)
    priors = priors_of(base, names, {name: own for name, own in read_priors(path).items() if name in names})
    z = np.random.default_rng(seed).standard_normal((4 * draws, len(priors)))
    values = estimates(priors, z)
    drawn = pd.DataFrame(values)[possible(priors, values)].to_dict("records")
    allowed = [row for row in drawn if is_allowed(base, row)][:draws]
    return replace(base, draws=pd.DataFrame(allowed))


def is_allowed(base: cs.Population, drawn: dict[Any, float]) -> bool:
    """Whether the model allows such patients; a calibration gives the others no probability either."""
    try:
        base.at(drawn)
    except cs.InputError:
        return False
    return True


def report(fitted: list[Prediction], predicted: list[Prediction], digest: str) -> str:
    lines = [*verdict(predicted), "", f"Frozen before KarMMa was read: `{digest}`.", ""]
    lines += ["Scores of KarMMa's rows that count once, where all predictions have them:", ""]
    lines += markdown(scores(predicted[0].compare(*predicted[1:])))
    lines += ["", "and of all its rows that count once, without the baseline of counts, which has few of them:", ""]
    lines += markdown(scores(predicted[0].compare(*predicted[1:3])))
    lines += ["", "The same of CRB-401, to which the calibration was fitted:", ""]
    lines += markdown(scores(fitted[0].compare(*fitted[1:])))
    for title, each in (("KarMMa, predicted", predicted), ("CRB-401, fitted", fitted)):
        lines += ["", f"### {title}", ""]
        lines += [
            "**Bold**: rows that count once. The scores are interval scores.",
            "",
        ]
        lines += markdown(rows(each, title.split(", ")[1]))
        lines += ["", *misses(each[0])]
        skipped = each[0].skipped.groupby("why", sort=False)["id"].agg(", ".join)
        lines += ["", "Not predicted: " + "; ".join(f"{names} ({why})" for why, names in skipped.items()) + "."]
    return "\n".join(lines) + "\n"


def verdict(predicted: list[Prediction]) -> Iterator[str]:
    """First what was asked: is the calibration better than the prior and than counting."""
    table = predicted[0].compare(*predicted[1:])
    shared = table[table["kind"] == "all"].set_index("prediction")
    whole = predicted[0].compare(*predicted[1:3])
    every = whole[whole["kind"] == "all"].set_index("prediction")
    for score, words in SCORES.items():
        own, prior, counts = (shared.loc[name, score] for name in ("calibrated", "prior", "counts"))
        whole_own, whole_prior, paper = (
            every.loc[name, score] for name in ("calibrated", "prior", "published population")
        )
        n = int(shared.loc["calibrated", "rows"])
        yield (
            f"**By the {words} the calibration to CRB-401 predicts KarMMa {better(own, counts)} the counts of CRB-401 "
            f"without a model ({own:.2f} against {counts:.2f}) and {better(own, prior)} the prior ({prior:.2f}), on "
            f"the {n} rows that all have;** on all {int(every.loc['calibrated', 'rows'])} rows "
            f"{better(whole_own, whole_prior)} the prior ({whole_own:.2f} against {whole_prior:.2f}) and "
            f"{better(whole_own, paper)} the published population ({paper:.2f})."
        )
        yield ""
        if own > counts:
            yield from ("Where it loses to counting: " + losses(predicted[0], predicted[-1], score) + ".", "")
    row = every.loc["calibrated"]
    yield (
        f"Of {int(row['rows'])} rows {int(row['cover'])} lie in the 90 % limits, and of {int(row['limited'])} with "
        f"published limits {int(row['within'])} predicted medians lie in these."
    )


def losses(own: Prediction, other: Prediction, score: str) -> str:
    """The rows that count once and that another prediction scores better, the worst first, and the link missing."""
    table = own.frame.merge(other.frame[["id", score]], on="id", suffixes=("", "_other"))
    table = table[table["role"] == "fit"].assign(lost=lambda each: each[score] - each[f"{score}_other"])
    table = table[table["lost"] > 0].sort_values("lost", ascending=False)
    groups = table.groupby(table["endpoint"].map(reason), sort=False)["id"].agg(", ".join)
    return "; ".join(f"{names} ({why})" for why, names in groups.items())


def better(own: float, other: float) -> str:
    return "better than" if own < other else "worse than"


def scores(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "prediction": table["prediction"],
            "rows": table["kind"] + " (" + table["rows"].astype(str) + ")",
            "published in 90 % limits": table["cover"].astype(str) + " of " + table["rows"].astype(str),
            "median in published limits": table["within"].astype(str) + " of " + table["limited"].astype(str),
            "interval score": table["interval_score"].map("{:.3f}".format),
            "log score": table["log_score"].map("{:.3f}".format),
        }
    )


def rows(each: list[Prediction], title: str) -> pd.DataFrame:
    table = each[0].rows(*each[1:])

    def limits(row: dict[str, Any], middle: str, low: str, high: str) -> str:
        value, ends = row[middle], (row[low], row[high])
        return shown(value) if math.isnan(ends[0]) else f"{shown(value)} ({shown(ends[0])}, {shown(ends[1])})"

    found = []
    for row in table.to_dict("records"):
        name = f"**{row['id']}**" if row["role"] == "fit" else row["id"]
        covers = row["calibrated covers"]
        line = {
            "row": name,
            "unit": row["unit"],
            "published (95 %)": limits(row, "value", "low", "high"),
            f"{title} (90 %)": limits(
                row, "calibrated predicted", "calibrated predicted_low", "calibrated predicted_high"
            ),
            "in": "yes" if covers else "no",
        }
        scores_ = {f"score, {one.name}": shown(row[f"{one.name} interval_score"], ".2f") for one in each}
        found.append(line | scores_)
    return pd.DataFrame(found)


def misses(found: Prediction) -> list[str]:
    """Why each row that counts once lies outside, endpoint by endpoint."""
    table = found.frame
    outside = table[(table["role"] == "fit") & (table["covers"] == False)]  # noqa: E712 (None is no miss)
    if outside.empty:
        return ["No row that counts once lies outside."]
    lines = ["Outside, of those that count once:", ""]
    for why, own in outside.groupby(outside["endpoint"].map(reason), sort=False):
        lines.append(f"- {', '.join(own['id'])}: {why}.")
    return lines


def reason(endpoint: str) -> str:
    return next((why for name, why in WHY.items() if endpoint.startswith(name)), "no reason is known")


def shown(value: float, form: str = ".3g") -> str:
    return "" if math.isnan(value) else "not reached" if math.isinf(value) else format(value, form)


def markdown(table: pd.DataFrame) -> list[str]:
    names = list(table)
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in table.itertuples(index=False)]


if __name__ == "__main__":
    main()

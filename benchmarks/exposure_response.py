"""What the exposure-response models are worth: recovery of known models, error rates of the selection, agreement.

Run: python benchmarks/exposure_response.py [--replicates 1000] [--null 4000] [--jobs 2]
     [--only recovery|choice|errors|agreement|units] [--designs 4]
(about half an hour on two cores; each part prints as it is done)

Recovery: trials of 125 patients, exposures log-normal about 3e6 day*copies/ug. Linear: the published model of
complete response, sigma 1.24, 64 % of patients above 10 g/L. Emax: E0 -1.5, Emax 3, EC50 at the median exposure; with
H = 1 (sigma 3), H = 3 known, and H = 3 estimated (sigma 2). With KarMMa's own spread (sigma 1.24) and H = 1 the ends of
the curve lie outside of the exposures, and the parameters cannot be told from 125 patients: shown as well. Each Emax
model by maximum likelihood and by Firth's penalized likelihood, of the same trials; --designs: only the first of these
designs, in this order. Bias is of EC50 and H on their logarithms; held: shares of replicates whose 95 % limits hold the
truth, of all with a maximum.

Agreement with R needs Rscript; with brglm2 and pROC, where R has these.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.api as sm
from joblib import Parallel, delayed
from scipy.special import expit

from cartsim.exposure.diagnostics import roc
from cartsim.exposure.emax import fit_emax
from cartsim.exposure.logistic import fit_linear
from cartsim.exposure.model import reported, wald_limits
from cartsim.exposure.selection import Rules, select

N, MEDIAN, SIGMA = 125, 3e6, 1.24
PUBLISHED = {"intercept": -9.81, "slope": 0.67, "mprotein_high": -1.68}
EMAX = {"E0": -1.5, "Emax": 3.0, "EC50": MEDIAN}
DESIGNS = (  # H, sigma, whether H is estimated
    (1.0, 3.0, False), (3.0, SIGMA, False), (3.0, 2.0, True), (1.0, SIGMA, False),
)  # fmt: skip


def linear_trial(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    auc, high = MEDIAN * np.exp(SIGMA * rng.standard_normal(N)), (rng.random(N) < 0.64).astype(int)
    logit = PUBLISHED["intercept"] + PUBLISHED["slope"] * np.log(auc) + PUBLISHED["mprotein_high"] * high
    return pd.DataFrame({"auc": auc, "mprotein_high": high, "y": (rng.random(N) < expit(logit)).astype(int)})


def emax_trial(seed: int, h: float, sigma: float) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    auc = MEDIAN * np.exp(sigma * rng.standard_normal(N))
    logit = EMAX["E0"] + EMAX["Emax"] * auc**h / (EMAX["EC50"] ** h + auc**h)
    return pd.DataFrame({"auc": auc, "y": (rng.random(N) < expit(logit)).astype(int)})


def _recovered(model, truth):
    """Estimate, SE and truth on the scale of the fit, and whether Wald and the model's own limits hold the truth."""
    wald, _ = wald_limits(model.curve, model.theta, model.spread, 0.95)
    estimate = model.curve.transform @ model.theta + model.curve.offset
    se = np.sqrt(np.diag(model.curve.transform @ model.spread @ model.curve.transform.T))
    true = np.array([np.log(v) if p else v for v, p in zip(truth, model.curve.positive, strict=True)])
    assert np.allclose(reported(model.curve, true), truth)
    held = [(each[:, 0] < truth) & (truth < each[:, 1]) for each in (wald, model.limits)]
    return np.array([estimate - true, se, *held]), bool(np.isfinite(se).all()), bool(model.identified)


def _linear(seed):
    model = fit_linear(linear_trial(seed), "y", "auc", ["mprotein_high"])
    return _recovered(model, np.array(list(PUBLISHED.values())))


def _emax(seed, h, sigma, free, method):
    model = fit_emax(emax_trial(seed, h, sigma), "y", "auc", hill=None if free else h, method=method)
    return _recovered(model, np.array([*EMAX.values(), *([h] if free else [])]))


def recovery(replicates: int, jobs: int, designs: int) -> None:
    print(f"\nRecovery, {N} patients, {replicates} replicates (Monte Carlo error of 95 %: "
          f"{100 * np.sqrt(0.95 * 0.05 / replicates):.1f} points)")  # fmt: skip
    runs = [("linear, the published model", [*PUBLISHED], [delayed(_linear)(seed) for seed in range(replicates)])]
    for (h, sigma, free), method in product(DESIGNS[:designs], ("ml", "firth")):
        names = [*EMAX, *(["H"] if free else [])]
        title = f"Emax, H = {h:g} {'estimated' if free else 'known'}, sigma {sigma:g}, {method}"
        runs.append((title, names, [delayed(_emax)(seed, h, sigma, free, method) for seed in range(replicates)]))
    for title, names, tasks in runs:
        found = Parallel(jobs)(tasks)
        rows = np.array([row for row, maximum, _ in found if maximum])
        told = sum(identified for *_, identified in found)
        print(f"\n{title}: a maximum in {len(rows)} of {replicates}, parameters told in {told}")
        print(
            f"{'':14} {'mean bias/SD':>12} {'median/SD':>10} {'mean SE/SD':>11} {'Wald held':>10} {'limits held':>12}"
        )
        for k, name in enumerate(names):
            bias, se, wald, own = rows[:, :, k].T
            sd = bias.std()
            print(f"{name:14} {bias.mean() / sd:12.2f} {np.median(bias) / sd:10.2f} {np.mean(se) / sd:11.2f} "
                  f"{100 * wald.mean():8.1f} % {100 * own.mean():10.1f} %", flush=True)  # fmt: skip


def _chosen(seed, h, sigma):
    data = linear_trial(seed) if h is None else emax_trial(seed, h, sigma)
    return select(data, "y", "auc").model.kind


def choice(replicates: int, jobs: int) -> None:
    print(f"\nChoice of the model, {replicates} replicates each")
    for title, h, sigma in (("linear", None, SIGMA), ("Emax, H = 1, sigma 3", 1.0, 3.0), ("Emax, H = 3", 3.0, SIGMA)):
        found = pd.Series(Parallel(jobs)(delayed(_chosen)(seed, h, sigma) for seed in range(replicates)))
        shares = ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in found.value_counts(normalize=True).items())
        print(f"truth {title}: chosen {shares}", flush=True)


def _null(seed, kind):
    rng = np.random.default_rng(10_000_000 + seed)
    data = linear_trial(seed) if kind != "Emax" else emax_trial(seed, 3.0, SIGMA)
    data["number"], data["group"] = rng.standard_normal(N), rng.choice(["a", "b"], N)
    data["three"] = rng.choice(["x", "y", "z"], N)
    models = [kind]
    out = []
    for name in ("number", "group", "three"):
        found = select(data, "y", "auc", [name], models=models, rules=Rules(need_exposure=False))
        row = found.path[found.path["step"] == "univariate"].iloc[0]
        out.append((bool(row["kept"]), name in found.kept))
    both = select(data, "y", "auc", ["number", "group", "three"], models=models, rules=Rules(need_exposure=False))
    return out, len(both.kept) > 0


def errors(replicates: int, jobs: int) -> None:
    for kind in ("linear", "Emax"):
        many = replicates if kind == "linear" else replicates // 4  # limits of the profile take a while
        found = Parallel(jobs)(delayed(_null)(seed, kind) for seed in range(many))
        rates = np.array([row for row, _ in found]).mean(axis=0)
        first, last = (100 * np.sqrt(p * (1 - p) / len(found)) for p in (0.05, 0.01))
        print(f"\nCovariates that do not matter, {kind} model, {len(found)} trials (Monte Carlo error {first:.2f} "
              f"points of 5 %, {last:.2f} of 1 %)")  # fmt: skip
        for name, (first, last) in zip(("a number", "two groups", "three groups"), rates, strict=True):
            print(f"{name:13} univariate {100 * first:.2f} %, kept in the end {100 * last:.2f} %")
        print(f"any of the three together kept: {100 * np.mean([any_ for _, any_ in found]):.2f} %", flush=True)


def agreement() -> None:
    print("\nAgreement: largest relative difference of estimates, standard errors and log-likelihood")
    spector, fair, anes = (getattr(sm.datasets, name).load_pandas().data for name in ("spector", "fair", "anes96"))
    fair = fair.assign(any_affair=(fair["affairs"] > 0).astype(int))
    for title, data, y, x, z, log in (
        ("spector", spector, "GRADE", "GPA", ["TUCE", "PSI"], False),
        ("fair", fair, "any_affair", "age", ["rate_marriage", "yrs_married", "children", "religious"], True),
        ("anes96", anes, "vote", "income", ["age", "educ", "selfLR"], True),
    ):
        model = fit_linear(data, y, x, z, log=log)
        exog = sm.add_constant(pd.DataFrame({x: np.log(data[x]) if log else data[x], **{c: data[c] for c in z}}))
        known = sm.Logit(data[y], exog).fit(disp=0, tol=1e-12, maxiter=100)
        print(f"statsmodels {title:10} {_difference(model, known.params, known.bse, known.llf):.1e}")
    if shutil.which("Rscript") is None:
        print("R: no Rscript here")
        return
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "known.R"
        script.write_text(R)
        done = subprocess.run(["Rscript", str(script), folder], capture_output=True, text=True, check=True)
        tables = {path.stem: pd.read_csv(path) for path in Path(folder).glob("*.csv")}
        said = done.stdout.strip()
    if said:
        print(said)
    for title, y, x, z, log in (
        ("infert", "case", "age", ["induced", "spontaneous", "parity"], True),
        ("mtcars", "am", "wt", ["hp"], False),
        ("esoph", "case", "alcohol", ["tobacco", "old"], False),
    ):
        model, known = fit_linear(tables[title], y, x, z, log=log, method="ml"), tables[f"{title}_glm"]
        print(f"R glm {title:16} {_difference(model, known['estimate'], known['se'], known['loglik'][0]):.1e}")
    # R's maximum of the Emax model: glm for each EC50, optimize over these.
    model, known = fit_emax(tables["emax"], "y", "x", limits="wald"), tables["emax_glm"]
    print(f"R glm + optimize {'Emax':5} {np.abs(model.values / known['estimate'] - 1).max():.1e}, log-likelihood "
          f"{abs(model.loglik / known['loglik'][0] - 1):.1e}")  # fmt: skip
    if "endometrial" in tables:
        model = fit_linear(tables["endometrial"], "HG", "EH", ["NV", "PI"], log=False)
        known = tables["endometrial_firth"]["estimate"]
        print(f"R brglm2 (Firth) {'':5} {np.abs(model.values / known - 1).max():.1e}, separated by NV")
    if "asah" in tables:
        area, known = roc(tables["asah"]["y"], tables["asah"]["s"]).auc, tables["asah_roc"]["value"]
        print(f"R pROC (DeLong) {'':6} {np.abs(np.array([area.low, area.value, area.high]) / known - 1).max():.1e}")


def _difference(model, estimate, se, loglik) -> float:
    mine = np.concatenate([model.values, model.estimates["se"], [model.loglik]])
    return float(np.abs(mine / np.concatenate([estimate, se, [loglik]]) - 1).max())


R = r"""
folder <- commandArgs(TRUE)[1]
write <- function(x, name) write.csv(format(as.data.frame(x), digits = 17), file.path(folder, paste0(name, ".csv")),
                                     row.names = FALSE, quote = FALSE)
known <- function(formula, data, name) {
  fit <- glm(formula, binomial, data, epsilon = 1e-14, maxit = 100)
  found <- coef(summary(fit))
  write(data, name)
  write(data.frame(estimate = found[, 1], se = found[, 2], loglik = as.numeric(logLik(fit))), paste0(name, "_glm"))
}
known(case ~ log(age) + induced + spontaneous + parity, infert[, c("case", "age", "induced", "spontaneous", "parity")],
      "infert")
known(am ~ wt + hp, mtcars[, c("am", "wt", "hp")], "mtcars")
alcohol <- c(20, 60, 100, 140)[as.integer(esoph$alcgp)]; tobacco <- c(5, 15, 25, 35)[as.integer(esoph$tobgp)]
rows <- rep(seq_len(nrow(esoph)), 2); times <- c(esoph$ncases, esoph$ncontrols)
long <- data.frame(case = rep(c(1, 0), each = nrow(esoph)), alcohol = alcohol[rows], tobacco = tobacco[rows],
                   old = as.integer(as.integer(esoph$agegp)[rows] > 3))
known(case ~ alcohol + tobacco + old, long[rep(seq_len(nrow(long)), times), ], "esoph")
set.seed(7); x <- exp(2 * rnorm(300)); y <- as.integer(runif(300) < plogis(-1.5 + 3 * x / (x + 1)))
fit <- function(lec50) { share <- x / (x + exp(lec50)); glm(y ~ share, binomial, epsilon = 1e-14, maxit = 100) }
best <- optimize(function(lec50) deviance(fit(lec50)), c(-4, 4), tol = 1e-10)$minimum
write(data.frame(x = x, y = y), "emax")
write(data.frame(estimate = c(coef(fit(best)), exp(best)), loglik = as.numeric(logLik(fit(best)))), "emax_glm")
if (suppressMessages(require(brglm2, quietly = TRUE))) {
  data(endometrial)
  firth <- glm(HG ~ EH + NV + PI, binomial, endometrial, method = "brglmFit", type = "AS_mean", epsilon = 1e-12,
               maxit = 1000)
  write(endometrial, "endometrial"); write(data.frame(estimate = coef(firth)), "endometrial_firth")
} else cat("R without brglm2: Firth is not compared\n")
if (suppressMessages(require(pROC, quietly = TRUE))) {
  data(aSAH)
  write(data.frame(y = as.integer(aSAH$outcome == "Poor"), s = aSAH$s100b), "asah")
  write(data.frame(value = as.numeric(ci(roc(aSAH$outcome, aSAH$s100b, quiet = TRUE)))), "asah_roc")
} else cat("R without pROC: the ROC curve is not compared\n")
"""


def units() -> None:
    print("\nUnits: largest relative difference of estimates and standard errors, exposure and covariate times 10^k")
    rng = np.random.default_rng(99)
    data = linear_trial(1).assign(age=rng.normal(60, 9, N))
    straight = fit_linear(data, "y", "auc", ["age"])
    wide = emax_trial(2, 1.0, 3.0).assign(age=rng.normal(60, 9, N))
    bent = fit_emax(wide, "y", "auc", ["age"], limits="wald")
    for k in (-12, -6, 6, 12):
        scaled = fit_linear(data.assign(auc=data["auc"] * 10.0**k, age=data["age"] * 10.0**k), "y", "auc", ["age"])
        by = np.array([1, 10.0**-k])
        linear = max(
            np.abs(scaled.estimates[column][1:] / (straight.estimates[column][1:] * by) - 1).max()
            for column in ("estimate", "se")
        )
        scaled = fit_emax(
            wide.assign(auc=wide["auc"] * 10.0**k, age=wide["age"] * 10.0**k), "y", "auc", ["age"], limits="wald"
        )
        by = np.array([1, 1, 10.0**k, 10.0**-k])
        emax = max(np.abs(scaled.estimates[c] / (bent.estimates[c] * by) - 1).max() for c in ("estimate", "se"))
        print(f"k = {k:3d}: linear {linear:.1e}, Emax {emax:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--null", type=int, default=4000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", choices=["recovery", "choice", "errors", "agreement", "units"])
    parser.add_argument("--designs", type=int, default=len(DESIGNS))
    given = parser.parse_args()
    parts = {
        "agreement": agreement,
        "units": units,
        "recovery": lambda: recovery(given.replicates, given.jobs, given.designs),
        "choice": lambda: choice(given.replicates // 2, given.jobs),
        "errors": lambda: errors(given.null, given.jobs),
    }
    for name, part in parts.items():
        if given.only in (None, name):
            part()


if __name__ == "__main__":
    main()

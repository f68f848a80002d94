"""The clinical model as users of other engines write it, twice: in linear states, and well-conditioned.

``textbook`` is the model as printed: every state as it is. ``conditioned`` carries cell pools, complexes and tumor as
logarithms, which is what makes a solver keep what is left of them. Parameters go by position, see ``PARAMETERS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

PARAMETERS = (
    *("K12", "K21", "Kel_e", "Kel_m", "Rm", "Kexp_max", "EC50_exp", "kon", "koff", "Ag_CAR", "Ag_tumor", "Kg"),
    *("Kkill_max", "KC50", "Km", "gamma_m", "Kb", "gamma_b", "into_blood", "into_marrow", "Tumor0", "lnT0", "Vb"),
)
STATES = ("CARTe_PB", "CARTe_BM", "CARTm_PB", "CARTm_BM", "cplx", "Tumor", "mprotein", "sBCMA")
LOG_STATES = 6  # of them are carried as logarithms in the well-conditioned form


def parameters(table: pd.DataFrame) -> np.ndarray:
    """(n, p) in the order of PARAMETERS, from a table with a column for each parameter of the model file."""
    columns = dict(table.items())
    columns["kon"] = table["Kon"] * 86400 / 6.02214076e23
    columns["koff"] = table["Koff"] * 86400
    columns["into_blood"] = table["K21"] * table["Vbm"] / table["Vb"]
    columns["into_marrow"] = table["K12"] * table["Vb"] / table["Vbm"]
    columns["lnT0"] = np.log(table["Tumor0"])
    return np.column_stack([columns[name] for name in PARAMETERS]).astype(float)


def start(form: str, p: np.ndarray, dose: float) -> np.ndarray:
    """States (n, 8) just after an infusion of ``dose`` cells."""
    at = PARAMETERS.index
    x = np.zeros((len(p), len(STATES)))
    x[:, 0] = dose / p[:, at("Vb")]
    x[:, 1] = 1e-6
    x[:, 5] = p[:, at("Tumor0")]
    x[:, 6:] = 1
    if form == "textbook":
        return x
    x[:, 2:4] = 1e-9
    receptors, antigens = p[:, at("Ag_CAR")] * (1e-6 + 1e-9), p[:, at("Ag_tumor")] * x[:, 5]
    total = receptors + antigens + p[:, at("koff")] / p[:, at("kon")]
    x[:, 4] = 2 * receptors * antigens / (total + np.sqrt(total**2 - 4 * receptors * antigens))
    x[:, :LOG_STATES] = np.log(x[:, :LOG_STATES])
    return x


def readout(form: str, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """M-protein and blood CAR-T from states (..., 8)."""
    pools = np.exp(y[..., :LOG_STATES]) if form == "conditioned" else y
    return y[..., 6], pools[..., 0] + pools[..., 2]


def right_hand_sides() -> dict[str, Callable[..., Any]]:
    """f(y, p, dy) of both forms, compiled by numba."""
    from numba import njit

    exp = math.exp

    @njit
    def textbook(y, p, dy):
        K12, K21, Kel_e, Kel_m, Rm = p[0], p[1], p[2], p[3], p[4]
        into_blood, into_marrow = p[18], p[19]
        c = y[1] + y[3]
        per_cart = y[4] / c
        per_tumor = y[4] / y[5]
        expansion = p[5] * per_cart / (p[6] + per_cart)
        kill = p[12] * per_tumor / (p[13] + per_tumor)
        dy[0] = -K12 * y[0] + into_blood * y[1] - Kel_e * y[0]
        dy[1] = into_marrow * y[0] - K21 * y[1] + expansion * y[1] - Rm * y[1]
        dy[2] = -K12 * y[2] + into_blood * y[3] - Kel_m * y[2]
        dy[3] = into_marrow * y[2] - K21 * y[3] + Rm * y[1]
        dy[4] = p[7] * (p[9] * c - y[4]) * (p[10] * y[5] - y[4]) - p[8] * y[4]
        dy[5] = p[11] * y[5] - kill * y[5]
        dy[6] = p[14] * ((y[5] / p[20]) ** p[15] - y[6])
        dy[7] = p[16] * ((y[5] / p[20]) ** p[17] - y[7])

    @njit
    def conditioned(y, p, dy):
        K12, K21, Kel_e, Kel_m, Rm = p[0], p[1], p[2], p[3], p[4]
        into_blood, into_marrow = p[18], p[19]
        effectors = exp(y[1])
        memory = exp(y[3])
        bound = exp(y[4])
        e_ratio = exp(y[1] - y[0])
        m_ratio = exp(y[3] - y[2])
        tumor_per_bound = exp(y[5] - y[4])
        c = effectors + memory
        dy[0] = into_blood * e_ratio - K12 - Kel_e
        dy[1] = into_marrow / e_ratio - K21 + p[5] * bound / (p[6] * c + bound) - Rm
        dy[2] = into_blood * m_ratio - K12 - Kel_m
        dy[3] = into_marrow / m_ratio - K21 + Rm * effectors / memory
        dy[4] = p[7] * (p[9] * c - bound) * (p[10] * tumor_per_bound - 1.0) - p[8]
        dy[5] = p[11] - p[12] / (p[13] * tumor_per_bound + 1.0)
        dy[6] = p[14] * (exp(p[15] * (y[5] - p[21])) - y[6])
        dy[7] = p[16] * (exp(p[17] * (y[5] - p[21])) - y[7])

    return {"textbook": textbook, "conditioned": conditioned}


# The same for engines that read formulas: names as in PARAMETERS and STATES; pow, exp and arithmetic only.
FORMULAS = {
    "textbook": {
        "CARTe_PB": "-K12*CARTe_PB + into_blood*CARTe_BM - Kel_e*CARTe_PB",
        "CARTe_BM": "into_marrow*CARTe_PB - K21*CARTe_BM - Rm*CARTe_BM"
        " + Kexp_max*cplx/(CARTe_BM + CARTm_BM)/(EC50_exp + cplx/(CARTe_BM + CARTm_BM))*CARTe_BM",
        "CARTm_PB": "-K12*CARTm_PB + into_blood*CARTm_BM - Kel_m*CARTm_PB",
        "CARTm_BM": "into_marrow*CARTm_PB - K21*CARTm_BM + Rm*CARTe_BM",
        "cplx": "kon*(Ag_CAR*(CARTe_BM + CARTm_BM) - cplx)*(Ag_tumor*Tumor - cplx) - koff*cplx",
        "Tumor": "Kg*Tumor - Kkill_max*cplx/Tumor/(KC50 + cplx/Tumor)*Tumor",
        "mprotein": "Km*(pow(Tumor/Tumor0, gamma_m) - mprotein)",
        "sBCMA": "Kb*(pow(Tumor/Tumor0, gamma_b) - sBCMA)",
    },
    "conditioned": {
        "CARTe_PB": "into_blood*exp(CARTe_BM - CARTe_PB) - K12 - Kel_e",
        "CARTe_BM": "into_marrow*exp(CARTe_PB - CARTe_BM) - K21 - Rm"
        " + Kexp_max*exp(cplx)/(EC50_exp*(exp(CARTe_BM) + exp(CARTm_BM)) + exp(cplx))",
        "CARTm_PB": "into_blood*exp(CARTm_BM - CARTm_PB) - K12 - Kel_m",
        "CARTm_BM": "into_marrow*exp(CARTm_PB - CARTm_BM) - K21 + Rm*exp(CARTe_BM - CARTm_BM)",
        "cplx": "kon*(Ag_CAR*(exp(CARTe_BM) + exp(CARTm_BM)) - exp(cplx))*(Ag_tumor*exp(Tumor - cplx) - 1) - koff",
        "Tumor": "Kg - Kkill_max/(KC50*exp(Tumor - cplx) + 1)",
        "mprotein": "Km*(exp(gamma_m*(Tumor - lnT0)) - mprotein)",
        "sBCMA": "Kb*(exp(gamma_b*(Tumor - lnT0)) - sBCMA)",
    },
}

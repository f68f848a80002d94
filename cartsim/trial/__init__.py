"""Virtual trials: protocol, arms, what is measured, how it is judged, and what is kept on disk."""

from cartsim.trial.assay import Assay
from cartsim.trial.conduct import KARMMA_FOLLOWUP, Conduct, Followup
from cartsim.trial.outcome import TrialResult
from cartsim.trial.protocol import Protocol, Rules, Visits
from cartsim.trial.stored import judge_stored, read_trial
from cartsim.trial.trial import Arm, Trial

__all__ = [
    "KARMMA_FOLLOWUP",
    "Arm",
    "Assay",
    "Conduct",
    "Followup",
    "Protocol",
    "Rules",
    "Trial",
    "TrialResult",
    "Visits",
    "judge_stored",
    "read_trial",
]

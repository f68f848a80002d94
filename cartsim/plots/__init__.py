"""Pictures: of a result through ``result.plot``, of plain arrays and tables through the functions of this package.

    >>> import cartsim as cs
    >>> trial = cs.Trial(cs.Population("bb2121_clinical", seed=1), arms=[150e6, 450e6], n=20).run()
    >>> figure = trial.plot.survival()
    >>> figure.axes[0].get_ylabel()
    'Progression-free survival (%)'
    >>> dir(trial.plot)[:4]
    ['biomarkers', 'by_response', 'exposure', 'incidence']

Every function returns a `matplotlib.figure.Figure` of its own, or that of the axes given as ``ax``: nothing is shown,
no global state is touched, so that pictures can be drawn in threads and without a display. `save` writes one to a
file. matplotlib is imported when the first picture is drawn. ``ax`` takes one panel; where there are several,
other arguments choose one. What cannot be drawn is refused with `InputError`: shapes that do not fit, tables without
the columns that are needed, names that are not there, and nothing at all.

Arms are mappings from the arm's name to its data, in the order in which they are to be drawn; a name that is a number,
such as "450e6", is a dose in cells. Times are days after infusion unless said otherwise, and are shown in months of
30.4375 days where they run beyond three months. Response categories are names ("PR"), codes of
`cartsim.endpoints.rules.Response` or a categorical of either, and have one color in all pictures.
"""

from __future__ import annotations

from typing import Any

from cartsim.errors import InputError
from cartsim.plots.calibration import CalibrationPictures
from cartsim.plots.dose_response import DoseResponsePictures, exposure_by_dose, response_by_dose
from cartsim.plots.estimation import FitPictures, profiles
from cartsim.plots.exposure import exposure_quartiles
from cartsim.plots.exposure_response import ExposureResponsePictures
from cartsim.plots.individual import IndividualPictures
from cartsim.plots.judged import JudgedPictures
from cartsim.plots.kinetics import by_response, marker_change, transgene, visual_predictive_check
from cartsim.plots.patients import spider, swimmer, waterfall
from cartsim.plots.pictures import Pictures
from cartsim.plots.population import PopulationFitPictures
from cartsim.plots.prediction import PredictionPictures, PublishedPictures, WeightedPictures
from cartsim.plots.regimens import ComparisonPictures, RetreatedPictures
from cartsim.plots.replicates import ReplicatesPictures, replicates_by_dose
from cartsim.plots.response import response_bars, response_over_time
from cartsim.plots.selection import SelectionPictures
from cartsim.plots.sensitivity import (
    ElasticitiesPictures,
    IndicesPictures,
    RankPictures,
    RespondersPictures,
    TornadoPictures,
)
from cartsim.plots.simulation import SimulationPictures
from cartsim.plots.style import save
from cartsim.plots.survival import kaplan_meier
from cartsim.plots.sweep import SweepPictures, contours
from cartsim.plots.trial import TrialPictures

__all__ = [
    "by_response",
    "contours",
    "exposure_by_dose",
    "exposure_quartiles",
    "kaplan_meier",
    "marker_change",
    "pictures_of",
    "profiles",
    "replicates_by_dose",
    "response_bars",
    "response_by_dose",
    "response_over_time",
    "save",
    "spider",
    "swimmer",
    "transgene",
    "visual_predictive_check",
    "waterfall",
]

# By the result's class name, so that to draw one result does not import what makes all others.
_PICTURES: dict[str, type[Pictures]] = {
    "Calibration": CalibrationPictures,
    "Comparison": ComparisonPictures,
    "DoseResponse": DoseResponsePictures,
    "Elasticities": ElasticitiesPictures,
    "ExposureResponse": ExposureResponsePictures,
    "Fit": FitPictures,
    "Indices": IndicesPictures,
    "IndividualFits": IndividualPictures,
    "PopulationFit": PopulationFitPictures,
    "Prediction": PredictionPictures,
    "PublishedTrial": PublishedPictures,
    "RankCorrelations": RankPictures,
    "Replicates": ReplicatesPictures,
    "Responders": RespondersPictures,
    "Responses": JudgedPictures,
    "Retreated": RetreatedPictures,
    "Selection": SelectionPictures,
    "Simulation": SimulationPictures,
    "Sweep": SweepPictures,
    "Tornado": TornadoPictures,
    "TrialResult": TrialPictures,
    "Weighted": WeightedPictures,
}


def pictures_of(result: Any) -> Pictures:
    """What ``result.plot`` is.

    Parameters
    ----------
    result
        Of any of cartsim's experiments, analyses and fits.

    Raises
    ------
    InputError
        For anything else.
    """
    for kind in type(result).__mro__:
        if kind.__name__ in _PICTURES:
            return _PICTURES[kind.__name__](result)
    raise InputError(f"no pictures of a {type(result).__name__}; there are some of {', '.join(_PICTURES)}")

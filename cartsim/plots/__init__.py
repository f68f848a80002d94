"""Pictures of a trial, as clinicians read them: plain arrays in, a matplotlib Figure out.

Every function returns a `matplotlib.figure.Figure` of its own: nothing is shown, no global state is touched,
so that pictures can be drawn in threads and without a display. `save` writes one to a file. matplotlib is
imported when the first picture is drawn.

Arms are mappings from the arm's name to its data, in the order in which they are to be drawn; a name that is
a number, such as "450e6", is a dose in cells. Times are days after infusion unless said otherwise, and are
shown in months of 30.4375 days where they run beyond three months. Response categories are names ("PR"),
codes of `cartsim.endpoints.rules.Response` or a categorical of either, and have one color in all pictures.
"""

from cartsim.plots.exposure import exposure_quartiles
from cartsim.plots.kinetics import by_response, marker_change, transgene, visual_predictive_check
from cartsim.plots.patients import spider, swimmer, waterfall
from cartsim.plots.response import response_bars, response_over_time
from cartsim.plots.style import save
from cartsim.plots.survival import kaplan_meier

__all__ = [
    "by_response",
    "exposure_quartiles",
    "kaplan_meier",
    "marker_change",
    "response_bars",
    "response_over_time",
    "save",
    "spider",
    "swimmer",
    "transgene",
    "visual_predictive_check",
    "waterfall",
]

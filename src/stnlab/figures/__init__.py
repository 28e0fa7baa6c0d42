"""Arrays to matplotlib figures, for loggers and reports alike."""

from stnlab.figures.curves import learning_curves
from stnlab.figures.reliability import reliability_diagram
from stnlab.figures.style import data_uri, png, svg
from stnlab.figures.views import views_grid

__all__ = ["data_uri", "learning_curves", "png", "reliability_diagram", "svg", "views_grid"]

"""Arrays to matplotlib figures, for loggers and reports alike."""

from stnlab.figures.by_pose import PoseCurve, pose_curves, poses_of
from stnlab.figures.curves import learning_curves
from stnlab.figures.frames import frames_animation, last_frame
from stnlab.figures.orbits import OrbitCurve, orbit_curve, orbit_curves
from stnlab.figures.rectification import class_means_grid, rectification_chart, spreads_of
from stnlab.figures.reliability import reliability_diagram
from stnlab.figures.style import data_uri, pdf, png, svg
from stnlab.figures.views import views_grid

__all__ = [
    "OrbitCurve",
    "PoseCurve",
    "class_means_grid",
    "data_uri",
    "frames_animation",
    "last_frame",
    "learning_curves",
    "orbit_curve",
    "orbit_curves",
    "pdf",
    "png",
    "pose_curves",
    "poses_of",
    "rectification_chart",
    "reliability_diagram",
    "spreads_of",
    "svg",
    "views_grid",
]

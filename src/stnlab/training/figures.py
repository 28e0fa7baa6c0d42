"""Figures of a finished run, from its files."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.image
import numpy as np
from matplotlib.figure import Figure

from stnlab.evaluation.calibration import confidences, ece, reliability_bins
from stnlab.figures.reliability import reliability_diagram
from stnlab.figures.style import png
from stnlab.figures.views import views_grid
from stnlab.runs.directory import RunDirectory
from stnlab.runs.evaluation import Evaluation
from stnlab.runs.predictions import CORNERS, Predictions


@dataclass(frozen=True)
class Results:
    """What the figures of a run are drawn from, read once."""

    metrics: dict[str, float]
    test: Predictions
    evaluation: Evaluation


def run_figures(run: RunDirectory) -> dict[str, Figure]:
    """Figures of one run, by name; those that its data cannot fill are absent."""
    test = run.predictions("test")
    assert test is not None
    results = Results(run.metrics, test, run.evaluation())
    drawn = {name: draw(results) for name, draw in FIGURES.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def pixels(figure: Figure) -> np.ndarray:
    """[H, W, 3] uint8."""
    picture = matplotlib.image.imread(io.BytesIO(png(figure)))
    return (picture[:, :, :3] * 255).astype(np.uint8)


def _reliability(results: Results) -> Figure:
    confidence, correct = confidences(results.test.logits, results.test.labels)
    return reliability_diagram(reliability_bins(confidence, correct), ece(confidence, correct))


def _views(results: Results) -> Figure | None:
    test, examples = results.test, results.evaluation.examples
    if test.warps is None or not examples.before:
        return None
    rows = examples.indices
    corners = test.warps[rows][:, :, list(CORNERS)]
    predicted = test.logits[rows].argmax(-1)
    return views_grid(examples.images, examples.before, examples.after, corners, test.labels[rows], predicted)


FIGURES: dict[str, Callable[[Results], Figure | None]] = {"reliability": _reliability, "views": _views}
"""Name -> how it is drawn, None where a run has not what it shows. Loggers show each as `figures/<name>`."""

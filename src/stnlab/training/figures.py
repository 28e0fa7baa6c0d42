"""Figures of a finished run, from its files."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.image
import numpy as np
from matplotlib.figure import Figure

from stnlab.evaluation.calibration import confidences, ece, reliability_bins
from stnlab.figures.by_pose import pose_curves, poses_of
from stnlab.figures.orbits import orbit_curve, orbit_curves
from stnlab.figures.rectification import class_means_grid, rectification_chart, spreads_of
from stnlab.figures.reliability import reliability_diagram
from stnlab.figures.style import png
from stnlab.figures.views import views_grid
from stnlab.runs.directory import RunDirectory
from stnlab.runs.evaluation import Evaluation
from stnlab.runs.predictions import CORNERS, Predictions

Figures = dict[str, Figure]


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
    return {name: figure for draw in FIGURES for name, figure in draw(results).items()}


def pixels(figure: Figure) -> np.ndarray:
    """[H, W, 3] uint8."""
    picture = matplotlib.image.imread(io.BytesIO(png(figure)))
    return (picture[:, :, :3] * 255).astype(np.uint8)


def _reliability(results: Results) -> Figures:
    """Also after temperature scaling, if it is known."""
    temperature = results.metrics.get("temperature/value")
    found = {"reliability": _diagram(results, "test", 1.0)}
    if temperature is not None:
        found["reliability_scaled"] = _diagram(results, "temperature", temperature, f"T = {temperature:.2f}")
    return found


def _diagram(results: Results, prefix: str, temperature: float, note: str = "") -> Figure:
    confidence, correct = confidences(results.test.logits / temperature, results.test.labels)
    low, high = (results.metrics.get(f"{prefix}/ece_{end}") for end in ("low", "high"))
    interval = None if low is None or high is None else (low, high)
    bins = reliability_bins(confidence, correct)
    return reliability_diagram(bins, ece(confidence, correct), interval=interval, note=note)


def _by_pose(results: Results) -> Figures:
    curves = poses_of(results.metrics)
    return {f"by_pose_{name}": pose_curves(name, {"": [curve]}) for name, curve in curves.items()}


def _orbits(results: Results) -> Figures:
    return {
        f"orbit_{name}": orbit_curves(name, {"": [orbit_curve(orbit)]}, orbit.training)
        for name, orbit in results.evaluation.orbits.items()
    }


def _views(results: Results) -> Figures:
    test, examples = results.test, results.evaluation.examples
    if test.warps is None or not examples.before:
        return {}
    rows = examples.indices
    corners = test.warps[rows][:, :, list(CORNERS)]
    predicted = test.logits[rows].argmax(-1)
    grid = views_grid(examples.images, examples.before, examples.after, corners, test.labels[rows], predicted)
    return {"views": grid}


def _rectification(results: Results) -> Figures:
    found = spreads_of(results.metrics)
    return {f"rectification_{number}": rectification_chart(spreads) for number, spreads in found.items()}


def _class_means(results: Results) -> Figures:
    means = results.evaluation.class_means
    return {f"class_means_{number}": class_means_grid(*pair) for number, pair in enumerate(means)}


FIGURES: tuple[Callable[[Results], Figures], ...] = (
    _reliability,
    _by_pose,
    _orbits,
    _views,
    _rectification,
    _class_means,
)
"""Each draws what the run has of its kind, by name. Loggers show each as `figures/<name>`."""

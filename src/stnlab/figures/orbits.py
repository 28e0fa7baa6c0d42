"""Invariance: what a network says of the same images as they are turned or scaled further and further."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from stnlab.errors import StnlabError
from stnlab.evaluation.invariance import WHOLE, OrbitArrays
from stnlab.evaluation.invariance import curves as curves_of
from stnlab.figures import style
from stnlab.figures.by_pose import scale_axis

Array = NDArray[np.float64]

AXES = {"rotation": "rotation of the test image (degrees)", "scale": "scale of the test image (factor)"}


PANELS = (
    ("accuracy", "accuracy (%)", 100),
    ("gap", "confidence \N{MINUS SIGN} accuracy (points)", 100),
    ("agreement", "agreement (%)", 100),
    ("total_variation", "total variation", 1),
)
"""Measure of `evaluation.invariance.curves`, what its axis says, and the factor to that unit."""
TRAINING, CROPPED = "training range", f"more than {100 * WHOLE:.0f}% of the images' content is cut off"
"""What the legend calls the two kinds of background."""


@dataclass(frozen=True)
class OrbitCurve:
    """One run on one orbit: values [V], and the measures of `evaluation.invariance.curves`, [V] each; beside them
    `cut`, the share of the images' content outside the frame, where it is known."""

    values: Array
    measures: dict[str, Array]


def orbit_curve(orbit: OrbitArrays) -> OrbitCurve:
    cut = {} if orbit.cut is None else {"cut": np.asarray(orbit.cut, np.float64)}
    return OrbitCurve(np.asarray(orbit.values, np.float64), curves_of(orbit) | cut)


def orbit_curves(
    kind: str, curves: Mapping[str, Sequence[OrbitCurve]], training: tuple[float, float], title: str = ""
) -> Figure:
    """Accuracy, overconfidence, agreement with the canonical pose and total variation along an orbit, the training
    range shaded. Agreement: how often a network says what it said of the canonical pose. Hatched: where more than 5% of
    the images' content is cut off, so that a network may change its mind with reason.

    kind: `rotation` (degrees) or `scale` (factors, on a logarithmic axis). curves: name -> one for each seed; a name
    without any keeps its colour and is not drawn. Lines are means over seeds, bands reach from the lowest seed to the
    highest. training: (low, high) in the orbit's unit. Raises StnlabError if there is nothing to draw.
    """
    if not any(curves.values()):
        raise StnlabError(f"no run has an orbit of {kind}")
    closed = {name: [_closed(kind, one) for one in seeds] for name, seeds in curves.items()}
    every = [one for seeds in closed.values() for one in seeds]
    cropped = [one for one in every if "cut" in one.measures and one.measures["cut"].max() > WHOLE]
    labels = [*curves, TRAINING, *[CROPPED] * bool(cropped)]
    figure = style.new_figure(style.PAGE, 5.1 + style.height_above(labels, title))
    panels = figure.subplots(2, 2, sharex=True).ravel()
    where = AXES.get(kind, kind)
    for axes, (_, what, _) in zip(panels, PANELS, strict=True):
        style.clean(axes, where if axes in panels[2:] else "", what)
    values = np.concatenate([one.values for one in every])
    for number, (name, seeds) in enumerate(closed.items()):
        usable = [one for one in seeds if np.array_equal(one.values, seeds[0].values)]
        for axes, (measure, _, factor) in zip(panels, PANELS, strict=True):
            if usable:
                stacked = factor * np.stack([one.measures[measure] for one in usable])
                ends = stacked.min(axis=0), stacked.max(axis=0)
                label = name if axes is panels[0] else ""
                style.line_with_band(axes, usable[0].values, stacked.mean(axis=0), *ends, number, label, marker="")
    for axes in panels:
        _shade(axes, training, float(values.min()), float(values.max()))
        if cropped:
            _hatch(axes, cropped[0])
    panels[1].axhline(0, color=style.FAINT, linewidth=0.8)
    for axes, top in ((panels[0], 101), (panels[2], 101), (panels[3], 1.01)):
        axes.set_ylim(0, top)
    for axes in panels:
        axes.grid(axis="y", color=style.FAINT, linewidth=0.4, alpha=0.4)
        _orbit_axis(axes, kind, float(values.min()), float(values.max()))
    style.legend_above(figure, title)
    return style.lay_out(figure)


def _closed(kind: str, curve: OrbitCurve) -> OrbitCurve:
    """A full turn with its end repeated at its other end: -180 degrees are 180."""
    values = curve.values
    if kind != "rotation" or len(values) < 3 or not np.isclose(values[-1] - values[0] + values[1] - values[0], 360):
        return curve
    last_is_half = np.isclose(values[-1], 180)
    around = np.r_[values[-1] - 360, values] if last_is_half else np.r_[values, values[0] + 360]
    measures = {
        name: np.r_[found[-1], found] if last_is_half else np.r_[found, found[0]]
        for name, found in curve.measures.items()
    }
    return OrbitCurve(around, measures)


def _shade(axes: Axes, training: tuple[float, float], low: float, high: float) -> None:
    """The training range, as far as it lies in sight; a range of one point is a line."""
    first, last = max(training[0], low), min(training[1], high)
    if last > first:
        axes.axvspan(first, last, color=style.FAINT, alpha=0.16, linewidth=0, label=TRAINING)
    else:
        axes.axvline(training[0], color=style.FAINT, alpha=0.6, linewidth=1, label=TRAINING)


def _hatch(axes: Axes, curve: OrbitCurve) -> None:
    """Where images are cropped, to where a straight line between neighbours crosses the limit."""
    fine = np.linspace(curve.values[0], curve.values[-1], 1001)
    axes.fill_between(
        fine,
        0,
        1,
        where=np.interp(fine, curve.values, curve.measures["cut"]) > WHOLE,
        transform=axes.get_xaxis_transform(),
        facecolor="none",
        edgecolor=style.FAINT,
        hatch="///",
        linewidth=0,
        alpha=0.5,
        label=CROPPED,
    )


def _orbit_axis(axes: Axes, kind: str, low: float, high: float) -> None:
    if kind == "scale":
        scale_axis(axes, low, high)
    elif kind == "rotation":
        axes.xaxis.set_major_locator(MultipleLocator(90))
    axes.set_xlim(low, high)

"""Invariance: what a network says of the same images as they are turned or scaled further and further."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from stnlab.errors import StnlabError
from stnlab.figures import style
from stnlab.figures.by_pose import scale_axis

Array = NDArray[np.float64]

AXES = {"rotation": "rotation of the test image (degrees)", "scale": "scale of the test image (factor)"}


@dataclass(frozen=True)
class OrbitCurve:
    """One run on one orbit, each [V], fractions: accuracy, agreement with what was said at the canonical value, and
    total variation distance to the distribution predicted there."""

    values: Array
    accuracy: Array
    agreement: Array
    variation: Array


def orbit_curve(values: Array, canonical: int, labels: Array, predicted: Array, variation: Array) -> OrbitCurve:
    """From an `Orbit`'s arrays: values [V], labels [M, heads], predicted [V, M, heads], variation [V, M]."""
    right = (predicted == labels).all(axis=-1).mean(axis=1)
    same = (predicted == predicted[canonical]).all(axis=-1).mean(axis=1)
    return OrbitCurve(np.asarray(values, np.float64), right, same, np.asarray(variation, np.float64).mean(axis=1))


def orbit_curves(
    kind: str, curves: Mapping[str, Sequence[OrbitCurve]], training: tuple[float, float], title: str = ""
) -> Figure:
    """Accuracy, agreement with the canonical pose and total variation along an orbit; the training range is shaded.

    kind: `rotation` (degrees) or `scale` (factors, on a logarithmic axis). curves: name -> one for each seed; a name
    without any keeps its colour and is not drawn. Lines are means over seeds, bands reach from the lowest seed to the
    highest. training: (low, high) in the orbit's unit. Raises StnlabError if there is nothing to draw.
    """
    if not any(curves.values()):
        raise StnlabError(f"no run has an orbit of {kind}")
    figure = style.new_figure(9.3, 2.9 + 0.2 * bool(title) + 0.2 * ((len(curves) - 1) // 5))
    panels = figure.subplots(1, 3)
    where = AXES.get(kind, kind)
    style.clean(panels[0], where, "accuracy (%)")
    style.clean(panels[1], where, "agreement with canonical pose (%)")
    style.clean(panels[2], where, "total variation")
    values = np.concatenate([one.values for seeds in curves.values() for one in seeds])
    for number, (name, seeds) in enumerate(curves.items()):
        usable = [one for one in seeds if np.array_equal(one.values, seeds[0].values)]
        for axes, field, factor in zip(panels, ("accuracy", "agreement", "variation"), (100, 100, 1), strict=True):
            if usable:
                stacked = factor * np.stack([getattr(one, field) for one in usable])
                ends = stacked.min(axis=0), stacked.max(axis=0)
                label = name if axes is panels[0] else ""
                style.line_with_band(axes, usable[0].values, stacked.mean(axis=0), *ends, number, label, marker="")
    for axes in panels:
        _shade(axes, training, float(values.min()), float(values.max()))
    for axes, top in zip(panels, (101, 101, 1.01), strict=True):
        axes.set_ylim(0, top)
        axes.grid(axis="y", color=style.FAINT, linewidth=0.4, alpha=0.4)
        _orbit_axis(axes, kind, float(values.min()), float(values.max()))
    style.legend_above(figure, title)
    return style.lay_out(figure)


def _shade(axes: Axes, training: tuple[float, float], low: float, high: float) -> None:
    """The training range, as far as it lies in sight; a range of one point is a line."""
    first, last = max(training[0], low), min(training[1], high)
    if last > first:
        axes.axvspan(first, last, color=style.FAINT, alpha=0.16, linewidth=0, label="training range")
    else:
        axes.axvline(training[0], color=style.FAINT, alpha=0.6, linewidth=1, label="training range")


def _orbit_axis(axes: Axes, kind: str, low: float, high: float) -> None:
    axes.set_xlim(low, high)
    if kind == "scale":
        scale_axis(axes)
    elif kind == "rotation":
        axes.xaxis.set_major_locator(MultipleLocator(90))

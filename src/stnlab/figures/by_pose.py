"""Error, calibration and confidence against the true pose: where is a network wrong, and does it know?"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, MultipleLocator, NullFormatter
from numpy.typing import NDArray

from stnlab.errors import StnlabError
from stnlab.figures import style

Array = NDArray[np.float64]

AXES = {
    "rotation": "true rotation (degrees)",
    "scale": "true scale (factor)",
    "shift": "true shift (pixels)",
    "shear": "true shear (degrees)",
    "perspective": "true perspective (pixels)",
    "elastic": "true elastic bending (pixels)",
}
"""What each pose parameter's axis says, with its unit."""
NEEDED = ("low", "high", "error", "ece", "confidence")
NORMAL = 1.96


@dataclass(frozen=True)
class PoseCurve:
    """One run's measures by pose, in bins of a parameter: each array is [bins]. Fractions, NaN where undefined.

    low, high: edges of the bins in the parameter's unit. error_low … ece_high: 95% intervals over test images.
    """

    low: Array
    high: Array
    error: Array
    error_low: Array
    error_high: Array
    ece: Array
    ece_low: Array
    ece_high: Array
    confidence: Array


def poses_of(metrics: Mapping[str, float]) -> dict[str, PoseCurve]:
    """Parameter -> what `metrics.json` says of it under `by_pose/<parameter>/<bin>/`."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, value in metrics.items():
        if match := re.fullmatch(r"by_pose/([^/]+)/(\d+)/([^/]+)", name):
            parameter, number, key = match.groups()
            found.setdefault(parameter, {}).setdefault(number, {})[key] = value
    return {parameter: _curve_of([bins[number] for number in sorted(bins)]) for parameter, bins in found.items()}


def _curve_of(bins: Sequence[Mapping[str, float]]) -> PoseCurve:
    """A bin without images is no point."""
    used = [one for one in bins if one.get("n", 1) and all(key in one for key in NEEDED[:3])]
    names = PoseCurve.__dataclass_fields__
    return PoseCurve(**{name: np.array([one.get(name, np.nan) for one in used], np.float64) for name in names})


def pose_curves(parameter: str, curves: Mapping[str, Sequence[PoseCurve]], title: str = "") -> Figure:
    """Error at the left, ECE in the middle, mean confidence minus accuracy at the right, against the true pose.

    curves: name -> one curve for each seed; a name without any keeps its colour for other figures and is not drawn.
    Lines are means over seeds, bands 95% intervals: of the test images, and with several seeds of those too (the two
    standard errors added in squares). Raises StnlabError if there is nothing to draw.
    """
    if not any(len(one.low) for seeds in curves.values() for one in seeds):
        raise StnlabError(f"no run has measures by {parameter}")
    figure = style.new_figure(9.3, 2.9 + 0.2 * bool(title) + 0.2 * ((len(curves) - 1) // 5))
    left, middle, right = figure.subplots(1, 3)
    where = AXES.get(parameter, f"true {parameter}")
    style.clean(left, where, "error (%)")
    style.clean(middle, where, "ECE (%)")
    style.clean(right, where, "confidence \N{MINUS SIGN} accuracy (points)")
    right.axhline(0, color=style.FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
    for number, (name, seeds) in enumerate(curves.items()):
        usable = [one for one in seeds if len(one.low) == len(seeds[0].low) and len(one.low)]
        if usable:
            _draw(left, middle, right, usable, name, number)
    for axes in (left, middle, right):
        axes.grid(axis="y", color=style.FAINT, linewidth=0.4, alpha=0.4)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        _pose_axis(axes, parameter)
    for axes in (left, middle):
        axes.set_ylim(bottom=0)
    style.legend_above(figure, title)
    return style.lay_out(figure)


def _draw(left: Axes, middle: Axes, right: Axes, seeds: Sequence[PoseCurve], name: str, number: int) -> None:
    def stacked(field: str) -> Array:
        return 100 * np.stack([getattr(one, field) for one in seeds])

    centres = (seeds[0].low + seeds[0].high) / 2
    style.line_with_band(
        left, centres, *_band(stacked("error"), stacked("error_low"), stacked("error_high")), number, name
    )
    style.line_with_band(middle, centres, *_band(stacked("ece"), stacked("ece_low"), stacked("ece_high")), number)
    gap = stacked("confidence") - (100 - stacked("error"))
    # how sure a network is hardly varies with the draw of images: its accuracy's interval is the gap's
    half = stacked("error") - stacked("error_low"), stacked("error_high") - stacked("error")
    style.line_with_band(right, centres, *_band(gap, gap - half[0], gap + half[1], floor=None), number)


def _band(values: Array, low: Array, high: Array, floor: float | None = 0.0) -> tuple[Array, Array, Array]:
    """Mean over seeds [bins] and its interval; from the seeds' own intervals [seeds, bins] and their spread."""
    mean, count = values.mean(axis=0), len(values)
    spread = NORMAL * values.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.zeros_like(mean)
    below = mean - np.hypot((values - low).mean(axis=0), spread)
    above = mean + np.hypot((high - values).mean(axis=0), spread)
    return mean, below if floor is None else np.maximum(below, floor), above


def _pose_axis(axes: Axes, parameter: str) -> None:
    low, high = axes.get_xlim()
    if parameter == "scale" and low > 0:
        scale_axis(axes)
    elif parameter == "rotation":
        wide = high - low
        axes.xaxis.set_major_locator(MultipleLocator(90 if wide > 200 else 45 if wide > 100 else 15))


def scale_axis(axes: Axes) -> None:
    """Factors on a logarithmic axis, written as plain numbers."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(LogLocator(base=2, subs=(1.0, 2**0.5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
    axes.xaxis.set_minor_formatter(NullFormatter())

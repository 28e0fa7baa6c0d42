"""Error, calibration and confidence against the true pose: where is a network wrong, and does it know?"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, MultipleLocator, NullLocator
from numpy.typing import NDArray

from stnlab.errors import StnlabError
from stnlab.evaluation.seeds import FEWEST, with_seeds
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
PANELS = ("error (%)", "confidence \N{MINUS SIGN} accuracy (points)", "ECE (%)", "mean confidence (%)")
UNITS = {
    "rotation": " degrees",
    "shift": " pixels",
    "shear": " degrees",
    "perspective": " pixels",
    "elastic": " pixels",
}
FEW = 100
"""Images: of fewer, an error of a few percent is a matter of one or two."""
ROUND = (1, 0.5, 2, 0.25, 4, 0.7, 1.4, 0.85, 1.2, 0.35, 2.8)
"""Factors for the ticks of an axis of scales, the most welcome first."""
NEEDED = ("low", "high", "error")


@dataclass(frozen=True)
class PoseCurve:
    """One run's measures by pose, in bins of a parameter: each array is [bins]. Fractions, NaN where undefined.

    low, high: edges of the bins in the parameter's unit. n: test images in a bin. error_low, error_high and those of
    confidence: 95% interval over test images.
    """

    low: Array
    high: Array
    n: Array
    error: Array
    error_low: Array
    error_high: Array
    ece: Array
    confidence: Array
    confidence_low: Array
    confidence_high: Array

    @property
    def few(self) -> NDArray[np.bool_]:
        """Bins of fewer than FEW images."""
        return self.n < FEW

    def only(self, bins: NDArray[np.bool_]) -> "PoseCurve":
        return PoseCurve(**{name: values[bins] for name, values in vars(self).items()})


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
    used = [one for one in bins if one.get("n", 1) and all(key in one for key in NEEDED)]
    names = PoseCurve.__dataclass_fields__
    return PoseCurve(**{name: np.array([one.get(name, np.nan) for one in used], np.float64) for name in names})


def pose_curves(
    parameter: str, curves: Mapping[str, Sequence[PoseCurve]], title: str = "", baseline: str | None = None
) -> Figure:
    """Error, mean confidence minus accuracy, ECE and mean confidence against the true pose, from left to right, all in
    points and on scales of the same length: where does a network err, and is it less sure there?

    curves: name -> one curve for each seed; a name without any keeps its colour for other figures and is not drawn.
    Lines are means over seeds. Bands are 95% intervals of error, gap and confidence: of the test images, and from
    FEWEST seeds on of those too (`stnlab.evaluation.seeds`). Where there are more than two lines, only `baseline` (or
    else the first) and the one of lowest error have a band: more hide each other. ECE has none: in so few images it is
    above zero by chance alone, and its interval begins there. Bins of fewer than FEW images are left out, or drawn
    hollow where all are so small; the figure says so. Raises StnlabError if there is nothing to draw.
    """
    if not any(len(one.low) for seeds in curves.values() for one in seeds):
        raise StnlabError(f"no run has measures by {parameter}")
    shown, note = _large_enough(parameter, curves)
    figure = style.new_figure(style.PAGE, 3.1 + style.height_above(curves, title) + 0.15 * bool(note))
    panels = figure.subplots(1, len(PANELS))
    for axes, what in zip(panels, PANELS, strict=True):
        style.clean(axes, AXES.get(parameter, f"true {parameter}"), what)
        axes.grid(axis="y", color=style.FAINT, linewidth=0.4, alpha=0.4)
    panels[1].axhline(0, color=style.FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
    banded = _banded(shown, baseline)
    for number, (name, seeds) in enumerate(shown.items()):
        if seeds:
            _draw(panels, seeds, name, number, name in banded)
    _same_scale(panels)
    for axes in panels:
        _pose_axis(axes, parameter, [one for seeds in shown.values() for one in seeds])
    style.legend_above(figure, title)
    if note:
        figure.supxlabel(note, fontsize=style.SMALL, color=style.INK, x=0.01, ha="left")
    return style.lay_out(figure)


def _large_enough(parameter: str, curves: Mapping[str, Sequence[PoseCurve]]) -> tuple[dict[str, list[PoseCurve]], str]:
    """Curves of the same bins, without those that hold few images, and in words what is missing or hollow."""
    filled = {name: [one for one in seeds if len(one.low)] for name, seeds in curves.items()}
    same = {name: [one for one in seeds if np.array_equal(one.low, seeds[0].low)] for name, seeds in filled.items()}
    every = [one for seeds in same.values() for one in seeds]
    if not any(one.few.any() for one in every):
        return same, ""
    kept: dict[str, list[PoseCurve]] = {}
    for name, seeds in same.items():
        # a bin that one seed has few images of would make the seeds' curves differ
        few = np.any([one.few for one in seeds], axis=0) if seeds else np.zeros(0, bool)
        kept[name] = [one.only(~few) for one in seeds if not few.all()]
    if not any(kept.values()):
        return same, f"Hollow: fewer than {FEW} images in a bin."
    missing = sorted(
        {(low, high) for one in every for low, high in zip(one.low[one.few], one.high[one.few], strict=True)}
    )
    unit = UNITS.get(parameter, "")
    ranges = ", ".join(f"{low:.3g} to {high:.3g}{unit}" for low, high in _joined(missing))
    return kept, f"Left out, fewer than {FEW} images: {ranges}."


def _joined(ranges: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Sorted ranges, those that touch made one."""
    found: list[tuple[float, float]] = []
    for low, high in ranges:
        if found and np.isclose(found[-1][1], low):
            found[-1] = found[-1][0], high
        else:
            found.append((low, high))
    return found


def _banded(curves: Mapping[str, Sequence[PoseCurve]], baseline: str | None) -> set[str]:
    drawn = [name for name, seeds in curves.items() if seeds]
    if len(drawn) <= 2:
        return set(drawn)
    best = min(drawn, key=lambda name: float(np.mean([one.error.mean() for one in curves[name]])))
    return {baseline if baseline in drawn else drawn[0], best}


def _draw(panels: Sequence[Axes], seeds: Sequence[PoseCurve], name: str, number: int, band: bool) -> None:
    def stacked(field: str) -> Array:
        return 100 * np.stack([getattr(one, field) for one in seeds])

    centres = (seeds[0].low + seeds[0].high) / 2
    error = stacked("error")
    # how sure a network is hardly varies with the draw of images: its accuracy's interval is the gap's
    below, above = error - stacked("error_low"), stacked("error_high") - error
    confidence, ece = stacked("confidence"), stacked("ece").mean(axis=0)
    ends = confidence - stacked("confidence_low"), stacked("confidence_high") - confidence
    lines = (
        _band(error, below, above, (0, 100)),
        _band(confidence - (100 - error), below, above, (-100, 100)),
        (ece, ece, ece),
        _band(confidence, *ends, (0, 100)),
    )
    for axes, (mean, low, high) in zip(panels, lines, strict=True):
        label = name if axes is panels[0] else ""
        style.line_with_band(axes, centres, mean, low, high, number, label, band=band and axes is not panels[2])
        axes.lines[-1].set_clip_on(False)  # a point at 0 or 100% is on the edge
        if np.any([one.few for one in seeds]):
            axes.lines[-1].set_markerfacecolor("none")


def _band(values: Array, below: Array, above: Array, limits: tuple[float, float]) -> tuple[Array, Array, Array]:
    """Mean over seeds [bins] and its interval, from how far the seeds' own reach [seeds, bins] and, if they are enough
    to know it by, their spread."""
    mean = values.mean(axis=0)
    ends = np.stack([mean - below.mean(axis=0), mean + above.mean(axis=0)])
    if len(values) >= FEWEST:
        ends = np.transpose([with_seeds(*one) for one in zip(values.T, *ends, strict=True)])
    return mean, *np.clip(ends, *limits)


def _same_scale(panels: Sequence[Axes]) -> None:
    """As many points from bottom to top in each: error and ECE from 0, the gap with 0 in sight, confidence in the
    middle or, where that would reach beyond, from 0 or up to 100. Only the gap may take more than 100 points."""
    ends = [axes.dataLim.intervaly for axes in panels]
    low, high = min(0.0, float(ends[1][0])), max(0.0, float(ends[1][1]))
    least = min(100.0, float(ends[3][0]))
    most = max(least, float(ends[3][1]))
    span = 1.05 * max(float(ends[0][1]), float(ends[2][1]), high - low, most - least, 0.1)
    rest = (span - (high - low)) / 2
    share = min(100.0, span)
    sure = min(max((least + most - share) / 2, 0.0), 100 - share)
    for axes, bottom, length in zip(panels, (0.0, low - rest, 0.0, sure), (share, span, share, share), strict=True):
        axes.set_ylim(bottom, bottom + length)
        axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))


def _pose_axis(axes: Axes, parameter: str, curves: Sequence[PoseCurve]) -> None:
    """From the lowest edge to the highest, both with a tick where the unit has round ones."""
    low, high = min(float(one.low.min()) for one in curves), max(float(one.high.max()) for one in curves)
    if parameter == "scale" and low > 0:
        scale_axis(axes, low, high)
    elif parameter == "rotation":
        wide = high - low
        axes.xaxis.set_major_locator(MultipleLocator(90 if wide > 200 else 45 if wide >= 90 else 15))
    axes.set_xlim(low, high)


def scale_axis(axes: Axes, low: float, high: float) -> None:
    """Factors from `low` to `high` on a logarithmic axis, written as plain numbers: the ends, and round ones between
    that keep apart."""
    ticks = [low, high]
    for factor in ROUND:
        if low < factor < high and min(abs(np.log(factor / tick)) for tick in ticks) > 0.15 * np.log(high / low):
            ticks.append(factor)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sorted(ticks)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.2g}")

"""Rectification: what a transformer leaves of the pose, in numbers and as mean images."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from stnlab.errors import StnlabError
from stnlab.figures import style

Array = NDArray[Any]
CELL = 1.0
"""Inches a mean image takes at most."""
WIDTH = 3.5
"""Inches of a chart."""
MOST = 20
TYPE: dict[str, Any] = {"fontsize": style.SMALL, "color": style.INK}
Spread = tuple[float, float]
"""Of the pose in the input, and of what is left of it in the view."""


@dataclass(frozen=True)
class Parameter:
    """How a parameter is named and what its axis says. noticed: the least change, in the axis's unit, that is seen in
    the view: about a pixel at the edge of a digit."""

    name: str
    axis: str
    noticed: float


PARAMETERS = {
    "rotation": Parameter("angle", "circular std of the angle (degrees)", 1.0),
    "scale": Parameter("scale", "std of log2 of the factor", 0.1),
    "shift": Parameter("shift", "root mean square shift (pixels)", 1.0),
    "corners": Parameter("corners", "corner displacement (pixels)", 1.0),
}
WORSE = 1.05
"""Times the input's: less is noise."""


def spreads_of(metrics: Mapping[str, float]) -> dict[int, dict[str, Spread]]:
    """Transformer -> what `metrics.json` says of it under `rectification/<transformer>/`: `scale` or
    `rotation/class_3` -> (input, residual)."""
    found: dict[int, dict[str, Spread]] = {}
    for name, after in metrics.items():
        if match := re.fullmatch(r"rectification/(\d+)/(.+)/residual", name):
            before = metrics.get(name.removesuffix("residual") + "input")
            if before is not None:
                found.setdefault(int(match[1]), {})[match[2]] = (before, after)
    return dict(sorted(found.items()))


def rectification_chart(spreads: Mapping[str, Spread], title: str = "") -> Figure:
    """A line for each parameter from the spread of the pose in the input (grey) to what is left of it in the view: the
    angle also for each class, and below it scale, shift and corners of all classes, each in its own unit.

    spreads: as of `spreads_of`. Blue, or vermilion where the transformer made it worse by more than 5% and by more than
    is noticed: 1 degree, 1 pixel, 0.1 of the log2 of the factor (7%). Raises StnlabError if there is none.
    """
    panels = {name: rows for name in PARAMETERS if (rows := _rows(spreads, name))}
    if not panels:
        raise StnlabError("no parameter has a measure of rectification")
    heights = [0.15 + 0.2 * len(rows) for rows in panels.values()]
    above = 0.25 + style.height_above((), title, WIDTH)
    figure = style.new_figure(WIDTH, sum(heights) + 0.5 * len(panels) + above)
    found = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    worse = [_draw(axes, rows, PARAMETERS[name]) for axes, (name, rows) in zip(found, panels.items(), strict=True)]
    _legend(figure, title, any(worse))
    return style.lay_out(figure)


def _rows(spreads: Mapping[str, Spread], parameter: str) -> dict[str, Spread]:
    """Label -> spread: classes in order, and last what holds for all."""
    prefix = f"{parameter}/class_"
    classes = [name.removeprefix(prefix) for name in spreads if name.startswith(prefix)]
    rows = {label: spreads[prefix + label] for label in sorted(classes, key=lambda label: (len(label), label))}
    last = "all" if rows else PARAMETERS[parameter].name
    return rows | ({last: spreads[parameter]} if parameter in spreads else {})


def _draw(axes: Axes, rows: Mapping[str, Spread], parameter: Parameter) -> bool:
    """Whether one is worse."""
    style.clean(axes, parameter.axis, "class" if len(rows) > 1 else "")
    places = [line + (0.4 if line and label == "all" else 0) for line, label in enumerate(rows)]
    worse = [after > max(WORSE * before, before + parameter.noticed) for before, after in rows.values()]
    for y, (before, after), bad in zip(places, rows.values(), worse, strict=True):
        axes.plot([before, after], [y, y], color=style.FAINT, linewidth=1.1, zorder=1)
        axes.plot(before, y, "o", color=style.FAINT, markersize=5, clip_on=False)
        axes.plot(after, y, "o", color=style.VERMILION if bad else style.BLUE, markersize=5, clip_on=False)
    axes.set_yticks(places, list(rows))
    axes.set_ylim(places[-1] + 0.6, -0.6)
    # at least so wide that what nobody would notice looks small
    axes.set_xlim(0, 1.06 * max(3 * parameter.noticed, *(max(pair) for pair in rows.values())))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.tick_params(axis="y", length=0, pad=6)
    axes.grid(axis="x", color=style.FAINT, linewidth=0.4, alpha=0.4)
    return any(worse)


def _legend(figure: Figure, title: str, worse: bool) -> None:
    names = {"input": style.FAINT, "view": style.BLUE} | ({"view, worse": style.VERMILION} if worse else {})
    dots = [Line2D([], [], marker="o", linestyle="", color=colour, markersize=5) for colour in names.values()]
    style.key_above(figure, dots, list(names), title, handletextpad=0.1, columnspacing=1)


def class_means_grid(
    before: Array, after: Array, title: str = "", names: tuple[str, str] = ("input", "view")
) -> Figure:
    """Mean image of each class as it reached a transformer (above) and as it left it (below): a sharp mean is a
    rectified class.

    before: [classes, h, w], after: [classes, h', w'], any range: both rows share one grey scale. At most 20 classes are
    drawn, the first. Raises StnlabError if the counts do not fit.
    """
    if len(before) != len(after) or not len(before):
        raise StnlabError(f"{len(before)} and {len(after)} mean images do not fit")
    columns = min(len(before), MOST)
    left = 0.3
    cell = min(CELL, (style.PAGE - left) / columns)
    width = left + cell * columns
    head = 0.22 + style.title_height(title, width)
    height = head + 2 * cell + 0.05
    figure = style.new_figure(width, height)
    style.title_above(figure, title)
    room = {"left": left / width, "right": 1, "bottom": 0.05 / height, "top": 1 - head / height}
    grid = figure.subplots(2, 1, gridspec_kw=room | {"wspace": 0, "hspace": 0})
    low = float(min(np.nanmin(before), np.nanmin(after)))
    high = max(float(max(np.nanmax(before), np.nanmax(after))), low + 1e-9)
    for axes, name, pictures in zip(grid, names, (before[:columns], after[:columns]), strict=True):
        _row(axes, pictures, low, high)
        axes.text(-0.06 / columns, 0.5, name, transform=axes.transAxes, rotation=90, ha="right", va="center", **TYPE)
    for number in range(columns):
        place = (number + 0.5) / columns
        grid[0].text(place, 1, str(number), transform=grid[0].transAxes, ha="center", va="bottom", **TYPE)
    return figure


def _row(axes: Axes, pictures: Array, low: float, high: float) -> None:
    """Pictures [columns, h, w] beside each other in one image: axes of their own cost ten times as much."""
    count, height, width = pictures.shape
    gap = max(1, round(0.08 * width))
    strip = np.full((height + gap, count * (width + gap)), np.nan)
    for number, picture in enumerate(pictures):
        left = gap // 2 + number * (width + gap)
        strip[gap // 2 : gap // 2 + height, left : left + width] = picture
        # on a dark page a black picture needs an edge
        edge = Rectangle((left - 0.5, gap // 2 - 0.5), width, height, fill=False, edgecolor=style.FAINT, linewidth=0.5)
        axes.add_patch(edge)
    axes.imshow(strip, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axes.set_axis_off()

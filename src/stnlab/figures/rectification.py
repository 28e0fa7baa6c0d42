"""Rectification: what a transformer leaves of the pose, in numbers and as mean images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from stnlab.errors import StnlabError
from stnlab.figures import style

Array = NDArray[Any]
CELL = 0.72
"""Inches a mean image takes."""
TYPE: dict[str, Any] = {"fontsize": style.SMALL, "color": style.INK}


def rectification_chart(classes: Mapping[str, tuple[float, float]], unit: str, title: str = "") -> Figure:
    """A line for each class from the spread of the pose in the input (grey) to what is left of it in the view (blue,
    vermilion where the transformer made it worse).

    classes: name -> (input, residual), in `unit`, e.g. `circular std of the angle (degrees)`. A class
    called `all` is drawn apart, at the bottom. Raises StnlabError if there is none.
    """
    if not classes:
        raise StnlabError("no class has a measure of rectification")
    figure = style.new_figure(3.5, 0.85 + 0.2 * len(classes) + (0.24 if title else 0))
    axes = figure.subplots()
    style.clean(axes, unit, "class")
    last = len(classes) - 1
    for line, (name, (before, after)) in enumerate(classes.items()):
        y = line + (0.4 if name == "all" and line == last else 0)
        colour = style.BLUE if after <= before else style.VERMILION
        axes.plot([before, after], [y, y], color=style.FAINT, linewidth=1.1, zorder=1)
        axes.plot(before, y, "o", color=style.FAINT, markersize=5, label="input" if line == 0 else "")
        axes.plot(after, y, "o", color=colour, markersize=5, label="view" if line == 0 else "")
    places = [line + (0.4 if name == "all" and line == last else 0) for line, name in enumerate(classes)]
    axes.set_yticks(places, list(classes))
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=style.FAINT, linewidth=0.4, alpha=0.4)
    if title:
        axes.set_title(title, fontsize=style.TEXT, color=style.INK, weight="bold", loc="left", pad=18)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=2,
        borderaxespad=0.2,
        frameon=False,
        fontsize=style.SMALL,
        labelcolor=style.INK,
        handletextpad=0.1,
        columnspacing=1,
    )
    return style.lay_out(figure)


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
    columns = min(len(before), 20)
    head, left = 0.22 + (0.24 if title else 0.0), 0.3
    width, height = left + CELL * columns, head + 2 * CELL + 0.05
    figure = style.new_figure(width, height)
    if title:
        figure.text(0.06 / width, 1 - 0.04 / height, title, va="top", weight="bold", **TYPE | {"fontsize": style.TEXT})
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

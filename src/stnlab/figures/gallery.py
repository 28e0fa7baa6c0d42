"""What a distortion does: images as they are stored, as a network gets them, and the poses between."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stnlab.errors import StnlabError
from stnlab.figures import style

Array = NDArray[Any]
CELL = 1.1
"""Inches a picture takes."""
LINE = 0.14
"""Inches a line of text takes."""
SYMBOLS = {
    "rotation": ("{:+z.0f}\N{DEGREE SIGN}", "turned"),
    "shear": ("{:+z.0f}\N{DEGREE SIGN}", "sheared"),
    "scale": ("\N{MULTIPLICATION SIGN}{:.2f}", "scaled"),
    "perspective": ("{:.1f}", "corners"),
    "elastic": ("{:.1f}", "bent"),
    "shift_x": ("{:+z.0f}", "right"),
    "shift_y": ("{:+z.0f}", "down"),
}


def gallery(before: Array, after: Array, labels: Array, poses: Mapping[str, Array], title: str = "") -> Figure:
    """A column for each of M samples: the images as they are stored, as they are distorted, the poses in numbers.

    before: [M, C, h, w], after: [M, C, H, W] uint8. Three channels are one RGB picture; of other numbers, each is a row
    of its own. labels: [M, heads].
    poses: parameter -> [M, objects], angles in degrees, shifts in pixels; a parameter that never changes is left out.

    Raises StnlabError if the counts do not fit.
    """
    if not len(before) == len(after) == len(labels) or not len(before):
        raise StnlabError(f"{len(before)} and {len(after)} images and {len(labels)} labels do not fit")
    rows = [("before", picture) for picture in _pictures(before)] + [("after", picture) for picture in _pictures(after)]
    told = {name: values for name, values in poses.items() if np.ptp(values) > 0}
    texts = {_name(name): [_numbers(name, row) for row in values] for name, values in told.items()}
    figure, grid, bottom = _grid(len(rows), len(before), len(texts), title)
    for axes_row, (name, pictures) in zip(grid, rows, strict=True):
        for axes, picture in zip(axes_row, pictures, strict=True):
            _draw(axes, picture)
        axes_row[0].text(
            -0.06, 0.5, name, transform=axes_row[0].transAxes, rotation=90, ha="right", va="center", **_type()
        )
    for axes, label in zip(grid[0], labels, strict=True):
        axes.set_title(" ".join(str(value) for value in np.atleast_1d(label)), pad=2, **_type())
    _table(figure, grid, texts, bottom)
    return figure


def _pictures(images: Array) -> list[Array]:
    """One [M, h, w] or [M, h, w, 3] for each row of the figure."""
    if images.shape[1] == 3:
        return [np.moveaxis(images, 1, -1)]
    return [images[:, channel] for channel in range(images.shape[1])]


def _grid(rows: int, columns: int, lines: int, title: str) -> tuple[Figure, Array, float]:
    """Figure, axes [rows, columns], and the height of the free space below them in inches."""
    bottom, left = LINE * lines + 0.08, 0.55
    width = left + CELL * columns
    head = 0.22 + style.title_height(title, width)
    height = head + CELL * rows + bottom
    figure = style.new_figure(width, height)
    style.title_above(figure, title)
    room = {"left": left / width, "right": 1, "bottom": bottom / height, "top": 1 - head / height}
    return figure, figure.subplots(rows, columns, squeeze=False, gridspec_kw=room | {"wspace": 0, "hspace": 0}), bottom


def _draw(axes: Axes, picture: Array) -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
    height, width = picture.shape[:2]
    axes.set(xlim=(-0.5 - 0.04 * width, width * 1.04 - 0.5), ylim=(height * 1.04 - 0.5, -0.5 - 0.04 * height))


def _table(figure: Figure, grid: Array, texts: Mapping[str, list[str]], bottom: float) -> None:
    """A line for each pose parameter, under the columns."""
    width, height = figure.get_size_inches()
    for line, (name, values) in enumerate(texts.items()):
        y = (bottom - LINE * (line + 0.5)) / height
        figure.text(0.5 / width, y, name, ha="right", va="center", **_type())
        for axes, value in zip(grid[-1], values, strict=True):
            box = axes.get_position()
            figure.text((box.x0 + box.x1) / 2, y, value, ha="center", va="center", **_type())


def _name(parameter: str) -> str:
    return SYMBOLS[parameter][1] if parameter in SYMBOLS else parameter


def _numbers(parameter: str, values: Array) -> str:
    """One number an object."""
    form = SYMBOLS[parameter][0] if parameter in SYMBOLS else "{:.2f}"
    # z: no minus before a rounded zero
    return ", ".join(form.format(value) for value in values)


def _type() -> dict[str, Any]:
    return {"fontsize": style.SMALL, "color": style.INK}

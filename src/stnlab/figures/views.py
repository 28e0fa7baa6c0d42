"""What a transformer looks at: test images before and after it, and the quadrilateral it sampled."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from stnlab.errors import StnlabError
from stnlab.figures import style

Array = NDArray[Any]
MOST = 10
CELL = 1.1
"""Inches a picture takes, with the margin around it."""
MARGIN = 0.75
"""How far outside the picture, as a share of its size, a quadrilateral is still drawn."""
LEAST = 0.05
"""The margin where there is none to draw."""
TYPE: dict[str, Any] = {"fontsize": style.SMALL, "color": style.INK}


def views_grid(
    images: Array,
    before: Sequence[Array],
    after: Sequence[Array],
    corners: Array,
    labels: Array | None = None,
    predicted: Array | None = None,
    title: str = "",
) -> Figure:
    """A column for each of the first 10 samples, a row for each stage of what happens to it.

    images: [M, C, H, W] uint8, as the network gets them. before, after: for each transformer [M, h, w] uint8, what
    reached it and the view it made. corners: [M, transformers, 4, 2], where the view's corners (top left, top right,
    bottom right, bottom left) were sampled in `before`, (x, y) normalised with align_corners=False. labels, predicted:
    [M], or [M, heads] for sequences; a wrong prediction is printed in vermilion.

    Raises StnlabError if the counts do not fit.
    """
    _check(images, before, after, corners)
    columns = min(len(images), MOST)
    rows = _rows(images, before, after, corners)
    margin = margin_for(corners[:columns])
    grid = _grid([margin if quads is not None else LEAST for _, _, quads in rows], columns, margin, title)
    for line, (name, pictures, quads) in zip(grid, rows, strict=True):
        for number, axes in enumerate(line):
            _draw(axes, pictures[number], None if quads is None else quads[number], margin)
        line[0].text(-0.06, 0.5, name, transform=line[0].transAxes, rotation=90, ha="right", va="center", **TYPE)
    if labels is not None:
        for number, axes in enumerate(grid[0]):
            _caption(axes, labels[number], None if predicted is None else predicted[number])
    figure: Figure = grid[0, 0].figure
    return figure


def _check(images: Array, before: Sequence[Array], after: Sequence[Array], corners: Array) -> None:
    count, stages = len(images), [*before, *after]
    fits = all(len(stage) == count for stage in stages) and len(before) == len(after)
    if not fits or not count or np.shape(corners) != (count, len(before), 4, 2):
        raise StnlabError(
            f"{count} images, views {[np.shape(stage) for stage in stages]} and corners {np.shape(corners)} do not fit"
        )


def _grid(margins: Sequence[float], columns: int, widest: float, title: str) -> Array:
    """Axes [rows, columns] of a new figure, placed by hand: a layout engine takes a second for so many."""
    heights = [CELL * (1 + 2 * margin) / (1 + 2 * widest) for margin in margins]
    left, width = 0.3, 0.3 + CELL * columns
    head = 0.22 + style.title_height(title, width)
    height = head + sum(heights) + 0.05
    figure = style.new_figure(width, height)
    style.title_above(figure, title)
    room = {"left": left / width, "right": 1, "bottom": 0.05 / height, "top": 1 - head / height}
    return figure.subplots(
        len(margins), columns, squeeze=False, height_ratios=heights, gridspec_kw=room | {"wspace": 0, "hspace": 0}
    )


def margin_for(corners: Array) -> float:
    """Around a picture, as a share of its size, for quadrilaterals [..., 4, 2] (normalised) to be in sight, however far
    they zoom out: up to MARGIN."""
    return float(np.clip((np.abs(corners).max(initial=1) - 1) / 2 + 0.04, LEAST, MARGIN))


def to_pixels(points: Array, height: int, width: int) -> NDArray[np.float64]:
    """Normalised (x, y) [..., 2] to pixel coordinates, where pixel k is centred at k (align_corners=False)."""
    result: NDArray[np.float64] = ((np.asarray(points, np.float64) + 1) * (width, height) - 1) / 2
    return result


def _rows(
    images: Array, before: Sequence[Array], after: Sequence[Array], corners: Array
) -> list[tuple[str, Array, Array | None]]:
    """Name, pictures and quadrilaterals of each row; the input is shown apart where it is not what is transformed."""
    plain = _channels_last(images)
    rows: list[tuple[str, Array, Array | None]] = []
    if not before or not _same(images, before[0]):
        rows.append(("input", plain, None))
    for number, (reached, view) in enumerate(zip(before, after, strict=True)):
        direct = _same(images, reached)
        suffix = f" {number + 1}" if len(before) > 1 else ""
        name = "input" if direct else f"features{suffix}"
        rows.append((name, plain if direct else reached, corners[:, number]))
        rows.append((f"view{suffix}", view, None))
    return rows


def _same(images: Array, reached: Array) -> bool:
    """Whether it is the image itself (its channel mean, rounded) that reached a transformer."""
    mean = images.mean(axis=1)
    return mean.shape == reached.shape and bool(np.abs(mean - reached).max() <= 1)


def _channels_last(images: Array) -> Array:
    """[M, H, W, 3], or [M, H, W] unless there are three channels."""
    return np.moveaxis(images, 1, -1) if images.shape[1] == 3 else images.mean(axis=1)


def _draw(axes: Axes, picture: Array, quad: Array | None, margin: float) -> None:
    height, width = picture.shape[:2]
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
    x, y = margin * width, (LEAST if quad is None else margin) * height
    # on a dark page a black picture needs an edge
    axes.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, edgecolor=style.FAINT, linewidth=0.5))
    axes.set(xlim=(-0.5 - x, width - 0.5 + x), ylim=(height - 0.5 + y, -0.5 - y))
    if quad is None:
        return
    points = to_pixels(quad, height, width)
    around = np.concatenate([points, points[:1]])
    axes.plot(*around.T, color=style.SKY, linewidth=1.0, solid_joinstyle="round")
    axes.plot(*points[:2].T, color=style.VERMILION, linewidth=2.2, solid_capstyle="round")


def _caption(axes: Axes, label: Array, predicted: Array | None) -> None:
    """True label, and the predicted one if it differs."""
    truth = "".join(str(value) for value in np.atleast_1d(label))
    said = truth if predicted is None else "".join(str(value) for value in np.atleast_1d(predicted))
    text, colour = (truth, style.INK) if said == truth else (f"{truth} \N{RIGHTWARDS ARROW} {said}", style.VERMILION)
    axes.set_title(text, fontsize=style.SMALL, color=colour, pad=2)

"""One look for all figures: type, colours, axes, and how a figure becomes a file. Nothing here is global state."""

import base64
import io
import logging
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Array = NDArray[Any]

# Okabe and Ito 2008, "Color Universal Design": told apart with any kind of colour vision
BLUE = "#0072b2"
ORANGE = "#e69f00"
GREEN = "#009e73"
VERMILION = "#d55e00"
PURPLE = "#cc79a7"
SKY = "#56b4e9"

INK = "#2b2b2b"
FAINT = "#9a9a9a"
CYCLE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, INK)
LINES = ("-", "--", ":", "-.")
DARK = {INK: "#d6d6d6", BLUE: "#3f97d6"}
"""What is too dark for a dark page, and what it becomes there."""

TEXT = 9.0
SMALL = 8.0
"""Font sizes in points; figures are drawn at the size at which they are read."""

PIXELS_PER_INCH = 200
PAGE = 11.4
"""Inches across the report's page: what stands alone in a line is that wide."""
LETTER, HANDLE = 0.07, 0.6
"""Inches that a letter of a legend takes, and what stands around its text."""
KEY_MARGIN = 0.25
"""Inches of the margins on both sides of a legend."""
BOLD, TITLE_LINE = 0.085, 0.15
"""Inches that a letter of a title takes, and one more line of it."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, on white (transparent once it is an SVG)."""
    return Figure(figsize=(width, height), dpi=PIXELS_PER_INCH, facecolor="white")


def lay_out(figure: Figure) -> Figure:
    """The figure with everything moved to where it fits, once: a layout engine left on does so twice in every save."""
    figure.set_layout_engine("constrained", wspace=0.05)
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    return figure


def clean(axes: Axes, xlabel: str = "", ylabel: str = "") -> None:
    """Thin axes at the left and bottom only, small ticks, labelled."""
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(linewidth=0.6, color=INK)
    axes.tick_params(width=0.6, length=2.5, labelsize=SMALL, colors=INK)
    axes.set_xlabel(xlabel, fontsize=TEXT, color=INK)
    axes.set_ylabel(ylabel, fontsize=TEXT, color=INK)


def look(number: int) -> tuple[str, str]:
    """Colour and dashes of the line of that number: the same in every figure of a set."""
    return CYCLE[number % len(CYCLE)], LINES[number // len(CYCLE) % len(LINES)]


def line_with_band(
    axes: Axes,
    x: Array,
    mean: Array,
    low: Array,
    high: Array,
    number: int,
    label: str = "",
    marker: str = "o",
    band: bool = True,
) -> None:
    """A line in the look of its number over a band, all [points]; a single point gets a marker to be seen by."""
    colour, dashes = look(number)
    if band:
        axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
    seen = "o" if len(x) == 1 else marker
    axes.plot(x, mean, color=colour, linestyle=dashes, linewidth=1.5, marker=seen, markersize=3, label=label)


def title_lines(title: str, width: float) -> list[str]:
    """A title in as many lines as it needs to fit into that many inches; none of an empty one."""
    return textwrap.wrap(title, max(1, int(width / BOLD)), break_on_hyphens=False)


def title_height(title: str, width: float) -> float:
    """Inches that `title_above` takes on a figure of that width."""
    lines = title_lines(title, width - 0.12)
    return 0.24 + TITLE_LINE * (len(lines) - 1) if lines else 0.0


def title_above(figure: Figure, title: str) -> None:
    """A title at the top left of a figure without a legend, in as many lines as it needs."""
    if not title:
        return
    width, height = figure.get_size_inches()
    text = "\n".join(title_lines(title, width - 0.12))
    place = 0.06 / width, 1 - 0.04 / height
    figure.text(*place, text, va="top", weight="bold", fontsize=TEXT, color=INK)


def legend_columns(labels: Iterable[str], width: float = PAGE) -> int:
    """How many columns of a legend fit into that many inches, at least one."""
    lengths = [len(label) for label in labels]
    for columns in range(len(lengths), 1, -1):
        longest = [max(column) for column in np.array_split(lengths, columns)]
        if sum(HANDLE + LETTER * length for length in longest) <= width:
            return columns
    return 1


def height_above(labels: Iterable[str], title: str, width: float = PAGE) -> float:
    """Inches that `legend_above` takes on a figure of that width beyond its first line."""
    shown = [label for label in labels if label]
    lines = len(title_lines(title, width - KEY_MARGIN))
    below = 0.2 * (max(0, len(shown) - 1) // legend_columns(shown, width))
    return below + (0.2 + TITLE_LINE * (lines - 1) if lines else 0.0)


def legend_above(figure: Figure, title: str = "") -> None:
    """One legend for all panels, above them: the labels of the first axes, under the figure's title; none where there
    is neither."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if not labels and not title:
        return
    key_above(figure, handles, labels, title, handlelength=2.2)


def key_above(figure: Figure, handles: Sequence[Artist], labels: Sequence[str], title: str, **more: Any) -> None:
    """A legend of these handles above all panels, under the figure's title. more: as matplotlib's legend takes it."""
    options: dict[str, Any] = {"fontsize": SMALL, "labelcolor": INK, "frameon": False} | more
    if title:
        font = {"weight": "bold", "size": TEXT}
        lines = title_lines(title, figure.get_figwidth() - KEY_MARGIN)
        options |= {"title": "\n".join(lines), "title_fontproperties": font, "alignment": "left"}
    columns = legend_columns(labels, figure.get_figwidth())
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, **options).get_title().set_color(INK)


def png(figure: Figure) -> bytes:
    """On white, 200 pixels an inch."""
    return _saved(figure, "png", {"Software": None})


def svg(figure: Figure) -> bytes:
    """Transparent; where the reader prefers dark, DARK replaces dark colours. The same figure gives the same bytes."""
    text = _saved(figure, "svg", {"Date": None, "Creator": None}).decode()
    dark = "".join(
        f'[style*="{kind}: {colour}"]{{{kind}:{instead} !important}}'
        for colour, instead in DARK.items()
        for kind in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme: dark){{{dark}}}</style>"
    return re.sub(r"(<svg[^>]*>)", lambda opening: opening[1] + style, text, count=1).encode()


def pdf(figure: Figure) -> bytes:
    """For LaTeX; letters stay text that can be searched. The same figure gives the same bytes."""
    logging.getLogger("fontTools.subset").setLevel(logging.WARNING)  # it tells of each letter
    return _saved(figure, "pdf", {"CreationDate": None, "Creator": None, "Producer": None})


def data_uri(file: bytes, kind: str = "svg+xml") -> str:
    """An SVG, or an image of another kind, as the `src` of an image: self-contained, its ids apart from others'."""
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


def _saved(figure: Figure, kind: str, metadata: dict[str, str | None]) -> bytes:
    buffer = io.BytesIO()
    # rcParams only: without the salt an SVG's ids are random; conferences refuse fonts of type 3
    with matplotlib.rc_context({"svg.hashsalt": "stnlab", "pdf.fonttype": 42}):
        figure.savefig(buffer, format=kind, dpi=PIXELS_PER_INCH, transparent=kind == "svg", metadata=metadata)
    return buffer.getvalue()

"""One look for all figures: type, colours, axes, and how a figure becomes a file. Nothing here is global state."""

import base64
import io
import re

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito 2008, "Color Universal Design": told apart with any kind of colour vision
BLUE = "#0072b2"
ORANGE = "#e69f00"
GREEN = "#009e73"
VERMILION = "#d55e00"
PURPLE = "#cc79a7"
SKY = "#56b4e9"
YELLOW = "#f0e442"
CYCLE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
LINES = ("-", "--", ":", "-.")

INK = "#2b2b2b"
FAINT = "#9a9a9a"
DARK_INK = "#d6d6d6"
"""What INK becomes on a dark page."""

TEXT = 9.0
SMALL = 8.0
"""Font sizes in points; figures are drawn at the size at which they are read."""

PIXELS_PER_INCH = 200


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, on white (transparent once it is an SVG)."""
    return Figure(figsize=(width, height), dpi=PIXELS_PER_INCH, facecolor="white")


def lay_out(figure: Figure) -> Figure:
    """The figure with everything moved to where it fits, once: a layout engine left on does so twice in every save."""
    figure.set_layout_engine("constrained")
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


def png(figure: Figure) -> bytes:
    """On white, 200 pixels an inch."""
    return _saved(figure, "png", {"Software": None})


def svg(figure: Figure) -> bytes:
    """Transparent; where the reader prefers dark, the ink turns light. The same figure gives the same bytes."""
    text = _saved(figure, "svg", {"Date": None, "Creator": None}).decode()
    dark = "".join(f'[style*="{kind}: {INK}"]{{{kind}:{DARK_INK} !important}}' for kind in ("fill", "stroke"))
    style = f"<style>@media (prefers-color-scheme: dark){{{dark}}}</style>"
    return re.sub(r"(<svg[^>]*>)", lambda opening: opening[1] + style, text, count=1).encode()


def data_uri(svg_file: bytes) -> str:
    """An SVG as the `src` of an image: self-contained, and its ids apart from other images'."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg_file).decode()


def _saved(figure: Figure, kind: str, metadata: dict[str, str | None]) -> bytes:
    buffer = io.BytesIO()
    # the salt is an rcParam only; without it an SVG's ids are random
    with matplotlib.rc_context({"svg.hashsalt": "stnlab"}):
        figure.savefig(buffer, format=kind, dpi=PIXELS_PER_INCH, transparent=kind == "svg", metadata=metadata)
    return buffer.getvalue()

"""Reliability diagram: is the network as often right as it says it is?"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from stnlab.evaluation.calibration import ReliabilityBins
from stnlab.evaluation.intervals import wilson
from stnlab.figures import style

WIDTH, HEIGHT = 2.7, 3.5
"""Inches, with a title of one line."""
LEFT, RIGHT, BOTTOM, TOP = 0.22, 0.94, 0.125, 0.845
"""The edges of the axes, as shares of these."""
CENTRE = 0.575
"""Of the title."""


def reliability_diagram(
    bins: ReliabilityBins,
    ece: float,
    title: str = "",
    interval: tuple[float, float] | None = None,
    note: str = "",
    legend: bool = True,
    runs: int = 1,
) -> Figure:
    """Accuracy of each confidence bin against the diagonal, the signed gap shaded, and how many samples it holds.

    ece: a fraction, printed after the `note` with its `interval` (low, high) if there is one, above the signed gap
    (mean confidence minus accuracy, in points). Orange is overconfident (less often right than it says), blue
    underconfident, as the `legend` says. Whiskers: Wilson's 95% interval of a bin's accuracy, of as many images as one
    of the `runs` in `bins` has there: all of them answered for the same images.
    """
    lines = style.title_lines(title, 2 * (1 - CENTRE) * WIDTH)
    height = HEIGHT + style.TITLE_LINE * max(0, len(lines) - 1)
    figure = style.new_figure(WIDTH, height)
    bottom, top = BOTTOM * HEIGHT / height, TOP * HEIGHT / height  # more lines of a title are above all else
    room = {"left": LEFT, "right": RIGHT, "bottom": bottom, "top": top, "hspace": 0.14}
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1), gridspec_kw=room)
    _accuracy(above, bins, runs)
    if legend:
        _legend(above)
    _counts(below, bins)
    printed = (
        (f"{note}, " if note else "")
        + f"ECE {100 * ece:.2f}%"
        + (f" ({100 * interval[0]:.2f} to {100 * interval[1]:.2f})" if interval else "")
        + f"\n{_signed(bins)}"
    )
    above.set_title(printed, fontsize=style.SMALL, color=style.INK)
    place = CENTRE, 1 - 0.015 * HEIGHT / height
    figure.text(*place, "\n".join(lines), fontsize=style.TEXT, color=style.INK, weight="bold", ha="center", va="top")
    return figure


def _signed(bins: ReliabilityBins) -> str:
    """The mean of confidence minus accuracy, in words: `overconfident by 1.20`."""
    gap = 100 * float(np.nansum(bins.count * (bins.confidence - bins.accuracy)) / bins.count.sum())
    if f"{abs(gap):.2f}" == "0.00":
        return "as confident as right"
    return f"{'over' if gap > 0 else 'under'}confident by {abs(gap):.2f} points"


def _accuracy(axes: Axes, bins: ReliabilityBins, runs: int) -> None:
    style.clean(axes, ylabel="accuracy")
    used = bins.count > 0
    left, width = bins.edges[:-1][used], np.diff(bins.edges)[used]
    accuracy, confidence = bins.accuracy[used], bins.confidence[used]
    over = np.where(confidence > accuracy, style.ORANGE, style.BLUE)
    axes.bar(left, accuracy, width, align="edge", color=style.FAINT, alpha=0.28, linewidth=0)
    axes.bar(left, confidence - accuracy, width, bottom=accuracy, align="edge", color=over, alpha=0.75, linewidth=0)
    axes.hlines(accuracy, left, left + width, color=style.INK, linewidth=1.1)
    images = np.maximum(1, np.rint(bins.count[used] / runs)).astype(int).tolist()
    ends = [wilson(round(p * n), n) for p, n in zip(accuracy, images, strict=True)]
    axes.vlines(left + width / 2, *zip(*ends, strict=True), color=style.INK, linewidth=0.7)
    axes.plot([0, 1], [0, 1], color=style.FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set(xlim=(0, 1), ylim=(0, 1.005))
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _legend(axes: Axes) -> None:
    kinds = [Patch(color=style.ORANGE, alpha=0.75), Patch(color=style.BLUE, alpha=0.75)]
    axes.legend(
        kinds,
        ["overconfident", "underconfident"],
        loc="lower right",
        fontsize=style.SMALL,
        labelcolor=style.INK,
        frameon=False,
        handlelength=1,
        handleheight=0.9,
        borderaxespad=0.2,
    )


def _counts(axes: Axes, bins: ReliabilityBins) -> None:
    style.clean(axes, xlabel="confidence", ylabel="samples")
    share = bins.count / bins.count.sum()
    axes.bar(bins.edges[:-1], share, np.diff(bins.edges), align="edge", color=style.FAINT, linewidth=0)
    axes.set(ylim=(0, 1), yticks=(0, 0.5, 1))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))

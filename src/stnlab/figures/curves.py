"""Learning curves from the history rows of runs."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from stnlab.errors import StnlabError
from stnlab.figures import style

Row = Mapping[str, float]


def learning_curves(histories: Mapping[str, Sequence[Sequence[Row]]], title: str = "") -> Figure:
    """Validation error and training loss after each epoch; on the left training error where nothing was validated.

    histories: name -> one history for each seed, a history being a row for each epoch with `epoch`, `train/loss` and
    `val/error` or `train/accuracy` (fractions). Lines are means over seeds, bands reach from the lowest seed to the
    highest; a name without any history keeps its colour and is not drawn.
    Raises StnlabError if no history has a row.
    """
    if not any(rows for seeds in histories.values() for rows in seeds):
        raise StnlabError("no run has finished an epoch: there is no learning curve to draw")
    validated = any("val/error" in row for seeds in histories.values() for rows in seeds for row in rows)
    figure = style.new_figure(style.PAGE, 3.1 + style.height_above(histories, title))
    left, right = figure.subplots(1, 2)
    style.clean(left, "epoch", "validation error (%)" if validated else "training error (%)")
    style.clean(right, "epoch", "training loss (nats)")
    for number, (name, seeds) in enumerate(histories.items()):
        _curve(left, [_points(rows, _error if validated else _training_error) for rows in seeds], number, name)
        _curve(right, [_points(rows, _loss) for rows in seeds], number)
    for axes in (left, right):
        _logarithmic(axes)
    style.legend_above(figure, title)
    return style.lay_out(figure)


def _error(row: Row) -> float | None:
    return 100 * row["val/error"] if "val/error" in row else None


def _training_error(row: Row) -> float | None:
    return 100 * (1 - row["train/accuracy"]) if "train/accuracy" in row else None


def _loss(row: Row) -> float | None:
    return row.get("train/loss")


def _points(rows: Sequence[Row], value: Callable[[Row], float | None]) -> dict[float, float]:
    """Epoch -> value, of the rows that have one."""
    found = ((row["epoch"], value(row)) for row in rows)
    return {epoch: number for epoch, number in found if number is not None}


def _curve(axes: Axes, seeds: Sequence[dict[float, float]], number: int, name: str = "") -> None:
    epochs = sorted({epoch for points in seeds for epoch in points})
    values = [[points[epoch] for points in seeds if epoch in points] for epoch in epochs]
    mean, low, high = (np.array([of(one) for one in values]) for of in (np.mean, np.min, np.max))
    if epochs:
        style.line_with_band(axes, np.array(epochs), mean, low, high, number, name, marker="")


def _logarithmic(axes: Axes) -> None:
    """A logarithmic scale with plain numbers on it, unless there is a 0 to show."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(axis="y", color=style.FAINT, linewidth=0.4, alpha=0.4)
    values = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in axes.lines])
    if not len(values) or values.min() <= 0:
        axes.set_ylim(bottom=0)
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="y", which="minor", length=0)

"""The figures of a report, drawn and saved: one SVG for the page and for print, one PNG for everything else."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from stnlab.errors import StnlabError
from stnlab.evaluation import Interval, Outcomes, reliability_bins
from stnlab.figures import data_uri, learning_curves, png, reliability_diagram, svg, views_grid
from stnlab.reports.cells import Cell, Run
from stnlab.reports.study import Report, Row
from stnlab.runs import CORNERS
from stnlab.runs.files import write_bytes


@dataclass(frozen=True)
class Picture:
    """A saved figure: the name of its files, what it shows, its SVG as a data URI, and its width in CSS pixels."""

    file: str
    shows: str
    source: str
    width: int


@dataclass(frozen=True)
class Pictures:
    """reliability and views: at most one a cell, in order of the table. problems: what could not be drawn, and why."""

    reliability: list[Picture]
    views: list[Picture]
    curves: list[Picture]
    problems: list[str]

    @property
    def files(self) -> set[str]:
        return {picture.file for picture in [*self.reliability, *self.views, *self.curves]}


def draw(report: Report, folder: Path) -> Pictures:
    """Draw into `folder`, and remove from it the figures of an earlier report that are not drawn any more."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = Pictures([], [], [], [])
    histories: dict[str, list[list[dict[str, float]]]] = {}
    for row, name in _named(report):
        cell = row.cell
        if (outcomes := cell.outcomes) and row.ece:
            figure = _reliability(cell, outcomes, row.ece)
            drawn.reliability.append(_save(figure, folder, f"reliability-{name}", f"Reliability of {cell.name}"))
        try:
            histories[cell.name] = [rows for run in cell.runs if (rows := run.directory.history)]
            if views := _views(cell):
                drawn.views.append(_save(views, folder, f"views-{name}", f"Views of {cell.name}"))
        except StnlabError as error:
            drawn.problems.append(f"{cell.name} is not drawn: {error}")
    histories = {name: seeds for name, seeds in histories.items() if seeds}
    if histories:
        drawn.curves.append(_save(learning_curves(histories), folder, "curves", "Learning curves"))
    for path in folder.iterdir():
        if path.suffix in (".svg", ".png") and path.stem not in drawn.files:
            path.unlink()
    return drawn


def _named(report: Report) -> Iterator[tuple[Row, str]]:
    """Each row with its cell's name as part of a file name, no two the same, whatever the case."""
    taken: set[str] = set()
    for row in report.rows:
        plain = name = re.sub(r"[^\w.=]+", "-", row.cell.name)[:80].strip("-")
        while name.lower() in taken:
            name = f"{plain}-{len(taken)}"
        taken.add(name.lower())
        yield row, name


def _save(figure: Figure, folder: Path, name: str, shows: str) -> Picture:
    drawn = svg(figure)
    write_bytes(folder / f"{name}.svg", drawn)
    write_bytes(folder / f"{name}.png", png(figure))
    return Picture(name, shows, data_uri(drawn), round(96 * figure.get_figwidth()))


def _reliability(cell: Cell, outcomes: Outcomes, ece: Interval) -> Figure:
    """All seeds in one diagram; the printed ECE is the table's, the mean over seeds."""
    bins = reliability_bins(outcomes.confidence.ravel(), outcomes.correct.ravel())
    return reliability_diagram(bins, cell.mean("ece"), cell.name, (ece.low, ece.high))


def _views(cell: Cell) -> Figure | None:
    """Of the first seed that has some; None for a network without transformer."""
    for run in cell.finished:
        figure = _views_of(run, cell.name)
        if figure is not None:
            return figure
    return None


def _views_of(run: Run, title: str) -> Figure | None:
    predictions = run.directory.predictions("test")
    if predictions is None or predictions.warps is None:
        return None
    examples = run.directory.evaluation().examples
    shown = examples.indices
    return views_grid(
        examples.images,
        examples.before,
        examples.after,
        predictions.warps[shown][:, :, CORNERS],
        predictions.labels[shown],
        np.argmax(predictions.logits[shown], axis=-1),
        title,
    )

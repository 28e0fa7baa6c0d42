"""Figures of one cell: what its runs said, saw and straightened. Each function yields (suffix of the name, figure)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from stnlab.evaluation import Outcomes, bootstrap, confidences, reliability_bins
from stnlab.figures import (
    class_means_grid,
    frames_animation,
    last_frame,
    rectification_chart,
    reliability_diagram,
    spreads_of,
    views_grid,
)
from stnlab.figures.frames import DENSITY
from stnlab.reports.cells import Cell
from stnlab.reports.results import Run
from stnlab.reports.study import Row
from stnlab.runs import CORNERS, Evaluation


@dataclass(frozen=True)
class Animation:
    """An animated PNG, its last frame, what it shows and its width in CSS pixels."""

    moving: bytes
    still: bytes
    title: str
    width: int


Figures = Iterator[tuple[str, Figure | Animation]]


def reliability(row: Row) -> Figures:
    """All seeds in one diagram; the printed ECE is the table's, the mean over seeds. Then the same after temperature
    scaling, each seed by its own temperature, if that is known."""
    cell, outcomes = row.cell, row.cell.outcomes
    if outcomes is None:
        return
    interval = (row.ece.low, row.ece.high) if row.ece else None
    bins = reliability_bins(outcomes.confidence.ravel(), outcomes.correct.ravel())
    yield "", reliability_diagram(bins, cell.mean("ece"), cell.name, interval, legend=False, runs=len(cell.finished))
    scaled = [run for run in cell.finished if run.result and "temperature/value" in run.result.metrics]
    if scaled:
        cooled = _cooled(scaled, outcomes.indices)
        bins = reliability_bins(cooled.confidence.ravel(), cooled.correct.ravel())
        note, ece = f"T = {cell.mean('temperature/value'):.2f}", cell.mean("temperature/ece")
        interval = _interval_of(scaled, cooled)
        yield "scaled", reliability_diagram(bins, ece, cell.name, interval, note, legend=False, runs=len(scaled))


def _cooled(runs: Sequence[Run], indices: np.ndarray) -> Outcomes:
    """What runs say of these test images after temperature scaling."""
    found = []
    for run in runs:
        said = run.directory.predictions("test", ("logits", "labels", "indices"))
        assert said is not None and run.result is not None
        found.append(confidences(said.logits / run.result.metrics["temperature/value"], said.labels))
    confidence, correct = (np.stack(parts) for parts in zip(*found, strict=True))
    return Outcomes(tuple(run.seed for run in runs), indices, confidence, correct)


def _interval_of(runs: Sequence[Run], cooled: Outcomes) -> tuple[float, float] | None:
    """Of the ECE after temperature scaling: the one that a run has noted, over several seeds as `row.ece` is."""
    if len(runs) > 1:
        _, found = bootstrap([cooled])[0]
        return found.low, found.high
    metrics = runs[0].result.metrics if runs[0].result else {}
    low, high = metrics.get("temperature/ece_low"), metrics.get("temperature/ece_high")
    return None if low is None or high is None else (low, high)


def rectified(row: Row) -> Figures:
    """A chart for each transformer, of means over seeds."""
    names = {name for run in row.cell.finished if run.result for name in run.result.metrics}
    means = {name: float(np.mean(row.cell.values(name))) for name in sorted(names) if name.startswith("rectification/")}
    found = spreads_of(means)
    for number, spreads in found.items():
        title = row.cell.name + (f", transformer {number + 1}" if len(found) > 1 else "")
        yield f"{number}", rectification_chart(spreads, title)


def class_means(row: Row) -> Figures:
    """Of the first seed that has some."""
    for run, evaluation in _evaluations(row.cell):
        for number, (before, after) in enumerate(evaluation.class_means):
            yield f"{number}", class_means_grid(before, after, _title(row.cell, run, number, evaluation.class_means))
        if evaluation.class_means:
            return


def views(row: Row) -> Figures:
    """Of the first seed that has some; nothing for a network without transformer."""
    for run, evaluation in _evaluations(row.cell):
        said = run.directory.predictions("test", ("logits", "labels", "indices", "warps"))
        examples = evaluation.examples
        if said is not None and said.warps is not None and examples.before:
            shown = examples.indices
            yield (
                "",
                views_grid(
                    examples.images,
                    examples.before,
                    examples.after,
                    said.warps[shown][:, :, CORNERS],
                    said.labels[shown],
                    np.argmax(said.logits[shown], axis=-1),
                    row.cell.name,
                ),
            )
            return


def frames(row: Row) -> Figures:
    """Of the first seed that has some, an animation for each transformer; nothing of a single epoch."""
    for run, evaluation in _evaluations(row.cell):
        found = evaluation.frames
        if found is None or len(found.epochs) < 2 or not evaluation.examples.before:
            continue
        for number, seen in enumerate(found.views):
            before = evaluation.examples.before[number][: seen.shape[1]]
            parts = found.epochs, before, seen, found.corners[:, :, number]
            title = _title(row.cell, run, number, found.views)
            still = last_frame(*parts)
            width = Image.open(BytesIO(still)).width // DENSITY
            yield f"{number}", Animation(frames_animation(*parts), still, title, width)
        return


def _title(cell: Cell, run: Run, number: int, of: Sequence[object]) -> str:
    seed = f", seed {run.seed}" if len(cell.finished) > 1 else ""
    return cell.name + seed + (f", transformer {number + 1}" if len(of) > 1 else "")


def _evaluations(cell: Cell) -> Iterator[tuple[Run, Evaluation]]:
    for run in cell.finished:
        yield run, run.directory.evaluation()


KINDS: dict[str, Callable[[Row], Figures]] = {
    "reliability": reliability,
    "views": views,
    "frames": frames,
    "means": class_means,
    "rectification": rectified,
}
"""Name of each kind, which its files begin with, and what draws it."""

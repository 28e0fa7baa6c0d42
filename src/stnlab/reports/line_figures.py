"""Figures that compare cells, as lines. Each function takes the rows of one data set and yields (suffix of the name,
figure). Every figure of a data set gives a cell the same colour."""

from collections.abc import Callable, Iterator, Sequence

from matplotlib.figure import Figure

from stnlab.errors import StnlabError
from stnlab.figures import OrbitCurve, PoseCurve, learning_curves, orbit_curve, orbit_curves, pose_curves, poses_of
from stnlab.reports.cells import Cell
from stnlab.reports.study import Row

Figures = Iterator[tuple[str, Figure]]


def by_pose(rows: Sequence[Row], data: str) -> Figures:
    """One figure for each pose parameter that some run has measures by."""
    found = {
        _name(row.cell, data): [poses_of(run.result.metrics) for run in row.cell.finished if run.result] for row in rows
    }
    parameters = dict.fromkeys(parameter for seeds in found.values() for one in seeds for parameter in one)
    baselines = {id(row.baseline) for row in rows if row.baseline}
    baseline = next((_name(row.cell, data) for row in rows if id(row.cell) in baselines), None)
    for parameter in parameters:
        curves: dict[str, list[PoseCurve]] = {
            name: [one[parameter] for one in seeds if parameter in one] for name, seeds in found.items()
        }
        yield parameter, pose_curves(parameter, curves, data, baseline)


def orbits(rows: Sequence[Row], data: str) -> Figures:
    """One figure for each orbit that some run has. Raises StnlabError after them if a run's cannot be read."""
    found: dict[str, dict[str, list[OrbitCurve]]] = {}
    training: dict[str, tuple[float, float]] = {}
    broken: list[StnlabError] = []
    names = [_name(row.cell, data) for row in rows]
    for name, row in zip(names, rows, strict=True):
        for run in row.cell.finished:
            try:
                evaluation = run.directory.evaluation()
            except StnlabError as error:
                broken.append(error)
                continue
            for kind, orbit in evaluation.orbits.items():
                found.setdefault(kind, {one: [] for one in names})[name].append(orbit_curve(orbit))
                training.setdefault(kind, orbit.training)
    for kind, curves in found.items():
        yield kind, orbit_curves(kind, curves, training[kind], data)
    if broken:
        raise broken[0]


def curves(rows: Sequence[Row], data: str) -> Figures:
    """Error and loss after each epoch, also of runs that did not get to the end."""
    histories = {
        _name(row.cell, data): [found for run in row.cell.runs if (found := run.directory.history)] for row in rows
    }
    if any(histories.values()):
        yield "", learning_curves(histories, data)


def _name(cell: Cell, data: str) -> str:
    """Without the data set, if all lines share it."""
    return " ".join(part for part in cell.name.split(" ") if part != data) or cell.name


KINDS: dict[str, Callable[[Sequence[Row], str], Figures]] = {"pose": by_pose, "orbit": orbits, "curves": curves}
"""Name of each kind, which its files begin with, and what draws it."""

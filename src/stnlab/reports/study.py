"""The results of one or several studies: cells with intervals, each compared with its baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stnlab.errors import StnlabError
from stnlab.evaluation import Comparison, Interval
from stnlab.reports.baselines import baseline_of, fits, wanted_baseline
from stnlab.reports.cells import Cell, Labels, read_cells
from stnlab.reports.inference import PairFindings, infer
from stnlab.reports.missing import missing_cells, missing_seeds
from stnlab.reports.results import Run
from stnlab.runs import code_version, find_runs

if TYPE_CHECKING:
    from stnlab.reports.beside import BesidePapers

FEW_SEEDS = 5


@dataclass(frozen=True)
class Row:
    """A cell and what the report says of it; the intervals are None if it has no results.

    baseline: the cell it is compared with. not_compared: in words, why there is none. missing: seeds that other cells
    have and this one has not.
    """

    cell: Cell
    error: Interval | None = None
    ece: Interval | None = None
    baseline: Cell | None = None
    found: PairFindings | None = None
    not_compared: str | None = None
    missing: tuple[int, ...] = ()

    @property
    def comparison(self) -> Comparison | None:
        return self.found.error if self.found else None

    @property
    def collapsed(self) -> list[Run]:
        return [run for run in self.cell.runs if run.collapsed]

    @property
    def without_results(self) -> list[Run]:
        return [run for run in self.cell.runs if run.result is None]


@dataclass(frozen=True)
class Report:
    """Everything a table or a page shows. columns: what varies. missing: combinations of it that no run is of.
    unreadable: run -> why it is in no cell. notes: what holds for the study as a whole. folder: where it is written.
    beside: what papers say of it."""

    studies: list[Path]
    columns: list[str]
    rows: list[Row]
    folder: Path
    missing: list[Labels] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    beside: "BesidePapers | None" = None

    @property
    def name(self) -> str:
        return " + ".join(study.resolve().name for study in self.studies)

    @property
    def runs(self) -> list[Run]:
        return [run for row in self.rows for run in row.cell.runs]


def read_study(studies: Path | Sequence[Path], baseline: str | None = None, folder: Path | None = None) -> Report:
    """Read, measure and compare; the cells of several studies are one table.

    folder: where the report will be written, by default `report/` in the first study; what was computed for an
    earlier report is taken from its `cache/`. Raises StnlabError if there is no such study or no such baseline.
    """
    studies = [studies] if isinstance(studies, Path) else list(studies)
    folder = folder or studies[0] / "report"
    if len({study.resolve() for study in studies}) < len(studies):
        raise StnlabError(f"{studies[0]}: a study is given twice")
    cells, unreadable = read_cells([run for study in studies for run in find_runs(study)])
    wanted = wanted_baseline(cells, baseline)
    baselines: list[Cell | str | None] = [
        baseline_of(cell, cells, wanted) if wanted and cell.finished and not fits(cell, wanted) else None
        for cell in cells
    ]
    partners = [found if isinstance(found, Cell) else None for found in baselines]
    intervals, pairs = infer(cells, partners, folder / "cache" / "statistics.json")
    rows = []
    for number, (cell, found, missing) in enumerate(zip(cells, baselines, missing_seeds(cells), strict=True)):
        ends = intervals.get(number)
        error, ece = (ends.error, ends.ece) if ends else (None, None)
        reason = found if isinstance(found, str) else None
        rows.append(Row(cell, error, ece, partners[number], pairs.get(number), reason, tuple(missing)))
    notes = _notes(rows, compared=wanted is not None)
    return Report(studies, list(cells[0].labels), rows, folder, missing_cells(cells), unreadable, notes)


def _notes(rows: Sequence[Row], compared: bool) -> list[str]:
    notes = []
    runs = [run for row in rows for run in row.cell.runs]
    without = sum(run.result is None for run in runs)
    if without:
        notes.append(f"{without} of {len(runs)} runs have no results and are in no number; each is named below.")
    if not compared:
        notes.append("No cell is without a transformer, so nothing is compared; name a baseline with baseline=….")
    collapsed = sum(run.collapsed for run in runs)
    if collapsed:
        notes.append(
            f"{collapsed} of {len(runs)} runs ended with a collapsed transformer (blank or constant views); "
            "they are marked, and are in the numbers: training does end there."
        )
    notes += _other_code(runs)
    seeds = {len(row.cell.finished) for row in rows if row.cell.finished}
    if any(1 < count < FEW_SEEDS for count in seeds):
        notes.append(
            f"Intervals over fewer than {FEW_SEEDS} seeds are wide: so few runs say little about their spread."
        )
    return notes


def _other_code(runs: Sequence[Run]) -> list[str]:
    """One line if the results come from more than one commit, or from another version than today's."""
    finished = [run for run in runs if run.result is not None]
    names = sorted({code_name(run.info) for run in finished})
    if len(names) > 1:
        return [f"The results were made by different code ({', '.join(names)}): differences may be the code's."]
    today = code_version()
    if any(run.info.get("version") != today["version"] for run in finished):
        return [f"The results were made by other code ({names[0]}) than today's ({code_name(today)})."]
    return []


def code_name(version: Mapping[str, Any]) -> str:
    """`stnlab 0.1.0 at 1a2b3c4d5e6f`."""
    commit = version.get("commit")
    return f"stnlab {version.get('version')}" + (f" at {commit}" if commit else "")

"""The results of one or several studies: cells with intervals, each compared with its baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stnlab.errors import StnlabError
from stnlab.evaluation import Comparison, Interval
from stnlab.reports.baselines import partners_of, wanted_baseline
from stnlab.reports.cells import Cell, Labels, read_cells
from stnlab.reports.inference import PairFindings, infer
from stnlab.reports.missing import missing_cells, missing_seeds, not_started
from stnlab.reports.results import Run
from stnlab.runs import code_version, find_runs
from stnlab.runs.plan import read_plan

if TYPE_CHECKING:
    from stnlab.reports.beside import BesidePapers

FEW_SEEDS = 5


@dataclass(frozen=True)
class Row:
    """A cell and what the report says of it; the intervals are None if it has no results.

    baseline: the cell it is compared with. not_compared: in words, why there is none. control: where the baseline is
    smaller, the cell that is as large without what the baseline goes without. missing: seeds that other cells have and
    this one has not.
    """

    cell: Cell
    error: Interval | None = None
    ece: Interval | None = None
    baseline: Cell | None = None
    found: PairFindings | None = None
    not_compared: str | None = None
    control: Cell | None = None
    against_control: PairFindings | None = None
    missing: tuple[int, ...] = ()

    @property
    def comparison(self) -> Comparison | None:
        return self.found.error if self.found else None

    @property
    def comparisons(self) -> list[tuple[Cell, PairFindings]]:
        """With its baseline and its control, as far as it has them."""
        both = (self.baseline, self.found), (self.control, self.against_control)
        return [(other, found) for other, found in both if other and found]

    @property
    def collapsed(self) -> list[Run]:
        return [run for run in self.cell.runs if run.collapsed]

    @property
    def guessing(self) -> list[Run]:
        return [run for run in self.cell.runs if run.guesses]

    @property
    def without_results(self) -> list[Run]:
        return [run for run in self.cell.runs if run.result is None]


@dataclass(frozen=True)
class Report:
    """Everything a table or a page shows. columns: what varies. missing: combinations of it that no run is of.
    not_started: names of runs that a sweep asked for, with what tells them apart. unreadable: run -> why it is in no
    cell. notes: what holds for the study as a whole. folder: where it is written. beside: what papers say of it."""

    studies: list[Path]
    columns: list[str]
    rows: list[Row]
    folder: Path
    missing: list[Labels] = field(default_factory=list)
    not_started: list[str] = field(default_factory=list)
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
    partners = partners_of(cells, wanted)
    pairs = [(number, other) for number, one in enumerate(partners) for other in (one.baseline, one.control)]
    intervals, found = infer(
        cells, [(one, other) for one, other in pairs if other is not None], folder / "cache" / "statistics.json"
    )

    def against(number: int, other: int | None) -> tuple[Cell | None, PairFindings | None]:
        return (None, None) if other is None else (cells[other], found[number, other])

    rows = []
    for number, (cell, one, seeds) in enumerate(zip(cells, partners, missing_seeds(cells), strict=True)):
        ends = intervals.get(number)
        error, ece = (ends.error, ends.ece) if ends else (None, None)
        compared = against(number, one.baseline)
        rows.append(Row(cell, error, ece, *compared, one.reason, *against(number, one.control), tuple(seeds)))
    planned = [read_plan(study) for study in studies]
    # where sweeps have said what they want, nobody has to guess
    missing = missing_cells(cells) if not any(planned) else []
    waiting = [name for study, plan in zip(studies, planned, strict=True) for name in not_started(study, plan)]
    notes = _notes(rows, compared=wanted is not None, waiting=len(waiting))
    return Report(studies, list(cells[0].labels), rows, folder, missing, waiting, unreadable, notes)


def _notes(rows: Sequence[Row], compared: bool, waiting: int) -> list[str]:
    notes = []
    if waiting:
        notes.append(f"{waiting} run{'s' * (waiting > 1)} that a sweep asked for did not start; see below.")
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
    guessing = sum(run.guesses for run in runs)
    if guessing:
        notes.append(
            f"{guessing} of {len(runs)} runs learnt nothing: saying the same of every image errs no more. They are "
            "marked, and are in the numbers: training does end there. Their cells' intervals say little else."
        )
    notes += _other_code(runs)
    seeds = {len(row.cell.finished) for row in rows if row.cell.finished}
    if any(1 < count < FEW_SEEDS for count in seeds):
        notes.append(
            f"Intervals over fewer than {FEW_SEEDS} seeds are wide: so few runs say little about their spread."
        )
    return notes


def _other_code(runs: Sequence[Run]) -> list[str]:
    """One line if the code that makes results is not the same for all of them, or is another than today's."""
    made = {_sources(run.info): code_name(run.info) for run in runs if run.result is not None}
    names = sorted(set(made.values()))
    if len(made) > 1:
        apart = sorted(f"{name}, source {key[0].rpartition(' ')[2]}" for key, name in made.items())
        told = names if len(names) == len(made) else apart
        return [f"The results were made by different code ({', '.join(told)}): differences may be the code's."]
    today = code_version()
    if made and not {one for key in made for one in key} <= {_source(today), _source(today | {"source": None})}:
        return [f"The results were made by other code ({names[0]}) than today's ({code_name(today)})."]
    return []


def _sources(info: Mapping[str, Any]) -> tuple[str, str]:
    """Of the code that trained a run, and of that which measured it."""
    return _source(info), _source(info.get("measured_by") or info)


def _source(version: Mapping[str, Any]) -> str:
    """What tells code apart that may give other results: by its files; by its commit, of runs from before these were
    noted."""
    return f"{version.get('version')} {version.get('source') or version.get('commit')}"


def code_name(version: Mapping[str, Any]) -> str:
    """`stnlab 0.1.0 at 1a2b3c4d5e6f`, and what has measured a run again."""
    commit, later = version.get("commit"), version.get("measured_by")
    name = f"stnlab {version.get('version')}" + (f" at {commit}" if commit else "")
    return name + (f", measured by {code_name(later)}" if later else "")

"""The results of a study: cells with intervals, each compared with its baseline."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stnlab.evaluation import Comparison, Interval, Outcomes, bootstrap, compare
from stnlab.reports.baselines import baseline_of, is_baseline, wanted_baseline
from stnlab.reports.cells import Cell, Run, read_cells
from stnlab.runs import code_version, find_runs

FEW_SEEDS = 5


@dataclass(frozen=True)
class Row:
    """A cell and what the report says of it; the intervals are None if it has no results.

    baseline: the cell it is compared with. not_compared: in words, why there is none.
    """

    cell: Cell
    error: Interval | None = None
    ece: Interval | None = None
    baseline: Cell | None = None
    comparison: Comparison | None = None
    not_compared: str | None = None


@dataclass(frozen=True)
class Report:
    """Everything a table or a page shows. columns: what varies. unreadable: run -> why it is in no
    cell. notes: what holds for the study as a whole."""

    study: Path
    columns: list[str]
    rows: list[Row]
    unreadable: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.study.resolve().name

    @property
    def folder(self) -> Path:
        return self.study / "report"

    @property
    def runs(self) -> list[Run]:
        return [run for row in self.rows for run in row.cell.runs]


def read_study(study: Path, baseline: str | None = None) -> Report:
    """Read, measure and compare. Raises StnlabError if there is no such study or no such baseline."""
    cells, unreadable = read_cells(find_runs(study))
    wanted = wanted_baseline(cells, baseline)
    baselines: list[Cell | str | None] = [
        baseline_of(cell, cells, wanted) if wanted and cell.finished and not is_baseline(cell, wanted) else None
        for cell in cells
    ]
    intervals, comparisons = _intervals(cells), _comparisons(cells, baselines)
    rows = []
    for number, (cell, found) in enumerate(zip(cells, baselines, strict=True)):
        error, ece = intervals.get(number, (None, None))
        partner, reason = (found, None) if isinstance(found, Cell) else (None, found)
        rows.append(Row(cell, error, ece, partner, comparisons.get(number), reason))
    return Report(study, list(cells[0].labels), rows, unreadable, _notes(rows, compared=wanted is not None))


def _intervals(cells: Sequence[Cell]) -> dict[int, tuple[Interval, Interval]]:
    """Number of the cell -> intervals of its error and ECE; cells over the same images are resampled together."""
    together: dict[bytes, list[tuple[int, Outcomes]]] = defaultdict(list)
    for number, cell in enumerate(cells):
        if outcomes := cell.outcomes:
            together[outcomes.indices.tobytes()].append((number, outcomes))
    result: dict[int, tuple[Interval, Interval]] = {}
    for members in together.values():
        found = bootstrap([outcomes for _, outcomes in members])
        result |= {number: interval for (number, _), interval in zip(members, found, strict=True)}
    return result


def _comparisons(cells: Sequence[Cell], baselines: Sequence[Cell | str | None]) -> dict[int, Comparison]:
    """Number of the cell -> its comparison, all corrected together."""
    pairs = {
        number: (own, other)
        for number, (cell, baseline) in enumerate(zip(cells, baselines, strict=True))
        if isinstance(baseline, Cell) and (own := cell.outcomes) and (other := baseline.outcomes)
    }
    return dict(zip(pairs, compare(list(pairs.values())), strict=True))


def _notes(rows: Sequence[Row], compared: bool) -> list[str]:
    notes = []
    runs = [run for row in rows for run in row.cell.runs]
    without = sum(run.result is None for run in runs)
    if without:
        notes.append(f"{without} of {len(runs)} runs have no results and are in no number; each is named below.")
    if not compared:
        notes.append("No cell is without a transformer, so nothing is compared; name a baseline with baseline=….")
    notes += _other_code(runs)
    seeds = {len(row.cell.finished) for row in rows if row.cell.finished}
    if any(1 < count < FEW_SEEDS for count in seeds):
        notes.append(
            f"Intervals over fewer than {FEW_SEEDS} seeds are rough: so few runs say little about their spread."
        )
    return notes


def _other_code(runs: Sequence[Run]) -> list[str]:
    """One line if results are another version's or commit's work than today's code."""
    today = code_version()
    finished = [run for run in runs if run.result is not None]
    others = [run for run in finished if any(run.info.get(key) != value for key, value in today.items())]
    if not others:
        return []
    names = sorted({code_name(run.info) for run in others})
    return [
        f"{len(others)} of {len(finished)} results were made by other code ({', '.join(names)}) "
        f"than today's ({code_name(today)})."
    ]


def code_name(version: dict[str, str | None]) -> str:
    """`stnlab 0.1.0 at 1a2b3c4d5e6f`."""
    commit = version.get("commit")
    return f"stnlab {version.get('version')}" + (f" at {commit}" if commit else "")

"""The study as a grid: what varies laid out in rows and columns, so that one sees what depends on what."""

from collections.abc import Sequence
from dataclasses import dataclass

from stnlab.errors import StnlabError, nearest
from stnlab.reports import wording
from stnlab.reports.cells import ABSENT, order
from stnlab.reports.measures import Measure, best, span_of
from stnlab.reports.options import Options
from stnlab.reports.study import Report, Row

MOST_COLUMNS = 8
COMPACT = 0.65
"""Share of the grid's places that have a run, from which on it is worth laying out."""
LIKELY = ("data", "transform", "backbone", "recipe", "study")
"""What is laid out in columns where several would do, the likeliest first."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """down, across: the columns of the report that its rows and its columns stand for. rows, columns: their values.
    places: (row, column) -> what stands there; a place without an entry has no run."""

    down: list[str]
    across: list[str]
    rows: list[Key]
    columns: list[Key]
    places: dict[tuple[Key, Key], Row]

    @property
    def filled(self) -> float:
        """Share of the places with a run, not counting those of choices that are absent (no transformer)."""
        rows = [row for row in self.rows if any((row, column) in self.places for column in self._present)]
        return len([1 for row, column in self.places if column in self._present]) / max(
            1, len(rows) * len(self._present)
        )

    @property
    def _present(self) -> list[Key]:
        return [column for column in self.columns if set(column) != {ABSENT}]


def grid(report: Report, options: Options) -> Grid | None:
    """As asked for; else the fullest that is compact. If there is none, None, or one column of the measures that were
    asked for. What varies and is not named goes into rows. Raises StnlabError for a name that does not vary."""
    named = [*options.rows, *options.columns]
    for name in named:
        if name not in report.columns:
            raise StnlabError(f"{name} does not vary in this report{nearest(name, report.columns)}")
        if named.count(name) > 1:
            raise StnlabError(f"{name} is named more than once in rows= and columns=")
    rest = [column for column in report.columns if column not in named]
    if options.columns:
        return _laid_out(report.rows, [*options.rows, *rest], list(options.columns))
    if options.rows and rest:
        return _laid_out(report.rows, list(options.rows), rest)
    if options.rows:
        return _laid_out(report.rows, list(options.rows), [])
    chosen = _chosen(report)
    return _laid_out(report.rows, report.columns, []) if chosen is None and options.lays_out else chosen


def _chosen(report: Report) -> Grid | None:
    candidates = [
        _laid_out(report.rows, [other for other in report.columns if other != column], [column])
        for column in sorted(report.columns, key=lambda one: LIKELY.index(one) if one in LIKELY else len(LIKELY))
        if len(report.columns) > 1
    ]
    fitting = [
        one
        for one in candidates
        if 2 <= len(one.columns) <= MOST_COLUMNS and len(one.rows) > 1 and one.filled >= COMPACT
    ]
    # on data first: what is compared then stands below each other
    return max(fitting, key=lambda one: (one.across == ["data"], round(one.filled, 2)), default=None)


def _laid_out(rows: Sequence[Row], down: list[str], across: list[str]) -> Grid:
    def key(row: Row, names: Sequence[str]) -> Key:
        return tuple(row.cell.shown[name] for name in names)

    places = {(key(row, down), key(row, across)): row for row in rows}
    return Grid(
        down,
        across,
        sorted({place[0] for place in places}, key=_rank),
        sorted({place[1] for place in places}, key=_rank),
        places,
    )


def _rank(key: Key) -> list[tuple[int, float, str]]:
    return [order(value) for value in key]


@dataclass(frozen=True)
class Place:
    """What is printed in one place of a grid: mean, interval, what befell others, if it is best, how many seeds,
    and beside an ECE the signed gap."""

    value: str
    span: str = ""
    note: str = ""
    best: bool = False
    seeds: int = 0
    gap: str = ""

    @property
    def inside(self) -> str:
        """What stands between brackets where everything has to be on one line."""
        count = f"n = {self.seeds}" if self.seeds else ""
        return "; ".join(part for part in (self.span, self.gap, count, self.note) if part)


def grid_texts(report: Report, grid: Grid, measure: Measure) -> list[tuple[Key, list[Place]]]:
    """Row by row what is printed of one measure. A combination that no run is of is `missing` if the study should have
    it, else empty."""
    winners = {id(report.rows[number]) for number in best(report.rows, measure)}
    lacking = {
        (tuple(one[name] for name in grid.down), tuple(one[name] for name in grid.across)) for one in report.missing
    }
    return [
        (
            row,
            [
                _place(grid.places.get((row, column)), measure, winners, (row, column) in lacking)
                for column in grid.columns
            ],
        )
        for row in grid.rows
    ]


def _place(row: Row | None, measure: Measure, winners: set[int], lacking: bool) -> Place:
    if row is None:
        return Place("", note="missing" if lacking else "")
    state = wording.state(row)
    if not row.cell.values(measure.name):
        return Place("", note=state or "not measured")
    seeds = len(row.cell.values(measure.name))
    # of both signs means more than its size alone
    gap = f"gap {wording.percent(row.cell.gap, signed=True)}" if measure.name == "test/ece" else ""
    return Place(
        measure.text(row.cell.mean(measure.name)), span_of(row, measure), state, id(row) in winners, seeds, gap
    )

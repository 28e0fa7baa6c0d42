"""Which cells have figures: drawing hundreds takes minutes and nobody looks at them."""

from collections.abc import Sequence

from stnlab.errors import StnlabError
from stnlab.reports.baselines import conditions, fits
from stnlab.reports.cells import ABSENT, value_at
from stnlab.reports.study import Report, Row

MOST_CELLS = 12
"""With figures of their own."""
MOST_LINES = 8
"""In one figure: more are hard to tell apart."""
ALL = "all"


def drawn_rows(report: Report, wanted: str | None) -> list[Row]:
    """Rows with figures of their own, in order of the table: all of them if they are few; else baselines, up to half of
    them, and the best of each data set in turn. wanted: `all`, or as a baseline is named, like `placement=deep`.

    Raises StnlabError if no cell is that.
    """
    rows = [row for row in report.rows if row.cell.runs]
    if wanted is not None:
        return _asked_for(rows, wanted)
    return _best(report, rows, MOST_CELLS)


def line_rows(report: Report, wanted: str | None) -> dict[str, list[Row]]:
    """Data set -> the rows that are lines in its figures, at most MOST_LINES of them even if more are wanted."""
    rows = drawn_rows(report, wanted) if wanted is not None else report.rows
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(value_at(row.cell.config, "data"), []).append(row)
    return {data: _best(report, members, MOST_LINES) for data, members in groups.items()}


def not_drawn(report: Report, wanted: str | None) -> list[str]:
    """In words, what is left out and how to see it; empty if nothing is."""
    shown, every = drawn_rows(report, wanted), len(report.rows)
    lines = line_rows(report, wanted)
    said = []
    if wanted is None and len(shown) < every:
        said.append(
            f"Of {every} cells, {len(shown)} have figures of their own: baselines, and the lowest errors on each data "
            "set. cells=placement=deep draws those that are that, cells=all every one; --runs makes a page a run."
        )
    groups = len({value_at(row.cell.config, "data") for row in report.rows})
    if any(len(members) == MOST_LINES for members in lines.values()) and every > MOST_LINES * groups:
        said.append(f"Figures that compare cells show at most {MOST_LINES} a data set: its baseline and the best.")
    return said


def _asked_for(rows: Sequence[Row], wanted: str) -> list[Row]:
    if wanted == ALL:
        return list(rows)
    asked = conditions("cells", wanted)
    found = [row for row in rows if fits(row.cell, asked)]
    if not found:
        known = {column: sorted({value_at(row.cell.config, column) for row in rows} - {ABSENT}) for column in asked}
        choices = [
            f"{column} is {' or '.join(values)}" if values else f"no {column}" for column, values in known.items()
        ]
        raise StnlabError(f"cells={wanted}: no cell of this report is that; it has {', '.join(choices)}")
    return found


def _best(report: Report, rows: Sequence[Row], most: int) -> list[Row]:
    if len(rows) <= most:
        return list(rows)
    baselines = {id(row.baseline) for row in report.rows if row.baseline}
    ranked: list[tuple[int, Row]] = []
    by_data: dict[str, int] = {}
    for row in sorted((row for row in rows if row.cell.finished), key=lambda row: row.cell.mean("error")):
        data = value_at(row.cell.config, "data")
        by_data[data] = by_data.get(data, 0) + 1
        ranked.append((by_data[data], row))
    ordered = [row for _, row in sorted(ranked, key=lambda one: one[0])]
    # where every cell has a baseline of its own, they must not take all places
    first = [row for row in ordered if id(row.cell) in baselines][: most // 2]
    rest = [row for row in ordered if id(row.cell) not in baselines]
    picked = {id(row) for row in [*first, *rest][:most]}
    return [row for row in rows if id(row) in picked]

"""Small tables of a report, the same on the page, in Markdown and in LaTeX."""

from dataclasses import dataclass

from stnlab.reports import wording
from stnlab.reports.cells import Cell
from stnlab.reports.inference import PairFindings
from stnlab.reports.study import Report, Row


@dataclass(frozen=True)
class Section:
    """A table: its title, headings, and in each place a value and, below or beside it, its interval or nothing. words:
    how many columns from the left, and from the right, are words."""

    title: str
    header: tuple[str, ...]
    rows: list[list[tuple[str, str]]]
    words: tuple[int, int] = (1, 0)

    def is_words(self, column: int) -> bool:
        return column < self.words[0] or column >= len(self.header) - self.words[1]


FOUND = ("cell", "baseline", "\u0394 error", "fewer errors", "p", "\u0394 ECE", "p ECE", "verdict")


def comparisons(report: Report) -> Section | None:
    """Each cell that was compared, against its baseline and its control."""
    rows = [_compared(row, other, found) for row in report.rows for other, found in row.comparisons]
    return Section("Comparisons", FOUND, rows, (2, 1)) if rows else None


def _compared(row: Row, other: Cell, found: PairFindings) -> list[tuple[str, str]]:
    names = [(row.cell.name, wording.ended_badly(row)), (other.name, "as large" if other is row.control else "")]
    error, ece = (
        (wording.percent(one.difference, signed=True), wording.span(one.low, one.high, signed=True))
        for one in (found.error, found.ece)
    )
    fewer = ("", "")
    if one := found.reduction:
        value, low, high = (
            f"{100 * part:z.0f}%".replace("-", "\N{MINUS SIGN}") for part in (one.value, one.low, one.high)
        )
        fewer = value, f"{low} to {high}"
    p, p_ece = ((wording.p_value(value), "") for value in (found.error.p_holm, found.ece.p_holm))
    return [*names, error, fewer, p, ece, p_ece, (wording.verdict(found), "")]

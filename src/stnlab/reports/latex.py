"""The results for a paper: LaTeX tables in the style of booktabs."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from stnlab.reports.families import families
from stnlab.reports.measures import Measure
from stnlab.reports.pivot import Grid, Place, grid_texts
from stnlab.reports.sections import Section, comparisons
from stnlab.reports.study import Report
from stnlab.reports.tables import best_cells, numbers, own_columns
from stnlab.reports.wording import unbroken

WIDTH, SMALLER, MOST_COLUMNS = 110, 0.75, 7
"""Characters across a page, made a little smaller; how wide those below a value are; the most columns of a table."""
HEADING = 13
"""Characters of a line of a heading."""
LONG = 45
"""Lines from which on a table does not fit a page and becomes a longtable."""
ESCAPES = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "\N{NO-BREAK SPACE}": "~",
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
    "\N{GREEK CAPITAL LETTER DELTA}": r"$\Delta$",
    "\N{RIGHTWARDS ARROW}": r"$\to$",
    "\N{DEGREE SIGN}": r"$^\circ$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
}
NEWLINE = r" \\"
FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"
"""Begins a box that is made as narrow as the text if it is wider."""


@dataclass(frozen=True)
class Entry:
    """What stands in a table: a value, small below it what is said of it, and whether it is the best."""

    value: str
    below: str = ""
    best: bool = False

    @property
    def width(self) -> float:
        """In characters of the value."""
        return max(len(self.value), SMALLER * len(self.below))


def escape(text: str) -> str:
    """Text as LaTeX prints it, whatever it says; characters that pdfLaTeX does not know are written out."""
    return "".join(ESCAPES.get(sign, sign if sign.isascii() else rf"\symbol{{{ord(sign)}}}") for sign in text)


def to_latex(report: Report, grid: Grid | None, measures: Sequence[Measure]) -> bytes:
    """A grid for each measure, if there is a grid; the cells; comparisons; what else is measured. The best is bold. Of
    more than MOST_COLUMNS columns a table is several, each beginning with what names its rows."""
    lines = [r"% Needs \usepackage{booktabs}, \usepackage{graphicx} and, for long tables, \usepackage{longtable}.", ""]
    for measure in measures if grid else ():
        lines += _grid_table(report, grid, measure) if grid else []
    lines += _whole_table(report)
    beside = [section for section, _ in report.beside.tables] if report.beside else []
    for section in (comparisons(report), *beside, *families(report)):
        lines += _section_tables(report, section) if section else []
    return "\n".join([*lines, ""]).encode()


def _grid_table(report: Report, grid: Grid, measure: Measure) -> list[str]:
    header = [*grid.down, *(" ".join(column) for column in grid.columns)]
    texts = grid_texts(report, grid, measure)
    places = [place for _, row in texts for place in row if place.value]
    seeds = {place.seeds for place in places}
    several = len(seeds) > 1
    body = [[*(Entry(name) for name in row), *(_place(one, several) for one in shown)] for row, shown in texts]
    ranges, own = (
        any(place.span.startswith("runs") == kind for place in places if place.span) for kind in (True, False)
    )
    below = ", 95% interval" * own + ", range of the runs" * ranges + ", gap in points" * any(one.gap for one in places)
    count = f" (n = {seeds.pop()})" if len(seeds) == 1 else ""
    caption = f"Study {report.name}: {measure.heading}, mean over seeds{count}{below}."
    return _tables(len(grid.down), header, body, caption)


def _place(place: Place, count: bool) -> Entry:
    """count: whether the number of seeds is not said elsewhere."""
    said = [place.span, place.gap, f"n = {place.seeds}" if count and place.seeds else "", place.note]
    return Entry(place.value, "; ".join(part for part in said if part), place.best)


def _whole_table(report: Report) -> list[str]:
    own, marked = own_columns(report), best_cells(report)
    body = []
    for number, row in enumerate(report.rows):
        values = numbers(row)
        entries = [Entry(*values[name], best=number in marked.get(name, ())) for name in own]
        body.append([Entry(row.cell.name), *entries])
    caption = f"Study {report.name}: means over n seeds; 95% intervals of error and ECE; gap in points."
    return _tables(1, ["cell", *own], body, caption)


def _section_tables(report: Report, section: Section) -> list[str]:
    """Words at the end, a verdict, are too wide for a paper's column; what a cell is compared with stands below it."""
    first, last = section.words[0], len(section.header) - section.words[1]
    body = [[_names(row[:first]), *(Entry(*place) for place in row[first:last])] for row in section.rows]
    caption = f"Study {report.name}: {section.title}."
    return _tables(1, [section.header[0], *section.header[first:last]], body, caption)


def _names(places: Sequence[tuple[str, str]]) -> Entry:
    (cell, said), *others = places
    against = [f"against {' '.join(filter(None, (name, kind and f'({kind})')))}" for name, kind in others]
    return Entry(cell, "; ".join(part for part in (*against, said) if part))


def _tables(words: int, header: Sequence[str], body: Sequence[Sequence[Entry]], caption: str) -> list[str]:
    """One table, or several of about as many columns each, as few as fit."""
    others = max(1, len(header) - words)
    step = math.ceil(others / _needed(words, header, body))
    lines = []
    for start in range(words, words + others, step):
        shown = [*range(words), *range(start, min(start + step, len(header)))]
        rows = [line for row in body for line in _lines([row[column] for column in shown])]
        columns = "l" * words + "r" * (len(shown) - words)
        lines += [*_table(columns, _head([header[column] for column in shown]), rows, caption), ""]
    return lines


def _needed(words: int, header: Sequence[str], body: Sequence[Sequence[Entry]]) -> int:
    """Tables, by the characters of the columns."""
    widths = [max([HEADING / 2, *(row[column].width for row in body)]) + 2 for column in range(len(header))]
    room = max(WIDTH - sum(widths[:words]), *widths[words:], 1)
    count, taken, columns = 1, 0.0, words
    for width in widths[words:]:
        if taken + width > room or columns == MOST_COLUMNS:
            count, taken, columns = count + 1, 0.0, words
        taken, columns = taken + width, columns + 1
    return count


def _lines(row: Sequence[Entry]) -> list[str]:
    """A row, and if there is something to say below its values, a line of that."""
    values = [rf"\textbf{{{escape(one.value)}}}" if one.best and one.value else escape(one.value) for one in row]
    below = [rf"{{\scriptsize {escape(one.below)}}}" if one.below else "" for one in row]
    lines = [" & ".join(values) + NEWLINE]
    return lines + [" & ".join(below) + NEWLINE + "[0.5ex]"] * any(below)


def _head(header: Sequence[str]) -> list[str]:
    """Headings as narrow as they can be, their last lines side by side."""
    wrapped = [textwrap.wrap(unbroken(name), HEADING, break_long_words=False) or [""] for name in header]
    height = max(map(len, wrapped))
    padded = [[""] * (height - len(lines)) + [escape(line) for line in lines] for lines in wrapped]
    return [" & ".join(line) + NEWLINE for line in zip(*padded, strict=True)]


def _table(columns: str, head: Sequence[str], rows: Sequence[str], caption: str) -> list[str]:
    inner = [r"\toprule", *head, r"\midrule"]
    if len(rows) > LONG:
        opening = [rf"\begin{{longtable}}{{{columns}}}", rf"\caption{{{escape(caption)}}}" + NEWLINE]
        return [*opening, *inner, r"\endhead", *rows, r"\bottomrule", r"\end{longtable}"]
    opening = [
        r"\begin{table}",
        r"\centering",
        r"\footnotesize",
        rf"\caption{{{escape(caption)}}}",
        r"\smallskip",
        FITTED,
    ]
    tabular = [rf"\begin{{tabular}}{{{columns}}}", *inner, *rows, r"\bottomrule", r"\end{tabular}}"]
    return [*opening, *tabular, r"\end{table}"]

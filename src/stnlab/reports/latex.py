"""The results for a paper: LaTeX tables in the style of booktabs."""

import math
import textwrap
from collections.abc import Sequence

from stnlab.reports.families import families
from stnlab.reports.measures import Measure
from stnlab.reports.pivot import Grid, Place, grid_texts
from stnlab.reports.sections import Section, comparisons
from stnlab.reports.study import Report
from stnlab.reports.tables import best_cells, numbers, own_columns
from stnlab.reports.wording import unbroken

Entry = tuple[str, str]
"""A value, and what stands small below it, both as LaTeX."""

MOST_COLUMNS = 7
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
    body = [[*(_entry(name, "") for name in row), *(_place(one, several) for one in shown)] for row, shown in texts]
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
    return _entry(place.value, "; ".join(part for part in said if part), place.best)


def _entry(value: str, below: str, best: bool = False) -> Entry:
    return (rf"\textbf{{{escape(value)}}}" if best else escape(value)), escape(below)


def _whole_table(report: Report) -> list[str]:
    own, marked = own_columns(report), best_cells(report)
    body = []
    for number, row in enumerate(report.rows):
        values = numbers(row)
        entries = [_entry(*values[name], best=bool(values[name][0]) and number in marked.get(name, ())) for name in own]
        body.append([_entry(row.cell.name, ""), *entries])
    caption = f"Study {report.name}: means over n seeds; 95% intervals of error and ECE; gap in points."
    return _tables(1, ["cell", *own], body, caption)


def _section_tables(report: Report, section: Section) -> list[str]:
    header, body = list(section.header), [[_entry(*place) for place in row] for row in section.rows]
    if section.words[1]:  # words at the end, a verdict: too wide for a column of a paper
        header, body = header[: -section.words[1]], [row[: -section.words[1]] for row in body]
    return _tables(section.words[0], header, body, f"Study {report.name}: {section.title}.")


def _tables(words: int, header: Sequence[str], body: Sequence[Sequence[Entry]], caption: str) -> list[str]:
    """One table, or several of about as many columns each, as few as fit."""
    most, others = max(1, MOST_COLUMNS - words), max(1, len(header) - words)
    step = math.ceil(others / math.ceil(others / most))
    lines = []
    for start in range(words, words + others, step):
        shown = [*range(words), *range(start, min(start + step, len(header)))]
        rows = [line for row in body for line in _lines([row[column] for column in shown])]
        columns = "l" * words + "r" * (len(shown) - words)
        lines += [*_table(columns, _head([header[column] for column in shown]), rows, caption), ""]
    return lines


def _lines(row: Sequence[Entry]) -> list[str]:
    """A row, and if there is something to say below its values, a line of that."""
    below = [rf"{{\scriptsize {text}}}" if text else "" for _, text in row]
    lines = [" & ".join(value for value, _ in row) + NEWLINE]
    return lines + [" & ".join(below) + NEWLINE + "[0.5ex]"] * any(below)


def _head(header: Sequence[str]) -> list[str]:
    """Headings as narrow as they can be, their last lines side by side."""
    wrapped = [textwrap.wrap(unbroken(name), HEADING) or [""] for name in header]
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

"""The results for a paper: LaTeX tables in the style of booktabs."""

import math
from collections.abc import Sequence

from stnlab.reports.families import families
from stnlab.reports.measures import Measure
from stnlab.reports.pivot import Grid, Place, grid_texts
from stnlab.reports.sections import Section, comparisons
from stnlab.reports.study import Report
from stnlab.reports.tables import best_cells, numbers, own_columns

MOST_COLUMNS = 7
LONG = 45
"""Rows from which on a table does not fit a page and becomes a longtable."""
ESCAPES = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
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
    for section in (comparisons(report), *families(report)):
        lines += _section_tables(report, section) if section else []
    return "\n".join([*lines, ""]).encode()


def _grid_table(report: Report, grid: Grid, measure: Measure) -> list[str]:
    header = [*map(escape, grid.down), *(escape(" ".join(column)) for column in grid.columns)]
    body = [[*map(escape, row), *map(_place, places)] for row, places in grid_texts(report, grid, measure)]
    texts = [place.span for _, places in grid_texts(report, grid, measure) for place in places if place.span]
    ranges, own = (any(text.startswith("runs") == kind for text in texts) for kind in (True, False))
    spans = (", 95% interval" if own else "") + (", range of the runs" if ranges else "")
    caption = f"Study {report.name}: {measure.heading}, mean over seeds{spans}."
    return _tables(len(grid.down), header, body, caption)


def _place(place: Place) -> str:
    value = rf"\textbf{{{escape(place.value)}}}" if place.best else escape(place.value)
    return (value + (rf" {{\scriptsize ({escape(place.inside)})}}" if place.inside else "")).strip()


def _whole_table(report: Report) -> list[str]:
    own, marked = own_columns(report), best_cells(report)
    body = []
    for number, row in enumerate(report.rows):
        cells, values = [escape(row.cell.name)], numbers(row)
        for column in own:
            strong = bool(values[column][0]) and number in marked.get(column, ())
            cells.append(_place(Place(*values[column], best=strong)))
        body.append(cells)
    caption = f"Study {report.name}: means over n seeds; 95% intervals of error and ECE; gap in points."
    return _tables(1, [escape(name) for name in ("cell", *own)], body, caption)


def _section_tables(report: Report, section: Section) -> list[str]:
    header = [escape(name) for name in section.header]
    body = [[_place(Place(value, span)) for value, span in row] for row in section.rows]
    if section.words[1]:  # words at the end, a verdict: too wide for a column of a paper
        header, body = header[: -section.words[1]], [row[: -section.words[1]] for row in body]
    return _tables(section.words[0], header, body, f"Study {report.name}: {section.title}.")


def _tables(words: int, header: Sequence[str], body: Sequence[Sequence[str]], caption: str) -> list[str]:
    """One table, or several of about as many columns each, as few as fit."""
    most, others = max(1, MOST_COLUMNS - words), max(1, len(header) - words)
    step = math.ceil(others / math.ceil(others / most))
    lines = []
    for start in range(words, words + others, step):
        shown = [*range(words), *range(start, min(start + step, len(header)))]
        rows = [[row[column] for column in shown] for row in body]
        columns = "l" * words + "r" * (len(shown) - words)
        lines += [*_table(columns, [header[column] for column in shown], rows, caption), ""]
    return lines


def _table(columns: str, header: Sequence[str], body: Sequence[Sequence[str]], caption: str) -> list[str]:
    rows = [" & ".join(cells) + NEWLINE for cells in body]
    head = " & ".join(header) + NEWLINE
    if len(rows) > LONG:
        opening = [rf"\begin{{longtable}}{{{columns}}}", rf"\caption{{{escape(caption)}}}" + NEWLINE]
        return [*opening, r"\toprule", head, r"\midrule", r"\endhead", *rows, r"\bottomrule", r"\end{longtable}"]
    opening = [r"\begin{table}", r"\centering", r"\footnotesize", rf"\caption{{{escape(caption)}}}"]
    inner = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule"]
    return [*opening, FITTED, *inner, r"\end{tabular}}", r"\end{table}"]

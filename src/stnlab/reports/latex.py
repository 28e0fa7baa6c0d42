"""The results for a paper: LaTeX tables in the style of booktabs."""

from collections.abc import Sequence

from stnlab.reports import wording
from stnlab.reports.measures import Measure
from stnlab.reports.pivot import Grid, Place, grid_texts
from stnlab.reports.study import Report
from stnlab.reports.tables import NUMBERS, best_cells, numbers

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
    "\N{MULTIPLICATION SIGN}": r"$\times$",
}
NEWLINE = r" \\"


def escape(text: str) -> str:
    """Text as LaTeX prints it, whatever it says; characters that pdfLaTeX does not know are written out."""
    return "".join(ESCAPES.get(sign, sign if sign.isascii() else rf"\symbol{{{ord(sign)}}}") for sign in text)


def to_latex(report: Report, grid: Grid | None, measures: Sequence[Measure]) -> bytes:
    """A grid for each measure, if there is a grid, then everything in one table. The best is bold."""
    lines = [r"% Needs \usepackage{booktabs} and, for long tables, \usepackage{longtable}.", ""]
    for measure in measures if grid else ():
        lines += _grid_table(report, grid, measure) if grid else []
    return "\n".join([*lines, *_whole_table(report), ""]).encode()


def _grid_table(report: Report, grid: Grid, measure: Measure) -> list[str]:
    header = [*map(escape, grid.down), *(escape(" ".join(column)) for column in grid.columns)]
    body = [[*map(escape, row), *map(_place, places)] for row, places in grid_texts(report, grid, measure)]
    caption = f"Study {report.name}: {measure.heading}, mean over seeds with its 95% interval."
    return [*_table("l" * len(grid.down) + "r" * len(grid.columns), header, body, caption), ""]


def _place(place: Place) -> str:
    value = rf"\textbf{{{escape(place.value)}}}" if place.best else escape(place.value)
    return (value + (rf" {{\scriptsize ({escape(place.inside)})}}" if place.inside else "")).strip()


def _whole_table(report: Report) -> list[str]:
    marked = best_cells(report)
    body = []
    for number, row in enumerate(report.rows):
        cells = [escape(value) for value in row.cell.labels.values()]
        for column, (value, span) in zip(NUMBERS, numbers(row), strict=True):
            strong = bool(value) and number in marked.get(column, ())
            cells.append(_place(Place(value, span, best=strong)))
        body.append(cells)
    header = [escape(name) for name in [*report.columns, *NUMBERS]]
    caption = " ".join([f"Study {report.name}.", *wording.coverage(report)])
    return _table("l" * len(report.columns) + "r" * len(NUMBERS), header, body, caption)


def _table(columns: str, header: Sequence[str], body: Sequence[Sequence[str]], caption: str) -> list[str]:
    rows = [" & ".join(cells) + NEWLINE for cells in body]
    head = " & ".join(header) + NEWLINE
    if len(rows) > LONG:
        opening = [rf"\begin{{longtable}}{{{columns}}}", rf"\caption{{{escape(caption)}}}" + NEWLINE]
        return [*opening, r"\toprule", head, r"\midrule", r"\endhead", *rows, r"\bottomrule", r"\end{longtable}"]
    opening = [r"\begin{table}", r"\centering", r"\small", rf"\caption{{{escape(caption)}}}"]
    inner = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule"]
    return [*opening, *inner, r"\end{tabular}", r"\end{table}"]

"""Run directories to tables, comparisons and pages. Imports no torch."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from stnlab.errors import StnlabError
from stnlab.reports import claims
from stnlab.reports.beside import beside_papers
from stnlab.reports.latex import to_latex
from stnlab.reports.measures import check_measures, measure_called
from stnlab.reports.options import DEFAULT, Options
from stnlab.reports.papers import read_papers
from stnlab.reports.pivot import grid
from stnlab.reports.study import Report, read_study
from stnlab.reports.tables import print_grid, print_table, to_csv, to_markdown
from stnlab.runs.files import UnwritableError, remove_unfinished, write_bytes

__all__ = ["Options", "Report", "print_report", "read_study", "write_report"]

PIPED = 150
"""Columns of what goes into a file or a pipe: no window there to fit into."""


def write_report(studies: Path | Sequence[Path], options: Options = DEFAULT) -> Report:
    """Write `results.csv`, `results.md`, `results.tex`, `index.html`, `figures/` and, if papers claim something of its
    cells, `claims.csv`, no file by halves, into `report/` of the first study or `options.output`; with `options.runs` a
    page for each run into its `runs/`.

    Raises StnlabError if there is no such study or baseline, or the folder cannot be written.
    """
    if options.output:
        _check_output(options.output)
    try:
        return _written(studies, options)
    except UnwritableError as error:
        elsewhere = "" if options.output else "; output=<folder> writes the report elsewhere"
        raise StnlabError(f"{error}{elsewhere}") from error


def _written(studies: Path | Sequence[Path], options: Options) -> Report:
    papers = read_papers(options.papers)
    report = read_study(studies, options.baseline, options.output)
    beside = beside_papers(report, papers)
    report = replace(report, beside=beside)
    layout, measures = grid(report, options), [measure_called(name) for name in options.shown]
    check_measures(report, options.shown)
    from stnlab.reports.page import to_page
    from stnlab.reports.pictures import draw
    from stnlab.reports.run_page import write_run_pages

    try:
        report.folder.mkdir(parents=True, exist_ok=True)
        folders = (report.folder / name for name in ("", "figures", "cache", "runs"))
        remove_unfinished(*folders, seconds=3600)
        pictures = draw(report, report.folder / "figures", options.cells, options.pdf)
        pages = write_run_pages(report, report.folder / "runs", options.runs)
        write_bytes(report.folder / "results.csv", to_csv(report))
        if beside.decided:
            write_bytes(report.folder / "claims.csv", claims.to_csv(beside.decided))
        else:
            (report.folder / "claims.csv").unlink(missing_ok=True)
        write_bytes(report.folder / "results.md", to_markdown(report, layout, measures))
        write_bytes(report.folder / "results.tex", to_latex(report, layout, measures))
        write_bytes(report.folder / "index.html", to_page(report, pictures, layout, measures, pages, options))
    except OSError as error:
        raise UnwritableError(f"{report.folder}: cannot be written ({error})") from error
    return report


def _check_output(folder: Path) -> None:
    """Old figures are removed there: it must be new, empty or a report's."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / "results.csv").exists())):
        raise StnlabError(f"output={folder}: is no report and not empty; name a new folder")


def print_report(report: Report, console: Console | None = None, options: Options = DEFAULT) -> None:
    """The grids, if rows, columns or measures were asked for; the table, the findings and where the page is."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, PIPED)
    if options.lays_out and (layout := grid(report, options)):
        for name in options.shown:
            print_grid(report, layout, measure_called(name), console)
    print_table(report, console)
    for sentence in report.beside.summaries if report.beside else ():
        console.print(sentence, markup=False, highlight=False)
    console.print(f"page: {report.folder / 'index.html'}", markup=False, soft_wrap=True, highlight=False)

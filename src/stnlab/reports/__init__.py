"""Run directories to tables, comparisons and pages. Imports no torch."""

from pathlib import Path

from rich.console import Console

from stnlab.errors import StnlabError
from stnlab.reports.study import Report, read_study
from stnlab.reports.tables import print_table, to_csv, to_markdown
from stnlab.runs.files import write_bytes

__all__ = ["Report", "print_report", "read_study", "write_report"]

PIPED = 140
"""Columns of what goes into a file or a pipe: no window there to fit into."""


def write_report(study: Path, baseline: str | None = None) -> Report:
    """Write `results.csv`, `results.md`, `index.html` and `figures/` into `<study>/report/`, no file by halves.

    baseline: what cells are compared with, like `placement=none` (the default) or `placement=deep,placement.depth=1`.
    Raises StnlabError if there is no such study or baseline, or the folder cannot be written.
    """
    report = read_study(study, baseline)
    from stnlab.reports.page import to_page
    from stnlab.reports.pictures import draw

    try:
        pictures = draw(report, report.folder / "figures")
        write_bytes(report.folder / "results.csv", to_csv(report))
        write_bytes(report.folder / "results.md", to_markdown(report))
        write_bytes(report.folder / "index.html", to_page(report, pictures))
    except OSError as error:
        raise StnlabError(f"{report.folder}: cannot be written ({error})") from error
    return report


def print_report(report: Report, console: Console | None = None) -> None:
    """The table, the findings and where the page is, for the terminal."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, PIPED)
    print_table(report, console)
    console.print(f"page: {report.folder / 'index.html'}", markup=False, soft_wrap=True, highlight=False)

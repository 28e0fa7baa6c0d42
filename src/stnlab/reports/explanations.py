"""The catalogue of metrics as a table for the terminal."""

from rich.console import Console
from rich.table import Table

from stnlab.evaluation.catalogue import PLACES, ROWS

PIPED = 200
"""Columns of what goes into a file or a pipe: no window there to fit into."""


def print_explanations(console: Console | None = None) -> None:
    """Every name in `metrics.json`, its unit or range, what it means, and its source."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, PIPED)
    table = Table(title="metrics.json")
    table.add_column("name", overflow="fold", no_wrap=not console.is_terminal)
    for heading in ("unit or range", "what it is", "source"):
        table.add_column(heading)
    for row in ROWS:
        table.add_row(row.pattern, row.unit, row.meaning, row.source)
    console.print(table, markup=False)
    used = [place for place in PLACES if any(f"<{place}>" in row.pattern for row in ROWS)]
    for place in used:
        console.print(f"<{place}>: {PLACES[place][1]}", markup=False, highlight=False)

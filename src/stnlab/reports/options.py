"""The command line of a report: studies, then options that read `key=value`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stnlab.errors import StnlabError, nearest

USAGE = "python -m stnlab.report runs/<study> [more studies] [rows=placement columns=data] [baseline=placement=none]"
HELP = """\
rows, columns   what varies and is laid out in rows and columns, like rows=placement,transform columns=data
measures        names of metrics.json for the grid: measures=invariance/rotation/accuracy (default test/error,test/ece)
baseline        the cell that others are compared with, like placement=deep,placement.depth=1 (default placement=none)
cells           whose figures are drawn: cells=placement=input, or cells=all (default: baselines and best, 12 in all)
papers          a folder of your own: <paper>/published.yaml and claims.yaml, as in stnlab/reports/papers
output          the folder that is written (default: report/ in the first study)
--runs          a page for each run too; one that is up to date is left alone
--pdf           each figure as PDF too, for LaTeX"""
DEFAULT_MEASURES = ("test/error", "test/ece")


@dataclass(frozen=True)
class Options:
    """What the user wants to be different. rows, columns, measures: empty is chosen automatically."""

    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    baseline: str | None = None
    cells: str | None = None
    papers: Path | None = None
    output: Path | None = None
    runs: bool = False
    pdf: bool = False

    @property
    def lays_out(self) -> bool:
        """Whether the user said what to show of which cells where."""
        return bool(self.rows or self.columns or self.measures)

    @property
    def shown(self) -> tuple[str, ...]:
        """The measures of the grid."""
        return self.measures or DEFAULT_MEASURES


DEFAULT = Options()
KEYS = ("rows", "columns", "measures", "baseline", "cells", "papers", "output")
FLAGS = ("--runs", "--pdf")


def parse(arguments: Sequence[str]) -> tuple[list[Path], Options]:
    """Studies and options. Raises StnlabError, one line, for anything else."""
    studies: list[Path] = []
    given: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if argument in FLAGS:
            continue
        if argument.startswith("-"):
            raise StnlabError(f"{argument}: no such option{nearest(argument, (*FLAGS, '--metrics'))}")
        if not equals or Path(argument).is_dir():
            studies.append(Path(argument))
        elif key not in KEYS:
            raise StnlabError(f"{argument}: no such option{nearest(key, KEYS)}")
        elif key in given:
            raise StnlabError(f"{key}= is given twice: {given[key]} and {value}")
        elif not value:
            raise StnlabError(f"{argument}: needs a value; {USAGE}")
        else:
            given[key] = value
    if not studies:
        raise StnlabError(f"a path comes first: {USAGE}")
    lists = {key: tuple(given.pop(key).split(",")) for key in ("rows", "columns", "measures") if key in given}
    paths = {key: Path(given.pop(key)) for key in ("papers", "output") if key in given}
    flags = {flag.removeprefix("--"): flag in arguments for flag in FLAGS}
    return studies, Options(**lists, **given, **paths, **flags)  # type: ignore[arg-type]


def arguments(options: Options) -> list[str]:
    """What `parse` reads these from."""
    lists = {"rows": options.rows, "columns": options.columns, "measures": options.measures}
    said = [f"{key}={','.join(values)}" for key, values in lists.items() if values]
    single = {
        "baseline": options.baseline,
        "cells": options.cells,
        "papers": options.papers,
        "output": options.output,
    }
    said += [f"{key}={value}" for key, value in single.items() if value is not None]
    return said + ["--runs"] * options.runs + ["--pdf"] * options.pdf

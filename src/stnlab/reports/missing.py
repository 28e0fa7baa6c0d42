"""What a study lacks: runs that a sweep asked for, seeds that other cells have, and combinations of its choices that no
run is of."""

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from pathlib import Path

from stnlab.reports.cells import ABSENT, Cell, Labels
from stnlab.runs.plan import Planned

MOST_COMBINATIONS = 20_000
DIGITS = 8
"""Of the digest at the end of a run's name."""


def not_started(study: Path, planned: Mapping[str, Planned]) -> list[str]:
    """Of the names of planned runs those that have no directory; found by digest if the readable part has changed.

    After a name whose readable part other planned runs have too: those of its arguments that not all of them have.
    """
    there = {path.parent.name[-DIGITS:] for path in study.glob("*/run.json")}
    alike: dict[str, list[set[str]]] = {}
    for name, run in planned.items():
        alike.setdefault(name[:-DIGITS], []).append(set(run.arguments))
    shared = {readable: set.intersection(*arguments) for readable, arguments in alike.items()}
    return [
        " ".join([name, *(one for one in run.arguments if one not in shared[name[:-DIGITS]])])
        for name, run in planned.items()
        if name[-DIGITS:] not in there
    ]


def missing_seeds(cells: Sequence[Cell]) -> list[list[int]]:
    """For each cell the seeds that some cell has a run with, finished or not, and this one has none."""
    every = sorted({run.seed for cell in cells for run in cell.runs})
    return [[seed for seed in every if seed not in {run.seed for run in cell.runs}] for cell in cells]


def missing_cells(cells: Sequence[Cell]) -> list[Labels]:
    """Combinations of what varies that no run is of, although nothing speaks against them: a choice that goes without
    another (no transformer, so no transform) goes without it everywhere, and a value of a choice is that choice's own.

    Values as cells show them. Empty where the study is no grid: where more is missing than there is.
    """
    if any(one.startswith("cells=") for cell in cells for run in cell.runs for one in run.info.get("overrides") or ()):
        return []  # a study of named cells is none
    columns = list(cells[0].shown) if cells else []
    values = {column: list(dict.fromkeys(cell.shown[column] for cell in cells)) for column in columns}
    if prod(len(found) for found in values.values()) > MOST_COMBINATIONS:
        return []
    seen = {tuple(cell.shown.values()) for cell in cells}
    fits = _compatible(cells, columns)
    lacking = [
        dict(zip(columns, one, strict=True))
        for one in product(*values.values())
        if one not in seen and all((a, b, one[a], _kind(columns, a, b, one[b])) in fits for a, b in _pairs(columns))
    ]
    return lacking if len(lacking) <= len(cells) else []


def _compatible(cells: Sequence[Cell], columns: Sequence[str]) -> set[tuple[int, int, str, str]]:
    """(column, other column, value, kind of the other's value) that occur together."""
    rows = [list(cell.shown.values()) for cell in cells]
    return {(a, b, row[a], _kind(columns, a, b, row[b])) for a, b in _pairs(columns) for row in rows}


def _kind(columns: Sequence[str], a: int, b: int, value: str) -> str:
    """Whether there is a value; the value itself where it is one of that choice (`recipe.lr` of `recipe`)."""
    if value == ABSENT or columns[b].startswith(columns[a] + "."):
        return value
    return ""


def _pairs(columns: Sequence[str]) -> list[tuple[int, int]]:
    return [(a, b) for a in range(len(columns)) for b in range(len(columns)) if a != b]

"""Which cell another is compared with: one that is what was asked for and otherwise the same."""

from collections.abc import Sequence

import numpy as np

from stnlab.errors import StnlabError
from stnlab.reports.cells import ABSENT, Cell, value_at

DEFAULT = "placement=none"

Wanted = dict[str, str]
"""Column -> value: what makes a cell a baseline."""


def wanted_baseline(cells: Sequence[Cell], baseline: str | None) -> Wanted | None:
    """Read `placement=none` or `placement=deep,placement.depth=1`; None means no transformer, if there is such a cell.

    Raises StnlabError if it is no such text or no cell is what it asks for.
    """
    wanted = conditions("baseline", baseline if baseline is not None else DEFAULT)
    if any(fits(cell, wanted) for cell in cells):
        return wanted
    if baseline is None:
        return None
    known = {column: sorted({value_at(cell.config, column) for cell in cells} - {ABSENT}) for column in wanted}
    choices = [f"{column} is {' or '.join(values)}" if values else f"no {column}" for column, values in known.items()]
    raise StnlabError(f"baseline={baseline}: no run of this study is that; it has {', '.join(choices)}")


def conditions(option: str, text: str) -> Wanted:
    """`placement=deep,placement.depth=1` as columns and values. Raises StnlabError, which names the option."""
    pairs = [term.strip().partition("=") for term in text.split(",")]
    if not all(column and value for column, _, value in pairs):
        raise StnlabError(f"{option}={text}: must read like placement=none or placement=deep,placement.depth=1")
    return {column: value for column, _, value in pairs}


def fits(cell: Cell, wanted: Wanted) -> bool:
    """Whether a cell is what the conditions ask for."""
    return all(value_at(cell.config, column) == value for column, value in wanted.items())


def baseline_of(cell: Cell, cells: Sequence[Cell], wanted: Wanted) -> Cell | str:
    """The one baseline that is otherwise the same and was tested on the same images, or in words why there is none.

    Otherwise the same: in all groups that both have (a network without transformer has no `transform`), except those
    that `wanted` is about.
    """
    candidates = [other for other in cells if fits(other, wanted) and _otherwise_same(cell, other, wanted)]
    usable = [other for other in candidates if other.finished]
    if not candidates:
        return "no baseline is otherwise the same"
    if not usable:
        return f"its baseline {candidates[0].name} has no results"
    if len(usable) > 1:
        return f"more than one baseline fits ({', '.join(other.name for other in usable)})"
    own, other = cell.outcomes, usable[0].outcomes
    if own and other and not np.array_equal(own.indices, other.indices):
        return f"its baseline {usable[0].name} was tested on other images"
    if own and other and not set(own.seeds) & set(other.seeds):
        return f"it shares no seed with its baseline {usable[0].name}"
    return usable[0]


def _otherwise_same(cell: Cell, other: Cell, wanted: Wanted) -> bool:
    asked = {column.partition(".")[0] for column in wanted}
    shared = (set(cell.config) & set(other.config)) - asked - {"seed", "choices"}
    return all(cell.config[group] == other.config[group] for group in shared)

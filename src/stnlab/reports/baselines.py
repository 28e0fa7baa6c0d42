"""Which cells another is compared with: one that is what was asked for and otherwise the same, and if that is smaller,
one of as many parameters."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stnlab.errors import StnlabError
from stnlab.reports.cells import ABSENT, Cell, value_at
from stnlab.runs.identity import canonical

DEFAULT = "placement=none"

AS_LARGE = (0.95, 1.25)
"""Parameters of a control, relative to those of the network it is the control of: about as many, or somewhat more."""

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


@dataclass(frozen=True)
class Partners:
    """What a cell is compared with, by number: its baseline, or in words (`reason`) why it has none, and a control."""

    baseline: int | None = None
    reason: str | None = None
    control: int | None = None


def partners_of(cells: Sequence[Cell], wanted: Wanted | None) -> list[Partners]:
    """Of each cell. A baseline is compared with nothing, unless it is only a control: that with the baseline of what it
    is the control of."""
    numbers = {id(cell): number for number, cell in enumerate(cells)}
    found = [Partners() for _ in cells]
    if wanted is None:
        return found
    for number, cell in enumerate(cells):
        if not cell.finished or fits(cell, wanted):
            continue
        baseline = baseline_of(cell, cells, wanted)
        if isinstance(baseline, str):
            found[number] = Partners(reason=baseline)
            continue
        control = control_of(cell, baseline, cells, wanted)
        found[number] = Partners(numbers[id(baseline)], control=numbers[id(control)] if control else None)
    baselines = {one.baseline for one in found}
    for one in list(found):
        if one.control is not None and one.control not in baselines:
            found[one.control] = Partners(one.baseline)
    return found


def conditions(option: str, text: str) -> Wanted:
    """`placement=none,backbone.channels=[24,44]` as columns and values. Raises StnlabError, which names the option."""
    pairs = [term.strip().partition("=") for term in re.split(r",(?![^\[]*\])", text)]
    if not all(column and value for column, _, value in pairs):
        raise StnlabError(f"{option}={text}: must read like placement=none or placement=deep,placement.depth=1")
    return {column: value for column, _, value in pairs}


def fits(cell: Cell, wanted: Wanted) -> bool:
    """Whether a cell is what the conditions ask for."""
    return all(_spaceless(value_at(cell.config, column)) == _spaceless(value) for column, value in wanted.items())


def _spaceless(value: str) -> str:
    return value.replace(" ", "")


def baseline_of(cell: Cell, cells: Sequence[Cell], wanted: Wanted) -> Cell | str:
    """The one baseline that is otherwise the same and was tested on the same images, or in words why there is none.

    Otherwise the same: in all groups that both have (a network without transformer has no `transform`), except those
    that `wanted` is about.
    """
    asked = {column.partition(".")[0] for column in wanted}
    candidates = [other for other in cells if fits(other, wanted) and _otherwise_same(cell, other, asked)]
    usable = [other for other in candidates if other.finished]
    if not candidates:
        return "no baseline is otherwise the same"
    if not usable:
        return f"its baseline {candidates[0].name} has no results"
    if len(usable) > 1:
        return f"more than one baseline fits ({', '.join(other.name for other in usable)})"
    return _unpaired(cell, usable[0]) or usable[0]


def control_of(cell: Cell, baseline: Cell, cells: Sequence[Cell], wanted: Wanted) -> Cell | None:
    """Where the baseline is smaller: a cell that is what was asked for, with a backbone of its own that makes it about
    as large as this one, tested on the same images and otherwise the same. Of several the most alike in size.

    A transformer brings parameters; without them, what it gains might be theirs.
    """
    asked = {column.partition(".")[0] for column in wanted}
    size = cell.parameters
    if size is None or baseline.parameters is None or baseline.parameters >= AS_LARGE[0] * size:
        return None
    found = [
        (abs(other.parameters - size), number)
        for number, other in enumerate(cells)
        if other.parameters is not None
        and AS_LARGE[0] * size <= other.parameters <= AS_LARGE[1] * size
        and fits(other, wanted)
        and _otherwise_same(cell, other, asked | {"backbone"})
        and not _unpaired(cell, other)
    ]
    return cells[min(found)[1]] if found else None


def _unpaired(cell: Cell, baseline: Cell) -> str:
    """In words, why results of two cells cannot be compared image by image and seed by seed; empty if they can."""
    own, other = cell.outcomes, baseline.outcomes
    if own and other and not np.array_equal(own.indices, other.indices):
        return f"its baseline {baseline.name} was tested on other images"
    if own and other and not set(own.seeds) & set(other.seeds):
        return f"it shares no seed with its baseline {baseline.name}"
    return ""


def _otherwise_same(cell: Cell, other: Cell, asked: set[str]) -> bool:
    """In all groups that both have but those that were asked for."""
    shared = (set(cell.config) & set(other.config)) - asked - {"seed", "choices"}
    return all(canonical(cell.config[group]) == canonical(other.config[group]) for group in shared)

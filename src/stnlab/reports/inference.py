"""Intervals of cells and comparisons of pairs of them: what a report computes rather than reads, kept in a file.

A study of hundreds of runs takes a while to resample, and its next report mostly says the same.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from stnlab.evaluation import (
    CalibrationDifference,
    Comparison,
    Interval,
    Outcomes,
    Reduction,
    compare,
    compare_ece,
    error_reductions,
    holm,
    intervals,
    resample,
)
from stnlab.reports.cells import Cell
from stnlab.reports.kept import digest, read_kept
from stnlab.runs.files import write_json

Known = dict[str, dict[str, Any]]
Pair = tuple[int, int]


@dataclass(frozen=True)
class CellIntervals:
    """95% intervals of the mean over a cell's seeds."""

    error: Interval
    ece: Interval


@dataclass(frozen=True)
class PairFindings:
    """A cell against another: difference and relative reduction of the error, difference of the ECE."""

    error: Comparison
    reduction: Reduction | None
    ece: CalibrationDifference


def infer(
    cells: Sequence[Cell], pairs: Collection[Pair], cache: Path | None = None
) -> tuple[dict[int, CellIntervals], dict[Pair, PairFindings]]:
    """Intervals by number of the cell, for cells with results; findings of each pair (cell, what it is compared with).

    cache: a JSON file of what an earlier report found of the same results with the same code; read if it is there,
    and written. p-values are corrected for all comparisons of each kind together.
    """
    keys = {id(cell): _key(cell) for cell in cells}
    names = {(number, other): f"{keys[id(cells[number])]}|{keys[id(cells[other])]}" for number, other in pairs}
    known = read_kept(cache)
    wanted = {number for number, cell in enumerate(cells) if cell.finished and keys[id(cell)] not in known}
    lacking = {pair for pair, name in names.items() if name not in known}
    for together in _same_images(cells, wanted | {number for pair in lacking for number in pair}):
        known |= _computed(cells, together, [pair for pair in lacking if pair[0] in together], keys, names)
    used = {key: known[key] for key in [*keys.values(), *names.values()] if key in known}
    if cache and (wanted or lacking):
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_json(cache, used)
    found = {number: _intervals(used[keys[id(cell)]]) for number, cell in enumerate(cells) if cell.finished}
    return found, _corrected({pair: _findings(used[name]) for pair, name in names.items()})


def _same_images(cells: Sequence[Cell], numbers: set[int]) -> list[dict[int, Outcomes]]:
    """Cells that are resampled together, because they were tested on the same images."""
    groups: dict[bytes, dict[int, Outcomes]] = defaultdict(dict)
    for number in sorted(numbers):
        if outcomes := cells[number].outcomes:
            groups[outcomes.indices.tobytes()][number] = outcomes
    return list(groups.values())


def _computed(
    cells: Sequence[Cell],
    together: Mapping[int, Outcomes],
    pairs: Sequence[Pair],
    keys: Mapping[int, str],
    names: Mapping[Pair, str],
) -> Known:
    sums = dict(zip(together, resample(list(together.values())), strict=True))
    found = intervals(list(together.values()), list(sums.values()))
    known: Known = {
        keys[id(cells[number])]: asdict(CellIntervals(*ends)) for number, ends in zip(together, found, strict=True)
    }
    both = [(together[a], together[b]) for a, b in pairs]
    drawn = [(sums[a], sums[b]) for a, b in pairs]
    compared = zip(compare(both), error_reductions(both, drawn), compare_ece(both, drawn), strict=True)
    return known | {names[pair]: asdict(PairFindings(*one)) for pair, one in zip(pairs, compared, strict=True)}


def _corrected(found: dict[Pair, PairFindings]) -> dict[Pair, PairFindings]:
    """With Holm's correction for everything that this report compares."""
    errors = holm([one.error.p for one in found.values()])
    eces = holm([one.ece.p for one in found.values()])
    return {
        pair: replace(one, error=replace(one.error, p_holm=first), ece=replace(one.ece, p_holm=second))
        for (pair, one), first, second in zip(found.items(), errors, eces, strict=True)
    }


def _key(cell: Cell) -> str:
    return digest([run.made_of for run in cell.finished])


def _intervals(known: Mapping[str, Any]) -> CellIntervals:
    return CellIntervals(Interval(**known["error"]), Interval(**known["ece"]))


def _findings(known: Mapping[str, Any]) -> PairFindings:
    reduction = Reduction(**known["reduction"]) if known["reduction"] else None
    return PairFindings(Comparison(**known["error"]), reduction, CalibrationDifference(**known["ece"]))

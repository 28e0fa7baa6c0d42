"""What papers claim, decided by a study: supported, contradicted or undecided; with effect, interval, corrected p."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Literal

import numpy as np

from stnlab.evaluation import Comparison, holm
from stnlab.evaluation.comparisons import contrast, contrast_of_runs
from stnlab.reports import wording
from stnlab.reports.baselines import fits
from stnlab.reports.cells import Cell, flat, value_at
from stnlab.reports.measures import measure_called
from stnlab.reports.papers import Claim, Paper
from stnlab.reports.sections import Section
from stnlab.reports.study import Report

ERROR = {"test/error": 1.0}
CSV_COLUMNS = ["paper", "claim", "source", "verdict", "plus", "minus", "measure", "effect", "low", "high", "claimed"]
CSV_COLUMNS += ["p", "p_holm", "test", "seeds", "reason"]


@dataclass(frozen=True)
class Decision:
    """A claim tested on cells, which take their places in `plus` and `minus` in that order. found: None if it could not
    be tested, which reason says in words."""

    claim: Claim
    cells: tuple[Cell, ...]
    found: Comparison | None
    reason: str = ""

    @property
    def verdict(self) -> Literal["supported", "contradicted", "undecided"]:
        """By the p-value after Holm's correction for the claims of the paper."""
        if self.found is None or self.found.p_holm >= wording.SIGNIFICANT:
            return "undecided"
        below = self.found.difference < self.claim.threshold
        return "supported" if below == (self.claim.side == "below") else "contradicted"


def decide(report: Report, paper: Paper) -> list[Decision]:
    """Every claim of a paper on every set of this study's cells that it is about; none where cells are missing."""
    cells = [row.cell for row in report.rows]
    found = [_tested(claim, chosen) for claim in paper.claims for chosen in sets_of(claim, cells)]
    corrected = iter(holm([one.found.p for one in found if one.found]))
    return [replace(one, found=replace(one.found, p_holm=next(corrected))) if one.found else one for one in found]


def sets_of(claim: Claim, cells: Sequence[Cell]) -> list[tuple[Cell, ...]]:
    """One cell for each term, otherwise the same in all that they both have.

    Where a choice is free, so are its options, but for those that the study varies: of transforms at several learning
    rates each, two are compared at the same one.
    """
    fitting = [[cell for cell in cells if fits(cell, wanted)] for wanted in (*claim.plus, *claim.minus)]
    known = {id(cell): _without_seed(cell) for found in fitting for cell in found}
    asked = [cell for found in fitting for cell in found]
    varied = {key for group in claim.free for key in _varied(group, [(cell, known[id(cell)]) for cell in asked])}
    sets: list[tuple[Cell, ...]] = [()]
    for found in fitting:
        sets = [
            (*chosen, cell)
            for chosen in sets
            for cell in found
            if all(_same(known[id(cell)], known[id(other)], claim.free, varied) for other in chosen)
        ]
    return sets


def _without_seed(cell: Cell) -> dict[str, str]:
    return flat({key: value for key, value in cell.config.items() if key not in ("seed", "choices")})


def _varied(group: str, cells: Iterable[tuple[Cell, Mapping[str, str]]]) -> set[str]:
    """Options of a group in which cells differ that have the same choice of it and the same everything else."""
    alike: dict[tuple[str, frozenset[tuple[str, str]]], dict[str, set[str]]] = {}
    for cell, config in cells:
        own = {key: value for key, value in config.items() if key.startswith(f"{group}.")}
        values = alike.setdefault((value_at(cell.config, group), frozenset(config.items() - own.items())), {})
        for key, value in own.items():
            values.setdefault(key, set()).add(value)
    return {key for values in alike.values() for key, found in values.items() if len(found) > 1}


def _same(one: Mapping[str, str], other: Mapping[str, str], free: set[str], varied: set[str]) -> bool:
    return all(
        value == other[key]
        for key, value in one.items()
        if key in other and key not in free and (key in varied or key.partition(".")[0] not in free)
    )


def _tested(claim: Claim, cells: tuple[Cell, ...]) -> Decision:
    if unfinished := [cell.name for cell in cells if not cell.finished]:
        return Decision(claim, cells, None, f"{unfinished[0]} has no results")
    seeds = sorted(set.intersection(*({run.seed for run in cell.finished} for cell in cells)))
    if not seeds:
        return Decision(claim, cells, None, "its cells share no seed")
    signs = [1] * len(claim.plus) + [-1] * len(claim.minus)
    if claim.measure == ERROR:
        return _by_image(claim, cells, signs, seeds)
    values = np.zeros(len(seeds))
    for sign, cell in zip(signs, cells, strict=True):
        metrics = {run.seed: run.result.metrics for run in cell.finished if run.result}
        for name, factor in claim.measure.items():
            if any(name not in metrics[seed] for seed in seeds):
                return Decision(claim, cells, None, f"{cell.name} has no {name}")
            values += sign * factor * np.array([metrics[seed][name] for seed in seeds])
    reason = "one seed says nothing of another training" if len(seeds) == 1 else ""
    return Decision(claim, cells, contrast_of_runs(values, claim.threshold), reason)


def _by_image(claim: Claim, cells: tuple[Cell, ...], signs: Sequence[int], seeds: Sequence[int]) -> Decision:
    """Errors are paired over test images too."""
    outcomes = [outcome for cell in cells if (outcome := cell.outcomes)]
    if any(not np.array_equal(one.indices, outcomes[0].indices) for one in outcomes):
        return Decision(claim, cells, None, "its cells were tested on different images")
    wrong = [~one.correct[[one.seeds.index(seed) for seed in seeds]] for one in outcomes]
    differences = np.stack([sign * one.astype(np.int64) for sign, one in zip(signs, wrong, strict=True)]).sum(axis=0)
    return Decision(claim, cells, contrast(differences, claim.threshold))


def section(paper: str, decisions: Sequence[Decision]) -> Section | None:
    """As a table; in points where the measure is a share."""
    header = ("claim", "verdict", "effect", "claimed", "p", "n")
    rows = [[(one.claim.says, _names(one)), (_verdict(one), one.reason), *_numbers(one)] for one in decisions]
    return Section(f"Claims of {paper}", header, rows, (2, 0)) if rows else None


def _verdict(one: Decision) -> str:
    few = wording.few_seeds(one.found.n_seeds) if one.found and one.verdict != "undecided" else ""
    return one.verdict + few


def _names(one: Decision) -> str:
    """`a + b \N{MINUS SIGN} c`."""
    names = [cell.name for cell in one.cells]
    plus, minus = names[: len(one.claim.plus)], names[len(one.claim.plus) :]
    return " + ".join(plus) + "".join(f" \N{MINUS SIGN} {name}" for name in minus)


def _numbers(one: Decision) -> list[tuple[str, str]]:
    claim, found = one.claim, one.found
    percent = all(measure_called(name).percent for name in claim.measure)

    def shown(value: float) -> str:
        return wording.percent(value, signed=True) if percent else f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")

    claimed = f"{claim.side} {shown(claim.threshold) if claim.threshold else '0'}"
    if found is None:
        return [("", ""), (claimed, ""), ("", ""), ("", "")]
    span = f"{shown(found.low)} to {shown(found.high)}" if isfinite(found.low) else ""
    p = wording.p_value(found.p_holm) if isfinite(found.low) else ""
    return [(shown(found.difference), span), (claimed, ""), (p, ""), (str(found.n_seeds), "")]


def _signed(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def notes(decided: Mapping[str, Sequence[Decision]]) -> list[str]:
    """What stands below: how claims are decided, and why margins are what they are."""
    every = [one for decisions in decided.values() for one in decisions]
    if not every:
        return []
    with_margin = [one.claim for one in every if one.claim.margin]
    sides: dict[tuple[float, str], dict[str, None]] = {}
    for claim in with_margin:
        sides.setdefault((claim.threshold, claim.margin), {})[claim.side] = None
    return [
        "Effect: the measure of what is named before the minus, less that of what is named after it. "
        "A claim is supported, or contradicted, where the effect lies on the claimed side of its threshold, or on the "
        "other, with p < 0.05, two-sided, Holm-corrected for the claims of its paper tested here. Errors are paired "
        "over test images and seeds (over one seed, it speaks of that training alone); other measures over seeds, by "
        "Student's t.",
        *(f"{' or '.join(named)} {_signed(at)}: {why}" for (at, why), named in sides.items()),
    ]


def summary(paper: str, decisions: Sequence[Decision]) -> str:
    """`Claims of ...: 3 supported, 1 contradicted, 2 undecided.`"""
    counts = dict.fromkeys(("supported", "contradicted", "undecided"), 0)
    for one in decisions:
        counts[one.verdict] += 1
    return f"Claims of {paper}: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + "."


def to_csv(decided: Mapping[str, Sequence[Decision]]) -> bytes:
    """One line a decision: name of the paper -> its decisions. Fractions and degrees, to the last digit."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for paper, decisions in decided.items():
        writer.writerows({"paper": paper, **_line(one)} for one in decisions)
    return buffer.getvalue().encode()


def _line(one: Decision) -> dict[str, Any]:
    claim, found = one.claim, one.found
    names = [cell.name for cell in one.cells]
    line: dict[str, Any] = {"claim": claim.says, "source": claim.source, "verdict": one.verdict, "reason": one.reason}
    line |= {"plus": " + ".join(names[: len(claim.plus)]), "minus": " + ".join(names[len(claim.plus) :])}
    line |= {"measure": " ".join(f"{factor:+g}*{name}" for name, factor in claim.measure.items())}
    line |= {"claimed": f"{claim.side} {claim.threshold:g}"}
    if found is not None:
        line |= {"effect": found.difference, "p": found.p, "p_holm": found.p_holm, "test": found.test}
        line |= {"low": found.low, "high": found.high, "seeds": found.n_seeds} if isfinite(found.low) else {}
    return line

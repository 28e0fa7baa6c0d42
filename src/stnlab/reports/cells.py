"""A study's runs, read and sorted into cells: what varies among them, and which of them have results."""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from stnlab.errors import StnlabError, first_line
from stnlab.evaluation import Outcomes
from stnlab.reports.results import FIVE, Run, read_run
from stnlab.runs import RunDirectory
from stnlab.runs.identity import canonical

Labels = dict[str, str]

GROUPS = ("study", "data", "backbone", "placement", "transform", "localizer", "recipe", "trainer", "callbacks")
ABSENT = "\N{EN DASH}"
UNUSED = {"localizer": {ABSENT}, "sampler": {ABSENT}}
"""What does not count as another choice: no localizer and no sampler say no more than no transform."""
WITHOUT_VARIATION = ("placement", "transform")
"""What names a cell when there is nothing to tell it from."""
DIGITS, ALL_DIGITS = 4, 17
"""Significant digits of a number that is shown, and those that tell any two apart."""
FRACTION = r"(?<![\w.])(\d+)\.(\d+)(?:[eE][+-]?\d+)?(?![\w.])"
"""A number with a point that is no part of a word or of a version."""


@dataclass(frozen=True)
class Cell:
    """Runs that differ in their seed alone. `labels`: column -> what it is in this cell, to the last digit. `runs`: by
    seed. `unsaid`: columns that its name does without. `short`: columns with long numbers -> what people are shown."""

    labels: Labels
    config: dict[str, Any]
    runs: list[Run]
    unsaid: frozenset[str] = frozenset()
    short: Labels = field(default_factory=dict)

    @property
    def shown(self) -> Labels:
        """Column -> what a table says: no two values of a column are the same there, but only `labels` are exact."""
        return self.labels | self.short

    @property
    def name(self) -> str:
        """`input affine`, `deep affine depth=2`: what a sentence calls it."""
        parts = [
            value if "." not in column else f"{column.rpartition('.')[2]}={value}"
            for column, value in self.shown.items()
            if value != ABSENT and column not in self.unsaid
        ]
        return " ".join(parts)

    @property
    def finished(self) -> list[Run]:
        return [run for run in self.runs if run.result is not None]

    @property
    def parameters(self) -> int | None:
        """Of its network; None if no finished run knows, or runs from different code do not agree."""
        counts = {run.info.get("parameters") for run in self.finished}
        (count,) = counts if len(counts) == 1 else (None,)
        return count

    @cached_property
    def outcomes(self) -> Outcomes | None:
        """None if no run has results."""
        results = [run.result for run in self.runs if run.result is not None]
        if not results:
            return None
        return Outcomes(
            seeds=tuple(run.seed for run in self.finished),
            indices=results[0].indices,
            confidence=np.stack([result.confidence for result in results]),
            correct=np.stack([result.correct for result in results]),
        )

    def values(self, name: str) -> list[float]:
        """Of a measure, by the name it has in `metrics.json`: one for each seed whose results have it."""
        key = f"test/{name}" if name in FIVE else name
        return [run.result.metrics[key] for run in self.runs if run.result and key in run.result.metrics]

    def mean(self, name: str) -> float:
        """Of a measure that its results have, over seeds; `error` is short for `test/error`, and so on."""
        return float(np.mean(self.values(name)))

    @property
    def gap(self) -> float:
        """Mean confidence - accuracy over images and seeds: positive is overconfident, negative underconfident."""
        found = self.outcomes
        return float("nan") if found is None else float(found.confidence.mean() - found.correct.mean())


def read_cells(directories: Sequence[RunDirectory]) -> tuple[list[Cell], dict[str, str]]:
    """Cells in order of their labels, those without a transformer first; and run -> why it cannot be read at all.

    Raises StnlabError if that leaves no run, or if two directories hold the same run.
    """
    groups: dict[str, list[Run]] = defaultdict(list)
    unreadable: dict[str, str] = {}
    found: list[Run] = []
    for directory in directories:
        try:
            run = read_run(directory)
        except StnlabError as error:
            unreadable[directory.name] = first_line(error)
            continue
        found.append(run)
    if not found:
        raise StnlabError(next(iter(unreadable.values())))
    for run in _told_apart(found):
        groups[json.dumps(_identity(run.config), sort_keys=True)].append(run)
    members = [_one_run_a_seed(runs) for runs in groups.values()]
    configs = [runs[0].config for runs in members]
    columns = varying(configs)
    usual = _usual(configs, columns)
    columns.sort(key=lambda column: column in usual)  # a control follows what it is a control of
    short = {column: shortened({value_at(config, column) for config in configs}) for column in columns}
    cells = []
    for config, runs in zip(configs, members, strict=True):
        labels = {column: value_at(config, column) for column in columns}
        unsaid = frozenset(column for column, value in usual.items() if labels[column] == value)
        shown = {column: short[column][value] for column, value in labels.items() if value in short[column]}
        cells.append(Cell(labels, config, runs, unsaid, shown))
    return sorted(cells, key=lambda cell: [order(value) for value in cell.labels.values()]), unreadable


def varying(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns that tell these configurations apart: groups whose choice varies, and `group.key` where the value
    varies under one choice; null is as no value, which runs from before there was such an option have. Placement and
    transform if nothing does.
    """
    columns = []
    groups = [*GROUPS, *sorted({group for config in configs for group in config} - {*GROUPS, "choices", "seed"})]
    for group in groups:
        choices = {value_at(config, group) for config in configs}
        sections = {text(config.get(group)) for config in configs}
        if len(sections) > 1 and len(choices - UNUSED.get(group, set())) > 1:
            columns.append(group)
        nested: list[str] = []
        for choice in sorted(choices):
            alike = [flat(config.get(group, {}), group) for config in configs if value_at(config, group) == choice]
            keys = dict.fromkeys(key for one in alike for key in one if key != group)
            nested += [key for key in keys if len({one.get(key, "null") for one in alike}) > 1]
        columns += dict.fromkeys(nested)
    named = [group for group in WITHOUT_VARIATION if any(group in config["choices"] for config in configs)]
    return columns or named


def _usual(configs: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> dict[str, str]:
    """`group.key` -> its value, where all networks with a transformer have the same: only a control has another, such
    as a wider network without one, and only its name has to say so."""
    transformed = [config for config in configs if value_at(config, "placement") != "none"]
    values = {column: {value_at(config, column) for config in transformed} for column in columns if "." in column}
    return {column: next(iter(found)) for column, found in values.items() if len(found) == 1}


def value_at(config: Mapping[str, Any], column: str) -> str:
    """What stands in a column: the choice of a group or a nested value, `–` if the configuration has none."""
    group, _, _ = column.partition(".")
    if column == group and group in config["choices"]:
        return str(config["choices"][group])
    section = config.get(group, {})
    if column == group:
        return ABSENT if isinstance(section, Mapping) else text(section)
    return flat(section, group).get(column, ABSENT)


def _identity(config: Mapping[str, Any]) -> Any:
    return canonical({key: value for key, value in config.items() if key not in ("seed", "choices")})


def flat(section: Any, prefix: str = "") -> dict[str, str]:
    """`prefix.key.key` -> value as text; a list is one value."""
    if not isinstance(section, Mapping):
        return {prefix: text(section)}
    dotted = f"{prefix}." if prefix else ""
    return {name: text for key, value in section.items() for name, text in flat(value, f"{dotted}{key}").items()}


def text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def shortened(values: Collection[str]) -> dict[str, str]:
    """Of the values of a column those with long fractions, as `0.0019593360889756358` of a search, and what to show
    instead: 4 significant digits, or as many as it takes to show no two values alike."""
    for digits in range(DIGITS, ALL_DIGITS + 1):
        short = {value: _rounded(value, digits) for value in values}
        if len(set(short.values())) == len(short):
            return {value: shown for value, shown in short.items() if shown != value}
    return {}


def _rounded(value: str, digits: int) -> str:
    """Its fractions with that many significant digits at most; integers, and what has fewer digits, as they are."""

    def rounded(found: re.Match[str]) -> str:
        whole, fraction = found[1], found[2]
        if len((whole + fraction).strip("0")) <= digits:
            return found[0]
        return f"{float(found[0]):.{max(digits, len(whole))}g}"

    return re.sub(FRACTION, rounded, value)


def order(value: str) -> tuple[int, float, str]:
    """Absent and `none` first, numbers by size, words by alphabet with `input` before deeper placements."""
    if value in (ABSENT, "none"):
        return (0, 0.0, value)
    try:
        return (1, float(value), value)
    except ValueError:
        return (2, 0.0 if value == "input" else 1.0, value)


def _told_apart(runs: Sequence[Run]) -> list[Run]:
    """With its study as a choice of each run if several studies hold the same run: else their cells are one table, and
    seeds of a cell may come from different studies."""
    studies: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        studies[json.dumps([_identity(run.config), run.seed], sort_keys=True)].add(run.study)
    if all(len(names) == 1 for names in studies.values()):
        return list(runs)
    return [replace(run, config=run.config | {"study": run.study}) for run in runs]


def _one_run_a_seed(runs: list[Run]) -> list[Run]:
    """By seed. Raises StnlabError when two directories hold the same run: their results would count twice."""
    runs = sorted(runs, key=lambda run: run.seed)
    for first, second in pairwise(runs):
        if first.seed == second.seed:
            raise StnlabError(
                f"{second.directory.path}: has the configuration and seed of {first.directory.name}; remove one of them"
            )
    return runs

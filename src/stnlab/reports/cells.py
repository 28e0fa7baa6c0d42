"""A study's runs, read and sorted into cells: what varies among them, and which of them have results."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from stnlab.errors import StnlabError
from stnlab.evaluation import Outcomes, confidences, measure
from stnlab.runs import RunDirectory

Labels = dict[str, str]

GROUPS = ("data", "backbone", "placement", "transform", "localizer", "recipe", "trainer", "callbacks")
ABSENT = "\N{EN DASH}"
UNUSED = {"localizer": {ABSENT}, "sampler": {ABSENT}}
"""What does not count as another choice: no localizer and no sampler say no more than no transform."""
WITHOUT_VARIATION = ("placement", "transform")
"""What names a cell when there is nothing to tell it from."""


@dataclass(frozen=True)
class Result:
    """What a finished run said of its test images: indices, confidence and correct [N], and the five measures."""

    indices: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray
    measures: dict[str, float]


@dataclass(frozen=True)
class Run:
    """A run of the study: its results, or in one line (`problem`) why there are none."""

    directory: RunDirectory
    config: dict[str, Any]
    info: dict[str, Any]
    result: Result | None
    problem: str | None

    @property
    def seed(self) -> int:
        return int(self.config["seed"])


@dataclass(frozen=True)
class Cell:
    """Runs that differ in their seed alone. `labels`: column -> what it is in this cell. `runs`: by seed."""

    labels: Labels
    config: dict[str, Any]
    runs: list[Run]

    @property
    def name(self) -> str:
        """`input affine`, `deep affine depth=2`: what a sentence calls it."""
        parts = [
            value if "." not in column else f"{column.rpartition('.')[2]}={value}"
            for column, value in self.labels.items()
            if value != ABSENT
        ]
        return " ".join(parts)

    @property
    def finished(self) -> list[Run]:
        return [run for run in self.runs if run.result is not None]

    @property
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

    def mean(self, name: str) -> float:
        """Of a measure, over the seeds that have results."""
        return float(np.mean([run.result.measures[name] for run in self.finished if run.result is not None]))


def read_cells(directories: Sequence[RunDirectory]) -> tuple[list[Cell], dict[str, str]]:
    """Cells in order of their labels, those without a transformer first; and run -> why it cannot be read at all.

    Raises StnlabError if that leaves no run, or if two directories hold the same run.
    """
    groups: dict[str, list[Run]] = defaultdict(list)
    unreadable: dict[str, str] = {}
    for directory in directories:
        try:
            run = _read(directory)
        except StnlabError as error:
            unreadable[directory.name] = _first_line(str(error))
            continue
        groups[json.dumps(_identity(run.config), sort_keys=True)].append(run)
    if not groups:
        raise StnlabError(next(iter(unreadable.values())))
    members = [_one_run_a_seed(runs) for runs in groups.values()]
    configs = [runs[0].config for runs in members]
    columns = varying(configs)
    cells = [
        Cell({column: value_at(config, column) for column in columns}, config, runs)
        for config, runs in zip(configs, members, strict=True)
    ]
    return sorted(cells, key=lambda cell: [_order(value) for value in cell.labels.values()]), unreadable


def varying(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns that tell these configurations apart: groups whose choice varies, and `group.key` where the value
    varies under one choice. Placement and transform if nothing does.
    """
    columns = []
    groups = [*GROUPS, *sorted({group for config in configs for group in config} - {*GROUPS, "choices", "seed"})]
    for group in groups:
        choices = {value_at(config, group) for config in configs}
        sections = {_text(config.get(group)) for config in configs}
        if len(sections) > 1 and len(choices - UNUSED.get(group, set())) > 1:
            columns.append(group)
        nested: list[str] = []
        for choice in sorted(choices):
            alike = [flat(config.get(group, {}), group) for config in configs if value_at(config, group) == choice]
            keys = dict.fromkeys(key for one in alike for key in one if key != group)
            nested += [key for key in keys if len({one.get(key, ABSENT) for one in alike}) > 1]
        columns += dict.fromkeys(nested)
    named = [group for group in WITHOUT_VARIATION if any(group in config["choices"] for config in configs)]
    return columns or named


def value_at(config: Mapping[str, Any], column: str) -> str:
    """What stands in a column: the choice of a group or a nested value, `–` if the configuration has none."""
    group, _, _ = column.partition(".")
    if column == group and group in config["choices"]:
        return str(config["choices"][group])
    section = config.get(group, {})
    if column == group:
        return ABSENT if isinstance(section, Mapping) else _text(section)
    return flat(section, group).get(column, ABSENT)


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in ("seed", "choices")}


def flat(section: Any, prefix: str = "") -> dict[str, str]:
    """`prefix.key.key` -> value as text; a list is one value."""
    if not isinstance(section, Mapping):
        return {prefix: _text(section)}
    dotted = f"{prefix}." if prefix else ""
    return {name: text for key, value in section.items() for name, text in flat(value, f"{dotted}{key}").items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _order(value: str) -> tuple[int, float, str]:
    """Absent and `none` first, numbers by size, words by alphabet with `input` before deeper placements."""
    if value in (ABSENT, "none"):
        return (0, 0.0, value)
    try:
        return (1, float(value), value)
    except ValueError:
        return (2, 0.0 if value == "input" else 1.0, value)


def _one_run_a_seed(runs: list[Run]) -> list[Run]:
    """By seed. Raises StnlabError when two directories hold the same run: their results would count twice."""
    runs = sorted(runs, key=lambda run: run.seed)
    for first, second in pairwise(runs):
        if first.seed == second.seed:
            raise StnlabError(
                f"{second.directory.path}: has the configuration and seed of {first.directory.name}; remove one of them"
            )
    return runs


def _read(directory: RunDirectory) -> Run:
    config, info = directory.config, directory.info
    missing = [key for key in ("choices", "seed", "placement") if key not in config]
    if missing:
        raise StnlabError(
            f"{directory.path}/config.yaml: has no {', '.join(missing)}; train this run again with fresh=true"
        )
    if info.get("state") == "failed":
        return Run(directory, config, info, None, "failed: " + _first_line(info.get("error") or "no reason recorded"))
    if info.get("state") != "done":
        epochs = len(directory.history)
        return Run(directory, config, info, None, f"not finished: running or interrupted after {epochs} epochs")
    try:
        return Run(directory, config, info, _result(directory), None)
    except StnlabError as error:
        return Run(directory, config, info, None, "results cannot be used: " + _first_line(str(error)))


def _result(directory: RunDirectory) -> Result:
    predictions = directory.predictions("test")
    if predictions is None:
        raise StnlabError(f"{directory.path}/predictions.npz: holds no test predictions; train with fresh=true")
    confidence, correct = confidences(predictions.logits, predictions.labels)
    return Result(predictions.indices, confidence, correct, measure(predictions.logits, predictions.labels))


def _first_line(text: str) -> str:
    return text.strip().split("\n", maxsplit=1)[0]

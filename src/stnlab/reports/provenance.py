"""When, where, with which code and by which commands the runs of a report were made."""

import re
import shlex
from collections.abc import Collection, Sequence
from datetime import datetime

from stnlab.reports.cells import ABSENT, GROUPS, Cell
from stnlab.reports.results import Run
from stnlab.reports.study import Report, code_name

ONLY_HOW = r"\+*(runs_dir|data\.root|logger(\.\S+)?|callbacks(\.\S+)?|trainer|trainer\.threads|threads)="
"""Overrides that change no result: where runs and data lie, what is shown meanwhile, which machine."""


def commands(report: Report) -> list[str]:
    """One for each cell, without what all of them say of where and how they ran."""
    alike = _alike(report.runs)
    return [command(row.cell, row.cell.runs, row.cell.runs[0].study, alike) for row in report.rows]


def facts(runs: Sequence[Run]) -> dict[str, str]:
    """When, where and with which code, as far as the runs know."""
    seconds = sum(float(run.info.get("train_seconds") or 0) for run in runs)
    started = [_moment(run.info["started"]) for run in runs if run.info.get("started")]
    ended = [_moment(run.info["ended"]) for run in runs if run.info.get("ended")]
    when = f"{min(started):%Y-%m-%d %H:%M}" if started else ""
    when += f" to {max(ended):%Y-%m-%d %H:%M}" if started and ended else ""
    threads = distinct(runs, "threads")
    facts = {
        "when": f"{when}; {seconds / 60:.1f} minutes of training" if when else "",
        "where": ", ".join(part for part in (distinct(runs, "host"), distinct(runs, "device")) if part),
        "how": ", ".join(part for part in (threads and f"threads: {threads}", distinct(runs, "precision")) if part),
        "code": ", ".join(sorted({code_name(run.info) for run in runs})),
    }
    return {name: value for name, value in facts.items() if value}


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def distinct(runs: Sequence[Run], key: str) -> str:
    return " or ".join(dict.fromkeys(str(run.info[key]) for run in runs if run.info.get(key) is not None))


def _alike(runs: Sequence[Run]) -> set[str]:
    """Overrides of all runs that say where and how they ran, not what came out."""
    typed = [set(run.info.get("overrides") or ()) for run in runs]
    return {one for one in set.intersection(*typed) if re.match(ONLY_HOW, one)}


def command(cell: Cell, runs: Sequence[Run], study: str, without: Collection[str] = ()) -> str:
    """What trains runs of a cell: the overrides the first was started with, for all their seeds. without: some that
    need not be said."""
    typed = runs[0].info.get("overrides")
    if typed is None:
        choices = cell.config["choices"]
        typed = [f"{group}={choices[group]}" for group in GROUPS[1:] if group in choices]
        typed += [f"{column}={value}" for column, value in cell.labels.items() if "." in column and value != ABSENT]
    overrides = [one for one in typed if not one.startswith(("seed=", "study=", "fresh=")) and one not in without]
    named = {one.partition("=")[0] for one in overrides}
    if (
        named & {"ablation", "experiment"}
        and "recipe" not in named
        and (recipe := cell.config["choices"].get("recipe"))
    ):
        overrides.append(f"recipe={recipe}")  # what such a file says of it may be another by now
    seeds = ",".join(str(run.seed) for run in runs)
    many = ["-m"] if len(runs) > 1 else []
    return shlex.join(["python", "-m", "stnlab.train", *many, *overrides, f"seed={seeds}", f"study={study}"])

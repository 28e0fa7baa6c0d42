"""`python -m stnlab.status runs/<study>`: how far every run of a study is, from its files alone."""

import datetime
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stnlab.command import path_and_overrides, run_command
from stnlab.errors import StnlabError
from stnlab.runs.directory import RunDirectory, find_runs
from stnlab.runs.plan import read_plan
from stnlab.runs.search import Search, read_search

USAGE = "python -m stnlab.status runs/<study> [--watch]"
EVERY = 2.0
"""Seconds between two looks."""
PATIENCE = 60.0
STYLES = {
    "done": "green",
    "running": "cyan",
    "waiting": "dim",
    "interrupted": "yellow",
    "failed": "red",
    "damaged": "red",
}


def main(arguments: list[str]) -> int:
    """Print the table once or, with --watch, as long as there is something to wait for."""
    if {"--help", "-h"} & set(arguments):
        print(
            f"{USAGE}\n\n{__doc__}\n--watch: look again every {EVERY:.0f} seconds until all runs have ended, or none "
            f"has been at work for {PATIENCE:.0f} seconds; jobs of a cluster, which may wait for hours, until Ctrl-C."
        )
        return 0
    path, options = path_and_overrides([one for one in arguments if one != "--watch"], USAGE)
    if options:
        raise StnlabError(f"{options[0]}: no such option; {USAGE}")
    console = Console()
    if "--watch" not in arguments:
        console.print(table(path, look(path), read_search(path)))
        return 0
    last_seen = time.monotonic()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            seen, search = look(path), read_search(path)
            live.update(table(path, seen, search), refresh=True)
            states = {state for _, state in seen}
            last_seen = time.monotonic() if "running" in states else last_seen
            # between two jobs of a sweep nothing is at work for a moment, and a search has not asked for all its runs
            ended = states <= {"done", "failed", "damaged"} and not (search and search.done < search.trials)
            if ended or (time.monotonic() - last_seen > PATIENCE and not of_a_cluster(path)):
                return 0
            time.sleep(EVERY)


def of_a_cluster(study: Path) -> bool:
    """Whether jobs of this study were given to SLURM: its launcher notes them beside what Hydra writes."""
    folder = study.resolve()
    return (folder.parent / ".hydra" / folder.name / "submitit" / "jobs.json").exists()


def look(study: Path) -> list[tuple[RunDirectory, str]]:
    """Every run that has started or was asked for by a sweep, with its state. Raises StnlabError if there is none."""
    planned = read_plan(study)
    runs = {run.name: run for run in find_runs(study, empty=bool(planned or read_search(study)))}
    every = runs | {name: RunDirectory(study / name) for name in planned if name not in runs}
    return [(run, activity(run)) for _, run in sorted(every.items())]


def activity(run: RunDirectory) -> str:
    """What `run.json` says, or `waiting` without one or if it is to be trained anew, `damaged` if it cannot be read,
    and `interrupted` if it says that it runs but no process of this or another machine is at work on it.
    """
    if run.damaged:
        return "damaged"
    if run.state == "running":
        return "running" if run.busy else "interrupted"
    return "waiting" if run.state == "absent" or run.to_renew else run.state


def table(study: Path, seen: list[tuple[RunDirectory, str]], search: Search | None = None) -> Table:
    """A row for each run; in the caption how many are in which state, and how far the search is that asks for them."""
    rows = [_row(run, state) for run, state in seen]
    states = [row[1] for row in rows]
    counts = ", ".join(f"{states.count(state)} {state}" for state in STYLES if state in states) or "none"
    searched = f"; search: {search.done} of {search.trials} trials done" if search else ""
    title, caption = f"study {study.resolve().name}", f"{len(seen)} runs: {counts}{searched}"
    shown = Table(title=title, caption=caption)
    for column in ("run", "state", "progress", "left", "host", "last metric"):
        shown.add_column(column, overflow="fold", no_wrap=column in ("state", "progress", "left"))
    for name, state, *rest in rows:
        shown.add_row(name, Text(state, style=STYLES[state]), *rest)
    return shown


def _row(run: RunDirectory, state: str) -> tuple[str, ...]:
    """Of a run that cannot be read, why; also of one that is not over, of which `damaged` looks at `run.json` alone."""
    if state in ("waiting", "damaged"):
        return run.name, state, "", "", "", run.damaged or ""
    try:
        return run.name, state, *_progress(run, state), str(run.info.get("host", "")), _metric(run)
    except StnlabError as error:
        return run.name, "damaged", "", "", "", str(error)


def _progress(run: RunDirectory, state: str) -> tuple[str, str]:
    """How far the training is, and how long it will take at the pace so far."""
    history = run.history
    try:
        recipe = run.config["recipe"]
        unit = "epochs" if recipe.get("epochs") else "steps"
        planned = int(recipe[unit])
        ended = (len(history) if unit == "epochs" else int(history[-1]["step"])) if history else 0
    except (KeyError, TypeError, AttributeError) as error:
        raise StnlabError(f"{run.path}: its config.yaml or metrics.csv lacks what a run writes ({error!r})") from error
    left = ""
    spent = run.info.get("train_seconds")
    if state == "running" and ended and spent:
        seconds = spent / ended * (planned - ended)
        left = str(datetime.timedelta(seconds=round(seconds)))
    return f"{ended:,} of {planned:,} {unit}", left


def _metric(run: RunDirectory) -> str:
    if run.state == "done":
        return run.summary
    if run.state == "failed":
        return str(run.info.get("error"))
    known = [(name, row[name]) for row in run.history[-1:] for name in ("val/error", "train/error") if name in row]
    return "".join(f"{name} {value:.2%}" for name, value in known[:1])


if __name__ == "__main__":
    run_command(main)

"""`python -m stnlab.status runs/<study>`: how far every run of a study is, from its files alone."""

import datetime
import time

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stnlab.command import path_and_overrides, run_command
from stnlab.errors import StnlabError
from stnlab.runs.directory import RunDirectory, find_runs

USAGE = "python -m stnlab.status runs/<study> [--watch]"
EVERY = 2.0
"""Seconds between two looks."""
STYLES = {"done": "green", "running": "cyan", "interrupted": "yellow", "failed": "red"}


def main(arguments: list[str]) -> int:
    """Print the table once or, with --watch, until no run is at work."""
    if {"--help", "-h"} & set(arguments):
        print(f"{USAGE}\n\n{__doc__}\n--watch: look again every {EVERY:.0f} seconds until no run is at work.")
        return 0
    path, options = path_and_overrides([one for one in arguments if one != "--watch"], USAGE)
    if options:
        raise StnlabError(f"{options[0]}: no such option; {USAGE}")
    console = Console()
    if "--watch" not in arguments:
        console.print(table(find_runs(path)))
        return 0
    with Live(console=console, auto_refresh=False) as live:
        while True:
            runs = find_runs(path)
            live.update(table(runs), refresh=True)
            if not any(activity(run) == "running" for run in runs):
                return 0
            time.sleep(EVERY)


def table(runs: list[RunDirectory]) -> Table:
    """A row for each run, and in the caption how many are in which state."""
    states = [activity(run) for run in runs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in STYLES if state in states)
    shown = Table(title=f"study {runs[0].path.resolve().parent.name}", caption=f"{len(runs)} runs: {counts}")
    for column in ("run", "state", "epoch", "left", "host", "last metric"):
        shown.add_column(column, overflow="fold", no_wrap=column in ("state", "epoch", "left"))
    for run, state in zip(runs, states, strict=True):
        info = run.info
        shown.add_row(
            run.name, Text(state, style=STYLES[state]), _epoch(run), _left(run, state), info.get("host"), _metric(run)
        )
    return shown


def activity(run: RunDirectory) -> str:
    """`done`, `failed`, `running`, or `interrupted` if it says that it runs but no process of its machine holds it."""
    if run.state != "running":
        return run.state
    return "running" if run.busy else "interrupted"


def _epoch(run: RunDirectory) -> str:
    recipe = run.config["recipe"]
    planned = recipe.get("epochs") or f"{recipe.get('steps')} steps"
    return f"{run.info.get('epochs', 0)} of {planned}"


def _left(run: RunDirectory, state: str) -> str:
    """Of the training, from the time that its epochs took so far."""
    epochs, planned = run.info.get("epochs"), run.config["recipe"].get("epochs")
    if state != "running" or not epochs or not planned:
        return ""
    seconds = run.info["train_seconds"] / epochs * (planned - epochs)
    return str(datetime.timedelta(seconds=round(seconds)))


def _metric(run: RunDirectory) -> str:
    if run.state == "done":
        return run.summary
    if run.state == "failed":
        return str(run.info.get("error"))
    known = [(name, row[name]) for row in run.history[-1:] for name in ("val/error", "train/error") if name in row]
    return "".join(f"{name} {value:.2%}" for name, value in known[:1])


if __name__ == "__main__":
    run_command(main)

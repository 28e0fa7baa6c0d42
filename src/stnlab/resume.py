"""`python -m stnlab.resume runs/<study>`: train what the commands that made a study have left unfinished."""

import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stnlab.command import path_and_overrides, run_command
from stnlab.errors import StnlabError
from stnlab.runs.directory import find_runs
from stnlab.runs.plan import Planned, change_plan, read_plan
from stnlab.runs.search import read_search

USAGE = "python -m stnlab.resume runs/<study> [key=value ...]"


def main(arguments: list[str]) -> int:
    """Train each run that was asked for and is not done, one after another; a failing one stops no other. A search
    goes on after them.
    """
    if {"--help", "-h"} & set(arguments):
        print(f"{USAGE}\n\n{__doc__}\nWhat follows the path is added to each run's own arguments, such as trainer=gpu.")
        return 0
    path, more = path_and_overrides(arguments, USAGE)
    left = unfinished(path)
    again = [*more, f"study={path.resolve().name}", f"runs_dir={_quoted(path.resolve())}"]
    failures: list[str] = []
    for number, (name, planned) in enumerate(left.items()):
        print(f"run {number + 1} of {len(left)}", flush=True)
        if failure := _train(planned, again):
            failures.append(f"failed: {name}: {failure}")
            if not (path / name / "run.json").exists():
                change_plan(path, {}, fewer=[name])  # a wrong choice: it can never start
    print(f"{path}: {len(left) - len(failures)} of {len(left)} unfinished runs trained", flush=True)
    search = read_search(path)
    if search and search.done < search.trials and (failure := _train(search.command, again)):
        failures.append(f"search: {failure}")
    if failures:
        raise StnlabError("; ".join(failures))
    return 0


def unfinished(study: Path) -> dict[str, Planned]:
    """Name -> what trains it, of each run that was asked for or has started and is not done."""
    planned = read_plan(study)
    runs = {run.name: run for run in find_runs(study, empty=bool(planned))}
    started = {}
    for name, run in runs.items():
        if not run.damaged and "overrides" in run.info:
            started[name] = Planned(run.info["overrides"], run.info.get("folder") or str(Path.cwd()))
    every = planned | started
    return {
        name: one for name, one in every.items() if name not in runs or runs[name].damaged or runs[name].state != "done"
    }


def _train(planned: Planned, more: Sequence[str]) -> str | None:
    """By its own arguments, in the folder where they were given. Returns the first line of what went wrong."""
    from stnlab.train import main as train

    added = {override.partition("=")[0] for override in more}
    kept = [argument for argument in planned.arguments if argument.partition("=")[0] not in {*added, "fresh"}]
    try:
        with _inside(Path(planned.folder)):
            train([*kept, *more])
    except Exception as error:
        if not isinstance(error, StnlabError):
            traceback.print_exception(error)
        return str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
    return None


def _quoted(study: Path) -> str:
    """The folder of a study as a value that Hydra's grammar reads, whatever is in its name."""
    escaped = str(study.parent).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    if not folder.is_dir():
        raise StnlabError(f"{folder}: the command was given there, but it is gone; give the command again elsewhere")
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


if __name__ == "__main__":
    run_command(main)

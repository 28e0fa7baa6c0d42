"""`python -m stnlab.resume runs/<study>`: the commands that made a study again, for what they left unfinished."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stnlab.command import path_and_overrides, run_command
from stnlab.errors import StnlabError
from stnlab.runs.directory import find_runs
from stnlab.runs.sweeps import sweeps

USAGE = "python -m stnlab.resume runs/<study> [key=value ...]"


def main(arguments: list[str]) -> int:
    """Give every sweep of the study again, then the single runs that are still not finished."""
    if {"--help", "-h"} & set(arguments):
        print(f"{USAGE}\n\n{__doc__}\nWhat follows the path is added to each command, such as trainer=gpu.")
        return 0
    path, more = path_and_overrides(arguments, USAGE)
    study = path.resolve()
    known = sweeps(study)
    if not known:
        find_runs(path)  # or there is no study at all
    place = [f"study={study.name}", f"runs_dir={study.parent}"]
    untouched = {run.path: run.info.get("started") for run in find_runs(study)} if study.is_dir() else {}
    failures = [error for sweep in known for error in _again(sweep.arguments, sweep.folder, [*more, *place])]
    for run in find_runs(study):
        left = run.state in ("running", "failed") and run.info.get("started") == untouched.get(run.path)
        if left and "overrides" in run.info:
            folder = Path(run.info.get("folder") or Path.cwd())
            failures += _again(run.info["overrides"], folder, [*more, *place])
    if failures:
        raise StnlabError("; ".join(str(failure) for failure in failures))
    print(f"{path}: nothing is left to do")
    return 0


def _again(arguments: Sequence[str], folder: Path, more: Sequence[str]) -> list[StnlabError]:
    """Train by a command as it was given, in the folder where it was given. Its failure must not stop the others."""
    from stnlab.train import main as train

    added = {override.partition("=")[0] for override in more}
    kept = [argument for argument in arguments if argument.partition("=")[0] not in added]
    try:
        with _inside(folder):
            train([*kept, *more])
    except StnlabError as error:
        return [error]
    return []


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    if not folder.is_dir():
        raise StnlabError(f"{folder}: this study's commands were given there, but it is gone; give them yourself")
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


if __name__ == "__main__":
    run_command(main)

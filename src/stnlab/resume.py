"""`python -m stnlab.resume runs/<study>`: train what the commands that made a study have left unfinished."""

import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException

from stnlab.command import path_and_overrides, run_command
from stnlab.compose import LEFT_OUT, conf_directory, config_directories, folders_and_overrides
from stnlab.errors import StnlabError, first_line, one_line
from stnlab.runs.directory import find_runs
from stnlab.runs.identity import Config
from stnlab.runs.plan import Planned, change_plan, is_planned, read_plan
from stnlab.runs.search import read_search
from stnlab.trust import Allowed, UntrustedError, allowed_targets, check_targets

MULTIRUN = ("-m", "--multirun")
USAGE = "python -m stnlab.resume runs/<study> [--config-dir=my_conf] [key=value ...]"
HELP = """\
What follows the path is added to each run's own arguments, such as trainer=gpu. A study may come from a stranger: what
it says may name no class and no folder of choices that is not stnlab's or named here."""


def main(arguments: list[str]) -> int:
    """Train each run that was asked for and is not done, one after another; a failing one stops no other. A search
    goes on after them.
    """
    if {"--help", "-h"} & set(arguments):
        print(f"{USAGE}\n\n{__doc__}\n{HELP}")
        return 0
    from stnlab.train import can_never_start

    path, rest = path_and_overrides(arguments, USAGE)
    own_folders, typed = folders_and_overrides(rest, "resume")
    left, failures = unfinished(path)
    count = len(left) + len(failures)
    again = [*typed, f"study={path.resolve().name}", f"runs_dir={_quoted(path.resolve().parent)}"]
    for number, (name, planned) in enumerate(left.items()):
        print(f"run {number + 1} of {len(left)}", flush=True)
        composed: list[Config] = []
        if failure := _train(planned, own_folders, again, composed):
            failures.append(f"failed: {name}: {failure}")
            if composed and not (path / name / "run.json").exists() and can_never_start(composed[0]):
                change_plan(path, {}, fewer=[name])
    print(f"{path}: {count - len(failures)} of {count} unfinished runs trained", flush=True)
    search = read_search(path)
    if search and search.done < search.trials:
        failure = _train(search.command, own_folders, again, [], search=True)
        failures += [f"search: {failure}"] if failure else []
    if failures:
        raise StnlabError("; ".join(failures))
    return 0


def unfinished(study: Path) -> tuple[dict[str, Planned], list[str]]:
    """(name -> what trains it, of each run that was asked for or has started and is not done; in a line each, the runs
    of which nothing says what trains them)."""
    planned = read_plan(study)
    runs = {run.name: run for run in find_runs(study, empty=bool(planned or read_search(study)))}
    known, lost = dict(planned), []
    for name, run in runs.items():
        try:
            info = run.info
        except StnlabError as error:
            lost += [] if name in planned else [str(error)]
            continue
        entry: dict[str, Any] = {"arguments": info.get("overrides"), "folder": info.get("folder") or str(Path.cwd())}
        if is_planned(entry):
            known[name] = Planned(**entry)
        elif name not in planned and not run.finished:
            lost.append(f"{run.path}: its run.json says nothing of what trains it; give that command again")
    return {name: one for name, one in known.items() if name not in runs or not runs[name].finished}, lost


def _train(
    planned: Planned, own_folders: Sequence[Path], typed: Sequence[str], trusted: list[Config], search: bool = False
) -> StnlabError | None:
    """By its own arguments and what was typed here. Returns what went wrong, in one line.

    trusted: takes up the configuration, once it is composed and nothing in it is a stranger's code.
    """
    from stnlab.sweeps import run_hydra
    from stnlab.train import check_settings, train

    def task(config: Config) -> None:
        check_settings(config)
        _check(config, allowed, typed)
        trusted.append(config)
        _find_data(config, Path(planned.folder))
        train(config)

    try:
        allowed = allowed_targets(own_folders)
        folders = [f"--config-dir={folder}" for folder in own_folders]
        run_hydra(task, [*folders, *_harmless(planned.arguments, own_folders, typed, search), *typed])
    except StnlabError as error:
        return error
    except Exception as error:
        line = one_line(error)
        if line is None:
            traceback.print_exception(error)
        return StnlabError(first_line(line or error))
    return None


def _harmless(arguments: Sequence[str], own_folders: Sequence[Path], typed: Sequence[str], search: bool) -> list[str]:
    """Of the arguments of a run, or of a search, the overrides that are not typed anew.

    Raises UntrustedError for what can run code before a configuration is there to look at, or read the environment:
    other folders of choices or files elsewhere, Hydra's own settings but for those of a search, packages, resolvers.
    A URL whose password was left out has to be typed anew, too.
    """
    choices = {
        path.relative_to(folder).with_suffix("").as_posix()
        for folder in (conf_directory(), *own_folders)
        for path in folder.rglob("*.yaml")
    }
    groups = {choice.partition("/")[0] for choice in choices if "/" in choice}
    for folder in config_directories(arguments):
        if folder not in own_folders:
            raise UntrustedError(f"was trained with choices of {folder}; if you trust them, add --config-dir={folder}")
    anew = {_parsed(override).key_or_group for override in typed} | {"fresh"}
    kept = []
    for argument in arguments:
        if argument.startswith("--config-dir="):
            continue
        if search and argument in MULTIRUN:
            kept.append(argument)
            continue
        override = _parsed(argument)
        if override.key_or_group in anew:
            continue
        key, value = override.key_or_group, override.value()
        chosen = value.list if isinstance(value, ChoiceSweep) else value if isinstance(value, list) else [value]
        if (
            (re.split(r"[./]", key)[0] == "hydra" and not (search and _is_of_a_search(key, value, choices)))
            or override.package is not None
            or (key in groups and not all(one is None or f"{key}/{one}" in choices for one in chosen))
            or ":" in argument.partition("${")[2]
            or LEFT_OUT in argument
        ):
            raise UntrustedError(f"{argument}: not from a file; if you trust it, type it after the study's path")
        kept.append(argument)
    return kept


def _is_of_a_search(key: str, value: object, choices: set[str]) -> bool:
    """Of Hydra's settings: which sweeper and launcher of ours, numbers of theirs, and what is minimised."""
    number = isinstance(value, int | float) and key.startswith(("hydra.sweeper.", "hydra.launcher."))
    return number or key == "hydra.sweeper.minimize" or f"{key}/{value}" in choices


def _parsed(argument: str) -> Override:
    try:
        return OverridesParser.create().parse_override(argument)
    except HydraException as error:
        raise StnlabError(f"{argument}: cannot be read; remove the plan.json or run.json that says so") from error


def _check(config: Config, allowed: Allowed, typed: Sequence[str]) -> None:
    """Raises UntrustedError for a class that is not allowed and not typed here, and for a server to send results to."""
    named = [one.lstrip("+").partition("=") for one in typed]
    more = {key.removesuffix("._target_"): frozenset([value]) for key, _, value in named if key.endswith("._target_")}
    check_targets(config, {**allowed, **more}, "what trained this run")
    if any(logger.get("tracking_uri") for logger in config["logger"].values()) and not any(
        key.startswith("logger") for key, _, _ in named
    ):
        raise StnlabError(
            "logger.mlflow.tracking_uri: not from a file; if you trust it, type it after the study's path"
        )


def _find_data(config: Config, folder: Path) -> None:
    """Data whose place is relative lie where the command was given."""
    root = config["data"].get("root")
    if not isinstance(root, str) or Path(root).expanduser().is_absolute():
        return
    if not folder.is_dir():
        raise StnlabError(f"{folder}: the command was given there, but it is gone; add data.root=<folder of the data>")
    config["data"]["root"] = str(folder / root)
    config["overrides"].append(f"data.root={_quoted(folder / root)}")


def _quoted(folder: Path) -> str:
    """A path as a value that Hydra's grammar reads, whatever is in its name."""
    escaped = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


if __name__ == "__main__":
    run_command(main)

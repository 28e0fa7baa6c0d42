"""`python -m stnlab.train`: train one run, or with -m a study of them. `--help` is the manual."""

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from stnlab.command import run_command
from stnlab.errors import StnlabError, nearest
from stnlab.imports import importing
from stnlab.runs.directory import RunBusyError, RunDirectory
from stnlab.runs.identity import Config, normalise

CHOSEN = ("data", "backbone", "localizer", "placement", "transform", "sampler", "recipe", "trainer")
COLLECTED = ("callbacks", "logger")
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


def main(arguments: list[str]) -> int:
    """Compose, validate, train. Returns the exit status."""
    if {"--help", "-h"} & set(arguments):
        from stnlab.compose import conf_directory, config_directories
        from stnlab.manual import manual

        print(manual("stnlab.train", conf_directory(), config_directories(arguments)))
        return 0
    from stnlab.sweeps import run_hydra

    run_hydra(train, arguments)
    return 0


def train(config: Config) -> None:
    """One job: answer from the files of a finished run, else train."""
    check_settings(config)
    run = RunDirectory.of(Path(config["runs_dir"]) / config["study"], normalise(config))
    if not config["fresh"]:
        if run.finished:
            print(f"{run.path}: done already; {run.summary}", flush=True)
            return
        if run.state == "done" and (damaged := run.damaged):
            print(damaged, flush=True)
    with importing():
        from stnlab.training.launch import launch

    try:
        launch(config, run)
    except RunBusyError as error:
        if config["busy"] != "skip":
            raise
        if config["fresh"]:
            run.keep()  # it was about results that are there, not about those that are being made
        print(f"{error}; skipped", flush=True)
        return
    print(f"{run.path}: done; {run.summary}", flush=True)


def check_settings(config: Config) -> None:
    """Raises StnlabError for a root key that is unknown, missing or wrong."""
    from annotated_types import Ge, Gt, Lt

    from stnlab.choices import build, check

    types: dict[str, Any] = {"seed": Annotated[int, Ge(0), Lt(2**63)], "study": str, "runs_dir": str, "fresh": bool}
    types |= {"busy": Literal["wait", "skip"], "checkpoint_seconds": Annotated[float, Gt(0)]}
    types |= dict.fromkeys(CHOSEN, dict[str, Any]) | dict.fromkeys(COLLECTED, dict[str, dict[str, Any]])
    types |= {"evaluation": dict[str, Any], "choices": dict[str, Any], "overrides": list[str], "cells": list[str]}
    config |= {key: config.get(key) or {} for key in COLLECTED}
    config |= {"study": str(config.get("study") or ""), "cells": config.get("cells") or []}
    for key in config:
        if key not in types:
            raise StnlabError(f"{key}: no such key{nearest(key, set(types) - {'choices'})}")
    for key, annotation in types.items():
        if config.get(key) is None:
            raise StnlabError(f"{key}: is missing; choose one (python -m stnlab.train --help)")
        check(config[key], annotation, key)
    build({**config["evaluation"], "_target_": "stnlab.evaluation.invariance.OrbitSizes"}, "evaluation")
    if not re.fullmatch(NAME, config["study"]):
        raise StnlabError(f"study={config['study']}: give a name of letters, digits, dots, dashes and underscores")


def can_never_start(config: Config) -> bool:
    """Whether a choice is wrong, wherever and whenever it is trained: not for want of data, devices or memory."""
    from stnlab.training.components import build_components
    from stnlab.training.devices import check_options

    try:
        check_settings(config)
        check_options(config["trainer"])
        build_components(config)
    except StnlabError:
        return True
    except Exception:  # a fault in somebody's code says nothing of the choice; the job itself tells it
        return False
    return False


def objective(run: RunDirectory) -> float:
    """What a sweeper minimises: the validation error, for choices are never made on test images. NaN without one."""
    return run.metrics.get("val/error", math.nan)


if __name__ == "__main__":
    run_command(main)

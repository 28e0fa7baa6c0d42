"""A finished run back in memory."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stnlab.errors import StnlabError
from stnlab.models.network import Network
from stnlab.runs.directory import RunDirectory
from stnlab.runs.identity import Config
from stnlab.runs.predictions import Predictions
from stnlab.training.components import Components, build_components


@dataclass(frozen=True)
class LoadedRun:
    """directory: files, metrics and history. network: with the last checkpoint's weights, on the CPU, in eval mode.

    predictions: arrays of the test split and, where there is one, of `val`.
    """

    directory: RunDirectory
    config: Config
    network: Network
    predictions: dict[str, Predictions]


def load_run(path: str | Path) -> LoadedRun:
    """A run from its directory. Raises StnlabError if it is none, or has no results yet."""
    run = finished(Path(path))
    components = load_components(run, data_root="")
    found = {"val": run.predictions("val"), "test": run.predictions("test")}
    arrays = {split: arrays for split, arrays in found.items() if arrays is not None}
    return LoadedRun(run, run.config, components.module.network.eval(), arrays)


def finished(path: Path) -> RunDirectory:
    """The run at a path. Raises StnlabError if it has no results yet."""
    run = RunDirectory.open(path)
    if run.state != "done":
        raise StnlabError(f"{path}: this run is {run.state}, not done; train it first")
    return run


def load_components(run: RunDirectory, data_root: str) -> Components:
    """Data and module of a run, with the weights of its last checkpoint. Raises StnlabError if these do not fit."""
    config = run.config
    components = build_components({**config, "data": {**config["data"], "root": data_root}})
    weights = load_checkpoint(run.last_checkpoint)["state_dict"]
    try:
        components.module.load_state_dict(weights)
    except RuntimeError as error:
        raise StnlabError(
            f"{run.last_checkpoint}: its weights fit no network that today's code makes of config.yaml; evaluate it "
            f"with the code of run.json ({run.info.get('commit')}), or train it again with fresh=true"
        ) from error
    return components


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content. Raises StnlabError if the file is damaged or holds anything but plain values."""
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0][:150]
        raise StnlabError(f"{path}: cannot be loaded ({reason}); train this run again with fresh=true") from error
    return checkpoint

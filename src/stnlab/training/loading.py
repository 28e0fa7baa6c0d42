"""A finished run back in memory."""

import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stnlab.errors import StnlabError, first_line
from stnlab.models.network import Network
from stnlab.runs.directory import FROM_CHECKPOINT, RunDirectory
from stnlab.runs.identity import Config, digest
from stnlab.runs.predictions import Predictions
from stnlab.training.classifier import Classifier
from stnlab.training.components import Components, build_components
from stnlab.trust import allowed_targets, check_targets

SECTIONS = ("data", "backbone", "placement", "recipe", "trainer")
PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "epoch", "global_step")
"""Of a checkpoint that a training can go on from."""


@dataclass(frozen=True)
class LoadedRun:
    """directory: files, metrics and history. network: with the last checkpoint's weights, on the CPU, in eval mode.

    predictions: arrays of the test split and, where there is one, of `val`.
    """

    directory: RunDirectory
    config: Config
    network: Network
    predictions: dict[str, Predictions]


def load_run(path: str | Path, config_dir: str | Path | None = None) -> LoadedRun:
    """A run from its directory, which may come from a stranger: no code of it is run.

    config_dir: your folder of choices, for a run with a class of your own. Raises StnlabError if there is no run, it
    has no results yet, or its configuration names a class that neither stnlab's nor your own choices name.
    """
    run = finished(Path(path))
    components = load_components(run, data_root="", own_folders=[Path(config_dir)] if config_dir else [])
    found = {"val": run.predictions("val"), "test": run.predictions("test")}
    arrays = {split: arrays for split, arrays in found.items() if arrays is not None}
    return LoadedRun(run, run.config, components.module.network.eval(), arrays)


def finished(path: Path) -> RunDirectory:
    """The run at a path. Raises StnlabError if it has no results yet."""
    run = RunDirectory.open(path)
    if run.state != "done":
        raise StnlabError(f"{path}: this run is {run.state}, not done; train it first")
    return run


def load_components(run: RunDirectory, data_root: str, own_folders: Sequence[Path] = ()) -> Components:
    """Data and module of a run, with the weights of its last checkpoint. own_folders: of choices that may be built."""
    config, file = run.config, run.path / "config.yaml"
    if missing := [key for key in SECTIONS if not isinstance(config.get(key), dict)]:
        raise StnlabError(f"{file}: has no {', '.join(missing)}; {FROM_CHECKPOINT}")
    check_targets(config, allowed_targets(own_folders), file)
    if not run.name.endswith(digest(config)):
        print(f"{file}: is not what this run's name stands for; edited, truncated or of other code", file=sys.stderr)
    components = build_components({**config, "data": {**config["data"], "root": data_root}})
    components.module.load_state_dict(load_checkpoint(run.last_checkpoint, components.module)["state_dict"])
    return components


def checkpoint_to_go_on_from(run: RunDirectory, module: Classifier, first: bool) -> Path | None:
    """The last checkpoint or, if that is damaged, the best one, which is as whole and only from an earlier epoch.

    None: there is none. Raises StnlabError if there are but neither can be used. first: of the processes of the run.
    """
    if not run.last_checkpoint.exists():
        return None
    try:
        load_checkpoint(run.last_checkpoint, module)
    except StnlabError as error:
        try:
            load_checkpoint(run.best_checkpoint, module)
        except StnlabError:
            raise error from None
        if first:
            print(f"{error}; goes on from {run.best_checkpoint.name}", file=sys.stderr, flush=True)
            run.replace_last_checkpoint()
        return run.best_checkpoint
    return run.last_checkpoint


def load_checkpoint(path: Path, module: Classifier) -> dict[str, Any]:
    """A checkpoint's content, on the CPU; never code of it.

    Raises StnlabError if the file is damaged, holds anything but plain values, or other weights than the module's.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"{damaged}: wrong checksum")  # which torch does not look at
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        missing = [name for name in PARTS if name not in checkpoint]
        if missing:
            raise ValueError(f"has no {', '.join(missing)}")
        expected = {name: tensor.shape for name, tensor in module.state_dict().items()}
        if {name: tensor.shape for name, tensor in checkpoint["state_dict"].items()} != expected:
            raise ValueError("its weights fit no network that today's code makes of config.yaml")
    except Exception as error:  # of garbage, zipfile, pickle and torch raise nearly anything
        reason = first_line(error)[:150]
        raise StnlabError(f"{path}: cannot be loaded ({reason}); train this run again with fresh=true") from error
    found: dict[str, Any] = checkpoint
    return found

"""Where metrics and figures go besides the run directory. A new logger is one function here or elsewhere."""

import os
from typing import Literal

import wandb as wandb_package  # the function below has the logger's name
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger

from stnlab.errors import StnlabError
from stnlab.runs.directory import RunDirectory
from stnlab.runs.identity import Config, digest

Mode = Literal["auto", "online", "offline", "disabled"]


def wandb(
    run: RunDirectory, config: Config, project: str, entity: str | None = None, mode: Mode = "auto"
) -> WandbLogger:
    """Weights & Biases: the study is the group, the run's digest its id, so a resumed run is one run.

    mode: `auto` is what WANDB_MODE says, else online for a user who is logged in and offline for others; it never asks.
    Offline runs lie in `runs/<study>/wandb/`.
    """
    if mode == "auto":
        chosen = os.environ.get("WANDB_MODE") or ("online" if wandb_package.login(prompt=False) else "offline")
        if chosen not in ("online", "offline", "disabled"):
            raise StnlabError(f"WANDB_MODE={chosen}: give online, offline or disabled")
    else:
        chosen = mode
    choices = config["choices"]
    logger = WandbLogger(
        project=project,
        entity=entity,
        name=run.name,
        id=f"{run.path.parent.name}-{digest(config)}",
        group=run.path.parent.name,
        job_type=choices["placement"],
        tags=list(dict.fromkeys(str(choice) for choice in choices.values())),
        config=config,
        save_dir=str(run.path.parent),
        mode=chosen,
        resume="allow" if chosen == "online" else None,
        settings=wandb_package.Settings(silent=True, console="off"),
    )
    logger._wandb_init.pop("anonymous", None)  # Lightning 2.6 passes on what wandb 0.31 warns of
    return logger


def csv(run: RunDirectory) -> CSVLogger:
    """Every logged step in `<run>/csv/version_<n>/metrics.csv`, one version for each start of the run."""
    return CSVLogger(run.path, name="csv")


def tensorboard(run: RunDirectory) -> TensorBoardLogger:
    """Event files in `<run>/tensorboard/`; `tensorboard --logdir runs/<study>` shows a whole study."""
    return TensorBoardLogger(run.path, name="tensorboard", version="")

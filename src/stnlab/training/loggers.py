"""Where metrics and figures go besides the run directory. A new logger is one function here or elsewhere.

It may take `run` (the RunDirectory), `config` (normalised) and `id` (unique to this start of the run). What is logged
besides the metrics of the epochs is in `stnlab.training.tracking`.
"""

import logging
import os
from collections.abc import Mapping
from typing import Any, Literal

from lightning_utilities.core.imports import RequirementCache
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.logger import DummyLogger

from stnlab.errors import StnlabError
from stnlab.imports import importing
from stnlab.runs.directory import RunDirectory
from stnlab.runs.identity import Config, placement_name

Mode = Literal["auto", "online", "offline", "disabled"]


class EpochLogger(WandbLogger):
    """Lightning's logger with axes that say something: `epoch` for all but `..._step`, which are of a training step."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._with_axis = {"epoch"}

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        # By name, when first seen: where several patterns match, wandb-core picks one of them at random.
        for name in metrics.keys() - self._with_axis:
            axis = "trainer/global_step" if name.endswith("_step") else "epoch"
            self.experiment.define_metric(name, step_metric=axis)
        self._with_axis.update(metrics)
        super().log_metrics(metrics, step)


def wandb(
    run: RunDirectory, config: Config, id: str, project: str, entity: str | None = None, mode: Mode = "auto"
) -> WandbLogger:
    """Weights & Biases: the study is the group, placement and transform the job type; a resumed run is one run.

    mode: `auto` is what WANDB_MODE says, else online for a user who is logged in and offline for others; it never asks.
    Offline runs lie in `runs/<study>/wandb/`.
    """
    with importing(kept=False):
        import wandb as wandb_package  # here, for it takes a second; and this function has its name

    if mode == "auto":
        chosen = os.environ.get("WANDB_MODE") or ("online" if wandb_package.login(prompt=False) else "offline")
        if chosen not in ("online", "offline", "disabled"):
            raise StnlabError(f"WANDB_MODE={chosen}: give online, offline or disabled")
    else:
        chosen = mode
    # Pictures in tables are staged here until they are uploaded; by default in the home directory, where they get lost.
    os.environ.setdefault("WANDB_DATA_DIR", str(run.path.parents[1].absolute() / ".wandb"))
    choices = config["choices"]
    cell = (placement_name(config), choices.get("transform"))
    logger = EpochLogger(
        project=project,
        entity=entity,
        name=run.name,
        id=id,
        group=run.path.parent.name,
        job_type="-".join(filter(None, cell)),
        tags=list(dict.fromkeys(str(choice) for choice in choices.values())),
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
    return TensorBoardLogger(run.path, name="tensorboard", version="", default_hp_metric=False)


def mlflow(run: RunDirectory, id: str, tracking_uri: str | None = None) -> Logger:
    """MLflow: the study is the experiment; a resumed run is one run, found by its tag `stnlab.id`.

    tracking_uri: null is what MLFLOW_TRACKING_URI says, else `runs/<study>/mlflow.db`, pictures in `mlruns` beside it.
    """
    if getattr(rank_zero_only, "rank", 0) != 0:
        return DummyLogger()  # MLflow's own would open the database from every process
    missing = [name for name in ("mlflow", "sqlalchemy", "alembic") if not RequirementCache(module=name)]
    if missing:
        raise StnlabError(
            f"logger=mlflow: {', '.join(missing)} not installed; pip install '<path to the clone>[mlflow]'"
        )
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)  # or a new database tells of each of its migrations
    study = run.path.parent.absolute()
    uri, pictures = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"), None
    if not uri:
        study.mkdir(parents=True, exist_ok=True)
        uri, pictures = f"sqlite:///{study / 'mlflow.db'}", (study / "mlruns").as_uri()
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(study.name)
    number = experiment.experiment_id if experiment else client.create_experiment(study.name, pictures)
    found = client.search_runs([number], f"tags.`stnlab.id` = '{id}'", max_results=1)
    if found:
        client.update_run(found[0].info.run_id, status="RUNNING")
    return MLFlowLogger(
        experiment_name=study.name,
        run_name=run.name,
        tracking_uri=uri,
        tags={"stnlab.id": id},
        run_id=found[0].info.run_id if found else None,
    )

"""The results of a run once more, from its checkpoint."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl

from stnlab.choices import build, check
from stnlab.data.batch import Split
from stnlab.errors import StnlabError
from stnlab.runs.code_version import code_version
from stnlab.runs.directory import RunDirectory
from stnlab.runs.evaluation import Evaluation
from stnlab.runs.identity import Config
from stnlab.runs.predictions import Predictions
from stnlab.training.devices import Precision, check_devices
from stnlab.training.inspection import inspect_network
from stnlab.training.loading import load_components
from stnlab.training.notices import hide_notices
from stnlab.training.run import set_threads
from stnlab.training.summary import summarise


def _found_at(run: RunDirectory) -> str:
    """The folder of the run's data, if it is there."""
    known = run.info.get("data_root")
    there = isinstance(known, str) and Path(known).is_dir()
    return str(known) if there else os.environ.get("STNLAB_DATA", "data")


@dataclass(frozen=True)
class Evaluated:
    """What `predictions.npz`, `evaluation.npz` and `metrics.json` would hold today. device: `cpu` or `cuda`, say."""

    predictions: dict[Split, Predictions]
    evaluation: Evaluation
    metrics: dict[str, float]
    device: str

    def write(self, run: RunDirectory) -> None:
        """Replace these files of the run, and note by which code."""
        run.write_predictions(self.predictions)
        run.write_evaluation(self.evaluation)
        run.write_metrics(self.metrics)
        run.update(measured_by=code_version())


def evaluate_run(run: RunDirectory, config: Config, own_folders: Sequence[Path] = ()) -> Evaluated:
    """The last checkpoint on the validation and test splits; writes nothing.

    config: `trainer` (nothing is compiled, and the precision is the run's) and `root`, the folder of the dataset's
    files (None: where the run found them). own_folders: of the user's choices, whose classes the run may name. Raises
    StnlabError if it was tested on other images.
    """
    if check_devices(config["trainer"] | {"compile": None}) > 1:
        raise StnlabError(f"trainer.devices={config['trainer']['devices']}: an evaluation is one process; give 1")
    hide_notices()
    set_threads(config["trainer"]["threads"])
    root = config["root"] or _found_at(run)
    components = load_components(run, root, own_folders)
    precision = check(run.config["trainer"].get("precision"), Precision, f"{run.path}: trainer.precision")
    of_training = ("threads", "compile", "precision")
    options = {name: value for name, value in config["trainer"].items() if name not in of_training}
    trainer: pl.Trainer = build(
        options,
        "trainer",
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )
    trainer.test(components.module, datamodule=components.data, verbose=False)
    tested = run.predictions("test", ("logits", "labels", "indices"))
    now = components.module.predictions["test"]
    if tested and not (np.array_equal(tested.indices, now.indices) and np.array_equal(tested.labels, now.labels)):
        raise StnlabError(f"{run.path}: was not tested on the images in {root}; name their folder with root=...")
    evaluation = inspect_network(components, run.config, run.evaluation().frames)
    predictions = components.module.predictions
    metrics = summarise(predictions, components.data.distortion.size, evaluation, run.history)
    return Evaluated(predictions, evaluation, metrics, trainer.strategy.root_device.type)

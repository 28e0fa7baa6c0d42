"""The results of a run once more, from its checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Evaluated:
    """What `predictions.npz`, `evaluation.npz` and `metrics.json` would hold today."""

    predictions: dict[Split, Predictions]
    evaluation: Evaluation
    metrics: dict[str, float]

    def write(self, run: RunDirectory) -> None:
        """Replace these files of the run, and note by which code."""
        run.write_predictions(self.predictions)
        run.write_evaluation(self.evaluation)
        run.write_metrics(self.metrics)
        run.update(measured_by=code_version())


def evaluate_run(run: RunDirectory, config: Config, own_folders: Sequence[Path] = ()) -> Evaluated:
    """The last checkpoint on the validation and test splits; writes nothing.

    config: `trainer` (all but the precision, which is the run's) and `root`, the folder of the dataset's files.
    own_folders: of the user's choices, whose classes the run may name.
    """
    if check_devices(config["trainer"]) > 1:
        raise StnlabError(f"trainer.devices={config['trainer']['devices']}: an evaluation is one process; give 1")
    hide_notices()
    set_threads(config["trainer"]["threads"])
    components = load_components(run, config["root"], own_folders)
    precision = check(run.config["trainer"].get("precision"), Precision, f"{run.path}: trainer.precision")
    options = {name: value for name, value in config["trainer"].items() if name not in ("threads", "precision")}
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
    evaluation = inspect_network(components, run.config, run.evaluation().frames)
    predictions = components.module.predictions
    metrics = summarise(predictions, components.data.distortion.size, evaluation, run.history)
    return Evaluated(predictions, evaluation, metrics)

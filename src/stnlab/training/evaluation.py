"""The results of a run once more, from its checkpoint."""

import pytorch_lightning as pl

from stnlab.choices import build
from stnlab.errors import StnlabError
from stnlab.runs.directory import RunDirectory
from stnlab.runs.identity import Config
from stnlab.training.devices import check_devices
from stnlab.training.inspection import inspect_network
from stnlab.training.loading import load_components
from stnlab.training.notices import hide_notices
from stnlab.training.run import set_threads
from stnlab.training.summary import summarise


def evaluate_run(run: RunDirectory, config: Config) -> dict[str, float]:
    """Metrics of the last checkpoint on the validation and test splits; writes nothing.

    config: `trainer` (all but the precision, which is the run's) and `root`, the folder of the dataset's files.
    """
    if check_devices(config["trainer"]) > 1:
        raise StnlabError(f"trainer.devices={config['trainer']['devices']}: an evaluation is one process; give 1")
    hide_notices()
    set_threads(config["trainer"]["threads"])
    components = load_components(run, config["root"])
    options = {name: value for name, value in config["trainer"].items() if name not in ("threads", "precision")}
    trainer: pl.Trainer = build(
        options,
        "trainer",
        precision=run.config["trainer"]["precision"],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )
    trainer.test(components.module, datamodule=components.data, verbose=False)
    evaluation = inspect_network(components, run.config)
    return summarise(components.module.predictions, components.data.distortion.size, evaluation, run.history)

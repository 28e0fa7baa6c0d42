"""What the loggers are told of a run besides the metrics of its epochs: what it is, how it ended, what came out."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from stnlab.evaluation.calibration import confidences, reliability_bins
from stnlab.runs.directory import RunDirectory
from stnlab.runs.files import Row
from stnlab.runs.identity import Config
from stnlab.training.figures import pixels, run_figures

if TYPE_CHECKING:
    import wandb  # elsewhere only where there is such a logger: it takes a second to import

BEST = {"loss": min, "error": min, "ece": min, "accuracy": max}
ENVIRONMENT = (
    "version",
    "commit",
    "source",
    "device",
    "devices",
    "threads",
    "precision",
    "python",
    "torch",
    "parameters",
)
INTERRUPTED = 130
"""Exit status of a command that Ctrl-C or SIGTERM ended."""
BATCH = 500
"""MLflow refuses more than 1,000 metrics at once."""


@contextmanager
def tracked(loggers: Sequence[Logger], run: RunDirectory) -> Iterator[None]:
    """Describe the run to its loggers, and at the end, however it comes, close each with the job's exit status.

    A multirun goes on in the same process, so a logger left open would get the next run's metrics.
    """
    status = INTERRUPTED
    try:
        _describe(loggers, run)
        yield
        status = 0
    except Exception:
        status = 1
        raise
    finally:
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                import wandb

                wandb.finish(exit_code=status)  # by the logger, a run that could not be opened would be tried again
            elif isinstance(logger, MLFlowLogger):
                logger.finalize({0: "FINISHED", 1: "FAILED"}.get(status, "KILLED"))
            else:
                logger.finalize("success" if status == 0 else "failed")


def publish(loggers: Sequence[Logger], run: RunDirectory) -> None:
    """The results of a finished run: everything in `metrics.json`, the best epoch of each metric, figures, tables.

    Figures are drawn only where a logger shows them.
    """
    if not loggers:
        return
    history = run.history
    step = int(history[-1]["step"]) if history else 0
    results = run.metrics | best(history)
    # what the last epoch has logged already is the same number
    known = {name for name in (history[-1] if history else {}) if name.startswith("val/")}
    fresh = {name: value for name, value in results.items() if name not in known}
    showing = [logger for logger in loggers if isinstance(logger, WandbLogger | TensorBoardLogger | MLFlowLogger)]
    pictures = {f"figures/{name}": pixels(figure) for name, figure in run_figures(run).items()} if showing else {}
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            media: dict[str, Any] = {name: wandb.Image(picture) for name, picture in pictures.items()}
            media |= {"tables/calibration": _bins(run), "tables/predictions": _examples(run)}
            logger.experiment.log(media | {"trainer/global_step": step})
            logger.experiment.summary.update(results)
        elif isinstance(logger, MLFlowLogger):
            _to_mlflow(logger, fresh, pictures, step)
        else:
            logger.log_metrics(fresh, step)
        if isinstance(logger, TensorBoardLogger):
            for name, picture in pictures.items():
                logger.experiment.add_image(name, picture, step, dataformats="HWC")


def best(history: Sequence[Row]) -> dict[str, float]:
    """`best/<metric>`: the lowest loss, error and ECE and the highest accuracy of any epoch, also of earlier starts."""
    found = {}
    for name in dict.fromkeys(name for row in history for name in row):
        split, _, measure = name.partition("/")
        if split in ("train", "val") and measure in BEST:
            found[f"best/{name}"] = BEST[measure](row[name] for row in history if name in row)
    return found


def flat(config: Config) -> dict[str, Any]:
    """A normalised configuration as one level: the choice of each group by the group's name, options as `group/option`.

    Slashes, because W&B takes a dot in a name for nesting.
    """
    return dict(config["choices"]) | _flattened({key: value for key, value in config.items() if key != "choices"})


def _flattened(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for key, value in node.items():
        entries |= _flattened(value, f"{prefix}{key}/") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return entries


def _describe(loggers: Sequence[Logger], run: RunDirectory) -> None:
    config, info = flat(run.config), run.info
    machine = {f"environment/{name}": info[name] for name in ENVIRONMENT} | {"overrides": " ".join(info["overrides"])}
    for logger in loggers:
        if isinstance(logger, MLFlowLogger):  # whose parameters cannot change when a run goes on elsewhere; tags can
            with _kept("MLFLOW_TRACKING_URI"):
                logger.log_hyperparams(config)
            for name, value in machine.items():
                logger.experiment.set_tag(logger.run_id, name, value)
        else:
            logger.log_hyperparams(config | machine)


@contextmanager
def _kept(variable: str) -> Iterator[None]:
    """Leave it as it is: opening a run, MLflow sets it to this study's database, for all that this process starts."""
    before = os.environ.get(variable)
    try:
        yield
    finally:
        os.environ.pop(variable, None)
        os.environ.update({variable: before} if before is not None else {})


def _to_mlflow(
    logger: MLFlowLogger, metrics: Mapping[str, float], pictures: Mapping[str, np.ndarray], step: int
) -> None:
    named = [(name.replace("+", ""), value) for name, value in metrics.items()]  # MLflow allows no plus in a name
    for start in range(0, len(named), BATCH):
        logger.log_metrics(dict(named[start : start + BATCH]), step)
    for name, picture in pictures.items():
        logger.experiment.log_image(logger.run_id, picture, artifact_file=f"{name}.png")


def _bins(run: RunDirectory) -> "wandb.Table":
    """The reliability diagram of the test split as a table; `gap` is confidence minus accuracy."""
    import wandb

    test = run.predictions("test")
    assert test is not None
    bins = reliability_bins(*confidences(test.logits, test.labels))
    table = wandb.Table(columns=["low", "high", "count", "confidence", "accuracy", "gap"])
    for low, high, count, confidence, accuracy in zip(
        bins.edges[:-1], bins.edges[1:], bins.count, bins.confidence, bins.accuracy, strict=True
    ):
        means = [float(confidence), float(accuracy), float(confidence - accuracy)] if count else [None] * 3
        table.add_data(float(low), float(high), int(count), *means)
    return table


def _examples(run: RunDirectory) -> "wandb.Table":
    """Some test samples: the image, the view of each transformer, the label, what was predicted and how surely."""
    import wandb

    test, examples = run.predictions("test"), run.evaluation().examples
    assert test is not None
    rows = examples.indices
    confidence, correct = confidences(test.logits[rows], test.labels[rows])
    predicted = test.logits[rows].argmax(-1)
    views = [f"view {number + 1}" for number in range(len(examples.after))]
    table = wandb.Table(columns=["sample", "input", *views, "label", "predicted", "confidence", "correct"])
    for number, row in enumerate(rows):
        image = examples.images[number]
        pictures = [image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)]
        pictures += [after[number] for after in examples.after]
        table.add_data(
            int(test.indices[row]),
            *(wandb.Image(picture) for picture in pictures),
            *(" ".join(map(str, heads)) for heads in (test.labels[row], predicted[number])),
            float(confidence[number]),
            bool(correct[number]),
        )
    return table

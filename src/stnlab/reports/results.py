"""What one run of a study left: its configuration, and its results or why there are none."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stnlab.errors import StnlabError, first_line
from stnlab.evaluation import confidences, measure
from stnlab.runs import RunDirectory

FIVE = ("error", "accuracy", "ece", "nll", "brier")
FILES = ("config.yaml", "run.json", "metrics.csv", "metrics.json", "predictions.npz", "evaluation.npz")
NEEDED = ("logits", "labels", "indices")


@dataclass(frozen=True)
class Result:
    """What a finished run said of its test images: indices, confidence and correct [N], and all of `metrics.json`.

    commonest: the share of the label that most of them have, which saying the same of every image gets right.
    """

    indices: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray
    metrics: dict[str, float]
    commonest: float


@dataclass(frozen=True)
class Run:
    """A run of the study: its results, or in one line (`problem`) why there are none."""

    directory: RunDirectory
    config: dict[str, Any]
    info: dict[str, Any]
    result: Result | None
    problem: str | None

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def study(self) -> str:
        return self.directory.path.resolve().parent.name

    @property
    def made_of(self) -> list[str]:
        """Names, times and sizes of its files: what is written again has others."""
        files = [self.directory.path / name for name in FILES]
        stats = [(path.name, path.stat()) for path in files if path.exists()]
        return [self.study, self.directory.name, *(f"{name} {s.st_mtime_ns} {s.st_size}" for name, s in stats)]

    @property
    def collapsed(self) -> bool:
        """Whether a transformer of it ended blank or constant; its results count all the same."""
        return self.result is not None and self.result.metrics.get("health/collapsed", 0) > 0

    @property
    def guesses(self) -> bool:
        """Whether it has learnt nothing; its results count all the same."""
        return self.result is not None and float(self.result.correct.mean()) <= self.result.commonest


def read_run(directory: RunDirectory) -> Run:
    """Raises StnlabError if configuration or state cannot be read; results that cannot are the run's `problem`."""
    config, info = directory.config, directory.info
    missing = [key for key in ("choices", "seed", "placement") if key not in config]
    if missing:
        raise StnlabError(
            f"{directory.path}/config.yaml: has no {', '.join(missing)}; train this run again with fresh=true"
        )
    if info.get("state") == "failed":
        return Run(directory, config, info, None, "failed: " + first_line(info.get("error") or "no reason recorded"))
    if info.get("state") != "done":
        epochs = len(directory.history)
        after = f"after {epochs} epoch{'s' * (epochs != 1)}"
        return Run(directory, config, info, None, f"not finished: running or interrupted {after}")
    try:
        return Run(directory, config, info, _result(directory), None)
    except StnlabError as error:
        return Run(directory, config, info, None, "results cannot be used: " + first_line(error))


def _result(directory: RunDirectory) -> Result:
    predictions = directory.predictions("test", NEEDED)
    if predictions is None:
        raise StnlabError(f"{directory.path}/predictions.npz: holds no test predictions; train with fresh=true")
    confidence, correct = confidences(predictions.logits, predictions.labels)
    metrics = directory.metrics
    if any(f"test/{name}" not in metrics for name in FIVE):
        found = measure(predictions.logits, predictions.labels)
        metrics = {f"test/{name}": value for name, value in found.items()} | metrics
    counts = np.unique(predictions.labels, axis=0, return_counts=True)[1]
    return Result(predictions.indices, confidence, correct, metrics, counts.max() / counts.sum())

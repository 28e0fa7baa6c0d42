"""`compile` and `side_by_side`: does torch.compile pay, and how many runs at a time train the most in an hour?"""

import os
import tempfile
from typing import Any

import torch

from benchmark_cases.commands import seconds_of
from benchmark_cases.comparison import Comparison, medians
from benchmark_cases.training import ONE_EPOCH
from stnlab.compose import compose
from stnlab.training.run import train_run

EPOCHS, REPEATS, RUNS = 3, 3, 8
IMAGES = 20_000
"""Of an epoch: enough that a step counts for more than what stands around it."""


def compiling() -> list[Comparison]:
    """Images per second after the first epoch, with `trainer.compile` and without; what that first one costs is noted.

    On a GPU in the mode that replays CUDA graphs.
    """
    mode = "reduce-overhead" if torch.cuda.is_available() else "default"
    cases: dict[Any, Any] = {}
    for way in (mode, "null"):
        for epochs in (1, EPOCHS):
            cases[way, epochs] = lambda way=way, epochs=epochs: _train_seconds(way, epochs)
    seconds = medians(cases, REPEATS)
    later = {way: (seconds[way, EPOCHS] - seconds[way, 1]) / (EPOCHS - 1) for way in (mode, "null")}
    delay = (seconds[mode, 1] - later[mode]) - (seconds["null", 1] - later["null"])
    note = f"and {delay:.0f} s of each run to compile"
    return [Comparison(f"compile, {mode}", "images/s", IMAGES / later[mode], IMAGES / later["null"], note=note)]


def side_by_side() -> list[Comparison]:
    """Trainings per hour of a multirun that runs several at a time, against one at a time."""
    gpus = torch.cuda.device_count()
    at_once = [2, 4, 8] if gpus else [os.cpu_count() or 1]
    with tempfile.TemporaryDirectory() as folder:

        def rate(jobs: int) -> float:
            parallel = ["hydra/launcher=parallel", f"hydra.launcher.n_jobs={jobs * max(gpus, 1)}"]
            parallel += [f"hydra.launcher.jobs_per_device={jobs}"]
            study = [*ONE_EPOCH, "recipe.epochs=2", "callbacks=quiet", "fresh=true", f"runs_dir={folder}"]
            seeds = f"seed=range({RUNS})"
            return (
                RUNS * 3600 / seconds_of(["-m", "stnlab.train", "-m", seeds, *study, *(parallel if jobs > 1 else [])])
            )

        rates = medians({str(jobs): lambda jobs=jobs: rate(jobs) for jobs in (1, *at_once)}, 2)
    return [Comparison(f"side by side, {jobs} at a time", "runs/h", rates[str(jobs)], rates["1"]) for jobs in at_once]


def _train_seconds(mode: str, epochs: int) -> float:
    size = [f"recipe.epochs={epochs}", f"data.train_size={IMAGES}", f"trainer.compile={mode}"]
    with tempfile.TemporaryDirectory() as folder:
        run = train_run(compose("train", [*ONE_EPOCH, *size, f"runs_dir={folder}"]))
        return float(run.info["train_seconds"])

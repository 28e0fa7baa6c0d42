"""`compile` and `side_by_side`: does torch.compile pay, and how many runs at a time train the most in an hour?"""

import os
import statistics
import tempfile
from datetime import datetime
from pathlib import Path
from unittest.mock import patch

import torch

from benchmark_cases.clocks import EpochClock
from benchmark_cases.commands import seconds_of
from benchmark_cases.comparison import Comparison, medians
from benchmark_cases.training import ONE_EPOCH
from stnlab.compose import compose
from stnlab.runs.directory import find_runs
from stnlab.training.run import train_run

EPOCHS, SETTLED, REPEATS = 5, 2, 2
"""CUDA graphs of the last, smaller batch are recorded in the second epoch."""
IMAGES = 60_000 if torch.cuda.is_available() else 20_000
LENGTH = 20 if torch.cuda.is_available() else 2
CACHES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


def compiling() -> list[Comparison]:
    """Images per second of settled epochs, with `trainer.compile` and without; the note says what a run pays for it.

    On a GPU in the mode that replays CUDA graphs. Nothing is found compiled: caches start empty.
    """
    mode = "reduce-overhead" if torch.cuda.is_available() else "default"
    delays: list[float] = []

    def rate(way: str) -> float:
        *first, third, fourth, fifth = _epoch_seconds(way)
        settled = statistics.median([third, fourth, fifth])
        if way != "null":
            delays.append(sum(first) - SETTLED * settled)
        return IMAGES / settled

    rates = medians({way: lambda way=way: rate(way) for way in (mode, "null")}, REPEATS)
    note = f"and {statistics.median(delays):.0f} s of a run to compile"
    return [Comparison(f"compile, {mode}", "images/s", rates[mode], rates["null"], note=note)]


def _epoch_seconds(mode: str) -> list[float]:
    EpochClock.seconds.clear()
    clock = f"+callbacks.clock._target_={EpochClock.__module__}.{EpochClock.__name__}"
    size = [f"recipe.epochs={EPOCHS}", f"data.train_size={IMAGES}", f"trainer.compile={mode}", clock]
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, dict.fromkeys(CACHES, folder)):
        train_run(compose("train", [*ONE_EPOCH, *size, f"runs_dir={folder}"]))
    return list(EpochClock.seconds)


def side_by_side() -> list[Comparison]:
    """Trainings an hour, several at a time against one at a time: of two epochs on this CPU, of 20 on one GPU.

    Once. From the start of the first to the end of the last: what it takes until the first one starts is not counted.
    """
    cores = os.cpu_count() or 1
    at_once = [2, 4, 8] if torch.cuda.is_available() else [min(2, cores)]
    rates = medians({jobs: lambda jobs=jobs: _runs_an_hour(jobs) for jobs in ("1", *map(str, at_once))}, 1)
    return [Comparison(f"side by side, {jobs} at a time", "runs/h", rates[str(jobs)], rates["1"]) for jobs in at_once]


def _runs_an_hour(jobs: str) -> float:
    parallel = ["hydra/launcher=parallel", f"hydra.launcher.n_jobs={jobs}", f"hydra.launcher.jobs_per_device={jobs}"]
    runs = 3 * int(jobs)
    with tempfile.TemporaryDirectory() as folder:
        study = [*ONE_EPOCH, f"recipe.epochs={LENGTH}", "callbacks=quiet", f"runs_dir={folder}", "study=many"]
        command = ["-m", "stnlab.train", "-m", f"seed=range({runs})", *study, *(parallel if jobs != "1" else [])]
        seconds_of(command, CUDA_VISIBLE_DEVICES=os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0])
        found = [run.info for run in find_runs(Path(folder) / "many")]
    first, last = min(one["started"] for one in found), max(one["ended"] for one in found)
    return 3600 * runs / (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()

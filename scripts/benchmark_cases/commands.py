"""`startup` and `sweep`: what a command costs, each in a process of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmark_cases.comparison import Comparison, medians
from stnlab.compose import compose
from stnlab.errors import StnlabError
from stnlab.runs.directory import RunDirectory, find_runs
from stnlab.runs.identity import normalise

SCRIPTS = Path(__file__).parents[1]
REPEATS = 5
JOBS, FINISHED = 8, 500
TINY = ["recipe=smoke", "recipe.steps=1", "data.train_size=256", "data.validation_size=100", "data.test_size=100"]
TINY += ["logger=none", "callbacks=quiet", "evaluation.images=0", "trainer=cpu"]
"""Jobs that train for one step, so that nearly all of their time is what a job costs beyond its training."""

WANDB = ["logger=wandb", "logger.wandb.mode=offline"]
"""The default logger, which also gets figures and tables at a run's end."""
UNHEARD: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
"""A pipe would be waited for until W&B's own process, which inherits it, has ended too."""


def startup() -> list[Comparison]:
    """Seconds of `--help` against `import torch`, and to the first optimiser step against a minimal script."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = Path(folder) / "conf" / "callbacks" / "first_step.yaml"
        chosen.parent.mkdir(parents=True)
        chosen.write_text(
            yaml.safe_dump(
                {"defaults": ["default", "_self_"], "end": {"_target_": "benchmark_cases.first_step.EndAfterFirstStep"}}
            )
        )
        ours = ["-m", "stnlab.train", f"--config-dir={folder}/conf", "callbacks=first_step", "fresh=true"]
        ours += [f"runs_dir={folder}/runs"]
        seconds = medians(
            {
                "help": lambda: seconds_of(["-m", "stnlab.train", "--help"]),
                "torch": lambda: seconds_of(["-c", "import torch"]),
                "ours": lambda: seconds_of([*ours, "logger=csv"]),
                "wandb": lambda: seconds_of([*ours, *WANDB]),
                "lightning": lambda: seconds_of(["-m", "benchmark_cases.minimal_lightning"]),
            },
            REPEATS,
        )
    return [
        Comparison("startup --help, of import torch", "s", seconds["help"], seconds["torch"], at_most=0.5),
        Comparison("startup first step, of minimal Lightning", "s", seconds["ours"], seconds["lightning"], at_most=1.3),
        Comparison("startup the same, W&B offline", "s", seconds["wandb"], None),
    ]


def sweep() -> list[Comparison]:
    """Seconds of each further job of a multirun beyond its training, and of a multirun whose jobs are all finished."""
    with tempfile.TemporaryDirectory() as folder:

        def ours(jobs: int, *logger: str) -> float:
            study = [f"runs_dir={folder}", f"study=of{jobs}", "fresh=true"]
            return seconds_of(["-m", "stnlab.train", "-m", f"seed=range({jobs})", *TINY, *study, *logger])

        def hydra_alone(jobs: int) -> float:
            return seconds_of(
                ["-m", "benchmark_cases.empty_job", "-m", f"seed=range({jobs})", f"hydra.sweep.dir={folder}"]
            )

        seconds = medians(
            {
                "ours": lambda: (ours(1 + JOBS) - ours(1)) / JOBS,
                "wandb": lambda: (ours(1 + JOBS, *WANDB) - ours(1, *WANDB)) / JOBS,
                "hydra": lambda: (hydra_alone(1 + JOBS) - hydra_alone(1)) / JOBS,
            },
            3,
        )
        first = _finish(Path(folder), FINISHED)
        many = [*TINY, f"runs_dir={folder}", "study=many"]
        skipping = seconds_of(["-m", "stnlab.train", "-m", f"seed=range({FINISHED})", *many])
        if any(run.info["started"] != first.info["started"] for run in find_runs(Path(folder) / "many")):
            raise StnlabError("sweep: finished jobs were trained again")
    return [
        Comparison("sweep, each job", "s", seconds["ours"], seconds["hydra"], at_most=0.5, of="ours"),
        Comparison("sweep, each job, W&B offline", "s", seconds["wandb"], None),
        Comparison(f"sweep, {FINISHED} finished jobs", "s", skipping, None, at_most=20, of="ours"),
    ]


def _finish(runs: Path, count: int) -> RunDirectory:
    """A study of as many finished runs: copies of one, each under its own configuration. Returns that one."""
    choices = [*TINY, f"runs_dir={runs}", "study=many"]
    seconds_of(["-m", "stnlab.train", *choices])
    config = compose("train", choices)
    first = RunDirectory.of(runs / "many", normalise(config))
    for seed in range(1, count):
        copy = RunDirectory.of(runs / "many", normalise({**config, "seed": seed}))
        shutil.copytree(first.path, copy.path, ignore=shutil.ignore_patterns("config.yaml", "run.json"))
        copy.start(normalise({**config, "seed": seed}), {})
        copy.update(**first.info)
    return first


def seconds_of(arguments: Sequence[str], **variables: str) -> float:
    """Of this Python with these arguments, from the command to its end. Raises CalledProcessError if it fails.

    variables: of its environment, beside those of this process.
    """
    paths = [str(SCRIPTS), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path), **variables}
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=environment, check=True, **UNHEARD)
    return time.perf_counter() - start

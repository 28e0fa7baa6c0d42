"""`time_to_error`: images seen until the error of Jaderberg et al. (2015), Table 1, from runs that are finished."""

import json
import math
from pathlib import Path
from statistics import mean
from typing import Any

from benchmark_cases.comparison import Comparison
from stnlab.compose import compose
from stnlab.errors import StnlabError
from stnlab.runs.directory import RunDirectory, find_runs
from stnlab.runs.identity import Config, canonical

PRINTED = {"none": 0.012, "input": 0.007}
"""Error on rotated MNIST (R): CNN, and ST-CNN with an affine transformer."""
PAPERS_IMAGES = 150_000 * 256
RECIPES = ("fast", "fast_long", "fast_longer")
SHOWN = ("dataset", "distortion", "test_distortion", "test_size")
PARAMETERS, TOLERANCE, SEEDS = 400_000, 0.1, 3
MISSING = (
    "python -m stnlab.train -m recipe=fast_longer recipe.epochs=32 data.validation_size=0 seed=0,1,2 "
    "study={study} {choices}"
)
CHOICES = {"none": "placement=none", "input": "placement=input transform=affine"}
BACKBONES = {"none": "cnn_400k", "input": "st_cnn_400k"}
"""Not the table's fully connected networks, which are as large."""


def time_to_error(study: Path | None) -> list[Comparison]:
    """Paper's images over ours for the runs of a study that reach the printed error; says which runs are missing."""
    if study is None:
        raise StnlabError("time_to_error: give a study of finished runs, --study runs/<study>")
    shown = _shown(compose("train", ["data=mnist_rotated"]))
    done = [run for run in find_runs(study) if run.damaged is None and run.state == "done"]
    runs = [run for run in done if _shown(run.config) == shown]
    return [_compared(placement, [run for run in runs if _fits(run, placement)], study) for placement in PRINTED]


def _shown(config: Config) -> Any:
    """What decides how the images look that a network learns and is tested on."""
    return canonical({name: config["data"].get(name) for name in SHOWN})


def _fits(run: RunDirectory, placement: str) -> bool:
    choices = run.config["choices"]
    network = choices["placement"] == placement and choices["backbone"] == BACKBONES[placement]
    affine = choices.get("transform") in (None, "affine")
    sized = abs(run.info["parameters"] / PARAMETERS - 1) <= TOLERANCE
    return network and affine and sized and choices["recipe"] in RECIPES


def _compared(placement: str, runs: list[RunDirectory], study: Path) -> Comparison:
    """By the runs that differ in nothing but their seed; of several such sets that with the least validation error.

    One that trained on the validation images, too, has none: it counts where there is no other.
    """
    name = f"time_to_error {'ST-CNN' if placement == 'input' else 'CNN'}, R"
    alike: dict[str, dict[int, RunDirectory]] = {}
    for run in runs:
        rest = canonical({key: value for key, value in run.config.items() if key != "seed"})
        alike.setdefault(json.dumps(rest, sort_keys=True), {})[run.config["seed"]] = run
    enough = [list(seeds.values()) for seeds in alike.values() if len(seeds) >= SEEDS]
    if not enough:
        found = max(alike.values(), key=len, default={})
        lacking = [f"other seeds of {run.path}" for run in found.values()][:1]
        choices = f"{CHOICES[placement]} backbone={BACKBONES[placement]}"
        command = lacking[0] if lacking else MISSING.format(study=study.name, choices=choices)
        note = f"{len(found)} of {SEEDS} seeds are there; missing: {command}"
        return Comparison(name, "images", None, None, note=note)
    chosen = min(enough, key=lambda same: mean(run.metrics.get("val/error", math.inf) for run in same))
    error, seen = mean(run.metrics["test/error"] for run in chosen), max(int(run.info["images_seen"]) for run in chosen)
    reached = error <= PRINTED[placement]
    note = f"error {error:.2%} of {len(chosen)} seeds, printed {PRINTED[placement]:.1%}"
    if not reached:
        return Comparison(name, "images", None, PAPERS_IMAGES, note=f"{note}: NOT reached with {seen:,} images")
    return Comparison(name, "images", seen, PAPERS_IMAGES, at_most=1 / 20, note=note)

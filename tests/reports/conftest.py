"""Studies that no training made: plausible runs, written by RunDirectory itself."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import map_coordinates, zoom
from sklearn.datasets import load_digits

from stnlab.runs import LANDMARKS, Evaluation, Examples, Predictions, RunDirectory, code_version

SIZE = 28


@dataclass(frozen=True)
class Plan:
    """One run to make. quality: how far the right logit stands out. sharpness: above 1 is overconfident."""

    placement: str
    transform: str | None = None
    seed: int = 0
    quality: float = 4.0
    sharpness: float = 1.0
    depth: int | None = None
    end: str = "done"  # or failed, running, no-results
    extra: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)


def configuration(plan: Plan) -> dict[str, Any]:
    choices = {"data": "mnist_rotated", "backbone": "cnn", "placement": plan.placement}
    config: dict[str, Any] = {
        "data": {"_target_": "stnlab.data.mnist_rotated", "validation": 5000, "seed": 0},
        "backbone": {"_target_": "stnlab.models.cnn", "width": 32},
        "placement": {"_target_": f"stnlab.models.placement.{plan.placement}"},
    }
    if plan.depth is not None:
        config["placement"]["depth"] = plan.depth
    if plan.transform:
        choices |= {"transform": plan.transform, "localizer": "convolutional"}
        config["transform"] = {"_target_": f"stnlab.geometry.transforms.{plan.transform.title()}"}
        config["localizer"] = {"_target_": "stnlab.models.localizers.Convolutional", "width": 20}
    choices |= {"recipe": "fast", "trainer": "cpu"}
    config["recipe"] = {"epochs": 8, "lr": 0.003, "batch_size": 256}
    config |= {"trainer": {"precision": 32}, "callbacks": {}}
    for group, values in plan.extra.items():
        config[group] |= values
    return {"choices": choices, "seed": plan.seed, **config}


def rotation(angle: np.ndarray) -> np.ndarray:
    """[N, 2, 2], counterclockwise as seen, y pointing down."""
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([c, s], -1), np.stack([-s, c], -1)], -2)


def sample(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The view a linear map of normalised coordinates makes of an image, background outside: align_corners=False."""
    step = (2 * np.arange(size) + 1) / size - 1
    x, y = np.meshgrid(step, step)
    source = matrix @ np.stack([x.ravel(), y.ravel()])
    height, width = image.shape
    rows, columns = ((source[1] + 1) * height - 1) / 2, ((source[0] + 1) * width - 1) / 2
    return map_coordinates(image.astype(float), [rows, columns], order=1).reshape(size, size)


def write_run(study: Path, plan: Plan, images: int) -> RunDirectory:
    config = configuration(plan)
    run = RunDirectory.of(study, config)
    environment = dict(
        code_version(), device="cpu (Xeon)", threads=2, precision="32-true", started="2026-11-22T10:00:00"
    )
    run.start(config, environment | plan.environment)
    rng = np.random.default_rng([plan.seed, len(plan.placement), int(10 * plan.quality)])
    epochs = 3 if plan.end in ("failed", "running") else 8
    run.write_history([_epoch(epoch, plan, rng) for epoch in range(epochs)])
    if plan.end == "running":
        return run
    if plan.end == "failed":
        run.update(state="failed", error="RuntimeError: loss is NaN after 412 steps", ended="2026-11-22T10:01:00")
        return run
    if plan.end == "done":
        write_results(run, plan, rng, images)
    run.update(
        state="done",
        ended="2026-11-22T10:02:03",
        train_seconds=61.3,
        images_per_second=7200.0,
        images_seen=440000,
        parameters=100000 + 20000 * bool(plan.transform),
    )
    return run


def write_results(run: RunDirectory, plan: Plan, rng: np.random.Generator, images: int) -> None:
    shared = np.random.default_rng(7)  # what all runs of a study are tested on
    labels, angles = shared.integers(10, size=images), shared.uniform(-np.pi / 2, np.pi / 2, images)
    difficulty = shared.gumbel(size=(images, 10))
    logits = difficulty + 0.7 * rng.normal(size=(images, 10)) + plan.quality * np.eye(10)[labels]
    found = angles + rng.normal(0, 0.15, images)
    poses, warps = (LANDMARKS @ rotation(a).swapaxes(1, 2) for a in (angles, -0.9 * found))
    test = Predictions(
        logits=(plan.sharpness * logits)[:, None].astype(np.float32),
        labels=labels[:, None],
        indices=np.arange(images),
        poses=poses[:, None].astype(np.float32),
        warps=warps[:, None].astype(np.float32) if plan.transform else None,
        pose_parameters={"rotation": angles[:, None]},
    )
    run.write_predictions({"test": test})
    run.write_evaluation(Evaluation(examples(labels, angles, -0.9 * found, plan)))
    accuracy = float((logits.argmax(1) == labels).mean())
    run.write_metrics({"test/error": 1 - accuracy, "test/accuracy": accuracy})


def examples(labels: np.ndarray, angles: np.ndarray, found: np.ndarray, plan: Plan) -> Examples:
    pictures, classes = load_digits(return_X_y=True)
    shown = range(12)
    images, views = [], []
    for number in shown:
        flat = pictures[np.flatnonzero(classes == labels[number])[number]]
        digit = np.pad(zoom(flat.reshape(8, 8) / 16, 2.5, order=1), 4)
        images.append(sample(digit, rotation(angles[number]), SIZE))
        views.append(sample(images[-1], rotation(found[number]), SIZE))
    stack, after = ((255 * np.clip(np.stack(values), 0, 1)).astype(np.uint8) for values in (images, views))
    before = stack
    if plan.placement == "deep":
        edges = np.abs(np.gradient(stack.astype(float), axis=2))[:, ::2, ::2]
        before = (255 * edges / edges.max()).astype(np.uint8)
        after = np.stack([sample(b, rotation(found[n]), 14) for n, b in enumerate(before)]).astype(np.uint8)
    transformed = {"before": [before], "after": [after]} if plan.transform else {}
    return Examples(indices=np.arange(len(shown)), images=stack[:, None], **transformed)


def _epoch(epoch: int, plan: Plan, rng: np.random.Generator) -> dict[str, float]:
    loss = 2.0 * np.exp(-epoch / 2) / plan.quality + 0.05 + 0.01 * rng.random()
    error = 0.6 * loss
    return {
        "epoch": epoch,
        "step": 215 * (epoch + 1),
        "images_seen": 55000 * (epoch + 1),
        "train/loss": loss,
        "train/accuracy": 1 - error,
        "train/ece": 0.02,
        "val/loss": loss * 1.1,
        "val/accuracy": 1 - error * 1.05,
        "val/error": error * 1.05,
        "val/ece": 0.02,
    }


PLANS = [
    Plan("none", quality=4.0, sharpness=1.1),
    Plan("none", quality=4.05, sharpness=1.1, seed=1),
    Plan("input", "affine", quality=5.0, sharpness=0.8),
    Plan("input", "affine", quality=5.1, sharpness=0.8, seed=1),
    Plan("input", "rotation_scale", quality=5.6, sharpness=1.5),
    Plan("deep", "affine", quality=4.05, sharpness=1.6, depth=1),
    Plan("deep", "affine", seed=1, depth=1, end="failed"),
    Plan("deep", "rotation_scale", depth=1, end="running"),
]
"""4 cells with results, with 1 or 2 seeds, and one without; a run that failed and one that was interrupted."""


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PLANS, to be read and reported on, not to be changed."""
    path = tmp_path_factory.mktemp("runs") / "synthetic"
    for plan in PLANS:
        write_run(path, plan, images=600)
    return path


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Path]:
    """make_study({fields of a Plan}, ...): a small study of its own."""

    def make(*plans: dict[str, Any], images: int = 200) -> Path:
        for plan in plans:
            write_run(tmp_path / "own", Plan(**plan), images)
        return tmp_path / "own"

    return make

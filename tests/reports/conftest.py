"""Studies that no training made: plausible runs, written by RunDirectory itself."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import map_coordinates, zoom
from sklearn.datasets import load_digits

from stnlab.evaluation import confidences, measure, softmax, wilson
from stnlab.runs import LANDMARKS, Evaluation, Examples, Predictions, RunDirectory, code_version
from stnlab.runs.evaluation import Frames, Orbit

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
    data: str = "mnist_rotated"
    old: bool = False  # from before there were orbits, residuals and most measures
    collapsed: bool = False
    extra: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)


def configuration(plan: Plan) -> dict[str, Any]:
    choices = {"data": plan.data, "backbone": "cnn", "placement": plan.placement}
    config: dict[str, Any] = {
        "data": {"_target_": f"stnlab.data.{plan.data}", "validation": 5000, "seed": 0},
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
        parameters=plan.environment.get("parameters", 100000 + 20000 * bool(plan.transform)),
    )
    return run


def write_results(run: RunDirectory, plan: Plan, rng: np.random.Generator, images: int) -> None:
    shared = np.random.default_rng(7)  # what all runs of a study are tested on
    labels, angles = shared.integers(10, size=images), shared.uniform(-np.pi / 2, np.pi / 2, images)
    difficulty = shared.gumbel(size=(images, 10))
    logits = difficulty + 0.7 * rng.normal(size=(images, 10)) + plan.quality * np.eye(10)[labels]
    found = 0.9 * (angles + rng.normal(0, 0.15, images))
    moved = (angles, -found, angles - found)
    poses, warps, residuals = ((LANDMARKS @ rotation(a).swapaxes(1, 2)).astype(np.float32) for a in moved)
    test = Predictions(
        logits=(plan.sharpness * logits)[:, None].astype(np.float32),
        labels=labels[:, None],
        indices=np.arange(images),
        poses=poses[:, None],
        warps=warps[:, None] if plan.transform else None,
        residuals=residuals[:, None, None] if plan.transform and not plan.old else None,
        outside=np.full((images, 1), 0.1, np.float32) if plan.transform and not plan.old else None,
        blank=np.zeros((images, 1), bool) if plan.transform and not plan.old else None,
        pose_parameters={"rotation": angles[:, None]},
    )
    run.write_predictions({"test": test})
    shown = examples(labels, angles, -found, plan)
    metrics = {f"test/{name}": value for name, value in measure(test.logits, test.labels).items()}
    if plan.old:
        run.write_evaluation(Evaluation(shown))
    else:
        orbits, means = {"rotation": orbit(plan, labels)}, class_means(labels, angles, moved[2], plan)
        frames = training_frames(shown, angles, found) if plan.transform else None
        run.write_evaluation(Evaluation(shown, orbits, class_means=means, frames=frames))
        metrics |= more_metrics(test, angles, moved[2], orbits["rotation"], plan)
    run.write_metrics(metrics)


def more_metrics(
    test: Predictions, angles: np.ndarray, left: np.ndarray, turned: Orbit, plan: Plan
) -> dict[str, float]:
    """Names as real runs have them; values of the right size, most of them computed."""
    confidence, correct = confidences(test.logits, test.labels)
    found = {"test/gap": confidence.mean() - correct.mean(), "test/ece_adaptive": 0.011, "test/mce": 0.2}
    cooled = measure(test.logits / plan.sharpness, test.labels)
    found |= {"temperature/value": plan.sharpness, "temperature/gap": 0.001}
    found |= {f"temperature/{name}": cooled[name] for name in ("ece", "nll", "brier")}
    edges = np.linspace(-90, 90, 9)
    for number, (low, high) in enumerate(pairwise(edges)):
        inside = (np.degrees(angles) >= low) & (np.degrees(angles) < high)
        wrong, n = int((~correct[inside]).sum()), int(inside.sum())
        ends = wilson(wrong, n)
        gap = abs(confidence[inside].mean() - correct[inside].mean())
        bin_ = {"low": low, "high": high, "n": n, "error": wrong / n, "error_low": ends[0], "error_high": ends[1]}
        bin_ |= {"ece": gap, "ece_low": gap / 2, "ece_high": 2 * gap, "confidence": confidence[inside].mean()}
        found |= {f"by_pose/rotation/{number:02d}/{name}": value for name, value in bin_.items()}
    found["invariance/rotation/accuracy"] = (turned.predicted == turned.labels).mean()
    found["invariance/rotation/agreement"] = (turned.predicted == turned.predicted[turned.canonical]).mean()
    found["invariance/rotation/total_variation"] = turned.variation.mean()
    right, seen = (turned.predicted == turned.labels).mean((1, 2)), np.abs(turned.values) <= 90
    found |= {"invariance/rotation/inside/accuracy": right[seen].mean()}
    found |= {"invariance/rotation/outside/accuracy": right[~seen].mean()}
    if plan.transform:
        prefix = "rectification/0/rotation"
        spread = {"input": circular(angles), "residual": circular(left)}
        found |= {f"{prefix}/{name}": value for name, value in spread.items()}
        for label in range(10):
            own = test.labels[:, 0] == label
            found |= {f"{prefix}/class_{label}/input": circular(angles[own])}
            found |= {f"{prefix}/class_{label}/residual": circular(left[own])}
        found |= {"equivariance/rotation/depth_1": 0.3} if plan.placement == "deep" else {}
        found |= {"health/outside/0": 0.1, "health/collapsed": float(plan.collapsed)}
    return {name: float(value) for name, value in found.items()}


def circular(angles: np.ndarray) -> float:
    return float(np.degrees(np.sqrt(-2 * np.log(np.abs(np.exp(1j * angles).mean())))))


def orbit(plan: Plan, labels: np.ndarray) -> Orbit:
    rng = np.random.default_rng(3)
    values, shown = np.arange(-180.0, 180.0, 15.0), np.arange(min(len(labels), 100))
    margin = plan.quality * np.exp(-((values / 110) ** 2)) - 1
    logits = rng.gumbel(size=(len(shown), 10)) + margin[:, None, None] * np.eye(10)[labels[shown]]
    said = softmax(logits)
    variation = np.abs(said - said[12]).sum(-1) / 2
    predicted, confidence = said.argmax(-1).astype(np.int16), said.max(-1).astype(np.float32)
    limits = (-90.0, 90.0)
    return Orbit(
        values, 12, limits, shown, labels[shown, None], predicted[..., None], confidence, variation.astype(np.float32)
    )


def class_means(
    labels: np.ndarray, angles: np.ndarray, left: np.ndarray, plan: Plan
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each class's first digit in 20 poses, and in what is left of them."""
    if not plan.transform:
        return []
    means = [
        [
            np.mean([sample(digit(k), matrix, SIZE) for matrix in rotation(turned[labels == k][:20])], 0)
            for k in range(10)
        ]
        for turned in (angles, left)
    ]
    return [(np.stack(means[0]).astype(np.float32), np.stack(means[1]).astype(np.float32))]


def training_frames(shown: Examples, angles: np.ndarray, found: np.ndarray) -> Frames:
    """A transformer that learns to turn further, over 4 epochs."""
    turns = -found[: len(shown.images)] * np.linspace(0.25, 1, 4)[:, None]
    picked = shown.before[0]
    views = np.stack(
        [np.stack([sample(p, rotation(a), p.shape[0]) for p, a in zip(picked, row, strict=True)]) for row in turns]
    )
    corners = LANDMARKS[[0, 2, 8, 6]] @ rotation(turns).swapaxes(2, 3)
    return Frames(np.array([1, 2, 4, 8]), [views.astype(np.uint8)], corners[:, :, None])


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    pictures, classes = load_digits(return_X_y=True)
    return pictures, classes


@cache
def digit(label: int, number: int = 0) -> np.ndarray:
    """[28, 28] in [0, 1]."""
    pictures, classes = digits()
    flat = pictures[np.flatnonzero(classes == label)[number]]
    return np.pad(zoom(flat.reshape(8, 8) / 16, 2.5, order=1), 4)


def examples(labels: np.ndarray, angles: np.ndarray, found: np.ndarray, plan: Plan) -> Examples:
    shown = range(12)
    images, views = [], []
    for number in shown:
        images.append(sample(digit(labels[number], number), rotation(angles[number]), SIZE))
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

import copy
from typing import Any

import pytest

from stnlab.runs.identity import digest, normalise, run_name

CONFIG: dict[str, Any] = {
    "choices": {
        "data": "mnist_rotated",
        "backbone": "cnn",
        "localizer": "conv",
        "placement": "deep",
        "transform": "affine",
        "recipe": "fast",
    },
    "seed": 3,
    "study": "mine",
    "runs_dir": "runs",
    "fresh": False,
    "data": {"_target_": "D", "root": "data", "validation_size": 5000},
    "backbone": {"_target_": "B", "channels": [32, 64]},
    "localizer": {"_target_": "L"},
    "placement": {"_target_": "stnlab.models.placement.deep", "depth": 1},
    "transform": {"_target_": "T", "lr_multiplier": 0.1},
    "recipe": {"_target_": "R", "epochs": 8},
    "trainer": {"_target_": "pytorch_lightning.Trainer", "accelerator": "cpu", "devices": 1, "precision": "32-true"},
    "callbacks": {"progress": {}},
    "evaluation": {"images": 2000, "rotations": 24, "scales": 9},
    "logger": {"wandb": {}},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    *parents, last = path.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    node[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 4),
        ("data.validation_size", 0),
        ("backbone.channels", [32, 65]),
        ("placement.depth", 2),
        ("transform.lr_multiplier", 0.2),
        ("recipe.epochs", 9),
        ("trainer.precision", "bf16-mixed"),
        ("trainer.accumulate_grad_batches", 2),
        ("callbacks.early", {"_target_": "E"}),
        ("evaluation.images", 0),
        ("evaluation.rotations", 12),
    ],
)
def test_what_can_change_a_result_makes_another_run(path: str, value: Any):
    assert digest(normalise(changed(path, value))) != digest(normalise(CONFIG))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("study", "other"),
        ("runs_dir", "elsewhere"),
        ("fresh", True),
        ("data.root", "elsewhere"),
        ("data.memory_gib", 0),
        ("data.workers", 3),
        ("logger", {}),
        ("callbacks", {}),
        ("trainer.accelerator", "gpu"),
        ("trainer.devices", 2),
        ("trainer.threads", 1),
        ("placement.depth", 1.0),
        ("backbone.new_option", None),
        ("choices.data", "my_name_for_it"),
    ],
)
def test_what_cannot_change_a_result_is_the_same_run(path: str, value: Any):
    assert digest(normalise(changed(path, value))) == digest(normalise(CONFIG))


def test_without_a_transformer_its_choices_are_gone():
    none = changed("placement", {"_target_": "stnlab.models.placement.none"})
    other = copy.deepcopy(none)
    other["transform"] = {"_target_": "another"}
    other["localizer"] = {"_target_": "another"}
    assert normalise(none)["choices"].keys() & {"transform", "localizer"} == set()
    assert digest(normalise(none)) == digest(normalise(other))


def test_without_orbits_their_sizes_are_gone_as_in_runs_that_never_had_any():
    off = {"images": 0, "rotations": 24, "scales": 9}
    without = {key: value for key, value in CONFIG.items() if key != "evaluation"}
    assert "evaluation" not in normalise(changed("evaluation", off))
    assert digest(normalise(changed("evaluation", {**off, "scales": 3}))) == digest(normalise(without))


def test_the_identity_transform_has_no_localizer():
    identity = changed("transform", {"_target_": "stnlab.geometry.transforms.Identity"})
    assert "localizer" not in normalise(identity)
    assert "transform" in normalise(identity)


def stacked(localizers: Any) -> dict[str, Any]:
    placement = {"_target_": "stnlab.models.placement.stacked", "depths": [0, 2]}
    return changed("placement", placement if localizers is None else placement | {"localizers": localizers})


def test_localizers_by_depth_count_as_far_as_they_are_used():
    plain, own = digest(normalise(stacked(None))), {"_target_": "other"}
    for nothing in ({}, {0: None}, {"0": None, "2": None}):
        assert digest(normalise(stacked(nothing))) == plain
    first = normalise(stacked({0: own, 2: None}))
    assert digest(first) == digest(normalise(stacked({"0": own}))) != plain
    assert first["localizer"] == CONFIG["localizer"]
    every = normalise(stacked({0: own, 2: own}))
    assert "localizer" not in every
    assert "localizer" not in every["choices"]


def test_the_identity_transform_has_no_localizers_by_depth():
    config = stacked({0: {"_target_": "other"}})
    config["transform"] = {"_target_": "stnlab.geometry.transforms.Identity"}
    assert "localizers" not in normalise(config)["placement"]


def test_the_name_is_short_readable_and_needs_no_quotes():
    name = run_name(normalise(CONFIG))
    assert name == f"mnist_rotated-cnn-deep1-affine-fast-s3-{digest(normalise(CONFIG))}"
    timm = changed("backbone", {"_target_": "B", "name": "resnet18"})
    assert run_name(normalise(timm)).startswith("mnist_rotated-resnet18-deep1-")
    long = changed("choices.data", "a b/" * 60)
    assert len(run_name(normalise(long))) <= 96
    assert " " not in run_name(normalise(long))
    assert "/" not in run_name(normalise(long))


def test_the_order_of_keys_does_not_count():
    reordered = dict(reversed(normalise(CONFIG).items()))
    assert digest(reordered) == digest(normalise(CONFIG))

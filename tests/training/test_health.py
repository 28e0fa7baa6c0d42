"""Collapse, gradients, class means and frames in whole runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import circstd

from stnlab.compose import compose
from stnlab.errors import StnlabError
from stnlab.runs.directory import RunDirectory
from stnlab.runs.evaluation import Frames
from stnlab.training import frames as frames_module
from stnlab.training.components import build_components
from stnlab.training.evaluation import evaluate_run
from stnlab.training.examples import first_images
from stnlab.training.frames import FrameRecorder
from stnlab.training.loading import load_components
from stnlab.training.recorder import Recorder
from stnlab.training.run import train_run
from stnlab.training.running_health import GradientNorms, worst

Train = Callable[..., RunDirectory]
SMALL = ["recipe=smoke", "recipe.steps=null", "recipe.epochs=3", "recipe.eval_batch_size=70", "logger=none"]
SMALL += ["trainer=cpu", "backbone.channels=[4,4]", "localizer.channels=[4,4]"]
SMALL += ["data.train_size=300", "data.validation_size=150", "data.test_size=150"]
COLLAPSING = ["transform=translation", "transform.lr_multiplier=1000"]


@pytest.fixture
def train(tmp_path: Path, mnist_root: Path) -> Train:
    def start(*overrides: str, callbacks: str = "quiet") -> RunDirectory:
        places = [f"data.root={mnist_root}", f"runs_dir={tmp_path}", f"callbacks={callbacks}"]
        return train_run(compose("train", [*SMALL, *places, *overrides]))

    return start


def test_a_collapse_is_named_once_and_marked(train: Train, capsys: pytest.CaptureFixture[str]):
    run = train(*COLLAPSING)
    lines = [line for line in capsys.readouterr().out.splitlines() if "collapsed" in line]
    assert lines == [f"{run.path}: after epoch 1, transformer 0 has collapsed: 100% of its views are blank"]
    assert len(run.history) == 3
    assert [row["health/collapsed"] for row in run.history] == [1, 1, 1]
    assert run.metrics["health/collapsed"] == run.metrics["health/blank/0"] == run.metrics["health/outside/0"] == 1
    assert "stopped" not in run.info


def test_a_collapsed_training_can_be_stopped_and_is_done_all_the_same(
    train: Train, monkeypatch: pytest.MonkeyPatch, mnist_root: Path
):
    chosen = compose("train", ["callbacks=stop_when_collapsed"])["callbacks"]
    assert set(chosen) == {"progress", "stop_when_collapsed"}

    def interrupt(*_: Any, **__: Any) -> None:
        raise RuntimeError("pulled the plug")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="pulled the plug"):
        patch.setattr("stnlab.training.classifier.Classifier.on_test_epoch_start", interrupt)
        train(*COLLAPSING, callbacks="stop_when_collapsed")
    run = train(*COLLAPSING, callbacks="stop_when_collapsed")  # goes on, and has nothing more to train
    assert run.state == "done"
    assert run.info["stopped"] == "collapsed after epoch 1"
    assert run.info["epochs"] == len(run.history) == 1
    assert run.metrics["health/collapsed"] == 1
    healthy = train(callbacks="stop_when_collapsed")
    assert "stopped" not in healthy.info
    assert healthy.info["epochs"] == 3
    with pytest.raises(StnlabError, match=r"data.validation_size=0 leaves none"):
        train("data.validation_size=0", callbacks="stop_when_collapsed")


def test_without_validation_the_test_shows_a_collapse(train: Train, capsys: pytest.CaptureFixture[str]):
    run = train(*COLLAPSING, "data.validation_size=0")
    assert f"{run.path}: on the test images, transformer 0 has collapsed" in capsys.readouterr().out
    assert "health/collapsed" not in run.history[-1]


def test_an_evaluation_in_other_batches_finds_the_same(train: Train, mnist_root: Path):
    run = train("placement=stacked", "placement.depths=[0,1]", "transform=affine", "recipe.epochs=1")
    config = run.path / "config.yaml"
    config.write_text(config.read_text().replace("eval_batch_size: 70", "eval_batch_size: 1000"))
    trainer = {"_target_": "pytorch_lightning.Trainer", "accelerator": "cpu", "devices": 1, "threads": 1}
    again = evaluate_run(run, {"trainer": {**trainer, "precision": "32-true"}, "root": str(mnist_root)}).metrics
    assert again == pytest.approx(run.metrics, rel=1e-5, abs=1e-6)
    for number in range(2):
        for name in ("outside", "blank", "theta_spread", "theta_drift"):
            assert f"health/{name}/{number}" in again
        assert f"rectification/{number}/rotation/residual" in again

    components = load_components(run, str(mnist_root))
    data, network = components.data, components.module.network.eval()
    data.setup()
    images = first_images(data, 150)
    with torch.no_grad():
        said = network(images)
    labels = data.loader("test").labels[data.rows["test"], 0].numpy()
    found = run.evaluation()
    assert found.view_variances is not None
    grey = [images.double().mean(1) * 0.3081 + 0.1307, said.views[0].double().mean(1) * 0.3081 + 0.1307]
    for one, means, variance in zip(grey, found.class_means[0], found.view_variances[0], strict=True):
        by_hand = np.stack([one.numpy()[labels == label].mean(0) for label in range(10)])
        np.testing.assert_allclose(means, by_hand, atol=1e-6)
        assert variance == pytest.approx(one.numpy().var(0).mean(), rel=1e-5)
    features = said.inputs[1].mean(1).numpy()
    np.testing.assert_allclose(found.class_means[1][0][3], features[labels == 3].mean(0), atol=1e-5)

    test = run.predictions("test")
    assert test is not None
    assert test.residuals is not None
    assert test.residuals.shape == (150, 2, 1, 9, 2)


def test_an_interrupted_run_keeps_its_gradients_and_frames(train: Train, monkeypatch: pytest.MonkeyPatch):
    whole = train("study=whole", "transform=rotation")
    original = Recorder.on_train_epoch_end

    def interrupt(self: Recorder, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        if trainer.current_epoch == 1:
            raise RuntimeError("pulled the plug")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="pulled the plug"):
        patch.setattr(Recorder, "on_train_epoch_end", interrupt)
        train("study=parts", "transform=rotation")
    parts = train("study=parts", "transform=rotation")
    assert (parts.path / "metrics.json").read_bytes() == (whole.path / "metrics.json").read_bytes()
    assert parts.history == whole.history
    last = whole.history[-1]
    for name in ("health/grad_localizer", "health/grad_classifier"):
        assert whole.metrics[name] == last[name] > 0
    test = whole.predictions("test")
    assert test is not None
    assert test.warps is not None
    right = test.warps[:, 0, 5]
    angle = test.pose_parameters["rotation"][:, 0] + np.arctan2(right[:, 1], right[:, 0])  # turns add up
    lengths = [np.exp(-(circstd(angle[test.labels[:, 0] == label]) ** 2) / 2) for label in test.labels[:, 0]]
    pooled = np.degrees(np.sqrt(-2 * np.log(np.mean(lengths))))
    assert whole.metrics["rectification/0/rotation/residual"] == pytest.approx(pooled, rel=1e-5)
    first, second = whole.evaluation(), parts.evaluation()
    assert first.frames is not None
    assert second.frames is not None
    np.testing.assert_array_equal(first.frames.epochs, [1, 2, 3])
    np.testing.assert_array_equal(first.frames.views[0], second.frames.views[0])
    np.testing.assert_array_equal(first.frames.corners, second.frames.corners)
    np.testing.assert_array_equal(first.frames.views[0][-1], first.examples.after[0][:8])  # the last frame is the end


def test_small_views_of_an_image_are_shown_as_images(train: Train):
    found = train(
        "placement.size=[14,14]", "backbone.kernels=[3,3]", "transform=identity", "recipe.epochs=1"
    ).evaluation()
    before, after = found.class_means[0]
    assert (before.shape, after.shape) == ((10, 28, 28), (10, 14, 14))
    np.testing.assert_allclose(after.mean((1, 2)), before.mean((1, 2)), atol=1e-5)
    assert found.frames is not None
    np.testing.assert_array_equal(found.frames.views[0][0], found.examples.after[0][:8])


def test_gradient_norms_are_the_means_of_the_steps(mnist_root: Path):
    network = build_components(compose("train", [*SMALL, f"data.root={mnist_root}"])).module.network
    norms, image = GradientNorms(network), torch.randn(6, 1, 28, 28)
    localizer = {id(one) for one in network.transformers.parameters()}
    by_hand: list[list[float]] = []
    for factor in (1.0, 3.0, float("inf")):
        network.zero_grad()
        (network(image).logits.square().mean() * factor).backward()
        norms.update()
        if factor < 10:
            squares = {True: 0.0, False: 0.0}
            for one in network.parameters():
                assert one.grad is not None
                squares[id(one) in localizer] += float(one.grad.double().square().sum())
            by_hand.append([squares[True] ** 0.5, squares[False] ** 0.5])
    found = norms.collect()
    mean = np.mean(by_hand, axis=0)
    assert [found["health/grad_localizer"], found["health/grad_classifier"]] == pytest.approx(list(mean), rel=1e-5)
    assert norms.collect() == {}


def test_a_gradient_that_is_missing_is_zero_and_one_that_is_infinite_is_left_out(mnist_root: Path):
    network = build_components(compose("train", [*SMALL, f"data.root={mnist_root}"])).module.network
    norms, (first, *others) = GradientNorms(network), network.classifier_parameters()
    first.requires_grad_(False)
    for factor in (1.0, float("inf")):
        for one in others:
            one.grad = factor * torch.ones_like(one)
        norms.update()
    count = sum(one.numel() for one in others)
    assert norms.collect() == pytest.approx({"health/grad_localizer": 0.0, "health/grad_classifier": count**0.5})


def test_the_worst_transformer_is_the_one_that_moves_least():
    found = {"theta_spread/0": 3.0, "theta_spread/1": 0.1, "theta_drift/0": 1.0, "theta_drift/1": 2.0, "collapsed": 0.0}
    assert worst(found) == {"health/theta_spread": 0.1, "health/theta_drift": 2.0, "health/collapsed": 0.0}


@pytest.mark.parametrize("epochs", [3, 39, 40, 41, 200, 1000])
def test_frames_are_few_and_even_and_end_with_the_last(epochs: int, mnist_root: Path):
    components = build_components(compose("train", [*SMALL, f"data.root={mnist_root}"]))
    recorder = FrameRecorder(components.module.network, components.data)
    for epoch in range(1, epochs + 1):
        recorder.keep(epoch, {"corners": torch.zeros(8, 1, 4, 2), "views/0": torch.zeros(8, 2, 2, dtype=torch.uint8)})
    again = FrameRecorder(components.module.network, components.data)
    again.load_state_dict(recorder.state_dict())
    found = again.frames()
    assert isinstance(found, Frames)
    assert found.epochs[-1] == epochs
    assert min(epochs, frames_module.MOST // 2) <= len(found.epochs) <= frames_module.MOST
    assert len(set(np.diff(found.epochs)[:-1])) <= 1
    assert found.views[0].shape == (len(found.epochs), 8, 2, 2)

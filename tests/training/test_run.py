import json
import logging
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

import stnlab
from stnlab.compose import compose
from stnlab.errors import StnlabError
from stnlab.evaluation.calibration import measure
from stnlab.models.network import Network
from stnlab.runs.directory import RunDirectory
from stnlab.training import classifier
from stnlab.training.devices import missing_compiler
from stnlab.training.recorder import Recorder
from stnlab.training.run import train_run

Train = Callable[..., RunDirectory]
SMALL = ["recipe=smoke", "logger=none", "callbacks=quiet", "trainer=cpu", "trainer.threads=2"]
SMALL += ["data.train_size=1000", "data.validation_size=500", "data.test_size=500"]
SMALL += ["recipe.steps=null", "recipe.epochs=3", "backbone.channels=[8,8]", "localizer.channels=[8,8]"]
SMALL += ["evaluation.images=100", "evaluation.rotations=4", "evaluation.scales=3"]

ACCUMULATED = ["recipe.epochs=3", "+trainer.accumulate_grad_batches=2", "recipe.gradient_clip_norm=0.5"]
ACCUMULATED += ["trainer.precision=bf16-mixed"]
CUT_SHORT = ["recipe.steps=14", "recipe.epochs=null", *ACCUMULATED[1:]]


@pytest.fixture
def train(tmp_path: Path, mnist_root: Path) -> Train:
    def start(*overrides: str, study: str = "study") -> RunDirectory:
        places = [f"data.root={mnist_root}", f"runs_dir={tmp_path}", f"study={study}"]
        return train_run(compose("train", [*SMALL, *places, *overrides]))

    return start


def test_a_smoke_run_beats_chance_by_far_and_leaves_everything_behind(tmp_path: Path, mnist_root: Path):
    overrides = ["recipe=smoke", "logger=none", "callbacks=quiet", "trainer=cpu", f"runs_dir={tmp_path}"]
    run = train_run(compose("train", [*overrides, f"data.root={mnist_root}", "data.test_size=2000"]))
    assert run.state == "done"
    assert run.metrics["test/error"] < 0.5
    assert {f"test/{name}" for name in ("error", "accuracy", "ece", "nll", "brier")} <= run.metrics.keys()
    assert run.info["images_seen"] == 40 * 128
    assert run.info["train_seconds"] > 0
    assert run.info["images_per_second"] == pytest.approx(40 * 128 / run.info["train_seconds"], rel=0.01)
    assert [row["step"] for row in run.history] == [40]

    test, val = run.predictions("test"), run.predictions("val")
    assert test is not None
    assert val is not None
    assert (len(test.labels), len(val.labels)) == (2000, 5000)
    assert test.warps is not None
    assert test.poses is not None
    assert test.warps.shape == test.poses.shape == (2000, 1, 9, 2)
    angle = test.pose_parameters["rotation"][:, 0]
    right = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    np.testing.assert_allclose(test.poses[:, 0, 5], right, atol=1e-6)

    loaded = stnlab.load_run(run.path)
    before = torch.from_numpy(run.evaluation().examples.images).float() / 255
    logits = loaded.network((before - 0.1307) / 0.3081).logits
    np.testing.assert_allclose(logits.detach().numpy(), test.logits[:16], atol=0.05)


def test_the_same_choices_give_the_same_bits(train: Train):
    first, second = train(study="first"), train(study="second")
    assert first.name == second.name
    assert (first.path / "metrics.json").read_bytes() == (second.path / "metrics.json").read_bytes()
    assert (first.path / "metrics.csv").read_bytes() == (second.path / "metrics.csv").read_bytes()
    assert train("seed=1").metrics != first.metrics


def test_a_streamed_run_is_the_same_run_with_the_same_results(train: Train):
    clutter = ["data=mnist_cluttered", "data.distortion.size=32"]
    held = train(*clutter, study="held")
    streamed = train(*clutter, "data.memory_gib=0", "data.workers=2", study="streamed")
    assert streamed.name == held.name
    assert (streamed.path / "metrics.csv").read_bytes() == (held.path / "metrics.csv").read_bytes()
    assert (streamed.path / "metrics.json").read_bytes() == (held.path / "metrics.json").read_bytes()
    assert np.array_equal(streamed.evaluation().examples.images, held.evaluation().examples.images)
    # workers of the data are gone; joblib keeps its own, of another test's sweep, for the next one
    assert not [one for one in multiprocessing.active_children() if "Loky" not in one.name]


def test_an_interrupted_run_goes_on_and_ends_as_if_nothing_had_happened(train: Train, monkeypatch: pytest.MonkeyPatch):
    undisturbed = train(study="undisturbed")
    original = Recorder.on_train_epoch_end

    def interrupt(self: Recorder, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        if trainer.current_epoch == 1:
            raise RuntimeError("pulled the plug\nsecond line")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="pulled the plug"):
        patch.setattr(Recorder, "on_train_epoch_end", interrupt)
        train(study="disturbed")
    half = RunDirectory(undisturbed.path.parents[1] / "disturbed" / undisturbed.name)
    assert half.state == "failed"
    assert half.info["error"] == "RuntimeError: pulled the plug"
    assert len(half.history) == 2

    whole = train(study="disturbed")
    assert whole.state == "done"
    assert whole.info["error"] is None
    assert whole.info["images_seen"] == 3000
    assert whole.metrics == undisturbed.metrics
    assert whole.history == undisturbed.history


@pytest.mark.parametrize(
    "length", [["recipe.epochs=3"], ["recipe.steps=20", "recipe.epochs=null"], ACCUMULATED, CUT_SHORT]
)
def test_an_interrupted_epoch_goes_on_where_it_was(train: Train, monkeypatch: pytest.MonkeyPatch, length: list[str]):
    undisturbed = train(*length, study="undisturbed")
    original = Recorder.on_train_batch_end
    stopped_at = []

    def interrupt(self: Recorder, trainer: Any, *rest: Any) -> None:
        original(self, trainer, *rest)
        if trainer.global_step in (3, 11) and trainer.global_step not in stopped_at:
            stopped_at.append(trainer.global_step)
            raise RuntimeError("pulled the plug")

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_train_batch_end", interrupt)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="pulled the plug"):
                train(*length, "checkpoint_seconds=1e-9", study="disturbed")
    whole = train(*length, "checkpoint_seconds=1e-9", study="disturbed")
    assert stopped_at == [3, 11]
    assert whole.metrics == undisturbed.metrics
    assert whole.history == undisturbed.history
    assert whole.info["images_seen"] == undisturbed.info["images_seen"]
    first, second = whole.evaluation().frames, undisturbed.evaluation().frames
    assert first is not None
    assert second is not None
    assert np.array_equal(first.corners, second.corners)


@pytest.mark.parametrize("profiler", ["simple", "advanced"])
def test_a_profile_is_printed_and_changes_nothing_else(
    train: Train, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, profiler: str
):
    logger = logging.getLogger("pytorch_lightning.profilers.profiler")
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    monkeypatch.setattr(logger, "disabled", True)  # as Hydra leaves all loggers at the start of a sweep's second job
    plain = train("recipe.epochs=1")
    assert "training_step" not in caplog.text
    profiled = train("recipe.epochs=1", f"+trainer.profiler={profiler}", study="profiled")
    assert "training_step" in caplog.text
    assert profiled.metrics == plain.metrics


def test_fresh_starts_over(train: Train):
    first = train()
    checkpoint = first.last_checkpoint.stat().st_mtime_ns
    again = train("fresh=true")
    assert again.metrics == first.metrics
    assert again.info["images_seen"] == 3000
    assert again.last_checkpoint.stat().st_mtime_ns != checkpoint


def test_without_validation_there_are_no_validation_results(train: Train):
    run = train("data.validation_size=0", "placement=none")
    assert not [name for name in run.metrics if name.startswith("val/")]
    assert not run.best_checkpoint.exists()
    assert run.predictions("val") is None
    test = run.predictions("test")
    assert test is not None
    assert test.warps is None


def test_metrics_are_those_of_the_saved_predictions_and_of_lightning(train: Train):
    run = train("placement=deep", "transform=rotation_scale")
    for split in ("test", "val"):
        found = run.predictions(split)
        assert found is not None
        for name, value in measure(found.logits, found.labels).items():
            assert run.metrics[f"{split}/{name}"] == value
    last = run.history[-1]
    assert last["val/accuracy"] == pytest.approx(run.metrics["val/accuracy"], abs=1e-6)
    assert last["val/ece"] == pytest.approx(run.metrics["val/ece"], abs=1e-6)
    assert last["val/loss"] == pytest.approx(run.metrics["val/nll"], abs=1e-5)


def test_orbits_and_equivariance_gaps_are_kept_and_summarised(train: Train):
    run = train("placement=deep", "transform=rotation")
    kept, metrics = run.evaluation(), run.metrics
    test = run.predictions("test")
    assert test is not None
    turned = kept.orbits["rotation"]
    assert turned.predicted.shape == (4, 100, 1)
    np.testing.assert_array_equal(turned.labels, test.labels[turned.indices])
    right = (turned.predicted == turned.labels)[..., 0].mean(1)
    assert metrics["invariance/rotation/+180/accuracy"] == pytest.approx(right[3])
    assert metrics["invariance/rotation/inside/accuracy"] == pytest.approx(right[:3].mean())
    assert metrics["invariance/rotation/+000/agreement"] == 1
    assert kept.orbits["scale"].values.tolist() == [0.5, 1, 2]
    assert "invariance/scale/x2.00/total_variation" in metrics
    assert kept.depths.tolist() == [1]
    assert metrics["equivariance/rotation/depth_1"] == pytest.approx(kept.equivariance["rotation"].mean())
    assert metrics["equivariance/shift/depth_1"] < 1e-4 < metrics["equivariance/rotation/depth_1"]
    off = train("placement=deep", "transform=rotation", "evaluation.images=0")
    assert not [name for name in off.metrics if name.startswith(("invariance", "equivariance"))]
    assert {name: metrics[name] for name in off.metrics} == off.metrics


@pytest.mark.parametrize(
    ("options", "expected"),
    [([], True), (["trainer.precision=bf16-mixed"], True), (ACCUMULATED[2:], None), (["recipe=paper"], True)],
)
def test_parameters_are_updated_at_once_unless_lightning_would_not_clip_them(
    options: list[str], expected: bool | None, train: Train, monkeypatch: pytest.MonkeyPatch
):
    seen = set()
    monkeypatch.setattr(
        classifier.Classifier,
        "on_train_batch_end",
        lambda self, *_: seen.add(self.optimizers().param_groups[0].get("fused")),
    )
    train(*options, "recipe.epochs=null", "recipe.steps=1")
    assert seen == {expected}


def test_steps_shorter_and_longer_than_an_epoch(train: Train):
    short = train("recipe.epochs=null", "recipe.steps=3")
    assert [row["step"] for row in short.history] == [3]
    assert "val/error" in short.history[0]
    long = train("recipe.epochs=null", "recipe.steps=11")
    assert [row["step"] for row in long.history] == [8, 11]
    assert "val/error" in long.history[0]
    assert long.history[1]["val/error"] == pytest.approx(long.metrics["val/error"])


def test_validation_waits_until_as_many_images_have_been_trained_on(train: Train):
    few = ["data.train_size=20", "data.validation_size=50", "data.test_size=20", "recipe.batch_size=16"]
    few += ["evaluation.images=0", "placement=none", "backbone.channels=[2,2]"]

    def validated(*length: str) -> list[float]:
        run = train(*few, *length)
        assert run.best_checkpoint.exists()
        return [row["epoch"] for row in run.history if "val/error" in row]

    assert validated("recipe.epochs=31") == [*range(3, 31, 3), 31]
    assert validated("recipe.epochs=20") == [*range(2, 21, 2)]  # a tenth of them is over
    assert validated("recipe.epochs=4") == [1, 2, 3, 4]
    assert validated("recipe.epochs=null", "recipe.steps=61") == [*range(3, 31, 3), 31]  # the last one is cut short


def test_a_transformer_without_freedom_starts_and_ends_as_the_plain_network(train: Train):
    plain, identity = train("placement=none"), train("placement=input", "transform=identity")
    assert plain.info["parameters"] == identity.info["parameters"]
    assert abs(plain.metrics["test/error"] - identity.metrics["test/error"]) < 0.1


def test_a_run_at_work_is_left_alone(train: Train):
    run = train()
    with run.lock(), pytest.raises(StnlabError, match="another process"):
        train("fresh=true", "busy=skip")
    assert run.state == "done"


def test_of_several_processes_the_first_that_fails_says_why(
    train: Train, tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch
):
    run = train("recipe.epochs=1")
    run.update(state="running")
    monkeypatch.setattr(pl.Trainer, "is_global_zero", False)
    places = [f"data.root={mnist_root}", f"runs_dir={tmp_path}", "study=study", "recipe.epochs=1"]
    for reason in ("the second had too little memory", "connection closed by peer"):
        monkeypatch.setattr("stnlab.training.run._fit_and_test", raising(RuntimeError(reason)))
        with pytest.raises(RuntimeError, match=reason):
            train_run(compose("train", [*SMALL, *places]), locked=True)
    assert run.info["error"] == "RuntimeError: the second had too little memory"
    assert "Traceback" in run.error_log.read_text()


def raising(error: Exception) -> Callable[..., None]:
    def start(*_: object) -> None:
        raise error

    return start


def test_a_damaged_checkpoint_is_named(train: Train, mnist_root: Path):
    run = train()
    run.last_checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(StnlabError, match=r"last.ckpt: cannot be loaded"):
        stnlab.load_run(run.path)
    run.update(state="running")
    with pytest.raises(StnlabError, match=r"last.ckpt: cannot be loaded .* fresh=true"):
        train()


def test_run_json_names_code_and_machine(train: Train):
    info = json.loads((train().path / "run.json").read_text())
    assert info["version"]
    assert info["threads"] == 2
    assert info["device"].startswith("cpu")
    assert info["precision"] == "32-true"


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_other_precisions_train_and_say_so(train: Train, precision: str):
    run = train(f"trainer.precision={precision}")
    assert run.state == "done"
    assert run.info["precision"] == precision
    assert run.metrics["test/error"] < 0.9


@pytest.mark.parametrize(
    ("accelerator", "mode", "accumulated"),
    [("cpu", "default", 2), ("gpu", "reduce-overhead", 1), ("gpu", "reduce-overhead", 2)],
)
def test_compiled_steps_train_as_plain_ones_do(
    accelerator: str, mode: str, accumulated: int, train: Train, monkeypatch: pytest.MonkeyPatch
):
    if accelerator == "gpu" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    if missing := missing_compiler(accelerator == "gpu"):
        pytest.skip(missing)
    options = ["trainer.precision=64-true", "recipe.epochs=2", "data.train_size=200", "recipe.batch_size=64"]
    options += [f"trainer.accelerator={accelerator}", f"+trainer.accumulate_grad_batches={accumulated}"]
    plain = train(*options)
    monkeypatch.setattr(Network, "forward", graph_only(Network.forward))
    compiled = train(*options, f"trainer.compile={mode}")
    assert compiled.path != plain.path
    losses = [[row["train/loss"] for row in run.history] for run in (compiled, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert compiled.metrics["test/nll"] == pytest.approx(plain.metrics["test/nll"], rel=1e-6)


def graph_only(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A network's forward that no training step may call as plain Python."""

    def watched(self: Network, image: torch.Tensor) -> Any:
        assert not torch.is_grad_enabled() or torch.compiler.is_compiling()
        return forward(self, image)

    return watched


def test_accumulated_batches_are_one_batch_but_for_dropout(train: Train, monkeypatch: pytest.MonkeyPatch):
    options = ["trainer.precision=64-true", "recipe.gradient_clip_norm=0.5", "data.train_size=1024"]
    options += ["recipe.epochs=null", "recipe.steps=6"]
    whole = train(*options, "recipe.batch_size=128", study="whole")
    keys: list[tuple[int, ...]] = []
    step_seed = classifier.step_seed

    def noted(*key: int) -> int:
        keys.append(key)
        return step_seed(*key)

    monkeypatch.setattr(classifier, "step_seed", noted)
    parts = train(*options, "recipe.batch_size=64", "+trainer.accumulate_grad_batches=2", study="parts")
    assert [row["step"] for row in parts.history] == [row["step"] for row in whole.history] == [6]
    assert parts.history[0]["val/loss"] == pytest.approx(whole.history[0]["val/loss"], rel=1e-6)
    assert parts.info["images_seen"] == whole.info["images_seen"] == 6 * 128
    assert len(set(keys)) == len(keys) == 12

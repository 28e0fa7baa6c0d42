import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from stnlab.compose import compose
from stnlab.errors import StnlabError
from stnlab.runs.directory import RunDirectory, find_runs
from stnlab.runs.identity import normalise
from stnlab.training.launch import launch

SMALL = ["recipe=smoke", "recipe.steps=4", "recipe.optimizer.lr=0.001", "callbacks=quiet", "logger=none"]
SMALL += [
    "backbone.channels=[4,4]",
    "data.train_size=385",
    "data.validation_size=101",
    "data.test_size=201",
    "recipe.eval_batch_size=100",
]
EXACT = ["trainer.precision=64-true", "+trainer.accumulate_grad_batches=2", "recipe.gradient_clip_norm=0.5"]


def train(tmp_path: Path, mnist_root: Path, *overrides: str) -> RunDirectory:
    places = [f"runs_dir={tmp_path}", f"data.root={mnist_root}"]
    config = compose("train", [*SMALL, *places, *overrides])
    launch(config, RunDirectory.of(tmp_path / config["study"], normalise(config)))
    return find_runs(tmp_path / config["study"])[0]


def test_two_processes_see_the_same_samples_as_one(tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))
    one = train(tmp_path, mnist_root, "trainer=cpu", *EXACT, "study=one")
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", *EXACT]
    two = train(tmp_path, mnist_root, *ddp, "study=two", "logger=[wandb,mlflow]")
    assert len(list(two.path.parent.glob("wandb/offline-run-*"))) == 1
    client = MlflowClient(f"sqlite:///{two.path.parent}/mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name("two").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.metrics["test/error"] == two.metrics["test/error"]
    assert one.name == two.name
    assert two.info["devices"] == 2
    assert two.info["images_seen"] == one.info["images_seen"]
    for split in ("test", "val"):
        first, second = one.predictions(split), two.predictions(split)
        assert first is not None
        assert second is not None
        assert np.array_equal(first.indices, second.indices)
        assert np.array_equal(first.labels, second.labels)
        assert first.poses is not None
        np.testing.assert_allclose(second.poses, first.poses, atol=1e-6)
        np.testing.assert_allclose(second.logits, first.logits, atol=1e-5)
        assert first.residuals is not None
        np.testing.assert_allclose(second.residuals, first.residuals, atol=1e-5)
    assert two.metrics.keys() == one.metrics.keys()
    for name, value in one.metrics.items():
        assert two.metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    for alone, together in zip(one.evaluation().class_means[0], two.evaluation().class_means[0], strict=True):
        np.testing.assert_allclose(together, alone, atol=1e-3)
    for alone, together in zip(one.history, two.history, strict=True):
        assert together == pytest.approx(alone, rel=1e-4, abs=1e-5)


def test_a_wrong_choice_is_refused_before_processes_start(tmp_path: Path, mnist_root: Path):
    with pytest.raises(StnlabError, match=r"placement.depth=9: there is no such stage"):
        train(tmp_path, mnist_root, "trainer=ddp", "trainer.accelerator=cpu", "placement=deep", "placement.depth=9")


def test_a_run_starts_its_own_processes_on_one_machine(
    tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(StnlabError, match=r"trainer.num_nodes=2: should be less than or equal to 1"):
        train(tmp_path, mnist_root, "trainer=ddp", "+trainer.num_nodes=2")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(StnlabError, match=r"srun started this command 2 times; .*: give srun --ntasks=1"):
        train(tmp_path, mnist_root, "trainer=ddp", "trainer.accelerator=cpu")


def test_processes_that_do_not_stop_are_ended(tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch):
    """One that has left while another waits for it would keep a job of SLURM until it is too late to requeue it."""

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, command: object, **_: object) -> None:
            super().__init__(["sleep", "60"])
            self.interrupted = False
            started.append(self)

        def wait(self, timeout: float | None = None) -> int:
            if not self.interrupted:
                self.interrupted = True
                raise KeyboardInterrupt
            return super().wait(timeout)

    started: list[Interrupted] = []
    monkeypatch.setattr("stnlab.training.launch.subprocess.Popen", Interrupted)
    monkeypatch.setattr("stnlab.training.launch.PATIENCE", 0.1)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, mnist_root, "trainer=ddp", "trainer.accelerator=cpu")
    assert [process.returncode for process in started] == [-signal.SIGTERM]

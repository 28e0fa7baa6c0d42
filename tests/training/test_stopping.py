"""SIGTERM in the middle: what has been learnt is kept, and the run ends as if nothing had happened."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from stnlab.compose import compose
from stnlab.runs.directory import RunDirectory
from stnlab.runs.identity import normalise
from stnlab.training import stopping
from stnlab.training.launch import launch
from stnlab.training.recorder import ASKED_EVERY
from stnlab.training.run import train_run
from stnlab.training.stopping import Stopper

SMALL = ["recipe=smoke", "recipe.steps=10", "callbacks=quiet", "logger=none", "trainer=cpu", "placement=none"]
SMALL += ["data.train_size=500", "data.validation_size=300", "data.test_size=300", "backbone.channels=[4,4]"]
SMALL += ["recipe.eval_batch_size=100", "evaluation.images=50", "evaluation.rotations=4", "evaluation.scales=3"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, mnist_root: Path) -> RunDirectory:
    return train(tmp_path_factory.mktemp("undisturbed"), mnist_root)


def train(folder: Path, mnist_root: Path) -> RunDirectory:
    return train_run(compose("train", [*SMALL, f"data.root={mnist_root}", f"runs_dir={folder}"]))


@pytest.mark.parametrize(
    ("hook", "step", "kept", "patience"),
    [
        ("on_train_batch_start", 5, 6, 10),  # within an epoch of four steps
        ("on_train_batch_start", 7, 8, 10),  # its last step: after the validation
        ("on_train_batch_start", 7, 4, 0),  # of a validation that takes long
        ("on_train_batch_start", 9, 10, 10),  # the training's last step, within an epoch
        ("on_validation_batch_start", 4, 4, 10),
        ("on_validation_batch_start", 4, None, 0),  # nothing is kept yet
        ("on_test_batch_start", 10, 10, 10),
    ],
)
def test_sigterm_keeps_the_step_and_all_that_was_learnt_before_a_short_validation(
    hook: str,
    step: int,
    kept: int | None,
    patience: float,
    undisturbed: RunDirectory,
    tmp_path: Path,
    mnist_root: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    def tell(self: Stopper, trainer: Any, *_: Any, **__: Any) -> None:
        if trainer.global_step == step:
            signal.raise_signal(signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(stopping, "PATIENCE", patience)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Stopper, hook, tell)
        train(tmp_path, mnist_root)
    assert signal.getsignal(signal.SIGTERM) is handler
    run = RunDirectory(next(tmp_path.glob("default/*")))
    assert run.state == "running"
    assert not (run.path / "metrics.json").exists()
    found = torch.load(run.last_checkpoint, weights_only=True)["global_step"] if run.last_checkpoint.exists() else None
    assert found == kept
    train(tmp_path, mnist_root)
    assert (run.path / "metrics.json").read_bytes() == (undisturbed.path / "metrics.json").read_bytes()
    assert (run.path / "metrics.csv").read_bytes() == (undisturbed.path / "metrics.csv").read_bytes()


def test_epochs_of_one_step_are_stopped_after(tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch):
    def tell(self: Stopper, trainer: Any, *_: Any, **__: Any) -> None:
        if trainer.global_step == 3:
            signal.raise_signal(signal.SIGTERM)

    config = [
        *SMALL,
        f"data.root={mnist_root}",
        f"runs_dir={tmp_path}",
        "data.train_size=100",
        "data.validation_size=0",
    ]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Stopper, "on_train_batch_start", tell)
        train_run(compose("train", config))
    run = RunDirectory(next(tmp_path.glob("default/*")))
    assert torch.load(run.last_checkpoint, weights_only=True)["global_step"] == 4
    train_run(compose("train", config))
    assert [row["step"] for row in run.history] == list(range(1, 11))
    assert run.state == "done"


TELLING = """
import os, signal, sys, time
from pathlib import Path
import pytorch_lightning as pl

class Telling(pl.Callback):
    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 3 and trainer.is_global_zero and not Path("told").exists():
            Path("told").touch()
            os.kill(int(sys.argv[2]), signal.SIGTERM)  # the process that started this one
            self.slow = True
        if getattr(self, "slow", False):
            time.sleep(0.1)
"""


def test_all_processes_of_a_run_keep_the_step_together(
    tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "telling.py").write_text(TELLING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    own = [f"data.root={mnist_root}", "trainer=ddp", "trainer.accelerator=cpu", "recipe.steps=100"]
    own += ["data.train_size=12800", "checkpoint_seconds=10000", "+callbacks.telling={_target_: telling.Telling}"]
    config = compose("train", [*SMALL, *own])
    run = RunDirectory.of(Path("runs/default"), normalise(config))
    with pytest.raises(KeyboardInterrupt):
        launch(config, run)
    assert run.state == "running"
    assert torch.load(run.last_checkpoint, weights_only=True)["global_step"] in range(ASKED_EVERY, 100, ASKED_EVERY)
    launch(config, run)
    assert run.state == "done"
    assert run.info["images_seen"] == 12800

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from stnlab.compose import compose
from stnlab.runs.directory import RunDirectory
from stnlab.runs.files import read_rows
from stnlab.training.run import train_run

TINY = ["recipe=smoke", "recipe.steps=4", "callbacks=quiet", "trainer=cpu", "trainer.log_every_n_steps=2", "study=s"]
TINY += ["data.train_size=600", "data.validation_size=200", "data.test_size=200", "backbone.channels=[4,4]"]


def train(tmp_path: Path, mnist_root: Path, *overrides: str) -> RunDirectory:
    return train_run(compose("train", [*TINY, f"runs_dir={tmp_path}", f"data.root={mnist_root}", *overrides]))


def read_offline(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Summary and records of the only offline run in a folder, by wandb's own reader."""
    (log,) = folder.glob("wandb/offline-run-*/*.wandb")
    reader = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
    whole = subprocess.run([*reader, "--summary"], capture_output=True, text=True, check=True).stdout
    records = subprocess.run(reader, capture_output=True, text=True, check=True).stdout
    return json.loads(whole), [json.loads(line) for line in records.splitlines()]


def test_every_logger_gets_metrics_and_figures(tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = train(tmp_path, mnist_root, "logger=[wandb,csv,tensorboard]")

    whole, records = read_offline(run.path.parent)
    text = json.dumps(whole)
    assert f"s-{run.name[-8:]}" in text
    assert "finished" in text
    for name in ("test/error", "test/ece", "val/error", "train/loss", "figures/reliability", "figures/views"):
        assert name in text, name
    assert '"choices.placement": "input"' in text or '"placement": "input"' in text
    first = json.dumps(next(record for record in records if "run" in record.get("type", "") or "run" in record))
    for value in ("mnist_rotated-cnn-input-affine", '"s"', "stnlab"):
        assert value in first, value

    (csv,) = run.path.glob("csv/version_*/metrics.csv")
    assert [row["step"] for row in read_rows(csv) if "train/loss_step" in row] == [1.0, 3.0]
    board = EventAccumulator(str(run.path / "tensorboard"))
    board.Reload()
    assert {"test/error", "val/ece", "train/loss_step"} <= set(board.Tags()["scalars"])
    assert {"figures/reliability", "figures/views"} <= set(board.Tags()["images"])


def test_a_failing_job_ends_its_wandb_run_with_status_1(
    tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: Any) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("stnlab.training.classifier.Classifier.on_test_epoch_start", broken)
    with pytest.raises(RuntimeError, match="on purpose"):
        train(tmp_path, mnist_root, "logger=wandb")
    whole, _ = read_offline(tmp_path / "s")
    assert "failed" in json.dumps(whole) or '"exit_code": 1' in json.dumps(whole)


def test_without_loggers_there_is_the_run_directory_alone(tmp_path: Path, mnist_root: Path):
    run = train(tmp_path, mnist_root, "logger=none")
    assert run.state == "done"
    assert {path.name for path in (tmp_path / "s").iterdir()} == {run.name}

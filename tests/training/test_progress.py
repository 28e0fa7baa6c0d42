"""The progress bar shows what a user waits for."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import RichProgressBar

from stnlab.train import main
from stnlab.training.progress import ProgressBar


def shown(**known: float) -> dict[str, Any]:
    trainer: Any = SimpleNamespace(callback_metrics={name: torch.tensor(value) for name, value in known.items()})
    return ProgressBar().get_metrics(trainer, trainer)


def test_loss_and_validation_are_shown_as_soon_as_they_are_known():
    assert shown() == {}
    assert shown(**{"train/loss_step": 0.5, "val/error": 0.021, "val/ece": 0.004}) == {
        "loss": "0.500",
        "val/error": "2.10%",
        "val/ece": "0.40%",
    }


@pytest.mark.parametrize(("most", "said"), [(6, "Epoch 3/6"), (-1, "Epoch 3")])
def test_epochs_count_from_one_and_have_an_end_if_they_are_counted(most: int, said: str):
    bar = ProgressBar()
    bar._trainer = SimpleNamespace(max_epochs=most)  # type: ignore[assignment]
    assert bar._get_train_description(2).rstrip() == said


def test_a_training_is_looked_at_four_times_a_second_and_at_an_epochs_end(monkeypatch: pytest.MonkeyPatch):
    bar, looks, now = ProgressBar(), [], iter([0.0, 0.2, 0.26, 0.3, 0.4])
    monkeypatch.setattr("stnlab.training.progress.time.monotonic", lambda: next(now))
    monkeypatch.setattr(RichProgressBar, "on_train_batch_end", lambda *arguments: looks.append(arguments[-1]))
    monkeypatch.setattr(RichProgressBar, "on_train_epoch_end", lambda *_: None)
    nothing: Any = None
    for batch in range(5):
        bar.on_train_batch_end(nothing, nothing, nothing, nothing, batch)
    bar.on_train_epoch_end(nothing, nothing)
    assert looks == [0, 2, 4]


def test_the_thread_that_draws_leaves_the_cores_to_the_training():
    assert ProgressBar().refresh_rate <= 20 < RichProgressBar().refresh_rate
    assert ProgressBar(refresh_rate=0).is_disabled


def test_a_job_of_a_sweep_shows_how_far_the_sweep_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr("stnlab.train.train", lambda config: seen.append(shown()["sweep"]))
    main(["-m", "seed=0,1,2", "study=mine"])
    assert [text.partition(",")[0] for text in seen] == ["job 1 of 3", "job 2 of 3", "job 3 of 3"]
    monkeypatch.setattr("stnlab.train.train", lambda config: seen.append(shown()))
    main(["study=mine"])
    assert seen[-1] == {}

"""The progress bar shows what a user waits for."""

import re
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import RichProgressBar
from rich.live import _RefreshThread

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


def test_a_training_is_drawn_twice_a_second_and_at_an_epochs_end(monkeypatch: pytest.MonkeyPatch):
    bar, now, drawn = ProgressBar(), 0.0, []
    monkeypatch.setattr("stnlab.training.progress.time.monotonic", lambda: now)
    monkeypatch.setattr(RichProgressBar, "refresh", lambda self, hard: drawn.append((now, bar._last)))
    monkeypatch.setattr(RichProgressBar, "on_train_batch_end", lambda *_: [bar.refresh(), bar.refresh()])
    nothing: Any = None
    for batch, now in enumerate((0.0, 0.4, 0.6, 0.7, 0.8)):  # noqa: B007 the clock
        bar.on_train_batch_end(nothing, nothing, nothing, nothing, batch)
    bar.on_train_epoch_end(nothing, nothing)
    assert drawn == [(0.0, 0), (0.6, 2), (0.8, 4)]
    assert ProgressBar(refresh_rate=0).is_disabled


def test_no_thread_draws_and_what_was_drawn_last_is_the_end(
    tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    threads = []
    shown = ProgressBar.on_train_batch_end

    def looked(self: ProgressBar, *step: Any) -> None:
        threads.append(
            [one for one in threading.enumerate() if isinstance(one, _RefreshThread) and not one.done.is_set()]
        )
        shown(self, *step)

    monkeypatch.setattr(ProgressBar, "on_train_batch_end", looked)
    places = [f"data.root={mnist_root}", f"runs_dir={tmp_path}", "recipe=smoke", "recipe.steps=12", "logger=none"]
    main([*places, "trainer=cpu", "data.test_size=100", "data.validation_size=100"])
    assert not any(threads)
    assert re.search(r"Epoch 1 .*\b12/\d+ .*val/error", capsys.readouterr().out)


def test_a_job_of_a_sweep_shows_how_far_the_sweep_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr("stnlab.train.train", lambda config: seen.append(shown()["sweep"]))
    main(["-m", "seed=0,1,2", "study=mine"])
    assert [text.partition(",")[0] for text in seen] == ["job 1 of 3", "job 2 of 3", "job 3 of 3"]
    monkeypatch.setattr("stnlab.train.train", lambda config: seen.append(shown()))
    main(["study=mine"])
    assert seen[-1] == {}

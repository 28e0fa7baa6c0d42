"""What is left out of Lightning's steps changes nothing but their time."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytorch_lightning as pl

from stnlab.compose import compose
from stnlab.runs.directory import RunDirectory
from stnlab.training import classifier
from stnlab.training import run as run_module
from stnlab.training.classifier import Classifier
from stnlab.training.hooks import IN_A_STEP
from stnlab.training.running_health import GradientNorms

SMALL = ["recipe=smoke", "logger=none", "callbacks=quiet", "trainer=cpu", "backbone.channels=[4,4]", "study=mine"]
SMALL += ["data.train_size=512", "data.validation_size=128", "data.test_size=128", "recipe.batch_size=32"]
SMALL += ["recipe.steps=null", "recipe.epochs=2", "evaluation.images=20", "trainer.precision=64-true"]
STEPS = 32


def train(root: Path, folder: Path, *choices: str) -> RunDirectory:
    return run_module.train_run(compose("train", [*SMALL, f"data.root={root}", f"runs_dir={folder}", *choices]))


class Listener(pl.Callback):
    """A user's callback with some hooks."""

    heard: ClassVar[Counter[str]] = Counter()

    def on_after_backward(self, *_: Any) -> None:
        self.heard["on_after_backward"] += 1

    def on_train_batch_end(self, *_: Any) -> None:
        self.heard["on_train_batch_end"] += 1


def test_hooks_that_somebody_wrote_are_called_and_no_others(
    mnist_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    listener = f"+callbacks.listener._target_={__name__}.Listener"
    monkeypatch.setattr(Listener, "heard", Counter())
    nobodys: Counter[str] = Counter()
    for hook in IN_A_STEP:
        for base in (pl.Callback, pl.LightningModule):
            monkeypatch.setattr(base, hook, lambda *_, hook=hook: nobodys.update([hook]))
    train(mnist_root, tmp_path, listener)
    assert Listener.heard == {"on_after_backward": STEPS, "on_train_batch_end": STEPS}
    assert not nobodys
    monkeypatch.setattr(run_module, "shorten_steps", lambda *_: None)
    train(mnist_root, tmp_path / "plain", listener)
    assert set(nobodys) == set(IN_A_STEP)


@pytest.mark.parametrize("choices", [["recipe.gradient_clip_norm=0.5"], ["+trainer.accumulate_grad_batches=2"]])
def test_shortened_steps_train_to_the_same_bits(
    choices: list[str], mnist_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shortened = train(mnist_root, tmp_path, *choices)
    monkeypatch.setattr(run_module, "shorten_steps", lambda *_: None)
    plain = train(mnist_root, tmp_path / "plain", *choices)
    assert shortened.history == plain.history
    assert shortened.metrics == plain.metrics


@pytest.mark.parametrize(
    ("accumulated", "most", "expected"),
    [(1, 20, range(32)), (1, 5, [0, 3, 6, 9, 12, 15, 16, 19, 22, 25, 28, 31]), (2, 4, range(0, 16, 2))],
)
def test_gradients_of_about_so_many_steps_of_an_epoch_are_measured(
    accumulated: int,
    most: int,
    expected: Sequence[int],
    mnist_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(classifier, "NORMS_AN_EPOCH", most)
    steps_taken, measured = [0], []
    training_step = Classifier.training_step

    def noted(self: Classifier, *step: Any) -> Any:
        steps_taken.append(self.global_step)
        return training_step(self, *step)

    monkeypatch.setattr(Classifier, "training_step", noted)
    monkeypatch.setattr(GradientNorms, "update", lambda _: measured.append(steps_taken[-1]))
    train(mnist_root, tmp_path, f"+trainer.accumulate_grad_batches={accumulated}")
    assert measured == list(expected)

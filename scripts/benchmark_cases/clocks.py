"""Callbacks that time: epochs, for `compile`, and a whole training, for `loop` and `epoch`."""

import time
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch


class EpochClock(pl.Callback):
    """Seconds of each epoch's steps until the device has ended them, in `seconds`: of the class, since Hydra makes the
    callbacks."""

    seconds: ClassVar[list[float]] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self.begun = _now()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seconds.append(_now() - self.begun)


class TrainingClock(pl.Callback):
    """Seconds from the training's start until all is done that follows the last one: metrics, checkpoint, files."""

    seconds: ClassVar[float]

    def on_train_start(self, *_: Any) -> None:
        self.begun = _now()

    def on_train_end(self, *_: Any) -> None:
        type(self).seconds = _now() - self.begun


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()

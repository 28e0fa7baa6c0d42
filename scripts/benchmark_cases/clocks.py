"""Callbacks that time: epochs, for `compile`, and a whole training, for `loop` and `epoch`."""

import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch

TURN = 10
"""Steps, a fraction of a second: what else slows the machine takes longer, and so slows both sides."""


class EpochClock(pl.Callback):
    """Seconds of each epoch's steps until the device has ended them, in `seconds`: of the class, since Hydra makes the
    callbacks."""

    seconds: ClassVar[list[float]] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self.begun = now()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seconds.append(now() - self.begun)


class TrainingClock(pl.Callback):
    """Seconds from the training's start until all is done that follows the last one: metrics, checkpoint, files.

    between: called after each turn of steps, while the clock stands, and before the first one unless it `starts`.
    """

    seconds: ClassVar[float]
    between: ClassVar[Callable[[], None] | None] = None
    starts: ClassVar[bool] = True

    def on_train_start(self, *_: Any) -> None:
        type(self).seconds = 0.0
        if type(self).between is not None and not self.starts:
            type(self).between()
        self.begun = now()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if type(self).between is not None and trainer.global_step % TURN == 0:
            self._stop()
            type(self).between()
            self.begun = now()

    def on_train_end(self, *_: Any) -> None:
        self._stop()

    def _stop(self) -> None:
        type(self).seconds += now() - self.begun


def now() -> float:
    """Seconds, once the device has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()

"""A callback that times epochs, for `compile`."""

import time
from typing import Any

import pytorch_lightning as pl
import torch


class EpochClock(pl.Callback):
    """Seconds of each epoch's steps, in `seconds` of the class: the device has ended them."""

    seconds: list[float] = []  # noqa: RUF012  of all trainings of this process, whoever makes the callbacks

    def on_train_epoch_start(self, *_: Any) -> None:
        self.begun = _now()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seconds.append(_now() - self.begun)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()

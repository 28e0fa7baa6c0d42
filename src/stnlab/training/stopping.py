"""SIGTERM in the middle of a run: the step is finished and kept, then the run is left as by Ctrl-C."""

import math
import signal
import threading
import time
from types import FrameType
from typing import Any

import pytorch_lightning as pl

PATIENCE = 10.0
"""Seconds that a validation may take on."""


class Stopper(pl.Callback):
    """While batches go through the network, SIGTERM only sets `asked`.

    The Recorder then writes a checkpoint after the step or the epoch and leaves; a test, of which nothing is kept, is
    left after the batch, and a validation, after which an epoch is kept, if it takes longer than some seconds.
    Replaces Lightning's own handler, which keeps nothing, and which with several processes broadcasts from within the
    handler: that can meet another process inside another collective, and both hang. Lightning puts back what was there
    before when it has finished.
    """

    def __init__(self) -> None:
        self.asked = False
        self._asked_at = math.inf

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen()

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        self._leave(after=PATIENCE)

    def on_test_batch_end(self, *_: Any, **__: Any) -> None:
        self._leave(after=0)

    def _listen(self) -> None:
        if threading.current_thread() is threading.main_thread():  # Python allows it to no other
            signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked, self._asked_at = True, min(self._asked_at, time.monotonic())

    def _leave(self, after: float) -> None:
        if self.asked and time.monotonic() - self._asked_at >= after:
            raise KeyboardInterrupt

"""The live progress bar."""

import os
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

INTERVAL = 0.25
"""Seconds between two looks at a training: each makes a GPU finish what it was given, and takes a CPU two of its
milliseconds."""
LOOKS_A_SECOND = 20
"""Of the thread that draws, whether there is something to draw: each takes a core from the training, and with
Lightning's own hundred a step on all cores waits for them. But a stage ends only when the thread has looked again."""
Shown = dict[str, int | str | float | dict[str, float]]


class ProgressBar(RichProgressBar):
    """Lightning's rich bar with how far the sweep is, the training loss and, once an epoch has ended, error and ECE on
    validation.
    """

    _looked = -INTERVAL
    _last = 0

    def __init__(self, refresh_rate: int = LOOKS_A_SECOND, leave: bool = False) -> None:
        super().__init__(refresh_rate, leave)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._last, now = batch_idx, time.monotonic()
        if now - self._looked >= INTERVAL:
            self._looked = now
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_batch_end(trainer, pl_module, None, None, self._last)
        super().on_train_epoch_end(trainer, pl_module)

    def _get_train_description(self, current_epoch: int) -> str:
        """`Epoch 3/6`, counted from one like everything else; as wide as that of validation, or the bar flickers."""
        most = self.trainer.max_epochs
        said = f"Epoch {current_epoch + 1}" + (f"/{most}" if most and most > 0 else "")
        return f"{said:{len(self.validation_description)}}"

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Shown:
        known = trainer.callback_metrics
        shown: Shown = {"sweep": os.environ["STNLAB_JOB"]} if "STNLAB_JOB" in os.environ else {}
        if "train/loss_step" in known:
            shown["loss"] = f"{float(known['train/loss_step']):.3f}"
        return shown | {name: f"{float(known[name]):.2%}" for name in ("val/error", "val/ece") if name in known}

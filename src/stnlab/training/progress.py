"""The live progress bar."""

import os
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

DRAWINGS_A_SECOND = 2
"""Each makes a GPU finish what it was given, and takes a CPU two milliseconds of the training."""
Shown = dict[str, int | str | float | dict[str, float]]


class ProgressBar(RichProgressBar):
    """Lightning's rich bar with how far the sweep is, the training loss and, once an epoch has ended, error and ECE on
    validation.

    Drawn between two steps, refresh_rate times a second at most, and where an epoch starts or ends; 0: not at all.
    Lightning draws in a thread, which looks all the time whether it should, with a core that the training then waits
    for, and which each stage waits for at its end.
    """

    _drawn = float("-inf")
    _last = 0

    def __init__(self, refresh_rate: int = DRAWINGS_A_SECOND, leave: bool = False) -> None:
        super().__init__(refresh_rate, leave)

    def _init_progress(self, trainer: pl.Trainer) -> None:
        super()._init_progress(trainer)
        if self.progress is not None and (thread := self.progress.live._refresh_thread) is not None:
            thread.stop()
            self.progress.live._refresh_thread = None  # nobody waits for it

    def refresh(self, hard: bool = False) -> None:
        if hard or self._is_time():
            self._drawn = time.monotonic()
            super().refresh(hard=True)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._last = batch_idx
        if self._is_time():
            self._update_metrics(trainer, pl_module)  # Lightning draws first
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._drawn = float("-inf")
        self.on_train_batch_end(trainer, pl_module, None, None, self._last)

    def _is_time(self) -> bool:
        return self.is_enabled and time.monotonic() - self._drawn >= 1 / self.refresh_rate

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

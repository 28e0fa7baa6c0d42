"""The live progress bar."""

import os

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

Shown = dict[str, int | str | float | dict[str, float]]


class ProgressBar(RichProgressBar):
    """Lightning's rich bar with how far the sweep is, the training loss and, once an epoch has ended, error and ECE on
    validation.
    """

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Shown:
        known = trainer.callback_metrics
        shown: Shown = {"sweep": os.environ["STNLAB_JOB"]} if "STNLAB_JOB" in os.environ else {}
        if "train/loss_step" in known:
            shown["loss"] = f"{float(known['train/loss_step']):.3f}"
        return shown | {name: f"{float(known[name]):.2%}" for name in ("val/error", "val/ece") if name in known}

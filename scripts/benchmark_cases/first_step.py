"""For `startup`: ends a training, ours or the minimal one, after its first optimiser step."""

import os
from typing import Any

import pytorch_lightning as pl


class EndAfterFirstStep(pl.Callback):
    def on_train_batch_end(self, *_: Any) -> None:
        os._exit(0)

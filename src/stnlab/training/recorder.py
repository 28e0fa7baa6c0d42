"""Keeps a run as it goes: history, timings and checkpoints."""

import io
import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from stnlab.runs.directory import RunDirectory
from stnlab.runs.files import Row, link, write_bytes
from stnlab.training.classifier import Classifier
from stnlab.training.running_health import GRADIENTS, VALIDATED
from stnlab.training.stopping import Stopper

ASKED_EVERY = 20
"""Steps."""
MEASURES = ("loss", "accuracy", "error", "ece")
OF_VALIDATION = (*(f"val/{name}" for name in MEASURES), *(f"health/{name}" for name in VALIDATED))
COLUMNS = (*(f"train/{name}" for name in MEASURES), *OF_VALIDATION, *(f"health/{name}" for name in GRADIENTS))


class Recorder(Checkpoint):
    """After each epoch: one row of `metrics.csv`, timings in `run.json`, `last.ckpt`, and `best.ckpt` if it is one.

    A `Checkpoint` because only these are called once the module has logged its epoch. Its own state is in Lightning's
    checkpoint: an interrupted run goes on with all earlier rows, and its times add up. every_seconds: how much work
    of an epoch may be lost; `last.ckpt` is written within it, too, and when the stopper was asked to stop.
    """

    def __init__(self, run: RunDirectory, every_seconds: float = math.inf, stopper: Stopper | None = None) -> None:
        self.run, self.every_seconds = run, every_seconds
        self.stopper = stopper or Stopper()
        self.rows: list[Row] = []
        self.images_seen = 0
        self.train_seconds = 0.0
        self._started: float | None = None
        self._validated = False
        self._saved = time.monotonic()

    def timings(self) -> dict[str, float | int]:
        """What `run.json` says of the training so far; seconds exclude validation and
        start-up, but for what `trainer.compile` takes."""
        rate = self.images_seen / self.train_seconds if self.train_seconds else 0.0
        return {
            "epochs": len(self.rows),
            "images_seen": self.images_seen,
            "train_seconds": round(self.train_seconds, 3),
            "images_per_second": round(rate, 1),
        }

    def state_dict(self) -> dict[str, Any]:
        going = time.perf_counter() - self._started if self._started is not None else 0.0
        return {"rows": self.rows, "images_seen": self.images_seen, "train_seconds": self.train_seconds + going}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])
        self.images_seen = state_dict["images_seen"]
        self.train_seconds = state_dict["train_seconds"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started, self._saved = time.perf_counter(), time.monotonic()  # an epoch that goes on has no other start

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started, self._validated = time.perf_counter(), False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.images_seen += batch.global_size
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if not stepped or trainer.is_last_batch or trainer.global_step == trainer.max_steps:
            return  # the end of the epoch, which follows, keeps all
        write, stop = self._is_time(trainer)
        if write:
            assert isinstance(pl_module, Classifier)
            pl_module.divergence.check(trainer)
            pl_module.divergence.check_weights(trainer, pl_module.network)
            self._write_last(trainer)
        if stop:
            raise KeyboardInterrupt

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop_clock(trainer)
        self._validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop_clock(trainer)
        row: Row = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step, "images_seen": self.images_seen}
        known = trainer.callback_metrics  # which Lightning puts together anew each time
        for name in COLUMNS:
            # Not every epoch is validated; Lightning would still hold what the last one found.
            if name in known and (self._validated or name not in OF_VALIDATION):
                row[name] = float(known[name])
        self.rows.append(row)
        self._save(trainer)
        if trainer.is_global_zero:
            self.run.write_history(self.rows)
            self.run.update(**self.timings())
        if trainer.strategy.broadcast(self.stopper.asked):  # epochs may be too short to stop within, and not validated
            raise KeyboardInterrupt

    def _is_time(self, trainer: pl.Trainer) -> tuple[bool, bool]:
        """Whether to write a checkpoint, and to stop after it.

        The first process decides; the others are told now and then only, for they have to wait for it.
        """
        stop = self.stopper.asked
        now = stop or time.monotonic() - self._saved >= self.every_seconds, stop
        if trainer.world_size == 1:
            return now
        return (False, False) if trainer.global_step % ASKED_EVERY else trainer.strategy.broadcast(now)

    def _save(self, trainer: pl.Trainer) -> None:
        *earlier, now = [row.get("val/error", math.inf) for row in self.rows]
        self._write_last(trainer, is_best=now < min(earlier, default=math.inf))

    def _write_last(self, trainer: pl.Trainer, is_best: bool = False) -> None:
        """Every process takes part; the first one renames, so a kill leaves the old checkpoint or the new one."""
        last = self.run.last_checkpoint
        written = last.with_name("last.ckpt.part")
        trainer.save_checkpoint(written)
        self._saved = time.monotonic()
        if not trainer.is_global_zero:
            return
        if is_best:
            link(written, self.run.best_checkpoint)  # no second copy until the last one moves on
        written.replace(last)

    def _stop_clock(self, trainer: pl.Trainer) -> None:
        if self._started is not None:
            if trainer.strategy.root_device.type == "cuda":
                torch.cuda.synchronize()
            self.train_seconds += time.perf_counter() - self._started
            self._started = None


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints as all other files of a run are: whole or not at all, errors in one line. Lightning's own way
    leads through the system's temporary folder, where a killed process leaves its half behind."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(Path(path), buffer.getbuffer())

"""Lightning's hooks at the price of those that do something.

A step calls seventy of them, most of which nobody wrote, with a profiler's context around each, and looks signatures
up. On a CPU that would be a hundredth of a small network's step.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.profilers import PassThroughProfiler

NOTHING = nullcontext()
IN_A_STEP = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


class Unprofiled(PassThroughProfiler):
    """As Lightning's default, but no generator is entered around each hook."""

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return NOTHING


def shorten_steps(trainer: Any, module: pl.LightningModule, data: pl.LightningDataModule) -> None:
    """What Lightning would find out anew in each step of a training is settled: who has written which hooks, and what
    a training step takes. It passes over hooks that cannot be called."""
    for owner, base in ((module, pl.LightningModule), *((callback, pl.Callback) for callback in trainer.callbacks)):
        for hook in IN_A_STEP:
            if getattr(type(owner), hook) is getattr(base, hook) and hook not in vars(owner):
                setattr(owner, hook, None)

    def batch_to_device(batch: Any, device: torch.device | None = None, dataloader_idx: int = 0) -> Any:
        moved = data.transfer_batch_to_device(batch, device or trainer.strategy.root_device, dataloader_idx)
        return data.on_after_batch_transfer(moved, dataloader_idx)

    def arguments(_: Any, batch: Any, batch_idx: int) -> dict[str, Any]:
        return {"batch": batch, "batch_idx": batch_idx}

    trainer.strategy.batch_to_device = batch_to_device
    trainer.fit_loop.epoch_loop._build_kwargs = arguments

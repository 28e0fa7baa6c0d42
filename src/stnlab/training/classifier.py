"""The one LightningModule: any network, any data, one recipe."""

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from stnlab.data.batch import Batch, Split
from stnlab.data.module import ImageData
from stnlab.evaluation.health import collapsed
from stnlab.models.network import Network
from stnlab.models.prediction import Prediction
from stnlab.runs.predictions import Predictions
from stnlab.seeds import reseed, step_seed
from stnlab.training.divergence import EVERY, Divergence
from stnlab.training.geometry_arrays import geometry_arrays
from stnlab.training.processes import gathered
from stnlab.training.recipe import Recipe
from stnlab.training.running_health import NORMS_AN_EPOCH, GradientNorms, RunningHealth
from stnlab.training.running_metrics import RunningMetrics
from stnlab.training.unfinished_epoch import counts_of, restore_counts
from stnlab.training.view_sums import ViewSums


class Classifier(pl.LightningModule):
    """Trains a network by a recipe. After a test, `predictions` holds each tested split's arrays; `class_means` and
    `view_variances` are those of `runs.evaluation.Evaluation`.

    seed: the run's; dropout is a function of it, the step and the process. collapsed: the transformers that the last
    validation, or the test, found to have collapsed, with what says so.
    """

    def __init__(self, network: Network, recipe: Recipe, seed: int) -> None:
        super().__init__()
        self.network, self.recipe, self.seed = network, recipe, seed
        self.train_metrics, self.val_metrics = RunningMetrics(), RunningMetrics()
        self.divergence = Divergence()
        self.gradient_norms = GradientNorms(network)
        self.val_health = RunningHealth()
        self.collapsed: dict[int, str] = {}
        self.predictions: dict[Split, Predictions] = {}
        self.class_means: list[tuple[np.ndarray, np.ndarray]] = []
        self.view_variances: np.ndarray | None = None
        self._test_views = ViewSums()
        self._collected: dict[Split, list[dict[str, np.ndarray]]] = {}
        self._compiled: Callable[[Tensor], Tensor] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """As any module, but for the name of the hook at work, which Lightning notes dozens of times a step: to ask
        whether it is a parameter takes longer."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def compile_training(self, mode: str) -> None:
        """From now on training steps, and they alone, run the network by `torch.compile` in this mode of its."""
        torch.compiler.reset()  # it keeps a few graphs of a function, whichever network made them
        self._compiled = torch.compile(self.network.logits, mode=mode, dynamic=False)

    def forward(self, image: Tensor) -> Prediction:
        prediction: Prediction = self.network(image.to(self.dtype))
        return prediction

    def on_train_start(self) -> None:
        self._plan_epoch()  # an epoch that goes on has no other start

    def on_train_epoch_start(self) -> None:
        self._plan_epoch()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        trainer: Any = self.trainer  # which does not declare all its attributes
        step, accumulated = trainer.global_step, trainer.accumulate_grad_batches
        part = () if accumulated == 1 else (batch_idx % accumulated,)  # of a step, or its masks would all be one
        reseed(step_seed(self.seed, step, self.global_rank, *part), self.device)
        logits = self._training_logits(batch.image, first=batch_idx % accumulated == 0)
        loss = _summed_cross_entropy(logits, batch.label)
        summed = loss.detach()
        self.train_metrics.note(summed, logits.detach(), batch.label)
        self.divergence.watch(summed, step)
        # Shares of a batch differ by one sample; weighted so, the mean over processes is the mean over the batch.
        share: Tensor = loss * (trainer.world_size / batch.global_size)
        if (step + 1) % trainer.log_every_n_steps == 0:  # each call costs a fiftieth of a step
            self.log("train/loss_step", share.detach(), logger=bool(trainer.loggers))
        return share

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if (batch_idx + 1) % EVERY == 0:
            self.divergence.check(self.trainer)
            self.gradient_norms.fold()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        if self.trainer.fit_loop.batch_idx // self.trainer.accumulate_grad_batches % self._norms_every == 0:
            self.gradient_norms.update()

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        if gradient_clip_val is not None:  # without one Lightning looks for others, longer than a small operation takes
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        so_far = {"counts": counts_of(self.train_metrics), "gradients": self.gradient_norms.state()}
        checkpoint["unfinished_epoch"] = so_far

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        so_far, where = checkpoint.get("unfinished_epoch", {}), self.trainer.strategy.root_device
        if "counts" in so_far:  # older code kept sums: that epoch's means are then of what is left of it
            rank, world = self.trainer.global_rank, self.trainer.world_size
            restore_counts(self.train_metrics, so_far["counts"], rank, world, where)
            self.gradient_norms.restore(so_far["gradients"])

    def on_train_epoch_end(self) -> None:
        self.divergence.check(self.trainer)  # before anything of this epoch is kept
        self.divergence.check_weights(self.trainer, self.network)
        self._log_epoch("train", self.train_metrics)
        self._log_all(self.gradient_norms.collect())

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        prediction = self(batch.image)
        logits = prediction.logits
        self.val_metrics.note(_summed_cross_entropy(logits, batch.label), logits, batch.label)
        self.val_health.update(batch, prediction, self._data)

    def on_validation_epoch_end(self) -> None:
        self._log_epoch("val", self.val_metrics)
        health, self.collapsed = self.val_health.collect()
        self._log_all(health)

    def on_test_epoch_start(self) -> None:
        self._collected, self._test_views = {}, ViewSums()

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        prediction = self(batch.image)
        self._collected.setdefault(batch.split, []).append(_arrays(batch, prediction))
        if batch.split == "test":
            self._test_views.update(prediction, batch.label, self._data)

    def on_test_epoch_end(self) -> None:
        """Gather every process's samples and put them in order of index."""
        self.predictions = {}
        for split, parts in self._collected.items():
            self.predictions[split] = _in_order(gathered(parts))
        test = self.predictions.get("test")
        if test is not None and test.blank is not None:
            self.class_means, self.view_variances = self._test_views.class_means(), self._test_views.variances()
            self.collapsed = collapsed(test.blank, self.view_variances)

    def configure_optimizers(self) -> Any:
        classifier, localizers = self.network.classifier_parameters(), self.network.localizer_parameters()
        steps = self.recipe.total_steps(self._steps_an_epoch)
        optimizer, schedule = self.recipe.optimise(classifier, localizers, steps, self._may_fuse)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def _may_fuse(self) -> bool:
        """Whether all parameters may be updated at once: half of the optimiser's time on a CPU.

        A fused optimiser unscales gradients of float16 itself, after their norms are taken; and under any autocast
        Lightning refuses to clip for it.
        """
        clips = self.recipe.gradient_clip_norm is not None
        mixed = ("16-mixed", "bf16-mixed") if clips else ("16-mixed",)
        return self.device.type in ("cpu", "cuda") and self.trainer.precision not in mixed

    @property
    def _data(self) -> ImageData:
        trainer: Any = self.trainer  # which declares no such attribute
        data: ImageData = trainer.datamodule
        return data

    @property
    def _steps_an_epoch(self) -> int:
        """Lightning's estimate would open the loader before it is told where in its epoch to go on."""
        batches = math.ceil(len(self._data.rows["train"]) / self._data.batch_size)
        return math.ceil(batches / self.trainer.accumulate_grad_batches)

    def _training_logits(self, image: Tensor, first: bool) -> Tensor:
        """first: of the batches whose gradients make one step."""
        if self._compiled is None:
            return self.forward(image).logits
        if first:  # later ones add to gradients that a CUDA graph has made, and that a new step would overwrite
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return self._compiled(image.to(self.dtype)).clone()  # a CUDA graph's next run overwrites what it returned

    def _plan_epoch(self) -> None:
        """With few images an epoch is over before its validation. Then that waits until as many have been trained on,
        or a tenth of the epochs is over, and for the last epoch, which `recipe.steps` may cut short. And which steps'
        gradients are measured."""
        validated, trained = (len(self._data.rows[split]) for split in ("val", "train"))
        steps, total = self._steps_an_epoch, self.recipe.total_steps(self._steps_an_epoch)
        epochs = math.ceil(total / steps)
        every, epoch = max(min(math.ceil(validated / trained), epochs // 10), 1), self.current_epoch + 1
        self.trainer.check_val_every_n_epoch = 1 if epoch % every == 0 or epoch == epochs else sys.maxsize
        left = total - self.current_epoch * steps
        self._norms_every = max(min(steps, left) // NORMS_AN_EPOCH, 1)
        if 0 < left < steps:  # Lightning would wait for the epoch's last batch
            self.trainer.val_check_batch = left * self.trainer.accumulate_grad_batches

    def _log_epoch(self, split: Split, metrics: RunningMetrics) -> None:
        values = metrics.collect()
        values["error"] = 1 - values["accuracy"]
        # `epoch` as in metrics.csv, which counts finished ones; Lightning's own rows, within an epoch, have one less.
        self._log_all(
            {f"{split}/{name}": value for name, value in values.items()} | {"epoch": self.current_epoch + 1.0}
        )

    def _log_all(self, values: dict[str, float]) -> None:
        # Every process holds the same values already; Lightning warns unless it may average them.
        self.log_dict(values, sync_dist=self.trainer.world_size > 1)


def _summed_cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Summed over samples, mean over heads, in float32: zero, with a gradient of zeros, for no sample."""
    full = logits if logits.dtype == torch.float64 else logits.float()
    summed = F.cross_entropy(full.flatten(0, 1), label.flatten(), reduction="sum")
    return summed if label.shape[1] == 1 else summed / label.shape[1]


def _arrays(batch: Batch, prediction: Prediction) -> dict[str, np.ndarray]:
    """What `predictions.npz` keeps of a batch."""
    tensors = {"logits": prediction.logits.float(), "labels": batch.label, "indices": batch.index}
    tensors |= geometry_arrays(batch, prediction)
    tensors |= {f"pose_parameters/{name}": values for name, values in batch.pose_parameters.items()}
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def _in_order(arrays: dict[str, np.ndarray]) -> Predictions:
    order = np.argsort(arrays["indices"], kind="stable")
    found = Predictions.from_arrays({f"test/{name}": values[order] for name, values in arrays.items()}, "test")
    assert found is not None
    return found

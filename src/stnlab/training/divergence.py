"""Noticing that training has diverged, without waiting for the device in every step."""

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from stnlab.errors import StnlabError

EVERY = 50
"""Steps between two looks: reading one number makes a GPU finish what it was given."""


class Divergence:
    """Remembers, on the device, the first step whose loss was NaN or infinite."""

    def __init__(self) -> None:
        self._first: Tensor | None = None

    def watch(self, loss: Tensor, step: int) -> None:
        """loss: of one step, [], on any device."""
        first = self._first if self._first is not None else torch.full_like(loss, torch.inf)
        self._first = torch.where(loss.isfinite(), first, first.clamp(max=step))

    def check(self, trainer: pl.Trainer) -> None:
        """Raises StnlabError, naming the step, if a loss was not finite."""
        if self._first is not None and self._first.isfinite():
            self._fail(trainer, f"loss is NaN or infinite at step {self._first:.0f}")

    def check_weights(self, trainer: pl.Trainer, network: nn.Module) -> None:
        """Raises StnlabError if a weight is not finite: the last step's loss may be the last good number."""
        finite = torch.stack([parameter.detach().isfinite().all() for parameter in network.parameters()])
        if not finite.all():
            self._fail(trainer, f"weights are NaN or infinite after step {trainer.global_step}")

    def _fail(self, trainer: pl.Trainer, what: str) -> None:
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        half = (
            "" if str(trainer.precision).startswith(("32", "64")) else ", or half precision too coarse: 32-true is safe"
        )
        raise StnlabError(
            f"{what}: the learning rate (now {rate:.3g}) is likely too "
            f"large{half}; give a smaller recipe.optimizer.lr or a recipe.gradient_clip_norm"
        )

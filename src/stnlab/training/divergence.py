"""Noticing that training has diverged, without waiting for the device in every step."""

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from stnlab.errors import StnlabError

EVERY = 50
"""Batches between two looks: reading one number makes a GPU finish what it was given."""


class Divergence:
    """Looks back at the losses of some steps at once: which of them was the first that was NaN or infinite."""

    def __init__(self) -> None:
        self._losses: list[tuple[int, Tensor]] = []

    def watch(self, loss: Tensor, step: int) -> None:
        """loss: of one step or of a part of it, [], on any device."""
        self._losses.append((step, loss))

    def check(self, trainer: pl.Trainer) -> None:
        """Raises StnlabError, naming the step, if a loss since the last look was not finite."""
        watched, self._losses = self._losses, []
        if watched and not (finite := torch.stack([loss for _, loss in watched]).isfinite()).all():
            self._fail(trainer, f"loss is NaN or infinite at step {watched[finite.tolist().index(False)][0]}")

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

"""Loss, accuracy and calibration error of a pass over a split, at next to no cost in a step."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_calibration_error
from torchmetrics.utilities import dim_zero_cat

BINS = 15
FOLDED_EVERY = 50
"""Steps: a dozen small operations each time, which on a step of a small network would be a twentieth."""


class RunningMetrics(Metric):
    """Loss, accuracy and expected calibration error (Guo et al. 2017, equation 3), over all samples and processes.

    A sample is right if all its heads are; its confidence is the product of theirs, as in `evaluation.calibration`.
    torchmetrics (issue 3510) counts a confidence of exactly 1.0 in a sixteenth bin of its own; the next smaller number
    falls into the last one. Everything is kept and summed at the end, in the confidences' precision, where float32
    loses too much over many samples: so an interruption, wherever it comes, changes no bit.
    """

    losses: list[Tensor]
    confidences: list[Tensor]
    right: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("losses", "confidences", "right"):
            self.add_state(name, [], dist_reduce_fx="cat")
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []

    def note(self, loss: Tensor, logits: Tensor, label: Tensor) -> None:
        """Of one batch, detached. loss: [], sum over samples, mean over heads. logits: [N, heads, classes].

        label: [N, heads]; a process may have no sample of the last batch.
        """
        if len(label):
            self._waiting.append((loss, logits, label))
            if len(self._waiting) == FOLDED_EVERY:
                self.fold()

    def fold(self) -> None:
        """Count what waits: before the states are read."""
        if self._waiting:
            losses, logits, labels = zip(*self._waiting, strict=True)
            self._waiting = []
            self.update(torch.stack(losses), torch.cat(logits), torch.cat(labels))

    def update(self, losses: Tensor, logits: Tensor, label: Tensor) -> None:
        """losses: [batches], one sum each. logits: [N, heads, classes]. label: [N, heads]."""
        confidences, predicted = logits.float().softmax(dim=-1).max(dim=-1)
        below_one = 1 - torch.finfo(torch.float32).eps / 2
        self.losses.append(losses.double())
        self.confidences.append(confidences.prod(-1).clamp(max=below_one).double())
        self.right.append((predicted == label).all(-1))

    def compute(self) -> dict[str, Tensor]:
        right = dim_zero_cat(self.right)
        return {
            "loss": dim_zero_cat(self.losses).sum() / len(right),
            "accuracy": right.double().mean(),
            "ece": binary_calibration_error(dim_zero_cat(self.confidences), right.long(), n_bins=BINS, norm="l1"),
        }

    def collect(self) -> dict[str, float]:
        """The values, then back to the start. Waits for the device: once an epoch."""
        self.fold()
        if not self.losses:  # a process without a sample: torchmetrics would send float32 in place of each state
            self.update(*(empty.to(self.device) for empty in (torch.empty(0), torch.empty(0, 1, 2), torch.empty(0, 1))))
        values = {name: float(value) for name, value in self.compute().items()}
        self.reset()
        return values

"""torchmetrics' calibration error, correct at full confidence and over many samples."""

import torch
from torch import Tensor
from torchmetrics.classification import BinaryCalibrationError


class CalibrationError(BinaryCalibrationError):
    """Expected calibration error over 15 bins (Guo et al. 2017, equation 3) of logits [N, heads, classes].

    A sample is right when all its heads are; its confidence is the product of theirs, as in `evaluation.calibration`.
    torchmetrics (issue 3510) counts a confidence of exactly 1.0 in a sixteenth bin of its own; the next smaller number
    falls into the last one. It also sums in the confidences' precision, where float32 loses too much over many samples.
    """

    def __init__(self) -> None:
        super().__init__(n_bins=15, norm="l1", validate_args=False)

    def update(self, preds: Tensor, target: Tensor) -> None:
        confidences, predicted = preds.float().softmax(dim=-1).max(dim=-1)
        below_one = 1 - torch.finfo(torch.float32).eps / 2
        self.confidences.append(confidences.prod(-1).clamp(max=below_one).double())
        self.accuracies.append((predicted == target).all(-1).double())

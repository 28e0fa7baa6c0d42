"""Means and variances, over a split, of what reaches the transformers and of what they make of it."""

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from stnlab.data.module import ImageData
from stnlab.models.prediction import Prediction
from stnlab.training.grey import grey, small
from stnlab.training.processes import summed

MOST_CLASSES = 50


class ViewSums:
    """Sums over samples of grey pictures: for each transformer of its inputs, then of its views.

    In float64, so neither batch size nor devices show in the results. Pictures of more than 64 pixels along a side are
    summed at that size.
    """

    def __init__(self) -> None:
        self._counts: Tensor | None = None
        self._sums: list[Tensor] = []
        self._squares: list[Tensor] = []
        self._sizes: list[tuple[int, ...]] = []

    def update(self, prediction: Prediction, label: Tensor, data: ImageData) -> None:
        """label: [N, heads]. Samples are told apart by class if they have one label of at most 50 classes."""
        pairs = zip(prediction.inputs, prediction.views, strict=True)
        pictures = [small(picture) for reached, view in pairs for picture in grey(reached, view, data)]
        classes = prediction.logits.shape[2]
        if not has_class_means(label.shape[1], classes):
            label, classes = label[:, :1] * 0, 1
        if self._counts is None:
            self._counts = label.new_zeros(classes).double()
            self._sums = [self._counts.new_zeros(classes, picture.shape[1:].numel()) for picture in pictures]
            self._squares = [self._counts.new_zeros(()) for _ in pictures]
            self._sizes = [tuple(picture.shape[1:]) for picture in pictures]
        members = F.one_hot(label[:, 0], classes).double()
        self._counts += members.sum(0)
        for number, picture in enumerate(pictures):
            flat = picture.flatten(1).double()
            self._sums[number] += members.T @ flat
            self._squares[number] += flat.square().sum()

    def class_means(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each transformer (before, after), [classes, h, w] float32, zero for a class without a sample.

        Nothing where classes are not told apart.
        """
        counts = self._total_counts().clamp(min=1)[:, None]
        if len(counts) == 1:
            return []
        means = [
            (summed(sums) / counts).float().reshape(-1, *size).cpu().numpy()
            for sums, size in zip(self._sums, self._sizes, strict=True)
        ]
        return list(zip(means[::2], means[1::2], strict=True))

    def variances(self) -> np.ndarray:
        """[transformers, 2]: variance over samples, mean over pixels, of what reached each and of its views."""
        count = self._total_counts().sum().clamp(min=1)
        found = [
            summed(squares) / count / sums.shape[1] - (summed(sums).sum(0) / count).square().mean()
            for sums, squares in zip(self._sums, self._squares, strict=True)
        ]
        values = [max(float(value), 0.0) for value in found]  # rounding may leave less than nothing of equal pictures
        return np.array(values).reshape(-1, 2)

    def _total_counts(self) -> Tensor:
        assert self._counts is not None
        return summed(self._counts)


def has_class_means(heads: int, classes: int) -> bool:
    """Whether a run keeps a mean picture for each class: samples have one label, of not too many."""
    return heads == 1 and classes <= MOST_CLASSES

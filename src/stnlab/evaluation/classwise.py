"""Calibration of every class's probability, not of the predicted one's alone: each class of each head is an event."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stnlab.evaluation.calibration import BINS, Array, Floats, bin_of, softmax


@dataclass(frozen=True)
class Events:
    """Of E = heads x classes events: probability and outcome (0 or 1), each [N, E].

    cell: [N, E], which of the C cells a sample's event falls into: a cell is one event's bin of equal width, and only
    those with a sample exist. heads: how many events of a sample happen.
    """

    probability: Floats
    outcome: Floats
    cell: NDArray[np.int64]
    heads: int

    @property
    def cells(self) -> int:
        return int(self.cell.max()) + 1


@dataclass(frozen=True)
class BrierParts:
    """`reliability - resolution + uncertainty` is the Brier score. Low reliability and high resolution are good."""

    reliability: float
    resolution: float
    uncertainty: float


def events(logits: Array, labels: Array, bins: int = BINS) -> Events:
    """The events of logits [N, heads, classes] and labels [N, heads]."""
    samples, heads, classes = np.shape(logits)
    probability = np.minimum(softmax(logits), 1.0)  # may exceed 1 by rounding
    outcome = np.asarray(labels)[..., None] == np.arange(classes)
    number = np.arange(heads * classes) * bins + bin_of(probability, bins).reshape(samples, -1)
    _, cell = np.unique(number, return_inverse=True)
    flat = (samples, heads * classes)
    return Events(probability.reshape(flat), outcome.reshape(flat).astype(np.float64), cell.reshape(flat), heads)


def classwise_ece(found: Events) -> float:
    """The mean over classes of the expected calibration error of each, in [0, 1].

    Kull et al. 2019, "Beyond temperature scaling" (arXiv:1910.12656); the static calibration error of Nixon et al.
    2019 (arXiv:1904.01685).
    """
    gaps = np.bincount(found.cell.ravel(), (found.outcome - found.probability).ravel())
    return float(np.abs(gaps).sum() / found.probability.size)


def brier_parts(found: Events) -> BrierParts:
    """What the Brier score (summed over classes, mean over heads) is made of.

    Murphy 1973, J. Appl. Meteorol. 12. The resolution is the generalised one of Stephenson, Coelho, Jolliffe 2008,
    Weather Forecast. 23: Murphy's less the variance of the probabilities within a bin, plus twice their covariance with
    the outcome there. Without these two the parts of binned probabilities do not add up to the score.
    """
    samples, cell = len(found.probability), found.cell.ravel()
    count = np.bincount(cell)
    probability, outcome = found.probability.ravel(), found.outcome.ravel()
    forecast, rate = np.bincount(cell, probability) / count, np.bincount(cell, outcome) / count
    base = found.outcome.mean(axis=0)
    overall = np.empty(found.cells)
    overall[found.cell] = base
    within = (probability - forecast[cell]) * (probability - forecast[cell] - 2 * (outcome - rate[cell]))
    scale = samples * found.heads
    return BrierParts(
        reliability=float((count * (forecast - rate) ** 2).sum() / scale),
        resolution=float(((count * (rate - overall) ** 2).sum() - within.sum()) / scale),
        uncertainty=float((base * (1 - base)).sum() / found.heads),
    )

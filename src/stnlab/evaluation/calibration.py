"""Error and calibration of what a network said: logits and labels in, numbers out. float64 inside, whatever comes in.

Logits are [N, heads, classes], labels [N, heads] integers; a single-label problem has one head. A sample is correct
when all its heads are, and its confidence is the product of the heads' largest probabilities (heads taken as
independent given the image, which is what the network models).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stnlab.errors import StnlabError

Array = NDArray[Any]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BINS = 15
"""Of Guo et al. 2017, section 5."""


@dataclass(frozen=True)
class ReliabilityBins:
    """Samples sorted by confidence into bins of equal width: edges [bins + 1], everything else [bins].

    `confidence` and `accuracy` are the means of a bin, NaN where it is empty.
    """

    edges: Floats
    count: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats


def log_softmax(logits: Array) -> Floats:
    """Log-probabilities over the last axis, of any shape. Raises StnlabError on NaN or infinity."""
    logits = np.asarray(logits, dtype=np.float64)
    if not np.isfinite(logits).all():
        raise StnlabError("logits hold NaN or infinity: the training diverged; try a smaller learning rate")
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def softmax(logits: Array) -> Floats:
    """Probabilities over the last axis, of any shape. Raises StnlabError on NaN or infinity."""
    result: Floats = np.exp(log_softmax(logits))
    return result


def confidences(logits: Array, labels: Array) -> tuple[Floats, Bools]:
    """Confidence in (0, 1] and correctness of each sample, both [N]. Ties go to the first class."""
    _check(logits, labels)
    # clipped: exp(log_softmax) may exceed 1 by rounding
    confidence = np.minimum(softmax(logits).max(axis=-1), 1.0).prod(axis=-1)
    correct: Bools = (np.argmax(logits, axis=-1) == labels).all(axis=-1)
    return confidence, correct


def bin_of(confidence: Array, bins: int = BINS) -> NDArray[np.int64]:
    """Which of `bins` bins of equal width a confidence in [0, 1] falls into: [lower, upper), the last one closed.

    As `numpy.histogram` does. torchmetrics puts exactly 1.0 into a bin of its own (its issue 3510).
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise StnlabError("confidences must lie between 0 and 1")
    found = np.searchsorted(np.linspace(0, 1, bins + 1), confidence, side="right") - 1
    return np.minimum(found, bins - 1).astype(np.int64)


def reliability_bins(confidence: Array, correct: Array, bins: int = BINS) -> ReliabilityBins:
    """What the reliability diagram shows, of confidences [N] in [0, 1] and correctness [N]."""
    index = bin_of(confidence, bins)
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of an empty bin
        mean_confidence = np.bincount(index, np.asarray(confidence, np.float64), bins) / count
        accuracy = np.bincount(index, np.asarray(correct, np.float64), bins) / count
    return ReliabilityBins(np.linspace(0, 1, bins + 1), count, mean_confidence, accuracy)


def ece(confidence: Array, correct: Array, bins: int = BINS) -> float:
    """Expected calibration error, in [0, 1]: the bins' |accuracy - confidence| weighted by their share of samples.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.
    """
    found = reliability_bins(confidence, correct, bins)
    used = found.count > 0
    gaps = np.abs(found.accuracy[used] - found.confidence[used])
    return float(np.sum(gaps * found.count[used]) / found.count.sum())


def nll(logits: Array, labels: Array) -> float:
    """Mean negative log-likelihood of the labels, in nats, over samples and heads. At least 0."""
    _check(logits, labels)
    chosen = np.take_along_axis(log_softmax(logits), np.asarray(labels)[..., None], axis=-1)
    return float(-chosen.mean())


def brier(logits: Array, labels: Array) -> float:
    """Multi-class Brier score, in [0, 2]: squared distance of probabilities and one-hot label, *summed* over classes.

    Brier 1950, equation 2; the mean over samples and heads. Twice the binary score where there are two classes.
    """
    _check(logits, labels)
    probabilities = softmax(logits)
    chosen = np.take_along_axis(probabilities, np.asarray(labels)[..., None], axis=-1)[..., 0]
    return float(np.mean((probabilities**2).sum(axis=-1) - 2 * chosen + 1))


def measure(logits: Array, labels: Array) -> dict[str, float]:
    """`error`, `accuracy`, `ece` (15 bins), `nll` and `brier` of logits [N, heads, classes] and labels [N, heads].

    Fractions, not percent. Raises StnlabError on shapes that do not fit, labels out of range, and NaN or infinity.
    """
    confidence, correct = confidences(logits, labels)
    accuracy = float(correct.mean())
    return {
        "error": float((~correct).mean()),
        "accuracy": accuracy,
        "ece": ece(confidence, correct),
        "nll": nll(logits, labels),
        "brier": brier(logits, labels),
    }


def _check(logits: Array, labels: Array) -> None:
    if np.ndim(logits) != 3 or np.shape(logits)[:2] != np.shape(labels) or not np.size(labels):
        raise StnlabError(
            f"logits {np.shape(logits)} and labels {np.shape(labels)} do not fit: "
            "they must be [N, heads, classes] and [N, heads], N at least 1"
        )
    if np.min(labels) < 0 or np.max(labels) >= np.shape(logits)[2]:
        raise StnlabError(f"labels must lie between 0 and {np.shape(logits)[2] - 1}")

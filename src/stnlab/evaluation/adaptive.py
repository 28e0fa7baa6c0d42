"""Adaptive calibration error: bins that hold equally many samples, wherever the confidences crowd."""

import numpy as np

from stnlab.evaluation.calibration import BINS, Array, Floats


def equal_mass(confidence: Array, bins: int = BINS) -> Floats:
    """[N, bins]: the share of each sample in each bin. Rows sum to 1, columns to N / bins.

    Bins follow each other in order of confidence [N]. Where the edge between two falls on samples of the same
    confidence, all of these lie in both, in the same shares: the order of the samples never matters.
    """
    _, group, count = np.unique(confidence, return_inverse=True, return_counts=True)
    edges = np.linspace(0, len(group), bins + 1)
    ends = np.cumsum(count)[:, None]
    overlap = np.minimum(ends, edges[1:]) - np.maximum(ends - count[:, None], edges[:-1])
    shares: Floats = (np.maximum(overlap, 0) / count[:, None])[group]
    return shares


def adaptive_ece(confidence: Array, correct: Array, bins: int = BINS) -> float:
    """Expected calibration error over bins of equal mass, in [0, 1], of confidences [N] and correctness [N].

    Nixon et al. 2019, "Measuring Calibration in Deep Learning" (arXiv:1904.01685), of the predicted class alone, as
    AdaECE of Mukhoti et al. 2020 (arXiv:2002.09437).
    """
    return float(np.abs(adaptive_gaps(confidence, correct, bins).mean(axis=0)).sum())


def adaptive_gaps(confidence: Array, correct: Array, bins: int = BINS) -> Floats:
    """[N, bins]: a sample's correct - confidence, shared out among its bins."""
    gaps: Floats = equal_mass(confidence, bins) * (np.asarray(correct, np.float64) - confidence)[:, None]
    return gaps

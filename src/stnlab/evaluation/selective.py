"""Selective prediction: what a network gets wrong if it may decline where it is least sure."""

import numpy as np

from stnlab.evaluation.calibration import Array, Floats


def risk_coverage(confidence: Array, correct: Array) -> tuple[Floats, Floats]:
    """Coverage (k / N) and risk (share of wrong ones among the k surest samples), both [N].

    Samples of equal confidence come in random order: the risk is what is expected then.
    """
    order, first, last = _tied(confidence)
    wrong = ~np.asarray(correct, bool)[order]
    mean = np.add.reduceat(wrong.astype(np.float64), first) / (last - first + 1)
    ranks = np.arange(1, len(order) + 1)
    return ranks / len(order), np.cumsum(np.repeat(mean, last - first + 1)) / ranks


def aurc(confidence: Array, correct: Array) -> float:
    """Area under the risk-coverage curve, in [0, 1]: the mean of its N risks. Low is good, the error rate is chance.

    Geifman, Uziel, El-Yaniv 2019, "Bias-Reduced Uncertainty Estimation" (arXiv:1805.08206), after Geifman, El-Yaniv
    2017 (arXiv:1705.08500).
    """
    return float(risk_coverage(confidence, correct)[1].mean())


def resampled_aurc(confidence: Array, correct: Array, weights: Floats) -> Floats:
    """[resamples]: the areas where each of the N samples occurs `weights` times. weights: [resamples, N], whole."""
    order, first, last = _tied(confidence)
    samples, wrong = len(order), ~np.asarray(correct, bool)[order]
    if not wrong.any():
        return np.zeros(len(weights))
    # A wrong sample at rank k adds 1/j to the sum of risks for each j from k on; `area` sums that over the first ranks.
    harmonic = np.cumsum(1 / np.arange(1, samples + 1))
    steps = harmonic[-1] - np.concatenate([[0], harmonic[:-1]])
    area = np.concatenate([[0], np.cumsum(steps)]) / samples
    weights = weights[:, order]
    ranks = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, axis=1)], axis=1).astype(np.int64)
    rows = np.flatnonzero(wrong)
    group = np.searchsorted(last, rows)
    groups, starts = np.unique(group, return_index=True)
    wrongs = np.add.reduceat(weights[:, rows], starts, axis=1)
    before, after = ranks[:, first[groups]], ranks[:, last[groups] + 1]
    result: Floats = (wrongs / np.maximum(after - before, 1) * (area[after] - area[before])).sum(axis=1)
    return result


def _tied(confidence: Array) -> tuple[Array, Array, Array]:
    """The order from the surest sample on, and in it the first and the last place of each distinct confidence."""
    order = np.argsort(-np.asarray(confidence, np.float64), kind="stable")
    ends = np.flatnonzero(np.diff(np.asarray(confidence)[order]))
    return order, np.concatenate([[0], ends + 1]), np.concatenate([ends, [len(order) - 1]])

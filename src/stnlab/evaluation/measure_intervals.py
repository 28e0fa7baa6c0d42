"""95% intervals of every measure of calibration, from one set of bootstrap resamples of the test images."""

from collections.abc import Callable, Mapping

import numpy as np
from scipy import sparse  # type: ignore[import-untyped]

from stnlab.evaluation.adaptive import adaptive_gaps
from stnlab.evaluation.calibration import BINS, Array, Bools, Floats, bin_of, confidences, log_softmax
from stnlab.evaluation.classwise import Events, events
from stnlab.evaluation.intervals import RESAMPLES, image_weights, norm_interval, quantiles, wilson
from stnlab.evaluation.selective import resampled_aurc

Ends = tuple[float, float]

RANGES: Mapping[str, Ends] = {
    "error": (0, 1),
    "accuracy": (0, 1),
    "ece": (0, 1),
    "ece_adaptive": (0, 1),
    "ece_classwise": (0, 1),
    "mce": (0, 1),
    "gap": (-1, 1),
    "nll": (0, np.inf),
    "brier": (0, 2),
    "brier_reliability": (0, 2),
    "brier_resolution": (-1, 2),
    "brier_uncertainty": (0, 1),
    "aurc": (0, 1),
}
"""The measures and between which values they lie."""


def measure_intervals(
    logits: Array, labels: Array, estimates: Mapping[str, float], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Ends]:
    """95% intervals over the test images of all measures in `RANGES`; the same input gives the same intervals.

    estimates: the measures of logits [N, heads, classes] and labels [N, heads], which their intervals always hold.

    Error and accuracy: Wilson's. What is nothing but noise of a calibrated network (the ECEs, `mce`,
    `brier_reliability`): test inversion, as `norm_interval`. `brier_resolution` and `brier_uncertainty`, which are
    biased too, but far from 0: the basic bootstrap interval. The others: the percentile interval. Bins stay where the
    whole sample has them.
    """
    confidence, correct = confidences(logits, labels)
    found = events(logits, labels)
    columns = _columns(logits, labels, confidence, correct, found)
    whole = {name: np.asarray(column.mean(axis=1)) for name, column in columns.items()}
    drawn = _resampled(columns, confidence, correct, resamples, seed)
    # Divided by these, the squares of the gaps add up to the reliability. The shares of the whole sample, not of each
    # resample: a bin with one sample has no noise in its own share. Where bins are full, that is a little too wide.
    roots = np.sqrt(np.bincount(found.cell.ravel()) / len(confidence) * found.heads)

    result = _of_gaps(whole, drawn, bin_of(confidence), roots, found)
    error = wilson(int((~correct).sum()), len(correct))
    result |= {"error": error, "accuracy": (1 - error[1], 1 - error[0]), "gap": quantiles(-drawn["gap"].sum(axis=1))}
    result |= {name: quantiles(drawn[name][:, 0]) for name in ("nll", "brier", "aurc")}

    uncertainty = (drawn["outcome"] * (1 - drawn["outcome"])).sum(axis=1) / found.heads
    resolution = _length(drawn["event_gap"] / roots) ** 2 + uncertainty - drawn["brier"][:, 0]
    for name, values in (("brier_resolution", resolution), ("brier_uncertainty", uncertainty)):
        low, high = quantiles(values)
        result[name] = (2 * estimates[name] - high, 2 * estimates[name] - low)
    return {name: _around(estimates[name], result[name], limits) for name, limits in RANGES.items()}


def group_ece_intervals(
    groups: Bools, confidence: Floats, correct: Bools, resamples: int = RESAMPLES, seed: int = 0
) -> list[Ends]:
    """95% interval of the ECE of each group of samples, all from the same resamples of all images.

    groups: [N, G], which samples are in which; one may be in several or none, and a group may be empty. confidence,
    correct: [N].
    """
    samples, number = groups.shape
    row, group = np.nonzero(groups)
    cell = group * BINS + bin_of(confidence)[row]
    gaps = sparse.csr_array(((correct - confidence)[row], (cell, row)), shape=(number * BINS, samples))
    members = sparse.csr_array(groups.T.astype(np.float64))

    def means(weights: Floats) -> Floats:
        across = np.ascontiguousarray(weights.T)
        sums = (gaps @ across).T.reshape(len(weights), number, BINS)
        result: Floats = sums / np.maximum((members @ across).T, 1)[..., None]
        return result

    whole = means(np.ones((1, samples)))[0]
    drawn = np.concatenate([means(weights) for weights in image_weights(samples, resamples, seed)])
    ends = (_norm_interval(_sum, whole[index], drawn[:, index]) for index in range(number))
    return [(low, min(high, 1.0)) for low, high in ends]


def _of_gaps(
    whole: Mapping[str, Floats], drawn: Mapping[str, Floats], bins: Array, roots: Floats, found: Events
) -> dict[str, Ends]:
    """Intervals of the measures that are norms of the bins' gaps."""
    events_number = found.probability.shape[1]
    count = np.bincount(bins)
    used = np.flatnonzero(count)
    shares = count[used] / len(bins)
    low, high = _norm_interval(_length, whole["event_gap"] / roots, drawn["event_gap"] / roots)
    return {
        "ece": _norm_interval(_sum, whole["gap"], drawn["gap"]),
        "ece_adaptive": _norm_interval(_sum, whole["adaptive"], drawn["adaptive"]),
        "ece_classwise": _norm_interval(_sum, whole["event_gap"] / events_number, drawn["event_gap"] / events_number),
        "mce": _norm_interval(_largest, whole["gap"][used] / shares, drawn["gap"][:, used] / shares),
        "brier_reliability": (low**2, high**2),
    }


def _columns(
    logits: Array, labels: Array, confidence: Floats, correct: Bools, found: Events
) -> dict[str, sparse.csr_array]:
    """What the measures need of each sample, [columns, N]: means of these over a sample of images are enough."""
    top, wanting = bin_of(confidence)[:, None], (correct - confidence)[:, None]
    likelihood = np.take_along_axis(log_softmax(logits), np.asarray(labels)[..., None], axis=-1)
    squares = (found.probability - found.outcome) ** 2
    return {
        "gap": _in_cells(top, wanting, BINS),
        "adaptive": sparse.csr_array(adaptive_gaps(confidence, correct).T),
        "event_gap": _in_cells(found.cell, found.outcome - found.probability, found.cells),
        "outcome": sparse.csr_array(found.outcome.T),
        "nll": sparse.csr_array(-likelihood.mean(axis=(1, 2))[None]),
        "brier": sparse.csr_array(squares.sum(axis=1)[None] / found.heads),
    }


def _in_cells(cell: Array, values: Floats, cells: int) -> sparse.csr_array:
    """[cells, N] of cell and values [N, E]."""
    sample = np.repeat(np.arange(len(cell)), cell.shape[1])
    return sparse.csr_array((values.ravel(), (cell.ravel(), sample)), shape=(cells, len(cell)))


def _resampled(
    columns: Mapping[str, sparse.csr_array], confidence: Floats, correct: Bools, resamples: int, seed: int
) -> dict[str, Floats]:
    """Means of the columns [resamples, columns], and `aurc`."""
    images = len(confidence)
    parts: dict[str, list[Floats]] = {name: [] for name in (*columns, "aurc")}
    for weights in image_weights(images, resamples, seed):
        across = np.ascontiguousarray(weights.T)
        for name, column in columns.items():
            parts[name].append((column @ across).T / images)
        parts["aurc"].append(resampled_aurc(confidence, correct, weights)[:, None])
    return {name: np.concatenate(part) for name, part in parts.items()}


def _norm_interval(norm: Callable[[Floats], Floats], gaps: Floats, resampled: Floats) -> Ends:
    """Of a norm over the last axis. gaps: [columns]. resampled: [resamples, columns]."""
    return norm_interval(float(norm(gaps)), gaps, resampled, norm)


def _sum(gaps: Floats) -> Floats:
    result: Floats = np.abs(gaps).sum(axis=-1)
    return result


def _largest(gaps: Floats) -> Floats:
    result: Floats = np.abs(gaps).max(axis=-1)
    return result


def _length(gaps: Floats) -> Floats:
    result: Floats = np.sqrt(np.einsum("...k,...k->...", gaps, gaps))
    return result


def _around(estimate: float, ends: Ends, limits: Ends) -> Ends:
    """Within the measure's range, and wide enough to hold the estimate."""
    low, high = max(ends[0], limits[0]), min(ends[1], limits[1])
    return float(min(low, estimate)), float(max(high, estimate))

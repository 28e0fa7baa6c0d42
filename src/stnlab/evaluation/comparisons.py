"""Is a cell better than a baseline? Paired over the same test images and, where there are several, the same seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stnlab.errors import StnlabError
from stnlab.evaluation.intervals import Outcomes, covered, quantiles, seed_weights

MCNEMAR = "exact McNemar"
BOOTSTRAP = "hierarchical paired bootstrap"
RESAMPLES = 10_000
"""The smallest p it can give is 2 / 10,001."""


@dataclass(frozen=True)
class Comparison:
    """Error of a cell minus error of its baseline, over the seeds they share: negative is better than the baseline.

    difference, low, high: fractions in [-1, 1], with the 95% interval. p: two-sided. p_holm: after Holm's correction
    for the comparisons made together. test: its name. covers: what the interval covers.
    """

    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    test: str
    n_seeds: int
    n_images: int
    covers: str


def compare(pairs: Sequence[tuple[Outcomes, Outcomes]], resamples: int = RESAMPLES, seed: int = 0) -> list[Comparison]:
    """Compare each (cell, baseline): all p-values of one call are corrected together (Holm 1979).

    With one shared seed the p-value is the exact McNemar test's (binomial over the images where just one of the two is
    right) and speaks of this trained pair; with several it comes from the hierarchical bootstrap over seeds and images
    and speaks of the two ways to train. The interval is the bootstrap's percentile interval in either case. The same
    input gives the same result. Raises StnlabError if a pair shares no seed or has other test images.
    """
    differences = [paired_differences(cell, baseline) for cell, baseline in pairs]
    found = [_compare(difference, resamples, seed) for difference in differences]
    corrected = holm([one.p for one in found])
    return [Comparison(**vars(one) | {"p_holm": p}) for one, p in zip(found, corrected, strict=True)]


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p that both are wrong equally often, from the samples that only the first, only the second gets
    wrong (McNemar 1947, with binomial(n, 1/2) instead of its approximation).
    """
    n, fewer = only_first + only_second, min(only_first, only_second)
    ways, tail = 1, 0
    for k in range(fewer + 1):  # integers of any length: exact, and no underflow on the way
        tail += ways
        ways = ways * (n - k) // (k + 1)
    return min(1.0, 2 * tail / (1 << n))


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down method (Holm 1979), in the order given."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.asarray(p, np.float64)[order] * np.arange(len(p), 0, -1))
    result = np.empty(len(p))
    result[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in result]


def paired_differences(cell: Outcomes, baseline: Outcomes) -> np.ndarray:
    """[shared seeds, N] int: 1 where only the cell is wrong, -1 where only the baseline is, else 0."""
    if not np.array_equal(cell.indices, baseline.indices):
        raise StnlabError("cell and baseline were tested on different images: they cannot be compared in pairs")
    shared = [seed for seed in cell.seeds if seed in baseline.seeds]
    if not shared:
        raise StnlabError(
            f"cell (seeds {', '.join(map(str, cell.seeds))}) and baseline (seeds "
            f"{', '.join(map(str, baseline.seeds))}) share no seed: train one with the other's"
        )
    rows = [(cell.correct[cell.seeds.index(s)], baseline.correct[baseline.seeds.index(s)]) for s in shared]
    return np.stack([second.astype(np.int64) - first for first, second in rows])


def _compare(differences: np.ndarray, resamples: int, seed: int) -> Comparison:
    seeds, images = differences.shape
    estimate = float(differences.mean())
    resampled = _resampled(differences, resamples, seed)
    low, high = quantiles(resampled)
    if seeds == 1:
        p, test = mcnemar(int((differences > 0).sum()), int((differences < 0).sum())), MCNEMAR
    else:
        beyond = min((resampled >= 0).sum(), (resampled <= 0).sum())
        p, test = min(1.0, float(2 * (beyond + 1) / (resamples + 1))), BOOTSTRAP
    return Comparison(estimate, low, high, p, p, test, seeds, images, covered(seeds))


def _resampled(differences: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """[resamples] mean differences of seeds and images drawn with replacement, of [seeds, N].

    Given the seeds that were drawn, an image counts by its sum over them alone: drawing how many images have which of
    these few sums is drawing images.
    """
    seeds, images = differences.shape
    patterns, counts = np.unique(differences, axis=1, return_counts=True)
    draws = max(seeds - 1, 1)
    drawn = np.rint(seed_weights(seeds, resamples, seed) * draws).astype(np.int64)
    sums = drawn @ patterns + draws  # [resamples, patterns], 0 to 2 * draws
    places = sums + np.arange(resamples)[:, None] * (2 * draws + 1)
    shares = np.bincount(places.ravel(), np.tile(counts / images, resamples), resamples * (2 * draws + 1))
    found = np.random.default_rng(seed).multinomial(images, shares.reshape(resamples, -1))
    result: np.ndarray = found @ np.arange(-draws, draws + 1) / (draws * images)
    return result

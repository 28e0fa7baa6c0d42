"""Is a cell better than a baseline? Paired over the same test images and, where there are several, the same seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import NormalDist

import numpy as np

from stnlab.errors import StnlabError
from stnlab.evaluation.intervals import Outcomes
from stnlab.evaluation.seeds import p_value, p_value_of_one, standard_error, with_seeds

MCNEMAR = "exact McNemar"
STUDENT = "paired t over seeds and images"
STUDENT_OF_RUNS = "paired t over seeds"
NORMAL = "paired z over images"
Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Comparison:
    """Error of a cell minus error of its baseline, over the seeds they share: negative is better than the baseline.

    difference, low, high: fractions in [-1, 1], with the 95% interval. p: two-sided. p_holm: after Holm's correction
    for the comparisons made together. test: its name.
    """

    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    test: str
    n_seeds: int


def compare(pairs: Sequence[tuple[Outcomes, Outcomes]]) -> list[Comparison]:
    """Compare each (cell, baseline): all p-values of one call are corrected together (Holm 1979).

    With one shared seed the p-value is the exact McNemar test's (binomial over the images where just one of the two is
    right), the interval the normal one over images, and both speak of this trained pair. With several they come from
    Student's t over the seeds' differences with the images' variance added (`seeds`), and speak of the two ways to
    train: two seeds that differ much show nothing. Raises StnlabError if a pair shares no seed or has other test
    images.
    """
    differences = [paired_differences(cell, baseline) for cell, baseline in pairs]
    found = [contrast(difference) for difference in differences]
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


def contrast(differences: np.ndarray, threshold: float = 0.0) -> Comparison:
    """Is the mean of what each seed gives for each test image the threshold, in truth?

    differences: [S, N], of one cell's errors (0 or 1) less another's, or any other sum of such with fixed signs.
    difference is their mean; p is that of the threshold, exact McNemar's for one seed of a pair and threshold 0.
    """
    seeds, images = differences.shape
    by_seed = differences.mean(axis=1)
    estimate = float(by_seed.mean())
    image_error = float(differences.mean(axis=0).std()) / sqrt(images)
    most = max(1, int(np.abs(differences).max()))
    low, high = with_seeds(by_seed, estimate - Z * image_error, estimate + Z * image_error, limits=(-most, most))
    if seeds > 1:
        p, test = p_value(estimate - threshold, standard_error(by_seed), image_error, seeds), STUDENT
    elif threshold == 0 and most == 1:
        p, test = mcnemar(int((differences > 0).sum()), int((differences < 0).sum())), MCNEMAR
    else:
        p, test = p_value_of_one(estimate - threshold, image_error), NORMAL
    return Comparison(estimate, low, high, p, p, test, seeds)


def contrast_of_runs(values: Sequence[float] | np.ndarray, threshold: float = 0.0) -> Comparison:
    """Is the mean over seeds of any measure, or of a difference of such, the threshold? Student's t.

    values: one for each seed. It covers trainings, each with its test images. One run says nothing of another: then p
    is 1 and the interval is everything.
    """
    seeds, estimate, error = len(values), float(np.mean(values)), standard_error(values)
    if seeds == 1:
        return Comparison(estimate, -inf, inf, 1.0, 1.0, STUDENT_OF_RUNS, 1)
    low, high = with_seeds(values, estimate, estimate)
    p = p_value(estimate - threshold, error, 0.0, seeds)
    return Comparison(estimate, low, high, p, p, STUDENT_OF_RUNS, seeds)

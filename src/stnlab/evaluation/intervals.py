"""95% intervals of the results of a cell: over its test images and, with several runs, over its seeds too."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stnlab.errors import StnlabError
from stnlab.evaluation import seeds as over_seeds
from stnlab.evaluation.calibration import BINS, Bools, Floats, bin_of

Array = NDArray[Any]

LEVEL = over_seeds.LEVEL
RESAMPLES = 1000
CHUNK = 200
"""Resamples held in memory at once: 200 x 10,000 images x 8 bytes are 16 MB."""


@dataclass(frozen=True)
class Outcomes:
    """What the runs of one cell said of the same test images.

    seeds: one for each run. indices: [N], the images' indices in their dataset. confidence: [seeds, N] in [0, 1].
    correct: [seeds, N].
    """

    seeds: tuple[int, ...]
    indices: NDArray[np.int64]
    confidence: Floats
    correct: Bools

    def __post_init__(self) -> None:
        shape = (len(self.seeds), len(self.indices))
        if self.confidence.shape != shape or self.correct.shape != shape or 0 in shape:
            raise StnlabError(
                f"confidence {self.confidence.shape} and correct {self.correct.shape} must be [seeds, images] {shape}"
            )


@dataclass(frozen=True)
class Interval:
    """A 95% interval and what it covers: `test images only` or `test images and seeds`."""

    low: float
    high: float
    covers: str


def covered(seeds: int) -> str:
    """In words, what an interval from that many runs covers."""
    return "test images and seeds" if seeds > 1 else "test images only"


def wilson(successes: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Score interval of a proportion, in [0, 1] and never of width 0 (Wilson 1927). Raises StnlabError unless
    0 <= successes <= n and n > 0.
    """
    if not 0 <= successes <= n or n == 0:
        raise StnlabError(f"{successes} of {n} is no proportion")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # the ends are exact where rounding is not
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def bootstrap(
    cells: Sequence[Outcomes], resamples: int = RESAMPLES, bins: int = BINS, seed: int = 0
) -> list[tuple[Interval, Interval]]:
    """Error and ECE intervals of each cell (the mean over its seeds), as fractions in [0, 1].

    Every resample draws the test images again, the same ones for all cells: the cells must have the same number of
    images. The spread of several seeds is added by Student's t (`seeds`), wide for two or three. The same input gives
    the same intervals.

    Error over images: Wilson's interval for one seed, the percentile interval for several. ECE: a bias-corrected
    interval (`norm_interval`), because the ECE of a finite sample is biased upwards, and that of a resample even more.
    Both end within [0, 1].

    Raises StnlabError on cells with different numbers of images.
    """
    return intervals(cells, resample(cells, resamples, bins, seed))


def resample(cells: Sequence[Outcomes], resamples: int = RESAMPLES, bins: int = BINS, seed: int = 0) -> list[Floats]:
    """For each cell [resamples, seeds, bins + 1]: each bin's sum of correct - confidence, and last the error, of test
    images drawn with replacement. Every cell gets the same draws, so that differences between cells are paired.

    Raises StnlabError on cells with different numbers of images.
    """
    sizes = {len(cell.indices) for cell in cells}
    if len(sizes) > 1:
        raise StnlabError(f"cells over different numbers of test images ({sorted(sizes)}) cannot be resampled together")
    if not cells:
        return []
    # Counts are exact in single precision, and the sums good to six digits: enough for an interval, and twice as fast.
    drawn = [weights.astype(np.float32) for weights in image_weights(sizes.pop(), resamples, seed)]
    weights = np.concatenate(drawn)
    return [_drawn_sums(cell, weights, bins) for cell in cells]


def _drawn_sums(cell: Outcomes, weights: Array, bins: int) -> Floats:
    """One product for all seeds of a cell: a wide matrix is worth more to BLAS than many narrow ones."""
    columns = np.concatenate(_contributions(cell, bins), axis=1).astype(np.float32)
    return (weights @ columns).reshape(len(weights), len(cell.seeds), bins + 1).astype(np.float64)


def intervals(cells: Sequence[Outcomes], sums: Sequence[Floats]) -> list[tuple[Interval, Interval]]:
    """As `bootstrap`, of what `resample` gave for the same cells."""
    return [_intervals(cell, found, found.shape[2] - 1) for cell, found in zip(cells, sums, strict=True)]


def quantiles(values: Array, level: float = LEVEL) -> tuple[float, float]:
    """The two that leave `level` of the values between them."""
    low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def observed_sums(cell: Outcomes, bins: int = BINS) -> Floats:
    """[seeds, bins + 1]: what `resample` gives for many draws, of the test images as they are."""
    return np.stack([run.sum(axis=0) for run in _contributions(cell, bins)])


def _contributions(cell: Outcomes, bins: int) -> list[Floats]:
    """For each seed [N, bins + 1]: a sample's correct - confidence in the column of its bin, and whether it is wrong.

    Means of these columns over any sample of images are all that its error and ECE need.
    """
    rows = np.arange(len(cell.indices))
    result = []
    for confidence, correct in zip(cell.confidence, cell.correct, strict=True):
        columns = np.zeros((len(rows), bins + 1))
        columns[rows, bin_of(confidence, bins)] = correct - confidence
        columns[:, bins] = ~correct
        result.append(columns / len(rows))
    return result


def image_weights(images: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each image is drawn, [at most CHUNK, images] at a time, rows summing to `images`."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, CHUNK):
        rows = min(CHUNK, resamples - start)
        drawn = generator.integers(images, size=(rows, images)) + np.arange(rows)[:, None] * images
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float64)


def norm_interval(
    observed: float, gaps: Floats, resampled: Floats, norm: Callable[[Floats], Floats]
) -> tuple[float, float]:
    """The true values of a measure under which the one observed lies in the middle 95% of what sampling gives.

    The measure is a norm of gaps, as the ECE is the sum over bins of |share of samples x (accuracy - confidence)|.
    observed: its value. gaps: those of the whole sample. resampled: [resamples, *gaps' shape], the same of bootstrap
    samples. norm: of such an array, [resamples].

    A test-inversion bootstrap interval (Carpenter 1999, JRSS B 61): truths with the observed gaps scaled up or down, to
    which the resampling noise is added. Far from 0 it is the basic interval; at 0, where absolute gaps are nothing but
    noise and the percentile interval never reaches and the basic one misses every third time, it still holds. Where
    even no gap at all seldom gives as little as was observed, the upper end is the observed value.
    """
    if observed == 0:
        return 0.0, 0.0
    noise = resampled - gaps
    low, high = inverted(observed, lambda factor: norm(factor * gaps + noise))
    return low * observed, max(high, 1.0) * observed


def inverted(observed: float, sampled: Callable[[float], Floats]) -> tuple[float, float]:
    """The smallest and the largest factor on the truth with which `observed` lies in the middle 95% of what is sampled.

    observed: above 0. sampled: factor -> [resamples], what is seen of a truth that is so many times the observed one;
    it grows with the factor, and 0 leaves nothing but noise.
    """
    # no truth beyond this one gives so little, unless seeds differ wildly
    factors = np.linspace(0, 1 + 2 * quantiles(sampled(0))[1] / observed, 60)
    seen = np.quantile([sampled(factor) for factor in factors], [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=1)
    lows, highs = np.maximum.accumulate(seen, axis=1)
    return float(np.interp(observed, highs, factors)), float(np.interp(observed, lows, factors))


def _intervals(cell: Outcomes, sums: Floats, bins: int) -> tuple[Interval, Interval]:
    """Of sums [resamples, seeds, bins + 1]."""
    seeds, observed = len(cell.seeds), observed_sums(cell, bins)
    wrong = int((~cell.correct).sum())
    # of many seeds without one error no resample has any: as of one
    error = quantiles(sums[:, :, bins].mean(axis=1)) if seeds > 1 and wrong else wilson(wrong, len(cell.indices))
    gaps = observed[:, :bins]
    low, high = norm_interval(
        float(np.abs(gaps).sum(axis=1).mean()),
        gaps,
        sums[:, :, :bins],
        lambda sampled: np.abs(sampled).sum(axis=2).mean(axis=1),
    )
    both = (
        over_seeds.with_seeds(observed[:, bins], *error, (0, 1)),
        over_seeds.with_seeds(np.abs(gaps).sum(axis=1), low, min(high, 1.0), (0, 1)),
    )
    first, second = (Interval(*ends, covered(seeds)) for ends in both)
    return first, second

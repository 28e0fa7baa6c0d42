"""Few seeds: what test images and trainings each add to the uncertainty of a mean over seeds.

Of S runs with values of standard deviation s, tested on the same images, the mean has the variance s^2 / S of its
seeds, known with S - 1 degrees of freedom, and a variance v of its images (seeds held fixed), known well. Half the
interval is sqrt(t^2 s^2 / S + z^2 v), t and z the quantiles of Student's t with S - 1 degrees of freedom and of the
normal distribution. It is conservative whatever their ratio (Banerjee 1960, Sankhya 22:357), where Satterthwaite's
degrees of freedom reject too often when two seeds happen to agree; part of the images' noise is in both terms, so it is
never narrower than the interval over images alone. With a large spread of seeds it is Student's t interval.
"""

from collections.abc import Sequence
from math import exp, inf, log, sqrt

import numpy as np
from scipy.optimize import brentq  # type: ignore[import-untyped]
from scipy.special import ndtr, ndtri, stdtrit  # type: ignore[import-untyped]

LEVEL = 0.95
SMALLEST_P = 1e-12
FEWEST = 3
"""Runs whose spread is shown as an interval of a measure or in a figure: that of two is their range times 13."""


def standard_error(values: Sequence[float] | np.ndarray) -> float:
    """Of the mean over seeds, from how far they differ; 0 of one seed, which says nothing of it."""
    return float(np.std(values, ddof=1)) / sqrt(len(values)) if len(values) > 1 else 0.0


def with_seeds(
    values: Sequence[float] | np.ndarray, low: float, high: float, limits: tuple[float, float] = (-inf, inf)
) -> tuple[float, float]:
    """The 95% interval of the mean of values, one a seed, whose interval over test images alone is low to high.

    Distances from the mean are added as squares (Zou and Donner 2008, Stat. Med. 27:1693), so that the images' interval
    may be lopsided; cut to limits. For one seed the images' interval.
    """
    mean = float(np.mean(values))
    half = _quantile(len(values), 1 - LEVEL) * standard_error(values) if len(values) > 1 else 0.0
    ends = mean - sqrt(half**2 + (mean - low) ** 2), mean + sqrt(half**2 + (high - mean) ** 2)
    if len(values) == 1:
        ends = low, high
    return max(ends[0], limits[0]), min(ends[1], limits[1])


def p_value(estimate: float, seed_error: float, image_error: float, seeds: int) -> float:
    """Two-sided p that a mean over 2 or more seeds is 0 in truth: the level at which its interval ends at 0.

    seed_error, image_error: its standard errors s / sqrt(S) and sqrt(v). Never below 1e-12.
    """

    def beyond(log_p: float) -> float:
        p = exp(log_p)
        half = sqrt((_quantile(seeds, p) * seed_error) ** 2 + (float(ndtri(p / 2)) * image_error) ** 2)
        return half - abs(estimate)

    if estimate == 0:
        return 1.0
    smallest = log(SMALLEST_P)
    return SMALLEST_P if beyond(smallest) <= 0 else float(exp(brentq(beyond, smallest, 0.0)))


def p_value_of_one(estimate: float, image_error: float) -> float:
    """Two-sided p that a normal estimate with that standard error, of one seed, is 0 in truth."""
    return 2 * float(ndtr(-abs(estimate) / image_error)) if image_error > 0 else float(estimate == 0)


def _quantile(seeds: int, p: float) -> float:
    """Of Student's t, two-sided."""
    return -float(stdtrit(seeds - 1, p / 2))

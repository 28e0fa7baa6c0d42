"""How large a difference is: fewer errors by what share, how much better calibrated. Paired like `comparisons`."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import NormalDist

import numpy as np

from stnlab.errors import StnlabError
from stnlab.evaluation.calibration import Floats
from stnlab.evaluation.comparisons import holm
from stnlab.evaluation.intervals import LEVEL, Outcomes, observed_sums, quantiles
from stnlab.evaluation.seeds import p_value, p_value_of_one, standard_error, with_seeds

SMALLEST_P = 1e-4
"""Further out, the tails of a normal distribution say more of it than of the data."""


@dataclass(frozen=True)
class Reduction:
    """Share of the baseline's errors that a cell does without, 1 - error / baseline's error, with its 95% interval:
    0.2 is a fifth fewer, -0.2 a fifth more. At most 1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class CalibrationDifference:
    """ECE of a cell minus ECE of its baseline, over the seeds they share: negative is better calibrated.

    difference: as observed. low, high: the 95% interval, with the bias taken off. p: two-sided. p_holm: after Holm's
    correction for the comparisons made together.
    """

    difference: float
    low: float
    high: float
    p: float
    p_holm: float


Pair = tuple[Outcomes, Outcomes]
Sums = tuple[Floats, Floats]


def error_reductions(pairs: Sequence[Pair], sums: Sequence[Sums]) -> list[Reduction | None]:
    """Relative reduction of the error of each (cell, baseline): the relative risk reduction of clinical trials (Cook
    and Sackett 1995, BMJ 310:452). Its interval is the percentile interval of the paired bootstrap over images, widened
    for the spread of seeds (`seeds`) on the scale of the logarithm of the ratio of errors.

    sums: what `resample` gave for either. None where the baseline makes so few errors that a resample has none.
    Raises StnlabError if a pair shares no seed.
    """
    return [_reduction(*_shared(pair, both)) for pair, both in zip(pairs, sums, strict=True)]


def compare_ece(pairs: Sequence[Pair], sums: Sequence[Sums]) -> list[CalibrationDifference]:
    """Compare the calibration of each (cell, baseline) over the same test images and seeds.

    sums: what `resample` gave for either, from the same draws. The ECE of a finite sample is biased upwards, that of a
    resample more so, and differently for two networks: taking the bootstrap's estimate of that bias off adds noise,
    leaving it misses the truth. The interval reaches over both of the bootstrap's normal ones, with and without
    (Davison and Hinkley 1997, section 5.2.1), and p is the larger of their two: a difference counts if both ways find
    it; it is never below 1e-4. With several seeds their spread is added, by Student's t (`seeds`). All p-values of one
    call are corrected together (Holm 1979). Where one of the two is next to perfectly calibrated, its bias hides some
    of the difference (in simulations of one seed the interval then holds it three times in four). Raises StnlabError if
    a pair shares no seed.
    """
    found = [_ece_difference(*_shared(pair, both)) for pair, both in zip(pairs, sums, strict=True)]
    corrected = holm([one.p for one in found])
    return [CalibrationDifference(**vars(one) | {"p_holm": p}) for one, p in zip(found, corrected, strict=True)]


def _shared(pair: Pair, sums: Sums) -> tuple[Floats, Floats, Floats, Floats]:
    """Observed [seeds, bins + 1] and resampled [resamples, seeds, bins + 1] sums of cell and baseline, of the seeds
    that both have."""
    seeds = [seed for seed in pair[0].seeds if seed in pair[1].seeds]
    if not seeds:
        raise StnlabError("cell and baseline share no seed: train one with the other's")
    rows = [[one.seeds.index(seed) for seed in seeds] for one in pair]
    bins = sums[0].shape[2] - 1
    observed = [observed_sums(one, bins)[row] for one, row in zip(pair, rows, strict=True)]
    return observed[0], observed[1], sums[0][:, rows[0]], sums[1][:, rows[1]]


def _reduction(observed: Floats, baseline: Floats, drawn: Floats, drawn_baseline: Floats) -> Reduction | None:
    errors, others = (one[:, :, -1].mean(axis=1) for one in (drawn, drawn_baseline))
    own, other = observed[:, -1], baseline[:, -1]
    if not (others > 0).all():
        return None
    value = float(1 - own.mean() / other.mean())
    low, high = quantiles(1 - errors / others)
    if len(own) > 1 and (errors > 0).all():
        ratio = log(1 - value)
        # to first order what each seed adds to the logarithm of the ratio of the means (delta method)
        by_seed = ratio + own / own.mean() - other / other.mean()
        ends = with_seeds(by_seed, log(1 - high), log(1 - low))
        low, high = 1 - exp(ends[1]), 1 - exp(ends[0])
    return Reduction(value, low, high)


def _ece_difference(observed: Floats, baseline: Floats, drawn: Floats, drawn_baseline: Floats) -> CalibrationDifference:
    by_seed = _ece(observed) - _ece(baseline)
    difference = float(by_seed.mean())
    resampled = (_ece(drawn) - _ece(drawn_baseline)).mean(axis=1)
    error = float(resampled.std(ddof=1))
    centres = difference, 2 * difference - float(resampled.mean())
    half = NormalDist().inv_cdf(0.5 + LEVEL / 2) * error
    ends = [with_seeds(by_seed + (one - difference), one - half, one + half) for one in centres]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    seeds, spread = len(by_seed), standard_error(by_seed)
    found = [p_value(one, spread, error, seeds) if seeds > 1 else p_value_of_one(one, error) for one in centres]
    p = max(SMALLEST_P, *found)
    return CalibrationDifference(difference, low, high, p, p)


def _ece(sums: Floats) -> Floats:
    result: Floats = np.abs(sums[..., :-1]).sum(axis=-1)
    return result

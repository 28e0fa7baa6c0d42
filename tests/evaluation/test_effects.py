"""How large a difference is, against delta-method and scipy's bootstrap."""

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap

from stnlab.errors import StnlabError
from stnlab.evaluation import Outcomes, compare_ece, ece, error_reductions, resample


def outcomes(rng, error, sharpness=1.0, images=1500, seeds=(0,), common=None):
    """Confidences spread over (0.2, 1); the chance to be right is their power `sharpness`, less an error."""
    confidence = np.stack([rng.uniform(0.2, 1, images) for _ in seeds])
    drawn = rng.random((len(seeds), images)) if common is None else common
    return Outcomes(seeds, np.arange(images), confidence, drawn < confidence**sharpness - error)


def test_reduction_is_one_minus_the_risk_ratio_with_the_delta_methods_interval():
    rng = np.random.default_rng(0)
    shared = rng.random((1, 1500))
    cell, baseline = outcomes(rng, 0.0, common=shared), outcomes(rng, 0.1, common=shared)
    (found,) = error_reductions([(cell, baseline)], [tuple(resample([cell, baseline]))])
    wrong, other = ~cell.correct[0], ~baseline.correct[0]
    ratio = wrong.sum() / other.sum()
    assert found.value == pytest.approx(1 - ratio)
    # variance of the log of a paired risk ratio: discordant pairs over the product of the marginal counts
    error = np.sqrt((wrong != other).sum() / (wrong.sum() * other.sum()))
    expected = 1 - ratio * np.exp(1.96 * error), 1 - ratio * np.exp(-1.96 * error)
    assert (found.low, found.high) == pytest.approx(expected, abs=0.15 * (expected[1] - expected[0]))


def test_no_reduction_of_no_errors():
    perfect = Outcomes((0,), np.arange(50), np.full((1, 50), 0.9), np.ones((1, 50), bool))
    assert error_reductions([(perfect, perfect)], [tuple(resample([perfect, perfect]))]) == [None]


def test_ece_difference_has_the_standard_error_of_scipys_paired_bootstrap():
    rng = np.random.default_rng(1)
    cell, baseline = outcomes(rng, 0.0, images=800), outcomes(rng, 0.0, sharpness=2.0, images=800)
    (found,) = compare_ece([(cell, baseline)], [tuple(resample([cell, baseline]))])

    def difference(rows):
        first, second = (ece(one.confidence[0, rows], one.correct[0, rows]) for one in (cell, baseline))
        return first - second

    assert found.difference == pytest.approx(difference(np.arange(800)))
    drawn = scipy_bootstrap((np.arange(800),), difference, vectorized=False, n_resamples=999, rng=2)
    shifted = 2 * found.difference - drawn.bootstrap_distribution.mean()
    half = 1.96 * drawn.standard_error
    ends = min(found.difference, shifted) - half, max(found.difference, shifted) + half
    assert (found.low, found.high) == pytest.approx(ends, abs=0.2 * half)
    assert found.p == found.p_holm == 1e-4


def test_equally_calibrated_networks_seldom_differ():
    """At a level of 5% of 60: more than 9 would happen once in a thousand times."""
    found = 0
    for number in range(60):
        rng = np.random.default_rng(number)
        pair = outcomes(rng, 0.0, 1.5, images=600), outcomes(rng, 0.0, 1.5, images=600)
        found += compare_ece([pair], [tuple(resample(pair, resamples=300))])[0].p < 0.05
    assert found <= 9


@pytest.mark.parametrize("seeds", [2, 3])
def test_few_seeds_seldom_find_a_difference_in_calibration_where_there_is_none(seeds):
    """Of seeds whose sharpness varies: at a level of 5% of 100, more than 10 would happen once in a hundred times."""
    found = 0
    for number in range(100):
        rng = np.random.default_rng([seeds, number])

        def one(rng=rng):
            runs = [outcomes(rng, 0.0, np.exp(0.4 * rng.normal()), images=400) for _ in range(seeds)]
            both = [np.concatenate([getattr(run, name) for run in runs]) for name in ("confidence", "correct")]
            return Outcomes(tuple(range(seeds)), np.arange(400), *both)

        pair = one(), one()
        found += compare_ece([pair], [tuple(resample(pair, resamples=200))])[0].p < 0.05
    assert found <= 10


def test_only_shared_seeds_count_in_their_order():
    rng = np.random.default_rng(3)
    cell, baseline = outcomes(rng, 0.0, seeds=(0, 1, 2)), outcomes(rng, 0.1, seeds=(5, 2, 1))
    sums = resample([cell, baseline])
    (found,) = compare_ece([(cell, baseline)], [tuple(sums)])
    (reduction,) = error_reductions([(cell, baseline)], [tuple(sums)])
    by_seed = [
        ece(cell.confidence[a], cell.correct[a]) - ece(baseline.confidence[b], baseline.correct[b])
        for a, b in ((1, 2), (2, 1))
    ]
    assert found.difference == pytest.approx(np.mean(by_seed))
    assert reduction.value == pytest.approx(1 - (~cell.correct[1:]).mean() / (~baseline.correct[1:]).mean())
    with pytest.raises(StnlabError, match="share no seed"):
        compare_ece([(cell, outcomes(rng, 0.0, seeds=(7,)))], [tuple(sums)])


def test_the_same_network_is_no_different():
    one = outcomes(np.random.default_rng(4), 0.0)
    (found,) = compare_ece([(one, one)], [tuple(resample([one, one]))])
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)

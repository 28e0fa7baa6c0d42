import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from stnlab.errors import StnlabError
from stnlab.evaluation import Outcomes, bootstrap, ece, wilson


def outcomes(images=2000, seeds=1, over=0.0, spread=0.0, seed=0):
    """Confidences of 0.5 to 0.95, `over` higher than they should be; `spread`: how far seeds differ."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.5, 0.95, (seeds, images))
    correct = rng.random((seeds, images)) < np.clip(confidence - over + spread * rng.normal(size=(seeds, 1)), 0, 1)
    return Outcomes(tuple(range(seeds)), np.arange(images), confidence, correct)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_that_of_scipy(counts):
    successes, n = counts
    oracle = binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((oracle.low, oracle.high), abs=1e-9)


def test_wilson_of_nothing_is_refused():
    with pytest.raises(StnlabError, match="no proportion"):
        wilson(0, 0)


def test_error_of_one_seed_has_the_wilson_interval():
    cell = outcomes()
    ((error, calibration),) = bootstrap([cell])
    assert (error.low, error.high) == wilson(int((~cell.correct).sum()), 2000)
    assert error.covers == calibration.covers == "test images only"


def test_far_from_zero_the_ece_interval_is_the_basic_one():
    """Of a plain loop over other draws, to a tenth of its width."""
    cell = outcomes(over=0.15)
    ((_, found),) = bootstrap([cell])
    rng = np.random.default_rng(99)
    draws = (rng.integers(2000, size=2000) for _ in range(1000))
    resampled = [ece(cell.confidence[0, rows], cell.correct[0, rows]) for rows in draws]
    low, high = 2 * ece(cell.confidence[0], cell.correct[0]) - np.quantile(resampled, [0.975, 0.025])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


@pytest.mark.parametrize("over", [0.0, 0.01, 0.05])
def test_ece_intervals_hold_the_true_ece(over):
    """In nearly 57 of 60 tries; for a calibrated network too, whose every estimate is above 0."""
    cells = [outcomes(over=over, seed=number) for number in range(60)]
    found = bootstrap(cells, resamples=200)
    assert sum(interval.low <= over + 1e-9 and over <= interval.high for _, interval in found) >= 52
    assert min(ece(cell.confidence[0], cell.correct[0]) for cell in cells) > 0.003


def test_ece_interval_of_what_is_always_sure_and_right():
    sure = Outcomes((0,), np.arange(5), np.ones((1, 5)), np.ones((1, 5), bool))
    ((error, calibration),) = bootstrap([sure])
    assert (error.low, calibration.low, calibration.high) == (0, 0, 0)
    assert error.high == wilson(0, 5)[1]


def test_intervals_are_repeatable_and_do_not_depend_on_the_company():
    one, two = outcomes(seed=1), outcomes(seeds=3, seed=2)
    assert bootstrap([one, two]) == [*bootstrap([one]), *bootstrap([two])]


def test_seeds_that_differ_widen_the_interval():
    """By what the theory says: the variance between seeds over their number, on top of that of the images."""
    cell = outcomes(images=5000, seeds=8, spread=0.03)
    ((error, _),) = bootstrap([cell])
    errors = (~cell.correct).mean(axis=1)
    expected = 2 * 1.96 * np.sqrt(errors.var(ddof=1) / 8)
    assert error.covers == "test images and seeds"
    assert expected * 0.8 < error.high - error.low < expected * 1.4


@pytest.mark.parametrize("seeds", [2, 3])
def test_error_intervals_hold_the_true_error_however_few_seeds_there_are(seeds):
    """That of the mean training: 1 - the mean confidence of 0.725. At least 95 of 100, less luck."""
    cells = [outcomes(images=400, seeds=seeds, spread=0.03, seed=number) for number in range(100)]
    found = bootstrap(cells, resamples=200)
    assert sum(error.low <= 0.275 <= error.high for error, _ in found) >= 90


def test_a_study_takes_seconds():
    cells = [outcomes(images=10_000, seed=number) for number in range(5)]
    started = time.perf_counter()
    bootstrap(cells)
    assert time.perf_counter() - started < 5


def test_cells_over_other_numbers_of_images_are_refused():
    with pytest.raises(StnlabError, match="different numbers"):
        bootstrap([outcomes(images=10), outcomes(images=11)])
    with pytest.raises(StnlabError, match="must be"):
        replace(outcomes(images=10), seeds=(0, 1))

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from stnlab.errors import StnlabError
from stnlab.evaluation import Outcomes, compare, holm, mcnemar


def cell(error, seeds=(0,), images=4000, seed=0):
    """Wrong where a shared difficulty, with a little of its own, exceeds a threshold."""
    hardness = np.random.default_rng(123).random(images)
    own = np.random.default_rng([seed, *seeds]).normal(0, 0.02, (len(seeds), images))
    wrong = hardness + own > 1 - error
    return Outcomes(tuple(seeds), np.arange(images), np.full(wrong.shape, 0.9), ~wrong)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_exact_binomial_test(first, second):
    oracle = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(oracle, rel=1e-9)


def test_mcnemar_of_very_many_is_fast_and_no_negative():
    assert 0 <= mcnemar(0, 60_000) < 1e-300
    assert mcnemar(5000, 5000) == 1.0


def test_holm_by_hand():
    """Holm's steps: the smallest times 3, the next times 2, never less than the one before."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_one_seed_is_tested_by_mcnemar():
    better, base = cell(0.05), cell(0.08, seed=1)
    (found,) = compare([(better, base)])
    only_better = int((~better.correct & base.correct).sum())
    only_base = int((better.correct & ~base.correct).sum())
    assert found.test == "exact McNemar"
    assert found.covers == "test images only"
    assert found.p == found.p_holm == pytest.approx(binomtest(only_better, only_better + only_base).pvalue)
    assert found.difference == pytest.approx((only_better - only_base) / 4000)
    # closed form: the variance of a mean of -1, 0, 1
    half = 1.96 * np.sqrt(((only_better + only_base) / 4000 - found.difference**2) / 4000)
    assert (found.low, found.high) == pytest.approx((found.difference - half, found.difference + half), abs=0.1 * half)


def test_several_seeds_pair_by_seed_and_say_so():
    better, base = cell(0.05, seeds=(2, 0, 1)), cell(0.08, seeds=(0, 1, 5), seed=1)
    (found,) = compare([(better, base)])
    assert (found.n_seeds, found.n_images, found.covers) == (2, 4000, "test images and seeds")
    rows = [(1, 0), (2, 1)]  # seed 0 and seed 1
    expected = np.mean([base.correct[b].mean() - better.correct[a].mean() for a, b in rows])
    assert found.difference == pytest.approx(expected)
    assert found.low < expected < found.high < 0
    assert found.p < 0.001


def test_the_same_network_is_no_better():
    one = cell(0.05)
    (found,) = compare([(one, one)])
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_bootstrap_p_is_uniform_enough_where_nothing_differs():
    """Of 100 pairs of equal cells with 5 seeds, not many more than 5 come out below 0.05 (few seeds: a little more)."""
    rng = np.random.default_rng(0)

    def equal():
        return Outcomes(tuple(range(5)), np.arange(500), np.full((5, 500), 0.9), rng.random((5, 500)) < 0.9)

    found = compare([(equal(), equal()) for _ in range(100)], resamples=500)
    assert sum(one.p < 0.05 for one in found) <= 14


def test_what_is_no_pair_is_refused():
    one = cell(0.05)
    with pytest.raises(StnlabError, match="different images"):
        compare([(one, replace(one, indices=one.indices + 1))])
    with pytest.raises(StnlabError, match="share no seed"):
        compare([(one, cell(0.05, seeds=(1,)))])

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, ttest_1samp, ttest_rel

from stnlab.errors import StnlabError
from stnlab.evaluation import Outcomes, compare, holm, mcnemar
from stnlab.evaluation.comparisons import contrast, contrast_of_runs


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
    assert found.p == found.p_holm == pytest.approx(binomtest(only_better, only_better + only_base).pvalue)
    assert found.difference == pytest.approx((only_better - only_base) / 4000)
    # closed form: the variance of a mean of -1, 0, 1
    half = 1.96 * np.sqrt(((only_better + only_base) / 4000 - found.difference**2) / 4000)
    assert (found.low, found.high) == pytest.approx((found.difference - half, found.difference + half), abs=0.1 * half)


def test_several_seeds_pair_by_seed_and_say_so():
    better, base = cell(0.05, seeds=(2, 0, 1)), cell(0.08, seeds=(0, 1, 5), seed=1)
    (found,) = compare([(better, base)])
    assert found.n_seeds == 2
    rows = [(1, 0), (2, 1)]  # seed 0 and seed 1
    expected = np.mean([base.correct[b].mean() - better.correct[a].mean() for a, b in rows])
    assert found.difference == pytest.approx(expected)
    assert found.low < expected < found.high < 0
    assert found.p < 0.05


def test_the_same_network_is_no_better():
    one = cell(0.05)
    (found,) = compare([(one, one)])
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)


def nothing_differs(seeds, spread, number, images=400):
    """Two ways to train that are alike, whose runs differ by `spread` and share what is hard about their images."""
    rng = np.random.default_rng([seeds, number])
    hardness = rng.normal(size=images)

    def one():
        own = 0.5 * rng.normal(size=(seeds, images))
        return Outcomes(
            tuple(range(seeds)),
            np.arange(images),
            np.full((seeds, images), 0.9),
            hardness + own < 1.2 + spread * rng.normal(size=(seeds, 1)),
        )

    return one(), one()


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("spread", [0.0, 0.1, 0.5])
def test_few_seeds_seldom_find_a_difference_where_there_is_none(seeds, spread):
    """At a level of 5%; of 400, more than 32 (8%) would happen once in two hundred times."""
    found = compare([nothing_differs(seeds, spread, number) for number in range(400)])
    assert sum(one.p < 0.05 for one in found) <= 32
    assert all((one.p < 0.05) == (one.low > 0 or one.high < 0) for one in found)


def test_seeds_that_differ_much_are_tested_by_students_t():
    """By scipy's, where the images add next to nothing."""
    one, other = nothing_differs(4, 0.8, 1, images=200_000)
    (found,) = compare([(one, other)])
    oracle = ttest_rel((~one.correct).mean(axis=1), (~other.correct).mean(axis=1))
    assert found.p == pytest.approx(oracle.pvalue, rel=0.02)
    ends = oracle.confidence_interval()
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), rel=0.02)


def test_what_is_no_pair_is_refused():
    one = cell(0.05)
    with pytest.raises(StnlabError, match="different images"):
        compare([(one, replace(one, indices=one.indices + 1))])
    with pytest.raises(StnlabError, match="share no seed"):
        compare([(one, cell(0.05, seeds=(1,)))])


def test_a_contrast_of_four_cells_against_a_threshold_is_the_z_test_for_one_seed_and_wider_over_seeds():
    cells = [cell(error, seeds=(0, 1, 2), seed=number) for number, error in enumerate((0.05, 0.08, 0.06, 0.12))]
    wrong = [(~one.correct).astype(int) for one in cells]
    differences = wrong[0] - wrong[1] - wrong[2] + wrong[3]
    single = contrast(differences[:1], threshold=0.02)
    expected = ztest(differences[0], 0.02)
    assert single.test == "paired z over images"
    assert single.p == pytest.approx(expected, rel=1e-9)
    several = contrast(differences, threshold=0.02)
    assert several.difference == pytest.approx(np.dot([one.mean() for one in wrong], [1, -1, -1, 1]))
    assert several.test == "paired t over seeds and images"
    assert contrast(differences, threshold=several.low).p == pytest.approx(0.05, rel=1e-3)
    assert contrast(differences, threshold=several.high).p == pytest.approx(0.05, rel=1e-3)


def ztest(values, value):
    """Two-sided, by the normal distribution of scipy."""
    return float(2 * norm.sf(abs(values.mean() - value) / (values.std() / np.sqrt(len(values)))))


def test_a_contrast_of_runs_is_students_and_one_run_says_nothing():
    values = [0.2, 0.5, 0.1, 0.4]
    found, oracle = contrast_of_runs(values, threshold=0.15), ttest_1samp(values, 0.15)
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-6)
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval(0.95)), rel=1e-6)
    alone = contrast_of_runs([3.0])
    assert (alone.difference, alone.p, alone.low, alone.high) == (3.0, 1.0, -np.inf, np.inf)

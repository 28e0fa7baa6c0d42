from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stnlab.evaluation.selective import aurc, resampled_aurc, risk_coverage


def by_definition(confidence, correct, order=None):
    """The mean over k of the error rate among the first k."""
    order = np.argsort(-confidence, kind="stable") if order is None else order
    return np.mean([(~correct[order[:k]]).mean() for k in range(1, len(order) + 1)])


def test_it_is_the_mean_of_all_risks():
    rng = np.random.default_rng(0)
    confidence = rng.random(400)
    correct = rng.random(400) < confidence
    assert aurc(confidence, correct) == pytest.approx(by_definition(confidence, correct))
    coverage, risk = risk_coverage(confidence, correct)
    assert coverage[-1] == 1
    assert risk[-1] == pytest.approx((~correct).mean())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.3, 0.6, 1.0]), st.booleans()), min_size=1, max_size=6))
def test_ties_are_what_all_their_orders_give_on_average(pairs):
    confidence, correct = (np.array(values) for values in zip(*pairs, strict=True))
    orders = [np.array(order) for order in permutations(range(len(pairs)))]
    sorted_orders = [order for order in orders if (np.diff(confidence[order]) <= 0).all()]
    expected = np.mean([by_definition(confidence, correct, order) for order in sorted_orders])
    assert aurc(confidence, correct) == pytest.approx(expected)


def test_limits():
    confidence = np.linspace(0.1, 0.9, 50)
    assert aurc(confidence, np.ones(50, bool)) == 0
    assert aurc(confidence, np.zeros(50, bool)) == pytest.approx(1)
    assert aurc(np.full(50, 0.5), np.arange(50) < 30) == pytest.approx(0.4)  # by chance: the error rate


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.5, 1.0]) | st.floats(0, 1), st.booleans(), st.integers(0, 3)), min_size=1
    ).filter(lambda rows: any(times for _, _, times in rows))
)
def test_weights_are_repeated_samples(rows):
    confidence, correct, times = (np.array(values) for values in zip(*rows, strict=True))
    times[0] += len(times) - times.sum()  # as many as there are, if that leaves none negative
    if times[0] < 0:
        return
    found = resampled_aurc(confidence, correct, times[None].astype(float))
    assert found[0] == pytest.approx(aurc(np.repeat(confidence, times), np.repeat(correct, times)), abs=1e-12)

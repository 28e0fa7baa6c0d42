import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stnlab.evaluation.adaptive import adaptive_ece, equal_mass

SAMPLES = st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.9, 1.0]) | st.floats(0, 1), st.booleans()), min_size=1)


def split_ece(confidence, correct, bins):
    """By cutting the sorted samples into bins: for different confidences and a number that bins divide."""
    parts = np.array_split(np.argsort(confidence), bins)
    gaps = [abs(correct[part].mean() - confidence[part].mean()) * len(part) for part in parts]
    return sum(gaps) / len(confidence)


def test_it_is_that_of_sorted_samples_cut_into_bins():
    rng = np.random.default_rng(0)
    confidence = rng.beta(5, 1, 3000)
    correct = rng.random(3000) < confidence**2
    assert adaptive_ece(confidence, correct) == pytest.approx(split_ece(confidence, correct, 15), abs=1e-12)
    assert adaptive_ece(confidence, correct, 7) == pytest.approx(split_ece(confidence[:], correct, 7), abs=1e-3)


@settings(max_examples=100, deadline=None)
@given(SAMPLES, st.integers(1, 20))
def test_bins_of_any_samples_hold_equally_many(pairs, bins):
    confidence, correct = (np.array(values) for values in zip(*pairs, strict=True))
    shares = equal_mass(confidence, bins)
    np.testing.assert_allclose(shares.sum(axis=0), len(confidence) / bins)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    found = adaptive_ece(confidence, correct, bins)
    assert abs(correct.mean() - confidence.mean()) - 1e-12 <= found <= 1 + 1e-12
    assert found == pytest.approx(adaptive_ece(confidence[::-1], correct[::-1], bins), abs=1e-12)


def test_equal_confidences_are_never_told_apart():
    """All sure, a third wrong: any split of them by their order would show larger gaps in some bins."""
    correct = np.arange(300) % 3 > 0
    for order in (np.arange(300), np.argsort(correct)):
        assert adaptive_ece(np.full(300, 0.9), correct[order]) == pytest.approx(0.9 - 2 / 3)

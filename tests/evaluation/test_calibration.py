import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.classification import MulticlassCalibrationError

from stnlab.errors import StnlabError
from stnlab.evaluation import brier, confidences, ece, measure, nll, reliability_bins, softmax


def noisy(n=3000, classes=10, scale=3.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    logits = rng.normal(size=(n, classes)) + scale * np.eye(classes)[labels]
    return (2 * logits)[:, None].astype(np.float32), labels[:, None]


def histogram_ece(confidence, correct, bins):
    """ECE by numpy.histogram, which closes the last bin at 1.0."""
    gap, _ = np.histogram(confidence, bins, (0, 1), weights=correct - confidence)
    return np.abs(gap).sum() / len(confidence)


def test_ece_is_that_of_torchmetrics_away_from_saturation():
    logits, labels = noisy()
    oracle = MulticlassCalibrationError(num_classes=10, n_bins=15)(
        torch.tensor(logits[:, 0]), torch.tensor(labels[:, 0])
    )
    assert measure(logits, labels)["ece"] == pytest.approx(float(oracle), abs=1e-6)


@pytest.mark.parametrize("scale", [1.0, 60.0, 1000.0])
def test_ece_where_the_softmax_is_exactly_one(scale):
    """torchmetrics issue 3510: it counts these samples in a sixteenth bin, and so never against their neighbours."""
    logits, labels = noisy()
    confidence, correct = confidences(scale * logits, labels)
    assert scale == 1.0 or (confidence == 1.0).sum() > 100
    assert ece(confidence, correct) == pytest.approx(histogram_ece(confidence, correct, 15), abs=1e-12)
    bins = reliability_bins(confidence, correct)
    assert bins.count.sum() == len(confidence)
    assert len(bins.count) == 15


def test_nearly_and_exactly_sure_samples_share_a_bin():
    """Ten samples right at 0.95, ten wrong at 1.0: one bin half right, 97.5% sure."""
    confidence, correct = np.repeat([0.95, 1.0], 10), np.repeat([True, False], 10)
    assert ece(confidence, correct) == pytest.approx(0.475)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.one_of(st.floats(0, 1), st.sampled_from([0.2, 0.4, 0.6, 1.0])), st.booleans()), min_size=1),
    st.integers(1, 20),
)
def test_ece_of_any_confidences(pairs, bins):
    confidence, correct = (np.array(values) for values in zip(*pairs, strict=True))
    found = ece(confidence, correct, bins)
    assert 0 <= found <= 1
    assert found >= abs(correct.mean() - confidence.mean()) - 1e-12  # one bin is the least there is to it
    assert found == pytest.approx(ece(confidence[::-1], correct[::-1], bins))
    counts, _ = np.histogram(confidence, np.linspace(0, 1, bins + 1))
    assert reliability_bins(confidence, correct, bins).count.tolist() == counts.tolist()


def test_nll_and_brier_are_those_of_scikit_learn():
    logits, labels = noisy()
    probabilities = softmax(logits)[:, 0]
    assert nll(logits, labels) == pytest.approx(log_loss(labels[:, 0], probabilities))
    oracle = brier_score_loss(labels[:, 0], probabilities, labels=range(10), scale_by_half=False)
    assert brier(logits, labels) == pytest.approx(oracle)


def test_two_heads_are_right_together_and_sure_by_product():
    one, labels = noisy(seed=1)
    two, others = noisy(seed=2)
    logits, both = np.concatenate([one, two], axis=1), np.concatenate([labels, others], axis=1)
    confidence, correct = confidences(logits, both)
    parts = [confidences(one, labels), confidences(two, others)]
    np.testing.assert_allclose(confidence, parts[0][0] * parts[1][0])
    np.testing.assert_array_equal(correct, parts[0][1] & parts[1][1])
    assert brier(logits, both) == pytest.approx((brier(one, labels) + brier(two, others)) / 2)
    assert nll(logits, both) == pytest.approx((nll(one, labels) + nll(two, others)) / 2)


def test_half_precision_is_measured_in_double():
    logits, labels = noisy()
    half = logits.astype(np.float16)
    assert measure(half, labels) == measure(half.astype(np.float64), labels)


def test_sure_and_wrong_is_finite_and_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure(np.array([[[0.0, 5000.0]]]), np.array([[0]]))
    assert found == {"error": 1.0, "accuracy": 0.0, "ece": 1.0, "nll": 5000.0, "brier": 2.0}


@pytest.mark.parametrize(
    ("logits", "labels", "says"),
    [
        (np.zeros((2, 10)), np.zeros((2, 1), int), "do not fit"),
        (np.zeros((2, 1, 10)), np.zeros((3, 1), int), "do not fit"),
        (np.zeros((0, 1, 10)), np.zeros((0, 1), int), "do not fit"),
        (np.zeros((2, 1, 10)), np.full((2, 1), 10), "between 0 and 9"),
        (np.full((2, 1, 10), np.nan), np.zeros((2, 1), int), "NaN"),
    ],
)
def test_what_cannot_be_measured_is_refused(logits, labels, says):
    with pytest.raises(StnlabError, match=says):
        measure(logits, labels)

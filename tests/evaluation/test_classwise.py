import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import binary_calibration_error

from stnlab.evaluation import brier, softmax
from stnlab.evaluation.classwise import brier_parts, classwise_ece, events


def noisy(n=2000, heads=1, classes=10, scale=2.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, size=(n, heads), p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    return scale * (rng.normal(size=(n, heads, classes)) + 2 * np.eye(classes)[labels]), labels


def stephenson(probability, outcome, bins=15):
    """The five terms of Stephenson et al. 2008 of one event, bin by bin as in the paper."""
    index = np.minimum((probability * bins).astype(int), bins - 1)
    reliability = resolution = within_variance = within_covariance = 0.0
    for number in set(index):
        f, o = probability[index == number], outcome[index == number]
        reliability += len(f) * (f.mean() - o.mean()) ** 2
        resolution += len(f) * (o.mean() - outcome.mean()) ** 2
        within_variance += ((f - f.mean()) ** 2).sum()
        within_covariance += 2 * ((o - o.mean()) * (f - f.mean())).sum()
    uncertainty = outcome.mean() * (1 - outcome.mean())
    terms = np.array([reliability, resolution, within_variance, within_covariance]) / len(probability)
    return (*terms, uncertainty)


def test_classwise_ece_is_the_mean_of_torchmetrics():
    logits, labels = noisy()
    probabilities = softmax(logits)[:, 0]
    oracle = [
        binary_calibration_error(torch.tensor(probabilities[:, k]), torch.tensor((labels[:, 0] == k).astype(int)), 15)
        for k in range(10)
    ]
    assert classwise_ece(events(logits, labels)) == pytest.approx(float(np.mean(oracle)), abs=1e-6)


def test_parts_of_the_brier_score_are_those_of_the_paper():
    logits, labels = noisy()
    probabilities = softmax(logits)[:, 0]
    terms = sum(np.array(stephenson(probabilities[:, k], (labels[:, 0] == k).astype(float))) for k in range(10))
    reliability, resolution, variance, covariance, uncertainty = terms
    parts = brier_parts(events(logits, labels))
    assert parts.reliability == pytest.approx(reliability)
    assert parts.resolution == pytest.approx(resolution - variance + covariance)
    assert parts.uncertainty == pytest.approx(uncertainty)
    score = brier_score_loss(labels[:, 0], probabilities, labels=range(10), scale_by_half=False)
    assert parts.reliability - parts.resolution + parts.uncertainty == pytest.approx(score)


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, (8, 2, 3), elements=st.floats(-40, 40)), arrays(np.int64, (8, 2), elements=st.integers(0, 2)))
def test_parts_of_any_brier_score_add_up(logits, labels):
    found = events(logits, labels)
    parts = brier_parts(found)
    total = parts.reliability - parts.resolution + parts.uncertainty
    assert total == pytest.approx(brier(logits, labels), abs=1e-12)
    assert 0 <= parts.uncertainty <= 2 / 3 + 1e-12
    assert 0 <= parts.reliability <= 2
    assert 0 <= classwise_ece(found) <= 1


def test_two_heads_are_the_mean_of_both():
    (one, labels), (two, others) = noisy(seed=1), noisy(seed=2)
    both = events(np.concatenate([one, two], axis=1), np.concatenate([labels, others], axis=1))
    each = [events(one, labels), events(two, others)]
    assert classwise_ece(both) == pytest.approx(np.mean([classwise_ece(head) for head in each]))
    for name in ("reliability", "resolution", "uncertainty"):
        mean = np.mean([getattr(brier_parts(head), name) for head in each])
        assert getattr(brier_parts(both), name) == pytest.approx(mean)

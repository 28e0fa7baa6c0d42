import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from stnlab.errors import StnlabError
from stnlab.evaluation import nll, softmax
from stnlab.evaluation.measures import after_temperature, calibration
from stnlab.evaluation.temperature import HIGHEST, LOWEST, fit_temperature


def calibrated(n=4000, heads=1, seed=0):
    """Logits whose labels are drawn from their softmax."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, heads, 10))
    labels = (rng.random((n, heads, 1)) > softmax(logits).cumsum(axis=-1)).sum(axis=-1)
    return logits, np.minimum(labels, 9)


@pytest.mark.parametrize("heads", [1, 3])
def test_it_is_the_minimum_that_scipy_finds(heads):
    logits, labels = calibrated(500, heads)
    oracle = minimize_scalar(lambda t: nll(3 * logits / t, labels), bounds=(0.1, 20), options={"xatol": 1e-9})
    assert fit_temperature(3 * logits, labels) == pytest.approx(oracle.x, rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.2, 5))
def test_it_scales_with_the_logits(factor):
    logits, labels = calibrated(300)
    once = fit_temperature(logits, labels)
    assert fit_temperature(factor * logits, labels) == pytest.approx(factor * once, rel=1e-9)


def test_overconfidence_of_known_size_is_found_and_removed():
    validation, test = calibrated(20_000, seed=1), calibrated(20_000, seed=2)
    found = after_temperature((2.5 * validation[0], validation[1]), (2.5 * test[0], test[1]))
    assert found["value"] == pytest.approx(2.5, rel=0.02)
    before = calibration(2.5 * test[0], test[1])
    assert before["ece"] > 0.1
    assert found["ece"] < 0.015
    assert found["ece_low"] <= 0.002
    assert found["ece_low"] <= found["ece"] <= found["ece_high"]
    assert found["nll"] < before["nll"]
    measures = before.keys() - {"error", "accuracy"}
    assert found.keys() == {"value", *(f"{name}{end}" for name in measures for end in ("", "_low", "_high"))}
    by_hand = calibration(2.5 * test[0] / found["value"], test[1])
    assert {name: value for name, value in by_hand.items() if name in found} == pytest.approx(
        {name: value for name, value in found.items() if name in by_hand}
    )


def test_where_no_temperature_is_best_the_search_ends():
    labels = np.arange(10)[:, None]
    right = np.eye(10)[:, None]
    assert fit_temperature(right, labels) == LOWEST
    assert fit_temperature(-right, labels) == HIGHEST


def test_without_validation_split_it_is_refused():
    with pytest.raises(StnlabError, match="no validation split"):
        after_temperature(None, calibrated(10))
    with pytest.raises(StnlabError, match="do not fit"):
        fit_temperature(np.zeros((2, 1, 10)), np.zeros((3, 1), int))

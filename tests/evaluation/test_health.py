import numpy as np
import pytest

from stnlab.evaluation.health import FRAME, collapsed, health
from stnlab.runs.predictions import CORNERS, LANDMARKS

CANVAS = (20, 40)


def test_spread_and_drift_are_distances_in_pixels():
    random = np.random.default_rng(0)
    shift = random.normal(size=(1000, 1, 2)) * (0.1, 0.2) + (0.5, 0)
    corners = np.stack([FRAME + shift, np.broadcast_to(FRAME, (1000, 4, 2))], axis=1)
    none = np.zeros((1000, 2))
    found = health(corners, none + 0.25, none > 0, np.ones((2, 2)), CANVAS)
    pixels = shift[:, 0] * (20, 10)
    assert found["theta_spread/0"] == pytest.approx(np.sqrt(pixels.var(axis=0).sum()))
    assert found["theta_drift/0"] == pytest.approx(np.linalg.norm(pixels.mean(axis=0)))
    assert found["theta_spread/1"] == found["theta_drift/1"] == 0
    assert found["outside/0"] == 0.25
    assert found["collapsed"] == 0


def test_the_identity_is_where_the_saved_corners_are():
    np.testing.assert_array_equal(FRAME, LANDMARKS[list(CORNERS)])


def test_what_is_not_finite_is_left_out():
    corners = np.full((4, 1, 4, 2), np.nan)
    found = health(corners, np.ones((4, 1)), np.ones((4, 1), bool), np.ones((1, 2)), CANVAS)
    assert found == {"outside/0": 1, "blank/0": 1, "collapsed": 1}


def test_blank_or_constant_views_are_a_collapse():
    blank = np.zeros((100, 4), bool)
    blank[:51, 0] = blank[:50, 1] = True
    variances = np.array([(1, 1), (1, 1), (1, 0.009), (0, 0)])
    assert collapsed(blank, variances).keys() == {0, 2}
    assert collapsed(blank, variances)[0] == "51% of its views are blank"

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, sem

from stnlab.evaluation import ece, wilson
from stnlab.evaluation.by_pose import (
    bin_edges,
    by_pose,
    overconfidence,
    pose_bins,
    pose_values,
)


def drawn(n=4000, seed=0):
    """Turned by up to 90 degrees, 0.5 to 2 times as large, nowhere but in the middle; sure of 0.9, right less so when
    turned far."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(-np.pi / 2, np.pi / 2, (n, 1)).astype(np.float32)
    zero = np.zeros((n, 1), np.float32)
    parameters = {"rotation": angle, "scale": 2 ** rng.uniform(-1, 1, (n, 1)), "shift_x": zero, "shift_y": zero}
    correct = rng.random(n) < np.where(np.abs(angle[:, 0]) > np.pi / 4, 0.6, 0.9)
    return parameters, np.full(n, 0.9), correct


def test_units():
    shift = {"shift_x": np.array([[0.0], [0.6]]), "shift_y": np.array([[0.0], [0.8]])}
    found = pose_values({"rotation": np.array([[0.0], [np.pi / 2]]), "scale": np.ones((2, 1)), **shift}, canvas=40)
    assert found.keys() == {"rotation", "shift"}  # scale does not vary
    np.testing.assert_allclose(found["rotation"], [[0], [90]])
    np.testing.assert_allclose(found["shift"], [[0], [20]])


def test_edges_are_those_of_the_range_that_was_drawn_from():
    parameters, _, _ = drawn()
    values = pose_values(parameters, 28)
    np.testing.assert_allclose(bin_edges("rotation", values["rotation"]), np.linspace(-90, 90, 11))
    np.testing.assert_allclose(bin_edges("scale", values["scale"]), np.geomspace(0.5, 2, 11))
    turned = np.degrees(np.linspace(-np.pi, np.pi, 999, dtype=np.float32))
    assert bin_edges("rotation", turned)[[0, -1]].tolist() == [-180, 180]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["rotation", "scale"]), st.floats(0.01, 50), st.floats(0.01, 300))
def test_every_sample_is_in_one_bin(name, low, span):
    values = np.linspace(low, low + span, 57)[:, None]
    edges = bin_edges(name, values)
    assert (np.diff(edges) > 0).all()
    assert edges[0] > 0 or name == "rotation"
    assert (pose_bins(values, edges).sum(axis=1) == 1).all()
    beyond = low - edges[0], edges[-1] - low - span  # rounded outwards, by no more than a bin
    assert min(beyond) > -1e-3 * span
    assert max(beyond) < 0.11 * span


def test_each_bin_says_what_its_samples_do():
    parameters, confidence, correct = drawn()
    sure = confidence + np.random.default_rng(1).uniform(-0.05, 0.05, len(confidence))
    found = by_pose(parameters, 28, sure, correct)
    degrees = np.degrees(parameters["rotation"][:, 0])
    for number in range(10):
        low, high = -90 + 18 * number, -72 + 18 * number
        rows = (degrees >= low) & (degrees < high)
        at = {
            what: found[f"rotation/{number:02d}/{what}"] for what in ("low", "high", "n", "error", "ece", "confidence")
        }
        assert (at["low"], at["high"], at["n"]) == pytest.approx((low, high, rows.sum()))
        assert at["error"] == pytest.approx((~correct[rows]).mean())
        assert at["ece"] == pytest.approx(ece(sure[rows], correct[rows]))
        assert at["confidence"] == pytest.approx(sure[rows].mean())
        half = norm.ppf(0.975) * sem(sure[rows])
        ends = (found[f"rotation/{number:02d}/confidence_low"], found[f"rotation/{number:02d}/confidence_high"])
        assert ends == pytest.approx((sure[rows].mean() - half, sure[rows].mean() + half))
        assert found[f"rotation/{number:02d}/gap"] == pytest.approx(sure[rows].mean() - correct[rows].mean())
        ends = (found[f"rotation/{number:02d}/error_low"], found[f"rotation/{number:02d}/error_high"])
        assert ends == wilson(int((~correct[rows]).sum()), int(rows.sum()))
        assert found[f"rotation/{number:02d}/ece_low"] <= at["ece"] <= found[f"rotation/{number:02d}/ece_high"]
    assert found["rotation/00/ece_low"] > 0.2
    assert {name.split("/")[0] for name in found} == {"rotation", "scale"}


def test_overconfidence_at_extremes_is_found_where_it_is():
    parameters, confidence, correct = drawn()
    found = by_pose(parameters, 28, confidence, correct)
    assert found["rotation/overconfidence_at_extremes"] == pytest.approx(0.3, abs=0.04)
    assert found["rotation/overconfidence_at_extremes_low"] > 0.25
    for side in ("low", "high"):
        name = f"scale/overconfidence_at_{side}"
        assert found[f"{name}_low"] < 0 < found[f"{name}_high"]
    assert "scale/overconfidence_at_extremes" not in found


def test_small_and_large_have_sides_of_their_own():
    """Small ones are always wrong, large ones always right, for all of which 0.8 is said."""
    scale = np.random.default_rng(0).permutation(np.repeat([0.7, 1.0, 1.1], 100))[:, None]
    right = np.tile([True, False], 150)
    correct = np.where(scale[:, 0] < 1, False, np.where(scale[:, 0] > 1, True, right))
    found = overconfidence("scale", scale, np.full(300, 0.8), correct)
    middle = 0.8 - right[scale[:, 0] == 1].mean()
    assert found["overconfidence_at_low"] == pytest.approx(0.8 - middle)
    assert found["overconfidence_at_high"] == pytest.approx(-0.2 - middle)


def test_its_interval_holds_the_truth():
    """In nearly 190 of 200 tries."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        extreme = rng.random(600)
        angle = (extreme * rng.choice([-1, 1], 600))[:, None]
        found = overconfidence("rotation", angle, np.full(600, 0.9), rng.random(600) < 0.95 - 0.3 * extreme)
        hits += found["overconfidence_at_extremes_low"] <= 0.2 <= found["overconfidence_at_extremes_high"]
    assert 180 <= hits <= 199
    assert overconfidence("rotation", np.ones((5, 1)), np.ones(5), np.ones(5, bool)) == {}


def test_the_furthest_object_makes_a_sample_extreme():
    angles = np.array([[-60.0, 10], [5, 20], [70, 0], [1, 1], [30, 2], [0, 25]])
    correct = np.array([False, True, False, True, True, True])  # the two furthest are wrong
    found = overconfidence("rotation", angles, np.ones(6), correct)
    assert found["overconfidence_at_extremes"] == 1


def test_two_objects_count_where_each_is_once_in_a_bin():
    rotation = np.radians([[-89.0, 89.0], [1.0, 2.0], [-90.0, 90.0]])
    found = by_pose({"rotation": rotation}, 28, np.array([0.9, 0.8, 0.7]), np.array([True, False, True]))
    counts = [found[f"rotation/{number:02d}/n"] for number in range(10)]
    assert counts == [2, 0, 0, 0, 0, 1, 0, 0, 0, 2]
    assert found["rotation/05/error"] == 1
    assert "rotation/01/error" not in found
    assert "rotation/05/gap" in found
    assert "rotation/05/confidence_low" not in found  # of one sample


def test_unknown_poses_say_nothing():
    assert by_pose({}, 28, np.ones(3), np.ones(3, bool)) == {}

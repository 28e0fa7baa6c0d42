from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from torch import from_numpy
from torchmetrics.functional.classification import binary_calibration_error

from stnlab.errors import StnlabError
from stnlab.evaluation.equivariance import equivariance
from stnlab.evaluation.invariance import OrbitSizes, curves, inside, invariance, value_names


@dataclass(frozen=True)
class Orbit:
    values: Any
    canonical: int
    training: tuple[float, float]
    labels: Any
    predicted: Any
    confidence: Any
    variation: Any
    cut: Any = None


def drawn(values: Any, canonical: int, training: tuple[float, float], images: int = 400, heads: int = 2) -> Orbit:
    rng = np.random.default_rng(0)
    shape = (len(values), images)
    return Orbit(
        values=np.array(values, dtype=float),
        canonical=canonical,
        training=training,
        labels=rng.integers(3, size=(images, heads)),
        predicted=rng.integers(3, size=(*shape, heads)).astype(np.int16),
        confidence=rng.uniform(0.05, 0.95, shape).astype(np.float32),
        variation=rng.uniform(0, 1, shape).astype(np.float32),
    )


@pytest.mark.parametrize("count", [2, 3, 7, 24])
def test_angles_go_once_around_and_hold_zero(count: int):
    angles = OrbitSizes(1, count, 3).values()["rotation"]
    assert len(angles) == count
    assert (angles == 0).sum() == 1
    np.testing.assert_allclose(np.diff(angles), 360 / count)
    assert angles[0] > -180
    assert angles[-1] == pytest.approx(180 if count % 2 == 0 else 180 - 180 / count)


@pytest.mark.parametrize("count", [3, 7, 9])
def test_factors_are_a_half_to_two_and_hold_exactly_one(count: int):
    factors = OrbitSizes(1, 2, count).values()["scale"]
    np.testing.assert_allclose(factors, np.geomspace(0.5, 2, count))
    assert factors[count // 2] == 1


def test_an_even_number_of_scales_is_refused():
    with pytest.raises(StnlabError, match=r"evaluation.scales=8: give an odd number"):
        OrbitSizes(1, 2, 8)


def test_curves_are_plain_counts_and_torchmetrics_ece():
    orbit = drawn([-90, 0, 90, 180], 1, (-90, 90))
    found = curves(orbit)
    for number in range(4):
        right = [tuple(said) == tuple(label) for said, label in zip(orbit.predicted[number], orbit.labels, strict=True)]
        same = [tuple(a) == tuple(b) for a, b in zip(orbit.predicted[number], orbit.predicted[1], strict=True)]
        assert found["accuracy"][number] == pytest.approx(np.mean(right))
        assert found["agreement"][number] == pytest.approx(np.mean(same))
        assert found["total_variation"][number] == pytest.approx(np.mean(orbit.variation[number]))
        oracle = binary_calibration_error(from_numpy(orbit.confidence[number]), from_numpy(np.array(right)), n_bins=15)
        assert found["ece"][number] == pytest.approx(oracle.item(), abs=1e-6)
        assert found["gap"][number] == pytest.approx(np.mean(orbit.confidence[number]) - np.mean(right))
    assert found["agreement"][1] == 1


@pytest.mark.parametrize(
    ("training", "period", "expected"),
    [
        ((-90, 90), 360, {-90, 0, 90}),
        ((0, 270), 360, {0, 90, 180, -90}),
        ((-180, 180), 360, {-90, 0, 90, 180}),
        ((350, 360), 360, {0}),
        ((0, 0), 360, {0}),
        ((0, 270), None, {0, 90, 180}),
    ],
)
def test_inside_counts_turns_of_a_circle(training: tuple[float, float], period: float | None, expected: set[int]):
    values = np.array([-90.0, 0, 90, 180])
    assert set(values[inside(values, training, period)]) == expected


def test_edges_of_a_range_are_inside():
    factors = OrbitSizes(1, 2, 9).values()["scale"]
    assert inside(factors, (float(np.float32(2**-0.25)), 2**0.5)).tolist() == [False] * 3 + [True] * 4 + [False] * 2


def test_names():
    assert value_names("rotation", np.array([-165.0, 0, 30, 180])) == ["-165", "+000", "+030", "+180"]
    assert value_names("rotation", np.array([-172.5, 0, 7.5])) == ["-172.5", "+000.0", "+007.5"]
    assert value_names("rotation", np.array([0, 0.4, 0.8])) == ["+000.0", "+000.4", "+000.8"]
    assert value_names("scale", OrbitSizes(1, 2, 5).values()["scale"]) == ["x0.50", "x0.71", "x1.00", "x1.41", "x2.00"]
    assert value_names("scale", np.array([1.0, 1.001])) == ["x1.000", "x1.001"]


def test_summary_is_means_inside_outside_and_over_all():
    orbit = drawn([-90, 0, 90, 180], 1, (0, 90))
    found, along = invariance({"rotation": orbit}), curves(orbit)
    for measure, values in along.items():
        compares = measure in ("agreement", "total_variation")  # with the canonical value, which the means leave out
        assert found[f"rotation/{measure}"] == pytest.approx(values[[0, 2, 3] if compares else [0, 1, 2, 3]].mean())
        assert found[f"rotation/inside/{measure}"] == pytest.approx(values[[2] if compares else [1, 2]].mean())
        assert found[f"rotation/outside/{measure}"] == pytest.approx(values[[0, 3]].mean())
        assert found[f"rotation/+180/{measure}"] == pytest.approx(values[3])
    assert found["rotation/+000/agreement"] == 1
    assert not [name for name in found if "whole" in name or "cut" in name]
    upright = invariance({"rotation": drawn([-90, 0, 90, 180], 1, (0, 0))})
    assert "rotation/inside/accuracy" in upright
    assert "rotation/inside/agreement" not in upright
    everywhere = invariance({"rotation": drawn([-90, 0, 90, 180], 1, (-180, 180))})
    assert not [name for name in everywhere if "outside" in name]
    assert invariance({}) == {}


def test_values_that_cut_images_are_marked_and_left_out_of_the_whole():
    orbit = replace(drawn([0.5, 1, 1.4, 2], 1, (0.7, 1.2)), cut=np.array([0, 0.01, 0.04, 0.3], np.float32))
    found, along = invariance({"scale": orbit}), curves(orbit)
    assert found["scale/x2.00/cut"] == pytest.approx(0.3)
    assert found["scale/whole/accuracy"] == pytest.approx(along["accuracy"][:3].mean())
    assert found["scale/whole/agreement"] == pytest.approx(along["agreement"][[0, 2]].mean())
    assert found["scale/accuracy"] == pytest.approx(along["accuracy"].mean())


def test_equivariance_is_the_mean_over_images_that_have_a_gap():
    gaps = {"rotation": np.array([[0.5, np.nan, 1.0], [np.nan] * 3]), "shift": np.array([[0.0, 0, 0], [0, 0, 0.3]])}
    assert equivariance(np.array([1, 2]), gaps) == pytest.approx(
        {"rotation/depth_1": 0.75, "shift/depth_1": 0.0, "shift/depth_2": 0.1}
    )

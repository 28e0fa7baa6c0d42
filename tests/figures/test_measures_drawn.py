"""Figures of measures: what they draw is what they were given."""

import io

import numpy as np
import pytest
from PIL import Image

from stnlab.errors import StnlabError
from stnlab.figures import (
    class_means_grid,
    frames_animation,
    last_frame,
    orbit_curve,
    orbit_curves,
    png,
    pose_curves,
    poses_of,
    rectification_chart,
)
from stnlab.figures.frames import GAP, LINE, SIDE
from stnlab.runs import Orbit


def metrics(error):
    edges = [-90, 0, 90]
    found = {"test/error": 0.1}
    for number in range(2):
        own = {"low": edges[number], "high": edges[number + 1], "n": 50, "error": error, "confidence": 0.95}
        own |= {"error_low": error - 0.01, "error_high": error + 0.02, "ece": 0.03, "ece_low": 0.01, "ece_high": 0.05}
        found |= {f"by_pose/rotation/{number:02d}/{name}": value for name, value in own.items()}
    return found


def test_poses_are_read_in_order_and_empty_bins_are_no_points():
    found = poses_of(
        metrics(0.1) | {"by_pose/scale/00/low": 0.5, "by_pose/scale/00/high": 1.0, "by_pose/scale/00/n": 0}
    )
    assert list(found) == ["rotation", "scale"]
    assert found["rotation"].low.tolist() == [-90, 0]
    assert not len(found["scale"].low)


def test_pose_lines_are_means_and_bands_hold_images_and_seeds():
    seeds = [poses_of(metrics(error))["rotation"] for error in (0.1, 0.2)]
    figure = pose_curves("rotation", {"one": seeds, "none": []}, "mnist")
    left, _, right = figure.axes
    assert (left.get_xlabel(), left.get_ylabel()) == ("true rotation (degrees)", "error (%)")
    (line,) = left.lines
    np.testing.assert_allclose(line.get_xydata(), [(-45, 15), (45, 15)])
    np.testing.assert_allclose(right.lines[1].get_ydata(), [10, 10])  # 95% sure, 85% right
    heights = left.collections[0].get_paths()[0].vertices[:, 1]
    spread = 1.96 * np.std([10, 20], ddof=1) / np.sqrt(2)
    np.testing.assert_allclose([heights.min(), heights.max()], [15 - np.hypot(1, spread), 15 + np.hypot(2, spread)])
    with pytest.raises(StnlabError, match="no run has measures by scale"):
        pose_curves("scale", {"one": []})


def test_scales_are_on_a_logarithmic_axis():
    renamed = {name.replace("rotation", "scale"): value for name, value in metrics(0.1).items()}
    renamed |= {
        "by_pose/scale/00/low": 0.5,
        "by_pose/scale/00/high": 1,
        "by_pose/scale/01/low": 1,
        "by_pose/scale/01/high": 2,
    }
    figure = pose_curves("scale", {"one": [poses_of(renamed)["scale"]]})
    assert figure.axes[0].get_xscale() == "log"
    assert png(figure)


def test_orbits_show_every_measure_over_the_values_and_shade_the_training_range():
    labels, variation = np.array([[1], [2]]), np.array([[0, 0.5], [0, 0], [1, 0.5]])
    predicted = np.array([[[1], [3]], [[1], [2]], [[4], [2]]])
    values, sure = np.array([-90.0, 0, 90]), np.full((3, 2), 0.75)
    orbit = Orbit(values, 1, (-45, 360), np.arange(2), labels, predicted, sure, variation)
    figure = orbit_curves("rotation", {"a": [orbit_curve(orbit)]}, orbit.training)
    shade = figure.axes[0].patches[0]
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == (-45, 90)  # as far as it is in sight
    assert figure.axes[3].get_ylabel() == "total variation"
    lines = [next(line for line in axes.lines if len(line.get_xdata()) == 3) for axes in figure.axes]
    expected = [[50, 100, 50], [25, -25, 25], [50, 100, 50], [0.25, 0, 0.75]]
    for line, values_drawn in zip(lines, expected, strict=True):
        np.testing.assert_allclose(line.get_ydata(), values_drawn)


def test_rectification_tells_better_from_worse():
    figure = rectification_chart({"0": (50, 10), "1": (50, 60), "all": (50, 35)}, "degrees", "a")
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in dots] == [50, 10, 50, 60, 50, 35]
    colours = [line.get_color() for line in dots[1::2]]
    assert colours[0] == colours[2] != colours[1]
    with pytest.raises(StnlabError, match="no class"):
        rectification_chart({}, "degrees")


def test_class_means_share_one_scale():
    before, after = np.zeros((3, 6, 6)), np.ones((3, 4, 4))
    figure = class_means_grid(before, after, "a")
    images = [axes.images[0] for axes in figure.axes]
    assert [image.get_clim() for image in images] == [(0, 1), (0, 1)]
    assert [np.nansum(image.get_array().filled(np.nan)) for image in images] == [0, 3 * 16]
    with pytest.raises(StnlabError, match="do not fit"):
        class_means_grid(before, after[:2])


def test_an_animation_has_a_frame_an_epoch_and_ends_as_the_still_does():
    before = np.zeros((2, 8, 8), np.uint8)
    views = np.stack([np.full((2, 8, 8), 50 * epoch, np.uint8) for epoch in (1, 2, 3)])
    corners = np.broadcast_to(0.5 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]), (3, 2, 4, 2))
    moving = Image.open(io.BytesIO(frames_animation([1, 2, 5], before, views, corners)))
    assert (moving.n_frames, moving.size) == (3, (2 * SIDE + GAP, LINE + 2 * SIDE + GAP))
    shades = []
    for number in range(3):
        moving.seek(number)
        shades.append(moving.convert("RGBA").getpixel((SIDE // 2, LINE + SIDE + GAP + SIDE // 2))[0])
    assert shades == [50, 100, 150]
    still = Image.open(io.BytesIO(last_frame([1, 2, 5], before, views, corners)))
    assert still.convert("RGBA").tobytes() == moving.convert("RGBA").tobytes()
    with pytest.raises(StnlabError, match="do not fit"):
        frames_animation([1], before, views)

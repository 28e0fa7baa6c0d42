"""Figures of measures: what they draw is what they were given."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from scipy.stats import t as student

from stnlab.errors import StnlabError
from stnlab.figures import (
    OrbitCurve,
    class_means_grid,
    frames_animation,
    last_frame,
    orbit_curve,
    orbit_curves,
    png,
    pose_curves,
    poses_of,
    rectification_chart,
    spreads_of,
)
from stnlab.figures.frames import ACROSS, GAP, LINE, side_for
from stnlab.figures.orbits import CROPPED, PANELS, TRAINING
from stnlab.runs import Orbit

ENDS = ((0, "input"), (1, "residual"))


def metrics(error, n=(500, 500)):
    edges = [-90, 0, 90]
    found = {"test/error": 0.1}
    for number in range(2):
        own = {"low": edges[number], "high": edges[number + 1], "n": n[number], "error": error, "confidence": 0.95}
        own |= {"error_low": error - 0.01, "error_high": error + 0.02, "ece": 0.03}
        own |= {"confidence_low": 0.94, "confidence_high": 0.955}
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
    left, right, _, confidence = figure.axes
    assert (left.get_xlabel(), left.get_ylabel()) == ("true rotation (degrees)", "error (%)")
    (line,) = left.lines
    np.testing.assert_allclose(line.get_xydata(), [(-45, 15), (45, 15)])
    np.testing.assert_allclose(right.lines[1].get_ydata(), [10, 10])  # 95% sure, 85% right
    heights = left.collections[0].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([heights.min(), heights.max()], [14, 17])  # of two seeds the spread says nothing
    np.testing.assert_allclose(confidence.lines[0].get_ydata(), [95, 95])
    heights = confidence.collections[0].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([heights.min(), heights.max()], [94, 95.5])
    bottom, top = confidence.get_ylim()
    assert (bottom < 94, top > 95.5) == (True, True)
    three = [*seeds, poses_of(metrics(0.15))["rotation"]]
    heights = pose_curves("rotation", {"one": three}).axes[0].collections[0].get_paths()[0].vertices[:, 1]
    low, high = student.interval(0.95, 2, 15, np.std([10, 20, 15], ddof=1) / np.sqrt(3))
    ends = [15 - np.hypot(1, 15 - low), 15 + np.hypot(2, high - 15)]
    np.testing.assert_allclose([heights.min(), heights.max()], ends)
    with pytest.raises(StnlabError, match="no run has measures by scale"):
        pose_curves("scale", {"one": []})


def test_small_bins_are_left_out_or_hollow_and_the_figure_says_so():
    one, other = (poses_of(metrics(0.1, n))["rotation"] for n in ((500, 99), (20, 99)))
    figure = pose_curves("rotation", {"one": [one]})
    assert figure.axes[0].lines[0].get_xdata().tolist() == [-45]
    assert figure.get_supxlabel() == "Left out, fewer than 100 images: 0 to 90 degrees."
    figure = pose_curves("rotation", {"other": [other]})
    assert figure.axes[0].lines[0].get_xdata().tolist() == [-45, 45]
    assert figure.axes[0].lines[0].get_markerfacecolor() == "none"
    assert figure.get_supxlabel() == "Hollow: fewer than 100 images in a bin."


def test_of_many_lines_the_baseline_and_the_best_have_bands_and_all_panels_one_scale():
    curves = {f"{error}": [poses_of(metrics(error))["rotation"]] for error in (0.3, 0.4, 0.1, 0.2)}
    figure = pose_curves("rotation", curves, baseline="0.4")
    coloured = {line.get_label(): line.get_color() for line in figure.axes[0].lines}
    bands = [tuple(band.get_facecolor()[0][:3]) for band in figure.axes[0].collections]
    assert bands == [to_rgb(coloured["0.4"]), to_rgb(coloured["0.1"])]
    assert [len(axes.collections) for axes in figure.axes] == [2, 2, 0, 2]
    assert len({round(np.ptp(axes.get_ylim()), 6) for axes in figure.axes}) == 1
    assert figure.axes[0].get_xticks()[[1, -2]].tolist() == [-90, 90]  # MultipleLocator looks one tick further


@pytest.mark.parametrize(("error", "confidence"), [(0.8, 0.2), (0.75, 0.99), (0.02, 0.99), (1.0, 1.0)])
def test_no_panel_of_percents_shows_less_than_none_or_more_than_all(error, confidence):
    known = {name: confidence for name in metrics(error) if "/confidence" in name}
    found = metrics(error) | known | {name: error for name in metrics(error) if "/error_" in name}
    figure = pose_curves("rotation", {"one": [poses_of(found)["rotation"]]})
    for axes, value in zip(figure.axes, (error, None, 0.03, confidence), strict=True):
        low, high = axes.get_ylim()
        assert value is None or 0 <= low <= 100 * value <= high <= 100
        assert np.ptp(axes.get_ylim()) == pytest.approx(np.ptp(figure.axes[0].get_ylim()), rel=0.06)


def test_one_curve_needs_no_legend():
    curve = poses_of(metrics(0.1))["rotation"]
    assert not pose_curves("rotation", {"": [curve]}).legends
    assert pose_curves("rotation", {"a": [curve], "b": [curve]}).legends


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
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["0.5", "0.7", "1", "1.4", "2"]
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


def test_where_an_orbit_crops_images_it_is_hatched():
    values = np.array([0.5, 1, 1.5, 2])
    measures = {name: np.ones(4) for name, _, _ in PANELS}
    figure = orbit_curves("scale", {"a": [OrbitCurve(values, measures | {"cut": np.array([0, 0, 0, 0.1])})]}, (1, 1))
    for axes in figure.axes:
        (hatched,) = (part for part in axes.collections if part.get_hatch())
        assert hatched.get_paths()[0].vertices[:, 0].min() == pytest.approx(1.75, abs=0.01)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", TRAINING, CROPPED]
    whole = orbit_curves("scale", {"a": [OrbitCurve(values, measures | {"cut": np.full(4, 0.05)})]}, (1, 1))
    assert [text.get_text() for text in whole.legends[0].get_texts()] == ["a", TRAINING]


def test_a_full_turn_is_closed():
    values = np.arange(-90.0, 181, 90)
    curve = OrbitCurve(values, {name: np.arange(4) / 4 for name, _, _ in PANELS})
    drawn = orbit_curves("rotation", {"a": [curve]}, (-45, 45)).axes[0].lines[0]
    assert drawn.get_xdata().tolist() == [-180, -90, 0, 90, 180]
    assert drawn.get_ydata()[0] == drawn.get_ydata()[-1]


def test_rectification_tells_better_from_worse_and_has_every_parameter_in_its_unit():
    measured = {"rotation/class_0": (50, 10), "rotation/class_10": (50, 60), "rotation/class_9": (50, 52)}
    measured |= {"rotation": (50, 35), "scale": (0.0, 0.05), "corners": (4, 6)}
    metrics = {f"rectification/0/{name}/{end}": pair[k] for name, pair in measured.items() for k, end in ENDS}
    spreads = spreads_of(metrics | {"rectification/1/shift/residual": 1.0, "test/error": 0.1})
    assert spreads == {0: measured}
    figure = rectification_chart(spreads[0], "a")
    assert [axes.get_xlabel().split(" (")[0] for axes in figure.axes] == [
        "circular std of the angle",
        "std of log2 of the factor",
        "corner displacement",
    ]
    ticks = [[label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes]
    assert ticks == [["0", "9", "10", "all"], ["scale"], ["corners"]]
    dots = [[line for line in axes.lines if line.get_marker() == "o"] for axes in figure.axes]
    found = [[float(line.get_xdata()[0]) for line in one] for one in dots]
    assert found == [[50, 10, 50, 52, 50, 60, 50, 35], [0, 0.05], [4, 6]]
    colours = [line.get_color() for one in dots for line in one[1::2]]
    better, worse = colours[0], colours[2]
    # 2 degrees of 50 are noise, and so is 0.05 of nothing
    assert better != worse
    assert colours == [better, better, worse, better, better, worse]
    legend = figure.legends[0]
    assert [dot.get_color() for dot in legend.legend_handles] == [dots[0][0].get_color(), better, worse]
    for axes in figure.axes:
        assert axes.get_xlim()[1] > max(float(line.get_xdata()[-1]) for line in axes.lines)
    with pytest.raises(StnlabError, match="no parameter"):
        rectification_chart({})


def test_class_means_share_one_scale():
    before, after = np.zeros((3, 6, 6)), np.ones((3, 4, 4))
    figure = class_means_grid(before, after, "a")
    images = [axes.images[0] for axes in figure.axes]
    assert [image.get_clim() for image in images] == [(0, 1), (0, 1)]
    assert [np.nansum(image.get_array().filled(np.nan)) for image in images] == [0, 3 * 16]
    with pytest.raises(StnlabError, match="do not fit"):
        class_means_grid(before, after[:2])


def test_a_quadrilateral_outside_its_picture_is_whole_in_every_frame():
    before, views = np.zeros((1, 8, 8), np.uint8), np.zeros((2, 1, 8, 8), np.uint8)
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    corners = np.stack([square, 1.5 * square])[:, None]
    still = Image.open(io.BytesIO(last_frame([1, 2], before, views, corners))).convert("RGBA")
    side, row = side_for(corners), LINE + ACROSS // 2
    seen = [x for x in range(still.width) if still.getpixel((x, row))[3]]
    assert seen[-1] - seen[0] == pytest.approx(1.5 * side, abs=3)  # and the width of a line
    assert 0 < seen[0] < seen[-1] < still.width - 1 == ACROSS - 1
    assert side_for(0.5 * square) > side


def test_an_animation_has_a_frame_an_epoch_and_ends_as_the_still_does():
    before = np.zeros((2, 8, 8), np.uint8)
    views = np.stack([np.full((2, 8, 8), 50 * epoch, np.uint8) for epoch in (1, 2, 3)])
    corners = np.broadcast_to(0.5 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]), (3, 2, 4, 2))
    moving = Image.open(io.BytesIO(frames_animation([1, 2, 5], before, views, corners)))
    side = side_for(corners)
    assert (moving.n_frames, moving.size) == (3, (2 * ACROSS + GAP, LINE + ACROSS + GAP + side))
    shades = []
    for number in range(3):
        moving.seek(number)
        shades.append(moving.convert("RGBA").getpixel((ACROSS // 2, LINE + ACROSS + GAP + side // 2))[0])
    assert shades == [50, 100, 150]
    still = Image.open(io.BytesIO(last_frame([1, 2, 5], before, views, corners)))
    assert still.convert("RGBA").tobytes() == moving.convert("RGBA").tobytes()
    with pytest.raises(StnlabError, match="do not fit"):
        frames_animation([1], before, views)

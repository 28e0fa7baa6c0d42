import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.text import Text
from scipy.stats import binomtest

from stnlab.errors import StnlabError
from stnlab.evaluation import ece, reliability_bins
from stnlab.figures import (
    class_means_grid,
    learning_curves,
    pdf,
    png,
    rectification_chart,
    reliability_diagram,
    style,
    svg,
    views_grid,
)
from stnlab.figures.gallery import gallery
from stnlab.figures.views import MARGIN, to_pixels

SQUARE = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], dtype=float)


def digits(count=3, size=8):
    return np.random.default_rng(0).integers(0, 256, (count, 1, size, size), dtype=np.uint8)


def labels_of(figure):
    return [axes.get_title() for axes in figure.axes]


def test_corners_of_the_frame_are_outer_corners_of_its_pixels():
    """align_corners=False: -1 is the left edge of pixel 0, half a pixel before its centre."""
    assert to_pixels(SQUARE, 28, 42).tolist() == [[-0.5, -0.5], [41.5, -0.5], [41.5, 27.5], [-0.5, 27.5]]
    assert to_pixels(np.zeros(2), 28, 42).tolist() == [20.5, 13.5]


def test_views_show_the_quadrilateral_on_what_was_transformed():
    images = digits()
    quarter_turn = np.roll(SQUARE, -1, axis=0)  # the view's top is the input's right edge
    corners = np.broadcast_to(quarter_turn, (3, 1, 4, 2))
    figure = views_grid(images, [images[:, 0]], [images[:, 0]], corners, np.array([1, 2, 3]), np.array([1, 2, 7]), "a")
    assert len(figure.axes) == 2 * 3
    outline, top = figure.axes[0].lines
    assert outline.get_xydata().tolist() == [[7.5, -0.5], [7.5, 7.5], [-0.5, 7.5], [-0.5, -0.5], [7.5, -0.5]]
    assert top.get_xydata().tolist() == [[7.5, -0.5], [7.5, 7.5]]
    assert labels_of(figure)[:3] == ["1", "2", "3 → 7"]
    assert not figure.axes[3].lines


def test_features_are_shown_below_the_image_they_come_from():
    images, features = digits(), digits(size=5)[:, 0]
    stacked = views_grid(
        images, [images[:, 0], features], [images[:, 0], features], np.broadcast_to(SQUARE, (3, 2, 4, 2))
    )
    deep = views_grid(images, [features], [features], np.broadcast_to(SQUARE, (3, 1, 4, 2)))
    names = [[axes.texts[0].get_text() for axes in figure.axes[::3]] for figure in (stacked, deep)]
    assert names == [["input", "view 1", "features 2", "view 2"], ["input", "features", "view"]]


def test_colour_images_and_sequences_have_their_place():
    images = np.repeat(digits(), 3, axis=1)
    grey = images.mean(axis=1).round().astype(np.uint8)
    corners = np.broadcast_to(SQUARE, (3, 1, 4, 2))
    figure = views_grid(images, [grey], [grey], corners, np.array([[1, 2]] * 3), np.array([[1, 3]] * 3))
    assert figure.axes[0].images[0].get_array().shape == (8, 8, 3)
    assert labels_of(figure)[0] == "12 → 13"


def test_views_that_do_not_fit_are_refused():
    with pytest.raises(StnlabError, match="do not fit"):
        views_grid(digits(), [digits()[:, 0]], [digits()[:2, 0]], np.zeros((3, 1, 4, 2)))


def test_reliability_bars_are_the_bins():
    confidence = np.array([0.55, 0.55, 0.9, 1.0])
    correct = np.array([True, True, True, False])
    bins = reliability_bins(confidence, correct, 10)
    figure = reliability_diagram(bins, ece(confidence, correct, 10), "a cell", (0.01, 0.02))
    accuracy, gap = figure.axes[0].containers
    assert [bar.get_height() for bar in accuracy] == [1.0, 0.5]
    assert [bar.get_height() for bar in gap] == pytest.approx([0.55 - 1.0, 0.95 - 0.5])
    assert [bar.get_facecolor()[:3] == gap[0].get_facecolor()[:3] for bar in gap] == [True, False]  # signs differ
    assert [bar.get_height() for bar in figure.axes[1].containers[0]] == [0, 0, 0, 0, 0, 0.5, 0, 0, 0, 0.5]
    assert figure.axes[0].get_legend()
    assert figure.axes[0].get_title() == "ECE 45.00% (1.00 to 2.00)\nas confident as right"


def test_a_reliability_diagram_says_which_way_it_is_off():
    confidence = np.array([0.9, 0.8, 0.9, 1.0])
    for correct, said in (([0, 1, 1, 0], "overconfident by 40.00 points"), ([1] * 4, "underconfident by 10.00 points")):
        bins = reliability_bins(confidence, np.array(correct, bool))
        figure = reliability_diagram(bins, 0.1, note="T = 2", legend=False)
        assert figure.axes[0].get_title() == f"T = 2, ECE 10.00%\n{said}"
        assert not figure.axes[0].get_legend()


def test_whiskers_of_several_runs_are_those_of_their_images():
    confidence, correct = np.full(40, 0.75), np.arange(40) % 4 > 0
    bins = reliability_bins(np.tile(confidence, 2), np.tile(correct, 2))
    whiskers = reliability_diagram(bins, 0.0, runs=2).axes[0].collections[1].get_segments()
    ends = binomtest(30, 40).proportion_ci(method="wilson")
    assert whiskers[0][:, 1] == pytest.approx([ends.low, ends.high])


def test_quadrilaterals_far_outside_stay_in_sight():
    images = digits()
    for zoom, limit in ((0.5, 8 * 0.05), (2.0, 8 * 0.54), (9.0, 8 * MARGIN)):
        corners = np.broadcast_to(zoom * SQUARE, (3, 1, 4, 2))
        left, right = views_grid(images, [images[:, 0]], [images[:, 0]], corners).axes[0].get_xlim()
        assert (left, right) == pytest.approx((-0.5 - limit, 7.5 + limit))


LONG = "mnist_rotated train_size=300 validation_size=100 placement=input transform=rotation_scale"


@pytest.mark.parametrize("title", ["a cell", LONG, LONG.replace(" ", "_")])
def test_a_title_is_whole_and_readable_however_long(title):
    images, corners = digits(), np.broadcast_to(SQUARE, (3, 1, 4, 2))
    bins = reliability_bins(np.array([0.6, 0.9]), np.array([True, False]), 10)
    spreads = {"rotation": (50.0, 10.0)}
    figures = {
        name: [make(title), make("a")]
        for name, make in {
            "reliability": lambda said: reliability_diagram(bins, 0.1, said),
            "rectification": lambda said: rectification_chart(spreads, said),
            "means": lambda said: class_means_grid(np.zeros((2, 6, 6)), np.ones((2, 4, 4)), said),
            "views": lambda said: views_grid(images, [images[:, 0]], [images[:, 0]], corners, title=said),
            "gallery": lambda said: gallery(images, images, np.zeros((3, 1), int), {}, said),
        }.items()
    }
    for name, (figure, short) in figures.items():
        shown = [one for one in figure.findobj(Text) if one.get_weight() == "bold" and one.get_text()]
        (own,) = shown
        assert re.sub(r"\s", "", own.get_text()) == re.sub(r"\s", "", title), name
        assert own.get_fontsize() == style.TEXT, name
        box = own.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width, name
        assert box.y1 <= figure.bbox.height, name
        others = [one for one in figure.findobj(Text) if one is not own and one.get_text().strip()]
        assert not [one for one in others if one.get_window_extent().overlaps(box)], name
        sizes = [np.array(one.axes[0].get_window_extent().size) for one in (figure, short)]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.08), name  # what it shows is not squeezed


def history(epochs=3, validated=True):
    rows = [{"epoch": epoch + 1, "train/loss": 1 / (epoch + 1), "train/accuracy": 0.9} for epoch in range(epochs)]
    return [row | ({"val/error": 0.2 / row["epoch"]} if validated else {}) for row in rows]


def test_curves_show_the_mean_and_the_range_over_seeds():
    figure = learning_curves(
        {"none": [history(), [row | {"val/error": 0.4} for row in history(2)]], "input": [history()]}
    )
    left = figure.axes[0]
    assert left.get_ylabel() == "validation error (%)"
    np.testing.assert_allclose(left.lines[0].get_ydata(), [30, 25, 20 / 3])
    np.testing.assert_allclose(left.lines[1].get_ydata(), [20, 10, 20 / 3])
    (band,) = left.collections[0].get_paths()
    low, high = ({(x, edge(y for a, y in band.vertices if a == x)) for x, _ in band.vertices} for edge in (min, max))
    assert sorted(high) == [(1, 40), (2, 40), (3, pytest.approx(20 / 3))]
    assert sorted(low)[:2] == [(1, 20), (2, 10)]


def test_curves_without_validation_show_training_error():
    figure = learning_curves({"none": [history(validated=False)]})
    assert figure.axes[0].get_ylabel() == "training error (%)"
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), 10)


def test_curves_that_reach_zero_and_curves_of_one_epoch_are_drawn():
    figure = learning_curves({"none": [[{"epoch": 1, "train/loss": 0.0, "val/error": 0.0}]]})
    assert figure.axes[0].get_yscale() == "linear"
    assert png(figure)
    with pytest.raises(StnlabError, match="no learning curve"):
        learning_curves({"none": [[]]})


def test_files_are_repeatable_self_contained_and_for_light_and_dark():
    before = dict(mpl.rcParams)
    figure = learning_curves({"none": [history()]})
    drawn = svg(figure)
    assert drawn == svg(figure)
    assert png(figure).startswith(b"\x89PNG")
    assert pdf(figure) == pdf(figure)
    assert pdf(figure).startswith(b"%PDF")
    assert b"/Type3" not in pdf(figure)
    assert dict(mpl.rcParams) == before
    assert ET.fromstring(drawn).tag.endswith("svg")
    assert b"prefers-color-scheme: dark" in drawn
    assert b"stroke: #2b2b2b" in drawn  # what the dark style looks for
    assert b"fill: #2b2b2b" in drawn


def test_no_pyplot_and_no_torch():
    """Loggers draw from worker threads: pyplot's global state is not for them. A report starts without torch."""
    code = "import sys, stnlab.figures, stnlab.reports.page; print({'torch', 'matplotlib.pyplot'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

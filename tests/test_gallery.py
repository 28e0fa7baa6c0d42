"""`python -m stnlab.gallery`."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from stnlab import gallery
from stnlab.errors import StnlabError
from stnlab.figures.gallery import gallery as draw


def test_draws_the_samples_of_any_data(mnist_root: Path, tmp_path: Path):
    output = tmp_path / "gallery.png"
    gallery.main([f"data.root={mnist_root}", "data=mnist_addition", "samples=3", "split=val", f"output={output}"])
    picture = imread(output)
    assert picture.shape[0] > picture.shape[1], "four rows, three columns"
    assert {0.0, 1.0} <= set(picture[..., 0].flatten())


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("samples=0", "samples=0: .*greater than or equal to 1"),
        ("split=all", "split=all: should be 'train', 'val' or 'test'"),
        ("data.distortion.rotatoin=1", "data.distortion.rotatoin: no such key; did you mean rotation"),
        ("data.test_distortion={rotation:[9,1]}", r"data.test_distortion.rotation=\[9.0, 1.0\]: give \[low, high\]"),
        ("output=none/gallery.png", "output=none/gallery.png: cannot be written"),
    ],
)
def test_a_wrong_choice_is_one_line(argument: str, message: str, mnist_root: Path):
    with pytest.raises(StnlabError, match=message):
        gallery.main([f"data.root={mnist_root}", argument])


def test_starts_without_torch():
    code = "import sys, stnlab.gallery; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_poses_are_told_for_each_object_if_they_change():
    before, after = np.zeros((2, 3, 8, 8), np.uint8), np.zeros((2, 3, 9, 9), np.uint8)
    poses = {"rotation": np.array([[-30.2, 0], [5, -0.1]]), "scale": np.ones((2, 2))}
    figure = draw(before, after, np.array([[1, 2], [3, 4]]), poses)
    assert [text.get_text() for text in figure.texts] == ["turned", "-30°, +0°", "+5°, +0°"]
    assert [axes.get_title() for axes in figure.axes[:2]] == ["1 2", "3 4"]
    with pytest.raises(StnlabError, match="do not fit"):
        draw(before, after[:1], np.zeros((2, 1)), {})

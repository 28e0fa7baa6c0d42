"""`python -m stnlab.gallery`."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from stnlab import gallery
from stnlab.data.pictures import Pictures
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
        ("output=gallery.svg", "output=gallery.svg: the picture is a PNG; give a name that ends in .png"),
        ("--config-dri=none", "--config-dri=none: no such flag; did you mean --config-dir"),
        ("--config-dir=none", "--config-dir none: no such directory"),
        ("--multirun", "--multirun: is a flag of stnlab.train; the gallery has --config-dir alone"),
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


def test_shows_a_users_own_choice_and_decodes_no_more_than_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(20):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (number, 255, 0)).save(path)
    own = tmp_path / "my conf's, [1]" / "data" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("defaults: [folder, _self_]\ndataset: {name: tiny, classes: 2}\nvalidation_size: 0\n")
    decoded: list[int] = []
    original = Pictures.__getitem__
    monkeypatch.setattr(Pictures, "__getitem__", lambda self, row: (decoded.append(row), original(self, row))[1])
    choice = ["data=mine", f"data.root={tmp_path / 'images'}", "samples=3", "split=train"]
    gallery.main([*choice, "--config-dir", str(own.parents[1]), f"output={tmp_path / 'mine.png'}"])
    assert imread(tmp_path / "mine.png").size
    assert len(decoded) == 3
    with pytest.raises(StnlabError, match="data=mien: no such choice; did you mean mine"):
        gallery.main(["--config-dir", str(own.parents[1]), "data=mien"])

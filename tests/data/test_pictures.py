"""Files of images, as those who made them mean them to be seen."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stnlab.data.pictures import Pictures
from stnlab.errors import StnlabError


def test_pictures_of_any_shape_become_squares_of_their_middle(tmp_path: Path):
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    wide[:, 18:42] = 200  # and what antialiasing reads beside it
    Image.fromarray(wide).save(tmp_path / "wide.png")
    images = Pictures([tmp_path / "wide.png"] * 2, 10)
    assert images.shape == (2, 3, 10, 10)
    assert images[1].tolist() == np.full((3, 10, 10), 200).tolist()


def grey_of_16_bits(path: Path) -> None:
    Image.fromarray(np.array([[0, 257 * 100], [257 * 200, 65535]], dtype=np.uint16)).save(path)


def test_pictures_show_what_an_image_viewer_shows(tmp_path: Path):
    path = tmp_path / "grey.png"
    grey_of_16_bits(path)
    assert Pictures([path], 2)[0].tolist() == [[[0, 100], [200, 255]]] * 3
    halves = np.zeros((16, 16, 3), dtype=np.uint8)
    halves[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: the camera's top is the picture's right side
    Image.fromarray(halves).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    turned = Pictures([tmp_path / "turned.jpg"], 16)[0]
    assert turned[:, :, 9:].min() > 250
    assert turned[:, :, :7].max() < 5


def decompression_bomb(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (50, 50)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)


def floating_point(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.zeros((4, 4), dtype=np.float32)).save(path.with_suffix(".tif"))
    path.with_suffix(".tif").rename(path)


@pytest.mark.parametrize("error", [struct.error, EOFError, IndexError])
def test_whatever_pillow_raises_is_one_line(error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any) -> None:
        raise error("of Pillow's")

    Image.new("RGB", (16, 16)).save(tmp_path / "1.png")
    monkeypatch.setattr(Image.Image, "convert", fail)
    with pytest.raises(StnlabError, match=r"1\.png: cannot be read \(.*of Pillow's\); put an intact image there$"):
        Pictures([tmp_path / "1.png"], 8)[0]


@pytest.mark.parametrize("write", [decompression_bomb, floating_point])
def test_a_picture_that_cannot_be_used_is_one_line(
    write: Callable[[Path, pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path / "1.png", monkeypatch)
    with pytest.raises(StnlabError, match=r"1\.png: cannot be read \(.*\); put an intact image there$") as caught:
        Pictures([tmp_path / "1.png"], 8)[0]
    assert "\n" not in str(caught.value)

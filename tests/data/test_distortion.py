import numpy as np
import pytest
import torch
from torchvision.transforms import functional as tv

from stnlab.data.distortion import Distortion, bounding_boxes
from stnlab.errors import StnlabError
from stnlab.geometry.maps import AffineMap
from stnlab.geometry.sampling import sample

RTS = Distortion(size=42, rotation=[-45, 45], scale=[0.7, 1.2], position="anywhere")


def digit() -> torch.Tensor:
    image = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    image[..., 5:23, 12:15] = 255
    image[..., 5:8, 12:20] = 255
    return image


def parameters(rotation: float = 0, scale: float = 1, x: float = 0, y: float = 0) -> dict[str, torch.Tensor]:
    values = {"rotation": rotation, "scale": scale, "shift_x": x, "shift_y": y}
    return {name: torch.tensor([float(value)]) for name, value in values.items()}


def test_a_digit_turned_by_30_degrees_and_rectified_by_its_pose_is_upright_again():
    distortion = Distortion(size=28, rotation=[30, 30], scale=[1, 1])
    drawn = distortion.draw(bounding_boxes(digit()), 1.0, "key")
    assert drawn["rotation"].item() == pytest.approx(np.pi / 6)
    pose = distortion.poses(drawn)
    turned = distortion(digit(), pose)
    expected = tv.rotate(digit() / 255, 30, interpolation=tv.InterpolationMode.BILINEAR)
    torch.testing.assert_close(turned, expected, rtol=0, atol=1e-5)

    warp = pose.inverse()
    identity = pose @ warp
    assert isinstance(identity, AffineMap)
    torch.testing.assert_close(identity.matrix, torch.eye(2, 3)[None], rtol=0, atol=1e-6)
    # Two resamplings blur the edges; against a digit left turned that is little, and the wrong sign is much worse.
    original = digit() / 255
    upright, left, doubled = (
        (sample(turned, by, (28, 28)) - original).abs().mean() for by in (warp, AffineMap.identity(1, original), pose)
    )
    assert upright < left / 3
    assert upright < doubled / 4


def test_undistorted_on_a_larger_canvas_is_the_original_in_the_middle():
    plain = Distortion(size=42, rotation=[0, 0], scale=[1, 1])
    image = plain(digit(), plain.poses(parameters()))
    torch.testing.assert_close(image[..., 7:35, 7:35], digit() / 255, rtol=0, atol=1e-5)
    assert image.sum() == pytest.approx(float(digit().sum() / 255), rel=1e-5)


def test_scale_and_shift_are_the_digits():
    image = RTS(digit(), RTS.poses(parameters(scale=0.5, x=0.5, y=-0.25)))
    # Every other pixel of lines three wide: the mass is that of the halved digit up to aliasing.
    assert image.sum() == pytest.approx(0.25 * float(digit().sum() / 255), rel=0.1)
    moved = bounding_boxes((image * 255).byte())[0]
    original = bounding_boxes(digit())[0] * 28 / 42
    expected = original * 0.5 + torch.tensor([0.5, -0.25, 0.5, -0.25])
    torch.testing.assert_close(moved, expected, rtol=0, atol=2.5 / 21)


def test_bounding_boxes():
    box = bounding_boxes(digit())[0] * 14 + 14
    torch.testing.assert_close(box, torch.tensor([12.0, 5, 20, 23]))
    assert bounding_boxes(torch.zeros(1, 1, 4, 4, dtype=torch.uint8)).tolist() == [[-1, -1, 1, 1]]


def test_a_digit_anywhere_stays_inside_and_fills_the_range():
    boxes = bounding_boxes(digit()).expand(2000, 4)
    drawn = RTS.draw(boxes, 28 / 42, "key")
    assert drawn["rotation"].abs().max() <= np.pi / 4
    assert 0.7 <= drawn["scale"].min() < 0.71
    assert 1.19 < drawn["scale"].max() <= 1.2
    images = RTS(digit().expand(2000, 1, 28, 28), RTS.poses(drawn))
    whole = digit().sum() / 255 * drawn["scale"] ** 2
    # All of the mass is there, up to aliasing of lines three pixels wide; a row cut off would be 14% of it.
    torch.testing.assert_close(images.sum(dim=(1, 2, 3)), whole, rtol=0.1, atol=0)
    assert images[:, :, 0].any()
    assert images[:, :, -1].any()


def test_another_parameter_changes_no_other_draw():
    boxes = bounding_boxes(digit()).expand(50, 4)
    only_turned = Distortion(size=42, rotation=[-45, 45], scale=[1, 1])
    first, second = only_turned.draw(boxes, 28 / 42, 3, "train", 1), RTS.draw(boxes, 28 / 42, 3, "train", 1)
    assert torch.equal(first["rotation"], second["rotation"])
    assert not torch.equal(first["rotation"], RTS.draw(boxes, 28 / 42, 3, "train", 2)["rotation"])


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"rotation": [90, -90]}, r"data.distortion.rotation=\[90, -90\]: give \[low, high\]"),
        ({"rotation": [0]}, r"rotation=\[0\]"),
        ({"scale": [0, 1]}, r"scale=\[0, 1\]: .* 0.01 <= low"),
    ],
)
def test_bad_ranges_are_refused(choice: dict[str, list[float]], message: str):
    with pytest.raises(StnlabError, match=message):
        Distortion(**{"size": 28, "rotation": [0, 0], "scale": [1, 1], **choice})

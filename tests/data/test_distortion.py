from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import functional as tv

from stnlab.choices import build
from stnlab.data.bending import kept_convex, stretched_back
from stnlab.data.clutter import draw_clutter, strew
from stnlab.data.distortion import Distortion, bounding_boxes
from stnlab.errors import StnlabError
from stnlab.geometry.maps import AffineMap, Homography
from stnlab.geometry.sampling import sample
from stnlab.seeds import generator

STILL = {"size": 28, "rotation": (0, 0), "scale": (1, 1)}
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


def test_a_draw_is_a_uniform_number_of_the_parameters_own_generator():
    boxes = bounding_boxes(digit()).expand(7, 4)
    drawn = RTS.draw(boxes, 28 / 42, 5, "train", 2)
    unit = torch.rand(7, generator=generator(5, "train", 2, "rotation"))
    assert torch.equal(drawn["rotation"], torch.deg2rad(-45 + 90 * unit))
    assert torch.equal(drawn["scale"], 0.7 + (1.2 - 0.7) * torch.rand(7, generator=generator(5, "train", 2, "scale")))
    unturned = Distortion(size=42, rotation=[0, 0], scale=[1, 1], position="anywhere").draw(boxes, 28 / 42, 5, "val", 0)
    left, right = boxes[0, 0] * 28 / 42, boxes[0, 2] * 28 / 42
    x = torch.rand(7, generator=generator(5, "val", 0, "x"))
    torch.testing.assert_close(unturned["shift_x"], -1 - left + (2 - (right - left)) * x)


def test_all_of_an_affine_pose_at_once_as_torchvision_does_it():
    distortion = Distortion(size=28, rotation=[25, 25], scale=[0.8, 0.8], shear=[-15, -15], shift=[3, 3])
    pose = distortion.poses(distortion.draw(bounding_boxes(digit()), 1.0, "key"))
    bilinear = tv.InterpolationMode.BILINEAR
    expected = tv.affine(digit() / 255, -25, translate=[3, 3], scale=0.8, shear=[15.0, 0.0], interpolation=bilinear)
    torch.testing.assert_close(distortion(digit(), pose), expected, rtol=0, atol=1e-5)


def test_corners_move_as_drawn_and_the_image_with_them():
    displacements = 10 / 28 * torch.randn(20, 4, 2, generator=generator("corners"))
    corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    kept = kept_convex(displacements)
    maps = Homography(stretched_back(kept))
    torch.testing.assert_close(maps(corners + kept), corners.expand(20, 4, 2), rtol=0, atol=1e-5)
    still = Distortion(size=28, rotation=[0, 0], scale=[1, 1])
    images = still(digit().expand(20, 1, 28, 28), maps)
    for image, moved in zip(images, (corners + kept + 1) * 14, strict=True):
        start = ((corners + 1) * 14).int().tolist()
        expected = tv.perspective(digit()[0] / 255, start, moved.tolist(), tv.InterpolationMode.BILINEAR)
        torch.testing.assert_close(image, expected, rtol=0, atol=2e-3)


def test_a_frame_that_folds_is_moved_less():
    folded = torch.zeros(2, 4, 2)
    folded[0, 0] = 1.5  # the top left corner beyond the diagonal
    kept = kept_convex(folded)
    assert kept[0, 0].tolist() == [0.75, 0.75]
    assert not kept[1].any()


def test_drawn_perspective_and_elastic_bending_are_as_wide_as_told():
    distortion = Distortion(size=28, rotation=[0, 0], scale=[0.5, 0.5], perspective=0.5, elastic=1.5, elastic_points=3)
    drawn = distortion.draw(bounding_boxes(digit()).expand(2000, 4), 1.0, "key")
    assert drawn["perspective"].square().mean().sqrt() == pytest.approx(0.5, rel=0.03)
    assert drawn["elastic"].square().mean().sqrt() == pytest.approx(1.5, rel=0.03)
    poses = distortion.poses(drawn)
    points = torch.tensor([[-1.0, -1], [0, -1], [1, -1], [-1, 0], [0, 0], [1, 0], [-1, 1], [0, 1], [1, 1]])
    expected = 2 * Homography(drawn["homography"])(points + drawn["controls"])
    torch.testing.assert_close(poses(points), expected, rtol=0, atol=1e-4)


def test_a_sheared_digit_anywhere_stays_inside():
    distortion = Distortion(size=42, rotation=[-90, 90], scale=[1, 1], shear=[-20, 20], position="anywhere")
    drawn = distortion.draw(bounding_boxes(digit()).expand(500, 4), 28 / 42, "key")
    images = distortion(digit().expand(500, 1, 28, 28), distortion.poses(drawn))
    torch.testing.assert_close(images.sum(dim=(1, 2, 3)), (digit() / 255.0).sum().expand(500), rtol=0.1, atol=0)


def test_a_log_uniform_scale_halves_and_doubles_equally_often():
    distortion = Distortion(size=112, rotation=[0, 0], scale=[0.5, 4], scale_law="log_uniform")
    scale = distortion.draw(bounding_boxes(digit()).expand(6000, 4), 0.25, "key")["scale"]
    shares = torch.histc(scale.log2(), 3, -1, 2) / 6000
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), rtol=0, atol=0.03)


@pytest.mark.parametrize("size", [10, 12])
def test_clutter_is_whole_crops_of_other_images_pixel_by_pixel(size: int):
    distortion = Distortion(size=size, rotation=[0, 0], scale=[1, 1], clutter=[1, 3], clutter_size=4)
    stored = torch.randint(256, (9, 2, 7, 8), dtype=torch.uint8, generator=generator("stored"))
    rows = torch.tensor([0, 2, 3, 5, 8])
    drawn = distortion.draw_disturbance(9, rows, "key")
    assert set(drawn["clutter"].tolist()) == {1, 2, 3}
    assert set(drawn["clutter_source"].flatten().tolist()) == set(rows.tolist())
    assert not (drawn["clutter_source"] == torch.arange(9)[:, None]).any()
    images = torch.rand(9, 2, size, size, generator=generator("images"))
    expected = images.clone()
    for i in range(9):
        for k in range(int(drawn["clutter"][i])):
            left, top, x, y = (
                int(drawn[name][i, k] * (free + 1))
                for name, free in zip(
                    ("crop_x", "crop_y", "place_x", "place_y"), (4, 3, size - 4, size - 4), strict=True
                )
            )
            crop = stored[drawn["clutter_source"][i, k], :, top : top + 4, left : left + 4] / 255
            under = expected[i, :, y : y + 4, x : x + 4]
            expected[i, :, y : y + 4, x : x + 4] = torch.maximum(under, crop)
    disturbed = distortion.disturb(images, drawn | {"scale": torch.ones(9)}, stored.__getitem__)
    torch.testing.assert_close(disturbed, expected, rtol=0, atol=1e-5)


def test_scaled_clutter_covers_as_much_more():
    distortion = Distortion(
        size=64, rotation=[0, 0], scale=[0.5, 4], clutter=[1, 1], clutter_size=6, clutter_scaled=True
    )
    drawn = distortion.draw_disturbance(3, torch.arange(3), "key") | {"scale": torch.tensor([0.5, 1.0, 4.0])}
    white = torch.full((3, 1, 28, 28), 255, dtype=torch.uint8)
    disturbed = distortion.disturb(torch.zeros(3, 1, 64, 64), drawn, white.__getitem__)
    assert (disturbed > 0).sum(dim=(1, 2, 3)).tolist() == [3**2, 6**2, 24**2]


def test_noise_is_gaussian_and_a_samples_own():
    distortion = Distortion(size=40, rotation=[0, 0], scale=[1, 1], noise=[0.1, 0.1])
    drawn = distortion.draw_disturbance(50, torch.arange(50), "key")
    grey = torch.full((50, 2, 40, 40), 0.5)
    noise = (distortion.disturb(grey, drawn, grey.__getitem__) - 0.5) / 0.1
    assert kstest(noise.flatten().numpy(), "norm").pvalue > 0.001
    between = np.corrcoef(noise.flatten(1).numpy()) - np.eye(50)
    assert np.abs(between).max() < 5 / np.sqrt(3200)
    assert abs((noise[..., 1:] * noise[..., :-1]).mean()) < 0.02
    some = torch.tensor([31, 4])
    few = distortion.disturb(grey[:2], {name: values[some] for name, values in drawn.items()}, grey.__getitem__)
    assert torch.equal((few - 0.5) / 0.1, noise[some])


def test_strong_noise_is_clipped_to_what_pixels_are():
    distortion = Distortion(size=40, rotation=[0, 0], scale=[1, 1], noise=[2, 2])
    grey = torch.full((9, 1, 40, 40), 0.5)
    noisy = distortion.disturb(grey, distortion.draw_disturbance(9, torch.arange(9), "key"), grey.__getitem__)
    assert (noisy.min(), noisy.max()) == (0, 1)
    assert (noisy == 1).float().mean() == pytest.approx(norm.sf(0.25), abs=0.02)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"rotation": [90, -90]}, r"data.distortion.rotation=\[90, -90\]: give \[low, high\]"),
        ({"rotation": [0]}, r"rotation=\[0\]"),
        ({"shift": [float("nan"), 2]}, r"shift=\[nan, 2\]"),
        ({"scale": [0, 1]}, r"scale=\[0, 1\]: .* 0.01 <= low"),
        ({"shear": [0, 90]}, r"shear=\[0, 90\]: .* <= high <= 80"),
        ({"noise": [0, 1e39]}, r"noise=\[0, 1e\+39\]: .* <= high <= 100"),
        ({"clutter_scale": [2, 1]}, r"data.distortion.clutter_scale=\[2, 1\]: "),
    ],
)
def test_bad_ranges_are_refused(choice: dict[str, list[float]], message: str):
    with pytest.raises(StnlabError, match=message):
        Distortion(**{"size": 28, "rotation": [0, 0], "scale": [1, 1], **choice})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rotatoin": [0, 1]}, "data.test_distortion.rotatoin: no such option; did you mean rotation"),
        ({"size": 30}, "data.test_distortion.size: no such option"),
        ({"rotation": "wide"}, "data.test_distortion.rotation=wide: "),
    ],
)
def test_wrong_changes_are_refused(changes: dict[str, object], message: str):
    with pytest.raises(StnlabError, match=message):
        RTS.changed(changes, "data.test_distortion")


@pytest.mark.parametrize("option", ["perspective", "elastic"])
def test_displacements_that_float32_does_not_hold_are_refused_where_they_are_typed(option: str):
    with pytest.raises(StnlabError, match=rf"data.distortion.{option}=1e\+39: should be less than 10000"):
        build({"_target_": "stnlab.data.distortion.Distortion", **STILL, option: 1e39}, "data.distortion")
    widest = Distortion(**{**STILL, option: 9999.0})
    drawn = widest.draw(bounding_boxes(digit()).expand(50, 4), 1.0, "key")
    assert all(values.isfinite().all() for values in drawn.values())


def test_each_crop_may_have_a_magnification_of_its_own():
    """One for each crop and sample, whatever the digit's scale: it says nothing about where or how large that is."""
    distortion = Distortion(
        size=64, rotation=[0, 0], scale=[0.5, 4], clutter=[2, 2], clutter_size=6, clutter_scale=(1 / 3, 3)
    )
    drawn = distortion.draw_disturbance(4000, torch.arange(4000), "key")
    zoom = drawn["clutter_scale"]
    assert kstest(zoom.flatten().numpy(), "uniform", (1 / 3, 8 / 3)).pvalue > 0.001
    assert abs(np.corrcoef(zoom.T.numpy())[0, 1]) < 5 / np.sqrt(4000)
    few = {name: values[:9] for name, values in drawn.items()} | {"scale": torch.linspace(0.5, 4, 9)}
    few |= {"clutter": torch.ones(9)}
    white = torch.full((4000, 1, 28, 28), 255, dtype=torch.uint8)
    disturbed = distortion.disturb(torch.zeros(9, 1, 64, 64), few, white.__getitem__)
    sides = (6 * zoom[:9, 0]).round()
    assert (disturbed > 0).sum(dim=(1, 2, 3)).tolist() == sides.square().tolist()
    assert sides.unique().numel() > 3


def test_clutter_asks_for_no_order_where_one_is_asked_for_and_leaves_the_asking_as_it_is():
    """On a GPU torch refuses `scatter_reduce` then."""

    class Asked(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.name().startswith("aten::scatter_reduce"):
                seen.append(torch.are_deterministic_algorithms_enabled())
            return func(*args, **(kwargs or {}))

    seen: list[bool] = []
    drawn = draw_clutter(3, (2, 4), torch.arange(3), None, "key")
    sources = torch.full((3, 4, 1, 28, 28), 255, dtype=torch.uint8)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with Asked():
            strew(torch.zeros(3, 1, 28, 28), sources, drawn, 6, torch.ones(3, 4), 1.0)
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert seen == [False]

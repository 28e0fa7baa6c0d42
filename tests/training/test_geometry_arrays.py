import math

import numpy as np
import pytest
import torch
from torch import Tensor

from stnlab.data.batch import Batch
from stnlab.geometry.maps import AffineMap, PointMap
from stnlab.geometry.sampling import sample
from stnlab.geometry.transforms import ThinPlate, similarity
from stnlab.models.prediction import Prediction
from stnlab.runs.predictions import LANDMARKS
from stnlab.training.geometry_arrays import geometry_arrays, is_blank, outside_share


def turned(angle: Tensor, scale: float = 1.0, x: float = 0.0) -> AffineMap:
    one = torch.ones_like(angle)
    return AffineMap(similarity(angle, one * scale, one * x, one * 0))


def predicted(warps: tuple[PointMap, ...], sources: tuple[int | None, ...], count: int) -> Prediction:
    image = torch.randn(count, 1, 8, 8)
    return Prediction(torch.zeros(count, 1, 3), warps, (image,) * len(warps), (image,) * len(warps), sources)


def batch(poses: tuple[PointMap, ...] | None, count: int) -> Batch:
    label = torch.zeros(count, 1, dtype=torch.long)
    return Batch(torch.randn(count, 1, 8, 8), label, label[:, 0], poses, {}, "test", count)


def test_residuals_compose_pose_and_the_warps_in_the_order_in_which_they_act():
    pose, first, second = torch.rand(3, 5).unbind(0)
    poses = (turned(pose), turned(-pose, 2.0))
    landmarks = torch.from_numpy(LANDMARKS)

    stacked = predicted((turned(first, 1.5), turned(second, x=0.25)), (None, 0), 5)
    found = geometry_arrays(batch(poses, 5), stacked)["residuals"]
    assert found.shape == (5, 2, 2, 9, 2)
    torch.testing.assert_close(found[:, 0, 0], turned(pose + first, 1.5)(landmarks))
    by_hand = turned(-pose, 2.0)(turned(first, 1.5)(turned(second, x=0.25)(landmarks)))
    torch.testing.assert_close(found[:, 1, 1], by_hand)

    parallel = predicted(stacked.warps, (None, None), 5)
    alone = geometry_arrays(batch(poses, 5), parallel)["residuals"]
    torch.testing.assert_close(alone[:, 1, 0], turned(pose)(turned(second, x=0.25)(landmarks)))


def test_the_residual_says_what_the_view_shows():
    """Sampling twice is sampling once through the residual, for a smooth image."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    image = (torch.exp(-4 * (x**2 + (y - 0.3) ** 2)))[None, None]
    pose, warp = turned(torch.tensor([0.6])), turned(torch.tensor([0.4]), 0.8)
    view = sample(sample(image, pose, (64, 64)), warp, (64, 64))
    torch.testing.assert_close(view, sample(image, pose @ warp, (64, 64)), atol=0.03, rtol=0)


def test_what_is_not_there_is_absent():
    assert geometry_arrays(batch(None, 2), Prediction(torch.zeros(2, 1, 3))) == {}
    assert geometry_arrays(batch((turned(torch.zeros(2)),), 2), Prediction(torch.zeros(2, 1, 3))).keys() == {"poses"}
    unknown = geometry_arrays(batch(None, 2), predicted((turned(torch.zeros(2)),), (None,), 2))
    assert unknown.keys() == {"warps", "outside", "blank"}
    nobody = geometry_arrays(batch((turned(torch.zeros(0)),), 0), predicted((turned(torch.zeros(0)),), (None,), 0))
    assert nobody["residuals"].shape == (0, 1, 1, 9, 2)
    assert nobody["outside"].shape == nobody["blank"].shape == (0, 1)


@pytest.mark.parametrize("size", [(28, 28), (20, 100)])
def test_the_share_outside_is_that_of_the_area(size: tuple[int, int]):
    none = torch.zeros(3)
    for scale, share in ((1.0, 0), (2.0, 0.75), (0.5, 0)):
        found = outside_share(turned(none, scale), size)
        torch.testing.assert_close(found, torch.full((3,), float(share)), atol=0.02, rtol=0)
    torch.testing.assert_close(outside_share(turned(none, x=0.5), size), torch.full((3,), 0.25), atol=0.02, rtol=0)
    # a square turned by 45 degrees leaves four triangles outside
    left = 1 - (2 * math.sqrt(2) - 2)
    found = outside_share(turned(none + math.pi / 4), (32, 32))
    torch.testing.assert_close(found, torch.full((3,), left), atol=0.02, rtol=0)
    moved = ThinPlate(points=2)(torch.tensor([[2.0, 0.0] * 4]))
    assert outside_share(moved, size) == 1
    assert outside_share(AffineMap(torch.full((1, 2, 3), torch.nan)), size) == 1


def test_blank_is_less_than_a_hundredth_of_the_inputs_contrast():
    image = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    per_channel = torch.tensor([1.0, -2.0, 5.0])[:, None, None]
    inputs = torch.cat([image, torch.full((1, 3, 8, 8), -0.4242)])
    views = torch.cat([image[:1], 0.011 * image[1:2] + 3, 0.009 * image[2:3] + 3, (0 * image[3:] + per_channel)])
    views = torch.cat([views, inputs[4:]])
    np.testing.assert_array_equal(is_blank(views, inputs), [False, False, True, True, False])

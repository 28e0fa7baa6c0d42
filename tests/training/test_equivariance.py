import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stnlab.data.dataset import Mnist
from stnlab.data.distortion import Distortion
from stnlab.data.module import ImageData
from stnlab.geometry.sampling import sample
from stnlab.models import placement
from stnlab.models.backbones import Backbone, cnn, fcn
from stnlab.models.conv_net import ConvLayer
from stnlab.models.network import Network
from stnlab.models.placement import Site
from stnlab.training.equivariance import Motion, feature_depths, gap, measure_equivariance

POINTWISE = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
POINTWISE[0].weight.data = torch.tensor([1.0, -1.0])[:, None, None, None]  # alive, whatever the values
LOPSIDED = nn.Conv2d(1, 1, 3, bias=False)
LOPSIDED.weight.data = torch.tensor([[[[0.0, 0, 0], [-1, 0, 1], [0, 0, 0]]]])  # a derivative along x


@pytest.fixture(scope="module")
def data(mnist_root: Path) -> ImageData:
    made = ImageData(str(mnist_root), Mnist(), Distortion(28, [-90, 90], [1, 1]), 100, 100, 300, 0, 0, 64, 100)
    made.setup()
    return made


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 1, 12, 12, generator=torch.Generator().manual_seed(0))


def plain(*stages: nn.Module) -> Network:
    return Network(Backbone(stages, (1, 28, 28), 10), (), (), 1).eval()


def measured(stage: nn.Module, images: Tensor, motion: Motion, stride: float = 1.0) -> Tensor:
    """Gaps of the library's own motion of image and features."""
    with torch.no_grad():
        moved = sample(images[:-1], motion.map(images[:-1]), (12, 12))
        return gap(stage(moved), stage(images), motion, stride)


def ratio(moved: Tensor, features: Tensor) -> list[float]:
    """|F(Tx) - TF(x)| / |F(Tx) - TF(x')| of F(Tx) [N, ...] and TF [N + 1, ...]."""
    far = [torch.linalg.norm((moved - one).flatten(1), dim=1) for one in (features[:-1], features[1:])]
    return (far[0] / far[1]).tolist()


@pytest.mark.parametrize(("degrees", "quarters"), [(90, 1), (-90, -1), (180, 2)])
@pytest.mark.parametrize("stage", [POINTWISE, LOPSIDED])
def test_quarter_turns_are_those_of_torch(stage: nn.Module, degrees: int, quarters: int, images: Tensor):
    with torch.no_grad():
        turned = stage(torch.rot90(images[:-1], quarters, (2, 3)))
        expected = ratio(turned, torch.rot90(stage(images), quarters, (2, 3)))
    found = measured(stage, images, Motion(rotation=degrees))
    assert found.tolist() == pytest.approx(expected, abs=1e-4)
    if stage is POINTWISE:
        assert found.max() < 1e-4
    else:
        assert found.min() > 0.5


@pytest.mark.parametrize("shift", [(4, 0), (-4, 0), (0, 4), (-2, 2)])
def test_convolutions_move_with_whole_pixels_and_pooled_ones_with_whole_strides(shift: tuple[int, int], images: Tensor):
    motion = Motion(shift=shift)
    moved = sample(images, motion.map(images), (12, 12))
    assert torch.allclose(
        moved[:, :, 4:-4, 4:-4], images.roll((shift[1], shift[0]), (2, 3))[:, :, 4:-4, 4:-4], atol=1e-4
    )
    pooled = nn.Sequential(LOPSIDED, nn.ReLU(), nn.MaxPool2d(2))
    assert measured(POINTWISE, images, motion).max() < 1e-4
    assert measured(LOPSIDED, images, motion).max() < 1e-4
    assert measured(pooled, images, motion, stride=2).max() < 1e-4
    assert measured(pooled, images, motion).min() > 0.1, "moved by image pixels instead of its own"


def test_only_what_stays_in_sight_is_compared(images: Tensor):
    motion = Motion(shift=(5, 0))
    with torch.no_grad():
        features = POINTWISE(images[:-1].roll(5, 3))  # wrong where the image came in from the other side
    assert gap(features, POINTWISE(images), motion).max() < 1e-4
    assert gap(features, POINTWISE(images), Motion(shift=(13, 0))).isnan().all()


def test_features_of_another_images_are_a_gap_of_one(images: Tensor):
    features = POINTWISE(images).detach()
    unrelated = torch.rand(features[:-1].shape, generator=torch.Generator().manual_seed(1))
    assert gap(unrelated, features, Motion()).mean() == pytest.approx(1, abs=0.1)


def test_a_network_is_measured_at_each_depth_by_its_own_stride(data: ImageData):
    torch.manual_seed(0)
    network = Network(cnn((1, 28, 28), 10, [8, 8], [9, 7]), (), (), 1).eval()
    depths, gaps = measure_equivariance(network, data, 70)
    assert depths.tolist() == [1, 2]
    assert {kind: values.shape for kind, values in gaps.items()} == dict.fromkeys(
        ("rotation", "scale", "shift"), (2, 70)
    )
    assert gaps["shift"].max() < 1e-4, "strides 2 and 4, and no padding"
    assert gaps["rotation"].mean() > 0.3
    again, fewer = measure_equivariance(network, data, 300)[1], measure_equivariance(network, data, 1)
    assert again["rotation"].shape == (2, 256)
    assert fewer[1] == {}


def test_a_pointwise_network_moves_with_everything_but_for_interpolation(data: ImageData):
    linear = plain(nn.Conv2d(1, 4, 1))
    gaps = measure_equivariance(linear, data, 40)[1]
    for kind in ("rotation", "scale", "shift"):
        assert gaps[kind].max() < 1e-4, "a linear map of a pixel and bilinear sampling commute"


def test_padding_shows_and_a_stage_of_one_size_has_no_stride(data: ImageData):
    padded = plain(ConvLayer(8, 5, padding="same").module(1), ConvLayer(8, 5, padding="same").module(8))
    assert 1e-3 < measure_equivariance(padded, data, 40)[1]["shift"].mean() < 0.5
    for stage in (nn.LayerNorm([1, 28, 28]), nn.AdaptiveAvgPool2d(7)):
        assert measure_equivariance(plain(stage), data, 10)[1].keys() == {"rotation", "scale"}


class Hungry(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] > 28 and x.device.type != "meta":
            raise torch.OutOfMemoryError("for a longer image")
        return super().forward(x)


def test_strides_take_no_memory(data: ImageData):
    assert measure_equivariance(plain(Hungry(1, 2, 3, stride=2)), data, 10)[1].keys() == {"rotation", "scale", "shift"}


def test_dead_features_have_no_gap(data: ImageData):
    dead = nn.Conv2d(1, 4, 3)
    nn.init.zeros_(dead.weight)
    gaps = measure_equivariance(plain(dead), data, 10)[1]
    assert all(np.isnan(values).all() for values in gaps.values())


@pytest.mark.parametrize(
    ("sites", "expected"),
    [
        (placement.none(), [1, 2]),
        (placement.deep(1), [1]),
        (placement.deep(2), [1, 2]),
        (placement.stacked([1, 2]), [1]),
        (placement.at_input(), []),
        (placement.stacked([0, 1]), []),
        (placement.shared(1), []),
    ],
)
def test_depths_that_no_transformer_has_acted_on(sites: tuple[Site, ...], expected: list[int]):
    assert feature_depths(Network(cnn((1, 28, 28), 10, [8, 8], [9, 7]), sites, (), 1)) == expected


def test_features_that_are_no_images_have_no_depth(data: ImageData):
    network = Network(fcn((1, 28, 28), 10, [8]), (), (), 1)
    assert feature_depths(network) == []
    assert measure_equivariance(network, data, 10)[1] == {}


def test_motions_are_those_of_the_data(data: ImageData):
    raw = data.picked("test", data.rows["test"][:4])
    still = data.posed(raw).image
    for choice in ({"rotation": 30.0}, {"scale": 1.4}, {"scale": 0.7}):
        moved = sample(still, Motion(**choice).map(still), (28, 28), data.background)
        torch.testing.assert_close(moved, data.posed(raw, **choice).image, atol=1e-4, rtol=0)
    assert math.isclose(float(still.min()), float(data.background), abs_tol=1e-5)

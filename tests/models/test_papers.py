"""The networks of the papers as their files in `conf/` make them: stages and numbers of parameters."""

from itertools import pairwise

import pytest
from torch import nn

from stnlab.choices import build
from stnlab.compose import compose
from stnlab.models.backbones import Backbone

AFFINE = 6


def from_file(group: str, name: str, shape: tuple[int, ...], outputs: int) -> nn.Module:
    return build(compose("train", [f"{group}={name}"])[group], group, input_shape=shape, outputs=outputs)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("data", "size"), [("mnist_rotated", 28), ("mnist_rts", 42), ("mnist_cluttered", 60)])
@pytest.mark.parametrize(
    ("backbone", "localizer"), [("fcn_400k", None), ("cnn_400k", None), ("st_fcn_400k", "fc"), ("st_cnn_400k", "conv")]
)
def test_each_network_of_jaderbergs_table_1_has_about_400k_parameters(
    backbone: str, localizer: str | None, data: str, size: int
):
    """Its file has widths for each size of image."""
    config, shape = compose("train", [f"backbone={backbone}", f"data={data}"]), (1, size, size)
    total = count(build(config["backbone"], "backbone", input_shape=shape, outputs=10))
    if localizer:
        total += count(from_file("localizer", localizer, shape, AFFINE))
    assert total == pytest.approx(400_000, rel=0.05 if size == 28 else 0.005)


@pytest.mark.parametrize(("size", "side"), [(64, 4), (128, 8)])
def test_svhn_cnn_has_eight_convolutions_and_three_linear_layers(size: int, side: int):
    backbone = from_file("backbone", "svhn_cnn", (3, size, size), 5 * 11)
    assert isinstance(backbone, Backbone)
    filters = [3, 48, 64, 128, 160, 192, 192, 192, 192]
    halves = [size >> times for times in (1, 1, 2, 2, 3, 3, 4, 4)]
    assert backbone.shapes[1:] == [(f, s, s) for f, s in zip(filters[1:], halves, strict=True)] + [(3072,)] * 3
    convolutions = sum((25 * a + 1) * b for a, b in pairwise(filters))
    linear = (192 * side**2 + 1) * 3072 + 2 * 3073 * 3072 + 3073 * 55
    assert count(backbone) == convolutions + linear


def test_the_nets_of_the_placement_study():
    deep = from_file("backbone", "finnveden_deep", (1, 28, 28), 10)
    assert isinstance(deep, Backbone)
    assert deep.shapes == [(1, 28, 28), (16, 26, 26), (16, 12, 12), (32, 10, 10), (32, 4, 4), (100,)]
    convolutions = (9 + 1) * 16 + (144 + 1) * 16 + (144 + 1) * 32 + (288 + 1) * 32
    assert count(deep) == convolutions + 2 * (16 + 16 + 32 + 32) + (512 + 1) * 100 + (100 + 1) * 10
    shallow = from_file("backbone", "finnveden_shallow", (1, 28, 28), 10)
    assert count(shallow) == (81 + 1) * 64 + (64 * 49 + 1) * 64 + (256 + 1) * 10


def test_their_localizer_has_three_convolutions_of_16_channels():
    localizer = from_file("localizer", "finnveden", (1, 28, 28), AFFINE)
    assert count(localizer) == (9 + 1) * 16 + 2 * (144 + 1) * 16 + (16 * 7 * 7 + 1) * AFFINE


def test_the_localizer_of_the_svhn_network():
    localizer = from_file("localizer", "svhn_conv", (3, 64, 64), AFFINE)
    expected = (75 + 1) * 32 + (800 + 1) * 32 + (32 * 32**2 + 1) * 32 + 33 * 32 + 33 * AFFINE
    assert count(localizer) == expected


def test_other_sizes_of_image_have_the_widths_of_28():
    for backbone, key in (("cnn_400k", "channels"), ("st_fcn_400k", "units")):
        first, other = (compose("train", [f"backbone={backbone}", f"data={data}"]) for data in ("mnist", "cifar10"))
        assert first["backbone"][key] == other["backbone"][key]

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stnlab.data.dataset import Mnist
from stnlab.data.distortion import Distortion
from stnlab.data.module import ImageData
from stnlab.evaluation.invariance import OrbitSizes, curves
from stnlab.models.backbones import Backbone, cnn
from stnlab.models.network import Network
from stnlab.runs.evaluation import Evaluation, Examples
from stnlab.training.orbits import cut_off, sweep_orbits


@pytest.fixture(scope="module")
def make(mnist_root: Path) -> Callable[..., ImageData]:
    def data(**changes: Any) -> ImageData:
        distortion = Distortion(size=28, rotation=[-90, 90], scale=[0.7, 1.2], shift=[-3, 3], perspective=1, elastic=1)
        choice: dict[str, Any] = {"train_size": 100, "validation_size": 100, "test_size": 300, "eval_batch_size": 100}
        choice |= {
            "dataset": Mnist(),
            "seed": 0,
            "training_seed": 0,
            "batch_size": 64,
            "distortion": distortion,
        } | changes
        made = ImageData(str(mnist_root), **choice)
        made.setup()
        return made

    return data


class Reads(nn.Module):
    """A head that says what a function of the image says."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.one = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.one * self.function(x)


def network(function: Callable[[Tensor], Tensor]) -> Network:
    backbone = Backbone([nn.Identity()], (1, 28, 28), 1)
    backbone.head = nn.Sequential(Reads(function))
    return Network(backbone, (), (), 1).eval()


def brightness(x: Tensor) -> Tensor:
    mean = x.mean((1, 2, 3))
    return torch.stack([10 * mean, torch.zeros_like(mean)], dim=1)


def heavy_side(x: Tensor) -> Tensor:
    """Top, left, bottom, right: a quarter turn counter-clockwise takes each to the next."""
    return torch.stack([part.mean((1, 2, 3)) for part in (x[:, :, :14], x[..., :14], x[:, :, 14:], x[..., 14:])], 1) * 5


def test_what_depends_on_the_brightness_alone_does_not_turn(make: Callable[..., ImageData]):
    orbit = sweep_orbits(network(brightness), make(), OrbitSizes(200, 4, 3))["rotation"]
    assert orbit.values.tolist() == [-90, 0, 90, 180]
    assert curves(orbit)["agreement"].tolist() == [1, 1, 1, 1]
    assert orbit.variation.max() < 1e-5


def test_what_reads_the_angle_turns_with_it(make: Callable[..., ImageData]):
    orbit = sweep_orbits(network(heavy_side), make(), OrbitSizes(200, 4, 3))["rotation"]
    upright = orbit.predicted[1]
    for number, quarters in enumerate((-1, 0, 1, 2)):
        assert (orbit.predicted[number] == (upright + quarters) % 4).mean() > 0.98  # ties of two sides may turn over
    assert (curves(orbit)["agreement"][[0, 2, 3]] < 0.02).all()


def test_each_value_is_the_stored_image_so_moved(make: Callable[..., ImageData]):
    data = make()
    net = network(heavy_side)
    orbits = sweep_orbits(net, data, OrbitSizes(50, 4, 3))
    digits, digit_labels = Mnist().load(data.root)[1].images, Mnist().load(data.root)[1].labels
    rows = data.rows["test"][torch.from_numpy(orbits["rotation"].indices)].numpy()
    image = (torch.from_numpy(digits[rows]) / 255 - 0.1307) / 0.3081
    black = (0 - 0.1307) / 0.3081
    grown = nn.functional.interpolate(image, scale_factor=2, mode="bilinear")[:, :, 14:42, 14:42]
    shrunk = nn.functional.pad(nn.functional.avg_pool2d(image, 2), (7, 7, 7, 7), value=black)
    expected = {
        "rotation": [torch.rot90(image, quarters, (2, 3)) for quarters in (-1, 0, 1, 2)],
        "scale": [shrunk, image, grown],
    }
    for name, images in expected.items():
        orbit = orbits[name]
        said = [heavy_side(moved).softmax(1).numpy() for moved in images]
        assert orbit.canonical == 1
        np.testing.assert_array_equal(orbit.labels[:, 0], digit_labels[rows])
        np.testing.assert_allclose(orbit.confidence, [one.max(1) for one in said], atol=1e-5)
        distance = [np.abs(one - said[1]).sum(1) / 2 for one in said]
        np.testing.assert_allclose(orbit.variation, distance, atol=1e-5)
        assert (orbit.variation[1] == 0).all()
    assert orbits["rotation"].training == (-90, 90)
    content = image - black
    kept = content[:, :, 7:21, 7:21].sum((1, 2, 3)) / content.sum((1, 2, 3))  # twice as large, the middle remains
    assert orbits["scale"].cut == pytest.approx([0, 0, 1 - kept.mean().item()], abs=1e-5)
    assert orbits["rotation"].cut == pytest.approx([0] * 4)
    assert orbits["scale"].training == (0.7, 1.2)


def test_corners_leave_the_frame_in_a_turn_and_a_larger_canvas_holds_more():
    corner = torch.zeros(2, 1, 20, 20, dtype=torch.uint8)
    corner[0, 0, 1, 1], corner[0, 0, 10, 10], corner[1, 0, 10, 1] = 100, 100, 200
    angles = np.array([-90.0, -45, 0, 30, 45, 180])
    assert cut_off(corner, 20, "rotation", angles)[0].tolist() == [0, 0.5, 0, 0.5, 0.5, 0]
    assert cut_off(corner, 20, "rotation", angles)[1].tolist() == [0] * 6
    assert cut_off(corner, 40, "scale", np.array([1.9, 2.0, 2.5]))[0].tolist() == [0, 0, 0.5]
    assert cut_off(torch.zeros_like(corner), 20, "scale", np.array([2.0])).tolist() == [[0], [0]]


class Photographs(Mnist):
    posed = False


def test_of_photographs_nobody_knows_what_is_cut(make: Callable[..., ImageData]):
    orbit = sweep_orbits(network(brightness), make(dataset=Photographs()), OrbitSizes(10, 2, 3))["scale"]
    assert orbit.cut is None
    kept = Evaluation(Examples(np.arange(0), np.zeros((0, 1, 28, 28))), {"scale": orbit}).to_arrays()
    assert Evaluation.from_arrays(kept).orbits["scale"].cut is None


def test_neither_batches_nor_the_runs_seed_change_it(make: Callable[..., ImageData]):
    torch.manual_seed(0)
    net = Network(cnn((1, 28, 28), 10, [8, 8], [9, 7]), (), (), 1).eval()
    sizes = OrbitSizes(60, 3, 3)
    first = sweep_orbits(net, make(), sizes)
    second = sweep_orbits(net, make(eval_batch_size=7, training_seed=5), sizes)
    for name, orbit in first.items():
        np.testing.assert_array_equal(orbit.indices, second[name].indices)
        np.testing.assert_array_equal(orbit.predicted, second[name].predicted)
        np.testing.assert_allclose(orbit.confidence, second[name].confidence, atol=1e-6)
        np.testing.assert_allclose(orbit.variation, second[name].variation, atol=1e-6)
    other = sweep_orbits(net, make(seed=1), sizes)
    assert other["scale"].indices.tolist() != first["scale"].indices.tolist()


def test_all_images_where_there_are_fewer_and_none_where_none_are_wanted(make: Callable[..., ImageData]):
    net = network(brightness)
    assert sweep_orbits(net, make(), OrbitSizes(1000, 2, 3))["scale"].predicted.shape == (3, 300, 1)
    assert sweep_orbits(net, make(), OrbitSizes(0, 2, 3)) == {}

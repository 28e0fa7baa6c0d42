import inspect
import math
from pathlib import Path

import hypothesis.strategies as st
import kornia
import pytest
import torch
import yaml
from hypothesis import given, settings

from stnlab.choices import build
from stnlab.compose import conf_directory
from stnlab.errors import StnlabError
from stnlab.geometry.maps import AffineMap, Homography, pixel_centres
from stnlab.geometry.thin_plate import ThinPlateMap
from stnlab.geometry.transforms import (
    Affine,
    Attention,
    Identity,
    Projective,
    Rotation,
    RotationScale,
    Scale,
    Similarity,
    ThinPlate,
    Transform,
    Translation,
)

FREE = [
    Translation(),
    Rotation(),
    Scale(),
    RotationScale(),
    Similarity(),
    Attention(),
    Affine(),
    Projective(),
    ThinPlate(points=3),
]
FAMILIES = [Identity(), *FREE]
each_family = pytest.mark.parametrize("transform", FAMILIES, ids=lambda family: type(family).__name__)
each_free_family = pytest.mark.parametrize("transform", FREE, ids=lambda family: type(family).__name__)


def matrix(transform: Transform, theta: list[float], aspect: float = 1.0) -> torch.Tensor:
    """[3, 3] of one theta."""
    warp = transform(torch.tensor([theta], dtype=torch.float64), aspect)
    assert isinstance(warp, AffineMap | Homography)
    return warp.homogeneous()[0]


def centres(height: int, width: int, like: torch.Tensor) -> torch.Tensor:
    return torch.stack(torch.meshgrid(*pixel_centres(height, width, like), indexing="xy"), -1)


@each_family
def test_zero_is_exactly_the_identity(transform: Transform):
    warp = transform(torch.zeros(3, transform.parameters), aspect=1.5)
    assert torch.equal(warp.grid(6, 9), centres(6, 9, torch.zeros(1)).expand(3, 6, 9, 2))
    if not isinstance(warp, ThinPlateMap):
        assert isinstance(warp, AffineMap | Homography)
        assert torch.equal(warp.homogeneous(), torch.eye(3).expand(3, 3, 3))


@each_family
def test_no_sample_makes_no_map(transform: Transform):
    """As a process's share of a batch may be."""
    assert transform(torch.zeros(0, transform.parameters)).grid(4, 5).shape == (0, 4, 5, 2)


def test_numbers_of_parameters():
    assert [family.parameters for family in FAMILIES] == [0, 2, 1, 1, 2, 4, 3, 6, 8, 18]
    assert ThinPlate().parameters == 32


@each_family
def test_grids_are_full_precision_under_autocast(transform: Transform):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        theta = torch.full((2, transform.parameters), 0.1, dtype=torch.bfloat16)
        grid = transform(theta).grid(28, 28)
    assert grid.dtype == torch.float32
    torch.testing.assert_close(grid, transform(theta.float()).grid(28, 28), rtol=0, atol=0)


def test_matrices_of_the_families():
    close = torch.testing.assert_close
    a, s, x, y = 0.3, math.exp(0.2), 0.4, -0.1
    cos, sin = math.cos(a), math.sin(a)
    for transform, theta, expected in (
        (Translation(), [x, y], [[1, 0, x], [0, 1, y]]),
        (Rotation(), [a], [[cos, -sin, 0], [sin, cos, 0]]),
        (Scale(), [0.2], [[s, 0, 0], [0, s, 0]]),
        (RotationScale(), [a, 0.2], [[s * cos, -s * sin, 0], [s * sin, s * cos, 0]]),
        (Similarity(), [a, 0.2, x, y], [[s * cos, -s * sin, x], [s * sin, s * cos, y]]),
        (Attention(), [0.2, x, y], [[s, 0, x], [0, s, y]]),
        (Affine(), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [[1.1, 0.2, 0.3], [0.4, 1.5, 0.6]]),
    ):
        close(matrix(transform, theta), torch.tensor([*expected, [0, 0, 1]], dtype=torch.float64))
    projective = torch.tensor([[1.1, 0.2, 0.3], [0.4, 1.5, 0.6], [0.7, 0.8, 1]], dtype=torch.float64)
    close(matrix(Projective(), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]), projective)


def test_thin_plate_moves_its_control_points_by_theta():
    theta = torch.zeros(1, 18)
    theta[0, 2:4] = torch.tensor([0.25, -0.5])
    moved = ThinPlate(points=3)(theta)(torch.tensor([[0.0, -1.0], [1.0, 1.0]]))
    torch.testing.assert_close(moved[0], torch.tensor([[0.25, -1.5], [1.0, 1.0]]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("transform", [Rotation(), RotationScale(), Similarity()], ids=lambda one: type(one).__name__)
def test_rotations_keep_lengths_in_pixels_on_a_frame_that_is_not_square(transform: Transform):
    theta = [0.7] + [0.0] * (transform.parameters - 1)
    height, width = 20, 50
    to_pixels = torch.diag(torch.tensor([width / 2, height / 2, 1.0], dtype=torch.float64))
    in_pixels = to_pixels @ matrix(transform, theta, aspect=width / height) @ torch.linalg.inv(to_pixels)
    torch.testing.assert_close(in_pixels @ in_pixels.T, torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize(("height", "width"), [(28, 28), (20, 40)])
def test_rotation_scale_is_kornias_inverse_rotation_matrix_in_pixels(height: int, width: int):
    angle, scale = math.radians(30), 1.25
    warp = RotationScale()(torch.tensor([[angle, math.log(scale)]], dtype=torch.float64), aspect=width / height)
    centre = torch.tensor([[width / 2, height / 2]], dtype=torch.float64)
    # kornia's matrix moves source points forward, counter-clockwise as seen, y down; the view shrinks by the scale.
    forward = kornia.geometry.transform.get_rotation_matrix2d(
        centre, torch.tensor([30.0], dtype=torch.float64), torch.full((1, 2), 1 / scale, dtype=torch.float64)
    )
    source = torch.rand(5, 2, dtype=torch.float64) * 2 - 1
    half = torch.tensor([width / 2, height / 2], dtype=torch.float64)
    moved = (source * half + half) @ forward[0, :, :2].T + forward[0, :, 2]
    torch.testing.assert_close(warp((moved - half) / half)[0], source, rtol=0, atol=1e-12)


@each_free_family
def test_gradient_of_the_grid(transform: Transform):
    theta = (torch.randn(2, transform.parameters, dtype=torch.float64) * 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda theta: transform(theta, aspect=0.8).grid(3, 4), theta)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.5, 1.0, 2.0]))
def test_a_map_after_its_inverse_is_the_identity(seed: int, aspect: float):
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(7, 2, dtype=torch.float64, generator=generator) * 2 - 1
    for transform in FREE[:-1]:
        theta = torch.rand(3, transform.parameters, dtype=torch.float64, generator=generator) * 0.6 - 0.3
        warp = transform(theta, aspect)
        assert isinstance(warp, AffineMap | Homography)
        back = warp.inverse()(warp(points))
        torch.testing.assert_close(back, points.expand(3, 7, 2), rtol=0, atol=1e-10)
        torch.testing.assert_close((warp @ warp.inverse()).grid(3, 3)[0], centres(3, 3, points), rtol=0, atol=1e-10)


BOUNDED: list[tuple[type[Transform], dict[str, float], list[float]]] = [
    (Translation, {"max_shift": 0.5}, [0.5, 0.5]),
    (Rotation, {"max_angle": 45}, [math.pi / 4]),
    (Scale, {"max_scale": 2}, [math.log(2)]),
    (RotationScale, {"max_angle": 90, "max_scale": 1.5}, [math.pi / 2, math.log(1.5)]),
    (Similarity, {"max_angle": 20, "max_scale": 3, "max_shift": 0.2}, [math.pi / 9, math.log(3), 0.2, 0.2]),
    (Attention, {"max_scale": 4, "max_shift": 0.3}, [math.log(4), 0.3, 0.3]),
    (Affine, {"max_linear": 0.4, "max_shift": 0.6}, [0.4, 0.4, 0.6, 0.4, 0.4, 0.6]),
    (
        Projective,
        {"max_linear": 0.4, "max_shift": 0.6, "max_perspective": 0.2},
        [0.4, 0.4, 0.6, 0.4, 0.4, 0.6, 0.2, 0.2],
    ),
    (ThinPlate, {"points": 2, "max_shift": 0.1}, [0.1] * 8),
]


@pytest.mark.parametrize(("family", "options", "bounds"), BOUNDED, ids=lambda one: getattr(one, "__name__", None))
def test_bounds_hold_are_smooth_and_change_nothing_near_zero(
    family: type[Transform], options: dict[str, float], bounds: list[float]
):
    assert {"lr_multiplier", *options} == set(inspect.signature(family).parameters)
    bounded, free = family(**options), family(**{name: 2 for name in options if name == "points"})
    most = torch.tensor(bounds, dtype=torch.float64)
    for sign in (-1, 1):
        extreme = torch.full((1, len(bounds)), sign * 1e3, dtype=torch.float64)
        torch.testing.assert_close(bounded(extreme).grid(4, 4), free(sign * most[None]).grid(4, 4))
    zero = torch.zeros(1, len(bounds), dtype=torch.float64)
    assert torch.equal(bounded(zero).grid(4, 4), free(zero).grid(4, 4))
    slopes = [torch.autograd.functional.jacobian(lambda theta, t=t: t(theta).grid(4, 4), zero) for t in (bounded, free)]
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-12)
    outside = 1.5 * most[None]
    still = torch.autograd.functional.jacobian(lambda theta: bounded(theta).grid(4, 4), outside)
    assert still.abs().amax(dim=(0, 1, 2, 3, 4)).min() > 0.01
    assert torch.autograd.gradcheck(lambda theta: bounded(theta).grid(3, 4), outside.requires_grad_())


@pytest.mark.parametrize("file", sorted((conf_directory() / "transform").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_option_of_a_family_stands_in_its_file(file: Path):
    node = yaml.safe_load(file.read_text())
    transform = build(node, "transform")
    options = set() if isinstance(transform, Identity) else set(inspect.signature(type(transform)).parameters)
    assert set(node) == {"_target_"} | options
    assert type(transform) in {type(family) for family in FAMILIES}


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("Rotation", "max_angle", 0),
        ("Rotation", "lr_multiplier", -1),
        ("Scale", "max_scale", 1),
        ("Translation", "max_shift", "far"),
        ("ThinPlate", "points", 1),
        ("ThinPlate", "points", 17),
    ],
)
def test_wrong_options_get_one_line(name: str, option: str, value: object):
    with pytest.raises(StnlabError, match=rf"^transform.{option}={value}: [^\n]+$"):
        build({"_target_": f"stnlab.geometry.transforms.{name}", option: value}, "transform")

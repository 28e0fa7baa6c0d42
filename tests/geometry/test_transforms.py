import math

import kornia
import pytest
import torch

from stnlab.geometry.maps import AffineMap
from stnlab.geometry.transforms import Affine, Identity, RotationScale, Transform

FAMILIES = [Identity(), Affine(), RotationScale()]


@pytest.mark.parametrize("transform", FAMILIES, ids=lambda family: type(family).__name__)
def test_zero_is_exactly_the_identity(transform: Transform):
    warp = transform(torch.zeros(3, transform.parameters), aspect=1.5)
    assert isinstance(warp, AffineMap)
    assert torch.equal(warp.matrix, torch.eye(2, 3).expand(3, 2, 3))


@pytest.mark.parametrize("transform", FAMILIES, ids=lambda family: type(family).__name__)
def test_grids_are_full_precision_under_autocast(transform: Transform):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        theta = torch.full((2, transform.parameters), 0.1, dtype=torch.bfloat16)
        grid = transform(theta).grid(28, 28)
    assert grid.dtype == torch.float32
    torch.testing.assert_close(grid, transform(theta.float()).grid(28, 28), rtol=0, atol=0)


def test_affine_is_the_matrix_minus_the_identity():
    theta = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]])
    warp = Affine()(theta)
    assert isinstance(warp, AffineMap)
    torch.testing.assert_close(warp.matrix[0], torch.tensor([[1.1, 0.2, 0.3], [0.4, 1.5, 0.6]]))


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


@pytest.mark.parametrize("transform", [Affine(), RotationScale()], ids=lambda family: type(family).__name__)
def test_gradient_of_the_grid(transform: Transform):
    theta = (torch.randn(2, transform.parameters, dtype=torch.float64) * 0.3).requires_grad_()
    assert torch.autograd.gradcheck(lambda theta: transform(theta, aspect=0.8).grid(3, 4), theta)

import hypothesis.strategies as st
import kornia
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.nn import functional as F

from stnlab.geometry.maps import (
    AffineMap,
    Composition,
    Homography,
    PointMap,
    _at_pixels_by_product,
    _at_pixels_by_sums,
    pixel_centres,
)


def random_maps(count: int, seed: int) -> AffineMap:
    noise = torch.randn(count, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return AffineMap(torch.eye(2, 3, dtype=torch.float64) + 0.3 * noise)


def random_homographies(count: int, seed: int) -> Homography:
    """Homographies with all of the frame, and all of what another one makes of it, in front."""
    noise = torch.rand(count, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return Homography(torch.eye(3, dtype=torch.float64) + 0.15 * noise)


def test_pixel_centres_are_those_of_align_corners_false():
    x, y = pixel_centres(2, 4, torch.zeros(1))
    assert x.tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert y.tolist() == [-0.5, 0.5]


def test_grid_equals_torch_affine_grid():
    maps = random_maps(5, seed=0)
    expected = F.affine_grid(maps.matrix, [5, 1, 7, 11], align_corners=False)
    torch.testing.assert_close(maps.grid(7, 11), expected, rtol=0, atol=1e-14)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_composition_acts_on_points_like_one_map_after_the_other(seed: int):
    outer, inner = random_maps(3, seed), random_maps(3, seed + 1)
    points = torch.rand(6, 2, dtype=torch.float64) * 2 - 1
    one_by_one = outer(inner(points))
    torch.testing.assert_close((outer @ inner)(points), one_by_one)
    torch.testing.assert_close(Composition(outer, inner)(points), one_by_one)
    torch.testing.assert_close(Composition(outer, inner).grid(4, 5), (outer @ inner).grid(4, 5))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_a_map_after_its_inverse_is_the_identity(seed: int):
    maps = random_maps(3, seed)
    if maps.matrix[:, :, :2].det().abs().min() < 0.05:
        return
    identity = (maps @ maps.inverse()).matrix
    torch.testing.assert_close(identity, torch.eye(2, 3, dtype=torch.float64).expand(3, 2, 3), rtol=0, atol=1e-11)


def test_select_takes_the_maps_of_some_samples():
    maps, rows = random_maps(4, seed=1), torch.tensor([2, 0])
    points = torch.rand(3, 2, dtype=torch.float64)
    torch.testing.assert_close(maps.select(rows)(points), maps(points)[rows])
    both = Composition(maps, maps)
    torch.testing.assert_close(both.select(rows)(points), both(points)[rows])


def test_homography_equals_kornias_transformed_points():
    maps = random_homographies(4, seed=2)
    x, y = pixel_centres(5, 6, maps.matrix)
    centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(1, -1, 2).expand(4, -1, 2)
    expected = kornia.geometry.linalg.transform_points(maps.matrix, centres)
    torch.testing.assert_close(maps(centres), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(maps(centres[0]), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(maps.grid(5, 6), expected.reshape(4, 5, 6, 2), rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_homographies_compose_with_each_other_and_with_affine_maps_into_one_matrix(seed: int):
    one, two = random_homographies(3, seed), random_homographies(3, seed + 1)
    affine = AffineMap(random_homographies(3, seed + 2).matrix[:, :2])
    points = torch.rand(6, 2, dtype=torch.float64) * 2 - 1
    pairs: list[tuple[PointMap, PointMap]] = [(one, two), (one, affine), (affine, one)]
    for outer, inner in pairs:
        composed = outer @ inner
        assert isinstance(composed, Homography)
        torch.testing.assert_close(composed(points), outer(inner(points)))
    back = (one.inverse() @ one)(points)
    torch.testing.assert_close(back, points.expand(3, 6, 2), rtol=0, atol=1e-12)
    torch.testing.assert_close(one(one.inverse()(points)), points.expand(3, 6, 2), rtol=0, atol=1e-12)
    torch.testing.assert_close(one.select(torch.tensor([1]))(points), one(points)[1:2])


def test_what_lies_behind_the_horizon_is_far_outside_and_has_no_gradient():
    matrix = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [2, 0, 1]]], requires_grad=True)  # the horizon is x = -0.5
    points = torch.tensor([[-0.5, 0.2], [-0.9, -0.2], [-0.9, 0.0]])
    far = Homography(matrix)(points)
    assert far[0].tolist() == [[-1e4, 1e4], [-1e4, -1e4], [-1e4, 1e4]]
    far.sum().backward()
    assert matrix.grad is not None
    assert matrix.grad.eq(0).all()
    seen = Homography(matrix)(torch.tensor([[-0.25, 0.2]]))
    torch.testing.assert_close(seen[0], torch.tensor([[-0.5, 0.4]]))


@pytest.mark.parametrize("make", [random_maps, random_homographies])
def test_points_products_and_inverses_are_full_precision_under_autocast(make):
    outer, inner = make(3, 0), make(3, 1)
    outer.matrix, inner.matrix = outer.matrix.float(), inner.matrix.float()
    points = torch.rand(5, 2)
    expected = (outer @ inner)(points), outer.inverse()(points)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        composed, back = (outer @ inner)(points), outer.inverse()(points)
    torch.testing.assert_close((composed, back), expected, rtol=0, atol=0)


def test_a_grid_has_the_same_values_and_gradients_whether_or_not_a_horizon_is_seen():
    matrix = random_homographies(3, seed=4).matrix.requires_grad_()
    behind = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [2, 0, 1]]], dtype=torch.float64)
    upstream = torch.rand(3, 5, 6, 2, dtype=torch.float64)
    alone, among = Homography(matrix).grid(5, 6), Homography(torch.cat([matrix, behind])).grid(5, 6)[:3]
    torch.testing.assert_close(alone, among, rtol=0, atol=1e-14)
    gradients = [torch.autograd.grad(grid, matrix, upstream)[0] for grid in (alone, among)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, 2])
def test_the_grid_of_one_matrix_product_equals_that_of_outer_sums(rows: int, dtype: torch.dtype):
    matrix = torch.randn(5, rows, 3, dtype=dtype, requires_grad=True)
    upstream = torch.rand(5, 7, 11, rows, dtype=dtype)
    grids = _at_pixels_by_product(matrix, 7, 11), _at_pixels_by_sums(matrix, 7, 11)
    gradients = [torch.autograd.grad(grid, matrix, upstream)[0] for grid in grids]
    torch.testing.assert_close(*grids, rtol=0, atol=8 * torch.finfo(dtype).eps)
    torch.testing.assert_close(*gradients, rtol=0, atol=200 * torch.finfo(dtype).eps)


def test_what_is_kept_for_a_grid_from_an_inference_serves_training():
    matrix = torch.randn(2, 2, 3, requires_grad=True)
    with torch.inference_mode():
        AffineMap(matrix).grid(3, 17)
    AffineMap(matrix).grid(3, 17).sum().backward()
    assert matrix.grad is not None


@pytest.mark.parametrize("make", [random_maps, random_homographies])
def test_grids_are_full_precision_whatever_matrix_products_are_allowed_to_be(make):
    maps = make(3, 0)
    maps.matrix = maps.matrix.float()
    expected = maps.grid(9, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(maps.grid(9, 12), expected, rtol=0, atol=0)
    torch.set_float32_matmul_precision("medium")
    try:
        torch.testing.assert_close(maps.grid(9, 12), expected, rtol=0, atol=1e-6)
    finally:
        torch.set_float32_matmul_precision("highest")


def test_grids_can_be_differentiated_in_every_way():
    matrix = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)

    def grid(matrix: Tensor) -> Tensor:
        return AffineMap(matrix).grid(4, 5)

    assert torch.autograd.gradcheck(grid, (matrix,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda matrix: grid(matrix).square(), (matrix,))
    each = torch.func.vmap(lambda one: grid(one[None])[0])(matrix)
    assert each.equal(grid(matrix))
    with torch.autocast("cpu", torch.bfloat16):
        total = grid(matrix).sum()
    assert torch.autograd.grad(total, matrix)[0].equal(torch.autograd.grad(grid(matrix).sum(), matrix)[0])

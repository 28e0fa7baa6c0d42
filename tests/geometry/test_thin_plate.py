import pytest
import torch
from kornia.geometry.transform import get_tps_transform, warp_image_tps, warp_points_tps
from scipy.interpolate import RBFInterpolator

from stnlab.geometry.maps import AffineMap, Composition
from stnlab.geometry.sampling import sample
from stnlab.geometry.thin_plate import Plate, ThinPlateMap

PLATE = Plate(4)


def random_map(count: int, dtype: torch.dtype = torch.float64, size: float = 0.2) -> ThinPlateMap:
    generator = torch.Generator().manual_seed(0)
    return ThinPlateMap(size * torch.randn(count, 16, 2, dtype=dtype, generator=generator), PLATE)


def some_points(count: int = 30) -> torch.Tensor:
    return torch.rand(count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2.4 - 1.2


def test_control_points_are_a_grid_in_reading_order_and_move_as_told():
    assert PLATE.controls[[0, 1, 4, 15]].tolist() == [[-1, -1], [-1 + 2 / 3, -1], [-1, -1 + 2 / 3], [1, 1]]
    maps = random_map(3)
    torch.testing.assert_close(maps(PLATE.controls), PLATE.controls + maps.displacements, rtol=0, atol=1e-13)


@pytest.mark.parametrize("points", [2, 3, 5])
def test_equals_scipys_thin_plate_spline(points: int):
    plate = Plate(points)
    displacements = 0.2 * torch.randn(1, points**2, 2, dtype=torch.float64)
    spline = RBFInterpolator(plate.controls, plate.controls + displacements[0], kernel="thin_plate_spline", degree=1)
    expected = torch.from_numpy(spline(some_points().numpy()))
    torch.testing.assert_close(ThinPlateMap(displacements, plate)(some_points())[0], expected, rtol=0, atol=1e-11)


def test_equals_kornias_evaluation_of_the_same_weights():
    maps = random_map(2)
    weights = PLATE.solution @ maps.displacements
    kernel, affine = weights[:, :16], weights[:, 16:] + torch.eye(3, 2, dtype=torch.float64).roll(1, 0)
    centres = PLATE.controls.expand(2, -1, -1)
    expected = warp_points_tps(some_points().expand(2, -1, -1), centres, kernel, affine)
    torch.testing.assert_close(maps(some_points()), expected, rtol=0, atol=1e-12)
    images = torch.rand(2, 1, 20, 20, dtype=torch.float64)
    warped = warp_image_tps(images, centres, kernel, affine, align_corners=False)
    torch.testing.assert_close(sample(images, maps, (20, 20)), warped, rtol=0, atol=1e-9)


def test_equals_kornias_spline_for_small_displacements():
    # Its kernels sit at the displaced points, Bookstein's at the others: the two agree to first order.
    maps = random_map(2, size=1e-5)
    source, target = PLATE.controls.expand(2, -1, -1), PLATE.controls + maps.displacements
    kernel, affine = get_tps_transform(source, target)
    expected = warp_points_tps(some_points().expand(2, -1, -1), target, kernel, affine)
    torch.testing.assert_close(maps(some_points()), expected, rtol=0, atol=1e-8)
    assert (maps(some_points()) - some_points()).abs().max() > 1e-5


def test_grid_is_the_map_of_the_pixel_centres_in_single_precision_too():
    for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 3e-6)):
        maps = random_map(3, dtype)
        identity = AffineMap.identity(3, maps.displacements)
        torch.testing.assert_close(maps.grid(5, 7), (maps @ identity).grid(5, 7), rtol=0, atol=tolerance)
        exact = ThinPlateMap(maps.displacements.double(), PLATE).grid(5, 7)
        torch.testing.assert_close(maps.grid(5, 7).double(), exact, rtol=0, atol=tolerance)


def test_composes_with_maps_on_either_side():
    plate, affine = random_map(2), AffineMap(0.8 * AffineMap.identity(2, PLATE.controls).matrix)
    points = some_points()
    for outer, inner in ((plate, affine), (affine, plate), (plate, plate)):
        both = outer @ inner
        assert isinstance(both, Composition)
        torch.testing.assert_close(both(points), outer(inner(points)), rtol=0, atol=0)
        torch.testing.assert_close(both.grid(4, 6), outer(inner.grid(4, 6).flatten(1, 2)).reshape(2, 4, 6, 2))
    torch.testing.assert_close(plate.select(torch.tensor([1]))(points), plate(points)[1:])


def test_gradients_in_displacements_and_points_at_control_points_too():
    displacements = random_map(2).displacements.requires_grad_()
    points = some_points(4).requires_grad_()
    assert torch.autograd.gradcheck(lambda d, p: ThinPlateMap(d, PLATE)(p), (displacements, points))
    at_controls = PLATE.controls.clone().requires_grad_()
    ThinPlateMap(displacements, PLATE)(at_controls).sum().backward()
    assert at_controls.grad is not None
    assert at_controls.grad.isfinite().all()


def test_what_is_kept_from_an_inference_serves_training():
    plate = Plate(3)
    theta = torch.zeros(1, 9, 2, requires_grad=True)
    with torch.inference_mode():
        ThinPlateMap(theta, plate).grid(4, 4)
        ThinPlateMap(theta, plate)(torch.zeros(1, 2))
    points = torch.zeros(1, 2, requires_grad=True)
    (ThinPlateMap(theta, plate).grid(4, 4).sum() + ThinPlateMap(theta, plate)(points).sum()).backward()
    assert theta.grad is not None
    first, again = (plate.grid_basis(4, 4, theta.dtype, theta.device) for _ in range(2))
    assert first is again


def test_points_and_grid_are_full_precision_under_autocast():
    maps = random_map(2, torch.float32)
    points = some_points().float()
    expected = maps(points), maps.grid(6, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = maps(points), maps.grid(6, 6)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)

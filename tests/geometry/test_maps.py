import hypothesis.strategies as st
import torch
from hypothesis import given, settings
from torch.nn import functional as F

from stnlab.geometry.maps import AffineMap, Composition, pixel_centres


def random_maps(count: int, seed: int) -> AffineMap:
    noise = torch.randn(count, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return AffineMap(torch.eye(2, 3, dtype=torch.float64) + 0.3 * noise)


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

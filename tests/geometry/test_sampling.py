import kornia
import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch.nn import functional as F
from torchvision.transforms import functional as tv

from stnlab.choices import build
from stnlab.errors import StnlabError
from stnlab.geometry.maps import AffineMap, Homography, PointMap, pixel_centres
from stnlab.geometry.sampling import Sampler, halvings, sample
from stnlab.geometry.transforms import Affine, Attention, Projective, Rotation, RotationScale, Scale, ThinPlate

BILINEAR, BICUBIC, ANTIALIASED = Sampler(), Sampler(mode="bicubic"), Sampler(antialias=True)


def smooth(height: int, width: int) -> torch.Tensor:
    """[1, 1, height, width] float64: two blobs that fade well before the edges."""
    x, y = pixel_centres(height, width, torch.zeros(1, dtype=torch.float64))
    blobs = [((x - a) ** 2 + (y[:, None] - b) ** 2).mul(-30).exp() for a, b in ((0.2, -0.1), (-0.25, 0.2))]
    return (blobs[0] - 0.5 * blobs[1])[None, None]


def rings(size: int) -> torch.Tensor:
    """[1, 1, size, size]: rings that get finer outwards, up to two pixels each at the edges: aliasing to be seen."""
    x, y = pixel_centres(size, size, torch.zeros(1, dtype=torch.float64))
    return (0.5 + 0.5 * (torch.pi * size / 4 * (x**2 + y[:, None] ** 2)).cos())[None, None]


def error(found: torch.Tensor, true: torch.Tensor) -> float:
    return (found - true).square().mean().sqrt().item()


def test_identity_returns_the_image_up_to_float_rounding():
    images = torch.rand(2, 3, 28, 42)
    for sampler in (BILINEAR, BICUBIC, ANTIALIASED, Sampler(mode="nearest")):
        views = sampler(images, AffineMap.identity(2, images), (28, 42))
        torch.testing.assert_close(views, images, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "warp", [Affine()(0.2 * torch.randn(4, 6).double()), Projective()(torch.rand(4, 8).double() / 5)]
)
def test_equals_kornias_warps(warp: AffineMap | Homography):
    images = torch.rand(4, 2, 20, 20, dtype=torch.float64)
    expected = kornia.geometry.transform.homography_warp(images, warp.homogeneous(), (20, 20), align_corners=False)
    torch.testing.assert_close(sample(images, warp, (20, 20)), expected, rtol=0, atol=1e-9)
    # Normalised output-to-source to kornia's source-to-output in pixels, whose centres are at integers.
    to_unit = torch.tensor([[0.1, 0, -0.95], [0, 0.1, -0.95], [0, 0, 1]], dtype=torch.float64)
    forward = torch.linalg.inv(torch.linalg.inv(to_unit) @ warp.homogeneous() @ to_unit)
    expected = kornia.geometry.transform.warp_perspective(images, forward, (20, 20), align_corners=False)
    torch.testing.assert_close(sample(images, warp, (20, 20)), expected, rtol=0, atol=1e-9)


def test_positive_angle_turns_counter_clockwise_like_torchvision():
    image = torch.zeros(1, 1, 29, 29)
    image[:, :, 2:27, 14] = 1
    image[:, :, 2, 14:20] = 1
    expected = tv.rotate(image, 30, interpolation=tv.InterpolationMode.BILINEAR)
    turned = sample(image, RotationScale()(torch.tensor([[torch.pi / 6, 0.0]])), (29, 29))
    torch.testing.assert_close(turned, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("padding", "scipys"), [("zeros", "grid-constant"), ("border", "nearest"), ("reflection", "reflect")]
)
@pytest.mark.parametrize(("mode", "order"), [("bilinear", 1), ("nearest", 0)])
def test_modes_and_paddings_equal_scipys_map_coordinates(padding, scipys, mode, order):
    image = torch.rand(1, 1, 9, 12, dtype=torch.float64)
    warp = Affine()(torch.tensor([[0.9, 0.2, 0.3, -0.4, 0.7, -0.2]], dtype=torch.float64))
    view = Sampler(mode=mode, padding=padding)(image, warp, (7, 10), torch.tensor([0.25], dtype=torch.float64))
    x, y = ((warp.grid(7, 10)[0].numpy() + 1) * np.array([12, 9]) / 2 - 0.5).transpose(2, 0, 1)
    expected = map_coordinates(image[0, 0].numpy(), [y, x], order=order, mode=scipys, cval=0.25)
    np.testing.assert_allclose(view[0, 0].numpy(), expected, rtol=0, atol=1e-12)


def test_bicubic_equals_torchs_upsampling_and_is_sharper_than_bilinear():
    image = torch.rand(1, 2, 8, 6, dtype=torch.float64)
    view = Sampler(mode="bicubic", padding="border")(image, AffineMap.identity(1, image), (24, 30))
    expected = F.interpolate(image, (24, 30), mode="bicubic", align_corners=False)
    torch.testing.assert_close(view, expected, rtol=0, atol=1e-12)
    there = Rotation()(torch.tensor([[0.3]], dtype=torch.float64))
    image = smooth(24, 24)
    errors = [
        error(sampler(sampler(image, there, (24, 24)), there.inverse(), (24, 24)), image)
        for sampler in (BICUBIC, BILINEAR)
    ]
    assert errors[0] < errors[1] / 2


@pytest.mark.parametrize("sampler", [BILINEAR, BICUBIC, ANTIALIASED, Sampler(mode="nearest")])
def test_outside_is_background(sampler: Sampler):
    images = torch.full((1, 2, 8, 8), 5.0)
    away = AffineMap(torch.tensor([[[1.0, 0, 9], [0, 1, 9]]]))
    background = torch.tensor([-0.5, 2.0])
    views = sampler(images, away, (8, 8), background)
    torch.testing.assert_close(views, background[:, None, None].expand(1, 2, 8, 8))
    assert sampler(images, away, (8, 8)).eq(0).all()
    behind = Projective()(torch.tensor([[0.0, 0, 0, 0, 0, 0, 3, 0]]))
    assert sampler(images, behind, (8, 8))[..., :2].eq(0).all()


def test_an_attention_window_reads_a_crop_at_its_own_size():
    images = torch.rand(2, 1, 60, 60)
    window = Attention()(torch.tensor([[-0.6931472, -0.5, 0.5]] * 2))
    torch.testing.assert_close(sample(images, window, (30, 30)), images[:, :, 30:, :30], rtol=0, atol=1e-5)
    assert sample(images, AffineMap.identity(2, images), (30, 45)).shape == (2, 1, 30, 45)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (RotationScale()(torch.tensor([[0.4, -0.1]]).double()), Projective()(torch.full((1, 8), 0.05).double())),
        (Projective()(torch.full((1, 8), 0.05).double()), ThinPlate()(torch.linspace(-0.1, 0.1, 32).double()[None])),
    ],
)
def test_a_composition_equals_sequential_warping_up_to_resampling(outer: PointMap, inner: PointMap):
    errors = []
    for size in ((64, 64), (128, 128)):
        image = smooth(*size)
        once, twice = sample(image, outer @ inner, size), sample(sample(image, outer, size), inner, size)
        errors.append((once - twice).abs().max())
        assert (once - image).abs().max() > 0.1
    # Bilinear reading errs with the square of the pixel, a wrong map would with no power of it.
    assert errors[1] < errors[0] / 3
    assert errors[1] < 5e-3


@pytest.mark.parametrize("size", [32, 24, 16, 9])
def test_antialiasing_gives_the_area_average_where_plain_sampling_aliases(size: int):
    image = rings(64)
    shrunk = F.interpolate(image, (size, size), mode="bilinear", antialias=True, align_corners=False)
    whole = AffineMap.identity(1, image)
    plain, antialiased = (error(sampler(image, whole, (size, size)), shrunk) for sampler in (BILINEAR, ANTIALIASED))
    assert antialiased < plain / 3


def test_antialiasing_follows_the_local_scale_whatever_made_it():
    # The ground truth reads each pixel at 16 x 16 places: what is left is blur, and no alias.
    image = rings(64)
    strong = Projective()(torch.tensor([[1.5, 0, 0, 0, 1.5, 0, 0.5, 0.3]]).double())
    for warp in (strong, Scale()(torch.tensor([[1.2]]).double())):
        true = F.avg_pool2d(sample(image, warp, (32 * 16, 32 * 16)), 16)
        plain, antialiased = (error(sampler(image, warp, (32, 32)), true) for sampler in (BILINEAR, ANTIALIASED))
        assert antialiased < plain / 2


def test_halvings_are_the_logarithm_of_the_longer_span():
    image = torch.zeros(1, 1, 24, 48, dtype=torch.float64)
    matrix = torch.tensor([[[1.0, 0, 0], [0, 3, 0]]], dtype=torch.float64)
    found = halvings(AffineMap(matrix), image, (1, 12))
    torch.testing.assert_close(found, torch.full((1, 1, 12), 72.0, dtype=torch.float64).log2())
    assert halvings(AffineMap(matrix / 4), image, (24, 48)).eq(0).all()


@pytest.mark.parametrize("sampler", [BILINEAR, BICUBIC, ANTIALIASED, Sampler("bicubic", "reflection", True)])
def test_gradients_in_image_and_theta(sampler: Sampler):
    images = torch.rand(1, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    theta = torch.tensor([[0.31, 0.27]], dtype=torch.float64, requires_grad=True)
    background = torch.tensor([0.3, -0.2], dtype=torch.float64)

    def view(images: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        return sampler(images, RotationScale()(theta), (4, 4), background)

    assert torch.autograd.gradcheck(view, (images, theta))


def test_nearest_has_no_gradient_in_theta_and_cannot_be_antialiased():
    theta = torch.tensor([[0.31]], requires_grad=True)
    Sampler(mode="nearest")(torch.rand(1, 1, 6, 6), Rotation()(theta), (6, 6)).sum().backward()
    assert theta.grad is not None
    assert theta.grad.eq(0).all()
    with pytest.raises(StnlabError, match="choose bilinear or bicubic"):
        Sampler(mode="nearest", antialias=True)


@pytest.mark.parametrize("sampler", [BILINEAR, BICUBIC, ANTIALIASED])
def test_half_precision_images_are_sampled_in_full_precision(sampler: Sampler):
    images = torch.rand(1, 1, 28, 28)
    warp = RotationScale()(torch.tensor([[0.5, 0.1]]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        views = sampler(images.bfloat16(), warp, (28, 28))
    assert views.dtype == torch.bfloat16
    torch.testing.assert_close(views, sampler(images.bfloat16().float(), warp, (28, 28)).bfloat16())


def test_a_sampler_is_built_from_options_and_wrong_ones_get_one_line():
    node = {"_target_": "stnlab.geometry.sampling.Sampler"}
    assert build(node | {"mode": "bicubic", "antialias": True}, "sampler") == Sampler("bicubic", "zeros", True)
    with pytest.raises(StnlabError, match=r"^sampler.mode=cubic: [^\n]*'bilinear', 'nearest' or 'bicubic'$"):
        build(node | {"mode": "cubic"}, "sampler")

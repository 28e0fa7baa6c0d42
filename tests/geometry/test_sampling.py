import kornia
import torch
from torchvision.transforms import functional as tv

from stnlab.geometry.maps import AffineMap
from stnlab.geometry.sampling import sample
from stnlab.geometry.transforms import Affine, RotationScale


def test_identity_returns_the_image_up_to_float_rounding():
    images = torch.rand(2, 3, 28, 42)
    views = sample(images, AffineMap.identity(2, images), (28, 42))
    torch.testing.assert_close(views, images, rtol=0, atol=1e-5)


def test_equals_kornias_affine_warp():
    images, theta = torch.rand(4, 2, 20, 20, dtype=torch.float64), 0.2 * torch.randn(4, 6, dtype=torch.float64)
    warp = Affine()(theta)
    assert isinstance(warp, AffineMap)
    # Normalised output-to-source to kornia's source-to-output in pixels, whose centres are at integers.
    to_unit = torch.tensor([[0.1, 0, -0.95], [0, 0.1, -0.95], [0, 0, 1]], dtype=torch.float64)
    full = torch.cat([warp.matrix, torch.tensor([[[0.0, 0, 1]]], dtype=torch.float64).expand(4, 1, 3)], 1)
    forward = torch.linalg.inv(torch.linalg.inv(to_unit) @ full @ to_unit)[:, :2]
    expected = kornia.geometry.transform.warp_affine(images, forward, (20, 20), align_corners=False)
    torch.testing.assert_close(sample(images, warp, (20, 20)), expected, rtol=0, atol=1e-9)


def test_positive_angle_turns_counter_clockwise_like_torchvision():
    image = torch.zeros(1, 1, 29, 29)
    image[:, :, 2:27, 14] = 1
    image[:, :, 2, 14:20] = 1
    expected = tv.rotate(image, 30, interpolation=tv.InterpolationMode.BILINEAR)
    turned = sample(image, RotationScale()(torch.tensor([[torch.pi / 6, 0.0]])), (29, 29))
    torch.testing.assert_close(turned, expected, rtol=0, atol=1e-5)


def test_outside_is_background():
    images = torch.full((1, 2, 8, 8), 5.0)
    away = AffineMap(torch.tensor([[[1.0, 0, 9], [0, 1, 9]]]))
    background = torch.tensor([-0.5, 2.0])
    views = sample(images, away, (8, 8), background)
    torch.testing.assert_close(views, background[:, None, None].expand(1, 2, 8, 8))
    assert sample(images, away, (8, 8)).eq(0).all()


def test_gradients_in_image_and_theta():
    images = torch.rand(1, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    theta = torch.tensor([[0.31, -0.17]], dtype=torch.float64, requires_grad=True)
    background = torch.tensor([0.3, -0.2], dtype=torch.float64)

    def view(images: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        return sample(images, RotationScale()(theta), (4, 4), background)

    assert torch.autograd.gradcheck(view, (images, theta))


def test_half_precision_images_are_sampled_in_full_precision():
    images = torch.rand(1, 1, 28, 28)
    warp = RotationScale()(torch.tensor([[0.5, 0.1]]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        views = sample(images.bfloat16(), warp, (28, 28))
    assert views.dtype == torch.bfloat16
    torch.testing.assert_close(views, sample(images.bfloat16().float(), warp, (28, 28)).bfloat16())

from collections.abc import Callable

import pytest
import timm as models
import torch
from torch import nn

from stnlab.errors import StnlabError
from stnlab.models.localizers import Averaged, conv, conv_net, fc, timm

TIMM = {"name": "resnet18", "pretrained": False, "stem": "small", "pixels": None, "channels": 4, "pool": "none"}
MAKE: dict[str, Callable[[tuple[int, ...], int], nn.Module]] = {
    "conv": lambda shape, outputs: conv(shape, outputs, channels=[4, 4], kernel=5, units=[8]),
    "conv_net": lambda shape, outputs: conv_net(
        shape, outputs, [{"filters": 4, "kernel": 3, "stride": 2, "padding": "same"}] * 3, units=[8]
    ),
    "fc": lambda shape, outputs: fc(shape, outputs, [8, 8]),
    "timm": lambda shape, outputs: timm(shape, outputs, units=[8], **TIMM),
}


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 42), (32, 10, 10), (64, 2, 2), (5, 3, 7)])
@pytest.mark.parametrize("kind", MAKE)
def test_fits_any_size_and_starts_at_zero(shape: tuple[int, ...], kind: str):
    torch.manual_seed(0)  # of two images and eight units, all may happen to be silent
    localizer = MAKE[kind](shape, 6)
    x = torch.randn(2, *shape)
    theta = localizer(x)
    assert torch.equal(theta, torch.zeros(2, 6))
    theta.sum().backward()
    last = list(localizer.parameters())[-2]
    assert last.grad is not None
    assert last.grad.abs().sum() > 0


def test_features_of_timm_are_timms():
    """Pooled over all places and with no layer of ours, the last one gets what timm's model without a head makes."""
    options = TIMM | {"stem": "original", "channels": None, "pool": "avg"}
    localizer = timm((3, 64, 64), 6, units=[], **options).eval()
    plain = models.create_model("resnet18", num_classes=0).eval()
    plain.load_state_dict(dict(zip(plain.state_dict(), localizer.state_dict().values(), strict=False)))
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(localizer[:-1](x).flatten(1), plain(x))
    assert localizer[-1](localizer[:-1](x)).shape == (2, 6)


@pytest.mark.parametrize(("size", "pixels"), [((28, 28), 12), ((42, 30), 29), ((7, 5), 3)])
def test_means_are_those_of_torchs_adaptive_pooling(size: tuple[int, int], pixels: int):
    images = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    ours, theirs = (pool(images) for pool in (Averaged(size, pixels), torch.nn.AdaptiveAvgPool2d(pixels)))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)
    gradients = [torch.autograd.grad(one.square().sum(), images)[0] for one in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-14)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(Averaged(size, pixels)(images.float()), theirs.float(), rtol=0, atol=1e-6)


def test_a_timm_localizer_can_look_at_a_smaller_image_and_keep_places_apart():
    x = torch.randn(2, 3, 64, 64)
    localizer = timm((3, 64, 64), 6, units=[], **TIMM | {"pixels": 32}).eval()
    smaller = timm((3, 32, 32), 6, units=[], **TIMM).eval()
    smaller.load_state_dict(dict(zip(smaller.state_dict(), localizer.state_dict().values(), strict=True)))
    features = localizer[:-1](x)
    assert features.shape == (2, 4, 4, 4)
    torch.testing.assert_close(features, smaller[:-1](torch.nn.functional.avg_pool2d(x, 2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": 28}, "localizer.pixels=28: the input is 1x28x28 and can only get smaller; give null"),
        ({"name": "resnet_18"}, "localizer.name=resnet_18: timm has no such model; did you mean resnet18?"),
        ({"name": "inception_v3", "stem": "original"}, "another model or localizer.stem=small"),
    ],
)
def test_a_timm_localizer_that_does_not_fit_is_one_line(change: dict[str, object], message: str):
    with pytest.raises(StnlabError) as caught:
        timm((1, 28, 28), 6, units=[], **TIMM | change)
    assert message in str(caught.value)
    assert "backbone" not in str(caught.value)

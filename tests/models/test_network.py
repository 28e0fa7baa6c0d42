import math

import pytest
import torch

from stnlab.errors import StnlabError
from stnlab.geometry.transforms import Affine, Identity, RotationScale
from stnlab.models.backbones import cnn, fcn
from stnlab.models.localizers import conv
from stnlab.models.network import Network, assemble
from stnlab.models.placement import Site, at_input, deep, none

BACKGROUND = torch.tensor([-0.4242])


def network(sites: tuple[Site, ...], transform=None, heads: int = 1) -> Network:
    torch.manual_seed(0)
    backbone = cnn((1, 28, 28), 10 * heads, channels=[6, 8], kernels=[9, 7])
    return assemble(
        backbone,
        sites,
        transform or Affine(),
        lambda shape, outputs: conv(shape, outputs, channels=[4, 4], kernel=5, units=[8]),
        BACKGROUND,
        heads,
    )


def test_without_a_transformer_it_is_the_backbone():
    net = network(none())
    image = torch.rand(3, 1, 28, 28)
    prediction = net(image)
    torch.testing.assert_close(prediction.logits[:, 0], net.backbone(image))
    assert prediction.warps == prediction.views == prediction.inputs == ()


@pytest.mark.parametrize("sites", [at_input(), deep(1), deep(2)])
@pytest.mark.parametrize("transform", [Affine(), RotationScale(), Identity()])
def test_an_untrained_transformer_changes_nothing_beyond_rounding(sites, transform):
    image = torch.randn(3, 1, 28, 28)
    with_transformer, without = network(sites, transform)(image), network(none())(image)
    torch.testing.assert_close(with_transformer.logits, without.logits, rtol=0, atol=1e-5)
    assert with_transformer.views[0].shape == with_transformer.inputs[0].shape


@pytest.mark.parametrize("sites", [at_input(), deep(1)])
def test_theta_gets_a_gradient_from_the_first_step(sites):
    net = network(sites)
    net(torch.rand(3, 1, 28, 28)).logits.logsumexp(-1).sum().backward()
    ((_, parameters),) = net.localizer_parameters()
    assert parameters[-1].grad is not None
    assert parameters[-1].grad.abs().sum() > 0


def test_the_transformer_warps_what_it_localises_on():
    net = network(at_input(), RotationScale())
    last = list(net.transformers[0].localizer.parameters())[-1]
    with torch.no_grad():
        last[0] = math.pi / 2
    image = torch.rand(1, 1, 28, 28)
    prediction = net(image)
    torch.testing.assert_close(prediction.views[0], image.rot90(1, (2, 3)), rtol=0, atol=1e-5)
    torch.testing.assert_close(prediction.warps[0](torch.tensor([[1.0, 0.0]])), torch.tensor([[[0.0, 1.0]]]))


def test_the_images_surroundings_are_background_and_those_of_features_zero():
    for sites, outside in ((at_input(), -0.4242), (deep(1), 0.0)):
        net = network(sites)
        last = list(net.transformers[0].localizer.parameters())[-1]
        with torch.no_grad():
            last[2] = 5.0
        view = net(torch.rand(1, 1, 28, 28)).views[0]
        torch.testing.assert_close(view, torch.full_like(view, outside))


def test_heads_share_the_outputs():
    assert network(at_input(), heads=3)(torch.rand(2, 1, 28, 28)).logits.shape == (2, 3, 10)


def test_a_depth_that_does_not_exist_names_those_that_do():
    with pytest.raises(StnlabError, match=r"placement.depth=3: .* 0: 1x28x28, 1: 6x10x10, 2: 8x2x2"):
        network(deep(3))


def test_a_stage_without_an_image_is_refused():
    with pytest.raises(StnlabError, match="needs an image"):
        assemble(fcn((1, 28, 28), 10, [8]), deep(1), Affine(), lambda shape, outputs: conv, BACKGROUND)

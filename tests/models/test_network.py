import copy
import math

import pytest
import torch

from stnlab.errors import StnlabError
from stnlab.geometry.sampling import Sampler, sample
from stnlab.geometry.transforms import (
    Affine,
    Identity,
    Projective,
    RotationScale,
    Similarity,
    ThinPlate,
    Transform,
    Translation,
)
from stnlab.models.backbones import Backbone, cnn, fcn
from stnlab.models.conv_net import conv_net
from stnlab.models.localizers import conv, fc
from stnlab.models.network import Image, Network, assemble
from stnlab.models.placement import Site, at_input, deep, none, parallel, separate, shared, stacked
from stnlab.models.transformer import SpatialTransformer

BACKGROUND = torch.tensor([-0.4242])


def network(sites: tuple[Site, ...], transform=None, heads: int = 1, **choices) -> Network:
    torch.manual_seed(0)
    return assemble(
        Image((1, 28, 28), BACKGROUND),
        lambda shape: cnn(shape, 10 * heads, channels=[6, 8], kernels=[9, 7]),
        sites,
        transform or Affine(),
        lambda _, shape, outputs: conv(shape, outputs, channels=[4, 4], kernel=5, units=[8]),
        heads,
        **choices,
    )


def module_of(net: Network, number: int) -> tuple[SpatialTransformer, int]:
    """The module that makes this view, and the view's number there."""
    for module in net.transformers:
        if number < module.views:
            return module, number
        number -= module.views
    raise IndexError(number)


def push(net: Network, number: int, entry: int, value: float) -> None:
    """Let a transformer say the same theta for every image."""
    module, view = module_of(net, number)
    with torch.no_grad():
        list(module.localizer.parameters())[-1][view * module.transform.parameters + entry] = value


PLACEMENTS = {
    "input": at_input(),
    "iterated": at_input(iterations=3),
    "deep": deep(1),
    "deepest": deep(2, iterations=2),
    "shared": shared(1),
    "shared2": shared(2, iterations=2),
    "separate": separate(2),
    "stacked": stacked([0, 1, 2]),
    "channels": parallel(2),
    "shared_trunk": parallel(2, "shared_trunk"),
    "separate_trunks": parallel(3, "separate_trunks", iterations=2),
    "shared_localizer": parallel(3, "shared_trunk", iterations=2, localizers="shared"),
}
EVERY = pytest.mark.parametrize("sites", PLACEMENTS.values(), ids=PLACEMENTS.keys())


def test_without_a_transformer_it_is_the_backbone():
    net = network(none())
    image = torch.rand(3, 1, 28, 28)
    prediction = net(image)
    torch.testing.assert_close(prediction.logits[:, 0], net.backbone(image))
    assert prediction.warps == prediction.views == prediction.inputs == ()


@EVERY
@pytest.mark.parametrize("transform", [Affine(), RotationScale(), Identity()])
def test_an_untrained_transformer_changes_nothing_beyond_rounding(sites, transform):
    image = torch.randn(3, 1, 28, 28)
    prediction = network(sites, transform)(image)
    for view, reached in zip(prediction.views, prediction.inputs, strict=True):
        torch.testing.assert_close(view, reached, rtol=0, atol=1e-5)
    if sites[0].count == 1 and not isinstance(transform, Identity):
        torch.testing.assert_close(prediction.logits, network(none())(image).logits, rtol=0, atol=1e-4)


@EVERY
def test_theta_gets_a_gradient_from_the_first_step(sites):
    net = network(sites)
    net(torch.rand(3, 1, 28, 28)).logits.logsumexp(-1).sum().backward()
    for _, parameters in net.localizer_parameters():
        assert parameters[-1].grad is not None
        assert parameters[-1].grad.abs().sum() > 0


@EVERY
def test_each_view_is_what_reached_the_transformer_seen_through_its_warp(sites):
    net = network(sites, RotationScale())
    for number in range(net.views):
        push(net, number, 0, 0.2 + 0.1 * number)
    prediction = net(torch.rand(2, 1, 28, 28))
    assert len(prediction.warps) == len(prediction.views) == len(prediction.inputs) == net.views
    for number, (reached, warp, view) in enumerate(
        zip(prediction.inputs, prediction.warps, prediction.views, strict=True)
    ):
        outside = module_of(net, number)[0].background
        expected = sample(reached, warp, (view.shape[2], view.shape[3]), outside)
        torch.testing.assert_close(view, expected, rtol=0, atol=1e-5)


def test_iterations_compose_and_sample_the_original_once():
    once, thrice = network(at_input(), RotationScale()), network(at_input(iterations=3), RotationScale())
    for net in (once, thrice):
        push(net, 0, 0, math.pi / 6)
    image = torch.rand(1, 1, 28, 28)
    torch.testing.assert_close(thrice(image).views[0], image.rot90(1, (2, 3)), rtol=0, atol=1e-5)
    assert sum(p.numel() for p in once.parameters()) == sum(p.numel() for p in thrice.parameters())


def test_shared_trains_the_classifiers_stages_and_separate_its_own():
    plain, own, copied = (
        sum(p.numel() for p in network(sites).parameters()) for sites in (none(), shared(1), separate(1))
    )
    first_stage = 6 * 82
    assert copied - own == first_stage
    assert own > plain
    net = network(separate(1))
    ((_, parameters),) = net.localizer_parameters()
    assert parameters[0] is next(net.transformers[0].own_features.parameters())
    assert not set(parameters) & set(net.backbone.parameters())


def test_parallel_views_become_channels_or_branches():
    image = torch.rand(2, 1, 28, 28)
    as_channels, branches = network(parallel(2)), network(parallel(2, "separate_trunks"))
    assert as_channels.backbone.shapes[0] == (2, 28, 28)
    assert as_channels(image).logits.shape == branches(image).logits.shape == (2, 1, 10)
    (own,) = branches.more_trunks
    assert not torch.equal(next(own.parameters()), next(branches.backbone.parameters()))
    shared_trunk = network(parallel(2, "shared_trunk"))
    push(shared_trunk, 0, 0, 0.3)
    push(shared_trunk, 1, 0, -0.3)
    logits, views = shared_trunk(image).logits[:, 0], shared_trunk(image).views
    features = [shared_trunk.backbone.stages[1](shared_trunk.backbone.stages[0](view)) for view in views]
    torch.testing.assert_close(logits, shared_trunk.backbone.head(torch.cat(features, 1)))


def test_a_shared_localizer_looks_once_and_says_each_transformer_its_own_theta():
    net, own = network(parallel(3, localizers="shared"), RotationScale()), network(parallel(3), RotationScale())
    for number in range(3):
        push(net, number, 0, 0.1 * number)
    (module,) = net.transformers
    looks: list[int] = []
    module.localizer.register_forward_hook(lambda *_: looks.append(1))
    warps = net(torch.rand(2, 1, 28, 28)).warps
    assert len(looks) == 1
    for number, warp in enumerate(warps):
        torch.testing.assert_close(warp.matrix, RotationScale()(torch.tensor([[0.1 * number, 0.0]] * 2)).matrix)
    (one,), (first, *_) = net.localizer_parameters(), own.localizer_parameters()
    assert sum(p.numel() for p in one[1]) - sum(p.numel() for p in first[1]) == (8 + 1) * 2 * 2, "two more thetas"


def windowed(count: int, transform: Transform, **options) -> Network:
    return assemble(
        Image((1, 28, 28), BACKGROUND),
        lambda shape: fcn(shape, 10, [8]),
        parallel(count, size=(14, 14), window=0.5, **options),
        transform,
        lambda _, shape, outputs: fc(shape, outputs, [8]),
    )


@pytest.mark.parametrize("localizers", [None, "shared"])
def test_views_start_as_windows_spread_over_the_frame_and_theta_counts_from_there(localizers):
    image = torch.rand(2, 1, 28, 28)
    net = windowed(4, Translation(), localizers=localizers)
    for number, view in enumerate(net(image).views):
        top, left = 14 * (number // 2), 14 * (number % 2)
        torch.testing.assert_close(view, image[:, :, top : top + 14, left : left + 14], rtol=0, atol=1e-5)
    push(net, 2, 0, 1.0)
    torch.testing.assert_close(net(image).views[2], image[:, :, 14:, 7:21], rtol=0, atol=1e-5)


def test_two_windows_start_side_by_side_and_one_in_the_middle():
    image = torch.rand(2, 1, 28, 28)
    for count in (1, 2):
        views = windowed(count, ThinPlate())(image).views
        left = 14 - 7 * count
        middle = image[:, :, 7:21, left : left + 14 * count]
        torch.testing.assert_close(torch.cat(views, dim=3), middle, rtol=0, atol=1e-5)


def test_iterations_go_on_from_the_window():
    net = windowed(2, Translation(), iterations=3)
    push(net, 1, 1, 0.5)
    ((corner,),) = net(torch.rand(1, 1, 28, 28)).warps[1](torch.tensor([[-1.0, -1.0]])).tolist()
    assert corner == pytest.approx([0.0, -0.5 + 3 * 0.25])


def test_the_sampler_is_the_one_chosen():
    views = []
    for sampler in (Sampler(), Sampler(mode="bicubic"), Sampler(padding="border")):
        net = network(at_input(), RotationScale(), sampler=sampler)
        push(net, 0, 0, 0.4)
        views.append(net(torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))).views[0])
    assert not torch.allclose(views[0], views[1])
    assert not torch.allclose(views[0], views[2])


def test_a_smaller_view():
    small = assemble(
        Image((1, 40, 48), BACKGROUND),
        lambda shape: cnn(shape, 10, channels=[6], kernels=[9]),
        at_input(iterations=2, size=(20, 24)),
        Affine(),
        lambda _, shape, outputs: conv(shape, outputs, channels=[4], kernel=5, units=[8]),
    )
    prediction = small(torch.rand(2, 1, 40, 48))
    assert prediction.views[0].shape == (2, 1, 20, 24)
    assert small.backbone.shapes[0] == (1, 20, 24)


def test_the_transformer_warps_what_it_localises_on():
    net = network(at_input(), RotationScale())
    push(net, 0, 0, math.pi / 2)
    image = torch.rand(1, 1, 28, 28)
    prediction = net(image)
    torch.testing.assert_close(prediction.views[0], image.rot90(1, (2, 3)), rtol=0, atol=1e-5)
    torch.testing.assert_close(prediction.warps[0](torch.tensor([[1.0, 0.0]])), torch.tensor([[[0.0, 1.0]]]))


def test_the_images_surroundings_are_background_and_those_of_features_zero():
    for sites, outside in ((at_input(), -0.4242), (deep(1), 0.0)):
        net = network(sites)
        push(net, 0, 2, 5.0)
        view = net(torch.rand(1, 1, 28, 28)).views[0]
        torch.testing.assert_close(view, torch.full_like(view, outside))


def test_heads_share_the_outputs():
    assert network(at_input(), heads=3)(torch.rand(2, 1, 28, 28)).logits.shape == (2, 3, 10)


def test_a_depth_that_does_not_exist_names_those_that_do():
    with pytest.raises(StnlabError, match=r"placement.depth=3: .* 0: 1x28x28, 1: 6x10x10, 2: 8x2x2"):
        network(deep(3))
    with pytest.raises(StnlabError, match=r"^placement.depths=\[0, 3\]: there is no such stage; .* 2: 8x2x2"):
        network(stacked([0, 3]))


def test_views_too_small_for_the_backbone_are_not_the_backbones_fault():
    with pytest.raises(StnlabError, match=r"^placement.size=\[4, 4\]: too small for this backbone \(backbone.kernels="):
        network(at_input(size=(4, 4)))

    def refuse(_: object) -> Backbone:
        raise StnlabError("backbone.name=x: timm has no such model")

    with pytest.raises(StnlabError, match=r"^backbone.name=x"):
        assemble(Image((1, 28, 28), BACKGROUND), refuse, at_input(size=(4, 4)), Affine(), lambda *_: conv)


@pytest.mark.parametrize("sites", [deep(1), shared(1), separate(1)])
def test_a_stage_without_an_image_is_refused(sites):
    with pytest.raises(StnlabError, match="needs an image"):
        assemble(Image((1, 28, 28), BACKGROUND), lambda shape: fcn(shape, 10, [8]), sites, Affine(), lambda *_: conv)


def test_stacked_depths_rise():
    with pytest.raises(StnlabError, match=r"placement.depths=\[1, 0\]: give depths in rising order"):
        stacked([1, 0])


def test_localizers_are_those_of_depths_with_a_transformer():
    node = {"_target_": "any"}
    assert [site.localizer for site in stacked([0, 2], localizers={0: None, "2": node})] == [None, node]
    with pytest.raises(
        StnlabError, match=r"placement.localizers.1: no transformer sits there; placement.depths=\[0, 2]"
    ):
        stacked([0, 2], localizers={1: node})


def check_one_graph(net: Network) -> None:
    """Raises where torch.compile's graph breaks. The backend traces forward and backward, and makes no kernels."""
    images = torch.rand(4, 1, 28, 28)

    def gradients(logits: torch.Tensor) -> list[torch.Tensor]:
        found = torch.autograd.grad((logits * torch.arange(10.0)).sum(), list(net.parameters()), allow_unused=True)
        return [gradient for gradient in found if gradient is not None]

    for parameter in net.transformers.parameters():
        torch.nn.init.normal_(parameter, std=0.02)  # away from the identity, where half of the gradients are zero
    torch.compiler.reset()
    plain = net.logits(images)
    compiled = torch.compile(net.logits, fullgraph=True, backend="aot_eager")(images)
    torch.testing.assert_close(compiled, plain)
    torch.testing.assert_close(gradients(compiled), gradients(plain), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_each_placement_compiles_to_one_graph(placement: str):
    check_one_graph(network(PLACEMENTS[placement]))


@pytest.mark.parametrize(
    "transform", [Identity(), RotationScale(max_angle=60.0, max_scale=2.0), Similarity(), Projective(), ThinPlate()]
)
def test_each_transform_compiles_to_one_graph(transform: Transform):
    check_one_graph(network(PLACEMENTS["iterated"], transform))


@pytest.mark.parametrize("sampler", [Sampler("bicubic", "reflection"), Sampler(antialias=True)])
def test_each_sampler_compiles_to_one_graph(sampler: Sampler):
    check_one_graph(network(PLACEMENTS["input"], sampler=sampler))


@pytest.mark.parametrize("placement", ["input", "shared2", "separate"])
def test_compiled_steps_move_batch_norms_statistics_as_plain_ones_do(placement: str):
    layers = [{"filters": filters, "kernel": 5, "norm": "batch", "pool": "max"} for filters in (6, 8)]
    torch.manual_seed(0)
    net = assemble(
        Image((1, 28, 28), BACKGROUND),
        lambda shape: conv_net(shape, 10, layers, units=[], dropout=0.0),
        PLACEMENTS[placement],
        Affine(),
        lambda _, shape, outputs: conv(shape, outputs, channels=[4, 4], kernel=5, units=[8]),
        1,
    )
    again, images = copy.deepcopy(net), torch.rand(4, 1, 28, 28)
    plain = net.logits(images)
    torch.compiler.reset()
    torch.testing.assert_close(torch.compile(again.logits, fullgraph=True, backend="aot_eager")(images), plain)
    buffers = dict(net.named_buffers())
    assert any(name.endswith("running_mean") for name in buffers)
    torch.testing.assert_close(dict(again.named_buffers()), buffers)


@pytest.mark.parametrize("sites", [at_input(), deep(1)])
def test_channels_last_weights_say_and_learn_what_contiguous_ones_do_and_bfloat16_nearly(sites: tuple[Site, ...]):
    """Layout up to float64's rounding; bfloat16, of 8 bits, up to 1% of the logits' norm."""
    image = torch.rand(32, 1, 28, 28, dtype=torch.float64)
    ours = network(sites).double()
    plain = copy.deepcopy(ours).to(memory_format=torch.contiguous_format)
    assert any(one.stride() != other.stride() for one, other in zip(ours.parameters(), plain.parameters(), strict=True))
    said = [net(image).logits for net in (ours, plain)]
    torch.testing.assert_close(*said, rtol=0, atol=1e-12)
    learnt = [
        torch.autograd.grad(logits.square().sum(), net.parameters())
        for logits, net in zip(said, (ours, plain), strict=True)
    ]
    torch.testing.assert_close(*learnt, rtol=1e-9, atol=1e-12)
    with torch.autocast("cpu", torch.bfloat16):
        rough = ours.float()(image.float()).logits
    assert 0 < (rough - said[1]).norm() < 0.01 * said[1].norm()

import torch

from stnlab.geometry.transforms import Affine, ThinPlate, Transform
from stnlab.models.backbones import cnn
from stnlab.models.description import describe
from stnlab.models.localizers import fc
from stnlab.models.network import Image, Network, assemble
from stnlab.models.placement import Site, at_input, deep, none, parallel


def network(sites: tuple[Site, ...], transform: Transform = Affine()) -> Network:  # noqa: B008
    return assemble(
        Image((1, 28, 28), torch.zeros(1)),
        lambda shape: cnn(shape, 10, channels=[6, 8], kernels=[9, 7]),
        sites,
        transform,
        lambda _, shape, outputs: fc(shape, outputs, [5]),
    )


def test_parameters_and_multiply_adds_are_those_of_the_formulas():
    first, second, head = describe(network(none()), (1, 28, 28))
    assert (first.kind, first.depth, first.shape, first.layers) == ("stage", 1, (6, 10, 10), "Conv2d MaxPool2d ReLU")
    assert (first.parameters, first.multiply_adds) == (6 * (81 + 1), 20 * 20 * 6 * 81)
    assert (second.parameters, second.multiply_adds) == (8 * (6 * 49 + 1), 4 * 4 * 8 * 6 * 49)
    assert (head.kind, head.depth, head.parameters, head.multiply_adds) == ("head", 2, 33 * 10, 32 * 10)


def test_a_transformer_stands_where_it_acts():
    at_image = describe(network(at_input()), (1, 28, 28))
    assert [(part.kind, part.depth) for part in at_image[:2]] == [("transformer", 0), ("stage", 1)]
    assert at_image[0].layers == "Affine by Flatten Linear ReLU Linear"
    assert at_image[0].parameters == 785 * 5 + 6 * 6
    on_features = describe(network(deep(1)), (1, 28, 28))
    assert [(part.kind, part.depth) for part in on_features[:3]] == [("stage", 1), ("transformer", 1), ("stage", 2)]
    assert on_features[1].shape == (6, 10, 10)
    assert on_features[1].multiply_adds >= 600 * 5 + 5 * 6


def test_what_is_computed_once_for_all_images_costs_none_of_them():
    first, second, *_ = describe(network(parallel(2), ThinPlate()), (1, 28, 28))
    assert first == second


def test_transformers_that_share_a_localizer_are_one_part():
    together, stage, *_ = describe(network(parallel(2, localizers="shared")), (1, 28, 28))
    assert (together.layers, together.shape) == ("Affine x2 by Flatten Linear ReLU Linear", (1, 28, 28))
    assert together.parameters == 785 * 5 + 6 * 12
    assert stage.kind == "stage"


def test_the_parts_are_the_whole_network_and_it_is_left_as_it_was():
    net = network((*at_input(), *deep(1)))
    assert sum(part.parameters for part in describe(net, (1, 28, 28))) == sum(p.numel() for p in net.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())

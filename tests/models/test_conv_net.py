from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stnlab.errors import StnlabError
from stnlab.models.backbones import Backbone
from stnlab.models.conv_net import ConvLayer, conv_net
from stnlab.models.convolution import Conv2d


def net(*layers: dict[str, Any], size: int = 12, units: tuple[int, ...] = (), dropout: float = 0.0) -> Backbone:
    return conv_net((2, size, size), 10, list(layers), list(units), dropout)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"kernel": 5}, 8),
        ({"kernel": 5, "padding": "full"}, 16),
        ({"kernel": 5, "padding": 1}, 10),
        ({"kernel": 5, "padding": "same"}, 12),
        ({"kernel": 4, "padding": "same"}, 12),
        ({"kernel": 4, "padding": "same", "stride": 5}, 3),
        ({"kernel": 3, "stride": 2}, 5),
        ({"kernel": 3, "stride": 2, "pool": "max"}, 2),
        ({"kernel": 1, "pool": "avg", "pool_size": 5}, 2),
    ],
)
def test_sizes_follow_from_kernel_stride_padding_and_pooling(options: dict[str, Any], size: int):
    assert net({"filters": 3, **options}).shapes[1] == (3, size, size)


def test_a_layer_is_convolution_norm_activation_pooling_in_this_order():
    layer = net({"filters": 4, "kernel": 4, "padding": "same", "norm": "group", "activation": "tanh", "pool": "avg"})
    x = torch.randn(3, 2, 12, 12)
    convolved = F.conv2d(F.pad(x, (1, 2, 1, 2)), layer.stages[0][1].weight)
    expected = F.avg_pool2d(torch.tanh(F.group_norm(convolved, 4)), 2)
    torch.testing.assert_close(layer.stages[0](x), expected)


def test_the_norm_can_come_last_and_then_the_convolution_keeps_its_bias():
    first = ConvLayer(filters=4, kernel=3, norm="batch").module(2)
    last = ConvLayer(filters=4, kernel=3, norm="batch", norm_last=True).module(2)
    assert [type(m) for m in first] == [Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert [type(m) for m in last] == [Conv2d, nn.ReLU, nn.BatchNorm2d]
    assert (first[0].bias is None, last[0].bias is None) == (True, False)


def test_dropout_acts_in_training_only():
    backbone = net({"filters": 4, "kernel": 3, "dropout": 0.5}, units=(50,), dropout=0.2)
    assert [m.p for m in backbone.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.2]
    x = torch.randn(2, 2, 12, 12)
    assert not torch.equal(backbone(x), backbone(x))
    backbone.eval()
    torch.testing.assert_close(backbone(x), backbone(x), rtol=0, atol=0)


def test_units_are_stages_too():
    assert net({"filters": 4, "kernel": 3}, units=(9, 7)).shapes[2:] == [(9,), (7,)]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"filters": 4, "kernel": 3, "pools": "max"}, "layers.1.pools: no such option; did you mean pool?"),
        ({"filters": 4}, "layers.1.kernel: is missing"),
        ({"filters": 0, "kernel": 3}, "layers.1.filters=0: should be greater than 0"),
        ({"filters": 4, "kernel": "3"}, "layers.1.kernel=3: should be a valid integer"),
        ({"filters": 4, "kernel": 3, "pool": "mean"}, "layers.1.pool=mean: should be 'max', 'avg' or 'none'"),
        ({"filters": 4, "kernel": 3, "padding": "ful"}, "layers.1.padding=ful: should be 'valid', 'same' or 'full' or"),
        ({"filters": 4, "kernel": 3, "padding": -1}, "should be greater than or equal to 0"),
        ({"filters": 4, "kernel": 3, "norm": "layer"}, "layers.1.norm=layer: should be 'batch', 'group' or 'none'"),
        ({"filters": 4, "kernel": 3, "activation": "rellu"}, "layers.1.activation=rellu: should be 'relu',"),
        ({"filters": 4, "kernel": 3, "dropout": 1.0}, "layers.1.dropout=1.0: should be less than 1"),
        ({"filters": 4, "kernel": 11}, "layers.1: leaves nothing of a 2x12x12 image; give fewer layers"),
    ],
)
def test_a_wrong_entry_is_named_in_one_line(entry: dict[str, Any], message: str):
    with pytest.raises(StnlabError) as caught:
        net({"filters": 4, "kernel": 3}, entry)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)

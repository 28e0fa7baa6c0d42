import pytest
import torch

from stnlab.errors import StnlabError
from stnlab.models.backbones import Backbone, cnn, fcn


def test_cnn_stages_are_convolution_and_pooling_without_padding():
    backbone = cnn((1, 28, 28), 10, channels=[32, 64], kernels=[9, 7])
    assert backbone.shapes == [(1, 28, 28), (32, 10, 10), (64, 2, 2)]
    assert sum(p.numel() for p in backbone.parameters()) == (81 + 1) * 32 + (32 * 49 + 1) * 64 + (4 * 64 + 1) * 10


def test_fcn_stages_are_linear():
    backbone = fcn((1, 28, 28), 10, units=[256, 200])
    assert backbone.shapes == [(1, 28, 28), (256,), (200,)]


@pytest.mark.parametrize("size", [28, 42, 61])
@pytest.mark.parametrize("make", [lambda s, n: cnn(s, n, [4, 6], [9, 7]), lambda s, n: fcn(s, n, [8, 8])])
def test_output_has_the_asked_size(make, size: int):
    backbone: Backbone = make((3, size, size), 7)
    assert backbone(torch.rand(2, 3, size, size)).shape == (2, 7)


def test_an_image_too_small_is_refused_in_one_line():
    with pytest.raises(StnlabError, match="stage 2 leaves nothing of a 1x20x20 image"):
        cnn((1, 20, 20), 10, channels=[4, 4], kernels=[9, 7])


def test_lists_of_different_length_are_refused():
    with pytest.raises(StnlabError, match="one kernel size for each stage"):
        cnn((1, 28, 28), 10, channels=[4, 4], kernels=[9])

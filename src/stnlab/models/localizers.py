"""Networks that regress theta from an image or from features. The last layer starts at zero: the identity.

A new localizer is one function or class that makes a module ending in `identity_layer`, and one file in
`conf/localizer/`.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from stnlab.errors import StnlabError
from stnlab.geometry.maps import unrounded
from stnlab.models.backbones import Count, Shape, output_shape
from stnlab.models.conv_net import Entries, conv_stages
from stnlab.models.convolution import Conv2d
from stnlab.models.timm_cnn import Stem, timm_cnn


def identity_layer(inputs: int, outputs: int) -> nn.Linear:
    """A last layer that says theta = 0, the identity, until it has learnt something."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def conv(input_shape: Shape, outputs: int, channels: list[Count], kernel: Count, units: list[Count]) -> nn.Module:
    """Convolution, ReLU, 2x2 max pooling for each of `channels`, then linear layers of `units`, then theta.

    Fits any size: a convolution pads where the input is less than twice as large as its kernel, and there is no
    pooling below 2 pixels.
    """
    layers: list[nn.Module] = []
    shape = tuple(input_shape)
    for filters in channels:
        padding = "valid" if min(shape[1:]) >= 2 * kernel else "same"
        layer = nn.Sequential(Conv2d(shape[0], filters, kernel, padding=padding))
        if min(output_shape(layer, shape)[1:]) >= 2:
            layer.append(nn.MaxPool2d(2))
        layers.append(layer.append(nn.ReLU()))  # after the pooling: the same values, with a quarter of them to compare
        shape = output_shape(layer, shape)
    return nn.Sequential(*layers, fc(shape, outputs, units))


def conv_net(input_shape: Shape, outputs: int, layers: Entries, units: list[Count]) -> nn.Module:
    """Convolutional layers listed one by one (the options of `stnlab.models.conv_net.ConvLayer`), then as `fc`."""
    stages, shape = conv_stages(input_shape, layers, "localizer.layers")
    return nn.Sequential(*stages, fc(shape, outputs, units))


def timm(
    input_shape: Shape,
    outputs: int,
    name: str,
    pretrained: bool,
    stem: Stem,
    pixels: Count | None,
    channels: Count | None,
    pool: Literal["avg", "none"],
    units: list[Count],
) -> nn.Module:
    """The features of a timm CNN, then as `fc` (Jaderberg et al. 2015, appendix A.6, with Inception for birds).

    name, pretrained, stem: as of `stnlab.models.timm_cnn.timm_cnn`. pixels: the input is averaged down to so many a
    side first, None: it is not. channels: of a 1x1 convolution and ReLU after the features, None: without. pool: `avg`
    takes the mean over all places, `none` keeps them apart.
    Raises StnlabError for what `timm_cnn` refuses, and for an input of no more than `pixels`.
    """
    first: list[nn.Module] = []
    if pixels is not None:
        if min(input_shape[1:]) <= pixels:
            given = "x".join(map(str, input_shape))
            raise StnlabError(f"localizer.pixels={pixels}: the input is {given} and can only get smaller; give null")
        height, width = input_shape[1:]
        whole = height % pixels == width % pixels == 0
        first = [nn.AvgPool2d((height // pixels, width // pixels)) if whole else Averaged((height, width), pixels)]
        input_shape = (input_shape[0], pixels, pixels)
    try:
        stages = list(timm_cnn(input_shape, outputs, name, pretrained, stem).stages)
    except StnlabError as error:
        raise StnlabError(str(error).replace("backbone.", "localizer.")) from error
    features = nn.Sequential(*stages[:-1])  # the last one pools
    shape = output_shape(features, input_shape)
    if channels is not None:
        features.append(nn.Sequential(nn.Conv2d(shape[0], channels, 1), nn.ReLU()))
        shape = (channels, *shape[1:])
    if pool == "avg":
        features.append(nn.AdaptiveAvgPool2d(1))
        shape = (shape[0], 1, 1)
    return nn.Sequential(*first, features, fc(shape, outputs, units))


class Averaged(nn.Module):
    """As `torch.nn.AdaptiveAvgPool2d(pixels)` of images of this size (height, width), whose gradient is not
    deterministic on a GPU. Computed in float32 at least."""

    def __init__(self, size: tuple[int, int], pixels: int) -> None:
        super().__init__()
        self.rows: Tensor
        self.columns: Tensor
        for name, side in zip(("rows", "columns"), size, strict=True):
            self.register_buffer(name, _windows(side, pixels), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        full = images if images.dtype == torch.float64 else images.float()
        of_rows, of_columns = (inside.to(full.dtype) for inside in (self.rows, self.columns))
        with unrounded(images.device):
            summed = of_rows @ full @ of_columns.T
        return (summed / (of_rows.sum(1)[:, None] * of_columns.sum(1))).to(images.dtype)


def _windows(side: int, pixels: int) -> Tensor:
    """[pixels, side] bool: which pixels of a side each of the averaged ones is a mean of."""
    first = torch.arange(pixels)[:, None] * side // pixels
    end = ((torch.arange(pixels)[:, None] + 1) * side + pixels - 1) // pixels
    return (torch.arange(side) >= first) & (torch.arange(side) < end)


def fc(input_shape: Shape, outputs: int, units: list[Count]) -> nn.Module:
    """Linear layers of `units` with ReLU, then theta."""
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = torch.Size(input_shape).numel()
    for width in units:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, identity_layer(inputs, outputs))

"""Classifiers as ordered lists of stages. Depth k means: after stage k.

A new backbone is one function or class that makes a `Backbone`, and one file in `conf/backbone/`.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Gt, Len
from torch import Tensor, nn

from stnlab.errors import StnlabError
from stnlab.models.convolution import Conv2d

Shape = tuple[int, ...]
Count = Annotated[int, Gt(0)]


class Backbone(nn.Module):
    """Stages one after another, then a head that makes `outputs` numbers of the last stage's features.

    shapes[k] is the shape (without batch) at depth k; shapes[0] is the input's.
    """

    def __init__(self, stages: Sequence[nn.Module], input_shape: Shape, outputs: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.shapes = [tuple(input_shape)]
        for stage in stages:
            self.shapes.append(output_shape(stage, self.shapes[-1]))
        features = torch.Size(self.shapes[-1]).numel()
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(features, outputs))

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.head(x)
        return logits

    def describe(self) -> str:
        """Stages with their output shapes, for messages: `0: 1x28x28, 1: 32x10x10`."""
        return ", ".join(f"{depth}: {'x'.join(map(str, shape))}" for depth, shape in enumerate(self.shapes))


def output_shape(module: nn.Module, input_shape: Shape) -> Shape:
    """Shape (without batch) that a module makes of an input of this shape."""
    training = module.training
    with torch.no_grad():
        shape: Shape = tuple(module.eval()(torch.zeros(1, *input_shape)).shape[1:])
    module.train(training)
    return shape


def cnn(
    input_shape: Shape,
    outputs: int,
    channels: Annotated[list[Count], Len(1)],
    kernels: Annotated[list[Count], Len(1)],
) -> Backbone:
    """The CNN of Jaderberg et al. (2015, appendix A.4): stages of unpadded convolution, ReLU and 2x2 max pooling.

    channels, kernels: one entry a stage. Raises StnlabError if the lists differ in length or an image gets too small.
    """
    if len(channels) != len(kernels):
        raise StnlabError(
            f"backbone.channels={channels} and backbone.kernels={kernels}: give one kernel size for each stage"
        )
    stages: list[nn.Module] = []
    inputs, *size = input_shape
    for depth, (filters, kernel) in enumerate(zip(channels, kernels, strict=True), start=1):
        size = [(length - kernel + 1) // 2 for length in size]
        if min(size) < 1:
            raise StnlabError(
                f"backbone.kernels={kernels}: stage {depth} leaves nothing of a {'x'.join(map(str, input_shape))} "
                "image; give fewer stages or smaller kernels"
            )
        # The paper's ReLU comes before its pooling: the same values, with a quarter of them to compare.
        stages.append(nn.Sequential(Conv2d(inputs, filters, kernel), nn.MaxPool2d(2), nn.ReLU()))
        inputs = filters
    return Backbone(stages, input_shape, outputs)


def fcn(input_shape: Shape, outputs: int, units: Annotated[list[Count], Len(1)]) -> Backbone:
    """The fully connected network of Jaderberg et al. (2015, appendix A.4): stages of linear layer and ReLU."""
    return Backbone(linear_stages(input_shape, units), input_shape, outputs)


def linear_stages(input_shape: Shape, units: Sequence[int], dropout: float = 0.0) -> list[nn.Module]:
    """A stage of linear layer, ReLU and, unless it is 0, dropout for each of `units`."""
    stages: list[nn.Module] = []
    inputs = torch.Size(input_shape).numel()
    for width in units:
        stage = nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU())
        if dropout:
            stage.append(nn.Dropout(dropout))
        stages.append(stage)
        inputs = width
    return stages

"""Networks whose layers are listed in YAML, one stage a list entry."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Annotated, Any, Literal

from annotated_types import Ge, Len, Lt
from torch import nn

from stnlab.choices import build
from stnlab.errors import StnlabError
from stnlab.models.backbones import Backbone, Count, Shape, linear_stages
from stnlab.models.convolution import Conv2d

Probability = Annotated[float, Ge(0), Lt(1)]
Entries = Annotated[list[dict[str, Any]], Len(1)]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "none": nn.Identity,
}


@dataclass(frozen=True)
class ConvLayer:
    """One stage: convolution, norm, activation, pooling, dropout, in this order. Sizes are in pixels.

    padding: with zeros. `valid`, none; `same`, such that stride 1 keeps the size and stride s divides it, rounded up;
    `full`, kernel - 1 on each side; or pixels on each side. pool_size: of the window and its stride; what does not
    fill a window is left out. norm `group`: eight groups, fewer where eight do not divide the filters. norm_last:
    normalise after the activation. dropout: the probability that a value, not a whole channel, is zero in training.
    """

    filters: Count
    kernel: Count
    stride: Count = 1
    padding: Literal["valid", "same", "full"] | Annotated[int, Ge(0)] = "valid"
    pool: Literal["max", "avg", "none"] = "none"
    pool_size: Count = 2
    norm: Literal["batch", "group", "none"] = "none"
    norm_last: bool = False
    activation: Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "none"] = "relu"
    dropout: Probability = 0.0

    def output_size(self, size: int) -> int:
        """Pixels of a side after this layer; less than 1: it does not fit."""
        size = (size + sum(self._padding()) - self.kernel) // self.stride + 1
        return size if self.pool == "none" else size // self.pool_size

    def module(self, inputs: int) -> nn.Sequential:
        """inputs: channels. A convolution before its norm has no bias: the norm takes it away."""
        before, after = self._padding()
        even = before == after
        modules: list[nn.Module] = [] if even else [nn.ZeroPad2d((before, after, before, after))]
        bias = self.norm == "none" or self.norm_last
        padding = before if even else 0
        modules.append(Conv2d(inputs, self.filters, self.kernel, self.stride, padding, bias=bias))
        normed = [*self._norm(), ACTIVATIONS[self.activation]()]
        modules += reversed(normed) if self.norm_last else normed
        if self.pool != "none":
            modules.append({"max": nn.MaxPool2d, "avg": nn.AvgPool2d}[self.pool](self.pool_size))
        if self.dropout:
            modules.append(nn.Dropout(self.dropout))
        return nn.Sequential(*modules)

    def _norm(self) -> list[nn.Module]:
        if self.norm == "batch":
            return [nn.BatchNorm2d(self.filters)]
        return [nn.GroupNorm(gcd(8, self.filters), self.filters)] if self.norm == "group" else []

    def _padding(self) -> tuple[int, int]:
        """Pixels before and after; they differ by one for an even kernel that keeps the size."""
        if isinstance(self.padding, int):
            return self.padding, self.padding
        total = {"valid": 0, "same": self.kernel - 1, "full": 2 * (self.kernel - 1)}[self.padding]
        return total // 2, total - total // 2


def conv_net(input_shape: Shape, outputs: int, layers: Entries, units: list[Count], dropout: Probability) -> Backbone:
    """Convolutional stages, each entry of `layers` the options of a `ConvLayer`, then linear stages of `units`.

    dropout: after each linear stage. Raises StnlabError, naming the entry, if one is wrong or an image gets too small.
    """
    stages, shape = conv_stages(input_shape, layers, "backbone.layers")
    return Backbone([*stages, *linear_stages(shape, units, dropout)], input_shape, outputs)


def conv_stages(input_shape: Shape, entries: Sequence[dict[str, Any]], path: str) -> tuple[list[nn.Module], Shape]:
    """The listed layers, and the shape of what they make. path: where the list stands in the configuration."""
    stages: list[nn.Module] = []
    channels, *size = input_shape
    for index, entry in enumerate(entries):
        here = f"{path}.{index}"
        layer: ConvLayer = build({**entry, "_target_": f"{__name__}.ConvLayer"}, here)
        size = [layer.output_size(length) for length in size]
        if min(size) < 1:
            raise StnlabError(
                f"{here}: leaves nothing of a {'x'.join(map(str, input_shape))} image; "
                "give fewer layers, smaller kernels, or padding: same"
            )
        stages.append(layer.module(channels))
        channels = layer.filters
    return stages, (channels, *size)

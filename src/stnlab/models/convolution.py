"""A convolution whose gradient in an image is as fast as the rest of it on a CPU."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEW = 4
"""Channels up to which the gradient is found by `input_gradient`; with more of them oneDNN's own kernel is as fast."""
Margins = tuple[int, int]
Forward = TypeVar("Forward", bound=Callable[..., object])


class Conv2d(nn.Conv2d):
    """As `torch.nn.Conv2d`, up to the last bits of the gradient in an input with few channels.

    A transformer on the input asks the first convolution for that gradient. oneDNN vectorises it over the input's
    channels, of which an image has one or three: it takes ten times as long as the forward pass, and a third of the
    training.
    """

    def forward(self, input: Tensor) -> Tensor:
        margins = (0, 0) if self.padding == "valid" else self.padding
        if not (isinstance(margins, tuple) and self._helps(input, margins[0])):
            return super().forward(input)
        output = super().forward(input.detach())
        view: Tensor = _WithInputGradient.apply(output, input, self.weight, margins)
        return view

    def _helps(self, input: Tensor, top: int) -> bool:
        wanted = input.requires_grad and torch.is_grad_enabled() and input.device.type == "cpu"
        plain = self.stride == self.dilation == (1, 1) and self.padding_mode == "zeros"
        return wanted and plain and self.in_channels <= FEW and self.groups == 1 and top < self.kernel_size[0]


def input_gradient(upstream: Tensor, weight: Tensor, margins: Margins) -> Tensor:
    """Gradient in the input of `conv2d(input, weight, padding=margins)`, for stride 1 and margins[0] < kernel height.

    upstream: [N, O, h, w], that in the output; weight: [O, C, height, width]. Returns [N, C, H, W], added up in
    float32 at least.

    The columns of the kernel are taken apart: a convolution over the rows makes one image for each of them, which are
    added up, each shifted by its column. So the kernels vectorise over C * width channels.
    """
    channels, height, width = weight.shape[1:]
    top, left = margins
    by_column = weight.flip(2).permute(3, 1, 0, 2).flatten(0, 1)[..., None].to(upstream.dtype)
    parts = F.conv2d(upstream, by_column, padding=(height - 1 - top, 0)).contiguous()
    parts = parts.to(torch.promote_types(parts.dtype, torch.float32))
    wide = parts.new_zeros(len(parts), channels, parts.shape[2], parts.shape[3] + width - 1)
    for column in range(width):
        own = parts[:, column * channels : (column + 1) * channels]
        wide[..., column : column + parts.shape[3]] += own
    return wide[..., left : wide.shape[3] - left]


def _signed(forward: Forward) -> Forward:
    """torch binds the arguments of each call by the signature, which Python finds in longer than a small operation
    takes to run."""
    forward.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    return forward


class _WithInputGradient(torch.autograd.Function):
    """The output of a convolution of a detached input, with the gradient in that input."""

    generate_vmap_rule = True  # networks can be stacked by torch.func

    @staticmethod
    @_signed
    def forward(output: Tensor, input: Tensor, weight: Tensor, margins: Margins) -> Tensor:
        return output.view_as(output)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Margins], output: Tensor) -> None:
        _, _, weight, ctx.margins = inputs
        ctx.save_for_backward(weight)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return upstream, input_gradient(upstream, weight, ctx.margins), None, None

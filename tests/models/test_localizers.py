from collections.abc import Callable

import pytest
import torch
from torch import nn

from stnlab.models.localizers import conv, conv_net, fc

MAKE: dict[str, Callable[[tuple[int, ...], int], nn.Module]] = {
    "conv": lambda shape, outputs: conv(shape, outputs, channels=[4, 4], kernel=5, units=[8]),
    "conv_net": lambda shape, outputs: conv_net(
        shape, outputs, [{"filters": 4, "kernel": 3, "stride": 2, "padding": "same"}] * 3, units=[8]
    ),
    "fc": lambda shape, outputs: fc(shape, outputs, [8, 8]),
}


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 42), (32, 10, 10), (64, 2, 2), (5, 3, 7)])
@pytest.mark.parametrize("kind", MAKE)
def test_fits_any_size_and_starts_at_zero(shape: tuple[int, ...], kind: str):
    localizer = MAKE[kind](shape, 6)
    x = torch.randn(2, *shape)
    theta = localizer(x)
    assert torch.equal(theta, torch.zeros(2, 6))
    theta.sum().backward()
    last = list(localizer.parameters())[-2]
    assert last.grad is not None
    assert last.grad.abs().sum() > 0

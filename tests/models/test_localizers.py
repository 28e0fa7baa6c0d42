import pytest
import torch

from stnlab.models.localizers import conv, fc


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 42), (32, 10, 10), (64, 2, 2), (5, 3, 7)])
@pytest.mark.parametrize("kind", ["conv", "fc"])
def test_fits_any_size_and_starts_at_zero(shape: tuple[int, ...], kind: str):
    make = {"conv": lambda: conv(shape, 6, channels=[4, 4], kernel=5, units=[8]), "fc": lambda: fc(shape, 6, [8, 8])}
    localizer = make[kind]()
    x = torch.randn(2, *shape)
    theta = localizer(x)
    assert torch.equal(theta, torch.zeros(2, 6))
    theta.sum().backward()
    last = list(localizer.parameters())[-2]
    assert last.grad is not None
    assert last.grad.abs().sum() > 0

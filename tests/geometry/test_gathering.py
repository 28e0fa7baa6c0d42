from typing import Any

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from stnlab.geometry.gathering import gather, resized
from stnlab.geometry.maps import AffineMap
from stnlab.geometry.sampling import Sampler, sample
from stnlab.geometry.transforms import RotationScale

EVERY_MODE = pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
EVERY_PADDING = pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])


@EVERY_MODE
@EVERY_PADDING
def test_equals_torchs_grid_sample_in_values_and_gradients(mode, padding):
    images = torch.rand(3, 2, 7, 5, dtype=torch.float64, requires_grad=True)
    grid = (torch.rand(3, 6, 8, 2, dtype=torch.float64) * 5 - 2.5).requires_grad_()  # far outside, too
    upstream = torch.rand(3, 2, 6, 8, dtype=torch.float64)
    native = F.grid_sample(images, grid, mode, padding, align_corners=False)
    ours = gather(images, grid, mode, padding)
    torch.testing.assert_close(ours, native, rtol=0, atol=1e-12)
    expected = torch.autograd.grad(native, (images, grid), upstream)
    torch.testing.assert_close(torch.autograd.grad(ours, (images, grid), upstream), expected, rtol=0, atol=1e-11)


@EVERY_MODE
def test_what_is_not_a_number_is_read_from_nowhere(mode):
    grid = torch.full((1, 1, 2, 2), torch.nan)
    grid[0, 0, 1] = torch.inf
    assert gather(torch.ones(1, 1, 3, 3), grid, mode, "zeros").shape == (1, 1, 1, 2)


class Called(TorchDispatchMode):
    """Notes the names of the operations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("size", [(4, 4), (3, 2), (1, 5)])
def test_resizes_as_torchs_interpolation_does_in_values_and_gradients(size: tuple[int, int]):
    images = torch.rand(2, 3, 7, 5, dtype=torch.float64, requires_grad=True)
    native = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
    ours = resized(images, size)
    torch.testing.assert_close(ours, native, rtol=0, atol=1e-12)
    (expected,) = torch.autograd.grad(native.square().sum(), images)
    torch.testing.assert_close(torch.autograd.grad(ours.square().sum(), images)[0], expected, rtol=0, atol=1e-11)


NATIVE = {"grid_sampler_2d", "_upsample_bilinear2d_aa"}


@pytest.mark.parametrize(("deterministic", "learnt"), [(True, True), (True, False), (False, True)])
def test_a_gpu_reads_so_for_gradients_where_deterministic_algorithms_are_asked_for(
    deterministic: bool, learnt: bool, no_gpu_needed: FakeTensorMode
):
    torch.use_deterministic_algorithms(deterministic)
    try:
        with no_gpu_needed, Called() as called:
            images = torch.empty(2, 1, 8, 8, device="cuda", requires_grad=learnt)
            theta = torch.empty(2, 2, device="cuda", requires_grad=learnt)
            Sampler(antialias=True)(images, RotationScale()(theta), (8, 8))
    finally:
        torch.use_deterministic_algorithms(False)
    ours = {"index"} if deterministic and learnt else set()
    if ours:  # the matrices that resize are made by torch's own interpolation of another image
        called.names.discard("_upsample_bilinear2d_aa")
    assert called.names & {*NATIVE, "index"} == (ours or NATIVE)


def test_a_cpu_needs_no_other_way():
    images = torch.rand(2, 1, 8, 8)
    warp = AffineMap.identity(2, images)
    expected = sample(images, warp, (8, 8))
    torch.use_deterministic_algorithms(True)
    try:
        with Called() as called:
            torch.testing.assert_close(Sampler()(images, warp, (8, 8)), expected, rtol=0, atol=0)
    finally:
        torch.use_deterministic_algorithms(False)
    assert "grid_sampler_2d" in called.names

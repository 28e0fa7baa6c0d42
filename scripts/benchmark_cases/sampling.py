"""`sampler`: warps per second, forward and backward."""

import math
import statistics
import time
from collections.abc import Callable

import torch
from kornia.geometry import transform as kornia
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark_cases.comparison import Comparison, medians
from stnlab.geometry import transforms
from stnlab.geometry.sampling import sample
from stnlab.training.memory import keep_freed_memory

SHAPES = ((256, 1, 28, 28), (256, 1, 42, 42), (256, 32, 10, 10), (64, 3, 224, 224))
GOALS = {28: 3.0, 42: 3.0, 10: 1.5, 224: 1.5}
SECONDS, REPEATS = 0.25, 7
KERNELS = "kernels"
Warp = Callable[[Tensor, Tensor], Tensor]


def sampler() -> list[Comparison]:
    keep_freed_memory()  # as a training does; the references profit, too
    found = []
    for shape in SHAPES:
        for with_input in (False, True):
            rates = _rates(
                {"ours": _ours(transforms.Affine()), "torch": _torch_affine, "kornia": _affine}, shape, 6, with_input
            )
            name = f"sampler {'x'.join(map(str, shape))} theta{' and input' if with_input else ''}"
            for other in ("torch", "kornia"):
                compared = (f"{name}, {other}", "images/s", rates["ours"], rates[other])
                note = f"torch's kernels alone: ratio {rates[KERNELS] / rates[other]:.2f}"
                found.append(Comparison(*compared, at_least=GOALS[shape[3]], note=note))
    for name, (transform, parameters, theirs) in _transforms().items():
        rates = _rates({"ours": _ours(transform), "kornia": theirs}, SHAPES[0], parameters, with_input=False)
        found.append(Comparison(f"sampler {name}, kornia", "images/s", rates["ours"], rates["kornia"], at_least=1.0))
    return found


def _rates(warps: dict[str, Warp], shape: tuple[int, ...], parameters: int, with_input: bool) -> dict[str, float]:
    """Images per second, forward and backward in theta and, maybe, the images.

    Also of torch's two kernels for a grid that is there already: what is read, and the gradient in the grid and, maybe,
    the images. Whoever uses them and makes the grid and its gradient in no time at all would be as fast.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = torch.rand(shape, device=device, requires_grad=with_input)
    theta = nn.Parameter(0.1 * torch.randn(shape[0], parameters, device=device))
    upstream = torch.rand(shape, device=device)
    grid = transforms.Affine()(0.1 * torch.randn(shape[0], 6, device=device)).grid(shape[2], shape[3])

    def kernels() -> None:
        with torch.no_grad():
            F.grid_sample(images, grid, align_corners=False)
            torch.ops.aten.grid_sampler_2d_backward(upstream, images, grid, 0, 0, False, [with_input, True])

    def rate(step: Callable[[], None]) -> float:
        seconds: list[float] = []
        start = time.perf_counter()
        while not seconds or time.perf_counter() - start < SECONDS:
            images.grad = theta.grad = None
            begun = time.perf_counter()
            step()
            if device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - begun)
        return shape[0] / statistics.median(seconds)

    steps: dict[str, Callable[[], None]] = {
        name: lambda warp=warp: warp(images, theta).backward(upstream) for name, warp in warps.items()
    }
    return medians({name: lambda step=step: rate(step) for name, step in {**steps, KERNELS: kernels}.items()}, REPEATS)


def _ours(transform: transforms.Transform) -> Warp:
    return lambda images, theta: sample(images, transform(theta), (images.shape[2], images.shape[3]))


def _torch_affine(images: Tensor, theta: Tensor) -> Tensor:
    matrix = theta.reshape(-1, 2, 3) + torch.eye(2, 3, device=theta.device)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


# kornia's own conventions: maps from the image to the view, in pixels. The same freedom, not the same view.


def _affine(images: Tensor, theta: Tensor) -> Tensor:
    matrix = theta.reshape(-1, 2, 3) + torch.eye(2, 3, device=theta.device)
    return kornia.warp_affine(images, matrix, _size(images), align_corners=False)


def _projective(images: Tensor, theta: Tensor) -> Tensor:
    residual = torch.cat([theta[:, :6], theta[:, 6:] / images.shape[3], torch.zeros_like(theta[:, :1])], dim=1)
    matrix = residual.reshape(-1, 3, 3) + torch.eye(3, device=theta.device)
    return kornia.warp_perspective(images, matrix, _size(images), align_corners=False)


def _placed(images: Tensor, angle: Tensor, log_scale: Tensor, shift: Tensor) -> Tensor:
    centre = (torch.tensor(_size(images), device=images.device) / 2).expand(len(images), 2)
    scale = log_scale.exp().expand(-1, 2)
    matrix = kornia.get_affine_matrix2d(shift * centre, centre, scale, angle * (180 / math.pi))
    return kornia.warp_affine(images, matrix[:, :2], _size(images), align_corners=False)


def _thin_plate(images: Tensor, theta: Tensor) -> Tensor:
    side = torch.linspace(-1, 1, 4, device=theta.device)
    controls = torch.cartesian_prod(side, side).expand(len(theta), -1, 2)
    weights, affine = kornia.get_tps_transform(controls, controls + theta.reshape(len(theta), -1, 2))
    return kornia.warp_image_tps(images, controls, weights, affine)


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[2], images.shape[3]


def _transforms() -> dict[str, tuple[transforms.Transform, int, Warp]]:
    """Each with the number of its parameters and kornia's counterpart."""

    def still(theta: Tensor, numbers: int) -> Tensor:
        return torch.zeros(len(theta), numbers, device=theta.device)

    return {
        "translation": (transforms.Translation(), 2, lambda x, t: kornia.translate(x, t, align_corners=False)),
        "rotation": (transforms.Rotation(), 1, lambda x, t: kornia.rotate(x, t[:, 0] * 57.3, align_corners=False)),
        "scale": (transforms.Scale(), 1, lambda x, t: kornia.scale(x, t.exp(), align_corners=False)),
        "rotation_scale": (transforms.RotationScale(), 2, lambda x, t: _placed(x, t[:, 0], t[:, 1:], still(t, 2))),
        "similarity": (transforms.Similarity(), 4, lambda x, t: _placed(x, t[:, 0], t[:, 1:2], t[:, 2:])),
        "attention": (transforms.Attention(), 3, lambda x, t: _placed(x, still(t, 1)[:, 0], t[:, :1], t[:, 1:])),
        "affine": (transforms.Affine(), 6, _affine),
        "projective": (transforms.Projective(), 8, _projective),
        "thin_plate": (transforms.ThinPlate(), 32, _thin_plate),
    }

"""Point maps: functions of the plane that say where an output point comes from in the source.

Coordinates are normalised: the frame is [-1, 1] x [-1, 1], x to the right, y down, corners at the outer edges of the
corner pixels (`align_corners=False`). Poses and warps are both point maps, one for each sample of a batch.

Everything here is as precise as the maps' own numbers, also under autocast and with TF32 matrix products: small
products are written as sums, which neither of them rounds, and large ones are only taken where nothing rounds them.
(But a backward pass that itself runs under autocast, which torch advises against, rounds the gradient of a grid.)
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

HORIZON = 1e-3
FAR_OUT = 1e4


def pixel_centres(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """x [width] and y [height] of the pixel centres, with the dtype and device of `like`."""
    x = (torch.arange(width, dtype=like.dtype, device=like.device) * 2 + 1) / width - 1
    y = (torch.arange(height, dtype=like.dtype, device=like.device) * 2 + 1) / height - 1
    return x, y


def unrounded(device: torch.device) -> AbstractContextManager[Any]:
    """Autocast is off. Where it is not on, that would take longer than a small operation."""
    on = torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, enabled=False) if on else nullcontext()


class PointMap(ABC):
    """N maps from output points to source points; `outer @ inner` is `outer(inner(points))`."""

    @abstractmethod
    def __call__(self, points: Tensor) -> Tensor:
        """Map points [P, 2], the same for all samples, or [N, P, 2] to [N, P, 2]."""

    @abstractmethod
    def select(self, rows: Tensor) -> "PointMap":
        """The maps of some samples; rows: [M] int64."""

    @abstractmethod
    def grid(self, height: int, width: int) -> Tensor:
        """[N, height, width, 2]: where each pixel of an output of this size comes from."""

    def __matmul__(self, inner: "PointMap") -> "PointMap":
        return Composition(self, inner)


class AffineMap(PointMap):
    """source = matrix @ (x, y, 1); matrix: [N, 2, 3]."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    @classmethod
    def identity(cls, count: int, like: Tensor) -> "AffineMap":
        return cls(torch.eye(2, 3, dtype=like.dtype, device=like.device).expand(count, 2, 3))

    def __call__(self, points: Tensor) -> Tensor:
        return _at_points(self.matrix, points)

    def select(self, rows: Tensor) -> "AffineMap":
        return AffineMap(self.matrix[rows])

    def grid(self, height: int, width: int) -> Tensor:
        return _at_pixels(self.matrix, height, width)

    def __matmul__(self, inner: PointMap) -> PointMap:
        if isinstance(inner, AffineMap):
            linear = _product(self.matrix[:, :, :2], inner.matrix)
            return AffineMap(torch.cat([linear[:, :, :2], linear[:, :, 2:] + self.matrix[:, :, 2:]], dim=-1))
        if isinstance(inner, Homography):
            return Homography(self.homogeneous()) @ inner
        return super().__matmul__(inner)

    def homogeneous(self) -> Tensor:
        """The matrices with their last row, (0, 0, 1): [N, 3, 3]."""
        last = torch.eye(3, dtype=self.matrix.dtype, device=self.matrix.device)[2:]
        return torch.cat([self.matrix, last.expand(len(self.matrix), 1, 3)], dim=1)

    def inverse(self) -> "AffineMap":
        """The maps back. Raises torch.linalg.LinAlgError if one is singular."""
        linear = torch.linalg.inv(self.matrix[:, :, :2])
        return AffineMap(torch.cat([linear, -_product(linear, self.matrix[:, :, 2:])], dim=-1))


class Homography(PointMap):
    """(X, Y, W) = matrix @ (x, y, 1), source = (X / W, Y / W); matrix: [N, 3, 3] (Hartley & Zisserman 2004, ch. 2).

    The sign of a matrix counts: W > 0 is in front of the observer. On the horizon (W <= 0.001) and behind it a plane
    shows nothing, so these points go far outside the frame, to one of (+-10,000, +-10,000), without a gradient:
    sampled with padding `zeros` they are background. Composed matrices have one horizon, that of their product.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def __call__(self, points: Tensor) -> Tensor:
        return _divided(_at_points(self.matrix[:, :2], points), _at_points(self.matrix[:, 2:], points))

    def select(self, rows: Tensor) -> "Homography":
        return Homography(self.matrix[rows])

    def grid(self, height: int, width: int) -> Tensor:
        # Each row of the matrices as an image of its own: what is divided lies in one piece.
        rows = _at_pixels(self.matrix.reshape(-1, 1, 3), height, width)
        x, y, depth = rows.reshape(-1, 3, height, width).unbind(1)
        # On a GPU the question would wait for the answer, and of a compiled graph it would make two.
        if depth.device.type == "cpu" and not torch.compiler.is_compiling() and (depth > HORIZON).all():
            nearness = depth.reciprocal()
            return torch.stack([x * nearness, y * nearness], dim=-1)
        return _divided(torch.stack([x, y], dim=-1), depth[..., None])

    def __matmul__(self, inner: PointMap) -> PointMap:
        if isinstance(inner, AffineMap | Homography):
            return Homography(_product(self.matrix, inner.homogeneous()))
        return super().__matmul__(inner)

    def homogeneous(self) -> Tensor:
        return self.matrix

    def inverse(self) -> "Homography":
        """The maps back, of points in front. Raises torch.linalg.LinAlgError if one is singular."""
        return Homography(torch.linalg.inv(self.matrix))


class Composition(PointMap):
    """`outer(inner(points))` for maps that no single matrix describes."""

    def __init__(self, outer: PointMap, inner: PointMap) -> None:
        self.outer, self.inner = outer, inner

    def __call__(self, points: Tensor) -> Tensor:
        return self.outer(self.inner(points))

    def select(self, rows: Tensor) -> "Composition":
        return Composition(self.outer.select(rows), self.inner.select(rows))

    def grid(self, height: int, width: int) -> Tensor:
        inner = self.inner.grid(height, width)
        return self.outer(inner.flatten(1, 2)).reshape(-1, height, width, 2)


def _at_points(matrix: Tensor, points: Tensor) -> Tensor:
    """matrix [N, R, 3] times (x, y, 1) of points [P, 2] or [N, P, 2]: [N, P, R]."""
    of_x, of_y, constant = matrix[:, None].unbind(-1)
    return (of_y * points[..., 1:] + constant) + of_x * points[..., :1]


def _at_pixels(matrix: Tensor, height: int, width: int) -> Tensor:
    """matrix [N, R, 3] times (x, y, 1) of the pixel centres: [N, height, width, R]."""
    compiled = torch.compiler.is_compiling()  # which fuses the sums
    if matrix.device.type in ("cpu", "cuda") and not compiled and torch.get_float32_matmul_precision() == "highest":
        return _at_pixels_by_product(matrix, height, width)
    return _at_pixels_by_sums(matrix, height, width)


def _at_pixels_by_sums(matrix: Tensor, height: int, width: int) -> Tensor:
    x, y = pixel_centres(height, width, matrix)
    of_x, of_y, constant = matrix[:, None, None].unbind(-1)
    return (of_y * y[:, None, None] + constant) + of_x * x[:, None]


def _at_pixels_by_product(matrix: Tensor, height: int, width: int) -> Tensor:
    """One matrix product for all samples, and one for their gradients: on a CPU ten times as fast as outer sums, on a
    GPU two kernels in place of a dozen."""
    basis = _pixel_basis(height, width, matrix.shape[1], matrix.dtype, matrix.device)
    rows = matrix.flatten(1)
    if rows.device.type == "cpu":
        rows = rows.t().contiguous().t()  # torch finds the gradient of such along the basis's rows: in half the time
    with unrounded(rows.device):
        pixels = rows @ basis
    return pixels.reshape(len(matrix), height, width, matrix.shape[1])


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # a tensor kept from an inference could not be used in training
def _pixel_basis(height: int, width: int, rows: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[rows * 3, height * width * rows]: what each entry of a matrix adds to each number at each pixel."""
    x, y = pixel_centres(height, width, torch.empty(0, dtype=dtype))
    ones = torch.ones(height, width, dtype=dtype)
    coordinates = torch.stack([ones * x, ones * y[:, None], ones]).reshape(1, 3, -1, 1)
    return (torch.eye(rows, dtype=dtype)[:, None, None] * coordinates).reshape(rows * 3, -1).to(device)


def _divided(numerator: Tensor, denominator: Tensor) -> Tensor:
    """[..., 2] over [..., 1]."""
    seen = denominator > HORIZON
    far = torch.full_like(numerator, FAR_OUT).copysign(numerator.detach())
    # The inner `where` keeps an infinite gradient out of the branch that is not taken.
    return torch.where(seen, numerator / torch.where(seen, denominator, 1.0), far)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """[N, I, J] times [N, J, K]."""
    return (left[..., None] * right[:, None]).sum(2)

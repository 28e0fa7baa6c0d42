"""Point maps: functions of the plane that say where an output point comes from in the source.

Coordinates are normalised: the frame is [-1, 1] x [-1, 1], x to the right, y down, corners at the outer edges of the
corner pixels (`align_corners=False`). Poses and warps are both point maps, one for each sample of a batch.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor


def pixel_centres(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """x [width] and y [height] of the pixel centres, with the dtype and device of `like`."""
    x = (torch.arange(width, dtype=like.dtype, device=like.device) * 2 + 1) / width - 1
    y = (torch.arange(height, dtype=like.dtype, device=like.device) * 2 + 1) / height - 1
    return x, y


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
        return points @ self.matrix[:, :, :2].mT + self.matrix[:, None, :, 2]

    def select(self, rows: Tensor) -> "AffineMap":
        return AffineMap(self.matrix[rows])

    def grid(self, height: int, width: int) -> Tensor:
        x, y = pixel_centres(height, width, self.matrix)
        of_x, of_y, constant = self.matrix[:, None, None, :].unbind(-1)
        # Outer sums: a batched matrix product over all pixels takes several times as long.
        return (of_y * y[:, None, None] + constant) + of_x * x[:, None]

    def __matmul__(self, inner: PointMap) -> PointMap:
        if not isinstance(inner, AffineMap):
            return super().__matmul__(inner)
        linear = self.matrix[:, :, :2] @ inner.matrix
        return AffineMap(torch.cat([linear[:, :, :2], linear[:, :, 2:] + self.matrix[:, :, 2:]], dim=-1))

    def inverse(self) -> "AffineMap":
        """The maps back. Raises torch.linalg.LinAlgError if one is singular."""
        linear = torch.linalg.inv(self.matrix[:, :, :2])
        return AffineMap(torch.cat([linear, -linear @ self.matrix[:, :, 2:]], dim=-1))


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

"""Thin-plate splines: the smoothest maps that move some control points as told.

F. L. Bookstein, *Principal Warps: Thin-Plate Splines and the Decomposition of Deformations*, PAMI 1989; as the grids
of a spatial transformer: Jaderberg et al. 2015.
"""

from collections.abc import Callable
from typing import Literal, TypeVar

import torch
from torch import Tensor

from stnlab.geometry.maps import PointMap, pixel_centres, unrounded

Kept = tuple[torch.dtype, torch.device]
Method = TypeVar("Method", bound=Callable[..., Tensor])


def _constant(method: Method) -> Method:
    """A compiled graph takes the result as a constant. (torch's own decorator has no types.)"""
    marked: Method = torch.compiler.assume_constant_result(method)  # type: ignore[no-untyped-call]
    return marked


class Plate:
    """Control points on a regular grid of `points` x `points` over the frame, its corners included; K in all.

    With U(r) = r^2 log r and features(p) = (U(|p - c_1|), ..., U(|p - c_K|), 1, x, y), the spline that moves the
    control points c by d moves a point p by features(p) @ solution @ d. The solution, the first K columns of the
    inverse of Bookstein's matrix L, is found here, once, in float64. Distances are in normalised coordinates: the
    plate is as stiff across a frame's width as across its height.
    """

    def __init__(self, points: int) -> None:
        side = torch.linspace(-1, 1, points, dtype=torch.float64)
        self.controls = torch.cartesian_prod(side, side).flip(1)
        features = plate_features(self.controls, self.controls)
        count = len(features)
        system = features.new_zeros(count + 3, count + 3)
        system[:count] = features
        system[count:, :count] = features[:, count:].T
        self.solution = torch.linalg.inv(system)[:, :count].contiguous()
        self._moved: dict[tuple[str, *Kept], Tensor] = {}
        self._bases: dict[tuple[int, int, *Kept], Tensor] = {}

    # A tensor kept from an inference could not be used in training, so these leave that mode. Nor could one that a
    # compiled graph has made, whose next run overwrites it.

    @_constant
    @torch.inference_mode(False)
    def moved(self, name: Literal["controls", "solution"], dtype: torch.dtype, device: torch.device) -> Tensor:
        """The control points [K, 2] or the solution [K + 3, K], there and so."""
        if (name, dtype, device) not in self._moved:
            self._moved[name, dtype, device] = getattr(self, name).to(device, dtype)
        return self._moved[name, dtype, device]

    @_constant
    @torch.inference_mode(False)
    def grid_basis(self, height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """features @ solution at the pixel centres, [height * width, K]; computed once for each size."""
        key = (height, width, dtype, device)
        if key not in self._bases:
            x, y = pixel_centres(height, width, self.controls)
            basis = plate_features(torch.cartesian_prod(y, x).flip(1), self.controls) @ self.solution
            self._bases[key] = basis.to(device, dtype)
        return self._bases[key]


class ThinPlateMap(PointMap):
    """source = p + what the plate interpolates at p of its control points' displacements [N, K, 2], normalised.

    No displacement is exactly the identity, and control points move as told up to rounding. Such a map may fold and
    has no inverse in closed form.
    """

    def __init__(self, displacements: Tensor, plate: Plate) -> None:
        self.displacements = displacements
        self.plate = plate

    def __call__(self, points: Tensor) -> Tensor:
        kind = self.displacements.dtype, self.displacements.device
        controls, solution = self.plate.moved("controls", *kind), self.plate.moved("solution", *kind)
        features = plate_features(points, controls)
        # Sums, since features and weights cancel to small numbers: neither autocast nor TF32 may round them.
        weights = (solution[..., None] * self.displacements[:, None]).sum(2)
        x, y = ((features * weights[:, None, :, axis]).sum(-1) for axis in (0, 1))
        return points + torch.stack([x, y], dim=-1)

    def select(self, rows: Tensor) -> "ThinPlateMap":
        return ThinPlateMap(self.displacements[rows], self.plate)

    def grid(self, height: int, width: int) -> Tensor:
        x, y = pixel_centres(height, width, self.displacements)
        centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        # One product with all samples' x and y as rows: one for each sample takes several times as long.
        rows = self.displacements.mT.flatten(0, 1)
        with unrounded(rows.device):
            moved = rows @ self.plate.grid_basis(height, width, rows.dtype, rows.device).T
        return centres + moved.reshape(-1, 2, height, width).permute(0, 2, 3, 1)


def plate_features(points: Tensor, controls: Tensor) -> Tensor:
    """Points [..., 2] to [..., K + 3]: U of their distances to the control points [K, 2], then 1, x, y."""
    squared = (points[..., None, :] - controls).square().sum(-1)
    # At a control point the logarithm alone has no gradient; r^2 log r has the gradient 0.
    kernel = squared * squared.clamp_min(1e-30).log() / 2
    return torch.cat([kernel, torch.ones_like(points[..., :1]), points], dim=-1)

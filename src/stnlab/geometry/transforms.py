"""The families of transformations that a spatial transformer may use: theta in, point maps out.

Theta is a residual: zero is the identity. Angles are in radians; a positive one turns the view counter-clockwise, as
the eye sees it. Scales are logarithms; a positive one makes what the view shows smaller: it samples a region that is
exp(log-scale) times as large. Shifts are in normalised coordinates (1 is half of the frame) and move the sampled
region: a positive x to the right, so that the view shows things further left. A new family is one subclass of
`Transform` and one file in `conf/transform/`.

Bounds keep a transformer from running away. They are off by default (None) and smooth: theta becomes
bound * tanh(theta / bound), so zero stays the identity, the slope there stays 1, and no gradient is cut off.
"""

import math
from abc import ABC, abstractmethod
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from stnlab.geometry.maps import AffineMap, Homography, PointMap
from stnlab.geometry.thin_plate import Plate, ThinPlateMap

Multiplier = Annotated[float, Ge(0)]
MaxAngle = Annotated[float, Gt(0)] | None
MaxScale = Annotated[float, Gt(1)] | None
MaxSize = Annotated[float, Gt(0)] | None


class Transform(ABC):
    """A family of point maps with `parameters` numbers each.

    lr_multiplier: learning rate of the localizer that regresses this theta, relative to the classifier's. Angles,
    log-scales and matrix entries have different natural step sizes, so each family has its own.
    """

    parameters: int

    def __init__(self, lr_multiplier: Multiplier = 1.0) -> None:
        self.lr_multiplier = lr_multiplier

    @abstractmethod
    def __call__(self, theta: Tensor, aspect: float = 1.0) -> PointMap:
        """Maps for theta [N, parameters] over a frame that is `aspect` times as wide as high.

        Computed in float32 (float64 for such a theta), also under autocast: half precision would shift pixels.
        """


class Identity(Transform):
    """No freedom at all: the control that resamples and localises nothing."""

    parameters = 0

    def __call__(self, theta: Tensor, aspect: float = 1.0) -> PointMap:
        return AffineMap.identity(len(theta), _full(theta))


class Translation(Transform):
    """A shift. theta: (x, y). max_shift: bound on each of the two, normalised."""

    parameters = 2

    def __init__(self, lr_multiplier: Multiplier = 1.0, max_shift: MaxSize = None) -> None:
        super().__init__(lr_multiplier)
        self.max_shift = max_shift

    def __call__(self, theta: Tensor, aspect: float = 1.0) -> PointMap:
        x, y = _bounded(_full(theta), self.max_shift).unbind(1)
        zero = torch.zeros_like(x)
        return AffineMap(similarity(zero, zero + 1, x, y, aspect))


class Rotation(Transform):
    """A turn about the centre. theta: (angle,). max_angle: bound on it, in degrees."""

    parameters = 1

    def __init__(self, lr_multiplier: Multiplier = 1.0, max_angle: MaxAngle = None) -> None:
        super().__init__(lr_multiplier)
        self.max_angle = max_angle

    def __call__(self, theta: Tensor, aspect: float = 1.0) -> PointMap:
        angle = _bounded_angle(_full(theta)[:, 0], self.max_angle)
        zero = torch.zeros_like(angle)
        return AffineMap(similarity(angle, zero + 1, zero, zero, aspect))


class Scale(Transform):
    """One scale for both axes, about the centre. theta: (log-scale,).

    max_scale: bound on the factor, which stays between 1 / max_scale and max_scale.
    """

    parameters = 1

    def __init__(self, lr_multiplier: Multiplier = 1.0, max_scale: MaxScale = None) -> None:
        super().__init__(lr_multiplier)
        self.max_scale = max_scale

    def __call__(self, theta: Tensor, aspect: float = 1.0) -> PointMap:
        scale = _bounded_scale(_full(theta)[:, 0], self.max_scale)
        zero = torch.zeros_like(scale)
        return AffineMap(similarity(zero, scale, zero, zero, aspect))


class RotationScale(Transform):
    """Rotation and scale about the centre. theta: (angle, log-scale). Bounds as of `Rotation` and `Scale`."""

    parameters = 2

    def __init__(self, lr_multiplier: Multiplier = 1.0, max_angle: MaxAngle = None, max_scale: MaxScale = None) -> None:
        super().__init__(lr_multiplier)
        self.max_angle, self.max_scale = max_angle, max_scale

    def __call__(self, theta: Tensor, aspect: float = 1.0) -> PointMap:
        angle, log_scale = _full(theta).unbind(1)
        zero = torch.zeros_like(angle)
        scale = _bounded_scale(log_scale, self.max_scale)
        return AffineMap(similarity(_bounded_angle(angle, self.max_angle), scale, zero, zero, aspect))


class Similarity(Transform):
    """Rotation, one scale, and a shift of the sampled region after them. theta: (angle, log-scale, x, y).

    Bounds as of `Rotation`, `Scale` and `Translation`.
    """

    parameters = 4

    def __init__(
        self,
        lr_multiplier: Multiplier = 1.0,
        max_angle: MaxAngle = None,
        max_scale: MaxScale = None,
        max_shift: MaxSize = None,
    ) -> None:
        super().__init__(lr_multiplier)
        self.max_angle, self.max_scale, self.max_shift = max_angle, max_scale, max_shift

    def __call__(self, theta: Tensor, aspect: float = 1.0) -> PointMap:
        theta = _full(theta)
        x, y = _bounded(theta[:, 2:], self.max_shift).unbind(1)
        angle = _bounded_angle(theta[:, 0], self.max_angle)
        return AffineMap(similarity(angle, _bounded_scale(theta[:, 1], self.max_scale), x, y, aspect))


class Attention(Transform):
    """One scale and a shift: the sampled region is a window of the frame's shape (Jaderberg et al. 2015, equation 2).

    theta: (log-scale, x, y). Bounds as of `Scale` and `Translation`.
    """

    parameters = 3

    def __init__(self, lr_multiplier: Multiplier = 1.0, max_scale: MaxScale = None, max_shift: MaxSize = None) -> None:
        super().__init__(lr_multiplier)
        self.max_scale, self.max_shift = max_scale, max_shift

    def __call__(self, theta: Tensor, aspect: float = 1.0) -> PointMap:
        theta = _full(theta)
        x, y = _bounded(theta[:, 1:], self.max_shift).unbind(1)
        return AffineMap(similarity(torch.zeros_like(x), _bounded_scale(theta[:, 0], self.max_scale), x, y, aspect))


class Affine(Transform):
    """All six entries of the matrix are free (Jaderberg et al. 2015, equation 1).

    theta: (a11 - 1, a12, tx, a21, a22 - 1, ty), normalised coordinates. max_linear: bound on each of the four
    residuals a; below 0.5 no matrix is singular and no view a mirror image. max_shift: bound on tx and ty.
    """

    parameters = 6

    def __init__(self, lr_multiplier: Multiplier = 1.0, max_linear: MaxSize = None, max_shift: MaxSize = None) -> None:
        super().__init__(lr_multiplier)
        self.max_linear, self.max_shift = max_linear, max_shift

    def __call__(self, theta: Tensor, aspect: float = 1.0) -> PointMap:
        residual = _bounded_columns(_full(theta).reshape(-1, 2, 3), self.max_linear, self.max_shift)
        return AffineMap(residual + torch.eye(2, 3, dtype=residual.dtype, device=residual.device))


class Projective(Transform):
    """A homography, its matrix the identity plus ((a, b, x), (c, d, y), (g, h, 0)); the centre is always in front.

    theta: (a, b, x, c, d, y, g, h), normalised coordinates. max_linear: bound on a, b, c, d; max_shift: on x, y;
    max_perspective: on g, h; up to 0.49 the horizon stays outside the frame. See `Homography` for what lies behind it.
    """

    parameters = 8

    def __init__(
        self,
        lr_multiplier: Multiplier = 1.0,
        max_linear: MaxSize = None,
        max_shift: MaxSize = None,
        max_perspective: MaxSize = None,
    ) -> None:
        super().__init__(lr_multiplier)
        self.max_linear, self.max_shift, self.max_perspective = max_linear, max_shift, max_perspective

    def __call__(self, theta: Tensor, aspect: float = 1.0) -> PointMap:
        theta = _full(theta)
        upper = _bounded_columns(theta[:, :6].reshape(-1, 2, 3), self.max_linear, self.max_shift)
        perspective = _bounded(theta[:, 6:], self.max_perspective)
        residual = torch.cat([upper.flatten(1), perspective, torch.zeros_like(theta[:, :1])], dim=1).reshape(-1, 3, 3)
        return Homography(residual + torch.eye(3, dtype=theta.dtype, device=theta.device))


class ThinPlate(Transform):
    """Thin-plate splines: a grid of points x points control points over the frame, each free to move.

    theta: (x, y) of each control point's displacement, normalised, row by row from the top left; control point c of the
    view shows the source at c + displacement. max_shift: bound on each number. The paper uses 16 control points.
    """

    def __init__(
        self,
        lr_multiplier: Multiplier = 1.0,
        points: Annotated[int, Ge(2), Le(16)] = 4,
        max_shift: MaxSize = None,
    ) -> None:
        super().__init__(lr_multiplier)
        self.parameters = 2 * points**2
        self.plate = Plate(points)
        self.max_shift = max_shift

    def __call__(self, theta: Tensor, aspect: float = 1.0) -> PointMap:
        displacements = _bounded(_full(theta), self.max_shift)
        return ThinPlateMap(displacements.reshape(-1, self.parameters // 2, 2), self.plate)


def similarity(angle: Tensor, scale: Tensor, x: Tensor, y: Tensor, aspect: float = 1.0) -> Tensor:
    """Matrices [N, 2, 3] of scale * rotation(angle), then a shift by (x, y); all arguments [N].

    Lengths are equal along both axes in pixels, not in normalised units, so a frame that is not square keeps angles.
    """
    cos, sin = scale * angle.cos(), scale * angle.sin()
    return torch.stack([cos, -sin / aspect, x, sin * aspect, cos, y], dim=-1).reshape(-1, 2, 3)


def _full(theta: Tensor) -> Tensor:
    return theta if theta.dtype == torch.float64 else theta.float()


def _bounded(theta: Tensor, bound: float | None) -> Tensor:
    return theta if bound is None else bound * (theta / bound).tanh()


def _bounded_angle(angle: Tensor, degrees: float | None) -> Tensor:
    return _bounded(angle, None if degrees is None else math.radians(degrees))


def _bounded_scale(log_scale: Tensor, factor: float | None) -> Tensor:
    return _bounded(log_scale, None if factor is None else math.log(factor)).exp()


def _bounded_columns(residual: Tensor, linear: float | None, shift: float | None) -> Tensor:
    """[N, 2, 3], the last column a shift."""
    if linear is None and shift is None:
        return residual
    return torch.cat([_bounded(residual[:, :, :2], linear), _bounded(residual[:, :, 2:], shift)], dim=2)

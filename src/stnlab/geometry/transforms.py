"""The families of transformations that a spatial transformer may use: theta in, point maps out.

Theta is a residual: zero is the identity. Angles are in radians; a positive one turns the view counter-clockwise, as
the eye sees it. A new family is one subclass of `Transform` and one file in `conf/transform/`.
"""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from stnlab.geometry.maps import AffineMap, PointMap


class Transform(ABC):
    """A family of point maps with `parameters` numbers each.

    lr_multiplier: learning rate of the localizer that regresses this theta, relative to the classifier's. Angles,
    log-scales and matrix entries have different natural step sizes, so each family has its own.
    """

    parameters: ClassVar[int]

    def __init__(self, lr_multiplier: Annotated[float, Ge(0)] = 1.0) -> None:
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


class Affine(Transform):
    """All six entries of the matrix are free (Jaderberg et al. 2015, equation 1).

    theta: (a11 - 1, a12, tx, a21, a22 - 1, ty), normalised coordinates.
    """

    parameters = 6

    def __call__(self, theta: Tensor, aspect: float = 1.0) -> PointMap:
        theta = _full(theta)
        return AffineMap(theta.reshape(-1, 2, 3) + torch.eye(2, 3, dtype=theta.dtype, device=theta.device))


class RotationScale(Transform):
    """Rotation about the centre and one scale for both axes.

    theta: (angle in radians, log-scale). The view shows the source turned counter-clockwise by the angle and smaller
    by exp(log-scale): it samples a region that is exp(log-scale) times as large.
    """

    parameters = 2

    def __call__(self, theta: Tensor, aspect: float = 1.0) -> PointMap:
        angle, log_scale = _full(theta).unbind(1)
        zero = torch.zeros_like(angle)
        return AffineMap(similarity(angle, log_scale.exp(), zero, zero, aspect))


def similarity(angle: Tensor, scale: Tensor, x: Tensor, y: Tensor, aspect: float = 1.0) -> Tensor:
    """Matrices [N, 2, 3] of scale * rotation(angle), then a shift by (x, y); all arguments [N].

    Lengths are equal along both axes in pixels, not in normalised units, so a frame that is not square keeps angles.
    """
    cos, sin = scale * angle.cos(), scale * angle.sin()
    return torch.stack([cos, -sin / aspect, x, sin * aspect, cos, y], dim=-1).reshape(-1, 2, 3)


def _full(theta: Tensor) -> Tensor:
    return theta if theta.dtype == torch.float64 else theta.float()

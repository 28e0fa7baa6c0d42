"""Drawn distortions that no affine map describes: a frame with moved corners."""

import torch
from torch import Tensor

LEAST_TURN = 0.4
"""A tenth of what a square's corner has: the cross product of its two edges."""


def kept_convex(displacements: Tensor) -> Tensor:
    """Displacements [N, 4, 2] of a frame's corners, of a sample halved until the corners make a convex frame again.

    Corners top left, top right, bottom right, bottom left. Only a convex frame shows all of a plane from one side.
    """
    while not (convex := _is_convex(_corners(displacements) + displacements)).all():
        displacements = torch.where(convex[:, None, None], displacements, displacements / 2)
    return displacements


def stretched_back(displacements: Tensor) -> Tensor:
    """Homographies [N, 3, 3] that take the moved corners of frames, which are convex, back to where they belong.

    Float32, found in float64; positive (in front of the observer) inside the moved frame, the last entry 1 or -1.
    """
    corners = _corners(displacements).double() + displacements
    first, second, third, fourth = corners.unbind(1)
    toward, across, excess = second - third, fourth - third, first - second + third - fourth
    area = _cross(toward, across)
    lean = torch.stack([_cross(excess, across), _cross(toward, excess)], dim=-1) / area[:, None]
    # The columns of the map from the unit square (P. Heckbert, Fundamentals of Texture Mapping and Image Warping, 1989)
    ones = torch.ones_like(lean[:, :1])
    columns = [second - first + lean[:, :1] * second, fourth - first + lean[:, 1:] * fourth, first]
    u, v, w = (torch.cat(pair, dim=1) for pair in zip(columns, (lean[:, :1], lean[:, 1:], ones), strict=True))
    back = torch.stack([torch.linalg.cross(v, w), torch.linalg.cross(w, u), torch.linalg.cross(u, v)], dim=1)
    matrix = torch.cat([2 * back[:, :2] - back[:, 2:], back[:, 2:]], dim=1)  # to the square from -1 to 1
    matrix = matrix / matrix[:, 2:, 2:]
    middle = (matrix[:, 2, :2] * corners.mean(1)).sum(1) + 1
    return (matrix * middle.sign()[:, None, None]).float()


def _cross(one: Tensor, other: Tensor) -> Tensor:
    return one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]


def _corners(like: Tensor) -> Tensor:
    return like.new_tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]])


def _is_convex(frame: Tensor) -> Tensor:
    edge = frame.roll(-1, 1) - frame
    following = edge.roll(-1, 1)
    turn = edge[..., 0] * following[..., 1] - edge[..., 1] * following[..., 0]
    return (turn > LEAST_TURN).all(1)

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

    Float32, solved in float64; positive (in front of the observer) inside the moved frame.
    """
    corners = _corners(displacements).double().expand(len(displacements), 4, 2)
    moved = torch.cat([corners + displacements, torch.ones_like(corners[:, :, :1])], dim=-1)
    zero = torch.zeros_like(moved)
    # Two equations a corner: (row - target * last row) @ (x, y, 1) = 0, the last entry of the last row being 1.
    rows = [torch.cat(pair, dim=-1) for pair in ((moved, zero), (zero, moved))]
    system = torch.stack(rows, dim=2)
    system = torch.cat([system, -corners[..., None] * moved[:, :, None, :2]], dim=-1)
    solved = torch.linalg.solve(system.reshape(-1, 8, 8), corners.reshape(-1, 8))
    matrix = torch.cat([solved, torch.ones_like(solved[:, :1])], dim=1).reshape(-1, 3, 3)
    middle = (matrix[:, 2] * moved.mean(1)).sum(1)
    return (matrix * middle.sign()[:, None, None]).float()


def _corners(like: Tensor) -> Tensor:
    return like.new_tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]])


def _is_convex(frame: Tensor) -> Tensor:
    edge = frame.roll(-1, 1) - frame
    following = edge.roll(-1, 1)
    turn = edge[..., 0] * following[..., 1] - edge[..., 1] * following[..., 0]
    return (turn > LEAST_TURN).all(1)

"""Reading images by plain indexing: what `torch.nn.functional.grid_sample` does, with a gradient that is deterministic.

On a GPU torch adds grid_sample's gradients up in whatever order its threads come, and refuses to where deterministic
algorithms are asked for. The gradient of an index is a sum in a fixed order there. It costs several times the time.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Mode = Literal["bilinear", "nearest", "bicubic"]
Padding = Literal["zeros", "border", "reflection"]
SHARPNESS = -0.75
"""Of torch's bicubic kernel (Keys 1981, whose a it is)."""


def gather(images: Tensor, grid: Tensor, mode: Mode, padding: Padding) -> Tensor:
    """As `grid_sample(images, grid, mode, padding, align_corners=False)`, up to rounding.

    images: [N, C, H, W]; grid: [N, height, width, 2], normalised. Returns [N, C, height, width].
    """
    count, channels, height, width = images.shape
    columns, column_weights = _taps((grid[..., 0] + 1) * (width / 2) - 0.5, width, mode, padding)
    rows, row_weights = _taps((grid[..., 1] + 1) * (height / 2) - 0.5, height, mode, padding)
    first = torch.arange(count, device=images.device)[:, None, None, None, None] * (height * width)
    pixels = images.permute(0, 2, 3, 1).reshape(-1, channels)
    read = pixels[first + rows[..., :, None] * width + columns[..., None, :]]
    weights = row_weights[..., :, None] * column_weights[..., None, :]
    return (read * weights[..., None]).sum(dim=(3, 4)).permute(0, 3, 1, 2)


def resized(images: Tensor, size: Sequence[int]) -> Tensor:
    """As `interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)`, up to rounding: one matrix
    along each side. images: [N, C, H, W]; size: (height, width)."""
    rows, columns = (
        F.interpolate(
            torch.eye(before, dtype=images.dtype, device=images.device)[None, None],
            (after, before),
            mode="bilinear",
            antialias=True,
            align_corners=False,
        )[0, 0]
        for before, after in zip(images.shape[2:], size, strict=True)
    )
    return rows @ images @ columns.T


def _taps(position: Tensor, size: int, mode: Mode, padding: Padding) -> tuple[Tensor, Tensor]:
    """Along one axis, the pixels that a position [...] in pixels reads, int64 [..., K], and the weight of each."""
    if mode != "bicubic":  # which moves each of its pixels inside, not the position
        position = _moved_inside(position, size, padding)
    if mode == "nearest":
        index = position.round()[..., None]
        weights = 1 + index - index.detach()  # with a gradient, which is zero
    else:
        first = position.floor()
        before, weights = (_bilinear if mode == "bilinear" else _bicubic)(position - first)
        index = first[..., None] + torch.arange(-before, weights.shape[-1] - before, device=first.device)
    if mode == "bicubic":
        index = _moved_inside(index, size, padding)
    inside = (index >= 0) & (index < size)
    return index.detach().nan_to_num().clamp(0, size - 1).long(), weights * inside


def _moved_inside(position: Tensor, size: int, padding: Padding) -> Tensor:
    if padding == "zeros":
        return position
    if padding == "reflection":  # at the outer edges of the outermost pixels
        position = size - ((position + 0.5).remainder(2 * size) - size).abs() - 0.5
    return position.clamp(0, size - 1)


def _bilinear(fraction: Tensor) -> tuple[int, Tensor]:
    """How many of the pixels read lie before the one at the position or left of it; the weight of each."""
    return 0, torch.stack([1 - fraction, fraction], dim=-1)


def _bicubic(fraction: Tensor) -> tuple[int, Tensor]:
    def near(distance: Tensor) -> Tensor:
        return ((SHARPNESS + 2) * distance - (SHARPNESS + 3)) * distance.square() + 1

    def far(distance: Tensor) -> Tensor:
        return SHARPNESS * (((distance - 5) * distance + 8) * distance - 4)

    weights = [far(1 + fraction), near(fraction), near(1 - fraction), far(2 - fraction)]
    return 1, torch.stack(weights, dim=-1)

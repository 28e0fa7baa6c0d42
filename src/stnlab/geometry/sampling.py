"""Reading an image at the points that a map names."""

import torch
from torch import Tensor
from torch.nn import functional as F

from stnlab.geometry.maps import PointMap


def sample(images: Tensor, point_map: PointMap, size: tuple[int, int], background: Tensor | None = None) -> Tensor:
    """Views of `size` (height, width): each pixel read bilinearly where `point_map` says it comes from.

    images: [N, C, H, W] floating point. Outside an image is `background` ([C], default zero). Returns
    [N, C, height, width] in the images' dtype; computed in float32 at least. Differentiable in the images and the
    map (Jaderberg et al. 2015, equations 5 to 7).
    """
    with torch.autocast(images.device.type, enabled=False):
        full = images if images.dtype == torch.float64 else images.float()
        grid = point_map.grid(*size).to(full.dtype)
        if background is None:
            return _bilinear(full, grid).to(images.dtype)
        level = background.to(full.dtype)[:, None, None]
        return (_bilinear(full - level, grid) + level).to(images.dtype)


def _bilinear(images: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

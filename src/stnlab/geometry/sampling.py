"""Reading an image at the points that a map names."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stnlab.errors import StnlabError
from stnlab.geometry.gathering import Mode, Padding, gather, resized
from stnlab.geometry.maps import PointMap, unrounded


@dataclass(frozen=True)
class Sampler:
    """How views are read from images (Jaderberg et al. 2015, section 3.3).

    mode: `bilinear` (equation 5); `bicubic` (torch's, a = -0.75), sharper, which may leave the range of the image;
    `nearest` (equation 4), which copies values and has no gradient in the map, so no localizer learns through it.
    padding: what lies outside an image: `zeros`, the background; `border`, its nearest pixel; `reflection`, its mirror
    image.

    antialias: where a view shows the image smaller, few of its pixels are read, and details alias; a fixed kernel is
    too small for one scale and too large for another. So the image is halved, with a low-pass filter, again and again,
    and each pixel of the view is read from the two levels of this pyramid nearest to its own scale and interpolated
    between them: trilinear mip-mapping (L. Williams, *Pyramidal Parametrics*, SIGGRAPH 1983). A pixel's scale is the
    longer side of its footprint in the image, so a map that squeezes one axis blurs the other as well. Views at or
    above the image's scale do not change. Every level is read: 1 + log2 of the image's shorter side times the work.
    Raises StnlabError with `nearest`.
    """

    mode: Mode = "bilinear"
    padding: Padding = "zeros"
    antialias: bool = False

    def __post_init__(self) -> None:
        if self.antialias and self.mode == "nearest":
            raise StnlabError(
                "sampler.antialias=true averages pixels, sampler.mode=nearest copies them: choose bilinear or bicubic"
            )

    def __call__(
        self, images: Tensor, point_map: PointMap, size: tuple[int, int], background: Tensor | None = None
    ) -> Tensor:
        """Views of `size` (height, width): each pixel read where `point_map` says it comes from.

        images: [N, C, H, W] floating point. background: [C], what lies outside with padding `zeros`; default zero.
        Returns [N, C, height, width] in the images' dtype; computed in float32 at least, also under autocast.
        Differentiable in the images and, but for `nearest`, in the map (Jaderberg et al. 2015, equations 6 and 7).
        """
        with unrounded(images.device):
            full = images if images.dtype == torch.float64 else images.float()
            outside = None
            if background is not None and self.padding == "zeros":
                outside = background.to(full.dtype)[:, None, None]
                full = full - outside
            read = self._from_pyramid if self.antialias else self._from_image
            view = read(full, point_map, size)
            return (view if outside is None else view + outside).to(images.dtype)

    def _from_image(self, images: Tensor, point_map: PointMap, size: tuple[int, int]) -> Tensor:
        return self._read(images, point_map.grid(*size).to(images.dtype))

    def _from_pyramid(self, images: Tensor, point_map: PointMap, size: tuple[int, int]) -> Tensor:
        grid = point_map.grid(*size).to(images.dtype)
        last = min(images.shape[2:]).bit_length() - 1
        depth = halvings(point_map, images, size).clamp(max=last)
        views = []
        for level in range(last + 1):
            share = (1 - (depth - level).abs()).clamp_min(0)
            views.append(share[:, None] * self._read(images, grid))
            images = _halved(images)
        return torch.stack(views).sum(0)

    def _read(self, images: Tensor, grid: Tensor) -> Tensor:
        if _needs_other_gradient(images, grid):
            return gather(images, grid, self.mode, self.padding)
        return F.grid_sample(images, grid, mode=self.mode, padding_mode=self.padding, align_corners=False)


def sample(images: Tensor, point_map: PointMap, size: tuple[int, int], background: Tensor | None = None) -> Tensor:
    """Views of `size` as the default `Sampler` reads them: bilinear, outside is `background`, not antialiased."""
    return Sampler()(images, point_map, size, background)


def halvings(point_map: PointMap, images: Tensor, size: tuple[int, int]) -> Tensor:
    """log2 of how many pixels of the images a pixel of the view spans, at least 0: [N, height, width].

    The longer of its two spans counts: along the view's x and along its y, each the difference over half a pixel.
    """
    height, width = size
    wide = point_map.grid(height, 2 * width).to(images.dtype)
    high = point_map.grid(2 * height, width).to(images.dtype)
    squares = []
    for x, y in ((wide[:, :, 1::2] - wide[:, :, ::2]).unbind(-1), (high[:, 1::2] - high[:, ::2]).unbind(-1)):
        squares.append((x * images.shape[3]).square() + (y * images.shape[2]).square())
    return torch.maximum(*squares).clamp_min(1).log2() / 2


def _needs_other_gradient(*tensors: Tensor) -> bool:
    """Whether torch's own is asked for and would not be deterministic, as on a GPU."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return wanted and tensors[0].device.type != "cpu" and torch.are_deterministic_algorithms_enabled()


def _halved(images: Tensor) -> Tensor:
    size = [max(side // 2, 1) for side in images.shape[2:]]
    if _needs_other_gradient(images):
        return resized(images, size)
    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)

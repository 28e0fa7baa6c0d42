"""Images and features as grey pictures."""

import torch
from torch import Tensor
from torch.nn import functional as F

from stnlab.data.module import ImageData

LARGEST = 64


def grey(reached: Tensor, view: Tensor, data: ImageData) -> tuple[Tensor, Tensor]:
    """Channel means [N, H, W] of what reached a transformer and of its view: of images in [0, 1], of features as is."""
    if is_image(reached, data):
        return denormalised(reached, data).mean(1), denormalised(view, data).mean(1)
    return reached.float().mean(1), view.float().mean(1)


def is_image(reached: Tensor, data: ImageData) -> bool:
    """Whether [N, C, H, W] are the network's images, or views of them of the same size, and not features."""
    return reached.shape[1:] == data.image_shape


def denormalised(image: Tensor, data: ImageData) -> Tensor:
    """Images as they were before normalisation, in float32."""
    mean, std = data.mean.to(image.device), data.std.to(image.device)
    return image.float() * std[:, None, None] + mean[:, None, None]


def small(pictures: Tensor) -> Tensor:
    """[N, H, W], areas averaged so that neither side is longer than 64."""
    height, width = pictures.shape[1:]
    if max(height, width) <= LARGEST:
        return pictures
    return F.adaptive_avg_pool2d(pictures[:, None], (min(height, LARGEST), min(width, LARGEST)))[:, 0]


def to_bytes(pictures: Tensor) -> Tensor:
    """uint8 of values in [0, 1]."""
    return (pictures.clamp(0, 1) * 255).round().to(torch.uint8)

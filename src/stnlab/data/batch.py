"""What goes into a network."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from stnlab.geometry.maps import PointMap

Split = Literal["train", "val", "test"]


@dataclass
class RawBatch:
    """Samples as they are stored: images uint8 [N, C, H, W], labels int64 [N, heads], indices int64 [N].

    An index is the sample's row in its dataset. A batch of an epoch of a split; validation and test have epoch 0.
    global_size: samples of this batch over all devices.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    split: Split
    epoch: int
    global_size: int

    def to(self, device: torch.device) -> "RawBatch":
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            indices=self.indices.to(device, non_blocking=True),
        )


@dataclass
class Batch:
    """Distorted and normalised samples: image [N, C, H, W] float32, label [N, heads], index [N].

    poses: for each object in the image, where every point of it came from in the canonical image; None where nobody
    knows. pose_parameters: the drawn values, [N, objects] each (`rotation` in radians, `scale` as a factor, `shift_x`
    and `shift_y` in normalised units of the distorted image).
    """

    image: Tensor
    label: Tensor
    index: Tensor
    poses: tuple[PointMap, ...] | None
    pose_parameters: dict[str, Tensor]
    split: Split
    global_size: int

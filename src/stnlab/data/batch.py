"""What goes into a network."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor

from stnlab.data.ranges import Parameters
from stnlab.geometry.maps import PointMap

Split = Literal["train", "val", "test"]


@dataclass
class RawBatch:
    """Samples as they are stored: images uint8 [N, C, H, W], labels int64 [N, heads], indices int64 [N].

    An index is the sample's row in its dataset. A batch of an epoch of a split; validation and test have epoch 0.
    global_size: samples of this batch over all devices.

    Where images are not all in memory, others [M, C, H, W] are those of the rows other_rows [M], ascending, that the
    samples' distortion shows as well: clutter is cut out of them, or they are a second object.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    split: Split
    epoch: int
    global_size: int
    others: Tensor | None = None
    other_rows: Tensor | None = None

    def to(self, device: torch.device) -> "RawBatch":
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "RawBatch":
        """In memory from which a GPU copies while it computes; torch's DataLoader calls this."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> "RawBatch":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {
            name: change(value) if isinstance(value, Tensor) else value for name, value in values.items()
        }
        return RawBatch(**changed)


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
    pose_parameters: Parameters
    split: Split
    global_size: int

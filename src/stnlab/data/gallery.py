"""Samples to look at, as arrays."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from stnlab.data.batch import Split
from stnlab.data.module import ImageData
from stnlab.errors import StnlabError


@dataclass(frozen=True)
class Samples:
    """before: [M, C, h, w] and after: [M, C, H, W] uint8, images as stored and as a network gets them (denormalised).

    labels: [M, heads]. poses: parameter -> [M, objects], angles in degrees and shifts in pixels.
    """

    before: np.ndarray
    after: np.ndarray
    labels: np.ndarray
    poses: dict[str, np.ndarray]


def first_samples(data: ImageData, split: Split) -> Samples:
    """The first batch of a split, read from its files: of those that hold an image each, only the ones shown."""
    data.memory_gib = 0.0
    data.setup()
    if not len(data.rows[split]):
        raise StnlabError(f"split={split}: is empty; choose another, or give data.validation_size")
    raw = data.first(split, data.batch_size)
    batch = data.distort(raw)
    units = {"rotation": 180 / np.pi, "shear": 180 / np.pi}
    units |= dict.fromkeys(("shift_x", "shift_y"), data.distortion.size / 2)
    return Samples(
        before=data.undistorted(raw).numpy(),
        after=_bytes(batch.image * data.std[:, None, None] + data.mean[:, None, None]),
        labels=batch.label.numpy(),
        poses={name: values.numpy() * units.get(name, 1.0) for name, values in batch.pose_parameters.items()},
    )


def _bytes(image: Tensor) -> np.ndarray:
    array: np.ndarray = (image.clamp(0, 1) * 255).round().byte().numpy()
    return array

"""What a dataset yields before anything is done to it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RawImages:
    """One split as it is stored.

    images: uint8 [N, C, H, W]
    labels: int64 [N], or [N, heads]
    held_out: the last so many of a training set are the dataset's own validation images
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    held_out: int = 0
